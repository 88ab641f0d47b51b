//! Makes a `ClientConfig` from settings. ureq would panic on some of them at the first request, so it is not asked.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ALL_VERSIONS, CertificateError, ClientConfig, Error as TlsError, InconsistentKeys, RootCertStore};

use super::HostTls;
use super::pem::{self, Text};
use super::settings::{PemSource, TlsSettings};
use super::verifier::{AcceptAll, Explaining};
use crate::values::config::ConfigError;
use crate::values::host::Host;
use crate::values::printable::Printable;

const CA: [&str; 2] = ["tls.ca_file", "tls.ca_pem"];
const CLIENT_CERT: [&str; 2] = ["tls.client_cert_file", "tls.client_cert_pem"];
const CLIENT_KEY: [&str; 2] = ["tls.client_key_file", "tls.client_key_pem"];

/// Makes the TLS of the default settings.
pub(super) fn usual() -> HostTls {
    // Neither the built-in roots nor the lack of a client certificate can be refused.
    load(&TlsSettings::new(), None, &mut Vec::new()).expect("the defaults are valid")
}

/// Loads the settings of all hosts, or of one, and appends warnings.
pub(super) fn load(
    settings: &TlsSettings,
    only: Option<&Host>,
    warnings: &mut Vec<String>,
) -> Result<HostTls, ConfigError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(ALL_VERSIONS)
        .expect("the provider supports all TLS versions");
    // The roots are checked even if nothing is verified.
    let roots = roots(settings)?;
    let builder = if settings.skip_verification {
        let hosts = only.map_or("any host".into(), |host| Printable::new(host.origin()).to_string());
        warnings.push(format!(
            "tls.dangerously_skip_verification: the certificate of {hosts} is not verified, so anybody on the way can \
             read and change requests and answers"
        ));
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAll))
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Explaining::new(roots, provider)?))
    };
    let (config, has_client_cert) = match (&settings.client_cert, &settings.client_key) {
        (None, None) => (builder.with_no_client_auth(), false),
        (Some(cert), Some(key)) => {
            let (cert, key) = (pem::read(cert, CLIENT_CERT)?, pem::read(key, CLIENT_KEY)?);
            if let Some(mode) = key.open_mode {
                warnings.push(format!(
                    "tls.client_key_file {} can be read by other users (mode {mode:04o}): run chmod go-r on it",
                    Printable::new(&key.place)
                ));
            }
            let (chain, private) = (cert.certificates()?, key.key()?);
            let config = builder.with_client_auth_cert(chain, private);
            (config.map_err(|error| refused_pair(&error, &cert, &key))?, true)
        }
        (Some(cert), None) => return Err(alone(cert, CLIENT_CERT, "has no key", "name its key as client_key_file")),
        (None, Some(key)) => {
            return Err(alone(key, CLIENT_KEY, "has no certificate", "name its certificate as client_cert_file"));
        }
    };
    let server_name = settings.server_name.as_ref().map(|name| server_name(name)).transpose()?;
    Ok(HostTls { config: Arc::new(config), server_name, has_client_cert })
}

/// Returns the authorities to trust.
fn roots(settings: &TlsSettings) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    if let Some(ca) = &settings.ca {
        let text = pem::read(ca, CA)?;
        for (number, certificate) in text.certificates()?.into_iter().enumerate() {
            roots.add(certificate).map_err(|error| {
                let problem = format!("has a certificate (number {}) that cannot be used: {error}", number + 1);
                text.refused(problem, "remove it, or make the file again")
            })?;
        }
    }
    if settings.system_roots {
        add_system_roots(&mut roots)?;
    }
    if settings.ca.is_none() && !settings.system_roots {
        roots.roots = webpki_roots::TLS_SERVER_ROOTS.to_vec();
    }
    Ok(roots)
}

/// Adds the authorities of the system. Some of them cannot be read on many systems, so one is enough.
#[cfg(feature = "native-roots")]
fn add_system_roots(roots: &mut RootCertStore) -> Result<(), ConfigError> {
    let found = rustls_native_certs::load_native_certs();
    if roots.add_parsable_certificates(found.certs).0 > 0 {
        return Ok(());
    }
    let reason = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
    let remedy = "install the package ca-certificates, or correct SSL_CERT_FILE and SSL_CERT_DIR if they are set";
    Err(ConfigError::new("tls.system_roots", "", format!("has no certificate that can be used{reason}"), remedy))
}

#[cfg(not(feature = "native-roots"))]
fn add_system_roots(_: &mut RootCertStore) -> Result<(), ConfigError> {
    let remedy = "build cluster-client with its feature \"native-roots\"";
    Err(ConfigError::new("tls.system_roots", "", "is not built in", remedy))
}

fn alone(source: &PemSource, names: [&'static str; 2], problem: &str, remedy: &str) -> ConfigError {
    let (what, place) = match source {
        PemSource::File(path) => (names[0], path.to_string_lossy().into_owned()),
        PemSource::Pem(_) => (names[1], String::new()),
    };
    ConfigError::new(what, place, problem, remedy)
}

/// Explains the error of a certificate and its key.
fn refused_pair(error: &TlsError, cert: &Text<'_>, key: &Text<'_>) -> ConfigError {
    match error {
        TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            let problem = "does not belong to the first certificate of the client";
            key.refused(problem, "name the key that the certificate was made with, and put that certificate first")
        }
        TlsError::InvalidCertificate(CertificateError::Other(other))
            if matches!(other.0.downcast_ref(), Some(webpki::Error::UnsupportedCertVersion)) =>
        {
            cert.refused("is an X.509 certificate of version 1", "make one of version 3, which has extensions")
        }
        TlsError::InvalidCertificate(_) => {
            cert.refused(format!("has a certificate that cannot be read: {error}"), "make the file again")
        }
        other => {
            let reason = if let TlsError::General(reason) = other { reason.clone() } else { other.to_string() };
            let remedy = "use RSA of 2048 to 4096 bits, ECDSA on P-256 or P-384, or Ed25519";
            key.refused(format!("has a key that cannot be used: {reason}"), remedy)
        }
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, ConfigError> {
    ServerName::try_from(name.to_owned()).map_err(|_| {
        let remedy = "write a name such as node.example, without scheme and port";
        ConfigError::new("tls.server_name", name, "is neither a name nor an address", remedy)
    })
}
