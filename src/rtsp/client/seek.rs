//! Seeks and speeds: a PLAY that moves the position (RFC 2326 §10.5, §12.29, §12.34, §12.35), and
//! ONVIF's replay of recordings (ONVIF Streaming §6).

use std::fmt;
use std::time::Instant;

use super::event::Event;
use super::{Client, Intent, State, Wish};
use crate::rtsp::message::{Method, Request};
use crate::rtsp::range::Range;

/// The feature tag of ONVIF's replay (ONVIF Streaming §6.4).
const REPLAY_TAG: &str = "onvif-replay";

/// Which frames a server is to send (ONVIF Streaming §6.5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frames {
    /// Key frames, no nearer to each other than this many milliseconds.
    Intra { interval_ms: Option<u64> },
    /// Those that others depend on.
    Predicted,
}

impl fmt::Display for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Frames::Intra { interval_ms: None } => f.write_str("intra"),
            Frames::Intra {
                interval_ms: Some(ms),
            } => write!(f, "intra/{ms}"),
            Frames::Predicted => f.write_str("predicted"),
        }
    }
}

/// ONVIF's replay is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replay {
    /// The server keeps the pace; else it sends as fast as it is read (§6.5.2).
    pub rate_control: bool,
}

/// Where to play and how fast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seek {
    /// Named by the events that are about it; a later one has a higher number.
    pub id: u64,
    pub range: Range,
    /// The speed of what is shown, negative for backwards.
    pub scale: Option<f64>,
    /// The speed of delivery.
    pub speed: Option<f64>,
    pub frames: Option<Frames>,
}

impl Seek {
    fn has_pace(&self) -> bool {
        self.scale.is_some() || self.speed.is_some() || self.frames.is_some()
    }
}

/// What is wanted, what is asked for and what was granted.
#[derive(Default)]
pub(super) struct Seeks {
    /// The last one that was wished for; those before it are forgotten.
    wanted: Option<Seek>,
    /// What the PLAY says that is under way.
    asked: Option<Seek>,
    /// Its Scale, Speed and Frames stay when it is resumed after a pause.
    granted: Option<Seek>,
    /// This server did not pause when it was to be moved.
    without_pause: bool,
}

impl Seeks {
    pub fn are_wanted(&self) -> bool {
        self.wanted.is_some()
    }

    /// The server does not pause: it is moved while it plays.
    pub fn go_without_pause(&mut self) {
        self.without_pause = true;
    }

    /// What the next PLAY is to say. True if it is asked for only now.
    fn take_up(&mut self) -> bool {
        let new = self.asked.is_none() && self.wanted.is_some();
        if new {
            self.asked = self.wanted.take();
        }
        new
    }

    /// The server plays; the seek that did it.
    pub fn granted(&mut self) -> Option<u64> {
        let asked = self.asked.take()?;
        self.granted = Some(asked);
        Some(asked.id)
    }

    /// PLAY failed; the seek that it was for.
    pub fn refused(&mut self) -> Option<u64> {
        self.asked.take().map(|seek| seek.id)
    }

    pub fn range(&self) -> Option<Range> {
        self.asked.map(|seek| seek.range)
    }
}

impl Client {
    /// Wishes to play from elsewhere or at another speed, now or as soon as it plays. Answered by
    /// `Playing` or `SeekRefused`, unless another one overtakes it.
    pub fn seek(&mut self, seek: Seek, now: Instant) {
        self.playback.seeks.wanted = Some(seek);
        self.advance(now);
    }

    /// Moves a presentation that plays: PAUSE comes first, since a second PLAY would be queued
    /// (RFC 2326 §10.5), where the server takes it.
    pub(super) fn move_position(&mut self, now: Instant) {
        let (_, url) = self.control_target();
        let no_pause = self.playback.seeks.without_pause
            || self.playback.paused_locally
            || self.config.replay.is_some()
            || self.methods.listed(&Method::Pause) == Some(false)
            || self.methods.is_disabled(&Method::Pause, &url);
        match no_pause {
            true => self.send_play(now),
            false => self.send_pause(now),
        }
    }

    /// Whether a PAUSE that is under way is there for a seek only.
    pub(super) fn pauses_to_move(&self) -> bool {
        self.playback.seeks.are_wanted()
            && self.wish == Some(Wish::Play)
            && self.state == State::Playing
            && self.config.intent == Intent::Play
    }

    /// A seek that goes out now is told before the request.
    pub(super) fn take_up_seek(&mut self) {
        if self.playback.seeks.take_up() {
            self.emit(Event::Seeking);
        }
    }

    /// What a PLAY says beside its Range.
    pub(super) fn push_pace(&self, request: &mut Request) {
        let seeks = &self.playback.seeks;
        let headers = &mut request.headers;
        if let Some(pace) = seeks.asked.or(seeks.granted).filter(|seek| seek.has_pace()) {
            for (name, value) in [("Scale", pace.scale), ("Speed", pace.speed)] {
                if let Some(value) = value {
                    headers.push(name, decimal(value));
                }
            }
            if let Some(frames) = pace.frames {
                headers.push("Frames", frames.to_string());
            }
        }
        if let Some(replay) = self.config.replay {
            headers.push(
                "Rate-Control",
                if replay.rate_control { "yes" } else { "no" },
            );
            if seeks.asked.is_some() && self.state == State::Playing {
                headers.push("Immediate", "yes");
            }
        }
        self.require_replay(request);
    }

    /// On SETUP and PLAY, so that no server plays live instead (ONVIF Streaming §6.4).
    pub(super) fn require_replay(&self, request: &mut Request) {
        if self.config.replay.is_some() {
            request.headers.push("Require", REPLAY_TAG);
        }
    }
}

/// A decimal number as Scale and Speed have it (RFC 2326 §12.34).
fn decimal(value: f64) -> String {
    let text = value.to_string();
    match text.contains('.') {
        true => text,
        false => format!("{text}.0"),
    }
}
