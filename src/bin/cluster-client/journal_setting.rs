//! The setting of the journal: a directory, an etcd cluster, or none. It is opened here.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cluster_client::{ConfigError, DirectoryJournal, JournalError, Origin, Printable, Unfinished};

use crate::args::GlobalOptions;
use crate::etcd::EtcdSetting;
use crate::exit::{CliError, with_causes};
use crate::file::ConfigFile;
use crate::settings::{Sourced, variable};

const VARIABLE: &str = "CLUSTER_CLIENT_JOURNAL";
const OPTION: &str = "--journal";

/// The place of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Journal {
    Directory(PathBuf),
    Etcd(Box<EtcdSetting>),
    Off,
    /// No setting names a place, and the user has no state directory.
    NoPlace,
}

/// Returns the setting of the journal and the configuration file, for commands that need no other setting.
pub(crate) fn journal_alone(global: &GlobalOptions) -> Result<(Sourced<Journal>, Option<PathBuf>), CliError> {
    let file = ConfigFile::read(global.config_file())?;
    Ok((journal(global, &file)?, file.read_from()))
}

/// Returns the setting of the first origin that has one.
pub(crate) fn journal(global: &GlobalOptions, file: &ConfigFile) -> Result<Sourced<Journal>, ConfigError> {
    let found = if let Some(place) = &global.journal {
        refuse_shell_text(place.as_os_str(), Origin::Option(OPTION.into()))?;
        Sourced::option(OPTION, named(place.as_os_str(), Path::to_path_buf))
    } else if global.no_journal {
        Sourced::given(global, "--no-journal", Journal::Off)
    } else if let Some(place) = variable(VARIABLE) {
        if place.is_empty() {
            let remedy = "name a directory or an etcd:// URL, or give --no-journal to do without";
            let refused = ConfigError::new("journal", "", "is empty", remedy);
            return Err(refused.from_origin(Origin::Environment(VARIABLE.into())));
        }
        refuse_shell_text(&place, Origin::Environment(VARIABLE.into()))?;
        Sourced::variable(VARIABLE, named(&place, Path::to_path_buf))
    } else if let Some(found) = file.journal()? {
        refuse_shell_text(OsStr::new(found.value.as_deref().unwrap_or_default()), file.origin_of("journal"))?;
        let named = |place: String| named(OsStr::new(&place), |path| file.beside(&path.to_string_lossy()));
        found.map(|place| place.map_or(Journal::Off, named))
    } else {
        Sourced::default(state_directory().map_or(Journal::NoPlace, Journal::Directory))
    };
    // The table is checked even if the journal is elsewhere.
    let table = EtcdSetting::read(file)?;
    let Sourced { value: Journal::Etcd(url), origin } = found else { return Ok(found) };
    let setting = table.at(url.url);
    setting.check_url().map_err(|error| match &origin {
        Origin::File(_) => error.from_origin(file.origin_of("journal")),
        other => error.from_origin(other.clone()),
    })?;
    Ok(Sourced { value: Journal::Etcd(Box::new(setting)), origin })
}

/// Refuses a path that only a shell would complete. It would be a journal below the current directory, which a recovery
/// elsewhere does not find.
fn refuse_shell_text(place: &OsStr, origin: Origin) -> Result<(), ConfigError> {
    let Some(first) = place.as_encoded_bytes().first().filter(|first| b"~$".contains(first)) else { return Ok(()) };
    let problem = format!("begins with {:?}, which only a shell replaces", char::from(*first));
    let remedy = "write the whole path; ./ before it means such a directory";
    Err(ConfigError::new("journal", place.to_string_lossy(), problem, remedy).from_origin(origin))
}

/// Returns the directory, or the URL. A text that is meant as a URL becomes no directory, which would lock on this
/// machine alone.
fn named(place: &OsStr, path: impl FnOnce(&Path) -> PathBuf) -> Journal {
    if place.to_str().is_some_and(is_url) {
        Journal::Etcd(Box::new(EtcdSetting::default().at(place.to_string_lossy().into_owned())))
    } else {
        Journal::Directory(path(Path::new(place)))
    }
}

