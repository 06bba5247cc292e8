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
        if self.stop_at.is_some() || self.over || self.playhead.ended {
            self.drop_attempt(error);
            return;
        }
        self.last_error = Some(error.clone());
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
                self.finish(now);
                self.fail(error);
            }
            Verdict::Retry(mut delay) => {
                // What could not be opened this time may be there the next.
                let missing = self
                    .config
                    .server
                    .transports
                    .iter()
                    .filter(|t| !self.transports.contains(t));
                let missing: Vec<_> = missing.copied().collect();
                self.transports.extend(missing);
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
                let what = match (Backoff::refusal(error), newly_lost) {
                    (Some(what), _) => what,
                    (None, true) => "connection-lost",
                    (None, false) => "retrying",
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
        self.close_paths();
    }

    /// Gives up what the streams are received by; their pads stay.
    pub(super) fn close_paths(&mut self) {
        self.housekeeping_at = None;
        self.drop_backchannels();
        for stream in &mut self.streams {
            stream.path = None;
        }
    }

    /// The session is over: what still lives at the server is ended.
    pub(super) fn finish(&mut self, now: Instant) {
        self.over = true;
        self.retry_at = None;
        self.say_goodbye(now);
        self.close_paths();
        self.inputs
            .snapshot
            .update(|stats| stats.playing_since = None);
        if let Some(attempt) = &mut self.attempt {
            attempt.playing_since = None;
            attempt.client.teardown(now);
        }
    }

    /// EOS was asked for and there will never be a pad to send it through.
    pub(super) fn fail_without_pads(&mut self) {
        let error = self.last_error.take().unwrap_or_else(|| {
            let why = "ended before anything was received".to_string();
            self.error(client::ErrorKind::Connect, client::Phase::Connect, why)
        });
        self.fail(&error);
    }

    /// Where the media of a range with an end has got to, as the server counts. Live
    /// ranges have no place to go on from.
    pub(super) fn position(&self) -> Option<u64> {
        let attempt = self.attempt.as_ref()?;
        let track = self.inputs.snapshot.track()?;
        let last = self.streams.iter().map(|stream| stream.shared.last_pts());
        if !self.config.live
            && let Some(last) = last.max().filter(|last| *last > 0)
            && self.playhead.pace() > 0.0
        {
            // Times are stream times.
            return track.server_time(last);
        }
        let playing = attempt
            .playing_since
            .map_or(Duration::ZERO, |since| since.elapsed());
        // What was silent was not played.
        let playing = playing.saturating_sub(self.silence().unwrap_or(playing));
        let played = nanos(attempt.played.saturating_add(playing));
        let start = track.server_time(track.start.unwrap_or(0))?;
        let from = self.resume_at.unwrap_or(start);
        let pace = self.playhead.pace();
        // Saturates.
        let played = (played as f64 * pace.abs()) as u64;
        let position = match pace < 0.0 {
            true => from.saturating_sub(played).max(start),
            false => from.saturating_add(played),
        };
        let end = track.end.and_then(|end| track.server_time(end));
        Some(position.min(end.unwrap_or(u64::MAX)))
    }

    /// What the session itself finds wrong.
    pub(super) fn error(
        &self,
        kind: client::ErrorKind,
        phase: client::Phase,
        why: String,
    ) -> Error {
        Error::new(kind, phase, &self.config.server.url.to_string(), why)
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
        self.say_goodbye(now);
        self.close_paths();
        if let Some(attempt) = &mut self.attempt {
            attempt.playing_since = None;
            attempt.retiring = Some(after(now, RETIRE_MAX));
            attempt.client.teardown(now);
        }
    }

    /// The session that another transport replaces is gone.
    pub(super) fn retired(&mut self) {
        if let Some(attempt) = self.attempt.take()
            && attempt.client.session_id().is_some()
        {
            // Its TEARDOWN was not answered.
            self.previous_session = attempt.session;
        }
        self.start_attempt();
        if self.eos && self.presented_at.is_none() && self.attempt.is_none() && !self.over {
            self.fail_without_pads();
        }
    }
}
