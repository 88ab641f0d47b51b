//! Sockets below ureq. Each system call is bounded by the remaining time of the request.
//!
//! On an idle connection, a request takes three system calls: `recv` with `MSG_PEEK`, `send` and `recv`.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use super::context::{self, RequestContext, is_only_time};
use super::{resolve, tunnel};
use crate::http::abandoned::{bound_unsent, discard_unsent};
use crate::http::errors;
use crate::http::limit::ConnectionLimit;
use crate::http::proxy::Proxy;
use crate::http::resolver::{Resolver as NameResolver, Target};
use crate::values::cause::{RequestError, is_exhausted};
use crate::values::host::Host;

/// Maximum size of the head of an answer.
const MAX_INPUT: usize = crate::http::MAX_HEAD;
/// Initial size of the input. Most answers fit.
const FIRST_INPUT: usize = 2 * 1024;
/// Size of the output buffer: maximum length of a line of the request's head, and maximum size of one write.
const OUTPUT: usize = 8 * 1024;

/// ureq calls its resolver for every request, even if there is an idle connection. The look-up is in [`TcpConnector`].
#[derive(Debug)]
pub(super) struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        Ok(self.empty())
    }
}

/// Opens the connections to one host.
#[derive(Debug)]
pub(super) struct TcpConnector {
    host: Host,
    /// The address or name to connect to: that of the proxy, or that of the host.
    target: Target,
    proxy: Option<Arc<Proxy>>,
    resolver: Arc<NameResolver>,
    limit: Arc<ConnectionLimit>,
}

impl TcpConnector {
    pub(super) fn new(
        host: &Host,
        proxy: Option<Arc<Proxy>>,
        resolver: Arc<NameResolver>,
        limit: Arc<ConnectionLimit>,
    ) -> Self {
        let target = proxy.as_ref().map_or_else(|| Target::of(host), |proxy| proxy.target.clone());
        TcpConnector { host: host.clone(), target, proxy, resolver, limit }
    }

    /// Connects to the host, or to its proxy, and opens a tunnel there if the host is https.
    fn open(&self, context: &RequestContext) -> Result<TcpStream, RequestError> {
        let stream = resolve::addresses(&self.target, &self.resolver, context)
            .and_then(|addresses| connect_to_any(&addresses, context));
        let Some(proxy) = &self.proxy else { return stream };
        let mut stream = stream.map_err(|error| proxy.not_reached(error))?;
        if self.host.is_https() {
            tunnel::open(&mut stream, proxy, &self.host, context)?;
        }
        Ok(stream)
    }
}

impl Connector for TcpConnector {
    type Out = TcpTransport;

    fn connect(&self, _: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<TcpTransport>, ureq::Error> {
        let context = context::current();
        let stream = self.open(&context).map_err(carried)?;
        context::update(|context| {
            context.connected = true;
            context.securing = self.host.is_https();
        });
        Ok(Some(TcpTransport::new(stream, Arc::clone(&self.limit))))
    }
}

/// Connects to the first address that accepts. Each address gets a share of the time left, so a silent address leaves
/// time for the others.
pub(super) fn connect_to_any(addresses: &[SocketAddr], context: &RequestContext) -> Result<TcpStream, RequestError> {
    let mut last = None;
    for (tried, address) in addresses.iter().enumerate() {
        let Some(left) = context.left() else { break };
        let share = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        match open(*address, share.max(Duration::from_millis(1))) {
            Ok(stream) => return Ok(stream),
            Err(e) if is_exhausted(&e) => {
                return Err(errors::no_descriptor(e));
            }
            Err(e) => last = Some(e),
        }
    }
    Err(errors::not_connected(last, context.timeout))
}

fn open(address: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, timeout)?;
    // The system may assign the port of `address` to this socket, if it is ephemeral and nothing listens there. The
    // socket is then connected to itself.
    if address.ip().is_loopback() && stream.local_addr()? == address {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    bound_unsent(&stream);
    Ok(stream)
}

/// Wraps an error so that ureq returns it unchanged.
pub(super) fn carried(error: RequestError) -> ureq::Error {
    ureq::Error::Other(Box::new(error))
}

pub(super) fn closed(cause: io::Error) -> ureq::Error {
    carried(errors::closed(cause))
}

/// One connection.
///
/// Bytes that ureq writes are kept until it reads the answer, so that head and body (and the end of a TLS handshake)
/// leave in one write.
pub(super) struct TcpTransport {
    stream: TcpStream,
    limit: Arc<ConnectionLimit>,
    bytes: Bytes,
    reads: SocketTimeout,
    writes: SocketTimeout,
}

impl TcpTransport {
    fn new(stream: TcpStream, limit: Arc<ConnectionLimit>) -> Self {
        limit.opened();
        TcpTransport {
            stream,
            limit,
            bytes: Bytes::default(),
            reads: SocketTimeout::default(),
            writes: SocketTimeout::default(),
        }
    }

    pub(super) fn flush(&mut self) -> Result<(), ureq::Error> {
        let mut done = 0;
        while done < self.bytes.pending {
            let context = context::current();
            let left = context.left().ok_or_else(|| given_up(&self.stream))?;
            self.writes.bound(left, |time| self.stream.set_write_timeout(time));
            match self.stream.write(&self.bytes.output[done..self.bytes.pending]) {
                Ok(0) => return Err(closed(io::ErrorKind::WriteZero.into())),
                Ok(amount) => {
                    done += amount;
                    context::note_sent(amount);
                }
                Err(e) if is_only_time(&e) => {}
                Err(e) => return Err(closed(e)),
            }
        }
        self.bytes.pending = 0;
        Ok(())
    }

