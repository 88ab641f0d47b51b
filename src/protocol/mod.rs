//! The protocol of `docs/protocol.md` as one state machine. Live runs and recovery share its transitions. Phases,
//! outcomes and invariants have the names of that page.
//!
//! ```text
//!         create                     Probe --> Intend --> Create --> (Settle) --> Commit ---> done
//!        +---------------------------^                      | failed, or cancelled
//!        |  unfinished create                               v
//!        +-----------------------------------------------> RollBack -----------+
//!  Claim-|  repair to present                                                  |
//!        +---------------------------> Probe --> Intend --> Create --> (Settle) +--> Finish --> done
//!        |  delete, repair to absent                                           |       |
//!        +------------------------------------> Intend --> Delete -------------+       | after a recovery
//!        |  unfinished delete                                ^                         v
//!        +---------------------------------------------------+              (Settle) --> the operation
//!
//!  status: Probe --> done
//! ```
//!
//! *Settle* in brackets is skipped if nothing can take effect late. *Finish* erases the intent, or records the hosts
//! that are left. A repair to present that was found unfinished settles first and then begins at *Probe*.
//!
//! | file | content |
//! | --- | --- |
//! | `claim.rs` | from the claim to the first phase, and what follows an unfinished intent |
//! | `intent.rs` | what is recorded and erased, and when |
//! | `phases.rs` | the transitions between phases |
//! | `lease.rs` | the end of a claim that ends by itself |
//! | `settle.rs` | the waits between phases |
//! | `round.rs` | one phase of requests to many hosts |
//! | `participant.rs` | one host: the action after each reply |
//! | `rules.rs` | each decision that an invariant rests on |
//! | `outcome.rs` | the end of an operation, and its outcome |
//! | `reporting.rs` | events and the report |
//!
//! The driver does what [`Machine::poll_output`] returns and passes the result to [`Machine::handle_input`]. Several
//! requests may be in flight, and their results may arrive in any order.
//!
//! Deliberately absent: IO, a clock, threads and randomness. `now` is passed in, as the time since the operation began.
//! Jitter comes from a seed.

mod claim;
mod intent;
mod lease;
mod outcome;
mod participant;
mod phases;
mod reporting;
mod round;
mod rules;
mod settle;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use self::participant::{Participant, Stop};
#[cfg(test)]
pub(crate) use self::rules::{Deletes, Evidence};
pub(crate) use self::rules::{Posts, Rules, Sound};
use crate::values::action::Action;
use crate::values::api::Api;
use crate::values::authorized::Authorized;
use crate::values::cause::JournalError;
use crate::values::classification::ClassifiedReply;
use crate::values::event::{Event, EventKind, Phase};
use crate::values::group::GroupId;
use crate::values::host::Host;
use crate::values::intent::{ClaimError, Intent, Purpose};
use crate::values::outcome::Outcome;
use crate::values::report::{Cause, Note, Operation, OperationId, Report};
use crate::values::retry::{Delays, RetryBudgets, RetryPolicy};
use crate::values::usage::Usage;

/// The bounds of one operation. All times are above zero.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) retry: RetryPolicy,
    pub(crate) rollback_retry: RetryPolicy,
    pub(crate) request_timeout: Duration,
    /// The time of the operation itself. A rollback and a recovery have `rollback_timeout`.
    pub(crate) operation_timeout: Option<Duration>,
    pub(crate) rollback_timeout: Duration,
    pub(crate) settle: Duration,
}

/// A request of the machine to its driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    /// Lock the group and read its unfinished intent.
    Claim,
    /// Write this intent durably, in place of an older one.
    Record(Intent),
    /// Remove the intent durably.
    Erase,
    /// Send this action to the host with this index in [`Machine::hosts`]. A POST or DELETE whose timeout would end after
    /// `not_after` must not start: see [`Machine::set_holds_until`].
    Send { host: usize, action: Action, attempt: u32, timeout: Duration, not_after: Option<Duration> },
    /// Poll again at this time, or after the next input.
    Wait(Option<Duration>),
    /// The operation has ended.
    Done,
}

/// The result of an output.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    Claimed(Result<Option<Intent>, ClaimError>),
    Recorded(Result<(), JournalError>),
    Erased(Result<(), JournalError>),
    Replied { host: usize, action: Action, reply: ClassifiedReply, usage: Usage },
}

/// The step after the settle time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AfterSettle {
    /// A repair to present. The requests of a dead owner can no longer take effect.
    Probe,
    /// A create. No POST of ours can take effect after a later DELETE.
    Commit,
    /// The end of a repair to present, or of its recovery. No POST of ours can take effect after a later DELETE.
    Finish,
    /// The operation after a recovery. Every replica shows what the recovery has changed.
    Operation,
}

