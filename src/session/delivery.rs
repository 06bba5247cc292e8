//! Delivery: what owns a stream's pad and pushes into it.
//!
//! All buffers and serialized events of a pad go through its delivery, in
//! order. Waking another thread for each burst is the largest cost there is,
//! so a delivery pushes right on its `rtsp2-io` worker while one of a few
//! permits is free. A downstream that takes its time gets a thread of its own.
//!
//! A worker that blocks in a push may hold tokio's I/O driver; the
//! [watchdog](super::watchdog) then wakes an idle worker, which takes the
//! driver over. Between taking data and the return of the push a delivery wakes no task of
//! `rtsp2-io`: such a task would wait in the blocked worker's LIFO slot, from
//! which no other worker can steal.

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gst::prelude::*;
use gst_rtp::prelude::*;
use tokio::sync::Notify;

use super::CAT;
use super::handover::{Backlog, Handover, Turn};
use super::lock::lock;
use super::permits::Permit;
use super::queue::{Bounds, Burst, Item, Queue};
use super::runtime::{Runtimes, STACK_SIZE};
use super::segment::OutTimes;
use super::watchdog::{SLOW, monotonic};
use crate::net::tcp::Gate;
use crate::rtsp::limits;

/// How long a stream keeps its own thread after the last slow push.
const THREAD_KEEP: Duration = Duration::from_secs(1);
/// How long a delivery waits for a permit before it takes its own thread.
const PERMIT_WAIT: Duration = Duration::from_millis(2);

/// How a pad is fed (property `delivery`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstRtsp2Delivery")]
pub enum DeliveryMode {
    #[default]
    #[enum_value(
        name = "On a shared worker, on an own thread when downstream blocks",
        nick = "auto"
    )]
    Auto,
    #[enum_value(name = "Always on a thread of the stream", nick = "thread")]
    Thread,
}

thread_local! {
    /// This thread is in a push of a delivery.
    static PUSHES: Cell<bool> = const { Cell::new(false) };
}

/// Whether the caller is code downstream that a delivery has called: it must
/// not wait for that delivery.
pub(super) fn is_called_by_delivery() -> bool {
    PUSHES.get()
}

/// What a delivery tells the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Downstream wants no more of this stream.
    Eos,
    /// The EOS event has gone down the pad.
    EosSent,
    /// Downstream failed.
    Failed(gst::FlowError),
}

/// Receives what happened to a pad; must not block.
pub(super) type Report = Box<dyn Fn(Outcome) + Send + Sync>;

pub(super) struct Delivery {
    pad: gst::Pad,
    element: glib::WeakRef<gst::Element>,
    runtimes: Arc<Runtimes>,
    report: Report,
    mode: DeliveryMode,
    buffer_lists: AtomicBool,
    /// With who takes from it: the task or the thread.
    queue: Handover<Queue>,
    /// Whether media is queued; siblings ask, so it needs no lock.
    media: AtomicBool,
    /// Wakes the delivery's task.
    task: Notify,
    /// When the last slow push ended.
    slow_at: AtomicU64,
    /// When the push that is under way began, 0 if there is none.
    pushing_since: AtomicU64,
    /// The last buffer did not get through: the next one is a discontinuity.
    discont: AtomicBool,
    ended: AtomicBool,
    /// Something was pushed into a linked pad.
    linked: AtomicBool,
    times: Mutex<OutTimes>,
    /// Held during a push: a flush waits for the one that is under way.
    pushing: Mutex<()>,
    /// Where downstream sets the pace: the reader waits here for it.
    gate: Option<Arc<Gate>>,
}

/// How a delivery feeds its pad.
pub(super) struct Feeding {
    pub mode: DeliveryMode,
    pub buffer_lists: bool,
    /// Times are those of the clock.
    pub live: bool,
    pub gate: Option<Arc<Gate>>,
}

impl Delivery {
    pub fn new(
        pad: gst::Pad,
        element: &gst::Element,
        runtimes: Arc<Runtimes>,
        feeding: Feeding,
        report: Report,
    ) -> Arc<Self> {
        let Feeding {
            mode,
            buffer_lists,
            live,
            gate,
        } = feeding;
        let delivery = Arc::new(Self {
            pad,
            element: element.downgrade(),
            runtimes,
            report,
            mode,
            buffer_lists: AtomicBool::new(buffer_lists),
            queue: Handover::new(Queue::default()),
            media: AtomicBool::new(false),
            task: Notify::new(),
            slow_at: AtomicU64::new(0),
            pushing_since: AtomicU64::new(0),
            discont: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            linked: AtomicBool::new(false),
            times: Mutex::new(OutTimes::new(live)),
            pushing: Mutex::new(()),
            gate,
        });
        if mode == DeliveryMode::Auto {
            delivery.runtimes.watchdog().watch();
        }
        delivery.runtimes.io().spawn(delivery.clone().run());
        delivery
    }

