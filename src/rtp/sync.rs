//! Synchronisation of the streams of one session (RFC 3550 §5.1, §6.4.1).
//!
//! A sender report says what the time of the sender was at an RTP timestamp,
//! the stream's own timeline says what pipeline-clock time that is. Where the
//! difference of the two is larger, the stream is later; the others are
//! delayed to it. Nothing ever waits for a report.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::ntp::{self, NtpMapping};
use super::stats::Nanos;

const MS: i64 = 1_000_000;
/// Streams further apart than this do not belong together: a clock is wrong.
const MAX_OFFSET: i64 = 3_000 * MS;
/// Smaller corrections are noise.
const MIN_CORRECTION: i64 = MS;
/// A report that moves its stream by more shows that the clock was set; the
/// reports from before do not fit it.
const CLOCK_STEP: i64 = 250 * MS;
/// An older report is not compared with a new one: at 500 ppm of skew they
/// would disagree by 15 ms.
const MAX_AGE: Duration = Duration::from_secs(30);

/// How a stream is to be delayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    /// To be added to what the stream's own timeline gives; never negative.
    pub ns: i64,
    /// At once, else at 1 %.
    pub step: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncEvent {
    /// The new offset of a stream.
    Offset { id: usize, offset: Offset },
    /// The reports of this stream put it further from the others than is
    /// believed, by about so much: it is left alone. Said once until it agrees
    /// again.
    Ignored { id: usize, ns: i64 },
}

#[derive(Debug, Clone, Copy)]
struct SenderReport {
    mapping: NtpMapping,
    /// Pipeline-clock time of it less NTP time.
    delta: i64,
    at: Instant,
}

#[derive(Debug, Default)]
struct Stream {
    clock_rate: u32,
    /// Streams that have none yet are taken to be of one sender.
    cname: Option<Vec<u8>>,
    report: Option<SenderReport>,
    /// Pipeline-clock time less normal play time, by RTP-Info.
    info: Option<i64>,
    applied: Option<i64>,
    by_report: bool,
    ignored: bool,
}

/// Aligns the streams of a session, by sender reports of one CNAME and, until
/// there are any, by RTP-Info.
#[derive(Debug)]
pub struct Synchronizer {
    streams: BTreeMap<usize, Stream>,
    events: VecDeque<SyncEvent>,
    max_offset: i64,
}

impl Default for Synchronizer {
    fn default() -> Self {
        Self {
            streams: BTreeMap::new(),
            events: VecDeque::new(),
            max_offset: MAX_OFFSET,
        }
    }
}

impl Synchronizer {
    pub fn new() -> Self {
        Self::default()
    }

    /// Streams further apart than this are left alone; 0 leaves none.
    pub fn set_max_offset(&mut self, max_offset: Nanos) {
        self.max_offset = match i64::try_from(max_offset) {
            Ok(0) | Err(_) => i64::MAX,
            Ok(max_offset) => max_offset,
        };
    }

    /// Other streams: nothing that is known holds for them.
    pub fn clear(&mut self) {
        self.streams.clear();
        self.events.clear();
    }

    pub fn add_stream(&mut self, id: usize, clock_rate: u32) {
        self.streams.insert(
            id,
            Stream {
                clock_rate,
                ..Default::default()
            },
        );
    }

    pub fn remove_stream(&mut self, id: usize) {
        self.streams.remove(&id);
    }

    /// New timelines, after a seek or a reconnect: all is found out anew, and
    /// the first offsets are steps again.
    pub fn reset(&mut self) {
        self.events.clear();
        for stream in self.streams.values_mut() {
            *stream = Stream {
                clock_rate: stream.clock_rate,
                cname: stream.cname.take(),
                ..Default::default()
            };
        }
    }

