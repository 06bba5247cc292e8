//! The connection of an attempt: what goes out on it and what comes in.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::*;
use crate::net::road::Target;
use crate::rtsp::client::Output;
use crate::rtsp::url::Url;
use crate::session::media::Demux;
use crate::session::spans::nonzero;
use crate::session::wire;

impl Task {
    /// Begins to connect.
    pub(super) fn start_attempt(&mut self) {
        if self.stop_at.is_some() || self.eos || self.over {
            return;
        }
        let now = Instant::now();
        let config = client::Config {
            credentials: self.config.server.credentials.clone(),
            user_agent: self.config.server.user_agent.clone(),
            transports: self.transports.clone(),
            keep_alive: self.config.server.keep_alive,
            response_timeout: nonzero(self.config.server.response_timeout),
            blocksize: self.config.blocksize,
            append_control: self.config.append_control,
            allow_clear_keys: self.config.allow_clear_keys,
            client_keys: self.config.client_keys,
            udp_reconnect: self.config.udp_reconnect,
            previous_session: self.previous_session.clone(),
            start: self.resume_at,
            replay: self.config.replay,
            review: true,
            version: self.config.version,
            backchannel: self.config.backchannel,
            ..client::Config::new(self.config.server.url.clone())
        };
        let mut client = Client::new(config);
        client.start(now);
        self.group.restart();
        self.attempt = Some(Attempt {
            client,
            connecting: None,
            link: None,
            sdp: None,
            properties: MediaProperties::default(),
            end_of_stream: None,
            pairs: HashMap::new(),
            selecting: None,
            keying: None,
            keys: HashMap::new(),
            reviewing: Reviewing::default(),
            playing_since: None,
            played: Duration::ZERO,
            session: None,
            no_sockets: None,
            silent: false,
            retiring: None,
        });
        self.inputs
            .snapshot
            .update(|stats| stats.state = "connecting");
    }

    /// Does what the client wants done, until it wants nothing more.
    pub(super) fn pump(&mut self) {
        let now = Instant::now();
        self.drain(now);
        if self.serve_parameters(now) {
            self.drain(now);
        }
    }

    /// True if something was sent.
    fn serve_parameters(&mut self, now: Instant) -> bool {
        if self.parameters.is_empty() {
            return false;
        }
        let url = self.config.server.url.to_string();
        let error = |kind, why: &str| Error::new(kind, client::Phase::Established, &url, why);
        let late = || error(client::ErrorKind::Timeout, "the session was not up in time");
        self.parameters.give_up(now, late);
        if self.over {
            self.parameters.clear();
        }
        match &mut self.attempt {
            Some(attempt) if attempt.retiring.is_none() => {
                self.parameters.send(&mut attempt.client, now)
            }
            _ => {
                let lost = || error(client::ErrorKind::Connect, "the connection was lost");
                self.parameters.lose_sent(lost);
                false
            }
        }
    }

    fn drain(&mut self, now: Instant) {
        while let Some(output) = self.attempt.as_mut().and_then(|a| a.client.poll_output()) {
            match output {
                Output::Connect(url) => self.connect(url),
                Output::Send(message) => self.send(message, now),
                Output::Disconnect => {
                    if let Some(attempt) = &mut self.attempt {
                        attempt.link = None;
                        attempt.connecting = None;
                    }
                }
                Output::Review(id, what) => self.review(id, what, now),
                Output::Event(event) => self.event(event, now),
            }
        }
    }

    /// Asks the application, if it wants to be asked.
    fn review(&mut self, id: u64, what: client::Review, now: Instant) {
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        if !self.host.reviews(&what) {
            let unchanged = client::Reviewed::Unchanged;
            return attempt.client.reviewed(id, unchanged, now);
        }
        let host = self.host.clone();
        let answer = self.foreign.ask(move || host.review(what));
        attempt.reviewing.ask(id, answer);
    }

    pub(super) fn connect(&mut self, url: Url) {
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
            self.gate.open();
            attempt.connecting = Some(Connecting::start(
                self.runtimes.io(),
                Target {
                    // Only what is yet to be set up waits for its turn.
                    permit: attempt.client.state() == client::State::Init,
                    ..target
                },
                Demux::new(
                    self.inputs.clock.clone(),
                    (!self.config.live).then(|| (self.gate.clone(), self.group.clone())),
                ),
                (!self.config.live).then(|| self.gate.clone()),
            ));
        }
    }

    pub(super) fn connected(&mut self, outcome: Result<Link, ConnectError>, now: Instant) {
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
                attempt
                    .client
                    .handle_connect_failed(error.kind(), error.to_string(), now);
            }
        }
    }

    pub(super) fn send(&mut self, message: Vec<u8>, now: Instant) {
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

    pub(super) fn inbound(&mut self, inbound: Inbound, now: Instant) {
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        match inbound {
            Inbound::Message(message) => {
                wire::log_received(&message);
                attempt.client.handle_message(message, now);
                let rtt = attempt.client.rtt();
                self.inputs.snapshot.update(|stats| stats.rtt = rtt);
            }
            Inbound::Quirk(name) => self.quirk(name),
            Inbound::Closed(reason) => {
                gst::debug!(CAT, "connection closed: {reason}");
                attempt.link = None;
                attempt.client.handle_connection_lost(reason, now);
            }
            Inbound::NotRtsp(reason) => {
                attempt.link = None;
                attempt.client.handle_not_rtsp(reason, now);
            }
        }
    }
}
