//! Whatever comes in whatever order: no panic, no busy loop, one end.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Input {
    Answer(u16, usize, usize),
    Ask(&'static str, usize),
    Wait(u64),
    Wish(u8),
    Lost,
    ConnectFailed,
    Connected,
}

const HEADERS: [&str; 14] = [
    "",
    PUBLIC,
    TCP_REPLY,
    TCP_REPLY_2,
    UDP_REPLY,
    "Content-Type: application/sdp",
    "Location: rtsp://192.0.2.2/y",
    "Location: rtsp://192.0.2.3/z\nConnection: close",
    "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", stale=true",
    "WWW-Authenticate: Basic realm=\"r\"\nConnection: close",
    "Session: \nTransport: RTP/AVP/TCP;interleaved=255",
    "Session: a b\nTransport: ,,;=",
    "CSeq: 1\nSession: S1\nLocation: rtsp://192.0.2.4/\nRange: clock=20300101T000000Z-",
    "RTP-Info: url=;seq=1;rtptime=-1,,url=v\nRange: npt=5-1\nScale: nan",
];
const STATUS: [u16; 16] = [
    100, 200, 200, 200, 200, 302, 400, 401, 404, 408, 454, 455, 459, 461, 501, 503,
];
const METHODS: [&str; 5] = ["OPTIONS", "TEARDOWN", "REDIRECT", "SET_PARAMETER", "PLAY"];

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        12 => (0..STATUS.len(), 0..HEADERS.len(), 0..3usize)
            .prop_map(|(status, headers, body)| Input::Answer(STATUS[status], headers, body)),
        1 => (0..METHODS.len(), 0..HEADERS.len()).prop_map(|(m, headers)| Input::Ask(METHODS[m], headers)),
        2 => (0..100u64).prop_map(Input::Wait),
        2 => (0..8u8).prop_map(Input::Wish),
        1 => Just(Input::Lost),
        1 => Just(Input::ConnectFailed),
        1 => Just(Input::Connected),
    ]
}

/// What a well-behaved server would answer, so that the states behind the start are reached too.
fn helpful(request: &Request) -> (&'static str, &'static str) {
    match request.method {
        Method::Options => (PUBLIC, ""),
        Method::Describe => ("Content-Type: application/sdp", TWO_STREAMS),
        Method::Setup if request.uri.ends_with('a') => (TCP_REPLY_2, ""),
        Method::Setup => (TCP_REPLY, ""),
        _ => ("", ""),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    // covers: C-STM-05, C-STM-07, H-39
    #[test]
    fn any_sequence_of_inputs_is_survived(
        inputs in prop::collection::vec(input(), 0..40),
        connect in any::<bool>(),
        record in any::<bool>(),
        start in any::<u32>(),
    ) {
        let credentials = Some(Credentials { user: "u".into(), password: "p".into() });
        let intent = if record { Intent::Record } else { Intent::Play };
        let mut peer = Peer::new(Config { intent, credentials, initial_cseq: start, ..tcp() });
        peer.auto_connect = connect;
        peer.client.config.wall_clock = Some((peer.now, 0));
        peer.start();
        peer.client.announce(TWO_STREAMS.into(), peer.now);
        peer.pump();
        for input in inputs {
            match input {
                Input::Answer(status, headers, body) => {
                    let Some(Message::Request(request)) = peer.wire.pop_front() else { continue };
                    let (headers, body) = match (status, body) {
                        (200, 0 | 1) => helpful(&request),
                        (_, 2) => (HEADERS[headers], ONE_STREAM),
                        _ => (HEADERS[headers], ""),
                    };
                    peer.reply(&request, status, headers, body);
                }
                Input::Ask(method, headers) => {
                    let request = Request::new(Method::from(method), "*", Version::V1_0);
                    peer.feed(Message::Request(request), HEADERS[headers], "");
                }
                Input::Wait(seconds) => peer.seconds(seconds),
                Input::Wish(wish) => match wish {
                    0..=2 => peer.play(),
                    3 | 4 => peer.pause(),
                    5 => peer.teardown(),
                    _ => {
                        peer.client.get_parameter(1, None, vec![1], peer.now);
                        peer.pump();
                    }
                },
                Input::Lost => peer.lost(),
                Input::ConnectFailed => {
                    peer.client.handle_connect_failed(ErrorKind::Connect, "no".into(), peer.now);
                    peer.pump();
                }
                Input::Connected => peer.connected(),
            }
            let next = peer.client.poll_timeout();
            peer.client.handle_timeout(peer.now);
            peer.pump();
            prop_assert!(next.is_none() || peer.client.poll_timeout().is_none_or(|at| at > peer.now));
        }
        peer.teardown();
        peer.auto_connect = true;
        peer.connected();
        peer.seconds(60);
        let ends = peer.did.iter().filter(|did| matches!(did, Did::Event(Event::Closed))).count();
        prop_assert_eq!(ends, 1);
        prop_assert_eq!(peer.client.poll_timeout(), None);
    }
}
