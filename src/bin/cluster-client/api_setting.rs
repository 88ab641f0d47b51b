//! The API of the hosts: a preset, a mapping file, a table of the configuration, or the node API in other paths.

use cluster_client::{Api, ConfigError, Origin};

use crate::file::ConfigFile;
use crate::mapping;
use crate::settings::{self, Sourced};

/// The variable with a preset or a file.
pub(crate) const VARIABLE: &str = "CLUSTER_CLIENT_API";

/// The API of the hosts.
#[derive(Debug)]
pub(crate) struct ApiSetting {
    pub(crate) api: Sourced<Api>,
    /// The two paths of the node API; `None` for another API.
    pub(crate) paths: Option<[Sourced<String>; 2]>,
}

impl ApiSetting {
    pub(crate) fn resolve(option: Option<&str>, file: &ConfigFile) -> Result<Self, ConfigError> {
        // The file is checked too if an option overrides it.
        let configured = file.api()?;
        if let Some(setting) = option {
            let api = mapping::named(setting, None, &Origin::Option("--api".into()))?;
            return Ok(ApiSetting { api: Sourced::option("--api", api), paths: None });
        }
        if let Some(setting) = settings::variable(VARIABLE) {
            let api = mapping::named(&setting.to_string_lossy(), None, &Origin::Environment(VARIABLE.into()))?;
            return Ok(ApiSetting { api: Sourced::variable(VARIABLE, api), paths: None });
        }
        match configured {
            Some(api) => Ok(ApiSetting { api, paths: None }),
            None => Self::of_paths(file),
        }
    }

    /// The node API, in the paths of the file.
    fn of_paths(file: &ConfigFile) -> Result<Self, ConfigError> {
        let usual = Api::default();
        let (collection, member) = usual.paths().unwrap_or_default();
        let collection = settings::or_default(file.path("collection")?, collection.into());
        let member = settings::or_default(file.path("member")?, member.into());
        // Check each path alone first, so that its error gets its origin.
        settings::in_bounds((&collection, "paths.collection", file), |path| Api::new(&path, "/{id}").map(drop))?;
        settings::in_bounds((&member, "paths.member", file), |path| Api::new("/", &path).map(drop))?;
        let origin =
            [&collection, &member].map(|path| &path.origin).into_iter().find(|origin| **origin != Origin::Default);
        let origin = origin.cloned().unwrap_or(Origin::Default);
        let api = Sourced { value: Api::new(&collection.value, &member.value)?, origin };
        Ok(ApiSetting { api, paths: Some([collection, member]) })
    }
}
