//! Child processes, each with a time limit. A process that exceeds it is killed by its id.

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
    /// Time from before the spawn until after the end.
    pub(crate) took: Duration,
}

/// Runs `command` to its end and returns its output. A [`Failure`] contains the last lines of a failed process.
///
/// The output is read after the end, so that the reader uses no core during a measurement. `MAX_SINGLE` in `pace.rs`
/// keeps a report smaller than a pipe.
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

/// Runs a tool with its output on standard error, so that none of it gets into the results.
pub(crate) fn tool(command: &mut Command, limit: Duration) -> Result<(), Failure> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::from(std::io::stderr())).spawn()?;
    let status = wait(&mut child, limit)?;
    if status.success() { Ok(()) } else { Err(status.to_string().into()) }
}

/// Waits for the end of `child`, and kills it at the limit.
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
    fn process_that_exceeds_its_limit_is_killed() {
        let start = Instant::now();
        assert!(output(Command::new("sleep").arg("60"), Duration::from_millis(50)).is_err());
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn failure_contains_the_last_lines() {
        let failure = output(Command::new("sh").args(["-c", "echo why >&2; exit 3"]), Duration::from_secs(30));
        assert!(failure.err().unwrap().to_string().ends_with("why"));
    }
}
