//! Which packets were received (RFC 3711 §3.3.2).

/// Packets behind the highest that are told apart. RFC 3711 asks for 64; streams of 100 Mbit/s
/// reorder over more.
const SPAN: u64 = 1024;
const WORDS: usize = (SPAN / 64) as usize;

/// A sliding window over indices.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    highest: Option<u64>,
    seen: [u64; WORDS],
}

impl Window {
    pub fn highest(&self) -> Option<u64> {
        self.highest
    }

    /// Neither seen nor too old to know.
    pub fn is_new(&self, index: u64) -> bool {
        match self.highest {
            None => true,
            Some(highest) if index > highest => true,
            Some(highest) => {
                highest.saturating_sub(index) < SPAN
                    && self
                        .seen
                        .get(word(index))
                        .is_some_and(|word| word & bit(index) == 0)
            }
        }
    }

    pub fn mark(&mut self, index: u64) {
        let highest = *self.highest.get_or_insert(index);
        if index > highest {
            let passed = highest.saturating_add(1)..=index;
            if index.saturating_sub(highest) >= SPAN {
                self.seen = [0; WORDS];
            } else {
                for passed in passed {
                    self.set(passed, false);
                }
            }
            self.highest = Some(index);
        }
        self.set(index, true);
    }

    fn set(&mut self, index: u64, on: bool) {
        if let Some(word) = self.seen.get_mut(word(index)) {
            match on {
                true => *word |= bit(index),
                false => *word &= !bit(index),
            }
        }
    }
}

fn word(index: u64) -> usize {
    ((index % SPAN) / 64) as usize
}

fn bit(index: u64) -> u64 {
    1 << (index % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: B-SRTP-03
    #[test]
    fn each_index_is_new_once_and_old_ones_never() {
        let mut window = Window::default();
        for index in [5000, 5001, 5003, 4000, 5002] {
            assert!(window.is_new(index), "{index}");
            window.mark(index);
            assert!(!window.is_new(index), "{index}");
        }
        assert!(window.is_new(5003 - SPAN + 1));
        assert!(!window.is_new(5003 - SPAN));
        window.mark(5003 + SPAN - 1);
        assert!(!window.is_new(5003));
        assert!(window.is_new(5004));
        window.mark(90_000);
        assert!(window.is_new(90_000 - SPAN + 1));
        assert!(!window.is_new(5004));
    }

    // covers: B-SRTP-03
    #[test]
    fn it_agrees_with_a_set_over_a_random_walk() {
        let mut window = Window::default();
        let mut seen = std::collections::HashSet::new();
        let mut state = 1u64;
        let mut at = 10_000u64;
        for _ in 0..20_000 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
            let step = (state >> 33) % 40;
            at = at + step - 15.min(step);
            let index = at - (state >> 50) % 900;
            let highest = window.highest().unwrap_or(index);
            let new = !seen.contains(&index) && (index > highest || highest - index < SPAN);
            assert_eq!(window.is_new(index), new, "{index} below {highest}");
            if new {
                window.mark(index);
                seen.insert(index);
            }
        }
    }
}
