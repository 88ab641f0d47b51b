//! Common to several test files: a client with very short delays.

#![allow(dead_code, reason = "each test file is a crate of its own and uses a part of this")]

use std::time::Duration;

use cluster_client::testing::Cluster;
use cluster_client::{ClientBuilder, ClusterClient, Report, RetryPolicy, State};

pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_millis(400);
pub(crate) const SETTLE: Duration = Duration::from_millis(60);
/// Generous, because it only bounds how long a broken test hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn quick() -> RetryPolicy {
    RetryPolicy::default().with_first_delay(Duration::from_millis(1)).with_max_delay(Duration::from_millis(4))
}

pub(crate) fn builder(urls: impl IntoIterator<Item = impl AsRef<str>>) -> ClientBuilder {
    ClusterClient::builder()
        .hosts(urls)
        .retry(quick())
        .rollback_retry(quick().with_attempts(5))
        .request_timeout(REQUEST_TIMEOUT)
        .settle(SETTLE)
        .rollback_timeout(PATIENCE)
}

pub(crate) fn client(cluster: &Cluster) -> ClusterClient {
    builder(cluster.urls()).build().unwrap()
}

pub(crate) fn states(report: &Report) -> Vec<State> {
    report.hosts.iter().map(|host| host.state).collect()
}
