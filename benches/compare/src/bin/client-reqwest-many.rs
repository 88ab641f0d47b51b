//! tokio + reqwest on tokio's multi-thread runtime, a task for each request (for each group in bulk).

use std::process::ExitCode;
use std::sync::Arc;

use cluster_client_compare::pace::Ids;
use cluster_client_compare::{Client, Failure, IN_FLIGHT, REQUEST_TIMEOUT, wire};
use futures_util::stream::{FuturesUnordered, StreamExt, TryStreamExt, iter};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

fn main() -> ExitCode {
    cluster_client_compare::run::<ReqwestMany>()
}

struct ReqwestMany {
    runtime: Runtime,
    http: reqwest::Client,
    hosts: Arc<[String]>,
}

impl Client for ReqwestMany {
    fn new(hosts: &[String]) -> Result<Self, Failure> {
        Ok(Self {
            runtime: Builder::new_multi_thread().enable_all().build()?,
            http: reqwest::Client::builder().no_proxy().timeout(REQUEST_TIMEOUT).build()?,
            hosts: hosts.into(),
        })
    }

    fn create(&mut self, id: &str) -> Result<(), Failure> {
        self.runtime.block_on(async {
            let mut posts = JoinSet::new();
            for host in self.hosts.iter() {
                posts.spawn(post(self.http.clone(), wire::create_url(host), wire::create_body(id)));
            }
            all(posts).await?;
            let mut gets = JoinSet::new();
            for host in self.hosts.iter() {
                gets.spawn(get(self.http.clone(), wire::check_url(host, id)));
            }
            all(gets).await
        })
    }

    fn create_all(&mut self, ids: Ids) -> Result<(), Failure> {
        let groups = iter(ids).map(|id| {
            let task = tokio::spawn(create_in_one_task(self.http.clone(), Arc::clone(&self.hosts), id));
            async { task.await? }
        });
        self.runtime.block_on(groups.buffer_unordered(IN_FLIGHT).try_collect())
    }
}

async fn all(mut requests: JoinSet<Result<(), Failure>>) -> Result<(), Failure> {
    while let Some(done) = requests.join_next().await {
        done??;
    }
    Ok(())
}

/// One task for each group, because the groups in flight keep every thread busy already.
async fn create_in_one_task(http: reqwest::Client, hosts: Arc<[String]>, id: String) -> Result<(), Failure> {
    let posts = hosts.iter().map(|host| post(http.clone(), wire::create_url(host), wire::create_body(&id)));
    posts.collect::<FuturesUnordered<_>>().try_collect::<()>().await?;
    let gets = hosts.iter().map(|host| get(http.clone(), wire::check_url(host, &id)));
    gets.collect::<FuturesUnordered<_>>().try_collect().await
}

async fn post(http: reqwest::Client, url: String, body: String) -> Result<(), Failure> {
    read(http.post(url).header("content-type", wire::JSON).body(body).send().await?, 201).await
}

async fn get(http: reqwest::Client, url: String) -> Result<(), Failure> {
    read(http.get(url).send().await?, 200).await
}

/// Reads the answer to its end, so that its connection is kept.
async fn read(answer: reqwest::Response, wanted: u16) -> Result<(), Failure> {
    let status = answer.status().as_u16();
    answer.bytes().await?;
    wire::expect(wanted, status)
}
