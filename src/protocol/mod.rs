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

mod narration;
mod round;
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
pub(crate) use self::rules::{Deletes, Evidence};
pub(crate) use self::rules::{Posts, Rules, Sound};
use self::track::{Stop, Track, Walk};
use crate::api::{Action, Api, Reading};
use crate::values::cause::JournalError;
use crate::values::event::{Event, Phase};
use crate::values::group::GroupId;
use crate::values::host::Host;
use crate::values::intent::{ClaimError, Intent, Purpose};
use crate::values::report::{Cause, Operation, Outcome, Report, State, Target};
use crate::values::retry::{Delays, RetryBudgets, RetryPolicy};

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
    Recorded(Result<(), JournalError>),
    Erased(Result<(), JournalError>),
    Replied { host: usize, action: Action, reading: Reading, elapsed: Duration },
}

/// How an operation ended, where no report of hosts tells it.
#[derive(Debug, Clone)]
pub(crate) enum Ending {
    Reported(Outcome),
    Unrecorded(JournalError),
    Busy(String),
    /// The unfinished operation that a repair may not replace.
    Conflict {
        unfinished: Box<Intent>,
        unnamed: Vec<Host>,
    },
    Journal(JournalError),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Claim,
    /// Waits for requests that may still take effect.
    Quiet(AfterQuiet),
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

/// What a wait for quiet comes before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AfterQuiet {
    /// What a dead owner has sent has taken effect, or never will.
    Probe,
    /// Every host has the group, and no POST of ours can make it again once it is deleted.
    Commit,
    /// The same for a repair to present, and its recovery.
    Forget,
    /// Every replica knows of what the recovery has changed, which the operation itself does not expect.
    Operation,
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
    /// The API in which the client speaks to them.
    cluster_api: Arc<Api>,
    /// The hosts of the current pass: those of the cluster, or of the intent that is recovered.
    hosts: Arc<[Host]>,
    /// The API of the current pass: that of the client, or of the intent that is recovered.
    api: Arc<Api>,
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
    /// A try was left out because it would not have begun in time.
    short_of_time: bool,
    /// No further request starts in this phase.
    stopping: Option<Stop>,
    cancelled: bool,
    not_before: Duration,
    claims: Delays,
    phase_ends: Option<Duration>,
    cause: Option<Cause>,
    /// The recovery that came before the operation itself.
    earlier: Option<Box<Report>>,
    notes: Vec<String>,
    recoverable: bool,
    /// What is recorded outlives the process.
    kept: bool,
    ending: Option<Ending>,
    random: fastrand::Rng,
    /// What to tell an observer; `None` where nobody listens.
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
        let claims = limits.retry.delays();
        let mut machine = Machine {
            operation,
            preflight,
            group,
            limits,
            hosts: Arc::from([]),
            cluster,
            api: Arc::clone(&api),
            cluster_api: api,
            tracks: Vec::new(),
            at: At::Claim,
            purpose: None,
            recovering: false,
            asked: false,
            ready: VecDeque::new(),
            waiting: BinaryHeap::new(),
            in_flight: 0,
            open: 0,
            short_of_time: false,
            stopping: None,
            cancelled: false,
            not_before: Duration::ZERO,
            claims,
            phase_ends: None,
            cause: None,
            earlier: None,
            notes: Vec::new(),
            recoverable: false,
            kept: true,
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
        let mut events = vec![started, entered];
        // A status has begun its round already.
        events.extend(self.in_round().then(|| self.participants()));
        self.events = Some(events);
    }

