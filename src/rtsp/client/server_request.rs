//! Requests of the server (RFC 2326 §10, RFC 7826 §13): each is answered, exactly once.

use std::time::{Duration, Instant};

use super::error::{Error, ErrorKind, Phase, printable};
use super::event::{Event, Output};
use super::pending::after;
use super::redirect::target;
use super::version::Notice;
use super::{Client, Step};
use crate::rtsp::limits;
use crate::rtsp::message::{Method, Request, Response, Version};
use crate::rtsp::parse::{cseq, split_list};
use crate::rtsp::range::{Point, Range};

/// Exactly what is answered with 200.
const PUBLIC: &str = "OPTIONS, GET_PARAMETER, SET_PARAMETER, REDIRECT, TEARDOWN";

/// How fast requests come.
#[derive(Default)]
pub(super) struct Arrivals {
    second: Option<Instant>,
    in_second: u32,
    /// Answers that were not yet taken by the caller.
    waiting: usize,
}

impl Arrivals {
    /// False: too many.
    fn count(&mut self, now: Instant) -> bool {
        let same = self
            .second
            .is_some_and(|start| now.saturating_duration_since(start) < Duration::from_secs(1));
        if !same {
            self.second = Some(now);
            self.in_second = 0;
        }
        self.in_second = self.in_second.saturating_add(1);
        self.waiting = self.waiting.saturating_add(1);
        self.in_second <= limits::SERVER_REQUESTS_PER_SECOND
            && self.waiting <= limits::SERVER_REQUESTS_QUEUED
    }

    pub fn answers_taken(&mut self) {
        self.waiting = 0;
    }
}

/// What follows a successful answer.
pub(super) enum Then {
    Nothing,
    Redirect(String),
    Notice(Notice),
    End,
}

impl Client {
    pub(super) fn handle_request(&mut self, request: Request, now: Instant) {
        if !self.arrivals.count(now) {
            let error = Error::new(
                ErrorKind::Protocol,
                Phase::Established,
                self.url.request_uri(),
                "the server floods us with requests",
            );
            return self.lose(error);
        }
        let (mut response, then) = self.answer(&request);
        stamp(&mut response, &request);
        match self.config.review {
            true => self.review_server_request(request, response, then, now),
            false => self.answer_server_request(&request, response, then, now),
        }
    }

    pub(super) fn answer_server_request(
        &mut self,
        request: &Request,
        response: Response,
        then: Then,
        now: Instant,
    ) {
        let mut bytes = Vec::new();
        response.write(&mut bytes);
        self.outputs.push_back(Output::Send(bytes));
        self.emit(Event::ServerRequest {
            method: request.method.clone(),
        });
        match then {
            // The application has refused it.
            _ if !response.is_success() => {}
            Then::Nothing => {}
            Then::Redirect(location) => self.redirect_when_said(location, request, now),
            Then::Notice(notice) => self.notified(request, notice),
            Then::End => self.lose(
                Error::new(
                    ErrorKind::ServerTeardown,
                    Phase::Established,
                    self.url.request_uri(),
                    ended_because(request),
                )
                .method(&request.method),
            ),
        }
    }

    fn answer(&self, request: &Request) -> (Response, Then) {
        let only = |status, reason: &str| {
            (
                Response::new(status, reason, self.spoken.version),
                Then::Nothing,
            )
        };
        if cseq(&request.headers).is_none() {
            return only(400, "Bad Request");
        }
        if request.version != self.spoken.version {
            return only(505, "RTSP Version Not Supported");
        }
        // No feature tag is implemented.
        if let Some(tags) = request
            .headers
            .joined("Require")
            .filter(|tags| !tags.is_empty())
        {
            let (mut response, then) = only(551, "Option not supported");
            response.headers.push(
                "Unsupported",
                split_list(&tags).collect::<Vec<_>>().join(", "),
            );
            return (response, then);
        }
        if let Some(session) = request.headers.get_str("Session") {
            let id = session.split(';').next().unwrap_or_default().trim();
            if self.session_id() != Some(id) {
                return only(454, "Session Not Found");
            }
        }
        match request.method {
            Method::Options => {
                let (mut response, then) = only(200, "OK");
                response.headers.push("Public", PUBLIC);
                (response, then)
            }
            Method::GetParameter | Method::SetParameter => parameters(request, self.spoken.version),
            Method::PlayNotify if self.is_v2() && self.established => match Notice::of(request) {
                Some(notice) => (only(200, "OK").0, Then::Notice(notice)),
                None => only(465, "Notification Reason Unknown"),
            },
            Method::Redirect => match request.headers.get_str("Location") {
                Some(location) if target(&location).is_some() => {
                    (only(200, "OK").0, Then::Redirect(location.into_owned()))
                }
                // The session ends, and nobody says where to go on (RFC 7826 §13.10).
                None if self.is_v2() && self.established => (only(200, "OK").0, Then::End),
                _ => only(400, "Bad Request"),
            },
            Method::Teardown if self.established => (only(200, "OK").0, Then::End),
            Method::Teardown => only(454, "Session Not Found"),
            _ => {
                let (mut response, then) = only(501, "Not Implemented");
                response.headers.push("Public", PUBLIC);
                (response, then)
            }
        }
    }

