//! Floor 3: calls of the journal outside a batch. It may be a user's own type, so a panic becomes an error.
//!
//! A call that fails for lack of descriptors is repeated once, after the idle connections were closed.

use std::time::Instant;

use crate::journal::calls::{SharedClaim, caught};
use crate::journal::{Journal, Unfinished};
use crate::sync::now;
use crate::values::cause::JournalError;

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

/// Returns the end of a claim, or `None` if it has none, or while another thread calls it. A claim that panics has ended.
pub(crate) fn holds_until(claim: &SharedClaim) -> Option<Instant> {
    let claim = claim.try_lock().ok()?;
    caught(|| claim.holds_until(), || Some(now()))
}
