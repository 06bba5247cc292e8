//! The pipeline's clock, as readers see it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::*};
use std::time::Instant;

use gst::prelude::*;

use super::lock::lock;
use crate::rtp::stats::Nanos;

/// The clock that the pipeline selected; it may change at any time.
pub(crate) struct ClockCell {
    clock: Mutex<Option<gst::Clock>>,
    version: AtomicU64,
}

impl ClockCell {
    pub fn new(clock: Option<gst::Clock>) -> Self {
        Self {
            clock: Mutex::new(clock),
            version: AtomicU64::new(1),
        }
    }

    pub fn set(&self, clock: Option<gst::Clock>) {
        let mut current = lock(&self.clock);
        if *current != clock {
            *current = clock;
            self.version.fetch_add(1, Release);
        }
    }

    pub fn get(&self) -> Option<gst::Clock> {
        lock(&self.clock).clone()
    }
}

/// One reader's view of a [`ClockCell`].
pub(super) struct ClockReader {
    cell: std::sync::Arc<ClockCell>,
    clock: gst::Clock,
    version: u64,
}

impl ClockReader {
    pub fn new(cell: std::sync::Arc<ClockCell>) -> Self {
        let version = cell.version.load(Acquire);
        let clock = Self::current(&cell);
        Self {
            cell,
            clock,
            version,
        }
    }

    fn current(cell: &ClockCell) -> gst::Clock {
        cell.get().unwrap_or_else(gst::SystemClock::obtain)
    }

    /// Follows a change of the clock. True if there was one: time starts anew.
    pub fn update(&mut self) -> bool {
        let version = self.cell.version.load(Acquire);
        if version == self.version {
            return false;
        }
        self.version = version;
        let clock = Self::current(&self.cell);
        let changed = clock != self.clock;
        self.clock = clock;
        changed
    }

    pub fn now(&self) -> Nanos {
        self.clock.time().nseconds()
    }

    /// Both clocks now, to convert the arrival times of a read.
    pub fn pair(&self) -> ClockPair {
        ClockPair {
            instant: Instant::now(),
            clock: self.now(),
        }
    }
}

/// One moment on the monotonic clock and on the pipeline's.
#[derive(Clone, Copy)]
pub(super) struct ClockPair {
    instant: Instant,
    clock: Nanos,
}

impl ClockPair {
    /// The pipeline's clock time at `instant`, which is near.
    pub fn at(&self, instant: Instant) -> Nanos {
        let nanos = |span: std::time::Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        match instant.checked_duration_since(self.instant) {
            Some(later) => self.clock.saturating_add(nanos(later)),
            None => self
                .clock
                .saturating_sub(nanos(self.instant.saturating_duration_since(instant))),
        }
    }
}
