//! The participants of an RTP session, as far as the report interval
//! depends on their number (RFC 3550 §6.3.3 to §6.3.5).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::rtsp::limits;

#[derive(Debug, Clone, Copy)]
struct Member {
    heard: Instant,
    /// Last media or sender report.
    sending: Option<Instant>,
    /// Middle of the NTP time of the last sender report, and when it came.
    last_sr: Option<(u32, Instant)>,
}

/// All participants but ourselves, bounded.
#[derive(Debug, Default)]
pub(super) struct Members(HashMap<u32, Member>);

impl Members {
    /// How many there are, we included.
    pub(super) fn count(&self) -> usize {
        self.0.len().saturating_add(1)
    }

    pub(super) fn senders(&self) -> usize {
        self.0.values().filter(|m| m.sending.is_some()).count()
    }

    pub(super) fn contains(&self, ssrc: u32) -> bool {
        self.0.contains_key(&ssrc)
    }

    pub(super) fn last_sr(&self, ssrc: u32) -> Option<(u32, Instant)> {
        self.0.get(&ssrc)?.last_sr
    }

    pub(super) fn heard(&mut self, ssrc: u32, now: Instant) {
        self.entry(ssrc, now);
    }

    pub(super) fn heard_media(&mut self, ssrc: u32, now: Instant) {
        if let Some(member) = self.entry(ssrc, now) {
            member.sending = Some(now);
        }
    }

    pub(super) fn heard_sr(&mut self, ssrc: u32, middle: u32, now: Instant) {
        if let Some(member) = self.entry(ssrc, now) {
            member.sending = Some(now);
            member.last_sr = Some((middle, now));
        }
    }

    /// `None` for a newcomer when the table is full.
    fn entry(&mut self, ssrc: u32, now: Instant) -> Option<&mut Member> {
        if self.0.len() >= limits::RTCP_MEMBERS && !self.0.contains_key(&ssrc) {
            return None;
        }
        let member = self.0.entry(ssrc).or_insert(Member {
            heard: now,
            sending: None,
            last_sr: None,
        });
        member.heard = now;
        Some(member)
    }

    pub(super) fn remove(&mut self, ssrc: u32) {
        self.0.remove(&ssrc);
    }

    /// Forgets who was silent for 5 intervals, and takes who sent nothing for
    /// 2 intervals for a receiver (RFC 3550 §6.3.5).
    pub(super) fn expire(&mut self, interval: Duration, now: Instant) {
        let within = |at: Instant, intervals: u32| {
            now.saturating_duration_since(at) <= interval.saturating_mul(intervals)
        };
        self.0.retain(|_, member| within(member.heard, 5));
        for member in self.0.values_mut() {
            member.sending = member.sending.filter(|at| within(*at, 2));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    // covers: B-RTCP-11
    #[test]
    fn sources_time_out_after_5_intervals_and_senders_after_2() {
        let start = Instant::now();
        let mut members = Members::default();
        members.heard_media(1, start);
        members.heard(2, start);
        assert_eq!((members.count(), members.senders()), (3, 1));
        members.expire(SECOND, start + 2 * SECOND);
        assert_eq!((members.count(), members.senders()), (3, 1));
        members.expire(SECOND, start + 3 * SECOND);
        assert_eq!((members.count(), members.senders()), (3, 0));
        members.heard(2, start + 3 * SECOND);
        members.expire(SECOND, start + 6 * SECOND);
        assert_eq!(members.count(), 2);
        assert!(members.contains(2) && !members.contains(1));
    }

    // covers: H-35
    #[test]
    fn members_are_bounded_and_the_known_ones_stay() {
        let now = Instant::now();
        let mut members = Members::default();
        for ssrc in 0..limits::RTCP_MEMBERS as u32 {
            members.heard(ssrc, now);
        }
        assert_eq!(members.count(), limits::RTCP_MEMBERS + 1);
        members.heard_sr(u32::MAX, 1, now);
        assert_eq!(members.count(), limits::RTCP_MEMBERS + 1);
        members.heard_sr(7, 9, now);
        assert_eq!(members.last_sr(7), Some((9, now)));
    }
}
