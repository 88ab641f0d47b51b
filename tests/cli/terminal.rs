//! Output on a terminal: marks, colours, a question before a delete, and live progress, which is erased at the end.

use std::process::Command;
use std::time::Duration;

use cluster_client::testing::{Fault, Method, Node};

use crate::bench::{Bench, PATIENCE, Ran, list, name};
use crate::pty::{Ended, OnTerminal};

/// Runs the command on a terminal with this input. Returns `None` without `script`.
pub(crate) fn on_a_terminal(bench: &Bench, arguments: &str, variables: &[(&str, &str)], input: &str) -> Option<Ran> {
    let known = Command::new("script").arg("--version").output();
    if !known.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: there is no `script`, which provides a terminal");
        return None;
    }
    let line = format!("'{}' {arguments}", env!("CARGO_BIN_EXE_cluster-client"));
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    let surroundings = bench.command(&[]);
    command
        .current_dir(surroundings.get_current_dir().unwrap())
        .env_clear()
        .env("TERM", "xterm")
        .env("SHELL", "/bin/sh");
    command.envs(surroundings.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.envs(variables.iter().copied());
    Some(Ran::with_input(&mut command, input.as_bytes()))
}

fn run(bench: &Bench, arguments: &[&str], variables: &[(&str, &str)], input: &str) -> Ended {
    let mut command = OnTerminal::start_with(bench, arguments, variables);
    command.types(input);
    command.watched().ends()
}

#[test]
fn hosts_have_marks_and_colours() {
    let bench = Bench::new();
    let ended = run(&bench, &["create", "payments"], &[], "").exits(0);
    let ended = ended.shows("✓ ").shows("payments is on 3 of 3 hosts").shows_no_row();
    assert!(ended.written.contains("\x1b[32m"), "{:?}", ended.written);
    assert!(!ended.written.contains("payments: creating"), "a terminal gets no line for each phase");
    assert!(bench.cluster.all_have("payments"));
}

#[test]
fn no_color_and_color_never_turn_colours_off() {
    let bench = Bench::new();
    let status = ["status", "g", "-q"];
    for (option, variables) in [(&[][..], &[("NO_COLOR", "1")][..]), (&["--color", "never"], &[])] {
        let ended = run(&bench, &[&status, option].concat(), variables, "").exits(1);
        assert!(!ended.written.contains('\x1b'), "{:?}", ended.written);
    }
}

/// A terminal that knows no control sequences, or a locale that is not UTF-8.
#[test]
fn plain_terminal_has_no_marks() {
    let bench = Bench::new();
    let status = ["status", "g", "-q"];
    for plain in [("TERM", "dumb"), ("LC_ALL", "C"), ("LANG", "de_DE.ISO-8859-1")] {
        let ended = run(&bench, &status, &[plain], "").exits(1);
        assert!(ended.screen.starts_with("  127.0.0.1:") && ended.screen.is_ascii(), "{plain:?} {}", ended.screen);
    }
    for able in [("LANG", "en_US.UTF-8"), ("LC_ALL", ""), ("LC_CTYPE", "C.utf8")] {
        let ended = run(&bench, &status, &[able], "").exits(1);
        assert!(ended.screen.starts_with("- 127.0.0.1:"), "{able:?} {}", ended.screen);
    }
}

#[test]
fn delete_asks_and_changes_nothing_without_a_yes() {
    let bench = Bench::new();
    bench.cluster.node(0).insert("payments");
    for answer in ["n\n", "\n", "maybe\n"] {
        let ended = run(&bench, &["delete", "payments"], &[], answer).exits(1);
        ended.shows("delete payments from 3 hosts? [y/N]").shows("not deleted; nothing was sent");
        bench.assert_untouched();
    }
    let ended = run(&bench, &["delete", "payments"], &[], "y\n").exits(0);
    ended.shows("payments is deleted: absent on 3 of 3 hosts").shows_no_row();
    assert!(bench.cluster.none_has("payments"));
}

#[test]
fn delete_names_the_groups_and_the_hosts_it_asks_about() {
    let bench = Bench::new();
    let ended = run(&bench, &["delete", "payments", "orders"], &[], "n\n").exits(1);
    let hosts = bench.cluster.urls().join("\n  ");
    let question = format!("groups:\n  payments\n  orders\nhosts:\n  {hosts}\ndelete 2 groups from 3 hosts? [y/N]");
    ended.shows(&question);

    let many: Vec<String> = (0..60).map(|number| format!("http://node{number}.invalid:8000")).collect();
    let ended = run(&bench, &["delete", "payments"], &[("HOSTS", &many.join(","))], "n\n").exits(1);
    // The whole question is on the screen.
    ended.shows("hosts:\n  http://node0.invalid:8000\n").shows("  and 35 more\ndelete payments from 60 hosts? [y/N]");
    bench.assert_untouched();
}

