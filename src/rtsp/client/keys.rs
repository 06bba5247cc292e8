//! The keys of secured media: what the description offers, and what SETUP exchanges (RFC 4567).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::Config;
use crate::rtp::srtp::Keys;
use crate::rtsp::limits;
use crate::rtsp::message::Headers;
use crate::rtsp::mikey::{self, Fresh};
use crate::rtsp::parse::split_list;
use crate::rtsp::sdp;
use crate::rtsp::url::Url;

/// What the keys are for that this side has to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyUse {
    /// What this side sends.
    Own,
    /// What both sides send: the server leaves the keys to its client.
    Both,
}

/// Keys that this side has made.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnKeys {
    pub keys: Keys,
    /// MIKEY message, in base64.
    message: Zeroizing<String>,
}

impl OwnKeys {
    pub fn new(keys: Keys, fresh: &Fresh) -> Self {
        let message = Zeroizing::new(STANDARD.encode(mikey::write(&keys, fresh)));
        Self { keys, message }
    }

    /// Value of `a=key-mgmt` (RFC 4567 §3.1).
    pub fn attribute(&self) -> String {
        format!("mikey {}", *self.message)
    }

    /// Value of a KeyMgmt header (RFC 4567 §3.2).
    pub(super) fn header(&self, url: &str) -> String {
        format!("prot=mikey;uri=\"{url}\";data=\"{}\"", *self.message)
    }
}

impl fmt::Debug for OwnKeys {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("OwnKeys(***)")
    }
}

/// The keys of a stream that is secured.
#[derive(Debug)]
pub(super) struct Secured {
    /// Of the server, by its description; or why there are none.
    described: Result<Keys, String>,
    /// What our keys are for.
    pub usage: KeyUse,
    /// They were asked for.
    pub asked: bool,
    pub own: Option<OwnKeys>,
}

impl Secured {
    /// None: the media is clear.
    pub fn new(
        session: &sdp::Session,
        media: &sdp::Media,
        url: &Url,
        config: &Config,
    ) -> Option<Self> {
        let secured = media.proto.is_some_and(|proto| proto.profile.is_secure());
        // UniFi Protect keeps RTP/AVP where its URL asks for SRTP; without that, `a=crypto` stands
        // there and the media is clear.
        let gate = || url.path_and_query().contains("enableSrtp") && media.attr("crypto").is_some();
        if !secured && !gate() {
            return None;
        }
        let clear_keys = url.is_tls() || config.allow_clear_keys;
        let usage = match config.client_keys && secured {
            true => KeyUse::Both,
            false => KeyUse::Own,
        };
        Some(Self {
            described: described(session, media, clear_keys),
            usage,
            asked: false,
            own: None,
        })
    }

    /// The keys with which the server protects what it sends: those of its answer come before
    /// those of the description (RFC 4567 §4.2).
    pub fn inbound(&self, answer: &Headers) -> Result<Keys, String> {
        if let Some(answered) = key_mgmt(answer).into_iter().next() {
            return answered;
        }
        match (self.usage, &self.own) {
            (KeyUse::Both, Some(own)) => Ok(own.keys.clone()),
            _ => self.described.clone(),
        }
    }

    /// Whether new keys may help against a refusal; they are asked for then, once.
    pub fn leave_to_client(&mut self) -> bool {
        if self.usage == KeyUse::Both {
            return false;
        }
        *self = Self {
            described: std::mem::replace(&mut self.described, Err(String::new())),
            usage: KeyUse::Both,
            asked: false,
            own: None,
        };
        true
    }
}

/// MIKEY of the media, else of the session, else `a=crypto`.
fn described(session: &sdp::Session, media: &sdp::Media, clear_keys: bool) -> Result<Keys, String> {
    let of_media = media.attrs("key-mgmt").take(limits::KEY_LINES);
    let of_session = session.attrs("key-mgmt").take(limits::KEY_LINES);
    let mut why = None;
    for line in of_media.chain(of_session) {
        let (protocol, data) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        if !protocol.eq_ignore_ascii_case("mikey") {
            continue;
        }
        match decode(data) {
            Ok(keys) => return Ok(keys),
            Err(error) => why = why.or(Some(error)),
        }
    }
    match media.crypto() {
        Some(keys) if clear_keys => Ok(keys),
        Some(_) => Err("its keys (a=crypto) come over a connection without TLS, \
            which `allow-clear-keys` would allow"
            .into()),
        None => Err(why.unwrap_or_else(|| "the server gives no key for it".into())),
    }
}

/// The keys of KeyMgmt headers, in their order. The URL in them is not looked at: devices leave it
/// empty.
pub(super) fn key_mgmt(headers: &Headers) -> Vec<Result<Keys, String>> {
    let list = headers.joined("KeyMgmt").unwrap_or_default();
    split_list(&list)
        .take(limits::SDP_MEDIA)
        .filter_map(|value| {
            let field = |name: &str| {
                value.split(';').find_map(|field| {
                    let (key, value) = field.split_once('=')?;
                    let found = key.trim().eq_ignore_ascii_case(name);
                    found.then(|| value.trim().trim_matches('"'))
                })
            };
            let mikey = field("prot").is_none_or(|name| name.eq_ignore_ascii_case("mikey"));
            field("data").filter(|_| mikey).map(decode)
        })
        .collect()
}

