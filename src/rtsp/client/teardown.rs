//! The end: TEARDOWN from any state, failures, and what follows them (RFC 2326 §10.7).

use std::time::Instant;

use super::error::Error;
use super::event::Event;
use super::pending::{Call, Purpose};
use super::{Client, State, Step};
use crate::rtsp::message::{Method, Request, Response};

impl Client {
    /// Ends the session. `Event::Closed` follows at once, or when the server has answered; how long
    /// that is waited for is for the caller to decide.
    pub fn teardown(&mut self, now: Instant) {
        if matches!(self.step, Step::Closing | Step::Closed) {
            return;
        }
        // The answer to a SETUP under way may make a session, which then must be ended.
        let setup = self
            .calls
            .any(|purpose| matches!(purpose, Purpose::Setup { .. }));
        if self.established {
            self.begin_closing();
            self.send_teardown(now);
        } else if setup {
            self.step = Step::Closing;
            self.stop_timers();
        } else {
            self.begin_closing();
            self.close();
        }
    }

    /// What was asked for cannot be had. A session that was made on the way is ended.
    pub(super) fn fail(&mut self, error: Error, now: Instant) {
        if matches!(self.step, Step::Closing | Step::Closed) {
            return;
        }
        self.begin_closing();
        // A lost connection is not opened again for this.
        if self.established && self.link_is_usable() {
            self.send_teardown(now);
        }
        self.emit(Event::Failed(error));
        if self.calls.is_empty() {
            self.close();
        }
    }

    /// The session is gone; there is nothing to tear down.
    pub(super) fn lose(&mut self, error: Error) {
        if matches!(self.step, Step::Closing | Step::Closed) {
            return;
        }
        self.begin_closing();
        self.emit(match self.was_ready {
            true => Event::SessionLost(error),
            false => Event::Failed(error),
        });
        self.close();
    }

    fn begin_closing(&mut self) {
        self.drop_calls("the session is being ended");
        self.stop_timers();
        self.step = Step::Closing;
    }

    fn stop_timers(&mut self) {
        self.keep_alive.stop();
        self.resend = None;
        self.redirect_at = None;
        self.reconnect_at = None;
    }

    /// On the aggregate URL, or one for each stream.
    pub(super) fn send_teardown(&mut self, now: Instant) {
        if !self.ready_link() {
            return;
        }
        for request in self.teardown_requests() {
            if !self.calls.is_full() {
                self.send(Purpose::Teardown, request, now);
            }
        }
    }

    fn teardown_requests(&self) -> Vec<Request> {
        let mut urls = Vec::new();
        if let Some(presentation) = self
            .presentation
            .as_ref()
            .filter(|_| self.playback.per_stream)
        {
            for (index, _) in presentation.granted() {
                let stream = presentation.streams.get(index);
                urls.extend(
                    stream.and_then(|stream| presentation.stream_url(stream, presentation.join)),
                );
            }
        }
        if urls.is_empty() {
            urls.push(self.aggregate_url());
        }
        let request = |url: String| self.control_request(Method::Teardown, &url);
        urls.into_iter().map(request).collect()
    }

    pub(super) fn on_closing_response(&mut self, call: Call, response: Response, now: Instant) {
        match call.purpose {
            Purpose::Setup { .. }
                if response.is_success() && self.adopt_session(&response).is_ok() =>
            {
                return self.send_teardown(now);
            }
            // Once, within the caller's patience.
            Purpose::Teardown if response.status == 401 && call.auth_tries == 0 => {
                self.on_unauthorized(call, response, now);
            }
            Purpose::Teardown
                if matches!(response.status, 459 | 460) && !self.playback.per_stream =>
            {
                self.playback.per_stream = true;
                return self.send_teardown(now);
            }
            // Any other answer: there is no session now, or nothing more that could be done.
            Purpose::Teardown if !response.is_success() => self.quirk("teardown-refused"),
            _ => {}
        }
        self.closing_call_done();
    }

    pub(super) fn closing_call_done(&mut self) {
        if self.calls.is_empty() && self.resend.is_none() {
            self.close();
        }
    }

    pub(super) fn close(&mut self) {
        if self.step == Step::Closed {
            return;
        }
        self.disconnect();
        self.forget_session();
        self.step = Step::Closed;
        self.emit(Event::Closed);
    }

    pub(super) fn forget_session(&mut self) {
        self.session = None;
        self.established = false;
        self.state = State::Init;
        self.keep_alive.stop();
    }

    /// The last word on a connection that is about to be left: nobody waits for the answer.
    pub(super) fn say_teardown(&mut self, now: Instant) {
        if self.established && self.link_is_usable() {
            for request in self.teardown_requests() {
                self.transmit(Call::new(Purpose::Teardown, request, now), now);
            }
        }
        self.disconnect();
    }
}
