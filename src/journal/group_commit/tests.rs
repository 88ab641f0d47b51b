//! Tests of group commit: which changes share a round, and which result each gets.

use std::collections::HashSet;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use super::{GroupCommit, RoundEnd};
use crate::values::cause::JournalError;

/// Runs one caller, eight more during its round, and one afterwards. Returns whether each succeeded, and the number of
/// changes in each round.
fn one_and_eight(broken: Option<usize>) -> (bool, Vec<bool>, Vec<usize>, bool) {
    let rounds = GroupCommit::default();
    let sizes = Mutex::new(Vec::new());
    let ((begun, hear), (go, wait)) = (channel(), channel::<()>());
    let gate = Mutex::new((begun, wait));
    let join = || {
        let carry_out = |changes: &[()]| {
            let gate = gate.lock().unwrap();
            gate.0.send(()).unwrap();
            let _ = gate.1.recv();
            let mut sizes = sizes.lock().unwrap();
            sizes.push(changes.len());
            let error = || JournalError::on("sync", "here", io::Error::other("a fault of the test"));
            let broken = (broken == Some(sizes.len())).then(error);
            match broken {
                Some(error) => RoundEnd::broken(error, changes.len()),
                None => RoundEnd { results: vec![Ok(()); changes.len()], broken: None },
            }
        };
        rounds.join((), carry_out).is_ok()
    };
    let (one, eight) = std::thread::scope(|scope| {
        let one = scope.spawn(join);
        hear.recv().unwrap();
        let eight: Vec<_> = (0..8).map(|_| scope.spawn(join)).collect();
        while rounds.waiting() < 8 {
            std::thread::yield_now();
        }
        drop(go);
        (one.join().unwrap(), eight.into_iter().map(|thread| thread.join().unwrap()).collect())
    });
    let after = join();
    drop(hear);
    assert_eq!(rounds.waiting(), 0, "what nobody will carry out is not kept");
    (one, eight, sizes.into_inner().unwrap(), after)
}

#[test]
fn changes_during_a_round_share_the_next_round() {
    assert_eq!(one_and_eight(None), (true, vec![true; 8], vec![1, 8, 1], true));
}

#[test]
fn changes_of_one_caller_share_a_round_with_those_of_others() {
    let rounds = GroupCommit::default();
    let sizes = Mutex::new(Vec::new());
    let refused = || JournalError::on("put", "it", io::Error::other("odd"));
    let carry_out = |changes: &[usize]| {
        sizes.lock().unwrap().push(changes.len());
        let result = |number: &usize| if number.is_multiple_of(2) { Ok(()) } else { Err(refused()) };
        RoundEnd { results: changes.iter().map(result).collect(), broken: None }
    };
    let outcome = |results: Vec<Result<(), JournalError>>| results.iter().map(Result::is_ok).collect::<Vec<_>>();
    let ((begun, is_begun), (go, may_go)) = (channel(), channel::<()>());
    std::thread::scope(|scope| {
        let rounds = &rounds;
        let first = scope.spawn(move || {
            rounds.join_all(vec![2, 4, 5], |changes| {
                begun.send(()).unwrap();
                let _ = may_go.recv();
                carry_out(changes)
            })
        });
        is_begun.recv().unwrap();
        let many = scope.spawn(|| rounds.join_all(vec![1, 2, 3], carry_out));
        let one = scope.spawn(|| rounds.join(8, carry_out));
        while rounds.waiting() < 4 {
            std::thread::yield_now();
        }
        drop(go);
        assert_eq!(outcome(first.join().unwrap()), [true, true, false]);
        assert_eq!(outcome(many.join().unwrap()), [false, true, false]);
        assert!(one.join().unwrap().is_ok());
    });
    assert!(rounds.join_all(Vec::new(), carry_out).is_empty());
    assert_eq!(sizes.into_inner().unwrap(), [3, 4]);
}

#[test]
fn panic_in_a_round_breaks_the_store_and_blocks_no_caller() {
    let rounds = GroupCommit::default();
    let broken = |rounds: &GroupCommit<()>| rounds.join((), |_| panic!("as planned")).unwrap_err();
    for _ in 0..3 {
        assert_eq!(broken(&rounds).to_string(), "cannot use the journal");
        assert_eq!(rounds.waiting(), 0, "what nobody will carry out is not kept");
    }
}

#[test]
fn waiting_and_later_changes_fail_after_the_store_broke() {
    assert_eq!(one_and_eight(Some(2)), (true, vec![false; 8], vec![1, 8], false));
    assert_eq!(one_and_eight(Some(1)), (false, vec![false; 8], vec![1], false));
}

#[test]
fn many_threads_share_rounds_and_get_their_own_results() {
    let (rounds, done, led) = (GroupCommit::default(), Mutex::new(HashSet::new()), AtomicUsize::new(0));
    let carry_out = |changes: &[usize]| {
        std::thread::yield_now();
        led.fetch_add(1, Ordering::Relaxed);
        done.lock().unwrap().extend(changes.iter().copied());
        // The odd ones are refused, so that wrong results are detected.
        let refused = || Err(JournalError::on("put", "it", io::Error::other("odd")));
        RoundEnd {
            results: changes.iter().map(|n| if n % 2 == 0 { Ok(()) } else { refused() }).collect(),
            broken: None,
        }
    };
    std::thread::scope(|scope| {
        for thread in 0..200 {
            let (rounds, done) = (&rounds, &done);
            scope.spawn(move || {
                for number in thread * 20..(thread + 1) * 20 {
                    assert_eq!(rounds.join(number, carry_out).is_ok(), number % 2 == 0, "somebody else's answer");
                    assert!(done.lock().unwrap().contains(&number), "it returned before its round");
                }
            });
        }
    });
    println!("{} changes in {} rounds", 200 * 20, led.into_inner());
}
