//! Links that are cut, addresses that change, networks without IPv4: with a
//! gst-rtsp-server in a network namespace.

use std::time::{Duration, Instant, SystemTime};

use gst::prelude::*;

use crate::netns::{Namespace, namespace};
use crate::process::Server;
use crate::support::player::{Packet, Player};
use crate::support::wire::ntp_nanos;

const SMALL: [&str; 6] = ["--size", "320x240", "--bitrate", "400", "--audio", "none"];

pub fn server(namespace: &Namespace) -> Server {
    let address = ["--address", &namespace.address];
    Server::start_through(&namespace.prefix(), &[&SMALL[..], &address].concat())
}

fn play(server: &Server, transport: &str) -> Player {
    let player = Player::new(server.url())
        .with_str("protocols", transport)
        .with("add-reference-timestamp-meta", true)
        .play();
    player.flows("stream_0", 50);
    player
}

fn reconnects(player: &Player) -> u64 {
    player.stats().get("reconnects").expect("a count")
}

/// Its time in the pipeline and, by the sender's clock, that of its capture.
fn captured(packet: &&Packet) -> Option<(gst::ClockTime, u64)> {
    Some((packet.pts?, packet.reference.as_ref()?.1))
}

/// Presentation less capture time of the last frames by the sender's reports, in
/// milliseconds.
fn delay(player: &Player) -> f64 {
    let clock = player.pipeline.clock().expect("a clock");
    let base = player.pipeline.base_time().expect("a base time");
    let (running, now) = (clock.time() - base, ntp_nanos(SystemTime::now()));
    let recent = || -> Vec<f64> {
        player.log(|log| {
            let packets = log.packets("stream_0");
            let last = packets.iter().rev().take(25);
            let last = last.map_while(captured);
            last.map(|(pts, capture)| {
                let ago = now as i64 - capture as i64;
                let shown_ago = running.nseconds() as i64 - pts.nseconds() as i64;
                (ago - shown_ago) as f64 / 1e6
            })
            .collect()
        })
    };
    // A new connection knows its sender's clock with the first report.
    player.wait("a sender report", |log| {
        log.packets("stream_0").last().and_then(captured).is_some()
    });
    recent().into_iter().fold(f64::MIN, f64::max)
}

/// Cuts the link for so long; how long after its return media flows, and how
/// long until its delay is what it was.
fn cut(transport: &str, length: Duration) -> Option<(Duration, Player)> {
    let namespace = namespace(Namespace::new())?;
    let server = server(&namespace);
    let player = play(&server, transport);
    let before = delay(&player);
    namespace.cut().expect("a link");
    std::thread::sleep(length);
    let seen = player.log(|log| log.packets("stream_0").len());
    namespace.mend().expect("a link");
    let back = Instant::now();
    player.wait("media after the cut", |log| {
        log.packets("stream_0").len() > seen + 10
    });
    let took = back.elapsed();
    println!("{transport}, cut of {length:?}: media after {took:?}");
    crate::process::wait_for("the former delay", Duration::from_secs(30), || {
        player.flows("stream_0", 25);
        let now = delay(&player);
        println!(
            "{transport}: {now:.1} ms of delay after {:?}, {before:.1} before",
            back.elapsed()
        );
        // What the server's reports say differs by as much from session to session.
        now < before + 100.0
    });
    player.has_no_error();
    drop(server);
    Some((took, player))
}

#[test]
fn a_short_cut_goes_by_without_a_new_connection() {
    for transport in ["tcp", "udp"] {
        let Some((_, player)) = cut(transport, Duration::from_secs(1)) else {
            return;
        };
        assert_eq!(reconnects(&player), 0, "{transport}");
    }
}

#[test]
fn a_cut_of_15_s_is_over_5_s_after_the_link_returns() {
    if !crate::long() {
        return;
    }
    for transport in ["tcp", "udp"] {
        let Some((took, player)) = cut(transport, Duration::from_secs(15)) else {
            return;
        };
        assert!(took < Duration::from_secs(5), "{transport}: {took:?}");
        assert_eq!(reconnects(&player), 1, "{transport}");
    }
}

#[test]
fn an_address_that_changes_is_a_new_connection_from_the_new_one() {
    let Some(namespace) = namespace(Namespace::new()) else {
        return;
    };
    let server = server(&namespace);
    let player = Player::new(server.url())
        .with("stall-timeout", 2_000_000_000u64)
        .with_str("protocols", "tcp")
        .play();
    player.flows("stream_0", 50);
    namespace.change_address(1, 3).expect("an address");
    player.told("connection-lost", 1);
    player.told("connection-restored", 1);
    player.flows("stream_0", 50);
    player.has_no_error();
}

#[test]
fn a_network_without_ipv4_carries_tcp_and_udp() {
    let Some(namespace) = namespace(Namespace::ipv6()) else {
        return;
    };
    let server = server(&namespace);
    assert!(server.url().contains('['), "{}", server.url());
    for transport in ["tcp", "udp"] {
        let player = play(&server, transport);
        let used: String = player.stats().get("transport").expect("a transport");
        assert_eq!(used, transport);
        player.has_no_error();
    }
}
