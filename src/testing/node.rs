//! A node as its user sees it: started, looked at, told to misbehave, stopped and revived.

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    fault::Fault,
    rates::Rates,
    route::Method,
    server::{Listening, Reservation, Server, Settings, reachable},
    state::{Change, Entry, State},
};

/// A real node of the group API, on a real socket, inside this process.
///
/// It runs on threads of its own until it is [stopped](Self::stop) or dropped. All methods take
/// `&self` and may be called from any thread.
///
/// ```
/// use std::{io::{Read, Write}, net::TcpStream};
/// use cluster_client::testing::Node;
/// # fn main() -> std::io::Result<()> {
/// let node = Node::start()?;
/// let mut client = TcpStream::connect(node.address())?;
/// client.write_all(
///     b"POST /v1/group/ HTTP/1.1\r\nConnection: close\r\nContent-Length: 15\r\n\r\n{\"groupId\":\"g\"}",
/// )?;
/// let mut answer = String::new();
/// client.read_to_string(&mut answer)?;
/// assert!(answer.starts_with("HTTP/1.1 201 "));
/// assert!(node.has("g"));
/// # Ok(()) }
/// ```
pub struct Node {
    server: Arc<Server>,
    address: SocketAddr,
    phase: Mutex<Phase>,
}

enum Phase {
    Running(Listening),
    Stopped(#[expect(dead_code, reason = "kept for its port, not to be read")] Option<Reservation>),
}

impl Node {
    pub(super) fn open(listener: TcpListener, settings: Settings, state: State) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let server = Arc::new(Server::new(settings, state));
        let listening = server.open(listener)?;
        Ok(Self { server, address, phase: Mutex::new(Phase::Running(listening)) })
    }

    /// The base URL, such as `http://127.0.0.1:40123`, without a slash at its end. It stays the
    /// same over a stop and a restart. A node that listens on all addresses gives the loopback
    /// one.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let node = cluster_client::testing::Node::start()?;
    /// assert_eq!(node.url(), format!("http://127.0.0.1:{}", node.port()));
    /// # Ok(()) }
    /// ```
    pub fn url(&self) -> String {
        format!("http://{}", reachable(self.address))
    }

    /// The port the node listens on.
    ///
    /// ```
    /// use cluster_client::testing::Node;
    /// # fn main() -> std::io::Result<()> {
    /// let node = Node::start()?;
    /// assert_ne!(node.port(), 0);
    /// # Ok(()) }
    /// ```
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The address the node listens on.
    ///
    /// ```
    /// use cluster_client::testing::Node;
    /// # fn main() -> std::io::Result<()> {
    /// let node = Node::start()?;
    /// assert!(node.address().ip().is_loopback());
    /// # Ok(()) }
    /// ```
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the node has the group now.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let node = cluster_client::testing::Node::start()?;
    /// assert!(!node.has("g"));
    /// # Ok(()) }
    /// ```
    pub fn has(&self, group: &str) -> bool {
        self.server.lock().has(group)
    }

    /// The groups the node has now, sorted.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let node = cluster_client::testing::Node::start()?;
    /// node.insert("b");
    /// node.insert("a");
    /// assert_eq!(node.groups(), ["a", "b"]);
    /// # Ok(()) }
    /// ```
    pub fn groups(&self) -> Vec<String> {
        self.server.lock().groups().map(str::to_owned).collect()
    }

    /// Gives the node a group without a request, also while it is stopped or paused. Whether it
    /// was not there yet (`false`, with a line in the log, also when the data file could not be
    /// written).
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let node = cluster_client::testing::Node::start()?;
    /// assert!(node.insert("g"));
    /// assert!(!node.insert("g"));
    /// # Ok(()) }
    /// ```
    pub fn insert(&self, group: &str) -> bool {
        self.change(Change::Insert, group)
    }

    /// Takes a group from the node without a request, also while it is stopped or paused. Whether
    /// it was there (`false`, with a line in the log, also when the data file could not be
    /// written).
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let node = cluster_client::testing::Node::start()?;
    /// node.insert("g");
    /// assert!(node.remove("g"));
    /// assert!(!node.has("g"));
    /// # Ok(()) }
    /// ```
    pub fn remove(&self, group: &str) -> bool {
        self.change(Change::Remove, group)
    }

