//! The credentials of the settings: `[credentials]` of the configuration file, those of one host, and the option for a
//! token file. The library reads the secrets. Here are only the places where they are.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use cluster_client::{ConfigError, Credentials, Host, Hosts, Origin, Secret};
use toml::{Table, Value};

use crate::file::{ConfigFile, key_of};
use crate::settings::Sourced;

pub(crate) const KEYS: [&str; 7] = [
    "bearer_token_file",
    "bearer_token_env",
    "basic_user",
    "basic_password_file",
    "basic_password_env",
    "header_files",
    "header_envs",
];
pub(crate) const TOKEN_FILE: &str = "CLUSTER_CLIENT_BEARER_TOKEN_FILE";
const TOKEN_OPTION: &str = "--bearer-token-file";

/// The credentials of all hosts and of single hosts.
#[derive(Debug, Clone, Default)]
pub(crate) struct CredentialSettings {
    pub(crate) general: Credentials,
    pub(crate) own: Vec<(Host, Credentials)>,
    /// The settings that count, for the command `hosts`.
    pub(crate) places: Vec<Place>,
    /// The token file of the option or the variable.
    pub(crate) token_file: Option<PathBuf>,
}

/// The place of a secret: a file or a variable.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) key: String,
    pub(crate) shown: String,
    pub(crate) origin: Origin,
}

impl CredentialSettings {
    /// Reads the credentials. A token file of the `option`, or else of the `variable`, replaces the scheme of the file.
    ///
    /// A `[host]` of the file that is none of `hosts` is an error if they come from that file. Hosts of another origin may
    /// be a part of the cluster.
    pub(crate) fn resolve(
        option: Option<&Path>,
        variable: Option<OsString>,
        file: &ConfigFile,
        hosts: &Sourced<Hosts>,
    ) -> Result<Self, ConfigError> {
        let token_file = option.map(|path| Sourced { value: path.into(), origin: Origin::Option(TOKEN_OPTION.into()) });
        let token_file = token_file.or_else(|| {
            let origin = Origin::Environment(TOKEN_FILE.into());
            variable.map(|path| Sourced { value: PathBuf::from(path), origin })
        });
        let mut all = CredentialSettings::default();
        let empty = Table::new();
        let table = file.table("credentials")?.unwrap_or(&empty);
        let read =
            TableReader { file, table, prefix: "credentials.".into() }.read(token_file.as_ref(), &mut all.places);
        all.general = read?;
        all.token_file = token_file.map(|file| file.value);
        for (url, table) in file.hosts_with_settings("credentials")? {
            let host = Host::parse(url).map_err(|error| error.from_origin(file.origin()))?;
            let is_known = hosts.value.iter().any(|known| origin_of(known) == origin_of(&host));
            let mut places = Vec::new();
            let prefix = format!("{}.credentials.", key_of(&host));
            let read = TableReader { file, table, prefix }.read(None, &mut places);
            let own = read?;
            if is_known || hosts.origin == file.origin() {
                all.own.push((host, own));
                all.places.append(&mut places);
            }
        }
        Ok(all)
    }

    /// Returns the credentials of single ones of these `hosts`: the settings of each, and none for a host that is not among
    /// the `named` ones.
    pub(crate) fn own_of(&self, hosts: &Hosts, named: &Hosts) -> Vec<(Host, Credentials)> {
        let named: HashSet<_> = named.iter().map(origin_of).collect();
        let mut of_origin: HashMap<_, _> = self.own.iter().map(|(host, own)| (origin_of(host), own)).collect();
        let mut own = Vec::new();
        for origin in hosts.iter().map(origin_of).collect::<BTreeSet<_>>() {
            let foreign = (!named.contains(&origin)).then(Credentials::new);
            let host = Host::parse(format!("{}://{}", origin.0, origin.1));
            if let (Some(credentials), Ok(host)) = (foreign.or(of_origin.remove(&origin).cloned()), host) {
                own.push((host, credentials));
            }
        }
        own
    }

    pub(crate) fn are_there(&self) -> bool {
        !self.general.is_empty() || self.own.iter().any(|(_, credentials)| !credentials.is_empty())
    }
}

fn origin_of(host: &Host) -> (&str, &str) {
    (host.scheme(), host.authority())
}

/// Reads one table with credentials.
struct TableReader<'a> {
    file: &'a ConfigFile,
    table: &'a Table,
    /// The path of the table, with a dot at its end.
    prefix: String,
}

