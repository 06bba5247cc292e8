//! One media stream as it is received: from packets as they arrive to packets
//! in sequence order with presentation times.

use super::active::Active;
use super::config::{Anchor, Config};
use super::nack::NackTracker;
use super::output::{Event, Held, Output, Presenter, next_cycle, reported};
use super::packet::RtpPacket;
use super::reference::Reference;
use super::reorder::Place;
use super::seq::{FIRST_CYCLE, distance};
use super::source::Candidates;
use super::stats::{LastSr, Nanos, Reception};
use super::timeline::{Mapping, SyncMode, Timeline};

const SECOND: Nanos = 1_000_000_000;
/// Packets behind the last one that come while nothing else did for this long
/// are a restart of the sender.
const BEHIND_PATIENCE: Nanos = SECOND / 2;
/// So long after a seek packets of the old position are looked for.
const FLUSH_WINDOW: Nanos = SECOND;

/// Packets before `seq` are of the old position until `until`.
#[derive(Debug)]
struct Flush {
    seq: u16,
    until: Option<Nanos>,
}

/// The receiver of one stream. `P` is a packet, in whatever buffer it came.
#[derive(Debug)]
pub struct Receiver<P> {
    config: Config,
    /// One bit for each payload type of the stream.
    payload_types: u128,
    active: Option<Active<P>>,
    candidates: Candidates<(u16, Held<P>)>,
    presenter: Presenter,
    flush: Option<Flush>,
    nack: Option<NackTracker>,
    rtt: Nanos,
    /// The last sender report of a source that was not active.
    other_report: Option<(u32, LastSr, u32)>,
    totals: Reception,
}

impl<P: AsRef<[u8]>> Receiver<P> {
    pub fn new(config: Config) -> Self {
        let bit = |pt: &u8| 1_u128.checked_shl(u32::from(*pt)).unwrap_or(0);
        let payload_types = match config.payload_types.as_slice() {
            [] => u128::MAX,
            types => types.iter().map(bit).fold(0, std::ops::BitOr::bitor),
        };
        let mut timeline = Timeline::new(config.clock_rate, config.live, config.latency);
        timeline.set_follow_clock(config.follow_clock);
        let presenter = Presenter::new(timeline, config.clock_rate);
        let mut candidates = Candidates::new(if config.reliable { 1 } else { config.probation });
        if let Some(ssrc) = config.known_ssrc {
            candidates.name(ssrc, 0);
        }
        Self {
            nack: Self::tracker(&config, 0),
            rtt: 0,
            config,
            payload_types,
            active: None,
            candidates,
            presenter,
            flush: None,
            other_report: None,
            totals: Reception::default(),
        }
    }

    pub fn set_latency(&mut self, latency: Nanos) {
        self.config.latency = latency;
        self.presenter.timeline.set_latency(latency);
        self.nack = Self::tracker(&self.config, self.rtt);
    }

    fn tracker(config: &Config, rtt: Nanos) -> Option<NackTracker> {
        let wanted = config.nack && !config.reliable;
        wanted.then(|| {
            let mut tracker = NackTracker::new(config.latency, config.rtx_time);
            tracker.set_rtt(rtt);
            tracker
        })
    }

    /// Transport or RTP-Info named the source: no probation for it, and it
    /// takes over at once.
    pub fn name_source(&mut self, ssrc: u32, now: Nanos) {
        if self
            .active
            .as_ref()
            .is_none_or(|active| active.ssrc != ssrc)
        {
            self.candidates.name(ssrc, now);
        }
    }

    /// The reply to PLAY; before the packets that it speaks of.
    pub fn set_anchor(&mut self, anchor: Anchor) {
        self.presenter
            .timeline
            .set_anchor(anchor.rtptime, anchor.pts);
        // Devices say 0 or 1 without meaning it.
        let seq = anchor.seq.filter(|seq| anchor.after_seek && *seq > 1);
        self.flush = seq.map(|seq| Flush { seq, until: None });
    }

