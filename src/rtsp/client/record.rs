//! RECORD (RFC 2326 §10.11). Wishes, PAUSE and the control mode are those of PLAY.

use std::time::Instant;

use super::event::Event;
use super::pending::{Call, Purpose};
use super::{Client, State};
use crate::rtsp::message::{Method, Response};
use crate::rtsp::url::redact;

impl Client {
    /// Without Range: what is recorded is live, and begins now.
    pub(super) fn send_record(&mut self, now: Instant) {
        if !self.ready_link() {
            return;
        }
        let (stream, url) = self.control_target();
        let request = self.session_request(Method::Record, &url);
        self.send(Purpose::Record { stream }, request, now);
    }

    pub(super) fn on_record(
        &mut self,
        stream: Option<usize>,
        call: Call,
        response: Response,
        now: Instant,
    ) {
        self.lost_once = false;
        if !response.is_success() {
            // What a server does not record it is not sent by another method either.
            if matches!(response.status, 459 | 460) && self.switch_control(response.status) {
                return;
            }
            return self.fail(self.refused(&call, &response), now);
        }
        if !self.round_is_done(stream) {
            return;
        }
        self.state = State::Recording;
        self.playback.paused_locally = false;
        let location = response
            .headers
            .get_str("Location")
            .filter(|_| response.status == 201)
            .map(|location| redact(&super::error::printable(&location)));
        self.emit(Event::Recording { location });
    }
}
