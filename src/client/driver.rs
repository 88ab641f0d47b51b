//! Floor 3: the loop that drives operations over an engine.
//!
//! ```text
//!   loop {
//!     inbox      ─ operations to add, cancel, results of journal calls ─▶ machines
//!     machines   ─ Send ─▶ engine.submit        ─ Claim, Record, Erase ─▶ a thread of the pool
//!                ─ events ─▶ observers          ─ results ─▶ whoever waits
//!     engine.wait(next time)                    ─ completions ─▶ machines
//!   }
//! ```
//! One thread at a time drives: it takes the seat with everything in it, so the loop holds no lock. Whoever waits
//! for a result drives. When the caller of a bulk stays away for longer than [`GRACE`], a thread of the pool takes
//! the seat, and gives it back to the caller that waits.
//!
//! Each call of a client has a driver of its own, so an observer that calls the client again is not in its way.
//! An observer may be given the bulk that it observes: while it is told something, the seat is filled, and only its
//! own thread may take it. What comes of that is told after what it is told now.
//!
//! A journal call that fails for lack of descriptors is made once more after the idle connections were closed. The
//! engine belongs to the thread that drives, so a call on another thread goes back there in between.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use crate::api::{Action, Reply};
use crate::client::cancel::Cancel;
use crate::client::executor::{Next, Source as _, Threads, Worker as _};
use crate::client::flight::{Came, Done, Edges, Flight, Job, JournalCall, Route, Work, internal};
use crate::client::journal_batch::{self, Batch};
use crate::engine::multiplexed::{Multiplexed, Shared};
use crate::engine::threads::Threads as ThreadEngine;
use crate::engine::threads::transport::{Transport as _, UreqTransport};
use crate::engine::{Completion, Engine, Exchange, Spawn, check_hosts};
use crate::protocol::{Ending, Machine};
use crate::sync::Wake;
use crate::values::config::ConfigError;
use crate::values::event::Event;
use crate::values::group::GroupId;
use crate::values::host::Host;
use crate::values::report::Report;

/// Time that a bulk makes no progress after its caller has left.
const GRACE: Duration = Duration::from_millis(1);
/// Maximum number of engines kept between calls.
const MAX_ENGINES: usize = 16;

type Landed = (usize, Ending, Report);

/// The engines of a client that no call uses now, with their idle connections.
pub(crate) struct Engines {
    hosts: Arc<[Host]>,
    kind: Kind,
    unused: Mutex<Vec<Box<dyn Engine>>>,
}

/// The kind of engines, with all that they share.
enum Kind {
    Multiplexed(Arc<Shared>),
    Threads(Arc<UreqTransport>, Arc<Pool>),
}

/// The threads of the client, for an engine.
struct Pool(Arc<Threads>);

impl Spawn for Pool {
    fn spawn(&self, task: Box<dyn FnOnce() + Send>) -> bool {
        self.0.spawn(task).is_ok()
    }
}

impl Engines {
    /// # Errors
    /// A [`ConfigError`] for an https host if TLS is not built in.
    pub(crate) fn multiplexed(hosts: &Arc<[Host]>) -> Result<Self, ConfigError> {
        check_hosts(hosts)?;
        Ok(Self::of(hosts, Kind::Multiplexed(Arc::default())))
    }

    /// # Errors
    /// A [`ConfigError`] for an https host if TLS is not built in.
    pub(crate) fn threads(hosts: &Arc<[Host]>, threads: &Arc<Threads>) -> Result<Self, ConfigError> {
        let transport = Arc::new(UreqTransport::new(hosts)?);
        Ok(Self::of(hosts, Kind::Threads(transport, Arc::new(Pool(Arc::clone(threads))))))
    }

    fn of(hosts: &Arc<[Host]>, kind: Kind) -> Self {
        Engines { hosts: Arc::clone(hosts), kind, unused: Mutex::default() }
    }

    /// The engine that was used last, or a new one.
    fn take(&self) -> Box<dyn Engine> {
        let unused = lock(&self.unused).pop();
        unused.unwrap_or_else(|| match &self.kind {
            Kind::Multiplexed(shared) => Box::new(Multiplexed::new(&self.hosts, Arc::clone(shared))),
            Kind::Threads(transport, pool) => {
                Box::new(ThreadEngine::new(&self.hosts, transport, Arc::<Pool>::clone(pool)))
            }
        })
    }

    /// Closes the idle connections of the engines that no call uses, at once, and has others close theirs.
    pub(crate) fn shed_idle(&self) {
        match &self.kind {
            Kind::Multiplexed(shared) => {
                shared.shed_idle();
                lock(&self.unused).iter_mut().for_each(|engine| engine.shed_idle_connections());
            }
            Kind::Threads(transport, _) => transport.shed_idle(),
        }
    }

