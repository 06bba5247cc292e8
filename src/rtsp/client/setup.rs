//! SETUP of each stream: transports in turn, control URLs, and what the reply grants.

use std::net::IpAddr;
use std::time::Instant;

use super::common::Common;
use super::describe::{BACKCHANNEL, Presentation, cleanup};
use super::error::{Error, ErrorKind, Phase};
use super::event::{Event, Granted, Path};
use super::grant::{Asked, Quirks, echoes_tcp, judge};
use super::keys::{OwnKeys, Secured, key_mgmt};
use super::pending::{Call, Purpose};
use super::{Client, Intent, Link, State, Step};
use crate::rtp::srtp::Keys;
use crate::rtsp::message::{Headers, Method, Response};
use crate::rtsp::sdp;
use crate::rtsp::session_header;
use crate::rtsp::transport::{LowerTransport, Offer, Profile};
use crate::rtsp::url::Join;

/// A media that was selected.
pub(super) struct Stream {
    pub media: usize,
    pub control: Option<String>,
    pub profile: Profile,
    /// Multicast group and ttl of the description, and its port.
    pub group: Option<(IpAddr, Option<u8>)>,
    pub port: u16,
    /// We send and the server receives (ONVIF Streaming §5.3).
    pub backchannel: bool,
    pub state: StreamState,
    /// Its SETUP is on its way.
    pub sent: bool,
    /// Transports that cannot be had, here or there.
    pub tried: Vec<LowerTransport>,
    /// Those of them that the server refused.
    pub refused: Vec<LowerTransport>,
    pub error: Option<Error>,
    /// None: the media is clear.
    pub secured: Option<Secured>,
}

pub(super) enum StreamState {
    Waiting,
    /// `offer` is awaited.
    Asked(LowerTransport),
    Offered(Offer),
    SetUp(Granted),
    Skipped,
}

impl Stream {
    pub fn new(media: &sdp::Media, session: &sdp::Session, control: Option<&str>) -> Self {
        Self {
            media: media.index,
            control: control.map(str::to_string),
            profile: media.proto.map(|proto| proto.profile).unwrap_or_default(),
            group: media.multicast_group(session).map(|c| (c.address, c.ttl)),
            port: media.port,
            backchannel: session.is_backchannel(media),
            state: StreamState::Waiting,
            sent: false,
            tried: Vec::new(),
            refused: Vec::new(),
            error: None,
            secured: None,
        }
    }

    fn is_open(&self) -> bool {
        !matches!(self.state, StreamState::SetUp(_) | StreamState::Skipped)
    }
}

impl Presentation {
    /// Whether the next SETUP is the first of all: then what is refused may be more than the
    /// stream.
    fn is_first_setup(&self) -> bool {
        matches!(self.common, Common::Untried) && self.granted().next().is_none()
    }

    /// Another rule to join base and control, each once (RFC 7826 §D.1.1). False: none leads to
    /// another URL.
    fn next_join(&mut self, index: usize) -> bool {
        let Some(stream) = self.streams.get(index) else {
            return false;
        };
        let now = self.stream_url(stream, self.join);
        let differs = |join: &Join| {
            let url = self.stream_url(stream, *join);
            url.is_some() && url != now
        };
        let mut others = self.other_joins.iter();
        let Some(next) = others.find(|join| differs(join)) else {
            return false;
        };
        self.join = *next;
        self.other_joins = others.as_slice();
        true
    }

    /// What to try next: the one that worked before, then those allowed in their order.
    fn next_transport(
        &self,
        stream: &Stream,
        allowed: &[LowerTransport],
    ) -> Option<LowerTransport> {
        let preferred = self.preferred.filter(|lower| allowed.contains(lower));
        preferred
            .into_iter()
            .chain(allowed.iter().copied())
            .find(|lower| !stream.tried.contains(lower))
    }

    fn channels_used(&self) -> Vec<u8> {
        let mut used = Vec::new();
        for (_, granted) in self.granted() {
            if let Path::Tcp { rtp, rtcp } = granted.path {
                used.push(rtp);
                used.extend(rtcp);
            }
        }
        used
    }

