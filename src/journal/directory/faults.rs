//! The directory journal on a disk that fails, and on a disk that loses power.
//!
//! Every call to the disk is numbered. A script of claims, records and erases runs once for each number and each kind
//! of failure. After each step a new journal reads the disk. For power loss the disk records which names and contents
//! were synced, and which changes came later. A file system may keep any subset of the later ones, so each is tried.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::DirectoryJournal;
use super::changes::{self, Change, Put};
use super::disk::{Disk, RealDisk};
use super::open_directory::OpenDirectory;
use super::tests::{group, intent};
use crate::journal::group_commit::RoundEnd;
use crate::journal::{Journal, JournalEntry};
use crate::values::cause::JournalError;
use crate::values::intent::{Intent, Stamp};

/// The result of one call.
#[derive(Debug, Clone, Copy, PartialEq)]
enum CallEffect {
    Done,
    /// The call fails without effect; a write has written its first half.
    NotDone,
    /// The call has its effect, and fails.
    DoneUnheard,
}

/// Decides the fate of a call by its number and name.
type Plan = dyn Fn(usize, &str) -> CallEffect + Send + Sync;

struct TestDisk {
    plan: Box<Plan>,
    /// Whether calls are numbered, and can fail.
    counts: AtomicBool,
    calls: Mutex<Vec<&'static str>>,
    account: Arc<Mutex<Account>>,
}

impl TestDisk {
    fn new(plan: impl Fn(usize, &str) -> CallEffect + Send + Sync + 'static) -> Arc<Self> {
        TestDisk::with_account(Arc::default(), plan)
    }

    fn with_account(
        account: Arc<Mutex<Account>>,
        plan: impl Fn(usize, &str) -> CallEffect + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(TestDisk { plan: Box::new(plan), counts: true.into(), calls: Mutex::default(), account })
    }

    /// Opens a journal without a fault. Later calls are counted.
    fn store(self: &Arc<Self>, path: &Path) -> DirectoryJournal {
        self.counts.store(false, Ordering::Relaxed);
        let disk: Arc<dyn Disk> = Arc::<TestDisk>::clone(self);
        let store = DirectoryJournal::open_on(disk, path).unwrap();
        self.counts.store(true, Ordering::Relaxed);
        store
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap()
    }

    fn call<T>(&self, name: &'static str, run: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if !self.counts.load(Ordering::Relaxed) {
            return run();
        }
        let number = {
            let mut calls = self.calls.lock().unwrap();
            calls.push(name);
            calls.len() - 1
        };
        let fault = || Err(io::Error::new(io::ErrorKind::StorageFull, "a fault of the test"));
        match (self.plan)(number, name) {
            CallEffect::Done => run(),
            CallEffect::NotDone => fault(),
            CallEffect::DoneUnheard => run().and_then(|_| fault()),
        }
    }
}

