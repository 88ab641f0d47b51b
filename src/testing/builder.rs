//! The settings of a node, checked at its start.

use std::{collections::BTreeSet, io, path::PathBuf, time::Duration};

use super::{
    data_file::DataFile,
    fault::Fault,
    node::{Node, bind},
    rates::Rates,
    route::{NodePaths, TrailingSlash},
    server::Settings,
    state::{NodeState, Statuses},
};

/// The settings of a new [`Node`].
///
/// ```
/// use std::time::Duration;
/// use cluster_client::testing::{Fault, Method, Node, Rates};
/// # fn main() -> std::io::Result<()> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("node.groups");
/// let node = Node::builder()
///     .address("127.0.0.1:0")
///     .data_file(path)
///     .latency(Duration::from_millis(1))
///     .seed(7)
///     .rates(Rates { error: 0.2, ..Rates::default() })
///     .faults([Fault::answer(503).on(Method::Post), Fault::mute().group("g")])
///     .start()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `start`"]
pub struct NodeBuilder {
    address: String,
    data_file: Option<PathBuf>,
    path: String,
    trailing_slash: TrailingSlash,
    statuses: Statuses,
    latency: Duration,
    max_connections: usize,
    log_limit: usize,
    seed: u64,
    rates: Rates,
    faults: Vec<Fault>,
}

impl Default for NodeBuilder {
    fn default() -> Self {
        Self {
            address: "127.0.0.1:0".to_owned(),
            data_file: None,
            path: "/v1/group/".to_owned(),
            trailing_slash: TrailingSlash::default(),
            statuses: Statuses { existing: 400, deleted: 200, absent: 404 },
            latency: Duration::ZERO,
            max_connections: 4096,
            log_limit: 65_536,
            seed: 0,
            rates: Rates::default(),
            faults: Vec::new(),
        }
    }
}

impl Node {
    /// Starts a node with all defaults, on 127.0.0.1 and a port that the system chooses.
    ///
    /// # Errors
    /// If the system has no port or no thread left.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let node = cluster_client::testing::Node::start()?;
    /// assert!(node.groups().is_empty());
    /// # Ok(()) }
    /// ```
    pub fn start() -> io::Result<Self> {
        Self::builder().start()
    }

    /// Returns a builder for a node with other settings.
    ///
    /// ```
    /// use std::time::Duration;
    /// use cluster_client::testing::Node;
    /// # fn main() -> std::io::Result<()> {
    /// let node = Node::builder().latency(Duration::from_millis(20)).start()?;
    /// # Ok(()) }
    /// ```
    pub fn builder() -> NodeBuilder {
        NodeBuilder::default()
    }
}

