//! Floor 3: the public client and its operations.

pub(crate) mod batch;
pub(crate) mod builder;
pub(crate) mod cancel;
pub(crate) mod driver;
pub(crate) mod exchanges;
pub(crate) mod forget;
pub(crate) mod inner;
pub(crate) mod invocation;
mod journal_batch;
pub(crate) mod journal_calls;
pub(crate) mod observer;
pub(crate) mod operations;
pub(crate) mod options;
pub(crate) mod parts;
pub(crate) mod probe;

use std::sync::Arc;

use crate::client::batch::Bulk;
use crate::client::inner::ClientInner;
use crate::client::invocation::Invocation;
use crate::client::options::OperationOptions;

use crate::journal::Journal;
use crate::values::cause::JournalError;
use crate::values::error::{Deletion, Error};
use crate::values::group::IntoGroupId;
use crate::values::host::{Host, Hosts};
use crate::values::outcome::Outcome;
use crate::values::report::{Operation, Report, Target};

/// Creates and deletes groups on every host of a cluster, or on none.
///
/// A client is cheap to clone and holds no runtime. Many threads may use it at once, also from inside a rayon pool.
/// Calls block until the operation has ended, in bounded time. Two operations of one client never work on one group
/// at once. The second is retried by its retry policy, then it ends with [`Error::Busy`].
///
/// ```no_run
/// use cluster_client::ClusterClient;
///
/// let client = ClusterClient::new(["http://node1:8000", "http://node2:8000"])?;
/// client.create_group("example-group")?; // verified on every host
/// let deletion = client.delete_group("example-group")?;
/// assert_eq!(deletion.undeleted().count(), 0);
/// # Ok::<(), cluster_client::Error>(())
/// ```
#[derive(Clone)]
pub struct ClusterClient {
    inner: Arc<ClientInner>,
    options: OperationOptions,
}

impl From<ClientInner> for ClusterClient {
    fn from(inner: ClientInner) -> Self {
        ClusterClient { inner: Arc::new(inner), options: OperationOptions::default() }
    }
}

