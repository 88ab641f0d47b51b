//! The TLS settings: `[tls]` of the configuration file, those of single hosts, and the option for a CA file. The library
//! loads and checks the files.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use cluster_client::{ConfigError, Host, Origin, TlsSettings};
use serde_json::json;
use toml::{Table, Value};

use crate::file::{ConfigFile, key_of};
use crate::settings::Sourced;

pub(crate) const KEYS: [&str; 7] = [
    "ca_file",
    "system_roots",
    "client_cert_file",
    "client_key_file",
    "server_name",
    "https_only",
    "dangerously_skip_verification",
];
pub(crate) const CA_FILE: &str = "CLUSTER_CLIENT_CA_FILE";
const CA_OPTION: &str = "--ca-file";

/// The TLS settings of all hosts and of single hosts, and their origins.
#[derive(Debug, Default)]
pub(crate) struct TlsSection {
    pub(crate) general: TlsSettings,
    /// The settings of single origins, which replace the general ones.
    pub(crate) own: Vec<(String, TlsSettings)>,
    /// The settings that are there, for the command `hosts` and for errors.
    pub(crate) places: Vec<Place>,
    /// The CA file of the option or the variable.
    pub(crate) ca_file: Option<PathBuf>,
}

/// A setting that is there.
#[derive(Debug)]
pub(crate) struct Place {
    /// The path of the key. It ends with the name that the setting has in errors of the library.
    pub(crate) key: String,
    pub(crate) value: serde_json::Value,
    pub(crate) origin: Origin,
}

impl TlsSection {
    /// Reads the settings. A CA file of the `option`, or else of the `variable`, replaces that of the file.
    pub(crate) fn resolve(
        option: Option<&Path>,
        variable: Option<OsString>,
        file: &ConfigFile,
    ) -> Result<Self, ConfigError> {
        let given = option.map(|path| Sourced { value: path.into(), origin: Origin::Option(CA_OPTION.into()) });
        let given = given.or_else(|| {
            let origin = Origin::Environment(CA_FILE.into());
            variable.map(|path| Sourced { value: PathBuf::from(path), origin })
        });
        let mut section = TlsSection { ca_file: given.as_ref().map(|given| given.value.clone()), ..Self::default() };
        let empty = Table::new();
        let table = file.table("tls")?.unwrap_or(&empty);
        section.general = TableReader { file, table, prefix: "tls.".into() }.read(given, &mut section.places)?;
        for (url, table) in file.hosts_with_settings("tls")? {
            let host = checked_origin(url).map_err(|error| error.from_origin(file.origin()))?;
            let prefix = format!("{}.tls.", key_of(&host));
            let own = TableReader { file, table, prefix }.read(None, &mut section.places)?;
            section.own.push((url.to_owned(), own));
        }
        Ok(section)
    }

    /// Returns the origin of the value that an error of the library names.
    pub(crate) fn origin_of(&self, error: &ConfigError) -> Option<&Origin> {
        let named = self.places.iter().filter(|place| place.key.ends_with(error.what()));
        // The key of a single host has the same name in errors, so compare the values. A long one is cut there.
        let start = error.value().trim_end_matches('…');
        let is_it = |place: &&Place| place.value.as_str().is_some_and(|value| value.starts_with(start));
        named.clone().find(is_it).or(named.clone().next()).map(|place| &place.origin)
    }
}

/// Reads another table with some of these keys. `prefix` is its path, with a dot at its end.
pub(crate) fn read_table(file: &ConfigFile, table: &Table, prefix: &str) -> Result<TlsSettings, ConfigError> {
    TableReader { file, table, prefix: prefix.into() }.read(None, &mut Vec::new())
}

/// Returns the https host of a URL that is only scheme, name and port.
fn checked_origin(url: &str) -> Result<Host, ConfigError> {
    let host = Host::parse(url)?;
    if host.is_https() && host.path().is_empty() {
        return Ok(host);
    }
    let problem = "has settings of its own, and is not https, or has a path";
    Err(ConfigError::new("host", url, problem, "write [host.\"https://node1:8443\".tls]"))
}

/// Reads one table with TLS settings.
struct TableReader<'a> {
    file: &'a ConfigFile,
    table: &'a Table,
    /// The path of the table, with a dot at its end.
    prefix: String,
}

impl TableReader<'_> {
    /// Returns the settings, and appends their places. `ca_file` replaces that of the table.
    fn read(&self, ca_file: Option<Sourced<PathBuf>>, places: &mut Vec<Place>) -> Result<TlsSettings, ConfigError> {
        self.file.refuse_unknown(self.table, &KEYS, &self.prefix)?;
        let mut settings = TlsSettings::new();
        // Check the key of the table even if another origin replaces it.
        let in_table = self.path("ca_file")?;
        if let Some(path) = self.place("ca_file", ca_file.or(in_table), places) {
            settings = settings.ca_file(path);
        }
        if let Some(path) = self.place("client_cert_file", self.path("client_cert_file")?, places) {
            settings = settings.client_cert_file(path);
        }
        if let Some(path) = self.place("client_key_file", self.path("client_key_file")?, places) {
            settings = settings.client_key_file(path);
        }
        if let Some(name) = self.place("server_name", self.text("server_name")?, places) {
            settings = settings.server_name(name);
        }
        if self.flag("system_roots", places)? {
            settings = settings.system_roots();
        }
        if self.flag("https_only", places)? {
            settings = settings.https_only();
        }
        if self.flag("dangerously_skip_verification", places)? {
            settings = settings.dangerously_skip_verification();
        }
        Ok(settings)
    }

    /// Records the place of a value that is there, and returns the value.
    fn place<T: AsRef<OsStr>>(&self, key: &str, found: Option<Sourced<T>>, places: &mut Vec<Place>) -> Option<T> {
        let Sourced { value, origin } = found?;
        let shown = json!(value.as_ref().to_string_lossy());
        places.push(Place { key: format!("{}{key}", self.prefix), value: shown, origin });
        Some(value)
    }

    fn text(&self, key: &str) -> Result<Option<Sourced<String>>, ConfigError> {
        match self.table.get(key) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => {
                Ok(Some(Sourced { value: text.clone(), origin: self.file.origin() }))
            }
            Some(_) => Err(self.refused(key, "is not a text, or an empty one", "write it in quotes")),
        }
    }

    /// Returns a path, which is relative to the directory of the file.
    fn path(&self, key: &str) -> Result<Option<Sourced<PathBuf>>, ConfigError> {
        Ok(self.text(key)?.map(|text| text.map(|path: String| self.file.beside(&path))))
    }

    fn flag(&self, key: &str, places: &mut Vec<Place>) -> Result<bool, ConfigError> {
        match self.table.get(key) {
            None => Ok(false),
            Some(Value::Boolean(flag)) => {
                let (key, origin) = (format!("{}{key}", self.prefix), self.file.origin());
                places.push(Place { key, value: json!(flag), origin });
                Ok(*flag)
            }
            Some(_) => Err(self.refused(key, "is neither true nor false", "write one of them, without quotes")),
        }
    }

    fn refused(&self, key: &str, problem: &str, remedy: &str) -> ConfigError {
        self.file.refused_key(&format!("{}{key}", self.prefix), problem, remedy)
    }
}
