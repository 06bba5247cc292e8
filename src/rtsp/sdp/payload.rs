//! What a media section says about its payload types: rtpmap, fmtp, rtcp-fb.

use super::Media;
use super::parse::parse_payload_type;
use crate::rtsp::limits;

/// Encoding of a payload type (RFC 8866 §6.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtpMap {
    pub payload_type: u8,
    /// As written; compare without case.
    pub encoding_name: String,
    /// Never 0.
    pub clock_rate: u32,
    /// Audio channels, if they are given.
    pub channels: Option<u8>,
}

/// A retransmission payload type (RFC 4588 §8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rtx {
    pub payload_type: u8,
    /// Payload type of the packets that it repeats (`apt`).
    pub associated: u8,
    /// How long the sender keeps packets, in milliseconds.
    pub rtx_time: Option<u32>,
}

/// The types that RFC 3551 §6 assigns: type, name, clock rate, channels.
const STATIC: &[(u8, &str, u32, Option<u8>)] = &[
    (0, "PCMU", 8000, None),
    (3, "GSM", 8000, None),
    (4, "G723", 8000, None),
    (5, "DVI4", 8000, None),
    (6, "DVI4", 16000, None),
    (7, "LPC", 8000, None),
    (8, "PCMA", 8000, None),
    (9, "G722", 8000, None),
    (10, "L16", 44100, Some(2)),
    (11, "L16", 44100, Some(1)),
    (12, "QCELP", 8000, None),
    (13, "CN", 8000, None),
    (14, "MPA", 90000, None),
    (15, "G728", 8000, None),
    (16, "DVI4", 11025, None),
    (17, "DVI4", 22050, None),
    (18, "G729", 8000, None),
    (25, "CelB", 90000, None),
    (26, "JPEG", 90000, None),
    (28, "nv", 90000, None),
    (31, "H261", 90000, None),
    (32, "MPV", 90000, None),
    (33, "MP2T", 90000, None),
    (34, "H263", 90000, None),
];

/// Clock rate for an rtpmap that has none (some devices leave it out).
fn usual_clock_rate(kind: &str, name: &str) -> Option<u32> {
    if kind == "video" || kind == "application" {
        return Some(90000);
    }
    if name.eq_ignore_ascii_case("opus") {
        return Some(48000);
    }
    STATIC
        .iter()
        .find(|(_, n, ..)| n.eq_ignore_ascii_case(name))
        .map(|(_, _, rate, _)| *rate)
}

impl Media {
    /// The encoding of a payload type of the `m=` line: its rtpmap, which is
    /// trusted for static types too, else what RFC 3551 assigns.
    pub fn rtpmap(&self, payload_type: u8) -> Option<RtpMap> {
        if !self.formats.contains(&payload_type) {
            return None;
        }
        let map = self.attrs("rtpmap").find_map(|value| {
            let (pt, encoding) = value.split_once([' ', '\t'])?;
            (parse_payload_type(pt.trim()) == Some(payload_type))
                .then(|| self.parse_encoding(payload_type, encoding))?
        });
        map.or_else(|| {
            let (pt, name, clock_rate, channels) =
                STATIC.iter().find(|(pt, ..)| *pt == payload_type)?;
            Some(RtpMap {
                payload_type: *pt,
                encoding_name: name.to_string(),
                clock_rate: *clock_rate,
                channels: *channels,
            })
        })
    }

    /// The encodings of all formats that have one, in order of preference.
    pub fn rtpmaps(&self) -> Vec<RtpMap> {
        self.formats
            .iter()
            .filter_map(|pt| self.rtpmap(*pt))
            .collect()
    }

    /// Whether an rtpmap leaves out the clock rate.
    pub(super) fn lacks_clock_rate(&self) -> bool {
        self.attrs("rtpmap").any(|value| {
            let encoding = value
                .split_once([' ', '\t'])
                .map(|(_, encoding)| encoding.trim());
            encoding.is_some_and(|encoding| !encoding.is_empty() && !encoding.contains('/'))
        })
    }

