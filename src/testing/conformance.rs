//! The rules of [`Journal`], as checks that any implementation can be put through.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::journal::{Claim, Journal};
use crate::values::api::Api;
use crate::values::group::GroupId;
use crate::values::host::Hosts;
use crate::values::intent::{ClaimError, Intent, Purpose};

/// Time after which a call counts as one that waits for another claim.
const PATIENCE: Duration = Duration::from_secs(10);

/// Checks an implementation of [`Journal`] against the trait's contract. `open` returns a new handle on one and the same
/// journal, as another process would open it. The groups of the check begin with `conformance`, and it leaves none
/// behind.
///
/// | rule | what is checked |
/// | --- | --- |
/// | `busy` | a second claim of a held group is [`ClaimError::Busy`], through each handle, and does not wait |
/// | `free` | the end of a claim frees its group, also on another thread |
/// | `apart` | groups are locked apart, also those whose ids differ in case, a slash, a dot or a last letter |
/// | `alone` | of many threads that claim one group at once, one gets it |
/// | `holds` | a claim that ends by itself ([`Claim::holds_until`]) does so in the future, and every look returns a time |
/// | `fresh` | a group without an intent inherits none, and an erase of nothing succeeds |
/// | `kept` | a recorded intent is inherited whole: purpose, hosts in their order, API, for any id |
/// | `replaced` | a second record replaces the first |
/// | `erased` | an erased intent is neither inherited nor listed, and a claim without a record leaves none |
/// | `at once` | an intent is listed when `record` returns, before the claim ends |
/// | `listed` | [`Journal::unfinished`] lists the groups in order, each with its intent, and with a holder while it is claimed |
///
/// Not checked, because a test of one process cannot: that the death of a process frees its groups, and that a change
/// survives a loss of power.
///
/// # Panics
/// If a rule does not hold. The message names each of those rules, and what the journal did.
///
/// ```
/// use cluster_client::DirectoryJournal;
/// use cluster_client::testing::journal_conformance;
///
/// let directory = tempfile::tempdir()?;
/// journal_conformance(|| DirectoryJournal::open(directory.path().join("journal")).expect("it can be opened"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn journal_conformance<J: Journal + 'static>(open: impl Fn() -> J) {
    let open = || -> Arc<dyn Journal> { Arc::new(open()) };
    let violations = violations(&[&LOCKS[..], &INTENTS].concat(), &open, PATIENCE);
    assert!(violations.is_empty(), "the journal breaks its contract:\n  {}", violations.join("\n  "));
}

/// Opens a handle on the journal, and knows how long a call may take.
struct Checked<'a> {
    open: &'a dyn Fn() -> Arc<dyn Journal>,
    patience: Duration,
}

type Rule = (&'static str, fn(&Checked<'_>) -> Result<(), String>);

/// The rules of a journal that only locks.
const LOCKS: [Rule; 5] = [("busy", busy), ("free", free), ("apart", apart), ("alone", alone), ("holds", holds)];
/// The rules of a journal that stores intents too.
const INTENTS: [Rule; 6] = [
    ("fresh", fresh),
    ("kept", kept),
    ("replaced", replaced),
    ("erased", erased),
    ("at once", at_once),
    ("listed", listed),
];

/// Returns a line for each rule that the journal breaks.
fn violations(rules: &[Rule], open: &dyn Fn() -> Arc<dyn Journal>, patience: Duration) -> Vec<String> {
    let checked = Checked { open, patience };
    let broken = |(name, rule): &Rule| rule(&checked).err().map(|what| format!("{name}: {what}"));
    rules.iter().filter_map(broken).collect()
}

// --- locks

fn busy(checked: &Checked<'_>) -> Result<(), String> {
    let group = group("busy");
    let (first, other) = (checked.open(), checked.open());
    let _held = checked.claim(&first, &group)?;
    for (journal, which) in [(&first, "the same handle"), (&other, "another handle")] {
        match checked.try_claim(journal, &group)? {
            Err(ClaimError::Busy(_)) => {}
            Ok(_) => return Err(format!("{which} claims a group that is held")),
            Err(ClaimError::Failed(error)) => return Err(format!("{which} fails instead of being busy: {error}")),
        }
    }
    Ok(())
}

fn free(checked: &Checked<'_>) -> Result<(), String> {
    let group = group("free");
    let (first, other) = (checked.open(), checked.open());
    drop(checked.claim(&first, &group)?);
    let held = checked.claim(&other, &group).map_err(|what| format!("after the end of a claim, {what}"))?;
    let _ = thread::spawn(move || drop(held)).join();
    checked.claim(&first, &group).map_err(|what| format!("after the end of a claim on another thread, {what}"))?;
    Ok(())
}

