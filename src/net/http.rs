//! Heads of HTTP messages, as much of them as tunnels, WebSockets and proxies
//! need (RFC 9112), and the answers to 401 and 407.

use std::fmt;
use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::proxy::Proxy;
use crate::rtsp::auth::{AuthError, AuthErrorKind, Authenticator};
use crate::rtsp::client::ErrorKind;
use crate::rtsp::limits;
use crate::rtsp::message::{Headers, Method};
use crate::rtsp::parse::excerpt;
use crate::rtsp::url::{Credentials, redact};

/// What HTTP tunnels, WebSockets and proxies are told.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// The way out, if there is one.
    pub proxy: Option<Proxy>,
    /// Added to the requests of tunnels and WebSockets; without line breaks.
    pub extra_headers: Vec<(String, String)>,
    /// The POST of a tunnel goes where the GET went, whatever the server says.
    pub ignore_server_address: bool,
    /// The path of the WebSocket if it is not that of the URL.
    pub websocket_path: Option<String>,
    /// What a POST promises as its length.
    pub post_length: u64,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            proxy: None,
            extra_headers: Vec::new(),
            ignore_server_address: false,
            websocket_path: None,
            // As all clients have it.
            post_length: 32_767,
        }
    }
}

/// Why somebody who speaks HTTP was of no help. Reads on after who it was.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The connection failed.
    #[error("failed: {0}")]
    Io(#[from] io::Error),
    /// It ended before the answer did.
    #[error("closed the connection without an answer")]
    Closed,
    /// Something else than HTTP.
    #[error("does not speak HTTP: \"{0}\"")]
    NotHttp(String),
    /// The head is over its bound.
    #[error("sent a head of more than {max} bytes", max = limits::HTTP_HEAD)]
    TooLong,
    /// A refusal.
    #[error("answered {status} {reason}")]
    Status {
        /// The status code.
        status: u16,
        /// The reason phrase, made printable.
        reason: String,
    },
    /// Authentication is wanted that cannot be given.
    #[error("{}", .0.predicate())]
    Auth(AuthError),
    /// An answer that leads nowhere.
    #[error("{0}")]
    Unusable(String),
    /// A proxy does not get through to the server.
    #[error("cannot reach the server: {0}")]
    Unreachable(String),
}

impl HttpError {
    /// Refused credentials where there is no challenge.
    pub(super) fn auth(kind: AuthErrorKind, scheme: &str) -> Self {
        HttpError::Auth(AuthError {
            kind,
            realm: String::new(),
            schemes: scheme.to_string(),
        })
    }

    /// What the failure is to those who decide whether to try again.
    pub fn kind(&self) -> ErrorKind {
        match self {
            HttpError::Io(_) | HttpError::Closed | HttpError::Unreachable(_) => ErrorKind::Connect,
            HttpError::NotHttp(_) | HttpError::TooLong | HttpError::Unusable(_) => {
                ErrorKind::Protocol
            }
            HttpError::Status { status, .. } => ErrorKind::from_status(*status),
            HttpError::Auth(_) => ErrorKind::NotAuthorized,
        }
    }
}

/// A head that was received.
#[derive(Debug)]
pub(super) struct Response {
    pub status: u16,
    reason: String,
    pub headers: Headers,
}

impl Response {
    /// The error that this status is.
    pub fn refusal(&self) -> HttpError {
        HttpError::Status {
            status: self.status,
            reason: self.reason.clone(),
        }
    }
}

/// The head of a request. The values hold no line breaks.
pub(super) fn request(method: &str, target: &str, version: &str, headers: &Headers) -> Vec<u8> {
    let mut head = format!("{method} {target} {version}\r\n").into_bytes();
    for (name, value) in headers.iter() {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Sends a head and reads the one that answers. What follows that is left in the
/// buffer.
pub(super) async fn exchange<S>(
    stream: &mut S,
    head: &[u8],
    deadline: Instant,
) -> Result<(Response, BytesMut), HttpError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut buffer = BytesMut::new();
    let response = within(deadline, async {
        stream.write_all(head).await?;
        stream.flush().await?;
        read_head(stream, &mut buffer).await
    })
    .await?;
    Ok((response, buffer))
}

/// An operation that must be done before `deadline`.
pub(super) async fn within<T>(
    deadline: Instant,
    operation: impl Future<Output = Result<T, HttpError>>,
) -> Result<T, HttpError> {
    timeout_at(deadline, operation).await.unwrap_or_else(|_| {
        let error = io::Error::new(io::ErrorKind::TimedOut, "no answer");
        Err(HttpError::Io(error))
    })
}

/// Reads a head and takes it from `buffer`; interim ones are passed over
/// (RFC 9110 §15.2).
pub(super) async fn read_head<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut BytesMut,
) -> Result<Response, HttpError> {
    let mut interim = 0u32;
    loop {
        if let Some((response, length)) = parse_head(buffer)? {
            buffer.advance(length);
            if !matches!(response.status, 100 | 102..200) {
                return Ok(response);
            }
            interim = interim.saturating_add(1);
            if interim > limits::PROVISIONAL {
                return Err(HttpError::Unusable("never comes to an answer".into()));
            }
            continue;
        }
        if buffer.len() >= limits::HTTP_HEAD {
            return Err(HttpError::TooLong);
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(HttpError::Closed);
        }
    }
}

