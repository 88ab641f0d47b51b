//! The engine that multiplexes: all its connections on the thread that waits, over mio and ureq-proto.
//!
//! ```text
//!   submit ─▶ start ─┬─ idle connection ───────────────────────────────▶ Exchanging ─▶ Idle, or closed
//!                    ├─ address known ─▶ Connecting ─▶ (Securing) ─▶──────┘   │
//!                    └─ name ─▶ look-up on a thread ─▶ Connecting             └─▶ completion
//! ```
//! Few system calls: a connection is registered once, edge-triggered. Head and body of a request leave in one
//! write. After the write the engine waits for an event instead of trying a read, and a short read means that
//! the socket is drained. Idle connections are looked at once per batch of exchanges.
//!
//! Invariants:
//! * An exchange is in exactly one place: `submitted`, `lookups`, or the slot of one connection.
//! * A connection in the phase `Idle` has no exchange, no bytes to read, and is in the list of its host.
//! * A slot has at most one entry in the heap of timers that counts (`Connection::scheduled`). It fires no later
//!   than the deadline of the connection.
//! * An event for a slot that was closed and filled anew meanwhile is harmless: it only causes a read or a look at
//!   the socket that finds nothing.

mod answer;
mod host;
mod lookups;
mod request;
mod stream;
#[cfg(test)]
mod tests;
mod wakeup;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use self::answer::{AnswerReader, Progress};
use self::host::HttpHost;
use self::lookups::{Lookups, Start};
use self::stream::Stream;
use self::wakeup::Wakeup;
use super::{Completion, Engine, Exchange};
use crate::api::Reply;
use crate::cause::{RequestError, RequestErrorKind as Kind};
use crate::config::ConfigError;
use crate::host::Host;
use crate::http::limit::{ConnectionLimit, is_exhausted};
use crate::http::resolver::Resolver;
use crate::http::{DRAIN, MAX_HEAD, MAX_IDLE, errors, headers};
use crate::sync::Wake;

/// Stands for timeouts that the clock cannot express.
const AGES: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Events taken from the system at a time.
const EVENTS: usize = 1024;
/// Reads from one connection before others have their turn.
const READS: usize = 8;
/// The token of the waker.
const WAKER: Token = Token(usize::MAX);

/// What all engines of one client share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    resolver: Arc<Resolver>,
    limit: ConnectionLimit,
    /// How often an engine has run out of descriptors. The others close idle connections too.
    sheds: AtomicUsize,
    #[cfg(feature = "rustls")]
    tls: std::sync::OnceLock<Arc<rustls::ClientConfig>>,
}

/// The engine. See the head of this file.
pub(crate) struct Multiplexed {
    shared: Arc<Shared>,
    hosts: Vec<HttpHost>,
    /// Filled when a host is added.
    numbers: HashMap<Host, usize>,
    /// Opened with the first exchange. `None` if the system has no descriptor for it.
    poll: Option<(Poll, Events)>,
    /// Kept for its memory.
    ready: Vec<Ready>,
    wakeup: Arc<Wakeup>,
    submitted: VecDeque<Box<InFlight>>,
    lookups: Lookups,
    connections: Vec<Option<Box<Connection>>>,
    free: Vec<usize>,
    idle: usize,
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Connections that have had their turn and may have more to read.
    unread: Vec<usize>,
    completed: Vec<Completion>,
    sheds_seen: usize,
    /// The time of the last look at the clock.
    now: Instant,
    input: Box<[u8]>,
    output: Vec<u8>,
}

/// An exchange and how far it got.
struct InFlight {
    exchange: Exchange,
    /// Where the request goes, the base path of the host included.
    path: String,
    begun: Instant,
    deadline: Instant,
    /// No idle connection will do.
    needs_fresh: bool,
    has_shed: bool,
    redirected: bool,
}

