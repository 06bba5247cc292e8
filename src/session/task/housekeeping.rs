//! What must happen in time: reports, gaps, silence, ends.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::*;
use crate::net::address::is_sendable;
use crate::net::punch;
use crate::rtp::feedback::Feedback;
use crate::rtsp::client::{ErrorKind, Path, Phase};
use crate::session::queue::{Bounds, Item};
use crate::session::stream::StreamPath;
use crate::session::watchdog::monotonic;

/// A sibling has begun so long ago: a stream without a packet gets GAPs.
const GAP_INTERVAL: Duration = Duration::from_millis(250);
/// The longest GAP. After one of its limit (100 ms) or more the multiqueue of
/// playbin3 (GStreamer 1.22) holds itself full for ever.
const GAP_PIECE: Duration = Duration::from_millis(50);
/// A stream that had begun gets GAPs after this silence.
const GAP_SILENCE: Duration = Duration::from_secs(1);
/// No pad was linked so long after no-more-pads: an error.
const UNLINKED: Duration = Duration::from_secs(10);
/// RTP that resumes within this after a BYE makes it no end.
const BYE_RESUME: Duration = Duration::from_secs(2);
/// Packets that the BYE overtook may still come for this long.
const BYE_STRAGGLERS: Duration = Duration::from_millis(100);
/// The state of a session that runs well is looked at this often.
const CALM: Duration = Duration::from_secs(1);

impl Task {
    pub(super) fn rtcp_deadline(&self) -> Option<Instant> {
        if self.stop_at.is_some() {
            return None;
        }
        self.streams
            .iter()
            .filter_map(|stream| stream.path.as_ref())
            .flat_map(|path| {
                let report = path.reporter.poll_timeout().filter(|_| self.config.rtcp);
                [
                    report,
                    path.punch.as_ref().and_then(|punch| punch.deadline()),
                ]
            })
            .flatten()
            .min()
    }

    /// Sends the reports, feedback and punching packets that are due.
    pub(super) fn rtcp(&mut self, now: Instant) {
        if self.stop_at.is_some() {
            return;
        }
        let playing = |attempt: &Attempt| attempt.playing_since.is_some();
        let is_playing = self.attempt.as_ref().is_some_and(playing);
        let mut due = Vec::new();
        let mut gone = Vec::new();
        for (at, stream) in self.streams.iter_mut().enumerate() {
            let Some(path) = &mut stream.path else {
                continue;
            };
            if self.config.rtcp {
                let reception = stream.shared.current();
                while let Some(packet) = path.reporter.poll(&reception, now) {
                    due.push((at, packet));
                }
                // What is paused is silent by right.
                let timed_out = path.reporter.timed_out().filter(|_| is_playing);
                gone.extend(timed_out.map(|ssrc| (stream.media, ssrc)));
            }
            if path
                .punch
                .as_mut()
                .is_some_and(|schedule| schedule.poll(now))
            {
                punch_through(path);
            }
        }
        for (at, packet) in due {
            self.send_rtcp(at, packet);
        }
        for (media, ssrc) in gone {
            gst::info!(
                CAT,
                "{}: source {ssrc:08x} has timed out",
                self.config.server.url
            );
            self.post(move |element| messages::source_timeout(element, media, ssrc));
        }
    }

    fn send_rtcp(&mut self, at: usize, mut packet: Vec<u8>) {
        let Some(path) = self
            .streams
            .get_mut(at)
            .and_then(|stream| stream.path.as_mut())
        else {
            return;
        };
        if let Some(outbound) = &mut path.outbound
            && let Err(why) = outbound.rtcp(&mut packet)
        {
            gst::debug!(CAT, "a report cannot be protected: {why:?}");
            return;
        }
        let path = &*path;
        match (&path.granted, &path.udp) {
            (Path::Tcp { rtp, rtcp }, _) => {
                let link = self
                    .attempt
                    .as_ref()
                    .and_then(|attempt| attempt.link.as_ref());
                if let (Some(link), Ok(length)) = (link, u16::try_from(packet.len())) {
                    // Without a channel of its own RTCP goes with the media (RFC 5761).
                    let mut frame = vec![b'$', rtcp.unwrap_or(*rtp)];
                    frame.extend_from_slice(&length.to_be_bytes());
                    frame.extend_from_slice(&packet);
                    // A connection that takes no more is found out by its requests.
                    let _ = link.send(frame, Kind::Report { stream: at });
                }
            }
            (_, Some(udp)) => {
                if let Some(to) = rtcp_target(path)
                    && let Err(error) = udp.pair.rtcp.try_send_to(&packet, to)
                {
                    gst::debug!(CAT, "RTCP to {to}: {error}");
                }
            }
            (_, None) => {}
        }
    }

