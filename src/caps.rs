//! SDP media to GStreamer caps and, for publishing, back; the only place that knows both.
//!
//! The fields are those that `gst_sdp_media_get_caps_from_media()` and
//! `rtspsrc` set, since depayloaders and the jitter buffer look for them.

mod announce;
mod keys;
mod names;

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::rtsp::limits;
use crate::rtsp::sdp::{self, Attribute, Media, RtpMap, Session};

use names::NAMES;

pub use announce::{Announced, announced};
pub use keys::keys;

/// Encodings that accompany a media and get no pad of their own.
const AUXILIARY: &[&str] = &[
    "RTX",
    "RED",
    "ULPFEC",
    "X-ULPFECUC",
    "FLEXFEC",
    "FLEXFEC-03",
    "PARITYFEC",
    "TELEPHONE-EVENT",
    "TONE",
    "CN",
];

/// Attributes that are not copied: they have a field of their own or say
/// nothing to elements downstream.
const NOT_COPIED: &[&str] = &[
    "fmtp",
    "rtpmap",
    "control",
    "range",
    "framesize",
    "key-mgmt",
    "crypto",
    "extmap",
    "ssrc",
    "rid",
    "rtcp-fb",
    "source-filter",
];

/// Format parameters that would overwrite what `m=` and rtpmap say.
const RESERVED: &[&str] = &[
    "media",
    "payload",
    "clock-rate",
    "encoding-name",
    "encoding-params",
];

/// What the replies to SETUP and PLAY add to the caps of a pad. A field that
/// is `None` is removed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PlayFields {
    pub ssrc: Option<u32>,
    pub seqnum_base: Option<u16>,
    pub clock_base: Option<u32>,
    pub npt_start: Option<gst::ClockTime>,
    pub npt_stop: Option<gst::ClockTime>,
    pub play_speed: Option<f64>,
    pub play_scale: Option<f64>,
    /// Depayloaders are to take the SEGMENT as it is, and not to make one of these fields. That
    /// is what they do in what they call ONVIF mode.
    pub segment_as_is: Option<bool>,
}

/// Caps of the pad of a media: those of its first payload type that is media
/// itself. `None`: no element could use it.
pub fn media_caps(session: &Session, media: &Media) -> Option<gst::Caps> {
    let payload_types = pad_payload_types(media);
    payload_types
        .iter()
        .find_map(|pt| payload_caps(session, media, *pt))
}

/// The payload types of a media that its pad carries, in order of preference:
/// all but retransmission, error correction and telephone events, unless there
/// is nothing else.
pub fn pad_payload_types(media: &Media) -> Vec<u8> {
    let maps = media.rtpmaps();
    let is_auxiliary = |map: &RtpMap| {
        AUXILIARY
            .iter()
            .any(|name| map.encoding_name.eq_ignore_ascii_case(name))
    };
    let types = |wanted: &dyn Fn(&RtpMap) -> bool| -> Vec<u8> {
        maps.iter()
            .filter(|map| wanted(map))
            .map(|map| map.payload_type)
            .collect()
    };
    let main = types(&|map| !is_auxiliary(map));
    if main.is_empty() {
        types(&|_| true)
    } else {
        main
    }
}

/// Caps of one payload type. `None`: it has no known encoding, or a clock rate
/// that caps cannot hold.
pub fn payload_caps(session: &Session, media: &Media, payload_type: u8) -> Option<gst::Caps> {
    let map = media.rtpmap(payload_type)?;
    let clock_rate = i32::try_from(map.clock_rate).ok()?;
    // Of a secured media too: its packets come out in clear.
    let mut s = gst::Structure::new_empty("application/x-rtp");
    let encoding_name = map.encoding_name.to_ascii_uppercase();
    if encoding_name == "X-WMS-RTX" {
        // Retransmissions of Windows Media Services, which are no media ([MS-RTSP]).
        return None;
    }
    s.set("media", media.kind.as_str());
    s.set("payload", i32::from(payload_type));
    s.set("clock-rate", clock_rate);
    s.set("encoding-name", encoding_name.as_str());
    if let Some(channels) = map.channels {
        s.set("encoding-params", channels.to_string());
    }

    set_format_parameters(&mut s, media, payload_type, &encoding_name);
    if encoding_name == "X-ASF-PF" {
        set_asf_header(&mut s, session);
    }
    if let Some(size) = media.framesize(payload_type) {
        s.set("a-framesize", size);
    }
    for feedback in media.rtcp_fb(payload_type) {
        set_checked(
            &mut s,
            &format!("rtcp-fb-{}", feedback.replace(' ', "-")),
            true,
        );
    }
    set_attributes(&mut s, session, media);
    set_extmaps(&mut s, session, media);
    set_sources(&mut s, media);
    Some(gst::Caps::from(s))
}

