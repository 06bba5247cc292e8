//! MIKEY (RFC 3830) as RTSP carries it (RFC 4567): pre-shared key messages that are neither
//! encrypted nor signed, for SRTP.

use zeroize::Zeroizing;

use crate::rtp::srtp::{Keys, MasterKey, Suite};
use crate::rtsp::limits;

/// Why a message is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MikeyError {
    #[error("the MIKEY message is too long")]
    TooLong,
    #[error("the MIKEY message ends before its end")]
    CutOff,
    #[error("MIKEY version {0} is not known")]
    Version(u8),
    /// Public keys, Diffie-Hellman, answers and errors.
    #[error("MIKEY messages of type {0} are not supported")]
    Type(u8),
    #[error("the MIKEY message has a payload of type {0}, which is not supported")]
    Payload(u8),
    #[error("the MIKEY message has too many payloads")]
    TooMany,
    #[error("the keys in the MIKEY message are encrypted or signed")]
    Encrypted,
    #[error("the MIKEY message is not about SRTP")]
    NotSrtp,
    #[error("the MIKEY message asks for a policy that is not supported: {0}")]
    Policy(&'static str),
    #[error("the MIKEY message has no key that can be used")]
    NoKey,
}

// Payload types (RFC 3830 §6.1, table 6.1.b).
const LAST: u8 = 0;
const KEMAC: u8 = 1;
const TIME: u8 = 5;
const ID: u8 = 6;
const CERT: u8 = 7;
const CHASH: u8 = 8;
const V: u8 = 9;
const SP: u8 = 10;
const RAND: u8 = 11;
const KEY_DATA: u8 = 20;
const EXTENSION: u8 = 21;

// Parameters of the SRTP policy (RFC 3830 §6.10.1, RFC 7714 §14.3).
const ENCRYPTION: u8 = 0;
const KEY_LENGTH: u8 = 1;
const AUTHENTICATION: u8 = 2;
const AUTH_KEY_LENGTH: u8 = 3;
const SALT_LENGTH: u8 = 4;
const PRF: u8 = 5;
const DERIVATION_RATE: u8 = 6;
const ENCRYPT_RTP: u8 = 7;
const ENCRYPT_RTCP: u8 = 8;
const AUTHENTICATE: u8 = 10;
const TAG_LENGTH: u8 = 11;
const PREFIX_LENGTH: u8 = 12;
const AEAD_TAG_LENGTH: u8 = 20;

const AES_CM: u8 = 1;
const AES_GCM: u8 = 6;

/// A key with its salt in the same field, or in one of its own (RFC 3830 §6.13).
const TEK: u8 = 2;
const TEK_SALT: u8 = 3;

/// Reads from the front; all is checked against what is left.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], MikeyError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(MikeyError::CutOff)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], MikeyError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(MikeyError::CutOff)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, MikeyError> {
        self.array().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, MikeyError> {
        self.array().map(u32::from_be_bytes)
    }

    /// What a length of 16 bits stands before.
    fn long(&mut self) -> Result<&'a [u8], MikeyError> {
        let length = self.array().map(u16::from_be_bytes)?;
        self.take(length.into())
    }

    /// What a length of 8 bits stands before.
    fn short(&mut self) -> Result<&'a [u8], MikeyError> {
        let length = self.byte()?;
        self.take(length.into())
    }
}

/// What a policy payload says; what it leaves out is as RFC 3711 has it.
#[derive(Clone, Copy)]
struct Policy {
    number: u8,
    encryption: u8,
    key_length: u8,
    tag_length: u8,
    encrypt_rtp: bool,
    encrypt_rtcp: bool,
    signed: bool,
}

impl Policy {
    const DEFAULT: Self = Self {
        number: 0,
        encryption: AES_CM,
        key_length: 16,
        tag_length: 10,
        encrypt_rtp: true,
        encrypt_rtcp: true,
        signed: true,
    };

