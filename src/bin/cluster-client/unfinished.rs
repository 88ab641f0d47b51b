//! The unfinished operations in the journal, so that a status names them and who holds them, and advises a recovery.

use std::collections::HashMap;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use cluster_client::{GroupId, Hosts, JournalEntry, Unfinished};

use crate::exit::{CliError, with_causes};
use crate::settings::{Journal, Sourced};

/// The content of the journal that concerns some hosts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    /// The operations on at least one of the hosts. The journal may also have operations on other clusters.
    pub(crate) entries: HashMap<GroupId, JournalEntry>,
    /// The reasons why operations may be missing here.
    pub(crate) problems: Vec<String>,
}

impl Found {
    fn new(read: Result<Unfinished, String>, hosts: &Hosts) -> Self {
        let found = match read {
            Ok(found) => found,
            Err(reason) => return Found { problems: vec![reason], ..Found::default() },
        };
        let is_here = |entry: &JournalEntry| entry.hosts().iter().any(|host| hosts.as_slice().contains(host));
        let here = found.entries.into_iter().filter(is_here);
        Found {
            entries: here.map(|entry| (entry.group().clone(), entry)).collect(),
            problems: found.unreadable.iter().map(|error| with_causes(error)).collect(),
        }
    }

    /// Returns a line for each problem.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = String> {
        self.problems.iter().map(|reason| format!("warning: unfinished operations are not known: {reason}"))
    }
}

/// Reads the journal once. A journal that cannot be read is a problem in the result, and no error.
pub(crate) fn read(journal: &Sourced<Journal>, hosts: &Hosts) -> Found {
    Found::new(journal.unfinished(), hosts)
}

/// Maximum time that a round of a watch waits for the journal.
const PATIENCE: Duration = Duration::from_secs(1);
/// Time without an answer after which the journal counts as failed.
const SILENCE: Duration = Duration::from_secs(10);

/// Reads the journal again and again, on a thread of its own: a store that does not answer holds up neither the states of
/// the hosts nor Ctrl-C.
pub(crate) struct Reader {
    orders: Sender<()>,
    results: Receiver<Found>,
    /// The start of the reading that has no result yet.
    since: Option<Instant>,
    last: Found,
}

impl Reader {
    /// Starts the thread. It ends with the reader.
    pub(crate) fn start(journal: Sourced<Journal>, hosts: Hosts) -> Result<Self, CliError> {
        let (orders, ordered) = mpsc::channel();
        let (sender, results) = mpsc::channel();
        let work = move || {
            let mut store = None;
            for () in ordered {
                if sender.send(Found::new(journal.unfinished_in(&mut store), &hosts)).is_err() {
                    return;
                }
            }
        };
        let started = thread::Builder::new().name("journal".into()).spawn(work);
        started
            .map_err(|error| CliError::unchanged(format!("no thread can be started to read the journal: {error}")))?;
        Ok(Reader { orders, results, since: None, last: Found::default() })
    }

    /// Begins to read, unless the last reading still has no result.
    pub(crate) fn begin(&mut self) {
        if self.since.is_none() && self.orders.send(()).is_ok() {
            self.since = Some(Instant::now());
        }
    }

    /// Returns the result. If it takes long, returns the last one until the journal counts as failed.
    pub(crate) fn result(&mut self) -> &Found {
        let Some(since) = self.since else { return &self.last };
        match self.results.recv_timeout(PATIENCE) {
            Ok(found) => (self.last, self.since) = (found, None),
            Err(RecvTimeoutError::Timeout) if since.elapsed() < SILENCE => {}
            Err(_) => {
                let reason = format!("the journal has not answered for {} s", SILENCE.as_secs());
                self.last = Found { problems: vec![reason], ..Found::default() };
            }
        }
        &self.last
    }
}
