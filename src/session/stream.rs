//! One stream of the presentation: its pad, and how it is presented.

use std::sync::atomic::{AtomicBool, Ordering::*};
use std::sync::{Arc, Mutex};

use gst::prelude::*;

use super::delivery::Delivery;
use super::lock::lock;
use super::media::{SharedIngest, UdpPath};
use super::shared::Shared;
use super::{CAT, Host};
use crate::caps::PlayFields;
use crate::rtp::feedback::KeyUnits;
use crate::rtp::report::Reporter;
use crate::rtp::srtp::Outbound;
use crate::rtsp::client::Path;

/// From READY→PAUSED to PAUSED→READY. What is still under way afterwards
/// belongs to a generation that has ended, and changes nothing any more.
#[derive(Default)]
pub(super) struct Generation {
    ended: AtomicBool,
    deliveries: Mutex<Vec<Arc<Delivery>>>,
}

impl Generation {
    pub fn has_ended(&self) -> bool {
        self.ended.load(Acquire)
    }

    /// Ends it at once, from whichever thread.
    pub fn end(&self) {
        self.ended.store(true, Release);
        for delivery in lock(&self.deliveries).drain(..) {
            delivery.close();
        }
    }

    pub fn add(&self, delivery: Arc<Delivery>) {
        let mut deliveries = lock(&self.deliveries);
        if self.has_ended() {
            delivery.close();
        } else {
            deliveries.retain(|delivery| !delivery.is_closed());
            deliveries.push(delivery);
        }
    }
}

pub(super) struct Stream {
    /// Names the stream in what its delivery reports.
    pub key: u64,
    /// Index of the m= section in the current description.
    pub media: usize,
    /// As the control attribute names it; streams are found again by it.
    pub control: Option<String>,
    pub kind: String,
    pub encoding_name: String,
    pub clock_rate: u32,
    pub caps: gst::Caps,
    pub shared: Arc<Shared>,
    pub gst_stream: gst::Stream,
    /// The connection of the current attempt; None while there is none.
    pub path: Option<StreamPath>,
    /// Silent since this, as far as GAPs were sent.
    pub gap_until: Option<u64>,
    /// Reported as silent already.
    pub silent_told: bool,
    pub bye: Option<std::time::Instant>,
    pub eos: bool,
    /// Its pad was given to the element.
    pub presented: bool,
}

/// How a stream is received in the current attempt.
pub(super) struct StreamPath {
    pub ingest: SharedIngest,
    pub granted: Path,
    pub udp: Option<UdpPath>,
    pub reporter: Reporter,
    /// Protects the reports of a secured stream.
    pub outbound: Option<Outbound>,
    pub key_units: KeyUnits,
    pub punch: Option<crate::net::punch::Schedule>,
    /// All payload types of the media, which a punching packet avoids.
    pub payload_types: Vec<u8>,
}

impl Stream {
    pub fn pad(&self) -> &gst::Pad {
        self.shared.delivery.pad()
    }

    /// CAPS for the pad, with what the reply to PLAY says.
    pub fn caps_event(&self, fields: &PlayFields) -> gst::Event {
        gst::event::Caps::new(&crate::caps::with_play_fields(&self.caps, fields))
    }
}

/// What a stream's pad starts with.
pub(super) struct Presentation {
    pub pad: gst::Pad,
    pub caps: gst::Caps,
    pub stream: gst::Stream,
}

/// The stream that a pad carries.
pub(super) fn gst_stream(stream_id: &str, kind: &str, caps: &gst::Caps) -> gst::Stream {
    let (kind, flags) = match kind {
        "video" => (gst::StreamType::VIDEO, gst::StreamFlags::SELECT),
        "audio" => (gst::StreamType::AUDIO, gst::StreamFlags::SELECT),
        "text" => (gst::StreamType::TEXT, gst::StreamFlags::SPARSE),
        _ => (gst::StreamType::UNKNOWN, gst::StreamFlags::SPARSE),
    };
    gst::Stream::new(Some(stream_id), Some(caps), kind, flags)
}

/// Adds the pads to the element and says that these were all. False if the
/// generation ended meanwhile: then no pad stays.
pub(super) fn present(
    host: &dyn Host,
    generation: &Generation,
    collection: &gst::StreamCollection,
    presentations: Vec<Presentation>,
) -> bool {
    let Some(element) = host.element() else {
        return false;
    };
    let group = gst::GroupId::next();
    let announcement = gst::message::StreamCollection::builder(collection)
        .src(&element)
        .build();
    let _ = element.post_message(announcement);
    for presentation in &presentations {
        if generation.has_ended() {
            return false;
        }
        let pad = &presentation.pad;
        let _ = pad.set_active(true);
        let stream_id = presentation.stream.stream_id().unwrap_or_default();
        let start = gst::event::StreamStart::builder(&stream_id)
            .group_id(group)
            .stream(presentation.stream.clone())
            .flags(presentation.stream.stream_flags())
            .build();
        let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
        segment.set_start(gst::ClockTime::ZERO);
        let sticky = [
            start,
            gst::event::Caps::new(&presentation.caps),
            gst::event::StreamCollection::new(collection),
            gst::event::Segment::new(&segment),
        ];
        for event in &sticky {
            let _ = pad.store_sticky_event(event);
        }
        if let Err(error) = element.add_pad(pad) {
            gst::error!(CAT, obj = element, "{}: {error}", pad.name());
        }
        // The state change that ended the generation may have looked for pads
        // before this one was added.
        if generation.has_ended() {
            host.remove_pad(pad);
            return false;
        }
    }
    element.no_more_pads();
    let _ = element.post_message(gst::message::Latency::builder().src(&element).build());
    true
}
