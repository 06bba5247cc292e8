//! The session's task: a loop over commands, what the connection and the lanes
//! say, and timers.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::*};
use std::time::Instant;

use gst::prelude::*;
use tokio::sync::{mpsc, oneshot};

use super::super::backoff::Backoff;
use super::super::certificates;
use super::super::config::Server;
use super::super::foreign::ForeignQueue;
use super::super::link::{Connecting, Link};
use super::super::messages;
use super::super::reviewing::Reviewing;
use super::super::runtime::Runtimes;
use super::attempt::Attempt;
use super::config::{PublishConfig, StreamDescription};
use super::description::{self, Rtx};
use super::lane::{Facts, Lane};
use super::leaving::Leaving;
use super::rate::Rate;
use super::stats::Snapshot;
use super::tcp::Incoming;
use super::udp::UdpPath;
use super::{CAT, Command, Lanes, PublishHost};
use crate::net::connect::ConnectError;
use crate::net::tcp::Inbound;
use crate::net::tls::Connector;
use crate::rtp::ntp;
use crate::rtp::report::{self, random_cname};
use crate::rtp::{retransmit, sender};
use crate::rtsp::client::{Error, ErrorKind, OwnKeys, Path, Phase, Reviewed};
use crate::rtsp::transport::LowerTransport;
use crate::rtsp::url::redact;
use crate::session::keyframe::Encoding;
use crate::session::keys;

/// What [`super::Publisher`] shares with its task.
pub(super) struct Inputs {
    pub commands: mpsc::UnboundedReceiver<Command>,
    pub lanes: Arc<Lanes>,
    /// The element was told to stop: no code of the application is called any more.
    pub stopped: Arc<AtomicBool>,
    pub snapshot: Arc<Snapshot>,
    pub foreign: ForeignQueue,
}

/// A stream that is announced.
pub(super) struct Stream {
    pub description: StreamDescription,
    pub lane: Arc<Lane>,
    pub rtx: Option<Rtx>,
    /// Where it goes in the current attempt.
    pub path: Option<StreamPath>,
    /// A key frame was asked for then.
    pub key_unit_at: Option<Instant>,
    pub key_unit_wanted: bool,
    pub key_units: u32,
    /// A full queue was told then.
    pub overflow_at: Option<Instant>,
    /// All of it has left, BYE included.
    pub ended: bool,
}

impl Stream {
    /// Keys for its sources; what is not known yet may be any.
    pub fn make_keys(&self) -> Option<OwnKeys> {
        let known = self.description.ssrc;
        let sources: Vec<u32> = known
            .into_iter()
            .chain(self.rtx.map(|rtx| rtx.ssrc))
            .collect();
        let sources = if known.is_some() { sources } else { vec![0] };
        Some(keys::own(keys::random(&sources, false)?))
    }
}

pub(super) struct StreamPath {
    pub granted: Path,
    pub udp: Option<UdpPath>,
    /// Datagrams that had come back as undeliverable at the last look.
    pub refused: u32,
}

enum Wake {
    Command(Option<Command>),
    Connected(Result<Link<Incoming>, ConnectError>),
    Inbound(Inbound),
    Look,
    Reviewed(u64, Reviewed),
    /// The description to announce.
    Updated(Option<Reviewed>),
    Timer,
}

