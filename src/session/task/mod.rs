//! The session's task: a loop over commands, what the readers hand it, and
//! timers.

mod events;
mod housekeeping;
mod setup;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::*};
use std::time::{Duration, Instant};

use gst::prelude::*;
use tokio::sync::{mpsc, oneshot};

use super::backoff::{Backoff, Policy, Verdict};
use super::clock::{ClockCell, ClockReader};
use super::config::Config;
use super::delivery::Outcome;
use super::foreign::ForeignQueue;
use super::ingest::{Fact, Group};
use super::link::{Connecting, Link, Target};
use super::lock::lock;
use super::messages;
use super::runtime::Runtimes;
use super::stats::Snapshot;
use super::stream::{Generation, Stream};
use super::{CAT, Command, Host, MESSAGE_CAT};
use crate::net::address::{Reach, is_public};
use crate::net::connect::ConnectError;
use crate::net::outbox::Kind;
use crate::net::tcp::Inbound;
use crate::net::udp::UdpPair;
use crate::rtp::report::random_cname;
use crate::rtsp::client::{self, Client, Error, Output};
use crate::rtsp::limits;
use crate::rtsp::message::Message;
use crate::rtsp::sdp;
use crate::rtsp::transport::LowerTransport;
use crate::rtsp::url::redact;

/// While reconnecting a connect is given up after this.
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The longest a session lives on after it was stopped.
const TEARDOWN_MAX: Duration = Duration::from_secs(2);
/// The TEARDOWN of a session that another transport replaces.
const RETIRE_MAX: Duration = Duration::from_secs(1);
/// Facts of the readers that the session has not taken yet.
const FACTS: usize = 256;

/// What [`super::Session`] shares with its task.
pub(super) struct Inputs {
    pub commands: mpsc::UnboundedReceiver<Command>,
    pub queued: Arc<AtomicUsize>,
    pub generation: Arc<Generation>,
    pub clock: Arc<ClockCell>,
    pub snapshot: Arc<Snapshot>,
    pub foreign: ForeignQueue,
}

/// One presentation attempt: a client and what it has opened.
struct Attempt {
    client: Client,
    connecting: Option<Connecting>,
    link: Option<Link>,
    sdp: Option<Arc<sdp::Session>>,
    /// Sockets that were offered and not granted yet, by media.
    pairs: HashMap<usize, UdpPair>,
    /// The selection of media that the application is asked for.
    selecting: Option<oneshot::Receiver<Vec<usize>>>,
    /// Whether the server plays.
    playing_since: Option<Instant>,
    /// How long it has played before the last pause.
    played: Duration,
    /// Aggregate URL and identifier, for the TEARDOWN after a loss.
    session: Option<(String, String)>,
    /// Nobody answered, as a camera that boots does.
    silent: bool,
    /// TEARDOWN is under way; then the next attempt uses these transports.
    retiring: Option<(Instant, Vec<LowerTransport>)>,
}

enum Wake {
    Command(Option<Command>),
    Connected(Result<Link, ConnectError>),
    Inbound(Inbound),
    Fact(Option<Fact>),
    Outcome(Option<(u64, Outcome)>),
    Selected(Vec<usize>),
    Presented(bool),
    Timer,
}