    /// The lowest free pair: 2n and 2n+1 for the n-th stream unless the server chose others.
    fn channels_free(&self) -> Option<(u8, u8)> {
        let mut used = self.channels_used();
        for stream in self.streams.iter().filter(|stream| stream.sent) {
            if let StreamState::Offered(Offer::Tcp { channels }) = stream.state {
                used.extend([channels.0, channels.1]);
            }
        }
        (0..=254u8)
            .step_by(2)
            .map(|rtp| (rtp, rtp | 1))
            .find(|(rtp, rtcp)| !used.contains(rtp) && !used.contains(rtcp))
    }
}

impl Client {
    /// Works on the first stream that is neither set up nor skipped.
    pub(super) fn next_setup(&mut self, now: Instant) {
        let Some(presentation) = &self.presentation else {
            return;
        };
        let Some((index, stream)) = presentation
            .streams
            .iter()
            .enumerate()
            .find(|(_, stream)| stream.is_open() && !stream.sent)
        else {
            // What is on its way will be answered.
            let open = presentation.streams.iter().any(Stream::is_open);
            return match open {
                true => {}
                false => self.setups_done(now),
            };
        };
        let media = stream.media;
        match &stream.state {
            StreamState::Waiting => {
                if let Some(secured) = stream.secured.as_ref().filter(|s| s.own.is_none()) {
                    let (asked, usage) = (secured.asked, secured.usage);
                    if !asked {
                        self.change_keys(index, |secured| secured.asked = true);
                        self.emit(Event::NeedKeys { media, usage });
                    }
                    return;
                }
                let lower = presentation.next_transport(stream, &self.config.transports);
                let channels = presentation.channels_free();
                match (lower, channels) {
                    (Some(lower), Some(channels)) => {
                        self.set_stream(index, StreamState::Asked(lower));
                        self.emit(Event::NeedOffer {
                            media,
                            lower,
                            channels,
                        });
                    }
                    _ => {
                        self.no_transport_left(index, now);
                        self.advance(now);
                    }
                }
            }
            StreamState::Offered(offer) => {
                let mut transport = offer.to_header(stream.profile);
                if let (true, Some(v2)) = (self.is_v2(), offer.to_v2_header(stream.profile)) {
                    // Who does not know the parameters of one ignores it (RFC 7826 §18.54).
                    transport = format!("{transport},{v2}");
                }
                if self.config.intent == Intent::Record {
                    transport.push_str(";mode=record");
                }
                let own_keys = stream.secured.as_ref().and_then(|s| s.own.clone());
                let url = presentation.stream_url(stream, presentation.join);
                let backchannel = stream.backchannel;
                let Some(url) = url.filter(|_| self.ready_link()) else {
                    return;
                };
                let mut request = self.session_request(Method::Setup, &url);
                self.require_replay(&mut request);
                if backchannel && self.config.backchannel {
                    request.headers.push("Require", BACKCHANNEL);
                }
                request.headers.push("Transport", transport);
                if let Some(keys) = own_keys {
                    request.headers.push("KeyMgmt", keys.header(&url));
                }
                if self.config.blocksize > 0 {
                    request
                        .headers
                        .push("Blocksize", self.config.blocksize.to_string());
                }
                self.say_setup(&mut request);
                self.set_sent(index);
                self.send(Purpose::Setup { stream: index }, request, now);
                if self.may_pipeline() {
                    self.advance(now);
                }
            }
            StreamState::Asked(_) | StreamState::SetUp(_) | StreamState::Skipped => {}
        }
    }

    /// The answer to `Event::NeedKeys`. None: there are none.
    pub fn set_keys(&mut self, media: usize, keys: Option<OwnKeys>, now: Instant) {
        let Some(presentation) = &self.presentation else {
            return;
        };
        let awaited = |stream: &Stream| {
            let secured = stream.secured.as_ref();
            stream.media == media && secured.is_some_and(|s| s.asked && s.own.is_none())
        };
        let Some(index) = presentation.streams.iter().position(awaited) else {
            return;
        };
        match keys {
            Some(keys) => self.change_keys(index, |secured| secured.own = Some(keys)),
            None => {
                let url = presentation.base.clone();
                let error = Error::new(ErrorKind::Keys, Phase::Setup, &url, "there are no keys");
                self.give_up(index, error, now);
            }
        }
        self.advance(now);
    }

