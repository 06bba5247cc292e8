//! One asynchronous task per element, "the session": it drives the RTSP
//! client over its sockets, owns every timer and everything that is sent, and
//! brings the presentation back when it is lost.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::arithmetic_side_effects
    )
)]

mod backchannel;
mod backoff;
mod certificates;
mod clock;
mod config;
mod delivery;
mod ending;
mod foreign;
mod handover;
mod ingest;
mod keyframe;
mod keys;
mod link;
mod lock;
mod media;
mod messages;
mod parameters;
mod permits;
mod publish;
mod queue;
mod reviewing;
mod running_time;
mod runtime;
mod seek;
mod segment;
mod shared;
mod spans;
mod stats;
mod stream;
mod sync;
mod task;
mod timing;
mod watchdog;
mod wire;

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use once_cell::sync::Lazy;
use tokio::sync::mpsc;

pub use backchannel::{Backchannel, Offered};
pub use backoff::Policy;
pub use certificates::{CertificateHost, Tls, TlsDatabase, TlsInteraction};
pub use config::{Config, Server};
pub use delivery::DeliveryMode;
pub use ending::Ending;
pub use foreign::ForeignQueue;
pub use parameters::ParameterRequest;
pub use publish::{
    Closed, PublishConfig, PublishHost, Publisher, RtpPacket, StreamDescription, StreamSender,
};
pub use seek::{SeekRequest, Track};
pub use timing::{NtpTimeSource, TimingConfig};

use crate::rtp::srtp::Limit;
use crate::rtsp::client::KeyUse;
pub use crate::rtsp::client::{Review, Reviewed};
use crate::rtsp::limits;
use crate::rtsp::url::Credentials;
use backchannel::Backchannels;
use clock::ClockCell;
use stats::Snapshot;
use task::Task;

pub(crate) static CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new(
        "rtspsrc2",
        gst::DebugColorFlags::empty(),
        Some("RTSP source"),
    )
});

/// Full requests and replies, without their secrets.
pub(crate) static MESSAGE_CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new(
        "rtsp2-message",
        gst::DebugColorFlags::empty(),
        Some("RTSP requests and replies"),
    )
});

/// What the session needs of its element. All of it but
/// [`element`](Self::element) and [`reviews`](Self::reviews) may run code of the application, so the session
/// calls it from the element's ordered queue of foreign code only.
pub trait Host: CertificateHost {
    /// The element, while it lives.
    fn element(&self) -> Option<gst::Element>;
    /// A source pad that has not been added yet.
    fn new_pad(&self, name: &str) -> Option<gst::Pad>;
    fn remove_pad(&self, pad: &gst::Pad);
    /// Whether the application wants the media with this index.
    fn select_stream(&self, index: u32, caps: &gst::Caps) -> bool;
    /// Keys of the application for the media with this index, if it has some: for what both sides
    /// send, or for what we send.
    fn media_keys(&self, index: u32, usage: KeyUse) -> Option<gst::Caps>;
    /// A key of the media is near its end, or at it.
    fn key_limit(&self, index: u32, limit: Limit);
    /// Whether somebody wants to be asked. Runs no code of the application, and is called
    /// wherever something is to be reviewed.
    fn reviews(&self, what: &Review) -> bool;
    /// What the application makes of it.
    fn review(&self, what: Review) -> Reviewed;
}

/// What the element asks of its session.
#[derive(Debug)]
enum Command {
    Play,
    Pause,
    Stop,
    Eos,
    Event(gst::Event),
    Seek(Box<SeekRequest>, seek::Answer),
    Latency(Duration),
    /// What the whole pipeline buffers, as its LATENCY event says.
    PipelineLatency(Duration),
    BufferLists(bool),
    Timing(TimingConfig),
    Credentials(Option<Credentials>),
    /// Settings for what comes next.
    Adopt(Box<Config>),
    /// For one pad, or for all that carry video.
    ForceKeyUnit(Option<String>),
    Parameters(Box<parameters::Asked>),
}

