//! Floor 3: the settings of a client, checked as a whole.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::api::Api;
use crate::client::ClusterClient;
use crate::client::inner::ClientInner;
use crate::client::observer::{Observer, Observers};
use crate::engine::engines::Engines;
use crate::engine::threads::pool::Pool;
use crate::http::credentials::{self, CredentialStore};
use crate::http::proxy::Proxy;
use crate::http::tls::Tls;
#[cfg(feature = "rustls")]
use crate::http::tls::settings::TlsSettings;
use crate::journal::{DirectoryJournal, InMemoryJournal, Journal};
use crate::protocol::Limits;
use crate::sync::now;
use crate::values::authorized::Authorized;
use crate::values::cause::JournalError;
use crate::values::config::{ConfigError, Origin};
use crate::values::credentials::Credentials;
use crate::values::error::Error;
use crate::values::host::{Host, Hosts};
use crate::values::intent::Intent;
use crate::values::mask;
use crate::values::retry::{RetryBudgets, RetryPolicy};
use crate::values::secret::Secret;
use crate::values::time::in_units;

impl ClusterClient {
    /// Creates a client for these hosts, with the defaults of [`ClientBuilder`].
    ///
    /// # Errors
    /// [`Error::Config`] naming the host that was refused. Nothing is sent.
    ///
    /// ```
    /// use cluster_client::ClusterClient;
    ///
    /// let client = ClusterClient::new(["http://node1:8000", "http://node2:8000"])?;
    /// assert_eq!(client.hosts().len(), 2);
    /// assert!(ClusterClient::new(["node1"]).is_err());
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn new<I>(hosts: I) -> Result<Self, Error>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Self::builder().hosts(hosts).build()
    }

    /// Creates a client for the hosts of the environment variable `HOSTS`: base URLs separated by commas.
    ///
    /// # Errors
    /// [`Error::Config`] if it is not set, or a host in it is refused.
    ///
    /// ```no_run
    /// // HOSTS=http://node1:8000,http://node2:8000
    /// let client = cluster_client::ClusterClient::from_env()?;
    /// client.create_group("payments")?;
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn from_env() -> Result<Self, Error> {
        Self::builder().hosts_from_env().build()
    }

    /// Returns a builder, on which every setting can be chosen.
    ///
    /// ```
    /// use cluster_client::ClusterClient;
    ///
    /// let client = ClusterClient::builder().hosts(["http://node1:8000"]).threads(8).build()?;
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }
}

/// The way in which a client sends its requests. The results do not depend on it.
///
/// ```
/// use cluster_client::{ClusterClient, Engine};
///
/// let client = ClusterClient::builder().hosts(["http://node1:8000"]).engine(Engine::Threads).build()?;
/// # Ok::<(), cluster_client::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Engine {
    /// One thread blocks for one answer. There are as many threads as requests under way.
    Threads,
    /// One thread polls for all answers of a call. Needs the feature `multiplex`.
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
/// | `operation_timeout` | none: attempts and timeouts bound a call | 1 ms to 24 h |
/// | `rollback_timeout` | 120 s, or four times `settle` where that is longer | above `settle`, at most 24 h |
/// | `settle` | 10 s, or the request timeout where that is longer | 1 ms to 1 h |
/// | `threads` | 1024, started as needed | 1 to 4096 |
/// | `in_flight` | 32 | 1 to 1024 |
/// | `engine` | [`Engine::Threads`] | see [`Engine`] |
/// | `proxy` | none, whatever the environment says | an http URL of name and port |
/// | `tls` | built-in roots, no client certificate | see `TlsSettings` |
/// | `credentials` | none | see [`Secret`] |
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
    known_apis: Vec<Api>,
    retry: RetryPolicy,
    rollback_retry: RetryPolicy,
    request_timeout: Duration,
    operation_timeout: Option<Duration>,
    rollback_timeout: Option<Duration>,
    settle: Option<Duration>,
    threads: usize,
    in_flight: usize,
    engine: Engine,
    journal: Option<JournalSetting>,
    #[cfg(feature = "rustls")]
    tls: Option<TlsSettings>,
    #[cfg(feature = "rustls")]
    host_tls: Vec<(Result<Host, ConfigError>, TlsSettings)>,
    observer: Option<Arc<dyn Observer>>,
    credentials: Credentials,
    host_credentials: Vec<(String, Credentials)>,
    allow_plain_http: bool,
    proxy: Option<String>,
    no_proxy: Vec<String>,
    proxy_credentials: Credentials,
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
            known_apis: Vec::new(),
            retry: RetryPolicy::default(),
            rollback_retry: RetryPolicy::default().with_attempts(5),
            request_timeout: Duration::from_secs(10),
            operation_timeout: None,
            rollback_timeout: None,
            settle: None,
            threads: 1024,
            in_flight: 32,
            engine: Engine::default(),
            journal: None,
            #[cfg(feature = "rustls")]
            tls: None,
            #[cfg(feature = "rustls")]
            host_tls: Vec::new(),
            observer: None,
            credentials: Credentials::default(),
            host_credentials: Vec::new(),
            allow_plain_http: false,
            proxy: None,
            no_proxy: Vec::new(),
            proxy_credentials: Credentials::default(),
        }
    }
}

