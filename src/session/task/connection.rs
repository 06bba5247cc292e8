//! The connection of an attempt: what goes out on it and what comes in.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::*;
use crate::net::address::{Reach, is_public};
use crate::net::outbox::Kind;
use crate::rtsp::client::Output;
use crate::rtsp::message::Message;
use crate::rtsp::url::redact;
use crate::session::MESSAGE_CAT;
use crate::session::link::Target;

/// While reconnecting a connect is given up after this.
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(3);

impl Task {
    /// Begins to connect.
    pub(super) fn start_attempt(&mut self) {
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
            append_control: self.config.append_control,
            udp_reconnect: self.config.udp_reconnect,
            previous_session: self.previous_session.clone(),
            start: self.resume_at,
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

    pub(super) fn connect(&mut self, host: String, port: u16) {
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
                attempt.client.handle_connect_failed(error.to_string(), now);
            }
        }
    }

    pub(super) fn send(&mut self, message: Vec<u8>, now: Instant) {
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

    pub(super) fn inbound(&mut self, inbound: Inbound, now: Instant) {
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
            Inbound::NotRtsp(reason) => {
                attempt.link = None;
                attempt.client.handle_not_rtsp(reason, now);
            }
        }
    }
}

/// Zero stands for no limit; a session waits a day at the most.
fn nonzero(span: Duration) -> Duration {
    if span.is_zero() {
        Duration::from_secs(24 * 3600)
    } else {
        span
    }
}

fn log_received(message: &Message) {
    if MESSAGE_CAT.above_threshold(gst::DebugLevel::Log) {
        let mut bytes = Vec::new();
        let mut message = message.clone();
        // Writing adds one of its own.
        message.headers_mut().remove("Content-Length");
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
