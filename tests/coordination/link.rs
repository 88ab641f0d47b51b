//! The network before one server: it passes bytes on, delays requests, can be cut for one coordinator and not for another,
//! and does something just before a certain request goes on.
//!
//! It notes who sent each request that changes something, and when. So a request that a node applied late can be told from
//! one that was sent late. Whose a connection is, its first request says: all coordinators know a node by the same URL.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use crate::proof::port::Port;

/// What the network does now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    Open,
    /// Bytes wait, as in a network that repeats them: they arrive once it is open again.
    Held,
    /// Bytes are lost, and with them their connections.
    Lost,
    /// Connections are refused, and the present ones end.
    Refused,
}

type Action = Box<dyn FnOnce() + Send>;
type Meant = Box<dyn Fn(&[u8]) -> bool + Send>;

pub(crate) struct Link {
    port: Port,
    shared: Arc<Shared>,
}

struct Shared {
    server: SocketAddr,
    owner: fn(&[u8]) -> usize,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// One for each coordinator.
    modes: Vec<Mode>,
    /// The longest delay of a request, and what draws it.
    delay: Option<(Duration, fastrand::Rng)>,
    armed: VecDeque<(Meant, Action)>,
    sent: Vec<Sent>,
    /// Requests that came and did not go on yet.
    under_way: usize,
    connections: Vec<Arc<Connection>>,
    closed: bool,
}

/// A request that a coordinator sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// The port from which the server sees it coming.
    port: u16,
    pub(crate) owner: usize,
    changes: bool,
    /// When the coordinator had sent it.
    pub(crate) at: Instant,
    answered: Option<Instant>,
}

struct Connection {
    owner: usize,
    client: TcpStream,
    server: TcpStream,
    lost: AtomicBool,
}

impl Link {
    /// Starts it before a server, with this address. `owner` reads the number of the coordinator, below `owners`, from a request.
    pub(crate) fn before(server: SocketAddr, ip: Ipv4Addr, owners: usize, owner: fn(&[u8]) -> usize) -> Self {
        let state = State {
            modes: vec![Mode::Open; owners],
            delay: None,
            armed: VecDeque::new(),
            sent: Vec::new(),
            under_way: 0,
            connections: Vec::new(),
            closed: false,
        };
        let shared = Arc::new(Shared { server, owner, state: Mutex::new(state), changed: Condvar::new() });
        let serving = Arc::clone(&shared);
        let serve = move |client| {
            let shared = Arc::clone(&serving);
            // An error is the end of one connection. The client sees it.
            thread::spawn(move || shared.serve(client));
        };
        Link { port: Port::open(ip, serve).unwrap(), shared }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address
    }

    pub(crate) fn set(&self, owner: usize, mode: Mode) {
        let mut state = self.shared.state();
        state.modes[owner] = mode;
        for connection in state.connections.iter().filter(|connection| connection.owner == owner) {
            match mode {
                Mode::Lost => connection.lost.store(true, Ordering::Relaxed),
                Mode::Refused => connection.end(),
                Mode::Open | Mode::Held => {}
            }
            if mode != Mode::Lost && connection.lost.load(Ordering::Relaxed) {
                connection.end();
            }
        }
        self.shared.changed.notify_all();
    }

    /// Delays each request from now on by a time below `longest`, or not at all.
    pub(crate) fn delay(&self, longest: Option<(Duration, u64)>) {
        self.shared.state().delay = longest.map(|(longest, seed)| (longest, fastrand::Rng::with_seed(seed)));
    }

    /// Does this once, before the first request of this meaning goes on.
    pub(crate) fn before_request(
        &self,
        meant: impl Fn(&[u8]) -> bool + Send + 'static,
        action: impl FnOnce() + Send + 'static,
    ) {
        self.shared.state().armed.push_back((Box::new(meant), Box::new(action)));
    }

    /// Gives up the actions that were not done.
    pub(crate) fn disarm(&self) {
        self.shared.state().armed.clear();
    }

    /// The request that arrived at this time from this port, if it went through here.
    pub(crate) fn request_of(&self, port: u16, arrived: Instant) -> Option<Sent> {
        let state = self.shared.state();
        state.sent.iter().rev().find(|sent| sent.changes && sent.port == port && sent.at <= arrived).copied()
    }

    /// Whether this coordinator waited for an answer then.
    pub(crate) fn was_awaited(&self, owner: usize, at: Instant) -> bool {
        let state = self.shared.state();
        let awaited = |sent: &Sent| sent.at <= at && sent.answered.is_none_or(|answered| answered > at);
        state.sent.iter().any(|sent| sent.owner == owner && awaited(sent))
    }

    /// Number of requests of this coordinator since then that may change something.
    pub(crate) fn changes_since(&self, owner: usize, since: Instant) -> usize {
        self.shared.state().sent.iter().filter(|sent| sent.changes && sent.owner == owner && sent.at > since).count()
    }

    /// Waits until every request that came has gone on. Whether that came about in time.
    pub(crate) fn quiet(&self, patience: Duration) -> bool {
        let state = self.shared.state();
        let waited = self.shared.changed.wait_timeout_while(state, patience, |state| state.under_way > 0).unwrap();
        !waited.1.timed_out()
    }

