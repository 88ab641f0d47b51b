//! Intents as files of one directory.
//!
//! A group has up to three files, named after it: `<name>.intent` while an operation is unfinished, `<name>.lock` while
//! an operation runs, and `<name>.new` while an intent is written. Intents that are written together are one file with
//! several names ([`changes`]).
//!
//! Deliberately absent: a list of all groups, a log and a cache. The directory is the only state, so no two can
//! disagree.

mod changes;
mod disk;
#[cfg(all(test, unix))]
mod faults;
mod leftovers;
mod lock;
mod open_directory;
#[cfg(all(test, unix))]
pub(crate) mod tests;
mod trust;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use self::changes::{Change, Put, carry_out};
use self::disk::{Disk, RealDisk};
use self::leftovers::clear_away;
use self::lock::GroupLock;
use self::open_directory::OpenDirectory;
use self::trust::unopened_intent;
use super::calls::{AnyClaim, Batching, JournalCall, JournalResult};
use super::group_commit::GroupCommit;
use super::machine::machine_name;
use super::{Claim, Journal, JournalEntry, Unfinished};
use crate::values::cause::JournalError;
use crate::values::checksum::fnv1a;
use crate::values::group::GroupId;
use crate::values::intent::{BY_HAND, ClaimError, Intent, Stamp};

/// Stores each intent as a small readable file of one directory. Cloning is cheap, and clones share syncs.
///
/// # Guarantees
/// * [`Claim::record`] writes a temporary file, syncs and renames it, and syncs the directory before it returns.
///   [`Claim::erase`] removes the file and syncs the directory. So a crash of the process or the machine leaves the
///   older state or the newer one, and never a part.
/// * A group is locked by `flock` on a file beside its intent, between processes of one machine and within a process.
///   The lock ends with its owner, also if the owner is killed.
/// * Concurrent operations share syncs: their intents are written into one file, with a hard link for each group. On a
///   file system without hard links, each intent is written and synced by itself.
/// * So a file may contain intents of other groups; only the intent of its own name counts. Such a file may be deleted
///   or moved, but not edited, because the files of the other groups would change too.
/// * An unreadable intent file is reported and kept. Its group cannot be claimed until a person has removed the file.
/// * On Unix, a directory or an intent of another user is refused with an error, and so is one that group or others can
///   write, because its content may be forged. This holds for root too. Group and others may read.
/// * Locks and intents are opened without following symbolic links. A lock file with a second hard link is refused,
///   because writing to it would change another file.
/// * Parent directories are not checked. A journal in a new directory below `/tmp` is accepted, `/tmp` itself is
///   refused. A parent without the sticky bit that others can write lets them remove the journal.
/// * The directory is held open. If its path leads to another directory later, every call returns an error.
/// * Lock files and temporary files of killed processes are removed by [`Journal::unfinished`] and by the first claim
///   of each journal. Files of living owners are kept, and so are files of any other form.
/// * After a failed sync of the directory, every record and erase fails until the program starts again, because a later
///   sync may succeed without effect.
///
/// # Bounds
/// At most three files and two descriptors for each claimed group, and one descriptor for the directory. Erasing an
/// intent needs no new descriptor. One intent is at most 64 MiB. At most 1,000 lock files and 1,000 temporary files are
/// removed at a time. A new directory has mode 0700, the files in it 0600. They contain no credentials: a
/// [`Host`](crate::Host) has none.
///
/// # Limits
/// Use a local disk. On NFS, `flock` may lock one machine only (`local_lock`), and a restarted server may lose the
/// lock. Two machines that work on the same groups need another implementation of [`Journal`], which both can reach.
///
/// ```
/// use cluster_client::{ClaimError, DirectoryJournal, GroupId, Journal};
///
/// let directory = tempfile::tempdir()?;
/// let store = DirectoryJournal::open(directory.path().join("journal"))?;
/// let group = GroupId::parse("users-42")?;
///
/// let claim = store.claim(&group).unwrap();
/// assert!(claim.inherited().is_none());
/// assert!(matches!(store.claim(&group), Err(ClaimError::Busy(_))));
/// drop(claim);
/// assert!(store.claim(&group).is_ok());
/// assert!(store.unfinished()?.entries.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct DirectoryJournal {
    shared: Arc<JournalInner>,
}