impl ClientBuilder {
    /// Sets the base URLs of the hosts. It replaces earlier hosts, also those of [`ClientBuilder::checked_hosts`] and
    /// [`ClientBuilder::hosts_from_env`].
    ///
    /// ```
    /// use cluster_client::ClusterClient;
    ///
    /// let client = ClusterClient::builder().hosts(["http://node1:8000", "http://node2:8000"]).build()?;
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn hosts<I>(mut self, urls: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        self.hosts = Some(Hosts::parse(urls));
        self
    }

    /// Sets hosts that are parsed already.
    ///
    /// ```
    /// use cluster_client::{ClusterClient, Hosts, Origin};
    ///
    /// let hosts = Hosts::parse_list("http://node1:8000,http://node2:8000", Origin::Option("--hosts".into()))?;
    /// let client = ClusterClient::builder().checked_hosts(hosts).build()?;
    /// assert_eq!(client.hosts().len(), 2);
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn checked_hosts(mut self, hosts: Hosts) -> Self {
        self.hosts = Some(Ok(hosts));
        self
    }

    /// Sets the hosts from the environment variable `HOSTS`: base URLs separated by commas. This call reads it.
    ///
    /// ```no_run
    /// use cluster_client::ClusterClient;
    ///
    /// // HOSTS=http://node1:8000,http://node2:8000
    /// let client = ClusterClient::builder().hosts_from_env().threads(8).build()?;
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn hosts_from_env(mut self) -> Self {
        self.hosts = Some(hosts_from_env());
        self
    }

    /// Sets the API of the hosts.
    ///
    /// ```
    /// use cluster_client::{Api, Call, ClusterClient};
    ///
    /// let api = Api::builder()
    ///     .name("things")
    ///     .ids("a-z0-9-", 64)
    ///     .create(Call::new("PUT", "/things/{id}").created([201]).exists([409]))
    ///     .check(Call::new("GET", "/things/{id}").present([200]).absent([404]))
    ///     .delete(Call::new("DELETE", "/things/{id}").deleted([204]).absent([404]))
    ///     .build()?;
    /// let client = ClusterClient::builder().hosts(["http://node1:8000"]).api(api).build()?;
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn api(mut self, api: Api) -> Self {
        self.api = api;
        self
    }