    fn parse_encoding(&self, payload_type: u8, encoding: &str) -> Option<RtpMap> {
        let mut parts = encoding.split('/').map(str::trim);
        let name = parts.next().filter(|name| !name.is_empty())?;
        let clock_rate = parts
            .next()
            .and_then(|rate| rate.parse().ok())
            .filter(|rate| *rate != 0)
            .or_else(|| usual_clock_rate(&self.kind, name))?;
        // The third part counts channels for audio only (RFC 8866 §6.6).
        let channels = parts
            .next()
            .filter(|_| self.kind == "audio")
            .and_then(|channels| channels.parse().ok())
            .filter(|channels| *channels != 0);
        Some(RtpMap {
            payload_type,
            encoding_name: name.to_string(),
            clock_rate,
            channels,
        })
    }

    /// Format parameters of a payload type of the `m=` line. Names are in lower
    /// case, a parameter without value is "1", the first of a name counts.
    pub fn fmtp(&self, payload_type: u8) -> Vec<(String, String)> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        if !self.formats.contains(&payload_type) {
            return parameters;
        }
        let lines = self.attrs("fmtp").filter_map(|line| {
            let (pt, text) = line.split_once([' ', '\t'])?;
            (parse_payload_type(pt.trim()) == Some(payload_type)).then_some(text)
        });
        let items = lines.flat_map(|line| line.split(';')).map(str::trim);
        for item in items
            .filter(|item| !item.is_empty())
            .take(limits::SDP_FORMAT_PARAMETERS)
        {
            // Base64 ends in `=`: only the first one separates.
            let (name, value) = item.split_once('=').unwrap_or((item, "1"));
            let name = name.trim_end().to_ascii_lowercase();
            if !name.is_empty() && parameters.iter().all(|(known, _)| *known != name) {
                parameters.push((name, value.trim_start().to_string()));
            }
        }
        parameters
    }

    /// RTCP feedback that a payload type takes, such as `nack pli`, blanks
    /// normalised (RFC 4585 §4.2). Types that are not known are left out.
    pub fn rtcp_fb(&self, payload_type: u8) -> Vec<String> {
        let mut feedback: Vec<String> = Vec::new();
        for value in self.attrs("rtcp-fb") {
            let mut tokens = value.split_ascii_whitespace();
            let Some(pt) = tokens.next() else { continue };
            if pt != "*" && parse_payload_type(pt) != Some(payload_type) {
                continue;
            }
            let text = tokens
                .map(str::to_ascii_lowercase)
                .collect::<Vec<_>>()
                .join(" ");
            let kind = text.split(' ').next().unwrap_or_default();
            let known = matches!(
                kind,
                "ack" | "nack" | "trr-int" | "ccm" | "transport-cc" | "goog-remb"
            );
            if known && feedback.len() < limits::SDP_FORMAT_PARAMETERS && !feedback.contains(&text)
            {
                feedback.push(text);
            }
        }
        feedback
    }

    /// The retransmission payload types with what they repeat.
    pub fn rtx(&self) -> Vec<Rtx> {
        let maps = self.rtpmaps();
        let rtx = maps
            .iter()
            .filter(|map| map.encoding_name.eq_ignore_ascii_case("rtx"));
        rtx.filter_map(|map| {
            let fmtp = self.fmtp(map.payload_type);
            let value = |key| {
                fmtp.iter()
                    .find(|(name, _)| name == key)
                    .map(|(_, v)| v.as_str())
            };
            let associated = parse_payload_type(value("apt")?)?;
            self.formats.contains(&associated).then(|| Rtx {
                payload_type: map.payload_type,
                associated,
                rtx_time: value("rtx-time").and_then(|time| time.parse().ok()),
            })
        })
        .collect()
    }

    /// `a=framesize` of a payload type as `width-height` (RFC 6064 §6.1).
    pub fn framesize(&self, payload_type: u8) -> Option<&str> {
        self.attrs("framesize")
            .find_map(|value| {
                let (pt, size) = value.split_once([' ', '\t'])?;
                (parse_payload_type(pt) == Some(payload_type)).then_some(size.trim())
            })
            .filter(|size| super::attributes::is_size(size, '-'))
    }
}
