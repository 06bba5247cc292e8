//! RTSP 2.0 with gst-rtsp-server, which speaks it.

use std::sync::{Arc, Mutex};

use gst::prelude::*;
use gst_rtsp::rtsp_message::RTSPMessage;
use gst_rtsp_message::Parts;

use crate::process::{Server, wait_for};
use crate::{SOON, have, init};

/// Plays until both streams flow; the versions of the requests, and how many SETUPs were sent before
/// one was answered.
fn plays(protocols: &str) {
    if !have(&["x264enc", "opusenc"]) {
        return;
    }
    init();
    let server = Server::start(&["--audio", "opus"]);
    let line = format!(
        "rtspsrc2 name=src location={} default-rtsp-version=2-0 protocols={protocols} \
         src.stream_0 ! fakesink name=a sync=false src.stream_1 ! fakesink name=b sync=false",
        server.url()
    );
    let pipeline = gst::parse::launch(&line).unwrap();
    let bin = pipeline.downcast_ref::<gst::Bin>().unwrap();
    let sent = Arc::new(Mutex::new(Vec::new()));
    let record = sent.clone();
    bin.by_name("src")
        .unwrap()
        .connect("before-send", false, move |values| {
            let message = values[1].get::<&RTSPMessage>().expect("a message");
            record.lock().unwrap().extend(Parts::of_message(message));
            Some(true.to_value())
        });
    pipeline.set_state(gst::State::Playing).unwrap();
    for name in ["a", "b"] {
        let sink = bin.by_name(name).unwrap();
        wait_for("media", SOON, || {
            let stats: gst::Structure = sink.property("stats");
            stats.get::<u64>("rendered").unwrap_or(0) > 10
        });
    }
    pipeline.set_state(gst::State::Null).unwrap();
    let bus = pipeline.bus().unwrap();
    let error = bus.pop_filtered(&[gst::MessageType::Error, gst::MessageType::Warning]);
    assert!(error.is_none(), "{error:?}");
    let sent = sent.lock().unwrap();
    assert!(sent.iter().all(|request| request.v2), "{sent:#?}");
    let pipelined = sent.iter().filter(|request| {
        let mut headers = request.headers.iter();
        headers.any(|(name, _)| name == "Pipelined-Requests")
    });
    assert_eq!(pipelined.count(), 2, "{sent:#?}");
}

// covers: C-R2-01, C-R2-06
#[test]
fn rtsp_2_0_is_played_over_tcp() {
    plays("tcp");
}

#[test]
fn rtsp_2_0_is_played_over_udp() {
    plays("udp");
}
