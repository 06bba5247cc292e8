//! The sources of a stream that are not active: probation, and who succeeds
//! (RFC 3550 §8.2, §A.1).
//!
//! Nothing of a source that takes over in the end is dropped: its packets are
//! held meanwhile.

use std::collections::VecDeque;

use super::stats::Nanos;
use crate::rtsp::limits::{PACKET_COST, SOURCE_HELD_BYTES, SOURCES};

/// A source may succeed one that was silent for this long.
pub(super) const SILENCE: Nanos = 1_000_000_000;
/// What is held longer than this can no longer be the start of a successor.
const HELD: Nanos = 1_500_000_000;

#[derive(Debug)]
struct Candidate<T> {
    ssrc: u32,
    next_seq: u16,
    /// Packets in order so far.
    in_order: u32,
    /// Transport, RTP-Info or a sender report named it.
    named: bool,
    /// It was active before: it comes back only after silence, else two
    /// sources would take turns.
    retired: bool,
    last_heard: Nanos,
    held: VecDeque<(Nanos, usize, T)>,
    held_bytes: usize,
}

impl<T> Candidate<T> {
    fn drop_oldest(&mut self) -> usize {
        let bytes = self.held.pop_front().map_or(0, |held| held.1);
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
        bytes
    }
}

/// All sources but the active one.
#[derive(Debug)]
pub(super) struct Candidates<T> {
    list: Vec<Candidate<T>>,
    held_bytes: usize,
    /// Packets dropped with a source that had to make room.
    evicted: u64,
    probation: u32,
}

impl<T> Candidates<T> {
    /// `probation` packets in order make a source valid.
    pub(super) fn new(probation: u32) -> Self {
        Self {
            list: Vec::new(),
            held_bytes: 0,
            evicted: 0,
            probation: probation.max(1),
        }
    }

    /// The source is real, probation or not.
    pub(super) fn name(&mut self, ssrc: u32, now: Nanos) {
        if let Some(candidate) = self.entry(ssrc, now) {
            candidate.named = true;
        }
    }

    /// The source was active until now.
    pub(super) fn retire(&mut self, ssrc: u32, now: Nanos) {
        if let Some(candidate) = self.entry(ssrc, now) {
            candidate.retired = true;
        }
    }

    /// Holds a packet; returns how many others had to be dropped for it.
    /// `expire`: there is an active source, so old ones will not be needed.
    pub(super) fn hold(
        &mut self,
        ssrc: u32,
        seq: u16,
        now: Nanos,
        bytes: usize,
        item: T,
        expire: bool,
    ) -> u64 {
        let Some(candidate) = self.entry(ssrc, now) else {
            return 1;
        };
        let bytes = bytes.saturating_add(PACKET_COST);
        if seq == candidate.next_seq && candidate.in_order > 0 {
            candidate.in_order = candidate.in_order.saturating_add(1);
        } else {
            candidate.in_order = 1;
        }
        candidate.next_seq = seq.wrapping_add(1);
        candidate.last_heard = now;
        let mut dropped = 0_u64;
        let mut freed = 0;
        let is_old = |arrival: Nanos| expire && arrival.saturating_add(HELD) < now;
        while candidate.held.front().is_some_and(|held| is_old(held.0)) {
            freed = candidate.drop_oldest().saturating_add(freed);
            dropped = dropped.saturating_add(1);
        }
        candidate.held.push_back((now, bytes, item));
        candidate.held_bytes = candidate.held_bytes.saturating_add(bytes);
        self.held_bytes = self.held_bytes.saturating_add(bytes).saturating_sub(freed);
        while self.held_bytes > SOURCE_HELD_BYTES {
            let Some(fullest) = self.list.iter_mut().max_by_key(|c| c.held_bytes) else {
                break;
            };
            self.held_bytes = self.held_bytes.saturating_sub(fullest.drop_oldest());
            dropped = dropped.saturating_add(1);
        }
        dropped.saturating_add(std::mem::take(&mut self.evicted))
    }

    /// The source that may take over: a valid one once the active one is
    /// `silent`, one that was named at once.
    pub(super) fn successor(&self, silent: bool) -> Option<u32> {
        let may = |c: &&Candidate<T>| {
            !c.held.is_empty()
                && if silent {
                    c.named || self.is_valid(c)
                } else {
                    c.named && !c.retired
                }
        };
        self.list
            .iter()
            .filter(may)
            .max_by_key(|c| (c.named, c.last_heard))
            .map(|c| c.ssrc)
    }

    /// Whether a source waits for the active one to fall silent.
    pub(super) fn is_waiting(&self) -> bool {
        self.list
            .iter()
            .any(|c| !c.held.is_empty() && (c.named || self.is_valid(c)))
    }

    /// Removes a source: its packets in order of arrival.
    pub(super) fn take(&mut self, ssrc: u32) -> VecDeque<(Nanos, usize, T)> {
        let Some(at) = self.list.iter().position(|c| c.ssrc == ssrc) else {
            return VecDeque::new();
        };
        let candidate = self.list.swap_remove(at);
        self.held_bytes = self.held_bytes.saturating_sub(candidate.held_bytes);
        candidate.held
    }

