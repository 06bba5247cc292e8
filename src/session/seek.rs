//! What a seek asks for, and how whoever asks learns the answer.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::lock::lock;
use crate::rtsp::client::Frames;
use crate::rtsp::range::{Range, Unit};

/// From 1900-01-01 to 1970-01-01 in nanoseconds: `onvif-mode` counts from the first.
const NTP_EPOCH: i64 = 2_208_988_800 * 1_000_000_000;

/// A seek event in TIME.
#[derive(Debug, Clone)]
pub struct SeekRequest {
    pub rate: f64,
    pub flags: gst::SeekFlags,
    pub start: (gst::SeekType, Option<gst::ClockTime>),
    pub stop: (gst::SeekType, Option<gst::ClockTime>),
    pub seqnum: gst::Seqnum,
    pub interval: Option<gst::ClockTime>,
}

impl SeekRequest {
    /// None: it is in another format.
    pub fn of(event: &gst::event::Seek) -> Option<Self> {
        let (rate, flags, start_type, start, stop_type, stop) = event.get();
        let time = |kind, value: gst::GenericFormattedValue| match value {
            gst::GenericFormattedValue::Time(time) => Some((kind, time)),
            _ if kind == gst::SeekType::None => Some((kind, None)),
            _ => None,
        };
        Some(Self {
            rate,
            flags,
            start: time(start_type, start)?,
            stop: time(stop_type, stop)?,
            seqnum: event.seqnum(),
            interval: event.trickmode_interval(),
        })
    }

    pub fn is_flushing(&self) -> bool {
        self.flags.contains(gst::SeekFlags::FLUSH)
    }
}

/// What can be seeked in: the times of the server's range, and stream times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Track {
    unit: Unit,
    /// What stream time 0 is in the server's unit.
    origin: i64,
    /// Stream times.
    pub start: Option<u64>,
    pub end: Option<u64>,
}

impl Track {
    /// None: this is not seeked in. Stream time is normal play time; of ranges in other units it
    /// counts from their start, and with `onvif` it is UTC since 1900.
    pub fn of(range: Option<&Range>, onvif: bool) -> Option<Self> {
        let start = range.and_then(Range::start_ns);
        let end = range.and_then(Range::end_ns);
        let is_clock = range.is_none_or(|range| range.unit == Unit::Clock);
        if onvif && is_clock {
            let mut track = Self {
                unit: Unit::Clock,
                origin: NTP_EPOCH.checked_neg()?,
                start: None,
                end: None,
            };
            track.start = start.and_then(|start| track.stream_time(start));
            track.end = end.and_then(|end| track.stream_time(end));
            return Some(track);
        }
        let range = range.filter(|range| range.is_closed())?;
        let origin = match range.unit {
            Unit::Npt => 0,
            Unit::Clock | Unit::Smpte(_) => i64::try_from(start?).ok()?,
        };
        let mut track = Self {
            unit: range.unit,
            origin,
            start: None,
            end: None,
        };
        track.start = track.stream_time(start?);
        track.end = track.stream_time(end?);
        Some(track)
    }

    /// Of a time in the server's unit.
    pub fn stream_time(&self, ns: u64) -> Option<u64> {
        let time = i64::try_from(ns).ok()?.checked_sub(self.origin)?;
        u64::try_from(time).ok()
    }

    /// Of a range that the server says, if it is of the same unit.
    pub fn start_of(&self, range: &Range) -> Option<u64> {
        (range.unit == self.unit).then_some(())?;
        self.stream_time(range.start_ns()?)
    }

    /// The time that the server is asked for.
    pub fn server_time(&self, time: u64) -> Option<u64> {
        let ns = i64::try_from(time).ok()?.checked_add(self.origin)?;
        u64::try_from(ns).ok()
    }
}

/// What is to be played: a seek that is put in terms of a track.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub range: Range,
    pub scale: f64,
    pub speed: f64,
    /// Stream times.
    pub from: u64,
    pub to: Option<u64>,
    pub frames: Option<Frames>,
}

