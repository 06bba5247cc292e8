//! What the `stats` property of a publishing element shows.

use std::sync::atomic::{AtomicU64, Ordering::*};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gst::prelude::*;

use super::super::lock::lock;
use super::super::spans::nanos;
use super::super::stats::SessionStats;
use super::lane::Lane;
use super::task::Stream;
use crate::rtsp::url::Url;

/// The session, as it was when something last changed; the streams are read at
/// the moment of the question.
pub(super) struct Snapshot {
    session: Mutex<SessionStats>,
    streams: Mutex<Vec<StreamStats>>,
    estimated_bitrate: AtomicU64,
}

struct StreamStats {
    name: String,
    media: String,
    encoding_name: String,
    clock_rate: u32,
    lane: Arc<Lane>,
    /// Time, bytes and bitrate of the last look.
    looked: (Instant, u64, u64),
}

impl Snapshot {
    pub fn new(url: &Url) -> Self {
        Self {
            session: Mutex::new(SessionStats::new(url)),
            streams: Mutex::default(),
            estimated_bitrate: AtomicU64::new(0),
        }
    }

    pub fn update(&self, change: impl FnOnce(&mut SessionStats)) {
        change(&mut lock(&self.session));
    }

    pub fn set_streams(&self, streams: &[Stream]) {
        let streams = streams.iter().map(|stream| StreamStats {
            name: stream.description.name.clone(),
            media: stream.description.media.kind.clone(),
            encoding_name: stream.description.encoding_name().to_string(),
            clock_rate: stream.description.clock_rate(),
            lane: stream.lane.clone(),
            looked: (Instant::now(), stream.lane.stats().sender.bytes, 0),
        });
        *lock(&self.streams) = streams.collect();
    }

    pub fn set_estimated_bitrate(&self, bits_per_second: u64) {
        self.estimated_bitrate.store(bits_per_second, Relaxed);
    }

    pub fn estimated_bitrate(&self) -> u64 {
        self.estimated_bitrate.load(Relaxed)
    }

    pub fn structure(&self) -> gst::Structure {
        let session = lock(&self.session).clone();
        let streams: Vec<_> = lock(&self.streams)
            .iter_mut()
            .map(|stream| stream.structure().to_send_value())
            .collect();
        session
            .fields("application/x-rtspsink2-stats")
            .field("estimated-bitrate", self.estimated_bitrate())
            .field("streams", gst::List::new(streams))
            .build()
    }
}

impl StreamStats {
    fn structure(&mut self) -> gst::Structure {
        let stats = self.lane.stats();
        let sender = stats.sender;
        let bitrate = self.bitrate(sender.bytes);
        gst::Structure::builder("stream")
            .field("name", &self.name)
            .field("media", &self.media)
            .field("encoding-name", &self.encoding_name)
            .field("clock-rate", self.clock_rate)
            .field("ssrc", sender.ssrc.unwrap_or(0))
            .field("packets", sender.packets)
            .field("bytes", sender.bytes)
            .field("bitrate", bitrate)
            .field(
                "queued-bytes",
                u64::try_from(stats.queued_bytes).unwrap_or(u64::MAX),
            )
            .field("queued-time", nanos(stats.queued_time))
            .field("dropped", stats.dropped.packets)
            .field("dropped-units", stats.dropped.units)
            .field("dropped-bytes", stats.dropped.bytes)
            .field("dropped-disconnected", stats.lost)
            .field("discarded-invalid", stats.invalid)
            .field_if_some("srtp", stats.suite)
            .field("reports-unauthentic", stats.unauthentic)
            .field("key-unit-requests", stats.dropped.key_requests)
            .field("retransmitted", sender.retransmitted)
            .field("nacked", sender.nacked)
            .field("pli", sender.pli)
            .field("fir", sender.fir)
            .field("reports", sender.reports)
            .field("reported-fraction-lost", sender.fraction_lost)
            .field("reported-lost", sender.cumulative_lost)
            .field("reported-jitter", nanos(sender.jitter))
            .field_if_some("rtt", sender.rtt.map(nanos))
            .build()
    }

    /// Since the last look, which was some time ago.
    fn bitrate(&mut self, bytes: u64) -> u64 {
        let (since, before, last) = self.looked;
        let elapsed = since.elapsed();
        if elapsed < Duration::from_millis(500) && last > 0 {
            return last;
        }
        let bits = bytes.saturating_sub(before).saturating_mul(8);
        let micros = u64::try_from(elapsed.as_micros())
            .unwrap_or(u64::MAX)
            .max(1);
        let rate = bits
            .saturating_mul(1_000_000)
            .checked_div(micros)
            .unwrap_or(0);
        self.looked = (Instant::now(), bytes, rate);
        rate
    }
}
