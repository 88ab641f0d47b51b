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
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crate::api::Reply;
use crate::client::cancel::Cancel;
use crate::client::exchanges::{Awaited, Exchanges};
use crate::client::inner::ClientInner;
use crate::client::journal_batch::{self, Batch};
use crate::client::journal_calls::JournalResult;
use crate::client::operations::{Ended, Next, Operations, Send, Work};
use crate::engine::{Completion, Engine, Exchange};
use crate::protocol::Machine;
use crate::sync::{Condvar, Mutex, MutexGuard, ThreadId, Wake, current_thread, now};
use crate::values::cause::{RequestError, RequestErrorKind};
use crate::values::event::Event;
use crate::values::group::GroupId;

/// Time that a bulk makes no progress after its caller has left.
const GRACE: Duration = Duration::from_millis(1);

/// Drives the operations of one call.
pub(crate) struct Driver {
    client: Arc<ClientInner>,
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
    results: Vec<(usize, JournalResult)>,
    /// Journal calls that failed for lack of descriptors, by their slot.
    exhausted: Batch,
    cancelled: bool,
}

struct Seat {
    /// Absent while a thread drives.
    parts: Option<Box<Parts>>,
    /// The thread that calls an observer. No other takes the seat meanwhile.
    emitter: Option<ThreadId>,
    /// What an observer that drives has yet to be told.
    passed_on: Vec<(GroupId, Event)>,
    ended: VecDeque<Ended>,
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
    operations: Operations,
    /// Absent only while the parts are dropped.
    engine: Option<Box<dyn Engine>>,
    client: Arc<ClientInner>,
    exchanges: Exchanges,
    no_headers: Arc<[(String, String)]>,
    completed: Vec<Completion>,
}

