//! Requests out, responses in: what all methods share.

use std::time::{Duration, Instant};

use super::describe::{BACKCHANNEL, Presentation};
use super::error::{Error, ErrorKind, Phase, printable};
use super::event::{Event, Output};
use super::pending::{Call, Match, Purpose};
use super::{Client, Step};
use crate::rtsp::limits;
use crate::rtsp::message::{Headers, Method, Request, Response};
use crate::rtsp::parse::split_list;

impl Client {
    /// Whether a request of the application can go out now. Room is left for the session's own.
    pub fn takes_requests(&self) -> bool {
        let open = self
            .calls
            .count(|purpose| matches!(purpose, Purpose::User(_)));
        self.step == Step::Up
            && self.link_is_usable()
            && self.resend.is_none()
            && !self.calls.is_full()
            && open < limits::OUTSTANDING / 2
    }

    /// Asks the server for parameters; answered by `Event::Reply`.
    pub fn get_parameter(
        &mut self,
        id: u64,
        content_type: Option<&str>,
        body: Vec<u8>,
        now: Instant,
    ) {
        self.user_request(id, Method::GetParameter, content_type, body, now);
    }

    /// Sets parameters of the server; answered by `Event::Reply`.
    pub fn set_parameter(
        &mut self,
        id: u64,
        content_type: Option<&str>,
        body: Vec<u8>,
        now: Instant,
    ) {
        self.user_request(id, Method::SetParameter, content_type, body, now);
    }

    fn user_request(
        &mut self,
        id: u64,
        method: Method,
        content_type: Option<&str>,
        body: Vec<u8>,
        now: Instant,
    ) {
        let url = self.aggregate_url();
        let refusal = if self.methods.is_disabled(&method, &url) {
            Some((
                ErrorKind::Settings,
                "the server has refused this method before",
            ))
        } else if !self.takes_requests() {
            Some((ErrorKind::Busy, "there is no session, or it is busy"))
        } else {
            None
        };
        if let Some((kind, why)) = refusal {
            let error = Error::new(kind, Phase::Established, &url, why).method(&method);
            return self.emit(Event::Reply {
                id,
                result: Err(error),
            });
        }
        let mut request = self.session_request(method, &url);
        if let Some(content_type) = content_type.filter(|_| !body.is_empty()) {
            // No header of its own.
            let content_type = content_type.replace(['\r', '\n', '\0'], " ");
            request.headers.push("Content-Type", content_type);
        }
        request.body = body;
        self.send(Purpose::User(id), request, now);
    }

    pub(super) fn request(&self, method: Method, url: &str) -> Request {
        let mut request = Request::new(method, url, self.spoken.version);
        if !self.config.user_agent.is_empty() {
            request
                .headers
                .push("User-Agent", self.config.user_agent.as_str());
        }
        request
    }

    /// With the identifier exactly as it was given (RFC 2326 §12.37).
    pub(super) fn session_request(&self, method: Method, url: &str) -> Request {
        let mut request = self.request(method, url);
        if let Some(session) = &self.session {
            request.headers.push("Session", session.id.as_str());
        }
        request
    }

    /// Of all streams; with the tag of the back channel where one of them is (ONVIF Streaming
    /// §5.3.2.1).
    pub(super) fn control_request(&self, method: Method, url: &str) -> Request {
        let mut request = self.session_request(method, url);
        if self
            .presentation
            .as_ref()
            .is_some_and(Presentation::has_backchannel)
        {
            request.headers.push("Require", BACKCHANNEL);
        }
        request
    }

    pub(super) fn send(&mut self, purpose: Purpose, request: Request, now: Instant) {
        let call = Call::new(purpose, request, now);
        match self.config.review && purpose.is_reviewed() {
            true => self.review_request(call),
            false => self.transmit(call, now),
        }
    }

