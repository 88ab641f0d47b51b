//! One fsync of a directory for all who wait for one: what databases call group commit.

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock, PoisonError};

use super::disk::Disk;
use crate::cause::StoreError;
use crate::sync::{Condvar, Mutex, MutexGuard};

/// Syncs a directory for many callers at once. Whoever comes while a sync is running waits for the next
/// one: only a sync that starts after a rename is sure to make it durable.
///
/// After a failed fsync every later call fails too. The kernel may have dropped what it could not write and
/// call the rest clean, so that a second fsync succeeds without having done anything (Rebello et al., "Can
/// Applications Recover from fsync Failures?", USENIX ATC 2020). Nothing here can tell, so nothing is
/// promised any more; a new start reads what is really there.
#[derive(Default)]
pub(super) struct SharedSync {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    running: bool,
    /// Those who wait for the sync that has not started yet.
    next: Arc<Round>,
    broken: Option<StoreError>,
}

/// How one sync ended.
type Round = OnceLock<Result<(), StoreError>>;

enum Failure {
    /// The sync was not begun: nothing is lost, and the next one covers it.
    Open(io::Error),
    Sync(io::Error),
}

impl SharedSync {
    /// Returns once a sync of `path` that started after this call has ended, with its result.
    pub(super) fn sync(&self, disk: &dyn Disk, path: &Path) -> Result<(), StoreError> {
        let mut state = self.state();
        let round = Arc::clone(&state.next);
        loop {
            if let Some(ended) = round.get() {
                return ended.clone();
            }
            if let Some(broken) = &state.broken {
                return Err(broken.clone());
            }
            if !state.running {
                return self.lead(state, disk, path);
            }
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Runs the next round in the name of all who have joined it.
    fn lead(&self, mut state: MutexGuard<'_, State>, disk: &dyn Disk, path: &Path) -> Result<(), StoreError> {
        let round = std::mem::take(&mut state.next);
        state.running = true;
        drop(state);
        let synced =
            disk.open_dir(path).map_err(Failure::Open).and_then(|dir| disk.sync_dir(&dir).map_err(Failure::Sync));

        let mut state = self.state();
        state.running = false;
        let ended = synced.map_err(|failure| match failure {
            Failure::Open(error) => StoreError::new("open", path, error),
            Failure::Sync(error) => state.broken.insert(broken(path, &error)).clone(),
        });
        let _ = round.set(ended.clone());
        self.ended.notify_all();
        ended
    }

    /// How many wait for the sync that has not started yet.
    #[cfg(all(test, unix))]
    pub(super) fn waiting(&self) -> usize {
        Arc::strong_count(&self.state().next) - 1
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn broken(path: &Path, error: &io::Error) -> StoreError {
    let message = format!("{error}: check the disk, then start this program again");
    StoreError::new("sync", path, io::Error::new(error.kind(), message))
}

#[cfg(all(test, loom))]
mod loom_models;
