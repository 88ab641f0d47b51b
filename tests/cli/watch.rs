//! `status --watch`: a screen that is redrawn on a terminal, a block for each change elsewhere.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::mpsc::{self, Receiver};

use cluster_client::testing::{Fault, Method};

use crate::bench::{Bench, PATIENCE, Running, name};
use crate::pty::OnTerminal;

/// Starts a watch, and returns the lines of its standard output.
fn watch(bench: &Bench, arguments: &[&str]) -> (Running, Receiver<String>) {
    let arguments = [&["status", "--watch", "--interval", "100ms"], arguments].concat();
    let mut watch = Running::of(&mut bench.command(&arguments));
    let (sender, lines) = mpsc::channel();
    let output = BufReader::new(watch.child().stdout.take().unwrap());
    std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    (watch, lines)
}

#[test]
fn each_change_is_a_block_and_ctrl_c_ends_with_the_last_exit_code() {
    let bench = Bench::new();
    let (mut watch, output) = watch(&bench, &["payments"]);
    let block = || {
        let mut lines = Vec::new();
        while !lines.last().is_some_and(|line: &String| line.starts_with("payments ") || line.starts_with("mixed:")) {
            lines.push(output.recv_timeout(PATIENCE).unwrap());
        }
        lines
    };
    let first = block();
    assert!(first[0].ends_with(" GMT"), "{first:?}");
    assert_eq!(first.last().unwrap(), "payments is on none of 3 hosts");
    // Several rounds without a change print nothing: the next block has the change.
    assert!(bench.cluster.node(2).wait_until(|node| node.log().len() > 3, PATIENCE));
    bench.cluster.node(1).insert("payments");
    let second = block();
    assert_eq!(second[0], "", "a blank line comes between two blocks");
    assert_eq!(second.last().unwrap(), "mixed: on 1 of 3 hosts.");
    bench.cluster.node(0).insert("payments");
    bench.cluster.node(2).insert("payments");
    while block().last().unwrap() != "payments is on 3 of 3 hosts" {}
    watch.signal("INT");
    watch.ends().exits(0);
    assert_eq!(output.try_iter().count(), 0, "the last round is not printed again");
}

#[test]
fn json_has_a_line_for_each_group_that_changed() {
    let bench = Bench::new();
    let (mut watch, output) = watch(&bench, &["a", "b", "-o", "json"]);
    let line = || serde_json::from_str::<serde_json::Value>(&output.recv_timeout(PATIENCE).unwrap()).unwrap();
    assert_eq!([line()["group"].take(), line()["group"].take()], ["a", "b"]);
    bench.cluster.node(1).insert("b");
    let changed = line();
    assert_eq!((changed["group"].as_str(), changed["exit"].as_i64()), (Some("b"), Some(3)));
    watch.signal("TERM");
    watch.ends().exits(3);
}

#[test]
fn names_are_those_of_the_groups_that_came_to_be_on_every_host() {
    let bench = Bench::new();
    let on_all = |group| {
        for node in bench.cluster.nodes() {
            node.insert(group);
        }
    };
    on_all("b");
    let (mut watch, output) = watch(&bench, &["a", "b", "-o", "name"]);
    assert_eq!(output.recv_timeout(PATIENCE).unwrap(), "b");
    on_all("a");
    assert_eq!(output.recv_timeout(PATIENCE).unwrap(), "a");
    watch.signal("INT");
    watch.ends().exits(0);
    assert_eq!(output.try_iter().count(), 0);
}

#[test]
fn screen_is_redrawn_and_shows_only_the_last_states() {
    let bench = Bench::new();
    let mut watch = OnTerminal::start(&bench, &["status", "payments", "--watch", "--interval", "100ms"]).watched();
    let screen = watch.wait_until_it_shows("payments is on none of 3 hosts");
    assert!(screen.contains(", every 100ms, Ctrl-C ends"), "{screen}");
    bench.cluster.node(1).insert("payments");
    let screen = watch.wait_until_it_shows("mixed: on 1 of 3 hosts.");
    assert!(screen.contains(&format!("✓ {}", name(&bench, 1))), "{screen}");
    assert!(!screen.contains("none"), "{screen}");
    watch.types("\x03");
    let ended = watch.ends().exits(3);
    assert!(ended.screen.contains("mixed:"), "the last states stay on the screen\n{}", ended.screen);
}

#[test]
fn screen_is_cut_to_the_height_of_the_terminal() {
    let bench = Bench::new();
    bench.write("groups.txt", crate::bench::list(60));
    let mut watch =
        OnTerminal::start(&bench, &["status", "-f", "groups.txt", "--watch", "--interval", "100ms"]).watched();
    // One line of the title, one of the matrix's header and one of the totals; the terminal has 30.
    let screen = watch.wait_until_it_shows("35 more lines");
    let top: Vec<&str> = screen.lines().take(2).map(str::trim_end).collect();
    assert!(top[0].ends_with("Ctrl-C ends") && top[1] == "60 on none", "the totals are never cut\n{screen}");
    watch.resize(20, 120);
    watch.wait_until_it_shows("45 more lines");
    watch.types("\x03");
    watch.ends().exits(1);
}

#[test]
fn watch_ends_with_its_reader_even_if_nothing_changes() {
    let bench = Bench::new();
    let mut watch = bench.start(&["status", "--watch", "--interval", "100ms", "payments", "-o", "json"]);
    assert!(watch.first_line().contains("\"payments\""));
    drop(watch.child().stdout.take());
    let ran = watch.ends().exits(1);
    assert_eq!(ran.err, "");
}