    /// Gives a request its number and credentials, and sends it.
    pub(super) fn transmit(&mut self, mut call: Call, now: Instant) {
        let cseq = self.calls.next_cseq();
        let credentials =
            self.auth
                .authorization(&call.request.method, &call.request.uri, &call.request.body);
        call.authorized = credentials.is_some();
        call.sent = now;
        self.mark_setup(&call, true);

        let mut request = call.request.clone();
        request.headers = Headers::new();
        request.headers.push("CSeq", cseq.to_string());
        for (name, value) in call.request.headers.iter() {
            request.headers.push(name, value);
        }
        if let Some(credentials) = credentials {
            request.headers.push("Authorization", credentials);
        }
        let mut bytes = Vec::new();
        request.write(&mut bytes);
        self.outputs.push_back(Output::Send(bytes));
        self.calls.push(cseq, call, now);
    }

    pub(super) fn handle_response(&mut self, response: Response, now: Instant) {
        match self.calls.take(&response, now) {
            Match::Final(call) => {
                if response.headers.get("CSeq").is_none() {
                    self.quirk("response-without-cseq");
                }
                if response.reason.is_empty() {
                    self.quirk("response-without-reason");
                }
                self.on_response(call, response, now);
            }
            Match::Provisional => {}
            Match::Stray => {
                self.quirk("response-to-no-request");
                self.strays = self.strays.saturating_add(1);
            }
        }
    }

    fn on_response(&mut self, call: Call, response: Response, now: Instant) {
        self.rtt = Some(now.saturating_duration_since(call.sent));
        if let Some(server) = response.headers.get_str("Server") {
            self.server = Some(printable(&server));
        }
        // Interleaved media would go down with the connection; then the server may close it itself.
        if says_close(&response.headers) && !self.has_interleaved() {
            self.link_closing = true;
        }
        if call.request.headers.get("Session").is_some() && self.keep_alive.is_running() {
            self.keep_alive.restart(call.sent, now);
        }
        if self.step == Step::Closing {
            return self.on_closing_response(call, response, now);
        }
        self.learn_version(&response);
        self.methods
            .refused(&call.request.method, &call.request.uri, response.status);
        if !matches!(call.purpose, Purpose::Cleanup) {
            match response.status {
                401 => return self.on_unauthorized(call, response, now),
                454 if call.request.headers.get("Session").is_some() => {
                    if let Purpose::User(id) = call.purpose {
                        self.emit(Event::Reply {
                            id,
                            result: Ok(response.clone()),
                        });
                    }
                    return self.lose(self.refused(&call, &response));
                }
                301..=303 | 305..=399 => {
                    if let Purpose::User(id) = call.purpose {
                        self.emit(Event::Reply {
                            id,
                            result: Ok(response.clone()),
                        });
                    }
                    let location = response.headers.get_str("Location").unwrap_or_default();
                    return self.follow_redirect(
                        &location,
                        Some(self.refused(&call, &response)),
                        now,
                    );
                }
                408 => return self.on_timeout(call, Some(response), now),
                250 => self.warn("the server is low on storage"),
                _ => {}
            }
        }
        self.dispatch(call, response, now);
    }

    /// To whom it concerns.
    pub(super) fn dispatch(&mut self, call: Call, response: Response, now: Instant) {
        match call.purpose {
            Purpose::Cleanup => {
                if response.status == 401 && call.auth_tries == 0 {
                    self.on_unauthorized(call, response, now);
                }
            }
            Purpose::Options => self.on_options(call, response, now),
            Purpose::Describe => self.on_describe(call, response, now),
            Purpose::Announce => self.on_announce(call, response, now),
            Purpose::Setup { stream } => self.on_setup(stream, call, response, now),
            Purpose::Play { stream } => self.on_play(stream, call, response, now),
            Purpose::Record { stream } => self.on_record(stream, call, response, now),
            Purpose::Pause { stream } => self.on_pause(stream, call, response, now),
            Purpose::KeepAlive { verify } => self.on_keep_alive(verify, call, response, now),
            Purpose::Teardown => {}
            Purpose::User(id) => {
                if response.status >= 500 {
                    self.keep_alive.hurry(now); // is the session still there? (RFC 7826 §B.4)
                }
                // Whatever the status: 451 and 458 are for the application to read.
                self.emit(Event::Reply {
                    id,
                    result: Ok(response),
                });
            }
        }
    }

