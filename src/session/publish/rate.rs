//! How much the network takes, and whether the server is still there.

use std::time::{Duration, Instant};

use super::super::spans::after;
use super::task::Task;
use crate::rtp::bandwidth::Estimator;
use crate::rtp::sender::Quality;
use crate::rtsp::client::{ErrorKind, Path, Phase};

/// A server that answers no keep-alive and sends no report is given so long
/// beyond the session's timeout.
const ANSWER: Duration = Duration::from_secs(10);

/// The estimate, and what it is made of.
pub(super) struct Rate {
    estimator: Estimator,
    /// Bytes and packets of all streams at the last look.
    sent: u64,
    estimate: u64,
}

impl Rate {
    pub fn new(now: Instant, cap: Option<u64>) -> Self {
        let mut estimator = Estimator::new(now);
        estimator.set_cap(cap);
        Self {
            estimator,
            sent: 0,
            estimate: 0,
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
        let backlog = self.backlog();
        if let Some(estimate) = self.rate.estimator.poll(backlog, now)
            && estimate != self.rate.estimate
        {
            self.rate.estimate = estimate;
            self.inputs.snapshot.set_estimated_bitrate(estimate);
            self.tell("bitrate", move |message| {
                message.set("estimated-bitrate", estimate)
            });
            self.call(move |host| host.estimated_bitrate(estimate));
        }
        self.count();
        self.look_for_server(now);
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
