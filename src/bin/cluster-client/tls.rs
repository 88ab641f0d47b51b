//! The TLS settings: `[tls]` of the configuration file, and the option for a CA file. The library loads and checks the
//! files.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use cluster_client::{ConfigError, Origin, TlsSettings};
use serde_json::json;
use toml::{Table, Value};

use crate::file::ConfigFile;
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

/// The TLS settings of all hosts, and their origins.
#[derive(Debug, Default)]
pub(crate) struct TlsSection {
    pub(crate) settings: TlsSettings,
    /// The settings that are there, for the command `hosts` and for errors.
    pub(crate) places: Vec<Place>,
    /// The CA file of the option or the variable.
    pub(crate) ca_file: Option<PathBuf>,
}

/// A setting that is there.
#[derive(Debug)]
pub(crate) struct Place {
    /// The path of the key. Errors of the library have it too.
    pub(crate) key: &'static str,
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
        let empty = Table::new();
        let table = file.table("tls")?.unwrap_or(&empty);
        file.refuse_unknown(table, &KEYS, "tls.")?;
        let reader = Reader { file, table };
        let mut section = TlsSection { ca_file: given.as_ref().map(|given| given.value.clone()), ..Self::default() };
        // Check the key of the file even if another origin replaces it.
        let in_file = reader.path("ca_file")?;
        section.set("tls.ca_file", given.or(in_file), TlsSettings::ca_file);
        section.set("tls.client_cert_file", reader.path("client_cert_file")?, TlsSettings::client_cert_file);
        section.set("tls.client_key_file", reader.path("client_key_file")?, TlsSettings::client_key_file);
        section.set("tls.server_name", reader.text("server_name")?, TlsSettings::server_name);
        section.turn_on("tls.system_roots", reader.flag("system_roots")?, TlsSettings::system_roots);
        section.turn_on("tls.https_only", reader.flag("https_only")?, TlsSettings::https_only);
        section.turn_on(
            "tls.dangerously_skip_verification",
            reader.flag("dangerously_skip_verification")?,
            TlsSettings::dangerously_skip_verification,
        );
        Ok(section)
    }

    fn set<T: AsRef<std::ffi::OsStr>>(
        &mut self,
        key: &'static str,
        found: Option<Sourced<T>>,
        change: impl FnOnce(TlsSettings, T) -> TlsSettings,
    ) {
        let Some(Sourced { value, origin }) = found else { return };
        self.places.push(Place { key, value: json!(value.as_ref().to_string_lossy()), origin });
        self.settings = change(std::mem::take(&mut self.settings), value);
    }

    fn turn_on(
        &mut self,
        key: &'static str,
        found: Option<Sourced<bool>>,
        change: impl FnOnce(TlsSettings) -> TlsSettings,
    ) {
        let Some(Sourced { value, origin }) = found else { return };
        self.places.push(Place { key, value: json!(value), origin });
        if value {
            self.settings = change(std::mem::take(&mut self.settings));
        }
    }

    /// Returns the origin of the setting that an error of the library names.
    pub(crate) fn origin_of(&self, what: &str) -> Option<&Origin> {
        self.places.iter().find(|place| place.key == what).map(|place| &place.origin)
    }
}

/// Reads `[tls]`.
struct Reader<'a> {
    file: &'a ConfigFile,
    table: &'a Table,
}

impl Reader<'_> {
    fn text(&self, key: &'static str) -> Result<Option<Sourced<String>>, ConfigError> {
        match self.table.get(key) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(self.sourced(text.clone()))),
            Some(_) => Err(self.refused(key, "is not a text, or an empty one", "write it in quotes")),
        }
    }

    /// Returns a path, which is relative to the directory of the file.
    fn path(&self, key: &'static str) -> Result<Option<Sourced<PathBuf>>, ConfigError> {
        Ok(self.text(key)?.map(|text| text.map(|path: String| self.file.beside(&path))))
    }

    fn flag(&self, key: &'static str) -> Result<Option<Sourced<bool>>, ConfigError> {
        match self.table.get(key) {
            None => Ok(None),
            Some(Value::Boolean(flag)) => Ok(Some(self.sourced(*flag))),
            Some(_) => Err(self.refused(key, "is neither true nor false", "write one of them, without quotes")),
        }
    }

    fn sourced<T>(&self, value: T) -> Sourced<T> {
        Sourced { value, origin: self.file.origin() }
    }

    fn refused(&self, key: &str, problem: &str, remedy: &str) -> ConfigError {
        self.file.refused_key(&format!("tls.{key}"), problem, remedy)
    }
}
