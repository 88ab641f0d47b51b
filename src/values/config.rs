//! Floor 1: the origin of a configured value, and the error of a refused one.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use crate::values::mask;
use crate::values::printable::Printable;

/// The origin of a configured value, which an error names.
///
/// ```
/// use cluster_client::Origin;
///
/// assert_eq!(Origin::Environment("HOSTS".into()).to_string(), "from the variable HOSTS");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Origin {
    /// Passed by the calling program.
    #[default]
    Code,
    /// A command-line option, named with its dashes.
    Option(String),
    /// An environment variable, by name.
    Environment(String),
    /// A configuration file.
    File(PathBuf),
    /// The built-in default, because nothing was configured.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Code => f.write_str("passed by the program"),
            Origin::Option(name) => write!(f, "from {}", Printable::new(name)),
            Origin::Environment(name) => write!(f, "from the variable {}", Printable::new(name)),
            Origin::File(path) => write!(f, "from the file {}", Printable::path(path)),
            Origin::Default => f.write_str("the default"),
        }
    }
}

/// The refusal of a value, before anything was sent: the value, its origin, the problem and the remedy.
///
/// It contains no password. Possible user info in its texts is masked when the error is made, so neither `Display` nor
/// `Debug` can show it. `Display` escapes control characters, see [`Printable`].
///
/// ```
/// use cluster_client::Host;
///
/// let refused = Host::parse("node1:8000").unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "host \"node1:8000\" (passed by the program) has no scheme: write http://node1:8000",
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} \"{}\" ({origin}{}) {}: {}",
    Printable::new(what), Printable::new(value), Line(*line), Printable::new(problem), Printable::new(remedy)
)]
pub struct ConfigError {
    what: Cow<'static, str>,
    value: Box<str>,
    origin: Origin,
    line: Option<usize>,
    problem: Box<str>,
    remedy: Box<str>,
}

impl ConfigError {
    /// A refusal of `value` as a `what`. `problem` continues the sentence, `remedy` ends it. Possible user info in them
    /// is masked, and a long value is cut.
    ///
    /// ```
    /// use cluster_client::ConfigError;
    ///
    /// let refused = ConfigError::new("timeout", "-1s", "is negative", "give a time above zero");
    /// assert!(refused.to_string().contains("is negative: give a time above zero"));
    /// ```
    pub fn new(
        what: impl Into<Cow<'static, str>>,
        value: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let value = value.into();
        // A sentence may repeat a value with user info, so it is masked as a whole.
        let mask_words = if mask::has_user_info(&value) { mask::value } else { mask::sentence };
        ConfigError {
            what: what.into(),
            value: shown(&value).into(),
            origin: Origin::Code,
            line: None,
            problem: mask_words(&problem.into()).into(),
            remedy: mask_words(&remedy.into()).into(),
        }
    }

    /// Sets the name of the setting.
    #[must_use]
    pub(crate) fn about(mut self, what: impl Into<Cow<'static, str>>) -> Self {
        self.what = what.into();
        self
    }

    /// Sets the origin of the value.
    #[must_use]
    pub fn from_origin(mut self, origin: Origin) -> Self {
        self.origin = origin;
        self
    }

    /// The kind of the refused value, such as `host`, or the name of a setting.
    ///
    /// ```
    /// assert_eq!(cluster_client::Host::parse("node1").unwrap_err().what(), "host");
    /// ```
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Sets the line of the value in its origin, from 1.
    #[must_use]
    pub fn at_line(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }

    /// The line of the value in its origin, from 1, if known.
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// The refused value. Possible user info in it is masked, and a long value is cut.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The problem, which continues the sentence after the value.
    pub(crate) fn problem(&self) -> &str {
        &self.problem
    }

    /// The origin of the value.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

#[cfg(feature = "mapping-files")]
impl ConfigError {
    /// Whether it refuses this value of this key.
    pub(crate) fn is_about(&self, key: &str, value: &str) -> bool {
        self.what == key && *self.value == shown(value)
    }
}

struct Line(Option<usize>);

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, ", line {line}"))
    }
}

fn shown(value: &str) -> String {
    shortened(&mask::value(value))
}

/// Cuts a value, so that an error stays one readable line. The value is masked before, because a cut may remove the at
/// sign that marks a password.
pub(crate) fn shortened(masked: &str) -> String {
    const SHOWN: usize = 80;
    match masked.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &masked[..end]),
        None => masked.to_owned(),
    }
}
