//! Seeks: from what is asked for to a new SEGMENT, and the end of what is played.

use std::collections::VecDeque;
use std::time::Instant;

use super::*;
use crate::rtsp::client::Seek;
use crate::rtsp::range::Range;
use crate::session::seek::{Answer, SeekRequest, Target, Track};
use crate::session::segment::NewSegment;

/// What a reply may leave to the decoder at most, before the position of an accurate seek.
const SKIP_MAX: u64 = 60_000_000_000;

/// A seek that the server was asked for.
struct Asked {
    id: u64,
    request: SeekRequest,
    target: Target,
    answer: Answer,
}

/// What is played of the presentation, in stream time.
pub(super) struct Playhead {
    /// As the last PLAY left it.
    segment: gst::FormattedSegment<gst::ClockTime>,
    flags: gst::SegmentFlags,
    seqnum: gst::Seqnum,
    /// What the server does, and what is left to do here.
    scale: f64,
    speed: f64,
    /// Where a seek said that it ends.
    stop: Option<u64>,
    /// A PLAY has succeeded.
    played: bool,
    /// SEGMENTs are ours from now on, not the depayloaders'.
    ours: bool,
    /// All of it was played.
    pub ended: bool,
    asked: VecDeque<Asked>,
    next_id: u64,
    /// For when there is a session to ask.
    waiting: Option<(SeekRequest, Answer)>,
}

impl Default for Playhead {
    fn default() -> Self {
        let mut segment = gst::FormattedSegment::new();
        segment.set_start(gst::ClockTime::ZERO);
        Self {
            segment,
            flags: gst::SegmentFlags::empty(),
            seqnum: gst::Seqnum::next(),
            scale: 1.0,
            speed: 1.0,
            stop: None,
            played: false,
            ours: false,
            ended: false,
            asked: VecDeque::new(),
            next_id: 1,
            waiting: None,
        }
    }
}

/// What a PLAY has started.
pub(super) struct Started {
    pub segment: Option<NewSegment>,
    /// Stream time of its beginning.
    pub time: u64,
    /// It is somewhere else than before.
    pub moved: bool,
    /// SEGMENTs are to be taken as they are.
    pub as_is: bool,
    pub speed: f64,
    /// What was pushed before is void.
    pub flush: Option<Flush>,
}

pub(super) struct Flush {
    pub seqnum: gst::Seqnum,
    answer: Answer,
}

impl Playhead {
    /// How fast stream time passes.
    pub fn pace(&self) -> f64 {
        self.scale * self.speed
    }

    /// Where it ends: of the seek, or of the range.
    pub fn end(&self, track: &Track) -> Option<u64> {
        match self.pace() < 0.0 {
            true => self.stop.or(track.start),
            false => self.stop.or(track.end),
        }
    }

    fn is_segment(&self) -> bool {
        self.flags.contains(gst::SegmentFlags::SEGMENT)
    }

    /// The seek that was answered; those that it overtook are answered with it.
    fn take(&mut self, id: u64) -> Option<Asked> {
        while let Some(asked) = self.asked.pop_front() {
            if asked.id == id {
                return Some(asked);
            }
            if asked.id > id {
                self.asked.push_front(asked);
                return None;
            }
            asked.answer.give(true);
        }
        None
    }
}

impl Task {
    pub(super) fn seek(&mut self, request: SeekRequest, answer: Answer, now: Instant) {
        if self.over || self.eos || self.stop_at.is_some() {
            return answer.give(false);
        }
        let track = self.inputs.snapshot.track();
        if track.is_none() && self.playhead.played {
            return answer.give(false);
        }
        let is_up = self.presented_at.is_some()
            && self.presenting.is_none()
            && self.attempt.as_ref().is_some_and(|attempt| {
                attempt.retiring.is_none() && attempt.client.state() != client::State::Init
            });
        if is_up {
            return self.ask_for(request, answer, now);
        }
        // Kept until there is a server to ask.
        answer.give(true);
        self.playhead.waiting = Some((request, answer));
        if self.attempt.is_none() && self.retry_at.is_none() {
            self.start_attempt();
        }
    }

    /// A session is there for what was asked before.
    pub(super) fn ask_for_waiting(&mut self, now: Instant) {
        if let Some((request, answer)) = self.playhead.waiting.take() {
            self.ask_for(request, answer, now);
        }
    }

