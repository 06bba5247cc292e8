//! What replies grant.

use super::*;

const TCP: Offer = Offer::Tcp { channels: (4, 5) };
const UDP: Offer = Offer::Udp {
    ports: (5000, 5001),
};
const MULTICAST: Offer = Offer::Multicast { ports: None };

fn judged(offer: Offer, transport: Option<&str>) -> (Result<Path, String>, Quirks) {
    judged_for(Intent::Play, offer, transport)
}

fn judged_for(
    intent: Intent,
    offer: Offer,
    transport: Option<&str>,
) -> (Result<Path, String>, Quirks) {
    let asked = Asked {
        intent,
        offer: &offer,
        profile: Profile::Avp,
        peer: "192.0.2.1".parse().unwrap(),
        local: "192.0.2.9".parse().unwrap(),
        tcp_allowed: true,
        channels_used: &[0, 1],
        channels_free: Some((2, 3)),
        group: Some(("239.1.1.1".parse().unwrap(), Some(3))),
        port: 6000,
    };
    let mut headers = Headers::new();
    if let Some(transport) = transport {
        headers.push("Transport", transport);
    }
    let mut quirks = Quirks::new();
    (
        judge(&asked, &headers, &mut quirks).map(|granted| granted.path),
        quirks,
    )
}

fn path(offer: Offer, transport: &str) -> Option<Path> {
    judged(offer, Some(transport)).0.ok()
}

fn udp(server: &str, rtp: Option<u16>, rtcp: Option<u16>, send: bool) -> Option<Path> {
    Some(Path::Udp {
        server: server.parse().unwrap(),
        rtp,
        rtcp,
        send_to_server: send,
    })
}

fn group(group: &str, rtp: u16, rtcp: u16, ttl: u8, source: Option<&str>) -> Option<Path> {
    let source = source.map(|s| s.parse().unwrap());
    Some(Path::Multicast {
        group: group.parse().unwrap(),
        rtp,
        rtcp,
        ttl,
        source,
    })
}

// covers: C-SETUP-10, H-13
#[test]
fn what_was_not_offered_is_refused() {
    for (offer, transport) in [
        (
            TCP,
            "RTP/AVP;unicast;client_port=5000-5001;server_port=7000-7001",
        ),
        (
            TCP,
            "RTP/AVP;multicast;destination=239.1.1.1;port=7000-7001",
        ),
        (TCP, "RTP/AVP/TCP;multicast;interleaved=4-5"),
        (TCP, "RTP/SAVP/TCP;unicast;interleaved=4-5"),
        (TCP, "RAW/RAW/UDP;unicast"),
        (TCP, ""),
        (
            UDP,
            "RTP/AVP;multicast;destination=239.1.1.1;port=7000-7001",
        ),
        (UDP, "RTP/SAVP;unicast;server_port=7000-7001"),
        (
            MULTICAST,
            "RTP/AVP;unicast;client_port=5000-5001;server_port=7000-7001",
        ),
        (MULTICAST, "RTP/AVP/TCP;unicast;interleaved=4-5"),
    ] {
        assert!(
            judged(offer, Some(transport)).0.is_err(),
            "{offer:?} {transport}"
        );
    }
}

// covers: C-SETUP-10
#[test]
fn a_tcp_grant_to_a_udp_ask_is_taken_where_tcp_is_allowed() {
    assert_eq!(
        path(UDP, "RTP/AVP/TCP;unicast;interleaved=6-7"),
        Some(Path::Tcp {
            rtp: 6,
            rtcp: Some(7)
        })
    );
    assert_eq!(
        path(UDP, "RTP/AVP/TCP;unicast"),
        Some(Path::Tcp {
            rtp: 2,
            rtcp: Some(3)
        })
    );
}

// covers: C-SETUP-11
#[test]
fn what_the_reply_leaves_out_stays_as_asked() {
    assert_eq!(
        judged(TCP, None).0,
        Ok(Path::Tcp {
            rtp: 4,
            rtcp: Some(5)
        })
    );
    assert_eq!(
        judged(UDP, None).0.ok(),
        udp("192.0.2.1", None, None, false)
    );
    assert_eq!(
        judged(MULTICAST, None).0.ok(),
        group("239.1.1.1", 6000, 6001, 3, None)
    );
    assert_eq!(
        path(UDP, "RTP/AVP;client_port=5000-5001;server_port=7000-7001"),
        udp("192.0.2.1", Some(7000), Some(7001), true)
    );
    assert_eq!(
        path(MULTICAST, "RTP/AVP"),
        group("239.1.1.1", 6000, 6001, 3, None)
    );
}

