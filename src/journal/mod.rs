//! Floor 2: where intents are kept, and the lock on a group.
//!
//! A claim is both: it holds the group for one operation, and it is the hand that writes and removes the
//! group's intent. A directory is one store; a coordination service (one key per group, a lease as the
//! lock) can be another without a change of the protocol.

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

/// Keeps the intents of unfinished operations, and lets one operation at a time work on a group.
///
/// # Contract
/// * Between a successful [`claim`](Journal::claim) and the drop of what it returns, every other claim
///   of that group answers [`ClaimError::Busy`], in this process and in every other that uses the store.
///   The death of the owner frees it.
/// * What [`Claim::record`] has acknowledged is there after a crash of the process or the machine, and what
///   [`Claim::erase`] has acknowledged is not. A call that failed may have left either state.
/// * Nothing here waits for another claim, and no intent that cannot be read is passed over in silence.
///
/// # Calls from the client
/// * No lock of the client is held during a call. A store may call the client again, under the rules of
///   [`Observer`](crate::Observer). The group of the call that it serves is busy meanwhile.
/// * A call that fails with `EMFILE` or `ENFILE` is repeated once, after the client has closed its idle connections.
/// * A panic is caught and counts as a failed call.
pub trait Journal: Send + Sync {
    /// Takes the lock on a group, without waiting.
    ///
    /// # Errors
    /// [`ClaimError::Busy`] while somebody living holds it; [`ClaimError::Failed`] where the store cannot be
    /// used, or holds an intent for the group that cannot be read.
    fn claim(&self, group: &GroupId) -> Result<Box<dyn Claim>, ClaimError>;

    /// Everything that is unfinished, also what a living owner holds.
    ///
    /// # Errors
    /// A [`JournalError`] where the store as a whole cannot be read.
    fn unfinished(&self) -> Result<Unfinished, JournalError>;

    /// Whether claims are made and dropped quickly, so that a driver has one thread do so for many groups.
    #[doc(hidden)]
    fn is_local(&self) -> bool {
        false
    }
}

/// The lock on one group. Dropping it frees the group and keeps its intent.
pub trait Claim: Send {
    /// What an owner that died has left, as it was when the group was claimed.
    fn inherited(&self) -> Option<&Intent>;

    /// Makes `intent` durable in the place of an older one, before it returns.
    ///
    /// # Errors
    /// A [`JournalError`]; the older intent, the new one, or (where there was none) none is there.
    fn record(&mut self, intent: &Intent) -> Result<(), JournalError>;

    /// Removes the intent durably, before it returns. Where none is there, that is success.
    ///
    /// # Errors
    /// A [`JournalError`]; the intent may be there or not.
    fn erase(&mut self) -> Result<(), JournalError>;

    /// Prepares to record this intent, or to erase the one that is there, together with changes of other claims.
    /// `None` if the claim makes each change by itself.
    #[doc(hidden)]
    fn prepare(&mut self, _: Option<&Intent>) -> Option<Result<PreparedChange, JournalError>> {
        None
    }
}

/// The store of a client that was given none: it keeps two operations of one client off the same group,
/// and remembers nothing.
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
