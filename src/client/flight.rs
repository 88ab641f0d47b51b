//! Floor 3: the operations in flight, as work for a crew. What a machine says is turned into jobs, what comes
//! of a job is turned into facts.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::api::{self, Action, Api, Reply, Request};
use crate::client::executor::{Next, Source, Waits, Worker};
use crate::client::observer::Audience;
use crate::engine::threads::transport::{Stalled, Transport};
use crate::journal::{Claim, Journal, Unfinished};
use crate::protocol::{Ending, Fact, Machine, Step};
use crate::values::cause::{JournalError, RequestError, RequestErrorKind};
use crate::values::config::ConfigError;
use crate::values::event::Event;
use crate::values::group::GroupId;
use crate::values::host::Host;
use crate::values::intent::{ClaimError, Intent};
use crate::values::report::Report;
use crate::values::retry::RetryBudgets;

/// What the jobs of a client's operations need.
#[derive(Clone)]
pub(crate) struct Edges {
    /// The API of the client; an intent may name another for its recovery.
    pub(crate) api: Arc<Api>,
    pub(crate) cluster: Arc<[Host]>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) store: Arc<dyn Journal>,
    /// Whether the store keeps what it is given, so that there is something to recover.
    pub(crate) keeps_intents: bool,
    pub(crate) audience: Audience,
    /// Closes the idle connections of the client, in `transport` or its engines.
    pub(crate) shed_idle: ShedIdle,
}

pub(crate) type ShedIdle = Arc<dyn Fn() + Send + Sync>;
pub(crate) type SharedClaim = Arc<Mutex<Box<dyn Claim>>>;

/// Something to be done for the operation in slot `slot`.
pub(crate) struct Job {
    pub(crate) slot: usize,
    pub(crate) work: Work,
}

pub(crate) enum Work {
    Send { route: Arc<Route>, host: usize, action: Action, timeout: Duration },
    Journal(JournalCall),
}

pub(crate) enum JournalCall {
    Claim(GroupId),
    Record(SharedClaim, Intent),
    Erase(SharedClaim),
    /// The operation has ended: its lock goes, then its result is told.
    Release(Option<SharedClaim>),
}

pub(crate) struct Done {
    pub(crate) slot: usize,
    pub(crate) result: Came,
}

/// What came of it.
pub(crate) enum Came {
    Claimed(Result<(Box<dyn Claim>, Option<Intent>), ClaimError>),
    Recorded(Result<(), JournalError>),
    Erased(Result<(), JournalError>),
    Replied { host: usize, action: Action, reply: Reply, elapsed: Duration },
    Released,
}

/// The way to the hosts of one pass of an operation, with the three requests that go there.
pub(crate) struct Route {
    pub(crate) hosts: Arc<[Host]>,
    api: Arc<Api>,
    transport: Result<Arc<dyn Transport>, ConfigError>,
    create: Arc<Request>,
    check: Arc<Request>,
    delete: Arc<Request>,
}

struct Slot {
    machine: Machine,
    /// The position of the operation in what was asked for.
    position: usize,
    begun: Instant,
    claim: Option<SharedClaim>,
    route: Option<Arc<Route>>,
    queued: bool,
    wakes: Option<Instant>,
    releasing: bool,
}

/// The operations in flight.
pub(crate) struct Flight {
    edges: Edges,
    budgets: Arc<Mutex<RetryBudgets>>,
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    /// Operations that wait for a free slot.
    backlog: VecDeque<(usize, Machine)>,
    limit: usize,
    /// Slots whose machine is to be asked.
    queue: VecDeque<usize>,
    sleeping: BinaryHeap<Reverse<(Instant, usize)>>,
    landed: VecDeque<(usize, Ending, Report)>,
    news: Vec<Event>,
    cancelled: bool,
}

impl Flight {
    /// At most `limit` operations at a time.
    pub(crate) fn new(edges: Edges, budgets: Arc<Mutex<RetryBudgets>>, limit: usize) -> Self {
        Flight {
            edges,
            budgets,
            slots: Vec::new(),
            free: Vec::new(),
            backlog: VecDeque::new(),
            limit,
            queue: VecDeque::new(),
            sleeping: BinaryHeap::new(),
            landed: VecDeque::new(),
            news: Vec::new(),
            cancelled: false,
        }
    }

