//! RTSP 2.0 (RFC 7826), and how its version is agreed on.

use super::*;
use crate::rtsp::media_properties::{Content, RandomAccess};

fn v2(config: Config) -> Config {
    Config {
        version: Version::V2_0,
        ..config
    }
}

const SUPPORTED: &str =
    "Public: OPTIONS, DESCRIBE, SETUP, TEARDOWN, PLAY, PAUSE, GET_PARAMETER, SET_PARAMETER";
const PROPERTIES: &str =
    "Media-Properties: Random-Access=2, Unlimited, Immutable\nAccept-Ranges: npt";

impl Peer {
    fn v2(config: Config) -> Self {
        let mut peer = Self::new(v2(config));
        peer.version = Version::V2_0;
        peer.start();
        peer
    }

    /// Two streams, set up in a pipeline.
    fn v2_playing() -> Self {
        let mut peer = Self::v2(tcp());
        peer.answer("OPTIONS", 200, SUPPORTED);
        peer.describe(TWO_STREAMS);
        let (first, second) = (peer.request("SETUP"), peer.request("SETUP"));
        peer.reply(&first, 200, &format!("{TCP_REPLY}\n{PROPERTIES}"), "");
        peer.reply(&second, 200, &format!("{TCP_REPLY_2}\n{PROPERTIES}"), "");
        peer.play();
        peer.answer("PLAY", 200, "Session: S1\nRange: npt=0-10");
        assert_eq!(peer.client.state(), State::Playing);
        peer
    }

    #[track_caller]
    fn notify(&mut self, headers: &str) -> Response {
        self.ask(
            "PLAY_NOTIFY",
            &format!("CSeq: 9\nSession: S1\n{headers}"),
            "",
        )
    }
}

// covers: C-R2-01, C-OPT-05
#[test]
fn a_session_of_2_0_says_so_in_every_request() {
    let mut peer = Peer::v2(tcp());
    let options = peer.answer("OPTIONS", 200, SUPPORTED);
    assert_eq!(options.version, Version::V2_0);
    assert!(
        header(&options, "Supported")
            .unwrap()
            .contains("play.basic")
    );
    let describe = peer.describe(ONE_STREAM);
    assert_eq!(describe.version, Version::V2_0);
    let setup = peer.answer("SETUP", 200, &format!("{TCP_REPLY}\n{PROPERTIES}"));
    assert!(header(&setup, "Accept-Ranges").unwrap().contains("npt"));
    peer.play();
    let play = peer.answer("PLAY", 200, "Session: S1");
    assert_eq!(play.version, Version::V2_0);
    // 2.0 has no other place for a start than Range.
    assert_eq!(header(&play, "Range").as_deref(), Some("npt=0-"));
    peer.seconds(31);
    assert_eq!(peer.request("SET_PARAMETER").version, Version::V2_0);
    let answer = peer.ask("OPTIONS", "CSeq: 5", "");
    assert_eq!((answer.status, answer.version), (200, Version::V2_0));
}

// covers: C-OPT-05
#[test]
fn the_other_version_is_tried_once_after_505() {
    for (first, other) in [
        (Version::V1_0, Version::V2_0),
        (Version::V2_0, Version::V1_0),
    ] {
        let mut peer = Peer::new(Config {
            version: first,
            ..tcp()
        });
        peer.start();
        assert_eq!(peer.answer("OPTIONS", 505, "").version, first);
        assert_eq!(peer.answer("OPTIONS", 505, "").version, other);
        let error = peer.failed();
        assert_eq!(error.status, Some(505));

        let mut peer = Peer::new(Config {
            version: first,
            ..tcp()
        });
        peer.start();
        peer.answer("OPTIONS", 505, "");
        peer.version = other;
        peer.answer("OPTIONS", 200, PUBLIC);
        assert_eq!(peer.request("DESCRIBE").version, other);
    }
}

// covers: C-OPT-05
#[test]
fn a_server_that_answers_in_1_0_is_talked_to_in_1_0() {
    let mut peer = Peer::new(v2(tcp()));
    peer.start();
    peer.answer("OPTIONS", 200, PUBLIC);
    assert_eq!(peer.request("DESCRIBE").version, Version::V1_0);
}

// covers: C-R2-06
#[test]
fn setups_go_out_without_waiting_for_each_other() {
    let mut peer = Peer::v2(tcp());
    peer.answer("OPTIONS", 200, SUPPORTED);
    peer.describe(TWO_STREAMS);
    let (first, second) = (peer.request("SETUP"), peer.request("SETUP"));
    let name = header(&first, "Pipelined-Requests");
    assert!(
        name.as_ref()
            .is_some_and(|name| name.parse::<u32>().is_ok())
    );
    assert_eq!(header(&second, "Pipelined-Requests"), name);
    assert!(header(&first, "Session").is_none() && header(&second, "Session").is_none());
    assert_ne!(header(&first, "Transport"), header(&second, "Transport"));
    // The answers belong to their requests, in whatever order they come.
    peer.reply(&second, 200, &format!("{TCP_REPLY_2}\n{PROPERTIES}"), "");
    assert!(!peer.saw(|event| matches!(event, Event::Ready)));
    peer.reply(&first, 200, &format!("{TCP_REPLY}\n{PROPERTIES}"), "");
    assert!(peer.saw(|event| matches!(event, Event::Ready)));
}