/// The caps with what the replies to SETUP and PLAY say.
pub fn with_play_fields(caps: &gst::Caps, fields: &PlayFields) -> gst::Caps {
    fn put<T: Into<glib::Value> + Send>(s: &mut gst::StructureRef, name: &str, value: Option<T>) {
        match value {
            Some(value) => s.set(name, value),
            None => s.remove_field(name),
        }
    }
    let mut caps = caps.copy();
    for s in caps.make_mut().iter_mut() {
        put(s, "ssrc", fields.ssrc);
        put(s, "seqnum-base", fields.seqnum_base.map(u32::from));
        put(s, "clock-base", fields.clock_base);
        put(
            s,
            "npt-start",
            fields.npt_start.map(gst::ClockTime::nseconds),
        );
        put(s, "npt-stop", fields.npt_stop.map(gst::ClockTime::nseconds));
        put(s, "play-speed", fields.play_speed);
        put(s, "play-scale", fields.play_scale);
        put(s, "onvif-mode", fields.segment_as_is);
    }
    caps
}

/// What rtpasfdepay needs to know of Windows Media Services: the size of the
/// packets, and the header of the file, which comes in the description only
/// ([MS-RTSP], `a=maxps`, `a=pgmpu`).
fn set_asf_header(s: &mut gst::StructureRef, session: &Session) {
    const HEADER: &str = "data:application/vnd.ms.wms-hdr.asfv1;base64,";
    if let Some(size) = session.attr("maxps") {
        set_checked(s, "maxps", size);
    }
    let header = session
        .attrs("pgmpu")
        .find_map(|value| value.strip_prefix(HEADER));
    if let Some(header) = header {
        set_checked(s, "config", header.trim());
    }
}

/// Sets a field whose name or value comes from the network, if it may have that name.
fn set_checked(s: &mut gst::StructureRef, name: &str, value: impl Into<glib::Value> + Send) {
    if NAMES.admit(name) {
        s.set(name, value);
    }
}

/// Text that was not UTF-8 in the description is of no use downstream.
fn is_clean(text: &str) -> bool {
    !text.contains(char::REPLACEMENT_CHARACTER)
}

fn set_format_parameters(
    s: &mut gst::StructureRef,
    media: &Media,
    payload_type: u8,
    encoding_name: &str,
) {
    let parameters = media.fmtp(payload_type);
    let get = |key: &str| {
        parameters
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, v)| v.as_str())
    };
    // A receiver that takes any level must not be held to the one of the
    // sender: the profile stands instead (RFC 6184 §8.1).
    let profile = match (
        encoding_name,
        get("level-asymmetry-allowed"),
        get("profile-level-id"),
    ) {
        ("H264", Some("1"), Some(id)) => h264_profile(id),
        _ => None,
    };
    for (name, value) in &parameters {
        let replaced = profile.is_some()
            && matches!(
                name.as_str(),
                "level-asymmetry-allowed" | "profile-level-id"
            );
        if replaced || RESERVED.contains(&name.as_str()) || !is_clean(value) {
            continue;
        }
        match parameter_set_types(encoding_name, name) {
            Some(types) => {
                let sets = parameter_sets(value, encoding_name, types);
                if !sets.is_empty() {
                    s.set(name.as_str(), sets);
                }
            }
            None => set_checked(s, name, value.as_str()),
        }
    }
    if let Some(profile) = profile {
        s.set("profile", profile);
    }
}

/// The NAL unit types that a format parameter may hold, if it is one of
/// parameter sets.
fn parameter_set_types(encoding_name: &str, parameter: &str) -> Option<&'static [u8]> {
    match (encoding_name, parameter) {
        // SPS, PPS, SPS extension, subset SPS (H.264 table 7-1).
        ("H264", "sprop-parameter-sets") => Some(&[7, 8, 13, 15]),
        // (H.265 table 7-1)
        ("H265", "sprop-vps") => Some(&[32]),
        ("H265", "sprop-sps") => Some(&[33]),
        ("H265", "sprop-pps") => Some(&[34]),
        _ => None,
    }
}

/// Whether the description of a media has parameter sets that are none, or not
/// as they should be.
pub fn has_odd_parameter_sets(media: &Media) -> bool {
    media.rtpmaps().iter().any(|map| {
        let encoding_name = map.encoding_name.to_ascii_uppercase();
        media.fmtp(map.payload_type).iter().any(|(name, value)| {
            parameter_set_types(&encoding_name, name).is_some_and(|types| {
                let given: Vec<&str> = value.split(',').map(str::trim).collect();
                parameter_sets(value, &encoding_name, types) != given.join(",")
            })
        })
    })
}

/// The parameter sets that are ones. A depayloader gives up on bad ones, while
/// nearly all devices repeat good ones in the stream.
fn parameter_sets(value: &str, encoding_name: &str, types: &[u8]) -> String {
    // Devices forget the padding.
    let lenient = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let engine = GeneralPurpose::new(&base64::alphabet::STANDARD, lenient);
    let is_valid = |nal: &[u8]| {
        let nal_type = match nal.first() {
            Some(first) if encoding_name == "H264" => first & 0x1f,
            Some(first) => (first >> 1) & 0x3f,
            None => return false,
        };
        // An SPS or VPS has at least profile and level after its header.
        let needed = if matches!(nal_type, 8 | 34) { 2 } else { 4 };
        nal.len() >= needed && types.contains(&nal_type)
    };
    let mut sets = Vec::new();
    for set in value.split(',').map(str::trim) {
        let decoded = engine.decode(set).unwrap_or_default();
        match split_at_start_codes(&decoded).as_slice() {
            [nal] if is_valid(nal) => sets.push(set.to_string()),
            [_] => {}
            nals => {
                let valid = nals.iter().filter(|nal| is_valid(nal));
                sets.extend(valid.map(|nal| engine.encode(nal)));
            }
        }
    }
    sets.join(",")
}

