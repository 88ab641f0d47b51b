//! Whole operations over embedded nodes. The nodes share the cores of this process: figures of different machines
//! cannot be compared. For a comparison with other clients see `benches/compare`.
//!
//! ```sh
//! cargo bench --features testing
//! ```

use std::sync::atomic::{AtomicUsize, Ordering};

use cluster_client::testing::Cluster;
use cluster_client::{ClusterClient, OperationOptions, State};
use divan::Bencher;

fn main() {
    divan::main();
}

const SIZES: [usize; 3] = [3, 16, 64];

/// A new id for each operation, so that no operation depends on an earlier one.
fn fresh_id() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("group-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn cluster(size: usize) -> (Cluster, ClusterClient) {
    let cluster = Cluster::start(size).expect("loopback has free ports");
    let client = ClusterClient::new(cluster.urls()).expect("the URLs of nodes are hosts");
    client.group_status("warm-up").expect("a status has no error of its own");
    (cluster, client)
}

#[divan::bench(args = SIZES)]
fn create(bencher: Bencher<'_, '_>, size: usize) {
    let (_cluster, client) = cluster(size);
    bencher.with_inputs(fresh_id).bench_values(|id| client.create_group(id).expect("the nodes have no faults"));
}

#[divan::bench(args = SIZES)]
fn create_without_preflight(bencher: Bencher<'_, '_>, size: usize) {
    let (_cluster, client) = cluster(size);
    let call = client.with(OperationOptions::new().preflight(false));
    bencher.with_inputs(fresh_id).bench_values(|id| call.create_group(id).expect("the nodes have no faults"));
}

#[divan::bench(args = SIZES)]
fn delete(bencher: Bencher<'_, '_>, size: usize) {
    let (cluster, client) = cluster(size);
    let existing = || {
        let id = fresh_id();
        cluster.nodes().iter().for_each(|node| assert!(node.insert(&id)));
        id
    };
    bencher.with_inputs(existing).bench_values(|id| {
        let deletion = client.delete_group(id).expect("the nodes have no faults");
        assert!(deletion.report().all(State::Absent));
    });
}

#[divan::bench(args = [8, 32])]
fn bulk_of_a_hundred(bencher: Bencher<'_, '_>, in_flight: usize) {
    let (cluster, _) = cluster(8);
    let client = ClusterClient::builder().hosts(cluster.urls()).in_flight(in_flight).build().expect("hosts");
    let ids = || (0..100).map(|_| fresh_id()).collect::<Vec<_>>();
    bencher.with_inputs(ids).bench_values(|ids| {
        assert!(client.create_groups(ids).all(|done| done.result.is_ok()));
    });
}
