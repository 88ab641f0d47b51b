//! [`EtcdJournal`]: the journal as the client sees it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::gateway::Gateway;
use super::store::Store;
use super::{claim, together, unfinished};
use crate::journal::calls::{Batching, JournalCall, JournalResult};
use crate::journal::{Claim, Journal, Unfinished};
use crate::values::cause::JournalError;
use crate::values::group::GroupId;
use crate::values::intent::ClaimError;

/// Stores each intent as a key of etcd, and locks groups by keys under a lease. Coordinators on several machines that
/// use one prefix exclude each other, and recover each other's operations. Cloning is cheap, and clones share the lease
/// and transactions.
///
/// # Guarantees
/// * A claim holds as long as its lease: [`Claim::holds_until`] is a time before the last successful renewal was sent,
///   plus the length of the lease. A suspend of the machine counts, by the clock of the day. One thread renews it, from
///   the first claim until the journal is dropped.
/// * Every change compares the revision that created the lock, in the transaction of the change. So a claim that was
///   lost changes nothing in etcd.
/// * The groups of a process that dies are free after one length of the lease.
/// * Concurrent operations share transactions.
/// * Nothing is left below the prefix when no operation runs and none is unfinished.
/// * Errors name the endpoints and the remedy, and no secret.
///
/// # Limits
/// It needs etcd 3.4 or later with its JSON gateway, which is on by default. Take 3.4.31, 3.5.13 or later: a leader of an
/// older one that was stopped ends the leases of the living (etcd's issue 15247). An intent is at most 700 KiB. Without a
/// majority of the members, no claim succeeds, and no lease ends. Before the first claim a transaction checks that the
/// store knows the fields that are used. Opening sends nothing.
///
/// ```no_run
/// use std::sync::Arc;
/// use cluster_client::{ClusterClient, EtcdJournal};
///
/// let journal = EtcdJournal::builder("etcd://etcd1:2379,etcd2:2379,etcd3:2379/payments").open()?;
/// let client = ClusterClient::builder()
///     .hosts(["http://node1:8000", "http://node2:8000"])
///     .custom_journal(Arc::new(journal))
///     .build()?;
/// # Ok::<(), cluster_client::Error>(())
/// ```
#[derive(Clone)]
pub struct EtcdJournal {
    store: Arc<Store>,
}

impl EtcdJournal {
    /// The prefix of all keys, without a slash at its end.
    pub fn prefix(&self) -> &str {
        &self.store.keys.prefix
    }

    /// The length of the lease.
    pub fn ttl(&self) -> Duration {
        self.store.sessions.ttl
    }

    /// The session of the next claim.
    #[cfg(test)]
    pub(super) fn session(&self) -> Arc<super::session::Session> {
        self.store.sessions.open().expect("etcd can be reached")
    }

    pub(super) fn new(gateway: Gateway, prefix: String, ttl: Duration) -> Self {
        EtcdJournal { store: Arc::new(Store::new(gateway, prefix, ttl)) }
    }
}

impl fmt::Debug for EtcdJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdJournal").field("prefix", &self.prefix()).finish_non_exhaustive()
    }
}

impl Journal for EtcdJournal {
    fn claim(&self, group: &GroupId) -> Result<Box<dyn Claim>, ClaimError> {
        claim::claim(&self.store, group)
    }

    fn unfinished(&self) -> Result<Unfinished, JournalError> {
        unfinished::read(&self.store.sessions.gateway, &self.store.keys)
    }

    fn lease(&self) -> Option<Duration> {
        Some(self.store.sessions.ttl)
    }

    fn batching(&self) -> Batching {
        Batching::All
    }

    /// Makes all calls in one round.
    fn make(&self, calls: &mut [JournalCall]) -> Vec<JournalResult> {
        together::make(self, &self.store, calls)
    }
}
