//! The TLS layer of a road (RFC 7826 §19.2): TLS 1.2 and 1.3 by rustls.
//!
//! A certificate is judged within the handshake, so that neither a request nor a
//! certificate of ours goes to a server that is not trusted. Whoever may overrule
//! the judgement ([`Appeal`]) may also block, which a handshake on a runtime must
//! not. So a refused handshake ends, with the alert that belongs to it; then the
//! appeal is heard, and if it is granted the server is connected to once more. What
//! was granted holds as long as the [`Connector`].

mod stream;
mod trust;
mod verifier;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use gio::TlsCertificateFlags;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, InvalidMessage, OtherError};
use sha2::{Digest, Sha256};
use tokio::io::BufReader;
use tokio::sync::{OnceCell, oneshot};
use tokio::task::spawn_blocking;

use super::road::Stream;
use crate::rtsp::limits;
use trust::Trust;
use verifier::Verifier;

/// Bytes asked of the socket at once. (rustls itself asks for 4 KiB.)
const READ: usize = 64 * 1024;

/// What the user has set about TLS.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The checks whose failure refuses a certificate.
    pub checks: TlsCertificateFlags,
    /// Certificates (PEM) to trust instead of the platform's.
    pub ca_file: Option<PathBuf>,
    /// The only certificate to trust, whatever else is true of it.
    pub pin: Option<Fingerprint>,
    /// Our own certificate chain and its key (PEM).
    pub client: Option<(PathBuf, PathBuf)>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            checks: TlsCertificateFlags::VALIDATE_ALL,
            ca_file: None,
            pin: None,
            client: None,
        }
    }
}

/// SHA-256 of a certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate).into())
    }

    /// Reads 64 hexadecimal digits, with or without colons, also as `openssl x509
    /// -fingerprint` writes them.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.rsplit_once('=').map_or(text, |(_, digits)| digits);
        let mut digits = text.chars().filter(|c| *c != ':' && !c.is_whitespace());
        let mut bytes = [0; 32];
        for byte in &mut bytes {
            let high = digits.next()?.to_digit(16)?;
            let low = digits.next()?.to_digit(16)?;
            *byte = u8::try_from(high << 4 | low).ok()?;
        }
        digits.next().is_none().then_some(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, byte) in self.0.iter().enumerate() {
            let colon = if n == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A certificate that is not trusted.
#[derive(Clone)]
pub struct Refused {
    /// The host of the URL.
    pub host: String,
    /// The checks that failed.
    pub failed: TlsCertificateFlags,
    /// What the server has sent, its own certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Of the server's own certificate.
    pub fingerprint: Fingerprint,
    reasons: Vec<String>,
    pinned: bool,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, reasons) = (&self.host, self.reasons.join(", "));
        let fingerprint = self.fingerprint;
        write!(
            f,
            "the certificate of {host} is refused: {reasons}. Its SHA-256 fingerprint is {fingerprint}"
        )?;
        match self.pinned {
            true => f.write_str("; if the server has a new one, set `tls-fingerprint` to that"),
            false => f.write_str(
                "; set `tls-fingerprint` to that to trust this certificate alone, or `tls-ca-file` \
                 to trust who has issued it",
            ),
        }
    }
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Refused({self})")
    }
}

impl std::error::Error for Refused {}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of the user's cannot be used.
    #[error("{property} {}: {reason}", path.display())]
    File {
        /// The property that names it.
        property: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The server is not trusted.
    #[error("{0}")]
    Refused(Arc<Refused>),
    /// Whoever answers does not speak TLS.
    #[error("{0} answers without TLS: if it is an RTSP server, the scheme for it is rtsp")]
    NotTls(String),
    /// The two have nothing in common, or one has broken the rules.
    #[error("no TLS with {host}: {reason}")]
    Handshake {
        /// The host of the URL.
        host: String,
        /// What rustls says.
        reason: String,
    },
    /// The connection was lost in the handshake.
    #[error(
        "{host} ended the connection in the TLS handshake ({error}); a server without TLS does so"
    )]
    Lost {
        /// The host of the URL.
        host: String,
        /// How.
        error: io::Error,
    },
}

/// Asks whoever may overrule a refusal. The answer may take its time.
pub type Appeal = Box<dyn Fn(Arc<Refused>) -> oneshot::Receiver<bool> + Send + Sync>;

/// TLS as one element wants it. Its sessions are resumed as long as it lives.
pub struct Connector {
    settings: Settings,
    appeal: Option<Appeal>,
    loaded: OnceCell<Loaded>,
}

struct Loaded {
    config: Arc<ClientConfig>,
    verifier: Arc<Verifier>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connector({:?})", self.settings)
    }
}