    pub fn pad(&self) -> &gst::Pad {
        &self.pad
    }

    /// That of the element.
    pub fn base_time(&self) -> u64 {
        let element = self.element.upgrade();
        let base_time = element.and_then(|element| element.base_time());
        base_time.map_or(0, |time| time.nseconds())
    }

    /// Adds `items` and wakes whoever pushes. Returns how many packets were
    /// dropped since the queue was full.
    pub fn enqueue(
        &self,
        items: impl Iterator<Item = Item>,
        bounds: impl FnOnce() -> Bounds,
    ) -> u64 {
        let add = |queue: &mut Queue| {
            let mut dropped = queue.trim(bounds);
            for item in items {
                dropped = dropped.saturating_add(queue.push(item));
            }
            self.media.store(queue.has_media(), Release);
            dropped
        };
        self.queue.change(add, || self.task.notify_one())
    }

    /// Adds an event behind what is queued.
    pub fn event(&self, event: gst::Event) {
        self.enqueue(std::iter::once(Item::Event(event)), || Bounds {
            bytes: usize::MAX,
            time: Duration::MAX,
        });
    }

    /// EOS, behind what is queued as far as downstream takes that in time.
    pub fn eos(&self) {
        let add = |queue: &mut Queue| {
            queue.push_eos(monotonic());
            self.media.store(queue.has_media(), Release);
        };
        self.queue.change(add, || self.task.notify_one());
    }

    /// Drops the media that is queued; the next buffer is a discontinuity.
    pub fn clear_media(&self) {
        self.queue.with(|queue| {
            queue.clear_media();
            self.media.store(false, Release);
        });
    }

    /// A flush begins: what is queued goes, and what comes waits.
    pub fn hold(&self) {
        self.queue.with(|queue| {
            queue.hold();
            self.media.store(false, Release);
        });
    }

    /// The pad flushes: a push that is under way returns.
    pub fn flush_start(&self, seqnum: gst::Seqnum) {
        if self.pad.is_active() {
            let flush = gst::event::FlushStart::builder().seqnum(seqnum);
            self.pad.push_event(flush.build());
        }
    }

    /// Nothing of before is pushed any more, and the pad takes data again.
    pub fn flush_stop(&self, seqnum: gst::Seqnum, reset_time: bool) {
        let _pushing = lock(&self.pushing);
        if self.pad.is_active() {
            let flush = gst::event::FlushStop::builder(reset_time).seqnum(seqnum);
            self.pad.push_event(flush.build());
        }
        lock(&self.times).flushed();
        self.ended.store(false, Release);
        self.discont.store(true, Relaxed);
    }

    /// The flush that [`hold`](Self::hold) began is over.
    pub fn release(&self) {
        self.queue.change(Queue::release, || self.task.notify_one());
    }

    /// Stream time of what was pushed last.
    pub fn position(&self) -> Option<gst::ClockTime> {
        lock(&self.times).position()
    }

    /// Running time of a burst, or of the end of the segment.
    pub fn running_time(&self, pts: u64, at_end: bool) -> Option<u64> {
        lock(&self.times).running_time(pts, at_end)
    }

    /// Whether so much is queued that no more is to be read.
    pub fn is_full(&self) -> bool {
        self.queue.with(|queue| queue.pinned()) > limits::PACED_QUEUE
    }

    /// Ends this delivery: nothing more is pushed, a push under way is left to itself.
    pub fn close(&self) {
        let close = |queue: &mut Queue| {
            let was_closed = queue.is_closed();
            queue.close();
            self.media.store(false, Release);
            was_closed
        };
        let was_closed = self.queue.change(close, || {});
        if !was_closed && self.mode == DeliveryMode::Auto {
            self.runtimes.watchdog().unwatch();
        }
        // The task ends as well as the thread.
        self.task.notify_one();
    }

    pub fn has_media(&self) -> bool {
        self.media.load(Acquire)
    }

    /// Whether anything is queued or being pushed.
    pub fn is_busy(&self) -> bool {
        self.pushing_since.load(Acquire) != 0 || !self.queue.with(|queue| queue.is_empty())
    }

    pub fn dropped(&self) -> u64 {
        self.queue.with(|queue| queue.dropped())
    }

    pub fn is_ended(&self) -> bool {
        self.ended.load(Acquire)
    }

    pub fn is_closed(&self) -> bool {
        self.queue.with(|queue| queue.is_closed())
    }