    /// At once, or at the time in Range (RFC 2326 §10.10).
    fn redirect_when_said(&mut self, location: String, request: &Request, now: Instant) {
        if matches!(self.step, Step::Closing | Step::Closed) || self.redirect_at.is_some() {
            return;
        }
        // 2.0 has the time in Terminate-Reason (RFC 7826 §18.52).
        let range = request
            .headers
            .get_str("Range")
            .and_then(|value| Range::parse(&value));
        let time = request
            .headers
            .get_str("Terminate-Reason")
            .and_then(|value| {
                let mut parameters = value.split(';').map(str::trim);
                let time = parameters.find_map(|parameter| parameter.strip_prefix("time="))?;
                Range::parse(&format!("clock={}-", time.trim_matches('"')))
            });
        let start = range.or(time).and_then(|range| match range.start {
            Some(Point::Clock(ns)) => Some(ns),
            _ => None,
        });
        let delay = start
            .zip(self.config.wall_clock)
            .and_then(|(then, (instant, ns))| {
                let since = u64::try_from(now.saturating_duration_since(instant).as_nanos())
                    .unwrap_or(u64::MAX);
                then.checked_sub(ns.saturating_add(since))
                    .map(Duration::from_nanos)
            });
        match delay {
            Some(delay) if !delay.is_zero() => {
                self.redirect_at =
                    Some((after(now, delay.min(limits::REDIRECT_DELAY_MAX)), location));
            }
            _ => self.follow_redirect(&location, None, now),
        }
    }
}

/// Number and session of the request (RFC 2326 §12.17, §12.37).
pub(super) fn stamp(response: &mut Response, request: &Request) {
    if let Some(cseq) = cseq(&request.headers) {
        response.headers.set("CSeq", cseq.to_string());
    }
    if let Some(session) = request.headers.get("Session") {
        let id = session.split(|byte| *byte == b';').next();
        response.headers.set("Session", id.unwrap_or_default());
    }
}

/// With the reason that RTSP 2.0 names (RFC 7826 §18.52).
fn ended_because(request: &Request) -> String {
    let ended = "the server ended the session";
    match request.headers.get_str("Terminate-Reason") {
        Some(reason) => format!("{ended}: {}", printable(&reason)),
        None => ended.to_string(),
    }
}

/// This client has no parameters; an empty request only asks whether it lives.
fn parameters(request: &Request, version: Version) -> (Response, Then) {
    let only = |status, reason: &str| (Response::new(status, reason, version), Then::Nothing);
    let body = String::from_utf8_lossy(&request.body);
    let first = body
        .lines()
        .map(|line| line.split(':').next().unwrap_or_default().trim())
        .find(|name| !name.is_empty());
    let Some(first) = first else {
        return only(200, "OK");
    };
    let declared = request.headers.get_str("Content-Type").unwrap_or_default();
    let declared = declared.split(';').next().unwrap_or_default().trim();
    if request.method == Method::SetParameter && !declared.eq_ignore_ascii_case("text/parameters") {
        return only(415, "Unsupported Media Type");
    }
    let (mut response, then) = only(451, "Parameter Not Understood");
    response.headers.push("Content-Type", "text/parameters");
    let name: String = first
        .chars()
        .filter(|c| !c.is_control())
        .take(limits::REASON_SHOWN)
        .collect();
    response.body = format!("{name}\r\n").into_bytes();
    (response, then)
}
