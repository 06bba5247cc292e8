//! `rtspsrc2` over a long life: starts and stops without end, in any phase and with all else going on.
//! `make soak` runs the same tests with far more rounds.

#[path = "../support/held.rs"]
mod held;
#[allow(dead_code)] // the tests of networks use the rest
#[path = "../support/netns.rs"]
mod netns;
#[allow(dead_code)]
#[path = "../support/process.rs"]
mod process;
#[path = "../support/skip.rs"]
mod skip;
#[path = "../support/mod.rs"]
mod support;

mod cycles;
mod failing;
mod hours;
mod phases;
mod racing;
mod recovering;

use std::time::Duration;

/// What may take a while on a busy machine, but not for ever.
const SOON: Duration = Duration::from_secs(20);

fn soaks() -> bool {
    std::env::var_os("RTSP2_SOAK").is_some()
}

/// How many rounds a test makes.
fn rounds(usual: usize, soak: usize) -> usize {
    if soaks() { soak } else { usual }
}

/// Bounds a test of so many rounds, each of which takes far less.
fn limit(rounds: usize, each: Duration) -> Duration {
    3 * SOON + each * u32::try_from(rounds).expect("not that many")
}