impl NodeBuilder {
    /// Sets the address to listen on, as `host:port`; the system chooses port 0. `127.0.0.1:0` by default.
    ///
    /// ```
    /// use cluster_client::testing::Node;
    /// # fn main() -> std::io::Result<()> {
    /// let node = Node::builder().address("127.0.0.1:0").start()?;
    /// assert_ne!(node.port(), 0);
    /// # Ok(()) }
    /// ```
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = address.into();
        self
    }

    /// Stores the groups in this file, which is created if it is missing. Without a file they end with the node.
    ///
    /// A change is written before its request is answered. So it survives a killed process, but no power failure,
    /// because the file is not fsynced. A torn last line is dropped with a warning in the log. One node at a time can
    /// use a file.
    ///
    /// ```
    /// use cluster_client::testing::Node;
    /// # fn main() -> std::io::Result<()> {
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("node.groups");
    /// let node = Node::builder().data_file(&path).start()?;
    /// node.insert("g");
    /// drop(node);
    /// assert!(Node::builder().data_file(&path).start()?.has("g"));
    /// # Ok(()) }
    /// ```
    pub fn data_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_file = Some(path.into());
        self
    }

    /// Sets the path of the groups, `/v1/group/` by default. If it ends with a slash, so does the path of each group.
    ///
    /// ```
    /// use cluster_client::testing::Node;
    /// # fn main() -> std::io::Result<()> {
    /// let node = Node::builder().path("/api/groups").start()?;
    /// # Ok(()) }
    /// ```
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Sets the answer to a path whose trailing slash is missing or extra; lenient by default.
    ///
    /// ```
    /// use cluster_client::testing::{Node, TrailingSlash};
    /// # fn main() -> std::io::Result<()> {
    /// let node = Node::builder().trailing_slash(TrailingSlash::Strict).start()?;
    /// # Ok(()) }
    /// ```
    pub fn trailing_slash(mut self, trailing_slash: TrailingSlash) -> Self {
        self.trailing_slash = trailing_slash;
        self
    }

    /// Sets the status of a create of an existing group: 400 by default, 409 on some nodes.
    ///
    /// ```
    /// use cluster_client::testing::Node;
    /// # fn main() -> std::io::Result<()> {
    /// let node = Node::builder().existing_status(409).start()?;
    /// # Ok(()) }
    /// ```
    pub fn existing_status(mut self, status: u16) -> Self {
        self.statuses.existing = status;
        self
    }

    /// Sets the status of a delete of an existing group: 200 by default, 204 on some nodes.
    ///
    /// ```
    /// use cluster_client::testing::Node;
    /// # fn main() -> std::io::Result<()> {
    /// let node = Node::builder().deleted_status(204).start()?;
    /// # Ok(()) }
    /// ```
    pub fn deleted_status(mut self, status: u16) -> Self {
        self.statuses.deleted = status;
        self
    }

    /// Sets the status of a delete of an absent group: 404 by default, 400 on some nodes.
    ///
    /// ```
    /// use cluster_client::testing::Node;
    /// # fn main() -> std::io::Result<()> {
    /// let node = Node::builder().absent_status(400).start()?;
    /// # Ok(()) }
    /// ```
    pub fn absent_status(mut self, status: u16) -> Self {
        self.statuses.absent = status;
        self
    }

    /// Sets the delay before each request is handled; zero by default.
    ///
    /// ```
    /// use cluster_client::testing::Node;
    /// # fn main() -> std::io::Result<()> {
    /// let node = Node::builder().latency(std::time::Duration::from_millis(20)).start()?;
    /// # Ok(()) }
    /// ```
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// Sets the maximum number of open connections, each with a thread; 4,096 by default. Further connections are
    /// answered 503 and closed.
    ///
    /// ```
    /// use cluster_client::testing::Node;
    /// # fn main() -> std::io::Result<()> {
    /// let node = Node::builder().max_connections(64).start()?;
    /// # Ok(()) }
    /// ```
    pub fn max_connections(mut self, limit: usize) -> Self {
        self.max_connections = limit;
        self
    }

    /// Sets the maximum number of requests in the log; 65,536 by default. The oldest are removed first.
    ///
    /// ```
    /// use cluster_client::testing::Node;
    /// # fn main() -> std::io::Result<()> {
    /// let node = Node::builder().log_limit(0).start()?;
    /// # Ok(()) }
    /// ```
    pub fn log_limit(mut self, limit: usize) -> Self {
        self.log_limit = limit;
        self
    }

    /// Sets the seed of the random faults; 0 by default.
    ///
    /// ```
    /// use cluster_client::testing::Node;
    /// # fn main() -> std::io::Result<()> {
    /// let node = Node::builder().seed(7).start()?;
    /// # Ok(()) }
    /// ```
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets the probabilities of random faults; zero by default.
    ///
    /// ```
    /// use cluster_client::testing::{Node, Rates};
    /// # fn main() -> std::io::Result<()> {
    /// let rates = Rates { error: 0.1, ..Rates::default() };
    /// let node = Node::builder().rates(rates).start()?;
    /// # Ok(()) }
    /// ```
    pub fn rates(mut self, rates: Rates) -> Self {
        self.rates = rates;
        self
    }

    /// Adds faults to the script, as [`Node::inject`] does.
    ///
    /// ```
    /// use cluster_client::testing::{Fault, Node};
    /// # fn main() -> std::io::Result<()> {
    /// let node = Node::builder().faults([Fault::answer(503), Fault::mute()]).start()?;
    /// assert_eq!(node.pending_faults(), 2);
    /// # Ok(()) }
    /// ```
    pub fn faults(mut self, faults: impl IntoIterator<Item = Fault>) -> Self {
        self.faults.extend(faults);
        self
    }

    /// Starts the node. It accepts connections when this returns.
    ///
    /// # Errors
    /// If the address is malformed or cannot be listened on, if a rate or the path is invalid, or if no thread is left.
    /// Also if the data file cannot be opened, has other content, or is used by another node. The message names the
    /// address, the file or the value.
    ///
    /// ```
    /// # use cluster_client::testing::Node;
    /// let error = Node::builder().data_file("/no/such/directory/file").start().unwrap_err();
    /// assert!(error.to_string().starts_with("data file /no/such/directory/file: "));
    /// ```
    pub fn start(self) -> io::Result<Node> {
        let rates = self.rates.validated()?;
        if !self.path.starts_with('/') {
            let message = format!("the path {:?} does not begin with a slash", self.path);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let (file, groups) = match &self.data_file {
            None => (None, BTreeSet::new()),
            Some(path) => {
                let (file, groups) = DataFile::open(path)?;
                (Some(file), groups)
            }
        };
        let listener = bind(&self.address)?;
        let mut state = NodeState::new(groups, file, rates, self.seed, self.log_limit);
        for fault in self.faults {
            state.script.push(fault);
        }
        let settings = Settings {
            paths: NodePaths::new(&self.path, self.trailing_slash),
            statuses: self.statuses,
            latency: self.latency,
            max_connections: self.max_connections,
        };
        Node::open(listener, settings, state)
    }
}
