//! How the packets of a session's streams come in.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::*};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

use super::clock::{ClockCell, ClockReader};
use super::ingest::Ingest;
use super::lock::lock;
use super::publish::lane::Lane;
use super::shared::Group;
use crate::net::lock_in::{SourceFilter, Verdict, looks_like_rtcp, looks_like_rtp};
use crate::net::tcp::{FrameHandler, Gate, Payload};
use crate::net::udp::UdpPair;
use crate::rtp::stats::Nanos;

pub(super) type SharedIngest = Arc<Mutex<Ingest>>;

/// Interleaved frames to streams (RFC 2326 §10.12).
pub(super) struct Demux {
    routes: BTreeMap<u8, Route>,
    channels: Vec<u8>,
    /// Back channels, of which RTCP comes.
    lanes: Vec<(u8, Arc<Lane>)>,
    /// The route of the last frame: frames of one stream come in runs.
    current: Option<(u8, Route)>,
    clock: ClockReader,
    arrival: Nanos,
    /// Streams that the current read has touched.
    touched: Vec<SharedIngest>,
    pub counters: Arc<TcpCounters>,
    /// Where downstream sets the pace: what all streams have enough of is not read on.
    pace: Option<(Arc<Gate>, Arc<Group>)>,
}

#[derive(Clone)]
struct Route {
    ingest: SharedIngest,
    rtcp: bool,
}

/// What went wrong in the framing of a connection.
#[derive(Default)]
pub(super) struct TcpCounters {
    /// Frames on channels that nobody asked for.
    pub unknown_frames: AtomicU64,
    /// Bytes skipped after damage.
    pub damaged_bytes: AtomicU64,
}

impl Demux {
    pub fn new(clock: Arc<ClockCell>, pace: Option<(Arc<Gate>, Arc<Group>)>) -> Self {
        Self {
            pace,
            routes: BTreeMap::new(),
            channels: Vec::new(),
            lanes: Vec::new(),
            current: None,
            clock: ClockReader::new(clock),
            arrival: 0,
            touched: Vec::new(),
            counters: Arc::default(),
        }
    }

    pub fn add(&mut self, ingest: &SharedIngest, rtp: u8, rtcp: Option<u8>) {
        self.routes.insert(
            rtp,
            Route {
                ingest: ingest.clone(),
                rtcp: false,
            },
        );
        if let Some(rtcp) = rtcp {
            self.routes.insert(
                rtcp,
                Route {
                    ingest: ingest.clone(),
                    rtcp: true,
                },
            );
        }
        self.list_channels();
    }

    /// A stream on its way to the server.
    pub fn add_lane(&mut self, lane: &Arc<Lane>, rtp: u8, rtcp: Option<u8>) {
        for channel in std::iter::once(rtp).chain(rtcp) {
            self.lanes.retain(|(other, _)| *other != channel);
            self.lanes.push((channel, lane.clone()));
        }
        self.list_channels();
    }

    fn list_channels(&mut self) {
        let lanes = self.lanes.iter().map(|(channel, _)| *channel);
        self.channels = self.routes.keys().copied().chain(lanes).collect();
        self.current = None;
    }

    fn lane(&self, channel: u8) -> Option<&Arc<Lane>> {
        let mut lanes = self.lanes.iter();
        lanes.find(|(own, _)| *own == channel).map(|(_, lane)| lane)
    }
}

impl FrameHandler for Demux {
    fn burst_begins(&mut self, arrival: Instant) {
        if self.clock.update() {
            let now = self.clock.now();
            for route in self.routes.values().filter(|route| !route.rtcp) {
                lock(&route.ingest).change_clock(now);
            }
        }
        self.arrival = self.clock.pair().at(arrival);
    }

    fn wants(&mut self, channel: u8, payload: &[u8]) -> bool {
        if self
            .current
            .as_ref()
            .is_some_and(|(current, _)| *current == channel)
        {
            return true;
        }
        self.current = self
            .routes
            .get(&channel)
            .map(|route| (channel, route.clone()));
        if self.current.is_none() && self.lane(channel).is_some() {
            return looks_like_rtcp(payload);
        }
        if self.current.is_none() {
            self.counters.unknown_frames.fetch_add(1, Relaxed);
        }
        self.current.is_some()
    }

    fn frame(&mut self, channel: u8, payload: Payload) {
        let Some((_, route)) = &self.current else {
            if let Some(lane) = self.lane(channel) {
                lane.handle_rtcp(payload.as_ref(), Instant::now());
            }
            return;
        };
        if !self
            .touched
            .iter()
            .any(|touched| Arc::ptr_eq(touched, &route.ingest))
        {
            self.touched.push(route.ingest.clone());
        }
        let mut ingest = lock(&route.ingest);
        if route.rtcp {
            ingest.rtcp(payload.as_ref(), self.arrival);
        } else {
            ingest.packet(payload, self.arrival);
        }
    }

