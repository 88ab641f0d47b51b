//! The invariants of `docs/protocol.md`, checked against the true state of the world. The text of a violation stands
//! in the trace of the failure.

use std::time::Duration;

use super::driver::{OPERATION_TIMEOUT, TRIES};
use super::lease::Lease;
use super::world::{Owner, SETTLE, TIMEOUT, World};
use crate::protocol::Limits;
use crate::values::action::Action;
use crate::values::api::Api;
use crate::values::classification::{Classification, ClassifiedReply};
use crate::values::host::Host;
use crate::values::intent::{Intent, Purpose};
use crate::values::outcome::Outcome;
use crate::values::report::{HostReport, Operation, Report, State, Target};
use std::sync::Arc;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Invariant {
    I1,
    I2,
    I3,
    I4,
    I5,
    I6,
    I7,
    I8,
    I9,
    I10,
    I11,
    I12,
    I13,
}

impl Invariant {
    pub(super) const ALL: [Invariant; 13] = {
        use Invariant::{I1, I2, I3, I4, I5, I6, I7, I8, I9, I10, I11, I12, I13};
        [I1, I2, I3, I4, I5, I6, I7, I8, I9, I10, I11, I12, I13]
    };
}

/// The violations of a run, and its trace if one is kept.
#[derive(Debug, Default)]
pub(super) struct Violations {
    pub(super) found: Vec<(Invariant, &'static str)>,
    pub(super) trace: Option<Vec<String>>,
}

/// The requests to one host in the current pass, and their replies.
#[derive(Debug, Default, Clone)]
pub(super) struct HostLog {
    /// Number of POSTs that were sent and have ended.
    pub(super) posts: u32,
    /// Number of tries of POST and of DELETE, sent or not.
    tried: [u32; 2],
    /// Time of the last 201.
    created: Option<Duration>,
    /// Time of the last 200 or 204 to a DELETE since that 201.
    confirmed: Option<Duration>,
    /// The last DELETE was refused: its status is none of 200, 204, 404 and 400.
    refused: bool,
    /// End of the last ambiguous DELETE.
    delete_unclear: Option<Duration>,
    first_post_refused: bool,
    /// Number of the step at which the last POST ended.
    post_ended: u32,
    /// Number of GETs.
    looks: u32,
    /// End of the last ambiguous POST or DELETE.
    unclear_ended: Option<Duration>,
    /// Number of the step at which the last POST or DELETE ended.
    write_ended: u32,
    /// Result of the last GET answered 200 or 404, with its number and time of sending.
    seen: Option<(State, u32, Duration)>,
}

/// The current pass of the current machine: the recovery of an older intent, or the operation itself.
#[derive(Debug, Default)]
pub(super) struct Pass {
    pub(super) number: u32,
    pub(super) machine: u32,
    /// Bit set of the hosts that the caller has named.
    caller: u32,
    operation: Option<Operation>,
    preflight: bool,
    /// Purpose of the intent that this pass recovers.
    recovers: Option<Purpose>,
    /// The machine was told that an intent is durable.
    recorded: bool,
    writes: u32,
    deletes: u32,
    /// The machine was told what is unfinished.
    claimed: bool,
    commit_asked: bool,
    /// The recovery before this operation has made or removed a group.
    changed_earlier: bool,
    /// A request of this machine has made or removed a group.
    pub(super) changed: bool,
    started: Duration,
    /// The API that the operation is configured with.
    api: Arc<Api>,
    pub(super) has_credentials: bool,
    /// An older operation was recovered before this one.
    recovered: bool,
    /// The process was stalled since the last reply to a POST.
    pub(super) stalled: bool,
}

impl Pass {
    pub(super) fn undoes(&self) -> bool {
        match self.recovers {
            Some(purpose) => matches!(purpose, Purpose::Create { .. }),
            None => self.operation == Some(Operation::Create),
        }
    }

