use super::*;
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;
const VIDEO: usize = 0;
const AUDIO: usize = 1;

/// A session of which a stream's timeline runs `delay` ns behind capture.
struct Session {
    sync: Synchronizer,
    start: Instant,
}

impl Session {
    fn new(streams: usize) -> Self {
        let mut sync = Synchronizer::new();
        (0..streams).for_each(|id| sync.add_stream(id, 90_000));
        Self {
            sync,
            start: Instant::now(),
        }
    }

    /// A report `t` ms into the session; the sender's clock is `clock` ms off.
    fn report(&mut self, id: usize, t: u64, delay: i64, clock: i64) {
        self.report_as(id, Some(b"cam"), t, delay, clock);
    }

    fn report_as(&mut self, id: usize, cname: Option<&[u8]>, t: u64, delay: i64, clock: i64) {
        let capture = 1000 * SECOND + t * MS as u64;
        let ntp =
            ntp::from_nanos((3_900_000_000 * SECOND + capture).wrapping_add_signed(clock * MS));
        let now = self.start + Duration::from_millis(t);
        let pts = capture.wrapping_add_signed(delay * MS);
        self.sync.handle_sr(id, cname, ntp, t * 90, pts, now);
    }

    /// Offsets in ms, rounded, and whether they step.
    fn offsets(&mut self) -> Vec<(usize, i64, bool)> {
        std::iter::from_fn(|| self.sync.poll())
            .filter_map(|event| match event {
                SyncEvent::Offset { id, offset } => {
                    Some((id, (offset.ns + MS / 2) / MS, offset.step))
                }
                SyncEvent::Ignored { .. } => None,
            })
            .collect()
    }

    fn ignored(&mut self) -> Vec<(usize, i64)> {
        std::iter::from_fn(|| self.sync.poll())
            .map(|event| match event {
                SyncEvent::Ignored { id, ns } => (id, ns / SECOND as i64),
                other => panic!("{other:?}"),
            })
            .collect()
    }
}

// covers: B-RTCP-09
#[test]
fn the_first_pair_of_reports_delays_the_earlier_stream_in_one_step() {
    let mut s = Session::new(2);
    s.report(VIDEO, 0, 150, 0);
    assert_eq!(s.sync.poll(), None);
    s.report(AUDIO, 1700, 30, 0);
    assert_eq!(s.offsets(), [(AUDIO, 120, true)]);
}

// covers: B-RTCP-09
#[test]
fn later_corrections_slew() {
    let mut s = Session::new(2);
    s.report(VIDEO, 0, 150, 0);
    s.report(AUDIO, 0, 30, 0);
    s.offsets();
    s.report(AUDIO, 5000, 10, 0);
    assert_eq!(s.offsets(), [(AUDIO, 140, false)]);
    s.report(VIDEO, 5000, 0, 0);
    assert_eq!(s.offsets(), [(VIDEO, 10, false), (AUDIO, 0, false)]);
    // Less than a millisecond is left alone.
    s.report(VIDEO, 10_000, 0, 0);
    assert_eq!(s.offsets(), []);
}

// covers: B-RTCP-09
#[test]
fn streams_of_another_cname_are_left_alone() {
    let mut s = Session::new(3);
    s.report_as(0, Some(b"a"), 0, 150, 0);
    s.report_as(1, Some(b"b"), 0, 30, 0);
    assert_eq!(s.offsets(), []);
    s.report_as(2, Some(b"b"), 0, 50, 0);
    assert_eq!(s.offsets(), [(1, 20, true)]);
}

// covers: B-RTCP-09
#[test]
fn reports_without_cname_are_of_one_sender_and_a_cname_is_remembered() {
    let mut s = Session::new(2);
    s.report_as(0, None, 0, 150, 0);
    s.report_as(1, None, 0, 30, 0);
    assert_eq!(s.offsets(), [(1, 120, true)]);
    let mut s = Session::new(2);
    s.report_as(0, Some(b"a"), 0, 150, 0);
    s.report_as(1, Some(b"a"), 0, 150, 0);
    s.report_as(1, None, 5000, 30, 0);
    assert_eq!(s.offsets(), [(1, 120, false)]);
}

