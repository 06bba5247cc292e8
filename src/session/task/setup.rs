//! From the description to streams with pads.

use std::net::SocketAddr;
use std::time::Instant;

use rand::RngExt as _;

use super::*;
use crate::caps;
use crate::net::lock_in::{MediaPeer, SourceFilter};
use crate::net::{multicast, punch};
use crate::rtp::feedback::{Allowed, KeyUnits};
use crate::rtp::report::{self, Reporter};
use crate::rtp::{self, rtx};
use crate::rtsp::client::{ErrorKind, Granted, Path, Phase};
use crate::rtsp::sdp::{BandwidthKind, Direction, Media};
use crate::rtsp::transport::{Offer, Profile};
use crate::session::delivery::{Delivery, DeliveryMode, Feeding};
use crate::session::ingest::{self, Ingest};
use crate::session::keyframe::Encoding;
use crate::session::media::UdpPath;
use crate::session::seek::Track;
use crate::session::shared::Shared;
use crate::session::stats::StreamStats;
use crate::session::stream::{self, Presentation, StreamPath};
use crate::session::timing::NetworkClock;

/// The header extensions with the NTP time (RFC 6051 §3.3).
const NTP_EXTENSIONS: [&str; 2] = [
    "urn:ietf:params:rtp-hdrext:ntp-64",
    "urn:ietf:params:rtp-hdrext:ntp-56",
];

fn ntp_extension(sdp: &sdp::Session, media: &Media) -> Option<u8> {
    let mut extensions = media.extmaps(sdp).into_iter();
    let found = extensions.find(|extension| NTP_EXTENSIONS.contains(&extension.uri.as_str()));
    found.map(|extension| extension.id)
}

impl Task {
    /// Chooses the media to SET UP: those of the running streams, or at the
    /// first start those that the application wants.
    pub(super) fn described(&mut self, sdp: Arc<sdp::Session>, now: Instant) {
        for warning in &sdp.warnings {
            gst::info!(CAT, "{}: SDP: {warning}", self.config.server.url);
        }
        let talks = self.describe_backchannels(&sdp);
        let wanted: Vec<(usize, gst::Caps)> = sdp
            .media
            .iter()
            .filter(|media| talks.contains(&media.index) || self.is_wanted(&sdp, media))
            .filter_map(|media| Some((media.index, caps::media_caps(&sdp, media)?)))
            .collect();
        let odd = |(index, _): &(usize, gst::Caps)| {
            sdp.media
                .iter()
                .any(|media| media.index == *index && caps::has_odd_parameter_sets(media))
        };
        if wanted.iter().any(odd) {
            self.quirk("parameter-sets-unusable");
        }
        let range = sdp.range();
        let onvif = self.config.replay.is_some();
        self.inputs.snapshot.update(|stats| {
            let duration = range.as_ref().and_then(|range| range.duration());
            stats.track = Track::of(range.as_ref(), onvif);
            stats.duration = duration.map(gst::ClockTime::from_nseconds);
        });
        self.drop_unpresented();
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        attempt.sdp = Some(sdp.clone());
        if self.streams.is_empty() {
            let host = self.host.clone();
            attempt.selecting = Some(self.foreign.ask(move || {
                wanted
                    .into_iter()
                    .filter(|(index, caps)| {
                        host.select_stream(u32::try_from(*index).unwrap_or(u32::MAX), caps)
                    })
                    .map(|(index, _)| index)
                    .collect()
            }));
            return;
        }
        let (talks, played): (Vec<usize>, Vec<usize>) = wanted
            .iter()
            .map(|(index, _)| *index)
            .partition(|index| talks.contains(index));
        let mut media = self.match_streams(&sdp, played);
        media.extend(talks);
        if let Some(attempt) = &mut self.attempt {
            attempt.client.select(&media, now);
        }
    }

    /// What was set up before any pad was shown is made anew.
    pub(super) fn drop_unpresented(&mut self) {
        if !self.streams.iter().any(|stream| stream.presented) {
            for stream in self.streams.drain(..) {
                stream.shared.delivery.close();
            }
        }
    }

