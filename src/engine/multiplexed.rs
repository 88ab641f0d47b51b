//! Multiplexes all connections of a driver on the thread that calls `wait`, over mio and ureq-proto.
//!
//! ```text
//!   submit ─▶ start ─┬─ idle connection ───────────────────────────────▶ Exchanging ─▶ Idle, or closed
//!                    ├─ address known ─▶ Connecting ─▶ (Securing) ─▶──────┘   │
//!                    └─ name ─▶ look-up on a thread ─▶ Connecting             └─▶ completion
//! ```
//! Few system calls are made. A connection is registered once, edge-triggered. Head and body of a request leave in one
//! write. After the write the engine waits for an event instead of trying a read. A short read means that the socket
//! is drained. Events of idle connections are polled once per batch of exchanges.
//!
//! Invariants:
//! * An exchange is in exactly one place: `submitted`, `lookups`, `parked`, or the slot of one connection.
//! * An exchange is parked only while connections are busy, and for its timeout at most. Its timeout runs anew from when
//!   it begins.
//! * A connection in the phase `Idle` has no exchange, no bytes to read, and is in the list of its host.
//! * A slot has at most one valid entry in the heap of timers (`Connection::scheduled`). It fires no later than the
//!   deadline of the connection.
//! * An event for a slot that was closed and reused is harmless: it causes a read that returns `WouldBlock`.

mod answer;
mod exchange;
mod host;
mod in_flight;
mod lookups;
mod panics;
mod parked;
mod request;
mod slots;
mod stream;
#[cfg(test)]
mod tests;
#[cfg(feature = "rustls")]
mod tunnel;
mod wakeup;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use mio::{Events, Poll, Token};

use self::host::HttpHost;
use self::in_flight::InFlight;
use self::lookups::Lookups;
use self::panics::caught;
use self::parked::Parked;
use self::slots::{Connection, Phase, is_quiet};
use self::wakeup::Wakeup;
use super::{Completion, Engine, Exchange};
use crate::api::Reply;
use crate::http::limit::ConnectionLimit;
use crate::http::proxy::Proxy;
use crate::http::resolver::Resolver;
use crate::http::tls::Tls;
use crate::http::{MAX_HEAD, errors};
use crate::sync::Wake;
use crate::values::config::ConfigError;
use crate::values::host::Host;

/// Maximum number of connections that one engine opens. Further exchanges wait for a free connection.
const MAX_OPEN: usize = crate::http::limit::MAX_KEPT;
/// Events taken from the system at a time.
const EVENTS: usize = 1024;
/// Maximum number of consecutive reads from one connection.
const READS: usize = 8;
/// Bytes of a body that are decoded at a time.
const DECODED: usize = 4 * 1024;
/// The token of the waker.
const WAKER: Token = Token(usize::MAX);

/// Resolver, limits and TLS settings of one client. All its engines share them.
#[derive(Debug, Default)]
pub(crate) struct Network {
    resolver: Arc<Resolver>,
    limit: ConnectionLimit,
    /// Number of times that descriptors have run out. Each engine then closes its idle connections.
    sheds: AtomicUsize,
    proxy: Option<Arc<Proxy>>,
    tls: Arc<Tls>,
}

impl Network {
    pub(crate) fn new(tls: &Arc<Tls>) -> Self {
        Network { tls: Arc::clone(tls), ..Network::default() }
    }

    /// Reaches hosts through this proxy.
    pub(crate) fn through(self, proxy: Option<Arc<Proxy>>) -> Self {
        Network { proxy, ..self }
    }

    /// Makes all engines close their idle connections in their next `wait`. Returns the new number of such requests.
    pub(crate) fn shed_idle(&self) -> usize {
        self.limit.keep_fewer();
        let sheds = self.sheds.fetch_add(1, Ordering::Relaxed) + 1;
        self.resolver.wake_watchers();
        sheds
    }
}

