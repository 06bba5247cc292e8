//! What the path to the server carries, for encoders that can follow it.
//!
//! Additive increase would be slow at video rates, so the increase is by a
//! part of what there is; once a second:
//!
//! | sign | estimate |
//! |---|---|
//! | what waits to be sent waited for 100 ms or more all the time, and longer than in the second before; or some was dropped | what was sent in that second × 0.85 |
//! | the round-trip time has grown by 100 ms and is twice the usual | what was sent × 0.85 |
//! | a report of more than 10 % of loss | what arrived: what was sent × (1 − loss) |
//! | 2 to 10 % of loss, no report for 2 s, or a backlog that becomes shorter | stays |
//! | none of these | + 8 %, up to 1.5 times what was sent |
//!
//! It only ever falls to these values. Before it has fallen for the first time it says what was tried, and nothing about a
//! limit of the network.

use std::time::{Duration, Instant};

const PERIOD: Duration = Duration::from_secs(1);
const BACKLOG: Duration = Duration::from_millis(100);
/// Of what was sent, so that the backlog becomes shorter.
const BACK_OFF: f64 = 0.85;
const GROWTH: f64 = 1.08;
/// What was never tried is not known.
const UNTRIED: f64 = 1.5;
/// Growth goes on from at least this part of what is sent, ...
const GROWS_FROM: f64 = 0.5;
/// ... and no estimate is less, in bit/s: from 0 nothing would grow.
const LEAST: f64 = 10_000.0;
const LOSS_HIGH: f64 = 0.10;
const LOSS_LOW: f64 = 0.02;
/// Reports of receivers come every few seconds; growing on and on in
/// between would overshoot.
const REPORT_HOLDS: Duration = Duration::from_secs(2);
/// Growth of the round-trip time that is a queue, at least.
const RTT_GROWTH: Duration = Duration::from_millis(100);
/// Half of the window of the usual round-trip time: paths change.
const RTT_HALF_WINDOW: Duration = Duration::from_secs(30);

/// The rate that all streams of a session may have together.
#[derive(Debug)]
pub struct Estimator {
    /// Bits per second.
    estimate: Option<f64>,
    /// It has fallen before.
    limited: bool,
    ticked: Instant,
    /// Bytes since the last tick.
    sent: usize,
    /// Mean of the last seconds, in bits per second.
    mean: Option<f64>,
    /// The backlog of the second before.
    before: Duration,
    dropped: bool,
    /// The last report of loss, and when it came.
    loss: Option<(f64, Instant)>,
    /// Loss of reports since the last tick.
    news: Option<f64>,
    base_rtt: BaseRtt,
    delayed: bool,
}

impl Estimator {
    pub fn new(now: Instant) -> Self {
        Self {
            estimate: None,
            limited: false,
            ticked: now,
            sent: 0,
            mean: None,
            before: Duration::ZERO,
            dropped: false,
            loss: None,
            news: None,
            base_rtt: BaseRtt::default(),
            delayed: false,
        }
    }

    /// Another connection: the estimate stays, what it was measured from
    /// does not.
    pub fn restart(&mut self, now: Instant) {
        *self = Self {
            estimate: self.estimate,
            limited: self.limited,
            ..Self::new(now)
        };
    }

    /// The network took so many bytes of media.
    pub fn handle_sent(&mut self, bytes: usize) {
        self.sent = self.sent.saturating_add(bytes);
    }

    /// What a report block says of a path that may lose packets. Over TCP the
    /// gaps are our own drops: there only [`Self::handle_rtt`] counts.
    pub fn handle_report(&mut self, fraction_lost: f64, rtt: Option<Duration>, now: Instant) {
        self.loss = Some((fraction_lost, now));
        self.news = Some(
            self.news
                .map_or(fraction_lost, |loss| loss.max(fraction_lost)),
        );
        if let Some(rtt) = rtt {
            self.handle_rtt(rtt, now);
        }
    }

    /// A round-trip time.
    pub fn handle_rtt(&mut self, rtt: Duration, now: Instant) {
        let base = self.base_rtt.update(rtt, now);
        self.delayed |= rtt > base.saturating_add(base.max(RTT_GROWTH));
    }

    /// Media was dropped because too much waited.
    pub fn handle_dropped(&mut self) {
        self.dropped = true;
    }

    /// When to call `poll`.
    pub fn poll_timeout(&self) -> Instant {
        self.ticked.checked_add(PERIOD).unwrap_or(self.ticked)
    }

    /// Whether the network has ever shown a limit.
    pub fn is_limited(&self) -> bool {
        self.limited
    }

    /// Bits per second, once anything was sent.
    pub fn estimate(&self) -> Option<u64> {
        self.estimate.map(|estimate| estimate as u64)
    }