    fn is_wanted(&self, sdp: &sdp::Session, media: &Media) -> bool {
        let kinds = &self.config.media;
        let named = kinds.is_empty()
            || kinds
                .iter()
                .any(|kind| media.kind.eq_ignore_ascii_case(kind));
        if let Err(reason) = &media.usable {
            gst::warning!(
                CAT,
                "{}: media {} is not usable: {reason}",
                self.config.server.url,
                media.index
            );
            return false;
        }
        named && media.direction(sdp) != Direction::Inactive && !sdp.is_backchannel(media)
    }

    /// Finds the running streams again in a new description: by control URL,
    /// then by type and order. A media that vanished keeps its pad; another
    /// encoding ends it.
    fn match_streams(&mut self, sdp: &sdp::Session, mut free: Vec<usize>) -> Vec<usize> {
        let mut matched = vec![None; self.streams.len()];
        for by_control in [true, false] {
            for (stream, matched) in self.streams.iter().zip(matched.iter_mut()) {
                if matched.is_some() || stream.eos {
                    continue;
                }
                let found = free.iter().position(|index| {
                    sdp.media
                        .iter()
                        .find(|media| media.index == *index)
                        .is_some_and(|media| {
                            media.kind == stream.kind
                                && (!by_control
                                    || stream.control.is_some()
                                        && media.control() == stream.control.as_deref())
                        })
                });
                if let Some(at) = found {
                    *matched = Some(free.remove(at));
                }
            }
        }
        for (stream, matched) in self.streams.iter_mut().zip(&matched) {
            // An index that no media has: nothing is received for it.
            stream.media = matched.unwrap_or(usize::MAX);
        }
        matched.into_iter().flatten().collect()
    }

    pub(super) fn offer(
        &mut self,
        media: usize,
        lower: LowerTransport,
        channels: (u8, u8),
        now: Instant,
    ) {
        let offer = match lower {
            LowerTransport::Tcp => Some(Offer::Tcp { channels }),
            LowerTransport::Udp => match self.bind_pair() {
                Ok(pair) => {
                    let ports = (pair.rtp.local_port(), pair.rtcp.local_port());
                    if let Some(attempt) = &mut self.attempt {
                        attempt.pairs.insert(media, pair);
                    }
                    Some(Offer::Udp { ports })
                }
                Err(error) => {
                    gst::warning!(CAT, "no UDP ports: {error}");
                    None
                }
            },
            LowerTransport::UdpMulticast => Some(Offer::Multicast { ports: None }),
        };
        if let Some(attempt) = &mut self.attempt {
            attempt.client.offer(media, offer, now);
        }
    }

    fn local(&self) -> SocketAddr {
        let link = self
            .attempt
            .as_ref()
            .and_then(|attempt| attempt.link.as_ref());
        link.map_or(SocketAddr::from(([0, 0, 0, 0], 0)), |link| link.local)
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.attempt.as_ref()?.link.as_ref().map(|link| link.peer)
    }

    fn bind_pair(&mut self) -> std::io::Result<UdpPair> {
        let _io = self.runtimes.io().enter();
        let pair = UdpPair::bind(
            self.local(),
            self.config.server.port_range,
            self.config.server.port_tries,
        )?;
        drop(_io);
        self.size_buffer(&pair);
        Ok(pair)
    }

