//! The test server: many ports of loopback, one thread, epoll. `compare-server PORTS DELAY_US [FLAKY]`
//!
//! It prints one line, `ready ADDRESS:PORT,ADDRESS:PORT,...`, and ends when its standard input is closed, so that it
//! ends with its parent. It serves the node API (`http.rs`), answers every request after the delay (`delays.rs`), and
//! keeps every connection until the peer closes it. Each request costs one read and one write. With FLAKY, one in that
//! many ports answers each new request with 503 once.

mod delays;
mod http;
mod stream;

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use delays::{Delayed, Delays};
use stream::{Stream, Streams};

/// Maximum number of ports, as the comparison needs.
const MAX_PORTS: usize = 10_000;
/// Number of addresses to listen on, from 127.0.0.1 on, if one has too few free ports.
const ADDRESSES: u8 = 8;
/// With more ports than this, one listener stands for a port of each address. Otherwise listeners and connections take
/// more file descriptors than a process may have.
const MAX_LISTENERS: usize = 2_000;
/// Maximum length of a request.
const MAX_REQUEST: usize = 16 * 1024;

const STDIN: Token = Token(0);
const TIMER: Token = Token(1);
const FIRST_PORT: usize = 2;

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare-server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (ports, delay, flaky) = match args.as_slice() {
        [ports, delay] => (ports, delay, None),
        [ports, delay, flaky] => (ports, delay, Some(flaky.parse::<NonZero<usize>>()?)),
        _ => return Err("usage: compare-server PORTS DELAY_US [FLAKY]".into()),
    };
    let ports: usize = ports.parse()?;
    if !(1..=MAX_PORTS).contains(&ports) {
        return Err(format!("PORTS must be 1 to {MAX_PORTS}").into());
    }
    let mut server = Server::new(ports, Duration::from_micros(delay.parse()?), flaky)?;
    println!("ready {}", server.addresses()?.join(","));
    Ok(server.run()?)
}

struct Server {
    poll: Poll,
    listeners: Vec<TcpListener>,
    /// Number of addresses at which each listener is reached.
    addresses: u8,
    ports: usize,
    connections: Vec<Slot>,
    free: Vec<usize>,
    delays: Delays,
    streams: Streams,
    /// The existing groups, each as a hash of port and id. A run has few ids, so a collision is very unlikely.
    groups: HashSet<u64, BuildHasherDefault<AlreadyHashed>>,
    /// One in this many ports answers each new request with 503 once.
    flaky: Option<NonZero<usize>>,
    heard: HashSet<u64, BuildHasherDefault<AlreadyHashed>>,
    scratch: Vec<u8>,
}

/// A slot for a connection. Its generation detects a late answer to a closed connection.
struct Slot {
    generation: u64,
    connection: Option<Connection>,
}

struct Connection {
    stream: Stream,
    port: usize,
    /// The beginning of an incomplete request; nearly always empty.
    partial: Vec<u8>,
}

impl Server {
    fn new(ports: usize, delay: Duration, flaky: Option<NonZero<usize>>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry();
        registry.register(&mut SourceFd(&io::stdin().as_raw_fd()), STDIN, Interest::READABLE).map_err(|error| {
            io::Error::new(error.kind(), format!("standard input must be a pipe or a terminal: {error}"))
        })?;
        let delays = Delays::new(delay)?;
        registry.register(&mut SourceFd(&delays.timer_fd()), TIMER, Interest::READABLE)?;
        let addresses = if ports > MAX_LISTENERS { ADDRESSES } else { 1 };
        let count = ports.div_ceil(usize::from(addresses));
        let mut listeners = Vec::with_capacity(count);
        for index in 0..count {
            let mut listener = if addresses > 1 { listen_at(Ipv4Addr::UNSPECIFIED)? } else { listen()? };
            registry.register(&mut listener, Token(FIRST_PORT + index), Interest::READABLE)?;
            listeners.push(listener);
        }
        Ok(Self {
            poll,
            listeners,
            addresses,
            ports,
            connections: Vec::new(),
            free: Vec::new(),
            delays,
            streams: Streams::new()?,
            groups: HashSet::default(),
            flaky,
            heard: HashSet::default(),
            scratch: vec![0; MAX_REQUEST],
        })
    }

    fn addresses(&self) -> io::Result<Vec<String>> {
        let mut all = Vec::with_capacity(self.ports);
        for listener in &self.listeners {
            let address = listener.local_addr()?;
            if self.addresses == 1 {
                all.push(address.to_string());
            } else {
                all.extend((1..=self.addresses).map(|last| format!("127.0.0.{last}:{}", address.port())));
            }
        }
        all.truncate(self.ports);
        Ok(all)
    }

