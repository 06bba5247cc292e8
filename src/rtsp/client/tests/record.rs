//! Publishing: ANNOUNCE, SETUP, RECORD, PAUSE and the way back.

use super::*;

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:streamid=0\r\n\
    m=audio 0 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=control:streamid=1\r\n";
const PUBLISHING: &str = "Public: OPTIONS, ANNOUNCE, SETUP, TEARDOWN, RECORD, PAUSE";
const DIGEST: &str = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n1\"";

fn recording_config(url: &str) -> Config {
    Config {
        intent: Intent::Record,
        ..config(url)
    }
}

fn one_stream() -> String {
    SDP[..SDP.find("m=audio").unwrap()].to_string()
}

fn announce(peer: &mut Peer, sdp: &str) {
    peer.client.announce(sdp.into(), peer.now);
    peer.pump();
}

fn announced(config: Config, sdp: &str) -> Peer {
    let mut peer = Peer::started(config);
    announce(&mut peer, sdp);
    peer.answer("OPTIONS", 200, PUBLISHING);
    peer.answer("ANNOUNCE", 200, "");
    peer
}

/// One stream, set up over TCP.
fn ready() -> Peer {
    let mut peer = announced(recording_config("rtsp://192.0.2.1/x"), &one_stream());
    peer.answer("SETUP", 200, TCP_REPLY);
    assert!(peer.saw(|event| matches!(event, Event::Ready)));
    peer
}

fn recording() -> Peer {
    let mut peer = ready();
    peer.play();
    peer.answer("RECORD", 200, "");
    assert_eq!(peer.client.state(), State::Recording);
    peer
}

fn transport(request: &Request) -> String {
    header(request, "Transport").unwrap()
}

fn location(peer: &mut Peer) -> Option<String> {
    peer.event(|event| match event {
        Event::Recording { location } => Some(location.clone()),
        _ => None,
    })
}

// covers: P-PUB-01, P-PUB-02, P-PUB-05, P-PUB-07, P-PUB-08
#[test]
fn a_plain_publication_sends_each_request_once_in_order() {
    let mut peer = Peer::started(recording_config("rtsp://192.0.2.1/x"));
    peer.play();
    let options = peer.answer("OPTIONS", 200, PUBLISHING);
    assert_eq!(options.uri, "rtsp://192.0.2.1/x");
    assert!(peer.wire.is_empty(), "nothing to announce yet");
    announce(&mut peer, SDP);

    let request = peer.request("ANNOUNCE");
    assert_eq!(request.uri, "rtsp://192.0.2.1/x");
    assert_eq!(request.version, Version::V1_0);
    assert_eq!(
        header(&request, "Content-Type").as_deref(),
        Some("application/sdp")
    );
    assert_eq!(request.body, SDP.as_bytes());
    assert_eq!(
        header(&request, "Content-Length"),
        Some(SDP.len().to_string())
    );
    assert_eq!(header(&request, "Session"), None);
    peer.reply(&request, 200, "", "");

    let video = peer.answer("SETUP", 200, TCP_REPLY);
    assert_eq!(video.uri, "rtsp://192.0.2.1/x/streamid=0");
    assert_eq!(
        transport(&video),
        "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record"
    );
    assert_eq!(header(&video, "Session"), None);
    let audio = peer.request("SETUP");
    assert_eq!(audio.uri, "rtsp://192.0.2.1/x/streamid=1");
    assert_eq!(header(&audio, "Session").as_deref(), Some("S1"));
    assert!(!peer.saw(|event| matches!(event, Event::Ready)));
    peer.reply(&audio, 200, TCP_REPLY_2, "");
    assert!(peer.saw(|event| matches!(event, Event::Ready)));

    let record = peer.request("RECORD");
    assert_eq!(record.uri, "rtsp://192.0.2.1/x");
    assert_eq!(header(&record, "Session").as_deref(), Some("S1"));
    assert_eq!(header(&record, "Range"), None);
    assert_eq!(peer.client.state(), State::Ready, "not by sending");
    assert!(!peer.saw(|event| matches!(event, Event::Recording { .. })));
    peer.reply(&record, 200, "Session: S1", "");
    assert_eq!(peer.client.state(), State::Recording);
    assert_eq!(location(&mut peer), None);

    peer.teardown();
    let teardown = peer.answer("TEARDOWN", 200, "");
    assert_eq!(teardown.uri, "rtsp://192.0.2.1/x");
    assert_eq!(header(&teardown, "Session").as_deref(), Some("S1"));
    assert!(peer.is_closed() && peer.wire.is_empty());
}