pub(super) struct Task {
    config: Config,
    host: Arc<dyn Host>,
    runtimes: Arc<Runtimes>,
    inputs: Inputs,
    foreign: ForeignQueue,
    clock: ClockReader,
    facts: (mpsc::Sender<Fact>, mpsc::Receiver<Fact>),
    outcomes: (
        mpsc::UnboundedSender<(u64, Outcome)>,
        mpsc::UnboundedReceiver<(u64, Outcome)>,
    ),
    backoff: Backoff,
    /// Transports to try; what worked is remembered.
    transports: Vec<LowerTransport>,
    attempt: Option<Attempt>,
    group: Arc<Group>,
    streams: Vec<Stream>,
    /// Streams were given pads up to this one.
    next_stream_key: u64,
    cname: String,
    /// Pads are being added, or were.
    presenting: Option<oneshot::Receiver<bool>>,
    presented_at: Option<Instant>,
    wish_playing: bool,
    /// A TEARDOWN for the session that a lost connection left behind.
    previous_session: Option<(String, String)>,
    retry_at: Option<Instant>,
    stop_at: Option<Instant>,
    eos: bool,
    /// The session is over; only Stop is awaited.
    over: bool,
    housekeeping_at: Option<Instant>,
    udp_buffer_told: bool,
    overflow_told: bool,
    /// A presentation that was up has been lost and is not back yet.
    was_lost: bool,
    /// UDP was silent and TCP was tried.
    fell_back: bool,
    links_checked: bool,
    /// Events of the application from before there were pads.
    early_events: Vec<gst::Event>,
    /// The server that the user named.
    first_peer: Option<IpAddr>,
    pipeline_latency: Duration,
}

