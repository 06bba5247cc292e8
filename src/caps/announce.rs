//! Caps of RTP to the media that is announced: the way back of
//! [`payload_caps`](super::payload_caps).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::rtsp::sdp::Attribute;
use crate::rtsp::sdp::write::{Format, MediaDescription};
use crate::rtsp::transport::Profile;

/// What caps say about the stream that they describe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// Without control URL, feedback and bandwidth; its one format is that of the caps.
    pub media: MediaDescription,
    pub ssrc: Option<u32>,
    /// RTP time of running time 0, if the payloader says it.
    pub timestamp_offset: Option<u32>,
}

impl Announced {
    /// The format of the caps.
    pub fn format(&self) -> Option<&Format> {
        self.media.formats.first()
    }

    /// Whether packets of `other` may follow those of this one without a word
    /// to the server: H.264 and H.265 carry changed parameter sets themselves.
    pub fn goes_on_as(&self, other: &Announced) -> bool {
        let in_band = |format: &Format| {
            let name = format.encoding_name.to_ascii_uppercase();
            matches!(name.as_str(), "H264" | "H265")
        };
        let parameters = |format: &Format| match in_band(format) {
            true => Vec::new(),
            false => format.parameters.clone(),
        };
        self.media.kind == other.media.kind
            && self.format().zip(other.format()).is_some_and(|(a, b)| {
                a.payload_type == b.payload_type
                    && a.encoding_name.eq_ignore_ascii_case(&b.encoding_name)
                    && a.clock_rate == b.clock_rate
                    && a.channels == b.channels
                    && parameters(a) == parameters(b)
            })
    }
}

/// Fields that are said elsewhere, belong to a receiver, or are not for the
/// other side.
const NOT_ANNOUNCED: &[&str] = &[
    "media",
    "payload",
    "clock-rate",
    "encoding-name",
    "encoding-params",
    "npt-start",
    "npt-stop",
    "play-speed",
    "play-scale",
    "onvif-mode",
    "channel-order",
    // Of H.264: `profile-level-id` is the parameter.
    "profile",
];

/// Attributes that other lines of the announcement say, or that are about a
/// presentation which is received.
const NOT_REPEATED: &[&str] = &[
    "control",
    "range",
    "tool",
    "type",
    "charset",
    "recvonly",
    "sendonly",
    "sendrecv",
    "inactive",
    "rtcp-mux",
    "rtcp-rsize",
    "mid",
    "ssrc-group",
    "ts-refclk",
    "mediaclk",
    "key-mgmt",
    // Keys and addresses of the session that they came by.
    "crypto",
    "fingerprint",
    "setup",
    "ice-ufrag",
    "ice-pwd",
    "ice-options",
    "candidate",
    "end-of-candidates",
    "rtcp",
    "source-filter",
    "group",
    "msid",
];

/// The media of RTP caps, or what they lack.
pub fn announced(caps: &gst::CapsRef) -> Result<Announced, String> {
    let s = caps.structure(0).ok_or("empty caps")?;
    if s.name() != "application/x-rtp" {
        return Err(format!("{} is no RTP", s.name()));
    }
    let text = |name: &str| s.get::<&str>(name).ok();
    let missing = |name: &str| format!("the caps have no {name}");
    let kind = text("media").ok_or_else(|| missing("media"))?;
    let payload_type = s.get::<i32>("payload").ok();
    let payload_type = payload_type
        .and_then(|pt| u8::try_from(pt).ok())
        .filter(|pt| *pt < 128)
        .ok_or_else(|| missing("payload"))?;
    let clock_rate = s.get::<i32>("clock-rate").ok();
    let clock_rate = clock_rate
        .and_then(|rate| u32::try_from(rate).ok())
        .filter(|rate| *rate > 0)
        .ok_or_else(|| missing("clock-rate"))?;
    let encoding_name = text("encoding-name")
        .ok_or_else(|| missing("encoding-name"))?
        .to_ascii_uppercase();
    // Only audio has channels there (RFC 8866 §6.6).
    let channels = text("encoding-params")
        .filter(|_| kind == "audio")
        .and_then(|channels| channels.parse().ok());

    let (mut parameters, mut attributes) = (Vec::new(), Vec::new());
    for (field, value) in s.iter() {
        let value = value.get::<&str>().ok();
        let attribute = |key: &str, value: Option<&str>| Attribute {
            key: key.to_string(),
            value: value.filter(|value| !value.is_empty()).map(str::to_string),
        };
        if let Some(key) = field.strip_prefix("a-") {
            match (key, value) {
                ("framesize", Some(size)) => {
                    let value = format!("{payload_type} {size}");
                    attributes.push(attribute(key, Some(&value)));
                }
                (key, Some(value)) if !NOT_REPEATED.contains(&key) => {
                    attributes.push(attribute(key, Some(value)));
                }
                _ => {}
            }
        } else if let Some(id) = field.strip_prefix("extmap-") {
            attributes.extend(extmap(s, field, id));
        } else if field.starts_with("x-") || matches!(field.as_str(), "ptime" | "maxptime") {
            attributes.push(attribute(field, value));
        } else if let Some(value) = value.filter(|_| is_parameter(field)) {
            parameters.push((field.to_string(), Some(value.to_string())));
        }
    }
    if encoding_name == "H264" {
        add_profile_level_id(&mut parameters);
    }
    require_parameters(&encoding_name, &parameters)?;
    Ok(Announced {
        media: MediaDescription {
            kind: kind.to_string(),
            profile: Profile::Avp,
            formats: vec![Format {
                payload_type,
                encoding_name,
                clock_rate,
                channels,
                parameters,
                feedback: Vec::new(),
            }],
            bandwidth: None,
            attributes,
            control: String::new(),
        },
        ssrc: s.get("ssrc").ok(),
        timestamp_offset: s.get("timestamp-offset").ok(),
    })
}