    /// A recording: RTP-Info's rtptime, or else the next packet, has this time
    /// on the pipeline's clock, with that of its siblings.
    pub fn place(&mut self, clock: Nanos) {
        self.presenter.timeline.place(clock);
    }

    /// The sender delivers at another speed (RFC 2326 §12.35). Its timestamps
    /// pass that much faster than arrival, or else `in_real_time`. For a start
    /// only.
    pub fn set_speed(&mut self, speed: f64, in_real_time: bool) {
        let rate = f64::from(self.config.clock_rate);
        let rate = match (self.config.live, in_real_time) {
            (true, false) => rate * speed.abs(),
            (false, true) => rate / speed.abs(),
            _ => rate,
        };
        // Saturates.
        self.presenter.timeline.set_clock_rate(rate.round() as u32);
    }

    /// Sequence number and timestamp that the stream has got to.
    pub fn reached(&self) -> Option<(u16, u32)> {
        let active = self.active.as_ref()?;
        let mapping = self.presenter.timeline.mapping()?;
        Some((active.highest as u16, mapping.ext_rtp as u32))
    }

    /// The extended timestamp of RTP-Info's rtptime, once a packet showed that
    /// it is not bogus.
    pub fn confirmed_anchor(&self) -> Option<u64> {
        self.presenter.timeline.confirmed_anchor()
    }

    /// Delays the stream so that it is synchronous with others.
    pub fn set_sync_offset(&mut self, target: i64, mode: SyncMode) {
        self.presenter.timeline.set_sync_offset(target, mode);
    }

    /// Presentation times are to follow a clock that the sender has too; it is
    /// to be told anew from time to time, since clocks drift.
    pub fn set_reference(&mut self, reference: Option<Reference>) {
        self.presenter.set_reference(reference);
    }

    /// Where the timestamps lie on the pipeline clock, before the
    /// synchronisation offset.
    pub fn rtp_to_clock(&self) -> Option<Mapping> {
        self.presenter.timeline.mapping()
    }

    /// The round-trip time, which says when a request can be repeated.
    pub fn set_rtt(&mut self, rtt: Nanos) {
        self.rtt = rtt;
        if let Some(nack) = &mut self.nack {
            nack.set_rtt(rtt);
        }
    }

    /// The active source, if this is the only packet that was asked for and
    /// has not come: what tells a retransmission source (RFC 4588 §5.3).
    pub fn requested(&self, seq: u16) -> Option<u32> {
        let active = self.active.as_ref()?;
        let only = self.nack.as_ref()?.only_outstanding()?;
        (only as u16 == seq).then_some(active.ssrc)
    }

    /// A packet of the transport.
    #[inline]
    pub fn handle_rtp(&mut self, packet: P, arrival: Nanos, out: &mut Vec<Output<P>>) {
        self.handle(packet, arrival, false, out);
    }

    /// A packet that was unwrapped from a retransmission (RFC 4588). It counts
    /// neither as received nor for jitter.
    pub fn handle_retransmission(&mut self, packet: P, now: Nanos, out: &mut Vec<Output<P>>) {
        self.handle(packet, now, true, out);
    }

