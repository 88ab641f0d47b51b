//! Floor 3: the loop that drives operations over an engine.
//!
//! ```text
//!   loop {
//!     inbox      ─ operations to add, cancel, results of journal calls ─▶ machines
//!     machines   ─ Send ─▶ engine.submit        ─ Claim, Record, Erase ─▶ a thread of the pool
//!                ─ events ─▶ observers          ─ results ─▶ the caller
//!     engine.wait(next time)                    ─ completions ─▶ machines
//!   }
//! ```
//! One thread at a time drives: it takes the parts out of the seat, so the loop holds no lock.
//!
//! * The multiplexed engine makes progress only in `wait`, so the caller that blocks for a result drives.
//! * The threads of the thread engine are leader and followers. After an exchange, a thread takes the seat if it is
//!   free, handles what has completed, and returns to the queue. The caller submits, and blocks until there is a
//!   result. The caller of a single operation also runs exchanges.
//! * A thread stays in the seat while a retry is delayed.
//! * If the caller of a bulk stays away, a thread of the pool replaces it: see [`relief`].
//!
//! Each call has a driver of its own, so an observer may call the client again. An observer may also drive the bulk
//! that it observes. During [`Driver::emit`] the parts are in the seat, and only the thread of the observer may take
//! them.

mod inbox;
#[cfg(all(test, loom))]
mod loom_models;
mod relief;
mod seat;

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Instant;

use self::inbox::Mail;
use self::seat::{Seat, Watch};
use crate::client::cancel::Cancel;
use crate::client::inner::ClientInner;
use crate::client::journal_batch::Batch;
use crate::client::operations::{Ended, NextWork, Work};
use crate::client::options::CallHeaders;
use crate::client::parts::Parts;
use crate::engine::threads::pool::Task;
use crate::engine::{Lead, Share};
use crate::protocol::Machine;
use crate::sync::{Condvar, Mutex, MutexGuard, current_thread, now, yield_now};

/// Number of times that a caller yields its core before it blocks.
const LOOKS: usize = if cfg!(all(test, loom)) { 0 } else { 20 };
/// Drives the operations of one call.
pub(crate) struct Driver {
    client: Arc<ClientInner>,
    /// The call is a single operation, which sends nothing during a journal call. The thread in the seat makes that call.
    is_single: bool,
    /// Threads of the engine that complete exchanges take the seat.
    leads: bool,
    mail: Arc<Mail>,
    seat: Mutex<Seat>,
    changed: Condvar,
}

/// The thread that takes the seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Waits for a result.
    Caller,
    /// Stands in for a caller that is away.
    Relief,
    /// Has completed an exchange, and returns to the queue afterwards.
    Worker,
    /// Has made journal calls, and runs no exchange afterwards.
    Leader,
}

/// The next step of the thread in the seat, if no machine has an output.
enum Turn {
    Stay,
    Leave,
    /// Leaves, and runs an exchange.
    Run(Task),
}

impl Driver {
    /// Creates a driver of at most `in_flight` operations at a time. If `is_single`, the caller adds one operation and
    /// takes its result at once.
    pub(crate) fn new(client: &Arc<ClientInner>, in_flight: usize, is_single: bool, headers: CallHeaders) -> Arc<Self> {
        let mut engine = client.engines.take();
        Arc::new_cyclic(|this: &Weak<Driver>| {
            let leads = engine.attach(Weak::<Driver>::clone(this));
            let mail = Arc::new(Mail { inbox: Mutex::default(), waker: engine.waker() });
            let parts = Box::new(Parts::new(client, engine, in_flight, headers));
            let (client, changed) = (Arc::clone(client), Condvar::new());
            Driver { client, is_single, leads, mail, seat: Mutex::new(Seat::new(parts)), changed }
        })
    }

