//! Floor 1: the protocol of PROTOCOL.md as one state machine, for live runs and recovery alike.
//!
//! ```text
//!              +--------- an unfinished intent is there --------+
//!              |                                                v
//!  Claim ------+-- create ---> Probe ---> Intend ---> Create    |
//!              |  (no preflight: .......>)              | \     |
//!              |                                all there  failed
//!              |                                        v    \  |
//!              |                                     Commit   v v
//!              +-- delete -----------> Intend ------------> Remove      (roll back, delete, recovery)
//!              |                                                |
//!              +-- repair to present: Probe, Intend, Create     v
//!              |                                             Settle     (none left: erase; else record what is)
//!  Probe <-----+-- status                                       |
//!    |                                                          v
//!    +------------------------------------------------------> Done      (or on to the operation itself)
//! ```
//!
//! There is no IO here, no clock, no thread and no randomness: `now` is the time since the operation
//! began and is handed in, jitter comes from a seed, and whoever drives the machine does what
//! [`Machine::step`] says and tells [`Machine::on`] what came of it. Steps may be done by many threads at
//! once, in any order.

mod rules;
#[cfg(test)]
mod tests;
mod track;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

#[cfg(test)]
pub(crate) use self::rules::Evidence;
pub(crate) use self::rules::{Posts, Rules, Sound};
use self::track::{Next, Then, Track, Walk};
use crate::api::{Action, Reading, Verdict};
use crate::cause::StoreError;
use crate::event::{Event, Phase};
use crate::group::GroupId;
use crate::host::Host;
use crate::intent::{ClaimError, Intent, Purpose};
use crate::report::{HostReport, HostStep, Operation, Outcome, Report, State, Target};
use crate::retry::{Delays, RetryBudget, RetryBudgets, RetryPolicy};

/// What bounds one operation. All times are above zero.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) retry: RetryPolicy,
    pub(crate) rollback_retry: RetryPolicy,
    pub(crate) request_timeout: Duration,
    /// For the operation itself; a rollback has time of its own.
    pub(crate) deadline: Option<Duration>,
    pub(crate) rollback_timeout: Duration,
    pub(crate) settle: Duration,
}

/// What the machine wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Take the group's lock and read its unfinished intent.
    Claim,
    /// Make this intent durable, in the place of an older one.
    Record(Intent),
    /// Remove the intent, durably.
    Erase,
    /// Send this to the host of that number in [`Machine::hosts`].
    Send { host: usize, action: Action, attempt: u32, timeout: Duration },
    /// Nothing before this time, or before the next event.
    Wait(Option<Duration>),
    /// The operation has ended.
    Done,
}

/// What came of a step.
#[derive(Debug, Clone)]
pub(crate) enum Fact {
    Claimed(Result<Option<Intent>, ClaimError>),
    Recorded(Result<(), StoreError>),
    Erased(Result<(), StoreError>),
    Replied { host: usize, action: Action, reading: Reading, elapsed: Duration },
}

/// How an operation ended, where no report of hosts tells it.
#[derive(Debug, Clone)]
pub(crate) enum Ending {
    Reported(Outcome),
    Unrecorded(StoreError),
    Busy(String),
    Journal(StoreError),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Claim,
    Probe,
    Intend,
    /// The intent could not be recorded; part of it may be there.
    Abandon,
    Create,
    Commit,
    Remove,
    /// Nothing is left: the intent goes.
    Forget,
    /// Something is left: the intent names it.
    Remember,
    Done,
}

/// One operation on one group.
#[derive(Debug)]
pub(crate) struct Machine<R = Sound> {
    operation: Operation,
    preflight: bool,
    group: GroupId,
    limits: Limits,
    /// Every host of the client.
    cluster: Arc<[Host]>,
    /// The hosts of the current pass: those of the cluster, or of the intent that is recovered.
    hosts: Arc<[Host]>,
    tracks: Vec<Track>,
    at: At,
    /// What the intent on disk is for, during a pass that has one.
    purpose: Option<Purpose>,
    /// The pass settles what an earlier operation left.
    recovering: bool,
    /// A step that is not a request was handed out.
    asked: bool,
    ready: VecDeque<usize>,
    waiting: BinaryHeap<Reverse<(Duration, usize)>>,
    in_flight: usize,
    /// Hosts that are not through with the phase.
    open: usize,
    /// No further request starts in this phase.
    stopping: Option<&'static str>,
    cancelled: bool,
    not_before: Duration,
    claims: Delays,
    phase_ends: Option<Duration>,
    cause: Option<String>,
    notes: Vec<String>,
    recoverable: bool,
    ending: Option<Ending>,
    random: fastrand::Rng,
    /// What to tell an observer; `None` where nobody listens.
    events: Option<Vec<Event>>,
    now: Duration,
    rules: PhantomData<R>,
}

