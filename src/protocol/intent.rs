//! The intent: its content, and what follows after it was recorded or erased.

use super::{Machine, Rules};
use crate::values::cause::JournalError;
use crate::values::event::Phase;
use crate::values::host::Host;
use crate::values::intent::{Intent, Purpose};
use crate::values::outcome::Outcome;
use crate::values::report::{Cause, Note, Operation, Target};

impl<R: Rules> Machine<R> {
    pub(super) fn begin_intent(&mut self) {
        self.enter(Phase::Intend);
        if !R::must_intend() {
            self.recorded(Ok(()));
        }
    }

    /// Ends an operation that was cancelled, or has no time left, before its first change.
    pub(super) fn abort_if_expired(&mut self) {
        if self.cancelled {
            self.give_up(Cause::Cancelled);
        } else if !self.time_left(self.now) {
            self.give_up(Cause::TimedOut { host: None });
        }
    }

    /// Returns the intent to record. At the end of a pass it names the hosts that are left, and the hosts where a POST
    /// may still take effect.
    pub(super) fn intent(&self) -> Intent {
        let unsettled =
            |host: &usize| self.phase == Phase::Intend || self.is_left(*host) || self.has_unsettled_post(*host);
        let hosts: Vec<Host> = (0..self.hosts.len()).filter(unsettled).map(|host| self.hosts[host].clone()).collect();
        let authorized = hosts.iter().filter(|host| self.authorized.has(host)).cloned().collect();
        let (group, purpose, api) = (self.group.clone(), self.own_purpose(), self.api.reference());
        Intent { group, purpose, api, hosts, authorized, settle: self.limits.settle }
    }

    /// The purpose of the current pass.
    pub(super) fn own_purpose(&self) -> Purpose {
        match (self.recovering, self.purpose, self.operation) {
            (true, Some(inherited), _) => inherited,
            (_, _, Operation::Create) => Purpose::Create { was_absent: self.preflight },
            (_, _, Operation::Repair(Target::Present)) => Purpose::Present,
            _ => Purpose::Delete,
        }
    }

    pub(super) fn recorded(&mut self, recorded: Result<(), JournalError>) {
        self.awaiting_journal = false;
        match (self.phase, recorded) {
            (Phase::Finish, Err(_)) if self.has_claim_ended() => self.end_without_claim(),
            // The entry belongs to an older operation, which stays unfinished.
            (Phase::Intend, Err(error)) if R::stops_unrecorded() && self.recoverable => {
                self.end_with(Outcome::JournalFailed, Cause::journal(error));
            }
            (Phase::Intend, Err(error)) if R::stops_unrecorded() => {
                self.abandoned = Some(error);
            }
            (Phase::Intend, _) => {
                self.recoverable = true;
                self.purpose = Some(self.own_purpose());
                self.begin_changes();
            }
            (_, recorded) => {
                self.recoverable = true;
                self.note_failure(recorded, Note::OlderEntryStays);
                self.finish_pass(true);
            }
        }
    }

    pub(super) fn erased(&mut self, erased: Result<(), JournalError>) {
        self.awaiting_journal = false;
        match (self.phase, erased) {
            (Phase::Commit | Phase::Finish, Err(_)) if self.has_claim_ended() => self.end_without_claim(),
            (Phase::Commit, Err(error)) => {
                self.recoverable = true;
                if R::undoes_failed_commit() {
                    return self.begin_removal();
                }
                self.end_with(Outcome::Unrecorded, Cause::journal(error));
            }
            (Phase::Commit, Ok(())) => {
                self.recoverable = false;
                self.end(Outcome::Created);
            }
            (_, erased) => {
                if let Some(error) = self.abandoned.take() {
                    self.note_failure(erased, Note::PartialEntryStays);
                    return self.end_with(Outcome::JournalFailed, Cause::journal(error));
                }
                self.recoverable = erased.is_err();
                self.note_failure(erased, Note::SettledEntryStays);
                self.finish_pass(false);
            }
        }
    }

    fn note_failure(&mut self, result: Result<(), JournalError>, note: fn(JournalError) -> Note) {
        self.notes.extend(result.err().map(note));
    }
}
