//! Session keys, and what is done to the octets of one packet with them.

use std::borrow::Cow;

use aes::cipher::{
    BlockCipherEncrypt, InnerIvInit, KeyInit as _, StreamCipher, StreamCipherCoreWrapper,
};
use aes::{Aes128, Aes256};
use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes128Gcm, Aes256Gcm, Nonce, Tag};
use ctr::{CtrCore, flavors};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use zeroize::Zeroizing;

use super::keys::{MasterKey, Suite};

/// Of RTP or of RTCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Rtp,
    Rtcp,
}

/// The longest tag.
pub(super) const TAG: usize = 16;
/// Octets of the HMAC key (RFC 3711 §5.2).
const AUTH_KEY: usize = 20;

/// The session keys of one master key for RTP or RTCP.
pub(super) struct Transform {
    cipher: Cipher,
    kind: Kind,
    /// Octets of the tag.
    pub tag: usize,
}

enum Cipher {
    /// Boxed, since the round keys take hundreds of octets.
    Cm(Box<Cm>),
    Gcm(Box<Gcm>),
}

struct Cm {
    aes: Aes,
    salt: [u8; 14],
    /// Keyed; cloned for each packet.
    mac: Hmac<Sha1>,
}

struct Gcm {
    aead: Aead,
    salt: [u8; 12],
}

pub(super) enum Aes {
    Bits128(Aes128),
    Bits256(Aes256),
}

enum Aead {
    Bits128(Aes128Gcm),
    Bits256(Aes256Gcm),
}

impl Aes {
    pub fn new(key: &[u8]) -> Option<Self> {
        match key.len() {
            16 => Aes128::new_from_slice(key).ok().map(Aes::Bits128),
            32 => Aes256::new_from_slice(key).ok().map(Aes::Bits256),
            _ => None,
        }
    }

    /// AES in counter mode (RFC 3711 §4.1.1), which is its own inverse.
    pub fn counter_mode(&self, iv: &[u8; 16], data: &mut [u8]) {
        fn run<C: BlockCipherEncrypt<BlockSize = aes::cipher::consts::U16>>(
            aes: &C,
            iv: &[u8; 16],
            data: &mut [u8],
        ) {
            let core = CtrCore::<&C, flavors::Ctr128BE>::inner_iv_init(aes, iv.into());
            StreamCipherCoreWrapper::from_core(core).apply_keystream(data);
        }
        match self {
            Aes::Bits128(aes) => run(aes, iv, data),
            Aes::Bits256(aes) => run(aes, iv, data),
        }
    }
}

/// Key derivation with rate 0 (RFC 3711 §4.3, RFC 6188 §3): `label` is that of RTP.
pub(super) fn derive(
    master: &MasterKey,
    kind: Kind,
    label: u8,
    length: usize,
) -> Option<Zeroizing<Vec<u8>>> {
    let mut block = [0; 16];
    // A salt of 12 octets counts as the first 12 of 14 (RFC 7714, errata 4938).
    for (to, from) in block.iter_mut().zip(master.salt.iter()) {
        *to = *from;
    }
    let label = match kind {
        Kind::Rtp => label,
        Kind::Rtcp => label.checked_add(3)?,
    };
    if let Some(octet) = block.get_mut(7) {
        *octet ^= label;
    }
    let mut derived = Zeroizing::new(vec![0; length]);
    Aes::new(&master.key)?.counter_mode(&block, &mut derived);
    Some(derived)
}

impl Transform {
    /// With GCM and these session keys, for the vectors of RFC 7714.
    #[cfg(test)]
    pub fn with_session_key(key: &[u8], salt: [u8; 12], kind: Kind) -> Self {
        let aead = match key.len() {
            16 => Aead::Bits128(Aes128Gcm::new_from_slice(key).unwrap()),
            _ => Aead::Bits256(Aes256Gcm::new_from_slice(key).unwrap()),
        };
        Self {
            cipher: Cipher::Gcm(Box::new(Gcm { aead, salt })),
            kind,
            tag: TAG,
        }
    }

    /// None if the key has not the suite's lengths.
    pub fn new(suite: Suite, master: &MasterKey, kind: Kind) -> Option<Self> {
        if master.key.len() != suite.key_len() || master.salt.len() != suite.salt_len() {
            return None;
        }
        let key = derive(master, kind, 0, suite.key_len())?;
        let salt = derive(master, kind, 2, suite.salt_len())?;
        let cipher = match suite.is_aead() {
            true => Cipher::Gcm(Box::new(Gcm {
                aead: match key.len() {
                    16 => Aead::Bits128(Aes128Gcm::new_from_slice(&key).ok()?),
                    _ => Aead::Bits256(Aes256Gcm::new_from_slice(&key).ok()?),
                },
                salt: *salt.first_chunk()?,
            })),
            false => {
                let auth = derive(master, kind, 1, AUTH_KEY)?;
                Cipher::Cm(Box::new(Cm {
                    aes: Aes::new(&key)?,
                    salt: *salt.first_chunk()?,
                    mac: Hmac::new_from_slice(&auth).ok()?,
                }))
            }
        };
        Some(Self {
            cipher,
            kind,
            tag: match kind {
                Kind::Rtp => suite.rtp_tag(),
                Kind::Rtcp => suite.rtcp_tag(),
            },
        })
    }

