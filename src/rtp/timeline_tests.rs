//! The traces: each is judged against the true capture times, plus the least
//! delay of the path.

use super::*;

const MS: i64 = MILLISECOND;
/// Pipeline-clock time at which the path delivers what is captured at 0.
const START: i64 = 100 * SECOND;

/// A frame of 25 fps: captured at, arrives at; ns.
#[derive(Clone, Copy)]
struct Frame {
    capture: i64,
    arrival: i64,
    rtp: u32,
}

struct Noise(u64);

impl Noise {
    fn below(&mut self, max: i64) -> i64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as i64) % max
    }
}

/// `seconds` of frames with the given delay of each.
fn frames(seconds: i64, ppm: i64, mut delay: impl FnMut(i64) -> i64) -> Vec<Frame> {
    (0..seconds * 25)
        .map(|k| {
            let capture = k * 40 * MS;
            let sender = capture + capture / 1_000_000 * ppm;
            // Near the wrap, so that each trace crosses it.
            let rtp = (u64::from(u32::MAX - 90_000) + (sender as u64 * 9 / 100_000)) as u32;
            Frame {
                capture,
                arrival: START + capture + delay(capture),
                rtp,
            }
        })
        .collect()
}

/// Each frame is two packets; presentation times must not run backwards.
/// Returns pts - (capture + least delay) of each frame.
fn run(t: &mut Timeline, trace: &[Frame]) -> Vec<(Frame, i64, bool)> {
    let mut last = 0;
    let mut errors = Vec::new();
    for &frame in trace {
        let first = t.stamp(frame.rtp, frame.arrival as u64);
        let second = t.stamp(frame.rtp, frame.arrival as u64 + 50_000);
        assert_eq!(first.pts, second.pts, "one timestamp, one time");
        assert!(!second.discont);
        assert!(first.pts >= last, "{} after {last}", first.pts);
        last = first.pts;
        errors.push((
            frame,
            first.pts as i64 - START - frame.capture,
            first.discont,
        ));
    }
    errors
}

fn live() -> Timeline {
    Timeline::new(90_000, true, 200 * MS as u64)
}

/// Least and greatest error from a capture time on.
fn range(errors: &[(Frame, i64, bool)], from: i64, to: i64) -> (i64, i64) {
    let within = errors
        .iter()
        .filter(|e| (from..to).contains(&e.0.capture))
        .map(|e| e.1);
    (within.clone().min().unwrap(), within.max().unwrap())
}

fn disconts(errors: &[(Frame, i64, bool)]) -> usize {
    errors.iter().filter(|e| e.2).count()
}

#[test]
fn trace_skew_of_500_ppm_over_an_hour() {
    for ppm in [-500, 0, 500] {
        let mut noise = Noise(1);
        let trace = frames(3600, ppm, |_| noise.below(20 * MS));
        let errors = run(&mut live(), &trace);
        let (min, max) = range(&errors, 10 * SECOND, i64::MAX);
        assert!(min > -5 * MS && max < 5 * MS, "{ppm} ppm: {min}..{max}");
        assert_eq!(disconts(&errors), 1);
    }
}

#[test]
fn without_following_the_clock_the_timestamps_are_taken_as_they_are() {
    let mut noise = Noise(1);
    let trace = frames(600, 500, |_| noise.below(20 * MS));
    let mut t = live();
    t.set_follow_clock(false);
    let errors = run(&mut t, &trace);
    // The start is over: what is left is the drift of the sender's clock.
    let (_, at_start) = range(&errors, 3 * SECOND, 4 * SECOND);
    let (_, at_end) = range(&errors, 599 * SECOND, 600 * SECOND);
    let drift = at_end - at_start;
    assert!((drift - 298 * MS).abs() < 2 * MS, "{drift}");
    assert_eq!(disconts(&errors), 1);
}