    /// BYE for our sources (RFC 3550 §6.3.7), before TEARDOWN.
    pub(super) fn say_goodbye(&mut self, now: Instant) {
        self.say_goodbye_to_backchannels(now);
        if !self.config.rtcp {
            return;
        }
        let mut due = Vec::new();
        for (at, stream) in self.streams.iter_mut().enumerate() {
            let reception = stream.shared.current();
            if let Some(path) = &mut stream.path
                && let Some(packet) = path.reporter.bye(&reception, now)
            {
                due.push((at, packet));
            }
        }
        for (at, packet) in due {
            self.send_rtcp(at, packet);
        }
    }

    pub(super) fn force_key_unit(&mut self, pad: Option<&str>, now: Instant) {
        for stream in &mut self.streams {
            let asked = match pad {
                Some(pad) => stream.pad().name() == pad,
                None => stream.kind == "video",
            };
            if let Some(path) = &mut stream.path
                && asked
                && let Some(feedback) = path.key_units.request(None)
            {
                path.reporter.feedback(feedback, now);
            }
        }
    }

    pub(super) fn fact(&mut self, fact: Fact, now: Instant) {
        match fact {
            Fact::Flows { stream } => {
                if let Some(stream) = self.streams.get_mut(stream) {
                    stream.bye = None;
                    stream.gap_until = None;
                    if let Some(path) = &mut stream.path {
                        let reception = stream.shared.current();
                        path.reporter.handle_reception(&reception, now);
                        if let Some(punch) = &mut path.punch {
                            punch.on_media(now);
                        }
                    }
                }
                // A sibling may be waited for from now on.
                self.schedule_housekeeping(now, GAP_INTERVAL);
            }
            Fact::Rtcp { stream, packet } => {
                if let Some(path) = self.streams.get_mut(stream).and_then(|s| s.path.as_mut()) {
                    path.reporter.handle_compound(&packet, now);
                }
            }
            Fact::Bye { stream } => {
                if let Some(stream) = self.streams.get_mut(stream) {
                    gst::info!(
                        CAT,
                        "{}: BYE on {}",
                        self.config.server.url,
                        stream.pad().name()
                    );
                    stream.bye = Some(now);
                }
                self.schedule_housekeeping(now, BYE_STRAGGLERS);
            }
            Fact::Nack { stream, seqs } => {
                if let Some(path) = self.streams.get_mut(stream).and_then(|s| s.path.as_mut()) {
                    path.reporter.feedback(Feedback::Nack(seqs), now);
                }
            }
            Fact::KeyLimit { stream, limit } => {
                if let Some(stream) = self.streams.get(stream) {
                    gst::info!(CAT, "{}: key limit {limit:?}", stream.pad().name());
                    let index = u32::try_from(stream.media).unwrap_or(u32::MAX);
                    let host = self.host.clone();
                    self.foreign.run(move || host.key_limit(index, limit));
                }
            }
            Fact::Overflow { stream } => {
                if !std::mem::replace(&mut self.overflow_told, true) {
                    let name = self.streams.get(stream).map(|s| s.pad().name().to_string());
                    let text = format!(
                        "Downstream of {} is too slow for the stream: packets were dropped up to the next key frame",
                        name.unwrap_or_default()
                    );
                    gst::warning!(CAT, "{text}");
                    self.post(move |element| {
                        gst::message::Warning::builder(gst::CoreError::TooLazy, &text)
                            .src(element)
                            .build()
                    });
                }
            }
        }
    }

    /// What became of a pad.
    pub(super) fn outcome(&mut self, key: u64, outcome: Outcome, now: Instant) {
        let Some(stream) = self.streams.iter_mut().find(|stream| stream.key == key) else {
            return;
        };
        stream.eos = true;
        let pad = stream.pad().clone();
        match outcome {
            Outcome::Eos | Outcome::EosSent => {}
            Outcome::Failed(error) => {
                self.post(move |element| messages::flow_error(element, &pad, error));
            }
        }
        // A pad that is unlinked for a while is not at its end.
        let goes_on = |stream: &Stream| !stream.eos && stream.shared.delivery.was_linked();
        if !self.over && !self.streams.iter().any(goes_on) {
            if self.playhead.ended && !self.eos {
                // A seek may go on from here.
                self.inputs.snapshot.update(|stats| stats.state = "ended");
                return;
            }
            gst::debug!(CAT, "{}: all streams have ended", self.config.server.url);
            self.inputs.snapshot.update(|stats| stats.state = "ended");
            self.finish(now);
        }
    }