fn decode(data: &str) -> Result<Keys, String> {
    // Devices forget the padding.
    let lenient = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let engine = GeneralPurpose::new(&base64::alphabet::STANDARD, lenient);
    let message = engine.decode(data.trim());
    let message = message.map_err(|_| "its MIKEY message is no base64".to_string())?;
    mikey::parse(&Zeroizing::new(message)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::srtp::{MasterKey, Suite};

    fn own(first: u8) -> OwnKeys {
        let mut material = [first; 30];
        material[29] = 0;
        let master = MasterKey::new(Suite::AesCm128Sha1_80, &material).unwrap();
        let mut keys = Keys::new(Suite::AesCm128Sha1_80, master);
        keys.rollovers = vec![(7, 0)];
        let fresh = Fresh {
            bundle: 1,
            rand: [2; 16],
            ntp: 3,
        };
        OwnKeys::new(keys, &fresh)
    }

    const CRYPTO: &str =
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";

    fn secured(url: &str, session: &str, media: &str, profile: &str) -> Option<Secured> {
        let text = format!(
            "v=0\r\n{session}\r\nm=video 0 {profile} 96\r\na=rtpmap:96 H264/90000\r\n{media}\r\n"
        );
        let sdp = sdp::Session::parse(text.as_bytes()).unwrap();
        let url = Url::parse(url).unwrap();
        Secured::new(&sdp, &sdp.media[0], &url, &Config::new(url.clone()))
    }

    // covers: C-SRTP-11
    #[test]
    fn the_answer_comes_before_the_media_and_that_before_the_session() {
        let url = "rtsp://h/x";
        let line = |first| format!("a=key-mgmt:{}", own(first).attribute());
        let mut headers = Headers::new();
        for (session, media, expected) in [
            (line(1), line(2), 2),
            (line(1), String::new(), 1),
            (line(1), "a=key-mgmt:mikey AAAA".into(), 1),
            (line(1), "a=key-mgmt:other AAAA".into(), 1),
        ] {
            let secured = secured(url, &session, &media, "RTP/SAVP").unwrap();
            assert_eq!(secured.inbound(&headers), Ok(own(expected).keys));
        }
        let secured = secured(url, &line(1), &line(2), "RTP/SAVPF").unwrap();
        headers.push("KeyMgmt", own(3).header(url));
        assert_eq!(secured.inbound(&headers), Ok(own(3).keys));
        // An answer that cannot be read is none to guess around.
        headers.set("KeyMgmt", "prot=mikey;uri=\"\";data=\"AAAA\"");
        assert!(secured.inbound(&headers).is_err());
    }

    // covers: C-SRTP-11
    #[test]
    fn key_mgmt_headers_are_read_in_any_order_and_without_quotes() {
        let data = own(5).message.to_string();
        for value in [
            own(5).header("rtsp://h/x"),
            format!("data={data} ; prot=MIKEY"),
            format!("prot=other;data=\"AA\", prot=mikey; uri=\"\"; data=\"{data}\""),
        ] {
            let mut headers = Headers::new();
            headers.push("KeyMgmt", value.as_str());
            assert_eq!(key_mgmt(&headers), [Ok(own(5).keys)], "{value}");
        }
        assert!(key_mgmt(&Headers::new()).is_empty());
    }

    // covers: C-SRTP-07, C-SRTP-15
    #[test]
    fn keys_in_the_description_are_for_tls_alone() {
        let of = |url: &str| {
            let secured = secured(url, "s=x", CRYPTO, "RTP/SAVP").unwrap();
            secured.inbound(&Headers::new())
        };
        assert!(of("rtsps://h/x").is_ok());
        assert!(of("rtsp://h/x").unwrap_err().contains("allow-clear-keys"));
        let none = secured("rtsps://h/x", "s=x", "a=x", "RTP/SAVP").unwrap();
        assert!(
            none.inbound(&Headers::new())
                .unwrap_err()
                .contains("no key")
        );
    }

    // covers: C-SRTP-15
    #[test]
    fn crypto_lines_beside_a_clear_profile_count_only_where_the_url_asks_for_srtp() {
        assert!(secured("rtsps://h/x", "s=x", CRYPTO, "RTP/AVP").is_none());
        assert!(secured("rtsps://h/x?enableSrtp", "s=x", CRYPTO, "RTP/AVP").is_some());
        assert!(secured("rtsps://h/x?enableSrtp", "s=x", "a=x", "RTP/AVP").is_none());
    }

    #[test]
    fn keys_do_not_show() {
        let secured = Secured {
            described: Ok(own(9).keys),
            usage: KeyUse::Own,
            asked: true,
            own: Some(own(9)),
        };
        let text = format!("{secured:?}");
        assert!(
            text.contains("OwnKeys(***)") && !text.contains("9, 9"),
            "{text}"
        );
    }
}
