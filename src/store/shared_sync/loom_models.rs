//! The shared fsync under a model checker: who gets an answer has it from a sync that covers what was renamed
//! before. See `src/executor/loom_models.rs` for how to run it.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use loom::thread;

use super::SharedSync;
use crate::store::disk::Disk;
use crate::sync::{Model, Pace, explore, plant};

/// A directory in which only names change. A sync takes two steps: what changes between them may miss it.
#[derive(Default)]
struct Names {
    state: loom::sync::Mutex<State>,
    /// The number of the sync that fails.
    fails: Option<usize>,
}

#[derive(Default)]
struct State {
    renamed: usize,
    durable: usize,
    syncs: usize,
    running: bool,
}

impl Names {
    fn rename(&self) -> usize {
        let mut state = self.state.lock().unwrap();
        state.renamed += 1;
        state.renamed
    }

    fn durable(&self) -> usize {
        self.state.lock().unwrap().durable
    }
}

impl Disk for Names {
    fn open_dir(&self, path: &Path) -> io::Result<File> {
        File::open(path)
    }

    fn sync_dir(&self, _: &File) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        assert!(!state.running, "one sync at a time");
        (state.running, state.syncs) = (true, state.syncs + 1);
        let (covered, number) = (state.renamed, state.syncs);
        drop(state);
        let mut state = self.state.lock().unwrap();
        state.running = false;
        if self.fails == Some(number) {
            return Err(io::Error::other("as planned"));
        }
        state.durable = covered;
        Ok(())
    }

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        unreachable!()
    }
    fn create(&self, _: &Path) -> io::Result<File> {
        unreachable!()
    }
    fn write(&self, _: &mut File, _: &[u8]) -> io::Result<()> {
        unreachable!()
    }
    fn sync(&self, _: &File) -> io::Result<()> {
        unreachable!()
    }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        unreachable!()
    }
    fn remove(&self, _: &Path) -> io::Result<()> {
        unreachable!()
    }
    fn read(&self, _: &Path, _: u64) -> io::Result<Vec<u8>> {
        unreachable!()
    }
    fn list(&self, _: &Path) -> io::Result<Vec<PathBuf>> {
        unreachable!()
    }
    fn open_lock(&self, _: &Path) -> io::Result<File> {
        unreachable!()
    }
    fn try_lock(&self, _: &File) -> Result<(), TryLockError> {
        unreachable!()
    }
    fn names(&self, _: &Path, _: &File) -> io::Result<bool> {
        unreachable!()
    }
}

/// As many threads rename and sync; the number of answers that said yes.
fn callers(number: usize, names: Names) -> usize {
    let shared = Arc::new((SharedSync::default(), names));
    let caller = |(shared, names): &(SharedSync, Names)| {
        let renamed = names.rename();
        let synced = shared.sync(names, Path::new("/"));
        assert!(synced.is_err() || names.durable() >= renamed, "an answer from a sync that began before");
        usize::from(synced.is_ok())
    };
    let others: Vec<_> = (1..number)
        .map(|_| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || caller(&shared))
        })
        .collect();
    caller(&shared) + others.into_iter().map(|other| other.join().unwrap()).sum::<usize>()
}

const SYSTEM: [Model; 1] = [Model { threads: true, pace: Pace::Far }];

#[test]
fn a_sync_covers_what_was_renamed_before_it_was_asked_for() {
    explore("two share a sync", &SYSTEM, None, || assert_eq!(callers(2, Names::default()), 2));
    explore("three share a sync", &SYSTEM, Some(3), || assert_eq!(callers(3, Names::default()), 3));
}

/// The first sync fails: nobody is told that it went well, now or later.
#[test]
fn after_a_failed_sync_nothing_is_promised() {
    explore("a sync fails", &SYSTEM, None, || {
        let names = Names { fails: Some(1), ..Names::default() };
        assert_eq!(callers(2, names), 0);
    });
}

#[test]
fn planted_bugs_are_found() {
    let source = include_str!("../shared_sync.rs");
    let models = ["store::shared_sync::loom_models", "--skip", "planted"];
    plant("silent", "shared_sync.rs", source, ".notify_all()", &models);
    plant("leaky", "shared_sync.rs", source, "self.ended.wait", &models);
}
