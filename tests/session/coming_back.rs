//! A presentation that was up and is lost comes back on the same pads.

use std::time::Duration;

use gst::prelude::*;

use crate::support::mini::{Media, Mini, Script, free_address};
use crate::support::player::{Item, Player};

const STREAM: &str = "stream_0";

/// The same pad went on: no EOS, no error, no second SEGMENT, time that does not go back, and a
/// discontinuity where it was interrupted.
fn went_on(player: &Player, restored: usize) {
    player.has_no_error();
    player.log(|log| {
        assert_eq!(log.pads.len(), 1, "the pad stays");
        assert!(log.removed.is_empty());
        assert!(log.events(STREAM, gst::EventType::Eos).is_empty());
        assert_eq!(log.events(STREAM, gst::EventType::Segment).len(), 1);
        let packets = log.packets(STREAM);
        assert!(packets.iter().all(|p| p.pts.is_some()));
        for pair in packets.windows(2) {
            assert!(pair[0].pts <= pair[1].pts, "{:?} {:?}", pair[0], pair[1]);
        }
        let disconts = packets.iter().filter(|p| p.discont).count();
        assert_eq!(
            disconts,
            1 + restored,
            "the first packet of each connection"
        );
        // CAPS come again before the first packet of the new session.
        let caps = log.events(STREAM, gst::EventType::Caps).len();
        assert!(caps > restored, "{caps} CAPS");
    });
}

#[test]
fn a_dropped_connection_comes_back_on_the_same_pad() {
    let mini = Mini::new(Script::default());
    let player = Player::new(&mini.url()).play();
    player.flows(STREAM, 10);
    mini.drop_connections();
    let lost = player.told("connection-lost", 1);
    assert!(lost.get::<String>("reason").is_ok(), "{lost:?}");
    player.told("connection-restored", 1);
    player.flows(STREAM, 10);
    went_on(&player, 1);
    assert_eq!(mini.count("DESCRIBE"), 2);
    assert_eq!(player.stats().get::<u64>("reconnects"), Ok(1));
    // The second loss is told as the first was, although the first is only just over.
    mini.drop_connections();
    player.told("connection-lost", 2);
    player.told("connection-restored", 2);
    player.flows(STREAM, 10);
    went_on(&player, 2);
}

// covers: C-SESS-05, C-STM-07
#[test]
fn a_session_that_the_server_has_forgotten_is_set_up_anew() {
    let mini = Mini::new(Script {
        timeout: 2,
        ..Script::default()
    });
    let player = Player::new(&mini.url()).play();
    player.flows(STREAM, 10);
    mini.set(|script| {
        script.refuse = Some(("GET_PARAMETER", 454));
        script.refusals = 1;
    });
    let lost = player.told("connection-lost", 1);
    assert_eq!(lost.get::<u32>("rtsp-status-code"), Ok(454), "{lost:?}");
    player.told("connection-restored", 1);
    player.flows(STREAM, 10);
    went_on(&player, 1);
    // The forgotten session is not torn down.
    assert_eq!(mini.count("TEARDOWN"), 0);
}

#[test]
fn a_server_that_stops_sending_is_tried_again() {
    let mini = Mini::new(Script::default());
    let player = Player::new(&mini.url())
        .with("stall-timeout", 1_000_000_000u64)
        .play();
    player.flows(STREAM, 10);
    mini.set(|script| script.media = false);
    let stalled = player.told("stalled", 1);
    let age = stalled.get::<u64>("last-packet-age-ms").unwrap();
    assert!((1000..10_000).contains(&age), "{age}");
    mini.set(|script| script.media = true);
    player.told("connection-restored", 1);
    player.flows(STREAM, 10);
    went_on(&player, 1);
    // What is left of the old session is torn down over the new connection.
    mini.wait_for("TEARDOWN", 1);
}

#[test]
fn without_reconnect_attempts_a_loss_is_an_error() {
    let mini = Mini::new(Script::default());
    let player = Player::new(&mini.url())
        .with("reconnect-attempts", 0i32)
        .play();
    player.flows(STREAM, 10);
    mini.drop_connections();
    let (error, details) = player.error();
    assert!(
        error.matches(gst::ResourceError::Read) || error.matches(gst::ResourceError::OpenRead),
        "{error:?}"
    );
    assert!(details.is_some_and(|d| d.has_field("phase")));
    assert_eq!(mini.count("DESCRIBE"), 1);
}

