//! What ends a stream, and what does not.

use std::sync::{Arc, Mutex};

use gst::prelude::*;

use crate::support::mini::{Media, Mini, Script};
use crate::support::player::{Item, Player};

const STREAM: &str = "stream_0";

fn two_streams() -> Script {
    Script {
        streams: vec![Media::H264, Media::Pcmu],
        ..Script::default()
    }
}

fn ends(player: &Player, streams: &[&str]) {
    for stream in streams {
        player.wait("EOS", |log| {
            log.events(stream, gst::EventType::Eos).len() == 1
        });
    }
    player.has_no_error();
}

#[test]
fn eos_of_the_application_ends_what_plays() {
    let mini = Mini::new(two_streams());
    let player = Player::new(&mini.url()).play();
    player.flows("stream_0", 10);
    player.flows("stream_1", 10);
    // As `gst-launch-1.0 -e` does.
    assert!(player.pipeline.send_event(gst::event::Eos::new()));
    ends(&player, &["stream_0", "stream_1"]);
    player.wait("EOS of the pipeline", |log| {
        log.of_type(gst::MessageType::Eos).len() == 1
    });
    mini.wait_for("TEARDOWN", 1);
    player.log(|log| {
        for (_, items) in &log.pads {
            assert!(
                matches!(items.last(), Some(Item::Event(e)) if e.type_() == gst::EventType::Eos),
                "nothing follows EOS, but {:?}",
                items.last()
            );
        }
    });
}

#[test]
fn eos_in_ready_ends_the_pads_that_come() {
    let mini = Mini::new(Script::default());
    let player = Player::new(&mini.url());
    player.state(gst::State::Ready);
    assert!(player.src.send_event(gst::event::Eos::new()));
    player.state(gst::State::Playing);
    ends(&player, &[STREAM]);
}

#[test]
fn eos_before_the_set_up_ends_the_pads_that_come() {
    let mini = Mini::new(Script {
        hang: Some("SETUP"),
        ..Script::default()
    });
    let player = Player::new(&mini.url()).play();
    mini.wait_for("SETUP", 1);
    assert!(player.src.send_event(gst::event::Eos::new()));
    mini.set(|script| script.hang = None);
    ends(&player, &[STREAM]);
}

#[test]
fn eos_while_the_server_is_gone_ends_the_tries() {
    let mini = Mini::new(Script::default());
    let player = Player::new(&mini.url()).play();
    player.flows(STREAM, 10);
    drop(mini);
    player.told("connection-lost", 1);
    assert!(player.src.send_event(gst::event::Eos::new()));
    ends(&player, &[STREAM]);
    // A start after it plays again: the EOS belonged to the run before.
    let mini = Mini::new(Script::default());
    player.state(gst::State::Null);
    player.change(|log| log.pads.clear());
    player.src.set_property("location", mini.url());
    player.state(gst::State::Playing);
    player.flows(STREAM, 10);
}

// covers: C-PLAY-10
#[test]
fn bye_of_all_sources_ends_a_range_that_has_an_end() {
    let mini = Mini::new(Script {
        range: "npt=0-3600",
        ..two_streams()
    });
    let player = Player::new(&mini.url()).play();
    player.flows("stream_0", 10);
    player.flows("stream_1", 10);
    mini.set(|script| script.media = false);
    mini.say_bye();
    ends(&player, &["stream_0", "stream_1"]);
    // The session is there for a seek.
    assert_eq!(mini.count("TEARDOWN"), 0);
    player.state(gst::State::Null);
    mini.wait_for("TEARDOWN", 1);
}

#[test]
fn bye_that_media_follows_is_no_end() {
    let mini = Mini::new(Script {
        range: "npt=0-3600",
        timeout: 2,
        ..Script::default()
    });
    let player = Player::new(&mini.url()).play();
    player.flows(STREAM, 10);
    mini.say_bye();
    // The server waits no longer than 2 s; a keep-alive goes out each second.
    let keep_alives = mini.count("GET_PARAMETER");
    mini.wait_for("GET_PARAMETER", keep_alives + 4);
    player.flows(STREAM, 10);
    player.log(|log| assert!(log.events(STREAM, gst::EventType::Eos).is_empty()));
}

#[test]
fn bye_of_a_live_source_is_no_end() {
    let mini = Mini::new(Script::default());
    let player = Player::new(&mini.url())
        .with("stall-timeout", 3_000_000_000u64)
        .play();
    player.flows(STREAM, 10);
    mini.set(|script| script.media = false);
    mini.say_bye();
    // Longer than a BYE waits for media that resumes.
    player.told("connection-lost", 1);
    mini.set(|script| script.media = true);
    player.told("connection-restored", 1);
    player.flows(STREAM, 10);
    player.log(|log| assert!(log.events(STREAM, gst::EventType::Eos).is_empty()));
}

