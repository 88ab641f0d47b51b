//! Tests that every engine must pass.
//!
//! `tests.rs` is included once for each engine. The module that includes it provides the engine as `Subject`.

pub(crate) mod driving;
pub(crate) mod withdrawing;

/// Returns the TLS that trusts the certificates of this authority only.
#[cfg(feature = "rustls")]
pub(crate) fn trusting(authority: &[u8]) -> std::sync::Arc<crate::http::tls::Tls> {
    let settings = crate::http::tls::settings::TlsSettings::new().ca_pem(authority);
    std::sync::Arc::new(crate::http::tls::Tls::new(Some(&settings), &[]).unwrap())
}
