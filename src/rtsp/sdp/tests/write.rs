//! What is written, and that it is read back as it was meant.

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;

use crate::rtsp::sdp::write::{Description, Format, MediaDescription, Origin, WriteError};
use crate::rtsp::sdp::{Attribute, BandwidthKind, Session};
use crate::rtsp::transport::Profile;

fn h264() -> Format {
    let parameter = |name: &str, value: &str| (name.to_string(), Some(value.to_string()));
    Format {
        payload_type: 96,
        encoding_name: "H264".into(),
        clock_rate: 90_000,
        channels: None,
        parameters: vec![
            parameter("packetization-mode", "1"),
            parameter("sprop-parameter-sets", "Z0LAHg==,aM4="),
        ],
        feedback: vec!["nack".into(), "nack pli".into()],
    }
}

fn description(media: Vec<MediaDescription>) -> Description {
    Description {
        origin: Origin {
            id: 7,
            version: 1,
            address: "192.0.2.9".parse().unwrap(),
        },
        name: String::new(),
        tool: String::new(),
        attributes: Vec::new(),
        media,
    }
}

fn video() -> MediaDescription {
    MediaDescription {
        kind: "video".into(),
        profile: Profile::Avp,
        formats: vec![h264()],
        bandwidth: None,
        attributes: Vec::new(),
        control: "streamid=0".into(),
    }
}

fn attribute(key: &str, value: Option<&str>) -> Attribute {
    Attribute {
        key: key.into(),
        value: value.map(str::to_string),
    }
}

// covers: P-PUB-03
#[test]
fn the_text_has_all_lines_in_the_order_of_the_rfc() {
    let mut video = video();
    video.profile = Profile::Avpf;
    video
        .formats
        .push(h264().rtx(97, Duration::from_millis(500)));
    video.bandwidth = Some(2_000_001);
    video.attributes = vec![attribute("framerate", Some("25"))];
    let audio = MediaDescription {
        kind: "audio".into(),
        profile: Profile::Avp,
        formats: vec![Format {
            payload_type: 98,
            encoding_name: "OPUS".into(),
            clock_rate: 48_000,
            channels: Some(2),
            parameters: vec![("stereo".into(), Some("1".into())), ("x".into(), None)],
            feedback: vec!["nack".into()],
        }],
        bandwidth: None,
        attributes: Vec::new(),
        control: "streamid=1".into(),
    };
    let mut description = description(vec![video, audio]);
    description.name = "Camera 1".into();
    description.tool = "t 1.0".into();
    description.attributes = vec![attribute("ts-refclk", Some("local")), attribute("x", None)];
    let text = description.to_text().unwrap();
    assert_eq!(
        text.split("\r\n").collect::<Vec<_>>(),
        [
            "v=0",
            "o=- 7 1 IN IP4 192.0.2.9",
            "s=Camera 1",
            "c=IN IP4 0.0.0.0",
            "t=0 0",
            "a=tool:t 1.0",
            "a=ts-refclk:local",
            "a=x",
            "m=video 0 RTP/AVPF 96 97",
            "b=AS:2001",
            "a=rtpmap:96 H264/90000",
            "a=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z0LAHg==,aM4=",
            "a=rtcp-fb:96 nack",
            "a=rtcp-fb:96 nack pli",
            "a=rtpmap:97 rtx/90000",
            "a=fmtp:97 apt=96;rtx-time=500",
            "a=framerate:25",
            "a=control:streamid=0",
            "m=audio 0 RTP/AVP 98",
            "a=rtpmap:98 OPUS/48000/2",
            "a=fmtp:98 stereo=1;x",
            "a=control:streamid=1",
            "",
        ]
    );
    let rtx = &Session::parse(text.as_bytes()).unwrap().media[0].rtx()[0];
    assert_eq!(
        (rtx.payload_type, rtx.associated, rtx.rtx_time),
        (97, 96, Some(500))
    );
}

// covers: P-PUB-03
#[test]
fn what_may_be_empty_is_written_as_the_rfc_wants_it() {
    let mut description = description(vec![video()]);
    description.origin.address = "2001:db8::1".parse().unwrap();
    description.name = " \r\n".into();
    let text = description.to_text().unwrap();
    assert!(
        text.starts_with(
            "v=0\r\no=- 7 1 IN IP6 2001:db8::1\r\ns=-\r\nc=IN IP6 ::\r\nt=0 0\r\nm=video"
        ),
        "{text}"
    );
}

