//! OPTIONS, DESCRIBE, and what is selected of the description.

use std::sync::Arc;
use std::time::Instant;

use super::common::Common;
use super::error::{Error, ErrorKind, Phase};
use super::event::{Event, Granted};
use super::keys::Secured;
use super::pending::{Call, Purpose};
use super::setup::{Stream, StreamState};
use super::{Client, Intent, Step};
use crate::rtp::srtp::Keys;
use crate::rtsp::message::{Headers, Method, Request, Response, Version};
use crate::rtsp::sdp;
use crate::rtsp::transport::LowerTransport;
use crate::rtsp::url::{Join, Url, base_url, resolve_control};

/// Feature tag of the back channel (ONVIF Streaming §5.3.1).
pub(super) const BACKCHANNEL: &str = "www.onvif.org/ver20/backchannel";

/// A description and what became of its media.
pub(super) struct Presentation {
    pub sdp: Arc<sdp::Session>,
    pub base: String,
    /// The rule by which this server joins base and control.
    pub join: Join,
    /// The rules to try when that one leads nowhere.
    pub other_joins: &'static [Join],
    pub streams: Vec<Stream>,
    /// What worked for one stream is the first choice for the next.
    pub preferred: Option<LowerTransport>,
    /// Another transport was tried for a status that is not about transports.
    pub fallback_used: bool,
    pub common: Common,
    pub first_error: Option<Error>,
    /// What the answer to ANNOUNCE brought, in the order of the media that are secured.
    pub announced_keys: Vec<Result<Keys, String>>,
}

impl Presentation {
    pub fn new(sdp: Arc<sdp::Session>, base: String, other_joins: &'static [Join]) -> Self {
        Self {
            sdp,
            base,
            join: Join::Append,
            other_joins,
            streams: Vec::new(),
            preferred: None,
            fallback_used: false,
            common: Common::Untried,
            first_error: None,
            announced_keys: Vec::new(),
        }
    }

    /// Session-level control, else the base (RFC 2326 §C.1.1, §C.3).
    pub fn aggregate_url(&self) -> String {
        wire_url(
            resolve_control(&self.base, self.sdp.control(), self.join)
                .unwrap_or_else(|_| self.base.clone()),
        )
    }

    pub fn stream_url(&self, stream: &Stream, join: Join) -> Option<String> {
        resolve_control(&self.base, stream.control.as_deref(), join)
            .ok()
            .map(wire_url)
    }

    /// Whether media is sent to the server beside what is played.
    pub fn has_backchannel(&self) -> bool {
        let set_up = |stream: &Stream| matches!(stream.state, StreamState::SetUp(_));
        self.streams
            .iter()
            .any(|stream| stream.backchannel && set_up(stream))
    }

    /// Streams that are set up.
    pub fn granted(&self) -> impl Iterator<Item = (usize, &Granted)> {
        self.streams
            .iter()
            .enumerate()
            .filter_map(|(index, stream)| match &stream.state {
                StreamState::SetUp(granted) => Some((index, granted)),
                _ => None,
            })
    }
}

/// Some servers echo the credentials in the URLs that they give; those never go on the wire.
fn wire_url(url: String) -> String {
    match Url::parse(&url) {
        Ok(parsed) if parsed.credentials().is_some() => parsed.request_uri().to_string(),
        _ => url,
    }
}

impl Client {
    pub(super) fn send_options(&mut self, now: Instant) {
        if self.skip_options {
            self.options_done();
            return self.advance(now);
        }
        if !self.ready_link() {
            return;
        }
        if let Some((url, id)) = self.config.previous_session.take() {
            // So that the server has room again. Nothing depends on the answer.
            if let Some(request) = cleanup(&self.request(Method::Teardown, &url), &id) {
                return self.send(Purpose::Cleanup, request, now);
            }
        }
        let mut request = self.request(Method::Options, self.url.request_uri());
        self.say_supported(&mut request);
        self.send(Purpose::Options, request, now);
    }