/// The head at the start of `bytes` and its length, if it is complete.
fn parse_head(bytes: &[u8]) -> Result<Option<(Response, usize)>, HttpError> {
    let bytes = bytes.get(..limits::HTTP_HEAD).unwrap_or(bytes);
    let mut fields = [httparse::EMPTY_HEADER; limits::HTTP_FIELDS];
    let mut head = httparse::Response::new(&mut fields);
    let parsed = httparse::ParserConfig::default()
        .allow_multiple_spaces_in_response_status_delimiters(true)
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .ignore_invalid_headers_in_responses(true)
        .parse_response(&mut head, bytes);
    match parsed {
        Ok(httparse::Status::Complete(length)) => {
            let mut headers = Headers::new();
            for field in head.headers.iter() {
                headers.push(field.name, field.value);
            }
            let reason = redact(&head.reason.unwrap_or_default().escape_debug().to_string());
            let response = Response {
                status: head.code.unwrap_or_default(),
                reason: reason.chars().take(limits::REASON_SHOWN).collect(),
                headers,
            };
            Ok(Some((response, length)))
        }
        Ok(httparse::Status::Partial) => Ok(None),
        Err(httparse::Error::TooManyHeaders) => Err(HttpError::TooLong),
        Err(_) => Err(HttpError::NotHttp(redact(&excerpt(bytes)))),
    }
}

/// Whom somebody authenticates with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Realm {
    /// 401 and `Authorization`.
    Server,
    /// 407 and `Proxy-Authorization`.
    Proxy,
}

/// Authentication with a server or a proxy (RFC 9110 §11).
pub(super) struct Login {
    realm: Realm,
    authenticator: Authenticator,
    /// The last request had credentials.
    sent: bool,
    tls: bool,
}

impl Login {
    pub fn new(realm: Realm, credentials: Option<Credentials>, tls: bool) -> Self {
        Self {
            realm,
            authenticator: Authenticator::new(credentials),
            sent: false,
            tls,
        }
    }

    /// Whether this response asks for it.
    pub fn is_asked(&self, response: &Response) -> bool {
        match self.realm {
            Realm::Server => response.status == 401,
            Realm::Proxy => response.status == 407,
        }
    }

    /// Reads what is asked for: an error if repeating the request is of no use. The
    /// number of repetitions is bounded.
    pub fn challenged(&mut self, response: &Response) -> Result<(), HttpError> {
        let name = match self.realm {
            Realm::Server => "WWW-Authenticate",
            Realm::Proxy => "Proxy-Authenticate",
        };
        let mut headers = Headers::new();
        for challenge in response.headers.get_all(name) {
            headers.push("WWW-Authenticate", challenge);
        }
        self.authenticator
            .challenged(&headers, self.sent, self.tls)
            .map(drop)
            .map_err(HttpError::Auth)
    }

    /// Adds what this very request needs. Never log it.
    pub fn authorize(&mut self, method: &str, target: &str, headers: &mut Headers) {
        let method = Method::from(method);
        let value = self.authenticator.authorization(&method, target, &[]);
        self.sent = value.is_some();
        if let Some(value) = value {
            let name = match self.realm {
                Realm::Server => "Authorization",
                Realm::Proxy => "Proxy-Authorization",
            };
            headers.push(name, value);
        }
    }
}

/// Host and port as they stand in requests.
pub(super) struct HostPort<'a> {
    /// Without its brackets; its zone is left out, which is ours alone.
    pub host: &'a str,
    /// `None` for that of the scheme.
    pub port: Option<u16>,
}

