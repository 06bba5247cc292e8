//! Pausing, stopping and starting again.

use gst::prelude::*;

use crate::player::Player;
use crate::process::Server;

const BOTH: [&str; 2] = ["stream_0", "stream_1"];

#[test]
fn pausing_ten_times_resumes_each_time() {
    let server = Server::start(&["--size", "320x240", "--bitrate", "400"]);
    for transport in ["tcp", "udp"] {
        let player = Player::new(server.url(), &[("protocols", transport)]).play();
        player.wait_packets(&BOTH, 10);
        for round in 0..10 {
            player.set_state(gst::State::Paused);
            let paused = player.pipeline.state(gst::ClockTime::from_seconds(5));
            assert_eq!(paused.1, gst::State::Paused, "{transport} round {round}");
            player.set_state(gst::State::Playing);
            player.wait_packets(&BOTH, 5);
        }
        for pad in BOTH {
            player.log(pad, |log| {
                assert_eq!(log.segments, 1);
                let disconts = log.packets.iter().filter(|packet| packet.discont).count();
                assert!(
                    disconts >= 10,
                    "{transport} {pad}: {disconts} discontinuities"
                );
                let back = log.packets.is_sorted_by_key(|packet| packet.pts);
                assert!(back, "{transport} {pad}: running time never goes back");
            });
        }
        assert!(!player.has_ended());
    }
}

#[test]
fn a_state_change_right_after_another_is_harmless() {
    let server = Server::start(&["--size", "320x240", "--bitrate", "400"]);
    let player = Player::new(server.url(), &[]);
    for _ in 0..10 {
        player.set_state(gst::State::Playing);
        player.set_state(gst::State::Ready);
        player.set_state(gst::State::Paused);
        player.set_state(gst::State::Null);
    }
    player.set_state(gst::State::Playing);
    player.wait_packets(&BOTH, 20);
}
