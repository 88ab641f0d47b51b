//! Group commit, as in databases: concurrent changes share one round, such as one sync or one transaction.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock, PoisonError};

use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::values::cause::JournalError;

/// Carries out concurrent changes together, on one of the threads that wait for them. A change that arrives during a
/// round joins the next round.
///
/// After a round that broke the journal, every later change fails without being tried.
pub(super) struct GroupCommit<C, T = ()> {
    state: Mutex<Rounds<C, T>>,
}

struct Rounds<C, T> {
    running: bool,
    /// The round that has not started yet, and its changes.
    next: Arc<Round<T>>,
    changes: Vec<C>,
    broken: Option<JournalError>,
}

struct Round<T> {
    results: OnceLock<Vec<Result<T, JournalError>>>,
    /// Notified at the end of the round, or to let one waiting member lead it.
    changed: Condvar,
}

impl<T> Default for Round<T> {
    fn default() -> Self {
        Round { results: OnceLock::new(), changed: Condvar::default() }
    }
}

/// The results of a round.
pub(super) struct RoundEnd<T = ()> {
    /// One result for each change, in order.
    pub(super) results: Vec<Result<T, JournalError>>,
    /// The error that broke the journal.
    pub(super) broken: Option<JournalError>,
}

impl<T: Clone> RoundEnd<T> {
    /// The end of a round that broke the journal: every change fails.
    pub(super) fn broken(error: JournalError, changes: usize) -> Self {
        RoundEnd { results: vec![Err(error.clone()); changes], broken: Some(error) }
    }
}

impl<C, T> Default for GroupCommit<C, T> {
    fn default() -> Self {
        let state = Rounds { running: false, next: Arc::default(), changes: Vec::new(), broken: None };
        GroupCommit { state: Mutex::new(state) }
    }
}

impl<C, T: Clone> GroupCommit<C, T> {
    /// Returns the result of `change`, after a round that started after this call has carried it out. `carry_out` is
    /// called without a lock, by one thread at a time.
    pub(super) fn join(&self, change: C, carry_out: impl FnOnce(&[C]) -> RoundEnd<T>) -> Result<T, JournalError> {
        self.join_all(vec![change], carry_out).pop().unwrap_or_else(|| Err(JournalError::panicked()))
    }

    /// Does [`GroupCommit::join`] for many changes in one round.
    pub(super) fn join_all(
        &self,
        changes: Vec<C>,
        carry_out: impl FnOnce(&[C]) -> RoundEnd<T>,
    ) -> Vec<Result<T, JournalError>> {
        let count = changes.len();
        if count == 0 {
            return Vec::new();
        }
        let mut state = self.state();
        if let Some(broken) = &state.broken {
            return vec![Err(broken.clone()); count];
        }
        let (round, place) = (Arc::clone(&state.next), state.changes.len());
        state.changes.extend(changes);
        loop {
            if let Some(results) = round.results.get() {
                return results[place..place + count].to_vec();
            }
            if let Some(broken) = &state.broken {
                return vec![Err(broken.clone()); count];
            }
            if !state.running {
                return self.lead(state, place..place + count, carry_out);
            }
            state = round.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Runs the next round for all its changes. Returns the results at `places`.
    fn lead(
        &self,
        mut state: MutexGuard<'_, Rounds<C, T>>,
        places: Range<usize>,
        carry_out: impl FnOnce(&[C]) -> RoundEnd<T>,
    ) -> Vec<Result<T, JournalError>> {
        let round = std::mem::take(&mut state.next);
        let changes = std::mem::take(&mut state.changes);
        state.running = true;
        drop(state);
        let ended = catch_unwind(AssertUnwindSafe(|| carry_out(&changes)))
            .unwrap_or_else(|_| RoundEnd::broken(JournalError::panicked(), changes.len()));
        let results = ended.results[places].to_vec();
        let mut state = self.state();
        state.running = false;
        state.broken = ended.broken;
        let _ = round.results.set(ended.results);
        round.changed.notify_all();
        // One member leads the next round. In a broken journal no round follows, so all members return.
        if state.broken.is_none() {
            state.next.changed.notify_one();
        } else {
            state.changes.clear();
            state.next.changed.notify_all();
        }
        results
    }

    /// Whether a round has broken the journal.
    pub(super) fn is_broken(&self) -> bool {
        self.state().broken.is_some()
    }

    /// Number of changes in the round that has not started yet.
    #[cfg(all(test, not(loom)))]
    fn waiting(&self) -> usize {
        self.state().changes.len()
    }

    fn state(&self) -> MutexGuard<'_, Rounds<C, T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, loom))]
mod loom_models;
#[cfg(all(test, not(loom)))]
mod tests;
