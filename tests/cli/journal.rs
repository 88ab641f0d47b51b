//! The commands of journal: list, show and forget. They send nothing.

use std::fs;
use std::path::Path;
use std::process::Command;

use cluster_client::testing::{Fault, Method, Node};

use crate::bench::{Bench, PATIENCE, Ran, text};
use crate::recovery::crash;
use crate::terminal::on_a_terminal;

/// Kills a create of `payments` and a create of `orders`, so that both are unfinished.
fn two_crashes() -> Bench {
    let bench = Bench::new();
    crash(&bench, "payments");
    bench.cluster.nodes().iter().for_each(Node::clear_log);
    crash(&bench, "orders");
    bench.cluster.nodes().iter().for_each(Node::clear_log);
    bench
}

fn unfinished(bench: &Bench) -> Vec<(String, Vec<String>)> {
    let texts = |value: &serde_json::Value| value.as_array().unwrap().iter().map(ours).collect();
    let lines = bench.run(&["journal", "list", "-o", "json"]).exits(0).json();
    lines.iter().map(|line| (ours(&line["group"]), texts(&line["hosts"]))).collect()
}

fn ours(value: &serde_json::Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[test]
fn list_has_a_row_for_each_unfinished_operation() {
    let bench = two_crashes();
    let ran = bench.run(&["journal", "list"]).exits(0);
    let rows: Vec<Vec<&str>> = ran.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["GROUP", "FOR", "HOSTS", "WRITER", "SINCE", "NOW"]);
    for (row, group) in rows[1..3].iter().zip(["orders", "payments"]) {
        assert_eq!((row[0], row[1], row.last()), (group, "create", Some(&"interrupted")), "{}", ran.out);
        assert!(row.contains(&"process") && row.iter().any(|word| word.starts_with("20") && word.ends_with('Z')));
        assert!(bench.cluster.urls().iter().all(|url| row.iter().any(|word| word.trim_end_matches(',') == url)));
    }
    assert!(ran.out.contains("2 operations unfinished, 0 running.\nNext: cluster-client recover"), "{}", ran.out);
    bench.assert_untouched();
}

#[test]
fn list_shows_running_and_interrupted_operations() {
    let bench = Bench::new();
    crash(&bench, "payments");
    bench.cluster.node(1).inject(Fault::mute().on(Method::Post));
    let mut running = bench.start(&["create", "orders", "--request-timeout", "60s"]);
    assert!(bench.cluster.node(1).wait_until(|node| node.count(Method::Post) == 2, PATIENCE));
    let ran = bench.run(&["journal", "list"]).exits(0).prints("2 operations unfinished, 1 running.");
    let now = |group: &str| ran.out.lines().find(|line| line.starts_with(group)).unwrap().split(' ').next_back();
    assert_eq!((now("orders"), now("payments")), (Some("running"), Some("interrupted")));
    let process = format!("process {} ", running.child().id());
    let ran = bench.run(&["journal", "show", "orders"]).exits(0).prints(&process).prints("holds it");
    assert!(!ran.out.contains("Next:"), "it still runs: {}", ran.out);
    let line = bench.run(&["journal", "show", "orders", "-o", "json"]).exits(0).json().remove(0);
    assert_eq!(line["running"].as_bool(), Some(true));
    assert!(line["holder"].as_str().unwrap().starts_with(&process));
    let status = bench.run(&["status", "orders", "-o", "json"]).json().remove(0);
    assert_eq!(status["unfinished"], line);
    let many = bench.run(&["status", "orders", "payments", "users"]);
    let many = many.reports(&format!("note: orders: a create of it is under way ({process}"));
    many.reports("note: payments: the journal holds an unfinished operation on it");
    let none = bench.run(&["status", "users", "-o", "json"]).json().remove(0);
    assert_eq!(none.get("unfinished"), None);
    running.kill();
    bench.run(&["journal", "list"]).exits(0).prints("2 operations unfinished, 0 running.");
}

/// Returns a command that sees this directory as a read-only mount, or `None` if this user cannot have one.
fn with_read_only(directory: &Path, words: &[&str]) -> Option<Command> {
    const SCRIPT: &str = r#"mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@""#;
    let command = |words: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh", text(directory)]).args(words);
        command
    };
    let can = command(&["true"]).output().is_ok_and(|output| output.status.success());
    can.then(|| command(words))
}