    /// A create without preflight.
    pub(super) fn blind(&self) -> bool {
        self.operation == Some(Operation::Create) && !self.preflight
    }

    /// Whether this pass rolls back a create without preflight.
    fn undoes_blindly(&self) -> bool {
        self.recovers.map_or(self.blind(), |purpose| purpose == Purpose::Create { was_absent: false })
    }

    fn creates(&self) -> bool {
        self.recovers.is_none() && self.operation == Some(Operation::Create)
    }
}

impl World {
    pub(super) fn violation(&mut self, invariant: Invariant, what: &'static str) {
        self.trace(|_| format!("*** {invariant:?} {what}"));
        self.violations.found.push((invariant, what));
    }

    fn demand(&mut self, holds: bool, invariant: Invariant, otherwise: &'static str) {
        if !holds {
            self.violation(invariant, otherwise);
        }
    }

    // --- passes

    pub(super) fn begin(&mut self, operation: Operation, preflight: bool, cluster: &[Host], api: &Arc<Api>) {
        self.trace(|_| format!("=== {operation:?}{}", if preflight { "" } else { ", no preflight" }));
        let started = self.now;
        let operation = Some(operation);
        let named = |(at, name): (usize, &Host)| u32::from(cluster.contains(name)) << at;
        let caller = self.names.iter().enumerate().map(named).sum();
        self.last = (self.last.0 + 1, self.last.1 + 1);
        let (number, machine) = self.last;
        self.lease = Lease::default();
        let api = Arc::clone(api);
        self.pass = Pass { number, machine, caller, operation, preflight, started, api, ..Pass::default() };
        if self.intent.is_none() {
            self.catch_up();
        }
        self.clear_logs();
    }

    pub(super) fn inherit(&mut self, intent: Option<&Intent>) {
        self.pass.claimed = true;
        if !matches!(self.pass.operation, Some(Operation::Repair(_))) {
            self.pass.recovers = intent.map(|intent| intent.purpose);
            self.pass.recorded = intent.is_some();
        }
    }

    pub(super) fn acknowledge_record(&mut self, ok: bool) {
        self.pass.recorded |= ok;
    }

    /// Begins the pass of the operation itself, after the recovered intent was erased.
    pub(super) fn acknowledge_erase(&mut self) {
        if self.pass.operation != Some(Operation::Recover) && self.pass.recovers.take().is_some() {
            self.last.0 += 1;
            self.pass.number = self.last.0;
            self.pass.recovered = true;
            self.pass.changed_earlier = self.pass.changed;
            (self.pass.recorded, self.pass.writes, self.pass.deletes) = (false, 0, 0);
            self.clear_logs();
        }
    }

    fn clear_logs(&mut self) {
        for node in &mut self.nodes {
            node.log = HostLog::default();
        }
    }

    // --- requests

    /// Whether the API is the one that the current pass must use. The hosts serve no other in this pass.
    pub(super) fn is_understood(&self, api: &Arc<Api>) -> bool {
        let unfinished = self.intent.as_ref().filter(|_| self.pass.recovers.is_some());
        match unfinished {
            Some(intent) => api.is(&intent.api),
            None => Arc::ptr_eq(api, &self.pass.api) || **api == *self.pass.api,
        }
    }

