//! PAUSED: media is dropped, the session lives.

use gst::prelude::*;

use crate::support::mini::{Mini, Script};
use crate::support::player::Player;

const STREAM: &str = "stream_0";

/// `told` PAUSEs reach the server, which pauses if `remote`.
fn pause_and_resume(script: Script, told: usize, remote: bool) {
    let mini = Mini::new(Script {
        timeout: 2,
        ..script
    });
    let player = Player::new(&mini.url()).play();
    player.flows(STREAM, 10);
    player.state(gst::State::Paused);
    mini.wait_for("PAUSE", told);
    // What was under way when the state changed may still come; a keep-alive later nothing does.
    let keep_alives = mini.count("GET_PARAMETER");
    mini.wait_for("GET_PARAMETER", keep_alives + 1);
    let paused = player.log(|log| log.packets(STREAM).len());
    mini.wait_for("GET_PARAMETER", keep_alives + 2);
    assert_eq!(player.log(|log| log.packets(STREAM).len()), paused);
    player.state(gst::State::Playing);
    player.flows(STREAM, 10);
    player.has_no_error();
    assert_eq!(mini.count("PAUSE"), told);
    assert_eq!(mini.count("PLAY"), 1 + usize::from(remote));
    assert_eq!(mini.count("SETUP"), 1);
    // A resume has no Range: it would be a seek.
    let plays: Vec<_> = mini
        .requests()
        .into_iter()
        .filter(|r| r.method == "PLAY")
        .collect();
    assert!(plays[0].header("Range").is_some());
    assert!(
        plays
            .iter()
            .skip(1)
            .all(|play| play.header("Range").is_none())
    );
    player.log(|log| {
        let packets = log.packets(STREAM);
        assert!(packets[paused].discont, "the first after the pause");
        assert!(packets[paused].pts >= packets[paused - 1].pts);
        assert!(log.events(STREAM, gst::EventType::Eos).is_empty());
    });
}

// covers: C-PLAY-03, C-KA-07
#[test]
fn with_pause_the_server_stops_and_goes_on() {
    pause_and_resume(Script::default(), 1, true);
}

// covers: C-PLAY-11
#[test]
fn without_pause_the_media_is_dropped_here() {
    let script = Script {
        public: "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN",
        ..Script::default()
    };
    pause_and_resume(script, 0, false);
}

// covers: C-PLAY-11
#[test]
fn where_pause_is_refused_the_media_is_dropped_here() {
    let script = Script {
        refuse: Some(("PAUSE", 455)),
        ..Script::default()
    };
    pause_and_resume(script, 1, false);
}

#[test]
fn pads_are_there_in_paused_and_nothing_is_played() {
    let mini = Mini::new(Script::default());
    let player = Player::new(&mini.url());
    let result = player.pipeline.set_state(gst::State::Paused);
    assert_eq!(result, Ok(gst::StateChangeSuccess::NoPreroll), "it is live");
    player.wait("no-more-pads", |log| log.no_more_pads == 1);
    assert_eq!(mini.count("PLAY"), 0);
    player.log(|log| assert!(log.packets(STREAM).is_empty()));
    player.state(gst::State::Playing);
    player.flows(STREAM, 3);
}

#[test]
fn a_silent_pause_is_no_stall() {
    let mini = Mini::new(Script {
        timeout: 2,
        ..Script::default()
    });
    let player = Player::new(&mini.url())
        .with("stall-timeout", 300_000_000u64)
        .play();
    player.flows(STREAM, 10);
    player.state(gst::State::Paused);
    mini.wait_for("PAUSE", 1);
    let keep_alives = mini.count("GET_PARAMETER");
    mini.wait_for("GET_PARAMETER", keep_alives + 2);
    player.log(|log| assert!(log.told("rtspsrc2-stalled").is_empty()));
    player.state(gst::State::Playing);
    player.flows(STREAM, 10);
    player.log(|log| assert!(log.told("rtspsrc2-connection-lost").is_empty()));
}

// covers: C-STM-03
#[test]
fn a_pause_during_play_is_a_pause() {
    let mini = Mini::new(Script {
        hang: Some("PLAY"),
        ..Script::default()
    });
    let player = Player::new(&mini.url()).play();
    mini.wait_for("PLAY", 1);
    player.state(gst::State::Paused);
    mini.set(|script| script.hang = None);
    mini.wait_for("PAUSE", 1);
    player.log(|log| assert!(log.packets(STREAM).is_empty()));
    player.state(gst::State::Playing);
    player.flows(STREAM, 10);
    assert_eq!(mini.count("PLAY"), 2);
    player.has_no_error();
}
