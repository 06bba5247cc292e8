//! SEGMENTs, and the times that buffers get in them.
//!
//! A live presentation has the times of the pipeline's clock, whatever position is played: its
//! SEGMENT begins at the running time of the first frame and says which stream time that is. One
//! that is not live has stream times.

use super::running_time::RunningTime;
use crate::rtp::stats::Nanos;

/// The SEGMENT of a reply to PLAY.
#[derive(Debug, Clone)]
pub(super) struct NewSegment {
    /// Presentation time of its beginning, once it is known.
    pub at: Option<Nanos>,
    /// Stream time there.
    pub time: Nanos,
    /// What is left to do here: the server delivers at this speed (RFC 2326 §12.35).
    pub rate: f64,
    /// What the server does: it shows at this speed (RFC 2326 §12.34).
    pub applied_rate: f64,
    /// So much of it is for decoders only, in stream time.
    pub skip: Nanos,
    /// How much of it is wanted, in stream time.
    pub length: Option<Nanos>,
    /// Running time of its beginning; none for that of the clock.
    pub base: Option<Nanos>,
    pub flags: gst::SegmentFlags,
    pub seqnum: gst::Seqnum,
}

/// Stream time to the time of a presentation that is shown at another speed.
fn scaled(span: Nanos, rate: f64) -> Nanos {
    if rate == 1.0 {
        return span;
    }
    // Saturates; a speed is never 0 or NaN.
    (span as f64 / rate.abs()) as Nanos
}

/// What a pad makes of presentation times.
#[derive(Debug)]
pub(super) struct OutTimes {
    live: bool,
    running: RunningTime,
    segment: gst::FormattedSegment<gst::ClockTime>,
    /// Where the media began that is delivered at another speed, and the speed.
    origin: Nanos,
    rate: f64,
    /// Of the last buffer.
    last: Option<gst::ClockTime>,
}

impl OutTimes {
    pub fn new(live: bool) -> Self {
        let mut segment = gst::FormattedSegment::new();
        segment.set_start(gst::ClockTime::ZERO);
        Self {
            live,
            running: RunningTime::default(),
            segment,
            origin: 0,
            rate: 1.0,
            last: None,
        }
    }

    /// The time of a buffer.
    pub fn of_burst(&mut self, pts: Nanos, base_time: Nanos) -> gst::ClockTime {
        let time = match self.live {
            true => self.running.of(pts, base_time),
            false => pts,
        };
        let time = self.sped(time);
        self.last = Some(time);
        time
    }

    /// The time of an event.
    pub fn of(&self, pts: Nanos, base_time: Nanos) -> gst::ClockTime {
        self.sped(match self.live {
            true => pts.saturating_sub(base_time),
            false => pts,
        })
    }

    /// On the clock media passes in real time; in its SEGMENT it is as long as it is.
    fn sped(&self, time: Nanos) -> gst::ClockTime {
        let time = match self.live && self.rate != 1.0 {
            true => {
                let passed = time.saturating_sub(self.origin) as f64 * self.rate;
                self.origin.saturating_add(passed as Nanos)
            }
            false => time,
        };
        gst::ClockTime::from_nseconds(time)
    }

    /// Begins a segment.
    pub fn begin(&mut self, new: &NewSegment, base_time: Nanos) -> gst::Event {
        let at = new.at.unwrap_or_default();
        let at = match self.live {
            true => at.saturating_sub(base_time),
            false => at,
        };
        (self.origin, self.rate) = (at, new.rate);
        let skip = scaled(new.skip, new.applied_rate);
        let ns = gst::ClockTime::from_nseconds;
        let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
        segment.set_flags(new.flags);
        segment.set_rate(new.rate);
        segment.set_applied_rate(new.applied_rate);
        segment.set_start(ns(at.saturating_add(skip)));
        // Backwards GStreamer counts from the stop.
        let backwards = new.applied_rate < 0.0;
        let length = new.length.or(backwards.then_some(new.time));
        if let Some(length) = length {
            segment.set_stop(ns(
                at.saturating_add(scaled(length, new.applied_rate).max(skip))
            ));
        }
        segment.set_base(ns(match new.base {
            Some(base) => base,
            None => at.saturating_add(scaled(skip, new.rate)),
        }));
        segment.set_time(ns(match backwards {
            true => new.time.saturating_sub(length.unwrap_or_default()),
            false => new.time.saturating_add(new.skip),
        }));
        segment.set_position(segment.start());
        self.segment = segment;
        let event = gst::event::Segment::builder(&self.segment);
        event.seqnum(new.seqnum).build()
    }

