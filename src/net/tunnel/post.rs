//! What is sent to the server: base64 in the body of a POST.
//!
//! A POST promises a length. Servers do not look at it, but what lies between may:
//! when it is used up, another POST goes on. So does one when the server has ended
//! the last.

use std::io::{self, IoSlice, Write};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use base64::prelude::BASE64_STANDARD;
use base64::write::EncoderWriter;
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, sink};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::net::connect::{ConnectError, after};
use crate::net::get::Caller;
use crate::net::http::{self, HttpError};
use crate::net::road::Target;
use crate::rtsp::limits;
use crate::rtsp::message::Headers;

/// Bytes that are encoded in one turn at most.
const TURN: usize = 48 * 1024;
const MINUTE: Duration = Duration::from_secs(60);

/// What sends the POSTs.
pub(super) struct Poster {
    pub target: Arc<Target>,
    pub caller: Caller,
    pub fields: Headers,
    /// Where the server wants them, if that is not where the GET went.
    pub address: Option<String>,
    pub failures: mpsc::Sender<String>,
}

impl Poster {
    /// Sends the head. Its answer is not waited for: it comes late or never.
    async fn post(&mut self, deadline: Instant) -> Result<Post, ConnectError> {
        let address = self.address.as_deref();
        let (stream, ..) = self.caller.dial(address, deadline).await?;
        let length = self.target.http.post_length;
        self.fields.set("Content-Length", length.to_string());
        let head = self.caller.head("POST", &self.fields, address);
        let (read, mut write) = stream.into_boxes();
        let sent = http::within(deadline, async {
            write.write_all(&head).await?;
            Ok(write.flush().await?)
        });
        sent.await.map_err(|error| self.caller.failed(error))?;
        Ok(Post {
            write,
            left: length,
            answer: tokio::spawn(answer(read, self.failures.clone())),
        })
    }
}

/// Reads the answer to a POST, if there is one. Ends with the connection.
async fn answer(mut read: impl AsyncRead + Unpin, failures: mpsc::Sender<String>) {
    let mut buffer = BytesMut::new();
    let error = match http::read_head(&mut read, &mut buffer).await {
        Ok(response) if (200..300).contains(&response.status) => {
            let mut body = read.take(limits::BODY as u64);
            let _ = copy(&mut body, &mut sink()).await;
            return;
        }
        Ok(response) => response.refusal(),
        // What is sent next opens another.
        Err(HttpError::Closed | HttpError::Io(_)) => return,
        Err(error) => error,
    };
    // One failure is enough.
    let _ = failures.try_send(format!("the POST of the HTTP tunnel: the server {error}"));
}

/// An open POST.
struct Post {
    write: Box<dyn AsyncWrite + Send + Unpin>,
    /// What is left of the length that it promised.
    left: u64,
    answer: JoinHandle<()>,
}

impl Post {
    /// Ends it in such a way that the server gets all that was sent: a socket that is
    /// closed with something unread resets its connection.
    async fn end(mut self) {
        let _ = timeout(limits::OUTBOX_STALL, self.write.shutdown()).await;
        tokio::spawn(async move {
            let mut post = self;
            let _ = timeout(limits::OUTBOX_STALL, &mut post.answer).await;
        });
    }

    /// Bytes that may be encoded into what is left.
    fn room(&self) -> usize {
        let groups = usize::try_from(self.left).unwrap_or(usize::MAX) / 4;
        groups.saturating_mul(3)
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        self.answer.abort();
    }
}

type Opening = JoinHandle<Result<(Box<Poster>, Post), ConnectError>>;

enum State {
    Open(Box<Poster>, Post),
    Opening(Opening),
    Lost,
}

/// The writing half of a tunnel.
pub(super) struct Up {
    state: State,
    /// Who brings packets writes them, on threads of others too.
    runtime: Handle,
    /// What has been encoded, and how much of it is sent.
    encoded: Vec<u8>,
    sent: usize,
    /// POSTs that the server has ended lately.
    ended: u32,
    ended_since: Instant,
}