// covers: P-PUB-01, C-OPT-01, C-OPT-03
#[test]
fn a_server_that_does_not_list_the_methods_is_asked_all_the_same() {
    for (status, public) in [(200, "Public: OPTIONS, PLAY"), (501, "")] {
        let mut peer = Peer::started(recording_config("rtsp://192.0.2.1/x"));
        announce(&mut peer, &one_stream());
        peer.answer("OPTIONS", status, public);
        peer.answer("ANNOUNCE", 200, "");
        peer.answer("SETUP", 200, TCP_REPLY);
        peer.play();
        peer.answer("RECORD", 200, "");
        assert_eq!(peer.client.state(), State::Recording);
    }
}

// covers: P-PUB-02
#[test]
fn a_session_that_begins_with_the_announcement_is_kept() {
    let mut peer = Peer::started(recording_config("rtsp://192.0.2.1/x"));
    announce(&mut peer, &one_stream());
    peer.answer("OPTIONS", 200, PUBLISHING);
    peer.answer("ANNOUNCE", 200, "Session: A1;timeout=30");
    let setup = peer.request("SETUP");
    assert_eq!(header(&setup, "Session").as_deref(), Some("A1"));
    // A first SETUP still is one.
    peer.reply(&setup, 500, "", "");
    let setup = peer.request("SETUP");
    assert!(transport(&setup).contains("client_port"), "{setup:?}");
    peer.teardown();
    peer.reply(&setup, 400, "", "");
    let teardown = peer.request("TEARDOWN");
    assert_eq!(header(&teardown, "Session").as_deref(), Some("A1"));
}

// covers: P-PUB-02
#[test]
fn a_description_that_cannot_be_set_up_is_not_announced() {
    for sdp in [
        String::new(),
        "v=0\r\ns=-\r\nt=0 0\r\n".to_string(),
        SDP.replace("a=control:streamid=1\r\n", ""),
        SDP.replace("streamid=1", "stream id"),
        SDP.replace("a=rtpmap:96 H264/90000\r\n", ""),
    ] {
        let mut peer = Peer::started(recording_config("rtsp://192.0.2.1/x"));
        announce(&mut peer, &sdp);
        let error = peer.failed();
        assert_eq!(
            (error.kind, error.phase),
            (ErrorKind::Unsupported, Phase::Announce),
            "{sdp}"
        );
        assert!(peer.is_closed());
    }
}

// covers: P-PUB-01
#[test]
fn a_description_may_come_before_the_start_and_only_once() {
    let mut peer = Peer::new(recording_config("rtsp://192.0.2.1/x"));
    announce(&mut peer, &one_stream());
    assert!(peer.connects().is_empty());
    peer.start();
    announce(&mut peer, SDP);
    peer.answer("OPTIONS", 200, PUBLISHING);
    let request = peer.answer("ANNOUNCE", 200, "");
    assert_eq!(request.body, one_stream().as_bytes());
    peer.answer("SETUP", 200, TCP_REPLY);
    assert!(peer.wire.is_empty() && peer.saw(|event| matches!(event, Event::Ready)));

    let mut peer = Peer::started(tcp());
    announce(&mut peer, SDP);
    peer.answer("OPTIONS", 200, PUBLIC);
    peer.request("DESCRIBE");
}

