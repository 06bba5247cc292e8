//! Transports are tried in turn, and the pads stay.

use crate::support::mini::{Grant, Media, Mini, Script};
use crate::support::player::Player;

const STREAM: &str = "stream_0";

fn transport(player: &Player) -> String {
    player.stats().get("transport").expect("a transport")
}

/// The Transport of each SETUP.
fn asked(mini: &Mini) -> Vec<String> {
    let requests = mini.requests();
    let set_ups = requests.iter().filter(|r| r.method == "SETUP");
    set_ups
        .map(|r| r.header("Transport").expect("Transport").to_string())
        .collect()
}

#[test]
fn tcp_is_asked_for_first() {
    let mini = Mini::new(Script::default());
    let player = Player::new(&mini.url()).play();
    player.flows(STREAM, 10);
    assert!(
        asked(&mini)[0].starts_with("RTP/AVP/TCP"),
        "{:?}",
        asked(&mini)
    );
    assert_eq!(transport(&player), "tcp");
    player.log(|log| {
        let packets = log.packets(STREAM);
        assert_eq!(packets[0].seq, 65_500, "from the very first packet on");
        assert!(
            packets
                .windows(2)
                .all(|p| p[1].seq == p[0].seq.wrapping_add(1))
        );
    });
}

#[test]
fn udp_flows() {
    let mini = Mini::new(Script {
        streams: vec![Media::H264, Media::Pcmu],
        ..Script::default()
    });
    let player = Player::new(&mini.url()).with_str("protocols", "udp").play();
    player.flows("stream_0", 60);
    player.flows("stream_1", 60);
    assert_eq!(transport(&player), "udp");
    for stream in 0..2 {
        assert_eq!(player.stream_stats(stream).get::<u64>("lost"), Ok(0));
    }
    player.log(|log| {
        assert!(log.told("rtspsrc2-transport-switched").is_empty());
        assert!(log.packets("stream_0")[0].discont);
    });
}

// covers: C-SETUP-10
#[test]
fn a_tcp_grant_to_a_udp_ask_is_taken() {
    let mini = Mini::new(Script {
        grant: Grant::Tcp,
        ..Script::default()
    });
    let player = Player::new(&mini.url())
        .with_str("transport-preference", "udp")
        .play();
    player.flows(STREAM, 10);
    assert_eq!(mini.count("SETUP"), 1);
    assert!(!asked(&mini)[0].starts_with("RTP/AVP/TCP"));
    assert_eq!(transport(&player), "tcp");
    player.has_no_error();
}

#[test]
fn a_transport_that_is_refused_is_followed_by_the_next() {
    let mini = Mini::new(Script {
        streams: vec![Media::H264, Media::Pcmu],
        grant: Grant::NoUdp,
        ..Script::default()
    });
    let player = Player::new(&mini.url())
        .with_str("transport-preference", "udp")
        .play();
    player.flows("stream_0", 10);
    player.flows("stream_1", 10);
    assert_eq!(transport(&player), "tcp");
    let asked = asked(&mini);
    assert!(!asked[0].starts_with("RTP/AVP/TCP"), "{asked:?}");
    // What was refused for the first stream is not asked for the second.
    assert_eq!(asked.len(), 3, "{asked:?}");
    player.has_no_error();
    // What worked is asked for first when the server comes back.
    mini.drop_connections();
    player.told("connection-restored", 1);
    let again = self::asked(&mini);
    assert!(
        again[3..].iter().all(|t| t.starts_with("RTP/AVP/TCP")),
        "{again:?}"
    );
}

// covers: C-SETUP-08
#[test]
fn streams_that_a_server_does_not_mix_all_flow_over_what_suits_them() {
    let mini = Mini::new(Script {
        streams: vec![Media::H264, Media::Pcmu],
        grant: Grant::Unmixed,
        ..Script::default()
    });
    let player = Player::new(&mini.url()).play();
    player.flows("stream_0", 30);
    player.flows("stream_1", 30);
    assert_eq!(transport(&player), "udp");
    player.has_no_error();
    player.log(|log| {
        assert_eq!(log.pads.len(), 2, "one for each");
        for stream in ["stream_0", "stream_1"] {
            assert_eq!(log.packets(stream)[0].seq, 65_500, "from one session only");
        }
    });
    assert_eq!(mini.count("TEARDOWN"), 1);
    // The next time it is asked for first, and nothing has to be done again.
    let before = mini.count("SETUP");
    mini.drop_connections();
    player.told("connection-restored", 1);
    assert_eq!(mini.count("SETUP"), before + 2);
}