    fn burst_ends(&mut self) {
        for ingest in self.touched.drain(..) {
            lock(&ingest).flush();
        }
        if let Some((gate, group)) = &self.pace
            && group.has_enough()
        {
            gate.close();
            // What made room meanwhile may have found the gate open.
            if !group.has_enough() {
                gate.open();
            }
        }
    }

    fn damaged(&mut self, bytes: usize) {
        self.counters
            .damaged_bytes
            .fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Relaxed);
    }

    fn channels(&self) -> &[u8] {
        &self.channels
    }
}

/// The sockets of one UDP stream and their reader, which ends when this is
/// dropped.
pub(super) struct UdpPath {
    pub pair: Arc<UdpPair>,
    /// Where the media and the RTCP of the server come from, once known.
    pub senders: Arc<Senders>,
    reader: AbortHandle,
}

impl Drop for UdpPath {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

#[derive(Default)]
pub(super) struct Senders {
    pub rtp: Mutex<Option<SocketAddr>>,
    pub rtcp: Mutex<Option<SocketAddr>>,
    /// Datagrams of third parties.
    pub refused: AtomicU64,
}

impl UdpPath {
    /// Starts the reader. `connect` lets the kernel filter once the sender is
    /// known; a multicast socket stays open to the group.
    pub fn start(
        io: &tokio::runtime::Handle,
        pair: UdpPair,
        ingest: SharedIngest,
        clock: Arc<ClockCell>,
        filters: (SourceFilter, SourceFilter),
        connect: bool,
    ) -> Self {
        let pair = Arc::new(pair);
        let senders = Arc::<Senders>::default();
        let reader = UdpReader {
            pair: pair.clone(),
            ingest,
            clock: ClockReader::new(clock),
            rtp_filter: filters.0,
            rtcp_filter: filters.1,
            connect,
            senders: senders.clone(),
        };
        let reader = io.spawn(reader.run()).abort_handle();
        Self {
            pair,
            senders,
            reader,
        }
    }
}

struct UdpReader {
    pair: Arc<UdpPair>,
    ingest: SharedIngest,
    clock: ClockReader,
    rtp_filter: SourceFilter,
    rtcp_filter: SourceFilter,
    connect: bool,
    senders: Arc<Senders>,
}

impl UdpReader {
    async fn run(mut self) {
        loop {
            let deadline = lock(&self.ingest).deadline();
            let wait = match deadline {
                Some(at) => Duration::from_nanos(at.saturating_sub(self.clock.now())),
                None => Duration::from_secs(3600),
            };
            tokio::select! {
                biased;
                result = self.pair.rtp.readable() => self.pause_on_error(result).await,
                result = self.pair.rtcp.readable() => self.pause_on_error(result).await,
                () = tokio::time::sleep(wait), if deadline.is_some() => {}
            }
            loop {
                match self.receive() {
                    Ok(true) => tokio::task::yield_now().await,
                    Ok(false) => break,
                    Err(error) => {
                        self.pause_on_error(Err(error)).await;
                        break;
                    }
                }
            }
        }
    }

    /// A socket in error must not spin its reader.
    async fn pause_on_error(&self, result: io::Result<()>) {
        if result.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Takes what is there; true if there may be more.
    fn receive(&mut self) -> io::Result<bool> {
        let mut ingest = lock(&self.ingest);
        if self.clock.update() {
            ingest.change_clock(self.clock.now());
        }
        // Reports before media: they say how the media is to be timed.
        let (filter, senders) = (&mut self.rtcp_filter, &self.senders);
        let (clock, connect) = (self.clock.pair(), self.connect);
        let rtcp = &self.pair.rtcp;
        let more_rtcp = rtcp.try_recv(|payload, from, arrival| {
            match filter.accept(from, || looks_like_rtcp(payload)) {
                Verdict::Drop => {
                    senders.refused.fetch_add(1, Relaxed);
                    return;
                }
                Verdict::AcceptAndLock(sender) => {
                    *lock(&senders.rtcp) = Some(sender);
                    if connect {
                        // Without it the filter above does the same, later.
                        let _ = rtcp.connect(sender);
                    }
                }
                Verdict::Accept => {}
            }
            ingest.rtcp(payload, clock.at(arrival));
        });
        let filter = &mut self.rtp_filter;
        let rtp = &self.pair.rtp;
        let more_rtp = rtp.try_recv(|payload, from, arrival| {
            match filter.accept(from, || looks_like_rtp(payload)) {
                Verdict::Drop => {
                    senders.refused.fetch_add(1, Relaxed);
                    return;
                }
                Verdict::AcceptAndLock(sender) => {
                    *lock(&senders.rtp) = Some(sender);
                    if connect {
                        let _ = rtp.connect(sender);
                    }
                }
                Verdict::Accept => {}
            }
            ingest.packet(Payload::Copied(payload.to_vec()), clock.at(arrival));
        });
        ingest.timeout(self.clock.now());
        ingest.flush();
        Ok(more_rtcp? | more_rtp?)
    }
}
