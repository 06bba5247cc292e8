//! What the client reports.

use std::time::Instant;

use super::*;
use crate::caps::PlayFields;
use crate::rtsp::client::Event;
use crate::rtsp::media_properties::Content;
use crate::rtsp::range::Range;
use crate::rtsp::rtp_info::RtpInfo;
use crate::session::ingest::Start;
use crate::session::seek::Track;

impl Task {
    pub(super) fn event(&mut self, event: Event, now: Instant) {
        if let Event::Reply { id, result } = event {
            return self.parameters.reply(id, result);
        }
        if let Some(attempt) = &self.attempt
            && attempt.retiring.is_some()
        {
            match event {
                Event::Closed | Event::Failed(_) | Event::SessionLost(_) => self.retired(),
                _ => {}
            }
            return;
        }
        match event {
            Event::Described { sdp, .. } => self.described(sdp, now),
            Event::NeedKeys { media, usage } => self.need_keys(media, usage),
            Event::NeedOffer {
                media,
                lower,
                channels,
            } => self.offer(media, lower, channels, now),
            Event::MediaSetUp { media, granted, .. } if self.is_backchannel(media) => {
                self.backchannel_set_up(media, granted);
            }
            Event::MediaSetUp { media, granted, .. } => self.media_set_up(media, granted, now),
            Event::MediaSkipped { media, error } => self.media_skipped(media, &error),
            Event::Ready => self.ready(now),
            Event::Seeking => self.seeking(),
            Event::SeekRefused { id, error } => self.seek_refused(id, &error),
            Event::Playing {
                seek,
                range,
                info,
                scale,
                speed,
            } => {
                self.playing(seek, range, &info, (scale, speed), now);
            }
            Event::Paused { .. } => {
                if !self.wish_playing {
                    self.hold();
                }
            }
            Event::TransportSwitched { from, to, why } => {
                self.transport_switched(from, to, why);
            }
            Event::SetUpAgain => {
                self.void_set_up();
                self.drop_unpresented();
            }
            Event::Redirected { to } => {
                self.void_set_up();
                self.tell("redirected", move |message| message.set("location", to));
            }
            Event::MediaProperties(properties) => {
                if let Some(attempt) = &mut self.attempt {
                    attempt.properties = properties;
                }
            }
            Event::EndOfStream { status } => {
                gst::info!(
                    CAT,
                    "{}: the server has sent all of it {status}",
                    self.config.server.url
                );
                // As after BYE: what is still on its way comes first.
                if let Some(attempt) = &mut self.attempt {
                    attempt.end_of_stream = Some(now);
                }
                self.housekeeping_at = Some(now);
            }
            Event::Quirk(name) => self.quirk(name),
            Event::ServerRequest { method } => gst::debug!(CAT, "the server sent {method}"),
            // Of a client that records.
            Event::Recording { .. } | Event::Reply { .. } => {}
            Event::Warning(text) => gst::warning!(CAT, "{}: {text}", self.config.server.url),
            Event::SessionLost(error) | Event::Failed(error) => self.session_lost(&error, now),
            Event::Closed => {
                self.attempt = None;
                self.close_paths();
                if self.stop_at.is_none() && !self.over && self.retry_at.is_none() {
                    self.over = true;
                }
            }
        }
    }

    pub(super) fn media_skipped(&self, media: usize, error: &Error) {
        gst::warning!(CAT, "media {media} is not played: {error}");
        let reason = error.to_string();
        self.post(move |element| {
            gst::message::Warning::builder(gst::ResourceError::Settings, &reason)
                .src(element)
                .build()
        });
    }

    /// An oddity of the server that is made allowance for: each is told once.
    pub(super) fn quirk(&self, name: &'static str) {
        let mut new = false;
        self.inputs.snapshot.update(|stats| {
            new = !stats.quirks.contains(&name);
            if new {
                stats.quirks.push(name);
            }
        });
        if new {
            gst::info!(CAT, "{}: quirk {name}", self.config.server.url);
            self.tell("quirk", move |message| message.set("name", name));
        }
    }

    /// All that was set up is void; silence is not counted meanwhile.
    fn void_set_up(&mut self) {
        self.close_paths();
        self.group.restart();
        if let Some(attempt) = &mut self.attempt {
            attempt.playing_since = None;
            attempt.session = None;
            attempt.no_sockets = None;
            attempt.pairs.clear();
        }
    }

    fn session_lost(&mut self, error: &Error, now: Instant) {
        if self.stop_at.is_some() {
            return;
        }
        // A BYE that came with the end of the connection says what kind of end it is.
        while let Ok(fact) = self.facts.1.try_recv() {
            self.fact(fact, now);
        }
        let said_bye = self.last_bye().is_some();
        let ended = error.kind == client::ErrorKind::ServerTeardown || said_bye;
        let has_pads = self.presented_at.is_some() || self.presenting.is_some();
        if has_pads && (self.is_at_end() || ended && self.has_an_end()) {
            self.reach_end();
            self.drop_attempt(error);
            // What can be seeked in comes back for a seek.
            self.over = !self.playhead.ended;
            return;
        }
        self.lost(error, now);
    }

    /// Whether the server may end the presentation for good: live ranges go
    /// on, whatever a server that restarts says.
    pub(super) fn has_an_end(&self) -> bool {
        let properties = self.attempt.as_ref().map(|attempt| &attempt.properties);
        if properties.is_some_and(|properties| properties.content == Content::Progressing) {
            return false;
        }
        let sdp = self
            .attempt
            .as_ref()
            .and_then(|attempt| attempt.sdp.as_ref());
        let range = sdp.and_then(|sdp| sdp.range());
        range.is_none_or(|range| range.is_closed() && !range.starts_now())
    }

