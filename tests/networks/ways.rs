//! Ways that are only open in part: NATs and firewalls.

use crate::link::{Link, Weather};
use crate::support::mini::{Mini, Script};
use crate::support::player::Player;

fn play(weather: Weather) -> (Mini, Link, Player) {
    let mini = Mini::new(Script::default());
    let link = Link::to(mini.address().into(), weather);
    let player = Player::new(&link.url(&mini.url()))
        .with_str("transport-preference", "udp")
        .with("timeout", 2_000_000u64)
        .play();
    (mini, link, player)
}

fn transport(player: &Player) -> String {
    player.stats().get("transport").unwrap_or_default()
}

#[test]
fn a_server_behind_a_nat_plays() {
    // The NAT keeps the ports or not; the server names its own address or none.
    for (nat, source) in [(false, Some("192.168.1.10")), (true, None)] {
        let (_mini, _link, player) = play(Weather {
            nat,
            source,
            ..Weather::default()
        });
        player.flows("stream_0", 200);
        assert_eq!(transport(&player), "udp", "other ports: {nat}");
        player.has_no_error();
    }
}

// covers: C-SETUP-09
#[test]
fn with_udp_to_the_client_blocked_tcp_carries_the_media() {
    let (_mini, link, player) = play(Weather {
        deaf: true,
        ..Weather::default()
    });
    let switched = player.told("transport-switched", 1);
    assert_eq!(switched.get::<&str>("to"), Ok("tcp"));
    player.flows("stream_0", 100);
    assert_eq!(transport(&player), "tcp");
    assert!(link.counts().lost > 0);
    player.has_no_error();
}

#[test]
fn with_udp_to_the_server_blocked_the_media_comes_all_the_same() {
    let (mini, _link, player) = play(Weather {
        mute: true,
        ..Weather::default()
    });
    player.flows("stream_0", 300);
    assert_eq!(transport(&player), "udp");
    assert!(mini.reports(0).is_empty(), "nothing got through");
    player.has_no_error();
}
