//! Handlers that see and change requests, answers and descriptions.

use std::sync::{Arc, Condvar, Mutex};

use gst::prelude::*;
use gst_rtsp::RTSPHeaderField;
use gst_rtsp::rtsp_message::RTSPMessage;
use gst_rtsp_message::{Parts, Start};

use crate::support::application::Application;
use crate::support::mini::{Media, Mini, Request, Script};
use crate::support::player::{PATIENCE, Player};

const STREAM: &str = "stream_0";

fn method(message: &RTSPMessage) -> String {
    match Parts::of_message(message).expect("parts").start {
        Start::Request { method, .. } => method,
        other => panic!("{other:?}"),
    }
}

/// A handler of `before-send`.
fn before_send(player: &Player, handler: impl Fn(&RTSPMessage) -> bool + Send + Sync + 'static) {
    player.src.connect("before-send", false, move |values| {
        let message = values[1].get::<&RTSPMessage>().expect("a message");
        Some(handler(message).to_value())
    });
}

#[test]
fn what_a_handler_adds_to_a_request_is_on_the_wire() {
    let mini = Mini::new(Script {
        timeout: 2,
        auth: Some(("user", "S3cret")),
        ..Script::default()
    });
    let player = Player::new(&mini.url())
        .with("user-id", "user")
        .with("user-pw", "S3cret");
    before_send(&player, |message| {
        let parts = Parts::of_message(message).expect("parts");
        let names: Vec<&str> = parts
            .headers
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert!(!names.contains(&"Authorization") && !names.contains(&"CSeq"));
        message.add_header(RTSPHeaderField::Bandwidth, "4711");
        true
    });
    let player = player.play();
    player.flows(STREAM, 10);
    mini.wait_for("GET_PARAMETER", 1);
    player.state(gst::State::Paused);
    mini.wait_for("PAUSE", 1);
    player.state(gst::State::Null);
    mini.wait_for("TEARDOWN", 1);
    for request in mini.requests() {
        // Keep-alives are the element's own business.
        let expected = (request.method != "GET_PARAMETER").then_some("4711");
        assert_eq!(request.header("Bandwidth"), expected, "{request:?}");
    }
}

#[test]
fn a_request_that_a_handler_holds_back_is_not_sent() {
    let mini = Mini::new(Script::default());
    let player = Player::new(&mini.url());
    before_send(&player, |message| method(message) != "PAUSE");
    let player = player.play();
    player.flows(STREAM, 10);
    player.state(gst::State::Paused);
    player.state(gst::State::Playing);
    mini.wait_for("PLAY", 2);
    player.flows(STREAM, 10);
    assert_eq!(mini.count("PAUSE"), 0);
    player.has_no_error();
}

#[test]
fn a_description_that_a_handler_holds_back_is_an_error_that_says_so() {
    let mini = Mini::new(Script::default());
    let player = Player::new(&mini.url());
    before_send(&player, |message| method(message) != "DESCRIBE");
    let (error, _) = player.play().error();
    assert!(error.message().contains("held it back"), "{error}");
}

#[test]
fn media_and_keep_alives_go_on_while_a_handler_does_not_return() {
    let mini = Mini::new(Script {
        timeout: 2,
        ..Script::default()
    });
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let player = Player::new(&mini.url());
    let held = gate.clone();
    before_send(&player, move |message| {
        if method(message) == "SET_PARAMETER" {
            let open = held.0.lock().unwrap();
            let _ = held.1.wait_timeout_while(open, 2 * PATIENCE, |open| !*open);
        }
        true
    });
    let player = player.play();
    player.flows(STREAM, 10);
    let (promise, _) = gst::Promise::new_future();
    let ask: &[&dyn ToValue] = &[&"a", &"1", &None::<String>, &promise];
    assert!(player.src.emit_by_name::<bool>("set-parameter", ask));
    let keep_alives = mini.count("GET_PARAMETER");
    mini.wait_for("GET_PARAMETER", keep_alives + 2);
    player.flows(STREAM, 10);
    assert_eq!(mini.count("SET_PARAMETER"), 0);
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    mini.wait_for("SET_PARAMETER", 1);
    player.has_no_error();
}

// covers: C-SREQ-01, C-SREQ-08
#[test]
fn a_handler_answers_the_servers_requests() {
    let mini = Mini::new(Script::default());
    let player = Player::new(&mini.url());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = seen.clone();
    player.src.connect("handle-request", false, move |values| {
        let request = values[1].get::<&RTSPMessage>().expect("a request");
        let response = values[2].get::<&RTSPMessage>().expect("a response");
        record.lock().unwrap().push(method(request));
        response.add_header(RTSPHeaderField::Bandwidth, "4711");
        None
    });
    let player = player.play();
    player.flows(STREAM, 10);
    let asked = ["OPTIONS", "GET_PARAMETER", "SET_PARAMETER", "ANNOUNCE"];
    for (count, method) in asked.into_iter().enumerate() {
        let cseq = 70_000 + count as u32;
        mini.ask(method, cseq);
        let response = mini.responses(count + 1).remove(count);
        assert_eq!(response.status, 200, "{method}");
        assert_eq!(response.header("Bandwidth"), Some("4711"), "{method}");
        assert_eq!(response.header("CSeq"), Some(cseq.to_string().as_str()));
    }
    // GStreamer has no such method: nobody can be asked.
    mini.ask("MAKE_COFFEE", 9);
    assert_eq!(mini.responses(5)[4].status, 501);
    assert_eq!(*seen.lock().unwrap(), asked);
}

#[test]
fn handlers_in_c_change_what_goes_over_the_wire() {
    let mini = Mini::new(Script {
        streams: vec![Media::Pcmu],
        ..Script::default()
    });
    let pipeline = format!("rtspsrc2 name=e location={} ! fakesink", mini.url());
    let mut application = Application::run(&pipeline);
    mini.wait_for("PLAY", 1);
    let caps = application.line();
    assert!(caps.contains("x-application=(string)\"in\\ C\""), "{caps}");
    let named = |request: &Request| request.header("X-Application") == Some("in C");
    assert!(mini.requests().iter().all(named), "{:?}", mini.requests());
    mini.ask("GET_PARAMETER", 77);
    let response = mini.responses(1).remove(0);
    assert_eq!(
        (response.status, response.body.as_str()),
        (200, "battery: 99\r\n")
    );
    assert_eq!(response.header("Content-Type"), Some("text/parameters"));
}
