//! What was received: the numbers of a report block and of the `stats` property.

/// Pipeline-clock time in nanoseconds.
pub type Nanos = u64;

/// A sender report as far as a report block answers it (RFC 3550 §6.4.1, LSR
/// and DLSR).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastSr {
    /// The sender's NTP timestamp, 32.32 fixed point.
    pub ntp: u64,
    pub arrival: Nanos,
}

/// Packets that were dropped before the reorder buffer, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Discarded {
    /// Not an RTP packet (RFC 3550 §A.1).
    pub invalid: u64,
    /// A payload type that is not one of the stream.
    pub payload_type: u64,
    /// Of a source that never took over.
    pub source: u64,
    /// A sequence number far away that no second packet confirmed.
    pub sequence: u64,
    /// Held when the stream was reset, or from before a seek.
    pub flushed: u64,
}

/// What presentation times go by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Timing {
    /// The arrival, cleaned of jitter.
    #[default]
    Arrival,
    /// The sender's NTP time on a clock of the receiver.
    Ntp,
    /// The clock that the description names (RFC 7273).
    Rfc7273,
}

impl Timing {
    /// As the statistics show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Arrival => "arrival",
            Self::Ntp => "ntp",
            Self::Rfc7273 => "rfc7273",
        }
    }
}

/// A snapshot of the reception of one stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reception {
    /// The active source.
    pub ssrc: Option<u32>,
    /// First sequence number since the sequence (re)started, as 16-bit cycles
    /// and number.
    pub base_seq: u32,
    /// Highest sequence number, as 16-bit cycles and number.
    pub highest_seq: u32,
    /// Packets since `base_seq`, late and duplicate ones included (RFC 3550
    /// §6.4.1).
    pub received: u64,
    /// Interarrival jitter in timestamp units (RFC 3550 §A.8).
    pub jitter: u32,
    pub last_sr: Option<LastSr>,
    pub last_arrival: Option<Nanos>,
    pub timing: Timing,

    // Totals of the stream, over all its sources and restarts.
    pub packets: u64,
    pub bytes: u64,
    /// Packets given up by the reorder buffer.
    pub lost: u64,
    /// Packets that came out of order, but in time.
    pub reordered: u64,
    pub duplicates: u64,
    /// Packets that came after they were given up.
    pub late: u64,
    pub retransmitted: u64,
    pub discarded: Discarded,
    /// Restarts of the sequence numbers, and changes of the source.
    pub resyncs: u64,
    pub timestamp_jumps: u64,
    /// How often the timeline stepped because the path became longer.
    pub timeline_steps: u64,
}

impl Reception {
    /// Packets that the sender sent since `base_seq` (RFC 3550 §A.3).
    pub fn expected(&self) -> u64 {
        match self.ssrc {
            Some(_) => u64::from(self.highest_seq.wrapping_sub(self.base_seq)).saturating_add(1),
            None => 0,
        }
    }

    /// With the totals of an earlier reception of the same stream added.
    pub fn after(&self, earlier: &Reception) -> Reception {
        let d = |a: &Discarded, b: &Discarded| Discarded {
            invalid: a.invalid.saturating_add(b.invalid),
            payload_type: a.payload_type.saturating_add(b.payload_type),
            source: a.source.saturating_add(b.source),
            sequence: a.sequence.saturating_add(b.sequence),
            flushed: a.flushed.saturating_add(b.flushed),
        };
        Reception {
            packets: self.packets.saturating_add(earlier.packets),
            bytes: self.bytes.saturating_add(earlier.bytes),
            lost: self.lost.saturating_add(earlier.lost),
            reordered: self.reordered.saturating_add(earlier.reordered),
            duplicates: self.duplicates.saturating_add(earlier.duplicates),
            late: self.late.saturating_add(earlier.late),
            retransmitted: self.retransmitted.saturating_add(earlier.retransmitted),
            discarded: d(&self.discarded, &earlier.discarded),
            resyncs: self.resyncs.saturating_add(earlier.resyncs),
            timestamp_jumps: self.timestamp_jumps.saturating_add(earlier.timestamp_jumps),
            timeline_steps: self.timeline_steps.saturating_add(earlier.timeline_steps),
            ..*self
        }
    }

    /// Cumulative number of packets lost; duplicates may make it negative
    /// (RFC 3550 §A.3). Not yet clamped to 24 bits.
    pub fn cumulative_lost(&self) -> i64 {
        self.expected()
            .cast_signed()
            .wrapping_sub(self.received.cast_signed())
    }
}

/// Interarrival jitter, in integers as RFC 3550 §A.8 gives it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Jitter {
    /// The transit time of the packet before, in timestamp units, modulo 2^32.
    transit: Option<u32>,
    /// 16 × the estimate.
    scaled: u32,
}

impl Jitter {
    pub(super) fn update(&mut self, rtp: u32, arrival: Nanos, clock_rate: u32) {
        const SECOND: u64 = 1_000_000_000;
        let rate = u64::from(clock_rate);
        // The lower 32 bits are what counts: transit times differ modulo 2^32.
        let seconds = (arrival / SECOND).wrapping_mul(rate);
        let rest = (arrival % SECOND).wrapping_mul(rate) / SECOND;
        let transit = (seconds.wrapping_add(rest) as u32).wrapping_sub(rtp);
        if let Some(last) = self.transit.replace(transit) {
            let d = transit.wrapping_sub(last).cast_signed().unsigned_abs();
            let decay = self.scaled.saturating_add(8) >> 4;
            self.scaled = self.scaled.saturating_sub(decay).saturating_add(d);
        }
    }

    pub(super) fn value(&self) -> u32 {
        self.scaled >> 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: B-RTCP-08
    #[test]
    fn expected_and_lost_follow_a3() {
        let mut r = Reception {
            ssrc: Some(1),
            base_seq: 65_530,
            highest_seq: 65_536 + 9,
            received: 14,
            ..Default::default()
        };
        assert_eq!(r.expected(), 16);
        assert_eq!(r.cumulative_lost(), 2);
        r.received = 18;
        assert_eq!(r.cumulative_lost(), -2);
        assert_eq!(Reception::default().expected(), 0);
    }

    // covers: B-RTCP-08
    #[test]
    fn jitter_follows_a8_across_the_wrap() {
        // Reference in floating point: J += (|D| - J) / 16.
        let mut jitter = Jitter::default();
        let mut reference = 0.0;
        let (mut rtp, mut arrival) = (u32::MAX - 100_000, 7_000_000_000_u64);
        let mut last: Option<i64> = None;
        for i in 0..500_u64 {
            let wobble = (i * 7919) % 23 * 100_000; // 0 to 2.2 ms
            let a = arrival + wobble;
            jitter.update(rtp, a, 90_000);
            let transit = (wobble * 9 / 100_000) as i64;
            if let Some(last) = last.replace(transit) {
                reference += ((transit - last).abs() as f64 - reference) / 16.0;
            }
            rtp = rtp.wrapping_add(3000);
            arrival += 33_333_333;
        }
        let got = f64::from(jitter.value());
        assert!(
            (got - reference).abs() < 4.0,
            "{got} is not near {reference}"
        );
        assert!(got > 20.0);
    }
}
