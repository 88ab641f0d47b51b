//! The API of the hosts: a preset, a mapping file, a table of the configuration, or the node API in other paths.

use std::path::Path;

use cluster_client::{Api, ConfigError, Origin};

use crate::file::ConfigFile;
use crate::open::{self, ReadError, Refusal};
use crate::settings::{self, Sourced};

/// Maximum size of a mapping file, in bytes. The library has the same.
const LIMIT: u64 = 64 << 10;

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
            let api = named(setting, None, &Origin::Option("--api".into()))?;
            return Ok(ApiSetting { api: Sourced::option("--api", api), paths: None });
        }
        if let Some(setting) = settings::variable(VARIABLE) {
            let api = named(&setting.to_string_lossy(), None, &Origin::Environment(VARIABLE.into()))?;
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
        settings::in_bounds(&collection, |path| Api::new(&path, "/{id}").map(drop))?;
        settings::in_bounds(&member, |path| Api::new("/", &path).map(drop))?;
        let origin =
            [&collection, &member].map(|path| &path.origin).into_iter().find(|origin| **origin != Origin::Default);
        let origin = origin.cloned().unwrap_or(Origin::Default);
        let api = Sourced { value: Api::new(&collection.value, &member.value)?, origin };
        Ok(ApiSetting { api, paths: Some([collection, member]) })
    }
}

/// Returns the preset of this name, or reads the file, which is relative to `base`.
pub(crate) fn named(named: &str, base: Option<&Path>, origin: &Origin) -> Result<Api, ConfigError> {
    if let Some(path) = path_of(named) {
        return read(&base.unwrap_or(Path::new("")).join(path), origin);
    }
    let refused = |_| {
        let presets: Vec<&str> = Api::presets().collect();
        let remedy = format!("choose one of {}, or a file such as ./mapping.toml", presets.join(", "));
        ConfigError::new("api", named, "is no preset", remedy).from_origin(origin.clone())
    };
    Api::preset(named).map_err(refused)
}

/// Returns the file that a setting names. A file has a slash in its name, or ends in `.toml`.
pub(crate) fn path_of(named: &str) -> Option<&Path> {
    let path = Path::new(named);
    let is_toml = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    (is_toml || named.contains(std::path::is_separator)).then_some(path)
}

fn read(path: &Path, origin: &Origin) -> Result<Api, ConfigError> {
    let refused = |problem: String, remedy: &str| {
        ConfigError::new("mapping file", path.to_string_lossy(), problem, remedy).from_origin(origin.clone())
    };
    let bytes = open::read(path, LIMIT, |_| Ok(())).map_err(|error| match error {
        ReadError::Io(error) => {
            refused(format!("cannot be read: {error}"), "name a file that can be read, or a preset")
        }
        ReadError::Refused(Refusal { problem, remedy }) => refused(problem, remedy),
    })?;
    let text = String::from_utf8(bytes).map_err(|_| refused("is not UTF-8".into(), "write it in UTF-8"))?;
    Api::from_toml(&text, Origin::File(path.into()))
}