struct JournalInner {
    directory: OpenDirectory,
    disk: Arc<dyn Disk>,
    rounds: GroupCommit<Change>,
    machine: Option<String>,
    /// The leftovers of killed processes were removed once.
    cleared: AtomicBool,
}

/// Maximum size of an intent, in bytes: enough for the maximum number of hosts with long URLs.
const INTENT_LIMIT: u64 = 64 << 20;

pub(super) const INTENT: &str = "intent";
pub(super) const LOCK: &str = "lock";
pub(super) const TEMPORARY: &str = "new";

impl DirectoryJournal {
    /// Opens the directory `path`. Creates a missing directory. A relative path is resolved once, now.
    ///
    /// # Errors
    /// A [`JournalError`] if the path is a file, if the directory can be neither opened nor created, or if another user
    /// owns it or can write to it.
    ///
    /// ```
    /// use cluster_client::DirectoryJournal;
    ///
    /// let refused = DirectoryJournal::open("/dev/null").unwrap_err();
    /// assert_eq!(refused.to_string(), "cannot open /dev/null");
    /// ```
    pub fn open(path: impl AsRef<Path>) -> Result<Self, JournalError> {
        DirectoryJournal::open_on(Arc::new(RealDisk), path.as_ref())
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.shared.directory.path()
    }

    fn open_on(disk: Arc<dyn Disk>, path: &Path) -> Result<Self, JournalError> {
        let path = std::path::absolute(path).map_err(|error| JournalError::on("find", path, error))?;
        let directory = OpenDirectory::open(&*disk, path)?;
        let rounds = GroupCommit::default();
        let shared = JournalInner { directory, disk, rounds, machine: machine_name(), cleared: AtomicBool::new(false) };
        Ok(DirectoryJournal { shared: Arc::new(shared) })
    }
}

impl fmt::Debug for DirectoryJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectoryJournal").field("path", &self.path()).finish_non_exhaustive()
    }
}

impl Journal for DirectoryJournal {
    fn claim(&self, group: &GroupId) -> Result<Box<dyn Claim>, ClaimError> {
        let shared = Arc::clone(&self.shared);
        shared.directory.check(&*shared.disk).map_err(ClaimError::Failed)?;
        let stamp = shared.stamp();
        if !shared.cleared.swap(true, Ordering::Relaxed) {
            // A failure blocks no claim. `unfinished` reports it.
            let _ = shared.list().map(|files| shared.clear_away(&stamp, &files));
        }
        let user = shared.directory.user();
        let lock = GroupLock::take(&shared.disk, &shared.file_of(group, LOCK), &stamp, user)?;
        // A dead owner may have left it. If it stays, the next record fails with an error.
        let _ = shared.disk.remove(&shared.file_of(group, TEMPORARY));
        let inherited = shared.read_of(group).map_err(ClaimError::Failed)?;
        if inherited.is_some() || lock.was_left() {
            // The owner may have died before the sync of the directory. The operation relies on what was read, also on
            // the absence of an intent: an erased one could come back after a power loss. So sync it.
            shared.change(Change::Keep).map_err(ClaimError::Failed)?;
        }
        Ok(Box::new(DirectoryClaim { shared, group: group.clone(), stamp, inherited, lock }))
    }

    fn batching(&self) -> Batching {
        Batching::ByKind
    }

    /// Makes the changes of intents in one round. Claims and releases are quick.
    fn make(&self, calls: &mut [JournalCall]) -> Vec<JournalResult> {
        let mut changes = Vec::new();
        let mut results: Vec<Option<JournalResult>> = Vec::with_capacity(calls.len());
        for call in calls.iter_mut() {
            let own = |claim: &mut DirectoryClaim, intent: Option<&Intent>| {
                Arc::ptr_eq(&claim.shared, &self.shared).then(|| claim.change_to(intent))
            };
            results.push(match call.prepare(own).flatten() {
                Some(Ok(change)) => {
                    changes.push(change);
                    None
                }
                Some(Err(error)) => Some(call.changed(Err(error))),
                None => Some(call.run(self)),
            });
        }
        let mut done = self.shared.change_all(changes).into_iter();
        let mut next = |call: &JournalCall| call.changed(done.next().unwrap_or_else(|| Err(JournalError::panicked())));
        calls.iter().zip(results).map(|(call, result)| result.unwrap_or_else(|| next(call))).collect()
    }

