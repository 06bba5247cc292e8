//! From the connection to the description: OPTIONS, DESCRIBE, authentication, redirects.

use super::*;

const DIGEST: &str = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n1\"";

fn with_password(url: &str) -> Config {
    let credentials = Credentials {
        user: "u".into(),
        password: "secret".into(),
    };
    Config {
        credentials: Some(credentials),
        ..config(url)
    }
}

// covers: C-CSEQ-01, C-DESC-01, C-SETUP-02, C-SETUP-03, C-SETUP-06, C-URL-15, C-STM-01
#[test]
fn a_plain_start_sends_each_request_once_in_order() {
    let mut peer = Peer::started(tcp());
    assert_eq!(peer.connects(), [("192.0.2.1", 554, false)]);
    peer.play();
    let options = peer.answer("OPTIONS", 200, PUBLIC);
    assert_eq!(options.uri, "rtsp://192.0.2.1/x");
    let describe = peer.request("DESCRIBE");
    assert_eq!(
        header(&describe, "Accept").as_deref(),
        Some("application/sdp")
    );
    assert_eq!(header(&describe, "Session"), None);
    peer.reply(
        &describe,
        200,
        "Content-Type: application/sdp\nSession: ignored",
        TWO_STREAMS,
    );

    let first = peer.request("SETUP");
    assert_eq!(
        (first.uri.as_str(), header(&first, "Session")),
        ("rtsp://192.0.2.1/x/v", None)
    );
    assert_eq!(
        header(&first, "Transport").as_deref(),
        Some("RTP/AVP/TCP;unicast;interleaved=0-1")
    );
    assert!(peer.wire.is_empty(), "one at a time");
    peer.reply(&first, 200, TCP_REPLY, "");
    let second = peer.request("SETUP");
    assert_eq!(second.uri, "rtsp://192.0.2.1/x/a");
    assert_eq!(header(&second, "Session").as_deref(), Some("S1"));
    assert_eq!(
        header(&second, "Transport").as_deref(),
        Some("RTP/AVP/TCP;unicast;interleaved=2-3")
    );
    assert_eq!(peer.client.state(), State::Ready, "follows the first 2xx");
    assert!(!peer.saw(|event| matches!(event, Event::Ready)));
    peer.reply(&second, 200, TCP_REPLY_2, "");
    assert!(peer.saw(|event| matches!(event, Event::Ready)));

    let play = peer.request("PLAY");
    assert_eq!(play.uri, "rtsp://192.0.2.1/x");
    assert_eq!(header(&play, "Session").as_deref(), Some("S1"));
    assert_eq!(peer.client.state(), State::Ready, "not by sending");
    peer.reply(&play, 200, "", "");
    assert_eq!(peer.client.state(), State::Playing);
    let numbers = [options, describe, first, second, play].map(|request| cseq(&request));
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    assert!(peer.wire.is_empty());
}

// covers: C-OPT-01
#[test]
fn a_refused_options_does_not_stop_the_start() {
    for status in [400, 404, 405, 454, 500, 501, 503, 551] {
        let mut peer = Peer::started(tcp());
        peer.answer("OPTIONS", status, "");
        peer.request("DESCRIBE");
    }
    // The other version is tried first.
    let mut peer = Peer::started(tcp());
    peer.answer("OPTIONS", 505, "");
    peer.answer("OPTIONS", 505, "");
    assert_eq!(peer.failed().status, Some(505));
}

// covers: C-OPT-03
#[test]
fn methods_that_public_omits_are_used_where_they_are_needed() {
    let mut peer = Peer::started(tcp());
    peer.play();
    peer.answer("OPTIONS", 200, "Public: OPTIONS");
    peer.describe(ONE_STREAM);
    peer.answer("SETUP", 200, TCP_REPLY);
    peer.answer("PLAY", 200, "");
    peer.teardown();
    peer.request("TEARDOWN");
}

