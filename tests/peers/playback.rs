//! Players that choose the source by its URI.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use gst::prelude::*;

use crate::local::LocalServer;
use crate::player::Player;
use crate::process::Server;
use crate::{SOON, have, silent_opus, video};

/// A sink that plays in time, and the number of buffers it has shown.
fn counting_sink() -> (gst::Element, Arc<AtomicUsize>) {
    let sink = gst::ElementFactory::make("fakesink")
        .property("sync", true)
        .property("signal-handoffs", true)
        .property("enable-last-sample", false)
        .build()
        .unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let shown = count.clone();
    sink.connect("handoff", false, move |_| {
        shown.fetch_add(1, Relaxed);
        None
    });
    (sink, count)
}

fn playbin(name: &str, url: &str) -> (Player, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    crate::init();
    let ((video_sink, video), (audio_sink, audio)) = (counting_sink(), counting_sink());
    let playbin = gst::ElementFactory::make(name)
        .property("uri", url)
        .property("video-sink", &video_sink)
        .property("audio-sink", &audio_sink)
        .build()
        .unwrap();
    playbin.connect("source-setup", false, |values| {
        let source: gst::Element = values[1].get().unwrap();
        if std::env::var("OLD").is_err() {
            assert_eq!(source.type_().name(), "GstRtsp2Src");
        }
        None
    });
    let pipeline = playbin.clone().downcast::<gst::Pipeline>().unwrap();
    (Player::of(pipeline, playbin).play(), video, audio)
}

fn plays_both(name: &str) {
    if !have(&[name, "avdec_h264", "opusdec"]) {
        return;
    }
    let server = Server::start(&["--size", "320x240", "--audio", "opus"]);
    let (player, video, audio) = playbin(name, server.url());
    player.wait("pictures and sound", SOON, |_| {
        video.load(Relaxed) > 40 && audio.load(Relaxed) > 40
    });
}

#[test]
fn playbin_plays_both() {
    plays_both("playbin");
}

#[test]
fn playbin3_plays_both() {
    plays_both("playbin3");
}

fn plays_video_though_the_audio_is_silent(name: &str) {
    if !have(&[name, "x264enc", "avdec_h264", "opusdec"]) {
        return;
    }
    let server = LocalServer::avp(format!("{} {}", video("pay0"), silent_opus("pay1")));
    let (player, pictures, sound) = playbin(name, server.url());
    player.wait("pictures", SOON, |_| pictures.load(Relaxed) > 60);
    assert_eq!(sound.load(Relaxed), 0);
    // And it is heard once it sends.
    server.element("cut").set_property("drop-probability", 0f32);
    let before = pictures.load(Relaxed);
    player.wait("sound and pictures", SOON, |_| {
        sound.load(Relaxed) > 20 && pictures.load(Relaxed) > before + 20
    });
}

#[test]
fn playbin_goes_on_while_the_audio_is_silent() {
    plays_video_though_the_audio_is_silent("playbin");
}

#[test]
fn playbin3_goes_on_while_the_audio_is_silent() {
    plays_video_though_the_audio_is_silent("playbin3");
}

fn decodes_both(name: &str) {
    if !have(&[name, "avdec_h264", "opusdec"]) {
        return;
    }
    let server = Server::start(&["--size", "320x240", "--audio", "opus"]);
    let bin = gst::ElementFactory::make(name)
        .property("uri", server.url())
        .build()
        .unwrap();
    let pipeline = gst::Pipeline::new();
    pipeline.add(&bin).unwrap();
    let counts: [Arc<AtomicUsize>; 2] = Default::default();
    let (added, target) = (counts.clone(), pipeline.downgrade());
    bin.connect_pad_added(move |_, pad| {
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let is_video = caps.structure(0).unwrap().name().starts_with("video/");
        let (sink, _) = counting_sink();
        target.upgrade().unwrap().add(&sink).unwrap();
        pad.link(&sink.static_pad("sink").unwrap()).unwrap();
        let count = added[usize::from(!is_video)].clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            count.fetch_add(1, Relaxed);
            gst::PadProbeReturn::Ok
        });
        sink.sync_state_with_parent().unwrap();
    });
    let player = Player::of(pipeline, bin).play();
    player.wait("both streams decoded", SOON, |_| {
        counts.iter().all(|count| count.load(Relaxed) > 40)
    });
}

#[test]
fn uridecodebin_decodes_both() {
    decodes_both("uridecodebin");
}

#[test]
fn uridecodebin3_decodes_both() {
    decodes_both("uridecodebin3");
}

#[test]
fn the_decoded_picture_is_the_test_picture() {
    if !have(&["x264enc", "avdec_h264"]) {
        return;
    }
    let server = LocalServer::avp(video("pay0"));
    let player = Player::launch(&format!(
        "rtspsrc2 name=src location={} ! rtph264depay ! h264parse ! avdec_h264 ! videoconvert \
         ! video/x-raw,format=GRAY8,width=320,height=240 ! appsink name=sink sync=false max-buffers=1",
        server.url()
    ))
    .play();
    let sink = player.pipeline.by_name("sink").unwrap();
    let sink = sink.downcast::<gst_app::AppSink>().unwrap();
    let frame = std::cell::RefCell::new(None);
    player.wait("a picture", SOON, |_| {
        let sample = sink.try_pull_sample(gst::ClockTime::ZERO);
        *frame.borrow_mut() = sample.and_then(|sample| sample.buffer_owned());
        frame.borrow().is_some()
    });
    let frame = frame
        .into_inner()
        .unwrap()
        .into_mapped_buffer_readable()
        .unwrap();
    // SMPTE bars: the left bar is light grey, the next ones get darker.
    let bar = |number: usize| {
        let x = 320 * number / 7 + 20;
        let column = (20..120).map(|y| f64::from(frame[y * 320 + x]));
        column.sum::<f64>() / 100.0
    };
    let bars: Vec<f64> = (0..7).map(bar).collect();
    assert!(bars.is_sorted_by(|a, b| a > &(b + 5.0)), "{bars:?}");
    assert!(bars[0] - bars[6] > 100.0, "not grey: {bars:?}");
}