// covers: C-SETUP-12, C-SETUP-13
#[test]
fn channels_are_those_of_the_reply() {
    for (transport, rtp, rtcp) in [
        ("RTP/AVP/TCP;unicast;interleaved=8-9", 8, Some(9)),
        ("RTP/AVP/TCP;interleaved=8", 8, Some(9)),
        ("RTP/AVP/TCP;interleaved=9-200", 9, Some(200)),
        ("RTP/AVP/TCP;interleaved=255", 255, None),
        ("RTP/AVP/TCP;unicast", 4, Some(5)),
        ("RTP/AVP;unicast;interleaved=8-9", 8, Some(9)),
    ] {
        assert_eq!(
            path(TCP, transport),
            Some(Path::Tcp { rtp, rtcp }),
            "{transport}"
        );
    }
}

// covers: H-12
#[test]
fn channels_that_cross_are_refused() {
    for channels in [
        "0-1", "1-2", "255-0", "8-8", "9-8", "256-257", "8-256", "x-y", "7-0",
    ] {
        let transport = format!("RTP/AVP/TCP;unicast;interleaved={channels}");
        assert_eq!(path(TCP, &transport), None, "{channels}");
    }
}

// covers: C-SETUP-14
#[test]
fn a_server_port_may_be_missing_or_single() {
    for (ports, rtp, rtcp, send) in [
        (";server_port=7000-7001", Some(7000), Some(7001), true),
        (";server_port=7000-9001", Some(7000), Some(9001), true),
        (";server_port=7000", Some(7000), Some(7001), true),
        (";server_port=0-0", None, None, false),
        (";server_port=0-1", None, None, false),
        ("", None, None, false),
    ] {
        let transport = format!("RTP/AVP;unicast;client_port=5000-5001{ports}");
        assert_eq!(
            path(UDP, &transport),
            udp("192.0.2.1", rtp, rtcp, send),
            "{ports}"
        );
    }
}

// covers: C-SETUP-15, H-13
#[test]
fn a_third_host_is_received_from_but_never_sent_to() {
    let with = |source: &str| {
        path(
            UDP,
            &format!("RTP/AVP;unicast;server_port=7000-7001;source={source}"),
        )
    };
    assert_eq!(
        with("192.0.2.1"),
        udp("192.0.2.1", Some(7000), Some(7001), true)
    );
    assert_eq!(
        with("::ffff:192.0.2.1"),
        udp("192.0.2.1", Some(7000), Some(7001), true)
    );
    assert_eq!(
        with("198.51.100.7"),
        udp("198.51.100.7", Some(7000), Some(7001), false)
    );
    for ignored in ["", "0.0.0.0", "127.0.0.1", "::", "camera.local"] {
        assert_eq!(
            with(ignored),
            udp("192.0.2.1", Some(7000), Some(7001), true),
            "{ignored}"
        );
    }
    for refused in ["239.1.1.1", "255.255.255.255", "ff02::1"] {
        assert_eq!(with(refused), None, "{refused}");
    }
}

// covers: P-PUB-06, H-13
#[test]
fn what_is_recorded_goes_to_the_peer_and_to_a_port_that_it_named() {
    let record = |offer, transport: &str| judged_for(Intent::Record, offer, Some(transport));
    for (rest, rtcp) in [
        (";server_port=7000-7001", Some(7001)),
        (";server_port=7000-7001;source=192.0.2.1", Some(7001)),
        (";server_port=7000-7001;source=198.51.100.7", Some(7001)),
        (";server_port=7000", Some(7001)),
        (";server_port=7000;destination=198.51.100.7", Some(7001)),
        (";server_port=65535", None),
    ] {
        let (granted, _) = record(UDP, &format!("RTP/AVP;unicast{rest}"));
        let rtp = if rest.contains("65535") { 65535 } else { 7000 };
        assert_eq!(
            granted.ok(),
            udp("192.0.2.1", Some(rtp), rtcp, true),
            "{rest}"
        );
    }
    for rest in [
        "",
        ";server_port=0-0",
        ";server_port=53-54",
        ";source=192.0.2.1",
        ";server_port=7000-7001;source=239.1.1.1",
    ] {
        let (granted, _) = record(UDP, &format!("RTP/AVP;unicast{rest}"));
        assert!(granted.is_err(), "{rest}");
    }
    assert!(judged_for(Intent::Record, UDP, None).0.is_err());
    let multicast = |port: &str| {
        record(
            MULTICAST,
            &format!("RTP/AVP;multicast;destination=239.1.1.9;port={port};ttl=5"),
        )
    };
    assert_eq!(
        multicast("7000-7001").0.ok(),
        group("239.1.1.9", 7000, 7001, 5, None)
    );
    assert!(multicast("53-54").0.is_err());
    assert_eq!(
        record(TCP, "RTP/AVP/TCP;unicast;interleaved=6-7;mode=record")
            .0
            .ok(),
        path(TCP, "RTP/AVP/TCP;unicast;interleaved=6-7")
    );
}