impl std::fmt::Debug for ClusterClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterClient")
            .field("hosts", &self.inner.hosts)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl ClusterClient {
    /// Returns the hosts, in the order given.
    ///
    /// ```
    /// let client = cluster_client::ClusterClient::new(["http://node2:8000", "http://node1:8000"])?;
    /// assert_eq!(client.hosts().as_slice()[0].authority(), "node2:8000");
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn hosts(&self) -> &Hosts {
        &self.inner.hosts
    }

    /// Whether requests to this host have credentials: a secret in a header, or a client certificate. An unfinished operation
    /// that had some for a host is recovered only with some: see [`Cause::NoCredentials`](crate::Cause::NoCredentials).
    ///
    /// ```
    /// use cluster_client::{ClusterClient, Credentials, Host};
    ///
    /// let client = ClusterClient::builder().hosts(["https://node1"]).credentials(Credentials::bearer("t")).build()?;
    /// assert!(client.has_credentials(&Host::parse("https://node1")?));
    /// assert!(!client.has_credentials(&Host::parse("https://node2")?));
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn has_credentials(&self, host: &Host) -> bool {
        self.inner.authorized.has(host)
    }

    /// Warnings about the settings, for a person: a file with a key or a secret that other users can read, or
    /// verification that is off. [`ClientBuilder::build`](crate::ClientBuilder::build) logs each at the level warn.
    ///
    /// ```
    /// let client = cluster_client::ClusterClient::new(["http://node1:8000"])?;
    /// assert!(client.warnings().is_empty());
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn warnings(&self) -> &[String] {
        &self.inner.warnings
    }

    /// Returns a clone of this client with other options: a timeout, a cancel token, no preflight. They replace all
    /// earlier options. Everything else is shared.
    ///
    /// ```no_run
    /// use cluster_client::{ClusterClient, OperationOptions};
    ///
    /// let client = ClusterClient::new(["http://node1:8000"])?;
    /// client.with(OperationOptions::new().preflight(false)).create_group("payments")?;
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    #[must_use = "the client itself keeps its options"]
    pub fn with(&self, options: OperationOptions) -> Self {
        ClusterClient { inner: Arc::clone(&self.inner), options }
    }

    /// Creates a group on every host and verifies it there, or leaves it on none.
    ///
    /// `Ok` means that this call sent its request to every host, and that every host then had the group.
    ///
    /// # Errors
    /// * [`Error::AlreadyExists`], [`Error::Unavailable`], [`Error::Busy`], [`Error::Journal`],
    ///   [`Error::Config`]: nothing was changed.
    /// * [`Error::RolledBack`]: it failed, and every host is verified without the group.
    /// * [`Error::Cancelled`], [`Error::TimedOut`]: it was cancelled or too slow, and every host is verified without
    ///   the group.
    /// * [`Error::Incomplete`], [`Error::InDoubt`], [`Error::Unrecorded`]: each names its remedy.
    ///
    /// ```
    /// use cluster_client::State;
    ///
    /// # #[cfg(feature = "testing")] {
    /// # let cluster = cluster_client::testing::Cluster::start(2)?;
    /// # let client = cluster_client::ClusterClient::new(cluster.urls())?;
    /// let report = client.create_group("payments")?;
    /// assert!(report.all(State::Present));
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn create_group(&self, group: impl IntoGroupId) -> Result<Report, Error> {
        self.run(Operation::Create, group)
    }

    /// Deletes a group from every host, even if other hosts fail. A host without the group counts as a success.
    ///
    /// The result is `Ok` even if hosts kept the group. [`Deletion::undeleted`] returns these hosts, and
    /// [`Deletion::complete`] turns them into an error.
    ///
    /// # Errors
    /// * [`Error::Busy`], [`Error::Journal`], [`Error::Unavailable`], [`Error::Cancelled`], [`Error::TimedOut`],
    ///   [`Error::Config`]: nothing was changed.
    /// * [`Error::Incomplete`], [`Error::InDoubt`]: an earlier operation on the group could not be settled first, so
    ///   the delete did not begin.
    ///
    /// ```
    /// # #[cfg(feature = "testing")] {
    /// # let cluster = cluster_client::testing::Cluster::start(2)?;
    /// # let client = cluster_client::ClusterClient::new(cluster.urls())?;
    /// # client.create_group("payments")?;
    /// let deletion = client.delete_group("payments")?;
    /// assert_eq!(deletion.undeleted().count(), 0);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn delete_group(&self, group: impl IntoGroupId) -> Result<Deletion, Error> {
        deletion(self.invocation().run(Operation::Delete, self.inner.api.named(group)?)?)
    }

    /// Asks every host whether it has the group. Changes nothing.
    ///
    /// # Errors
    /// [`Error::Config`] for an invalid id. A host that does not answer is no error: its state in the report is
    /// unknown.
    ///
    /// ```
    /// use cluster_client::State;
    ///
    /// # #[cfg(feature = "testing")] {
    /// # let cluster = cluster_client::testing::Cluster::start(2)?;
    /// # let client = cluster_client::ClusterClient::new(cluster.urls())?;
    /// let report = client.group_status("payments")?;
    /// assert!(report.all(State::Absent));
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn group_status(&self, group: impl IntoGroupId) -> Result<Report, Error> {
        self.run(Operation::Status, group)
    }

    /// Drives every host to the wanted state, without a rollback. Use it if the hosts of a cluster disagree. It
    /// replaces an unfinished operation on the group.
    ///
    /// [`HostReport::changed`](crate::HostReport::changed) returns whether a host was changed.
    ///
    /// # Errors
    /// * [`Error::Incomplete`]: some hosts are known not to be in that state.
    /// * [`Error::InDoubt`]: the state of some hosts is unknown.
    /// * [`Error::Conflict`]: an unfinished operation names hosts that this client does not have. Nothing was sent.
    /// * The other errors of [`ClusterClient::delete_group`].
    ///
    /// ```
    /// use cluster_client::{State, Target};
    ///
    /// # #[cfg(feature = "testing")] {
    /// # let cluster = cluster_client::testing::Cluster::start(2)?;
    /// # let client = cluster_client::ClusterClient::new(cluster.urls())?;
    /// # cluster.node(1).insert("payments");
    /// assert_eq!(client.group_status("payments")?.present().count(), 1);
    /// let report = client.repair_group("payments", Target::Present)?;
    /// assert!(report.all(State::Present));
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn repair_group(&self, group: impl IntoGroupId, target: Target) -> Result<Report, Error> {
        self.run(Operation::Repair(target), group)
    }

    /// Settles the operations in the journal whose process has ended. Creates are rolled back, deletes are finished.
    /// It may be called at any time. If it is interrupted, call it again.
    ///
    /// A client without a journal has nothing to recover.
    ///
    /// # Errors
    /// [`Error::Journal`] if the journal as a whole cannot be read. Operations that could not be settled are in the
    /// [`Recovery`].
    ///
    /// ```
    /// use cluster_client::ClusterClient;
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let journal = directory.path().join("journal");
    /// let client = ClusterClient::builder().hosts(["http://node1:8000"]).journal(journal).build()?;
    /// let recovery = client.recover()?;
    /// assert!(recovery.is_complete());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recover(&self) -> Result<Recovery, Error> {
        let unfinished = self.inner.unfinished();
        let unfinished = unfinished.map_err(|source| Error::Journal { report: None, source })?;
        let groups = unfinished.entries.iter().map(|entry| entry.group().as_str());
        let mut recovery = Recovery { unreadable: unfinished.unreadable, ..Recovery::default() };
        for done in Bulk::new(self.invocation(), Operation::Recover, groups, Report::into_result) {
            match done.result {
                Ok(report) => recovery.settled.push(report),
                Err(error) => recovery.unsettled.push(error),
            }
        }
        Ok(recovery)
    }

    /// Creates many groups, a bounded number at a time. See [`Bulk`].
    ///
    /// ```
    /// # #[cfg(feature = "testing")] {
    /// # let cluster = cluster_client::testing::Cluster::start(2)?;
    /// # let client = cluster_client::ClusterClient::new(cluster.urls())?;
    /// for done in client.create_groups(["payments", "orders"]) {
    ///     println!("{}: {}", done.id, done.result?.summary());
    /// }
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn create_groups<I>(&self, groups: I) -> Bulk<I::IntoIter>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        Bulk::new(self.invocation(), Operation::Create, groups.into_iter(), Report::into_result)
    }

    /// Deletes many groups, a bounded number at a time. See [`Bulk`]. Each result equals that of
    /// [`ClusterClient::delete_group`].
    ///
    /// ```
    /// # #[cfg(feature = "testing")] {
    /// # let cluster = cluster_client::testing::Cluster::start(2)?;
    /// # let client = cluster_client::ClusterClient::new(cluster.urls())?;
    /// let deletions: Result<Vec<_>, _> = client.delete_groups(["payments", "orders"]).map(|done| done.result).collect();
    /// assert!(deletions?.iter().all(|deletion| deletion.undeleted().count() == 0));
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn delete_groups<I>(&self, groups: I) -> Bulk<I::IntoIter, Deletion>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        Bulk::new(self.invocation(), Operation::Delete, groups.into_iter(), deletion)
    }

    /// Asks every host for many groups, a bounded number at a time. See [`Bulk`].
    ///
    /// ```
    /// # #[cfg(feature = "testing")] {
    /// # let cluster = cluster_client::testing::Cluster::start(2)?;
    /// # let client = cluster_client::ClusterClient::new(cluster.urls())?;
    /// # client.create_group("orders")?;
    /// for done in client.group_statuses(["payments", "orders"]) {
    ///     let report = done.result?;
    ///     println!("{} is on {} hosts", done.id, report.present().count());
    /// }
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn group_statuses<I>(&self, groups: I) -> Bulk<I::IntoIter>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        Bulk::new(self.invocation(), Operation::Status, groups.into_iter(), Report::into_result)
    }

    /// Drives many groups to the wanted state, a bounded number at a time. See [`Bulk`].
    ///
    /// ```
    /// use cluster_client::{State, Target};
    ///
    /// # #[cfg(feature = "testing")] {
    /// # let cluster = cluster_client::testing::Cluster::start(2)?;
    /// # let client = cluster_client::ClusterClient::new(cluster.urls())?;
    /// # cluster.node(1).insert("orders");
    /// for done in client.repair_groups(["payments", "orders"], Target::Absent) {
    ///     assert!(done.result?.all(State::Absent), "{} is left", done.id);
    /// }
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn repair_groups<I>(&self, groups: I, target: Target) -> Bulk<I::IntoIter>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        Bulk::new(self.invocation(), Operation::Repair(target), groups.into_iter(), Report::into_result)
    }

    /// Returns the journal, if the client has one.
    pub(crate) fn journal(&self) -> Option<&dyn Journal> {
        self.inner.keeps_intents.then_some(&*self.inner.journal)
    }

    fn invocation(&self) -> Invocation {
        Invocation::new(Arc::clone(&self.inner), self.options.clone())
    }

    fn run(&self, operation: Operation, group: impl IntoGroupId) -> Result<Report, Error> {
        self.invocation().run(operation, self.inner.api.named(group)?)?.into_result()
    }
}

