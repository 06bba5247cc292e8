//! What follows when an attempt has failed or the presentation was lost.

use std::time::{Duration, Instant};

use super::super::backoff::{Backoff, Verdict};
use super::super::spans::{after, nanos};
use super::CAT;
use super::task::Task;
use crate::rtsp::client::{Error, ErrorKind};

/// A session that was lost is not waited for any longer than this.
const OLD_SESSION_MAX: Duration = Duration::from_secs(65);

impl Task {
    /// Tries again, if that is wanted and may help. What comes meanwhile is
    /// dropped, unless nothing was ever sent.
    pub fn lost(&mut self, error: &Error, now: Instant) {
        let was_up = self.backoff.was_up();
        let newly_lost = was_up && !std::mem::replace(&mut self.was_lost, was_up);
        if self.stop_at.is_some() || self.over {
            self.drop_attempt(error, now);
            return;
        }
        self.inputs.snapshot.update(|stats| {
            stats.last_error = Some(error.to_string());
            stats.playing_since = None;
        });
        let silent = self.attempt.as_ref().is_some_and(|attempt| attempt.silent);
        match self.backoff.failed(error, silent, &mut rand::rng()) {
            Verdict::GiveUp => {
                self.fail(error);
                self.finish(now);
                self.farewell_done();
            }
            Verdict::Retry(mut delay) => {
                // What could not be opened this time may be there the next.
                for transport in &self.config.server.transports {
                    if !self.transports.contains(transport) {
                        self.transports.push(*transport);
                    }
                }
                // The server may count the publisher that was lost until it times out.
                if matches!(error.status, Some(453 | 503))
                    && let Some(until) = self.old_session_until
                {
                    delay = delay.max(until.saturating_duration_since(now));
                }
                self.drop_attempt(error, now);
                gst::warning!(CAT, "{error}; trying again in {delay:?}");
                self.retry_at = Some(after(now, delay));
                self.inputs.snapshot.update(|stats| stats.state = "waiting");
                let (reason, attempt) = (error.to_string(), self.backoff.tries());
                let what = match (Backoff::refusal(error), newly_lost) {
                    (Some(what), _) => what,
                    (None, true) => "connection-lost",
                    (None, false) => "retrying",
                };
                let status = error.status;
                self.tell(what, move |message| {
                    message.set("reason", reason);
                    message.set("attempt", attempt);
                    message.set("delay", nanos(delay));
                    if let Some(status) = status {
                        message.set("rtsp-status-code", u32::from(status));
                    }
                });
                self.leave_if_drained(now);
            }
        }
    }

    /// Closes what the attempt has opened; the lanes stay.
    fn drop_attempt(&mut self, error: &Error, now: Instant) {
        if let Some(attempt) = self.attempt.take()
            && error.kind != ErrorKind::ServerTeardown
            && error.status != Some(454)
            && let Some(session) = attempt.session
        {
            self.previous_session = Some(session);
            let timeout = attempt.client.session_timeout();
            self.old_session_until = Some(after(now, timeout.min(OLD_SESSION_MAX)));
        }
        self.close_paths();
        if self.farewell_until.is_some() {
            self.farewell_done();
        }
    }

    /// Gives up what the streams are sent over.
    pub fn close_paths(&mut self) {
        let was_up = self.backoff.was_up();
        for stream in &mut self.streams {
            stream.lane.disconnect(was_up);
            stream.path = None;
        }
        if let Some(attempt) = &mut self.attempt {
            attempt.interleaved = None;
        }
    }

    /// The session is over: what still lives at the server is ended.
    pub fn finish(&mut self, now: Instant) {
        self.over = true;
        self.retry_at = None;
        self.leaving = None;
        self.say_goodbye(now);
        self.close_paths();
        self.inputs
            .snapshot
            .update(|stats| stats.playing_since = None);
        if let Some(attempt) = &mut self.attempt {
            attempt.recording_since = None;
            attempt.client.teardown(now);
        }
    }
}
