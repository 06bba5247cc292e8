//! Servers that refuse to mix transports.

use super::*;

/// What a server takes for a stream, given the transport of those that are set up.
type Rule = fn(stream: &str, offer: LowerTransport, others: Option<LowerTransport>) -> u16;

/// Answers SETUPs and TEARDOWNs by a rule, until neither comes; gives back what was asked.
fn serve(peer: &mut Peer, rule: Rule) -> Vec<String> {
    let mut asked = Vec::new();
    let mut session: Vec<LowerTransport> = Vec::new();
    while let Some(Message::Request(request)) = peer.wire.pop_front() {
        let stream = request.uri.rsplit('/').next().unwrap().to_string();
        let Some(transport) = header(&request, "Transport") else {
            asked.push(request.method.to_string());
            session.clear();
            peer.reply(&request, 200, "", "");
            continue;
        };
        let tcp = transport.contains("/TCP");
        let offer = match transport {
            _ if tcp => LowerTransport::Tcp,
            t if t.contains("multicast") => LowerTransport::UdpMulticast,
            _ => LowerTransport::Udp,
        };
        asked.push(format!("{stream} {offer}"));
        let status = rule(&stream, offer, session.first().copied());
        let transport = match offer {
            LowerTransport::Tcp => header(&request, "Transport").unwrap(),
            _ => UDP_REPLY.rsplit(": ").next().unwrap().to_string(),
        };
        if status == 200 {
            session.push(offer);
            peer.reply(
                &request,
                200,
                &format!("Session: S1\nTransport: {transport}"),
                "",
            );
        } else {
            peer.reply(&request, status, "", "");
        }
        assert!(asked.len() < 50, "{asked:?}");
    }
    asked
}

fn described(sdp: &str) -> Peer {
    let mut peer = Peer::started(Config {
        transports: vec![LowerTransport::Tcp, LowerTransport::Udp],
        ..tcp()
    });
    peer.answer("OPTIONS", 200, PUBLIC);
    peer.describe(sdp);
    peer
}

fn three_streams() -> String {
    format!("{TWO_STREAMS}m=application 0 RTP/AVP 107\r\na=rtpmap:107 x/90000\r\na=control:m\r\n")
}

/// What each media is set up on in the end.
fn set_up(peer: &Peer) -> Vec<(usize, LowerTransport)> {
    let mut paths = Vec::new();
    for did in &peer.did {
        match did {
            Did::Event(Event::MediaSetUp { media, granted, .. }) => {
                paths.push((*media, granted.path.lower()));
            }
            Did::Event(Event::SetUpAgain) => paths.clear(),
            _ => {}
        }
    }
    paths.sort_by_key(|(media, _)| *media);
    paths
}

fn skipped(peer: &Peer) -> Vec<usize> {
    let media = |did: &Did| match did {
        Did::Event(Event::MediaSkipped { media, .. }) => Some(*media),
        _ => None,
    };
    peer.did.iter().filter_map(media).collect()
}

/// The audio is there over UDP alone.
fn audio_wants_udp(stream: &str, offer: LowerTransport) -> bool {
    stream == "a" && offer == LowerTransport::Tcp
}

// covers: C-SETUP-08
#[test]
fn a_server_that_allows_the_mix_is_given_it() {
    let mut peer = described(&three_streams());
    let asked = serve(&mut peer, |stream, offer, _| {
        if audio_wants_udp(stream, offer) {
            461
        } else {
            200
        }
    });
    assert_eq!(asked, ["v TCP", "a TCP", "a UDP", "m UDP"]);
    use LowerTransport::{Tcp, Udp};
    assert_eq!(set_up(&peer), [(0, Tcp), (1, Udp), (2, Udp)]);
    assert!(skipped(&peer).is_empty() && peer.saw(|event| matches!(event, Event::Ready)));
}

// covers: C-SETUP-08
#[test]
fn a_server_that_refuses_the_mix_gets_all_streams_on_the_transport_that_suits_all() {
    fn rule<const STATUS: u16>(
        stream: &str,
        offer: LowerTransport,
        others: Option<LowerTransport>,
    ) -> u16 {
        if audio_wants_udp(stream, offer) {
            return 461;
        }
        match others {
            Some(others) if others != offer => STATUS,
            _ => 200,
        }
    }
    for rule in [rule::<461>, rule::<455>, rule::<400>, rule::<406>] as [Rule; 4] {
        let mut peer = described(&three_streams());
        let asked = serve(&mut peer, rule);
        assert_eq!(
            asked,
            [
                "v TCP", "a TCP", "a UDP", "TEARDOWN", "a UDP", "v UDP", "m UDP"
            ]
        );
        assert_eq!(
            set_up(&peer),
            [0, 1, 2].map(|media| (media, LowerTransport::Udp))
        );
        assert!(skipped(&peer).is_empty());
        assert!(peer.saw(|event| matches!(
            event,
            Event::TransportSwitched {
                from: LowerTransport::Tcp,
                to: LowerTransport::Udp,
                ..
            }
        )));
        assert_eq!(peer.connects().len(), 1, "on the same connection");
        peer.play();
        let play = peer.request("PLAY");
        assert_eq!(
            (play.uri.as_str(), header(&play, "Session").as_deref()),
            ("rtsp://192.0.2.1/x", Some("S1"))
        );
    }
}

