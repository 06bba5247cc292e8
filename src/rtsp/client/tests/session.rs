//! Loss of the connection, of the session, and the end.

use super::*;

const TCP: [&str; 2] = [TCP_REPLY, TCP_REPLY_2];
const UDP: [&str; 2] = [UDP_REPLY, UDP_REPLY];

// covers: C-SESS-06, C-STM-07, H-39
#[test]
fn interleaved_media_does_not_survive_its_connection() {
    let mut peer = Peer::playing(tcp(), TCP);
    peer.lost();
    let connects = peer.connects().len();
    let error = peer.session_lost();
    assert_eq!((error.kind, connects), (ErrorKind::SessionLost, 1));
    assert!(peer.is_closed());
}

// covers: C-SESS-06
#[test]
fn a_udp_session_goes_on_over_a_new_connection() {
    let mut peer = Peer::playing(udp(), UDP);
    peer.seconds(31);
    peer.answer("GET_PARAMETER", 200, "");
    peer.lost();
    assert_eq!(peer.connects().len(), 2);
    peer.pause();
    let verify = peer.request("GET_PARAMETER");
    assert_eq!(header(&verify, "Session").as_deref(), Some("S1"));
    assert!(peer.wire.is_empty(), "nothing else before it is answered");
    peer.reply(&verify, 200, "", "");
    peer.answer("PAUSE", 200, "");
    assert!(!peer.is_closed());
}

// covers: C-SESS-06, C-SESS-05
#[test]
fn a_udp_session_that_is_gone_or_does_not_answer_is_lost() {
    let lost = || {
        let mut peer = Peer::playing(udp(), UDP);
        peer.seconds(31);
        peer.answer("GET_PARAMETER", 200, "");
        peer
    };
    let mut peer = lost();
    peer.lost();
    peer.answer("GET_PARAMETER", 454, "");
    assert_eq!(peer.session_lost().status, Some(454));

    let mut peer = lost();
    peer.lost();
    peer.seconds(10);
    assert_eq!(peer.session_lost().kind, ErrorKind::SessionLost);

    let mut peer = lost();
    peer.auto_connect = false;
    peer.lost();
    peer.client
        .handle_connect_failed(ErrorKind::Connect, "unreachable".into(), peer.now);
    peer.pump();
    assert_eq!(peer.session_lost().kind, ErrorKind::SessionLost);

    let mut peer = lost();
    peer.lost();
    peer.lost();
    assert_eq!(peer.session_lost().kind, ErrorKind::SessionLost);
}

// covers: C-SESS-06
#[test]
fn a_server_that_closes_idle_connections_is_visited_only_to_keep_alive() {
    let mut peer = Peer::playing(udp(), UDP);
    for _ in 0..20 {
        peer.lost();
        peer.seconds(30);
        peer.answer("GET_PARAMETER", 200, "");
    }
    assert_eq!(peer.connects().len(), 21);
    assert!(!peer.is_closed());
}

// covers: C-SESS-06, C-CSEQ-05
#[test]
fn a_play_lost_with_its_connection_is_repeated_once() {
    let mut peer = Peer::ready(udp(), UDP);
    peer.play();
    peer.request("PLAY");
    peer.lost();
    peer.answer("GET_PARAMETER", 200, "");
    peer.request("PLAY");
    peer.lost();
    assert_eq!(peer.session_lost().phase, Phase::Play);
}

// covers: C-SESS-07, C-STAT-07
#[test]
fn teardown_ends_with_any_answer() {
    for status in [200, 302, 400, 404, 410, 454, 500, 503] {
        let mut peer = Peer::playing(tcp(), TCP);
        peer.teardown();
        let teardown = peer.answer("TEARDOWN", status, "Location: rtsp://192.0.2.7/");
        assert_eq!(teardown.uri, "rtsp://192.0.2.1/x");
        assert_eq!(header(&teardown, "Session").as_deref(), Some("S1"));
        assert!(peer.is_closed(), "{status}");
        assert_eq!((peer.disconnects(), peer.connects().len()), (1, 1));
        assert_eq!(
            (peer.client.session_id(), peer.client.state()),
            (None, State::Init)
        );
        assert_eq!(peer.client.poll_timeout(), None);
    }
}