// covers: P-PUB-09, C-AUTH-09, C-AUTH-11
#[test]
fn each_method_is_authorised_and_the_description_is_sent_again_unchanged() {
    let credentials = Some(Credentials {
        user: "u".into(),
        password: "secret".into(),
    });
    let mut peer = Peer::started(Config {
        credentials,
        ..recording_config("rtsp://192.0.2.1/x")
    });
    announce(&mut peer, &one_stream());
    peer.answer("OPTIONS", 200, PUBLISHING);
    let mut nonce = 0;
    let mut challenged = |peer: &mut Peer, method: &str, reply: &str| {
        nonce += 1;
        let challenge = DIGEST.replace("n1", &format!("n{nonce}")) + ", stale=true";
        let first = peer.answer(method, 401, &challenge);
        let second = peer.answer(method, 200, reply);
        let authorization = header(&second, "Authorization").unwrap();
        assert!(
            authorization.contains(&format!("uri=\"{}\"", second.uri))
                && authorization.contains(&format!("nonce=\"n{nonce}\"")),
            "{authorization}"
        );
        assert_eq!((&first.uri, &first.body), (&second.uri, &second.body));
        assert_eq!(header(&first, "Transport"), header(&second, "Transport"));
        assert_eq!(
            header(&first, "Content-Type"),
            header(&second, "Content-Type")
        );
    };
    challenged(&mut peer, "ANNOUNCE", "");
    challenged(&mut peer, "SETUP", TCP_REPLY);
    peer.play();
    challenged(&mut peer, "RECORD", "");
    peer.pause();
    challenged(&mut peer, "PAUSE", "");
    peer.teardown();
    challenged(&mut peer, "TEARDOWN", "");
    assert!(peer.is_closed());
}

// covers: P-PUB-09, C-AUTH-17
#[test]
fn without_credentials_nothing_is_published() {
    let mut peer = Peer::started(recording_config("rtsp://192.0.2.1/x"));
    announce(&mut peer, SDP);
    peer.answer("OPTIONS", 200, PUBLISHING);
    peer.answer("ANNOUNCE", 401, DIGEST);
    assert_eq!(peer.failed().kind, ErrorKind::NotAuthorized);
    assert!(peer.wire.is_empty());
}

// covers: P-PUB-09, C-AUTH-16
#[test]
fn a_server_that_closes_after_its_challenge_is_asked_on_a_new_connection() {
    let mut peer = Peer::started(recording_config("rtsp://u:p@192.0.2.1/x"));
    announce(&mut peer, SDP);
    peer.answer("OPTIONS", 200, PUBLISHING);
    peer.answer("ANNOUNCE", 401, &format!("{DIGEST}\nConnection: close"));
    let request = peer.answer("ANNOUNCE", 200, "");
    assert_eq!(peer.connects().len(), 2);
    assert_eq!(request.body, SDP.as_bytes());
    peer.request("SETUP");
}

// covers: P-PUB-10, C-STAT-06, C-STAT-09, C-STAT-14
#[test]
fn a_refused_announcement_ends_the_attempt_with_the_servers_words() {
    for (status, kind) in [
        (400, ErrorKind::Settings),
        (403, ErrorKind::Forbidden),
        (404, ErrorKind::NotFound),
        (405, ErrorKind::Settings),
        (406, ErrorKind::WrongType),
        (415, ErrorKind::WrongType),
        (453, ErrorKind::Busy),
        (455, ErrorKind::Settings),
        (461, ErrorKind::NoTransport),
        (500, ErrorKind::ServerError),
        (501, ErrorKind::Settings),
        (503, ErrorKind::Busy),
    ] {
        let mut peer = Peer::started(recording_config("rtsp://192.0.2.1/x"));
        announce(&mut peer, SDP);
        peer.play();
        peer.answer("OPTIONS", 200, PUBLISHING);
        peer.answer("ANNOUNCE", status, "");
        let error = peer.failed();
        assert_eq!(
            (error.kind, error.phase, error.status),
            (kind, Phase::Announce, Some(status))
        );
        assert!(
            peer.wire.is_empty() && peer.is_closed(),
            "{status}: no other method"
        );
        assert_eq!(
            error.to_string().contains("may not let clients publish"),
            kind == ErrorKind::Settings
        );
    }
}

