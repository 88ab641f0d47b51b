//! Floor 3: the operations of one driver: their machines in slots, and the times at which to poll a machine again.
//!
//! Nothing here blocks or is shared: only the thread in the driver's seat uses it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::api::{self, Action, Api, Reply, Request};
use crate::client::journal_calls::holds_until;
use crate::client::options::CallHeaders;
use crate::journal::calls::{JournalCall, JournalResult, SharedClaim};
use crate::protocol::{Input, Machine, Output};
use crate::sync::now;
use crate::values::event::Event;
use crate::values::host::Host;
use crate::values::report::Report;
use crate::values::retry::RetryBudgets;
use crate::values::usage::Usage;

/// An operation that has ended: its position in the input of the call, and its report.
pub(crate) type Ended = (usize, Report);

/// The operations of one driver.
pub(crate) struct Operations {
    keeps_intents: bool,
    /// Headers of every request, from the options of the call.
    headers: CallHeaders,
    budgets: Arc<Mutex<RetryBudgets>>,
    slots: Vec<Option<OperationSlot>>,
    free: Vec<usize>,
    /// Operations without a slot.
    backlog: VecDeque<(usize, Machine)>,
    /// Maximum number of occupied slots.
    limit: usize,
    /// Slots whose machine has to be polled.
    queue: VecDeque<usize>,
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    ended: VecDeque<Ended>,
    events: Vec<Event>,
    cancelled: bool,
}

/// A machine with its claim, requests and timer.
struct OperationSlot {
    machine: Machine,
    position: usize,
    begun: Instant,
    claim: Option<SharedClaim>,
    /// The claim ends by itself: see [`Claim::holds_until`](crate::Claim::holds_until).
    claim_ends: bool,
    requests: Option<Arc<Requests>>,
    queued: bool,
    timer: Option<Instant>,
    releasing: bool,
}

/// Work that a machine has requested.
pub(crate) enum Work {
    Send(Send),
    Journal(JournalCall),
}

/// A request to send.
pub(crate) struct Send {
    pub(crate) requests: Arc<Requests>,
    pub(crate) host: usize,
    pub(crate) action: Action,
    pub(crate) timeout: Duration,
    /// The end of the claim, for a request that changes the host.
    pub(crate) not_after: Option<Instant>,
}

/// The hosts of one pass of an operation, and the three requests that go to them.
pub(crate) struct Requests {
    pub(crate) hosts: Arc<[Host]>,
    api: Arc<Api>,
    create: Arc<Request>,
    check: Arc<Request>,
    delete: Arc<Request>,
}

/// The next thing to do.
pub(crate) enum NextWork {
    /// For the operation in this slot.
    Run(usize, Work),
    /// Nothing before this time, or before a completion.
    Wait(Option<Instant>),
}

impl Operations {
    /// Creates an empty table. At most `limit` operations run at a time. Further ones wait for a slot.
    pub(crate) fn new(
        keeps_intents: bool,
        budgets: Arc<Mutex<RetryBudgets>>,
        limit: usize,
        headers: CallHeaders,
    ) -> Self {
        Operations {
            keeps_intents,
            headers,
            budgets,
            slots: Vec::new(),
            free: Vec::new(),
            backlog: VecDeque::new(),
            limit,
            queue: VecDeque::new(),
            timers: BinaryHeap::new(),
            ended: VecDeque::new(),
            events: Vec::new(),
            cancelled: false,
        }
    }

    /// Adds an operation, which starts as soon as a slot is free.
    pub(crate) fn add(&mut self, position: usize, machine: Machine, now: Instant) {
        self.backlog.push_back((position, machine));
        self.admit(now);
    }

    /// Cancels every operation, even those without a slot and those that are added later.
    pub(crate) fn cancel(&mut self, now: Instant) {
        self.cancelled = true;
        for number in 0..self.slots.len() {
            if let Some(slot) = &mut self.slots[number] {
                slot.machine.cancel(now.saturating_duration_since(slot.begun));
                self.requeue(number);
            }
        }
    }

