//! The public type of a node: start, state, faults, stop and restart.

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    fault::Fault,
    listener::{self, Listening, Reservation, reachable},
    rates::Rates,
    route::Method,
    server::{Server, Settings},
    state::{Entry, GroupChange, NodeState},
};

/// A node of the group API, on a real socket, inside this process.
///
/// It runs on its own threads until it is [stopped](Self::stop) or dropped. All methods take `&self` and may be called
/// from any thread.
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
    lifecycle: Mutex<Lifecycle>,
}

enum Lifecycle {
    Running(Listening),
    Stopped(#[expect(dead_code, reason = "reserves the port")] Option<Reservation>),
}

impl Node {
    pub(super) fn open(listener: TcpListener, settings: Settings, state: NodeState) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let server = Arc::new(Server::new(settings, state));
        let listening = listener::open(&server, listener)?;
        Ok(Self { server, address, lifecycle: Mutex::new(Lifecycle::Running(listening)) })
    }

    /// The base URL, such as `http://127.0.0.1:40123`, without a slash at its end. A restart does not change it. For a
    /// node that listens on all addresses, it has the loopback address.
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

    /// The port of the node.
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

    /// The address of the node.
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

    /// The current groups of the node, sorted.
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

    /// Adds a group without a request, also while the node is stopped or paused. Returns whether the node did not have
    /// it. A failed write of the data file is logged and returns `false`.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let node = cluster_client::testing::Node::start()?;
    /// assert!(node.insert("g"));
    /// assert!(!node.insert("g"));
    /// # Ok(()) }
    /// ```
    pub fn insert(&self, group: &str) -> bool {
        self.change(GroupChange::Insert, group)
    }

    /// Removes a group without a request, also while the node is stopped or paused. Returns whether the node had it. A
    /// failed write of the data file is logged and returns `false`.
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
        self.change(GroupChange::Remove, group)
    }

    fn change(&self, change: GroupChange, group: &str) -> bool {
        let mut state = self.server.lock();
        let changed = state.change(change, group).unwrap_or(false);
        self.server.announce(&state);
        changed
    }

    /// The latest requests, in the order of arrival. [`NodeBuilder::log_limit`](crate::testing::NodeBuilder::log_limit)
    /// sets their maximum number.
    ///
    /// A request is logged when it has arrived completely. Its status is added before the answer is sent, and `applied`
    /// when the request takes effect.
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

    /// Number of requests of this method since the start or the last [`clear_log`](Self::clear_log).
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

    /// Empties the log and resets the counts to 0. Sequence numbers continue.
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

    /// Adds a fault to the script. The first matching fault of the script affects a request.
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

    /// Number of pending faults of the script. A fault of several requests counts until the last.
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

    /// Empties the script. Current faults continue: a mute request stays mute.
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

    /// Sets the probabilities of random faults; `Rates::default()` ends them.
    ///
    /// # Errors
    /// If a rate is not within 0 to 1, or if exclusive rates add up to more than 1.
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

    /// Waits until `condition` holds, at most `timeout`. Returns whether it holds. The condition is called at once, and
    /// again after each change of the node, so a test needs no sleep.
    ///
    /// The condition is called with the node locked. It must not call the node's methods, which would deadlock.
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
    pub fn wait_until(&self, condition: impl FnMut(&NodeState) -> bool, timeout: Duration) -> bool {
        self.server.wait_until(condition, timeout)
    }

    /// Number of open connections.
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

    /// Makes the node hang, as SIGSTOP does. The system still accepts connections and requests, but the node handles,
    /// applies and answers none until [`resume`](Self::resume).
    ///
    /// Nothing is applied after this has returned. An answer that was already sent may still arrive.
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

    /// Ends a [`pause`](Self::pause). Requests that arrived meanwhile are handled now.
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

    /// Stops the node: closes its listener and all connections, discards late requests, and waits for its threads.
    /// Connections are refused from then on.
    ///
    /// Groups, log and script are kept, and can be read and changed. Does nothing on a stopped node.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let node = cluster_client::testing::Node::start()?;
    /// node.stop();
    /// assert!(std::net::TcpStream::connect(node.address()).is_err());
    /// # Ok(()) }
    /// ```
    pub fn stop(&self) {
        self.stop_in(&mut self.lifecycle());
    }

    fn lifecycle(&self) -> MutexGuard<'_, Lifecycle> {
        self.lifecycle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop_in(&self, lifecycle: &mut Lifecycle) {
        if let Lifecycle::Running(listening) = std::mem::replace(lifecycle, Lifecycle::Stopped(None)) {
            *lifecycle = Lifecycle::Stopped(listener::close(&self.server, self.address, listening));
        }
    }

    /// Starts the node again on its port, with its groups, log and script. Stops a running node first. Ends a pause.
    /// The port of a stopped node stays reserved.
    ///
    /// # Errors
    /// If the address cannot be listened on any more, or no thread is left. The node is then stopped.
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
        let mut lifecycle = self.lifecycle();
        self.stop_in(&mut lifecycle);
        let listener = bind(&self.address.to_string())?;
        *lifecycle = Lifecycle::Running(listener::open(&self.server, listener)?);
        Ok(())
    }
}

/// Stops the node, as [`Node::stop`] does, and closes its data file.
impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
        // A thread may hold a handle on the server a moment longer, so close the file here.
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

/// Listens on `host:port`. An error names the address.
pub(super) fn bind(address: &str) -> io::Result<TcpListener> {
    let bound = address.to_socket_addrs().and_then(|found| TcpListener::bind(found.collect::<Vec<_>>().as_slice()));
    bound.map_err(|error| io::Error::new(error.kind(), format!("a node cannot listen on {address}: {error}")))
}
