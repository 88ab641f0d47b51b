//! The command as a coordinator: a process for each operation, one after the other, with a configuration of its own.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, mpsc};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::coordinator::{HEADER, Outcome, REQUEST_TIMEOUT, ROLLBACK_TIMEOUT, Settings, TTL};
use crate::etcd::{PASSWORD, USER};
use crate::lane::PREFIX;
use crate::proof::binary;
use crate::proof::process::signal;
use crate::{guard, network};

const CONFIGURATION: &str = "cluster-client.toml";
const PASSWORD_FILE: &str = "password";
const MESSAGES: &str = "messages";
const NUMBER: &str = "NUMBER";

pub(crate) struct Commands {
    settings: Settings,
    folder: TempDir,
    work: Mutex<Work>,
    /// The last process. 0 before the first.
    last: AtomicU32,
}

#[derive(Default)]
struct Work {
    /// The process at work.
    running: Option<Child>,
    /// Nothing begins any more.
    is_killed: bool,
}

impl Commands {
    /// A settle time other than [`SETTLE`] is for a recovery of what the system sends after a kill.
    pub(crate) fn new(settings: &Settings, settle: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(CONFIGURATION), configuration(settings, settle)).unwrap();
        std::fs::write(folder.path().join(PASSWORD_FILE), PASSWORD).unwrap();
        Commands { settings: settings.clone(), folder, work: Mutex::default(), last: AtomicU32::new(0) }
    }

    /// Does an operation, in the network namespace of a process if one is given. `None` if it was killed, or did not end.
    pub(crate) fn run(&self, words: &[&str], namespace: Option<u32>, patience: Duration) -> Option<Outcome> {
        let mut command = namespace.map_or_else(|| Command::new(binary()), |pid| network::beside(pid, binary()));
        command.args(words).args(["-o", "json"]).current_dir(self.folder.path());
        command.env(NUMBER, self.settings.number.to_string()).env_remove("RUST_LOG").env_remove("HOSTS");
        command.env("CLUSTER_CLIENT_ENGINE", self.settings.engine()).process_group(guard::group());
        let messages = File::create(self.folder.path().join(MESSAGES)).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(messages);
        let stdout = self.start(command)?;
        let (tells, output) = mpsc::channel();
        thread::spawn(move || tells.send(std::io::read_to_string(stdout).unwrap_or_default()));
        let output = output.recv_timeout(patience);
        if output.is_err() {
            self.signal("KILL");
        }
        let mut ended = self.work().running.take().expect("nobody else takes it");
        let exit = ended.wait().unwrap().code()?;
        let results = output.ok()?.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
        Some(Outcome { line: self.result(words[0], exit, results) })
    }

    fn start(&self, mut command: Command) -> Option<ChildStdout> {
        let mut work = self.work();
        if work.is_killed {
            return None;
        }
        let child = work.running.insert(command.spawn().unwrap());
        self.last.store(child.id(), Ordering::Relaxed);
        child.stdout.take()
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap()
    }

    /// The result as a program with the library would tell it.
    fn result(&self, word: &str, exit: i32, mut results: Vec<Value>) -> Value {
        if word == "recover" && [0, 3, 4].contains(&exit) {
            let (settled, unsettled): (Vec<Value>, Vec<Value>) =
                results.into_iter().partition(|result| result["outcome"] == "recovered");
            let groups: Vec<&Value> = settled.iter().map(|result| &result["group"]).collect();
            let outcome = if exit == 0 { "recovered" } else { "unsettled" };
            return json!({"outcome": outcome, "settled": groups, "unsettled": unsettled});
        }
        results.pop().unwrap_or_else(|| {
            let messages = std::fs::read_to_string(self.folder.path().join(MESSAGES)).unwrap_or_default();
            json!({"outcome": "refused", "cause": {"message": format!("exit {exit}: {messages}")}})
        })
    }

    /// Sends a signal to the process at work, if there is one.
    pub(crate) fn signal(&self, name: &str) {
        // Not reaped while it is locked, so the id is still its own.
        if let Some(child) = &self.work().running {
            signal(name, &child.id().to_string());
        }
    }

    pub(crate) fn kill(&self) {
        self.work().is_killed = true;
        self.signal("KILL");
    }

    /// The process at work, or the last one.
    pub(crate) fn pid(&self) -> u32 {
        self.last.load(Ordering::Relaxed)
    }
}

/// The settings that a program with the library has in its code.
fn configuration(settings: &Settings, settle: Duration) -> String {
    let Settings { hosts, journal, auth, .. } = settings;
    let user = if *auth {
        format!("user = \"{USER}\"\npassword_file = \"{PASSWORD_FILE}\"\nallow_plain_http = true\n")
    } else {
        String::new()
    };
    format!(
        "hosts = {hosts:?}\njournal = \"etcd://{journal}{}\"\nrequest_timeout = \"{}ms\"\nsettle = \"{}ms\"\n\
         rollback_timeout = \"{}ms\"\ntimeout = \"12s\"\nattempts = 3\nfirst_delay = \"5ms\"\nmax_delay = \"50ms\"\n\
         allow_plain_http = true\n[credentials]\nheader_envs = {{ {HEADER} = \"{NUMBER}\" }}\n[etcd]\nttl = \"{}s\"\n{user}",
        PREFIX.trim_end_matches('/'),
        REQUEST_TIMEOUT.as_millis(),
        settle.as_millis(),
        ROLLBACK_TIMEOUT.max(5 * settle).as_millis(),
        TTL.as_secs(),
    )
}
