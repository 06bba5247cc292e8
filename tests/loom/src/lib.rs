//! Permits, queue and hand-over of delivery with loom's locks and atomics, which run the threads of a test in
//! every order (up to a number of preemptions) and with every value that a load may see.
#![forbid(unsafe_code)]
#![cfg(test)]

#[path = "../../../src/session/handover.rs"]
mod handover;
#[path = "../../../src/session/lock.rs"]
mod lock;
#[path = "../../../src/session/permits.rs"]
mod permits;
#[allow(dead_code)]
#[path = "../../../src/session/queue.rs"]
mod queue;

/// What the queue needs of the plugin, and of GStreamer: things that it only moves.
extern crate self as gst;

struct Buffer;
struct Event;

fn init() -> Result<(), ()> {
    Ok(())
}

impl Buffer {
    fn new() -> Self {
        Self
    }
}

mod event {
    pub(crate) struct Eos;

    impl Eos {
        #[allow(clippy::new_ret_no_self)]
        pub(crate) fn new() -> super::Event {
            super::Event
        }
    }
}

mod rtp {
    pub(crate) mod stats {
        pub(crate) type Nanos = u64;
    }
}

#[path = "../../../src/rtsp"]
mod rtsp {
    #[allow(dead_code)]
    pub(crate) mod limits;
}

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
