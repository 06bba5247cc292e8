//! The session of an element that publishes: ANNOUNCE, SETUP, RECORD, and what
//! is sent.
//!
//! One task on `rtsp2-ctl` drives the client. Media does not pass through it:
//! the thread that pushes a packet also writes it if the socket takes it, and a
//! task on `rtsp2-io` writes what has to wait.

mod attempt;
pub(super) mod clock;
mod config;
mod description;
mod events;
pub(super) mod lane;
mod leaving;
pub(super) mod pace;
pub(super) mod protection;
mod rate;
mod recovery;
mod reports;
mod stats;
mod task;
pub(super) mod tcp;
#[cfg(test)]
mod tests;
pub(super) mod udp;

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::*};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use once_cell::sync::Lazy;
use tokio::sync::{Notify, mpsc};

pub use config::{PublishConfig, StreamDescription};
pub use lane::{Closed, RtpPacket, StreamSender};

use super::certificates::CertificateHost;
use super::config::Server;
use super::ending::Ending;
use super::foreign::ForeignQueue;
use super::lock::lock;
use super::{PREDECESSOR_WAIT, Predecessor, messages, runtime};
use crate::rtsp::client::{Review, Reviewed};
use crate::rtsp::url::Credentials;
use lane::Lane;
use stats::Snapshot;
use task::Task;

static CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new(
        "rtspsink2",
        gst::DebugColorFlags::empty(),
        Some("RTSP publisher"),
    )
});

/// What the session needs of its element. All of it but
/// [`element`](Self::element) and [`reviews`](Self::reviews) is called from the element's ordered queue of
/// foreign code only, where it may block.
pub trait PublishHost: CertificateHost {
    /// The element, while it lives.
    fn element(&self) -> Option<gst::Element>;
    /// All SETUPs are done: the preroll may complete.
    fn ready(&self);
    /// A key frame is needed.
    fn force_key_unit(&self, stream: u32, all_headers: bool, count: u32);
    /// The stream has ended, and all of it and its BYE were handed to the network;
    /// for the last ones TEARDOWN was answered or given up as well.
    fn sent_all(&self, stream: u32);
    /// The network has no room for packets of this size.
    fn packet_too_large(&self, stream: u32, size: usize);
    /// In bit/s, of all streams together; once a second at most. `limited` says that the network has ever shown a limit;
    /// before, it takes what was sent and may take more.
    fn estimated_bitrate(&self, bits_per_second: u64, limited: bool);
    /// Whether somebody wants to be asked. Runs no code of the application, and is called
    /// wherever something is to be reviewed.
    fn reviews(&self, what: &Review) -> bool;
    /// What the application makes of it. A description is the one that is to be announced.
    fn review(&self, what: Review) -> Reviewed;
}

/// What the element asks of its session.
#[derive(Debug)]
enum Command {
    Announce(u64, Vec<StreamDescription>),
    Record,
    Pause,
    Stop,
    Eos(u32),
    Resume(u32),
    /// Settings for what comes next.
    Adopt(Box<Server>),
    Credentials(Option<Credentials>),
}

/// The streams' ways in, which outlive every attempt.
struct Lanes {
    lanes: Mutex<BTreeMap<u32, Arc<Lane>>>,
    /// Why nothing is taken any more.
    closed: Mutex<Option<Closed>>,
    max_queue_time: Mutex<Duration>,
    /// Lanes have something to tell.
    look: Arc<Notify>,
}

impl Lanes {
    fn get(&self, stream: u32) -> Arc<Lane> {
        let mut lanes = lock(&self.lanes);
        let lane = lanes
            .entry(stream)
            .or_insert_with(|| Arc::new(Lane::new(*lock(&self.max_queue_time), self.look.clone())));
        if let Some(closed) = *lock(&self.closed) {
            lane.close(closed);
        }
        lane.clone()
    }

    fn set_max_queue_time(&self, time: Duration) {
        let lanes = lock(&self.lanes);
        *lock(&self.max_queue_time) = time;
        lanes
            .values()
            .for_each(|lane| lane.set_max_queue_time(time));
    }

    fn close(&self, why: Closed) {
        let lanes = lock(&self.lanes);
        let closed = *lock(&self.closed).get_or_insert(why);
        lanes.values().for_each(|lane| lane.close(closed));
    }
}

/// The handle of a running publishing session.
pub struct Publisher {
    commands: mpsc::UnboundedSender<Command>,
    lanes: Arc<Lanes>,
    stopped: Arc<AtomicBool>,
    snapshot: Arc<Snapshot>,
    ending: Ending,
    foreign: ForeignQueue,
}

