//! tokio + reqwest on one thread: the reference, as a careful user would write it, and a variant without a barrier.
//!
//! It is generic, so that only the clients that use it compile it.

use futures_util::stream::{FuturesUnordered, StreamExt, TryStreamExt, iter};
use reqwest::Method;
use tokio::runtime::{Builder, Runtime};

use crate::pace::Ids;
use crate::{Client, Failure, IN_FLIGHT, REQUEST_TIMEOUT, wire};

/// `CHAINED`: each host's GET follows its own POST, as in our client. Otherwise all POSTs come before the first GET.
pub struct ReqwestOne<const CHAINED: bool> {
    runtime: Runtime,
    cluster: Cluster<CHAINED>,
}

impl<const CHAINED: bool> Client for ReqwestOne<CHAINED> {
    fn new(hosts: &[String]) -> Result<Self, Failure> {
        Ok(Self { runtime: Builder::new_current_thread().enable_all().build()?, cluster: Cluster::new(hosts)? })
    }

    fn create(&mut self, id: &str) -> Result<(), Failure> {
        self.runtime.block_on(self.cluster.create(id))
    }

    fn create_all(&mut self, ids: Ids) -> Result<(), Failure> {
        let cluster = &self.cluster;
        let groups = iter(ids).map(|id| async move { cluster.create(&id).await });
        self.runtime.block_on(groups.buffer_unordered(IN_FLIGHT).try_collect())
    }
}

struct Cluster<const CHAINED: bool> {
    http: reqwest::Client,
    hosts: Vec<String>,
}

impl<const CHAINED: bool> Cluster<CHAINED> {
    fn new(hosts: &[String]) -> Result<Self, Failure> {
        let http = reqwest::Client::builder().no_proxy().timeout(REQUEST_TIMEOUT);
        #[cfg(feature = "tls")]
        let http = http.tls_backend_preconfigured(crate::tls::client()?);
        let http = http.build()?;
        Ok(Self { http, hosts: hosts.to_vec() })
    }

    async fn create(&self, id: &str) -> Result<(), Failure> {
        if CHAINED {
            let hosts = self.hosts.iter().map(|host| self.post_and_get(host, id));
            return hosts.collect::<FuturesUnordered<_>>().try_collect().await;
        }
        self.hosts.iter().map(|host| self.post(host, id)).collect::<FuturesUnordered<_>>().try_collect::<()>().await?;
        self.hosts.iter().map(|host| self.get(host, id)).collect::<FuturesUnordered<_>>().try_collect().await
    }

    async fn post_and_get(&self, host: &str, id: &str) -> Result<(), Failure> {
        self.post(host, id).await?;
        self.get(host, id).await
    }

    async fn post(&self, host: &str, id: &str) -> Result<(), Failure> {
        let request = self
            .http
            .request(Method::POST, wire::create_url(host))
            .header("content-type", wire::JSON)
            .body(wire::create_body(id));
        Self::read(request.send().await?, 201).await
    }

    async fn get(&self, host: &str, id: &str) -> Result<(), Failure> {
        Self::read(self.http.get(wire::check_url(host, id)).send().await?, 200).await
    }

    /// Reads the answer to its end, so that its connection is kept.
    async fn read(answer: reqwest::Response, wanted: u16) -> Result<(), Failure> {
        let status = answer.status().as_u16();
        answer.bytes().await?;
        wire::expect(wanted, status)
    }
}
