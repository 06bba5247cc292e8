//! The bounded queue between a stream's reader and its delivery.

use std::collections::VecDeque;
use std::time::Duration;

use super::handover::Backlog;
use super::segment::NewSegment;
use crate::rtp::stats::Nanos;
use crate::rtsp::limits;

/// Packets of one RTP timestamp, at most [`Burst::MAX`] of them.
pub(super) struct Burst {
    /// Presentation time on the pipeline clock.
    pub pts: Nanos,
    pub buffers: Vec<gst::Buffer>,
    pub discont: bool,
    /// Decoding can start here.
    pub key: bool,
    /// Bytes of memory that the buffers keep alive.
    pub pinned: usize,
}

impl Burst {
    /// A buffer list ends here at the latest: sinks synchronise only its
    /// first buffer.
    pub const MAX: usize = 64;
}

pub(super) enum Item {
    Burst(Burst),
    /// A serialized event, in its place among the media.
    Event(gst::Event),
    /// Packets that will not come.
    Lost {
        seq: u16,
        count: u32,
        pts: Nanos,
        duration: Nanos,
    },
    /// From here on other stream times.
    Segment(Box<NewSegment>),
    /// Nothing from `start` on for `duration`: a muxer need not wait.
    Gap {
        start: Nanos,
        duration: Nanos,
    },
}

impl Item {
    fn is_caps(&self) -> bool {
        matches!(self, Item::Event(event) if event.type_() == gst::EventType::Caps)
    }

    /// Events may not be lost with the media around them.
    fn must_stay(&self) -> bool {
        matches!(self, Item::Event(_) | Item::Segment(_))
    }
}

/// How long slow pushes may delay an EOS in all.
const EOS_PATIENCE: Duration = Duration::from_millis(500);
/// The longest wait for a key frame after a drop.
const KEY_FRAME_WAIT: Duration = Duration::from_secs(10);

/// Bounds of a queue; what is over them is dropped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub bytes: usize,
    pub time: Duration,
}

/// A queue may span this much more than the latency.
const SLACK: Duration = Duration::from_millis(500);
const TIME_MIN: Duration = Duration::from_secs(1);

impl Bounds {
    /// By the stream's latency and by that of the whole pipeline, which sinks
    /// hold back.
    pub fn of(latency: Duration, pipeline: Duration, drop_on_latency: bool) -> Self {
        let time = match drop_on_latency {
            true => latency.max(pipeline),
            false => latency
                .saturating_add(pipeline)
                .saturating_add(SLACK)
                .max(TIME_MIN),
        };
        // A fast stream needs room for all of it.
        let seconds = usize::try_from(time.as_millis().div_ceil(1000)).unwrap_or(usize::MAX);
        let bytes = limits::QUEUE
            .saturating_mul(seconds.max(1))
            .min(limits::QUEUE_WAITING);
        Self { bytes, time }
    }
}

#[derive(Default)]
pub(super) struct Queue {
    items: VecDeque<Item>,
    pinned: usize,
    bursts: usize,
    discont: bool,
    /// Since when a key frame is waited for, by presentation time.
    await_key: Option<Nanos>,
    dropped: u64,
    closed: bool,
    /// Flushes that are under way: nothing is taken.
    held: u32,
    /// Counts them.
    epoch: u64,
    /// An EOS is queued: how long downstream may still hold up what is before it.
    patience: Option<(Nanos, Duration)>,
}

impl Queue {
    /// Adds an item. Returns how many packets were dropped instead, since
    /// decoding could not start with them.
    pub fn push(&mut self, item: Item) -> u64 {
        if self.closed {
            return 0;
        }
        let Item::Burst(mut burst) = item else {
            // Events are few and may not be lost; the others can be.
            if item.is_caps() && self.items.back().is_some_and(Item::is_caps) {
                self.items.pop_back();
            }
            if item.must_stay() || self.items.len() < limits::QUEUE_ITEMS {
                self.items.push_back(item);
            }
            return 0;
        };
        if let Some(since) = self.await_key {
            // A stream may do without key frames (intra refresh).
            let waited = Duration::from_nanos(burst.pts.saturating_sub(since));
            if !burst.key && waited < KEY_FRAME_WAIT {
                return self.count_drop(&burst);
            }
            self.await_key = None;
        }
        burst.discont |= std::mem::take(&mut self.discont);
        self.pinned = self.pinned.saturating_add(burst.pinned);
        self.bursts = self.bursts.saturating_add(1);
        self.items.push_back(Item::Burst(burst));
        0
    }