// covers: B-RTCP-09, H-35
#[test]
fn a_stream_that_never_names_its_sender_is_of_the_others_sender() {
    let mut s = Session::new(2);
    s.report(VIDEO, 0, 100, 0);
    s.report_as(AUDIO, None, 500, 0, 0);
    assert_eq!(s.offsets(), [(AUDIO, 100, true)]);
}

#[test]
fn more_than_3_s_is_ignored_with_one_message() {
    for (delay, ignored) in [(3000, false), (3002, true), (-3002, true)] {
        let mut s = Session::new(2);
        s.report(VIDEO, 0, 4000, 0);
        s.report(AUDIO, 0, 4000 + delay, 0);
        s.report(AUDIO, 1000, 4000 + delay, 0);
        if ignored {
            assert_eq!(s.ignored(), [(AUDIO, delay.signum() * 3)]);
        } else {
            assert_eq!(s.offsets(), [(VIDEO, 3000, true)]);
        }
    }
}

// covers: B-RTCP-09, H-35
#[test]
fn one_absurd_clock_does_not_keep_the_others_apart() {
    for absurd in [-3_000_000_000i64, 100_000_000, 394_000_000] {
        let mut s = Session::new(3);
        s.report(2, 0, 0, absurd * 1000);
        s.report(VIDEO, 0, 150, 0);
        while s.sync.poll().is_some() {}
        s.report(AUDIO, 0, 30, 0);
        assert_eq!(s.offsets(), [(AUDIO, 120, true)], "{absurd}");
    }
}

// covers: B-RTCP-09, H-35
#[test]
fn ntp_0_is_no_time() {
    let mut s = Session::new(2);
    s.report(VIDEO, 0, 150, 0);
    s.sync
        .handle_sr(AUDIO, Some(b"cam"), 0, 0, 1000 * SECOND, s.start);
    assert_eq!(s.sync.poll(), None);
    assert_eq!(s.sync.ntp_of_rtp(AUDIO, 0), None);
    // Nor does a clock that counts from its start matter.
    s.report(AUDIO, 0, 30, 0);
    assert_eq!(s.offsets(), [(AUDIO, 120, true)]);
}

// covers: B-RTCP-09
#[test]
fn a_clock_step_of_the_sender_moves_nothing() {
    let mut s = Session::new(2);
    s.report(VIDEO, 0, 150, 0);
    s.report(AUDIO, 0, 30, 0);
    s.offsets();
    for (n, step) in [1000i64, -2000, 86_400_000].into_iter().enumerate() {
        let t = 5000 * (n as u64 + 1);
        s.report(VIDEO, t, 150, step);
        assert_eq!(s.sync.poll(), None, "{step}");
        s.report(AUDIO, t + 1000, 30, step);
        assert_eq!(s.sync.poll(), None, "{step}");
    }
    // And the streams are still watched.
    s.report(AUDIO, 30_000, 20, 86_400_000);
    s.report(VIDEO, 30_000, 150, 86_400_000);
    assert_eq!(s.offsets(), [(AUDIO, 130, false)]);
}

// covers: B-RTCP-09
#[test]
fn an_old_report_is_not_compared() {
    let mut s = Session::new(2);
    s.report(VIDEO, 0, 150, 0);
    s.report(AUDIO, 30_001, 30, 0);
    assert_eq!(s.sync.poll(), None);
    s.report(VIDEO, 31_000, 150, 0);
    assert_eq!(s.offsets(), [(AUDIO, 120, true)]);
}

