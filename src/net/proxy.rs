//! Proxies: CONNECT of HTTP (RFC 9110 §9.3.6) and SOCKS5 (RFC 1928, RFC 1929).

use std::fmt;
use std::io;
use std::net::IpAddr;

use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_socks::tcp::Socks5Stream;

use super::address::Reach;
use super::connect::{ConnectError, connect};
use super::http::{self, HostPort, HttpError, Login, Realm};
use crate::rtsp::auth::AuthErrorKind;
use crate::rtsp::message::Headers;
use crate::rtsp::url::{Authority, Credentials};

/// As `rtspsrc` has it.
const HTTP_PORT: u16 = 8080;
/// RFC 1928 §3.
const SOCKS_PORT: u16 = 1080;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Http,
    Socks5,
}

/// A proxy as the user names it: `[http://|socks5://][user:password@]host[:port]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    kind: Kind,
    host: String,
    port: u16,
    credentials: Option<Credentials>,
}

/// Without its credentials.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            Kind::Http => "http",
            Kind::Socks5 => "socks5",
        };
        write!(f, "{scheme}://{}", self.authority())
    }
}

impl Proxy {
    /// Reads it. The error does not show the text, which may hold a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let kind = match scheme.to_ascii_lowercase().as_str() {
            "http" => Kind::Http,
            // The proxy resolves names in either case: ours may not be known here.
            "socks5" | "socks5h" | "socks" => Kind::Socks5,
            _ => return Err("a proxy is http:// or socks5://".into()),
        };
        let Authority {
            host,
            port,
            credentials,
        } = Authority::parse(rest).ok_or("the proxy has no valid host and port")?;
        let port = port.unwrap_or(match kind {
            Kind::Http => HTTP_PORT,
            Kind::Socks5 => SOCKS_PORT,
        });
        Ok(Self {
            kind,
            host,
            port,
            credentials,
        })
    }

    /// With these credentials instead of its own, if there are any.
    pub fn with_credentials(self, credentials: Option<Credentials>) -> Self {
        Self {
            credentials: credentials.or(self.credentials),
            ..self
        }
    }

    /// The proxy that the environment names for HTTP to this host, if it names one:
    /// `http_proxy`, for TLS `https_proxy`, unless `no_proxy` excludes the host.
    pub fn from_environment(
        host: &str,
        tls: bool,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, String> {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        // Upper case HTTP_PROXY is what a CGI client can set.
        let proxy = match tls {
            false => variable("http_proxy"),
            true => variable("https_proxy").or_else(|| variable("HTTPS_PROXY")),
        };
        let Some(proxy) = proxy else {
            return Ok(None);
        };
        let exceptions = variable("no_proxy").or_else(|| variable("NO_PROXY"));
        if exceptions.is_some_and(|list| is_excepted(host, &list)) {
            return Ok(None);
        }
        Self::parse(&proxy).map(Some)
    }

    /// Whether requests of HTTP can be sent to it as they are.
    pub(super) fn takes_requests(&self) -> bool {
        self.kind == Kind::Http
    }

    /// Its side of authentication.
    pub(super) fn login(&self) -> Login {
        Login::new(Realm::Proxy, self.credentials.clone(), false)
    }

    /// A connection to the proxy itself.
    pub(super) async fn dial(&self, deadline: Instant) -> Result<TcpStream, ConnectError> {
        // The user has named it.
        connect(&self.host, (self.port, None), deadline, Reach::Any)
            .await
            .map_err(|error| ConnectError::NoProxy(Box::new(error)))
    }

    /// A connection through the proxy to a server.
    pub(super) async fn connect(
        &self,
        host: &str,
        port: u16,
        deadline: Instant,
        reach: Reach,
    ) -> Result<TcpStream, ConnectError> {
        // Names are the proxy's to resolve and to judge.
        if let Ok(ip) = host.parse::<IpAddr>()
            && !reach.allows(ip)
        {
            return Err(ConnectError::OutOfReach {
                host: host.to_string(),
                port,
                addresses: vec![ip],
            });
        }
        match self.kind {
            Kind::Http => self.http_connect(host, port, deadline).await,
            Kind::Socks5 => self.socks_connect(host, port, deadline).await,
        }
    }

    async fn http_connect(
        &self,
        host: &str,
        port: u16,
        deadline: Instant,
    ) -> Result<TcpStream, ConnectError> {
        let port = Some(port);
        let target = HostPort { host, port }.to_string();
        let mut login = self.login();
        loop {
            let mut stream = self.dial(deadline).await?;
            let mut headers = Headers::new();
            headers.push("Host", target.clone());
            login.authorize("CONNECT", &target, &mut headers);
            let head = http::request("CONNECT", &target, "HTTP/1.1", &headers);
            let (response, rest) = http::exchange(&mut stream, &head, deadline)
                .await
                .map_err(|error| self.failed(error))?;
            if login.is_asked(&response) {
                login
                    .challenged(&response)
                    .map_err(|error| self.failed(error))?;
            } else if !(200..300).contains(&response.status) {
                return Err(self.failed(response.refusal()));
            } else if !rest.is_empty() {
                // Servers of RTSP, TLS and HTTP are spoken to first.
                let why = "sent something before the server was asked";
                return Err(self.failed(HttpError::Unusable(why.into())));
            } else {
                return Ok(stream);
            }
        }
    }

    async fn socks_connect(
        &self,
        host: &str,
        port: u16,
        deadline: Instant,
    ) -> Result<TcpStream, ConnectError> {
        let stream = self.dial(deadline).await?;
        let host = host.split_once('%').map_or(host, |(ip, _)| ip);
        let connected = http::within(deadline, async {
            let connected = match &self.credentials {
                Some(Credentials { user, password }) => {
                    Socks5Stream::connect_with_password_and_socket(
                        stream,
                        (host, port),
                        user,
                        password,
                    )
                    .await
                }
                None => Socks5Stream::connect_with_socket(stream, (host, port)).await,
            };
            connected.map_err(socks_error)
        });
        match connected.await {
            Ok(stream) => Ok(stream.into_inner()),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// The error of the road that a failure of the proxy is.
    pub(super) fn failed(&self, error: HttpError) -> ConnectError {
        ConnectError::Proxy {
            proxy: self.authority(),
            error,
        }
    }

    fn authority(&self) -> String {
        HostPort {
            host: &self.host,
            port: Some(self.port),
        }
        .to_string()
    }
}

fn socks_error(error: tokio_socks::Error) -> HttpError {
    use tokio_socks::Error as E;
    match error {
        E::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => HttpError::Closed,
        E::Io(error) => HttpError::Io(error),
        E::PasswordAuthFailure(_) => HttpError::auth(AuthErrorKind::Refused, "SOCKS5"),
        E::NoAcceptableAuthMethods | E::AuthorizationRequired => {
            HttpError::auth(AuthErrorKind::NoCredentials, "SOCKS5")
        }
        E::HostUnreachable
        | E::NetworkUnreachable
        | E::ConnectionRefused
        | E::TtlExpired
        | E::GeneralSocksServerFailure
        | E::ConnectionNotAllowedByRuleset => HttpError::Unreachable(error.to_string()),
        error => HttpError::Unusable(format!("does not speak SOCKS5 as it should: {error}")),
    }
}

/// Whether a list as in `no_proxy` has the host: `*`, addresses, and names, which
/// stand for what is below them too.
fn is_excepted(host: &str, list: &str) -> bool {
    let host = host.to_ascii_lowercase();
    list.split([',', ' ']).any(|item| {
        let item = item.trim_matches(['[', ']']).to_ascii_lowercase();
        let name = item.strip_prefix('*').unwrap_or(&item);
        let name = name.strip_prefix('.').unwrap_or(name);
        let is_below = || {
            host.parse::<IpAddr>().is_err()
                && host
                    .strip_suffix(name)
                    .is_some_and(|front| front.ends_with('.'))
        };
        item == "*" || (!name.is_empty() && (host == name || is_below()))
    })
}

#[cfg(test)]
mod tests;