impl Target {
    /// None: it makes no sense. `current` is what is played, `position` where it is.
    pub fn of(
        request: &SeekRequest,
        current: &gst::FormattedSegment<gst::ClockTime>,
        position: Option<gst::ClockTime>,
        track: &Track,
    ) -> Option<Self> {
        let rate = request.rate;
        if rate == 0.0 || !rate.is_finite() {
            return None;
        }
        let ns = gst::ClockTime::from_nseconds;
        let mut segment = current.clone();
        segment.set_duration(track.end.map(ns));
        segment.set_position(position.or(current.position()).or(current.start()));
        let from_end = gst::SeekType::End;
        if track.end.is_none() && (request.start.0 == from_end || request.stop.0 == from_end) {
            return None;
        }
        segment.do_seek(
            rate,
            request.flags,
            request.start.0,
            request.start.1,
            request.stop.0,
            request.stop.1,
        )?;
        let low = segment.start()?.nseconds();
        let low = low.max(track.start.unwrap_or(0));
        let high = segment.stop().map(gst::ClockTime::nseconds);
        // The end of the range is where it ends anyway.
        let high = high.filter(|high| track.end.is_none_or(|end| *high < end));
        let from = segment.position()?.nseconds();
        let from = from.max(track.start.unwrap_or(0));
        if high.is_some_and(|high| high < low) || track.end.is_some_and(|end| from > end) {
            return None;
        }
        let trick = request.flags.intersects(
            gst::SeekFlags::TRICKMODE
                | gst::SeekFlags::TRICKMODE_KEY_UNITS
                | gst::SeekFlags::TRICKMODE_FORWARD_PREDICTED,
        );
        let (scale, speed) = match trick {
            true => (rate, 1.0),
            false => (1.0_f64.copysign(rate), rate.abs()),
        };
        let to = if rate < 0.0 { Some(low) } else { high };
        let to_server = |time: Option<u64>| match time {
            Some(time) => track.server_time(time).map(Some),
            None => Some(None),
        };
        let range = Range::between(track.unit, to_server(Some(from))?, to_server(to)?)?;
        Some(Self {
            range,
            scale,
            speed,
            from,
            to,
            frames: frames(request),
        })
    }
}

/// Which frames are enough (ONVIF Streaming §6.5.3).
fn frames(request: &SeekRequest) -> Option<Frames> {
    if request.flags.contains(gst::SeekFlags::TRICKMODE_KEY_UNITS) {
        let interval = request.interval.map(gst::ClockTime::mseconds);
        return Some(Frames::Intra {
            interval_ms: interval.filter(|ms| *ms > 0),
        });
    }
    let predicted = gst::SeekFlags::TRICKMODE_FORWARD_PREDICTED;
    (request.flags.contains(predicted)).then_some(Frames::Predicted)
}

#[derive(Debug, Default)]
struct Outcome {
    answer: Mutex<Option<bool>>,
    answered: Condvar,
}

/// Where the answer to a seek is given; dropped without one it is no.
#[derive(Debug)]
pub(super) struct Answer(Arc<Outcome>);

/// Where it is awaited, by any number of threads.
#[derive(Debug, Clone)]
pub(super) struct Awaited(Arc<Outcome>);

pub(super) fn question() -> (Answer, Awaited) {
    let outcome = Arc::<Outcome>::default();
    (Answer(outcome.clone()), Awaited(outcome))
}

impl Answer {
    /// Only the first one counts.
    pub fn give(&self, answer: bool) {
        lock(&self.0.answer).get_or_insert(answer);
        self.0.answered.notify_all();
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.give(false);
    }
}

impl Awaited {
    /// None: not in time.
    pub fn wait(&self, patience: Duration) -> Option<bool> {
        let answer = lock(&self.0.answer);
        let (answer, _) = self
            .0
            .answered
            .wait_timeout_while(answer, patience, |answer| answer.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        *answer
    }
}

#[cfg(test)]
#[path = "seek_tests.rs"]
mod tests;