    /// Takes an operation on; it starts as soon as there is a slot.
    pub(crate) fn add(&mut self, position: usize, machine: Machine, now: Instant) {
        self.backlog.push_back((position, machine));
        self.launch(now);
    }

    pub(crate) fn collect(&mut self) -> Option<(usize, Ending, Report)> {
        self.landed.pop_front()
    }

    /// Gives up every operation, those that have not begun too.
    pub(crate) fn cancel(&mut self, now: Instant) {
        self.cancelled = true;
        for number in 0..self.slots.len() {
            if let Some(slot) = &mut self.slots[number] {
                slot.machine.cancel(now.saturating_duration_since(slot.begun));
                self.requeue(number);
            }
        }
    }

    fn launch(&mut self, now: Instant) {
        while self.slots.len() - self.free.len() < self.limit {
            let Some((position, mut machine)) = self.backlog.pop_front() else { return };
            if !self.edges.keeps_intents {
                machine.without_store();
            }
            if self.cancelled {
                machine.cancel(Duration::ZERO);
            }
            let slot = Slot {
                machine,
                position,
                begun: now,
                claim: None,
                route: None,
                queued: false,
                wakes: None,
                releasing: false,
            };
            let number = self.free.pop().unwrap_or_else(|| {
                self.slots.push(None);
                self.slots.len() - 1
            });
            self.slots[number] = Some(slot);
            self.requeue(number);
        }
    }

    fn requeue(&mut self, number: usize) {
        if let Some(slot) = &mut self.slots[number]
            && !slot.queued
        {
            slot.queued = true;
            self.queue.push_back(number);
        }
    }

    /// Queues whatever is due, and forgets times that nobody waits for any more.
    fn wake(&mut self, now: Instant) {
        while let Some(Reverse((due, number))) = self.sleeping.peek().copied() {
            let sleeper = self.slots[number].as_mut().filter(|slot| slot.wakes == Some(due));
            match sleeper {
                Some(_) if due > now => return,
                Some(slot) => {
                    slot.wakes = None;
                    self.requeue(number);
                }
                None => {}
            }
            self.sleeping.pop();
        }
    }

    /// Asks the machine in the slot at the head of the queue.
    fn poll(&mut self, number: usize, now: Instant) -> Option<Work> {
        let Some(slot) = self.slots[number].as_mut() else {
            // It landed while a cancel had it in the queue.
            self.leave_queue(number);
            return None;
        };
        let step = slot.machine.step(now.saturating_duration_since(slot.begun));
        let claim = slot.claim.clone();
        let work = match step {
            Step::Claim => Some(JournalCall::Claim(slot.machine.group().clone())),
            Step::Record(intent) => claim.map(|claim| JournalCall::Record(claim, intent)),
            Step::Erase => claim.map(JournalCall::Erase),
            Step::Send { host, action, timeout, .. } => {
                let route = route(&self.edges, &slot.machine, &mut slot.route);
                return Some(Work::Send { route, host, action, timeout });
            }
            Step::Done if slot.releasing => None,
            Step::Done => {
                slot.releasing = true;
                Some(JournalCall::Release(slot.claim.take()))
            }
            Step::Wait(due) => {
                let due = due.and_then(|due| slot.begun.checked_add(due));
                if let Some(due) = due.filter(|due| slot.wakes.is_none_or(|wakes| *due < wakes)) {
                    slot.wakes = Some(due);
                    self.sleeping.push(Reverse((due, number)));
                }
                None
            }
        };
        self.gather_news(number);
        // A machine has one such step at a time: it is asked again when that is done.
        self.leave_queue(number);
        work.map(Work::Journal)
    }

    fn leave_queue(&mut self, number: usize) {
        self.queue.pop_front();
        if let Some(slot) = &mut self.slots[number] {
            slot.queued = false;
        }
    }

