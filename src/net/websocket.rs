//! RTSP over WebSocket (RFC 6455), as ONVIF has it (Streaming Specification, "RTSP
//! over WebSocket"): the bytes of RTSP in binary messages, whose borders mean nothing.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{Sink, Stream as _, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, error::CapacityError};

use super::connect::ConnectError;
use super::get::{self, Request};
use super::http::HttpError;
use super::road::{Halves, Stream, Target};
use super::tunnel::copy;
use crate::rtsp::limits;
use crate::rtsp::message::Headers;
use crate::rtsp::parse::split_list;

const PROTOCOL: &str = "rtsp.onvif.org";
/// Bytes that are read from the connection at once.
const READ: usize = 64 * 1024;
/// Bytes that one message takes at most.
const WRITE: usize = 64 * 1024;

/// Opens it.
pub(super) async fn open(
    target: Arc<Target>,
    deadline: Instant,
) -> Result<(Halves, SocketAddr, SocketAddr), ConnectError> {
    let key = generate_key();
    let mut fields = Headers::new();
    fields.push("Upgrade", "websocket");
    fields.push("Connection", "Upgrade");
    fields.push("Sec-WebSocket-Key", key.as_str());
    fields.push("Sec-WebSocket-Version", "13");
    fields.push("Sec-WebSocket-Protocol", PROTOCOL);
    let request = Request {
        what: "WebSocket",
        version: "HTTP/1.1",
        path: target.http.websocket_path.as_deref(),
        fields,
        status: 101,
        check: &|headers| check(headers, &key),
        // RFC 6455 §4.1: CONNECT, also in clear text.
        by_proxy: false,
    };
    let (_, answer) = get::get(&target, &request, deadline).await?;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ)
        .write_buffer_size(0)
        .max_message_size(Some(limits::WEBSOCKET_MESSAGE))
        .max_frame_size(Some(limits::WEBSOCKET_MESSAGE));
    let rest = answer.rest.to_vec();
    let socket =
        WebSocketStream::from_partially_read(answer.stream, rest, Role::Client, Some(config));
    let (write, read) = socket.await.split();
    let reader = Reader {
        read,
        rest: Bytes::new(),
        failed: None,
    };
    let halves = Halves::Layered(Box::new(reader), Box::new(Writer(write)));
    Ok((halves, answer.local, answer.peer))
}

/// RFC 6455 §4.1, what to look at in a 101.
fn check(headers: &Headers, key: &str) -> Result<(), HttpError> {
    let wrong = |why: &str| Err(HttpError::Unusable(why.to_string()));
    let has = |name, word: &str| {
        let value = headers.joined(name).unwrap_or_default();
        split_list(&value).any(|item| item.eq_ignore_ascii_case(word))
    };
    if !has("Upgrade", "websocket") || !has("Connection", "upgrade") {
        return wrong("answers an upgrade to something else than a WebSocket");
    }
    if headers.get_str("Sec-WebSocket-Accept").as_deref()
        != Some(&derive_accept_key(key.as_bytes()))
    {
        return wrong("does not answer the key of the WebSocket");
    }
    if headers.get_str("Sec-WebSocket-Protocol").as_deref() != Some(PROTOCOL) {
        return wrong("does not speak RTSP over the WebSocket (no protocol rtsp.onvif.org)");
    }
    if headers.get("Sec-WebSocket-Extensions").is_some() {
        return wrong("uses an extension of WebSockets that nobody asked for");
    }
    Ok(())
}

/// What the server sends. A read takes all messages that have arrived.
struct Reader {
    read: SplitStream<WebSocketStream<Stream>>,
    /// Of the last message.
    rest: Bytes,
    /// What came after the last read.
    failed: Option<io::Error>,
}

impl Reader {
    /// The bytes of the next message; none are its end.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        loop {
            return Poll::Ready(match ready!(Pin::new(&mut self.read).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) if bytes.is_empty() => continue,
                // Pings are answered with the next write or read.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Ok(Message::Binary(bytes))) => Ok(Some(bytes)),
                Some(Ok(Message::Text(_))) => Err(io::Error::other(
                    "the server sent text over the WebSocket, where RTSP is binary",
                )),
                Some(Ok(Message::Close(_))) | None => Ok(None),
                Some(Err(error)) => Err(describe(error)),
            });
        }
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(error) = this.failed.take() {
            return Poll::Ready(Err(error));
        }
        let before = buffer.filled().len();
        while buffer.remaining() > 0 {
            if this.rest.has_remaining() {
                copy(&mut this.rest, buffer);
                continue;
            }
            let is_first = buffer.filled().len() == before;
            match this.poll_message(cx) {
                Poll::Ready(Ok(Some(bytes))) => this.rest = bytes,
                Poll::Ready(Err(error)) if is_first => return Poll::Ready(Err(error)),
                Poll::Ready(Err(error)) => {
                    this.failed = Some(error);
                    break;
                }
                Poll::Pending if is_first => return Poll::Pending,
                Poll::Ready(Ok(None)) | Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// What is sent to the server. A write is a message.
struct Writer(SplitSink<WebSocketStream<Stream>, Message>);

impl Writer {
    fn sink(self: Pin<&mut Self>) -> Pin<&mut SplitSink<WebSocketStream<Stream>, Message>> {
        Pin::new(&mut self.get_mut().0)
    }
}

impl AsyncWrite for Writer {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut sink = self.sink();
        ready!(sink.as_mut().poll_ready(cx)).map_err(describe)?;
        let mut message = BytesMut::new();
        for slice in slices {
            let room = WRITE.saturating_sub(message.len());
            message.extend_from_slice(slice.get(..room.min(slice.len())).unwrap_or_default());
        }
        let taken = message.len();
        if taken > 0 {
            sink.start_send(Message::Binary(message.freeze()))
                .map_err(describe)?;
        }
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.sink().poll_flush(cx).map_err(describe)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.sink().poll_close(cx).map_err(describe)
    }
}

fn describe(error: tungstenite::Error) -> io::Error {
    match error {
        tungstenite::Error::Io(error) => error,
        tungstenite::Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
            io::Error::other(format!(
                "the server sent {size} bytes in one message of the WebSocket, {max_size} are the most"
            ))
        }
        error => io::Error::other(format!("the WebSocket has failed: {error}")),
    }
}

#[cfg(test)]
mod tests;
