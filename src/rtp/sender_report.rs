//! The RTP time of a sender report: which RTP time belongs to an instant of
//! the pipeline (RFC 3550 §6.4.1).
//!
//! What a packet's RTP time and the running time of its PTS say of each other
//! does not depend on when it leaves. So reports that are extrapolated from
//! the last packet keep streams in step however long each waits in queues.

use super::seq::{FIRST_TIMESTAMP_CYCLE, extend_timestamp};
use super::stats::Nanos;

const SECOND: i128 = 1_000_000_000;
/// Half of the window in which the smallest difference counts.
const HALF_WINDOW: Nanos = 5_000_000_000;
/// A difference that changes by more is a new start of the timestamps.
const JUMP: Nanos = 1_000_000_000;

/// Ties RTP time to running time.
#[derive(Debug)]
pub(super) struct MediaClock {
    clock_rate: u32,
    /// Running times belong exactly to the RTP times: only the last counts.
    exact: bool,
    last: Option<Last>,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    ext_rtp: u64,
    /// Running time of RTP time 0, wrapping: of this packet, or the smallest …
    offset: Nanos,
    /// … in the half window before this one …
    before: Nanos,
    /// … and in this one, which began then.
    current: Nanos,
    since: Nanos,
}

impl MediaClock {
    pub(super) fn new(clock_rate: u32, exact: bool) -> Self {
        Self {
            clock_rate,
            exact,
            last: None,
        }
    }

    /// Another source: its RTP times say nothing about the earlier one's.
    pub(super) fn reset(&mut self) {
        self.last = None;
    }

    /// A packet, and the running time of its PTS.
    #[inline]
    pub(super) fn handle_packet(&mut self, rtp: u32, running_time: Nanos) {
        let ext_rtp = match self.last {
            // The packets of a unit say the same.
            Some(last) if last.ext_rtp as u32 == rtp => return,
            Some(last) => extend_timestamp(last.ext_rtp, rtp),
            None => FIRST_TIMESTAMP_CYCLE.wrapping_add(u64::from(rtp)),
        };
        let Some(span) = self.nanos(ext_rtp) else {
            return;
        };
        let offset = running_time.wrapping_sub(span);
        let fresh = Last {
            ext_rtp,
            offset,
            before: offset,
            current: offset,
            since: running_time,
        };
        self.last = Some(match self.last {
            Some(last) if !self.exact && !jumped(last.offset, offset) => {
                last.narrow(ext_rtp, offset, running_time)
            }
            _ => fresh,
        });
    }

    /// The RTP time of that instant, by the clock rate from the last packet.
    pub(super) fn rtp_at(&self, running_time: Nanos) -> Option<u32> {
        let last = self.last?;
        let of_last = last.offset.wrapping_add(self.nanos(last.ext_rtp)?);
        let ahead = i128::from(running_time.wrapping_sub(of_last).cast_signed());
        let ticks = ahead.checked_mul(self.clock_rate.into())?;
        // To the nearest tick.
        let ticks = ticks.checked_add(SECOND / 2)?.div_euclid(SECOND);
        Some((last.ext_rtp as u32).wrapping_add(ticks as u32))
    }

    fn nanos(&self, ext_rtp: u64) -> Option<Nanos> {
        let scaled = u128::from(ext_rtp).checked_mul(SECOND.unsigned_abs())?;
        Some(scaled.checked_div(self.clock_rate.into())? as Nanos)
    }
}

impl Last {
    /// The smallest difference is that of the packet that waited least
    /// between its capture and its PTS.
    fn narrow(self, ext_rtp: u64, offset: Nanos, running_time: Nanos) -> Self {
        let (before, current, since) = if running_time.saturating_sub(self.since) >= HALF_WINDOW {
            (self.current, offset, running_time)
        } else {
            (self.before, min(self.current, offset), self.since)
        };
        Self {
            ext_rtp,
            offset: min(before, current),
            before,
            current,
            since,
        }
    }
}

/// Differences wrap; they are near each other.
fn min(a: Nanos, b: Nanos) -> Nanos {
    if b.wrapping_sub(a).cast_signed() < 0 {
        b
    } else {
        a
    }
}

