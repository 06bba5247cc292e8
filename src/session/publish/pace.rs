//! Turns at set times, for what must not leave at once: one thread for all streams of the process.
//!
//! A tick is one system call and one wake-up here; as a timer of a runtime it takes three.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Instant;

use super::super::lock::lock;

const STACK: usize = 256 * 1024;

/// Somebody who has a turn.
pub(in crate::session) trait Turn: Send + Sync {
    /// It is time. Must not wait for anything.
    fn turn(self: Arc<Self>);
}

/// Who has a turn when, and what tells those of one time apart.
#[derive(Default)]
struct Turns {
    waiting: BTreeMap<(Instant, u64), Weak<dyn Turn>>,
    count: u64,
}

#[derive(Default)]
struct Shared {
    turns: Mutex<Turns>,
    earlier: Condvar,
}

/// The thread, for as long as the process lives.
pub(in crate::session) struct Pace {
    shared: Arc<Shared>,
}

impl Pace {
    pub fn start() -> std::io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let serving = shared.clone();
        std::thread::Builder::new()
            .name("rtsp2-pace".into())
            .stack_size(STACK)
            .spawn(move || serving.run())?;
        Ok(Self { shared })
    }

    /// Gives `who` a turn at that time, once.
    pub fn at(&self, time: Instant, who: Weak<dyn Turn>) {
        let first = {
            let mut turns = lock(&self.shared.turns);
            let first = turns.waiting.first_key_value().map(|((at, _), _)| *at);
            turns.count = turns.count.wrapping_add(1);
            let count = turns.count;
            turns.waiting.insert((time, count), who);
            first
        };
        if first.is_none_or(|first| time < first) {
            self.shared.earlier.notify_one();
        }
    }
}

impl Shared {
    fn run(&self) {
        loop {
            if let Some(who) = self.next().upgrade() {
                who.turn();
            }
        }
    }

    /// Waits for the next turn.
    fn next(&self) -> Weak<dyn Turn> {
        let mut turns = lock(&self.turns);
        loop {
            let Some(first) = turns.waiting.first_entry() else {
                turns = self
                    .earlier
                    .wait(turns)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = first.key().0.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return first.remove();
            }
            let woken = self.earlier.wait_timeout(turns, left);
            turns = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::time::Duration;

    use super::*;

    struct Player(u32, Mutex<Sender<(u32, Instant)>>);

    impl Turn for Player {
        fn turn(self: Arc<Self>) {
            let _ = lock(&self.1).send((self.0, Instant::now()));
        }
    }

    #[test]
    fn turns_come_in_the_order_of_their_times_and_not_early() {
        let pace = Pace::start().unwrap();
        let (sender, turns) = channel();
        let players: Vec<Arc<dyn Turn>> = (0..3u32)
            .map(|n| Arc::new(Player(n, Mutex::new(sender.clone()))) as Arc<dyn Turn>)
            .collect();
        let now = Instant::now();
        let at = |player: usize, ms: u64| {
            let time = now + Duration::from_millis(ms);
            pace.at(time, Arc::downgrade(&players[player]));
            time
        };
        let last = at(0, 60);
        let first = at(1, 20);
        let same = at(2, 20);
        let came = || turns.recv_timeout(Duration::from_secs(30)).unwrap();
        for (player, due) in [(1, first), (2, same), (0, last)] {
            let (who, when) = came();
            assert_eq!(who, player);
            assert!(when >= due);
        }
        // It sleeps without a limit now, and wakes again; who is gone has no turn.
        pace.at(now, {
            let gone: Arc<dyn Turn> = Arc::new(Player(9, Mutex::new(sender.clone())));
            Arc::downgrade(&gone)
        });
        at(2, 0);
        assert_eq!(came().0, 2);
    }
}
