//! What an element owes its neighbours: queries, events, sticky events.

use std::sync::mpsc;

use gst::prelude::*;
use gst_check::Harness;
use gst_rtsp::RTSPProfile;

use crate::local::LocalServer;
use crate::process::wait_for;
use crate::{SOON, have, video};

/// A harness on the pad `stream_0` of an rtspsrc2 that plays.
fn harness(url: &str) -> Harness {
    crate::init();
    let src = gst::ElementFactory::make("rtspsrc2")
        .property("location", url)
        .property("latency", 120u32)
        .build()
        .unwrap();
    let (sender, pads) = mpsc::channel();
    src.connect_pad_added(move |_, pad| sender.send(pad.clone()).unwrap());
    let mut harness = Harness::with_element(&src, None, None);
    harness.use_systemclock();
    harness.play();
    let pad = pads.recv_timeout(SOON).expect("a pad");
    assert_eq!(pad.name(), "stream_0");
    harness.add_element_src_pad(&pad);
    harness
}

#[test]
fn a_harness_pulls_rtp_after_the_sticky_events_in_order() {
    if !have(&["x264enc"]) {
        return;
    }
    let server = LocalServer::avp(video("pay0"));
    let mut harness = harness(server.url());
    for _ in 0..20 {
        let buffer = harness.pull().unwrap();
        let mut first = [0];
        buffer.copy_to_slice(0, &mut first).unwrap();
        assert_eq!(first[0] >> 6, 2, "RTP version");
        assert!(buffer.pts().is_some());
    }
    let mut kinds = Vec::new();
    let mut caps = None;
    while let Some(event) = harness.try_pull_event() {
        if let gst::EventView::Caps(event) = event.view() {
            caps = Some(event.caps_owned());
        }
        kinds.push(event.type_());
    }
    use gst::EventType::*;
    assert!(kinds.starts_with(&[StreamStart, Caps]), "{kinds:?}");
    let segment = kinds.iter().position(|kind| *kind == Segment);
    assert!(segment.is_some(), "{kinds:?}");
    assert!(kinds.contains(&StreamCollection), "{kinds:?}");

    // What depayloaders look for.
    let caps = caps.unwrap();
    let caps = caps.structure(0).unwrap();
    assert_eq!(caps.name(), "application/x-rtp");
    assert_eq!(caps.get::<&str>("media").unwrap(), "video");
    assert_eq!(caps.get::<&str>("encoding-name").unwrap(), "H264");
    assert_eq!(caps.get::<i32>("payload").unwrap(), 96);
    assert_eq!(caps.get::<i32>("clock-rate").unwrap(), 90_000);
    assert!(caps.has_field("sprop-parameter-sets"), "{caps}");
    for field in ["clock-base", "seqnum-base", "play-speed", "play-scale"] {
        assert!(caps.has_field(field), "{field}: {caps}");
    }
}

#[test]
fn queries_of_a_live_stream_are_answered() {
    if !have(&["x264enc"]) {
        return;
    }
    let server = LocalServer::avp(video("pay0"));
    let mut harness = harness(server.url());
    harness.pull().unwrap();
    let pad = harness.sinkpad().unwrap().peer().unwrap();

    let mut latency = gst::query::Latency::new();
    assert!(pad.query(&mut latency));
    let (live, min, max) = latency.result();
    assert!(live);
    assert_eq!((min, max), (gst::ClockTime::from_mseconds(120), None));
    // Settable while it plays.
    harness.element().unwrap().set_property("latency", 60u32);
    assert!(pad.query(&mut latency));
    assert_eq!(latency.result().1, gst::ClockTime::from_mseconds(60));

    let mut seeking = gst::query::Seeking::new(gst::Format::Time);
    assert!(pad.query(&mut seeking));
    assert!(!seeking.result().0, "a live stream does not seek");
    assert_eq!(pad.query_duration::<gst::ClockTime>(), None);
    let mut uri = gst::query::Uri::new();
    assert!(pad.query(&mut uri));
    assert_eq!(uri.uri().unwrap(), server.url());
    assert!(!harness.push_upstream_event(gst::event::Seek::new(
        1.0,
        gst::SeekFlags::FLUSH,
        gst::SeekType::Set,
        gst::ClockTime::ZERO,
        gst::SeekType::None,
        gst::ClockTime::NONE,
    )));
}

#[test]
fn force_key_unit_upstream_becomes_a_key_frame_of_the_server() {
    asks_for_a_key_frame(RTSPProfile::AVPF);
}

#[test]
// The server reads what is encrypted with the key that SETUP told it.
// covers: C-SRTP-11, B-SRTP-04
fn a_key_frame_is_asked_for_in_srtcp_too() {
    asks_for_a_key_frame(RTSPProfile::SAVPF);
}

/// The encoder makes one key frame by itself; each later one was asked for.
fn asks_for_a_key_frame(profile: RTSPProfile) {
    if !have(&["x264enc", "srtpdec"]) {
        return;
    }
    let launch = "videotestsrc is-live=true \
         ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 \
         ! x264enc name=encoder tune=zerolatency speed-preset=ultrafast key-int-max=10000 \
         option-string=scenecut=0 ! h264parse ! rtph264pay pt=96 \
         ! capsfilter name=pay0 caps=\"application/x-rtp,rtcp-fb-nack-pli=(boolean)true\"";
    let (keys, key_frames) = mpsc::channel();
    let server = LocalServer::start(launch.to_owned(), profile, move |bin| {
        let keys = keys.clone();
        let pad = bin.by_name("encoder").unwrap().static_pad("src").unwrap();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let flags = info.buffer().unwrap().flags();
            if !flags.contains(gst::BufferFlags::DELTA_UNIT) {
                // The test may be over.
                let _ = keys.send(());
            }
            gst::PadProbeReturn::Ok
        });
    });
    let mut harness = harness(server.url());
    for _ in 0..20 {
        harness.pull().unwrap();
    }
    assert_eq!(key_frames.try_iter().count(), 1, "the first frame");
    let request = gst::Structure::builder("GstForceKeyUnit").field("all-headers", true);
    let request = gst::event::CustomUpstream::new(request.build());
    assert!(harness.push_upstream_event(request));
    let mut seen = 0;
    wait_for("a key frame", SOON, || {
        seen += key_frames.try_iter().count();
        seen == 1
    });
}