    pub(super) fn check_send(&mut self, host: usize, action: Action, timeout: Duration, understood: bool) {
        self.demand(understood, Invariant::I12, "a recovery asked in another API than that of the intent");
        self.demand(!timeout.is_zero(), Invariant::I7, "a request was sent when its time was over");
        let held = action == Action::Check || self.lease.holds_until.is_none_or(|until| self.now + timeout <= until);
        self.demand(held, Invariant::I13, "a change was sent that may outlast the claim");
        let bounded = self.pass.recovers.is_none()
            && !self.pass.recovered
            && match self.pass.operation {
                Some(Operation::Status | Operation::Delete) => true,
                Some(Operation::Create) => action == Action::Create,
                _ => false,
            };
        let in_time = !bounded || self.now + timeout <= self.pass.started + OPERATION_TIMEOUT;
        self.demand(in_time, Invariant::I7, "a request may outlast the time of its operation");
        let busy = self.in_flight.iter().find(|request| request.host == host).map(|request| request.action);
        match (busy, action) {
            (Some(Action::Create), Action::Delete) => {
                self.violation(Invariant::I9, "a DELETE was sent while a POST is in flight");
            }
            (Some(_), _) => self.violation(Invariant::I10, "two requests at once to one host"),
            (None, _) => {}
        }
        if action == Action::Check {
            // GETs are sent in each phase, after each DELETE, and after each settle time.
            self.nodes[host].log.looks += 1;
            let within = self.nodes[host].log.looks <= 2 * TRIES + 4 * TRIES;
            self.demand(within, Invariant::I7, "a host is checked without end");
        } else {
            self.check_write(host, action);
        }
    }

    fn check_write(&mut self, host: usize, action: Action) {
        let named = self.named(host);
        self.demand(self.pass.recorded && named, Invariant::I4, "a change was sent without a durable intent");
        let recovers = self.pass.recovers.is_some();
        let meant = recovers || self.pass.caller >> host & 1 == 1;
        self.demand(meant, Invariant::I12, "a host is changed that neither the intent nor the caller names");
        self.pass.writes += 1;
        let tried = &mut self.nodes[host].log.tried[usize::from(action == Action::Delete)];
        *tried += 1;
        let within = *tried <= TRIES;
        self.demand(within, Invariant::I7, "a host was asked more often than the policy says");
        let failed = self.pass.creates() && self.nodes.iter().any(|node| node.log.first_post_refused);
        let late = failed && action == Action::Create;
        self.demand(!late, Invariant::I2, "a POST was sent after a definite failure");
        if action == Action::Delete {
            self.pass.deletes += 1;
            self.demand(!self.pass.commit_asked, Invariant::I5, "a DELETE was sent after the commit");
            let unproven = self.pass.undoes_blindly() && self.nodes[host].log.created.is_none();
            self.demand(!unproven, Invariant::I3, "a DELETE without preflight, and no POST was answered 201");
        }
    }

    pub(super) fn log_answer(
        &mut self,
        host: usize,
        action: Action,
        reply: &ClassifiedReply,
        sent: Duration,
        sequence: u32,
    ) {
        let (now, ended) = (self.now, self.tick());
        self.pass.stalled &= action != Action::Create;
        let log = &mut self.nodes[host].log;
        if action != Action::Check && reply.is_ambiguous() {
            log.unclear_ended = Some(now);
            log.delete_unclear = if action == Action::Delete { Some(now) } else { log.delete_unclear };
        }
        match (action, reply.classification) {
            (Action::Create | Action::Delete, Classification::NotSent) => {}
            (Action::Create, classification) => {
                log.first_post_refused |= log.posts == 0 && classification == Classification::Denied;
                log.posts += 1;
                (log.post_ended, log.write_ended) = (ended, ended);
                if classification == Classification::Confirmed {
                    (log.created, log.confirmed) = (Some(now), None);
                }
            }
            (Action::Delete, classification) => {
                log.write_ended = ended;
                log.confirmed = if classification == Classification::Confirmed { Some(now) } else { log.confirmed };
                log.refused = classification == Classification::Ambiguous && reply.status.is_some();
            }
            (Action::Check, Classification::Confirmed) => log.seen = Some((State::Present, sequence, sent)),
            (Action::Check, Classification::Denied) => log.seen = Some((State::Absent, sequence, sent)),
            // The time of the phase bounds these checks, not a number.
            (Action::Check, Classification::Changing) => log.looks -= 1,
            (Action::Check, _) => {}
        }
    }

