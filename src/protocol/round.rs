//! A round: requests to some hosts, each at its own pace, until all of them are through or the round is
//! stopped. What a round means, and what comes after it, is the machine's.

use std::cmp::Reverse;
use std::time::Duration;

use super::track::{Next, Stop, Then, Track, Walk};
use super::{At, Machine, Rules, Step};
use crate::api::{Action, Reading, Verdict};
use crate::values::event::EventKind;
use crate::values::report::Reason;
use crate::values::retry::{RetryBudget, RetryBudgets, RetryPolicy};

impl<R: Rules> Machine<R> {
    pub(super) fn begin_round(&mut self, at: At, walk: impl Fn(&mut Track) -> Option<Walk>) {
        self.enter(at, self.phase_of(at));
        self.phase_ends = match self.limits.deadline {
            _ if self.has_own_time() => Some(self.now + self.limits.rollback_timeout),
            deadline => deadline,
        };
        (self.stopping, self.short_of_time) = (None, false);
        self.ready.clear();
        self.waiting.clear();
        for (host, track) in self.tracks.iter_mut().enumerate() {
            track.action = None;
            if let Some(walk) = walk(track) {
                track.start(walk);
                self.ready.push_back(host);
            }
        }
        self.open = self.ready.len();
        self.tell(Self::participants);
        if self.cancelled {
            self.stop_cancelled();
        }
        self.advance();
    }

    fn policy(&self) -> RetryPolicy {
        if self.rolling_back() { self.limits.rollback_retry } else { self.limits.retry }
    }

    pub(super) fn next_request(&mut self) -> Step {
        if self.stopping.is_none() && !self.time_left(self.now) {
            self.stop(if self.has_own_time() { Stop::RollbackOutOfTime } else { Stop::OutOfTime });
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

    pub(super) fn replied(
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
            Then::Settle => self.settle(host),
            Then::Redo => {
                if !R::counts_tries_over_looks() {
                    self.tracks[host].forget_tries(Action::Delete);
                }
                if self.try_again(host, Action::Delete, asked, budget) {
                    return;
                }
                match self.tracks[host].after_last_delete::<R>() {
                    Then::Settle => self.settle(host),
                    _ => self.finish(host),
                }
            }
            Then::Finish => self.finish(host),
            Then::Fail => self.fail(host),
        }
    }

    fn try_again(&mut self, host: usize, action: Action, asked: Option<Duration>, budget: &mut RetryBudget) -> bool {
        let policy = self.policy();
        let Some(delay) = self.tracks[host].delay(action, &policy, asked, &mut self.random) else { return false };
        let due = self.now + delay;
        if !self.time_left(due) {
            self.short_of_time = true;
            return false;
        }
        if !budget.take() {
            return false;
        }
        let attempt = self.tracks[host].attempts(action) + 1;
        self.tracks[host].action = Some(action);
        self.waiting.push(Reverse((due, host)));
        self.tell(|machine| EventKind::Retrying { host: machine.hosts[host].clone(), action, attempt, delay });
        true
    }

    fn turn_to(&mut self, host: usize, action: Action, due: Duration) {
        self.tracks[host].action = Some(action);
        if due <= self.now {
            self.ready.push_front(host);
        } else {
            self.waiting.push(Reverse((due, host)));
        }
    }

    /// Looks at the host again when what is under way there has taken effect, and every replica knows of it.
    fn settle(&mut self, host: usize) {
        self.tracks[host].begin_settling();
        self.turn_to(host, Action::Check, self.now + self.limits.settle);
    }

    fn finish(&mut self, host: usize) {
        self.tracks[host].action = None;
        self.open = self.open.saturating_sub(1);
        self.tell(|machine| EventKind::Reached {
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
            let step = failed.or(steps.last()).cloned();
            self.cause = Some(self.cause_of(host, Reason::new(step, None)));
        }
        if self.creating() {
            self.stop(Stop::FailedElsewhere);
        }
    }

    /// A reply came after the phase was stopped: it is noted, and nothing comes after it.
    fn finish_stopped(&mut self, host: usize, next: Next, reason: Stop) {
        if next.then != Then::Finish || next.retry {
            self.tracks[host].given_up = Some(reason);
        }
        self.finish(host);
    }

    /// No further request starts; those in flight are waited for.
    fn stop(&mut self, reason: Stop) {
        self.stopping = Some(reason);
        if self.cause.is_none() {
            self.cause = reason.cause();
        }
        let waiting = std::mem::take(&mut self.waiting).into_iter().map(|Reverse((_, host))| host);
        for host in std::mem::take(&mut self.ready).into_iter().chain(waiting) {
            self.tracks[host].given_up = Some(reason);
            self.finish(host);
        }
    }

    /// A create is left only by its rollback; everything else can be taken up again later.
    pub(super) fn stop_cancelled(&mut self) {
        if self.stopping.is_none() && (self.recovering || !self.rolling_back()) {
            self.stop(Stop::Cancelled);
        }
    }

    /// Where the round is over, goes on to the next phase.
    pub(super) fn advance(&mut self) {
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
}
