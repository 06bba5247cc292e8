//! Where decoding can start, seen from the RTP payload.

/// The encodings whose key frames are known; every packet of another one is
/// taken for a place to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    H264,
    H265,
    Vp8,
    Vp9,
    Av1,
    Other,
}

const NAMES: [(&str, Encoding); 5] = [
    ("H264", Encoding::H264),
    ("H265", Encoding::H265),
    ("VP8", Encoding::Vp8),
    ("VP9", Encoding::Vp9),
    ("AV1", Encoding::Av1),
];

impl Encoding {
    pub fn from_name(name: &str) -> Self {
        let known = |(known, _): &&(&str, Self)| name.eq_ignore_ascii_case(known);
        NAMES
            .iter()
            .find(known)
            .map_or(Encoding::Other, |(_, encoding)| *encoding)
    }

    /// Whether a packet with this payload starts an access unit from which
    /// decoding can start: parameter sets or the first slice of a key frame.
    pub fn starts_key_frame(self, payload: &[u8]) -> bool {
        match self {
            Encoding::H264 => h264(payload),
            Encoding::H265 => h265(payload),
            Encoding::Vp8 => vp8(payload).unwrap_or(false),
            Encoding::Vp9 => vp9(payload).unwrap_or(false),
            // First of a coded video sequence (RTP payload format for AV1, §4.4).
            Encoding::Av1 => payload.first().is_some_and(|header| header & 0x08 != 0),
            Encoding::Other => true,
        }
    }
}

/// RFC 6184 §5.4, §5.6–§5.8.
fn h264(payload: &[u8]) -> bool {
    let starts = |header: u8| matches!(header & 0x1f, 5 | 7);
    let Some(&header) = payload.first() else {
        return false;
    };
    match header & 0x1f {
        // STAP-A: the first unit stands behind its 16-bit size.
        24 => payload.get(3).is_some_and(|&unit| starts(unit)),
        // FU-A, its first fragment.
        28 => payload
            .get(1)
            .is_some_and(|&fu| fu & 0x80 != 0 && starts(fu)),
        _ => starts(header),
    }
}

/// RFC 7798 §4.4.1–§4.4.3.
fn h265(payload: &[u8]) -> bool {
    let starts = |kind: u8| matches!(kind, 16..=21 | 32..=34);
    let kind = |header: u8| (header >> 1) & 0x3f;
    let Some(&header) = payload.first() else {
        return false;
    };
    match kind(header) {
        48 => payload.get(4).is_some_and(|&unit| starts(kind(unit))),
        49 => payload
            .get(2)
            .is_some_and(|&fu| fu & 0x80 != 0 && starts(fu & 0x3f)),
        other => starts(other),
    }
}

/// RFC 7741 §4.2, §4.3: what follows the descriptor of a frame's first packet
/// says whether it depends on others.
fn vp8(payload: &[u8]) -> Option<bool> {
    let (&descriptor, mut rest) = payload.split_first()?;
    let starts = descriptor & 0x17 == 0x10;
    if descriptor & 0x80 != 0 {
        let (&extension, after) = rest.split_first()?;
        let picture_id = match extension & 0x80 {
            0 => 0,
            _ => picture_id(after)?,
        };
        // TL0PICIDX, and one octet for TID and KEYIDX.
        let level = usize::from(extension & 0x40 != 0);
        let layer = usize::from(extension & 0x30 != 0);
        let skipped = picture_id.saturating_add(level).saturating_add(layer);
        rest = after.get(skipped..)?;
    }
    Some(starts && rest.first()? & 1 == 0)
}

/// RFC 9628 §4.2: the start of a frame that depends on no earlier one, in the
/// lowest spatial layer.
fn vp9(payload: &[u8]) -> Option<bool> {
    let (&descriptor, rest) = payload.split_first()?;
    let starts = descriptor & 0x48 == 0x08;
    if !starts || descriptor & 0x20 == 0 {
        return Some(starts);
    }
    let skipped = match descriptor & 0x80 {
        0 => 0,
        _ => picture_id(rest)?,
    };
    Some(rest.get(skipped)? & 0x0e == 0)
}

/// Octets of a picture ID of 7 or 15 bits.
fn picture_id(data: &[u8]) -> Option<usize> {
    Some(if data.first()? & 0x80 != 0 { 2 } else { 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_known_by_name_in_any_case() {
        for (name, encoding) in [("h264", Encoding::H264), ("VP8", Encoding::Vp8)] {
            assert_eq!(Encoding::from_name(name), encoding);
        }
        assert_eq!(Encoding::from_name("VP80"), Encoding::Other);
    }

    #[test]
    fn key_frames_are_seen_in_every_packetization() {
        let cases: &[(Encoding, &[u8], bool)] = &[
            (Encoding::H264, &[0x65, 0], true),
            (Encoding::H264, &[0x67, 0], true),
            (Encoding::H264, &[0x41, 0], false),
            (Encoding::H264, &[0x78, 0, 4, 0x67, 1, 2, 3], true),
            (Encoding::H264, &[0x78, 0, 4, 0x41, 1, 2, 3], false),
            (Encoding::H264, &[0x7c, 0x85], true),
            (Encoding::H264, &[0x7c, 0x05], false),
            (Encoding::H265, &[32 << 1, 1], true),
            (Encoding::H265, &[19 << 1, 1], true),
            (Encoding::H265, &[1 << 1, 1], false),
            (Encoding::H265, &[48 << 1, 1, 0, 4, 32 << 1, 1], true),
            (Encoding::H265, &[49 << 1, 1, 0x80 | 19], true),
            (Encoding::H265, &[49 << 1, 1, 19], false),
            (Encoding::Vp8, &[0x10, 0xf0, 0x5a], true),
            (Encoding::Vp8, &[0x10, 0xb1, 0x09], false),
            (Encoding::Vp8, &[0x00, 0x76, 0xfe], false),
            // Another partition of the frame.
            (Encoding::Vp8, &[0x11, 0xf0], false),
            (Encoding::Vp8, &[0x90, 0x80, 0x12, 0xf0], true),
            (Encoding::Vp8, &[0x90, 0x80, 0x92, 0x01, 0xf0], true),
            (
                Encoding::Vp8,
                &[0x90, 0xe0, 0x92, 0x01, 3, 0x20, 0xf1],
                false,
            ),
            (
                Encoding::Vp8,
                &[0x90, 0xe0, 0x92, 0x01, 3, 0x20, 0xf0],
                true,
            ),
            (Encoding::Vp8, &[0x90, 0xe0, 0x92], false),
            (Encoding::Vp9, &[0x0a, 0x18, 0x01], true),
            (Encoding::Vp9, &[0x00, 0x78], false),
            (Encoding::Vp9, &[0x48, 0xb3], false),
            (Encoding::Vp9, &[0xa8, 0x81, 0x01, 0x00, 0x00], true),
            // The second spatial layer of a key picture.
            (Encoding::Vp9, &[0xa8, 0x12, 0x03, 0x00], false),
            (Encoding::Vp9, &[0xa8], false),
            (Encoding::Av1, &[0x18, 0x0a], true),
            (Encoding::Av1, &[0x10, 0x32], false),
            (Encoding::Vp8, &[], false),
            (Encoding::Av1, &[], false),
            (Encoding::Other, &[], true),
            (Encoding::H264, &[], false),
            (Encoding::H265, &[], false),
        ];
        for (encoding, payload, key) in cases {
            assert_eq!(
                encoding.starts_key_frame(payload),
                *key,
                "{encoding:?} {payload:x?}"
            );
        }
    }
}
