//! Properties, queries, statistics.

use gst::prelude::*;

use crate::support::mini::{Media, Mini, Script};
use crate::support::player::Player;

const STREAM: &str = "stream_0";

#[test]
fn latency_is_live_and_follows_its_property() {
    let mini = Mini::new(Script::default());
    let player = Player::new(&mini.url()).with("latency", 300u32).play();
    player.flows(STREAM, 3);
    let ask = |pad: Option<gst::Pad>| {
        let mut query = gst::query::Latency::new();
        let answered = match pad {
            Some(pad) => pad.query(&mut query),
            None => player.src.query(&mut query),
        };
        assert!(answered);
        query.result()
    };
    let expected = |ms| (true, gst::ClockTime::from_mseconds(ms), None);
    assert_eq!(ask(None), expected(300));
    assert_eq!(
        ask(player.log(|log| log.pads.first().map(|(pad, _)| pad.clone()))),
        expected(300)
    );
    let before = player.log(|log| log.of_type(gst::MessageType::Latency).len());
    assert!(before > 0, "told with the pads");
    player.src.set_property("latency", 50u32);
    player.wait("a LATENCY message", |log| {
        log.of_type(gst::MessageType::Latency).len() > before
    });
    assert_eq!(ask(None), expected(50));
    player.flows(STREAM, 3);
}

#[test]
fn a_live_stream_does_not_seek_and_has_no_duration() {
    let mini = Mini::new(Script::default());
    let player = Player::new(&mini.url()).play();
    player.flows(STREAM, 3);
    let mut query = gst::query::Seeking::new(gst::Format::Time);
    assert!(player.src.query(&mut query));
    assert!(!query.result().0);
    assert_eq!(player.src.query_duration::<gst::ClockTime>(), None);
    let flags = gst::SeekFlags::FLUSH;
    assert!(
        player
            .src
            .seek_simple(flags, gst::ClockTime::from_seconds(3))
            .is_err()
    );
    player.flows(STREAM, 3);
}

#[test]
fn the_uri_is_the_location() {
    crate::support::init();
    let src = gst::ElementFactory::make("rtspsrc2").build().unwrap();
    let handler = src
        .dynamic_cast_ref::<gst::URIHandler>()
        .expect("a URI handler");
    handler
        .set_uri("rtspt://camera.example/live")
        .expect("an RTSP URL");
    assert_eq!(
        src.property::<String>("location"),
        "rtspt://camera.example/live"
    );
    assert!(handler.set_uri("http://camera.example/live").is_err());
    let mut query = gst::query::Uri::new();
    assert!(src.query(&mut query));
    assert_eq!(query.uri().as_deref(), Some("rtspt://camera.example/live"));
}

#[test]
fn statistics_say_what_there_is() {
    let mini = Mini::new(Script {
        streams: vec![Media::H264, Media::Pcmu],
        timeout: 30,
        ..Script::default()
    });
    let player = Player::new(&mini.url());
    let idle: gst::Structure = player.stats();
    assert_eq!(idle.n_fields(), 0, "{idle}");
    let player = player.play();
    player.flows("stream_0", 30);
    player.flows("stream_1", 10);
    let stats = player.stats();
    assert_eq!(stats.get::<&str>("state"), Ok("playing"));
    assert_eq!(stats.get::<&str>("transport"), Ok("tcp"));
    assert_eq!(stats.get::<&str>("server"), Ok("mini"));
    assert_eq!(stats.get::<String>("peer"), Ok(mini.address().to_string()));
    assert_eq!(stats.get::<u64>("session-timeout"), Ok(30_000_000_000));
    assert_eq!(stats.get::<u64>("reconnects"), Ok(0));
    assert!(stats.get::<u64>("uptime").unwrap() > 0);
    assert!(stats.get::<u64>("rtt").unwrap() > 0);
    let stream = player.stream_stats(0);
    assert_eq!(stream.get::<&str>("name"), Ok("stream_0"));
    assert_eq!(stream.get::<&str>("media"), Ok("video"));
    assert_eq!(stream.get::<&str>("encoding-name"), Ok("H264"));
    assert_eq!(stream.get::<u32>("ssrc"), Ok(0x1000));
    let packets = stream.get::<u64>("packets").unwrap();
    assert!(packets >= 30);
    assert!(stream.get::<u64>("bytes").unwrap() >= packets * 80);
    assert!(stream.get::<u64>("bitrate").unwrap() > 0);
    assert!(stream.get::<u64>("last-packet-age").unwrap() < 5_000_000_000);
    for none in ["lost", "reordered", "duplicate", "late", "dropped"] {
        assert_eq!(stream.get::<u64>(none), Ok(0), "{none}");
    }
    player.state(gst::State::Paused);
    mini.wait_for("PAUSE", 1);
    assert_eq!(player.stats().get::<&str>("state"), Ok("paused"));
}