impl Disk for TestDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.call("create_dir", || RealDisk.create_dir(path))
    }

    fn open_dir(&self, path: &Path) -> io::Result<File> {
        self.call("open_dir", || RealDisk.open_dir(path))
    }

    fn leads_to(&self, path: &Path, dir: &File) -> io::Result<bool> {
        self.call("leads_to", || RealDisk.leads_to(path, dir))
    }

    fn sync_dir(&self, _: &File) -> io::Result<()> {
        self.call("sync_dir", || {
            self.account().sync_names();
            Ok(())
        })
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        self.call("create", || {
            let file = RealDisk.create(path)?;
            self.account().create(path, &file);
            Ok(file)
        })
    }

    fn write(&self, file: &mut File, text: &[u8]) -> io::Result<()> {
        let mut half = file.try_clone()?;
        let written = self.call("write", || {
            RealDisk.write(file, text)?;
            self.account().write(file, text);
            Ok(())
        });
        if written.is_err() && half.metadata()?.len() == 0 {
            let text = &text[..text.len() / 2];
            RealDisk.write(&mut half, text)?;
            self.account().write(&half, text);
        }
        written
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.call("sync", || {
            self.account().sync(file);
            Ok(())
        })
    }

    fn link(&self, file: &Path, name: &Path) -> io::Result<()> {
        self.call("link", || {
            RealDisk.link(file, name)?;
            self.account().link(file, name);
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call("rename", || {
            RealDisk.rename(from, to)?;
            self.account().rename(from, to);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call("remove", || {
            RealDisk.remove(path)?;
            self.account().remove(path);
            Ok(())
        })
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        self.call("open", || RealDisk.open(path))
    }

    fn read(&self, file: &mut File, limit: u64) -> io::Result<Vec<u8>> {
        self.call("read", || RealDisk.read(file, limit))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.call("list", || RealDisk.list(path))
    }

    fn open_lock(&self, path: &Path) -> io::Result<File> {
        self.call("open_lock", || {
            let fresh = !path.exists();
            let file = RealDisk.open_lock(path)?;
            if fresh {
                self.account().create(path, &file);
            }
            Ok(file)
        })
    }

    fn reopen_lock(&self, path: &Path) -> io::Result<File> {
        self.call("reopen_lock", || RealDisk.reopen_lock(path))
    }

    fn try_lock(&self, file: &File) -> Result<(), TryLockError> {
        let locked = self.call("try_lock", || match RealDisk.try_lock(file) {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        });
        match locked {
            Ok(true) => Ok(()),
            Ok(false) => Err(TryLockError::WouldBlock),
            Err(error) => Err(TryLockError::Error(error)),
        }
    }

    fn names(&self, path: &Path, file: &File) -> io::Result<bool> {
        self.call("names", || RealDisk.names(path, file))
    }
}

// --- the account of what would survive a power loss

#[derive(Default)]
struct Account {
    files: Vec<Content>,
    /// Inode numbers are reused, so each file has a number of its own here.
    number_of_inode: HashMap<u64, usize>,
    names: BTreeMap<OsString, usize>,
    synced_names: BTreeMap<OsString, usize>,
    unsynced: Vec<NameChange>,
}

#[derive(Default, Clone)]
struct Content {
    written: Vec<u8>,
    synced: Vec<u8>,
}

#[derive(Clone)]
enum NameChange {
    Name(OsString, usize),
    Rename(OsString, OsString, usize),
    Remove(OsString),
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<OsString, usize>) {
        match self {
            NameChange::Name(name, file) => drop(names.insert(name.clone(), *file)),
            NameChange::Rename(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
            NameChange::Remove(name) => drop(names.remove(name)),
        }
    }
}

impl Account {
    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.unsynced.push(change);
    }

    /// Counts the files of a directory as durable.
    fn adopt(&mut self, directory: &Path) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let content = std::fs::read(&path).unwrap();
            self.create(&path, &File::open(&path).unwrap());
            *self.files.last_mut().unwrap() = Content { written: content.clone(), synced: content };
        }
        self.sync_names();
    }

    fn create(&mut self, path: &Path, file: &File) {
        self.files.push(Content::default());
        let number = self.files.len() - 1;
        self.number_of_inode.insert(file.metadata().unwrap().ino(), number);
        self.change(NameChange::Name(name_of(path), number));
    }

    fn link(&mut self, file: &Path, name: &Path) {
        let file = self.names[&name_of(file)];
        self.change(NameChange::Name(name_of(name), file));
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        // The rename may survive although the creation of the older name does not.
        let file = self.names[&name_of(from)];
        self.change(NameChange::Rename(name_of(from), name_of(to), file));
    }

    fn remove(&mut self, path: &Path) {
        self.change(NameChange::Remove(name_of(path)));
    }

    fn write(&mut self, file: &File, text: &[u8]) {
        self.content(file).written = text.to_vec();
    }

    fn sync(&mut self, file: &File) {
        let content = self.content(file);
        content.synced = content.written.clone();
    }

    fn content(&mut self, file: &File) -> &mut Content {
        let number = self.number_of_inode[&file.metadata().unwrap().ino()];
        &mut self.files[number]
    }

    fn sync_names(&mut self) {
        self.synced_names = self.names.clone();
        self.unsynced.clear();
    }

    /// Every possible directory after a power loss: each subset of the unsynced changes, with the synced contents and
    /// with the written ones.
    fn after_power_loss(&self) -> Vec<BTreeMap<OsString, Vec<u8>>> {
        assert!(self.unsynced.len() < 12, "the script leaves too much unsynced to try it all");
        let mut outcomes = Vec::new();
        for kept in 0_u32..1 << self.unsynced.len() {
            let mut names = self.synced_names.clone();
            let changes = self.unsynced.iter().enumerate().filter(|(at, _)| kept >> at & 1 == 1);
            changes.for_each(|(_, change)| change.apply(&mut names));
            let of = |content: fn(&Content) -> &Vec<u8>| {
                names.iter().map(|(name, file)| (name.clone(), content(&self.files[*file]).clone())).collect()
            };
            outcomes.extend([of(|file| &file.synced), of(|file| &file.written)]);
        }
        outcomes.sort();
        outcomes.dedup();
        outcomes
    }
}

