//! What went wrong, in the words of the protocol and in one sentence.

use std::fmt;
use std::time::Duration;

use crate::rtsp::limits;
use crate::rtsp::message::{Method, Response};
use crate::rtsp::url::redact;

/// The kind of a failure, so that the layer above can decide what cures it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The server could not be reached, or closed the connection during start-up.
    Connect,
    /// No response in time, or 408.
    Timeout,
    /// 404, 410, 300.
    NotFound,
    /// 401, 402, 407, or a challenge that cannot be met.
    NotAuthorized,
    /// 403.
    Forbidden,
    /// The certificate of the server is not trusted.
    Certificate,
    /// 453, 502, 503, 504, 553: later may do.
    Busy,
    /// The server refuses the request as it was made.
    Settings,
    /// 406, 415, or a description that is no SDP.
    WrongType,
    /// The answer breaks the protocol.
    Protocol,
    /// 500 and other 5xx.
    ServerError,
    /// The session is gone: 454, or the connection that carried it was lost.
    SessionLost,
    /// The server ended the session by a TEARDOWN of its own.
    ServerTeardown,
    /// There is no media that this client can play or publish.
    Unsupported,
    /// A redirect that leads nowhere or must not be followed.
    Redirect,
    /// None of the allowed transports was accepted.
    NoTransport,
    /// The media is encrypted, and there are no keys that both sides accept.
    Keys,
}

impl ErrorKind {
    /// Appendix "status codes": unknown ones count as x00 of their class (RFC 2326 §7.1.1).
    pub fn from_status(status: u16) -> Self {
        match status {
            401 | 402 | 407 | 466 | 470..=472 => ErrorKind::NotAuthorized,
            403 => ErrorKind::Forbidden,
            300 | 404 | 410 => ErrorKind::NotFound,
            406 | 415 => ErrorKind::WrongType,
            408 => ErrorKind::Timeout,
            453 | 464 | 502 | 503 | 504 | 553 => ErrorKind::Busy,
            454 => ErrorKind::SessionLost,
            461..=463 => ErrorKind::NoTransport,
            501 | 505 | 551 => ErrorKind::Settings,
            304 => ErrorKind::Protocol,
            301..=399 => ErrorKind::Redirect,
            400..=499 => ErrorKind::Settings,
            500..=599 => ErrorKind::ServerError,
            _ => ErrorKind::Protocol,
        }
    }

    fn hint(self, phase: Phase) -> Option<&'static str> {
        Some(match self {
            ErrorKind::Settings if matches!(phase, Phase::Announce | Phase::Record) => {
                "the server may not let clients publish here"
            }
            ErrorKind::Connect => "check address, port and network",
            ErrorKind::NotFound => "check the path of the URL",
            ErrorKind::NotAuthorized => "check user name and password",
            ErrorKind::Forbidden => "this user has no right to that stream",
            ErrorKind::Busy => "the server has no room now, try again later",
            ErrorKind::NoTransport => "allow more transports",
            ErrorKind::Keys => "the media is encrypted (SRTP), and its keys cannot be agreed on",
            ErrorKind::Timeout => "the server does not answer",
            ErrorKind::Settings => "the server does not accept what is asked for; check the URL",
            ErrorKind::ServerError => "the server has failed, its log may say why",
            ErrorKind::WrongType => "check that the URL is that of a stream",
            _ => return None,
        })
    }
}

/// For statuses that say more than their kind.
fn status_hint(status: u16, phase: Phase) -> Option<&'static str> {
    Some(match status {
        405 | 455 | 501 if matches!(phase, Phase::Announce | Phase::Record) => return None,
        405 | 501 => "the server cannot do this; it may be no server to play from",
        451 | 456..=458 => "the server refuses a parameter of the request",
        455 => "the server is not in the state for this",
        459 | 460 => "the server wants its streams controlled in another way",
        463 => "the server refuses the keys or the destination of the media",
        464..=466 | 470..=472 => "a proxy on the way has refused it",
        505 => "the server speaks neither RTSP 1.0 nor 2.0",
        551 => "the server lacks an option that is required",
        _ => return None,
    })
}

/// What the client was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    Connect,
    Options,
    Describe,
    Announce,
    Setup,
    Play,
    Record,
    Pause,
    /// All set up: keep-alives, parameters, requests of the server.
    Established,
    Teardown,
}

impl Phase {
    /// Lower-case name, as it stands in message details.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Connect => "connect",
            Phase::Options => "options",
            Phase::Describe => "describe",
            Phase::Announce => "announce",
            Phase::Setup => "setup",
            Phase::Play => "play",
            Phase::Record => "record",
            Phase::Pause => "pause",
            Phase::Established => "established",
            Phase::Teardown => "teardown",
        }
    }
}

/// A failure. `Display` is one plain sentence that holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub kind: ErrorKind,
    pub method: Option<Method>,
    pub status: Option<u16>,
    /// The server's reason phrase, made printable.
    pub reason: Option<String>,
    /// Redacted.
    pub url: String,
    pub phase: Phase,
    /// The cause, without method, status and URL.
    pub message: String,
    /// The server's `Retry-After`, clamped.
    pub retry_after: Option<Duration>,
}

