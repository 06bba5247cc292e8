//! `rtspsrc2` against peers that we did not write: gst-rtsp-server, VLC,
//! playbin, uridecodebin, muxers and gst-launch.

#[path = "../support/certificates.rs"]
mod certificates;
#[path = "../support/netns.rs"]
#[allow(dead_code)] // the tests of networks use the rest
mod netns;
#[path = "../support/plugin.rs"]
mod plugin;
#[path = "../support/process.rs"]
#[allow(dead_code)]
mod process;
#[path = "../support/skip.rs"]
mod skip;
#[path = "../support/ways.rs"]
mod ways;

mod applications;
mod auth;
mod backchannel;
mod codecs;
mod element;
mod launch;
mod lifecycle;
mod local;
mod media_file;
mod playback;
mod player;
mod reconnect;
mod record;
mod roads;
mod srtp;
mod sync;
mod tls;
mod transports;
mod version;
mod vlc;

use std::sync::Once;
use std::time::Duration;

use gst::prelude::*;

/// What may take a while on a busy machine, but not for ever.
const SOON: Duration = Duration::from_secs(20);

fn init() {
    static INIT: Once = Once::new();
    INIT.call_once(|| {
        plugin::load();
        // As an application does that wants rtspsrc2 for its URLs.
        let factory = gst::ElementFactory::find("rtspsrc2").unwrap();
        factory.set_rank(gst::Rank::PRIMARY + 100);
    });
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

/// A small H.264 stream with a key frame each second.
fn video(pay: &str) -> String {
    format!(
        "videotestsrc is-live=true pattern=smpte \
         ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 \
         ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 bitrate=300 \
         ! video/x-h264,profile=constrained-baseline ! h264parse \
         ! rtph264pay name={pay} pt=96 config-interval=-1"
    )
}

/// Audio that can be cut with the `drop-probability` of the element `cut`; 1
/// from the start. The server takes the GAP events for data, as a camera
/// describes an audio track that never sends.
fn silent_opus(pay: &str) -> String {
    format!(
        "audiotestsrc is-live=true wave=ticks ! audio/x-raw,rate=48000,channels=1 ! opusenc \
         ! identity name=cut drop-probability=1.0 ! rtpopuspay name={pay} pt=97"
    )
}