    fn gather_news(&mut self, number: usize) {
        if let Some(slot) = &mut self.slots[number] {
            self.news.extend(slot.machine.take_events());
        }
    }

    fn land(&mut self, number: usize, now: Instant) {
        if let Some(slot) = self.slots[number].take() {
            self.free.push(number);
            let (ending, report) = slot.machine.into_ending();
            self.landed.push_back((slot.position, ending, report));
        }
        self.launch(now);
    }
}

impl Source for Flight {
    type Job = Job;
    type Output = Done;
    type News = Event;

    fn next(&mut self, now: Instant) -> Next<Job> {
        self.wake(now);
        while let Some(slot) = self.queue.front().copied() {
            if let Some(work) = self.poll(slot, now) {
                return Next::Run(Job { slot, work });
            }
        }
        Next::Wait(self.sleeping.peek().map(|Reverse((due, _))| *due))
    }

    fn ready(&self) -> usize {
        let first = self.queue.front().and_then(|slot| self.slots[*slot].as_ref());
        first.map_or(0, |slot| slot.machine.ready()) + self.queue.len().saturating_sub(1)
    }

    fn is_waiting(&self) -> bool {
        // What the machine that was asked last has yet to wait for is not among the sleeping.
        let first = self.queue.front().and_then(|slot| self.slots[*slot].as_ref());
        !self.sleeping.is_empty() || first.is_some_and(|slot| slot.machine.is_waiting())
    }

    fn done(&mut self, Done { slot: number, result }: Done, now: Instant) {
        let Some(slot) = &mut self.slots[number] else { return };
        let fact = match result {
            Came::Released => return self.land(number, now),
            Came::Claimed(Ok((claim, inherited))) => {
                slot.claim = Some(Arc::new(Mutex::new(claim)));
                Fact::Claimed(Ok(inherited))
            }
            Came::Claimed(Err(error)) => Fact::Claimed(Err(error)),
            Came::Recorded(recorded) => Fact::Recorded(recorded),
            Came::Erased(erased) => Fact::Erased(erased),
            Came::Replied { host, action, reply, elapsed } => {
                Fact::Replied { host, action, reading: api::read(action, reply), elapsed }
            }
        };
        let elapsed = now.saturating_duration_since(slot.begun);
        slot.machine.on(fact, elapsed, &mut self.budgets.lock().unwrap_or_else(PoisonError::into_inner));
        self.gather_news(number);
        self.requeue(number);
    }

    fn has_result(&self) -> bool {
        !self.landed.is_empty()
    }

    fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    fn news(&mut self) -> Vec<Self::News> {
        std::mem::take(&mut self.news)
    }
}

impl Worker<Flight> for Edges {
    fn run(&self, Job { slot, work }: Job, stalled: Option<&Stalled>) -> Done {
        let result = match work {
            Work::Send { route, host, action, timeout } => route.send(host, action, timeout, stalled),
            Work::Journal(mut call) => self.make_room(Came::is_exhausted, || self.call(&mut call)),
        };
        Done { slot, result }
    }

    fn waits(&self, job: &Job) -> Waits {
        match job.work {
            Work::Send { .. } => Waits::ForHost,
            Work::Journal(_) => Waits::ForStore,
        }
    }

    fn answered(&self, done: &Done) -> Option<Duration> {
        match &done.result {
            Came::Replied { reply: Reply::Answered { .. }, elapsed, .. } => Some(*elapsed),
            _ => None,
        }
    }

    fn tell(&self, event: Event) {
        self.audience.tell(&event);
    }
}

impl Edges {
    /// Makes a call of the journal, once.
    pub(crate) fn call(&self, call: &mut JournalCall) -> Came {
        match call {
            JournalCall::Claim(group) => Came::Claimed(self.claim(group)),
            JournalCall::Record(claim, intent) => Came::Recorded(with(claim, |claim| claim.record(intent))),
            JournalCall::Erase(claim) => Came::Erased(with(claim, |claim| claim.erase())),
            JournalCall::Release(claim) => {
                let _ = catch_unwind(AssertUnwindSafe(|| drop(claim.take())));
                Came::Released
            }
        }
    }

