//! The directory journal on the real disk: stored intents, locks, and unexpected files.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use tempfile::TempDir;

use super::DirectoryJournal;
use crate::api::Api;
use crate::journal::calls::{JournalCall, JournalResult, SharedClaim};
use crate::journal::{Claim, Journal};
use crate::values::cause::JournalError;
use crate::values::group::GroupId;
use crate::values::host::Host;
use crate::values::intent::{ClaimError, Intent, Purpose, Stamp};

pub(crate) fn group(id: &str) -> GroupId {
    GroupId::parse(id).unwrap()
}

pub(crate) fn intent(id: &str, hosts: &[&str]) -> Intent {
    let hosts = hosts.iter().map(|host| Host::parse(host).unwrap()).collect();
    Intent::of(group(id), Purpose::Delete, Api::default().reference(), hosts)
}

fn fresh() -> (TempDir, DirectoryJournal) {
    let directory = tempfile::tempdir().unwrap();
    let store = DirectoryJournal::open(directory.path().join("journal")).unwrap();
    (directory, store)
}

fn claim(store: &DirectoryJournal, id: &str) -> Box<dyn Claim> {
    store.claim(&group(id)).unwrap()
}

fn record(store: &DirectoryJournal, id: &str) -> Intent {
    let intent = intent(id, &["http://node1:8000", "http://node2:8000"]);
    claim(store, id).record(&intent).unwrap();
    intent
}

fn busy(store: &DirectoryJournal, id: &str) -> Option<String> {
    match store.claim(&group(id)) {
        Err(ClaimError::Busy(holder)) => Some(holder),
        Err(ClaimError::Failed(error)) => panic!("{}", told(&error)),
        Ok(_) => None,
    }
}

fn failed(store: &DirectoryJournal, id: &str) -> String {
    match store.claim(&group(id)) {
        Err(ClaimError::Failed(error)) => told(&error),
        Err(ClaimError::Busy(holder)) => panic!("{holder}"),
        Ok(_) => panic!("{id} was claimed"),
    }
}

/// The whole chain of an error, as the command prints it.
fn told(error: &JournalError) -> String {
    format!("{error}: {}", std::error::Error::source(error).unwrap())
}

fn unfinished_groups(store: &DirectoryJournal) -> Vec<GroupId> {
    store.unfinished().unwrap().groups().cloned().collect()
}

fn names(store: &DirectoryJournal) -> Vec<String> {
    let entries = fs::read_dir(store.path()).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

// --- stored intents

#[test]
fn intent_exists_exactly_from_record_to_erase() {
    let (_directory, store) = fresh();
    let mut first = claim(&store, "users-42");
    let two = intent("users-42", &["http://a", "http://b"]);
    first.record(&two).unwrap();
    assert_eq!(unfinished_groups(&store), [group("users-42")]);
    assert_eq!(names(&store), ["users-42.intent", "users-42.lock"]);
    drop(first);
    assert_eq!(names(&store), ["users-42.intent"]);

    let mut second = claim(&store, "users-42");
    assert_eq!(second.inherited(), Some(&two));
    let one = intent("users-42", &["http://b"]);
    second.record(&one).unwrap();
    assert_eq!(second.inherited(), Some(&two), "it is what was there at the claim");
    drop(second);

    let mut third = claim(&store, "users-42");
    assert_eq!(third.inherited(), Some(&one));
    third.erase().unwrap();
    third.erase().unwrap();
    drop(third);
    assert!(claim(&store, "users-42").inherited().is_none());
    assert!(names(&store).is_empty() && unfinished_groups(&store).is_empty());
}

/// Makes changes of all claims together: records, or else erases. Returns the places of those that failed.
fn change_together(store: &DirectoryJournal, claims: &[SharedClaim], intents: Option<&[Intent]>) -> Vec<usize> {
    let call = |(place, claim): (usize, &SharedClaim)| match intents {
        Some(intents) => JournalCall::Record(Arc::clone(claim), intents[place].clone()),
        None => JournalCall::Erase(Arc::clone(claim)),
    };
    let mut calls: Vec<JournalCall> = claims.iter().enumerate().map(call).collect();
    let results = store.make(&mut calls);
    assert_eq!(results.len(), claims.len());
    let failed = |(place, result)| match (result, intents) {
        (JournalResult::Recorded(changed), Some(_)) | (JournalResult::Erased(changed), None) => {
            changed.is_err().then_some(place)
        }
        _ => panic!("a result of another kind"),
    };
    results.into_iter().enumerate().filter_map(failed).collect()
}

#[test]
fn changes_made_together_have_their_own_results() {
    let (_directory, store) = fresh();
    let (_other_directory, other) = fresh();
    let hosts = ["http://node1:8000"];
    let ids: Vec<String> = (0..20).map(|number| format!("g{number}")).collect();
    let mut intents: Vec<Intent> = ids.iter().map(|id| intent(id, &hosts)).collect();
    let shared = |claim: Box<dyn Claim>| Arc::new(Mutex::new(claim));
    let mut claims: Vec<SharedClaim> = ids.iter().map(|id| shared(claim(&store, id))).collect();
    // A claim of another journal is called by itself.
    claims.push(shared(claim(&other, "elsewhere")));
    intents.push(intent("elsewhere", &hosts));
    assert_eq!(change_together(&store, &claims, Some(&intents)), [0; 0]);
    assert_eq!((unfinished_groups(&store).len(), unfinished_groups(&other).len()), (20, 1));
    intents[3] = intent("another", &hosts);
    // No file can replace this directory at the path of the seventh intent.
    fs::remove_file(store.path().join("g7.intent")).unwrap();
    fs::create_dir(store.path().join("g7.intent")).unwrap();
    assert_eq!(change_together(&store, &claims, Some(&intents)), [3, 7]);
    assert_eq!(change_together(&store, &claims, None), [7]);
    fs::remove_dir(store.path().join("g7.intent")).unwrap();
    assert!(unfinished_groups(&store).is_empty() && unfinished_groups(&other).is_empty());
}

#[test]
fn new_directories_and_files_are_for_their_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a/b");
    let store = DirectoryJournal::open(&path).unwrap();
    let mut held = claim(&store, "g");
    held.record(&intent("g", &["http://a"])).unwrap();
    assert_eq!((mode(path.parent().unwrap()), mode(&path)), (0o700, 0o700));
    assert_eq!((mode(&path.join("g.intent")), mode(&path.join("g.lock"))), (0o600, 0o600));
}

