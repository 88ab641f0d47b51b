//! The state that all clones and claims of a journal share.

use std::cell::Cell;
use std::time::Duration;

use super::gateway::Gateway;
use super::keys::KeyNames;
use super::round::{self, Done};
use super::sessions::Sessions;
use super::txn::{KeyAction, KeyChange};
use crate::journal::group_commit::GroupCommit;
use crate::journal::machine::machine_name;
use crate::values::cause::JournalError;
use crate::values::group::GroupId;

/// The state that all clones and claims of a journal share.
pub(super) struct Store {
    pub(super) keys: KeyNames,
    pub(super) sessions: Sessions,
    pub(super) machine: Option<String>,
    rounds: GroupCommit<KeyChange, Done>,
}

impl Store {
    pub(super) fn new(gateway: Gateway, prefix: String, ttl: Duration) -> Self {
        let keys = KeyNames { prefix };
        let sessions = Sessions::new(gateway, ttl, keys.locks());
        Store { keys, sessions, machine: machine_name(), rounds: GroupCommit::default() }
    }

    pub(super) fn change_of(&self, group: &GroupId, action: KeyAction) -> KeyChange {
        KeyChange { lock: self.keys.lock(group), intent: self.keys.intent(group), action }
    }

    /// Makes a change together with those of other threads.
    pub(super) fn change(&self, change: KeyChange) -> Result<Done, JournalError> {
        self.change_all(vec![change]).pop().unwrap_or_else(|| Err(JournalError::panicked()))
    }

    /// Makes changes together with those of other threads. Returns their results in order.
    pub(super) fn change_all(&self, changes: Vec<KeyChange>) -> Vec<Result<Done, JournalError>> {
        if IN_ROUND.get() {
            // The next round begins only after the one of this thread.
            return round::carry_out(&self.sessions, &changes).results;
        }
        self.rounds.join_all(changes, |changes| {
            let _mark = RoundMark::set();
            round::carry_out(&self.sessions, changes)
        })
    }
}

thread_local! {
    /// This thread carries out a round. A logger that ureq calls meanwhile may call the journal again.
    static IN_ROUND: Cell<bool> = const { Cell::new(false) };
}

/// Marks the thread until it is dropped.
struct RoundMark;

impl RoundMark {
    fn set() -> Self {
        IN_ROUND.set(true);
        RoundMark
    }
}

impl Drop for RoundMark {
    fn drop(&mut self) {
        IN_ROUND.set(false);
    }
}
