//! Packets that open a NAT or firewall for UDP media (RFC 7825 §1).
//!
//! They leave the RTP and RTCP sockets right after SETUP, before PLAY, so that
//! the mapping exists when the first packet comes.

use std::time::{Duration, Instant};

use crate::rtsp::limits;

/// Waits between the first packets: at 0, 0.5, 1, 2 and 4 s.
const FIRST_WAITS: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];
/// Then this often: mappings last 30 s in common NATs, and need outbound traffic
/// to stay (RFC 4787 §4.3).
const KEEP: Duration = Duration::from_secs(15);

/// For the RTP socket: a header without payload whose payload type the
/// presentation does not use, so that no receiver takes it for media.
pub fn rtp_packet(payload_types: &[u8], sequence: u16, ssrc: u32) -> [u8; 12] {
    // Dynamic types first; 64 to 95 are left to RTCP (RFC 5761 §4).
    let payload_type = (96..=127)
        .rev()
        .chain(35..=63)
        .find(|pt| !payload_types.contains(pt))
        .unwrap_or(127);
    let [s0, s1] = sequence.to_be_bytes();
    let [a, b, c, d] = ssrc.to_be_bytes();
    [0x80, payload_type, s0, s1, 0, 0, 0, 0, a, b, c, d]
}

/// For the RTCP socket: a receiver report without report blocks (RFC 3550 §6.4.2).
pub fn rtcp_packet(ssrc: u32) -> [u8; 8] {
    let [a, b, c, d] = ssrc.to_be_bytes();
    [0x80, 201, 0, 1, a, b, c, d]
}

/// When to send punching packets.
#[derive(Clone, Debug)]
pub struct Schedule {
    next: Instant,
    sent: u32,
    media: bool,
}

impl Schedule {
    /// Begins now: SETUP has succeeded.
    pub fn new(now: Instant) -> Self {
        Self {
            next: now,
            sent: 0,
            media: false,
        }
    }

    /// Media has arrived: from now on the mapping is only kept.
    pub fn on_media(&mut self, now: Instant) {
        if !self.media {
            self.media = true;
            self.next = later(now, KEEP);
        }
    }

    /// Whether packets are due; if so, they count as sent.
    pub fn poll(&mut self, now: Instant) -> bool {
        if self.deadline().is_none_or(|due| now < due) {
            return false;
        }
        let wait = usize::try_from(self.sent)
            .ok()
            .and_then(|n| FIRST_WAITS.get(n));
        self.next = match wait {
            Some(wait) if !self.media => later(now, *wait),
            _ => later(now, KEEP),
        };
        self.sent = self.sent.saturating_add(1);
        true
    }

    /// When to poll again; `None` when nobody has answered for too long.
    pub fn deadline(&self) -> Option<Instant> {
        (self.media || self.sent < limits::PUNCHES_UNANSWERED).then_some(self.next)
    }
}

fn later(now: Instant, wait: Duration) -> Instant {
    now.checked_add(wait).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::lock_in::{looks_like_rtcp, looks_like_rtp};

    // covers: C-SETUP-21
    #[test]
    fn the_rtp_packet_is_a_header_with_an_unused_payload_type() {
        let packet = rtp_packet(&[127, 126, 96], 0x0102, 0x0304_0506);
        assert_eq!(packet, [0x80, 125, 1, 2, 0, 0, 0, 0, 3, 4, 5, 6]);
        assert!(looks_like_rtp(&packet));
        let dynamic: Vec<u8> = (96..=127).collect();
        assert_eq!(rtp_packet(&dynamic, 0, 0)[1], 35);
        let all: Vec<u8> = (0..=127).collect();
        assert_eq!(rtp_packet(&all, 0, 0)[1], 127);
    }

    // covers: C-SETUP-21
    #[test]
    fn the_rtcp_packet_is_an_empty_receiver_report() {
        let packet = rtcp_packet(0x0304_0506);
        assert_eq!(packet, [0x80, 201, 0, 1, 3, 4, 5, 6]);
        assert!(looks_like_rtcp(&packet));
    }

    // covers: C-SETUP-21
    #[test]
    fn packets_are_repeated_until_media_arrives_and_bounded() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        let mut at = Vec::new();
        while let Some(due) = schedule.deadline() {
            if due > start {
                assert!(!schedule.poll(due - Duration::from_millis(1)));
            }
            assert!(schedule.poll(due));
            at.push((due - start).as_millis());
        }
        assert_eq!(at[..7], [0, 500, 1000, 2000, 4000, 19_000, 34_000]);
        assert_eq!(at.len(), limits::PUNCHES_UNANSWERED as usize);
        assert!(!schedule.poll(start + Duration::from_secs(100_000)));
    }

    // covers: C-SETUP-21
    #[test]
    fn media_leaves_only_what_keeps_the_mapping() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        assert!(schedule.poll(start));
        let media = start + Duration::from_millis(100);
        schedule.on_media(media);
        schedule.on_media(media + Duration::from_secs(1));
        let mut due = media + KEEP;
        for _ in 0..3 * limits::PUNCHES_UNANSWERED {
            assert_eq!(schedule.deadline(), Some(due));
            assert!(schedule.poll(due));
            due += KEEP;
        }
    }
}
