//! Spans of time, without a way to overflow.

use std::time::{Duration, Instant};

/// A span beyond the clock's range ends at once.
pub(super) fn after(now: Instant, span: Duration) -> Instant {
    now.checked_add(span).unwrap_or(now)
}

pub(super) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Zero stands for no limit; a session waits a day at the most.
pub(super) fn nonzero(span: Duration) -> Duration {
    if span.is_zero() {
        Duration::from_secs(24 * 3600)
    } else {
        span
    }
}
