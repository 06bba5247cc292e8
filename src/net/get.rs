//! The GET that begins an HTTP tunnel or a WebSocket: on which port, through
//! which proxy, who is logged in, and where it is redirected to.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::time::Instant;

use super::address::{Reach, is_public};
use super::connect::{ConnectError, half_way};
use super::http::{self, HostPort, HttpError, Login, Realm, Response};
use super::proxy::Proxy;
use super::road::{Stream, Target};
use super::tls::TlsError;
use crate::rtsp::client::ErrorKind;
use crate::rtsp::limits;
use crate::rtsp::message::Headers;
use crate::rtsp::url::{Authority, redact};

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    host: String,
    port: u16,
    tls: bool,
    path: String,
}

impl Place {
    /// The port if it is not that of the scheme.
    fn explicit_port(&self) -> Option<u16> {
        let default = if self.tls { 443 } else { 80 };
        (self.port != default).then_some(self.port)
    }

    fn is_same_server(&self, other: &Self) -> bool {
        self.tls == other.tls
            && self.port == other.port
            && self.host.eq_ignore_ascii_case(&other.host)
    }

    /// The place that a `Location` names, seen from here (RFC 9110 §10.2.2).
    fn follow(&self, location: &str) -> Result<Self, HttpError> {
        let wrong = |why: &str| HttpError::Unusable(format!("{why}: {}", redact(location)));
        if location.len() > limits::URL || location.contains(|c: char| !c.is_ascii_graphic()) {
            return Err(HttpError::Unusable("redirects to no valid URL".into()));
        }
        let location = location.split('#').next().unwrap_or_default();
        if location.starts_with('/') && !location.starts_with("//") {
            let path = location.to_string();
            return Ok(Self {
                path,
                ..self.clone()
            });
        }
        let (scheme, rest) = location
            .split_once("://")
            .ok_or_else(|| wrong("redirects to what is no URL of HTTP"))?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" | "ws" => false,
            "https" | "wss" => true,
            _ => return Err(wrong("redirects to what is no URL of HTTP")),
        };
        if self.tls && !tls {
            return Err(wrong("redirects from TLS to clear text"));
        }
        let server = Authority::parse(rest).ok_or_else(|| wrong("redirects to no valid host"))?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let path = rest.get(end..).unwrap_or_default();
        Ok(Self {
            host: server.host,
            port: server.port.unwrap_or(if tls { 443 } else { 80 }),
            tls,
            path: match path.starts_with('/') {
                true => path.to_string(),
                false => format!("/{path}"),
            },
        })
    }
}

/// A request whose answer is the road.
pub(super) struct Request<'a> {
    /// What errors call it.
    pub what: &'static str,
    pub version: &'static str,
    /// Instead of the path of the URL.
    pub path: Option<&'a str>,
    pub fields: Headers,
    /// The status that is hoped for, and what else is wrong with an answer.
    pub status: u16,
    pub check: &'a (dyn Fn(&Headers) -> Result<(), HttpError> + Send + Sync),
    /// A proxy takes the requests themselves where they are in clear text.
    pub by_proxy: bool,
}

/// Who sends requests to a place, and what it has been asked for.
pub(super) struct Caller {
    target: Arc<Target>,
    what: &'static str,
    version: &'static str,
    place: Place,
    reach: Reach,
    server: Login,
    /// The proxy that takes the requests.
    proxy: Option<(Proxy, Login)>,
    by_proxy: bool,
}

/// The connection that a GET was answered on.
pub(super) struct Answer {
    pub stream: Stream,
    pub local: SocketAddr,
    pub peer: SocketAddr,
    pub headers: Headers,
    /// What followed the head.
    pub rest: BytesMut,
}

/// Sends the GET to the port of the URL, and if that is of no use to the other one.
pub(super) async fn get(
    target: &Arc<Target>,
    request: &Request<'_>,
    deadline: Instant,
) -> Result<(Caller, Answer), ConnectError> {
    let url = &target.url;
    let Some(other) = url.other_port() else {
        return get_from(target, url.port(), request, deadline).await;
    };
    let first = get_from(target, url.port(), request, half_way(deadline)).await;
    let error = match first {
        // A name or a wrong password is no better on another port.
        Err(ConnectError::Failed { .. }) => {
            return get_from(target, other, request, deadline).await;
        }
        Err(error @ ConnectError::Http { .. }) if error.kind() != ErrorKind::NotAuthorized => error,
        Err(error @ ConnectError::Tls(TlsError::NotTls(_) | TlsError::Handshake { .. })) => error,
        outcome => return outcome,
    };
    match get_from(target, other, request, deadline).await {
        // What somebody said tells more than that there is nobody.
        Err(ConnectError::Failed { .. }) => Err(error),
        outcome => outcome,
    }
}