/// Format parameters are the text fields that are nothing else.
fn is_parameter(field: &str) -> bool {
    let elsewhere = ["rtcp-fb-", "ssrc-", "rid-", "srtp-", "srtcp-"];
    !NOT_ANNOUNCED.contains(&field) && !elsewhere.iter().any(|prefix| field.starts_with(prefix))
}

/// `extmap-N` is a URI, or direction, URI and attributes (RFC 8285 §5).
fn extmap(s: &gst::StructureRef, field: &str, id: &str) -> Option<Attribute> {
    let value = match s.get::<&str>(field) {
        Ok(uri) => format!("{id} {uri}"),
        Err(_) => {
            let parts = s.get::<gst::Array>(field).ok()?;
            let mut parts = parts.iter().map(|part| part.get::<&str>().unwrap_or(""));
            let (direction, uri, more) = (parts.next()?, parts.next()?, parts.next()?);
            let slash = if direction.is_empty() { "" } else { "/" };
            format!("{id}{slash}{direction} {uri} {more}")
                .trim_end()
                .to_string()
        }
    };
    Some(Attribute {
        key: "extmap".into(),
        value: Some(value),
    })
}

/// Where a depayloader or receiver gave the profile a name, the parameter comes
/// from the SPS itself (RFC 6184 §8.1).
fn add_profile_level_id(parameters: &mut Vec<(String, Option<String>)>) {
    let get = |name: &str| {
        let found = parameters.iter().find(|(key, _)| key == name);
        found.and_then(|(_, value)| value.as_deref())
    };
    if get("profile-level-id").is_some() {
        return;
    }
    let sets = get("sprop-parameter-sets").unwrap_or_default();
    let id = sets
        .split(',')
        .filter_map(|set| STANDARD.decode(set).ok())
        .find_map(|nal| match nal.as_slice() {
            [header, profile, constraints, level, ..] if header & 0x1f == 7 => {
                Some(format!("{profile:02x}{constraints:02x}{level:02x}"))
            }
            _ => None,
        });
    if let Some(id) = id {
        parameters.push(("profile-level-id".into(), Some(id)));
    }
}

