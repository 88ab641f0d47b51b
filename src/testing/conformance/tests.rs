//! The check accepts our own journals, and finds each planted bug by the rule that it breaks.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Condvar, Mutex};
use std::thread::ThreadId;
use std::time::UNIX_EPOCH;

use super::*;
use crate::journal::{InMemoryJournal, JournalEntry, Unfinished};
use crate::values::cause::JournalError;
use crate::values::host::Host;
use crate::values::intent::Stamp;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Bug {
    None,
    // busy
    LocksWithinOneHandle,
    WaitsForTheHolder,
    FailsInsteadOfBusy,
    // free
    StaysLocked,
    StaysLockedOnAnotherThread,
    // apart
    IgnoresCase,
    CutsAtSlash,
    // alone
    ChecksThenLocks,
    // holds
    EndsAtOnce,
    ForgetsItsEnd,
    // fresh
    RefusesToEraseNothing,
    // kept
    SortsHosts,
    ForgetsWasAbsent,
    ForgetsApi,
    // replaced
    KeepsTheFirst,
    // erased
    ErasesNothing,
    // at once
    RecordsAtTheEnd,
    // listed
    ListsBackwards,
    NamesNoHolder,
}

#[derive(Default)]
struct Store {
    held: Mutex<HashMap<String, ThreadId>>,
    freed: Condvar,
    intents: Mutex<BTreeMap<String, Intent>>,
}

/// A journal in memory that stores intents, with at most one bug.
struct MapJournal {
    store: Arc<Store>,
    /// The locks of this handle alone, for the bug that needs it.
    own: Arc<Store>,
    bug: Bug,
}

struct MapClaim {
    locks: Arc<Store>,
    store: Arc<Store>,
    key: String,
    inherited: Option<Intent>,
    late: Option<Intent>,
    /// Number of calls of `holds_until`.
    looks: AtomicUsize,
    bug: Bug,
}

impl MapJournal {
    fn key(&self, group: &GroupId) -> String {
        match self.bug {
            Bug::IgnoresCase => group.as_str().to_lowercase(),
            Bug::CutsAtSlash => group.as_str().split('/').next().unwrap_or_default().to_owned(),
            _ => group.as_str().to_owned(),
        }
    }
}

impl Journal for MapJournal {
    fn claim(&self, group: &GroupId) -> Result<Box<dyn Claim>, ClaimError> {
        let locks = if self.bug == Bug::LocksWithinOneHandle { &self.own } else { &self.store };
        let key = self.key(group);
        let mut held = locks.held.lock().unwrap();
        let mut is_held = held.contains_key(&key);
        if self.bug == Bug::ChecksThenLocks {
            drop(held);
            (0..200).for_each(|_| thread::yield_now());
            held = locks.held.lock().unwrap();
        }
        while is_held && self.bug == Bug::WaitsForTheHolder {
            held = locks.freed.wait(held).unwrap();
            is_held = held.contains_key(&key);
        }
        match is_held {
            true if self.bug == Bug::FailsInsteadOfBusy => return Err(ClaimError::Failed(JournalError::panicked())),
            true => return Err(ClaimError::Busy("another claim".into())),
            false => held.insert(key.clone(), thread::current().id()),
        };
        let inherited = self.store.intents.lock().unwrap().get(&key).cloned();
        let (locks, store, bug) = (Arc::clone(locks), Arc::clone(&self.store), self.bug);
        Ok(Box::new(MapClaim { locks, store, key, inherited, late: None, looks: AtomicUsize::new(0), bug }))
    }

    fn unfinished(&self) -> Result<Unfinished, JournalError> {
        let held = self.store.held.lock().unwrap();
        let entry = |(key, intent): (&String, &Intent)| {
            let entry = JournalEntry::new(intent.clone(), Stamp::new(7, None, UNIX_EPOCH));
            let is_held = held.contains_key(key) && self.bug != Bug::NamesNoHolder;
            if is_held { entry.held_by("process 7") } else { entry }
        };
        let mut entries: Vec<JournalEntry> = self.store.intents.lock().unwrap().iter().map(entry).collect();
        if self.bug == Bug::ListsBackwards {
            entries.reverse();
        }
        Ok(Unfinished { entries, unreadable: Vec::new() })
    }
}

impl Claim for MapClaim {
    fn inherited(&self) -> Option<&Intent> {
        self.inherited.as_ref()
    }

    fn holds_until(&self) -> Option<Instant> {
        let is_first = self.looks.fetch_add(1, Ordering::Relaxed) == 0;
        match self.bug {
            Bug::EndsAtOnce => Some(Instant::now()),
            Bug::ForgetsItsEnd if is_first => Some(Instant::now() + PATIENCE),
            _ => None,
        }
    }

