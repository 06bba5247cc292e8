//! The reader of an RTSP connection: bytes to messages and media frames.
//!
//! Small reads are copied into exact-size buffers and their chunk is used
//! again; only reads that fill a good part of a chunk are handed on as slices
//! of it, so that what a queue keeps alive stays within twice its payload.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};

use super::tls;
use crate::rtsp::framing::{Decoder, Step, Stranger};
use crate::rtsp::limits;
use crate::rtsp::message::Message;

/// Bytes asked of the socket at once.
const CHUNK: usize = 64 * 1024;
/// Payload from which on a chunk is shared instead of copied.
const SHARE: usize = 32 * 1024;

/// Packets below this are copied all the same.
const SHARE_PACKET: usize = 512;

/// Bytes that may wait in the kernel before they are sent for the first time.
/// They are half a second at 500 kbit/s, which no queue of ours can take back.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT: u32 = 32 * 1024;

/// A packet's bytes, in memory of their own or shared with their chunk.
pub enum Payload {
    Copied(Vec<u8>),
    Shared(Bytes),
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        match self {
            Payload::Copied(bytes) => bytes,
            Payload::Shared(bytes) => bytes,
        }
    }
}

impl Payload {
    /// Bytes of memory that this packet accounts for.
    pub fn pinned(&self) -> usize {
        match self {
            Payload::Copied(bytes) => bytes.capacity(),
            // A shared chunk is at least half full of payload.
            Payload::Shared(bytes) => bytes.len().saturating_mul(2),
        }
    }
}

/// Holds a reader up while what it has read waits, so that TCP tells the
/// sender to wait too.
#[derive(Debug, Default)]
pub struct Gate {
    closed: AtomicBool,
    /// It is to stay open, whatever waits.
    wedged: AtomicBool,
    opened: Notify,
}

impl Gate {
    pub fn close(&self) {
        self.closed
            .store(!self.wedged.load(Ordering::Acquire), Ordering::Release);
        // It may have been wedged meanwhile.
        if self.wedged.load(Ordering::Acquire) {
            self.open();
        }
    }

    pub fn open(&self) {
        if self.closed.swap(false, Ordering::AcqRel) {
            self.opened.notify_one();
        }
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// An answer is awaited, which is behind the media.
    pub fn wedge(&self, wedged: bool) {
        self.wedged.store(wedged, Ordering::Release);
        if wedged {
            self.open();
        }
    }

    async fn pass(&self) {
        while self.is_closed() {
            self.opened.notified().await;
        }
    }
}

/// What takes the media frames of a connection.
pub trait FrameHandler: Send + 'static {
    /// A read has returned; its frames follow.
    fn burst_begins(&mut self, arrival: Instant);
    /// Whether frames on `channel` are wanted; the others are not copied.
    fn wants(&mut self, channel: u8, payload: &[u8]) -> bool;
    fn frame(&mut self, channel: u8, payload: Payload);
    /// The frames of the read have been handed over.
    fn burst_ends(&mut self);
    /// Bytes were skipped to find the next message or frame.
    fn damaged(&mut self, bytes: usize);
    /// Channels that are in use, for finding the next frame after damage.
    fn channels(&self) -> &[u8];
}

/// What a connection's reader tells the session.
#[derive(Debug)]
pub enum Inbound {
    Message(Message),
    /// What is odd about the stream, once by name.
    Quirk(&'static str),
    /// The last thing a reader says: why it stopped.
    Closed(String),
    /// In its place: it was no RTSP server that answered.
    NotRtsp(String),
}

/// Keeps what the kernel has not sent yet short: what is in there can neither be
/// overtaken by a message nor dropped.
pub fn bound_unsent(stream: &TcpStream) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT)?;
    let _ = stream;
    Ok(())
}

/// Reads until the connection ends or breaks the protocol.
pub async fn read<R: AsyncRead + Unpin, H: FrameHandler>(
    mut socket: R,
    handler: Arc<Mutex<H>>,
    inbound: mpsc::Sender<Inbound>,
    gate: Option<Arc<Gate>>,
) {
    let mut reader = Reader::new(handler);
    let reason = loop {
        if let Some(gate) = &gate {
            gate.pass().await;
        }
        match socket.read_buf(&mut reader.buffer).await {
            Ok(0) => break "the server closed the connection".to_string(),
            Ok(_) => {}
            Err(error) => break describe(&error),
        }
        let result = reader.handle_bytes(Instant::now());
        while let Some(quirk) = reader.decoder.take_quirk() {
            if inbound.send(Inbound::Quirk(quirk)).await.is_err() {
                return;
            }
        }
        for message in reader.messages.drain(..) {
            if inbound.send(Inbound::Message(message)).await.is_err() {
                return;
            }
        }
        if let Err(reason) = result {
            break reason;
        }
        if let Some(Stranger::Http | Stranger::Tls) = reader.decoder.stranger() {
            break String::new();
        }
    };
    // The session may have gone; then nobody needs the reason.
    let last = match reader.decoder.stranger() {
        Some(stranger) => Inbound::NotRtsp(stranger.to_string()),
        None => Inbound::Closed(reason),
    };
    let _ = inbound.send(last).await;
}