    /// A sender report, or the NTP time of a header extension (RFC 6051 §3.3).
    ///
    /// `clock` is where the stream's own timeline, without an offset of ours,
    /// puts `ext_rtp`. `cname` is that of the compound, if it named one.
    pub fn handle_sr(
        &mut self,
        id: usize,
        cname: Option<&[u8]>,
        ntp: u64,
        ext_rtp: u64,
        clock: Nanos,
        now: Instant,
    ) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if let Some(cname) = cname
            && stream.cname.as_deref() != Some(cname)
        {
            stream.cname = Some(cname.to_vec());
        }
        // 0 says that the sender has no notion of time (RFC 3550 §6.4.1).
        if ntp == 0 {
            return;
        }
        let delta = difference(clock, ntp::to_nanos(ntp));
        let mapping = NtpMapping {
            ntp,
            ext_rtp,
            clock_rate: stream.clock_rate,
        };
        let before = stream.report.replace(SenderReport {
            mapping,
            delta,
            at: now,
        });
        let cname = stream.cname.clone();
        let stepped = before.is_some_and(|b| distance(b.delta, delta) > CLOCK_STEP);
        let group = |s: &Stream| s.cname.is_none() || cname.is_none() || s.cname == cname;
        if stepped {
            for (other, stream) in &mut self.streams {
                if *other != id && group(stream) {
                    stream.report = None;
                }
            }
        }
        let fresh = |r: &SenderReport| now.saturating_duration_since(r.at) <= MAX_AGE;
        let deltas = self
            .streams
            .iter()
            .filter(|(_, s)| group(s))
            .filter_map(|(id, s)| Some((*id, s.report.filter(fresh)?.delta)))
            .collect();
        self.align(id, deltas, true);
    }

    /// RTP-Info and Range of a PLAY reply: `clock` is where the timeline puts
    /// the packet of normal play time `npt` (RFC 2326 §12.33). It counts
    /// until sender reports do better.
    pub fn handle_rtp_info(&mut self, id: usize, npt: Nanos, clock: Nanos) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.info = Some(difference(clock, npt));
        if self.streams.values().any(|s| s.by_report) {
            return;
        }
        let deltas = self
            .streams
            .iter()
            .filter_map(|(id, s)| Some((*id, s.info?)))
            .collect();
        self.align(id, deltas, false);
    }

    /// What has changed, oldest first.
    pub fn poll(&mut self) -> Option<SyncEvent> {
        self.events.pop_front()
    }

    /// Time of the sender at an RTP timestamp, for reference timestamps.
    pub fn ntp_of_rtp(&self, id: usize, ext_rtp: u64) -> Option<u64> {
        self.streams.get(&id)?.report?.mapping.ntp_at(ext_rtp)
    }

    /// Pipeline-clock time of what the sender sampled at a time of its own,
    /// the offset included.
    pub fn clock_of_ntp(&self, id: usize, ntp: u64) -> Option<Nanos> {
        let stream = self.streams.get(&id)?;
        let nanos = i64::try_from(ntp::to_nanos(ntp)).ok()?;
        let clock = nanos.checked_add(stream.report?.delta)?;
        u64::try_from(clock.checked_add(stream.applied.unwrap_or(0))?).ok()
    }

    /// Delays the earlier ones of the largest set of streams that belong together.
    fn align(&mut self, trigger: usize, mut deltas: Vec<(usize, i64)>, by_report: bool) {
        deltas.sort_by_key(|(_, delta)| *delta);
        let max_offset = self.max_offset;
        let within = |first: i64| {
            deltas
                .iter()
                .filter(move |(_, d)| *d >= first && distance(first, *d) <= max_offset)
        };
        // Of two sets of one size the earlier one wins.
        let Some(first) = deltas
            .iter()
            .map(|(_, delta)| *delta)
            .rev()
            .max_by_key(|first| within(*first).count())
        else {
            return;
        };
        let set: Vec<_> = within(first).copied().collect();
        let (alone, latest) = (
            set.len() < 2,
            set.iter().map(|(_, d)| *d).max().unwrap_or(first),
        );
        for (id, delta) in &deltas {
            let inside = set.iter().any(|(other, _)| other == id);
            if inside && !alone {
                self.apply(*id, latest.saturating_sub(*delta), by_report);
            } else if !inside && !alone {
                self.ignore(*id, delta.saturating_sub(latest));
            } else if alone
                && *id == trigger
                && let Some((_, other)) = deltas.iter().find(|(other, _)| other != id)
            {
                self.ignore(*id, delta.saturating_sub(*other));
            }
        }
    }

    fn apply(&mut self, id: usize, ns: i64, by_report: bool) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.ignored = false;
        stream.by_report |= by_report;
        // At first there is nothing to disturb; later a jump would be seen and heard.
        let step = stream.applied.is_none();
        if distance(stream.applied.unwrap_or(0), ns) < MIN_CORRECTION {
            stream.applied.get_or_insert(0);
            return;
        }
        stream.applied = Some(ns);
        // Only the newest offset of a stream counts; this bounds the queue too.
        let old = |e: &SyncEvent| matches!(e, SyncEvent::Offset { id: i, .. } if *i == id);
        let was_step = self
            .events
            .iter()
            .any(|e| matches!(e, SyncEvent::Offset { id: i, offset } if *i == id && offset.step));
        self.events.retain(|e| !old(e));
        let offset = Offset {
            ns,
            step: step || was_step,
        };
        self.events.push_back(SyncEvent::Offset { id, offset });
    }

    fn ignore(&mut self, id: usize, ns: i64) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if !std::mem::replace(&mut stream.ignored, true) {
            self.events
                .retain(|e| !matches!(e, SyncEvent::Ignored { id: i, .. } if *i == id));
            self.events.push_back(SyncEvent::Ignored { id, ns });
        }
    }
}

/// `a - b`, clamped.
fn difference(a: Nanos, b: Nanos) -> i64 {
    i64::try_from(i128::from(a).saturating_sub(b.into())).unwrap_or(if a > b {
        i64::MAX
    } else {
        i64::MIN
    })
}

fn distance(a: i64, b: i64) -> i64 {
    i64::try_from(a.abs_diff(b)).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "sync_tests.rs"]
mod tests;