#[test]
fn every_group_has_its_own_file_with_a_short_visible_name() {
    let (_directory, store) = fresh();
    let beginning = "ß".repeat(120);
    let mut ids: Vec<String> = [
        "a",
        "A",
        "a/b",
        "a%2Fb",
        "...",
        "..a",
        ".a",
        "%2Ea",
        "a.lock",
        "a.intent",
        "a.new",
        "~",
        "a~b",
        "größe",
        " padded ",
        "con",
        "cluster-client intent 1",
        "a b",
        "-rf",
        "*",
        "\\",
        "\u{feff}x",
        "\u{202e}x",
        "😀",
    ]
    .map(String::from)
    .to_vec();
    ids.extend(["x".repeat(255), "x".repeat(254), "x".repeat(128), "x".repeat(129), "😀".repeat(63), ".".repeat(255)]);
    ids.extend((0..40).map(|number| format!("{beginning}{number}")));
    for id in &ids {
        record(&store, id);
    }
    let names = names(&store);
    assert_eq!(names.len(), ids.len());
    for name in &names {
        assert!(name.is_ascii() && name.len() <= 140 && name.ends_with(".intent") && !name.starts_with('.'), "{name}");
    }
    let unfinished = store.unfinished().unwrap();
    assert_eq!(unfinished.unreadable.len(), 0);
    let mut groups: Vec<GroupId> = ids.iter().map(|id| group(id)).collect();
    groups.sort();
    assert_eq!(unfinished.groups().cloned().collect::<Vec<_>>(), groups);
    for id in &ids {
        assert_eq!(claim(&store, id).inherited().unwrap().group(), &group(id));
    }
}

#[test]
fn relative_path_is_made_absolute() {
    let store = DirectoryJournal::open("target/tmp-store-relative").unwrap();
    assert!(store.path().is_absolute());
    fs::remove_dir(store.path()).unwrap();
}

// --- locks

#[test]
fn second_claim_is_busy_and_names_the_holder() {
    let (_directory, store) = fresh();
    let other = DirectoryJournal::open(store.path()).unwrap();
    let held = claim(&store, "g");
    for store in [&store, &other] {
        let holder = busy(store, "g").unwrap();
        assert!(holder.starts_with(&format!("process {}", std::process::id())), "{holder}");
        assert!(holder.contains(" (since 2") && holder.ends_with("Z) holds it"), "{holder}");
        assert!(busy(store, "h").is_none(), "another group is free");
    }
    drop(held);
    assert!(busy(&other, "g").is_none());
}

#[test]
fn lock_file_without_a_readable_owner_is_still_busy() {
    let (_directory, store) = fresh();
    let _held = claim(&store, "g");
    for text in ["", "process 1", "garbage\n", "process \u{1b}[2J\n", &format!("process {}\n", "x".repeat(10_000))] {
        fs::write(store.path().join("g.lock"), text).unwrap();
        assert_eq!(busy(&store, "g").unwrap(), "another process holds it");
    }
    fs::write(store.path().join("g.lock"), b"\xff\n").unwrap();
    assert_eq!(busy(&store, "g").unwrap(), "another process holds it");
}

