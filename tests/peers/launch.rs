//! The lines that people type after `gst-launch-1.0`.

use std::process::Stdio;
use std::time::Duration;

use gst::prelude::*;
use nix::sys::signal::Signal;

use crate::media_file::decode;
use crate::process::{Folder, Process, Server, gst_launch, is_installed, wait_for};
use crate::{SOON, have};

fn is_there() -> bool {
    let there = is_installed("gst-launch-1.0");
    if !there {
        crate::skip::skip("gst-launch-1.0 is not installed");
    }
    there
}

/// Runs a line to its end, which `num-buffers` of a sink brings about.
fn runs(line: &str) {
    let mut command = gst_launch();
    command.args(["--quiet"]).args(line.split_whitespace());
    let mut process = Process::spawn(command.stdout(Stdio::piped()));
    let (status, output) = process.output(SOON * 2);
    assert!(status.success(), "{line}: {status}: {output}");
}

#[test]
fn a_pad_is_named_by_its_m_line() {
    if !is_there() {
        return;
    }
    let server = Server::start(&["--size", "320x240", "--audio", "opus"]);
    let url = server.url();
    runs(&format!(
        "rtspsrc2 name=src location={url} \
         src.stream_1 ! rtpopusdepay ! opusdec ! fakesink num-buffers=20 \
         src.stream_0 ! rtph264depay ! h264parse ! fakesink num-buffers=20"
    ));
}

#[test]
fn a_line_with_decodebin_plays() {
    if !is_there() || !have(&["avdec_h264"]) {
        return;
    }
    let server = Server::start(&["--size", "320x240", "--audio", "none"]);
    let url = server.url();
    runs(&format!(
        "rtspsrc2 location={url} ! decodebin ! videoconvert ! fakesink num-buffers=20"
    ));
}

#[test]
fn media_video_sets_up_the_video_only() {
    if !is_there() {
        return;
    }
    let server = Server::start(&["--size", "320x240"]);
    let url = server.url();
    // With the audio pad this line would fail now and then: it takes the first pad.
    runs(&format!(
        "rtspsrc2 media=video location={url} ! rtph264depay ! h264parse ! fakesink num-buffers=20"
    ));
    let player = crate::player::Player::new(url, &[("media", "video")]).play();
    player.wait_packets(&["stream_0"], 50);
    let names: Vec<String> = player.pads().iter().map(|pad| pad.name().into()).collect();
    assert_eq!(names, ["stream_0"]);
    let streams: gst::List = player.stats().get("streams").unwrap();
    assert_eq!(streams.len(), 1);
}

#[test]
// `gst-launch -e`: SIGINT becomes an EOS event that finishes the file.
fn a_recording_that_sigint_ends_plays() {
    if !is_there() || !have(&["mp4mux", "avdec_h264"]) {
        return;
    }
    let server = Server::start(&["--size", "320x240", "--audio", "none"]);
    let folder = Folder::new();
    let file = folder.file("recorded.mp4");
    let (url, to) = (server.url(), file.display());
    let line = format!(
        "-e rtspsrc2 location={url} ! rtph264depay ! h264parse ! mp4mux ! filesink location={to}"
    );
    let mut command = gst_launch();
    command.args(["--quiet"]).args(line.split_whitespace());
    let mut process = Process::spawn(command.stdout(Stdio::piped()));
    let size = || file.metadata().map_or(0, |file| file.len());
    wait_for("the recording grows", SOON * 2, || {
        assert!(process.is_running(), "gst-launch has ended");
        size() > 60_000
    });
    process.signal(Signal::SIGINT);
    let (status, output) = process.output(Duration::from_secs(15));
    assert!(status.success(), "{status}: {output}");

    let tracks = decode(&file);
    assert_eq!(tracks.len(), 1, "{tracks:?}");
    let video = &tracks[0];
    assert!(video.kind == "video/x-raw" && video.frames > 5, "{video:?}");
    let length = video.last - video.first;
    // 25 frames a second, evenly.
    let expected = gst::ClockTime::from_mseconds(40 * (video.frames as u64 - 1));
    let error = length.absdiff(expected);
    assert!(error < gst::ClockTime::from_mseconds(200), "{video:?}");
}
