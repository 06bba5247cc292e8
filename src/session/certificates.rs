//! Who may trust a server that the checks refuse: GIO's database, then the
//! application. Both are foreign code.

use std::sync::Arc;

use gio::prelude::*;
use glib::translate::IntoGlib;
use rustls::pki_types::CertificateDer;

use super::CAT;
use super::foreign::ForeignQueue;
use crate::net::tls::{Connector, Refused, Settings};

/// What the database is to look for: RFC 5280 §4.2.1.12, id-kp-serverAuth.
const SERVER_AUTHENTICATION: &str = "1.3.6.1.5.5.7.3.1";

/// A class of GIO whose objects may go to the thread that uses them. GIO itself does
/// that with these two (`g_tls_database_verify_chain_async` asks on a thread of its
/// own), but its bindings do not say that they are `Send`.
macro_rules! shared_by_threads {
    ($(#[$doc:meta])* $name:ident) => {
        glib::glib_object_wrapper!(
            @object [$($doc)*] pub $name, (), (), Opaque, @ffi_class Opaque,
            @type_ gio::$name::static_type().into_glib(),
            @extends [], @implements []
        );
    };
}

/// What such an object looks like inside is not needed.
#[repr(C)]
pub struct Opaque([u8; 0]);

shared_by_threads! {
    /// A `GTlsDatabase`.
    TlsDatabase
}

shared_by_threads! {
    /// A `GTlsInteraction`.
    TlsInteraction
}

/// TLS as the element's properties have it.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    pub settings: Settings,
    pub database: Option<TlsDatabase>,
    pub interaction: Option<TlsInteraction>,
}

/// The element's part in whether a certificate is trusted.
pub trait CertificateHost: Send + Sync + 'static {
    /// Asks the application; `failed` are the checks that did.
    fn accept_certificate(
        &self,
        certificate: &gio::TlsCertificate,
        failed: gio::TlsCertificateFlags,
    ) -> bool;
}

/// The TLS of one start.
pub(super) fn connector(
    tls: &Tls,
    foreign: &ForeignQueue,
    host: Arc<dyn CertificateHost>,
) -> Arc<Connector> {
    let (asked, foreign) = (tls.clone(), foreign.clone());
    let appeal = move |refused: Arc<Refused>| {
        let (asked, host) = (asked.clone(), host.clone());
        foreign.ask(move || is_accepted(&refused, &asked, &*host))
    };
    Arc::new(Connector::new(tls.settings.clone(), Some(Box::new(appeal))))
}

fn is_accepted(refused: &Refused, tls: &Tls, host: &dyn CertificateHost) -> bool {
    let certificate = match gio::TlsCertificate::from_pem(&pem(&refused.chain)) {
        Ok(certificate) => certificate,
        Err(error) => {
            gst::warning!(CAT, "GIO cannot read the certificate: {error}");
            return false;
        }
    };
    let mut failed = refused.failed;
    if let Some(database) = downcast::<gio::TlsDatabase>(tls.database.as_ref()) {
        let interaction = downcast::<gio::TlsInteraction>(tls.interaction.as_ref());
        let answer = database.verify_chain(
            &certificate,
            SERVER_AUTHENTICATION,
            Some(&gio::NetworkAddress::new(&refused.host, 0)),
            interaction.as_ref(),
            gio::TlsDatabaseVerifyFlags::NONE,
            gio::Cancellable::NONE,
        );
        match answer {
            Ok(found) => failed = found & tls.settings.checks,
            Err(error) => gst::warning!(CAT, "tls-database has failed: {error}"),
        }
        if failed.is_empty() {
            return true;
        }
    }
    host.accept_certificate(&certificate, failed)
}

fn downcast<T: IsA<glib::Object>>(object: Option<&impl IsA<glib::Object>>) -> Option<T> {
    object?.as_ref().clone().downcast().ok()
}

/// A chain as GIO reads it, in PEM (RFC 7468 §5).
fn pem(chain: &[CertificateDer<'_>]) -> String {
    use base64::Engine as _;
    let mut text = String::new();
    for certificate in chain {
        let encoded = base64::engine::general_purpose::STANDARD.encode(certificate);
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let mut rest = encoded.as_str();
        while let Some((line, after)) = rest.split_at_checked(64.min(rest.len()))
            && !line.is_empty()
        {
            text.push_str(line);
            text.push('\n');
            rest = after;
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}
