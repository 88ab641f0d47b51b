//! Floor 2: parts that the engines share: limits, name look-ups, TLS settings, heads of requests, and parsers of headers.
//!
//! Nothing here opens a connection.

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

/// The bits of the mode of a file that its group or others can read.
pub(crate) const OTHERS_CAN_READ: u32 = 0o044;
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