impl std::error::Error for Error {}

impl Error {
    /// Secrets in `url` and `message` are hidden.
    pub fn new(kind: ErrorKind, phase: Phase, url: &str, message: impl Into<String>) -> Self {
        Self {
            kind,
            method: None,
            status: None,
            reason: None,
            url: redact(url),
            phase,
            message: redact(&message.into()),
            retry_after: None,
        }
    }

    pub(super) fn method(mut self, method: &Method) -> Self {
        self.method = Some(method.clone());
        self
    }

    /// A request that was answered with an error status.
    pub(super) fn refused(phase: Phase, method: &Method, url: &str, response: &Response) -> Self {
        let reason = printable(&response.reason);
        Self {
            status: Some(response.status),
            reason: (!reason.is_empty()).then_some(reason),
            retry_after: retry_after(response),
            ..Self::new(ErrorKind::from_status(response.status), phase, url, "").method(method)
        }
    }

    pub(super) fn because(mut self, message: impl Into<String>) -> Self {
        self.message = redact(&message.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.method {
            Some(method) => write!(f, "{method} {}", self.url)?,
            None => f.write_str(&self.url)?,
        }
        if let Some(status) = self.status {
            write!(f, " was answered {status}")?;
            if let Some(reason) = &self.reason {
                write!(f, " {reason}")?;
            }
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        let hint = self
            .status
            .and_then(|status| status_hint(status, self.phase));
        if let Some(hint) = hint.or_else(|| self.kind.hint(self.phase)) {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

/// Text of the peer, without controls and URLs' secrets, and short.
pub(super) fn printable(text: &str) -> String {
    let text: String = text
        .trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(limits::REASON_SHOWN)
        .collect();
    redact(&text)
}

/// `Retry-After` in seconds (RFC 2326 §12.31). A date would need a wall clock and is ignored.
fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers.get_str("Retry-After")?;
    let digits: String = value.chars().take_while(char::is_ascii_digit).collect();
    if digits.is_empty() {
        return None;
    }
    // Too many digits for a number are a very long wait, which is clamped as well.
    let seconds = digits.parse().unwrap_or(u64::MAX);
    Some(Duration::from_secs(seconds).clamp(Duration::from_secs(1), limits::RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtsp::message::Version;

    fn refused(status: u16, reason: &str, headers: &[(&str, &str)]) -> Error {
        let mut response = Response::new(status, reason, Version::V1_0);
        for (name, value) in headers {
            response.headers.push(*name, *value);
        }
        Error::refused(
            Phase::Describe,
            &Method::Describe,
            "rtsp://u:secret@h/x",
            &response,
        )
    }

    // covers: C-DESC-04
    #[test]
    fn display_is_one_sentence_with_the_servers_reason_and_no_secret() {
        assert_eq!(
            refused(404, "No such\r\ncamera", &[]).to_string(),
            "DESCRIBE rtsp://***@h/x was answered 404 No such  camera (check the path of the URL)"
                .replace("rtsp://***@h/x", &redact("rtsp://u:secret@h/x"))
        );
        assert!(
            !refused(404, "rtsp://u:secret@h/", &[])
                .to_string()
                .contains("secret")
        );
    }

    // covers: C-STAT-01, C-STAT-06, C-STAT-07, C-STAT-09, C-STAT-14, C-STAT-15, C-STAT-21
    #[test]
    fn each_status_has_its_kind_and_unknown_ones_that_of_their_class() {
        use ErrorKind::*;
        let table = [
            (300, NotFound),
            (301, Redirect),
            (304, Protocol),
            (399, Redirect),
            (400, Settings),
            (401, NotAuthorized),
            (402, NotAuthorized),
            (403, Forbidden),
            (404, NotFound),
            (405, Settings),
            (406, WrongType),
            (407, NotAuthorized),
            (408, Timeout),
            (410, NotFound),
            (415, WrongType),
            (452, Settings),
            (453, Busy),
            (454, SessionLost),
            (461, NoTransport),
            (463, NoTransport),
            (466, NotAuthorized),
            (471, NotAuthorized),
            (499, Settings),
            (500, ServerError),
            (502, Busy),
            (503, Busy),
            (553, Busy),
            (599, ServerError),
            (99, Protocol),
            (600, Protocol),
            (0, Protocol),
        ];
        for (status, kind) in table {
            assert_eq!(ErrorKind::from_status(status), kind, "{status}");
        }
    }

    // covers: C-STAT-14
    #[test]
    fn retry_after_is_clamped() {
        let wait = |value| refused(503, "", &[("Retry-After", value)]).retry_after;
        assert_eq!(wait("120"), Some(Duration::from_secs(120)));
        assert_eq!(wait("0"), Some(Duration::from_secs(1)));
        assert_eq!(
            wait("99999999999999999999999"),
            Some(limits::RETRY_AFTER_MAX)
        );
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), None);
        assert_eq!(wait("-1"), None);
    }
}
