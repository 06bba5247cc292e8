//! The watchdog over the permits to push on a worker that are used.
//!
//! A worker that blocks in a push may hold tokio's I/O driver, and then no
//! socket is served. The watchdog sees that the push takes too long and wakes
//! an idle worker, which takes the driver over.

use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::{Duration, Instant};

use once_cell::sync::Lazy;
use tokio::runtime::Handle;

use super::permits::{Permit, Permits};

/// A push that takes longer than this is slow.
pub(super) const SLOW: Duration = Duration::from_millis(2);
/// How often the watchdog looks while pushes on workers get stuck.
const INTERVAL: Duration = Duration::from_millis(2);
/// How often it looks otherwise: at 2 ms it costs half as much CPU as a whole
/// stream of 20 Mbit/s.
const CALM: Duration = Duration::from_millis(20);
/// It is calm again when nothing was stuck for so long.
const CALM_AFTER: Duration = Duration::from_secs(1);
const STACK: usize = 256 * 1024;

/// Nanoseconds since the first use, never 0.
pub(super) fn monotonic() -> u64 {
    static ORIGIN: Lazy<Instant> = Lazy::new(Instant::now);
    u64::try_from(ORIGIN.elapsed().as_nanos())
        .unwrap_or(u64::MAX)
        .saturating_add(1)
}

pub(super) struct Watchdog {
    permits: Permits,
    thread: OnceLock<Thread>,
}

impl Watchdog {
    /// Watches over `permits` pushes on the workers of `io`.
    pub fn start(permits: usize, io: Handle) -> std::io::Result<Arc<Self>> {
        let watchdog = Arc::new(Self {
            permits: Permits::new(permits),
            thread: OnceLock::new(),
        });
        // A thread of its own makes one system call a tick; a timer of a
        // runtime makes three.
        let watching = watchdog.clone();
        let thread = std::thread::Builder::new()
            .name("rtsp2-watch".into())
            .stack_size(STACK)
            .spawn(move || watching.run(&io))?;
        // Set once, here.
        let _ = watchdog.thread.set(thread.thread().clone());
        Ok(watchdog)
    }

    /// The right to push on this worker; None if too many do.
    pub fn acquire(&self) -> Option<Permit<'_>> {
        self.permits.acquire(monotonic())
    }

    /// One more delivery may push in place.
    pub fn watch(&self) {
        if self.permits.watch()
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    pub fn unwatch(&self) {
        self.permits.unwatch();
    }

    /// For as long as the process lives.
    fn run(&self, io: &Handle) {
        let slow = u64::try_from(SLOW.as_nanos()).unwrap_or(u64::MAX);
        let mut stuck_at: Option<Instant> = None;
        loop {
            let calm = stuck_at.is_none_or(|at| at.elapsed() > CALM_AFTER);
            if self.permits.is_idle() {
                std::thread::park();
            } else {
                std::thread::park_timeout(if calm { CALM } else { INTERVAL });
            }
            let stuck = self.permits.is_stuck(monotonic(), slow);
            if stuck {
                stuck_at = Some(Instant::now());
                io.spawn(async {});
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_only_so_many_permits_and_they_come_back() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let watchdog = Watchdog::start(2, runtime.handle().clone()).unwrap();
        let first = watchdog.acquire();
        let second = watchdog.acquire();
        assert!(first.is_some() && second.is_some() && watchdog.acquire().is_none());
        drop(first);
        assert!(watchdog.acquire().is_some());
    }

    /// One worker, which blocks while it holds the driver: without the
    /// watchdog the other would sleep on, and nobody would serve the timer.
    #[test]
    fn an_idle_worker_serves_the_driver_while_a_push_blocks() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let watchdog = Watchdog::start(1, runtime.handle().clone()).unwrap();
        watchdog.watch();
        let (timer, fired) = std::sync::mpsc::channel();
        runtime.spawn(async move {
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            timer.send(()).unwrap();
        });
        let (release, gate) = std::sync::mpsc::channel::<()>();
        let blocking = watchdog.clone();
        runtime.spawn(async move {
            let permit = blocking.acquire();
            let _ = gate.recv_timeout(Duration::from_secs(30));
            drop(permit);
        });
        fired
            .recv_timeout(Duration::from_secs(10))
            .expect("the timer is served");
        release.send(()).unwrap();
    }
}
