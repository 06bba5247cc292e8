//! Attributes of a media section.

use super::{VIDEO, media};
use crate::rtsp::limits;
use crate::rtsp::sdp::*;

// covers: B-SDP-16
#[test]
fn rtcp_bandwidth_follows_the_precedence() {
    let share = |session: &str, section: &str| {
        let (session, media) = media(&format!("{session}{VIDEO}{section}"));
        media
            .rtcp_bandwidth(&session)
            .map(|b| (b.senders, b.receivers))
    };
    assert_eq!(share("", ""), None);
    assert_eq!(share("b=AS:1000\n", ""), Some((12_500, 37_500)));
    assert_eq!(share("b=AS:1000\n", "b=AS:200\n"), Some((2_500, 7_500)));
    assert_eq!(
        share("b=RS:800\nb=RR:2400\n", "b=AS:200\n"),
        Some((800, 2400))
    );
    assert_eq!(
        share("b=RS:800\nb=RR:2400\n", "b=RS:0\nb=RR:0\nb=RR:9\n"),
        Some((0, 0))
    );
    for ignored in [
        "b=AS:x\n",
        "b=X-YZ:128\n",
        "b=AS\n",
        "b=AS:1.5\n",
        "b=AS:-1\n",
        "b=CT:9\n",
        "b=AS:18446744073709551615\n",
    ] {
        assert_eq!(share(ignored, ""), None, "{ignored}");
    }
    let (session, media) = media(&format!("{VIDEO}b=TIAS:64000\nb=as:80\n"));
    assert_eq!(media.bandwidth(&session, BandwidthKind::Tias), Some(64000));
    assert_eq!(media.bandwidth(&session, BandwidthKind::As), Some(80000));
}

// covers: B-SDP-18, B-SDP-19
#[test]
fn rtcp_attributes_are_read_at_media_level_only() {
    let (_, plain) = media(&format!("a=rtcp-mux\na=rtcp:53020\n{VIDEO}"));
    assert_eq!((plain.rtcp_mux(), plain.rtcp_port()), (false, None));
    let (_, media) = media(&format!(
        "{VIDEO}a=rtcp-mux\na=rtcp:53020 IN IP4 192.0.2.9\n"
    ));
    assert_eq!((media.rtcp_mux(), media.rtcp_port()), (true, Some(53020)));
    for bad in ["", "0", "x", "65536", "-1"] {
        let (_, media) = super::media(&format!("{VIDEO}a=rtcp:{bad}\n"));
        assert_eq!(media.rtcp_port(), None);
    }
}

// covers: B-SDP-20
#[test]
fn sources_and_retransmission_are_read_as_hints() {
    let (_, media) = media(
        "m=video 0 RTP/AVPF 96 97 98 99\na=rtpmap:96 H264/90000\na=rtpmap:97 rtx/90000\na=fmtp:97 apt=96;rtx-time=3000\na=rtpmap:98 rtx/90000\na=fmtp:98 apt=1\na=rtpmap:99 rtx/90000\na=ssrc-group:FID 1 2\na=ssrc-group:FID x\na=ssrc:1 cname:a b\na=ssrc:2 flag\na=ssrc:-1 cname:x\na=ssrc:4294967296 cname:x\na=ssrc:5\n",
    );
    assert_eq!(
        media.rtx(),
        [Rtx {
            payload_type: 97,
            associated: 96,
            rtx_time: Some(3000)
        }]
    );
    let groups: Vec<_> = media.ssrc_groups().collect();
    assert_eq!(
        groups,
        [SsrcGroup {
            semantics: "FID",
            ssrcs: vec![1, 2]
        }]
    );
    let sources: Vec<_> = media
        .ssrc_attributes()
        .map(|s| (s.ssrc, s.name, s.value))
        .collect();
    assert_eq!(sources, [(1, "cname", Some("a b")), (2, "flag", None)]);
}

// covers: B-SDP-21, C-ONVIF-19
#[test]
fn mid_and_the_onvif_spelling_of_attributes_are_read() {
    let (_, media) = media(&format!(
        "a=group:LS 1 nowhere\n{VIDEO}a=mid:v\na:x-onvif-track:VIDEO001\n"
    ));
    assert_eq!(media.mid(), Some("v"));
    assert_eq!(media.attr("x-onvif-track"), Some("VIDEO001"));
}

// covers: B-SDP-23, H-16
#[test]
fn implausible_hints_are_dropped() {
    let framerate = |value: &str| {
        let (_, media) = media(&format!("{VIDEO}a=framerate:{value}\n"));
        media.framerate().map(str::to_string)
    };
    assert_eq!(framerate("29.97").as_deref(), Some("29.97"));
    for bad in ["1/0", "0", "-5", "x", "", "1e9"] {
        assert_eq!(framerate(bad), None, "{bad}");
    }
    let (_, media) = media(&format!("{VIDEO}a=framesize:96 320-240\n"));
    assert_eq!(media.framesize(96), Some("320-240"));
    assert_eq!(media.framesize(97), None);
    for bad in ["0-240", "99999-1", "320x240", "-", "320"] {
        let (_, media) = super::media(&format!("{VIDEO}a=framesize:96 {bad}\n"));
        assert_eq!(media.framesize(96), None, "{bad}");
    }
    for (key, value, plausible) in [
        ("ptime", "20", true),
        ("ptime", "0", false),
        ("x-dimensions", "640,480", true),
        ("x-dimensions", "640,70000", false),
        ("tool", "anything", true),
    ] {
        assert_eq!(is_plausible_hint(key, value), plausible, "{key}:{value}");
    }
}

