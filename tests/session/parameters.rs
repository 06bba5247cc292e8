//! The actions `get-parameter`, `get-parameters` and `set-parameter`, and what becomes of their
//! promises.

use std::sync::mpsc::{Receiver, channel};

use gst::prelude::*;

use crate::support::mini::{Mini, Script};
use crate::support::player::{PATIENCE, Player};

const STREAM: &str = "stream_0";

/// What a promise came to: its result, and the reply if there was one.
type Outcome = (gst::PromiseResult, Option<gst::Structure>);

/// Whether it was taken, and what comes of it.
fn ask(element: &gst::Element, action: &str, args: &[&dyn ToValue]) -> (bool, Receiver<Outcome>) {
    let (sender, outcome) = channel();
    let promise = gst::Promise::with_change_func(move |reply| {
        let outcome = match reply {
            Ok(reply) => (gst::PromiseResult::Replied, reply.map(|r| r.to_owned())),
            Err(error) => (
                match error {
                    gst::PromiseError::Interrupted => gst::PromiseResult::Interrupted,
                    _ => gst::PromiseResult::Expired,
                },
                None,
            ),
        };
        let _ = sender.send(outcome);
    });
    let args: Vec<&dyn ToValue> = args
        .iter()
        .copied()
        .chain([&promise as &dyn ToValue])
        .collect();
    let taken = element.emit_by_name::<bool>(action, &args);
    if !taken {
        // It is the caller's still.
        promise.interrupt();
    }
    (taken, outcome)
}

fn get(element: &gst::Element, name: &str) -> (bool, Receiver<Outcome>) {
    ask(element, "get-parameter", &[&name, &None::<String>])
}

#[track_caller]
fn reply((taken, outcome): (bool, Receiver<Outcome>)) -> gst::Structure {
    assert!(taken);
    let (result, reply) = outcome.recv_timeout(PATIENCE).expect("an answer");
    assert_eq!(result, gst::PromiseResult::Replied);
    reply.expect("a reply")
}

#[track_caller]
fn interrupted(asked: (bool, Receiver<Outcome>)) {
    let interrupted = -3; // GST_RTSP_EINTR
    assert_eq!(reply(asked).get::<i32>("rtsp-result"), Ok(interrupted));
}

#[test]
fn promises_are_replied_to_as_those_of_rtspsrc() {
    let mini = Mini::new(Script {
        public: "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, GET_PARAMETER, SET_PARAMETER, TEARDOWN",
        ..Script::default()
    });
    let player = Player::new(&mini.url()).play();
    player.flows(STREAM, 3);
    let theirs = gst::ElementFactory::make("rtspsrc")
        .property("location", mini.url())
        .property_from_str("protocols", "tcp")
        .build()
        .expect("rtspsrc");
    let pipeline = gst::Pipeline::new();
    pipeline.add(&theirs).unwrap();
    let sink = gst::ElementFactory::make("fakesink").build().unwrap();
    pipeline.add(&sink).unwrap();
    let pad = sink.static_pad("sink").unwrap();
    theirs.connect_pad_added(move |_, new| {
        let _ = new.link(&pad);
    });
    pipeline.set_state(gst::State::Playing).unwrap();
    mini.wait_for("PLAY", 2);
    let several = vec!["a".to_string(), "b".to_string()];
    let none = None::<String>;
    let asked: [(&str, Vec<&dyn ToValue>); 5] = [
        ("get-parameter", vec![&"a", &none]),
        ("get-parameter", vec![&"a", &"text/x-own"]),
        ("get-parameters", vec![&several, &none]),
        ("set-parameter", vec![&"a", &"1", &none]),
        ("get-parameter", vec![&"unknown", &none]),
    ];
    for (action, args) in asked {
        let before = mini.requests().len();
        let ours = reply(ask(&player.src, action, &args));
        let expected = reply(ask(&theirs, action, &args));
        let words = |reply: &gst::Structure| {
            let reason = match reply.get::<i32>("rtsp-code") {
                Ok(200) => reply.get::<String>("rtsp-reason").ok(),
                _ => None,
            };
            (
                reply.name().to_string(),
                reply
                    .fields()
                    .map(|f| (f.to_string(), reply.value(f).map(|v| v.type_()).ok()))
                    .collect::<Vec<_>>(),
                reply.get::<i32>("rtsp-result").ok(),
                reply.get::<i32>("rtsp-code").ok(),
                reason,
                reply.get::<String>("body").ok(),
            )
        };
        assert_eq!(words(&ours), words(&expected), "{action}");
        // And asked for in the same words.
        let requests = mini.requests();
        let sent: Vec<_> = requests[before..]
            .iter()
            .map(|r| (&r.method, &r.body, r.header("Content-Type"), &r.uri))
            .collect();
        assert_eq!(sent.len(), 2, "{sent:?}");
        assert_eq!(sent[0], sent[1]);
    }
    pipeline.set_state(gst::State::Null).unwrap();
}

