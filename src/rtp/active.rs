//! The active source of a stream: what RFC 3550 §A.1 keeps of it.

use super::output::Held;
use super::reorder::Reorder;
use super::seq::{FIRST_CYCLE, distance, extend_seq};
use super::source::SILENCE;
use super::stats::{Jitter, Nanos};

/// So many packets in order are no reordering of the network.
const RUN: u32 = 8;

/// The source whose packets are handed out.
#[derive(Debug)]
pub(super) struct Active<P> {
    pub ssrc: u32,
    pub buffer: Reorder<Held<P>>,
    /// Highest extended sequence number.
    pub highest: u64,
    /// First one, and its cycle (RFC 3550 §A.1, base_seq).
    pub base: u64,
    pub cycle: u64,
    pub received: u64,
    pub jitter: Jitter,
    pub last_arrival: Nanos,
    /// Arrival of the last packet that was neither late nor a duplicate.
    pub last_accepted: Nanos,
    /// Those that are not the highest: how many came in a row, and the last of them with
    /// its arrival.
    behind: (u32, u64, Nanos),
    pub bye: bool,
    /// A packet from far away; one that follows it makes it the new sequence.
    pub jump: Option<(u16, usize, Held<P>)>,
    /// What follows the last late or duplicate packet.
    pub after_late: u16,
    /// The highest number when the second before began, and this one.
    pub marks: (u64, u64),
    pub mark_time: Nanos,
}

impl<P> Active<P> {
    pub(super) fn new(ssrc: u32, first: u64, now: Nanos) -> Self {
        let highest = first.wrapping_sub(1);
        Self {
            ssrc,
            buffer: Reorder::new(first),
            highest,
            base: first,
            cycle: first & !FIRST_CYCLE.wrapping_sub(1),
            received: 0,
            jitter: Jitter::default(),
            last_arrival: now,
            last_accepted: now,
            behind: (0, 0, 0),
            bye: false,
            jump: None,
            after_late: 0,
            marks: (highest, highest),
            mark_time: now,
        }
    }

    /// The extended sequence number, or `None` if it is too far ahead.
    #[inline]
    pub(super) fn extend(&self, seq: u16, max_dropout: u16) -> Option<u64> {
        let ext_seq = extend_seq(self.highest, seq);
        if distance(self.highest, ext_seq) <= i64::from(max_dropout) {
            return Some(ext_seq);
        }
        // With more than half of the numbers held, what is missing before
        // them looks as if it were ahead.
        let earlier = ext_seq.wrapping_sub(FIRST_CYCLE);
        (distance(self.buffer.next(), earlier) >= 0).then_some(earlier)
    }

    /// Whether a number that was passed is so far behind that it must be of
    /// another sequence: by more than `max_misorder` and more than came
    /// within the last second or two.
    pub(super) fn is_far_behind(&self, ext_seq: u64, max_misorder: u16) -> bool {
        let behind = distance(ext_seq, self.highest);
        behind > i64::from(max_misorder) && distance(ext_seq, self.marks.0) > 0
    }

    /// A packet was accepted that is not the highest.
    pub(super) fn note_behind(&mut self, ext_seq: u64, now: Nanos) {
        let (run, last, _) = self.behind;
        let follows = last.wrapping_add(1) == ext_seq;
        self.behind = (
            if follows { run.saturating_add(1) } else { 1 },
            ext_seq,
            now,
        );
    }

    /// The first packet that waits, if its sequence number must be damaged: nothing
    /// follows it, and well after it the sequence goes on, in order, before it.
    pub(super) fn is_first_damaged(&self, now: Nanos) -> bool {
        let (run, _, last) = self.behind;
        let Some(first) = self.buffer.first_alone().filter(|_| run >= RUN) else {
            return false;
        };
        let half = now.saturating_sub(first.arrival) / 2;
        last > first.arrival.saturating_add(half)
    }

    /// Drops the first packet that waits, as if it had never come.
    pub(super) fn drop_first(&mut self) {
        self.buffer.drop_first();
        self.highest = self.buffer.highest();
        let (before, last) = self.marks;
        self.marks = (before.min(self.highest), last.min(self.highest));
    }

    pub(super) fn silent_at(&self) -> Nanos {
        if self.bye {
            self.last_arrival
        } else {
            self.last_arrival.saturating_add(SILENCE)
        }
    }
}
