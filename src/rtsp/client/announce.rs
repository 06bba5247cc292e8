//! ANNOUNCE: the description of what is going to be recorded (RFC 2326 §10.3).

use std::sync::Arc;
use std::time::Instant;

use super::describe::{Presentation, unusable};
use super::error::{Error, ErrorKind, Phase};
use super::keys::{Secured, key_mgmt};
use super::pending::{Call, Purpose};
use super::setup::Stream;
use super::{Client, Intent, Step};
use crate::rtsp::message::{Method, Response};
use crate::rtsp::sdp;
use crate::rtsp::session_header;
use crate::rtsp::url::Join;

/// What is announced: at the start, and again after a redirect.
pub(super) struct Announcement {
    text: String,
    sdp: Arc<sdp::Session>,
}

/// Where servers look for the control if not behind the query, where FFmpeg has it. Some match
/// the path alone when they are told of a stream, and path and query later on.
const QUERY_JOINS: [Join; 2] = [Join::BeforeQuery, Join::WithoutQuery];

impl Client {
    /// The description to publish, once. ANNOUNCE goes out as soon as OPTIONS is answered. All its
    /// media are SET UP, with the control URL and the profile that it gives them.
    pub fn announce(&mut self, sdp: String, now: Instant) {
        if self.config.intent != Intent::Record || self.announcement.is_some() {
            return;
        }
        match checked(&sdp) {
            Ok(parsed) => {
                let secured =
                    |media: &sdp::Media| media.proto.is_some_and(|p| p.profile.is_secure());
                if parsed.media.iter().any(secured) && !self.url.is_tls() {
                    self.warn("the keys of encrypted media go over a connection without TLS: who reads it can read the media");
                }
                self.announcement = Some(Announcement {
                    text: sdp,
                    sdp: Arc::new(parsed),
                });
                self.advance(now);
            }
            Err(why) => {
                let error = Error::new(
                    ErrorKind::Unsupported,
                    Phase::Announce,
                    self.url.request_uri(),
                    format!("the description cannot be announced: {why}"),
                );
                self.fail(error, now);
            }
        }
    }

    pub(super) fn send_announce(&mut self, now: Instant) {
        if self.announcement.is_none() || !self.ready_link() {
            return;
        }
        let mut request = self.request(Method::Announce, self.url.request_uri());
        if let Some(announcement) = &self.announcement {
            request.headers.push("Content-Type", "application/sdp");
            request.body = announcement.text.clone().into_bytes();
        }
        self.send(Purpose::Announce, request, now);
    }

    pub(super) fn on_announce(&mut self, call: Call, response: Response, now: Instant) {
        if !response.is_success() {
            return self.fail(self.refused(&call, &response), now);
        }
        let Some(announcement) = &self.announcement else {
            return;
        };
        // Some servers begin the session here, and expect its identifier in SETUP.
        if let Some(session) = response
            .headers
            .get("Session")
            .and_then(session_header::parse)
        {
            self.session = Some(session);
            self.established = true;
        }
        let sdp = announcement.sdp.clone();
        let mut presentation = Presentation::new(sdp.clone(), call.request.uri, &QUERY_JOINS);
        presentation.streams = sdp
            .media
            .iter()
            .map(|media| Stream {
                secured: Secured::new(&sdp, media, &self.url, &self.config),
                ..Stream::new(media, &sdp, media.control())
            })
            .collect();
        presentation.announced_keys = key_mgmt(&response.headers);
        self.presentation = Some(presentation);
        self.step = Step::Setup;
    }
}

/// A description whose media all can be SET UP.
fn checked(text: &str) -> Result<sdp::Session, String> {
    let sdp = sdp::Session::parse(text.as_bytes()).map_err(|error| error.to_string())?;
    if sdp.media.is_empty() {
        return Err("it has no media".into());
    }
    for media in &sdp.media {
        let control = media.control().unwrap_or_default();
        let why = unusable(media)
            .or_else(|| control.is_empty().then(|| "it has no control URL".into()))
            .or_else(|| {
                control
                    .contains(|c: char| c.is_whitespace() || c.is_control())
                    .then(|| "its control URL cannot be used".into())
            });
        if let Some(why) = why {
            return Err(format!("media {}: {why}", media.index));
        }
    }
    Ok(sdp)
}
