//! Floor 3: the journal calls of one turn of the driver, made together by one thread.
//!
//! Claims of a local journal are quick, so one thread makes many of them. Changes of intents share the syncs of the
//! disk, so one thread makes them together. Both are in separate batches, so that no claim waits for a sync.

use std::sync::PoisonError;

use crate::client::journal_calls::{JournalCall, JournalResult, SharedClaim, caught};
use crate::journal::{Journal, PreparedChange};
use crate::values::cause::JournalError;
use crate::values::intent::Intent;

/// Calls for one thread, each with the slot of its operation.
pub(crate) type Batch = Vec<(usize, JournalCall)>;

/// Splits calls into batches of one thread each.
pub(crate) fn split(calls: Batch, is_local: bool) -> Vec<Batch> {
    if !is_local {
        return calls.into_iter().map(|call| vec![call]).collect();
    }
    let is_change = |call: &JournalCall| matches!(call, JournalCall::Record(..) | JournalCall::Erase(_));
    let (changes, others): (Batch, Batch) = calls.into_iter().partition(|(_, call)| is_change(call));
    [others, changes].into_iter().filter(|batch| !batch.is_empty()).collect()
}

/// Makes the calls. Returns first the calls to repeat: those that failed for lack of descriptors, unless `is_last`. Then
/// the results of the others, whose calls and claims are dropped before.
pub(crate) fn make(journal: &dyn Journal, batch: Batch, is_last: bool) -> (Batch, Vec<(usize, JournalResult)>) {
    let mut exhausted = Vec::new();
    let mut results = Vec::with_capacity(batch.len());
    let mut finish = |slot, call, result: JournalResult| {
        if result.is_exhausted() && !is_last {
            exhausted.push((slot, call));
        } else {
            drop(call);
            results.push((slot, result));
        }
    };
    let (mut prepared, mut changes) = (Vec::new(), Vec::new());
    for (slot, mut call) in batch {
        match prepare(&call) {
            Some(Ok(change)) => {
                changes.push(change);
                prepared.push((slot, call));
            }
            Some(Err(error)) => {
                let result = result_of(&call, Err(error));
                finish(slot, call, result);
            }
            None => {
                let result = call.run(journal);
                finish(slot, call, result);
            }
        }
    }
    for ((slot, call), result) in prepared.into_iter().zip(PreparedChange::carry_out(changes)) {
        let result = result_of(&call, result);
        finish(slot, call, result);
    }
    (exhausted, results)
}

fn prepare(call: &JournalCall) -> Option<Result<PreparedChange, JournalError>> {
    let (claim, intent): (&SharedClaim, Option<&Intent>) = match call {
        JournalCall::Record(claim, intent) => (claim, Some(intent)),
        JournalCall::Erase(claim) => (claim, None),
        JournalCall::Claim(_) | JournalCall::Release(_) => return None,
    };
    let mut claim = claim.lock().unwrap_or_else(PoisonError::into_inner);
    caught(|| claim.prepare(intent), || Some(Err(JournalError::panicked())))
}

fn result_of(call: &JournalCall, result: Result<(), JournalError>) -> JournalResult {
    match call {
        JournalCall::Record(..) => JournalResult::Recorded(result),
        _ => JournalResult::Erased(result),
    }
}
