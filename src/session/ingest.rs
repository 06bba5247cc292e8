//! From packets to bursts: the reader's side of one stream.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::*;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::CAT;
use super::clock::ClockReader;
use super::keyframe::Encoding;
use super::lock::lock;
use super::queue::{Bounds, Burst, Item};
use super::segment::NewSegment;
use super::shared::{Group, STEP, Shared};
use super::timing::{NetworkClock, TimingConfig};
use super::watchdog::monotonic;
use crate::caps::PlayFields;
use crate::net::tcp::Payload;
use crate::rtp::packet::RtpPacket;
use crate::rtp::rtcp::{self, Rtcp};
use crate::rtp::srtp::{Inbound, Limit, Refused};
use crate::rtp::stats::Nanos;
use crate::rtp::sync::{SyncEvent, Synchronizer};
use crate::rtp::{self, Anchor, Event, Output, Receiver};
use crate::rtp::{SyncMode, rtx};
use crate::rtsp::limits;

/// What a buffer costs beside its bytes.
const BUFFER_OVERHEAD: usize = 512;
/// Clocks drift apart: how they stand to each other is looked at this often.
const CLOCK_INTERVAL: Nanos = 1_000_000_000;

/// What a reader tells the session about a stream.
#[derive(Debug)]
pub(super) enum Fact {
    /// The first packet since the stream was (re)started.
    Flows { stream: usize },
    /// All sources of the stream said BYE (RFC 3550 §6.6).
    Bye { stream: usize },
    /// An RTCP packet, for the stream's reports.
    Rtcp { stream: usize, packet: Vec<u8> },
    /// Missing packets that a retransmission may still bring.
    Nack { stream: usize, seqs: Vec<u16> },
    /// A key is near its end, or at it.
    KeyLimit { stream: usize, limit: Limit },
    /// The queue was full: packets were dropped.
    Overflow { stream: usize },
}

/// What the reply to PLAY says for a stream.
pub(super) struct Start {
    pub fields: PlayFields,
    pub rtt: Nanos,
    /// The position has moved, now by the clock: what came before is void.
    pub moved: Option<Nanos>,
    pub segment: Option<Box<NewSegment>>,
    /// Stream time of the beginning.
    pub time: Nanos,
    /// How much faster than its clock the server delivers.
    pub speed: f64,
    /// Its timestamps do not show that.
    pub in_real_time: bool,
}

pub(super) struct Settings {
    pub index: usize,
    pub encoding: Encoding,
    /// Of a stream that is secured.
    pub srtp: Option<Inbound>,
    pub timing: TimingConfig,
    pub clock: ClockReader,
    /// The clock that the description names, if it is to be followed.
    pub network_clock: Option<Arc<NetworkClock>>,
    /// RTCP may come with the media (RFC 5761).
    pub rtcp_mux: bool,
    pub receiver: rtp::Config,
    /// Caps by payload type, that of the pad first.
    pub caps: Vec<(u8, gst::Caps)>,
    pub rtx: Option<rtx::Config>,
}

/// Turns the packets of one stream into bursts for its delivery.
pub(super) struct Ingest {
    settings: Settings,
    receiver: Receiver<Payload>,
    outputs: Vec<Output<Payload>>,
    items: Vec<Item>,
    open: Option<(u64, Burst)>,
    /// Media from before the reply to PLAY (Some while it is awaited).
    early: Option<VecDeque<(Payload, Nanos)>>,
    early_bytes: usize,
    paused: bool,
    flows: bool,
    /// What the current read has brought.
    seen: bool,
    seen_rtp: bool,
    latency: Nanos,
    shared: Arc<Shared>,
    group: Arc<Group>,
    facts: mpsc::Sender<Fact>,
    cname: Option<(u32, Vec<u8>)>,
    fields: PlayFields,
    /// Begins with what comes next.
    segment: Option<Box<NewSegment>>,
    /// So much of what comes before the answer to PLAY is kept.
    early_limit: usize,
    /// The payload type that the pad's caps name.
    payload_type: u8,
    bye_untold: bool,
    /// Where it lies on the clock is told by its first packet, for all streams.
    unplaced: bool,
    /// Reports have no say about that.
    placed: bool,
    anchor_used: bool,
    rtx: Option<rtx::Unwrapper>,
    /// Presentation times are to follow a clock that the sender has too, which
    /// is looked at again then.
    clock_due: Nanos,
    /// What the reference timestamps of buffers are of.
    timestamp_caps: gst::Caps,
}