    /// Adds an operation. It continues while a caller blocks in [`Driver::take`], otherwise on another thread soon after.
    pub(crate) fn add(self: &Arc<Self>, position: usize, machine: Machine) {
        let mut seat = lock(&self.seat);
        // Count the operation before another thread can end it.
        seat.open += 1;
        lock(&self.mail.inbox).machines.push((position, machine));
        seat.is_attended = false;
        if seat.is_free() {
            self.leave(&mut seat);
        } else {
            // Wake under the lock of the seat, so that the thread in it does not leave before.
            self.mail.waker.wake();
        }
    }

    /// Blocks until an operation has ended.
    pub(crate) fn take(self: &Arc<Self>) -> Ended {
        let mut seat = lock(&self.seat);
        let mut looks = 0;
        loop {
            assert!(!seat.is_broken, "a bug in cluster-client: the thread that drove has panicked, see the log");
            if let Some(ended) = seat.ended.pop_front() {
                return ended;
            }
            let parts = if seat.is_attended { None } else { seat.take_parts() };
            if let Some(parts) = parts {
                drop(seat);
                let (left, has_run) = self.drive_and_run(parts, Role::Caller);
                seat = left;
                if !has_run && !seat.ended.is_empty() {
                    self.leave(&mut seat);
                }
                looks = 0;
            } else if looks < LOOKS && seat.is_attended {
                looks += 1;
                drop(seat);
                yield_now();
                seat = lock(&self.seat);
            } else {
                if self.leads && seat.is_watched {
                    // The thread that waits for a timer returns to the exchanges.
                    self.mail.waker.wake();
                }
                seat.is_wanted = true;
                seat = self.changed.wait(seat).unwrap_or_else(PoisonError::into_inner);
                seat.is_wanted = false;
            }
        }
    }

    /// Returns the result of an operation that has ended, without blocking.
    pub(crate) fn try_take(&self) -> Option<Ended> {
        lock(&self.seat).ended.pop_front()
    }

    /// Cancels all operations, and blocks until the `open` ones whose result was not taken have ended. Nothing is added
    /// afterwards.
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

    /// Handles what is new, unless another thread is in the seat.
    fn attend(self: &Arc<Self>, role: Role) {
        let parts = lock(&self.seat).take_parts();
        if let Some(parts) = parts {
            drop(self.drive(parts, role));
        }
    }

    /// Drives, and then runs the exchange that is left to the calling thread. Returns whether there was one.
    fn drive_and_run(self: &Arc<Self>, parts: Box<Parts>, role: Role) -> (MutexGuard<'_, Seat>, bool) {
        let (seat, own) = self.drive(parts, role);
        let Some(run) = own else { return (seat, false) };
        drop(seat);
        run();
        let mut seat = lock(&self.seat);
        seat.is_attended = false;
        (seat, true)
    }

    /// Drives until there is a reason to leave, and puts the parts back into the seat. Returns an exchange that the
    /// calling thread has to run.
    fn drive(self: &Arc<Self>, mut parts: Box<Parts>, role: Role) -> (MutexGuard<'_, Seat>, Option<Task>) {
        let mut watch = Watch { driver: self, is_driving: true };
        let mut ended = VecDeque::new();
        if self.leads {
            parts.wait(Some(now()));
        }
        loop {
            self.read_inbox(&mut parts);
            let until = self.issue(&mut parts);
            if parts.operations.has_events() {
                parts = self.emit(parts);
                // An observer may have driven, and may have added operations.
                continue;
            }
            ended.extend(std::iter::from_fn(|| parts.operations.take_ended()));
            let mut seat = lock(&self.seat);
            seat.open -= ended.len();
            seat.ended.append(&mut ended);
            let next = if self.leads && parts.engine().is_ready() {
                Turn::Stay
            } else {
                self.turn(&seat, &mut parts, role, until)
            };
            let own = match next {
                Turn::Stay => {
                    seat.is_watched = true;
                    drop(seat);
                    parts.wait(until);
                    lock(&self.seat).is_watched = false;
                    continue;
                }
                Turn::Run(own) => Some(own),
                Turn::Leave => None,
            };
            // The threads that run exchanges return to the seat, so no other thread has to take it.
            let surplus = seat.is_wanted && parts.engine().queued() > 1;
            seat.is_attended =
                self.leads && until.is_none() && parts.is_pending() && !surplus && seat.emitter.is_none();
            if seat.is_wanted && (!seat.ended.is_empty() || !seat.is_attended) {
                self.changed.notify_all();
            }
            watch.is_driving = false;
            seat.parts = Some(parts);
            return (seat, own);
        }
    }

