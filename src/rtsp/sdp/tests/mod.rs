mod attributes;
mod write;

use std::fmt::Write as _;

use super::*;
use crate::rtsp::limits;
use crate::rtsp::range::Point;
use crate::rtsp::transport::{Lower, Profile};
use proptest::prelude::*;

fn parse(text: &str) -> Session {
    Session::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A session with one media whose section is `lines`.
fn media(lines: &str) -> (Session, Media) {
    let session = parse(&format!("v=0\r\n{lines}"));
    let media = session.media[0].clone();
    (session, media)
}

const VIDEO: &str = "m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\n";

// covers: B-SDP-01
#[test]
fn any_line_end_bom_nul_and_junk_are_tolerated() {
    let lines = [
        "v=0",
        "s=Cam",
        "",
        "m=video 0 RTP/AVP 96",
        "a=rtpmap:96 H264/90000 ",
        "a=control:t1  ",
    ];
    for end in ["\r\n", "\n", "\r"] {
        let text = format!("\u{feff}{}{end}\0junk\u{1}{end}--boundary", lines.join(end));
        let session = parse(&text);
        assert_eq!(session.name.as_deref(), Some("Cam"));
        assert_eq!(session.media.len(), 1);
        assert_eq!(session.media[0].control(), Some("t1"));
        assert_eq!(session.media[0].usable, Ok(()));
    }
}

// covers: B-SDP-02
#[test]
fn another_version_is_an_error_and_other_fields_are_optional() {
    for version in ["1", "abc", "", "-0"] {
        let text = format!("v={version}\n{VIDEO}");
        assert!(
            matches!(Session::parse(text.as_bytes()), Err(SdpError::Version(_))),
            "{version}"
        );
    }
    for head in [
        "v=0\n",
        "v= 0 \n",
        "v=0\no= 2890842807 IN IP4 192.0.2.1\ns=\nt=now-\n",
        "o=\nv=0\ns=-\n",
    ] {
        let session = parse(&format!("{head}{VIDEO}"));
        assert_eq!(session.media[0].usable, Ok(()), "{head}");
        assert_eq!(session.name, None);
    }
    for not_sdp in ["", "<html><a href=x>404</a></html>", "\0\0", "s=x\nt=0 0\n"] {
        assert_eq!(
            Session::parse(not_sdp.as_bytes()),
            Err(SdpError::NotSdp),
            "{not_sdp}"
        );
    }
    // Some devices leave the version line out; a media line is proof enough.
    assert_eq!(parse(VIDEO).warnings, ["no v= line"]);
}

// covers: B-SDP-03
#[test]
fn unknown_lines_and_order_are_tolerated() {
    let session = parse(&format!(
        "a=before\nv=0\nx=1\nno equals sign\n=\nab=c\n{VIDEO}y=2\na=x-unknown\na=\nrubbish\nc=IN IP4 239.0.0.1/3\n"
    ));
    assert_eq!(session.attr("before"), Some(""));
    let video = &session.media[0];
    assert_eq!(video.usable, Ok(()));
    assert_eq!(video.attr("x-unknown"), Some(""));
    assert_eq!(video.connection.map(|c| c.ttl), Some(Some(3)));
}

// covers: B-SDP-03
#[test]
fn latin_1_text_is_decoded_lossily() {
    let mut body = b"v=0\ns=K\xfcche\na=x-loc:caf\xe9\n".to_vec();
    body.extend_from_slice(VIDEO.as_bytes());
    let session = Session::parse(&body).unwrap();
    assert_eq!(session.name.as_deref(), Some("K\u{fffd}che"));
    assert_eq!(session.media[0].usable, Ok(()));
}

// covers: B-SDP-04, H-14, H-16
#[test]
fn a_bad_media_line_costs_only_that_section_and_keeps_its_index() {
    for bad in [
        "application/TP-LINK 0 RTP/AVP smart/1/90000",
        "audio 0 RTP/AVP",
        "audio 0 RTP/AVP 999",
        "audio 0 RTP/AVP -5",
        "audio 0 RTP/AVP 128",
        "audio 0 XYZ 0",
        "audio 0 UDP/TLS/RTP/SAVPF 0",
        "application 0 udp wb",
        "audio 0",
        "audio",
        "",
        "audio 70000 RTP/AVP 0\nc=IN IP4 239.0.0.1/1",
        "audio -1 RTP/AVP 0\nc=IN IP4 239.0.0.1/1",
    ] {
        let session = parse(&format!(
            "v=0\n{VIDEO}a=control:t0\nm={bad}\na=control:t1\nm=audio 0 RTP/AVP 0\na=control:t2\n"
        ));
        assert_eq!(session.media.len(), 3, "{bad}");
        for (index, media) in session.media.iter().enumerate() {
            assert_eq!(media.index, index);
            assert_eq!(media.control(), Some(format!("t{index}").as_str()));
            assert_eq!(
                media.usable.is_ok(),
                index != 1,
                "{bad}: {:?}",
                media.usable
            );
        }
        assert!(
            session.warnings.iter().any(|w| w.contains("media 1")),
            "{bad}"
        );
    }
}

// covers: B-SDP-04, H-16
#[test]
fn a_bad_format_among_good_ones_is_dropped() {
    let (session, media) = media("m=audio 0 RTP/AVP 0 x 999 128 127 0 8\na=rtpmap:127 L8/8000\n");
    assert_eq!(media.formats, [0, 127, 8]);
    assert_eq!(media.usable, Ok(()));
    assert_eq!(session.warnings.len(), 1);
}

// covers: C-SDP-05, C-SDP-06, H-14
#[test]
fn port_and_connection_of_unicast_media_are_harmless() {
    for port in ["0", "abc", "-1", "65536", "4294967297", "49170/2"] {
        for address in [
            "IN IP4 0.0.0.0",
            "IN IP6 ::",
            "IN IP4 camera.local",
            "IN IPV4 192.0.2.1",
            "SM",
            "IN",
            "",
        ] {
            let (session, media) = media(&format!(
                "c={address}\nm=video {port} RTP/AVP 26\nc={address}\n"
            ));
            assert_eq!(media.usable, Ok(()), "{port} {address}");
            assert_eq!(media.multicast_group(&session), None);
        }
    }
    assert_eq!(media("m=video 49170/2 RTP/AVP 26\n").1.port, 49170);
}

// covers: B-SDP-07, C-MC-01, H-13
#[test]
fn multicast_connections_of_media_override_the_session() {
    let group = |text: &str| {
        let (session, media) = media(text);
        media
            .multicast_group(&session)
            .map(|c| (c.address.to_string(), c.ttl))
    };
    let m = "m=video 5000 RTP/AVP 26\n";
    let is = |address: &str, ttl| Some((address.to_string(), ttl));
    assert_eq!(
        group(&format!("c=IN IP4 239.1.1.1/16\n{m}")),
        is("239.1.1.1", Some(16))
    );
    assert_eq!(
        group(&format!(
            "c=IN IP4 239.1.1.1/16\n{m}c=IN IP4 239.2.2.2/127/3\nc=IN IP4 239.3.3.3/1\n"
        )),
        is("239.2.2.2", Some(127))
    );
    assert_eq!(
        group(&format!("{m}c=IN IP6 ff15::101/3\n")),
        is("ff15::101", None)
    );
    assert_eq!(
        group(&format!("{m}c=IN c=IN IP4 239.1.1.1/300\n")),
        is("239.1.1.1", None)
    );
    for refused in ["127.0.0.1", "255.255.255.255", "192.0.2.1/1", "::1"] {
        assert_eq!(group(&format!("{m}c=IN IP4 {refused}\n")), None);
    }
}

// covers: B-SDP-08
#[test]
fn static_types_have_defaults_and_dynamic_ones_need_an_rtpmap() {
    let (session, media) = media("m=audio 0 RTP/AVP 0 10 96 97 2\na=rtpmap:97 opus/48000/2\n");
    let maps: Vec<_> = media
        .rtpmaps()
        .into_iter()
        .map(|m| (m.payload_type, m.encoding_name, m.clock_rate, m.channels))
        .collect();
    assert_eq!(
        maps,
        [
            (0, "PCMU".to_string(), 8000, None),
            (10, "L16".to_string(), 44100, Some(2)),
            (97, "opus".to_string(), 48000, Some(2)),
        ]
    );
    assert_eq!(session.warnings.len(), 2, "{:?}", session.warnings);
    let session = parse("v=0\nm=video 0 RTP/AVP 96\n");
    assert!(session.media[0].usable.is_err());
    // An rtpmap of a static type is trusted (Anpviz).
    let (_, trusted) = self::media("m=audio 0 RTP/AVP 0\na=rtpmap:0 MPEG4-GENERIC/16000\n");
    assert_eq!(trusted.rtpmap(0).unwrap().encoding_name, "MPEG4-GENERIC");
}

// covers: B-SDP-09, H-16
#[test]
fn rtpmap_values_are_checked() {
    for (kind, text, expected) in [
        ("video", "H264/90000", Some((90000, None))),
        ("video", "H264/90000/3", Some((90000, None))),
        ("video", " H265/90000  ", Some((90000, None))),
        ("video", "H264", Some((90000, None))),
        ("video", "H264/0", Some((90000, None))),
        ("audio", "opus/48000/2", Some((48000, Some(2)))),
        ("audio", "OPUS", Some((48000, None))),
        ("audio", "PCMA/", Some((8000, None))),
        ("audio", "L16/4294967295/0", Some((u32::MAX, None))),
        ("audio", "L16/44100/4000000000", Some((44100, None))),
        ("audio", "FOO/4294967296", None),
        ("audio", "FOO/0", None),
        ("audio", "FOO/text", None),
        ("audio", "FOO/-1", None),
        ("audio", "/8000", None),
    ] {
        let (_, media) = media(&format!("m={kind} 0 RTP/AVP 96\na=rtpmap:96 {text}\n"));
        let map = media.rtpmap(96).map(|map| (map.clock_rate, map.channels));
        assert_eq!(map, expected, "{text}");
        assert_eq!(media.usable.is_ok(), expected.is_some());
    }
}

// covers: B-SDP-10, B-SDP-11
#[test]
fn fmtp_is_read_leniently() {
    let (_, media) = media(&format!(
        "{VIDEO}a=fmtp:96\na=fmtp:97 x=1\na=rtpmap:97 VP8/90000\na=rtpmap:96\na=fmtp:96 Packetization-Mode = 1 ;; sprop-parameter-sets=Z0I=,aM4=; flag;profile-level-id=42e01f; ;flag=2;\n"
    ));
    let expected = [
        ("packetization-mode", "1"),
        ("sprop-parameter-sets", "Z0I=,aM4="),
        ("flag", "1"),
        ("profile-level-id", "42e01f"),
    ];
    let fmtp = media.fmtp(96);
    let found: Vec<_> = fmtp.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(found, expected);
    assert!(media.fmtp(97).is_empty());
    assert_eq!(media.rtpmap(97), None);
    assert_eq!(media.rtpmap(96).unwrap().encoding_name, "H264");
}

// covers: B-SDP-10
#[test]
fn fmtp_parameters_are_bounded() {
    let count = |n: usize| {
        let items = (0..n).fold(String::new(), |mut text, i| {
            let _ = write!(text, "p{i}=1;");
            text
        });
        media(&format!("{VIDEO}a=fmtp:96 {items}\n"))
            .1
            .fmtp(96)
            .len()
    };
    assert_eq!(
        count(limits::SDP_FORMAT_PARAMETERS),
        limits::SDP_FORMAT_PARAMETERS
    );
    assert_eq!(
        count(limits::SDP_FORMAT_PARAMETERS + 1),
        limits::SDP_FORMAT_PARAMETERS
    );
}

// covers: B-SDP-13, B-RANGE-09
#[test]
fn range_of_media_wins_and_an_open_or_bad_one_is_not_seekable() {
    let range = |session: &str, section: &str| {
        let (session, media) = media(&format!("{session}{VIDEO}{section}"));
        media.range(&session)
    };
    let end = |range: Option<Range>| range.and_then(|r| r.end_ns());
    assert_eq!(end(range("a=range:npt=0-10\n", "")), Some(10_000_000_000));
    assert_eq!(
        end(range("a=range:npt=0-10\n", "a=range:npt=0-5\n")),
        Some(5_000_000_000)
    );
    assert_eq!(range("a=range:npt=0-10\n", "a=range:rubbish\n"), None);
    assert_eq!(
        end(range(
            "a=range:clock=20000101T000000Z-\na=range:npt=1-2\n",
            ""
        )),
        Some(2_000_000_000)
    );
    assert!(!range("a=range:npt=0-\n", "").unwrap().is_closed());
    assert_eq!(
        range("a=range:npt=now-\n", "").unwrap().start,
        Some(Point::Now)
    );
    assert_eq!(range("", ""), None);
}

// covers: C-SDP-14
#[test]
fn direction_is_that_of_the_receiver() {
    let direction = |session: &str, section: &str| {
        let (session, media) = media(&format!("{session}{VIDEO}{section}"));
        media.direction(&session)
    };
    assert_eq!(direction("", ""), Direction::RecvOnly);
    assert_eq!(direction("", "a=sendrecv\n"), Direction::SendRecv);
    assert_eq!(direction("a=inactive\n", ""), Direction::Inactive);
    assert_eq!(
        direction("a=inactive\n", "a=recvonly\n"),
        Direction::RecvOnly
    );

    let onvif = parse(&format!(
        "v=0\n{VIDEO}a=recvonly\nm=audio 0 RTP/AVP 0\na=sendonly\n"
    ));
    assert!(!onvif.is_backchannel(&onvif.media[0]));
    assert!(onvif.is_backchannel(&onvif.media[1]));
    let inverted = parse(&format!("v=0\na=sendonly\n{VIDEO}m=audio 0 RTP/AVP 0\n"));
    assert!(
        inverted
            .media
            .iter()
            .all(|media| !inverted.is_backchannel(media))
    );
}

// covers: B-SDP-15
#[test]
fn media_attributes_override_those_of_the_session() {
    let session = parse(&format!(
        "v=0\na=tool:s\na=lang:en\n{VIDEO}a=tool:m\nm=audio 0 RTP/AVP 0\n"
    ));
    assert_eq!(
        session.media[0].attr_or_session(&session, "tool"),
        Some("m")
    );
    assert_eq!(
        session.media[0].attr_or_session(&session, "LANG"),
        Some("en")
    );
    assert_eq!(
        session.media[1].attr_or_session(&session, "tool"),
        Some("s")
    );
    assert_eq!(session.media[1].attr("tool"), None);
}

// covers: B-SDP-17
#[test]
fn rtp_profiles_with_either_suffix_are_accepted() {
    for (name, profile) in [
        ("RTP/AVP", Profile::Avp),
        ("rtp/avpf", Profile::Avpf),
        ("RTP/SAVP", Profile::Savp),
        ("RTP/SAVPF", Profile::Savpf),
    ] {
        for (suffix, lower) in [("", Lower::Udp), ("/UDP", Lower::Udp), ("/TCP", Lower::Tcp)] {
            let (_, media) = media(&format!("m=video 0 {name}{suffix} 26\n"));
            assert_eq!(media.proto, Some(Spec { profile, lower }));
        }
    }
    for quirk in ["MP2T/RTP", "TCP/RTP/AVP"] {
        assert_eq!(media(&format!("m=video 0 {quirk} 33\n")).1.usable, Ok(()));
    }
    for other in [
        "udp",
        "RTP",
        "RTP/XYZ",
        "RTP/AVP/SCTP",
        "RTP/AVP/UDP/X",
        "TCP/MSRP",
    ] {
        assert!(
            media(&format!("m=video 0 {other} 33\n")).1.usable.is_err(),
            "{other}"
        );
    }
}

// covers: H-15
#[test]
fn limits_hold_at_and_past_the_bound() {
    let sections = |n: usize| format!("v=0\n{}", VIDEO.repeat(n));
    assert_eq!(
        parse(&sections(limits::SDP_MEDIA)).media.len(),
        limits::SDP_MEDIA
    );
    assert!(matches!(
        Session::parse(sections(limits::SDP_MEDIA + 1).as_bytes()),
        Err(SdpError::TooManyMedia { .. })
    ));
    for head in ["v=0\n", "v=0\nm=video 0 RTP/AVP 26\n"] {
        let with = |n: usize| format!("{head}{}", "a=x:y\n".repeat(n));
        assert!(
            Session::parse(
                format!("{}m=video 0 RTP/AVP 26\n", with(limits::SDP_ATTRIBUTES)).as_bytes()
            )
            .is_ok()
        );
        assert!(matches!(
            Session::parse(with(limits::SDP_ATTRIBUTES + 1).as_bytes()),
            Err(SdpError::TooManyAttributes { .. })
        ));
    }
    let formats = |n: usize| format!("v=0\nm=audio 0 RTP/AVP{}\n", " 0".repeat(n));
    assert_eq!(parse(&formats(limits::SDP_FORMATS)).media[0].formats, [0]);
    assert!(matches!(
        Session::parse(formats(limits::SDP_FORMATS + 1).as_bytes()),
        Err(SdpError::TooManyFormats { .. })
    ));
    let sized = |n: usize| format!("v=0\n{VIDEO}a=x:{}", "y".repeat(n - 4 - VIDEO.len() - 4));
    assert!(Session::parse(sized(limits::BODY).as_bytes()).is_ok());
    assert!(matches!(
        Session::parse(sized(limits::BODY + 1).as_bytes()),
        Err(SdpError::TooLarge { .. })
    ));
    let odd = |n: usize| format!("v=0\n{}", "c=?\n".repeat(n));
    assert_eq!(
        parse(&odd(limits::SDP_WARNINGS)).warnings.len(),
        limits::SDP_WARNINGS
    );
    assert_eq!(
        parse(&odd(limits::SDP_WARNINGS + 1)).warnings.len(),
        limits::SDP_WARNINGS
    );
}

// covers: H-15
#[test]
fn the_largest_description_takes_no_quadratic_time() {
    let formats: String = (0..128).map(|pt| format!(" {pt}")).collect();
    let section = format!(
        "m=video 0 RTP/AVP{formats}\n{}",
        "a=rtpmap:1 \n".repeat(1000)
    );
    let text = format!("v=0\n{}", section.repeat(64));
    let begin = std::time::Instant::now();
    let _ = Session::parse(text.as_bytes());
    assert!(begin.elapsed() < std::time::Duration::from_secs(20));
}

/// Reads everything that a description can be asked for.
fn read_all(session: &Session) {
    let _ = (session.range(), session.control());
    for media in &session.media {
        let _ = (
            media.range(session),
            media.direction(session),
            media.rtcp_bandwidth(session),
        );
        let _ = (
            media.source_filters(session),
            media.extmaps(session),
            media.rtx(),
        );
        let _ = (media.ssrc_attributes().count(), media.ssrc_groups().count());
        for pt in &media.formats {
            let _ = (
                media.rtpmap(*pt),
                media.fmtp(*pt),
                media.rtcp_fb(*pt),
                media.framesize(*pt),
            );
        }
    }
}

proptest! {
    // covers: B-SDP-01, H-07
    #[test]
    fn arbitrary_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..512)) {
        if let Ok(session) = Session::parse(&body) {
            read_all(&session);
        }
    }

    // covers: B-SDP-04, H-16
    #[test]
    fn arbitrary_lines_never_panic(
        text in "(m=(video|audio) [0-9/]{1,6} RTP/AVP( [0-9]{1,3}){1,3}\n|a=(rtpmap|fmtp|extmap|ssrc|rtcp-fb|range|source-filter|framesize)[: ][-a-z0-9 /=;*.:]{0,24}\n|[bc]=[-a-zA-Z0-9 /:.]{0,16}\n){0,16}"
    ) {
        if let Ok(session) = Session::parse(text.as_bytes()) {
            read_all(&session);
        }
    }
}

// covers: B-SDP-04
#[test]
fn what_is_made_allowance_for_is_named_once() {
    let session = parse(
        "c=IN\nc=SM\nm=video x MP2T/RTP 33\na=control t\nm=video 0 RTP/AVP 96 foo\na=rtpmap:96 H264\nm=audio 0 RTP/AVP 99\n",
    );
    let mut quirks = session.quirks.clone();
    quirks.sort();
    assert_eq!(
        quirks,
        [
            "sdp-attribute-without-colon",
            "sdp-bad-payload-type",
            "sdp-bad-port",
            "sdp-connection-without-address",
            "sdp-media-skipped",
            "sdp-payload-type-without-rtpmap",
            "sdp-protocol-misnamed",
            "sdp-rtpmap-without-clock-rate",
            "sdp-without-version",
        ]
    );
    let sending = "v=0\nm=audio 0 RTP/AVP 0\na=sendonly\n";
    assert_eq!(parse(sending).quirks, ["sdp-all-media-sendonly"]);
    let both = format!("{sending}m=audio 0 RTP/AVP 8\n");
    assert!(parse(&both).quirks.is_empty());
}
