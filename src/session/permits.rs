//! The permits to push on a worker, and how many may want one.

use std::sync::atomic::Ordering::*;

use super::sync::{AtomicU64, AtomicUsize};

/// A permit on a cache line of its own: 0 while it is free, else when its
/// push began.
#[repr(align(64))]
#[derive(Default)]
struct Slot(AtomicU64);

pub(super) struct Permits {
    slots: Vec<Slot>,
    /// Deliveries that may push in place; without any there is nothing to watch.
    watched: AtomicUsize,
}

impl Permits {
    pub fn new(count: usize) -> Self {
        Self {
            slots: (0..count).map(|_| Slot::default()).collect(),
            watched: AtomicUsize::new(0),
        }
    }

    /// The right to push on this worker from `now` on, which is not 0; None if
    /// too many do.
    pub fn acquire(&self, now: u64) -> Option<Permit<'_>> {
        self.slots
            .iter()
            .map(|slot| &slot.0)
            .find(|slot| slot.compare_exchange(0, now, AcqRel, Relaxed).is_ok())
            .map(Permit)
    }

    /// One more delivery may push in place. True for the first: the watchdog
    /// is to be woken.
    pub fn watch(&self) -> bool {
        self.watched.fetch_add(1, AcqRel) == 0
    }

    /// One less, after which it takes nothing more from its queue.
    pub fn unwatch(&self) {
        self.watched.fetch_sub(1, AcqRel);
    }

    /// Nothing is to be watched. A push may outlive its delivery.
    pub fn is_idle(&self) -> bool {
        self.watched.load(Acquire) == 0 && self.slots.iter().all(|slot| slot.0.load(Acquire) == 0)
    }

    /// Whether a push has been under way for longer than `slow` nanoseconds.
    pub fn is_stuck(&self, now: u64, slow: u64) -> bool {
        self.slots.iter().any(|slot| {
            let began = slot.0.load(Acquire);
            began != 0 && now.saturating_sub(began) > slow
        })
    }
}

/// Held while a delivery pushes on a worker.
pub(super) struct Permit<'a>(&'a AtomicU64);

impl Permit<'_> {
    /// Another push begins.
    pub fn push_begins(&self, now: u64) {
        self.0.store(now, Release);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.store(0, Release);
    }
}