impl TableReader<'_> {
    fn read(&self, token_file: Option<&Sourced<PathBuf>>, places: &mut Vec<Place>) -> Result<Credentials, ConfigError> {
        self.file.refuse_unknown(self.table, &KEYS, &self.prefix)?;
        let mut scheme_places = Vec::new();
        let scheme = self.scheme(&mut scheme_places)?;
        let mut credentials = if let Some(Sourced { value, origin }) = token_file {
            places.push(Place {
                key: format!("{}bearer_token_file", self.prefix),
                shown: value.display().to_string(),
                origin: origin.clone(),
            });
            Credentials::bearer(Secret::file(value).from_origin(origin.clone()))
        } else {
            places.append(&mut scheme_places);
            scheme
        };
        for key in ["header_files", "header_envs"] {
            for (name, value) in self.headers(key)? {
                let secret = self.secret(key, &format!("{key}.{name}"), value, places)?;
                credentials = credentials.header(name, secret);
            }
        }
        Ok(credentials)
    }

    fn scheme(&self, places: &mut Vec<Place>) -> Result<Credentials, ConfigError> {
        let token = self.one_of(["bearer_token_file", "bearer_token_env"], places)?;
        let user = self.user(places)?;
        let password = self.one_of(["basic_password_file", "basic_password_env"], places)?;
        match (token, user, password) {
            (None, None, None) => Ok(Credentials::new()),
            (Some(token), None, None) => Ok(Credentials::bearer(token)),
            (None, Some(user), Some(password)) => Ok(Credentials::basic(user, password)),
            (Some(_), user, _) => {
                let key = if user.is_some() { "basic_user" } else { "a basic password" };
                Err(self.refused_key(key, "is beside a bearer token", "choose one scheme"))
            }
            (None, Some(_), None) => {
                let remedy = "add basic_password_file or basic_password_env";
                Err(self.refused_key("basic_user", "has no password", remedy))
            }
            (None, None, Some(_)) => Err(self.refused_key("a basic password", "has no user", "add basic_user")),
        }
    }

    fn user(&self, places: &mut Vec<Place>) -> Result<Option<Secret>, ConfigError> {
        const KEY: &str = "basic_user";
        let Some(value) = self.table.get(KEY) else { return Ok(None) };
        let Value::String(user) = value else {
            return Err(self.refused_key(KEY, "is not a text", "write it in quotes"));
        };
        places.push(self.place(KEY, "***".into()));
        Ok(Some(Secret::new(user.as_str()).from_origin(self.file.origin())))
    }

    /// Returns the secret of one of two keys, for a file and for a variable.
    fn one_of(&self, keys: [&'static str; 2], places: &mut Vec<Place>) -> Result<Option<Secret>, ConfigError> {
        match keys.map(|key| self.table.get(key).map(|value| (key, value))) {
            [Some(_), Some(_)] => Err(self.refused_key(keys[1], &format!("is beside {}", keys[0]), "give one of them")),
            [None, None] => Ok(None),
            [Some((key, value)), None] | [None, Some((key, value))] => self.secret(key, key, value, places).map(Some),
        }
    }

    /// Returns the secret at `path`, whose key says by its end whether `value` is a file or a variable.
    fn secret(
        &self,
        key: &'static str,
        path: &str,
        value: &Value,
        places: &mut Vec<Place>,
    ) -> Result<Secret, ConfigError> {
        let is_file = key.ends_with("_file") || key.ends_with("_files");
        let Some(text) = value.as_str().filter(|text| !text.is_empty()) else {
            let remedy = if is_file { "write a path in quotes" } else { "write the name of a variable in quotes" };
            return Err(self.refused_key(path, "is not a text, or an empty one", remedy));
        };
        let (secret, shown) = if is_file {
            let file = self.file.beside(text);
            (Secret::file(&file), file.display().to_string())
        } else {
            (Secret::variable(text), text.to_owned())
        };
        places.push(self.place(path, shown));
        Ok(secret.from_origin(self.file.origin()))
    }

    fn headers(&self, key: &'static str) -> Result<impl Iterator<Item = (&String, &Value)>, ConfigError> {
        match self.table.get(key) {
            None => Ok(None.into_iter().flatten()),
            Some(Value::Table(headers)) => Ok(Some(headers).into_iter().flatten()),
            Some(_) => Err(self.refused_key(key, "is not a table", "write { X-Token = \"...\" }")),
        }
    }

    fn place(&self, key: &str, shown: String) -> Place {
        Place { key: format!("{}{key}", self.prefix), shown, origin: self.file.origin() }
    }

    fn refused_key(&self, key: &str, problem: &str, remedy: &str) -> ConfigError {
        self.file.refused_key(&format!("{}{key}", self.prefix), problem, remedy)
    }
}
