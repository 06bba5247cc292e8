//! RTP timestamps to presentation times: clock recovery of one stream.
//!
//! A packet's presentation time is its RTP time plus an *offset*. What is
//! measured for each packet, arrival - RTP time, is that offset plus the delay
//! of the packet; so the least of it is the offset that fits the sender's
//! clock and the path, and what lies above it is jitter and queueing.
//!
//! With a clock that the sender has too the offset follows that
//! [reference](super::reference); what is measured then only tells whether the
//! reference can be believed.

use super::reference::{Follower, Point};
use super::seq::{FIRST_TIMESTAMP_CYCLE, distance, extend_timestamp};
use super::stats::Nanos;

const MILLISECOND: i64 = 1_000_000;
const SECOND: i64 = 1_000 * MILLISECOND;
/// The offset is the minimum over this long; so long it adapts at once after
/// a start.
const WINDOW: i64 = 2 * SECOND;
/// A timestamp this far from where it should be is a jump.
const JUMP: i64 = SECOND;
/// A path that became longer by less than this is left to the slow rise.
const MIN_STEP: i64 = 50 * MILLISECOND;
/// The offset falls by at most this part of the media time: 5 %.
const FALL: i64 = 20;
/// The offset rises by at most this part of the media time: 1,000 ppm is more
/// than any clock drifts; what is above is queueing.
const RISE: i64 = 1_000;
/// The part of their distance by which presentation times grow all the same
/// while the offset falls at once.
const REST: i64 = 32;
/// Synchronisation slews by this part of the media time: 1 %.
pub(super) const SLEW: i64 = 100;
/// RTP-Info that is further from the first packet is bogus.
const ANCHOR_DISTANCE: i64 = 10 * SECOND;
/// The first packet of a recording is no further behind its start.
const ANCHOR_AHEAD: i64 = SECOND;

/// How a synchronisation offset is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncMode {
    /// At once.
    Step,
    /// At 1 % of the media time.
    Slew,
}

/// Where an RTP timestamp lies on the pipeline clock, before synchronisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    pub ext_rtp: u64,
    pub clock: i64,
    pub clock_rate: u32,
}

impl Mapping {
    /// The pipeline-clock time of another timestamp.
    pub fn clock_of(&self, ext_rtp: u64) -> i64 {
        self.clock.saturating_add(ticks_to_ns(
            distance(self.ext_rtp, ext_rtp),
            self.clock_rate,
        ))
    }

    /// The extended timestamp of `rtp` that is nearest to this one.
    pub fn extend(&self, rtp: u32) -> u64 {
        extend_timestamp(self.ext_rtp, rtp)
    }
}

/// The times of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub ext_rtp: u64,
    pub pts: Nanos,
    /// The presentation time does not follow from the one before.
    pub discont: bool,
    /// The RTP timestamp jumped.
    pub jump: bool,
}

#[derive(Debug)]
struct State {
    /// The timestamp that counts as RTP time 0.
    base: u64,
    last: u64,
    last_clock: i64,
    /// arrival - RTP time of the last packet.
    last_delay: i64,
    last_arrival: i64,
    /// The highest timestamp: with B-frames the last one may be lower.
    highest: u64,
    offset: i64,
    window: Window,
}

/// The minimum of arrival - RTP time over the window before and the current
/// one.
#[derive(Debug)]
struct Window {
    /// The first window after a (re)start.
    first: bool,
    start: i64,
    current: i64,
    previous: i64,
    /// Least of the windows in a row that were too far above the offset.
    high: Option<i64>,
    /// The offset to step to with the next new timestamp.
    step: Option<i64>,
}

impl Window {
    fn new(start: i64) -> Self {
        Self {
            first: true,
            start,
            current: i64::MAX,
            previous: i64::MAX,
            high: None,
            step: None,
        }
    }

    fn sample(&mut self, delay: i64, arrival: i64, offset: i64, threshold: i64) {
        if arrival.saturating_sub(self.start) >= WINDOW {
            let min = self.current;
            let is_high = !self.first && min.saturating_sub(offset) > threshold && min != i64::MAX;
            match self.high {
                Some(high) if is_high => {
                    self.step = Some(high.min(min));
                    self.high = None;
                }
                _ => self.high = is_high.then_some(min),
            }
            self.first = false;
            self.previous = min;
            self.current = i64::MAX;
            self.start = arrival;
        }
        self.current = self.current.min(delay);
    }

