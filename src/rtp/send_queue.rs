//! What waits to be sent of one stream: bounded, and never blocking.
//!
//! A slow network costs whole access units and not parts of them: over a
//! bound the oldest that have not begun to leave go, up to the next one where
//! decoding can start. A unit that has begun to leave is finished, unless it
//! alone is over the bound.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::rtsp::limits;

/// A key unit that does not come is waited for so long.
const KEY_WAIT: Duration = Duration::from_secs(10);
/// Between two requests of one: it may get lost among encoders and events.
const REQUEST_INTERVAL: Duration = Duration::from_secs(1);

/// The bounds of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Bytes of packets.
    pub bytes: usize,
    /// How long a packet may wait; zero for as long as there is room.
    pub time: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bytes: limits::SEND_QUEUE,
            time: Duration::from_secs(1),
        }
    }
}

/// What the queue has to know of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    pub bytes: usize,
    /// The packet is the first of an access unit.
    pub starts: bool,
    /// Decoding can start with this access unit: also said of streams where
    /// it can anywhere, and where nobody can tell.
    pub key: bool,
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pushed {
    /// It waits; else it was dropped.
    pub queued: bool,
    /// Whoever encodes shall be asked for a key unit.
    pub request_key: bool,
}

/// What was dropped for want of room, or of the key unit before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Access units; one that was cut short counts as well.
    pub units: u64,
    pub packets: u64,
    pub bytes: u64,
    /// Key units that were asked for.
    pub key_requests: u64,
}

impl Dropped {
    fn count(&mut self, unit: Unit) {
        self.units = self.units.saturating_add(unit.starts.into());
        self.packets = self.packets.saturating_add(1);
        self.bytes = self.bytes.saturating_add(unit.bytes as u64);
    }
}

#[derive(Debug)]
struct Entry<T> {
    item: T,
    unit: Unit,
    at: Instant,
}

/// Dropping what comes, up to the next key unit.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    since: Instant,
    requested: Option<Instant>,
}

/// The queue of one stream. See the [module](self) for what it drops.
#[derive(Debug)]
pub struct SendQueue<T> {
    config: Config,
    entries: VecDeque<Entry<T>>,
    bytes: usize,
    waiting: Option<Waiting>,
    /// A packet has ever come, so that the first one counts as a start.
    begun: bool,
    /// Not all units are key units, so that asking for one makes sense.
    differ: bool,
    dropped: Dropped,
}

impl<T> SendQueue<T> {
    pub fn new(config: Config) -> Self {
        Self {
            config,
            entries: VecDeque::new(),
            bytes: 0,
            waiting: None,
            begun: false,
            differ: false,
            dropped: Dropped::default(),
        }
    }

    /// The bound in time for what comes from now on.
    pub fn set_time(&mut self, time: Duration) {
        self.config.time = time;
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How long the next packet has waited; zero if there is none.
    pub fn delay(&self, now: Instant) -> Duration {
        self.entries.front().map_or(Duration::ZERO, |entry| {
            now.saturating_duration_since(entry.at)
        })
    }

    pub fn stats(&self) -> Dropped {
        self.dropped
    }

    /// Puts a packet at the end, and drops what is too much.
    pub fn push(&mut self, item: T, mut unit: Unit, now: Instant) -> Pushed {
        unit.starts |= !std::mem::replace(&mut self.begun, true);
        self.differ |= unit.starts && !unit.key;
        if let Some(waiting) = self.waiting {
            let long = now.saturating_duration_since(waiting.since) >= KEY_WAIT;
            if !unit.starts || !(unit.key || long) {
                self.dropped.count(unit);
                return Pushed {
                    queued: false,
                    request_key: self.request(now),
                };
            }
            self.waiting = None;
        }
        self.bytes = self.bytes.saturating_add(unit.bytes);
        self.entries.push_back(Entry {
            item,
            unit,
            at: now,
        });
        if self.is_full() || self.is_late(0, now) {
            self.shed(now);
        }
        Pushed {
            queued: self.waiting.is_none(),
            request_key: self.request(now),
        }
    }

    /// The next packet.
    pub fn front(&self) -> Option<&T> {
        self.entries.front().map(|entry| &entry.item)
    }

    pub fn pop(&mut self) -> Option<T> {
        let entry = self.entries.pop_front()?;
        self.bytes = self.bytes.saturating_sub(entry.unit.bytes);
        Some(entry.item)
    }

    /// What comes after an interruption starts with a key unit: drops what
    /// waits, and what comes before it. True if one is to be requested.
    pub fn await_key(&mut self, now: Instant) -> bool {
        self.drop_between(0, self.entries.len());
        self.waiting = None;
        self.wait(now);
        self.request(now)
    }

    /// Forgets what waits; `await_key` where it goes on.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    fn is_full(&self) -> bool {
        self.bytes > self.config.bytes || self.entries.len() > limits::QUEUE_ITEMS
    }

    fn is_late(&self, index: usize, now: Instant) -> bool {
        let waited = |entry: &Entry<T>| now.saturating_duration_since(entry.at);
        !self.config.time.is_zero()
            && self
                .entries
                .get(index)
                .is_some_and(|entry| waited(entry) > self.config.time)
    }

    fn shed(&mut self, now: Instant) {
        // Before the first start is the rest of what has begun to leave.
        if let Some(first) = self.entries.iter().position(|e| e.unit.starts)
            && (self.is_full() || self.is_late(first, now))
        {
            let key = self.place_to_go_on(first, now);
            self.drop_between(first, key.unwrap_or(self.entries.len()));
            if key.is_none() {
                self.wait(now);
            }
        }
        if self.is_full() {
            // One unit alone, and it has begun to leave: it is cut short.
            self.dropped.units = self.dropped.units.saturating_add(1);
            self.drop_between(0, self.entries.len());
            self.wait(now);
        }
    }

    /// The first key unit after `first` that is within the bounds once what
    /// is between them has gone.
    fn place_to_go_on(&self, first: usize, now: Instant) -> Option<usize> {
        let (mut bytes, mut left) = (self.bytes, self.entries.len());
        for (index, entry) in self.entries.iter().enumerate().skip(first) {
            let unit = entry.unit;
            let fits = bytes <= self.config.bytes && left <= limits::QUEUE_ITEMS;
            if index > first && unit.starts && unit.key && fits && !self.is_late(index, now) {
                return Some(index);
            }
            bytes = bytes.saturating_sub(unit.bytes);
            left = left.saturating_sub(1);
        }
        None
    }

    fn drop_between(&mut self, first: usize, end: usize) {
        for entry in self.entries.drain(first..end) {
            self.bytes = self.bytes.saturating_sub(entry.unit.bytes);
            self.dropped.count(entry.unit);
        }
    }

    /// Drops what comes, up to a key unit.
    fn wait(&mut self, now: Instant) {
        self.waiting.get_or_insert(Waiting {
            since: now,
            requested: None,
        });
    }

    /// Whether a key unit is to be asked for, at once and then every second.
    fn request(&mut self, now: Instant) -> bool {
        let Some(waiting) = self.waiting.as_mut().filter(|_| self.differ) else {
            return false;
        };
        let due = waiting
            .requested
            .is_none_or(|at| now.saturating_duration_since(at) >= REQUEST_INTERVAL);
        if due {
            waiting.requested = Some(now);
            self.dropped.key_requests = self.dropped.key_requests.saturating_add(1);
        }
        due
    }
}

#[cfg(test)]
#[path = "send_queue_tests.rs"]
mod tests;