// covers: P-PUB-03
#[test]
fn no_value_makes_a_line_of_its_own() {
    let evil = "x\r\na=control:rtsp://evil/\nm=audio 0 RTP/AVP 0\0";
    let mut video = video();
    video.attributes = vec![attribute("framesize", Some(evil))];
    let mut description = description(vec![video]);
    description.name = evil.into();
    description.tool = evil.into();
    description.attributes = vec![attribute("info", Some(evil))];
    let text = description.to_text().unwrap();
    let parsed = Session::parse(text.as_bytes()).unwrap();
    assert_eq!(parsed.media.len(), 1);
    assert_eq!(parsed.control(), None);
    assert_eq!(
        parsed.media[0].attrs("control").collect::<Vec<_>>(),
        ["streamid=0"]
    );
    assert_eq!(text.lines().count(), 12, "{text}");
    assert!(!text.contains('\0'));
}

// covers: P-PUB-03
#[test]
fn what_has_no_valid_form_is_refused() {
    fn error(change: impl Fn(&mut MediaDescription)) -> Result<String, WriteError> {
        let mut media = video();
        change(&mut media);
        description(vec![media]).to_text()
    }
    let name = |text: &str| Err(WriteError::Name(text.into()));
    assert_eq!(error(|m| m.kind = "".into()), name(""));
    assert_eq!(error(|m| m.kind = "vi deo".into()), name("vi deo"));
    for bad in ["H/264", "H264\r\na=x", "", "ä"] {
        let error = error(|m| m.formats[0].encoding_name = bad.into());
        assert!(matches!(error, Err(WriteError::Name(_))), "{bad:?}");
    }
    assert_eq!(
        error(|m| m.attributes = vec![attribute("a:b", None)]),
        name("a:b")
    );
    for bad in ["a;b=c", "a\r\nb"] {
        let error = error(|m| m.formats[0].parameters = vec![("p".into(), Some(bad.into()))]);
        assert!(matches!(error, Err(WriteError::Parameter(_))), "{bad:?}");
    }
    assert_eq!(
        error(|m| m.formats[0].payload_type = 128),
        Err(WriteError::PayloadType(128))
    );
    assert_eq!(
        error(|m| m.formats.push(h264())),
        Err(WriteError::PayloadType(96))
    );
    assert_eq!(
        error(|m| m.formats[0].clock_rate = 0),
        Err(WriteError::ClockRate(96))
    );
    assert_eq!(error(|m| m.formats.clear()), Err(WriteError::NoFormat(0)));
    for bad in ["", "*", "a b", "a#b", "ä", "a\r\nb"] {
        let error = error(|m| m.control = bad.into());
        assert!(matches!(error, Err(WriteError::Control(_))), "{bad:?}");
    }
    assert_eq!(
        description(vec![video(), video()]).to_text(),
        Err(WriteError::Control("streamid=0".into()))
    );
    assert_eq!(description(vec![]).to_text(), Err(WriteError::NoMedia));
}

fn format() -> impl Strategy<Value = Format> {
    let value = prop::option::of("[ -:<-~]{0,12}");
    let parameters = prop::collection::btree_map("[a-z][a-z0-9.-]{0,8}", value, 0..4);
    let feedback = prop::sample::subsequence(vec!["nack", "nack pli", "ccm fir"], 0..=3);
    (
        "[A-Za-z][A-Za-z0-9_.-]{0,10}",
        1..=u32::MAX,
        parameters,
        feedback,
    )
        .prop_map(|(encoding_name, clock_rate, parameters, feedback)| Format {
            payload_type: 0,
            encoding_name,
            clock_rate,
            channels: None,
            parameters: parameters.into_iter().collect(),
            feedback: feedback.into_iter().map(str::to_string).collect(),
        })
}

fn attributes() -> impl Strategy<Value = Vec<Attribute>> {
    let attribute = ("x-[a-z0-9.-]{0,8}", prop::option::of("\\PC{0,20}"))
        .prop_map(|(key, value)| Attribute { key, value });
    prop::collection::vec(attribute, 0..4)
}

fn media() -> impl Strategy<Value = MediaDescription> {
    let types = prop::sample::subsequence((0u8..128).collect::<Vec<_>>(), 3);
    let formats =
        (prop::collection::vec(format(), 1..=3), types).prop_map(|(mut formats, types)| {
            for (format, payload_type) in formats.iter_mut().zip(types) {
                format.payload_type = payload_type;
            }
            formats
        });
    let kind = prop::sample::select(vec!["video", "audio", "application"]);
    let profile = prop::sample::select(vec![Profile::Avp, Profile::Avpf]);
    let bandwidth = prop::option::of((0..1_000_000u64).prop_map(|kbits| kbits * 1000));
    (kind, profile, formats, bandwidth, attributes()).prop_map(
        |(kind, profile, formats, bandwidth, attributes)| MediaDescription {
            kind: kind.into(),
            profile,
            formats,
            bandwidth,
            attributes,
            control: String::new(),
        },
    )
}

