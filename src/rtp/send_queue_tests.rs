use super::*;
use proptest::prelude::*;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Access unit and packet in it.
type Item = (u32, u32);

struct Test {
    queue: SendQueue<Item>,
    now: Instant,
    unit: u32,
    requests: u32,
}

impl Test {
    fn new(bytes: usize, time: Duration) -> Self {
        Self {
            queue: SendQueue::new(Config { bytes, time }),
            now: Instant::now(),
            unit: 0,
            requests: 0,
        }
    }

    /// A unit of some packets of 1,000 bytes.
    fn unit(&mut self, packets: u32, key: bool) {
        self.part(0..packets, key);
        self.unit += 1;
    }

    fn part(&mut self, packets: std::ops::Range<u32>, key: bool) {
        for n in packets {
            let unit = Unit {
                bytes: 1000,
                starts: n == 0,
                key,
            };
            let pushed = self.queue.push((self.unit, n), unit, self.now);
            self.requests += u32::from(pushed.request_key);
        }
    }

    /// A key unit and nine others, one each 40 ms.
    fn group(&mut self, packets: u32) {
        for n in 0..10 {
            self.unit(packets, n == 0);
            self.now += 40 * MS;
        }
    }

    fn units(&self) -> Vec<u32> {
        let mut units: Vec<_> = self.queue.entries.iter().map(|e| e.item.0).collect();
        units.dedup();
        units
    }

    fn dropped(&self) -> (u64, u64) {
        let dropped = self.queue.stats();
        (dropped.units, dropped.packets)
    }
}

// covers: P-PUB-14
#[test]
fn what_fits_comes_out_as_it_went_in() {
    let mut t = Test::new(1_000_000, SECOND);
    t.group(3);
    assert_eq!((t.queue.len(), t.queue.bytes()), (30, 30_000));
    assert_eq!(t.queue.delay(t.now), 400 * MS);
    for unit in 0..10 {
        for n in 0..3 {
            assert_eq!(t.queue.front(), Some(&(unit, n)));
            assert_eq!(t.queue.pop(), Some((unit, n)));
        }
    }
    assert_eq!((t.queue.pop(), t.queue.bytes()), (None, 0));
    assert_eq!(t.queue.delay(t.now), Duration::ZERO);
    assert_eq!((t.dropped(), t.requests), ((0, 0), 0));
}

// covers: P-PUB-14
#[test]
fn over_the_time_the_oldest_units_go_up_to_the_next_key_unit() {
    let mut t = Test::new(1_000_000, SECOND);
    t.group(3);
    t.group(3);
    t.group(3);
    // At 1040 ms the first unit is late: its group goes.
    assert_eq!(t.units(), (10..30).collect::<Vec<_>>());
    assert_eq!(t.dropped(), (10, 30));
    assert_eq!((t.requests, t.queue.bytes()), (0, 60_000));
}

// covers: P-PUB-14
#[test]
fn without_a_key_unit_in_the_queue_one_is_requested_and_waited_for() {
    let mut t = Test::new(1_000_000, SECOND);
    t.unit(3, true);
    for _ in 0..30 {
        t.now += 40 * MS;
        t.unit(3, false);
    }
    // All that waited, and all that came after it.
    assert!(t.queue.is_empty());
    assert_eq!((t.dropped(), t.requests), ((31, 93), 1));
    t.unit(3, true);
    t.unit(3, false);
    assert_eq!(t.units(), [31, 32]);
    assert_eq!(t.queue.stats().key_requests, 1);
}

// covers: P-PUB-14
#[test]
fn a_request_is_repeated_each_second_and_after_10_s_any_unit_will_do() {
    let mut t = Test::new(1_000_000, SECOND);
    t.unit(1, false);
    assert!(t.queue.await_key(t.now));
    for _ in 0..99 {
        t.now += 100 * MS;
        t.unit(1, false);
    }
    assert!(t.queue.is_empty());
    assert_eq!(t.requests, 9);
    t.now += 100 * MS;
    t.unit(1, false);
    assert_eq!(t.units(), [100]);
}

// covers: P-PUB-14
#[test]
fn over_the_bytes_whole_units_go() {
    let mut t = Test::new(70_000, Duration::ZERO);
    for _ in 0..3 {
        t.group(3);
        assert!(t.queue.bytes() <= 70_000);
    }
    assert_eq!(t.units(), (10..30).collect::<Vec<_>>());
    assert_eq!(t.dropped(), (10, 30));
}

// covers: P-PUB-14
#[test]
fn a_unit_that_has_begun_to_leave_is_finished() {
    let mut t = Test::new(1_000_000, SECOND);
    t.group(3);
    assert_eq!(t.queue.pop(), Some((0, 0)));
    t.now += 2 * SECOND;
    t.group(3);
    assert_eq!(t.queue.pop(), Some((0, 1)));
    assert_eq!(t.queue.pop(), Some((0, 2)));
    assert_eq!(t.units(), (10..20).collect::<Vec<_>>());
    assert_eq!(t.dropped(), (9, 27));
    // Also when its rest is still to come.
    let mut t = Test::new(1_000_000, SECOND);
    t.part(0..2, true);
    assert_eq!((t.queue.pop(), t.queue.pop()), (Some((0, 0)), Some((0, 1))));
    t.now += 3 * SECOND;
    t.part(2..4, true);
    assert_eq!(t.queue.len(), 2);
    assert_eq!(t.dropped(), (0, 0));
}

