//! `rtspsrc2`: plays an RTSP presentation, one RTP pad a stream.

use std::sync::atomic::Ordering;

use gst::prelude::*;

use crate::session;

mod backchannel;
mod imp;
mod pads;
mod parameters;
mod properties;
mod uri;

glib::wrapper! {
    /// The `rtspsrc2` element.
    ///
    /// It DESCRIBEs, SETs UP and PLAYs the presentation at `location` and
    /// exposes one source pad `stream_%u` of `application/x-rtp` for each
    /// media that was set up. It is live: READY to PAUSED returns
    /// `NO_PREROLL`, and no state change waits for the network.
    pub struct RtspSrc2(ObjectSubclass<imp::RtspSrc2>)
        @extends gst::Element, gst::Object,
        @implements gst::URIHandler;
}

pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    session::LINKED_STATICALLY.store(plugin.filename().is_none(), Ordering::Release);
    gst::Element::register(
        Some(plugin),
        "rtspsrc2",
        gst::Rank::NONE,
        RtspSrc2::static_type(),
    )
}