// covers: P-PUB-10, P-PUB-07, C-STAT-22
#[test]
fn a_refused_record_ends_the_session() {
    for (status, kind) in [
        (400, ErrorKind::Settings),
        (403, ErrorKind::Forbidden),
        (405, ErrorKind::Settings),
        (455, ErrorKind::Settings),
        (500, ErrorKind::ServerError),
        (501, ErrorKind::Settings),
    ] {
        let mut peer = ready();
        peer.play();
        peer.answer("RECORD", status, "");
        let error = peer.failed();
        assert_eq!(
            (error.kind, error.phase, error.status),
            (kind, Phase::Record, Some(status))
        );
        peer.answer("TEARDOWN", 200, "");
        assert!(!peer.saw(|event| matches!(event, Event::Recording { .. })));
        assert!(peer.wire.is_empty() && peer.is_closed());
    }
}

// covers: P-PUB-08, C-STAT-03
#[test]
fn all_2xx_are_success_and_201_says_where_it_records_to() {
    let mut peer = Peer::started(recording_config("rtsp://192.0.2.1/x"));
    announce(&mut peer, &one_stream());
    peer.answer("OPTIONS", 200, PUBLISHING);
    peer.answer("ANNOUNCE", 201, "");
    peer.answer("SETUP", 201, TCP_REPLY);
    peer.play();
    peer.answer("RECORD", 201, "Location: rtsp://u:secret@192.0.2.1/rec/7");
    let location = location(&mut peer).unwrap();
    assert!(
        location.ends_with("192.0.2.1/rec/7") && !location.contains("secret"),
        "{location}"
    );

    let mut peer = ready();
    peer.play();
    peer.answer("RECORD", 250, "Location: rtsp://192.0.2.1/rec/7");
    assert_eq!(peer.client.state(), State::Recording);
    assert!(peer.saw(|event| matches!(event, Event::Warning(_))));
    assert_eq!(self::location(&mut peer), None);
}

// covers: P-PUB-08, C-STM-03
#[test]
fn a_resume_records_again_without_another_announcement() {
    let mut peer = recording();
    peer.pause();
    let pause = peer.answer("PAUSE", 200, "");
    assert_eq!(header(&pause, "Session").as_deref(), Some("S1"));
    assert_eq!(peer.client.state(), State::Ready);
    assert!(peer.event(|event| match event {
        Event::Paused { remote } => Some(*remote),
        _ => None,
    }));
    peer.play();
    peer.answer("RECORD", 200, "");
    assert_eq!(peer.client.state(), State::Recording);
    assert!(peer.wire.is_empty());
    location(&mut peer);

    // The last wish wins.
    peer.pause();
    peer.play();
    peer.pause();
    peer.answer("PAUSE", 200, "");
    assert!(peer.wire.is_empty());
}

// covers: C-PLAY-11
#[test]
fn a_server_that_cannot_pause_is_kept_alive_and_sent_nothing() {
    let mut peer = recording();
    peer.pause();
    peer.answer("PAUSE", 405, "");
    assert!(!peer.event(|event| match event {
        Event::Paused { remote } => Some(*remote),
        _ => None,
    }));
    assert_eq!(peer.client.state(), State::Recording);
    peer.seconds(30);
    peer.answer("OPTIONS", 200, "");
    peer.play();
    assert_eq!(location(&mut peer), None, "told without a request");
    assert!(peer.wire.is_empty());
}

// covers: P-PUB-05, C-SETUP-07, C-SETUP-20
#[test]
fn refused_transports_are_followed_by_the_next() {
    let mut peer = announced(recording_config("rtsp://192.0.2.1/x"), &one_stream());
    let offers = [461, 461, 461].map(|status| transport(&peer.answer("SETUP", status, "")));
    assert_eq!(
        offers,
        [
            "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record",
            "RTP/AVP;unicast;client_port=5000-5001;mode=record",
            "RTP/AVP;multicast;mode=record",
        ]
    );
    assert_eq!(peer.failed().kind, ErrorKind::NoTransport);
    for status in [400, 500] {
        let mut peer = announced(recording_config("rtsp://192.0.2.1/x"), &one_stream());
        peer.answer("SETUP", status, "");
        peer.answer("SETUP", 200, UDP_REPLY);
        assert!(peer.saw(|event| matches!(event, Event::Ready)));
    }
}

