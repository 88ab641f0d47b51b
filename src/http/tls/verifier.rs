//! Verifies the certificate of a server as rustls does, and finds out more about a refused one.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage};

use crate::values::config::ConfigError;

/// A problem that rustls has no error for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CertificateProblem {
    SelfSigned,
    /// The certificate of an authority, which a server must not use. Many self-signed certificates are of this kind.
    Authority {
        self_signed: bool,
    },
    IssuerExpired {
        not_after: UnixTime,
    },
    IssuerNotYetValid {
        not_before: UnixTime,
    },
}

impl fmt::Display for CertificateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for CertificateProblem {}

/// The verifier of rustls, with errors that say more.
#[derive(Debug)]
pub(super) struct Explaining {
    verifier: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
}

impl Explaining {
    pub(super) fn new(roots: RootCertStore, provider: Arc<CryptoProvider>) -> Result<Self, ConfigError> {
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
        let verifier = verifier.map_err(|error| {
            ConfigError::new("tls.ca_file", "", format!("cannot be used: {error}"), "name a file with certificates")
        })?;
        Ok(Explaining { verifier, provider })
    }

    /// Returns the problem that is behind `error`, if there is more to say than it says.
    fn explain(
        &self,
        error: &CertificateError,
        leaf: &CertificateDer<'_>,
        now: UnixTime,
    ) -> Option<CertificateProblem> {
        let cert = EndEntityCert::try_from(leaf).ok()?;
        let self_signed = cert.issuer() == cert.subject();
        match error {
            CertificateError::UnknownIssuer => self_signed.then_some(CertificateProblem::SelfSigned),
            CertificateError::Other(other) => matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
                .then_some(CertificateProblem::Authority { self_signed }),
            CertificateError::ExpiredContext { not_after, .. } if self.is_current(&cert, now) => {
                Some(CertificateProblem::IssuerExpired { not_after: *not_after })
            }
            CertificateError::NotValidYetContext { not_before, .. } if self.is_current(&cert, now) => {
                Some(CertificateProblem::IssuerNotYetValid { not_before: *not_before })
            }
            _ => None,
        }
    }

    /// Returns whether the certificate itself is valid at this time. Without roots, its validity is checked first.
    fn is_current(&self, cert: &EndEntityCert<'_>, now: UnixTime) -> bool {
        let algorithms = self.provider.signature_verification_algorithms.all;
        let verified = cert.verify_for_usage(algorithms, &[], &[], now, KeyUsage::server_auth(), None, None);
        matches!(verified, Err(webpki::Error::UnknownIssuer))
    }
}

impl ServerCertVerifier for Explaining {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        verified.map_err(|error| {
            let problem = match &error {
                Error::InvalidCertificate(certificate) => self.explain(certificate, end_entity, now),
                _ => None,
            };
            problem.map_or(error, |problem| CertificateError::Other(OtherError(Arc::new(problem))).into())
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Accepts every certificate, even one that cannot be parsed.
#[derive(Debug)]
pub(super) struct AcceptAll;

impl ServerCertVerifier for AcceptAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
