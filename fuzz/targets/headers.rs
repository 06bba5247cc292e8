//! One header line, `Name: value`, through the parser of that header.
#![no_main]

use fuzz::rtsp::auth::Authenticator;
use fuzz::rtsp::limits;
use fuzz::rtsp::message::{Headers, Method};
use fuzz::rtsp::range::Range;
use fuzz::rtsp::transport::Transport;
use fuzz::rtsp::url::{Credentials, Join, Url, base_url, redact, resolve_control};
use fuzz::rtsp::{parse, rtp_info, session_header};
use libfuzzer_sys::fuzz_target;

const URI: &str = "rtsp://192.0.2.1/stream";

fn transport(value: &str) {
    let alternatives = Transport::parse_list(value);
    assert!(alternatives.len() <= limits::TRANSPORT_ALTERNATIVES);
    for transport in alternatives {
        let _ = (transport.channels(), transport.server_ports());
        let _ = (transport.group(), transport.source_address());
    }
}

fn range(value: &str) {
    let Some(range) = Range::parse(value) else {
        return;
    };
    let _ = (range.starts_now(), range.is_closed(), range.duration());
    let _ = (range.start_ns(), range.end_ns(), range.is_reversed());
    let written = range.to_string();
    assert!(Range::parse(&written).is_some(), "{written}");
}

fn info(value: &str) {
    let entries = rtp_info::parse(value);
    assert!(entries.len() <= limits::RTP_INFO_ENTRIES);
    let url = format!("{URI}/track1");
    let _ = rtp_info::find(&entries, &url, URI, Some("track1"), true);
}

fn challenge(name: &str, value: &[u8]) {
    let mut headers = Headers::new();
    // Several challenges come as several header lines.
    for line in value.split(|byte| *byte == b'\n') {
        headers.push(name, line);
    }
    let mut authenticator = Authenticator::new(Some(Credentials {
        user: "user".into(),
        password: "secret".into(),
    }));
    for had_authorization in [false, true, true, true] {
        if authenticator
            .challenged(&headers, had_authorization, false)
            .is_err()
        {
            return;
        }
        for _ in 0..2 {
            let answer = authenticator.authorization(&Method::Describe, URI, b"");
            let answer = answer.expect("an accepted challenge is answered");
            assert!(!answer.iter().any(|byte| matches!(byte, b'\r' | b'\n')));
        }
    }
}

fn url(value: &str) {
    let _ = redact(value);
    let Ok(url) = Url::parse(value) else { return };
    let again = Url::parse(url.request_uri()).expect("what is sent can be read");
    assert!(again.credentials().is_none(), "{}", url.request_uri());
    // A zone means something here only, and is not sent.
    assert!(url.zone().is_some() || url.same_origin(&again));
    let _ = (url.path_and_query(), url.authority());
}

/// The base, and after a line end the control attribute.
fn base(name: &str, value: &str) {
    let (base, control) = value.split_once('\n').unwrap_or((value, "track1"));
    let mut headers = Headers::new();
    headers.push(name, base);
    let (base, _) = base_url(&headers, URI);
    for join in [Join::Append, Join::Rfc3986] {
        if let Ok(url) = resolve_control(&base, Some(control), join) {
            assert!(url.len() <= limits::URL);
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some(colon) = data.iter().position(|byte| *byte == b':') else {
        return;
    };
    let (name, value) = (&data[..colon], &data[colon + 1..]);
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    let text = String::from_utf8_lossy(value);
    match name.as_str() {
        "transport" => transport(&text),
        "range" => range(text.trim()),
        "rtp-info" => info(&text),
        "session" => {
            if let Some(session) = session_header::parse(value) {
                assert!(session.id.len() <= limits::SESSION_ID);
                assert!(session.timeout <= limits::SESSION_TIMEOUT_MAX);
            }
        }
        "www-authenticate" => challenge(&name, value),
        "location" => url(text.trim()),
        "content-base" | "content-location" => base(&name, &text),
        "content-length" | "cseq" => {
            let mut headers = Headers::new();
            headers.push(name.as_str(), value);
            if let Ok(length) = parse::content_length(&headers) {
                assert!(length <= limits::BODY);
            }
            let _ = parse::cseq(&headers);
        }
        _ => {}
    }
});
