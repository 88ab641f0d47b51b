//! The process of the test server, which ends when its standard input is closed.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::places::Places;
use crate::{Failure, child};

/// Maximum time for the server to end after its standard input is closed.
const END: Duration = Duration::from_secs(5);

/// A running server. The end of the runner closes the pipe, which ends the server. A failed request then ends each
/// client.
pub(crate) struct Server {
    child: Child,
    pub(crate) hosts: Vec<String>,
}

impl Server {
    pub(crate) fn start(places: &Places, hosts: usize, delay: Duration) -> Result<Self, Failure> {
        Self::start_with(places, &[hosts.to_string(), delay.as_micros().to_string()])
    }

    /// Every `flaky`-th host answers each new request with 503 once.
    pub(crate) fn start_flaky(places: &Places, hosts: usize, delay: Duration, flaky: usize) -> Result<Self, Failure> {
        Self::start_with(places, &[hosts.to_string(), delay.as_micros().to_string(), flaky.to_string()])
    }

    fn start_with(places: &Places, args: &[String]) -> Result<Self, Failure> {
        let child = Command::new(places.program("compare-server"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut server = Self { child, hosts: Vec::new() };
        let mut line = String::new();
        if let Some(stdout) = &mut server.child.stdout {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let hosts = line.trim().strip_prefix("ready ").ok_or("the server did not start")?;
        server.hosts = hosts.split(',').map(str::to_owned).collect();
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if let Err(failure) = child::wait(&mut self.child, END) {
            eprintln!("compare: the server {failure}");
        }
    }
}