impl Task {
    pub fn new(
        config: Config,
        host: Arc<dyn Host>,
        runtimes: Arc<Runtimes>,
        inputs: Inputs,
    ) -> Self {
        let backoff = Backoff::new(Policy {
            connect_attempts: config.connect_attempts,
            reconnect_attempts: config.reconnect_attempts,
            initial_delay: config.reconnect_initial_delay,
            max_delay: config.reconnect_max_delay,
        });
        Self {
            transports: config.transports.clone(),
            foreign: inputs.foreign.clone(),
            clock: ClockReader::new(inputs.clock.clone()),
            facts: mpsc::channel(FACTS),
            outcomes: mpsc::unbounded_channel(),
            backoff,
            attempt: None,
            group: Arc::default(),
            streams: Vec::new(),
            next_stream_key: 0,
            cname: random_cname(rand::random()),
            presenting: None,
            presented_at: None,
            wish_playing: false,
            previous_session: None,
            retry_at: None,
            stop_at: None,
            eos: false,
            over: false,
            housekeeping_at: None,
            udp_buffer_told: false,
            overflow_told: false,
            was_lost: false,
            fell_back: false,
            links_checked: false,
            early_events: Vec::new(),
            first_peer: None,
            pipeline_latency: Duration::ZERO,
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
        gst::debug!(CAT, "{}: the session has ended", self.config.url);
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
        let mut none = (None, None, None);
        let (connecting, link, selecting) = match &mut self.attempt {
            Some(attempt) => (
                &mut attempt.connecting,
                &mut attempt.link,
                &mut attempt.selecting,
            ),
            None => (&mut none.0, &mut none.1, &mut none.2),
        };
        tokio::select! {
            biased;
            // After Stop the handle goes, and its channel would always be ready.
            command = self.inputs.commands.recv(), if !stopping => Wake::Command(command),
            inbound = Link::inbound(link) => Wake::Inbound(inbound),
            outcome = Connecting::outcome(connecting) => Wake::Connected(outcome),
            selected = answer(selecting) => Wake::Selected(selected.unwrap_or_default()),
            presented = answer(&mut self.presenting) => Wake::Presented(presented.unwrap_or(false)),
            outcome = self.outcomes.1.recv() => Wake::Outcome(outcome),
            fact = self.facts.1.recv() => Wake::Fact(fact),
            () = timer => Wake::Timer,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let client = self
            .attempt
            .as_ref()
            .and_then(|attempt| attempt.client.poll_timeout());
        let retired = self
            .attempt
            .as_ref()
            .and_then(|attempt| attempt.retiring.as_ref().map(|r| r.0));
        [
            client,
            retired,
            self.retry_at,
            self.stop_at,
            self.housekeeping_at,
            self.rtcp_deadline(),
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
            Wake::Command(Some(command)) => {
                self.inputs.queued.fetch_sub(1, AcqRel);
                self.command(command, now);
            }
            Wake::Connected(outcome) => self.connected(outcome, now),
            Wake::Inbound(inbound) => self.inbound(inbound, now),
            Wake::Fact(fact) => {
                if let Some(fact) = fact {
                    self.fact(fact, now);
                }
            }
            Wake::Outcome(outcome) => {
                if let Some((key, outcome)) = outcome {
                    self.outcome(key, outcome, now);
                }
            }
            Wake::Selected(selected) => {
                if let Some(attempt) = &mut self.attempt {
                    attempt.selecting = None;
                    attempt.client.select(&selected, now);
                }
            }
            Wake::Presented(done) => {
                self.presenting = None;
                if done {
                    self.presented(now);
                }
            }
            Wake::Timer => {}
        }
        self.timers(now);
    }

    fn timers(&mut self, now: Instant) {
        if let Some(attempt) = &mut self.attempt {
            if attempt.client.poll_timeout().is_some_and(|at| at <= now) {
                attempt.client.handle_timeout(now);
            }
            if attempt.retiring.as_ref().is_some_and(|(at, _)| *at <= now) {
                self.retired();
            }
        }
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            self.start_attempt();
        }
        self.rtcp(now);
        if self.housekeeping_at.is_some_and(|at| at <= now) {
            self.housekeeping(now);
        }
    }

    fn command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Play => {
                self.wish_playing = true;
                self.play_if_wished(now);
            }
            Command::Pause => {
                self.wish_playing = false;
                self.hold();
                if let Some(attempt) = &mut self.attempt {
                    attempt.client.pause(now);
                }
            }
            Command::Stop => self.stop(now),
            Command::Eos => self.send_eos(),
            Command::Event(event) if self.presented_at.is_none() => {
                // An inactive pad would swallow it.
                if self.early_events.len() < limits::COMMANDS {
                    self.early_events.push(event);
                }
            }
            Command::Event(event) => {
                for stream in &self.streams {
                    stream.shared.delivery.event(event.clone());
                }
            }
            Command::PipelineLatency(latency) => {
                for stream in &self.streams {
                    stream.shared.set_pipeline_latency(latency);
                }
                self.pipeline_latency = latency;
            }
            Command::Latency(latency) => {
                self.config.latency = latency;
                for stream in &self.streams {
                    stream.shared.set_latency(latency);
                }
                self.post(|element| gst::message::Latency::builder().src(element).build());
            }
            Command::BufferLists(on) => {
                self.config.buffer_lists = on;
                for stream in &self.streams {
                    stream.shared.delivery.set_buffer_lists(on);
                }
            }
            Command::Credentials(credentials) => {
                self.config.credentials = credentials;
                self.backoff.new_credentials();
                if self.retry_at.is_some() {
                    self.retry_at = Some(now);
                }
            }
            Command::ForceKeyUnit(pad) => self.force_key_unit(pad.as_deref(), now),
        }
    }

    /// Drops what comes and what is queued until the next PLAY.
    pub(super) fn hold(&mut self) {
        self.clock.update();
        let clock = self.clock.now();
        for stream in &self.streams {
            if let Some(path) = &stream.path {
                lock(&path.ingest).pause(clock);
            }
            stream.shared.delivery.clear_media();
        }
        if let Some(attempt) = &mut self.attempt
            && let Some(since) = attempt.playing_since.take()
        {
            attempt.played = attempt.played.saturating_add(since.elapsed());
        }
        self.housekeeping_at = None;
        self.inputs.snapshot.update(|stats| {
            stats.state = "paused";
            stats.playing_since = None;
        });
    }

    /// PLAY goes out once the pads are there for what comes.
    fn play_if_wished(&mut self, now: Instant) {
        if !self.wish_playing || self.presented_at.is_none() || self.presenting.is_some() {
            return;
        }
        if let Some(attempt) = &mut self.attempt
            && attempt.retiring.is_none()
        {
            attempt.client.play(now);
        }
    }

    fn stop(&mut self, now: Instant) {
        if self.stop_at.is_some() {
            return;
        }
        self.inputs.generation.end();
        self.stop_at = Some(after(now, TEARDOWN_MAX.max(self.config.teardown_timeout)));
        self.retry_at = None;
        self.housekeeping_at = None;
        self.say_goodbye(now);
        if let Some(attempt) = &mut self.attempt {
            if attempt.client.session_id().is_none() {
                attempt.connecting = None;
            }
            attempt.client.teardown(now);
        }
        self.streams.clear();
    }

    fn send_eos(&mut self) {
        self.eos = true;
        self.retry_at = None;
        if self.presented_at.is_none() {
            return;
        }
        for stream in &mut self.streams {
            if let Some(path) = &stream.path {
                lock(&path.ingest).finish();
            }
            if !std::mem::replace(&mut stream.eos, true) {
                stream.shared.delivery.event(gst::event::Eos::new());
            }
        }
    }

    /// Begins to connect.
    fn start_attempt(&mut self) {
        if self.stop_at.is_some() || self.eos || self.over {
            return;
        }
        let now = Instant::now();
        let config = client::Config {
            credentials: self.config.credentials.clone(),
            user_agent: self.config.user_agent.clone(),
            transports: self.transports.clone(),
            keep_alive: self.config.keep_alive,
            response_timeout: nonzero(self.config.response_timeout),
            blocksize: self.config.blocksize,
            previous_session: self.previous_session.clone(),
            ..client::Config::new(self.config.url.clone())
        };
        let mut client = Client::new(config);
        client.start(now);
        self.group.restart();
        self.attempt = Some(Attempt {
            client,
            connecting: None,
            link: None,
            sdp: None,
            pairs: HashMap::new(),
            selecting: None,
            playing_since: None,
            played: Duration::ZERO,
            session: None,
            silent: false,
            retiring: None,
        });
        self.inputs
            .snapshot
            .update(|stats| stats.state = "connecting");
    }

    /// Does what the client wants done, until it wants nothing more.
    fn pump(&mut self) {
        let now = Instant::now();
        while let Some(output) = self.attempt.as_mut().and_then(|a| a.client.poll_output()) {
            match output {
                Output::Connect { host, port, .. } => self.connect(host, port),
                Output::Send(message) => self.send(message, now),
                Output::Disconnect => {
                    if let Some(attempt) = &mut self.attempt {
                        attempt.link = None;
                        attempt.connecting = None;
                    }
                }
                Output::Event(event) => self.event(event, now),
            }
        }
    }

    fn connect(&mut self, host: String, port: u16) {
        let timeout = match self.backoff.was_up() {
            true => RECONNECT_TIMEOUT.min(nonzero(self.config.response_timeout)),
            false => nonzero(self.config.response_timeout),
        };
        // A public server may not send us into the private network.
        let redirected = !host.eq_ignore_ascii_case(self.config.url.host());
        let public = self.first_peer.is_some_and(is_public);
        let reach = if redirected && public {
            Reach::PublicOnly
        } else {
            Reach::Any
        };
        gst::debug!(CAT, "connecting to {host} port {port}");
        if let Some(attempt) = &mut self.attempt {
            attempt.link = None;
            // Only what is yet to be set up waits for its turn.
            let set_up = attempt.client.state() != client::State::Init;
            attempt.connecting = Some(Connecting::start(
                self.runtimes.io(),
                Target {
                    host,
                    port,
                    timeout,
                    reach,
                    permit: !set_up,
                },
                self.inputs.clock.clone(),
            ));
        }
    }

    fn connected(&mut self, outcome: Result<Link, ConnectError>, now: Instant) {
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        attempt.connecting = None;
        match outcome {
            Ok(link) => {
                let (local, peer) = (link.local, link.peer);
                gst::debug!(CAT, "connected to {peer} from {local}");
                self.inputs
                    .snapshot
                    .update(|stats| stats.peer = Some(peer.to_string()));
                attempt.link = Some(link);
                self.first_peer.get_or_insert(peer.ip());
                attempt.client.handle_connected(local.ip(), peer.ip(), now);
                // Its TEARDOWN is on its way.
                self.previous_session = None;
            }
            Err(error) => {
                attempt.silent = !error.is_answer();
                attempt.client.handle_connect_failed(error.to_string(), now);
            }
        }
    }

    fn send(&mut self, message: Vec<u8>, now: Instant) {
        gst::log!(MESSAGE_CAT, "sent\n{}", printable(&message));
        let kind = if message.starts_with(b"RTSP/") {
            Kind::Response
        } else {
            Kind::Request
        };
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        let sent = attempt
            .link
            .as_ref()
            .is_some_and(|link| link.send(message, kind));
        if !sent {
            attempt.link = None;
            attempt
                .client
                .handle_connection_lost("the server does not read what is sent to it".into(), now);
        }
    }

    fn inbound(&mut self, inbound: Inbound, now: Instant) {
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        match inbound {
            Inbound::Message(message) => {
                log_received(&message);
                attempt.client.handle_message(message, now);
                let rtt = attempt.client.rtt();
                self.inputs.snapshot.update(|stats| stats.rtt = rtt);
            }
            Inbound::Closed(reason) => {
                gst::debug!(CAT, "connection closed: {reason}");
                attempt.link = None;
                attempt.client.handle_connection_lost(reason, now);
            }
        }
    }

    /// The attempt has failed, or the presentation was lost: tries again if
    /// that is wanted and may help.
    fn lost(&mut self, error: &Error, now: Instant) {
        let was_up = self.backoff.was_up();
        let newly_lost = was_up && !std::mem::replace(&mut self.was_lost, was_up);
        if self.stop_at.is_some() || self.over {
            self.drop_attempt(error);
            return;
        }
        self.inputs.snapshot.update(|stats| {
            stats.last_error = Some(error.to_string());
            stats.playing_since = None;
        });
        if self.eos {
            self.drop_attempt(error);
            match self.presented_at {
                Some(_) => self.over = true,
                // No pad will ever see the EOS.
                None => self.fail(error),
            }
            return;
        }
        let silent = self.attempt.as_ref().is_some_and(|attempt| attempt.silent);
        match self.backoff.failed(error, silent, &mut rand::rng()) {
            Verdict::GiveUp => {
                // A session that still lives is ended; then there is nothing left to do.
                self.say_goodbye(now);
                if let Some(attempt) = &mut self.attempt {
                    attempt.client.teardown(now);
                }
                self.fail(error);
            }
            Verdict::Retry(delay) => {
                self.drop_attempt(error);
                gst::warning!(CAT, "{error}; trying again in {delay:?}");
                self.retry_at = Some(after(now, delay));
                self.inputs.snapshot.update(|stats| stats.state = "waiting");
                let (reason, attempt) = (error.to_string(), self.backoff.tries());
                let what = match (newly_lost, Backoff::is_refusal(error)) {
                    (_, true) => "authentication-refused",
                    (true, false) => "connection-lost",
                    (false, false) => "retrying",
                };
                let status = error.status;
                self.tell(what, move |message| {
                    message.set("reason", reason);
                    message.set("attempt", attempt);
                    message.set("delay", u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX));
                    if let Some(status) = status {
                        message.set("rtsp-status-code", u32::from(status));
                    }
                });
            }
        }
    }

    /// Closes what the attempt has opened; the pads stay.
    fn drop_attempt(&mut self, error: &Error) {
        let Some(attempt) = self.attempt.take() else {
            return;
        };
        let gone = error.kind == client::ErrorKind::ServerTeardown || error.status == Some(454);
        if let Some(session) = attempt.session
            && !gone
        {
            self.previous_session = Some(session);
        }
        for stream in &mut self.streams {
            stream.path = None;
        }
        self.housekeeping_at = None;
    }

    fn fail(&mut self, error: &Error) {
        self.over = true;
        self.inputs.snapshot.update(|stats| stats.state = "failed");
        gst::error!(CAT, "{error}");
        let transport = self.transports.first().map(|transport| name_of(*transport));
        let error = error.clone();
        self.post(move |element| messages::error_message(element, &error, transport));
    }

    /// Tears the session down and begins anew with other transports, on the
    /// same pads.
    fn switch_transport(&mut self, transports: Vec<LowerTransport>, now: Instant) {
        self.transports = transports;
        self.housekeeping_at = None;
        for stream in &mut self.streams {
            stream.path = None;
        }
        if let Some(attempt) = &mut self.attempt {
            attempt.playing_since = None;
            attempt.retiring = Some((after(now, RETIRE_MAX), self.transports.clone()));
            attempt.client.teardown(now);
        }
    }

    /// The session that another transport replaces is gone.
    fn retired(&mut self) {
        self.attempt = None;
        self.start_attempt();
    }

    /// Posts an element message, in order with everything else that is foreign.
    fn tell(&self, what: &'static str, fill: impl FnOnce(&mut gst::StructureRef) + Send + 'static) {
        gst::info!(CAT, "{}: {what}", self.config.url);
        self.post(move |element| messages::element_message(element, what, fill));
    }

    fn post(&self, message: impl FnOnce(&gst::Element) -> gst::Message + Send + 'static) {
        let host = self.host.clone();
        let generation = self.inputs.generation.clone();
        self.foreign.run(move || {
            if generation.has_ended() {
                return;
            }
            if let Some(element) = host.element() {
                let _ = element.post_message(message(&element));
            }
        });
    }
}

