//! Running times that do not go back over a pause.
//!
//! A pipeline takes down its running time before it pauses its elements. What
//! is pushed until they are paused is later than that, and the first packets
//! after the pause may come before it.

use crate::rtp::stats::Nanos;

/// More than a pause can cost: running time was meant to start anew.
const LEAP: Nanos = 500_000_000;

#[derive(Debug, Default)]
pub(super) struct RunningTime {
    base: Nanos,
    /// The latest that was given.
    last: Nanos,
    /// After a change of the base time, until it is passed.
    floor: Option<Nanos>,
}

impl RunningTime {
    /// That of a presentation time, with this base time of the element.
    pub fn of(&mut self, pts: Nanos, base: Nanos) -> Nanos {
        let mut time = pts.saturating_sub(base);
        if base != self.base {
            self.base = base;
            match self.last.saturating_sub(time) < LEAP {
                true => self.floor = Some(self.last),
                false => (self.floor, self.last) = (None, time),
            }
        }
        if let Some(floor) = self.floor {
            // Two frames never get one time.
            let least = floor.saturating_add(1);
            self.floor = (time < least).then_some(least);
            time = time.max(least);
        }
        self.last = self.last.max(time);
        time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Nanos = 1_000_000;

    #[test]
    fn times_never_go_back_over_a_pause() {
        let mut running = RunningTime::default();
        assert_eq!(running.of(100 * MS, 50 * MS), 50 * MS);
        assert_eq!(running.of(140 * MS, 50 * MS), 90 * MS);
        // Paused at 80 ms; on it goes with another base time.
        assert_eq!(running.of(1_082 * MS, 1_000 * MS), 90 * MS + 1);
        assert_eq!(running.of(1_085 * MS, 1_000 * MS), 90 * MS + 2);
        assert_eq!(running.of(1_120 * MS, 1_000 * MS), 120 * MS);
        // Frames that are shown in another order stay as they are.
        assert_eq!(running.of(1_100 * MS, 1_000 * MS), 100 * MS);
    }

    #[test]
    fn running_time_that_starts_anew_is_left_alone() {
        let mut running = RunningTime::default();
        running.of(9_000 * MS, MS);
        assert_eq!(running.of(9_020 * MS, 9_000 * MS), 20 * MS);
        assert_eq!(running.of(9_040 * MS, 9_000 * MS), 40 * MS);
    }
}