    /// Adds APIs that an unfinished operation may have been made with, beside the API of the client. A recovery uses the
    /// API of the operation. Presets are known without this call.
    ///
    /// ```
    /// use cluster_client::{Api, Call, ClusterClient};
    ///
    /// # let api = |path: &str| {
    /// #     Api::builder()
    /// #         .name("things")
    /// #         .ids("a-z0-9-", 64)
    /// #         .create(Call::new("PUT", path).created([201]).exists([409]))
    /// #         .check(Call::new("GET", path).present([200]).absent([404]))
    /// #         .delete(Call::new("DELETE", path).deleted([204]).absent([404]))
    /// #         .build()
    /// # };
    /// # let (old, new) = (api("/v1/things/{id}")?, api("/v2/things/{id}")?);
    /// // The journal may have operations that were made before the API changed.
    /// let client = ClusterClient::builder().hosts(["http://node1:8000"]).api(new).known_apis([old]).build()?;
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn known_apis(mut self, apis: impl IntoIterator<Item = Api>) -> Self {
        self.known_apis.extend(apis);
        self
    }

    /// Sets how often and when a request is retried.
    ///
    /// ```
    /// use cluster_client::{ClusterClient, RetryPolicy};
    ///
    /// let client = ClusterClient::builder().hosts(["http://node1:8000"]).retry(RetryPolicy::default().with_attempts(5)).build()?;
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Sets how often and when a request of a rollback, or of the recovery of a create, is retried.
    ///
    /// ```
    /// use cluster_client::{ClusterClient, RetryPolicy};
    ///
    /// let patient = RetryPolicy::default().with_attempts(10);
    /// let client = ClusterClient::builder().hosts(["http://node1:8000"]).rollback_retry(patient).build()?;
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn rollback_retry(mut self, policy: RetryPolicy) -> Self {
        self.rollback_retry = policy;
        self
    }

    /// Sets the timeout of one request, from its connect to the end of its answer: 1 ms to 1 h; 10 s by default.
    ///
    /// ```
    /// use std::time::Duration;
    /// use cluster_client::ClusterClient;
    ///
    /// let builder = ClusterClient::builder().hosts(["http://node1:8000"]);
    /// assert!(builder.clone().request_timeout(Duration::from_secs(2)).build().is_ok());
    /// assert!(builder.request_timeout(Duration::ZERO).build().is_err());
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets the timeout of one operation, without its rollback: 1 ms to 24 h; none by default.
    /// [`OperationOptions::timeout`](crate::OperationOptions::timeout) sets it for some operations.
    ///
    /// ```
    /// use std::time::Duration;
    /// use cluster_client::ClusterClient;
    ///
    /// let client = ClusterClient::builder()
    ///     .hosts(["http://node1:8000"])
    ///     .operation_timeout(Duration::from_secs(60))
    ///     .build()?;
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn operation_timeout(mut self, timeout: Duration) -> Self {
        self.operation_timeout = Some(timeout);
        self
    }

    /// Sets the timeout of a rollback, or of the recovery of an older operation: more than [`ClientBuilder::settle`], and up
    /// to 24 h; 120 s by default, or four times `settle` if that is longer. It comes on top of the timeout of the operation.
    ///
    /// ```
    /// use std::time::Duration;
    /// use cluster_client::ClusterClient;
    ///
    /// let client = ClusterClient::builder()
    ///     .hosts(["http://node1:8000"])
    ///     .rollback_timeout(Duration::from_secs(300))
    ///     .build()?;
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn rollback_timeout(mut self, timeout: Duration) -> Self {
        self.rollback_timeout = Some(timeout);
        self
    }

    /// Sets the settle time: the wait after a request whose effect is unknown, before its host is checked again. It is
    /// called S in [`contract`](crate::contract): 1 ms to 1 h; 10 s by default, or the request timeout if that is longer.
    ///
    /// Choose the longest time after which a request without an answer can still take effect on a host, or longer. A
    /// read must not lag behind a change by more than this either. `RolledBack` and `Deleted` hold only if it is long
    /// enough. A shorter request timeout does not make such requests take effect sooner. The wait applies only to hosts
    /// with such a request.
    ///
    /// ```
    /// use std::time::Duration;
    /// use cluster_client::ClusterClient;
    ///
    /// // A proxy before these hosts may hold a request back for 30 s.
    /// let client = ClusterClient::builder().hosts(["http://node1:8000"]).settle(Duration::from_secs(30)).build()?;
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn settle(mut self, settle: Duration) -> Self {
        self.settle = Some(settle);
        self
    }

