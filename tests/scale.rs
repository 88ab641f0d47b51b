//! Many hosts of which some are ill: nobody waits for them, and they are not run down. Figures for up to 10,000 hosts
//! come from `benches/compare` with `--scale`.
#![cfg(feature = "testing")]

mod support;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use cluster_client::testing::{Cluster, Fault, Method, Node, Rates};
use cluster_client::{ClusterClient, Error, Event, EventKind, Observer, State};
use support::{PATIENCE, builder, quick};

/// Sees who is through with a status, and lets the paused nodes go on once all others are.
struct Ward {
    cluster: Cluster,
    paused: usize,
    through: Mutex<Vec<usize>>,
}

impl Observer for Ward {
    fn on_event(&self, event: &Event) {
        let EventKind::Reached { host, .. } = &event.kind else { return };
        let number = self.cluster.urls().iter().position(|url| url == host.as_str()).unwrap();
        let mut through = self.through.lock().unwrap();
        through.push(number);
        if through.iter().filter(|number| **number >= self.paused).count() == self.cluster.nodes().len() - self.paused {
            self.cluster.nodes().iter().for_each(Node::resume);
        }
    }
}

/// The mute hosts come first.
#[test]
fn mute_hosts_delay_only_the_end_of_the_operation() {
    let ward = Arc::new(Ward { cluster: Cluster::start(100).unwrap(), paused: 20, through: Mutex::default() });
    let urls = ward.cluster.urls();
    let client = builder(urls)
        .observer(Arc::<Ward>::clone(&ward))
        .retry(quick().with_attempts(1))
        .request_timeout(PATIENCE)
        .build()
        .unwrap();
    // Opens the connections and starts threads.
    for turn in 0..3 {
        assert_eq!(client.group_status(format!("warm-up-{turn}")).unwrap().absent().count(), 100);
    }
    ward.through.lock().unwrap().clear();
    ward.cluster.nodes()[..ward.paused].iter().for_each(Node::pause);
    let report = client.group_status("g").unwrap();
    assert_eq!(report.absent().count(), 100, "all answered in the end");
    let through = ward.through.lock().unwrap();
    assert_eq!(through.len(), 100);
    assert!(through[..80].iter().all(|number| *number >= ward.paused), "a mute host was waited for: {through:?}");
}

fn requests(cluster: &Cluster) -> u64 {
    let all = [Method::Get, Method::Post, Method::Delete];
    cluster.nodes().iter().flat_map(|node| all.map(|method| node.count(method))).sum()
}

/// A hundred tokens, and one for every fifth host.
#[test]
fn retry_budget_bounds_the_requests_to_a_failing_cluster() {
    let cluster = Cluster::start(100).unwrap();
    cluster.nodes().iter().for_each(|node| node.inject(Fault::answer(503).always()));
    let client = builder(cluster.urls()).retry(quick().with_attempts(100)).build().unwrap();
    let error = client.create_group("g").unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    assert_eq!(requests(&cluster), 100 + 120, "each host once, and every token");
    client.create_group("h").unwrap_err();
    assert_eq!(requests(&cluster), 2 * 100 + 120, "there are no tokens left");
    // Each success returns a fifth of a token.
    cluster.nodes().iter().for_each(Node::clear_faults);
    client.create_group("i").unwrap();
    assert!(cluster.all_have("i"));
    let before = requests(&cluster);
    cluster.nodes().iter().for_each(|node| node.inject(Fault::answer(503).always()));
    client.create_group("j").unwrap_err();
    assert_eq!(requests(&cluster) - before, 100 + 60, "300 requests succeeded");
}

/// With the creates' tokens used up, a rollback still tries again.
#[test]
fn rollback_retries_after_the_create_has_spent_its_budget() {
    let cluster = Cluster::start(10).unwrap();
    let spend = |client: &ClusterClient| {
        cluster.nodes().iter().for_each(|node| node.inject(Fault::answer(503).always()));
        client.group_status("g").unwrap();
        cluster.nodes().iter().for_each(Node::clear_faults);
    };
    let client = builder(cluster.urls()).retry(quick().with_attempts(100)).build().unwrap();
    spend(&client);
    let before = requests(&cluster);
    spend(&client);
    assert_eq!(requests(&cluster) - before, 10, "no token is left");

    cluster.node(9).inject(Fault::answer(418).on(Method::Post).before_applying());
    for node in cluster.nodes() {
        node.inject(Fault::answer(503).on(Method::Delete).times(2));
    }
    let error = client.create_group("g").unwrap_err();
    assert!(matches!(error, Error::RolledBack { .. }), "{error}");
    assert!(cluster.none_has("g"));
    assert!(cluster.nodes().iter().any(|node| node.count(Method::Delete) >= 3), "it was retried");
}

/// A tenth of all requests fails, at random; what is told of each host is what the host has.
#[test]
fn creates_on_a_faltering_cluster_end_on_all_hosts_or_none() {
    let rates = Rates { error: 0.05, drop_before: 0.03, drop_after: 0.02, ..Rates::default() };
    let node = |number| Node::builder().seed(number as u64).rates(rates);
    let cluster = Cluster::start_with(200, node).unwrap();
    let patient = quick().with_attempts(8);
    let client = builder(cluster.urls()).retry(patient).rollback_retry(patient).build().unwrap();
    let mut outcomes = BTreeSet::new();
    for turn in 0..5 {
        let group = format!("g-{turn}");
        match client.create_group(&group) {
            Ok(report) => {
                assert!(report.all(State::Present));
                assert!(cluster.all_have(&group));
                outcomes.insert("created");
            }
            Err(Error::RolledBack { .. } | Error::Unavailable { .. }) => {
                assert!(cluster.none_has(&group));
                outcomes.insert("refused");
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(outcomes.contains("created"), "with 8 tries one in 10^5 fails or so: {outcomes:?}");
}