fn name_of(path: &Path) -> OsString {
    path.file_name().unwrap().to_owned()
}

// --- the script

/// The possible states on the disk: one after a success, also the older one after a failure.
struct Allowed {
    states: Vec<Option<Intent>>,
    successes: usize,
    failures: usize,
}

impl Allowed {
    fn only(state: Option<Intent>) -> Self {
        Allowed { states: vec![state], successes: 0, failures: 0 }
    }

    fn step(&mut self, succeeded: bool, state: Option<Intent>) {
        if succeeded {
            self.successes += 1;
            self.states.clear();
        } else {
            self.failures += 1;
        }
        if !self.states.contains(&state) {
            self.states.push(state);
        }
    }
}

/// Runs an operation that records, narrows and erases; then one that dies and is recovered by the next. Calls `look`
/// after each step.
fn run_script(store: &DirectoryJournal, allowed: &mut Allowed, mut look: impl FnMut(&Allowed)) {
    let wide = intent("g", &["http://node1:8000", "http://node2:8000"]);
    let narrow = intent("g", &["http://node2:8000"]);
    let operations: [&[Option<&Intent>]; 4] =
        [&[Some(&wide), Some(&narrow), None], &[Some(&wide)], &[Some(&narrow), None, None], &[Some(&wide), None]];
    for steps in operations {
        let Ok(mut claim) = store.claim(&group("g")) else {
            allowed.failures += 1;
            look(allowed);
            continue;
        };
        assert!(
            allowed.states.contains(&claim.inherited().cloned()),
            "inherited {:?} of {:?}",
            claim.inherited(),
            allowed.states
        );
        if claim.inherited().is_some() {
            // Recovery relies on it, so it must be durable from now on.
            allowed.step(true, claim.inherited().cloned());
        }
        look(allowed);
        for state in steps {
            let done = match state {
                Some(intent) => claim.record(intent),
                None => claim.erase(),
            };
            allowed.step(done.is_ok(), state.cloned());
            look(allowed);
        }
    }
}

/// Returns what a new journal reads, and checks that `unfinished` and a claim agree. The claim changes the directory,
/// so it comes last.
fn found(path: &Path) -> Option<Intent> {
    let store = DirectoryJournal::open(path).unwrap();
    let unfinished = store.unfinished().unwrap();
    assert!(unfinished.unreadable.is_empty(), "{:?}", unfinished.unreadable);
    let claim = store.claim(&group("g")).unwrap_or_else(|error| panic!("{error:?}"));
    let inherited = claim.inherited().cloned();
    assert!(unfinished.groups().eq(inherited.iter().map(Intent::group)));
    drop(claim);
    let left = std::fs::read_dir(path).unwrap().count();
    assert_eq!(left, usize::from(inherited.is_some()), "a claim clears away what crashes leave");
    inherited
}

/// Reads the state on the disk below an open journal, without changing its lock and temporary files.
fn seen(path: &Path) -> Option<Intent> {
    let text = std::fs::read(path.join("g.intent")).ok()?;
    Some(Intent::parse(&text).unwrap())
}

fn journal() -> (TempDir, PathBuf) {
    // In memory if possible: the account decides what is durable, and the real disk is slow.
    let memory = Path::new("/dev/shm");
    let directory = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap();
    let path = directory.path().join("journal");
    std::fs::create_dir(&path).unwrap();
    (directory, path)
}

fn calls_of_the_script() -> Vec<&'static str> {
    let (_directory, path) = journal();
    let disk = TestDisk::new(|_, _| CallEffect::Done);
    let store = disk.store(&path);
    let mut allowed = Allowed::only(None);
    run_script(&store, &mut allowed, |allowed| assert_eq!(allowed.states.len(), 1, "nothing fails"));
    assert_eq!(found(&path), None);
    let calls = disk.calls.lock().unwrap().clone();
    for name in
        ["create", "write", "sync", "rename", "leads_to", "sync_dir", "remove", "open", "read", "open_lock", "list"]
    {
        assert!(calls.contains(&name), "the script never calls {name}");
    }
    calls
}

const FAILURES: [CallEffect; 2] = [CallEffect::NotDone, CallEffect::DoneUnheard];

