//! Crashes and their recovery, and two commands on one group.

use std::fs;

use cluster_client::testing::{Cluster, Fault, Method};
use serde_json::{Value, json};

use crate::bench::{Bench, PATIENCE, name, text};

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
    bench.cluster.node(2).inject(Fault::answer(422).on(Method::Get));
    bench.run(&["status", "payments"]).exits(4).prints("on 1 of 3 hosts as far as known, ").prints(&next);

    let ran = bench.run(&["recover"]).exits(0).prints("payments is settled: absent on 3 of 3 hosts\n");
    assert!(ran.table().contains(&format!("{} deleted absent\n", name(&bench, 0))), "{}", ran.out);
    assert!(bench.cluster.none_has("payments"));
    bench
        .run(&["recover"])
        .exits(0)
        .reports(&format!("nothing to recover: the journal in {} is empty", text(&bench.journal())));
}

/// Returns the content of each entry of the journal.
fn entries(bench: &Bench) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let is_entry = |path: &std::path::PathBuf| path.extension().is_some_and(|extension| extension == "intent");
    let paths = bench.journal_entries().into_iter().filter(is_entry);
    let mut entries: Vec<_> = paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    entries.sort();
    entries
}

#[test]
fn dry_run_of_recover_says_what_it_would_do_on_which_host_and_changes_nothing() {
    let bench = Bench::new();
    bench
        .run(&["recover", "--dry-run"])
        .exits(0)
        .reports(&format!("nothing to recover: there is no journal in {}", text(&bench.journal())));
    assert!(!bench.journal().exists(), "a dry run writes no journal");
    crash(&bench, "payments");
    let before = (entries(&bench), bench.count(Method::Post), bench.count(Method::Delete));
    let ran = bench.run(&["recover", "--dry-run"]).exits(0);
    let [first, second, _] = [0, 1, 2].map(|node| name(&bench, node));
    let ran = ran.prints(
        "payments: would be deleted from 1 host (unfinished create, to be rolled back). Nothing was sent but questions.\n",
    );
    assert!(ran.table().contains(&format!("{first} present, would be deleted")), "{}", ran.out);
    assert!(ran.table().contains(&format!("{second} absent")), "{}", ran.out);
    assert!(!ran.out.contains("Next:"), "{}", ran.out);
    let line = bench.run(&["recover", "--dry-run", "-o", "json"]).exits(0).json().remove(0);
    assert_eq!(
        (&line["operation"], &line["outcome"], &line["dry_run"], &line["exit"]),
        (&json!("recover"), &json!("observed"), &json!(true), &json!(0))
    );
    let would: Vec<&Value> = line["hosts"].as_array().unwrap().iter().map(|host| &host["would"]).collect();
    assert_eq!(would, [&json!("delete"), &Value::Null, &Value::Null]);
    bench.run(&["recover", "--dry-run", "-o", "name"]).exits(0).prints("payments\n");

    bench.cluster.node(2).stop();
    let ran = bench.run(&["recover", "--dry-run"]).exits(4);
    ran.prints("would be deleted from 1 host (unfinished create, to be rolled back); the state on 1 host is unknown.");
    bench.cluster.node(2).restart().unwrap();
    assert_eq!((entries(&bench), bench.count(Method::Post), bench.count(Method::Delete)), before);
    assert_eq!(bench.cluster.holders("payments"), [0]);
    bench.run(&["recover"]).exits(0);
    assert!(bench.cluster.none_has("payments"));
}

