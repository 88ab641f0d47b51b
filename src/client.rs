//! Floor 3: what a program uses: the client, its builder, and one call with more said about it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::api::Api;
use crate::bulk::Bulk;
use crate::config::{ConfigError, Origin};
use crate::error::{Error, StoreError};
use crate::executor::{Crew, Threads};
use crate::flight::{Edges, Flight};
use crate::group::GroupId;
use crate::host::{Host, Hosts};
use crate::observer::{Audience, Observer};
use crate::protocol::{Ending, Limits, Machine};
use crate::report::{Deletion, Operation, Outcome, Report, State, Target};
use crate::retry::{RetryBudgets, RetryPolicy};
use crate::store::{DirectoryStore, IntentStore, NoStore};
use crate::transport::{Transport, UreqTransport};

/// Creates and deletes groups on every host of a cluster, or on none.
///
/// It is cheap to clone, may be used from many threads at once and from inside anybody's rayon pool, and
/// holds no runtime. Calls block until the operation has ended; each ends in bounded time. Two operations
/// of one client on one group go one after the other.
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
    shared: Arc<Shared>,
}

struct Shared {
    hosts: Hosts,
    edges: Edges,
    limits: Limits,
    in_flight: usize,
    budgets: Arc<Mutex<RetryBudgets>>,
    threads: Arc<Threads>,
}

impl std::fmt::Debug for ClusterClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterClient").field("hosts", &self.shared.hosts).finish_non_exhaustive()
    }
}