    fn change_keys(&mut self, index: usize, change: impl FnOnce(&mut Secured)) {
        let stream = self
            .presentation
            .as_mut()
            .and_then(|presentation| presentation.streams.get_mut(index));
        if let Some(secured) = stream.and_then(|stream| stream.secured.as_mut()) {
            change(secured);
        }
    }

    /// The answer to `Event::NeedOffer`. None: that transport cannot be had here.
    pub fn offer(&mut self, media: usize, offer: Option<Offer>, now: Instant) {
        let Some((index, lower)) = self.presentation.as_ref().and_then(|presentation| {
            presentation
                .streams
                .iter()
                .enumerate()
                .find_map(|(index, stream)| match stream.state {
                    StreamState::Asked(lower) if stream.media == media => Some((index, lower)),
                    _ => None,
                })
        }) else {
            return;
        };
        match offer.filter(|offer| offer.lower_transport() == lower) {
            Some(offer) => self.set_stream(index, StreamState::Offered(offer)),
            None => self.next_transport(index, lower, format!("{lower} cannot be had here"), None),
        }
        self.advance(now);
    }

    pub(super) fn on_setup(&mut self, index: usize, call: Call, response: Response, now: Instant) {
        self.mark_setup(&call, false);
        if !response.is_success() && self.is_v2() && self.leave_pipeline(&call.request) {
            return;
        }
        let Some(presentation) = self.presentation.as_mut() else {
            return;
        };
        let Some(stream) = presentation.streams.get(index) else {
            return;
        };
        let StreamState::Offered(offer) = &stream.state else {
            return;
        };
        if response.is_success() {
            return self.on_setup_accepted(index, call, response, now);
        }
        let lower = offer.lower_transport();
        let first = presentation.is_first_setup();
        let refused_before = !stream.refused.is_empty();
        let error = Error::refused(Phase::Setup, &Method::Setup, &call.request.uri, &response);
        // Not the destination: some servers leave the keys to their clients (ONVIF, RFC 7826
        // §17.4.30). Clear media is never asked for instead.
        if matches!(response.status, 463 | 466)
            && let Some(secured) = presentation
                .streams
                .get_mut(index)
                .and_then(|stream| stream.secured.as_mut())
        {
            if secured.leave_to_client() {
                self.set_stream(index, StreamState::Waiting);
                return self.quirk("keys-left-to-the-client");
            }
            let error = Error {
                kind: ErrorKind::Keys,
                ..error
            };
            return self.give_up(index, error, now);
        }
        match response.status {
            461..=463 => {
                self.next_transport(index, lower, transport_refused(&response), Some(error))
            }
            400 | 404 if first && !self.config.append_control && presentation.next_join(index) => {
                self.quirk("control-url-refused");
            }
            400 | 405 | 406 | 415 | 500 | 501 if first && !presentation.fallback_used => {
                presentation.fallback_used = true;
                presentation.join = Join::Append;
                self.quirk("transport-refused-without-461");
                self.next_transport(index, lower, transport_refused(&response), Some(error));
            }
            413 | 414 | 416 if self.config.blocksize > 0 => self.config.blocksize = 0,
            // Also said of a mix of transports.
            400 | 406 | 455 if refused_before && !first => {
                self.next_transport(index, lower, transport_refused(&response), Some(error))
            }
            _ => {
                if first {
                    presentation.join = Join::Append;
                }
                self.give_up(index, error, now);
            }
        }
    }

