use super::*;

#[path = "../../tests/support/skip.rs"]
mod skip;

fn session(sections: &str) -> Session {
    gst::init().unwrap();
    Session::parse(format!("v=0\n{sections}").as_bytes()).unwrap()
}

/// Caps of the only media.
fn caps(section: &str) -> gst::Caps {
    let session = session(section);
    media_caps(&session, &session.media[0]).unwrap()
}

fn text<'a>(caps: &'a gst::Caps, field: &str) -> Option<&'a str> {
    caps.structure(0).unwrap().get(field).ok()
}

fn assert_caps(caps: &gst::Caps, expected: &str) {
    let expected: gst::Caps = expected.parse().unwrap();
    assert!(caps.is_strictly_equal(&expected), "\n{caps}\n{expected}");
    // What an application prints can be read again.
    assert!(
        caps.to_string()
            .parse::<gst::Caps>()
            .unwrap()
            .is_strictly_equal(caps)
    );
}

fn accepted_by(caps: &gst::Caps, depayloader: &str) {
    let Some(factory) = gst::ElementFactory::find(depayloader) else {
        skip::skip(format!("no {depayloader}"));
        return;
    };
    assert!(
        factory.can_sink_all_caps(caps) || factory.can_sink_any_caps(caps),
        "{caps}"
    );
}

// covers: B-SDP-09, B-SDP-10
#[test]
fn h264_with_level_asymmetry_has_a_profile_instead_of_a_level() {
    let caps = caps(
        "a=tool:test\na=range:npt=0-10\na=control:*\nm=video 0 RTP/AVPF 96\na=rtpmap:96 h264/90000\na=fmtp:96 packetization-mode=1;profile-level-id=42e01f;level-asymmetry-allowed=1;sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg==;Foo\na=rtcp-fb:96 nack pli\na=rtcp-fb:* ccm fir\na=framesize:96 320-240\na=framerate:25.0\na=x-dimensions:320,240\na=recvonly\na=control:t\n",
    );
    assert_caps(
        &caps,
        "application/x-rtp, media=video, payload=96, clock-rate=90000, encoding-name=H264, packetization-mode=(string)1, sprop-parameter-sets=(string)\"Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg==\", foo=(string)1, profile=constrained-baseline, a-framesize=(string)320-240, rtcp-fb-nack-pli=true, rtcp-fb-ccm-fir=true, a-framerate=(string)25.0, x-dimensions=(string)\"320,240\", a-recvonly=(string)\"\", a-tool=(string)test",
    );
    accepted_by(&caps, "rtph264depay");
}

// covers: B-SDP-12
#[test]
fn bad_parameter_sets_are_dropped() {
    let sprop = |sets: &str| {
        let caps = caps(&format!(
            "m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 profile-level-id=640028;sprop-parameter-sets={sets}\n"
        ));
        assert_eq!(text(&caps, "profile-level-id"), Some("640028"));
        text(&caps, "sprop-parameter-sets").map(str::to_string)
    };
    let good = "Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg==";
    assert_eq!(sprop(good).as_deref(), Some(good));
    assert_eq!(
        sprop("Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg").as_deref(),
        Some("Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg")
    );
    for (sets, kept) in [
        ("", None),
        (",", None),
        ("!!!,aMuMsg==", Some("aMuMsg==")),
        ("Z0LA(,aMuMsg==,", Some("aMuMsg==")),
        // 00 00 00 01 67 …: start code.
        ("AAAAAWdCwB7ZA8Vo,aMuMsg==", Some("Z0LAHtkDxWg=,aMuMsg==")),
        // A start code after the first set: 68 cb 00 00 01 68.
        ("aMsAAAFo", Some("aMs=")),
        // One byte, and a type that is no parameter set (65).
        ("Zw==,ZYiE", None),
    ] {
        assert_eq!(sprop(sets).as_deref(), kept, "{sets}");
    }
}

// covers: B-SDP-12
#[test]
fn h265_parameter_sets_are_checked_for_their_type() {
    let vps = "QAEMAf//AWAAAAMAgAAAAwAAAwB4rAk=";
    let sps = "QgEBAWAAAAMAgAAAAwAAAwB4oAKAgC0WWZWZ";
    let pps = "RAHBc9GJ";
    let caps = caps(&format!(
        "m=video 0 RTP/AVP 98\na=rtpmap:98 H265/90000\na=fmtp:98 sprop-vps={vps};sprop-sps={sps};sprop-pps={pps},{sps},AAAB\n"
    ));
    assert_caps(
        &caps,
        &format!(
            "application/x-rtp, media=video, payload=98, clock-rate=90000, encoding-name=H265, sprop-vps=(string)\"{vps}\", sprop-sps=(string)\"{sps}\", sprop-pps=(string)\"{pps}\""
        ),
    );
    accepted_by(&caps, "rtph265depay");
}

