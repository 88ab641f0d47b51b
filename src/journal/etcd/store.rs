//! The state that all clones and claims of a journal share.

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
        self.rounds.join(change, |changes| round::carry_out(&self.sessions, changes))
    }

    /// Makes changes together with those of other threads. Returns their results in order.
    pub(super) fn change_all(&self, changes: Vec<KeyChange>) -> Vec<Result<Done, JournalError>> {
        self.rounds.join_all(changes, |changes| round::carry_out(&self.sessions, changes))
    }
}
