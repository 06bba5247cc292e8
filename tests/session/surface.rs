//! Properties, queries, statistics, secrets.

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

// covers: C-AUTH-20
#[test]
fn a_password_reaches_nobody() {
    const SECRET: &str = "hunter2";
    // Basic authentication's form of it.
    const CODED: &str = "dXNlcjpodW50ZXIy";
    let mini = Mini::new(Script {
        auth: Some(("user", SECRET)),
        ..Script::default()
    });
    let url = mini
        .url()
        .replace("rtsp://", &format!("rtsp://user:{SECRET}@"));
    let player = Player::new(&url).play();
    player.flows(STREAM, 10);
    let mut said = vec![
        player.src.property::<String>("location"),
        player.stats().to_string(),
        player
            .pipeline
            .debug_to_dot_data(gst::DebugGraphDetails::all())
            .to_string(),
    ];
    let mut query = gst::query::Uri::new();
    assert!(player.src.query(&mut query));
    said.extend(query.uri().map(|uri| uri.to_string()));
    // Refused, lost and given up.
    mini.set(|script| script.auth = Some(("user", "other")));
    mini.drop_connections();
    player.told("authentication-refused", 1);
    let failed = Player::new(&url).play();
    let (error, _) = failed.error();
    assert!(
        error.matches(gst::ResourceError::NotAuthorized),
        "{error:?}"
    );
    for player in [&player, &failed] {
        said.push(player.stats().to_string());
        player.log(|log| {
            for message in &log.messages {
                said.push(format!("{message:?}"));
                if let gst::MessageView::Error(error) = message.view() {
                    said.push(format!(
                        "{} {:?} {:?}",
                        error.error(),
                        error.debug(),
                        error.details()
                    ));
                }
            }
            for (pad, _) in &log.pads {
                said.push(format!("{:?} {:?}", pad.current_caps(), pad.stream_id()));
            }
        });
    }
    failed.src.set_property("user-id", "user");
    failed.src.set_property("user-pw", SECRET);
    assert_eq!(failed.src.property::<Option<String>>("user-pw"), None);
    for text in said {
        assert!(!text.contains(SECRET) && !text.contains(CODED), "{text}");
    }
    // It was on the wire, so the test could have failed.
    let sent = mini.requests();
    let answered = sent.iter().filter_map(|r| r.header("Authorization"));
    assert!(answered.clone().any(|header| header.contains(CODED)));
    assert!(sent.iter().all(|r| !r.uri.contains(SECRET)));
}
