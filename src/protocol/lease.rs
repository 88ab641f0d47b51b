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
const RENEWAL: Duration = Duration::from_millis(250);

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

    /// Returns the time of the next look for a renewal, while a POST or DELETE waits for one.
    pub(super) fn next_renewal(&mut self) -> Option<Duration> {
        if self.ready.is_empty() {
            return None;
        }
        let end = *self.renewal_ends.get_or_insert(self.now + self.limits.rollback_timeout);
        Some(end.min(self.now + RENEWAL))
    }

    /// I7: whether the wait for a renewal is over. A claim that is always renewed for less time than a request takes would
    /// keep the operation for ever.
    pub(super) fn has_no_renewal(&self) -> bool {
        self.renewal_ends.is_some_and(|end| self.now >= end)
    }

    /// Returns this time, or the end of the claim if that is earlier.
    pub(super) fn before_claim_ends(&self, time: Duration) -> Duration {
        self.holds_until.map_or(time, |until| time.min(until))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::protocol::{Input, Limits, Output};
    use crate::values::group::GroupId;
    use crate::values::host::Host;
    use crate::values::report::Operation;
    use crate::values::retry::{RetryBudgets, RetryPolicy};

    const SECOND: Duration = Duration::from_secs(1);

    /// The journal of a user may have such claims.
    #[test]
    fn claim_that_is_too_short_for_a_request_after_each_renewal_ends_the_operation() {
        let limits = Limits {
            retry: RetryPolicy::default(),
            rollback_retry: RetryPolicy::default(),
            request_timeout: 5 * SECOND,
            operation_timeout: None,
            rollback_timeout: 30 * SECOND,
            settle: SECOND,
        };
        let hosts: Arc<[Host]> = ["http://a", "http://b"].map(|url| Host::parse(url).unwrap()).into();
        let group = GroupId::parse("g").unwrap();
        let mut machine: Machine = Machine::new(Operation::Delete, true, group, hosts, Arc::default(), limits, 1);
        let (mut now, mut budgets) = (Duration::ZERO, RetryBudgets::new(2));
        for _ in 0..1_000 {
            machine.set_holds_until(now + 4 * SECOND);
            let input = match machine.poll_output(now) {
                Output::Claim => Input::Claimed(Ok(None)),
                Output::Record(_) => Input::Recorded(Ok(())),
                Output::Wait(due) => {
                    now = due.expect("nothing else would wake it");
                    continue;
                }
                Output::Done => break,
                output => panic!("{output:?}"),
            };
            machine.handle_input(input, now, &mut budgets);
        }
        let report = machine.into_report();
        assert_eq!((now, report.outcome, report.cause), (30 * SECOND, Outcome::InDoubt, Some(Cause::timed_out(None))));
    }
}
