//! Events during the operation, and the report at its end. No decision of the protocol is made here.

use super::participant::{Participant, Stop};
use super::{Machine, Rules};
use crate::values::action::Action;
use crate::values::classification::{Classification, ClassifiedReply};
use crate::values::event::{Event, EventKind};
use crate::values::host::Host;
use crate::values::intent::Purpose;
use crate::values::outcome::Outcome;
use crate::values::report::{Cause, HostReport, HostStep, Operation, Reason, Report, State};
use crate::values::usage::Usage;

impl<R: Rules> Machine<R> {
    pub(super) fn emit(&mut self, kind: impl FnOnce(&Self) -> EventKind) {
        if self.events.is_some() {
            let event = self.event(kind(self));
            self.events.get_or_insert_default().push(event);
        }
    }

    pub(super) fn event(&self, kind: EventKind) -> Event {
        Event::new(self.id, self.operation, self.group.clone(), kind)
    }

    /// The event that names the hosts of the round.
    pub(super) fn participants(&self) -> EventKind {
        EventKind::Participants { hosts: self.ready.iter().map(|host| self.hosts[*host].clone()).collect() }
    }

    pub(super) fn emit_answer(&mut self, host: usize, action: Action, reply: &ClassifiedReply, usage: Usage) {
        self.emit(|machine| EventKind::Answered {
            host: machine.hosts[host].clone(),
            action,
            attempt: machine.participants[host].attempts(action),
            succeeded: reply.classification == Classification::Confirmed,
            denied: reply.classification == Classification::Denied,
            status: reply.status,
            problem: reply.problem,
            error: reply.error.clone(),
            elapsed: usage.elapsed,
            bytes_sent: usage.traffic.sent,
            bytes_received: usage.traffic.received,
        });
    }

    pub(super) fn set_cause_from_unknown(&mut self) {
        if self.cause.is_none() {
            let unknown = self.participants.iter().position(|participant| participant.state == State::Unknown);
            self.cause = unknown.map(|host| {
                let last = self.participants[host].steps.last().cloned();
                self.cause_of(host, Reason::new(last, None))
            });
        }
    }

    /// Returns the failed host as the cause, or the operation's time if it ran out.
    pub(super) fn cause_of(&self, host: usize, reason: Reason) -> Cause {
        let host = self.hosts[host].clone();
        if self.short_of_time || !self.time_left(self.now) {
            Cause::TimedOut { host: Some((host, reason)) }
        } else {
            Cause::Host { host, reason }
        }
    }

    pub(super) fn report(&self, outcome: Outcome) -> Report {
        let hosts = self.hosts.iter().zip(&self.participants).map(|(host, participant)| {
            let steps = participant.steps.clone();
            HostReport { steps, ..host_report(host, participant) }
        });
        self.report_on(outcome, hosts.collect())
    }

    /// Returns the report. Call it only after [`Output::Done`](super::Output::Done).
    pub(crate) fn into_report(mut self) -> Report {
        let mut participants = std::mem::take(&mut self.participants);
        let hosts = self.hosts.iter().zip(&mut participants).map(|(host, participant)| {
            let report = host_report(host, participant);
            HostReport { steps: std::mem::take(&mut participant.steps), ..report }
        });
        self.report_on(self.outcome.unwrap_or(Outcome::InDoubt), hosts.collect())
    }

    fn report_on(&self, outcome: Outcome, hosts: Vec<HostReport>) -> Report {
        Report {
            id: self.id,
            group: self.group.clone(),
            operation: if self.recovering { Operation::Recover } else { self.operation },
            outcome,
            hosts,
            cause: self.cause.clone(),
            earlier: self.earlier.clone(),
            recoverable: self.recoverable && self.has_journal,
            finishes_repair: self.recovering && self.own_purpose() == Purpose::Present,
            notes: self.notes.clone(),
            elapsed: self.now,
        }
    }
}

/// Returns the report of a host, without its steps.
fn host_report(host: &Host, participant: &Participant) -> HostReport {
    HostReport { reason: reason(participant), ..HostReport::new(host.clone(), participant.state) }
}

/// Returns why the state of a host is unknown, or not the wanted one.
pub(super) fn reason(participant: &Participant) -> Option<Reason> {
    let because = |step: &HostStep| Reason::new(Some(step.clone()), None);
    let last = |actions: &[Action]| participant.steps.iter().rev().find(|step| actions.contains(&step.action));
    match participant.state {
        State::Unknown => {
            // A check proves nothing after a refused DELETE, so the DELETE is the reason.
            let refused = last(&[Action::Delete]).filter(|_| participant.deletes.refused);
            let step = refused.or(participant.steps.last()).cloned();
            Some(Reason::new(step, participant.given_up.map(Stop::interruption)))
        }
        State::Present => last(&[Action::Delete]).filter(|step| !step.ended_well).map(because),
        State::Absent => last(&[Action::Create]).filter(|step| !step.succeeded).map(because),
    }
}