/// The handle of a running session.
pub struct Session {
    commands: mpsc::UnboundedSender<Command>,
    queued: Arc<std::sync::atomic::AtomicUsize>,
    generation: Arc<stream::Generation>,
    clock: Arc<ClockCell>,
    snapshot: Arc<Snapshot>,
    ending: Ending,
    foreign: ForeignQueue,
    /// A seek of an application comes through every sink and every pad.
    last_seek: Mutex<Option<(gst::Seqnum, seek::Awaited)>>,
    /// Parameters that were asked for and not answered yet.
    parameters: Arc<std::sync::atomic::AtomicUsize>,
    backchannels: Arc<Backchannels>,
    response_timeout: Duration,
}

/// What the last session of the same element leaves to the next.
#[derive(Default)]
pub struct Predecessor {
    /// Its TEARDOWN comes before our SETUP.
    pub ending: Option<Ending>,
    pub foreign: Option<ForeignQueue>,
}

impl Session {
    /// Starts to connect.
    pub fn start(
        config: Config,
        host: Arc<dyn Host>,
        clock: Option<gst::Clock>,
        predecessor: Predecessor,
    ) -> io::Result<Self> {
        let runtimes = runtime::runtimes()?;
        let foreign = predecessor
            .foreign
            .unwrap_or_else(|| ForeignQueue::new(runtimes.ctl().clone()));
        let (commands, receiver) = mpsc::unbounded_channel();
        let queued = Arc::default();
        let (guard, ending) = Ending::new();
        let clock = Arc::new(ClockCell::new(clock));
        let generation = Arc::<stream::Generation>::default();
        let snapshot = Arc::new(Snapshot::new(&config));
        let response_timeout = spans::nonzero(config.server.response_timeout);
        let backchannels = Arc::new(Backchannels::new(task::cname(&config)));
        let task = Task::new(
            config,
            host.clone(),
            runtimes.clone(),
            task::Inputs {
                commands: receiver,
                queued: Arc::clone(&queued),
                generation: generation.clone(),
                clock: clock.clone(),
                snapshot: snapshot.clone(),
                foreign: foreign.clone(),
                backchannels: backchannels.clone(),
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
        let crashed = foreign.clone();
        ctl.spawn(async move {
            if running.await.is_err_and(|error| error.is_panic()) {
                crashed.run(move || messages::post_panic(host.element()));
            }
            drop(guard);
        });
        Ok(Self {
            commands,
            queued,
            generation,
            clock,
            snapshot,
            ending,
            foreign,
            last_seek: Mutex::default(),
            parameters: Arc::default(),
            backchannels,
            response_timeout,
        })
    }

    fn send(&self, command: Command) {
        use std::sync::atomic::Ordering::*;
        // State changes are few and must get through; what an application or
        // downstream can repeat at will is bounded.
        let repeatable = matches!(
            command,
            Command::Event(_) | Command::ForceKeyUnit(_) | Command::PipelineLatency(_)
        );
        if repeatable && self.queued.load(Acquire) >= limits::COMMANDS {
            return;
        }
        self.queued.fetch_add(1, AcqRel);
        // A session that has ended needs no more commands.
        let _ = self.commands.send(command);
    }

    /// The element's queue of foreign code, for its next session.
    pub fn foreign(&self) -> ForeignQueue {
        self.foreign.clone()
    }

    pub fn play(&self) {
        self.send(Command::Play);
    }

    pub fn pause(&self) {
        self.send(Command::Pause);
    }

    /// Ends the generation at once: nothing more is pushed, no pad is added.
    /// TEARDOWN goes out in the background.
    pub fn stop(&self) -> Ending {
        self.generation.end();
        self.send(Command::Stop);
        self.ending.clone().begins_now()
    }

    /// Ends the streams as `gst-launch -e` asks: what is queued, then EOS.
    pub fn eos(&self) {
        self.send(Command::Eos);
    }

    /// Seeks; whether the server took it, as far as that is known in time.
    pub fn seek(&self, request: SeekRequest) -> bool {
        let awaited = {
            let mut last = lock::lock(&self.last_seek);
            match last.as_ref() {
                Some((seqnum, awaited)) if *seqnum == request.seqnum => awaited.clone(),
                _ => {
                    let (answer, awaited) = seek::question();
                    *last = Some((request.seqnum, awaited.clone()));
                    self.send(Command::Seek(Box::new(request), answer));
                    awaited
                }
            }
        };
        // The flush waits for the push that this call comes from.
        delivery::is_called_by_delivery() || awaited.wait(SEEK_WAIT).unwrap_or(true)
    }

    /// Seeks as soon as there is a server to ask.
    pub fn seek_later(&self, request: SeekRequest) {
        let (answer, awaited) = seek::question();
        *lock::lock(&self.last_seek) = Some((request.seqnum, awaited));
        self.send(Command::Seek(Box::new(request), answer));
    }

    /// What can be seeked in.
    pub fn track(&self) -> Option<Track> {
        self.snapshot.track()
    }

    /// Rate, start and stop of what is played, in stream time.
    pub fn segment(&self) -> Option<(f64, Option<gst::ClockTime>, Option<gst::ClockTime>)> {
        self.snapshot.segment()
    }

    /// Stream time that a pad, or the furthest, has got to.
    pub fn position(&self, pad: Option<&str>) -> Option<gst::ClockTime> {
        self.snapshot.position(pad)
    }

    /// A serialized event of the application, for every pad.
    pub fn event(&self, event: gst::Event) {
        self.send(Command::Event(event));
    }

    pub fn set_latency(&self, latency: Duration) {
        self.send(Command::Latency(latency));
    }

    pub fn set_pipeline_latency(&self, latency: Duration) {
        self.send(Command::PipelineLatency(latency));
    }

    pub fn set_buffer_lists(&self, on: bool) {
        self.send(Command::BufferLists(on));
    }

    pub fn set_timing(&self, timing: TimingConfig) {
        self.send(Command::Timing(timing));
    }

    pub fn set_credentials(&self, credentials: Option<Credentials>) {
        self.send(Command::Credentials(credentials));
    }

    /// See [`Config::adopt`].
    pub fn adopt(&self, config: Config) {
        self.send(Command::Adopt(Box::new(config)));
    }

    /// The decoder behind `pad` cannot go on without a key frame.
    pub fn force_key_unit(&self, pad: Option<String>) {
        self.send(Command::ForceKeyUnit(pad));
    }

    /// The back channel of this number, once a description has named it.
    pub fn backchannel(&self, number: usize) -> Option<Arc<Backchannel>> {
        self.backchannels.get(number)
    }

    /// That of an `m=` section.
    pub fn backchannel_of(&self, media: usize) -> Option<Arc<Backchannel>> {
        self.backchannels.of_media(media)
    }

    /// Asks the server, as soon as the session is up; the promise is answered in any case. False,
    /// with the promise left alone, if too many wait.
    pub fn parameters(&self, request: ParameterRequest) -> bool {
        if self.parameters.load(std::sync::atomic::Ordering::Acquire) >= limits::PARAMETERS {
            return false;
        }
        let deadline = spans::after(std::time::Instant::now(), self.response_timeout);
        let (foreign, open) = (self.foreign.clone(), self.parameters.clone());
        let asked = parameters::Asked::new(request, deadline, foreign, open);
        self.send(Command::Parameters(Box::new(asked)));
        true
    }

    pub fn set_clock(&self, clock: Option<gst::Clock>) {
        self.clock.set(clock);
    }

    #[cfg(test)]
    pub fn clock(&self) -> Option<gst::Clock> {
        self.clock.get()
    }

    pub fn stats(&self) -> gst::Structure {
        self.snapshot.structure()
    }

    /// Of a presentation whose range has an end.
    pub fn duration(&self) -> Option<gst::ClockTime> {
        self.snapshot.duration()
    }
}

/// The plugin is linked into a Rust application: its callbacks may block on a
/// tokio runtime of their own, which panics on a worker of ours.
pub(crate) static LINKED_STATICALLY: AtomicBool = AtomicBool::new(false);

/// How long the caller of a seek waits for the server's answer. A seek that takes longer goes on.
const SEEK_WAIT: Duration = Duration::from_secs(2);

/// How long a restart waits for the TEARDOWN of the session before it.
const PREDECESSOR_WAIT: Duration = Duration::from_secs(2);
