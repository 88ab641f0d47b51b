//! The configuration file: its keys, and the type of each.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum as _;
use cluster_client::{Api, ConfigError, Host, Origin};
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use crate::args::EngineName;
use crate::likeness::alike;
use crate::mapping;
use crate::open::{self, ReadError};
use crate::settings::Sourced;
use crate::time;

const DEFAULT: &str = "cluster-client.toml";

/// Maximum size of a configuration file, in bytes.
const LIMIT: u64 = 1 << 20;

pub(crate) const KEYS: [&str; 24] = [
    "hosts",
    "timeout",
    "request_timeout",
    "attempts",
    "first_delay",
    "max_delay",
    "settle",
    "rollback_timeout",
    "journal",
    "api",
    "paths",
    "threads",
    "engine",
    "in_flight",
    "allow_plain_http",
    "credentials",
    "tls",
    "etcd",
    "host",
    "proxy",
    "no_proxy",
    "proxy_user",
    "proxy_password_file",
    "proxy_password_env",
];
pub(crate) const PATH_KEYS: [&str; 2] = ["collection", "member"];
const HOST_KEYS: [&str; 2] = ["credentials", "tls"];

/// The content of the configuration file. Empty if there is none.
#[derive(Default)]
pub(crate) struct ConfigFile {
    path: PathBuf,
    text: String,
    table: Table,
    paths: Table,
    /// The line of each key, from 1. Keys of a table have its name before them, as in `paths.member`.
    lines: HashMap<String, usize>,
}

