//! Retransmitted packets back to what they were (RFC 4588).

use super::packet::RtpPacket;
use crate::rtsp::limits;

/// What the description says of the retransmission of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Payload types of retransmission and the original ones (`apt`, RFC 4588 §8.1).
    pub apt: Vec<(u8, u8)>,
    /// Original and retransmission sources of `a=ssrc-group:FID` (RFC 5576 §4.2).
    pub fid: Vec<(u32, u32)>,
}

/// Undoes the retransmission payload format of one stream.
#[derive(Debug)]
pub struct Unwrapper {
    apt: Vec<(u8, u8)>,
    /// Retransmission source, original source.
    associated: Vec<(u32, u32)>,
}

impl Unwrapper {
    pub fn new(config: &Config) -> Self {
        Self {
            apt: config.apt.clone(),
            associated: config
                .fid
                .iter()
                .take(limits::RTX_SOURCES)
                .map(|(original, rtx)| (*rtx, *original))
                .collect(),
        }
    }

    /// Whether packets of this type are retransmissions.
    #[inline]
    pub fn is_rtx(&self, payload_type: u8) -> bool {
        self.apt.iter().any(|(rtx, _)| *rtx == payload_type)
    }

    /// The original packet that `data` carries (RFC 4588 §4): sequence number
    /// from the payload, type from `apt`, the other fields as they are.
    ///
    /// A source that no FID names is associated by the requests
    /// (RFC 4588 §5.3): `requested` gives the source whose packet of that
    /// number is the only one outstanding. Padding, whole or beside an empty
    /// payload, and strangers give `None`.
    pub fn unwrap(
        &mut self,
        data: &[u8],
        requested: impl FnOnce(u16) -> Option<u32>,
    ) -> Option<Vec<u8>> {
        let packet = RtpPacket::parse(data)?;
        let &(_, payload_type) = self
            .apt
            .iter()
            .find(|(rtx, _)| *rtx == packet.payload_type)?;
        let (osn, payload) = packet.payload.split_first_chunk::<2>()?;
        let ssrc = self.original(packet.ssrc, || requested(u16::from_be_bytes(*osn)))?;

        let (&[flags, marker, ..], after) = data.split_first_chunk::<12>()?;
        // CSRC list and extension: what lies between fixed header and payload.
        let extension = packet
            .extension
            .map_or(0, |(_, content)| content.len().saturating_add(4));
        let extra = packet.csrc.len().saturating_add(extension);
        let mut original = Vec::with_capacity(data.len());
        // The padding is left out, so its flag is too.
        original.extend([flags & !0x20, marker & 0x80 | payload_type & 0x7f]);
        original.extend(osn);
        original.extend(packet.timestamp.to_be_bytes());
        original.extend(ssrc.to_be_bytes());
        original.extend(after.get(..extra)?);
        original.extend(payload);
        Some(original)
    }

    fn original(&mut self, rtx: u32, requested: impl FnOnce() -> Option<u32>) -> Option<u32> {
        if let Some((_, original)) = self.associated.iter().find(|(source, _)| *source == rtx) {
            return Some(*original);
        }
        let original = requested()?;
        // The oldest guess goes; a stream has one retransmission source at a time.
        if self.associated.len() >= limits::RTX_SOURCES {
            self.associated.remove(0);
        }
        self.associated.push((rtx, original));
        Some(original)
    }