    /// Once a second: the estimate. `backlog` is the shortest time since the last call that what was to leave next had
    /// waited: a key frame that is on its way is none.
    pub fn poll(&mut self, backlog: Duration, now: Instant) -> Option<u64> {
        if now < self.poll_timeout() {
            return None;
        }
        let elapsed = now.saturating_duration_since(self.ticked);
        self.ticked = now;
        self.tick(backlog, elapsed.as_secs_f64(), now)
    }

    fn tick(&mut self, backlog: Duration, elapsed: f64, now: Instant) -> Option<u64> {
        let rate = std::mem::take(&mut self.sent) as f64 * 8.0 / elapsed;
        let mean = self.mean.map_or(rate, |mean| (mean + rate) / 2.0);
        let before = std::mem::replace(&mut self.before, backlog);
        let dropped = std::mem::take(&mut self.dropped);
        let delayed = std::mem::take(&mut self.delayed);
        let news = self.news.take();
        if rate == 0.0 && self.mean.is_none() {
            // Nothing has begun, or nothing gets through.
            return None;
        }
        self.mean = Some(mean);
        let estimate = self.estimate.unwrap_or(rate);
        let limit = if dropped || backlog >= BACKLOG && backlog >= before {
            Some(rate * BACK_OFF)
        } else if delayed {
            Some(mean * BACK_OFF)
        } else {
            let loss = news.filter(|loss| *loss > LOSS_HIGH);
            loss.map(|loss| mean * (1.0 - loss))
        };
        self.limited |= limit.is_some();
        let estimate = match limit {
            Some(limit) => estimate.min(limit),
            None if backlog >= BACKLOG || self.uncertain(now) => estimate,
            None => {
                let from = estimate.max(mean * GROWS_FROM);
                let grown = from * GROWTH.powf(elapsed.min(2.0));
                estimate.max(grown.min(mean * UNTRIED))
            }
        };
        self.estimate = Some(estimate.max(LEAST));
        self.estimate()
    }

    /// Loss that is neither congestion nor nothing, or old news.
    fn uncertain(&self, now: Instant) -> bool {
        self.loss.is_some_and(|(loss, at)| {
            loss > LOSS_LOW || now.saturating_duration_since(at) > REPORT_HOLDS
        })
    }
}

/// The smallest round-trip time of the last half to one minute.
#[derive(Debug, Default)]
struct BaseRtt {
    before: Option<Duration>,
    current: Option<(Duration, Instant)>,
}

impl BaseRtt {
    fn update(&mut self, rtt: Duration, now: Instant) -> Duration {
        let (current, since) = match self.current {
            Some((current, since)) if now.saturating_duration_since(since) < RTT_HALF_WINDOW => {
                (current.min(rtt), since)
            }
            old => {
                self.before = old.map(|(current, _)| current);
                (rtt, now)
            }
        };
        self.current = Some((current, since));
        self.before.map_or(current, |before| before.min(current))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    const MS: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);
    const MBIT: f64 = 1_000_000.0;

    /// An encoder that follows the estimate, a queue of a second, a link.
    struct Link {
        estimator: Estimator,
        now: Instant,
        /// What came when, in bits.
        queue: VecDeque<(Instant, f64)>,
        /// Over UDP a bottleneck drops what it has no room for, and a report
        /// comes every 5 s; over TCP the sender waits.
        udp: bool,
        encoder: f64,
        credit: f64,
        offered: f64,
        lost: f64,
        reported: Instant,
        longest: Duration,
        dropped: f64,
        /// Of the delay, since the last estimate.
        least: Duration,
    }

    impl Link {
        fn new(udp: bool) -> Self {
            let now = Instant::now();
            Self {
                estimator: Estimator::new(now),
                now,
                queue: VecDeque::new(),
                udp,
                encoder: 8.0 * MBIT,
                credit: 0.0,
                offered: 0.0,
                lost: 0.0,
                reported: now,
                longest: Duration::ZERO,
                dropped: 0.0,
                least: Duration::MAX,
            }
        }

        fn delay(&self) -> Duration {
            self.queue
                .front()
                .map_or(Duration::ZERO, |(at, _)| self.now - *at)
        }

        /// Runs for so long on a link of so many bits per second.
        fn run(&mut self, span: Duration, capacity: f64) {
            let end = self.now + span;
            while self.now < end {
                self.now += 20 * MS;
                let (came, room) = (self.encoder / 50.0, capacity / 50.0);
                if self.udp {
                    self.udp_step(came, room);
                } else {
                    self.tcp_step(came, room);
                }
                self.longest = self.longest.max(self.delay());
                self.least = self.least.min(self.delay());
                if let Some(estimate) = self.estimator.poll(self.least, self.now) {
                    self.least = Duration::MAX;
                    // The encoder has a lag and a maximum.
                    self.encoder += (estimate as f64 - self.encoder) * 0.7;
                    self.encoder = self.encoder.clamp(0.3 * MBIT, 8.0 * MBIT);
                }
            }
        }

