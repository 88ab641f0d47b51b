//! SIGINT, SIGTERM and SIGHUP: the first signal cancels, and a second SIGINT exits at once.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cluster_client::testing::{Fault, Method};

use crate::bench::{Bench, PATIENCE, Running, list, started_plainly, text};
use crate::pty::OnTerminal;

/// Makes one node never answer a POST.
fn mute_one_node(bench: &Bench) {
    bench.cluster.node(1).inject(Fault::mute().on(Method::Post));
}

fn wait_for_the_posts(bench: &Bench) {
    assert!(bench.cluster.node(1).wait_until(|node| node.count(Method::Post) == 1, PATIENCE));
    for node in [0, 2] {
        assert!(bench.cluster.node(node).wait_until(|node| node.has("payments"), PATIENCE));
    }
}

#[test]
fn first_signal_rolls_a_create_back_and_exits_130() {
    for signal in ["INT", "TERM"] {
        let bench = Bench::new();
        mute_one_node(&bench);
        let mut create = bench.start(&["create", "payments", "--request-timeout", "1s"]);
        wait_for_the_posts(&bench);
        create.signal(signal);
        create.wait_until_it_reports("interrupted: rolling back");
        let ran = create.ends().exits(130);
        ran.prints("not created: the operation was cancelled. Rolled back: absent on 3 of 3 hosts.");
        assert!(bench.cluster.none_has("payments"), "{signal}");
        bench.run(&["recover"]).exits(0).reports("nothing to recover");
    }
}

/// Asserts that no node has the group, and that the journal is empty.
#[track_caller]
fn assert_rolled_back(bench: &Bench) {
    assert!(bench.cluster.none_has("payments"), "{:?}", bench.cluster.holders("payments"));
    bench.cluster.nodes().iter().for_each(cluster_client::testing::Node::clear_faults);
    bench.run(&["recover"]).exits(0).reports("nothing to recover: ");
}

#[test]
fn second_sighup_or_sigterm_does_not_exit_at_once() {
    for (first, second) in [("HUP", "HUP"), ("TERM", "TERM"), ("HUP", "TERM"), ("INT", "HUP")] {
        let bench = Bench::new();
        mute_one_node(&bench);
        let mut create = bench.start(&["create", "payments", "--request-timeout", "1500ms"]);
        wait_for_the_posts(&bench);
        create.signal(first);
        create.wait_until_it_reports("interrupted: rolling back");
        create.signal(second);
        create.wait_until_it_reports("interrupted: still rolling back");
        let ran = create.ends().exits(130);
        ran.prints("Rolled back: absent on 3 of 3 hosts.");
        assert_rolled_back(&bench);
    }
}

#[test]
fn second_sigint_after_sigterm_exits_at_once() {
    let bench = Bench::new();
    mute_one_node(&bench);
    let mut create = bench.start(&["create", "payments", "--request-timeout", "20s"]);
    wait_for_the_posts(&bench);
    create.signal("TERM");
    create.wait_until_it_reports("interrupted: rolling back; Ctrl-C twice to leave at once");
    create.signal("INT");
    create.wait_until_it_reports("interrupted: still rolling back; once more to leave at once");
    create.signal("INT");
    create.ends().exits(130).reports("holds: payments.");
}

/// Returns a create that is slow and succeeds.
fn slow_create(bench: &Bench) -> Vec<&'static str> {
    bench.cluster.node(1).inject(Fault::delay_answer(Duration::from_millis(900)).on(Method::Post));
    vec![env!("CARGO_BIN_EXE_cluster-client"), "create", "payments"]
}

