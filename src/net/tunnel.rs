//! RTSP over HTTP, as Apple's QuickTime Streaming Server has it: what the server
//! sends is the body of the answer to a GET, what is sent to it is the body of a
//! POST, in base64. Both have the same cookie, by which the server pairs them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::connect::ConnectError;
use super::get::{self, Request};
use super::http::HttpError;
use super::road::{Halves, Stream, Target};
use crate::rtsp::message::Headers;

mod post;

use self::post::{Poster, Up};

const CONTENT_TYPE: &str = "application/x-rtsp-tunnelled";

/// Opens both connections.
pub(super) async fn open(
    target: Arc<Target>,
    deadline: Instant,
) -> Result<(Halves, SocketAddr, SocketAddr), ConnectError> {
    let mut fields = Headers::new();
    fields.push("x-sessioncookie", cookie());
    fields.push("Accept", CONTENT_TYPE);
    fields.push("Pragma", "no-cache");
    fields.push("Cache-Control", "no-cache");
    let request = Request {
        what: "HTTP tunnel",
        // 1.1 would let proxies answer in chunks.
        version: "HTTP/1.0",
        path: None,
        fields,
        status: 200,
        check: &check,
        by_proxy: true,
    };
    let (mut caller, answer) = get::get(&target, &request, deadline).await?;
    let address = match target.http.ignore_server_address {
        true => None,
        false => server_address(&answer.headers),
    };
    if address.is_some() {
        caller.set_reach(caller.reach_from(answer.peer));
    }
    let mut fields = request.fields;
    fields.set("Content-Type", CONTENT_TYPE);
    fields.remove("Accept");
    fields.push("Expires", "Sun, 9 Jan 1972 00:00:00 GMT");
    let (failures, failed) = mpsc::channel(1);
    let poster = Poster {
        target,
        caller,
        fields,
        address,
        failures,
    };
    let up = Up::new(poster, deadline).await?;
    let down = Down {
        stream: answer.stream,
        rest: answer.rest,
        failed,
    };
    let halves = Halves::Layered(Box::new(down), Box::new(up));
    Ok((halves, answer.local, answer.peer))
}

/// 22 characters, as some servers want no more.
fn cookie() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(rand::random::<u128>().to_be_bytes())
}

/// Web servers answer a GET as well.
fn check(headers: &Headers) -> Result<(), HttpError> {
    let value = |name| headers.get_str(name).unwrap_or_default().to_lowercase();
    if value("Content-Type").starts_with("text/html") {
        return Err(HttpError::Unusable("answers with a web page".into()));
    }
    if value("Transfer-Encoding").contains("chunked") {
        return Err(HttpError::Unusable("answers in chunks".into()));
    }
    Ok(())
}

/// Where the POST shall go if the server says so: one name may stand for many of them.
fn server_address(headers: &Headers) -> Option<String> {
    let address = headers.get_str("x-server-ip-address")?;
    address.parse::<IpAddr>().ok().map(|ip| ip.to_string())
}

/// What the server sends.
struct Down {
    stream: Stream,
    /// What followed the head of the answer.
    rest: BytesMut,
    /// Why the POST has failed.
    failed: mpsc::Receiver<String>,
}

impl AsyncRead for Down {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Poll::Ready(Some(why)) = this.failed.poll_recv(cx) {
            return Poll::Ready(Err(io::Error::other(why)));
        }
        if this.rest.has_remaining() {
            copy(&mut this.rest, buffer);
            return Poll::Ready(Ok(()));
        }
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        Poll::Ready(Ok(()))
    }
}

/// As much as there is room for.
pub(super) fn copy(from: &mut impl Buf, to: &mut ReadBuf<'_>) {
    let chunk = from.chunk();
    let length = chunk.len().min(to.remaining());
    to.put_slice(chunk.get(..length).unwrap_or_default());
    from.advance(length);
}

#[cfg(test)]
mod tests;
