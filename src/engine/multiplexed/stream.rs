//! A non-blocking socket, with or without TLS.
//!
//! Readiness is edge-triggered: `readable` is set by an event, and cleared by a short read. Later bytes cause a new
//! event.

use std::io::{self, Read as _, Write as _};

use mio::net::TcpStream;

use crate::http::abandoned::discard_unsent;
#[cfg(feature = "rustls")]
use crate::http::tls::session::TlsSession;
use crate::values::usage::Traffic;

pub(super) struct Stream {
    socket: TcpStream,
    #[cfg(feature = "rustls")]
    tls: Option<Box<TlsSession>>,
    /// Bytes that the kernel has not accepted yet. Empty with TLS, which has a buffer of its own.
    output: Vec<u8>,
    /// A read may return bytes.
    readable: bool,
    /// The server has closed its side. Read to the end, even after short reads.
    ending: bool,
    /// The kernel accepted at least one byte since the last `send`, and the server may have read it.
    sent: bool,
    /// Bytes since the last `send` began.
    traffic: Traffic,
}

impl Stream {
    pub(super) fn new(socket: TcpStream) -> Self {
        Stream {
            socket,
            #[cfg(feature = "rustls")]
            tls: None,
            output: Vec::new(),
            readable: false,
            ending: false,
            sent: false,
            traffic: Traffic::default(),
        }
    }

    pub(super) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    #[cfg(feature = "rustls")]
    pub(super) fn secure(&mut self, mut tls: TlsSession) {
        // A request is written at once, so its size bounds the buffer.
        tls.connection.set_buffer_limit(None);
        self.tls = Some(Box::new(tls));
    }

    /// Closes the connection of a request that is given up.
    pub(super) fn abandon(self) {
        discard_unsent(&self.socket);
    }

    pub(super) fn is_readable(&self) -> bool {
        self.readable
    }

    pub(super) fn has_sent(&self) -> bool {
        self.sent
    }

    /// Returns the bytes since the last `send` began.
    pub(super) fn traffic(&self) -> Traffic {
        self.traffic
    }

    fn note_sent(&mut self, bytes: usize) {
        self.sent |= bytes > 0;
        self.traffic.add_sent(bytes);
    }

    /// Notes an event.
    pub(super) fn note(&mut self, readable: bool, ending: bool) {
        self.readable |= readable || ending;
        self.ending |= ending;
    }

    /// Writes `bytes`, and keeps those that the kernel does not accept. Returns whether all were written.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<bool> {
        (self.sent, self.traffic) = (false, Traffic::default());
        #[cfg(feature = "rustls")]
        if let Some(tls) = &mut self.tls {
            tls.connection.writer().write_all(bytes)?;
            return self.flush();
        }
        let taken = match write(&mut self.socket, bytes) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => 0,
            taken => taken?,
        };
        self.note_sent(taken);
        if taken == bytes.len() {
            return Ok(true);
        }
        self.output.extend_from_slice(&bytes[taken..]);
        self.flush()
    }

    /// Writes the bytes that the kernel did not accept before. Returns whether all were written.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        #[cfg(feature = "rustls")]
        if self.tls.is_some() {
            return self.flush_secured();
        }
        while !self.output.is_empty() {
            match write(&mut self.socket, &self.output) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(taken) => {
                    self.note_sent(taken);
                    self.output.drain(..taken);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        self.output = Vec::new();
        Ok(true)
    }

    /// Reads once. Zero is the end of the stream. Without bytes, the error is [`io::ErrorKind::WouldBlock`].
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(feature = "rustls")]
        if self.tls.is_some() {
            return self.read_secured(buffer);
        }
        let read = self.read_socket(|socket| read(socket, buffer))?;
        self.readable = self.ending || read == buffer.len();
        Ok(read)
    }

    fn read_socket(&mut self, read: impl FnOnce(&mut TcpStream) -> io::Result<usize>) -> io::Result<usize> {
        if !self.readable {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let result = read(&mut self.socket);
        match &result {
            Ok(bytes) => self.traffic.add_received(*bytes),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.readable = false,
            Err(_) => {}
        }
        result
    }

    #[cfg(feature = "rustls")]
    fn flush_secured(&mut self) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else { return Ok(true) };
        while tls.connection.wants_write() {
            match tls.connection.write_tls(&mut self.socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(taken) => {
                    self.sent = true;
                    self.traffic.add_sent(taken);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) => {
                    // The server may have said why in an alert, before it closed.
                    self.readable = true;
                    let alert = self.take_records().err().filter(|e| e.kind() == io::ErrorKind::InvalidData);
                    return Err(alert.unwrap_or(e));
                }
            }
        }
        Ok(true)
    }

    #[cfg(feature = "rustls")]
    fn read_secured(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(tls) = &mut self.tls else { return Err(io::ErrorKind::WouldBlock.into()) };
            match tls.connection.reader().read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            self.take_records()?;
        }
    }

    /// Continues the TLS handshake. Returns whether it is complete.
    #[cfg(feature = "rustls")]
    pub(super) fn shake_hands(&mut self) -> io::Result<bool> {
        loop {
            self.flush()?;
            if self.tls.as_ref().is_none_or(|tls| !tls.connection.is_handshaking()) {
                return Ok(true);
            }
            match self.take_records() {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) => {
                    // Send the alert.
                    let _ = self.flush();
                    return Err(e);
                }
            }
        }
    }

    /// Reads from the socket once, and decrypts the bytes.
    #[cfg(feature = "rustls")]
    fn take_records(&mut self) -> io::Result<usize> {
        let Some(mut tls) = self.tls.take() else { return Err(io::ErrorKind::WouldBlock.into()) };
        let mut full = true;
        let result = self.read_socket(|socket| tls.connection.read_tls(&mut Watched { socket, full: &mut full }));
        if result.is_ok() {
            self.readable = self.ending || full;
        }
        let processed = match result {
            Ok(_) => tls.process().map_err(|failure| {
                self.sent &= !failure.is_unread;
                io::Error::new(io::ErrorKind::InvalidData, failure.error)
            }),
            Err(e) => {
                self.tls = Some(tls);
                return Err(e);
            }
        };
        self.tls = Some(tls);
        processed.and(result)
    }
}

/// Notes whether a read was short.
#[cfg(feature = "rustls")]
struct Watched<'a> {
    socket: &'a mut TcpStream,
    full: &'a mut bool,
}

#[cfg(feature = "rustls")]
impl io::Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let amount = read(self.socket, buffer)?;
        *self.full = amount == buffer.len();
        Ok(amount)
    }
}

fn read(socket: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match socket.read(buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn write(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match socket.write(bytes) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
