//! When a regular RTCP report is due (RFC 3550 §6.2, §6.3, §A.7).

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::members::Members;

/// Bandwidth that is assumed where the description gives none, in bit/s.
const DEFAULT_BANDWIDTH: u64 = 1_000_000;
/// `b=AS:0` and the like are filler; reports every few minutes would end the session.
const MIN_BANDWIDTH: u64 = 8_000;
/// Makes up for timer reconsideration: e - 3/2 (RFC 3550 §6.3.1).
const COMPENSATION: f64 = std::f64::consts::E - 1.5;
/// IP and UDP headers count (RFC 3550 §6.2).
pub(super) const LOWER_LAYERS: usize = 28;

/// What `b=` lines say, in bit/s (RFC 3556 §2). The media's lines win over
/// the session's before they come here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bandwidth {
    /// From `b=AS` or `b=TIAS`.
    pub session: Option<u64>,
    /// `b=RS`: RTCP of senders.
    pub rs: Option<u64>,
    /// `b=RR`: RTCP of receivers; 0 forbids it.
    pub rr: Option<u64>,
}

impl Bandwidth {
    /// Octets per second for all senders and all receivers: 5 % of the
    /// session bandwidth, a quarter of it for senders, unless given.
    pub(super) fn shares(&self) -> (f64, f64) {
        let session = self.session.filter(|b| *b > 0).unwrap_or(DEFAULT_BANDWIDTH);
        let rtcp = session.max(MIN_BANDWIDTH) as f64 * 0.05;
        let share = |given: Option<u64>, default| given.map_or(default, |b| b as f64) / 8.0;
        (share(self.rs, rtcp * 0.25), share(self.rr, rtcp * 0.75))
    }
}

/// The timer of one participant, and the others, whose number it follows.
#[derive(Debug)]
pub(super) struct Schedule {
    pub bandwidth: Bandwidth,
    /// Tmin.
    min_interval: Duration,
    pub rng: StdRng,
    pub members: Members,
    /// We send media ourselves (`we_sent`).
    pub sending: bool,
    /// Members when the timer was last set (RFC 3550 §6.3.4).
    pub pmembers: usize,
    pub avg_size: f64,
    /// No report was sent since the first packet.
    initial: bool,
    /// The next report needs no delay.
    at_once: bool,
    /// Last report, or the start.
    pub tp: Instant,
    /// Next report.
    pub tn: Instant,
}

impl Schedule {
    pub(super) fn new(
        bandwidth: Bandwidth,
        min_interval: Duration,
        now: Instant,
        seed: u64,
    ) -> Self {
        Self {
            bandwidth,
            min_interval,
            rng: StdRng::seed_from_u64(seed),
            members: Members::default(),
            sending: false,
            pmembers: 1,
            avg_size: 0.0,
            initial: true,
            at_once: false,
            tp: now,
            tn: now,
        }
    }

    /// Sets the timer; `first` is the probable size of the first report
    /// (RFC 3550 §6.3.2).
    pub(super) fn start(&mut self, first: usize, now: Instant) {
        self.avg_size = first.saturating_add(LOWER_LAYERS) as f64;
        self.tn = later(now, self.random_interval());
    }

    /// However long the first packet took to come, a report follows within
    /// the initial interval: some servers wait for it.
    pub(super) fn first_packet(&mut self, now: Instant) {
        self.initial = true;
        self.tp = now;
        self.tn = self.tn.min(later(now, self.random_interval()));
    }

    /// A first report without delay, as unicast allows it (RFC 3550 §6.2).
    pub(super) fn at_once(&mut self, now: Instant) {
        (self.at_once, self.tn) = (true, now);
    }