    /// Whatever the answer, DESCRIBE or ANNOUNCE is worth a try, unless the version is refused.
    pub(super) fn on_options(&mut self, call: Call, response: Response, now: Instant) {
        if response.status == 505 && self.switch_version() {
            return;
        }
        if matches!(response.status, 407 | 505) {
            return self.fail(self.refused(&call, &response), now);
        }
        if response.is_success() {
            if !self.methods.learn(&response.headers) {
                self.quirk("allow-instead-of-public");
            }
        } else {
            self.quirk("options-refused");
        }
        self.options_done();
    }

    fn options_done(&mut self) {
        self.step = match self.config.intent {
            Intent::Play => Step::Describe,
            Intent::Record => Step::Announce,
        };
    }

    pub(super) fn send_describe(&mut self, now: Instant) {
        if !self.ready_link() {
            return;
        }
        let mut request = self.request(Method::Describe, self.url.request_uri());
        request.headers.push("Accept", "application/sdp");
        if self.config.backchannel {
            request.headers.push("Require", BACKCHANNEL);
        }
        self.send(Purpose::Describe, request, now);
    }

    pub(super) fn on_describe(&mut self, call: Call, response: Response, now: Instant) {
        if response.status == 551 && std::mem::take(&mut self.config.backchannel) {
            // The rest is played all the same.
            return self.quirk("backchannel-refused");
        }
        if !response.is_success() {
            return self.fail(self.refused(&call, &response), now);
        }
        let error = |kind, why: String| {
            Error::new(kind, Phase::Describe, &call.request.uri, why).method(&Method::Describe)
        };
        if let Err(why) = check_type(&response.headers, &response.body) {
            return self.fail(error(ErrorKind::WrongType, why), now);
        }
        if response.headers.get("Content-Type").is_none() {
            self.quirk("description-without-content-type");
        }
        let (base, quirk) = base_url(&response.headers, &call.request.uri);
        if let Some(quirk) = quirk {
            self.quirk(quirk);
        }
        self.step = Step::Select;
        match self.config.review {
            true => self.review_description(base, response.body),
            false => self.described(base, &response.body, now),
        }
    }

    pub(super) fn described(&mut self, base: String, body: &[u8], now: Instant) {
        let error = |kind, why: String| {
            Error::new(kind, Phase::Describe, &base, why).method(&Method::Describe)
        };
        let sdp = match sdp::Session::parse(body) {
            Ok(sdp) => Arc::new(sdp),
            Err(why) => return self.fail(error(ErrorKind::WrongType, why.to_string()), now),
        };
        for warning in &sdp.warnings {
            self.warn(warning.as_str());
        }
        for &quirk in &sdp.quirks {
            self.quirk(quirk);
        }
        if sdp.media.iter().all(|media| unusable(media).is_some()) {
            let why = sdp
                .media
                .iter()
                .find_map(unusable)
                .unwrap_or_else(|| "the description has no media".into());
            return self.fail(error(ErrorKind::Unsupported, why), now);
        }
        self.presentation = Some(Presentation::new(
            sdp.clone(),
            base.clone(),
            &[Join::Rfc3986],
        ));
        self.emit(Event::Described { sdp, base });
    }