fn written() -> impl Strategy<Value = Description> {
    let media = prop::collection::vec(media(), 1..4);
    let origin = (any::<u64>(), any::<u64>(), any::<IpAddr>());
    (origin, "\\PC{0,20}", "\\PC{0,20}", attributes(), media).prop_map(
        |((id, version, address), name, tool, attributes, mut media)| {
            for (index, media) in media.iter_mut().enumerate() {
                media.control = format!("streamid={index}");
                for format in &mut media.formats {
                    format.channels = (media.kind == "audio").then_some(2);
                }
            }
            Description {
                origin: Origin {
                    id,
                    version,
                    address,
                },
                name,
                tool,
                attributes,
                media,
            }
        },
    )
}

fn pairs(attributes: &[Attribute]) -> Vec<(String, String)> {
    let value = |attribute: &Attribute| attribute.value.clone().unwrap_or_default();
    attributes
        .iter()
        .filter(|attribute| attribute.key.starts_with("x-"))
        .map(|attribute| (attribute.key.clone(), value(attribute).trim().to_string()))
        .collect()
}

proptest! {
    // covers: P-PUB-03
    #[test]
    fn what_is_written_is_read_back(description in written()) {
        let text = description.to_text().unwrap();
        prop_assert!(text.lines().all(|line| line.as_bytes().get(1) == Some(&b'=')));
        prop_assert!(text.ends_with("\r\n") && text.matches('\n').count() == text.matches("\r\n").count());
        let parsed = Session::parse(text.as_bytes()).unwrap();
        prop_assert!(parsed.warnings.is_empty(), "{:?}", parsed.warnings);
        let name = description.name.trim();
        prop_assert_eq!(parsed.name.as_deref(), Some(name).filter(|name| !matches!(*name, "" | "-")));
        prop_assert!(parsed.connection.unwrap().address.is_unspecified());
        prop_assert_eq!(pairs(&parsed.attributes), pairs(&description.attributes));
        prop_assert_eq!(parsed.media.len(), description.media.len());
        for (read, media) in parsed.media.iter().zip(&description.media) {
            prop_assert_eq!(&read.usable, &Ok(()));
            prop_assert_eq!(&read.kind, &media.kind);
            prop_assert_eq!(read.port, 0);
            prop_assert_eq!(read.proto.unwrap().profile, media.profile);
            prop_assert_eq!(read.control(), Some(media.control.as_str()));
            prop_assert_eq!(read.bandwidth(&parsed, BandwidthKind::As), media.bandwidth);
            prop_assert_eq!(pairs(&read.attributes), pairs(&media.attributes));
            let types: Vec<u8> = media.formats.iter().map(|format| format.payload_type).collect();
            prop_assert_eq!(&read.formats, &types);
            for format in &media.formats {
                let map = read.rtpmap(format.payload_type).unwrap();
                prop_assert_eq!(&map.encoding_name, &format.encoding_name);
                prop_assert_eq!(map.clock_rate, format.clock_rate);
                prop_assert_eq!(map.channels, format.channels);
                let parameters: Vec<_> = format.parameters.iter().map(|(name, value)| {
                    (name.clone(), value.as_deref().map_or("1", str::trim).to_string())
                }).collect();
                prop_assert_eq!(read.fmtp(format.payload_type), parameters);
                let feedback = if media.profile.has_feedback() { &format.feedback[..] } else { &[] };
                prop_assert_eq!(read.rtcp_fb(format.payload_type), feedback);
            }
        }
    }

    // covers: P-PUB-03, H-17
    #[test]
    fn arbitrary_values_are_refused_or_stay_in_their_line(
        texts in prop::collection::vec(any::<String>(), 8),
    ) {
        let mut media = video();
        media.kind = texts[0].clone();
        media.formats[0].encoding_name = texts[1].clone();
        media.formats[0].parameters = vec![(texts[2].clone(), Some(texts[3].clone()))];
        media.control = texts[4].clone();
        let mut free = video();
        free.attributes = vec![attribute("x", Some(&texts[5]))];
        for media in [media, free] {
            let mut description = description(vec![media]);
            description.name = texts[6].clone();
            description.tool = texts[7].clone();
            if let Ok(text) = description.to_text() {
                let parsed = Session::parse(text.as_bytes()).unwrap();
                prop_assert_eq!(parsed.media.len(), 1);
                prop_assert!(text.split("\r\n").all(|line| !line.contains(['\r', '\n', '\0'])));
                prop_assert!(text.lines().count() <= 12, "{}", text);
            }
        }
    }
}
