//! The reorder buffer: what comes after a gap waits for what is missing.

use std::collections::VecDeque;

use super::seq::distance;
use super::stats::Nanos;
use crate::rtsp::limits::{REORDER_BYTES, REORDER_SPAN};

/// What to do with a packet of a sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It is the next one, and nothing waits for it.
    Next,
    /// To be held with [`Reorder::hold`].
    Hold,
    /// It is held, or was released.
    Duplicate,
    /// It was given up.
    Late,
}

#[derive(Debug)]
struct Entry<T> {
    item: T,
    bytes: usize,
    /// From when on it waits.
    since: Nanos,
}

/// A window of packets that starts at the next one to release. It is empty as
/// long as packets come in order.
#[derive(Debug)]
pub(super) struct Reorder<T> {
    /// Extended sequence number of the next packet to release; the first
    /// place of the window.
    next: u64,
    window: VecDeque<Option<Entry<T>>>,
    /// The first place that is taken.
    first: usize,
    held: usize,
    bytes: usize,
    /// Which of the last 128 packets before `next` were released, the last
    /// one in bit 0.
    released: u128,
}

impl<T> Reorder<T> {
    pub(super) fn new(next: u64) -> Self {
        Self {
            next,
            window: VecDeque::new(),
            first: 0,
            held: 0,
            bytes: 0,
            released: 0,
        }
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    #[inline]
    pub(super) fn place(&self, ext_seq: u64) -> Place {
        match distance(self.next, ext_seq) {
            0 if self.held == 0 => Place::Next,
            ahead @ 0.. => match self
                .window
                .get(usize::try_from(ahead).unwrap_or(usize::MAX))
            {
                Some(Some(_)) => Place::Duplicate,
                _ => Place::Hold,
            },
            behind => {
                let bit = behind.unsigned_abs().saturating_sub(1);
                let bit = u32::try_from(bit).unwrap_or(u32::MAX);
                match 1_u128.checked_shl(bit) {
                    Some(mask) if self.released & mask != 0 => Place::Duplicate,
                    _ => Place::Late,
                }
            }
        }
    }

    /// The next packet is released without having been held.
    #[inline]
    pub(super) fn pass(&mut self) {
        self.next = self.next.wrapping_add(1);
        self.released = self.released << 1 | 1;
    }

    /// Holds a packet for which [`Reorder::place`] said so. Afterwards
    /// [`Reorder::pop`] has to be called, and [`Reorder::skip`] while
    /// [`Reorder::is_over`].
    pub(super) fn hold(&mut self, ext_seq: u64, item: T, bytes: usize, since: Nanos) {
        let Ok(at) = usize::try_from(distance(self.next, ext_seq)) else {
            return;
        };
        if at >= self.window.len() {
            // The receiver keeps the distance to the highest packet small.
            self.window.resize_with(at.saturating_add(1), || None);
        }
        let Some(place) = self.window.get_mut(at) else {
            return;
        };
        *place = Some(Entry { item, bytes, since });
        if self.held == 0 || at < self.first {
            self.first = at;
        }
        self.held = self.held.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Whether the window has outgrown its bounds.
    pub(super) fn is_over(&self) -> bool {
        self.bytes > REORDER_BYTES || self.window.len() > REORDER_SPAN
    }

    /// The next packet, if it is there, and its extended sequence number.
    pub(super) fn pop(&mut self) -> Option<(u64, T)> {
        self.window.front()?.as_ref()?;
        let entry = self.window.pop_front()??;
        let ext_seq = self.next;
        self.pass();
        self.bytes = self.bytes.saturating_sub(entry.bytes);
        self.held = self.held.saturating_sub(1);
        self.find_first();
        Some((ext_seq, entry.item))
    }

    /// Gives up what is missing before the first packet that is held: the
    /// first extended sequence number and how many.
    pub(super) fn skip(&mut self) -> Option<(u64, u64)> {
        if self.held == 0 || self.first == 0 {
            return None;
        }
        let missing = self.first;
        self.window.drain(..missing.min(self.window.len()));
        self.first = 0;
        let start = self.next;
        self.advance(missing as u64);
        Some((start, missing as u64))
    }

    /// Gives up `count` packets while nothing is held.
    pub(super) fn advance(&mut self, count: u64) {
        self.next = self.next.wrapping_add(count);
        let shift = u32::try_from(count).unwrap_or(u32::MAX);
        self.released = self.released.checked_shl(shift).unwrap_or(0);
    }

    /// The first packet that waits, if the one after it is not there.
    pub(super) fn first_alone(&self) -> Option<&T> {
        let follows = self.window.get(self.first.saturating_add(1));
        match follows {
            Some(Some(_)) => None,
            _ => Some(&self.window.get(self.first)?.as_ref()?.item),
        }
    }

    /// Drops the first packet that waits, and leaves what is missing before it open.
    pub(super) fn drop_first(&mut self) {
        let Some(entry) = self.window.get_mut(self.first).and_then(Option::take) else {
            return;
        };
        self.bytes = self.bytes.saturating_sub(entry.bytes);
        self.held = self.held.saturating_sub(1);
        let last = self.window.iter().rposition(Option::is_some);
        self.window
            .truncate(last.map_or(0, |last| last.saturating_add(1)));
        self.find_first();
    }

    /// Extended sequence number of the last packet that was released or waits.
    pub(super) fn highest(&self) -> u64 {
        self.next
            .wrapping_add(self.window.len() as u64)
            .wrapping_sub(1)
    }

    /// From when on the first packet waits for what is missing before it.
    pub(super) fn waiting_since(&self) -> Option<Nanos> {
        self.window
            .get(self.first)?
            .as_ref()
            .map(|entry| entry.since)
    }

    /// Drops what is held; says how many.
    pub(super) fn clear(&mut self) -> usize {
        let held = self.held;
        *self = Self::new(self.next);
        held
    }

    fn find_first(&mut self) {
        // Each place is passed once: the cost is that of having made it.
        self.first = self.window.iter().position(Option::is_some).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn feed(r: &mut Reorder<u64>, seq: u64, bytes: usize, out: &mut Vec<u64>) -> Place {
        let place = r.place(seq);
        match place {
            Place::Next => {
                r.pass();
                out.push(seq);
            }
            Place::Hold => {
                r.hold(seq, seq, bytes, seq);
                while r.is_over() && r.skip().is_some() {
                    out.extend(std::iter::from_fn(|| r.pop()).map(|p| p.1));
                }
                out.extend(std::iter::from_fn(|| r.pop()).map(|p| p.1));
            }
            _ => (),
        }
        place
    }

    // covers: B-RTCP-02
    #[test]
    fn a_gap_is_filled_or_given_up_and_late_differs_from_duplicate() {
        let mut r = Reorder::new(100);
        let mut out = Vec::new();
        for seq in [100, 102, 103, 106] {
            feed(&mut r, seq, 1, &mut out);
        }
        assert_eq!(out, [100]);
        assert_eq!(r.waiting_since(), Some(102));
        assert_eq!(feed(&mut r, 103, 1, &mut out), Place::Duplicate);
        assert_eq!(feed(&mut r, 100, 1, &mut out), Place::Duplicate);
        feed(&mut r, 101, 1, &mut out);
        assert_eq!(out, [100, 101, 102, 103]);
        assert_eq!(r.waiting_since(), Some(106));
        assert_eq!(r.skip(), Some((104, 2)));
        assert_eq!(r.pop(), Some((106, 106)));
        assert_eq!(r.place(105), Place::Late);
        assert_eq!(r.place(103), Place::Duplicate);
        assert_eq!(r.place(99), Place::Late);
        assert_eq!(
            (r.place(107), r.waiting_since(), r.skip()),
            (Place::Next, None, None)
        );
        assert_eq!((r.held, r.bytes), (0, 0));
    }

    #[test]
    fn bytes_and_span_are_bounded() {
        let mut r = Reorder::new(0);
        let mut out = Vec::new();
        feed(&mut r, 1, REORDER_BYTES, &mut out);
        assert!(out.is_empty());
        feed(&mut r, 2, 1, &mut out);
        assert_eq!(out, [1, 2]);

        let mut r = Reorder::new(0);
        let mut out = Vec::new();
        feed(&mut r, REORDER_SPAN as u64 - 1, 1, &mut out);
        assert!(out.is_empty());
        feed(&mut r, REORDER_SPAN as u64, 1, &mut out);
        assert_eq!(out, [REORDER_SPAN as u64 - 1, REORDER_SPAN as u64]);
    }

    #[test]
    fn more_than_half_the_sequence_space_is_held() {
        let mut r = Reorder::new(0);
        let mut out = Vec::new();
        for seq in 1..50_000 {
            feed(&mut r, seq, 1300, &mut out);
        }
        assert!(out.is_empty());
        feed(&mut r, 0, 1300, &mut out);
        assert!(out.iter().copied().eq(0..50_000));
        assert_eq!(r.bytes, 0);
    }

    proptest! {
        #[test]
        fn output_is_in_order_without_doubles(seqs in prop::collection::vec(0_u64..300, 0..400)) {
            let mut r = Reorder::new(10);
            let mut out = Vec::new();
            for &seq in &seqs {
                feed(&mut r, seq, 1, &mut out);
            }
            while r.skip().is_some() {
                out.extend(std::iter::from_fn(|| r.pop()).map(|p| p.1));
            }
            prop_assert_eq!((r.held, r.bytes), (0, 0));
            let mut want: Vec<_> = seqs.into_iter().filter(|&s| s >= 10).collect();
            want.sort_unstable();
            want.dedup();
            prop_assert_eq!(out, want);
        }
    }
}
