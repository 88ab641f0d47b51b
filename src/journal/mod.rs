//! Floor 2: the journal, which stores intents and locks groups.
//!
//! A claim locks a group for one operation, and writes and erases its intent. A directory is one journal. A
//! coordination service, with a key per group and a lease as its lock, can be another without a change of the protocol.

pub(crate) mod directory;
mod unfinished;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::values::cause::JournalError;
use crate::values::group::GroupId;
use crate::values::intent::{ClaimError, Intent};

pub use self::directory::DirectoryJournal;
pub(crate) use self::directory::PreparedChange;
pub use self::unfinished::{JournalEntry, Unfinished};

/// Stores the intents of unfinished operations, and lets one operation at a time work on a group.
///
/// # Contract
/// * From a successful [`claim`](Journal::claim) to the drop of its result, every other claim of that group returns
///   [`ClaimError::Busy`], in each process that uses the journal. The death of the owner frees the group.
/// * An acknowledged [`Claim::record`] survives a crash of the process or the machine, and so does an acknowledged
///   [`Claim::erase`]. A failed call may leave either state.
/// * No call waits for another claim. An unreadable intent is reported.
///
/// # Calls from the client
/// * No lock of the client is held during a call. A journal may call the client again, under the rules of
///   [`Observer`](crate::Observer). The group of the current call is busy meanwhile.
/// * A call that fails with `EMFILE` or `ENFILE` is retried once, after the client has closed its idle connections.
/// * A panic is caught and counts as a failed call.
pub trait Journal: Send + Sync {
    /// Locks a group, without waiting.
    ///
    /// # Errors
    /// [`ClaimError::Busy`] while a living operation holds the group; [`ClaimError::Failed`] if the journal cannot be
    /// used, or the intent of the group cannot be read.
    fn claim(&self, group: &GroupId) -> Result<Box<dyn Claim>, ClaimError>;

    /// Returns all unfinished operations, also those of living owners.
    ///
    /// # Errors
    /// A [`JournalError`] if the journal as a whole cannot be read.
    fn unfinished(&self) -> Result<Unfinished, JournalError>;

    /// Whether claims are fast, so that a driver makes those of many groups on one thread.
    #[doc(hidden)]
    fn is_local(&self) -> bool {
        false
    }
}

/// The lock on one group. Dropping it frees the group and keeps its intent.
pub trait Claim: Send {
    /// The intent that a dead owner has left, as read by the claim.
    fn inherited(&self) -> Option<&Intent>;

    /// Makes `intent` durable before it returns. It replaces an older intent.
    ///
    /// # Errors
    /// A [`JournalError`]. The journal then holds the older intent or the new one; without an older one, maybe none.
    fn record(&mut self, intent: &Intent) -> Result<(), JournalError>;

    /// Removes the intent durably before it returns. Succeeds if there is none.
    ///
    /// # Errors
    /// A [`JournalError`]. The journal may still hold the intent.
    fn erase(&mut self) -> Result<(), JournalError>;

    /// Prepares to record this intent, or to erase the current one, together with changes of other claims. Returns
    /// `None` if the claim makes each change by itself.
    #[doc(hidden)]
    fn prepare(&mut self, _: Option<&Intent>) -> Option<Result<PreparedChange, JournalError>> {
        None
    }
}

/// The journal of a client without one: it locks groups within the client, and stores no intent.
#[derive(Debug, Default)]
pub(crate) struct InMemoryJournal {
    held: Arc<Mutex<HashSet<GroupId>>>,
}

struct InMemoryClaim {
    group: GroupId,
    held: Arc<Mutex<HashSet<GroupId>>>,
}

impl Journal for InMemoryJournal {
    fn claim(&self, group: &GroupId) -> Result<Box<dyn Claim>, ClaimError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if !held.insert(group.clone()) {
            return Err(ClaimError::Busy("another operation of this client works on it".into()));
        }
        Ok(Box::new(InMemoryClaim { group: group.clone(), held: Arc::clone(&self.held) }))
    }

    fn unfinished(&self) -> Result<Unfinished, JournalError> {
        Ok(Unfinished::default())
    }
}

impl Claim for InMemoryClaim {
    fn inherited(&self) -> Option<&Intent> {
        None
    }

    fn record(&mut self, _: &Intent) -> Result<(), JournalError> {
        Ok(())
    }

    fn erase(&mut self) -> Result<(), JournalError> {
        Ok(())
    }
}

impl Drop for InMemoryClaim {
    fn drop(&mut self) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.group);
    }
}
