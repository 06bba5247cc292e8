//! Permits to push on a worker, and the watchdog over those that are used.
//!
//! A worker that blocks in a push may hold tokio's I/O driver, and then no
//! socket is served. The watchdog sees that the push takes too long and wakes
//! an idle worker, which takes the driver over.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};
use std::thread::Thread;
use std::time::{Duration, Instant};

use once_cell::sync::Lazy;
use tokio::runtime::Handle;

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

/// A permit on a cache line of its own: 0 while it is free, else when its
/// push began.
#[repr(align(64))]
#[derive(Default)]
struct Slot(AtomicU64);

pub(super) struct Watchdog {
    slots: Vec<Slot>,
    /// Deliveries that may push in place; without any there is nothing to watch.
    watched: AtomicUsize,
    thread: OnceLock<Thread>,
}

impl Watchdog {
    /// Watches over `permits` pushes on the workers of `io`.
    pub fn start(permits: usize, io: Handle) -> std::io::Result<Arc<Self>> {
        let watchdog = Arc::new(Self {
            slots: (0..permits).map(|_| Slot::default()).collect(),
            watched: AtomicUsize::new(0),
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
        let now = monotonic();
        self.slots
            .iter()
            .map(|slot| &slot.0)
            .find(|slot| slot.compare_exchange(0, now, AcqRel, Relaxed).is_ok())
            .map(Permit)
    }

    /// One more delivery may push in place.
    pub fn watch(&self) {
        if self.watched.fetch_add(1, AcqRel) == 0
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    pub fn unwatch(&self) {
        self.watched.fetch_sub(1, AcqRel);
    }

    /// For as long as the process lives.
    fn run(&self, io: &Handle) {
        let slow = u64::try_from(SLOW.as_nanos()).unwrap_or(u64::MAX);
        let mut stuck_at: Option<Instant> = None;
        loop {
            let calm = stuck_at.is_none_or(|at| at.elapsed() > CALM_AFTER);
            match self.watched.load(Acquire) {
                // A push may outlive its delivery.
                0 if self.slots.iter().all(|slot| slot.0.load(Acquire) == 0) => {
                    std::thread::park();
                }
                _ if calm => std::thread::park_timeout(CALM),
                _ => std::thread::park_timeout(INTERVAL),
            }
            let now = monotonic();
            let stuck = self.slots.iter().any(|slot| {
                let began = slot.0.load(Acquire);
                began != 0 && now.saturating_sub(began) > slow
            });
            if stuck {
                stuck_at = Some(Instant::now());
                io.spawn(async {});
            }
        }
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
