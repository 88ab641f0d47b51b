//! A process with its output caught, that is ended by its id and always reaped.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::PATIENCE;

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// None where a signal ended it.
    pub(crate) exit: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A process whose output is read as it comes.
pub(crate) struct Running {
    child: Child,
    stdout: Receiver<String>,
    stderr: Option<JoinHandle<String>>,
}

impl Running {
    /// Starts it in a process group of its own, so that what it starts can be ended with it.
    pub(crate) fn start(mut command: Command) -> Self {
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.env_remove("HOSTS").env_remove("RUST_LOG").env_remove("CLUSTER_CLIENT_JOURNAL");
        // With it, the report of a failed allocation needs more memory.
        command.env_remove("RUST_BACKTRACE");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || sender.send(text(stdout)));
        Running { child, stdout: receiver, stderr: Some(std::thread::spawn(move || text(stderr))) }
    }

    /// Waits for its end. A process that does not end is killed, and the proof with it.
    pub(crate) fn end(self, patience: Duration) -> Ran {
        match self.end_or_kill(patience) {
            (ran, false) => ran,
            (ran, true) => panic!("a process did not end within {patience:?}: {ran:?}"),
        }
    }

    /// Waits for its end at most `patience`, then kills it. Whether it was killed.
    pub(crate) fn end_or_kill(mut self, patience: Duration) -> (Ran, bool) {
        // Its output ends when the process does, and that is an event to wait for with a limit.
        let (stdout, killed) = match self.stdout.recv_timeout(patience) {
            Ok(stdout) => (stdout, false),
            Err(RecvTimeoutError::Timeout) => {
                self.kill_group();
                (self.stdout.recv_timeout(PATIENCE).expect("the output of a killed process ends"), true)
            }
            Err(RecvTimeoutError::Disconnected) => panic!("the thread that reads the output is gone"),
        };
        let status = self.child.wait().unwrap();
        let stderr = self.stderr.take().unwrap().join().unwrap();
        (Ran { exit: code(status), stdout, stderr }, killed)
    }

    fn kill_group(&self) {
        signal("KILL", &format!("-{}", self.child.id()));
    }
}

/// A run that was begun and never waited for, as when a proof panics.
impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill_group();
            let _ = self.child.wait();
        }
    }
}

fn code(status: ExitStatus) -> Option<i32> {
    status.code()
}

fn text(mut from: impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = from.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Sends a signal to a process, or with a minus to a group. Plain Rust has no call for it.
pub(crate) fn signal(name: &str, process: &str) {
    let sent = Command::new("sh").args(["-c", "kill -s \"$0\" -- \"$1\"", name, process]).status();
    assert!(sent.is_ok(), "no shell to send a signal with");
}
