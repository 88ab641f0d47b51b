//! Every setting, its origin and its check. An option overrides a variable. A variable overrides the configuration file,
//! and the file overrides the default.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum as _;
use cluster_client::{
    Api, ClientBuilder, ClusterClient, ConfigError, Credentials, Error, Host, Hosts, Observer, Origin, RetryPolicy,
};

use crate::api_setting::ApiSetting;
use crate::args::{EngineName, GlobalOptions};
use crate::credentials::{CredentialSettings, Place, TOKEN_FILE};
use crate::exit::CliError;
use crate::file::ConfigFile;
use crate::host_list;
use crate::journal_setting::{self, journal};
pub(crate) use crate::journal_setting::{Journal, journal_alone};
use crate::output::eprint;
use crate::progress::Tries;
use crate::proxy::ProxySettings;
use crate::tls::{CA_FILE, TlsSection};

/// The variables with the hosts. The first one that is set counts.
const HOSTS: [&str; 2] = ["CLUSTER_CLIENT_HOSTS", "HOSTS"];
const NAME_HOSTS: &str = "name them with --hosts or --hosts-file, the variable CLUSTER_CLIENT_HOSTS or HOSTS, or hosts \
                          in cluster-client.toml";
const ENGINE: &str = "CLUSTER_CLIENT_ENGINE";

/// The defaults of the library.
const SETTLE: Duration = Duration::from_secs(10);
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(120);

/// A value and its origin.
#[derive(Debug, Clone)]
pub(crate) struct Sourced<T> {
    pub(crate) value: T,
    pub(crate) origin: Origin,
}

impl<T> Sourced<T> {
    pub(crate) fn default(value: T) -> Self {
        Sourced { value, origin: Origin::Default }
    }

    /// A value of an option, or of its variable.
    pub(crate) fn given(global: &GlobalOptions, option: &str, value: T) -> Self {
        Sourced { value, origin: global.origin(option) }
    }

    pub(crate) fn option(name: &str, value: T) -> Self {
        Sourced { value, origin: Origin::Option(name.into()) }
    }

    pub(crate) fn variable(name: &str, value: T) -> Self {
        Sourced { value, origin: Origin::Environment(name.into()) }
    }

    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Sourced<U> {
        Sourced { value: change(self.value), origin: self.origin }
    }
}

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) hosts: Sourced<Hosts>,
    pub(crate) timeout: Sourced<Option<Duration>>,
    pub(crate) request_timeout: Sourced<Duration>,
    pub(crate) attempts: Sourced<u32>,
    pub(crate) first_delay: Sourced<Duration>,
    pub(crate) max_delay: Sourced<Duration>,
    pub(crate) settle: Sourced<Duration>,
    pub(crate) rollback_timeout: Sourced<Duration>,
    pub(crate) journal: Sourced<Journal>,
    pub(crate) api: ApiSetting,
    pub(crate) threads: Sourced<usize>,
    pub(crate) engine: Sourced<EngineName>,
    pub(crate) in_flight: Sourced<usize>,
    pub(crate) credentials: CredentialSettings,
    pub(crate) allow_plain_http: Sourced<bool>,
    pub(crate) proxy: ProxySettings,
    pub(crate) tls: TlsSection,
    /// The configuration file that was read.
    pub(crate) config: Option<PathBuf>,
}