    fn claim(&self, group: &GroupId) -> Result<(Box<dyn Claim>, Option<Intent>), ClaimError> {
        let claim = || {
            self.store.claim(group).map(|claim| {
                let inherited = claim.inherited().cloned();
                (claim, inherited)
            })
        };
        caught(claim, || Err(ClaimError::Failed(JournalError::panicked())))
    }

    /// Calls [`Journal::unfinished`].
    pub(crate) fn unfinished(&self) -> Result<Unfinished, JournalError> {
        let is_exhausted = |found: &Result<Unfinished, JournalError>| match found {
            Ok(found) => found.unreadable.iter().any(JournalError::is_exhausted),
            Err(error) => error.is_exhausted(),
        };
        self.make_room(is_exhausted, || caught(|| self.store.unfinished(), || Err(JournalError::panicked())))
    }

    /// Calls the store. If it fails for lack of descriptors, closes idle connections and calls it once more.
    fn make_room<T>(&self, is_exhausted: impl Fn(&T) -> bool, mut call: impl FnMut() -> T) -> T {
        let first = call();
        if !is_exhausted(&first) {
            return first;
        }
        drop(first);
        (self.shed_idle)();
        call()
    }
}

impl Came {
    /// Whether a call of the journal failed for lack of descriptors or memory.
    pub(crate) fn is_exhausted(&self) -> bool {
        match self {
            Came::Claimed(Err(ClaimError::Failed(error))) | Came::Recorded(Err(error)) | Came::Erased(Err(error)) => {
                error.is_exhausted()
            }
            _ => false,
        }
    }
}

fn with(
    claim: &SharedClaim,
    act: impl FnOnce(&mut Box<dyn Claim>) -> Result<(), JournalError>,
) -> Result<(), JournalError> {
    let mut claim = claim.lock().unwrap_or_else(PoisonError::into_inner);
    caught(|| act(&mut claim), || Err(JournalError::panicked()))
}

fn caught<T>(call: impl FnOnce() -> T, panicked: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| panicked())
}

fn route(edges: &Edges, machine: &Machine, known: &mut Option<Arc<Route>>) -> Arc<Route> {
    let (hosts, api) = (machine.hosts(), machine.api());
    let same = |route: &&Arc<Route>| Arc::ptr_eq(&route.hosts, hosts) && Arc::ptr_eq(&route.api, api);
    if let Some(route) = known.as_ref().filter(same) {
        return Arc::clone(route);
    }
    let transport = if Arc::ptr_eq(hosts, &edges.cluster) || **hosts == *edges.cluster {
        Ok(Arc::clone(&edges.transport))
    } else {
        edges.transport.to(hosts)
    };
    let request = |action| Arc::new(api.request(action, machine.group()));
    let route = Arc::new(Route {
        hosts: Arc::clone(hosts),
        api: Arc::clone(api),
        transport,
        create: request(Action::Create),
        check: request(Action::Check),
        delete: request(Action::Delete),
    });
    Arc::clone(known.insert(route))
}

impl Route {
    pub(crate) fn request(&self, action: Action) -> &Arc<Request> {
        match action {
            Action::Create => &self.create,
            Action::Check => &self.check,
            Action::Delete => &self.delete,
        }
    }

    fn send(&self, host: usize, action: Action, timeout: Duration, stalled: Option<&Stalled>) -> Came {
        let request = self.request(action);
        let begun = Instant::now();
        let reply = match &self.transport {
            Ok(transport) => catch_unwind(AssertUnwindSafe(|| transport.send(host, request, timeout, stalled)))
                .unwrap_or_else(|_| Reply::Ambiguous(internal("the transport panicked"))),
            Err(error) => Reply::NotSent(internal(&error.to_string())),
        };
        Came::Replied { host, action, reply, elapsed: begun.elapsed() }
    }
}

pub(crate) fn internal(message: &str) -> RequestError {
    RequestError::new(RequestErrorKind::Internal, message)
}