const CANCELLED: &str = "the operation was cancelled";
const OUT_OF_TIME: &str = "the operation's time was over";
const ROLLBACK_OUT_OF_TIME: &str = "the rollback's time was over";
const FAILED_ELSEWHERE: &str = "the create had failed on another host";

impl Machine {
    pub(crate) fn new(
        operation: Operation,
        preflight: bool,
        group: GroupId,
        cluster: Arc<[Host]>,
        limits: Limits,
        seed: u64,
    ) -> Self {
        Machine::with_rules(operation, preflight, group, cluster, limits, seed)
    }
}

impl<R: Rules> Machine<R> {
    pub(crate) fn with_rules(
        operation: Operation,
        preflight: bool,
        group: GroupId,
        cluster: Arc<[Host]>,
        limits: Limits,
        seed: u64,
    ) -> Self {
        let claims = limits.retry.delays();
        let mut machine = Machine {
            operation,
            preflight,
            group,
            limits,
            hosts: Arc::from([]),
            cluster,
            tracks: Vec::new(),
            at: At::Claim,
            purpose: None,
            recovering: false,
            asked: false,
            ready: VecDeque::new(),
            waiting: BinaryHeap::new(),
            in_flight: 0,
            open: 0,
            stopping: None,
            cancelled: false,
            not_before: Duration::ZERO,
            claims,
            phase_ends: None,
            cause: None,
            notes: Vec::new(),
            recoverable: false,
            ending: None,
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

    /// From here on keeps what happens, for [`Machine::take_events`].
    pub(crate) fn narrate(&mut self) {
        let started = Event::Started { operation: self.operation, hosts: self.cluster.len() };
        let entered = Event::Entered(if self.at == At::Probe { Phase::Probe } else { Phase::Claim });
        self.events = Some(vec![started, entered]);
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

    /// How many requests could be sent at once.
    pub(crate) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Whether some host's next request waits for its time.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What to do now. Ask again after each event, and at the time of a [`Step::Wait`]; as long as it
    /// says [`Step::Send`], more may be done at the same time.
    pub(crate) fn step(&mut self, now: Duration) -> Step {
        self.now = now;
        if self.asked {
            return Step::Wait(None);
        }
        if self.at == At::Intend {
            self.turn_back_in_time();
        }
        match self.at {
            At::Claim if now < self.not_before => return Step::Wait(Some(self.not_before)),
            At::Probe | At::Create | At::Remove => return self.next_request(),
            At::Done => return Step::Done,
            At::Claim | At::Intend | At::Remember | At::Abandon | At::Commit | At::Forget => {}
        }
        self.asked = true;
        match self.at {
            At::Claim => Step::Claim,
            At::Intend | At::Remember => Step::Record(self.intent()),
            _ => Step::Erase,
        }
    }

    /// Takes in what came of a step.
    pub(crate) fn on(&mut self, fact: Fact, now: Duration, budgets: &mut RetryBudgets) {
        self.now = now;
        match fact {
            Fact::Replied { host, action, reading, elapsed } => {
                self.replied(host, action, &reading, elapsed, budgets);
            }
            Fact::Claimed(claimed) => self.claimed(claimed),
            Fact::Recorded(recorded) => self.recorded(recorded),
            Fact::Erased(erased) => self.erased(erased),
        }
    }

    /// Gives the operation up: a create that has begun is rolled back, a rollback goes on.
    pub(crate) fn cancel(&mut self, now: Duration) {
        self.now = now;
        self.cancelled = true;
        self.not_before = now;
        if self.in_round() {
            self.stop_cancelled();
            self.advance();
        }
    }

    /// How it ended; only after [`Step::Done`].
    pub(crate) fn into_ending(self) -> (Ending, Report) {
        let ending = self.ending.clone().unwrap_or(Ending::Reported(Outcome::InDoubt));
        let report = self.report(&ending);
        (ending, report)
    }

    // --- before the first request

    fn claimed(&mut self, claimed: Result<Option<Intent>, ClaimError>) {
        self.asked = false;
        match claimed {
            Ok(None) => self.begin_operation(),
            Ok(Some(intent)) => self.begin_recovery(intent),
            Err(ClaimError::Failed(error)) => self.end(Ending::Journal(error)),
            Err(ClaimError::Busy(holder)) => match self.claims.next(None, &mut self.random) {
                Some(delay) if !self.cancelled && self.time_left(self.now + delay) => {
                    self.not_before = self.now + delay;
                }
                _ => self.end(Ending::Busy(holder)),
            },
        }
    }

    /// Takes up what an earlier operation on the group left. A repair replaces it: it is how a person
    /// decides what recovery cannot.
    fn begin_recovery(&mut self, intent: Intent) {
        self.recoverable = true;
        self.purpose = Some(intent.purpose);
        if matches!(self.operation, Operation::Repair(_)) {
            return self.begin_superseding(&intent);
        }
        self.recovering = true;
        self.take_hosts(intent.hosts.into());
        match intent.purpose {
            Purpose::Create { was_absent } => {
                for track in &mut self.tracks {
                    track.posts = R::inherited_posts();
                    track.was_absent = was_absent;
                }
                self.begin_removal();
            }
            // It may have taken over an unfinished create, whose POSTs may still land.
            Purpose::Delete => {
                self.tracks.iter_mut().for_each(|track| track.posts = R::inherited_posts());
                self.begin_removal();
            }
            Purpose::Present => self.begin_round(At::Probe, |_| Some(Walk::Probe)),
        }
    }

    /// A repair drives the hosts of the older intent too, so that none is forgotten.
    fn begin_superseding(&mut self, intent: &Intent) {
        let missing = intent.hosts.iter().filter(|host| !self.cluster.contains(host));
        let cluster: Arc<[Host]> = self.cluster.iter().chain(missing).cloned().collect();
        self.take_hosts(cluster);
        for (host, track) in self.hosts.iter().zip(&mut self.tracks) {
            if intent.hosts.contains(host) {
                track.posts = R::inherited_posts();
            }
        }
        self.begin_pass();
    }

    fn begin_operation(&mut self) {
        self.recovering = false;
        self.purpose = None;
        if self.operation == Operation::Recover {
            return self.end(Ending::Reported(Outcome::Recovered));
        }
        self.take_hosts(Arc::clone(&self.cluster));
        self.begin_pass();
    }

    fn begin_pass(&mut self) {
        match self.operation {
            Operation::Create if !self.preflight => self.begin_intent(),
            Operation::Create | Operation::Status | Operation::Repair(Target::Present) => {
                self.begin_round(At::Probe, |_| Some(Walk::Probe));
            }
            Operation::Delete | Operation::Repair(Target::Absent) => self.begin_intent(),
            Operation::Recover => self.end(Ending::Reported(Outcome::Recovered)),
        }
    }

    fn take_hosts(&mut self, hosts: Arc<[Host]>) {
        self.tracks = vec![Track::new(&self.limits.retry); hosts.len()];
        self.hosts = hosts;
    }

    // --- the intent

    fn begin_intent(&mut self) {
        self.enter(At::Intend, Phase::Intend);
        if !R::must_intend() {
            self.recorded(Ok(()));
        }
    }

    /// Nothing was sent yet: an operation that is already given up leaves nothing to undo.
    fn turn_back_in_time(&mut self) {
        let late = !self.time_left(self.now);
        if self.cancelled || late {
            self.cause = Some(if self.cancelled { CANCELLED } else { OUT_OF_TIME }.into());
            self.end(Ending::Reported(Outcome::Unavailable));
        }
    }

    fn intent(&self) -> Intent {
        let unsettled = |host: &usize| self.at == At::Intend || self.is_left(*host);
        let hosts = (0..self.hosts.len()).filter(unsettled).map(|host| self.hosts[host].clone()).collect();
        Intent { group: self.group.clone(), purpose: self.own_purpose(), hosts }
    }

    fn own_purpose(&self) -> Purpose {
        match (self.recovering, self.purpose, self.operation) {
            (true, Some(inherited), _) => inherited,
            (_, _, Operation::Create) => Purpose::Create { was_absent: self.preflight },
            (_, _, Operation::Repair(Target::Present)) => Purpose::Present,
            _ => Purpose::Delete,
        }
    }

    fn recorded(&mut self, recorded: Result<(), StoreError>) {
        self.asked = false;
        match (self.at, recorded) {
            // An older intent that this one was to replace is not ours to erase.
            (At::Intend, Err(error)) if R::stops_unrecorded() && self.recoverable => {
                self.end(Ending::Journal(error));
            }
            (At::Intend, Err(error)) if R::stops_unrecorded() => {
                self.ending = Some(Ending::Journal(error));
                self.at = At::Abandon;
            }
            (At::Intend, _) => {
                self.recoverable = true;
                self.purpose = Some(self.own_purpose());
                self.begin_changes();
            }
            (_, recorded) => {
                self.recoverable = true;
                self.note_failure(recorded, "the older journal entry stays");
                self.settled(true);
            }
        }
    }

    fn erased(&mut self, erased: Result<(), StoreError>) {
        self.asked = false;
        match (self.at, erased) {
            (At::Commit, Err(error)) => {
                self.recoverable = true;
                if R::undoes_failed_commit() {
                    return self.begin_removal();
                }
                self.end(Ending::Unrecorded(error));
            }
            (At::Commit, Ok(())) => {
                self.recoverable = false;
                self.end(Ending::Reported(Outcome::Created));
            }
            (At::Abandon, erased) => {
                self.note_failure(erased, "a part of the journal entry may be left");
                let ending = self.ending.take();
                self.end(ending.unwrap_or(Ending::Reported(Outcome::InDoubt)));
            }
            (_, erased) => {
                self.recoverable = erased.is_err();
                self.note_failure(erased, "the settled journal entry stays");
                self.settled(false);
            }
        }
    }

    fn note_failure(&mut self, result: Result<(), StoreError>, consequence: &str) {
        if let Err(error) = result {
            self.notes.push(format!("{error}; {consequence}"));
        }
    }

    // --- rounds of requests

    fn begin_changes(&mut self) {
        match self.own_purpose() {
            Purpose::Delete => self.begin_removal(),
            Purpose::Create { .. } => self.begin_round(At::Create, |_| Some(Walk::Create)),
            Purpose::Present => {
                self.begin_round(At::Create, |track| (track.state != State::Present).then_some(Walk::Ensure));
            }
        }
    }

    /// Deletes what is ours, and looks at what may not be.
    fn begin_removal(&mut self) {
        let undo = matches!(self.own_purpose(), Purpose::Create { .. });
        self.begin_round(At::Remove, |track| {
            if !undo || R::may_undo(track.evidence()) {
                Some(Walk::Remove)
            } else if track.posts == Posts::default() && track.was_absent {
                // Nothing was sent, and the probe saw nothing.
                track.state = State::Absent;
                None
            } else {
                Some(Walk::Look)
            }
        });
    }

    fn begin_round(&mut self, at: At, walk: impl Fn(&mut Track) -> Option<Walk>) {
        let removing = at == At::Remove;
        self.enter(at, self.phase_of(at));
        let policy = if self.rolling_back() { self.limits.rollback_retry } else { self.limits.retry };
        self.phase_ends = match self.limits.deadline {
            _ if removing && self.rolling_back() => Some(self.now + self.limits.rollback_timeout),
            deadline => deadline,
        };
        self.stopping = None;
        self.ready.clear();
        self.waiting.clear();
        for (host, track) in self.tracks.iter_mut().enumerate() {
            track.action = None;
            if let Some(walk) = walk(track) {
                track.start(walk, &policy);
                self.ready.push_back(host);
            }
        }
        self.open = self.ready.len();
        if self.cancelled {
            self.stop_cancelled();
        }
        self.advance();
    }

    fn next_request(&mut self) -> Step {
        if self.stopping.is_none() && !self.time_left(self.now) {
            self.stop(if self.rolling_back() { ROLLBACK_OUT_OF_TIME } else { OUT_OF_TIME });
            self.advance();
            return self.step(self.now);
        }
        while let Some(Reverse((due, host))) = self.waiting.peek().copied() {
            if due > self.now {
                break;
            }
            self.waiting.pop();
            self.ready.push_back(host);
        }
        if let Some(host) = self.ready.pop_front() {
            self.in_flight += 1;
            let (action, attempt) = self.tracks[host].send(self.now);
            let left = self.phase_ends.map_or(Duration::MAX, |end| end.saturating_sub(self.now));
            return Step::Send { host, action, attempt, timeout: self.limits.request_timeout.min(left) };
        }
        let due = self.waiting.peek().map(|Reverse((due, _))| *due);
        Step::Wait(due.map(|due| self.phase_ends.map_or(due, |end| due.min(end))))
    }

    fn replied(
        &mut self,
        host: usize,
        action: Action,
        reading: &Reading,
        elapsed: Duration,
        budgets: &mut RetryBudgets,
    ) {
        self.in_flight -= 1;
        self.tracks[host].note(action, reading, self.now);
        self.tell_answer(host, action, reading, elapsed);
        let rolling_back = self.rolling_back();
        let budget = if rolling_back { &mut budgets.rollback } else { &mut budgets.forward };
        if matches!(reading.verdict, Verdict::Yes | Verdict::No) {
            budget.refund();
        }
        let next = self.tracks[host].after::<R>(action, reading);
        if let Some(reason) = self.stopping {
            self.finish_stopped(host, next, reason);
        } else {
            self.follow(host, action, reading, next, budget);
        }
        self.advance();
    }

    fn follow(&mut self, host: usize, action: Action, reading: &Reading, next: Next, budget: &mut RetryBudget) {
        let asked = reading.retry_after;
        if next.retry && self.try_again(host, action, asked, budget) {
            return;
        }
        match next.then {
            Then::Go(action) => self.turn_to(host, action, self.now),
            Then::Settle => self.turn_to(host, Action::Check, self.now + self.limits.settle),
            Then::Redo => {
                let delay = self.tracks[host].rounds.next(asked, &mut self.random);
                match delay.map(|delay| self.now + delay).filter(|due| self.time_left(*due) && budget.take()) {
                    Some(due) => self.turn_to(host, Action::Delete, due),
                    None => self.finish(host),
                }
            }
            Then::Finish => self.finish(host),
            Then::Fail => self.fail(host),
        }
    }

    fn try_again(&mut self, host: usize, action: Action, asked: Option<Duration>, budget: &mut RetryBudget) -> bool {
        let Some(delay) = self.tracks[host].tries.next(asked, &mut self.random) else { return false };
        let due = self.now + delay;
        if !self.time_left(due) || !budget.take() {
            return false;
        }
        let attempt = self.tracks[host].attempt + 1;
        self.waiting.push(Reverse((due, host)));
        self.tell(|machine| Event::Retrying { host: machine.hosts[host].clone(), action, attempt, delay });
        true
    }

    fn turn_to(&mut self, host: usize, action: Action, due: Duration) {
        let policy = if self.rolling_back() { self.limits.rollback_retry } else { self.limits.retry };
        self.tracks[host].turn_to(action, &policy);
        if due <= self.now {
            self.ready.push_front(host);
        } else {
            self.waiting.push(Reverse((due, host)));
        }
    }

    fn finish(&mut self, host: usize) {
        self.tracks[host].action = None;
        self.open = self.open.saturating_sub(1);
        self.tell(|machine| Event::Reached {
            host: machine.hosts[host].clone(),
            state: machine.tracks[host].state,
            reason: machine.reason(host),
        });
    }

    /// A host cannot get the group. A create turns back everywhere; a repair goes on elsewhere.
    fn fail(&mut self, host: usize) {
        self.finish(host);
        if self.creating() && self.cause.is_none() {
            // A POST that failed says more than the look after it, which only did not find the group.
            let steps = &self.tracks[host].steps;
            let failed = steps.iter().rev().find(|step| step.action == Action::Create && !step.succeeded);
            let why = failed.or(steps.last()).map(explain).unwrap_or_default();
            self.cause = Some(format!("{} {why}", self.hosts[host].authority()));
        }
        if self.creating() {
            self.stop(FAILED_ELSEWHERE);
        }
    }

    /// A reply came after the phase was stopped: it is noted, and nothing comes after it.
    fn finish_stopped(&mut self, host: usize, next: Next, reason: &'static str) {
        if next.then != Then::Finish || next.retry {
            self.tracks[host].given_up = Some(reason);
        }
        self.finish(host);
    }

    /// No further request starts; those in flight are waited for.
    fn stop(&mut self, reason: &'static str) {
        self.stopping = Some(reason);
        if self.cause.is_none() && reason != FAILED_ELSEWHERE {
            self.cause = Some(reason.into());
        }
        let waiting = std::mem::take(&mut self.waiting).into_iter().map(|Reverse((_, host))| host);
        for host in std::mem::take(&mut self.ready).into_iter().chain(waiting) {
            self.tracks[host].given_up = Some(reason);
            self.finish(host);
        }
    }

    /// A create is left only by its rollback; everything else can be taken up again later.
    fn stop_cancelled(&mut self) {
        if self.stopping.is_none() && (self.recovering || !self.rolling_back()) {
            self.stop(CANCELLED);
        }
    }

    /// Where the round is over, goes on to the next phase.
    fn advance(&mut self) {
        let replies_due = self.in_flight > 0 && (R::waits_for_replies() || self.stopping.is_none());
        if !self.in_round() || self.open > self.in_flight || replies_due {
            return;
        }
        match self.at {
            At::Probe => self.after_probe(),
            At::Create => self.after_create(),
            _ => self.after_removal(),
        }
    }

    fn after_probe(&mut self) {
        let any = |state| self.tracks.iter().any(|track| track.state == state);
        let (present, unknown) = (any(State::Present), any(State::Unknown));
        match self.own_purpose() {
            _ if self.operation == Operation::Status && !self.recovering => {
                self.end(Ending::Reported(Outcome::Observed))
            }
            Purpose::Create { .. } if present => self.end(Ending::Reported(Outcome::AlreadyExists)),
            Purpose::Create { .. } if unknown || self.cancelled => {
                self.blame_unknown();
                self.end(Ending::Reported(Outcome::Unavailable));
            }
            // A recovery has its intent already; a repair that was given up changes nothing.
            Purpose::Present if self.recovering => self.begin_changes(),
            Purpose::Present if self.stopping.is_some() => self.end(Ending::Reported(Outcome::Finished)),
            _ => self.begin_intent(),
        }
    }

    fn after_create(&mut self) {
        let complete = self.tracks.iter().all(|track| R::may_commit(track.evidence()));
        if self.creating() && complete && self.stopping.is_none() {
            self.enter(At::Commit, Phase::Commit);
        } else if self.creating() {
            self.begin_removal();
        } else {
            self.begin_settling();
        }
    }

    fn after_removal(&mut self) {
        self.begin_settling();
    }

    fn begin_settling(&mut self) {
        let left = (0..self.hosts.len()).any(|host| self.is_left(host));
        self.enter(if left { At::Remember } else { At::Forget }, Phase::Settle);
    }

    /// Whether the intent must still name this host.
    fn is_left(&self, host: usize) -> bool {
        let track = &self.tracks[host];
        match self.own_purpose() {
            Purpose::Present => track.state != State::Present,
            Purpose::Delete => !R::may_forget(track.state),
            Purpose::Create { .. } => (track.posts.created || track.posts.ambiguous) && !R::may_forget(track.state),
        }
    }

    /// The intent says what is left, or is gone: the pass is over.
    fn settled(&mut self, left: bool) {
        if self.recovering {
            match (left, self.operation) {
                (true, _) => self.end(Ending::Reported(Outcome::InDoubt)),
                (false, Operation::Recover) => self.end(Ending::Reported(Outcome::Recovered)),
                (false, _) => self.begin_operation(),
            }
            return;
        }
        let outcome = match self.operation {
            Operation::Create => self.judge_rollback(),
            _ => Outcome::Finished,
        };
        self.end(Ending::Reported(outcome));
    }

    fn judge_rollback(&self) -> Outcome {
        let left = (0..self.hosts.len()).any(|host| self.is_left(host));
        let unknown = self.tracks.iter().any(|track| track.state == State::Unknown);
        if self.tracks.iter().all(|track| R::counts_as_absent(track.state)) {
            Outcome::RolledBack
        } else if left || unknown {
            Outcome::InDoubt
        } else {
            // What is there refused our POST: somebody else's group.
            Outcome::AlreadyExists
        }
    }

    // --- facts about the moment

    fn in_round(&self) -> bool {
        matches!(self.at, At::Probe | At::Create | At::Remove)
    }

    /// A create of our own, which is all or nothing; a repair or recovery goes forward only.
    fn creating(&self) -> bool {
        self.operation == Operation::Create && !self.recovering
    }

    /// A phase with a time budget and retries of its own.
    fn rolling_back(&self) -> bool {
        self.at == At::Remove && matches!(self.own_purpose(), Purpose::Create { .. })
    }

    fn time_left(&self, at: Duration) -> bool {
        let end = if self.in_round() { self.phase_ends } else { self.limits.deadline };
        end.is_none_or(|end| R::is_in_time(at, end))
    }

    fn phase_of(&self, at: At) -> Phase {
        match at {
            At::Create => Phase::Create,
            At::Remove if matches!(self.own_purpose(), Purpose::Create { .. }) => Phase::RollBack,
            At::Remove => Phase::Delete,
            _ => Phase::Probe,
        }
    }

    fn enter(&mut self, at: At, phase: Phase) {
        self.at = at;
        self.tell(|_| Event::Entered(phase));
    }

    // --- what is told

    fn end(&mut self, ending: Ending) {
        self.at = At::Done;
        if self.events.is_some() {
            let report = self.report(&ending);
            let (outcome, summary) = (report.outcome, report.summary());
            self.tell(|machine| Event::Finished { outcome, summary, elapsed: machine.now });
        }
        self.ending = Some(ending);
    }

    fn tell(&mut self, event: impl FnOnce(&Self) -> Event) {
        if self.events.is_some() {
            let event = event(self);
            self.events.get_or_insert_default().push(event);
        }
    }

    fn tell_answer(&mut self, host: usize, action: Action, reading: &Reading, elapsed: Duration) {
        self.tell(|machine| Event::Answered {
            host: machine.hosts[host].clone(),
            action,
            attempt: machine.tracks[host].attempt,
            succeeded: reading.verdict == Verdict::Yes,
            answer: reading.describe(),
            elapsed,
        });
    }

    fn blame_unknown(&mut self) {
        if self.cause.is_none() {
            let unknown = self.tracks.iter().position(|track| track.state == State::Unknown);
            self.cause = unknown.map(|host| {
                let why = self.tracks[host].steps.last().map(explain).unwrap_or_default();
                format!("{} {why}", self.hosts[host].authority())
            });
        }
    }

    /// Why a host's state is unknown, or not the wanted one.
    fn reason(&self, host: usize) -> Option<String> {
        let track = &self.tracks[host];
        let last = |actions: &[Action]| track.steps.iter().rev().find(|step| actions.contains(&step.action));
        match track.state {
            State::Unknown => {
                let why = track.steps.last().map(explain);
                let given_up = track.given_up.map(str::to_owned);
                Some(match (why, given_up) {
                    (Some(why), Some(given_up)) => format!("{why}; {given_up}"),
                    (Some(why), None) => why,
                    (None, given_up) => given_up.unwrap_or_else(|| "it was not asked".into()),
                })
            }
            State::Present => last(&[Action::Delete]).filter(|step| !step.succeeded).map(explain),
            State::Absent => last(&[Action::Create]).filter(|step| !step.succeeded).map(explain),
        }
    }

    fn report(&self, ending: &Ending) -> Report {
        let outcome = match ending {
            Ending::Reported(outcome) => *outcome,
            Ending::Unrecorded(_) => Outcome::Unrecorded,
            Ending::Busy(_) | Ending::Journal(_) => Outcome::Unavailable,
        };
        let hosts = (0..self.tracks.len()).map(|host| HostReport {
            host: self.hosts[host].clone(),
            state: self.tracks[host].state,
            steps: self.tracks[host].steps.clone(),
            reason: self.reason(host),
        });
        Report {
            group: self.group.clone(),
            operation: if self.recovering { Operation::Recover } else { self.operation },
            outcome,
            hosts: hosts.collect(),
            cause: self.cause.clone(),
            recoverable: self.recoverable,
            notes: self.notes.clone(),
            elapsed: self.now,
        }
    }
}

/// `answered 503 to create, 3 tries`: one step in words.
fn explain(step: &HostStep) -> String {
    let reason = match (step.status, &step.error, step.succeeded) {
        (_, _, true) => format!("{} succeeded", step.action),
        (Some(status), _, _) => format!("answered {status} to {}", step.action),
        (None, Some(error), _) => format!("{error}"),
        (None, None, _) => format!("did not answer to {}", step.action),
    };
    if step.attempts > 1 { format!("{reason}, {} tries", step.attempts) } else { reason }
}
