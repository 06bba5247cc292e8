//! The RTSP client: one attempt at one presentation, as a state machine without I/O.
//!
//! It connects, asks for OPTIONS and DESCRIBE, SETs UP what was selected, PLAYs, PAUSEs, keeps
//! alive and TEARs DOWN, following redirects on the way. It is driven by `handle_*` and told its
//! wishes by `start`, `play`, `pause` and `teardown`; after each such call [`Client::poll_output`]
//! is to be called until it is empty, and [`Client::handle_timeout`] at [`Client::poll_timeout`].
//! The layer above reconnects by making a new client.
//!
//! With [`Intent::Record`] it publishes: ANNOUNCE takes the place of DESCRIBE and RECORD that of
//! PLAY (`announce.rs`, `record.rs`); all the rest is the same.
//!
//! Session-changing requests go out one at a time (RFC 2326 §9.1): `Client::advance` looks at
//! what is reached and wished for, and sends the next one when none is open. So a request is
//! repeated with other parameters by changing the state and advancing again.

mod announce;
mod common;
mod connection;
mod describe;
mod error;
mod event;
mod grant;
mod keepalive;
mod keys;
mod methods;
mod pending;
mod play;
mod record;
mod redirect;
mod request;
mod review;
mod seek;
mod server_request;
mod setup;
mod teardown;
#[cfg(test)]
mod tests;
mod version;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

pub use error::{Error, ErrorKind, Phase};
pub use event::{Event, Granted, Output, Path, Review, Reviewed};
pub use keys::{KeyUse, OwnKeys};
pub use seek::{Frames, Replay, Seek};

use self::announce::Announcement;
use self::describe::Presentation;
use self::keepalive::KeepAlive;
use self::methods::Methods;
use self::pending::{Call, Pending, Purpose};
use self::play::Playback;
use self::redirect::Chain;
use self::review::Reviews;
use self::server_request::Arrivals;
use self::version::Spoken;
use crate::rtsp::auth::Authenticator;
use crate::rtsp::limits;
use crate::rtsp::message::{Message, Method, Version};
use crate::rtsp::session_header::SessionHeader;
use crate::rtsp::transport::LowerTransport;
use crate::rtsp::url::{Credentials, Url};

/// What is done with the presentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Intent {
    /// DESCRIBE it and PLAY it.
    #[default]
    Play,
    /// ANNOUNCE it and RECORD to it.
    Record,
}

/// What to play or record to, and how.
#[derive(Debug, Clone)]
pub struct Config {
    pub url: Url,
    pub intent: Intent,
    /// Used instead of those in the URL.
    pub credentials: Option<Credentials>,
    pub user_agent: String,
    /// Tried first; the other one when the server does not speak it.
    pub version: Version,
    /// Those allowed, in order of preference.
    pub transports: Vec<LowerTransport>,
    pub keep_alive: bool,
    pub response_timeout: Duration,
    /// Octets, for servers that packetise to order (RFC 2326 §12.7); 0: not sent.
    pub blocksize: u32,
    /// Control attributes are appended to the base URL, whatever the server says to that.
    pub append_control: bool,
    /// Keys in `a=crypto` are taken from a connection without TLS.
    pub allow_clear_keys: bool,
    /// This side makes the keys for both directions of secured media.
    pub client_keys: bool,
    /// A lost connection of a UDP session is opened again; else the session is lost with it.
    pub udp_reconnect: bool,
    /// Where to start in a finite range, in nanoseconds.
    pub start: Option<u64>,
    /// It is a recording that a device replays the way of ONVIF.
    pub replay: Option<Replay>,
    /// Aggregate URL and identifier of a session that an earlier connection left behind.
    pub previous_session: Option<(String, String)>,
    pub initial_cseq: u32,
    /// Requests, descriptions and requests of the server are put to the layer above
    /// (`Output::Review`) before they have effect.
    pub review: bool,
    /// The ONVIF back channel is asked for (ONVIF Streaming §5.3).
    pub backchannel: bool,
    /// An instant and its nanoseconds since the Unix epoch, for the times that servers name.
    pub wall_clock: Option<(Instant, u64)>,
}