struct Connection {
    stream: Stream,
    host: usize,
    phase: Phase,
    exchange: Option<Box<InFlight>>,
    reader: Option<AnswerReader>,
    /// Bytes of the answer that the reader could not use yet.
    input: Vec<u8>,
    /// The exchange opened this connection.
    is_fresh: bool,
    /// At least one byte came back after the request.
    received: bool,
    /// The time at which the phase is over.
    deadline: Option<Instant>,
    /// The time of this connection's entry in the heap of timers.
    scheduled: Option<Instant>,
}

enum Phase {
    /// The addresses are those to try next.
    Connecting {
        address: SocketAddr,
        next: std::vec::IntoIter<SocketAddr>,
    },
    /// The TLS handshake.
    #[cfg(feature = "rustls")]
    Securing,
    /// The request is not wholly sent.
    Sending,
    Receiving,
    Idle,
}

/// An event.
#[derive(Debug, Clone, Copy)]
struct Ready {
    slot: usize,
    readable: bool,
    /// The server sends nothing more.
    ending: bool,
}

/// What became of an attempt that failed.
struct Failure {
    error: RequestError,
    sent: bool,
    /// The server may have closed an idle connection before it saw the request.
    maybe_stale: bool,
}

impl Failure {
    fn not_sent(error: RequestError) -> Self {
        Failure { error, sent: false, maybe_stale: false }
    }
}

impl Multiplexed {
    /// An engine for `hosts`, which are numbered in this order. Nothing is opened yet.
    ///
    /// # Errors
    /// A [`ConfigError`] for an https host if TLS is not built in.
    pub(crate) fn new(hosts: &[Host], shared: Arc<Shared>) -> Result<Self, ConfigError> {
        let wakeup = Arc::<Wakeup>::default();
        let watcher: Arc<dyn Wake> = Arc::<Wakeup>::clone(&wakeup);
        shared.resolver.watch(Arc::downgrade(&watcher));
        let mut engine = Multiplexed {
            lookups: Lookups::new(Arc::clone(&shared.resolver)),
            sheds_seen: shared.sheds.load(Ordering::Relaxed),
            shared,
            hosts: Vec::with_capacity(hosts.len()),
            numbers: HashMap::new(),
            poll: None,
            ready: Vec::new(),
            wakeup,
            submitted: VecDeque::new(),
            connections: Vec::new(),
            free: Vec::new(),
            idle: 0,
            timers: BinaryHeap::new(),
            unread: Vec::new(),
            completed: Vec::new(),
            now: Instant::now(),
            input: vec![0; MAX_HEAD].into(),
            output: Vec::new(),
        };
        hosts.iter().try_for_each(|host| engine.push_host(host))?;
        Ok(engine)
    }

    fn push_host(&mut self, host: &Host) -> Result<(), ConfigError> {
        if host.is_https() && !cfg!(feature = "rustls") {
            return Err(crate::http::no_tls(host));
        }
        self.hosts.push(HttpHost::new(host));
        Ok(())
    }

    // --- exchanges

    /// Sends the request over an idle connection, or begins to open one.
    fn start(&mut self, mut exchange: Box<InFlight>) {
        let number = exchange.exchange.host;
        let Some(host) = self.hosts.get_mut(number) else {
            return self.fail(exchange, Failure::not_sent(errors::no_such_host()));
        };
        if exchange.path.is_empty() {
            exchange.path = host.path(&exchange.exchange.request.path);
        }
        if self.now >= exchange.deadline {
            let timeout = exchange.exchange.timeout;
            return self.fail(exchange, Failure::not_sent(errors::not_connected(None, timeout)));
        }
        if !exchange.needs_fresh
            && let Some(slot) = self.pop_idle(number)
        {
            return self.send(slot, exchange, false);
        }
        match self.hosts[number].target.addresses() {
            Ok(addresses) => self.connect(exchange, addresses.into_iter(), None),
            Err(name) => match self.lookups.start(Arc::clone(name), exchange) {
                Start::Waits => {}
                Start::Failed(exchange, error) => self.fail(exchange, Failure::not_sent(error)),
            },
        }
    }

