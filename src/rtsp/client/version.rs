//! Which version of RTSP is spoken (RFC 7826 §4.1, §11), and what only 2.0 has: pipelined SETUPs
//! (§12) and what the server says about the media (§18.29).

use super::error::printable;
use super::event::Event;
use super::pending::Purpose;
use super::{Client, Intent, Step};
use crate::rtsp::media_properties::MediaProperties;
use crate::rtsp::message::{Headers, Request, Response, Version};

/// What this client can do without being told (RFC 7826 §11.1).
const SUPPORTED: &str = "play.basic, play.scale, play.speed";
/// The formats of Range that are understood (RFC 7826 §18.5).
const ACCEPT_RANGES: &str = "npt, smpte, clock";

/// The version in use.
pub(super) struct Spoken {
    pub version: Version,
    /// The other one is tried once.
    switched: bool,
    /// SETUPs do not wait for each other, until one is refused.
    pipelining: bool,
    /// Names the pipeline on its connection (RFC 7826 §18.33).
    pipeline: u32,
}

impl Spoken {
    pub fn new(version: Version) -> Self {
        Self {
            version,
            switched: false,
            pipelining: true,
            pipeline: 0,
        }
    }
}

impl Client {
    pub(super) fn is_v2(&self) -> bool {
        self.spoken.version == Version::V2_0
    }

    /// The server does not speak this version: true if the other one is left to be tried.
    pub(super) fn switch_version(&mut self) -> bool {
        // There is no publishing in 2.0 (RFC 7826 §I.1).
        if self.spoken.switched || self.config.intent == Intent::Record {
            return false;
        }
        self.spoken.switched = true;
        self.spoken.version = match self.spoken.version {
            Version::V1_0 => Version::V2_0,
            Version::V2_0 => Version::V1_0,
        };
        self.quirk("other-rtsp-version");
        true
    }

    /// A server that answers 2.0 with 1.0 speaks no more than that.
    pub(super) fn learn_version(&mut self, response: &Response) {
        if self.is_v2() && response.version == Version::V1_0 && response.is_success() {
            self.spoken.switched = true;
            self.spoken.version = Version::V1_0;
        }
    }

    /// What OPTIONS says in 2.0.
    pub(super) fn say_supported(&self, request: &mut Request) {
        if self.is_v2() {
            request.headers.push("Supported", SUPPORTED);
        }
    }

    /// What SETUP says in 2.0.
    pub(super) fn say_setup(&mut self, request: &mut Request) {
        if !self.is_v2() {
            return;
        }
        request.headers.push("Accept-Ranges", ACCEPT_RANGES);
        // Never together with Session (RFC 7826 §18.33).
        if self.session.is_none() && self.spoken.pipelining {
            self.spoken.pipeline = self.spoken.pipeline.max(1);
            let pipeline = self.spoken.pipeline.to_string();
            request.headers.push("Pipelined-Requests", pipeline);
        }
    }

    /// Whether the next SETUP need not wait for the open ones.
    pub(super) fn may_pipeline(&self) -> bool {
        self.is_v2()
            && self.step == Step::Setup
            && self.spoken.pipelining
            && !self.calls.is_full()
            && !self
                .calls
                .any(|purpose| purpose.is_serial() && !matches!(purpose, Purpose::Setup { .. }))
    }

    /// A SETUP failed. True: only because one before it in the pipeline did, so that there was
    /// no session for it (RFC 7826 §12); it is repeated on its own.
    pub(super) fn leave_pipeline(&mut self, request: &Request) -> bool {
        let pipelined = request.headers.get("Pipelined-Requests").is_some();
        let first = std::mem::replace(&mut self.spoken.pipelining, false);
        // Another pipeline has another name.
        self.spoken.pipeline = self.spoken.pipeline.saturating_add(1);
        pipelined && !first && !self.established
    }

    /// On a new connection, or after a redirect, it is tried again.
    pub(super) fn restart_pipeline(&mut self) {
        self.spoken.pipelining = true;
        self.spoken.pipeline = self.spoken.pipeline.saturating_add(1);
    }

    /// What the reply to SETUP, or a notification, says about the media.
    pub(super) fn read_properties(&mut self, headers: &Headers) {
        if let Some(value) = headers.joined("Media-Properties") {
            let mut properties = MediaProperties::parse(&value);
            if let Some(range) = headers.get_str("Media-Range") {
                properties.read_range(&range);
            }
            self.emit(Event::MediaProperties(properties));
        }
    }

    /// A PLAY_NOTIFY whose answer was sent (RFC 7826 §13.5).
    pub(super) fn notified(&mut self, request: &Request, notice: Notice) {
        match notice {
            Notice::EndOfStream => {
                let why = request.headers.get_str("Request-Status");
                let text = why.map(|status| printable(&status)).unwrap_or_default();
                self.emit(Event::EndOfStream { status: text });
            }
            Notice::Properties => self.read_properties(&request.headers),
            Notice::Scale => self.play_notified(&request.headers),
        }
    }
}

/// Why the server notifies us (RFC 7826 §18.32).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notice {
    EndOfStream,
    Properties,
    Scale,
}

impl Notice {
    pub fn of(request: &Request) -> Option<Self> {
        let reason = request.headers.get_str("Notify-Reason")?;
        let is = |name: &str| reason.eq_ignore_ascii_case(name);
        Some(match () {
            () if is("end-of-stream") => Notice::EndOfStream,
            () if is("media-properties-update") => Notice::Properties,
            () if is("scale-change") => Notice::Scale,
            () => return None,
        })
    }
}
