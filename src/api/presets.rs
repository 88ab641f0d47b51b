//! The mappings that are compiled in: the files of `presets/`.

use super::Api;
use crate::values::config::{ConfigError, Origin};

macro_rules! presets {
    ($($name:literal),*) => { [$(($name, include_str!(concat!("../../presets/", $name, ".toml")))),*] };
}

/// Name and text of each, in the order of their names.
const PRESETS: [(&str, &str); 7] = presets![
    "consul-kv",
    "couchdb",
    "etcd-keys",
    "jupyterhub",
    "kubernetes-namespaces",
    "nginx-dav",
    "rabbitmq-vhosts"
];

impl Api {
    /// The names of the presets, in their order.
    ///
    /// Needs the feature `mapping-files`.
    ///
    /// ```
    /// use cluster_client::Api;
    ///
    /// assert!(Api::presets().any(|name| name == "jupyterhub"));
    /// ```
    pub fn presets() -> impl Iterator<Item = &'static str> {
        PRESETS.into_iter().map(|(name, _)| name)
    }

    /// The preset with this name: a mapping for a known service. Its file in `presets/` names the certified versions.
    ///
    /// Needs the feature `mapping-files`.
    ///
    /// # Errors
    /// A [`ConfigError`] that lists all names, if there is no such preset.
    ///
    /// ```
    /// use cluster_client::Api;
    ///
    /// assert_eq!(Api::preset("rabbitmq-vhosts")?.noun(), "vhost");
    /// assert!(Api::preset("rabbit").unwrap_err().to_string().contains("rabbitmq-vhosts"));
    /// # Ok::<(), cluster_client::ConfigError>(())
    /// ```
    pub fn preset(name: &str) -> Result<Self, ConfigError> {
        let Some((name, text)) = PRESETS.into_iter().find(|(preset, _)| *preset == name) else {
            let names: Vec<&str> = Api::presets().collect();
            return Err(ConfigError::new("API", name, "is no preset", format!("choose one of {}", names.join(", "))));
        };
        Api::from_toml(text, Origin::File(format!("{name}.toml").into()))
    }
}

/// The text of a preset.
#[cfg(test)]
pub(super) fn text(name: &str) -> &'static str {
    PRESETS.into_iter().find(|(preset, _)| *preset == name).expect("a preset").1
}
