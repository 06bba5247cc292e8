//! One stream as it is sent: its counters, its RTCP, and what readers say of
//! it (RFC 3550 §6, RFC 4585, RFC 5104).
//!
//! Packets are counted when the network has taken them. Source and timestamps
//! are those that the payloader gave, over reconnections too; the sequence
//! numbers go on, see [`numbering`](super::numbering).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand::RngExt;

use super::ntp;
use super::packet::RtpPacket;
use super::report::{self, Bandwidth};
use super::retransmit::{self, History};
use super::rtcp::{self, Flaw, Report, ReportBlock, Rtcp, SenderInfo};
use super::schedule::Schedule;
use super::sender_report::MediaClock;
use super::stats::Nanos;
use crate::rtsp::limits;

/// A source takes over from another that was silent for so long.
const SILENCE: Duration = Duration::from_secs(1);
/// Sender reports that an answer may refer to.
const REPORTS_KEPT: usize = 8;
/// By how much a receiver's clock may make the round trip less than nothing.
const RTT_SLACK: Duration = Duration::from_millis(10);

#[derive(Debug, Clone)]
pub struct Config {
    pub clock_rate: u32,
    /// See [`report::random_cname`].
    pub cname: String,
    /// The running times are exactly those of the RTP times, as our payloaders
    /// give them. Else it is ready-made RTP: then the smallest difference in
    /// the last 5 to 10 s counts.
    pub exact: bool,
    /// As it is announced.
    pub bandwidth: Bandwidth,
    /// Tmin, see [`report::Config`].
    pub min_interval: Duration,
    /// What was agreed on for retransmission, if anything was.
    pub rtx: Option<retransmit::Config>,
}

impl Default for Config {
    fn default() -> Self {
        let report = report::Config::default();
        Self {
            clock_rate: 90_000,
            cname: String::new(),
            exact: true,
            bandwidth: Bandwidth::default(),
            min_interval: report.min_interval,
            rtx: None,
        }
    }
}

/// A packet that the network has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    pub ssrc: u32,
    pub sequence: u16,
    pub timestamp: u32,
    /// Bytes of the packet.
    pub len: usize,
    /// Bytes of its payload.
    pub payload: usize,
    /// Of its PTS.
    pub running_time: Nanos,
}

impl Sent {
    /// `None` if it is not an RTP packet.
    pub fn of(data: &[u8], running_time: Nanos) -> Option<Self> {
        let packet = RtpPacket::parse(data)?;
        Some(Self {
            ssrc: packet.ssrc,
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            len: data.len(),
            payload: packet.payload.len(),
            running_time,
        })
    }
}

/// One instant on two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockTime {
    pub running_time: Nanos,
    /// NTP timestamp of base time and running time, by whatever clock reports
    /// are to show.
    pub ntp: u64,
}

/// What a compound of a reader asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Heard {
    /// A key unit (PLI, or a FIR that is not a repetition).
    pub key_unit: bool,
    /// How the stream arrives, if the compound says it.
    pub report: Option<Quality>,
    /// Retransmissions, to be sent before what waits.
    pub retransmissions: Vec<Vec<u8>>,
}

/// How the stream arrives at a reader.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quality {
    /// Since the report before, 0 to 1.
    pub fraction_lost: f64,
    /// `None` if the report has nothing new to say of it.
    pub rtt: Option<Duration>,
}

/// A snapshot of the numbers of a stream. The last report counts where there
/// are several readers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stats {
    pub ssrc: Option<u32>,
    pub packets: u64,
    /// Of whole packets.
    pub bytes: u64,
    pub retransmitted: u64,
    pub retransmitted_bytes: u64,
    /// Packets that were asked for again.
    pub nacked: u64,
    /// Those of them that were too old, repeated too soon, or too many.
    pub not_retransmitted: u64,
    /// Report blocks about this stream.
    pub reports: u64,
    /// 0 to 1.
    pub fraction_lost: f64,
    /// Duplicates make it negative.
    pub cumulative_lost: i32,
    pub jitter: Duration,
    pub rtt: Option<Duration>,
    pub pli: u64,
    pub fir: u64,
    /// Compounds that were not read, or not to their end.
    pub malformed: u64,
}