impl Publisher {
    /// Starts to connect. ANNOUNCE waits for [`announce`](Self::announce).
    pub fn start(
        config: PublishConfig,
        host: Arc<dyn PublishHost>,
        predecessor: Predecessor,
    ) -> io::Result<Self> {
        let runtimes = runtime::runtimes()?;
        let foreign = predecessor
            .foreign
            .unwrap_or_else(|| ForeignQueue::new(runtimes.ctl().clone()));
        let (commands, receiver) = mpsc::unbounded_channel();
        let (guard, ending) = Ending::new();
        let lanes = Arc::new(Lanes {
            lanes: Mutex::default(),
            closed: Mutex::default(),
            max_queue_time: Mutex::new(config.max_queue_time),
            look: Arc::default(),
        });
        let stopped = Arc::<AtomicBool>::default();
        let snapshot = Arc::new(Snapshot::new(&config.server.url));
        let task = Task::new(
            config,
            host.clone(),
            runtimes.clone(),
            task::Inputs {
                commands: receiver,
                lanes: lanes.clone(),
                stopped: stopped.clone(),
                snapshot: snapshot.clone(),
                foreign: foreign.clone(),
            },
        );
        let ctl = runtimes.ctl();
        let running = ctl.spawn(async move {
            if let Some(mut ending) = predecessor.ending {
                // A TEARDOWN that is not answered by then is not waited for.
                let _ = tokio::time::timeout(PREDECESSOR_WAIT, ending.ended()).await;
            }
            task.run().await;
        });
        let (crashed, failed) = (foreign.clone(), lanes.clone());
        ctl.spawn(async move {
            if running.await.is_err_and(|error| error.is_panic()) {
                failed.close(Closed::Failed);
                crashed.run(move || messages::post_panic(host.element()));
            }
            drop(guard);
        });
        Ok(Self {
            commands,
            lanes,
            stopped,
            snapshot,
            ending,
            foreign,
        })
    }

    fn send(&self, command: Command) {
        // A session that has ended needs no more commands.
        let _ = self.commands.send(command);
    }

    /// The element's queue of foreign code, for its next session.
    pub fn foreign(&self) -> ForeignQueue {
        self.foreign.clone()
    }

    /// What is to be announced, in this order. Other streams or media than before
    /// mean another session at the server; the same again changes nothing. `number`
    /// grows from one announcement to the next; what comes after a later one is void.
    pub fn announce(&self, number: u64, streams: Vec<StreamDescription>) {
        self.send(Command::Announce(number, streams));
    }

    /// RECORD, as soon as all is set up.
    pub fn record(&self) {
        self.send(Command::Record);
    }

    /// What is queued is sent, then PAUSE.
    pub fn pause(&self) {
        self.send(Command::Pause);
    }

    /// The stream ends; [`PublishHost::sent_all`] answers.
    pub fn eos(&self, stream: u32) {
        self.send(Command::Eos(stream));
    }

    /// The stream was flushed: what it brings after its end is published again.
    pub fn resume(&self, stream: u32) {
        let lane = self.lanes.get(stream);
        if lane.has_ended() {
            lane.resume();
            self.send(Command::Resume(stream));
        }
    }

    /// Takes nothing more. What is queued is sent, BYE and TEARDOWN follow, in the
    /// background and within a bounded time.
    pub fn stop(&self) -> Ending {
        self.stopped.store(true, Release);
        self.lanes.close(Closed::Stopped);
        self.send(Command::Stop);
        self.ending.clone().begins_now()
    }

    /// The way in for the packets of a stream, announced or not yet.
    pub fn sender(&self, stream: u32) -> StreamSender {
        StreamSender {
            lane: self.lanes.get(stream),
        }
    }

    /// Takes over what may change while it publishes.
    pub fn adopt(&self, server: Server) {
        self.send(Command::Adopt(Box::new(server)));
    }

    pub fn set_credentials(&self, credentials: Option<Credentials>) {
        self.send(Command::Credentials(credentials));
    }

    pub fn set_max_queue_time(&self, time: Duration) {
        self.lanes.set_max_queue_time(time);
    }

    pub fn stats(&self) -> gst::Structure {
        self.snapshot.structure()
    }

    /// In bit/s; 0 while it is not known.
    pub fn estimated_bitrate(&self) -> u64 {
        self.snapshot.estimated_bitrate()
    }
}