    fn parse(number: u8, parameters: &[u8]) -> Result<Self, MikeyError> {
        let mut policy = Self {
            number,
            ..Self::DEFAULT
        };
        let mut reader = Reader(parameters);
        for _ in 0..limits::MIKEY_PAYLOADS {
            if reader.0.is_empty() {
                return Ok(policy);
            }
            let kind = reader.byte()?;
            let value = reader.short()?;
            // All of them are one octet, but some are written with more.
            let value = value
                .iter()
                .fold(0u32, |sum, octet| (sum << 8) | u32::from(*octet));
            let value = u8::try_from(value).unwrap_or(u8::MAX);
            match kind {
                ENCRYPTION => policy.encryption = value,
                KEY_LENGTH => policy.key_length = value,
                AUTHENTICATION => policy.signed &= value != 0,
                ENCRYPT_RTP => policy.encrypt_rtp = value != 0,
                ENCRYPT_RTCP => policy.encrypt_rtcp = value != 0,
                AUTHENTICATE => policy.signed &= value != 0,
                TAG_LENGTH => policy.tag_length = value,
                PRF if value != 0 => return Err(MikeyError::Policy("key derivation")),
                DERIVATION_RATE if value != 0 => {
                    return Err(MikeyError::Policy("key derivation rate"));
                }
                PREFIX_LENGTH if value != 0 => return Err(MikeyError::Policy("prefix")),
                AEAD_TAG_LENGTH if value != 16 => {
                    return Err(MikeyError::Policy("AEAD tag length"));
                }
                _ => {}
            }
        }
        Err(MikeyError::TooMany)
    }

    fn suite(&self) -> Result<Suite, MikeyError> {
        if self.encryption == AES_GCM {
            // The tag is the AEAD's own.
            return match self.key_length {
                16 => Ok(Suite::AesGcm128),
                32 => Ok(Suite::AesGcm256),
                _ => Err(MikeyError::Policy("key length")),
            };
        }
        if !self.signed {
            return Err(MikeyError::Policy("packets that are not signed"));
        }
        match (self.encryption, self.key_length, self.tag_length) {
            (0 | AES_CM, 16, 10) => Ok(Suite::AesCm128Sha1_80),
            (0 | AES_CM, 16, 4) => Ok(Suite::AesCm128Sha1_32),
            (AES_CM, 32, 10) => Ok(Suite::AesCm256Sha1_80),
            (AES_CM, 32, 4) => Ok(Suite::AesCm256Sha1_32),
            (0 | AES_CM, 16 | 32, _) => Err(MikeyError::Policy("tag length")),
            (0 | AES_CM, ..) => Err(MikeyError::Policy("key length")),
            _ => Err(MikeyError::Policy("cipher")),
        }
    }
}

/// A key data sub-payload (RFC 3830 §6.13).
struct KeyData<'a> {
    key: &'a [u8],
    salt: Option<&'a [u8]>,
    mki: &'a [u8],
    lifetime: Option<u64>,
}

impl<'a> KeyData<'a> {
    /// What of it can be used, and the type of the payload that follows.
    fn parse(reader: &mut Reader<'a>) -> Result<(Option<Self>, u8), MikeyError> {
        let [next, kinds] = reader.array()?;
        let key = reader.long()?;
        let kind = kinds >> 4;
        // TGK+SALT and TEK+SALT.
        let salt = match kind & 1 {
            1 => Some(reader.long()?),
            _ => None,
        };
        let (mki, lifetime): (&[u8], _) = match kinds & 0x0f {
            0 => (&[], None),
            1 => (reader.short()?, None),
            2 => {
                let (from, to) = (number(reader.short()?), number(reader.short()?));
                (&[], Some(to.saturating_sub(from).saturating_add(1)))
            }
            _ => return Err(MikeyError::Payload(KEY_DATA)),
        };
        let data = Self {
            key,
            salt,
            mki,
            lifetime,
        };
        // Traffic keys only: nobody derives them from generation keys here (RFC 4567 §4.2 has none).
        let usable = matches!(kind, TEK | TEK_SALT) && mki.len() <= limits::MKI;
        Ok((usable.then_some(data), next))
    }

