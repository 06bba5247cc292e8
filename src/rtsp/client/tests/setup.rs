//! SETUP: selection, transports, control URLs, session identifiers.

use super::*;
use crate::rtsp::transport::Profile;

fn described(config: Config, sdp: &str) -> Peer {
    let mut peer = Peer::started(config);
    peer.answer("OPTIONS", 200, PUBLIC);
    peer.describe(sdp);
    peer
}

fn transport(request: &Request) -> String {
    header(request, "Transport").unwrap()
}

fn granted(peer: &mut Peer) -> Path {
    peer.event(|event| match event {
        Event::MediaSetUp { granted, .. } => Some(granted.path.clone()),
        _ => None,
    })
}

fn skipped(peer: &mut Peer) -> (usize, Error) {
    peer.event(|event| match event {
        Event::MediaSkipped { media, error } => Some((*media, error.clone())),
        _ => None,
    })
}

// covers: C-SETUP-01
#[test]
fn only_what_was_selected_is_set_up_and_nothing_selected_is_an_error() {
    let mut peer = Peer::started(tcp());
    peer.auto_select = false;
    peer.answer("OPTIONS", 200, PUBLIC);
    peer.describe(TWO_STREAMS);
    assert!(peer.wire.is_empty());
    peer.client.select(&[1, 7], peer.now);
    peer.pump();
    assert_eq!(
        peer.answer("SETUP", 200, TCP_REPLY).uri,
        "rtsp://192.0.2.1/x/a"
    );
    assert!(peer.wire.is_empty() && peer.saw(|event| matches!(event, Event::Ready)));

    let mut peer = Peer::started(tcp());
    peer.auto_select = false;
    peer.answer("OPTIONS", 200, PUBLIC);
    peer.describe(TWO_STREAMS);
    peer.client.select(&[], peer.now);
    peer.pump();
    assert_eq!(peer.failed().kind, ErrorKind::Unsupported);
}

// covers: C-SETUP-19
#[test]
fn media_of_a_profile_that_is_not_known_is_skipped_and_the_rest_goes_on() {
    let sdp = TWO_STREAMS.replace("audio 0 RTP/AVP", "audio 0 RAW/RAW/UDP");
    let mut peer = described(tcp(), &sdp);
    peer.answer("SETUP", 200, TCP_REPLY);
    assert!(peer.saw(|event| matches!(event, Event::Ready)));
    let (media, error) = skipped(&mut peer);
    assert_eq!((media, error.kind), (1, ErrorKind::Unsupported));
}

// covers: C-URL-14
#[test]
fn a_control_url_may_be_missing_only_where_it_is_clear() {
    let one = ONE_STREAM.replace("a=control:v\r\n", "");
    assert_eq!(
        described(tcp(), &one).request("SETUP").uri,
        "rtsp://192.0.2.1/x"
    );
    let one = one.replace("m=", "a=control:rtsp://192.0.2.1/agg\r\nm=");
    assert_eq!(
        described(tcp(), &one).request("SETUP").uri,
        "rtsp://192.0.2.1/agg"
    );

    let mut peer = described(tcp(), &TWO_STREAMS.replace("a=control:v\r\n", ""));
    assert_eq!(peer.request("SETUP").uri, "rtsp://192.0.2.1/x/a");
    assert_eq!(skipped(&mut peer).0, 0);
}

// covers: C-URL-16, C-URL-10
#[test]
fn a_control_url_elsewhere_opens_no_connection() {
    let sdp = ONE_STREAM.replace("control:v", "control:rtsp://10.0.0.5:8554/v");
    let mut peer = described(tcp(), &sdp);
    assert_eq!(
        peer.answer("SETUP", 200, TCP_REPLY).uri,
        "rtsp://10.0.0.5:8554/v"
    );
    assert_eq!(peer.connects(), [("192.0.2.1", 554, false)]);
}