impl fmt::Display for HostPort<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.host.split_once('%').map_or(self.host, |(ip, _)| ip);
        match host.contains(':') {
            true => write!(f, "[{host}]")?,
            false => f.write_str(host)?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], rest: &mut BytesMut) -> Result<Response, HttpError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let mut stream = bytes;
        runtime.block_on(read_head(&mut stream, rest))
    }

    fn head(text: &str) -> Result<Response, HttpError> {
        read(text.as_bytes(), &mut BytesMut::new())
    }

    // covers: C-HTUN-07
    #[test]
    fn what_follows_a_head_is_kept() {
        let mut rest = BytesMut::new();
        let bytes = b"HTTP/1.0 200 OK\r\nA: b\r\n\r\nRTSP/1.0 200 OK\r\n";
        let response = read(bytes, &mut rest).unwrap();
        assert_eq!(response.status, 200);
        assert_eq!(response.headers.get("a"), Some(&b"b"[..]));
        assert_eq!(&rest[..], b"RTSP/1.0 200 OK\r\n");
    }

    #[test]
    fn sloppy_heads_are_read() {
        for text in [
            "HTTP/1.1 200\r\n\r\n",
            "HTTP/1.0 200 OK\n\n",
            "HTTP/1.0  200 OK\r\nContent-Type : x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n  c\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        ] {
            assert_eq!(head(text).unwrap().status, 200, "{text:?}");
        }
    }

    // covers: H-32
    #[test]
    fn what_is_no_head_is_an_error_that_shows_it() {
        let garbage = head("\u{1}\u{2} garbage").unwrap_err();
        assert!(matches!(garbage, HttpError::NotHttp(_)), "{garbage}");
        assert_eq!(garbage.kind(), ErrorKind::Protocol);
        let rtsp = head("RTSP/1.0 400 Bad Request\r\n\r\n").unwrap_err();
        assert!(rtsp.to_string().contains("RTSP/1.0 400"), "{rtsp}");
        let cut = head("HTTP/1.0 200 OK\r\nA: b\r\n").unwrap_err();
        assert!(matches!(cut, HttpError::Closed), "{cut}");
    }

    // covers: H-32
    #[test]
    fn heads_are_bounded() {
        let fits = |length: usize| {
            let start = "HTTP/1.0 200 OK\r\nA: ";
            let fill = length - start.len() - 4;
            head(&format!("{start}{}\r\n\r\n", "x".repeat(fill)))
        };
        assert!(fits(limits::HTTP_HEAD).is_ok());
        assert!(matches!(
            fits(limits::HTTP_HEAD + 1),
            Err(HttpError::TooLong)
        ));
        let fields = |n: usize| head(&format!("HTTP/1.0 200 OK\r\n{}\r\n", "A: b\r\n".repeat(n)));
        assert!(fields(limits::HTTP_FIELDS).is_ok());
        assert!(matches!(
            fields(limits::HTTP_FIELDS + 1),
            Err(HttpError::TooLong)
        ));
        let interim = |n: u32| {
            let many = "HTTP/1.1 100 Continue\r\n\r\n".repeat(n as usize);
            head(&format!("{many}HTTP/1.1 200 OK\r\n\r\n"))
        };
        assert!(interim(limits::PROVISIONAL).is_ok());
        assert!(interim(limits::PROVISIONAL + 1).is_err());
    }

    // covers: C-AUTH-19, C-HTUN-09
    #[test]
    fn challenges_of_servers_and_proxies_are_answered_in_their_own_headers() {
        for (realm, status, ask, answer) in [
            (Realm::Server, 401, "WWW-Authenticate", "Authorization"),
            (
                Realm::Proxy,
                407,
                "Proxy-Authenticate",
                "Proxy-Authorization",
            ),
        ] {
            let credentials = Some(Credentials {
                user: "u".into(),
                password: "p".into(),
            });
            let mut login = Login::new(realm, credentials, false);
            let mut headers = Headers::new();
            login.authorize("GET", "/x", &mut headers);
            assert!(headers.is_empty(), "nothing is sent before it is asked for");
            let asks = head(&format!(
                "HTTP/1.0 {status} No\r\n{ask}: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n\r\n"
            ));
            let asks = asks.unwrap();
            assert!(login.is_asked(&asks));
            login.challenged(&asks).unwrap();
            login.authorize("GET", "/x", &mut headers);
            let value = String::from_utf8(headers.get(answer).unwrap().to_vec()).unwrap();
            assert!(value.starts_with("Digest username=\"u\""), "{value}");
            assert!(value.contains("uri=\"/x\""), "{value}");
            // Asked again it was refused.
            let refused = login.challenged(&asks).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::NotAuthorized);
            assert!(!refused.to_string().contains('p') || !refused.to_string().contains("u:p"));
        }
    }

    #[test]
    fn authorities_have_brackets_and_no_zone() {
        let text = |host, port| HostPort { host, port }.to_string();
        assert_eq!(text("h", None), "h");
        assert_eq!(text("h", Some(81)), "h:81");
        assert_eq!(text("fe80::1%eth0", Some(81)), "[fe80::1]:81");
    }
}
