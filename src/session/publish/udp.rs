//! A stream over sockets of its own: its packets in runs, at their pace, and
//! what the server says about them.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::super::lock::lock;
use super::lane::Lane;
use crate::net::lock_in::{SourceFilter, Verdict, looks_like_rtcp};
use crate::net::udp::{UdpPair, UdpSocket, is_too_large};

/// A socket in error must not spin its reader.
const AFTER_ERROR: Duration = Duration::from_millis(100);

/// Runs in a row outside of the stream's own task.
const TURNS: usize = 4;

/// The sending half: whoever has packets sends them, the stream's task those
/// that have to wait.
pub(super) struct UdpOutlet {
    pair: Arc<UdpPair>,
    to: SocketAddr,
    lane: Weak<Lane>,
    pen: Mutex<Pen>,
    /// There is something for the task to wait for.
    changed: Notify,
}

#[derive(Default)]
struct Pen {
    /// Taken from the lane and not sent yet.
    run: VecDeque<Bytes>,
    scratch: Vec<u8>,
    /// What the task waits for; nobody else needs to look before.
    waits: Wait,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Wait {
    /// For packets.
    #[default]
    Packets,
    /// For its turn.
    Until(Instant),
    /// For room in the socket.
    Room,
}

impl UdpOutlet {
    /// Sends what may leave now. Waits for nobody.
    pub fn run(&self) {
        if let Ok(mut pen) = self.pen.try_lock() {
            let now = Instant::now();
            match pen.waits {
                Wait::Room => return,
                Wait::Until(at) if at > now => return,
                _ => {}
            }
            for _ in 0..TURNS {
                pen.waits = self.send(&mut pen, now);
                match pen.waits {
                    Wait::Packets => return,
                    Wait::Until(at) if at <= now => {}
                    _ => break,
                }
            }
        }
        self.changed.notify_one();
    }

    /// One run at most. Says what the next waits for.
    fn send(&self, pen: &mut Pen, now: Instant) -> Wait {
        let Some(lane) = self.lane.upgrade() else {
            return Wait::Packets;
        };
        let more = match pen.run.is_empty() {
            true => lane.take_run(&mut pen.run, now),
            false => Some(now),
        };
        while !pen.run.is_empty() {
            let (sent, result) =
                self.pair
                    .rtp
                    .try_send_run(pen.run.iter(), self.to, &mut pen.scratch);
            pen.run.drain(..sent.min(pen.run.len()));
            match result {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Wait::Room,
                // That one is lost, as any datagram may be.
                Err(error) => {
                    let size = pen.run.pop_front().map_or(0, |packet| packet.len());
                    if is_too_large(&error) {
                        lane.too_large(size);
                    }
                }
            }
        }
        more.map_or(Wait::Packets, Wait::Until)
    }

    async fn serve(&self) {
        loop {
            let waits = {
                let mut pen = lock(&self.pen);
                let now = Instant::now();
                pen.waits = self.send(&mut pen, now);
                match pen.waits {
                    Wait::Until(at) if at <= now => None,
                    waits => Some(waits),
                }
            };
            match waits {
                None => tokio::task::yield_now().await,
                // A notification since the look is kept.
                Some(Wait::Packets) => self.changed.notified().await,
                Some(Wait::Until(at)) => tokio::time::sleep_until(at.into()).await,
                Some(Wait::Room) => {
                    if self.pair.rtp.writable().await.is_err() {
                        tokio::time::sleep(AFTER_ERROR).await;
                    }
                }
            }
        }
    }
}

/// The sockets of one stream, its outlet and its reader, which end when this is
/// dropped.
pub(super) struct UdpPath {
    pub pair: Arc<UdpPair>,
    pub outlet: Arc<UdpOutlet>,
    sender: AbortHandle,
    reader: AbortHandle,
}

impl Drop for UdpPath {
    fn drop(&mut self) {
        self.sender.abort();
        self.reader.abort();
    }
}

impl UdpPath {
    /// Packets of `lane` go to `to`; RTCP that the filters accept goes to it, also
    /// what comes to the port of the media if `both` are read.
    pub fn start(
        io: &Handle,
        pair: UdpPair,
        to: SocketAddr,
        lane: &Arc<Lane>,
        filters: (SourceFilter, SourceFilter),
        both: bool,
    ) -> Self {
        let pair = Arc::new(pair);
        let outlet = Arc::new(UdpOutlet {
            pair: pair.clone(),
            to,
            lane: Arc::downgrade(lane),
            pen: Mutex::default(),
            changed: Notify::new(),
        });
        let serving = outlet.clone();
        let sender = io.spawn(async move { serving.serve().await });
        let (reading, lane) = (pair.clone(), lane.clone());
        let reader = io.spawn(async move {
            let (mut rtp, mut rtcp) = filters;
            loop {
                tokio::select! {
                    result = reading.rtcp.readable() => pause_on_error(result).await,
                    result = reading.rtp.readable(), if both => pause_on_error(result).await,
                }
                let mut result = receive(&reading.rtcp, &mut rtcp, &lane);
                if both && let Ok(more) = result {
                    // RFC 5761.
                    result = receive(&reading.rtp, &mut rtp, &lane).map(|rtp| rtp | more);
                }
                match result {
                    Ok(true) => tokio::task::yield_now().await,
                    Ok(false) => {}
                    Err(error) => pause_on_error(Err(error)).await,
                }
            }
        });
        Self {
            pair,
            outlet,
            sender: sender.abort_handle(),
            reader: reader.abort_handle(),
        }
    }
}

fn receive(socket: &UdpSocket, filter: &mut SourceFilter, lane: &Lane) -> io::Result<bool> {
    socket.try_recv(|payload, from, arrival| {
        let valid = looks_like_rtcp(payload);
        if valid && filter.accept(from, || true) != Verdict::Drop {
            lane.handle_rtcp(payload, arrival);
        }
    })
}

async fn pause_on_error(result: io::Result<()>) {
    if result.is_err() {
        tokio::time::sleep(AFTER_ERROR).await;
    }
}
