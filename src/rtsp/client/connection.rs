//! The connection under the session: opened when a request needs it, and again when it is lost
//! (RFC 2326 §9, §1.1: a session is not bound to a connection; interleaved media is).

use std::net::IpAddr;
use std::time::Instant;

use super::error::{Error, ErrorKind, Phase};
use super::event::{Event, Output, Path};
use super::pending::{Call, Purpose, after};
use super::{Client, Link, Step};

impl Client {
    /// The connection that was asked for is open.
    pub fn handle_connected(&mut self, local: IpAddr, peer: IpAddr, now: Instant) {
        if self.link != Link::Connecting {
            return;
        }
        self.link = Link::Up { local, peer };
        self.link_closing = false;
        self.connected_at = Some(now);
        if self.step == Step::Closing {
            self.send_teardown(now);
        } else if let Some(call) = self.resend.take() {
            self.transmit(call, now);
        } else if self.step == Step::Up {
            // Is the session still there (RFC 7826 §10.5)?
            self.send_keep_alive(true, now);
        }
        self.advance(now);
    }

    /// The connection that was asked for cannot be had.
    pub fn handle_connect_failed(&mut self, kind: ErrorKind, reason: String, now: Instant) {
        if self.link != Link::Connecting {
            return;
        }
        self.link = Link::Down;
        let error = Error::new(kind, Phase::Connect, self.url.request_uri(), reason);
        match self.step {
            Step::Closed => {}
            Step::Closing => self.close(),
            Step::Up => self.lose(Error {
                kind: ErrorKind::SessionLost,
                ..error
            }),
            _ => self.fail(error, now),
        }
    }

    /// The connection broke or was closed by the server.
    pub fn handle_connection_lost(&mut self, reason: String, now: Instant) {
        if !matches!(self.link, Link::Up { .. }) {
            return;
        }
        let announced = std::mem::take(&mut self.link_closing);
        let (serial, error) = self.link_lost(ErrorKind::Connect, reason);
        match (self.step, serial) {
            (Step::Closed, _) => {}
            (Step::Closing, _) => self.close(),
            (_, _) if self.has_interleaved() => {
                self.lose(Error {
                    kind: ErrorKind::SessionLost,
                    ..error
                });
            }
            (Step::Up, _) if !self.config.udp_reconnect => {
                self.lose(Error {
                    kind: ErrorKind::SessionLost,
                    ..error
                });
            }
            (Step::Up, serial) => {
                let error = Error {
                    kind: ErrorKind::SessionLost,
                    ..error
                };
                self.udp_session_lost_connection(serial, error, now);
            }
            (_, None) => {} // the next request opens another
            (_, Some(call)) => self.start_lost_connection(call, announced, error, now),
        }
        self.advance(now);
    }

    /// Something else than an RTSP server has answered: asking again is of no use.
    pub fn handle_not_rtsp(&mut self, reason: String, now: Instant) {
        if !matches!(self.link, Link::Up { .. }) {
            return;
        }
        let (_, error) = self.link_lost(ErrorKind::Protocol, reason);
        match self.step {
            Step::Closed => {}
            Step::Closing => self.close(),
            Step::Up => self.lose(error),
            _ => self.fail(error, now),
        }
    }

    /// The request that was under way, and what became of it.
    fn link_lost(&mut self, kind: ErrorKind, reason: String) -> (Option<Call>, Error) {
        self.link = Link::Down;
        // Nobody is there any more to be answered.
        self.reviews.server_requests.clear();
        let serial = self.drop_calls("the connection was lost");
        let phase = serial
            .as_ref()
            .map_or(self.idle_phase(), |call| self.phase_of(call.purpose));
        let mut error = Error::new(kind, phase, self.url.request_uri(), reason);
        if let Some(call) = &serial {
            error = error.method(&call.request.method);
        }
        (serial, error)
    }