    fn change(&self, change: Change, group: &str) -> bool {
        let mut state = self.server.lock();
        let changed = state.change(change, group).unwrap_or(false);
        self.server.announce(&state);
        changed
    }

    /// The requests so far, in the order of arrival: the last 65,536 of them, unless
    /// [`NodeBuilder::log_limit`](crate::testing::NodeBuilder::log_limit) says otherwise.
    ///
    /// A request is in the log from the moment it has arrived whole; its status and whether it
    /// was applied are filled in as they come about, the status before the answer is sent.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let node = cluster_client::testing::Node::start()?;
    /// assert!(node.log().is_empty());
    /// # Ok(()) }
    /// ```
    pub fn log(&self) -> Vec<Entry> {
        self.server.lock().log().cloned().collect()
    }

    /// How many requests of this method arrived since the start or the last
    /// [`clear_log`](Self::clear_log), whatever became of them.
    ///
    /// ```
    /// use cluster_client::testing::{Method, Node};
    /// # fn main() -> std::io::Result<()> {
    /// let node = Node::start()?;
    /// assert_eq!(node.count(Method::Post), 0);
    /// # Ok(()) }
    /// ```
    pub fn count(&self, method: Method) -> u64 {
        self.server.lock().count(method)
    }

    /// Empties the log and sets the counts back to 0. Sequence numbers go on.
    ///
    /// ```
    /// use cluster_client::testing::Node;
    /// # fn main() -> std::io::Result<()> {
    /// let node = Node::start()?;
    /// node.clear_log();
    /// assert!(node.log().is_empty());
    /// # Ok(()) }
    /// ```
    pub fn clear_log(&self) {
        let mut state = self.server.lock();
        state.clear_log();
        self.server.announce(&state);
    }

    /// Adds a fault to the script. A request meets the first fault in the script that is meant
    /// for it, and no other.
    ///
    /// ```
    /// use cluster_client::testing::{Fault, Method, Node};
    /// # fn main() -> std::io::Result<()> {
    /// let node = Node::start()?;
    /// node.inject(Fault::answer(500).on(Method::Post));
    /// node.inject(Fault::drop_connection().on(Method::Post));
    /// # Ok(()) }
    /// ```
    pub fn inject(&self, fault: Fault) {
        let mut state = self.server.lock();
        state.script.push(fault);
        self.server.announce(&state);
    }

    /// How many faults of the script still wait for a request; one that is for several requests
    /// counts until the last.
    ///
    /// ```
    /// use cluster_client::testing::{Fault, Node};
    /// # fn main() -> std::io::Result<()> {
    /// let node = Node::start()?;
    /// node.inject(Fault::answer(500).times(3));
    /// assert_eq!(node.pending_faults(), 1);
    /// # Ok(()) }
    /// ```
    pub fn pending_faults(&self) -> usize {
        self.server.lock().pending_faults()
    }

    /// Empties the script. Faults that have struck go on: a mute request stays mute.
    ///
    /// ```
    /// use cluster_client::testing::{Fault, Node};
    /// # fn main() -> std::io::Result<()> {
    /// let node = Node::start()?;
    /// node.inject(Fault::answer(500).always());
    /// node.clear_faults();
    /// assert_eq!(node.pending_faults(), 0);
    /// # Ok(()) }
    /// ```
    pub fn clear_faults(&self) {
        let mut state = self.server.lock();
        state.script.clear();
        self.server.announce(&state);
    }

    /// Changes how often the node misbehaves by itself; `Rates::default()` ends it.
    ///
    /// # Errors
    /// When a rate is not within 0 to 1, or those that exclude each other add up to more than 1.
    ///
    /// ```
    /// use cluster_client::testing::{Node, Rates};
    /// # fn main() -> std::io::Result<()> {
    /// let node = Node::start()?;
    /// node.set_rates(Rates { stale: 0.2, ..Rates::default() })?;
    /// # Ok(()) }
    /// ```
    pub fn set_rates(&self, rates: Rates) -> io::Result<()> {
        let rates = rates.validated()?;
        self.server.lock().rates = rates;
        Ok(())
    }

