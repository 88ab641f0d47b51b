//! Mutants of the protocol and of the driver. Each must be caught by the invariant that it breaks, and every
//! invariant must catch at least one. Otherwise its check would prove nothing.

use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::time::Duration;

use super::driver::{DriverMutant, Setting};
use super::oracle::Invariant::{self, I1, I2, I3, I4, I5, I6, I7, I8, I9, I10, I11, I12, I13};
use super::schedule::shorten;
use super::{Counterexample, Wanted, breaks, scenarios, shortest, trace};
use crate::protocol::{Deletes, Evidence, Posts, Rules, Sound};
use crate::values::event::Phase;
use crate::values::report::State;

macro_rules! mutants {
    ($($(#[$why:meta])* $name:ident { $($rules:item)* })*) => {
        $($(#[$why])* struct $name; impl Rules for $name { $($rules)* })*
    };
}

mutants! {
    /// Believes a 201 without a GET.
    CommitsUnverified {
        fn must_verify() -> bool { false }
        fn may_commit(host: Evidence) -> bool { host.posts.created || host.state == State::Present }
    }
    /// Does not check again after an ambiguous POST.
    NeverSettles { fn post_must_settle(_: Posts) -> bool { false } }
    /// Does not check again after an ambiguous DELETE.
    SettlesNoDelete { fn delete_must_settle(_: Deletes) -> bool { false } }
    /// Believes a 404 although our POST was answered 201 and no DELETE was confirmed.
    BelievesContradiction { fn absence_is_contradicted(_: Evidence) -> bool { false } }
    /// Believes a 404 although the DELETE was refused.
    BelievesRefusedDelete {
        fn absence_counts(_: Deletes) -> bool { true }
        fn absence_is_contradicted(_: Evidence) -> bool { false }
    }
    /// Believes a 200 of a lagging replica, or before an ambiguous DELETE takes effect.
    BelievesPresence { fn presence_is_doubtful(_: Evidence) -> bool { false } }
    /// Restarts the count of DELETEs after each check.
    CountsTriesPerLook { fn counts_tries_over_looks() -> bool { false } }
    /// Recovers in the API of the client.
    RecoversInOwnApi { fn speaks_intent_api() -> bool { false } }
    /// Recovers without the credentials of the owner.
    RecoversAsStranger { fn may_take_over(_: bool) -> bool { true } }
    /// Recovers in its own settle time.
    SettlesAsConfigured { fn recovery_settle(own: Duration, _: Duration) -> Duration { own } }
    /// Keeps the API of the recovered intent for the operation itself.
    KeepsIntentApi { fn restores_own_api() -> bool { false } }
    /// Sends requests that may outlast the operation's time.
    OutlastsDeadline { fn cuts_timeouts() -> bool { false } }
    /// Ends a rollback at the deadline of the create.
    RollbackEndsAtDeadline { fn rollback_has_own_time() -> bool { false } }
    /// Ends a rollback when it is cancelled.
    CancelsRollback { fn cancel_ends_rollback() -> bool { true } }
    /// Retries POSTs after a definite failure on another host.
    PostsAfterFailure { fn failure_ends_posts() -> bool { false } }
    /// Repairs the hosts of any unfinished intent.
    WidensRepair { fn may_override(_: bool, _: bool) -> bool { true } }
    /// Commits while one of its POSTs may still take effect.
    EndsLoud { fn waits_for_late_posts() -> bool { false } }
    /// Begins an operation right after a recovery, while replicas lag behind it.
    BeginsHasty { fn settles_after_recovery() -> bool { false } }
    /// Deletes on every host to which a POST was sent.
    UndoesAll { fn may_undo(host: Evidence) -> bool { host.posts.sent } }
    /// Counts an ambiguous POST as ours without preflight.
    TrustsAmbiguous { fn may_undo(host: Evidence) -> bool { host.posts.created || host.posts.ambiguous } }
    /// Counts a 404 after our POST as one of the probe.
    CountsAnyAbsence { fn proves_absence_before(_: bool) -> bool { true } }
    /// Goes on after a refused POST, and counts the group as ours.
    BelievesRefusals { fn refusal_is_final(_: Posts) -> bool { false } }
    /// Creates by overwriting without a probe.
    SkipsProbe { fn may_skip_probe(_: bool) -> bool { true } }
    /// Counts a group that is changing at the end of the time as absent.
    EndsChangeAsAbsent { fn ends_change_as_absent() -> bool { true } }
    SendsBeforeIntent { fn must_intend() -> bool { false } }
    GoesOnUnrecorded { fn stops_unrecorded() -> bool { false } }
    UndoesFailedCommit { fn undoes_failed_commit() -> bool { true } }
    /// Recovers as if no POST had been sent.
    RecoversClean { fn inherited_posts() -> Posts { Posts::default() } }
    /// Recovers as if no POST could be late.
    RecoversHasty {
        fn inherited_posts() -> Posts { Posts { sent: true, created: true, ambiguous: false } }
    }
    ForgetsUnknown { fn may_forget(state: State) -> bool { state != State::Present } }
    ForgetsAll { fn may_forget(_: State) -> bool { true } }
    NeverLate { fn is_in_time(_: Duration, _: Duration) -> bool { true } }
    CountsUnknownAsAbsent { fn counts_as_absent(state: State) -> bool { state != State::Present } }
    /// Rolls back without waiting for the requests in flight.
    UndoesAtOnce {
        fn waits_for_replies() -> bool { false }
        fn may_undo(_: Evidence) -> bool { true }
    }
    /// Does not look at the end of its claim.
    IgnoresLoss {
        fn has_claim_ended(_: Duration, _: Duration) -> bool { false }
        fn ends_within_claim(_: Duration, _: Duration) -> bool { true }
    }
    /// Sends changes that may outlast the claim.
    OutlastsClaim { fn ends_within_claim(_: Duration, _: Duration) -> bool { true } }
    /// Rolls back after the loss of its claim.
    RollsBackAfterLoss { fn goes_on_without_claim(phase: Phase) -> bool { phase == Phase::RollBack } }
    /// Erases its intent after the loss of its claim.
    ErasesAfterLoss {
        fn goes_on_without_claim(phase: Phase) -> bool { matches!(phase, Phase::Commit | Phase::Finish) }
    }
    Panics {
        fn refusal_is_final(_: Posts) -> bool { resume_unwind(Box::new("mutant")) }
    }
}

/// The failure with the fewest faults on the fewest hosts.
fn find<R: Rules>(driver: DriverMutant, wanted: Wanted) -> Option<(Setting, Counterexample)> {
    let scenarios = scenarios();
    (0..=3).find_map(|faults| {
        (1..=2).find_map(|hosts| {
            let setting = Setting::new(hosts, driver);
            let failure =
                scenarios.iter().find_map(|scenario| shortest::<R>(&setting, scenario, faults..=faults, wanted));
            failure.map(|failure| (setting, failure))
        })
    })
}

/// Looks for the mutant's violation, and prints its check and its number of faults.
fn caught<R: Rules>(
    name: &str,
    driver: DriverMutant,
    invariant: Invariant,
    words: &'static str,
    faults: usize,
) -> Invariant {
    // More faults take minutes without optimization. CI runs the simulation in a release build.
    if cfg!(debug_assertions) && faults > 1 {
        println!("{name:<24} left to a release build");
        return invariant;
    }
    let Some((setting, failure)) = find::<R>(driver, Some((invariant, words))) else {
        panic!("{name} does not break {invariant:?}");
    };
    let shorter = shorten(&failure.faults, |faults| breaks::<R>(&setting, &failure, faults));
    assert_eq!(shorter.len(), failure.faults.len(), "{name}: it was the shortest");
    println!(
        "{name:<24} {invariant:?} with {} faults, {} on {} hosts: {}",
        failure.faults.len(),
        failure.scenario.text,
        failure.hosts,
        failure.what
    );
    assert_eq!(failure.faults.len(), faults, "{name}\n{}", trace::<R>(&setting, &failure));
    invariant
}

/// Each mutant with the invariant that must catch it, a part of the violation's text, and the number of faults.
#[test]
fn every_mutant_is_caught() {
    use DriverMutant::Right;
    let tripped = [
        caught::<CommitsUnverified>("CommitsUnverified", Right, I1, "no GET", 0),
        caught::<CommitsUnverified>("CommitsUnverified", Right, I1, "does not have", 1),
        caught::<NeverSettles>("NeverSettles", Right, I2, "not seen absent", 1),
        caught::<NeverSettles>("NeverSettles", Right, I2, "will still land", 2),
        caught::<Sound>("driver: no settle time", DriverMutant::NeverSettles, I2, "will still land", 2),
        caught::<BelievesContradiction>("BelievesContradiction", Right, I2, "", 1),
        caught::<BelievesRefusedDelete>("BelievesRefusedDelete", Right, I2, "has refused", 2),
        caught::<BelievesRefusedDelete>("BelievesRefusedDelete", Right, I2, "has the group", 3),
        caught::<SettlesNoDelete>("SettlesNoDelete", Right, I11, "", 1),
        caught::<BelievesPresence>("BelievesPresence", Right, I8, "lagging", 1),
        caught::<CountsTriesPerLook>("CountsTriesPerLook", Right, I7, "more often", 2),
        caught::<RecoversInOwnApi>("RecoversInOwnApi", Right, I12, "another API", 2),
        caught::<RecoversAsStranger>("RecoversAsStranger", Right, I6, "", 2),
        caught::<SettlesAsConfigured>("SettlesAsConfigured", Right, I6, "", 3),
        caught::<KeepsIntentApi>("KeepsIntentApi", Right, I12, "another API", 2),
        caught::<OutlastsDeadline>("OutlastsDeadline", Right, I7, "outlast", 1),
        caught::<RollbackEndsAtDeadline>("RollbackEndsAtDeadline", Right, I2, "cut short", 1),
        caught::<CancelsRollback>("CancelsRollback", Right, I2, "cut short", 1),
        caught::<PostsAfterFailure>("PostsAfterFailure", Right, I2, "definite failure", 2),
        caught::<WidensRepair>("WidensRepair", Right, I12, "", 2),
        caught::<EndsLoud>("EndsLoud", Right, I11, "", 1),
        caught::<BeginsHasty>("BeginsHasty", Right, I6, "deleted everywhere", 3),
        caught::<UndoesAll>("UndoesAll", Right, I3, "removed", 1),
        caught::<TrustsAmbiguous>("TrustsAmbiguous", Right, I3, "removed", 2),
        caught::<CountsAnyAbsence>("CountsAnyAbsence", Right, I3, "without preflight", 1),
        caught::<BelievesRefusals>("BelievesRefusals", Right, I3, "refused", 1),
        caught::<SkipsProbe>("SkipsProbe", Right, I3, "removed", 2),
        caught::<EndsChangeAsAbsent>("EndsChangeAsAbsent", Right, I8, "", 1),
        caught::<Sound>("driver: believes a 202", DriverMutant::BelievesUnlisted, I1, "", 2),
        caught::<Sound>("driver: believes a cut body", DriverMutant::BelievesCutBody, I1, "", 2),
        caught::<SendsBeforeIntent>("SendsBeforeIntent", Right, I4, "", 0),
        caught::<GoesOnUnrecorded>("GoesOnUnrecorded", Right, I4, "", 1),
        caught::<Sound>("driver: skips the store", DriverMutant::SkipsStore, I4, "", 0),
        caught::<UndoesFailedCommit>("UndoesFailedCommit", Right, I5, "", 1),
        caught::<RecoversClean>("RecoversClean", Right, I6, "", 1),
        caught::<RecoversHasty>("RecoversHasty", Right, I6, "", 2),
        caught::<ForgetsUnknown>("ForgetsUnknown", Right, I6, "", 1),
        caught::<ForgetsAll>("ForgetsAll", Right, I6, "", 1),
        caught::<Sound>("driver: hides intents", DriverMutant::HidesIntent, I6, "", 1),
        caught::<NeverLate>("NeverLate", Right, I7, "", 1),
        caught::<CountsUnknownAsAbsent>("CountsUnknownAsAbsent", Right, I8, "", 1),
        caught::<UndoesAtOnce>("UndoesAtOnce", Right, I9, "while a POST", 1),
        caught::<Panics>("Panics", Right, I10, "", 1),
        caught::<IgnoresLoss>("IgnoresLoss", Right, I13, "may outlast", 1),
        caught::<IgnoresLoss>("IgnoresLoss", Right, I13, "ended well", 1),
        caught::<IgnoresLoss>("IgnoresLoss", Right, I3, "removed", 1),
        caught::<OutlastsClaim>("OutlastsClaim", Right, I13, "may outlast", 2),
        caught::<RollsBackAfterLoss>("RollsBackAfterLoss", Right, I13, "may outlast", 1),
        caught::<ErasesAfterLoss>("ErasesAfterLoss", Right, I13, "after the claim had ended", 1),
        caught::<Sound>("driver: no fence", DriverMutant::NoFence, I13, "ended well", 1),
        caught::<Sound>("driver: no fence", DriverMutant::NoFence, I6, "", 2),
    ];
    let tripped: BTreeSet<Invariant> = tripped.into_iter().collect();
    assert!(Invariant::ALL.iter().all(|invariant| tripped.contains(invariant)), "only {tripped:?}");
}