    fn unfinished(&self) -> Result<Unfinished, JournalError> {
        let shared = &self.shared;
        shared.directory.check(&*shared.disk)?;
        let mut files = shared.list()?;
        shared.cleared.store(true, Ordering::Relaxed);
        let mut holders = shared.clear_away(&shared.stamp(), &files);
        files.retain(|file| file.extension().is_some_and(|extension| extension == INTENT));
        files.sort();
        let mut unfinished = Unfinished::default();
        for file in files {
            match (shared.read(&file), holders.remove(&file.with_extension(LOCK))) {
                (Ok(Some(entry)), Some(holder)) => unfinished.entries.push(entry.held_by(holder)),
                (Ok(Some(entry)), None) => unfinished.entries.push(entry),
                (Ok(None), _) => {}
                (Err(error), _) => unfinished.unreadable.push(error),
            }
        }
        unfinished.entries.sort_by(|one, other| one.group().cmp(other.group()));
        Ok(unfinished)
    }
}

impl JournalInner {
    fn file_of(&self, group: &GroupId, extension: &str) -> PathBuf {
        self.directory.path().join(format!("{}.{extension}", file_stem(group)))
    }

    fn stamp(&self) -> Stamp {
        Stamp::new(std::process::id(), self.machine.as_deref(), SystemTime::now())
    }

    fn list(&self) -> Result<Vec<PathBuf>, JournalError> {
        let path = self.directory.path();
        self.disk.list(path).map_err(|error| JournalError::on("list", path, error))
    }

    fn clear_away(&self, stamp: &Stamp, files: &[PathBuf]) -> HashMap<PathBuf, String> {
        let sync = || drop(self.change(Change::Keep));
        clear_away(&self.disk, self.directory.user(), stamp, files, sync)
    }

    fn change(&self, change: Change) -> Result<(), JournalError> {
        self.rounds.join(change, |changes| carry_out(&*self.disk, &self.directory, changes))
    }

    fn change_all(&self, changes: Vec<Change>) -> Vec<Result<(), JournalError>> {
        self.rounds.join_all(changes, |changes| carry_out(&*self.disk, &self.directory, changes))
    }

    fn read_of(&self, group: &GroupId) -> Result<Option<Intent>, JournalError> {
        let path = self.file_of(group, INTENT);
        match self.read(&path)? {
            // Two long ids may have one hash.
            Some(entry) if entry.group() != group => Err(invalid("read", &path, of_another(entry.group()))),
            entry => Ok(entry.map(|entry| entry.intent().clone())),
        }
    }

    /// Reads the intent that the file is named after. Returns `None` without a file. Other intents in the file have
    /// names of their own while they are unfinished.
    fn read(&self, path: &Path) -> Result<Option<JournalEntry>, JournalError> {
        let mut file = match self.disk.open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(JournalError::on("read", path, unopened_intent(path, error))),
        };
        // Checked on the open file, so that no other file can be read in its place.
        self.directory.user().check_intent(&file).map_err(|error| JournalError::on("read", path, error))?;
        let text = self.disk.read(&mut file, INTENT_LIMIT).map_err(|error| JournalError::on("read", path, error))?;
        let (mut own, mut other, mut problem) = (None, None, None);
        for part in Intent::split(&text) {
            match JournalEntry::parse(part) {
                Ok(entry) if path != self.file_of(entry.group(), INTENT) => other = other.or(Some(entry)),
                Ok(entry) if own.is_none() => own = Some(entry),
                Ok(_) => return Err(invalid("read", path, format!("it has two intents of its group: {BY_HAND}"))),
                Err(reason) => problem = Some(reason.to_string()),
            }
        }
        if own.is_none() {
            let misnamed = || other.map(|entry| self.misnamed(entry.group(), path, &file));
            return Err(invalid("read", path, problem.or_else(misnamed).unwrap_or_default()));
        }
        Ok(own)
    }

    /// The problem of a file without an intent of its own name.
    fn misnamed(&self, group: &GroupId, path: &Path, file: &File) -> String {
        let right = self.file_of(group, INTENT);
        let ignores_case = path.as_os_str().eq_ignore_ascii_case(&right);
        if ignores_case && self.disk.names(&right, file).unwrap_or(false) {
            return of_another(group);
        }
        format!("it has another name than the file of its group {:?} would have: {BY_HAND}", group.as_str())
    }
}

