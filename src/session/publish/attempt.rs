//! One attempt at the presentation: a client and what it has opened.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::super::link::{Connecting, Link};
use super::super::reviewing::Reviewing;
use super::super::spans::{after, nonzero};
use super::super::wire;
use super::task::Task;
use super::tcp::{Incoming, Interleaved};
use super::{CAT, description};
use crate::net::connect::ConnectError;
use crate::net::outbox::Pump;
use crate::net::road::Target;
use crate::net::tcp::Inbound;
use crate::net::udp::UdpPair;
use crate::rtsp::client::{
    self, Client, ErrorKind, Intent, Output, OwnKeys, Phase, Review, Reviewed,
};
use crate::rtsp::sdp;
use crate::rtsp::transport::LowerTransport;
use crate::rtsp::url::Url;

/// The TEARDOWN of a session that another one replaces.
const RETIRE_MAX: Duration = Duration::from_secs(1);

pub(super) struct Attempt {
    pub client: Client,
    pub connecting: Option<Connecting<Incoming>>,
    pub link: Option<Link<Incoming>>,
    pub announced: bool,
    /// Of what is sent, by media, if it is encrypted.
    pub keys: Vec<OwnKeys>,
    /// Our address of the last connection.
    pub local: Option<IpAddr>,
    /// Sockets that were offered and not granted yet, by media.
    pub pairs: HashMap<usize, UdpPair>,
    /// The streams on the connection.
    pub interleaved: Option<(Arc<Interleaved>, Pump)>,
    pub recording_since: Option<Instant>,
    /// Something came from the server.
    pub last_heard: Instant,
    /// Somebody has reported on what was sent.
    pub heard_of_media: bool,
    /// Aggregate URL and identifier, for the TEARDOWN after a loss.
    pub session: Option<(String, String)>,
    /// A transport that was granted and whose sockets could not be opened.
    pub no_sockets: Option<(LowerTransport, String)>,
    /// Nobody answered, as a server that boots does.
    pub silent: bool,
    /// What the application is asked about.
    pub reviewing: Reviewing,
    /// The description, and what the application makes of it.
    pub updating: Option<(String, oneshot::Receiver<Reviewed>)>,
    /// TEARDOWN is under way until then; another attempt follows at once.
    pub retiring: Option<Instant>,
}

impl Task {
    /// Begins to connect.
    pub fn start_attempt(&mut self) {
        if self.stop_at.is_some() || self.over {
            return;
        }
        let now = Instant::now();
        let config = client::Config {
            intent: Intent::Record,
            credentials: self.config.server.credentials.clone(),
            user_agent: self.config.server.user_agent.clone(),
            transports: self.transports.clone(),
            keep_alive: self.config.server.keep_alive,
            response_timeout: nonzero(self.config.server.response_timeout),
            previous_session: self.previous_session.clone(),
            review: true,
            ..client::Config::new(self.config.server.url.clone())
        };
        let mut client = Client::new(config);
        client.start(now);
        self.attempt = Some(Attempt {
            client,
            connecting: None,
            link: None,
            announced: false,
            keys: Vec::new(),
            local: None,
            pairs: HashMap::new(),
            interleaved: None,
            recording_since: None,
            last_heard: now,
            heard_of_media: false,
            session: None,
            no_sockets: None,
            silent: false,
            reviewing: Reviewing::default(),
            updating: None,
            retiring: None,
        });
        self.record_if_wished(now);
        self.inputs
            .snapshot
            .update(|stats| stats.state = "connecting");
    }

    /// Does what the client wants done, until it wants nothing more.
    pub fn pump(&mut self) {
        let now = Instant::now();
        while let Some(output) = self.attempt.as_mut().and_then(|a| a.client.poll_output()) {
            match output {
                Output::Connect(url) => self.connect(url),
                Output::Send(message) => self.send(message, now),
                Output::Disconnect => {
                    if let Some(attempt) = &mut self.attempt {
                        attempt.link = None;
                        attempt.connecting = None;
                        attempt.interleaved = None;
                    }
                }
                Output::Review(id, what) => self.review(id, what, now),
                Output::Event(event) => self.event(event, now),
            }
        }
    }

    /// Asks the application, if it wants to be asked.
    fn review(&mut self, id: u64, what: Review, now: Instant) {
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        if !self.host.reviews(&what) {
            return attempt.client.reviewed(id, Reviewed::Unchanged, now);
        }
        let host = self.host.clone();
        let answer = self.inputs.foreign.ask(move || host.review(what));
        attempt.reviewing.ask(id, answer);
    }

    fn connect(&mut self, url: Url) {
        gst::debug!(CAT, "connecting to {} port {}", url.host(), url.port());
        let server = &self.config.server;
        let target = server.target(
            url,
            self.backoff.was_up(),
            self.first_peer,
            self.tls.clone(),
        );
        if let Some(attempt) = &mut self.attempt {
            attempt.link = None;
            attempt.interleaved = None;
            attempt.connecting = Some(Connecting::start(
                self.runtimes.io(),
                Target {
                    // Only what is yet to be set up waits for its turn.
                    permit: attempt.client.state() == client::State::Init,
                    ..target
                },
                Incoming::default(),
                None,
            ));
        }
    }