#[test]
fn what_cannot_be_asked_is_refused_and_its_promise_left_alone() {
    let mini = Mini::new(Script::default());
    let player = Player::new(&mini.url());
    assert!(!get(&player.src, "a").0, "in NULL");
    player.state(gst::State::Ready);
    assert!(!get(&player.src, "a").0, "in READY");
    let player = player.play();
    player.flows(STREAM, 3);
    for name in ["", "a b", "a\r\nb"] {
        assert!(!get(&player.src, name).0, "{name:?}");
    }
    let none = None::<String>;
    let nobody = Vec::<String>::new();
    let refused: [(&str, Vec<&dyn ToValue>); 4] = [
        ("get-parameter", vec![&none, &none]),
        ("get-parameters", vec![&nobody, &none]),
        ("set-parameter", vec![&"a", &"1\r\nb: 2", &none]),
        ("get-parameter", vec![&"a", &"text/x\r\nX-Evil: 1"]),
    ];
    for (action, args) in refused {
        assert!(!ask(&player.src, action, &args).0, "{action}");
    }
    let no_promise = None::<gst::Promise>;
    let args: &[&dyn ToValue] = &[&"a", &none, &no_promise];
    assert!(!player.src.emit_by_name::<bool>("get-parameter", args));
    assert_eq!(mini.count("SET_PARAMETER") + mini.count("GET_PARAMETER"), 0);
}

#[test]
fn what_is_asked_while_connecting_or_paused_is_sent_when_the_session_is_up() {
    let mini = Mini::new(Script {
        hang: Some("DESCRIBE"),
        ..Script::default()
    });
    let player = Player::new(&mini.url());
    player.state(gst::State::Paused);
    mini.wait_for("DESCRIBE", 1);
    let early: Vec<_> = ["a", "b", "c"].map(|name| get(&player.src, name)).into();
    mini.set(|script| script.hang = None);
    for (name, asked) in ["a", "b", "c"].into_iter().zip(early) {
        assert_eq!(reply(asked).get::<String>("body"), Ok(format!("{name}: 7")));
    }
    assert_eq!(mini.count("PLAY"), 0);
    // Across state changes.
    mini.set(|script| script.hang = Some("GET_PARAMETER"));
    let across = get(&player.src, "d");
    player.state(gst::State::Playing);
    player.state(gst::State::Paused);
    player.state(gst::State::Playing);
    mini.set(|script| script.hang = None);
    assert_eq!(reply(across).get::<i32>("rtsp-code"), Ok(200));
    player.flows(STREAM, 3);
}

#[test]
fn promises_end_with_the_session() {
    let mini = Mini::new(Script {
        hang: Some("GET_PARAMETER"),
        ..Script::default()
    });
    let player = Player::new(&mini.url()).play();
    player.flows(STREAM, 3);
    let open: Vec<_> = (0..20).map(|_| get(&player.src, "a")).collect();
    mini.wait_for("GET_PARAMETER", 1);
    player.state(gst::State::Ready);
    open.into_iter().for_each(interrupted);
    mini.set(|script| script.hang = None);
    // A failed session as well.
    mini.set(|script| script.refuse = Some(("DESCRIBE", 404)));
    player.state(gst::State::Paused);
    let (taken, outcome) = get(&player.src, "a");
    player.error();
    if taken {
        outcome.recv_timeout(PATIENCE).expect("an answer");
    }
    let failed = get(&player.src, "a");
    assert!(!failed.0 || failed.1.recv_timeout(PATIENCE).is_ok());
}

#[test]
fn a_request_that_is_lost_or_late_is_answered_with_an_error() {
    let mini = Mini::new(Script {
        hang: Some("GET_PARAMETER"),
        ..Script::default()
    });
    let player = Player::new(&mini.url())
        .with("do-rtsp-keep-alive", false)
        .play();
    player.flows(STREAM, 3);
    let lost = get(&player.src, "a");
    mini.wait_for("GET_PARAMETER", 1);
    mini.drop_connections();
    let lost = reply(lost);
    assert!(lost.get::<i32>("rtsp-result").unwrap() < 0, "{lost}");
    assert_eq!(lost.get::<i32>("rtsp-code"), Ok(0), "{lost}");
    assert!(!lost.get::<String>("rtsp-reason").unwrap().is_empty());
    player.told("connection-restored", 1);
    // No answer, and never sent.
    player.src.set_property("tcp-timeout", 300_000u64);
    player.state(gst::State::Ready);
    let player = player.play();
    player.flows(STREAM, 3);
    for asked in (0..8).map(|_| get(&player.src, "a")).collect::<Vec<_>>() {
        let late = reply(asked);
        let timeout = -14; // GST_RTSP_ETIMEOUT
        assert_eq!(late.get::<i32>("rtsp-result"), Ok(timeout), "{late}");
    }
    mini.set(|script| script.hang = None);
    player.flows(STREAM, 3);
    player.has_no_error();
}

#[test]
fn an_application_cannot_ask_without_bounds() {
    let mini = Mini::new(Script {
        hang: Some("DESCRIBE"),
        ..Script::default()
    });
    let player = Player::new(&mini.url());
    player.state(gst::State::Paused);
    mini.wait_for("DESCRIBE", 1);
    let asked: Vec<_> = (0..70).map(|_| get(&player.src, "a")).collect();
    assert_eq!(asked.iter().filter(|(taken, _)| *taken).count(), 64);
    mini.set(|script| script.hang = None);
    for asked in asked.into_iter().take(64) {
        assert_eq!(reply(asked).get::<i32>("rtsp-code"), Ok(200));
    }
    assert!(get(&player.src, "a").0);
}