// covers: P-PUB-14
#[test]
fn a_unit_larger_than_the_bound_is_cut_short_and_counted() {
    let mut t = Test::new(10_000, SECOND);
    t.part(0..5, true);
    assert_eq!(t.queue.pop(), Some((0, 0)));
    t.part(5..30, true);
    assert!(t.queue.is_empty());
    assert_eq!(t.dropped(), (1, 29));
    // What has not begun goes as a whole.
    t.unit = 1;
    t.unit(30, true);
    assert_eq!((t.queue.len(), t.dropped()), (0, (2, 59)));
}

// covers: P-PUB-14
#[test]
fn where_decoding_starts_anywhere_only_the_oldest_goes_and_nothing_is_requested() {
    let mut t = Test::new(1_000_000, SECOND);
    for _ in 0..100 {
        t.unit(1, true);
        t.now += 20 * MS;
    }
    assert_eq!(t.queue.len(), 51);
    assert_eq!((t.dropped(), t.requests), ((49, 49), 0));
    assert!(!t.queue.await_key(t.now));
    t.unit(1, true);
    assert_eq!(t.queue.len(), 1);
}

// covers: P-PUB-14
#[test]
fn after_an_interruption_it_starts_with_a_key_unit() {
    let mut t = Test::new(1_000_000, SECOND);
    t.group(2);
    assert!(t.queue.await_key(t.now));
    assert!(t.queue.is_empty());
    t.unit(2, false);
    t.part(1..2, false);
    assert!(t.queue.is_empty());
    t.unit(2, true);
    assert_eq!(t.queue.len(), 2);
    assert_eq!(t.queue.stats().key_requests, 1);
    assert!(t.queue.await_key(t.now), "again for the next interruption");
}

// covers: P-PUB-14
#[test]
fn small_packets_are_bounded_by_their_number() {
    let mut t = Test::new(usize::MAX, Duration::ZERO);
    let unit = Unit {
        bytes: 1,
        starts: true,
        key: true,
    };
    for n in 0..limits::QUEUE_ITEMS as u32 + 100 {
        assert!(t.queue.push((n, 0), unit, t.now).queued);
    }
    assert_eq!(t.queue.len(), limits::QUEUE_ITEMS);
    assert_eq!(t.queue.front(), Some(&(100, 0)));
}

// covers: P-PUB-14
#[test]
fn ten_minutes_without_a_reader_take_no_more_memory() {
    let mut t = Test::new(16_000_000, SECOND);
    let mut most = 0;
    for n in 0..18_000 {
        t.unit(33, n % 60 == 0);
        t.now += 33 * MS;
        most = most.max(t.queue.bytes());
    }
    // 8 Mbit/s: one second.
    assert!((900_000..=1_100_000).contains(&most), "{most}");
    let dropped = t.queue.stats();
    assert_eq!(dropped.packets + t.queue.len() as u64, 18_000 * 33);
}

proptest! {
    /// Of each unit nothing is sent, or all, or a beginning that was counted;
    /// what follows a dropped unit is a key unit; nothing is lost uncounted.
    /// (In less than the 10 s after which a key unit is waited for no more.)
    // covers: P-PUB-14
    #[test]
    fn units_are_whole_and_decodable(
        steps in proptest::collection::vec((1_u32..12, any::<bool>(), 0_u32..220, 0_usize..20), 1..40),
        bytes in 5_000_usize..40_000,
    ) {
        let mut t = Test::new(bytes, SECOND);
        let (mut sizes, mut keys) = (vec![], vec![]);
        let (mut out, mut pushed) = (vec![], 0);
        for (packets, key, ms, pops) in steps {
            sizes.push(packets);
            keys.push(key);
            pushed += u64::from(packets);
            let half = packets / 2;
            t.part(0..half, key);
            out.extend((0..pops / 2).map_while(|_| t.queue.pop()));
            t.part(half..packets, key);
            t.unit += 1;
            prop_assert!(t.queue.bytes() <= bytes);
            prop_assert_eq!(t.queue.bytes(), t.queue.len() * 1000);
            t.now += ms * MS;
            out.extend((0..pops).map_while(|_| t.queue.pop()));
        }
        out.extend(std::iter::from_fn(|| t.queue.pop()));
        prop_assert_eq!(out.len() as u64 + t.queue.stats().packets, pushed);

        let mut cut = 0;
        let mut next = 0;
        for unit in out.chunk_by(|a, b| a.0 == b.0) {
            let (number, sent) = (unit[0].0, unit.len() as u32);
            prop_assert!(unit.iter().map(|(_, n)| *n).eq(0..sent), "from its start");
            let whole = sent == sizes[number as usize];
            prop_assert!(number == next || keys[number as usize], "{} after {}", number, next);
            cut += u64::from(!whole);
            // After a cut only a key unit may follow.
            next = if whole { number + 1 } else { u32::MAX };
        }
        let units = sizes.len() as u64;
        let gone = units - out.chunk_by(|a, b| a.0 == b.0).count() as u64;
        prop_assert_eq!(t.queue.stats().units, gone + cut);
    }
}
