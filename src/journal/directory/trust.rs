//! Ownership and permission checks: a file is used only if it belongs to the effective user and no other user can write
//! it.
//!
//! Recovery deletes the groups of an intent, and a lock file is written to. Another user who can create files in the
//! directory could have a group deleted, or another file overwritten. The checks use `fstat` of the open file, because
//! its name may lead to another file later. Root has no exception, neither as the owner of a file nor as the user.
//!
//! Deliberately absent: a check of the parent directories. A user who can write there can remove the journal, or
//! replace it by another directory, which is refused.

use std::fs::{File, Metadata};
use std::io;
use std::path::Path;

/// The problem with a file and its remedy. Both continue a sentence that names the file.
type FileRefusal = io::Error;

/// The effective user of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct User {
    #[cfg(unix)]
    id: u32,
}

impl User {
    /// Reads the effective user id off a new pipe: every Unix system gives a pipe to the effective user of the
    /// process that makes it. `geteuid` itself is an unsafe call in `libc`, and `/proc` exists on Linux only.
    #[cfg(unix)]
    pub(super) fn of_this_process() -> io::Result<Self> {
        use std::os::fd::OwnedFd;
        use std::os::unix::fs::MetadataExt as _;
        let (pipe, _) = io::pipe()?;
        let id = File::from(OwnedFd::from(pipe)).metadata()?.uid();
        Ok(User { id })
    }

    /// Windows keeps permissions in access control lists, which the standard library does not read.
    #[cfg(not(unix))]
    pub(super) fn of_this_process() -> io::Result<Self> {
        Ok(User {})
    }

    /// Checks that only this user can create files in the directory.
    pub(super) fn check_directory(self, directory: &Metadata) -> Result<(), FileRefusal> {
        self.check_owner(directory, "name a directory of this user; a missing one is created")?;
        check_writers(directory, "run chmod 700 on it, or name a directory that only this user can write")
    }

    /// Checks that only this user can have written an intent. It may have several hard links: see [`super::changes`].
    pub(super) fn check_intent(self, file: &File) -> Result<(), FileRefusal> {
        let found = regular(file, INTENT_REMEDY)?;
        self.check_owner(&found, "read it, then delete it, or give it to this user (chown) if it is right")?;
        check_writers(&found, "read it, then delete it, or run chmod 600 on it if it is right")
    }

    /// Checks that writing to a lock file changes no other file.
    pub(super) fn check_lock(self, file: &File) -> Result<(), FileRefusal> {
        let found = regular(file, LOCK_REMEDY)?;
        self.check_owner(&found, LOCK_REMEDY)?;
        check_names(&found)
    }

    #[cfg(unix)]
    fn check_owner(self, found: &Metadata, remedy: &str) -> Result<(), FileRefusal> {
        let owner = std::os::unix::fs::MetadataExt::uid(found);
        if owner == self.id {
            return Ok(());
        }
        Err(refusal(format!("it belongs to user {owner}, and this program runs as user {}: {remedy}", self.id)))
    }

    #[cfg(not(unix))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "needed on Unix")]
    fn check_owner(self, _: &Metadata, _: &str) -> Result<(), FileRefusal> {
        Ok(())
    }
}

const INTENT_REMEDY: &str = "move it out of this directory";
const LOCK_REMEDY: &str = "remove it while no other program uses this journal";

/// Replaces the error of a failed open if the intent is no regular file.
pub(super) fn unopened_intent(path: &Path, error: io::Error) -> FileRefusal {
    unopened(path, error, INTENT_REMEDY)
}

/// Replaces the error of a failed open if the lock is no regular file.
pub(super) fn unopened_lock(path: &Path, error: io::Error) -> FileRefusal {
    unopened(path, error, LOCK_REMEDY)
}

fn unopened(path: &Path, error: io::Error, remedy: &str) -> FileRefusal {
    match path.symlink_metadata() {
        Ok(found) if !found.is_file() => no_file(&found, remedy),
        _ => error,
    }
}

fn regular(file: &File, remedy: &str) -> Result<Metadata, FileRefusal> {
    let found = file.metadata()?;
    if found.is_file() { Ok(found) } else { Err(no_file(&found, remedy)) }
}

fn no_file(found: &Metadata, remedy: &str) -> FileRefusal {
    let link = if found.is_symlink() { "a symbolic link, " } else { "" };
    refusal(format!("it is {link}not a regular file: {remedy}"))
}

#[cfg(unix)]
fn check_writers(found: &Metadata, remedy: &str) -> Result<(), FileRefusal> {
    let mode = std::os::unix::fs::MetadataExt::mode(found);
    if mode & 0o022 == 0 {
        return Ok(());
    }
    Err(refusal(format!("others can write to it (mode {:04o}), so its content may be forged: {remedy}", mode & 0o7777)))
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "needed on Unix")]
fn check_writers(_: &Metadata, _: &str) -> Result<(), FileRefusal> {
    Ok(())
}

/// Accepts a file without a name too: it was removed after it was opened, which the lock detects.
#[cfg(unix)]
fn check_names(found: &Metadata) -> Result<(), FileRefusal> {
    let names = std::os::unix::fs::MetadataExt::nlink(found);
    if names <= 1 {
        return Ok(());
    }
    Err(refusal(format!("it has {names} names, so writing to it may change another file: {LOCK_REMEDY}")))
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "needed on Unix")]
fn check_names(_: &Metadata) -> Result<(), FileRefusal> {
    Ok(())
}

fn refusal(problem: String) -> FileRefusal {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::User;

    #[test]
    fn user_of_this_process_owns_new_files() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(User::of_this_process().unwrap().id, file.metadata().unwrap().uid());
    }
}
