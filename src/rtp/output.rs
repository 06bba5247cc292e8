//! What a receiver hands out, and the last stage that makes it: packets in
//! sequence order get their times.

use super::config::Config;
use super::reference::Reference;
use super::seq::{FIRST_CYCLE, distance};
use super::stats::{Nanos, Timing};
use super::timeline::Timeline;

/// What comes out of a receiver, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output<P> {
    Packet(Packet<P>),
    Lost(Lost),
    Event(Event),
}

/// An RTP packet in sequence order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet<P> {
    pub data: P,
    /// Presentation time; the same for all packets of one timestamp.
    pub pts: Nanos,
    /// RTP timestamp, extended to 64 bits.
    pub ext_rtp: u64,
    /// Sequence number, extended to 64 bits.
    pub ext_seq: u64,
    pub marker: bool,
    pub payload_type: u8,
    /// Something is missing before this packet, or its time does not follow
    /// from the one before.
    pub discont: bool,
    /// Time of the timestamp by the sender's clock (NTP, 32.32), once it is
    /// known: from a sender report, a header extension or the description.
    pub ntp: Option<u64>,
}

/// Packets that were given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    pub seq: u16,
    pub count: u32,
    /// The times that they probably had.
    pub pts: Nanos,
    pub duration: Nanos,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The packets that follow are of this source.
    NewSource { ssrc: u32 },
    /// The active source said BYE (RFC 3550 §6.6).
    Bye { ssrc: u32 },
    /// The RTP timestamp jumped; presentation times go on.
    TimestampJump { ext_rtp: u64 },
    /// The sequence numbers start anew: `seq` came in place of `expected`.
    Resync { expected: u16, seq: u16 },
    /// The time by the clock of sender and receiver is this many nanoseconds
    /// from the arrival, which is not believed. Said once until it is.
    ReferenceRefused { ns: i64 },
    /// These packets are to be asked for again (RFC 4585 §6.2.1).
    Nack { ssrc: u32, seqs: Vec<u16> },
}

/// A packet without what is found in its place: sequence number and source.
#[derive(Debug)]
pub(super) struct Held<P> {
    pub data: P,
    pub arrival: Nanos,
    pub rtp: u32,
    pub marker: bool,
    pub payload_type: u8,
    pub retransmitted: bool,
    /// NTP time of a header extension.
    pub ntp: Option<u64>,
}

/// NTP and RTP time of one moment of the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SenderTime {
    pub ntp: u64,
    pub rtp: u32,
}

/// A timestamp further than this from the report (3 h at 90 kHz) may soon be
/// nearer to it the other way round.
const REPORT_REACH: u32 = 1 << 30;

impl SenderTime {
    fn reaches(&self, rtp: u32) -> bool {
        let ticks = rtp.wrapping_sub(self.rtp).cast_signed();
        ticks.unsigned_abs() <= REPORT_REACH
    }

    /// The NTP time of a timestamp less than 2^31 units away (RFC 3550 §6.4.1).
    fn of(&self, rtp: u32, clock_rate: u32) -> u64 {
        let ticks = i64::from(rtp.wrapping_sub(self.rtp).cast_signed());
        // At most 2^63 in magnitude: 2^31 units times 2^32.
        let scaled = ticks.unsigned_abs() << 32;
        let away = scaled.checked_div(u64::from(clock_rate)).unwrap_or(0);
        match ticks < 0 {
            true => self.ntp.wrapping_sub(away),
            false => self.ntp.wrapping_add(away),
        }
    }
}

#[derive(Debug)]
pub(super) struct Presenter {
    pub timeline: Timeline,
    clock_rate: u32,
    sender: Option<SenderTime>,
    reference: Option<Reference>,
    /// The next packet is a DISCONT one.
    pub discont: bool,
    /// What was given up before the next packet.
    lost: Option<(u64, u64)>,
    last_pts: Option<Nanos>,
    pub jumps: u64,
}

impl Presenter {
    pub(super) fn new(timeline: Timeline, clock_rate: u32) -> Self {
        let clock_rate = clock_rate.max(1);
        Self {
            timeline,
            clock_rate,
            sender: None,
            reference: None,
            discont: true,
            lost: None,
            last_pts: None,
            jumps: 0,
        }
    }

    /// The last presentation time was on another clock.
    pub(super) fn forget_last(&mut self) {
        self.last_pts = None;
        self.lost = None;
    }

    /// Another source, or one that starts anew: its reports are to come.
    pub(super) fn forget_sender(&mut self) {
        self.sender = None;
        self.refer();
    }

    /// What a clock that the sender has too shows, or that there is none.
    pub(super) fn set_reference(&mut self, reference: Option<Reference>) {
        self.reference = reference;
        self.refer();
    }

    fn refer(&mut self) {
        let reference = self.reference.as_ref();
        let point = reference.and_then(|r| r.point(self.sender, self.clock_rate));
        let max_offset = reference.map_or(0, |r| r.max_offset);
        self.timeline.set_reference(point, max_offset);
    }

