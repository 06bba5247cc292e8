//! The time of the sender on every buffer.

use std::time::Duration;

use crate::ntp_server::NtpServer;
use crate::support::mini::{Media, Mini, Script};
use crate::support::player::{Packet, Player};

const MS: u64 = 1_000_000;

/// The last packets, all of which have a time of the sender.
fn referenced(player: &Player) -> Vec<Packet> {
    player.wait("reference timestamps", |log| {
        let packets = log.packets("stream_0");
        let with = packets.iter().filter(|packet| packet.reference.is_some());
        with.count() >= 60
    });
    player.log(|log| {
        let packets = log.packets("stream_0");
        let first = packets.iter().position(|packet| packet.reference.is_some());
        // Once it is known it stays.
        packets[first.expect("there are some")..]
            .iter()
            .copied()
            .cloned()
            .collect()
    })
}

fn assert_right(packets: &[Packet], mini: &Mini, ahead: u64, name: &str) {
    for packet in packets {
        let (caps, time) = packet.reference.as_ref().expect("a reference");
        assert_eq!(caps.structure(0).map(|s| s.name().as_str()), Some(name));
        let captured = mini.captured_ntp(packet.rtp_time, Media::H264) + ahead;
        let off = time.abs_diff(captured);
        assert!(off <= MS, "{off} ns off");
    }
}

fn play(script: Script, transport: &str) -> (Mini, Player) {
    let mini = Mini::new(script);
    let player = Player::new(&mini.url())
        .with_str("protocols", transport)
        .with("add-reference-timestamp-meta", true)
        .play();
    (mini, player)
}

#[test]
fn a_sender_report_gives_every_buffer_its_capture_time() {
    for transport in ["tcp", "udp"] {
        let script = Script {
            reports: Some(Duration::from_millis(200)),
            // A clock that nobody has set.
            ntp_ahead: 5_000_000,
            ..Script::default()
        };
        let (mini, player) = play(script, transport);
        let packets = referenced(&player);
        assert_right(&packets, &mini, 5_000_000 * MS, "timestamp/x-ntp");
    }
}

// covers: C-ONVIF-09
#[test]
fn onvifs_extension_gives_it_from_the_first_packet_on() {
    let script = Script {
        onvif: true,
        ..Script::default()
    };
    let (mini, player) = play(script, "tcp");
    let packets = referenced(&player);
    assert_right(&packets, &mini, 0, "timestamp/x-ntp");
    let without = player.log(|log| {
        let packets = log.packets("stream_0");
        packets.iter().filter(|p| p.reference.is_none()).count()
    });
    assert_eq!(without, 0);
}

#[test]
fn it_is_switched_on_and_off_while_playing() {
    let mini = Mini::new(Script {
        onvif: true,
        ..Script::default()
    });
    let player = Player::new(&mini.url()).play();
    player.flows("stream_0", 30);
    assert!(player.log(|log| {
        log.packets("stream_0")
            .iter()
            .all(|p| p.reference.is_none())
    }));
    let player = player.with("add-reference-timestamp-meta", true);
    referenced(&player);
    let player = player.with("add-reference-timestamp-meta", false);
    player.wait("no more of them", |log| {
        log.packets("stream_0")
            .last()
            .is_some_and(|p| p.reference.is_none())
    });
}

// covers: B-CLK-02
#[test]
fn a_clock_of_the_description_is_what_the_time_is_of() {
    let ntp = NtpServer::start(Duration::ZERO);
    let mini = Mini::new(Script {
        refclk: Some(ntp.name()),
        ..Script::default()
    });
    let player = Player::new(&mini.url())
        .with("rfc7273-sync", true)
        .with("add-reference-timestamp-meta", true)
        .play();
    let packets = referenced(&player);
    let (caps, _) = packets[0].reference.clone().expect("a reference");
    let port = caps.structure(0).and_then(|s| s.get::<i32>("port").ok());
    assert!(port.is_some(), "{caps}");
    assert_right(&packets, &mini, 0, "timestamp/x-ntp");
}
