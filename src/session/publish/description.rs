//! The streams as the SDP of ANNOUNCE describes them.

use std::net::IpAddr;
use std::time::Duration;

use super::config::StreamDescription;
use crate::rtsp::client::OwnKeys;
use crate::rtsp::sdp::Attribute;
use crate::rtsp::sdp::write::{Description, MediaDescription, Origin, WriteError};
use crate::rtsp::transport::Profile;

/// Retransmissions of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rtx {
    pub payload_type: u8,
    pub ssrc: u32,
}

/// What the whole presentation shares.
pub(super) struct Common<'a> {
    pub id: u64,
    /// Grows with every ANNOUNCE (RFC 8866 §5.2).
    pub version: u64,
    pub address: IpAddr,
    pub cname: &'a str,
    pub profile: Profile,
    pub rtx_time: Duration,
}

/// Payload types for the retransmissions of each stream: dynamic ones that no
/// stream uses.
pub(super) fn rtx_payload_types(streams: &[StreamDescription]) -> Vec<Option<u8>> {
    let used = |payload_type: &u8| {
        streams
            .iter()
            .flat_map(|stream| &stream.media.formats)
            .any(|format| format.payload_type == *payload_type)
    };
    let mut free = (96..=127u8).filter(|payload_type| !used(payload_type));
    streams.iter().map(|_| free.next()).collect()
}

pub(super) fn text<'a>(
    common: &Common,
    streams: impl Iterator<Item = (&'a StreamDescription, Option<Rtx>, Option<&'a OwnKeys>)>,
) -> Result<String, WriteError> {
    Description {
        origin: Origin {
            id: common.id,
            version: common.version,
            address: common.address,
        },
        name: String::new(),
        tool: concat!("gst-plugin-rtsp2 ", env!("CARGO_PKG_VERSION")).into(),
        attributes: Vec::new(),
        media: streams
            .enumerate()
            .map(|(index, (stream, rtx, keys))| media(common, index, stream, rtx, keys))
            .collect(),
    }
    .to_text()
}

fn media(
    common: &Common,
    index: usize,
    stream: &StreamDescription,
    rtx: Option<Rtx>,
    keys: Option<&OwnKeys>,
) -> MediaDescription {
    let mut media = stream.media.clone();
    media.control = format!("streamid={index}");
    media.profile = common.profile;
    let feedback = common.profile.has_feedback();
    let rtx = rtx.filter(|_| feedback);
    if let Some(format) = media.formats.first_mut()
        && feedback
    {
        let video = media.kind == "video";
        let wanted = [
            ("nack", rtx.is_some()),
            ("nack pli", video),
            ("ccm fir", video),
        ];
        format.feedback = wanted
            .into_iter()
            .filter(|(_, offered)| *offered)
            .map(|(name, _)| name.to_string())
            .collect();
        if let Some(rtx) = rtx {
            let format = format.rtx(rtx.payload_type, common.rtx_time);
            media.formats.push(format);
        }
    }
    let attribute = |key: &str, value: String| Attribute {
        key: key.into(),
        value: Some(value),
    };
    if let Some(keys) = keys {
        media
            .attributes
            .push(attribute("key-mgmt", keys.attribute()));
    }
    if let Some(ssrc) = stream.ssrc {
        let source = |ssrc: u32| attribute("ssrc", format!("{ssrc} cname:{}", common.cname));
        if let Some(rtx) = rtx {
            let group = attribute("ssrc-group", format!("FID {ssrc} {}", rtx.ssrc));
            media.attributes.push(group);
        }
        media.attributes.push(source(ssrc));
        media.attributes.extend(rtx.map(|rtx| source(rtx.ssrc)));
    }
    media
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtsp::sdp::write::Format;

    fn stream(kind: &str, payload_type: u8, ssrc: Option<u32>) -> StreamDescription {
        StreamDescription {
            stream: 0,
            name: "sink_0".into(),
            media: MediaDescription {
                kind: kind.into(),
                profile: Profile::Avp,
                formats: vec![Format {
                    payload_type,
                    encoding_name: "H264".into(),
                    clock_rate: 90_000,
                    channels: None,
                    parameters: Vec::new(),
                    feedback: Vec::new(),
                }],
                bandwidth: None,
                attributes: Vec::new(),
                control: String::new(),
            },
            ssrc,
            exact: true,
        }
    }

    fn common(profile: Profile) -> Common<'static> {
        Common {
            id: 1,
            version: 2,
            address: IpAddr::from([127, 0, 0, 1]),
            cname: "name",
            profile,
            rtx_time: Duration::from_millis(500),
        }
    }

    #[test]
    fn retransmission_gets_payload_types_that_no_stream_uses() {
        let streams = [
            stream("video", 96, None),
            stream("audio", 98, None),
            stream("audio", 0, None),
        ];
        assert_eq!(rtx_payload_types(&streams), [Some(97), Some(99), Some(100)]);
    }

    // covers: P-PUB-03
    #[test]
    fn every_stream_has_a_control_url_of_its_own_and_names_its_source() {
        let streams = [stream("video", 96, Some(7)), stream("audio", 97, None)];
        let text = text(
            &common(Profile::Avp),
            streams.iter().map(|s| (s, None, None)),
        )
        .unwrap();
        for line in [
            "o=- 1 2 IN IP4 127.0.0.1\r\n",
            "m=video 0 RTP/AVP 96\r\n",
            "a=control:streamid=0\r\n",
            "a=ssrc:7 cname:name\r\n",
            "m=audio 0 RTP/AVP 97\r\n",
            "a=control:streamid=1\r\n",
        ] {
            assert!(text.contains(line), "{line:?} in {text}");
        }
        assert!(!text.contains("rtcp-fb") && !text.contains("FID"), "{text}");
    }

    #[test]
    fn feedback_and_retransmission_are_announced_together() {
        let stream = stream("video", 96, Some(7));
        let rtx = Rtx {
            payload_type: 97,
            ssrc: 8,
        };
        let text = text(
            &common(Profile::Avpf),
            std::iter::once((&stream, Some(rtx), None)),
        )
        .unwrap();
        for line in [
            "m=video 0 RTP/AVPF 96 97\r\n",
            "a=rtcp-fb:96 nack\r\n",
            "a=rtcp-fb:96 nack pli\r\n",
            "a=rtcp-fb:96 ccm fir\r\n",
            "a=rtpmap:97 rtx/90000\r\n",
            "a=ssrc-group:FID 7 8\r\n",
            "a=ssrc:8 cname:name\r\n",
        ] {
            assert!(text.contains(line), "{line:?} in {text}");
        }
    }
}