    /// Returns whether the operation in this slot only waits for the answers to requests in flight.
    pub(crate) fn is_stopping(&self, slot: usize) -> bool {
        self.slots[slot].as_ref().is_some_and(|slot| slot.machine.is_stopping())
    }

    /// Returns the next work of a machine.
    pub(crate) fn next(&mut self, now: Instant) -> NextWork {
        self.expire_timers(now);
        while let Some(slot) = self.queue.front().copied() {
            if let Some(work) = self.poll(slot, now) {
                return NextWork::Run(slot, work);
            }
        }
        NextWork::Wait(self.timers.peek().map(|Reverse((due, _))| *due))
    }

    /// Passes the answer of a host to the machine in slot `number`.
    pub(crate) fn complete(&mut self, number: usize, host: usize, action: Action, answer: (Reply, Usage)) {
        let (reply, usage) = answer;
        let Some(slot) = &self.slots[number] else { return };
        let reply = api::classify(slot.machine.api(), action, slot.machine.group(), reply);
        self.advance(number, Input::Replied { host, action, reply, usage }, now());
    }

    /// Passes the result of a journal call to the machine in slot `number`.
    pub(crate) fn complete_journal_call(&mut self, number: usize, result: JournalResult, now: Instant) {
        let input = match result {
            JournalResult::Released => return self.end(number, now),
            JournalResult::Claimed(Ok((claim, inherited))) => {
                if let Some(slot) = &mut self.slots[number] {
                    let claim = Arc::new(Mutex::new(claim));
                    slot.claim_ends = holds_until(&claim).is_some();
                    slot.claim = Some(claim);
                }
                Input::Claimed(Ok(inherited))
            }
            JournalResult::Claimed(Err(error)) => Input::Claimed(Err(error)),
            JournalResult::Recorded(recorded) => Input::Recorded(recorded),
            JournalResult::Erased(erased) => Input::Erased(erased),
        };
        if let Some(slot) = &mut self.slots[number] {
            slot.read_claim();
        }
        self.advance(number, input, now);
    }

    /// Removes an operation that has ended.
    pub(crate) fn take_ended(&mut self) -> Option<Ended> {
        self.ended.pop_front()
    }