    /// Serves until standard input is closed.
    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1_024);
        let first_connection = FIRST_PORT + self.listeners.len();
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                match event.token() {
                    STDIN => {
                        if io::stdin().read(&mut self.scratch)? == 0 {
                            return Ok(());
                        }
                    }
                    TIMER => self.send_due()?,
                    Token(index) if index < first_connection => self.accept(index - FIRST_PORT)?,
                    Token(index) => self.receive(index - first_connection)?,
                }
            }
        }
    }

    /// Accepts all pending connections, because readiness is edge-triggered.
    fn accept(&mut self, listener: usize) -> io::Result<()> {
        loop {
            let mut stream = match self.listeners[listener].accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let port = self.port_of(listener, &stream)?;
            let index = self.free.pop().unwrap_or_else(|| {
                self.connections.push(Slot { generation: 0, connection: None });
                self.connections.len() - 1
            });
            let token = Token(FIRST_PORT + self.listeners.len() + index);
            self.poll.registry().register(&mut stream, token, Interest::READABLE)?;
            self.connections[index].connection =
                Some(Connection { stream: self.streams.open(stream)?, port, partial: Vec::new() });
        }
    }

    /// The port that a connection reached.
    fn port_of(&self, listener: usize, stream: &TcpStream) -> io::Result<usize> {
        if self.addresses == 1 {
            return Ok(listener);
        }
        let SocketAddr::V4(address) = stream.local_addr()? else { return Err(ErrorKind::AddrNotAvailable.into()) };
        let last = usize::from(address.ip().octets()[3]);
        Ok(listener * usize::from(self.addresses) + last.saturating_sub(1))
    }

    fn receive(&mut self, index: usize) -> io::Result<()> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let open = loop {
            let Some(connection) = &mut self.connections[index].connection else { break true };
            match connection.stream.read(&mut scratch) {
                Ok(0) => break false,
                Ok(read) => {
                    if !self.take_requests(index, &scratch[..read])? {
                        break false;
                    }
                    // A short read has emptied the socket, so epoll reports the next arrival.
                    if read < scratch.len() && !cfg!(feature = "tls") {
                        break true;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break false,
            }
        };
        self.scratch = scratch;
        if !open {
            self.close(index);
        }
        Ok(())
    }

    /// Answers each complete request in `bytes`. Returns `false` if the connection is to be closed.
    fn take_requests(&mut self, index: usize, bytes: &[u8]) -> io::Result<bool> {
        let Some(connection) = &mut self.connections[index].connection else { return Ok(true) };
        let port = connection.port;
        let mut pieces = std::mem::take(&mut connection.partial);
        let mut rest: &[u8] = if pieces.is_empty() {
            bytes
        } else {
            pieces.extend_from_slice(bytes);
            &pieces
        };
        while !rest.is_empty() {
            match http::parse(rest) {
                http::Parsed::Request(request, len) => {
                    rest = &rest[len..];
                    let answer = self.apply(port, &request);
                    if !self.answer(index, answer)? {
                        return Ok(false);
                    }
                }
                http::Parsed::Partial if rest.len() < MAX_REQUEST => break,
                http::Parsed::Partial | http::Parsed::Garbage => {
                    eprintln!("compare-server: not a request: {:?}", String::from_utf8_lossy(rest));
                    return Ok(false);
                }
            }
        }
        if let (false, Some(connection)) = (rest.is_empty(), &mut self.connections[index].connection) {
            connection.partial = rest.to_vec();
        }
        Ok(true)
    }

    /// Answers a request of the node API.
    fn apply(&mut self, port: usize, request: &http::Request<'_>) -> http::Answer {
        if self.flaky.is_some_and(|flaky| port % flaky == 0) && self.heard.insert(request.key(port)) {
            return http::UNAVAILABLE;
        }
        match request {
            http::Request::Create(id) => {
                if self.groups.insert(http::key(port, id)) {
                    http::CREATED
                } else {
                    http::BAD_REQUEST
                }
            }
            http::Request::Check(id) => {
                if self.groups.contains(&http::key(port, id)) {
                    http::OK
                } else {
                    http::NOT_FOUND
                }
            }
            http::Request::Delete(id) => {
                if self.groups.remove(&http::key(port, id)) {
                    http::OK
                } else {
                    http::NOT_FOUND
                }
            }
            http::Request::Other => http::NOT_FOUND,
        }
    }

    fn answer(&mut self, index: usize, answer: http::Answer) -> io::Result<bool> {
        if self.delays.is_zero() {
            return Ok(self.send(index, answer));
        }
        self.delays.push(Delayed { connection: index, generation: self.connections[index].generation, answer })?;
        Ok(true)
    }

    fn send_due(&mut self) -> io::Result<()> {
        self.delays.start_batch();
        while let Some(due) = self.delays.pop_due() {
            if self.connections[due.connection].generation == due.generation && !self.send(due.connection, due.answer) {
                self.close(due.connection);
            }
        }
        self.delays.finish_batch()
    }

    /// Writes an answer, or closes the connection if one write is not enough. An answer is far smaller than a socket's
    /// buffer, and a client sends its next request after it.
    fn send(&mut self, index: usize, answer: http::Answer) -> bool {
        let Some(connection) = &mut self.connections[index].connection else { return true };
        matches!(connection.stream.write(answer), Ok(sent) if sent == answer.len())
    }

    fn close(&mut self, index: usize) {
        let slot = &mut self.connections[index];
        // A closed socket is removed from epoll.
        if slot.connection.take().is_some() {
            slot.generation += 1;
            self.free.push(index);
        }
    }
}

/// Listens on a free port of the first address that has one.
fn listen() -> io::Result<TcpListener> {
    let mut last = None;
    for address in 1..=ADDRESSES {
        match listen_at(Ipv4Addr::new(127, 0, 0, address)) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => last = Some(error),
            other => return other,
        }
    }
    Err(last.unwrap_or_else(|| ErrorKind::AddrInUse.into()))
}

fn listen_at(address: Ipv4Addr) -> io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::from((address, 0)))
}

/// The keys are hashes already.
#[derive(Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only u64 keys are hashed");
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}
