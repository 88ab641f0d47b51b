//! The TLS settings of a client.

use std::sync::Arc;

use rustls::{ALL_VERSIONS, ClientConfig, RootCertStore};

/// Trusts the roots that Mozilla trusts, which are compiled in.
pub(crate) fn with_built_in_roots() -> Arc<ClientConfig> {
    with_roots(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
}

/// Trusts `roots` only. Sessions are resumed as long as the returned configuration lives.
pub(crate) fn with_roots(roots: RootCertStore) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(ALL_VERSIONS)
        .expect("the provider knows all TLS versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}
