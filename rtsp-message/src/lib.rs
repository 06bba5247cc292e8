//! `GstRTSPMessage` for Rust: how to make one, how to read it, and how to emit a signal whose
//! handlers edit it.
//!
//! `gstreamer-rtsp` has the type and nearly none of its functions, and emission in `glib` copies
//! boxed arguments, so that no handler's edit is ever seen. This crate is all of the plugin that
//! is not safe Rust; nothing in it depends on the plugin.
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

use std::ffi::{CStr, CString};
use std::ptr;

use glib::gobject_ffi;
use glib::prelude::*;
use glib::subclass::SignalId;
use glib::translate::*;
use gst_rtsp::ffi;
pub use gst_rtsp::rtsp_message::RTSPMessage;

/// What stands in the first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    Request { method: String, uri: String },
    Response { status: u16, reason: String },
}

/// A message in parts. Names and values of headers are in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    pub start: Start,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    /// RTSP 2.0 instead of 1.0.
    pub v2: bool,
}

impl Parts {
    /// None where GStreamer knows no such message: its methods are an enumeration, and no
    /// value may hold a NUL.
    pub fn to_message(&self) -> Option<RTSPMessage> {
        let message = self.start.to_message(self.v2)?;
        let raw: *mut ffi::GstRTSPMessage = message.to_glib_none().0;
        for (name, value) in &self.headers {
            let name = CString::new(name.as_str()).ok()?;
            let value = CString::new(value.as_slice()).ok()?;
            // SAFETY: the message is ours and initialised; both strings end in NUL and are copied.
            unsafe { ffi::gst_rtsp_message_add_header_by_name(raw, name.as_ptr(), value.as_ptr()) };
        }
        if !self.body.is_empty() {
            let length = self.body.len().try_into().ok()?;
            // SAFETY: as above; `length` bytes are copied.
            unsafe { ffi::gst_rtsp_message_set_body(raw, self.body.as_ptr(), length) };
        }
        Some(message)
    }

    /// What a message says now. None for data messages and methods that have no name.
    pub fn of_message(message: &RTSPMessage) -> Option<Self> {
        let raw: *mut ffi::GstRTSPMessage = message.to_glib_none().0;
        // SAFETY: `raw` is a valid message; what is read of it is copied before it is let go, and
        // the fields of the union are read as `type_` says.
        unsafe {
            let (start, version) = match (*raw).type_ {
                ffi::GST_RTSP_MESSAGE_REQUEST => {
                    let request = (*raw).type_data.request;
                    let method = text(ffi::gst_rtsp_method_as_text(request.method))?;
                    let uri = text(request.uri)?;
                    (Start::Request { method, uri }, request.version)
                }
                ffi::GST_RTSP_MESSAGE_RESPONSE => {
                    let response = (*raw).type_data.response;
                    let status = response.code.try_into().ok()?;
                    let reason = text(response.reason).unwrap_or_default();
                    (Start::Response { status, reason }, response.version)
                }
                _ => return None,
            };
            Some(Self {
                start,
                headers: headers(raw),
                body: body(raw),
                v2: version == ffi::GST_RTSP_VERSION_2_0,
            })
        }
    }
}

impl Start {
    fn to_message(&self, v2: bool) -> Option<RTSPMessage> {
        let version = match v2 {
            true => ffi::GST_RTSP_VERSION_2_0,
            false => ffi::GST_RTSP_VERSION_1_0,
        };
        let mut raw = ptr::null_mut();
        // SAFETY: `raw` receives a new message, which the wrapper then owns and frees; strings
        // end in NUL and are copied, and the union is written as the message's type says.
        unsafe {
            match self {
                Start::Request { method, uri } => {
                    let method = CString::new(method.as_str()).ok()?;
                    let uri = CString::new(uri.as_str()).ok()?;
                    let method = ffi::gst_rtsp_find_method(method.as_ptr());
                    if method == ffi::GST_RTSP_INVALID {
                        return None;
                    }
                    ffi::gst_rtsp_message_new_request(&mut raw, method, uri.as_ptr());
                    (*raw).type_data.request.version = version;
                }
                Start::Response { status, reason } => {
                    let reason = CString::new(reason.as_str()).ok()?;
                    let status = (*status).into();
                    let no_request = ptr::null();
                    ffi::gst_rtsp_message_new_response(
                        &mut raw,
                        status,
                        reason.as_ptr(),
                        no_request,
                    );
                    (*raw).type_data.response.version = version;
                }
            }
            Some(from_glib_full(raw))
        }
    }
}

/// # Safety
///
/// A string that ends in NUL, or NULL.
unsafe fn text(text: *const std::ffi::c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: promised by the caller.
    Some(
        unsafe { CStr::from_ptr(text) }
            .to_string_lossy()
            .into_owned(),
    )
}