impl Settings {
    /// Resolves and checks every value. Sends nothing and writes no file.
    pub(crate) fn resolve(global: &GlobalOptions) -> Result<Self, CliError> {
        let file = ConfigFile::read(global.config_file())?;
        let usual = RetryPolicy::default();
        let request_timeout = match global.request_timeout {
            Some(time) => Sourced::given(global, "--request-timeout", time),
            None => or_default(file.time("request_timeout")?, Duration::from_secs(10)),
        };
        let settle = or_default(file.time("settle")?, request_timeout.value.max(SETTLE));
        let rollback_timeout = ROLLBACK_TIMEOUT.max(settle.value.saturating_mul(4));
        let hosts = hosts(global, &file)?;
        let token_file = global.bearer_token_file.as_deref();
        let settings = Settings {
            credentials: CredentialSettings::resolve(token_file, variable(TOKEN_FILE), &file, &hosts)?,
            allow_plain_http: or_default(file.flag("allow_plain_http")?, false),
            proxy: ProxySettings::read(&file)?,
            hosts,
            timeout: match global.timeout {
                Some(time) => Sourced::given(global, "--timeout", Some(time)),
                None => file.time("timeout")?.map_or(Sourced::default(None), |time| time.map(Some)),
            },
            request_timeout,
            attempts: match global.attempts {
                Some(attempts) => Sourced::given(global, "--attempts", attempts),
                None => or_default(file.number("attempts")?, usual.attempts()),
            },
            first_delay: or_default(file.time("first_delay")?, usual.first_delay()),
            max_delay: or_default(file.time("max_delay")?, usual.max_delay()),
            settle,
            rollback_timeout: or_default(file.time("rollback_timeout")?, rollback_timeout),
            journal: journal(global, &file)?,
            config: file.read_from(),
            api: ApiSetting::resolve(global.api.as_deref(), &file)?,
            threads: or_default(file.number("threads")?, 1024),
            engine: engine(global, &file)?,
            in_flight: match global.in_flight {
                Some(groups) => Sourced::given(global, "--in-flight", groups),
                None => or_default(file.number("in_flight")?, 32),
            },
            tls: TlsSection::resolve(global.ca_file.as_deref(), variable(CA_FILE), &file)?,
        };
        settings.check(&file)?;
        Ok(settings)
    }

    /// Checks each value alone, so that its error gets its origin. The library has no origins.
    fn check(&self, file: &ConfigFile) -> Result<(), ConfigError> {
        const LONG: Duration = Duration::from_secs(24 * 3600);
        let usual = RetryPolicy::default().with_max_delay(Duration::from_secs(3600));
        let lone = || ClusterClient::builder().hosts(["http://localhost"]).rollback_timeout(LONG);

        in_bounds((&self.attempts, "attempts", file), |attempts| builds(lone().retry(usual.with_attempts(attempts))))?;
        in_bounds((&self.first_delay, "first_delay", file), |first_delay| {
            builds(lone().retry(usual.with_first_delay(first_delay)))
        })?;
        in_bounds((&self.max_delay, "max_delay", file), |max_delay| {
            builds(lone().retry(usual.with_first_delay(self.first_delay.value).with_max_delay(max_delay)))
        })?;
        in_bounds((&self.timeout, "timeout", file), |time| {
            time.map_or(Ok(()), |time| builds(lone().operation_timeout(time)))
        })?;
        in_bounds((&self.request_timeout, "request_timeout", file), |time| builds(lone().request_timeout(time)))?;
        in_bounds((&self.settle, "settle", file), |time| builds(lone().settle(time)))?;
        in_bounds((&self.rollback_timeout, "rollback_timeout", file), |time| {
            builds(lone().settle(self.settle.value).rollback_timeout(time))
        })?;
        if let Some(Place { origin, .. }) = self.proxy.places.first() {
            builds(self.proxy.address(lone())).map_err(|error| error.from_origin(origin.clone()))?;
        }
        in_bounds((&self.threads, "threads", file), |threads| builds(lone().threads(threads)))?;
        in_bounds((&self.in_flight, "in_flight", file), |operations| builds(lone().in_flight(operations)))
    }

    /// Creates a client for commands that only read.
    pub(crate) fn reader(&self, observer: Arc<dyn Observer>) -> Result<ClusterClient, CliError> {
        self.build(self.builder().observer(observer))
    }

    /// Creates a client that only reads, for the hosts and the API of an unfinished operation. As in its recovery, hosts
    /// that the settings do not name get no credentials.
    pub(crate) fn reader_of(
        &self,
        hosts: Hosts,
        api: Api,
        observer: Arc<dyn Observer>,
    ) -> Result<ClusterClient, CliError> {
        let own = self.credentials.own_of(&hosts, &self.hosts.value);
        self.build(self.builder_with(own).checked_hosts(hosts).api(api).observer(observer))
    }

    /// Creates a client with a journal, unless it is off.
    pub(crate) fn writer(&self, observer: Arc<dyn Observer>) -> Result<ClusterClient, CliError> {
        let builder = self.builder().observer(observer);
        match &self.journal.value {
            Journal::Off => self.build(builder),
            Journal::NoPlace => Err(journal_setting::no_place()),
            Journal::Directory(directory) => self.build(builder.journal(directory)),
            Journal::Etcd(etcd) => {
                let journal = etcd.open(&self.journal.origin)?;
                self.build(builder.custom_journal(Arc::new(journal)))
            }
        }
    }