// covers: C-DESC-02, C-DESC-03, C-STAT-09
#[test]
fn a_description_that_cannot_be_used_is_an_error_with_its_cause() {
    let rdt = ONE_STREAM.replace("RTP/AVP", "x-real-rdt/udp");
    let none = "v=0\r\ns=x\r\n";
    for (content_type, body, kind) in [
        ("application/sdp", "", ErrorKind::WrongType),
        ("text/html", ONE_STREAM, ErrorKind::WrongType),
        ("application/sdp", &rdt, ErrorKind::Unsupported),
        ("application/sdp", none, ErrorKind::Unsupported),
    ] {
        let mut peer = Peer::started(tcp());
        peer.answer("OPTIONS", 200, PUBLIC);
        let request = peer.request("DESCRIBE");
        peer.reply(
            &request,
            200,
            &format!("Content-Type: {content_type}"),
            body,
        );
        let error = peer.failed();
        assert_eq!(
            (error.kind, error.phase),
            (kind, Phase::Describe),
            "{error}"
        );
        assert!(peer.is_closed() && peer.wire.is_empty());
    }
}

// covers: C-DESC-04, C-STAT-05, C-STAT-06, C-STAT-07, C-STAT-09, C-STAT-14, C-REDIR-01
#[test]
fn a_refused_description_ends_the_start_with_the_servers_words() {
    for (status, kind) in [
        (300, ErrorKind::NotFound),
        (304, ErrorKind::Protocol),
        (400, ErrorKind::Settings),
        (403, ErrorKind::Forbidden),
        (404, ErrorKind::NotFound),
        (406, ErrorKind::WrongType),
        (407, ErrorKind::NotAuthorized),
        (410, ErrorKind::NotFound),
        (415, ErrorKind::WrongType),
        (453, ErrorKind::Busy),
        (503, ErrorKind::Busy),
        (599, ErrorKind::ServerError),
        (600, ErrorKind::Protocol),
    ] {
        let mut peer = Peer::started(tcp());
        peer.answer("OPTIONS", 200, PUBLIC);
        peer.answer("DESCRIBE", status, "Retry-After: 7");
        let error = peer.failed();
        assert_eq!((error.kind, error.status), (kind, Some(status)));
        assert_eq!(error.reason.as_deref(), Some("Reason"));
        assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
        assert!(
            error.to_string().contains("DESCRIBE rtsp://192.0.2.1/x"),
            "{error}"
        );
        assert!(peer.wire.is_empty() && peer.is_closed());
    }
}

// covers: C-AUTH-09, C-AUTH-11, C-AUTH-16, C-STAT-06
#[test]
fn a_challenged_request_is_repeated_with_credentials_and_a_new_number() {
    let mut peer = Peer::started(with_password("rtsp://192.0.2.1/x"));
    let bare = peer.answer("OPTIONS", 401, DIGEST);
    assert_eq!(header(&bare, "Authorization"), None);
    let options = peer.answer("OPTIONS", 200, PUBLIC);
    assert_eq!(
        (options.uri.as_str(), cseq(&options)),
        (bare.uri.as_str(), 2)
    );
    assert!(
        header(&options, "Authorization")
            .unwrap()
            .contains("uri=\"rtsp://192.0.2.1/x\"")
    );
    peer.describe(ONE_STREAM);
    let setup = peer.answer("SETUP", 200, TCP_REPLY);
    assert!(
        header(&setup, "Authorization")
            .unwrap()
            .contains("uri=\"rtsp://192.0.2.1/x/v\"")
    );
    peer.seconds(31);
    assert!(header(&peer.request("GET_PARAMETER"), "Authorization").is_some());
    peer.teardown();
    assert!(header(&peer.request("TEARDOWN"), "Authorization").is_some());
}

// covers: C-AUTH-15, H-22
#[test]
fn a_server_that_challenges_for_ever_is_left() {
    let mut peer = Peer::started(with_password("rtsp://192.0.2.1/x"));
    let mut tries = 0;
    while !peer.is_closed() {
        tries += 1;
        let challenge =
            format!("WWW-Authenticate: Digest realm=\"r\", nonce=\"n{tries}\", stale=true");
        peer.answer("OPTIONS", 401, &challenge);
    }
    assert_eq!(tries, 1 + limits::AUTH_RETRIES);
    assert_eq!(peer.failed().kind, ErrorKind::NotAuthorized);
}