    /// There is another original source: the retransmission sources of others are
    /// strangers again.
    pub fn follow(&mut self, original: u32) {
        self.associated.retain(|(_, source)| *source == original);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ORIGINAL: u32 = 0x0a0a_0a0a;
    const RTX: u32 = 0x0b0b_0b0b;

    fn config() -> Config {
        Config {
            apt: vec![(97, 96), (99, 98)],
            fid: vec![(ORIGINAL, RTX)],
        }
    }

    fn rtx(flags: u8, second: u8, ssrc: u32, rest: &[u8]) -> Vec<u8> {
        let mut data = vec![0x80 | flags, second, 0, 1, 0, 0, 0, 9];
        data.extend(ssrc.to_be_bytes());
        data.extend(rest);
        data
    }

    // covers: B-RTX-01
    #[test]
    fn the_original_is_restored() {
        let mut unwrapper = Unwrapper::new(&config());
        let data = rtx(0, 0x80 | 97, RTX, &[0xab, 0xcd, 1, 2, 3]);
        let original = unwrapper.unwrap(&data, |_| None).unwrap();
        let expected = [
            0x80,
            0x80 | 96,
            0xab,
            0xcd,
            0,
            0,
            0,
            9,
            10,
            10,
            10,
            10,
            1,
            2,
            3,
        ];
        assert_eq!(original, expected);
        let data = rtx(0, 99, RTX, &[0, 5, 7]);
        let original = unwrapper.unwrap(&data, |_| None).unwrap();
        assert_eq!(original[..4], [0x80, 98, 0, 5]);
    }

    // covers: B-RTX-01
    #[test]
    fn csrc_and_extension_stay_and_padding_goes() {
        let mut unwrapper = Unwrapper::new(&config());
        let extra = [0, 0, 0, 42, 0xbe, 0xde, 0, 1, 0x10, 7, 0, 0];
        let rest = [&extra[..], &[0, 5, 1, 2, 0, 0, 3]].concat();
        let data = rtx(0x20 | 0x10 | 1, 97, RTX, &rest);
        let original = unwrapper.unwrap(&data, |_| None).unwrap();
        let packet = RtpPacket::parse(&original).unwrap();
        assert_eq!(packet.csrc, [0, 0, 0, 42]);
        assert_eq!(packet.extension, Some((0xbede, &[0x10, 7, 0, 0][..])));
        assert_eq!(
            (packet.payload, packet.sequence, packet.ssrc),
            (&[1u8, 2][..], 5, ORIGINAL)
        );
        assert_eq!(original.len(), 12 + extra.len() + 2);
    }

    // covers: B-RTX-01, H-40
    #[test]
    fn an_empty_payload_is_ignored() {
        let mut unwrapper = Unwrapper::new(&config());
        for rest in [&[][..], &[1]] {
            assert_eq!(unwrapper.unwrap(&rtx(0, 97, RTX, rest), |_| None), None);
        }
        // Nothing but padding.
        assert_eq!(
            unwrapper.unwrap(&rtx(0x20, 97, RTX, &[0, 0, 0, 4]), |_| None),
            None
        );
        assert_eq!(
            unwrapper.unwrap(&rtx(0x20, 97, RTX, &[0, 0, 0, 5]), |_| None),
            None
        );
        // An original without payload is a packet all the same.
        assert!(
            unwrapper
                .unwrap(&rtx(0, 97, RTX, &[0, 7]), |_| None)
                .is_some()
        );
    }

    // covers: B-RTX-01
    #[test]
    fn the_type_decides_what_a_retransmission_is() {
        let mut unwrapper = Unwrapper::new(&config());
        assert!(unwrapper.is_rtx(97) && unwrapper.is_rtx(99));
        assert!(!unwrapper.is_rtx(96) && !unwrapper.is_rtx(100));
        assert_eq!(
            unwrapper.unwrap(&rtx(0, 96, RTX, &[0, 1, 2]), |_| None),
            None
        );
    }

    // covers: B-RTX-02, B-RTX-05
    #[test]
    fn an_unnamed_source_is_associated_by_the_request() {
        let mut unwrapper = Unwrapper::new(&Config {
            fid: vec![],
            ..config()
        });
        let data = rtx(0, 97, 77, &[0, 5, 1]);
        assert_eq!(unwrapper.unwrap(&data, |_| None), None, "ambiguous");
        let requested = |seq| (seq == 5).then_some(ORIGINAL);
        assert!(unwrapper.unwrap(&data, requested).is_some());
        // Known from here on.
        let next = rtx(0, 97, 77, &[0, 6, 1]);
        let original = unwrapper.unwrap(&next, |_| None).unwrap();
        assert_eq!(RtpPacket::parse(&original).unwrap().ssrc, ORIGINAL);
        unwrapper.follow(ORIGINAL);
        assert!(unwrapper.unwrap(&next, |_| None).is_some());
        // Another source with the same retransmission source.
        unwrapper.follow(ORIGINAL + 1);
        assert_eq!(unwrapper.unwrap(&next, |_| None), None);
    }

    // covers: H-34
    #[test]
    fn associations_are_bounded() {
        let mut unwrapper = Unwrapper::new(&Config {
            fid: vec![],
            ..config()
        });
        for ssrc in 0..100 {
            let data = rtx(0, 97, ssrc, &[0, 5, 1]);
            assert!(unwrapper.unwrap(&data, |_| Some(ORIGINAL)).is_some());
        }
        assert_eq!(unwrapper.associated.len(), limits::RTX_SOURCES);
    }

    proptest! {
        // covers: H-40
        #[test]
        fn no_panic_on_arbitrary_bytes(mut data in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut unwrapper = Unwrapper::new(&config());
            if let [first, second, ..] = &mut data[..] {
                *first = *first & 0x3f | 0x80;
                *second = 97;
            }
            if let Some(original) = unwrapper.unwrap(&data, |_| Some(1)) {
                prop_assert!(RtpPacket::parse(&original).is_some());
                prop_assert!(original.len() + 2 <= data.len());
            }
        }
    }
}
