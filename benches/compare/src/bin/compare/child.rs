//! Other processes, each with a limit to its time. Whatever exceeds it is ended by its id.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::Failure;

/// Result of a measured process.
pub(crate) struct Finished {
    pub(crate) stdout: String,
    /// From before it was spawned until after it ended.
    pub(crate) took: Duration,
}

/// Runs `command` to its end and gives its output. A process that fails is a [`Failure`] with its last words.
///
/// The output is read only after the end, which keeps the reader off the cores while the client is measured; reports
/// are smaller than a pipe (`MAX_SINGLE` in `pace.rs` sees to it).
pub(crate) fn output(command: &mut Command, limit: Duration) -> Result<Finished, Failure> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let start = Instant::now();
    let mut child = command.spawn()?;
    let status = wait(&mut child, limit)?;
    let took = start.elapsed();
    let (mut stdout, mut stderr) = (String::new(), String::new());
    if let (Some(out), Some(err)) = (&mut child.stdout, &mut child.stderr) {
        out.read_to_string(&mut stdout)?;
        err.read_to_string(&mut stderr)?;
    }
    if status.success() {
        return Ok(Finished { stdout, took });
    }
    let last_words = stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no word why");
    Err(format!("{status}: {last_words}").into())
}

/// Runs a tool whose output is for whoever watches, and none of it for our standard output.
pub(crate) fn tool(command: &mut Command, limit: Duration) -> Result<(), Failure> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::from(std::io::stderr())).spawn()?;
    let status = wait(&mut child, limit)?;
    if status.success() { Ok(()) } else { Err(status.to_string().into()) }
}

/// Waits for the end of `child`, and ends it when the limit is over.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Result<ExitStatus, Failure> {
    let deadline = Instant::now() + limit;
    let handle = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    loop {
        let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now()))?;
        match poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&left)) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(0) => {
                child.kill()?;
                child.wait()?;
                return Err(format!("did not end within {limit:?}").into());
            }
            Ok(_) => return Ok(child.wait()?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_does_not_end_is_ended() {
        let start = Instant::now();
        assert!(output(Command::new("sleep").arg("60"), Duration::from_millis(50)).is_err());
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn the_last_words_are_kept() {
        let failure = output(Command::new("sh").args(["-c", "echo why >&2; exit 3"]), Duration::from_secs(30));
        assert!(failure.err().unwrap().to_string().ends_with("why"));
    }
}
