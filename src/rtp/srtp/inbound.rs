//! What is received.

use super::keys::Keys;
use super::transform::{Kind, Place, Transform};
use super::window::Window;
use super::{RTCP_HEADER, Refused, estimate, rtcp_ssrc, rtp_header};
use crate::rtsp::limits;

/// RFC 3711 §9.2.
const RTP_LIFETIME: u64 = 1 << 48;
const RTCP_LIFETIME: u64 = 1 << 31;
/// Packets before the end of a key at which a new one is due.
const SOFT: u64 = 1 << 16;

/// Numbers after which they begin again.
const CYCLE: u64 = 1 << 16;
/// So many packets in a row that are refused may mean that more than half a cycle was lost.
const LOST_TRACK: u32 = 16;

/// What was not let through, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Not authentic, not SRTP at all, or of a key that is not known.
    pub unauthentic: u64,
    pub replayed: u64,
    /// Of a key that has protected all that it may.
    pub expired: u64,
}

/// How far the end of a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// A new one is due.
    Soft,
    /// Nothing more is taken.
    Hard,
}

/// Authenticates, checks for replays and decrypts.
pub struct Inbound {
    keys: Keys,
    sessions: Vec<Session>,
    sources: Vec<Source>,
    stats: Stats,
    limit: Option<Limit>,
}

/// The session keys of a master key, and what they have protected.
struct Session {
    mki: Vec<u8>,
    rtp: Transform,
    rtcp: Transform,
    rtp_left: u64,
    rtcp_left: u64,
    soft_told: bool,
    hard_told: bool,
}

/// A source that has authenticated.
#[derive(Default)]
struct Source {
    ssrc: u32,
    rtp: Window,
    rtcp: Window,
    /// Packets in a row that were refused.
    failed: u32,
}

fn sessions(keys: &Keys) -> Option<Vec<Session>> {
    let sessions = keys.masters.iter().map(|master| {
        let left = master.lifetime.unwrap_or(RTP_LIFETIME).min(RTP_LIFETIME);
        Some(Session {
            mki: master.mki.clone(),
            rtp: Transform::new(keys.suite, master, Kind::Rtp)?,
            rtcp: Transform::new(keys.suite, master, Kind::Rtcp)?,
            rtp_left: left,
            rtcp_left: left.min(RTCP_LIFETIME),
            soft_told: false,
            hard_told: false,
        })
    });
    sessions.take(limits::SRTP_KEYS).collect()
}

impl Inbound {
    /// None: the keys do not fit the suite.
    pub fn new(keys: Keys) -> Option<Self> {
        let sessions = sessions(&keys).filter(|sessions| !sessions.is_empty())?;
        Some(Self {
            keys,
            sessions,
            sources: Vec::new(),
            stats: Stats::default(),
            limit: None,
        })
    }

    /// Other keys take the place of those of before, or stand beside them if they are told apart
    /// by their MKIs. Rollover counters and what was received stay (RFC 3711 §8.1). False: they do
    /// not fit.
    pub fn rekey(&mut self, keys: Keys) -> bool {
        let Some(mut new) = sessions(&keys).filter(|sessions| !sessions.is_empty()) else {
            return false;
        };
        let beside = keys.suite == self.keys.suite
            && keys.mki_len() > 0
            && keys.mki_len() == self.keys.mki_len();
        if beside {
            let old = std::mem::take(&mut self.sessions).into_iter();
            let fresh = |old: &Session| new.iter().all(|new| new.mki != old.mki);
            let mut kept: Vec<_> = old.filter(fresh).collect();
            new.append(&mut kept);
            new.truncate(limits::SRTP_KEYS);
        }
        self.sessions = new;
        self.keys = keys;
        true
    }

    /// Forgets a key; what it protects is refused from now on. False: there is none with this MKI.
    pub fn remove(&mut self, mki: &[u8]) -> bool {
        let before = self.sessions.len();
        self.sessions.retain(|session| session.mki != mki);
        self.sessions.len() < before
    }

    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// What is to be told about the end of a key, once.
    pub fn take_limit(&mut self) -> Option<Limit> {
        self.limit.take()
    }