/// The engine. See the head of this file.
pub(crate) struct Multiplexed {
    network: Arc<Network>,
    hosts: Vec<HttpHost>,
    /// Filled when a host is added.
    numbers: HashMap<Host, usize>,
    /// Opened with the first exchange. `None` if the system has no descriptor for it.
    poll: Option<(Poll, Events)>,
    /// Empty between calls. Reuses its allocation.
    ready: Vec<Ready>,
    wakeup: Arc<Wakeup>,
    submitted: VecDeque<Box<InFlight>>,
    lookups: Lookups,
    /// Exchanges that wait for a free connection.
    parked: Parked,
    /// Connections that may be open at once: [`MAX_OPEN`], or fewer if descriptors are short.
    most: usize,
    connections: Vec<Option<Box<Connection>>>,
    free: Vec<usize>,
    idle: usize,
    /// The host at which the search for an idle connection to close begins.
    next_victim: usize,
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Connections that may have more to read after [`READS`] reads.
    unread: Vec<usize>,
    completed: Vec<Completion>,
    sheds_seen: usize,
    /// The last reading of the clock.
    now: Instant,
    /// Bytes that were read.
    input: Box<[u8]>,
    /// The request that is written.
    output: Vec<u8>,
    /// Decoded bytes of a body.
    decoded: Box<[u8]>,
}

/// An event of a connection.
#[derive(Debug, Clone, Copy)]
struct Ready {
    slot: usize,
    readable: bool,
    /// The server sends nothing more.
    ending: bool,
}