    /// Returns the word for a group in output.
    pub(crate) fn noun(&self) -> &str {
        self.api.api.value.noun()
    }

    /// Refuses the default hosts, for commands that change hosts.
    pub(crate) fn require_named_hosts(&self) -> Result<(), CliError> {
        match self.hosts.origin {
            Origin::Default => Err(CliError::usage(format!(
                "no hosts were named, and there is no default for a command that changes hosts: {NAME_HOSTS}"
            ))),
            _ => Ok(()),
        }
    }

    /// Warns if the default hosts are used, because the user may have forgotten to name the hosts.
    pub(crate) fn warn_of_default_hosts(&self) {
        if self.hosts.origin == Origin::Default {
            eprint(&format!("warning: no hosts were named; using http://localhost:8000 to 8002 ({NAME_HOSTS})"));
        }
    }

    fn retry(&self) -> RetryPolicy {
        RetryPolicy::default()
            .with_attempts(self.attempts.value)
            .with_first_delay(self.first_delay.value)
            .with_max_delay(self.max_delay.value)
    }

    /// Returns the policy of a rollback. It has more attempts, because a failed rollback leaves groups behind.
    fn rollback_retry(&self) -> RetryPolicy {
        self.retry().with_attempts(self.attempts.value.max(5))
    }

    pub(crate) fn tries(&self) -> Tries {
        Tries { usual: self.retry().attempts(), of_a_rollback: self.rollback_retry().attempts() }
    }

    fn builder(&self) -> ClientBuilder {
        self.builder_with(self.credentials.own.clone())
    }

    /// Returns the settings as a builder, with these credentials of single hosts.
    fn builder_with(&self, own: Vec<(Host, Credentials)>) -> ClientBuilder {
        let builder = ClusterClient::builder()
            .checked_hosts(self.hosts.value.clone())
            .api(self.api.api.value.clone())
            .retry(self.retry())
            .rollback_retry(self.rollback_retry())
            .request_timeout(self.request_timeout.value)
            .settle(self.settle.value)
            .rollback_timeout(self.rollback_timeout.value)
            .threads(self.threads.value)
            .engine(self.engine.value.into())
            .in_flight(self.in_flight.value)
            .credentials(self.credentials.general.clone())
            .allow_plain_http(self.allow_plain_http.value)
            .tls(self.tls.general.clone());
        let builder = self.proxy.whole(builder);
        let builder =
            own.into_iter().fold(builder, |builder, (host, own)| builder.host_credentials(host.as_str(), own));
        let own = self.tls.own.iter().cloned();
        let builder = own.fold(builder, |builder, (origin, own)| builder.host_tls(origin, own));
        match self.timeout.value {
            Some(time) => builder.operation_timeout(time),
            None => builder,
        }
    }

    /// Loads the files that the settings name, and prints the warnings about them. Creates no directory.
    pub(crate) fn check_files(&self) -> Result<(), CliError> {
        let builder = match &self.journal.value {
            Journal::Etcd(etcd) => self.builder().custom_journal(Arc::new(etcd.open(&self.journal.origin)?)),
            _ => self.builder(),
        };
        self.build(builder).map(drop)
    }

    /// Builds a client, and prints the warnings about its settings.
    fn build(&self, builder: ClientBuilder) -> Result<ClusterClient, CliError> {
        let client = builder.build().map_err(|error| self.named(error))?;
        client.warnings().iter().for_each(|warning| eprint(&format!("warning: {warning}")));
        Ok(client)
    }

    /// Returns the error of a lease that does not fit the request timeout. It names both settings.
    fn too_short(&self, source: ConfigError) -> Error {
        match &self.journal.value {
            Journal::Etcd(etcd) => etcd.too_short(self.request_timeout.value).into(),
            _ => source.into(),
        }
    }

