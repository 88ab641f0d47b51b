//! A journal of one's own: intents are values of a key-value store. Here the store is a map in memory, so it survives
//! the operation, but not the process. The conformance suite checks it, then a create is recovered from it.
//!
//! ```sh
//! cargo run --features testing --example own_journal
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use cluster_client::testing::{Cluster, Fault, Method, Node, journal_conformance};
use cluster_client::{
    Claim, ClaimError, ClusterClient, Error, GroupId, Intent, Journal, JournalEntry, JournalError, RetryPolicy, Stamp,
    Unfinished, UnreadableIntent,
};

#[derive(Default)]
struct Store {
    /// The text of each intent. Sorted by group, as [`Journal::unfinished`] lists them.
    intents: BTreeMap<GroupId, String>,
    /// The locks. In a store for several processes, the death of an owner has to free its group.
    claimed: BTreeSet<GroupId>,
}

/// A handle on the store. Each process would open one.
#[derive(Clone, Default)]
struct StoreJournal(Arc<Mutex<Store>>);

impl StoreJournal {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unreadable(group: &GroupId, error: UnreadableIntent) -> JournalError {
    JournalError::new(format!("read the key {group}"), io::Error::new(ErrorKind::InvalidData, error))
}

impl Journal for StoreJournal {
    fn claim(&self, group: &GroupId) -> Result<Box<dyn Claim>, ClaimError> {
        let mut store = self.store();
        if store.claimed.contains(group) {
            return Err(ClaimError::Busy(format!("process {}", std::process::id())));
        }
        let text = store.intents.get(group);
        let inherited = text.map(|text| Intent::parse(text.as_bytes())).transpose();
        let inherited = inherited.map_err(|error| ClaimError::Failed(unreadable(group, error)))?;
        store.claimed.insert(group.clone());
        Ok(Box::new(StoreClaim { journal: self.clone(), group: group.clone(), inherited }))
    }

    fn unfinished(&self) -> Result<Unfinished, JournalError> {
        let store = self.store();
        let mut unfinished = Unfinished::default();
        for (group, text) in &store.intents {
            match JournalEntry::parse(text.as_bytes()) {
                Ok(entry) if store.claimed.contains(group) => unfinished.entries.push(entry.held_by("this process")),
                Ok(entry) => unfinished.entries.push(entry),
                Err(error) => unfinished.unreadable.push(unreadable(group, error)),
            }
        }
        Ok(unfinished)
    }
}

struct StoreClaim {
    journal: StoreJournal,
    group: GroupId,
    inherited: Option<Intent>,
}

impl Claim for StoreClaim {
    fn inherited(&self) -> Option<&Intent> {
        self.inherited.as_ref()
    }

    /// A store on a disk returns when the disk has it.
    fn record(&mut self, intent: &Intent) -> Result<(), JournalError> {
        let stamp = Stamp::new(std::process::id(), None, SystemTime::now());
        self.journal.store().intents.insert(self.group.clone(), intent.to_text(&stamp));
        Ok(())
    }

    fn erase(&mut self) -> Result<(), JournalError> {
        self.journal.store().intents.remove(&self.group);
        Ok(())
    }
}

impl Drop for StoreClaim {
    fn drop(&mut self) {
        self.journal.store().claimed.remove(&self.group);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let journal = StoreJournal::default();
    journal_conformance(|| journal.clone());
    println!("the journal keeps the contract");

    let cluster = Cluster::start(3)?;
    let client = ClusterClient::builder()
        .hosts(cluster.urls())
        .custom_journal(Arc::new(journal.clone()))
        .retry(RetryPolicy::new().with_first_delay(Duration::from_millis(10)))
        .rollback_retry(RetryPolicy::new().with_first_delay(Duration::from_millis(10)))
        .settle(Duration::from_millis(100))
        .build()?;
    // One node refuses the group, and another one does not let go of it.
    cluster.node(2).inject(Fault::answer(503).on(Method::Post).always());
    cluster.node(1).inject(Fault::answer(503).on(Method::Delete).always());
    match client.create_group("payments") {
        Err(Error::Incomplete { report, .. }) => println!("{}", report.summary()),
        other => println!("{}", other?.summary()),
    }
    println!("unfinished: {}", journal.unfinished()?.entries.len());

    cluster.nodes().iter().for_each(Node::clear_faults);
    for report in client.recover()?.settled {
        println!("{}", report.summary());
    }
    println!("unfinished: {}", journal.unfinished()?.entries.len());
    Ok(())
}