fn apart(checked: &Checked<'_>) -> Result<(), String> {
    let journal = checked.open();
    let mut held = Vec::new();
    for group in similar() {
        held.push(
            checked
                .claim(&journal, &group)
                .map_err(|what| format!("while groups with similar ids are held, {what}"))?,
        );
    }
    Ok(())
}

fn alone(checked: &Checked<'_>) -> Result<(), String> {
    const THREADS: usize = 8;
    const ROUNDS: usize = 25;
    let group = group("alone");
    let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let journals: Vec<_> = (0..THREADS).map(|_| checked.open()).collect();
    let (begin, patience) = (Barrier::new(THREADS), checked.patience);
    let compete = |journal: &Arc<dyn Journal>| {
        for _ in 0..ROUNDS {
            begin.wait();
            let Ok(Ok(held)) = try_claim(journal, &group, patience) else { continue };
            most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            // Give the others time to get it too.
            (0..100).for_each(|_| thread::yield_now());
            inside.fetch_sub(1, Ordering::SeqCst);
            drop(held);
        }
    };
    thread::scope(|scope| journals.iter().for_each(|journal| drop(scope.spawn(|| compete(journal)))));
    match most.into_inner() {
        1 => Ok(()),
        most => Err(format!("of {THREADS} threads that claimed a group at once, {most} got it")),
    }
}

fn holds(checked: &Checked<'_>) -> Result<(), String> {
    let held = checked.claim(&checked.open(), &group("holds"))?;
    let ends = held.holds_until().is_some();
    for _ in 0..100 {
        let until = held.holds_until();
        if until.is_some() != ends {
            return Err("a claim ends by itself, or not, but not both".into());
        }
        if until.is_some_and(|until| until <= Instant::now()) {
            return Err("a new claim has ended".into());
        }
    }
    Ok(())
}

// --- intents

fn fresh(checked: &Checked<'_>) -> Result<(), String> {
    let mut claim = checked.claim(&checked.open(), &group("fresh"))?;
    if let Some(intent) = claim.inherited() {
        return Err(format!("a group without an intent inherits {intent:?}"));
    }
    claim.erase().map_err(|error| format!("an erase of nothing fails: {error}"))
}

fn kept(checked: &Checked<'_>) -> Result<(), String> {
    let api = Api::new("/v2/groups", "/v2/groups/{id}").map_err(|error| error.to_string())?;
    for group in similar() {
        for purpose in [Purpose::create(true), Purpose::create(false), Purpose::Delete, Purpose::Present] {
            for intent in [intent(&group, purpose, 3), intent(&group, purpose, 1).with_api(&api)] {
                checked.record(&intent)?;
                checked.inherits(&group, Some(&intent))?;
            }
        }
    }
    similar().iter().try_for_each(|group| checked.erase(group))
}

fn replaced(checked: &Checked<'_>) -> Result<(), String> {
    let group = group("replaced");
    let (first, second) = (intent(&group, Purpose::create(true), 3), intent(&group, Purpose::Delete, 1));
    let mut held = checked.claim(&checked.open(), &group)?;
    for intent in [&first, &second] {
        held.record(intent).map_err(|error| format!("a record in the place of another fails: {error}"))?;
    }
    drop(held);
    checked.inherits(&group, Some(&second))?;
    checked.erase(&group)
}

fn erased(checked: &Checked<'_>) -> Result<(), String> {
    let group = group("erased");
    checked.record(&intent(&group, Purpose::Delete, 2))?;
    checked.erase(&group)?;
    checked.inherits(&group, None)?;
    let is_listed = checked.list()?.iter().any(|(listed, _, _)| *listed == group);
    if is_listed { Err("an erased intent is listed".into()) } else { Ok(()) }
}

fn at_once(checked: &Checked<'_>) -> Result<(), String> {
    let group = group("at once");
    let journal = checked.open();
    let mut held = checked.claim(&journal, &group)?;
    let intent = intent(&group, Purpose::Present, 2);
    held.record(&intent).map_err(|error| format!("a record fails: {error}"))?;
    let seen = checked.list()?.into_iter().find(|(listed, _, _)| *listed == group);
    held.erase().map_err(|error| format!("an erase fails: {error}"))?;
    let left = checked.list()?.into_iter().any(|(listed, _, _)| listed == group);
    match seen {
        Some((_, seen, _)) if seen == intent && !left => Ok(()),
        Some((_, seen, _)) if seen == intent => Err("an intent is listed after `erase` has returned".into()),
        _ => Err("another handle does not list an intent after `record` has returned".into()),
    }
}

