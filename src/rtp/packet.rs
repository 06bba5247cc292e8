//! A view of an RTP packet (RFC 3550 §5.1) and its header extension
//! (RFC 8285).

use super::ntp;

/// The profile of ONVIF's header extension for replay (ONVIF Streaming §6.3).
const ONVIF_REPLAY: u16 = 0xabac;

/// A valid RTP packet: header, CSRC list, extension and padding lie within it
/// (RFC 3550 §A.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpPacket<'a> {
    pub marker: bool,
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    /// The contributing sources, four octets each.
    pub csrc: &'a [u8],
    /// Profile and content of the header extension.
    pub extension: Option<(u16, &'a [u8])>,
    /// The payload without padding.
    pub payload: &'a [u8],
}

impl<'a> RtpPacket<'a> {
    /// The packet in `data`; `None` if it is not one of RTP version 2.
    #[inline]
    pub fn parse(data: &'a [u8]) -> Option<Self> {
        let (header, rest) = data.split_first_chunk::<12>()?;
        let [b0, b1, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *header;
        if b0 >> 6 != 2 {
            return None;
        }
        let csrc_len = usize::from(b0 & 0x0f).saturating_mul(4);
        let (csrc, mut payload) = rest.split_at_checked(csrc_len)?;
        let mut extension = None;
        if b0 & 0x10 != 0 {
            let (&[p0, p1, l0, l1], rest) = payload.split_first_chunk::<4>()?;
            let len = usize::from(u16::from_be_bytes([l0, l1])).saturating_mul(4);
            let (content, rest) = rest.split_at_checked(len)?;
            extension = Some((u16::from_be_bytes([p0, p1]), content));
            payload = rest;
        }
        if b0 & 0x20 != 0 {
            // The count includes itself, so it cannot be zero.
            let padding = usize::from(*payload.last()?);
            if padding == 0 {
                return None;
            }
            payload = payload.get(..payload.len().checked_sub(padding)?)?;
        }
        Some(Self {
            marker: b1 & 0x80 != 0,
            payload_type: b1 & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
            csrc,
            extension,
            payload,
        })
    }

    /// NTP time of the timestamp, as a header extension says it: ONVIF's own
    /// one, or that of RFC 6051 with this identifier. `near` is what is known of
    /// the sender's clock.
    pub fn ntp_time(&self, id: Option<u8>, near: impl FnOnce() -> Option<u64>) -> Option<u64> {
        let ntp = match self.extension? {
            // ONVIF Streaming §6.3: NTP time, flags and CSeq, in three words.
            (ONVIF_REPLAY, content) if content.len() >= 12 => {
                ntp::extension_64(content.first_chunk::<8>()?)?
            }
            _ => {
                let id = id?;
                let element = self.extension_elements().find(|element| element.id == id)?;
                match ntp::extension_64(element.data) {
                    Some(ntp) => ntp,
                    None => ntp::extension_56(element.data, near()?)?,
                }
            }
        };
        // 0 says that the sender has no notion of time.
        Some(ntp).filter(|ntp| *ntp != 0)
    }

    /// The elements of an RFC 8285 header extension; none of any other one.
    pub fn extension_elements(&self) -> ExtensionElements<'a> {
        let (form, rest) = match self.extension {
            Some((0xbede, content)) => (Form::OneByte, content),
            Some((0x1000..=0x100f, content)) => (Form::TwoByte, content),
            _ => (Form::OneByte, &[][..]),
        };
        ExtensionElements { form, rest }
    }
}

/// One element of a header extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtensionElement<'a> {
    pub id: u8,
    pub data: &'a [u8],
}

#[derive(Debug, Clone, Copy)]
enum Form {
    /// RFC 8285 §4.2
    OneByte,
    /// RFC 8285 §4.3
    TwoByte,
}

/// The elements of a header extension; what overruns ends them.
#[derive(Debug, Clone)]
pub struct ExtensionElements<'a> {
    form: Form,
    rest: &'a [u8],
}