pub(super) struct Task {
    pub config: PublishConfig,
    pub host: Arc<dyn PublishHost>,
    pub runtimes: Arc<Runtimes>,
    pub tls: Arc<Connector>,
    pub inputs: Inputs,
    pub backoff: Backoff,
    /// Transports to try; what worked is remembered.
    pub transports: Vec<LowerTransport>,
    pub attempt: Option<Attempt>,
    pub streams: Vec<Stream>,
    pub cname: String,
    /// Of the origin in the description.
    pub origin: u64,
    pub version: u64,
    /// The element waits for the SETUPs.
    pub owes_ready: bool,
    pub wish_recording: bool,
    /// A TEARDOWN for the session that a lost connection left behind.
    pub previous_session: Option<(String, String)>,
    /// The server may hold on to that session until then.
    pub old_session_until: Option<Instant>,
    pub retry_at: Option<Instant>,
    pub stop_at: Option<Instant>,
    /// What is to follow once the lanes have run empty.
    pub leaving: Option<Leaving>,
    /// The answer to the TEARDOWN at the end is waited for until then.
    pub farewell_until: Option<Instant>,
    /// Streams that have ended, announced or not.
    pub ended: BTreeSet<u32>,
    /// Those of them that the element knows of.
    pub told: BTreeSet<u32>,
    /// The session is over; only Stop is awaited, or streams that go on or are new.
    pub over: bool,
    /// It is over for good.
    pub failed: bool,
    /// Of the last announcement: one that was made before it may come late.
    pub announcement: u64,
    /// Seconds in a row in which datagrams of media came back as undeliverable.
    pub unreachable: u32,
    /// A presentation that was up has been lost and is not back yet.
    pub was_lost: bool,
    pub rate: Rate,
    /// The element had no clock when a report was due.
    pub no_clock_until: Option<Instant>,
    /// The server that the user named.
    pub first_peer: Option<IpAddr>,
}

impl Task {
    pub fn new(
        config: PublishConfig,
        host: Arc<dyn PublishHost>,
        runtimes: Arc<Runtimes>,
        inputs: Inputs,
    ) -> Self {
        let backoff = Backoff::new(config.server.retries);
        Self {
            transports: config.server.transports.clone(),
            tls: certificates::connector(&config.server.tls, &inputs.foreign, host.clone()),
            backoff,
            attempt: None,
            streams: Vec::new(),
            cname: random_cname(rand::random()),
            origin: ntp::from_nanos(
                std::time::SystemTime::now()
                    .duration_since(std::time::SystemTime::UNIX_EPOCH)
                    .map_or(0, super::super::spans::nanos),
            ),
            version: 0,
            owes_ready: false,
            wish_recording: false,
            previous_session: None,
            old_session_until: None,
            retry_at: None,
            stop_at: None,
            leaving: None,
            farewell_until: None,
            ended: BTreeSet::new(),
            told: BTreeSet::new(),
            over: false,
            failed: false,
            announcement: 0,
            unreachable: 0,
            was_lost: false,
            no_clock_until: None,
            rate: Rate::new(Instant::now()),
            first_peer: None,
            config,
            host,
            runtimes,
            inputs,
        }
    }

    pub async fn run(mut self) {
        self.start_attempt();
        loop {
            self.pump();
            if self.is_finished() {
                break;
            }
            let wake = self.wait().await;
            self.handle(wake);
        }
        for stream in &mut self.streams {
            stream.lane.disconnect(true);
            stream.path = None;
        }
        gst::debug!(CAT, "{}: the session has ended", self.config.server.url);
    }

    fn is_finished(&self) -> bool {
        self.stop_at
            .is_some_and(|at| self.attempt.is_none() || at <= Instant::now())
    }