// covers: C-R2-06
#[test]
fn what_fails_because_of_the_first_is_repeated_on_its_own() {
    let mut peer = Peer::v2(Config {
        transports: vec![LowerTransport::Udp, LowerTransport::Tcp],
        ..tcp()
    });
    peer.answer("OPTIONS", 200, SUPPORTED);
    peer.describe(TWO_STREAMS);
    let (first, second) = (peer.request("SETUP"), peer.request("SETUP"));
    peer.reply(&first, 461, "", "");
    // There is no session that it could belong to.
    peer.reply(&second, 454, "", "");
    let again = peer.answer("SETUP", 200, &format!("{TCP_REPLY}\n{PROPERTIES}"));
    assert_eq!(again.uri, first.uri);
    assert!(header(&again, "Pipelined-Requests").is_none());
    let again = peer.answer("SETUP", 200, &format!("{TCP_REPLY_2}\n{PROPERTIES}"));
    assert_eq!(again.uri, second.uri);
    assert_eq!(header(&again, "Session").as_deref(), Some("S1"));
    assert!(peer.saw(|event| matches!(event, Event::Ready)));
    assert!(!peer.saw(|event| matches!(event, Event::MediaSkipped { .. })));
}

// covers: C-R2-06
#[test]
fn a_refusal_within_a_session_is_that_of_the_stream() {
    let mut peer = Peer::v2(tcp());
    peer.answer("OPTIONS", 200, SUPPORTED);
    peer.describe(TWO_STREAMS);
    let (first, second) = (peer.request("SETUP"), peer.request("SETUP"));
    peer.reply(&first, 200, &format!("{TCP_REPLY}\n{PROPERTIES}"), "");
    peer.reply(&second, 404, "", "");
    let skipped = peer.event(|event| match event {
        Event::MediaSkipped { media, .. } => Some(*media),
        _ => None,
    });
    assert_eq!(skipped, 1);
    assert!(peer.saw(|event| matches!(event, Event::Ready)));
}

#[test]
fn a_pipeline_that_is_cut_is_sent_anew() {
    let mut peer = Peer::v2(tcp());
    peer.answer("OPTIONS", 200, SUPPORTED);
    peer.describe(TWO_STREAMS);
    let (first, _second) = (peer.request("SETUP"), peer.request("SETUP"));
    // 408: the server has not even read it.
    peer.reply(&first, 408, "", "");
    peer.wire
        .retain(|message| matches!(message, Message::Request(_)));
    let mut urls: Vec<String> = Vec::new();
    while let Some(Message::Request(request)) = peer.wire.pop_front() {
        assert_eq!(request.method, Method::Setup);
        urls.push(request.uri.clone());
        let reply = match urls.len() {
            1 => TCP_REPLY,
            _ => TCP_REPLY_2,
        };
        peer.reply(&request, 200, &format!("{reply}\n{PROPERTIES}"), "");
    }
    urls.sort();
    urls.dedup();
    assert_eq!(urls.len(), 2, "{urls:?}");
    assert!(peer.saw(|event| matches!(event, Event::Ready)));
}

// covers: B-TRANS-08, C-R2-03
#[test]
fn addresses_of_2_0_are_understood_and_offered_beside_those_of_1_0() {
    let mut peer = Peer::v2(udp());
    peer.answer("OPTIONS", 200, SUPPORTED);
    peer.describe(ONE_STREAM);
    let reply = format!(
        "Session: S1\n{PROPERTIES}\nMedia-Range: npt=0-12\nTransport: RTP/AVP/UDP;unicast;\
         dest_addr=\"192.0.2.9:5000\"/\"192.0.2.9:5001\";\
         src_addr=\"192.0.2.1:7000\"/\"192.0.2.1:7001\";ssrc=0000000A/0000000B"
    );
    let setup = peer.answer("SETUP", 200, &reply);
    let transport = header(&setup, "Transport").unwrap();
    assert_eq!(
        transport,
        "RTP/AVP;unicast;client_port=5000-5001,RTP/AVP/UDP;unicast;dest_addr=\":5000\"/\":5001\""
    );
    let properties = peer.event(|event| match event {
        Event::MediaProperties(properties) => Some(properties.clone()),
        _ => None,
    });
    assert_eq!(properties.access, RandomAccess::Random(Some(2.0)));
    assert_eq!(properties.content, Content::Immutable);
    assert_eq!(
        properties.range.and_then(|range| range.end_ns()),
        Some(12_000_000_000)
    );
    let granted = peer.event(|event| match event {
        Event::MediaSetUp { granted, .. } => Some(granted.clone()),
        _ => None,
    });
    let server = "192.0.2.1".parse().unwrap();
    assert_eq!(
        granted.path,
        Path::Udp {
            server,
            rtp: Some(7000),
            rtcp: Some(7001),
            send_to_server: true
        }
    );
    assert_eq!(granted.ssrc, Some(10));
}

