//! Request pads: payloaders, late and missing caps, requested and released at
//! every moment.

use gst::prelude::*;

use crate::publisher::Publisher;
use crate::recorder::Recorder;
use crate::refusals::RTP;
use crate::scripted::{Rules, Scripted};
use crate::{h264, have};

#[test]
fn the_payloader_can_be_set_up_by_the_application() {
    if !have(&["x264enc"]) {
        return;
    }
    let recorder = Recorder::new(&["rtph264depay"]);
    let publisher = Publisher::new(recorder.url(), "", &[&h264(50, false)]);
    publisher.sink.connect("new-payloader", false, |values| {
        let payloader = values[1].get::<gst::Element>().unwrap();
        assert_eq!(payloader.factory().unwrap().name(), "rtph264pay");
        assert_eq!(payloader.property::<u32>("mtu"), 1350);
        payloader.set_property("mtu", 700u32);
        None
    });
    let publisher = publisher.play();
    publisher.wait_eos();
    recorder.track(0, |track| {
        assert!(track.packets.iter().all(|packet| packet.size <= 700));
    });
    // Pads are the children, and what they use can be seen.
    let proxy = publisher
        .sink
        .dynamic_cast_ref::<gst::ChildProxy>()
        .unwrap();
    assert_eq!(proxy.children_count(), 1);
    let pad = proxy.child_by_name("sink_0").unwrap();
    assert!(pad.property::<Option<gst::Element>>("payloader").is_some());
}

#[test]
fn the_payloader_can_be_given() {
    if !have(&["avenc_aac", "rtpmp4apay"]) {
        return;
    }
    let recorder = Recorder::new(&["rtpmp4adepay"]);
    let audio =
        "audiotestsrc num-buffers=50 ! audio/x-raw,rate=48000,channels=1 ! avenc_aac ! aacparse";
    let publisher = Publisher::new(recorder.url(), "", &[audio]);
    let pad = publisher.sink.static_pad("sink_0").unwrap();
    let payloader = gst::ElementFactory::make("rtpmp4apay").build().unwrap();
    pad.set_property("payloader", &payloader);
    let publisher = publisher.play();
    publisher.wait_eos();
    recorder.track(0, |track| {
        let caps = track.caps.as_ref().unwrap().to_string();
        assert!(caps.contains("MP4A-LATM"), "{caps}");
    });
}

#[test]
// covers: P-PUB-03
fn the_announcement_has_a_media_for_each_pad_in_order() {
    if !have(&["x264enc"]) {
        return;
    }
    let server = Scripted::new(Rules::default());
    let publisher = Publisher::new(&server.url(), "", &[RTP, &h264(-1, true)]).play();
    let announce = server.wait_request("ANNOUNCE", 1);
    let header = |name| crate::support::wire::header(&announce.headers, name);
    assert_eq!(header("Content-Type"), Some("application/sdp"));
    let agent = header("User-Agent").unwrap();
    assert!(!agent.starts_with("GStreamer"), "{agent}");
    let sdp = &announce.body;
    let media: Vec<&str> = sdp.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(media.len(), 2, "{sdp}");
    assert!(media[0].starts_with("m=audio 0 RTP/AVP 0"), "{sdp}");
    for line in [
        "a=ts-refclk:local",
        "a=mediaclk:sender",
        "b=AS:",
        "t=0 0",
        "a=rtpmap:",
    ] {
        assert!(sdp.contains(line), "{line}: {sdp}");
    }
    server.wait_request("SETUP", 2);
    server.wait_frames(0, 5);
    server.wait_frames(2, 5);
    drop(publisher);
    server.wait_request("TEARDOWN", 1);
}

#[test]
// Ten seconds, which is what the rule says.
fn a_pad_without_caps_is_left_out_after_ten_seconds() {
    crate::init();
    let server = Scripted::new(Rules::default());
    let never = "appsrc name=never format=time is-live=true";
    let publisher = Publisher::new(&server.url(), "", &[RTP, never]).play();
    let warning = publisher.wait_warning();
    assert!(warning.contains("sink_1"), "{warning}");
    let announce = server.wait_request("ANNOUNCE", 1);
    assert_eq!(announce.body.matches("m=").count(), 1, "{}", announce.body);
    server.wait_frames(0, 10);
    // What comes there later is drained.
    let never = publisher.pipeline.by_name("never").unwrap();
    let caps: gst::Caps = "audio/x-mulaw,rate=8000,channels=1".parse().unwrap();
    never.set_property("caps", &caps);
    for _ in 0..3 {
        let buffer = gst::Buffer::from_slice([0u8; 160]);
        let _ = never.emit_by_name::<gst::FlowReturn>("push-buffer", &[&buffer]);
    }
    let more = server.frames(0) + 10;
    server.wait_frames(0, more);
    assert_eq!(publisher.errors(), Vec::<String>::new());
}