    fn minimum(&self) -> i64 {
        self.current.min(self.previous)
    }
}

#[derive(Debug)]
pub(super) struct Timeline {
    /// Ticks that pass in a second.
    clock_rate: u32,
    live: bool,
    follow_clock: bool,
    latency: i64,
    state: Option<State>,
    /// RTP-Info's timestamp and its presentation time, for the next packet.
    anchor: Option<(Option<u32>, Nanos)>,
    /// Where the anchor lies on the clock: a recording is placed there, and
    /// only drifts with the sender's clock.
    origin: Option<i64>,
    /// How much more than the delay that was measured the offset of a recording
    /// that was placed is: pictures that are sent before others are ahead.
    bias: Option<i64>,
    /// The anchor's timestamp, once the first packet confirmed it.
    confirmed: Option<u64>,
    follower: Follower,
    /// No presentation time of a live stream is before this one.
    floor: i64,
    last_pts: i64,
    /// The last timestamp, and its presentation time.
    shown: Option<(u64, i64)>,
    sync: i64,
    sync_target: i64,
    sync_step: bool,
    steps: u64,
}

impl Timeline {
    pub(super) fn new(clock_rate: u32, live: bool, latency: Nanos) -> Self {
        Self {
            clock_rate: clock_rate.max(1),
            live,
            follow_clock: true,
            latency: signed(latency),
            state: None,
            anchor: None,
            origin: None,
            bias: None,
            confirmed: None,
            follower: Follower::new(),
            floor: 0,
            last_pts: 0,
            shown: None,
            sync: 0,
            sync_target: 0,
            sync_step: false,
            steps: 0,
        }
    }

    pub(super) fn set_latency(&mut self, latency: Nanos) {
        self.latency = signed(latency);
    }

    /// So many ticks pass in a second from now on, since the sender is faster
    /// than its clock.
    pub(super) fn set_clock_rate(&mut self, clock_rate: u32) {
        self.clock_rate = clock_rate.max(1);
    }

    /// Whether the offset changes once the first window is over.
    pub(super) fn set_follow_clock(&mut self, follow: bool) {
        self.follow_clock = follow;
    }

    pub(super) fn set_sync_offset(&mut self, target: i64, mode: SyncMode) {
        self.sync_target = target;
        self.sync_step = mode == SyncMode::Step;
    }

    /// The next packet is the first one from `rtptime`, which has this
    /// presentation time.
    pub(super) fn set_anchor(&mut self, rtptime: Option<u32>, pts: Nanos) {
        self.anchor = Some((rtptime, pts));
        self.confirmed = None;
        if !self.live {
            self.state = None;
        }
    }

    /// The anchor has this time on the pipeline's clock.
    pub(super) fn place(&mut self, clock: Nanos) {
        self.origin = Some(signed(clock)).filter(|_| self.live);
        self.bias = None;
        self.state = None;
    }

    /// The extended timestamp of the anchor, if the first packet after it
    /// showed that it is not bogus.
    pub(super) fn confirmed_anchor(&self) -> Option<u64> {
        self.confirmed
    }

    /// This timestamp has this time by the sender's clock, or nobody knows any
    /// more. What is further than `max_offset` from the arrival is refused.
    pub(super) fn set_reference(&mut self, point: Option<Point>, max_offset: Nanos) {
        self.follower.set(point.filter(|_| self.live), max_offset);
    }

    /// Presentation times are those of the reference.
    pub(super) fn follows_reference(&self) -> bool {
        self.follower.is_on()
    }

    /// By how much a reference was off that is refused from now on; once.
    pub(super) fn take_refused(&mut self) -> Option<i64> {
        self.follower.take_refused()
    }

    /// Another clock: presentation times have nothing to do with those before.
    pub(super) fn change_clock(&mut self) {
        self.restart();
        self.floor = 0;
        self.last_pts = 0;
    }

    /// Presentation times go on from here.
    pub(super) fn set_floor(&mut self, pts: Nanos) {
        self.floor = signed(pts);
        self.shown = None;
    }

    /// Starts anew with the next packet. Presentation times go on from the
    /// last one.
    pub(super) fn restart(&mut self) {
        self.state = None;
        self.origin = None;
        self.bias = None;
        self.follower.restart();
        self.confirmed = None;
        if self.live {
            self.floor = self.last_pts;
        }
    }

    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    pub(super) fn mapping(&self) -> Option<Mapping> {
        let state = self.state.as_ref()?;
        let clock_rate = self.clock_rate;
        Some(Mapping {
            ext_rtp: state.last,
            clock: state.last_clock,
            clock_rate,
        })
    }