/// Whether a text is meant as a URL: it has a scheme, or begins with that of etcd and misses a part of `://`.
fn is_url(text: &str) -> bool {
    let of_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let has_scheme =
        text.split_once("://").is_some_and(|(scheme, _)| !scheme.is_empty() && scheme.bytes().all(of_scheme));
    let text = text.to_ascii_lowercase();
    has_scheme || ["etcd:", "etcds:", "etcd//", "etcds//"].iter().any(|start| text.starts_with(start))
}

/// Returns the state directory of the XDG Base Directory Specification. Empty and relative paths are ignored.
fn state_directory() -> Option<PathBuf> {
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")))?;
    Some(state.join("cluster-client"))
}

/// An opened journal.
pub(crate) type Store = Arc<dyn cluster_client::Journal>;

impl Sourced<Journal> {
    /// Opens the journal, to look at what is unfinished. Returns `None` for a directory that does not exist: it is not
    /// created.
    pub(crate) fn open(&self) -> Result<Option<Store>, CliError> {
        let directory = match &self.value {
            Journal::Directory(directory) => directory,
            Journal::Etcd(setting) => return Ok(Some(Arc::new(setting.open(&self.origin)?))),
            Journal::Off => {
                let text = format!("there is no journal to look at ({}): give {PLACES}", self.origin);
                return Err(CliError::usage(text));
            }
            Journal::NoPlace => return Err(no_place()),
        };
        if directory.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return Ok(None);
        }
        let store = DirectoryJournal::open(directory).map_err(|error| {
            let cause = error.io_error();
            // Errors of the library end in a remedy, errors of the system do not.
            let (problem, remedy) = match cause.raw_os_error() {
                None => (error.to_string(), cause.to_string()),
                Some(_) => (with_causes(&error), "name a directory that this user can read".into()),
            };
            let shown = directory.to_string_lossy();
            ConfigError::new("journal directory", shown, problem, remedy).from_origin(self.origin.clone())
        })?;
        Ok(Some(Arc::new(store)))
    }

    /// Reads the unfinished operations, for advice. Returns the reason if the journal cannot be read.
    pub(crate) fn unfinished(&self) -> Result<Unfinished, String> {
        self.unfinished_in(&mut None)
    }

    /// Reads the same again and again. The store stays open until it fails, so that a connection is made once.
    pub(crate) fn unfinished_in(&self, store: &mut Option<Store>) -> Result<Unfinished, String> {
        if matches!(self.value, Journal::Off | Journal::NoPlace) {
            return Ok(Unfinished::default());
        }
        let opened = match store.take() {
            Some(opened) => Some(opened),
            None => self.open().map_err(|error| error.message)?,
        };
        let Some(opened) = opened else { return Ok(Unfinished::default()) };
        let found = opened.unfinished().map_err(|error: JournalError| with_causes(&error))?;
        *store = Some(opened);
        Ok(found)
    }
}

impl Journal {
    /// The place, for messages. A relative path names another journal in each directory, so the whole path is shown.
    pub(crate) fn place(&self) -> String {
        match self {
            Journal::Directory(directory) => {
                let whole = std::path::absolute(directory).unwrap_or_else(|_| directory.clone());
                Printable::new(&whole.to_string_lossy()).to_string()
            }
            Journal::Etcd(setting) => Printable::new(&setting.url).to_string(),
            Journal::Off | Journal::NoPlace => "none".into(),
        }
    }
}

/// The options that name a journal.
pub(crate) const PLACES: &str = "--journal DIR or --journal etcd://HOST,HOST/PREFIX";

pub(crate) fn no_place() -> CliError {
    CliError::usage(format!(
        "there is no place for the journal, because neither XDG_STATE_HOME nor HOME is an absolute path: give {PLACES}, or \
         --no-journal to do without"
    ))
}