        fn udp_step(&mut self, came: f64, room: f64) {
            self.estimator.handle_sent((came / 8.0) as usize);
            self.offered += came;
            self.lost += (came - room).max(0.0);
            if self.now - self.reported >= 5 * SECOND {
                let loss = self.lost / self.offered;
                self.estimator.handle_report(loss, Some(30 * MS), self.now);
                (self.lost, self.offered, self.reported) = (0.0, 0.0, self.now);
            }
        }

        fn tcp_step(&mut self, came: f64, room: f64) {
            self.queue.push_back((self.now, came));
            if self.delay() > SECOND {
                self.dropped += self.queue.drain(..).map(|(_, bits)| bits).sum::<f64>();
                self.estimator.handle_dropped();
            }
            self.credit = (self.credit + room).min(room);
            while self.credit > 0.0
                && let Some((_, bits)) = self.queue.pop_front()
            {
                self.credit -= bits;
                self.estimator.handle_sent((bits / 8.0) as usize);
            }
        }

        fn estimate(&self) -> f64 {
            self.estimator.estimate().unwrap() as f64 / MBIT
        }
    }

    // covers: P-PUB-14
    #[test]
    fn over_tcp_a_cut_to_a_third_is_followed_and_the_delay_stays_short() {
        let mut link = Link::new(false);
        link.run(10 * SECOND, 12.0 * MBIT);
        assert!(link.estimate() >= 8.0, "{}", link.estimate());
        assert_eq!(link.dropped, 0.0);
        link.run(6 * SECOND, 2.7 * MBIT);
        assert!(link.estimate() <= 2.7, "{}", link.estimate());
        assert!(link.estimate() >= 1.2, "{}", link.estimate());
        link.dropped = 0.0;
        link.longest = Duration::ZERO;
        link.run(60 * SECOND, 2.7 * MBIT);
        assert!(link.longest <= 600 * MS, "{:?}", link.longest);
        assert_eq!(link.dropped, 0.0, "nothing more is dropped");
        assert!(link.estimate() >= 1.8, "{}", link.estimate());
    }

    // covers: P-PUB-14
    #[test]
    fn over_tcp_it_recovers() {
        let mut link = Link::new(false);
        link.run(10 * SECOND, 12.0 * MBIT);
        link.run(10 * SECOND, 2.7 * MBIT);
        link.run(30 * SECOND, 12.0 * MBIT);
        assert!(link.estimate() >= 8.0, "{}", link.estimate());
    }

    #[test]
    fn a_network_that_stood_still_is_tried_again() {
        let mut link = Link::new(false);
        link.run(10 * SECOND, 12.0 * MBIT);
        link.run(4 * SECOND, 0.0);
        assert!(link.estimate() > 0.0);
        link.run(90 * SECOND, 12.0 * MBIT);
        assert!(link.estimate() >= 2.0, "{}", link.estimate());
    }

    // covers: P-PUB-14
    #[test]
    fn over_udp_loss_leads_to_what_arrives_and_back() {
        let mut link = Link::new(true);
        link.run(20 * SECOND, 12.0 * MBIT);
        assert!(link.estimate() >= 7.9, "{}", link.estimate());
        link.run(12 * SECOND, 2.7 * MBIT);
        assert!(link.estimate() <= 3.2, "{}", link.estimate());
        link.lost = 0.0;
        link.run(60 * SECOND, 2.7 * MBIT);
        assert!(
            (2.0..=3.2).contains(&link.estimate()),
            "{}",
            link.estimate()
        );
        link.run(60 * SECOND, 12.0 * MBIT);
        assert!(link.estimate() >= 7.9, "{}", link.estimate());
    }

    fn seconds(
        estimator: &mut Estimator,
        now: &mut Instant,
        count: u32,
        mut each: impl FnMut(&mut Estimator, Instant),
    ) -> Option<u64> {
        for _ in 0..count {
            *now += SECOND;
            each(estimator, *now);
            estimator.poll(Duration::ZERO, *now);
        }
        estimator.estimate()
    }