// covers: B-FB-01
#[test]
fn feedback_is_read_for_its_type_or_all_and_known_kinds() {
    let (_, media) = media(
        "a=rtcp-fb:* nack\nm=video 0 RTP/AVPF 96 97\na=rtpmap:96 H264/90000\na=rtcp-fb:* CCM  fir\na=rtcp-fb:96 nack pli\na=rtcp-fb:96 nack\na=rtcp-fb:97 trr-int 100\na=rtcp-fb:96 nack\na=rtcp-fb:96 xyz\na=rtcp-fb:96\na=rtcp-fb:\n",
    );
    assert_eq!(media.rtcp_fb(96), ["ccm fir", "nack pli", "nack"]);
    assert_eq!(media.rtcp_fb(97), ["ccm fir", "trr-int 100"]);
}

// covers: B-EXT-03
#[test]
fn header_extensions_have_ids_that_never_collide() {
    let (session, media) = media(&format!(
        "a=extmap:1 urn:session\na=extmap:2 urn:second\n{VIDEO}a=extmap:1/recvonly urn:media a b\na=extmap:255 urn:z\na=extmap:0 urn:x\na=extmap:4096 urn:x\na=extmap:x urn:x\na=extmap:7\na=extmap:8  \n"
    ));
    let maps: Vec<_> = media
        .extmaps(&session)
        .into_iter()
        .map(|m| (m.id, m.direction, m.uri, m.attributes))
        .collect();
    assert_eq!(
        maps,
        [
            (
                1,
                Some("recvonly".into()),
                "urn:media".into(),
                Some("a b".into())
            ),
            (255, None, "urn:z".into(), None),
            (2, None, "urn:second".into(), None),
        ]
    );
}

// covers: B-CLK-01
#[test]
fn clocks_of_media_override_those_of_the_session() {
    let (session, media) = media(&format!(
        "a=ts-refclk:ntp=ntp.example\na=mediaclk:direct=0\n{VIDEO}a=ts-refclk:ptp=IEEE1588-2008:39-A7-94-FF-FE-07-CB-D0:0\n"
    ));
    assert_eq!(
        media.ts_refclk(&session),
        Some("ptp=IEEE1588-2008:39-A7-94-FF-FE-07-CB-D0:0")
    );
    assert_eq!(media.mediaclk(&session), Some("direct=0"));
}

// covers: C-MC-04
#[test]
fn source_filters_of_media_override_those_of_the_session() {
    let filters = |session: &str, section: &str| {
        let (session, media) = media(&format!("{session}{VIDEO}{section}"));
        media.source_filters(&session)
    };
    let group: std::net::IpAddr = "232.3.4.5".parse().unwrap();
    let found = filters(
        "a=source-filter: incl IN IP4 232.3.4.5 192.0.2.10 192.0.2.11\n",
        "",
    );
    assert_eq!(found.len(), 1);
    assert!(found[0].include && found[0].applies_to(group));
    assert_eq!(found[0].sources.len(), 2);
    let found = filters(
        "a=source-filter: incl IN IP4 232.3.4.5 192.0.2.10\n",
        "a=source-filter:excl IN * * 192.0.2.12 cam.example\n",
    );
    assert!(!found[0].include && found[0].destination.is_none() && found[0].applies_to(group));
    assert_eq!(
        found[0].sources,
        ["192.0.2.12".parse::<std::net::IpAddr>().unwrap()]
    );
    // RFC 4570 §3.2 forgets the colon once.
    let found = filters("", "a=source-filter incl IN IP6 FF0E::11A 2001:DB8:1::2\n");
    assert_eq!(found[0].destination, Some("ff0e::11a".parse().unwrap()));
    for bad in [
        "",
        "incl",
        "incl IN IP4 232.1.1.1",
        "incl IN IP4 host 192.0.2.1",
        "x IN IP4 * 192.0.2.1",
    ] {
        assert!(
            filters("", &format!("a=source-filter:{bad}\n")).is_empty(),
            "{bad}"
        );
    }
    let sources = |n| vec!["192.0.2.1"; n].join(" ");
    for n in [limits::SDP_FILTER_SOURCES, limits::SDP_FILTER_SOURCES + 1] {
        let found = filters(
            "",
            &format!("a=source-filter: incl IN IP4 * {}\n", sources(n)),
        );
        assert_eq!(found[0].sources.len(), limits::SDP_FILTER_SOURCES);
    }
}
