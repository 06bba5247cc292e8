//! Each lower transport with gst-rtsp-server.

use crate::netns::{Namespace, namespace};
use crate::player::Player;
use crate::process::Server;

const SMALL: [&str; 4] = ["--size", "320x240", "--bitrate", "400"];
const BOTH: [&str; 2] = ["stream_0", "stream_1"];

fn server(args: &[&str]) -> Server {
    Server::start(&[&SMALL, args].concat())
}

#[test]
// covers: B-IL-01
fn tcp_interleaved_carries_both_streams() {
    let server = server(&[]);
    let player = Player::new(server.url(), &[("protocols", "tcp")]).play();
    player.wait_packets(&BOTH, 100);
    assert_eq!(player.transport(), "tcp");
    let lost: Vec<u64> = streams(&player)
        .iter()
        .map(|s| s.get("lost").unwrap())
        .collect();
    assert_eq!(lost, [0, 0]);
}

#[test]
fn udp_carries_both_streams() {
    let server = server(&[]);
    let player = Player::new(server.url(), &[("protocols", "udp")]).play();
    player.wait_packets(&BOTH, 100);
    assert_eq!(player.transport(), "udp");
}

#[test]
fn transport_preference_udp_asks_for_udp_first() {
    let server = server(&[]);
    let player = Player::new(server.url(), &[("transport-preference", "udp")]).play();
    player.wait_packets(&BOTH, 30);
    assert_eq!(player.transport(), "udp");
}

#[test]
// covers: C-SETUP-07
fn a_server_that_refuses_tcp_is_played_over_udp() {
    let server = server(&["--protocols", "udp"]);
    let player = Player::new(server.url(), &[]).play();
    player.wait_packets(&BOTH, 30);
    assert_eq!(player.transport(), "udp");
}

#[test]
fn ipv6_works_over_tcp_and_udp() {
    let server = server(&["--address", "::1"]);
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("skipped: this machine has no IPv6");
        return;
    }
    for transport in ["tcp", "udp"] {
        let player = Player::new(server.url(), &[("protocols", transport)]).play();
        player.wait_packets(&BOTH, 30);
        assert_eq!(player.transport(), transport);
    }
}

/// gst-rtsp-server sends multicast neither to its own host nor lets others
/// bind the port there, so it lives in a network namespace.
#[test]
fn multicast_is_received_on_the_interface_of_the_connection() {
    let Some(namespace) = namespace(Namespace::new()) else {
        return;
    };
    let address = ["--address", &namespace.address];
    let multicast = ["--multicast", "--multicast-iface", &namespace.inside];
    let server = Server::start_through(
        &namespace.prefix(),
        &[&SMALL[..], &address, &multicast].concat(),
    );
    for settings in [&[][..], &[("protocols", "udp-mcast")]] {
        let player = Player::new(server.url(), settings).play();
        player.wait_packets(&BOTH, 30);
        assert_eq!(player.transport(), "multicast");
    }
}

fn streams(player: &Player) -> Vec<gst::Structure> {
    let list: gst::List = player.stats().get("streams").unwrap();
    list.iter().map(|stream| stream.get().unwrap()).collect()
}
