//! A journal that another user has written to. Its content may be forged, so it is refused and kept. Nothing is written
//! through a link in it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};
use std::path::Path;
use std::process::Command;

use cluster_client::testing::Method;

use crate::bench::{Bench, text};
use crate::recovery::crash;

/// A user that is not the user of the tests.
const STRANGER: u32 = 65_534;

/// Changes the owner of a file, which needs root. Returns false if that fails.
fn give_away(path: &Path) -> bool {
    let given = lchown(path, Some(STRANGER), None);
    if let Err(error) = &given {
        println!("skipped, this needs root: {error}");
    }
    given.is_ok()
}

/// Creates the group on every node, and forges an entry by which a recovery would delete it.
fn live_group_with_a_forged_entry(bench: &Bench) -> std::path::PathBuf {
    crash(bench, "payments");
    let entry = bench.journal().join("payments.intent");
    let forged = fs::read(&entry).unwrap();
    bench.run(&["recover"]).exits(0);
    bench.run(&["create", "payments"]).exits(0);
    fs::write(&entry, forged).unwrap();
    bench.cluster.nodes().iter().for_each(cluster_client::testing::Node::clear_log);
    entry
}

fn assert_kept(bench: &Bench, entry: &Path) {
    assert!(bench.cluster.all_have("payments") && bench.count(Method::Delete) == 0);
    assert!(entry.exists());
}

#[test]
fn recover_refuses_a_journal_that_others_can_write() {
    let bench = Bench::new();
    let entry = live_group_with_a_forged_entry(&bench);
    for mode in [0o777, 0o1777, 0o770] {
        fs::set_permissions(bench.journal(), fs::Permissions::from_mode(mode)).unwrap();
        let ran = bench.run(&["recover"]).exits(2);
        ran.reports("cannot trust ")
            .reports(text(&bench.journal()))
            .reports("others can write to it")
            .reports("chmod 700");
        bench.run(&["create", "orders"]).exits(2).reports("chmod 700");
        assert_kept(&bench, &entry);
    }
    bench.assert_untouched();
}

#[test]
fn status_names_the_unfinished_operation_even_if_the_group_is_on_every_host() {
    let bench = Bench::new();
    live_group_with_a_forged_entry(&bench);
    let next = format!(
        "payments is on 3 of 3 hosts, and the journal holds an unfinished operation on it\nNext: cluster-client recover {}\n",
        bench.recover_options()
    );
    bench.run(&["status", "payments"]).exits(0).prints(&next);
}

#[test]
fn status_warns_of_a_journal_that_others_can_write() {
    let bench = Bench::new();
    live_group_with_a_forged_entry(&bench);
    fs::set_permissions(bench.journal(), fs::Permissions::from_mode(0o777)).unwrap();
    let ran = bench.run(&["status", "payments"]).exits(0).prints("payments is on 3 of 3 hosts\n");
    ran.reports("warning: unfinished operations are not known").reports("others can write to it").reports("chmod 700");
    fs::set_permissions(bench.journal(), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(bench.journal().join("orders.intent"), "no intent").unwrap();
    bench
        .run(&["status", "payments"])
        .exits(0)
        .reports("warning: unfinished operations are not known")
        .reports("orders");
}

#[test]
fn recover_refuses_a_journal_of_another_user() {
    let bench = Bench::new();
    let entry = live_group_with_a_forged_entry(&bench);
    if !give_away(&bench.journal()) {
        return;
    }
    bench
        .run(&["recover"])
        .exits(2)
        .reports("cannot trust ")
        .reports("belongs to user 65534, and this program runs as user 0");
    assert_kept(&bench, &entry);
    bench.assert_untouched();
}

#[test]
fn recover_keeps_an_entry_of_another_user_without_executing_it() {
    let bench = Bench::new();
    let entry = live_group_with_a_forged_entry(&bench);
    if !give_away(&entry) {
        return;
    }
    bench.run(&["recover"]).exits(4).prints("payments.intent: it belongs to user 65534");
    bench.run(&["delete", "payments", "--yes"]).exits(1).prints("it belongs to user 65534");
    assert_kept(&bench, &entry);
    bench.assert_untouched();
}

#[test]
fn recover_keeps_an_entry_that_others_can_write_without_executing_it() {
    let bench = Bench::new();
    let entry = live_group_with_a_forged_entry(&bench);
    fs::set_permissions(&entry, fs::Permissions::from_mode(0o606)).unwrap();
    bench.run(&["recover"]).exits(4).prints("others can write to it (mode 0606)");
    assert_kept(&bench, &entry);
    bench.assert_untouched();
}

#[test]
fn create_does_not_write_through_a_lock_that_is_another_file() {
    let bench = Bench::new();
    bench.run(&["create", "orders"]).exits(0);
    bench.cluster.nodes().iter().for_each(cluster_client::testing::Node::clear_log);
    let victim = bench.write("victim", "a person's");
    fs::hard_link(&victim, bench.journal().join("hard.lock")).unwrap();
    symlink(&victim, bench.journal().join("soft.lock")).unwrap();
    for (group, reason) in [("hard", "it has 2 names"), ("soft", "it is a symbolic link")] {
        let lock = bench.journal().join(format!("{group}.lock"));
        let ran = bench.run(&["create", group]).exits(1);
        ran.prints(&format!("cannot lock {}: {reason}", lock.display())).prints("remove it");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "a person's");
        assert!(fs::symlink_metadata(lock).is_ok());
    }
    bench.assert_untouched();
}

#[test]
fn recover_opens_no_entry_that_is_a_link_or_a_pipe() {
    let bench = Bench::new();
    let entry = live_group_with_a_forged_entry(&bench);
    let elsewhere = bench.path("elsewhere");
    fs::rename(&entry, &elsewhere).unwrap();
    symlink(&elsewhere, &entry).unwrap();
    assert!(Command::new("mkfifo").arg(bench.journal().join("x.intent")).status().unwrap().success());
    let ran = bench.run(&["recover"]).exits(4);
    ran.prints("payments.intent: it is a symbolic link").prints("x.intent: it is not a regular file");
    assert_kept(&bench, &entry);
    bench.run(&["create", "x"]).exits(1).prints("x.intent: it is not a regular file");
}

#[test]
fn no_command_sends_an_escape_sequence_of_a_file_name_to_the_terminal() {
    let bench = Bench::new();
    bench.run(&["create", "orders"]).exits(0);
    for name in ["\u{1b}]0;owned\u{7}.intent", "\u{9b}31m.intent", "\u{202e}x.intent"] {
        fs::write(bench.journal().join(name), "").unwrap();
    }
    for words in [&["recover"][..], &["journal", "list"], &["journal", "forget", "http://node1", "--yes"]] {
        let ran = bench.run(words).exits(4);
        let shown = format!("{}{}", ran.out, ran.err);
        let raw = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(!shown.contains(raw), "{words:?}: {shown:?}");
        assert!(shown.contains(r"\u{1b}]0;owned\u{7}.intent") && shown.contains(r"\u{202e}x.intent"), "{shown}");
    }
}
