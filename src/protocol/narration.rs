//! What the machine tells: events while it runs, and a report at the end. Nothing here decides anything.

use std::time::Duration;

use super::track::Stop;
use super::{At, Ending, Machine, Rules};
use crate::api::{Action, Reading, Verdict};
use crate::values::cause::JournalError;
use crate::values::event::{Event, EventKind};
use crate::values::intent::Purpose;
use crate::values::outcome::Outcome;
use crate::values::report::{self, Cause, HostReport, HostStep, Operation, Reason, Report, State};

impl<R: Rules> Machine<R> {
    pub(super) fn end(&mut self, ending: Ending) {
        self.at = At::Done;
        if self.events.is_some() {
            let report = Box::new(self.report(&ending));
            self.tell(|_| EventKind::Finished { report });
        }
        self.ending = Some(ending);
    }

    pub(super) fn tell(&mut self, kind: impl FnOnce(&Self) -> EventKind) {
        if self.events.is_some() {
            let event = self.event(kind(self));
            self.events.get_or_insert_default().push(event);
        }
    }

    pub(super) fn event(&self, kind: EventKind) -> Event {
        Event::new(self.id, self.operation, self.group.clone(), kind)
    }

    /// The hosts of the round that was begun.
    pub(super) fn participants(&self) -> EventKind {
        EventKind::Participants { hosts: self.ready.iter().map(|host| self.hosts[*host].clone()).collect() }
    }

    pub(super) fn tell_answer(&mut self, host: usize, action: Action, reading: &Reading, elapsed: Duration) {
        self.tell(|machine| EventKind::Answered {
            host: machine.hosts[host].clone(),
            action,
            attempt: machine.tracks[host].attempts(action),
            succeeded: reading.verdict == Verdict::Yes,
            denied: reading.verdict == Verdict::No,
            status: reading.status,
            error: reading.error.clone(),
            elapsed,
        });
    }

    pub(super) fn blame_unknown(&mut self) {
        if self.cause.is_none() {
            let unknown = self.tracks.iter().position(|track| track.state == State::Unknown);
            self.cause = unknown.map(|host| {
                let last = self.tracks[host].steps.last().cloned();
                self.cause_of(host, Reason::new(last, None))
            });
        }
    }

    /// A host that failed, or the time of the operation, where more of it might have helped.
    pub(super) fn cause_of(&self, host: usize, reason: Reason) -> Cause {
        let host = self.hosts[host].clone();
        if self.short_of_time || !self.time_left(self.now) {
            Cause::TimedOut { host: Some((host, reason)) }
        } else {
            Cause::Host { host, reason }
        }
    }

    /// Why a host's state is unknown, or not the wanted one.
    pub(super) fn reason(&self, host: usize) -> Option<Reason> {
        let track = &self.tracks[host];
        let because = |step: &HostStep| Reason::new(Some(step.clone()), None);
        let last = |actions: &[Action]| track.steps.iter().rev().find(|step| actions.contains(&step.action));
        match track.state {
            State::Unknown => {
                // A refused DELETE says more than the look after it, which proves nothing then.
                let refused = last(&[Action::Delete]).filter(|_| track.deletes.refused);
                let step = refused.or(track.steps.last()).cloned();
                Some(Reason::new(step, track.given_up.map(Stop::interruption)))
            }
            State::Present => last(&[Action::Delete]).filter(|step| !step.ended_well).map(because),
            State::Absent => last(&[Action::Create]).filter(|step| !step.succeeded).map(because),
        }
    }

    pub(super) fn report(&self, ending: &Ending) -> Report {
        let hosts = (0..self.tracks.len()).map(|host| HostReport {
            host: self.hosts[host].clone(),
            state: self.tracks[host].state,
            steps: self.tracks[host].steps.clone(),
            reason: self.reason(host),
        });
        let hosts: Vec<HostReport> = hosts.collect();
        let journal = |source: &JournalError| Some(Cause::Journal { source: source.clone() });
        let (outcome, cause) = match ending {
            Ending::Reported(outcome) => {
                (report::refined_outcome(*outcome, self.cause.as_ref(), &hosts), self.cause.clone())
            }
            Ending::Finished => (report::outcome_of_removal_or_repair(self.operation, &hosts), self.cause.clone()),
            Ending::Unrecorded(source) => (Outcome::Unrecorded, journal(source)),
            Ending::Busy(holder) => (Outcome::Busy, Some(Cause::Busy { holder: holder.clone() })),
            Ending::Conflict { unfinished, unnamed } => {
                let (unfinished, unnamed) = (unfinished.clone(), unnamed.clone());
                (Outcome::Conflict, Some(Cause::Conflict { unfinished, unnamed }))
            }
            Ending::Journal(source) => (Outcome::JournalFailed, journal(source)),
        };
        Report {
            id: self.id,
            group: self.group.clone(),
            operation: if self.recovering { Operation::Recover } else { self.operation },
            outcome,
            hosts,
            cause,
            earlier: self.earlier.clone(),
            recoverable: self.recoverable && self.kept,
            finishes_repair: self.recovering && self.own_purpose() == Purpose::Present,
            notes: self.notes.clone(),
            elapsed: self.now,
        }
    }
}