    fn on_setup_accepted(&mut self, index: usize, call: Call, response: Response, now: Instant) {
        let refused = |why: String| {
            Error::new(ErrorKind::Protocol, Phase::Setup, &call.request.uri, why)
                .method(&Method::Setup)
        };
        if let Err(why) = self.adopt_session(&response) {
            // Without its identifier that session cannot be ended either.
            return self.give_up(index, refused(why), now);
        }
        self.read_properties(&response.headers);
        let v2 = self.is_v2();
        self.keep_alive
            .start(self.session_timeout(), &self.methods, v2, call.sent, now);

        let Link::Up { local, peer } = self.link else {
            return;
        };
        let Some(presentation) = &self.presentation else {
            return;
        };
        let Some(stream) = presentation.streams.get(index) else {
            return;
        };
        let StreamState::Offered(offer) = &stream.state else {
            return;
        };
        if self.config.intent == Intent::Record
            && self.config.transports.contains(&LowerTransport::Udp)
            && !stream.tried.contains(&LowerTransport::Udp)
            && echoes_tcp(&response.headers)
        {
            self.quirk("udp-ports-for-tcp");
            let why = "the server opens UDP ports for it".to_string();
            return self.next_transport(index, LowerTransport::Tcp, why, None);
        }
        let mut quirks = Quirks::new();
        let asked = Asked {
            intent: match stream.backchannel {
                true => Intent::Record,
                false => self.config.intent,
            },
            offer,
            profile: stream.profile,
            peer,
            local,
            tcp_allowed: self.config.transports.contains(&LowerTransport::Tcp),
            channels_used: &presentation.channels_used(),
            channels_free: presentation.channels_free(),
            group: stream.group,
            port: stream.port,
        };
        let judged = judge(&asked, &response.headers, &mut quirks);
        let keys = stream
            .secured
            .as_ref()
            .map(|secured| self.keys_of(presentation, index, secured, &response.headers));
        let media = stream.media;
        for quirk in quirks {
            self.quirk(quirk);
        }
        let judged = judged.map_err(&refused).and_then(|mut granted| {
            if let Some(keys) = keys {
                granted.keys = keys.map_err(|why| Error {
                    kind: ErrorKind::Keys,
                    ..refused(why)
                })?;
            }
            Ok(granted)
        });
        match judged {
            Ok(granted) => {
                let lower = granted.path.lower();
                let before = match &mut self.presentation {
                    Some(presentation) => presentation.preferred.replace(lower),
                    None => None,
                };
                // TLS is that of the connection (RFC 7826 §19.2).
                let in_clear = lower != LowerTransport::Tcp && !granted.profile.is_secure();
                if self.url.is_tls() && in_clear && before != Some(lower) {
                    self.warn("the media goes over UDP without encryption: TLS is for RTSP only");
                }
                self.state = State::Ready;
                self.set_stream(index, StreamState::SetUp(granted.clone()));
                self.emit(Event::MediaSetUp {
                    media,
                    granted,
                    url: call.request.uri,
                });
            }
            Err(why) => {
                self.end_unusable_session(&call.request.uri, now);
                self.give_up(index, why, now);
            }
        }
    }

    /// The keys of what the server sends. Nothing is played without; who records can do without
    /// the reports.
    fn keys_of(
        &self,
        presentation: &Presentation,
        index: usize,
        secured: &Secured,
        answer: &Headers,
    ) -> Result<Option<Keys>, String> {
        if self.config.intent == Intent::Play {
            return secured.inbound(answer).map(Some);
        }
        let streams = presentation.streams.iter().take(index);
        let before = streams.filter(|stream| stream.secured.is_some()).count();
        let answered = key_mgmt(answer).into_iter().next();
        let announced = || presentation.announced_keys.get(before).cloned();
        Ok(answered.or_else(announced).and_then(Result::ok))
    }

    /// Keeps the first identifier; servers that change it later mean the same session.
    pub(super) fn adopt_session(&mut self, response: &Response) -> Result<(), String> {
        let value = response.headers.get("Session").unwrap_or_default();
        if session_header::has_unusable_timeout(value) {
            self.quirk("session-timeout-unusable");
        }
        let named = !value
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default()
            .trim_ascii()
            .is_empty();
        match (&mut self.session, session_header::parse(value)) {
            (Some(session), Some(other)) => {
                session.timeout = session.timeout.min(other.timeout);
                if session.id != other.id {
                    self.quirk("session-id-changes");
                }
            }
            (None, Some(session)) if !self.established => self.session = Some(session),
            (None, None) if named => return Err("the session identifier cannot be used".into()),
            (Some(_), None) if named => self.quirk("session-id-changes"),
            _ => self.quirk("setup-reply-without-session"),
        }
        self.established = true;
        Ok(())
    }

    /// Ends what a reply granted that must not be used: the stream, or with the only stream the
    /// session.
    fn end_unusable_session(&mut self, stream_url: &str, now: Instant) {
        let only = self
            .presentation
            .as_ref()
            .is_none_or(|presentation| presentation.granted().next().is_none());
        let url = if only {
            self.aggregate_url()
        } else {
            stream_url.to_string()
        };
        let id = self.session_id().unwrap_or_default();
        let teardown = cleanup(&self.request(Method::Teardown, &url), id);
        if only {
            self.session = None;
            self.established = false;
            self.keep_alive.stop();
        }
        if let Some(request) = teardown {
            self.send(Purpose::Cleanup, request, now);
        }
    }

