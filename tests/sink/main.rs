//! `rtspsink2` against servers that we did not write, and against a scripted one
//! for what no real server does on demand.
//!
//! `RTSP2_LONG=1` adds what takes longer than 20 s.

#[allow(dead_code)]
#[path = "../support/certificates.rs"]
mod certificates;
#[allow(dead_code)]
#[path = "../support/netns.rs"]
mod netns;
#[allow(dead_code)]
#[path = "../support/process.rs"]
mod process;
#[path = "../support/skip.rs"]
mod skip;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/ways.rs"]
#[allow(dead_code)]
mod ways;

mod codecs;
mod ffmpeg;
mod lifecycle;
mod networks;
mod pads;
mod perl;
mod preroll;
mod publisher;
mod recorder;
mod refusals;
mod resilience;
mod roads;
mod scripted;
mod srtp;
mod surface;
mod sync;
mod tls;
mod transports;

use std::time::Duration;

use support::init;

/// What may take a while on a busy machine, but not for ever.
const SOON: Duration = Duration::from_secs(30);

/// Whether tests of more than 20 s are wanted.
fn long() -> bool {
    std::env::var_os("RTSP2_LONG").is_some()
}

/// Whether all these elements are installed; says so if they are not.
fn have(elements: &[&str]) -> bool {
    init();
    let missing: Vec<_> = elements
        .iter()
        .filter(|name| gst::ElementFactory::find(name).is_none())
        .collect();
    if !missing.is_empty() {
        skip::skip(format!("{missing:?} not installed"));
    }
    missing.is_empty()
}

/// Small H.264 video, `frames` of it or without an end; a key frame each 25.
fn h264(frames: i32, live: bool) -> String {
    format!(
        "videotestsrc num-buffers={frames} is-live={live} \
         ! video/x-raw,format=I420,width=160,height=120,framerate=50/1 \
         ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 bitrate=300"
    )
}
