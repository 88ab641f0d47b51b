//! The reference to an API in an intent.

use std::fmt;

use super::Api;

/// The API of an intent. A recovery uses it, whatever the client is configured with, because a 404 in another API
/// proves nothing.
///
/// The node API is recorded by its paths. Any other is recorded by its name and the digest of its requests; a recovery
/// looks it up among the client's own, those of
/// [`ClientBuilder::known_apis`](crate::ClientBuilder::known_apis) and the presets.
///
/// ```
/// use cluster_client::{Api, ApiRef};
///
/// assert_eq!(Api::default().reference(), ApiRef::Paths(Api::default()));
/// assert_eq!(Api::default().reference().to_string(), "/v1/group/ and /v1/group/{id}/");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ApiRef {
    /// The node API with its two paths.
    Paths(Api),
    /// Another API.
    #[non_exhaustive]
    Named {
        /// Its name.
        name: String,
        /// Its digest, as [`Api::digest`] returns it.
        digest: String,
    },
}

impl ApiRef {
    /// Parses the name and the digest of an API. A digest is 16 hexadecimal digits in small letters.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (name, digest) = text.split_once(' ')?;
        let is_digest = digest.len() == 16 && digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        (is_digest && Api::is_name(name)).then(|| ApiRef::Named { name: name.into(), digest: digest.into() })
    }
}

impl fmt::Display for ApiRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ApiRef::Paths(api) => {
                let (collection, member) = api.paths().unwrap_or_default();
                write!(f, "{collection} and {member}")
            }
            ApiRef::Named { name, digest } => write!(f, "{name} {digest}"),
        }
    }
}

impl Api {
    /// Its reference in an intent.
    pub fn reference(&self) -> ApiRef {
        match self.paths() {
            Some(_) => ApiRef::Paths(self.clone()),
            None => ApiRef::Named { name: self.name().into(), digest: self.digest().into() },
        }
    }

    /// Whether the reference is one to this API.
    pub(crate) fn is(&self, reference: &ApiRef) -> bool {
        match reference {
            ApiRef::Paths(api) => api == self,
            ApiRef::Named { name, digest } => self.paths().is_none() && self.name() == name && self.digest() == digest,
        }
    }
}