    /// Drops what is over the bounds, before more is added: it is the backlog
    /// that shows a slow downstream, not how much comes at once (a gap that is
    /// given up sets free all that waited behind it). Returns how many packets
    /// were dropped.
    pub fn trim(&mut self, bounds: impl FnOnce() -> Bounds) -> u64 {
        // Looking at the siblings costs; only a queue that has grown asks.
        let grown = self.bursts > 1 && (self.pinned > limits::QUEUE_FREE || self.bursts > 8);
        if !grown {
            return 0;
        }
        let bounds = bounds();
        let mut dropped = 0u64;
        while self.bursts > 1 && self.is_over(bounds) {
            dropped = dropped.saturating_add(self.drop_to_key_frame());
        }
        dropped
    }

    fn count_drop(&mut self, burst: &Burst) -> u64 {
        let packets = u64::try_from(burst.buffers.len()).unwrap_or(u64::MAX);
        self.dropped = self.dropped.saturating_add(packets);
        self.discont = true;
        packets
    }

    fn is_over(&self, bounds: Bounds) -> bool {
        self.pinned > bounds.bytes
            || self.items.len() > limits::QUEUE_ITEMS
            || self.span() > bounds.time
    }

    /// Time between the first and the last burst.
    fn span(&self) -> Duration {
        let pts = |item: &Item| match item {
            Item::Burst(burst) => Some(burst.pts),
            _ => None,
        };
        let first = self.items.iter().find_map(pts);
        let last = self.items.iter().rev().find_map(pts);
        match (first, last) {
            (Some(first), Some(last)) => Duration::from_nanos(last.saturating_sub(first)),
            _ => Duration::ZERO,
        }
    }

    /// Drops the oldest media up to the next burst where decoding can start;
    /// events stay.
    fn drop_to_key_frame(&mut self) -> u64 {
        let before = self.dropped;
        let mut events = VecDeque::new();
        let mut last = None;
        while let Some(item) = self.items.pop_front() {
            match item {
                Item::Burst(burst) => {
                    if burst.key && self.dropped != before {
                        let mut burst = burst;
                        burst.discont = true;
                        self.discont = false;
                        self.items.push_front(Item::Burst(burst));
                        break;
                    }
                    self.pinned = self.pinned.saturating_sub(burst.pinned);
                    self.bursts = self.bursts.saturating_sub(1);
                    last = Some(burst.pts);
                    self.count_drop(&burst);
                }
                item if item.must_stay() => {
                    // A sender may change the payload type with each packet; the last counts.
                    if item.is_caps() {
                        events.retain(|event| !Item::is_caps(event));
                    }
                    events.push_back(item);
                }
                _ => {}
            }
        }
        // Nothing left to start from: what comes is useless up to a key frame.
        self.await_key = last.filter(|_| self.bursts == 0);
        while let Some(event) = events.pop_back() {
            self.items.push_front(event);
        }
        self.dropped.saturating_sub(before)
    }

    /// The next item, and the flush that it came after.
    pub fn pop(&mut self) -> Option<(Item, u64)> {
        if self.held > 0 {
            return None;
        }
        let item = self.items.pop_front()?;
        if let Item::Burst(burst) = &item {
            self.pinned = self.pinned.saturating_sub(burst.pinned);
            self.bursts = self.bursts.saturating_sub(1);
        }
        Some((item, self.epoch))
    }