impl Driver {
    /// A driver of at most `in_flight` operations at a time. A single one is added once, and waited for at once.
    pub(crate) fn new(client: &Arc<ClientInner>, in_flight: usize, is_single: bool) -> Arc<Self> {
        let engine = client.engines.take();
        let mail = Arc::new(Mail { inbox: Mutex::default(), waker: engine.waker() });
        let parts = Parts {
            operations: Operations::new(client.keeps_intents, Arc::clone(&client.budgets), in_flight),
            engine: Some(engine),
            client: Arc::clone(client),
            exchanges: Exchanges::default(),
            no_headers: Arc::new([]),
            completed: Vec::new(),
        };
        let seat = Seat {
            parts: Some(Box::new(parts)),
            emitter: None,
            passed_on: Vec::new(),
            ended: VecDeque::new(),
            open: 0,
            is_wanted: false,
            left: now(),
            relief: Relief::None,
            is_over: false,
            is_broken: false,
        };
        let (client, seat, changed) = (Arc::clone(client), Mutex::new(seat), Condvar::new());
        Arc::new(Driver { client, is_single, mail, seat, changed })
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
    pub(crate) fn take(self: &Arc<Self>) -> Ended {
        let mut seat = lock(&self.seat);
        loop {
            assert!(!seat.is_broken, "a bug in cluster-client: the thread that drove has panicked, see the log");
            if let Some(ended) = seat.ended.pop_front() {
                return ended;
            }
            if let Some(parts) = seat.take_parts() {
                drop(seat);
                seat = self.drive(parts, |seat| !seat.ended.is_empty());
                self.leave(&mut seat);
            } else {
                seat.is_wanted = true;
                seat = self.changed.wait(seat).unwrap_or_else(PoisonError::into_inner);
                seat.is_wanted = false;
            }
        }
    }

    /// The result of an operation that has ended.
    pub(crate) fn try_take(&self) -> Option<Ended> {
        lock(&self.seat).ended.pop_front()
    }

    /// Cancels all operations, and waits for the `open` ones that have not been taken. Nothing more is added.
    pub(crate) fn abandon(self: &Arc<Self>, open: usize) {
        // After a panic the operations may never end.
        let is_broken = lock(&self.seat).is_broken;
        if open > 0 && !is_broken {
            self.cancel();
            (0..open).for_each(|_| drop(self.take()));
        }
        lock(&self.seat).is_over = true;
        self.changed.notify_all();
    }

    /// The caller goes, and leaves the seat empty.
    fn leave(self: &Arc<Self>, seat: &mut Seat) {
        seat.left = now();
        if self.is_single || seat.open == 0 {
            return;
        }
        match seat.relief {
            Relief::Alert => {}
            Relief::Parked => self.changed.notify_all(),
            Relief::None => {
                seat.relief = Relief::Alert;
                let driver = Arc::clone(self);
                if self.client.pool.spawn(Box::new(move || driver.relieve())).is_err() {
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
            let away = now().saturating_duration_since(seat.left);
            if away < GRACE {
                let wait = self.changed.wait_timeout(seat, GRACE.saturating_sub(away));
                seat = wait.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            if let Some(parts) = seat.take_parts() {
                drop(seat);
                seat = self.drive(parts, |seat| seat.is_wanted || seat.is_over || seat.open == 0);
                // The caller that waits has time to take it.
                seat.left = now();
                self.changed.notify_all();
            }
        }
        seat.relief = Relief::None;
    }

    /// Drives until `is_enough`, and puts everything back into the seat.
    fn drive(&self, mut parts: Box<Parts>, is_enough: impl Fn(&Seat) -> bool) -> MutexGuard<'_, Seat> {
        let mut watch = Watch { driver: self, is_driving: true };
        let mut ended = VecDeque::new();
        loop {
            self.read_inbox(&mut parts);
            let until = self.issue(&mut parts);
            if parts.operations.has_events() {
                parts = self.emit(parts);
                // An observer may have driven, and have added operations.
                continue;
            }
            ended.extend(std::iter::from_fn(|| parts.operations.take_ended()));
            let mut seat = lock(&self.seat);
            seat.open -= ended.len();
            seat.ended.append(&mut ended);
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
    fn emit(&self, mut parts: Box<Parts>) -> Box<Parts> {
        let mut events = parts.operations.take_events();
        let mut seat = lock(&self.seat);
        if seat.emitter.is_some() {
            seat.passed_on.append(&mut events);
            return parts;
        }
        seat.emitter = Some(current_thread());
        seat.parts = Some(parts);
        while !events.is_empty() {
            drop(seat);
            for (group, event) in events {
                self.client.observers.emit(&group, &event);
            }
            seat = lock(&self.seat);
            events = std::mem::take(&mut seat.passed_on);
        }
        seat.emitter = None;
        seat.parts.take().expect("no other thread takes the seat from a emitter, and its own puts them back")
    }

    fn read_inbox(&self, parts: &mut Parts) {
        let Inbox { machines, results, exhausted, cancelled } = std::mem::take(&mut *lock(&self.mail.inbox));
        if !exhausted.is_empty() {
            parts.shed_idle();
            self.hand_to_pool(exhausted, true);
        }
        if machines.is_empty() && results.is_empty() && !cancelled {
            return;
        }
        let time = now();
        for (position, machine) in machines {
            parts.operations.add(position, machine, time);
        }
        for (slot, result) in results {
            parts.operations.complete_journal_call(slot, result, time);
        }
        if cancelled {
            parts.operations.cancel(time);
        }
    }

    /// Hands out all that the machines want done. Returns when they are to be asked again.
    fn issue(&self, parts: &mut Parts) -> Option<Instant> {
        let mut time = now();
        let mut calls = Batch::new();
        loop {
            match parts.operations.next(time) {
                Next::Wait(until) => {
                    self.hand_to_pool(calls, false);
                    return until;
                }
                Next::Run(slot, Work::Send(send)) => parts.send(slot, &send),
                Next::Run(slot, Work::Journal(mut call)) if self.is_single || !self.client.keeps_intents => {
                    let mut result = call.run(&*self.client.journal);
                    if result.is_exhausted() {
                        parts.shed_idle();
                        result = call.run(&*self.client.journal);
                    }
                    time = now();
                    parts.operations.complete_journal_call(slot, result, time);
                }
                Next::Run(slot, Work::Journal(call)) => calls.push((slot, call)),
            }
        }
    }

    /// Has journal calls made by threads of the pool, or here if there are none.
    fn hand_to_pool(&self, calls: Batch, is_last: bool) {
        for batch in journal_batch::split(calls, self.client.journal.is_local()) {
            let (journal, mail) = (Arc::clone(&self.client.journal), Arc::clone(&self.mail));
            let make = move || {
                let (exhausted, results) = journal_batch::make(&*journal, batch, is_last);
                let mut inbox = lock(&mail.inbox);
                inbox.exhausted.extend(exhausted);
                inbox.results.extend(results);
                drop(inbox);
                mail.waker.wake();
            };
            if let Err(make) = self.client.pool.spawn(Box::new(make)) {
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
        self.parts.is_some() && self.emitter.is_none()
    }

    fn take_parts(&mut self) -> Option<Box<Parts>> {
        if self.emitter.is_some_and(|emitter| emitter != current_thread()) {
            return None;
        }
        self.parts.take()
    }
}

impl Parts {
    /// Closes all idle connections of the client.
    fn shed_idle(&mut self) {
        self.client.engines.shed_idle();
        if let Some(engine) = &mut self.engine {
            engine.shed_idle_connections();
        }
    }

    fn send(&mut self, slot: usize, send: &Send) {
        let Some(engine) = &mut self.engine else { return };
        let Send { requests, host, action, timeout } = send;
        let is_own = Arc::ptr_eq(&requests.hosts, &self.client.cluster);
        let number = if is_own { Ok(*host) } else { engine.add_host(&requests.hosts[*host]) };
        match number {
            Ok(number) => engine.submit(Exchange {
                id: self.exchanges.add(Awaited { slot, host: *host, action: *action }),
                host: number,
                request: Arc::clone(requests.request(*action)),
                headers: Arc::clone(&self.no_headers),
                timeout: *timeout,
                wants_body: false,
            }),
            Err(error) => {
                let error = RequestError::new(RequestErrorKind::Internal, error.to_string());
                self.operations.complete(slot, *host, *action, (Reply::NotSent(error), Duration::ZERO));
            }
        }
    }

    /// Waits for the engine, and hands the machines what has completed.
    fn wait(&mut self, until: Option<Instant>) {
        let Some(engine) = &mut self.engine else { return };
        engine.wait(until, &mut self.completed);
        for Completion { id, reply, elapsed, .. } in self.completed.drain(..) {
            let Some(Awaited { slot, host, action }) = self.exchanges.remove(id) else { continue };
            self.operations.complete(slot, host, action, (reply, elapsed));
        }
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        if let Some(engine) = self.engine.take().filter(|_| self.exchanges.is_empty()) {
            self.client.engines.put_back(engine);
        }
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