// covers: C-URL-11, C-STAT-05
#[test]
fn the_other_way_to_join_control_and_base_is_tried_once_and_kept() {
    for status in [400, 404] {
        let mut peer = Peer::started(config("rtsp://192.0.2.1/a/b"));
        peer.answer("OPTIONS", 200, PUBLIC);
        peer.describe(TWO_STREAMS);
        assert_eq!(
            peer.answer("SETUP", status, "").uri,
            "rtsp://192.0.2.1/a/b/v"
        );
        assert_eq!(
            peer.answer("SETUP", 200, TCP_REPLY).uri,
            "rtsp://192.0.2.1/a/v"
        );
        assert_eq!(
            peer.answer("SETUP", 404, "").uri,
            "rtsp://192.0.2.1/a/a",
            "kept, and not undone later"
        );
        assert!(peer.saw(|event| matches!(event, Event::Ready)));
    }
}

// covers: C-URL-11, C-STAT-07
#[test]
fn when_neither_way_works_the_error_is_the_servers() {
    let mut peer = Peer::started(config("rtsp://192.0.2.1/a/b"));
    peer.answer("OPTIONS", 200, PUBLIC);
    peer.describe(ONE_STREAM);
    peer.answer("SETUP", 404, "");
    peer.answer("SETUP", 404, "");
    let error = peer.failed();
    assert_eq!((error.kind, error.status), (ErrorKind::NotFound, Some(404)));
    assert!(peer.wire.is_empty());
}

// covers: C-SETUP-04, C-SETUP-07, C-STAT-19
#[test]
fn refused_transports_are_followed_by_the_next_on_the_same_connection() {
    for status in [461, 462, 463] {
        let mut peer = described(tcp(), ONE_STREAM);
        let first = peer.answer("SETUP", status, "");
        let second = peer.answer("SETUP", status, "");
        let third = peer.answer("SETUP", status, "");
        assert_eq!(
            [&first, &second, &third].map(transport),
            [
                "RTP/AVP/TCP;unicast;interleaved=0-1",
                "RTP/AVP;unicast;client_port=5000-5001",
                "RTP/AVP;multicast",
            ]
        );
        assert_eq!([&first, &second, &third].map(cseq), [3, 4, 5]);
        assert_eq!(peer.connects().len(), 1);
        let switches = peer
            .did
            .iter()
            .filter(|did| matches!(did, Did::Event(Event::TransportSwitched { .. })));
        assert_eq!(switches.count(), 2);
        let error = peer.failed();
        assert_eq!(
            (error.kind, error.status),
            (ErrorKind::NoTransport, Some(status))
        );
        assert!(
            error.to_string().contains("TCP, UDP, UDP multicast"),
            "{error}"
        );
    }
}

// covers: C-SETUP-08
#[test]
fn what_worked_for_one_stream_is_first_for_the_next() {
    let mut peer = described(tcp(), TWO_STREAMS);
    peer.answer("SETUP", 461, "");
    peer.answer("SETUP", 200, UDP_REPLY);
    let audio = peer.answer("SETUP", 461, "");
    assert_eq!(transport(&audio), "RTP/AVP;unicast;client_port=5000-5001");
    let audio = peer.answer("SETUP", 200, TCP_REPLY);
    assert_eq!(
        transport(&audio),
        "RTP/AVP/TCP;unicast;interleaved=0-1",
        "a mix, if the server allows it"
    );
    assert!(peer.saw(|event| matches!(event, Event::Ready)));
}

// covers: C-SETUP-07
#[test]
fn a_transport_that_cannot_be_had_here_is_passed_over() {
    let mut peer = Peer::started(Config {
        transports: vec![LowerTransport::Udp, LowerTransport::Tcp],
        ..tcp()
    });
    peer.without = vec![LowerTransport::Udp];
    peer.answer("OPTIONS", 200, PUBLIC);
    peer.describe(ONE_STREAM);
    assert_eq!(
        transport(&peer.request("SETUP")),
        "RTP/AVP/TCP;unicast;interleaved=0-1"
    );

    let mut peer = Peer::started(udp());
    peer.without = vec![LowerTransport::Udp];
    peer.answer("OPTIONS", 200, PUBLIC);
    peer.describe(ONE_STREAM);
    assert_eq!(peer.failed().kind, ErrorKind::NoTransport);
    assert!(peer.wire.is_empty());
}