    /// A flush begins: what is queued goes, and nothing is taken until it ends.
    pub fn hold(&mut self) {
        self.clear();
        self.patience = None;
        self.held = self.held.saturating_add(1);
        self.epoch = self.epoch.wrapping_add(1);
    }

    pub fn release(&mut self) {
        self.held = self.held.saturating_sub(1);
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Bytes of memory that it keeps alive.
    pub fn pinned(&self) -> usize {
        self.pinned
    }

    pub fn has_media(&self) -> bool {
        self.bursts > 0
    }

    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Drops what is queued; the next burst is a discontinuity.
    pub fn clear(&mut self) {
        self.items.clear();
        self.pinned = 0;
        self.bursts = 0;
        self.discont = true;
        self.await_key = None;
    }

    /// Drops the media, keeps the events.
    pub fn clear_media(&mut self) {
        self.items.retain(Item::must_stay);
        self.pinned = 0;
        self.bursts = 0;
        self.discont = true;
        self.await_key = None;
    }

    /// Adds EOS, which was asked for `now`; see [`held_up`](Self::held_up).
    pub fn push_eos(&mut self, now: Nanos) {
        self.patience = Some((now, EOS_PATIENCE));
        self.push(Item::Event(gst::event::Eos::new()));
    }

    /// Downstream took its time with a push. What is queued before an EOS is
    /// dropped once that adds up to too much since it was asked for.
    pub fn held_up(&mut self, began: Nanos, ended: Nanos) {
        let Some((asked, left)) = self.patience else {
            return;
        };
        let took = Duration::from_nanos(ended.saturating_sub(began.max(asked)));
        self.patience = left.checked_sub(took).map(|left| (asked, left));
        if self.patience.is_none() {
            let packets = |item: &Item| match item {
                Item::Burst(burst) => u64::try_from(burst.buffers.len()).unwrap_or(u64::MAX),
                _ => 0,
            };
            let dropped = self.items.iter().map(packets).fold(0, u64::saturating_add);
            self.dropped = self.dropped.saturating_add(dropped);
            self.clear_media();
        }
    }

    pub fn close(&mut self) {
        self.clear();
        self.closed = true;
    }
}

impl Backlog for Queue {
    fn is_empty(&self) -> bool {
        self.items.is_empty() || self.held > 0
    }