    fn ask_for(&mut self, request: SeekRequest, answer: Answer, now: Instant) {
        let Some(track) = self.inputs.snapshot.track() else {
            gst::debug!(CAT, "{}: cannot be seeked in", self.config.server.url);
            return answer.give(false);
        };
        if request.flags.contains(gst::SeekFlags::INSTANT_RATE_CHANGE) {
            return self.change_rate(&request, &answer);
        }
        let position = self.stream_position();
        let position = position.map(gst::ClockTime::from_nseconds);
        let target = Target::of(&request, &self.playhead.segment, position, &track);
        let Some(target) = target else {
            return answer.give(false);
        };
        // What was said before has to be taken back.
        let changed = |new: f64, old: f64| (new != 1.0 || old != 1.0).then_some(new);
        let id = self.playhead.next_id;
        self.playhead.next_id = id.wrapping_add(1);
        let seek = Seek {
            id,
            range: target.range,
            scale: changed(target.scale, self.playhead.scale),
            speed: changed(target.speed, self.playhead.speed),
            frames: target.frames.filter(|_| self.config.replay.is_some()),
        };
        gst::debug!(CAT, "{}: seek to {}", self.config.server.url, seek.range);
        if !self.wish_playing {
            // The next PLAY says it.
            answer.give(true);
        }
        if self.playhead.asked.len() >= limits::SEEKS
            && let Some(overtaken) = self.playhead.asked.pop_front()
        {
            overtaken.answer.give(true);
        }
        self.playhead.asked.push_back(Asked {
            id,
            request,
            target,
            answer,
        });
        // The answer is behind the media that downstream does not take.
        self.gate.wedge(true);
        if let Some(attempt) = &mut self.attempt {
            attempt.client.seek(seek, now);
        }
    }

    /// Downstream plays what it gets at another speed; where the server sets
    /// the pace it would run dry, or overflow.
    fn change_rate(&mut self, request: &SeekRequest, answer: &Answer) {
        let multiplier = request.rate / self.playhead.speed;
        let turns = multiplier <= 0.0 || !multiplier.is_finite();
        if self.config.live || turns || self.playhead.ended {
            return answer.give(false);
        }
        let flags = gst::SegmentFlags::from_bits_truncate(request.flags.bits());
        let event = gst::event::InstantRateChange::builder(multiplier, flags);
        let event = event.seqnum(request.seqnum).build();
        let pads: Vec<_> = self.streams.iter().map(|s| s.pad().clone()).collect();
        self.foreign.run(move || {
            for pad in pads {
                pad.push_event(event.clone());
            }
        });
        answer.give(true);
    }

    /// What comes from now on may be of the new position.
    pub(super) fn seeking(&mut self) {
        for path in self.streams.iter().filter_map(|s| s.path.as_ref()) {
            lock(&path.ingest).await_play();
        }
    }

    pub(super) fn seek_refused(&mut self, id: u64, error: &Error) {
        gst::warning!(CAT, "{}: seek refused: {error}", self.config.server.url);
        if let Some(asked) = self.playhead.take(id) {
            asked.answer.give(false);
        }
        for path in self.streams.iter().filter_map(|s| s.path.as_ref()) {
            lock(&path.ingest).carry_on();
        }
        self.gate.wedge(!self.playhead.asked.is_empty());
    }

