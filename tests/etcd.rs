//! The journal in etcd on a real cluster of three members, of the versions 3.4 and 3.5.

#[path = "support/etcd.rs"]
mod etcd;
mod support;

use std::sync::Arc;
use std::time::Instant;

use cluster_client::testing::{Cluster, journal_conformance};
use cluster_client::{ClusterClient, EtcdJournal, Journal};

use self::etcd::EtcdCluster;
use self::support::builder;

const VERSIONS: [&str; 2] = ["3.4", "3.5"];

#[test]
fn journal_keeps_its_contract_and_leaves_nothing() {
    for version in VERSIONS {
        let Some(cluster) = EtcdCluster::start(version) else { continue };
        let url = cluster.journal("/conformance");
        journal_conformance(|| EtcdJournal::builder(&url).open().unwrap());
        assert_eq!(cluster.keys("/conformance"), [""; 0], "{version}");
        assert_eq!(cluster.leases(), 0, "{version}");
    }
}

fn client(nodes: &Cluster, journal: EtcdJournal) -> ClusterClient {
    builder(nodes.urls()).custom_journal(Arc::new(journal)).build().unwrap()
}

// --- cost

#[test]
#[ignore = "a measurement: cargo test --release --all-features --test etcd cost -- --ignored --nocapture"]
fn cost_of_a_create_and_a_bulk() {
    const BULK: usize = 3_000;
    for version in VERSIONS {
        let Some(cluster) = EtcdCluster::start(version) else { continue };
        let nodes = Cluster::start(3).unwrap();
        let client = client(&nodes, EtcdJournal::builder(cluster.journal("/cost")).open().unwrap());
        client.create_group("first").unwrap();
        let start = Instant::now();
        for number in 0..100 {
            client.create_group(format!("single {number}")).unwrap();
        }
        let single = start.elapsed() / 100;
        let start = Instant::now();
        let done = client.create_groups((0..BULK).map(|number| format!("bulk {number}")));
        assert_eq!(done.filter(|done| done.result.is_ok()).count(), BULK);
        let rate = BULK as f64 / start.elapsed().as_secs_f64();
        println!("etcd {version}: one create {single:?}, bulk {rate:.0} groups a second");
        drop(client);
        assert_eq!(cluster.keys("/cost"), [""; 0]);
    }
}
