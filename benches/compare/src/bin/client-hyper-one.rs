//! hyper-util's pooling client on one tokio thread: reqwest's engine without reqwest.

use std::process::ExitCode;

use bytes::Bytes;
use cluster_client_compare::pace::Ids;
use cluster_client_compare::{Client, Failure, IN_FLIGHT, REQUEST_TIMEOUT, wire};
use futures_util::stream::{FuturesUnordered, StreamExt, TryStreamExt, iter};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::runtime::{Builder, Runtime};

fn main() -> ExitCode {
    cluster_client_compare::run::<HyperOne>()
}

struct HyperOne {
    runtime: Runtime,
    cluster: Cluster,
}

impl Client for HyperOne {
    fn new(hosts: &[String]) -> Result<Self, Failure> {
        Ok(Self { runtime: Builder::new_current_thread().enable_all().build()?, cluster: Cluster::new(hosts) })
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

struct Cluster {
    http: HyperClient<HttpConnector, Full<Bytes>>,
    hosts: Vec<String>,
}

impl Cluster {
    fn new(hosts: &[String]) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self { http: HyperClient::builder(TokioExecutor::new()).build(connector), hosts: hosts.to_vec() }
    }

    async fn create(&self, id: &str) -> Result<(), Failure> {
        self.hosts.iter().map(|host| self.post(host, id)).collect::<FuturesUnordered<_>>().try_collect::<()>().await?;
        self.hosts.iter().map(|host| self.get(host, id)).collect::<FuturesUnordered<_>>().try_collect().await
    }

    async fn post(&self, host: &str, id: &str) -> Result<(), Failure> {
        let request = Request::post(wire::create_url(host)).header("content-type", wire::JSON);
        self.send(request.body(Full::from(wire::create_body(id)))?, 201).await
    }

    async fn get(&self, host: &str, id: &str) -> Result<(), Failure> {
        self.send(Request::get(wire::check_url(host, id)).body(Full::default())?, 200).await
    }

    async fn send(&self, request: Request<Full<Bytes>>, wanted: u16) -> Result<(), Failure> {
        tokio::time::timeout(REQUEST_TIMEOUT, async {
            let answer = self.http.request(request).await?;
            let status = answer.status().as_u16();
            // Read to its end, so that the connection is kept.
            answer.into_body().collect().await?;
            wire::expect(wanted, status)
        })
        .await?
    }
}
