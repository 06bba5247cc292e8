//! What follows when an attempt has failed or a presentation was lost.

use std::time::{Duration, Instant};

use super::*;
use crate::session::backoff::{Backoff, Verdict};

/// The TEARDOWN of a session that another transport replaces.
const RETIRE_MAX: Duration = Duration::from_secs(1);

/// A session that was lost is not waited for any longer than this.
const OLD_SESSION_MAX: Duration = Duration::from_secs(65);

impl Task {
    /// The attempt has failed, or the presentation was lost: tries again if
    /// that is wanted and may help.
    pub(super) fn lost(&mut self, error: &Error, now: Instant) {
        let was_up = self.backoff.was_up();
        let newly_lost = was_up && !std::mem::replace(&mut self.was_lost, was_up);
        if self.stop_at.is_some() || self.over {
            self.drop_attempt(error);
            return;
        }
        self.inputs.snapshot.update(|stats| {
            stats.last_error = Some(error.to_string());
            stats.playing_since = None;
        });
        if self.eos {
            self.drop_attempt(error);
            match self.presented_at {
                Some(_) => self.over = true,
                // No pad will ever see the EOS.
                None => self.fail(error),
            }
            return;
        }
        let silent = self.attempt.as_ref().is_some_and(|attempt| attempt.silent);
        match self.backoff.failed(error, silent, &mut rand::rng()) {
            Verdict::GiveUp => {
                // A session that still lives is ended; then there is nothing left to do.
                self.say_goodbye(now);
                if let Some(attempt) = &mut self.attempt {
                    attempt.client.teardown(now);
                }
                self.fail(error);
            }
            Verdict::Retry(mut delay) => {
                // The server may count the session that was lost until it times out.
                if matches!(error.status, Some(453 | 503))
                    && let Some(until) = self.old_session_until
                {
                    delay = delay.max(until.saturating_duration_since(now));
                }
                self.drop_attempt(error);
                gst::warning!(CAT, "{error}; trying again in {delay:?}");
                self.retry_at = Some(after(now, delay));
                self.inputs.snapshot.update(|stats| stats.state = "waiting");
                let (reason, attempt) = (error.to_string(), self.backoff.tries());
                let what = match (newly_lost, Backoff::is_refusal(error)) {
                    (_, true) => "authentication-refused",
                    (true, false) => "connection-lost",
                    (false, false) => "retrying",
                };
                let status = error.status;
                self.tell(what, move |message| {
                    message.set("reason", reason);
                    message.set("attempt", attempt);
                    message.set("delay", u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX));
                    if let Some(status) = status {
                        message.set("rtsp-status-code", u32::from(status));
                    }
                });
            }
        }
    }

    /// Closes what the attempt has opened; the pads stay.
    pub(super) fn drop_attempt(&mut self, error: &Error) {
        // One that never played leaves the position where it was.
        self.resume_at = self.position().or(self.resume_at);
        let Some(attempt) = self.attempt.take() else {
            return;
        };
        let gone = error.kind == client::ErrorKind::ServerTeardown || error.status == Some(454);
        if let Some(session) = attempt.session
            && !gone
        {
            self.previous_session = Some(session);
            self.old_session_until = Some(after(
                Instant::now(),
                attempt.client.session_timeout().min(OLD_SESSION_MAX),
            ));
        }
        for stream in &mut self.streams {
            stream.path = None;
        }
        self.housekeeping_at = None;
    }

    /// Where a range with an end has got to; live ones have no place to go on from.
    fn position(&self) -> Option<u64> {
        let attempt = self.attempt.as_ref()?;
        let range = attempt.sdp.as_ref()?.range().filter(|range| range.is_closed())?;
        let playing = attempt.playing_since.map_or(Duration::ZERO, |since| since.elapsed());
        let played = nanos(attempt.played.saturating_add(playing));
        let start = self.resume_at.or_else(|| range.start_ns())?;
        Some(start.saturating_add(played))
    }

    pub(super) fn fail(&mut self, error: &Error) {
        self.over = true;
        self.inputs.snapshot.update(|stats| stats.state = "failed");
        gst::error!(CAT, "{error}");
        let path = self.streams.iter().find_map(|stream| stream.path.as_ref());
        let transport = path.map(|path| name_of(path.granted.lower()));
        let error = error.clone();
        self.post(move |element| messages::error_message(element, &error, transport));
    }

    /// Tears the session down and begins anew with other transports, on the
    /// same pads.
    pub(super) fn switch_transport(&mut self, transports: Vec<LowerTransport>, now: Instant) {
        self.transports = transports;
        self.housekeeping_at = None;
        for stream in &mut self.streams {
            stream.path = None;
        }
        if let Some(attempt) = &mut self.attempt {
            attempt.playing_since = None;
            attempt.retiring = Some((after(now, RETIRE_MAX), self.transports.clone()));
            attempt.client.teardown(now);
        }
    }

    /// The session that another transport replaces is gone.
    pub(super) fn retired(&mut self) {
        self.attempt = None;
        self.start_attempt();
    }
}