impl Config {
    /// The defaults for a URL.
    pub fn new(url: Url) -> Self {
        Self {
            url,
            intent: Intent::Play,
            credentials: None,
            user_agent: String::new(),
            version: Version::V1_0,
            transports: vec![
                LowerTransport::Tcp,
                LowerTransport::Udp,
                LowerTransport::UdpMulticast,
            ],
            keep_alive: true,
            response_timeout: limits::RESPONSE_WAIT,
            blocksize: 0,
            append_control: false,
            allow_clear_keys: false,
            client_keys: false,
            udp_reconnect: true,
            start: None,
            replay: None,
            previous_session: None,
            initial_cseq: 1,
            review: false,
            backchannel: false,
            wall_clock: None,
        }
    }
}

/// The state of the session (RFC 2326 §A.1). It follows the final 2xx of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Init,
    Ready,
    Playing,
    Recording,
}

impl State {
    /// Whether media is sent.
    fn is_running(self) -> bool {
        matches!(self, State::Playing | State::Recording)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Down,
    Connecting,
    Up { local: IpAddr, peer: IpAddr },
}

/// How far the start is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// `start` was not called.
    Idle,
    Options,
    Describe,
    /// `select` is awaited.
    Select,
    /// Until the answer to ANNOUNCE; at first `announce` is awaited.
    Announce,
    Setup,
    Up,
    /// The answer to TEARDOWN is awaited.
    Closing,
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// Or to record.
    Play,
    Pause,
}

/// See the module.
pub struct Client {
    config: Config,
    /// Where the presentation is now, after redirects.
    url: Url,
    outputs: VecDeque<Output>,

    link: Link,
    /// The server said `Connection: close`.
    link_closing: bool,
    connected_at: Option<Instant>,
    /// When a lost connection of a UDP session is opened again.
    reconnect_at: Option<Instant>,
    /// A session request was lost with its connection, and is repeated on the next.
    lost_once: bool,

    step: Step,
    state: State,
    wish: Option<Wish>,
    /// `Event::Ready` was emitted.
    was_ready: bool,

    calls: Pending,
    /// Goes out when the new connection is there.
    resend: Option<Call>,
    /// A request was repeated after a timeout, which is done once.
    repeated: bool,
    skip_options: bool,

    auth: Authenticator,
    auth_retries: VecDeque<Instant>,
    redirects: Chain,
    /// A REDIRECT of the server for later.
    redirect_at: Option<(Instant, String)>,

    spoken: Spoken,
    methods: Methods,
    announcement: Option<Announcement>,
    presentation: Option<Presentation>,
    /// A SETUP was accepted (or ANNOUNCE, with an identifier) and the session not ended since.
    established: bool,
    /// Missing although established where the server gave no identifier.
    session: Option<SessionHeader>,
    playback: Playback,
    keep_alive: KeepAlive,
    arrivals: Arrivals,
    reviews: Reviews,

    server: Option<String>,
    rtt: Option<Duration>,
    quirks: Vec<&'static str>,
    strays: u64,
}

impl Client {
    pub fn new(config: Config) -> Self {
        let url = config.url.clone();
        let credentials = config
            .credentials
            .clone()
            .or_else(|| url.credentials().cloned());
        Self {
            outputs: VecDeque::new(),
            link: Link::Down,
            link_closing: false,
            connected_at: None,
            reconnect_at: None,
            lost_once: false,
            step: Step::Idle,
            state: State::Init,
            wish: None,
            was_ready: false,
            calls: Pending::new(config.initial_cseq, config.response_timeout),
            resend: None,
            repeated: false,
            skip_options: false,
            auth: Authenticator::new(credentials),
            auth_retries: VecDeque::new(),
            redirects: Chain::new(&url),
            redirect_at: None,
            spoken: Spoken::new(config.version),
            methods: Methods::default(),
            announcement: None,
            presentation: None,
            established: false,
            session: None,
            playback: Playback::default(),
            keep_alive: KeepAlive::new(),
            arrivals: Arrivals::default(),
            reviews: Reviews::default(),
            server: None,
            rtt: None,
            quirks: Vec::new(),
            strays: 0,
            url,
            config,
        }
    }

    /// For the requests that follow.
    pub fn set_user_agent(&mut self, user_agent: String) {
        self.config.user_agent = user_agent;
    }