    /// Forgets the requests so far.
    pub(crate) fn forget(&self) {
        self.shared.state().sent.clear();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let owners = {
            let mut state = self.shared.state();
            state.closed = true;
            state.modes.len()
        };
        (0..owners).for_each(|owner| self.set(owner, Mode::Refused));
    }
}

impl Connection {
    fn end(&self) {
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn serve(self: &Arc<Self>, client: TcpStream) -> io::Result<()> {
        let mut first = vec![0; 64 << 10];
        let length = (&client).read(&mut first)?;
        first.truncate(length);
        if first.is_empty() {
            return Ok(());
        }
        let owner = (self.owner)(&first);
        let mode = self.state().modes[owner];
        if mode == Mode::Refused {
            return Ok(());
        }
        let server = TcpStream::connect(self.server)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let connection = Arc::new(Connection { owner, client, server, lost: AtomicBool::new(mode == Mode::Lost) });
        self.state().connections.push(Arc::clone(&connection));
        let (shared, answering) = (Arc::clone(self), Arc::clone(&connection));
        let answers = thread::spawn(move || {
            let _ = shared.pass_answers(&answering);
            let _ = answering.client.shutdown(Shutdown::Write);
        });
        let passed = self.pass_requests(&connection, first);
        // The server gets what was passed on, though the client may be gone.
        let _ = connection.server.shutdown(Shutdown::Write);
        let _ = answers.join();
        connection.end();
        self.state().connections.retain(|other| !Arc::ptr_eq(other, &connection));
        passed
    }

    /// A client sends its next request after an answer, so each request begins with a read of its own.
    fn pass_requests(&self, connection: &Connection, mut bytes: Vec<u8>) -> io::Result<()> {
        let port = connection.server.local_addr()?.port();
        while !bytes.is_empty() {
            let mut state = self.state();
            state.under_way += 1;
            if is_request(&bytes) {
                let changes = !bytes.starts_with(b"GET");
                state.sent.push(Sent { port, owner: connection.owner, changes, at: Instant::now(), answered: None });
            }
            drop(state);
            self.act(&bytes);
            self.hold();
            let passed = if self.await_open(connection) { (&connection.server).write_all(&bytes) } else { Ok(()) };
            self.state().under_way -= 1;
            self.changed.notify_all();
            passed?;
            bytes.resize(64 << 10, 0);
            let length = (&connection.client).read(&mut bytes)?;
            bytes.truncate(length);
        }
        Ok(())
    }

    fn pass_answers(&self, connection: &Connection) -> io::Result<()> {
        let port = connection.server.local_addr()?.port();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = (&connection.server).read(&mut buffer)?;
            if length == 0 {
                return Ok(());
            }
            if let Some(last) = self.state().sent.iter_mut().rev().find(|sent| sent.port == port) {
                last.answered.get_or_insert_with(Instant::now);
            }
            if self.await_open(connection) {
                (&connection.client).write_all(&buffer[..length])?;
            }
        }
    }

    fn act(&self, bytes: &[u8]) {
        let mut state = self.state();
        let due = state.armed.iter().position(|(meant, _)| meant(bytes));
        let due = due.and_then(|place| state.armed.remove(place));
        // The action may use this link.
        drop(state);
        if let Some((_, action)) = due {
            action();
        }
    }

    /// Lets the delay of a request pass.
    fn hold(&self) {
        let mut state = self.state();
        let Some((longest, random)) = &mut state.delay else { return };
        if random.u8(..4) > 0 {
            return;
        }
        let delay = longest.mul_f64(random.f64());
        let _state = self.changed.wait_timeout_while(state, delay, |state| state.delay.is_some()).unwrap();
    }

    /// Waits while bytes are held. Whether they arrive.
    fn await_open(&self, connection: &Connection) -> bool {
        let held = |state: &mut State| state.modes[connection.owner] == Mode::Held && !state.closed;
        let _state = self.changed.wait_while(self.state(), held).unwrap();
        !connection.lost.load(Ordering::Relaxed)
    }
}

fn is_request(bytes: &[u8]) -> bool {
    ["GET ", "POST ", "DELETE "].iter().any(|method| bytes.starts_with(method.as_bytes()))
}

/// Does something to the `nth` request of this meaning, whichever of the links it comes through.
pub(crate) fn at_request(
    links: &[&Link],
    nth: usize,
    meant: fn(&[u8], &str) -> bool,
    word: &str,
    action: impl Fn() + Send + Sync + 'static,
) {
    let (count, action) = (Arc::new(AtomicUsize::new(0)), Arc::new(action));
    for link in links {
        let (count, action, word) = (Arc::clone(&count), Arc::clone(&action), word.to_owned());
        let is_it = move |bytes: &[u8]| meant(bytes, &word) && count.fetch_add(1, Ordering::SeqCst) + 1 == nth;
        link.before_request(is_it, move || action());
    }
}

pub(crate) fn begins(bytes: &[u8], word: &str) -> bool {
    bytes.starts_with(word.as_bytes())
}

/// Whether it is somewhere in the request. Names of headers may be written in either case.
pub(crate) fn contains(bytes: &[u8], word: &str) -> bool {
    word.is_empty() || bytes.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word.as_bytes()))
}
