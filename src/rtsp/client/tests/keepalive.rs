//! Keep-alives and requests of the application.

use super::*;

const BOTH: [&str; 2] = [TCP_REPLY, TCP_REPLY_2];

// covers: C-KA-01, C-KA-02, C-KA-03, C-KA-07
#[test]
fn an_empty_request_goes_out_at_half_the_timeout_in_every_state() {
    for play in [true, false] {
        let mut peer = if play {
            Peer::playing(tcp(), BOTH)
        } else {
            Peer::ready(tcp(), BOTH)
        };
        for _ in 0..3 {
            peer.wait(Duration::from_millis(29_999));
            assert!(peer.wire.is_empty());
            peer.wait(Duration::from_millis(1));
            let request = peer.answer("GET_PARAMETER", 200, "");
            assert_eq!(request.uri, "rtsp://192.0.2.1/x");
            assert_eq!(header(&request, "Session").as_deref(), Some("S1"));
            assert_eq!(header(&request, "Content-Type"), None);
            assert_eq!(header(&request, "Content-Length"), None);
        }
    }
}

// covers: C-KA-01, H-28
#[test]
fn a_short_timeout_makes_short_intervals_but_no_busy_loop() {
    for (timeout, millis) in [
        ("1", 1000),
        ("0", 30_000),
        ("20", 10_000),
        ("99999999999999999999", 30_000),
    ] {
        let mut peer = Peer::ready(
            tcp(),
            BOTH.map(|reply| reply.replace("60", timeout))
                .each_ref()
                .map(String::as_str),
        );
        peer.wait(Duration::from_millis(millis - 1));
        assert!(peer.wire.is_empty(), "{timeout}");
        peer.wait(Duration::from_millis(1));
        peer.request("GET_PARAMETER");
    }
}

// covers: C-KA-01
#[test]
fn the_timer_starts_with_the_first_setup_and_each_answer_restarts_it() {
    let mut peer = Peer::started(tcp());
    peer.auto_offer = false;
    peer.answer("OPTIONS", 200, PUBLIC);
    peer.describe(TWO_STREAMS);
    peer.client
        .offer(0, Some(Offer::Tcp { channels: (0, 1) }), peer.now);
    peer.pump();
    peer.answer("SETUP", 200, TCP_REPLY);
    peer.seconds(30);
    peer.request("GET_PARAMETER");
    assert_eq!(peer.client.state(), State::Ready);

    let mut peer = Peer::ready(tcp(), BOTH);
    peer.seconds(20);
    peer.play();
    peer.answer("PLAY", 200, "");
    peer.seconds(29);
    assert!(peer.wire.is_empty());
    peer.seconds(1);
    peer.request("GET_PARAMETER");
}

// covers: C-KA-04, C-OPT-04
#[test]
fn a_refused_method_is_followed_by_the_next_which_is_kept() {
    for status in [400, 405, 451, 501, 551] {
        let mut peer = Peer::playing(tcp(), BOTH);
        peer.seconds(30);
        peer.answer("GET_PARAMETER", status, "");
        let options = peer.answer("OPTIONS", 200, "");
        assert_eq!(header(&options, "Session").as_deref(), Some("S1"));
        peer.seconds(30);
        peer.request("OPTIONS");
        assert!(!peer.is_closed());
    }
}

// covers: C-KA-04, C-OPT-04
#[test]
fn when_all_methods_are_refused_the_session_goes_on() {
    let mut peer = Peer::playing(tcp(), BOTH);
    peer.seconds(30);
    for method in ["GET_PARAMETER", "OPTIONS", "SET_PARAMETER"] {
        peer.answer(method, 451, "");
    }
    assert!(peer.wire.is_empty());
    peer.seconds(30);
    peer.answer("GET_PARAMETER", 501, "");
    peer.answer("OPTIONS", 501, "");
    peer.answer("SET_PARAMETER", 501, "");
    peer.seconds(100);
    assert!(peer.wire.is_empty(), "after 501 never again");
    assert!(!peer.is_closed());
}

// covers: C-KA-05, C-CSEQ-04
#[test]
fn a_keep_alive_that_is_not_answered_is_only_told() {
    let mut peer = Peer::playing(tcp(), BOTH);
    peer.seconds(41);
    assert!(
        peer.saw(|event| matches!(event, Event::Warning(text) if text.contains("GET_PARAMETER")))
    );
    peer.seconds(3600);
    assert!(!peer.is_closed());
    assert_eq!(peer.wire.len(), 121, "and they go on");
}

