//! The contract of the source pads.

use gst::prelude::*;

use crate::support::mini::{Media, Mini, Script};
use crate::support::player::{Item, Log, Player};

const STREAM: &str = "stream_0";

fn two_streams() -> Script {
    Script {
        streams: vec![Media::H264, Media::Pcmu],
        ..Script::default()
    }
}

fn names(log: &Log) -> Vec<String> {
    log.pads
        .iter()
        .map(|(pad, _)| pad.name().to_string())
        .collect()
}

#[test]
fn a_pad_begins_with_its_sticky_events_and_then_what_play_says() {
    let mini = Mini::new(two_streams());
    let player = Player::new(&mini.url()).play();
    player.flows("stream_0", 3);
    player.flows("stream_1", 3);
    player.log(|log| {
        assert_eq!(names(log), ["stream_0", "stream_1"]);
        assert_eq!(log.no_more_pads, 1);
        let mut groups = Vec::new();
        for (pad, items) in &log.pads {
            let first = items
                .iter()
                .position(|item| matches!(item, Item::Buffer(_)));
            let before: Vec<&gst::Event> = items[..first.expect("a buffer")]
                .iter()
                .filter_map(|item| match item {
                    Item::Event(event) => Some(event),
                    Item::Buffer(_) => None,
                })
                .collect();
            let kinds: Vec<_> = before.iter().map(|event| event.type_()).collect();
            assert_eq!(kinds[0], gst::EventType::StreamStart, "{kinds:?}");
            for kind in [gst::EventType::Segment, gst::EventType::StreamCollection] {
                assert_eq!(kinds.iter().filter(|k| **k == kind).count(), 1, "{kinds:?}");
            }
            let gst::EventView::StreamStart(start) = before[0].view() else {
                unreachable!("it is one");
            };
            assert!(start.stream().is_some());
            groups.push(start.group_id().expect("a group"));
            // The last CAPS before the first buffer.
            let caps = before.iter().rev().find_map(|event| match event.view() {
                gst::EventView::Caps(caps) => Some(caps.caps_owned()),
                _ => None,
            });
            let caps = caps.expect("caps");
            let s = caps.structure(0).expect("one structure");
            let packets = log.packets(&pad.name());
            assert_eq!(s.get::<u32>("seqnum-base"), Ok(65_500), "{s}");
            assert_eq!(s.get::<u32>("clock-base"), Ok(packets[0].rtp_time), "{s}");
            assert_eq!(s.get::<f64>("play-speed"), Ok(1.0), "{s}");
            assert!(!s.has_field("npt-stop"), "it is live: {s}");
            assert!(packets[0].discont);
            assert!(packets[1..].iter().all(|p| !p.discont));
        }
        assert_eq!(groups[0], groups[1]);
        let collections = log.of_type(gst::MessageType::StreamCollection);
        let gst::MessageView::StreamCollection(message) = collections[0].view() else {
            unreachable!("it is one");
        };
        let kinds: Vec<_> = message
            .stream_collection()
            .iter()
            .map(|s| s.stream_type())
            .collect();
        assert_eq!(kinds, [gst::StreamType::VIDEO, gst::StreamType::AUDIO]);
    });
}

#[test]
fn a_closed_range_is_in_caps_and_duration() {
    let mini = Mini::new(Script {
        range: "npt=0-60",
        ..Script::default()
    });
    let player = Player::new(&mini.url()).play();
    player.flows(STREAM, 3);
    let caps = player
        .log(|log| log.pads[0].0.current_caps())
        .expect("caps");
    let s = caps.structure(0).expect("one structure");
    assert_eq!(s.get::<u64>("npt-start"), Ok(0), "{s}");
    assert_eq!(s.get::<u64>("npt-stop"), Ok(60_000_000_000), "{s}");
    let duration = player.src.query_duration::<gst::ClockTime>();
    assert_eq!(duration, Some(gst::ClockTime::from_seconds(60)));
}

#[test]
fn a_pad_that_is_not_linked_holds_up_nothing_and_flows_once_it_is() {
    let mini = Mini::new(two_streams());
    let player = Player::linking(&mini.url(), Box::new(|pad| pad.name() == "stream_1")).play();
    player.flows("stream_1", 30);
    player.has_no_error();
    player.log(|log| assert!(log.packets("stream_0").is_empty()));
    let sink = gst::ElementFactory::make("fakesink")
        .property("sync", false)
        .property("async", false)
        .build()
        .unwrap();
    player.pipeline.add(&sink).unwrap();
    sink.sync_state_with_parent().unwrap();
    let pad = player.log(|log| log.pads[0].0.clone());
    pad.link(&sink.static_pad("sink").unwrap()).unwrap();
    player.flows("stream_0", 10);
    player.log(|log| {
        let first = log.items("stream_0").iter().find_map(|item| match item {
            Item::Event(event) => Some(event.type_()),
            Item::Buffer(_) => None,
        });
        assert_eq!(first, Some(gst::EventType::StreamStart));
        assert!(log.packets("stream_0")[0].discont);
    });
    player.has_no_error();
}