    /// Whether the pad is linked, or was when it was last pushed into.
    pub fn was_linked(&self) -> bool {
        self.linked.load(Relaxed) || self.pad.is_linked()
    }

    pub fn is_linked(&self) -> bool {
        self.pad.is_linked()
    }

    /// Whether downstream has held the stream up for longer than `limit`.
    pub fn is_blocked(&self, limit: Duration) -> bool {
        let since = self.pushing_since.load(Acquire);
        since != 0 && Duration::from_nanos(monotonic().saturating_sub(since)) > limit
    }

    pub fn set_buffer_lists(&self, buffer_lists: bool) {
        self.buffer_lists.store(buffer_lists, Release);
    }

    /// The task: pushes in place, or hands over to the thread.
    async fn run(self: Arc<Self>) {
        loop {
            self.task.notified().await;
            match self.queue.turn() {
                Turn::End => return,
                Turn::Rest => continue,
                Turn::Push => {}
            }
            if self.mode == DeliveryMode::Thread || self.is_slow() {
                self.hand_over().await;
                continue;
            }
            let watchdog = self.runtimes.watchdog();
            let mut permit = watchdog.acquire();
            if permit.is_none() {
                tokio::time::sleep(PERMIT_WAIT).await;
                permit = watchdog.acquire();
            }
            let Some(permit) = permit else {
                self.slow_at.store(monotonic(), Release);
                self.hand_over().await;
                continue;
            };
            let slow = self.drain(Some(&permit));
            drop(permit);
            if slow {
                self.hand_over().await;
            }
        }
    }

    /// Lets the stream's thread push from now on.
    async fn hand_over(self: &Arc<Self>) {
        while let Err(error) = self.start_thread() {
            gst::warning!(
                CAT,
                obj = self.pad,
                "no streaming thread, trying again: {error}"
            );
            tokio::time::sleep(THREAD_KEEP).await;
        }
    }

    fn is_slow(&self) -> bool {
        let slow_at = self.slow_at.load(Acquire);
        slow_at != 0 && Duration::from_nanos(monotonic().saturating_sub(slow_at)) < THREAD_KEEP
    }

    fn start_thread(self: &Arc<Self>) -> std::io::Result<()> {
        if !self.queue.to_thread() {
            return Ok(());
        }
        let delivery = self.clone();
        let spawned = std::thread::Builder::new()
            .name(format!("rtspsrc2:{}", self.pad.name()))
            .stack_size(STACK_SIZE)
            .spawn(move || delivery.run_thread());
        if spawned.is_err() {
            self.queue.take_back();
        }
        spawned.map(drop)
    }

    fn run_thread(self: Arc<Self>) {
        self.post_stream_status(gst::StreamStatusType::Create);
        self.post_stream_status(gst::StreamStatusType::Enter);
        let keep = || self.mode == DeliveryMode::Thread || self.is_slow();
        while self.queue.wait(THREAD_KEEP, keep) {
            self.drain(None);
        }
        self.post_stream_status(gst::StreamStatusType::Leave);
    }

    fn post_stream_status(&self, kind: gst::StreamStatusType) {
        if let Some(element) = self.element.upgrade() {
            let message = gst::message::StreamStatus::builder(kind, &element)
                .src(&self.pad)
                .build();
            let _ = element.post_message(message);
        }
    }

    /// The next thing to push.
    fn next(&self) -> Option<(Item, u64)> {
        self.queue.with(|queue| {
            let item = queue.pop();
            self.media.store(queue.has_media(), Release);
            item
        })
    }

    /// Pushes what is queued. In place it stops after a slow push: true.
    fn drain(&self, permit: Option<&Permit>) -> bool {
        let Some(element) = self.element.upgrade() else {
            self.queue.with(Queue::clear);
            return false;
        };
        let base_time = || element.base_time().map_or(0, |time| time.nseconds());
        let mut base = base_time();
        let mut began = monotonic();
        while let Some((item, epoch)) = self.next() {
            if let Some(permit) = permit {
                permit.push_begins(began);
            }
            self.pushing_since.store(began, Release);
            // Elements written in Rust may panic; their stream fails, not ours.
            let pushing = lock(&self.pushing);
            let pushed = match self.queue.with(|queue| queue.epoch()) == epoch {
                true => {
                    PUSHES.set(true);
                    std::panic::catch_unwind(AssertUnwindSafe(|| self.push(base, item)))
                }
                // It is of before a flush.
                false => Ok(()),
            };
            PUSHES.set(false);
            drop(pushing);
            self.pushing_since.store(0, Release);
            if pushed.is_err() {
                self.ended.store(true, Release);
                (self.report)(Outcome::Failed(gst::FlowError::Error));
            }
            if let Some(gate) = &self.gate
                && gate.is_closed()
                && !self.is_full()
            {
                gate.open();
            }
            let ended = monotonic();
            if Duration::from_nanos(ended.saturating_sub(began)) > SLOW {
                self.queue.with(|queue| queue.held_up(began, ended));
                self.slow_at.store(ended, Release);
                if permit.is_some() {
                    return !self.queue.with(|queue| queue.is_empty());
                }
                // The pipeline may have been paused meanwhile.
                base = base_time();
            }
            began = ended;
        }
        false
    }

