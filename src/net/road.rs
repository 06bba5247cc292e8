//! The road to a server: all that lies between RTSP's bytes and the network.
//!
//! A road is built from the bottom up, within one deadline, in this order:
//!
//! ```text
//! TCP (net/connect.rs) -> proxy -> TLS -> HTTP tunnel or WebSocket
//! ```
//!
//! Each layer is an `async fn(Stream, ..) -> Result<Stream, ConnectError>`: it
//! does its handshake on the stream of the layer below and gives back what the
//! one above reads and writes. A layer that needs a second connection (the POST
//! of a tunnel) asks `Target::stream` for it. Plain TCP, which is nearly every
//! road, keeps the types of its halves, so that it has nothing between the socket
//! and the reader, and its writes stay vectored; any other is boxed.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, split};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, timeout_at};

use super::address::Reach;
use super::connect::{ConnectError, ConnectPermit, after, connect, half_way};
use super::http::HttpSettings;
use super::tls::{self, TlsError};
use super::{tcp, tunnel, websocket};
use crate::rtsp::client::ErrorKind;
use crate::rtsp::url::{Credentials, SchemeTransport, Url};

/// A server of many certificates may show another one after an appeal.
const APPEALS: usize = 3;

/// Where to connect to, and how.
#[derive(Debug, Clone)]
pub struct Target {
    /// The presentation; it says which layers the road has.
    pub url: Url,
    /// For the whole road, name lookup and handshakes included.
    pub timeout: Duration,
    /// Which addresses may be connected to.
    pub reach: Reach,
    /// For a URL of TLS.
    pub tls: Arc<tls::Connector>,
    /// Whether to wait until few enough others are being set up there.
    pub permit: bool,
    /// For the HTTP of tunnels and WebSockets; RTSP inside has its own.
    pub credentials: Option<Credentials>,
    /// As in RTSP.
    pub user_agent: String,
    /// Tunnels and proxies.
    pub http: HttpSettings,
}

/// Between whom a road lies.
#[derive(Debug)]
pub struct Ends {
    /// Our address.
    pub local: SocketAddr,
    /// The address that we are connected to.
    pub peer: SocketAddr,
    /// To be given back when the presentation is set up or has failed.
    pub permit: Option<ConnectPermit>,
}

/// The two directions of a road: what RTSP reads and writes.
pub enum Halves {
    /// Plain TCP.
    Tcp(OwnedReadHalf, OwnedWriteHalf),
    /// Anything else.
    Layered(Reading, Writing),
}

type Reading = Box<dyn AsyncRead + Send + Unpin>;
type Writing = Box<dyn AsyncWrite + Send + Unpin>;

/// What a layer stands on and what it becomes.
pub enum Stream {
    /// No layer yet.
    Tcp(TcpStream),
    /// One layer or several.
    Layered(Box<dyn Duplex>),
}