// covers: H-22
#[test]
fn retries_with_credentials_are_bounded_per_minute() {
    let mut peer = Peer::playing(
        with_password("rtsp://192.0.2.1/x"),
        [TCP_REPLY, TCP_REPLY_2],
    );
    let mut nonce = 0;
    let mut retries = 0;
    for id in 0..8 {
        peer.client.get_parameter(id, None, Vec::new(), peer.now);
        peer.pump();
        while !peer.wire.is_empty() {
            nonce += 1;
            let challenge =
                format!("WWW-Authenticate: Digest realm=\"r\", nonce=\"m{nonce}\", stale=true");
            peer.answer("GET_PARAMETER", 401, &challenge);
        }
    }
    retries += nonce - 8;
    assert_eq!(retries, limits::AUTH_RETRIES_PER_MINUTE);
    assert!(!peer.is_closed(), "the session lives on");
}

// covers: C-AUTH-17
#[test]
fn without_credentials_a_challenge_ends_the_start_at_once() {
    let mut peer = Peer::started(tcp());
    peer.answer("OPTIONS", 401, DIGEST);
    assert_eq!(peer.failed().kind, ErrorKind::NotAuthorized);
    assert!(peer.wire.is_empty());
}

// covers: C-AUTH-16
#[test]
fn a_server_that_closes_with_its_challenge_is_asked_on_a_new_connection() {
    // Announced, or found out when the repetition is lost.
    for announced in [true, false] {
        let mut peer = Peer::started(with_password("rtsp://192.0.2.1/x"));
        peer.answer("OPTIONS", 200, PUBLIC);
        let close = if announced { "\nConnection: Close" } else { "" };
        peer.answer("DESCRIBE", 401, &format!("{DIGEST}{close}"));
        if !announced {
            peer.request("DESCRIBE");
            peer.lost();
        }
        assert_eq!(peer.connects().len(), 2);
        assert!(header(&peer.describe(ONE_STREAM), "Authorization").is_some());
        peer.request("SETUP");
    }
}

// covers: C-STAT-10, C-CSEQ-05
#[test]
fn a_description_that_does_not_come_is_asked_for_once_more_on_a_new_connection() {
    let mut peer = Peer::started(tcp());
    peer.answer("OPTIONS", 200, PUBLIC);
    let first = peer.request("DESCRIBE");
    peer.seconds(9);
    assert_eq!(peer.connects().len(), 1);
    peer.seconds(1);
    assert_eq!((peer.connects().len(), peer.disconnects()), (2, 1));
    let second = peer.request("DESCRIBE");
    peer.reply(&first, 200, "Content-Type: application/sdp", ONE_STREAM);
    assert!(
        peer.wire.is_empty(),
        "an answer to the old number counts for nothing"
    );
    assert_eq!(cseq(&second), cseq(&first) + 1);
    peer.seconds(10);
    assert_eq!(peer.failed().kind, ErrorKind::Timeout);
    assert_eq!(peer.client.stray_responses(), 1);
}

// covers: C-STAT-10
#[test]
fn status_408_counts_as_no_response() {
    let mut peer = Peer::started(tcp());
    peer.answer("OPTIONS", 200, PUBLIC);
    peer.answer("DESCRIBE", 408, "");
    assert_eq!(peer.connects().len(), 2);
    peer.answer("DESCRIBE", 408, "");
    assert_eq!(peer.failed().status, Some(408));
}

// covers: C-STAT-10, C-OPT-01
#[test]
fn a_server_that_ignores_options_is_asked_for_the_description() {
    let mut peer = Peer::started(tcp());
    peer.request("OPTIONS");
    peer.seconds(10);
    assert_eq!(peer.connects().len(), 2);
    peer.request("DESCRIBE");
    peer.seconds(10);
    assert_eq!(peer.failed().kind, ErrorKind::Timeout);
}