// covers: B-RTCP-09
#[test]
fn rtp_info_aligns_until_reports_do() {
    let mut s = Session::new(3);
    s.sync
        .handle_rtp_info(VIDEO, 10 * SECOND, 500 * SECOND + 40 * MS as u64);
    s.sync.handle_rtp_info(AUDIO, 10 * SECOND, 500 * SECOND);
    assert_eq!(s.offsets(), [(AUDIO, 40, true)]);
    // Stream 2 has neither: nobody waits for it.
    s.report(VIDEO, 0, 100, 0);
    s.report(AUDIO, 0, 50, 0);
    assert_eq!(s.offsets(), [(AUDIO, 50, false)]);
    s.sync.handle_rtp_info(AUDIO, 10 * SECOND, 501 * SECOND);
    assert_eq!(s.sync.poll(), None);
}

// covers: B-RTCP-09
#[test]
fn after_a_reset_the_first_pair_steps_again() {
    let mut s = Session::new(2);
    s.report(VIDEO, 0, 150, 0);
    s.report(AUDIO, 0, 30, 0);
    s.sync.reset();
    assert_eq!(s.sync.poll(), None);
    s.report(VIDEO, 9000, 20, 0);
    assert_eq!(s.sync.poll(), None);
    s.report(AUDIO, 9000, 50, 0);
    assert_eq!(s.offsets(), [(VIDEO, 30, true)]);
}

#[test]
fn an_unread_step_is_not_turned_into_a_slew() {
    let mut s = Session::new(2);
    s.report(VIDEO, 0, 150, 0);
    s.report(AUDIO, 0, 30, 0);
    s.report(AUDIO, 100, 10, 0);
    assert_eq!(s.offsets(), [(AUDIO, 140, true)]);
}

// covers: B-CLK-02
#[test]
fn ntp_and_clock_are_mapped_per_stream() {
    let mut s = Session::new(2);
    s.report(VIDEO, 0, 150, 0);
    s.report(AUDIO, 0, 30, 0);
    let at = |ms: u64| ntp::from_nanos(3_900_001_000 * SECOND + ms * MS as u64);
    let near = |a: Option<u64>, b: u64| a.is_some_and(|a| a.abs_diff(b) <= 2);
    // Both show the same instant at the same time.
    let shown = 1000 * SECOND + 150 * MS as u64 + SECOND;
    assert!(near(s.sync.clock_of_ntp(VIDEO, at(1000)), shown));
    assert!(near(s.sync.clock_of_ntp(AUDIO, at(1000)), shown));
    let second = s.sync.ntp_of_rtp(VIDEO, 90_000).map(ntp::to_nanos);
    assert!(near(second, ntp::to_nanos(at(1000))));
    assert_eq!(s.sync.clock_of_ntp(7, 1), None);
}

// covers: B-EXT-04
#[test]
fn a_header_extension_syncs_from_the_first_packet_and_agrees_with_reports() {
    let mut s = Session::new(2);
    s.report_as(VIDEO, None, 0, 150, 0);
    s.report_as(AUDIO, None, 0, 30, 0);
    assert_eq!(s.offsets(), [(AUDIO, 120, true)]);
    s.report(VIDEO, 2000, 150, 0);
    s.report(AUDIO, 2000, 30, 0);
    assert_eq!(s.offsets(), []);
}

proptest! {
    // covers: H-35
    #[test]
    fn offsets_are_bounded_whatever_comes(
        steps in proptest::collection::vec(
            (0usize..4, any::<u64>(), any::<u64>(), any::<u64>(), any::<bool>()), 0..60)
    ) {
        let mut sync = Synchronizer::new();
        (0..3).for_each(|id| sync.add_stream(id, id as u32 * 8000));
        let now = Instant::now();
        for (id, ntp, rtp, clock, info) in steps {
            if info {
                sync.handle_rtp_info(id, ntp, clock);
            } else {
                sync.handle_sr(id, None, ntp, rtp, clock, now);
            }
            let _ = (sync.ntp_of_rtp(id, clock), sync.clock_of_ntp(id, rtp));
            prop_assert!(sync.events.len() <= 6);
        }
        while let Some(event) = sync.poll() {
            if let SyncEvent::Offset { offset, .. } = event {
                prop_assert!((0..=MAX_OFFSET).contains(&offset.ns));
            }
        }
    }
}