    /// The server plays: from where, in which SEGMENT. Also where it goes on
    /// after a pause or a loss, if it can be seeked in.
    pub(super) fn started(
        &mut self,
        seek: Option<u64>,
        range: Option<&Range>,
        pace: (Option<f64>, Option<f64>),
        reconnected: bool,
    ) -> Started {
        let track = self.inputs.snapshot.track();
        let asked = seek.and_then(|id| self.playhead.take(id));
        self.gate.wedge(!self.playhead.asked.is_empty());
        let position = self.stream_position();
        let said = track.and_then(|track| track.start_of(range?));
        let wanted = asked.as_ref().map(|asked| asked.target.from);
        let time = said.or(wanted).or(position);
        let time = time.or(track.and_then(|track| track.start)).unwrap_or(0);

        let head = &mut self.playhead;
        let first = !std::mem::replace(&mut head.played, true);
        (head.scale, head.speed) = (pace.0.unwrap_or(1.0), pace.1.unwrap_or(1.0));
        head.speed = head.speed.abs();
        let moved = asked.is_some();
        if moved {
            head.ended = false;
        }
        let begins = moved || (track.is_some() && !first);
        head.ours |= begins || !self.config.live;
        if !(begins || first && !self.config.live) {
            let played = head.segment.clone();
            self.inputs
                .snapshot
                .update(|stats| stats.segment = Some(played));
            let head = &self.playhead;
            return Started {
                segment: None,
                time,
                moved,
                as_is: head.ours,
                speed: head.speed,
                flush: None,
            };
        }
        let flushing = asked
            .as_ref()
            .is_some_and(|asked| asked.request.is_flushing());
        let base = match self.config.live {
            true => None,
            false if flushing || first => Some(0),
            false => Some(self.running_end()),
        };
        let head = &mut self.playhead;
        let mut skip = 0;
        if let Some(asked) = &asked {
            head.seqnum = asked.request.seqnum;
            head.flags = gst::SegmentFlags::from_bits_truncate(asked.request.flags.bits());
            head.stop = asked.target.to;
            if asked.request.flags.contains(gst::SeekFlags::ACCURATE) {
                let ahead = match head.scale < 0.0 {
                    true => time.checked_sub(asked.target.from),
                    false => asked.target.from.checked_sub(time),
                };
                skip = ahead.filter(|ahead| *ahead <= SKIP_MAX).unwrap_or(0);
            }
        }
        let length = head.stop.map(|stop| match head.scale < 0.0 {
            true => time.saturating_sub(stop),
            false => stop.saturating_sub(time),
        });
        let segment = NewSegment {
            // A stream that is not live goes on in the same one.
            at: (!self.config.live).then_some(time),
            time,
            rate: head.speed,
            applied_rate: head.scale,
            skip,
            length,
            base,
            flags: head.flags,
            seqnum: head.seqnum,
        };
        let ns = gst::ClockTime::from_nseconds;
        let (low, high) = match head.scale < 0.0 {
            true => (head.stop.unwrap_or(0), Some(time)),
            false => (time.saturating_add(skip), head.stop),
        };
        head.segment.set_rate(head.scale * head.speed);
        head.segment.set_start(ns(low));
        head.segment.set_stop(high.map(ns));
        head.segment.set_time(ns(low));
        head.segment.set_position(ns(time));
        let played = head.segment.clone();
        self.inputs
            .snapshot
            .update(|stats| stats.segment = Some(played));
        let head = &self.playhead;
        if moved && head.is_segment() {
            let at = ns(time);
            self.post(move |element| gst::message::SegmentStart::builder(at).src(element).build());
        }
        if let (Some(track), Some(attempt)) = (track, &mut self.attempt) {
            self.resume_at = track.server_time(time);
            attempt.played = Duration::ZERO;
        }
        let resumes = !self.config.live && !moved && reconnected;
        Started {
            segment: Some(segment).filter(|_| !resumes),
            time,
            moved,
            as_is: self.playhead.ours,
            speed: self.playhead.speed,
            flush: asked.and_then(|asked| {
                let Asked {
                    request, answer, ..
                } = asked;
                if !request.is_flushing() {
                    answer.give(true);
                    return None;
                }
                Some(Flush {
                    seqnum: request.seqnum,
                    answer,
                })
            }),
        }
    }

    /// Running time at which what is queued ends, of a presentation that is not
    /// live: what follows without a flush begins there.
    fn running_end(&self) -> u64 {
        let ends = self.streams.iter().filter_map(|stream| {
            let delivery = &stream.shared.delivery;
            delivery.running_time(stream.shared.last_pts(), self.playhead.ended)
        });
        ends.max().unwrap_or(0)
    }

    /// Flushes the pads, off the runtimes; what comes waits meanwhile.
    pub(super) fn flush(&mut self, flush: Flush) {
        let streams = self.streams.iter().map(|s| s.shared.delivery.clone());
        let deliveries: Vec<_> = streams.collect();
        let generation = self.inputs.generation.clone();
        let reset_time = !self.config.live;
        self.foreign.run(move || {
            let Flush { seqnum, answer } = flush;
            if !generation.has_ended() {
                for delivery in &deliveries {
                    delivery.flush_start(seqnum);
                }
                for delivery in &deliveries {
                    delivery.flush_stop(seqnum, reset_time);
                }
            }
            for delivery in &deliveries {
                delivery.release();
            }
            answer.give(true);
        });
    }

    /// Stream time that has been received, if that means something.
    fn stream_position(&self) -> Option<u64> {
        let track = self.inputs.snapshot.track()?;
        track.stream_time(self.position()?)
    }

    /// All of it has come: EOS, or the end of the segment that a seek asked
    /// for. The session stays for the next seek.
    pub(super) fn reach_end(&mut self) {
        if self.inputs.snapshot.track().is_none() {
            return self.send_eos();
        }
        if self.eos || std::mem::replace(&mut self.playhead.ended, true) {
            return;
        }
        let seqnum = self.playhead.seqnum;
        let is_segment = self.playhead.is_segment();
        let track = self.inputs.snapshot.track();
        let end = track.and_then(|track| self.playhead.end(&track));
        let end = end.map(gst::ClockTime::from_nseconds);
        gst::info!(CAT, "{}: played to {end:?}", self.config.server.url);
        for stream in &mut self.streams {
            if let Some(path) = &stream.path {
                lock(&path.ingest).finish();
            }
            let delivery = &stream.shared.delivery;
            if is_segment {
                let done = gst::event::SegmentDone::builder(end).seqnum(seqnum);
                delivery.event(done.build());
            } else if !std::mem::replace(&mut stream.eos, true) {
                delivery.event(gst::event::Eos::builder().seqnum(seqnum).build());
            }
        }
        if is_segment {
            self.post(move |element| {
                let done = gst::message::SegmentDone::builder(end).src(element);
                done.seqnum(seqnum).build()
            });
        }
    }
}