    fn master(&self, suite: Suite) -> Option<MasterKey> {
        let both;
        let material = match self.salt {
            Some(salt) if !salt.is_empty() => {
                both = Zeroizing::new([self.key, salt].concat());
                both.as_slice()
            }
            _ => self.key,
        };
        let mut master = MasterKey::new(suite, material)?;
        master.mki = self.mki.to_vec();
        master.lifetime = self.lifetime;
        Some(master)
    }
}

fn number(octets: &[u8]) -> u64 {
    octets
        .iter()
        .fold(0, |sum, octet| (sum << 8) | u64::from(*octet))
}

/// What a message says, as far as it is of use.
#[derive(Default)]
struct Parts<'a> {
    policies: Vec<Policy>,
    keys: Vec<KeyData<'a>>,
}

impl<'a> Parts<'a> {
    /// One payload; returns the type of the next.
    fn payload(&mut self, kind: u8, reader: &mut Reader<'a>) -> Result<u8, MikeyError> {
        let next = reader.byte()?;
        match kind {
            KEMAC => {
                let encryption = reader.byte()?;
                let data = reader.long()?;
                let mac = reader.byte()?;
                if encryption != 0 || mac != 0 {
                    return Err(MikeyError::Encrypted);
                }
                self.key_data(data)?;
            }
            TIME => {
                let length = match reader.byte()? {
                    0 | 1 => 8,
                    2 => 4,
                    _ => return Err(MikeyError::Payload(TIME)),
                };
                reader.take(length)?;
            }
            ID | CERT | EXTENSION => {
                reader.byte()?;
                reader.long()?;
            }
            CHASH => {
                let length = match reader.byte()? {
                    0 => 20,
                    1 => 16,
                    _ => return Err(MikeyError::Payload(CHASH)),
                };
                reader.take(length)?;
            }
            V => match reader.byte()? {
                0 => {}
                _ => return Err(MikeyError::Encrypted),
            },
            SP => {
                let [number, protocol] = reader.array()?;
                let parameters = reader.long()?;
                if protocol != 0 {
                    return Err(MikeyError::NotSrtp);
                }
                self.policies.push(Policy::parse(number, parameters)?);
            }
            RAND => {
                reader.short()?;
            }
            other => return Err(MikeyError::Payload(other)),
        }
        Ok(next)
    }

    fn key_data(&mut self, data: &'a [u8]) -> Result<(), MikeyError> {
        let mut reader = Reader(data);
        for _ in 0..limits::SRTP_KEYS {
            if reader.0.is_empty() {
                break;
            }
            let (key, next) = KeyData::parse(&mut reader)?;
            self.keys.extend(key);
            match next {
                LAST => break,
                KEY_DATA => {}
                other => return Err(MikeyError::Payload(other)),
            }
        }
        Ok(())
    }
}

/// The keys of a message. Octets behind its last payload do not count: some devices pad.
pub fn parse(message: &[u8]) -> Result<Keys, MikeyError> {
    if message.len() > limits::MIKEY {
        return Err(MikeyError::TooLong);
    }
    let mut reader = Reader(message);
    let [version, kind, mut next, _prf] = reader.array()?;
    if version != 1 {
        return Err(MikeyError::Version(version));
    }
    if kind != 0 {
        return Err(MikeyError::Type(kind));
    }
    let _bundle = reader.u32()?;
    let [count, map] = reader.array()?;
    if map != 0 {
        return Err(MikeyError::NotSrtp);
    }
    let (mut rollovers, mut number) = (Vec::new(), None);
    for _ in 0..count {
        let policy = reader.byte()?;
        number.get_or_insert(policy);
        rollovers.push((reader.u32()?, reader.u32()?));
    }
    let mut parts = Parts::default();
    for payloads in 0.. {
        if next == LAST {
            break;
        }
        if payloads >= limits::MIKEY_PAYLOADS {
            return Err(MikeyError::TooMany);
        }
        next = parts.payload(next, &mut reader)?;
    }
    let policies = || parts.policies.iter();
    let policy = policies()
        .find(|policy| Some(policy.number) == number)
        .or_else(|| policies().next())
        .unwrap_or(&Policy::DEFAULT);
    let suite = policy.suite()?;
    let mut masters: Vec<_> = parts
        .keys
        .iter()
        .filter_map(|key| key.master(suite))
        .collect();
    // They are told apart by identifiers of one length, or there is one.
    let mki_len = masters.first().ok_or(MikeyError::NoKey)?.mki.len();
    masters.retain(|master| master.mki.len() == mki_len);
    if mki_len == 0 {
        masters.truncate(1);
    }
    Ok(Keys {
        suite,
        encrypt_rtp: policy.encrypt_rtp && policy.encryption != 0,
        encrypt_rtcp: policy.encrypt_rtcp && policy.encryption != 0,
        masters,
        rollovers,
    })
}