    // covers: P-PUB-14
    #[test]
    fn it_comes_once_a_second_and_not_before_anything_was_sent() {
        let start = Instant::now();
        let mut estimator = Estimator::new(start);
        assert_eq!(estimator.poll(Duration::ZERO, start + 2 * SECOND), None);
        estimator.handle_sent(125_000);
        assert_eq!(estimator.poll_timeout(), start + 3 * SECOND);
        assert_eq!(estimator.poll(Duration::ZERO, start + 2999 * MS), None);
        let first = estimator.poll(Duration::ZERO, start + 3 * SECOND);
        assert_eq!(first, Some(1_080_000));
        assert_eq!(estimator.poll(Duration::ZERO, start + 3 * SECOND), None);
    }

    // covers: P-PUB-14
    #[test]
    fn it_grows_to_no_more_than_half_again_of_what_was_sent() {
        let mut now = Instant::now();
        let mut estimator = Estimator::new(now);
        let sent = |e: &mut Estimator, _| e.handle_sent(125_000);
        let estimate = seconds(&mut estimator, &mut now, 60, sent).unwrap();
        assert!((1_490_000..=1_500_000).contains(&estimate), "{estimate}");
        // A picture that needs less is no sign of a narrow path.
        let less = |e: &mut Estimator, _| e.handle_sent(12_500);
        assert_eq!(seconds(&mut estimator, &mut now, 30, less), Some(estimate));
        assert!(!estimator.is_limited());
    }

    // covers: P-PUB-14
    #[test]
    fn it_says_nothing_of_a_limit_before_there_was_a_sign_of_one() {
        let mut now = Instant::now();
        let mut estimator = Estimator::new(now);
        // An encoder that begins with a dark picture.
        let little = |e: &mut Estimator, _| e.handle_sent(1_000);
        assert!(seconds(&mut estimator, &mut now, 3, little).unwrap() < 20_000);
        assert!(!estimator.is_limited());
        let lost = |e: &mut Estimator, at| {
            e.handle_sent(125_000);
            e.handle_report(0.5, None, at);
        };
        seconds(&mut estimator, &mut now, 1, lost);
        assert!(estimator.is_limited());
        estimator.restart(now);
        assert!(estimator.is_limited(), "the path is the same");
    }

    // covers: P-PUB-14
    #[test]
    fn a_little_loss_and_the_lack_of_reports_hold_it() {
        let mut now = Instant::now();
        let mut estimator = Estimator::new(now);
        let held = |loss: f64| {
            move |e: &mut Estimator, at| {
                e.handle_sent(125_000);
                e.handle_report(loss, None, at);
            }
        };
        let first = seconds(&mut estimator, &mut now, 1, held(0.05));
        assert_eq!(seconds(&mut estimator, &mut now, 20, held(0.05)), first);
        let grown = seconds(&mut estimator, &mut now, 1, held(0.0));
        assert!(grown > first);
        let silent = |e: &mut Estimator, _| e.handle_sent(125_000);
        let two = seconds(&mut estimator, &mut now, 2, silent);
        assert_eq!(seconds(&mut estimator, &mut now, 20, silent), two);
    }

    // covers: P-PUB-14
    #[test]
    fn a_round_trip_that_becomes_much_longer_is_a_queue() {
        let mut now = Instant::now();
        let mut estimator = Estimator::new(now);
        let rtt = |ms: u32| {
            move |e: &mut Estimator, at| {
                e.handle_sent(125_000);
                e.handle_report(0.0, Some(ms * MS), at);
            }
        };
        // Over TCP nothing but this is known, and it grows in every second.
        let over_tcp = |e: &mut Estimator, at| {
            e.handle_sent(125_000);
            e.handle_rtt(40 * MS, at);
        };
        let grown = seconds(&mut estimator, &mut now, 3, over_tcp).unwrap();
        assert!(grown >= 1_250_000, "{grown}");
        seconds(&mut estimator, &mut now, 5, rtt(40));
        let before = seconds(&mut estimator, &mut now, 1, rtt(120)).unwrap();
        assert!(before >= 1_000_000, "jitter: {before}");
        assert_eq!(
            seconds(&mut estimator, &mut now, 1, rtt(150)),
            Some(850_000)
        );
        // Another path is the usual one after a minute.
        let later = seconds(&mut estimator, &mut now, 100, rtt(150)).unwrap();
        assert!(later > 1_000_000, "{later}");
    }

    // covers: P-PUB-14
    #[test]
    fn over_another_connection_it_goes_on_from_where_it_was() {
        let mut now = Instant::now();
        let mut estimator = Estimator::new(now);
        seconds(&mut estimator, &mut now, 3, |e, _| e.handle_sent(125_000));
        let before = estimator.estimate();
        estimator.handle_dropped();
        estimator.restart(now);
        assert_eq!(estimator.estimate(), before);
        now += SECOND;
        estimator.handle_sent(125_000);
        assert!(estimator.poll(Duration::ZERO, now) >= before);
    }
}
