//! The API that a text names: a preset, or a mapping file.

use std::path::Path;

use cluster_client::{Api, ConfigError, Origin};

use crate::likeness::alike;
use crate::open::{self, ReadError};

/// Maximum size of a mapping file, in bytes. The library has the same.
const LIMIT: u64 = 64 << 10;

/// Returns the preset of this name, or reads the file, which is relative to `base`.
pub(crate) fn named(named: &str, base: Option<&Path>, origin: &Origin) -> Result<Api, ConfigError> {
    if let Some(path) = path_of(named) {
        return read(&base.unwrap_or(Path::new("")).join(path), origin);
    }
    let refused = |_| {
        let presets: Vec<&str> = Api::presets().collect();
        let hint = alike(named, Api::presets()).map(|meant| format!("did you mean {meant}? ")).unwrap_or_default();
        let remedy = format!("{hint}choose one of {}, or a file such as ./mapping.toml", presets.join(", "));
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
    let (bytes, _) = open::read(path, LIMIT).map_err(|error| match error {
        ReadError::Io(error) => {
            refused(format!("cannot be read: {error}"), "name a file that can be read, or a preset")
        }
        ReadError::Refused((problem, remedy)) => refused(problem, remedy),
    })?;
    let text = String::from_utf8(bytes).map_err(|_| refused("is not UTF-8".into(), "write it in UTF-8"))?;
    Api::from_toml(&text, Origin::File(path.into()))
}
