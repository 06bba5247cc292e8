//! Which missing packets are asked for again, and when (RFC 4585 §6.2.1,
//! RFC 4588 §6.3).

use std::collections::BTreeMap;

use super::stats::Nanos;
use crate::rtsp::limits;

const MS: Nanos = 1_000_000;
/// What is only out of order has come when so many later packets have …
const LATER_PACKETS: u64 = 3;
/// … or after this time.
const REORDER_WAIT: Nanos = 10 * MS;
/// Least time between two requests of one packet.
const REPEAT_MIN: Nanos = 20 * MS;
const REQUESTS: u8 = 3;

#[derive(Debug, Clone, Copy)]
struct Missing {
    /// When a later packet showed that it is missing.
    since: Nanos,
    /// Number of the packet that showed it, counting arrivals.
    noticed: u64,
    requests: u8,
    /// When it may be asked for next.
    next: Nanos,
}

/// The missing packets of one original source. Packets of a retransmission
/// source are never put in, so none of them is ever asked for (RFC 4588 §6.3).
#[derive(Debug)]
pub struct NackTracker {
    /// How long a missing packet is worth waiting for.
    patience: Nanos,
    rtt: Nanos,
    highest: Option<u64>,
    arrivals: u64,
    missing: BTreeMap<u64, Missing>,
}

impl NackTracker {
    /// `rtx_time` is how long the sender keeps packets (RFC 4588 §8.6).
    pub fn new(latency: Nanos, rtx_time: Option<Nanos>) -> Self {
        Self {
            patience: rtx_time.map_or(latency, |time| time.min(latency)),
            rtt: 0,
            highest: None,
            arrivals: 0,
            missing: BTreeMap::new(),
        }
    }

    pub fn set_rtt(&mut self, rtt: Nanos) {
        self.rtt = rtt;
    }

    /// A new source or a restart: what was missing is not any more.
    pub fn reset(&mut self) {
        self.highest = None;
        self.missing.clear();
    }

    /// An original or recovered packet, by its extended sequence number.
    #[inline]
    pub fn handle_packet(&mut self, ext_seq: u64, now: Nanos) {
        let Some(highest) = self.highest else {
            self.highest = Some(ext_seq);
            return;
        };
        if ext_seq <= highest {
            self.missing.remove(&ext_seq);
            return;
        }
        self.highest = Some(ext_seq);
        self.arrivals = self.arrivals.wrapping_add(1);
        let first = highest.saturating_add(1);
        if ext_seq != first {
            self.note_gap(first, ext_seq, now);
        }
    }

    fn note_gap(&mut self, first: u64, end: u64, now: Nanos) {
        if end.saturating_sub(first) > limits::NACK_MISSING as u64 {
            // Nothing to repair: an outage or a jump.
            self.missing.clear();
            return;
        }
        let missing = Missing {
            since: now,
            noticed: self.arrivals,
            requests: 0,
            next: now.saturating_add(REORDER_WAIT),
        };
        self.missing.extend((first..end).map(|seq| (seq, missing)));
        while self.missing.len() > limits::NACK_MISSING {
            self.missing.pop_first();
        }
    }

    /// The only packet that was asked for and has not come, if it is one.
    pub fn only_outstanding(&self) -> Option<u64> {
        let mut outstanding = self.missing.iter().filter(|(_, m)| m.requests > 0);
        let (seq, _) = outstanding.next()?;
        outstanding.next().is_none().then_some(*seq)
    }

    /// The last moment to ask for a packet so that it comes in time.
    fn last_call(&self, missing: &Missing) -> Option<Nanos> {
        missing
            .since
            .saturating_add(self.patience)
            .checked_sub(self.rtt)
    }

    fn due_at(&self, missing: &Missing) -> Nanos {
        let later = self
            .arrivals
            .wrapping_sub(missing.noticed)
            .saturating_add(1);
        if missing.requests == 0 && later >= LATER_PACKETS {
            missing.since
        } else {
            missing.next
        }
    }

    /// When to call `poll` next.
    pub fn poll_timeout(&self) -> Option<Nanos> {
        self.missing
            .values()
            .filter(|m| m.requests < REQUESTS)
            .map(|m| self.due_at(m))
            .min()
    }