#[test]
fn a_refusal_without_another_transport_is_an_error() {
    let mini = Mini::new(Script {
        grant: Grant::NoUdp,
        ..Script::default()
    });
    let player = Player::new(&mini.url()).with_str("protocols", "udp").play();
    let (error, details) = player.error();
    assert!(error.matches(gst::ResourceError::Settings), "{error:?}");
    assert_eq!(
        details.expect("details").get::<u32>("rtsp-status-code"),
        Ok(461)
    );
}

#[test]
fn udp_that_stays_silent_becomes_tcp_on_the_same_pads() {
    let mini = Mini::new(Script {
        streams: vec![Media::H264, Media::Pcmu],
        udp_media: false,
        ..Script::default()
    });
    let player = Player::new(&mini.url())
        .with_str("transport-preference", "udp")
        .with("timeout", 300_000u64)
        .play();
    let switched = player.told("transport-switched", 1);
    assert_eq!(switched.get::<&str>("from"), Ok("udp"));
    assert_eq!(switched.get::<&str>("to"), Ok("tcp"));
    player.flows("stream_0", 10);
    player.flows("stream_1", 10);
    assert_eq!(transport(&player), "tcp");
    assert_eq!(player.stats().get::<u64>("transport-switches"), Ok(1));
    // The session over UDP was ended.
    assert_eq!(mini.count("TEARDOWN"), 1);
    player.has_no_error();
    player.log(|log| {
        assert_eq!(log.pads.len(), 2);
        assert!(log.removed.is_empty());
        for stream in ["stream_0", "stream_1"] {
            assert!(log.events(stream, gst::EventType::Eos).is_empty());
        }
        assert!(
            log.told("rtspsrc2-connection-lost").is_empty(),
            "nothing was lost"
        );
    });
}

#[test]
fn a_stop_during_the_switch_to_tcp_is_a_stop() {
    let mini = Mini::new(Script {
        udp_media: false,
        hang: Some("TEARDOWN"),
        ..Script::default()
    });
    let player = Player::new(&mini.url())
        .with_str("transport-preference", "udp")
        .with("timeout", 100_000u64)
        .play();
    mini.wait_for("TEARDOWN", 1);
    player.told("transport-switched", 1);
    player.state(gst::State::Null);
    mini.set(|script| script.hang = None);
    assert_eq!(mini.count("DESCRIBE"), 1);
    player.state(gst::State::Playing);
    player.told("transport-switched", 2);
    player.flows(STREAM, 10);
}

// covers: C-PLAY-07
#[test]
fn media_before_the_reply_to_play_is_kept() {
    let mini = Mini::new(Script {
        early_media: true,
        hang: Some("PLAY"),
        ..Script::default()
    });
    let player = Player::new(&mini.url()).play();
    mini.wait_for("PLAY", 1);
    player.log(|log| assert!(log.packets(STREAM).is_empty()));
    mini.set(|script| script.hang = None);
    player.flows(STREAM, 30);
    player.log(|log| {
        let packets = log.packets(STREAM);
        assert_eq!(packets[0].seq, 65_500);
        assert!(
            packets
                .windows(2)
                .all(|p| p[1].seq == p[0].seq.wrapping_add(1))
        );
    });
}

// covers: C-SESS-06
#[test]
fn media_over_udp_goes_on_while_the_connection_is_made_anew() {
    let mini = Mini::new(Script {
        udp_survives: true,
        timeout: 2,
        ..Script::default()
    });
    let player = Player::new(&mini.url()).with_str("protocols", "udp").play();
    player.flows(STREAM, 10);
    mini.drop_connections();
    mini.wait_for("GET_PARAMETER", 1);
    player.flows(STREAM, 30);
    let requests = mini.requests();
    let first = requests.iter().find(|r| r.connection == 1);
    let first = first.expect("a request over the new connection");
    assert_eq!(first.method, "GET_PARAMETER", "a sign of life first");
    assert_eq!(first.header("Session"), Some("5E55100"));
    assert_eq!(mini.count("DESCRIBE"), 1);
    player.log(|log| {
        assert!(log.packets(STREAM)[1..].iter().all(|p| !p.discont));
        assert!(log.told("rtspsrc2-connection-lost").is_empty());
    });
}

#[test]
fn a_session_over_udp_that_has_ended_with_its_connection_is_set_up_anew() {
    let mini = Mini::new(Script {
        refuse: Some(("GET_PARAMETER", 454)),
        refusals: 1,
        timeout: 2,
        ..Script::default()
    });
    let player = Player::new(&mini.url()).with_str("protocols", "udp").play();
    player.flows(STREAM, 10);
    mini.drop_connections();
    player.told("connection-lost", 1);
    player.told("connection-restored", 1);
    player.flows(STREAM, 10);
    assert_eq!(transport(&player), "udp");
    player.log(|log| assert_eq!(log.pads.len(), 1));
}