    /// Waits until `condition` holds, at most `timeout`; whether it holds. It is looked at first
    /// at once, and again whenever the node changes: no need to sleep and to try again.
    ///
    /// The condition is called with the node locked: it must look at the [`State`] it is given
    /// and not call the node's methods, which would wait for ever.
    ///
    /// ```
    /// use std::time::Duration;
    /// use cluster_client::testing::{Method, Node};
    /// # fn main() -> std::io::Result<()> {
    /// let node = Node::start()?;
    /// let timeout = Duration::from_millis(1);
    /// assert!(!node.wait_until(|state| state.count(Method::Post) == 1, timeout));
    /// assert!(node.wait_until(|state| state.connections() == 0, timeout));
    /// # Ok(()) }
    /// ```
    pub fn wait_until(&self, condition: impl FnMut(&State) -> bool, timeout: Duration) -> bool {
        self.server.wait_until(condition, timeout)
    }

    /// How many connections are open now.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let node = cluster_client::testing::Node::start()?;
    /// assert_eq!(node.connections(), 0);
    /// # Ok(()) }
    /// ```
    pub fn connections(&self) -> usize {
        self.server.lock().connections()
    }

    /// Makes the node hang, as a stopped process does: the system still takes connections and
    /// requests, but nothing is handled, applied or answered until [`resume`](Self::resume).
    ///
    /// Nothing is applied once this has returned; an answer that was already on its way may still
    /// arrive.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let node = cluster_client::testing::Node::start()?;
    /// node.pause();
    /// node.resume();
    /// # Ok(()) }
    /// ```
    pub fn pause(&self) {
        self.server.set_paused(true);
    }

    /// Ends a [`pause`](Self::pause): what has arrived meanwhile is handled now.
    ///
    /// ```
    /// use cluster_client::testing::Node;
    /// # fn main() -> std::io::Result<()> {
    /// let node = Node::start()?;
    /// node.pause();
    /// node.resume();
    /// # Ok(()) }
    /// ```
    pub fn resume(&self) {
        self.server.set_paused(false);
    }

    /// Kills the node: closes its listener and all connections, forgets requests that were to be
    /// applied late, and waits for its threads. Connecting is refused from then on.
    ///
    /// Groups, log and script stay, and can be read and changed. Does nothing on a stopped node.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let node = cluster_client::testing::Node::start()?;
    /// node.stop();
    /// assert!(std::net::TcpStream::connect(node.address()).is_err());
    /// # Ok(()) }
    /// ```
    pub fn stop(&self) {
        self.stop_in(&mut self.phase());
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop_in(&self, phase: &mut Phase) {
        if let Phase::Running(listening) = std::mem::replace(phase, Phase::Stopped(None)) {
            *phase = Phase::Stopped(self.server.close(self.address, listening));
        }
    }

    /// Starts the node again on its old port, with the groups, the log and the script it had when
    /// it was stopped; a running node is stopped first. A pause is over then. The system keeps the port of a stopped
    /// node for it.
    ///
    /// # Errors
    /// When the address cannot be listened on any more, or no thread can be had; the node is then
    /// stopped.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let node = cluster_client::testing::Node::start()?;
    /// node.insert("g");
    /// node.stop();
    /// node.restart()?;
    /// assert!(node.has("g"));
    /// # Ok(()) }
    /// ```
    pub fn restart(&self) -> io::Result<()> {
        let mut phase = self.phase();
        self.stop_in(&mut phase);
        let listener = bind(&self.address.to_string())?;
        *phase = Phase::Running(self.server.open(listener)?);
        Ok(())
    }
}

/// Stops the node, as [`Node::stop`] does, and lets go of its data file.
impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
        // Not left to the last handle on the server: a thread may be about to drop it only.
        self.server.lock().release_file();
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("address", &self.address)
            .field("state", &*self.server.lock())
            .finish_non_exhaustive()
    }
}

/// Listens on `host:port`. An error names it.
pub(super) fn bind(address: &str) -> io::Result<TcpListener> {
    let bound = address.to_socket_addrs().and_then(|found| TcpListener::bind(found.collect::<Vec<_>>().as_slice()));
    bound.map_err(|error| io::Error::new(error.kind(), format!("a node cannot listen on {address}: {error}")))
}
