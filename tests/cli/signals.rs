//! Ctrl-C and its relatives: the first gives up, the second leaves.

use std::time::{Duration, Instant};

use cluster_client::testing::{Fault, Method};

use crate::bench::{Bench, PATIENCE, list};

/// A create that waits for the answer of one node.
fn waits_for_an_answer(bench: &Bench) {
    bench.cluster.node(1).inject(Fault::mute().on(Method::Post));
}

fn has_its_post(bench: &Bench) {
    assert!(bench.cluster.node(1).wait_until(|node| node.count(Method::Post) == 1, PATIENCE));
    for node in [0, 2] {
        assert!(bench.cluster.node(node).wait_until(|node| node.has("payments"), PATIENCE));
    }
}

#[test]
fn the_first_rolls_a_create_back_and_exits_130() {
    for signal in ["INT", "TERM"] {
        let bench = Bench::new();
        waits_for_an_answer(&bench);
        let mut create = bench.start(&["create", "payments", "--request-timeout", "1s"]);
        has_its_post(&bench);
        create.signal(signal);
        create.wait_until_it_says("interrupted: rolling back");
        let ran = create.ends().exits(130);
        ran.prints("not created: the operation was cancelled. Rolled back: absent on 3 of 3 hosts.");
        assert!(bench.cluster.none_has("payments"), "{signal}");
        bench.run(&["recover"]).exits(0).says("nothing to recover");
    }
}

#[test]
fn it_ends_a_backoff_at_once() {
    let bench = Bench::new();
    bench.configure("first_delay = \"10m\"\nmax_delay = \"10m\"\nsettle = \"20ms\"");
    bench.cluster.node(1).inject(Fault::answer(503).on(Method::Post).always());
    let begun = Instant::now();
    let mut create = bench.start(&["create", "payments"]);
    let answered = |entry: &cluster_client::testing::Entry| entry.method == Method::Post && entry.status.is_some();
    assert!(bench.cluster.node(1).wait_until(|node| node.log().any(answered), PATIENCE));
    create.signal("INT");
    create.ends().exits(130).prints("Rolled back: absent on 3 of 3 hosts.");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert!(bench.cluster.none_has("payments"));
}

#[test]
fn the_second_leaves_at_once_and_says_what_the_journal_holds() {
    let bench = Bench::new();
    waits_for_an_answer(&bench);
    let mut create = bench.start(&["create", "payments", "--request-timeout", "10m", "--journal", "notes"]);
    has_its_post(&bench);
    create.signal("INT");
    create.wait_until_it_says("interrupted: rolling back; once more to leave at once");
    create.signal("INT");
    let ran = create.ends().exits(130);
    ran.says("left at once. The journal in notes holds: payments.\nNext: cluster-client recover ");
    assert!(!bench.cluster.none_has("payments"), "nothing was rolled back");

    bench.cluster.node(1).clear_faults();
    bench.run(&["recover", "--journal", "notes"]).exits(0);
    assert!(bench.cluster.none_has("payments"));
}

#[test]
fn the_second_without_a_journal_says_that_too() {
    let bench = Bench::new();
    waits_for_an_answer(&bench);
    let mut create = bench.start(&["create", "payments", "--request-timeout", "10m", "--no-journal"]);
    has_its_post(&bench);
    create.signal("INT");
    create.wait_until_it_says("interrupted:");
    create.signal("INT");
    create.ends().exits(130).says("There is no journal; a status shows what is left.\nNext: cluster-client status ");
    bench.run(&["repair", "payments", "--to", "absent"]).exits(0);
    assert!(bench.cluster.none_has("payments"));
}

#[test]
fn what_had_completed_keeps_its_exit_code() {
    let bench = Bench::new();
    waits_for_an_answer(&bench);
    // The signal comes while the delete waits; its hosts all answer in the end.
    for node in bench.cluster.nodes() {
        node.insert("payments");
    }
    bench.cluster.node(1).inject(Fault::delay_answer(Duration::from_millis(800)).on(Method::Get));
    let mut status = bench.start(&["status", "payments"]);
    for node in bench.cluster.nodes() {
        assert!(node.wait_until(|node| node.count(Method::Get) == 1, PATIENCE));
    }
    status.signal("INT");
    status.wait_until_it_says("interrupted: waiting for the requests under way");
    status.ends().exits(0);
    assert!(bench.cluster.all_have("payments"));
}

#[test]
fn of_many_groups_no_further_one_is_begun() {
    let bench = Bench::new();
    bench.configure_also("in_flight = 2\n");
    bench.cluster.node(1).inject(Fault::mute().on(Method::Post));
    bench.write("groups.txt", list(100));
    // One group waits; the other slot goes on with the rest until the look-ahead is used up.
    let mut create = bench.start(&["create", "-f", "groups.txt", "--request-timeout", "1s", "-o", "json"]);
    assert!(bench.cluster.node(1).wait_until(|node| node.count(Method::Post) >= 1, PATIENCE));
    create.signal("INT");
    let ran = create.ends().exits(130).says("groups were not begun");
    let lines = ran.json();
    let created = |line: &&serde_json::Value| line["outcome"] == "created";
    let kept: Vec<&str> = lines.iter().filter(created).map(|line| line["group"].as_str().unwrap()).collect();
    for number in 0..100 {
        let group = format!("group-{number}");
        let wanted = kept.contains(&group.as_str());
        assert_eq!(bench.cluster.all_have(&group), wanted, "{group}");
        assert_eq!(bench.cluster.none_has(&group), !wanted, "{group}");
    }
    assert!(lines.len() < 100);
    bench.run(&["recover"]).exits(0).says("nothing to recover");
}
