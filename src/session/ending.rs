//! The end of a session, which others may wait for.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::lock::lock;

/// Signals the end when it is dropped, however that comes about.
pub(super) struct EndGuard {
    flag: Arc<(Mutex<bool>, Condvar)>,
    _alive: watch::Sender<()>,
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        *lock(&self.flag.0) = true;
        self.flag.1.notify_all();
    }
}

/// The teardown of a session that has been stopped.
#[derive(Clone)]
pub struct Ending {
    flag: Arc<(Mutex<bool>, Condvar)>,
    alive: watch::Receiver<()>,
    since: Instant,
}

impl Ending {
    pub(super) fn new() -> (EndGuard, Self) {
        let flag = Arc::new((Mutex::new(false), Condvar::new()));
        let (sender, alive) = watch::channel(());
        (
            EndGuard {
                flag: flag.clone(),
                _alive: sender,
            },
            Self {
                flag,
                alive,
                since: Instant::now(),
            },
        )
    }

    /// The session was told to stop now.
    pub(super) fn begins_now(mut self) -> Self {
        self.since = Instant::now();
        self
    }

    /// Blocks until the session has ended, or until `timeout` has passed since
    /// it was stopped: all sources of a pipeline share one wait.
    pub fn wait_until(&self, timeout: Duration) {
        let left = timeout.saturating_sub(self.since.elapsed());
        let ended = lock(&self.flag.0);
        let _ = self
            .flag
            .1
            .wait_timeout_while(ended, left, |ended| !*ended)
            .unwrap_or_else(PoisonError::into_inner);
    }

    /// Waits until the session has ended.
    pub(super) async fn ended(&mut self) {
        // An error means that the guard is gone.
        while self.alive.changed().await.is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_with_the_session_or_with_its_timeout() {
        let (guard, ending) = Ending::new();
        let ending = ending.begins_now();
        ending.wait_until(Duration::ZERO);
        ending.wait_until(Duration::from_millis(10));
        let waiter = std::thread::spawn({
            let ending = ending.clone();
            move || ending.wait_until(Duration::from_secs(60))
        });
        drop(guard);
        waiter.join().unwrap();
    }
}
