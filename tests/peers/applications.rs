//! Elements and programs that people put around a source.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use gst::prelude::*;

use crate::local::LocalServer;
use crate::media_file::decode;
use crate::player::Player;
use crate::process::{Folder, Process, Server, gst_tool};
use crate::{SOON, have, video};

/// Counts what passes a pad.
fn count(pad: &gst::Pad) -> Arc<AtomicUsize> {
    let count = Arc::<AtomicUsize>::default();
    let counted = count.clone();
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
    pad.add_probe(kinds, move |_, _| {
        counted.fetch_add(1, Relaxed);
        gst::PadProbeReturn::Ok
    });
    count
}

fn count_into(player: &Player, sink: &str) -> Arc<AtomicUsize> {
    let sink = player.pipeline.by_name(sink).expect("a sink");
    count(&sink.static_pad("sink").unwrap())
}

#[test]
fn parsebin_parses() {
    if !have(&["x264enc", "parsebin"]) {
        return;
    }
    let server = LocalServer::avp(video("pay0"));
    let player = Player::launch(&format!(
        "rtspsrc2 name=src location={} ! parsebin ! fakesink name=sink sync=false",
        server.url()
    ))
    .play();
    let parsed = count_into(&player, "sink");
    player.wait("parsed frames", SOON, |_| parsed.load(Relaxed) > 25);
    let sink = player.pipeline.by_name("sink").unwrap();
    let caps = sink.static_pad("sink").unwrap().current_caps().unwrap();
    let caps = caps.structure(0).unwrap();
    assert_eq!(caps.name(), "video/x-h264");
    assert_eq!(caps.get::<bool>("parsed"), Ok(true), "{caps}");
}

#[test]
fn gst_discoverer_describes_both_streams() {
    crate::init();
    let server = Server::start(&["--size", "320x240", "--audio", "opus"]);
    let mut command = gst_tool("gst-discoverer-1.0");
    command
        .env("GST_PLUGIN_FEATURE_RANK", "rtspsrc2:MAX")
        .args(["-v", "-t", "30", server.url()]);
    let mut process = Process::spawn(command.stdout(Stdio::piped()));
    let (status, output) = process.output(SOON * 2);
    assert!(status.success(), "{status}: {output}");
    for part in [
        "video/x-h264",
        "audio/x-opus",
        "Width: 320",
        "Live: yes",
        "Seekable: no",
    ] {
        assert!(output.contains(part), "no {part:?} in {output}");
    }
}

#[test]
fn splitmuxsink_cuts_the_recording_into_files_that_play() {
    if !have(&["x264enc", "splitmuxsink", "mp4mux", "avdec_h264"]) {
        return;
    }
    let (server, folder) = (LocalServer::avp(video("pay0")), Folder::new());
    let player = Player::launch(&format!(
        "rtspsrc2 name=src location={} ! rtph264depay ! h264parse \
         ! splitmuxsink max-size-time=1000000000 location={}",
        server.url(),
        folder.file("%05d.mp4").display()
    ))
    .play();
    let file = |number: usize| folder.file(&format!("{number:05}.mp4"));
    player.wait("a third file", SOON, |_| file(2).exists());
    player.finish();
    let received = player.log("stream_0", |log| {
        let times = log.packets.iter().map(|packet| packet.rtp);
        times.collect::<std::collections::BTreeSet<u32>>().len()
    });
    let mut frames = 0;
    for number in 0..3 {
        let tracks = decode(&file(number));
        assert_eq!(tracks.len(), 1, "{tracks:?}");
        assert!(tracks[0].frames > 0, "{tracks:?}");
        frames += tracks[0].frames;
    }
    let rest = (3..).map(file).take_while(|file| file.exists());
    frames += rest.map(|file| decode(&file)[0].frames).sum::<usize>();
    // The end may cut the last frame in two.
    assert!(frames + 1 >= received, "{frames} of {received}");
}

#[test]
fn tee_feeds_several_sinks_one_of_which_keeps_time() {
    if !have(&["x264enc", "avdec_h264"]) {
        return;
    }
    let server = LocalServer::avp(video("pay0"));
    let player = Player::launch(&format!(
        "rtspsrc2 name=src location={} ! rtph264depay ! h264parse ! tee name=t \
         t. ! queue ! avdec_h264 ! fakesink name=shown sync=true \
         t. ! queue ! fakesink name=stored sync=false \
         t. ! queue leaky=downstream max-size-buffers=1 ! fakesink name=slow sync=false",
        server.url()
    ));
    let slow = player.pipeline.by_name("slow").unwrap();
    slow.static_pad("sink")
        .unwrap()
        .add_probe(gst::PadProbeType::BUFFER, |_, _| {
            std::thread::sleep(Duration::from_millis(200));
            gst::PadProbeReturn::Ok
        });
    let (shown, stored) = (count_into(&player, "shown"), count_into(&player, "stored"));
    let player = player.play();
    player.wait("all sinks", SOON, |_| {
        shown.load(Relaxed) > 50 && stored.load(Relaxed) > 50
    });
}

#[test]
fn a_funnel_goes_on_when_one_of_its_sources_is_stopped() {
    if !have(&["x264enc"]) {
        return;
    }
    let server = LocalServer::avp(video("pay0"));
    let line = |name: &str| {
        format!(
            "rtspsrc2 name={name} location={} ! rtph264depay ! h264parse ! identity name=of_{name} ! f.",
            server.url()
        )
    };
    let player = Player::launch(&format!(
        "funnel name=f ! fakesink name=sink sync=false {} {}",
        line("src"),
        line("other")
    ))
    .play();
    let of = |name: &str| {
        let element = player.pipeline.by_name(name).unwrap();
        count(&element.static_pad("src").unwrap())
    };
    let (one, other) = (of("of_src"), of("of_other"));
    player.wait("both sources", SOON, |_| {
        one.load(Relaxed) > 25 && other.load(Relaxed) > 25
    });
    // No FLUSH, no EOS: neither would leave the sink to the other one.
    player.src.set_locked_state(true);
    player.src.set_state(gst::State::Null).unwrap();
    assert_eq!(player.src.num_pads(), 0);
    let all = count_into(&player, "sink");
    let before = one.load(Relaxed);
    player.wait("the other source", SOON, |_| all.load(Relaxed) > 50);
    assert!(one.load(Relaxed) <= before + 1, "it has stopped");
    assert!(!player.has_ended());
}

#[test]
fn an_appsink_whose_callback_blocks_gets_new_frames_all_the_same() {
    if !have(&["x264enc", "avdec_h264"]) {
        return;
    }
    let server = LocalServer::avp(video("pay0"));
    let player = Player::launch(&format!(
        "rtspsrc2 name=src location={} ! rtph264depay ! h264parse ! avdec_h264 \
         ! appsink name=sink sync=false max-buffers=1 drop=true",
        server.url()
    ));
    let sink = player.pipeline.by_name("sink").unwrap();
    let sink = sink.downcast::<gst_app::AppSink>().unwrap();
    let frames = Arc::<AtomicUsize>::default();
    let seen = frames.clone();
    sink.set_callbacks(
        gst_app::AppSinkCallbacks::builder()
            .new_sample(move |sink| {
                let _ = sink.pull_sample();
                seen.fetch_add(1, Relaxed);
                std::thread::sleep(Duration::from_millis(150));
                Ok(gst::FlowSuccess::Ok)
            })
            .build(),
    );
    let player = player.play();
    player.wait("frames", SOON, |_| frames.load(Relaxed) > 20);
    assert!(!player.was_told("connection-lost"));
}
