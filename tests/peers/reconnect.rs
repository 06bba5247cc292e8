//! The server vanishes while it plays, and comes back.

use crate::SOON;
use crate::player::Player;
use crate::process::Server;

const BOTH: [&str; 2] = ["stream_0", "stream_1"];

fn killed_and_restarted(transport: &str, settings: &[(&str, &str)]) {
    let mut server = Server::start(&["--size", "320x240", "--bitrate", "400"]);
    let settings = [&[("protocols", transport)], settings].concat();
    let player = Player::new(server.url(), &settings).play();
    player.wait_packets(&BOTH, 30);
    let pads = player.pads();

    server.kill();
    player.wait("the loss is told", SOON, |p| p.was_told("connection-lost"));
    let before = BOTH.map(|pad| player.packets(pad));
    server.restart();
    player.wait("it comes back", SOON, |p| p.was_told("connection-restored"));
    player.wait_packets(&BOTH, 30);

    assert_eq!(player.pads(), pads, "the same pads");
    assert!(!player.has_ended());
    for (pad, before) in BOTH.iter().zip(before) {
        player.log(pad, |log| {
            assert!(!log.eos, "{pad}: EOS");
            assert_eq!(log.segments, 1, "{pad}: no new SEGMENT for a live stream");
            assert!(
                log.packets[before].discont,
                "{pad}: the first buffer is DISCONT"
            );
            assert!(
                log.packets[before].pts > log.packets[before - 1].pts,
                "{pad}: running time goes on"
            );
            let caps = log.caps.last().unwrap().structure(0).unwrap();
            let base: u32 = caps.get("clock-base").unwrap();
            // gst-rtsp-server computes it, some milliseconds off.
            let off = log.packets[before].rtp.wrapping_sub(base).cast_signed();
            assert!(off.abs() < 9_000, "{pad}: caps of the new PLAY, {off}");
        });
    }
    let reconnects: u64 = player.stats().get("reconnects").unwrap();
    assert_eq!(reconnects, 1);
}

#[test]
fn a_server_killed_and_restarted_flows_on_the_same_pads_tcp() {
    killed_and_restarted("tcp", &[]);
}

#[test]
fn a_server_killed_and_restarted_flows_on_the_same_pads_udp() {
    killed_and_restarted("udp", &[]);
}