impl Connector {
    /// Reads no file yet: that is part of connecting.
    pub fn new(settings: Settings, appeal: Option<Appeal>) -> Self {
        Self {
            settings,
            appeal,
            loaded: OnceCell::new(),
        }
    }

    /// Does the handshake on `stream`, with the server of this name or address.
    pub async fn connect(&self, stream: Stream, host: &str) -> Result<Stream, TlsError> {
        let handshake = |reason: String| TlsError::Handshake {
            host: host.to_string(),
            reason,
        };
        let name = ServerName::try_from(host.to_string())
            .map_err(|_| handshake("that is no name of a TLS server".into()))?;
        let loaded = self.loaded.get_or_try_init(|| self.load()).await?;
        let connector = tokio_rustls::TlsConnector::from(loaded.config.clone());
        // What waits in there can be overtaken by no message.
        let bounded = |connection: &mut rustls::ClientConnection| {
            connection.set_buffer_limit(Some(limits::TLS_UNSENT));
        };
        let stream = BufReader::with_capacity(READ, stream);
        match connector.connect_with(name, stream, bounded).await {
            Ok(tls) => Ok(Stream::Layered(Box::new(stream::Greedy::new(tls)))),
            Err(error) => Err(failure(host, error)),
        }
    }

    /// Whether the refusal is overruled, by the signal or the database. Then the
    /// same certificate is trusted in the next handshake.
    pub async fn overrules(&self, refused: &Arc<Refused>) -> bool {
        let (Some(appeal), Some(loaded)) = (&self.appeal, self.loaded.get()) else {
            return false;
        };
        if self.settings.pin.is_some() || !appeal(refused.clone()).await.unwrap_or(false) {
            return false;
        }
        loaded.verifier.accept(refused)
    }

    async fn load(&self) -> Result<Loaded, TlsError> {
        let settings = self.settings.clone();
        // Files may be on a network, and the platform has hundreds of certificates.
        match spawn_blocking(move || load(settings)).await {
            Ok(loaded) => loaded,
            // The runtime is gone.
            Err(error) => Err(TlsError::Handshake {
                host: String::new(),
                reason: error.to_string(),
            }),
        }
    }
}

fn load(settings: Settings) -> Result<Loaded, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let chain_matters = settings.checks.contains(TlsCertificateFlags::UNKNOWN_CA);
    let trust = match &settings.ca_file {
        _ if settings.pin.is_some() => Trust::default(),
        Some(path) => Trust::file(path)?,
        None if chain_matters => Trust::platform(),
        None => Trust::default(),
    };
    let verifier = Arc::new(Verifier::new(
        settings.checks,
        settings.pin,
        trust,
        algorithms,
    ));
    let impossible = |error: rustls::Error| TlsError::Handshake {
        host: String::new(),
        reason: error.to_string(),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(impossible)?
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone());
    let mut config = match &settings.client {
        None => builder.with_no_client_auth(),
        Some((certificate, key_file)) => {
            let chain = trust::certificates("tls-client-certificate", certificate)?;
            let wrong = |reason: String| TlsError::File {
                property: "tls-client-key",
                path: key_file.clone(),
                reason,
            };
            let key = PrivateKeyDer::from_pem_file(key_file)
                .map_err(|error| wrong(format!("no usable private key in PEM ({error})")))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| wrong(error.to_string()))?
        }
    };
    config.resumption = Resumption::in_memory_sessions(limits::TLS_SESSIONS);
    Ok(Loaded {
        config: Arc::new(config),
        verifier,
    })
}

/// What a failed handshake means.
fn failure(host: &str, error: io::Error) -> TlsError {
    let host = host.to_string();
    match rustls_error(&error) {
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(OtherError(
            inner,
        )))) if let Some(refused) = inner.downcast_ref::<Refused>() => {
            TlsError::Refused(Arc::new(refused.clone()))
        }
        Some(rustls::Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        )) => TlsError::NotTls(host),
        Some(reason) => TlsError::Handshake {
            host,
            reason: explain(reason),
        },
        None => TlsError::Lost { host, error },
    }
}

fn rustls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn explain(error: &rustls::Error) -> String {
    use rustls::AlertDescription as Alert;
    match error {
        rustls::Error::AlertReceived(
            Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::UnknownCA
            | Alert::CertificateUnknown
            | Alert::CertificateExpired
            | Alert::AccessDenied
            | Alert::HandshakeFailure,
        ) => format!(
            "the server refuses ({error}); if it wants a certificate, set `tls-client-certificate` \
             and `tls-client-key`"
        ),
        error => error.to_string(),
    }
}

/// What ended a connection, if it was TLS: a server may refuse our certificate only
/// after its handshake is done (RFC 8446 §4.4.2.4).
pub(super) fn describe(error: &io::Error) -> Option<String> {
    rustls_error(error).map(explain)
}

#[cfg(test)]
mod tests;
