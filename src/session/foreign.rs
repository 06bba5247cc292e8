//! Code that is not ours, run in order and off the runtimes.
//!
//! Signal handlers, `pad-added`, synchronous bus handlers and upstream events
//! may block for as long as they like. Each element has one ordered queue for
//! them, run by at most one pooled thread.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::lock::lock;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    running: bool,
}

/// The ordered queue of foreign code of one element.
#[derive(Clone)]
pub struct ForeignQueue {
    state: Arc<Mutex<State>>,
    pool: Handle,
}

impl std::fmt::Debug for ForeignQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ForeignQueue")
    }
}

impl ForeignQueue {
    /// `pool` is the runtime whose blocking threads run the jobs.
    pub(crate) fn new(pool: Handle) -> Self {
        Self {
            state: Arc::default(),
            pool,
        }
    }

    /// Runs `job` after all jobs given before it.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        let mut state = lock(&self.state);
        state.jobs.push_back(Box::new(job));
        if !state.running {
            state.running = true;
            let state = self.state.clone();
            self.pool.spawn_blocking(move || drain(&state));
        }
    }

    /// As [`run`](Self::run); the receiver gets what `job` returns.
    pub fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (answer, receiver) = oneshot::channel();
        self.run(move || {
            // Nobody waits any more when the session has gone.
            let _ = answer.send(job());
        });
        receiver
    }
}

fn drain(state: &Mutex<State>) {
    loop {
        let job = {
            let mut state = lock(state);
            match state.jobs.pop_front() {
                Some(job) => job,
                None => {
                    state.running = false;
                    return;
                }
            }
        };
        // A handler that panics must not stop the element's other ones.
        let _ = std::panic::catch_unwind(AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn jobs_run_in_order_and_survive_a_panic() {
        let runtimes = super::super::runtime::runtimes().unwrap();
        let queue = ForeignQueue::new(runtimes.ctl().clone());
        let (sender, receiver) = mpsc::channel();
        for i in 0..100 {
            let sender = sender.clone();
            queue.run(move || {
                sender.send(i).unwrap();
                assert_ne!(i, 50, "one job panics");
            });
        }
        let seen: Vec<i32> = (0..100)
            .map(|_| receiver.recv_timeout(Duration::from_secs(10)).unwrap())
            .collect();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_handler_that_blocks_holds_up_its_own_element_only() {
        let runtimes = super::super::runtime::runtimes().unwrap();
        let (blocked, other) = (
            ForeignQueue::new(runtimes.ctl().clone()),
            ForeignQueue::new(runtimes.ctl().clone()),
        );
        let (release, gate) = mpsc::channel::<()>();
        let (sender, receiver) = mpsc::channel();
        blocked.run(move || {
            let _ = gate.recv_timeout(Duration::from_secs(10));
        });
        other.run(move || sender.send(()).unwrap());
        receiver.recv_timeout(Duration::from_secs(5)).unwrap();
        release.send(()).unwrap();
    }

    #[test]
    fn hundreds_of_handlers_that_block_hold_up_no_other_element() {
        // More than tokio's pool has by itself.
        const BLOCKED: usize = 600;
        let runtimes = super::super::runtime::runtimes().unwrap();
        let pool = || ForeignQueue::new(runtimes.ctl().clone());
        let gate = Arc::new(Mutex::new(()));
        let closed = gate.lock().unwrap();
        let (sender, receiver) = mpsc::channel();
        for _ in 0..BLOCKED {
            let (gate, sender) = (gate.clone(), sender.clone());
            pool().run(move || {
                sender.send(()).unwrap();
                drop(gate.lock());
            });
        }
        pool().run(move || sender.send(()).unwrap());
        for _ in 0..=BLOCKED {
            receiver.recv_timeout(Duration::from_secs(30)).unwrap();
        }
        drop(closed);
    }
}
