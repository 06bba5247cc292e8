//! One connection to the server: its reader, its writer and what they say.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};

use super::media::Demux;
use crate::net::connect::{ConnectError, ConnectPermit};
use crate::net::outbox::{Frames, Kind, Outbox, Pump, outbox};
use crate::net::road::{Ends, Halves, Target};
use crate::net::tcp::{self, FrameHandler, Gate, Inbound};

/// Messages of the server that the session has not taken yet; then the reader waits.
const INBOUND: usize = 64;

/// A connection attempt that is under way.
pub(super) struct Connecting<H = Demux>(JoinHandle<Result<Link<H>, ConnectError>>);

impl<H> Drop for Connecting<H> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<H: FrameHandler> Connecting<H> {
    /// Connects on `io`, whose driver then serves the socket. `frames` takes the
    /// interleaved frames that the server sends.
    /// The reader waits at `gate`.
    pub fn start(io: &Handle, target: Target, frames: H, gate: Option<Arc<Gate>>) -> Self {
        let runtime = io.clone();
        Self(io.spawn(async move {
            let (halves, ends) = target.open().await?;
            Ok(match halves {
                Halves::Tcp(read, write) => Link::new(&runtime, read, write, ends, frames, gate),
                Halves::Layered(read, write) => {
                    Link::new(&runtime, read, write, ends, frames, gate)
                }
            })
        }))
    }

    /// The outcome; cancel safe.
    pub async fn outcome(connecting: &mut Option<Self>) -> Result<Link<H>, ConnectError> {
        match connecting {
            Some(Connecting(task)) => match task.await {
                Ok(outcome) => outcome,
                // It crashed, or was aborted with its runtime.
                Err(error) => Err(ConnectError::Resolve {
                    host: String::new(),
                    port: 0,
                    error: std::io::Error::other(error),
                }),
            },
            None => pending().await,
        }
    }
}

/// An open connection. Dropping it closes it once all is written.
pub(super) struct Link<H = Demux> {
    outbox: Outbox,
    pub demux: Arc<Mutex<H>>,
    inbound: mpsc::Receiver<Inbound>,
    reader: AbortHandle,
    pub local: SocketAddr,
    pub peer: SocketAddr,
    /// Given back when the presentation is set up or has failed.
    pub permit: Option<ConnectPermit>,
}

impl<H> Drop for Link<H> {
    fn drop(&mut self) {
        self.outbox.close();
        self.reader.abort();
    }
}

impl<H: FrameHandler> Link<H> {
    fn new<R, W>(
        runtime: &Handle,
        read: R,
        write: W,
        ends: Ends,
        frames: H,
        gate: Option<Arc<Gate>>,
    ) -> Self
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let demux = Arc::new(Mutex::new(frames));
        let (sender, inbound) = mpsc::channel(INBOUND);
        let reader = runtime.spawn(tcp::read(read, demux.clone(), sender.clone(), gate));
        let abort = reader.abort_handle();
        let crashed = sender.clone();
        runtime.spawn(async move {
            if reader.await.is_err_and(|error| error.is_panic()) {
                let reason = "internal error: the reader has crashed".to_string();
                let _ = crashed.send(Inbound::Closed(reason)).await;
            }
        });
        let (outbox, writer) = outbox();
        runtime.spawn(async move {
            if let Err(error) = writer.run(write).await {
                let _ = sender.send(Inbound::Closed(error.to_string())).await;
            }
        });
        Link {
            outbox,
            demux,
            inbound,
            reader: abort,
            local: ends.local,
            peer: ends.peer,
            permit: ends.permit,
        }
    }
}

impl<H> Link<H> {
    /// Queues a whole message or frame; false if the connection takes no more.
    pub fn send(&self, message: impl Into<Bytes>, kind: Kind) -> bool {
        self.outbox.send(message, kind).is_ok()
    }

    /// Media of this source leaves on the connection, between the messages.
    pub fn carry(&self, frames: Arc<dyn Frames>) -> Pump {
        self.outbox.carry(frames)
    }

    /// What the server says next; cancel safe.
    pub async fn inbound(link: &mut Option<Self>) -> Inbound {
        match link {
            Some(link) => match link.inbound.recv().await {
                Some(inbound) => inbound,
                None => Inbound::Closed("the connection is closed".into()),
            },
            None => pending().await,
        }
    }
}
