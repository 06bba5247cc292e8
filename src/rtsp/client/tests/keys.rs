//! Secured media: which keys are exchanged, and that clear media never takes its place.

use super::*;
use crate::rtp::srtp::{Keys, MasterKey, Suite};
use crate::rtsp::mikey::Fresh;
use crate::rtsp::transport::Profile;

/// Keys whose octets all are `first`.
pub(super) fn own(first: u8) -> OwnKeys {
    let suite = Suite::AesCm128Sha1_80;
    let master = MasterKey::new(suite, &[first; 30]).unwrap();
    let mut keys = Keys::new(suite, master);
    keys.rollovers = vec![(0, 0)];
    let fresh = Fresh {
        bundle: 1,
        rand: [2; 16],
        ntp: 3,
    };
    OwnKeys::new(keys, &fresh)
}

const REPLY: &str = "Session: S1\nTransport: RTP/SAVP/TCP;unicast;interleaved=0-1";

fn sdp(key: Option<u8>) -> String {
    let line = key.map(|key| format!("a=key-mgmt:{}\r\n", own(key).attribute()));
    ONE_STREAM.replace("RTP/AVP", "RTP/SAVP") + &line.unwrap_or_default()
}

fn described(config: Config, sdp: &str) -> Peer {
    let mut peer = Peer::started(config);
    peer.answer("OPTIONS", 200, PUBLIC);
    peer.describe(sdp);
    peer
}

fn granted(peer: &mut Peer) -> Granted {
    peer.event(|event| match event {
        Event::MediaSetUp { granted, .. } => Some(granted.clone()),
        _ => None,
    })
}

fn told(request: &Request) -> Option<Keys> {
    super::super::keys::key_mgmt(&request.headers)
        .into_iter()
        .next()
        .map(Result::unwrap)
}

// covers: C-SRTP-11
#[test]
fn setup_tells_our_keys_and_takes_those_of_the_description_or_the_answer() {
    let mut peer = described(tcp(), &sdp(Some(5)));
    let setup = peer.answer("SETUP", 200, REPLY);
    assert!(
        header(&setup, "Transport")
            .unwrap()
            .starts_with("RTP/SAVP/TCP")
    );
    assert_eq!(told(&setup), Some(own(1).keys));
    let media = granted(&mut peer);
    assert_eq!(
        (media.profile, media.keys),
        (Profile::Savp, Some(own(5).keys))
    );

    let mut peer = described(tcp(), &sdp(Some(5)));
    let reply = format!("{REPLY}\nKeyMgmt: {}", own(6).header(""));
    peer.answer("SETUP", 200, &reply);
    assert_eq!(granted(&mut peer).keys, Some(own(6).keys));
    // Clear media has none.
    let mut peer = described(tcp(), ONE_STREAM);
    assert_eq!(told(&peer.answer("SETUP", 200, TCP_REPLY)), None);
    assert_eq!(granted(&mut peer).keys, None);
}

// covers: C-SRTP-07
#[test]
fn without_keys_the_stream_is_given_up_and_its_session_ended() {
    let mut peer = described(tcp(), &sdp(None));
    peer.answer("SETUP", 200, REPLY);
    peer.answer("TEARDOWN", 200, "");
    let error = peer.failed();
    assert_eq!((error.kind, error.phase), (ErrorKind::Keys, Phase::Setup));
    let mut peer = Peer::new(tcp());
    peer.own_key = None;
    peer.start();
    peer.answer("OPTIONS", 200, PUBLIC);
    peer.describe(&sdp(Some(5)));
    assert_eq!(peer.failed().kind, ErrorKind::Keys);
}

// covers: C-SRTP-07
#[test]
fn clear_media_is_not_taken_for_encrypted_media() {
    let mut peer = described(tcp(), &sdp(Some(5)));
    peer.answer("SETUP", 200, TCP_REPLY);
    peer.answer("TEARDOWN", 200, "");
    assert_eq!(peer.failed().kind, ErrorKind::Protocol);
}

// covers: C-SRTP-12, C-SRTP-13, C-STAT-19
#[test]
fn a_server_that_refuses_our_keys_is_offered_keys_for_both_directions_once() {
    for status in [463, 466] {
        let mut peer = described(tcp(), &sdp(Some(5)));
        let first = peer.answer("SETUP", status, "");
        let second = peer.answer("SETUP", 200, REPLY);
        assert_eq!(told(&first), Some(own(1).keys));
        assert_eq!(told(&second), Some(own(11).keys));
        assert_eq!(granted(&mut peer).keys, Some(own(11).keys));
        assert!(peer.client.quirks().contains(&"keys-left-to-the-client"));

        let mut peer = described(tcp(), &sdp(Some(5)));
        peer.answer("SETUP", status, "");
        let second = peer.answer("SETUP", status, "");
        assert!(
            header(&second, "Transport")
                .unwrap()
                .starts_with("RTP/SAVP/TCP")
        );
        assert_eq!(peer.failed().kind, ErrorKind::Keys);
    }
}

// covers: C-SRTP-12
#[test]
fn client_managed_keys_are_for_both_directions_from_the_start() {
    let config = Config {
        client_keys: true,
        ..tcp()
    };
    let mut peer = described(config, &sdp(Some(5)));
    let setup = peer.answer("SETUP", 200, REPLY);
    assert_eq!(told(&setup), Some(own(11).keys));
    assert_eq!(granted(&mut peer).keys, Some(own(11).keys));
}

// covers: P-SRTP-17
#[test]
fn who_publishes_takes_the_keys_of_the_answers_in_the_order_of_the_media() {
    let secured = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nt=0 0\r\n\
        m=video 0 RTP/SAVP 96\r\na=rtpmap:96 H264/90000\r\na=control:streamid=0\r\n\
        m=audio 0 RTP/SAVP 0\r\na=control:streamid=1\r\n";
    let mut peer = Peer::started(Config {
        intent: Intent::Record,
        ..tcp()
    });
    peer.client.announce(secured.into(), peer.now);
    peer.pump();
    peer.answer("OPTIONS", 200, PUBLIC);
    let reply = format!(
        "KeyMgmt: {}\nKeyMgmt: {}",
        own(20).header(""),
        own(21).header("")
    );
    peer.answer("ANNOUNCE", 200, &reply);
    assert_eq!(told(&peer.answer("SETUP", 200, REPLY)), Some(own(1).keys));
    assert_eq!(granted(&mut peer).keys, Some(own(20).keys));
    let reply = "Session: S1\nTransport: RTP/SAVP/TCP;unicast;interleaved=2-3";
    peer.answer("SETUP", 200, reply);
    assert_eq!(granted(&mut peer).keys, Some(own(21).keys));
}
