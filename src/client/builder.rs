//! Floor 3: the settings of a client, checked as a whole.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::api::Api;
use crate::client::ClusterClient;
use crate::client::inner::ClientInner;
use crate::client::observer::{Observer, Observers};
use crate::engine::engines::Engines;
use crate::engine::threads::pool::Pool;
use crate::journal::{DirectoryJournal, InMemoryJournal, Journal};
use crate::protocol::Limits;
use crate::values::config::{ConfigError, Origin};
use crate::values::error::Error;
use crate::values::host::{Host, Hosts};
use crate::values::mask;
use crate::values::retry::{RetryBudgets, RetryPolicy};

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
}

/// The way in which a client sends its requests. The results are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Engine {
    /// One thread waits for one answer, as many at once as there are requests under way.
    Threads,
    /// One thread waits for all answers of a call. Needs the feature `multiplex`.
    #[cfg(feature = "multiplex")]
    Multiplexed,
}

impl Default for Engine {
    /// Threads. With the feature `testing`, the variable `CLUSTER_CLIENT_ENGINE=multiplexed` chooses the other
    /// engine, so that the same tests run with both.
    fn default() -> Self {
        #[cfg(all(feature = "multiplex", feature = "testing"))]
        if std::env::var("CLUSTER_CLIENT_ENGINE").as_deref() == Ok("multiplexed") {
            return Engine::Multiplexed;
        }
        Engine::Threads
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
/// | `rollback_timeout` | 120 s, or four times `settle` where that is longer | above `settle`, at most 24 h |
/// | `settle` | 10 s, or the request timeout where that is longer | 1 ms to 1 h |
/// | `threads` | 1024, started as needed | 1 to 4096 |
/// | `in_flight` | 32 | 1 to 1024 |
/// | `engine` | [`Engine::Threads`] | see [`Engine`] |
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
    rollback_timeout: Option<Duration>,
    settle: Option<Duration>,
    threads: usize,
    in_flight: usize,
    engine: Engine,
    roots: Option<Arc<[u8]>>,
    store: Option<Arc<dyn Journal>>,
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
            rollback_timeout: None,
            settle: None,
            threads: 1024,
            in_flight: 32,
            engine: Engine::default(),
            roots: None,
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

    /// The time that one operation may take, its rollback not counted. [`Call::deadline`](crate::Call::deadline) sets it for one
    /// call.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// The time that a rollback may take, or the recovery of an older operation, beyond the operation's own.
    pub fn rollback_timeout(mut self, timeout: Duration) -> Self {
        self.rollback_timeout = Some(timeout);
        self
    }

    /// How long after a request of unknown fate a host is looked at again, and how far reads may lag behind a
    /// change. It has to be at least as long as such a request can still take effect, which a shorter request
    /// timeout does not hasten; only hosts with such a request pay it.
    pub fn settle(mut self, settle: Duration) -> Self {
        self.settle = Some(settle);
        self
    }

    /// Maximum number of threads that the client starts, beside those that call it. They start when requests wait for a
    /// thread, and block without work until the client is dropped. One thread waits for one answer, so this is also
    /// about the number of requests under way at once. [`Engine::Multiplexed`] uses threads for journal calls only.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// How many operations a [`Bulk`](crate::Bulk) has in flight at once.
    pub fn in_flight(mut self, operations: usize) -> Self {
        self.in_flight = operations;
        self
    }

    /// The way in which requests are sent.
    pub fn engine(mut self, engine: Engine) -> Self {
        self.engine = engine;
        self
    }

    /// Trusts only the certificates of this PEM text. For the comparison with other clients, until there are settings
    /// for TLS.
    #[doc(hidden)]
    #[cfg(feature = "rustls")]
    pub fn trust_only(mut self, pem: &[u8]) -> Self {
        self.roots = Some(pem.into());
        self
    }

    /// Keeps intents in this directory, so that what a crash leaves can be recovered. It is created when it
    /// is not there. Without it, or a [`ClientBuilder::store`], no file is written.
    ///
    /// # Errors
    /// [`Error::Config`] where the directory cannot be used.
    pub fn journal(self, directory: impl AsRef<Path>) -> Result<Self, Error> {
        let directory = directory.as_ref();
        let store = DirectoryJournal::open(directory).map_err(|error| {
            let shown = directory.display().to_string();
            let cause = error.cause();
            // Errors of our own end in a remedy, errors of the system do not.
            let (problem, remedy) = match cause.raw_os_error() {
                None => (error.to_string(), cause.to_string()),
                Some(_) => (format!("{error}: {cause}"), "name a directory that this user can write".into()),
            };
            // The error may name a part of the path, and so of a password in it.
            let problem = if mask::has_user_info(&shown) { "cannot be used".into() } else { problem };
            ConfigError::new("journal directory", shown, problem, remedy)
        })?;
        Ok(self.store(Arc::new(store)))
    }

    /// Keeps intents in this store.
    pub fn store(mut self, store: Arc<dyn Journal>) -> Self {
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
        let pool = Pool::new(self.threads);
        let engines = match self.engine {
            Engine::Threads => Engines::threads(&cluster, &pool, self.roots.as_deref())?,
            #[cfg(feature = "multiplex")]
            Engine::Multiplexed => Engines::multiplexed(&cluster, self.roots.as_deref())?,
        };
        let budgets = Arc::new(Mutex::new(RetryBudgets::new(hosts.len())));
        Ok(ClientInner {
            hosts,
            cluster,
            api: Arc::new(self.api),
            limits,
            in_flight: self.in_flight,
            budgets,
            keeps_intents: self.store.is_some(),
            journal: self.store.unwrap_or_else(|| Arc::new(InMemoryJournal::default())),
            observers: Observers::new(self.observer),
            pool,
            engines,
        }
        .into())
    }

    fn limits(&self) -> Result<Limits, ConfigError> {
        const HOUR: Duration = Duration::from_secs(3600);
        const DAY: Duration = Duration::from_secs(24 * 3600);
        self.retry.check()?;
        self.rollback_retry.check()?;
        let settle = self.settle.unwrap_or(self.request_timeout.max(SETTLE));
        check_time("request timeout", self.request_timeout, HOUR)?;
        check_time("settle time", settle, HOUR)?;
        // Each DELETE whose answer was lost is waited for, and so is what it may have missed.
        let rollback_timeout = self.rollback_timeout.unwrap_or_else(|| ROLLBACK.max(settle * 4));
        check_time("rollback timeout", rollback_timeout, DAY)?;
        if let Some(deadline) = self.deadline {
            check_time("deadline", deadline, DAY)?;
        }
        if rollback_timeout <= settle {
            let problem = format!("is not above the settle time of {settle:?}, which a rollback may have to wait");
            let value = format!("{rollback_timeout:?}");
            return Err(ConfigError::new("rollback timeout", value, problem, "choose a longer one"));
        }
        Ok(Limits {
            retry: self.retry,
            rollback_retry: self.rollback_retry,
            request_timeout: self.request_timeout,
            deadline: self.deadline,
            rollback_timeout,
            settle,
        })
    }
}

/// The settle time where none is chosen, unless a request may take longer.
const SETTLE: Duration = Duration::from_secs(10);
/// The time of a rollback where none is chosen, unless the settle time is long.
const ROLLBACK: Duration = Duration::from_secs(120);

fn hosts_from_env() -> Result<Hosts, ConfigError> {
    const NAME: &str = "HOSTS";
    let remedy = "set it to base URLs, such as http://node1:8000,http://node2:8000";
    let refused = |value: String, problem| {
        Err(ConfigError::new("variable HOSTS", value, problem, remedy).from_origin(Origin::Environment(NAME.into())))
    };
    match std::env::var(NAME) {
        Ok(list) => Hosts::parse_list(&list, Origin::Environment(NAME.into())),
        Err(std::env::VarError::NotPresent) => refused(String::new(), "is not set"),
        Err(std::env::VarError::NotUnicode(value)) => {
            refused(mask::hosts(&value.to_string_lossy()).into(), "is not UTF-8")
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits(change: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Limits {
        change(ClusterClient::builder()).limits().unwrap()
    }

    #[test]
    fn settle_is_ten_seconds_or_the_longer_request_timeout() {
        for (request, settle) in [(SECOND / 2, 10 * SECOND), (10 * SECOND, 10 * SECOND), (25 * SECOND, 25 * SECOND)] {
            assert_eq!(limits(|builder| builder.request_timeout(request)).settle, settle, "{request:?}");
        }
        assert_eq!(limits(|builder| builder.settle(SECOND)).settle, SECOND);
    }

    #[test]
    fn rollback_has_time_to_settle_more_than_once() {
        assert_eq!(limits(|builder| builder).rollback_timeout, 120 * SECOND);
        assert_eq!(limits(|builder| builder.request_timeout(600 * SECOND)).rollback_timeout, 2400 * SECOND);
        assert!(ClusterClient::builder().settle(SECOND).rollback_timeout(SECOND).limits().is_err());
    }
}
