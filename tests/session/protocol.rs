//! Refusals and redirects that the element works around.

use crate::support::mini::{Media, Mini, Script};
use crate::support::player::Player;

const STREAM: &str = "stream_0";

fn of_method(mini: &Mini, method: &str) -> Vec<crate::support::mini::Request> {
    let requests = mini.requests().into_iter();
    requests.filter(|r| r.method == method).collect()
}

// covers: C-REDIR-01, C-REDIR-04, C-AUTH-20
#[test]
fn a_redirect_is_followed_without_the_credentials() {
    let new = Mini::new(Script::default());
    let old = Mini::new(Script {
        auth: Some(("user", "secret")),
        redirect: Some(new.url()),
        ..Script::default()
    });
    let player = Player::new(&old.url())
        .with("user-id", "user")
        .with("user-pw", "secret")
        .play();
    let redirected = player.told("redirected", 1);
    assert_eq!(redirected.get::<String>("location"), Ok(new.url()));
    player.flows(STREAM, 10);
    let sent = |mini: &Mini| {
        let requests = mini.requests();
        requests.iter().any(|r| r.header("Authorization").is_some())
    };
    assert!(sent(&old) && !sent(&new));
    player.has_no_error();
}

// covers: C-REDIR-02
#[test]
fn a_redirect_to_itself_is_an_error() {
    let mini = Mini::new(Script::default());
    mini.set(|script| script.redirect = Some(mini.url()));
    let player = Player::new(&mini.url()).play();
    player.error();
    assert!(mini.count("DESCRIBE") <= 6);
}

// covers: C-KA-04
#[test]
fn a_refused_keep_alive_is_followed_by_another_method() {
    let mini = Mini::new(Script {
        timeout: 2,
        refuse: Some(("GET_PARAMETER", 501)),
        ..Script::default()
    });
    let player = Player::new(&mini.url()).play();
    player.flows(STREAM, 10);
    // One at the start, then those that keep alive.
    mini.wait_for("OPTIONS", 3);
    assert_eq!(mini.count("GET_PARAMETER"), 1, "it is remembered");
    assert!(of_method(&mini, "OPTIONS")[1].header("Session").is_some());
    player.flows(STREAM, 10);
    player.has_no_error();
    player.log(|log| assert!(log.told("rtspsrc2-connection-lost").is_empty()));
}

// covers: C-KA-05
#[test]
fn a_keep_alive_without_an_answer_is_not_fatal_while_media_flows() {
    let mini = Mini::new(Script {
        timeout: 2,
        hang: Some("GET_PARAMETER"),
        ..Script::default()
    });
    let player = Player::new(&mini.url())
        .with("tcp-timeout", 300_000u64)
        .play();
    mini.wait_for("GET_PARAMETER", 1);
    // About three seconds.
    player.flows(STREAM, 900);
    player.has_no_error();
    player.log(|log| assert!(log.told("rtspsrc2-connection-lost").is_empty()));
    assert_eq!(mini.count("DESCRIBE"), 1);
}

// covers: C-PLAY-02
#[test]
fn a_refused_range_is_left_out_once() {
    let mini = Mini::new(Script {
        refuse: Some(("PLAY", 457)),
        refusals: 1,
        ..Script::default()
    });
    let player = Player::new(&mini.url()).play();
    player.flows(STREAM, 10);
    let plays = of_method(&mini, "PLAY");
    assert_eq!(plays.len(), 2);
    assert_eq!(
        plays[0].header("Range"),
        Some("npt=now-"),
        "as the description says"
    );
    assert_eq!(plays[1].header("Range"), None);
}

// covers: C-PLAY-01
#[test]
fn a_closed_range_is_played_from_its_start() {
    let mini = Mini::new(Script {
        range: "npt=0-60",
        ..Script::default()
    });
    let player = Player::new(&mini.url()).play();
    player.flows(STREAM, 10);
    assert_eq!(of_method(&mini, "PLAY")[0].header("Range"), Some("npt=0-"));
}

// covers: C-PLAY-09, C-STAT-18
#[test]
fn a_server_without_aggregate_control_is_played_stream_by_stream() {
    let mini = Mini::new(Script {
        streams: vec![Media::H264, Media::Pcmu],
        refuse: Some(("PLAY", 460)),
        refusals: 1,
        ..Script::default()
    });
    let player = Player::new(&mini.url()).play();
    player.flows("stream_0", 10);
    player.flows("stream_1", 10);
    let plays = of_method(&mini, "PLAY");
    let last = |at: usize| plays[at].uri.rsplit('/').next().map(str::to_string);
    assert_eq!(plays.len(), 3);
    assert_eq!(last(1).as_deref(), Some("track0"));
    assert_eq!(last(2).as_deref(), Some("track1"));
    let quirks = player.stats().get::<gst::List>("quirks").expect("quirks");
    assert!(quirks.iter().any(|q| q.get() == Ok("per-stream-control")));
}

// covers: C-STM-03
#[test]
fn a_burst_of_state_changes_ends_in_the_last_one() {
    let mini = Mini::new(Script {
        hang: Some("PLAY"),
        ..Script::default()
    });
    let player = Player::new(&mini.url()).play();
    mini.wait_for("PLAY", 1);
    for _ in 0..5 {
        player.state(gst::State::Paused);
        player.state(gst::State::Playing);
    }
    mini.set(|script| script.hang = None);
    player.flows(STREAM, 30);
    assert_eq!(player.stats().get::<&str>("state"), Ok("playing"));
    player.has_no_error();
}