/// What a message has to be new with.
#[derive(Debug, Clone, Copy)]
pub struct Fresh {
    /// Random.
    pub bundle: u32,
    /// Random.
    pub rand: [u8; 16],
    /// Now, as NTP has it.
    pub ntp: u64,
}

/// A message with these keys; the sources are those of the rollover counters, or any.
pub fn write(keys: &Keys, fresh: &Fresh) -> Zeroizing<Vec<u8>> {
    let suite = keys.suite;
    let any = [(0, 0)];
    let sources = match keys.rollovers.is_empty() {
        true => &any[..],
        false => keys.rollovers.as_slice(),
    };
    let sources = sources.get(..sources.len().min(255)).unwrap_or_default();
    let mut out = Zeroizing::new(vec![1, 0, TIME, 0]);
    out.extend(fresh.bundle.to_be_bytes());
    out.extend([octet(sources.len()), 0]);
    for (ssrc, rollover) in sources {
        out.push(0);
        out.extend(ssrc.to_be_bytes());
        out.extend(rollover.to_be_bytes());
    }
    out.extend([RAND, 0]);
    out.extend(fresh.ntp.to_be_bytes());
    out.extend([SP, octet(fresh.rand.len())]);
    out.extend(fresh.rand);

    let flag = |on: bool| u8::from(on);
    let (cipher, tag) = match suite {
        Suite::AesGcm128 | Suite::AesGcm256 => (AES_GCM, (AEAD_TAG_LENGTH, 16)),
        Suite::AesCm128Sha1_80 | Suite::AesCm256Sha1_80 => (AES_CM, (TAG_LENGTH, 10)),
        Suite::AesCm128Sha1_32 | Suite::AesCm256Sha1_32 => (AES_CM, (TAG_LENGTH, 4)),
    };
    let parameters = [
        (ENCRYPTION, cipher),
        (KEY_LENGTH, octet(suite.key_len())),
        (AUTHENTICATION, flag(cipher == AES_CM)),
        (AUTH_KEY_LENGTH, if cipher == AES_CM { 20 } else { 0 }),
        (SALT_LENGTH, octet(suite.salt_len())),
        (PRF, 0),
        (ENCRYPT_RTP, flag(keys.encrypt_rtp)),
        (ENCRYPT_RTCP, flag(keys.encrypt_rtcp)),
        (AUTHENTICATE, flag(cipher == AES_CM)),
        tag,
    ];
    out.extend([KEMAC, 0, 0, 0, octet(parameters.len().saturating_mul(3))]);
    for (kind, value) in parameters {
        out.extend([kind, 1, value]);
    }

    let mut data = Zeroizing::new(Vec::new());
    for (at, master) in keys.masters.iter().enumerate() {
        let last = at.saturating_add(1) == keys.masters.len();
        let material = master.joined();
        let with_mki = !master.mki.is_empty();
        data.extend([
            if last { LAST } else { KEY_DATA },
            (TEK << 4) | flag(with_mki),
            0,
            octet(material.len()),
        ]);
        data.extend_from_slice(&material);
        if with_mki {
            data.push(octet(master.mki.len()));
            data.extend_from_slice(&master.mki);
        }
    }
    out.extend([LAST, 0]);
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    out.extend(length.to_be_bytes());
    out.extend_from_slice(&data);
    out.push(0);
    out
}

/// All that is written is far below.
fn octet(length: usize) -> u8 {
    u8::try_from(length).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests;
