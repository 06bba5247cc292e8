//! When RTCP is sent for a received stream, and what it says
//! (RFC 3550 §6.3, RFC 4585 §3.5).

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rand::RngExt;

use super::feedback::Feedback;
use super::ntp;
use super::rtcp::{self, Report, ReportBlock, Rtcp};
pub use super::schedule::Bandwidth;
use super::schedule::{Schedule, later, seconds};
use super::stats::Reception;
use crate::rtsp::limits;

/// Between two key unit requests of a stream (RFC 5104 §3.5.1).
const KEY_UNIT_INTERVAL: Duration = Duration::from_millis(500);
/// A NACK that could not be sent for so long is of no use (T_max_fb_delay of RFC 4585 §3.4).
const NACK_MAX_DELAY: Duration = Duration::from_millis(500);
/// Above this number of members no BYE is sent at once (RFC 3550 §6.3.7).
pub(super) const BYE_MEMBERS: usize = 50;
/// A loop that echoes our packets must not make us change for ever (RFC 3550 §8.2).
const COLLISIONS: u32 = 8;

/// A canonical name that says nothing about the host (RFC 7022 §4.2): the
/// base64 form of 96 random bits. One for all streams of an element.
pub fn random_cname(random: [u8; 12]) -> String {
    STANDARD_NO_PAD.encode(random)
}

#[derive(Debug, Clone)]
pub struct Config {
    /// Our source, random if `None`.
    pub ssrc: Option<u32>,
    /// Sources that are taken, as `Transport` names them: ours is another.
    pub avoid: Vec<u32>,
    pub cname: String,
    /// Other SDES items by their type (RFC 3550 §6.5).
    pub sdes: Vec<(u8, String)>,
    pub bandwidth: Bandwidth,
    /// Tmin. The default is that of a 90 kbit/s session by the reduced
    /// minimum of RFC 3550 §6.2: with its factors every report comes within
    /// 5 s, which some cameras ask for.
    pub min_interval: Duration,
    /// Feedback may be sent early (RFC 4585); else it waits for a report.
    pub avpf: bool,
    /// Early feedback may be sent alone (`a=rtcp-rsize`, RFC 5506).
    pub reduced_size: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ssrc: None,
            avoid: Vec::new(),
            cname: String::new(),
            sdes: Vec::new(),
            bandwidth: Bandwidth::default(),
            min_interval: Duration::from_secs(4),
            avpf: false,
            reduced_size: false,
        }
    }
}

/// What the last report block was computed from (RFC 3550 §A.3).
#[derive(Debug, Clone, Copy)]
struct Prior {
    ssrc: u32,
    base_seq: u32,
    expected: u64,
    received: u64,
}

/// The RTCP of one stream that is received only: one report block at most.
#[derive(Debug)]
pub struct Reporter {
    config: Config,
    ssrc: u32,
    schedule: Schedule,
    /// Our source has sent something, so that it owes a BYE.
    sent: bool,
    left: bool,
    media_ssrc: Option<u32>,
    received: u64,
    prior: Option<Prior>,
    /// The media source that fell silent and was not told of yet.
    timed_out: Option<u32>,
    collisions: u32,
    /// Source that collided and has yet to say BYE (RFC 3550 §8.2).
    collided: Option<u32>,
    key_unit: Option<Feedback>,
    last_key_unit: Option<Instant>,
    nacks: Vec<u16>,
    nacks_since: Instant,
    /// Early feedback is allowed from here (`allow_early` of RFC 4585 §3.5).
    early_from: Instant,
}

impl Reporter {
    pub fn new(config: Config, now: Instant, seed: u64) -> Self {
        let mut reporter = Self {
            ssrc: config.ssrc.unwrap_or_default(),
            schedule: Schedule::new(config.bandwidth, config.min_interval, now, seed),
            sent: false,
            left: false,
            media_ssrc: None,
            received: 0,
            prior: None,
            timed_out: None,
            collisions: 0,
            collided: None,
            key_unit: None,
            last_key_unit: None,
            nacks: Vec::new(),
            nacks_since: now,
            early_from: now,
            config,
        };
        if reporter
            .config
            .ssrc
            .is_none_or(|ssrc| reporter.config.avoid.contains(&ssrc))
        {
            reporter.choose_ssrc();
        }
        let first = reporter.report().write();
        reporter.schedule.start(first.len(), now);
        reporter
    }

    /// Our source.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Looks at what was received; `poll` does it too.
    pub fn handle_reception(&mut self, reception: &Reception, now: Instant) {
        let Some(ssrc) = reception.ssrc else { return };
        if ssrc == self.ssrc {
            self.collide();
            return;
        }
        let first = self.media_ssrc.is_none();
        if self.media_ssrc.replace(ssrc) != Some(ssrc) || reception.received != self.received {
            self.received = reception.received;
            self.schedule.members.heard_media(ssrc, now);
        }
        if first {
            self.schedule.first_packet(now);
        }
    }