    /// Encrypts what is behind the header, if that is wanted, and signs all of it. `word` is the
    /// rollover counter of RTP, or E flag and index of RTCP. Returns the tag.
    pub fn seal(&self, packet: &mut [u8], at: Place) -> Option<[u8; TAG]> {
        let (header, payload) = packet.split_at_mut_checked(at.header)?;
        let word = at.word(self.kind).to_be_bytes();
        match &self.cipher {
            Cipher::Cm(cm) => {
                if at.encrypted {
                    cm.aes.counter_mode(&at.cm_iv(&cm.salt, self.kind), payload);
                }
                let mac = cm.mac.clone().chain_update(header).chain_update(payload);
                let full = mac.chain_update(word).finalize().into_bytes();
                full.first_chunk().copied()
            }
            Cipher::Gcm(gcm) => {
                let nonce = at.gcm_iv(&gcm.salt, self.kind);
                let (aad, buffer) = aad(self.kind, header, payload, at.encrypted, &word);
                let buffer = buffer.into();
                let nonce = Nonce::from(nonce);
                let tag = match &gcm.aead {
                    Aead::Bits128(aead) => aead.encrypt_inout_detached(&nonce, &aad, buffer),
                    Aead::Bits256(aead) => aead.encrypt_inout_detached(&nonce, &aad, buffer),
                };
                Some(tag.ok()?.into())
            }
        }
    }

    /// The way back. False: it is not what was signed; then the packet is as it was.
    pub fn open(&self, packet: &mut [u8], at: Place, tag: &[u8]) -> bool {
        let Some((header, payload)) = packet.split_at_mut_checked(at.header) else {
            return false;
        };
        let word = at.word(self.kind).to_be_bytes();
        match &self.cipher {
            Cipher::Cm(cm) => {
                let mac = cm.mac.clone().chain_update(header).chain_update(&*payload);
                // In constant time.
                let valid = mac.chain_update(word).verify_truncated_left(tag).is_ok();
                if valid && at.encrypted {
                    cm.aes.counter_mode(&at.cm_iv(&cm.salt, self.kind), payload);
                }
                valid
            }
            Cipher::Gcm(gcm) => {
                let nonce = Nonce::from(at.gcm_iv(&gcm.salt, self.kind));
                let Ok(tag) = Tag::try_from(tag) else {
                    return false;
                };
                let (aad, buffer) = aad(self.kind, header, payload, at.encrypted, &word);
                let buffer = buffer.into();
                match &gcm.aead {
                    Aead::Bits128(aead) => aead.decrypt_inout_detached(&nonce, &aad, buffer, &tag),
                    Aead::Bits256(aead) => aead.decrypt_inout_detached(&nonce, &aad, buffer, &tag),
                }
                .is_ok()
            }
        }
    }
}

/// A packet among the others of its source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Octets that are not encrypted.
    pub header: usize,
    pub ssrc: u32,
    /// 48 bits of RTP, 31 of RTCP.
    pub index: u64,
    pub encrypted: bool,
}

impl Place {
    /// What is signed with the packet: the rollover counter, or E flag and index.
    pub fn word(&self, kind: Kind) -> u32 {
        match kind {
            Kind::Rtp => (self.index >> 16) as u32,
            Kind::Rtcp => (self.index as u32 & 0x7fff_ffff) | (u32::from(self.encrypted) << 31),
        }
    }

    /// RFC 3711 §4.1.1.
    fn cm_iv(&self, salt: &[u8; 14], kind: Kind) -> [u8; 16] {
        let index = match kind {
            Kind::Rtp => self.index,
            Kind::Rtcp => self.index & 0x7fff_ffff,
        };
        let counter = (u128::from(self.ssrc) << 64) | (u128::from(index) << 16);
        let mut block = [0; 16];
        for (to, from) in block.iter_mut().zip(salt) {
            *to = *from;
        }
        (u128::from_be_bytes(block) ^ counter).to_be_bytes()
    }

    /// RFC 7714 §8.1, §9.1.
    fn gcm_iv(&self, salt: &[u8; 12], kind: Kind) -> [u8; 12] {
        let index = match kind {
            Kind::Rtp => self.index,
            Kind::Rtcp => self.index & 0x7fff_ffff,
        };
        let number = (u128::from(self.ssrc) << 48) | u128::from(index);
        let mut iv = *salt;
        for (to, number) in iv.iter_mut().rev().zip(number.to_le_bytes()) {
            *to ^= number;
        }
        iv
    }
}

/// What GCM signs without encrypting it, and what it encrypts (RFC 7714 §8.2, §9.2, §9.3).
fn aad<'a>(
    kind: Kind,
    header: &'a [u8],
    payload: &'a mut [u8],
    encrypted: bool,
    word: &[u8],
) -> (Cow<'a, [u8]>, &'a mut [u8]) {
    let word = match kind {
        Kind::Rtp => &[],
        Kind::Rtcp => word,
    };
    match (encrypted, kind) {
        (true, Kind::Rtp) => (Cow::Borrowed(header), payload),
        (true, Kind::Rtcp) => ([header, word].concat().into(), payload),
        (false, _) => ([header, payload, word].concat().into(), &mut []),
    }
}