    /// The source that holds most packets, valid or not.
    pub(super) fn fullest(&self) -> Option<u32> {
        let filled = self.list.iter().filter(|c| !c.held.is_empty());
        filled.max_by_key(|c| c.held.len()).map(|c| c.ssrc)
    }

    /// Forgets all sources; returns how many packets were held.
    pub(super) fn clear(&mut self) -> u64 {
        let held = self
            .list
            .iter()
            .map(|c| c.held.len() as u64)
            .fold(0, u64::saturating_add);
        self.list.clear();
        self.held_bytes = 0;
        held
    }

    fn is_valid(&self, candidate: &Candidate<T>) -> bool {
        candidate.in_order >= self.probation
    }

    /// The entry of a source, made if need be; the one that was idle longest
    /// makes room.
    fn entry(&mut self, ssrc: u32, now: Nanos) -> Option<&mut Candidate<T>> {
        let at = match self.list.iter().position(|c| c.ssrc == ssrc) {
            Some(at) => at,
            None => {
                // One place is the active source's.
                if self.list.len() >= SOURCES.saturating_sub(1) {
                    let oldest = self
                        .list
                        .iter()
                        .min_by_key(|c| c.last_heard)
                        .map(|c| c.ssrc);
                    let evicted = oldest.map_or(0, |oldest| self.take(oldest).len() as u64);
                    self.evicted = self.evicted.saturating_add(evicted);
                }
                self.list.push(Candidate {
                    ssrc,
                    next_seq: 0,
                    in_order: 0,
                    named: false,
                    retired: false,
                    last_heard: now,
                    held: VecDeque::new(),
                    held_bytes: 0,
                });
                self.list.len().saturating_sub(1)
            }
        };
        self.list.get_mut(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(c: &mut Candidates<u16>, ssrc: u32, seq: u16, now: Nanos) -> u64 {
        c.hold(ssrc, seq, now, 1, seq, true)
    }

    // covers: B-RTCP-02
    #[test]
    fn two_in_order_make_a_source_valid() {
        let mut c = Candidates::new(2);
        hold(&mut c, 1, 65_534, 0);
        assert_eq!(c.successor(true), None);
        hold(&mut c, 1, 7, 1);
        assert_eq!(c.successor(true), None);
        hold(&mut c, 1, 8, 2);
        assert_eq!((c.successor(true), c.successor(false)), (Some(1), None));
        assert!(c.take(1).into_iter().map(|h| h.2).eq([65_534, 7, 8]));
        assert_eq!(c.successor(true), None);
    }

    // covers: B-RTCP-02
    #[test]
    fn a_named_source_takes_over_at_once_but_only_once() {
        let mut c = Candidates::new(2);
        c.name(1, 0);
        assert_eq!(c.successor(false), None);
        hold(&mut c, 1, 5, 0);
        assert_eq!(c.successor(false), Some(1));
        c.take(1);
        c.retire(1, 1);
        c.name(1, 2);
        hold(&mut c, 1, 6, 3);
        assert_eq!((c.successor(false), c.successor(true)), (None, Some(1)));
    }

    // covers: H-34
    #[test]
    fn sources_and_what_they_hold_are_bounded() {
        let mut c = Candidates::new(2);
        let mut dropped = 0;
        for ssrc in 0..10_000 {
            dropped += hold(&mut c, ssrc, 0, u64::from(ssrc));
        }
        assert_eq!(c.list.len(), SOURCES - 1);
        assert_eq!(
            dropped,
            10_000 - (SOURCES as u64 - 1),
            "one that makes room is counted"
        );
        assert!(
            c.list.iter().all(|c| c.ssrc > 9_000),
            "the oldest ones make room"
        );

        let others = c.held_bytes;
        for seq in 0..3 {
            // The oldest source made room.
            let bytes = (SOURCE_HELD_BYTES - others).div_ceil(2) - PACKET_COST;
            c.hold(70_000, seq, 10_000, bytes, seq, true);
        }
        assert!(c.held_bytes <= SOURCE_HELD_BYTES);
        assert_eq!(c.successor(true), Some(70_000));
        assert!(
            c.take(70_000).into_iter().map(|h| h.2).eq([1, 2]),
            "at the limit two fit"
        );
        assert_eq!(c.held_bytes, others - 1 - PACKET_COST);
    }

    #[test]
    fn what_is_held_expires_while_another_source_is_active() {
        let mut c = Candidates::new(2);
        hold(&mut c, 1, 0, 0);
        assert_eq!(hold(&mut c, 1, 1, HELD + 1), 1);
        assert!(c.take(1).into_iter().map(|h| h.2).eq([1]));
        c.hold(1, 0, 0, 1, 0, false);
        assert_eq!(c.hold(1, 1, HELD + 1, 1, 1, false), 0);
    }
}
