//! The state of a node: its groups, its log and its pending faults.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt, io,
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    data_file::DataFile,
    fault::{Fault, Script},
    rates::Rates,
    route::{CallKind, Method, NodeCall},
};

/// Maximum number of deleted groups that stale answers can show.
const REMEMBERED: usize = 1024;

/// One request in a node's log.
///
/// ```
/// use std::{io::{Read, Write}, net::TcpStream};
/// use cluster_client::testing::{Method, Node};
/// # fn main() -> std::io::Result<()> {
/// let node = Node::start()?;
/// let mut client = TcpStream::connect(node.address())?;
/// client.write_all(b"GET /v1/group/g/ HTTP/1.1\r\nConnection: close\r\n\r\n")?;
/// client.read_to_end(&mut Vec::new())?;
///
/// let log = node.log();
/// assert_eq!((log[0].method, log[0].group.as_deref()), (Method::Get, Some("g")));
/// assert_eq!((log[0].status, log[0].applied), (Some(404), false));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Entry {
    /// Number of the request in the order of arrival, from 1. It is unique, also across restarts.
    pub sequence: u64,
    /// Time of arrival since the first start of the node, on the monotonic clock.
    pub at: Duration,
    /// The method of the request.
    pub method: Method,
    /// The decoded group of the request. `None` for a list or an unreadable request.
    pub group: Option<String>,
    /// Number of the connection, from 1.
    pub connection: u64,
    /// Address and port from which the client connected. `None` if the connection has ended before it was asked.
    pub peer: Option<SocketAddr>,
    /// The fault of the request, scripted or drawn.
    pub fault: Option<Fault>,
    /// The status of the answer, set just before it is sent. `None` without an answer (dropped, mute, raw bytes).
    pub status: Option<u16>,
    /// Whether the request changed the node's groups. A late request sets it later.
    pub applied: bool,
}

/// The state of a node at one moment, for the condition of [`Node::wait_until`](super::Node::wait_until).
///
/// ```
/// use std::time::Duration;
/// # fn main() -> std::io::Result<()> {
/// let node = cluster_client::testing::Node::start()?;
/// node.insert("g");
/// assert!(node.wait_until(|state| state.has("g"), Duration::from_secs(5)));
/// # Ok(()) }
/// ```
pub struct NodeState {
    groups: BTreeSet<String>,
    /// The last deleted groups, the latest last.
    removed: VecDeque<String>,
    file: Option<DataFile>,

    log: VecDeque<Entry>,
    log_limit: usize,
    requests: u64,
    counts: [u64; 4],

    pub(super) script: Script,
    pub(super) rates: Option<Rates>,
    random: fastrand::Rng,

    /// The open connections by number.
    pub(super) streams: BTreeMap<u64, Arc<TcpStream>>,
    pub(super) last_connection: u64,
    /// Number of threads that a stop waits for, without the listening one.
    pub(super) threads: usize,
    /// Number of threads inside `wait_until`. With none, changes are not notified.
    pub(super) watchers: usize,
    pub(super) late: Vec<Postponed>,
    pub(super) late_thread: bool,
    pub(super) paused: bool,
    pub(super) stopped: bool,
    started: Instant,
}

/// A request that has been handled and takes effect later.
#[derive(Debug)]
pub(super) struct Postponed {
    pub(super) due: Instant,
    sequence: u64,
    change: GroupChange,
    group: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GroupChange {
    Insert,
    Remove,
}

/// The statuses in which nodes differ.
#[derive(Clone, Copy, Debug)]
pub(super) struct Statuses {
    pub(super) existing: u16,
    pub(super) deleted: u16,
    pub(super) absent: u16,
}

impl NodeState {
    /// Whether the node has the group.
    ///
    /// ```
    /// use cluster_client::testing::Node;
    /// # fn main() -> std::io::Result<()> {
    /// let node = Node::start()?;
    /// node.insert("g");
    /// assert!(node.wait_until(|state| state.has("g"), std::time::Duration::ZERO));
    /// # Ok(()) }
    /// ```
    pub fn has(&self, group: &str) -> bool {
        self.groups.contains(group)
    }

