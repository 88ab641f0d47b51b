//! The configuration file: which keys it may have, and what each must be.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cluster_client::{ConfigError, Origin};
use toml::{Table, Value};

use crate::exit::Stop;
use crate::settings::Sourced;
use crate::time;

const DEFAULT: &str = "cluster-client.toml";

const KEYS: [&str; 12] = [
    "hosts",
    "timeout",
    "request_timeout",
    "attempts",
    "first_delay",
    "max_delay",
    "settle",
    "rollback_timeout",
    "journal",
    "paths",
    "threads",
    "in_flight",
];
const PATH_KEYS: [&str; 2] = ["collection", "member"];

/// What the configuration file says; empty where there is none.
#[derive(Debug, Default)]
pub(crate) struct ConfigFile {
    path: PathBuf,
    table: Table,
    paths: Table,
}

impl ConfigFile {
    /// Reads the named file, or the default one. Only the default one may be missing.
    pub(crate) fn read(named: Option<&Path>) -> Result<Self, Stop> {
        let path = named.unwrap_or(Path::new(DEFAULT));
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text),
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => {
                let remedy = if named.is_some() { "name a file that can be read" } else { "make it readable" };
                Err(Stop::usage(format!("the configuration file {}: {error}: {remedy}", path.display())))
            }
        }
    }

    /// The path that it was read from, where it was.
    pub(crate) fn read_from(&self) -> Option<PathBuf> {
        (!self.path.as_os_str().is_empty()).then(|| self.path.clone())
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Stop> {
        let table = text.parse::<Table>().map_err(|error| {
            Stop::usage(format!("the configuration file {} is not TOML: {}", path.display(), error.to_string().trim()))
        })?;
        let mut file = ConfigFile { path: path.into(), table, paths: Table::new() };
        file.refuse_unknown(&file.table, &KEYS, "")?;
        match file.table.get("paths") {
            None => {}
            Some(Value::Table(paths)) => {
                file.refuse_unknown(paths, &PATH_KEYS, "paths.")?;
                file.paths = paths.clone();
            }
            Some(other) => return Err(file.refused("paths", other, "is not a table", "write [paths]").into()),
        }
        Ok(file)
    }

    fn refuse_unknown(&self, table: &Table, known: &[&str], prefix: &str) -> Result<(), Stop> {
        let Some(key) = table.keys().find(|key| !known.contains(&key.as_str())) else { return Ok(()) };
        let known: Vec<String> = known.iter().map(|key| format!("{prefix}{key}")).collect();
        let file = self.path.display();
        Err(Stop::usage(format!("unknown key \"{prefix}{key}\" in the file {file}: use one of {}", known.join(", "))))
    }

    pub(crate) fn time(&self, key: &'static str) -> Result<Option<Sourced<Duration>>, ConfigError> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        let Value::String(text) = value else {
            return Err(self.refused(key, value, "is not a text", "write it in quotes, such as \"10s\""));
        };
        match time::parse(text) {
            Ok(time) => Ok(Some(self.sourced(time))),
            Err((problem, remedy)) => Err(self.refused(key, value, problem, remedy)),
        }
    }

    pub(crate) fn number<N: TryFrom<i64>>(&self, key: &'static str) -> Result<Option<Sourced<N>>, ConfigError> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        match value.as_integer().and_then(|number| N::try_from(number).ok()) {
            Some(number) => Ok(Some(self.sourced(number))),
            None => {
                Err(self.refused(key, value, "is no whole number above zero", "write it without quotes, such as 3"))
            }
        }
    }

    pub(crate) fn texts(&self, key: &'static str) -> Result<Option<Sourced<Vec<String>>>, ConfigError> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        let texts = value
            .as_array()
            .and_then(|array| array.iter().map(|entry| entry.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>());
        let remedy = "write [\"http://node1:8000\", \"http://node2:8000\"]";
        let texts = texts.ok_or_else(|| self.refused(key, value, "is not a list of texts", remedy))?;
        Ok(Some(self.sourced(texts)))
    }

    /// The journal's directory, which is relative to the file; `Some(None)` for `false`.
    pub(crate) fn journal(&self) -> Result<Option<Sourced<Option<PathBuf>>>, ConfigError> {
        let base = self.path.parent().unwrap_or(Path::new(""));
        match self.table.get("journal") {
            None => Ok(None),
            Some(Value::Boolean(false)) => Ok(Some(self.sourced(None))),
            Some(Value::String(path)) if !path.is_empty() => Ok(Some(self.sourced(Some(base.join(path))))),
            Some(other) => Err(self.refused("journal", other, "is neither a directory nor false", "write one of them")),
        }
    }

    pub(crate) fn path(&self, key: &'static str) -> Result<Option<Sourced<String>>, ConfigError> {
        match self.paths.get(key) {
            None => Ok(None),
            Some(Value::String(path)) => Ok(Some(self.sourced(path.clone()))),
            Some(other) => Err(self.refused(key, other, "is not a text", "write it in quotes, such as \"/v1/group/\"")),
        }
    }

    fn origin(&self) -> Origin {
        Origin::File(self.path.clone())
    }

    fn sourced<T>(&self, value: T) -> Sourced<T> {
        Sourced { value, origin: self.origin() }
    }

    fn refused(&self, key: &'static str, value: &Value, problem: &str, remedy: &str) -> ConfigError {
        let shown = match value {
            Value::String(text) => text.clone(),
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Boolean(truth) => truth.to_string(),
            Value::Array(_) => "[..]".into(),
            Value::Table(_) => "{..}".into(),
            Value::Datetime(_) => "a date".into(),
        };
        ConfigError::new(key, shown, problem, remedy).from_origin(self.origin())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_help_page_is_known_and_every_known_key_is_on_it() {
        use clap::CommandFactory as _;
        let help = crate::args::Arguments::command().render_long_help().to_string();
        for key in KEYS.iter().filter(|key| **key != "paths").chain(&PATH_KEYS) {
            assert!(help.contains(&format!("{key} = ")), "{key} is not documented");
        }
    }
}