    fn is_closed(&self) -> bool {
        self.closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn burst(pts: Nanos, key: bool) -> Item {
        gst::init().unwrap();
        Item::Burst(Burst {
            pts,
            buffers: vec![gst::Buffer::new()],
            discont: false,
            key,
            pinned: 1000,
        })
    }

    /// As a delivery adds: the backlog is looked at first.
    fn push(queue: &mut Queue, item: Item, ms: u64) -> u64 {
        let bounds = || Bounds {
            bytes: 1 << 20,
            time: Duration::from_millis(ms),
        };
        queue.trim(bounds) + queue.push(item)
    }

    #[test]
    fn a_full_queue_drops_its_oldest_packets_up_to_the_next_key_frame() {
        let mut queue = Queue::default();
        for i in 0..40u64 {
            let dropped = push(&mut queue, burst(i * 40 * MS, i % 10 == 0), 1000);
            // 27 bursts span more than 1000 ms: 10 go, up to the key frame.
            let due = i == 27 || i == 37;
            assert_eq!(dropped, if due { 10 } else { 0 }, "burst {i}");
        }
        match queue.pop() {
            Some((Item::Burst(first), _)) => {
                assert_eq!(first.pts, 20 * 40 * MS);
                assert!(first.key && first.discont);
            }
            _ => panic!("a burst"),
        }
        assert_eq!(queue.dropped(), 20);
    }

    #[test]
    fn without_a_key_frame_in_the_queue_all_goes_until_one_comes() {
        let mut queue = Queue::default();
        for i in 0..12u64 {
            push(&mut queue, burst(i * 100 * MS, i == 0), 1000);
        }
        assert_eq!(push(&mut queue, burst(12 * 100 * MS, false), 1000), 13);
        assert!(!queue.has_media());
        push(&mut queue, burst(13 * 100 * MS, true), 1000);
        assert!(matches!(queue.pop(), Some((Item::Burst(b), _)) if b.discont && b.key));
    }

    #[test]
    fn with_drop_on_latency_the_bound_is_what_sinks_hold_back() {
        let ms = Duration::from_millis;
        let time = |latency, pipeline, drop| Bounds::of(ms(latency), ms(pipeline), drop).time;
        assert_eq!(time(100, 0, false), ms(1000));
        assert_eq!(time(2000, 300, false), ms(2800));
        assert_eq!(time(100, 0, true), ms(100));
        // The pipeline's latency has ours in it.
        assert_eq!(time(100, 160, true), ms(160));
        let bytes = |latency| Bounds::of(ms(latency), ms(0), true).bytes;
        assert_eq!(bytes(0), limits::QUEUE);
        assert_eq!(bytes(1001), 2 * limits::QUEUE);
        assert_eq!(bytes(1_000_000), limits::QUEUE_WAITING);
    }

    #[test]
    fn what_comes_at_once_is_no_backlog() {
        let mut queue = Queue::default();
        for i in 0..100u64 {
            assert_eq!(queue.push(burst(i * 100 * MS, i == 0)), 0);
        }
        assert!(queue.has_media());
    }

    #[test]
    fn an_eos_waits_for_a_slow_downstream_no_longer_than_500_ms() {
        let mut queue = Queue::default();
        for i in 0..10u64 {
            queue.push(burst(i * 40 * MS, true));
        }
        queue.held_up(0, 10_000 * MS);
        assert!(queue.has_media(), "there is no EOS yet");
        queue.push_eos(20_000 * MS);
        // A push that was held up before it was asked for, as by a muxer that waits.
        queue.held_up(10_000 * MS, 20_300 * MS);
        queue.held_up(30_000 * MS, 30_200 * MS);
        assert!(queue.has_media());
        queue.held_up(40_000 * MS, 40_003 * MS);
        assert_eq!(queue.dropped(), 10);
        assert!(matches!(queue.pop(), Some((Item::Event(_), _))));
        assert!(queue.is_empty());
    }

    #[test]
    fn caps_that_change_with_each_packet_do_not_pile_up() {
        gst::init().unwrap();
        let mut queue = Queue::default();
        let bounds = || Bounds {
            bytes: 100 * 1000,
            time: Duration::MAX,
        };
        for round in 0..100u64 {
            queue.trim(bounds);
            for i in 0..100 {
                let caps = gst::Caps::builder("application/x-rtp").field("payload", i % 2);
                queue.push(Item::Event(gst::event::Caps::new(&caps.build())));
                queue.push(burst((round * 100 + i as u64) * MS, true));
            }
            assert!(queue.items.len() <= 402, "{}", queue.items.len());
        }
    }

    #[test]
    fn events_survive_a_drop() {
        let mut queue = Queue::default();
        push(&mut queue, burst(0, true), 100);
        push(&mut queue, Item::Event(gst::event::Eos::new()), 100);
        for i in 0..20u64 {
            push(&mut queue, burst(i * 100 * MS, false), 100);
        }
        assert!(matches!(queue.pop(), Some((Item::Event(_), _))));
    }

    #[test]
    fn a_flush_empties_the_queue_and_holds_what_comes_until_it_ends() {
        let mut queue = Queue::default();
        queue.push(burst(0, true));
        queue.push(Item::Event(gst::event::Eos::new()));
        let before = queue.epoch();
        queue.hold();
        queue.hold();
        queue.push(burst(MS, true));
        assert!(queue.pop().is_none() && queue.is_empty());
        queue.release();
        assert!(queue.pop().is_none(), "another one is under way");
        queue.release();
        let (item, epoch) = queue.pop().unwrap();
        assert!(matches!(item, Item::Burst(b) if b.pts == MS && b.discont));
        assert_eq!(epoch, before + 2);
        assert!(queue.is_empty());
    }
}
