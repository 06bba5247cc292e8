//! Whether a server's certificate is trusted, in the terms of GIO: one flag for
//! each check that failed.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use gio::TlsCertificateFlags as Flags;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage};

use super::trust::Trust;
use super::{Fingerprint, Refused};
use crate::rtsp::limits;

/// Looks at a chain, each at another time: it may have expired and be of an unknown
/// issuer too.
const LOOKS: usize = 4;

#[derive(Debug)]
pub(super) struct Verifier {
    checks: Flags,
    pin: Option<Fingerprint>,
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
    /// Refused and then overruled, by host.
    accepted: Mutex<Vec<(String, Fingerprint)>>,
}

/// The checks that failed, and how.
#[derive(Debug, Default)]
struct Findings {
    failed: Vec<(Flags, String)>,
}

impl Findings {
    fn add(&mut self, flag: Flags, reason: impl Into<String>) {
        self.failed.push((flag, reason.into()));
    }
}

impl Verifier {
    pub fn new(
        checks: Flags,
        pin: Option<Fingerprint>,
        trust: Trust,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        Self {
            checks,
            pin,
            trust,
            algorithms,
            accepted: Mutex::default(),
        }
    }

    /// From now on the certificate is trusted. False if too many are already.
    pub fn accept(&self, refused: &Refused) -> bool {
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let room = accepted.len() < limits::TLS_ACCEPTED;
        if room {
            accepted.push((refused.host.clone(), refused.fingerprint));
        }
        room
    }

    fn is_accepted(&self, host: &str, fingerprint: Fingerprint) -> bool {
        let accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pairs = accepted.iter();
        pairs.any(|(name, print)| name == host && *print == fingerprint)
    }

    fn judge(
        &self,
        own: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Refused> {
        let host = name.to_str().into_owned();
        let fingerprint = Fingerprint::of(own);
        let mut findings = Findings::default();
        match self.pin {
            Some(pin) if pin == fingerprint => return Ok(()),
            Some(_) => findings.add(
                Flags::GENERIC_ERROR,
                "it is not the one that `tls-fingerprint` names",
            ),
            None => {
                self.examine(own, intermediates, name, now, &mut findings);
                findings
                    .failed
                    .retain(|(flag, _)| self.checks.intersects(*flag));
            }
        }
        let failed = findings.failed.iter().map(|(flag, _)| *flag).collect();
        if Flags::is_empty(&failed) || self.is_accepted(&host, fingerprint) {
            return Ok(());
        }
        let chain = std::iter::once(own).chain(intermediates);
        Err(Refused {
            host,
            failed,
            chain: chain.map(|one| one.clone().into_owned()).collect(),
            fingerprint,
            reasons: findings.failed.into_iter().map(|(_, why)| why).collect(),
            pinned: self.pin.is_some(),
        })
    }

    /// Finds all that is wrong, since the user may have allowed some of it.
    fn examine(
        &self,
        own: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
        findings: &mut Findings,
    ) {
        let certificate = match EndEntityCert::try_from(own) {
            Ok(certificate) => certificate,
            Err(error) => {
                return findings.add(Flags::GENERIC_ERROR, format!("it cannot be read ({error})"));
            }
        };
        match certificate.verify_is_valid_for_subject_name(name) {
            Ok(()) => {}
            Err(webpki::Error::CertNotValidForName(context)) => findings.add(
                Flags::BAD_IDENTITY,
                format!(
                    "it is not for {}{}",
                    name.to_str(),
                    others(&context.presented)
                ),
            ),
            Err(error) => findings.add(Flags::BAD_IDENTITY, format!("its names are bad ({error})")),
        }
        let mut time = now;
        for _ in 0..LOOKS {
            let result = certificate.verify_for_usage(
                self.algorithms.all,
                &self.trust.anchors,
                intermediates,
                time,
                KeyUsage::server_auth(),
                None,
                None,
            );
            match result.err() {
                None => return,
                Some(webpki::Error::CertExpired { not_after, .. }) => {
                    findings.add(Flags::EXPIRED, format!("it expired on {}", date(not_after)));
                    time = not_after;
                }
                Some(webpki::Error::CertNotValidYet { not_before, .. }) => {
                    let reason = format!("it is not valid before {}", date(not_before));
                    findings.add(Flags::NOT_ACTIVATED, reason);
                    time = not_before;
                }
                // The last is an issuer of a name that we know with a key that we do not.
                Some(
                    webpki::Error::UnknownIssuer
                    | webpki::Error::CaUsedAsEndEntity
                    | webpki::Error::InvalidSignatureForPublicKey,
                ) => {
                    // Signed by itself, and trusted by the user as it is.
                    if !self.trust.holds(own) {
                        findings.add(Flags::UNKNOWN_CA, "nobody that is trusted has issued it");
                    }
                    return;
                }
                Some(error) => {
                    let flag = flag_of(&error);
                    return findings.add(flag, format!("its chain is bad ({error})"));
                }
            }
        }
        findings.add(Flags::GENERIC_ERROR, "its chain was never valid as a whole");
    }
}

fn flag_of(error: &webpki::Error) -> Flags {
    match error {
        webpki::Error::CertRevoked => Flags::REVOKED,
        webpki::Error::UnsupportedSignatureAlgorithmContext(_)
        | webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => Flags::INSECURE,
        _ => Flags::GENERIC_ERROR,
    }
}

/// The names that the certificate is for. They are the server's words.
fn others(presented: &[String]) -> String {
    let names: Vec<String> = presented
        .iter()
        .take(limits::TLS_NAMES_SHOWN)
        .map(|name| {
            let inner = name.split_once('(').map_or(name.as_str(), |(_, rest)| rest);
            let inner = inner.trim_end_matches(')').trim_matches('"');
            let shown = inner.chars().filter(|c| !c.is_control());
            shown.take(limits::REASON_SHOWN).collect()
        })
        .collect();
    match names.is_empty() {
        true => String::new(),
        false => format!(" but for {}", names.join(", ")),
    }
}

fn date(time: UnixTime) -> String {
    let seconds = Duration::from_secs(time.as_secs());
    i64::try_from(seconds.as_secs())
        .ok()
        .and_then(|seconds| glib::DateTime::from_unix_utc(seconds).ok())
        .and_then(|date| date.format("%Y-%m-%d").ok())
        .map_or_else(|| "an unknown date".into(), Into::into)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.judge(own, intermediates, name, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(refused) => Err(rustls::Error::InvalidCertificate(CertificateError::Other(
                OtherError(std::sync::Arc::new(refused)),
            ))),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