/// Omits the values. They are not checked yet, and may contain a password.
impl std::fmt::Debug for ConfigFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfigFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl ConfigFile {
    /// Reads the named file, or the default one. Only the default one may be missing. It is read without being named,
    /// so it must not be writable for other users.
    pub(crate) fn read(named: Option<(&Path, Origin)>) -> Result<Self, ConfigError> {
        let (named, origin) = named.map_or((None, Origin::Default), |(path, origin)| (Some(path), origin));
        let path = named.unwrap_or(Path::new(DEFAULT));
        let refused = |problem: String, remedy: &str| {
            ConfigError::new("configuration file", path.to_string_lossy(), problem, remedy).from_origin(origin.clone())
        };
        // Accept the null device as an empty file.
        if named == Some(Path::new("/dev/null")) {
            return Ok(Self::default());
        }
        let (bytes, found) = match open::read(path, LIMIT) {
            Ok(read) => read,
            Err(ReadError::Io(error)) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                // Settings behind a broken link were meant to count.
                if path.is_symlink() {
                    return Err(refused(
                        "is a link to a file that does not exist".into(),
                        "correct or remove the link",
                    ));
                }
                return Ok(Self::default());
            }
            Err(ReadError::Io(error)) => {
                let remedy = if named.is_some() { "name a file that can be read" } else { "make it readable" };
                return Err(refused(format!("cannot be read: {error}"), remedy));
            }
            Err(ReadError::Refused((problem, remedy))) => return Err(refused(problem, remedy)),
        };
        if named.is_none() {
            open::check_writers(path, &found).map_err(|(problem, remedy)| refused(problem, remedy))?;
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let (line, _) = place(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
            refused(format!("has bytes that are not UTF-8 in line {line}"), "write it in UTF-8")
        })?;
        let table = text
            .parse::<Table>()
            .map_err(|error| refused(format!("is not TOML: {}", described(&text, &error)), "correct that line"))?;
        let lines = lines(&text);
        ConfigFile { path: path.into(), text, table, paths: Table::new(), lines }.checked()
    }

    /// Returns the path of the file, if one was read.
    pub(crate) fn read_from(&self) -> Option<PathBuf> {
        (!self.path.as_os_str().is_empty()).then(|| self.path.clone())
    }

    /// Refuses unknown keys.
    fn checked(mut self) -> Result<Self, ConfigError> {
        self.refuse_unknown(&self.table, &KEYS, "")?;
        match self.table.get("paths") {
            None => {}
            Some(Value::Table(paths)) => {
                self.refuse_unknown(paths, &PATH_KEYS, "paths.")?;
                self.paths = paths.clone();
            }
            Some(other) => return Err(self.refused("paths", other, "is not a table", "write [paths]")),
        }
        Ok(self)
    }

    pub(crate) fn refuse_unknown(&self, table: &Table, known: &[&str], prefix: &str) -> Result<(), ConfigError> {
        let Some(key) = table.keys().find(|key| !known.contains(&key.as_str())) else { return Ok(()) };
        let hint = alike(key, known.iter().copied());
        let hint = hint.map(|known| format!("did you mean {prefix}{known}? ")).unwrap_or_default();
        let known: Vec<String> = known.iter().map(|key| format!("{prefix}{key}")).collect();
        let remedy = format!("{hint}use one of {}", known.join(", "));
        let name = format!("{prefix}{key}");
        Err(ConfigError::new("key", &name, "is unknown", remedy).from_origin(self.origin_of(&name)))
    }

    pub(crate) fn time(&self, key: &'static str) -> Result<Option<Sourced<Duration>>, ConfigError> {
        self.table.get(key).map(|value| self.time_of(key, value)).transpose()
    }

    /// Reads the value of a key, which may be in a table.
    pub(crate) fn time_of(&self, key: &'static str, value: &Value) -> Result<Sourced<Duration>, ConfigError> {
        let Value::String(text) = value else {
            let remedy = match value {
                Value::Integer(number) => format!("write it in quotes and with a unit, such as \"{number}s\""),
                _ => "write it in quotes, such as \"10s\"".into(),
            };
            return Err(self.refused(key, value, "is not a text", &remedy));
        };
        match time::parse(text) {
            Ok(time) => Ok(self.sourced(time)),
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

    pub(crate) fn hosts(&self) -> Result<Option<Sourced<Vec<String>>>, ConfigError> {
        const KEY: &str = "hosts";
        let Some(value) = self.table.get(KEY) else { return Ok(None) };
        let texts = value
            .as_array()
            .and_then(|array| array.iter().map(|entry| entry.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>());
        let texts = texts.ok_or_else(|| {
            // The error of the host has masked its text.
            let refused = value.as_str().and_then(|host| Host::parse(host).err());
            let shown = refused.map_or_else(|| shown(value), |refused| refused.value().to_owned());
            let remedy = "write [\"http://node1:8000\", \"http://node2:8000\"]";
            ConfigError::new(KEY, shown, "is not a list of texts", remedy).from_origin(self.origin_of(KEY))
        })?;
        Ok(Some(self.sourced(texts)))
    }

    /// Returns the directory or the URL of the journal, or `Some(None)` for `false`.
    pub(crate) fn journal(&self) -> Result<Option<Sourced<Option<String>>>, ConfigError> {
        match self.table.get("journal") {
            None => Ok(None),
            Some(Value::Boolean(false)) => Ok(Some(self.sourced(None))),
            Some(Value::String(place)) if !place.is_empty() => Ok(Some(self.sourced(Some(place.clone())))),
            Some(other) => {
                let problem = "is neither a directory nor an etcd:// URL nor false";
                Err(self.refused("journal", other, problem, "write one of them"))
            }
        }
    }

    /// Returns the API: a preset, a file relative to this one, or the table in this file.
    pub(crate) fn api(&self) -> Result<Option<Sourced<Api>>, ConfigError> {
        const KEY: &str = "api";
        let Some(value) = self.table.get(KEY) else { return Ok(None) };
        let api = match value {
            _ if self.table.contains_key("paths") => {
                let remedy = "keep one of them: [paths] is the short form for the paths of the node API";
                Err(self.refused(KEY, value, "stands beside [paths], and each describes the API", remedy))
            }
            Value::String(named) => mapping::named(named, self.path.parent(), &self.origin_of(KEY)),
            Value::Table(_) => Api::from_toml_table(&self.text, KEY, self.origin()),
            other => {
                let remedy = "write \"jupyterhub\", \"./mapping.toml\" or [api]";
                Err(self.refused(KEY, other, "is neither a preset nor a file nor a table", remedy))
            }
        };
        Ok(Some(self.sourced(api?)))
    }

    pub(crate) fn engine(&self) -> Result<Option<Sourced<EngineName>>, ConfigError> {
        const KEY: &str = "engine";
        let Some(value) = self.table.get(KEY) else { return Ok(None) };
        let known = value.as_str().and_then(|name| EngineName::from_str(name, false).ok());
        known
            .map(|engine| Some(self.sourced(engine)))
            .ok_or_else(|| self.refused(KEY, value, "is no engine", "write \"multiplexed\" or \"threads\""))
    }

    pub(crate) fn path(&self, key: &'static str) -> Result<Option<Sourced<String>>, ConfigError> {
        match self.paths.get(key) {
            None => Ok(None),
            Some(Value::String(path)) => Ok(Some(self.sourced(path.clone()))),
            Some(other) => Err(self.refused(key, other, "is not a text", "write it in quotes, such as \"/v1/group/\"")),
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.table.get(key)
    }

    pub(crate) fn flag(&self, key: &'static str) -> Result<Option<Sourced<bool>>, ConfigError> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        let flag = value.as_bool().map(|flag| Some(self.sourced(flag)));
        flag.ok_or_else(|| self.refused(key, value, "is neither true nor false", "write one of them, without quotes"))
    }

    pub(crate) fn table(&self, key: &'static str) -> Result<Option<&Table>, ConfigError> {
        match self.table.get(key) {
            None => Ok(None),
            Some(Value::Table(table)) => Ok(Some(table)),
            Some(_) => Err(self.refused_key(key, "is not a table", &format!("write [{key}]"))),
        }
    }

    /// Names a key, and not its value, which may be a secret by mistake.
    pub(crate) fn refused_key(&self, key: &str, problem: &str, remedy: &str) -> ConfigError {
        ConfigError::new("key", key, problem, remedy).from_origin(self.origin_of(key))
    }

    /// Returns the hosts with settings of their own at `key`. They are at `host`, because `hosts` is the list.
    pub(crate) fn hosts_with_settings(&self, key: &str) -> Result<Vec<(&str, &Table)>, ConfigError> {
        let remedy = format!("write [host.\"https://node1:8443\".{key}]");
        let mut found = Vec::new();
        for (url, settings) in self.table("host")?.into_iter().flatten() {
            let Value::Table(settings) = settings else {
                return Err(self.refused_key("host", "is not a table of hosts", &remedy));
            };
            // The error of the host masks its text.
            let host = Host::parse(url).map_err(|error| error.from_origin(self.origin()))?;
            self.refuse_unknown(settings, &HOST_KEYS, &format!("{}.", key_of(&host)))?;
            match settings.get(key) {
                Some(Value::Table(table)) => found.push((url.as_str(), table)),
                Some(_) => {
                    return Err(self.refused_key(&format!("{}.{key}", key_of(&host)), "is not a table", &remedy));
                }
                None => {}
            }
        }
        Ok(found)
    }

    /// Returns a path of the file, which is relative to the directory of the file.
    pub(crate) fn beside(&self, path: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin::File(self.path.clone())
    }

    fn sourced<T>(&self, value: T) -> Sourced<T> {
        Sourced { value, origin: self.origin() }
    }

    fn refused(&self, key: &'static str, value: &Value, problem: &str, remedy: &str) -> ConfigError {
        ConfigError::new(key, shown(value), problem, remedy).from_origin(self.origin_of(key))
    }

    /// Returns the origin of a key in errors: the file, and the line.
    pub(crate) fn origin_of(&self, key: &str) -> Origin {
        match self.lines.get(key).or_else(|| self.lines.get(&format!("paths.{key}"))) {
            Some(line) => Origin::File(format!("{}, line {line}", self.path.to_string_lossy()).into()),
            None => self.origin(),
        }
    }
}

/// Returns the key of a host, as TOML has it. An error would mask a port without the quotation mark behind it.
pub(crate) fn key_of(host: &Host) -> String {
    format!("host.'{host}'")
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        Value::Array(_) => "[..]".into(),
        Value::Table(_) => "{..}".into(),
        Value::Datetime(_) => "a date".into(),
    }
}

/// Returns the line of each key. The text is TOML.
fn lines(text: &str) -> HashMap<String, usize> {
    let mut lines = HashMap::new();
    if let Ok(table) = DeTable::parse(text) {
        add_lines(&mut lines, "", table.get_ref(), text);
    }
    lines
}

fn add_lines(lines: &mut HashMap<String, usize>, prefix: &str, table: &DeTable<'_>, text: &str) {
    for (key, value) in table {
        let host = Some(key.get_ref()).filter(|_| prefix == "host.").and_then(|url| Host::parse(url).ok());
        let name = host.map_or_else(|| format!("{prefix}{}", key.get_ref()), |host| key_of(&host));
        lines.insert(name.clone(), place(&text.as_bytes()[..key.span().start]).0);
        if let DeValue::Table(inner) = value.get_ref() {
            add_lines(lines, &format!("{name}."), inner, text);
        }
    }
}

/// Returns line, column and message of the error. The line itself is not shown, because it may contain a password. A key
/// is shown only if it is valid.
fn described(text: &str, error: &toml::de::Error) -> String {
    let Some(span) = error.span() else { return error.message().to_owned() };
    let before = &text.as_bytes()[..span.start.min(text.len())];
    let (line, column) = place(before);
    let key = text.lines().nth(line - 1).and_then(|line| line.split_once('=')).map(|(key, _)| key.trim());
    let key = KEYS.iter().chain(&PATH_KEYS).find(|known| Some(**known) == key);
    let at = key.map(|key| format!(", at the key {key}")).unwrap_or_default();
    format!("line {line}, column {column}{at}: {}", error.message().replace('\n', ", "))
}

/// Returns line and column of the byte after `before`, each from 1.
fn place(before: &[u8]) -> (usize, usize) {
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let line = before.split(|byte| *byte == b'\n').count();
    (line, String::from_utf8_lossy(&before[line_start..]).chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::EtcdSetting;

    /// Uses random texts with a fixed seed.
    #[test]
    fn no_error_of_a_configuration_shows_a_password() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cluster-client.toml");
        let mut random = fastrand::Rng::with_seed(15);
        let (mut syntax, mut keys, mut values) = (0, 0, 0);
        for _ in 0..5_000 {
            let malformed = crate::malformed::config(&mut |below| random.usize(..below));
            std::fs::write(&path, &malformed.text).unwrap();
            let file = match ConfigFile::read(Some((&path, Origin::Default))) {
                Err(error) => {
                    malformed.assert_hidden_by(&error);
                    *if error.to_string().contains("is not TOML") { &mut syntax } else { &mut keys } += 1;
                    continue;
                }
                Ok(file) => file,
            };
            malformed.assert_hidden(&format!("{file:?}"));
            let times = ["timeout", "request_timeout", "first_delay", "max_delay", "settle", "rollback_timeout"];
            let errors = times.map(|key| file.time(key).err()).into_iter();
            let errors = errors.chain(["attempts", "threads", "in_flight"].map(|key| file.number::<u32>(key).err()));
            let errors = errors.chain(["collection", "member"].map(|key| file.path(key).err()));
            let own = [file.hosts_with_settings("credentials").err(), file.flag("allow_plain_http").err()];
            let proxy = crate::proxy::ProxySettings::read(&file).err();
            let own = own.into_iter().chain([file.table("credentials").err(), file.api().err(), proxy]);
            let errors = errors.chain(own);
            let errors = errors.chain([crate::tls::TlsSection::resolve(None, None, &file).err()]);
            let place = file.journal().ok().flatten().and_then(|found| found.value);
            let url = place.filter(|place| place.contains("://"));
            let url = url.and_then(|url| EtcdSetting::default().at(url).check_url().err());
            let errors = errors.chain([url, EtcdSetting::read(&file).err()]);
            for error in errors.chain([file.hosts().err(), file.journal().err(), file.engine().err()]).flatten() {
                malformed.assert_hidden_by(&error);
                values += 1;
            }
        }
        assert!(syntax > 800 && keys > 300 && values > 300, "{syntax} {keys} {values}");
    }

    #[test]
    fn every_key_has_its_line() {
        let lines = lines("# a file\nattempts = 3\n\nhosts = [\n  \"http://a\",\n]\n[paths]\nmember = \"/{id}\"\n");
        for (key, line) in [("attempts", 2), ("hosts", 4), ("paths", 7), ("paths.member", 8)] {
            assert_eq!(lines.get(key), Some(&line), "{key}");
        }
    }
}
