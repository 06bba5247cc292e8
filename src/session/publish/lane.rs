//! One stream on its way out: what waits, what leaves when, and what it says
//! about itself.
//!
//! The pad's thread puts packets in, and what takes them out is the connection
//! (TCP) or the stream's socket (UDP). The session looks in when it is notified.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use super::super::keyframe::Encoding;
use super::super::lock::lock;
use super::super::spans::nanos;
use super::protection::{Protection, StreamKeys};
use super::udp::UdpOutlet;
use crate::net::outbox::{Frame, Pump};
use crate::rtp::numbering::{Numbering, Place};
use crate::rtp::pacer::{self, Pacer};
use crate::rtp::packet::RtpPacket as Parsed;
use crate::rtp::retransmit;
use crate::rtp::send_queue::{self, Dropped, SendQueue};
use crate::rtp::sender::{self, ClockTime, Quality, Sender, Sent};
use crate::rtsp::limits;

/// Packets are copied into memory that is taken in pieces of this size, and used again once all of them have left.
const ARENA: usize = 128 * 1024;

/// The session hears no more often that packets were dropped.
const OVERFLOW_INTERVAL: Duration = Duration::from_secs(1);

/// A packet on its way in.
pub struct RtpPacket<'a> {
    /// A whole RTP packet. It is copied, so that upstream has its memory back at
    /// once: an encoder may have few buffers.
    pub buffer: &'a gst::BufferRef,
    /// Running time of its presentation.
    pub running_time: Option<gst::ClockTime>,
}

/// Nothing is taken any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    Stopped,
    /// The session has failed and said so in an element error.
    Failed,
}

/// The way in for the packets of one stream.
#[derive(Clone)]
pub struct StreamSender {
    pub(in crate::session) lane: Arc<Lane>,
}

impl StreamSender {
    /// Queues the packets and writes what may leave at once. Waits neither for the
    /// network nor for another stream.
    ///
    /// Before the first RECORD packets are kept, as many as the queue takes. While
    /// the presentation is lost they are dropped, and then it goes on with a key
    /// frame.
    pub fn push<'a>(&self, packets: impl IntoIterator<Item = RtpPacket<'a>>) -> Result<(), Closed> {
        self.lane.push(packets)
    }
}

/// Whether packets leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    /// Not yet, or not in PAUSE: they are kept.
    Hold,
    Open,
    /// There is nobody to send to, they are dropped.
    Lost,
}

/// What takes the packets.
#[derive(Clone)]
pub(in crate::session) enum Outlet {
    Tcp { pump: Pump, channel: u8 },
    Udp(Arc<UdpOutlet>),
}

impl Outlet {
    fn run(&self) {
        match self {
            Outlet::Tcp { pump, .. } => pump.run(),
            Outlet::Udp(outlet) => outlet.run(),
        }
    }
}

struct Item {
    data: BytesMut,
    sent: Sent,
    place: Place,
}

/// What a lane tells the session.
#[derive(Debug, Clone, Default)]
pub(in crate::session) struct Facts {
    /// A key frame is needed, by a reader or after a gap.
    pub key_unit: bool,
    /// The first packet has left: reports are due.
    pub started: bool,
    /// The queue was full.
    pub overflow: bool,
    /// The stream has ended and all of it has left.
    pub ended: bool,
    /// The network has no room for a packet of this size.
    pub too_large: Option<usize>,
    pub report: Option<Quality>,
    /// Something has come from the server.
    pub heard: bool,
}

/// What `stats` shows of a lane.
pub(in crate::session) struct LaneStats {
    pub sender: sender::Stats,
    pub dropped: Dropped,
    /// Packets that came while nobody was there to take them.
    pub lost: u64,
    /// What was no RTP packet.
    pub invalid: u64,
    pub queued_bytes: usize,
    pub queued_time: Duration,
    /// How it is encrypted.
    pub suite: Option<&'static str>,
    /// Reports that the server's keys did not protect.
    pub unauthentic: u64,
}

pub(in crate::session) struct Lane {
    state: Mutex<State>,
    /// The session is to look at the facts.
    look: Arc<Notify>,
}

