//! The surroundings of a test: a cluster of embedded nodes, a directory, and the command.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use cluster_client::testing::{Cluster, Fault, Method};
use serde_json::Value;
use tempfile::TempDir;

use crate::schema::assert_described;

/// Time after which a test fails instead of hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Short delays. Tests that need others add their own configuration.
const CONFIGURATION: &str = "\
first_delay = \"2ms\"
max_delay = \"8ms\"
request_timeout = \"5s\"
settle = \"20ms\"
";

pub(crate) struct Bench {
    pub(crate) cluster: Cluster,
    directory: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::of(3)
    }

    pub(crate) fn of(nodes: usize) -> Self {
        let bench = Bench { cluster: Cluster::start(nodes).unwrap(), directory: tempfile::tempdir().unwrap() };
        bench.configure(CONFIGURATION);
        bench
    }

    /// Writes the configuration file into the directory of the command.
    pub(crate) fn configure(&self, text: &str) {
        self.write("cluster-client.toml", text);
    }

    /// Adds lines to the default configuration of the tests.
    pub(crate) fn configure_also(&self, text: &str) {
        self.configure(&format!("{CONFIGURATION}{text}"));
    }

    /// Writes a file that only its owner can change, with any umask.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        #[cfg(unix)]
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        path
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.path("state/cluster-client")
    }

    pub(crate) fn urls(&self) -> String {
        self.cluster.urls().join(",")
    }

    /// Returns the options of a recovery that the command prints as the next one.
    pub(crate) fn recover_options(&self) -> String {
        format!("--config {}", text(&self.path("cluster-client.toml")))
    }

    /// Returns the options of any other command that the command prints as the next one.
    pub(crate) fn options(&self) -> String {
        format!("--hosts {} {}", self.urls(), self.recover_options())
    }

    /// Returns the command with these arguments, and with no other environment variables.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let words = started_plainly(env!("CARGO_BIN_EXE_cluster-client"));
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .args(arguments)
            .current_dir(self.directory.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOSTS", self.urls())
            .env("XDG_STATE_HOME", self.path("state"))
            .stdin(Stdio::null());
        // The engine that this run of the tests is about.
        if let Some(engine) = std::env::var_os("CLUSTER_CLIENT_ENGINE") {
            command.env("CLUSTER_CLIENT_ENGINE", engine);
        }
        command
    }

    /// Runs the command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&mut self.command(arguments))
    }

    /// Starts the command, with pipes for its output.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        Running::of(&mut self.command(arguments))
    }

    /// Asserts that no node has received a request.
    pub(crate) fn assert_untouched(&self) {
        for node in self.cluster.nodes() {
            assert_eq!(node.log(), [], "{} was sent something", node.url());
        }
    }

    /// Returns the number of requests of this method on all nodes.
    pub(crate) fn count(&self, method: Method) -> u64 {
        self.cluster.nodes().iter().map(|node| node.count(method)).sum()
    }

    /// Returns the files of the journal, locks included.
    pub(crate) fn journal_entries(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.journal()) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// Makes this node fail after its first GET. It applies each POST and closes the connection. It answers 503 to others.
    pub(crate) fn fail_after_the_probe(&self, node: usize) {
        let node = self.cluster.node(node);
        node.inject(Fault::delay(Duration::ZERO).on(Method::Get));
        node.inject(Fault::answer(503).on(Method::Get).always());
        node.inject(Fault::drop_connection().after_applying().on(Method::Post).always());
        node.inject(Fault::answer(503).on(Method::Delete).always());
    }
}

