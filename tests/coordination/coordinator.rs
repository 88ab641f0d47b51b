//! A coordinator: a process of its own with the library inside. It is told what to do on its standard input, one
//! operation a line, does each on a thread of its own, and writes one line of JSON for each result.
//!
//! The process is this test binary again, with the ignored test [`serve`] alone. Instead, a coordinator can be the
//! command: its process then only keeps the network namespace.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use cluster_client::{ClusterClient, Credentials, Engine, Report, RetryPolicy};
use serde_json::{Value, json};

use crate::command::Commands;
use crate::guard;
use crate::mutants;
use crate::network::{self, Cables};
use crate::proof::process::signal;

pub(crate) const TTL: Duration = Duration::from_secs(3);
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_millis(500);
/// Longer than any request is late on purpose.
pub(crate) const SETTLE: Duration = Duration::from_millis(700);
pub(crate) const LONGEST_DELAY: Duration = Duration::from_millis(550);
pub(crate) const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(6);

const PROGRAM: [&str; 5] = ["--exact", "coordinator::serve", "--ignored", "--nocapture", "--test-threads=1"];
const FIRST_DELAY: Duration = Duration::from_millis(5);
const HOSTS: &str = "COORDINATOR_HOSTS";
const JOURNAL: &str = "COORDINATOR_JOURNAL";
const ENGINE: &str = "COORDINATOR_ENGINE";
const NUMBER: &str = "COORDINATOR_NUMBER";
/// Name of the request header with the number of the coordinator.
pub(crate) const HEADER: &str = "coordinator";
/// Begins each line of a coordinator. The test runner writes lines of its own.
const RESULT: &str = "result ";

/// How a coordinator is started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) number: usize,
    pub(crate) hosts: Vec<String>,
    /// The members of etcd.
    pub(crate) journal: String,
    pub(crate) multiplexed: bool,
    /// A mistake of [`mutants`] on purpose.
    pub(crate) mutant: Option<String>,
    /// Whether etcd asks for a user.
    pub(crate) auth: bool,
    /// Whether it is the command.
    pub(crate) command: bool,
}

impl Settings {
    pub(crate) fn engine(&self) -> &'static str {
        if self.multiplexed { "multiplexed" } else { "threads" }
    }
}

/// The result of one operation.
#[derive(Clone)]
pub(crate) struct Outcome {
    pub(crate) line: Value,
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.line)
    }
}

impl Outcome {
    pub(crate) fn word(&self) -> &str {
        self.line["outcome"].as_str().unwrap_or_default()
    }

    /// Outcome and cause, also of the recovery before it.
    pub(crate) fn in_short(&self) -> String {
        let of = |line: &Value| format!("{} {}", line["outcome"], line["cause"]["message"]);
        let lists = ["settled", "unsettled"].map(|name| self.line.get(name).map_or(String::new(), Value::to_string));
        format!("{}, earlier {} {}", of(&self.line), of(&self.line["earlier"]), lists.join(" "))
    }

    pub(crate) fn cause(&self) -> &str {
        self.line["cause"]["kind"].as_str().unwrap_or_default()
    }
}

/// The process, seen from the test. Dropping it ends it.
pub(crate) struct Coordinator {
    process: u32,
    commands: Option<Commands>,
    /// The cables of its network namespace. `None` without one.
    pub(crate) cables: Option<Cables>,
    child: Mutex<Child>,
    stdin: Mutex<Option<ChildStdin>>,
    results: Arc<Results>,
    next: AtomicU64,
}

#[derive(Default)]
struct Results {
    all: Mutex<(BTreeMap<u64, Outcome>, bool)>,
    changed: Condvar,
}