    /// Goes on with the exchanges whose look-up has ended.
    fn take_found(&mut self) {
        for (exchange, found) in self.lookups.take_ended(self.now) {
            match found {
                Ok(found) => {
                    let addresses = self.hosts[exchange.exchange.host].target.with_port(found);
                    self.connect(exchange, addresses.into_iter(), None);
                }
                Err(error) => self.fail(exchange, Failure::not_sent(error)),
            }
        }
    }

    /// Begins to connect to the next address that does not fail at once. Each address gets its share of the time
    /// left, so that a silent one does not use up the others'.
    fn connect(
        &mut self,
        exchange: Box<InFlight>,
        mut addresses: std::vec::IntoIter<SocketAddr>,
        mut last: Option<io::Error>,
    ) {
        let timeout = exchange.exchange.timeout;
        loop {
            let left = exchange.deadline.saturating_duration_since(self.now);
            let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
            let Some(address) = addresses.next().filter(|_| !left.is_zero()) else {
                return self.fail(exchange, Failure::not_sent(errors::not_connected(last, timeout)));
            };
            let slot = self.free.last().copied().unwrap_or(self.connections.len());
            let opened = self.poll().and_then(|poll| {
                let mut socket = TcpStream::connect(address)?;
                let interest = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(&mut socket, Token(slot), interest)?;
                Ok(socket)
            });
            match opened {
                Ok(socket) => {
                    let host = exchange.exchange.host;
                    let slot = self.insert(Connection {
                        stream: Stream::new(socket),
                        host,
                        phase: Phase::Connecting { address, next: addresses },
                        exchange: Some(exchange),
                        reader: None,
                        input: Vec::new(),
                        is_fresh: true,
                        received: false,
                        deadline: None,
                        scheduled: None,
                    });
                    return self.set_deadline(slot, self.now + left / count);
                }
                Err(e) if is_exhausted(&e) => {
                    return self.fail(exchange, Failure::not_sent(errors::no_descriptor(e)));
                }
                Err(e) => last = Some(e),
            }
        }
    }

    /// Looks whether a connection is established by now.
    fn check_connect(&mut self, slot: usize) {
        let Some(connection) = self.connections[slot].as_mut() else { return };
        let Phase::Connecting { address, .. } = connection.phase else { return };
        match is_connected(connection.stream.socket(), address) {
            Ok(false) => {}
            Ok(true) => self.connected(slot),
            Err(e) => self.connect_next(slot, e),
        }
    }

    fn connect_next(&mut self, slot: usize, error: io::Error) {
        let Some(connection) = self.close(slot) else { return };
        if let (Some(exchange), Phase::Connecting { next, .. }) = (connection.exchange, connection.phase) {
            drop(connection.stream);
            self.connect(exchange, next, Some(error));
        }
    }

    fn connected(&mut self, slot: usize) {
        let Some(connection) = self.connections[slot].as_mut() else { return };
        let _ = connection.stream.socket().set_nodelay(true);
        let Some(exchange) = connection.exchange.take() else { return };
        #[cfg(feature = "rustls")]
        if self.hosts[connection.host].target.https {
            return self.secure(slot, exchange);
        }
        self.send(slot, exchange, true);
    }

    #[cfg(feature = "rustls")]
    fn secure(&mut self, slot: usize, exchange: Box<InFlight>) {
        let Some(connection) = self.connections[slot].as_mut() else { return };
        connection.phase = Phase::Securing;
        let deadline = exchange.deadline;
        connection.exchange = Some(exchange);
        let config = Arc::clone(self.shared.tls.get_or_init(crate::http::tls::with_built_in_roots));
        let name = self.hosts[connection.host].target.tls_name().try_into();
        let client = name.map_err(io::Error::other).and_then(|name| {
            rustls::ClientConnection::new(config, name).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
        });
        match client {
            Ok(client) => {
                connection.stream.secure(client);
                self.set_deadline(slot, deadline);
                self.shake_hands(slot);
            }
            Err(e) => self.attempt_failed(slot, errors::tls_failed(e)),
        }
    }