#[test]
fn one_failing_call_hides_no_intent_and_later_results_are_true() {
    let calls = calls_of_the_script();
    for (failing, name) in calls.iter().enumerate() {
        for fate in FAILURES {
            let (_directory, path) = journal();
            let disk = TestDisk::new(move |number, _| if number == failing { fate } else { CallEffect::Done });
            let store = disk.store(&path);
            let mut allowed = Allowed::only(None);
            let mut successes_before = None;
            run_script(&store, &mut allowed, |allowed| {
                assert!(allowed.states.contains(&seen(&path)), "call {failing} {name} {fate:?}: {:?}", allowed.states);
                if disk.calls.lock().unwrap().len() > failing {
                    successes_before.get_or_insert(allowed.successes);
                }
            });
            let last = store.claim(&group("g")).map(|mut claim| claim.erase());
            let works_again = matches!(last, Ok(Ok(())));
            allowed.step(works_again, None);
            assert_eq!(works_again, *name != "sync_dir", "call {failing} {name} {fate:?}");
            if *name == "sync_dir" {
                assert_eq!(Some(allowed.successes), successes_before, "a success after a failed sync");
            } else {
                assert!(allowed.failures <= 1, "call {failing} {name} {fate:?} failed {} steps", allowed.failures);
            }
            drop(store);
            let found = found(&path);
            assert!(allowed.states.contains(&found), "call {failing} {name} {fate:?}: {found:?}");
        }
    }
    println!("{} calls, each failing in {} ways", calls.len(), FAILURES.len());
}

#[test]
fn disk_that_fails_from_any_call_on_hides_no_intent() {
    let calls = calls_of_the_script();
    for failing in 0..calls.len() {
        for first in FAILURES {
            let (_directory, path) = journal();
            let disk = TestDisk::new(move |number, _| match number.cmp(&failing) {
                std::cmp::Ordering::Less => CallEffect::Done,
                std::cmp::Ordering::Equal => first,
                std::cmp::Ordering::Greater => CallEffect::NotDone,
            });
            let store = disk.store(&path);
            let mut allowed = Allowed::only(None);
            run_script(&store, &mut allowed, |_| {});
            drop(store);
            let found = found(&path);
            assert!(
                allowed.states.contains(&found),
                "from call {failing} {first:?}: {found:?} of {:?}",
                allowed.states
            );
        }
    }
}

/// Calls `look` on a directory as it may be after a power loss.
fn in_a_directory_with<T>(outcome: &BTreeMap<OsString, Vec<u8>>, look: impl FnOnce(&Path) -> T) -> T {
    let (_directory, path) = journal();
    for (name, content) in outcome {
        std::fs::write(path.join(name), content).unwrap();
    }
    look(&path)
}

/// The disk of a process that dies at the call with this number, which has this effect.
fn dying_disk(account: &Arc<Mutex<Account>>, failing: usize, last: CallEffect) -> Arc<TestDisk> {
    TestDisk::with_account(Arc::clone(account), move |number, _| match number.cmp(&failing) {
        std::cmp::Ordering::Less => CallEffect::Done,
        std::cmp::Ordering::Equal => last,
        std::cmp::Ordering::Greater => CallEffect::NotDone,
    })
}

#[test]
fn acknowledged_changes_survive_a_power_loss_at_every_call() {
    let calls = calls_of_the_script();
    let mut tried = 0;
    for failing in 0..=calls.len() {
        for last in FAILURES {
            let (_directory, path) = journal();
            let account = Arc::<Mutex<Account>>::default();
            // The process dies at that call, the next one recovers, and then the power fails.
            let dying = dying_disk(&account, failing, last);
            let mut allowed = Allowed::only(None);
            run_script(&dying.store(&path), &mut allowed, |_| {});
            let mut check = |allowed: &Allowed| {
                let outcomes = account.lock().unwrap().after_power_loss();
                for outcome in outcomes {
                    let found = in_a_directory_with(&outcome, found);
                    assert!(
                        allowed.states.contains(&found),
                        "call {failing} {last:?}: {found:?} of {:?}",
                        allowed.states
                    );
                    tried += 1;
                }
            };
            check(&allowed);
            let next = TestDisk::with_account(Arc::clone(&account), |_, _| CallEffect::Done);
            let store = next.store(&path);
            let claim = store.claim(&group("g")).unwrap();
            check(&Allowed::only(claim.inherited().cloned()));
        }
    }
    println!("{tried} directories after a power loss");
}

