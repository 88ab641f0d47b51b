//! Crashes and their recovery, and two commands on one group.

use std::fs;

use cluster_client::testing::{Fault, Method};

use crate::bench::{Bench, PATIENCE, name};

/// Kills a create after one node has the group and the others have received the request.
pub(crate) fn crash(bench: &Bench, group: &str) {
    crash_of(bench, group, &["create", group]);
}

/// Kills this create, as [`crash`] does.
pub(crate) fn crash_of(bench: &Bench, group: &str, arguments: &[&str]) {
    for node in &bench.cluster.nodes()[1..] {
        node.inject(Fault::mute().on(Method::Post));
    }
    let mut create = bench.start(arguments);
    assert!(bench.cluster.node(0).wait_until(|node| node.has(group), PATIENCE));
    // Kill after every node has its request. A later request would change the result.
    for node in bench.cluster.nodes() {
        assert!(node.wait_until(|node| node.count(Method::Post) == 1, PATIENCE));
    }
    create.kill();
    bench.cluster.nodes().iter().for_each(cluster_client::testing::Node::clear_faults);
    assert_eq!(bench.cluster.holders(group), [0]);
}

#[test]
fn recover_rolls_a_killed_create_back() {
    let bench = Bench::new();
    crash(&bench, "payments");
    let next = format!(
        "and the journal holds an unfinished operation on it.\nNext: cluster-client recover {}\n",
        bench.recover_options()
    );
    bench.run(&["status", "payments"]).exits(3).prints(&next);
    bench.cluster.node(2).inject(Fault::answer(403).on(Method::Get));
    bench.run(&["status", "payments"]).exits(4).prints("on 1 of 3 hosts as far as known, ").prints(&next);

    let ran = bench.run(&["recover"]).exits(0).prints("payments is settled: absent on 3 of 3 hosts\n");
    assert!(ran.table().contains(&format!("{} deleted absent\n", name(&bench, 0))), "{}", ran.out);
    assert!(bench.cluster.none_has("payments"));
    bench.run(&["recover"]).exits(0).reports("nothing to recover: the journal is empty");
}

#[test]
fn recover_needs_no_hosts_because_the_journal_names_them() {
    let bench = Bench::new();
    crash(&bench, "payments");
    let ran = crate::bench::Ran::of(bench.command(&["recover"]).env_remove("HOSTS")).exits(0);
    assert!(!ran.err.contains("warning"), "{}", ran.err);
    assert!(bench.cluster.none_has("payments"));
}

#[test]
fn new_create_settles_the_killed_one_first() {
    let bench = Bench::new();
    crash(&bench, "payments");
    bench.run(&["create", "payments"]).exits(0);
    assert!(bench.cluster.all_have("payments"));
    bench.run(&["recover"]).exits(0).reports("nothing to recover");
}

#[test]
fn recover_without_an_answer_exits_4_and_keeps_the_entry() {
    let bench = Bench::new();
    crash(&bench, "payments");
    bench.cluster.node(0).stop();
    let ran = bench.run(&["recover"]).exits(4);
    ran.prints(&format!("in doubt: {} may have payments", name(&bench, 0))).prints("\nNext: cluster-client recover ");
    bench.cluster.node(0).restart().unwrap();
    bench.run(&["recover"]).exits(0);
    assert!(bench.cluster.none_has("payments"));
}

#[test]
fn repair_replaces_the_killed_create() {
    let bench = Bench::new();
    crash(&bench, "payments");
    bench.run(&["repair", "payments", "--to", "present"]).exits(0);
    assert!(bench.cluster.all_have("payments"));
    bench.run(&["recover"]).exits(0).reports("nothing to recover");
    assert!(bench.cluster.all_have("payments"));
}

#[test]
fn recover_keeps_an_unreadable_entry_and_exits_4() {
    let bench = Bench::new();
    crash(&bench, "payments");
    let entries: Vec<_> = bench.journal_entries().into_iter().filter(|path| holds(path, "payments")).collect();
    assert!(!entries.is_empty());
    for entry in &entries {
        fs::write(entry, "torn").unwrap();
    }
    bench.run(&["recover"]).exits(4).prints("It was left as it is.");
    let ran = bench.run(&["recover", "-o", "json"]).exits(4);
    let line = ran.json().remove(0);
    assert_eq!(
        (line["group"].is_null(), line["outcome"].as_str(), line["exit"].as_u64()),
        (true, Some("journal_failed"), Some(4))
    );
    assert!(entries.iter().all(|entry| fs::read(entry).unwrap() == b"torn"));
    bench.run(&["create", "payments"]).exits(1).prints("nothing was sent for payments");
    assert_eq!(bench.cluster.holders("payments"), [0]);
}

fn holds(path: &std::path::Path, text: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|content| content.contains(text))
}

#[test]
fn group_of_a_running_command_is_busy() {
    let bench = Bench::new();
    bench.cluster.node(1).inject(Fault::mute().on(Method::Post));
    let mut first = bench.start(&["create", "payments", "--request-timeout", "60s"]);
    assert!(bench.cluster.node(1).wait_until(|node| node.count(Method::Post) == 1, PATIENCE));
    for node in [0, 2] {
        assert!(bench.cluster.node(node).wait_until(|node| node.has("payments"), PATIENCE));
    }
    let ran = bench.run(&["create", "payments"]).exits(1);
    ran.prints("payments is busy: ").prints("Nothing was sent.");
    let line = bench.run(&["delete", "payments", "--yes", "-o", "json"]).exits(1).json().remove(0);
    assert_eq!((line["outcome"].as_str(), line["hosts"].as_array().map(Vec::len)), (Some("busy"), Some(0)));
    // Another group is not affected.
    bench.run(&["create", "orders"]).exits(0);
    bench.run(&["recover"]).exits(4).prints("payments is busy: ");
    first.kill();
    bench.run(&["recover"]).exits(0);
    assert!(bench.cluster.none_has("payments"));
    assert!(bench.cluster.all_have("orders"));
}

#[test]
fn commit_that_cannot_be_recorded_exits_4_and_names_repair() {
    let bench = Bench::new();
    // Replace the entry by a directory during the last request, so that it cannot be removed as a file.
    bench.cluster.node(2).inject(Fault::mute().on(Method::Post));
    let create = bench.start(&["create", "payments", "--request-timeout", "1500ms"]);
    assert!(bench.cluster.node(2).wait_until(|node| node.count(Method::Post) == 1, PATIENCE));
    let entry = bench.journal_entries().into_iter().find(|path| holds(path, "payments")).unwrap();
    fs::remove_file(&entry).unwrap();
    fs::create_dir(&entry).unwrap();
    fs::write(entry.join("in the way"), "").unwrap();
    let ran = create.ends().exits(4);
    ran.prints("payments is on 3 of 3 hosts, but the journal may still have it: cannot remove ")
        .prints("\nNext: cluster-client repair --to present ");
    assert!(bench.cluster.all_have("payments"));
}
