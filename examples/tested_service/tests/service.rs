//! Tests of the service on a cluster of real nodes in this process. Each test asserts the state of all nodes.

use std::sync::Arc;
use std::time::Duration;

use cluster_client::testing::{Cluster, Fault, Method, journal_conformance};
use cluster_client::{
    Action, ClientBuilder, ClusterClient, Event, EventKind, GroupId, Host, Observer as _, Operation, OperationId,
    RequestError, RequestErrorKind, RetryPolicy,
};
use tested_service_example::{LostAnswers, MemoryJournal, Signup, sign_up};

/// Short delays, because the nodes are in this process.
fn builder(cluster: &Cluster) -> ClientBuilder {
    let quick = RetryPolicy::new().with_first_delay(Duration::from_millis(1)).with_max_delay(Duration::from_millis(4));
    let builder = ClusterClient::builder().hosts(cluster.urls()).retry(quick).rollback_retry(quick);
    builder.request_timeout(Duration::from_millis(500)).settle(Duration::from_millis(500))
}

#[test]
fn customer_is_ready_once_and_twice() {
    let cluster = Cluster::start(3).unwrap();
    let client = builder(&cluster).build().unwrap();
    assert_eq!(sign_up(&client, "ada"), Signup::Ready);
    assert!(cluster.all_have("customer-ada"));
    assert_eq!(sign_up(&client, "ada"), Signup::Ready);
    assert!(cluster.all_have("customer-ada"));
}

#[test]
fn customer_can_try_again_if_a_node_refuses() {
    let cluster = Cluster::start(3).unwrap();
    let client = builder(&cluster).build().unwrap();
    cluster.node(2).inject(Fault::answer(403).on(Method::Post));
    assert_eq!(sign_up(&client, "ada"), Signup::TryAgain);
    assert!(cluster.none_has("customer-ada"), "it is rolled back");
    assert_eq!(sign_up(&client, "ada"), Signup::Ready);
    assert!(cluster.all_have("customer-ada"));
}

#[test]
fn person_is_asked_if_a_node_is_lost_in_between_and_a_recovery_settles_it() {
    let cluster = Cluster::start(3).unwrap();
    let (lost, journal) = (Arc::new(LostAnswers::default()), MemoryJournal::default());
    let client = builder(&cluster).observer(lost.clone()).custom_journal(Arc::new(journal.clone())).build().unwrap();
    // The second node creates the group, and answers nothing from then on.
    let node = cluster.node(1);
    node.inject(Fault::delay(Duration::ZERO).on(Method::Get));
    node.inject(Fault::drop_connection().on(Method::Get).always());
    node.inject(Fault::drop_connection().after_applying().on(Method::Post).always());
    node.inject(Fault::drop_connection().on(Method::Delete).always());
    let Signup::Ask(text) = sign_up(&client, "ada") else { panic!("a node is lost") };
    assert!(text.contains("in doubt") && text.contains("recover"), "{text}");
    assert_eq!(cluster.holders("customer-ada"), [1]);
    assert!(lost.count() > 0);

    node.clear_faults();
    let recovery = client.recover().unwrap();
    assert!(recovery.is_complete() && recovery.settled.len() == 1);
    assert!(cluster.none_has("customer-ada"));
}

#[test]
fn observer_counts_lost_answers_only() {
    let lost = LostAnswers::default();
    let (host, time) = (Host::parse("http://node1:8000").unwrap(), Duration::from_millis(3));
    let event = |kind| Event::new(OperationId::new(1), Operation::Create, GroupId::parse("g").unwrap(), kind);
    lost.on_event(&event(EventKind::answered(host.clone(), Action::Create, 1, 503, time)));
    assert_eq!(lost.count(), 0);
    let error = RequestError::new(RequestErrorKind::Timeout, "no answer within 500ms");
    lost.on_event(&event(EventKind::failed(host, Action::Create, 2, error, time)));
    assert_eq!(lost.count(), 1);
}

#[test]
fn journal_keeps_the_contract() {
    let journal = MemoryJournal::default();
    journal_conformance(|| journal.clone());
}