// covers: C-CSEQ-06, C-STAT-02, H-06
#[test]
fn provisional_responses_are_no_answer() {
    let mut peer = Peer::started(tcp());
    let options = peer.request("OPTIONS");
    peer.reply(&options, 100, "", "");
    peer.reply(&options, 199, "", "");
    assert!(peer.wire.is_empty());
    peer.seconds(9);
    peer.reply(&options, 200, "", "");
    peer.request("DESCRIBE");
    peer.reply(&options, 100, "", "");
    assert_eq!(peer.wire.len(), 0);
    assert_eq!(peer.client.stray_responses(), 1);
}

// covers: C-CSEQ-02, C-CSEQ-04, H-08
#[test]
fn answers_that_fit_nothing_shift_nothing() {
    let mut peer = Peer::started(tcp());
    peer.answer("OPTIONS", 200, PUBLIC);
    let describe = peer.request("DESCRIBE");
    for number in ["1", "99", "99999999999", "-2", ""] {
        let response = Response::new(404, "", Version::V1_0);
        peer.feed(Message::Response(response), &format!("CSeq: {number}"), "");
    }
    assert!(!peer.is_closed());
    peer.reply(&describe, 200, "Content-Type: application/sdp", ONE_STREAM);
    peer.request("SETUP");
    assert_eq!(peer.client.stray_responses(), 5);
}

// covers: C-CSEQ-02
#[test]
fn an_answer_without_number_counts_while_one_request_is_open() {
    let mut peer = Peer::started(tcp());
    peer.request("OPTIONS");
    peer.feed(
        Message::Response(Response::new(200, "", Version::V1_0)),
        "",
        "",
    );
    peer.request("DESCRIBE");
}

// covers: H-39, C-STM-05
#[test]
fn a_connection_that_is_refused_or_lost_is_an_error_that_says_where() {
    let mut peer = Peer::new(tcp());
    peer.auto_connect = false;
    peer.start();
    peer.client
        .handle_connect_failed(ErrorKind::Connect, "connection refused".into(), peer.now);
    peer.pump();
    let error = peer.failed();
    assert_eq!(
        (error.kind, error.phase),
        (ErrorKind::Connect, Phase::Connect)
    );
    assert!(error.to_string().contains("connection refused") && peer.is_closed());

    let mut peer = Peer::started(tcp());
    peer.answer("OPTIONS", 200, PUBLIC);
    peer.lost();
    let error = peer.failed();
    assert_eq!(
        (error.kind, error.phase),
        (ErrorKind::Connect, Phase::Describe)
    );

    // After OPTIONS some servers close; DESCRIBE shows whether they mean it.
    let mut peer = Peer::started(tcp());
    peer.lost();
    peer.request("DESCRIBE");
    peer.lost();
    assert_eq!(peer.failed().phase, Phase::Describe);

    let mut peer = Peer::started(tcp());
    peer.answer("OPTIONS", 200, PUBLIC);
    peer.describe(TWO_STREAMS);
    peer.answer("SETUP", 200, TCP_REPLY);
    peer.lost();
    assert_eq!(peer.failed().phase, Phase::Setup);
}

// covers: C-REDIR-01, C-REDIR-04
#[test]
fn a_redirect_starts_again_without_anything_of_the_old_origin() {
    let mut peer = Peer::started(with_password("rtsp://192.0.2.1/x"));
    peer.answer("OPTIONS", 401, DIGEST);
    peer.answer("OPTIONS", 200, PUBLIC);
    peer.answer("DESCRIBE", 302, "Location: rtsp://evil:pw@192.0.2.2:8554/y");
    assert_eq!(peer.connects().last(), Some(&("192.0.2.2", 8554, false)));
    assert_eq!(peer.disconnects(), 1);
    assert!(!peer.saw(|event| matches!(event, Event::Redirected { to } if to.contains("pw"))));
    let options = peer.answer("OPTIONS", 401, DIGEST);
    assert_eq!(
        (options.uri.as_str(), cseq(&options)),
        ("rtsp://192.0.2.2:8554/y", 1)
    );
    assert_eq!(header(&options, "Authorization"), None);
    assert_eq!(
        peer.failed().kind,
        ErrorKind::NotAuthorized,
        "they were for the other origin"
    );
}