    /// Running time of a presentation time that is not live, or of the end.
    pub fn running_time(&self, pts: Nanos, at_end: bool) -> Option<Nanos> {
        let time = gst::ClockTime::from_nseconds(pts);
        let time = self.segment.stop().filter(|_| at_end).unwrap_or(time);
        let time = self.segment.to_running_time(time)?;
        Some(time.nseconds())
    }

    /// Stream time of the last buffer.
    pub fn position(&self) -> Option<gst::ClockTime> {
        let last = self.last?;
        // What lies before the segment is not shown.
        self.segment.to_stream_time(last.max(self.segment.start()?))
    }

    /// What was shown is void.
    pub fn flushed(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Nanos = 1_000_000_000;

    fn out_times(live: bool) -> OutTimes {
        gst::init().unwrap();
        OutTimes::new(live)
    }

    fn new(rate: f64, applied_rate: f64) -> NewSegment {
        NewSegment {
            at: Some(105 * S),
            time: 40 * S,
            rate,
            applied_rate,
            skip: 0,
            length: None,
            base: None,
            flags: gst::SegmentFlags::empty(),
            seqnum: gst::Seqnum::next(),
        }
    }

    /// Running and stream time of a burst.
    fn times(out: &mut OutTimes, pts: Nanos, base_time: Nanos) -> (Option<u64>, Option<u64>) {
        let pts = out.of_burst(pts, base_time);
        let ns = |time: Option<gst::ClockTime>| time.map(|time| time.nseconds());
        (
            ns(out.segment.to_running_time(pts)),
            ns(out.segment.to_stream_time(pts)),
        )
    }

    #[test]
    fn live_media_runs_with_the_clock_from_the_position_that_the_server_says() {
        let mut out = out_times(true);
        out.begin(&new(1.0, 1.0), 100 * S);
        assert_eq!(
            times(&mut out, 107 * S, 100 * S),
            (Some(7 * S), Some(42 * S))
        );
        assert_eq!(out.position(), Some(gst::ClockTime::from_seconds(42)));
    }

    // covers: C-PLAY-13
    #[test]
    fn with_speed_as_much_media_passes_in_less_time() {
        let mut out = out_times(true);
        out.begin(&new(4.0, 1.0), 100 * S);
        assert_eq!(
            times(&mut out, 107 * S, 100 * S),
            (Some(7 * S), Some(48 * S))
        );
        let mut out = out_times(false);
        let new = NewSegment {
            at: Some(40 * S),
            base: Some(0),
            ..new(4.0, 1.0)
        };
        out.begin(&new, 100 * S);
        assert_eq!(
            times(&mut out, 48 * S, 100 * S),
            (Some(2 * S), Some(48 * S))
        );
    }

    // covers: C-PLAY-12
    #[test]
    fn with_scale_the_server_has_sped_it_up_or_turned_it_round() {
        let mut out = out_times(true);
        out.begin(&new(1.0, 3.0), 100 * S);
        assert_eq!(
            times(&mut out, 107 * S, 100 * S),
            (Some(7 * S), Some(46 * S))
        );
        out.begin(&new(1.0, -2.0), 100 * S);
        assert_eq!(
            times(&mut out, 107 * S, 100 * S),
            (Some(7 * S), Some(36 * S))
        );
    }

    #[test]
    fn an_accurate_seek_shows_nothing_before_its_position() {
        let mut out = out_times(false);
        let new = NewSegment {
            at: Some(40 * S),
            skip: 3 * S,
            length: Some(5 * S),
            base: Some(9 * S),
            ..new(1.0, 1.0)
        };
        out.begin(&new, 0);
        assert_eq!(times(&mut out, 42 * S, 0).0, None);
        assert_eq!(out.position(), Some(gst::ClockTime::from_seconds(43)));
        assert_eq!(times(&mut out, 44 * S, 0), (Some(10 * S), Some(44 * S)));
        assert_eq!(times(&mut out, 46 * S, 0).0, None);
    }
}
