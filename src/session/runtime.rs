//! The two runtimes that all elements of the process share.
//!
//! `rtsp2-io` carries media: readers and deliveries. `rtsp2-ctl`, one thread,
//! carries the sessions. No element adds a thread of its own.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

use super::lock::lock;
use super::publish::pace::Pace;
use super::watchdog::Watchdog;

/// As GStreamer's streaming threads have: elements downstream rely on it.
pub(super) const STACK_SIZE: usize = 8 * 1024 * 1024;
/// Threads that ran foreign code go after this much idleness.
const POOL_KEEP_ALIVE: Duration = Duration::from_secs(2);
/// Threads that may run foreign code at once. Each element has one at most, and so has each clock
/// that is being made; a thread is there only while its code runs. With fewer, handlers that block
/// would keep every other element from its pads and messages.
const POOL_THREADS: usize = 16_384;
/// Workers that must stay free of pushes, so that sockets are read.
const RESERVED_WORKERS: usize = 3;

pub(crate) struct Runtimes {
    io: Runtime,
    ctl: Runtime,
    watchdog: Arc<Watchdog>,
    pace: Mutex<Option<Arc<Pace>>>,
}

impl Runtimes {
    fn new() -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(2, |n| n.get());
        let workers = cores.saturating_add(6);
        let io = Builder::new_multi_thread()
            .worker_threads(workers)
            .max_blocking_threads(1)
            .thread_name("rtsp2-io")
            .thread_stack_size(STACK_SIZE)
            .enable_all()
            .build()?;
        let ctl = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("rtsp2-ctl")
            .thread_stack_size(STACK_SIZE)
            .max_blocking_threads(POOL_THREADS)
            .thread_keep_alive(POOL_KEEP_ALIVE)
            .enable_all()
            .build()?;
        let permits = workers.saturating_sub(RESERVED_WORKERS).max(1);
        let watchdog = Watchdog::start(permits, io.handle().clone())?;
        Ok(Self {
            io,
            ctl,
            watchdog,
            pace: Mutex::default(),
        })
    }

    /// Readers and deliveries.
    pub(crate) fn io(&self) -> &Handle {
        self.io.handle()
    }

    /// Sessions. Its blocking pool runs foreign code.
    pub(crate) fn ctl(&self) -> &Handle {
        self.ctl.handle()
    }

    /// The thread that paces what is published over UDP; it is there from the first use on.
    pub(super) fn pace(&self) -> io::Result<Arc<Pace>> {
        let mut pace = lock(&self.pace);
        if let Some(pace) = &*pace {
            return Ok(pace.clone());
        }
        Ok(pace.insert(Arc::new(Pace::start()?)).clone())
    }

    /// Gives out the permits to push on a worker.
    pub(super) fn watchdog(&self) -> &Watchdog {
        &self.watchdog
    }
}

/// The runtimes of this process. A forked child has none of its parent's
/// threads, so they are keyed by process id and made anew there.
pub(crate) fn runtimes() -> io::Result<Arc<Runtimes>> {
    /// With the process that they were made in.
    type Current = Option<(u32, Arc<Runtimes>)>;
    static CURRENT: Mutex<Current> = Mutex::new(None);
    let pid = std::process::id();
    let mut current = lock(&CURRENT);
    match current.as_ref() {
        Some((owner, runtimes)) if *owner == pid => return Ok(runtimes.clone()),
        // Dropping the parent's would wait for threads that do not exist here.
        Some((_, runtimes)) => std::mem::forget(runtimes.clone()),
        None => {}
    }
    let runtimes = Arc::new(Runtimes::new()?);
    *current = Some((pid, runtimes.clone()));
    Ok(runtimes)
}