    /// A UDP session lives on: a new connection, and one keep-alive first.
    fn udp_session_lost_connection(&mut self, serial: Option<Call>, error: Error, now: Instant) {
        if let Some(call) = serial {
            // Once; a server that closes at each PLAY would be asked for ever.
            if self.lost_once || matches!(call.purpose, Purpose::KeepAlive { .. }) {
                return self.lose(error);
            }
            self.lost_once = true;
        }
        self.warn(error.message.clone());
        // A server that closes after each answer is visited only as often as it must be.
        let interval = self.keep_alive.interval();
        let recent = self
            .connected_at
            .map(|at| after(at, interval))
            .filter(|next| *next > now);
        match recent {
            Some(next) => self.reconnect_at = Some(next),
            None => {
                self.ready_link();
            }
        }
    }

    fn start_lost_connection(
        &mut self,
        mut call: Call,
        announced: bool,
        error: Error,
        now: Instant,
    ) {
        match call.purpose {
            // Servers close after TEARDOWN.
            Purpose::Cleanup => {}
            Purpose::Options if !self.repeated => {
                self.repeated = true;
                self.skip_options = true;
            }
            // Closed after the 401 that made us repeat it (C-AUTH-16), or in spite of our hurry.
            _ if (call.auth_tries > 0 || announced) && !call.repeated => {
                if call.auth_tries > 0 {
                    self.quirk("connection-closed-after-401");
                }
                call.repeated = true;
                self.resend = Some(call);
                self.connect();
            }
            _ => {
                let why = format!(
                    "the server closed the connection before it answered: {}",
                    error.message
                );
                self.fail(error.because(why), now);
            }
        }
    }

    /// Repeats a request on a new connection.
    pub(super) fn resend_on_new_connection(&mut self, call: Call) {
        self.drop_calls("the connection was replaced");
        self.disconnect();
        self.resend = Some(call);
        self.connect();
    }

    /// Whether a request can go out now; if not, sees to it that it soon can.
    pub(super) fn ready_link(&mut self) -> bool {
        match self.link {
            Link::Up { .. } if self.link_is_usable() => return true,
            Link::Up { .. } => {
                self.disconnect();
                self.connect();
            }
            Link::Down => self.connect(),
            Link::Connecting => {}
        }
        false
    }

    pub(super) fn link_is_usable(&self) -> bool {
        matches!(self.link, Link::Up { .. }) && !self.link_closing
    }

    pub(super) fn connect(&mut self) {
        self.link = Link::Connecting;
        self.reconnect_at = None;
        self.outputs.push_back(Output::Connect(self.url.clone()));
    }

    pub(super) fn disconnect(&mut self) {
        if self.link != Link::Down {
            self.link = Link::Down;
            self.outputs.push_back(Output::Disconnect);
        }
        self.link_closing = false;
    }

    /// Ends all open requests; gives back the session-changing one.
    pub(super) fn drop_calls(&mut self, why: &str) -> Option<Call> {
        let mut serial = None;
        self.restart_pipeline();
        for call in self.calls.drain() {
            self.mark_setup(&call, false);
            match call.purpose {
                Purpose::User(id) => {
                    let error = Error::new(
                        ErrorKind::Connect,
                        Phase::Established,
                        &call.request.uri,
                        why,
                    )
                    .method(&call.request.method);
                    self.emit(Event::Reply {
                        id,
                        result: Err(error),
                    });
                }
                Purpose::KeepAlive { verify: false } => {}
                _ => serial = Some(call),
            }
        }
        serial
    }

    /// Whether media comes over this connection.
    pub(super) fn has_interleaved(&self) -> bool {
        self.presentation.as_ref().is_some_and(|presentation| {
            presentation
                .granted()
                .any(|(_, granted)| matches!(granted.path, Path::Tcp { .. }))
        })
    }

    fn idle_phase(&self) -> Phase {
        match self.step {
            Step::Idle | Step::Options => Phase::Options,
            Step::Describe | Step::Select => Phase::Describe,
            Step::Announce => Phase::Announce,
            Step::Setup => Phase::Setup,
            Step::Up => Phase::Established,
            Step::Closing | Step::Closed => Phase::Teardown,
        }
    }
}