/// The problem of a file that the file system finds under the names of two groups, because it ignores case, or because
/// both ids have one hash.
fn of_another(group: &GroupId) -> String {
    format!("it is of the group {:?}: settle that one first", group.as_str())
}

/// The lock is the last field, so that it is dropped last.
struct DirectoryClaim {
    shared: Arc<JournalInner>,
    group: GroupId,
    stamp: Stamp,
    inherited: Option<Intent>,
    lock: GroupLock,
}

impl Claim for DirectoryClaim {
    fn inherited(&self) -> Option<&Intent> {
        self.inherited.as_ref()
    }

    fn record(&mut self, intent: &Intent) -> Result<(), JournalError> {
        self.shared.change(self.change_to(Some(intent))?)
    }

    fn erase(&mut self) -> Result<(), JournalError> {
        self.shared.change(self.change_to(None)?)
    }

    fn as_any(&mut self) -> AnyClaim<'_> {
        Some(self)
    }
}

/// After a failed sync the lock file stays. The next claim of the group finds it, and syncs the directory before it relies
/// on what it reads.
impl Drop for DirectoryClaim {
    fn drop(&mut self) {
        if self.shared.rounds.is_broken() {
            self.lock.keep_file();
        }
    }
}

impl DirectoryClaim {
    /// The change that records this intent, or erases the current one.
    fn change_to(&self, intent: Option<&Intent>) -> Result<Change, JournalError> {
        let path = self.file(INTENT);
        let Some(intent) = intent else {
            self.check_held()?;
            return Ok(Change::Remove(path));
        };
        let text = self.text_of(intent).map_err(|problem| invalid("write", &path, problem))?;
        self.check_held()?;
        Ok(Change::Put(Put { path, temporary: self.file(TEMPORARY), text }))
    }

    /// Checks that the directory and the lock file were not replaced since the claim.
    fn check_held(&self) -> Result<(), JournalError> {
        self.shared.directory.check_place(&*self.shared.disk)?;
        self.lock.is_held()
    }

    fn file(&self, extension: &str) -> PathBuf {
        self.shared.file_of(&self.group, extension)
    }

    /// The text of an intent. Refuses an intent that could not be read again, before anything is sent.
    fn text_of(&self, intent: &Intent) -> Result<String, String> {
        if intent.group != self.group {
            return Err(format!("the intent is of another group, {:?}", intent.group.as_str()));
        }
        let text = intent.to_text(&self.stamp);
        if text.len() as u64 > INTENT_LIMIT {
            return Err(format!("the intent has {} bytes, more than {INTENT_LIMIT}: split the cluster", text.len()));
        }
        match Intent::parse(text.as_bytes()) {
            Ok(_) => Ok(text),
            Err(reason) => Err(format!("the intent could not be read again, {reason}")),
        }
    }
}

/// All characters but letters, digits, `-`, `_` and `.`. A `~` marks a name that was cut.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// Maximum length of a name without its extension. File systems accept 255 bytes.
const LONGEST: usize = 128;

/// The name of a group's files without the extension: the percent-encoded id. A long id is cut, and a hash of the whole
/// id is appended.
fn file_stem(group: &GroupId) -> String {
    let encoded: Cow<'_, str> = utf8_percent_encode(group.as_str(), ENCODED).into();
    // A leading dot would hide the file from `ls`.
    let encoded = match encoded.strip_prefix('.') {
        Some(rest) => format!("%2E{rest}"),
        None => encoded.into_owned(),
    };
    if encoded.len() <= LONGEST {
        return encoded;
    }
    format!("{}~{:016x}", &encoded[..LONGEST - 17], fnv1a(group.as_str().as_bytes()))
}

/// Whether a name has the form that [`file_stem`] makes.
pub(super) fn is_stem(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.%~".contains(&byte);
    (1..=LONGEST).contains(&name.len()) && name.bytes().all(is_plain)
}

fn invalid(action: &'static str, path: &Path, problem: String) -> JournalError {
    JournalError::on(action, path, io::Error::new(io::ErrorKind::InvalidData, problem))
}