impl<'a> ExtensionElements<'a> {
    fn element(&mut self) -> Option<ExtensionElement<'a>> {
        loop {
            let (&first, rest) = self.rest.split_first()?;
            let (id, len, rest) = match self.form {
                // A padding octet in either form.
                _ if first == 0 => {
                    self.rest = rest;
                    continue;
                }
                Form::OneByte => {
                    let id = first >> 4;
                    // Identifier 0 with a length, and 15, stop the parsing.
                    if id == 0 || id == 15 {
                        return None;
                    }
                    (id, usize::from(first & 0x0f).saturating_add(1), rest)
                }
                Form::TwoByte => {
                    let (&len, rest) = rest.split_first()?;
                    (first, usize::from(len), rest)
                }
            };
            let (data, rest) = rest.split_at_checked(len)?;
            self.rest = rest;
            return Some(ExtensionElement { id, data });
        }
    }
}

impl<'a> Iterator for ExtensionElements<'a> {
    type Item = ExtensionElement<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let element = self.element();
        if element.is_none() {
            self.rest = &[];
        }
        element
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(first: u8, rest: &[u8]) -> Vec<u8> {
        let mut data = vec![
            first,
            0x80 | 96,
            0x12,
            0x34,
            0,
            0,
            0,
            9,
            0xde,
            0xad,
            0xbe,
            0xef,
        ];
        data.extend_from_slice(rest);
        data
    }

    // covers: B-RTCP-01
    #[test]
    fn header_csrc_extension_and_padding_are_found() {
        let rest = [
            1, 1, 1, 1, 2, 2, 2, 2, // two CSRCs
            0xab, 0xac, 0, 1, 7, 7, 7, 7, // extension of one word
            b'p', b'a', b'y', 0, 2, // two octets of padding
        ];
        let data = packet(0x80 | 0x20 | 0x10 | 2, &rest);
        let p = RtpPacket::parse(&data).unwrap();
        assert!(p.marker);
        assert_eq!((p.payload_type, p.sequence), (96, 0x1234));
        assert_eq!((p.timestamp, p.ssrc), (9, 0xdead_beef));
        assert_eq!(p.csrc, [1, 1, 1, 1, 2, 2, 2, 2]);
        assert_eq!(p.extension, Some((0xabac, &[7, 7, 7, 7][..])));
        assert_eq!(p.payload, b"pay");
    }

    // covers: B-RTCP-01, H-34, H-40
    #[test]
    fn what_overruns_is_no_packet() {
        for len in 0..12 {
            assert_eq!(
                RtpPacket::parse(&packet(0x80, &[])[..len]),
                None,
                "{len} bytes"
            );
        }
        let cases: [(&str, u8, &[u8]); 8] = [
            ("version 0", 0x00, b"x"),
            ("version 1", 0x40, b"x"),
            ("version 3", 0xc0, b"x"),
            ("CSRCs", 0x81, b"xyz"),
            ("extension header", 0x90, &[0xbe, 0xde, 0]),
            ("extension", 0x90, &[0xbe, 0xde, 0xff, 0xff, 0]),
            ("padding", 0xa0, &[0, 0, 4]),
            ("padding of none", 0xa0, &[0, 0, 0]),
        ];
        for (what, first, rest) in cases {
            assert_eq!(RtpPacket::parse(&packet(first, rest)), None, "{what}");
        }
        let all_padding = packet(0xa0, &[0, 0, 3]);
        assert_eq!(RtpPacket::parse(&all_padding).unwrap().payload, b"");
        let empty = packet(0x80, &[]);
        assert_eq!(RtpPacket::parse(&empty).unwrap().payload, b"");
    }

    fn elements(profile: u16, content: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut rest = profile.to_be_bytes().to_vec();
        rest.extend_from_slice(&((content.len() / 4) as u16).to_be_bytes());
        rest.extend_from_slice(content);
        rest.push(b'x');
        let data = packet(0x90, &rest);
        let p = RtpPacket::parse(&data).unwrap();
        assert_eq!(p.payload, b"x");
        p.extension_elements()
            .map(|e| (e.id, e.data.to_vec()))
            .collect()
    }