async fn get_from(
    target: &Arc<Target>,
    port: u16,
    request: &Request<'_>,
    deadline: Instant,
) -> Result<(Caller, Answer), ConnectError> {
    let mut caller = Caller::new(target, port, request);
    let mut redirects = 0usize;
    loop {
        let (mut stream, local, peer) = caller.dial(None, deadline).await?;
        let head = caller.head("GET", &request.fields, None);
        let (response, rest) = http::exchange(&mut stream, &head, deadline)
            .await
            .map_err(|error| caller.failed(error))?;
        if response.status == request.status {
            (request.check)(&response.headers).map_err(|error| caller.failed(error))?;
            let answer = Answer {
                stream,
                local,
                peer,
                headers: response.headers,
                rest,
            };
            return Ok((caller, answer));
        }
        if caller.is_challenged(&response)? {
            continue;
        }
        if matches!(response.status, 301..=303 | 307 | 308) {
            redirects = redirects.saturating_add(1);
            if redirects > limits::REDIRECTS {
                let why = "redirects without end".to_string();
                return Err(caller.failed(HttpError::Unusable(why)));
            }
            caller
                .redirect(&response, peer)
                .map_err(|error| caller.failed(error))?;
            continue;
        }
        return Err(caller.failed(response.refusal()));
    }
}

impl Caller {
    fn new(target: &Arc<Target>, port: u16, request: &Request<'_>) -> Self {
        let url = &target.url;
        let path = request.path.unwrap_or(url.path_and_query());
        let place = Place {
            host: url.host_with_zone(),
            port,
            tls: url.is_tls(),
            path: match path.starts_with('/') {
                true => path.to_string(),
                false => format!("/{path}"),
            },
        };
        let mut caller = Self {
            target: target.clone(),
            what: request.what,
            version: request.version,
            reach: target.reach,
            server: Login::new(Realm::Server, target.credentials.clone(), place.tls),
            place,
            proxy: None,
            by_proxy: request.by_proxy,
        };
        caller.choose_proxy();
        caller
    }

    /// Whether the proxy takes the requests themselves, which depends on the place.
    fn choose_proxy(&mut self) {
        let wanted = self.by_proxy && !self.place.tls;
        let proxy = self.target.http.proxy.as_ref();
        let proxy = proxy.filter(|proxy| wanted && proxy.takes_requests());
        self.proxy = match self.proxy.take() {
            Some(same) if proxy.is_some() => Some(same),
            _ => proxy.map(|proxy| (proxy.clone(), proxy.login())),
        };
    }

    /// A connection on which the place takes requests; `address` is one of its own
    /// instead of that of its name.
    pub async fn dial(
        &self,
        address: Option<&str>,
        deadline: Instant,
    ) -> Result<(Stream, SocketAddr, SocketAddr), ConnectError> {
        if let Some((proxy, _)) = &self.proxy {
            let stream = proxy.dial(deadline).await?;
            return Ok(Stream::with_addresses(stream));
        }
        let Place {
            host, port, tls, ..
        } = &self.place;
        let address = address.unwrap_or(host);
        // Without its zone.
        let name = host.split_once('%').map_or(host.as_str(), |(ip, _)| ip);
        let name = tls.then_some(name);
        self.target
            .stream(address, (*port, None), name, self.reach, deadline)
            .await
    }