    /// A frame of a fast stream comes in one burst; a buffer that is too small
    /// for it loses the rest.
    fn size_buffer(&mut self, pair: &UdpPair) {
        let wanted = self.config.server.udp_buffer_size;
        if wanted == 0 {
            return;
        }
        match pair.rtp.set_recv_buffer(wanted) {
            Ok(buffer) => {
                self.inputs
                    .snapshot
                    .update(|stats| stats.udp_buffer = Some(buffer.effective));
                if buffer.is_clamped() && !std::mem::replace(&mut self.udp_buffer_told, true) {
                    let text = format!(
                        "The UDP receive buffer is {} bytes instead of {wanted}: a burst of more than {} packets is lost. Allow more with: sysctl -w net.core.rmem_max={wanted}",
                        buffer.effective, buffer.burst,
                    );
                    gst::warning!(CAT, "{text}");
                    self.post(move |element| {
                        gst::message::Warning::builder(gst::ResourceError::Settings, &text)
                            .src(element)
                            .build()
                    });
                }
            }
            Err(error) => gst::warning!(CAT, "the UDP receive buffer stays as it is: {error}"),
        }
    }

    pub(super) fn media_set_up(&mut self, media: usize, granted: Granted, now: Instant) {
        let Some(sdp) = self
            .attempt
            .as_ref()
            .and_then(|attempt| attempt.sdp.clone())
        else {
            return;
        };
        let Some(description) = sdp.media.iter().find(|m| m.index == media) else {
            return;
        };
        let running = self.streams.iter().position(|stream| stream.media == media);
        let at = match running {
            Some(at) => self.follow_description(at, &sdp, description),
            None => {
                let name = format!("stream_{media}");
                self.new_stream(&sdp, description, self.streams.len(), name)
            }
        };
        let Some(at) = at else {
            return;
        };
        if let Some(attempt) = &mut self.attempt {
            let url = attempt.client.aggregate_url();
            attempt.session = attempt.client.session_id().map(|id| (url, id.to_string()));
        }
        let lower = granted.path.lower();
        match self.open_path(at, &sdp, description, granted, now) {
            Ok(path) => {
                if let Some(stream) = self.streams.get_mut(at) {
                    stream.path = Some(path);
                }
            }
            Err(error) => {
                gst::warning!(CAT, "media {media} cannot be received: {error}");
                if let Some(attempt) = &mut self.attempt {
                    attempt.no_sockets = Some((lower, error.to_string()));
                }
            }
        }
    }

    /// Nothing that was granted can be received: the next transport, or an
    /// error that says why.
    fn nothing_received(&mut self, now: Instant) -> bool {
        if self.streams.iter().any(|stream| stream.path.is_some()) {
            return false;
        }
        let failed = self
            .attempt
            .as_mut()
            .and_then(|attempt| attempt.no_sockets.take());
        let Some((lower, why)) = failed else {
            return false;
        };
        let rest: Vec<_> = self
            .transports
            .iter()
            .copied()
            .filter(|t| *t != lower)
            .collect();
        match rest.first() {
            Some(next) => {
                self.transport_switched(lower, *next, why);
                self.switch_transport(rest, now);
            }
            None => {
                let why = format!("cannot receive over {}: {why}", name_of(lower));
                let error = self.error(ErrorKind::NoTransport, Phase::Setup, why);
                self.lost(&error, now);
            }
        }
        true
    }

    /// A stream in a new description: its caps may be others. Another encoding
    /// ends the pad, and a new one of the same name takes its place.
    fn follow_description(
        &mut self,
        at: usize,
        sdp: &sdp::Session,
        media: &Media,
    ) -> Option<usize> {
        let caps = caps::media_caps(sdp, media)?;
        let rtpmap = media.rtpmap(*caps::pad_payload_types(media).first()?)?;
        let stream = self.streams.get_mut(at)?;
        if stream
            .encoding_name
            .eq_ignore_ascii_case(&rtpmap.encoding_name)
        {
            stream.caps = caps;
            stream.clock_rate = rtpmap.clock_rate;
            stream.control = media.control().map(str::to_string);
            return Some(at);
        }
        gst::info!(
            CAT,
            "{}: {} is {} now",
            self.config.server.url,
            stream.pad().name(),
            rtpmap.encoding_name
        );
        let old = self.streams.remove(at);
        let name = old.pad().name().to_string();
        let host = self.host.clone();
        self.foreign.run(move || {
            // Nothing new is pushed; what is under way ends by itself.
            old.shared.delivery.close();
            old.pad().push_event(gst::event::Eos::new());
            host.remove_pad(old.pad());
        });
        self.new_stream(sdp, media, at, name)
    }