/// A delete that a host refused, a repair that a host refused, and a create without a preflight.
#[test]
fn dry_run_of_recover_tells_each_purpose() {
    let bench = Bench::new();
    crash_of(&bench, "c", &["create", "c", "--no-preflight"]);
    let refusing = bench.cluster.node(1);
    for node in bench.cluster.nodes() {
        node.insert("a");
    }
    refusing.inject(Fault::answer(403).on(Method::Delete).always());
    bench.run(&["delete", "a", "--yes"]).exits(3);
    refusing.inject(Fault::answer(403).on(Method::Post).always());
    bench.run(&["repair", "b", "--to", "present"]).exits(3);
    refusing.clear_faults();
    let ran = bench.run(&["recover", "--dry-run"]).exits(3);
    for words in [
        "a: would be deleted from 1 host (unfinished delete, to be finished).",
        "b: would be created on 1 host (unfinished repair to present, to be finished).",
        "c: nothing would be changed, although 1 host has it, because the create had no preflight \
         (unfinished create, to be checked).",
        "1 to be deleted, 1 to be created, 1 unchanged\n",
    ] {
        assert!(ran.out.contains(words), "{words}\n{}", ran.out);
    }
    let lines = bench.run(&["recover", "--dry-run", "-o", "json"]).exits(3).json();
    assert_eq!(lines.iter().map(|line| line["exit"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 0, 3]);
    // The recovery does what its dry run has printed.
    bench.run(&["recover"]).exits(3);
    assert!(bench.cluster.none_has("a") && bench.cluster.all_have("b"));
    assert_eq!(bench.cluster.holders("c"), [0]);
}

#[test]
fn recovery_of_a_repair_that_a_host_refuses_again_names_the_host() {
    let bench = Bench::new();
    bench.cluster.node(1).inject(Fault::answer(403).on(Method::Post).always());
    bench.run(&["repair", "b", "--to", "present"]).exits(3);
    let lacks = format!("inconsistent: {} lacks b", name(&bench, 1));
    bench.run(&["recover"]).exits(3).prints(&lacks);
    bench.run(&["create", "b"]).exits(3).prints(&format!("an earlier operation is not settled, {lacks}"));
    assert_eq!(bench.cluster.holders("b"), [0, 2]);
}

#[test]
fn dry_run_of_recover_asks_nothing_about_an_operation_that_runs() {
    let bench = Bench::new();
    bench.cluster.node(1).inject(Fault::mute().on(Method::Post));
    let mut first = bench.start(&["create", "payments", "--request-timeout", "60s"]);
    assert!(bench.cluster.node(1).wait_until(|node| node.count(Method::Post) == 1, PATIENCE));
    for node in [0, 2].map(|node| bench.cluster.node(node)) {
        assert!(node.wait_until(|node| node.count(Method::Get) == 2, PATIENCE));
    }
    let before = bench.count(Method::Get);
    bench.run(&["recover", "--dry-run"]).exits(4).prints("payments is busy: ").prints("Nothing was sent.");
    let line = bench.run(&["recover", "--dry-run", "-o", "json"]).exits(4).json().remove(0);
    assert_eq!((&line["outcome"], &line["dry_run"]), (&json!("busy"), &json!(true)));
    assert_eq!(bench.count(Method::Get), before);
    first.kill();
}

#[test]
fn operation_on_another_cluster_in_the_journal_is_told_apart_and_not_touched() {
    let bench = Bench::new();
    crash(&bench, "payments");
    let before = (entries(&bench), bench.count(Method::Get), bench.count(Method::Delete));
    let other = Cluster::start(2).unwrap();
    let hosts = ["--hosts".to_owned(), other.urls().join(",")];
    let on_other = |words: &[&str]| bench.run(&[words, &[&hosts[0], &hosts[1]]].concat());
    let ran = on_other(&["status", "payments"]).exits(1).prints("payments is on none of 2 hosts\n");
    assert!(!ran.out.contains("journal"), "{}", ran.out);
    let ran = on_other(&["delete", "payments", "--dry-run"]).exits(0).prints("nothing would be changed.");
    assert!(!ran.out.contains("unfinished"), "{}", ran.out);
    on_other(&["create", "orders"]).exits(0);
    on_other(&["repair", "payments", "--to", "present"]).exits(1).prints("on hosts that were not named");
    assert_eq!((entries(&bench), bench.count(Method::Get), bench.count(Method::Delete)), before);
    assert!(other.all_have("orders") && other.none_has("payments"));
    assert_eq!(bench.cluster.holders("payments"), [0]);
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
fn recover_that_reaches_no_host_offers_to_forget_it() {
    let bench = Bench::new();
    crash(&bench, "payments");
    bench.cluster.node(0).stop();
    let (options, gone) = (bench.recover_options(), &bench.cluster.urls()[0]);
    let ran = bench.run(&["recover"]).exits(4);
    let next =
        format!("\nNext: cluster-client recover {options}\n  or: cluster-client journal forget {options} {gone}\n");
    assert!(ran.out.ends_with(&next), "{}", ran.out);
    let line = bench.run(&["recover", "-o", "json"]).exits(4).json().remove(0);
    let lists: Vec<Vec<String>> = serde_json::from_value(line["next"].clone()).unwrap();
    let [recover, forget] = &lists[..] else { panic!("{line}") };
    assert_eq!(
        (recover[1].as_str(), &forget[1..3], forget.last()),
        ("recover", &["journal", "forget"].map(String::from)[..], Some(gone))
    );
    // A host that was only not asked yet is not given up.
    bench.run(&["status", "payments"]).exits(4).prints(&format!("\nNext: cluster-client recover {options}\n"));

    let words: Vec<&str> = forget[1..].iter().map(String::as_str).chain(["--yes"]).collect();
    bench.run(&words).exits(0);
    bench.run(&["recover"]).exits(0);
    assert!(bench.journal_entries().iter().all(|path| path.extension().is_none_or(|extension| extension != "intent")));
    bench.cluster.node(0).restart().unwrap();
    assert_eq!(bench.cluster.holders("payments"), [0]);
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
    bench.run(&["recover", "--dry-run"]).exits(4).prints("It was left as it is.");
    let ran =
        bench.run(&["recover"]).exits(4).prints("then repair the group to present or absent. It was left as it is.\n");
    assert_eq!(ran.out.matches("for the status of its group").count(), 1, "one remedy is enough: {}", ran.out);
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

/// The recovery of a create without a preflight only checks, so advice to recover would go on for ever.
#[test]
fn group_that_no_recovery_can_judge_is_advised_to_be_repaired() {
    let bench = Bench::new();
    bench.cluster.node(0).inject(Fault::drop_connection().after_applying().on(Method::Post));
    bench.cluster.node(1).inject(Fault::answer(400).on(Method::Post).always());
    let ran = bench.run(&["create", "g", "--no-preflight"]).exits(3);
    let options = bench.options();
    ran.prints(&format!("\nNext: cluster-client repair --to present {options} g\n"))
        .prints(&format!("\n  or: cluster-client repair --to absent {options} g\n"));
    bench.cluster.node(1).clear_faults();
    let absent = format!("\nNext: cluster-client repair --to absent --hosts {} --config ", bench.cluster.node(0).url());
    for arguments in [&["recover"][..], &["create", "g"], &["recover"]] {
        bench.run(arguments).exits(3).prints(&absent);
    }
    bench.run(&["repair", "--to", "absent", "g", "--hosts", &bench.cluster.node(0).url()]).exits(0);
    assert!(bench.cluster.none_has("g") && bench.journal_entries().is_empty());
}