#[test]
fn many_threads_never_hold_a_group_twice() {
    const GROUPS: usize = 20;
    let (_directory, store) = fresh();
    let inside: Vec<AtomicUsize> = (0..GROUPS).map(|_| AtomicUsize::new(0)).collect();
    let (claims, refusals) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let turn = |thread: usize, round: usize| {
        let number = (thread * 7 + round * 3) % GROUPS;
        let id = format!("group {number}");
        let mut held = match store.claim(&group(&id)) {
            Ok(held) => held,
            Err(ClaimError::Busy(_)) => {
                refusals.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Err(ClaimError::Failed(error)) => panic!("{}", told(&error)),
        };
        assert_eq!(inside[number].fetch_add(1, Ordering::SeqCst), 0, "two in {id}");
        assert!(held.inherited().is_none(), "each owner erases what it records");
        if round.is_multiple_of(4) {
            held.record(&intent(&id, &["http://a"])).unwrap();
            held.erase().unwrap();
        }
        assert_eq!(inside[number].fetch_sub(1, Ordering::SeqCst), 1, "two in {id}");
        drop(held);
        claims.fetch_add(1, Ordering::Relaxed);
    };
    std::thread::scope(|scope| {
        for thread in 0..200 {
            scope.spawn(move || (0..40).for_each(|round| turn(thread, round)));
        }
    });
    println!("{} claims, {} refused as busy", claims.into_inner(), refusals.into_inner());
    assert!(names(&store).is_empty(), "{:?}", names(&store));
}

/// Another process, which claims a group, records an intent, and then waits.
struct OwnerProcess {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

const OWNED_DIRECTORY: &str = "CLUSTER_CLIENT_TEST_OWNED_DIRECTORY";

impl OwnerProcess {
    fn start(store: &DirectoryJournal) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "journal::directory::tests::an_owner_in_another_process", "--ignored", "--nocapture"])
            .env(OWNED_DIRECTORY, store.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let mut owner = OwnerProcess { child, said };
        owner.hear("recorded");
        owner
    }

    fn hear(&mut self, word: &str) {
        let mut lines = self.said.by_ref().lines().map_while(Result::ok);
        assert!(lines.any(|line| line == word), "the owner ended without saying {word:?}");
    }
}

#[test]
#[ignore = "the other process of the tests below"]
fn an_owner_in_another_process() {
    let Some(directory) = std::env::var_os(OWNED_DIRECTORY) else { return };
    let store = DirectoryJournal::open(directory).unwrap();
    let mut held = claim(&store, "g");
    held.record(&intent("g", &["http://a", "http://b"])).unwrap();
    println!("\nrecorded");
    std::io::stdout().flush().unwrap();
    let _ = std::io::stdin().read(&mut [0]);
    held.erase().unwrap();
}

#[test]
fn killed_owner_leaves_its_intent_and_frees_the_group() {
    let (_directory, store) = fresh();
    let mut owner = OwnerProcess::start(&store);
    let holder = busy(&store, "g").unwrap();
    assert!(holder.starts_with(&format!("process {} ", owner.child.id())), "{holder}");
    assert_eq!(unfinished_groups(&store), [group("g")]);

    owner.child.kill().unwrap();
    owner.child.wait().unwrap();
    assert_eq!(names(&store), ["g.intent", "g.lock"], "it had no time to tidy up");
    let mut held = claim(&store, "g");
    assert_eq!(held.inherited(), Some(&intent("g", &["http://a", "http://b"])));
    held.erase().unwrap();
    drop(held);
    assert!(names(&store).is_empty());
}

#[test]
fn finished_owner_leaves_no_file() {
    let (_directory, store) = fresh();
    let mut owner = OwnerProcess::start(&store);
    drop(owner.child.stdin.take());
    assert!(owner.child.wait().unwrap().success());
    assert!(names(&store).is_empty());
    assert!(claim(&store, "g").inherited().is_none());
}

// --- unexpected files

#[test]
fn claim_reuses_the_leftovers_of_its_group() {
    let (_directory, store) = fresh();
    // The first claim of a journal removes all leftovers, so it comes before these.
    claim(&store, "first");
    for (name, text) in [
        (
            "g.lock",
            "process 1 on a-machine-with-a-name-longer-than-that-of-the-next-owner-which-is-cut-at-64 (since 1999-01-01T00:00:00Z)\n",
        ),
        ("g.new", "cluster-cl"),
        ("h.new", ""),
    ] {
        fs::write(store.path().join(name), text).unwrap();
    }
    let mut held = claim(&store, "g");
    assert_eq!(names(&store), ["g.lock", "h.new"], "the other group's is left to its owner");
    assert!(busy(&store, "g").unwrap().starts_with(&format!("process {}", std::process::id())));
    held.record(&intent("g", &["http://a"])).unwrap();
    held.erase().unwrap();
    drop(held);
    assert_eq!(names(&store), ["h.new"]);
}

const DEAD: &str = "process 1 on x (since 1970-01-01T00:00:00Z)\n";

/// Locks of killed owners, with a signature and without, and halves of intents.
fn leave(store: &DirectoryJournal) {
    for (name, text) in [
        ("g.lock", DEAD),
        ("g.new", "cluster-client intent 1\ngroup: g"),
        ("h.lock", ""),
        ("i.new", "cluster-cl"),
        ("%2Ej.new", ""),
    ] {
        fs::write(store.path().join(name), text).unwrap();
    }
    // Make the unsigned lock old.
    let unsigned = fs::File::options().write(true).open(store.path().join("h.lock")).unwrap();
    unsigned.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
}

