//! What is sent.

use bytes::BufMut;

use super::keys::Keys;
use super::transform::{Kind, Place, Transform};
use super::window::Window;
use super::{RTCP_HEADER, Refused, estimate, rtcp_ssrc, rtp_header};
use crate::rtsp::limits;

/// Encrypts and signs with the first of the keys. Rollover counters begin at 0.
pub struct Outbound {
    keys: Keys,
    mki: Vec<u8>,
    rtp: Transform,
    rtcp: Transform,
    sources: Vec<Source>,
    /// SRTP packets that the key may still protect (RFC 3711 §9.2).
    left: u64,
}

#[derive(Default)]
struct Source {
    ssrc: u32,
    rtp: Window,
    rtcp: u32,
}

impl Outbound {
    /// None: the keys do not fit the suite.
    pub fn new(keys: Keys) -> Option<Self> {
        let master = keys.masters.first()?;
        Some(Self {
            mki: master.mki.clone(),
            rtp: Transform::new(keys.suite, master, Kind::Rtp)?,
            rtcp: Transform::new(keys.suite, master, Kind::Rtcp)?,
            left: master.lifetime.unwrap_or(u64::MAX),
            sources: Vec::new(),
            keys,
        })
    }

    /// From RTP to SRTP. A number that was used goes out no second time: its key stream would
    /// show both contents.
    pub fn rtp<B: BufMut + AsMut<[u8]>>(&mut self, packet: &mut B) -> Result<(), Refused> {
        let (header, sequence, ssrc) = rtp_header(packet.as_mut()).ok_or(Refused::Malformed)?;
        self.left = self.left.checked_sub(1).ok_or(Refused::Expired)?;
        let encrypted = self.keys.encrypt_rtp;
        let source = self.source(ssrc).ok_or(Refused::Expired)?;
        let index = match source.rtp.highest() {
            Some(highest) => estimate(highest, sequence).ok_or(Refused::Expired)?,
            None => sequence.into(),
        };
        if !source.rtp.is_new(index) {
            return Err(Refused::Replay);
        }
        source.rtp.mark(index);
        let place = Place {
            header,
            ssrc,
            index,
            encrypted,
        };
        let tag = self.rtp.seal(packet.as_mut(), place);
        let tag = tag.ok_or(Refused::Malformed)?;
        let tag = tag.get(..self.rtp.tag).unwrap_or_default();
        let (before, after) = match self.keys.suite.is_aead() {
            true => (tag, self.mki.as_slice()),
            false => (self.mki.as_slice(), tag),
        };
        packet.put_slice(before);
        packet.put_slice(after);
        Ok(())
    }

    /// From RTCP to SRTCP.
    pub fn rtcp<B: BufMut + AsMut<[u8]>>(&mut self, packet: &mut B) -> Result<(), Refused> {
        let ssrc = rtcp_ssrc(packet.as_mut()).ok_or(Refused::Malformed)?;
        let encrypted = self.keys.encrypt_rtcp;
        let source = self.source(ssrc).ok_or(Refused::Expired)?;
        // Its 31 bits never come round (RFC 3711 §9.2).
        source.rtcp = Some(source.rtcp)
            .and_then(|index| index.checked_add(1))
            .filter(|index| *index < 1 << 31)
            .ok_or(Refused::Expired)?;
        let place = Place {
            header: RTCP_HEADER,
            ssrc,
            index: u64::from(source.rtcp),
            encrypted,
        };
        let tag = self.rtcp.seal(packet.as_mut(), place);
        let tag = tag.ok_or(Refused::Malformed)?;
        let tag = tag.get(..self.rtcp.tag).unwrap_or_default();
        let word = place.word(Kind::Rtcp).to_be_bytes();
        let parts: [&[u8]; 3] = match self.keys.suite.is_aead() {
            true => [tag, &word, &self.mki],
            false => [&word, &self.mki, tag],
        };
        for part in parts {
            packet.put_slice(part);
        }
        Ok(())
    }

    /// None: there are too many. None is forgotten, since its numbers would begin anew under the
    /// same key.
    fn source(&mut self, ssrc: u32) -> Option<&mut Source> {
        let at = self.sources.iter().position(|source| source.ssrc == ssrc);
        if at.is_none() && self.sources.len() < limits::SRTP_OWN_SOURCES {
            self.sources.push(Source {
                ssrc,
                ..Source::default()
            });
        }
        let at = at.unwrap_or(self.sources.len().saturating_sub(1));
        self.sources
            .get_mut(at)
            .filter(|source| source.ssrc == ssrc)
    }
}
