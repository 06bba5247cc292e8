//! What the session posts on the bus.

use gst::prelude::*;

use crate::rtsp::client::{Error, ErrorKind};

/// The GStreamer error that stands for a protocol error: the domain and code
/// that an application acts on.
pub(super) fn error_message(
    element: &gst::Element,
    error: &Error,
    transport: Option<&str>,
) -> gst::Message {
    let text = error.to_string();
    let details = details(error, transport);
    macro_rules! build {
        ($code:expr) => {
            gst::message::Error::builder($code, &text)
                .src(element)
                .details(details)
                .build()
        };
    }
    match error.kind {
        ErrorKind::NotFound => build!(gst::ResourceError::NotFound),
        ErrorKind::NotAuthorized | ErrorKind::Forbidden | ErrorKind::Certificate => {
            build!(gst::ResourceError::NotAuthorized)
        }
        ErrorKind::Busy => build!(gst::ResourceError::Busy),
        ErrorKind::Settings | ErrorKind::NoTransport => build!(gst::ResourceError::Settings),
        ErrorKind::WrongType => build!(gst::StreamError::WrongType),
        ErrorKind::Keys => build!(gst::StreamError::DecryptNokey),
        ErrorKind::Unsupported => build!(gst::StreamError::CodecNotFound),
        ErrorKind::Timeout | ErrorKind::SessionLost | ErrorKind::ServerTeardown => {
            match publishes(element) {
                true => build!(gst::ResourceError::Write),
                false => build!(gst::ResourceError::Read),
            }
        }
        ErrorKind::Connect | ErrorKind::Protocol | ErrorKind::ServerError | ErrorKind::Redirect => {
            match publishes(element) {
                true => build!(gst::ResourceError::OpenWrite),
                false => build!(gst::ResourceError::OpenRead),
            }
        }
    }
}

/// Fields an application can act on without reading the text.
fn details(error: &Error, transport: Option<&str>) -> gst::Structure {
    let mut details = gst::Structure::builder("details")
        .field("phase", error.phase.as_str())
        .field_if_some(
            "rtsp-method",
            error
                .method
                .as_ref()
                .map(|method| method.as_str().to_string()),
        )
        .field_if_some("rtsp-status-code", error.status.map(u32::from))
        .field_if_some("rtsp-status-reason", error.reason.clone())
        .build();
    if let Some(transport) = transport {
        details.set("transport", transport);
    }
    details
}

fn publishes(element: &gst::Element) -> bool {
    element.element_flags().contains(gst::ElementFlags::SINK)
}

/// An element message of ours: `rtspsrc2-<what>` or `rtspsink2-<what>`.
pub(super) fn element_message(
    element: &gst::Element,
    what: &str,
    fill: impl FnOnce(&mut gst::StructureRef),
) -> gst::Message {
    let sender = match publishes(element) {
        true => "rtspsink2",
        false => "rtspsrc2",
    };
    let mut structure = gst::Structure::new_empty(format!("{sender}-{what}"));
    fill(&mut structure);
    gst::message::Element::builder(structure)
        .src(element)
        .build()
}

/// What `GstRTSPSrcTimeout` says of its cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstRtsp2TimeoutCause")]
enum TimeoutCause {
    #[enum_value(name = "Silent for five RTCP intervals", nick = "rtcp")]
    Rtcp,
}

/// A source has sent neither RTP nor RTCP for so long that it counts as gone
/// (RFC 3550 §6.3.5), in the words of `rtspsrc`.
pub(super) fn source_timeout(element: &gst::Element, media: usize, ssrc: u32) -> gst::Message {
    let structure = gst::Structure::builder("GstRTSPSrcTimeout")
        .field("cause", TimeoutCause::Rtcp)
        .field("stream-number", i32::try_from(media).unwrap_or(i32::MAX))
        .field("ssrc", ssrc)
        .build();
    gst::message::Element::builder(structure)
        .src(element)
        .build()
}

/// A task must not die silently.
pub(super) fn post_panic(element: Option<gst::Element>) {
    if let Some(element) = element {
        let message = gst::message::Error::builder(
            gst::LibraryError::Failed,
            "Internal error: the RTSP session has crashed",
        )
        .src(&element)
        .build();
        let _ = element.post_message(message);
    }
}

/// As `GST_ELEMENT_FLOW_ERROR` says it.
pub(super) fn flow_error(
    element: &gst::Element,
    pad: &gst::Pad,
    error: gst::FlowError,
) -> gst::Message {
    let reason = format!("streaming stopped, reason {error} ({})", pad.name());
    let flow = gst::FlowReturn::from(error);
    gst::message::Error::builder(gst::StreamError::Failed, "Internal data stream error.")
        .src(element)
        .debug(&reason)
        .details(
            gst::Structure::builder("details")
                .field("flow-return", flow)
                .build(),
        )
        .build()
}
