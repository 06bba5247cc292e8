//! What waits to be written on one connection.
//!
//! The session puts whole messages in and never waits. Where media leaves on the
//! same connection it is taken from its source between the messages, so that it
//! delays none of them for longer than one batch. Whoever brings something
//! writes it at once if the socket takes it and nobody else is writing; the task
//! of the connection writes the rest. A partial write is finished before
//! anything else.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWrite;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::rtsp::limits;

/// Messages and frames that one write takes at most.
const BATCH: usize = 16;
/// While the socket has no room for all of them. What is in the writer's hands can be neither overtaken nor dropped.
const SLOW_BATCH: usize = 4;
/// Writes in a row outside of the connection's task: a key frame of 500 KB. Waking the task for the rest costs more
/// than some writes do.
const TURNS: usize = 24;

/// What a message is, which decides whether it may be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request: never dropped.
    Request,
    /// A response to the server: never dropped.
    Response,
    /// An interleaved RTCP report: of each stream only the newest is kept.
    Report {
        /// The stream that it reports on.
        stream: usize,
    },
}

/// The connection is lost: the peer takes nothing, or writing has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The connection takes no more data")]
pub struct Lost;

/// A packet on its channel (RFC 2326 §10.12).
#[derive(Clone, Debug)]
pub struct Frame {
    header: [u8; 4],
    packet: Bytes,
}

impl Frame {
    /// `None` if the packet is longer than a frame can say.
    pub fn new(channel: u8, packet: Bytes) -> Option<Self> {
        let [high, low] = u16::try_from(packet.len()).ok()?.to_be_bytes();
        Some(Self {
            header: [b'$', channel, high, low],
            packet,
        })
    }

    /// The frame in one piece.
    pub fn to_bytes(&self) -> Bytes {
        [&self.header, &self.packet[..]].concat().into()
    }
}

/// Where the media of a connection comes from.
pub trait Frames: Send + Sync {
    /// Gives the frames that leave next, `room` at most.
    fn take(&self, room: usize, frame: &mut dyn FnMut(Frame));
}

/// The queue, without I/O.
#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<(Bytes, Kind)>,
    /// Bytes queued and in the writer's hands.
    bytes: usize,
}

impl Queue {
    fn push(&mut self, message: Bytes, kind: Kind) -> Result<(), Lost> {
        let report = matches!(kind, Kind::Report { .. });
        if report && let Some(older) = self.messages.iter_mut().find(|(_, k)| *k == kind) {
            // The older one's place in the queue is kept, so a busy queue cannot starve a stream.
            self.bytes = self
                .bytes
                .saturating_sub(older.0.len())
                .saturating_add(message.len());
            older.0 = message;
            return Ok(());
        }
        if !self.fits(message.len()) {
            if report {
                return Ok(());
            }
            self.drop_reports();
            if !self.fits(message.len()) {
                return Err(Lost);
            }
        }
        self.bytes = self.bytes.saturating_add(message.len());
        self.messages.push_back((message, kind));
        Ok(())
    }

    /// A single message may be larger than the queue's bound.
    fn fits(&self, length: usize) -> bool {
        self.bytes == 0 || self.bytes.saturating_add(length) <= limits::OUTBOX
    }

    fn drop_reports(&mut self) {
        self.messages.retain(|(message, kind)| {
            let report = matches!(kind, Kind::Report { .. });
            if report {
                self.bytes = self.bytes.saturating_sub(message.len());
            }
            !report
        });
    }

    /// The next message; its bytes stay charged until [`Queue::written`].
    fn take(&mut self) -> Option<Bytes> {
        self.messages.pop_front().map(|(message, _)| message)
    }