    /// Returns the next step of the thread in the seat, if nothing is due before a completion or `until`.
    fn turn(&self, seat: &Seat, parts: &mut Parts, role: Role, until: Option<Instant>) -> Turn {
        let has_reason = match role {
            Role::Caller => !seat.ended.is_empty(),
            Role::Relief => seat.is_wanted || seat.is_over || seat.open == 0,
            Role::Leader | Role::Worker => seat.is_wanted || seat.open == 0,
        };
        if !self.leads {
            return if has_reason { Turn::Leave } else { Turn::Stay };
        }
        if matches!(role, Role::Leader | Role::Worker) {
            let may_stay = !has_reason && until.is_some();
            // Unless it stays, a worker runs the queued exchanges itself.
            let has_threads = (role == Role::Worker && !may_stay) || parts.engine().recruit();
            return if may_stay && has_threads { Turn::Stay } else { Turn::Leave };
        }
        let shares = role == Role::Caller && self.is_single;
        let mut own = if shares && until.is_none() { parts.engine().share(Share::Always) } else { None };
        if !parts.engine().recruit() && own.is_none() {
            own = parts.engine().share(if shares { Share::Always } else { Share::IfNoneRuns });
        }
        match own {
            Some(own) => Turn::Run(own),
            None if has_reason || (until.is_none() && parts.is_pending() && seat.emitter.is_none()) => Turn::Leave,
            None => Turn::Stay,
        }
    }

    /// Delivers the events to the observers, in order, with the parts in the seat. If an observer drives, its events are
    /// queued, and the outer call delivers them.
    fn emit(&self, mut parts: Box<Parts>) -> Box<Parts> {
        let mut events = parts.operations.take_events();
        let mut seat = lock(&self.seat);
        if seat.emitter.is_some() {
            seat.queued_events.append(&mut events);
            return parts;
        }
        seat.emitter = Some(current_thread());
        (seat.parts, seat.is_attended) = (Some(parts), false);
        while !events.is_empty() {
            drop(seat);
            for event in events {
                self.client.observers.emit(&event);
            }
            seat = lock(&self.seat);
            events = std::mem::take(&mut seat.queued_events);
        }
        seat.emitter = None;
        seat.parts.take().expect("no other thread takes the parts from an emitter, and its own thread puts them back")
    }

    /// Carries out the outputs of the machines. Returns the time at which to poll them again.
    fn issue(self: &Arc<Self>, parts: &mut Parts) -> Option<Instant> {
        let mut time = now();
        let mut calls = Batch::new();
        loop {
            if !parts.engine().has_room() {
                self.hand_to_pool(calls, false);
                return None;
            }
            match parts.operations.next(time) {
                NextWork::Wait(until) => {
                    self.hand_to_pool(calls, false);
                    return until;
                }
                NextWork::Run(slot, Work::Send(send)) => parts.send(slot, &send),
                NextWork::Run(slot, Work::Journal(mut call)) if self.is_single || !self.client.keeps_intents => {
                    let mut result = call.run(&*self.client.journal);
                    if result.is_exhausted() {
                        parts.shed_idle();
                        result = call.run(&*self.client.journal);
                    }
                    time = now();
                    parts.operations.complete_journal_call(slot, result, time);
                }
                NextWork::Run(slot, Work::Journal(call)) => {
                    parts.journal_calls += 1;
                    calls.push((slot, call));
                }
            }
        }
    }
}

impl Cancel for Driver {
    /// Wakes the thread that blocks in the seat. If there is none, the next thread that drives reads the inbox.
    fn cancel(&self) {
        lock(&self.mail.inbox).cancelled = true;
        self.mail.waker.wake();
    }
}

impl Lead for Driver {
    fn lead(self: Arc<Self>) {
        self.attend(Role::Worker);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