// covers: C-REDIR-04, C-AUTH-20
#[test]
fn credentials_stay_within_their_origin() {
    let mut peer = Peer::started(with_password("rtsp://192.0.2.1/x"));
    peer.answer("OPTIONS", 401, DIGEST);
    peer.answer("OPTIONS", 301, "Location: rtsp://192.0.2.1/other");
    assert!(header(&peer.request("OPTIONS"), "Authorization").is_some());
}

// covers: C-REDIR-01, C-REDIR-03, H-19, H-20
#[test]
fn redirects_that_lead_nowhere_or_out_of_tls_are_errors_without_a_connection() {
    for (url, location) in [
        ("rtsp://192.0.2.1/x", ""),
        ("rtsp://192.0.2.1/x", "Location: /y"),
        ("rtsp://192.0.2.1/x", "Location: http://192.0.2.1/x"),
        ("rtsp://192.0.2.1/x", "Location: rtsp://192.0.2.1/x"),
        ("rtsps://192.0.2.1/x", "Location: rtsp://192.0.2.1/y"),
    ] {
        for status in [301, 302, 303, 305, 399] {
            let mut peer = Peer::started(config(url));
            peer.answer("OPTIONS", 200, PUBLIC);
            peer.answer("DESCRIBE", status, location);
            let connects = peer.connects().len();
            let error = peer.failed();
            assert_eq!(
                (error.kind, error.status, connects),
                (ErrorKind::Redirect, Some(status), 1),
                "{location}"
            );
        }
    }
}

// covers: C-REDIR-02, H-19
#[test]
fn at_most_five_redirects_are_followed() {
    let mut peer = Peer::started(tcp());
    for n in 0..=limits::REDIRECTS {
        peer.answer("OPTIONS", 302, &format!("Location: rtsp://192.0.2.1/{n}"));
    }
    assert_eq!(peer.connects().len(), 1 + limits::REDIRECTS);
    assert!(peer.failed().to_string().contains("too many redirects"));
}

// covers: C-SESS-07
#[test]
fn a_session_left_behind_is_torn_down_first_and_the_answer_does_not_matter() {
    let previous = || Some(("rtsp://192.0.2.1/x/".to_string(), "OLD".to_string()));
    for status in [200, 401, 404, 454, 500, 302] {
        let mut peer = Peer::started(Config {
            previous_session: previous(),
            ..tcp()
        });
        let teardown = peer.answer("TEARDOWN", status, "");
        assert_eq!(teardown.uri, "rtsp://192.0.2.1/x/");
        assert_eq!(header(&teardown, "Session").as_deref(), Some("OLD"));
        assert_eq!(header(&peer.request("OPTIONS"), "Session"), None);
    }
    let mut peer = Peer::started(Config {
        previous_session: previous(),
        ..tcp()
    });
    peer.request("TEARDOWN");
    peer.lost();
    peer.request("OPTIONS");
    assert_eq!(peer.connects().len(), 2, "servers close after TEARDOWN");

    let mut peer = Peer::started(Config {
        previous_session: previous(),
        ..tcp()
    });
    peer.request("TEARDOWN");
    peer.wait(limits::CLEANUP_WAIT);
    peer.request("OPTIONS");
}

#[test]
fn what_is_no_rtsp_server_is_not_asked_again() {
    let mut peer = Peer::started(tcp());
    peer.request("OPTIONS");
    peer.client
        .handle_not_rtsp("an HTTP server answers there".into(), peer.now);
    peer.pump();
    let error = peer.failed();
    assert_eq!(
        (error.kind, error.phase),
        (ErrorKind::Protocol, Phase::Options)
    );
    assert!(error.to_string().contains("HTTP"), "{error}");
    assert!(peer.wire.is_empty() && peer.is_closed());
}
