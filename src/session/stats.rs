//! What the `stats` property shows.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gst::prelude::*;

use super::config::Config;
use super::lock::lock;
use super::seek::Track;
use super::shared::Shared;
use super::spans::nanos;
use super::watchdog::monotonic;
use crate::rtp::srtp::Suite;
use crate::rtsp::transport::LowerTransport;
use crate::rtsp::url::Url;

/// The session, as it was when something last changed; the streams are read
/// at the moment of the question.
pub(super) struct Snapshot {
    session: Mutex<SessionStats>,
    streams: Mutex<Vec<StreamStats>>,
    started: Instant,
}

#[derive(Debug, Clone)]
pub(super) struct SessionStats {
    /// `connecting`, `ready`, `playing`, `paused`, `waiting`, `failed`, `ended`.
    pub state: &'static str,
    pub url: String,
    pub transport: Option<&'static str>,
    pub server: Option<String>,
    pub peer: Option<String>,
    pub rtt: Option<Duration>,
    pub reconnects: u64,
    pub transport_switches: u64,
    /// In the order in which they showed.
    pub quirks: Vec<&'static str>,
    pub timeout: Option<Duration>,
    pub playing_since: Option<Instant>,
    /// What can be seeked in.
    pub track: Option<Track>,
    /// What is played of it.
    pub segment: Option<gst::FormattedSegment<gst::ClockTime>>,
    pub duration: Option<gst::ClockTime>,
    pub udp_buffer: Option<usize>,
    pub unknown_frames: u64,
    pub damaged_bytes: u64,
    pub refused_datagrams: u64,
    pub last_error: Option<String>,
}

impl SessionStats {
    pub fn new(url: &Url) -> Self {
        Self {
            state: "connecting",
            url: url.to_string(),
            transport: None,
            server: None,
            peer: None,
            rtt: None,
            reconnects: 0,
            transport_switches: 0,
            quirks: Vec::new(),
            timeout: None,
            playing_since: None,
            track: None,
            segment: None,
            duration: None,
            udp_buffer: None,
            unknown_frames: 0,
            damaged_bytes: 0,
            refused_datagrams: 0,
            last_error: None,
        }
    }

    /// The structure, to which the streams are to be added.
    pub fn fields(self, name: &str) -> gst::structure::Builder {
        gst::Structure::builder(name)
            .field("state", self.state)
            .field("url", self.url)
            .field_if_some("transport", self.transport)
            .field_if_some("server", self.server)
            .field_if_some("peer", self.peer)
            .field_if_some("rtt", self.rtt.map(nanos))
            .field(
                "uptime",
                self.playing_since.map_or(0, |since| nanos(since.elapsed())),
            )
            .field("reconnects", self.reconnects)
            .field("transport-switches", self.transport_switches)
            .field("session-timeout", self.timeout.map_or(0, nanos))
            .field("quirks", gst::List::new(self.quirks))
            .field_if_some(
                "udp-buffer-size",
                self.udp_buffer
                    .map(|size| u64::try_from(size).unwrap_or(u64::MAX)),
            )
            .field("unknown-frames", self.unknown_frames)
            .field("damaged-bytes", self.damaged_bytes)
            .field("refused-datagrams", self.refused_datagrams)
            .field_if_some("last-error", self.last_error)
    }
}

pub(super) struct StreamStats {
    pub name: String,
    pub media: String,
    pub encoding_name: String,
    pub clock_rate: u32,
    pub shared: Arc<Shared>,
    /// Packets and time of the last look, for the bitrate.
    pub looked: Mutex<Option<(Instant, u64, u64)>>,
}

impl Snapshot {
    pub fn new(config: &Config) -> Self {
        Self {
            session: Mutex::new(SessionStats::new(&config.server.url)),
            streams: Mutex::default(),
            started: Instant::now(),
        }
    }

    pub fn update(&self, change: impl FnOnce(&mut SessionStats)) {
        change(&mut lock(&self.session));
    }

    pub fn set_streams(&self, streams: Vec<StreamStats>) {
        *lock(&self.streams) = streams;
    }

