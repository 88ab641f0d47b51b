//! The transitions between phases. Live runs and recovery share them.

use super::participant::Goal;
use super::{AfterSettle, Machine, Posts, Rules};
use crate::values::event::Phase;
use crate::values::intent::Purpose;
use crate::values::outcome::Outcome;
use crate::values::report::{Operation, State};

impl<R: Rules> Machine<R> {
    pub(super) fn begin_changes(&mut self) {
        match self.own_purpose() {
            Purpose::Delete => self.begin_removal(),
            Purpose::Create { .. } => self.begin_round(Phase::Create, |_| Some(Goal::Create)),
            Purpose::Present => {
                self.begin_round(Phase::Create, |participant| {
                    (participant.state != State::Present).then_some(Goal::Ensure)
                });
            }
        }
    }

    /// Begins to delete. The rollback of a create deletes only our own groups, and checks the other hosts.
    pub(super) fn begin_removal(&mut self) {
        let undo = matches!(self.own_purpose(), Purpose::Create { .. });
        self.begin_round(if undo { Phase::RollBack } else { Phase::Delete }, |participant| {
            if !undo || R::may_undo(participant.evidence()) {
                Some(Goal::Remove)
            } else if participant.posts == Posts::default() && participant.was_absent {
                // No POST was sent, and the probe showed no group.
                participant.state = State::Absent;
                None
            } else {
                Some(Goal::VerifyAbsent)
            }
        });
    }

    pub(super) fn after_probe(&mut self) {
        let any = |state| self.participants.iter().any(|participant| participant.state == state);
        let (present, unknown) = (any(State::Present), any(State::Unknown));
        match self.own_purpose() {
            _ if self.operation == Operation::Status && !self.recovering => {
                self.end(Outcome::Observed);
            }
            Purpose::Create { .. } if present => self.end(Outcome::AlreadyExists),
            Purpose::Create { .. } if unknown || self.cancelled => {
                self.set_cause_from_unknown();
                self.end_unchanged();
            }
            // The intent of a recovery is recorded already.
            Purpose::Present if self.recovering => self.begin_changes(),
            // The stopped repair has changed nothing. An older intent may still require the group's deletion.
            Purpose::Present if self.stopping.is_some() => self.end_unchanged(),
            _ => self.begin_intent(),
        }
    }

    pub(super) fn after_create(&mut self) {
        let complete = self.participants.iter().all(|participant| R::may_commit(participant.evidence()));
        if self.creating() && complete && self.stopping.is_none() {
            self.begin_settle(AfterSettle::Commit, self.posts_settle_at());
        } else if self.creating() {
            self.begin_removal();
        } else {
            self.begin_finish();
        }
    }

    /// Erases the intent, or records what is left. A repair to present waits for its late POSTs before it erases. A
    /// removal has already awaited the settle time of each host that needs it.
    pub(super) fn begin_finish(&mut self) {
        if self.any_left() {
            self.enter(Phase::Finish);
        } else {
            let until = if self.own_purpose() == Purpose::Present { self.posts_settle_at() } else { self.now };
            self.begin_settle(AfterSettle::Finish, until);
        }
    }

    /// Whether the intent must name a host at the end of the pass.
    pub(super) fn any_left(&self) -> bool {
        (0..self.hosts.len()).any(|host| self.is_left(host))
    }

    /// Whether the intent must still name this host.
    pub(super) fn is_left(&self, host: usize) -> bool {
        let participant = &self.participants[host];
        match self.own_purpose() {
            Purpose::Present => participant.state != State::Present,
            Purpose::Delete => !R::may_forget(participant.state),
            Purpose::Create { .. } => {
                (participant.posts.created || participant.posts.ambiguous) && !R::may_forget(participant.state)
            }
        }
    }

    /// Ends the pass. `left` means that the intent still names hosts. After a complete recovery the operation itself
    /// begins.
    pub(super) fn finish_pass(&mut self, left: bool) {
        if self.recovering {
            match (left, self.operation) {
                (true, _) => self.end(self.outcome_of_recovery()),
                (false, Operation::Recover) => self.end(Outcome::Recovered),
                (false, _) => {
                    self.earlier = Some(Box::new(self.report(Outcome::Recovered)));
                    self.begin_settle(AfterSettle::Operation, self.changes_settle_at());
                }
            }
            return;
        }
        self.end(self.outcome_of_pass());
    }
}