    /// Sets the maximum number of threads that the client starts: 1 to 4096; 1024 by default. They start when requests need a thread, and stay until
    /// the client is dropped. A thread without work blocks. With [`Engine::Threads`] each request under way takes one.
    /// `Engine::Multiplexed` uses them for journal calls, and for a bulk between calls of `next`.
    ///
    /// ```
    /// use cluster_client::ClusterClient;
    ///
    /// let client = ClusterClient::builder().hosts(["http://node1:8000"]).threads(64).build()?;
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Sets the maximum number of operations that a [`Bulk`](crate::Bulk) has in flight: 1 to 1024; 32 by default.
    ///
    /// ```
    /// use cluster_client::ClusterClient;
    ///
    /// let client = ClusterClient::builder().hosts(["http://node1:8000"]).in_flight(8).build()?;
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn in_flight(mut self, operations: usize) -> Self {
        self.in_flight = operations;
        self
    }

    /// Sets the way in which requests are sent.
    ///
    /// ```
    /// use cluster_client::{ClusterClient, Engine};
    ///
    /// # #[cfg(feature = "multiplex")]
    /// let client = ClusterClient::builder().hosts(["http://node1:8000"]).engine(Engine::Multiplexed).build()?;
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn engine(mut self, engine: Engine) -> Self {
        self.engine = engine;
        self
    }

    /// Sets how https hosts are verified, and how the client identifies itself to them.
    ///
    /// ```
    /// use cluster_client::{ClusterClient, TlsSettings};
    ///
    /// let tls = TlsSettings::new().https_only();
    /// let client = ClusterClient::builder().hosts(["https://node1:8443"]).tls(tls).build()?;
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    #[cfg(feature = "rustls")]
    pub fn tls(mut self, settings: TlsSettings) -> Self {
        self.tls = Some(settings);
        self
    }

    /// Sets the TLS of one origin (scheme, name and port), such as `https://node3:8443`. It replaces all settings of
    /// [`ClientBuilder::tls`] for that origin, except [`TlsSettings::https_only`]. An origin that is not among the hosts
    /// is allowed: a recovery may need it. An origin that is there twice is refused.
    ///
    /// ```no_run
    /// use cluster_client::{ClusterClient, TlsSettings};
    ///
    /// let other = TlsSettings::new().client_cert_file("other.pem").client_key_file("other.key");
    /// let client = ClusterClient::builder()
    ///     .hosts(["https://node1:8443", "https://node3:8443"])
    ///     .host_tls("https://node3:8443", other)
    ///     .build()?;
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    #[cfg(feature = "rustls")]
    pub fn host_tls(mut self, origin: impl AsRef<str>, settings: TlsSettings) -> Self {
        self.host_tls.push((https_origin(origin.as_ref()), settings));
        self
    }

