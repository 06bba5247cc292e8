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
/// Writes in a row outside of the connection's task.
const TURNS: usize = 4;

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
        let written = ready!(Pin::new(stream).poll_write_vectored(cx, slices))?;
        self.blocked = false;
        self.unflushed = true;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.advance(shared, written);
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
        let room = BATCH.saturating_sub(self.units.len());
        if let Some(frames) = frames
            && room > 0
            && !closed
        {
            frames.take(room, &mut |frame| self.units.push_back(Unit::Frame(frame)));
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
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(async { timeout(Duration::from_secs(10), future).await.unwrap() })
    }

    fn drain(queue: &mut Queue) -> Vec<Bytes> {
        std::iter::from_fn(|| queue.take().inspect(|m| queue.written(m.len()))).collect()
    }

    #[test]
    fn of_each_stream_only_the_newest_report_is_kept() {
        let mut queue = Queue::default();
        for (message, kind) in [
            ("rr0", Kind::Report { stream: 0 }),
            ("req", Kind::Request),
            ("rr1", Kind::Report { stream: 1 }),
            ("RR0", Kind::Report { stream: 0 }),
            ("res", Kind::Response),
            ("req", Kind::Request),
        ] {
            queue.push(Bytes::from(message), kind).unwrap();
        }
        assert_eq!(queue.bytes, 15);
        assert_eq!(drain(&mut queue), ["RR0", "req", "rr1", "res", "req"]);
        assert_eq!(queue.bytes, 0);
    }

    #[test]
    fn a_report_that_is_being_written_is_not_replaced() {
        let mut queue = Queue::default();
        let kind = Kind::Report { stream: 0 };
        queue.push(Bytes::from("old"), kind).unwrap();
        assert_eq!(queue.take().unwrap(), "old");
        queue.push(Bytes::from("new"), kind).unwrap();
        assert_eq!(queue.bytes, 6);
        assert_eq!(queue.take().unwrap(), "new");
    }

    #[test]
    fn over_the_bound_requests_are_an_error_and_reports_are_dropped() {
        let mut queue = Queue::default();
        let byte = Bytes::from_static(b"x");
        queue
            .push(Bytes::from(vec![0; limits::OUTBOX - 1]), Kind::Request)
            .unwrap();
        queue
            .push(byte.clone(), Kind::Report { stream: 0 })
            .unwrap();
        queue
            .push(byte.clone(), Kind::Report { stream: 1 })
            .unwrap();
        assert_eq!(queue.messages.len(), 2, "the second report was dropped");
        queue.push(byte.clone(), Kind::Response).unwrap();
        assert_eq!(
            (queue.messages.len(), queue.bytes),
            (2, limits::OUTBOX),
            "in place of a report"
        );
        assert_eq!(queue.push(byte, Kind::Request), Err(Lost));
        // What is being written still counts.
        let first = queue.take().unwrap();
        assert_eq!(queue.push(first.slice(..1), Kind::Request), Err(Lost));
        queue.written(1);
        queue.push(first.slice(..1), Kind::Request).unwrap();
    }

    #[test]
    fn one_message_may_be_larger_than_the_queue() {
        let mut queue = Queue::default();
        queue
            .push(Bytes::from(vec![0; limits::OUTBOX + 1]), Kind::Request)
            .unwrap();
        assert_eq!(queue.push(Bytes::from("x"), Kind::Request), Err(Lost));
    }

    #[test]
    fn messages_arrive_whole_and_in_order_through_a_narrow_pipe() {
        block_on(async {
            let (ours, mut theirs) = tokio::io::duplex(3);
            let (outbox, writer) = outbox();
            let task = tokio::spawn(writer.run(ours));
            let mut expected = Vec::new();
            for i in 0u8..100 {
                let message = vec![i; usize::from(i) + 1];
                expected.extend_from_slice(&message);
                outbox.send(message, Kind::Request).unwrap();
            }
            outbox.close();
            assert_eq!(outbox.send("late", Kind::Request), Err(Lost));
            let mut got = Vec::new();
            theirs.read_to_end(&mut got).await.unwrap();
            assert_eq!(got, expected);
            task.await.unwrap().unwrap();
        });
    }

    #[test]
    fn a_dropped_outbox_is_written_out_first() {
        block_on(async {
            let (ours, mut theirs) = tokio::io::duplex(1024);
            let (outbox, writer) = outbox();
            outbox.send("TEARDOWN", Kind::Request).unwrap();
            drop(outbox);
            writer.run(ours).await.unwrap();
            let mut got = String::new();
            theirs.read_to_string(&mut got).await.unwrap();
            assert_eq!(got, "TEARDOWN");
        });
    }

    #[test]
    fn a_broken_connection_is_told_to_the_sender() {
        block_on(async {
            let (ours, theirs) = tokio::io::duplex(8);
            drop(theirs);
            let (outbox, writer) = outbox();
            outbox.send("x", Kind::Request).unwrap();
            assert!(writer.run(ours).await.is_err());
            assert_eq!(outbox.send("y", Kind::Request), Err(Lost));
        });
    }

    #[test]
    fn a_peer_that_reads_nothing_is_lost() {
        block_on(async {
            let (ours, mut theirs) = tokio::io::duplex(8);
            let (outbox, mut writer) = outbox();
            writer.stall = Duration::from_millis(20);
            outbox.send("0123456789", Kind::Request).unwrap();
            let error = writer.run(ours).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert_eq!(outbox.send("x", Kind::Request), Err(Lost));
            let mut got = Vec::new();
            theirs.read_to_end(&mut got).await.unwrap();
            assert_eq!(got, b"01234567");
        });
    }

    #[test]
    fn an_overfull_outbox_ends_the_writer() {
        block_on(async {
            let (ours, _theirs) = tokio::io::duplex(8);
            let (outbox, writer) = outbox();
            let half = vec![0; limits::OUTBOX / 2];
            outbox.send(half.clone(), Kind::Request).unwrap();
            outbox.send(half, Kind::Request).unwrap();
            assert_eq!(outbox.send("x", Kind::Request), Err(Lost));
            assert_eq!(outbox.send("x", Kind::Report { stream: 0 }), Err(Lost));
            assert!(writer.run(ours).await.is_err());
        });
    }

    /// Frames of one channel, numbered in their first octet.
    struct Numbered(Mutex<Vec<u8>>);

    impl Frames for Numbered {
        fn take(&self, room: usize, frame: &mut dyn FnMut(Frame)) {
            let mut left = self.0.lock().unwrap();
            let room = room.min(left.len());
            for number in left.drain(..room) {
                frame(Frame::new(2, vec![number; 100].into()).unwrap());
            }
        }
    }

    // covers: P-PUB-14
    #[test]
    fn messages_go_between_frames_and_wait_for_one_batch_at_most() {
        block_on(async {
            let (ours, mut theirs) = tokio::io::duplex(64);
            let (outbox, writer) = outbox();
            let source = Arc::new(Numbered(Mutex::new((0..100).collect())));
            let pump = outbox.carry(source.clone());
            tokio::spawn(writer.run(ours));
            pump.run();
            let mut got = vec![0; 64];
            theirs.read_exact(&mut got).await.unwrap();
            let before = source.0.lock().unwrap().len();
            outbox.send("TEARDOWN", Kind::Request).unwrap();
            let mut rest = vec![0; 100 * 104 + 8 - 64];
            theirs.read_exact(&mut rest).await.unwrap();
            got.extend(rest);
            let message = got.windows(8).position(|w| w == b"TEARDOWN").unwrap();
            assert_eq!(message % 104, 0, "not inside a frame");
            assert!(before > 0 && message / 104 <= 100 - before + BATCH);
            got.drain(message..message + 8);
            for (number, frame) in got.chunks(104).enumerate() {
                assert_eq!(frame[..5], [b'$', 2, 0, 100, number as u8]);
            }
        });
    }

    #[test]
    fn who_brings_media_writes_it_without_the_task() {
        block_on(async {
            let (ours, mut theirs) = tokio::io::duplex(1024);
            let (outbox, writer) = outbox();
            let source = Arc::new(Numbered(Mutex::new(Vec::new())));
            let pump = outbox.carry(source.clone());
            tokio::spawn(writer.run(ours));
            // Until the task waits, it is the only one that runs.
            tokio::task::yield_now().await;
            source.0.lock().unwrap().push(7);
            pump.run();
            assert!(source.0.lock().unwrap().is_empty(), "written right here");
            let mut got = vec![0; 104];
            theirs.read_exact(&mut got).await.unwrap();
            assert_eq!(got[4], 7);
        });
    }

    #[test]
    fn a_frame_is_at_most_what_its_length_can_say() {
        assert!(Frame::new(0, vec![0; 65_535].into()).is_some());
        assert!(Frame::new(0, vec![0; 65_536].into()).is_none());
    }
}