// covers: C-SETUP-20
#[test]
fn other_refusals_of_the_first_setup_lead_to_one_other_transport() {
    for status in [405, 406, 415, 500, 501] {
        let mut peer = described(tcp(), ONE_STREAM);
        peer.answer("SETUP", status, "");
        assert_eq!(
            transport(&peer.answer("SETUP", status, "")),
            "RTP/AVP;unicast;client_port=5000-5001"
        );
        assert_eq!(peer.failed().status, Some(status));
        assert!(peer.wire.is_empty());
    }
    // 400 tries the other URL first, then the first URL with the other transport.
    let mut peer = Peer::started(config("rtsp://192.0.2.1/a/b"));
    peer.answer("OPTIONS", 200, PUBLIC);
    peer.describe(ONE_STREAM);
    peer.answer("SETUP", 400, "");
    assert_eq!(peer.answer("SETUP", 400, "").uri, "rtsp://192.0.2.1/a/v");
    let third = peer.answer("SETUP", 400, "");
    assert_eq!(
        (
            third.uri.as_str(),
            transport(&third).contains("client_port")
        ),
        ("rtsp://192.0.2.1/a/b/v", true)
    );
    assert!(peer.wire.is_empty() && peer.saw(|event| matches!(event, Event::Failed(_))));
}

// covers: C-SETUP-20, C-STAT-14
#[test]
fn other_statuses_do_not_lead_to_another_transport() {
    for status in [403, 404, 453, 454, 503] {
        let mut peer = described(tcp(), ONE_STREAM);
        peer.answer("SETUP", status, "");
        if status == 404 {
            peer.answer("SETUP", 404, "");
        }
        assert!(peer.wire.is_empty(), "{status}");
        assert_eq!(peer.failed().status, Some(status));
    }
}

// covers: C-SETUP-19
#[test]
fn one_stream_may_fail_but_what_the_first_meets_all_would_meet() {
    let mut peer = described(tcp(), TWO_STREAMS);
    peer.answer("SETUP", 200, TCP_REPLY);
    peer.answer("SETUP", 503, "");
    assert!(peer.saw(|event| matches!(event, Event::Ready)));
    assert_eq!(skipped(&mut peer).0, 1);

    let mut peer = described(tcp(), TWO_STREAMS);
    peer.answer("SETUP", 451, "");
    peer.answer("SETUP", 200, TCP_REPLY);
    assert!(peer.saw(|event| matches!(event, Event::Ready)));

    let mut peer = described(tcp(), TWO_STREAMS);
    peer.answer("SETUP", 503, "Retry-After: 9");
    let error = peer.failed();
    assert_eq!(
        (error.kind, error.retry_after),
        (ErrorKind::Busy, Some(Duration::from_secs(9)))
    );
    assert!(peer.wire.is_empty());
}

// covers: C-SETUP-10, C-URL-16, H-13
#[test]
fn a_grant_that_was_not_offered_is_torn_down_and_not_used() {
    let mut peer = described(tcp(), ONE_STREAM);
    peer.answer("SETUP", 200, UDP_REPLY);
    let teardown = peer.answer("TEARDOWN", 200, "");
    assert_eq!(header(&teardown, "Session").as_deref(), Some("S1"));
    assert!(!peer.saw(|event| matches!(event, Event::MediaSetUp { .. })));
    assert_eq!(peer.failed().kind, ErrorKind::Protocol);
    assert_eq!(peer.client.session_id(), None);
}