/// One operation on one group.
#[derive(Debug)]
pub(crate) struct Machine<R = Sound> {
    id: OperationId,
    operation: Operation,
    preflight: bool,
    group: GroupId,
    limits: Limits,
    /// Every host of the client.
    cluster: Arc<[Host]>,
    /// The API of the client.
    cluster_api: Arc<Api>,
    /// Other APIs that an intent may refer to.
    known_apis: Arc<[Api]>,
    /// The hosts whose requests have credentials.
    authorized: Arc<Authorized>,
    /// The hosts of the current pass: those of the client, or of the intent that is recovered.
    hosts: Arc<[Host]>,
    /// The API of the current pass: that of the client, or of the intent that is recovered.
    api: Arc<Api>,
    participants: Vec<Participant>,
    phase: Phase,
    /// The step after [`Phase::Settle`].
    after_settle: AfterSettle,
    /// The purpose of the recorded intent, during a pass that has one.
    purpose: Option<Purpose>,
    /// The current pass recovers an earlier operation.
    recovering: bool,
    /// A claim, record or erasure is under way.
    awaiting_journal: bool,
    /// The intent could not be recorded, and a part of it may have to be erased.
    abandoned: Option<JournalError>,
    /// The hosts whose next request can be sent.
    ready: VecDeque<usize>,
    /// The hosts whose next request is due later, earliest first.
    waiting: BinaryHeap<Reverse<(Duration, usize)>>,
    /// Number of requests without a reply.
    in_flight: usize,
    /// Number of hosts that have not finished the phase.
    open: usize,
    /// A retry was left out because it would have begun after the deadline.
    short_of_time: bool,
    /// No further request starts in this phase.
    stopping: Option<Stop>,
    cancelled: bool,
    /// The end of the wait in [`Phase::Claim`] or [`Phase::Settle`].
    not_before: Duration,
    /// The delays between claims of a busy group.
    claims: Delays,
    /// The deadline of the operation itself. A wait for the settle time moves it.
    deadline: Option<Duration>,
    /// The deadline of the phase.
    phase_ends: Option<Duration>,
    /// The time at which the claim ends, unless it is renewed. `None` for a claim that does not end by itself.
    holds_until: Option<Duration>,
    /// The time until which requests wait for a renewal, while they do.
    renewal_ends: Option<Duration>,
    /// The first cause of a failure.
    cause: Option<Cause>,
    /// The recovery that preceded the operation itself.
    earlier: Option<Box<Report>>,
    /// Failures of the journal that did not change the outcome.
    notes: Vec<Note>,
    /// The journal holds an intent of the group.
    recoverable: bool,
    /// The journal outlives the process.
    has_journal: bool,
    /// Set at the end.
    outcome: Option<Outcome>,
    random: fastrand::Rng,
    /// The events not yet taken; `None` without an observer.
    events: Option<Vec<Event>>,
    now: Duration,
    rules: PhantomData<R>,
}

impl Machine {
    pub(crate) fn new(
        operation: Operation,
        preflight: bool,
        group: GroupId,
        cluster: Arc<[Host]>,
        api: Arc<Api>,
        limits: Limits,
        seed: u64,
    ) -> Self {
        Machine::with_rules(operation, preflight, group, cluster, api, limits, seed)
    }
}

impl<R: Rules> Machine<R> {
    pub(crate) fn with_rules(
        operation: Operation,
        preflight: bool,
        group: GroupId,
        cluster: Arc<[Host]>,
        api: Arc<Api>,
        limits: Limits,
        seed: u64,
    ) -> Self {
        let (claims, deadline) = (limits.retry.delays(), limits.operation_timeout);
        let mut machine = Machine {
            id: OperationId::default(),
            operation,
            preflight: preflight || !R::may_skip_probe(api.proves_ownership()),
            group,
            limits,
            hosts: Arc::from([]),
            cluster,
            api: Arc::clone(&api),
            cluster_api: api,
            known_apis: Arc::from([]),
            authorized: Arc::default(),
            participants: Vec::new(),
            phase: Phase::Claim,
            after_settle: AfterSettle::Operation,
            purpose: None,
            recovering: false,
            awaiting_journal: false,
            abandoned: None,
            ready: VecDeque::new(),
            waiting: BinaryHeap::new(),
            in_flight: 0,
            open: 0,
            short_of_time: false,
            stopping: None,
            cancelled: false,
            not_before: Duration::ZERO,
            claims,
            deadline,
            phase_ends: None,
            holds_until: None,
            renewal_ends: None,
            cause: None,
            earlier: None,
            notes: Vec::new(),
            recoverable: false,
            has_journal: true,
            outcome: None,
            random: fastrand::Rng::with_seed(seed),
            events: None,
            now: Duration::ZERO,
            rules: PhantomData,
        };
        if operation == Operation::Status {
            machine.begin_operation();
        }
        machine
    }

    /// Keeps events from now on, for [`Machine::take_events`].
    pub(crate) fn record_events(&mut self) {
        let started = EventKind::Started { hosts: self.cluster.len() };
        let mut events = vec![self.event(started), self.event(EventKind::Entered { phase: self.phase })];
        // A status has begun its phase in `new`.
        events.extend(self.in_round().then(|| self.event(self.participants())));
        self.events = Some(events);
    }

