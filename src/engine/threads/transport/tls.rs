//! TLS between ureq and the socket. It replaces that of ureq, so that both engines share settings, errors and sessions.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::sync::Arc;

use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
};

use super::context;
use super::tcp::{TcpTransport, carried, closed};
use crate::http::errors;
use crate::http::tls::Tls;
use crate::http::tls::session::{TlsFailure, TlsSession};
use crate::values::host::Host;

/// Size of the buffer for decrypted bytes.
const INPUT: usize = crate::http::MAX_HEAD;
/// Maximum size of one write of ureq.
const OUTPUT: usize = 4 * 1024;

/// Secures the connections to one host, unless it is http.
pub(super) struct TlsConnector {
    tls: Arc<Tls>,
    host: Host,
}

impl TlsConnector {
    pub(super) fn new(tls: &Arc<Tls>, host: &Host) -> Self {
        TlsConnector { tls: Arc::clone(tls), host: host.clone() }
    }
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnector").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Connector<TcpTransport> for TlsConnector {
    type Out = Either<TcpTransport, TlsTransport>;

    fn connect(&self, _: &ConnectionDetails<'_>, wire: Option<TcpTransport>) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(wire) = wire else { return Ok(None) };
        if !self.host.is_https() {
            return Ok(Some(Either::A(wire)));
        }
        let session = Box::new(self.tls.session(&self.host).map_err(carried)?);
        let mut records = Records { wire, session };
        records.shake_hands()?;
        context::note_secured(records.wire.unsent());
        Ok(Some(Either::B(TlsTransport { records, buffers: LazyBuffers::new(INPUT, OUTPUT) })))
    }
}

/// One TLS connection.
pub(super) struct TlsTransport {
    records: Records,
    /// Decrypted bytes.
    buffers: LazyBuffers,
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        let mut bytes = &self.buffers.output()[..amount];
        while !bytes.is_empty() {
            let taken = self.records.session.connection.writer().write(bytes)?;
            bytes = &bytes[taken..];
            self.records.write()?;
        }
        Ok(())
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, ureq::Error> {
        if self.buffers.input_append_buf().is_empty() {
            return Err(carried(errors::head_too_large()));
        }
        loop {
            match self.records.session.connection.reader().read(self.buffers.input_append_buf()) {
                Ok(amount) => {
                    self.buffers.input_appended(amount);
                    return Ok(amount > 0);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(closed(e)),
            }
            self.records.read()?;
            // A key update has an answer.
            self.records.write()?;
        }
    }

    fn is_open(&mut self) -> bool {
        self.buffers.input().is_empty() && !self.records.session.has_plaintext() && self.records.wire.is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

/// The session and the socket below it.
struct Records {
    wire: TcpTransport,
    session: Box<TlsSession>,
}

impl Records {
    fn shake_hands(&mut self) -> Result<(), ureq::Error> {
        loop {
            self.write()?;
            if !self.session.connection.is_handshaking() {
                return Ok(());
            }
            if let Err(error) = self.read() {
                // Send the alert.
                let _ = self.write().and_then(|()| self.wire.flush());
                return Err(error);
            }
        }
    }

    /// Passes records to the socket's buffer.
    fn write(&mut self) -> Result<(), ureq::Error> {
        while self.session.connection.wants_write() {
            if let Err(e) = self.session.connection.write_tls(&mut RawSocket(&mut self.wire)) {
                return Err(self.reason(e.into()));
            }
        }
        Ok(())
    }

    /// Reads from the socket once, and decrypts the bytes.
    fn read(&mut self) -> Result<(), ureq::Error> {
        if let Err(error) = self.wire.flush() {
            return Err(self.reason(error));
        }
        match self.session.connection.read_tls(&mut RawSocket(&mut self.wire)) {
            Ok(0) if self.session.connection.is_handshaking() => Err(closed(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => self.process(),
            Err(e) => Err(e.into()),
        }
    }

    fn process(&mut self) -> Result<(), ureq::Error> {
        self.session.process().map_err(|TlsFailure { error, is_unread }| {
            if is_unread {
                context::update(|context| context.sent = false);
            }
            carried(error)
        })
    }

    /// Returns the alert that the server sent before it closed, or else the `error` of a write. A server that refuses
    /// the client may close while the client still writes.
    fn reason(&mut self, error: ureq::Error) -> ureq::Error {
        if context::current().left().is_none() {
            return error;
        }
        match self.session.connection.read_tls(&mut RawSocket(&mut self.wire)) {
            Ok(1..) => self.process().err().unwrap_or(error),
            _ => error,
        }
    }
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTransport").field("wire", &self.records.wire).finish_non_exhaustive()
    }
}

/// The socket below TLS. Reads do not flush.
struct RawSocket<'a>(&'a mut TcpTransport);

impl io::Read for RawSocket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(ureq::Error::into_io)
    }
}

impl io::Write for RawSocket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(ureq::Error::into_io)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