// covers: C-SESS-07, C-SESS-08
#[test]
fn teardown_that_is_not_answered_ends_too() {
    let mut peer = Peer::playing(tcp(), TCP);
    peer.teardown();
    peer.request("TEARDOWN");
    peer.seconds(10);
    assert!(peer.is_closed());

    let mut peer = Peer::playing(tcp(), TCP);
    peer.teardown();
    peer.lost();
    assert!(peer.is_closed() && !peer.saw(|event| matches!(event, Event::SessionLost(_))));
}

// covers: H-26
#[test]
fn a_challenged_teardown_is_tried_once_more() {
    let credentials = Some(Credentials {
        user: "u".into(),
        password: "p".into(),
    });
    let mut peer = Peer::playing(
        Config {
            credentials,
            ..tcp()
        },
        TCP,
    );
    peer.teardown();
    peer.answer(
        "TEARDOWN",
        401,
        "WWW-Authenticate: Digest realm=\"r\", nonce=\"n1\"",
    );
    assert!(!peer.is_closed());
    peer.answer(
        "TEARDOWN",
        401,
        "WWW-Authenticate: Digest realm=\"r\", nonce=\"n2\", stale=true",
    );
    assert!(peer.is_closed() && peer.wire.is_empty());
}

// covers: C-STAT-18
#[test]
fn a_teardown_that_must_name_each_stream_does() {
    let mut peer = Peer::playing(tcp(), TCP);
    peer.teardown();
    peer.answer("TEARDOWN", 459, "");
    assert_eq!(peer.answer("TEARDOWN", 200, "").uri, "rtsp://192.0.2.1/x/v");
    assert_eq!(peer.answer("TEARDOWN", 200, "").uri, "rtsp://192.0.2.1/x/a");
    assert!(peer.is_closed());
}

// covers: C-STM-04, C-STM-05, C-SESS-08
#[test]
fn stopping_works_at_every_point_of_the_start() {
    // Idle, connecting, OPTIONS, DESCRIBE: there is no session, so it ends at once.
    let mut peer = Peer::new(tcp());
    peer.teardown();
    assert!(peer.is_closed() && peer.disconnects() == 0);

    let mut peer = Peer::new(tcp());
    peer.auto_connect = false;
    peer.start();
    peer.teardown();
    assert!(peer.is_closed() && peer.disconnects() == 1);

    for answered in 0..2 {
        let mut peer = Peer::started(tcp());
        if answered == 1 {
            peer.answer("OPTIONS", 200, PUBLIC);
        }
        peer.teardown();
        assert!(peer.is_closed() && peer.disconnects() == 1);
    }

    // A SETUP under way may still make a session.
    for (status, torn_down) in [(200, true), (404, false)] {
        let mut peer = Peer::started(tcp());
        peer.answer("OPTIONS", 200, PUBLIC);
        peer.describe(TWO_STREAMS);
        peer.teardown();
        assert!(!peer.is_closed());
        peer.answer("SETUP", status, TCP_REPLY);
        if torn_down {
            assert_eq!(
                header(&peer.answer("TEARDOWN", 200, ""), "Session").as_deref(),
                Some("S1")
            );
        }
        assert!(peer.is_closed() && peer.wire.is_empty());
    }

    // After SETUP 1 of 2, and with PLAY open: at once.
    let mut peer = Peer::started(tcp());
    peer.answer("OPTIONS", 200, PUBLIC);
    peer.describe(TWO_STREAMS);
    peer.answer("SETUP", 200, TCP_REPLY);
    peer.request("SETUP");
    peer.teardown();
    peer.answer("TEARDOWN", 200, "");
    assert!(peer.is_closed());

    let mut peer = Peer::ready(tcp(), TCP);
    peer.play();
    peer.request("PLAY");
    peer.teardown();
    peer.answer("TEARDOWN", 200, "");
    assert!(peer.is_closed());

    // While an authorised request or a redirect is under way.
    let mut peer = Peer::started(tcp());
    peer.auto_connect = false;
    peer.answer("OPTIONS", 302, "Location: rtsp://192.0.2.2/y");
    peer.teardown();
    assert!(peer.is_closed());
    peer.connected();
    assert!(peer.wire.is_empty());
}