    /// The groups the node has, sorted.
    ///
    /// ```
    /// use cluster_client::testing::Node;
    /// # fn main() -> std::io::Result<()> {
    /// let node = Node::start()?;
    /// node.insert("g");
    /// assert!(node.wait_until(|state| state.groups().eq(["g"]), std::time::Duration::ZERO));
    /// # Ok(()) }
    /// ```
    pub fn groups(&self) -> impl ExactSizeIterator<Item = &str> {
        self.groups.iter().map(String::as_str)
    }

    /// The requests so far in the order of arrival, as [`Node::log`](super::Node::log) has them.
    ///
    /// ```
    /// use cluster_client::testing::Node;
    /// # fn main() -> std::io::Result<()> {
    /// let node = Node::start()?;
    /// node.insert("g");
    /// assert!(node.wait_until(|state| state.log().len() == 0, std::time::Duration::ZERO));
    /// # Ok(()) }
    /// ```
    pub fn log(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.log.iter()
    }

    /// Number of requests of this method.
    ///
    /// ```
    /// use cluster_client::testing::{Method, Node};
    /// # fn main() -> std::io::Result<()> {
    /// let node = Node::start()?;
    /// node.insert("g");
    /// assert!(node.wait_until(|state| state.count(Method::Get) == 0, std::time::Duration::ZERO));
    /// # Ok(()) }
    /// ```
    pub fn count(&self, method: Method) -> u64 {
        self.counts[method as usize]
    }

    /// Number of open connections.
    ///
    /// ```
    /// use cluster_client::testing::Node;
    /// # fn main() -> std::io::Result<()> {
    /// let node = Node::start()?;
    /// node.insert("g");
    /// assert!(node.wait_until(|state| state.connections() == 0, std::time::Duration::ZERO));
    /// # Ok(()) }
    /// ```
    pub fn connections(&self) -> usize {
        self.streams.len()
    }

    /// Number of pending scripted faults.
    ///
    /// ```
    /// use cluster_client::testing::Node;
    /// # fn main() -> std::io::Result<()> {
    /// let node = Node::start()?;
    /// node.insert("g");
    /// assert!(node.wait_until(|state| state.pending_faults() == 0, std::time::Duration::ZERO));
    /// # Ok(()) }
    /// ```
    pub fn pending_faults(&self) -> usize {
        self.script.len()
    }
}

/// Leaves out the sockets and the random state.
impl fmt::Debug for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeState")
            .field("groups", &self.groups)
            .field("requests", &self.requests)
            .field("connections", &self.connections())
            .field("pending_faults", &self.pending_faults())
            .field("paused", &self.paused)
            .field("stopped", &self.stopped)
            .finish_non_exhaustive()
    }
}

impl NodeState {
    pub(super) fn new(
        groups: BTreeSet<String>,
        file: Option<DataFile>,
        rates: Option<Rates>,
        seed: u64,
        log_limit: usize,
    ) -> Self {
        Self {
            groups,
            removed: VecDeque::new(),
            file,
            log: VecDeque::new(),
            log_limit,
            requests: 0,
            counts: [0; 4],
            script: Script::default(),
            rates,
            random: fastrand::Rng::with_seed(seed),
            streams: BTreeMap::new(),
            last_connection: 0,
            threads: 0,
            watchers: 0,
            late: Vec::new(),
            late_thread: false,
            paused: false,
            stopped: true,
            started: Instant::now(),
        }
    }