    /// Sets the credentials of the requests to all hosts. They replace earlier ones.
    ///
    /// A host of an older operation that is none of this client's hosts gets no credentials.
    ///
    /// ```
    /// use cluster_client::{ClusterClient, Credentials};
    ///
    /// let client = ClusterClient::builder()
    ///     .hosts(["http://localhost:8000"])
    ///     .credentials(Credentials::basic("operator", "xyzzy"))
    ///     .build()?;
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = credentials;
        self
    }

    /// Sets the credentials of one host, such as `https://node3:8443`: of all hosts with this scheme, name and port. They
    /// replace those of [`ClientBuilder::credentials`] as a whole.
    ///
    /// ```
    /// use cluster_client::{ClusterClient, Credentials};
    ///
    /// let client = ClusterClient::builder()
    ///     .hosts(["http://localhost:8000", "http://localhost:8001"])
    ///     .host_credentials("http://localhost:8001", Credentials::bearer("xyzzy"))
    ///     .build()?;
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn host_credentials(mut self, host: impl Into<String>, credentials: Credentials) -> Self {
        self.host_credentials.push((host.into(), credentials));
        self
    }

    /// Sets whether credentials may be sent to another machine without TLS. By default, only `localhost`, `127.0.0.0/8` and
    /// `::1` get credentials over plain http, and [`ClientBuilder::build`] refuses other http hosts.
    ///
    /// ```
    /// use cluster_client::{ClusterClient, Credentials};
    ///
    /// let builder = ClusterClient::builder().hosts(["http://node1:8000"]).credentials(Credentials::bearer("xyzzy"));
    /// assert!(builder.clone().build().is_err());
    /// assert!(builder.allow_plain_http(true).build().is_ok()); // a network that nobody else can read
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn allow_plain_http(mut self, allow: bool) -> Self {
        self.allow_plain_http = allow;
        self
    }

    /// Reaches the hosts through this proxy, such as `http://proxy:3128`. Variables of the environment have no effect.
    ///
    /// The proxy resolves the names of the hosts. It gets requests to http hosts in absolute form, and opens a tunnel to
    /// each https host (CONNECT). A proxy that cannot be reached, or refuses a tunnel, is a
    /// [`RequestError`](crate::RequestError) that names it, and the request counts as not sent. `localhost`, `127.0.0.0/8` and
    /// `::1` are always reached directly.
    ///
    /// ```
    /// use cluster_client::ClusterClient;
    ///
    /// let client = ClusterClient::builder().hosts(["http://node1:8000"]).proxy("http://proxy:3128").build()?;
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.proxy = Some(url.into());
        self
    }

    /// Sets the hosts that are reached without the proxy. An entry is a name, a suffix of names such as `.example.com`, an
    /// address, a network such as `10.0.0.0/8`, or `*` for all. Names are not looked up for it.
    ///
    /// ```
    /// use cluster_client::ClusterClient;
    ///
    /// let client = ClusterClient::builder()
    ///     .hosts(["http://node1:8000", "http://node1.internal:8000"])
    ///     .proxy("http://proxy:3128")
    ///     .no_proxy([".internal", "10.0.0.0/8"])
    ///     .build()?;
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn no_proxy<I>(mut self, entries: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.no_proxy = entries.into_iter().map(Into::into).collect();
        self
    }

    /// Sets user and password for the proxy, which are sent to it as `Proxy-Authorization: Basic`, without TLS.
    ///
    /// ```
    /// use cluster_client::ClusterClient;
    ///
    /// let client = ClusterClient::builder()
    ///     .hosts(["http://node1:8000"])
    ///     .proxy("http://proxy:3128")
    ///     .proxy_credentials("operator", "xyzzy")
    ///     .build()?;
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn proxy_credentials(mut self, user: impl Into<Secret>, password: impl Into<Secret>) -> Self {
        self.proxy_credentials = Credentials::basic(user, password);
        self
    }

    /// Keeps intents in this directory, so that unfinished operations can be recovered after a crash.
    /// [`ClientBuilder::build`] opens it, and creates it if it does not exist. Without a journal, no file is written. It
    /// replaces an earlier [`ClientBuilder::custom_journal`].
    ///
    /// ```
    /// use cluster_client::ClusterClient;
    ///
    /// # let state = tempfile::tempdir()?;
    /// let directory = state.path().join("journal");
    /// let client = ClusterClient::builder().hosts(["http://node1:8000"]).journal(&directory).build()?;
    /// assert!(directory.is_dir());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn journal(mut self, directory: impl Into<PathBuf>) -> Self {
        self.journal = Some(JournalSetting::Directory(directory.into()));
        self
    }

    /// Keeps intents in this journal: your own type, a [`DirectoryJournal`] that is open already, or an `EtcdJournal`. It
    /// replaces an earlier [`ClientBuilder::journal`]. A journal with a lease is refused if the lease is shorter than
    /// twice the request timeout plus two seconds.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use cluster_client::{ClusterClient, DirectoryJournal};
    ///
    /// # let state = tempfile::tempdir()?;
    /// let journal = Arc::new(DirectoryJournal::open(state.path().join("journal"))?);
    /// let one = ClusterClient::builder().hosts(["http://node1:8000"]).custom_journal(journal.clone()).build()?;
    /// let other = ClusterClient::builder().hosts(["http://node9:8000"]).custom_journal(journal).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn custom_journal(mut self, journal: Arc<dyn Journal>) -> Self {
        self.journal = Some(JournalSetting::Custom(journal));
        self
    }

    /// Sets the observer that receives the events of all operations.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use cluster_client::{ClusterClient, Event, EventKind, Observer};
    ///
    /// struct Retries;
    ///
    /// impl Observer for Retries {
    ///     fn on_event(&self, event: &Event) {
    ///         if let EventKind::Retrying { host, attempt, .. } = &event.kind {
    ///             eprintln!("{}: try {attempt} on {host}", event.group);
    ///         }
    ///     }
    /// }
    ///
    /// let client = ClusterClient::builder().hosts(["http://node1:8000"]).observer(Arc::new(Retries)).build()?;
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Checks every setting, loads its files and secrets, opens the journal and creates the client. Sends nothing and
    /// starts no thread.
    ///
    /// # Errors
    /// [`Error::Config`] for the first setting that is missing or out of bounds, for a secret that cannot be used, and for
    /// a journal directory that cannot be used. The journal is opened last, so an error of another setting creates no directory.
    ///
    /// ```
    /// use cluster_client::{ClusterClient, Error};
    ///
    /// let error = ClusterClient::builder().hosts(["http://node1:8000"]).threads(0).build().unwrap_err();
    /// assert!(matches!(&error, Error::Config { .. }));
    /// assert!(error.to_string().contains("choose 1 to 4096"));
    /// ```
    pub fn build(self) -> Result<ClusterClient, Error> {
        let none =
            || Err(ConfigError::new("host list", "", "is empty", "name at least one host, such as http://node1:8000"));
        let hosts = self.hosts.clone().unwrap_or_else(none)?;
        let limits = self.limits()?;
        check_number("number of threads", self.threads, 4096)?;
        check_number("number of operations in flight", self.in_flight, 1024)?;
        let cluster: Arc<[Host]> = hosts.as_slice().into();
        let credentials =
            CredentialStore::load(&cluster, &self.credentials, &self.host_credentials, self.allow_plain_http, now())?;
        for api in std::iter::once(&self.api).chain(&self.known_apis) {
            credentials.check_api(&cluster, api)?;
        }
        let proxy = self.checked_proxy()?;
        let pool = Pool::new(self.threads);
        let tls = Arc::new(self.load_tls()?);
        let engines = match self.engine {
            Engine::Threads => Engines::threads(&cluster, &pool, &tls, proxy)?,
            #[cfg(feature = "multiplex")]
            Engine::Multiplexed => Engines::multiplexed(&cluster, &tls, proxy)?,
        };
        let warnings = self.warnings(&tls);
        let authorized = Authorized::new(credentials.origins(), tls.own_certificates(), tls.has_certificate());
        let budgets = Arc::new(Mutex::new(RetryBudgets::new(hosts.len())));
        let journal = self.journal.map(JournalSetting::open).transpose()?;
        if let Some(lease) = journal.as_ref().and_then(|journal| journal.lease()) {
            check_lease(lease, self.request_timeout)?;
        }
        Ok(ClientInner {
            hosts,
            cluster,
            api: Arc::new(self.api),
            known_apis: self.known_apis.into(),
            limits,
            in_flight: self.in_flight,
            budgets,
            keeps_intents: journal.is_some(),
            journal: journal.unwrap_or_else(|| Arc::new(InMemoryJournal::default())),
            observers: Observers::new(self.observer),
            pool,
            engines,
            credentials,
            authorized: Arc::new(authorized),
            warnings,
        }
        .into())
    }

    /// Returns the warnings about TLS settings and files with secrets, each once. All were logged when they were loaded.
    fn warnings(&self, tls: &Tls) -> Vec<String> {
        let mut warnings = tls.warnings().to_vec();
        let of_hosts = self.host_credentials.iter().map(|(_, credentials)| credentials);
        for credentials in [&self.credentials].into_iter().chain(of_hosts).chain([&self.proxy_credentials]) {
            for warning in credentials::warnings(credentials) {
                if !warnings.contains(&warning) {
                    warnings.push(warning);
                }
            }
        }
        warnings
    }

    fn checked_proxy(&self) -> Result<Option<Arc<Proxy>>, ConfigError> {
        let Some(url) = &self.proxy else {
            let extra = match () {
                () if !self.no_proxy.is_empty() => "no_proxy",
                () if !self.proxy_credentials.is_empty() => "the credentials of a proxy",
                () => return Ok(None),
            };
            return Err(ConfigError::new(
                "setting",
                extra,
                "is there without a proxy",
                "set the proxy, or leave it out",
            ));
        };
        Proxy::new(url, &self.no_proxy, &self.proxy_credentials, now()).map(Arc::new).map(Some)
    }

    #[cfg(feature = "rustls")]
    fn load_tls(&self) -> Result<Tls, ConfigError> {
        let of_host = |(host, settings): &(Result<Host, ConfigError>, TlsSettings)| {
            host.clone().map(|host| (host, settings.clone()))
        };
        let of_hosts = self.host_tls.iter().map(of_host).collect::<Result<Vec<_>, _>>()?;
        let tls = Tls::new(self.tls.as_ref(), &of_hosts)?;
        tls.warnings().iter().for_each(|warning| log::warn!(target: "cluster_client", "{warning}"));
        Ok(tls)
    }

    #[cfg(not(feature = "rustls"))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "with TLS there are settings")]
    fn load_tls(&self) -> Result<Tls, ConfigError> {
        Ok(Tls::default())
    }

    fn limits(&self) -> Result<Limits, ConfigError> {
        const HOUR: Duration = Duration::from_secs(3600);
        const DAY: Duration = Duration::from_secs(24 * 3600);
        self.retry.check()?;
        self.rollback_retry.check()?;
        let settle = self.settle.unwrap_or(self.request_timeout.max(SETTLE));
        check_time("request timeout", self.request_timeout, HOUR)?;
        check_time("settle time", settle, Intent::LONGEST_SETTLE)?;
        // A rollback may wait for the settle time more than once: after a lost answer, and after a repeated DELETE.
        let rollback_timeout = self.rollback_timeout.unwrap_or_else(|| ROLLBACK.max(settle * 4));
        check_time("rollback timeout", rollback_timeout, DAY)?;
        if let Some(timeout) = self.operation_timeout {
            check_time("operation timeout", timeout, DAY)?;
        }
        if rollback_timeout <= settle {
            let problem =
                format!("is not above the settle time of {}, which a rollback may have to wait", in_units(settle));
            let value = in_units(rollback_timeout);
            return Err(ConfigError::new("rollback timeout", value, problem, "choose a longer one"));
        }
        Ok(Limits {
            retry: self.retry,
            rollback_retry: self.rollback_retry,
            request_timeout: self.request_timeout,
            operation_timeout: self.operation_timeout,
            rollback_timeout,
            settle,
        })
    }
}