    /// Looks at a received compound: sender reports, members, collisions.
    pub fn handle_compound(&mut self, data: &[u8], now: Instant) {
        let own =
            |p| matches!(p, Rtcp::Cname { cname, .. } if cname == self.config.cname.as_bytes());
        if rtcp::parse(data).any(own) {
            // Ours, by multicast loopback or an echo.
            return;
        }
        self.schedule.count_size(data.len());
        for packet in rtcp::parse(data) {
            let ssrc = match packet {
                Rtcp::SenderReport { ssrc, info, .. } => {
                    self.schedule
                        .members
                        .heard_sr(ssrc, ntp::middle(info.ntp), now);
                    ssrc
                }
                Rtcp::ReceiverReport { ssrc, .. } | Rtcp::Cname { ssrc, .. } => {
                    self.schedule.members.heard(ssrc, now);
                    ssrc
                }
                Rtcp::Bye { ssrcs } => {
                    ssrcs
                        .iter()
                        .for_each(|ssrc| self.schedule.members.remove(ssrc));
                    self.schedule.reverse_reconsider(now);
                    continue;
                }
                _ => continue,
            };
            if ssrc == self.ssrc {
                self.schedule.members.remove(ssrc);
                self.collide();
            }
        }
    }

    /// Queues feedback; `poll` gives it out as soon as the rules allow.
    pub fn feedback(&mut self, feedback: Feedback, now: Instant) {
        let idle = self.key_unit.is_none() && self.nacks.is_empty();
        match feedback {
            Feedback::Nack(seqs) => {
                self.drop_stale_nacks(now);
                if self.nacks.is_empty() {
                    self.nacks_since = now;
                }
                let room = limits::NACK_MISSING.saturating_sub(self.nacks.len());
                self.nacks.extend(seqs.into_iter().take(room));
            }
            key_unit => self.key_unit = Some(key_unit),
        }
        if idle && self.schedule.members.count() > 2 {
            // Dithering keeps a group from answering all at once; with one
            // peer it is 0 (RFC 4585 §3.4 g, §3.5.2).
            let dither =
                self.schedule.interval(Duration::ZERO) * 0.5 * self.schedule.rng.random::<f64>();
            self.early_from = self.early_from.max(later(now, seconds(dither)));
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.enabled() {
            return None;
        }
        let next = if self.collided.is_some() {
            self.schedule.tp
        } else {
            self.schedule.tn
        };
        Some(self.early_at().map_or(next, |early| early.min(next)))
    }

    /// A compound that is due now. Call it again until there is none.
    pub fn poll(&mut self, reception: &Reception, now: Instant) -> Option<Vec<u8>> {
        self.handle_reception(reception, now);
        if !self.enabled() {
            return None;
        }
        if let Some(ssrc) = self.collided.take() {
            let data = Report {
                ssrc,
                bye: true,
                ..self.report()
            }
            .write();
            self.schedule.count_size(data.len());
            return Some(data);
        }
        self.drop_stale_nacks(now);
        let heard = self
            .media_ssrc
            .filter(|ssrc| self.schedule.members.contains(*ssrc));
        let due = self.schedule.is_due(now);
        if heard.is_some_and(|ssrc| !self.schedule.members.contains(ssrc)) {
            self.timed_out = heard;
        }
        if due {
            return Some(self.send_regular(reception, now));
        }
        if self.early_at().is_some_and(|at| at <= now) {
            return Some(self.send_early(reception, now));
        }
        None
    }

    /// The media source, once after it has sent neither RTP nor RTCP for so
    /// long that it counts as gone (RFC 3550 §6.3.5).
    pub fn timed_out(&mut self) -> Option<u32> {
        self.timed_out.take()
    }

    /// The farewell, once, if anything was ever sent (RFC 3550 §6.3.7).
    pub fn bye(&mut self, reception: &Reception, now: Instant) -> Option<Vec<u8>> {
        let owed = self.enabled() && self.sent && self.schedule.members.count() <= BYE_MEMBERS;
        self.left = true;
        if !owed {
            return None;
        }
        let block = self.block(reception, now);
        Some(
            Report {
                blocks: block.as_slice(),
                bye: true,
                ..self.report()
            }
            .write(),
        )
    }

    fn enabled(&self) -> bool {
        !self.left && self.schedule.bandwidth.shares().1 > 0.0
    }

    fn report(&self) -> Report<'_> {
        Report {
            ssrc: self.ssrc,
            cname: &self.config.cname,
            sdes: &self.config.sdes,
            media_ssrc: self.media_ssrc.unwrap_or_default(),
            ..Default::default()
        }
    }

