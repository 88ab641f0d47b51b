//! The journal in etcd on a real cluster of three members.

#[path = "support/etcd.rs"]
mod etcd;
mod support;

use cluster_client::testing::journal_conformance;
use cluster_client::{EtcdJournal, GroupId, Journal};

use self::etcd::EtcdCluster;

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
