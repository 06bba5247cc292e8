//! Tests that need what is missing here.

use std::fmt::Display;

/// Says that a test is skipped. Where `RTSP2_REQUIRE_PEERS` is set, as `.ci/run` does, nothing may be
/// missing, and the test fails.
pub fn skip(reason: impl Display) {
    let required = std::env::var_os("RTSP2_REQUIRE_PEERS").is_some();
    assert!(!required, "RTSP2_REQUIRE_PEERS is set: {reason}");
    eprintln!("skipped: {reason}");
}