// covers: C-KA-05, C-STAT-14, C-STAT-22
#[test]
fn other_refusals_of_a_keep_alive_are_only_told() {
    for status in [403, 404, 453, 455, 461, 500, 503, 505] {
        let mut peer = Peer::playing(tcp(), BOTH);
        peer.seconds(30);
        peer.answer("GET_PARAMETER", status, "");
        assert!(peer.wire.is_empty() && !peer.is_closed(), "{status}");
        assert!(peer.saw(|event| matches!(event, Event::Warning(_))));
    }
}

// covers: C-KA-05, C-SESS-05, C-STM-02, C-STM-07
#[test]
fn status_454_ends_the_session_without_teardown() {
    let mut peer = Peer::playing(tcp(), BOTH);
    peer.seconds(30);
    peer.answer("GET_PARAMETER", 454, "");
    assert_eq!(peer.session_lost().kind, ErrorKind::SessionLost);
    assert!(peer.wire.is_empty() && peer.is_closed());
    assert_eq!(peer.client.state(), State::Init);
}

// covers: H-26, C-KA-05
#[test]
fn a_challenged_keep_alive_is_refreshed_once_and_never_ends_the_session() {
    let mut peer = Peer::playing(tcp(), BOTH);
    peer.seconds(30);
    peer.answer(
        "GET_PARAMETER",
        401,
        "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"",
    );
    assert!(
        !peer.is_closed() && peer.wire.is_empty(),
        "there are no credentials"
    );
}

// covers: C-KA-08
#[test]
fn after_a_long_sleep_the_session_is_verified() {
    let mut peer = Peer::playing(tcp(), BOTH);
    peer.now += Duration::from_secs(3600);
    peer.client.handle_timeout(peer.now);
    peer.pump();
    peer.request("GET_PARAMETER");
    peer.seconds(10);
    assert_eq!(peer.session_lost().kind, ErrorKind::SessionLost);
}

// covers: C-KA-01
#[test]
fn keep_alives_can_be_switched_off() {
    let mut peer = Peer::playing(
        Config {
            keep_alive: false,
            ..tcp()
        },
        BOTH,
    );
    peer.seconds(600);
    assert!(peer.wire.is_empty());
    assert_eq!(peer.client.poll_timeout(), None);
}

// covers: C-STAT-13, C-CSEQ-08
#[test]
fn requests_of_the_application_get_their_own_answer() {
    let mut peer = Peer::playing(tcp(), BOTH);
    peer.client
        .get_parameter(1, Some("text/parameters"), b"a\r\n".to_vec(), peer.now);
    peer.client
        .set_parameter(2, Some("text/parameters"), b"b: 1\r\n".to_vec(), peer.now);
    peer.pump();
    let (get, set) = (peer.request("GET_PARAMETER"), peer.request("SET_PARAMETER"));
    assert_eq!(
        (get.body.as_slice(), header(&get, "Session").as_deref()),
        (&b"a\r\n"[..], Some("S1"))
    );
    peer.reply(&set, 451, "", "b");
    peer.reply(&get, 200, "", "a: 5");
    let replies: Vec<_> = peer
        .did
        .iter()
        .filter_map(|did| match did {
            Did::Event(Event::Reply {
                id,
                result: Ok(response),
            }) => Some((*id, response.status, response.body.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(
        replies,
        [(2, 451, b"b".to_vec()), (1, 200, b"a: 5".to_vec())]
    );
    assert_eq!(peer.client.state(), State::Playing);
}

// covers: C-CSEQ-08, C-OPT-04
#[test]
fn requests_of_the_application_are_bounded_and_never_lost() {
    let mut peer = Peer::playing(tcp(), BOTH);
    for id in 0..12 {
        peer.client.get_parameter(id, None, Vec::new(), peer.now);
    }
    peer.pump();
    // Room is left for the session's own.
    assert_eq!(peer.wire.len(), limits::OUTSTANDING / 2);
    peer.lost();
    let ended = peer
        .did
        .iter()
        .filter(|did| matches!(did, Did::Event(Event::Reply { result: Err(_), .. })));
    assert_eq!(ended.count(), 12);

    let mut peer = Peer::playing(tcp(), BOTH);
    peer.client.set_parameter(1, None, Vec::new(), peer.now);
    peer.pump();
    peer.answer("SET_PARAMETER", 501, "");
    peer.client.set_parameter(2, None, Vec::new(), peer.now);
    peer.pump();
    assert!(peer.wire.is_empty(), "after 501 never again");
}

// covers: H-23
#[test]
fn a_content_type_cannot_inject_headers() {
    let mut peer = Peer::playing(tcp(), BOTH);
    peer.client
        .set_parameter(1, Some("a\r\nX-Evil: 1"), b"b".to_vec(), peer.now);
    peer.pump();
    assert_eq!(header(&peer.request("SET_PARAMETER"), "X-Evil"), None);
}