    #[cfg(feature = "rustls")]
    fn shake_hands(&mut self, slot: usize) {
        let Some(connection) = self.connections[slot].as_mut() else { return };
        match connection.stream.shake_hands() {
            Ok(false) => {}
            Ok(true) => {
                if let Some(exchange) = connection.exchange.take() {
                    self.send(slot, exchange, true);
                }
            }
            Err(e) => {
                let error =
                    if e.kind() == io::ErrorKind::InvalidData { errors::tls_failed(e) } else { errors::closed(e) };
                self.attempt_failed(slot, error);
            }
        }
    }

    /// Sends the request on a connection that is ready for it.
    fn send(&mut self, slot: usize, exchange: Box<InFlight>, is_fresh: bool) {
        let Some(connection) = self.connections[slot].as_mut() else { return };
        let Exchange { request, headers, wants_body, .. } = &exchange.exchange;
        self.output.clear();
        let host = &self.hosts[connection.host];
        let call = match request::write(host, &exchange.path, request, headers, &mut self.output) {
            Ok(call) => call,
            Err(error) => {
                drop(self.close(slot));
                return self.fail(exchange, Failure::not_sent(error));
            }
        };
        connection.phase = Phase::Sending;
        connection.reader = Some(AnswerReader::new(call, *wants_body));
        connection.is_fresh = is_fresh;
        connection.received = false;
        let deadline = exchange.deadline;
        connection.exchange = Some(exchange);
        let gone = connection.stream.send(&self.output);
        self.set_deadline(slot, deadline);
        self.after_send(slot, gone);
    }

    fn after_send(&mut self, slot: usize, gone: io::Result<bool>) {
        let Some(connection) = self.connections[slot].as_mut() else { return };
        match gone {
            Ok(false) => connection.phase = Phase::Sending,
            Ok(true) => {
                connection.phase = Phase::Receiving;
                // Otherwise an event will come.
                if connection.stream.is_readable() {
                    self.receive(slot);
                }
            }
            Err(e) => self.attempt_failed(slot, errors::closed(e)),
        }
    }

