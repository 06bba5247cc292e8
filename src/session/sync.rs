//! What permits, hand-over and locks are made of. `tests/loom` builds them with loom's instead, which
//! tries the orders in which threads can run.

pub(super) use std::sync::atomic::{AtomicU64, AtomicUsize};
pub(super) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
