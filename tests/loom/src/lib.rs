//! Permits and hand-over of delivery with loom's locks and atomics, which run the threads of a test in
//! every order (up to a number of preemptions) and with every value that a load may see.
#![forbid(unsafe_code)]
#![cfg(test)]

#[path = "../../../src/session/handover.rs"]
mod handover;
#[path = "../../../src/session/lock.rs"]
mod lock;
#[path = "../../../src/session/permits.rs"]
mod permits;

/// In place of `session/sync.rs`.
mod sync {
    pub(super) use std::sync::PoisonError;

    pub(super) use loom::sync::atomic::{AtomicU64, AtomicUsize};
    pub(super) use loom::sync::{Condvar, Mutex, MutexGuard};
}

mod delivery;
mod watchdog;

/// Tries all orders with at most so many preemptions.
fn all_orders(preemptions: usize, test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(test);
}