struct State {
    queue: SendQueue<Item>,
    /// Retransmissions, which go first.
    urgent: VecDeque<Bytes>,
    pacer: Pacer,
    /// There is one as soon as the stream is described.
    sender: Option<Sender<Bytes>>,
    protection: Protection,
    encoding: Encoding,
    gate: Gate,
    outlet: Option<Outlet>,
    closed: Option<Closed>,
    /// After a loss nothing is queued before the next key frame.
    awaits_key: bool,
    /// EOS has come.
    ended: bool,
    /// The session waits for the queue to run empty.
    draining: bool,
    arena: BytesMut,
    numbering: Numbering,
    timestamp: Option<u32>,
    /// The access unit of that time has its key frame.
    unit_has_key: bool,
    /// Of the last packet, and when it came.
    running_time: Option<(u64, Instant)>,
    /// The shortest wait of what was next to leave, since it was last asked for.
    least_delay: Option<Duration>,
    facts: Facts,
    /// Packets that the queue had dropped at the last look.
    dropped: u64,
    overflow_at: Option<Instant>,
    lost: u64,
    invalid: u64,
}

impl Lane {
    pub fn new(max_queue_time: Duration, look: Arc<Notify>) -> Self {
        Self {
            state: Mutex::new(State {
                queue: SendQueue::new(send_queue::Config {
                    bytes: limits::SEND_QUEUE,
                    time: max_queue_time,
                }),
                urgent: VecDeque::new(),
                pacer: Pacer::new(Instant::now()),
                sender: None,
                protection: Protection::default(),
                encoding: Encoding::Other,
                gate: Gate::Hold,
                outlet: None,
                closed: None,
                awaits_key: false,
                ended: false,
                draining: false,
                arena: BytesMut::new(),
                numbering: Numbering::default(),
                timestamp: None,
                unit_has_key: false,
                running_time: None,
                least_delay: None,
                facts: Facts::default(),
                dropped: 0,
                overflow_at: None,
                lost: 0,
                invalid: 0,
            }),
            look,
        }
    }