/// Starts a create of this group that does not end, and returns it with the beginning of its holder's name.
fn endless_create(bench: &Bench, group: &str) -> (Running, String) {
    bench.cluster.node(1).inject(Fault::mute().on(Method::Post));
    let mut create = bench.start(&["create", group, "--request-timeout", "60s"]);
    for node in bench.cluster.nodes() {
        assert!(node.wait_until(|node| node.count(Method::Post) == 1, PATIENCE));
    }
    let holder = format!("process {} ", create.child().id());
    (create, holder)
}

/// Receives lines until one has this text.
fn line_with(output: &Receiver<String>, text: &str) -> String {
    loop {
        let line = output.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("never printed: {text}"));
        if line.contains(text) {
            return line;
        }
    }
}

#[test]
fn unfinished_operation_and_its_holder_are_named_while_they_last() {
    let bench = Bench::new();
    let (mut one, of_one) = watch(&bench, &["payments"]);
    let (mut two, of_two) = watch(&bench, &["payments", "users"]);
    line_with(&of_one, "payments is on none of 3 hosts");
    line_with(&of_two, "2 on none");
    let (mut create, holder) = endless_create(&bench, "payments");
    let under_way = format!("a create of it is under way ({holder}");
    let line = line_with(&of_one, &under_way);
    assert!(line.starts_with("mixed: on 2 of 3 hosts, and ") || line.starts_with("payments is on none"), "{line}");
    assert!(line_with(&of_two, &under_way).starts_with("note: payments: "));
    create.kill();
    line_with(&of_one, "mixed: on 2 of 3 hosts, and the journal holds an unfinished operation on it.");
    assert!(line_with(&of_two, "the journal holds an unfinished operation").starts_with("note: payments: "));
    bench.run(&["recover"]).exits(0);
    while line_with(&of_one, "payments is on none of 3 hosts") != "payments is on none of 3 hosts" {}
    one.signal("INT");
    two.signal("INT");
    one.ends().exits(1);
    two.ends().exits(1);
}

#[test]
fn json_has_a_line_when_an_operation_begins_or_loses_its_owner() {
    let bench = Bench::new();
    // No host may change, so only the journal does.
    bench.cluster.node(0).inject(Fault::mute().on(Method::Post));
    bench.cluster.node(2).inject(Fault::mute().on(Method::Post));
    let (mut watch, output) = watch(&bench, &["payments", "-o", "json"]);
    let line = || serde_json::from_str::<serde_json::Value>(&output.recv_timeout(PATIENCE).unwrap()).unwrap();
    assert_eq!(line().get("unfinished"), None);
    let (mut create, holder) = endless_create(&bench, "payments");
    let begun = line();
    crate::schema::assert_described(&begun);
    assert!(begun["unfinished"]["holder"].as_str().unwrap().starts_with(&holder), "{begun}");
    assert_eq!((&begun["exit"], &begun["next"][0][1]), (&1.into(), &"status".into()));
    create.kill();
    let left = line();
    assert_eq!((&left["unfinished"]["running"], &left["next"][0][1]), (&false.into(), &"recover".into()), "{left}");
    watch.signal("INT");
    watch.ends().exits(1);
}

#[test]
fn journal_that_fails_is_named_once_and_does_not_end_the_watch() {
    let bench = Bench::new();
    bench.run(&["create", "payments"]).exits(0);
    let trust = |mode| fs::set_permissions(bench.journal(), fs::Permissions::from_mode(mode)).unwrap();
    let (mut watch, output) = watch(&bench, &["payments"]);
    line_with(&output, "payments is on 3 of 3 hosts");
    trust(0o777);
    watch.wait_until_it_reports("warning: unfinished operations are not known: ");
    let asked = bench.cluster.node(0).log().len();
    assert!(bench.cluster.node(0).wait_until(|node| node.log().len() > asked + 3, PATIENCE));
    bench.cluster.node(1).remove("payments");
    line_with(&output, "mixed: on 2 of 3 hosts.");
    trust(0o700);
    watch.wait_until_it_reports("the journal can be read again");
    watch.signal("INT");
    let ran = watch.ends().exits(3);
    assert!(!ran.err.contains("warning"), "{ran:#?}");
}

#[test]
fn screen_has_the_warning_of_a_journal_that_fails() {
    let bench = Bench::new();
    bench.run(&["create", "payments"]).exits(0);
    let words = ["status", "payments", "orders", "--watch", "--interval", "100ms"];
    let mut watch = OnTerminal::start(&bench, &words).watched();
    watch.wait_until_it_shows("1 on none");
    fs::set_permissions(bench.journal(), fs::Permissions::from_mode(0o777)).unwrap();
    let screen = watch.wait_until_it_shows("warning: unfinished operations are not known: ");
    assert!(screen.contains("1 on none"), "{screen}");
    fs::set_permissions(bench.journal(), fs::Permissions::from_mode(0o700)).unwrap();
    watch.wait_until(|screen| !screen.contains("warning") && screen.contains("1 on none"));
    watch.types("\x03");
    watch.ends().exits(1);
}

#[test]
fn interval_is_bounded() {
    let bench = Bench::new();
    let ran = bench.run(&["status", "g", "--watch", "--interval", "1ms"]).exits(2);
    ran.reports("interval \"1ms\" (from --interval) is out of bounds: choose 100ms to 1h");
    bench.assert_untouched();
}
