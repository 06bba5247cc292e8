//! Audio and video, on the client's clock as they were on the server's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use gst::prelude::*;

use crate::local::LocalServer;
use crate::player::Player;
use crate::{SOON, have, video};

/// RTP timestamp to the running time at which the server had it.
type Sent = Arc<Mutex<HashMap<u32, gst::ClockTime>>>;

fn record(bin: &gst::Bin, pay: &str, sent: &Sent) {
    let pad = bin.by_name(pay).unwrap().static_pad("src").unwrap();
    let sent = sent.clone();
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
    pad.add_probe(kinds, move |pad, info| {
        let mut sent = sent.lock().unwrap();
        let segment = pad.sticky_event::<gst::event::Segment>(0).unwrap();
        let segment = segment.segment().downcast_ref::<gst::ClockTime>().unwrap();
        let mut note = |buffer: &gst::BufferRef| {
            let mut rtp = [0; 4];
            if buffer.copy_to_slice(4, &mut rtp).is_ok()
                && let Some(at) = segment.to_running_time(buffer.pts())
            {
                sent.insert(u32::from_be_bytes(rtp), at);
            }
        };
        match &info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => note(buffer),
            Some(gst::PadProbeData::BufferList(list)) => list.iter().for_each(note),
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

fn stay_in_step(transport: &str) {
    if !have(&["x264enc", "opusenc"]) {
        return;
    }
    let sent: [Sent; 2] = Default::default();
    let probes = sent.clone();
    let server = LocalServer::start(
        format!(
            "{}  audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=1 ! opusenc \
             ! rtpopuspay name=pay1 pt=97",
            video("pay0")
        ),
        gst_rtsp::RTSPProfile::AVP,
        move |bin| {
            record(bin, "pay0", &probes[0]);
            record(bin, "pay1", &probes[1]);
        },
    );
    let player = Player::new(server.url(), &[("protocols", transport)]).play();
    player.wait_packets(&["stream_0", "stream_1"], 100);

    // For each stream: by how much the client's times are behind the server's.
    let delays = ["stream_0", "stream_1"]
        .iter()
        .zip(&sent)
        .map(|(pad, sent)| {
            let sent = sent.lock().unwrap();
            let delay = |packet: &crate::player::Packet| {
                let at = sent.get(&packet.rtp)?;
                Some(packet.pts.nseconds() as i64 - at.nseconds() as i64)
            };
            player.log(pad, |log| {
                log.packets.iter().filter_map(delay).collect::<Vec<_>>()
            })
        });
    let delays: Vec<Vec<i64>> = delays.collect();
    let ms = |ns: i64| ns as f64 / 1e6;
    let last = |stream: usize| ms(*delays[stream].last().expect("packets that were sent"));
    let apart = last(0) - last(1);
    assert!(apart.abs() < 25.0, "audio and video are {apart} ms apart");
    // Nothing drifts or jumps: the server is on the same machine.
    for (stream, delays) in delays.iter().enumerate() {
        let settled = &delays[delays.len() / 2..];
        let spread = settled.iter().max().unwrap() - settled.iter().min().unwrap();
        assert!(
            ms(spread) < 40.0,
            "stream {stream} wanders by {} ms",
            ms(spread)
        );
    }
}

#[test]
fn audio_and_video_stay_in_step_over_tcp() {
    stay_in_step("tcp");
}

#[test]
fn audio_and_video_stay_in_step_over_udp() {
    stay_in_step("udp");
}

#[test]
fn a_pad_left_unlinked_stops_nobody() {
    if !have(&["x264enc", "opusenc"]) {
        return;
    }
    let server = crate::process::Server::start(&["--size", "320x240", "--audio", "opus"]);
    for wanted in ["stream_0", "stream_1"] {
        let player = Player::with_sinks(server.url(), &[], move |pad| pad == wanted).play();
        player.wait_packets(&[wanted], 50);
        player.wait("both pads", SOON, |player| player.pads().len() == 2);
    }
}

#[test]
fn a_pad_linked_late_begins_with_a_discontinuity() {
    let server = crate::process::Server::start(&["--size", "320x240", "--audio", "opus"]);
    let player = Player::with_sinks(server.url(), &[], |pad| pad == "stream_0").play();
    player.wait_packets(&["stream_0"], 50);
    assert_eq!(player.packets("stream_1"), 0);
    let pads = player.pads();
    let pad = pads.iter().find(|pad| pad.name() == "stream_1").unwrap();
    let sink = gst::ElementFactory::make("fakesink").property("async", false);
    let sink = sink.property("sync", false).build().unwrap();
    player.pipeline.add(&sink).unwrap();
    sink.sync_state_with_parent().unwrap();
    pad.link(&sink.static_pad("sink").unwrap()).unwrap();
    player.wait_packets(&["stream_1"], 20);
    assert!(player.log("stream_1", |log| log.packets[0].discont));
}