#[test]
fn what_a_later_process_finds_unfinished_survives_a_power_loss() {
    for failing in 0..=calls_of_the_script().len() {
        for last in FAILURES {
            let (_directory, path) = journal();
            let account = Arc::<Mutex<Account>>::default();
            let dying = dying_disk(&account, failing, last);
            run_script(&dying.store(&path), &mut Allowed::only(None), |_| {});
            let next = TestDisk::with_account(Arc::clone(&account), |_, _| CallEffect::Done);
            let unfinished = next.store(&path).unfinished().unwrap();
            let shown = unfinished.entries.first().map(|entry| entry.intent().clone());
            let outcomes = account.lock().unwrap().after_power_loss();
            for outcome in outcomes {
                assert_eq!(in_a_directory_with(&outcome, found), shown, "call {failing} {last:?}");
            }
        }
    }
}

#[test]
fn removal_whose_sync_failed_is_synced_before_a_later_process_relies_on_it() {
    let (_directory, path) = journal();
    let account = Arc::<Mutex<Account>>::default();
    let fails = Arc::new(AtomicBool::new(false));
    let failing = Arc::clone(&fails);
    let owner = TestDisk::with_account(Arc::clone(&account), move |_, name| {
        if name == "sync_dir" && failing.load(Ordering::Relaxed) { CallEffect::NotDone } else { CallEffect::Done }
    });
    let mut claim = owner.store(&path).claim(&group("g")).unwrap();
    claim.record(&intent("g", &["http://a"])).unwrap();
    fails.store(true, Ordering::Relaxed);
    claim.erase().unwrap_err();
    drop(claim);
    let next = TestDisk::with_account(Arc::clone(&account), |_, _| CallEffect::Done);
    let claim = next.store(&path).claim(&group("g")).unwrap();
    assert_eq!(claim.inherited(), None);
    let outcomes = account.lock().unwrap().after_power_loss();
    for outcome in outcomes {
        assert_eq!(in_a_directory_with(&outcome, found), None);
    }
}

#[test]
fn new_directory_is_synced_before_use() {
    let directory = tempfile::tempdir().unwrap();
    let disk = TestDisk::new(|_, _| CallEffect::Done);
    DirectoryJournal::open_on(disk.clone(), &directory.path().join("a/b")).unwrap();
    assert_eq!(
        *disk.calls.lock().unwrap(),
        ["open_dir", "create_dir", "open_dir", "sync_dir", "open_dir", "sync_dir", "open_dir"]
    );
    for failing in 0..7 {
        let disk =
            TestDisk::new(move |number, _| if number == failing { CallEffect::NotDone } else { CallEffect::Done });
        let path = directory.path().join(format!("{failing}/b"));
        assert!(DirectoryJournal::open_on(disk, &path).is_err());
    }
}

#[test]
fn failed_list_or_read_is_an_error() {
    let (_directory, path) = journal();
    let disk = TestDisk::new(|_, name| if name == "list" { CallEffect::NotDone } else { CallEffect::Done });
    assert!(disk.store(&path).unfinished().is_err());
    DirectoryJournal::open(&path).unwrap().claim(&group("g")).unwrap().record(&intent("g", &["http://a"])).unwrap();
    let disk = TestDisk::new(|_, name| if name == "read" { CallEffect::NotDone } else { CallEffect::Done });
    let unfinished = disk.store(&path).unfinished().unwrap();
    assert_eq!((unfinished.entries.len(), unfinished.unreadable.len()), (0, 1));
}

// --- several groups in one round

/// Changes of four groups in one round, with the old and new state of each. The first, second and last get an intent,
/// and the second has an older one. The intent of the third is removed.
fn changes_of_a_round(path: &Path) -> (Vec<Change>, Vec<[Option<Intent>; 2]>) {
    let put = |id: &str| Change::Put(put_of(path, id, &["http://new"]));
    let changes = vec![put("a"), put("b"), Change::Remove(path.join("c.intent")), put("d")];
    let (old, new) = (|id| Some(intent(id, &["http://old"])), |id| Some(intent(id, &["http://new"])));
    (changes, vec![[None, new("a")], [old("b"), new("b")], [old("c"), None], [None, new("d")]])
}

const GROUPS: [&str; 4] = ["a", "b", "c", "d"];

fn put_of(path: &Path, id: &str, hosts: &[&str]) -> Put {
    let stamp = Stamp::new(1, None, SystemTime::UNIX_EPOCH);
    let file = |extension: &str| path.join(format!("{id}.{extension}"));
    Put { path: file("intent"), temporary: file("new"), text: intent(id, hosts).to_text(&stamp) }
}

fn carry_out(disk: &dyn Disk, path: &Path, changes: &[Change]) -> RoundEnd {
    changes::carry_out(disk, &OpenDirectory::open(&RealDisk, path.into()).unwrap(), changes)
}

