//! The paths of the node API as data. An intent records them; `crate::api` builds requests from them.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::values::config::ConfigError;
use crate::values::group::GroupId;

/// The paths of the node API: `/v1/group/` to create and delete, `/v1/group/{id}/` to check.
///
/// Real nodes vary in the slash at the end, so both are configuration.
///
/// ```
/// use cluster_client::{Api, ClusterClient};
///
/// let api = Api::new("/v1/group", "/v1/group/{id}")?;
/// let client = ClusterClient::builder().hosts(["http://node1:8000"]).api(api).build()?;
/// # Ok::<(), cluster_client::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    collection: String,
    before_id: String,
    after_id: String,
}

impl Default for Api {
    fn default() -> Self {
        Api { collection: "/v1/group/".into(), before_id: "/v1/group/".into(), after_id: "/".into() }
    }
}

/// All characters but the unreserved ones of RFC 3986.
const UNRESERVED_KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl Api {
    /// An API with these two paths, which are appended to each host's base URL. `member` contains `{id}` once, as the
    /// place of the percent-encoded group id.
    ///
    /// # Errors
    /// A [`ConfigError`] if a path does not start with a slash, has a character that a path cannot have, or has a
    /// segment `.` or `..`; or if `member` does not contain `{id}` exactly once.
    pub fn new(collection: &str, member: &str) -> Result<Self, ConfigError> {
        check_path("collection path", collection, &[collection])?;
        let parts: Vec<&str> = member.split("{id}").collect();
        let [before_id, after_id] = parts[..] else {
            let remedy = "write {id} once, as in /v1/group/{id}/";
            return Err(ConfigError::new("member path", member, "does not hold {id} exactly once", remedy));
        };
        check_path("member path", member, &[before_id, after_id])?;
        Ok(Api { collection: collection.into(), before_id: before_id.into(), after_id: after_id.into() })
    }

    /// The path of create and delete.
    pub fn collection_path(&self) -> &str {
        &self.collection
    }

    /// The path of check, with `{id}` in the place of the group id, as for [`Api::new`].
    ///
    /// ```
    /// assert_eq!(cluster_client::Api::default().member_template(), "/v1/group/{id}/");
    /// ```
    pub fn member_template(&self) -> String {
        format!("{}{{id}}{}", self.before_id, self.after_id)
    }

    /// The path of check for a group.
    ///
    /// ```
    /// use cluster_client::{Api, GroupId};
    ///
    /// let group = GroupId::parse("a/b ü")?;
    /// assert_eq!(Api::default().member_path(&group), "/v1/group/a%2Fb%20%C3%BC/");
    /// # Ok::<(), cluster_client::ConfigError>(())
    /// ```
    pub fn member_path(&self, group: &GroupId) -> String {
        let id = utf8_percent_encode(group.as_str(), UNRESERVED_KEPT);
        format!("{}{id}{}", self.before_id, self.after_id)
    }
}

/// Checks a path. `parts` are its text before and after the id.
fn check_path(what: &'static str, given: &str, parts: &[&str]) -> Result<(), ConfigError> {
    let refused = |problem: &str, remedy: &str| Err(ConfigError::new(what, given, problem, remedy));
    let path = parts.join("id");
    if !path.starts_with('/') {
        return refused("does not start with a slash", "write it as /v1/group/");
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%".contains(&b);
    if !path.bytes().all(allowed) {
        return refused("has a character that a path does not have", "percent-encode it");
    }
    let is_code = |text: &str| text.as_bytes().get(..2).is_some_and(|code| code.iter().all(u8::is_ascii_hexdigit));
    if !parts.iter().all(|part| part.split('%').skip(1).all(is_code)) {
        return refused("has a % without its two hexadecimal digits", "write a % itself as %25");
    }
    // Proxies and servers resolve dotted segments to another path, as browsers do.
    let is_dotted = |segment: &str| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
    if path.split('/').any(is_dotted) {
        return refused("has a dotted segment", "write the path it stands for");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_dots_and_percent_codes_are_accepted() {
        for member in ["/v1/group/{id}.json", "/v1/.{id}", "/v1/%2e%2E%2e/{id}", "/a..b/{id}", "/x%25/{id}"] {
            assert!(Api::new("/v1/group//", member).is_ok(), "{member}");
        }
    }

    #[test]
    fn malformed_paths_are_refused() {
        for (collection, member) in [
            ("v1/group", "/v1/group/{id}"),
            ("/v1/group", "/v1/group/"),
            ("/v1/group", "/{id}/{id}"),
            ("/v1/group", "{id}"),
            ("/v1 group", "/v1/group/{id}"),
            ("/v1/group?x", "/v1/group/{id}"),
            ("/v1/../group", "/v1/group/{id}"),
            ("/v1/group", "/v1/%2E./{id}"),
            ("/v1/group", "/v1/{id}/."),
            ("/v1/%/group", "/v1/group/{id}"),
            ("/v1/group", "/v1/%2{id}"),
            ("/v1/group", "/v1/%{id}2e"),
        ] {
            assert!(Api::new(collection, member).is_err(), "{collection} {member}");
        }
    }
}