// covers: C-SETUP-08
#[test]
fn a_stream_that_is_refused_everywhere_is_left_out_and_the_others_are_as_before() {
    let mut peer = described(&three_streams());
    let asked = serve(
        &mut peer,
        |stream, _, _| if stream == "a" { 461 } else { 200 },
    );
    assert_eq!(
        asked,
        [
            "v TCP", "a TCP", "a UDP", "TEARDOWN", "a UDP", "v TCP", "m TCP"
        ],
        "once"
    );
    use LowerTransport::Tcp;
    assert_eq!(set_up(&peer), [(0, Tcp), (2, Tcp)]);
    assert_eq!(skipped(&peer), [1]);
    assert!(peer.saw(|event| matches!(event, Event::Ready)));
    assert_eq!(peer.client.state(), State::Ready);
}

// covers: C-SETUP-08
#[test]
fn where_no_transport_suits_all_it_is_as_before() {
    let mut peer = described(&three_streams());
    let asked = serve(&mut peer, |stream, offer, others| {
        let suits = match stream {
            "a" => offer == LowerTransport::Udp,
            _ => offer == LowerTransport::Tcp,
        };
        match others {
            Some(others) if others != offer => 461,
            _ if suits => 200,
            _ => 461,
        }
    });
    assert_eq!(
        asked,
        [
            "v TCP", "a TCP", "a UDP", "TEARDOWN", "a UDP", "v UDP", "v TCP", "TEARDOWN", "v TCP",
            "m TCP"
        ]
    );
    use LowerTransport::Tcp;
    assert_eq!(set_up(&peer), [(0, Tcp), (2, Tcp)]);
    assert_eq!(skipped(&peer), [1]);
    assert!(peer.saw(|event| matches!(event, Event::Ready)));
}

// covers: C-SETUP-08
#[test]
fn one_that_was_not_set_up_before_is_no_reason_to_go_back() {
    let mut peer = described(&three_streams());
    let asked = serve(&mut peer, |stream, offer, others| match (stream, others) {
        ("m", _) => 404,
        _ if audio_wants_udp(stream, offer) => 461,
        (_, Some(others)) if others != offer => 461,
        _ => 200,
    });
    assert_eq!(
        asked,
        [
            "v TCP", "a TCP", "a UDP", "TEARDOWN", "a UDP", "v UDP", "m UDP"
        ]
    );
    assert_eq!(skipped(&peer), [2]);
    assert_eq!(
        set_up(&peer),
        [0, 1].map(|media| (media, LowerTransport::Udp))
    );
}

// covers: C-SETUP-08
#[test]
fn a_stream_that_is_refused_for_other_reasons_does_not_disturb_the_rest() {
    for status in [403, 404, 451, 503] {
        let rule: Rule = match status {
            403 => |stream, _, _| if stream == "a" { 403 } else { 200 },
            404 => |stream, _, _| if stream == "a" { 404 } else { 200 },
            451 => |stream, _, _| if stream == "a" { 451 } else { 200 },
            _ => |stream, _, _| if stream == "a" { 503 } else { 200 },
        };
        let mut peer = described(&three_streams());
        assert_eq!(serve(&mut peer, rule), ["v TCP", "a TCP", "m TCP"]);
        assert_eq!(skipped(&peer), [1]);
    }
    // Nor does a transport that cannot be had here.
    let mut peer = described(&three_streams());
    peer.without = vec![LowerTransport::Udp];
    let asked = serve(
        &mut peer,
        |stream, _, _| if stream == "a" { 461 } else { 200 },
    );
    assert_eq!(asked, ["v TCP", "a TCP", "m TCP"]);
}

// covers: C-SETUP-08, C-STM-05
#[test]
fn it_can_be_stopped_while_all_are_set_up_again() {
    let mut peer = described(&three_streams());
    peer.answer("SETUP", 200, TCP_REPLY);
    peer.answer("SETUP", 461, "");
    peer.answer("SETUP", 461, "");
    let teardown = peer.request("TEARDOWN");
    assert_eq!(header(&teardown, "Session").as_deref(), Some("S1"));
    assert_eq!(peer.client.session_id(), None);
    peer.teardown();
    assert!(peer.is_closed() && peer.wire.is_empty());

    // A server that does not answer the TEARDOWN is not waited for very long.
    let mut peer = described(&three_streams());
    peer.answer("SETUP", 200, TCP_REPLY);
    peer.answer("SETUP", 461, "");
    peer.answer("SETUP", 461, "");
    peer.request("TEARDOWN");
    peer.seconds(2);
    let setup = peer.request("SETUP");
    assert_eq!(header(&setup, "Session"), None);
    assert_eq!(setup.uri, "rtsp://192.0.2.1/x/a");
}
