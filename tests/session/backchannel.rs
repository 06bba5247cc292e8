//! The ONVIF back channel against a scripted server: what is said and sent when.

use gst::prelude::*;

use crate::support::mini::{Mini, Request, Script};
use crate::support::player::Player;

const STREAM: &str = "stream_0";
const TAG: &str = "www.onvif.org/ver20/backchannel";

/// Sound from the camera, and sound to it.
const TALKING: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\na=control:*\r\n\
    m=audio 0 RTP/AVP 0\r\na=control:track0\r\na=recvonly\r\n\
    m=audio 0 RTP/AVP 8 0\r\na=control:track1\r\na=sendonly\r\n";

fn talking() -> Mini {
    Mini::new(Script {
        description: Some(TALKING),
        streams: vec![crate::support::mini::Media::Pcmu; 2],
        silent: vec![1],
        ..Script::default()
    })
}

fn requires(request: &Request) -> bool {
    request.header("Require") == Some(TAG)
}

/// One RTP packet.
fn packet(payload_type: u8, seq: u16) -> gst::Sample {
    let mut data = vec![0x80, payload_type];
    data.extend_from_slice(&seq.to_be_bytes());
    data.extend_from_slice(&(u32::from(seq) * 160).to_be_bytes());
    data.extend_from_slice(&[0, 0, 0, 9]);
    data.extend_from_slice(&[0x55; 160]);
    gst::Sample::builder()
        .buffer(&gst::Buffer::from_slice(data))
        .build()
}

fn push(player: &Player, media: u32, sample: &gst::Sample) {
    let args: &[&dyn ToValue] = &[&media, sample];
    let result = player
        .src
        .emit_by_name::<gst::FlowReturn>("push-backchannel-sample", args);
    assert_eq!(result, gst::FlowReturn::Ok);
}

// covers: C-ONVIF-01
#[test]
fn the_back_channel_is_required_where_it_is_wanted_and_nowhere_else() {
    let mini = talking();
    let player = Player::new(&mini.url())
        .with_str("backchannel", "onvif")
        .play();
    player.flows(STREAM, 3);
    player.state(gst::State::Null);
    mini.wait_for("TEARDOWN", 1);
    for request in mini.requests() {
        let about_it = request.method == "SETUP" && request.uri.ends_with("track1");
        let of_all = ["DESCRIBE", "PLAY", "PAUSE", "TEARDOWN"].contains(&request.method.as_str());
        assert_eq!(requires(&request), about_it || of_all, "{request:?}");
    }
    assert_eq!(mini.count("SETUP"), 2);
    player.log(|log| assert_eq!(log.pads.len(), 1));

    let mini = talking();
    let player = Player::new(&mini.url()).play();
    player.flows(STREAM, 3);
    assert!(!mini.requests().iter().any(requires));
    assert_eq!(mini.count("SETUP"), 1);
}

// covers: C-ONVIF-04, C-ONVIF-05
#[test]
fn packets_go_to_the_server_while_it_plays_and_reports_with_them() {
    let mini = talking();
    let player = Player::new(&mini.url()).with_str("backchannel", "onvif");
    player.state(gst::State::Paused);
    mini.wait_for("SETUP", 2);
    player.wait("all pads", |log| log.no_more_pads > 0);
    push(&player, 1, &packet(8, 1));
    player.state(gst::State::Playing);
    player.flows(STREAM, 3);
    for seq in 2..12 {
        push(&player, 1, &packet(8, seq));
    }
    // That is no back channel, and that is not taken.
    push(&player, 0, &packet(8, 77));
    push(&player, 7, &packet(8, 77));
    push(&player, 1, &packet(96, 77));
    push(&player, 1, &packet(0, 12));
    let of = |channel| {
        let all = mini.reports(12);
        all.into_iter().filter(move |r| r.channel == channel)
    };
    let deadline = std::time::Instant::now() + crate::support::player::PATIENCE;
    while of(2).count() < 11 || of(3).count() < 1 {
        assert!(
            std::time::Instant::now() < deadline,
            "{} packets",
            of(2).count()
        );
        std::thread::yield_now();
    }
    let times: Vec<u32> = of(2)
        .map(|r| u32::from_be_bytes(r.packet[4..8].try_into().unwrap()))
        .collect();
    // The first was too early.
    assert_eq!(times, (2..13).map(|seq| seq * 160).collect::<Vec<_>>());
    let types: Vec<u8> = of(2).map(|r| r.packet[1]).collect();
    assert_eq!(types, [[8; 10].as_slice(), &[0]].concat());
    let report = of(3).next().unwrap().packet;
    assert_eq!(report[1], 200, "a sender report");
    player.state(gst::State::Null);
    mini.wait_for("TEARDOWN", 1);
    let last = of(3).next_back().unwrap().packet;
    let has_bye = last.windows(2).any(|bytes| bytes == [0x81, 203]);
    assert!(has_bye, "{last:?}");
}

// covers: C-ONVIF-02
#[test]
fn a_server_that_does_not_know_the_tag_is_asked_again_without() {
    let mini = Mini::new(Script {
        refuse: Some(("DESCRIBE", 551)),
        refusals: 1,
        ..Script::default()
    });
    let player = Player::new(&mini.url())
        .with_str("backchannel", "onvif")
        .play();
    player.flows(STREAM, 3);
    let describes: Vec<bool> = mini
        .requests()
        .iter()
        .filter(|r| r.method == "DESCRIBE")
        .map(requires)
        .collect();
    assert_eq!(describes, [true, false]);
    player.wait("a warning", |log| {
        !log.of_type(gst::MessageType::Warning).is_empty()
    });
    player.has_no_error();
}

#[test]
fn the_back_channel_comes_back_with_the_stream() {
    let mini = talking();
    let player = Player::new(&mini.url())
        .with_str("backchannel", "onvif")
        .play();
    player.flows(STREAM, 3);
    mini.drop_connections();
    player.told("connection-restored", 1);
    player.flows(STREAM, 3);
    push(&player, 1, &packet(8, 500));
    let deadline = std::time::Instant::now() + crate::support::player::PATIENCE;
    while !mini.reports(1).iter().any(|r| r.channel == 2) {
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }
    player.has_no_error();
}

#[test]
fn pads_are_numbered_and_released() {
    crate::support::init();
    let src = gst::ElementFactory::make("rtspsrc2").build().unwrap();
    let pads: Vec<_> = (0..3)
        .map(|_| src.request_pad_simple("backchannel_%u").expect("a pad"))
        .collect();
    let names: Vec<String> = pads.iter().map(|pad| pad.name().to_string()).collect();
    assert_eq!(names, ["backchannel_0", "backchannel_1", "backchannel_2"]);
    assert!(src.request_pad_simple("backchannel_1").is_none());
    src.release_request_pad(&pads[1]);
    assert!(src.request_pad_simple("backchannel_1").is_some());
    let caps = pads[0].query_caps(None);
    for caps_of in [
        "audio/x-raw",
        "application/x-rtp",
        "audio/x-mulaw",
        "audio/mpeg",
    ] {
        assert!(
            caps.can_intersect(&caps_of.parse::<gst::Caps>().unwrap()),
            "{caps_of}"
        );
    }
    // What nobody takes is dropped, and holds nobody up.
    let pad = &pads[0];
    src.set_state(gst::State::Null).unwrap();
    assert_eq!(pad.chain(gst::Buffer::new()), Err(gst::FlowError::Flushing));
}