    /// Waits for the next thing that happens.
    async fn wait(&mut self) -> Wake {
        let deadline = self.deadline();
        let timer = async move {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let stopping = self.stop_at.is_some();
        let look = self.inputs.lanes.look.clone();
        let mut none = (None, None, Reviewing::default(), None);
        let (connecting, link, reviewing, updating) = match &mut self.attempt {
            Some(attempt) => (
                &mut attempt.connecting,
                &mut attempt.link,
                &mut attempt.reviewing,
                &mut attempt.updating,
            ),
            None => (&mut none.0, &mut none.1, &mut none.2, &mut none.3),
        };
        tokio::select! {
            biased;
            // After Stop the handle goes, and its channel would always be ready.
            command = self.inputs.commands.recv(), if !stopping => Wake::Command(command),
            inbound = Link::inbound(link) => Wake::Inbound(inbound),
            outcome = Connecting::outcome(connecting) => Wake::Connected(outcome),
            (id, reviewed) = reviewing.answer() => Wake::Reviewed(id, reviewed),
            updated = updated(updating) => Wake::Updated(updated),
            () = look.notified() => Wake::Look,
            () = timer => Wake::Timer,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let attempt = self.attempt.as_ref();
        [
            attempt.and_then(|attempt| attempt.client.poll_timeout()),
            attempt.and_then(|attempt| attempt.retiring),
            self.retry_at,
            self.stop_at,
            self.leaving.as_ref().map(|leaving| leaving.until),
            self.farewell_until,
            self.rtcp_deadline(),
            self.key_unit_deadline(),
            self.rate_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn handle(&mut self, wake: Wake) {
        let now = Instant::now();
        match wake {
            // The handle is gone: the element was disposed of.
            Wake::Command(None) => self.stop(now),
            Wake::Command(Some(command)) => self.command(command, now),
            Wake::Connected(outcome) => self.connected(outcome, now),
            Wake::Inbound(inbound) => self.inbound(inbound, now),
            Wake::Look => self.look(now),
            Wake::Reviewed(id, reviewed) => {
                if let Some(attempt) = &mut self.attempt {
                    attempt.client.reviewed(id, reviewed, now);
                }
            }
            Wake::Updated(updated) => self.updated(updated, now),
            Wake::Timer => {}
        }
        self.timers(now);
    }

    fn timers(&mut self, now: Instant) {
        if let Some(attempt) = &mut self.attempt {
            if attempt.client.poll_timeout().is_some_and(|at| at <= now) {
                attempt.client.handle_timeout(now);
            }
            if attempt.retiring.is_some_and(|at| at <= now) {
                self.retired();
            }
        }
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            self.start_attempt();
        }
        self.leave_if_drained(now);
        if self.farewell_until.is_some_and(|at| at <= now) {
            self.farewell_done();
        }
        self.rtcp(now);
        self.request_key_units(now);
        self.measure(now);
    }

    fn command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Announce(number, streams) => {
                if number > self.announcement {
                    self.announcement = number;
                    self.describe(streams, now);
                }
            }
            Command::Resume(stream) => self.resume(stream, now),
            Command::Record => {
                self.wish_recording = true;
                self.stay();
                self.record_if_wished(now);
            }
            Command::Pause => self.pause(now),
            Command::Stop => self.stop(now),
            Command::Eos(stream) => self.eos(stream, now),
            Command::Adopt(server) => self.adopt(*server),
            Command::Credentials(credentials) => {
                self.config.server.credentials = credentials;
                self.backoff.new_credentials();
                if self.retry_at.is_some() {
                    self.retry_at = Some(now);
                }
            }
        }
    }

    /// What is under way goes on as it was begun.
    fn adopt(&mut self, server: Server) {
        self.config.server.adopt(server);
        self.backoff.set_policy(self.config.server.retries);
        if let Some(attempt) = &mut self.attempt {
            let user_agent = self.config.server.user_agent.clone();
            attempt.client.set_user_agent(user_agent);
        }
    }

    /// What is to be published, at first or from now on.
    fn describe(&mut self, descriptions: Vec<StreamDescription>, now: Instant) {
        let same = self
            .streams
            .iter()
            .map(|stream| &stream.description)
            .eq(&descriptions);
        if self.stop_at.is_some() || self.failed || same {
            return;
        }
        if let Some(attempt) = &self.attempt
            && attempt.announced
            && attempt.retiring.is_none()
        {
            self.retire(now);
        }
        let rtx = description::rtx_payload_types(&descriptions);
        let with_rtx = self.config.profile.has_feedback() && !self.config.rtx_time.is_zero();
        let mut old = std::mem::take(&mut self.streams);
        for (description, payload_type) in descriptions.into_iter().zip(rtx) {
            let known = old
                .iter()
                .position(|stream| stream.description.stream == description.stream)
                .map(|at| old.swap_remove(at));
            let rtx = payload_type.filter(|_| with_rtx).map(|payload_type| Rtx {
                payload_type,
                ssrc: rand::random(),
            });
            let lane = self.inputs.lanes.get(description.stream);
            if known.is_none_or(|known| known.description != description) {
                lane.describe(
                    Encoding::from_name(description.encoding_name()),
                    sender::Config {
                        clock_rate: description.clock_rate(),
                        cname: self.cname.clone(),
                        exact: description.exact,
                        bandwidth: report::Bandwidth {
                            session: description.media.bandwidth,
                            ..report::Bandwidth::default()
                        },
                        ..sender::Config::default()
                    },
                    rand::random(),
                );
            }
            self.streams.push(Stream {
                lane,
                rtx,
                path: None,
                key_unit_at: None,
                key_unit_wanted: false,
                key_units: 0,
                overflow_at: None,
                ended: self.told.contains(&description.stream),
                description,
            });
        }
        for stream in &old {
            stream.lane.disconnect(true);
        }
        self.inputs.snapshot.set_streams(&self.streams);
        self.owes_ready = true;
        self.stay();
        let ended = |stream: &Stream| self.ended.contains(&stream.description.stream);
        if !self.streams.iter().all(ended) {
            self.revive(now);
        }
        // Or when it is connected.
        self.announce(now);
        self.leave_if_all_ended(now);
    }

    /// RECORD goes out once all is set up.
    pub fn record_if_wished(&mut self, now: Instant) {
        if self.wish_recording
            && let Some(attempt) = &mut self.attempt
            && attempt.retiring.is_none()
        {
            attempt.client.play(now);
        }
    }

    /// What the lanes say.
    fn look(&mut self, now: Instant) {
        for at in 0..self.streams.len() {
            let Some(stream) = self.streams.get_mut(at) else {
                return;
            };
            let Facts {
                key_unit,
                overflow,
                ended,
                too_large,
                report,
                heard,
                started: _,
            } = stream.lane.take_facts();
            stream.key_unit_wanted |= key_unit;
            let number = stream.description.stream;
            let reliable = matches!(
                stream.path,
                Some(StreamPath {
                    granted: Path::Tcp { .. },
                    ..
                })
            );
            if heard && let Some(attempt) = &mut self.attempt {
                attempt.last_heard = now;
                attempt.heard_of_media = true;
            }
            if let Some(report) = report {
                self.rate.handle_report(&report, reliable, now);
            }
            if overflow {
                self.overflowed(at, now);
            }
            if let Some(size) = too_large {
                self.call(move |host| host.packet_too_large(number, size));
            }
            if ended {
                self.stream_ended(at, now);
            }
        }
    }

    /// Runs code of the application, in order with everything else that is foreign.
    pub fn call(&self, what: impl FnOnce(&dyn PublishHost) + Send + 'static) {
        let (host, stopped) = (self.host.clone(), self.inputs.stopped.clone());
        self.inputs.foreign.run(move || {
            if !stopped.load(Acquire) {
                what(&*host);
            }
        });
    }

    pub fn post(&self, message: impl FnOnce(&gst::Element) -> gst::Message + Send + 'static) {
        self.call(move |host| {
            if let Some(element) = host.element() {
                let _ = element.post_message(message(&element));
            }
        });
    }

    /// Posts an element message.
    pub fn tell(
        &self,
        what: &'static str,
        fill: impl FnOnce(&mut gst::StructureRef) + Send + 'static,
    ) {
        gst::info!(CAT, "{}: {what}", self.config.server.url);
        self.post(move |element| messages::element_message(element, what, fill));
    }

    /// A failure that the session itself has found.
    pub fn error(&self, kind: ErrorKind, phase: Phase, message: String) -> Error {
        Error {
            kind,
            method: None,
            status: None,
            reason: None,
            url: self.config.server.url.to_string(),
            phase,
            message: redact(&message),
            retry_after: None,
        }
    }

    /// How the packets of a stream are repeated in this attempt.
    pub fn retransmission(&self, stream: &Stream) -> Option<retransmit::Config> {
        let rtx = stream.rtx?;
        Some(retransmit::Config {
            ssrc: rtx.ssrc,
            payload_types: vec![(stream.description.payload_type()?, rtx.payload_type)],
            time: self.config.rtx_time,
        })
    }

    pub fn is_recording(&self) -> bool {
        self.attempt
            .as_ref()
            .is_some_and(|attempt| attempt.recording_since.is_some())
    }
}

/// What the application made of the description; cancel safe.
async fn updated(updating: &mut Option<(String, oneshot::Receiver<Reviewed>)>) -> Option<Reviewed> {
    match updating {
        Some((_, answer)) => answer.await.ok(),
        None => std::future::pending().await,
    }
}