impl Ingest {
    pub fn new(
        settings: Settings,
        shared: Arc<Shared>,
        group: Arc<Group>,
        facts: mpsc::Sender<Fact>,
    ) -> Self {
        let payload_type = settings.caps.first().map_or(0, |(pt, _)| *pt);
        let mut receiver = Receiver::new(settings.receiver.clone());
        if settings.receiver.live {
            receiver.set_floor(shared.last_pts.load(Acquire));
        }
        Self {
            rtx: settings.rtx.as_ref().map(rtx::Unwrapper::new),
            latency: settings.receiver.latency,
            settings,
            receiver,
            outputs: Vec::new(),
            items: Vec::new(),
            open: None,
            early: Some(VecDeque::new()),
            early_bytes: 0,
            paused: false,
            flows: false,
            seen: false,
            seen_rtp: false,
            shared,
            group,
            facts,
            cname: None,
            fields: PlayFields::default(),
            segment: None,
            early_limit: limits::EARLY_MEDIA,
            payload_type,
            bye_untold: false,
            unplaced: false,
            placed: false,
            anchor_used: false,
            clock_due: 0,
            timestamp_caps: gst::Caps::new_empty_simple("timestamp/x-ntp"),
        }
    }

    pub fn set_timing(&mut self, timing: TimingConfig) {
        self.settings.timing = timing;
        self.look_at_clock(0);
    }

    /// Tells the receiver what the clock shows that presentation times are to
    /// follow, if they are to follow one.
    fn look_at_clock(&mut self, now: Nanos) {
        let Settings {
            timing,
            clock,
            network_clock,
            ..
        } = &self.settings;
        let network = network_clock
            .as_deref()
            .filter(|_| timing.rfc7273_sync)
            .and_then(|network| Some((network, network.reference(clock, timing.max_offset)?)));
        let ntp = || {
            let base_time = self.shared.delivery.base_time();
            timing.ntp_reference(clock, base_time)
        };
        let caps = match network {
            Some((network, _)) => network.caps.clone(),
            None => gst::Caps::new_empty_simple("timestamp/x-ntp"),
        };
        let reference = match network {
            Some((_, reference)) => Some(reference),
            None => timing.ntp_sync.then(ntp),
        };
        self.timestamp_caps = caps;
        self.clock_due = match timing.ntp_sync || timing.rfc7273_sync {
            true => now.saturating_add(CLOCK_INTERVAL),
            false => Nanos::MAX,
        };
        self.receiver.set_reference(reference);
    }

    /// A media packet; RTCP that stands in its place is seen as such
    /// (RFC 5761 §4, and devices that mix up their channels).
    pub fn packet(&mut self, packet: Payload, arrival: Nanos) {
        if rtcp::is_rtcp(packet.as_ref()) {
            if !self.settings.rtcp_mux {
                self.shared.rtcp_among_media.store(true, Relaxed);
            }
            return self.rtcp(packet.as_ref(), arrival);
        }
        let Some(packet) = self.opened(packet, Inbound::rtp) else {
            return;
        };
        if let Some(early) = &mut self.early {
            let bytes = packet.as_ref().len();
            let cost = bytes.saturating_add(limits::PACKET_COST);
            self.early_bytes = self.early_bytes.saturating_add(cost);
            if self.early_bytes <= self.early_limit {
                early.push_back((packet, arrival));
            }
        } else {
            self.rtp(packet, arrival);
        }
    }

    /// The packet in clear; nothing if its stream is secured and it is not protected as it should
    /// be, which is counted. It is decrypted where it will be pushed.
    fn opened(
        &mut self,
        packet: Payload,
        open: fn(&mut Inbound, &mut Vec<u8>) -> Result<(), Refused>,
    ) -> Option<Payload> {
        let Some(srtp) = &mut self.settings.srtp else {
            return Some(packet);
        };
        let mut packet = match packet {
            Payload::Copied(packet) => packet,
            Payload::Shared(packet) => packet.to_vec(),
        };
        let result = open(srtp, &mut packet);
        let limit = srtp.take_limit();
        if let Some(limit) = limit {
            let stream = self.settings.index;
            self.tell(Fact::KeyLimit { stream, limit });
        }
        let counter = match result {
            Ok(()) => return Some(Payload::Copied(packet)),
            Err(Refused::Replay) => &self.shared.replayed,
            Err(_) => &self.shared.unauthentic,
        };
        counter.fetch_add(1, Relaxed);
        None
    }