/// The NAL units between start codes (H.264 annex B), which some devices leave
/// in; what is before the first is a unit as well.
fn split_at_start_codes(bytes: &[u8]) -> Vec<&[u8]> {
    let (mut units, mut rest) = (Vec::new(), bytes);
    while let Some((unit, after)) = rest
        .windows(3)
        .position(|code| code == [0, 0, 1])
        .and_then(|at| rest.split_at_checked(at))
    {
        // A zero before the code belongs to it.
        units.push(unit.strip_suffix(&[0]).unwrap_or(unit));
        rest = after.get(3..).unwrap_or_default();
    }
    units.push(rest);
    units
}

/// Name of the profile in a profile-level-id (H.264 §A.2).
fn h264_profile(profile_level_id: &str) -> Option<&'static str> {
    let id = u32::from_str_radix(profile_level_id, 16)
        .ok()
        .filter(|id| *id <= 0xff_ffff)?;
    let [_, profile, constraints, _] = id.to_be_bytes();
    let constraint = |n: u32| constraints & (0x80_u8 >> n) != 0;
    Some(match profile {
        66 if constraint(1) => "constrained-baseline",
        66 => "baseline",
        77 => "main",
        88 => "extended",
        100 if constraint(4) && constraint(5) => "constrained-high",
        100 if constraint(4) => "progressive-high",
        100 => "high",
        110 if constraint(3) => "high-10-intra",
        110 if constraint(4) => "progressive-high-10",
        110 => "high-10",
        122 if constraint(3) => "high-4:2:2-intra",
        122 => "high-4:2:2",
        244 if constraint(3) => "high-4:4:4-intra",
        244 => "high-4:4:4",
        44 => "cavlc-4:4:4-intra",
        _ => return None,
    })
}

/// Copies the other attributes as `a-<key>`; `x-<key>` keeps its name. Those
/// of the media come first and override the session's.
fn set_attributes(s: &mut gst::StructureRef, session: &Session, media: &Media) {
    let mut seen: HashSet<&str> = HashSet::new();
    let copied = |attribute: &&Attribute| {
        let value = attribute.value.as_deref().unwrap_or("");
        !NOT_COPIED
            .iter()
            .any(|key| attribute.key.eq_ignore_ascii_case(key))
            && is_clean(value)
            && sdp::is_plausible_hint(&attribute.key, value)
    };
    let attributes = media
        .attributes
        .iter()
        .chain(&session.attributes)
        .filter(copied);
    for attribute in attributes.take(limits::CAPS_ATTRIBUTES) {
        if seen.insert(&attribute.key) {
            let value = attribute.value.as_deref().unwrap_or("");
            if attribute.key.starts_with("x-") {
                set_checked(s, &attribute.key, value);
            } else {
                set_checked(s, &format!("a-{}", attribute.key), value);
            }
        }
    }
    for value in media
        .attrs("rid")
        .filter(|value| is_clean(value))
        .take(limits::CAPS_ATTRIBUTES)
    {
        let (id, rest) = value.split_once(' ').unwrap_or((value, ""));
        let parts: Vec<&str> = rest
            .split([' ', ';'])
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .collect();
        let name = format!("rid-{id}");
        match parts.as_slice() {
            [] => {}
            [direction] => set_checked(s, &name, *direction),
            parts => set_checked(s, &name, gst::Array::new(parts)),
        }
    }
}

fn set_extmaps(s: &mut gst::StructureRef, session: &Session, media: &Media) {
    // 15 ends the list in the one-byte form (RFC 8285 §4.2).
    for map in media
        .extmaps(session)
        .iter()
        .filter(|map| map.id != 15 && is_clean(&map.uri))
    {
        let name = format!("extmap-{}", map.id);
        if map.direction.is_none() && map.attributes.is_none() {
            s.set(name, map.uri.as_str());
        } else {
            let direction = map.direction.as_deref().unwrap_or("");
            let attributes = map.attributes.as_deref().unwrap_or("");
            s.set(
                name,
                gst::Array::new([direction, map.uri.as_str(), attributes]),
            );
        }
    }
}

fn set_sources(s: &mut gst::StructureRef, media: &Media) {
    for source in media.ssrc_attributes().take(limits::CAPS_ATTRIBUTES) {
        if let Some(value) = source.value.filter(|value| is_clean(value)) {
            set_checked(s, &format!("ssrc-{}-{}", source.ssrc, source.name), value);
        }
    }
}

#[cfg(test)]
mod tests;