// covers: H-12, C-SETUP-12
#[test]
fn channels_of_another_stream_cost_only_the_stream_that_got_them() {
    let mut peer = described(tcp(), TWO_STREAMS);
    peer.answer("SETUP", 200, TCP_REPLY);
    peer.answer("SETUP", 200, TCP_REPLY);
    let teardown = peer.answer("TEARDOWN", 200, "");
    assert_eq!(
        teardown.uri, "rtsp://192.0.2.1/x/a",
        "the stream, not the session"
    );
    assert!(peer.saw(|event| matches!(event, Event::Ready)));
    assert_eq!(peer.client.session_id(), Some("S1"));
    assert_eq!(
        granted(&mut peer),
        Path::Tcp {
            rtp: 0,
            rtcp: Some(1)
        }
    );
    assert_eq!(skipped(&mut peer).0, 1);
}

// covers: C-SETUP-06, C-SETUP-12
#[test]
fn channels_that_the_server_chose_are_not_offered_again() {
    let mut peer = described(tcp(), TWO_STREAMS);
    peer.answer(
        "SETUP",
        200,
        "Session: S1\nTransport: RTP/AVP/TCP;unicast;interleaved=1-2",
    );
    assert_eq!(
        transport(&peer.request("SETUP")),
        "RTP/AVP/TCP;unicast;interleaved=4-5"
    );
}

// covers: C-SETUP-10
#[test]
fn a_tcp_grant_to_a_udp_ask_is_taken_if_tcp_is_allowed() {
    let mut peer = described(
        Config {
            transports: vec![LowerTransport::Udp, LowerTransport::Tcp],
            ..tcp()
        },
        ONE_STREAM,
    );
    peer.answer("SETUP", 200, TCP_REPLY);
    assert_eq!(
        granted(&mut peer),
        Path::Tcp {
            rtp: 0,
            rtcp: Some(1)
        }
    );

    let mut peer = described(udp(), ONE_STREAM);
    peer.answer("SETUP", 200, TCP_REPLY);
    peer.answer("TEARDOWN", 200, "");
    assert_eq!(peer.failed().kind, ErrorKind::Protocol);
}

// covers: C-MC-01
#[test]
fn a_multicast_reply_falls_back_on_the_description() {
    let sdp = ONE_STREAM
        .replace("video 0", "video 6000")
        .replace("t=0 0", "c=IN IP4 239.1.2.3/15\r\nt=0 0");
    let multicast = Config {
        transports: vec![LowerTransport::UdpMulticast],
        ..tcp()
    };
    let mut peer = described(multicast, &sdp);
    peer.answer("SETUP", 200, "Session: S1\nTransport: RTP/AVP;multicast");
    let group = "239.1.2.3".parse().unwrap();
    assert_eq!(
        granted(&mut peer),
        Path::Multicast {
            group,
            rtp: 6000,
            rtcp: 6001,
            ttl: 15,
            source: None
        }
    );
}

// covers: C-SETUP-10
#[test]
fn the_profile_of_the_description_is_asked_for() {
    let mut peer = described(tcp(), &ONE_STREAM.replace("RTP/AVP", "RTP/AVPF"));
    let setup = peer.answer(
        "SETUP",
        200,
        "Session: S1\nTransport: RTP/AVPF/TCP;interleaved=0-1",
    );
    assert_eq!(transport(&setup), "RTP/AVPF/TCP;unicast;interleaved=0-1");
    assert!(peer.saw(
        |e| matches!(e, Event::MediaSetUp { granted, .. } if granted.profile == Profile::Avpf)
    ));
}

// covers: C-SESS-01, C-SESS-02, C-SESS-03, H-27
#[test]
fn the_first_identifier_is_kept_and_echoed_as_it_came() {
    let mut peer = described(tcp(), TWO_STREAMS);
    peer.answer(
        "SETUP",
        200,
        &TCP_REPLY.replace("S1;timeout=60", " aB/+=$-._:1 ; Timeout=\"20\""),
    );
    let second = peer.answer("SETUP", 200, &TCP_REPLY_2.replace("S1", "S2"));
    assert_eq!(header(&second, "Session").as_deref(), Some("aB/+=$-._:1"));
    assert_eq!(peer.client.session_timeout(), Duration::from_secs(20));
    peer.play();
    assert_eq!(
        header(&peer.request("PLAY"), "Session").as_deref(),
        Some("aB/+=$-._:1")
    );
    assert_eq!(peer.client.quirks(), ["session-id-changes"]);

    let mut peer = described(tcp(), TWO_STREAMS);
    peer.answer("SETUP", 200, TCP_REPLY);
    peer.answer("SETUP", 200, &TCP_REPLY_2.replace("60", "20"));
    assert_eq!(
        peer.client.session_timeout(),
        Duration::from_secs(20),
        "the shorter one is safe"
    );
}