/// Returns the words as a command with the directory and variables of the bench.
fn words(bench: &Bench, words: &[&str]) -> Command {
    let surroundings = bench.command(&[]);
    let start = started_plainly(words[0]);
    let mut command = Command::new(start[0]);
    command
        .args(&start[1..])
        .args(&words[1..])
        .current_dir(surroundings.get_current_dir().unwrap())
        .env_clear()
        .stdin(Stdio::null());
    command.envs(surroundings.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

#[test]
fn nohup_keeps_sighup_ignored() {
    let bench = Bench::new();
    let create = [vec!["nohup"], slow_create(&bench)].concat();
    let mut create = Running::of(&mut words(&bench, &create));
    wait_for_the_posts(&bench);
    create.signal("HUP");
    create.ends().exits(0).prints("payments is on 3 of 3 hosts");
    assert!(bench.cluster.all_have("payments"));
}

#[test]
fn sigint_stays_ignored_in_the_background_of_a_shell_and_sigterm_does_not() {
    for (signal, rolled_back) in [("INT", false), ("TERM", true)] {
        let bench = Bench::new();
        let script = r#""$0" "$@" & echo "$!"; wait "$!"; echo "exit $?""#;
        let create = [vec!["sh", "-c", script], slow_create(&bench)].concat();
        let mut shell = Running::of(&mut words(&bench, &create));
        wait_for_the_posts(&bench);
        let mut process = String::new();
        let mut byte = [0];
        while !process.ends_with('\n') {
            shell.child().stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
            process.push(char::from(byte[0]));
        }
        assert!(Command::new("kill").args(["-s", signal, process.trim()]).status().unwrap().success());
        let ran = shell.ends().exits(0);
        if rolled_back {
            ran.prints("exit 130");
            assert_rolled_back(&bench);
        } else {
            ran.prints("payments is on 3 of 3 hosts").prints("exit 0");
            assert!(bench.cluster.all_have("payments"));
        }
    }
}

#[test]
fn closing_the_terminal_rolls_a_create_back() {
    let bench = Bench::new();
    mute_one_node(&bench);
    let create = OnTerminal::start(&bench, &["create", "payments", "--request-timeout", "1s"]);
    wait_for_the_posts(&bench);
    let mut create = create.hang_up();
    let status = create.wait().unwrap();
    assert_eq!(status.code(), Some(130), "{status}");
    assert_rolled_back(&bench);
}

#[test]
fn closing_the_terminal_of_a_shell_that_forwards_sighup_rolls_a_create_back() {
    let bench = Bench::new();
    if !words(&bench, &["bash", "--version"]).output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: there is no bash, which sends its jobs a SIGHUP of its own");
        return;
    }
    mute_one_node(&bench);
    // Read a pipe to its end, because the test is not the parent of the command.
    let pipe = bench.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut shell = OnTerminal::start_program(&bench, "bash", &["--norc", "--noprofile", "-i"], &[], None);
    let binary = env!("CARGO_BIN_EXE_cluster-client");
    shell.types(&format!("'{binary}' create payments --request-timeout 1s >'{}'\n", text(&pipe)));
    let results = std::thread::spawn(move || std::fs::read_to_string(pipe).unwrap());
    wait_for_the_posts(&bench);
    let mut shell = shell.hang_up();
    shell.wait().unwrap();
    let results = results.join().unwrap();
    assert!(results.contains("Rolled back: absent on 3 of 3 hosts."), "{results}");
    assert_rolled_back(&bench);
}

#[test]
fn signal_ends_a_retry_delay_at_once() {
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
fn second_sigint_exits_at_once_and_prints_the_journal_entries() {
    let bench = Bench::new();
    mute_one_node(&bench);
    let mut create = bench.start(&["create", "payments", "--request-timeout", "10m", "--journal", "notes"]);
    wait_for_the_posts(&bench);
    create.signal("INT");
    create.wait_until_it_reports("interrupted: rolling back; once more to leave at once");
    create.signal("INT");
    let ran = create.ends().exits(130);
    let place = bench.path("notes").display().to_string();
    ran.reports(&format!("left at once. The journal in {place} holds: payments.\nNext: cluster-client recover "));
    assert!(!bench.cluster.none_has("payments"), "nothing was rolled back");

    bench.cluster.node(1).clear_faults();
    bench.run(&["recover", "--journal", "notes"]).exits(0);
    assert!(bench.cluster.none_has("payments"));
}

#[test]
fn second_sigint_without_a_journal_names_status() {
    let bench = Bench::new();
    mute_one_node(&bench);
    let mut create = bench.start(&["create", "payments", "--request-timeout", "10m", "--no-journal"]);
    wait_for_the_posts(&bench);
    create.signal("INT");
    create.wait_until_it_reports("interrupted:");
    create.signal("INT");
    create
        .ends()
        .exits(130)
        .reports("There is no journal; a status shows the state of the hosts.\nNext: cluster-client status ");
    bench.run(&["repair", "payments", "--to", "absent"]).exits(0);
    assert!(bench.cluster.none_has("payments"));
}

#[test]
fn completed_operation_keeps_its_exit_code_after_a_signal() {
    let bench = Bench::new();
    mute_one_node(&bench);
    // Send the signal during the status. All hosts answer afterwards.
    for node in bench.cluster.nodes() {
        node.insert("payments");
    }
    bench.cluster.node(1).inject(Fault::delay_answer(Duration::from_millis(800)).on(Method::Get));
    let mut status = bench.start(&["status", "payments"]);
    for node in bench.cluster.nodes() {
        assert!(node.wait_until(|node| node.count(Method::Get) == 1, PATIENCE));
    }
    status.signal("INT");
    status.wait_until_it_reports("interrupted: waiting for the requests under way");
    status.ends().exits(0);
    assert!(bench.cluster.all_have("payments"));
}

#[test]
fn signal_begins_no_further_group() {
    let bench = Bench::new();
    bench.configure_also("in_flight = 2\n");
    bench.cluster.node(1).inject(Fault::mute().on(Method::Post));
    bench.write("groups.txt", list(100));
    // One group blocks. The other slot continues until the limit of groups taken ahead.
    let mut create = bench.start(&["create", "-f", "groups.txt", "--request-timeout", "1s", "-o", "json"]);
    assert!(bench.cluster.node(1).wait_until(|node| node.count(Method::Post) >= 1, PATIENCE));
    create.signal("INT");
    let ran = create.ends().exits(130).reports("groups were not begun");
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
    bench.run(&["recover"]).exits(0).reports("nothing to recover");
}