    /// The answer to `Event::Described`: the `m=` sections to set up, by index.
    pub fn select(&mut self, media: &[usize], now: Instant) {
        let Some(presentation) = self
            .presentation
            .as_mut()
            .filter(|_| self.step == Step::Select)
        else {
            return;
        };
        let single = presentation.sdp.media.len() == 1;
        let (host, mut foreign) = (self.url.host(), false);
        let mut skipped = Vec::new();
        for section in presentation
            .sdp
            .media
            .iter()
            .filter(|section| media.contains(&section.index))
        {
            let control = section.control().filter(|control| !control.is_empty());
            let why = unusable(section).or_else(|| {
                (control.is_none() && !single)
                    .then(|| "the description has no control URL for it".to_string())
            });
            if let Some(why) = why {
                skipped.push((section.index, ErrorKind::Unsupported, why));
                continue;
            }
            let mut stream = Stream::new(
                section,
                &presentation.sdp,
                control.or_else(|| presentation.sdp.control().filter(|_| single)),
            );
            stream.secured = Secured::new(&presentation.sdp, section, &self.url, &self.config);
            match presentation.stream_url(&stream, presentation.join) {
                Some(url) => {
                    let parsed = Url::parse(&url);
                    foreign |= parsed.is_ok_and(|to| !to.host().eq_ignore_ascii_case(host));
                    presentation.streams.push(stream);
                }
                None => skipped.push((
                    section.index,
                    ErrorKind::Protocol,
                    format!(
                        "its control URL cannot be used: {}",
                        stream.control.unwrap_or_default()
                    ),
                )),
            }
        }
        let url = presentation.base.clone();
        let secured = presentation.streams.iter().any(|s| s.secured.is_some());
        if secured && !self.url.is_tls() {
            self.warn("the keys of encrypted media come over a connection without TLS: who reads it can read the media");
        }
        if foreign {
            // Never connected to; the server knows what it means.
            self.quirk("control-url-of-another-host");
        }
        let mut first = None;
        for (media, kind, why) in skipped {
            let error = Error::new(kind, Phase::Setup, &url, why);
            first.get_or_insert_with(|| error.clone());
            self.emit(Event::MediaSkipped { media, error });
        }
        if self
            .presentation
            .as_ref()
            .is_none_or(|presentation| presentation.streams.is_empty())
        {
            let none = || {
                Error::new(
                    ErrorKind::Unsupported,
                    Phase::Setup,
                    &url,
                    "no media was selected",
                )
            };
            let error = first.unwrap_or_else(none);
            return self.fail(error, now);
        }
        self.step = Step::Setup;
        self.advance(now);
    }
}

/// A TEARDOWN that names another session; None if the identifier is no header value.
pub(super) fn cleanup(request: &Request, id: &str) -> Option<Request> {
    if id.is_empty() || id.chars().any(|c| c.is_control() || c == ' ') {
        return None;
    }
    let mut request = Request {
        version: Version::V1_0,
        ..request.clone()
    };
    request.headers.set("Session", id);
    Some(request)
}

/// Why this client can neither play nor record a media.
pub(super) fn unusable(media: &sdp::Media) -> Option<String> {
    if let Err(why) = &media.usable {
        return Some(why.clone());
    }
    match media.proto {
        Some(_) => None,
        None => Some(format!("{} media does not use RTP", media.kind)),
    }
}

/// SDP by its type, or by its first bytes where no type is given (RFC 2326 §12.16).
fn check_type(headers: &Headers, body: &[u8]) -> Result<(), String> {
    if body.trim_ascii().is_empty() {
        return Err("the description is empty".into());
    }
    let declared = headers.get_str("Content-Type").unwrap_or_default();
    let declared = declared.split(';').next().unwrap_or_default().trim();
    if declared.eq_ignore_ascii_case("application/sdp")
        || (declared.is_empty() && body.trim_ascii_start().starts_with(b"v="))
    {
        return Ok(());
    }
    Err(format!(
        "the description is no SDP (Content-Type \"{declared}\")"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: C-DESC-02, C-DESC-03
    #[test]
    fn a_description_is_sdp_by_its_type_or_its_first_bytes() {
        let sdp = b"v=0\r\n".as_slice();
        for (declared, body, ok) in [
            (Some("application/sdp"), sdp, true),
            (Some("Application/SDP ; charset=utf-8"), sdp, true),
            (None, sdp, true),
            (Some(""), sdp, true),
            (None, b"<html>".as_slice(), false),
            (Some("text/html"), sdp, false),
            (Some("application/sdpx"), sdp, false),
            (Some("application/sdp"), b" \r\n".as_slice(), false),
        ] {
            let mut headers = Headers::new();
            if let Some(declared) = declared {
                headers.push("Content-Type", declared);
            }
            assert_eq!(check_type(&headers, body).is_ok(), ok, "{declared:?}");
        }
    }

    // covers: C-URL-04
    #[test]
    fn credentials_that_a_server_echoes_do_not_come_back_to_it() {
        assert_eq!(wire_url("rtsp://u:p@h/x".into()), "rtsp://h/x");
        assert_eq!(wire_url("rtsp://h/x;a=@1".into()), "rtsp://h/x;a=@1");
    }
}