    #[inline]
    fn handle(&mut self, data: P, arrival: Nanos, retransmitted: bool, out: &mut Vec<Output<P>>) {
        let bytes = data.as_ref().len();
        let Some(header) = RtpPacket::parse(data.as_ref()) else {
            count(&mut self.totals.discarded.invalid, 1);
            return;
        };
        let RtpPacket {
            ssrc,
            sequence,
            payload_type,
            ..
        } = header;
        let (rtp, marker) = (header.timestamp, header.marker);
        let near = || self.totals.last_sr.map(|report| report.ntp);
        let ntp = header.ntp_time(self.config.ntp_extension, near);
        if self
            .payload_types
            .checked_shr(u32::from(payload_type))
            .unwrap_or(0)
            & 1
            == 0
        {
            count(&mut self.totals.discarded.payload_type, 1);
            return;
        }
        if self.flush.is_some() && self.is_of_old_position(sequence, arrival) {
            count(&mut self.totals.discarded.flushed, 1);
            return;
        }
        count(&mut self.totals.packets, 1);
        count(&mut self.totals.bytes, bytes as u64);
        self.totals.last_arrival = Some(arrival);
        let held = Held {
            data,
            arrival,
            rtp,
            marker,
            payload_type,
            retransmitted,
            ntp,
        };
        match &mut self.active {
            Some(active) if active.ssrc == ssrc => {
                self.handle_active(sequence, bytes, held, out);
            }
            // It repairs nothing that is waited for.
            _ if retransmitted => count(&mut self.totals.discarded.source, 1),
            active => {
                let expire = active.is_some();
                let item = (sequence, held);
                let dropped = self
                    .candidates
                    .hold(ssrc, sequence, arrival, bytes, item, expire);
                count(&mut self.totals.discarded.source, dropped);
                self.change_source(arrival, out);
            }
        }
    }

    /// To be called when [`Receiver::poll_timeout`] says so.
    pub fn handle_timeout(&mut self, now: Nanos, out: &mut Vec<Output<P>>) {
        if let Some(until) = now.checked_sub(self.config.latency) {
            self.drain(Some(until), out);
        }
        self.change_source(now, out);
        if let (Some(nack), Some(active)) = (&mut self.nack, &self.active) {
            let mut seqs = Vec::new();
            nack.poll(now, &mut seqs);
            if !seqs.is_empty() {
                out.push(Output::Event(Event::Nack {
                    ssrc: active.ssrc,
                    seqs,
                }));
            }
        }
    }

