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
//! of a tunnel) asks [`Target::dial`] for it. Plain TCP, which is nearly every
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
use super::connect::{ConnectError, ConnectPermit, after, connect};
use super::tcp;
use super::tls::{self, TlsError};
use crate::rtsp::url::Url;

/// A server of many certificates may show another one after an appeal.
const APPEALS: usize = 3;

/// Where to connect to, and how.
#[derive(Debug)]
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
    Layered(
        Box<dyn AsyncRead + Send + Unpin>,
        Box<dyn AsyncWrite + Send + Unpin>,
    ),
}

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
        let silent = || ConnectError::Silent {
            host: host.to_string(),
            port,
        };
        let road = timeout_at(deadline, self.build(deadline)).await;
        let (stream, local, peer) = road.unwrap_or_else(|_| Err(silent()))?;
        let ends = Ends {
            local,
            peer,
            permit,
        };
        Ok((stream.into_halves(), ends))
    }

    /// All layers, once more if an appeal against a refused certificate is granted.
    async fn build(
        &self,
        deadline: Instant,
    ) -> Result<(Stream, SocketAddr, SocketAddr), ConnectError> {
        let mut result = self.climb(deadline).await;
        for _ in 0..APPEALS {
            match &result {
                Err(ConnectError::Tls(TlsError::Refused(refused)))
                    if self.tls.overrules(refused).await =>
                {
                    result = self.climb(deadline).await;
                }
                _ => break,
            }
        }
        result
    }

    /// All layers, from the bottom up.
    async fn climb(
        &self,
        deadline: Instant,
    ) -> Result<(Stream, SocketAddr, SocketAddr), ConnectError> {
        let tcp = self.dial(deadline).await?;
        // A connection that is gone already is found out by its reader.
        let unknown = SocketAddr::from(([0, 0, 0, 0], self.url.port()));
        let local = tcp.local_addr().unwrap_or(unknown);
        let peer = tcp.peer_addr().unwrap_or(unknown);
        let mut stream = Stream::Tcp(tcp);
        if self.url.is_tls() {
            stream = self.tls.connect(stream, self.url.host()).await?;
        }
        Ok((stream, local, peer))
    }

    /// A TCP connection to the host.
    async fn dial(&self, deadline: Instant) -> Result<TcpStream, ConnectError> {
        let url = &self.url;
        let ports = (url.port(), url.other_port());
        let tcp = connect(&url.host_with_zone(), ports, deadline, self.reach).await?;
        // Without it media waits in the kernel, as it does elsewhere.
        let _ = tcp::bound_unsent(&tcp);
        Ok(tcp)
    }
}

impl Stream {
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
