//! `rtspsink2`: publishes to an RTSP server, one stream a request pad.

use std::sync::{Mutex, MutexGuard, PoisonError};

use gst::prelude::*;
use once_cell::sync::Lazy;

mod encoder;
mod gate;
mod host;
mod imp;
mod pad;
mod payloader;
mod properties;
mod publishing;
mod refclk;
mod rtp_sink;
mod running;
mod streams;
mod uri;

static CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new(
        "rtspsink2",
        gst::DebugColorFlags::empty(),
        Some("RTSP sink"),
    )
});

glib::wrapper! {
    /// The `rtspsink2` element.
    ///
    /// It ANNOUNCEs what its request pads `sink_%u` receive to the server at
    /// `location`, SETs it UP and RECORDs. A pad that gets `application/x-rtp`
    /// sends it as it is; any other gets the best payloader for its caps. It is
    /// a bin for the payloaders only. READY to PAUSED is asynchronous until
    /// every pad has prerolled and the server is ready.
    pub struct RtspSink2(ObjectSubclass<imp::RtspSink2>)
        @extends gst::Bin, gst::Element, gst::Object,
        @implements gst::ChildProxy, gst::URIHandler;
}

pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "rtspsink2",
        gst::Rank::NONE,
        RtspSink2::static_type(),
    )
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