    fn schedule_housekeeping(&mut self, now: Instant, delay: Duration) {
        let at = after(now, delay);
        if let Some(planned) = &mut self.housekeeping_at {
            *planned = at.min(*planned);
        }
    }

    pub(super) fn housekeeping(&mut self, now: Instant) {
        self.housekeeping_at = None;
        let playing_since = match &self.attempt {
            Some(attempt) => attempt.playing_since,
            None => None,
        };
        let Some(playing_since) = playing_since else {
            return;
        };
        let mut next = CALM;
        // What was silent while it was paused did not stall.
        let playing_for = now.saturating_duration_since(playing_since);
        let silence = self.silence().map(|silence| silence.min(playing_for));
        if let Some(silence) = silence {
            self.backoff.media(now);
            self.fell_back = false;
            if self.has_stalled(silence, now) {
                return;
            }
        } else if self.is_udp_blocked(playing_since, now) {
            return;
        }
        if silence.is_none() && self.has_stalled(playing_for, now) {
            return;
        }
        self.count();
        next = next.min(self.gaps(now));
        next = next.min(self.farewells(now));
        self.check_links(now);
        self.housekeeping_at = Some(after(now, next));
    }

    /// Copies what the readers count into the snapshot.
    fn count(&self) {
        let link = self.attempt.as_ref().and_then(|a| a.link.as_ref());
        let tcp = link.map(|link| lock(&link.demux).counters.clone());
        let refused = self
            .streams
            .iter()
            .filter_map(|stream| stream.path.as_ref()?.udp.as_ref())
            .map(|udp| udp.senders.refused.load(Relaxed))
            .fold(0, u64::saturating_add);
        self.inputs.snapshot.update(|stats| {
            stats.refused_datagrams = refused;
            if let Some(tcp) = &tcp {
                stats.unknown_frames = tcp.unknown_frames.load(Relaxed);
                stats.damaged_bytes = tcp.damaged_bytes.load(Relaxed);
            }
        });
        let received = || self.streams.iter().map(|stream| &stream.shared);
        let unknown = tcp.is_some_and(|tcp| tcp.unknown_frames.load(Relaxed) > 0);
        for (seen, name) in [
            (unknown, "frames-on-unassigned-channel"),
            (
                received().any(|stream| stream.total().discarded.payload_type > 0),
                "packets-of-other-payload-types",
            ),
            (
                received().any(|stream| stream.rtcp_among_media.load(Relaxed)),
                "rtcp-among-media",
            ),
        ] {
            if seen {
                self.quirk(name);
            }
        }
    }

    /// Time since the last media of any stream of the current attempt. Reports are no
    /// media: a server whose encoder died still sends them.
    pub(super) fn silence(&self) -> Option<Duration> {
        let last = self
            .streams
            .iter()
            .filter(|stream| stream.path.is_some())
            .filter_map(|stream| stream.shared.last_rtp())
            .max()?;
        Some(Duration::from_nanos(monotonic().saturating_sub(last)))
    }

    /// Nothing from any stream for too long: the presentation is lost.
    fn has_stalled(&mut self, silence: Duration, now: Instant) -> bool {
        let limit = self.config.stall_timeout;
        let held_up = self
            .streams
            .iter()
            .any(|stream| stream.shared.delivery.is_blocked(CALM));
        let held_up = held_up || self.gate.is_closed();
        if held_up || self.eos || self.playhead.ended {
            return false;
        }
        if self.is_at_end() {
            // RTSP 1.0 ends a range silently (RFC 2326 §A.1): silence is no loss there.
            let ends = silence >= BYE_RESUME;
            if ends {
                self.reach_end();
            }
            return ends;
        }
        if limit.is_zero() || silence < limit {
            return false;
        }
        let age = u64::try_from(silence.as_millis()).unwrap_or(u64::MAX);
        self.tell("stalled", move |message| {
            message.set("last-packet-age-ms", age)
        });
        let refused = |stream: &Stream| stream.shared.unauthentic.load(Relaxed) > 0;
        let why = match self.streams.iter().any(refused) {
            true => {
                format!("no media for {age} ms: what comes is not protected with the agreed keys")
            }
            false => format!("no media for {age} ms"),
        };
        let error = self.error(ErrorKind::SessionLost, Phase::Established, why);
        self.lost(&error, now);
        true
    }