    fn push(&self, base_time: u64, item: Item) {
        if self.ended.load(Acquire) {
            return;
        }
        let out = |pts: u64| lock(&self.times).of(pts, base_time);
        match item {
            Item::Burst(mut burst) => {
                if !self.pad.is_linked() {
                    self.discont.store(true, Relaxed);
                    return;
                }
                if !self.linked.load(Relaxed) {
                    self.linked.store(true, Relaxed);
                }
                burst.discont |= self.discont.swap(false, Relaxed);
                let pts = lock(&self.times).of_burst(burst.pts, base_time);
                let result = self.push_burst(burst, pts);
                self.after_push(result);
            }
            Item::Event(event) => {
                let eos = event.type_() == gst::EventType::Eos;
                self.pad.push_event(event);
                if eos {
                    self.ended.store(true, Release);
                    (self.report)(Outcome::EosSent);
                }
            }
            Item::Lost {
                seq,
                count,
                pts,
                duration,
            } => {
                let structure = gst::Structure::builder("GstRTPPacketLost")
                    .field("seqnum", u32::from(seq))
                    .field("timestamp", out(pts).nseconds())
                    .field("duration", duration)
                    .field("might-have-been-fec", false)
                    .field("retry", 0u32)
                    .field("count", count)
                    .build();
                self.pad
                    .push_event(gst::event::CustomDownstream::new(structure));
            }
            Item::Segment(segment) => {
                let event = lock(&self.times).begin(&segment, base_time);
                self.pad.push_event(event);
            }
            Item::Gap { start, duration } => {
                // What lies before the base time is none of the pipeline's.
                let (start, end) = (out(start), out(start.saturating_add(duration)));
                if end > start && !self.segment_is_withheld() {
                    let gap = gst::event::Gap::builder(start).duration(end.saturating_sub(start));
                    self.pad.push_event(gap.build());
                }
            }
        }
    }

    /// A depayloader makes its SEGMENT of the first packet and hands a GAP on
    /// before that. No element behind it can use such a GAP (GStreamer 1.22).
    fn segment_is_withheld(&self) -> bool {
        let peer = self.pad.peer().and_then(|peer| peer.parent_element());
        peer.and_then(|peer| peer.downcast::<gst_rtp::RTPBaseDepayload>().ok())
            .is_some_and(|depayloader| {
                let src = depayloader.src_pad();
                src.sticky_event::<gst::event::Segment>(0).is_none()
            })
    }

    fn push_burst(
        &self,
        burst: Burst,
        pts: gst::ClockTime,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut discont = burst.discont;
        let stamp = |buffer: &mut gst::Buffer, discont: bool| {
            let buffer = buffer.make_mut();
            buffer.set_pts(pts);
            if discont {
                buffer.set_flags(gst::BufferFlags::DISCONT | gst::BufferFlags::RESYNC);
            }
        };
        let mut buffers = burst.buffers;
        if buffers.len() > 1 && self.buffer_lists.load(Relaxed) {
            let mut list = gst::BufferList::new_sized(buffers.len());
            let writable = list.make_mut();
            for mut buffer in buffers {
                stamp(&mut buffer, std::mem::take(&mut discont));
                writable.add(buffer);
            }
            return self.pad.push_list(list);
        }
        let mut result = Ok(gst::FlowSuccess::Ok);
        for mut buffer in buffers.drain(..) {
            stamp(&mut buffer, std::mem::take(&mut discont));
            result = self.pad.push(buffer);
            if result.is_err() {
                break;
            }
        }
        result
    }

    fn after_push(&self, result: Result<gst::FlowSuccess, gst::FlowError>) {
        match result {
            Ok(_) => {}
            // Dropped; tried again when the pad is linked or flows again.
            Err(gst::FlowError::NotLinked | gst::FlowError::Flushing) => {
                self.discont.store(true, Relaxed);
            }
            Err(gst::FlowError::Eos) => {
                self.ended.store(true, Release);
                // As every source does: sinks report the end when they see it.
                self.pad.push_event(gst::event::Eos::new());
                (self.report)(Outcome::Eos);
            }
            Err(error) => {
                self.ended.store(true, Release);
                (self.report)(Outcome::Failed(error));
            }
        }
    }
}
