//! Requests of the server.

use super::*;

const BOTH: [&str; 2] = [TCP_REPLY, TCP_REPLY_2];

fn value(response: &Response, name: &str) -> Option<String> {
    response
        .headers
        .get_str(name)
        .map(|value| value.into_owned())
}

// covers: C-SREQ-01, C-SREQ-02, C-SREQ-03, C-SREQ-09, C-SREQ-10, C-SREQ-11
#[test]
fn each_request_gets_one_answer_of_the_right_kind() {
    for (method, headers, body, status) in [
        ("OPTIONS", "CSeq: 7", "", 200),
        ("OPTIONS", "CSeq: 007\nSession: S1;timeout=60", "", 200),
        ("OPTIONS", "", "", 400),
        ("OPTIONS", "CSeq: x", "", 400),
        ("OPTIONS", "CSeq: 7\nSession: other", "", 454),
        ("OPTIONS", "CSeq: 7\nRequire: a, b", "", 551),
        ("GET_PARAMETER", "CSeq: 7", "", 200),
        (
            "GET_PARAMETER",
            "CSeq: 7\nContent-Type: text/parameters",
            "\r\nfoo\r\nbar\r\n",
            451,
        ),
        ("SET_PARAMETER", "CSeq: 7", "", 200),
        (
            "SET_PARAMETER",
            "CSeq: 7\nContent-Type: text/parameters",
            "foo: 1\r\n",
            451,
        ),
        (
            "SET_PARAMETER",
            "CSeq: 7\nContent-Type: text/xml",
            "<a/>",
            415,
        ),
        ("REDIRECT", "CSeq: 7", "", 400),
        ("REDIRECT", "CSeq: 7\nLocation: /x", "", 400),
        ("TEARDOWN", "CSeq: 7\nSession: other", "", 454),
        ("ANNOUNCE", "CSeq: 7", "", 501),
        ("DESCRIBE", "CSeq: 7", "", 501),
        ("SETUP", "CSeq: 7", "", 501),
        ("PLAY", "CSeq: 7", "", 501),
        ("PAUSE", "CSeq: 7", "", 501),
        ("RECORD", "CSeq: 7", "", 501),
        ("PLAY_NOTIFY", "CSeq: 7", "", 501),
        ("X_VENDOR", "CSeq: 7", "", 501),
    ] {
        let mut peer = Peer::playing(tcp(), BOTH);
        let response = peer.ask(method, headers, body);
        assert_eq!(response.status, status, "{method} {headers}");
        assert_eq!(response.version, Version::V1_0);
        assert_eq!(
            value(&response, "CSeq").as_deref(),
            (status != 400 || headers.contains("Loc") || headers == "CSeq: 7").then_some("7")
        );
        if headers.contains("Session") {
            let id = if headers.contains("other") {
                "other"
            } else {
                "S1"
            };
            assert_eq!(value(&response, "Session").as_deref(), Some(id));
        }
        assert!(
            peer.wire.is_empty() && !peer.is_closed(),
            "one answer, and it goes on"
        );
        assert_eq!(peer.client.state(), State::Playing);
    }
}

// covers: C-SREQ-02, C-SREQ-03, C-SREQ-04, C-SREQ-10
#[test]
fn the_answers_say_what_is_known_and_what_is_not() {
    let mut peer = Peer::playing(tcp(), BOTH);
    let public = value(&peer.ask("OPTIONS", "CSeq: 1", ""), "Public").unwrap();
    assert_eq!(
        public,
        "OPTIONS, GET_PARAMETER, SET_PARAMETER, REDIRECT, TEARDOWN"
    );
    let unknown = peer.ask("GET_PARAMETER", "CSeq: 2", "foo\r\nbar\r\n");
    assert_eq!(unknown.body, b"foo\r\n");
    let unsupported = peer.ask("TEARDOWN", "CSeq: 3\nRequire: a\nRequire: b", "");
    assert_eq!(value(&unsupported, "Unsupported").as_deref(), Some("a, b"));
    assert!(!peer.is_closed(), "checked before anything is done");
}

// covers: C-SREQ-11
#[test]
fn another_version_is_refused() {
    let mut peer = Peer::playing(tcp(), BOTH);
    let request = Request::new(Method::Options, "*", Version::V2_0);
    peer.feed(Message::Request(request), "CSeq: 1", "");
    assert_eq!(peer.answer_of_client().status, 505);
}

// covers: B-CSEQ-03, C-SREQ-01, H-38
#[test]
fn a_request_with_our_number_does_not_complete_ours() {
    let mut peer = Peer::started(tcp());
    let options = peer.request("OPTIONS");
    let response = peer.ask("OPTIONS", "CSeq: 1", "");
    assert_eq!(value(&response, "CSeq").as_deref(), Some("1"));
    assert!(peer.wire.is_empty(), "ours is still open");
    peer.reply(&options, 200, PUBLIC, "");
    peer.request("DESCRIBE");
}