fn old_intents(disk: &dyn Disk, path: &Path) {
    let old = ["b", "c"].map(|id| Change::Put(put_of(path, id, &["http://old"])));
    assert!(carry_out(disk, path, &old).results.iter().all(Result::is_ok));
}

/// Returns what a new journal reads of each group.
fn found_of_each(path: &Path) -> Vec<Option<Intent>> {
    let store = DirectoryJournal::open(path).unwrap();
    assert!(store.unfinished().unwrap().unreadable.is_empty(), "{:?}", store.unfinished());
    let found = GROUPS.map(|id| store.claim(&group(id)).unwrap().inherited().cloned());
    let left = std::fs::read_dir(path).unwrap().count();
    assert_eq!(left, found.iter().flatten().count(), "claims clear away what crashes leave");
    found.into()
}

/// Checks that a group has the new state after a success, and the old or the new state after a failure.
fn assert_honest(
    results: &[Result<(), JournalError>],
    found: &[Option<Intent>],
    allowed: &[[Option<Intent>; 2]],
    at: &str,
) {
    for (number, (result, found)) in results.iter().zip(found).enumerate() {
        let honest = if result.is_ok() { *found == allowed[number][1] } else { allowed[number].contains(found) };
        assert!(honest, "{at}: {:?} ended with {result:?} and has {found:?}", GROUPS[number]);
    }
}

fn calls_of_a_round() -> Vec<&'static str> {
    let (_directory, path) = journal();
    old_intents(&RealDisk, &path);
    let disk = TestDisk::new(|_, _| CallEffect::Done);
    let (changes, allowed) = changes_of_a_round(&path);
    disk.account().adopt(&path);
    let ended = carry_out(&*disk, &path, &changes);
    assert!(ended.results.iter().all(Result::is_ok) && ended.broken.is_none());
    assert_eq!(found_of_each(&path), allowed.into_iter().map(|[_, new]| new).collect::<Vec<_>>());
    disk.calls.lock().unwrap().clone()
}

#[test]
fn groups_of_a_round_share_syncs() {
    let (_directory, path) = journal();
    let disk = TestDisk::new(|_, _| CallEffect::Done);
    let puts: Vec<_> = (0..200).map(|n| Change::Put(put_of(&path, &format!("g{n}"), &["http://a"]))).collect();
    assert!(carry_out(&*disk, &path, &puts).results.iter().all(Result::is_ok));
    let of = |name| disk.calls.lock().unwrap().iter().filter(|call| **call == name).count();
    assert_eq!((of("sync"), of("sync_dir"), of("link")), (3, 1, 197), "several in a file");
    assert!(carry_out(&*disk, &path, &puts).results.iter().all(Result::is_ok));
    assert_eq!((of("sync"), of("sync_dir"), of("link")), (6, 2, 591), "older ones are replaced by a rename");
    let unfinished = DirectoryJournal::open(&path).unwrap().unfinished().unwrap();
    assert_eq!((unfinished.entries.len(), unfinished.unreadable.len()), (200, 0));
    let (_directory, path) = journal();
    let long: Vec<String> = (0..700).map(|n| format!("http://node{n}.{}", "x".repeat(60))).collect();
    let long: Vec<&str> = long.iter().map(String::as_str).collect();
    let disk = TestDisk::new(|_, _| CallEffect::Done);
    let puts: Vec<_> = ["a", "b"].map(|id| Change::Put(put_of(&path, id, &long))).into();
    assert!(carry_out(&*disk, &path, &puts).results.iter().all(Result::is_ok));
    let of = |name| disk.calls.lock().unwrap().iter().filter(|call| **call == name).count();
    assert_eq!((of("sync"), of("sync_dir"), of("link")), (2, 1, 0), "long ones have a file each");
}

#[test]
fn one_failing_call_of_a_round_hides_no_intent_and_fails_no_other_group() {
    let calls = calls_of_a_round();
    for name in ["create", "write", "sync", "link", "rename", "remove", "leads_to", "sync_dir"] {
        assert!(calls.contains(&name), "the round never calls {name}");
    }
    for (failing, name) in calls.iter().enumerate() {
        for fate in FAILURES {
            let (_directory, path) = journal();
            old_intents(&RealDisk, &path);
            let disk = TestDisk::new(move |number, _| if number == failing { fate } else { CallEffect::Done });
            disk.account().adopt(&path);
            let (changes, allowed) = changes_of_a_round(&path);
            let ended = carry_out(&*disk, &path, &changes);
            let failures = ended.results.iter().filter(|result| result.is_err()).count();
            let at = format!("call {failing} {name} {fate:?}");
            assert_eq!(ended.broken.is_some(), *name == "sync_dir", "{at}");
            let most = match *name {
                "leads_to" | "sync_dir" => 4,
                "sync" => 3,
                _ => 1,
            };
            assert!(failures == most || most == 1 && failures == 0, "{at}: {failures} groups failed");
            assert_honest(&ended.results, &found_of_each(&path), &allowed, &at);
        }
    }
}

