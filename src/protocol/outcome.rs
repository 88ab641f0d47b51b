//! The end of an operation, and its outcome. The outcome follows from the cause and from the states of the hosts.

use super::{Machine, Rules};
use crate::values::event::EventKind;
use crate::values::outcome::Outcome;
use crate::values::report::{Cause, Operation, State, Target};

impl<R: Rules> Machine<R> {
    pub(super) fn end(&mut self, outcome: Outcome) {
        if self.events.is_some() {
            let report = Box::new(self.report(outcome));
            self.emit(|_| EventKind::Finished { report });
        }
        self.outcome = Some(outcome);
    }

    pub(super) fn end_with(&mut self, outcome: Outcome, cause: Cause) {
        self.cause = Some(cause);
        self.end(outcome);
    }

    /// Ends an operation that has changed nothing.
    pub(super) fn end_unchanged(&mut self) {
        self.end(ended_early(self.cause.as_ref()).unwrap_or(Outcome::Unavailable));
    }

    pub(super) fn give_up(&mut self, cause: Cause) {
        self.cause = Some(cause);
        self.end_unchanged();
    }

    /// Returns the outcome of a recovery whose intent still names hosts.
    pub(super) fn outcome_of_recovery(&self) -> Outcome {
        in_doubt_or_incomplete(self.states())
    }

    /// Returns the outcome of a create that is not committed, or of a delete or a repair.
    pub(super) fn outcome_of_pass(&self) -> Outcome {
        if self.operation == Operation::Create {
            self.outcome_of_rollback()
        } else {
            outcome_of_removal_or_repair(self.operation, self.states())
        }
    }

    fn outcome_of_rollback(&self) -> Outcome {
        let unknown = self.states().any(|state| state == State::Unknown);
        if self.states().all(R::counts_as_absent) {
            ended_early(self.cause.as_ref()).unwrap_or(Outcome::RolledBack)
        } else if unknown || self.any_left() {
            in_doubt_or_incomplete(self.states())
        } else {
            // The host refused our POST, so its group is not ours.
            Outcome::AlreadyExists
        }
    }

    fn states(&self) -> impl Iterator<Item = State> + Clone {
        self.participants.iter().map(|participant| participant.state)
    }
}

/// Returns the outcome of an operation that was cancelled or timed out, if nothing is left of it.
fn ended_early(cause: Option<&Cause>) -> Option<Outcome> {
    match cause? {
        Cause::Cancelled => Some(Outcome::Cancelled),
        Cause::TimedOut { .. } => Some(Outcome::TimedOut),
        _ => None,
    }
}

fn outcome_of_removal_or_repair(operation: Operation, states: impl Iterator<Item = State> + Clone) -> Outcome {
    let (wanted, reached) = match operation {
        Operation::Repair(Target::Present) => (State::Present, Outcome::Repaired),
        Operation::Repair(Target::Absent) => (State::Absent, Outcome::Repaired),
        _ => (State::Absent, Outcome::Deleted),
    };
    if states.clone().all(|state| state == wanted) { reached } else { in_doubt_or_incomplete(states) }
}

fn in_doubt_or_incomplete(mut states: impl Iterator<Item = State>) -> Outcome {
    if states.any(|state| state == State::Unknown) { Outcome::InDoubt } else { Outcome::Incomplete }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delete_or_repair_without_success_is_incomplete_or_in_doubt() {
        use State::{Absent, Present, Unknown};
        let (absent, present) = (Operation::Repair(Target::Absent), Operation::Repair(Target::Present));
        for (operation, states, outcome) in [
            (Operation::Delete, [Absent, Absent], Outcome::Deleted),
            (Operation::Delete, [Absent, Present], Outcome::Incomplete),
            (Operation::Delete, [Unknown, Present], Outcome::InDoubt),
            (absent, [Absent, Absent], Outcome::Repaired),
            (absent, [Present, Absent], Outcome::Incomplete),
            (present, [Present, Present], Outcome::Repaired),
            (present, [Present, Unknown], Outcome::InDoubt),
        ] {
            let found = outcome_of_removal_or_repair(operation, states.into_iter());
            assert_eq!(found, outcome, "{operation:?} {states:?}");
        }
    }

    #[test]
    fn cancelled_and_timed_out_are_outcomes_of_their_own() {
        for (cause, outcome) in [
            (Some(Cause::Cancelled), Some(Outcome::Cancelled)),
            (Some(Cause::TimedOut { host: None }), Some(Outcome::TimedOut)),
            (Some(Cause::RollbackTimedOut), None),
            (None, None),
        ] {
            assert_eq!(ended_early(cause.as_ref()), outcome, "{cause:?}");
        }
    }
}