/// What a receiver cannot do without, and what nobody may guess.
fn require_parameters(
    encoding_name: &str,
    parameters: &[(String, Option<String>)],
) -> Result<(), String> {
    let required: &[&str] = match encoding_name {
        // RFC 3640 §4.1
        "MPEG4-GENERIC" => &["config", "mode"],
        // RFC 4175 §6.1
        "RAW" => &["sampling", "width", "height", "depth"],
        _ => &[],
    };
    let missing = required
        .iter()
        .find(|name| !parameters.iter().any(|(key, _)| key == *name));
    match missing {
        Some(name) => Err(format!("the caps of {encoding_name} have no {name}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(text: &str) -> Result<Announced, String> {
        gst::init().unwrap();
        announced(&text.parse::<gst::Caps>().unwrap())
    }

    fn parameter<'a>(announced: &'a Announced, name: &str) -> Option<&'a str> {
        let parameters = &announced.format().unwrap().parameters;
        let found = parameters.iter().find(|(key, _)| key == name);
        found.and_then(|(_, value)| value.as_deref())
    }

    fn attribute<'a>(announced: &'a Announced, name: &str) -> Option<&'a str> {
        let found = announced.media.attributes.iter().find(|a| a.key == name);
        found.and_then(|attribute| attribute.value.as_deref())
    }

    const H264: &str = "application/x-rtp,media=video,payload=96,clock-rate=90000,\
        encoding-name=H264,packetization-mode=(string)1,\
        sprop-parameter-sets=(string)\"Z0LAH9oBQBbsBEAAAAMAQAAADKPGDKg=,aM4PyA==\",\
        ssrc=(uint)17,timestamp-offset=(uint)5,seqnum-offset=(uint)7,a-framerate=(string)25";

    // covers: P-PUB-04
    #[test]
    fn format_parameters_are_those_of_the_caps() {
        let h264 = from(H264).unwrap();
        let format = h264.format().unwrap();
        assert_eq!((format.payload_type, format.clock_rate), (96, 90_000));
        assert_eq!(parameter(&h264, "packetization-mode"), Some("1"));
        assert_eq!(parameter(&h264, "profile-level-id"), Some("42c01f"));
        assert_eq!(attribute(&h264, "framerate"), Some("25"));
        assert_eq!((h264.ssrc, h264.timestamp_offset), (Some(17), Some(5)));
        for field in ["seqnum-offset", "ssrc", "media"] {
            assert_eq!(parameter(&h264, field), None, "{field}");
        }
    }

    #[test]
    fn channels_are_those_of_audio() {
        let opus = from(
            "application/x-rtp,media=audio,payload=97,clock-rate=48000,encoding-name=OPUS,\
             encoding-params=(string)2,sprop-stereo=(string)1",
        )
        .unwrap();
        assert_eq!(opus.format().unwrap().channels, Some(2));
        assert_eq!(parameter(&opus, "sprop-stereo"), Some("1"));
        assert_eq!(parameter(&opus, "encoding-params"), None);
    }

    // covers: P-PUB-04
    #[test]
    fn what_a_format_requires_is_not_guessed() {
        let aac = |more: &str| {
            from(&format!(
                "application/x-rtp,media=audio,payload=97,clock-rate=48000,\
                 encoding-name=MPEG4-GENERIC,mode=(string)AAC-hbr{more}"
            ))
        };
        assert!(aac("").unwrap_err().contains("config"));
        assert!(aac(",config=(string)1190").is_ok());
        assert!(from("application/x-rtp,media=video,payload=96,encoding-name=VP8").is_err());
        assert!(from("application/x-rtp,media=video,clock-rate=90000,encoding-name=VP8").is_err());
        assert!(from("video/x-h264").is_err());
    }

    #[test]
    fn attributes_come_back_and_those_of_a_receiver_do_not() {
        let media = from(
            "application/x-rtp,media=video,payload=26,clock-rate=90000,encoding-name=JPEG,\
             a-framesize=(string)640-480,x-dimensions=(string)\"640,480\",a-recvonly=(string)\"\",\
             a-control=(string)track1,a-label=(string)door,npt-start=(guint64)0,\
             rtcp-fb-nack-pli=(boolean)true,extmap-3=(string)urn:a,\
             extmap-4=(string)<sendonly,urn:b,\"c d\">",
        )
        .unwrap();
        assert_eq!(attribute(&media, "framesize"), Some("26 640-480"));
        assert_eq!(attribute(&media, "x-dimensions"), Some("640,480"));
        assert_eq!(attribute(&media, "label"), Some("door"));
        let attributes = media.media.attributes.iter();
        let extmaps: Vec<_> = attributes
            .filter(|a| a.key == "extmap")
            .filter_map(|a| a.value.as_deref())
            .collect();
        assert_eq!(extmaps, ["3 urn:a", "4/sendonly urn:b c d"]);
        assert!(media.format().unwrap().parameters.is_empty(), "{media:?}");
        for key in ["recvonly", "control"] {
            assert!(media.media.attributes.iter().all(|a| a.key != key));
        }
    }

    // covers: P-PUB-13
    #[test]
    fn only_what_the_stream_says_itself_may_change_while_it_is_published() {
        let h264 = from(H264).unwrap();
        let bigger = from(&H264.replace("Z0LAH9oBQBbsBEAAAAMAQAAADKPGDKg=", "Z0LAKNoB4AiflwE="));
        assert!(h264.goes_on_as(&bigger.unwrap()));
        let moved = from(&H264.replace("payload=96", "payload=97")).unwrap();
        assert!(!h264.goes_on_as(&moved));
        let aac = |config: &str| {
            from(&format!(
                "application/x-rtp,media=audio,payload=97,clock-rate=48000,\
                 encoding-name=MPEG4-GENERIC,mode=(string)AAC-hbr,config=(string){config}"
            ))
            .unwrap()
        };
        assert!(!aac("1190").goes_on_as(&aac("1188")));
        assert!(aac("1190").goes_on_as(&aac("1190")));
    }

    #[test]
    fn what_is_received_can_be_announced_again() {
        use crate::rtsp::sdp::Session;
        gst::init().unwrap();
        let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\n\
            m=audio 0 RTP/AVP 97\r\na=rtpmap:97 mpeg4-generic/48000/2\r\n\
            a=fmtp:97 streamtype=5;mode=AAC-hbr;config=1190;sizelength=13\r\na=control:1\r\n";
        let session = Session::parse(sdp.as_bytes()).unwrap();
        let caps = super::super::media_caps(&session, &session.media[0]).unwrap();
        let again = announced(&caps).unwrap();
        let format = again.format().unwrap();
        assert_eq!(format.encoding_name, "MPEG4-GENERIC");
        assert_eq!(format.channels, Some(2));
        for (name, value) in session.media[0].fmtp(97) {
            assert_eq!(parameter(&again, &name), Some(value.as_str()), "{name}");
        }
    }
}