    fn give_back(&self, engine: Box<dyn Engine>) {
        let mut unused = lock(&self.unused);
        if unused.len() < MAX_ENGINES {
            unused.push(engine);
        }
    }
}

/// Drives the operations of one call.
pub(crate) struct Driver {
    edges: Edges,
    threads: Arc<Threads>,
    /// The call is a single operation: nothing goes on during a journal call anyway.
    is_single: bool,
    mail: Arc<Mail>,
    seat: Mutex<Seat>,
    changed: Condvar,
}

/// The way to the machines for other threads.
struct Mail {
    inbox: Mutex<Inbox>,
    waker: Arc<dyn Wake>,
}

#[derive(Default)]
struct Inbox {
    machines: Vec<(usize, Machine)>,
    done: Vec<Done>,
    /// Journal calls that failed for lack of descriptors, by their slot.
    exhausted: Vec<(usize, JournalCall)>,
    cancelled: bool,
}

struct Seat {
    /// Absent while a thread drives.
    parts: Option<Box<Parts>>,
    /// The thread that calls an observer. No other takes the seat meanwhile.
    teller: Option<ThreadId>,
    /// What an observer that drives has yet to be told.
    passed_on: Vec<(GroupId, Event)>,
    landed: VecDeque<Landed>,
    /// Operations that were added and have not ended.
    open: usize,
    /// The caller waits for a result while another thread drives.
    is_wanted: bool,
    /// When the seat became empty.
    left: Instant,
    relief: Relief,
    is_over: bool,
    /// The thread that drove has panicked, which is a bug.
    is_broken: bool,
}

/// The thread of the pool that takes the seat when the caller stays away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relief {
    None,
    /// Blocked until it is notified.
    Parked,
    /// Blocked for [`GRACE`], or driving.
    Alert,
}

/// State that only the thread in the seat touches.
struct Parts {
    flight: Flight,
    /// Absent only while the parts are dropped.
    engine: Option<Box<dyn Engine>>,
    engines: Arc<Engines>,
    exchanges: Exchanges,
    no_headers: Arc<[(String, String)]>,
    completed: Vec<Completion>,
}

/// The exchanges that the engine has. Their place is their id.
#[derive(Default)]
struct Exchanges {
    places: Vec<Option<(usize, usize, Action)>>,
    free: Vec<usize>,
}

impl Driver {
    /// A driver for the machines of `flight`. A single one is added once, and waited for at once.
    pub(crate) fn new(
        flight: Flight,
        edges: Edges,
        engines: &Arc<Engines>,
        threads: Arc<Threads>,
        is_single: bool,
    ) -> Arc<Self> {
        let engine = engines.take();
        let mail = Arc::new(Mail { inbox: Mutex::default(), waker: engine.waker() });
        let parts = Parts {
            flight,
            engine: Some(engine),
            engines: Arc::clone(engines),
            exchanges: Exchanges::default(),
            no_headers: Arc::new([]),
            completed: Vec::new(),
        };
        let seat = Seat {
            parts: Some(Box::new(parts)),
            teller: None,
            passed_on: Vec::new(),
            landed: VecDeque::new(),
            open: 0,
            is_wanted: false,
            left: Instant::now(),
            relief: Relief::None,
            is_over: false,
            is_broken: false,
        };
        Arc::new(Driver { edges, threads, is_single, mail, seat: Mutex::new(seat), changed: Condvar::new() })
    }

    /// Adds an operation. It goes on when its result is waited for, or after [`GRACE`].
    pub(crate) fn add(self: &Arc<Self>, position: usize, machine: Machine) {
        lock(&self.mail.inbox).machines.push((position, machine));
        let mut seat = lock(&self.seat);
        seat.open += 1;
        if seat.is_free() {
            self.leave(&mut seat);
        } else {
            drop(seat);
            self.mail.waker.wake();
        }
    }

    /// Blocks until an operation has ended.
    pub(crate) fn take(self: &Arc<Self>) -> Landed {
        let mut seat = lock(&self.seat);
        loop {
            assert!(!seat.is_broken, "a bug in cluster-client: the thread that drove has panicked, see the log");
            if let Some(landed) = seat.landed.pop_front() {
                return landed;
            }
            if let Some(parts) = seat.take_parts() {
                drop(seat);
                seat = self.drive(parts, |seat| !seat.landed.is_empty());
                self.leave(&mut seat);
            } else {
                seat.is_wanted = true;
                seat = self.changed.wait(seat).unwrap_or_else(PoisonError::into_inner);
                seat.is_wanted = false;
            }
        }
    }