    pub(super) fn is_at_end(&self) -> bool {
        let Some((track, position)) = self.inputs.snapshot.track().zip(self.position()) else {
            return false;
        };
        let (end, position) = (self.playhead.end(&track), track.stream_time(position));
        end.zip(position).is_some_and(|(end, position)| {
            let left = match self.playhead.pace() < 0.0 {
                true => position.saturating_sub(end),
                false => end.saturating_sub(position),
            };
            left as f64 <= nanos(CALM) as f64 * self.playhead.pace().abs().max(1.0)
        })
    }

    /// UDP was granted and nothing has come: a firewall or NAT is in between.
    fn is_udp_blocked(&mut self, playing_since: Instant, now: Instant) -> bool {
        let timeout = self.config.udp_timeout;
        let from = self
            .streams
            .iter()
            .filter_map(|stream| stream.path.as_ref())
            .map(|path| path.granted.lower())
            .find(|lower| *lower != LowerTransport::Tcp);
        let Some(from) = from.filter(|_| !timeout.is_zero()) else {
            return false;
        };
        let due = after(playing_since, timeout);
        // Once: if TCP was refused too, the stall is what is left.
        if now < due || self.fell_back || !self.transports.contains(&LowerTransport::Tcp) {
            return false;
        }
        self.fell_back = true;
        let why = format!("no UDP packet within {timeout:?}; a firewall or NAT may block it");
        gst::warning!(CAT, "{}: {why}, trying TCP", self.config.server.url);
        self.transport_switched(from, LowerTransport::Tcp, why);
        let rest = self
            .transports
            .iter()
            .copied()
            .filter(|t| *t != LowerTransport::Tcp);
        let transports = std::iter::once(LowerTransport::Tcp).chain(rest).collect();
        self.switch_transport(transports, now);
        true
    }

    /// Times of another clock say nothing; a stream without a reader learns it here.
    pub(super) fn look_at_clock(&mut self) {
        if self.clock.update() {
            for stream in &mut self.streams {
                stream.gap_until = None;
                stream.shared.last_pts.store(0, Release);
            }
        }
    }

    /// A muxer or a player may be waiting for a stream that does not send:
    /// GAPs let it go on.
    fn gaps(&mut self, now: Instant) -> Duration {
        let anybody = self
            .streams
            .iter()
            .filter_map(|stream| stream.shared.last_rtp())
            .max();
        if self.streams.len() < 2 || anybody.is_none() {
            return CALM;
        }
        self.look_at_clock();
        let clock = self.clock.now();
        let upto = match self.config.live {
            true => clock.saturating_sub(nanos(self.config.latency)),
            // What the others have got to.
            false => {
                let last = self.streams.iter().map(|stream| stream.shared.last_pts());
                last.max().unwrap_or(0)
            }
        };
        let mut next = CALM;
        let mut told = Vec::new();
        for stream in &mut self.streams {
            let last = stream.shared.last_rtp();
            let silent = last.map(|last| Duration::from_nanos(monotonic().saturating_sub(last)));
            if silent.is_some_and(|silent| silent < GAP_SILENCE) {
                stream.gap_until = None;
                continue;
            }
            next = GAP_INTERVAL;
            if stream.shared.delivery.is_busy() {
                // What is queued comes first; a blocked pad needs no GAP.
                continue;
            }
            if stream.eos
                || !stream.shared.delivery.is_linked()
                || stream.shared.delivery.has_media()
                || stream.shared.delivery.is_blocked(GAP_INTERVAL)
            {
                continue;
            }
            let start = stream
                .gap_until
                .unwrap_or_else(|| upto.saturating_sub(nanos(GAP_INTERVAL)))
                // What was pushed already is no gap.
                .max(stream.shared.last_pts());
            if upto <= start {
                continue;
            }
            let start = start.max(upto.saturating_sub(nanos(GAP_SILENCE)));
            let piece = nanos(GAP_PIECE);
            let next_piece = |at: &u64| Some(at.saturating_add(piece)).filter(|at| *at < upto);
            let gaps = std::iter::successors(Some(start), next_piece).map(|start| Item::Gap {
                start,
                duration: piece.min(upto.saturating_sub(start)),
            });
            let unbounded = || Bounds {
                bytes: usize::MAX,
                time: Duration::MAX,
            };
            stream.shared.delivery.enqueue(gaps, unbounded);
            stream.gap_until = Some(upto);
            let limit = self.config.stall_timeout;
            if !limit.is_zero()
                && silent.is_none_or(|silent| silent >= limit)
                && self
                    .attempt
                    .as_ref()
                    .and_then(|a| a.playing_since)
                    .is_some_and(|since| now.saturating_duration_since(since) >= limit)
                && !std::mem::replace(&mut stream.silent_told, true)
            {
                told.push(stream.pad().name().to_string());
            }
        }
        for pad in told {
            self.tell("stalled", move |message| message.set("stream", pad));
        }
        next
    }

