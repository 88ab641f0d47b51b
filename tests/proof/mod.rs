//! Common parts of the proofs with real processes: the command as a process, its journal, and how rounds are
//! spread over threads.

#![allow(dead_code, reason = "each test file is a crate of its own and uses a part of this")]

pub(crate) mod port;
pub(crate) mod process;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cluster_client::testing::{Fault, Method, Node};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) use process::{Ran, Running};

/// Generous, because it only bounds how long a broken proof hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The command with a journal and settings of its own, and the hosts it works on.
pub(crate) struct Client {
    pub(crate) directory: TempDir,
    hosts: String,
}

impl Client {
    /// Requests and settling take `request_timeout` and `settle`, retries wait a few milliseconds.
    pub(crate) fn new(hosts: &[String], request_timeout: Duration, settle: Duration) -> Self {
        let client = Client { directory: tempfile::tempdir().unwrap(), hosts: hosts.join(",") };
        client.configure(request_timeout, settle);
        std::fs::create_dir(client.journal()).unwrap();
        client
    }

    pub(crate) fn configure(&self, request_timeout: Duration, settle: Duration) {
        let text = format!(
            "request_timeout = \"{}ms\"\nsettle = \"{}ms\"\nattempts = 2\nfirst_delay = \"2ms\"\nmax_delay = \"10ms\"\n\
             rollback_timeout = \"5s\"\n",
            request_timeout.as_millis(),
            settle.as_millis()
        );
        std::fs::write(self.directory.path().join("settings.toml"), text).unwrap();
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.directory.path().join("journal")
    }

    /// The file that exists as long as an operation on the group is unfinished.
    pub(crate) fn intent(&self, group: &str) -> PathBuf {
        self.journal().join(format!("{group}.intent"))
    }

    pub(crate) fn arguments(&self, words: &[&str]) -> Vec<String> {
        let words = words.iter().map(ToString::to_string);
        let path = |path: PathBuf| path.to_str().unwrap().to_owned();
        let settings = path(self.directory.path().join("settings.toml"));
        let common = ["--hosts", &self.hosts, "--journal", &path(self.journal()), "--config", &settings, "-o", "json"];
        words.chain(common.map(str::to_owned)).collect()
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(self.arguments(words));
        command
    }

    /// The command behind others, such as strace with its options.
    pub(crate) fn command_under(&self, wrapper: &[&str], words: &[&str]) -> Command {
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).arg(binary()).args(self.arguments(words));
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        Running::start(self.command(words)).end(PATIENCE)
    }

    /// Kills a create while the POST to `mute` has no answer. Returns its journal entry.
    pub(crate) fn interrupt_create(&self, group: &str, mute: &Node) -> Vec<u8> {
        mute.inject(Fault::mute().on(Method::Post).always());
        let running = Running::start(self.command(&["create", group, "--request-timeout", "60s"]));
        assert!(mute.wait_until(|state| state.count(Method::Post) == 1, PATIENCE), "no POST came");
        running.end_or_kill(Duration::ZERO);
        std::fs::read(self.intent(group)).expect("a create at work has its intent in the journal")
    }

    /// The names in the journal, and those that end in `.intent` alone.
    pub(crate) fn files(&self) -> (Vec<String>, Vec<String>) {
        let mut all: Vec<String> = std::fs::read_dir(self.journal())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        all.sort();
        let intents = all.iter().filter(|name| name.ends_with(".intent")).cloned().collect();
        (all, intents)
    }

    pub(crate) fn empty_journal(&self) {
        for name in self.files().0 {
            std::fs::remove_file(self.journal().join(name)).unwrap();
        }
    }
}

pub(crate) fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_cluster-client")
}

/// Whether system calls can be watched and tampered with here. Says so where not.
pub(crate) fn strace_works() -> bool {
    let trial = Command::new("strace").args(["-f", "-qq", "-o", "/dev/null", "true"]).output();
    let works = trial.is_ok_and(|ran| ran.status.success());
    if !works {
        println!("skipped: strace is missing or may not trace here (apt-get install strace)");
    }
    works
}

/// Acknowledged operations: the complete lines of standard output.
pub(crate) fn all_acknowledged(ran: &Ran) -> Vec<Value> {
    let (whole, _) = ran.stdout.rsplit_once('\n').unwrap_or_default();
    whole.lines().map(|line| serde_json::from_str(line).expect("one whole line of JSON")).collect()
}

pub(crate) fn acknowledged(ran: &Ran) -> Option<Value> {
    all_acknowledged(ran).pop()
}

pub(crate) fn outcome(line: &Value) -> &str {
    line["outcome"].as_str().unwrap_or_default()
}

/// Runs `work` for each item on `lanes` threads; each has a lane of its own, which `open` makes.
pub(crate) fn spread<T: Sync, L>(
    items: &[T],
    lanes: usize,
    open: impl Fn(usize) -> L + Sync,
    work: impl Fn(&mut L, &T) + Sync,
) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for number in 0..lanes.min(items.len()) {
            let (next, open, work) = (&next, &open, &work);
            scope.spawn(move || {
                let mut lane = open(number);
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(&mut lane, item);
                }
            });
        }
    });
}

/// Counts under names, from many threads, and sentences that accuse.
#[derive(Default)]
pub(crate) struct Figures {
    counts: Mutex<BTreeMap<String, u64>>,
    times: Mutex<BTreeMap<String, Vec<Duration>>>,
    violations: Mutex<Vec<String>>,
}

impl Figures {
    pub(crate) fn count(&self, name: impl Into<String>) {
        *self.counts.lock().unwrap().entry(name.into()).or_default() += 1;
    }

    pub(crate) fn add(&self, name: impl Into<String>, number: u64) {
        *self.counts.lock().unwrap().entry(name.into()).or_default() += number;
    }

    /// Notes how long something took.
    pub(crate) fn time(&self, name: impl Into<String>, time: Duration) {
        self.times.lock().unwrap().entry(name.into()).or_default().push(time);
    }

    pub(crate) fn get(&self, name: &str) -> u64 {
        self.counts.lock().unwrap().get(name).copied().unwrap_or_default()
    }

    /// Notes a violation where `holds` is false.
    pub(crate) fn expect(&self, holds: bool, accusation: impl FnOnce() -> String) {
        if !holds {
            let text = accusation();
            println!("VIOLATION {text}");
            self.violations.lock().unwrap().push(text);
        }
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.violations.lock().unwrap().clone()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in &*self.counts.lock().unwrap() {
            writeln!(f, "  {count:>7}  {name}")?;
        }
        for (name, times) in &mut *self.times.lock().unwrap() {
            times.sort();
            let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
            writeln!(f, "  {:>7}  {name}: median {median:.1?}, longest {longest:.1?}", times.len())?;
        }
        writeln!(f, "  {:>7}  violations", self.violations.lock().unwrap().len())
    }
}

/// A number from the environment.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Path of a node's data file.
pub(crate) fn data_file(directory: &Path, number: usize) -> PathBuf {
    directory.join(format!("node{number}.groups"))
}