    /// Logs a request and draws its fault.
    pub(super) fn arrive(&mut self, call: &NodeCall, connection: u64) -> (u64, Option<Fault>) {
        self.requests += 1;
        self.counts[call.method as usize] += 1;
        // Drawn even if a scripted fault takes precedence, so that a script does not shift later draws.
        let drawn = self.rates.and_then(|rates| rates.draw(call.method, &mut self.random));
        let fault = self.script.take(call.method, call.group.as_deref()).or(drawn);
        if self.log.len() >= self.log_limit {
            self.log.pop_front();
        }
        if self.log_limit > 0 {
            self.log.push_back(Entry {
                sequence: self.requests,
                at: self.started.elapsed(),
                method: call.method,
                group: call.group.clone(),
                connection,
                peer: self.streams.get(&connection).and_then(|stream| stream.peer_addr().ok()),
                fault: fault.clone(),
                status: None,
                applied: false,
            });
        }
        (self.requests, fault)
    }

    pub(super) fn answered(&mut self, sequence: u64, status: u16) {
        if let Some(entry) = self.entry(sequence) {
            entry.status = Some(status);
        }
    }

    /// The log entry of a request, or `None` if it was removed.
    fn entry(&mut self, sequence: u64) -> Option<&mut Entry> {
        let newer = usize::try_from(self.requests - sequence).ok()?;
        let at = self.log.len().checked_sub(newer + 1)?;
        self.log.get_mut(at)
    }

    pub(super) fn clear_log(&mut self) {
        self.log.clear();
        self.counts = [0; 4];
    }

    /// The truthful status of a call, and its change of the groups.
    pub(super) fn judge(&self, call: &NodeCall, stale: bool, statuses: Statuses) -> (u16, Option<GroupChange>) {
        let group = call.group.as_deref().unwrap_or_default();
        let present = self.has(group);
        match &call.kind {
            CallKind::Create if present => (statuses.existing, None),
            CallKind::Create => (201, Some(GroupChange::Insert)),
            CallKind::Delete if present => (statuses.deleted, Some(GroupChange::Remove)),
            CallKind::Delete => (statuses.absent, None),
            CallKind::Check => {
                let shown = if stale { self.before_last_change(group) } else { present };
                (if shown { 200 } else { 404 }, None)
            }
            CallKind::List => (200, None),
            CallKind::Redirect(status, _) | CallKind::Refuse(status, _) => (*status, None),
        }
    }

    fn before_last_change(&self, group: &str) -> bool {
        !self.has(group) && self.removed.iter().any(|removed| removed == group)
    }

    /// Makes the change of a request. An error leaves the state unchanged.
    pub(super) fn apply(&mut self, sequence: u64, change: GroupChange, group: &str) -> io::Result<()> {
        if self.change(change, group)?
            && let Some(entry) = self.entry(sequence)
        {
            entry.applied = true;
        }
        Ok(())
    }

    /// Makes a change. Returns whether the groups changed.
    pub(super) fn change(&mut self, change: GroupChange, group: &str) -> io::Result<bool> {
        if self.has(group) == (change == GroupChange::Insert) {
            return Ok(false);
        }
        if let Some(file) = &mut self.file {
            file.record(change == GroupChange::Insert, group)?;
        }
        match change {
            GroupChange::Insert => drop(self.groups.insert(group.to_owned())),
            GroupChange::Remove => self.forget(group),
        }
        Ok(true)
    }

    pub(super) fn release_file(&mut self) {
        self.file = None;
    }

    fn forget(&mut self, group: &str) {
        if self.removed.len() == REMEMBERED {
            self.removed.pop_front();
        }
        self.removed.extend(self.groups.take(group));
    }

    pub(super) fn postpone(&mut self, due: Instant, sequence: u64, change: GroupChange, group: &str) {
        self.late.push(Postponed { due, sequence, change, group: group.to_owned() });
    }

    /// Applies the late requests that are due at `now`. Returns the time of the next one.
    pub(super) fn apply_due(&mut self, now: Instant) -> Option<Instant> {
        self.late.sort_by_key(|late| late.due);
        let due = self.late.partition_point(|late| late.due <= now);
        for late in self.late.drain(..due).collect::<Vec<_>>() {
            // The data file has logged the error, and a late request has no answer.
            let _ = self.apply(late.sequence, late.change, &late.group);
        }
        self.late.first().map(|late| late.due)
    }
}
