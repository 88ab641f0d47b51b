//! Runs the scripts beside this file: three instances of a real service on loopback, which end with the test.
//!
//! `SERVICES` names the services whose scripts may install what is missing: `all`, or names with commas. Without it,
//! those run that are installed and start fast. A test of any other says that it was skipped, and passes.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use std::os::unix::process::CommandExt;

/// The scripts, and whether they start fast enough for every run.
const SERVICES: [(&str, bool); 7] = [
    ("shelves", true),
    ("nginx-dav", true),
    ("etcd-keys", true),
    ("consul-kv", true),
    ("couchdb", true),
    ("jupyterhub", false),
    ("rabbitmq-vhosts", false),
];
/// The exit status of a script whose service cannot be had here.
const CANNOT_BE_HAD: i32 = 77;
/// These are generous, because they only bound how long a broken script hangs. An installation downloads a lot.
const START: Duration = Duration::from_secs(900);
const END: Duration = Duration::from_secs(20);

/// Three instances of a service. Dropping it ends them and removes their files.
pub(crate) struct Service {
    /// Name and version, as in `nginx/1.22.1`.
    pub(crate) version: String,
    /// Headers that every request needs: credentials made for this run.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) instances: Vec<Instance>,
    /// Whether it starts and answers fast.
    pub(crate) is_fast: bool,
    child: Child,
    /// The script ends its servers when this is closed.
    stdin: Option<ChildStdin>,
    /// The lines of its output, which ends when the script does.
    lines: Receiver<String>,
}

/// One server.
#[derive(Clone)]
pub(crate) struct Instance {
    pub(crate) url: String,
    pid: String,
}

impl Service {
    /// Starts a service. Nothing if it cannot or may not be had here, which standard error says then.
    pub(crate) fn start(name: &str) -> Option<Self> {
        match wanted(name, env::var("SERVICES").ok().as_deref()) {
            Ok(options) => Self::run(name, options, |_| {}).map_err(|reason| skipped(name, &reason)).ok(),
            Err(reason) => {
                skipped(name, reason);
                None
            }
        }
    }

    /// Runs a script. `Err` is the reason why its service cannot be had.
    pub(crate) fn run(name: &str, options: &[&str], adapt: impl FnOnce(&mut Command)) -> Result<Self, String> {
        let mut command = Command::new("python3");
        // `-B` leaves no file beside the scripts.
        command.arg("-B").arg(script(name)).args(options).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        adapt(&mut command);
        let mut child = command.spawn().map_err(|error| format!("python3 does not run: {error}"))?;
        let lines = lines_of(child.stdout.take().unwrap());
        let stdin = child.stdin.take();
        let (version, headers, instances) = (String::new(), Vec::new(), Vec::new());
        let mut service = Service { version, headers, instances, is_fast: is_fast(name), child, stdin, lines };
        while let Ok(line) = service.lines.recv_timeout(START) {
            match line.split_once(' ').unwrap() {
                ("skip", reason) => {
                    assert_eq!(service.child.wait().unwrap().code(), Some(CANNOT_BE_HAD));
                    return Err(reason.into());
                }
                ("version", version) => version.clone_into(&mut service.version),
                ("header", header) => {
                    let (name, value) = header.split_once(": ").unwrap();
                    service.headers.push((name.into(), value.into()));
                }
                ("instance", instance) => {
                    let (url, pid) = instance.split_once(' ').unwrap();
                    service.instances.push(Instance { url: url.into(), pid: pid.into() });
                }
                ("ready", seconds) => {
                    say(&format!("{} is ready after {seconds} s", service.version));
                    assert_eq!(service.instances.len(), 3);
                    return Ok(service);
                }
                _ => panic!("{name} wrote {line:?}"),
            }
        }
        panic!("{name} was not ready: {}", service.end());
    }

    /// Ends the instances and waits until they are gone and their files too.
    pub(crate) fn end(mut self) -> ExitStatus {
        self.end_or_kill()
    }

    fn end_or_kill(&mut self) -> ExitStatus {
        self.stdin.take();
        if self.lines.recv_timeout(END) != Err(RecvTimeoutError::Disconnected) {
            signal("KILL", &format!("-{}", self.child.id()));
        }
        self.child.wait().unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.end_or_kill();
    }
}

impl Instance {
    /// Stops the process: its port accepts connections, and nothing answers.
    pub(crate) fn pause(&self) {
        signal("STOP", &self.pid);
    }

    pub(crate) fn resume(&self) {
        signal("CONT", &self.pid);
    }

    /// Ends the server for good.
    pub(crate) fn kill(&self) {
        signal("KILL", &self.pid);
    }
}

/// The options of a script, or the reason why its service does not run.
pub(crate) fn wanted(name: &str, services: Option<&str>) -> Result<&'static [&'static str], &'static str> {
    let chosen: Vec<&str> =
        services.unwrap_or_default().split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
    let known = |word: &&str| *word == "all" || SERVICES.iter().any(|(name, _)| name == word);
    assert!(chosen.iter().all(known), "SERVICES names an unknown service: {chosen:?}");
    match chosen[..] {
        [] if is_fast(name) => Ok(&["--installed"]),
        [] => Err("it starts slowly; SERVICES=all runs it"),
        _ if chosen.contains(&"all") || chosen.contains(&name) => Ok(&[]),
        _ => Err("SERVICES does not name it"),
    }
}

fn is_fast(name: &str) -> bool {
    SERVICES.iter().find(|(known, _)| *known == name).expect("a script of this name").1
}

/// The lines of an output, which a thread reads, so that waiting for them has a limit.
fn lines_of(output: ChildStdout) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    lines
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services").join(name)
}

fn skipped(name: &str, reason: &str) {
    say(&format!("skipped: {name}: {reason}"));
}

/// Writes to standard error itself, because the test runner hides what a passing test prints by macro.
fn say(words: &str) {
    io::stderr().write_all(format!("{words}\n").as_bytes()).unwrap();
}

/// Sends a signal to a process, or with a minus to a group. Plain Rust has no call for it.
fn signal(name: &str, process: &str) {
    let sent = Command::new("sh").args(["-c", "kill -s \"$0\" -- \"$1\"", name, process]).status();
    assert!(sent.is_ok_and(|status| status.success()), "{name} did not reach {process}");
}
