//! The claim of one group: a lock in etcd under a lease.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

use super::keys::{self, LockValue, MAX_INTENT};
use super::round::Done;
use super::session::Hold;
use super::store::Store;
use super::txn::{Effect, KeyAction, KeyChange, Step};
use crate::journal::Claim;
use crate::journal::calls::AnyClaim;
use crate::values::cause::JournalError;
use crate::values::group::GroupId;
use crate::values::intent::{ClaimError, Intent, Stamp};

/// A claim that is about to be made.
pub(super) struct Bid {
    group: GroupId,
    stamp: Stamp,
    lock: LockValue,
}

impl Bid {
    /// Returns the claim of a group, and its change.
    pub(super) fn new(store: &Store, group: &GroupId) -> (Self, KeyChange) {
        let stamp = Stamp::new(std::process::id(), store.machine.as_deref(), SystemTime::now());
        let lock = LockValue::new(&stamp);
        let change = store.change_of(group, KeyAction::Claim(lock.clone()));
        (Bid { group: group.clone(), stamp, lock }, change)
    }

    /// Returns the claim after its change was made.
    pub(super) fn result(
        self,
        store: &Arc<Store>,
        done: Result<Done, JournalError>,
    ) -> Result<Box<dyn Claim>, ClaimError> {
        let done = done.map_err(ClaimError::Failed)?;
        let (fence, text, session) = match (done.effect, done.hold) {
            (Effect::Claimed(fence, text), Some(session)) => (fence, text, session),
            (Effect::Busy(holder), _) => return Err(ClaimError::Busy(holder)),
            _ => return Err(ClaimError::Failed(JournalError::panicked())),
        };
        let Bid { group, stamp, lock } = self;
        let (store, lost) = (Arc::clone(store), OnceLock::new());
        let mut claim =
            EtcdClaim { session, store, group, stamp, fence, lock, lost, is_released: false, inherited: None };
        if let Some(text) = text {
            let key = claim.store.keys.intent(&claim.group);
            // If it cannot be read, the drop of the claim releases the group.
            let entry = keys::entry(&key, claim.group.as_str().as_bytes(), &text);
            let entry = entry.map_err(|problem| ClaimError::Failed(invalid("read the intent in etcd", problem)))?;
            claim.inherited = Some(entry.intent().clone());
        }
        Ok(Box::new(claim))
    }
}

/// Claims one group.
pub(super) fn claim(store: &Arc<Store>, group: &GroupId) -> Result<Box<dyn Claim>, ClaimError> {
    let (bid, change) = Bid::new(store, group);
    bid.result(store, store.change(change))
}

/// The lock on one group.
pub(super) struct EtcdClaim {
    /// Dropped before the journal, which waits for the end of its session.
    session: Arc<Hold>,
    store: Arc<Store>,
    group: GroupId,
    stamp: Stamp,
    /// The revision that created the lock.
    fence: i64,
    /// The lock with the number of the last change, whether that was made or not.
    lock: LockValue,
    /// The time at which a change has found the lock gone, although the lease may live.
    lost: OnceLock<Instant>,
    /// The drop has nothing left to do in etcd.
    is_released: bool,
    inherited: Option<Intent>,
}

impl Claim for EtcdClaim {
    fn inherited(&self) -> Option<&Intent> {
        self.inherited.as_ref()
    }

    fn holds_until(&self) -> Option<Instant> {
        let until = self.session.holds_until();
        Some(self.lost.get().map_or(until, |lost| until.min(*lost)))
    }

    fn record(&mut self, intent: &Intent) -> Result<(), JournalError> {
        let change = self.change_to(Some(intent))?;
        self.changed(self.store.change(change))
    }

    fn erase(&mut self) -> Result<(), JournalError> {
        let change = self.change_to(None)?;
        self.changed(self.store.change(change))
    }

    fn as_any(&mut self) -> AnyClaim<'_> {
        Some(self)
    }
}

impl EtcdClaim {
    /// The change that records this intent, or erases the current one.
    pub(super) fn change_to(&mut self, intent: Option<&Intent>) -> Result<KeyChange, JournalError> {
        let text = intent.map(|intent| self.text_of(intent)).transpose();
        let text = text.map_err(|problem| invalid("record the intent in etcd", problem))?;
        self.lock.step += 1;
        let step = Step { fence: self.fence, lock: self.lock.clone() };
        let action = match text {
            Some(text) => KeyAction::Record(step, text),
            None => KeyAction::Erase(step),
        };
        Ok(self.store.change_of(&self.group, action))
    }

    pub(super) fn changed(&self, done: Result<Done, JournalError>) -> Result<(), JournalError> {
        if done?.effect == Effect::Changed {
            return Ok(());
        }
        self.lost.get_or_init(Instant::now);
        Err(JournalError::claim_lost())
    }

    /// The change that deletes the lock, unless that was done, or cannot be done.
    pub(super) fn release(&mut self) -> Option<KeyChange> {
        if std::mem::replace(&mut self.is_released, true) || self.session.holds_until() <= Instant::now() {
            return None;
        }
        if self.store.sessions.has_failed() {
            // While etcd cannot be reached, each claim would wait its whole patience. The lock ends with the lease.
            self.session.retire();
            return None;
        }
        Some(self.store.change_of(&self.group, KeyAction::Release(self.fence)))
    }

    /// Takes the result of the release. After a failure the lock may stay, and ends with the lease.
    pub(super) fn released(&self, released: &Result<Done, JournalError>) {
        if released.is_err() {
            self.session.retire();
        }
    }

    /// The text of an intent. Refuses an intent that could not be stored or read again, before anything is sent.
    fn text_of(&self, intent: &Intent) -> Result<String, String> {
        if intent.group() != &self.group {
            return Err(format!("the intent is of another group, {:?}", intent.group().as_str()));
        }
        let text = intent.to_text(&self.stamp);
        if text.len() > MAX_INTENT {
            return Err(format!("the intent has {} bytes, more than {MAX_INTENT}: split the cluster", text.len()));
        }
        match Intent::parse(text.as_bytes()) {
            Ok(_) => Ok(text),
            Err(reason) => Err(format!("the intent could not be read again, {reason}")),
        }
    }
}

impl Drop for EtcdClaim {
    fn drop(&mut self) {
        if let Some(release) = self.release() {
            let released = self.store.change(release);
            self.released(&released);
        }
    }
}

fn invalid(action: &'static str, problem: String) -> JournalError {
    JournalError::new(action, io::Error::new(io::ErrorKind::InvalidData, problem))
}