// covers: C-SREQ-06
#[test]
fn teardown_of_the_server_ends_the_session() {
    for session in ["\nSession: S1", ""] {
        let mut peer = Peer::playing(tcp(), BOTH);
        assert_eq!(
            peer.ask("TEARDOWN", &format!("CSeq: 9{session}"), "")
                .status,
            200
        );
        assert!(peer.wire.is_empty());
        assert_eq!(peer.session_lost().kind, ErrorKind::ServerTeardown);
        assert!(peer.is_closed());
    }
    let mut peer = Peer::started(tcp());
    assert_eq!(
        peer.ask("TEARDOWN", "CSeq: 9", "").status,
        454,
        "there is none"
    );
    assert!(!peer.is_closed());
}

// covers: C-SREQ-05, H-21
#[test]
fn a_redirect_request_is_obeyed_by_the_rules_of_redirects() {
    let mut peer = Peer::playing(tcp(), BOTH);
    assert_eq!(
        peer.ask("REDIRECT", "CSeq: 9\nLocation: rtsp://192.0.2.2/y", "")
            .status,
        200
    );
    peer.request("TEARDOWN");
    assert_eq!(peer.connects().last(), Some(&("192.0.2.2", 554, false)));
    peer.request("OPTIONS");

    let mut peer = Peer::playing(config("rtsps://192.0.2.1/x"), BOTH);
    assert_eq!(
        peer.ask("REDIRECT", "CSeq: 9\nLocation: rtsp://192.0.2.2/y", "")
            .status,
        200
    );
    assert_eq!(
        (peer.connects().len(), peer.failed().kind),
        (1, ErrorKind::Redirect)
    );

    // During the start, and while stopping.
    let mut peer = Peer::started(tcp());
    peer.wire.clear();
    assert_eq!(
        peer.ask("REDIRECT", "CSeq: 9\nLocation: rtsp://192.0.2.2/y", "")
            .status,
        200
    );
    assert_eq!(peer.request("OPTIONS").uri, "rtsp://192.0.2.2/y");
    let mut peer = Peer::playing(tcp(), BOTH);
    peer.teardown();
    peer.request("TEARDOWN");
    assert_eq!(
        peer.ask("REDIRECT", "CSeq: 9\nLocation: rtsp://192.0.2.2/y", "")
            .status,
        200
    );
    assert_eq!(peer.connects().len(), 1);
}

// covers: C-SREQ-05, H-21
#[test]
fn a_redirect_for_later_is_obeyed_then_and_once() {
    let mut peer = Peer::playing(tcp(), BOTH);
    // 19700101T000100Z is a minute after the epoch.
    peer.client.config.wall_clock = Some((peer.now, 0));
    let headers = "CSeq: 9\nLocation: rtsp://192.0.2.2/y\nRange: clock=19700101T000100Z-";
    assert_eq!(peer.ask("REDIRECT", headers, "").status, 200);
    assert_eq!(
        peer.ask("REDIRECT", &headers.replace("/y", "/z"), "")
            .status,
        200
    );
    peer.seconds(59);
    assert_eq!(peer.connects().len(), 1);
    peer.seconds(1);
    assert_eq!(peer.connects().len(), 2);
    peer.wire.retain(
        |message| matches!(message, Message::Request(request) if request.method == Method::Options),
    );
    assert_eq!(peer.request("OPTIONS").uri, "rtsp://192.0.2.2/y");

    let mut peer = Peer::playing(tcp(), BOTH);
    peer.client.config.wall_clock = Some((peer.now, 0));
    peer.ask("REDIRECT", &headers.replace("1970", "2400"), "");
    peer.wait(limits::REDIRECT_DELAY_MAX);
    assert_eq!(peer.connects().len(), 2, "clamped");
}

// covers: H-38, C-SREQ-11
#[test]
fn a_flood_of_requests_ends_the_connection() {
    let mut peer = Peer::playing(tcp(), BOTH);
    for n in 1..=limits::SERVER_REQUESTS_PER_SECOND {
        peer.ask("OPTIONS", &format!("CSeq: {n}"), "");
    }
    assert!(!peer.is_closed());
    let request = Request::new(Method::Options, "*", Version::V1_0);
    peer.feed(Message::Request(request.clone()), "CSeq: 51", "");
    assert!(peer.is_closed() && peer.wire.is_empty());

    // Answers that nobody takes.
    let mut peer = Peer::playing(tcp(), BOTH);
    let mut request = request;
    request.headers.push("CSeq", "1");
    for _ in 0..limits::SERVER_REQUESTS_QUEUED {
        peer.client
            .handle_message(Message::Request(request.clone()), peer.now);
    }
    assert_eq!(peer.client.state(), State::Playing);
    peer.client
        .handle_message(Message::Request(request), peer.now);
    peer.pump();
    assert!(peer.is_closed());

    // At a bearable rate it goes on.
    let mut peer = Peer::playing(tcp(), BOTH);
    for n in 1..200 {
        peer.ask("OPTIONS", &format!("CSeq: {n}"), "");
        peer.wait(Duration::from_millis(25));
    }
    assert!(!peer.is_closed());
}