/// The journal of a client, before it is opened.
#[derive(Clone)]
enum JournalSetting {
    Directory(PathBuf),
    Custom(Arc<dyn Journal>),
}

impl JournalSetting {
    fn open(self) -> Result<Arc<dyn Journal>, ConfigError> {
        match self {
            JournalSetting::Directory(directory) => open_directory(&directory),
            JournalSetting::Custom(journal) => Ok(journal),
        }
    }
}

fn open_directory(directory: &Path) -> Result<Arc<dyn Journal>, ConfigError> {
    let refused = |error: JournalError| {
        let shown = directory.display().to_string();
        let cause = error.io_error();
        // Errors of this crate end in a remedy, errors of the system do not.
        let (problem, remedy) = match cause.raw_os_error() {
            None => (error.to_string(), cause.to_string()),
            Some(_) => (format!("{error}: {cause}"), "name a directory that this user can write".into()),
        };
        // The error may contain a part of the path, and so a part of a password in it.
        let problem = if mask::has_user_info(&shown) { "cannot be used".into() } else { problem };
        ConfigError::new("journal directory", shown, problem, remedy)
    };
    let shown = directory.display().to_string();
    if shown.contains("://") {
        // As a directory it would lock on this machine alone.
        let remedy = "open it with EtcdJournal::builder, and set it with custom_journal";
        return Err(ConfigError::new("journal directory", shown, "is a URL", remedy));
    }
    Ok(Arc::new(DirectoryJournal::open(directory).map_err(refused)?))
}

