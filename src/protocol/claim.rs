//! The beginning of an operation: the claim, the recovery of an unfinished intent, and the first phase.

use std::sync::Arc;

use super::participant::{Goal, Participant};
use super::{AfterSettle, Machine, Rules};
use crate::api::{self, Api, ApiRef};
use crate::values::event::{EventKind, Phase};
use crate::values::host::Host;
use crate::values::intent::{ClaimError, Intent, Purpose};
use crate::values::outcome::Outcome;
use crate::values::report::{Cause, Operation, Target};

impl<R: Rules> Machine<R> {
    pub(super) fn claimed(&mut self, claimed: Result<Option<Intent>, ClaimError>) {
        self.awaiting_journal = false;
        match claimed {
            Ok(None) => self.begin_operation(),
            Ok(Some(intent)) => {
                self.recoverable = true;
                if self.cancelled || !self.time_left(self.now) {
                    return self.abort_if_expired();
                }
                self.begin_recovery(intent);
            }
            Err(ClaimError::Failed(error)) => self.end_with(Outcome::JournalFailed, Cause::journal(error)),
            Err(ClaimError::Busy(_)) if self.cancelled => self.give_up(Cause::Cancelled),
            Err(ClaimError::Busy(holder)) => match self.claims.next(None, &mut self.random) {
                Some(delay) if self.time_left(self.now + delay) => {
                    self.emit(|_| EventKind::Waiting { holder, delay });
                    self.not_before = self.now + delay;
                }
                _ => self.end_with(Outcome::Busy, Cause::busy(holder)),
            },
        }
    }

    /// Begins to recover the older operation on the group. A repair replaces that operation instead: a person has
    /// decided what recovery may be unable to decide.
    fn begin_recovery(&mut self, intent: Intent) {
        self.purpose = Some(intent.purpose);
        let mut lacking: Vec<Host> =
            intent.authorized.iter().filter(|host| !self.authorized.has(host)).cloned().collect();
        if !R::may_take_over(lacking.is_empty()) {
            lacking.sort_unstable();
            return self.end_with(Outcome::Conflict, Cause::no_credentials(lacking));
        }
        self.take_settle(&intent);
        if matches!(self.operation, Operation::Repair(_)) {
            return self.begin_override(intent);
        }
        let Some(api) = self.known_api(&intent.api) else {
            return self.end_with(Outcome::Conflict, Cause::unknown_api(intent.api));
        };
        self.recovering = true;
        if R::speaks_intent_api() {
            self.api = api;
        }
        self.take_hosts(intent.hosts.into());
        match intent.purpose {
            Purpose::Create { was_absent } => {
                for participant in &mut self.participants {
                    participant.posts = R::inherited_posts();
                    participant.was_absent = was_absent;
                }
                self.begin_removal();
            }
            // The delete may have replaced an unfinished create, whose POSTs may still take effect.
            Purpose::Delete => {
                self.participants.iter_mut().for_each(|participant| participant.posts = R::inherited_posts());
                self.begin_removal();
            }
            Purpose::Present => self.begin_settle(AfterSettle::Probe, self.now + self.limits.settle),
        }
    }

    /// Takes the settle time of the dead owner, if it is longer: its requests may take effect that late. A rollback has
    /// time to settle more than once.
    fn take_settle(&mut self, intent: &Intent) {
        let settle = R::recovery_settle(self.limits.settle, intent.settle);
        if settle > self.limits.settle {
            self.limits.settle = settle;
            self.limits.rollback_timeout = self.limits.rollback_timeout.max(settle * 4);
        }
    }

    /// Returns the API of an intent, if it is known.
    fn known_api(&self, recorded: &ApiRef) -> Option<Arc<Api>> {
        if self.cluster_api.is(recorded) {
            return Some(Arc::clone(&self.cluster_api));
        }
        api::find(recorded, &self.known_apis).map(Arc::new)
    }

    /// Replaces the intent of an older operation by a repair, if the caller has named all its hosts.
    fn begin_override(&mut self, intent: Intent) {
        let unnamed: Vec<Host> = intent.hosts.iter().filter(|host| !self.cluster.contains(host)).cloned().collect();
        if !R::may_override(unnamed.is_empty(), self.cluster_api.is(&intent.api)) {
            return self.end_with(Outcome::Conflict, Cause::conflict(intent, unnamed));
        }
        self.take_hosts(self.cluster.iter().chain(&unnamed).cloned().collect());
        for (host, participant) in self.hosts.iter().zip(&mut self.participants) {
            if intent.hosts.contains(host) {
                participant.posts = R::inherited_posts();
            }
        }
        match self.operation {
            Operation::Repair(Target::Present) => {
                self.begin_settle(AfterSettle::Probe, self.now + self.limits.settle);
            }
            _ => self.begin_pass(),
        }
    }

    pub(super) fn begin_operation(&mut self) {
        self.recovering = false;
        (self.purpose, self.cause) = (None, None);
        if R::restores_own_api() {
            self.api = Arc::clone(&self.cluster_api);
        }
        if self.operation == Operation::Recover {
            return self.end(Outcome::Recovered);
        }
        self.take_hosts(Arc::clone(&self.cluster));
        self.begin_pass();
    }

    fn begin_pass(&mut self) {
        match self.operation {
            Operation::Create if !self.preflight => self.begin_intent(),
            Operation::Create | Operation::Status | Operation::Repair(Target::Present) => {
                self.begin_round(Phase::Probe, |_| Some(Goal::Probe));
            }
            Operation::Delete | Operation::Repair(Target::Absent) => self.begin_intent(),
            Operation::Recover | Operation::Forget => self.end(Outcome::Recovered),
        }
    }

    fn take_hosts(&mut self, hosts: Arc<[Host]>) {
        self.participants = std::iter::repeat_with(Participant::new).take(hosts.len()).collect();
        self.hosts = hosts;
    }
}