// covers: C-PLAY-10
#[test]
fn silence_at_the_end_of_the_range_is_the_end() {
    let mini = Mini::new(Script {
        // Within a second of what has been played.
        range: "npt=0-1",
        ..Script::default()
    });
    let player = Player::new(&mini.url())
        .with("stall-timeout", 1_000_000_000u64)
        .play();
    player.flows(STREAM, 10);
    mini.set(|script| script.media = false);
    ends(&player, &[STREAM]);
    player.log(|log| assert!(log.told("rtspsrc2-connection-lost").is_empty()));
}

#[test]
fn a_range_that_was_lost_goes_on_where_it_was() {
    let mini = Mini::new(Script {
        range: "npt=0-60",
        ..Script::default()
    });
    let player = Player::new(&mini.url())
        .with("stall-timeout", 1_000_000_000u64)
        .play();
    player.flows(STREAM, 10);
    mini.set(|script| script.media = false);
    player.told("connection-lost", 1);
    mini.set(|script| script.media = true);
    player.told("connection-restored", 1);
    let requests = mini.requests();
    let ranges: Vec<_> = requests
        .iter()
        .filter(|request| request.method == "PLAY")
        .filter_map(|request| request.header("Range"))
        .collect();
    assert_eq!(ranges[0], "npt=0-");
    let start = ranges[1]
        .strip_prefix("npt=")
        .and_then(|range| range.strip_suffix('-'));
    let start: f64 = start.expect("a start").parse().expect("seconds");
    // Ten packets were played; the silence was not.
    assert!(start > 0.0 && start < 60.0, "{ranges:?}");
    player.flows(STREAM, 10);
    player.log(|log| {
        assert!(log.events(STREAM, gst::EventType::Eos).is_empty());
        // Stream time goes on where the range does, running time as if nothing had been.
        let segments = log.events(STREAM, gst::EventType::Segment);
        let [_, resumed] = segments[..] else {
            panic!("{segments:?}");
        };
        let gst::EventView::Segment(resumed) = resumed.view() else {
            unreachable!("it is one");
        };
        let segment = resumed.segment().downcast_ref::<gst::ClockTime>();
        let segment = segment.expect("a time segment");
        let items = log.items(STREAM);
        let at = items.iter().rposition(
            |item| matches!(item, Item::Event(e) if e.type_() == gst::EventType::Segment),
        );
        let Some(Item::Buffer(first)) = items.get(at.unwrap_or(0) + 1) else {
            panic!("a packet right after the segment");
        };
        assert!(first.discont);
        assert_eq!(segment.to_running_time(first.pts), first.pts);
        let position = segment.to_stream_time(first.pts).expect("a stream time");
        let position = position.nseconds() as f64 / 1e9;
        assert!((position - start).abs() < 0.001, "{position} {start}");
    });
}

/// What a sink after a depayloader makes of it: time does not go back, nor is it lost.
#[test]
fn running_time_goes_on_behind_a_depayloader_when_a_range_is_resumed() {
    let mini = Mini::new(Script {
        range: "npt=0-60",
        streams: vec![Media::Pcmu],
        ..Script::default()
    });
    let times = Arc::<Mutex<Vec<gst::ClockTime>>>::default();
    let seen = times.clone();
    let link = move |pad: &gst::Pad| {
        let src = pad.parent_element().expect("an element");
        let pipeline = src.parent().and_downcast::<gst::Pipeline>();
        let depay = gst::ElementFactory::make("rtppcmudepay").build().unwrap();
        let sink = gst::ElementFactory::make("fakesink")
            .property("sync", false)
            .property("async", false)
            .build()
            .unwrap();
        pipeline.unwrap().add_many([&depay, &sink]).unwrap();
        depay.link(&sink).unwrap();
        let out = depay.static_pad("src").unwrap();
        let seen = seen.clone();
        out.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            let segment = pad.sticky_event::<gst::event::Segment>(0).expect("one");
            let segment = segment.segment().downcast_ref::<gst::ClockTime>();
            let pts = info.buffer().and_then(|buffer| buffer.pts());
            let running = segment.and_then(|segment| segment.to_running_time(pts));
            seen.lock().unwrap().extend(running);
            gst::PadProbeReturn::Ok
        });
        for element in [&sink, &depay] {
            element.sync_state_with_parent().unwrap();
        }
        pad.link(&depay.static_pad("sink").unwrap()).unwrap();
        false
    };
    let player = Player::linking(&mini.url(), Box::new(link))
        .with("stall-timeout", 1_000_000_000u64)
        .play();
    let flows = |count: usize| {
        let before = times.lock().unwrap().len();
        player.flows(STREAM, count + 10);
        let now = times.lock().unwrap().len();
        assert!(now >= before + count, "{before} {now}");
    };
    // Its numbers begin again; the depayloader takes less than 100 for late packets.
    flows(120);
    mini.set(|script| script.media = false);
    player.told("connection-lost", 1);
    let lost = times.lock().unwrap().len();
    mini.set(|script| script.media = true);
    player.told("connection-restored", 1);
    flows(10);
    let times = times.lock().unwrap().clone();
    for pair in times.windows(2) {
        assert!(pair[0] <= pair[1], "{pair:?}");
    }
    // More than the silence that made it a loss has passed.
    let passed = times[lost] - times[lost - 1];
    assert!(passed >= gst::ClockTime::from_mseconds(900), "{passed}");
}