    /// Sets the id of its events and its report.
    pub(crate) fn set_id(&mut self, id: OperationId) {
        self.id = id;
    }

    /// Sets other APIs that an intent may refer to.
    pub(crate) fn set_known_apis(&mut self, apis: &Arc<[Api]>) {
        self.known_apis = Arc::clone(apis);
    }

    /// Sets the hosts whose requests have credentials.
    pub(crate) fn set_authorized(&mut self, authorized: &Arc<Authorized>) {
        self.authorized = Arc::clone(authorized);
    }

    /// Reports nothing as recoverable: the journal ends with the process.
    pub(crate) fn without_journal(&mut self) {
        self.has_journal = false;
    }

    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        self.events.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(crate) fn group(&self) -> &GroupId {
        &self.group
    }

    pub(crate) fn hosts(&self) -> &Arc<[Host]> {
        &self.hosts
    }

    /// The API of the requests to [`Machine::hosts`].
    pub(crate) fn api(&self) -> &Arc<Api> {
        &self.api
    }

    /// Returns what to do now. Poll again after each input, after each [`Output::Send`], and at the time of an
    /// [`Output::Wait`].
    pub(crate) fn poll_output(&mut self, now: Duration) -> Output {
        self.now = now;
        if self.may_abort() {
            self.abort_if_expired();
        }
        self.stop_if_claim_ended();
        if self.outcome.is_some() {
            return Output::Done;
        }
        let journal_call = match self.phase {
            _ if self.awaiting_journal => return Output::Wait(None),
            Phase::Claim | Phase::Settle if now < self.not_before => {
                return Output::Wait(Some(self.before_claim_ends(self.not_before)));
            }
            Phase::Settle => {
                self.end_settle();
                return self.poll_output(now);
            }
            Phase::Probe | Phase::Create | Phase::RollBack | Phase::Delete => return self.next_request(),
            Phase::Claim => Output::Claim,
            Phase::Intend if self.abandoned.is_none() => Output::Record(self.intent()),
            Phase::Finish if self.any_left() => Output::Record(self.intent()),
            Phase::Intend | Phase::Commit | Phase::Finish => Output::Erase,
        };
        self.awaiting_journal = true;
        journal_call
    }

    /// Takes the result of an output.
    pub(crate) fn handle_input(&mut self, input: Input, now: Duration, budgets: &mut RetryBudgets) {
        self.now = now;
        match input {
            Input::Replied { host, action, reply, usage } => {
                self.replied(host, action, &reply, usage, budgets);
            }
            Input::Claimed(claimed) => self.claimed(claimed),
            Input::Recorded(recorded) => self.recorded(recorded),
            Input::Erased(erased) => self.erased(erased),
        }
    }

    /// Cancels the operation. A create that has begun is rolled back; its rollback goes on.
    pub(crate) fn cancel(&mut self, now: Duration) {
        self.now = now;
        self.cancelled = true;
        if self.outcome.is_some() {
            return;
        }
        match (self.phase, self.after_settle) {
            (Phase::Claim, _) | (Phase::Settle, AfterSettle::Operation) => self.not_before = now,
            (Phase::Settle, AfterSettle::Probe) => self.give_up(Cause::Cancelled),
            (Phase::Settle, AfterSettle::Commit) => {
                self.cause = Some(Cause::Cancelled);
                self.begin_removal();
            }
            _ if self.in_round() => {
                self.stop_cancelled();
                self.advance();
            }
            _ => {}
        }
    }

    #[cfg(test)]
    pub(crate) fn has_ended(&self) -> bool {
        self.outcome.is_some()
    }

    /// Whether a stopped phase waits for the replies to its requests in flight. Of these, one that was not sent changes
    /// nothing and is not retried, so it may be withdrawn.
    pub(crate) fn is_stopping(&self) -> bool {
        self.in_round() && self.stopping.is_some()
    }

    /// Whether the operation may still end without any change: its intent is not recorded yet.
    fn may_abort(&self) -> bool {
        self.phase == Phase::Intend && !self.awaiting_journal && self.abandoned.is_none() && self.outcome.is_none()
    }

    fn in_round(&self) -> bool {
        self.outcome.is_none() && matches!(self.phase, Phase::Probe | Phase::Create | Phase::RollBack | Phase::Delete)
    }

    /// Whether this pass is a create of our own, which is all or nothing. A repair and a recovery go forward only.
    fn creating(&self) -> bool {
        self.operation == Operation::Create && !self.recovering
    }

    /// Whether the time of the phase is the rollback timeout. With a deadline shorter than the settle time, no
    /// recovery would ever succeed.
    fn has_own_time(&self) -> bool {
        match self.phase {
            Phase::RollBack => self.recovering || R::rollback_has_own_time(),
            phase => phase == Phase::Delete && self.recovering,
        }
    }

    fn time_left(&self, at: Duration) -> bool {
        let end = if self.in_round() { self.phase_ends } else { self.deadline };
        end.is_none_or(|end| R::is_in_time(at, end))
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.emit(|_| EventKind::Entered { phase });
    }
}