// covers: P-PUB-05
#[test]
fn a_reply_may_name_the_mode_in_any_way_or_not_at_all() {
    for mode in [
        "",
        ";mode=record",
        ";mode=\"RECORD\"",
        ";mode=receive",
        ";mode=play",
    ] {
        let mut peer = announced(recording_config("rtsp://192.0.2.1/x"), &one_stream());
        peer.answer("SETUP", 200, &format!("{TCP_REPLY}{mode}"));
        assert!(peer.saw(|event| matches!(event, Event::Ready)), "{mode}");
    }
}

// covers: P-PUB-06
#[test]
fn a_udp_grant_without_a_port_is_an_error() {
    let udp = Config {
        transports: vec![LowerTransport::Udp],
        ..recording_config("rtsp://192.0.2.1/x")
    };
    let mut peer = announced(udp.clone(), &one_stream());
    peer.answer("SETUP", 200, UDP_REPLY);
    let path = peer.event(|event| match event {
        Event::MediaSetUp { granted, .. } => Some(granted.path.clone()),
        _ => None,
    });
    let server = "192.0.2.1".parse().unwrap();
    assert_eq!(
        path,
        Path::Udp {
            server,
            rtp: Some(7000),
            rtcp: Some(7001),
            send_to_server: true
        }
    );

    let mut peer = announced(udp, &one_stream());
    peer.answer(
        "SETUP",
        200,
        "Session: S1\nTransport: RTP/AVP;unicast;client_port=5000-5001",
    );
    peer.answer("TEARDOWN", 200, "");
    assert_eq!(peer.failed().kind, ErrorKind::Protocol);
    assert!(!peer.saw(|event| matches!(event, Event::MediaSetUp { .. })));
}

// covers: P-PUB-06
#[test]
fn a_server_that_repeats_tcp_and_opens_udp_ports_is_sent_udp() {
    let url = "rtsp://192.0.2.1/x";
    let echo = format!("{TCP_REPLY};mode=record;server_port=7000-7001");
    let mut peer = announced(recording_config(url), SDP);
    peer.answer("SETUP", 200, &echo);
    let again = peer.answer("SETUP", 200, UDP_REPLY);
    assert_eq!(header(&again, "Session").as_deref(), Some("S1"));
    assert!(transport(&again).contains("client_port"));
    assert!(
        transport(&peer.request("SETUP")).contains("client_port"),
        "for the next stream at once"
    );
    // Where UDP is not allowed its word is taken.
    let mut peer = announced(
        Config {
            transports: vec![LowerTransport::Tcp],
            ..recording_config(url)
        },
        &one_stream(),
    );
    peer.answer("SETUP", 200, &echo);
    assert!(peer.saw(|event| matches!(event, Event::Ready)));
    // To play, it means what it says.
    let mut peer = Peer::started(tcp());
    peer.answer("OPTIONS", 200, PUBLIC);
    peer.describe(ONE_STREAM);
    peer.answer("SETUP", 200, &echo);
    assert!(peer.saw(|event| matches!(event, Event::Ready)));
}