fn describe(error: &io::Error) -> String {
    if let Some(reason) = tls::describe(error) {
        return reason;
    }
    match error.kind() {
        // Without the close_notify of TLS (RFC 8446 §6.1): what was begun is not used.
        io::ErrorKind::UnexpectedEof => "the server closed the connection".into(),
        io::ErrorKind::ConnectionReset => "the server reset the connection".into(),
        io::ErrorKind::TimedOut => {
            "the connection timed out: the server or the network is gone".into()
        }
        _ => error.to_string(),
    }
}

struct Reader<H> {
    buffer: BytesMut,
    decoder: Decoder,
    handler: Arc<Mutex<H>>,
    messages: Vec<Message>,
    /// When the message or frame at the head of the buffer began.
    partial_since: Option<Instant>,
}

impl<H: FrameHandler> Reader<H> {
    fn new(handler: Arc<Mutex<H>>) -> Self {
        Self {
            buffer: BytesMut::with_capacity(CHUNK),
            decoder: Decoder::default(),
            handler,
            messages: Vec::new(),
            partial_since: None,
        }
    }

    fn handle_bytes(&mut self, now: Instant) -> Result<(), String> {
        let handler = self.handler.clone();
        let mut handler = handler.lock().unwrap_or_else(PoisonError::into_inner);
        handler.burst_begins(now);
        self.decoder.clear_channels();
        for channel in handler.channels() {
            self.decoder.assign_channel(*channel);
        }
        let share = self.buffer.len() >= SHARE;
        let chunk = if share {
            self.buffer.split().freeze()
        } else {
            Bytes::new()
        };
        let buffer = std::mem::take(&mut self.buffer);
        let result = if share {
            self.decode(&chunk, Some(&chunk), &mut *handler)
        } else {
            self.decode(&buffer, None, &mut *handler)
        };
        self.buffer = buffer;
        handler.burst_ends();
        drop(handler);
        let (consumed, need) = result?;
        if share {
            let rest = chunk.get(consumed..).unwrap_or_default();
            self.buffer = BytesMut::with_capacity(CHUNK.max(rest.len().saturating_add(need)));
            self.buffer.extend_from_slice(rest);
        } else {
            self.buffer.advance(consumed);
            self.buffer.reserve(need.max(SHARE));
        }
        self.check_completion(consumed, now)
    }

    /// A message or frame that has begun must end in time, however slowly its
    /// bytes trickle in.
    fn check_completion(&mut self, consumed: usize, now: Instant) -> Result<(), String> {
        if self.buffer.is_empty() {
            self.partial_since = None;
        } else if consumed > 0 {
            self.partial_since = Some(now);
        } else {
            let since = *self.partial_since.get_or_insert(now);
            if now.saturating_duration_since(since) > limits::MESSAGE_COMPLETION {
                return Err("the server did not finish a message it had begun".into());
            }
        }
        Ok(())
    }

    /// Decodes all that is complete in `bytes`. Returns how many bytes that
    /// was, and how many more are wanted.
    fn decode(
        &mut self,
        bytes: &[u8],
        chunk: Option<&Bytes>,
        handler: &mut H,
    ) -> Result<(usize, usize), String> {
        let mut at = 0usize;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            if rest.is_empty() {
                return Ok((at, 0));
            }
            let consumed = match self
                .decoder
                .decode(rest)
                .map_err(|error| error.to_string())?
            {
                Step::Frame {
                    channel,
                    payload,
                    consumed,
                } => {
                    let data = rest.get(payload.clone()).unwrap_or_default();
                    if handler.wants(channel, data) {
                        let payload = match chunk {
                            // A small packet would keep a whole chunk alive.
                            Some(chunk) if data.len() >= SHARE_PACKET => {
                                Payload::Shared(chunk.slice_ref(data))
                            }
                            _ => Payload::Copied(data.to_vec()),
                        };
                        handler.frame(channel, payload);
                    }
                    consumed
                }
                Step::Message { message, consumed } => {
                    self.messages.push(message);
                    consumed
                }
                Step::Skip { consumed, damaged } => {
                    if damaged {
                        handler.damaged(consumed);
                    }
                    consumed
                }
                Step::NeedMore { need } => return Ok((at, need)),
            };
            at = at.saturating_add(consumed);
        }
    }
}