fn listed(checked: &Checked<'_>) -> Result<(), String> {
    let journal = checked.open();
    let mut groups = similar();
    groups.sort_unstable();
    // Recorded in another order than the list's.
    for group in groups.iter().rev() {
        checked.record(&intent(group, Purpose::Delete, 2))?;
    }
    let held = checked.claim(&journal, &groups[0])?;
    let seen: Vec<_> = checked.list()?.into_iter().filter(|(group, _, _)| is_ours(group)).collect();
    drop(held);
    let after = checked.list()?;
    groups.iter().try_for_each(|group| checked.erase(group))?;

    let names: Vec<GroupId> = seen.iter().map(|(group, _, _)| group.clone()).collect();
    if names != groups {
        return Err(format!("lists {names:?} instead of {groups:?}"));
    }
    if let Some((group, _, _)) = seen.iter().find(|(group, seen, _)| *seen != intent(group, Purpose::Delete, 2)) {
        return Err(format!("lists another intent of {group} than was recorded"));
    }
    if let Some((group, _, holder)) = seen.iter().find(|(group, _, holder)| holder.is_some() != (*group == groups[0])) {
        return Err(format!("the holder of {group} is {holder:?} while only {} is claimed", groups[0]));
    }
    match after.iter().find(|(group, _, holder)| is_ours(group) && holder.is_some()) {
        Some((group, _, holder)) => Err(format!("the holder of {group} is {holder:?} after the claim has ended")),
        None => Ok(()),
    }
}

// --- calls, with what is wrong in words

impl Checked<'_> {
    fn open(&self) -> Arc<dyn Journal> {
        (self.open)()
    }

    fn try_claim(&self, journal: &Arc<dyn Journal>, group: &GroupId) -> Result<ClaimResult, String> {
        try_claim(journal, group, self.patience)
    }

    fn claim(&self, journal: &Arc<dyn Journal>, group: &GroupId) -> Result<Box<dyn Claim>, String> {
        self.try_claim(journal, group)?.map_err(|error| match error {
            ClaimError::Busy(holder) => format!("{group} is busy although nothing holds it: {holder}"),
            ClaimError::Failed(error) => format!("a claim of {group} fails: {error}"),
        })
    }

    fn record(&self, intent: &Intent) -> Result<(), String> {
        let mut held = self.claim(&self.open(), intent.group())?;
        held.record(intent).map_err(|error| format!("a record of {} fails: {error}", intent.group()))
    }

    fn erase(&self, group: &GroupId) -> Result<(), String> {
        let mut held = self.claim(&self.open(), group)?;
        held.erase().map_err(|error| format!("an erase of {group} fails: {error}"))
    }

    fn inherits(&self, group: &GroupId, expected: Option<&Intent>) -> Result<(), String> {
        let held = self.claim(&self.open(), group)?;
        match held.inherited() {
            found if found == expected => Ok(()),
            found => Err(format!("a claim of {group} inherits {found:?} instead of {expected:?}")),
        }
    }

    /// Returns group, intent and holder of each entry.
    fn list(&self) -> Result<Vec<Listed>, String> {
        let found = self.open().unfinished();
        let found = found.map_err(|error| format!("the unfinished operations cannot be read: {error}"))?;
        let entries = found.entries.iter();
        Ok(entries.map(|e| (e.group().clone(), e.intent().clone(), e.holder().map(str::to_owned))).collect())
    }
}

/// Claims on another thread, so that a call that waits ends the check instead of blocking it.
fn try_claim(journal: &Arc<dyn Journal>, group: &GroupId, patience: Duration) -> Result<ClaimResult, String> {
    let (send, receive) = mpsc::channel();
    let (journal, claimed) = (Arc::clone(journal), group.clone());
    thread::spawn(move || send.send(journal.claim(&claimed)));
    receive.recv_timeout(patience).map_err(|_| format!("a claim of {group} waits {patience:?}"))
}

type ClaimResult = Result<Box<dyn Claim>, ClaimError>;
type Listed = (GroupId, Intent, Option<String>);

fn intent(group: &GroupId, purpose: Purpose, hosts: usize) -> Intent {
    const HOSTS: [&str; 3] = ["http://node2:8000", "http://node1:8000", "https://node3"];
    let hosts = Hosts::parse(&HOSTS[..hosts]).expect("these are hosts");
    let intent = Intent::new(group.clone(), purpose, &hosts);
    // A journal with a format of its own may forget these.
    let authorized = intent.hosts.iter().filter(|host| host.is_https()).cloned().collect();
    Intent { authorized, settle: Intent::LONGEST_SETTLE, ..intent }
}

const PREFIX: &str = "conformance ";

fn group(name: &str) -> GroupId {
    GroupId::parse(format!("{PREFIX}{name}")).expect("a name of a rule is an id")
}

fn is_ours(group: &GroupId) -> bool {
    group.as_str().starts_with(PREFIX)
}

/// Returns groups that a store could take for one another, and one with the longest id.
fn similar() -> Vec<GroupId> {
    let longest = "l".repeat(GroupId::MAX_BYTES - PREFIX.len());
    ["a", "A", "a/b", "a%2Fb", "a.intent", "../a", "a ", "ä", longest.as_str()].map(group).to_vec()
}

#[cfg(test)]
mod tests;
