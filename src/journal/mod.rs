//! Floor 2: the journal, which stores intents and locks groups.
//!
//! A claim locks a group for one operation, and writes and erases its intent. A directory is one journal. A
//! coordination service, with a key per group and a lease as its lock, can be another without a change of the protocol.

pub(crate) mod calls;
pub(crate) mod directory;
#[cfg(all(feature = "etcd", not(loom)))]
mod etcd;
mod group_commit;
mod machine;
mod unfinished;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use self::calls::{AnyClaim, Batching, JournalCall, JournalResult};
use crate::values::cause::JournalError;
use crate::values::group::GroupId;
use crate::values::intent::{ClaimError, Intent};

pub use self::directory::DirectoryJournal;
#[cfg(all(feature = "etcd", not(loom)))]
pub use self::etcd::{EtcdJournal, EtcdJournalBuilder};
pub use self::unfinished::{JournalEntry, Unfinished};

/// Stores the intents of unfinished operations, and lets one operation at a time work on a group.
///
/// # Contract
/// * From a successful [`claim`](Journal::claim) to the drop of its result, every other claim of that group returns
///   [`ClaimError::Busy`], in each process that uses the journal. The death of the owner frees the group. A claim that
///   can end earlier says so: see [`Claim::holds_until`]. After its end, [`Claim::record`] and [`Claim::erase`] fail.
/// * An acknowledged [`Claim::record`] survives a crash of the process or the machine, and so does an acknowledged
///   [`Claim::erase`]. A failed call may leave either state.
/// * No call waits for another claim. An unreadable intent is reported.
///
/// # Calls from the client
/// * No lock of the client is held during a call. A journal may call the client again, under the rules of
///   [`Observer`](crate::Observer). The group of the current call is busy meanwhile.
/// * A call that fails with `EMFILE` or `ENFILE` is retried once, after the client has closed its idle connections.
/// * A panic is caught and counts as a failed call.
///
/// ```
/// use std::collections::{BTreeMap, BTreeSet};
/// use std::sync::{Arc, Mutex};
/// use std::time::SystemTime;
/// use cluster_client::{Claim, ClaimError, GroupId, Intent, Journal, JournalEntry, JournalError, Stamp, Unfinished};
///
/// /// Keeps intents in memory: enough for a test, but they do not survive the process.
/// #[derive(Clone, Default)]
/// struct Memory {
///     held: Arc<Mutex<BTreeSet<GroupId>>>,
///     intents: Arc<Mutex<BTreeMap<GroupId, Intent>>>,
/// }
///
/// impl Journal for Memory {
///     fn claim(&self, group: &GroupId) -> Result<Box<dyn Claim>, ClaimError> {
///         if !self.held.lock().unwrap().insert(group.clone()) {
///             return Err(ClaimError::Busy("another operation of this process".into()));
///         }
///         let inherited = self.intents.lock().unwrap().get(group).cloned();
///         Ok(Box::new(Held { journal: self.clone(), group: group.clone(), inherited }))
///     }
///
///     fn unfinished(&self) -> Result<Unfinished, JournalError> {
///         let stamp = Stamp::new(std::process::id(), None, SystemTime::now());
///         let (held, intents) = (self.held.lock().unwrap(), self.intents.lock().unwrap());
///         let mut unfinished = Unfinished::default();
///         for (group, intent) in &*intents {
///             let entry = JournalEntry::new(intent.clone(), stamp.clone());
///             unfinished.entries.push(if held.contains(group) { entry.held_by("this process") } else { entry });
///         }
///         Ok(unfinished)
///     }
/// }
///
/// struct Held {
///     journal: Memory,
///     group: GroupId,
///     inherited: Option<Intent>,
/// }
///
/// impl Claim for Held {
///     fn inherited(&self) -> Option<&Intent> {
///         self.inherited.as_ref()
///     }
///
///     fn record(&mut self, intent: &Intent) -> Result<(), JournalError> {
///         self.journal.intents.lock().unwrap().insert(self.group.clone(), intent.clone());
///         Ok(())
///     }
///
///     fn erase(&mut self) -> Result<(), JournalError> {
///         self.journal.intents.lock().unwrap().remove(&self.group);
///         Ok(())
///     }
/// }
///
/// impl Drop for Held {
///     fn drop(&mut self) {
///         self.journal.held.lock().unwrap().remove(&self.group);
///     }
/// }
///
/// let journal = Memory::default();
/// # #[cfg(feature = "testing")]
/// cluster_client::testing::journal_conformance(|| journal.clone());
/// ```
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

    /// Which calls of one turn of a driver are made by one thread.
    #[doc(hidden)]
    fn batching(&self) -> Batching {
        Batching::Single
    }

    /// Makes calls of different operations, together where the journal can. Returns their results in order.
    #[doc(hidden)]
    fn make(&self, calls: &mut [JournalCall]) -> Vec<JournalResult> {
        calls.iter_mut().map(|call| call.run(self)).collect()
    }

    /// Length of the lease under which claims are made, or `None` if they do not end by themselves. The default is `None`.
    ///
    /// [`ClientBuilder::build`](crate::ClientBuilder::build) refuses a lease that is shorter than twice the request timeout
    /// plus two seconds. A journal that wraps another one passes its length on.
    fn lease(&self) -> Option<Duration> {
        None
    }
}

/// The lock on one group. Dropping it frees the group and keeps its intent.
///
/// ```
/// use cluster_client::{Claim, DirectoryJournal, GroupId, Hosts, Intent, Journal, Purpose};
///
/// # let directory = tempfile::tempdir()?;
/// let journal = DirectoryJournal::open(directory.path().join("journal"))?;
/// let group = GroupId::parse("payments")?;
/// let intent = Intent::new(group.clone(), Purpose::Delete, &Hosts::parse(["http://node1:8000"])?);
///
/// let mut claim: Box<dyn Claim> = journal.claim(&group).expect("the group is free");
/// assert!(journal.claim(&group).is_err());
/// claim.record(&intent)?;
/// assert_eq!(journal.unfinished()?.groups().count(), 1);
/// claim.erase()?;
/// assert_eq!(journal.unfinished()?.groups().count(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Claim: Send {
    /// The intent that a dead owner has left, as read by the claim.
    fn inherited(&self) -> Option<&Intent>;

    /// Returns the time until which no other claim of the group can succeed, or `None` if that is until the drop. The
    /// default is `None`.
    ///
    /// A lease ends by itself, so a claim under a lease returns a time: start of the last successful renewal, plus the
    /// length of the lease. A renewal moves it; a lost lease may move it into the past. A POST or DELETE starts only if
    /// its whole timeout ends before that time. Afterwards the operation changes nothing more, keeps its intent, and
    /// ends in doubt with [`Cause::ClaimLost`](crate::Cause::ClaimLost).
    ///
    /// A claim that is always renewed for less time than a request takes ends the operation after the rollback timeout:
    /// see [`Journal::lease`]. [`Instant`] may stand still while the machine is suspended, and a lease does not.
    ///
    /// The client calls it often, so it must return at once. If the first call returns `None`, the client does not call
    /// it again for this claim.
    fn holds_until(&self) -> Option<Instant> {
        None
    }

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

    /// The claim as its own type, for a journal that makes calls together.
    #[doc(hidden)]
    fn as_any(&mut self) -> AnyClaim<'_> {
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
