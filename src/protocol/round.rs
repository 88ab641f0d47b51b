//! A round: the requests of one phase to many hosts. Each host has its own retries. The round ends when every host
//! has finished, or after a stop when no request is in flight.

use std::cmp::Reverse;
use std::time::Duration;

use super::participant::{Goal, Next, Participant, Stop, Transition};
use super::reporting::reason;
use super::{Machine, Output, Rules};
use crate::values::action::Action;
use crate::values::classification::{Classification, ClassifiedReply};
use crate::values::event::{EventKind, Phase};
use crate::values::report::{Reason, State};
use crate::values::retry::{RetryBudget, RetryBudgets, RetryPolicy};
use crate::values::usage::Usage;

impl<R: Rules> Machine<R> {
    pub(super) fn begin_round(&mut self, phase: Phase, goal: impl Fn(&mut Participant) -> Option<Goal>) {
        self.enter(phase);
        self.phase_ends = match self.deadline {
            _ if self.has_own_time() => Some(self.now + self.limits.rollback_timeout),
            deadline => deadline,
        };
        (self.stopping, self.short_of_time, self.renewal_ends) = (None, false, None);
        self.ready.clear();
        self.waiting.clear();
        for (host, participant) in self.participants.iter_mut().enumerate() {
            participant.action = None;
            if let Some(goal) = goal(participant) {
                participant.start(goal);
                self.ready.push_back(host);
            }
        }
        self.open = self.ready.len();
        self.emit(Self::participants);
        if self.cancelled {
            self.stop_cancelled();
        }
        self.advance();
    }

    fn policy(&self) -> RetryPolicy {
        if self.phase == Phase::RollBack { self.limits.rollback_retry } else { self.limits.retry }
    }

    pub(super) fn next_request(&mut self) -> Output {
        if self.stopping.is_none() && (!self.time_left(self.now) || self.has_no_renewal()) {
            self.stop(if self.has_own_time() { Stop::RollbackOutOfTime } else { Stop::OutOfTime });
            self.advance();
            return self.poll_output(self.now);
        }
        while let Some(Reverse((due, host))) = self.waiting.peek().copied() {
            if due > self.now {
                break;
            }
            self.waiting.pop();
            self.ready.push_back(host);
        }
        let timeout = self.timeout();
        if let Some(host) = self.next_ready(timeout) {
            self.in_flight += 1;
            let (action, attempt) = self.participants[host].send(self.now);
            let not_after = self.holds_until.filter(|_| action != Action::Check);
            self.renewal_ends = self.renewal_ends.filter(|_| action == Action::Check);
            return Output::Send { host, action, attempt, timeout, not_after };
        }
        let renewal = self.next_renewal();
        let due = self.waiting.peek().map(|Reverse((due, _))| *due).into_iter().chain(renewal).min();
        let due = due.map(|due| self.phase_ends.map_or(due, |end| due.min(end)));
        Output::Wait(due.map(|due| self.before_claim_ends(due)))
    }

    /// The timeout of a request that starts now.
    fn timeout(&self) -> Duration {
        let end = self.phase_ends.filter(|_| R::cuts_timeouts());
        let left = end.map_or(Duration::MAX, |end| end.saturating_sub(self.now));
        self.limits.request_timeout.min(left)
    }

    pub(super) fn replied(
        &mut self,
        host: usize,
        action: Action,
        reply: &ClassifiedReply,
        usage: Usage,
        budgets: &mut RetryBudgets,
    ) {
        self.in_flight -= 1;
        self.participants[host].note::<R>(action, reply, self.now);
        self.emit_answer(host, action, reply, usage);
        let rolling_back = self.phase == Phase::RollBack;
        let budget = if rolling_back { &mut budgets.rollback } else { &mut budgets.forward };
        if matches!(reply.classification, Classification::Confirmed | Classification::Denied) {
            budget.refund();
        }
        let next = self.participants[host].after::<R>(action, reply);
        if let Some(reason) = self.stopping {
            self.finish_stopped(host, next, reason);
        } else {
            self.follow(host, action, reply, next, budget);
        }
        self.advance();
    }

    fn follow(&mut self, host: usize, action: Action, reply: &ClassifiedReply, next: Next, budget: &mut RetryBudget) {
        let asked = reply.retry_after;
        if next.retry && self.try_again(host, action, asked, budget) {
            return;
        }
        match next.then {
            Transition::Send(action) => self.turn_to(host, action, self.now),
            Transition::AwaitSettle => self.settle(host),
            Transition::AwaitChange => self.await_change(host, asked),
            Transition::RetryDelete => {
                if !R::counts_tries_over_looks() {
                    self.participants[host].forget_tries(Action::Delete);
                }
                if self.try_again(host, Action::Delete, asked, budget) {
                    return;
                }
                match self.participants[host].after_last_delete::<R>() {
                    Transition::AwaitSettle => self.settle(host),
                    _ => self.finish(host),
                }
            }
            Transition::Finish => self.finish(host),
            Transition::Fail => self.fail(host),
        }
    }