#[test]
fn running_operation_is_seen_through_a_read_only_mount() {
    let bench = Bench::new();
    bench.cluster.node(1).inject(Fault::mute().on(Method::Post));
    let mut running = bench.start(&["create", "orders", "--request-timeout", "60s"]);
    assert!(bench.cluster.node(1).wait_until(|node| node.count(Method::Post) == 1, PATIENCE));
    let journal = bench.journal();
    let program = env!("CARGO_BIN_EXE_cluster-client");
    if let Some(mut list) = with_read_only(&journal, &[program, "journal", "list", "--journal", text(&journal)]) {
        Ran::of(&mut list).exits(0).prints("1 operation unfinished, 1 running.");
    } else {
        println!("skipped: this user cannot mount a directory read-only");
    }
    running.kill();
}

#[test]
fn show_prints_the_whole_entry_of_one_group() {
    let bench = two_crashes();
    let ran = bench.run(&["journal", "show", "payments"]).exits(0);
    for part in
        ["group     payments", "for       create", "recovery  rolls it back", "writer    process ", "interrupted"]
    {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    for url in bench.cluster.urls() {
        assert!(ran.out.contains(&format!("host      {url}\n")), "{}", ran.out);
    }
    assert!(!ran.out.contains("orders"));
    let next = format!("\nNext: cluster-client recover {}\n", bench.recover_options());
    assert!(ran.out.ends_with(&next), "{}", ran.out);
    let line = bench.run(&["journal", "show", "payments", "-o", "json"]).exits(0).json().remove(0);
    assert_eq!((line["group"].as_str(), line["purpose"].as_str()), (Some("payments"), Some("create")));
    assert_eq!(line["hosts"].as_array().map(Vec::len), Some(3));
    bench.run(&["journal", "show", "invoices"]).exits(1).reports("invoices has no unfinished operation");
    assert_missing(&bench, "invoices", "invoices has no unfinished operation in the journal that can be read");
    bench.run(&["journal", "show", ".."]).exits(2).reports("(from the command line)");
    bench.assert_untouched();
}

/// Asserts that a program reads on standard output that the group has no entry.
fn assert_missing(bench: &Bench, group: &str, message: &str) {
    let line = bench.run(&["journal", "show", group, "-o", "json"]).exits(1).json().remove(0);
    assert_eq!((line["outcome"].as_str(), line["exit"].as_u64()), (Some("refused"), Some(1)), "{line}");
    assert!(line["cause"]["message"].as_str().unwrap().starts_with(message), "{line}");
}

#[test]
fn empty_or_missing_journal_is_no_error_and_is_not_created() {
    let bench = Bench::new();
    let ran = bench.run(&["journal", "list"]).exits(0).reports("nothing is unfinished: there is no journal in ");
    assert!(ran.out.is_empty() && !bench.journal().exists());
    assert!(bench.run(&["journal", "list", "-o", "json"]).exits(0).out.is_empty());
    let ran = bench.run(&["journal", "show", "payments"]).exits(1);
    assert!(ran.reports("payments has no unfinished operation").out.is_empty());
    assert_missing(&bench, "payments", "payments has no unfinished operation: there is no journal in ");
    bench
        .run(&["journal", "forget", "http://node9", "--yes"])
        .exits(2)
        .reports("no unfinished operation names http://node9");
    bench
        .run(&["journal", "list", "--no-journal"])
        .exits(2)
        .reports("there is no journal to look at (from --no-journal)");
    assert!(!bench.journal().exists());
    bench.run(&["create", "payments"]).exits(0);
    bench.run(&["journal", "list"]).exits(0).reports("nothing is unfinished: the journal in ");
}

#[test]
fn journal_commands_need_no_hosts_and_use_the_journal_of_the_settings() {
    let bench = two_crashes();
    let elsewhere = bench.path("elsewhere");
    fs::rename(bench.journal(), &elsewhere).unwrap();
    for hosts in [None, Some("no host at all")] {
        let mut command = bench.command(&["journal", "list"]);
        command.env_remove("HOSTS").env("CLUSTER_CLIENT_JOURNAL", &elsewhere);
        hosts.map(|hosts| command.env("HOSTS", hosts));
        let ran = Ran::of(&mut command).exits(0).prints("2 operations unfinished");
        assert!(ran.err.is_empty(), "{}", ran.err);
    }
    bench.run(&["journal", "list", "--journal", text(&elsewhere)]).exits(0).prints("2 operations unfinished");
    bench.configure_also("journal = \"elsewhere\"");
    bench.run(&["journal", "list"]).exits(0).prints("2 operations unfinished");
}

#[test]
fn forget_drops_a_host_from_every_operation_that_names_it() {
    let bench = two_crashes();
    let gone = bench.cluster.node(2).url();
    let left: Vec<String> = bench.cluster.urls()[..2].to_vec();
    let ran = bench.run(&["journal", "forget", &gone, "--yes"]).exits(0);
    for group in ["orders", "payments"] {
        let message = format!(
            "{gone} is forgotten: whether it has {group} is now unknown for good. The unfinished create of \
                            {group} still has to settle {}.\n",
            left.join(", ")
        );
        assert!(ran.out.contains(&message), "{}", ran.out);
    }
    assert!(ran.out.contains("Next: cluster-client recover"), "{}", ran.out);
    assert_eq!(unfinished(&bench), [("orders".to_owned(), left.clone()), ("payments".to_owned(), left)]);
    bench.assert_untouched();

    // The host never comes back. The rest is settled without it.
    bench.cluster.node(2).stop();
    bench.run(&["recover"]).exits(0);
    assert!(unfinished(&bench).is_empty());
    assert!(!bench.cluster.node(0).has("payments") && !bench.cluster.node(1).has("payments"));
}

#[test]
fn forget_drops_a_host_from_the_operation_on_one_group() {
    let bench = two_crashes();
    let urls = bench.cluster.urls();
    let line = bench.run(&["journal", "forget", &urls[0], "orders", "--yes", "-o", "json"]).exits(0).json().remove(0);
    assert_eq!((line["group"].as_str(), line["outcome"].as_str()), (Some("orders"), Some("forgotten")));
    assert_eq!((line["host"].as_str(), line["purpose"].as_str()), (Some(urls[0].as_str()), Some("create")));
    assert_eq!(line["remaining"].as_array().unwrap().iter().map(ours).collect::<Vec<_>>(), urls[1..]);
    assert_eq!(unfinished(&bench), [("orders".to_owned(), urls[1..].to_vec()), ("payments".to_owned(), urls.clone())]);

    for url in &urls[1..] {
        bench.run(&["journal", "forget", url, "orders", "--yes"]).exits(0);
    }
    assert_eq!(unfinished(&bench), [("payments".to_owned(), urls)]);
    assert_eq!(bench.journal_entries(), [bench.journal().join("payments.intent")]);
    bench.assert_untouched();
}

#[test]
fn forget_refuses_a_host_or_group_without_an_entry() {
    let bench = two_crashes();
    let urls = bench.cluster.urls();
    let ran = bench.run(&["journal", "forget", "http://node9", "--yes"]).exits(2);
    ran.reports("no unfinished operation names http://node9");
    let ran = bench.run(&["journal", "forget", "http://node9", "payments", "--yes"]).exits(2);
    ran.reports("is not in the unfinished create of payments").reports(&format!("name one of {}", urls.join(", ")));
    bench.run(&["journal", "forget", &urls[0], "invoices", "--yes"]).exits(2).reports("has no unfinished operation");
    bench
        .run(&["journal", "forget", "node9", "--yes"])
        .exits(2)
        .reports("has no scheme")
        .reports("from the command line");
    assert!(unfinished(&bench).iter().all(|(_, hosts)| *hosts == urls));
}

#[test]
fn forget_asks_on_a_terminal_and_needs_yes_elsewhere() {
    let bench = two_crashes();
    let urls = bench.cluster.urls();
    bench.run(&["journal", "forget", &urls[0]]).exits(2).reports("needs --yes");
    assert!(unfinished(&bench).iter().all(|(_, hosts)| *hosts == urls));
    let words = format!("journal forget {}", urls[0]);
    let Some(ran) = on_a_terminal(&bench, &words, &[], "n\n") else { return };
    let question = format!("forget {}? Whether it has orders, payments then stays unknown. [y/N]", urls[0]);
    ran.exits(1).prints(&question).prints("nothing was forgotten");
    assert!(unfinished(&bench).iter().all(|(_, hosts)| *hosts == urls));
    let Some(ran) = on_a_terminal(&bench, &words, &[], "y\n") else { return };
    ran.exits(0).prints("is forgotten");
    assert!(unfinished(&bench).iter().all(|(_, hosts)| *hosts == urls[1..]));
}

#[test]
fn forget_does_not_change_a_running_operation() {
    let bench = Bench::new();
    bench.cluster.node(1).inject(Fault::mute().on(Method::Post));
    let mut running = bench.start(&["create", "payments", "--request-timeout", "60s"]);
    assert!(bench.cluster.node(1).wait_until(|node| node.count(Method::Post) == 1, PATIENCE));
    let ran = bench.run(&["journal", "forget", &bench.cluster.urls()[1], "--yes"]).exits(1);
    ran.prints("is not forgotten for payments: ").prints("is busy");
    assert_eq!(unfinished(&bench), [("payments".to_owned(), bench.cluster.urls())]);
    running.kill();
    bench.run(&["journal", "forget", &bench.cluster.urls()[1], "--yes"]).exits(0);
}

#[test]
fn unreadable_entry_is_listed_with_its_reason_and_exits_4() {
    let bench = two_crashes();
    fs::write(bench.journal().join("orders.intent"), "torn").unwrap();
    let ran = bench.run(&["journal", "list"]).exits(4).prints("orders.intent: its first line is not that of an intent");
    ran.prints("1 operation unfinished, 0 running, 1 file that cannot be read.");
    let lines = bench.run(&["journal", "list", "-o", "json"]).exits(4).json();
    assert_eq!((lines[0]["kind"].as_str(), lines[0]["group"].as_str()), (Some("entry"), Some("payments")));
    assert_eq!(lines[1]["kind"].as_str(), Some("journal_error"));
    assert!(lines[1]["message"].as_str().unwrap().contains("first line"));
    assert_eq!(lines[1]["file"].as_str(), Some(text(&bench.journal().join("orders.intent"))));
    bench.run(&["journal", "show", "payments"]).exits(0);
    bench.run(&["journal", "show", "orders"]).exits(4).prints("orders.intent: ").reports("that can be read");

    let gone = bench.cluster.node(2).url();
    bench.run(&["journal", "forget", &gone, "orders", "--yes"]).exits(1).prints("orders.intent: its first line");
    bench
        .run(&["journal", "forget", &gone, "--yes"])
        .exits(4)
        .prints("whether it has payments")
        .prints("orders.intent: ");
    assert_eq!(fs::read(bench.journal().join("orders.intent")).unwrap(), b"torn");
}

#[test]
fn next_command_removes_the_lock_and_temporary_files_of_a_killed_one() {
    let bench = Bench::new();
    // Kill the command before it has recorded anything, so that only its lock exists.
    bench.cluster.node(0).inject(Fault::mute().on(Method::Get));
    let mut create = bench.start(&["create", "payments"]);
    assert!(bench.cluster.node(0).wait_until(|node| node.count(Method::Get) == 1, PATIENCE));
    create.kill();
    bench.cluster.nodes().iter().for_each(Node::clear_faults);
    assert_eq!(bench.journal_entries(), [bench.journal().join("payments.lock")]);
    fs::write(bench.journal().join("invoices.new"), "cluster-client inte").unwrap();
    bench.run(&["create", "orders"]).exits(0);
    assert!(bench.journal_entries().is_empty(), "{:?}", bench.journal_entries());

    // Kill it after it has recorded the intent. The next command removes the lock and keeps the entry.
    bench.cluster.nodes().iter().for_each(Node::clear_log);
    crash(&bench, "payments");
    bench.run(&["status", "payments"]).exits(3);
    assert_eq!(bench.journal_entries(), [bench.journal().join("payments.intent")]);
}