    /// Adds the origin to an error. Each other setting was checked, and secrets have their origin, so only these can be
    /// refused.
    fn named(&self, error: Error) -> Error {
        let Error::Config { source, .. } = error else { return error };
        if *source.origin() != Origin::Code {
            return source.into();
        }
        let origin = match (source.what(), &self.config) {
            ("journal directory", _) => self.journal.origin.clone(),
            ("ttl of the journal", _) => return self.too_short(source),
            // Only the configuration file has tables of hosts.
            ("host of credentials" | "host of TLS settings", Some(path)) => Origin::File(path.clone()),
            _ => self.tls.origin_of(&source).unwrap_or(&self.hosts.origin).clone(),
        };
        source.from_origin(origin).into()
    }
}

pub(crate) fn or_default<T>(found: Option<Sourced<T>>, default: T) -> Sourced<T> {
    found.unwrap_or(Sourced::default(default))
}

/// Checks a setting. Its key gives the line in the file.
pub(crate) fn in_bounds<T: Clone>(
    (setting, key, file): (&Sourced<T>, &str, &ConfigFile),
    check: impl FnOnce(T) -> Result<(), ConfigError>,
) -> Result<(), ConfigError> {
    let origin = match &setting.origin {
        Origin::File(_) => file.origin_of(key),
        other => other.clone(),
    };
    check(setting.value.clone()).map_err(|error| error.from_origin(origin))
}

fn builds(builder: ClientBuilder) -> Result<(), ConfigError> {
    match builder.build() {
        Err(Error::Config { source, .. }) => Err(source),
        _ => Ok(()),
    }
}

/// Returns the hosts of the first origin that names some.
fn hosts(global: &GlobalOptions, file: &ConfigFile) -> Result<Sourced<Hosts>, ConfigError> {
    if !global.hosts.is_empty() {
        let origin = Origin::Option("--hosts".into());
        return Ok(Sourced::option("--hosts", host_list::parse(&global.hosts.join(","), origin)?));
    }
    // The variable of --hosts comes before that of --hosts-file.
    let of_option = global.hosts_file.as_deref().filter(|_| !global.from_variables.contains(host_list::OPTION));
    if let Some(path) = of_option {
        return Ok(Sourced::given(
            global,
            host_list::OPTION,
            host_list::read(path, &global.origin(host_list::OPTION))?,
        ));
    }
    if let Some((name, list)) = variable(HOSTS[0]).map(|list| (HOSTS[0], list)) {
        return hosts_of_variable(name, list);
    }
    if let Some(path) = &global.hosts_file {
        return Ok(Sourced::given(
            global,
            host_list::OPTION,
            host_list::read(path, &global.origin(host_list::OPTION))?,
        ));
    }
    if let Some((name, list)) = variable(HOSTS[1]).map(|list| (HOSTS[1], list)) {
        return hosts_of_variable(name, list);
    }
    if let Some(Sourced { value, origin }) = file.hosts()? {
        let value = Hosts::parse(value).map_err(|error| error.from_origin(file.origin_of("hosts")))?;
        return Ok(Sourced { value, origin });
    }
    let local = ["http://localhost:8000", "http://localhost:8001", "http://localhost:8002"];
    Hosts::parse(local).map(Sourced::default)
}

fn hosts_of_variable(name: &str, list: OsString) -> Result<Sourced<Hosts>, ConfigError> {
    let origin = Origin::Environment(name.into());
    let list = list.into_string().map_err(|list| {
        ConfigError::new("host list", list.to_string_lossy(), "is not UTF-8", "write it in ASCII")
            .from_origin(origin.clone())
    })?;
    Ok(Sourced::variable(name, host_list::parse(&list, origin)?))
}

fn engine(global: &GlobalOptions, file: &ConfigFile) -> Result<Sourced<EngineName>, ConfigError> {
    if let Some(engine) = global.engine {
        return Ok(Sourced::option("--engine", engine));
    }
    if let Some(name) = variable(ENGINE) {
        let name = name.to_string_lossy();
        let known = EngineName::from_str(&name, false);
        let refused = |_| {
            ConfigError::new("engine", name.clone(), "is no engine", "choose multiplexed or threads")
                .from_origin(Origin::Environment(ENGINE.into()))
        };
        return known.map(|engine| Sourced::variable(ENGINE, engine)).map_err(refused);
    }
    Ok(or_default(file.engine()?, EngineName::Multiplexed))
}

pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}
