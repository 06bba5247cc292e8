//! What the application sees and changes before it has effect.

use super::*;

fn reviewing() -> Config {
    Config {
        review: true,
        ..tcp()
    }
}

impl Peer {
    #[track_caller]
    fn review(&mut self) -> (u64, Review) {
        self.reviews.pop_front().expect("something to review")
    }

    /// Lets the next thing through as it is.
    #[track_caller]
    fn pass(&mut self) -> Review {
        let (id, what) = self.review();
        self.reviewed(id, Reviewed::Unchanged);
        what
    }

    fn reviewed(&mut self, id: u64, reviewed: Reviewed) {
        self.client.reviewed(id, reviewed, self.now);
        self.pump();
    }

    /// One stream, playing, with all requests let through.
    fn reviewed_playing() -> Self {
        let mut peer = Self::started(reviewing());
        peer.pass();
        peer.answer("OPTIONS", 200, PUBLIC);
        peer.pass();
        peer.describe(ONE_STREAM);
        peer.pass();
        peer.pass();
        peer.answer("SETUP", 200, TCP_REPLY);
        peer.play();
        peer.pass();
        peer.answer("PLAY", 200, "Session: S1");
        assert_eq!(peer.client.state(), State::Playing);
        peer
    }
}

#[test]
fn a_request_under_review_is_not_sent_and_its_edits_are() {
    let mut peer = Peer::started(reviewing());
    let (id, what) = peer.review();
    let Review::Request(mut request) = what else {
        panic!("{what:?}");
    };
    assert_eq!(request.method, Method::Options);
    assert!(request.headers.get("CSeq").is_none());
    assert!(peer.wire.is_empty());
    request.headers.push("X-Token", "abc");
    peer.reviewed(id, Reviewed::Request(request));
    let options = peer.answer("OPTIONS", 200, PUBLIC);
    assert_eq!(options.headers.get("X-Token"), Some(&b"abc"[..]));
    assert_eq!(options.headers.get("CSeq"), Some(&b"1"[..]));
    // One at a time, and an answer that nobody waits for changes nothing.
    assert_eq!(peer.reviews.len(), 1);
    peer.reviewed(id, Reviewed::NotSent);
    assert!(peer.wire.is_empty());
}

#[test]
fn credentials_are_added_after_the_review_and_the_repetition_is_not_reviewed() {
    let mut peer = Peer::started(Config {
        credentials: Some(Credentials {
            user: "u".into(),
            password: "p".into(),
        }),
        ..reviewing()
    });
    peer.pass();
    peer.answer("OPTIONS", 401, "WWW-Authenticate: Basic realm=\"x\"");
    assert!(peer.reviews.is_empty());
    let again = peer.answer("OPTIONS", 200, PUBLIC);
    assert!(again.headers.get("Authorization").is_some());
    let Review::Request(describe) = peer.pass() else {
        panic!("a request");
    };
    assert!(describe.headers.get("Authorization").is_none());
    assert!(
        peer.request("DESCRIBE")
            .headers
            .get("Authorization")
            .is_some()
    );
}

#[test]
fn keep_alives_go_on_while_a_request_is_under_review() {
    let mut peer = Peer::reviewed_playing();
    peer.pause();
    assert_eq!(peer.reviews.len(), 1);
    peer.seconds(31);
    peer.answer("GET_PARAMETER", 200, "Session: S1");
    assert_eq!(peer.reviews.len(), 1);
    peer.pass();
    peer.answer("PAUSE", 200, "Session: S1");
    assert_eq!(peer.client.state(), State::Ready);
}

#[test]
fn a_pause_and_a_teardown_that_are_held_back_count_as_done() {
    let mut peer = Peer::reviewed_playing();
    peer.pause();
    let (id, _) = peer.review();
    peer.reviewed(id, Reviewed::NotSent);
    assert_eq!(peer.client.state(), State::Ready);
    peer.teardown();
    let (id, _) = peer.review();
    peer.reviewed(id, Reviewed::NotSent);
    assert!(peer.is_closed() && peer.wire.is_empty());
}

#[test]
fn without_its_description_there_is_nothing_to_play() {
    let mut peer = Peer::started(reviewing());
    peer.pass();
    peer.answer("OPTIONS", 200, PUBLIC);
    let (id, _) = peer.review();
    peer.reviewed(id, Reviewed::NotSent);
    let error = peer.failed();
    assert_eq!(error.kind, ErrorKind::Settings);
    assert!(error.message.contains("held it back"), "{error}");
}