    /// The head of a request; `address` as it was given to [`dial`](Self::dial).
    pub fn head(&mut self, method: &str, fields: &Headers, address: Option<&str>) -> Vec<u8> {
        let authority = |host| {
            let port = self.place.explicit_port();
            HostPort { host, port }.to_string()
        };
        let mut headers = Headers::new();
        headers.push("Host", authority(&self.place.host));
        let user_agent = &self.target.user_agent;
        if !user_agent.is_empty() {
            headers.push("User-Agent", user_agent.as_str());
        }
        for (name, value) in fields.iter() {
            headers.push(name, value);
        }
        for (name, value) in &self.target.http.extra_headers {
            headers.set(name, value.as_str());
        }
        let path = &self.place.path;
        self.server.authorize(method, path, &mut headers);
        match &mut self.proxy {
            Some((_, login)) => {
                let host = address.unwrap_or(&self.place.host);
                let absolute = format!("http://{}{path}", authority(host));
                login.authorize(method, &absolute, &mut headers);
                http::request(method, &absolute, self.version, &headers)
            }
            None => http::request(method, path, self.version, &headers),
        }
    }

    /// Whether the request is to be sent again, with credentials.
    fn is_challenged(&mut self, response: &Response) -> Result<bool, ConnectError> {
        if self.server.is_asked(response) {
            let challenged = self.server.challenged(response);
            challenged.map_err(|error| self.failed(error))?;
            return Ok(true);
        }
        match &mut self.proxy {
            Some((proxy, login)) if login.is_asked(response) => {
                login
                    .challenged(response)
                    .map_err(|error| proxy.failed(error))?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn redirect(&mut self, response: &Response, peer: SocketAddr) -> Result<(), HttpError> {
        let location = response.headers.get_str("Location").unwrap_or_default();
        let next = self.place.follow(&location)?;
        if !next.is_same_server(&self.place) {
            // Credentials stay with the origin that they were given for.
            self.server = Login::new(Realm::Server, None, next.tls);
            self.reach = self.reach_from(peer);
        }
        self.place = next;
        self.choose_proxy();
        Ok(())
    }

    /// How far an address may be that this server names: a public one sends nobody
    /// into the private network.
    pub fn reach_from(&self, peer: SocketAddr) -> Reach {
        let ip = match self.target.http.proxy {
            // The peer is the proxy then.
            Some(_) => self.place.host.parse().ok(),
            None => Some(peer.ip()),
        };
        match ip {
            Some(ip) if !is_public(ip) => self.reach,
            _ => Reach::PublicOnly,
        }
    }

    pub fn set_reach(&mut self, reach: Reach) {
        self.reach = reach;
    }

    pub fn failed(&self, error: HttpError) -> ConnectError {
        let place = HostPort {
            host: &self.place.host,
            port: Some(self.place.port),
        };
        ConnectError::Http {
            what: self.what,
            place: place.to_string(),
            error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place {
            host: "cam".into(),
            port: 8080,
            tls: false,
            path: "/live?x=1".into(),
        }
    }

    // covers: C-HTUN-09
    #[test]
    fn a_redirect_names_another_path_or_another_server() {
        let to = |location: &str| place().follow(location).unwrap();
        assert_eq!(
            to("/other?y"),
            Place {
                path: "/other?y".into(),
                ..place()
            }
        );
        let other = to("HTTPS://user:pw@[2001:db8::1]/a#b");
        assert_eq!(
            other,
            Place {
                host: "2001:db8::1".into(),
                port: 443,
                tls: true,
                path: "/a".into(),
            }
        );
        assert!(!other.is_same_server(&place()));
        assert!(to("http://CAM:8080").is_same_server(&place()));
        assert_eq!(to("http://h").path, "/");
        assert_eq!(to("http://h?q").path, "/?q");
        assert_eq!(to("http://h:81/").explicit_port(), Some(81));
        assert_eq!(to("http://h/").explicit_port(), None);
    }

    // covers: C-HTUN-09, C-REDIR-03
    #[test]
    fn a_redirect_that_leads_nowhere_or_out_of_tls_is_refused() {
        for location in [
            "",
            "x",
            "//h/x",
            "rtsp://h/x",
            "http://",
            "http://h:99999/",
            "http://h/a b",
            "http://h/\r\nX: y",
        ] {
            assert!(place().follow(location).is_err(), "{location:?}");
        }
        let tls = Place {
            tls: true,
            ..place()
        };
        assert!(tls.follow("http://cam/x").is_err());
        assert!(tls.follow("https://cam/x").is_ok());
        let hidden = tls.follow("http://u:secret@cam/x").unwrap_err().to_string();
        assert!(!hidden.contains("secret"), "{hidden}");
    }
}