    /// A stream whose pad is not on the element yet, at this place of the list.
    fn new_stream(
        &mut self,
        sdp: &sdp::Session,
        media: &Media,
        at: usize,
        name: String,
    ) -> Option<usize> {
        let element = self.host.element()?;
        let caps = caps::media_caps(sdp, media)?;
        let payload_type = caps::pad_payload_types(media).first().copied()?;
        let rtpmap = media.rtpmap(payload_type)?;
        let pad = self.host.new_pad(&name)?;
        let key = self.next_stream_key;
        self.next_stream_key = key.saturating_add(1);
        let outcomes = self.outcomes.0.clone();
        let delivery = Delivery::new(
            pad.clone(),
            &element,
            self.runtimes.clone(),
            Feeding {
                // What makes room for a reader may not push in its place.
                mode: match self.config.live {
                    true => self.config.delivery,
                    false => DeliveryMode::Thread,
                },
                buffer_lists: self.config.buffer_lists,
                live: self.config.live,
                gate: (!self.config.live).then(|| self.gate.clone()),
            },
            Box::new(move |outcome| {
                // A session that has gone does not care.
                let _ = outcomes.send((key, outcome));
            }),
        );
        self.inputs.generation.add(delivery.clone());
        let shared = Shared::new(delivery, self.config.latency);
        let stream_id = pad.create_stream_id(&element, Some(&name));
        let stream = Stream {
            key,
            media: media.index,
            control: media.control().map(str::to_string),
            kind: media.kind.clone(),
            encoding_name: rtpmap.encoding_name.to_ascii_uppercase(),
            clock_rate: rtpmap.clock_rate,
            gst_stream: stream::gst_stream(&stream_id, &media.kind, &caps),
            caps,
            shared,
            path: None,
            gap_until: None,
            silent_told: false,
            bye: None,
            eos: false,
            presented: false,
        };
        stream.shared.set_pipeline_latency(self.pipeline_latency);
        let drop = self.config.drop_on_latency;
        stream.shared.set_drop_on_latency(drop);
        self.streams.insert(at.min(self.streams.len()), stream);
        Some(at)
    }

