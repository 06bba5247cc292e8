//! `rtspsrc2` over networks that lose, delay, change and stop, and what it
//! knows of the sender's time.
//!
//! The kernel of the machine that builds has no netem, so a forwarder of our own
//! stands between server and client and does the same, seeded and counted. Links
//! that are cut and addresses that change are those of a network namespace.
//!
//! `RTSP2_LONG=1` adds what takes longer than 20 s.

#[path = "../support/netns.rs"]
#[allow(dead_code)] // other tests use the rest
mod netns;
#[path = "../support/process.rs"]
#[allow(dead_code)]
mod process;
#[path = "../support/skip.rs"]
mod skip;
#[path = "../support/mod.rs"]
mod support;

mod cuts;
mod decoding;
mod delay;
mod link;
mod loss;
mod ntp_server;
mod rate;
mod reference;
mod shared_clock;
mod ways;

/// Whether tests of more than 20 s are wanted.
fn long() -> bool {
    let wanted = std::env::var_os("RTSP2_LONG").is_some();
    if !wanted {
        eprintln!("skipped: RTSP2_LONG=1 is not set");
    }
    wanted
}