    // covers: B-EXT-01, H-40
    #[test]
    fn one_byte_elements() {
        type Case = (&'static [u8], Vec<(u8, Vec<u8>)>);
        let cases: [Case; 5] = [
            (
                &[0x10, 5, 0x21, 6, 7, 0, 0, 0],
                vec![(1, vec![5]), (2, vec![6, 7])],
            ),
            // padding between elements
            (
                &[0x10, 5, 0, 0, 0, 0xe0, 9, 0],
                vec![(1, vec![5]), (14, vec![9])],
            ),
            // 15 stops
            (&[0x10, 5, 0xf0, 1, 0x10, 5, 0, 0], vec![(1, vec![5])]),
            // 0 with a length stops
            (&[0x10, 5, 0x01, 1, 0x10, 5, 0, 0], vec![(1, vec![5])]),
            // an overrun drops the rest, not the packet
            (&[0x10, 5, 0x2f, 1], vec![(1, vec![5])]),
        ];
        for (content, want) in cases {
            assert_eq!(elements(0xbede, content), want);
        }
    }

    // covers: B-EXT-02, H-40
    #[test]
    fn two_byte_elements_and_other_profiles() {
        let content = [1, 0, 0, 200, 2, 8, 9, 0];
        let want = vec![(1, vec![]), (200, vec![8, 9])];
        assert_eq!(elements(0x1000, &content), want);
        assert_eq!(elements(0x100f, &content), want);
        assert_eq!(elements(0x1000, &[1, 0, 7, 200]), vec![(1, vec![])]);
        assert_eq!(elements(0x1000, &[0, 0, 0, 7]), vec![]);
        for profile in [0xabac, 0xffd8, 0x1010, 0x0fff, 0] {
            assert_eq!(elements(profile, &content), vec![], "{profile:#x}");
        }
        assert_eq!(elements(0xabac, &[]), vec![]);
    }

    fn time_in(profile: u16, content: &[u8], id: Option<u8>) -> Option<u64> {
        let mut rest = profile.to_be_bytes().to_vec();
        rest.extend_from_slice(&((content.len() / 4) as u16).to_be_bytes());
        rest.extend_from_slice(content);
        let data = packet(0x90, &rest);
        let near = || Some(0xcde0_b3ad_0000_0000);
        RtpPacket::parse(&data).unwrap().ntp_time(id, near)
    }

    // covers: C-ONVIF-09, H-40
    #[test]
    fn the_time_of_onvifs_extension_is_read() {
        // 2009-06-15T11:49:00.440Z, C and D set, CSeq 123.
        let content = [
            0xcd, 0xe0, 0xb3, 0xac, 0x70, 0xa3, 0xd7, 0x0a, 0xa0, 0x7b, 0, 0,
        ];
        let ntp = 0xcde0_b3ac_70a3_d70a;
        assert_eq!(time_in(0xabac, &content, None), Some(ntp));
        let longer = [&content[..], &[0; 8]].concat();
        assert_eq!(time_in(0xabac, &longer, Some(1)), Some(ntp));
        for short in [0, 4, 8] {
            assert_eq!(time_in(0xabac, &content[..short], None), None, "{short}");
        }
        assert_eq!(time_in(0xabac, &[0; 12], None), None);
        assert_eq!(time_in(0xabad, &content, None), None);
    }

    // covers: B-EXT-04
    #[test]
    fn the_time_of_rfc_6051_is_read_by_its_identifier() {
        let ntp = 0xcde0_b3ac_70a3_d70a_u64;
        let long = [&[0x37][..], &ntp.to_be_bytes(), &[0; 3]].concat();
        assert_eq!(time_in(0xbede, &long, Some(3)), Some(ntp));
        assert_eq!(time_in(0xbede, &long, Some(4)), None);
        assert_eq!(time_in(0xbede, &long, None), None);
        let short = [&[0x36][..], &ntp.to_be_bytes()[1..]].concat();
        assert_eq!(time_in(0xbede, &short, Some(3)), Some(ntp));
    }

    proptest! {
        // covers: H-34, H-40
        #[test]
        fn arbitrary_bytes_do_not_panic(mut data in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(first) = data.first_mut() {
                *first = 0x80 | (*first & 0x3f);
            }
            if let Some(p) = RtpPacket::parse(&data) {
                prop_assert!(p.payload.len() + p.csrc.len() + 12 <= data.len());
                prop_assert!(p.extension_elements().count() <= data.len());
                let _ = p.ntp_time(Some(1), || Some(1));
            }
        }
    }
}