#[test]
fn acknowledged_round_survives_a_power_loss_at_every_call() {
    let mut tried = 0;
    for failing in 0..=calls_of_a_round().len() {
        for last in FAILURES {
            let (_directory, path) = journal();
            old_intents(&RealDisk, &path);
            let dying = TestDisk::new(move |number, _| match number.cmp(&failing) {
                std::cmp::Ordering::Less => CallEffect::Done,
                std::cmp::Ordering::Equal => last,
                std::cmp::Ordering::Greater => CallEffect::NotDone,
            });
            dying.account().adopt(&path);
            let (changes, allowed) = changes_of_a_round(&path);
            let ended = carry_out(&*dying, &path, &changes);
            let outcomes = dying.account().after_power_loss();
            for outcome in outcomes {
                let found = in_a_directory_with(&outcome, found_of_each);
                assert_honest(&ended.results, &found, &allowed, &format!("call {failing} {last:?}"));
                tried += 1;
            }
        }
    }
    println!("{tried} directories after a power loss");
}

#[test]
fn without_hard_links_each_group_gets_its_own_file() {
    let (_directory, path) = journal();
    old_intents(&RealDisk, &path);
    let disk = TestDisk::new(|_, name| if name == "link" { CallEffect::NotDone } else { CallEffect::Done });
    disk.account().adopt(&path);
    let (changes, allowed) = changes_of_a_round(&path);
    let ended = carry_out(&*disk, &path, &changes);
    assert!(ended.results.iter().all(Result::is_ok));
    assert_eq!(found_of_each(&path), allowed.into_iter().map(|[_, new]| new).collect::<Vec<_>>());
}

#[test]
fn erase_is_durable_without_free_descriptors() {
    let (_directory, path) = journal();
    let exhausted = Arc::new(AtomicBool::new(false));
    let is_exhausted = Arc::clone(&exhausted);
    let disk = TestDisk::new(move |_, name| {
        let opens = ["open_dir", "create", "open", "open_lock", "reopen_lock", "list"].contains(&name);
        if opens && is_exhausted.load(Ordering::Relaxed) { CallEffect::NotDone } else { CallEffect::Done }
    });
    let store = disk.store(&path);
    let mut claims = ["a", "b"].map(|id| store.claim(&group(id)).unwrap());
    let [first, second] = &mut claims;
    first.record(&intent("a", &["http://a"])).unwrap();
    exhausted.store(true, Ordering::Relaxed);
    disk.calls.lock().unwrap().clear();
    first.erase().unwrap();
    assert!(disk.calls.lock().unwrap().contains(&"sync_dir"), "it was made durable");
    assert!(second.record(&intent("b", &["http://a"])).is_err(), "a file needs a descriptor");
    exhausted.store(false, Ordering::Relaxed);
    second.record(&intent("b", &["http://a"])).unwrap();
    drop(claims);
    assert!(DirectoryJournal::open(&path).unwrap().unfinished().unwrap().groups().eq([&group("b")]));
}

#[test]
fn record_fails_if_the_directory_is_replaced_before_the_sync() {
    let (_directory, path) = journal();
    let (here, away) = (path.clone(), path.with_extension("away"));
    let disk = TestDisk::new(move |_, name| {
        if name == "sync_dir" {
            std::fs::rename(&here, &away).unwrap();
            std::fs::create_dir(&here).unwrap();
        }
        CallEffect::Done
    });
    let mut claim = disk.store(&path).claim(&group("g")).unwrap();
    let lost = claim.record(&intent("g", &["http://a"])).unwrap_err();
    assert_eq!(lost.to_string(), format!("cannot rely on {}", path.display()));
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
}

// --- leftovers of killed processes

