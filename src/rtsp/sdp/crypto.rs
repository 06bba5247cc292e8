//! `a=crypto`: keys in the description itself (SDES, RFC 4568).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::Media;
use crate::rtp::srtp::{Keys, MasterKey, Suite};
use crate::rtsp::limits;

impl Media {
    /// The first `a=crypto` line that can be used; the order is that of preference
    /// (RFC 4568 §5.1.1). Whoever reads the description has these keys.
    pub fn crypto(&self) -> Option<Keys> {
        let mut lines = self.attrs("crypto").take(limits::KEY_LINES);
        lines.find_map(parse)
    }
}

/// `tag suite inline:key||salt[|lifetime][|MKI:length][;inline:…] [session parameters]`
fn parse(line: &str) -> Option<Keys> {
    let mut words = line.split_ascii_whitespace();
    let _tag: u32 = words.next()?.parse().ok()?;
    let suite = Suite::from_name(words.next()?)?;
    let parameters = words.next()?.split(';').take(limits::SRTP_KEYS);
    let masters: Option<Vec<_>> = parameters.map(|key| master(suite, key)).collect();
    let masters = masters?;
    let first = masters.first()?;
    // Several keys are told apart by identifiers of one length (RFC 4568 §6.1).
    let same = |master: &MasterKey| master.mki.len() == first.mki.len();
    if !masters.iter().all(same) || (masters.len() > 1 && first.mki.is_empty()) {
        return None;
    }
    let mut keys = Keys {
        suite,
        encrypt_rtp: true,
        encrypt_rtcp: true,
        masters,
        rollovers: Vec::new(),
    };
    for word in words {
        match word {
            "UNENCRYPTED_SRTP" => keys.encrypt_rtp = false,
            "UNENCRYPTED_SRTCP" => keys.encrypt_rtcp = false,
            "KDR=0" => {}
            // A replay window of another size, and what may be ignored (RFC 4568 §6.3.7).
            word if word.starts_with("WSH=") || word.starts_with('-') => {}
            // Without signatures, other derivation rates, error correction, and what is not known:
            // such a line must not be used.
            _ => return None,
        }
    }
    Some(keys)
}

fn master(suite: Suite, parameter: &str) -> Option<MasterKey> {
    let (method, info) = parameter.split_once(':')?;
    if !method.eq_ignore_ascii_case("inline") {
        return None;
    }
    let mut parts = info.split('|');
    let material = Zeroizing::new(STANDARD.decode(parts.next()?).ok()?);
    let mut master = MasterKey::new(suite, &material)?;
    for part in parts {
        match part.split_once(':') {
            Some((value, length)) => {
                let length: usize = length.parse().ok()?;
                let value: u64 = value.parse().ok()?;
                let value = value.to_be_bytes();
                if length == 0 || length > limits::MKI {
                    return None;
                }
                let padding = vec![0; length.saturating_sub(value.len())];
                let unused = value.len().saturating_sub(length);
                let (unused, value) = value.split_at_checked(unused)?;
                if unused.iter().any(|octet| *octet != 0) {
                    return None;
                }
                master.mki = [padding.as_slice(), value].concat();
            }
            None => {
                let lifetime = match part.strip_prefix("2^") {
                    Some(power) => 1u64.checked_shl(power.parse().ok()?)?,
                    None => part.parse().ok()?,
                };
                if lifetime == 0 {
                    return None;
                }
                master.lifetime = Some(lifetime);
            }
        }
    }
    Some(master)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";

    // covers: C-SRTP-15
    #[test]
    fn the_examples_of_rfc_4568_are_read() {
        let keys = parse(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:32"));
        let keys = keys.unwrap();
        assert_eq!(keys.suite, Suite::AesCm128Sha1_80);
        let master = &keys.masters[0];
        assert_eq!(*master.joined(), STANDARD.decode(KEY).unwrap());
        assert_eq!(master.lifetime, Some(1 << 20));
        assert_eq!((master.mki.len(), master.mki[31]), (32, 1));
        let keys = parse(&format!(
            "2 AES_CM_128_HMAC_SHA1_32 inline:{KEY}|66:4;inline:{KEY}|67:4 UNENCRYPTED_SRTCP WSH=60 -X=1"
        ));
        let keys = keys.unwrap();
        assert_eq!(keys.masters[1].mki, [0, 0, 0, 67]);
        assert!(keys.encrypt_rtp && !keys.encrypt_rtcp);
        let bare = parse(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}")).unwrap();
        assert_eq!(
            (bare.masters[0].lifetime, bare.masters[0].mki.len()),
            (None, 0)
        );
    }

    // covers: C-SRTP-15
    #[test]
    fn a_line_that_is_not_understood_in_full_is_not_used() {
        for line in [
            "",
            "1 AES_CM_128_HMAC_SHA1_80",
            "x AES_CM_128_HMAC_SHA1_80 inline:KEY",
            "1 F8_128_HMAC_SHA1_80 inline:KEY",
            "1 AES_256_CM_HMAC_SHA1_80 inline:KEY",
            "1 AEAD_AES_128_GCM inline:KEY",
            "1 AES_CM_128_HMAC_SHA1_80 outline:KEY",
            "1 AES_CM_128_HMAC_SHA1_80 inline:KEYA",
            "1 AES_CM_128_HMAC_SHA1_80 inline:KEY|0",
            "1 AES_CM_128_HMAC_SHA1_80 inline:KEY|2^99",
            "1 AES_CM_128_HMAC_SHA1_80 inline:KEY|1:0",
            "1 AES_CM_128_HMAC_SHA1_80 inline:KEY|1:129",
            "1 AES_CM_128_HMAC_SHA1_80 inline:KEY|300:1",
            "1 AES_CM_128_HMAC_SHA1_80 inline:KEY;inline:KEY",
            "1 AES_CM_128_HMAC_SHA1_80 inline:KEY UNAUTHENTICATED_SRTP",
            "1 AES_CM_128_HMAC_SHA1_80 inline:KEY KDR=1",
            "1 AES_CM_128_HMAC_SHA1_80 inline:KEY FEC_ORDER=FEC_SRTP",
            "1 AES_CM_128_HMAC_SHA1_80 inline:KEY NEW=1",
        ] {
            assert_eq!(parse(&line.replace("KEY", KEY)), None, "{line}");
        }
    }
}
