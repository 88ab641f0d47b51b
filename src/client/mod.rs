//! Floor 3: what a program uses: the client, and one call with more said about it.

pub(crate) mod batch;
pub(crate) mod builder;
pub(crate) mod cancel;
pub(crate) mod driver;
pub(crate) mod exchanges;
pub(crate) mod forget;
pub(crate) mod inner;
mod journal_batch;
pub(crate) mod journal_calls;
pub(crate) mod observer;
pub(crate) mod operations;
pub(crate) mod options;
pub(crate) mod parts;

use std::sync::Arc;
use std::time::Duration;

use crate::client::batch::Bulk;
use crate::client::cancel::CancelToken;
use crate::client::inner::ClientInner;
use crate::client::options::OperationOptions;
use crate::journal::Journal;
use crate::values::cause::JournalError;
use crate::values::config::ConfigError;
use crate::values::error::Error;
use crate::values::group::GroupId;
use crate::values::host::Hosts;
use crate::values::report::{Deletion, Operation, Report, Target};

/// Creates and deletes groups on every host of a cluster, or on none.
///
/// It is cheap to clone, may be used from many threads at once and from inside anybody's rayon pool, and
/// holds no runtime. Calls block until the operation has ended; each ends in bounded time. Two operations
/// of one client never work on one group at once: the second tries again as its retry policy says, then it
/// ends with [`Error::Busy`].
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
}

impl From<ClientInner> for ClusterClient {
    fn from(inner: ClientInner) -> Self {
        ClusterClient { inner: Arc::new(inner) }
    }
}

impl std::fmt::Debug for ClusterClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterClient").field("hosts", &self.inner.hosts).finish_non_exhaustive()
    }
}

impl ClusterClient {
    /// The hosts, in the order given.
    pub fn hosts(&self) -> &Hosts {
        &self.inner.hosts
    }

    /// Creates a group on every host and verifies it there, or leaves it on none.
    ///
    /// `Ok` means: our own request was sent to every host, and every host then showed the group.
    ///
    /// # Errors
    /// * [`Error::AlreadyExists`], [`Error::Unavailable`], [`Error::Busy`], [`Error::Journal`],
    ///   [`Error::Config`]: nothing was changed.
    /// * [`Error::RolledBack`]: it failed, and every host is verified without the group.
    /// * [`Error::InDoubt`], [`Error::Unrecorded`]: see there what to do.
    pub fn create_group<G>(&self, group: G) -> Result<Report, Error>
    where
        G: TryInto<GroupId>,
        ConfigError: From<G::Error>,
    {
        self.call().create_group(group)
    }

    /// Deletes a group from every host, whatever happens on the others. A group that is not there is
    /// success.
    ///
    /// It is `Ok` also where hosts kept the group: [`Deletion::undeleted`] names them.
    ///
    /// # Errors
    /// [`Error::InDoubt`] where an earlier operation on the group could not be settled first;
    /// [`Error::Busy`], [`Error::Journal`], [`Error::Unavailable`], [`Error::Config`]: nothing was changed.
    pub fn delete_group<G>(&self, group: G) -> Result<Deletion, Error>
    where
        G: TryInto<GroupId>,
        ConfigError: From<G::Error>,
    {
        self.call().delete_group(group)
    }

    /// Asks every host whether it has the group. Changes nothing.
    ///
    /// # Errors
    /// [`Error::Config`] for an id that is none. A host that does not answer is no error: the report
    /// calls it unknown.
    pub fn status<G>(&self, group: G) -> Result<Report, Error>
    where
        G: TryInto<GroupId>,
        ConfigError: From<G::Error>,
    {
        self.call().status(group)
    }

    /// Drives every host to the wanted state, forward only: it is how a person settles a cluster whose
    /// hosts disagree. It takes the place of an unfinished operation on the group.
    ///
    /// [`HostReport::changed`](crate::HostReport::changed) tells what it did where.
    ///
    /// # Errors
    /// [`Error::InDoubt`] where not every host came to that state; the others as for
    /// [`ClusterClient::delete_group`].
    pub fn repair<G>(&self, group: G, target: Target) -> Result<Report, Error>
    where
        G: TryInto<GroupId>,
        ConfigError: From<G::Error>,
    {
        self.call().repair(group, target)
    }

    /// Settles what operations whose process is gone have left in the store: creates are rolled back,
    /// deletes finished. It may be called at any time, killed, and called again.
    ///
    /// A client without a store has nothing to recover.
    ///
    /// # Errors
    /// [`Error::Journal`] where the store as a whole cannot be read. What could not be settled is in the
    /// [`Recovery`].
    pub fn recover(&self) -> Result<Recovery, JournalError> {
        self.call().recover()
    }

    /// Creates many groups, a bounded number at a time: see [`Bulk`].
    pub fn create_groups<I>(&self, groups: I) -> Bulk<I::IntoIter>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        self.call().create_groups(groups)
    }

    /// Deletes many groups, a bounded number at a time: see [`Bulk`].
    pub fn delete_groups<I>(&self, groups: I) -> Bulk<I::IntoIter>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        self.call().delete_groups(groups)
    }

    /// Looks where many groups are, a bounded number at a time: see [`Bulk`].
    pub fn status_groups<I>(&self, groups: I) -> Bulk<I::IntoIter>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        self.call().status_groups(groups)
    }

    /// Brings many groups to the wanted state, a bounded number at a time: see [`Bulk`].
    pub fn repair_groups<I>(&self, groups: I, target: Target) -> Bulk<I::IntoIter>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        self.call().repair_groups(groups, target)
    }

    /// The journal, if the client has one.
    pub(crate) fn journal(&self) -> Option<&dyn Journal> {
        self.inner.keeps_intents.then_some(&*self.inner.journal)
    }

    /// One call of which more is said than the id: a deadline, a cancel token, no preflight.
    pub fn call(&self) -> Call {
        Call { options: OperationOptions::new(Arc::clone(&self.inner)) }
    }
}

