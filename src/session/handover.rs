//! Who takes from a delivery's queue: its task or its thread, never both.
//!
//! Only the task hands over, and only the thread hands back, once it has found
//! the queue empty. Both happen under the lock of the queue, so whoever adds to
//! it knows whom to wake.

use std::time::Duration;

use super::lock::lock;
use super::sync::{Condvar, Mutex, PoisonError};

/// A queue that can be closed.
pub(super) trait Backlog {
    fn is_empty(&self) -> bool;
    fn is_closed(&self) -> bool;
}

/// What the task is to do when it was woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// The queue is closed.
    End,
    /// Nothing is queued, or the thread takes it.
    Rest,
    Push,
}

#[derive(Default)]
struct State<Q> {
    queue: Q,
    /// The thread takes from the queue.
    threaded: bool,
}

pub(super) struct Handover<Q> {
    state: Mutex<State<Q>>,
    /// Wakes the thread.
    thread: Condvar,
}

impl<Q: Backlog> Handover<Q> {
    pub fn new(queue: Q) -> Self {
        Self {
            state: Mutex::new(State {
                queue,
                threaded: false,
            }),
            thread: Condvar::new(),
        }
    }

    pub fn with<R>(&self, look: impl FnOnce(&mut Q) -> R) -> R {
        look(&mut lock(&self.state).queue)
    }

    /// Adds to the queue or closes it, and wakes the thread if that takes from
    /// it; else `wake_task` is called.
    pub fn change<R>(&self, change: impl FnOnce(&mut Q) -> R, wake_task: impl FnOnce()) -> R {
        let (result, threaded) = {
            let mut state = lock(&self.state);
            (change(&mut state.queue), state.threaded)
        };
        if threaded {
            self.thread.notify_one();
        } else {
            wake_task();
        }
        result
    }

    /// What the task is to do.
    pub fn turn(&self) -> Turn {
        let state = lock(&self.state);
        if state.queue.is_closed() {
            Turn::End
        } else if state.queue.is_empty() || state.threaded {
            Turn::Rest
        } else {
            Turn::Push
        }
    }

    /// The task gives the queue to the thread, which is then to be started.
    /// False if there is nothing to give.
    pub fn to_thread(&self) -> bool {
        let mut state = lock(&self.state);
        let given = !state.queue.is_closed() && !state.threaded;
        state.threaded |= given;
        given
    }

    /// The thread could not be started: the task has the queue again.
    pub fn take_back(&self) {
        lock(&self.state).threaded = false;
    }

    /// On the thread: waits until something is queued. False if it is to end,
    /// since the queue is closed, or is empty and `keep` says no; it is asked
    /// each time that `interval` passes.
    pub fn wait(&self, interval: Duration, keep: impl Fn() -> bool) -> bool {
        let mut state = lock(&self.state);
        while state.queue.is_empty() && !state.queue.is_closed() {
            if !keep() {
                state.threaded = false;
                return false;
            }
            state = self
                .thread
                .wait_timeout(state, interval)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        !state.queue.is_closed()
    }
}