#[test]
fn unfinished_removes_leftovers_of_killed_processes() {
    let (_directory, store) = fresh();
    record(&store, "g");
    leave(&store);
    assert_eq!(unfinished_groups(&store), [group("g")]);
    assert_eq!(names(&store), ["g.intent"]);
}

#[test]
fn first_claim_removes_leftovers_of_killed_processes() {
    let (_directory, store) = fresh();
    leave(&store);
    claim(&store, "other");
    assert!(names(&store).is_empty(), "{:?}", names(&store));
}

#[test]
fn files_of_a_living_owner_are_kept() {
    let (_directory, store) = fresh();
    let mut owner = OwnerProcess::start(&store);
    let held = claim(&store, "h");
    fs::write(store.path().join("g.new"), "cluster-client intent").unwrap();
    fs::write(store.path().join("h.new"), "cluster-client intent").unwrap();
    for _ in 0..3 {
        let unfinished = DirectoryJournal::open(store.path()).unwrap().unfinished().unwrap();
        let holder = unfinished.entries[0].holder().unwrap();
        assert!(holder.starts_with(&format!("process {} ", owner.child.id())), "{holder}");
        assert_eq!(names(&store), ["g.intent", "g.lock", "g.new", "h.lock", "h.new"]);
    }
    owner.child.kill().unwrap();
    owner.child.wait().unwrap();
    assert_eq!(store.unfinished().unwrap().entries[0].holder(), None);
    assert_eq!(names(&store), ["g.intent", "h.lock", "h.new"]);
    drop(held);
}

#[test]
fn files_of_people_and_young_locks_are_kept() {
    let (directory, store) = fresh();
    let victim = directory.path().join("victim");
    fs::write(&victim, DEAD).unwrap();
    let path = |name: &str| store.path().join(name);
    for (name, text) in [
        ("Cargo.lock", "# This file is automatically @generated by Cargo."),
        ("notes.new", "a person's"),
        ("my notes.lock", DEAD),
        ("lock", DEAD),
        (".lock", DEAD),
        ("x.lock.txt", DEAD),
    ] {
        fs::write(path(name), text).unwrap();
    }
    fs::write(path("about-to-be-signed.lock"), "").unwrap();
    fs::hard_link(&victim, path("hard.lock")).unwrap();
    std::os::unix::fs::symlink(&victim, path("soft.lock")).unwrap();
    std::os::unix::fs::symlink(&victim, path("soft.new")).unwrap();
    fs::create_dir(path("directory.lock")).unwrap();
    fs::create_dir(path("directory.new")).unwrap();
    let before = names(&store);
    assert!(store.unfinished().unwrap().unreadable.is_empty());
    assert_eq!(names(&store), before);
    assert_eq!(fs::read_to_string(&victim).unwrap(), DEAD);
}

#[test]
fn one_pass_removes_a_bounded_number_of_leftovers() {
    let (_directory, store) = fresh();
    for number in 0..1_200 {
        fs::write(store.path().join(format!("{number}.lock")), DEAD).unwrap();
    }
    store.unfinished().unwrap();
    assert_eq!(names(&store).len(), 200);
    store.unfinished().unwrap();
    assert!(names(&store).is_empty());
}

