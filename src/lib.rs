//! RTSP elements for GStreamer: `rtspsrc2` plays live streams from RTSP servers,
//! `rtspsink2` publishes to them.
//!
//! Four floors, whose imports only point down: [`rtspsrc`] and [`rtspsink`] (the
//! elements), `session` (one task per element), [`net`] (sockets), and [`rtsp`] and
//! [`rtp`] (the protocols, sans-I/O).
#![forbid(unsafe_code)]

mod caps;
pub mod net;
pub mod rtp;
pub mod rtsp;
pub mod rtspsink;
pub mod rtspsrc;
mod session;
mod settings;
mod signals;

fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    rtspsrc::register(plugin)?;
    rtspsink::register(plugin)
}

gst::plugin_define!(
    rtsp2,
    env!("CARGO_PKG_DESCRIPTION"),
    plugin_init,
    concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")),
    "MPL-2.0",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    // Origin: there is no home page to name.
    env!("CARGO_PKG_NAME"),
    env!("BUILD_REL_DATE")
);
