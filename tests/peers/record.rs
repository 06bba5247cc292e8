//! Muxers wait for all their pads: a silent one must not stop the others.

use std::collections::BTreeSet;
use std::path::Path;

use gst::prelude::*;

use crate::local::LocalServer;
use crate::media_file::{Track, decode};
use crate::player::Player;
use crate::process::Folder;
use crate::{SOON, have, silent_opus, video};

const NEEDED: [&str; 5] = ["x264enc", "opusenc", "mp4mux", "matroskamux", "avdec_h264"];

fn server() -> LocalServer {
    LocalServer::avp(format!("{} {}", video("pay0"), silent_opus("pay1")))
}

fn recorder(server: &LocalServer, muxer: &str, file: &Path) -> Player {
    Player::launch(&format!(
        "rtspsrc2 name=src location={} {muxer} name=mux ! filesink location={} \
         src.stream_0 ! rtph264depay ! h264parse ! queue ! mux. \
         src.stream_1 ! rtpopusdepay ! queue ! mux.",
        server.url(),
        file.display()
    ))
    .play()
}

fn seconds(time: gst::ClockTime) -> f64 {
    time.nseconds() as f64 / 1e9
}

/// Waits for 3 s of play; a muxer that waits for audio lets no video through.
fn wait_3_s(player: &Player) {
    player.wait("3 s of play", SOON, |player| {
        let uptime: Option<u64> = player.stats().get("uptime").ok();
        uptime.is_some_and(|uptime| uptime > 3_000_000_000)
    });
}

fn span(track: &Track) -> f64 {
    seconds(track.last) - seconds(track.first)
}

fn late_audio(muxer: &str) {
    if !have(&NEEDED) {
        return;
    }
    let (server, folder) = (server(), Folder::new());
    let file = folder.file("late");
    let player = recorder(&server, muxer, &file);
    wait_3_s(&player);
    let silent = player.log("stream_1", |log| log.packets.len());
    assert_eq!(silent, 0, "the audio is silent at first");
    server.element("cut").set_property("drop-probability", 0f32);
    player.wait_packets(&["stream_1"], 50);
    player.finish();

    let tracks = decode(&file);
    let [video, audio] = &tracks[..] else {
        panic!("two tracks: {tracks:?}");
    };
    assert_eq!((&*video.kind, &*audio.kind), ("video/x-raw", "audio/x-raw"));
    assert!(
        span(video) > 3.0,
        "the video is there from the start: {video:?}"
    );
    let late = seconds(audio.first) - seconds(video.first);
    assert!(
        (2.5..5.0).contains(&late),
        "audio {late} s after video: {tracks:?}"
    );
}

#[test]
fn audio_that_starts_3_s_late_is_recorded_by_mp4mux() {
    late_audio("mp4mux");
}

#[test]
fn audio_that_starts_3_s_late_is_recorded_by_matroskamux() {
    late_audio("matroskamux");
}

/// A depayloader that never had a packet has no segment for the muxer and gets
/// no GAP, so the muxer waits; what is queued for it is written at the end.
fn silent_audio(muxer: &str) {
    if !have(&NEEDED) {
        return;
    }
    let (server, folder) = (server(), Folder::new());
    let file = folder.file("silent");
    let player = recorder(&server, muxer, &file);
    wait_3_s(&player);
    let (packets, gaps) = player.log("stream_1", |log| (log.packets.len(), log.gaps));
    assert_eq!((packets, gaps), (0, 0), "packets and GAPs");
    player.finish();
    // A busy machine encodes fewer frames than it should; what came out of the source counts.
    let received = player.log("stream_0", |log| {
        let times: BTreeSet<u32> = log.packets.iter().map(|packet| packet.rtp).collect();
        times.len()
    });
    let tracks = decode(&file);
    let video = tracks.iter().find(|track| track.kind == "video/x-raw");
    // The end may cut the last access unit in two.
    let whole = |track: &Track| span(track) > 2.0 && track.frames + 1 >= received;
    assert!(
        video.is_some_and(whole),
        "{received} frames came, {tracks:?}"
    );
}

#[test]
fn a_silent_audio_track_costs_mp4mux_no_video() {
    silent_audio("mp4mux");
}

#[test]
fn a_silent_audio_track_costs_matroskamux_no_video() {
    silent_audio("matroskamux");
}

#[test]
fn audio_and_video_are_recorded_together() {
    if !have(&NEEDED) {
        return;
    }
    let (server, folder) = (server(), Folder::new());
    let file = folder.file("both.mp4");
    let player = recorder(&server, "mp4mux", &file);
    player.wait_packets(&["stream_0"], 1);
    server.element("cut").set_property("drop-probability", 0f32);
    wait_3_s(&player);
    player.finish();
    let tracks = decode(&file);
    let [video, audio] = &tracks[..] else {
        panic!("two tracks: {tracks:?}");
    };
    let apart = seconds(video.last) - seconds(audio.last);
    assert!(apart.abs() < 0.5, "both end together: {tracks:?}");
}
