//! The URI schemes of `rtspsink2`.

use gst::subclass::prelude::*;

use super::imp::RtspSink2;

impl URIHandlerImpl for RtspSink2 {
    const URI_TYPE: gst::URIType = gst::URIType::Sink;

    fn protocols() -> &'static [&'static str] {
        // Only those that work today.
        &[
            "rtsp", "rtspu", "rtspt", "rtsph", "rtsps", "rtspsu", "rtspst", "rtspsh", "rtsp+ws",
            "rtsps+ws", "rtspws", "rtspwss", "ws", "wss",
        ]
    }

    fn uri(&self) -> Option<String> {
        self.location()
    }

    fn set_uri(&self, uri: &str) -> Result<(), glib::Error> {
        self.set_location(Some(uri))
            .map_err(|error| glib::Error::new(gst::URIError::BadUri, &error))
    }
}
