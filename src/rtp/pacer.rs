//! When packets may leave, so that a burst does not overrun the receiver's
//! socket buffer.
//!
//! An encoder hands over a key frame at once, and 250 KB take twice the
//! default buffer of a Linux socket. The token bucket lets a frame out in
//! three quarters of the time to the next one.

use std::time::{Duration, Instant};

/// Packets of one system call.
pub const RUN: usize = 16;
/// When timers of an event loop come.
const TICK: Duration = Duration::from_millis(1);
/// A run of usual packets may always leave at once.
const RUN_BYTES: f64 = (RUN * 1400) as f64;
/// What was not sent for want of a wake-up may be made up for, …
const CATCH_UP: f64 = 0.004;
/// … and a larger bucket needs fewer of them: …
const DEPTH: f64 = 0.008;
/// … up to 40 packets, for which a receiver has room beside those of [`SAFE_RATE`].
const DEPTH_BYTES: f64 = 56_000.0;
/// Of the time to the next unit, what sending one may take.
const PART: f64 = 0.75;
/// Where units come seldom, or nobody knows yet how often, sending one need
/// not take longer than that, …
const UNIT_TIME: f64 = 0.075;
/// … unless it needs more bytes per second: 100 Mbit/s put 45 packets into a
/// default socket buffer, which has room for 92, between reads 5 ms apart.
const SAFE_RATE: f64 = 12_500_000.0;
/// Time constant of the measured rate, in seconds.
const RATE_TIME: f64 = 1.0;

/// A token bucket for one stream over UDP. Over TCP the receiver's window
/// does this.
#[derive(Debug)]
pub struct Pacer {
    /// Bytes that may leave; below 0 after a packet larger than what there was.
    tokens: f64,
    refilled: Instant,
    /// Bytes per second that come in, up to then.
    measured: f64,
    measured_at: Instant,
    /// Start of the unit that is coming in, and its bytes so far.
    unit: Option<(Instant, f64)>,
    /// Usual time between units, in seconds; 0 before the second one.
    interval: f64,
    /// Bytes of the largest unit that waits.
    largest: f64,
}

impl Pacer {
    pub fn new(now: Instant) -> Self {
        Self {
            tokens: RUN_BYTES,
            refilled: now,
            measured: 0.0,
            measured_at: now,
            unit: None,
            interval: 0.0,
            largest: 0.0,
        }
    }

    /// A packet has come in to wait for its turn.
    pub fn handle_queued(&mut self, bytes: usize, starts_unit: bool, now: Instant) {
        let bytes = bytes as f64;
        self.refill(now);
        self.decay(now);
        self.measured += bytes / RATE_TIME;
        let (started, size) = match self.unit {
            Some((started, size)) if !starts_unit => (started, size + bytes),
            Some((last, _)) => {
                let apart = now.saturating_duration_since(last).as_secs_f64();
                self.note_interval(apart.clamp(0.001, 1.0));
                (now, bytes)
            }
            None => (now, bytes),
        };
        self.unit = Some((started, size));
        self.largest = self.largest.max(size);
    }

    /// Whether another packet may leave now.
    pub fn may_send(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.tokens > 0.0
    }

    /// A packet has left.
    pub fn handle_sent(&mut self, bytes: usize) {
        self.tokens -= bytes as f64;
    }

    /// Nothing waits any more.
    pub fn handle_drained(&mut self) {
        self.largest = 0.0;
    }

    /// When to come again for `waiting` bytes, on a tick; None if some may leave already. A wake-up is worth most of a bucket.
    pub fn poll_timeout(&self, waiting: usize, now: Instant) -> Option<Instant> {
        let tokens = self.tokens + self.gain(now);
        if tokens > 0.0 {
            return None;
        }
        // All that waits, or most of a bucket: a late timer would overfill it.
        let wanted = (waiting as f64).min(0.75 * self.depth()).max(1.0);
        let missing = wanted - tokens;
        let ticks = (missing / self.rate() / TICK.as_secs_f64()).floor() + 1.0;
        now.checked_add(TICK.mul_f64(ticks.min(1000.0)))
    }

    /// Bytes per second.
    fn rate(&self) -> f64 {
        let in_time = if self.interval > 0.0 {
            self.largest / (PART * self.interval)
        } else {
            0.0
        };
        let quick = (self.largest / UNIT_TIME).min(SAFE_RATE);
        (2.0 * self.measured).max(in_time).max(quick).max(RUN_BYTES)
    }

