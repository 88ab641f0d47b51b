//! What killed processes leave beside their intents: a lock that nobody holds, and an intent half written.
//!
//! Both are removed under the lock of their group, while it is held: so a living owner keeps its files, and two
//! processes that clear away at once do each file once. The lock goes last. An intent is never touched here.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::directory::{INTENT, LOCK, TEMPORARY, is_stem};
use super::disk::Disk;
use super::lock::{GroupLock, Left};
use super::trust::User;
use crate::intent::{Intent, Stamp};

/// The most groups without an intent that are looked at in one pass. The next pass goes on.
const MOST: usize = 1_000;

/// Clears away what is left among `files`, the files of the directory. Returns who holds the locks that are held,
/// by their paths: those of all groups with an intent, and of some others.
///
/// What fails to go stays for the next pass, and is in nobody's way: whoever claims the group takes it over.
pub(super) fn clear_away(
    disk: &Arc<dyn Disk>,
    user: User,
    stamp: &Stamp,
    files: &[PathBuf],
) -> HashMap<PathBuf, String> {
    let with =
        |extension: &'static str| files.iter().filter(move |file| has_extension(file, extension) && is_ours(file));
    let stems = |extension| with(extension).filter_map(|file| file.file_stem()).collect::<HashSet<&OsStr>>();
    let (unfinished, locked) = (stems(INTENT), stems(LOCK));
    let is_among = |file: &Path, stems: &HashSet<&OsStr>| file.file_stem().is_some_and(|stem| stems.contains(stem));

    let mut held = HashMap::new();
    let (of_unfinished, others): (Vec<_>, Vec<_>) = with(LOCK).partition(|lock| is_among(lock, &unfinished));
    for lock in of_unfinished.into_iter().chain(others.into_iter().take(MOST)) {
        match GroupLock::take_left(disk, lock, user) {
            Left::Held(holder) => drop(held.insert(lock.clone(), holder)),
            Left::Dead(_taken) => clear_temporary(disk, user, &lock.with_extension(TEMPORARY)),
            Left::Unknown => {}
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

/// Whether the files of a group may have that name.
fn is_ours(file: &Path) -> bool {
    file.file_stem().and_then(OsStr::to_str).is_some_and(is_stem)
}

/// Call it while the lock of the group is held.
fn clear_temporary(disk: &Arc<dyn Disk>, user: User, path: &Path) {
    if is_half_an_intent(disk, user, path) {
        let _ = disk.remove(path);
    }
}

/// Whether the file begins as an intent does, as far as it goes. A file of a person is left alone.
fn is_half_an_intent(disk: &Arc<dyn Disk>, user: User, path: &Path) -> bool {
    let beginning = |file: File| {
        let mut beginning = Vec::new();
        file.take(Intent::FIRST_WORDS.len() as u64).read_to_end(&mut beginning).map(|_| beginning)
    };
    let opened = disk.open(path).and_then(|file| user.check_intent(&file).map(|()| file));
    opened.and_then(beginning).is_ok_and(|beginning| Intent::FIRST_WORDS.starts_with(&beginning))
}
