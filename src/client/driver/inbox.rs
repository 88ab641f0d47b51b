//! The inbox: operations and results that other threads pass to the thread in the seat. Also the journal calls, which
//! threads of the pool make.
//!
//! Only the thread in the seat may use the engine. A journal call that failed for lack of descriptors returns there. It
//! is repeated once, after the idle connections were closed.

use std::sync::Arc;

use super::{Driver, Role, lock};
use crate::client::journal_batch::{self, Batch};
use crate::client::parts::Parts;
use crate::journal::calls::JournalResult;
use crate::protocol::Machine;
use crate::sync::{Mutex, Wake, now};

/// The inbox, and the waker of the thread that reads it.
pub(super) struct Mail {
    pub(super) inbox: Mutex<Inbox>,
    pub(super) waker: Arc<dyn Wake>,
}

#[derive(Default)]
pub(super) struct Inbox {
    pub(super) machines: Vec<(usize, Machine)>,
    pub(super) results: Vec<(usize, JournalResult)>,
    /// Journal calls that failed for lack of descriptors, by their slot.
    pub(super) exhausted: Batch,
    pub(super) cancelled: bool,
}

impl Driver {
    /// Passes the content of the inbox to the machines.
    pub(super) fn read_inbox(self: &Arc<Self>, parts: &mut Parts) {
        let Inbox { machines, results, exhausted, cancelled } = std::mem::take(&mut *lock(&self.mail.inbox));
        if !exhausted.is_empty() {
            parts.shed_idle();
            self.hand_to_pool(exhausted, true);
        }
        if machines.is_empty() && results.is_empty() && !cancelled {
            return;
        }
        let time = now();
        for (position, machine) in machines {
            parts.operations.add(position, machine, time);
        }
        parts.journal_calls -= results.len();
        for (slot, result) in results {
            parts.operations.complete_journal_call(slot, result, time);
        }
        if cancelled {
            parts.cancel(time);
        }
    }

    /// Makes the journal calls on threads of the pool, or on this thread if there are none.
    pub(super) fn hand_to_pool(self: &Arc<Self>, calls: Batch, is_last: bool) {
        for batch in journal_batch::split(calls, self.client.journal.batching()) {
            let (journal, mail, driver) = (Arc::clone(&self.client.journal), Arc::clone(&self.mail), Arc::clone(self));
            let make = move || {
                let (exhausted, results) = journal_batch::make(&*journal, batch, is_last);
                let mut inbox = lock(&mail.inbox);
                inbox.exhausted.extend(exhausted);
                inbox.results.extend(results);
                drop(inbox);
                mail.waker.wake();
                if driver.leads {
                    driver.attend(Role::Leader);
                }
            };
            if let Err(make) = self.client.pool.spawn(Box::new(make)) {
                make();
            }
        }
    }
}