// covers: C-SESS-04
#[test]
fn a_session_without_identifier_goes_on_without_the_header() {
    for empty in ["", "Session: \n", "Session: ;timeout=30\n"] {
        let mut peer = described(tcp(), ONE_STREAM);
        let reply = format!("{empty}Transport: RTP/AVP/TCP;unicast;interleaved=0-1");
        peer.answer("SETUP", 200, &reply);
        peer.play();
        assert_eq!(header(&peer.answer("PLAY", 200, ""), "Session"), None);
        assert_eq!(peer.client.quirks(), ["setup-reply-without-session"]);
        peer.teardown();
        peer.answer("TEARDOWN", 200, "");
        assert!(peer.is_closed());
    }
}

// covers: H-27
#[test]
fn an_illegal_identifier_fails_the_setup() {
    for id in ["a b", "a\tb", &"x".repeat(limits::SESSION_ID + 1)] {
        let mut peer = described(tcp(), ONE_STREAM);
        peer.answer("SETUP", 200, &TCP_REPLY.replace("S1", id));
        assert_eq!(peer.failed().kind, ErrorKind::Protocol, "{id:?}");
    }
}

// covers: C-STAT-12
#[test]
fn blocksize_is_sent_when_configured_and_dropped_when_refused() {
    let mut peer = described(
        Config {
            blocksize: 1400,
            ..tcp()
        },
        ONE_STREAM,
    );
    assert_eq!(
        header(&peer.answer("SETUP", 413, ""), "Blocksize").as_deref(),
        Some("1400")
    );
    assert_eq!(
        header(&peer.answer("SETUP", 200, TCP_REPLY), "Blocksize"),
        None
    );
}

// covers: C-STAT-10
#[test]
fn only_the_first_setup_is_repeated_after_a_timeout() {
    let mut peer = described(tcp(), TWO_STREAMS);
    peer.request("SETUP");
    peer.seconds(10);
    peer.answer("SETUP", 200, TCP_REPLY);
    assert_eq!(peer.connects().len(), 2);
    peer.request("SETUP");
    peer.seconds(10);
    peer.request("TEARDOWN");
    assert_eq!(peer.failed().kind, ErrorKind::Timeout);
}

#[test]
fn control_is_only_appended_where_that_is_asked_for() {
    let mut peer = described(
        Config {
            append_control: true,
            ..config("rtsp://192.0.2.1/a/b")
        },
        ONE_STREAM,
    );
    peer.answer("SETUP", 404, "");
    let error = peer.failed();
    assert_eq!((error.kind, error.status), (ErrorKind::NotFound, Some(404)));
    assert!(peer.wire.is_empty());
}

// covers: C-TLS-03
#[test]
fn media_that_leaves_the_tls_connection_in_clear_is_warned_of_once() {
    let warnings = |peer: &Peer| {
        let count = |did: &&Did| matches!(did, Did::Event(Event::Warning(text)) if text.contains("encryption"));
        peer.did.iter().filter(count).count()
    };
    for (url, over_udp, expected) in [
        ("rtsps://192.0.2.1/x", true, 1),
        ("rtsps://192.0.2.1/x", false, 0),
        ("rtsp://192.0.2.1/x", true, 0),
    ] {
        let mut config = config(url);
        let reply = if over_udp { UDP_REPLY } else { TCP_REPLY };
        if over_udp {
            config.transports = vec![LowerTransport::Udp];
        }
        let mut peer = described(config, TWO_STREAMS);
        peer.answer("SETUP", 200, reply);
        assert_eq!(warnings(&peer), expected, "{url}");
    }
}
