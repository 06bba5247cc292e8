//! SRTP and SRTCP (RFC 3711, RFC 6188, RFC 7714), in place.
//!
//! [`Inbound`] authenticates, rejects replays and decrypts what the other side sends; [`Outbound`]
//! encrypts and signs what is sent to it. Both hold their state by source and learn nothing from
//! packets that do not authenticate. Where the keys come from is not known here.
//!
//! Ciphers and hashes are RustCrypto's (`aes`, `ctr`, `hmac`, `sha1`, `aes-gcm`), which use the AES,
//! SHA and carry-less multiplication instructions of the processor where it has them. Measured on a
//! virtual AMD EPYC with all three (CPU time, ns a packet of 1,200 octets that is in the cache):
//!
//! | | AES-128-CM, HMAC-SHA1-80 | AES-128-GCM |
//! |---|---|---|
//! | RustCrypto, primitives alone | 50 + 678 | 591 |
//! | aws-lc-rs 1.19, primitives alone | 103 + 925 | 377 |
//! | rtc-srtp 0.21 on aws-lc-rs, which copies each packet | 1,277 | 445 |
//! | libsrtp 2.5 of Debian 12 (on NSS), which srtpdec uses | 7,565 | 1,871 |
//!
//! With packets that are not in the cache this module takes 1,225 and 960 (`benches/srtp.rs`).
//! rtc-srtp has neither MKIs nor work in place, and libsrtp needs `unsafe`. aws-lc-rs would make GCM
//! faster, which few devices have; it brings a C library that takes minutes to build.
mod inbound;
mod keys;
mod outbound;
mod transform;
mod window;

pub use inbound::{Inbound, Limit, Stats};
pub use keys::{Keys, MasterKey, Suite};
pub use outbound::Outbound;

/// Why a packet was not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Too short for what it has to hold, or no RTP.
    Malformed,
    /// Signed with another key, or changed on its way.
    Authentication,
    /// It was received before, or is too old to know (RFC 3711 §3.3.2).
    Replay,
    /// No key has its MKI.
    UnknownKey,
    /// Its key has protected as many packets as it may (RFC 3711 §9.2).
    Expired,
}

/// Length of a clear RTP header with its sources and extension, and the SSRC (RFC 3550 §5.1).
fn rtp_header(packet: &[u8]) -> Option<(usize, u16, u32)> {
    let fixed: &[u8; 12] = packet.first_chunk()?;
    let [first, _, s0, s1, _, _, _, _, c0, c1, c2, c3] = *fixed;
    if first >> 6 != 2 {
        return None;
    }
    let mut length = usize::from(first & 0x0f)
        .checked_mul(4)?
        .checked_add(fixed.len())?;
    if first & 0x10 != 0 {
        let [_, _, w0, w1] = *packet.get(length..)?.first_chunk::<4>()?;
        let words = usize::from(u16::from_be_bytes([w0, w1]));
        length = words.checked_mul(4)?.checked_add(4)?.checked_add(length)?;
    }
    let sequence = u16::from_be_bytes([s0, s1]);
    let ssrc = u32::from_be_bytes([c0, c1, c2, c3]);
    (length <= packet.len()).then_some((length, sequence, ssrc))
}

/// Octets of an RTCP packet that are never encrypted: header and SSRC of the sender.
const RTCP_HEADER: usize = 8;

fn rtcp_ssrc(packet: &[u8]) -> Option<u32> {
    let [first, _, _, _, c0, c1, c2, c3] = *packet.first_chunk::<RTCP_HEADER>()?;
    (first >> 6 == 2).then_some(u32::from_be_bytes([c0, c1, c2, c3]))
}

/// The index that a sequence number most likely has: the one next to the highest of before
/// (RFC 3711 §3.3.1). None: it would be before the first or after the last of all.
fn estimate(highest: u64, sequence: u16) -> Option<u64> {
    const CYCLE: u64 = 1 << 16;
    let last = highest & 0xffff;
    let sequence = u64::from(sequence);
    let cycles = highest & !0xffff;
    let cycles = if last < 0x8000 && sequence > last.saturating_add(0x8000) {
        cycles.checked_sub(CYCLE)?
    } else if last >= 0x8000 && sequence < last.saturating_sub(0x8000) {
        cycles.checked_add(CYCLE)?
    } else {
        cycles
    };
    Some(cycles | sequence).filter(|index| *index < 1 << 48)
}

#[cfg(test)]
mod tests;
