//! Ends and pauses: first what is queued is sent, within a bounded time.

use std::time::{Duration, Instant};

use super::super::spans::after;
use super::CAT;
use super::task::{Stream, Task};

/// What is queued at a PAUSE or a stop may take so long to leave.
const DRAIN: Duration = Duration::from_millis(500);
/// The same at the end of all streams, which is to be told a second after it at
/// the latest, and `teardown-timeout`.
const DRAIN_AT_END: Duration = Duration::from_millis(900);
/// The longest a session lives on after it was stopped.
const STOP_MAX: Duration = Duration::from_secs(2);

/// What follows once nothing is left to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Then {
    Pause,
    /// All streams have ended.
    End,
    Stop,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Leaving {
    then: Then,
    pub until: Instant,
}

impl Task {
    /// PAUSE, when what is queued has left.
    pub fn pause(&mut self, now: Instant) {
        self.wish_recording = false;
        self.leave(Then::Pause, after(now, DRAIN), now);
    }

    /// A stream ends.
    pub fn eos(&mut self, stream: u32, now: Instant) {
        if self.stop_at.is_some() {
            return;
        }
        if !self.ended.insert(stream) {
            // EOS once more, as after a seek: nothing of it is to be sent.
            if self.told.contains(&stream) {
                self.call(move |host| host.sent_all(stream));
            }
            return;
        }
        let lane = self.inputs.lanes.get(stream);
        lane.end();
        let announced = self
            .streams
            .iter()
            .any(|known| known.description.stream == stream);
        // What has waited since before the announcement may still be announced.
        let early = self.streams.is_empty() && !lane.is_drained();
        if self.over || !announced && !early {
            return self.sent_all(stream);
        }
        self.leave_if_all_ended(now);
    }

    /// A stream goes on after its end, as after a seek.
    pub fn resume(&mut self, stream: u32, now: Instant) {
        if self.stop_at.is_some() || !self.ended.remove(&stream) {
            return;
        }
        self.told.remove(&stream);
        self.stay();
        let known = |known: &&mut Stream| known.description.stream == stream;
        let known = self.streams.iter_mut().find(known);
        let has_left = known.is_some_and(|known| std::mem::take(&mut known.ended));
        self.revive(now);
        if has_left
            && let Some(attempt) = &self.attempt
            && attempt.retiring.is_none()
            && attempt.announced
        {
            // Receivers take nothing more of a source that said BYE.
            self.retire(now);
        }
        self.inputs.lanes.get(stream).resume();
    }

    /// The end of the last stream is the end of the presentation.
    pub fn leave_if_all_ended(&mut self, now: Instant) {
        let ended = |stream: &u32| self.ended.contains(stream);
        let numbers = self.streams.iter().map(|s| &s.description.stream);
        if !self.over && !self.ended.is_empty() && numbers.clone().all(ended) {
            self.leave(Then::End, after(now, DRAIN_AT_END), now);
        }
    }

    pub fn stop(&mut self, now: Instant) {
        if self.stop_at.is_some() {
            return;
        }
        self.stop_at = Some(after(
            now,
            STOP_MAX.max(self.config.server.teardown_timeout),
        ));
        self.retry_at = None;
        self.farewell_until = None;
        if let Some(attempt) = &mut self.attempt
            && attempt.client.session_id().is_none()
        {
            attempt.connecting = None;
        }
        self.leave(Then::Stop, after(now, DRAIN), now);
    }

    fn leave(&mut self, then: Then, until: Instant, now: Instant) {
        // Whatever the element does, an end stays an end.
        if self.leaving.is_some_and(|leaving| leaving.then > then) {
            return;
        }
        if self.leaving.is_none_or(|leaving| leaving.then != then) {
            self.leaving = Some(Leaving { then, until });
        }
        for stream in &self.streams {
            stream.lane.drain(true);
        }
        self.leave_if_drained(now);
    }

    /// A pause, or the end of streams that others joined, is off.
    pub fn stay(&mut self) {
        let ended = |number: u32| self.ended.contains(&number);
        let mut numbers = self.streams.iter().map(|s| s.description.stream);
        let off = match self.leaving {
            Some(Leaving {
                then: Then::Pause, ..
            }) => self.wish_recording,
            Some(Leaving {
                then: Then::End, ..
            }) => !numbers.all(ended),
            _ => false,
        };
        if off {
            self.leaving = None;
            for stream in &self.streams {
                stream.lane.drain(false);
            }
        }
    }

    pub fn leave_if_drained(&mut self, now: Instant) {
        let Some(leaving) = self.leaving else {
            return;
        };
        let drained = match leaving.then {
            // What waits for a RECORD that may still come is not lost at the end.
            Then::End => {
                !self.streams.is_empty()
                    && self.streams.iter().all(|stream| stream.lane.is_drained())
            }
            _ => !self.is_recording() || self.streams.iter().all(|stream| stream.lane.is_drained()),
        };
        if !drained && now < leaving.until {
            return;
        }
        if !drained {
            gst::warning!(CAT, "{}: the rest is not sent", self.config.server.url);
        }
        self.leaving = None;
        for stream in &self.streams {
            stream.lane.drain(false);
        }
        match leaving.then {
            Then::Pause => {
                for stream in &self.streams {
                    stream.lane.hold();
                }
                if let Some(attempt) = &mut self.attempt {
                    attempt.client.pause(now);
                }
            }
            // Nothing was announced in time, but something may still be.
            Then::End if self.streams.is_empty() => self.farewell_done(),
            Then::End => {
                self.finish(now);
                self.inputs.snapshot.update(|stats| stats.state = "ended");
                match self.attempt {
                    Some(_) => {
                        self.farewell_until = Some(after(now, self.config.server.teardown_timeout))
                    }
                    None => self.farewell_done(),
                }
            }
            Then::Stop => self.finish(now),
        }
    }

    /// All of one stream has left.
    pub fn stream_ended(&mut self, at: usize, now: Instant) {
        let Some(stream) = self.streams.get_mut(at) else {
            return;
        };
        if std::mem::replace(&mut stream.ended, true) {
            return;
        }
        let number = stream.description.stream;
        let last = self.streams.iter().all(|stream| stream.ended);
        if !last {
            self.say_goodbye_for(at, now);
            self.sent_all(number);
        }
    }

    /// TEARDOWN was answered, or is not waited for any longer.
    pub fn farewell_done(&mut self) {
        self.farewell_until = None;
        let streams: Vec<u32> = self.ended.iter().copied().collect();
        for stream in streams {
            self.sent_all(stream);
        }
    }

    fn sent_all(&mut self, stream: u32) {
        if self.told.insert(stream) {
            self.call(move |host| host.sent_all(stream));
        }
    }
}