    fn send_regular(&mut self, reception: &Reception, now: Instant) -> Vec<u8> {
        let feedback = self.take_feedback(now);
        let block = self.block(reception, now);
        let data = Report {
            blocks: block.as_slice(),
            feedback: &feedback,
            ..self.report()
        }
        .write();
        self.sent = true;
        self.schedule.handle_sent(data.len(), now);
        // Allowed again, except that the report counts where feedback abounds.
        let pause = seconds(self.schedule.interval(Duration::ZERO));
        self.early_from = later(self.early_from, pause).max(now);
        data
    }

    /// Early feedback. It leaves the regular reports alone, because cameras
    /// watch them; the pause after it keeps the average within the bandwidth.
    fn send_early(&mut self, reception: &Reception, now: Instant) -> Vec<u8> {
        let feedback = self.take_feedback(now);
        let data = if self.config.reduced_size {
            Report {
                feedback: &feedback,
                ..self.report()
            }
            .write_reduced()
        } else {
            let block = self.block(reception, now);
            Report {
                blocks: block.as_slice(),
                feedback: &feedback,
                ..self.report()
            }
            .write()
        };
        self.schedule.count_size(data.len());
        self.sent = true;
        self.early_from = later(now, seconds(self.schedule.interval(Duration::ZERO)));
        data
    }

    /// When queued feedback may go, if it may go early.
    fn early_at(&self) -> Option<Instant> {
        if !self.config.avpf || self.media_ssrc.is_none() {
            return None;
        }
        let key_unit = self.key_unit.as_ref().map(|_| self.key_unit_from());
        let nack = (!self.nacks.is_empty()).then_some(self.nacks_since);
        let ready = key_unit.into_iter().chain(nack).min()?;
        Some(ready.max(self.early_from))
    }

    fn key_unit_from(&self) -> Instant {
        self.last_key_unit
            .map_or(self.schedule.tp, |last| later(last, KEY_UNIT_INTERVAL))
    }

    fn take_feedback(&mut self, now: Instant) -> Vec<Feedback> {
        let mut feedback = Vec::new();
        if self.media_ssrc.is_none() {
            return feedback;
        }
        if self.key_unit_from() <= now
            && let Some(key_unit) = self.key_unit.take()
        {
            self.last_key_unit = Some(now);
            feedback.push(key_unit);
        }
        if !self.nacks.is_empty() {
            feedback.push(Feedback::Nack(std::mem::take(&mut self.nacks)));
        }
        feedback
    }

    fn drop_stale_nacks(&mut self, now: Instant) {
        if now.saturating_duration_since(self.nacks_since) > NACK_MAX_DELAY {
            self.nacks.clear();
        }
    }

    /// The report block (RFC 3550 §6.4.1, §A.3), if anything came since the last.
    fn block(&mut self, reception: &Reception, now: Instant) -> Option<ReportBlock> {
        let ssrc = reception.ssrc?;
        let (expected, received) = (reception.expected(), reception.received);
        let prior = self
            .prior
            .filter(|p| p.ssrc == ssrc && p.base_seq == reception.base_seq)
            .unwrap_or(Prior {
                ssrc,
                base_seq: reception.base_seq,
                expected: 0,
                received: 0,
            });
        if received == prior.received {
            return None;
        }
        self.prior = Some(Prior {
            expected,
            received,
            ..prior
        });
        let sr = self.schedule.members.last_sr(ssrc);
        let lost = reception.cumulative_lost();
        Some(ReportBlock {
            ssrc,
            fraction_lost: fraction_lost(
                expected.saturating_sub(prior.expected),
                received.saturating_sub(prior.received),
            ),
            cumulative_lost: i32::try_from(lost).unwrap_or(if lost < 0 {
                i32::MIN
            } else {
                i32::MAX
            }),
            highest_seq: reception.highest_seq,
            jitter: reception.jitter,
            last_sr: sr.map_or(0, |(middle, _)| middle),
            delay_since_last_sr: sr
                .map_or(0, |(_, at)| ntp::short(now.saturating_duration_since(at))),
        })
    }

    /// Somebody else uses our source: BYE, and another one (RFC 3550 §8.2).
    fn collide(&mut self) {
        if self.collisions == COLLISIONS {
            return;
        }
        self.collisions = self.collisions.saturating_add(1);
        self.config.avoid.push(self.ssrc);
        if std::mem::take(&mut self.sent) {
            self.collided = Some(self.ssrc);
        }
        self.choose_ssrc();
    }

    fn choose_ssrc(&mut self) {
        loop {
            self.ssrc = self.schedule.rng.random();
            let taken = self.config.avoid.contains(&self.ssrc)
                || self.schedule.members.contains(self.ssrc)
                || self.media_ssrc == Some(self.ssrc);
            if !taken {
                break;
            }
        }
    }
}

/// RFC 3550 §A.3, of 256; the field cannot say 100 %.
fn fraction_lost(expected: u64, received: u64) -> u8 {
    let lost = expected.saturating_sub(received);
    let fraction = lost.saturating_mul(256).checked_div(expected).unwrap_or(0);
    u8::try_from(fraction).unwrap_or(u8::MAX)
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
