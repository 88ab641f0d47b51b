//! Parsing of a request's method, path and body into a call.

use std::{borrow::Cow, fmt};

use percent_encoding::percent_decode_str;

use super::json;

/// The method of a request, as faults and the log name it.
///
/// ```
/// use cluster_client::testing::Method;
/// assert_eq!(Method::Post.to_string(), "POST");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// Creates a group.
    Post,
    /// Checks whether a group exists.
    Get,
    /// Deletes a group.
    Delete,
    /// Any other method, which is answered 405, and unreadable requests.
    Other,
}

impl Method {
    fn parse(name: &str) -> Self {
        match name {
            "POST" => Self::Post,
            "GET" => Self::Get,
            "DELETE" => Self::Delete,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Post => "POST",
            Self::Get => "GET",
            Self::Delete => "DELETE",
            Self::Other => "other method",
        })
    }
}

/// The answer to a path whose trailing slash is missing or extra.
///
/// ```
/// use cluster_client::testing::{Node, TrailingSlash};
/// # fn main() -> std::io::Result<()> {
/// let node = Node::builder().trailing_slash(TrailingSlash::Redirect(308)).start()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrailingSlash {
    /// Accepts the path.
    #[default]
    Lenient,
    /// Answers 404, as for an absent group.
    Strict,
    /// Answers this status with the proper path in `Location`, as some frameworks do.
    Redirect(u16),
}

/// The paths of the API.
#[derive(Clone, Debug)]
pub(super) struct NodePaths {
    /// Without a slash at its end.
    collection: String,
    /// Whether the proper paths end with a slash.
    slash: bool,
    other_form: TrailingSlash,
}

/// A parsed request: method and group for the log and the faults, and its kind.
#[derive(Debug)]
pub(super) struct NodeCall {
    pub(super) method: Method,
    pub(super) group: Option<String>,
    pub(super) kind: CallKind,
}

#[derive(Debug, PartialEq)]
pub(super) enum CallKind {
    Create,
    Check,
    Delete,
    List,
    Redirect(u16, String),
    Refuse(u16, &'static str),
}

impl NodeCall {
    pub(super) fn refused(status: u16, reason: &'static str) -> Self {
        Self { method: Method::Other, group: None, kind: CallKind::Refuse(status, reason) }
    }
}

impl NodePaths {
    /// `path` is the collection's proper path; if it ends with a slash, so do the groups' paths.
    pub(super) fn new(path: &str, other_form: TrailingSlash) -> Self {
        let collection = path.trim_end_matches('/').to_owned();
        Self { slash: path.ends_with('/'), collection, other_form }
    }

    pub(super) fn route(&self, method: &str, target: &str, body: &[u8]) -> NodeCall {
        let method = Method::parse(method);
        let path = path_of(target);
        let mut call = match self.split(path) {
            None => NodeCall { method, group: None, kind: CallKind::Refuse(404, "no such path") },
            Some((None, _)) => collection_call(method, body),
            Some((Some(id), _)) => group_call(method, id),
        };
        let proper = self.split(path).is_none_or(|(_, proper)| proper);
        match self.other_form {
            TrailingSlash::Strict if !proper => call.kind = CallKind::Refuse(404, "no such path"),
            TrailingSlash::Redirect(status) if !proper => {
                let slash = if self.slash { "/" } else { "" };
                let location = format!("{}{slash}", path.trim_end_matches('/'));
                call.kind = CallKind::Redirect(status, location);
            }
            _ => {}
        }
        call
    }

    /// The id in a path, if it has one, and whether its trailing slash is the proper one.
    fn split<'a>(&self, path: &'a str) -> Option<(Option<&'a str>, bool)> {
        let rest = path.strip_prefix(&self.collection)?;
        let bare = rest.trim_end_matches('/');
        let proper = rest.len() - bare.len() == usize::from(self.slash);
        if bare.is_empty() {
            return Some((None, proper));
        }
        let id = bare.strip_prefix('/')?;
        (!id.is_empty() && !id.contains('/')).then_some((Some(id), proper))
    }
}

