//! How much the network takes, and whether the server is still there.

use std::time::{Duration, Instant};

use super::super::spans::after;
use super::attempt::Attempt;
use super::task::Task;
use crate::rtp::bandwidth::Estimator;
use crate::rtp::sender::Quality;
use crate::rtsp::client::{ErrorKind, Path, Phase};
use crate::rtsp::transport::LowerTransport;

/// A server that answers no keep-alive and sends no report is given so long
/// beyond the session's timeout.
const ANSWER: Duration = Duration::from_secs(10);
/// Ports that are closed for so many seconds in a row stay so.
const UNREACHABLE_FOR: u32 = 2;
/// The element hears of changes of the estimate by this part of it.
const WORTH_TELLING: u64 = 20;

/// The estimate, and what it is made of.
pub(super) struct Rate {
    estimator: Estimator,
    /// Bytes and packets of all streams at the last look.
    sent: u64,
    /// The estimate that the element knows of.
    told: u64,
}

impl Rate {
    pub fn new(now: Instant) -> Self {
        Self {
            estimator: Estimator::new(now),
            sent: 0,
            told: 0,
        }
    }

    pub fn restart(&mut self, now: Instant) {
        self.estimator.restart(now);
    }

    pub fn handle_report(&mut self, report: &Quality, reliable: bool, now: Instant) {
        if !reliable {
            let lost = report.fraction_lost;
            self.estimator.handle_report(lost, report.rtt, now);
        } else if let Some(rtt) = report.rtt {
            // Over TCP nothing is lost but what we have dropped ourselves.
            self.estimator.handle_rtt(rtt, now);
        }
    }

    pub fn handle_dropped(&mut self) {
        self.estimator.handle_dropped();
    }
}

impl Task {
    pub fn rate_deadline(&self) -> Option<Instant> {
        self.is_recording()
            .then(|| self.rate.estimator.poll_timeout())
    }

    /// Once a second while recording.
    pub fn measure(&mut self, now: Instant) {
        if self.rate_deadline().is_none_or(|due| now < due) {
            return;
        }
        let sent = self
            .streams
            .iter()
            .map(|stream| stream.lane.stats().sender)
            .map(|stats| stats.bytes.saturating_add(stats.retransmitted_bytes))
            .fold(0, u64::saturating_add);
        let new = sent.saturating_sub(std::mem::replace(&mut self.rate.sent, sent));
        if new > 0 {
            self.backoff.media(now);
        }
        self.rate
            .estimator
            .handle_sent(usize::try_from(new).unwrap_or(usize::MAX));
        let backlog = self
            .streams
            .iter()
            .map(|stream| stream.lane.take_least_delay(now))
            .max()
            .unwrap_or_default();
        if let Some(estimate) = self.rate.estimator.poll(backlog, now) {
            self.inputs.snapshot.set_estimated_bitrate(estimate);
            self.tell_estimate(estimate);
        }
        self.count();
        self.leave_closed_ports(now);
        self.look_for_server(now);
    }

    /// Small changes are not worth a message.
    fn tell_estimate(&mut self, estimate: u64) {
        let told = self.rate.told;
        if estimate.abs_diff(told).saturating_mul(WORTH_TELLING) < told {
            return;
        }
        self.rate.told = estimate;
        let limited = self.rate.estimator.is_limited();
        self.tell("bitrate", move |message| {
            message.set("estimated-bitrate", estimate)
        });
        self.call(move |host| host.estimated_bitrate(estimate, limited));
    }

    fn count(&self) {
        let link = self
            .attempt
            .as_ref()
            .and_then(|attempt| attempt.link.as_ref());
        if let Some(link) = link {
            let (unknown, damaged) = {
                let incoming = crate::session::lock::lock(&link.demux);
                (incoming.unknown_frames, incoming.damaged_bytes)
            };
            self.inputs.snapshot.update(|stats| {
                stats.unknown_frames = unknown;
                stats.damaged_bytes = damaged;
            });
        }
    }

    /// ICMP says that the packets do not get there, and no receiver says otherwise:
    /// they go over TCP then, if that is allowed. More a sender cannot know.
    fn leave_closed_ports(&mut self, now: Instant) {
        let mut refused = false;
        for path in self.streams.iter_mut().filter_map(|s| s.path.as_mut()) {
            if let (Path::Udp { .. }, Some(udp)) = (&path.granted, &path.udp) {
                let count = udp.pair.rtp.refused();
                refused |= std::mem::replace(&mut path.refused, count) != count;
            }
        }
        let heard = |attempt: &Attempt| attempt.heard_of_media || attempt.retiring.is_some();
        if !refused || self.attempt.as_ref().is_none_or(heard) {
            self.unreachable = 0;
            return;
        }
        self.unreachable = self.unreachable.saturating_add(1);
        if self.unreachable < UNREACHABLE_FOR || !self.transports.contains(&LowerTransport::Tcp) {
            return;
        }
        let why = "the server's network says that nobody takes the packets".to_string();
        self.transport_switched(LowerTransport::Udp, LowerTransport::Tcp, why);
        self.transports
            .retain(|transport| *transport != LowerTransport::Udp);
        self.retire(now);
    }

    /// Datagrams go out whether or not somebody is there. Over TCP the
    /// connection says so.
    fn look_for_server(&mut self, now: Instant) {
        let unicast = self.streams.iter().any(|stream| {
            let path = stream.path.as_ref().map(|path| &path.granted);
            matches!(path, Some(Path::Udp { .. }))
        });
        let Some(attempt) = &self.attempt else {
            return;
        };
        let limit = attempt.client.session_timeout().saturating_add(ANSWER);
        let silent = now >= after(attempt.last_heard, limit);
        if unicast && silent && self.config.server.keep_alive {
            let message = "the server does not answer any more".to_string();
            let error = self.error(ErrorKind::SessionLost, Phase::Established, message);
            self.lost(&error, now);
        }
    }
}
