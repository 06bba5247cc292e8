//! What the application may see and change before it has effect: requests before they are sent,
//! requests of the server before they are answered, and the description.
//!
//! Whatever it is put to may take its time: keep-alives and the timers go on meanwhile.

use std::time::Instant;

use super::error::{Error, ErrorKind};
use super::event::{Output, Review, Reviewed};
use super::pending::{Call, Purpose};
use super::server_request::{Then, stamp};
use super::{Client, Intent, Step};
use crate::rtsp::limits;
use crate::rtsp::message::{Method, Request, Response, Version};

#[derive(Default)]
pub(super) struct Reviews {
    last: u64,
    /// Requests of the server, with what is answered unless the application has another answer.
    pub server_requests: Vec<(u64, Request, Response, Then)>,
    /// A description and its base URL.
    description: Option<(u64, String, Vec<u8>)>,
}

impl Reviews {
    fn next(&mut self) -> u64 {
        self.last = self.last.wrapping_add(1);
        self.last
    }
}

impl Client {
    fn review(&mut self, what: Review) -> u64 {
        let id = self.reviews.next();
        self.outputs.push_back(Output::Review(id, what));
        id
    }

    pub(super) fn review_request(&mut self, call: Call) {
        let id = self.review(Review::Request(call.request.clone()));
        self.calls.hold(id, call);
    }

    pub(super) fn review_server_request(
        &mut self,
        request: Request,
        response: Response,
        then: Then,
        now: Instant,
    ) {
        if self.reviews.server_requests.len() >= limits::SERVER_REQUESTS_QUEUED {
            // The server is not made to wait for an application that does not answer.
            return self.answer_server_request(&request, response, then, now);
        }
        let seen = if_seen_to(&request, &response);
        let id = self.review(Review::ServerRequest(request.clone(), seen));
        let held = (id, request, response, then);
        self.reviews.server_requests.push(held);
    }

    pub(super) fn review_description(&mut self, base: String, body: Vec<u8>) {
        let id = self.review(Review::Description(body.clone()));
        self.reviews.description = Some((id, base, body));
    }

    /// The answer to `Output::Review`.
    pub fn reviewed(&mut self, id: u64, reviewed: Reviewed, now: Instant) {
        if self.step == Step::Closed {
            return;
        }
        let requests = &mut self.reviews.server_requests;
        if let Some(call) = self.calls.release(id) {
            self.request_reviewed(call, reviewed, now);
        } else if let Some(at) = requests.iter().position(|(own, ..)| *own == id) {
            let (_, request, default, then) = requests.remove(at);
            let mut response = match reviewed {
                Reviewed::ServerRequest(response) => response,
                _ => default,
            };
            stamp(&mut response, &request);
            if self.link_is_usable() {
                self.answer_server_request(&request, response, then, now);
            }
        } else if self
            .reviews
            .description
            .as_ref()
            .is_some_and(|(own, ..)| *own == id)
            && let Some((_, base, body)) = self.reviews.description.take()
        {
            let body = match reviewed {
                Reviewed::Description(body) => body,
                _ => body,
            };
            if self.step == Step::Select {
                self.described(base, &body, now);
            }
        }
        self.advance(now);
    }

    /// What was under review belongs to what is void now.
    pub(super) fn forget_reviews(&mut self) {
        self.reviews.server_requests.clear();
        self.reviews.description = None;
    }

    fn request_reviewed(&mut self, mut call: Call, reviewed: Reviewed, now: Instant) {
        match reviewed {
            Reviewed::NotSent => return self.not_sent(call, now),
            Reviewed::Request(request) => call.request = request,
            _ => {}
        }
        match self.link_is_usable() {
            true => self.transmit(call, now),
            // The server has announced meanwhile that it closes this one.
            false => self.resend_on_new_connection(call),
        }
    }

    /// As if the server had answered 200; where the answer must say more, that is the end of it.
    fn not_sent(&mut self, call: Call, now: Instant) {
        let nothing = Response::new(200, "OK", Version::V1_0);
        if self.step == Step::Closing {
            return self.on_closing_response(call, nothing, now);
        }
        let phase = self.phase_of(call.purpose);
        let why = "the application has held it back";
        let error = || {
            Error::new(ErrorKind::Settings, phase, &call.request.uri, why)
                .method(&call.request.method)
        };
        match (call.purpose, self.config.intent) {
            (Purpose::Describe, _) | (Purpose::Announce, Intent::Record) => {
                let error = error();
                self.fail(error, now);
            }
            (Purpose::Setup { stream }, _) => {
                let error = error();
                self.give_up(stream, error, now);
            }
            _ => self.dispatch(call, nothing, now),
        }
    }
}

/// What is answered if the application sees to a request: parameters and descriptions are for it
/// to know, and `rtspsrc` has 200 there for it to change.
fn if_seen_to(request: &Request, response: &Response) -> Response {
    let its_own = matches!(
        request.method,
        Method::GetParameter | Method::SetParameter | Method::Announce
    );
    if !its_own || !matches!(response.status, 415 | 451 | 501) {
        return response.clone();
    }
    let mut seen = Response::new(200, "OK", response.version);
    stamp(&mut seen, request);
    seen
}