    fn try_again(&mut self, host: usize, action: Action, asked: Option<Duration>, budget: &mut RetryBudget) -> bool {
        let policy = self.policy();
        let Some(delay) = self.participants[host].delay(action, &policy, asked, &mut self.random) else { return false };
        let due = self.now + delay;
        if !self.time_left(due) {
            self.short_of_time = true;
            return false;
        }
        if !budget.take() {
            return false;
        }
        let attempt = self.participants[host].attempts(action) + 1;
        self.participants[host].action = Some(action);
        self.waiting.push(Reverse((due, host)));
        self.emit(|machine| EventKind::Retrying { host: machine.hosts[host].clone(), action, attempt, delay });
        true
    }

    fn turn_to(&mut self, host: usize, action: Action, due: Duration) {
        self.participants[host].action = Some(action);
        if due <= self.now {
            self.ready.push_front(host);
        } else {
            self.waiting.push(Reverse((due, host)));
        }
    }

    /// Checks the host again after the settle time.
    fn settle(&mut self, host: usize) {
        self.participants[host].begin_settle();
        self.turn_to(host, Action::Check, self.now + self.limits.settle);
    }

    /// Checks again a host that has answered "still changing". The delays are those of the retries. The number of checks
    /// has no limit of its own: they end with the time of the phase, or after the rollback timeout if it has none.
    fn await_change(&mut self, host: usize, asked: Option<Duration>) {
        let policy = self.policy();
        let (since, looks) = self.participants[host].count_change(self.now);
        let end = self.phase_ends.unwrap_or(since + self.limits.rollback_timeout);
        let left = end.saturating_sub(self.now);
        let delay = policy.backoff_within(left, looks, asked, &mut self.random);
        let due = self.now + delay;
        let in_time = R::is_in_time(due, end);
        if in_time {
            let attempt = self.participants[host].attempts(Action::Check) + 1;
            self.turn_to(host, Action::Check, due);
            return self.emit(|machine| EventKind::Retrying {
                host: machine.hosts[host].clone(),
                action: Action::Check,
                attempt,
                delay,
            });
        }
        self.short_of_time |= self.phase_ends.is_some();
        if R::ends_change_as_absent() {
            self.participants[host].state = State::Absent;
        }
        match self.participants[host].goal {
            Goal::Create | Goal::Ensure => self.fail(host),
            Goal::Probe | Goal::Remove | Goal::VerifyAbsent => self.finish(host),
        }
    }

    fn finish(&mut self, host: usize) {
        self.participants[host].action = None;
        self.open = self.open.saturating_sub(1);
        self.emit(|machine| EventKind::Reached {
            host: machine.hosts[host].clone(),
            state: machine.participants[host].state,
            reason: reason(&machine.participants[host]),
        });
    }

    /// Ends the phase of a host where the group could not be made. A create stops on all hosts; a repair goes on.
    fn fail(&mut self, host: usize) {
        self.finish(host);
        if self.creating() && self.cause.is_none() {
            // The failed POST is the cause, not the check after it.
            let steps = &self.participants[host].steps;
            let failed = steps.iter().rev().find(|step| step.action == Action::Create && !step.succeeded);
            let step = failed.or(steps.last()).cloned();
            self.cause = Some(self.cause_of(host, Reason::new(step, None)));
        }
        if self.creating() && R::failure_ends_posts() {
            self.stop(Stop::FailedElsewhere);
        }
    }

    /// Ends the phase of a host whose reply arrived after the stop.
    fn finish_stopped(&mut self, host: usize, next: Next, reason: Stop) {
        if next.then != Transition::Finish || next.retry {
            self.participants[host].given_up = Some(reason);
        }
        self.finish(host);
    }

    /// Stops the round: no further request starts, and the replies of those in flight are awaited.
    pub(super) fn stop(&mut self, reason: Stop) {
        self.stopping = Some(reason);
        if self.cause.is_none() {
            self.cause = reason.cause();
        }
        let waiting = std::mem::take(&mut self.waiting).into_iter().map(|Reverse((_, host))| host);
        for host in std::mem::take(&mut self.ready).into_iter().chain(waiting) {
            self.participants[host].given_up = Some(reason);
            self.finish(host);
        }
    }

    /// Stops a round because of a cancellation. The rollback of a create goes on; a recovery can be repeated later.
    pub(super) fn stop_cancelled(&mut self) {
        if self.stopping.is_none() && (self.recovering || self.phase != Phase::RollBack || R::cancel_ends_rollback()) {
            self.stop(Stop::Cancelled);
        }
    }

    /// Begins the next phase if the round is over.
    pub(super) fn advance(&mut self) {
        let replies_due = self.in_flight > 0 && (R::waits_for_replies() || self.stopping.is_none());
        if !self.in_round() || self.open > self.in_flight || replies_due {
            return;
        }
        if self.stopping == Some(Stop::ClaimLost) && self.phase != Phase::Probe {
            return self.end_without_claim();
        }
        match self.phase {
            Phase::Probe => self.after_probe(),
            Phase::Create => self.after_create(),
            _ => self.begin_finish(),
        }
    }
}