#[test]
fn a_pad_that_ends_without_data_holds_nobody_up() {
    if !have(&["x264enc"]) {
        return;
    }
    let recorder = Recorder::new(&["rtph264depay"]);
    let nothing = "fakesrc num-buffers=0";
    let publisher = Publisher::new(recorder.url(), "", &[&h264(50, false), nothing]).play();
    publisher.wait_eos();
    recorder.wait_film(0, 50);
}

#[test]
fn what_nothing_payloads_is_an_error_that_names_the_pad() {
    crate::init();
    let server = Scripted::new(Rules::default());
    let odd = "appsrc name=odd caps=text/x-odd";
    let publisher = Publisher::new(&server.url(), "", &[odd]).play();
    let source = publisher.pipeline.by_name("odd").unwrap();
    let buffer = gst::Buffer::from_slice([0u8; 16]);
    let _ = source.emit_by_name::<gst::FlowReturn>("push-buffer", &[&buffer]);
    let (_, text) = publisher.wait_error();
    assert!(
        text.contains("sink_0") && text.contains("text/x-odd"),
        "{text}"
    );
}

/// Adds a branch of sound to a pipeline that may run.
fn add_branch(publisher: &Publisher) -> (gst::Element, gst::Pad) {
    let bin = gst::parse::bin_from_description(RTP, true).unwrap();
    publisher.pipeline.add(&bin).unwrap();
    let pad = publisher.sink.request_pad_simple("sink_%u").unwrap();
    bin.static_pad("src").unwrap().link(&pad).unwrap();
    bin.sync_state_with_parent().unwrap();
    (bin.upcast(), pad)
}

/// Its source is stopped first, or it would say that nobody is there.
fn remove_branch(publisher: &Publisher, (bin, pad): (gst::Element, gst::Pad)) {
    publisher.pipeline.remove(&bin).unwrap();
    bin.set_state(gst::State::Null).unwrap();
    publisher.sink.release_request_pad(&pad);
}

#[test]
fn pads_come_and_go_at_every_moment() {
    crate::init();
    for hang in [None, Some("ANNOUNCE"), Some("SETUP"), Some("RECORD")] {
        let server = Scripted::new(Rules {
            hang,
            ..Default::default()
        });
        let publisher = Publisher::new(&server.url(), "", &[RTP]);
        // Before the start, and gone again.
        let early = add_branch(&publisher);
        remove_branch(&publisher, early);
        let kept = add_branch(&publisher);
        let publisher = publisher.play();
        if let Some(hang) = hang {
            server.wait_request(hang, 1);
        }
        let late = add_branch(&publisher);
        remove_branch(&publisher, kept);
        server.set(|rules| rules.hang = None);
        remove_branch(&publisher, late);
        server.wait_request("RECORD", 1);
        let more = server.frames(0) + 10;
        server.wait_frames(0, more);
        assert_eq!(publisher.errors(), Vec::<String>::new(), "{hang:?}");
    }
}

#[test]
fn a_pad_that_comes_while_it_is_published_is_announced_anew() {
    crate::init();
    let server = Scripted::new(Rules::default());
    let publisher = Publisher::new(&server.url(), "", &[RTP]).play();
    server.wait_frames(0, 10);
    let _branch = add_branch(&publisher);
    let again = server.wait_request("ANNOUNCE", 2);
    assert_eq!(again.body.matches("m=").count(), 2, "{}", again.body);
    server.wait_frames(2, 10);
    assert_eq!(publisher.errors(), Vec::<String>::new());
}

#[test]
// Ten seconds, which is what the rule says.
fn a_pad_without_caps_that_comes_while_it_is_published_is_left_out_after_ten_seconds() {
    crate::init();
    let server = Scripted::new(Rules::default());
    let publisher = Publisher::new(&server.url(), "", &[RTP]).play();
    server.wait_frames(0, 10);
    let _never = publisher.sink.request_pad_simple("sink_%u").unwrap();
    let _branch = add_branch(&publisher);
    let warning = publisher.wait_warning();
    assert!(warning.contains("sink_1"), "{warning}");
    let again = server.wait_request("ANNOUNCE", 2);
    assert_eq!(again.body.matches("m=").count(), 2, "{}", again.body);
    assert_eq!(publisher.errors(), Vec::<String>::new());
}

#[test]
fn a_pad_that_comes_after_the_only_one_was_released_is_published() {
    crate::init();
    let server = Scripted::new(Rules::default());
    let other = "fakesrc num-buffers=0 ! fakesink async=false";
    let line = format!("rtspsink2 name=out location={} {other}", server.url());
    let publisher = Publisher::launch(&line);
    let first = add_branch(&publisher);
    let publisher = publisher.play();
    server.wait_frames(0, 10);
    remove_branch(&publisher, first);
    server.wait_request("TEARDOWN", 1);
    let before = server.frames(0);
    let _second = add_branch(&publisher);
    server.wait_request("ANNOUNCE", 2);
    server.wait_frames(0, before + 10);
    assert_eq!(publisher.errors(), Vec::<String>::new());
}