    /// Reports stay behind the media that they are about: a BYE before it would
    /// be of an unknown source.
    fn is_early(&mut self, packet: &[u8], arrival: Nanos) -> bool {
        let Some(early) = self.early.as_mut().filter(|early| !early.is_empty()) else {
            return false;
        };
        let cost = packet.len().saturating_add(limits::PACKET_COST);
        self.early_bytes = self.early_bytes.saturating_add(cost);
        if rtcp::is_rtcp(packet) && self.early_bytes <= self.early_limit {
            early.push_back((Payload::Copied(packet.to_vec()), arrival));
        }
        true
    }

    fn rtp(&mut self, packet: Payload, arrival: Nanos) {
        self.seen_rtp = true;
        if self.paused {
            self.shared.paused_drops.fetch_add(1, Relaxed);
            return;
        }
        if std::mem::take(&mut self.unplaced) {
            self.receiver.place(self.group.origin(arrival));
        }
        if arrival >= self.clock_due {
            self.look_at_clock(arrival);
        }
        if !self.flows {
            self.flows = self.tell(Fact::Flows {
                stream: self.settings.index,
            });
        }
        if let Some(rtx) = &mut self.rtx
            && packet
                .as_ref()
                .get(1)
                .is_some_and(|byte| rtx.is_rtx(byte & 0x7f))
        {
            let receiver = &self.receiver;
            if let Some(original) = rtx.unwrap(packet.as_ref(), |seq| receiver.requested(seq)) {
                let original = Payload::Copied(original);
                self.receiver
                    .handle_retransmission(original, arrival, &mut self.outputs);
            }
            return;
        }
        self.receiver.handle_rtp(packet, arrival, &mut self.outputs);
    }

    /// A compound of reports, as it came.
    pub fn rtcp(&mut self, packet: &[u8], arrival: Nanos) {
        if self.settings.srtp.is_none() {
            return self.report(packet, arrival);
        }
        if let Some(packet) = self.opened(Payload::Copied(packet.to_vec()), Inbound::rtcp) {
            self.report(packet.as_ref(), arrival);
        }
    }

    fn report(&mut self, packet: &[u8], arrival: Nanos) {
        self.seen = true;
        if self.is_early(packet, arrival) {
            return;
        }
        self.tell(Fact::Rtcp {
            stream: self.settings.index,
            packet: packet.to_vec(),
        });
        let mut report = None;
        for part in rtcp::parse(packet) {
            match part {
                Rtcp::SenderReport { ssrc, info, .. } => {
                    self.receiver
                        .handle_sr(ssrc, info.ntp, info.rtp, arrival, &mut self.outputs);
                    report = Some((ssrc, info));
                }
                Rtcp::Cname { ssrc, cname } => {
                    self.cname = Some((ssrc, cname.to_vec()));
                }
                Rtcp::Bye { ssrcs, .. } => {
                    for ssrc in ssrcs.iter() {
                        self.receiver.handle_bye(ssrc, arrival, &mut self.outputs);
                    }
                }
                _ => {}
            }
        }
        // Streams that follow one clock are synchronous. A report of another source says
        // nothing about the timestamps of this one.
        let placed = self.placed || !self.settings.receiver.live;
        let own = self.receiver.source();
        if let Some((ssrc, info)) = report.filter(|(ssrc, _)| Some(*ssrc) == own)
            && !self.receiver.follows_reference()
            && !placed
        {
            self.synchronize(ssrc, info);
        }
    }

    /// Aligns the streams of one sender by its reports (RFC 3550 §6.4.1).
    fn synchronize(&mut self, ssrc: u32, info: rtcp::SenderInfo) {
        let Some(mapping) = self.receiver.rtp_to_clock() else {
            return;
        };
        let cname = self
            .cname
            .as_ref()
            .filter(|(of, _)| *of == ssrc)
            .map(|(_, name)| name.as_slice());
        let ext_rtp = mapping.extend(info.rtp);
        let Ok(clock) = Nanos::try_from(mapping.clock_of(ext_rtp)) else {
            return;
        };
        let mut sync = lock(&self.group.sync);
        sync.handle_sr(
            self.settings.index,
            cname,
            info.ntp,
            ext_rtp,
            clock,
            Instant::now(),
        );
        self.distribute(&mut sync);
    }

