//! A journal in memory: enough for one process that restarts its client, and an example of the trait.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use cluster_client::{Claim, ClaimError, GroupId, Intent, Journal, JournalEntry, JournalError, Stamp, Unfinished};

/// A journal in memory. Its clones are handles on one journal.
#[derive(Debug, Clone, Default)]
pub struct MemoryJournal(Arc<Mutex<Content>>);

#[derive(Debug, Default)]
struct Content {
    held: HashSet<GroupId>,
    intents: BTreeMap<GroupId, (Intent, Stamp)>,
}

impl MemoryJournal {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for MemoryJournal {
    fn claim(&self, group: &GroupId) -> Result<Box<dyn Claim>, ClaimError> {
        let mut content = self.content();
        if !content.held.insert(group.clone()) {
            return Err(ClaimError::Busy("another operation of this process".into()));
        }
        let inherited = content.intents.get(group).map(|(intent, _)| intent.clone());
        Ok(Box::new(MemoryClaim { journal: self.clone(), group: group.clone(), inherited }))
    }

    fn unfinished(&self) -> Result<Unfinished, JournalError> {
        let content = self.content();
        let entry = |(group, (intent, stamp)): (&GroupId, &(Intent, Stamp))| {
            let entry = JournalEntry::new(intent.clone(), stamp.clone());
            if content.held.contains(group) { entry.held_by("this process") } else { entry }
        };
        let mut unfinished = Unfinished::default();
        unfinished.entries = content.intents.iter().map(entry).collect();
        Ok(unfinished)
    }
}

struct MemoryClaim {
    journal: MemoryJournal,
    group: GroupId,
    inherited: Option<Intent>,
}

impl Claim for MemoryClaim {
    fn inherited(&self) -> Option<&Intent> {
        self.inherited.as_ref()
    }

    fn record(&mut self, intent: &Intent) -> Result<(), JournalError> {
        let stamp = Stamp::new(std::process::id(), None, SystemTime::now());
        self.journal.content().intents.insert(self.group.clone(), (intent.clone(), stamp));
        Ok(())
    }

    fn erase(&mut self) -> Result<(), JournalError> {
        self.journal.content().intents.remove(&self.group);
        Ok(())
    }
}

impl Drop for MemoryClaim {
    fn drop(&mut self) {
        self.journal.content().held.remove(&self.group);
    }
}
