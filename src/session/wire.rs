//! Messages as they stand in the log.

use gst::prelude::*;

use super::MESSAGE_CAT;
use crate::net::outbox::Kind;
use crate::rtsp::message::Message;
use crate::rtsp::url::redact;

/// Logs a message that goes out, and says what it is.
pub(super) fn log_sent(message: &[u8]) -> Kind {
    gst::log!(MESSAGE_CAT, "sent\n{}", printable(message));
    if message.starts_with(b"RTSP/") {
        Kind::Response
    } else {
        Kind::Request
    }
}

pub(super) fn log_received(message: &Message) {
    if MESSAGE_CAT.above_threshold(gst::DebugLevel::Log) {
        let mut bytes = Vec::new();
        let mut message = message.clone();
        // Writing adds one of its own.
        message.headers_mut().remove("Content-Length");
        message.write(&mut bytes);
        gst::log!(MESSAGE_CAT, "received\n{}", printable(&bytes));
    }
}

/// A message as it may stand in a log: no credentials, no keys.
fn printable(message: &[u8]) -> String {
    const SECRET: [&str; 5] = [
        "authorization:",
        "proxy-authorization:",
        "keymgmt:",
        "a=key-mgmt:",
        "a=crypto:",
    ];
    String::from_utf8_lossy(message)
        .lines()
        .map(|line| {
            let lower = line.to_ascii_lowercase();
            match SECRET.iter().find(|name| lower.starts_with(*name)) {
                Some(name) => format!("{name} (not shown)"),
                None => redact(line),
            }
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: C-AUTH-20
    #[test]
    fn a_logged_message_holds_no_secret() {
        let text = printable(
            b"DESCRIBE rtsp://user:hunter2@host/a RTSP/1.0\r\nAuthorization: Basic aHVudGVyMg==\r\nContent-Base: rtsp://u:hunter2@h/\r\n\r\na=crypto:1 X inline:hunter2\r\na=key-mgmt:mikey hunter2",
        );
        assert!(
            !text.contains("hunter2") && !text.contains("aHVudGVyMg"),
            "{text}"
        );
        assert!(text.contains("DESCRIBE") && text.contains("host/a"));
    }
}