// covers: C-SESS-07
#[test]
fn a_udp_session_without_connection_is_torn_down_over_a_new_one() {
    let mut peer = Peer::playing(udp(), UDP);
    peer.lost();
    peer.teardown();
    assert_eq!(peer.connects().len(), 2);
    peer.answer("TEARDOWN", 200, "");
    assert!(peer.is_closed());
}

// covers: C-STM-05
#[test]
fn nothing_happens_after_the_end() {
    let mut peer = Peer::playing(tcp(), TCP);
    peer.teardown();
    peer.answer("TEARDOWN", 200, "");
    peer.did.clear();
    peer.start();
    peer.play();
    peer.pause();
    peer.teardown();
    peer.connected();
    peer.lost();
    peer.client.select(&[0], peer.now);
    peer.client.offer(0, None, peer.now);
    peer.feed(
        Message::Response(Response::new(200, "", Version::V1_0)),
        "",
        "",
    );
    peer.feed(
        Message::Request(Request::new(Method::Options, "*", Version::V1_0)),
        "CSeq: 1",
        "",
    );
    peer.seconds(600);
    assert!(
        peer.did.is_empty() && peer.wire.is_empty(),
        "{:?}",
        peer.did
    );
}

// covers: C-REDIR-05, C-STM-02
#[test]
fn a_redirect_in_a_session_tears_it_down_and_starts_again() {
    let mut peer = Peer::ready(tcp(), TCP);
    peer.play();
    peer.answer("PLAY", 302, "Location: rtsp://192.0.2.2/y");
    peer.answer("TEARDOWN", 200, "");
    assert_eq!(peer.connects().last(), Some(&("192.0.2.2", 554, false)));
    assert_eq!(
        (peer.client.state(), peer.client.session_id()),
        (State::Init, None)
    );
    peer.answer("OPTIONS", 200, PUBLIC);
    peer.describe(ONE_STREAM);
    assert_eq!(
        header(&peer.answer("SETUP", 200, TCP_REPLY), "Session"),
        None
    );
    assert_eq!(
        peer.request("PLAY").uri,
        "rtsp://192.0.2.2/y",
        "the wish is still to play"
    );
}

// covers: C-SESS-05, C-DESC-05
#[test]
fn status_454_to_any_session_request_loses_the_session() {
    let mut peer = Peer::ready(tcp(), TCP);
    peer.play();
    peer.answer("PLAY", 454, "");
    assert_eq!(peer.session_lost().status, Some(454));
    assert!(peer.wire.is_empty() && peer.is_closed());

    let mut peer = Peer::started(tcp());
    peer.answer("OPTIONS", 200, PUBLIC);
    peer.describe(TWO_STREAMS);
    peer.answer("SETUP", 200, TCP_REPLY);
    peer.answer("SETUP", 454, "");
    assert_eq!(peer.failed().kind, ErrorKind::SessionLost);
    assert!(peer.wire.is_empty());
}

#[test]
fn a_udp_session_is_lost_with_its_connection_where_that_is_asked_for() {
    let mut peer = Peer::playing(
        Config {
            udp_reconnect: false,
            ..udp()
        },
        UDP,
    );
    let connects = peer.connects().len();
    peer.lost();
    assert_eq!(peer.connects().len(), connects);
    assert_eq!(peer.session_lost().kind, ErrorKind::SessionLost);
    assert!(peer.is_closed());
}

#[test]
fn another_user_agent_is_named_from_the_next_request_on() {
    let mut peer = Peer::ready(tcp(), [TCP_REPLY, TCP_REPLY_2]);
    peer.client.set_user_agent("other/2".into());
    peer.play();
    let play = peer.answer("PLAY", 200, "Session: S1");
    assert_eq!(header(&play, "User-Agent").as_deref(), Some("other/2"));
}
