//! Which issuers of certificates are trusted.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, TrustAnchor};

use super::TlsError;
use crate::net::per_process::PerProcess;

/// The platform's, shared by all who use them now.
static PLATFORM: PerProcess<Mutex<Weak<[TrustAnchor<'static>]>>> =
    PerProcess::new(|| Mutex::new(Weak::<[TrustAnchor<'static>; 0]>::new()));

/// Issuers, and certificates that are trusted in themselves.
#[derive(Debug, Default)]
pub(super) struct Trust {
    pub anchors: Arc<[TrustAnchor<'static>]>,
    certificates: Vec<CertificateDer<'static>>,
}

impl Trust {
    /// What the operating system trusts.
    pub fn platform() -> Self {
        let platform = PLATFORM.get();
        let mut shared = platform.lock().unwrap_or_else(PoisonError::into_inner);
        let anchors = shared.upgrade().unwrap_or_else(|| {
            // Some that cannot be read leave the others; none at all refuses every server.
            let found = rustls_native_certs::load_native_certs().certs;
            let anchors: Arc<[_]> = found.iter().filter_map(anchor).collect();
            *shared = Arc::downgrade(&anchors);
            anchors
        });
        Self {
            anchors,
            certificates: Vec::new(),
        }
    }

    /// What a file of the user's holds. A certificate that is no issuer, as many
    /// cameras have signed for themselves, is trusted when the server shows it.
    pub fn file(path: &Path) -> Result<Self, TlsError> {
        let certificates = certificates("tls-ca-file", path)?;
        Ok(Self {
            anchors: certificates.iter().filter_map(anchor).collect(),
            certificates,
        })
    }

    pub fn holds(&self, certificate: &CertificateDer<'_>) -> bool {
        self.certificates.contains(certificate)
    }
}

fn anchor(certificate: &CertificateDer<'static>) -> Option<TrustAnchor<'static>> {
    let anchor = webpki::anchor_from_trusted_cert(certificate).ok()?;
    Some(anchor.to_owned())
}

/// The certificates of a PEM file, at least one.
pub(super) fn certificates(
    property: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |reason: String| TlsError::File {
        property,
        path: path.to_path_buf(),
        reason,
    };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(error.to_string()))?;
    if certificates.is_empty() {
        return Err(wrong("no certificate in PEM in there".into()));
    }
    Ok(certificates)
}
