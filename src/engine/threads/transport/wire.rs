//! The sockets below ureq: opened, written, read and probed with as few system calls as it takes, and
//! never for longer than the call has left.
//!
//! On a kept-alive connection a request is one probe, one send and one receive; ureq's own transport
//! takes 10 calls for a GET and 12 for a POST.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use super::call::{self, Call};
use super::resolve;
use crate::http::errors;
use crate::http::limit::ConnectionLimit;
use crate::http::resolver::{Resolver as NameResolver, Target};
use crate::values::cause::{RequestError, is_exhausted};

/// The largest head of an answer.
const MAX_INPUT: usize = crate::http::MAX_HEAD;
/// Most answers fit.
const FIRST_INPUT: usize = 2 * 1024;
/// The longest line of a request's head, which is its path; and what one send takes.
const OUTPUT: usize = 8 * 1024;

/// ureq asks its resolver for every request, also where an idle connection waits. [`Dial`] looks up
/// what it dials.
#[derive(Debug)]
pub(super) struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        Ok(self.empty())
    }
}

/// Opens the connections to one host.
#[derive(Debug)]
pub(super) struct Dial {
    target: Target,
    lookups: Arc<NameResolver>,
    sockets: Arc<ConnectionLimit>,
}

impl Dial {
    pub(super) fn new(target: Target, lookups: Arc<NameResolver>, sockets: Arc<ConnectionLimit>) -> Self {
        Dial { target, lookups, sockets }
    }
}

impl Connector for Dial {
    type Out = Wire;