#[test]
fn what_may_change_while_playing_does() {
    let mini = Mini::new(Script {
        timeout: 2,
        ..Script::default()
    });
    let player = Player::new(&mini.url()).play();
    player.flows(STREAM, 10);
    player.src.set_property("user-agent", "other/2 {VERSION}");
    let (major, minor, micro, _) = gst::version();
    let expected = format!("other/2 {major}.{minor}.{micro}");
    let named = || {
        let of_it = |r: &crate::support::mini::Request| r.header("User-Agent") == Some(&expected);
        mini.requests().iter().any(of_it)
    };
    for keep_alives in 1.. {
        mini.wait_for("GET_PARAMETER", keep_alives);
        if named() {
            break;
        }
        assert!(keep_alives < 5, "{:?}", mini.requests());
    }
    assert_eq!(mini.count("DESCRIBE"), 1, "on the same session");
    // What comes back keeps to it.
    mini.drop_connections();
    player.told("connection-restored", 1);
    let requests = mini.requests();
    let describe = requests.iter().rfind(|r| r.method == "DESCRIBE");
    let agent = describe.and_then(|r| r.header("User-Agent"));
    assert_eq!(agent, Some(expected.as_str()));
    assert_eq!(
        player.src.property::<String>("user-agent"),
        "other/2 {VERSION}"
    );
    // Ten seconds of silence would be too long for this test.
    player.flows(STREAM, 10);
    player.src.set_property("stall-timeout", 500_000_000u64);
    mini.set(|script| script.media = false);
    player.told("stalled", 1);
    // And no more tries.
    player.src.set_property("reconnect-attempts", 0i32);
    mini.drop_connections();
    mini.set(|script| script.refuse = Some(("DESCRIBE", 500)));
    player.error();
}

#[test]
fn with_drop_on_latency_a_stream_that_was_blocked_goes_on() {
    let mini = Mini::new(Script::default());
    let player = Player::new(&mini.url()).play();
    player.flows(STREAM, 10);
    player.src.set_property("drop-on-latency", true);
    player.change(|log| log.blocked = true);
    player.wait("a push that blocks", |log| log.waiting == 1);
    let dropped = || player.stream_stats(0).get::<u64>("dropped").unwrap_or(0);
    let deadline = std::time::Instant::now() + crate::support::player::PATIENCE;
    while dropped() == 0 {
        assert!(std::time::Instant::now() < deadline, "nothing is dropped");
        std::thread::yield_now();
    }
    player.change(|log| log.blocked = false);
    player.flows(STREAM, 30);
    player.has_no_error();
}

#[test]
fn short_headers_are_those_that_are_needed() {
    let mini = Mini::new(Script::default());
    let player = Player::new(&mini.url())
        .with("short-header", true)
        .with("rtp-blocksize", 1400u32)
        .play();
    player.flows(STREAM, 3);
    for request in mini.requests() {
        let names: Vec<&str> = request
            .headers
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        let basic = ["CSeq", "Accept", "Transport", "Session", "Range"];
        assert!(names.iter().all(|name| basic.contains(name)), "{names:?}");
    }
}

#[test]
fn reports_carry_the_sdes_items_of_the_application() {
    crate::support::init();
    let mini = Mini::new(Script::default());
    let sdes = gst::Structure::builder("application/x-rtp-source-sdes")
        .field("cname", "camera-wall@example")
        .field("tool", "wall/3")
        .build();
    let player = Player::new(&mini.url()).with("sdes", sdes).play();
    player.flows(STREAM, 10);
    let report = mini.reports(1).remove(0).packet;
    for item in [&b"\x01\x13camera-wall@example"[..], b"\x06\x06wall/3"] {
        assert!(report.windows(item.len()).any(|part| part == item));
    }
}
