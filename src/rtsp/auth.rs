//! Authentication: Basic and Digest (RFC 7616, with RFC 2617 and RFC 2069
//! for older servers), and which of the offered challenges is answered.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::limits;
use super::message::{Headers, Method};
use super::url::Credentials;

mod challenge;
mod digest;

pub use challenge::{Challenge, parse_challenges};
pub use digest::{Algorithm, DigestChallenge, Hash, Qop};

/// Why a request stays unauthorized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthErrorKind {
    /// None are configured, or the user name cannot be sent.
    NoCredentials,
    /// The server did not take them.
    Refused,
    /// No scheme that is supported and well-formed was offered.
    NoUsableChallenge,
    /// Basic in clear text is not allowed, or Digest was offered before.
    BasicRefused,
}

/// The request is not authorized, and repeating it would not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server {}", self.predicate())]
pub struct AuthError {
    pub kind: AuthErrorKind,
    /// Escaped for display.
    pub realm: String,
    /// The schemes that the server offered.
    pub schemes: String,
}

impl AuthError {
    /// The error without its subject, as others than servers authenticate too.
    pub fn predicate(&self) -> String {
        let Self { realm, schemes, .. } = self;
        format!(
            "{} (realm \"{realm}\", offered: {schemes})",
            self.kind.text()
        )
    }
}

impl AuthErrorKind {
    fn text(self) -> &'static str {
        match self {
            Self::NoCredentials => "wants a user name and password",
            Self::Refused => "refused the user name and password",
            Self::NoUsableChallenge => "offers no supported authentication",
            Self::BasicRefused => "offers only Basic, which would send the password in clear text",
        }
    }
}

/// The request is to be repeated with [`Authenticator::authorization`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// The password will go over the wire in clear text; worth a warning.
    pub basic_in_clear: bool,
    /// The server names another realm than before; worth a log line.
    pub realm_changed: bool,
}

/// What is answered from now on.
#[derive(Debug)]
enum Chosen {
    Basic {
        realm: Vec<u8>,
    },
    Digest {
        challenge: DigestChallenge,
        uses: u32,
        session_cnonce: Option<String>,
    },
}

impl Chosen {
    fn realm(&self) -> &[u8] {
        match self {
            Self::Basic { realm } => realm,
            Self::Digest { challenge, .. } => &challenge.realm,
        }
    }
}

/// The authentication state for one origin.
#[derive(Debug)]
pub struct Authenticator {
    credentials: Option<Credentials>,
    chosen: Option<Chosen>,
    digest_offered: bool,
    prefer_strongest: bool,
    allow_basic_in_clear: bool,
    /// Repetitions since the last sign of success.
    retries: u32,
}

impl Authenticator {
    pub fn new(credentials: Option<Credentials>) -> Self {
        Self {
            credentials,
            chosen: None,
            digest_offered: false,
            prefer_strongest: false,
            allow_basic_in_clear: true,
            retries: 0,
        }
    }

    /// Replaces the credentials; the next request goes without any.
    pub fn set_credentials(&mut self, credentials: Option<Credentials>) {
        self.credentials = credentials;
        self.chosen = None;
        self.retries = 0;
    }

    pub fn has_credentials(&self) -> bool {
        self.credentials.is_some()
    }

    /// Whether the strongest Digest is taken instead of the server's first.
    pub fn set_prefer_strongest(&mut self, prefer: bool) {
        self.prefer_strongest = prefer;
    }

    /// Whether Basic may be used without TLS if it is all that is offered.
    pub fn set_allow_basic_in_clear(&mut self, allow: bool) {
        self.allow_basic_in_clear = allow;
    }

    /// Reacts to a 401: `Ok` if the request is to be repeated.
    ///
    /// `had_authorization` says whether the request carried credentials,
    /// `tls` whether the connection is encrypted. A 401 to credentials leads
    /// to another try only if the server says `stale` or changes the nonce
    /// after it had accepted the old one (RFC 7616 §3.3), and at most
    /// [`limits::AUTH_RETRIES`] times without a success between.
    pub fn challenged(
        &mut self,
        headers: &Headers,
        had_authorization: bool,
        tls: bool,
    ) -> Result<Retry, AuthError> {
        let challenges = parse_challenges(headers, "WWW-Authenticate");
        self.digest_offered |= challenges.iter().any(Challenge::is_digest);
        let fail = |kind| AuthError {
            kind,
            realm: super::parse::excerpt(
                challenges.iter().find_map(Challenge::realm).unwrap_or(b""),
            ),
            schemes: schemes(&challenges),
        };
        let usable = |c: &Credentials| !c.user.contains(['\r', '\n', '\0']);
        if !self.credentials.as_ref().is_some_and(usable) {
            return Err(fail(AuthErrorKind::NoCredentials));
        }
        let digest = self.choose_digest(&challenges);
        let basic = challenges.iter().find_map(|challenge| match challenge {
            Challenge::Basic { realm } => Some(realm),
            _ => None,
        });
        let chosen = match (digest, basic) {
            (Some(challenge), _) => Chosen::Digest {
                challenge: challenge.clone(),
                uses: 0,
                session_cnonce: None,
            },
            (None, Some(_)) if !tls && (self.digest_offered || !self.allow_basic_in_clear) => {
                return Err(fail(AuthErrorKind::BasicRefused));
            }
            (None, Some(realm)) => Chosen::Basic {
                realm: realm.clone(),
            },
            (None, None) => return Err(fail(AuthErrorKind::NoUsableChallenge)),
        };
        if had_authorization && !self.may_retry(&chosen) {
            return Err(fail(AuthErrorKind::Refused));
        }
        self.retries = if had_authorization {
            self.retries.saturating_add(1)
        } else {
            1
        };
        let realm_changed = self
            .chosen
            .as_ref()
            .is_some_and(|old| old.realm() != chosen.realm());
        let basic_in_clear = !tls && matches!(chosen, Chosen::Basic { .. });
        self.chosen = Some(chosen);
        Ok(Retry {
            basic_in_clear,
            realm_changed,
        })
    }