/// The path of a request target, without the query, and without the scheme and authority of a request to a proxy.
fn path_of(target: &str) -> &str {
    let target = target.split(['?', '#']).next().unwrap_or_default();
    match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    }
}

fn collection_call(method: Method, body: &[u8]) -> NodeCall {
    let kind = match method {
        Method::Post => CallKind::Create,
        Method::Delete => CallKind::Delete,
        Method::Get => {
            return NodeCall { method, group: None, kind: CallKind::List };
        }
        Method::Other => return not_allowed(method),
    };
    match json::group_id(body) {
        Ok(id) => NodeCall { method, group: Some(id), kind },
        Err(reason) => NodeCall { method, group: None, kind: CallKind::Refuse(400, reason) },
    }
}

fn group_call(method: Method, id: &str) -> NodeCall {
    if method != Method::Get {
        return not_allowed(method);
    }
    match percent_decode_str(id).decode_utf8() {
        Ok(id) => NodeCall { method, group: Some(Cow::into_owned(id)), kind: CallKind::Check },
        Err(_) => NodeCall { method, group: None, kind: CallKind::Refuse(400, "the id is not UTF-8") },
    }
}

fn not_allowed(method: Method) -> NodeCall {
    NodeCall { method, group: None, kind: CallKind::Refuse(405, "no such method here") }
}

#[cfg(test)]
mod tests {
    use super::{CallKind, NodePaths, TrailingSlash};

    fn get(paths: &NodePaths, path: &str) -> (CallKind, Option<String>) {
        let call = paths.route("GET", path, b"");
        (call.kind, call.group)
    }

    #[test]
    fn any_trailing_slash_is_accepted_unless_strict() {
        let lenient = NodePaths::new("/v1/group/", TrailingSlash::Lenient);
        for path in ["/v1/group/g", "/v1/group/g/", "/v1/group/g//", "/v1/group/g/?a=b"] {
            assert_eq!(get(&lenient, path), (CallKind::Check, Some("g".to_owned())), "{path}");
        }
        for path in ["/v1/group", "/v1/group/", "/v1/group//", "http://h:1/v1/group/"] {
            assert_eq!(get(&lenient, path).0, CallKind::List, "{path}");
        }
        let refused = CallKind::Refuse(404, "no such path");
        for path in ["/", "*", "/v1/groups", "/v1/groupg", "/v1/group/a/b", "/v1/group//g"] {
            assert_eq!(get(&lenient, path).0, refused, "{path}");
        }
        let strict = NodePaths::new("/v1/group/", TrailingSlash::Strict);
        assert_eq!(get(&strict, "/v1/group/g/").0, CallKind::Check);
        assert_eq!(get(&strict, "/v1/group/g").0, refused);
        assert_eq!(get(&strict, "/v1/group").0, refused);
    }

    #[test]
    fn other_form_is_redirected_to_the_proper_path() {
        let with = NodePaths::new("/v1/group/", TrailingSlash::Redirect(308));
        assert_eq!(get(&with, "/v1/group/a%2Fb").0, CallKind::Redirect(308, "/v1/group/a%2Fb/".into()));
        let without = NodePaths::new("/groups", TrailingSlash::Redirect(307));
        assert_eq!(get(&without, "/groups/g/").0, CallKind::Redirect(307, "/groups/g".into()));
        assert_eq!(get(&without, "/groups/g").0, CallKind::Check);
    }

    #[test]
    fn ids_are_percent_decoded() {
        let paths = NodePaths::new("/v1/group/", TrailingSlash::Lenient);
        assert_eq!(get(&paths, "/v1/group/a%2Fb%20%C3%A9/").1.as_deref(), Some("a/b \u{e9}"));
        assert_eq!(get(&paths, "/v1/group/%ff/").0, CallKind::Refuse(400, "the id is not UTF-8"));
    }
}
