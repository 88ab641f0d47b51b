//! Floor 2: parts that the engines share: limits, name look-ups, TLS settings, heads of requests, and parsers of headers.
//!
//! Nothing here opens a connection.

use std::fs::Metadata;
use std::time::Duration;

use crate::api::BodyUse;

pub(crate) mod abandoned;
pub(crate) mod additions;
pub(crate) mod credentials;
pub(crate) mod errors;
pub(crate) mod file;
pub(crate) mod head;
pub(crate) mod headers;
pub(crate) mod limit;
pub(crate) mod proxy;
pub(crate) mod resolver;
pub(crate) mod tls;

/// Maximum size of the head of an answer.
pub(crate) const MAX_HEAD: usize = 16 * 1024;
/// Maximum size of a body that is read to its end. A longer one closes its connection.
pub(crate) const MAX_BODY: u64 = 64 * 1024;
/// Maximum size of a body that a test of a mapping needs. A larger one is cut, and decides nothing.
pub(crate) const MAX_NEEDED_BODY: u64 = 1024 * 1024;
/// Maximum time to read a body that no test needs. The status is known before it, so a slow body delays the answer by no more than this.
pub(crate) const DRAIN: Duration = Duration::from_secs(1);
/// Maximum number of idle connections to one host.
pub(crate) const MAX_IDLE: usize = 64;
/// Maximum age of an idle connection. Common servers (Node, uvicorn) close it after five seconds. If that close crosses
/// a POST, the effect of the POST is unknown.
pub(crate) const MAX_IDLE_AGE: Duration = Duration::from_secs(4);
pub(crate) const USER_AGENT: &str = concat!("cluster-client/", env!("CARGO_PKG_VERSION"));
pub(crate) const JSON: &str = "application/json";

/// Returns the maximum number of bytes of an answer's body.
pub(crate) fn max_body(body_use: BodyUse) -> u64 {
    match body_use {
        BodyUse::Unused | BodyUse::Hint => MAX_BODY,
        BodyUse::Needed => MAX_NEEDED_BODY,
    }
}

/// Returns the mode of a file with a secret that other users can read.
///
/// A file of root with a group is meant for that group: Kubernetes mounts secrets so, and a container cannot change it.
pub(crate) fn mode_open_to_others(found: &Metadata) -> Option<u32> {
    #[cfg(unix)]
    let owner = Some(std::os::unix::fs::MetadataExt::uid(found));
    #[cfg(not(unix))]
    let owner = None;
    file::mode_with(bits_of_others(owner), found)
}

const fn bits_of_others(owner: Option<u32>) -> u32 {
    // A container in a user namespace of its own sees root as 65534.
    if matches!(owner, Some(0 | 65534)) { 0o004 } else { 0o044 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_of_root_may_be_readable_by_its_group() {
        let is_open = |mode: u32, owner| mode & bits_of_others(Some(owner)) != 0;
        for roots in [0, 65534] {
            assert!(!is_open(0o440, roots) && is_open(0o444, roots));
        }
        assert!(is_open(0o440, 1000) && is_open(0o604, 1000) && !is_open(0o600, 1000));
    }
}
