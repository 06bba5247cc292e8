//! Keys as caps give them: what handlers of `request-rtp-key` and `request-rtcp-key` answer, in the
//! words of `srtpdec` and `srtpenc`.

use crate::rtp::srtp::{Keys, MasterKey, Suite};
use crate::rtsp::limits;

/// The keys of caps, or what is wrong with them.
pub fn keys(caps: &gst::CapsRef) -> Result<Keys, String> {
    let s = caps.structure(0).ok_or("empty caps")?;
    let octets = |name: &str| -> Option<Vec<u8>> {
        let buffer = s.get::<gst::Buffer>(name).ok()?;
        Some(buffer.map_readable().ok()?.to_vec())
    };
    let text = |name: &str| s.get::<&str>(name).ok();
    let cipher = text("srtp-cipher").unwrap_or("aes-128-icm");
    let auth = text("srtp-auth").unwrap_or("hmac-sha1-80");
    let suite = match (cipher, auth) {
        ("aes-128-icm" | "null", "hmac-sha1-80") => Suite::AesCm128Sha1_80,
        ("aes-128-icm" | "null", "hmac-sha1-32") => Suite::AesCm128Sha1_32,
        ("aes-256-icm", "hmac-sha1-80") => Suite::AesCm256Sha1_80,
        ("aes-256-icm", "hmac-sha1-32") => Suite::AesCm256Sha1_32,
        ("aes-128-gcm", _) => Suite::AesGcm128,
        ("aes-256-gcm", _) => Suite::AesGcm256,
        _ => return Err(format!("{cipher} with {auth} is not supported")),
    };
    let rtcp = text("srtcp-cipher").unwrap_or(cipher);
    if rtcp != cipher && rtcp != "null" {
        return Err("RTP and RTCP have different ciphers".into());
    }
    let material = zeroize::Zeroizing::new(octets("srtp-key").ok_or("there is no srtp-key")?);
    let mut master = MasterKey::new(suite, &material)
        .ok_or_else(|| format!("srtp-key has not the length of key and salt of {cipher}"))?;
    master.mki = octets("mki").unwrap_or_default();
    if master.mki.len() > limits::MKI {
        return Err("the MKI is too long".into());
    }
    let mut keys = Keys::new(suite, master);
    keys.encrypt_rtp = cipher != "null";
    keys.encrypt_rtcp = rtcp != "null";
    if let Ok(roc) = s.get::<u32>("roc") {
        keys.rollovers = vec![(s.get::<u32>("ssrc").unwrap_or(0), roc)];
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(cipher: &str, auth: &str, length: usize) -> gst::Caps {
        gst::init().unwrap();
        gst::Caps::builder("application/x-srtp")
            .field("srtp-key", gst::Buffer::from_slice(vec![3u8; length]))
            .field("srtp-cipher", cipher)
            .field("srtp-auth", auth)
            .field("srtcp-cipher", cipher)
            .field("srtcp-auth", auth)
            .field("roc", 4u32)
            .field("mki", gst::Buffer::from_slice(vec![1u8, 2]))
            .build()
    }

    #[test]
    fn keys_of_caps_are_those_of_srtpdec() {
        for (cipher, auth, length, suite) in [
            ("aes-128-icm", "hmac-sha1-80", 30, Suite::AesCm128Sha1_80),
            ("aes-128-icm", "hmac-sha1-32", 30, Suite::AesCm128Sha1_32),
            ("aes-256-icm", "hmac-sha1-80", 46, Suite::AesCm256Sha1_80),
            ("aes-128-gcm", "null", 28, Suite::AesGcm128),
            ("aes-256-gcm", "null", 44, Suite::AesGcm256),
        ] {
            let keys = keys(&caps(cipher, auth, length)).unwrap();
            assert_eq!(keys.suite, suite);
            assert_eq!(keys.masters[0].mki, [1, 2]);
            assert_eq!(keys.rollovers, [(0, 4)]);
        }
        assert!(keys(&caps("aes-128-icm", "hmac-sha1-80", 16)).is_err());
        assert!(keys(&caps("aes-128-icm", "null", 30)).is_err());
        assert!(keys(&gst::Caps::new_empty_simple("application/x-srtp")).is_err());
    }
}
