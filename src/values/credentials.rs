//! Floor 1: the credentials of requests: a scheme of `Authorization`, and other headers.
//!
//! Their secrets are read and checked when the client is built.

use crate::values::secret::Secret;

/// The credentials of requests: a bearer token, or a user with a password, and other headers with secrets.
///
/// [`ClientBuilder::credentials`](crate::ClientBuilder::credentials) sets them for all hosts of a client,
/// [`ClientBuilder::host_credentials`](crate::ClientBuilder::host_credentials) for one host.
///
/// ```
/// use cluster_client::{ClusterClient, Credentials, Secret};
///
/// let credentials = Credentials::basic("operator", "xyzzy").header("X-Tenant", "blue");
/// let client = ClusterClient::builder().hosts(["https://node1:8443"]).credentials(credentials).build()?;
///
/// let missing = Credentials::bearer(Secret::file("/no/such/file"));
/// let error = ClusterClient::builder().hosts(["https://node1:8443"]).credentials(missing).build().unwrap_err();
/// assert!(error.to_string().contains("bearer token file \"/no/such/file\" (passed by the program) cannot be read"));
/// # Ok::<(), cluster_client::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "credentials do nothing before they are given to a client"]
pub struct Credentials {
    pub(crate) scheme: Option<Scheme>,
    pub(crate) headers: Vec<(String, Secret)>,
}

/// The scheme of `Authorization`.
#[derive(Debug, Clone)]
pub(crate) enum Scheme {
    Bearer(Secret),
    Basic {
        /// Some services take a key as the user, so the user is a secret too.
        user: Secret,
        password: Secret,
    },
}

impl Credentials {
    /// No credentials: to add headers to, or for a host that gets none although the others do.
    pub fn new() -> Self {
        Credentials::default()
    }

    /// `Authorization: Bearer` with this token (RFC 6750).
    pub fn bearer(token: impl Into<Secret>) -> Self {
        Credentials { scheme: Some(Scheme::Bearer(token.into())), headers: Vec::new() }
    }

    /// `Authorization: Basic` with this user and password (RFC 7617). A user has no colon.
    pub fn basic(user: impl Into<Secret>, password: impl Into<Secret>) -> Self {
        let (user, password) = (user.into(), password.into());
        Credentials { scheme: Some(Scheme::Basic { user, password }), headers: Vec::new() }
    }

    /// Adds a header, such as `X-Vault-Token`. Its name occurs once, in any case of its letters, and is none that the
    /// client sets itself, such as `Host`, or that the [`Api`](crate::Api) has.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Whether a request gets no header of them.
    pub fn is_empty(&self) -> bool {
        self.scheme.is_none() && self.headers.is_empty()
    }
}

/// Headers that the client sets itself, or that belong to the connection.
const RESERVED: [&str; 14] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// Returns why a header cannot have this name, and the remedy. `others` are the names of the other headers.
pub(crate) fn refused_name<'a>(
    name: &str,
    mut others: impl Iterator<Item = &'a str>,
) -> Option<(&'static str, &'static str)> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || name.len() > 128 || !name.bytes().all(is_token) {
        return Some(("is no name of a header", "use letters, digits and '-'"));
    }
    if RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
        return Some(("is set by the client itself", "leave it out"));
    }
    if others.any(|other| name.eq_ignore_ascii_case(other)) {
        return Some(("is there twice", "name each header once, and Authorization only without another scheme"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let credentials = Credentials::basic("S3CR3T", "S3CR3T").header("X-Token", "S3CR3T");
        let shown = format!("{credentials:?}{:?}", Credentials::bearer("S3CR3T"));
        assert!(!shown.contains("S3CR3T") && shown.contains("Basic") && shown.contains("X-Token"), "{shown}");
    }

    #[test]
    fn name_of_a_header_is_a_token_that_is_free_and_occurs_once() {
        for (name, problem) in [
            ("X-Token", None),
            ("x.y_z!", None),
            ("", Some("no name")),
            ("X Token", Some("no name")),
            ("X-Token:", Some("no name")),
            ("X\r\nY", Some("no name")),
            ("Größe", Some("no name")),
            ("HOST", Some("client itself")),
            ("content-Length", Some("client itself")),
            ("x-other", Some("twice")),
        ] {
            let refused = refused_name(name, ["X-Other"].into_iter()).map(|(found, _)| found);
            match (refused, problem) {
                (None, None) => {}
                (Some(found), Some(problem)) => assert!(found.contains(problem), "{name:?}: {found}"),
                other => panic!("{name:?}: {other:?}"),
            }
        }
    }
}
