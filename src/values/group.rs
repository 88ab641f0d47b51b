//! Floor 1: the id of a group, checked once.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::values::config::ConfigError;
use crate::values::printable::Printable;

/// The id of a group: 1 to [`GroupId::MAX_BYTES`] bytes of text without control characters.
///
/// `.` and `..` are refused, because the id becomes a segment of a path (RFC 3986, section 5.2.4). Other characters,
/// also a slash, are percent-encoded in requests. `Display` escapes characters that could deceive a reader, see
/// [`Printable`]; [`GroupId::as_str`] is the id itself. Cloning is cheap.
///
/// ```
/// use cluster_client::GroupId;
///
/// let group = GroupId::parse("users-42")?;
/// assert_eq!(group.as_str(), "users-42");
/// assert!(GroupId::parse("..").is_err());
/// # Ok::<(), cluster_client::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(Arc<str>);

impl GroupId {
    /// Maximum length of an id, in bytes of UTF-8. Servers and proxies accept three times this length in a path, as
    /// percent-encoding may need.
    pub const MAX_BYTES: usize = 255;

    /// The kind of the value in a refusal. An API with a noun of its own replaces it.
    pub(crate) const WHAT: &'static str = "group";

    /// Checks an id.
    ///
    /// # Errors
    /// A [`ConfigError`] if the id is empty or blank, too long, `.` or `..`, or has a control character.
    pub fn parse(id: impl AsRef<str>) -> Result<Self, ConfigError> {
        let id = id.as_ref();
        let refused = |problem: String, remedy: &str| Err(ConfigError::new(Self::WHAT, id, problem, remedy));
        if id.trim().is_empty() {
            return refused("is empty".into(), "give it a name");
        }
        if id.len() > Self::MAX_BYTES {
            let problem = format!("has {} bytes, more than {}", id.len(), Self::MAX_BYTES);
            return refused(problem, "give it a shorter name");
        }
        if id == "." || id == ".." {
            return refused("means another path, not a name".into(), "give it a name of its own");
        }
        if let Some(control) = id.chars().find(|c| c.is_control()) {
            let problem = format!("has the control character U+{:04X}", u32::from(control));
            return refused(problem, "remove it");
        }
        Ok(GroupId(id.into()))
    }

    /// The id as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Printable::new(&self.0).fmt(f)
    }
}

impl AsRef<str> for GroupId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for GroupId {
    type Err = ConfigError;
    fn from_str(id: &str) -> Result<Self, ConfigError> {
        GroupId::parse(id)
    }
}

impl TryFrom<&str> for GroupId {
    type Error = ConfigError;
    fn try_from(id: &str) -> Result<Self, ConfigError> {
        GroupId::parse(id)
    }
}

impl TryFrom<String> for GroupId {
    type Error = ConfigError;
    fn try_from(id: String) -> Result<Self, ConfigError> {
        GroupId::parse(id)
    }
}

impl TryFrom<&String> for GroupId {
    type Error = ConfigError;
    fn try_from(id: &String) -> Result<Self, ConfigError> {
        GroupId::parse(id)
    }
}

impl TryFrom<&GroupId> for GroupId {
    type Error = ConfigError;
    fn try_from(id: &GroupId) -> Result<Self, ConfigError> {
        Ok(id.clone())
    }
}

/// A value that a [`GroupId`] can be made of: text, or an id that was checked before. Methods of
/// [`ClusterClient`](crate::ClusterClient) take it.
///
/// Implement `TryFrom` for [`GroupId`] to pass your own type.
///
/// ```
/// use cluster_client::{ConfigError, GroupId, IntoGroupId};
///
/// struct Team {
///     number: u32,
/// }
///
/// impl TryFrom<Team> for GroupId {
///     type Error = ConfigError;
///     fn try_from(team: Team) -> Result<Self, ConfigError> {
///         GroupId::parse(format!("team-{}", team.number))
///     }
/// }
///
/// assert_eq!(Team { number: 7 }.into_group_id()?.as_str(), "team-7");
/// assert!("..".into_group_id().is_err());
/// # Ok::<(), ConfigError>(())
/// ```
pub trait IntoGroupId {
    /// Checks the id.
    ///
    /// # Errors
    /// A [`ConfigError`] if it is no valid id, see [`GroupId::parse`].
    fn into_group_id(self) -> Result<GroupId, ConfigError>;
}

impl<T: TryInto<GroupId, Error: Into<ConfigError>>> IntoGroupId for T {
    fn into_group_id(self) -> Result<GroupId, ConfigError> {
        self.try_into().map_err(Into::into)
    }
}

/// Lets an id that was checked before be an [`IntoGroupId`]. Its conversion cannot fail.
impl From<std::convert::Infallible> for ConfigError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_ids_are_kept_as_given() {
        for id in ["users-42", "a", "a/b", "...", "größe", "100%", "a?b#c", " padded ", &"x".repeat(255)] {
            assert_eq!(GroupId::parse(id).map(|g| g.as_str().to_owned()), Ok(id.to_owned()));
        }
    }

    #[test]
    fn deceptive_characters_are_accepted_and_displayed_escaped() {
        let group = GroupId::parse("pay\u{202e}x\u{2028}y").unwrap();
        assert_eq!(group.to_string(), r"pay\u{202e}x\u{2028}y");
        assert_eq!(group.as_str(), "pay\u{202e}x\u{2028}y");
        let mut busy = crate::Report::new(group, crate::Operation::Create, crate::Outcome::Busy);
        busy.cause = Some(crate::Cause::Busy { holder: "process 7 on \u{202e}host".into() });
        let busy = busy.into_result().unwrap_err();
        assert_eq!(busy.to_string(), r"group pay\u{202e}x\u{2028}y is busy: process 7 on \u{202e}host");
    }

    #[test]
    fn invalid_ids_are_refused_with_the_reason() {
        let long = "x".repeat(256);
        for (id, reason) in [
            ("", "is empty"),
            ("  ", "is empty"),
            (".", "another path"),
            ("..", "another path"),
            ("a\nb", "U+000A"),
            ("a\u{0}", "U+0000"),
            ("a\u{85}", "U+0085"),
            (&long, "256 bytes"),
        ] {
            let message = GroupId::parse(id).unwrap_err().to_string();
            assert!(message.contains(reason), "{message}");
            assert!(!message.contains(Printable::escapes), "an error is one line: {message}");
        }
    }
}