#[test]
fn without_any_linked_pad_for_ten_seconds_it_is_an_error() {
    let mini = Mini::new(two_streams());
    let player = Player::linking(&mini.url(), Box::new(|_| false)).play();
    let (error, details) = player.error();
    assert!(error.matches(gst::StreamError::Failed), "{error:?}");
    let flow = details
        .expect("details")
        .get::<gst::FlowReturn>("flow-return");
    assert_eq!(flow, Ok(gst::FlowReturn::NotLinked));
}

#[test]
fn a_silent_stream_gets_gaps_until_it_sends() {
    let mini = Mini::new(Script {
        silent: vec![1],
        ..two_streams()
    });
    let player = Player::new(&mini.url()).play();
    player.flows("stream_0", 10);
    player.wait("GAPs", |log| {
        log.events("stream_1", gst::EventType::Gap).len() >= 4
    });
    assert_eq!(player.stream_stats(1).get::<bool>("silent"), Ok(true));
    mini.set(|script| script.silent.clear());
    player.flows("stream_1", 10);
    assert_eq!(player.stream_stats(1).get::<bool>("silent"), Ok(false));
    let end = player.log(|log| {
        assert!(log.events("stream_0", gst::EventType::Gap).is_empty());
        let gaps: Vec<_> = log
            .events("stream_1", gst::EventType::Gap)
            .iter()
            .filter_map(|event| match event.view() {
                gst::EventView::Gap(gap) => Some(gap.get()),
                _ => None,
            })
            .collect();
        for pair in gaps.windows(2) {
            let (start, duration) = pair[0];
            assert_eq!(
                Some(pair[1].0),
                duration.map(|d| start + d),
                "no hole, no overlap"
            );
        }
        let (start, duration) = gaps[gaps.len() - 1];
        start + duration.expect("a duration")
    });
    player.log(|log| {
        let first = log.packets("stream_1")[0];
        assert!(first.pts.expect("a time") >= end, "{first:?} {end}");
        let gaps = log.events("stream_1", gst::EventType::Gap).len();
        assert!(gaps < 100, "{gaps}");
    });
    // It falls silent again.
    mini.set(|script| script.silent = vec![1]);
    let before = player.log(|log| log.events("stream_1", gst::EventType::Gap).len());
    player.wait("GAPs again", |log| {
        log.events("stream_1", gst::EventType::Gap).len() >= before + 2
    });
    // A stream that never sends, or no more, is no stall.
    player.log(|log| assert!(log.told("rtspsrc2-connection-lost").is_empty()));
}

#[test]
fn a_list_holds_one_timestamp() {
    let mini = Mini::new(Script::default());
    let player = Player::new(&mini.url()).play();
    player.flows(STREAM, 150);
    player.log(|log| {
        let packets = log.packets(STREAM);
        let lists = packets.iter().filter(|p| p.in_list).count();
        assert!(lists > packets.len() / 2, "{lists} of {}", packets.len());
        for pair in packets
            .windows(2)
            .filter(|pair| pair[0].push == pair[1].push)
        {
            assert_eq!(pair[0].rtp_time, pair[1].rtp_time);
            assert_eq!(pair[0].pts, pair[1].pts);
            assert!(!pair[1].discont, "a list ends before a discontinuity");
        }
    });
    player.src.set_property("buffer-lists", false);
    player.flows(STREAM, 30);
    player.wait("single buffers", |log| {
        let packets = log.packets(STREAM);
        packets[packets.len() - 30..].iter().all(|p| !p.in_list)
    });
}

#[test]
fn without_buffer_lists_there_is_none() {
    let mini = Mini::new(Script::default());
    let player = Player::new(&mini.url()).with("buffer-lists", false).play();
    player.flows(STREAM, 100);
    player.log(|log| assert!(log.packets(STREAM).iter().all(|p| !p.in_list)));
}