    /// Whether the report is to be sent now, after timer reconsideration
    /// (RFC 3550 §6.3.6).
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        if now < self.tn {
            return false;
        }
        let interval = seconds(self.interval(self.min_interval));
        self.members.expire(interval, now);
        let tn = later(self.tp, self.random_interval());
        if tn <= now || self.at_once {
            return true;
        }
        self.tn = tn;
        self.pmembers = self.members.count();
        false
    }

    /// A report of this size was sent.
    pub(super) fn handle_sent(&mut self, len: usize, now: Instant) {
        self.count_size(len);
        (self.initial, self.at_once, self.tp) = (false, false, now);
        self.tn = later(now, self.random_interval());
        self.pmembers = self.members.count();
    }

    /// Some compound, sent or received, was so long.
    pub(super) fn count_size(&mut self, len: usize) {
        let size = len.saturating_add(LOWER_LAYERS) as f64;
        self.avg_size = if self.avg_size == 0.0 {
            size
        } else {
            self.avg_size * (15.0 / 16.0) + size / 16.0
        };
    }

    /// The calculated interval Td in seconds (RFC 3550 §6.3.1, §A.7).
    pub(super) fn interval(&self, min: Duration) -> f64 {
        let (rs, rr) = self.bandwidth.shares();
        let members = self.members.count() as f64;
        let senders = self.members.senders() as f64 + f64::from(self.sending);
        // Senders have their share to themselves while they are few.
        let (n, bandwidth) = if senders > members * rs / (rs + rr) {
            (members, rs + rr)
        } else if self.sending {
            (senders, rs)
        } else {
            (members - senders, rr)
        };
        (self.avg_size * n / bandwidth).max(min.as_secs_f64())
    }

    /// The interval T: Td, half of the minimum at first, times 0.5 to 1.5.
    fn random_interval(&mut self) -> Duration {
        let min = self.min_interval;
        let td = self.interval(if self.initial { min.mul_f64(0.5) } else { min });
        seconds(td * self.rng.random_range(0.5..1.5) / COMPENSATION)
    }

    /// Members left: reports come sooner (RFC 3550 §6.3.4).
    pub(super) fn reverse_reconsider(&mut self, now: Instant) {
        let members = self.members.count();
        if members >= self.pmembers {
            return;
        }
        let ratio = members as f64 / self.pmembers as f64;
        let scaled = |span: Duration| seconds(span.as_secs_f64() * ratio);
        self.tn = later(now, scaled(self.tn.saturating_duration_since(now)));
        let since = scaled(now.saturating_duration_since(self.tp));
        self.tp = now.checked_sub(since).unwrap_or(now);
        self.pmembers = members;
    }
}

/// A span of floating point seconds, clamped to a day.
pub(super) fn seconds(span: f64) -> Duration {
    Duration::try_from_secs_f64(span.min(86_400.0)).unwrap_or_default()
}

pub(super) fn later(instant: Instant, span: Duration) -> Instant {
    instant.checked_add(span).unwrap_or(instant)
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: B-RTCP-06, B-SDP-16
    #[test]
    fn bandwidth_shares_follow_the_description() {
        let session = |b| Bandwidth {
            session: Some(b),
            ..Default::default()
        };
        assert_eq!(session(800_000).shares(), (1250.0, 3750.0));
        assert_eq!(session(0).shares(), Bandwidth::default().shares());
        assert_eq!(session(1).shares(), session(MIN_BANDWIDTH).shares());
        let both = Bandwidth {
            session: Some(1),
            rs: Some(800),
            rr: Some(1600),
        };
        assert_eq!(both.shares(), (100.0, 200.0));
    }

    // covers: B-RTCP-06
    #[test]
    fn a_sender_shares_its_quarter_with_the_other_senders_only() {
        let now = Instant::now();
        let bandwidth = Bandwidth {
            rs: Some(8 * 100),
            rr: Some(8 * 300),
            ..Default::default()
        };
        let mut schedule = Schedule::new(bandwidth, Duration::ZERO, now, 1);
        (schedule.sending, schedule.avg_size) = (true, 60.0);
        // Alone with one receiver all share all.
        schedule.members.heard(1, now);
        assert_eq!(schedule.interval(Duration::ZERO), 60.0 * 2.0 / 400.0);
        for ssrc in 2..100 {
            schedule.members.heard(ssrc, now);
        }
        assert_eq!(schedule.interval(Duration::ZERO), 60.0 / 100.0);
        schedule.members.heard_media(1, now);
        assert_eq!(schedule.interval(Duration::ZERO), 60.0 * 2.0 / 100.0);
        schedule.sending = false;
        assert_eq!(schedule.interval(Duration::ZERO), 60.0 * 99.0 / 300.0);
    }
}