#[test]
fn aac_keeps_its_configuration() {
    let caps = caps(
        "m=audio 0 RTP/AVP 97\na=rtpmap:97 mpeg4-generic/16000/1\na=fmtp:97 streamtype=5; profile-level-id=15; mode=AAC-hbr; config=1408; SizeLength=13; IndexLength=3; IndexDeltaLength=3; Profile=1;\n",
    );
    assert_caps(
        &caps,
        "application/x-rtp, media=audio, payload=97, clock-rate=16000, encoding-name=MPEG4-GENERIC, encoding-params=(string)1, streamtype=(string)5, profile-level-id=(string)15, mode=(string)AAC-hbr, config=(string)1408, sizelength=(string)13, indexlength=(string)3, indexdeltalength=(string)3, profile=(string)1",
    );
    accepted_by(&caps, "rtpmp4gdepay");
}

#[test]
fn opus_and_static_types() {
    let opus = caps(
        "m=audio 0 RTP/AVP 111\na=rtpmap:111 opus/48000/2\na=fmtp:111 sprop-stereo=1\na=ptime:20\n",
    );
    assert_caps(
        &opus,
        "application/x-rtp, media=audio, payload=111, clock-rate=48000, encoding-name=OPUS, encoding-params=(string)2, sprop-stereo=(string)1, a-ptime=(string)20",
    );
    accepted_by(&opus, "rtpopusdepay");
    let pcmu = caps("m=audio 0 RTP/AVP 0\n");
    assert_caps(
        &pcmu,
        "application/x-rtp, media=audio, payload=0, clock-rate=8000, encoding-name=PCMU",
    );
    for (pt, depayloader) in [
        (0, "rtppcmudepay"),
        (8, "rtppcmadepay"),
        (10, "rtpL16depay"),
        (14, "rtpmpadepay"),
        (26, "rtpjpegdepay"),
        (33, "rtpmp2tdepay"),
    ] {
        let kind = if pt < 26 { "audio" } else { "video" };
        accepted_by(&caps(&format!("m={kind} 0 RTP/AVP {pt}\n")), depayloader);
    }
}

// covers: B-SDP-22
#[test]
fn onvif_metadata_gets_a_pad_that_names_it() {
    for name in [
        "vnd.onvif.metadata",
        "vnd.onvif.metadata+gzip",
        "vnd.onvif.metadata.exi.ext",
        "x-other",
    ] {
        let caps = caps(&format!(
            "m=application 0 RTP/AVP 107\na=rtpmap:107 {name}/90000\n"
        ));
        assert_caps(
            &caps,
            &format!(
                "application/x-rtp, media=application, payload=107, clock-rate=90000, encoding-name=(string){}",
                name.to_ascii_uppercase()
            ),
        );
    }
}

// covers: B-SDP-08
#[test]
fn auxiliary_types_do_not_decide_the_pad() {
    let session = session(
        "m=video 0 RTP/AVPF 97 96 98 99 100\na=rtpmap:97 rtx/90000\na=fmtp:97 apt=96\na=rtpmap:96 VP8/90000\na=rtpmap:98 ulpfec/90000\na=rtpmap:99 H264/90000\nm=audio 0 RTP/AVP 101\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\nm=audio 0 RTP/AVP 96\na=rtpmap:96 L16/4294967295\nm=audio 0 RTP/AVP 96\n",
    );
    assert_eq!(pad_payload_types(&session.media[0]), [96, 99]);
    let caps = media_caps(&session, &session.media[0]).unwrap();
    assert_eq!(text(&caps, "encoding-name"), Some("VP8"));
    let rtx = payload_caps(&session, &session.media[0], 97).unwrap();
    assert_eq!(
        (text(&rtx, "encoding-name"), text(&rtx, "apt")),
        (Some("RTX"), Some("96"))
    );
    assert_eq!(pad_payload_types(&session.media[1]), [101]);
    assert_eq!(media_caps(&session, &session.media[2]), None);
    assert_eq!(media_caps(&session, &session.media[3]), None);
    assert_eq!(payload_caps(&session, &session.media[0], 1), None);
}

// covers: B-SDP-15, B-SDP-20, B-SDP-23, B-EXT-03, B-CLK-01
#[test]
fn attributes_become_fields() {
    let caps = caps(
        "a=ts-refclk:local\na=tool:s\na=source-filter: incl IN IP4 * 192.0.2.1\nm=video 0 RTP/SAVPF 26\na=tool:m\na=mediaclk:direct=0\na=extmap:1 urn:x\na=extmap:2/recvonly urn:y foo bar\na=extmap:15 urn:z\na=ssrc:1234 cname:abc def\na=ssrc:1234 flag\na=rid:hi send\na=rid:lo send pt=96;max-width=10\na=framerate:1/0\na=ptime:0\na=key-mgmt:mikey AAAA\na=we!rd,key:1\n",
    );
    assert_caps(
        &caps,
        "application/x-rtp, media=video, payload=26, clock-rate=90000, encoding-name=JPEG, a-tool=(string)m, a-mediaclk=(string)\"direct=0\", a-ts-refclk=(string)local, rid-hi=(string)send, rid-lo=(string)<send, \"pt=96\", \"max-width=10\">, extmap-1=(string)urn:x, extmap-2=(string)<recvonly, urn:y, \"foo bar\">, ssrc-1234-cname=(string)\"abc def\"",
    );
}

