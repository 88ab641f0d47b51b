//! Several nodes that are used together.

use std::io;

use super::{builder::NodeBuilder, node::Node};

/// Several nodes, numbered from 0. They do not communicate: only a client keeps their groups consistent.
///
/// ```
/// use cluster_client::testing::{Cluster, Fault};
/// # fn main() -> std::io::Result<()> {
/// let cluster = Cluster::start(3)?;
/// cluster.node(1).inject(Fault::answer(503));
/// cluster.node(2).insert("g");
/// assert_eq!(cluster.urls().len(), 3);
/// assert_eq!(cluster.holders("g"), [2]);
/// assert!(cluster.none_has("h"));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
}

impl Cluster {
    /// Starts `size` nodes as [`Node::start`] does.
    ///
    /// # Errors
    /// When one of them cannot be started; the others are stopped again.
    ///
    /// ```
    /// use cluster_client::testing::Cluster;
    /// # fn main() -> std::io::Result<()> {
    /// let cluster = Cluster::start(3)?;
    /// assert_eq!(cluster.nodes().len(), 3);
    /// # Ok(()) }
    /// ```
    pub fn start(size: usize) -> io::Result<Self> {
        Self::start_with(size, |_| Node::builder())
    }

    /// Starts `size` nodes, each with the settings that `builder` gives for its number.
    ///
    /// # Errors
    /// When one of them cannot be started; the others are stopped again.
    ///
    /// ```
    /// use cluster_client::testing::{Cluster, Node};
    /// # fn main() -> std::io::Result<()> {
    /// let cluster = Cluster::start_with(2, |number| Node::builder().seed(number as u64))?;
    /// # Ok(()) }
    /// ```
    pub fn start_with(size: usize, builder: impl FnMut(usize) -> NodeBuilder) -> io::Result<Self> {
        let nodes = (0..size).map(builder).map(NodeBuilder::start).collect::<io::Result<_>>()?;
        Ok(Self { nodes })
    }

    /// The base URLs of all nodes, by number.
    ///
    /// ```
    /// use cluster_client::testing::Cluster;
    /// # fn main() -> std::io::Result<()> {
    /// let cluster = Cluster::start(2)?;
    /// assert_eq!(cluster.urls()[1], cluster.node(1).url());
    /// # Ok(()) }
    /// ```
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Node::url).collect()
    }

    /// The node with this number.
    ///
    /// # Panics
    /// If there is no such node. [`nodes`](Self::nodes) has a `get`.
    ///
    /// ```
    /// use cluster_client::testing::Cluster;
    /// # fn main() -> std::io::Result<()> {
    /// let cluster = Cluster::start(2)?;
    /// cluster.node(1).stop();
    /// # Ok(()) }
    /// ```
    pub fn node(&self, number: usize) -> &Node {
        &self.nodes[number]
    }

    /// All nodes, by number.
    ///
    /// ```
    /// use cluster_client::testing::Cluster;
    /// # fn main() -> std::io::Result<()> {
    /// for node in Cluster::start(2)?.nodes() {
    ///     node.insert("g");
    /// }
    /// # Ok(()) }
    /// ```
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Whether every node has the group now.
    ///
    /// ```
    /// use cluster_client::testing::Cluster;
    /// # fn main() -> std::io::Result<()> {
    /// let cluster = Cluster::start(2)?;
    /// cluster.node(0).insert("g");
    /// assert!(!cluster.all_have("g"));
    /// # Ok(()) }
    /// ```
    pub fn all_have(&self, group: &str) -> bool {
        self.nodes.iter().all(|node| node.has(group))
    }

    /// Whether no node has the group now.
    ///
    /// ```
    /// use cluster_client::testing::Cluster;
    /// # fn main() -> std::io::Result<()> {
    /// let cluster = Cluster::start(2)?;
    /// cluster.node(0).insert("g");
    /// assert!(!cluster.none_has("g"));
    /// # Ok(()) }
    /// ```
    pub fn none_has(&self, group: &str) -> bool {
        !self.nodes.iter().any(|node| node.has(group))
    }

    /// The numbers of the nodes that have the group now, ascending.
    ///
    /// ```
    /// use cluster_client::testing::Cluster;
    /// # fn main() -> std::io::Result<()> {
    /// let cluster = Cluster::start(2)?;
    /// cluster.node(1).insert("g");
    /// assert_eq!(cluster.holders("g"), [1]);
    /// # Ok(()) }
    /// ```
    pub fn holders(&self, group: &str) -> Vec<usize> {
        (0..self.nodes.len()).filter(|number| self.nodes[*number].has(group)).collect()
    }
}
