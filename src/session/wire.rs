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
    const SECRET: [&str; 6] = [
        "authorization:",
        "proxy-authorization:",
        "keymgmt:",
        "a=key-mgmt:",
        "a=crypto:",
        // A key in the description itself (RFC 4566 §5.12).
        "k=",
    ];
    // Descriptions come with every kind of line end.
    String::from_utf8_lossy(message)
        .replace("\r\n", "\n")
        .split(['\r', '\n'])
        .map(|line| {
            let lower = line.trim_start().to_ascii_lowercase();
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

    #[test]
    // covers: C-AUTH-20
    fn a_logged_description_holds_no_key_whatever_its_line_ends_and_no_password_of_its_controls() {
        let lines = [
            "RTSP/1.0 200 OK",
            "RTP-Info: url=/x?password=hunter2;seq=1,url=track2?user=a&pwd=hunter2",
            "",
            "v=0",
            "k=base64:hunter2",
            "k=clear:hunter2",
            " a=crypto:1 X inline:hunter2",
            "a=control:track1?user=a&password=hunter2",
            "a=control:/user=a_pass=hunter2_channel=1",
            "a=tool:shown",
        ];
        for end in ["\r\n", "\n", "\r"] {
            let text = printable(lines.join(end).as_bytes());
            assert!(!text.contains("hunter2"), "{text}");
            assert!(text.contains("a=tool:shown") && text.contains("seq=1"));
            assert_eq!(text.lines().count(), lines.len(), "{text}");
        }
    }
}