    /// The times of the next packet in sequence order.
    pub(super) fn stamp(&mut self, rtp: u32, arrival: Nanos) -> Stamp {
        let arrival = signed(arrival);
        let mut discont = false;
        let mut jump = false;
        let started = self.state.is_none();
        let progress;
        let ext_rtp;
        let clock;
        match self.state.as_mut() {
            None => {
                let state = self.start(rtp, arrival);
                (ext_rtp, clock, progress) = (state.last, state.last_clock, 0);
                self.state = Some(state);
                discont = true;
            }
            Some(state) => {
                ext_rtp = extend_timestamp(state.last, rtp);
                let to_ns = |ticks| ticks_to_ns(ticks, self.clock_rate);
                let elapsed = to_ns(distance(state.last, ext_rtp));
                let mut time = to_ns(distance(state.base, ext_rtp));
                let mut delay = arrival.saturating_sub(time);
                // A packet that was waited for arrives after those behind it;
                // the offset, other than its own delay, is not fooled by that.
                let usual = match self.follower.is_on() {
                    true => state.window.minimum(),
                    false => state.offset,
                };
                let before = state.last_delay.min(usual);
                let ahead = self.live && before.saturating_sub(delay) > JUMP;
                if ahead || elapsed < JUMP.saturating_neg() {
                    self.origin = None;
                    self.bias = None;
                    let passed = arrival.saturating_sub(state.last_arrival).max(0);
                    let passed = if self.live { passed } else { 0 };
                    state.base = ext_rtp;
                    state.highest = ext_rtp;
                    state.offset = state.last_clock.saturating_add(passed);
                    state.window = Window::new(arrival);
                    (time, delay) = (0, arrival);
                    (jump, discont) = (true, true);
                    self.follower.forget();
                }
                progress = to_ns(distance(state.highest, ext_rtp)).max(0);
                if self.live {
                    let threshold = MIN_STEP.max(self.latency / 2);
                    let was_first = state.window.first;
                    let measured = delay.saturating_add(self.bias.unwrap_or(0));
                    state
                        .window
                        .sample(measured, arrival, state.offset, threshold);
                    let is_placed = self.origin.is_some() && self.bias.is_none();
                    if is_placed && was_first && !state.window.first {
                        // It is as it should be; what comes later than that is
                        // a longer path.
                        let bias = state.offset.saturating_sub(state.window.previous).max(0);
                        self.bias = Some(bias);
                        state.window.previous = state.window.previous.saturating_add(bias);
                        state.window.current = delay.saturating_add(bias);
                    }
                    if progress > 0 {
                        let measured = state.window.minimum();
                        let was_on = self.follower.is_on();
                        let rate = self.clock_rate;
                        let target = self.follower.target(state.base, ext_rtp, rate, measured);
                        let stepped = match target {
                            Some(target) => {
                                // From where the streams were in step.
                                let sync = std::mem::take(&mut self.sync);
                                state.offset = state.offset.saturating_add(sync);
                                self.follower.approach(&mut state.offset, target, progress)
                            }
                            None if was_on && measured > state.offset => {
                                state.offset = measured;
                                true
                            }
                            None if self.origin.is_some() && state.window.first => false,
                            None if self.follow_clock || state.window.first => {
                                adapt(state, progress)
                            }
                            None => false,
                        };
                        self.steps = self.steps.saturating_add(u64::from(stepped));
                        discont |= stepped;
                    }
                }
                clock = time.saturating_add(state.offset);
                if distance(state.highest, ext_rtp) > 0 {
                    state.highest = ext_rtp;
                }
                state.last = ext_rtp;
                state.last_clock = clock;
                state.last_delay = delay;
                state.last_arrival = arrival;
            }
        }
        if !self.follower.is_on() {
            discont |= self.synchronise(progress);
        }
        let mut pts = clock.saturating_add(self.sync);
        if pts <= self.floor {
            // Frames do not share a time while the new timeline is behind the old one.
            let is_new = progress > 0 || started;
            self.floor = self.floor.saturating_add(i64::from(is_new));
            pts = self.floor;
        }
        // Whatever changes between the packets of a frame counts for the next one.
        if let Some((rtp, shown)) = self.shown
            && rtp == ext_rtp
            && !(started || jump)
        {
            pts = shown;
        }
        self.shown = Some((ext_rtp, pts));
        self.last_pts = self.last_pts.max(pts);
        Stamp {
            ext_rtp,
            pts: pts.max(0).cast_unsigned(),
            discont,
            jump,
        }
    }