    pub(super) fn transport_switched(
        &mut self,
        from: LowerTransport,
        to: LowerTransport,
        why: String,
    ) {
        self.inputs.snapshot.update(|stats| {
            stats.transport_switches = stats.transport_switches.saturating_add(1);
        });
        self.post(|element| gst::message::Latency::builder().src(element).build());
        self.tell("transport-switched", move |message| {
            message.set("from", name_of(from));
            message.set("to", name_of(to));
            message.set("reason", why);
        });
    }

    fn playing(
        &mut self,
        seek: Option<u64>,
        range: Option<Range>,
        info: &[(usize, RtpInfo)],
        (scale, speed): (Option<f64>, Option<f64>),
        now: Instant,
    ) {
        let reconnected = std::mem::take(&mut self.was_lost);
        self.backoff.playing(now);
        let sdp_range = self
            .attempt
            .as_ref()
            .and_then(|a| a.sdp.as_ref())
            .and_then(|sdp| sdp.range());
        if self.inputs.snapshot.track().is_none()
            && let Some(range) = range.filter(Range::is_closed)
        {
            // The description did not say it.
            self.inputs.snapshot.update(|stats| {
                stats.track = Track::of(Some(&range), false);
                stats.duration = range.duration().map(gst::ClockTime::from_nseconds);
            });
        }
        let started = self.started(seek, range.as_ref(), (scale, speed), reconnected);
        let range = range.or(sdp_range);
        let clock_ns = |ns: Option<u64>| ns.map(gst::ClockTime::from_nseconds);
        let mut npt_start = clock_ns(range.as_ref().and_then(Range::start_ns));
        let mut npt_stop =
            clock_ns(range.as_ref().and_then(Range::end_ns)).filter(|_| !reconnected);
        if scale.is_some_and(|scale| scale < 0.0) {
            std::mem::swap(&mut npt_start, &mut npt_stop);
        }
        if started.segment.is_some() {
            self.group.realign();
        }
        // Its payloaders scale what RFC 7826 §18.50 leaves alone (seen in 1.22).
        let in_real_time = self
            .attempt
            .as_ref()
            .and_then(|attempt| attempt.client.server())
            .is_some_and(|server| server.starts_with("GStreamer RTSP"));
        self.clock.update();
        let moved = started.moved.then(|| self.clock.now());
        let rtt = self
            .attempt
            .as_ref()
            .and_then(|attempt| attempt.client.rtt())
            .map_or(0, nanos);
        for stream in &mut self.streams {
            let Some(path) = &stream.path else {
                continue;
            };
            let entry = info
                .iter()
                .find(|(media, _)| *media == stream.media)
                .map(|(_, info)| info);
            let fields = PlayFields {
                ssrc: entry.and_then(|e| e.ssrc),
                seqnum_base: entry.and_then(|e| e.seq),
                clock_base: entry.and_then(|e| e.rtptime),
                npt_start,
                npt_stop,
                play_speed: Some(speed.unwrap_or(1.0)),
                play_scale: Some(scale.unwrap_or(1.0)),
                segment_as_is: (started.as_is || self.config.replay.is_some()).then_some(true),
            };
            if started.flush.is_some() {
                stream.shared.delivery.hold();
            }
            stream.eos &= !started.moved;
            stream.shared.delivery.event(stream.caps_event(&fields));
            stream.bye = None;
            stream.gap_until = None;
            lock(&path.ingest).play(Start {
                fields,
                rtt,
                moved,
                segment: started.segment.clone().map(Box::new),
                time: started.time,
                speed: started.speed,
                in_real_time,
            });
        }
        if let Some(flush) = started.flush {
            self.flush(flush);
        }
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        attempt.playing_since = Some(now);
        attempt.end_of_stream = None;
        let transport = self
            .streams
            .iter()
            .find_map(|stream| stream.path.as_ref())
            .map(|path| path.granted.lower());
        if let Some(transport) = transport {
            self.remember(transport);
        }
        self.housekeeping_at = Some(now);
        let attempt = self.attempt.as_ref();
        let server = attempt.and_then(|a| a.client.server()).map(str::to_string);
        let timeout = attempt.map(|a| a.client.session_timeout());
        let codecs: Vec<&str> = self
            .streams
            .iter()
            .map(|s| s.encoding_name.as_str())
            .collect();
        gst::info!(
            CAT,
            "{}: playing {} over {} from {}, session timeout {:?}, quirks {:?}",
            self.config.server.url,
            codecs.join(" + "),
            transport.map_or("nothing", name_of),
            server.as_deref().unwrap_or("a server without a name"),
            timeout.unwrap_or_default(),
            self.inputs.snapshot.quirks(),
        );
        self.inputs.snapshot.update(|stats| {
            stats.state = "playing";
            stats.transport = transport.map(name_of);
            stats.server = server;
            stats.timeout = timeout;
            stats.playing_since = Some(now);
            stats.last_error = None;
            if reconnected {
                stats.reconnects = stats.reconnects.saturating_add(1);
            }
        });
        if reconnected {
            self.tell("connection-restored", |_| {});
        }
        self.open_backchannels();
        if !self.wish_playing {
            // PAUSE was asked for while PLAY was under way.
            self.hold();
        }
    }

    /// What worked is tried first the next time.
    fn remember(&mut self, transport: LowerTransport) {
        if let Some(at) = self.transports.iter().position(|t| *t == transport)
            && let Some(head) = self.transports.get_mut(..=at)
        {
            head.rotate_right(1);
        }
    }
}