    /// Reads from the socket once, without a flush. Zero is the end of the stream.
    #[cfg(feature = "rustls")]
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ureq::Error> {
        read(&mut self.stream, &mut self.reads, buffer)
    }

    /// Keeps `bytes`, or a part of them, to be sent with the next flush. Returns the number of bytes kept.
    #[cfg(feature = "rustls")]
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<usize, ureq::Error> {
        let space = self.bytes.output();
        let amount = space.len().min(bytes.len());
        space[..amount].copy_from_slice(&bytes[..amount]);
        self.keep(amount)?;
        Ok(amount)
    }

    /// Returns the number of bytes kept.
    #[cfg(feature = "rustls")]
    pub(super) fn unsent(&self) -> usize {
        self.bytes.pending
    }

    /// Keeps bytes that are in the output buffer.
    fn keep(&mut self, amount: usize) -> Result<(), ureq::Error> {
        self.bytes.pending += amount;
        // The next line needs space.
        if self.bytes.pending > OUTPUT / 2 { self.flush() } else { Ok(()) }
    }
}

fn read(stream: &mut TcpStream, timeout: &mut SocketTimeout, buffer: &mut [u8]) -> Result<usize, ureq::Error> {
    loop {
        let context = context::current();
        let left = context.left().ok_or_else(|| given_up(stream))?;
        timeout.bound(left, |time| stream.set_read_timeout(time));
        match stream.read(buffer) {
            Ok(amount) => {
                context::note_received(amount);
                return Ok(amount);
            }
            Err(e) if is_only_time(&e) => {}
            Err(e) => return Err(closed(e)),
        }
    }
}

/// The error of a request whose time is over.
fn given_up(stream: &TcpStream) -> ureq::Error {
    discard_unsent(stream);
    carried(context::current().out_of_time())
}

impl Transport for TcpTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.bytes
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        self.keep(amount)
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, ureq::Error> {
        self.flush()?;
        if self.bytes.free().is_empty() {
            return Err(carried(errors::head_too_large()));
        }
        let amount = read(&mut self.stream, &mut self.reads, self.bytes.free())?;
        self.bytes.input_appended(amount);
        Ok(amount > 0)
    }

    /// Called at the end of a request, before the connection is kept, and again before the next request uses it. Only
    /// the second call makes a system call.
    fn is_open(&mut self) -> bool {
        if !self.bytes.is_empty() {
            return false;
        }
        if !context::current().sent {
            return is_quiet(&self.stream);
        }
        self.bytes = Bytes::default();
        self.limit.has_room()
    }
}

/// Whether the server has neither closed the connection nor sent unsolicited bytes.
#[cfg(unix)]
fn is_quiet(stream: &TcpStream) -> bool {
    let mut byte = [std::mem::MaybeUninit::uninit()];
    let peeked = socket2::SockRef::from(stream).recv_with_flags(&mut byte, libc::MSG_PEEK | libc::MSG_DONTWAIT);
    matches!(peeked, Err(e) if e.kind() == io::ErrorKind::WouldBlock)
}

/// Whether the server has neither closed the connection nor sent unsolicited bytes.
#[cfg(not(unix))]
fn is_quiet(stream: &TcpStream) -> bool {
    let peeked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
    let quiet = matches!(peeked, Err(e) if e.kind() == io::ErrorKind::WouldBlock);
    stream.set_nonblocking(false).is_ok() && quiet
}

impl Drop for TcpTransport {
    fn drop(&mut self) {
        self.limit.closed();
    }
}

impl fmt::Debug for TcpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpTransport").field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// The timeout of a socket. It is set again only if it no longer fits.
#[derive(Debug, Default)]
struct SocketTimeout(Duration);

impl SocketTimeout {
    /// Bounds the next operation by `left`. The operation may end earlier, and the caller then repeats it. The timeout
    /// that is set is a little shorter than `left`, so that it also fits the next requests.
    fn bound(&mut self, left: Duration, set: impl FnOnce(Option<Duration>) -> io::Result<()>) {
        const SHORT: Duration = Duration::from_millis(20);
        if self.0 <= left && self.0 >= left / 2 {
            return;
        }
        let time = if left < SHORT { left } else { left.saturating_sub(left / 16) };
        // Some systems refuse this after the server has closed. The operation itself then ends at once.
        if set(Some(time)).is_ok() {
            self.0 = time;
        }
    }
}

/// Bytes to write and bytes read. Holds no memory if it is empty.
#[derive(Default)]
struct Bytes {
    output: Vec<u8>,
    /// Number of bytes to send.
    pending: usize,
    input: Vec<u8>,
    /// Beginning of the input that ureq has not consumed.
    start: usize,
    end: usize,
    /// Whether ureq consumed bytes in its last call.
    progress: bool,
}

impl Bytes {
    fn is_empty(&self) -> bool {
        self.pending == 0 && self.start == self.end
    }

    /// Returns the free space behind the input. Moves the input to the start, and grows the buffer up to its bound.
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
        // ureq uses the scratch space for chunked request bodies only, which are not sent.
        (&mut [], &mut self.output[self.pending..])
    }

    fn can_use_input(&self) -> bool {
        self.start < self.end && self.progress
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_timeout_is_set_only_if_the_old_one_is_too_long_or_too_short() {
        let mut timeout = SocketTimeout::default();
        let mut set = |left: u64| {
            let mut given = None;
            timeout.bound(Duration::from_millis(left), |time| {
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