/// Makes the node answer only after `resume`.
fn hold_answers(node: &Node) {
    node.pause();
}

#[test]
fn row_shows_the_number_of_answers_and_the_pending_host() {
    let bench = Bench::of(40);
    bench.configure_also("attempts = 1\nthreads = 64\n");
    hold_answers(bench.cluster.node(17));
    let create = OnTerminal::start(&bench, &["status", "payments"]).watched();
    let waiting = format!("asking the hosts: 39 of 40 hosts; waiting for {}, 1 s", name(&bench, 17));
    create.wait_until_it_shows(&waiting);
    // The time in the row grows without an event.
    create.wait_until_it_shows(&waiting.replace(", 1 s", ", 2 s"));
    bench.cluster.node(17).resume();
    create.ends().exits(1).shows("payments is on none of 40 hosts").shows_no_row();
}

#[test]
fn row_shows_the_number_of_the_try() {
    let bench = Bench::new();
    bench.configure("first_delay = \"2500ms\"\nmax_delay = \"2500ms\"\nsettle = \"20ms\"\nattempts = 3\n");
    bench.cluster.node(1).inject(Fault::answer(503).on(Method::Get));
    bench.cluster.node(2).inject(Fault::mute().on(Method::Get));
    let status = OnTerminal::start(&bench, &["status", "payments", "--request-timeout", "5s"]).watched();
    let [_, tried, mute] = [0, 1, 2].map(|node| name(&bench, node));
    let begins = format!("asking the hosts: 1 of 3 hosts; waiting for {tried} (try 2 of 3 in ");
    let screen = status.wait_until_it_shows(&begins);
    assert!(screen.contains(&format!(" s) and {mute}, 1 s")), "{screen}");
    status.wait_until_it_shows(&format!("2 of 3 hosts; waiting for {mute}, "));
    status.wait_until_it_shows(&format!("2 of 3 hosts; waiting for {mute} (try 2 of 3 in "));
    status.ends().exits(1).shows_no_row();
}

#[test]
fn row_of_a_rollback_names_only_hosts_that_have_the_group() {
    let bench = Bench::new();
    bench.cluster.node(2).inject(Fault::answer(422).on(Method::Post));
    bench.cluster.node(0).inject(Fault::delay(Duration::from_millis(2500)).on(Method::Delete));
    let create = OnTerminal::start(&bench, &["create", "payments"]).watched();
    create.wait_until_it_shows(&format!("; waiting for {}, 1 s", name(&bench, 0)));
    create.ends().exits(1).shows("Rolled back: absent on 3 of 3 hosts.").shows_no_row();
    assert!(bench.cluster.none_has("payments"));
}

#[test]
fn row_of_many_groups_shows_their_number_and_the_pending_host() {
    let bench = Bench::new();
    bench.write("groups.txt", list(12));
    hold_answers(bench.cluster.node(1));
    let create = OnTerminal::start(&bench, &["create", "-f", "groups.txt"]).watched();
    create.wait_until_it_shows(&format!("0 of 12 groups; 12 in progress; waiting for {}, 1 s", name(&bench, 1)));
    bench.cluster.node(1).resume();
    let ended = create.ends().exits(0).shows("group-11 is on 3 of 3 hosts").shows_no_row();
    assert_eq!(ended.screen.lines().skip(12).collect::<Vec<_>>(), ["12 created"], "{}", ended.screen);
}

#[test]
fn row_of_a_busy_group_tells_what_is_waited_for() {
    let bench = Bench::new();
    bench.cluster.node(1).inject(Fault::mute().on(Method::Post));
    let mut first = bench.start(&["create", "payments", "--request-timeout", "60s"]);
    for node in [0, 2] {
        assert!(bench.cluster.node(node).wait_until(|node| node.has("payments"), PATIENCE));
    }
    // The lock is tried as often as a request.
    bench.configure("first_delay = \"2s\"\nmax_delay = \"2s\"\nsettle = \"20ms\"\n");
    let second = OnTerminal::start(&bench, &["create", "payments"]).watched();
    second.wait_until_it_shows("waiting for the lock of the group, 1 s: process ");
    second.ends().exits(1).shows("payments is busy: process ").shows_no_row();
    first.kill();
    bench.run(&["recover"]).exits(0);
    assert!(bench.cluster.none_has("payments"));
}

