//! The proxy of the configuration file. No option and no variable sets one.

use cluster_client::{ClientBuilder, ConfigError, Secret};
use toml::Value;

use crate::credentials::Place;
use crate::file::ConfigFile;

pub(crate) const KEYS: [&str; 5] = ["proxy", "no_proxy", "proxy_user", "proxy_password_file", "proxy_password_env"];

/// The proxy, and what belongs to it.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProxySettings {
    url: Option<String>,
    no_proxy: Vec<String>,
    credentials: Option<(Secret, Secret)>,
    /// The settings that count, for the command `hosts`.
    pub(crate) places: Vec<Place>,
}

impl ProxySettings {
    pub(crate) fn read(file: &ConfigFile) -> Result<Self, ConfigError> {
        let mut all = ProxySettings { url: text(file, "proxy")?, ..ProxySettings::default() };
        if let Some(value) = file.get("no_proxy") {
            let entries = value.as_array().map(|entries| entries.iter().map(|entry| entry.as_str().map(str::to_owned)));
            all.no_proxy = entries.and_then(Iterator::collect).ok_or_else(|| {
                let remedy = "write [\"node1\", \".example.com\", \"10.0.0.0/8\"]";
                file.refused_key("no_proxy", "is not a list of texts", remedy)
            })?;
        }
        let user = text(file, "proxy_user")?;
        let password_file = text(file, "proxy_password_file")?.map(|path| file.beside(&path));
        let password_env = text(file, "proxy_password_env")?;
        let password = match (&password_file, &password_env) {
            (Some(_), Some(_)) => {
                let problem = "is beside proxy_password_file";
                return Err(file.refused_key("proxy_password_env", problem, "give one of them"));
            }
            (Some(path), None) => Some(Secret::file(path)),
            (None, name) => name.as_ref().map(Secret::variable),
        };
        all.credentials = match (&user, password) {
            (None, None) => None,
            (Some(user), Some(password)) => {
                let of_file = |secret: Secret| secret.from_origin(file.origin());
                Some((of_file(Secret::new(user.as_str())), of_file(password)))
            }
            (Some(_), None) => {
                let remedy = "add proxy_password_file or proxy_password_env";
                return Err(file.refused_key("proxy_user", "has no password", remedy));
            }
            (None, Some(_)) => {
                return Err(file.refused_key("the password of the proxy", "has no user", "add proxy_user"));
            }
        };
        let shown = [
            all.url.clone(),
            (!all.no_proxy.is_empty()).then(|| all.no_proxy.join(", ")),
            user.map(|_| "***".into()),
            password_file.map(|path| path.display().to_string()),
            password_env,
        ];
        let place = |(key, shown): (&str, Option<String>)| {
            Some(Place { key: key.into(), shown: shown?, origin: file.origin() })
        };
        all.places = KEYS.into_iter().zip(shown).filter_map(place).collect();
        Ok(all)
    }

    /// Sets the proxy, without its credentials.
    pub(crate) fn address(&self, builder: ClientBuilder) -> ClientBuilder {
        let builder = builder.no_proxy(&self.no_proxy);
        match &self.url {
            Some(url) => builder.proxy(url),
            None => builder,
        }
    }

    /// Sets the proxy with its credentials.
    pub(crate) fn whole(&self, builder: ClientBuilder) -> ClientBuilder {
        let builder = self.address(builder);
        match self.credentials.clone() {
            Some((user, password)) => builder.proxy_credentials(user, password),
            None => builder,
        }
    }
}

/// Returns a text that is not empty. An error does not show the value, which may be a secret by mistake.
fn text(file: &ConfigFile, key: &str) -> Result<Option<String>, ConfigError> {
    match file.get(key) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(_) => Err(file.refused_key(key, "is not a text, or an empty one", "write it in quotes")),
    }
}