// covers: C-URL-12, P-PUB-05
#[test]
fn the_control_is_tried_on_both_sides_of_a_query_and_then_without_it() {
    let url = "rtsp://192.0.2.1/live/p?token=x&y=1";
    let mut peer = announced(recording_config(url), SDP);
    assert_eq!(
        peer.answer("SETUP", 200, TCP_REPLY).uri,
        format!("{url}/streamid=0")
    );
    peer.answer("SETUP", 200, TCP_REPLY_2);
    peer.play();
    assert_eq!(peer.answer("RECORD", 200, "").uri, url);

    for status in [400, 404] {
        let mut peer = announced(recording_config(url), SDP);
        peer.answer("SETUP", status, "");
        assert_eq!(
            peer.answer("SETUP", 200, TCP_REPLY).uri,
            "rtsp://192.0.2.1/live/p/streamid=0?token=x&y=1"
        );
        assert_eq!(
            peer.answer("SETUP", 200, TCP_REPLY_2).uri,
            "rtsp://192.0.2.1/live/p/streamid=1?token=x&y=1",
            "what worked is kept"
        );
        peer.play();
        assert_eq!(peer.answer("RECORD", 200, "").uri, url);
        peer.teardown();
        assert_eq!(peer.request("TEARDOWN").uri, url);
    }

    // The query may have been for ANNOUNCE only.
    let mut peer = announced(recording_config(url), SDP);
    peer.answer("SETUP", 404, "");
    peer.answer("SETUP", 404, "");
    let short = "rtsp://192.0.2.1/live/p";
    assert_eq!(
        peer.answer("SETUP", 200, TCP_REPLY).uri,
        format!("{short}/streamid=0")
    );
    peer.answer("SETUP", 200, TCP_REPLY_2);
    peer.play();
    assert_eq!(peer.answer("RECORD", 200, "").uri, short);

    // Without a query there is only one way.
    let mut peer = announced(recording_config("rtsp://192.0.2.1/live/p"), &one_stream());
    peer.answer("SETUP", 404, "");
    assert_eq!(peer.failed().kind, ErrorKind::NotFound);
}

// covers: C-REDIR-01, C-REDIR-04, C-REDIR-05
#[test]
fn a_redirect_is_followed_and_the_description_announced_there() {
    let mut peer = Peer::started(recording_config("rtsp://192.0.2.1/x"));
    announce(&mut peer, &one_stream());
    peer.answer("OPTIONS", 200, PUBLISHING);
    peer.answer("ANNOUNCE", 302, "Location: rtsp://192.0.2.2/y");
    peer.answer("OPTIONS", 200, PUBLISHING);
    let request = peer.answer("ANNOUNCE", 200, "");
    assert_eq!(request.uri, "rtsp://192.0.2.2/y");
    assert_eq!(request.body, one_stream().as_bytes());
    assert_eq!(
        peer.answer("SETUP", 301, "Location: rtsp://192.0.2.3/z")
            .uri,
        "rtsp://192.0.2.2/y/streamid=0"
    );
    peer.answer("OPTIONS", 200, PUBLISHING);
    assert_eq!(peer.answer("ANNOUNCE", 200, "").uri, "rtsp://192.0.2.3/z");
    assert_eq!(
        peer.answer("SETUP", 200, TCP_REPLY).uri,
        "rtsp://192.0.2.3/z/streamid=0"
    );
    peer.play();
    // In the session as well.
    peer.answer("RECORD", 302, "Location: rtsp://192.0.2.4/");
    peer.request("TEARDOWN");
    peer.answer("OPTIONS", 200, PUBLISHING);
    assert_eq!(peer.answer("ANNOUNCE", 200, "").uri, "rtsp://192.0.2.4/");
    peer.answer("SETUP", 200, TCP_REPLY);
    peer.answer("RECORD", 200, "");
    assert_eq!(peer.client.state(), State::Recording);
}

// covers: C-KA-01, C-KA-03, C-SESS-05
#[test]
fn the_session_is_kept_alive_and_454_ends_it() {
    let mut peer = recording();
    peer.seconds(30);
    let keep_alive = peer.answer("OPTIONS", 200, "");
    assert_eq!(keep_alive.uri, "rtsp://192.0.2.1/x");
    assert_eq!(header(&keep_alive, "Session").as_deref(), Some("S1"));
    peer.seconds(30);
    peer.answer("OPTIONS", 454, "");
    assert_eq!(peer.session_lost().kind, ErrorKind::SessionLost);
    assert!(peer.is_closed() && peer.wire.is_empty());
}

