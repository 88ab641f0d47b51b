//! The journal's directory, held open as long as the store lives.
//!
//! So a sync needs no new descriptor: where the process has none left, what was changed can still be made durable.
//! Files are opened, renamed and removed by their path, because the standard library has no calls that start from
//! an open directory. A path can come to lead elsewhere, so it is compared with what is held: before anything is
//! changed, and again after the sync, before success is reported.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::trust::User;
use crate::cause::StoreError;

pub(super) struct OpenDirectory {
    path: PathBuf,
    held: File,
    user: User,
}

impl OpenDirectory {
    /// Opens the directory at the absolute path, and makes it where there is none.
    pub(super) fn open(disk: &dyn Disk, path: PathBuf) -> Result<Self, StoreError> {
        let user = User::of_this_process().map_err(|error| StoreError::new("find the user for", &path, error))?;
        let opened = match disk.open_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create(disk, &path)?;
                disk.open_dir(&path)
            }
            opened => opened,
        };
        let held = opened.map_err(|error| StoreError::new("open", &path, no_directory(&path, error)))?;
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

    /// Whether what is found there now can be relied on. Its mode may have been changed since it was opened.
    pub(super) fn check(&self, disk: &dyn Disk) -> Result<(), StoreError> {
        self.check_place(disk)?;
        self.check_trust()
    }

    /// Whether the path still leads to the directory that is held.
    pub(super) fn check_place(&self, disk: &dyn Disk) -> Result<(), StoreError> {
        let lost = |error| StoreError::new("rely on", &self.path, error);
        if disk.leads_to(&self.path, &self.held).map_err(lost)? {
            return Ok(());
        }
        let problem = "it was removed or replaced while this program used it: see what is in both, put the right one \
                       there, then start this program again";
        Err(lost(io::Error::new(io::ErrorKind::NotFound, problem)))
    }

    pub(super) fn sync(&self, disk: &dyn Disk) -> io::Result<()> {
        disk.sync_dir(&self.held)
    }

    fn check_trust(&self) -> Result<(), StoreError> {
        let checked = self.held.metadata().and_then(|found| self.user.check_directory(&found));
        checked.map_err(|error| StoreError::new("trust", &self.path, error))
    }
}

fn no_directory(path: &Path, error: io::Error) -> io::Error {
    match path.metadata() {
        Ok(found) if !found.is_dir() => {
            let problem =
                "it is not a directory: name a directory that this user can write; it is made where it is missing";
            io::Error::new(io::ErrorKind::NotADirectory, problem)
        }
        _ => error,
    }
}

/// Makes the directory durable too: a synced file in a directory that a crash takes away is lost with it.
fn create(disk: &dyn Disk, path: &Path) -> Result<(), StoreError> {
    let missing: Vec<&Path> = path.ancestors().take_while(|ancestor| !ancestor.exists()).collect();
    disk.create_dir(path).map_err(|error| StoreError::new("make the directory", path, error))?;
    for parent in missing.iter().filter_map(|made| made.parent()) {
        let synced = disk.open_dir(parent).and_then(|parent| disk.sync_dir(&parent));
        synced.map_err(|error| StoreError::new("sync", parent, error))?;
    }
    Ok(())
}