    fn open_path(
        &mut self,
        at: usize,
        sdp: &sdp::Session,
        media: &Media,
        granted: Granted,
        now: Instant,
    ) -> std::io::Result<StreamPath> {
        let gone = || std::io::Error::from(std::io::ErrorKind::NotConnected);
        let srtp = match granted.keys.clone() {
            Some(keys) => Some(self.secure(media.index, keys).ok_or_else(gone)?),
            None => None,
        };
        let (srtp, own) = srtp.map(|s| (s.inbound, (s.ssrc, s.outbound))).unzip();
        let (own_ssrc, outbound) = own.unzip();
        self.look_at_clock();
        let stream = self.streams.get(at).ok_or_else(gone)?;
        let payload_types = caps::pad_payload_types(media);
        let payload_type = payload_types.first().copied().unwrap_or(0);
        let reliable = matches!(granted.path, Path::Tcp { .. });
        let avpf = matches!(granted.profile, Profile::Avpf | Profile::Savpf);
        let allowed = Allowed::new(media.attrs("rtcp-fb"), payload_type, avpf);
        let retransmissions: Vec<_> = media
            .rtx()
            .into_iter()
            .filter(|_| self.config.retransmission && !reliable && allowed.nack)
            .collect();
        let latency = nanos(self.config.latency);
        stream
            .shared
            .set_suite(granted.keys.as_ref().map(|keys| keys.suite));
        stream.shared.start_path();
        self.group.add(at, stream.shared.clone(), stream.clock_rate);
        let ingest = Ingest::new(
            ingest::Settings {
                index: at,
                encoding: Encoding::from_name(&stream.encoding_name),
                srtp,
                timing: self.config.timing.clone(),
                clock: ClockReader::new(self.inputs.clock.clone()),
                network_clock: (self.config.timing.rfc7273_sync)
                    .then(|| NetworkClock::of_media(sdp, media, self.runtimes.ctl()))
                    .flatten(),
                rtcp_mux: media.rtcp_mux(),
                caps: payload_types
                    .iter()
                    .filter_map(|pt| Some((*pt, caps::payload_caps(sdp, media, *pt)?)))
                    .collect(),
                receiver: rtp::Config {
                    clock_rate: stream.clock_rate,
                    payload_types,
                    latency,
                    reliable,
                    live: self.config.live,
                    probation: self.config.probation,
                    known_ssrc: granted.ssrc,
                    ntp_extension: ntp_extension(sdp, media),
                    nack: !retransmissions.is_empty(),
                    follow_clock: self.config.follow_clock,
                    rtx_time: retransmissions
                        .iter()
                        .find_map(|rtx| rtx.rtx_time)
                        .map(|ms| u64::from(ms).saturating_mul(1_000_000)),
                    ..rtp::Config::default()
                },
                rtx: (!retransmissions.is_empty()).then(|| rtx::Config {
                    apt: retransmissions
                        .iter()
                        .map(|rtx| (rtx.payload_type, rtx.associated))
                        .collect(),
                    fid: media
                        .ssrc_groups()
                        .filter(|group| group.semantics.eq_ignore_ascii_case("FID"))
                        .filter_map(|group| Some((*group.ssrcs.first()?, *group.ssrcs.get(1)?)))
                        .collect(),
                }),
            },
            stream.shared.clone(),
            self.group.clone(),
            self.facts.0.clone(),
        );
        let ingest = Arc::new(std::sync::Mutex::new(ingest));
        let udp = self.open_sockets(media, sdp, &granted.path, &ingest)?;
        let reporter = Reporter::new(
            report::Config {
                ssrc: own_ssrc,
                avoid: granted.ssrc.into_iter().collect(),
                cname: self.cname.clone(),
                sdes: self.config.sdes.clone(),
                bandwidth: report::Bandwidth {
                    session: media
                        .bandwidth(sdp, BandwidthKind::As)
                        .or_else(|| media.bandwidth(sdp, BandwidthKind::Tias)),
                    rs: media.bandwidth(sdp, BandwidthKind::Rs),
                    rr: media.bandwidth(sdp, BandwidthKind::Rr),
                },
                avpf,
                reduced_size: avpf && media.attr("rtcp-rsize").is_some(),
                ..report::Config::default()
            },
            now,
            rand::rng().random(),
        );
        let punching = self.config.nat_punching
            && matches!(
                granted.path,
                Path::Udp {
                    send_to_server: true,
                    ..
                }
            );
        Ok(StreamPath {
            ingest,
            udp,
            reporter,
            outbound,
            key_units: KeyUnits::new(allowed),
            punch: punching.then(|| punch::Schedule::new(now)),
            payload_types: media.formats.clone(),
            granted: granted.path,
        })
    }

