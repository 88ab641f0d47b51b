//! Events during the operation, and the report at its end. Nothing here decides anything.

use std::time::Duration;

use super::participant::Participant;
use super::{Ending, Machine, Rules};
use crate::values::action::Action;
use crate::values::classification::{Classification, ClassifiedReply};
use crate::values::event::Event;
use crate::values::intent::Purpose;
use crate::values::report::{Cause, HostReport, HostStep, Operation, Outcome, Report, State};

impl<R: Rules> Machine<R> {
    pub(super) fn end(&mut self, ending: Ending) {
        if self.events.is_some() {
            let report = self.report(&ending);
            let (outcome, summary) = (report.outcome, report.summary());
            self.emit(|machine| Event::Finished { outcome, summary, elapsed: machine.now });
        }
        self.ending = Some(ending);
    }

    pub(super) fn emit(&mut self, event: impl FnOnce(&Self) -> Event) {
        if self.events.is_some() {
            let event = event(self);
            self.events.get_or_insert_default().push(event);
        }
    }

    /// The event that names the hosts of the round.
    pub(super) fn participants(&self) -> Event {
        Event::Participants { hosts: self.ready.iter().map(|host| self.hosts[*host].clone()).collect() }
    }

    pub(super) fn emit_answer(&mut self, host: usize, action: Action, reply: &ClassifiedReply, elapsed: Duration) {
        self.emit(|machine| Event::Answered {
            host: machine.hosts[host].clone(),
            action,
            attempt: machine.participants[host].attempts(action),
            succeeded: reply.classification == Classification::Confirmed,
            answer: reply.describe(),
            elapsed,
        });
    }

    pub(super) fn set_cause_from_unknown(&mut self) {
        if self.cause.is_none() {
            let unknown = self.participants.iter().position(|participant| participant.state == State::Unknown);
            self.cause = unknown.map(|host| {
                let reason = self.participants[host].steps.last().map(explain).unwrap_or_default();
                self.cause_of(host, reason)
            });
        }
    }

    /// A host that failed, or the time of the operation, where more of it might have helped.
    pub(super) fn cause_of(&self, host: usize, reason: String) -> Cause {
        let host = self.hosts[host].clone();
        if self.short_of_time || !self.time_left(self.now) {
            Cause::TimedOut { host: Some((host, reason)) }
        } else {
            Cause::Host { host, reason }
        }
    }

    pub(super) fn report(&self, ending: &Ending) -> Report {
        self.report_on(ending, self.participants.iter().cloned())
    }

    pub(super) fn report_on(&self, ending: &Ending, participants: impl Iterator<Item = Participant>) -> Report {
        let outcome = match ending {
            Ending::Reported(outcome) => *outcome,
            Ending::Unrecorded(_) => Outcome::Unrecorded,
            Ending::Busy(_) | Ending::Conflict { .. } | Ending::Journal(_) => Outcome::Unavailable,
        };
        let hosts = self.hosts.iter().zip(participants).map(|(host, participant)| HostReport {
            host: host.clone(),
            state: participant.state,
            reason: reason(&participant),
            steps: participant.steps,
        });
        Report {
            group: self.group.clone(),
            operation: if self.recovering { Operation::Recover } else { self.operation },
            outcome,
            hosts: hosts.collect(),
            cause: self.cause.clone(),
            earlier: self.earlier.clone(),
            recoverable: self.recoverable && self.has_journal,
            finishes_repair: self.recovering && self.own_purpose() == Purpose::Present,
            notes: self.notes.clone(),
            elapsed: self.now,
        }
    }
}

/// Returns why the state of a host is unknown, or not the wanted one.
pub(super) fn reason(participant: &Participant) -> Option<String> {
    let last = |actions: &[Action]| participant.steps.iter().rev().find(|step| actions.contains(&step.action));
    match participant.state {
        State::Unknown => {
            // After a refused DELETE a check proves nothing, so the DELETE is the reason.
            let refused = last(&[Action::Delete]).filter(|_| participant.deletes.refused);
            let why = refused.or(participant.steps.last()).map(explain);
            Some(match (why, participant.given_up) {
                (Some(why), Some(given_up)) => format!("{why}; {given_up}"),
                (Some(why), None) => why,
                (None, Some(given_up)) => given_up.to_string(),
                (None, None) => "it was not asked".into(),
            })
        }
        State::Present => last(&[Action::Delete]).filter(|step| !step.ended_well).map(explain),
        State::Absent => last(&[Action::Create]).filter(|step| !step.succeeded).map(explain),
    }
}

/// `answered 503 to create, 3 tries`: one step in words.
pub(super) fn explain(step: &HostStep) -> String {
    let reason = match (step.status, &step.error, step.ended_well) {
        (_, _, true) => format!("{} succeeded", step.action),
        (Some(status), _, _) => format!("answered {status} to {}", step.action),
        (None, Some(error), _) => format!("{error}"),
        (None, None, _) => format!("did not answer to {}", step.action),
    };
    if step.attempts > 1 { format!("{reason}, {} tries", step.attempts) } else { reason }
}