    /// 401: the same request with other credentials, a bounded number of times.
    pub(super) fn on_unauthorized(&mut self, mut call: Call, response: Response, now: Instant) {
        let minute = Duration::from_secs(60);
        self.auth_retries
            .retain(|at| now.saturating_duration_since(*at) < minute);
        let spent = call.auth_tries >= limits::AUTH_RETRIES
            || self.auth_retries.len() >= limits::AUTH_RETRIES_PER_MINUTE as usize;
        let answer = self
            .auth
            .challenged(&response.headers, call.authorized, self.url.is_tls());
        let why = match answer {
            Ok(retry) if !spent => {
                self.auth_retries.push_back(now);
                call.auth_tries = call.auth_tries.saturating_add(1);
                if retry.basic_in_clear {
                    self.warn("the password is sent in clear text: the server offers only Basic without TLS");
                }
                if retry.realm_changed {
                    self.quirk("realm-changes");
                }
                if self.link_closing {
                    return self.resend_on_new_connection(call);
                }
                return self.transmit(call, now);
            }
            Ok(_) => "the server refuses the credentials again and again".to_string(),
            Err(error) => error.to_string(),
        };
        let error = self.refused(&call, &response).because(why);
        match call.purpose {
            Purpose::Cleanup | Purpose::Teardown => {}
            Purpose::KeepAlive { .. } => self.warn(error.to_string()),
            Purpose::User(id) => self.emit(Event::Reply {
                id,
                result: Ok(response),
            }),
            Purpose::Setup { stream } => self.give_up(stream, error, now),
            Purpose::Pause { .. } => self.pause_locally(Some(error)),
            _ => self.fail(error, now),
        }
    }

    /// No response in time, or 408, which is the server's word for it.
    pub(super) fn on_timeout(&mut self, mut call: Call, response: Option<Response>, now: Instant) {
        if self.step == Step::Closing {
            return self.closing_call_done();
        }
        let error = match &response {
            Some(response) => self.refused(&call, response),
            None => Error::new(
                ErrorKind::Timeout,
                self.phase_of(call.purpose),
                &call.request.uri,
                "no response came in time",
            )
            .method(&call.request.method),
        };
        match call.purpose {
            Purpose::Cleanup | Purpose::Teardown => {}
            // Not needed: DESCRIBE takes the place of its repetition.
            Purpose::Options => {
                self.repeated = true;
                self.skip_options = true;
                self.disconnect();
            }
            // A new connection knows nothing of what was announced on the old one.
            Purpose::Describe | Purpose::Setup { .. }
                if !self.repeated && !self.established && self.announcement.is_none() =>
            {
                self.repeated = true;
                call.repeated = true;
                self.resend_on_new_connection(call);
            }
            Purpose::Describe
            | Purpose::Announce
            | Purpose::Setup { .. }
            | Purpose::Play { .. }
            | Purpose::Record { .. } => self.fail(error, now),
            Purpose::Pause { .. } => self.pause_locally(Some(error)),
            Purpose::KeepAlive { verify: true } => {
                self.lose(Error {
                    kind: ErrorKind::SessionLost,
                    ..error
                });
            }
            // Servers that are busy sending may not answer.
            Purpose::KeepAlive { verify: false } => {
                self.quirk("keep-alive-unanswered");
                self.warn(error.to_string());
            }
            Purpose::User(id) => self.emit(Event::Reply {
                id,
                result: Err(error),
            }),
        }
    }

    pub(super) fn refused(&self, call: &Call, response: &Response) -> Error {
        Error::refused(
            self.phase_of(call.purpose),
            &call.request.method,
            &call.request.uri,
            response,
        )
    }

    pub(super) fn phase_of(&self, purpose: Purpose) -> Phase {
        match purpose {
            Purpose::Cleanup | Purpose::Teardown => Phase::Teardown,
            Purpose::Options => Phase::Options,
            Purpose::Describe => Phase::Describe,
            Purpose::Announce => Phase::Announce,
            Purpose::Setup { .. } => Phase::Setup,
            Purpose::Play { .. } => Phase::Play,
            Purpose::Record { .. } => Phase::Record,
            Purpose::Pause { .. } => Phase::Pause,
            Purpose::KeepAlive { .. } | Purpose::User(_) => Phase::Established,
        }
    }
}

fn says_close(headers: &Headers) -> bool {
    headers
        .joined("Connection")
        .is_some_and(|list| split_list(&list).any(|item| item.trim().eq_ignore_ascii_case("close")))
}
