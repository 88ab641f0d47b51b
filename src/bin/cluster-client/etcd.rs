//! The journal in etcd: its URL, and the table `[etcd]` of the configuration file with lease, user and TLS.

use std::time::Duration;

use cluster_client::{ConfigError, EtcdJournal, EtcdJournalBuilder, Origin, Secret, TlsSettings};
use toml::{Table, Value};

use crate::credentials::Place;
use crate::file::ConfigFile;
use crate::settings::Sourced;
use crate::time;
use crate::tls;

pub(crate) const KEYS: [&str; 9] = [
    "ttl",
    "user",
    "password_file",
    "password_env",
    "ca_file",
    "client_cert_file",
    "client_key_file",
    "server_name",
    "allow_plain_http",
];
/// The keys that are those of `[tls]`.
const TLS_KEYS: [&str; 4] = ["ca_file", "client_cert_file", "client_key_file", "server_name"];
const PREFIX: &str = "etcd.";
const TTL: Duration = Duration::from_secs(30);
/// The longest one that the library allows.
const LONGEST_TTL: Duration = Duration::from_secs(3600);

/// The endpoints of etcd and the settings of their connections. The files are read when the journal is opened.
#[derive(Debug, Clone)]
pub(crate) struct EtcdSetting {
    pub(crate) url: String,
    pub(crate) ttl: Sourced<Duration>,
    user: Option<(String, Secret)>,
    allow_plain_http: bool,
    tls: Option<TlsSettings>,
    /// The origin of the table.
    table: Origin,
    /// The keys of the table that are there, for the command `hosts`.
    pub(crate) places: Vec<Place>,
}

impl Default for EtcdSetting {
    fn default() -> Self {
        EtcdSetting {
            url: String::new(),
            ttl: Sourced::default(TTL),
            user: None,
            allow_plain_http: false,
            tls: None,
            table: Origin::Default,
            places: Vec::new(),
        }
    }
}

/// Two settings are equal if they are of the same journal. A run has one table.
impl PartialEq for EtcdSetting {
    fn eq(&self, other: &Self) -> bool {
        self.url == other.url
    }
}

impl Eq for EtcdSetting {}

impl EtcdSetting {
    /// Reads and checks the table, without a URL.
    pub(crate) fn read(file: &ConfigFile) -> Result<Self, ConfigError> {
        let Some(table) = file.table("etcd")? else { return Ok(Self::default()) };
        file.refuse_unknown(table, &KEYS, PREFIX)?;
        let reader = TableReader { file, table };
        let mut setting = EtcdSetting { table: file.origin(), ..Self::default() };
        if let Some(value) = table.get("ttl") {
            let ttl = file.time_of("etcd.ttl", value)?;
            let alone = EtcdJournal::builder("etcd://localhost").ttl(ttl.value).open();
            alone.map_err(|error| error.from_origin(file.origin_of("etcd.ttl")))?;
            setting.ttl = ttl;
        }
        setting.user = reader.user()?;
        setting.allow_plain_http = match table.get("allow_plain_http") {
            None => false,
            Some(Value::Boolean(flag)) => *flag,
            Some(_) => {
                let remedy = "write one of them, without quotes";
                return Err(reader.refused("allow_plain_http", "is neither true nor false", remedy));
            }
        };
        setting.tls = reader.tls()?;
        setting.places = reader.places();
        Ok(setting)
    }

    /// Sets the URL.
    pub(crate) fn at(self, url: String) -> Self {
        EtcdSetting { url, ..self }
    }

    /// Checks the URL alone. Sends nothing and reads no file.
    pub(crate) fn check_url(&self) -> Result<(), ConfigError> {
        EtcdJournal::builder(&self.url).open().map(drop)
    }

    /// Opens the journal: reads the files of the table, and sends nothing. `origin` is that of the URL.
    pub(crate) fn open(&self, origin: &Origin) -> Result<EtcdJournal, ConfigError> {
        let opened = self.builder().open();
        opened.map_err(|error| match error.what() {
            _ if *error.origin() != Origin::Code => error,
            "etcd journal" | "etcd endpoint" => error.from_origin(origin.clone()),
            _ => error.from_origin(self.table.clone()),
        })
    }