    /// A BYE of all sources that no packet followed is the end, where there
    /// can be one; else the server will come back.
    fn farewells(&mut self, now: Instant) -> Duration {
        for stream in &mut self.streams {
            let silent = stream.shared.last_rtp().map_or(Duration::MAX, |at| {
                Duration::from_nanos(monotonic().saturating_sub(at))
            });
            stream.bye = stream.bye.filter(|bye| {
                let resumes = silent.saturating_add(BYE_STRAGGLERS);
                now.saturating_duration_since(*bye) <= resumes
            });
        }
        let Some(last) = self.last_bye() else {
            return CALM;
        };
        // Of what ends there anyway nothing more is to come.
        let ends = self.is_at_end() && self.inputs.snapshot.track().is_some();
        let due = after(last, if ends { BYE_STRAGGLERS } else { BYE_RESUME });
        if now < due {
            return due.saturating_duration_since(now);
        }
        if self.has_an_end() {
            self.reach_end();
        } else {
            for stream in &mut self.streams {
                stream.bye = None;
            }
            if let Some(attempt) = &mut self.attempt {
                attempt.end_of_stream = None;
            }
        }
        CALM
    }

    /// When the last of the streams said BYE, if all have, or the server that this is all.
    pub(super) fn last_bye(&self) -> Option<Instant> {
        let said = self
            .attempt
            .as_ref()
            .and_then(|attempt| attempt.end_of_stream);
        if said.is_some() && self.streams.iter().any(|stream| !stream.eos) {
            return said;
        }
        self.streams
            .iter()
            .filter(|stream| stream.path.is_some() && !stream.eos)
            .map(|stream| stream.bye)
            .reduce(|a, b| Some(a?.max(b?)))
            .flatten()
    }

    /// An application that links no pad at all has made a mistake; one that
    /// unlinks its branch later has not.
    fn check_links(&mut self, now: Instant) {
        let Some(since) = self.presented_at else {
            return;
        };
        if self.over || self.links_checked {
            return;
        }
        if self
            .streams
            .iter()
            .any(|stream| stream.shared.delivery.is_linked())
        {
            self.links_checked = true;
            return;
        }
        if now.saturating_duration_since(since) < UNLINKED {
            return;
        }
        let pad = self.streams.first().map(|stream| stream.pad().clone());
        if let Some(pad) = pad {
            self.inputs.snapshot.update(|stats| stats.state = "failed");
            self.finish(now);
            self.post(move |element| {
                messages::flow_error(element, &pad, gst::FlowError::NotLinked)
            });
        }
    }
}

/// Where the reports of a stream go.
fn rtcp_target(path: &StreamPath) -> Option<SocketAddr> {
    let target = match &path.granted {
        Path::Tcp { .. } => None,
        Path::Udp {
            server,
            rtp,
            rtcp,
            send_to_server,
        } => {
            let known = path.udp.as_ref().and_then(|udp| *lock(&udp.senders.rtcp));
            let named = rtcp.or_else(|| rtp.and_then(|port| port.checked_add(1)));
            known
                .or_else(|| Some(SocketAddr::new(*server, named?)))
                .filter(|_| *send_to_server)
        }
        Path::Multicast { group, rtcp, .. } => Some(SocketAddr::new(*group, *rtcp)),
    };
    target.filter(|target| is_sendable(*target))
}

/// Opens the way through a NAT for both sockets of a stream.
fn punch_through(path: &StreamPath) {
    let (
        Some(udp),
        Path::Udp {
            server,
            rtp: Some(port),
            send_to_server: true,
            ..
        },
    ) = (&path.udp, &path.granted)
    else {
        return;
    };
    let ssrc = path.reporter.ssrc();
    let sequence: u16 = rand::random();
    let rtp = SocketAddr::new(*server, *port);
    // A lost punch is followed by another.
    let _ = udp
        .pair
        .rtp
        .try_send_to(&punch::rtp_packet(&path.payload_types, sequence, ssrc), rtp);
    if let Some(rtcp) = rtcp_target(path) {
        let _ = udp.pair.rtcp.try_send_to(&punch::rtcp_packet(ssrc), rtcp);
    }
}
