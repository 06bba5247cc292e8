//! RTCP goes back to the server.

use crate::support::mini::{Mini, Report, Script};
use crate::support::player::Player;

/// Packet types of a compound (RFC 3550 §6.1).
fn types(report: &Report) -> Vec<u8> {
    let mut types = Vec::new();
    let mut rest = report.packet.as_slice();
    while let [_, kind, high, low, ..] = *rest {
        types.push(kind);
        let length = 4 * (usize::from(u16::from_be_bytes([high, low])) + 1);
        rest = rest.get(length..).expect("whole packets");
    }
    types
}

// covers: C-KA-06, C-IL-05
#[test]
fn reports_go_over_the_rtcp_channel_and_end_with_bye() {
    let mini = Mini::new(Script::default());
    let player = Player::new(&mini.url()).play();
    player.flows("stream_0", 10);
    let reports = mini.reports(1);
    assert_eq!(reports[0].channel, 1);
    assert_eq!(types(&reports[0])[..2], [201, 202], "RR and SDES");
    // One report block, about the stream's source.
    assert_eq!(reports[0].packet[0], 0x81);
    assert_eq!(reports[0].packet[8..12], 0x1000u32.to_be_bytes());
    player.state(gst::State::Null);
    mini.wait_for("TEARDOWN", 1);
    let last = mini.reports(2).pop().expect("a report");
    assert!(types(&last).contains(&203), "{:?}", types(&last));
}

#[test]
fn without_do_rtcp_there_is_none() {
    let mini = Mini::new(Script {
        timeout: 2,
        ..Script::default()
    });
    let player = Player::new(&mini.url()).with("do-rtcp", false).play();
    player.flows("stream_0", 10);
    player.state(gst::State::Null);
    mini.wait_for("TEARDOWN", 1);
    assert!(mini.reports(0).is_empty());
}

#[test]
fn udp_gets_packets_that_open_a_nat_and_reports() {
    let mini = Mini::new(Script::default());
    let player = Player::new(&mini.url()).with_str("protocols", "udp").play();
    player.flows("stream_0", 10);
    // To both sockets at once; what goes to the media socket is a header of an unused payload type.
    let first = mini.reports(2);
    let punch = first
        .iter()
        .find(|r| r.channel == 0)
        .expect("to the media socket");
    assert_eq!(punch.packet.len(), 12);
    assert_ne!(punch.packet[1] & 0x7f, 96);
    let empty = first
        .iter()
        .find(|r| r.channel == 1)
        .expect("to the RTCP socket");
    assert_eq!(types(empty)[0], 201);
}