#[test]
fn trace_tcp_at_half_rate_for_five_seconds() {
    // From 20 s to 25 s the path passes half of the rate, then twice it.
    let delay = |t: i64| match t - 20 * SECOND {
        // Frame t leaves at 2t - 20 s.
        since if (0..2500 * MS).contains(&since) => since,
        since if (2500 * MS..7500 * MS).contains(&since) => 2500 * MS - (since - 2500 * MS) / 2,
        _ => 0,
    };
    let errors = run(&mut live(), &frames(120, 0, delay));
    let (min, max) = range(&errors, 0, 20 * SECOND);
    assert!(min > -MS && max < MS, "{min}..{max}");
    // It may be later while the queue lasts, never earlier, and comes back.
    let (min, max) = range(&errors, 20 * SECOND, 120 * SECOND);
    assert!(min > -MS && max <= 2500 * MS, "{min}..{max}");
    let (min, max) = range(&errors, 80 * SECOND, 120 * SECOND);
    assert!(min > -MS && max < 5 * MS, "{min}..{max}");
    // A shorter jam is not taken for the path.
    let short = |t: i64| {
        if (20 * SECOND..21 * SECOND).contains(&t) {
            t - 20 * SECOND
        } else {
            0
        }
    };
    let errors = run(&mut live(), &frames(60, 0, short));
    let (min, max) = range(&errors, 0, 60 * SECOND);
    assert!(min > -MS && max < 5 * MS, "{min}..{max}");
}

#[test]
fn trace_a_cached_gop_of_two_seconds_is_no_lasting_delay() {
    // What was captured before 2 s arrives at 2 s, at once.
    let mut noise = Noise(2);
    let trace = frames(30, 0, |t| (2 * SECOND - t).max(0) + noise.below(10 * MS));
    let mut trace = trace;
    trace.sort_by_key(|f| f.capture);
    for i in 1..trace.len() {
        trace[i].arrival = trace[i].arrival.max(trace[i - 1].arrival);
    }
    let errors = run(&mut live(), &trace);
    let (min, max) = range(&errors, 2100 * MS, i64::MAX);
    assert!(min > -MS && max < 10 * MS, "{min}..{max}");
    assert_eq!(disconts(&errors), 1);
}

#[test]
fn trace_stored_media_sent_at_four_times_the_rate() {
    // Not live: the arrival is not used at all.
    let mut t = Timeline::new(90_000, false, 200 * MS as u64);
    let trace = frames(60, 0, |t| -t * 3 / 4);
    t.set_anchor(Some(trace[0].rtp), START as u64);
    let errors = run(&mut t, &trace);
    let (min, max) = range(&errors, 0, i64::MAX);
    assert!(min >= -1 && max <= 0, "{min}..{max}");
    assert_eq!(
        t.confirmed_anchor(),
        Some(FIRST_TIMESTAMP_CYCLE + u64::from(trace[0].rtp))
    );
    // Taken for live, its times still do not run backwards or ahead of the
    // media, and keep their distance but for 5 %.
    let errors = run(&mut live(), &trace);
    let pts = |i: usize| errors[i].1 + errors[i].0.capture;
    for i in 300..errors.len() {
        let distance = pts(i) - pts(i - 1);
        assert!(
            (38 * MS - 1000..=40 * MS + 1000).contains(&distance),
            "{distance}"
        );
    }
}

#[test]
fn trace_a_path_that_becomes_400_ms_longer() {
    let mut noise = Noise(3);
    let trace = frames(60, 0, |t| {
        noise.below(10 * MS) + if t > 20 * SECOND { 400 * MS } else { 0 }
    });
    let mut t = live();
    let errors = run(&mut t, &trace);
    let (min, max) = range(&errors, 10 * SECOND, 20 * SECOND);
    assert!(min > -5 * MS && max < 5 * MS, "{min}..{max}");
    let (min, max) = range(&errors, 27 * SECOND, i64::MAX);
    assert!(min > 395 * MS && max < 405 * MS, "{min}..{max}");
    assert_eq!((t.steps(), disconts(&errors)), (1, 2), "one step, marked");
    // And shorter again: 5 % of the media time at most.
    let mut noise = Noise(4);
    let trace = frames(60, 0, |t| {
        noise.below(10 * MS) + if t > 20 * SECOND { 0 } else { 400 * MS }
    });
    let errors = run(&mut live(), &trace);
    let (min, max) = range(&errors, 29 * SECOND, i64::MAX);
    assert!(min > -5 * MS && max < 5 * MS, "{min}..{max}");
}

