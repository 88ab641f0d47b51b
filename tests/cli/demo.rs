//! The demo has the expected results, ends soon, and leaves no files.

use std::time::{Duration, Instant};

use crate::bench::{Bench, Ran};

#[test]
fn demo_exits_0_within_ten_seconds_and_leaves_no_file() {
    let bench = Bench::of(1);
    let temporary = bench.path("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let begun = Instant::now();
    let mut demo = bench.command(&["demo"]);
    // The hosts and settings of the user do not count.
    demo.env("CLUSTER_CLIENT_HOSTS", bench.urls()).env("CLUSTER_CLIENT_ATTEMPTS", "1");
    let ran = Ran::of(demo.env("TMPDIR", &temporary)).exits(0);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let ran = ran
        .prints("1. A create")
        .prints("=> payments is on 3 of 3 nodes, checked on the nodes")
        .prints("=> orders is on 0 of 3 nodes")
        .prints("=> invoices is on 3 of 3 nodes")
        .prints("=> ledger is on 1 of 3 nodes")
        .prints("=> ledger is on 0 of 3 nodes")
        .prints("All results are as expected.");
    assert!(!ran.out.contains("NOT AS EXPECTED"), "{}", ran.out);
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "something was left behind");
    bench.assert_untouched();
}

#[test]
fn signal_ends_the_demo_and_leaves_no_file() {
    let bench = Bench::of(1);
    let temporary = bench.path("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let mut demo = crate::bench::Running::of(bench.command(&["demo"]).env("TMPDIR", &temporary));
    assert!(demo.first_line().starts_with("A cluster of 3 nodes"));
    demo.signal("TERM");
    demo.ends().exits(130);
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "something was left behind");
}
