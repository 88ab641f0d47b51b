//! Full pipes and stopped terminals as standard output or standard error. They block no request, rollback or signal.

use std::fs::File;
use std::io::{self, PipeReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use cluster_client::testing::{Fault, Method};

use crate::bench::{Bench, PATIENCE, Ran, Running, list};
use crate::pty::OnTerminal;

/// A full pipe.
struct FullPipe {
    reader: PipeReader,
    filled: usize,
}

impl FullPipe {
    fn new() -> (Self, Stdio) {
        let (reader, writer) = io::pipe().unwrap();
        // Set O_NONBLOCK through a socket type, because std has no other safe call for it.
        let switch = UnixStream::from(OwnedFd::from(writer.try_clone().unwrap()));
        switch.set_nonblocking(true).unwrap();
        let mut file = File::from(OwnedFd::from(writer));
        let mut filled = 0;
        loop {
            match file.write(&[b'.'; 512]) {
                Ok(written) => filled += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        switch.set_nonblocking(false).unwrap();
        (FullPipe { reader, filled }, file.into())
    }

    /// Reads the bytes behind the filling.
    fn read(mut self) -> String {
        let mut text = String::new();
        self.reader.read_to_string(&mut text).unwrap();
        text.split_off(self.filled)
    }
}

fn fails_on_one_host(bench: &Bench) {
    bench.cluster.node(2).inject(Fault::answer(403).on(Method::Post).always());
}

/// Blocks until the group is deleted again from the two hosts that do not fail.
#[track_caller]
fn assert_rolled_back(bench: &Bench, group: &str) {
    for node in &bench.cluster.nodes()[..2] {
        assert!(node.wait_until(|node| node.count(Method::Delete) >= 1 && !node.has(group), PATIENCE));
    }
}

/// Returns the command with a log line for each request, which goes to standard error.
fn command(bench: &Bench, arguments: &[&str]) -> Command {
    bench.command(&[arguments, &["-vv"]].concat())
}

fn started(command: &mut Command, out: Stdio, err: Stdio) -> Running {
    let child = command.stdout(out).stderr(err).spawn().unwrap();
    // Close the copies of the pipes, so that their readers reach the end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Running::from(child)
}

#[test]
fn full_stderr_blocks_no_rollback_and_no_result() {
    let bench = Bench::new();
    fails_on_one_host(&bench);
    let (_pipe, stderr) = FullPipe::new();
    let ran = started(&mut command(&bench, &["create", "payments"]), Stdio::piped(), stderr).ends();
    ran.exits(1).prints("Rolled back: absent on 3 of 3 hosts.");
    assert!(bench.cluster.none_has("payments"));
}

#[test]
fn full_stderr_blocks_no_signal() {
    let bench = Bench::new();
    bench.cluster.node(1).inject(Fault::mute().on(Method::Post));
    let (_pipe, stderr) = FullPipe::new();
    let mut command = command(&bench, &["create", "payments", "--request-timeout", "1s"]);
    let mut create = started(&mut command, Stdio::piped(), stderr);
    assert!(bench.cluster.node(1).wait_until(|node| node.count(Method::Post) == 1, PATIENCE));
    create.signal("INT");
    create.ends().exits(130).prints("Rolled back: absent on 3 of 3 hosts.");
    assert!(bench.cluster.none_has("payments"));
}

#[test]
fn second_sigint_exits_even_if_stderr_is_full() {
    let bench = Bench::new();
    bench.cluster.node(1).inject(Fault::mute().on(Method::Post));
    let (pipe, stderr) = FullPipe::new();
    let mut command = command(&bench, &["create", "payments", "--request-timeout", "20s"]);
    let mut create = started(&mut command, Stdio::piped(), stderr);
    for node in [0, 2] {
        assert!(bench.cluster.node(node).wait_until(|node| node.has("payments"), PATIENCE));
    }
    create.signal("INT");
    // The message of the first signal cannot be read, so ask the kernel for pending signals.
    create.wait_until_no_signal_is_pending();
    create.signal("INT");
    create.ends().exits(130);
    assert!(!bench.cluster.none_has("payments"), "nothing was rolled back");
    drop(pipe);
    bench.cluster.node(1).clear_faults();
    bench.run(&["recover"]).exits(0);
    assert!(bench.cluster.none_has("payments"));
}

#[test]
fn full_stdout_and_stderr_block_no_rollback_and_a_signal_ends_the_wait() {
    let bench = Bench::new();
    fails_on_one_host(&bench);
    let ((_out, stdout), (_err, stderr)) = (FullPipe::new(), FullPipe::new());
    let mut create = started(&mut command(&bench, &["create", "payments"]), stdout, stderr);
    assert_rolled_back(&bench, "payments");
    create.signal("INT");
    create.ends().exits(130);
    bench.run(&["recover"]).exits(0).reports("nothing to recover");
}

#[test]
fn sigterm_rolls_back_and_exits_even_if_stdout_and_stderr_are_full() {
    let bench = Bench::new();
    bench.cluster.node(1).inject(Fault::mute().on(Method::Post));
    let ((_out, stdout), (_err, stderr)) = (FullPipe::new(), FullPipe::new());
    let mut command = command(&bench, &["create", "payments", "--request-timeout", "1s"]);
    let mut create = started(&mut command, stdout, stderr);
    assert!(bench.cluster.node(1).wait_until(|node| node.count(Method::Post) == 1, PATIENCE));
    create.signal("TERM");
    create.ends().exits(130);
    assert!(bench.cluster.none_has("payments"));
    bench.run(&["recover"]).exits(0).reports("nothing to recover");
}

#[test]
fn full_stdout_blocks_no_group_and_a_late_reader_gets_every_result() {
    const GROUPS: usize = 300;
    let bench = Bench::new();
    bench.write("groups.txt", list(GROUPS));
    let (pipe, stdout) = FullPipe::new();
    let mut command = bench.command(&["create", "-f", "groups.txt", "-o", "json"]);
    let create = started(&mut command, stdout, Stdio::piped());
    for node in bench.cluster.nodes() {
        assert!(node.wait_until(|node| node.groups().len() == GROUPS, PATIENCE), "{}", node.groups().len());
    }
    let reader = std::thread::spawn(move || pipe.read());
    create.ends().exits(0);
    let results = reader.join().unwrap();
    assert!(results.len() > 1 << 16, "they must not fit into a pipe at once: {}", results.len());
    let created = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["outcome"] == "created"
    };
    assert_eq!(results.lines().filter(|line| created(line)).count(), GROUPS);
}

#[test]
fn late_reader_gets_every_result_once_beyond_the_limit_of_unread_ones() {
    const GROUPS: usize = 9000;
    const KEPT: usize = 4 << 20;
    let bench = Bench::new();
    let one = bench.run(&["status", "group-8999", "-o", "json"]).exits(1).out.len() + 10;
    bench.write("groups.txt", list(GROUPS));
    let (pipe, stdout) = FullPipe::new();
    let mut command = bench.command(&["status", "-f", "groups.txt", "-o", "json"]);
    let status = started(&mut command, stdout, Stdio::piped());
    // Wait for the limit of unread results, after which no further group begins.
    let asked = |node: &cluster_client::testing::NodeState| node.count(Method::Get) > (KEPT / one) as u64;
    assert!(bench.cluster.node(0).wait_until(asked, PATIENCE));
    let reader = std::thread::spawn(move || pipe.read());
    status.ends().exits(1);
    let results = reader.join().unwrap();
    assert!(results.len() > KEPT, "{}", results.len());
    let group =
        |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["group"].as_str().unwrap().to_owned();
    let mut groups: Vec<String> = results.lines().map(group).collect();
    assert_eq!(groups.len(), GROUPS);
    groups.sort_unstable();
    groups.dedup();
    assert_eq!(groups.len(), GROUPS);
}

#[test]
fn unread_messages_are_dropped_and_counted() {
    let bench = Bench::new();
    bench.write("groups.txt", list(1000));
    let (pipe, stderr) = FullPipe::new();
    let mut command = command(&bench, &["create", "-f", "groups.txt"]);
    let create = started(&mut command, Stdio::null(), stderr);
    for node in bench.cluster.nodes() {
        assert!(node.wait_until(|node| node.groups().len() == 1000, PATIENCE));
    }
    let reader = std::thread::spawn(move || pipe.read());
    create.ends().exits(0);
    let messages = reader.join().unwrap();
    assert!(messages.contains(" messages were dropped: standard error was not read\n"), "{}", messages.len());
    assert!(messages.lines().count() < 10_000);
}

#[test]
fn stopped_terminal_blocks_no_rollback() {
    let bench = Bench::new();
    fails_on_one_host(&bench);
    let mut shell = OnTerminal::start_program(
        &bench,
        "sh",
        &["-c", "read go; \"$0\" create payments -vv", env!("CARGO_BIN_EXE_cluster-client")],
        &[],
        None,
    );
    // Type Ctrl-S first, so that the terminal is stopped when the command starts.
    shell.types("\x13go\n");
    let mut shell = shell.watched();
    assert_rolled_back(&bench, "payments");
    shell.types("\x11");
    shell.ends().exits(1).shows("Rolled back: absent on 3 of 3 hosts.");
}

#[test]
fn stopped_terminal_as_stderr_blocks_no_result() {
    let bench = Bench::new();
    fails_on_one_host(&bench);
    let (mut results, stdout) = io::pipe().unwrap();
    let mut shell = OnTerminal::start_program(
        &bench,
        "sh",
        &["-c", "read go; exec \"$0\" create payments -vv", env!("CARGO_BIN_EXE_cluster-client")],
        &[],
        Some(stdout.into()),
    );
    shell.types("\x13go\n");
    let (read, all) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        read.send(results.read_to_string(&mut text).map(|_| text))
    });
    let text = all.recv_timeout(PATIENCE).expect("the results end even if the messages are not read").unwrap();
    assert!(text.contains("Rolled back: absent on 3 of 3 hosts."), "{text}");
    shell.types("\x11");
    shell.watched().ends().exits(1);
}

#[test]
fn closed_stdout_and_stderr_cause_no_panic() {
    let bench = Bench::new();
    fails_on_one_host(&bench);
    let closed = || {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        writer
    };
    let ran = started(&mut command(&bench, &["create", "payments"]), closed().into(), closed().into()).ends();
    ran.exits(1);
    assert_rolled_back(&bench, "payments");
    let (mut messages, stderr) = io::pipe().unwrap();
    let both =
        Ran { out: String::new(), ..started(&mut bench.command(&["hosts"]), closed().into(), stderr.into()).ends() };
    both.exits(0);
    let mut text = String::new();
    messages.read_to_string(&mut text).unwrap();
    assert_eq!(text, "");
}