/// Returns the words that start a program with no signal ignored. A child inherits ignored signals, such as those of a
/// shell's `&`.
pub(crate) fn started_plainly(program: &str) -> Vec<&str> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    // SIGHUP is 1, SIGINT 2 and SIGTERM 15.
    if mask.unwrap_or(0) & 0b100_0000_0000_0011 == 0 {
        return vec![program];
    }
    vec!["env", "--default-signal=HUP,INT,TERM", program]
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn of(command: &mut Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::from(Running(Some(command.spawn().unwrap())).end())
    }

    /// Runs the command with this standard input.
    pub(crate) fn with_input(command: &mut Command, input: &[u8]) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = Running(Some(command.spawn().unwrap()));
        // Ignore the error: a command that fails early does not read its input.
        let _ = running.child().stdin.take().unwrap().write_all(input);
        Self::from(running.end())
    }

    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    #[track_caller]
    pub(crate) fn reports(self, text: &str) -> Self {
        assert!(self.err.contains(text), "not reported: {text}\n{self:#?}");
        self
    }

    #[track_caller]
    pub(crate) fn prints(self, text: &str) -> Self {
        assert!(self.out.contains(text), "not printed: {text}\n{self:#?}");
        self
    }

    /// Returns the results, one object per line. The schema describes each of them.
    #[track_caller]
    pub(crate) fn json(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let lines: Vec<Value> = self.out.lines().map(parse).collect();
        lines.iter().for_each(assert_described);
        lines
    }

    /// Returns the table, with `T` for each time and a single blank between columns.
    pub(crate) fn table(&self) -> String {
        timeless(&self.out)
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Ran {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A running command. Dropping it kills and reaps the process.
pub(crate) struct Running(Option<Child>);

impl From<Child> for Running {
    fn from(child: Child) -> Self {
        Running(Some(child))
    }
}

impl Running {
    pub(crate) fn of(command: &mut Command) -> Self {
        Running(Some(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()))
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        self.0.as_mut().unwrap()
    }

    /// Sends a signal, by its name.
    pub(crate) fn signal(&mut self, name: &str) {
        let process = self.child().id().to_string();
        assert!(Command::new("kill").args(["-s", name, &process]).status().unwrap().success());
    }

    /// Blocks until every signal that was sent has been delivered.
    pub(crate) fn wait_until_no_signal_is_pending(&mut self) {
        let status = format!("/proc/{}/status", self.child().id());
        let pending = || {
            let status = std::fs::read_to_string(&status).unwrap();
            let masks = status.lines().filter_map(|line| line.strip_prefix("ShdPnd:").or(line.strip_prefix("SigPnd:")));
            masks.map(str::trim).any(|mask| mask.contains(|digit| digit != '0'))
        };
        while pending() {
            std::thread::yield_now();
        }
    }

    pub(crate) fn kill(&mut self) {
        self.child().kill().unwrap();
        self.child().wait().unwrap();
    }

    /// Blocks until the command has written a line with this text to standard error.
    pub(crate) fn wait_until_it_reports(&mut self, text: &str) {
        let watchdog = Watchdog::of(self.child());
        let stderr = self.child().stderr.as_mut().unwrap();
        let mut line = Vec::new();
        let mut byte = [0];
        // Read byte by byte, so that `end` gets the rest.
        while !String::from_utf8_lossy(&line).contains(text) {
            if byte == *b"\n" {
                line.clear();
            }
            assert_eq!(stderr.read(&mut byte).unwrap(), 1, "it never reported {text:?}");
            line.push(byte[0]);
        }
        watchdog.end();
    }

    /// Reads the first line of standard output.
    pub(crate) fn first_line(&mut self) -> String {
        let mut line = String::new();
        BufReader::new(self.child().stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Blocks until the command ends. Kills it after [`PATIENCE`], so that it has no exit code.
    pub(crate) fn end(mut self) -> Output {
        let watchdog = Watchdog::of(self.child());
        let output = self.0.take().unwrap().wait_with_output().unwrap();
        watchdog.end();
        output
    }

    pub(crate) fn ends(self) -> Ran {
        Ran::from(self.end())
    }
}

/// A thread that kills a process after [`PATIENCE`], so that a test fails instead of hanging.
struct Watchdog {
    ended: mpsc::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Watchdog {
    fn of(child: &Child) -> Self {
        let process = child.id().to_string();
        let (ended, end) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            if end.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                let _ = Command::new("kill").args(["-s", "KILL", &process]).status();
            }
        });
        Watchdog { ended, thread }
    }

    fn end(self) {
        self.ended.send(()).unwrap_or_default();
        self.thread.join().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Replaces times and joins columns: `created 41 ms   verified` becomes `created T verified`.
pub(crate) fn timeless(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let mut words: Vec<String> = Vec::new();
        for word in line.split_whitespace() {
            let (bare, tail) = word.split_at(word.trim_end_matches([')', '.']).len());
            match words.last_mut() {
                Some(last) if matches!(bare, "ms" | "s") && is_number(last) => {
                    let open = if last.starts_with('(') { "(" } else { "" };
                    *last = format!("{open}T{tail}");
                }
                _ => words.push(word.to_owned()),
            }
        }
        words.join(" ")
    });
    lines.map(|line| line + "\n").collect()
}

fn is_number(word: &str) -> bool {
    word.trim_start_matches(['(', '<']).parse::<f64>().is_ok()
}

/// Returns `group-0`, `group-1` and so on, one per line.
pub(crate) fn list(groups: usize) -> String {
    (0..groups).map(|number| format!("group-{number}")).collect::<Vec<_>>().join("\n")
}

/// Returns the authority of a node's URL, which tables show.
pub(crate) fn name(bench: &Bench, node: usize) -> String {
    bench.cluster.node(node).url().trim_start_matches("http://").to_owned()
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