    /// Adds the sequence numbers that are to be asked for now to `seqs`, and
    /// forgets what could not come in time.
    pub fn poll(&mut self, now: Nanos, seqs: &mut Vec<u16>) {
        if self.missing.is_empty() {
            return;
        }
        let repeat = REPEAT_MIN.max(self.rtt.saturating_add(self.rtt / 2));
        let mut missing = std::mem::take(&mut self.missing);
        missing.retain(|seq, m| {
            if m.requests < REQUESTS && self.due_at(m) <= now {
                if self.last_call(m).is_none_or(|last| last < now) {
                    // One that was asked for may still be on its way.
                    m.requests = if m.requests == 0 {
                        return false;
                    } else {
                        REQUESTS
                    };
                } else {
                    seqs.push(*seq as u16);
                    m.requests = m.requests.saturating_add(1);
                    m.next = now.saturating_add(repeat);
                }
            }
            now <= m.since.saturating_add(self.patience)
        });
        self.missing = missing;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn poll(tracker: &mut NackTracker, now: Nanos) -> Vec<u16> {
        let mut seqs = vec![];
        tracker.poll(now, &mut seqs);
        seqs
    }

    fn tracker(received: &[u64]) -> NackTracker {
        let mut tracker = NackTracker::new(200 * MS, None);
        received
            .iter()
            .for_each(|seq| tracker.handle_packet(*seq, 0));
        tracker
    }

    // covers: B-FB-03
    #[test]
    fn a_missing_packet_is_asked_for_after_3_later_packets() {
        let mut t = tracker(&[10, 12]);
        assert_eq!(poll(&mut t, 0), [0u16; 0]);
        t.handle_packet(13, MS);
        assert_eq!(poll(&mut t, MS), [0u16; 0]);
        t.handle_packet(14, 2 * MS);
        assert!(t.poll_timeout().unwrap() <= 2 * MS);
        assert_eq!(poll(&mut t, 2 * MS), [11]);
        assert_eq!(poll(&mut t, 2 * MS), [0u16; 0]);
    }

    // covers: B-FB-03
    #[test]
    fn a_missing_packet_is_asked_for_after_10_ms() {
        let mut t = tracker(&[10, 12]);
        assert_eq!(t.poll_timeout(), Some(10 * MS));
        assert_eq!(poll(&mut t, 10 * MS - 1), [0u16; 0]);
        assert_eq!(poll(&mut t, 10 * MS), [11]);
    }

    // covers: B-FB-03
    #[test]
    fn reordered_packets_are_not_asked_for() {
        let mut t = tracker(&[10, 12, 11, 13, 14, 15]);
        assert_eq!(t.poll_timeout(), None);
        assert_eq!(poll(&mut t, 100 * MS), [0u16; 0]);
    }

    // covers: B-FB-03
    #[test]
    fn requests_are_repeated_at_most_3_times_and_stop_when_it_comes() {
        for (rtt, step) in [(0, 20 * MS), (10 * MS, 20 * MS), (40 * MS, 60 * MS)] {
            let mut t = tracker(&[10, 12]);
            t.set_rtt(rtt);
            let mut times = vec![];
            for now in (0..1000 * MS).step_by(MS as usize) {
                if !poll(&mut t, now).is_empty() {
                    times.push(now);
                }
            }
            assert_eq!(
                times,
                [10 * MS, 10 * MS + step, 10 * MS + 2 * step],
                "rtt {rtt}"
            );
            assert_eq!(t.poll_timeout(), None);
            assert!(t.missing.is_empty(), "given up");
        }
        let mut t = tracker(&[10, 12]);
        assert_eq!(poll(&mut t, 10 * MS), [11]);
        assert_eq!(t.only_outstanding(), Some(11));
        t.handle_packet(11, 15 * MS);
        assert_eq!((t.poll_timeout(), t.only_outstanding()), (None, None));
    }

    // covers: B-FB-03, B-RTX-04
    #[test]
    fn nothing_is_asked_for_that_cannot_come_in_time() {
        // Within 200 ms and an RTT of 195 ms there is time until 5 ms.
        let mut t = tracker(&[10, 12]);
        t.set_rtt(195 * MS);
        assert_eq!(poll(&mut t, 10 * MS), [0u16; 0]);
        assert_eq!(t.poll_timeout(), None);
        let mut t = tracker(&[10, 12, 13, 14]);
        t.set_rtt(195 * MS);
        assert_eq!(poll(&mut t, 5 * MS), [11]);
        // The sender keeps packets for 30 ms only.
        let mut t = NackTracker::new(200 * MS, Some(30 * MS));
        [10, 12].iter().for_each(|seq| t.handle_packet(*seq, 0));
        assert_eq!(poll(&mut t, 31 * MS), [0u16; 0]);
        assert_eq!(t.poll_timeout(), None);
    }

    // covers: B-FB-03
    #[test]
    fn a_gap_is_asked_for_whole_across_the_wrap() {
        let mut t = tracker(&[65_533, 65_538, 65_539, 65_540]);
        assert_eq!(poll(&mut t, 0), [65_534, 65_535, 0, 1]);
    }

    // covers: B-FB-03, H-34
    #[test]
    fn gaps_are_bounded() {
        let limit = limits::NACK_MISSING as u64;
        let mut t = tracker(&[0, limit + 1]);
        assert_eq!(poll(&mut t, 10 * MS).len(), limits::NACK_MISSING);
        let mut t = tracker(&[0, limit + 2]);
        assert_eq!(poll(&mut t, 10 * MS), [0u16; 0]);
        let mut t = tracker(&(0..5 * limit).step_by(2).collect::<Vec<_>>());
        assert_eq!(t.missing.len(), limits::NACK_MISSING);
        assert!(poll(&mut t, 10 * MS).len() <= limits::NACK_MISSING);
    }

    // covers: B-RTX-02
    #[test]
    fn a_single_candidate_is_unambiguous() {
        let mut t = tracker(&[10, 12]);
        assert_eq!(t.only_outstanding(), None);
        poll(&mut t, 10 * MS);
        assert_eq!(t.only_outstanding(), Some(11));
        t.handle_packet(14, 11 * MS);
        assert_eq!(t.only_outstanding(), Some(11), "13 was not asked for yet");
        poll(&mut t, 21 * MS);
        assert_eq!(t.only_outstanding(), None);
    }

    #[test]
    fn a_reset_forgets() {
        let mut t = tracker(&[10, 12]);
        t.reset();
        t.handle_packet(50_000, MS);
        assert_eq!(t.poll_timeout(), None);
    }

    proptest! {
        #[test]
        fn no_panic_and_only_missing_ones(steps in proptest::collection::vec((0u64..40, 0u64..30), 0..100)) {
            let mut t = NackTracker::new(100 * MS, None);
            let (mut now, mut base, mut seen) = (0, 65_520u64, std::collections::HashSet::new());
            for (jump, ms) in steps {
                now += ms * MS;
                let seq = (base + jump).saturating_sub(20);
                base = base.max(seq);
                t.handle_packet(seq, now);
                seen.insert(seq as u16);
                for asked in poll(&mut t, now) {
                    prop_assert!(!seen.contains(&asked));
                }
                prop_assert!(t.poll_timeout().is_none_or(|at| at > now || t.missing.is_empty()));
            }
        }
    }
}