impl Multiplexed {
    /// Creates an engine for `hosts`, which [`Tls::check`] has accepted. They are numbered in this order. Opens nothing.
    pub(crate) fn new(hosts: &[Host], network: Arc<Network>) -> Self {
        let wakeup = Arc::<Wakeup>::default();
        let watcher: Arc<dyn Wake> = Arc::<Wakeup>::clone(&wakeup);
        network.resolver.watch(Arc::downgrade(&watcher));
        Multiplexed {
            lookups: Lookups::new(Arc::clone(&network.resolver)),
            sheds_seen: network.sheds.load(Ordering::Relaxed),
            hosts: hosts.iter().map(|host| HttpHost::new(host, network.proxy.as_ref())).collect(),
            network,
            numbers: HashMap::new(),
            poll: None,
            ready: Vec::new(),
            wakeup,
            submitted: VecDeque::new(),
            parked: Parked::default(),
            most: MAX_OPEN,
            next_victim: 0,
            connections: Vec::new(),
            free: Vec::new(),
            idle: 0,
            timers: BinaryHeap::new(),
            unread: Vec::new(),
            completed: Vec::new(),
            now: Instant::now(),
            input: vec![0; MAX_HEAD].into(),
            output: Vec::new(),
            decoded: vec![0; DECODED].into(),
        }
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

    /// Polls for events until `until` at the latest, and handles them. Returns whether there may be more.
    fn take_events(&mut self, until: Option<Instant>) -> bool {
        let left = until.map(|until| until.saturating_duration_since(self.now));
        let Some((poll, events)) = &mut self.poll else {
            self.wakeup.park(left);
            self.now = Instant::now();
            return false;
        };
        let may_block = left.is_none_or(|left| !left.is_zero());
        if may_block && !self.wakeup.begin_poll() {
            return false;
        }
        // After a signal (EINTR) there are no events: the caller reads the clock and polls again.
        let polled = poll.poll(events, left);
        if may_block {
            self.wakeup.end_poll();
        }
        self.now = Instant::now();
        if polled.is_err() {
            return false;
        }
        let mut ready = std::mem::take(&mut self.ready);
        ready.extend(events.iter().map(|event| Ready {
            slot: event.token().0,
            readable: event.is_readable(),
            ending: event.is_read_closed() || event.is_error(),
        }));
        let is_full = ready.len() == events.capacity();
        for event in ready.drain(..) {
            self.handle(event);
        }
        self.ready = ready;
        is_full
    }

    fn handle(&mut self, Ready { slot, readable, ending }: Ready) {
        let Some(connection) = self.connections.get_mut(slot).and_then(Option::as_mut) else { return };
        connection.stream.note(readable, ending);
        match connection.phase {
            Phase::Connecting { .. } => self.check_connect(slot),
            #[cfg(feature = "rustls")]
            Phase::Tunnelling => self.continue_tunnel(slot),
            #[cfg(feature = "rustls")]
            Phase::Securing => self.shake_hands(slot),
            // Nothing is sent after the deadline.
            Phase::Sending if connection.exchange.as_ref().is_some_and(|exchange| exchange.deadline <= self.now) => {
                self.time_is_over(slot);
            }
            Phase::Sending => {
                let gone = caught(|| connection.stream.flush()).flatten();
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

    /// Starts the submitted exchanges, then parked ones while connections are free.
    fn start_exchanges(&mut self) {
        while let Some(exchange) = self.submitted.pop_front() {
            self.start(exchange);
        }
        while self.may_open()
            && let Some(mut exchange) = self.parked.pop()
        {
            exchange.unpark(self.now);
            self.start(exchange);
            if !self.submitted.is_empty() {
                return;
            }
        }
        for mut exchange in self.parked.take_expired(self.now) {
            // Completes it with a timeout.
            exchange.unpark(self.now);
            self.start(exchange);
        }
    }

    fn next_time(&self, until: Option<Instant>) -> Option<Instant> {
        if !self.unread.is_empty() {
            return Some(self.now);
        }
        let timer = self.timers.peek().map(|Reverse((due, _))| *due);
        [until, timer, self.lookups.next_deadline(), self.parked.next_deadline()].into_iter().flatten().min()
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
        self.network.tls.check(std::slice::from_ref(host))?;
        self.hosts.push(HttpHost::new(host, self.network.proxy.as_ref()));
        let number = self.hosts.len() - 1;
        self.numbers.insert(host.clone(), number);
        Ok(number)
    }

    fn submit(&mut self, exchange: Exchange) {
        self.submitted.push_back(Box::new(InFlight::new(exchange, Instant::now())));
    }

    fn withdraw(&mut self, is_withdrawn: &dyn Fn(u64) -> bool) {
        let mut withdrawn = parked::withdraw(&mut self.submitted, is_withdrawn);
        withdrawn.append(&mut self.parked.withdraw(is_withdrawn));
        for exchange in withdrawn {
            self.complete(&exchange, Reply::NotSent(errors::withdrawn()));
        }
    }

    fn wait(&mut self, until: Option<Instant>, completed: &mut Vec<Completion>) {
        self.now = Instant::now();
        let sheds = self.network.sheds.load(Ordering::Relaxed);
        if sheds != self.sheds_seen {
            self.sheds_seen = sheds;
            self.close_all_idle();
        }
        if self.busy() == 0 {
            // Descriptors may be free again.
            self.most = MAX_OPEN;
        }
        for exchange in &mut self.submitted {
            // The driver may have called an observer since `submit`.
            exchange.set_deadline(self.now);
        }
        let is_due = self.timers.peek().is_some_and(|Reverse((due, _))| *due <= self.now);
        if is_due || (self.idle > 0 && !self.submitted.is_empty()) {
            // An answer that arrived in time counts, even if nothing called `wait` then. Idle connections that the
            // server has closed are closed. One poll returns at most `EVENTS` events.
            for _ in 0..=self.connections.len() {
                if !self.take_events(Some(self.now)) {
                    break;
                }
            }
        }
        loop {
            self.start_exchanges();
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
        let sheds = self.network.sheds.load(Ordering::Relaxed);
        if sheds == self.sheds_seen {
            self.sheds_seen = self.network.shed_idle();
        } else {
            // Another engine has requested it already. The call below handles that request.
            self.sheds_seen = sheds;
        }
        self.close_all_idle();
    }
}

impl Drop for Multiplexed {
    fn drop(&mut self) {
        for _ in self.connections.iter().flatten() {
            self.network.limit.closed();
        }
    }
}