    /// The first usable Digest in server order (RFC 7616 §3.7), or the
    /// strongest if that is preferred.
    fn choose_digest<'a>(&self, challenges: &'a [Challenge]) -> Option<&'a DigestChallenge> {
        let mut digests = challenges.iter().filter_map(|challenge| match challenge {
            Challenge::Digest(digest) => Some(digest),
            _ => None,
        });
        if self.prefer_strongest {
            // The first of equals.
            digests.reduce(|best, digest| {
                if digest.algorithm > best.algorithm {
                    digest
                } else {
                    best
                }
            })
        } else {
            digests.next()
        }
    }

    /// Whether a request that carried credentials is repeated with `new`.
    fn may_retry(&mut self, new: &Chosen) -> bool {
        match (&self.chosen, new) {
            (
                Some(Chosen::Digest {
                    challenge: old,
                    uses,
                    ..
                }),
                Chosen::Digest { challenge, .. },
            ) => {
                // Only an accepted nonce is used a second time.
                let accepted = *uses > 1;
                if accepted {
                    self.retries = 0;
                }
                let new_nonce = accepted && old.nonce != challenge.nonce;
                (challenge.stale || new_nonce) && self.retries < limits::AUTH_RETRIES
            }
            // Something stronger than what was refused.
            (Some(Chosen::Basic { .. }) | None, Chosen::Digest { .. }) => {
                self.retries < limits::AUTH_RETRIES
            }
            (_, Chosen::Basic { .. }) => false,
        }
    }

    /// The value of the `Authorization` header for this very request; `None`
    /// before the first challenge. Bytes, because a realm goes back unchanged
    /// even if it is not UTF-8. Never log it.
    pub fn authorization(&mut self, method: &Method, uri: &str, body: &[u8]) -> Option<Vec<u8>> {
        // 128 random bits (RFC 7616 §5.12).
        self.authorization_with(method, uri, body, || {
            format!("{:032x}", rand::random::<u128>())
        })
    }

    fn authorization_with(
        &mut self,
        method: &Method,
        uri: &str,
        body: &[u8],
        cnonce: impl FnOnce() -> String,
    ) -> Option<Vec<u8>> {
        let credentials = self.credentials.as_ref()?;
        match self.chosen.as_mut()? {
            Chosen::Basic { .. } => {
                let pair = format!("{}:{}", credentials.user, credentials.password);
                Some(format!("Basic {}", BASE64_STANDARD.encode(pair)).into_bytes())
            }
            Chosen::Digest {
                challenge,
                uses,
                session_cnonce,
            } => {
                // The counter of a nonce must not repeat (RFC 7616 §3.4).
                *uses = uses.checked_add(1)?;
                // A -sess key belongs to one nonce and cnonce (RFC 7616 §3.4.2).
                let cnonce = match session_cnonce {
                    Some(cnonce) => cnonce.clone(),
                    None => cnonce(),
                };
                if challenge.algorithm.session {
                    *session_cnonce = Some(cnonce.clone());
                }
                let request = digest::Request {
                    method,
                    uri,
                    body,
                    cnonce: &cnonce,
                    count: *uses,
                };
                Some(challenge.answer(credentials, &request))
            }
        }
    }
}

fn schemes(challenges: &[Challenge]) -> String {
    let names: Vec<_> = challenges.iter().map(Challenge::to_string).collect();
    if names.is_empty() {
        "none".to_string()
    } else {
        names.join(", ")
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Challenge::Digest(digest) => write!(f, "Digest {}", digest.algorithm),
            Challenge::Basic { .. } => f.write_str("Basic"),
            Challenge::Unusable { scheme, reason, .. } => write!(f, "{scheme} ({reason})"),
        }
    }
}

#[cfg(test)]
mod tests;
