//! When a presentation that failed or was lost is tried again.

use std::time::{Duration, Instant};

use rand::RngExt as _;

use crate::rtsp::client::{Error, ErrorKind};

/// Without an answer of the server, the next try comes within this.
const NO_ANSWER: Duration = Duration::from_secs(1);
/// Tries with credentials that were refused, before the tries become rare:
/// accounts lock.
const REFUSALS: u32 = 2;
const AFTER_REFUSALS: Duration = Duration::from_secs(5 * 60);
/// Media for this long makes a stream a healthy one again.
const HEALTHY: Duration = Duration::from_secs(10);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30 * 60);

/// How often and how soon.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Before the first PLAY has succeeded; -1 for ever.
    pub connect_attempts: i32,
    /// After it; -1 for ever, 0 never.
    pub reconnect_attempts: i32,
    pub initial_delay: Duration,
    pub max_delay: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Retry(Duration),
    GiveUp,
}

pub(super) struct Backoff {
    policy: Policy,
    was_up: bool,
    /// Tries since the start or since the stream was healthy.
    tries: u32,
    /// Failures that the server answered.
    answered: u32,
    refusals: u32,
    playing_since: Option<Instant>,
}

impl Backoff {
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            was_up: false,
            tries: 0,
            answered: 0,
            refusals: 0,
            playing_since: None,
        }
    }

    /// Counts go on.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// A PLAY has succeeded.
    pub fn playing(&mut self, now: Instant) {
        self.was_up = true;
        self.refusals = 0;
        self.playing_since = Some(now);
    }

    /// Media is arriving.
    pub fn media(&mut self, now: Instant) {
        if self
            .playing_since
            .is_some_and(|since| now.saturating_duration_since(since) >= HEALTHY)
        {
            self.tries = 0;
            self.answered = 0;
        }
    }

    pub fn was_up(&self) -> bool {
        self.was_up
    }

    pub fn tries(&self) -> u32 {
        self.tries
    }

    /// Other credentials were given: they get their own tries.
    pub fn new_credentials(&mut self) {
        self.refusals = 0;
    }

    /// What the application is told if one of the two does not trust the other.
    pub fn refusal(error: &Error) -> Option<&'static str> {
        match error.kind {
            ErrorKind::NotAuthorized | ErrorKind::Forbidden => Some("authentication-refused"),
            ErrorKind::Certificate => Some("certificate-refused"),
            _ => None,
        }
    }

    /// The presentation could not be had, or was lost.
    /// `silent` says that nobody answered at all.
    pub fn failed(&mut self, error: &Error, silent: bool, rng: &mut impl rand::Rng) -> Verdict {
        self.playing_since = None;
        let allowed = if self.was_up {
            self.policy.reconnect_attempts
        } else {
            // The first try has been made already.
            match self.policy.connect_attempts {
                attempts if attempts < 0 => attempts,
                attempts => attempts.max(1).saturating_sub(1),
            }
        };
        let exhausted = u32::try_from(allowed).is_ok_and(|allowed| self.tries >= allowed);
        if exhausted || !self.is_curable(error) {
            return Verdict::GiveUp;
        }
        self.tries = self.tries.saturating_add(1);
        if Self::refusal(error).is_some() {
            self.refusals = self.refusals.saturating_add(1);
            if self.refusals >= REFUSALS {
                return Verdict::Retry(AFTER_REFUSALS);
            }
        }
        if let Some(after) = error.retry_after {
            return Verdict::Retry(after.min(RETRY_AFTER_MAX));
        }
        let unit: f64 = rng.random();
        if self.tries == 1 && self.was_up {
            // All that lost the same switch come back; not all at once.
            return Verdict::Retry(
                self.policy
                    .initial_delay
                    .saturating_mul(2)
                    .mul_f64(unit)
                    .min(self.policy.max_delay),
            );
        }
        if silent || error.status.is_none() && error.kind == ErrorKind::Timeout {
            return Verdict::Retry(NO_ANSWER.mul_f64(unit).min(self.policy.max_delay));
        }
        let factor = 1u32.checked_shl(self.answered.min(16)).unwrap_or(u32::MAX);
        self.answered = self.answered.saturating_add(1);
        let delay = self
            .policy
            .initial_delay
            .saturating_mul(factor)
            .min(self.policy.max_delay);
        Verdict::Retry(delay.mul_f64(0.5 + unit).min(self.policy.max_delay))
    }

    fn is_curable(&self, error: &Error) -> bool {
        use ErrorKind::*;
        match error.kind {
            Connect | Timeout | Busy | ServerError | SessionLost | ServerTeardown => true,
            // What was there once will be there again.
            NotFound | NotAuthorized | Forbidden | Certificate | Protocol | Settings
            | NoTransport | WrongType | Unsupported | Redirect | Keys => self.was_up,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtsp::client::Phase;
    use rand::SeedableRng;

    const POLICY: Policy = Policy {
        connect_attempts: 1,
        reconnect_attempts: -1,
        initial_delay: Duration::from_millis(500),
        max_delay: Duration::from_secs(30),
    };

    fn error(kind: ErrorKind, status: Option<u16>) -> Error {
        Error {
            status,
            ..Error::new(kind, Phase::Connect, "", "")
        }
    }

    fn rng() -> rand::rngs::StdRng {
        rand::rngs::StdRng::seed_from_u64(1)
    }

    fn delay(verdict: Verdict) -> Duration {
        match verdict {
            Verdict::Retry(delay) => delay,
            Verdict::GiveUp => panic!("gave up"),
        }
    }

    #[test]
    fn a_first_failure_is_an_error() {
        let mut backoff = Backoff::new(POLICY);
        assert_eq!(
            backoff.failed(&error(ErrorKind::Connect, None), false, &mut rng()),
            Verdict::GiveUp
        );
    }

    #[test]
    fn connect_attempts_allow_more_for_what_a_retry_cures() {
        let mut backoff = Backoff::new(Policy {
            connect_attempts: 3,
            ..POLICY
        });
        let mut rng = rng();
        delay(backoff.failed(&error(ErrorKind::Connect, None), false, &mut rng));
        delay(backoff.failed(&error(ErrorKind::Busy, Some(453)), false, &mut rng));
        assert_eq!(
            backoff.failed(&error(ErrorKind::Connect, None), false, &mut rng),
            Verdict::GiveUp
        );
        let mut backoff = Backoff::new(Policy {
            connect_attempts: -1,
            ..POLICY
        });
        for _ in 0..1000 {
            delay(backoff.failed(&error(ErrorKind::Timeout, None), false, &mut rng));
        }
        assert_eq!(
            backoff.failed(&error(ErrorKind::NotFound, Some(404)), false, &mut rng),
            Verdict::GiveUp
        );
    }

    #[test]
    fn a_lost_stream_is_retried_for_ever_with_growing_jittered_delays() {
        let mut backoff = Backoff::new(POLICY);
        backoff.playing(Instant::now());
        let mut rng = rng();
        let first = delay(backoff.failed(&error(ErrorKind::SessionLost, None), false, &mut rng));
        assert!(first <= Duration::from_secs(1));
        let mut last = Duration::ZERO;
        for i in 0..100u32 {
            last =
                delay(backoff.failed(&error(ErrorKind::ServerError, Some(500)), false, &mut rng));
            let base = Duration::from_millis(500) * 2u32.pow(i.min(6));
            assert!(
                last <= POLICY.max_delay && last >= (base / 2).min(POLICY.max_delay / 2),
                "{i} {last:?}"
            );
        }
        assert!(last >= Duration::from_secs(15));
        // Silence is no answer: a camera that boots is found within a second.
        assert!(
            delay(backoff.failed(&error(ErrorKind::Timeout, None), false, &mut rng)) <= NO_ANSWER
        );
        assert!(
            delay(backoff.failed(&error(ErrorKind::Connect, None), true, &mut rng)) <= NO_ANSWER
        );
    }

    #[test]
    fn ten_seconds_of_media_reset_the_delay() {
        let start = Instant::now();
        let mut backoff = Backoff::new(Policy {
            reconnect_attempts: 2,
            ..POLICY
        });
        let mut rng = rng();
        for _ in 0..10 {
            backoff.playing(start);
            backoff.media(start + HEALTHY);
            delay(backoff.failed(&error(ErrorKind::SessionLost, None), false, &mut rng));
            delay(backoff.failed(&error(ErrorKind::ServerError, Some(500)), false, &mut rng));
        }
        assert_eq!(
            backoff.failed(&error(ErrorKind::Timeout, None), false, &mut rng),
            Verdict::GiveUp
        );
    }

    #[test]
    fn refused_credentials_get_two_tries_then_one_every_five_minutes() {
        let mut backoff = Backoff::new(POLICY);
        backoff.playing(Instant::now());
        let mut rng = rng();
        let refused = error(ErrorKind::NotAuthorized, Some(401));
        assert!(delay(backoff.failed(&refused, false, &mut rng)) <= Duration::from_secs(1));
        assert_eq!(
            delay(backoff.failed(&refused, false, &mut rng)),
            AFTER_REFUSALS
        );
        assert_eq!(
            delay(backoff.failed(&refused, false, &mut rng)),
            AFTER_REFUSALS
        );
        backoff.new_credentials();
        assert!(delay(backoff.failed(&refused, false, &mut rng)) < AFTER_REFUSALS);
    }

    #[test]
    fn retry_after_is_honoured() {
        let mut backoff = Backoff::new(POLICY);
        backoff.playing(Instant::now());
        let mut busy = error(ErrorKind::Busy, Some(503));
        busy.retry_after = Some(Duration::from_secs(7));
        assert_eq!(
            delay(backoff.failed(&busy, false, &mut rng())),
            Duration::from_secs(7)
        );
    }
}