    /// Called before a DELETE of ours removes a group.
    pub(super) fn check_removal(&mut self, host: usize, undo: bool) {
        let node = &self.nodes[host];
        let foreign = matches!(node.group, Some(Owner::Foreign { kept: true } | Owner::Settled));
        self.demand(!(undo && foreign), Invariant::I3, "a rollback removed a group that is not ours");
    }

    // --- the intent

    fn named(&self, host: usize) -> bool {
        self.intent.as_ref().is_some_and(|intent| intent.hosts.contains(&self.names[host]))
    }

    fn pending_post(&self, host: usize) -> bool {
        self.late.iter().any(|late| late.host == host && late.action == Action::Create)
    }

    /// Whether the intent of an unfinished operation with that purpose need not name the host.
    fn is_settled(&self, host: usize, purpose: Purpose) -> bool {
        let node = &self.nodes[host];
        match purpose {
            Purpose::Create { .. } => node.group != Some(Owner::Ours) && !self.pending_post(host),
            Purpose::Delete => node.group.is_none() && !self.pending_post(host),
            Purpose::Present => node.group.is_some(),
        }
    }

    /// Marks the group on the host as acknowledged: no later rollback may delete it.
    fn settle_present(&mut self, host: usize) {
        if self.nodes[host].group == Some(Owner::Ours) {
            self.nodes[host].group = Some(Owner::Settled);
        }
        self.nodes[host].made_in = self.pass.number;
    }

    /// Checks an intent that replaces another. It may leave out only settled hosts.
    pub(super) fn check_record(&mut self, new: &Intent) {
        let repaired = self.intent.as_ref().is_some_and(|old| old.purpose == Purpose::Present)
            && (0..self.nodes.len()).all(|host| self.is_settled(host, Purpose::Present));
        if repaired && new.purpose != Purpose::Present {
            // The repair was complete, and only the erasure of its intent had failed.
            (0..self.nodes.len()).for_each(|host| self.settle_present(host));
        }
        if self.pass.writes == 0 && new.hosts.len() == self.names.len() {
            return;
        }
        for host in 0..self.nodes.len() {
            if new.hosts.contains(&self.names[host]) {
                continue;
            }
            if let Some(old) = self.intent.as_ref().filter(|_| self.named(host)).map(|old| old.purpose) {
                self.demand(self.is_settled(host, old), Invariant::I6, "the intent forgot an unsettled host");
            }
            if new.purpose == Purpose::Present {
                self.settle_present(host);
            }
        }
    }

    /// Called when the machine decides to record or erase.
    pub(super) fn check_held(&mut self) {
        let held = !self.has_claim_ended();
        self.demand(held, Invariant::I13, "the journal was to be changed after the claim had ended");
    }

    pub(super) fn check_erase(&mut self) {
        let seen = self
            .nodes
            .iter()
            .all(|node| node.log.posts > 0 && node.log.seen.is_some_and(|(state, ..)| state == State::Present));
        self.pass.commit_asked |= self.pass.creates() && self.pass.deletes == 0 && seen;
    }

    /// Checks that the purpose of the erased intent is fulfilled on every host.
    pub(super) fn check_erased(&mut self) {
        let Some(purpose) = self.intent.as_ref().map(|intent| intent.purpose) else { return };
        if self.pass.writes == 0 && !self.pass.recorded {
            // The operation ended before it sent a request. `check_nothing_lost` detects the loss of an older intent.
            return;
        }
        let commit = self.pass.commit_asked || purpose == Purpose::Present;
        for host in 0..self.nodes.len() {
            if commit {
                let there = self.nodes[host].group.is_some();
                let invariant = if purpose == Purpose::Present { Invariant::I6 } else { Invariant::I1 };
                self.demand(there, invariant, "committed without the group on every host");
                self.settle_present(host);
            } else {
                let settled = self.is_settled(host, purpose);
                self.demand(settled, Invariant::I6, "the intent went while a host is not settled");
            }
        }
    }

    // --- time