// covers: C-SREQ-07, C-PLAY-10, C-R2-08
#[test]
fn notifications_are_answered_and_told() {
    let mut peer = Peer::v2_playing();
    let answer = peer
        .notify("Notify-Reason: end-of-stream\nRequest-Status: cseq=5 status=200 reason=\"OK\"");
    assert_eq!((answer.status, answer.version), (200, Version::V2_0));
    let status = peer.event(|event| match event {
        Event::EndOfStream { status } => Some(status.clone()),
        _ => None,
    });
    assert!(status.contains("status=200"), "{status}");
    // The session stays as it was.
    assert_eq!(peer.client.state(), State::Playing);
    peer.notify(
        "Notify-Reason: Media-Properties-Update\nMedia-Properties: No-Seeking, Time-Progressing",
    );
    let content = peer.event(|event| match event {
        Event::MediaProperties(properties) => Some(properties.content),
        _ => None,
    });
    assert_eq!(content, Content::Progressing);
    peer.notify(
        "Notify-Reason: scale-change\nScale: 2\nRange: npt=5-10\n\
        RTP-Info: url=\"rtsp://192.0.2.1/x/v\" ssrc=0000000A:seq=7;rtptime=90000",
    );
    let (scale, start, info) = peer.event(|event| match event {
        Event::Playing {
            scale, range, info, ..
        } => Some((
            *scale,
            range.as_ref().and_then(|range| range.start_ns()),
            info.clone(),
        )),
        _ => None,
    });
    assert_eq!((scale, start), (Some(2.0), Some(5_000_000_000)));
    assert_eq!((info[0].1.ssrc, info[0].1.seq), (Some(10), Some(7)));
    assert_eq!(peer.notify("Notify-Reason: coffee").status, 465);
    assert_eq!(peer.notify("").status, 465);
    let other = peer.ask(
        "PLAY_NOTIFY",
        "CSeq: 9\nSession: S2\nNotify-Reason: end-of-stream",
        "",
    );
    assert_eq!(other.status, 454);
}

// covers: C-SREQ-07
#[test]
fn on_1_0_there_are_no_notifications() {
    let mut peer = Peer::playing(tcp(), [TCP_REPLY, TCP_REPLY_2]);
    let answer = peer.ask(
        "PLAY_NOTIFY",
        "CSeq: 9\nSession: S1\nNotify-Reason: end-of-stream",
        "",
    );
    assert_eq!(answer.status, 501);
    assert!(!peer.saw(|event| matches!(event, Event::EndOfStream { .. })));
}

// covers: C-SREQ-05, C-R2-08
#[test]
fn the_server_may_say_why_and_when_it_ends_the_session() {
    let mut peer = Peer::v2_playing();
    let reason = "Terminate-Reason: Server-Admin ;user-msg=\"back at noon\"";
    let answer = peer.ask("TEARDOWN", &format!("CSeq: 9\nSession: S1\n{reason}"), "");
    assert_eq!(answer.status, 200);
    let error = peer.session_lost();
    assert_eq!(error.kind, ErrorKind::ServerTeardown);
    assert!(error.message.contains("back at noon"), "{error}");

    let mut peer = Peer::v2_playing();
    let answer = peer.ask(
        "REDIRECT",
        "CSeq: 9\nSession: S1\nTerminate-Reason: Server-Admin",
        "",
    );
    assert_eq!(answer.status, 200, "2.0 need not name a place");
    assert_eq!(peer.session_lost().kind, ErrorKind::ServerTeardown);

    let now = Instant::now();
    let mut peer = Peer::v2_playing();
    peer.client.config.wall_clock = Some((peer.now, 1_700_000_000_000_000_000));
    let _ = now;
    let location =
        "Location: rtsp://192.0.2.7/y\nTerminate-Reason: Server-Admin;time=20231114T221330Z";
    peer.ask("REDIRECT", &format!("CSeq: 9\nSession: S1\n{location}"), "");
    assert!(!peer.saw(|event| matches!(event, Event::Redirected { .. })));
    peer.seconds(11);
    assert!(peer.saw(|event| matches!(event, Event::Redirected { .. })));
}