    /// From SRTP to RTP.
    pub fn rtp(&mut self, packet: &mut Vec<u8>) -> Result<(), Refused> {
        let result = self.open_rtp(packet);
        self.count(result)
    }

    /// From SRTCP to RTCP.
    pub fn rtcp(&mut self, packet: &mut Vec<u8>) -> Result<(), Refused> {
        let result = self.open_rtcp(packet);
        self.count(result)
    }

    fn count(&mut self, result: Result<(), Refused>) -> Result<(), Refused> {
        let counter = match result {
            Ok(()) => return result,
            Err(Refused::Replay) => &mut self.stats.replayed,
            Err(Refused::Expired) => &mut self.stats.expired,
            Err(_) => &mut self.stats.unauthentic,
        };
        *counter = counter.saturating_add(1);
        result
    }

    fn open_rtp(&mut self, packet: &mut Vec<u8>) -> Result<(), Refused> {
        let (header, sequence, ssrc) = rtp_header(packet).ok_or(Refused::Malformed)?;
        let aead = self.keys.suite.is_aead();
        let mki_len = self.keys.mki_len();
        let tag_len = self.keys.suite.rtp_tag();
        let payload = mki_len.checked_add(tag_len);
        let end = payload
            .and_then(|trailer| packet.len().checked_sub(trailer))
            .filter(|end| *end >= header)
            .ok_or(Refused::Malformed)?;
        // An AEAD's tag is part of the ciphertext, so the MKI comes last (RFC 7714 §8.2).
        let (clear, trailer) = packet.split_at_mut_checked(end).ok_or(Refused::Malformed)?;
        let (tag, mki) = split_trailer(trailer, tag_len, mki_len, aead)?;
        let at = self.sources.iter().position(|source| source.ssrc == ssrc);
        let source = at.and_then(|at| self.sources.get(at));
        let known = source.and_then(|source| source.rtp.highest());
        let (index, unsure) = match known {
            // After a long silence the counter may be one further.
            Some(highest) => {
                let unsure = source.is_some_and(|source| source.failed >= LOST_TRACK);
                (estimate(highest, sequence), unsure)
            }
            // It was said some time ago, and may have gone on since.
            None => {
                let cycles = u64::from(self.keys.rollover(ssrc)) << 16;
                (Some(cycles | u64::from(sequence)), true)
            }
        };
        let next = index.and_then(|index| index.checked_add(CYCLE));
        let candidates = [index, next.filter(|next| unsure && *next < RTP_LIFETIME)];
        let session = self
            .sessions
            .iter_mut()
            .find(|session| session.mki == mki)
            .ok_or(Refused::UnknownKey)?;
        let candidates = candidates.into_iter().flatten();
        let mut result = Err(Refused::Authentication);
        for index in candidates {
            if source.is_some_and(|source| !source.rtp.is_new(index)) {
                result = Err(Refused::Replay);
                continue;
            }
            if session.rtp_left == 0 {
                result = Err(Refused::Expired);
                break;
            }
            let place = Place {
                header,
                ssrc,
                index,
                encrypted: self.keys.encrypt_rtp,
            };
            if session.rtp.open(clear, place, tag) {
                result = Ok(index);
                break;
            }
        }
        // Beyond half a cycle they look old, and within it not authentic.
        if result.is_err()
            && let Some(source) = at.and_then(|at| self.sources.get_mut(at))
        {
            source.failed = source.failed.saturating_add(1);
        }
        let index = result?;
        session.rtp_left = session.rtp_left.saturating_sub(1);
        if let Some(limit) = session.limit(session.rtp_left) {
            self.limit = Some(limit);
        }
        if let Some(source) = self.source(ssrc) {
            source.rtp.mark(index);
            source.failed = 0;
        }
        packet.truncate(end);
        Ok(())
    }