    /// Nothing that it has recorded can be recovered later.
    pub(crate) fn without_store(&mut self) {
        self.kept = false;
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

    /// The API in which they are asked.
    pub(crate) fn api(&self) -> &Arc<Api> {
        &self.api
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
            At::Claim | At::Quiet(_) if now < self.not_before => return Step::Wait(Some(self.not_before)),
            At::Quiet(next) => {
                self.after_quiet(next);
                return self.step(now);
            }
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
        match self.at {
            At::Claim | At::Quiet(AfterQuiet::Operation) => self.not_before = now,
            At::Quiet(AfterQuiet::Probe) => self.give_up(Cause::Cancelled),
            At::Quiet(AfterQuiet::Commit) => {
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

    /// How it ended; only after [`Step::Done`].
    pub(crate) fn into_ending(mut self) -> (Ending, Report) {
        let ending = self.ending.take().unwrap_or(Ending::Reported(Outcome::InDoubt));
        let report = self.report(&ending);
        (ending, report)
    }

    // --- before the first request

    fn claimed(&mut self, claimed: Result<Option<Intent>, ClaimError>) {
        self.asked = false;
        match claimed {
            Ok(None) => self.begin_operation(),
            Ok(Some(intent)) => {
                self.recoverable = true;
                if self.cancelled || !self.time_left(self.now) {
                    return self.turn_back_in_time();
                }
                self.begin_recovery(intent);
            }
            Err(ClaimError::Failed(error)) => self.end(Ending::Journal(error)),
            Err(ClaimError::Busy(_)) if self.cancelled => self.give_up(Cause::Cancelled),
            Err(ClaimError::Busy(holder)) => match self.claims.next(None, &mut self.random) {
                Some(delay) if self.time_left(self.now + delay) => {
                    self.not_before = self.now + delay;
                }
                _ => self.end(Ending::Busy(holder)),
            },
        }
    }

    /// Takes up what an earlier operation on the group left. A repair replaces it: it is how a person
    /// decides what recovery cannot.
    fn begin_recovery(&mut self, intent: Intent) {
        self.purpose = Some(intent.purpose);
        if matches!(self.operation, Operation::Repair(_)) {
            return self.begin_superseding(intent);
        }
        self.recovering = true;
        if R::speaks_intent_api() {
            self.api = Arc::new(intent.api);
        }
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
            Purpose::Present => self.begin_quiet(AfterQuiet::Probe, self.now + self.limits.settle),
        }
    }

    /// A repair takes the place of the older operation where it drives all its hosts, so that none is forgotten.
    fn begin_superseding(&mut self, intent: Intent) {
        let unnamed: Vec<Host> = intent.hosts.iter().filter(|host| !self.cluster.contains(host)).cloned().collect();
        if !R::may_override(unnamed.is_empty(), intent.api == *self.cluster_api) {
            return self.end(Ending::Conflict { unfinished: Box::new(intent), unnamed });
        }
        self.take_hosts(self.cluster.iter().chain(&unnamed).cloned().collect());
        for (host, track) in self.hosts.iter().zip(&mut self.tracks) {
            if intent.hosts.contains(host) {
                track.posts = R::inherited_posts();
            }
        }
        match self.operation {
            Operation::Repair(Target::Present) => {
                self.begin_quiet(AfterQuiet::Probe, self.now + self.limits.settle);
            }
            _ => self.begin_pass(),
        }
    }

    fn begin_operation(&mut self) {
        self.recovering = false;
        (self.purpose, self.cause) = (None, None);
        self.api = Arc::clone(&self.cluster_api);
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
        self.tracks = vec![Track::new(); hosts.len()];
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
        if self.cancelled {
            self.give_up(Cause::Cancelled);
        } else if !self.time_left(self.now) {
            self.give_up(Cause::TimedOut { host: None });
        }
    }

    fn give_up(&mut self, cause: Cause) {
        self.cause = Some(cause);
        self.end(Ending::Reported(Outcome::Unavailable));
    }

    fn intent(&self) -> Intent {
        let unsettled = |host: &usize| self.at == At::Intend || self.is_left(*host) || self.is_loud(*host);
        let hosts = (0..self.hosts.len()).filter(unsettled).map(|host| self.hosts[host].clone()).collect();
        Intent { group: self.group.clone(), purpose: self.own_purpose(), api: (*self.api).clone(), hosts }
    }

    fn own_purpose(&self) -> Purpose {
        match (self.recovering, self.purpose, self.operation) {
            (true, Some(inherited), _) => inherited,
            (_, _, Operation::Create) => Purpose::Create { was_absent: self.preflight },
            (_, _, Operation::Repair(Target::Present)) => Purpose::Present,
            _ => Purpose::Delete,
        }
    }

    fn recorded(&mut self, recorded: Result<(), JournalError>) {
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

    fn erased(&mut self, erased: Result<(), JournalError>) {
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

    fn note_failure(&mut self, result: Result<(), JournalError>, consequence: &str) {
        if let Err(error) = result {
            self.notes.push(format!("{error}; {consequence}"));
        }
    }

    // --- from phase to phase

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

    fn after_probe(&mut self) {
        let any = |state| self.tracks.iter().any(|track| track.state == state);
        let (present, unknown) = (any(State::Present), any(State::Unknown));
        match self.own_purpose() {
            _ if self.operation == Operation::Status && !self.recovering => {
                self.end(Ending::Reported(Outcome::Observed));
            }
            Purpose::Create { .. } if present => self.end(Ending::Reported(Outcome::AlreadyExists)),
            Purpose::Create { .. } if unknown || self.cancelled => {
                self.blame_unknown();
                self.end(Ending::Reported(Outcome::Unavailable));
            }
            // A recovery has its intent already. A repair that was given up has changed nothing, and whatever it saw,
            // an older intent may still say that the group is to go.
            Purpose::Present if self.recovering => self.begin_changes(),
            Purpose::Present if self.stopping.is_some() => self.end(Ending::Reported(Outcome::Unavailable)),
            _ => self.begin_intent(),
        }
    }

    fn after_create(&mut self) {
        let complete = self.tracks.iter().all(|track| R::may_commit(track.evidence()));
        if self.creating() && complete && self.stopping.is_none() {
            self.begin_quiet(AfterQuiet::Commit, self.quiet_from());
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
        if left {
            self.enter(At::Remember, Phase::Settle);
        } else {
            // Where hosts were to be without the group, each was looked at again when it was quiet.
            let quiet = if self.own_purpose() == Purpose::Present { self.quiet_from() } else { self.now };
            self.begin_quiet(AfterQuiet::Forget, quiet);
        }
    }

    /// From when on no POST of ours can take effect any more.
    fn quiet_from(&self) -> Duration {
        let loud = self.tracks.iter().filter_map(|track| track.loud_post).max();
        loud.filter(|_| R::ends_quiet()).map_or(self.now, |ended| ended + self.limits.settle)
    }

    /// From when on every replica knows of what this pass has changed.
    fn known_from(&self) -> Duration {
        let changed = self.tracks.iter().filter_map(|track| track.changed).max();
        changed.filter(|_| R::lets_replicas_catch_up()).map_or(self.now, |changed| changed + self.limits.settle)
    }

    fn is_loud(&self, host: usize) -> bool {
        self.tracks[host].loud_post.is_some_and(|ended| self.now < ended + self.limits.settle)
    }

    /// Waits until `quiet`. Like a rollback, the wait has time of its own beyond the operation's.
    fn begin_quiet(&mut self, next: AfterQuiet, quiet: Duration) {
        if quiet <= self.now {
            return self.after_quiet(next);
        }
        self.limits.deadline = self.limits.deadline.map(|end| end + quiet.saturating_sub(self.now));
        self.not_before = quiet;
        self.enter(At::Quiet(next), Phase::Settle);
    }

    fn after_quiet(&mut self, next: AfterQuiet) {
        match next {
            AfterQuiet::Probe => self.begin_round(At::Probe, |_| Some(Walk::Probe)),
            AfterQuiet::Commit => self.enter(At::Commit, Phase::Commit),
            AfterQuiet::Forget => self.enter(At::Forget, Phase::Settle),
            AfterQuiet::Operation => self.begin_operation(),
        }
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
                (false, _) => {
                    self.earlier = Some(Box::new(self.report(&Ending::Reported(Outcome::Recovered))));
                    self.begin_quiet(AfterQuiet::Operation, self.known_from());
                }
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

    /// A phase with retries of its own.
    fn rolling_back(&self) -> bool {
        self.at == At::Remove && matches!(self.own_purpose(), Purpose::Create { .. })
    }

    /// A removal with a time budget of its own: the client's may be shorter than the settle time, and then no
    /// recovery would ever end.
    fn has_own_time(&self) -> bool {
        self.at == At::Remove && (self.recovering || self.rolling_back())
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
}
