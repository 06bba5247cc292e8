//! The answer to a Digest challenge (RFC 7616 §3.4).

use std::fmt;

use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};

use crate::rtsp::message::Method;
use crate::rtsp::url::Credentials;

/// Hash functions, the stronger the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Hash {
    /// What is meant when no algorithm is named (RFC 7616 §3.3).
    #[default]
    Md5,
    Sha256,
    /// SHA-512/256 of FIPS 180-4, not a truncated SHA-512 as in the example
    /// of RFC 7616 §3.9.2.
    Sha512_256,
}

/// A hash function, and whether the key is bound to a nonce and cnonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Algorithm {
    pub hash: Hash,
    pub session: bool,
}

const NAMES: [(&str, Hash, bool); 6] = [
    ("MD5", Hash::Md5, false),
    ("MD5-sess", Hash::Md5, true),
    ("SHA-256", Hash::Sha256, false),
    ("SHA-256-sess", Hash::Sha256, true),
    ("SHA-512-256", Hash::Sha512_256, false),
    ("SHA-512-256-sess", Hash::Sha512_256, true),
];

impl Algorithm {
    pub(super) fn from_name(name: &[u8]) -> Option<Self> {
        let known = NAMES
            .iter()
            .find(|(known, ..)| name.eq_ignore_ascii_case(known.as_bytes()));
        known.map(|(_, hash, session)| Self {
            hash: *hash,
            session: *session,
        })
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES
            .iter()
            .find(|(_, h, s)| (*h, *s) == (self.hash, self.session));
        f.write_str(name.map_or("", |(name, ..)| name))
    }
}

/// Quality of protection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qop {
    Auth,
    /// The body is hashed too.
    AuthInt,
}

impl Qop {
    /// One of the list, `auth` if it is there.
    pub(super) fn choose(list: &[u8]) -> Option<Self> {
        let has = |name: &[u8]| {
            list.split(|b| *b == b',')
                .any(|item| item.trim_ascii().eq_ignore_ascii_case(name))
        };
        if has(b"auth") {
            Some(Qop::Auth)
        } else {
            has(b"auth-int").then_some(Qop::AuthInt)
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Qop::Auth => "auth",
            Qop::AuthInt => "auth-int",
        }
    }
}

/// A Digest challenge that can be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestChallenge {
    pub realm: Vec<u8>,
    pub nonce: Vec<u8>,
    pub opaque: Option<Vec<u8>>,
    pub algorithm: Algorithm,
    /// Whether the server named the algorithm; only then it is sent back.
    pub algorithm_given: bool,
    /// `None`: the form of RFC 2069.
    pub qop: Option<Qop>,
    pub stale: bool,
}

/// What is signed.
pub(super) struct Request<'a> {
    pub method: &'a Method,
    pub uri: &'a str,
    pub body: &'a [u8],
    pub cnonce: &'a str,
    /// How often the nonce was used, this time included.
    pub count: u32,
}

impl DigestChallenge {
    /// The value of the `Authorization` header.
    pub(super) fn answer(&self, credentials: &Credentials, request: &Request<'_>) -> Vec<u8> {
        let mut out = b"Digest ".to_vec();
        let response = self.response(credentials, request);
        quoted(&mut out, "username", credentials.user.as_bytes());
        quoted(&mut out, "realm", &self.realm);
        quoted(&mut out, "nonce", &self.nonce);
        quoted(&mut out, "uri", request.uri.as_bytes());
        quoted(&mut out, "response", response.as_bytes());
        if self.algorithm_given {
            out.extend_from_slice(format!("algorithm={}, ", self.algorithm).as_bytes());
        }
        if let Some(qop) = self.qop {
            quoted(&mut out, "cnonce", request.cnonce.as_bytes());
            let unquoted = format!("qop={}, nc={:08x}, ", qop.as_str(), request.count);
            out.extend_from_slice(unquoted.as_bytes());
        }
        if let Some(opaque) = &self.opaque {
            quoted(&mut out, "opaque", opaque);
        }
        out.truncate(out.trim_ascii_end().len().saturating_sub(1));
        out
    }

    fn response(&self, credentials: &Credentials, request: &Request<'_>) -> String {
        let hash = |parts: &[&[u8]]| self.algorithm.hash.hex(parts);
        let cnonce = request.cnonce.as_bytes();
        let (user, password) = (credentials.user.as_bytes(), credentials.password.as_bytes());
        let mut key = hash(&[user, &self.realm, password]);
        if self.algorithm.session {
            key = hash(&[key.as_bytes(), &self.nonce, cnonce]);
        }
        let (method, uri) = (request.method.as_str().as_bytes(), request.uri.as_bytes());
        let what = match self.qop {
            Some(Qop::AuthInt) => hash(&[method, uri, hash(&[request.body]).as_bytes()]),
            Some(Qop::Auth) | None => hash(&[method, uri]),
        };
        let (key, what) = (key.as_bytes(), what.as_bytes());
        match self.qop {
            Some(qop) => {
                let count = format!("{:08x}", request.count);
                hash(&[
                    key,
                    &self.nonce,
                    count.as_bytes(),
                    cnonce,
                    qop.as_str().as_bytes(),
                    what,
                ])
            }
            None => hash(&[key, &self.nonce, what]),
        }
    }
}

impl Hash {
    /// The hash of the parts with colons between, in lower-case hex.
    fn hex(self, parts: &[&[u8]]) -> String {
        fn hex<D: Digest>(parts: &[&[u8]]) -> String {
            let digest = D::digest(parts.join(&b':'));
            digest.iter().map(|byte| format!("{byte:02x}")).collect()
        }
        match self {
            Hash::Md5 => hex::<Md5>(parts),
            Hash::Sha256 => hex::<Sha256>(parts),
            Hash::Sha512_256 => hex::<Sha512_256>(parts),
        }
    }
}

/// `name="value", ` with quotes and backslashes escaped.
fn quoted(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    for byte in value {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.extend_from_slice(b"\", ");
}