/// Decrements the number of workers on drop, also after a panic, so that the other threads end.
struct Working<'a>(&'a AtomicUsize);
impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn owners_keep_their_groups_during_the_removal_of_leftovers() {
    const ROUNDS: usize = 150;
    let (_directory, store) = fresh();
    let (store, working) = (&store, &AtomicUsize::new(4));
    let (refusals, passes) = (&AtomicUsize::new(0), &AtomicUsize::new(0));
    let work = |thread: usize| {
        let _working = Working(working);
        for round in 0..ROUNDS {
            // Every second round begins with leftovers of a killed owner.
            let id = format!("{thread} {round}");
            let stem = format!("{thread}%20{round}");
            if round.is_multiple_of(2) {
                fs::write(store.path().join(format!("{stem}.lock")), DEAD).unwrap();
                fs::write(store.path().join(format!("{stem}.new")), "cluster-client").unwrap();
            }
            let mut held = loop {
                match store.claim(&group(&id)) {
                    Ok(held) => break held,
                    Err(ClaimError::Busy(_)) => drop(refusals.fetch_add(1, Ordering::Relaxed)),
                    Err(ClaimError::Failed(error)) => panic!("{}", told(&error)),
                }
            };
            let recorded = intent(&id, &["http://a"]);
            held.record(&recorded).unwrap();
            drop(held);
            let mut held = loop {
                if let Ok(held) = store.claim(&group(&id)) {
                    break held;
                }
                refusals.fetch_add(1, Ordering::Relaxed);
            };
            assert_eq!(held.inherited(), Some(&recorded));
            held.erase().unwrap();
        }
    };
    let clear = || {
        let store = DirectoryJournal::open(store.path()).unwrap();
        while working.load(Ordering::Relaxed) > 0 {
            let unfinished = store.unfinished().unwrap();
            assert!(unfinished.unreadable.is_empty(), "{:?}", unfinished.unreadable);
            passes.fetch_add(1, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        (0..4).for_each(|thread| drop(scope.spawn(move || work(thread))));
        (0..4).for_each(|_| drop(scope.spawn(clear)));
    });
    println!("{passes:?} passes, {refusals:?} claims refused as busy");
    store.unfinished().unwrap();
    assert!(names(store).is_empty(), "{:?}", names(store));
}

#[test]
fn unreadable_intent_is_reported_and_kept_and_its_group_cannot_be_claimed() {
    let (_directory, store) = fresh();
    record(&store, "cut");
    record(&store, "foreign");
    record(&store, "whole");
    let path = |name: &str| store.path().join(name);
    let text = fs::read(path("cut.intent")).unwrap();
    fs::write(path("cut.intent"), &text[..text.len() / 2]).unwrap();
    fs::rename(path("foreign.intent"), path("moved.intent")).unwrap();
    fs::create_dir(path("directory.intent")).unwrap();
    fs::write(path("empty.intent"), "").unwrap();
    fs::write(path("notes.txt"), "a person's").unwrap();
    std::os::unix::fs::symlink("whole.intent", path("link.intent")).unwrap();
    let pipe = Command::new("mkfifo").arg(path("pipe.intent")).status();
    let piped = usize::from(pipe.is_ok_and(|made| made.success()));
    let before = names(&store);

    let unfinished = store.unfinished().unwrap();
    assert_eq!(unfinished.groups().collect::<Vec<_>>(), [&group("whole")]);
    assert_eq!(unfinished.unreadable.len(), 5 + piped, "{:?}", unfinished.unreadable);
    for (id, reason) in [
        ("cut", "cut short"),
        ("moved", "file of its group \"foreign\""),
        ("directory", "not a regular file"),
        ("empty", "first line"),
        ("link", "not a regular file"),
    ] {
        let file = path(&format!("{id}.intent"));
        let listed = unfinished.unreadable.iter().find(|error| error.path() == Some(&*file)).unwrap();
        for message in [failed(&store, id), told(listed)] {
            assert!(message.starts_with(&format!("cannot read {}: ", file.display())), "{message}");
            assert!(message.contains(reason) && !message.contains('\n'), "{message}");
        }
    }
    assert!(failed(&store, "cut").contains("ask for the status"), "{}", failed(&store, "cut"));
    assert_eq!(names(&store), before);
}

#[test]
fn every_changed_byte_and_every_cut_of_a_file_is_detected() {
    let (_directory, store) = fresh();
    record(&store, "g");
    let path = store.path().join("g.intent");
    let text = fs::read(&path).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let unreadable = || {
        let unfinished = store.unfinished().unwrap();
        unfinished.entries.is_empty() && unfinished.unreadable.len() == 1
    };
    for (at, byte) in (0..).zip(&text) {
        for flip in 1..=255 {
            file.write_all_at(&[byte ^ flip], at).unwrap();
            assert!(unreadable(), "byte {at} as {}", byte ^ flip);
        }
        file.write_all_at(&[*byte], at).unwrap();
    }
    assert!(!unreadable());
    for end in (0..text.len() as u64).rev() {
        file.set_len(end).unwrap();
        assert!(unreadable(), "cut at {end}");
    }
}

/// A round writes one file with a hard link for each group.
#[test]
fn intents_in_a_shared_file_are_read_by_name_and_damage_affects_only_those_hit() {
    let (_directory, store) = fresh();
    let ids = ["a", "b", "c"];
    let hosts = ["http://node1:8000", "http://node2:8000"];
    let stamp = Stamp::new(1, None, SystemTime::UNIX_EPOCH);
    let texts = ids.map(|id| intent(id, &hosts).to_text(&stamp));
    let path = |id: &str| store.path().join(format!("{id}.intent"));
    fs::write(path("a"), texts.concat()).unwrap();
    for id in ["b", "c", "foreign"] {
        fs::hard_link(path("a"), path(id)).unwrap();
    }
    let found = || {
        let unfinished = store.unfinished().unwrap();
        assert_eq!(unfinished.entries.len() + unfinished.unreadable.len(), 4);
        unfinished.groups().cloned().collect::<Vec<_>>()
    };
    assert_eq!(found(), ids.map(group));
    for id in ids {
        assert_eq!(claim(&store, id).inherited(), Some(&intent(id, &hosts)));
    }
    assert!(failed(&store, "foreign").contains("file of its group \"a\""), "{}", failed(&store, "foreign"));

    let file = fs::OpenOptions::new().write(true).open(path("a")).unwrap();
    let (first, second) = (texts[0].len() as u64, (texts[0].len() + texts[1].len()) as u64);
    let length = fs::metadata(path("a")).unwrap().len();
    for at in 0..length {
        let byte = texts.concat().as_bytes()[usize::try_from(at).unwrap()];
        for flip in [1, 0x20, 0xff] {
            file.write_all_at(&[byte ^ flip], at).unwrap();
            let hit = usize::from(at >= first) + usize::from(at >= second);
            let found = found();
            assert!(!found.contains(&group(ids[hit])), "byte {at}");
            // A text with a damaged first line is read as part of the text before it.
            let missing = 3 - found.len();
            let is_seam = [first, second].iter().any(|start| (start - 1..start + 22).contains(&at));
            assert!(missing == 1 || (missing == 2 && is_seam), "byte {at}: {found:?}");
        }
        file.write_all_at(&[byte], at).unwrap();
    }
    assert_eq!(found(), ids.map(group));
    file.write_all_at(b"?", first + 30).unwrap();
    assert!(failed(&store, "b").contains("damaged"), "{}", failed(&store, "b"));
    file.write_all_at(&texts[1].as_bytes()[30..31], first + 30).unwrap();
    fs::write(
        path("twice"),
        [intent("twice", &hosts), intent("twice", &hosts[..1])].map(|it| it.to_text(&stamp)).concat(),
    )
    .unwrap();
    assert!(failed(&store, "twice").contains("two intents"), "{}", failed(&store, "twice"));
    fs::remove_file(path("twice")).unwrap();
    file.set_len(second).unwrap();
    assert_eq!(found(), [group("a"), group("b")]);
    file.set_len(second + 10).unwrap();
    assert_eq!(found(), [group("a")]);
    file.set_len(0).unwrap();
    assert!(found().is_empty());
}

/// On a file system that ignores case, the file of one group is found under the name of another. A hard link looks alike.
#[test]
fn intent_of_a_group_that_differs_by_case_is_to_be_settled_first_and_not_to_be_deleted() {
    let (_directory, store) = fresh();
    record(&store, "Payments");
    fs::hard_link(store.path().join("Payments.intent"), store.path().join("payments.intent")).unwrap();
    let message = failed(&store, "payments");
    assert!(message.ends_with("it is of the group \"Payments\": settle that one first"), "{message}");
    claim(&store, "Payments").erase().unwrap();
    assert!(failed(&store, "payments").contains("another name"));
}

#[test]
fn huge_file_is_an_error_and_is_not_read_to_its_end() {
    let (_directory, store) = fresh();
    fs::File::create(store.path().join("g.intent")).unwrap().set_len(1 << 40).unwrap();
    assert!(failed(&store, "g").contains("more than 67108864 bytes"), "{}", failed(&store, "g"));
}

#[test]
fn record_refuses_an_intent_that_could_not_be_read_again() {
    let (_directory, store) = fresh();
    let mut held = claim(&store, "g");
    let nobody = held.record(&intent("g", &[])).unwrap_err();
    assert!(told(&nobody).contains("no line \"host\""), "{}", told(&nobody));
    let twice = held.record(&intent("g", &["http://a", "http://a"])).unwrap_err();
    assert!(told(&twice).contains("twice"), "{}", told(&twice));
    let other = held.record(&intent("h", &["http://a"])).unwrap_err();
    assert!(told(&other).contains("another group, \"h\""), "{}", told(&other));
    assert_eq!(names(&store), ["g.lock"]);
}

#[test]
fn claim_fails_if_the_lock_is_no_regular_file() {
    let (_directory, store) = fresh();
    fs::create_dir(store.path().join("g.lock")).unwrap();
    assert!(failed(&store, "g").starts_with("cannot lock "), "{}", failed(&store, "g"));
    std::os::unix::fs::symlink("/dev/null", store.path().join("h.lock")).unwrap();
    assert!(store.claim(&group("h")).is_err());
}

#[test]
fn record_fails_if_the_temporary_cannot_be_removed() {
    let (_directory, store) = fresh();
    fs::create_dir(store.path().join("g.new")).unwrap();
    let refused = claim(&store, "g").record(&intent("g", &["http://a"])).unwrap_err();
    assert!(told(&refused).starts_with("cannot create "), "{}", told(&refused));
}

#[test]
fn record_does_not_follow_a_link_at_the_temporary() {
    let (directory, store) = fresh();
    let elsewhere = directory.path().join("elsewhere");
    fs::write(&elsewhere, "a person's").unwrap();
    let mut held = claim(&store, "g");
    std::os::unix::fs::symlink(&elsewhere, store.path().join("g.new")).unwrap();
    let refused = held.record(&intent("g", &["http://a"])).unwrap_err();
    assert!(told(&refused).starts_with("cannot create "), "{}", told(&refused));
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "a person's");
    held.record(&intent("g", &["http://a"])).unwrap();
}