    fn written(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    pen: Mutex<Pen>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    queue: Queue,
    frames: Option<Arc<dyn Frames>>,
    closed: bool,
    lost: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the connection's own task: the others never hold it for longer than
    /// a few writes that do not wait.
    fn pen(&self) -> MutexGuard<'_, Pen> {
        self.pen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The session's end. Dropping it closes the connection once all messages are
/// written.
pub struct Outbox {
    shared: Arc<Shared>,
}

/// The connection's end.
pub struct Writer {
    shared: Arc<Shared>,
    /// A write that makes no progress for so long is given up.
    stall: Duration,
}

/// The end of those who bring media.
#[derive(Clone)]
pub struct Pump {
    shared: Arc<Shared>,
}

/// A queue for one connection.
pub fn outbox() -> (Outbox, Writer) {
    let shared = Arc::new(Shared::default());
    (
        Outbox {
            shared: shared.clone(),
        },
        Writer {
            shared,
            stall: limits::OUTBOX_STALL,
        },
    )
}

impl Outbox {
    /// Queues one whole message or frame. Never blocks.
    pub fn send(&self, message: impl Into<Bytes>, kind: Kind) -> Result<(), Lost> {
        let mut state = self.shared.lock();
        if state.closed || state.lost {
            return Err(Lost);
        }
        if let Err(lost) = state.queue.push(message.into(), kind) {
            state.lost = true;
            self.shared.changed.notify_one();
            return Err(lost);
        }
        drop(state);
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Media of this source leaves between the messages from now on.
    pub fn carry(&self, frames: Arc<dyn Frames>) -> Pump {
        self.shared.lock().frames = Some(frames);
        Pump {
            shared: self.shared.clone(),
        }
    }

    /// Takes no more; the messages that are queued are still written.
    pub fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_one();
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.close();
    }
}

impl Pump {
    /// The source has frames: writes what the socket takes now, and leaves the
    /// rest to the connection's task. Waits for nobody.
    pub fn run(&self) {
        if let Ok(mut pen) = self.shared.pen.try_lock() {
            if pen.blocked || pen.stream.is_none() {
                return;
            }
            let mut context = Context::from_waker(Waker::noop());
            for _ in 0..TURNS {
                match pen.poll_write(&self.shared, &mut context) {
                    Poll::Ready(Ok(Step::Wrote)) => {}
                    Poll::Ready(Ok(Step::Idle)) => return,
                    Poll::Ready(Ok(Step::Closed)) | Poll::Pending => break,
                    Poll::Ready(Err(error)) => {
                        pen.error = Some(error);
                        break;
                    }
                }
            }
        }
        // Whoever writes just now may have looked for frames already.
        self.shared.changed.notify_one();
    }
}

enum Unit {
    Message(Bytes),
    Frame(Frame),
}

impl Unit {
    fn parts(&self) -> (&[u8], &[u8]) {
        match self {
            Unit::Message(message) => (&[], message),
            Unit::Frame(frame) => (&frame.header, &frame.packet),
        }
    }

    fn len(&self) -> usize {
        let (header, rest) = self.parts();
        header.len().saturating_add(rest.len())
    }
}

/// What became of a turn.
enum Step {
    Wrote,
    /// There is nothing to write.
    Idle,
    /// There is nothing to write, and never will be.
    Closed,
}

/// The socket, and what is being written to it.
#[derive(Default)]
struct Pen {
    stream: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    units: VecDeque<Unit>,
    /// Bytes of the first unit that have been written.
    written: usize,
    /// TLS keeps what it has not been able to send.
    unflushed: bool,
    /// The socket did not take all of a write, and more has waited ever since.
    slow: bool,
    /// The task waits for the socket; nobody else may poll it meanwhile, since it
    /// wakes the last who did.
    blocked: bool,
    /// Found by somebody else than the task.
    error: Option<io::Error>,
}

impl Pen {
    /// One write at most.
    fn poll_write(&mut self, shared: &Shared, cx: &mut Context<'_>) -> Poll<io::Result<Step>> {
        if let Some(error) = self.error.take() {
            return Poll::Ready(Err(error));
        }
        let mut closed = false;
        if self.units.is_empty() {
            closed = self.fill(shared)?;
        }
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        self.blocked = true;
        if self.units.is_empty() {
            if self.unflushed {
                ready!(Pin::new(stream).poll_flush(cx))?;
                self.unflushed = false;
            }
            self.blocked = false;
            return Poll::Ready(Ok(if closed { Step::Closed } else { Step::Idle }));
        }
        let mut slices = [IoSlice::new(&[]); 2 * BATCH];
        let mut skip = self.written;
        let parts = self.units.iter().flat_map(|unit| {
            let (header, rest) = unit.parts();
            [header, rest]
        });
        let mut count = 0usize;
        for (slice, part) in slices.iter_mut().zip(parts) {
            let skipped = skip.min(part.len());
            skip = skip.saturating_sub(skipped);
            *slice = IoSlice::new(part.get(skipped..).unwrap_or_default());
            count = count.saturating_add(1);
        }
        let slices = slices.get(..count).unwrap_or_default();
        let caught_up = !std::mem::replace(&mut self.slow, true);
        let written = ready!(Pin::new(stream).poll_write_vectored(cx, slices))?;
        self.blocked = false;
        self.unflushed = true;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.advance(shared, written);
        self.slow = !(caught_up && self.units.is_empty());
        Poll::Ready(Ok(Step::Wrote))
    }

    /// Takes the messages that wait, then frames. True if nothing comes any more.
    fn fill(&mut self, shared: &Shared) -> io::Result<bool> {
        let (frames, closed) = {
            let mut state = shared.lock();
            if state.lost {
                return Err(io::Error::new(io::ErrorKind::TimedOut, Lost));
            }
            while self.units.len() < BATCH
                && let Some(message) = state.queue.take()
            {
                self.units.push_back(Unit::Message(message));
            }
            (state.frames.clone(), state.closed)
        };
        let batch = if self.slow { SLOW_BATCH } else { BATCH };
        let room = batch.saturating_sub(self.units.len());
        if let Some(frames) = frames
            && room > 0
            && !closed
        {
            let before = self.units.len();
            frames.take(room, &mut |frame| self.units.push_back(Unit::Frame(frame)));
            let taken = self.units.len().saturating_sub(before);
            // The source has no more: it has caught up.
            self.slow &= taken == room;
        }
        Ok(closed)
    }

    fn advance(&mut self, shared: &Shared, written: usize) {
        self.written = self.written.saturating_add(written);
        while let Some(first) = self.units.front() {
            let Some(rest) = self.written.checked_sub(first.len()) else {
                return;
            };
            self.written = rest;
            if let Some(Unit::Message(message)) = self.units.pop_front() {
                shared.lock().queue.written(message.len());
            }
        }
    }
}

impl Writer {
    /// Writes what is queued until the outbox is closed (`Ok`) or the connection
    /// is lost. Shuts `stream` down after the last message.
    pub async fn run<W>(self, stream: W) -> io::Result<()>
    where
        W: AsyncWrite + Send + Unpin + 'static,
    {
        self.shared.pen().stream = Some(Box::new(stream));
        let result = self.write_all().await;
        // Closes it, and parts the connection from the source of its media.
        *self.shared.pen() = Pen::default();
        let mut state = self.shared.lock();
        state.lost = true;
        let frames = state.frames.take();
        drop(state);
        drop(frames);
        result
    }

    async fn write_all(&self) -> io::Result<()> {
        loop {
            let write = poll_fn(|cx| self.shared.pen().poll_write(&self.shared, cx));
            match self.progress(write).await? {
                Step::Wrote => {}
                // A notification since the look at the queue is kept.
                Step::Idle => self.shared.changed.notified().await,
                Step::Closed => {
                    // Closing is left to the peer or the stream's drop if it fails.
                    let shutdown = poll_fn(|cx| match &mut self.shared.pen().stream {
                        Some(stream) => Pin::new(stream).poll_shutdown(cx),
                        None => Poll::Ready(Ok(())),
                    });
                    return self.progress(shutdown).await;
                }
            }
        }
    }

    async fn progress<T>(&self, operation: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        timeout(self.stall, operation).await.unwrap_or_else(|_| {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the peer reads nothing",
            ))
        })
    }
}

#[cfg(test)]
mod tests;