    /// Removes the events that were not delivered yet.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Moves operations from the backlog into free slots.
    fn admit(&mut self, now: Instant) {
        while self.slots.len() - self.free.len() < self.limit {
            let Some((position, mut machine)) = self.backlog.pop_front() else { return };
            if !self.keeps_intents {
                machine.without_journal();
            }
            if self.cancelled {
                machine.cancel(Duration::ZERO);
            }
            let number = self.free.pop().unwrap_or_else(|| {
                self.slots.push(None);
                self.slots.len() - 1
            });
            self.slots[number] = Some(OperationSlot {
                machine,
                position,
                begun: now,
                claim: None,
                claim_ends: false,
                requests: None,
                queued: false,
                timer: None,
                releasing: false,
            });
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

    fn leave_queue(&mut self, number: usize) {
        self.queue.pop_front();
        if let Some(slot) = &mut self.slots[number] {
            slot.queued = false;
        }
    }

    /// Queues the slots whose timer is due, and drops timers that were replaced.
    fn expire_timers(&mut self, now: Instant) {
        while let Some(Reverse((due, number))) = self.timers.peek().copied() {
            let waiting = self.slots[number].as_mut().filter(|slot| slot.timer == Some(due));
            match waiting {
                Some(_) if due > now => return,
                Some(slot) => {
                    slot.timer = None;
                    self.requeue(number);
                }
                None => {}
            }
            self.timers.pop();
        }
    }

    /// Polls the machine in the slot at the head of the queue.
    fn poll(&mut self, number: usize, now: Instant) -> Option<Work> {
        let Some(slot) = self.slots[number].as_mut() else {
            // A cancel queued this slot, and the operation has ended since.
            self.leave_queue(number);
            return None;
        };
        slot.read_claim();
        let output = slot.machine.poll_output(now.saturating_duration_since(slot.begun));
        let claim = slot.claim.clone();
        let work = match output {
            Output::Claim => Some(JournalCall::Claim(slot.machine.group().clone())),
            Output::Record(intent) => claim.map(|claim| JournalCall::Record(claim, intent)),
            Output::Erase => claim.map(JournalCall::Erase),
            Output::Send { host, action, timeout, not_after, .. } => {
                let requests = Requests::of(&slot.machine, &self.headers, &mut slot.requests);
                let not_after = not_after.and_then(|end| slot.begun.checked_add(end));
                return Some(Work::Send(Send { requests, host, action, timeout, not_after }));
            }
            Output::Done if slot.releasing => None,
            Output::Done => {
                slot.releasing = true;
                Some(JournalCall::Release(slot.claim.take()))
            }
            Output::Wait(due) => {
                let due = due.and_then(|due| slot.begun.checked_add(due));
                if let Some(due) = due.filter(|due| slot.timer.is_none_or(|timer| *due < timer)) {
                    slot.timer = Some(due);
                    self.timers.push(Reverse((due, number)));
                }
                None
            }
        };
        self.collect_events(number);
        // A machine has one such step at a time. It is polled again after the result.
        self.leave_queue(number);
        work.map(Work::Journal)
    }

    fn advance(&mut self, number: usize, input: Input, now: Instant) {
        let Some(slot) = &mut self.slots[number] else { return };
        let elapsed = now.saturating_duration_since(slot.begun);
        slot.machine.handle_input(input, elapsed, &mut self.budgets.lock().unwrap_or_else(PoisonError::into_inner));
        self.collect_events(number);
        self.requeue(number);
    }

    fn collect_events(&mut self, number: usize) {
        if let Some(slot) = &mut self.slots[number] {
            self.events.extend(slot.machine.take_events());
        }
    }

    fn end(&mut self, number: usize, now: Instant) {
        if let Some(slot) = self.slots[number].take() {
            self.free.push(number);
            self.ended.push_back((slot.position, slot.machine.into_report()));
        }
        self.admit(now);
    }
}

impl OperationSlot {
    /// Passes the end of the claim to the machine. During a call of the claim the machine keeps the earlier value.
    fn read_claim(&mut self) {
        if let Some(until) = self.claim.as_ref().filter(|_| self.claim_ends).and_then(holds_until) {
            // The time of the driver's turn is earlier than now, and a claim that has ended may end whenever it is asked.
            let until = if until <= now() { self.begun } else { until };
            self.machine.set_holds_until(until.saturating_duration_since(self.begun));
        }
    }
}

impl Requests {
    /// Returns the requests of `machine`. Its hosts and API change while it settles an older operation.
    fn of(machine: &Machine, headers: &CallHeaders, known: &mut Option<Arc<Requests>>) -> Arc<Requests> {
        let (hosts, api) = (machine.hosts(), machine.api());
        let same = |known: &&Arc<Requests>| Arc::ptr_eq(&known.hosts, hosts) && Arc::ptr_eq(&known.api, api);
        if let Some(requests) = known.as_ref().filter(same) {
            return Arc::clone(requests);
        }
        let request = |action| {
            let mut request = api.request(action, machine.group());
            if !headers.is_empty() {
                request.headers = request.headers.iter().chain(&**headers).cloned().collect();
            }
            Arc::new(request)
        };
        let requests = Arc::new(Requests {
            hosts: Arc::clone(hosts),
            api: Arc::clone(api),
            create: request(Action::Create),
            check: request(Action::Check),
            delete: request(Action::Delete),
        });
        Arc::clone(known.insert(requests))
    }

    pub(crate) fn request(&self, action: Action) -> &Arc<Request> {
        match action {
            Action::Create => &self.create,
            Action::Check => &self.check,
            Action::Delete => &self.delete,
        }
    }
}