/// Default settle time, unless the request timeout is longer.
const SETTLE: Duration = Intent::USUAL_SETTLE;
/// Default rollback timeout, unless the settle time is long.
const ROLLBACK: Duration = Duration::from_secs(120);

/// Parses an origin for which there can be TLS settings.
#[cfg(feature = "rustls")]
fn https_origin(origin: &str) -> Result<Host, ConfigError> {
    let host = Host::parse(origin)?;
    let refused =
        |problem| ConfigError::new("host", host.as_str(), problem, "write an origin such as https://node1:8443");
    if !host.is_https() {
        return Err(refused("has TLS settings, and is not https"));
    }
    if host.origin() != host.as_str() {
        return Err(refused("has TLS settings, and a path"));
    }
    Ok(host)
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
    Err(ConfigError::new(what, in_units(time), "is out of bounds", remedy))
}

/// Checks that requests fit into the lease of a journal: two timeouts, so that a request can follow another, and time for
/// a renewal.
fn check_lease(lease: Duration, request_timeout: Duration) -> Result<(), ConfigError> {
    let needed = request_timeout * 2 + Duration::from_secs(2);
    if lease >= needed {
        return Ok(());
    }
    let problem = format!("is too short for the request timeout of {request_timeout:?}");
    let remedy = format!("choose a ttl of at least {}s, or a shorter request timeout", needed.as_secs_f64().ceil());
    Err(ConfigError::new("ttl of the journal", format!("{lease:?}"), problem, remedy))
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
    fn url_is_refused_as_a_journal_directory() {
        let folder = tempfile::tempdir().unwrap();
        let url = folder.path().join("etcd://etcd1:2379/payments");
        let refused = ClusterClient::builder().hosts(["http://node1"]).journal(&url).build().unwrap_err().to_string();
        assert!(refused.contains("is a URL: open it with EtcdJournal::builder"), "{refused}");
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn settle_is_ten_seconds_or_the_longer_request_timeout() {
        for (request, settle) in [(SECOND / 2, 10 * SECOND), (10 * SECOND, 10 * SECOND), (25 * SECOND, 25 * SECOND)] {
            assert_eq!(limits(|builder| builder.request_timeout(request)).settle, settle, "{request:?}");
        }
        assert_eq!(limits(|builder| builder.settle(SECOND)).settle, SECOND);
    }

    #[test]
    fn lease_of_a_journal_has_time_for_two_requests() {
        assert!(check_lease(30 * SECOND, 10 * SECOND).is_ok());
        assert!(check_lease(22 * SECOND, 10 * SECOND).is_ok());
        let error = check_lease(21 * SECOND, 10 * SECOND).unwrap_err().to_string();
        assert!(error.contains("\"21s\"") && error.contains("at least 22s"), "{error}");
    }

    #[test]
    fn rollback_has_time_to_settle_more_than_once() {
        assert_eq!(limits(|builder| builder).rollback_timeout, 120 * SECOND);
        assert_eq!(limits(|builder| builder.request_timeout(600 * SECOND)).rollback_timeout, 2400 * SECOND);
        assert!(ClusterClient::builder().settle(SECOND).rollback_timeout(SECOND).limits().is_err());
    }
}
