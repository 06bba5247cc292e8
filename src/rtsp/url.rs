//! RTSP URLs: what the user configures, what goes on the request line, and
//! what a control attribute means.
//!
//! Path and query are opaque bytes here: cameras compare them byte for byte,
//! so nothing is decoded, encoded or cleaned up (RFC 7826 §4.2).

use std::fmt;
use std::net::Ipv6Addr;

use super::limits;

mod redact;
mod resolve;

pub use redact::redact;
pub use resolve::{Join, base_url, resolve_control};

/// Why a URL is refused. Never shows the URL: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("URL is longer than {max} bytes", max = limits::URL)]
    TooLong,
    #[error("URL contains blanks or control characters")]
    IllegalCharacter,
    #[error("URL has no scheme")]
    NoScheme,
    #[error("URL scheme is not one of RTSP")]
    Scheme,
    #[error("URL has no valid host and port")]
    Authority,
    #[error("URL is on another server")]
    NetworkPath,
}

/// User name and password, percent-decoded.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub user: String,
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .field("password", &"***")
            .finish()
    }
}

/// The transport that a scheme asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemeTransport {
    /// Interleaved in the RTSP connection.
    Tcp,
    /// UDP, unicast or multicast.
    Udp,
    /// RTSP over HTTP.
    Tunnel,
    /// RTSP over WebSocket.
    WebSocket,
}

#[derive(PartialEq, Eq)]
struct Scheme {
    name: &'static str,
    tls: bool,
    transport: Option<SchemeTransport>,
    default_port: u16,
}

const fn scheme(
    name: &'static str,
    tls: bool,
    transport: Option<SchemeTransport>,
    default_port: u16,
) -> Scheme {
    Scheme {
        name,
        tls,
        transport,
        default_port,
    }
}

/// The port of RTSP (RFC 2326 §3.2).
const RTSP_PORT: u16 = 554;

/// GStreamer's schemes, and those of WebSockets; all but `rtsp` and `rtsps` only exist locally.
static SCHEMES: [Scheme; 14] = [
    scheme("rtsp", false, None, RTSP_PORT),
    scheme("rtspu", false, Some(SchemeTransport::Udp), RTSP_PORT),
    scheme("rtspt", false, Some(SchemeTransport::Tcp), RTSP_PORT),
    scheme("rtsph", false, Some(SchemeTransport::Tunnel), 80),
    scheme("rtsps", true, None, 322),
    scheme("rtspsu", true, Some(SchemeTransport::Udp), 322),
    scheme("rtspst", true, Some(SchemeTransport::Tcp), 322),
    scheme("rtspsh", true, Some(SchemeTransport::Tunnel), 443),
    scheme("rtsp+ws", false, Some(SchemeTransport::WebSocket), 80),
    scheme("rtspws", false, Some(SchemeTransport::WebSocket), 80),
    scheme("ws", false, Some(SchemeTransport::WebSocket), 80),
    scheme("rtsps+ws", true, Some(SchemeTransport::WebSocket), 443),
    scheme("rtspwss", true, Some(SchemeTransport::WebSocket), 443),
    scheme("wss", true, Some(SchemeTransport::WebSocket), 443),
];

/// The schemes that [`Url::parse`] accepts.
pub fn schemes() -> impl Iterator<Item = &'static str> {
    SCHEMES.iter().map(|scheme| scheme.name)
}

/// An RTSP URL without its credentials in the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    scheme: &'static Scheme,
    credentials: Option<Credentials>,
    host: String,
    zone: Option<String>,
    port: Option<u16>,
    /// Ready for the request line.
    request_uri: String,
    /// Where in `request_uri` the authority ends.
    authority_end: usize,
}

impl Url {
    /// Reads an absolute URL. Blanks at its ends are ignored; inside, blanks
    /// and controls are refused.
    ///
    /// A password may contain `@ : / # ?` without percent-encoding as long as
    /// the text has no plain reading as host, port and path.
    pub fn parse(text: &str) -> Result<Url, UrlError> {
        let text = clean(text)?;
        let (scheme, rest) = split_scheme(text).ok_or(UrlError::NoScheme)?;
        let scheme = SCHEMES
            .iter()
            .find(|known| known.name.eq_ignore_ascii_case(scheme))
            .ok_or(UrlError::Scheme)?;
        let parts = Parts::split(rest).ok_or(UrlError::Authority)?;
        let credentials = parts.credentials();
        // The user name goes into a header line.
        if credentials
            .as_ref()
            .is_some_and(|c| c.user.chars().any(char::is_control))
        {
            return Err(UrlError::IllegalCharacter);
        }
        let mut request_uri = String::from(if scheme.tls { "rtsps://" } else { "rtsp://" });
        if parts.is_ipv6 {
            request_uri.extend(["[", parts.host, "]"]);
        } else {
            request_uri.push_str(parts.host);
        }
        if let Some(port) = parts.port {
            request_uri.push_str(&format!(":{port}"));
        }
        let authority_end = request_uri.len();
        request_uri.push_str(without_fragment(parts.tail));
        Ok(Url {
            scheme,
            credentials,
            host: parts.host.to_string(),
            zone: parts.zone,
            port: parts.port,
            request_uri,
            authority_end,
        })
    }