    pub fn quirks(&self) -> Vec<&'static str> {
        lock(&self.session).quirks.clone()
    }

    pub fn duration(&self) -> Option<gst::ClockTime> {
        lock(&self.session).duration
    }

    pub fn track(&self) -> Option<Track> {
        lock(&self.session).track
    }

    pub fn segment(&self) -> Option<(f64, Option<gst::ClockTime>, Option<gst::ClockTime>)> {
        let session = lock(&self.session);
        let segment = session.segment.as_ref()?;
        Some((
            segment.rate(),
            segment.start(),
            segment.stop().or(session.duration),
        ))
    }

    /// Stream time that a pad has got to, or the furthest of all.
    pub fn position(&self, pad: Option<&str>) -> Option<gst::ClockTime> {
        let streams = lock(&self.streams);
        let wanted = streams
            .iter()
            .filter(|stream| pad.is_none_or(|pad| stream.name == pad));
        wanted
            .filter_map(|stream| stream.shared.delivery.position())
            .max()
    }

    pub fn structure(&self) -> gst::Structure {
        let session = lock(&self.session).clone();
        let streams: Vec<_> = lock(&self.streams)
            .iter()
            .map(|stream| self.stream(stream).to_send_value())
            .collect();
        session
            .fields("application/x-rtspsrc2-stats")
            .field("streams", gst::List::new(streams))
            .build()
    }

    fn stream(&self, stream: &StreamStats) -> gst::Structure {
        let reception = stream.shared.total();
        let now = monotonic();
        let last = stream.shared.last_rtp();
        let bitrate = {
            let mut looked = lock(&stream.looked);
            let (since, bytes, last) = looked.unwrap_or((self.started, 0, 0));
            let elapsed = since.elapsed();
            if elapsed < Duration::from_millis(500) && last > 0 {
                last
            } else {
                let bits = reception.bytes.saturating_sub(bytes).saturating_mul(8);
                let micros = u64::try_from(elapsed.as_micros())
                    .unwrap_or(u64::MAX)
                    .max(1);
                let rate = bits
                    .saturating_mul(1_000_000)
                    .checked_div(micros)
                    .unwrap_or(0);
                *looked = Some((Instant::now(), reception.bytes, rate));
                rate
            }
        };
        let jitter = u64::from(reception.jitter)
            .saturating_mul(1_000_000_000)
            .checked_div(stream.clock_rate.into())
            .unwrap_or(0);
        let discarded = reception.discarded;
        gst::Structure::builder("stream")
            .field("name", &stream.name)
            .field("media", &stream.media)
            .field("encoding-name", &stream.encoding_name)
            .field("clock-rate", stream.clock_rate)
            .field("ssrc", reception.ssrc.unwrap_or(0))
            .field("packets", reception.packets)
            .field("bytes", reception.bytes)
            .field("lost", reception.lost)
            .field("reordered", reception.reordered)
            .field("duplicate", reception.duplicates)
            .field("late", reception.late)
            .field("retransmitted", reception.retransmitted)
            .field("discarded-invalid", discarded.invalid)
            .field("discarded-payload-type", discarded.payload_type)
            .field("discarded-source", discarded.source)
            .field_if_some("srtp", stream.shared.suite().map(Suite::name))
            .field(
                "discarded-unauthentic",
                stream.shared.unauthentic.load(Relaxed),
            )
            .field("discarded-replayed", stream.shared.replayed.load(Relaxed))
            .field("discarded-sequence", discarded.sequence)
            .field("resyncs", reception.resyncs)
            .field("dropped", stream.shared.delivery.dropped())
            .field("jitter", jitter)
            .field("timing", reception.timing.as_str())
            .field("bitrate", bitrate)
            .field_if_some("last-packet-age", last.map(|at| now.saturating_sub(at)))
            .field("paused-drops", stream.shared.paused_drops.load(Relaxed))
            .field("silent", last.is_none())
            .build()
    }
}

/// As the `stats` property and messages name it.
pub(super) fn name_of(transport: LowerTransport) -> &'static str {
    match transport {
        LowerTransport::Tcp => "tcp",
        LowerTransport::Udp => "udp",
        LowerTransport::UdpMulticast => "multicast",
    }
}