    /// What presentation times go by.
    pub(super) fn timing(&self) -> Timing {
        let follows = self.timeline.follows_reference();
        let reference = self.reference.as_ref().filter(|_| follows);
        reference.map_or(Timing::Arrival, |reference| reference.timing)
    }

    /// `count` packets from `ext_seq` on were given up.
    pub(super) fn lose(&mut self, ext_seq: u64, count: u64) {
        self.lost = Some((ext_seq, count));
    }

    #[inline]
    pub(super) fn release<P>(&mut self, ext_seq: u64, held: Held<P>, out: &mut Vec<Output<P>>) {
        let rtp = held.rtp;
        let extension = held.ntp.map(|ntp| SenderTime { ntp, rtp });
        if extension.is_some() {
            self.sender = extension;
            self.refer();
        }
        let stamp = self.timeline.stamp(rtp, held.arrival);
        let mut discont = std::mem::take(&mut self.discont) | stamp.discont;
        if let Some((first, count)) = self.lost.take() {
            out.push(Output::Lost(lost(first, count, self.last_pts, stamp.pts)));
            discont = true;
        }
        if stamp.jump {
            // A report is of the time before.
            self.sender = extension;
            self.refer();
            self.jumps = self.jumps.saturating_add(1);
            out.push(Output::Event(Event::TimestampJump {
                ext_rtp: stamp.ext_rtp,
            }));
        }
        if let Some(ns) = self.timeline.take_refused() {
            out.push(Output::Event(Event::ReferenceRefused { ns }));
        }
        self.last_pts = Some(stamp.pts);
        out.push(Output::Packet(Packet {
            data: held.data,
            pts: stamp.pts,
            ext_rtp: stamp.ext_rtp,
            ext_seq,
            marker: held.marker,
            payload_type: held.payload_type,
            discont,
            ntp: self.time_of(rtp),
        }));
    }

    /// Time of the sender at a timestamp.
    fn time_of(&mut self, rtp: u32) -> Option<u64> {
        self.sender.take_if(|sender| !sender.reaches(rtp));
        let clock_rate = self.clock_rate;
        let by_clock = self.reference.and_then(|r| r.now(clock_rate));
        let time = match self.reference.is_none_or(|r| r.by_reports) {
            true => self.sender.or(by_clock),
            false => by_clock.or(self.sender),
        };
        time.map(|time| time.of(rtp, clock_rate))
    }

    /// From when on a packet waits that comes after a gap: its presentation
    /// time if that is before its arrival, because a sink shows it `latency`
    /// after that; but half the latency is waited in any case.
    pub(super) fn waits_since(&self, rtp: u32, arrival: Nanos, config: &Config) -> Nanos {
        match self.timeline.mapping() {
            Some(mapping) if config.live => {
                let clock = u64::try_from(mapping.clock_of(mapping.extend(rtp))).unwrap_or(0);
                clock.clamp(arrival.saturating_sub(config.latency / 2), arrival)
            }
            _ => arrival,
        }
    }

    /// Whether a timestamp is where the clock of the sender is by now, within a second.
    pub(super) fn goes_on(&self, rtp: u32, arrival: Nanos) -> bool {
        const WITHIN: u64 = 1_000_000_000;
        self.timeline.mapping().is_some_and(|mapping| {
            let clock = u64::try_from(mapping.clock_of(mapping.extend(rtp))).unwrap_or(0);
            clock.abs_diff(arrival) <= WITHIN
        })
    }

    /// A sender report of the active source. What has no time, or one that
    /// does not belong to the present timestamps, is not used.
    pub(super) fn sender_report(&mut self, ntp: u64, rtp: u32, arrival: Nanos) {
        const SANE: u64 = 60_000_000_000;
        // What follows the sender's clock is as far away as that is.
        let mapping = self.timeline.mapping();
        let mapping = mapping.filter(|_| !self.timeline.follows_reference());
        let is_near = mapping.is_none_or(|mapping| {
            let clock = u64::try_from(mapping.clock_of(mapping.extend(rtp))).unwrap_or(0);
            clock.abs_diff(arrival) <= SANE
        });
        if ntp != 0 && is_near {
            self.sender = Some(SenderTime { ntp, rtp });
            self.refer();
        }
    }
}

/// Spreads the missing packets evenly between their neighbours.
fn lost(first: u64, count: u64, before: Option<Nanos>, after: Nanos) -> Lost {
    let before = before.unwrap_or(after).min(after);
    let between = after.saturating_sub(before);
    let step = between.checked_div(count.saturating_add(1)).unwrap_or(0);
    Lost {
        seq: first as u16,
        count: u32::try_from(count).unwrap_or(u32::MAX),
        pts: before.saturating_add(step),
        duration: step.saturating_mul(count),
    }
}

/// An extended sequence number as a report shows it: cycles since `cycle`.
pub(super) fn reported(ext_seq: u64, cycle: u64) -> u32 {
    distance(cycle, ext_seq) as u32
}

/// The cycle after that of `highest`, so that numbers grow over a restart.
pub(super) fn next_cycle(highest: u64) -> u64 {
    (highest & !(FIRST_CYCLE.wrapping_sub(1))).wrapping_add(FIRST_CYCLE)
}