/// Writes leftovers of killed processes: locks of two groups with intents and of two without, and temporary files.
fn leave(path: &Path) -> Vec<Intent> {
    let whole = ["a", "b"].map(|id| intent(id, &["http://node1:8000"]));
    let stamp = Stamp::new(1, None, SystemTime::UNIX_EPOCH);
    for intent in &whole {
        std::fs::write(path.join(format!("{}.intent", intent.group)), intent.to_text(&stamp)).unwrap();
    }
    for id in ["a", "b", "c", "d"] {
        std::fs::write(path.join(format!("{id}.lock")), "process 1 on x (since 1970-01-01T00:00:00Z)\n").unwrap();
    }
    std::fs::write(path.join("b.new"), "cluster-client intent 1\ngroup: b\n").unwrap();
    std::fs::write(path.join("e.new"), "cluster-cl").unwrap();
    whole.into()
}

#[test]
fn failing_call_during_the_removal_of_leftovers_loses_no_intent_and_the_next_pass_finishes() {
    let trial = TestDisk::new(|_, _| CallEffect::Done);
    let (_directory, path) = journal();
    leave(&path);
    trial.store(&path).unfinished().unwrap();
    let calls = trial.calls.lock().unwrap().clone();
    for name in ["list", "reopen_lock", "try_lock", "names", "open", "remove", "open_lock"] {
        assert!(calls.contains(&name), "the pass never calls {name}");
    }
    for (failing, name) in calls.iter().enumerate() {
        for fate in FAILURES {
            let (_directory, path) = journal();
            let whole = leave(&path);
            let disk = TestDisk::new(move |number, _| if number == failing { fate } else { CallEffect::Done });
            let store = disk.store(&path);
            if let Ok(unfinished) = store.unfinished() {
                let seen = unfinished.entries.len() + unfinished.unreadable.len();
                assert_eq!(seen, 2, "call {failing} {name} {fate:?} hid an intent");
            }
            let unfinished = store.unfinished().unwrap();
            assert!(unfinished.entries.iter().map(JournalEntry::intent).eq(&whole), "call {failing} {name} {fate:?}");
            // A lock without a signature is removed only if it is old.
            if let Ok(unsigned) = File::options().write(true).open(path.join("e.lock")) {
                unsigned.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
                store.unfinished().unwrap();
            }
            assert_eq!(
                std::fs::read_dir(&path).unwrap().count(),
                2,
                "call {failing} {name} {fate:?}: something is left"
            );
        }
    }
    println!("{} calls, each failing in {} ways", calls.len(), FAILURES.len());
}

#[test]
fn group_that_is_claimed_during_the_check_of_its_dead_lock_keeps_its_files() {
    let (_directory, path) = journal();
    leave(&path);
    let other = DirectoryJournal::open(&path).unwrap();
    other.unfinished().unwrap();
    std::fs::write(path.join("c.lock"), "process 1 on x (since 1970-01-01T00:00:00Z)\n").unwrap();
    let (claims, its_path) = (Arc::new(Mutex::new(Vec::new())), path.clone());
    let claimed = Arc::clone(&claims);
    // Another owner claims the group between the open of the dead lock and the attempt to lock it.
    let disk = TestDisk::new(move |_, name| {
        let mut claimed = claimed.lock().unwrap();
        if name == "try_lock" && claimed.is_empty() {
            std::fs::remove_file(its_path.join("c.lock")).unwrap();
            claimed.push(other.claim(&group("c")).unwrap());
            std::fs::write(its_path.join("c.new"), "cluster-client intent").unwrap();
        }
        CallEffect::Done
    });
    disk.store(&path).unfinished().unwrap();
    assert_eq!(claims.lock().unwrap().len(), 1, "the lock was looked at");
    assert!(path.join("c.new").exists() && path.join("c.lock").exists());
}

#[test]
fn no_lock_is_held_during_the_sync_and_that_of_an_owner_that_died_since_stays_for_the_next_pass() {
    let (_directory, path) = journal();
    leave(&path);
    let lock = path.join("c.lock");
    let disk = TestDisk::new(move |_, name| {
        if name == "sync_dir" {
            assert!(File::open(&lock).unwrap().try_lock().is_ok(), "a claim would find it busy");
            std::fs::write(&lock, "process 2 on x (since 1970-01-01T00:00:00Z)\n").unwrap();
        }
        CallEffect::Done
    });
    disk.store(&path).unfinished().unwrap();
    assert!(disk.calls.lock().unwrap().contains(&"sync_dir"));
    assert!(path.join("c.lock").exists() && !path.join("d.lock").exists());
    DirectoryJournal::open(&path).unwrap().unfinished().unwrap();
    assert!(!path.join("c.lock").exists());
}