// covers: B-SDP-10, H-15
#[test]
fn foreign_names_cannot_spoil_the_caps() {
    let long = "k".repeat(limits::CAPS_FIELD_NAME);
    let mut sdp =
        format!("m=video 0 RTP/AVP 26\na=fmtp:26 Payload=1;media=x;{long}=1;{long}k=1;a b=2;é=1\n");
    for n in 0..limits::CAPS_ATTRIBUTES + 1 {
        sdp.push_str(&format!("a=x-{n}:1\n"));
    }
    let caps = caps(&sdp);
    let s = caps.structure(0).unwrap();
    assert_eq!(s.get::<i32>("payload"), Ok(26));
    assert_eq!(text(&caps, "media"), Some("video"));
    assert_eq!(
        (s.has_field(&long), s.has_field(format!("{long}k"))),
        (true, false)
    );
    assert_eq!(s.n_fields(), 4 + 1 + limits::CAPS_ATTRIBUTES);
    assert!(
        caps.to_string()
            .parse::<gst::Caps>()
            .unwrap()
            .is_strictly_equal(&caps)
    );
}

// covers: B-SDP-03
#[test]
fn text_that_is_not_utf_8_is_not_copied() {
    gst::init().unwrap();
    let session =
        Session::parse(b"v=0\na=x-loc:caf\xe9\na=x-ok:caf\xc3\xa9\nm=video 0 RTP/AVP 26\n")
            .unwrap();
    let caps = media_caps(&session, &session.media[0]).unwrap();
    assert_eq!(
        (text(&caps, "x-loc"), text(&caps, "x-ok")),
        (None, Some("café"))
    );
}

#[test]
fn play_fields_are_set_and_removed() {
    let plain = caps("m=audio 0 RTP/AVP 0\n");
    let fields = PlayFields {
        ssrc: Some(u32::MAX),
        seqnum_base: Some(7),
        clock_base: Some(8),
        npt_start: Some(gst::ClockTime::from_seconds(1)),
        npt_stop: Some(gst::ClockTime::from_seconds(2)),
        play_speed: Some(1.0),
        play_scale: Some(1.0),
        segment_as_is: None,
    };
    let played = with_play_fields(&plain, &fields);
    assert_caps(
        &played,
        "application/x-rtp, media=audio, payload=0, clock-rate=8000, encoding-name=PCMU, ssrc=(uint)4294967295, seqnum-base=(uint)7, clock-base=(uint)8, npt-start=(guint64)1000000000, npt-stop=(guint64)2000000000, play-speed=(double)1.0, play-scale=(double)1.0",
    );
    let again = with_play_fields(&played, &PlayFields::default());
    assert!(again.is_strictly_equal(&plain));
}

#[test]
fn h264_profiles_have_their_gstreamer_names() {
    for (id, profile) in [
        ("42e01f", Some("constrained-baseline")),
        ("42001f", Some("baseline")),
        ("4d001f", Some("main")),
        ("64001f", Some("high")),
        ("640c1f", Some("constrained-high")),
        ("f4001f", Some("high-4:4:4")),
        ("6e101f", Some("high-10-intra")),
        ("ff001f", None),
        ("xyz", None),
        ("", None),
        ("142e01f0", None),
    ] {
        assert_eq!(h264_profile(id), profile, "{id}");
    }
}

#[test]
fn windows_media_gets_its_asf_header_and_no_pad_for_retransmissions() {
    let session = session(
        "a=maxps:13632\na=pgmpu:data:application/x-wms-contentdesc,8\na=pgmpu:data:application/vnd.ms.wms-hdr.asfv1;base64,MCay\nm=audio 0 RTP/AVP 96\na=rtpmap:96 x-asf-pf/1000\nm=application 0 RTP/AVP 96\na=rtpmap:96 x-wms-rtx/1000\n",
    );
    let caps = media_caps(&session, &session.media[0]).unwrap();
    assert_eq!(text(&caps, "maxps"), Some("13632"));
    assert_eq!(text(&caps, "config"), Some("MCay"));
    assert_eq!(media_caps(&session, &session.media[1]), None);
}

// covers: B-SDP-12
#[test]
fn parameter_sets_that_are_not_as_they_should_be_are_noticed() {
    for (sets, odd) in [
        ("Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg==", false),
        ("Z0LAHtkDxWhAAAADAEAAAAwDxYuS, aMuMsg==", false),
        ("AAAAAWdCwB7ZA8Vo,aMuMsg==", true),
        ("nothing", true),
    ] {
        let session = session(&format!(
            "m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 sprop-parameter-sets={sets}\n"
        ));
        assert_eq!(has_odd_parameter_sets(&session.media[0]), odd, "{sets}");
    }
}
