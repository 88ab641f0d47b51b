//! The etcd of three members that the rows with a journal in etcd share. It ends when its standard input is closed.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::child;
use crate::places::Places;

/// Maximum time for the members to end.
const END: Duration = Duration::from_secs(10);

/// A running etcd.
pub(crate) struct Etcd {
    child: Child,
    /// The URL of a journal.
    pub(crate) journal: String,
}

impl Etcd {
    /// Starts three members, each with its data in the target folder.
    pub(crate) fn start(places: &Places) -> Result<Self, String> {
        let folder = places.target().join(format!("etcd-{}", std::process::id()));
        let started = Command::new(places.program("compare-etcd"))
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut etcd = Etcd { child: started.map_err(|failure| failure.to_string())?, journal: String::new() };
        let mut line = String::new();
        if let Some(stdout) = &mut etcd.child.stdout {
            BufReader::new(stdout).read_line(&mut line).map_err(|failure| failure.to_string())?;
        }
        let endpoints = line.trim().strip_prefix("ready ").ok_or("etcd did not start")?;
        etcd.journal = format!("etcd://{endpoints}/compare");
        Ok(etcd)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if let Err(failure) = child::wait(&mut self.child, END) {
            eprintln!("compare: etcd {failure}");
        }
    }
}