#[test]
fn trace_a_timestamp_jump_by_an_hour() {
    for hour in [3600 * 90_000_u32, 0_u32.wrapping_sub(3600 * 90_000)] {
        let mut noise = Noise(5);
        let mut trace = frames(60, 0, |_| noise.below(10 * MS));
        for f in trace.iter_mut().filter(|f| f.capture >= 30 * SECOND) {
            f.rtp = f.rtp.wrapping_add(hour);
        }
        let errors = run(&mut live(), &trace);
        let (min, max) = range(&errors, 10 * SECOND, i64::MAX);
        assert!(min > -12 * MS && max < 12 * MS, "{min}..{max}");
        assert_eq!(disconts(&errors), 2);
    }
}

#[test]
fn b_frames_do_not_disturb() {
    // Sent as I P B B: each P two frames ahead of its turn.
    let mut noise = Noise(6);
    let mut t = live();
    let mut errors = Vec::new();
    for k in 0..2_000_i64 {
        let shown = match k % 3 {
            0 => k,
            1 => k + 1,
            _ => k - 1,
        } * 40
            * MS;
        let arrival = START + k * 40 * MS + noise.below(10 * MS);
        let stamp = t.stamp((shown * 9 / 100_000) as u32, arrival as u64);
        assert!(!stamp.jump && (k == 0 || !stamp.discont));
        errors.push(stamp.pts as i64 - START - shown);
    }
    let steady = &errors[250..];
    let (min, max) = (steady.iter().min().unwrap(), steady.iter().max().unwrap());
    assert!(max - min < 3 * MS, "{min}..{max}");
    // The frame that comes earliest sets the offset: one frame ahead.
    assert!((-41 * MS..-36 * MS).contains(min), "{min}");
}

#[test]
fn a_late_packet_is_no_timestamp_jump() {
    // It was waited for 1.5 s; those behind it arrived before it.
    let mut t = Timeline::new(90_000, true, 2_000 * MS as u64);
    let mut stamps = Vec::new();
    for f in frames(20, 0, |_| 0) {
        let late = if f.capture == 10 * SECOND {
            1500 * MS
        } else {
            0
        };
        stamps.push((f, t.stamp(f.rtp, (f.arrival + late) as u64)));
    }
    for (f, stamp) in stamps {
        assert!(!stamp.jump);
        assert!((stamp.pts as i64 - START - f.capture).abs() < MS);
    }
}

// covers: C-RTPI-07
#[test]
fn a_bogus_rtptime_is_ignored() {
    let first = 5_000_000_u32;
    for (rtptime, pts, sane) in [
        (Some(first), 1000 * MS, true),
        (Some(first - 90_000), 2000 * MS, true),
        (Some(first + 45_000), 500 * MS, true),
        (Some(first - 11 * 90_000), 1000 * MS, false),
        (Some(0), 1000 * MS, false),
        (Some(1), 1000 * MS, false),
        (None, 1000 * MS, false),
    ] {
        let mut t = Timeline::new(90_000, false, 0);
        t.set_anchor(rtptime, 1000 * MS as u64);
        let stamp = t.stamp(first, 77);
        assert_eq!(stamp.pts, pts as u64, "{rtptime:?}");
        assert_eq!(t.confirmed_anchor().is_some(), sane, "{rtptime:?}");
    }
}

#[test]
fn times_go_on_after_a_restart() {
    let mut t = live();
    let trace = frames(10, 0, |_| 300 * MS);
    let last = run(&mut t, &trace).last().unwrap().0;
    t.set_sync_offset(500 * MS, SyncMode::Step);
    let before = t.stamp(last.rtp + 3600, (last.arrival + 40 * MS) as u64);
    t.restart();
    let after = t.stamp(77, (last.arrival + 50 * MS) as u64);
    assert!(after.discont && after.pts >= before.pts);
}

