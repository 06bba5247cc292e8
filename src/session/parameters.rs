//! Parameters that the application asks for or sets, and the promises that it is given
//! (RFC 2326 §10.8, §10.9).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::*};
use std::time::Instant;

use glib::translate::IntoGlib;
use gst_rtsp::RTSPResult;

use super::foreign::ForeignQueue;
use crate::rtsp::client::{Client, Error, ErrorKind};
use crate::rtsp::message::Response;

/// GET_PARAMETER or SET_PARAMETER of the application.
#[derive(Debug)]
pub struct ParameterRequest {
    pub set: bool,
    pub content_type: String,
    pub body: Vec<u8>,
    pub promise: gst::Promise,
}

/// A request and how to answer it.
#[derive(Debug)]
pub(super) struct Asked {
    set: bool,
    content_type: String,
    body: Vec<u8>,
    answer: Answer,
    /// It is not sent any more after that.
    deadline: Instant,
}

impl Asked {
    /// `open` counts those that were not answered yet.
    pub fn new(
        request: ParameterRequest,
        deadline: Instant,
        foreign: ForeignQueue,
        open: Arc<AtomicUsize>,
    ) -> Self {
        open.fetch_add(1, AcqRel);
        Self {
            set: request.set,
            content_type: request.content_type,
            body: request.body,
            answer: Answer {
                promise: request.promise,
                set: request.set,
                said: None,
                foreign,
                open,
            },
            deadline,
        }
    }
}

/// A promise that is replied to whatever happens. (It is never expired: with that GStreamer 1.22
/// frees what Rust's bindings keep with a promise twice.)
#[derive(Debug)]
struct Answer {
    promise: gst::Promise,
    set: bool,
    said: Option<gst::Structure>,
    foreign: ForeignQueue,
    open: Arc<AtomicUsize>,
}

impl Answer {
    fn reply(mut self, result: Result<Response, Error>) {
        self.said = Some(match result {
            Ok(response) => {
                let body = String::from_utf8_lossy(&response.body).replace('\0', "");
                let reason = response.reason.replace('\0', "");
                self.words(RTSPResult::Ok, response.status, reason, body)
            }
            Err(error) => {
                let outcome = match error.kind {
                    ErrorKind::Timeout => RTSPResult::Etimeout,
                    ErrorKind::Connect | ErrorKind::SessionLost => RTSPResult::Enet,
                    _ => RTSPResult::Error,
                };
                let code = error.status.unwrap_or_default();
                self.words(outcome, code, error.to_string(), String::new())
            }
        });
    }

    /// Those of `rtspsrc`.
    fn words(
        &self,
        outcome: RTSPResult,
        code: u16,
        reason: String,
        body: String,
    ) -> gst::Structure {
        let name = match self.set {
            true => "set-parameter-reply",
            false => "get-parameter-reply",
        };
        let mut reply = gst::Structure::builder(name)
            .field("rtsp-result", outcome.into_glib())
            .field("rtsp-code", i32::from(code))
            .field("rtsp-reason", reason)
            .build();
        if !self.set {
            reply.set("body", body);
        }
        reply
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.open.fetch_sub(1, AcqRel);
        let said = self.said.take().unwrap_or_else(|| {
            let why = "the session has ended".to_string();
            self.words(RTSPResult::Eintr, 0, why, String::new())
        });
        let promise = self.promise.clone();
        // Runs what the application has to do with it.
        self.foreign.run(move || promise.reply(Some(said)));
    }
}

/// The requests of a session: a queue, since they wait for the session to be up and for room.
#[derive(Default)]
pub(super) struct Parameters {
    waiting: VecDeque<Asked>,
    sent: BTreeMap<u64, Answer>,
    last: u64,
}

impl Parameters {
    pub fn ask(&mut self, asked: Asked) {
        self.waiting.push_back(asked);
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_empty()
    }

    /// When the next one is given up.
    pub fn deadline(&self) -> Option<Instant> {
        self.waiting.iter().map(|asked| asked.deadline).min()
    }

    /// Hands over what can be sent now; true if there was something.
    pub fn send(&mut self, client: &mut Client, now: Instant) -> bool {
        let mut sent = false;
        while client.takes_requests()
            && let Some(asked) = self.waiting.pop_front()
        {
            self.last = self.last.wrapping_add(1);
            let content_type = Some(asked.content_type.as_str());
            match asked.set {
                true => client.set_parameter(self.last, content_type, asked.body, now),
                false => client.get_parameter(self.last, content_type, asked.body, now),
            }
            self.sent.insert(self.last, asked.answer);
            sent = true;
        }
        sent
    }

    pub fn reply(&mut self, id: u64, result: Result<Response, Error>) {
        if let Some(answer) = self.sent.remove(&id) {
            answer.reply(result);
        }
    }

    /// Those that have waited for too long are answered with an error.
    pub fn give_up(&mut self, now: Instant, error: impl Fn() -> Error) {
        let (late, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition::<VecDeque<_>, _>(|asked| asked.deadline <= now);
        self.waiting = waiting;
        for asked in late {
            asked.answer.reply(Err(error()));
        }
    }

    /// The client that had them is gone.
    pub fn lose_sent(&mut self, error: impl Fn() -> Error) {
        for answer in std::mem::take(&mut self.sent).into_values() {
            answer.reply(Err(error()));
        }
    }

    /// The session ends: what is open is interrupted.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}
