//! A claim that ends by itself, as one under a lease does. Invariant I13: nothing is changed after its end.

use std::time::Duration;

use super::participant::{Participant, Stop};
use super::{AfterSettle, Machine, Rules};
use crate::values::action::Action;
use crate::values::cause::JournalError;
use crate::values::event::Phase;
use crate::values::outcome::Outcome;
use crate::values::report::Cause;

/// Time between two looks for a renewal, while a POST or DELETE would outlast the claim.
pub(super) const RENEWAL: Duration = Duration::from_millis(250);

impl<R: Rules> Machine<R> {
    /// Sets the time at which the claim ends. Call it before [`Machine::poll_output`], whenever the time may have changed.
    pub(crate) fn set_holds_until(&mut self, until: Duration) {
        self.holds_until = Some(until);
    }

    /// Ends the operation if its claim has ended. The result of a journal call, and the replies to requests in flight,
    /// are awaited first.
    pub(super) fn stop_if_claim_ended(&mut self) {
        if !self.has_claim_ended() || self.awaiting_journal || self.outcome.is_some() {
            return;
        }
        match (self.phase, self.after_settle) {
            _ if self.in_round() && self.stopping == Some(Stop::ClaimLost) => {}
            _ if self.in_round() => {
                self.stop(Stop::ClaimLost);
                self.advance();
                // The next phase may have begun.
                self.stop_if_claim_ended();
            }
            // A part of the intent may have been written.
            (Phase::Intend, _) if self.abandoned.is_some() => self.erased(Err(JournalError::claim_lost())),
            // The recovery before the operation is complete.
            (Phase::Settle, AfterSettle::Operation) => {
                self.begin_operation();
                self.stop_if_claim_ended();
            }
            (Phase::Claim | Phase::Intend, _) | (Phase::Settle, AfterSettle::Probe) => self.give_up(Cause::ClaimLost),
            _ => self.end_without_claim(),
        }
    }

    /// Whether the claim has ended, so that another coordinator may work on the group.
    pub(super) fn has_claim_ended(&self) -> bool {
        let ended = self.holds_until.is_some_and(|until| R::has_claim_ended(self.now, until));
        ended && !R::goes_on_without_claim(self.phase)
    }

    /// Ends an operation that may have changed hosts, because its claim was lost. The intent stays.
    pub(super) fn end_without_claim(&mut self) {
        if R::goes_on_without_claim(Phase::RollBack) && self.creating() && self.phase == Phase::Create {
            return self.begin_removal();
        }
        self.participants.iter_mut().for_each(Participant::discard_unsettled_state::<R>);
        self.end_with(Outcome::InDoubt, Cause::ClaimLost);
    }

    /// Takes a host whose next request may start. One that changes the host must end before the claim does.
    pub(super) fn next_ready(&mut self, timeout: Duration) -> Option<usize> {
        let Some(until) = self.holds_until else { return self.ready.pop_front() };
        let may_change = R::ends_within_claim(self.now + timeout, until) || R::goes_on_without_claim(self.phase);
        let only_reads = |host: &usize| self.participants[*host].action == Some(Action::Check);
        let place = self.ready.iter().position(|host| may_change || only_reads(host))?;
        self.ready.remove(place)
    }

    /// Returns this time, or the end of the claim if that is earlier.
    pub(super) fn before_claim_ends(&self, time: Duration) -> Duration {
        self.holds_until.map_or(time, |until| time.min(until))
    }
}