impl Coordinator {
    pub(crate) fn start(settings: &Settings) -> Self {
        let program = std::env::current_exe().unwrap();
        let (program, arguments) =
            if settings.command { ("cat", &[][..]) } else { (program.to_str().unwrap(), &PROGRAM[..]) };
        let apart = network::addresses().is_some();
        let mut command = if apart { network::apart(program) } else { Command::new(program) };
        command.args(arguments);
        command.env(HOSTS, settings.hosts.join(",")).env(JOURNAL, &settings.journal);
        command.env(ENGINE, settings.engine());
        command.env(mutants::VARIABLE, settings.mutant.as_deref().unwrap_or_default());
        command.env(mutants::AUTH, if settings.auth { "yes" } else { "" }).env(NUMBER, settings.number.to_string());
        std::os::unix::process::CommandExt::process_group(&mut command, guard::group());
        command.env_remove("RUST_LOG").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap();
        let results = Arc::new(Results::default());
        let (reading, mut stdout) = (Arc::clone(&results), BufReader::new(child.stdout.take().unwrap()));
        let cables = apart.then(|| {
            stdout.read_line(&mut String::new()).unwrap();
            let cables = Cables::lay(child.id());
            child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
            cables
        });
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                reading.note(&line);
            }
            reading.all.lock().unwrap().1 = true;
            reading.changed.notify_all();
        });
        let (stdin, process) = (Mutex::new(child.stdin.take()), child.id());
        let commands = settings.command.then(|| Commands::new(settings, SETTLE));
        let (child, next) = (Mutex::new(child), AtomicU64::new(1));
        Coordinator { process, commands, cables, child, stdin, results, next }
    }

    /// The process that works, or worked last.
    pub(crate) fn pid(&self) -> u32 {
        self.commands.as_ref().map(Commands::pid).filter(|pid| *pid != 0).unwrap_or(self.process)
    }

    /// Begins an operation of a program with the library: `create`, `delete` or `recover`. Returns its number.
    pub(crate) fn begin(&self, word: &str, group: &str) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        // A coordinator that was killed reads nothing. Its operation has no result then.
        if let Some(stdin) = self.stdin.lock().unwrap().as_mut() {
            let _ = stdin.write_all(format!("{number} {word} {group}\n").as_bytes());
        }
        number
    }

    /// The result of an operation, or nothing if the process ended before, or the time.
    pub(crate) fn result(&self, number: u64, patience: Duration) -> Option<Outcome> {
        let all = self.results.all.lock().unwrap();
        let pending = |all: &mut (BTreeMap<u64, Outcome>, bool)| !all.1 && !all.0.contains_key(&number);
        let (all, _) = self.results.changed.wait_timeout_while(all, patience, pending).unwrap();
        all.0.get(&number).cloned()
    }

    pub(crate) fn run(&self, word: &str, group: &str, patience: Duration) -> Option<Outcome> {
        if let Some(commands) = &self.commands {
            let words: &[&str] = match word {
                "recover" => &["recover"],
                "delete" => &["delete", group, "--yes"],
                _ => &[word, group],
            };
            return commands.run(words, self.cables.is_some().then_some(self.process), patience);
        }
        let number = self.begin(word, group);
        self.result(number, patience)
    }

    pub(crate) fn pause(&self, paused: bool) {
        let name = if paused { "STOP" } else { "CONT" };
        if let Some(commands) = &self.commands {
            return commands.signal(name);
        }
        let mut child = self.child.lock().unwrap();
        // Once it is reaped, its id may be another process's.
        if matches!(child.try_wait(), Ok(None)) {
            signal(name, &self.process.to_string());
        }
    }

    pub(crate) fn kill(&self) {
        if let Some(commands) = &self.commands {
            commands.kill();
        }
        let mut child = self.child.lock().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }

    pub(crate) fn runs(&self) -> bool {
        matches!(self.child.lock().unwrap().try_wait(), Ok(None))
    }

    /// Lets it finish and end by itself. Whether it did.
    pub(crate) fn end(&self, patience: Duration) -> bool {
        *self.stdin.lock().unwrap() = None;
        let all = self.results.all.lock().unwrap();
        let (all, waited) = self.results.changed.wait_timeout_while(all, patience, |all| !all.1).unwrap();
        drop(all);
        !waited.timed_out() && self.child.lock().unwrap().wait().is_ok_and(|status| status.success())
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Results {
    fn note(&self, line: &str) {
        // The test runner writes before the first one.
        let Some((number, line)) = line.split_once(RESULT).and_then(|(_, line)| line.split_once(' ')) else { return };
        let (number, line) = (number.parse().unwrap(), serde_json::from_str(line).unwrap());
        self.all.lock().unwrap().0.insert(number, Outcome { line });
        self.changed.notify_all();
    }
}

/// The other side: the process itself.
#[test]
#[ignore = "the process of a coordinator"]
fn serve() {
    let Ok(journal) = std::env::var(JOURNAL) else { return };
    let hosts = std::env::var(HOSTS).unwrap();
    let engine = if std::env::var(ENGINE).unwrap() == "threads" { Engine::Threads } else { Engine::Multiplexed };
    let retry = || RetryPolicy::new().with_attempts(3).with_first_delay(FIRST_DELAY).with_max_delay(10 * FIRST_DELAY);
    let client = ClusterClient::builder()
        .hosts(hosts.split(','))
        .credentials(Credentials::new().header(HEADER, std::env::var(NUMBER).unwrap()))
        .allow_plain_http(true)
        .custom_journal(mutants::journal(&journal))
        .request_timeout(REQUEST_TIMEOUT)
        .settle(SETTLE)
        .rollback_timeout(ROLLBACK_TIMEOUT)
        .operation_timeout(Duration::from_secs(12))
        .retry(retry())
        .rollback_retry(retry())
        .engine(engine)
        .build()
        .unwrap();
    thread::scope(|scope| {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let client = &client;
            scope.spawn(move || {
                let mut words = line.splitn(3, ' ');
                let [number, word, group] = std::array::from_fn(|_| words.next().unwrap_or_default());
                let result = operate(client, word, group);
                let mut out = std::io::stdout().lock();
                // A line in one write: another operation's stays whole.
                let _ = out.write_all(format!("{RESULT}{number} {result}\n").as_bytes()).and_then(|()| out.flush());
            });
        }
    });
}

fn operate(client: &ClusterClient, word: &str, group: &str) -> Value {
    match word {
        "create" => line(client.create_group(group)),
        "delete" => line(client.delete_group(group)),
        "recover" => match client.recover() {
            Ok(recovery) => json!({
                "outcome": if recovery.is_complete() { "recovered" } else { "unsettled" },
                "settled": recovery.settled.iter().map(|report: &Report| report.group.as_str()).collect::<Vec<_>>(),
                "unsettled": recovery.unsettled,
            }),
            Err(error) => json!(error),
        },
        _ => panic!("no such operation: {word}"),
    }
}

fn line<T: serde_core::Serialize, E: serde_core::Serialize>(result: Result<T, E>) -> Value {
    match result {
        Ok(report) => json!(report),
        Err(error) => json!(error),
    }
}