/// Counters of a sender report.
#[derive(Debug, Clone, Copy, Default)]
struct Counters {
    packets: u64,
    octets: u64,
}

impl Counters {
    fn count(&mut self, payload: usize) {
        self.packets = self.packets.saturating_add(1);
        self.octets = self.octets.saturating_add(payload as u64);
    }

    /// The fields wrap (RFC 3550 §6.4.1).
    fn info(&self, ntp: u64, rtp: u32) -> SenderInfo {
        SenderInfo {
            ntp,
            rtp,
            packets: self.packets as u32,
            octets: self.octets as u32,
        }
    }
}

#[derive(Debug)]
struct Source {
    ssrc: u32,
    counters: Counters,
    last_sent: Instant,
}

/// The sending side of one stream. `P` is a packet as the history keeps it.
#[derive(Debug)]
pub struct Sender<P> {
    config: Config,
    schedule: Schedule,
    clock: MediaClock,
    source: Option<Source>,
    history: Option<History<P>>,
    /// Of the retransmissions, which are a source of their own.
    rtx: Counters,
    /// Something was sent in this session.
    started: bool,
    left: bool,
    /// Packets at the last report, and at the one before it.
    at_reports: [u64; 2],
    /// Middle of the NTP time of the last reports, and when they went.
    reports: VecDeque<(u32, Instant)>,
    /// Report that the last round-trip time was measured by.
    answered: Option<u32>,
    /// Reader and number of its last FIR.
    firs: Vec<(u32, u8)>,
    stats: Stats,
}

impl<P: AsRef<[u8]>> Sender<P> {
    pub fn new(config: Config, now: Instant, seed: u64) -> Self {
        let mut schedule = Schedule::new(config.bandwidth, config.min_interval, now, seed);
        let rtx = config.rtx.clone();
        Self {
            clock: MediaClock::new(config.clock_rate, config.exact),
            history: rtx.map(|rtx| History::new(rtx, schedule.rng.random())),
            config,
            schedule,
            source: None,
            rtx: Counters::default(),
            started: false,
            left: false,
            at_reports: [0; 2],
            reports: VecDeque::new(),
            answered: None,
            firs: Vec::new(),
            stats: Stats::default(),
        }
    }

    /// Another RTSP session: nobody is known, the first packet brings a report
    /// at once, and nothing of before can be asked for again. Source, counters
    /// and clocks go on.
    pub fn restart(&mut self, rtx: Option<retransmit::Config>, now: Instant) {
        let (bandwidth, min_interval) = (self.config.bandwidth, self.config.min_interval);
        let rng = &mut self.schedule.rng;
        let next = self.history.as_ref().map(History::sequence);
        let sequence = next.unwrap_or_else(|| rng.random());
        self.history = rtx.map(|rtx| History::new(rtx, sequence));
        self.schedule = Schedule::new(bandwidth, min_interval, now, rng.random());
        (self.started, self.left) = (false, false);
        self.reports.clear();
        self.answered = None;
        self.firs.clear();
        self.stats.rtt = None;
    }

    /// A packet that the network has taken; `data` is asked for if it may have
    /// to be sent again.
    pub fn handle_sent(&mut self, sent: &Sent, data: impl FnOnce() -> P, now: Instant) {
        self.stats.packets = self.stats.packets.saturating_add(1);
        self.stats.bytes = self.stats.bytes.saturating_add(sent.len as u64);
        match &mut self.source {
            Some(source) if source.ssrc == sent.ssrc => source.last_sent = now,
            // Such as redundancy that was added upstream: not the media.
            Some(source) if now.saturating_duration_since(source.last_sent) < SILENCE => return,
            _ => self.take_over(sent.ssrc, now),
        }
        if let Some(source) = &mut self.source {
            source.counters.count(sent.payload);
        }
        self.clock.handle_packet(sent.timestamp, sent.running_time);
        if let Some(history) = &mut self.history {
            history.handle_sent(sent.sequence, data(), now);
        }
        if !self.started {
            // Readers need it to play streams in step (RFC 6051 §2.1).
            self.started = true;
            self.schedule.sending = true;
            self.schedule.at_once(now);
        }
    }