    /// RTP-Info aligns the streams until sender reports do better
    /// (RFC 2326 §12.33).
    fn use_anchor(&mut self) {
        if !self.settings.receiver.live || self.placed {
            self.anchor_used = true;
            return;
        }
        let (Some(ext_rtp), Some(mapping)) = (
            self.receiver.confirmed_anchor(),
            self.receiver.rtp_to_clock(),
        ) else {
            return;
        };
        self.anchor_used = true;
        if let Ok(clock) = Nanos::try_from(mapping.clock_of(ext_rtp)) {
            let npt = self.fields.npt_start.map_or(0, |npt| npt.nseconds());
            let mut sync = lock(&self.group.sync);
            sync.handle_rtp_info(self.settings.index, npt, clock);
            self.distribute(&mut sync);
        }
    }

    fn distribute(&self, sync: &mut Synchronizer) {
        let streams = lock(&self.group.streams);
        while let Some(event) = sync.poll() {
            match event {
                SyncEvent::Offset { id, offset } => {
                    if let Some(shared) = streams.get(&id) {
                        shared.apply(offset);
                    }
                }
                SyncEvent::Ignored { id, ns } => {
                    gst::warning!(
                        CAT,
                        "stream {id}: an offset of {ns} ns to its siblings is not believed"
                    );
                }
            }
        }
    }

    /// False if the session is too far behind to be told.
    fn tell(&self, fact: Fact) -> bool {
        self.facts.try_send(fact).is_ok()
    }

    /// The reply to PLAY has come: RTP-Info holds for what arrived since.
    pub fn play(&mut self, start: Start) {
        let fields = &start.fields;
        self.fields = *fields;
        let reached = self.receiver.reached().filter(|_| start.moved.is_some());
        if let Some(now) = start.moved {
            self.drop_pending();
            self.receiver.reset(now);
            self.bye_untold = false;
            self.flows = false;
            if !self.settings.receiver.live {
                self.shared.last_pts.store(0, Release);
            }
        }
        self.placed = start.segment.is_some() && self.settings.receiver.live;
        self.unplaced = self.placed;
        self.receiver.set_speed(start.speed, start.in_real_time);
        if start.segment.is_some() {
            self.segment = start.segment;
        }
        // The pad got the caps of its first payload type with the reply.
        self.payload_type = self.settings.caps.first().map_or(0, |(pt, _)| *pt);
        self.anchor_used = false;
        self.receiver.set_rtt(start.rtt);
        self.receiver.set_anchor(Anchor {
            seq: fields.seqnum_base,
            rtptime: fields.clock_base,
            pts: start.time,
            after_seek: start.moved.is_some(),
        });
        self.paused = false;
        // The base time may be another one.
        self.clock_due = 0;
        let mut early = self.early.take().unwrap_or_default();
        if let Some(reached) = reached {
            self.drop_old(&mut early, reached);
        }
        for (packet, arrival) in early {
            match rtcp::is_rtcp(packet.as_ref()) {
                true => self.rtcp(packet.as_ref(), arrival),
                false => self.rtp(packet, arrival),
            }
        }
        self.early_bytes = 0;
        self.flush();
    }

    /// The PLAY of a seek goes out: its answer says of which position is what comes.
    pub fn await_play(&mut self) {
        self.flush();
        self.early_limit = limits::SEEK_MEDIA;
        self.early.get_or_insert_default();
    }

    /// The seek was refused: what has come is of the old position.
    pub fn carry_on(&mut self) {
        for (packet, arrival) in self.early.take().unwrap_or_default() {
            match rtcp::is_rtcp(packet.as_ref()) {
                true => self.report(packet.as_ref(), arrival),
                false => self.rtp(packet, arrival),
            }
        }
        self.early_bytes = 0;
        self.flush();
    }

    /// Without a usable sequence number in RTP-Info datagrams from before the
    /// answer that go on where the stream was are of the old position. (In a
    /// connection nothing of it comes after the answer to PAUSE.)
    fn drop_old(&self, early: &mut VecDeque<(Payload, Nanos)>, (seq, rtp): (u16, u32)) {
        const REACH: u16 = 1000;
        let known = self.fields.seqnum_base.is_some_and(|seq| seq > 1);
        if known || self.settings.receiver.reliable {
            return;
        }
        let near = self.settings.receiver.clock_rate.saturating_mul(2);
        let goes_on = |packet: &Payload| {
            RtpPacket::parse(packet.as_ref()).is_some_and(|packet| {
                let away = packet.timestamp.wrapping_sub(rtp).cast_signed();
                packet.sequence.wrapping_sub(seq) <= REACH && away.unsigned_abs() <= near
            })
        };
        while early.front().is_some_and(|(packet, _)| goes_on(packet)) {
            early.pop_front();
        }
    }