impl Up {
    pub async fn new(poster: Poster, deadline: Instant) -> Result<Self, ConnectError> {
        let mut poster = Box::new(poster);
        let post = poster.post(deadline).await?;
        Ok(Self {
            state: State::Open(poster, post),
            runtime: Handle::current(),
            encoded: Vec::new(),
            sent: 0,
            ended: 0,
            ended_since: Instant::now(),
        })
    }

    /// Sees to it that there is a POST, and that it has taken all that is encoded.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&mut Post>> {
        if let State::Opening(opening) = &mut self.state {
            let opened = ready!(Pin::new(opening).poll(cx));
            self.state = State::Lost;
            let opened = opened.map_err(io::Error::other)?;
            let (poster, post) = opened.map_err(|error| io::Error::other(error.to_string()))?;
            self.state = State::Open(poster, post);
        }
        let State::Open(_, post) = &mut self.state else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        while let Some(rest) = self.encoded.get(self.sent..).filter(|r| !r.is_empty()) {
            let sent = ready!(Pin::new(&mut post.write).poll_write(cx, rest))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent = self.sent.saturating_add(sent);
        }
        self.encoded.clear();
        self.sent = 0;
        Poll::Ready(Ok(post))
    }

    /// Begins another POST if this one has ended, or has no room for `plain` bytes
    /// while a new one has more.
    fn renew(&mut self, plain: usize) -> io::Result<()> {
        let State::Open(poster, post) = &self.state else {
            return Ok(());
        };
        let ended = post.answer.is_finished();
        let used = post.left < poster.target.http.post_length;
        let full = used && post.room() < plain;
        if !ended && !full {
            return Ok(());
        }
        if ended {
            let now = Instant::now();
            if now.saturating_duration_since(self.ended_since) > MINUTE {
                (self.ended, self.ended_since) = (0, now);
            }
            self.ended = self.ended.saturating_add(1);
            if self.ended > limits::POSTS_PER_MINUTE {
                let why = "the server ends each POST of the HTTP tunnel";
                return Err(io::Error::other(why));
            }
        }
        if let State::Open(mut poster, post) = mem::replace(&mut self.state, State::Lost) {
            self.state = State::Opening(self.runtime.spawn(async move {
                // The server is to see the end of one before it sees the other.
                post.end().await;
                let deadline = after(poster.target.timeout);
                let post = timeout_at(deadline, poster.post(deadline)).await;
                let post = post.map_err(|_| poster.caller.failed(HttpError::Closed))??;
                Ok((poster, post))
            }));
        }
        Ok(())
    }
}

impl AsyncWrite for Up {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    /// Whole writes are whole groups of base64, and the last one is padded: so what is
    /// sent ends where a message does, and there is no padding within a run of them.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        let all = slices
            .iter()
            .fold(0usize, |all, slice| all.saturating_add(slice.len()));
        if all == 0 {
            return Poll::Ready(Ok(0));
        }
        this.renew(all.min(TURN))?;
        let post = ready!(this.poll_drain(cx))?;
        let room = post.room().min(TURN);
        let taken = match all <= room {
            true => all,
            // The rest follows, so nothing is padded.
            false => room.saturating_sub(room % 3),
        };
        if taken == 0 {
            let why = "the POST of the HTTP tunnel is too short";
            return Poll::Ready(Err(io::Error::other(why)));
        }
        let left = post.left;
        let mut encoder = EncoderWriter::new(mem::take(&mut this.encoded), &BASE64_STANDARD);
        let mut rest = taken;
        for slice in slices {
            let part = slice.get(..rest.min(slice.len())).unwrap_or_default();
            encoder.write_all(part)?;
            rest = rest.saturating_sub(part.len());
        }
        this.encoded = encoder.finish()?;
        let used = u64::try_from(this.encoded.len()).unwrap_or(u64::MAX);
        // What cannot be sent at once is sent by the next write or flush.
        match this.poll_drain(cx) {
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Ready(Ok(_)) | Poll::Pending => {}
        }
        if let State::Open(_, post) = &mut this.state {
            post.left = left.saturating_sub(used);
        }
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let post = ready!(self.get_mut().poll_drain(cx))?;
        Pin::new(&mut post.write).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let post = ready!(self.get_mut().poll_drain(cx))?;
        Pin::new(&mut post.write).poll_shutdown(cx)
    }
}
