//! Signals of both elements that show the application RTSP and SDP messages, to be changed.

use glib::prelude::*;
use glib::subclass::{Signal, SignalId};
use gst_rtsp::gst_sdp::SDPMessage;
use gst_rtsp_message::{Parts, RTSPMessage, Start, emit_shared};

use crate::rtsp::message::{Headers, Method, Request, Response, Version};
use crate::session::{Review, Reviewed};

/// A request of the server, and the answer to it.
const HANDLE_REQUEST: &str = "handle-request";
/// A request, before it gets its number and credentials.
const BEFORE_SEND: &str = "before-send";
/// The description of what is to be played, and of what is published.
const ON_SDP: &str = "on-sdp";
const UPDATE_SDP: &str = "update-sdp";

pub(crate) fn handle_request() -> Signal {
    let message = RTSPMessage::static_type();
    Signal::builder(HANDLE_REQUEST)
        .param_types([message, message])
        .build()
}

/// It has no default handler, so that nothing is made for it while nobody is connected.
pub(crate) fn before_send() -> Signal {
    Signal::builder(BEFORE_SEND)
        .param_types([RTSPMessage::static_type()])
        .return_type::<bool>()
        .run_last()
        .accumulator(|_, _, value| first_refusal(value))
        .build()
}

pub(crate) fn on_sdp() -> Signal {
    sdp_signal(ON_SDP)
}

pub(crate) fn update_sdp() -> Signal {
    sdp_signal(UPDATE_SDP)
}

fn sdp_signal(name: &str) -> Signal {
    Signal::builder(name)
        .param_types([SDPMessage::static_type()])
        .build()
}

/// The first handler that refuses decides.
pub(crate) fn first_refusal(
    value: &glib::Value,
) -> std::ops::ControlFlow<glib::Value, glib::Value> {
    match value.get::<bool>().unwrap_or(true) {
        true => std::ops::ControlFlow::Continue(value.clone()),
        false => std::ops::ControlFlow::Break(value.clone()),
    }
}

/// Whether a handler is connected.
pub(crate) fn reviews(element: &gst::Element, what: &Review) -> bool {
    signal_of(element, what)
        .is_some_and(|(_, id)| glib::signal::signal_has_handler_pending(element, id, None, false))
}

/// Emits the signal; what its handlers have changed.
pub(crate) fn review(element: &gst::Element, what: Review) -> Reviewed {
    let Some((signal, _)) = signal_of(element, &what) else {
        return Reviewed::Unchanged;
    };
    let changed = match what {
        Review::Request(request) => review_request(element, signal, request),
        Review::ServerRequest(request, response) => {
            review_server_request(element, signal, &request, response)
        }
        Review::Description(text) => review_description(element, signal, &text),
    };
    changed.unwrap_or(Reviewed::Unchanged)
}

fn signal_of(element: &gst::Element, what: &Review) -> Option<(&'static str, SignalId)> {
    let names: &[&'static str] = match what {
        Review::Request(_) => &[BEFORE_SEND],
        Review::ServerRequest(..) => &[HANDLE_REQUEST],
        Review::Description(_) => &[ON_SDP, UPDATE_SDP],
    };
    let found = |name: &&'static str| Some((*name, SignalId::lookup(name, element.type_())?));
    names.iter().find_map(found)
}

fn review_request(element: &gst::Element, signal: &str, request: Request) -> Option<Reviewed> {
    let message = parts_of_request(&request).to_message()?;
    let before = Parts::of_message(&message);
    let (args, send) = emit_shared(element, signal, vec![message.to_value()]);
    if !send.and_then(|send| send.get().ok()).unwrap_or(true) {
        return Some(Reviewed::NotSent);
    }
    let after = message_of(args.first()?);
    if after == before {
        return None;
    }
    let Parts {
        start: Start::Request { method, uri },
        headers,
        body,
        ..
    } = after?
    else {
        return None;
    };
    // What would break the request line.
    if uri.is_empty() || uri.contains(|c: char| c.is_control() || c == ' ') {
        return None;
    }
    Some(Reviewed::Request(Request {
        method: Method::from(method.as_str()),
        uri,
        headers: headers_of(headers),
        body,
        ..request
    }))
}

fn review_server_request(
    element: &gst::Element,
    signal: &str,
    request: &Request,
    response: Response,
) -> Option<Reviewed> {
    let version = response.version;
    let request = parts_of_request(request).to_message()?;
    let response = Parts {
        start: Start::Response {
            status: response.status,
            reason: response.reason,
        },
        headers: parts_of_headers(&response.headers),
        body: response.body,
        v2: version == Version::V2_0,
    };
    let args = vec![request.to_value(), response.to_message()?.to_value()];
    let (args, _) = emit_shared(element, signal, args);
    let Parts {
        start: Start::Response { status, reason },
        headers,
        body,
        ..
    } = message_of(args.get(1)?)?
    else {
        return None;
    };
    let mut response = Response::new(status, reason.replace(['\r', '\n'], " "), version);
    response.headers = headers_of(headers);
    response.body = body;
    Some(Reviewed::ServerRequest(response))
}

fn review_description(element: &gst::Element, signal: &str, text: &[u8]) -> Option<Reviewed> {
    let sdp = SDPMessage::parse_buffer(text).ok()?;
    // GStreamer writes less than it reads: what nobody has touched stays as it was.
    let before = sdp.as_text().ok();
    let (args, _) = emit_shared(element, signal, vec![sdp.to_value()]);
    let after = args.first()?.get::<SDPMessage>().ok()?.as_text().ok()?;
    (Some(&after) != before.as_ref()).then(|| Reviewed::Description(after.into_bytes()))
}

fn message_of(value: &glib::Value) -> Option<Parts> {
    Parts::of_message(value.get::<&RTSPMessage>().ok()?)
}

fn parts_of_request(request: &Request) -> Parts {
    Parts {
        start: Start::Request {
            method: request.method.to_string(),
            uri: request.uri.clone(),
        },
        headers: parts_of_headers(&request.headers),
        body: request.body.clone(),
        v2: request.version == Version::V2_0,
    }
}

fn parts_of_headers(headers: &Headers) -> Vec<(String, Vec<u8>)> {
    let headers = headers.iter();
    headers
        .map(|(name, value)| (name.to_string(), value.to_vec()))
        .collect()
}

/// Names that are none are left out (RFC 2326 §15.1), and what goes by the body.
fn headers_of(headers: Vec<(String, Vec<u8>)>) -> Headers {
    let mut read = Headers::new();
    for (name, value) in headers {
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.chars().all(token) && !name.eq_ignore_ascii_case("Content-Length") {
            read.push(name, value);
        }
    }
    read
}