    fn drop_pending(&mut self) {
        self.open = None;
        self.items.clear();
        self.outputs.clear();
    }

    /// Media is dropped and counted until the next [`play`](Self::play).
    pub fn pause(&mut self, now: Nanos) {
        self.paused = true;
        self.drop_pending();
        self.receiver.reset(now);
    }

    /// Time starts anew: another clock.
    pub fn change_clock(&mut self, now: Nanos) {
        if !self.settings.receiver.live {
            return;
        }
        self.shared.delivery.clear_media();
        self.shared.last_pts.store(0, Release);
        self.settings.clock.update();
        self.clock_due = 0;
        self.receiver.change_clock(now);
    }

    /// The end: what is held for its order goes out.
    pub fn finish(&mut self) {
        self.receiver.flush(&mut self.outputs);
        self.flush();
    }

    /// When [`timeout`](Self::timeout) is due.
    pub fn deadline(&self) -> Option<Nanos> {
        self.receiver.poll_timeout()
    }

    pub fn timeout(&mut self, now: Nanos) {
        self.receiver.handle_timeout(now, &mut self.outputs);
    }

    /// Hands over what the packets of a read have made.
    pub fn flush(&mut self) {
        let latency = self.shared.latency.load(Acquire);
        if latency != self.latency {
            self.latency = latency;
            self.receiver.set_latency(latency);
        }
        if self.shared.offset_pending.load(Relaxed)
            && self.shared.offset_pending.swap(false, AcqRel)
        {
            let mode = match self.shared.offset_mode.load(Relaxed) {
                STEP => SyncMode::Step,
                _ => SyncMode::Slew,
            };
            self.receiver
                .set_sync_offset(self.shared.offset.load(Relaxed), mode);
        }
        let mut outputs = std::mem::take(&mut self.outputs);
        let changed = !outputs.is_empty();
        for output in outputs.drain(..) {
            match output {
                Output::Packet(packet) => self.add(packet),
                Output::Lost(lost) => {
                    self.close_burst();
                    self.items.push(Item::Lost {
                        seq: lost.seq,
                        count: lost.count,
                        pts: lost.pts,
                        duration: lost.duration,
                    });
                }
                Output::Event(event) => self.event(event),
            }
        }
        self.outputs = outputs;
        self.close_burst();
        self.publish(changed);
        if !self.anchor_used {
            self.use_anchor();
        }
        if self.bye_untold {
            let stream = self.settings.index;
            self.bye_untold = !self.tell(Fact::Bye { stream });
        }
        if self.items.is_empty() {
            return;
        }
        let mut items = std::mem::take(&mut self.items);
        let dropped = self
            .shared
            .delivery
            .enqueue(items.drain(..), || self.bounds());
        self.items = items;
        if dropped > 0 {
            self.tell(Fact::Overflow {
                stream: self.settings.index,
            });
        }
    }

    /// What was given up without a packet counts too.
    fn publish(&mut self, changed: bool) {
        let seen = std::mem::take(&mut self.seen);
        let rtp = std::mem::take(&mut self.seen_rtp);
        if rtp {
            self.shared.last_rtp.store(monotonic(), Release);
        }
        if rtp | seen | changed {
            lock(&self.shared.reception).current = self.receiver.reception();
        }
    }

    fn event(&mut self, event: Event) {
        let stream = self.settings.index;
        match event {
            Event::Bye { .. } => {
                // RTP that resumes is told as the first was: then it was no end.
                self.flows = false;
                self.bye_untold = !self.tell(Fact::Bye { stream });
            }
            Event::Nack { seqs, .. } => {
                self.tell(Fact::Nack { stream, seqs });
            }
            Event::ReferenceRefused { ns } => {
                gst::warning!(
                    CAT,
                    obj = self.shared.delivery.pad(),
                    "the clock of the sender is {} ms off, beyond max-ts-offset: not followed",
                    ns / 1_000_000
                );
            }
            Event::NewSource { ssrc } => {
                if let Some(rtx) = &mut self.rtx {
                    rtx.follow(ssrc);
                }
            }
            Event::TimestampJump { .. } | Event::Resync { .. } => {}
        }
    }