    pub(in crate::session) fn push<'a>(
        &self,
        packets: impl IntoIterator<Item = RtpPacket<'a>>,
    ) -> Result<(), Closed> {
        let now = Instant::now();
        let outlet = {
            let mut state = lock(&self.state);
            if let Some(closed) = state.closed {
                return Err(closed);
            }
            let mut tell = false;
            // What has left by now is used again; else there is the rest.
            let _ = state.arena.try_reclaim(ARENA);
            for packet in packets {
                tell |= state.enqueue(&packet, now);
            }
            if tell {
                self.look.notify_one();
            }
            state.outlet.clone().filter(|_| state.gate == Gate::Open)
        };
        if let Some(outlet) = outlet {
            outlet.run();
        }
        Ok(())
    }

    /// The stream is announced with these settings, for the first time or in place
    /// of others.
    pub fn describe(&self, encoding: Encoding, config: sender::Config, seed: u64) {
        let mut state = lock(&self.state);
        state.encoding = encoding;
        state.sender = Some(Sender::new(config, Instant::now(), seed));
    }

    pub fn set_max_queue_time(&self, time: Duration) {
        lock(&self.state).queue.set_time(time);
    }

    /// How the packets of this attempt are encrypted. False: the keys cannot be used.
    pub fn protect(&self, keys: Option<StreamKeys>) -> bool {
        lock(&self.state).protection.set(keys)
    }

    /// Where the packets go in this attempt, once the server records.
    pub fn connect(&self, outlet: Outlet, rtx: Option<retransmit::Config>) {
        let now = Instant::now();
        let old = {
            let mut state = lock(&self.state);
            if let Some(sender) = &mut state.sender {
                sender.restart(rtx, now);
            }
            state.urgent.clear();
            state.outlet.replace(outlet)
        };
        drop(old);
    }

    /// The server takes media.
    pub fn open(&self) {
        let outlet = {
            let mut state = lock(&self.state);
            if state.gate == Gate::Lost {
                state.awaits_key = true;
                if state.queue.await_key(Instant::now()) {
                    state.facts.key_unit = true;
                    self.look.notify_one();
                }
            }
            state.gate = Gate::Open;
            state.check_drained(&self.look);
            state.outlet.clone()
        };
        if let Some(outlet) = outlet {
            outlet.run();
        }
    }

    /// What comes is kept until the lane is opened again.
    pub fn hold(&self) {
        let mut state = lock(&self.state);
        if state.gate == Gate::Open {
            state.gate = Gate::Hold;
            // What readers miss now they will not miss any more then.
            state.urgent.clear();
        }
    }

    /// There is nobody to send to. What came before the first RECORD is kept, as
    /// long as that may still come: `was_up` is false.
    pub fn disconnect(&self, was_up: bool) {
        let old = {
            let mut state = lock(&self.state);
            state.urgent.clear();
            if was_up && state.gate != Gate::Lost {
                state.gate = Gate::Lost;
                let waiting = u64::try_from(state.queue.len()).unwrap_or(u64::MAX);
                state.lost = state.lost.saturating_add(waiting);
                state.queue.clear();
                state.check_drained(&self.look);
            }
            state.outlet.take()
        };
        drop(old);
    }

    /// Takes nothing more; what waits may still leave.
    pub fn close(&self, closed: Closed) {
        lock(&self.state).closed.get_or_insert(closed);
    }

    /// EOS: [`Facts::ended`] says when all has left.
    pub fn end(&self) {
        let mut state = lock(&self.state);
        state.ended = true;
        state.check_drained(&self.look);
    }

    pub fn has_ended(&self) -> bool {
        lock(&self.state).ended
    }

    /// After the end it goes on: what comes is kept for the next RECORD, as at a start.
    pub fn resume(&self) {
        let mut state = lock(&self.state);
        state.ended = false;
        state.facts.ended = false;
        if state.gate == Gate::Lost {
            state.gate = Gate::Hold;
        }
    }

    /// The session waits until nothing is left to send.
    pub fn drain(&self, on: bool) {
        lock(&self.state).draining = on;
    }

    /// Nothing waits that could still be sent.
    pub fn is_drained(&self) -> bool {
        let state = lock(&self.state);
        state.is_drained() || state.gate == Gate::Lost
    }

    pub fn take_facts(&self) -> Facts {
        std::mem::take(&mut lock(&self.state).facts)
    }

    pub fn stats(&self) -> LaneStats {
        let state = lock(&self.state);
        LaneStats {
            sender: state.sender.as_ref().map(Sender::stats).unwrap_or_default(),
            dropped: state.queue.stats(),
            lost: state.lost,
            invalid: state.invalid,
            queued_bytes: state.queue.bytes(),
            queued_time: state.queue.delay(Instant::now()),
            suite: state.protection.suite(),
            unauthentic: state.protection.unauthentic,
        }
    }

    /// How long what is next to leave has waited, at the least since this was asked last: a key frame that is on its way
    /// is no backlog.
    pub fn take_least_delay(&self, now: Instant) -> Duration {
        let mut state = lock(&self.state);
        let delay = state.queue.delay(now);
        state
            .least_delay
            .take()
            .map_or(delay, |least| least.min(delay))
    }

    /// The frames that leave next over TCP; returns how many.
    pub fn take_frames(&self, room: usize, now: Instant, frame: &mut dyn FnMut(Frame)) -> usize {
        let mut state = lock(&self.state);
        let Some(Outlet::Tcp { channel, .. }) = state.outlet else {
            return 0;
        };
        let mut taken = 0usize;
        while taken < room {
            let Some(data) = state.pop(now, &self.look) else {
                break;
            };
            if let Some(data) = Frame::new(channel, data) {
                frame(data);
                taken = taken.saturating_add(1);
            }
        }
        taken
    }

    /// Fills `run` with what may leave now over UDP. Returns when to come for
    /// more, if more waits.
    pub fn take_run(&self, run: &mut VecDeque<Bytes>, now: Instant) -> Option<Instant> {
        let mut state = lock(&self.state);
        if state.gate != Gate::Open {
            return None;
        }
        while run.len() < pacer::RUN && state.has_waiting() && state.pacer.may_send(now) {
            if let Some(data) = state.pop(now, &self.look) {
                state.pacer.handle_sent(data.len());
                run.push_back(data);
            }
        }
        if state.has_waiting() {
            let waiting = state.waiting_bytes();
            return Some(state.pacer.poll_timeout(waiting, now).unwrap_or(now));
        }
        state.pacer.handle_drained();
        None
    }

    /// A packet of this size could not be sent.
    pub fn too_large(&self, size: usize) {
        lock(&self.state).facts.too_large = Some(size);
        self.look.notify_one();
    }

    /// RTCP of the server, or of a reader behind it.
    pub fn handle_rtcp(&self, data: &[u8], now: Instant) {
        let outlet = {
            let mut state = lock(&self.state);
            let State {
                sender: Some(sender),
                protection,
                ..
            } = &mut *state
            else {
                return;
            };
            let Some(data) = protection.heard(data) else {
                return;
            };
            let heard = sender.handle_rtcp(&data, now);
            state.facts.heard = true;
            if heard.key_unit {
                state.facts.key_unit = true;
            }
            let tell = heard.key_unit || heard.report.is_some();
            if let Some(report) = heard.report {
                // Of several readers the one who loses most.
                let worst = state.facts.report.get_or_insert(report);
                worst.fraction_lost = worst.fraction_lost.max(report.fraction_lost);
                worst.rtt = report.rtt.or(worst.rtt);
            }
            if tell {
                self.look.notify_one();
            }
            if heard.retransmissions.is_empty() || state.gate != Gate::Open {
                return;
            }
            let packets = heard.retransmissions.into_iter().map(Bytes::from);
            state.urgent.extend(packets);
            state.outlet.clone()
        };
        if let Some(outlet) = outlet {
            outlet.run();
        }
    }

    /// When the next report is due.
    pub fn rtcp_deadline(&self) -> Option<Instant> {
        let state = lock(&self.state);
        state.sender.as_ref()?.poll_timeout()
    }

    /// A report that is due.
    pub fn poll_rtcp(&self, clock: ClockTime, now: Instant) -> Option<Vec<u8>> {
        let mut state = lock(&self.state);
        let report = state.sender.as_mut()?.poll(clock, now)?;
        state.protection.report(report)
    }

    pub fn bye(&self, clock: ClockTime, now: Instant) -> Option<Vec<u8>> {
        let mut state = lock(&self.state);
        let report = state.sender.as_mut()?.bye(clock, now)?;
        state.protection.report(report)
    }
}