// covers: C-SREQ-06
#[test]
fn a_server_that_ends_a_live_session_is_asked_again() {
    let mini = Mini::new(Script::default());
    let player = Player::new(&mini.url()).play();
    player.flows(STREAM, 10);
    mini.ask("TEARDOWN", 1);
    player.told("connection-restored", 1);
    player.flows(STREAM, 10);
    assert_eq!(mini.responses(1)[0].status, 200);
    player.log(|log| assert!(log.events(STREAM, gst::EventType::Eos).is_empty()));
}

#[test]
fn a_server_that_ends_a_closed_range_ends_the_streams() {
    let mini = Mini::new(Script {
        range: "npt=0-3600",
        ..Script::default()
    });
    let player = Player::new(&mini.url()).play();
    player.flows(STREAM, 10);
    mini.ask("TEARDOWN", 1);
    ends(&player, &[STREAM]);
}

#[test]
fn a_sink_that_has_enough_ends_its_own_stream_only() {
    let mini = Mini::new(two_streams());
    let player = Player::new(&mini.url()).play();
    player.flows("stream_0", 10);
    player.change(|log| log.result = Some(("stream_0".into(), gst::FlowError::Eos)));
    ends(&player, &["stream_0"]);
    player.flows("stream_1", 20);
    assert_eq!(mini.count("TEARDOWN"), 0);
    player.change(|log| log.result = Some(("stream_1".into(), gst::FlowError::Eos)));
    ends(&player, &["stream_1"]);
    mini.wait_for("TEARDOWN", 1);
}

#[test]
fn a_sink_that_fails_is_an_error_of_its_own_stream_only() {
    for result in [gst::FlowError::Error, gst::FlowError::NotNegotiated] {
        let mini = Mini::new(two_streams());
        let player = Player::new(&mini.url()).play();
        player.flows("stream_0", 10);
        player.change(|log| log.result = Some(("stream_0".into(), result)));
        let (error, details) = player.error();
        assert!(error.matches(gst::StreamError::Failed), "{error:?}");
        let details = details.expect("details");
        let flow = details.get::<gst::FlowReturn>("flow-return");
        assert_eq!(flow, Ok(gst::FlowReturn::from(result)));
        player.flows("stream_1", 20);
        assert_eq!(player.log(|log| log.errors().len()), 1);
    }
}

#[test]
fn a_flushing_sink_is_no_error() {
    let mini = Mini::new(two_streams());
    let player = Player::new(&mini.url()).play();
    player.flows("stream_0", 10);
    player.change(|log| log.result = Some(("stream_0".into(), gst::FlowError::Flushing)));
    player.flows("stream_0", 10);
    player.change(|log| log.result = None);
    player.flows("stream_0", 10);
    player.flows("stream_1", 10);
    player.has_no_error();
}

#[test]
fn bye_and_then_a_closed_connection_is_the_end_of_a_closed_range() {
    let mini = Mini::new(Script {
        range: "npt=0-3600",
        ..Script::default()
    });
    let player = Player::new(&mini.url()).play();
    player.flows(STREAM, 10);
    mini.set(|script| script.media = false);
    mini.say_bye();
    mini.drop_connections();
    ends(&player, &[STREAM]);
    assert_eq!(mini.count("DESCRIBE"), 1);
}

#[test]
fn eos_without_a_pad_that_could_end_is_an_error_once_the_server_fails() {
    let mini = Mini::new(Script {
        hang: Some("DESCRIBE"),
        ..Script::default()
    });
    let player = Player::new(&mini.url())
        .with("connect-attempts", -1i32)
        .play();
    mini.wait_for("DESCRIBE", 1);
    assert!(player.src.send_event(gst::event::Eos::new()));
    mini.drop_connections();
    // Nothing else would end `gst-launch-1.0 -e`.
    player.error();
}

#[test]
fn an_event_of_the_application_reaches_every_pad() {
    let mini = Mini::new(two_streams());
    let player = Player::new(&mini.url());
    let event = |name: &str| gst::event::CustomDownstream::new(gst::Structure::new_empty(name));
    player.state(gst::State::Paused);
    assert!(player.src.send_event(event("early")));
    player.state(gst::State::Playing);
    player.flows("stream_0", 10);
    assert!(player.src.send_event(event("late")));
    for stream in ["stream_0", "stream_1"] {
        for name in ["early", "late"] {
            player.wait(name, |log| {
                let events = log.events(stream, gst::EventType::CustomDownstream);
                events
                    .iter()
                    .any(|e| e.structure().is_some_and(|s| s.name() == name))
            });
        }
    }
}