#[test]
fn only_the_wanted_media_are_set_up() {
    for (media, pad) in [("video", "stream_0"), ("audio", "stream_1")] {
        let mini = Mini::new(two_streams());
        let player = Player::new(&mini.url()).with("media", media).play();
        player.flows(pad, 10);
        assert_eq!(mini.count("SETUP"), 1);
        player.log(|log| {
            assert_eq!(names(log), [pad], "pads are named by m-line");
            let collections = log.of_type(gst::MessageType::StreamCollection);
            let gst::MessageView::StreamCollection(message) = collections[0].view() else {
                unreachable!("it is one");
            };
            assert_eq!(message.stream_collection().len(), 1);
        });
    }
}

#[test]
fn the_application_refuses_a_stream() {
    let mini = Mini::new(two_streams());
    let player = Player::new(&mini.url());
    player.src.connect("select-stream", false, |values| {
        let index = values[1].get::<u32>().expect("an index");
        let caps = values[2].get::<gst::Caps>().expect("caps");
        let s = caps.structure(0).expect("one structure");
        let media = if index == 0 { "video" } else { "audio" };
        assert_eq!(s.get::<&str>("media"), Ok(media));
        Some((index == 1).to_value())
    });
    let player = player.play();
    player.flows("stream_1", 10);
    assert_eq!(mini.count("SETUP"), 1);
    player.log(|log| assert_eq!(names(log), ["stream_1"]));
    // It is not asked again: the choice stands when the server comes back.
    mini.drop_connections();
    player.told("connection-restored", 1);
    player.flows("stream_1", 10);
    assert_eq!(mini.count("SETUP"), 2);
}

#[test]
fn a_presentation_without_a_wanted_stream_is_an_error() {
    let mini = Mini::new(two_streams());
    let player = Player::new(&mini.url()).with("media", "application").play();
    let (error, _) = player.error();
    assert!(error.matches(gst::StreamError::CodecNotFound), "{error:?}");
    assert_eq!(mini.count("SETUP"), 0);
}

#[test]
fn caps_follow_the_payload_type_within_a_media() {
    let mini = Mini::new(Script {
        streams: vec![Media::PcmuAndPcma],
        ..Script::default()
    });
    let player = Player::new(&mini.url()).play();
    // 90 packets of one type, 10 of the other, and so on.
    player.flows(STREAM, 210);
    player.has_no_error();
    player.log(|log| {
        assert_eq!(names(log), [STREAM]);
        let mut caps = None;
        let mut seen = Vec::new();
        for item in log.items(STREAM) {
            match item {
                Item::Event(event) => {
                    if let gst::EventView::Caps(event) = event.view() {
                        caps = Some(event.caps_owned());
                    }
                }
                Item::Buffer(packet) => {
                    let caps = caps.as_ref().expect("caps before the first packet");
                    let s = caps.structure(0).expect("one structure");
                    let expected = if packet.payload_type == 8 {
                        "PCMA"
                    } else {
                        "PCMU"
                    };
                    assert_eq!(s.get::<&str>("encoding-name"), Ok(expected), "{s}");
                    assert_eq!(s.get::<i32>("payload"), Ok(packet.payload_type.into()));
                    assert!(s.has_field("clock-base"), "{s}");
                    if seen.last() != Some(&packet.payload_type) {
                        seen.push(packet.payload_type);
                    }
                }
            }
        }
        assert!(seen.starts_with(&[0, 8, 0, 8]), "{seen:?}");
    });
    assert_eq!(
        player.stream_stats(0).get::<u64>("discarded-payload-type"),
        Ok(0)
    );
}

#[test]
fn a_new_clock_while_playing_starts_time_anew() {
    let mini = Mini::new(Script::default());
    let player = Player::new(&mini.url()).play();
    player.flows(STREAM, 10);
    let running = |log: &Log| log.packets(STREAM).last().and_then(|p| p.pts);
    let before = player.log(running).expect("a time");
    // Another clock, on which the pipeline has run for an hour.
    let clock = gst::SystemClock::new(Some("other"), gst::ClockType::Realtime);
    let hour = gst::ClockTime::from_seconds(3600);
    player.src.set_base_time(clock.time() - hour);
    player.src.set_clock(Some(&clock)).expect("a clock");
    player.wait("time on the new clock", |log| {
        running(log).is_some_and(|time| time >= hour)
    });
    player.flows(STREAM, 10);
    player.has_no_error();
    player.log(|log| {
        let packets = log.packets(STREAM);
        let first = packets.iter().position(|p| p.pts >= Some(hour));
        let first = first.expect("one");
        assert!(packets[first].discont);
        assert!(packets[first..].windows(2).all(|p| p[0].pts <= p[1].pts));
        let last = packets.last().and_then(|p| p.pts).expect("a time");
        assert!(last < hour + gst::ClockTime::from_seconds(60), "{last}");
        assert!(before < hour);
    });
}