impl State {
    /// True if the session is to look.
    fn enqueue(&mut self, packet: &RtpPacket, now: Instant) -> bool {
        let running_time = self.running_time(packet.running_time, now);
        let data = self.copy(packet.buffer).unwrap_or_default();
        let Some(parsed) = Parsed::parse(&data) else {
            self.invalid = self.invalid.saturating_add(1);
            return false;
        };
        let sent = Sent {
            ssrc: parsed.ssrc,
            sequence: parsed.sequence,
            timestamp: parsed.timestamp,
            len: data.len(),
            payload: parsed.payload.len(),
            running_time,
        };
        let place = self.numbering.place(parsed.ssrc, parsed.payload_type);
        let new_unit = self.timestamp != Some(parsed.timestamp);
        self.timestamp = Some(parsed.timestamp);
        if self.gate == Gate::Lost || self.ended {
            self.lost = self.lost.saturating_add(1);
            return false;
        }
        if new_unit {
            self.unit_has_key = false;
        }
        let key = match self.encoding {
            // What cannot be looked into says it, or nobody can tell.
            Encoding::Other => !packet.buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
            encoding => encoding.starts_key_frame(parsed.payload),
        };
        // A delimiter or message before the parameter sets is a unit of its own, that
        // nobody misses.
        let starts = new_unit || key && !self.unit_has_key;
        self.unit_has_key |= key;
        let unit = send_queue::Unit {
            bytes: data.len(),
            starts,
            key,
        };
        let size = data.len();
        let pushed = self.queue.push(Item { data, sent, place }, unit, now);
        if pushed.queued {
            self.awaits_key = false;
            self.pacer.handle_queued(size, new_unit, now);
        }
        self.facts.key_unit |= pushed.request_key;
        pushed.request_key | self.has_overflowed(now)
    }

