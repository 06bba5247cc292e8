//! A stream over sockets of its own: its packets in runs, at their pace, and
//! what the server says about them.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::AbortHandle;

use super::super::runtime::Runtimes;
use super::super::spans::after;
use super::lane::Lane;
use super::pace::{Pace, Turn};
use crate::net::lock_in::{SourceFilter, Verdict, looks_like_rtcp};
use crate::net::udp::{UdpPair, UdpSocket, is_too_large};

/// A socket in error must not spin its reader.
const AFTER_ERROR: Duration = Duration::from_millis(100);

/// A network interface makes room in the socket in that time.
const FULL: Duration = Duration::from_millis(2);

/// Runs in a row outside of the stream's own task.
const TURNS: usize = 4;

/// The sending half: whoever has packets sends them, and the thread of the
/// [`Pace`] those that have to wait.
pub(in crate::session) struct UdpOutlet {
    pair: Arc<UdpPair>,
    to: SocketAddr,
    lane: Weak<Lane>,
    pace: Arc<Pace>,
    pen: Mutex<Pen>,
    /// There is more since who sends just now has looked.
    more: AtomicBool,
}

#[derive(Default)]
struct Pen {
    /// Taken from the lane and not sent yet.
    run: VecDeque<Bytes>,
    scratch: Vec<u8>,
    /// Nothing leaves before, and a turn is due then.
    turn: Option<Instant>,
}

impl UdpOutlet {
    /// Sends what may leave now. Waits for nobody.
    pub fn run(self: &Arc<Self>) {
        self.more.store(true, SeqCst);
        while self.more.load(SeqCst) {
            // Who holds it looks again afterwards.
            let Ok(mut pen) = self.pen.try_lock() else {
                return;
            };
            self.more.store(false, SeqCst);
            let now = Instant::now();
            if pen.turn.is_some_and(|at| at > now) {
                continue;
            }
            for _ in 0..TURNS {
                pen.turn = self.send(&mut pen, now);
                if pen.turn.is_none_or(|at| at > now) {
                    break;
                }
            }
            if let Some(at) = pen.turn {
                let own: Weak<Self> = Arc::downgrade(self);
                self.pace.at(at, own);
            }
        }
    }

    /// One run at most. Says when the next may leave, if there is more.
    fn send(&self, pen: &mut Pen, now: Instant) -> Option<Instant> {
        let lane = self.lane.upgrade()?;
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
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Some(after(now, FULL));
                }
                // That one is lost, as any datagram may be.
                Err(error) => {
                    let size = pen.run.pop_front().map_or(0, |packet| packet.len());
                    if is_too_large(&error) {
                        lane.too_large(size);
                    }
                }
            }
        }
        more
    }
}

impl Turn for UdpOutlet {
    fn turn(self: Arc<Self>) {
        self.run();
    }
}

/// The sockets of one stream, its outlet and its reader, which end when this is
/// dropped.
pub(in crate::session) struct UdpPath {
    pub pair: Arc<UdpPair>,
    pub outlet: Arc<UdpOutlet>,
    reader: AbortHandle,
}

impl Drop for UdpPath {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl UdpPath {
    /// Packets of `lane` go to `to`; RTCP that the filters accept goes to it, also
    /// what comes to the port of the media if `both` are read.
    pub fn start(
        runtimes: &Runtimes,
        pair: UdpPair,
        to: SocketAddr,
        lane: &Arc<Lane>,
        filters: (SourceFilter, SourceFilter),
        both: bool,
    ) -> io::Result<Self> {
        let pair = Arc::new(pair);
        let outlet = Arc::new(UdpOutlet {
            pair: pair.clone(),
            to,
            lane: Arc::downgrade(lane),
            pace: runtimes.pace()?,
            pen: Mutex::default(),
            more: AtomicBool::new(false),
        });
        let (reading, lane) = (pair.clone(), lane.clone());
        let reader = runtimes.io().spawn(async move {
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
        Ok(Self {
            pair,
            outlet,
            reader: reader.abort_handle(),
        })
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