/// The result of a delete: a [`Deletion`] as soon as the delete itself went over the hosts, whatever they kept.
fn deletion(report: Report) -> Result<Deletion, Error> {
    let went_over = matches!(report.outcome, Outcome::Incomplete | Outcome::InDoubt);
    if report.operation == Operation::Delete && went_over {
        return Ok(report.into());
    }
    report.into_result().map(Deletion::from)
}

/// Result of [`ClusterClient::recover`].
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// # let builder = cluster_client::ClusterClient::builder().hosts(["http://node1:8000"]);
/// # let client = builder.journal(directory.path().join("journal")).build()?;
/// let recovery = client.recover()?;
/// for report in &recovery.settled {
///     println!("{}", report.summary());
/// }
/// for error in &recovery.unsettled {
///     eprintln!("{error}");
/// }
/// for error in &recovery.unreadable {
///     eprintln!("{error}: {}", error.io_error());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
#[must_use = "a recovery says what could not be settled"]
#[non_exhaustive]
pub struct Recovery {
    /// One report for each group that is settled now.
    pub settled: Vec<Report>,
    /// One error for each group that is not settled: hosts do not answer, or a running process owns the group.
    pub unsettled: Vec<Error>,
    /// One error for each entry of the journal that cannot be read. The entries are kept unchanged.
    pub unreadable: Vec<JournalError>,
}

impl Recovery {
    /// Returns whether every operation is settled and every entry could be read.
    pub fn is_complete(&self) -> bool {
        self.unsettled.is_empty() && self.unreadable.is_empty()
    }
}