    /// Of a packet without one: that of the last, and what has passed since.
    fn running_time(&mut self, time: Option<gst::ClockTime>, now: Instant) -> u64 {
        let time = match (time, self.running_time) {
            (Some(time), _) => time.nseconds(),
            (None, Some((last, at))) => {
                last.saturating_add(nanos(now.saturating_duration_since(at)))
            }
            (None, None) => 0,
        };
        self.running_time = Some((time, now));
        time
    }

    /// Into memory of our own; `None` if it is larger than a packet can be.
    fn copy(&mut self, buffer: &gst::BufferRef) -> Option<BytesMut> {
        let size = buffer.size();
        u16::try_from(size).ok()?;
        let room = size.saturating_add(self.protection.room());
        if self.arena.capacity() < room {
            self.arena = BytesMut::with_capacity(ARENA.max(room));
        }
        self.arena.clear();
        for memory in buffer.iter_memories() {
            self.arena.extend_from_slice(&memory.map_readable().ok()?);
        }
        self.arena.resize(room, 0);
        let mut data = self.arena.split();
        data.truncate(size);
        Some(data)
    }

    /// Whether to say that packets were dropped for want of room.
    fn has_overflowed(&mut self, now: Instant) -> bool {
        let dropped = self.queue.stats().packets;
        let more = dropped > std::mem::replace(&mut self.dropped, dropped);
        let recent = self
            .overflow_at
            .is_some_and(|at| now.saturating_duration_since(at) < OVERFLOW_INTERVAL);
        if !more || recent || self.awaits_key {
            return false;
        }
        self.overflow_at = Some(now);
        self.facts.overflow = true;
        true
    }

    fn has_waiting(&self) -> bool {
        !self.urgent.is_empty() || !self.queue.is_empty()
    }

    fn waiting_bytes(&self) -> usize {
        let urgent = self.urgent.iter().map(Bytes::len);
        urgent.fold(self.queue.bytes(), usize::saturating_add)
    }

    fn is_drained(&self) -> bool {
        !self.has_waiting()
    }

    /// The next packet to be handed to the network.
    fn pop(&mut self, now: Instant, look: &Notify) -> Option<Bytes> {
        if self.gate != Gate::Open {
            return None;
        }
        // What must not leave does not hold up what is behind it.
        while self.has_waiting() {
            let data = match self.urgent.pop_front() {
                Some(data) if !self.protection.is_on() => Some(data),
                Some(data) => self.protection.media(data.as_ref().into()),
                None => self.pop_queued(now, look),
            };
            if data.is_some() {
                return data;
            }
        }
        None
    }

    fn pop_queued(&mut self, now: Instant, look: &Notify) -> Option<Bytes> {
        let Item {
            mut data,
            mut sent,
            place,
        } = self.queue.pop()?;
        let delay = self.queue.delay(now);
        self.least_delay = Some(self.least_delay.map_or(delay, |least| least.min(delay)));
        sent.sequence = self.numbering.leave(place, sent.sequence);
        if let Some(field) = data.get_mut(2..4) {
            field.copy_from_slice(&sent.sequence.to_be_bytes());
        }
        let data = match self.protection.is_on() {
            true => {
                // Retransmissions are made of what is clear.
                self.count(&sent, || Bytes::copy_from_slice(&data), now, look);
                self.protection.media(data)
            }
            false => {
                let data = data.freeze();
                self.count(&sent, || data.clone(), now, look);
                Some(data)
            }
        };
        self.check_drained(look);
        data
    }

    /// A packet leaves; `clear` is kept if it may have to be sent again.
    fn count(&mut self, sent: &Sent, clear: impl FnOnce() -> Bytes, now: Instant, look: &Notify) {
        if let Some(sender) = &mut self.sender {
            let idle = sender.poll_timeout().is_none();
            sender.handle_sent(sent, clear, now);
            if idle {
                self.facts.started = true;
                look.notify_one();
            }
        }
    }

    fn check_drained(&mut self, look: &Notify) {
        if !self.is_drained() {
            return;
        }
        if self.ended {
            self.facts.ended = true;
        }
        if self.ended || self.draining {
            look.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
