//! Floor 2: one request to one host, over ureq.

use std::time::Duration;

use crate::api::{Reply, Request};

/// Sends requests to the hosts of a cluster, which it knows by their number.
///
/// It decides nothing and retries nothing: it says what one request did.
pub(crate) trait Transport: Send + Sync {
    /// Sends `request` and reads its answer. It returns within `timeout`, give or take what the system
    /// takes to hand over a socket, and does not panic.
    fn send(&self, host: usize, request: &Request, timeout: Duration) -> Reply;
}