    /// Reads what there is of the answer.
    fn receive(&mut self, slot: usize) {
        for _ in 0..READS {
            let Some(connection) = self.connections[slot].as_mut() else { return };
            let Some(reader) = connection.reader.as_mut() else { return };
            let read = match connection.stream.read(&mut self.input) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) if reader.has_head() => return self.finish(slot, false),
                Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                    return self.attempt_failed(slot, errors::tls_failed(e));
                }
                Err(e) => return self.attempt_failed(slot, errors::closed(e)),
                Ok(0) => {
                    return match reader.end() {
                        Ok(()) => self.finish(slot, false),
                        Err(error) => self.attempt_failed(slot, error),
                    };
                }
                Ok(read) => read,
            };
            connection.received = true;
            let had_head = reader.has_head();
            self.output.resize(MAX_HEAD, 0);
            let kept = !connection.input.is_empty();
            if kept {
                connection.input.extend_from_slice(&self.input[..read]);
            }
            let bytes = if kept { &connection.input[..] } else { &self.input[..read] };
            let (used, progress) = match reader.feed(bytes, &mut self.output) {
                Ok(fed) => fed,
                Err(error) => return self.attempt_failed(slot, error),
            };
            let drains = !had_head && reader.has_head();
            if kept {
                connection.input.drain(..used);
            } else {
                connection.input.extend_from_slice(&self.input[used..read]);
            }
            match progress {
                Progress::Complete { reusable } => return self.finish(slot, reusable),
                Progress::NeedsInput if drains => self.shorten_deadline(slot, self.now + DRAIN),
                Progress::NeedsInput => {}
            }
        }
        self.unread.push(slot);
    }

    /// The answer is there.
    fn finish(&mut self, slot: usize, reusable: bool) {
        let Some(connection) = self.connections[slot].as_mut() else { return };
        let (exchange, reader) = (connection.exchange.take(), connection.reader.take());
        self.recycle(slot, reusable);
        let (Some(mut exchange), Some(answer)) = (exchange, reader.and_then(AnswerReader::into_answer)) else {
            return;
        };
        if !exchange.redirected
            && matches!(answer.status, 307 | 308)
            && let Some(location) = &answer.location
            && let Some(url) = headers::same_origin(&self.hosts[exchange.exchange.host].host, location)
        {
            exchange.path = self.hosts[exchange.exchange.host].path_of(&url);
            exchange.redirected = true;
            exchange.needs_fresh = false;
            return self.submitted.push_front(exchange);
        }
        let reply = Reply::Answered { status: answer.status, retry_after: answer.retry_after };
        self.complete(&exchange, reply, answer.body);
    }

    /// Keeps the connection for the next request, or closes it.
    fn recycle(&mut self, slot: usize, reusable: bool) {
        let has_room = self.shared.limit.has_room();
        let Some(connection) = self.connections[slot].as_mut() else { return };
        let host = &mut self.hosts[connection.host];
        let keep = reusable && has_room && connection.input.is_empty() && host.idle_count() < MAX_IDLE;
        if !keep || !is_quiet(&mut connection.stream, &mut self.input) {
            drop(self.close(slot));
            return;
        }
        connection.phase = Phase::Idle;
        connection.deadline = None;
        connection.input = Vec::new();
        host.push_idle(slot, self.now);
        self.idle += 1;
        let number = connection.host;
        if let Some(expired) = self.hosts[number].pop_expired(self.now) {
            self.idle -= 1;
            drop(self.close(expired));
        }
    }

    /// The exchange in this slot failed on its connection.
    fn attempt_failed(&mut self, slot: usize, error: RequestError) {
        let Some(connection) = self.close(slot) else { return };
        let Some(exchange) = connection.exchange else { return };
        let is_secured = matches!(connection.phase, Phase::Sending | Phase::Receiving | Phase::Idle);
        let timeout = exchange.exchange.timeout;
        let failure = Failure {
            sent: is_secured && connection.stream.has_sent(),
            maybe_stale: is_secured && !connection.is_fresh && !connection.received && error.kind() == Kind::Closed,
            error: if is_secured { error } else { errors::during_handshake(error, timeout) },
        };
        drop(connection.stream);
        self.fail(exchange, failure);
    }

    /// Tries again if that is harmless, else completes the exchange.
    fn fail(&mut self, mut exchange: Box<InFlight>, failure: Failure) {
        // A GET changes nothing (RFC 9110, 9.2.2), and neither does a request of which nothing left.
        if failure.maybe_stale && (exchange.exchange.request.method == "GET" || !failure.sent) {
            exchange.needs_fresh = true;
            return self.submitted.push_front(exchange);
        }
        if failure.error.kind() == Kind::Exhausted && !failure.sent && !exchange.has_shed {
            exchange.has_shed = true;
            self.shed_idle_connections();
            return self.submitted.push_front(exchange);
        }
        // After a redirect the server did get the request, whatever the second way was like.
        let sent = failure.sent || exchange.redirected;
        let reply = if sent { Reply::Ambiguous(failure.error) } else { Reply::NotSent(failure.error) };
        self.complete(&exchange, reply, None);
    }

    fn complete(&mut self, exchange: &InFlight, reply: Reply, body: Option<Vec<u8>>) {
        let elapsed = self.now.saturating_duration_since(exchange.begun);
        self.completed.push(Completion { id: exchange.exchange.id, reply, body, elapsed });
    }

    // --- connections

    fn insert(&mut self, connection: Connection) -> usize {
        self.shared.limit.opened();
        let slot = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        self.connections[slot] = Some(Box::new(connection));
        slot
    }

    /// Frees the slot. The socket closes when the connection is dropped.
    fn close(&mut self, slot: usize) -> Option<Connection> {
        let connection = self.connections[slot].take()?;
        self.free.push(slot);
        self.shared.limit.closed();
        Some(*connection)
    }

    fn pop_idle(&mut self, host: usize) -> Option<usize> {
        while let Some(expired) = self.hosts[host].pop_expired(self.now) {
            self.idle -= 1;
            drop(self.close(expired));
        }
        let slot = self.hosts[host].pop_idle()?;
        self.idle -= 1;
        Some(slot)
    }

    fn close_idle(&mut self, slot: usize) {
        if let Some(connection) = self.close(slot) {
            self.hosts[connection.host].remove_idle(slot);
            self.idle -= 1;
        }
    }

    fn close_all_idle(&mut self) {
        for host in 0..self.hosts.len() {
            while let Some(slot) = self.hosts[host].pop_idle() {
                self.idle -= 1;
                drop(self.close(slot));
            }
        }
    }

    // --- time

    fn set_deadline(&mut self, slot: usize, deadline: Instant) {
        let Some(connection) = self.connections[slot].as_mut() else { return };
        connection.deadline = Some(deadline);
        if connection.scheduled.is_none_or(|scheduled| deadline < scheduled) {
            connection.scheduled = Some(deadline);
            self.timers.push(Reverse((deadline, slot)));
        }
    }

    fn shorten_deadline(&mut self, slot: usize, deadline: Instant) {
        let sooner = self.connections[slot].as_ref().and_then(|connection| connection.deadline);
        self.set_deadline(slot, sooner.map_or(deadline, |sooner| sooner.min(deadline)));
    }

    fn expire(&mut self) {
        while let Some(&Reverse((due, slot))) = self.timers.peek()
            && due <= self.now
        {
            self.timers.pop();
            let Some(connection) = self.connections[slot].as_mut() else { continue };
            if connection.scheduled != Some(due) {
                continue;
            }
            connection.scheduled = None;
            match connection.deadline {
                Some(deadline) if deadline <= self.now => self.time_is_over(slot),
                Some(deadline) => self.set_deadline(slot, deadline),
                None => {}
            }
        }
    }

    fn time_is_over(&mut self, slot: usize) {
        let Some(connection) = self.connections[slot].as_ref() else { return };
        if connection.reader.as_ref().is_some_and(AnswerReader::has_head) {
            return self.finish(slot, false);
        }
        if matches!(connection.phase, Phase::Connecting { .. }) {
            return self.connect_next(slot, io::ErrorKind::TimedOut.into());
        }
        let timeout = connection.exchange.as_ref().map(|exchange| exchange.exchange.timeout).unwrap_or_default();
        let error = errors::out_of_time(connection.stream.has_sent(), timeout);
        self.attempt_failed(slot, error);
    }

    // --- events

    fn poll(&mut self) -> io::Result<&Poll> {
        if self.poll.is_none() {
            let poll = Poll::new()?;
            self.wakeup.attach(mio::Waker::new(poll.registry(), WAKER)?);
            self.poll = Some((poll, Events::with_capacity(EVENTS)));
        }
        self.poll.as_ref().map(|(poll, _)| poll).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Waits for events until `until`, or not at all, and goes on with what they are about.
    fn take_events(&mut self, until: Option<Instant>) {
        let left = until.map(|until| until.saturating_duration_since(self.now));
        let Some((poll, events)) = &mut self.poll else {
            self.wakeup.park(left);
            self.now = Instant::now();
            return;
        };
        let may_block = left.is_none_or(|left| !left.is_zero());
        if may_block && !self.wakeup.begin_poll() {
            return;
        }
        // A signal interrupts it without events: the caller looks at the clock and polls again.
        let polled = poll.poll(events, left);
        if may_block {
            self.wakeup.end_poll();
        }
        self.now = Instant::now();
        if polled.is_err() {
            return;
        }
        let mut ready = std::mem::take(&mut self.ready);
        ready.extend(events.iter().map(|event| Ready {
            slot: event.token().0,
            readable: event.is_readable(),
            ending: event.is_read_closed() || event.is_error(),
        }));
        for event in ready.drain(..) {
            self.handle(event);
        }
        self.ready = ready;
    }

    fn handle(&mut self, Ready { slot, readable, ending }: Ready) {
        let Some(connection) = self.connections.get_mut(slot).and_then(Option::as_mut) else { return };
        connection.stream.note(readable, ending);
        match connection.phase {
            Phase::Connecting { .. } => self.check_connect(slot),
            #[cfg(feature = "rustls")]
            Phase::Securing => self.shake_hands(slot),
            Phase::Sending => {
                let gone = connection.stream.flush();
                self.after_send(slot, gone);
            }
            Phase::Receiving => self.receive(slot),
            Phase::Idle if is_quiet(&mut connection.stream, &mut self.input) => {}
            Phase::Idle => self.close_idle(slot),
        }
    }

    fn take_unread(&mut self) {
        for slot in std::mem::take(&mut self.unread) {
            self.receive(slot);
        }
    }

    /// Starts what was submitted.
    fn start_submitted(&mut self) {
        while let Some(exchange) = self.submitted.pop_front() {
            self.start(exchange);
        }
    }

    fn next_time(&self, until: Option<Instant>) -> Option<Instant> {
        if !self.unread.is_empty() {
            return Some(self.now);
        }
        let timer = self.timers.peek().map(|Reverse((due, _))| *due);
        [until, timer, self.lookups.next_deadline()].into_iter().flatten().min()
    }
}

