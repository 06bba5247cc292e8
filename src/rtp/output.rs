//! What a receiver hands out, and the last stage that makes it: packets in
//! sequence order get their times.

use super::config::Config;
use super::seq::{FIRST_CYCLE, distance};
use super::stats::Nanos;
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
    /// NTP time (32.32) of the timestamp, once a sender report is known.
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
}

/// NTP and RTP time of a sender report.
#[derive(Debug, Clone, Copy)]
pub(super) struct SenderTime {
    pub ntp: u64,
    pub rtp: u32,
}

impl SenderTime {
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
    pub sender: Option<SenderTime>,
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
        let (sender, lost, last_pts) = (None, None, None);
        Self {
            timeline,
            clock_rate,
            sender,
            discont: true,
            lost,
            last_pts,
            jumps: 0,
        }
    }

    /// The last presentation time was on another clock.
    pub(super) fn forget_last(&mut self) {
        self.last_pts = None;
        self.lost = None;
    }

    /// `count` packets from `ext_seq` on were given up.
    pub(super) fn lose(&mut self, ext_seq: u64, count: u64) {
        self.lost = Some((ext_seq, count));
    }

    #[inline]
    pub(super) fn release<P>(&mut self, ext_seq: u64, held: Held<P>, out: &mut Vec<Output<P>>) {
        let stamp = self.timeline.stamp(held.rtp, held.arrival);
        let mut discont = std::mem::take(&mut self.discont) | stamp.discont;
        if let Some((first, count)) = self.lost.take() {
            out.push(Output::Lost(lost(first, count, self.last_pts, stamp.pts)));
            discont = true;
        }
        if stamp.jump {
            // The report is of the time before.
            self.sender = None;
            self.jumps = self.jumps.saturating_add(1);
            out.push(Output::Event(Event::TimestampJump {
                ext_rtp: stamp.ext_rtp,
            }));
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
            ntp: self
                .sender
                .map(|sender| sender.of(held.rtp, self.clock_rate)),
        }));
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

    /// A sender report of the active source. What has no time, or one that
    /// does not belong to the present timestamps, is not used.
    pub(super) fn sender_report(&mut self, ntp: u64, rtp: u32, arrival: Nanos) {
        const SANE: u64 = 60_000_000_000;
        let is_near = self.timeline.mapping().is_none_or(|mapping| {
            let clock = u64::try_from(mapping.clock_of(mapping.extend(rtp))).unwrap_or(0);
            clock.abs_diff(arrival) <= SANE
        });
        if ntp != 0 && is_near {
            self.sender = Some(SenderTime { ntp, rtp });
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