/// The array of headers is private to GStreamer; it writes them out as lines.
///
/// # Safety
///
/// A valid message.
unsafe fn headers(raw: *mut ffi::GstRTSPMessage) -> Vec<(String, Vec<u8>)> {
    // SAFETY: the string is ours from here to `g_string_free`, and read in between.
    let lines = unsafe {
        let lines = glib::ffi::g_string_new(ptr::null());
        ffi::gst_rtsp_message_append_headers(raw, lines);
        let bytes = std::slice::from_raw_parts((*lines).str.cast::<u8>(), (*lines).len).to_vec();
        glib::ffi::g_string_free(lines, glib::ffi::GTRUE);
        bytes
    };
    lines
        .split(|byte| matches!(byte, b'\r' | b'\n'))
        .filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = line.split_at(colon);
            let name = String::from_utf8_lossy(name.trim_ascii()).into_owned();
            Some((name, value.get(1..)?.trim_ascii().to_vec()))
        })
        .filter(|(name, _)| !name.is_empty())
        .collect()
}

/// # Safety
///
/// A valid message.
unsafe fn body(raw: *mut ffi::GstRTSPMessage) -> Vec<u8> {
    let (mut data, mut length) = (ptr::null_mut(), 0);
    // SAFETY: the data belong to the message, which outlives the copy.
    unsafe {
        ffi::gst_rtsp_message_get_body(raw, &mut data, &mut length);
        match usize::try_from(length) {
            Ok(length) if length > 0 && !data.is_null() => {
                std::slice::from_raw_parts(data, length).to_vec()
            }
            _ => Vec::new(),
        }
    }
}

/// Emits a signal without details; handlers get the very arguments that are given back, with
/// whatever they made of boxed ones.
///
/// # Panics
///
/// If there is no such signal, or the arguments are not its own.
pub fn emit_shared(
    object: &impl IsA<glib::Object>,
    signal: &str,
    args: Vec<glib::Value>,
) -> (Vec<glib::Value>, Option<glib::Value>) {
    let object: &glib::Object = object.upcast_ref();
    let id = SignalId::lookup(signal, object.type_()).expect("a signal of the object");
    let query = id.query();
    let types: Vec<glib::Type> = query
        .param_types()
        .iter()
        .map(|ty| glib::Type::from(*ty))
        .collect();
    let given: Vec<glib::Type> = args.iter().map(glib::Value::type_).collect();
    assert_eq!(given, types, "{signal}");
    let mut values = Vec::with_capacity(args.len() + 1);
    values.push(object.to_value());
    values.extend(args);
    let return_type: glib::Type = query.return_type().into();
    let mut returned =
        (return_type != glib::Type::UNIT).then(|| glib::Value::from_type(return_type));
    let target = returned
        .as_mut()
        .map_or(ptr::null_mut(), |value| value.to_glib_none_mut().0);
    // SAFETY: `Value` is a `GValue` in the same layout; instance and arguments were checked
    // against the signal, and `target` is a value of its return type or NULL if it has none.
    unsafe {
        gobject_ffi::g_signal_emitv(
            values.as_ptr().cast::<gobject_ffi::GValue>(),
            id.into_glib(),
            0,
            target,
        );
    }
    values.remove(0);
    (values, returned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(start: Start) -> Parts {
        Parts {
            start,
            headers: vec![
                ("Accept".into(), b"application/sdp".to_vec()),
                ("X-Camera".into(), b"caf\xe9".to_vec()),
                ("Accept".into(), b"text/plain".to_vec()),
            ],
            body: b"a: 1\r\n".to_vec(),
            v2: false,
        }
    }

    #[test]
    fn a_message_says_what_it_was_made_of() {
        gst::init().unwrap();
        let request = parts(Start::Request {
            method: "GET_PARAMETER".into(),
            uri: "rtsp://h/x".into(),
        });
        let message = request.to_message().unwrap();
        assert_eq!(Parts::of_message(&message), Some(request));
        let response = Parts {
            v2: true,
            ..parts(Start::Response {
                status: 451,
                reason: "Parameter Not Understood".into(),
            })
        };
        let message = response.to_message().unwrap();
        assert_eq!(Parts::of_message(&message), Some(response));
    }

    #[test]
    fn what_gstreamer_cannot_hold_is_no_message() {
        gst::init().unwrap();
        let request = |method: &str, uri: &str| {
            parts(Start::Request {
                method: method.into(),
                uri: uri.into(),
            })
        };
        assert!(request("MAKE_COFFEE", "rtsp://h/").to_message().is_none());
        assert!(request("PLAY", "rtsp://h/\0").to_message().is_none());
        let mut nul = request("PLAY", "rtsp://h/");
        nul.headers.push(("X".into(), b"a\0b".to_vec()));
        assert!(nul.to_message().is_none());
    }
}
