//! On a terminal: marks, colours, live progress, and a question before a delete. `script` lends one; where it
//! is missing these tests say so and pass.

use std::process::Command;

use crate::bench::{Bench, Ran, list};

/// Runs the command on a terminal, and hands it this input.
pub(crate) fn on_a_terminal(bench: &Bench, arguments: &str, variables: &[(&str, &str)], input: &str) -> Option<Ran> {
    let known = Command::new("script").arg("--version").output();
    if !known.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: there is no `script` to lend a terminal");
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

#[test]
fn hosts_have_marks_and_colours_and_progress_is_live() {
    let bench = Bench::new();
    let Some(ran) = on_a_terminal(&bench, "create payments", &[], "") else { return };
    let ran = ran.exits(0).prints("✓ ").prints("\x1b[32m").prints("payments is on 3 of 3 hosts");
    assert!(!ran.out.contains("payments: creating"), "lines for each phase are for where no terminal is");
    assert!(bench.cluster.all_have("payments"));
}

#[test]
fn no_color_and_color_never_are_obeyed() {
    let bench = Bench::new();
    for (arguments, variables) in [("status g -q", &[("NO_COLOR", "1")][..]), ("status g -q --color never", &[])] {
        let Some(ran) = on_a_terminal(&bench, arguments, variables, "") else { return };
        let ran = ran.exits(1);
        assert!(!ran.out.contains('\x1b'), "{arguments}: {:?}", ran.out);
    }
}

#[test]
fn delete_asks_and_takes_no_for_an_answer() {
    let bench = Bench::new();
    bench.cluster.node(0).insert("payments");
    for answer in ["n\n", "\n", "maybe\n"] {
        let Some(ran) = on_a_terminal(&bench, "delete payments", &[], answer) else { return };
        ran.exits(1).prints("delete payments from 3 hosts? [y/N]").prints("not deleted; nothing was sent");
        bench.assert_untouched();
    }
    let Some(ran) = on_a_terminal(&bench, "delete payments", &[], "y\n") else { return };
    ran.exits(0).prints("payments is deleted: absent on 3 of 3 hosts");
    assert!(bench.cluster.none_has("payments"));
}

#[test]
fn delete_names_the_groups_and_the_hosts_it_asks_about() {
    let bench = Bench::new();
    let Some(ran) = on_a_terminal(&bench, "delete payments orders", &[], "n\n") else { return };
    let hosts = bench.cluster.urls().join("\n  ");
    let question = format!("groups:\n  payments\n  orders\nhosts:\n  {hosts}\ndelete 2 groups from 3 hosts? [y/N]");
    let ran = ran.exits(1);
    assert!(ran.out.replace('\r', "").contains(&question), "{}", ran.out);

    let many: Vec<String> = (0..60).map(|number| format!("http://node{number}.invalid:8000")).collect();
    let Some(ran) = on_a_terminal(&bench, "delete payments", &[("HOSTS", &many.join(","))], "n\n") else { return };
    let ran = ran.exits(1).prints("delete payments from 60 hosts? [y/N]");
    let ran = ran.prints("  http://node0.invalid:8000\r\n").prints("  and 41 more\r\n");
    assert!(ran.out.lines().count() <= 24, "it fits a screen: {}", ran.out);
    bench.assert_untouched();
}

#[test]
fn many_groups_have_a_bar() {
    let bench = Bench::new();
    bench.write("groups.txt", list(50));
    let Some(ran) = on_a_terminal(&bench, "create -f groups.txt", &[], "") else { return };
    ran.exits(0).prints("of 50 groups").prints("group-49 is on 3 of 3 hosts");
    assert!((0..50).all(|number| bench.cluster.all_have(&format!("group-{number}"))));
}
