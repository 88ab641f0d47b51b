//! The rounds under a model checker: who gets an answer has it from a round that carried the change out. See
//! `src/client/driver/loom_models.rs` for how to run it.

use std::sync::Arc;

use loom::thread;

use super::{Ended, GroupCommit};
use crate::sync::{Model, explore, plant};
use crate::values::cause::JournalError;

/// A place where changes are kept. A round takes two steps, and what it did counts after the second.
#[derive(Default)]
struct Store {
    state: loom::sync::Mutex<State>,
    /// The number of the round that breaks it.
    breaks: Option<usize>,
}

#[derive(Default)]
struct State {
    running: bool,
    rounds: usize,
    kept: Vec<usize>,
}

impl Store {
    fn carry_out(&self, changes: &[usize]) -> Ended {
        let mut state = self.state.lock().unwrap();
        assert!(!state.running, "one round at a time");
        assert!(!changes.is_empty(), "a round for nobody");
        (state.running, state.rounds) = (true, state.rounds + 1);
        let breaks = self.breaks == Some(state.rounds);
        drop(state);
        let mut state = self.state.lock().unwrap();
        state.running = false;
        let refused = JournalError::new("sync", "the store", std::io::Error::other("as planned"));
        if breaks {
            return Ended::broken(refused, changes.len());
        }
        state.kept.extend(changes);
        // The change 0 is refused for reasons of its own.
        let result = |change: &usize| if *change == 0 { Err(refused.clone()) } else { Ok(()) };
        Ended { results: changes.iter().map(result).collect(), broken: None }
    }

    fn has(&self, change: usize) -> bool {
        self.state.lock().unwrap().kept.contains(&change)
    }
}

/// As many threads bring a change each; the changes that were answered with yes.
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
fn a_change_is_carried_out_before_it_is_answered_and_each_gets_its_own_answer() {
    explore("two share rounds", &SYSTEM, None, || assert_eq!(callers(2, Store::default()), [1]));
    explore("three share rounds", &SYSTEM, Some(3), || assert_eq!(callers(3, Store::default()), [1, 2]));
}

/// The first round breaks the store: nobody is told that it went well, now or later.
#[test]
fn after_a_round_that_broke_the_store_nothing_is_promised() {
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
fn planted_bugs_are_found() {
    let source = include_str!("../group_commit.rs");
    let models = ["group_commit::loom_models", "--skip", "planted"];
    plant("silent", "group_commit.rs", source, "round.changed.notify_all()", &models);
    plant("silent", "group_commit.rs", source, "state.next.changed.notify_", &models);
    plant("leaky", "group_commit.rs", source, "round.changed.wait", &models);
}