#[test]
fn claim_whose_lock_file_was_removed_changes_nothing() {
    let (_directory, store) = fresh();
    let mut first = claim(&store, "g");
    fs::remove_file(store.path().join("g.lock")).unwrap();
    let mut second = claim(&store, "g");
    second.record(&intent("g", &["http://b"])).unwrap();
    for error in [first.record(&intent("g", &["http://a"])).unwrap_err(), first.erase().unwrap_err()] {
        assert!(told(&error).contains("removed while an operation held it"), "{}", told(&error));
        // Of a create that is on every host, a recovery would undo it.
        assert!(!told(&error).contains("recover"), "{}", told(&error));
    }
    drop(first);
    assert!(busy(&store, "g").is_some(), "the first did not remove the lock of the second");
    drop(second);
    assert_eq!(claim(&store, "g").inherited(), Some(&intent("g", &["http://b"])));
}

/// Checks that every call of the journal, and of the claim on the group `g`, reports a replaced directory.
fn assert_lost(store: &DirectoryJournal, mut held: Box<dyn Claim>) {
    let errors = [held.record(&intent("g", &["http://a"])).unwrap_err(), held.erase().unwrap_err()];
    drop(held);
    let messages = errors.iter().map(told).chain([failed(store, "g"), told(&store.unfinished().unwrap_err())]);
    for message in messages {
        assert!(message.starts_with(&format!("cannot rely on {}: ", store.path().display())), "{message}");
        assert!(message.contains("removed or replaced"), "{message}");
    }
}