    fn connect(&self, _: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Wire>, ureq::Error> {
        let call = call::current();
        let addresses = resolve::addresses(&self.target, &self.lookups, &call).map_err(carried)?;
        let stream = dial(&addresses, &call).map_err(carried)?;
        call::update(|call| {
            call.connected = true;
            call.securing = self.target.https;
        });
        Ok(Some(Wire::new(stream, Arc::clone(&self.sockets))))
    }
}

/// Tries the addresses one after the other. Each gets its share of the time left, so that a silent one
/// does not use up the others'.
pub(super) fn dial(addresses: &[SocketAddr], call: &Call) -> Result<TcpStream, RequestError> {
    let mut last = None;
    for (tried, address) in addresses.iter().enumerate() {
        let Some(left) = call.left() else { break };
        let share = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        match open(*address, share.max(Duration::from_millis(1))) {
            Ok(stream) => return Ok(stream),
            Err(e) if is_exhausted(&e) => {
                return Err(errors::no_descriptor(e));
            }
            Err(e) => last = Some(e),
        }
    }
    Err(errors::not_connected(last, call.timeout))
}

fn open(address: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, timeout)?;
    // Where nobody listens on a port that the system hands out to clients, it may hand out that one,
    // and connect us to ourselves.
    if address.ip().is_loopback() && stream.local_addr()? == address {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// ureq carries our errors as they are.
fn carried(error: RequestError) -> ureq::Error {
    ureq::Error::Other(Box::new(error))
}

fn closed(cause: io::Error) -> ureq::Error {
    carried(errors::closed(cause))
}

/// One connection.
///
/// What ureq writes is kept until it waits for the answer, so that head and body (and the end of a TLS
/// handshake) leave together.
pub(super) struct Wire {
    stream: TcpStream,
    sockets: Arc<ConnectionLimit>,
    bytes: Bytes,
    reads: Patience,
    writes: Patience,
}

impl Wire {
    fn new(stream: TcpStream, sockets: Arc<ConnectionLimit>) -> Self {
        sockets.opened();
        Wire { stream, sockets, bytes: Bytes::default(), reads: Patience::default(), writes: Patience::default() }
    }

    fn flush(&mut self) -> Result<(), ureq::Error> {
        let mut done = 0;
        while done < self.bytes.pending {
            let call = call::current();
            let left = call.left().ok_or_else(|| carried(call.out_of_time()))?;
            self.writes.bound(left, |time| self.stream.set_write_timeout(time));
            match self.stream.write(&self.bytes.output[done..self.bytes.pending]) {
                Ok(0) => return Err(closed(io::ErrorKind::WriteZero.into())),
                Ok(amount) => {
                    done += amount;
                    call::update(|call| call.sent = !call.securing);
                }
                Err(e) if is_only_time(&e) => {}
                Err(e) => return Err(closed(e)),
            }
        }
        self.bytes.pending = 0;
        Ok(())
    }

    fn fill(&mut self) -> Result<usize, ureq::Error> {
        loop {
            let call = call::current();
            let left = call.left().ok_or_else(|| carried(call.out_of_time()))?;
            self.reads.bound(left, |time| self.stream.set_read_timeout(time));
            match self.stream.read(self.bytes.free()) {
                Ok(amount) => return Ok(amount),
                Err(e) if is_only_time(&e) => {}
                Err(e) => return Err(closed(e)),
            }
        }
    }
}

/// The call's deadline decides when it is over, not the socket's.
fn is_only_time(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

impl Transport for Wire {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.bytes
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        self.bytes.pending += amount;
        // ureq needs space for its next line.
        if self.bytes.pending > OUTPUT / 2 { self.flush() } else { Ok(()) }
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, ureq::Error> {
        self.flush()?;
        if self.bytes.free().is_empty() {
            return Err(carried(errors::head_too_large()));
        }
        let amount = self.fill()?;
        self.bytes.input_appended(amount);
        if amount > 0 {
            call::update(|call| call.received = call.sent);
        }
        Ok(amount > 0)
    }

    /// Asked when a request is over and the connection would be kept, and when the next one would use it.
    /// Only the second time is it worth a system call.
    fn is_open(&mut self) -> bool {
        if !self.bytes.is_empty() {
            return false;
        }
        if !call::current().sent {
            return is_quiet(&self.stream);
        }
        self.bytes = Bytes::default();
        self.sockets.has_room()
    }
}

/// Whether the server has neither closed the connection nor said something unasked.
#[cfg(unix)]
fn is_quiet(stream: &TcpStream) -> bool {
    let mut byte = [std::mem::MaybeUninit::uninit()];
    let peeked = socket2::SockRef::from(stream).recv_with_flags(&mut byte, libc::MSG_PEEK | libc::MSG_DONTWAIT);
    matches!(peeked, Err(e) if e.kind() == io::ErrorKind::WouldBlock)
}

/// Whether the server has neither closed the connection nor said something unasked.
#[cfg(not(unix))]
fn is_quiet(stream: &TcpStream) -> bool {
    let peeked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
    let quiet = matches!(peeked, Err(e) if e.kind() == io::ErrorKind::WouldBlock);
    stream.set_nonblocking(false).is_ok() && quiet
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.sockets.closed();
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// What a socket's timeout is set to, so that it is set again only where it does not do any more.
#[derive(Debug, Default)]
struct Patience(Duration);

impl Patience {
    /// Sees to it that the next operation takes no longer than `left`. It may end a good while earlier;
    /// the caller then asks again. A little less than `left` is set, and serves the next calls too.
    fn bound(&mut self, left: Duration, set: impl FnOnce(Option<Duration>) -> io::Result<()>) {
        const SHORT: Duration = Duration::from_millis(20);
        if self.0 <= left && self.0 >= left / 2 {
            return;
        }
        let time = if left < SHORT { left } else { left.saturating_sub(left / 16) };
        // Some systems refuse when the server is gone; then the operation itself ends at once.
        if set(Some(time)).is_ok() {
            self.0 = time;
        }
    }
}

/// The bytes on their way, out and in. Empty, it holds no memory.
#[derive(Default)]
struct Bytes {
    output: Vec<u8>,
    /// So many of them are to be sent.
    pending: usize,
    input: Vec<u8>,
    /// The part of the input that ureq has not taken yet.
    start: usize,
    end: usize,
    /// Whether ureq could take something the last time.
    progress: bool,
}

impl Bytes {
    fn is_empty(&self) -> bool {
        self.pending == 0 && self.start == self.end
    }

    /// Space for input behind what is there, made by moving and, up to the bound, by growing.
    fn free(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.input.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.input.len() {
            self.input.resize((self.end * 2).clamp(FIRST_INPUT, MAX_INPUT), 0);
        }
        &mut self.input[self.end..]
    }
}

impl Buffers for Bytes {
    fn output(&mut self) -> &mut [u8] {
        self.output.resize(OUTPUT, 0);
        &mut self.output[self.pending..]
    }

    fn input(&self) -> &[u8] {
        &self.input[self.start..self.end]
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        self.free()
    }

    fn input_appended(&mut self, amount: usize) {
        self.end += amount;
    }

    fn input_consume(&mut self, amount: usize) {
        self.progress = amount > 0;
        self.start += amount;
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        self.output.resize(OUTPUT, 0);
        // The scratch space is for chunked bodies, which we do not send.
        (&mut [], &mut self.output[self.pending..])
    }

    fn can_use_input(&self) -> bool {
        self.start < self.end && self.progress
    }
}

/// ureq's TLS on top. All agents share one, for its roots and its settings are 25 KiB.
#[cfg(feature = "rustls")]
#[derive(Debug, Clone)]
pub(super) struct Tls {
    connector: Arc<ureq::unversioned::transport::RustlsConnector>,
    config: ureq::tls::TlsConfig,
}

#[cfg(feature = "rustls")]
impl Tls {
    pub(super) fn new(roots: ureq::tls::RootCerts) -> Self {
        let config = ureq::tls::TlsConfig::builder()
            .provider(ureq::tls::TlsProvider::Rustls)
            .root_certs(roots)
            .use_sni(true)
            .disable_verification(false)
            .client_cert(None)
            .build();
        Tls { connector: Arc::default(), config }
    }

    pub(super) fn config(&self) -> ureq::tls::TlsConfig {
        self.config.clone()
    }
}

#[cfg(feature = "rustls")]
impl Connector<Wire> for Tls {
    type Out = <ureq::unversioned::transport::RustlsConnector as Connector<Wire>>::Out;

    fn connect(&self, details: &ConnectionDetails<'_>, wire: Option<Wire>) -> Result<Option<Self::Out>, ureq::Error> {
        let secured = self.connector.connect(details, wire)?;
        call::update(|call| call.securing = false);
        Ok(secured)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_set_where_it_does_not_do_any_more() {
        let mut patience = Patience::default();
        let mut set = |left: u64| {
            let mut given = None;
            patience.bound(Duration::from_millis(left), |time| {
                given = time;
                Ok(())
            });
            given.map(|time| time.as_millis())
        };
        assert_eq!(set(16_000), Some(15_000));
        assert_eq!(set(15_999), None);
        assert_eq!(set(15_000), None);
        assert_eq!(set(14_400), Some(13_500));
        assert_eq!(set(27_000), None);
        assert_eq!(set(32_000), Some(30_000));
        assert_eq!(set(10), Some(10));
    }
}
