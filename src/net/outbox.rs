//! What waits to be written on one connection.
//!
//! The session puts whole messages and frames in and never waits; one task
//! writes them out. A partial write is finished before anything else.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::rtsp::limits;

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

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: Queue,
    closed: bool,
    lost: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The session's end. Dropping it closes the connection once all is written.
#[derive(Debug)]
pub struct Outbox {
    shared: Arc<Shared>,
}

/// The connection's end.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    /// A write that makes no progress for so long is given up.
    stall: Duration,
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

    /// Takes no more; what is queued is still written.
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

impl Writer {
    /// Writes what is queued until the outbox is closed (`Ok`) or the connection
    /// is lost. Shuts `stream` down after the last message.
    pub async fn run<W: AsyncWrite + Unpin>(self, mut stream: W) -> io::Result<()> {
        let result = self.write_all(&mut stream).await;
        self.shared.lock().lost = true;
        result
    }

    async fn write_all<W: AsyncWrite + Unpin>(&self, stream: &mut W) -> io::Result<()> {
        loop {
            let (message, closed) = {
                let mut state = self.shared.lock();
                if state.lost {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, Lost));
                }
                (state.queue.take(), state.closed)
            };
            match message {
                Some(message) => self.write(message, stream).await?,
                // Flushed already: closing is left to the peer or the stream's drop if it fails.
                None if closed => return self.progress(stream.shutdown()).await,
                // A notification since the look at the queue is kept.
                None => self.shared.changed.notified().await,
            }
        }
    }

    async fn write<W>(&self, mut message: Bytes, stream: &mut W) -> io::Result<()>
    where
        W: AsyncWrite + Unpin,
    {
        while !message.is_empty() {
            match self.progress(stream.write(&message)).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => {
                    let n = n.min(message.len());
                    message.advance(n);
                    self.shared.lock().queue.written(n);
                }
            }
        }
        // TLS keeps what it has not been able to send.
        self.progress(stream.flush()).await
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
}