    pub(super) fn check_wait(&mut self, until: Option<Duration>, bound: Duration) {
        let Some(until) = until else {
            let stuck = self.in_flight.is_empty();
            return self.demand(!stuck, Invariant::I7, "waits for nothing");
        };
        self.demand(until > self.now, Invariant::I7, "a wait for the past");
        self.demand(until <= self.pass.started + bound, Invariant::I7, "a wait beyond every bound");
    }

    pub(super) fn check_duration(&mut self, since: Duration, bound: Duration) {
        let in_time = self.now <= since + bound;
        self.demand(in_time, Invariant::I7, "took longer than its bound");
    }

    // --- the end of a machine

    /// Checks that an intent names each host that is not settled, after the machine has ended or crashed.
    pub(super) fn check_nothing_lost(&mut self) {
        for host in 0..self.nodes.len() {
            let unsettled = self.nodes[host].group == Some(Owner::Ours) || self.pending_post(host);
            let lost = unsettled && !self.named(host);
            self.demand(!lost, Invariant::I6, "a host has, or will have, a group that no intent names");
        }
        self.forget_refusals();
    }

    /// Another coordinator does not know the refusal of a POST: it was known to the machine only.
    pub(super) fn forget_refusals(&mut self) {
        for host in 0..self.nodes.len() {
            let blind = matches!(
                self.intent.as_ref().map(|intent| intent.purpose),
                Some(Purpose::Create { was_absent: false })
            );
            if self.named(host) && !blind && matches!(self.nodes[host].group, Some(Owner::Foreign { .. })) {
                self.nodes[host].group = Some(Owner::Foreign { kept: false });
            }
        }
    }

    pub(super) fn check_report(&mut self, report: &Report) {
        let outcome = report.outcome;
        self.trace(|world| {
            let text = format!("ends: {outcome}; {}", report.summary());
            if world.intent.is_some() { text + "; an intent stays" } else { text }
        });
        self.check_hosts(report);
        if self.lease.is_superseded {
            return self.check_superseded(report);
        }
        match outcome {
            Outcome::Created => self.check_created(),
            Outcome::Unrecorded => self.check_all(report, State::Present, Invariant::I5),
            Outcome::AlreadyExists => {
                let pass = self.pass.number;
                let ours = self.nodes.iter().any(|node| node.group == Some(Owner::Ours) && node.made_in == pass);
                let shown = report.present().next().is_some();
                self.demand(!ours, Invariant::I2, "a group of ours is left beside a foreign group");
                self.demand(shown, Invariant::I8, "already exists, but on no host that was seen with it");
            }
            Outcome::RolledBack => self.check_rolled_back(report),
            Outcome::Cancelled | Outcome::TimedOut if report.was_rolled_back() => self.check_rolled_back(report),
            Outcome::Cancelled
            | Outcome::TimedOut
            | Outcome::Unavailable
            | Outcome::Busy
            | Outcome::Conflict
            | Outcome::JournalFailed => {
                self.demand(self.pass.writes == 0, Invariant::I8, "says that nothing was sent, but it was");
            }
            Outcome::Deleted | Outcome::Repaired => self.check_finished(report),
            Outcome::Incomplete | Outcome::InDoubt => {
                if matches!(report.operation, Operation::Delete | Operation::Repair(_)) {
                    self.check_finished(report);
                }
            }
            Outcome::Observed => self.check_status(report),
            Outcome::Recovered => {
                let told = self.intent.is_none() || report.recoverable;
                self.demand(told, Invariant::I6, "says that all is settled, but an intent stays");
            }
            Outcome::Forgotten | Outcome::Refused => self.violation(Invariant::I8, "no operation ends so"),
        }
        self.check_rollback_was_tried(outcome);
        self.check_quiet(outcome);
        self.check_earlier(report);
        let ran = !matches!(outcome, Outcome::Busy | Outcome::Conflict | Outcome::JournalFailed);
        let silent = ran && self.intent.is_some() && !report.recoverable && self.pass.claimed;
        self.demand(!silent, Invariant::I8, "an intent stays and the report does not say so");
    }