// covers: C-SESS-05
#[test]
fn a_session_that_is_gone_at_record_is_lost() {
    let mut peer = ready();
    peer.play();
    peer.answer("RECORD", 454, "");
    assert_eq!(peer.session_lost().status, Some(454));
    assert!(peer.wire.is_empty());
}

// covers: C-SREQ-02, C-SREQ-06
#[test]
fn requests_of_the_server_are_answered_as_in_play() {
    let mut peer = recording();
    assert_eq!(peer.ask("OPTIONS", "CSeq: 1", "").status, 200);
    assert_eq!(peer.client.state(), State::Recording);
    assert_eq!(peer.ask("TEARDOWN", "CSeq: 2\nSession: S1", "").status, 200);
    assert_eq!(peer.session_lost().kind, ErrorKind::ServerTeardown);
}

// covers: C-STAT-10
#[test]
fn nothing_is_repeated_on_a_connection_that_was_not_announced_on() {
    for method in ["ANNOUNCE", "SETUP"] {
        let mut peer = Peer::started(recording_config("rtsp://192.0.2.1/x"));
        announce(&mut peer, SDP);
        peer.answer("OPTIONS", 200, PUBLISHING);
        if method == "SETUP" {
            peer.answer("ANNOUNCE", 200, "");
        }
        peer.request(method);
        peer.seconds(10);
        assert_eq!(peer.failed().kind, ErrorKind::Timeout, "{method}");
        assert!(peer.wire.is_empty() && peer.is_closed());
        assert_eq!(peer.connects().len(), 0, "forgotten by failed()");
    }
}

// covers: C-SETUP-19
#[test]
fn one_stream_may_fail_and_no_mix_is_looked_for() {
    let mut peer = announced(recording_config("rtsp://192.0.2.1/x"), SDP);
    peer.answer("SETUP", 200, TCP_REPLY);
    for _ in 0..3 {
        peer.answer("SETUP", 461, "");
    }
    assert!(
        peer.wire.is_empty(),
        "a TEARDOWN would end the announcement"
    );
    assert!(peer.saw(|event| matches!(event, Event::MediaSkipped { media: 1, .. })));
    assert!(peer.saw(|event| matches!(event, Event::Ready)));
}

// covers: C-SESS-06, P-PUB-11
#[test]
fn a_lost_connection_ends_interleaved_media_and_a_session_before_is_torn_down_first() {
    let mut peer = recording();
    peer.lost();
    assert_eq!(peer.session_lost().kind, ErrorKind::SessionLost);
    assert!(peer.is_closed());

    let mut peer = Peer::started(Config {
        previous_session: Some(("rtsp://192.0.2.1/x".into(), "S1".into())),
        ..recording_config("rtsp://192.0.2.1/x")
    });
    announce(&mut peer, SDP);
    let teardown = peer.answer("TEARDOWN", 454, "");
    assert_eq!(header(&teardown, "Session").as_deref(), Some("S1"));
    peer.answer("OPTIONS", 200, PUBLISHING);
    assert_eq!(header(&peer.request("ANNOUNCE"), "Session"), None);
}

// covers: C-STM-05
#[test]
fn stopping_works_at_every_step() {
    let url = "rtsp://192.0.2.1/x";
    let mut peer = Peer::started(recording_config(url));
    peer.answer("OPTIONS", 200, PUBLISHING);
    peer.teardown();
    assert!(peer.is_closed() && peer.wire.is_empty());

    let mut peer = Peer::started(recording_config(url));
    announce(&mut peer, SDP);
    peer.answer("OPTIONS", 200, PUBLISHING);
    peer.request("ANNOUNCE");
    peer.teardown();
    assert!(peer.is_closed() && peer.wire.is_empty());

    let mut peer = announced(recording_config(url), SDP);
    let setup = peer.request("SETUP");
    peer.teardown();
    peer.reply(&setup, 200, TCP_REPLY, "");
    peer.answer("TEARDOWN", 200, "");
    assert!(peer.is_closed());

    let mut peer = ready();
    peer.play();
    peer.request("RECORD");
    peer.teardown();
    peer.answer("TEARDOWN", 200, "");
    assert!(peer.is_closed());
}
