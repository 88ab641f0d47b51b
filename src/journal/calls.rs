//! Calls of a journal as values, so that a journal can make those of many operations together.
//!
//! The journal may be a user's own type, so a panic becomes an error.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Claim, Journal};
use crate::values::cause::JournalError;
use crate::values::group::GroupId;
use crate::values::intent::{ClaimError, Intent};

/// A claim, shared by an operation and the thread that calls it.
pub(crate) type SharedClaim = Arc<Mutex<Box<dyn Claim>>>;

/// A call of the journal for one operation.
pub enum JournalCall {
    Claim(GroupId),
    Record(SharedClaim, Intent),
    Erase(SharedClaim),
    /// Drops the claim of an operation that has ended, before its result is returned.
    Release(Option<SharedClaim>),
}

/// Result of a [`JournalCall`].
pub enum JournalResult {
    /// The claim, and the intent of an unfinished operation.
    Claimed(Result<(Box<dyn Claim>, Option<Intent>), ClaimError>),
    Recorded(Result<(), JournalError>),
    Erased(Result<(), JournalError>),
    Released,
}

/// The calls of one turn of a driver that one thread makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batching {
    /// Each call has a thread of its own.
    Single,
    /// One thread makes the claims and releases, another one the changes of intents. No claim waits for a change.
    ByKind,
    /// One thread makes all calls.
    All,
}

impl JournalCall {
    /// Makes the call.
    pub(crate) fn run<J: Journal + ?Sized>(&mut self, journal: &J) -> JournalResult {
        match self {
            JournalCall::Claim(group) => JournalResult::Claimed(claim(journal, group)),
            JournalCall::Record(claim, intent) => JournalResult::Recorded(with(claim, |claim| claim.record(intent))),
            JournalCall::Erase(claim) => JournalResult::Erased(with(claim, |claim| claim.erase())),
            JournalCall::Release(claim) => {
                let _ = catch_unwind(AssertUnwindSafe(|| drop(claim.take())));
                JournalResult::Released
            }
        }
    }

    /// Whether it changes an intent.
    pub(crate) fn is_change(&self) -> bool {
        matches!(self, JournalCall::Record(..) | JournalCall::Erase(_))
    }

    /// Calls `prepare` with the claim of a change and the intent to record, if the claim is of this type.
    pub(super) fn prepare<C: Claim + 'static, T>(
        &self,
        prepare: impl FnOnce(&mut C, Option<&Intent>) -> T,
    ) -> Option<T> {
        let (claim, intent): (&SharedClaim, Option<&Intent>) = match self {
            JournalCall::Record(claim, intent) => (claim, Some(intent)),
            JournalCall::Erase(claim) => (claim, None),
            JournalCall::Claim(_) | JournalCall::Release(_) => return None,
        };
        let mut claim = claim.lock().unwrap_or_else(PoisonError::into_inner);
        let claim = caught(|| claim.as_any(), || None)?;
        Some(prepare(claim.downcast_mut()?, intent))
    }

    /// The result of a change that was made in another way.
    pub(super) fn changed(&self, result: Result<(), JournalError>) -> JournalResult {
        match self {
            JournalCall::Record(..) => JournalResult::Recorded(result),
            JournalCall::Erase(_) => JournalResult::Erased(result),
            JournalCall::Claim(_) => JournalResult::Claimed(Err(ClaimError::Failed(JournalError::panicked()))),
            JournalCall::Release(_) => JournalResult::Released,
        }
    }

    /// The result of a call whose journal has panicked.
    pub(crate) fn panicked(&self) -> JournalResult {
        self.changed(Err(JournalError::panicked()))
    }
}

impl JournalResult {
    /// Returns whether the call failed for lack of descriptors or memory.
    pub(crate) fn is_exhausted(&self) -> bool {
        match self {
            JournalResult::Claimed(Err(ClaimError::Failed(error)))
            | JournalResult::Recorded(Err(error))
            | JournalResult::Erased(Err(error)) => error.is_exhausted(),
            _ => false,
        }
    }
}

/// The result of a claim, with a copy of the intent that it has found.
pub(super) fn with_inherited(claim: Box<dyn Claim>) -> (Box<dyn Claim>, Option<Intent>) {
    let inherited = claim.inherited().cloned();
    (claim, inherited)
}

fn claim<J: Journal + ?Sized>(journal: &J, group: &GroupId) -> Result<(Box<dyn Claim>, Option<Intent>), ClaimError> {
    caught(|| journal.claim(group).map(with_inherited), || Err(ClaimError::Failed(JournalError::panicked())))
}

fn with(
    claim: &SharedClaim,
    act: impl FnOnce(&mut Box<dyn Claim>) -> Result<(), JournalError>,
) -> Result<(), JournalError> {
    let mut claim = claim.lock().unwrap_or_else(PoisonError::into_inner);
    caught(|| act(&mut claim), || Err(JournalError::panicked()))
}

/// Returns the result of `call`, or that of `panicked` if it panics.
pub(crate) fn caught<T>(call: impl FnOnce() -> T, panicked: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| panicked())
}

/// A claim as its own type, for [`Claim::as_any`].
pub(super) type AnyClaim<'a> = Option<&'a mut dyn Any>;