/// One call of which more is said. See [`ClusterClient::call`].
///
/// ```no_run
/// use std::time::Duration;
/// use cluster_client::{CancelToken, ClusterClient};
///
/// let client = ClusterClient::new(["http://node1:8000"])?;
/// let cancel = CancelToken::new();
/// client.call().deadline(Duration::from_secs(30)).cancel(&cancel).create_group("payments")?;
/// # Ok::<(), cluster_client::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a call does nothing before it is told what to do"]
pub struct Call {
    options: OperationOptions,
}

impl Call {
    /// The time that the operation may take, from its start. A rollback has time of its own beyond it,
    /// [`ClientBuilder::rollback_timeout`](crate::ClientBuilder::rollback_timeout). Zero means that nothing is sent.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = Some(deadline);
        self
    }

    /// Lets `token` give the operation up: a create is then rolled back, never walked away from.
    pub fn cancel(mut self, token: &CancelToken) -> Self {
        self.options.cancel = Some(token.clone());
        self
    }

    /// Whether every host is asked before anything is created; it is by default.
    ///
    /// Without it a create takes one round trip less, and a failed one leaves more in doubt: on a host whose
    /// answer was lost, the group may be ours or somebody else's, so it is reported and not deleted.
    pub fn preflight(mut self, preflight: bool) -> Self {
        self.options.preflight = preflight;
        self
    }

    /// See [`ClusterClient::create_group`].
    ///
    /// # Errors
    /// As there.
    pub fn create_group<G>(&self, group: G) -> Result<Report, Error>
    where
        G: TryInto<GroupId>,
        ConfigError: From<G::Error>,
    {
        self.run(Operation::Create, group)
    }

    /// See [`ClusterClient::delete_group`].
    ///
    /// # Errors
    /// As there.
    pub fn delete_group<G>(&self, group: G) -> Result<Deletion, Error>
    where
        G: TryInto<GroupId>,
        ConfigError: From<G::Error>,
    {
        self.run(Operation::Delete, group).map(Deletion::from)
    }

    /// See [`ClusterClient::status`].
    ///
    /// # Errors
    /// As there.
    pub fn status<G>(&self, group: G) -> Result<Report, Error>
    where
        G: TryInto<GroupId>,
        ConfigError: From<G::Error>,
    {
        self.run(Operation::Status, group)
    }

    /// See [`ClusterClient::repair`].
    ///
    /// # Errors
    /// As there.
    pub fn repair<G>(&self, group: G, target: Target) -> Result<Report, Error>
    where
        G: TryInto<GroupId>,
        ConfigError: From<G::Error>,
    {
        self.run(Operation::Repair(target), group)
    }

    /// See [`ClusterClient::create_groups`].
    pub fn create_groups<I>(&self, groups: I) -> Bulk<I::IntoIter>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Bulk::new(self.options.clone(), Operation::Create, groups.into_iter())
    }

    /// See [`ClusterClient::delete_groups`].
    pub fn delete_groups<I>(&self, groups: I) -> Bulk<I::IntoIter>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Bulk::new(self.options.clone(), Operation::Delete, groups.into_iter())
    }

    /// See [`ClusterClient::status_groups`].
    pub fn status_groups<I>(&self, groups: I) -> Bulk<I::IntoIter>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Bulk::new(self.options.clone(), Operation::Status, groups.into_iter())
    }

    /// See [`ClusterClient::repair_groups`].
    pub fn repair_groups<I>(&self, groups: I, target: Target) -> Bulk<I::IntoIter>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Bulk::new(self.options.clone(), Operation::Repair(target), groups.into_iter())
    }

    /// See [`ClusterClient::recover`].
    ///
    /// # Errors
    /// As there.
    pub fn recover(&self) -> Result<Recovery, JournalError> {
        let unfinished = self.options.client().unfinished()?;
        let groups = unfinished.entries.iter().map(|entry| entry.group().as_str());
        let mut recovery = Recovery { unreadable: unfinished.unreadable, ..Recovery::default() };
        for done in Bulk::new(self.options.clone(), Operation::Recover, groups) {
            match done.result {
                Ok(report) => recovery.settled.push(report),
                Err(error) => recovery.unsettled.push(error),
            }
        }
        Ok(recovery)
    }

    fn run<G>(&self, operation: Operation, group: G) -> Result<Report, Error>
    where
        G: TryInto<GroupId>,
        ConfigError: From<G::Error>,
    {
        self.options.run(operation, group.try_into().map_err(ConfigError::from)?)
    }
}

/// What a recovery found and did.
#[derive(Debug, Default)]
#[must_use = "a recovery says what could not be settled"]
#[non_exhaustive]
pub struct Recovery {
    /// One report for each group that is settled now.
    pub settled: Vec<Report>,
    /// One error for each group that is not: hosts that do not answer, or a living owner.
    pub unsettled: Vec<Error>,
    /// One error for each file of the store that cannot be read. They are kept as they are.
    pub unreadable: Vec<JournalError>,
}

impl Recovery {
    /// Whether nothing is left that somebody should look at.
    pub fn is_complete(&self) -> bool {
        self.unsettled.is_empty() && self.unreadable.is_empty()
    }
}
