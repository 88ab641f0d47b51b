//! The reason for the end of a TLS session, in words for a person.

use std::time::{Duration, SystemTime};

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{AlertDescription as Alert, CertificateError, Error, PeerIncompatible};

use super::verifier::CertificateProblem;

/// Number of names of a certificate that are shown.
const NAMES: usize = 6;

/// Facts about a session that has ended, for the text of its error.
pub(super) struct Context<'a> {
    pub(super) has_client_cert: bool,
    /// The name that was verified.
    pub(super) name: &'a ServerName<'static>,
    pub(super) is_handshaking: bool,
    /// Whether the server has begun its part of the handshake.
    pub(super) speaks_tls: bool,
}

/// Returns the message of the error.
pub(super) fn message(error: &Error, context: &Context<'_>) -> String {
    match error {
        Error::InvalidCertificate(error) => certificate(error, &name(context.name)),
        Error::AlertReceived(alert) => received(*alert, context),
        Error::InvalidMessage(_) if !context.speaks_tls => "the server does not speak TLS on this port".into(),
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13 | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => OLD.into(),
        Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon | PeerIncompatible::NoKxGroupsInCommon) => {
            "the server has no cipher in common with this client".into()
        }
        other if context.is_handshaking => format!("the TLS handshake failed: {other}"),
        other => format!("the TLS connection failed: {other}"),
    }
}

const OLD: &str = "the server speaks neither TLS 1.2 nor TLS 1.3";

fn certificate(error: &CertificateError, name: &str) -> String {
    let ours = |error: &rustls::OtherError| error.0.downcast_ref::<CertificateProblem>().copied();
    match error {
        CertificateError::UnknownIssuer => "the server's certificate has an unknown issuer".into(),
        CertificateError::NotValidForNameContext { presented, .. } => wrong_name(presented, name),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the server's certificate expired on {}", date(*not_after))
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            let (begin, now) = (date(*not_before), date(*time));
            format!("the server's certificate is not valid before {begin}; by this machine's clock it is {now}")
        }
        CertificateError::BadSignature => "the server's certificate has a wrong signature".into(),
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "the server's certificate is signed by an algorithm that is not supported".into()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the server's certificate is not one for servers (extended key usage)".into()
        }
        CertificateError::BadEncoding => "the server's certificate cannot be read".into(),
        CertificateError::Other(other)
            if matches!(other.0.downcast_ref(), Some(webpki::Error::UnsupportedCertVersion)) =>
        {
            "the server's certificate is of X.509 version 1, which is not supported".into()
        }
        CertificateError::Other(other) => match ours(other) {
            Some(problem) => special(problem),
            None => format!("the server's certificate is not accepted: {}", other.0),
        },
        other => format!("the server's certificate is not accepted: {other}"),
    }
}

fn special(problem: CertificateProblem) -> String {
    match problem {
        CertificateProblem::SelfSigned => "the server's certificate is self-signed and not trusted".into(),
        CertificateProblem::Authority { self_signed } => {
            let signed = if self_signed { "self-signed and " } else { "" };
            format!("the server's certificate is {signed}that of an authority (CA:TRUE), which no server may use")
        }
        CertificateProblem::IssuerExpired { not_after } => {
            format!("the certificate of an issuer of the server's certificate expired on {}", date(not_after))
        }
        CertificateProblem::IssuerNotYetValid { not_before } => {
            let begin = date(not_before);
            format!("the certificate of an issuer of the server's certificate is not valid before {begin}")
        }
    }
}

fn wrong_name(presented: &[String], name: &str) -> String {
    // webpki writes `DnsName("a.example")` and `IpAddress(10.0.0.1)`.
    let bare = |text: &String| {
        let inner = text.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
        inner.unwrap_or(text).trim_matches('"').to_owned()
    };
    let names: Vec<String> = presented.iter().take(NAMES).map(bare).collect();
    let more = match presented.len().saturating_sub(NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    if names.is_empty() {
        return format!("the server's certificate is not valid for {name}: it has no subject alternative names");
    }
    format!("the server's certificate is not valid for {name}, only for {}{more}", names.join(", "))
}

/// Explains an alert of the server.
fn received(alert: Alert, context: &Context<'_>) -> String {
    let code = code(alert);
    match alert {
        Alert::ProtocolVersion => format!("{OLD} ({code})"),
        Alert::UnrecognisedName => format!("the server does not serve the name {} ({code})", name(context.name)),
        _ if is_about_a_certificate(alert) && !context.has_client_cert => {
            format!("the server wants a client certificate, and none is set ({code})")
        }
        Alert::HandshakeFailure if context.is_handshaking && !context.has_client_cert => {
            format!("the server refused the TLS handshake: it wants a client certificate, or another cipher ({code})")
        }
        Alert::CertificateRequired => format!("the server wants a client certificate of another kind ({code})"),
        Alert::UnknownCA => format!("the server does not trust the issuer of the client certificate ({code})"),
        Alert::CertificateExpired => format!("the client certificate has expired, says the server ({code})"),
        Alert::CertificateRevoked => format!("the client certificate is revoked, says the server ({code})"),
        _ if is_about_a_certificate(alert) => format!("the server refused the client certificate ({code})"),
        _ if context.is_handshaking => format!("the server refused the TLS handshake ({code})"),
        _ => format!("the server ended the TLS connection ({code})"),
    }
}

/// Returns whether the alert tells a problem of the certificate that its receiver has sent, or has not (RFC 8446, 6.2).
pub(super) fn is_about_a_certificate(alert: Alert) -> bool {
    use Alert::{
        AccessDenied, BadCertificate, CertificateExpired, CertificateRequired, CertificateRevoked, CertificateUnknown,
        UnknownCA, UnsupportedCertificate,
    };
    matches!(
        alert,
        AccessDenied
            | BadCertificate
            | CertificateExpired
            | CertificateRequired
            | CertificateRevoked
            | CertificateUnknown
            | UnknownCA
            | UnsupportedCertificate
    )
}

/// Returns the name of the alert in RFC 8446, which the server's log may have too.
fn code(alert: Alert) -> String {
    let name = match alert {
        Alert::AccessDenied => "access_denied",
        Alert::BadCertificate => "bad_certificate",
        Alert::CertificateExpired => "certificate_expired",
        Alert::CertificateRequired => "certificate_required",
        Alert::CertificateRevoked => "certificate_revoked",
        Alert::CertificateUnknown => "certificate_unknown",
        Alert::DecodeError => "decode_error",
        Alert::DecryptError => "decrypt_error",
        Alert::HandshakeFailure => "handshake_failure",
        Alert::IllegalParameter => "illegal_parameter",
        Alert::InternalError => "internal_error",
        Alert::ProtocolVersion => "protocol_version",
        Alert::UnexpectedMessage => "unexpected_message",
        Alert::UnknownCA => "unknown_ca",
        Alert::UnrecognisedName => "unrecognized_name",
        Alert::UnsupportedCertificate => "unsupported_certificate",
        other => return format!("alert {}", u8::from(other)),
    };
    format!("alert {name}")
}

fn name(name: &ServerName<'_>) -> String {
    name.to_str().into_owned()
}

/// Returns a date such as `Sun, 01 Nov 2026 00:00:00 GMT`. Dates after the year 9999 cannot be written, and are cut.
fn date(time: UnixTime) -> String {
    const LAST: u64 = 253_402_300_799;
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs().min(LAST)))
}