    /// Host name or address, without brackets and zone.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The host as a resolver takes it: a link-local address ends in `%zone`.
    pub fn host_with_zone(&self) -> String {
        match &self.zone {
            Some(zone) => format!("{}%{zone}", self.host),
            None => self.host.clone(),
        }
    }

    /// The zone of a link-local IPv6 address: the name of an interface.
    pub fn zone(&self) -> Option<&str> {
        self.zone.as_deref()
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(self.scheme.default_port)
    }

    /// The port to try when nobody listens on [`port`](Self::port) and the URL names none:
    /// RTSP's, on which many servers serve everything.
    pub fn other_port(&self) -> Option<u16> {
        let default = self.scheme.default_port;
        (self.port.is_none() && default != RTSP_PORT).then_some(RTSP_PORT)
    }

    pub fn explicit_port(&self) -> Option<u16> {
        self.port
    }

    pub fn is_tls(&self) -> bool {
        self.scheme.tls
    }

    /// The transport that the scheme asks for, if it does.
    pub fn forced_transport(&self) -> Option<SchemeTransport> {
        self.scheme.transport
    }

    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// The URL as it goes on the wire: scheme `rtsp` or `rtsps`, no user
    /// information, zone or fragment, path and query byte for byte.
    pub fn request_uri(&self) -> &str {
        &self.request_uri
    }

    /// Host and explicit port as they go on the wire.
    pub fn authority(&self) -> &str {
        let start = if self.scheme.tls {
            "rtsps://".len()
        } else {
            "rtsp://".len()
        };
        self.request_uri
            .get(start..self.authority_end)
            .unwrap_or_default()
    }

    /// What follows the authority; may be empty.
    pub fn path_and_query(&self) -> &str {
        self.request_uri
            .get(self.authority_end..)
            .unwrap_or_default()
    }

    /// The URL that a redirect from here names. What lies between RTSP and TCP is
    /// kept, since media may not get through otherwise; TLS is what `to` says.
    pub fn redirected(&self, to: Url) -> Url {
        let same = |scheme: &&Scheme| {
            scheme.tls == to.is_tls() && scheme.transport == self.scheme.transport
        };
        let layered = matches!(
            self.scheme.transport,
            Some(SchemeTransport::Tunnel | SchemeTransport::WebSocket)
        );
        let scheme = SCHEMES.iter().find(same).filter(|_| layered);
        Url {
            scheme: scheme.unwrap_or(to.scheme),
            ..to
        }
    }

    /// Whether credentials for one may be sent to the other: same security,
    /// host and port (RFC 7826 §19.1).
    pub fn same_origin(&self, other: &Url) -> bool {
        let same_host = match (
            self.host.parse::<Ipv6Addr>(),
            other.host.parse::<Ipv6Addr>(),
        ) {
            (Ok(a), Ok(b)) => a == b && self.zone == other.zone,
            _ => self.host.eq_ignore_ascii_case(&other.host),
        };
        same_host && self.is_tls() == other.is_tls() && self.port() == other.port()
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest = self
            .request_uri
            .split_once(':')
            .map_or("", |(_, rest)| rest);
        f.write_str(&redact(&format!("{}:{rest}", self.scheme.name)))
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

/// Blanks at the ends off; length, blanks inside and controls checked.
fn clean(text: &str) -> Result<&str, UrlError> {
    let text = text.trim_matches([' ', '\t']);
    if text.len() > limits::URL {
        return Err(UrlError::TooLong);
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(UrlError::IllegalCharacter);
    }
    Ok(text)
}

/// Scheme and what follows `://`.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    text.split_once("://")
        .filter(|(scheme, _)| is_scheme(scheme))
}

/// `scheme` of RFC 3986 §3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

fn without_fragment(text: &str) -> &str {
    text.split_once('#').map_or(text, |(before, _)| before)
}

/// What follows `://`, taken apart.
struct Parts<'a> {
    userinfo: Option<&'a str>,
    host: &'a str,
    is_ipv6: bool,
    zone: Option<String>,
    port: Option<u16>,
    /// From the `/`, `?` or `#` after the authority on; may be empty.
    tail: &'a str,
}

