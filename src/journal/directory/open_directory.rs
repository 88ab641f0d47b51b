//! The directory of a journal, held open as long as the journal lives.
//!
//! A sync of it needs no new descriptor, so an intent can be erased durably even if the process has none left. Files
//! are opened, renamed and removed by path, because the standard library has no `openat`. The path may lead to another
//! directory later. So it is compared with the open directory before each change, and after the sync.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::trust::User;
use crate::values::cause::JournalError;
use crate::values::printable::Printable;

pub(super) struct OpenDirectory {
    path: PathBuf,
    held: File,
    user: User,
}

impl OpenDirectory {
    /// Opens the directory at an absolute path. Creates a missing directory.
    pub(super) fn open(disk: &dyn Disk, path: PathBuf) -> Result<Self, JournalError> {
        let user = User::of_this_process().map_err(|error| JournalError::on("find the user for", &path, error))?;
        let opened = match disk.open_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create(disk, &path)?;
                disk.open_dir(&path)
            }
            opened => opened,
        };
        let held = opened.map_err(|error| JournalError::on("open", &path, no_directory(&path, error)))?;
        let directory = OpenDirectory { path, held, user };
        directory.check_trust()?;
        Ok(directory)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn user(&self) -> User {
        self.user
    }

    /// Checks place, owner and mode again: they can change after the directory was opened.
    pub(super) fn check(&self, disk: &dyn Disk) -> Result<(), JournalError> {
        self.check_place(disk)?;
        self.check_trust()
    }

    /// Checks that the path still leads to the open directory.
    pub(super) fn check_place(&self, disk: &dyn Disk) -> Result<(), JournalError> {
        let lost = |error| JournalError::on("rely on", &self.path, error);
        if disk.leads_to(&self.path, &self.held).map_err(lost)? {
            return Ok(());
        }
        let problem = "it was removed or replaced while this program used it: compare both directories, move the \
                       right one to this path, then start this program again";
        Err(lost(io::Error::new(io::ErrorKind::NotFound, problem)))
    }

    pub(super) fn sync(&self, disk: &dyn Disk) -> io::Result<()> {
        disk.sync_dir(&self.held)
    }

    fn check_trust(&self) -> Result<(), JournalError> {
        let checked = self.held.metadata().and_then(|found| self.user.check_directory(&found));
        checked.map_err(|error| JournalError::on("trust", &self.path, error))
    }
}

fn no_directory(path: &Path, error: io::Error) -> io::Error {
    match path.metadata() {
        Ok(found) if !found.is_dir() => {
            let problem =
                "it is not a directory: name a directory that this user can write; a missing directory is created";
            io::Error::new(io::ErrorKind::NotADirectory, problem)
        }
        _ => error,
    }
}

/// Creates the directory and syncs its parents. Otherwise a crash could remove it with its synced files.
fn create(disk: &dyn Disk, path: &Path) -> Result<(), JournalError> {
    let missing: Vec<&Path> = path.ancestors().take_while(|ancestor| !ancestor.exists()).collect();
    disk.create_dir(path).map_err(|error| {
        let error = link_to_nowhere(path).unwrap_or(error);
        JournalError::on("create the directory", path, error)
    })?;
    for parent in missing.iter().filter_map(|made| made.parent()) {
        let synced = disk.open_dir(parent).and_then(|parent| disk.sync_dir(&parent));
        synced.map_err(|error| JournalError::on("sync", parent, error))?;
    }
    Ok(())
}

/// The error of a path through a symbolic link whose directory is missing. The system only says that the link exists.
fn link_to_nowhere(path: &Path) -> Option<io::Error> {
    let link = path.ancestors().find(|ancestor| ancestor.is_symlink() && !ancestor.exists())?;
    let problem = format!(
        "{} is a symbolic link that leads nowhere: mount or create the directory that it names, or name another one",
        Printable::new(&link.to_string_lossy())
    );
    Some(io::Error::new(io::ErrorKind::NotFound, problem))
}
