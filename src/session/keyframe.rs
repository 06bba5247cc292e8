//! Where decoding can start, seen from the RTP payload.

/// The encodings whose key frames are known; every packet of another one is
/// taken for a place to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    H264,
    H265,
    Other,
}

impl Encoding {
    pub fn from_name(name: &str) -> Self {
        if name.eq_ignore_ascii_case("H264") {
            Encoding::H264
        } else if name.eq_ignore_ascii_case("H265") {
            Encoding::H265
        } else {
            Encoding::Other
        }
    }

    /// Whether a packet with this payload starts an access unit from which
    /// decoding can start: parameter sets or the first slice of a key frame.
    pub fn starts_key_frame(self, payload: &[u8]) -> bool {
        match self {
            Encoding::H264 => h264(payload),
            Encoding::H265 => h265(payload),
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

#[cfg(test)]
mod tests {
    use super::*;

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
