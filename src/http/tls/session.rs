//! The TLS state of one connection, for both engines. No IO.

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConnection, Error as TlsError, ProtocolVersion};

use super::explain::{self, Context};
use super::{HostTls, Tls};
use crate::values::cause::{RequestError, RequestErrorKind as Kind};
use crate::values::host::Host;

/// The TLS state of one connection.
pub(crate) struct TlsSession {
    pub(crate) connection: ClientConnection,
    has_client_cert: bool,
    name: ServerName<'static>,
    /// At least one byte of an answer arrived on this connection.
    answered: bool,
}

/// The end of a session.
#[derive(Debug)]
pub(crate) struct TlsFailure {
    pub(crate) error: RequestError,
    /// The server has certainly not read a request on this connection, although the client may have sent one.
    pub(crate) is_unread: bool,
}

impl Tls {
    /// Begins a session with `host`.
    ///
    /// # Errors
    /// If the name of the host cannot be verified in TLS.
    pub(crate) fn session(&self, host: &Host) -> Result<TlsSession, RequestError> {
        let HostTls { config, server_name, has_client_cert } = &**self.of(host);
        let name = match (server_name, host.address()) {
            (Some(name), _) => name.clone(),
            (None, Some(address)) => ServerName::IpAddress(address.into()),
            (None, None) => ServerName::try_from(host.name().to_owned())
                .map_err(|e| RequestError::new(Kind::Tls, "the host's name is not valid in TLS").caused_by(e))?,
        };
        let connection = ClientConnection::new(config.clone(), name.clone())
            .map_err(|e| RequestError::new(Kind::Tls, "no TLS connection can begin").caused_by(e))?;
        Ok(TlsSession { connection, has_client_cert: *has_client_cert, name, answered: false })
    }
}

impl TlsSession {
    /// Processes the records that were read.
    ///
    /// # Errors
    /// If the session has ended. An alert for the server is then pending, which the caller tries to send.
    pub(crate) fn process(&mut self) -> Result<(), TlsFailure> {
        match self.connection.process_new_packets() {
            Ok(state) => {
                self.answered |= state.plaintext_bytes_to_read() > 0;
                Ok(())
            }
            Err(error) => Err(self.failure(&error)),
        }
    }

    fn failure(&mut self, error: &TlsError) -> TlsFailure {
        let is_unread = matches!(error, TlsError::AlertReceived(alert) if self.is_unread_after(*alert));
        let context = Context {
            has_client_cert: self.has_client_cert,
            name: &self.name,
            is_handshaking: self.connection.is_handshaking(),
            speaks_tls: self.connection.negotiated_cipher_suite().is_some(),
        };
        // The message says all that the error of rustls does, so there is no source to repeat it.
        let error = RequestError::new(Kind::Tls, explain::message(error, &context));
        TlsFailure { error, is_unread }
    }

    /// Returns whether the alert shows that the server has read no request.
    ///
    /// In TLS 1.3 the client completes its handshake, and sends its request, before the server has checked the client's
    /// certificate. The server must read the client's certificate and Finished before the request (RFC 8446, 4.4 and
    /// 4.4.4), and it refuses the certificate there. That alert ends the connection, so a request behind it is never
    /// decrypted. The alert is protected by the keys of the handshake, so it comes from the server.
    ///
    /// It proves nothing if the server has shown that its handshake was complete: by an answer, or by a session ticket
    /// (RFC 8446, 4.6.1). In TLS 1.2 the handshake of the client ends after that of the server. A certificate that is
    /// wanted later (RFC 8446, 4.6.2) is not possible, because rustls does not offer it.
    fn is_unread_after(&mut self, alert: AlertDescription) -> bool {
        self.connection.protocol_version() == Some(ProtocolVersion::TLSv1_3)
            && !self.answered
            && self.connection.tls13_tickets_received() == 0
            && explain::is_about_a_certificate(alert)
            && !self.has_plaintext()
    }

    /// Returns whether there are decrypted bytes that nothing has read. It takes one of them.
    pub(crate) fn has_plaintext(&mut self) -> bool {
        use std::io::Read as _;
        matches!(self.connection.reader().read(&mut [0]), Ok(1..))
    }
}