    /// Goes up to all SETUPs done.
    pub fn start(&mut self, now: Instant) {
        if self.step == Step::Idle {
            self.step = Step::Options;
            self.advance(now);
        }
    }

    /// Wishes to play or to record, now or as soon as all is set up.
    pub fn play(&mut self, now: Instant) {
        let pausing = self
            .calls
            .any(|purpose| matches!(purpose, Purpose::Pause { .. }));
        if self.wish == Some(Wish::Pause) && self.state.is_running() && !pausing {
            // PAUSE never went out: the server goes on, and `Playing` or `Recording` is told again.
            self.playback.paused_locally = true;
        }
        self.wish = Some(Wish::Play);
        self.advance(now);
    }

    /// Wishes to pause.
    pub fn pause(&mut self, now: Instant) {
        self.wish = Some(Wish::Pause);
        self.advance(now);
    }

    pub fn handle_message(&mut self, message: Message, now: Instant) {
        if self.step == Step::Closed || !matches!(self.link, Link::Up { .. }) {
            return;
        }
        match message {
            Message::Request(request) => self.handle_request(request, now),
            Message::Response(response) => self.handle_response(response, now),
        }
        self.advance(now);
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(call) = self.calls.expired(now) {
            self.on_timeout(call, None, now);
        }
        if self.redirect_at.as_ref().is_some_and(|(at, _)| *at <= now)
            && let Some((_, location)) = self.redirect_at.take()
        {
            self.follow_redirect(&location, None, now);
        }
        if self.reconnect_at.is_some_and(|at| at <= now) {
            self.ready_link();
        }
        self.keep_alive_if_due(now);
        self.advance(now);
    }

    /// When `handle_timeout` is to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.step == Step::Closed {
            return None;
        }
        let redirect = self.redirect_at.as_ref().map(|(at, _)| *at);
        [
            self.calls.deadline(),
            redirect,
            self.reconnect_at,
            self.keep_alive_due(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What to do next, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if output.is_none() {
            self.arrivals.answers_taken();
        }
        output
    }

    pub fn state(&self) -> State {
        self.state
    }

    pub fn session_id(&self) -> Option<&str> {
        self.session.as_ref().map(|session| session.id.as_str())
    }

    pub fn session_timeout(&self) -> Duration {
        self.session
            .as_ref()
            .map_or(limits::SESSION_TIMEOUT, |session| session.timeout)
    }

    /// The URL that controls all streams; that of the presentation until it is described.
    pub fn aggregate_url(&self) -> String {
        self.presentation.as_ref().map_or_else(
            || self.url.request_uri().to_string(),
            Presentation::aggregate_url,
        )
    }

    /// What the server calls itself.
    pub fn server(&self) -> Option<&str> {
        self.server.as_deref()
    }

    /// How long the last answered request took.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// The deviations that were worked around.
    pub fn quirks(&self) -> &[&'static str] {
        &self.quirks
    }

    /// Whether the server lists the method; None if it has not said.
    pub fn supports(&self, method: &Method) -> Option<bool> {
        if self.methods.is_disabled(method, &self.aggregate_url()) {
            return Some(false);
        }
        self.methods.listed(method)
    }

    /// Responses that nobody had asked for.
    pub fn stray_responses(&self) -> u64 {
        self.strays
    }

    /// Sends the next session request, if there is one and none is open.
    fn advance(&mut self, now: Instant) {
        if self.resend.is_some() || self.calls.has_serial() && !self.may_pipeline() {
            return;
        }
        match self.step {
            Step::Idle | Step::Select | Step::Closing | Step::Closed => {}
            Step::Options => self.send_options(now),
            Step::Describe => self.send_describe(now),
            Step::Announce => self.send_announce(now),
            Step::Setup => self.next_setup(now),
            Step::Up => self.follow_wish(now),
        }
    }

    fn emit(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn warn(&mut self, text: impl Into<String>) {
        self.emit(Event::Warning(error::printable(&text.into())));
    }

    /// Each is told once.
    fn quirk(&mut self, name: &'static str) {
        if !self.quirks.contains(&name) {
            self.quirks.push(name);
            self.emit(Event::Quirk(name));
        }
    }
}
