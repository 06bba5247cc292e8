//! Nothing of a file's start is lost, and live sources are not held.

use std::time::Duration;

use gst::prelude::*;

use crate::publisher::Publisher;
use crate::refusals::RTP;
use crate::scripted::{Rules, Scripted};
use crate::{h264, have};

/// The first packets of a file on the wire, and where they begin.
fn starts_of(packets: &[Vec<u8>]) -> u32 {
    let time = |packet: &Vec<u8>| u32::from_be_bytes(packet[4..8].try_into().unwrap());
    time(&packets[0])
}

#[test]
fn a_file_waits_for_a_slow_server() {
    if !have(&["x264enc"]) {
        return;
    }
    let server = Scripted::new(Rules {
        hang: Some("SETUP"),
        ..Default::default()
    });
    let video = format!(
        "{} ! rtph264pay timestamp-offset=1000 config-interval=-1",
        h264(100, false)
    );
    let publisher = Publisher::new(&server.url(), "", &[&video]).play();
    server.wait_request("SETUP", 1);
    // It stays asynchronous for as long as the server takes.
    let (result, current, _) = publisher.sink.state(gst::ClockTime::from_mseconds(300));
    assert_eq!(result, Ok(gst::StateChangeSuccess::Async), "{current:?}");
    server.set(|rules| rules.hang = None);
    publisher.wait_eos();
    let packets = server.wait_frames(0, 100);
    // x264enc begins at an offset of its own; the first picture has it.
    let first = starts_of(&packets);
    let times: std::collections::BTreeSet<u32> = packets
        .iter()
        .map(|packet| starts_of(std::slice::from_ref(packet)))
        .collect();
    assert_eq!(times.len(), 100, "every frame is there");
    assert_eq!(times.first(), Some(&first));
}

#[test]
fn a_live_source_is_not_held_by_a_slow_server() {
    crate::init();
    let server = Scripted::new(Rules {
        hang: Some("SETUP"),
        ..Default::default()
    });
    let line = format!(
        "rtspsink2 name=out location={} {} ! tee name=t ! out. t. ! queue ! fakesink name=other \
         async=false signal-handoffs=true",
        server.url(),
        RTP.replace("rtppcmupay", "identity name=live")
    );
    let publisher = Publisher::launch(&line);
    let (sender, came) = std::sync::mpsc::channel();
    let other = publisher.pipeline.by_name("other").unwrap();
    other.connect("handoff", false, move |_| {
        let _ = sender.send(());
        None
    });
    let publisher = publisher.play();
    server.wait_request("SETUP", 1);
    // Two seconds of sound pass while the server thinks.
    for _ in 0..100 {
        came.recv_timeout(crate::SOON)
            .expect("the other branch flows");
    }
    let (result, ..) = publisher.sink.state(gst::ClockTime::ZERO);
    assert_eq!(result, Ok(gst::StateChangeSuccess::Async));
    server.set(|rules| rules.hang = None);
    server.wait_frames(0, 20);
    let (result, current, _) = publisher.sink.state(gst::ClockTime::from_seconds(10));
    assert!(
        result.is_ok() && current == gst::State::Playing,
        "{current:?}"
    );
}

#[test]
fn a_start_that_is_called_off_does_not_wait_for_the_server() {
    for hang in ["OPTIONS", "ANNOUNCE", "SETUP", "RECORD"] {
        crate::init();
        let server = Scripted::new(Rules {
            hang: Some(hang),
            ..Default::default()
        });
        for live in [true, false] {
            let stream = RTP.replace("is-live=true", &format!("is-live={live}"));
            let publisher = Publisher::new(&server.url(), "", &[&stream]).play();
            server.wait_request(hang, 1);
            let before = std::time::Instant::now();
            publisher.set_state(gst::State::Null);
            let took = before.elapsed();
            assert!(
                took < Duration::from_secs(5),
                "{hang}, live {live}: {took:?}"
            );
        }
    }
}

#[test]
fn a_live_pad_that_has_caps_and_no_data_holds_nobody_up() {
    crate::init();
    let server = Scripted::new(Rules::default());
    let silent = "appsrc name=silent is-live=true format=time do-timestamp=true \
        caps=audio/x-alaw,rate=8000,channels=1";
    let publisher = Publisher::new(&server.url(), "", &[RTP, silent]).play();
    server.wait_frames(0, 50);
    // It is one of them, and is heard when it has something to say.
    let silent = publisher.pipeline.by_name("silent").unwrap();
    for _ in 0..3 {
        let buffer = gst::Buffer::from_slice([0u8; 160]);
        let _ = silent.emit_by_name::<gst::FlowReturn>("push-buffer", &[&buffer]);
    }
    server.wait_frames(2, 3);
    let (result, current, _) = publisher.pipeline.state(gst::ClockTime::from_seconds(30));
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(current, gst::State::Playing);
    assert_eq!(publisher.errors(), Vec::<String>::new());
}
