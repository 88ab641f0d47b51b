//! The demo keeps its promises, quickly, and leaves nothing behind.

use std::time::{Duration, Instant};

use crate::bench::{Bench, Ran};

#[test]
fn the_demo_exits_0_within_ten_seconds_and_clears_away_after_itself() {
    let bench = Bench::of(1);
    let temporary = bench.path("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let begun = Instant::now();
    let ran = Ran::of(bench.command(&["demo"]).env("TMPDIR", &temporary)).exits(0);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let ran = ran
        .prints("1. A create")
        .prints("=> payments is on 3 of 3 nodes, as they say themselves")
        .prints("=> orders is on 0 of 3 nodes")
        .prints("=> invoices is on 3 of 3 nodes")
        .prints("=> ledger is on 1 of 3 nodes")
        .prints("=> ledger is on 0 of 3 nodes")
        .prints("Every promise was kept.");
    assert!(!ran.out.contains("NOT AS PROMISED"), "{}", ran.out);
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "something was left behind");
    bench.assert_untouched();
}

#[test]
fn a_signal_ends_the_demo_and_clears_away_too() {
    let bench = Bench::of(1);
    let temporary = bench.path("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let mut demo = crate::bench::Running::of(bench.command(&["demo"]).env("TMPDIR", &temporary));
    assert!(demo.first_line().starts_with("A cluster of 3 nodes"));
    demo.signal("TERM");
    demo.ends().exits(130);
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "something was left behind");
}
