//! TLS with the test keys of the repository, for client and server.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::{Failure, wire};

const NODE: &[u8] = include_bytes!("../../../src/engine/suite/testdata/node.pem");
const KEY: &[u8] = include_bytes!("../../../src/engine/suite/testdata/node.key");

/// Settings for a peer, with the provider and versions of cluster-client.
///
/// # Errors
/// If the test keys cannot be read.
pub fn client() -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(wire::AUTHORITY)?)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    Ok(builder.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth())
}

/// Settings for the test server.
///
/// # Errors
/// If the test keys cannot be read.
pub fn server() -> Result<Arc<ServerConfig>, Failure> {
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
    let certificates = vec![CertificateDer::from_pem_slice(NODE)?];
    Ok(Arc::new(builder.with_single_cert(certificates, PrivateKeyDer::from_pem_slice(KEY)?)?))
}
