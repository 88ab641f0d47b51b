//! Removal of the lock files and temporary files of killed processes.
//!
//! Both are removed while the lock of their group is held. A living owner holds that lock, so its files are kept. Two
//! processes that remove leftovers exclude each other. The lock file is removed last, after a sync of the directory: its
//! owner may have died before the sync of an erased intent, and later claims no longer see that. Intents are never
//! removed here.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::Disk;
use super::lock::{GroupLock, LeftLock};
use super::trust::User;
use super::{INTENT, LOCK, TEMPORARY, is_stem};
use crate::values::intent::{Intent, Stamp};

/// Maximum number of lock files without an intent that one pass checks, and of temporary files without a lock.
const MOST: usize = 1_000;

/// Removes leftovers among `files`, the files of the directory. Returns the holder of each held lock, by the path of
/// the lock. Every lock of a group with an intent is checked, and at most [`MOST`] others.
///
/// `sync` makes the directory durable. If it fails, the journal fails every later change. No lock is held during it, so
/// that no claim meets a lock of this pass for longer than a moment.
///
/// A file that cannot be removed stays for the next pass. It blocks no claim, because a claim of its group reuses it.
pub(super) fn clear_away(
    disk: &Arc<dyn Disk>,
    user: User,
    stamp: &Stamp,
    files: &[PathBuf],
    sync: impl Fn(),
) -> HashMap<PathBuf, String> {
    let with =
        |extension: &'static str| files.iter().filter(move |file| has_extension(file, extension) && is_ours(file));
    let stems = |extension| with(extension).filter_map(|file| file.file_stem()).collect::<HashSet<&OsStr>>();
    let (unfinished, locked) = (stems(INTENT), stems(LOCK));
    let is_among = |file: &Path, stems: &HashSet<&OsStr>| file.file_stem().is_some_and(|stem| stems.contains(stem));

    let mut held = HashMap::new();
    let (of_unfinished, others): (Vec<_>, Vec<_>) = with(LOCK).partition(|lock| is_among(lock, &unfinished));
    let mut dead = Vec::new();
    for lock in of_unfinished.into_iter().chain(others.into_iter().take(MOST)) {
        match GroupLock::take_left(disk, lock, user) {
            LeftLock::Held(holder) => drop(held.insert(lock.clone(), holder)),
            LeftLock::Dead(taken) => {
                dead.push((lock, taken.signature()));
                taken.leave();
            }
            LeftLock::Unknown => {}
        }
    }
    if !dead.is_empty() {
        sync();
    }
    for (lock, owner) in dead {
        // Another owner may have died since the sync.
        match GroupLock::take_left(disk, lock, user) {
            LeftLock::Dead(taken) if taken.signature() == owner => {
                clear_temporary(disk, user, &lock.with_extension(TEMPORARY));
            }
            LeftLock::Dead(taken) => taken.leave(),
            LeftLock::Held(_) | LeftLock::Unknown => {}
        }
    }
    for temporary in with(TEMPORARY).filter(|file| !is_among(file, &locked)).take(MOST) {
        if is_half_an_intent(disk, user, temporary)
            && let Ok(_taken) = GroupLock::take(disk, &temporary.with_extension(LOCK), stamp, user)
        {
            clear_temporary(disk, user, temporary);
        }
    }
    held
}

fn has_extension(file: &Path, extension: &str) -> bool {
    file.extension().is_some_and(|found| found == extension)
}

/// Whether the file may be named after a group.
fn is_ours(file: &Path) -> bool {
    file.file_stem().and_then(OsStr::to_str).is_some_and(is_stem)
}

/// Removes a temporary file. The caller holds the lock of its group.
fn clear_temporary(disk: &Arc<dyn Disk>, user: User, path: &Path) {
    if is_half_an_intent(disk, user, path) {
        let _ = disk.remove(path);
    }
}

/// Whether the file begins like an intent, as far as it was written. Any other file belongs to a person.
fn is_half_an_intent(disk: &Arc<dyn Disk>, user: User, path: &Path) -> bool {
    let beginning = |file: File| {
        let mut beginning = Vec::new();
        file.take(Intent::FIRST_WORDS.len() as u64).read_to_end(&mut beginning).map(|_| beginning)
    };
    let opened = disk.open(path).and_then(|file| user.check_intent(&file).map(|()| file));
    opened.and_then(beginning).is_ok_and(|beginning| Intent::FIRST_WORDS.starts_with(&beginning))
}
