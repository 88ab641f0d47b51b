//! The lock on one group: a file beside its intent, locked as long as its owner lives.
//!
//! The intent file itself is not locked, for two reasons. An operation holds its group before it has an intent. And a
//! new intent replaces an older one by a rename: the lock would stay on a file without a name.
//!
//! The lock is that of the operating system (`flock` on Unix), so it ends with the process. An owner that finishes
//! removes the file while it holds the lock. A dead owner leaves the file, and the next owner locks it again. So after
//! each lock the name is compared with the locked file, and a difference starts the attempt again.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::disk::Disk;
use super::trust::{User, unopened_lock};
use crate::values::cause::JournalError;
use crate::values::intent::{ClaimError, Stamp};

/// Number of attempts if each locked file was removed meanwhile. Each time, another owner has finished.
const ATTEMPTS: usize = 16;

/// Maximum length of the owner's line in a lock file.
const OWNER_LIMIT: u64 = 512;

/// Number of times that a held lock is tried before the group counts as busy. The removal of leftovers
/// ([`super::leftovers`]) and an owner that has just finished hold it only for a moment.
const LOOKS: usize = 4;

/// Longest time between the creation of a lock file and its signature, with ample room for a stalled machine.
const SIGNING: Duration = Duration::from_secs(10);

/// A held lock; dropping it frees it and removes its file.
pub(super) struct GroupLock {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: File,
    /// An earlier owner has left the file, because it was killed or a sync failed. Its last change of the directory may
    /// not be synced.
    was_left: bool,
    /// Whether the file is removed with the lock.
    is_removed: bool,
}

/// The state of a lock whose owner may be dead.
pub(super) enum LeftLock {
    /// A living owner holds the lock: its name.
    Held(String),
    /// No process held it. It is held now.
    Dead(GroupLock),
    /// The file is gone, is not a lock of this crate, or cannot be checked.
    Unknown,
}

impl GroupLock {
    /// Takes the lock in the name of `owner`, without waiting.
    pub(super) fn take(disk: &Arc<dyn Disk>, path: &Path, owner: &Stamp, user: User) -> Result<Self, ClaimError> {
        let failed = |error| ClaimError::Failed(JournalError::on("lock", path, error));
        for attempt in 0..ATTEMPTS {
            let mut file = disk.open_lock(path).map_err(|error| failed(unopened_lock(path, error)))?;
            user.check_lock(&file).map_err(failed)?;
            match disk.try_lock(&file) {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if attempt + 1 < LOOKS => {
                    std::thread::yield_now();
                    continue;
                }
                Err(TryLockError::WouldBlock) => return Err(ClaimError::Busy(holder(&file))),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            if disk.names(path, &file).map_err(failed)? {
                let was_left = sign(&**disk, &mut file, owner);
                return Ok(GroupLock {
                    disk: Arc::clone(disk),
                    path: path.to_owned(),
                    file,
                    was_left,
                    is_removed: true,
                });
            }
        }
        Err(ClaimError::Busy(format!("{ATTEMPTS} other operations have finished on it just now")))
    }

    /// Takes a lock that a killed owner has left.
    pub(super) fn take_left(disk: &Arc<dyn Disk>, path: &Path, user: User) -> LeftLock {
        let opened = disk.reopen_lock(path).and_then(|file| user.check_lock(&file).map(|()| file));
        let Ok(file) = opened else { return LeftLock::Unknown };
        let age = empty_since(&file);
        if age.is_some_and(|age| age < SIGNING) {
            return LeftLock::Unknown;
        }
        match disk.try_lock(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return LeftLock::Held(holder(&file)),
            Err(TryLockError::Error(_)) => return LeftLock::Unknown,
        }
        if (age.is_some() || signature(&file).is_some()) && disk.names(path, &file).unwrap_or(false) {
            return LeftLock::Dead(GroupLock {
                disk: Arc::clone(disk),
                path: path.to_owned(),
                file,
                was_left: true,
                is_removed: true,
            });
        }
        LeftLock::Unknown
    }

    pub(super) fn was_left(&self) -> bool {
        self.was_left
    }

    /// The owner that has signed the file.
    pub(super) fn signature(&self) -> Option<String> {
        signature(&self.file)
    }

    /// Frees the lock, and keeps its file.
    pub(super) fn leave(mut self) {
        self.keep_file();
    }

    /// The drop of the lock does not remove its file.
    pub(super) fn keep_file(&mut self) {
        self.is_removed = false;
    }

    /// Checks that the file still has its name. If the file was removed, another operation may hold the group too.
    pub(super) fn is_held(&self) -> Result<(), JournalError> {
        let lost = |error| JournalError::on("rely on", &self.path, error);
        if self.disk.names(&self.path, &self.file).map_err(lost)? {
            return Ok(());
        }
        let problem = "it was removed while an operation held it, so another one may hold the group too: do not remove lock files";
        Err(lost(std::io::Error::new(std::io::ErrorKind::NotFound, problem)))
    }
}

impl Drop for GroupLock {
    fn drop(&mut self) {
        // A file of another owner is kept. A file that stays is locked again by the next owner.
        if cfg!(unix) && self.is_removed && self.is_held().is_ok() {
            let _ = self.disk.remove(&self.path);
        }
    }
}

/// Age of a lock file without a signature; `None` if it has one. The owner of an old one was killed before it signed.
/// The owner of a young one is about to lock it, and must not find it locked.
fn empty_since(file: &File) -> Option<Duration> {
    let found = file.metadata().ok().filter(|found| found.len() == 0)?;
    Some(found.modified().ok().and_then(|modified| modified.elapsed().ok()).unwrap_or_default())
}

/// Writes the owner into the lock file, for the error of a busy group only. So a failure is ignored. Returns whether an
/// earlier owner had signed it.
fn sign(disk: &dyn Disk, file: &mut File, owner: &Stamp) -> bool {
    let line = format!("{} (since {})\n", owner.writer(), owner.started());
    // ext4 writes a truncated file to the disk when it is closed, even an empty one.
    let is_fresh = file.metadata().is_ok_and(|found| found.len() == 0);
    let cleared = if is_fresh { Ok(()) } else { file.set_len(0) };
    let _ = cleared.and_then(|()| disk.write(file, line.as_bytes()));
    !is_fresh
}

/// The holder of the lock, if its file names one: an owner may not have signed it yet.
fn holder(file: &File) -> String {
    signature(file).map_or_else(|| "another process holds it".into(), |owner| format!("{owner} holds it"))
}

/// The line with which an owner has signed, if it has plain characters only.
fn signature(mut file: &File) -> Option<String> {
    let mut line = String::new();
    file.rewind().and_then(|()| file.take(OWNER_LIMIT).read_to_string(&mut line)).ok()?;
    let is_plain = |c: char| c.is_alphanumeric() || c.is_ascii_punctuation() || c == ' ';
    line.strip_suffix('\n').filter(|line| line.starts_with("process ") && line.chars().all(is_plain)).map(str::to_owned)
}
