//! Calls of many operations in one round.

use std::sync::{Arc, PoisonError};

use super::claim::{Bid, EtcdClaim};
use super::store::Store;
use super::txn::KeyChange;
use crate::journal::calls::{JournalCall, JournalResult, with_inherited};
use crate::journal::{Claim, Journal};
use crate::values::cause::JournalError;
use crate::values::intent::Intent;

/// The step after the change of a call.
enum Then {
    /// There was no change.
    Return(JournalResult),
    Claim(Bid),
    Change,
    /// Drops the claim.
    Release(Box<dyn Claim>),
}

/// Makes the calls in one round. Returns their results in order.
pub(super) fn make(journal: &dyn Journal, store: &Arc<Store>, calls: &mut [JournalCall]) -> Vec<JournalResult> {
    let mut changes = Vec::new();
    let mut steps = Vec::with_capacity(calls.len());
    for call in calls.iter_mut() {
        let (change, then) = begin(journal, store, call);
        changes.extend(change);
        steps.push(then);
    }
    let mut done = store.change_all(changes).into_iter();
    let mut next = || done.next().unwrap_or_else(|| Err(JournalError::panicked()));
    let finish = |(call, then): (&JournalCall, Then)| match then {
        Then::Return(result) => result,
        Then::Claim(bid) => JournalResult::Claimed(bid.result(store, next()).map(with_inherited)),
        Then::Change => {
            let done = next();
            let result = call.prepare(|claim: &mut EtcdClaim, _| claim.changed(done));
            call.changed(result.unwrap_or_else(|| Err(JournalError::panicked())))
        }
        Then::Release(mut claim) => {
            let done = next();
            if let Some(claim) = own(&mut claim) {
                claim.released(&done);
            }
            JournalResult::Released
        }
    };
    calls.iter().zip(steps).map(finish).collect()
}

/// Returns the change of a call, and what follows. A claim of another journal is called by itself.
fn begin(journal: &dyn Journal, store: &Store, call: &mut JournalCall) -> (Option<KeyChange>, Then) {
    match call {
        JournalCall::Claim(group) => {
            let (bid, change) = Bid::new(store, group);
            (Some(change), Then::Claim(bid))
        }
        JournalCall::Release(held) => {
            let claim = held.take().and_then(Arc::into_inner);
            let Some(claim) = claim else { return (None, Then::Return(JournalResult::Released)) };
            let mut claim = claim.into_inner().unwrap_or_else(PoisonError::into_inner);
            match own(&mut claim).and_then(EtcdClaim::release) {
                Some(change) => (Some(change), Then::Release(claim)),
                None => (None, Then::Return(JournalResult::Released)),
            }
        }
        JournalCall::Record(..) | JournalCall::Erase(_) => {
            match call.prepare(|claim: &mut EtcdClaim, intent: Option<&Intent>| claim.change_to(intent)) {
                Some(Ok(change)) => (Some(change), Then::Change),
                Some(Err(error)) => (None, Then::Return(call.changed(Err(error)))),
                None => (None, Then::Return(call.run(journal))),
            }
        }
    }
}

fn own(claim: &mut Box<dyn Claim>) -> Option<&mut EtcdClaim> {
    claim.as_any()?.downcast_mut()
}
