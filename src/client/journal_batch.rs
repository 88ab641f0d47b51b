//! Floor 3: the journal calls of one turn of the driver, made together by one thread where the journal can.

use crate::journal::Journal;
use crate::journal::calls::{Batching, JournalCall, JournalResult, caught};

/// Calls for one thread, each with the slot of its operation.
pub(crate) type Batch = Vec<(usize, JournalCall)>;

/// Splits calls into batches of one thread each.
pub(crate) fn split(calls: Batch, batching: Batching) -> Vec<Batch> {
    let batches: Vec<Batch> = match batching {
        Batching::Single => calls.into_iter().map(|call| vec![call]).collect(),
        Batching::ByKind => {
            let (changes, others): (Batch, Batch) = calls.into_iter().partition(|(_, call)| call.is_change());
            vec![others, changes]
        }
        Batching::All => vec![calls],
    };
    batches.into_iter().filter(|batch| !batch.is_empty()).collect()
}

/// Makes the calls. Returns first the calls to repeat: those that failed for lack of descriptors, unless `is_last`. Then
/// the results of the others, whose calls and claims are dropped before.
pub(crate) fn make(journal: &dyn Journal, batch: Batch, is_last: bool) -> (Batch, Vec<(usize, JournalResult)>) {
    let (slots, mut calls): (Vec<usize>, Vec<JournalCall>) = batch.into_iter().unzip();
    let made = caught(|| journal.make(&mut calls), Vec::new);
    let mut made = made.into_iter();
    let mut exhausted = Vec::new();
    let mut results = Vec::with_capacity(calls.len());
    for (slot, call) in slots.into_iter().zip(calls) {
        let result = made.next().unwrap_or_else(|| call.panicked());
        if result.is_exhausted() && !is_last {
            exhausted.push((slot, call));
        } else {
            drop(call);
            results.push((slot, result));
        }
    }
    (exhausted, results)
}