    /// The transport was refused; the next SETUP of the stream uses another.
    fn next_transport(
        &mut self,
        index: usize,
        from: LowerTransport,
        why: String,
        error: Option<Error>,
    ) {
        let Some(presentation) = self.presentation.as_mut() else {
            return;
        };
        let Some(stream) = presentation.streams.get_mut(index) else {
            return;
        };
        stream.tried.push(from);
        if error.is_some() {
            stream.refused.push(from);
        }
        stream.error = error.or(stream.error.take());
        stream.state = StreamState::Waiting;
        let Some(stream) = presentation.streams.get(index) else {
            return;
        };
        if let Some(to) = presentation.next_transport(stream, &self.config.transports) {
            self.emit(Event::TransportSwitched { from, to, why });
        }
    }

    fn no_transport_left(&mut self, index: usize, now: Instant) {
        let Some(presentation) = self.presentation.as_mut() else {
            return;
        };
        let Some(stream) = presentation.streams.get_mut(index) else {
            return;
        };
        let tried: Vec<_> = stream.tried.iter().map(LowerTransport::to_string).collect();
        let why = match tried.is_empty() {
            true => "no transport is allowed".to_string(),
            false => format!("no transport is left, tried {}", tried.join(", ")),
        };
        let error = stream.error.take();
        let url = presentation.base.clone();
        let error =
            error.unwrap_or_else(|| Error::new(ErrorKind::NoTransport, Phase::Setup, &url, ""));
        let error = error.because(why);
        if !self.try_common_transport(index, &error, now) {
            self.give_up(index, error, now);
        }
    }

    /// One stream less; but what the first meets, the others would meet too.
    pub(super) fn give_up(&mut self, index: usize, error: Error, now: Instant) {
        if self.leave_common_transport(index, now) {
            return;
        }
        let for_all = matches!(
            error.kind,
            ErrorKind::NotAuthorized
                | ErrorKind::Forbidden
                | ErrorKind::Busy
                | ErrorKind::ServerError
                | ErrorKind::SessionLost
        );
        if index == 0 && for_all {
            return self.fail(error, now);
        }
        self.skip(index, error);
    }

    pub(super) fn skip(&mut self, index: usize, error: Error) {
        let Some(presentation) = self.presentation.as_mut() else {
            return;
        };
        let Some(stream) = presentation.streams.get_mut(index) else {
            return;
        };
        stream.state = StreamState::Skipped;
        let media = stream.media;
        presentation
            .first_error
            .get_or_insert_with(|| error.clone());
        self.emit(Event::MediaSkipped { media, error });
    }

    fn setups_done(&mut self, now: Instant) {
        let Some(presentation) = self.presentation.as_mut() else {
            return;
        };
        if presentation.granted().next().is_some() {
            self.step = Step::Up;
            self.was_ready = true;
            self.emit(Event::Ready);
            return self.advance(now);
        }
        let url = presentation.base.clone();
        let none = || {
            Error::new(
                ErrorKind::NoTransport,
                Phase::Setup,
                &url,
                "no media could be set up",
            )
        };
        let error = presentation.first_error.take().unwrap_or_else(none);
        self.fail(error, now);
    }

    fn set_sent(&mut self, index: usize) {
        let presentation = self.presentation.as_mut();
        if let Some(stream) = presentation.and_then(|p| p.streams.get_mut(index)) {
            stream.sent = true;
        }
    }

    /// Whether the SETUP of a stream is on its way.
    pub(super) fn mark_setup(&mut self, call: &Call, sent: bool) {
        if let Purpose::Setup { stream } = call.purpose
            && let Some(presentation) = &mut self.presentation
            && let Some(stream) = presentation.streams.get_mut(stream)
        {
            stream.sent = sent;
        }
    }

    fn set_stream(&mut self, index: usize, state: StreamState) {
        if let Some(stream) = self
            .presentation
            .as_mut()
            .and_then(|p| p.streams.get_mut(index))
        {
            stream.state = state;
        }
    }
}

fn transport_refused(response: &Response) -> String {
    format!(
        "SETUP was answered {} {}",
        response.status,
        super::error::printable(&response.reason)
    )
}
