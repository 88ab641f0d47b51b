//! The changes of a round on the disk: intents are written and removed, then one sync makes all of it durable.
//!
//! The intents of several groups are written into one file and synced once. That file gets the name of each group, as a
//! hard link. So a round takes two syncs for all groups with short texts. On a file system without hard links, each
//! group gets a file of its own.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::open_directory::OpenDirectory;
use crate::journal::group_commit::RoundEnd;
use crate::values::cause::JournalError;

/// A change of one group's intent.
pub(super) enum Change {
    Put(Put),
    /// A missing file needs the sync too, because a dead owner may have removed it without one.
    Remove(PathBuf),
    /// Make the current state durable.
    Keep,
}

/// An intent and its file.
pub(super) struct Put {
    pub(super) path: PathBuf,
    /// The name under which it is written. Only the holder of the group's lock uses it.
    pub(super) temporary: PathBuf,
    pub(super) text: String,
}

/// Maximum size of a shared file, which bounds the reading for one intent.
const SHARED_LIMIT: usize = 16 << 10;

/// Carries out changes of different groups. A failed change does not affect the others. If the last sync fails, all fail.
///
/// A failed sync of the directory breaks the journal. The kernel may drop pages that it could not write and mark them
/// clean, so that a second fsync succeeds without effect (Rebello et al., "Can Applications Recover from fsync
/// Failures?", USENIX ATC 2020). So every later change fails, until a new start reads the true state. A failed sync of
/// a file breaks nothing: the file has no group's name yet, and is not used again.
pub(super) fn carry_out(disk: &dyn Disk, directory: &OpenDirectory, changes: &[Change]) -> RoundEnd {
    let mut results = vec![Ok(()); changes.len()];
    for puts in batches(changes) {
        for ((place, _), result) in puts.iter().zip(put_together(disk, &puts)) {
            results[*place] = result;
        }
    }
    for (change, result) in changes.iter().zip(&mut results) {
        if let Change::Remove(path) = change {
            *result = remove(disk, path);
        }
    }
    if results.iter().all(Result::is_err) {
        return RoundEnd { results, broken: None };
    }
    let (synced, broken) = match directory.sync(disk) {
        // The open directory was synced, and readers use the path. Both must be the same directory.
        Ok(()) => (directory.check_place(disk), None),
        Err(error) => {
            let broken = broken(directory.path(), &error);
            (Err(broken.clone()), Some(broken))
        }
    };
    RoundEnd { results: results.into_iter().map(|result| result.and(synced.clone())).collect(), broken }
}

fn broken(path: &Path, error: &io::Error) -> JournalError {
    let message = format!("{error}: check the disk, then start this program again");
    JournalError::on("sync", path, io::Error::new(error.kind(), message))
}

/// Groups the intents among the changes by the file that they share, with their indices.
fn batches(changes: &[Change]) -> Vec<Vec<(usize, &Put)>> {
    let mut batches: Vec<Vec<_>> = Vec::new();
    let mut left = 0;
    for (place, change) in changes.iter().enumerate() {
        let Change::Put(put) = change else { continue };
        if put.text.len() > left {
            batches.push(Vec::new());
            left = SHARED_LIMIT;
        }
        left = left.saturating_sub(put.text.len());
        batches.last_mut().into_iter().for_each(|batch| batch.push((place, put)));
    }
    batches
}

fn put_together(disk: &dyn Disk, puts: &[(usize, &Put)]) -> Vec<Result<(), JournalError>> {
    let alone = || puts.iter().map(|(_, put)| put_alone(disk, put)).collect();
    let Some(((_, first), others @ [_, ..])) = puts.split_first() else { return alone() };
    let text: String = puts.iter().map(|(_, put)| put.text.as_str()).collect();
    let Ok(file) = write(disk, &first.temporary, &text) else { return alone() };
    // No retry for each intent, because each call on a failing disk may block long.
    if let Err(error) = sync(disk, &first.temporary, &file) {
        return vec![Err(error); puts.len()];
    }
    drop(file);
    // The content is durable, so the file gets the name at once. A rename replaces an older intent.
    let shares = |put: &Put| match disk.link(&first.temporary, &put.path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.link(&first.temporary, &put.temporary).is_ok() && rename(disk, put).is_ok()
        }
        linked => linked.is_ok(),
    };
    let others: Vec<_> =
        others.iter().map(|(_, put)| if shares(put) { Ok(()) } else { put_alone(disk, put) }).collect();
    std::iter::once(rename(disk, first)).chain(others).collect()
}

/// Makes the content durable before it gets its name, so that the name never leads to half an intent.
fn put_alone(disk: &dyn Disk, put: &Put) -> Result<(), JournalError> {
    let file = write(disk, &put.temporary, &put.text)?;
    sync(disk, &put.temporary, &file)?;
    drop(file);
    rename(disk, put)
}

fn write(disk: &dyn Disk, temporary: &Path, text: &str) -> Result<File, JournalError> {
    let written = || {
        let mut file = disk.create(temporary).map_err(|error| JournalError::on("create", temporary, error))?;
        disk.write(&mut file, text.as_bytes()).map_err(|error| JournalError::on("write", temporary, error))?;
        Ok(file)
    };
    written().inspect_err(|_| clear_away(disk, temporary))
}

fn sync(disk: &dyn Disk, temporary: &Path, file: &File) -> Result<(), JournalError> {
    let synced = disk.sync(file).map_err(|error| JournalError::on("sync", temporary, error));
    synced.inspect_err(|_| clear_away(disk, temporary))
}

fn rename(disk: &dyn Disk, put: &Put) -> Result<(), JournalError> {
    let renamed = disk.rename(&put.temporary, &put.path);
    renamed.map_err(|error| JournalError::on("rename a file to", &put.path, error)).inspect_err(|_| {
        clear_away(disk, &put.temporary);
    })
}

fn remove(disk: &dyn Disk, path: &Path) -> Result<(), JournalError> {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(JournalError::on("remove", path, error)),
        _ => Ok(()),
    }
}

/// Removes a temporary file, which would make the next record fail.
fn clear_away(disk: &dyn Disk, temporary: &Path) {
    let _ = disk.remove(temporary);
}