    /// Checks the report of an operation during which another coordinator has worked on the group. It says nothing that
    /// the other may have made untrue.
    fn check_superseded(&mut self, report: &Report) {
        let untouched = self.pass.writes == 0;
        let modest = match report.outcome {
            Outcome::InDoubt => true,
            Outcome::Unavailable
            | Outcome::AlreadyExists
            | Outcome::Cancelled
            | Outcome::TimedOut
            | Outcome::JournalFailed => untouched,
            _ => false,
        };
        self.demand(modest, Invariant::I13, "an operation ended well after its claim was lost");
        self.check_earlier(report);
    }

    /// Checks that a rollback sent DELETE to each host that answered 201. Its time is its own, and only a stall can
    /// use it up before the first DELETE.
    fn check_rollback_was_tried(&mut self, outcome: Outcome) {
        let committed = matches!(outcome, Outcome::Created | Outcome::Unrecorded);
        if !self.pass.creates() || self.pass.stalled || committed || self.has_claim_ended() {
            return;
        }
        let tried = |log: &HostLog| log.created.is_none() || log.tried[1] > 0;
        let all_tried = self.nodes.iter().all(|node| tried(&node.log));
        self.demand(all_tried, Invariant::I2, "a rollback was cut short before its first DELETE");
    }

    /// I11: after an end that is not in doubt, no request of the operation can take effect.
    fn check_quiet(&mut self, outcome: Outcome) {
        let doubtful = match outcome {
            Outcome::InDoubt => true,
            Outcome::Incomplete | Outcome::Deleted | Outcome::Repaired => self.intent.is_some(),
            _ => false,
        };
        let may_land = self.late.iter().any(|late| late.machine == self.pass.machine);
        self.demand(doubtful || !may_land, Invariant::I11, "ended, but a request of it can still take effect");
    }

    /// I8: the report contains the changes of the recovery of an older operation.
    fn check_earlier(&mut self, report: &Report) {
        let silent = self.pass.changed_earlier && !report.earlier_changed() && report.operation != Operation::Recover;
        self.demand(!silent, Invariant::I8, "an older operation was settled and the report does not say so");
    }

    /// Checks that each host is reported once, in a state that a GET has shown after the last change.
    fn check_hosts(&mut self, report: &Report) {
        for (at, host) in report.hosts.iter().enumerate() {
            let twice = report.hosts[..at].iter().any(|other| other.host == host.host);
            self.demand(!twice, Invariant::I8, "a host is reported twice");
            let log = &self.nodes[self.node_of(&host.host)].log;
            let shown = log.seen.is_some_and(|(state, sent, _)| state == host.state && sent > log.write_ended);
            let honest = shown || host.state == State::Unknown;
            let doubts = match host.state {
                State::Present => [log.confirmed, log.delete_unclear],
                State::Absent => [log.created.filter(|_| log.confirmed.is_none()), log.unclear_ended],
                State::Unknown => [None, None],
            };
            let early = |(_, _, at): (State, u32, Duration)| doubts.iter().flatten().any(|since| at < *since + SETTLE);
            let hasty = log.seen.is_some_and(early);
            let what = match host.state {
                State::Present => "a lagging read after a DELETE was believed",
                _ => "a lagging read after a POST was believed, or one before a lost request landed",
            };
            self.demand(honest, Invariant::I8, "a state is reported that no GET has shown");
            self.demand(!hasty, Invariant::I8, what);
        }
    }

    fn check_all(&mut self, report: &Report, state: State, invariant: Invariant) {
        self.demand(
            report.all(state) && report.hosts.len() == self.names.len(),
            invariant,
            "the outcome is not that of its hosts",
        );
    }