impl Parts<'_> {
    fn credentials(&self) -> Option<Credentials> {
        let userinfo = self.userinfo.filter(|info| !info.is_empty())?;
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        Some(Credentials {
            user: percent_decode(user),
            password: percent_decode(password),
        })
    }
}

impl<'a> Parts<'a> {
    /// The authority ends at the first `/`, `?` or `#` that leaves a valid
    /// host and port after the last `@` before it: the first one at all unless
    /// a password holds such a character.
    fn split(text: &'a str) -> Option<Parts<'a>> {
        let mut tried = None;
        let ends = text.match_indices(['/', '?', '#']).map(|(at, _)| at);
        for end in ends.chain([text.len()]) {
            let (authority, tail) = text.split_at_checked(end)?;
            let at = authority.rfind('@');
            // Without another `@` it only gets longer, never valid.
            if tried == Some(at) {
                continue;
            }
            tried = Some(at);
            let (userinfo, server) = match authority.rsplit_once('@') {
                Some((userinfo, server)) => (Some(userinfo), server),
                None => (None, authority),
            };
            if let Some((host, is_ipv6, zone, port)) = split_server(server) {
                return Some(Parts {
                    userinfo,
                    host,
                    is_ipv6,
                    zone,
                    port,
                    tail,
                });
            }
        }
        None
    }
}

/// User information, host and port of a URL of any scheme (RFC 3986 §3.2).
pub struct Authority {
    /// Without brackets and zone.
    pub host: String,
    pub port: Option<u16>,
    pub credentials: Option<Credentials>,
}

impl Authority {
    /// Reads what follows `://`, up to the path.
    pub fn parse(text: &str) -> Option<Self> {
        let parts = Parts::split(clean(text).ok()?)?;
        Some(Self {
            host: parts.host.to_string(),
            port: parts.port,
            credentials: parts.credentials(),
        })
    }
}

/// Host, whether it is an IPv6 literal, zone and port.
fn split_server(server: &str) -> Option<(&str, bool, Option<String>, Option<u16>)> {
    if let Some(rest) = server.strip_prefix('[') {
        let (literal, port) = rest.split_once(']')?;
        let port = match port {
            "" => None,
            port => parse_port(port.strip_prefix(':')?)?,
        };
        // RFC 6874 writes the `%` as `%25`; users rarely do.
        let (host, zone) = match literal.split_once('%') {
            None => (literal, None),
            Some((host, zone)) => {
                let zone = zone
                    .strip_prefix("25")
                    .filter(|zone| !zone.is_empty())
                    .unwrap_or(zone);
                let zone = percent_decode(zone);
                if zone.is_empty() || zone.chars().any(|c| c.is_control() || c.is_whitespace()) {
                    return None;
                }
                (host, Some(zone))
            }
        };
        host.parse::<Ipv6Addr>().ok()?;
        return Some((host, true, zone, port));
    }
    let (host, port) = server.split_once(':').unwrap_or((server, ""));
    let valid = |c: char| c.is_alphanumeric() || "-._~%!$&'()*+,;=".contains(c);
    if host.is_empty() || !host.chars().all(valid) {
        return None;
    }
    Some((host, false, None, parse_port(port)?))
}

/// A port; `Some(None)` if there is none after the colon (RFC 3986 §3.2.3).
fn parse_port(digits: &str) -> Option<Option<u16>> {
    if digits.is_empty() {
        return Some(None);
    }
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits
        .parse::<u16>()
        .ok()
        .filter(|port| *port != 0)
        .map(Some)
}

/// Decodes `%XX`; a `%` that begins no such triplet stands for itself. Text
/// that would not be UTF-8 stays as it is.
fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        let triplet = match rest {
            [b'%', high, low, tail @ ..] => hex(*high).zip(hex(*low)).map(|hex| (hex, tail)),
            _ => None,
        };
        (rest, _) = match triplet {
            Some(((high, low), tail)) => (tail, bytes.push(high << 4 | low)),
            None => (tail, bytes.push(*byte)),
        };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_string())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests;