// covers: C-SETUP-14, H-13
#[test]
fn nothing_is_sent_to_a_system_port() {
    let granted = path(
        UDP,
        "RTP/AVP;unicast;server_port=53-54;client_port=5000-5001",
    );
    assert_eq!(granted, udp("192.0.2.1", None, None, false));
}

// covers: C-SETUP-18, C-SETUP-22
#[test]
fn other_destinations_and_client_ports_are_only_named() {
    let (granted, quirks) = judged(
        UDP,
        Some(
            "RTP/AVP;unicast;destination=198.51.100.1;client_port=9000-9001;server_port=7000-7001",
        ),
    );
    assert_eq!(granted.ok(), udp("192.0.2.1", Some(7000), Some(7001), true));
    assert_eq!(quirks, ["client-port-differs", "destination-differs"]);
    let (_, quirks) = judged(
        UDP,
        Some("RTP/AVP;unicast;destination=192.0.2.9;client_port=5000-5001;server_port=7000-7001"),
    );
    assert!(quirks.is_empty(), "{quirks:?}");
}

// covers: C-SETUP-16, C-SETUP-17
#[test]
fn ssrc_and_mode_never_spoil_a_reply() {
    for extra in [
        "ssrc= 1234",
        "ssrc=xyz",
        "mode=play",
        "mode=\"PLAY\"",
        "MODE=\"PLAY,RECORD\"",
        "mode=receive",
    ] {
        let transport = format!("RTP/AVP/TCP;unicast;interleaved=4-5;{extra}");
        assert_eq!(
            path(TCP, &transport),
            Some(Path::Tcp {
                rtp: 4,
                rtcp: Some(5)
            }),
            "{extra}"
        );
    }
}

// covers: C-MC-01, C-MC-05, H-13
#[test]
fn the_reply_decides_group_ports_and_ttl() {
    for (transport, expected) in [
        (
            "RTP/AVP;multicast;destination=239.9.9.9;port=7000-7001;ttl=9",
            group("239.9.9.9", 7000, 7001, 9, None),
        ),
        (
            "RTP/AVP;multicast;destination=239.9.9.9;port=7000",
            group("239.9.9.9", 7000, 7001, 3, None),
        ),
        (
            "RTP/AVP;multicast;port=7000-7001",
            group("239.1.1.1", 7000, 7001, 3, None),
        ),
        (
            "RTP/AVP;multicast;destination=232.9.9.9;source=192.0.2.5",
            group("232.9.9.9", 6000, 6001, 3, Some("192.0.2.5")),
        ),
        (
            "RTP/AVP;multicast;destination=239.9.9.9;source=192.0.2.5",
            group("239.9.9.9", 6000, 6001, 3, None),
        ),
        (
            "RTP/AVP;multicast;destination=ff35::9",
            group("ff35::9", 6000, 6001, 3, None),
        ),
    ] {
        assert_eq!(path(MULTICAST, transport), expected, "{transport}");
    }
    for refused in [
        "127.0.0.1",
        "192.0.2.7",
        "255.255.255.255",
        "224.0.0.5",
        "0.0.0.0",
        "ff01::1",
        "::1",
        "name",
    ] {
        let transport = format!("RTP/AVP;multicast;destination={refused};port=7000-7001");
        assert_eq!(path(MULTICAST, &transport), None, "{refused}");
    }
    assert_eq!(
        path(
            MULTICAST,
            "RTP/AVP;multicast;destination=239.9.9.9;port=0-0"
        ),
        None
    );
    assert_eq!(
        path(
            MULTICAST,
            "RTP/AVP;multicast;destination=239.9.9.9;port=65535"
        ),
        None
    );
}
