//! The three requests of the node API.

use std::fmt;

/// A request to one host.
///
/// ```
/// use cluster_client::Action;
///
/// assert_eq!(Action::Check.to_string(), "check");
/// assert_eq!(Action::Check.method(), "GET");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Action {
    /// `POST`: create the group.
    Create,
    /// `GET`: check whether the host has the group.
    Check,
    /// `DELETE`: delete the group.
    Delete,
}

impl Action {
    /// Its HTTP method in the node API: `POST`, `GET` or `DELETE`.
    pub const fn method(self) -> &'static str {
        match self {
            Action::Create => "POST",
            Action::Check => "GET",
            Action::Delete => "DELETE",
        }
    }

    /// The word in JSON, in text and in logs: `create`, `check` or `delete`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Check => "check",
            Action::Delete => "delete",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