    pub fn connected(&mut self, outcome: Result<Link<Incoming>, ConnectError>, now: Instant) {
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        attempt.connecting = None;
        match outcome {
            Ok(mut link) => {
                let (local, peer) = (link.local, link.peer);
                attempt.local = Some(local.ip());
                if self.streams.is_empty() {
                    // Nothing to set up yet: others are not to wait for that.
                    link.permit = None;
                }
                gst::debug!(CAT, "connected to {peer} from {local}");
                self.inputs
                    .snapshot
                    .update(|stats| stats.peer = Some(peer.to_string()));
                attempt.link = Some(link);
                attempt.last_heard = now;
                self.first_peer.get_or_insert(peer.ip());
                attempt.client.handle_connected(local.ip(), peer.ip(), now);
                // Its TEARDOWN is on its way.
                self.previous_session = None;
                self.announce(now);
            }
            Err(error) => {
                attempt.silent = !error.is_answer();
                attempt
                    .client
                    .handle_connect_failed(error.kind(), error.to_string(), now);
            }
        }
    }

    /// Gives the client the description, once there is one and the address that it
    /// names is known.
    pub fn announce(&mut self, now: Instant) {
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        // A server may have closed a connection that brought nothing; the client opens
        // another one.
        let local = attempt.link.as_ref().map(|link| link.local.ip());
        let Some(local) = local.or(attempt.local) else {
            return;
        };
        if attempt.announced || attempt.retiring.is_some() || self.streams.is_empty() {
            return;
        }
        self.version = self.version.saturating_add(1);
        // Each attempt has keys of its own (RFC 3711 §9.1).
        attempt.keys = match self.config.profile.is_secure() {
            true => self.streams.iter().filter_map(|s| s.make_keys()).collect(),
            false => Vec::new(),
        };
        let keys = attempt.keys.iter().map(Some).chain(std::iter::repeat(None));
        let text = description::text(
            &description::Common {
                id: self.origin,
                version: self.version,
                address: local,
                cname: &self.cname,
                profile: self.config.profile,
                rtx_time: self.config.rtx_time,
            },
            self.streams
                .iter()
                .zip(keys)
                .map(|(stream, keys)| (&stream.description, stream.rtx, keys)),
        );
        match text {
            Ok(text) => {
                attempt.announced = true;
                let what = Review::Description(text.clone().into_bytes());
                if !self.host.reviews(&what) {
                    return attempt.client.announce(text, now);
                }
                let host = self.host.clone();
                let answer = self.inputs.foreign.ask(move || host.review(what));
                attempt.updating = Some((text, answer));
            }
            Err(error) => {
                let error = self.error(ErrorKind::Settings, Phase::Announce, error.to_string());
                self.finish(now);
                self.fail(&error);
            }
        }
    }

    /// The application has seen the description.
    pub fn updated(&mut self, reviewed: Option<Reviewed>, now: Instant) {
        let streams = self.streams.len();
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        let Some((text, _)) = attempt.updating.take() else {
            return;
        };
        let text = match reviewed {
            Some(Reviewed::Description(text)) => String::from_utf8_lossy(&text).into_owned(),
            _ => text,
        };
        // SETUP goes by their order.
        let media = sdp::Session::parse(text.as_bytes()).map(|sdp| sdp.media.len());
        if media.is_ok_and(|media| media == streams) {
            return attempt.client.announce(text, now);
        }
        let why = "`update-sdp` must leave the media of the description as they are".to_string();
        let error = self.error(ErrorKind::Settings, Phase::Announce, why);
        self.finish(now);
        self.fail(&error);
    }

    fn send(&mut self, message: Vec<u8>, now: Instant) {
        let kind = wire::log_sent(&message);
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

    pub fn inbound(&mut self, inbound: Inbound, now: Instant) {
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        match inbound {
            Inbound::Message(message) => {
                wire::log_received(&message);
                attempt.last_heard = now;
                attempt.client.handle_message(message, now);
                let rtt = attempt.client.rtt();
                self.inputs.snapshot.update(|stats| stats.rtt = rtt);
            }
            Inbound::Quirk(name) => self.quirk(name),
            Inbound::Closed(reason) => {
                gst::debug!(CAT, "connection closed: {reason}");
                attempt.link = None;
                attempt.interleaved = None;
                attempt.client.handle_connection_lost(reason, now);
            }
            Inbound::NotRtsp(reason) => {
                attempt.link = None;
                attempt.interleaved = None;
                attempt.client.handle_not_rtsp(reason, now);
            }
        }
    }

    /// Tears the session down and begins anew at once.
    pub fn retire(&mut self, now: Instant) {
        self.say_goodbye(now);
        self.close_paths();
        if let Some(attempt) = &mut self.attempt {
            attempt.recording_since = None;
            attempt.retiring = Some(after(now, RETIRE_MAX));
            attempt.client.teardown(now);
        }
    }

    /// The end of all streams was not the end: some go on, or there are others.
    pub fn revive(&mut self, now: Instant) {
        if !self.over || self.failed || self.stop_at.is_some() {
            return;
        }
        self.over = false;
        match &mut self.attempt {
            // TEARDOWN is on its way.
            Some(attempt) => attempt.retiring = Some(after(now, RETIRE_MAX)),
            None => self.start_attempt(),
        }
    }

    /// The session that another one replaces is gone.
    pub fn retired(&mut self) {
        if let Some(attempt) = self.attempt.take()
            && attempt.client.session_id().is_some()
        {
            // Its TEARDOWN was not answered.
            self.previous_session = attempt.session;
        }
        if self.farewell_until.is_some() {
            self.farewell_done();
        }
        self.start_attempt();
    }
}
