//! Reading `WWW-Authenticate` (RFC 7616 §3.3, RFC 7826 §18.58).

use super::digest::{Algorithm, DigestChallenge, Qop};
use crate::rtsp::limits;
use crate::rtsp::message::Headers;
use crate::rtsp::parse::{excerpt, is_token, split_list_bytes};

/// One challenge of a 401.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    Digest(DigestChallenge),
    Basic {
        realm: Vec<u8>,
    },
    /// Another scheme, or one that cannot be answered.
    Unusable {
        scheme: String,
        realm: Vec<u8>,
        reason: &'static str,
    },
}

impl Challenge {
    pub(super) fn is_digest(&self) -> bool {
        match self {
            Challenge::Digest(_) => true,
            Challenge::Basic { .. } => false,
            Challenge::Unusable { scheme, .. } => scheme.eq_ignore_ascii_case("Digest"),
        }
    }

    pub(super) fn realm(&self) -> Option<&[u8]> {
        match self {
            Challenge::Digest(digest) => Some(&digest.realm),
            Challenge::Basic { realm } | Challenge::Unusable { realm, .. } => Some(realm),
        }
        .filter(|realm| !realm.is_empty())
        .map(Vec::as_slice)
    }
}

/// All challenges of the headers of that name, in order.
pub fn parse_challenges(headers: &Headers, header_name: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Raw<'_>> = Vec::new();
    for value in headers.get_all(header_name) {
        // Challenges and their parameters share one comma list: an item
        // without `name=` in front begins a new challenge.
        let mut current = None;
        for item in split_list_bytes(value) {
            let (word, rest) = split_word(item);
            let parameter = match rest {
                [b'=', value @ ..] if current.is_some() => Some((word, value)),
                _ => {
                    challenges.extend(current.replace(Raw::new(word)));
                    let (name, value) = split_word(rest);
                    value.strip_prefix(b"=").map(|value| (name, value))
                }
            };
            if let (Some(raw), Some(parameter)) = (&mut current, parameter) {
                raw.parameters.push(parameter);
            }
        }
        challenges.extend(current);
    }
    challenges.iter().map(Raw::read).collect()
}

/// A token and, without the blanks between, what follows it.
fn split_word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text
        .iter()
        .position(|byte| !is_token(*byte))
        .unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end).unwrap_or_default();
    (word, rest.trim_ascii_start())
}

/// A challenge before it is understood.
struct Raw<'a> {
    scheme: &'a [u8],
    parameters: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Raw<'a> {
    fn new(scheme: &'a [u8]) -> Self {
        Self {
            scheme,
            parameters: Vec::new(),
        }
    }

    /// The value of the first parameter of that name, in any case.
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, &'static str> {
        let parameter = self
            .parameters
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()));
        parameter
            .map(|(_, value)| unquote(value.trim_ascii()))
            .transpose()
    }

    fn read(&self) -> Challenge {
        let result = if self.scheme.eq_ignore_ascii_case(b"Digest") {
            self.digest().map(Challenge::Digest)
        } else if self.scheme.eq_ignore_ascii_case(b"Basic") {
            self.get("realm").map(|realm| Challenge::Basic {
                realm: realm.unwrap_or_default(),
            })
        } else {
            Err("unknown scheme")
        };
        result.unwrap_or_else(|reason| Challenge::Unusable {
            scheme: excerpt(self.scheme),
            realm: self.get("realm").ok().flatten().unwrap_or_default(),
            reason,
        })
    }

    fn digest(&self) -> Result<DigestChallenge, &'static str> {
        let algorithm = self.get("algorithm")?;
        let algorithm_given = algorithm.is_some();
        // An unknown one is never taken for MD5 (RFC 7616 §3.3).
        let algorithm = match algorithm {
            Some(name) => Algorithm::from_name(&name).ok_or("unknown algorithm")?,
            None => Algorithm::default(),
        };
        let qop = match self.get("qop")? {
            Some(list) => Some(Qop::choose(&list).ok_or("unknown qop")?),
            None => None,
        };
        if algorithm.session && qop.is_none() {
            return Err("session algorithm without qop");
        }
        Ok(DigestChallenge {
            realm: self.get("realm")?.ok_or("no realm")?,
            nonce: self.get("nonce")?.ok_or("no nonce")?,
            opaque: self.get("opaque")?,
            algorithm,
            algorithm_given,
            qop,
            stale: self
                .get("stale")?
                .is_some_and(|stale| stale.eq_ignore_ascii_case(b"true")),
        })
    }
}

/// A token or quoted string, with its backslash escapes undone.
fn unquote(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    let value = match text {
        [b'"', quoted @ ..] => {
            let mut value = Vec::new();
            let mut bytes = quoted.iter();
            loop {
                match bytes.next() {
                    Some(b'"') => break value,
                    Some(b'\\') => value.extend(bytes.next()),
                    Some(byte) => value.push(*byte),
                    None => return Err("unclosed quote"),
                }
            }
        }
        _ => text.to_vec(),
    };
    if value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        Err("illegal character")
    } else if value.len() > limits::AUTH_VALUE {
        Err("value too long")
    } else {
        Ok(value)
    }
}