impl ClusterClient {
    /// A client for these hosts, with the defaults of [`ClientBuilder`].
    ///
    /// # Errors
    /// [`Error::Config`] naming the host that was refused. Nothing is sent.
    pub fn new<I>(hosts: I) -> Result<Self, Error>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Self::builder().hosts(hosts).build()
    }

    /// A client for the hosts of the environment variable `HOSTS`: base URLs separated by commas.
    ///
    /// # Errors
    /// [`Error::Config`] where it is not set, or a host in it is refused.
    pub fn from_env() -> Result<Self, Error> {
        Self::builder().hosts_from_env().build()
    }

    /// A client whose every setting can be chosen.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// The hosts, in the order given.
    pub fn hosts(&self) -> &Hosts {
        &self.shared.hosts
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
    pub fn recover(&self) -> Result<Recovery, StoreError> {
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

    /// One call of which more is said than the id: a deadline, a cancel token, no preflight.
    pub fn call(&self) -> Call {
        Call { client: self.clone(), deadline: self.shared.limits.deadline, cancel: None, preflight: true }
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
    client: ClusterClient,
    deadline: Option<Duration>,
    cancel: Option<CancelToken>,
    preflight: bool,
}

impl Call {
    /// The time that the operation may take, from its start. A rollback has time of its own beyond it,
    /// [`ClientBuilder::rollback_timeout`]. Zero means that nothing is sent.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Lets `token` give the operation up: a create is then rolled back, never walked away from.
    pub fn cancel(mut self, token: &CancelToken) -> Self {
        self.cancel = Some(token.clone());
        self
    }

    /// Whether every host is asked before anything is created; it is by default.
    ///
    /// Without it a create takes one round trip less, and a failed one leaves more in doubt: on a host whose
    /// answer was lost, the group may be ours or somebody else's, so it is reported and not deleted.
    pub fn preflight(mut self, preflight: bool) -> Self {
        self.preflight = preflight;
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
        Bulk::new(self.clone(), Operation::Create, groups.into_iter())
    }

    /// See [`ClusterClient::delete_groups`].
    pub fn delete_groups<I>(&self, groups: I) -> Bulk<I::IntoIter>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Bulk::new(self.clone(), Operation::Delete, groups.into_iter())
    }

    /// See [`ClusterClient::recover`].
    ///
    /// # Errors
    /// As there.
    pub fn recover(&self) -> Result<Recovery, StoreError> {
        let unfinished = self.client.shared.edges.store.unfinished()?;
        let mut recovery = Recovery { unreadable: unfinished.unreadable, ..Recovery::default() };
        for done in Bulk::new(self.clone(), Operation::Recover, unfinished.groups.iter().map(GroupId::as_str)) {
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
        let group = group.try_into().map_err(ConfigError::from)?;
        let crew = self.crew(1);
        let _watch = self.watch(&crew);
        crew.change(|flight| flight.add(0, self.machine(operation, group.clone()), Instant::now()));
        let (_, ending, report) = crew.take_part(Flight::collect);
        conclude(ending, report)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.client.shared.in_flight
    }

    pub(crate) fn crew(&self, in_flight: usize) -> Arc<Crew<Flight, Edges>> {
        let shared = &self.client.shared;
        let flight = Flight::new(shared.edges.clone(), Arc::clone(&shared.budgets), in_flight);
        Crew::new(flight, shared.edges.clone(), Arc::clone(&shared.threads))
    }

    pub(crate) fn watch(&self, crew: &Arc<Crew<Flight, Edges>>) -> Option<Arc<dyn Cancel>> {
        let token = self.cancel.as_ref()?;
        let watch: Arc<dyn Cancel> = Arc::<Crew<Flight, Edges>>::clone(crew);
        token.watch(&watch);
        Some(watch)
    }

    pub(crate) fn machine(&self, operation: Operation, group: GroupId) -> Machine {
        let shared = &self.client.shared;
        let limits = Limits { deadline: self.deadline, ..shared.limits.clone() };
        let cluster = Arc::clone(&shared.edges.cluster);
        Machine::new(operation, self.preflight, group, cluster, limits, fastrand::u64(..))
    }
}

/// Turns what the protocol says into what a caller gets.
pub(crate) fn conclude(ending: Ending, report: Report) -> Result<Report, Error> {
    let outcome = match ending {
        Ending::Busy(holder) => return Err(Error::Busy { group: report.group, holder }),
        Ending::Journal(source) => return Err(Error::Journal { group: report.group, source }),
        Ending::Unrecorded(source) => return Err(Error::Unrecorded(Box::new(report), source)),
        Ending::Reported(outcome) => outcome,
    };
    let reached = match report.operation {
        Operation::Repair(Target::Present) => report.all(State::Present),
        Operation::Repair(Target::Absent) => report.all(State::Absent),
        _ => true,
    };
    match outcome {
        Outcome::Finished if !reached => Err(Error::InDoubt(Box::new(report))),
        Outcome::AlreadyExists => Err(Error::AlreadyExists(Box::new(report))),
        Outcome::Unavailable => Err(Error::Unavailable(Box::new(report))),
        Outcome::RolledBack => Err(Error::RolledBack(Box::new(report))),
        Outcome::InDoubt | Outcome::Unrecorded => Err(Error::InDoubt(Box::new(report))),
        Outcome::Created | Outcome::Finished | Outcome::Observed | Outcome::Recovered => Ok(report),
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
    pub unreadable: Vec<StoreError>,
}

impl Recovery {
    /// Whether nothing is left that somebody should look at.
    pub fn is_complete(&self) -> bool {
        self.unsettled.is_empty() && self.unreadable.is_empty()
    }
}

/// Gives operations up from another thread, or from a signal's handler thread.
///
/// An operation that has changed nothing ends with [`Error::Unavailable`]; a create that has begun is rolled
/// back; a delete stops where it is, and its report says how far it came. Requests in flight are waited for.
/// Clones are one token. It cannot be taken back.
///
/// ```
/// use cluster_client::CancelToken;
///
/// let cancel = CancelToken::new();
/// cancel.cancel();
/// assert!(cancel.is_cancelled());
/// ```
#[derive(Clone, Default)]
pub struct CancelToken {
    inner: Arc<TokenInner>,
}

#[derive(Default)]
struct TokenInner {
    cancelled: AtomicBool,
    watchers: Mutex<Vec<Weak<dyn Cancel>>>,
}

/// Something that a token can give up.
pub(crate) trait Cancel: Send + Sync {
    fn cancel(&self);
}

impl Cancel for Crew<Flight, Edges> {
    fn cancel(&self) {
        self.change(|flight| flight.cancel(Instant::now()));
    }
}

impl std::fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CancelToken").field("cancelled", &self.is_cancelled()).finish()
    }
}

impl CancelToken {
    /// A token that is not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives up every operation that was started with this token, and every later one.
    pub fn cancel(&self) {
        self.inner.cancelled.store(true, Ordering::SeqCst);
        let watchers = std::mem::take(&mut *self.watchers());
        watchers.iter().filter_map(Weak::upgrade).for_each(|watcher| watcher.cancel());
    }

    /// Whether [`CancelToken::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.inner.cancelled.load(Ordering::SeqCst)
    }

    fn watch(&self, watcher: &Arc<dyn Cancel>) {
        let mut watchers = self.watchers();
        watchers.retain(|watcher| watcher.strong_count() > 0);
        watchers.push(Arc::downgrade(watcher));
        drop(watchers);
        // Cancelled before it was on the list, or after: either way it is told.
        if self.is_cancelled() {
            watcher.cancel();
        }
    }

    fn watchers(&self) -> std::sync::MutexGuard<'_, Vec<Weak<dyn Cancel>>> {
        self.inner.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Settings of a [`ClusterClient`]. Everything is checked in [`ClientBuilder::build`].
///
/// | setting | default | bounds |
/// | --- | --- | --- |
/// | `retry` | 3 attempts, 1 s doubling to at most 10 s, jitter | see [`RetryPolicy`] |
/// | `rollback_retry` | 5 attempts, else the same | see [`RetryPolicy`] |
/// | `request_timeout` | 10 s | 1 ms to 1 h |
/// | `deadline` | none: attempts and timeouts bound a call | 1 ms to 24 h |
/// | `rollback_timeout` | 120 s | above `settle`, at most 24 h |
/// | `settle` | the request timeout | 1 ms to 1 h |
/// | `threads` | 256 | 1 to 4096 |
/// | `in_flight` | 32 | 1 to 1024 |
///
/// ```
/// use std::time::Duration;
/// use cluster_client::ClusterClient;
///
/// let client = ClusterClient::builder()
///     .hosts(["http://node1:8000", "http://node2:8000"])
///     .request_timeout(Duration::from_secs(2))
///     .build()?;
/// # Ok::<(), cluster_client::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing before `build`"]
pub struct ClientBuilder {
    hosts: Option<Result<Hosts, ConfigError>>,
    api: Api,
    retry: RetryPolicy,
    rollback_retry: RetryPolicy,
    request_timeout: Duration,
    deadline: Option<Duration>,
    rollback_timeout: Duration,
    settle: Option<Duration>,
    threads: usize,
    in_flight: usize,
    store: Option<Arc<dyn IntentStore>>,
    observer: Option<Arc<dyn Observer>>,
}

impl std::fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientBuilder").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

impl Default for ClientBuilder {
    fn default() -> Self {
        ClientBuilder {
            hosts: None,
            api: Api::default(),
            retry: RetryPolicy::default(),
            rollback_retry: RetryPolicy { attempts: 5, ..RetryPolicy::default() },
            request_timeout: Duration::from_secs(10),
            deadline: None,
            rollback_timeout: Duration::from_secs(120),
            settle: None,
            threads: 256,
            in_flight: 32,
            store: None,
            observer: None,
        }
    }
}

impl ClientBuilder {
    /// The base URLs of the hosts. The last of this and its two siblings counts.
    pub fn hosts<I>(mut self, urls: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        self.hosts = Some(Hosts::parse(urls));
        self
    }

    /// Hosts that are checked already.
    pub fn checked_hosts(mut self, hosts: Hosts) -> Self {
        self.hosts = Some(Ok(hosts));
        self
    }

    /// The hosts of the environment variable `HOSTS`: base URLs separated by commas. It is read now.
    pub fn hosts_from_env(mut self) -> Self {
        self.hosts = Some(hosts_from_env());
        self
    }

    /// The paths of the node API.
    pub fn api(mut self, api: Api) -> Self {
        self.api = api;
        self
    }

    /// How often and when a request is tried again.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// The same for the requests of a rollback and of the recovery of a create.
    pub fn rollback_retry(mut self, policy: RetryPolicy) -> Self {
        self.rollback_retry = policy;
        self
    }

    /// The time that one request may take, from its connect to the end of its answer.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// The time that one operation may take, its rollback not counted. [`Call::deadline`] sets it for one
    /// call.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// The time that a rollback may take, beyond the operation's own.
    pub fn rollback_timeout(mut self, timeout: Duration) -> Self {
        self.rollback_timeout = timeout;
        self
    }

    /// How long after a request of unknown fate a host is looked at again. It has to be at least as long as
    /// such a request can still take effect; only hosts with such a request pay it.
    pub fn settle(mut self, settle: Duration) -> Self {
        self.settle = Some(settle);
        self
    }

    /// The most threads that the client starts, beside those that call it. They start when they are needed,
    /// and stay asleep after. One thread waits for one answer, so this is also about the number of requests
    /// under way at once.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// How many operations a [`Bulk`] has in flight at once.
    pub fn in_flight(mut self, operations: usize) -> Self {
        self.in_flight = operations;
        self
    }

    /// Keeps intents in this directory, so that what a crash leaves can be recovered. It is created when it
    /// is not there. Without it, or a [`ClientBuilder::store`], no file is written.
    ///
    /// # Errors
    /// [`Error::Config`] where the directory cannot be used.
    pub fn journal(self, directory: impl AsRef<Path>) -> Result<Self, Error> {
        let directory = directory.as_ref();
        let store = DirectoryStore::open(directory).map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            let remedy = "name a directory that this user can write";
            ConfigError::new("journal directory", directory.display().to_string(), format!("{error}{cause}"), remedy)
        })?;
        Ok(self.store(Arc::new(store)))
    }

    /// Keeps intents in this store.
    pub fn store(mut self, store: Arc<dyn IntentStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// Tells this observer what happens.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Checks every setting and makes the client. Nothing is sent, and no thread started.
    ///
    /// # Errors
    /// [`Error::Config`] for the first setting that is missing or out of its bounds.
    pub fn build(self) -> Result<ClusterClient, Error> {
        let none =
            || Err(ConfigError::new("host list", "", "is empty", "name at least one host, such as http://node1:8000"));
        let hosts = self.hosts.clone().unwrap_or_else(none)?;
        let limits = self.limits()?;
        check_number("number of threads", self.threads, 4096)?;
        check_number("number of operations in flight", self.in_flight, 1024)?;
        let cluster: Arc<[Host]> = hosts.as_slice().into();
        let edges = Edges {
            api: Arc::new(self.api),
            transport: connect(&cluster)?,
            cluster,
            connect,
            store: self.store.unwrap_or_else(|| Arc::new(NoStore::default())),
            audience: Audience::new(self.observer),
        };
        let budgets = Arc::new(Mutex::new(RetryBudgets::new(hosts.len())));
        let threads = Arc::new(Threads::new(self.threads));
        let in_flight = self.in_flight;
        Ok(ClusterClient { shared: Arc::new(Shared { hosts, edges, limits, in_flight, budgets, threads }) })
    }

    fn limits(&self) -> Result<Limits, ConfigError> {
        const HOUR: Duration = Duration::from_secs(3600);
        const DAY: Duration = Duration::from_secs(24 * 3600);
        self.retry.check()?;
        self.rollback_retry.check()?;
        let settle = self.settle.unwrap_or(self.request_timeout);
        check_time("request timeout", self.request_timeout, HOUR)?;
        check_time("settle time", settle, HOUR)?;
        check_time("rollback timeout", self.rollback_timeout, DAY)?;
        if let Some(deadline) = self.deadline {
            check_time("deadline", deadline, DAY)?;
        }
        if self.rollback_timeout <= settle {
            let problem = format!("is not above the settle time of {settle:?}, which a rollback may have to wait");
            let value = format!("{:?}", self.rollback_timeout);
            return Err(ConfigError::new("rollback timeout", value, problem, "choose a longer one"));
        }
        Ok(Limits {
            retry: self.retry,
            rollback_retry: self.rollback_retry,
            request_timeout: self.request_timeout,
            deadline: self.deadline,
            rollback_timeout: self.rollback_timeout,
            settle,
        })
    }
}