    fn start(&mut self, rtp: u32, arrival: i64) -> State {
        let first = FIRST_TIMESTAMP_CYCLE.wrapping_add(u64::from(rtp));
        let mut base = first;
        let mut offset = arrival;
        if let Some((rtptime, pts)) = self.anchor.take() {
            let near = rtptime
                .map(|rtptime| extend_timestamp(first, rtptime))
                .filter(|&rtptime| {
                    let away = ticks_to_ns(distance(rtptime, first), self.clock_rate);
                    // Of a recording there may be pictures from before its start, and nothing
                    // is left out after it. (gst-rtsp-server names the time before the seek.)
                    let ahead = match self.origin.is_some() || !self.live {
                        true => ANCHOR_AHEAD,
                        false => ANCHOR_DISTANCE,
                    };
                    (ANCHOR_DISTANCE.saturating_neg()..=ahead).contains(&away)
                });
            self.confirmed = near;
            if let Some(origin) = self.origin {
                base = near.unwrap_or(first);
                offset = origin;
            }
            if !self.live {
                base = near.unwrap_or(first);
                offset = signed(pts);
            }
        } else if !self.live {
            offset = self.last_pts;
        }
        if let Some(target) = self.follower.target(first, first, self.clock_rate, arrival) {
            self.follower.start();
            self.sync = 0;
            offset = target;
        }
        let time = ticks_to_ns(distance(base, first), self.clock_rate);
        State {
            base,
            last: first,
            last_clock: time.saturating_add(offset),
            last_delay: arrival.saturating_sub(time),
            last_arrival: arrival,
            highest: first,
            offset,
            window: Window::new(arrival),
        }
    }

    /// Brings the synchronisation offset nearer to its target; `true` if it
    /// was a step.
    fn synchronise(&mut self, progress: i64) -> bool {
        if self.sync == self.sync_target {
            return false;
        }
        // Presentation times do not run backwards for it, nor stand still while
        // the first window lets the offset fall.
        let (fall, rise) = match self.sync_step {
            true => (progress / (2 * REST), i64::MAX),
            false => (progress / SLEW, progress / SLEW),
        };
        let change = self.sync_target.saturating_sub(self.sync);
        self.sync = self
            .sync
            .saturating_add(change.clamp(fall.saturating_neg(), rise));
        self.sync_step && change.saturating_abs() > MILLISECOND
    }
}

/// Moves the offset after `progress` of media time; `true` if it stepped.
fn adapt(state: &mut State, progress: i64) -> bool {
    let change = state.window.minimum().saturating_sub(state.offset);
    if let Some(target) = state.window.step.take() {
        if target > state.offset {
            state.offset = target;
            return true;
        }
        return false;
    }
    let (fall, rise) = match state.window.first {
        true => (fall_at_once(progress), 0),
        false => (progress / FALL, progress / RISE),
    };
    state.offset = state
        .offset
        .saturating_add(change.clamp(fall.saturating_neg(), rise));
    false
}

/// How far the offset may fall in one frame: two frames never have one time,
/// parsers and muxers refuse that.
pub(super) fn fall_at_once(progress: i64) -> i64 {
    progress.saturating_sub(progress / REST)
}

fn signed(time: Nanos) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

/// A time in units of the clock rate, in nanoseconds.
pub(super) fn ticks_to_ns(ticks: i64, clock_rate: u32) -> i64 {
    const NS: u64 = 1_000_000_000;
    let rate = u64::from(clock_rate.max(1));
    let magnitude = ticks.unsigned_abs();
    let seconds = magnitude.checked_div(rate).unwrap_or(0);
    let rest = magnitude.checked_rem(rate).unwrap_or(0);
    // rest < 2^32, so the product stays below 2^62.
    let rest = rest.saturating_mul(NS).checked_div(rate).unwrap_or(0);
    let ns = signed(seconds.saturating_mul(NS).saturating_add(rest));
    if ticks < 0 { ns.saturating_neg() } else { ns }
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