/// Both directions in one.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl Target {
    /// Builds the road. Called in the context of the runtime that shall own its
    /// sockets.
    pub async fn open(self) -> Result<(Halves, Ends), ConnectError> {
        let (host, port) = (self.url.host(), self.url.port());
        let permit = match self.permit {
            true => Some(ConnectPermit::acquire(host, port).await),
            false => None,
        };
        let deadline = after(self.timeout);
        let silent = self.silent(host, port);
        let built = timeout_at(deadline, Arc::new(self).build(deadline)).await;
        let (halves, local, peer) = built.unwrap_or(Err(silent))?;
        let ends = Ends {
            local,
            peer,
            permit,
        };
        Ok((halves, ends))
    }

    /// All layers.
    async fn build(
        self: Arc<Self>,
        deadline: Instant,
    ) -> Result<(Halves, SocketAddr, SocketAddr), ConnectError> {
        match self.url.forced_transport() {
            Some(SchemeTransport::Tunnel) => tunnel::open(self, deadline).await,
            Some(SchemeTransport::WebSocket) => websocket::open(self, deadline).await,
            _ => {
                let url = &self.url;
                let (host, ports) = (url.host_with_zone(), (url.port(), url.other_port()));
                let tls = url.is_tls().then(|| url.host());
                let (stream, local, peer) =
                    self.stream(&host, ports, tls, self.reach, deadline).await?;
                Ok((stream.into_halves(), local, peer))
            }
        }
    }

    /// The layers up to TLS, and between which addresses they are; once more if an
    /// appeal against a refused certificate is granted. `tls` is the name that the
    /// certificate must have.
    pub(super) async fn stream(
        &self,
        host: &str,
        ports: (u16, Option<u16>),
        tls: Option<&str>,
        reach: Reach,
        deadline: Instant,
    ) -> Result<(Stream, SocketAddr, SocketAddr), ConnectError> {
        let mut appeals = 0..APPEALS;
        loop {
            let tcp = self.dial(host, ports, reach, deadline).await?;
            let (stream, local, peer) = Stream::with_addresses(tcp);
            let Some(name) = tls else {
                return Ok((stream, local, peer));
            };
            let secured = timeout_at(deadline, self.tls.connect(stream, name)).await;
            match secured.map_err(|_| self.silent(host, peer.port()))? {
                Ok(stream) => return Ok((stream, local, peer)),
                Err(TlsError::Refused(refused))
                    if appeals.next().is_some() && self.tls.overrules(&refused).await => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A TCP connection that leads to the host.
    async fn dial(
        &self,
        host: &str,
        (port, other): (u16, Option<u16>),
        reach: Reach,
        deadline: Instant,
    ) -> Result<TcpStream, ConnectError> {
        let Some(proxy) = &self.http.proxy else {
            return connect(host, (port, other), deadline, reach).await;
        };
        let Some(other) = other else {
            return proxy.connect(host, port, deadline, reach).await;
        };
        match proxy.connect(host, port, half_way(deadline), reach).await {
            Err(error @ ConnectError::Proxy { .. }) if error.kind() == ErrorKind::Connect => {
                proxy.connect(host, other, deadline, reach).await
            }
            outcome => outcome,
        }
    }

    fn silent(&self, host: &str, port: u16) -> ConnectError {
        ConnectError::Silent {
            host: host.to_string(),
            port,
        }
    }
}

impl Stream {
    /// The lowest layer, and between which addresses it is.
    pub(super) fn with_addresses(tcp: TcpStream) -> (Self, SocketAddr, SocketAddr) {
        // Without it media waits in the kernel, as it does elsewhere.
        let _ = tcp::bound_unsent(&tcp);
        // A connection that is gone already is found out by its reader.
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let local = tcp.local_addr().unwrap_or(unknown);
        let peer = tcp.peer_addr().unwrap_or(unknown);
        (Stream::Tcp(tcp), local, peer)
    }

    /// Both directions for themselves, whatever they are made of.
    pub(super) fn into_boxes(self) -> (Reading, Writing) {
        match self.into_halves() {
            Halves::Tcp(read, write) => (Box::new(read), Box::new(write)),
            Halves::Layered(read, write) => (read, write),
        }
    }

    fn into_halves(self) -> Halves {
        match self {
            Stream::Tcp(tcp) => {
                let (read, write) = tcp.into_split();
                Halves::Tcp(read, write)
            }
            Stream::Layered(duplex) => {
                let (read, write) = split(duplex);
                Halves::Layered(Box::new(read), Box::new(write))
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Stream::Layered(duplex) => Pin::new(duplex).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Stream::Layered(duplex) => Pin::new(duplex).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(cx, slices),
            Stream::Layered(duplex) => Pin::new(duplex).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Tcp(tcp) => tcp.is_write_vectored(),
            Stream::Layered(duplex) => duplex.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Stream::Layered(duplex) => Pin::new(duplex).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Layered(duplex) => Pin::new(duplex).poll_shutdown(cx),
        }
    }
}