    fn open_rtcp(&mut self, packet: &mut Vec<u8>) -> Result<(), Refused> {
        let ssrc = rtcp_ssrc(packet).ok_or(Refused::Malformed)?;
        let aead = self.keys.suite.is_aead();
        let mki_len = self.keys.mki_len();
        let tag_len = self.keys.suite.rtcp_tag();
        let end = mki_len
            .checked_add(tag_len)
            .and_then(|length| length.checked_add(4))
            .and_then(|trailer| packet.len().checked_sub(trailer))
            .filter(|end| *end >= RTCP_HEADER)
            .ok_or(Refused::Malformed)?;
        let (clear, trailer) = packet.split_at_mut_checked(end).ok_or(Refused::Malformed)?;
        // Tag, E flag and index, MKI; or E flag and index, MKI, tag.
        let (tag, mki, word) = match aead {
            true => {
                let (tag, rest) = trailer
                    .split_at_checked(tag_len)
                    .ok_or(Refused::Malformed)?;
                let (word, mki) = rest.split_first_chunk().ok_or(Refused::Malformed)?;
                (tag, mki, word)
            }
            false => {
                let (word, rest) = trailer.split_first_chunk().ok_or(Refused::Malformed)?;
                let (mki, tag) = rest.split_at_checked(mki_len).ok_or(Refused::Malformed)?;
                (tag, mki, word)
            }
        };
        let word = u32::from_be_bytes(*word);
        let place = Place {
            header: RTCP_HEADER,
            ssrc,
            index: u64::from(word & 0x7fff_ffff),
            encrypted: word >> 31 == 1,
        };
        let mut sources = self.sources.iter();
        let source = sources.find(|source| source.ssrc == ssrc);
        if source.is_some_and(|source| !source.rtcp.is_new(place.index)) {
            return Err(Refused::Replay);
        }
        let mut sessions = self.sessions.iter_mut();
        let session = sessions
            .find(|session| session.mki == mki)
            .ok_or(Refused::UnknownKey)?;
        if session.rtcp_left == 0 {
            return Err(Refused::Expired);
        }
        if !session.rtcp.open(clear, place, tag) {
            return Err(Refused::Authentication);
        }
        session.rtcp_left = session.rtcp_left.saturating_sub(1);
        if let Some(limit) = session.limit(session.rtcp_left) {
            self.limit = Some(limit);
        }
        if let Some(source) = self.source(ssrc) {
            source.rtcp.mark(place.index);
        }
        packet.truncate(end);
        Ok(())
    }

    /// Of an authentic packet, so only a sender with the key can fill the list.
    fn source(&mut self, ssrc: u32) -> Option<&mut Source> {
        let at = self.sources.iter().position(|source| source.ssrc == ssrc);
        // The last one used stands first.
        let source = match at {
            Some(0) => None,
            Some(at) => Some(self.sources.remove(at)),
            None => Some(Source {
                ssrc,
                ..Source::default()
            }),
        };
        if let Some(source) = source {
            self.sources.insert(0, source);
            self.sources.truncate(limits::SRTP_SOURCES);
        }
        self.sources.first_mut()
    }
}

impl Session {
    fn limit(&mut self, left: u64) -> Option<Limit> {
        if left == 0 && !std::mem::replace(&mut self.hard_told, true) {
            return Some(Limit::Hard);
        }
        if left <= SOFT && !std::mem::replace(&mut self.soft_told, true) {
            return Some(Limit::Soft);
        }
        None
    }
}

/// Tag and MKI.
fn split_trailer(
    trailer: &[u8],
    tag_len: usize,
    mki_len: usize,
    aead: bool,
) -> Result<(&[u8], &[u8]), Refused> {
    let parts = match aead {
        true => trailer.split_at_checked(tag_len),
        false => trailer
            .split_at_checked(mki_len)
            .map(|(mki, tag)| (tag, mki)),
    };
    parts.ok_or(Refused::Malformed)
}