impl Engine for Multiplexed {
    fn add_host(&mut self, host: &Host) -> Result<usize, ConfigError> {
        if self.numbers.is_empty() {
            self.numbers = self.hosts.iter().map(|known| known.host.clone()).zip(0..).collect();
        }
        if let Some(number) = self.numbers.get(host) {
            return Ok(*number);
        }
        self.push_host(host)?;
        let number = self.hosts.len() - 1;
        self.numbers.insert(host.clone(), number);
        Ok(number)
    }

    fn submit(&mut self, exchange: Exchange) {
        let begun = Instant::now();
        let deadline = begun + exchange.timeout.min(AGES);
        self.submitted.push_back(Box::new(InFlight {
            exchange,
            path: String::new(),
            begun,
            deadline,
            needs_fresh: false,
            has_shed: false,
            redirected: false,
        }));
    }

    fn wait(&mut self, until: Option<Instant>, completed: &mut Vec<Completion>) {
        self.now = Instant::now();
        let sheds = self.shared.sheds.load(Ordering::Relaxed);
        if sheds != self.sheds_seen {
            self.sheds_seen = sheds;
            self.close_all_idle();
        }
        if self.idle > 0 && !self.submitted.is_empty() {
            // Drops the idle connections that the server has closed meanwhile.
            self.take_events(Some(self.now));
        }
        loop {
            self.start_submitted();
            self.take_unread();
            self.expire();
            let woken = self.wakeup.take();
            if woken || self.lookups.next_deadline().is_some_and(|deadline| deadline <= self.now) {
                self.take_found();
            }
            if !self.submitted.is_empty() {
                continue;
            }
            if woken || !self.completed.is_empty() || until.is_some_and(|until| until <= self.now) {
                break;
            }
            self.take_events(self.next_time(until));
        }
        completed.append(&mut self.completed);
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::<Wakeup>::clone(&self.wakeup)
    }

    fn shed_idle_connections(&mut self) {
        self.shared.limit.keep_fewer();
        self.sheds_seen = self.shared.sheds.fetch_add(1, Ordering::Relaxed) + 1;
        self.close_all_idle();
    }
}

impl Drop for Multiplexed {
    fn drop(&mut self) {
        for _ in self.connections.iter().flatten() {
            self.shared.limit.closed();
        }
    }
}

/// Whether the socket is connected by now.
///
/// # Errors
/// Why it will not be.
fn is_connected(socket: &TcpStream, address: SocketAddr) -> io::Result<bool> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::NotConnected => return Ok(false),
        Err(e) => return Err(e),
    }
    // If nobody listens on a port that the system hands out to clients, it may hand out that port, and connect
    // the socket to itself.
    if address.ip().is_loopback() && socket.local_addr()? == address {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(true)
}

/// Whether the server has neither closed an idle connection nor sent something unasked.
fn is_quiet(stream: &mut Stream, scratch: &mut [u8]) -> bool {
    matches!(stream.read(scratch), Err(e) if e.kind() == io::ErrorKind::WouldBlock)
}