    fn add(&mut self, packet: rtp::Packet<Payload>) {
        let fits = self.open.as_ref().is_some_and(|(ext_rtp, burst)| {
            *ext_rtp == packet.ext_rtp
                && !packet.discont
                && burst.pts == packet.pts
                && burst.buffers.len() < Burst::MAX
        });
        if !fits {
            self.close_burst();
        }
        if packet.payload_type != self.payload_type {
            self.change_payload_type(packet.payload_type);
        }
        let encoding = self.settings.encoding;
        let pinned = packet.data.pinned().saturating_add(BUFFER_OVERHEAD);
        let (_, burst) = self.open.get_or_insert_with(|| {
            let burst = Burst {
                pts: packet.pts,
                buffers: Vec::with_capacity(if encoding == Encoding::Other { 1 } else { 8 }),
                discont: packet.discont,
                key: encoding == Encoding::Other,
                pinned: 0,
            };
            (packet.ext_rtp, burst)
        });
        burst.pinned = burst.pinned.saturating_add(pinned);
        // Delimiters and parameter sets may stand before the key frame's slice.
        burst.key = burst.key
            || RtpPacket::parse(packet.data.as_ref())
                .is_some_and(|rtp| encoding.starts_key_frame(rtp.payload));
        let mut buffer = match packet.data {
            Payload::Copied(bytes) => gst::Buffer::from_mut_slice(bytes),
            Payload::Shared(bytes) => gst::Buffer::from_slice(bytes),
        };
        if let Some(ntp) = packet
            .ntp
            .filter(|_| self.settings.timing.reference_timestamps)
            && let Some(buffer) = buffer.get_mut()
        {
            let time = gst::ClockTime::from_nseconds(crate::rtp::ntp::to_nanos(ntp));
            let caps = &self.timestamp_caps;
            gst::ReferenceTimestampMeta::add(buffer, caps, time, gst::ClockTime::NONE);
        }
        if packet.marker
            && let Some(buffer) = buffer.get_mut()
        {
            buffer.set_flags(gst::BufferFlags::MARKER);
        }
        burst.buffers.push(buffer);
    }

    /// The pad's caps are those of what comes next (RFC 3550 §5.1: a sender may
    /// change among the payload types of its media).
    fn change_payload_type(&mut self, payload_type: u8) {
        let caps = self
            .settings
            .caps
            .iter()
            .find(|(pt, _)| *pt == payload_type);
        if let Some((_, caps)) = caps {
            self.payload_type = payload_type;
            let caps = crate::caps::with_play_fields(caps, &self.fields);
            self.close_burst();
            self.items.push(Item::Event(gst::event::Caps::new(&caps)));
        }
    }

    fn close_burst(&mut self) {
        if let Some((ext_rtp, burst)) = self.open.take() {
            self.shared.last_pts.fetch_max(burst.pts, Relaxed);
            if let Some(mut segment) = self.segment.take() {
                let begins = || self.begins_before(ext_rtp);
                segment
                    .at
                    .get_or_insert_with(|| burst.pts.saturating_add_signed(begins()));
                self.items.push(Item::Segment(segment));
            }
            self.items.push(Item::Burst(burst));
        }
    }

    /// From this timestamp to the beginning that RTP-Info says.
    fn begins_before(&self, ext_rtp: u64) -> i64 {
        let anchor = self.receiver.confirmed_anchor();
        match (anchor, self.receiver.rtp_to_clock()) {
            (Some(anchor), Some(mapping)) => mapping
                .clock_of(anchor)
                .saturating_sub(mapping.clock_of(ext_rtp)),
            _ => 0,
        }
    }

    fn bounds(&self) -> Bounds {
        if !self.settings.receiver.live {
            // It is the reader that waits.
            return Bounds {
                bytes: limits::QUEUE_WAITING,
                time: Duration::MAX,
            };
        }
        if self.group.is_waited_for(&self.shared) {
            return Bounds {
                bytes: limits::QUEUE_WAITING,
                time: Duration::MAX,
            };
        }
        let pipeline = self.shared.pipeline_latency.load(Relaxed);
        Bounds::of(
            Duration::from_nanos(self.latency),
            Duration::from_nanos(pipeline),
            self.shared.drop_on_latency.load(Relaxed),
        )
    }
}
