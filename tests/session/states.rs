//! No state change waits for the network.

use std::time::{Duration, Instant};

use gst::prelude::*;

use crate::support::mini::{Mini, Script};
use crate::support::player::{Log, Player};

/// What a call may take here; that it takes less than 50 ms is measured by the bench.
const AT_ONCE: Duration = Duration::from_millis(500);
/// `teardown-timeout` by default.
const TEARDOWN: Duration = Duration::from_millis(100);

// covers: C-SESS-08, C-STM-04, C-STM-05
/// All state changes with a server that does not answer `method`, and then a start that works.
fn hung_in(method: &'static str) {
    let mini = Mini::new(Script {
        hang: Some(method),
        ..Script::default()
    });
    let player = Player::new(&mini.url());
    assert!(
        player.state(gst::State::Playing) < AT_ONCE,
        "NULL to PLAYING"
    );
    match method {
        "PAUSE" | "TEARDOWN" => player.flows("stream_0", 3),
        _ => mini.wait_for(method, 1),
    }
    assert!(
        player.state(gst::State::Paused) < AT_ONCE,
        "PLAYING to PAUSED"
    );
    if method == "PAUSE" {
        mini.wait_for(method, 1);
    }
    assert!(player.state(gst::State::Ready) < AT_ONCE, "PAUSED to READY");
    assert!(
        player.state(gst::State::Null) < TEARDOWN + AT_ONCE,
        "READY to NULL"
    );
    if method == "TEARDOWN" {
        mini.wait_for(method, 1);
    }
    player.has_no_error();
    mini.set(|script| script.hang = None);
    player.change(|log| log.pads.clear());
    assert!(
        player.state(gst::State::Playing) < AT_ONCE,
        "NULL to PLAYING again"
    );
    player.flows("stream_0", 10);
    player.has_no_error();
}

#[test]
fn a_server_hung_in_options() {
    hung_in("OPTIONS");
}

#[test]
fn a_server_hung_in_describe() {
    hung_in("DESCRIBE");
}

#[test]
fn a_server_hung_in_setup() {
    hung_in("SETUP");
}

#[test]
fn a_server_hung_in_play() {
    hung_in("PLAY");
}

#[test]
fn a_server_hung_in_pause() {
    hung_in("PAUSE");
}

#[test]
fn a_server_hung_in_teardown() {
    hung_in("TEARDOWN");
}

#[test]
fn a_server_that_never_accepts() {
    // The kernel accepts what waits in the backlog; nobody ever reads.
    let listener = std::net::TcpListener::bind(crate::support::mini::free_address()).unwrap();
    let url = format!("rtsp://{}/live", listener.local_addr().unwrap());
    let player = Player::new(&url);
    assert!(player.state(gst::State::Playing) < AT_ONCE);
    assert!(player.state(gst::State::Paused) < AT_ONCE);
    assert!(player.state(gst::State::Playing) < AT_ONCE);
    assert!(player.state(gst::State::Null) < TEARDOWN + AT_ONCE);
    player.has_no_error();
}

#[test]
fn a_server_that_does_not_answer_is_an_error_after_tcp_timeout() {
    let mini = Mini::new(Script {
        hang: Some("DESCRIBE"),
        ..Script::default()
    });
    let player = Player::new(&mini.url())
        .with("tcp-timeout", 300_000u64)
        .play();
    let (error, details) = player.error();
    assert!(error.matches(gst::ResourceError::Read), "{error:?}");
    let details = details.expect("details");
    assert_eq!(details.get::<&str>("rtsp-method"), Ok("DESCRIBE"));
}

#[test]
fn an_element_starts_and_stops_in_quick_turns() {
    let mini = Mini::new(Script::default());
    let player = Player::new(&mini.url());
    let begin = Instant::now();
    let paired = |log: &Log| log.pads.len() == log.removed.len();
    for round in 0..100 {
        player.state(gst::State::Playing);
        // Some rounds are over before there is a pad, some after.
        if round % 4 == 3 {
            // Of the run before, a pad may still come and go.
            player.wait("a new pad", |log| log.pads.len() > log.removed.len());
        }
        assert!(player.state(gst::State::Null) < TEARDOWN + AT_ONCE);
        player.wait("each pad removed, and once", paired);
    }
    // No start waited for the TEARDOWN before it longer than its answer took.
    assert!(
        begin.elapsed() < Duration::from_secs(8),
        "{:?}",
        begin.elapsed()
    );
    player.state(gst::State::Playing);
    player.log(|log| assert!(log.pads.len() >= 25));
    player.flows("stream_0", 10);
    player.has_no_error();
}

// covers: C-SESS-07
#[test]
fn a_stop_tears_the_session_down() {
    let mini = Mini::new(Script::default());
    let player = Player::new(&mini.url()).play();
    player.flows("stream_0", 3);
    // The answer ends the wait, not the timeout.
    player
        .src
        .set_property("teardown-timeout", 10_000_000_000u64);
    assert!(player.state(gst::State::Null) < Duration::from_secs(2));
    mini.wait_for("TEARDOWN", 1);
    player.log(|log| assert_eq!(log.removed, ["stream_0"]));
    player.log(|log| {
        assert!(
            log.events("stream_0", gst::EventType::FlushStart)
                .is_empty()
        )
    });
}

#[test]
fn without_a_location_the_element_does_not_start() {
    crate::support::init();
    let src = gst::ElementFactory::make("rtspsrc2").build().unwrap();
    assert!(src.set_state(gst::State::Ready).is_ok());
    assert!(src.set_state(gst::State::Paused).is_err());
    assert!(src.set_state(gst::State::Null).is_ok());
}
