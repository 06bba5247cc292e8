//! Presentation times by a clock that the sender has too (`ntp-sync`,
//! RFC 7273) instead of by arrival.

use super::ntp;
use super::output::SenderTime;
use super::refclk::DirectClock;
use super::seq::{distance, extend_timestamp};
use super::stats::{Nanos, Timing};
use super::timeline::{SLEW, fall_at_once, ticks_to_ns};

const MILLISECOND: i64 = 1_000_000;
/// A reference that moves by more shows that a clock was set.
const STEP: i64 = 250 * MILLISECOND;

/// What a clock that the sender has too showed at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference {
    /// What this clock is, for the statistics.
    pub timing: Timing,
    /// The moment, on the pipeline clock.
    pub clock: Nanos,
    /// What the shared clock showed: seconds since its epoch, 32.32 fixed point.
    pub time: u64,
    /// The NTP times that the sender reports are of this clock.
    pub by_reports: bool,
    /// The RTP clock is derived from this clock (RFC 7273 §5.2).
    pub direct: Option<DirectClock>,
    /// A time that is further from what the arrival says is not believed;
    /// 0 believes any.
    pub max_offset: Nanos,
}

impl Reference {
    /// A timestamp whose pipeline-clock time is known. What the sender reports
    /// wins over the offset of the description (RFC 7273 §5.2).
    pub(super) fn point(&self, sender: Option<SenderTime>, clock_rate: u32) -> Option<Point> {
        let clock = i64::try_from(self.clock).ok()?;
        if let Some(sender) = sender.filter(|_| self.by_reports) {
            let ahead = ntp::span(self.time, sender.ntp);
            return Some(Point {
                rtp: sender.rtp,
                clock: clock.saturating_add(ahead),
            });
        }
        let rtp = self.now(clock_rate)?.rtp;
        Some(Point { rtp, clock })
    }

    /// The RTP time at the moment, if the description gives it.
    pub(super) fn now(&self, clock_rate: u32) -> Option<SenderTime> {
        let elapsed = ntp::to_nanos(self.time);
        let rtp = self.direct?.rtp_at(elapsed, clock_rate)?;
        let ntp = self.time;
        Some(SenderTime { ntp, rtp })
    }
}

/// A timestamp and its pipeline-clock time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Point {
    pub rtp: u32,
    pub clock: i64,
}

/// How the reference is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// There is none, or none that can be believed.
    Off,
    /// It was refused, which has been told.
    Refused,
    /// At once: it is new, or a clock was set.
    Approach,
    /// At 1 % of the media time: what is left are the errors of the clocks.
    Hold,
}

/// Follows a reference with the offset of a timeline.
#[derive(Debug)]
pub(super) struct Follower {
    point: Option<Point>,
    max_offset: i64,
    state: State,
    /// By how much the reference was off, until that is told.
    refused: Option<i64>,
}

impl Follower {
    pub(super) fn new() -> Self {
        Self {
            point: None,
            max_offset: 0,
            state: State::Off,
            refused: None,
        }
    }

    pub(super) fn set(&mut self, point: Option<Point>, max_offset: Nanos) {
        self.point = point;
        self.max_offset = i64::try_from(max_offset).unwrap_or(i64::MAX);
    }

    /// Timestamps or presentation times start anew.
    pub(super) fn restart(&mut self) {
        self.state = State::Off;
    }

    /// The point is of timestamps that are no more.
    pub(super) fn forget(&mut self) {
        self.point = None;
        self.restart();
    }

    pub(super) fn is_on(&self) -> bool {
        matches!(self.state, State::Approach | State::Hold)
    }

    /// By how much a reference was off that is refused from now on.
    pub(super) fn take_refused(&mut self) -> Option<i64> {
        self.refused.take()
    }

    /// The offset that the reference wants, if it can be believed: `measured`
    /// is what the arrival says. `near` is a timestamp of now, as the point is;
    /// `base` may be days away.
    pub(super) fn target(
        &mut self,
        base: u64,
        near: u64,
        clock_rate: u32,
        measured: i64,
    ) -> Option<i64> {
        let Some(point) = self.point else {
            self.state = State::Off;
            return None;
        };
        let ext_rtp = extend_timestamp(near, point.rtp);
        let time = ticks_to_ns(distance(base, ext_rtp), clock_rate);
        let target = point.clock.saturating_sub(time);
        let away = target.saturating_sub(measured);
        // One that was refused comes back only clearly within the limit.
        let limit = match self.state {
            State::Refused => self.max_offset.saturating_sub(self.max_offset / 10),
            _ => self.max_offset,
        };
        if self.max_offset != 0 && away.saturating_abs() > limit {
            if self.state != State::Refused {
                self.refused = Some(away);
            }
            self.state = State::Refused;
            return None;
        }
        Some(target)
    }

    /// The timeline starts at the offset that the reference wants.
    pub(super) fn start(&mut self) {
        self.state = State::Hold;
    }

    /// Moves `offset` to `target` after `progress` of media time; `true` if it
    /// stepped.
    pub(super) fn approach(&mut self, offset: &mut i64, target: i64, progress: i64) -> bool {
        let change = target.saturating_sub(*offset);
        if !self.is_on() || change.saturating_abs() > STEP {
            self.state = State::Approach;
        }
        let (fall, rise) = match self.state {
            State::Hold => (progress / SLEW, progress / SLEW),
            _ => (fall_at_once(progress), i64::MAX),
        };
        let moved = change.clamp(fall.saturating_neg(), rise);
        *offset = offset.saturating_add(moved);
        // A fall is spread over the frames that it shortens, and is no step.
        let stepped = self.state == State::Approach && moved > MILLISECOND;
        if moved == change {
            self.state = State::Hold;
        }
        stepped
    }
}

#[cfg(test)]
#[path = "reference_tests.rs"]
mod tests;