#[test]
fn the_description_is_the_one_that_was_reviewed() {
    let mut peer = Peer::started(reviewing());
    peer.pass();
    peer.answer("OPTIONS", 200, PUBLIC);
    peer.pass();
    peer.describe(TWO_STREAMS);
    let (id, what) = peer.review();
    assert!(matches!(&what, Review::Description(text) if text == TWO_STREAMS.as_bytes()));
    assert!(!peer.saw(|event| matches!(event, Event::Described { .. })));
    peer.reviewed(id, Reviewed::Description(ONE_STREAM.as_bytes().to_vec()));
    let media = peer.event(|event| match event {
        Event::Described { sdp, .. } => Some(sdp.media.len()),
        _ => None,
    });
    assert_eq!(media, 1);
}

// covers: C-SREQ-01, C-SREQ-03, C-SREQ-04
#[test]
fn the_application_answers_for_the_parameters_that_the_server_asks_for() {
    let mut peer = Peer::reviewed_playing();
    let ask = |peer: &mut Peer| {
        let request = Request::new(Method::GetParameter, "rtsp://192.0.2.1/x", Version::V1_0);
        let headers = "CSeq: 77\nSession: S1;timeout=60\nContent-Type: text/parameters";
        peer.feed(Message::Request(request), headers, "battery:\r\n");
    };
    ask(&mut peer);
    let (id, what) = peer.review();
    let Review::ServerRequest(request, mut response) = what else {
        panic!("{what:?}");
    };
    assert_eq!(
        (request.body.as_slice(), response.status),
        (&b"battery:\r\n"[..], 200)
    );
    response.headers.remove("CSeq");
    response.body = b"battery: 99\r\n".to_vec();
    peer.reviewed(id, Reviewed::ServerRequest(response));
    let answer = peer.answer_of_client();
    assert_eq!(
        (answer.status, answer.body.as_slice()),
        (200, &b"battery: 99\r\n"[..])
    );
    assert_eq!(answer.headers.get("CSeq"), Some(&b"77"[..]));
    assert_eq!(answer.headers.get("Session"), Some(&b"S1"[..]));
    // Nobody is connected.
    ask(&mut peer);
    peer.pass();
    assert_eq!(peer.answer_of_client().status, 451);
}

// covers: C-SREQ-11, H-38
#[test]
fn an_application_that_does_not_answer_lets_no_queue_grow() {
    let mut peer = Peer::reviewed_playing();
    for cseq in 0..2 * limits::SERVER_REQUESTS_QUEUED {
        let request = Request::new(Method::Options, "rtsp://192.0.2.1/x", Version::V1_0);
        peer.feed(Message::Request(request), &format!("CSeq: {cseq}"), "");
    }
    assert_eq!(peer.reviews.len(), limits::SERVER_REQUESTS_QUEUED);
    assert_eq!(peer.wire.len(), limits::SERVER_REQUESTS_QUEUED);
}

// covers: C-SREQ-05
#[test]
fn a_redirect_that_the_application_refuses_is_not_followed() {
    let mut peer = Peer::reviewed_playing();
    let request = Request::new(Method::Redirect, "rtsp://192.0.2.1/x", Version::V1_0);
    peer.feed(
        Message::Request(request),
        "CSeq: 5\nLocation: rtsp://192.0.2.7/y",
        "",
    );
    let (id, _) = peer.review();
    let refusal = Response::new(403, "Forbidden", Version::V1_0);
    peer.reviewed(id, Reviewed::ServerRequest(refusal));
    assert_eq!(peer.answer_of_client().status, 403);
    assert!(!peer.saw(|event| matches!(event, Event::Redirected { .. })));
    assert_eq!(peer.client.state(), State::Playing);
}

#[test]
fn what_is_under_review_ends_with_the_connection() {
    let mut peer = Peer::reviewed_playing();
    peer.client
        .get_parameter(7, Some("text/parameters"), b"a:\r\n".to_vec(), peer.now);
    peer.pump();
    let (id, _) = peer.review();
    peer.lost();
    let reply = peer.event(|event| match event {
        Event::Reply { id, result } => Some((*id, result.is_err())),
        _ => None,
    });
    assert_eq!(reply, (7, true));
    peer.reviewed(id, Reviewed::Unchanged);
    assert!(peer.wire.is_empty());
}

#[test]
fn requests_of_the_application_leave_room_for_those_of_the_session() {
    let mut peer = Peer::reviewed_playing();
    let mut asked = 0u64;
    while peer.client.takes_requests() {
        peer.client
            .get_parameter(asked, None, b"a:\r\n".to_vec(), peer.now);
        asked += 1;
        assert!(asked < 100);
    }
    assert_eq!(asked, limits::OUTSTANDING as u64 / 2);
    peer.pause();
    assert_eq!(peer.reviews.len() as u64, asked + 1);
}
