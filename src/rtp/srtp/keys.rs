//! Suites and master keys.

use std::fmt;

use zeroize::Zeroizing;

/// How packets are encrypted and signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suite {
    /// AES_CM_128_HMAC_SHA1_80 (RFC 4568 §6.2.1), which everybody has.
    AesCm128Sha1_80,
    AesCm128Sha1_32,
    /// AES_256_CM_HMAC_SHA1_80 (RFC 6188 §4).
    AesCm256Sha1_80,
    AesCm256Sha1_32,
    /// AEAD_AES_128_GCM (RFC 7714 §14).
    AesGcm128,
    AesGcm256,
}

impl Suite {
    /// Octets of a master key.
    pub fn key_len(self) -> usize {
        match self {
            Suite::AesCm128Sha1_80 | Suite::AesCm128Sha1_32 | Suite::AesGcm128 => 16,
            Suite::AesCm256Sha1_80 | Suite::AesCm256Sha1_32 | Suite::AesGcm256 => 32,
        }
    }

    /// Octets of a master salt.
    pub fn salt_len(self) -> usize {
        if self.is_aead() { 12 } else { 14 }
    }

    pub(super) fn is_aead(self) -> bool {
        matches!(self, Suite::AesGcm128 | Suite::AesGcm256)
    }

    /// Octets of the tag of an SRTP packet.
    pub(super) fn rtp_tag(self) -> usize {
        match self {
            Suite::AesCm128Sha1_80 | Suite::AesCm256Sha1_80 => 10,
            Suite::AesCm128Sha1_32 | Suite::AesCm256Sha1_32 => 4,
            Suite::AesGcm128 | Suite::AesGcm256 => 16,
        }
    }

    /// Octets of the tag of an SRTCP packet: never a short one (RFC 4568 §6.2.2).
    pub(super) fn rtcp_tag(self) -> usize {
        if self.is_aead() { 16 } else { 10 }
    }

    /// Name in `a=crypto` (RFC 4568 §6.2, RFC 6188 §4, RFC 7714 §14.2).
    pub fn name(self) -> &'static str {
        match self {
            Suite::AesCm128Sha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Suite::AesCm128Sha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Suite::AesCm256Sha1_80 => "AES_256_CM_HMAC_SHA1_80",
            Suite::AesCm256Sha1_32 => "AES_256_CM_HMAC_SHA1_32",
            Suite::AesGcm128 => "AEAD_AES_128_GCM",
            Suite::AesGcm256 => "AEAD_AES_256_GCM",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Suite::ALL.into_iter().find(|suite| suite.name() == name)
    }

    pub const ALL: [Suite; 6] = [
        Suite::AesCm128Sha1_80,
        Suite::AesCm128Sha1_32,
        Suite::AesCm256Sha1_80,
        Suite::AesCm256Sha1_32,
        Suite::AesGcm128,
        Suite::AesGcm256,
    ];
}

/// A master key with its salt. It is never shown, and wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    pub key: Zeroizing<Vec<u8>>,
    pub salt: Zeroizing<Vec<u8>>,
    /// Stands in every packet if it is not empty (RFC 3711 §3.1).
    pub mki: Vec<u8>,
    /// SRTP packets that it may protect, if fewer than RFC 3711 §9.2 allows.
    pub lifetime: Option<u64>,
}

impl MasterKey {
    /// From key and salt in one piece.
    pub fn new(suite: Suite, key_and_salt: &[u8]) -> Option<Self> {
        let (key, salt) = key_and_salt.split_at_checked(suite.key_len())?;
        (salt.len() == suite.salt_len()).then(|| Self {
            key: Zeroizing::new(key.to_vec()),
            salt: Zeroizing::new(salt.to_vec()),
            mki: Vec::new(),
            lifetime: None,
        })
    }

    /// Key and salt in one piece.
    pub fn joined(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([self.key.as_slice(), self.salt.as_slice()].concat())
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("MasterKey(***)")
    }
}

/// All that one direction of a stream is protected with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    pub suite: Suite,
    pub encrypt_rtp: bool,
    pub encrypt_rtcp: bool,
    /// At least one; they have the suite's lengths, and MKIs of one length.
    pub masters: Vec<MasterKey>,
    /// Rollover counters that sources have reached; source 0 is any other.
    pub rollovers: Vec<(u32, u32)>,
}

impl Keys {
    /// One key, everything encrypted.
    pub fn new(suite: Suite, master: MasterKey) -> Self {
        Self {
            suite,
            encrypt_rtp: true,
            encrypt_rtcp: true,
            masters: vec![master],
            rollovers: Vec::new(),
        }
    }

    /// Octets that SRTP adds to a packet.
    pub fn overhead(&self) -> usize {
        self.mki_len().saturating_add(self.suite.rtp_tag())
    }

    pub(super) fn mki_len(&self) -> usize {
        self.masters.first().map_or(0, |master| master.mki.len())
    }

    pub(super) fn rollover(&self, ssrc: u32) -> u32 {
        let of = |ssrc: u32| self.rollovers.iter().find(|(source, _)| *source == ssrc);
        of(ssrc).or_else(|| of(0)).map_or(0, |(_, roc)| *roc)
    }
}