    fn depth(&self) -> f64 {
        let rate = self.rate();
        let larger = (DEPTH * rate).min(DEPTH_BYTES);
        larger.max(CATCH_UP * rate).max(RUN_BYTES)
    }

    fn note_interval(&mut self, apart: f64) {
        if self.interval == 0.0 {
            self.interval = apart;
        } else {
            self.interval += (apart - self.interval) / 8.0;
        }
    }

    fn gain(&self, now: Instant) -> f64 {
        self.rate() * now.saturating_duration_since(self.refilled).as_secs_f64()
    }

    fn refill(&mut self, now: Instant) {
        // The packets of a unit mostly come at one time.
        if now <= self.refilled {
            return;
        }
        self.tokens = (self.tokens + self.gain(now)).min(self.depth());
        self.refilled = now;
    }

    fn decay(&mut self, now: Instant) {
        if now <= self.measured_at {
            return;
        }
        let apart = now
            .saturating_duration_since(self.measured_at)
            .as_secs_f64();
        self.measured *= (-apart / RATE_TIME).exp();
        self.measured_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    const MS: Duration = Duration::from_millis(1);
    const PACKET: usize = 1400;
    /// What Linux charges a socket for such a packet, and its default limit.
    const TRUESIZE: usize = 2304;
    const RCVBUF: usize = 212_992;

    /// A stream through the pacer into a socket that is read every 5 ms.
    struct Run {
        lost: usize,
        received: usize,
        /// Longest time from when a frame came until it was sent, the first
        /// ten frames left out.
        longest: Duration,
        largest_run: usize,
    }

    /// `frames` gives the bytes of each frame; `late` is by how much the timer
    /// of each wake-up is late.
    fn run(
        frames: &[usize],
        interval: Duration,
        late: impl Fn(usize) -> Duration,
        paced: bool,
    ) -> Run {
        let start = Instant::now();
        let mut pacer = Pacer::new(start);
        let mut queue = VecDeque::new();
        let mut result = Run {
            lost: 0,
            received: 0,
            longest: Duration::ZERO,
            largest_run: 0,
        };
        let (mut socket, mut read_at) = (0, start);
        let mut next_frame = 0;
        let (mut now, mut wakeups) = (start, 0);
        while next_frame < frames.len() || !queue.is_empty() {
            while next_frame < frames.len() && start + interval * next_frame as u32 <= now {
                let mut left = frames[next_frame];
                while left > 0 {
                    let bytes = left.min(PACKET);
                    pacer.handle_queued(bytes, left == frames[next_frame], now);
                    left -= bytes;
                    queue.push_back((bytes, next_frame, now));
                }
                next_frame += 1;
            }
            while read_at <= now {
                (socket, read_at) = (0, read_at + 5 * MS);
            }
            loop {
                let mut in_run = 0;
                while in_run < RUN && (!paced || pacer.may_send(now)) {
                    let Some((bytes, frame, came)) = queue.pop_front() else {
                        break;
                    };
                    pacer.handle_sent(bytes);
                    in_run += 1;
                    if frame >= 10 {
                        result.longest = result.longest.max(now - came);
                    }
                    // The kernel takes a packet while it is below the limit.
                    if socket < RCVBUF {
                        socket += TRUESIZE;
                        result.received += 1;
                    } else {
                        result.lost += 1;
                    }
                }
                result.largest_run = result.largest_run.max(in_run);
                if in_run == 0 {
                    break;
                }
            }
            let frame_at = start + interval * next_frame as u32;
            now = if queue.is_empty() {
                pacer.handle_drained();
                frame_at
            } else {
                let waiting = queue.iter().map(|(bytes, ..)| bytes).sum();
                let at = pacer.poll_timeout(waiting, now).expect("it may not send");
                assert!(at > now && at <= now + 100 * MS, "{:?}", at - now);
                wakeups += 1;
                frame_at.max(now).min(at + late(wakeups))
            };
        }
        result
    }

    /// 8 Mbit/s at 30 frames a second with a key frame of 250 KB every 2 s.
    fn stream() -> Vec<usize> {
        let rest = (2_000_000 - 250_000) / 59;
        (0..600)
            .map(|i| if i % 60 == 0 { 250_000 } else { rest })
            .collect()
    }

    const FRAME: Duration = Duration::from_micros(33_333);

    // covers: P-PUB-14
    #[test]
    fn key_frames_of_250_kb_do_not_overrun_a_default_socket_buffer() {
        let unpaced = run(&stream(), FRAME, |_| Duration::ZERO, false);
        assert!(unpaced.lost > 500, "the test itself: {}", unpaced.lost);
        let paced = run(&stream(), FRAME, |_| Duration::ZERO, true);
        assert_eq!(paced.lost, 0);
        assert!(paced.received > 14_000);
        assert!(paced.longest <= 27 * MS, "{:?}", paced.longest);
        assert!(paced.largest_run <= RUN);
    }

    // covers: P-PUB-14
    #[test]
    fn late_timers_neither_overrun_it_nor_slow_the_stream_down() {
        for late in [MS, 2 * MS, 3 * MS] {
            let paced = run(&stream(), FRAME, |n| late * (n as u32 % 3), true);
            assert_eq!(paced.lost, 0, "{late:?}");
            assert!(paced.longest <= 40 * MS, "{late:?}: {:?}", paced.longest);
        }
        // What a wake-up that is much too late has missed does not come at once.
        let stalls = |n: usize| if n.is_multiple_of(7) { 30 * MS } else { MS };
        assert_eq!(run(&stream(), FRAME, stalls, true).lost, 0);
    }

    // covers: P-PUB-14
    #[test]
    fn seldom_large_pictures_are_neither_delayed_nor_lost() {
        // A picture of 2 MB a second, 200 KB every 200 ms, audio every 20 ms.
        let pictures = run(
            &[2_000_000; 20],
            Duration::from_secs(1),
            |_| Duration::ZERO,
            true,
        );
        assert_eq!(pictures.lost, 0);
        assert!(pictures.longest <= 170 * MS, "{:?}", pictures.longest);
        let small = run(&[200_000; 50], 200 * MS, |_| Duration::ZERO, true);
        assert_eq!(small.lost, 0);
        assert!(small.longest <= 80 * MS, "{:?}", small.longest);
        let audio = run(&[200; 100], 20 * MS, |_| Duration::ZERO, true);
        assert_eq!(audio.longest, Duration::ZERO);
    }

    // covers: P-PUB-14
    #[test]
    fn a_fast_stream_is_not_held_up() {
        // 200 Mbit/s in even frames.
        let fast = run(&[416_666; 240], Duration::from_micros(16_666), |_| MS, true);
        assert!(fast.longest <= 16 * MS, "{:?}", fast.longest);
    }

    // covers: P-PUB-14
    #[test]
    fn after_an_idle_time_only_one_run_leaves_at_once() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start);
        let now = start + Duration::from_secs(100);
        for n in 0..1000 {
            pacer.handle_queued(PACKET, n == 0, now);
        }
        let mut left = 0;
        while pacer.may_send(now) {
            pacer.handle_sent(PACKET);
            left += 1;
        }
        assert!((RUN..=RUN + 1).contains(&left), "{left}");
        let next = pacer.poll_timeout(PACKET, now).unwrap();
        assert_eq!(next, now + MS);
        // A run at least, if there is more.
        let later = pacer.poll_timeout(100 * PACKET, now).unwrap();
        assert!(later > next);
        assert!(pacer.may_send(next));
        left = 0;
        while pacer.may_send(later) {
            pacer.handle_sent(PACKET);
            left += 1;
        }
        assert!(left >= RUN, "{left}");
    }

    proptest! {
        // covers: P-PUB-14
        #[test]
        fn every_unit_is_out_before_the_next_and_none_overruns_the_socket(
            rate in 5_u32..=60,
            usual in 1_000_usize..60_000,
            key in 1_000_usize..250_000,
            late in 0_u32..3,
        ) {
            let interval = Duration::from_secs(1) / rate;
            let frames: Vec<_> = (0..90).map(|n| if n % 30 == 0 { key } else { usual }).collect();
            let paced = run(&frames, interval, |n| late * MS * (n as u32 % 2), true);
            prop_assert!(paced.longest <= interval + 10 * MS, "{:?}", paced.longest);
            let needed = key.max(usual) as f64 / (PART * interval.as_secs_f64());
            if needed <= SAFE_RATE {
                prop_assert_eq!(paced.lost, 0);
            }
        }
    }
}