fn connect(hosts: &[Host]) -> Result<Arc<dyn Transport>, ConfigError> {
    Ok(Arc::new(UreqTransport::new(hosts)?))
}

fn hosts_from_env() -> Result<Hosts, ConfigError> {
    const NAME: &str = "HOSTS";
    let remedy = "set it to base URLs, such as http://node1:8000,http://node2:8000";
    let refused = |value: String, problem| {
        Err(ConfigError::new("variable HOSTS", value, problem, remedy).from_origin(Origin::Environment(NAME.into())))
    };
    match std::env::var(NAME) {
        Ok(list) => Hosts::parse_list(&list, Origin::Environment(NAME.into())),
        Err(std::env::VarError::NotPresent) => refused(String::new(), "is not set"),
        Err(std::env::VarError::NotUnicode(value)) => refused(value.to_string_lossy().into(), "is not UTF-8"),
    }
}

fn check_time(what: &'static str, time: Duration, longest: Duration) -> Result<(), ConfigError> {
    if (Duration::from_millis(1)..=longest).contains(&time) {
        return Ok(());
    }
    let remedy = format!("choose 1ms to {}h", longest.as_secs() / 3600);
    Err(ConfigError::new(what, format!("{time:?}"), "is out of bounds", remedy))
}

fn check_number(what: &'static str, number: usize, most: usize) -> Result<(), ConfigError> {
    if (1..=most).contains(&number) {
        return Ok(());
    }
    Err(ConfigError::new(what, number.to_string(), "is out of bounds", format!("choose 1 to {most}")))
}