    /// The result of an operation that has ended.
    pub(crate) fn try_take(&self) -> Option<Landed> {
        lock(&self.seat).landed.pop_front()
    }

    /// Whether a thread panicked, so that the operations may never end.
    pub(crate) fn is_broken(&self) -> bool {
        lock(&self.seat).is_broken
    }

    /// Nothing more is added or waited for.
    pub(crate) fn end(&self) {
        lock(&self.seat).is_over = true;
        self.changed.notify_all();
    }

    /// The caller goes, and leaves the seat empty.
    fn leave(self: &Arc<Self>, seat: &mut Seat) {
        seat.left = Instant::now();
        if self.is_single || seat.open == 0 {
            return;
        }
        match seat.relief {
            Relief::Alert => {}
            Relief::Parked => self.changed.notify_all(),
            Relief::None => {
                seat.relief = Relief::Alert;
                let driver = Arc::clone(self);
                if self.threads.spawn(Box::new(move || driver.relieve())).is_err() {
                    // Without threads, there is progress only while the caller waits.
                    seat.relief = Relief::None;
                }
            }
        }
    }

    /// Takes the seat whenever the caller stays away.
    fn relieve(self: &Arc<Self>) {
        let mut seat = lock(&self.seat);
        while !seat.is_over && !seat.is_broken {
            if !seat.is_free() || seat.open == 0 {
                seat.relief = Relief::Parked;
                seat = self.changed.wait(seat).unwrap_or_else(PoisonError::into_inner);
                seat.relief = Relief::Alert;
                continue;
            }
            let away = seat.left.elapsed();
            if away < GRACE {
                let wait = self.changed.wait_timeout(seat, GRACE.saturating_sub(away));
                seat = wait.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            if let Some(parts) = seat.take_parts() {
                drop(seat);
                seat = self.drive(parts, |seat| seat.is_wanted || seat.is_over || seat.open == 0);
                // The caller that waits has time to take it.
                seat.left = Instant::now();
                self.changed.notify_all();
            }
        }
        seat.relief = Relief::None;
    }

    /// Drives until `is_enough`, and puts everything back into the seat.
    fn drive(&self, mut parts: Box<Parts>, is_enough: impl Fn(&Seat) -> bool) -> MutexGuard<'_, Seat> {
        let mut watch = Watch { driver: self, is_driving: true };
        let mut landed = VecDeque::new();
        loop {
            self.read_inbox(&mut parts);
            let until = self.issue(&mut parts);
            if parts.flight.has_news() {
                parts = self.tell(parts);
                // An observer may have driven, and have added operations.
                continue;
            }
            landed.extend(std::iter::from_fn(|| parts.flight.collect()));
            let mut seat = lock(&self.seat);
            seat.open -= landed.len();
            seat.landed.append(&mut landed);
            if is_enough(&seat) {
                watch.is_driving = false;
                seat.parts = Some(parts);
                return seat;
            }
            drop(seat);
            parts.wait(until);
        }
    }

    /// Tells the observer the news, in order, with the parts in the seat. An observer that drives passes on what is
    /// new to the one who called it.
    fn tell(&self, mut parts: Box<Parts>) -> Box<Parts> {
        let mut news = parts.flight.news();
        let mut seat = lock(&self.seat);
        if seat.teller.is_some() {
            seat.passed_on.append(&mut news);
            return parts;
        }
        seat.teller = Some(thread::current().id());
        seat.parts = Some(parts);
        while !news.is_empty() {
            drop(seat);
            for news in news {
                self.edges.tell(news);
            }
            seat = lock(&self.seat);
            news = std::mem::take(&mut seat.passed_on);
        }
        seat.teller = None;
        seat.parts.take().expect("no other thread takes the seat from a teller, and its own puts them back")
    }

    fn read_inbox(&self, parts: &mut Parts) {
        let Inbox { machines, done, exhausted, cancelled } = std::mem::take(&mut *lock(&self.mail.inbox));
        if !exhausted.is_empty() {
            parts.shed_idle();
            self.hand_to_pool(exhausted, true);
        }
        if machines.is_empty() && done.is_empty() && !cancelled {
            return;
        }
        let flight = &mut parts.flight;
        let now = Instant::now();
        for (position, machine) in machines {
            flight.add(position, machine, now);
        }
        for done in done {
            flight.done(done, now);
        }
        if cancelled {
            flight.cancel(now);
        }
    }