#[test]
fn a_first_connection_that_is_refused_is_an_error_with_details() {
    let address = free_address();
    let player = Player::new(&format!("rtsp://user:hunter2@{address}/live")).play();
    let (error, details) = player.error();
    assert!(error.matches(gst::ResourceError::OpenRead), "{error:?}");
    assert!(error.message().contains(&address.to_string()), "{error}");
    assert!(!error.message().contains("hunter2"), "{error}");
    let details = details.expect("details");
    assert_eq!(details.get::<&str>("phase"), Ok("connect"));
}

#[test]
fn a_status_is_in_the_error_and_its_details() {
    for (method, status, code) in [
        ("DESCRIBE", 404, gst::ResourceError::NotFound),
        ("DESCRIBE", 403, gst::ResourceError::NotAuthorized),
        ("SETUP", 453, gst::ResourceError::Busy),
        ("PLAY", 503, gst::ResourceError::Busy),
    ] {
        let mini = Mini::new(Script {
            refuse: Some((method, status)),
            ..Script::default()
        });
        let player = Player::new(&mini.url()).play();
        let (error, details) = player.error();
        assert!(error.matches(code), "{method} {status}: {error:?}");
        assert!(error.message().contains(&status.to_string()), "{error}");
        let details = details.expect("details");
        assert_eq!(details.get::<&str>("rtsp-method"), Ok(method), "{details}");
        assert_eq!(
            details.get::<u32>("rtsp-status-code"),
            Ok(u32::from(status))
        );
        assert_eq!(details.get::<&str>("rtsp-status-reason"), Ok("Scripted"));
    }
}

#[test]
fn a_first_connection_is_tried_until_the_server_appears() {
    let address = free_address();
    let player = Player::new(&format!("rtsp://{address}/live"))
        .with("connect-attempts", -1i32)
        .with("reconnect-max-delay", 200_000_000u64)
        .play();
    player.told("retrying", 2);
    let _mini = Mini::at(address, Script::default());
    player.flows(STREAM, 10);
    player.has_no_error();
}

#[test]
fn a_server_that_was_restarted_is_found_again() {
    let mini = Mini::new(Script::default());
    let address = mini.address();
    let player = Player::new(&mini.url())
        .with("reconnect-max-delay", 200_000_000u64)
        .play();
    player.flows(STREAM, 10);
    drop(mini);
    player.told("retrying", 2);
    let _mini = Mini::at(address, Script::default());
    player.told("connection-restored", 1);
    player.flows(STREAM, 10);
    went_on(&player, 1);
}

// covers: C-AUTH-20
#[test]
fn refused_credentials_are_told_and_new_ones_are_tried_at_once() {
    let script = Script {
        auth: Some(("user", "first")),
        ..Script::default()
    };
    let mini = Mini::new(script);
    let player = Player::new(&mini.url())
        .with("user-id", "user")
        .with("user-pw", "first")
        .play();
    player.flows(STREAM, 10);
    mini.set(|script| script.auth = Some(("user", "second")));
    mini.drop_connections();
    // Two tries, then none for five minutes: accounts lock.
    let refused = player.told("authentication-refused", 2);
    assert_eq!(
        refused.get::<u32>("rtsp-status-code"),
        Ok(401),
        "{refused:?}"
    );
    assert!(refused.get::<u64>("delay").unwrap() >= 60_000_000_000);
    player.src.set_property("user-pw", "second");
    player.told("connection-restored", 1);
    player.flows(STREAM, 10);
    went_on(&player, 1);
}

#[test]
fn what_is_lost_while_paused_is_set_up_again_and_plays_when_wished() {
    let mini = Mini::new(Script::default());
    let player = Player::new(&mini.url()).play();
    player.flows(STREAM, 10);
    player.state(gst::State::Paused);
    mini.wait_for("PAUSE", 1);
    mini.drop_connections();
    mini.wait_for("SETUP", 2);
    assert_eq!(mini.count("PLAY"), 1);
    player.state(gst::State::Playing);
    player.flows(STREAM, 10);
    assert_eq!(mini.count("PLAY"), 2);
    player.has_no_error();
    player.log(|log| assert_eq!(log.pads.len(), 1));
}

