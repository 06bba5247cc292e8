//! One transport for all streams, where a server refuses to mix them.
//!
//! A stream that is refused on the transport of the streams before it, and on another as well, may
//! be refused for the mix alone. Then the session is ended, once, and all streams are set up again
//! with that other transport, this stream first. If it fails again, or one that had been set up
//! does, it was not the mix: all are set up as before, without it.

use std::time::Instant;

use super::Client;
use super::describe::Presentation;
use super::error::Error;
use super::event::Event;
use super::pending::Purpose;
use super::setup::{Stream, StreamState};
use crate::rtsp::message::Method;
use crate::rtsp::transport::LowerTransport;

#[derive(Default)]
pub(super) enum Common {
    #[default]
    Untried,
    Trying(Before),
    Tried,
}

/// How it was.
pub(super) struct Before {
    transport: LowerTransport,
    /// The media that were set up.
    set_up: Vec<usize>,
    /// The one that was refused, and why.
    media: usize,
    error: Error,
}

impl Before {
    fn needs(&self, media: usize) -> bool {
        self.media == media || self.set_up.contains(&media)
    }
}

impl Presentation {
    /// The transport of all streams that are set up, and one that this stream was refused on
    /// beside it.
    fn mix(&self, stream: &Stream) -> Option<(LowerTransport, LowerTransport)> {
        let mut transports = self.granted().map(|(_, granted)| granted.path.lower());
        let common = transports.next()?;
        if !stream.refused.contains(&common) || transports.any(|lower| lower != common) {
            return None;
        }
        let other = stream.refused.iter().find(|lower| **lower != common)?;
        Some((common, *other))
    }

    /// All streams that were not left out are to be set up anew.
    fn again(&mut self, preferred: LowerTransport) {
        self.preferred = Some(preferred);
        for stream in &mut self.streams {
            if !matches!(stream.state, StreamState::Skipped) {
                stream.state = StreamState::Waiting;
                // What was protected with them counts from the start in the next session.
                if let Some(secured) = &mut stream.secured {
                    secured.asked = false;
                    secured.own = None;
                }
                stream.sent = false;
                stream.tried.clear();
                stream.refused.clear();
                stream.error = None;
            }
        }
    }
}

impl Client {
    /// No transport is left for a stream. True: all are set up again with one that it was refused.
    pub(super) fn try_common_transport(
        &mut self,
        index: usize,
        error: &Error,
        now: Instant,
    ) -> bool {
        // With the session the server would forget what was announced.
        if self.announcement.is_some() {
            return false;
        }
        let Some(presentation) = &mut self.presentation else {
            return false;
        };
        let Some(stream) = presentation.streams.get(index) else {
            return false;
        };
        let Some((from, to)) = presentation
            .mix(stream)
            .filter(|_| matches!(presentation.common, Common::Untried))
        else {
            return false;
        };
        let streams = &presentation.streams;
        let set_up = presentation
            .granted()
            .filter_map(|(index, _)| streams.get(index));
        presentation.common = Common::Trying(Before {
            transport: from,
            set_up: set_up.map(|stream| stream.media).collect(),
            media: stream.media,
            error: error.clone(),
        });
        presentation.again(to);
        if let Some(first) = presentation.streams.get_mut(..=index) {
            first.rotate_right(1);
        }
        if let Some(first) = presentation.streams.first_mut() {
            first.tried.push(from);
            first.refused.push(from);
        }
        self.set_up_again(from, to, "the server does not mix transports", now);
        true
    }

    /// A stream failed. True: it is one of those for whose sake all were set up again, and they
    /// are set up as before.
    pub(super) fn leave_common_transport(&mut self, index: usize, now: Instant) -> bool {
        let Some(presentation) = &mut self.presentation else {
            return false;
        };
        let failed = presentation.streams.get(index).map(|stream| stream.media);
        if !matches!(&presentation.common, Common::Trying(before) if failed.is_some_and(|media| before.needs(media)))
        {
            return false;
        }
        let Common::Trying(before) = std::mem::replace(&mut presentation.common, Common::Tried)
        else {
            return false;
        };
        let from = presentation.preferred.unwrap_or(before.transport);
        presentation.again(before.transport);
        presentation.streams.sort_by_key(|stream| stream.media);
        let left_out = presentation
            .streams
            .iter()
            .position(|stream| stream.media == before.media);
        self.set_up_again(
            from,
            before.transport,
            "no transport suits all streams",
            now,
        );
        if let Some(left_out) = left_out {
            self.skip(left_out, before.error);
        }
        true
    }

    /// Ends the session and begins another on the same connection.
    fn set_up_again(&mut self, from: LowerTransport, to: LowerTransport, why: &str, now: Instant) {
        self.drop_calls("the session is set up again");
        if self.established && self.link_is_usable() {
            let request = self.session_request(Method::Teardown, &self.aggregate_url());
            self.send(Purpose::Cleanup, request, now);
        }
        self.forget_session();
        self.emit(Event::TransportSwitched {
            from,
            to,
            why: why.to_string(),
        });
        self.emit(Event::SetUpAgain);
    }
}