fn jumped(from: Nanos, to: Nanos) -> bool {
    to.wrapping_sub(from).cast_signed().unsigned_abs() > JUMP
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Nanos = 1_000_000;

    // covers: P-PUB-07
    #[test]
    fn the_report_extrapolates_from_the_last_packet_by_the_clock_rate() {
        let mut clock = MediaClock::new(90_000, true);
        assert_eq!(clock.rtp_at(0), None);
        clock.handle_packet(1000, 2_000 * MS);
        assert_eq!(clock.rtp_at(2_000 * MS), Some(1000));
        assert_eq!(clock.rtp_at(2_500 * MS), Some(46_000));
        // A packet that left before its time.
        assert_eq!(clock.rtp_at(1_990 * MS), Some(100));
        assert_eq!(clock.rtp_at(0), Some(1000_u32.wrapping_sub(180_000)));
        // The last packet alone counts.
        clock.handle_packet(10_000, 3_000 * MS);
        assert_eq!(clock.rtp_at(3_000 * MS), Some(10_000));
    }

    // covers: P-PUB-07
    #[test]
    fn how_long_packets_wait_does_not_matter() {
        // Audio and video of one instant, the video 700 ms late in its queue.
        let mut audio = MediaClock::new(48_000, true);
        let mut video = MediaClock::new(90_000, true);
        audio.handle_packet(0, 5_000 * MS);
        video.handle_packet(0, 4_300 * MS);
        let at = 5_000 * MS;
        assert_eq!(audio.rtp_at(at), Some(0));
        assert_eq!(video.rtp_at(at), Some(63_000));
    }

    // covers: P-PUB-07
    #[test]
    fn timestamps_wrap_and_may_go_back() {
        let mut clock = MediaClock::new(90_000, true);
        clock.handle_packet(u32::MAX - 2999, 0);
        clock.handle_packet(3000, 6000 * 1_000 * MS / 90_000);
        // A B-frame, sent after the frame that it is shown before.
        clock.handle_packet(0, 3000 * 1_000 * MS / 90_000);
        assert_eq!(clock.rtp_at(3000 * 1_000 * MS / 90_000), Some(0));
        assert_eq!(clock.rtp_at(0), Some(u32::MAX - 2999));
    }

    // covers: P-PUB-07
    #[test]
    fn of_ready_made_rtp_the_smallest_difference_counts() {
        let mut clock = MediaClock::new(90_000, false);
        let mut running = 0;
        for i in 0..3_000_u32 {
            // Jitter of 0 to 40 ms; every eighth packet has none.
            let jitter = u64::from((i * 5) % 8) * 5 * MS;
            running = u64::from(i) * 10 * MS;
            clock.handle_packet(i * 900 + 77, running + jitter);
        }
        let rtp = clock.rtp_at(running).unwrap();
        assert!(rtp.abs_diff(2_999 * 900 + 77) <= 1, "{rtp}");
    }

    // covers: P-PUB-07
    #[test]
    fn the_window_follows_a_clock_that_drifts() {
        let mut clock = MediaClock::new(90_000, false);
        let rtp_of = |i: u32| i * 900;
        // 200 ppm slow: after 1,000 s the difference has grown by 200 ms.
        let running = |i: u32| u64::from(i) * 10_002_000;
        for i in 0..100_000 {
            clock.handle_packet(rtp_of(i), running(i));
        }
        let rtp = clock.rtp_at(running(99_999)).unwrap();
        let error = rtp_of(99_999).abs_diff(rtp);
        assert!(
            error <= 90 * 2 + 1,
            "{error} ticks: within the 10 s of the window"
        );
    }

    // covers: P-PUB-07
    #[test]
    fn a_new_start_of_the_timestamps_is_followed_at_once() {
        let mut clock = MediaClock::new(90_000, false);
        clock.handle_packet(1_000_000, 0);
        clock.handle_packet(3_000_000_000, 33 * MS);
        assert_eq!(clock.rtp_at(33 * MS), Some(3_000_000_000));
        clock.handle_packet(5, 66 * MS);
        assert_eq!(clock.rtp_at(66 * MS), Some(5));
    }

    proptest! {
        #[test]
        fn never_panics(rate: u32, exact: bool, packets: Vec<(u32, u64)>, at: u64) {
            let mut clock = MediaClock::new(rate, exact);
            for (rtp, running) in packets {
                clock.handle_packet(rtp, running);
                let _ = clock.rtp_at(at);
            }
        }

        // covers: P-PUB-07
        #[test]
        fn an_exact_packet_is_its_own_reference(rtp: u32, running in 0..u64::MAX / 4, rate in 1_000_u32..200_000) {
            let mut clock = MediaClock::new(rate, true);
            clock.handle_packet(rtp, running);
            prop_assert_eq!(clock.rtp_at(running), Some(rtp));
            let later = clock.rtp_at(running + 1_000_000_000).unwrap();
            prop_assert_eq!(later, rtp.wrapping_add(rate));
        }
    }
}