    fn builder(&self) -> EtcdJournalBuilder {
        let mut builder = EtcdJournal::builder(&self.url).ttl(self.ttl.value).allow_plain_http(self.allow_plain_http);
        if let Some((user, password)) = &self.user {
            builder = builder.user(user, password.clone());
        }
        match &self.tls {
            Some(tls) => builder.tls(tls.clone()),
            None => builder,
        }
    }

    /// Returns the error of a lease that is too short for two requests, which the client has refused. It names both
    /// settings.
    pub(crate) fn too_short(&self, request_timeout: Duration) -> ConfigError {
        const RENEWAL: Duration = Duration::from_secs(2);
        const ALMOST_A_SECOND: Duration = Duration::from_nanos(999_999_999);
        let least = request_timeout.saturating_mul(2).saturating_add(RENEWAL + ALMOST_A_SECOND).as_secs();
        let longest = self.ttl.value.saturating_sub(RENEWAL) / 2;
        let mut remedies = Vec::new();
        if least <= LONGEST_TTL.as_secs() {
            remedies.push(format!("set ttl in [etcd] to {least}s or more"));
        }
        if !longest.is_zero() {
            remedies.push(format!("set --request-timeout to {} or less", time::show(longest)));
        }
        let problem = format!(
            "is too short for a request_timeout of {}, because a claim must outlast two requests",
            time::show(request_timeout)
        );
        let refused = ConfigError::new("etcd.ttl", time::show(self.ttl.value), problem, remedies.join(", or "));
        refused.from_origin(self.ttl.origin.clone())
    }
}

/// Reads the table.
struct TableReader<'a> {
    file: &'a ConfigFile,
    table: &'a Table,
}

impl TableReader<'_> {
    fn user(&self) -> Result<Option<(String, Secret)>, ConfigError> {
        let user = self.text("user", "write it in quotes")?;
        let path = self.text("password_file", "write a path in quotes")?;
        let variable = self.text("password_env", "write the name of a variable in quotes")?;
        let password = match (path, variable) {
            (Some(_), Some(_)) => {
                return Err(self.refused("password_env", "is beside password_file", "give one of them"));
            }
            (Some(path), None) => Some(Secret::file(self.file.beside(path))),
            (None, Some(name)) => Some(Secret::variable(name)),
            (None, None) => None,
        };
        match (user, password) {
            (None, None) => Ok(None),
            (Some(user), Some(password)) => Ok(Some((user.to_owned(), password.from_origin(self.file.origin())))),
            (Some(_), None) => {
                Err(self.refused("user", "has no password", "add etcd.password_file or etcd.password_env"))
            }
            (None, Some(_)) => Err(self.refused("a password", "has no user", "add etcd.user")),
        }
    }

    /// Returns the TLS settings, if the table has some. The keys are read as those of `[tls]`.
    fn tls(&self) -> Result<Option<TlsSettings>, ConfigError> {
        let of_tls = |(key, _): &(&String, &Value)| TLS_KEYS.contains(&key.as_str());
        let table: Table = self.table.iter().filter(of_tls).map(|(key, value)| (key.clone(), value.clone())).collect();
        if table.is_empty() {
            return Ok(None);
        }
        tls::read_table(self.file, &table, PREFIX).map(Some)
    }

    fn text(&self, key: &str, remedy: &str) -> Result<Option<&str>, ConfigError> {
        match self.table.get(key) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
            Some(_) => Err(self.refused(key, "is not a text, or an empty one", remedy)),
        }
    }

    /// Returns the values that were read, in the order of the keys. The password is in none of them.
    fn places(&self) -> Vec<Place> {
        let shown = |key: &str, value: &Value| match value {
            Value::String(path) if key.ends_with("_file") => self.file.beside(path).display().to_string(),
            Value::String(text) => text.clone(),
            other => other.as_bool().unwrap_or_default().to_string(),
        };
        let place = |key: &str| {
            let value = self.table.get(key).filter(|_| key != "ttl")?;
            Some(Place { key: format!("{PREFIX}{key}"), shown: shown(key, value), origin: self.file.origin() })
        };
        KEYS.into_iter().filter_map(place).collect()
    }

    fn refused(&self, key: &str, problem: &str, remedy: &str) -> ConfigError {
        self.file.refused_key(&format!("{PREFIX}{key}"), problem, remedy)
    }
}
