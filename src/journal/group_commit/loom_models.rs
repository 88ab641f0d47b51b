//! Models of group commit for loom: a change is answered only after a round has carried it out. See
//! `src/client/driver/loom_models.rs` for how to run them.

use std::sync::Arc;

use loom::thread;

use super::{GroupCommit, RoundEnd};
use crate::sync::{Model, explore, plant};
use crate::values::cause::JournalError;

/// Stores changes. A round takes two steps and has its effect in the second.
#[derive(Default)]
struct Store {
    state: loom::sync::Mutex<StoreState>,
    /// Number of the round that breaks the store.
    breaks: Option<usize>,
}

#[derive(Default)]
struct StoreState {
    running: bool,
    rounds: usize,
    kept: Vec<usize>,
}

impl Store {
    fn carry_out(&self, changes: &[usize]) -> RoundEnd {
        let mut state = self.state.lock().unwrap();
        assert!(!state.running, "one round at a time");
        assert!(!changes.is_empty(), "a round without changes");
        (state.running, state.rounds) = (true, state.rounds + 1);
        let breaks = self.breaks == Some(state.rounds);
        drop(state);
        let mut state = self.state.lock().unwrap();
        state.running = false;
        let refused = JournalError::on("sync", "the store", std::io::Error::other("as planned"));
        if breaks {
            return RoundEnd::broken(refused, changes.len());
        }
        state.kept.extend(changes);
        // Change 0 is always refused.
        let result = |change: &usize| if *change == 0 { Err(refused.clone()) } else { Ok(()) };
        RoundEnd { results: changes.iter().map(result).collect(), broken: None }
    }

    fn has(&self, change: usize) -> bool {
        self.state.lock().unwrap().kept.contains(&change)
    }
}

/// Runs that many threads with a change each. Returns the changes that succeeded.
fn callers(number: usize, store: Store) -> Vec<usize> {
    let shared = Arc::new((GroupCommit::default(), store));
    let caller = |(rounds, store): &(GroupCommit<usize>, Store), change: usize| {
        let result = rounds.join(change, |changes| store.carry_out(changes));
        assert!(result.is_err() || store.has(change), "an answer before the change was carried out");
        result.is_ok().then_some(change)
    };
    let others: Vec<_> = (1..number)
        .map(|change| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || caller(&shared, change))
        })
        .collect();
    let own = caller(&shared, 0);
    own.into_iter().chain(others.into_iter().filter_map(|other| other.join().unwrap())).collect()
}

const SYSTEM: [Model; 1] = [Model { threads: true }];

#[test]
fn change_is_carried_out_before_its_own_result_is_returned() {
    explore("two share rounds", &SYSTEM, None, || assert_eq!(callers(2, Store::default()), [1]));
    explore("three share rounds", &SYSTEM, Some(3), || assert_eq!(callers(3, Store::default()), [1, 2]));
}

/// The first round breaks the store, so no change succeeds.
#[test]
fn every_change_fails_after_a_round_broke_the_store() {
    explore("a round breaks the store", &SYSTEM, None, || {
        let store = Store { breaks: Some(1), ..Store::default() };
        assert!(callers(2, store).is_empty());
    });
    explore("three and a round that breaks the store", &SYSTEM, Some(3), || {
        let store = Store { breaks: Some(1), ..Store::default() };
        assert!(callers(3, store).is_empty());
    });
}

#[test]
fn planted_mutants_are_detected() {
    let source = include_str!("../group_commit.rs");
    let models = ["group_commit::loom_models", "--skip", "planted"];
    plant("silent", "group_commit.rs", source, "round.changed.notify_all()", &models);
    plant("silent", "group_commit.rs", source, "state.next.changed.notify_", &models);
    plant("leaky", "group_commit.rs", source, "round.changed.wait", &models);
}