    fn open_sockets(
        &mut self,
        media: &Media,
        sdp: &sdp::Session,
        path: &Path,
        ingest: &crate::session::media::SharedIngest,
    ) -> std::io::Result<Option<UdpPath>> {
        let clock = self.inputs.clock.clone();
        match path {
            Path::Tcp { rtp, rtcp } => {
                if let Some(link) = self
                    .attempt
                    .as_ref()
                    .and_then(|attempt| attempt.link.as_ref())
                {
                    lock(&link.demux).add(ingest, *rtp, *rtcp);
                }
                Ok(None)
            }
            Path::Udp {
                server, rtp, rtcp, ..
            } => {
                let pair = self
                    .attempt
                    .as_mut()
                    .and_then(|attempt| attempt.pairs.remove(&media.index));
                let pair = match pair {
                    Some(pair) => pair,
                    None => return Err(std::io::ErrorKind::AddrNotAvailable.into()),
                };
                let peer = MediaPeer::new(
                    self.peer().map_or(*server, |peer| peer.ip()),
                    Some(*server),
                    rtp.map(|port| (port, *rtcp)),
                );
                let filters = (peer.rtp_filter(), peer.rtcp_filter());
                let io = self.runtimes.io();
                Ok(Some(UdpPath::start(
                    io,
                    pair,
                    ingest.clone(),
                    clock,
                    filters,
                    true,
                )))
            }
            Path::Multicast {
                group,
                rtp,
                rtcp,
                ttl,
                source,
            } => {
                let interface = match &self.config.server.multicast_iface {
                    Some(name) => multicast::Interface::by_name(name)?,
                    None => multicast::Interface::owning(self.local())
                        .unwrap_or_else(|_| multicast::Interface::any()),
                };
                gst::info!(
                    CAT,
                    "joining {group} port {rtp} on interface {:?}",
                    interface.name
                );
                let group = multicast::Group {
                    address: *group,
                    rtp_port: *rtp,
                    rtcp_port: Some(*rtcp),
                    ttl: Some(*ttl),
                    source: *source,
                };
                let entered = self.runtimes.io().enter();
                let pair = multicast::join(&group, &interface)?;
                drop(entered);
                self.size_buffer(&pair);
                let excluded: Vec<_> = media
                    .source_filters(sdp)
                    .into_iter()
                    .filter(|filter| !filter.include && filter.applies_to(group.address))
                    .flat_map(|filter| filter.sources)
                    .collect();
                let filter = || match source {
                    Some(source) => SourceFilter::host(*source),
                    None => SourceFilter::any_but(excluded.iter().copied()),
                };
                let filters = (filter(), filter());
                let io = self.runtimes.io();
                Ok(Some(UdpPath::start(
                    io,
                    pair,
                    ingest.clone(),
                    clock,
                    filters,
                    false,
                )))
            }
        }
    }

    /// All SETUPs are done: new streams get their pads.
    pub(super) fn ready(&mut self, now: Instant) {
        if let Some(link) = self
            .attempt
            .as_mut()
            .and_then(|attempt| attempt.link.as_mut())
        {
            link.permit = None;
        }
        if let Some(attempt) = &mut self.attempt {
            // Ports that were offered in vain.
            attempt.pairs.clear();
        }
        if self.nothing_received(now) {
            return;
        }
        self.inputs.snapshot.update(|stats| stats.state = "ready");
        if self.streams.iter().all(|stream| stream.presented) {
            self.play_if_wished(now);
            return;
        }
        let streams = self.streams.iter().map(|stream| StreamStats {
            name: stream.pad().name().to_string(),
            media: stream.kind.clone(),
            encoding_name: stream.encoding_name.clone(),
            clock_rate: stream.clock_rate,
            shared: stream.shared.clone(),
            looked: Default::default(),
        });
        self.inputs.snapshot.set_streams(streams.collect());
        let collection = gst::StreamCollection::builder(None)
            .streams(self.streams.iter().map(|stream| stream.gst_stream.clone()))
            .build();
        let presentations: Vec<_> = self
            .streams
            .iter_mut()
            .filter_map(|stream| {
                (!std::mem::replace(&mut stream.presented, true)).then_some(stream)
            })
            .map(|stream| Presentation {
                pad: stream.pad().clone(),
                caps: stream.caps.clone(),
                stream: stream.gst_stream.clone(),
            })
            .collect();
        let (host, generation) = (self.host.clone(), self.inputs.generation.clone());
        self.presenting = Some(
            self.foreign
                .ask(move || stream::present(&*host, &generation, &collection, presentations)),
        );
    }

    /// The pads are on the element.
    pub(super) fn presented(&mut self, now: Instant) {
        self.presented_at = Some(now);
        for event in self.early_events.drain(..) {
            for stream in &self.streams {
                stream.shared.delivery.event(event.clone());
            }
        }
        if self.eos {
            self.send_eos();
        }
        self.play_if_wished(now);
    }
}