    fn record(&mut self, intent: &Intent) -> Result<(), JournalError> {
        let mut intent = intent.clone();
        match (self.bug, intent.purpose) {
            (Bug::SortsHosts, _) => intent.hosts.sort_by(|a: &Host, b| a.as_str().cmp(b.as_str())),
            (Bug::ForgetsApi, _) => intent.api = Api::default().reference(),
            (Bug::ForgetsWasAbsent, Purpose::Create { .. }) => intent.purpose = Purpose::create(false),
            _ => {}
        }
        if self.bug == Bug::RecordsAtTheEnd {
            self.late = Some(intent);
            return Ok(());
        }
        let mut intents = self.store.intents.lock().unwrap();
        if self.bug != Bug::KeepsTheFirst || !intents.contains_key(&self.key) {
            intents.insert(self.key.clone(), intent);
        }
        Ok(())
    }

    fn erase(&mut self) -> Result<(), JournalError> {
        let mut intents = self.store.intents.lock().unwrap();
        self.late = None;
        if self.bug == Bug::ErasesNothing {
            return Ok(());
        }
        if intents.remove(&self.key).is_none() && self.bug == Bug::RefusesToEraseNothing {
            return Err(JournalError::new("erase", std::io::ErrorKind::NotFound.into()));
        }
        Ok(())
    }
}

impl Drop for MapClaim {
    fn drop(&mut self) {
        if let Some(intent) = self.late.take() {
            self.store.intents.lock().unwrap().insert(self.key.clone(), intent);
        }
        let mut held = self.locks.held.lock().unwrap();
        let stays = match self.bug {
            Bug::StaysLocked => true,
            Bug::StaysLockedOnAnotherThread => held.get(&self.key) != Some(&thread::current().id()),
            _ => false,
        };
        if !stays {
            held.remove(&self.key);
        }
        self.locks.freed.notify_all();
    }
}

/// Returns the names of the rules that a journal with this bug breaks.
fn broken(bug: Bug) -> Vec<String> {
    let store = Arc::new(Store::default());
    let open = || -> Arc<dyn Journal> { Arc::new(MapJournal { store: Arc::clone(&store), own: Arc::default(), bug }) };
    let patience = if bug == Bug::WaitsForTheHolder { Duration::from_millis(50) } else { PATIENCE };
    let all = violations(&[&LOCKS[..], &INTENTS].concat(), &open, patience);
    all.iter().map(|line| line.split(": ").next().unwrap().to_owned()).collect()
}

#[test]
fn journal_without_a_bug_is_accepted() {
    assert_eq!(broken(Bug::None), [""; 0]);
    let store = Arc::new(Store::default());
    journal_conformance(|| MapJournal { store: Arc::clone(&store), own: Arc::default(), bug: Bug::None });
    assert!(store.intents.lock().unwrap().is_empty() && store.held.lock().unwrap().is_empty());
}

#[test]
fn each_bug_is_found_by_the_rule_that_it_breaks() {
    for (bug, rule) in [
        (Bug::LocksWithinOneHandle, "busy"),
        (Bug::WaitsForTheHolder, "busy"),
        (Bug::FailsInsteadOfBusy, "busy"),
        (Bug::StaysLocked, "free"),
        (Bug::StaysLockedOnAnotherThread, "free"),
        (Bug::IgnoresCase, "apart"),
        (Bug::CutsAtSlash, "apart"),
        (Bug::ChecksThenLocks, "alone"),
        (Bug::EndsAtOnce, "holds"),
        (Bug::ForgetsItsEnd, "holds"),
        (Bug::RefusesToEraseNothing, "fresh"),
        (Bug::SortsHosts, "kept"),
        (Bug::ForgetsWasAbsent, "kept"),
        (Bug::ForgetsApi, "kept"),
        (Bug::KeepsTheFirst, "replaced"),
        (Bug::ErasesNothing, "erased"),
        (Bug::RecordsAtTheEnd, "at once"),
        (Bug::ListsBackwards, "listed"),
        (Bug::NamesNoHolder, "listed"),
    ] {
        let broken = broken(bug);
        assert!(broken.iter().any(|name| name == rule), "{bug:?} breaks {broken:?}");
    }
}

#[test]
fn message_names_the_rule_and_what_the_journal_did() {
    let store = Arc::new(Store::default());
    let open = || MapJournal { store: Arc::clone(&store), own: Arc::default(), bug: Bug::KeepsTheFirst };
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| journal_conformance(open))).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.contains("the journal breaks its contract:") && text.contains("replaced: a claim of"), "{text}");
}

#[test]
#[cfg(unix)]
fn directory_journal_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    journal_conformance(|| crate::journal::DirectoryJournal::open(&path).unwrap());
    // One handle, cloned, as the client holds it.
    let one = crate::journal::DirectoryJournal::open(&path).unwrap();
    journal_conformance(|| one.clone());
    let left: Vec<_> = std::fs::read_dir(&path).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// The journal of a client without one stores no intent, so only the locks are checked.
#[test]
fn journal_in_memory_conforms_as_a_lock() {
    let one: Arc<dyn Journal> = Arc::new(InMemoryJournal::default());
    assert_eq!(violations(&LOCKS, &|| Arc::clone(&one), PATIENCE), [""; 0]);
}