#[test]
fn streams_keep_their_pads_when_both_come_back() {
    let mini = Mini::new(Script {
        streams: vec![Media::H264, Media::Pcmu],
        ..Script::default()
    });
    let player = Player::new(&mini.url()).play();
    player.flows("stream_0", 10);
    player.flows("stream_1", 10);
    mini.drop_connections();
    player.told("connection-restored", 1);
    player.flows("stream_0", 10);
    player.flows("stream_1", 10);
    player.has_no_error();
    player.log(|log| {
        assert_eq!(log.pads.len(), 2);
        for (pad, items) in &log.pads {
            let first = items.iter().find(|item| matches!(item, Item::Event(_)));
            assert!(
                matches!(first, Some(Item::Event(e)) if e.type_() == gst::EventType::StreamStart)
            );
            let caps = pad.current_caps().expect("caps");
            let media = caps
                .structure(0)
                .expect("one structure")
                .get::<&str>("media")
                .unwrap();
            assert_eq!(
                media,
                if pad.name() == "stream_0" {
                    "video"
                } else {
                    "audio"
                }
            );
        }
    });
}

#[test]
fn one_that_comes_back_can_be_stopped_at_any_time() {
    let mini = Mini::new(Script::default());
    let address = mini.address();
    let player = Player::new(&mini.url()).play();
    player.flows(STREAM, 10);
    drop(mini);
    player.told("connection-lost", 1);
    assert!(player.state(gst::State::Null) < Duration::from_millis(600));
    let _mini = Mini::at(address, Script::default());
    player.state(gst::State::Playing);
    player.flows(STREAM, 10);
    player.has_no_error();
}

#[test]
fn four_at_once_are_set_up_with_one_server() {
    let mini = Mini::new(Script {
        hang: Some("DESCRIBE"),
        ..Script::default()
    });
    let players: Vec<Player> = (0..10).map(|_| Player::new(&mini.url()).play()).collect();
    mini.wait_for("DESCRIBE", 4);
    // Another server is not waited for, and gives the others time to come too early.
    let other = Mini::new(Script::default());
    Player::new(&other.url()).play().flows(STREAM, 20);
    assert_eq!(mini.count("DESCRIBE"), 4);
    mini.set(|script| script.hang = None);
    for player in &players {
        player.flows(STREAM, 3);
    }
}

#[test]
fn another_encoding_ends_the_pad_and_a_new_one_of_the_same_name_follows() {
    let mini = Mini::new(Script {
        streams: vec![Media::H264, Media::Pcmu],
        ..Script::default()
    });
    let player = Player::new(&mini.url()).play();
    player.flows(STREAM, 10);
    player.flows("stream_1", 10);
    mini.set(|script| script.streams = vec![Media::H265, Media::Pcmu]);
    mini.drop_connections();
    player.told("connection-restored", 1);
    player.wait("a new pad", |log| log.pads.len() == 3);
    player.flows(STREAM, 10);
    player.flows("stream_1", 10);
    player.has_no_error();
    player.log(|log| {
        let (old, ended) = &log.pads[0];
        let (new, _) = &log.pads[2];
        assert_eq!((old.name(), new.name()), (STREAM.into(), STREAM.into()));
        assert!(matches!(ended.last(), Some(Item::Event(e)) if e.type_() == gst::EventType::Eos));
        assert_eq!(log.removed, [STREAM]);
        assert_eq!(log.no_more_pads, 2);
        let encoding = |pad: &gst::Pad| {
            let caps = pad.current_caps().expect("caps");
            let s = caps.structure(0).expect("one structure");
            s.get::<String>("encoding-name").expect("an encoding")
        };
        assert_eq!(encoding(new), "H265");
        // The new pad begins as each pad does.
        let kinds: Vec<_> = log
            .items(STREAM)
            .iter()
            .filter_map(|item| match item {
                Item::Event(event) => Some(event.type_()),
                Item::Buffer(_) => None,
            })
            .collect();
        assert_eq!(
            kinds[..2],
            [gst::EventType::StreamStart, gst::EventType::Caps]
        );
        assert!(kinds.contains(&gst::EventType::Segment), "{kinds:?}");
        // Its sibling went on.
        assert!(log.events("stream_1", gst::EventType::Eos).is_empty());
        let collections = log.of_type(gst::MessageType::StreamCollection);
        assert_eq!(collections.len(), 2);
        let times = log.packets("stream_1");
        assert!(times.windows(2).all(|pair| pair[0].pts <= pair[1].pts));
    });
    assert_eq!(
        player.stream_stats(0).get::<&str>("encoding-name"),
        Ok("H265")
    );
}