    /// Hands out all that the machines want done. Returns when they are to be asked again.
    fn issue(&self, parts: &mut Parts) -> Option<Instant> {
        let mut now = Instant::now();
        let mut calls = Batch::new();
        loop {
            match parts.flight.next(now) {
                Next::Wait(until) => {
                    self.hand_to_pool(calls, false);
                    return until;
                }
                Next::Run(Job { slot, work: Work::Send { route, host, action, timeout } }) => {
                    parts.send(&self.edges, slot, &route, (host, action), timeout);
                }
                Next::Run(Job { slot, work: Work::Journal(mut call) })
                    if self.is_single || !self.edges.keeps_intents =>
                {
                    let mut result = self.edges.call(&mut call);
                    if result.is_exhausted() {
                        parts.shed_idle();
                        result = self.edges.call(&mut call);
                    }
                    now = Instant::now();
                    parts.flight.done(Done { slot, result }, now);
                }
                Next::Run(Job { slot, work: Work::Journal(call) }) => calls.push((slot, call)),
            }
        }
    }

    /// Has journal calls made by threads of the pool, or here if there are none.
    fn hand_to_pool(&self, calls: Batch, is_last: bool) {
        for batch in journal_batch::split(calls, self.edges.store.is_local()) {
            let (edges, mail) = (self.edges.clone(), Arc::clone(&self.mail));
            let make = move || {
                let (exhausted, done) = journal_batch::make(&edges, batch, is_last);
                let mut inbox = lock(&mail.inbox);
                inbox.exhausted.extend(exhausted);
                inbox.done.extend(done);
                drop(inbox);
                mail.waker.wake();
            };
            if let Err(make) = self.threads.spawn(Box::new(make)) {
                make();
            }
        }
    }
}

impl Cancel for Driver {
    fn cancel(&self) {
        lock(&self.mail.inbox).cancelled = true;
        self.mail.waker.wake();
    }
}

impl Seat {
    /// Whether nobody drives, and no observer is told something.
    fn is_free(&self) -> bool {
        self.parts.is_some() && self.teller.is_none()
    }

    fn take_parts(&mut self) -> Option<Box<Parts>> {
        if self.teller.is_some_and(|teller| teller != thread::current().id()) {
            return None;
        }
        self.parts.take()
    }
}

impl Parts {
    /// Closes all idle connections of the client.
    fn shed_idle(&mut self) {
        self.engines.shed_idle();
        if let Some(engine) = &mut self.engine {
            engine.shed_idle_connections();
        }
    }

    fn send(&mut self, edges: &Edges, slot: usize, route: &Route, (host, action): (usize, Action), timeout: Duration) {
        let Some(engine) = &mut self.engine else { return };
        let number =
            if Arc::ptr_eq(&route.hosts, &edges.cluster) { Ok(host) } else { engine.add_host(&route.hosts[host]) };
        match number {
            Ok(number) => engine.submit(Exchange {
                id: self.exchanges.add((slot, host, action)),
                host: number,
                request: Arc::clone(route.request(action)),
                headers: Arc::clone(&self.no_headers),
                timeout,
                wants_body: false,
            }),
            Err(error) => {
                let reply = Reply::NotSent(internal(&error.to_string()));
                let result = Came::Replied { host, action, reply, elapsed: Duration::ZERO };
                self.flight.done(Done { slot, result }, Instant::now());
            }
        }
    }

    /// Waits for the engine, and hands the machines what has completed.
    fn wait(&mut self, until: Option<Instant>) {
        let Some(engine) = &mut self.engine else { return };
        engine.wait(until, &mut self.completed);
        let now = Instant::now();
        for Completion { id, reply, elapsed, .. } in self.completed.drain(..) {
            let Some((slot, host, action)) = self.exchanges.remove(id) else { continue };
            self.flight.done(Done { slot, result: Came::Replied { host, action, reply, elapsed } }, now);
        }
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        if let Some(engine) = self.engine.take().filter(|_| self.exchanges.is_empty()) {
            self.engines.give_back(engine);
        }
    }
}

impl Exchanges {
    fn add(&mut self, exchange: (usize, usize, Action)) -> u64 {
        let place = self.free.pop().unwrap_or(self.places.len());
        if place == self.places.len() {
            self.places.push(Some(exchange));
        } else {
            self.places[place] = Some(exchange);
        }
        place as u64
    }

    fn remove(&mut self, id: u64) -> Option<(usize, usize, Action)> {
        let place = usize::try_from(id).ok()?;
        let exchange = self.places.get_mut(place)?.take()?;
        self.free.push(place);
        Some(exchange)
    }

    fn is_empty(&self) -> bool {
        self.free.len() == self.places.len()
    }
}

/// Says so if the thread that drives panics: whoever waits would wait for ever.
struct Watch<'a> {
    driver: &'a Driver,
    is_driving: bool,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if self.is_driving {
            lock(&self.driver.seat).is_broken = true;
            self.driver.changed.notify_all();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