    /// When [`Receiver::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Nanos> {
        let active = self.active.as_ref();
        let gap = active
            .and_then(|active| active.buffer.waiting_since())
            .map(|since| since.saturating_add(self.config.latency));
        let change = self
            .candidates
            .is_waiting()
            .then(|| active.map_or(0, Active::silent_at));
        let nack = self.nack.as_ref().and_then(NackTracker::poll_timeout);
        [gap, change, nack].into_iter().flatten().min()
    }

    /// A sender report: it names the source, and says which NTP time an RTP
    /// timestamp has.
    pub fn handle_sr(
        &mut self,
        ssrc: u32,
        ntp: u64,
        rtp: u32,
        now: Nanos,
        out: &mut Vec<Output<P>>,
    ) {
        let report = LastSr { ntp, arrival: now };
        match &self.active {
            Some(active) if active.ssrc == ssrc => {
                self.totals.last_sr = Some(report);
                self.presenter.sender_report(ntp, rtp, now);
            }
            _ => {
                self.candidates.name(ssrc, now);
                self.other_report = Some((ssrc, report, rtp));
                self.change_source(now, out);
            }
        }
    }

    /// BYE of a source (RFC 3550 §6.6): another one need not wait.
    pub fn handle_bye(&mut self, ssrc: u32, now: Nanos, out: &mut Vec<Output<P>>) {
        if let Some(active) = self.active.as_mut().filter(|active| active.ssrc == ssrc) {
            active.bye = true;
            out.push(Output::Event(Event::Bye { ssrc }));
            self.change_source(now, out);
        }
    }

    /// Starts anew after PAUSE, a seek or a reconnect: drops what is held; the
    /// next packet is a DISCONT one and presentation times go on.
    pub fn reset(&mut self, now: Nanos) {
        let mut dropped = self.candidates.clear();
        if let Some(mut active) = self.active.take() {
            dropped = dropped.saturating_add(active.buffer.clear() as u64);
            dropped = dropped.saturating_add(u64::from(active.jump.is_some()));
            // The same source need not prove itself again.
            self.candidates.name(active.ssrc, now);
        }
        if let Some(ssrc) = self.config.known_ssrc {
            self.candidates.name(ssrc, now);
        }
        count(&mut self.totals.discarded.flushed, dropped);
        self.totals.last_sr = None;
        self.other_report = None;
        if let Some(nack) = &mut self.nack {
            nack.reset();
        }
        self.flush = None;
        self.presenter.forget_sender();
        self.presenter.discont = true;
        self.presenter.timeline.restart();
    }

    /// The pipeline has another clock.
    pub fn change_clock(&mut self, now: Nanos) {
        self.reset(now);
        self.presenter.set_reference(None);
        self.presenter.forget_last();
        self.presenter.timeline.change_clock();
    }

    /// A stream that goes on where another connection left it: no
    /// presentation time is before this one.
    pub fn set_floor(&mut self, pts: Nanos) {
        self.presenter.timeline.set_floor(pts);
    }

    /// Hands out all that is held: at the end of the stream.
    pub fn flush(&mut self, out: &mut Vec<Output<P>>) {
        self.drain(Some(Nanos::MAX), out);
        if self.active.is_none()
            && let Some(ssrc) = self.candidates.fullest()
        {
            self.take_over(ssrc, 0, out);
            self.drain(Some(Nanos::MAX), out);
        }
    }

    /// The source whose packets are handed out.
    pub fn source(&self) -> Option<u32> {
        self.active.as_ref().map(|active| active.ssrc)
    }

    /// Presentation times follow the reference, which is known and believed.
    pub fn follows_reference(&self) -> bool {
        self.presenter.timeline.follows_reference()
    }

    pub fn reception(&self) -> Reception {
        let mut reception = Reception {
            timestamp_jumps: self.presenter.jumps,
            timeline_steps: self.presenter.timeline.steps(),
            timing: self.presenter.timing(),
            ..self.totals
        };
        if let Some(active) = &self.active {
            reception.ssrc = Some(active.ssrc);
            reception.base_seq = reported(active.base, active.cycle);
            reception.highest_seq = reported(active.highest, active.cycle);
            reception.received = active.received;
            reception.jitter = active.jitter.value();
        }
        reception
    }

    #[inline]
    fn handle_active(&mut self, seq: u16, bytes: usize, held: Held<P>, out: &mut Vec<Output<P>>) {
        let Some(active) = self.active.as_mut() else {
            return;
        };
        active.last_arrival = active.last_arrival.max(held.arrival);
        active.bye = false;
        let Some(ext_seq) = active.extend(seq, self.config.max_dropout) else {
            return self.handle_jump(seq, bytes, held, out);
        };
        let place = active.buffer.place(ext_seq);
        match place {
            Place::Next | Place::Hold => self.accept(place, ext_seq, bytes, held, out),
            Place::Late if active.is_far_behind(ext_seq, self.config.max_misorder) => {
                self.handle_jump(seq, bytes, held, out);
            }
            Place::Late | Place::Duplicate => self.handle_behind(place, seq, bytes, held, out),
        }
    }

    #[inline]
    fn accept(
        &mut self,
        place: Place,
        ext_seq: u64,
        bytes: usize,
        held: Held<P>,
        out: &mut Vec<Output<P>>,
    ) {
        let Some(active) = self.active.as_mut() else {
            return;
        };
        if held.retransmitted {
            count(&mut self.totals.retransmitted, 1);
        } else {
            count(&mut active.received, 1);
            active
                .jitter
                .update(held.rtp, held.arrival, self.config.clock_rate);
            if distance(active.highest, ext_seq) < 0 {
                count(&mut self.totals.reordered, 1);
            }
        }
        if distance(active.highest, ext_seq) > 0 {
            active.highest = ext_seq;
        } else if !held.retransmitted {
            active.note_behind(ext_seq, held.arrival);
        }
        active.last_accepted = held.arrival;
        if held.arrival.saturating_sub(active.mark_time) >= SECOND {
            active.marks = (active.marks.1, active.highest);
            active.mark_time = held.arrival;
        }
        if active.jump.take().is_some() {
            count(&mut self.totals.discarded.sequence, 1);
        }
        if let Some(nack) = &mut self.nack {
            nack.handle_packet(ext_seq, held.arrival);
        }
        if place == Place::Next {
            active.buffer.pass();
            self.presenter.release(ext_seq, held, out);
        } else {
            let since = self
                .presenter
                .waits_since(held.rtp, held.arrival, &self.config);
            active.buffer.hold(ext_seq, held, bytes, since);
            let give_up = self.config.reliable.then_some(Nanos::MAX);
            self.drain(give_up, out);
        }
    }

    /// Releases what is complete, and what waits at least since `give_up`.
    fn drain(&mut self, give_up: Option<Nanos>, out: &mut Vec<Output<P>>) {
        let Some(active) = self.active.as_mut() else {
            return;
        };
        loop {
            while let Some((ext_seq, held)) = active.buffer.pop() {
                self.presenter.release(ext_seq, held, out);
            }
            let Some(since) = active.buffer.waiting_since() else {
                return;
            };
            if !active.buffer.is_over() && give_up.is_none_or(|give_up| since > give_up) {
                return;
            }
            let now = give_up.and_then(|give_up| give_up.checked_add(self.config.latency));
            if now.is_some_and(|now| active.is_first_damaged(now)) {
                active.drop_first();
                count(&mut self.totals.discarded.sequence, 1);
                if let Some(nack) = &mut self.nack {
                    nack.reset();
                }
                continue;
            }
            let Some((ext_seq, missing)) = active.buffer.skip() else {
                return;
            };
            count(&mut self.totals.lost, missing);
            self.presenter.lose(ext_seq, missing);
        }
    }

    /// A late packet or a duplicate. It is dropped, unless only such packets
    /// come: then the sender started anew a little further back.
    fn handle_behind(
        &mut self,
        place: Place,
        seq: u16,
        bytes: usize,
        held: Held<P>,
        out: &mut Vec<Output<P>>,
    ) {
        let Some(active) = self.active.as_mut() else {
            return;
        };
        let waited = held.arrival.saturating_sub(active.last_accepted);
        if waited >= BEHIND_PATIENCE && active.after_late == seq && !held.retransmitted {
            return self.restart_sequence(None, (seq, bytes, held), out);
        }
        active.after_late = seq.wrapping_add(1);
        if !held.retransmitted {
            count(&mut active.received, 1);
        }
        match place {
            Place::Duplicate => count(&mut self.totals.duplicates, 1),
            _ => count(&mut self.totals.late, 1),
        }
    }

    /// A packet from far away: two that follow each other are a new sequence
    /// (RFC 3550 §A.1). A reliable transport does not make such packets.
    fn handle_jump(&mut self, seq: u16, bytes: usize, held: Held<P>, out: &mut Vec<Output<P>>) {
        let Some(active) = self.active.as_mut() else {
            return;
        };
        if held.retransmitted {
            count(&mut self.totals.late, 1);
            return;
        }
        let before = active.jump.take();
        let is_next = |before: &(u16, usize, Held<P>)| before.0.wrapping_add(1) == seq;
        if self.config.reliable || before.as_ref().is_some_and(is_next) {
            return self.restart_sequence(before, (seq, bytes, held), out);
        }
        count(
            &mut self.totals.discarded.sequence,
            u64::from(before.is_some()),
        );
        active.jump = Some((seq, bytes, held));
    }

    /// The active source goes on with other sequence numbers.
    fn restart_sequence(
        &mut self,
        before: Option<(u16, usize, Held<P>)>,
        packet: (u16, usize, Held<P>),
        out: &mut Vec<Output<P>>,
    ) {
        self.drain(Some(Nanos::MAX), out);
        let Some(active) = self.active.take() else {
            return;
        };
        let seq = before.as_ref().map_or(packet.0, |before| before.0);
        let next = active.buffer.next();
        let expected = next as u16;
        let (rtp, arrival) = match &before {
            Some((_, _, held)) => (held.rtp, held.arrival),
            None => (packet.2.rtp, packet.2.arrival),
        };
        let missing = seq.wrapping_sub(expected);
        if missing.cast_signed() > 0 && self.presenter.goes_on(rtp, arrival) {
            // The sender went on, the network did not.
            count(&mut self.totals.lost, missing.into());
            self.presenter.lose(next, missing.into());
        }
        out.push(Output::Event(Event::Resync { expected, seq }));
        count(&mut self.totals.resyncs, 1);
        self.presenter.discont = true;
        let first = next_cycle(active.highest).wrapping_add(u64::from(seq));
        self.activate(Active::new(active.ssrc, first, packet.2.arrival));
        for (seq, bytes, held) in before.into_iter().chain([packet]) {
            self.handle_active(seq, bytes, held, out);
        }
    }

    /// Lets another source take over, if there is one that may.
    fn change_source(&mut self, now: Nanos, out: &mut Vec<Output<P>>) {
        let silent = self
            .active
            .as_ref()
            .is_none_or(|active| now >= active.silent_at());
        if let Some(ssrc) = self.candidates.successor(silent) {
            self.take_over(ssrc, now, out);
        }
    }

    fn take_over(&mut self, ssrc: u32, now: Nanos, out: &mut Vec<Output<P>>) {
        self.drain(Some(Nanos::MAX), out);
        let mut first_cycle = FIRST_CYCLE;
        // Before a place is made for the old one.
        let held = self.candidates.take(ssrc);
        if let Some(old) = self.active.take() {
            count(
                &mut self.totals.discarded.sequence,
                u64::from(old.jump.is_some()),
            );
            count(&mut self.totals.resyncs, 1);
            self.candidates.retire(old.ssrc, now);
            self.presenter.timeline.restart();
            first_cycle = next_cycle(old.highest);
        }
        let Some((arrival, _, (last, _))) = held.back() else {
            return;
        };
        let (arrival, last) = (*arrival, *last);
        // The sequence starts with the lowest number that belongs to the last.
        let reach = held
            .len()
            .saturating_add(usize::from(self.config.max_misorder));
        let behind = |seq: u16| usize::from(last.wrapping_sub(seq));
        let belongs =
            |seq: u16| behind(seq) <= reach || usize::from(seq.wrapping_sub(last)) <= reach;
        let first = held
            .iter()
            .map(|h| behind(h.2.0))
            .filter(|&behind| behind <= reach)
            .max();
        let first = last.wrapping_sub(first.unwrap_or(0) as u16);

        self.presenter.discont = true;
        self.presenter.forget_sender();
        self.totals.last_sr = None;
        if let Some((_, report, rtp)) = self.other_report.take_if(|report| report.0 == ssrc) {
            self.totals.last_sr = Some(report);
            self.presenter
                .sender_report(report.ntp, rtp, report.arrival);
        }
        out.push(Output::Event(Event::NewSource { ssrc }));
        let first = first_cycle.wrapping_add(u64::from(first));
        self.activate(Active::new(ssrc, first, arrival));
        for (_, bytes, (seq, held)) in held {
            if belongs(seq) {
                self.handle_active(seq, bytes, held, out);
            } else {
                count(&mut self.totals.discarded.source, 1);
            }
        }
    }

    fn activate(&mut self, active: Active<P>) {
        self.active = Some(active);
        if let Some(nack) = &mut self.nack {
            nack.reset();
        }
    }

    /// Whether a packet is of the position before a seek (RFC 2326 §12.33).
    fn is_of_old_position(&mut self, seq: u16, now: Nanos) -> bool {
        let Some(flush) = &mut self.flush else {
            return false;
        };
        let until = *flush.until.get_or_insert(now.saturating_add(FLUSH_WINDOW));
        let before = flush.seq.wrapping_sub(seq);
        let is_old = now < until && before > 0 && before <= self.config.max_dropout;
        if !is_old {
            // The first packet of the new position; or `seq` is bogus.
            self.flush = None;
        }
        is_old
    }
}

#[inline]
fn count(counter: &mut u64, by: u64) {
    *counter = counter.saturating_add(by);
}

#[cfg(test)]
#[path = "receiver_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "receiver_source_tests.rs"]
mod source_tests;