#[test]
fn every_call_fails_after_the_directory_was_removed() {
    let (_directory, store) = fresh();
    let held = claim(&store, "g");
    fs::remove_dir_all(store.path()).unwrap();
    assert_lost(&store, held);
}

#[test]
fn every_call_fails_after_the_directory_was_replaced_and_the_new_one_is_unchanged() {
    let (directory, store) = fresh();
    let held = claim(&store, "g");
    fs::rename(store.path(), directory.path().join("away")).unwrap();
    fs::create_dir(store.path()).unwrap();
    fs::write(store.path().join("g.intent"), "of somebody else").unwrap();
    assert_lost(&store, held);
    assert_eq!(names(&store), ["g.intent"]);
    assert_eq!(names(&DirectoryJournal::open(directory.path().join("away")).unwrap()), ["g.lock"]);
}

#[test]
fn open_follows_a_link_to_a_directory() {
    let (directory, store) = fresh();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(store.path(), &link).unwrap();
    record(&DirectoryJournal::open(&link).unwrap(), "g");
    assert_eq!(unfinished_groups(&store), [group("g")]);
}

#[test]
fn open_names_a_link_that_leads_nowhere() {
    let (directory, _store) = fresh();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(directory.path().join("not mounted"), &link).unwrap();
    for path in [&link, &link.join("journal")] {
        let refused = told(&DirectoryJournal::open(path).unwrap_err());
        assert!(refused.starts_with(&format!("cannot create the directory {}: ", path.display())), "{refused}");
        assert!(refused.contains(&format!("{} is a symbolic link that leads nowhere: ", link.display())), "{refused}");
    }
    assert!(!directory.path().join("not mounted").exists());
}

#[test]
fn open_refuses_a_path_that_is_no_directory() {
    let (directory, _store) = fresh();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = DirectoryJournal::open(&file).unwrap_err();
    assert!(told(&refused).contains("not a directory: name a directory"), "{}", told(&refused));
    assert!(DirectoryJournal::open(file.join("below")).is_err());
    let pipe = directory.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert!(DirectoryJournal::open(&pipe).is_err(), "and it does not block");
    assert!(DirectoryJournal::open("").is_err());
}

// --- cost

#[test]
#[ignore = "a measurement: cargo test --release --lib journal::directory::tests::cost -- --ignored --nocapture"]
fn cost_of_record_and_erase() {
    let directory = TempDir::new_in("target").unwrap();
    let store = DirectoryJournal::open(directory.path().join("journal")).unwrap();
    for threads in [1_usize, 2, 8, 32, 128] {
        let rounds = 3_200 / threads.clamp(8, 32);
        let start = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let store = &store;
                scope.spawn(move || {
                    for round in 0..rounds {
                        let id = format!("{thread} {round}");
                        let mut held = claim(store, &id);
                        held.record(&intent(&id, &["http://node1:8000", "http://node2:8000"])).unwrap();
                        held.erase().unwrap();
                    }
                });
            }
        });
        let pairs = f64::from(u32::try_from(threads * rounds).unwrap());
        let rate = pairs / start.elapsed().as_secs_f64();
        println!("{threads:4} threads: {rate:8.0} record + erase a second");
    }
}

// --- files of other users

/// A user that runs no test. Only root can give files away.
const STRANGER: u32 = 65_534;

