use super::*;
use proptest::prelude::*;

fn one(value: &str) -> Transport {
    let mut list = Transport::parse_list(value);
    assert_eq!(list.len(), 1, "{value}");
    list.remove(0)
}

// covers: B-TRANS-01
#[test]
fn alternatives_split_at_commas_outside_quotes_and_bad_ones_are_skipped() {
    let list = Transport::parse_list(
        "RTP/XYZ;unicast,RTP/AVP;unicast;client_port=abc, RTP/AVP/TCP;unicast;interleaved=2-3;mode=\"PLAY,RECORD\", RTP/AVP;multicast",
    );
    assert_eq!(list.len(), 2);
    assert_eq!(list[0].interleaved, Some((2, Some(3))));
    assert_eq!(list[0].mode.as_deref(), Some("PLAY,RECORD"));
    assert_eq!(list[1].cast, Some(Cast::Multicast));
}

// covers: B-TRANS-02
#[test]
fn udp_is_the_default_and_names_compare_in_any_case() {
    for value in [
        "RTP/AVP;unicast",
        "rtp/avp/udp;Unicast",
        "RTP/avp/UDP;UNICAST",
    ] {
        let transport = one(value);
        assert_eq!(
            (transport.profile, transport.lower),
            (Profile::Avp, Lower::Udp),
            "{value}"
        );
        assert_eq!(transport.cast, Some(Cast::Unicast));
    }
    for (name, profile) in [
        ("RTP/AVPF", Profile::Avpf),
        ("RTP/SAVP", Profile::Savp),
        ("RTP/SAVPF", Profile::Savpf),
    ] {
        assert_eq!(one(&format!("{name}/TCP;unicast")).profile, profile);
        assert_eq!(one(&format!("{name}/TCP;unicast")).lower, Lower::Tcp);
    }
}

// covers: B-TRANS-03, C-SETUP-16
#[test]
fn blanks_doubled_semicolons_and_odd_order_are_tolerated() {
    let transport = one(
        " ssrc= 0x 1A2B ;RTP/AVP ;; unicast ; Client_Port = 5000 - 5001;SERVER_PORT=6000-6001 ;",
    );
    assert_eq!(transport.client_port, Some((5000, Some(5001))));
    assert_eq!(transport.server_port, Some((6000, Some(6001))));
    assert_eq!(transport.ssrc, Some(0x1a2b));
}

// covers: B-TRANS-04, H-12, H-14
#[test]
fn bad_port_and_channel_ranges_make_the_alternative_unusable() {
    for value in [
        "-1",
        "65536",
        "4294967297",
        "5000-4999",
        "5000-70000",
        "abc",
        "",
        "+5",
        "1-2-3",
        "-",
        "5-",
    ] {
        for name in ["client_port", "server_port", "port"] {
            let header = format!("RTP/AVP;unicast;{name}={value}");
            assert!(Transport::parse_list(&header).is_empty(), "{header}");
        }
    }
    for value in ["256", "255-256", "1-0", "-1"] {
        let header = format!("RTP/AVP/TCP;interleaved={value}");
        assert!(Transport::parse_list(&header).is_empty(), "{header}");
    }
    assert_eq!(
        one("RTP/AVP;server_port=65535").server_port,
        Some((65535, None))
    );
    assert_eq!(
        one("RTP/AVP/TCP;interleaved=254-255").channels(),
        Some((254, Some(255)))
    );
}

// covers: B-TRANS-05
#[test]
fn unterminated_quotes_and_empty_values_are_harmless() {
    for value in [
        "RTP/AVP;mode=\"",
        "RTP/AVP;mode=\"PLAY",
        "\"",
        ";",
        ",",
        "",
        "=",
    ] {
        assert!(Transport::parse_list(value).is_empty(), "{value}");
    }
    for value in [
        "RTP/AVP;dest_addr=\"/\"",
        "RTP/AVP;dest_addr=\"\\\"",
        "RTP/AVP;mode=",
    ] {
        let list = Transport::parse_list(value);
        assert!(list.iter().all(|t| t.mode.is_none()), "{value}");
    }
    let head = "RTP/AVP;unicast;x=";
    let padded = |len: usize| format!("{head}{}", "y".repeat(len - head.len()));
    assert_eq!(Transport::parse_list(&padded(limits::HEADER_LINE)).len(), 1);
    assert!(Transport::parse_list(&padded(limits::HEADER_LINE + 1)).is_empty());
    let many = |n| vec!["RTP/AVP"; n].join(",");
    assert_eq!(
        Transport::parse_list(&many(limits::TRANSPORT_ALTERNATIVES)).len(),
        32
    );
    assert_eq!(
        Transport::parse_list(&many(limits::TRANSPORT_ALTERNATIVES + 1)).len(),
        32
    );
}

// covers: B-TRANS-06, C-SETUP-17
#[test]
fn unknown_parameters_and_any_mode_are_accepted() {
    for mode in ["PLAY", "play", "\"PLAY\"", "\"play\"", "receive"] {
        let transport = one(&format!(
            "RTP/AVP;unicast;x-foo=1;layers=2;append;mode={mode}"
        ));
        assert_eq!(transport.mode.as_deref(), Some(mode.trim_matches('"')));
    }
    assert_eq!(one("RTP/AVP;unicast").mode, None);
}

