//! The properties of TLS.

use std::path::PathBuf;

use gio::TlsCertificateFlags;
use glib::prelude::*;
use glib::subclass::Signal;

use super::value_of;
use crate::net::tls::{self, Fingerprint};
use crate::session::{Tls, TlsDatabase, TlsInteraction};

#[derive(Debug, Clone, PartialEq)]
pub(super) struct TlsSettings {
    validation_flags: TlsCertificateFlags,
    database: Option<TlsDatabase>,
    interaction: Option<TlsInteraction>,
    ca_file: Option<String>,
    fingerprint: Option<String>,
    client_certificate: Option<String>,
    client_key: Option<String>,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            validation_flags: TlsCertificateFlags::VALIDATE_ALL,
            database: None,
            interaction: None,
            ca_file: None,
            fingerprint: None,
            client_certificate: None,
            client_key: None,
        }
    }
}

impl TlsSettings {
    /// Sets a property, if it is one of these.
    pub fn set(&mut self, name: &str, value: &glib::Value) -> Result<bool, String> {
        match name {
            "tls-validation-flags" => self.validation_flags = value_of(value)?,
            "tls-database" => self.database = value_of(value)?,
            "tls-interaction" => self.interaction = value_of(value)?,
            "tls-ca-file" => self.ca_file = value_of(value)?,
            "tls-fingerprint" => self.fingerprint = value_of(value)?,
            "tls-client-certificate" => self.client_certificate = value_of(value)?,
            "tls-client-key" => self.client_key = value_of(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "tls-validation-flags" => self.validation_flags.to_value(),
            "tls-database" => self.database.to_value(),
            "tls-interaction" => self.interaction.to_value(),
            "tls-ca-file" => self.ca_file.to_value(),
            "tls-fingerprint" => self.fingerprint.to_value(),
            "tls-client-certificate" => self.client_certificate.to_value(),
            "tls-client-key" => self.client_key.to_value(),
            _ => return None,
        })
    }

    /// What a session is told, or what the user is to mend.
    pub fn tls(&self) -> Result<Tls, String> {
        let path = |text: &Option<String>| {
            let text = text.as_deref().filter(|text| !text.is_empty());
            text.map(PathBuf::from)
        };
        // A pin that cannot be read must not become no pin.
        let pin = match self.fingerprint.as_deref().filter(|text| !text.is_empty()) {
            None => None,
            Some(text) => Some(Fingerprint::parse(text).ok_or_else(|| {
                format!("tls-fingerprint {text:?} is no SHA-256: 64 hexadecimal digits")
            })?),
        };
        let client = match (path(&self.client_certificate), path(&self.client_key)) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            // One file may hold both.
            (Some(both), None) => Some((both.clone(), both)),
            (None, Some(_)) => {
                return Err("tls-client-key is of no use without tls-client-certificate".into());
            }
            (None, None) => None,
        };
        Ok(Tls {
            settings: tls::Settings {
                checks: self.validation_flags,
                ca_file: path(&self.ca_file),
                pin,
                client,
            },
            database: self.database.clone(),
            interaction: self.interaction.clone(),
        })
    }
}

pub(super) fn properties() -> Vec<glib::ParamSpec> {
    use glib::{ParamSpecFlags as Flags, ParamSpecObject as Object, ParamSpecString as Text};
    let d = TlsSettings::default();
    vec![
        Flags::builder::<TlsCertificateFlags>("tls-validation-flags")
            .nick("TLS validation flags")
            .blurb("TLS certificate validation flags used to validate the server certificate")
            .default_value(d.validation_flags)
            .build(),
        Object::builder::<gio::TlsDatabase>("tls-database")
            .nick("TLS database")
            .blurb("Is asked about a server certificate that failed the checks")
            .build(),
        Object::builder::<gio::TlsInteraction>("tls-interaction")
            .nick("TLS interaction")
            .blurb("Whom tls-database may ask for a password")
            .build(),
        Text::builder("tls-ca-file")
            .nick("TLS CA file")
            .blurb("PEM file of the certificates to trust instead of the platform's: issuers, or the server's own")
            .build(),
        Text::builder("tls-fingerprint")
            .nick("TLS fingerprint")
            .blurb("SHA-256 of the only server certificate to trust, whatever the other checks say")
            .build(),
        Text::builder("tls-client-certificate")
            .nick("TLS client certificate")
            .blurb("PEM file of the certificate chain to show to the server")
            .build(),
        Text::builder("tls-client-key")
            .nick("TLS client key")
            .blurb("PEM file of its private key (NULL = in the file of tls-client-certificate)")
            .build(),
    ]
}

/// `accept-certificate`, as `rtspsrc` has it, but without a connection: there is no
/// `GTlsConnection`. The first handler that accepts decides.
pub(crate) fn accept_certificate() -> Signal {
    Signal::builder("accept-certificate")
        .param_types([
            gio::TlsConnection::static_type(),
            gio::TlsCertificate::static_type(),
            TlsCertificateFlags::static_type(),
        ])
        .return_type::<bool>()
        .run_last()
        .accumulator(|_, _, value| match value.get::<bool>() {
            Ok(true) => std::ops::ControlFlow::Break(value.clone()),
            _ => std::ops::ControlFlow::Continue(value.clone()),
        })
        .build()
}

/// Emits it.
pub(crate) fn emit_accept_certificate(
    element: &impl IsA<glib::Object>,
    certificate: &gio::TlsCertificate,
    failed: TlsCertificateFlags,
) -> bool {
    let connection = None::<gio::TlsConnection>;
    element.emit_by_name("accept-certificate", &[&connection, certificate, &failed])
}