    fn check_created(&mut self) {
        self.demand(self.intent.is_none(), Invariant::I1, "created, but the intent is there");
        self.demand(self.pass.deletes == 0, Invariant::I1, "created, but a DELETE was sent");
        for host in 0..self.nodes.len() {
            let log = &self.nodes[host].log;
            let posted = log.posts > 0;
            let refused = log.first_post_refused;
            let seen = log.seen.is_some_and(|(state, sent, _)| state == State::Present && sent > log.post_ended);
            let there = self.nodes[host].group.is_some();
            self.demand(posted, Invariant::I1, "created, but no POST was sent to a host");
            self.demand(seen, Invariant::I1, "created, but no GET has shown the group");
            self.demand(there, Invariant::I1, "created, but a host does not have the group");
            self.demand(!refused, Invariant::I3, "created, but a host had refused the first POST");
        }
    }

    fn check_rolled_back(&mut self, report: &Report) {
        self.check_all(report, State::Absent, Invariant::I8);
        for host in 0..self.nodes.len() {
            let node = &self.nodes[host];
            let log = &node.log;
            let absent = |sent: u32, at: Duration| {
                let settled = [log.unclear_ended, log.created.filter(|_| log.confirmed.is_none())];
                sent > log.post_ended && settled.into_iter().flatten().all(|since| at >= since + SETTLE)
            };
            let refused = log.created.is_some() && log.refused;
            let seen = node.log.seen.is_some_and(|(state, sent, at)| state == State::Absent && absent(sent, at));
            let there = node.group == Some(Owner::Ours);
            let pending = self.pending_post(host);
            self.demand(!refused, Invariant::I2, "rolled back, but a host has refused its DELETE");
            self.demand(seen, Invariant::I2, "rolled back, but not seen absent after the last POST settled");
            self.demand(!there, Invariant::I2, "rolled back, but a host has the group");
            self.demand(!pending, Invariant::I2, "rolled back, but a POST will still land");
        }
    }

    fn check_finished(&mut self, report: &Report) {
        let wanted = match self.pass.operation {
            Some(Operation::Repair(Target::Present)) => State::Present,
            _ => State::Absent,
        };
        let undone = |host: &&HostReport| host.state != wanted;
        let hosts: Vec<usize> = report.hosts.iter().filter(undone).map(|host| self.node_of(&host.host)).collect();
        for host in hosts {
            let lost = self.pass.writes > 0 && !self.named(host);
            self.demand(!lost, Invariant::I6, "finished, and an unsettled host is in no intent");
        }
        for host in 0..self.nodes.len() {
            let node = &self.nodes[host];
            let verified = node.log.seen.is_some_and(|(state, ..)| state == State::Absent);
            let back = wanted == State::Absent && report.all(State::Absent) && verified;
            let there = node.group.is_some() || self.pending_post(host);
            self.demand(!(back && there), Invariant::I6, "deleted everywhere, but a host has the group");
        }
    }

    fn check_status(&mut self, report: &Report) {
        self.demand(self.pass.writes == 0, Invariant::I8, "a status changed something");
        if !self.choices.faults().is_empty() {
            return;
        }
        for host in &report.hosts {
            let has = self.nodes[self.node_of(&host.host)].group.is_some();
            let truth = if has { State::Present } else { State::Absent };
            self.demand(host.state == truth, Invariant::I8, "a status without faults is wrong");
        }
    }

    /// Checks the world after all recoveries, without faults and without late requests.
    pub(super) fn check_settled(&mut self) {
        self.demand(self.intent.is_none(), Invariant::I6, "recovery does not end: an intent stays");
        let ours = self.nodes.iter().any(|node| node.group == Some(Owner::Ours));
        self.demand(!ours, Invariant::I6, "after all recoveries a host has a group that was not acknowledged");
    }
}

/// Maximum duration of a machine: a recovery, the operation, its rollback, and the last requests of each.
pub(super) fn bound(limits: &Limits) -> Duration {
    limits.operation_timeout.unwrap_or_default() + limits.rollback_timeout * 2 + TIMEOUT * 3 + limits.settle * 3
}