#[test]
fn synchronisation_steps_or_slews_without_running_backwards() {
    let mut t = live();
    let trace = frames(100, 0, |_| 0);
    t.set_sync_offset(300 * MS, SyncMode::Step);
    let errors = run(&mut t, &trace[..500]);
    assert_eq!(range(&errors, 40 * MS, i64::MAX), (300 * MS, 300 * MS));
    // The way back: 100 ms take 10 s of media at 1 %.
    t.set_sync_offset(200 * MS, SyncMode::Slew);
    let errors = run(&mut t, &trace[500..]);
    let (min, _) = range(&errors, 0, 29 * SECOND);
    assert!(min > 205 * MS, "{min}");
    let (min, max) = range(&errors, 31 * SECOND, i64::MAX);
    assert!(min > 199 * MS && max < 201 * MS, "{min}..{max}");
    assert_eq!(disconts(&errors), 0);
    let mapping = t.mapping().unwrap();
    let last = trace.last().unwrap();
    assert_eq!(mapping.extend(last.rtp), mapping.ext_rtp);
    assert!(
        (mapping.clock - START - last.capture).abs() < MS,
        "before synchronisation"
    );
    assert!((mapping.clock_of(mapping.ext_rtp - 90_000) + SECOND - mapping.clock).abs() < 2);
}

#[test]
fn ticks_convert_at_the_limits() {
    assert_eq!(ticks_to_ns(90_000, 90_000), SECOND);
    assert_eq!(ticks_to_ns(-45_000, 90_000), -SECOND / 2);
    assert_eq!(ticks_to_ns(44_101, 44_100), SECOND + 22_675);
    assert_eq!(ticks_to_ns(i64::MAX, 1), i64::MAX);
    assert_eq!(ticks_to_ns(i64::MIN, 0), -i64::MAX);
    assert_eq!(ticks_to_ns(i64::from(u32::MAX), u32::MAX), SECOND);
}

use proptest::prelude::*;
proptest! {
    #[test]
    fn arbitrary_times_do_not_panic(
        rate in any::<u32>(), live in any::<bool>(), latency in any::<u64>(),
        packets in prop::collection::vec((any::<u32>(), any::<u64>(), any::<i64>()), 1..50),
    ) {
        let mut t = Timeline::new(rate, live, latency);
        for (rtp, arrival, sync) in packets {
            t.set_sync_offset(sync, if sync & 1 == 0 { SyncMode::Step } else { SyncMode::Slew });
            t.set_anchor(Some(rtp), arrival);
            t.stamp(rtp, arrival);
            t.stamp(rtp.wrapping_add(1), arrival / 2);
            if let Some(mapping) = t.mapping() {
                mapping.clock_of(arrival);
            }
        }
    }
}

#[test]
fn frames_behind_the_old_timeline_have_times_of_their_own() {
    // A stream that was delayed by 500 ms to its siblings comes back after 200 ms.
    let mut t = Timeline::new(90_000, true, 200 * MS as u64);
    let floor = (START + 300 * MS) as u64;
    t.set_floor(floor);
    let mut last = floor;
    for frame in frames(1, 0, |_| 0) {
        let pts = t.stamp(frame.rtp, frame.arrival as u64).pts;
        assert!(pts > last, "{pts} after {last}");
        last = pts;
        assert_eq!(t.stamp(frame.rtp, frame.arrival as u64).pts, pts);
    }
    assert!(last > floor + 500 * MS as u64);
}

#[test]
fn a_frame_has_one_time_whatever_changes_between_its_packets() {
    let mut t = Timeline::new(90_000, true, 200 * MS as u64);
    let frames = frames(1, 0, |_| 0);
    let before = t.stamp(frames[0].rtp, frames[0].arrival as u64).pts;
    t.set_sync_offset(300 * MS, SyncMode::Step);
    let same = t.stamp(frames[0].rtp, frames[0].arrival as u64).pts;
    assert_eq!(same, before);
    let next = t.stamp(frames[1].rtp, frames[1].arrival as u64).pts;
    assert_eq!(next, before + (40 + 300) * MS as u64);
}
