//! The TLS settings of a client.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ALL_VERSIONS, ClientConfig, RootCertStore};

use crate::values::config::ConfigError;

/// Trusts the root certificates of Mozilla, which are compiled in.
pub(crate) fn with_built_in_roots() -> Arc<ClientConfig> {
    with_roots(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
}

/// Trusts the certificates of this PEM text only.
///
/// # Errors
/// A [`ConfigError`] if it has no certificate, or one that cannot be used.
pub(crate) fn with_pem(pem: &[u8]) -> Result<Arc<ClientConfig>, ConfigError> {
    let refused =
        |problem: String| ConfigError::new("root certificates", "", problem, "name a PEM file of certificates");
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| refused(format!("cannot be read: {error}")))?;
        roots.add(certificate).map_err(|error| refused(format!("cannot be used: {error}")))?;
    }
    if roots.is_empty() {
        return Err(refused("are missing".into()));
    }
    Ok(with_roots(roots))
}

/// Trusts `roots` only. Sessions are resumed until the returned configuration is dropped.
pub(crate) fn with_roots(roots: RootCertStore) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(ALL_VERSIONS)
        .expect("the provider supports all TLS versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}