#[test]
fn row_of_a_recovery_shows_the_pending_host() {
    let bench = Bench::new();
    bench.fail_after_the_probe(1);
    bench.run(&["create", "payments"]).exits(4);
    bench.cluster.node(1).clear_faults();
    hold_answers(bench.cluster.node(1));
    let recover = OnTerminal::start(&bench, &["recover"]).watched();
    recover.wait_until_it_shows(&format!("0 groups; 1 in progress; waiting for {}, 1 s", name(&bench, 1)));
    bench.cluster.node(1).resume();
    recover.ends().exits(0).shows("payments is settled").shows_no_row();
}

/// Starts a create that waits for a node, with its row on the screen.
fn waiting_create(bench: &Bench) -> crate::pty::Watched {
    bench.cluster.node(1).inject(Fault::mute().on(Method::Post));
    let create = OnTerminal::start(bench, &["create", "payments", "--request-timeout", "4s", "--attempts", "1"]);
    for node in [0, 2] {
        assert!(bench.cluster.node(node).wait_until(|node| node.has("payments"), PATIENCE));
    }
    let create = create.watched();
    create.wait_until_it_shows(&format!("waiting for {}, ", name(bench, 1)));
    create
}

#[test]
fn ctrl_c_leaves_no_stale_row() {
    let bench = Bench::new();
    let mut create = waiting_create(&bench);
    create.types("\x03");
    create.wait_until_it_shows("interrupted: rolling back; once more to leave at once");
    let ended = create.ends().exits(130).shows("Rolled back: absent on 3 of 3 hosts.").shows_no_row();
    assert!(ended.screen.starts_with("interrupted:"), "{}", ended.screen);
    assert!(bench.cluster.none_has("payments"));
}

#[test]
fn second_ctrl_c_leaves_no_stale_row() {
    let bench = Bench::new();
    let mut create = waiting_create(&bench);
    create.types("\x03");
    create.wait_until_it_shows("interrupted: rolling back");
    create.wait_until_it_shows(&format!("waiting for {}, ", name(&bench, 1)));
    create.types("\x03");
    let ended = create.ends().exits(130).shows_no_row().shows("left at once.");
    assert!(ended.screen.contains("\nNext: cluster-client recover "), "{}", ended.screen);
}

#[test]
fn resized_terminal_has_no_stale_row() {
    let bench = Bench::new();
    let mut create = waiting_create(&bench);
    let row = format!("waiting for {}", name(&bench, 1));
    create.resize(30, 40);
    // The row is cut to the new width.
    create.wait_until(|screen| !screen.contains(&row) && screen.contains("..."));
    create.resize(30, 140);
    let screen = create.wait_until_it_shows(&row);
    assert_eq!(screen.lines().filter(|line| !line.is_empty()).count(), 1, "{screen}");
    create.ends().exits(1).shows_no_row();
}

#[test]
fn log_lines_and_messages_are_printed_above_the_row() {
    let bench = Bench::new();
    bench.cluster.node(1).inject(Fault::mute().on(Method::Post));
    let create = OnTerminal::start(&bench, &["create", "payments", "-v", "--request-timeout", "3s", "--attempts", "1"]);
    let create = create.watched();
    let row = format!("creating: 2 of 3 hosts; waiting for {}, ", name(&bench, 1));
    let screen = create.wait_until_it_shows(&row);
    assert!(screen.lines().last().unwrap().contains(&row), "{screen}");
    assert!(screen.contains("created on"), "{screen}");
    create.ends().shows("verified present").shows_no_row();
}

#[test]
fn results_of_a_pipe_to_this_terminal_do_not_overlap_the_row() {
    let bench = Bench::new();
    bench.write("groups.txt", list(3));
    hold_answers(bench.cluster.node(1));
    let script = "\"$0\" create -f groups.txt | cat";
    let command = ["-c", script, env!("CARGO_BIN_EXE_cluster-client")];
    let create = OnTerminal::start_program(&bench, "sh", &command, &[], None).watched();
    create.wait_until_it_shows("0 of 3 groups; 3 in progress; waiting for ");
    bench.cluster.node(1).resume();
    let ended = create.ends().exits(0).shows_no_row();
    for line in ended.screen.lines().take(3) {
        assert!(line.starts_with("group-") && line.ends_with(" s)"), "{}", ended.screen);
    }
    assert_eq!(ended.screen.lines().skip(3).collect::<Vec<_>>(), ["3 created"]);
}

#[test]
fn dumb_terminal_gets_a_line_for_each_phase() {
    let bench = Bench::new();
    let ended = run(&bench, &["create", "payments"], &[("TERM", "dumb")], "").exits(0);
    assert!(ended.screen.starts_with("payments: asking the hosts\npayments: creating\n"), "{}", ended.screen);
}
