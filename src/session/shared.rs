//! What readers and the session share: the state of a stream, and what the
//! streams of a session know of each other.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::*};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::delivery::Delivery;
use super::lock::lock;
use crate::rtp::srtp::Suite;
use crate::rtp::stats::{Nanos, Reception};
use crate::rtp::sync::{Offset, Synchronizer};

/// The state of a stream that reader and session share.
pub(super) struct Shared {
    pub delivery: Arc<Delivery>,
    pub(super) reception: Mutex<Receptions>,
    /// Monotonic time of the last RTP packet in the current attempt, 0 before the first.
    pub(super) last_rtp: AtomicU64,
    pub(super) offset: AtomicI64,
    pub(super) offset_mode: AtomicI64,
    pub(super) offset_pending: AtomicBool,
    pub(super) latency: AtomicU64,
    /// What the whole pipeline buffers; downstream holds that much back.
    pub(super) pipeline_latency: AtomicU64,
    /// Nothing stays queued beyond that.
    pub(super) drop_on_latency: AtomicBool,
    /// The last presentation time on the current clock.
    pub(super) last_pts: AtomicU64,
    /// Packets that were dropped since the element was paused.
    pub paused_drops: AtomicU64,
    /// How the media is encrypted.
    suite: Mutex<Option<Suite>>,
    /// Packets of a secured stream that its keys did not protect.
    pub unauthentic: AtomicU64,
    /// Packets of a secured stream that came a second time.
    pub replayed: AtomicU64,
    /// RTCP came on the channel of the media without having been agreed.
    pub rtcp_among_media: AtomicBool,
}

#[derive(Default)]
pub(super) struct Receptions {
    before: Reception,
    pub(super) current: Reception,
}

/// An offset that is applied at once.
pub(super) const STEP: i64 = 1;

impl Shared {
    pub fn new(delivery: Arc<Delivery>, latency: Duration) -> Arc<Self> {
        let shared = Self {
            delivery,
            reception: Mutex::default(),
            last_rtp: AtomicU64::new(0),
            offset: AtomicI64::new(0),
            offset_mode: AtomicI64::new(0),
            offset_pending: AtomicBool::new(false),
            latency: AtomicU64::new(0),
            pipeline_latency: AtomicU64::new(0),
            drop_on_latency: AtomicBool::new(false),
            last_pts: AtomicU64::new(0),
            paused_drops: AtomicU64::new(0),
            suite: Mutex::new(None),
            unauthentic: AtomicU64::new(0),
            replayed: AtomicU64::new(0),
            rtcp_among_media: AtomicBool::new(false),
        };
        shared.set_latency(latency);
        Arc::new(shared)
    }

    /// What the current attempt has received.
    pub fn current(&self) -> Reception {
        lock(&self.reception).current
    }

    /// What was received since the start, over all attempts.
    pub fn total(&self) -> Reception {
        let receptions = lock(&self.reception);
        receptions.current.after(&receptions.before)
    }

    /// A new attempt begins.
    pub fn start_path(&self) {
        let mut receptions = lock(&self.reception);
        receptions.before = receptions.current.after(&receptions.before);
        receptions.current = Reception::default();
        self.last_rtp.store(0, Release);
        self.offset_pending.store(false, Release);
    }

    pub fn set_suite(&self, suite: Option<Suite>) {
        *lock(&self.suite) = suite;
    }

    pub fn suite(&self) -> Option<Suite> {
        *lock(&self.suite)
    }

    /// The last presentation time that was handed over.
    pub fn last_pts(&self) -> Nanos {
        self.last_pts.load(Relaxed)
    }

    pub fn last_rtp(&self) -> Option<u64> {
        Some(self.last_rtp.load(Acquire)).filter(|&at| at != 0)
    }

    pub fn set_latency(&self, latency: Duration) {
        self.latency.store(
            u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX),
            Release,
        );
    }

    pub fn set_pipeline_latency(&self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.pipeline_latency.store(nanos, Release);
    }

    pub fn set_drop_on_latency(&self, drop: bool) {
        self.drop_on_latency.store(drop, Release);
    }

    pub(super) fn apply(&self, offset: Offset) {
        self.offset.store(offset.ns, Relaxed);
        // A step that the reader has not taken yet stays one.
        if offset.step || !self.offset_pending.load(Acquire) {
            self.offset_mode
                .store(if offset.step { STEP } else { 0 }, Relaxed);
        }
        self.offset_pending.store(true, Release);
    }
}

/// What the streams of a session know of each other.
#[derive(Default)]
pub(super) struct Group {
    pub(super) streams: Mutex<BTreeMap<usize, Arc<Shared>>>,
    pub(super) sync: Mutex<Synchronizer>,
    /// When the first packet of the position that is played came.
    origin: Mutex<Option<Nanos>>,
}

impl Group {
    pub fn add(&self, stream: usize, shared: Arc<Shared>, clock_rate: u32) {
        lock(&self.sync).add_stream(stream, clock_rate);
        lock(&self.streams).insert(stream, shared);
    }

    /// A new start: what was known of the senders' clocks is void.
    pub fn restart(&self) {
        lock(&self.sync).clear();
        lock(&self.streams).clear();
    }

    /// Streams further apart than this do not belong together; 0 is any.
    pub fn set_max_offset(&self, max_offset: Nanos) {
        lock(&self.sync).set_max_offset(max_offset);
    }

    /// A seek: the streams are to be aligned anew.
    pub fn realign(&self) {
        *lock(&self.origin) = None;
        lock(&self.sync).reset();
        for stream in lock(&self.streams).values() {
            stream.offset.store(0, Relaxed);
            stream.offset_mode.store(STEP, Relaxed);
            stream.offset_pending.store(true, Release);
        }
    }

    /// When the position that is played begins: with the first packet of any
    /// stream, and after what has been handed over.
    pub fn origin(&self, arrival: Nanos) -> Nanos {
        let streams = lock(&self.streams);
        let last = streams.values().map(|stream| stream.last_pts()).max();
        *lock(&self.origin).get_or_insert(last.map_or(arrival, |last| arrival.max(last)))
    }

    /// Whether no stream needs more for now: one has plenty, and none that is
    /// linked has nothing.
    pub(super) fn has_enough(&self) -> bool {
        let streams = lock(&self.streams);
        let wants = |stream: &Arc<Shared>| {
            let delivery = &stream.delivery;
            delivery.is_linked() && !delivery.is_ended() && !delivery.has_media()
        };
        streams.values().any(|stream| stream.delivery.is_full()) && !streams.values().any(wants)
    }

    /// Whether another linked stream has nothing queued: a muxer may be
    /// waiting for it.
    pub(super) fn is_waited_for(&self, stream: &Arc<Shared>) -> bool {
        lock(&self.streams).values().any(|other| {
            !Arc::ptr_eq(other, stream)
                && other.delivery.is_linked()
                && !other.delivery.is_ended()
                && !other.delivery.has_media()
        })
    }
}