    fn take_over(&mut self, ssrc: u32, now: Instant) {
        self.source = Some(Source {
            ssrc,
            counters: Counters::default(),
            last_sent: now,
        });
        self.clock.reset();
        if let Some(history) = &mut self.history {
            history.clear();
        }
    }

    /// A compound of a reader.
    pub fn handle_rtcp(&mut self, data: &[u8], now: Instant) -> Heard {
        let mut heard = Heard::default();
        let own =
            |p| matches!(p, Rtcp::Cname { cname, .. } if cname == self.config.cname.as_bytes());
        if rtcp::parse(data).any(own) {
            // Ours, by multicast loopback or an echo.
            return heard;
        }
        self.schedule.count_size(data.len());
        let mut compound = rtcp::parse(data);
        for packet in &mut compound {
            self.handle_packet(packet, &mut heard, now);
        }
        // Reduced size is no flaw here (RFC 5506 §5).
        if compound.flaw().is_some_and(|flaw| flaw != Flaw::FirstType) {
            self.stats.malformed = self.stats.malformed.saturating_add(1);
        }
        heard
    }

    fn handle_packet(&mut self, packet: Rtcp<'_>, heard: &mut Heard, now: Instant) {
        let ours = self.source.as_ref().map(|source| source.ssrc);
        // The channel is the stream's; so 0 can mean only this source.
        let about_us = |media: u32| ours.is_some_and(|ours| media == ours || media == 0);
        match packet {
            Rtcp::SenderReport { ssrc, blocks, .. } | Rtcp::ReceiverReport { ssrc, blocks } => {
                self.schedule.members.heard(ssrc, now);
                for block in blocks.iter().filter(|block| Some(block.ssrc) == ours) {
                    heard.report = Some(self.handle_block(&block, now));
                }
            }
            Rtcp::Cname { ssrc, .. } => self.schedule.members.heard(ssrc, now),
            Rtcp::Bye { ssrcs } => {
                let members = &mut self.schedule.members;
                ssrcs.iter().for_each(|ssrc| members.remove(ssrc));
                self.schedule.reverse_reconsider(now);
            }
            Rtcp::Nack {
                media_ssrc, seqs, ..
            } if about_us(media_ssrc) => {
                for sequence in seqs.iter().take(limits::NACK_MISSING) {
                    heard.retransmissions.extend(self.retransmit(sequence, now));
                }
            }
            Rtcp::Pli { media_ssrc, .. } if about_us(media_ssrc) => {
                self.stats.pli = self.stats.pli.saturating_add(1);
                heard.key_unit = true;
            }
            Rtcp::Fir { ssrc, entries } => {
                for (_, number) in entries.iter().filter(|(media, _)| Some(*media) == ours) {
                    self.stats.fir = self.stats.fir.saturating_add(1);
                    heard.key_unit |= self.is_new_fir(ssrc, number);
                }
            }
            _ => {}
        }
    }

    fn handle_block(&mut self, block: &ReportBlock, now: Instant) -> Quality {
        let fraction_lost = f64::from(block.fraction_lost) / 256.0;
        let jitter = f64::from(block.jitter) / f64::from(self.config.clock_rate.max(1));
        let rtt = self.round_trip(block, now);
        let stats = &mut self.stats;
        stats.reports = stats.reports.saturating_add(1);
        stats.fraction_lost = fraction_lost;
        stats.cumulative_lost = block.cumulative_lost;
        stats.jitter = Duration::try_from_secs_f64(jitter).unwrap_or_default();
        stats.rtt = rtt.or(stats.rtt);
        Quality { fraction_lost, rtt }
    }

    /// RFC 3550 §6.4.1, by our own clock: NTP time may be of any other.
    fn round_trip(&mut self, block: &ReportBlock, now: Instant) -> Option<Duration> {
        let report = block.last_sr;
        // No delay at all is that of receivers which do not measure it.
        if self.answered == Some(report) || block.delay_since_last_sr == 0 {
            return None;
        }
        let (_, sent) = self.reports.iter().find(|(middle, _)| *middle == report)?;
        let elapsed = now.saturating_duration_since(*sent);
        let held = Duration::from_secs_f64(f64::from(block.delay_since_last_sr) / 65_536.0);
        if held > elapsed.saturating_add(RTT_SLACK) {
            return None;
        }
        self.answered = Some(report);
        Some(elapsed.saturating_sub(held))
    }