/// The answer of foreign code; cancel safe.
async fn answer<T>(asked: &mut Option<oneshot::Receiver<T>>) -> Option<T> {
    match asked {
        Some(receiver) => receiver.await.ok(),
        None => std::future::pending().await,
    }
}

/// A span beyond the clock's range is none.
fn after(now: Instant, span: Duration) -> Instant {
    now.checked_add(span).unwrap_or(now)
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Zero stands for no limit; a session waits a day at the most.
fn nonzero(span: Duration) -> Duration {
    if span.is_zero() {
        Duration::from_secs(24 * 3600)
    } else {
        span
    }
}

/// As the `stats` property and messages name it.
fn name_of(transport: LowerTransport) -> &'static str {
    match transport {
        LowerTransport::Tcp => "tcp",
        LowerTransport::Udp => "udp",
        LowerTransport::UdpMulticast => "multicast",
    }
}

fn log_received(message: &Message) {
    if MESSAGE_CAT.above_threshold(gst::DebugLevel::Log) {
        let mut bytes = Vec::new();
        message.write(&mut bytes);
        gst::log!(MESSAGE_CAT, "received\n{}", printable(&bytes));
    }
}

/// A message as it may stand in a log: no credentials, no keys.
fn printable(message: &[u8]) -> String {
    const SECRET: [&str; 5] = [
        "authorization:",
        "proxy-authorization:",
        "keymgmt:",
        "a=key-mgmt:",
        "a=crypto:",
    ];
    String::from_utf8_lossy(message)
        .lines()
        .map(|line| {
            let lower = line.to_ascii_lowercase();
            match SECRET.iter().find(|name| lower.starts_with(*name)) {
                Some(name) => format!("{name} (not shown)"),
                None => redact(line),
            }
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: C-AUTH-20
    #[test]
    fn a_logged_message_holds_no_secret() {
        let text = printable(
            b"DESCRIBE rtsp://user:hunter2@host/a RTSP/1.0\r\nAuthorization: Basic aHVudGVyMg==\r\nContent-Base: rtsp://u:hunter2@h/\r\n\r\na=crypto:1 X inline:hunter2\r\na=key-mgmt:mikey hunter2",
        );
        assert!(
            !text.contains("hunter2") && !text.contains("aHVudGVyMg"),
            "{text}"
        );
        assert!(text.contains("DESCRIBE") && text.contains("host/a"));
    }
}
