//! Each lower transport with gst-rtsp-server.

use std::process::{Command, Stdio};

use crate::player::Player;
use crate::process::{Server, is_installed};

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
struct Namespace {
    name: String,
    inside: String,
    address: String,
}

impl Namespace {
    fn new() -> Result<Self, String> {
        if !is_installed("ip") {
            return Err("iproute2 is not installed".into());
        }
        let id = std::process::id();
        let name = format!("rtsp2p{id}");
        let (outside, inside) = (format!("r2o{id}"), format!("r2i{id}"));
        let net = format!("10.{}.{}", 64 + id / 256 % 64, id % 256);
        ip(&["netns", "add", &name])?;
        // From here on the namespace goes with its guard.
        let namespace = Self {
            address: format!("{net}.2"),
            name,
            inside,
        };
        let (name, inside) = (&namespace.name, &namespace.inside);
        let peer = ["type", "veth", "peer", "name", inside, "netns", name];
        ip(&[&["link", "add", &outside], &peer[..]].concat())?;
        ip(&["addr", "add", &format!("{net}.1/24"), "dev", &outside])?;
        ip(&["link", "set", &outside, "up"])?;
        ip(&[
            "-n",
            name,
            "addr",
            "add",
            &format!("{net}.2/24"),
            "dev",
            inside,
        ])?;
        ip(&["-n", name, "link", "set", inside, "up"])?;
        ip(&["-n", name, "link", "set", "lo", "up"])?;
        Ok(namespace)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The veth pair goes with it.
        let _ = ip(&["netns", "del", &self.name]);
    }
}

fn ip(args: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(args).stdin(Stdio::null()).output();
    let output = output.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("ip {}: {said}", args.join(" "))),
    }
}

#[test]
fn multicast_is_received_on_the_interface_of_the_connection() {
    let namespace = match Namespace::new() {
        Ok(namespace) => namespace,
        Err(reason) => {
            eprintln!("skipped: no network namespace: {reason}");
            return;
        }
    };
    let address = ["--address", &namespace.address];
    let multicast = ["--multicast", "--multicast-iface", &namespace.inside];
    let server = Server::start_through(
        &["ip", "netns", "exec", &namespace.name],
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