fn give_away(path: &Path) -> bool {
    let given = std::os::unix::fs::lchown(path, Some(STRANGER), None);
    if let Err(error) = &given {
        println!("skipped, this needs root: {error}");
    }
    given.is_ok()
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn open_refuses_a_directory_that_others_can_write() {
    let (_directory, store) = fresh();
    for mode in [0o777, 0o1777, 0o770, 0o720, 0o702] {
        set_mode(store.path(), mode);
        let refused = told(&DirectoryJournal::open(store.path()).unwrap_err());
        assert!(refused.starts_with(&format!("cannot trust {}: ", store.path().display())), "{refused}");
        assert!(refused.contains(&format!("(mode {mode:04o})")) && refused.contains("chmod 700"), "{refused}");
        assert!(failed(&store, "g").contains("chmod 700"), "a claim of an open store looks again");
        assert!(store.unfinished().is_err());
    }
    for mode in [0o700, 0o750, 0o755, 0o2755] {
        set_mode(store.path(), mode);
        DirectoryJournal::open(store.path()).unwrap().claim(&group("g")).unwrap();
    }
}

#[test]
fn open_refuses_a_directory_of_another_user() {
    let (_directory, store) = fresh();
    if !give_away(store.path()) {
        return;
    }
    let refused = told(&DirectoryJournal::open(store.path()).unwrap_err());
    assert!(refused.starts_with(&format!("cannot trust {}: ", store.path().display())), "{refused}");
    assert!(refused.contains("belongs to user 65534") && refused.contains("as user 0"), "{refused}");
}

#[test]
fn intent_that_others_can_write_is_refused_and_kept() {
    let (_directory, store) = fresh();
    record(&store, "g");
    let path = store.path().join("g.intent");
    for mode in [0o620, 0o602, 0o666] {
        set_mode(&path, mode);
        let refused = failed(&store, "g");
        assert!(refused.contains(&format!("(mode {mode:04o})")) && refused.contains("chmod 600"), "{refused}");
        let unreadable = store.unfinished().unwrap().unreadable;
        assert_eq!(unreadable.iter().map(told).collect::<Vec<_>>(), [refused]);
        assert!(path.exists());
    }
    set_mode(&path, 0o644);
    assert!(claim(&store, "g").inherited().is_some(), "others may read it");
}

#[test]
fn intent_of_another_user_is_refused_and_kept() {
    let (_directory, store) = fresh();
    record(&store, "g");
    let path = store.path().join("g.intent");
    if !give_away(&path) {
        return;
    }
    let refused = failed(&store, "g");
    assert!(refused.contains("belongs to user 65534"), "{refused}");
    let unreadable = store.unfinished().unwrap().unreadable;
    assert_eq!(unreadable.iter().map(told).collect::<Vec<_>>(), [refused]);
    assert!(path.exists());
}

#[test]
fn lock_that_is_a_link_or_no_regular_file_is_refused_and_not_written() {
    let (directory, store) = fresh();
    let victim = directory.path().join("victim");
    fs::write(&victim, "a person's").unwrap();
    let lock = |id: &str| store.path().join(format!("{id}.lock"));
    fs::hard_link(&victim, lock("hard")).unwrap();
    std::os::unix::fs::symlink(&victim, lock("soft")).unwrap();
    std::os::unix::fs::symlink(directory.path().join("absent"), lock("dangling")).unwrap();
    fs::create_dir(lock("directory")).unwrap();
    assert!(Command::new("mkfifo").arg(lock("pipe")).status().unwrap().success());
    for (id, reason) in [
        ("hard", "2 names"),
        ("soft", "symbolic link"),
        ("dangling", "symbolic link"),
        ("directory", "not a regular file"),
        ("pipe", "not a regular file"),
    ] {
        let refused = failed(&store, id);
        assert!(refused.starts_with(&format!("cannot lock {}: ", lock(id).display())), "{refused}");
        assert!(refused.contains(reason) && refused.contains("remove it"), "{refused}");
    }
    assert_eq!(fs::read_to_string(&victim).unwrap(), "a person's");
    assert!(!directory.path().join("absent").exists());
    fs::remove_file(lock("hard")).unwrap();
    claim(&store, "hard");
}

#[test]
fn lock_of_another_user_is_refused() {
    let (_directory, store) = fresh();
    let lock = store.path().join("g.lock");
    fs::write(&lock, "process 1\n").unwrap();
    if !give_away(&lock) {
        return;
    }
    assert!(failed(&store, "g").contains("belongs to user 65534"), "{}", failed(&store, "g"));
    assert_eq!(fs::read_to_string(&lock).unwrap(), "process 1\n");
}

#[test]
fn errors_escape_control_characters_of_file_names() {
    let (_directory, store) = fresh();
    for name in ["\u{1b}[2Jgröße.intent", "a\nb.intent", "\u{202e}fdp.intent", "\u{9b}31m.intent"] {
        fs::write(store.path().join(name), "").unwrap();
    }
    let bytes: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff\x1b.intent");
    fs::write(store.path().join(bytes), "").unwrap();
    let unreadable = store.unfinished().unwrap().unreadable;
    let mut shown: Vec<String> = unreadable.iter().map(told).collect();
    shown.sort();
    assert!(shown.iter().all(|text| !text.contains(|c: char| c.is_control() || c == '\u{202e}')), "{shown:?}");
    for part in
        [r"/\u{1b}[2Jgröße.intent: ", r"/a\nb.intent: ", r"/\u{202e}fdp.intent", r"/\u{9b}31m", "/\u{fffd}\\u{1b}."]
    {
        assert!(shown.iter().any(|text| text.contains(part)), "{part}: {shown:?}");
    }
}
