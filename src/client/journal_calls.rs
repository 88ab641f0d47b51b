//! Floor 3: calls of the journal. It may be a user's own type, so a panic becomes an error.
//!
//! A call that fails for lack of descriptors is repeated once, after the idle connections were closed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::journal::{Claim, Journal, Unfinished};
use crate::sync::now;
use crate::values::cause::JournalError;
use crate::values::group::GroupId;
use crate::values::intent::{ClaimError, Intent};

pub(crate) type SharedClaim = Arc<Mutex<Box<dyn Claim>>>;

/// A call of the journal for one operation.
pub(crate) enum JournalCall {
    Claim(GroupId),
    Record(SharedClaim, Intent),
    Erase(SharedClaim),
    /// Drops the claim of an operation that has ended, before its result is returned.
    Release(Option<SharedClaim>),
}

/// Result of a [`JournalCall`].
pub(crate) enum JournalResult {
    /// The claim, and the intent of an unfinished operation.
    Claimed(Result<(Box<dyn Claim>, Option<Intent>), ClaimError>),
    Recorded(Result<(), JournalError>),
    Erased(Result<(), JournalError>),
    Released,
}

impl JournalCall {
    /// Makes the call.
    pub(crate) fn run(&mut self, journal: &dyn Journal) -> JournalResult {
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

/// Calls [`Journal::unfinished`]. If it fails for lack of descriptors, calls `shed_idle` and repeats it once.
pub(crate) fn unfinished(journal: &dyn Journal, shed_idle: impl FnOnce()) -> Result<Unfinished, JournalError> {
    let call = || caught(|| journal.unfinished(), || Err(JournalError::panicked()));
    let first = call();
    let is_exhausted = match &first {
        Ok(found) => found.unreadable.iter().any(JournalError::is_exhausted),
        Err(error) => error.is_exhausted(),
    };
    if !is_exhausted {
        return first;
    }
    shed_idle();
    call()
}

fn claim(journal: &dyn Journal, group: &GroupId) -> Result<(Box<dyn Claim>, Option<Intent>), ClaimError> {
    let claim = || {
        journal.claim(group).map(|claim| {
            let inherited = claim.inherited().cloned();
            (claim, inherited)
        })
    };
    caught(claim, || Err(ClaimError::Failed(JournalError::panicked())))
}

fn with(
    claim: &SharedClaim,
    act: impl FnOnce(&mut Box<dyn Claim>) -> Result<(), JournalError>,
) -> Result<(), JournalError> {
    let mut claim = claim.lock().unwrap_or_else(PoisonError::into_inner);
    caught(|| act(&mut claim), || Err(JournalError::panicked()))
}

/// Returns the end of a claim, or `None` if it has none, or while another thread calls it. A claim that panics has ended.
pub(crate) fn holds_until(claim: &SharedClaim) -> Option<Instant> {
    let claim = claim.try_lock().ok()?;
    caught(|| claim.holds_until(), || Some(now()))
}

pub(crate) fn caught<T>(call: impl FnOnce() -> T, panicked: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| panicked())
}