// covers: B-TRANS-07, C-SETUP-05, C-SETUP-06
#[test]
fn offers_are_plain_rtsp_1_0() {
    for (offer, profile, text) in [
        (
            Offer::Tcp { channels: (4, 5) },
            Profile::Avp,
            "RTP/AVP/TCP;unicast;interleaved=4-5",
        ),
        (
            Offer::Udp {
                ports: (5000, 5001),
            },
            Profile::Avpf,
            "RTP/AVPF;unicast;client_port=5000-5001",
        ),
        (
            Offer::Multicast { ports: None },
            Profile::Avp,
            "RTP/AVP;multicast",
        ),
        (
            Offer::Multicast {
                ports: Some((6000, 6001)),
            },
            Profile::Savp,
            "RTP/SAVP;multicast;port=6000-6001",
        ),
    ] {
        assert_eq!(offer.to_header(profile), text);
        assert_eq!(one(text).profile, profile);
    }
}

// covers: B-TRANS-08
#[test]
fn rtsp_2_0_addresses_are_a_quoted_slash_list() {
    let transport = one(
        "RTP/AVP;unicast;dest_addr=\":4588\"/\":4589\";src_addr=\"[2001:db8::1]:6256\"/\"192.0.2.5:6257\";RTCP-mux;ssrc=93CB001E/0A13C760",
    );
    assert_eq!(transport.dest_addr, [":4588", ":4589"]);
    assert_eq!(transport.src_addr, ["[2001:db8::1]:6256", "192.0.2.5:6257"]);
    assert!(transport.rtcp_mux);
    assert_eq!(transport.ssrc, Some(0x93cb001e));
}

// covers: C-SETUP-11
#[test]
fn no_cast_in_a_reply_is_not_multicast() {
    assert_eq!(one("RTP/AVP/TCP;interleaved=0-1").cast, None);
}

// covers: C-SETUP-13
#[test]
fn a_single_channel_puts_rtcp_on_the_next() {
    assert_eq!(
        one("RTP/AVP/TCP;interleaved=6").channels(),
        Some((6, Some(7)))
    );
    assert_eq!(
        one("RTP/AVP/TCP;interleaved=6;RTCP-mux").channels(),
        Some((6, Some(6)))
    );
    assert_eq!(
        one("RTP/AVP/TCP;interleaved=255").channels(),
        Some((255, None))
    );
    assert_eq!(one("RTP/AVP/TCP").channels(), None);
}

// covers: C-SETUP-14
#[test]
fn server_port_may_be_missing_zero_or_single() {
    for (value, ports) in [
        ("", None),
        (";server_port=0-0", None),
        (";server_port=0", None),
        (";server_port=0-1", None),
        (";server_port=6000", Some((6000, Some(6001)))),
        (";server_port=6000-6005", Some((6000, Some(6005)))),
        (";server_port=65535", Some((65535, None))),
    ] {
        assert_eq!(
            one(&format!("RTP/AVP;unicast{value}")).server_ports(),
            ports,
            "{value}"
        );
    }
}

// covers: C-SETUP-15, C-SETUP-16, C-SETUP-18
#[test]
fn odd_source_destination_and_ssrc_never_lose_the_reply() {
    let transport = one("RTP/AVP;unicast;source=;destination=;ssrc=nonsense;ttl=256");
    assert_eq!((transport.source, transport.destination), (None, None));
    assert_eq!((transport.ssrc, transport.ttl), (None, None));
    for (text, ssrc) in [
        ("1", Some(1)),
        (" 22345684", Some(0x22345684)),
        ("0xFFFFFFFF", Some(u32::MAX)),
        ("123456789", None),
        ("-1", None),
        ("", None),
    ] {
        assert_eq!(one(&format!("RTP/AVP;ssrc={text}")).ssrc, ssrc, "{text}");
    }
    assert_eq!(
        one("RTP/AVP;source=\"[2001:db8::1]\"").source_address(),
        Some("2001:db8::1".parse().unwrap())
    );
    assert_eq!(one("RTP/AVP;source=camera.local").source_address(), None);
}

// covers: C-MC-01, H-13
#[test]
fn only_a_multicast_destination_is_a_group() {
    let group = |d: &str| {
        one(&format!(
            "RTP/AVP;multicast;destination={d};port=5000-5001;ttl=16"
        ))
        .group()
    };
    assert_eq!(group("239.1.2.3"), Some("239.1.2.3".parse().unwrap()));
    assert_eq!(group("ff3e::1"), Some("ff3e::1".parse().unwrap()));
    for refused in [
        "127.0.0.1",
        "255.255.255.255",
        "192.0.2.7",
        "example.org",
        "",
    ] {
        assert_eq!(group(refused), None, "{refused}");
    }
}

proptest! {
    // covers: B-TRANS-05
    #[test]
    fn arbitrary_text_never_panics(value in "\\PC{0,200}") {
        let _ = Transport::parse_list(&value);
    }

    // covers: B-TRANS-05
    #[test]
    fn arbitrary_parameters_never_panic(
        value in "RTP/AVP(;(mode|ssrc|port|interleaved|dest_addr|ttl)=[-\"/0-9a-f ,=]{0,12}){0,6}"
    ) {
        for transport in Transport::parse_list(&value) {
            let _ = (transport.channels(), transport.server_ports(), transport.group());
        }
    }
}

// covers: C-SETUP-16
#[test]
fn what_is_made_allowance_for_is_named() {
    for (value, expected) in [
        ("RTP/AVP;unicast;ssrc=1122AAFF", &[][..]),
        (
            "RTP/AVP;unicast;ssrc= 1122334",
            &["transport-ssrc-misspelt"],
        ),
        ("RTP/AVP;source=;unicast", &["transport-address-empty"]),
        (
            "ssrc=1122AAFF;RTP/AVP;unicast",
            &["transport-parameter-before-protocol"],
        ),
    ] {
        assert_eq!(Transport::parse_list(value)[0].quirks, expected, "{value}");
    }
}
