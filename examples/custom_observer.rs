//! Counts requests and prints retries with an observer, on a cluster inside this process.
//!
//! ```sh
//! cargo run --features testing --example custom_observer
//! ```

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cluster_client::testing::{Cluster, Fault, Method};
use cluster_client::{ClusterClient, Event, EventKind, Observer};

#[derive(Default)]
struct Metrics {
    requests: AtomicUsize,
    retries: AtomicUsize,
}

impl Observer for Metrics {
    fn on_event(&self, event: &Event) {
        let group = &event.group;
        match &event.kind {
            EventKind::Entered { phase, .. } => println!("{group}: {phase}"),
            EventKind::Answered { .. } => {
                self.requests.fetch_add(1, Ordering::Relaxed);
            }
            EventKind::Retrying { host, action, attempt, delay, .. } => {
                self.retries.fetch_add(1, Ordering::Relaxed);
                println!("{group}: {action} on {} again in {delay:.1?}, try {attempt}", host.authority());
            }
            _ => {}
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let cluster = Cluster::start(3)?;
    cluster.node(1).inject(Fault::answer(503).on(Method::Post));

    let metrics = Arc::new(Metrics::default());
    let client = ClusterClient::builder().hosts(cluster.urls()).observer(metrics.clone()).build()?;
    println!("{}", client.create_group("payments")?.summary());

    let (requests, retries) = (metrics.requests.load(Ordering::Relaxed), metrics.retries.load(Ordering::Relaxed));
    println!("{requests} requests, of which {retries} retried");
    Ok(())
}