    fn retransmit(&mut self, sequence: u16, now: Instant) -> Option<Vec<u8>> {
        let rtt = self.stats.rtt.unwrap_or_default();
        let history = self.history.as_mut();
        let data = history.and_then(|history| history.retransmit(sequence, rtt, now));
        let stats = &mut self.stats;
        stats.nacked = stats.nacked.saturating_add(1);
        match &data {
            Some(data) => {
                stats.retransmitted = stats.retransmitted.saturating_add(1);
                let bytes = stats.retransmitted_bytes.saturating_add(data.len() as u64);
                stats.retransmitted_bytes = bytes;
                let payload = RtpPacket::parse(data).map_or(0, |packet| packet.payload.len());
                self.rtx.count(payload);
            }
            None => stats.not_retransmitted = stats.not_retransmitted.saturating_add(1),
        }
        data
    }

    /// A repeated FIR has the number of the first (RFC 5104 §4.3.1.1).
    fn is_new_fir(&mut self, reader: u32, number: u8) -> bool {
        if let Some((_, last)) = self.firs.iter_mut().find(|(ssrc, _)| *ssrc == reader) {
            return std::mem::replace(last, number) != number;
        }
        // The oldest goes; its next repetition costs a key unit.
        if self.firs.len() >= limits::FIR_SOURCES {
            self.firs.remove(0);
        }
        self.firs.push((reader, number));
        true
    }

    /// When to call `poll`; `None` before the first packet and after the end.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.is_active().then_some(self.schedule.tn)
    }

    /// A compound that is due now. `clock` is of now.
    pub fn poll(&mut self, clock: ClockTime, now: Instant) -> Option<Vec<u8>> {
        if !self.is_active() || !self.schedule.is_due(now) {
            return None;
        }
        let [last, before] = self.at_reports;
        // Who sent nothing for two reports is no sender (RFC 3550 §6.4).
        self.schedule.sending = self.stats.packets > before;
        self.at_reports = [self.stats.packets, last];
        let data = self.compound(clock, false, now)?;
        self.schedule.handle_sent(data.len(), now);
        Some(data)
    }

    /// The last report and BYE, once, if anything was sent in this session
    /// (RFC 3550 §6.3.7).
    pub fn bye(&mut self, clock: ClockTime, now: Instant) -> Option<Vec<u8>> {
        let owed = self.is_active() && self.schedule.members.count() <= report::BYE_MEMBERS;
        self.left = true;
        if !owed {
            return None;
        }
        self.compound(clock, true, now)
    }

    pub fn stats(&self) -> Stats {
        Stats {
            ssrc: self.source.as_ref().map(|source| source.ssrc),
            ..self.stats
        }
    }

    fn is_active(&self) -> bool {
        self.started && !self.left && self.schedule.bandwidth.shares().0 > 0.0
    }

    fn compound(&mut self, clock: ClockTime, bye: bool, now: Instant) -> Option<Vec<u8>> {
        let source = self.source.as_ref()?;
        let rtp = self.clock.rtp_at(clock.running_time);
        let rtp = rtp.filter(|_| self.schedule.sending);
        let report = |ssrc, counters: Counters| {
            Report {
                ssrc,
                sender: rtp.map(|rtp| counters.info(clock.ntp, rtp)),
                cname: &self.config.cname,
                bye,
                ..Default::default()
            }
            .write()
        };
        let mut data = report(source.ssrc, source.counters);
        // Retransmissions are a source of the session too (RFC 4588 §5.3);
        // reports of several sources may share a datagram (RFC 8108 §5.3).
        if let Some(history) = self.history.as_ref().filter(|_| self.rtx.packets > 0) {
            data.extend(report(history.ssrc(), self.rtx));
        }
        if rtp.is_some() {
            if self.reports.len() >= REPORTS_KEPT {
                self.reports.pop_front();
            }
            self.reports.push_back((ntp::middle(clock.ntp), now));
        }
        Some(data)
    }
}

#[cfg(test)]
#[path = "sender_tests.rs"]
mod tests;
