//! Faults that the Python original handles wrongly, on real sockets. After every failure the state of *all* hosts is
//! asserted, as the nodes themselves have it.
#![cfg(feature = "testing")]

mod support;

use std::time::{Duration, Instant};

use cluster_client::testing::{Cluster, Fault, Method};
use cluster_client::{Error, OperationOptions, State};
use support::{PATIENCE, SETTLE, builder, client, states};

#[test]
fn rollback_after_a_lost_201_removes_the_group() {
    let cluster = Cluster::start(3).unwrap();
    // The first node applies every POST and drops the answer; the third refuses.
    cluster.node(0).inject(Fault::drop_connection().after_applying().on(Method::Post).always());
    cluster.node(2).inject(Fault::answer(403).on(Method::Post));
    let error = client(&cluster).create_group("g").unwrap_err();
    assert!(matches!(error, Error::RolledBack { .. }), "{error}");
    assert!(cluster.none_has("g"));
}

#[test]
fn create_succeeds_after_a_lost_201() {
    let cluster = Cluster::start(3).unwrap();
    cluster.node(1).inject(Fault::drop_connection().after_applying().on(Method::Post));
    // The second POST is answered 400, because the first was applied: the GET decides.
    let report = client(&cluster).create_group("g").unwrap();
    assert_eq!(states(&report), [State::Present; 3]);
    assert!(cluster.all_have("g"));
    assert_eq!(cluster.node(1).count(Method::Post), 2);
    assert_eq!(cluster.node(1).log().iter().filter(|entry| entry.status == Some(400)).count(), 1);
}

#[test]
fn create_retries_a_500() {
    for fault in [Fault::answer(500), Fault::answer(500).after_applying()] {
        let cluster = Cluster::start(3).unwrap();
        cluster.node(1).inject(fault.on(Method::Post));
        assert_eq!(states(&client(&cluster).create_group("g").unwrap()), [State::Present; 3]);
        assert!(cluster.all_have("g"));
    }
}

#[test]
fn only_transient_statuses_are_retried() {
    for (status, posts) in [(408, 3), (429, 3), (500, 3), (502, 3), (503, 3), (504, 3), (501, 1), (403, 1), (409, 1)] {
        let cluster = Cluster::start(2).unwrap();
        cluster.node(1).inject(Fault::answer(status).on(Method::Post).always());
        let error = client(&cluster).create_group("g").unwrap_err();
        assert!(matches!(error, Error::RolledBack { .. }), "{status}: {error}");
        assert_eq!(cluster.node(1).count(Method::Post), posts, "{status}");
        assert!(cluster.none_has("g"));
    }
}

#[test]
fn rollback_continues_on_other_hosts_after_a_permanent_failure() {
    let cluster = Cluster::start(4).unwrap();
    cluster.node(0).inject(Fault::answer(500).on(Method::Delete).always());
    // The hosts before it are asked first, so they have their group when it refuses.
    cluster.node(3).inject(Fault::answer(503).on(Method::Post));
    cluster.node(3).inject(Fault::answer(403).on(Method::Post));
    let error = client(&cluster).create_group("g").unwrap_err();
    let Error::Incomplete { report, .. } = &error else { panic!("{error:?}") };
    assert_eq!(states(report), [State::Present, State::Absent, State::Absent, State::Absent]);
    assert_eq!(cluster.holders("g"), [0]);
    assert!(error.to_string().contains(&format!("127.0.0.1:{} has g", cluster.node(0).port())), "{error}");
}

#[test]
fn rollback_keeps_a_group_that_was_there_before() {
    for preflight in [true, false] {
        let cluster = Cluster::start(3).unwrap();
        cluster.node(1).insert("g");
        let error = client(&cluster).with(OperationOptions::new().preflight(preflight)).create_group("g").unwrap_err();
        assert!(matches!(error, Error::AlreadyExists { .. }), "preflight {preflight}: {error}");
        let end = if preflight { "it was left as it is; repair" } else { "what was made beside it is undone" };
        let at = cluster.node(1).address();
        assert_eq!(error.to_string(), format!("g already exists on {at} and not on 2 of 3 hosts, {end}"));
        assert_eq!(cluster.holders("g"), [1], "what was there stays, what we made is gone");
        assert_eq!(cluster.node(1).count(Method::Delete), 0);
    }
}

#[test]
fn lost_answer_without_preflight_is_in_doubt_and_not_deleted() {
    let cluster = Cluster::start(2).unwrap();
    cluster.node(0).insert("g");
    cluster.node(0).inject(Fault::drop_connection().on(Method::Post).always());
    cluster.node(1).inject(Fault::answer(403).on(Method::Post).always());
    let error = client(&cluster).with(OperationOptions::new().preflight(false)).create_group("g").unwrap_err();
    let Error::Incomplete { report, .. } = &error else { panic!("{error:?}") };
    assert_eq!(states(report), [State::Present, State::Absent]);
    assert_eq!(cluster.holders("g"), [0], "it may be somebody else's");
    assert_eq!(cluster.node(0).count(Method::Delete), 0);
}

#[test]
fn rollback_keeps_a_foreign_group_created_after_the_probe() {
    let cluster = Cluster::start(2).unwrap();
    // The probe of the second node is answered from before the foreign group was made.
    cluster.node(1).insert("g");
    cluster.node(1).inject(Fault::answer(404).on(Method::Get));
    let error = client(&cluster).create_group("g").unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    assert_eq!(cluster.holders("g"), [1]);
}

#[test]
fn delete_of_an_absent_group_succeeds() {
    for status in [404, 400] {
        let cluster =
            Cluster::start_with(3, |_| cluster_client::testing::Node::builder().absent_status(status)).unwrap();
        cluster.node(1).insert("g");
        let deletion = client(&cluster).delete_group("g").unwrap();
        assert_eq!(deletion.undeleted().count(), 0);
        assert!(cluster.none_has("g"));
    }
}

#[test]
fn host_whose_check_answers_500_is_unknown() {
    let cluster = Cluster::start(2).unwrap();
    cluster.node(1).inject(Fault::answer(403).on(Method::Post));
    // Created, deleted nowhere in truth, and every look after that fails.
    cluster.node(0).inject(Fault::answer(200).on(Method::Delete).always());
    let cluster_client = client(&cluster);
    cluster.node(0).inject(Fault::answer(404).on(Method::Get));
    cluster.node(0).inject(Fault::answer(500).on(Method::Get).always());
    let error = cluster_client.create_group("g").unwrap_err();
    let Error::InDoubt { report, .. } = &error else { panic!("{error:?}") };
    assert_eq!(report.hosts[0].state, State::Unknown, "a 500 proves nothing");
    assert_eq!(cluster.holders("g"), [0]);
}

#[test]
fn late_post_is_found_and_deleted_after_the_settle_time() {
    let cluster = Cluster::start(2).unwrap();
    // It times out for us, and is applied after our first look.
    cluster.node(0).inject(Fault::drop_connection().applying_late(SETTLE / 2).on(Method::Post).always());
    cluster.node(1).inject(Fault::answer(403).on(Method::Post));
    let error = client(&cluster).create_group("g").unwrap_err();
    assert!(matches!(error, Error::RolledBack { .. }), "{error}");
    assert!(cluster.none_has("g"));
}

#[test]
fn settle_time_passes_only_after_an_ambiguous_request() {
    let cluster = Cluster::start(2).unwrap();
    cluster.node(1).inject(Fault::answer(403).on(Method::Post));
    let slow_settle = Duration::from_secs(3600);
    let client = builder(cluster.urls()).settle(slow_settle).rollback_timeout(2 * slow_settle).build().unwrap();
    let error = client.create_group("g").unwrap_err();
    assert!(matches!(error, Error::RolledBack { .. }), "{error}");
    assert!(cluster.none_has("g"));
}

#[test]
fn create_with_a_dead_host_is_unavailable_and_changes_nothing() {
    let cluster = Cluster::start(3).unwrap();
    cluster.node(2).stop();
    let error = client(&cluster).create_group("g").unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }) && error.is_unchanged() && error.is_retryable(), "{error}");
    assert!(error.to_string().contains(&format!("127.0.0.1:{}", cluster.node(2).port())), "{error}");
    assert_eq!(cluster.node(0).count(Method::Post) + cluster.node(1).count(Method::Post), 0);
}

#[test]
fn host_that_dies_during_the_rollback_is_named_in_doubt() {
    let cluster = Cluster::start(3).unwrap();
    cluster.node(0).inject(Fault::drop_connection().on(Method::Delete).always());
    cluster.node(0).inject(Fault::answer(404).on(Method::Get));
    cluster.node(0).inject(Fault::drop_connection().on(Method::Get).always());
    cluster.node(1).inject(Fault::answer(503).on(Method::Post));
    cluster.node(1).inject(Fault::answer(403).on(Method::Post));
    let error = client(&cluster).create_group("g").unwrap_err();
    let Error::InDoubt { report, .. } = &error else { panic!("{error:?}") };
    assert_eq!(states(report), [State::Unknown, State::Absent, State::Absent]);
    assert_eq!(cluster.holders("g"), [0]);
    assert!(!report.recoverable, "without a journal there is nothing to recover from");
    assert!(error.to_string().contains("ask for the status, then repair"), "{error}");
}

#[test]
fn retry_after_is_honoured_up_to_the_longest_delay() {
    let cluster = Cluster::start(1).unwrap();
    cluster.node(0).inject(Fault::answer(503).header("Retry-After", "1").on(Method::Get));
    let patient = support::quick().with_max_delay(Duration::from_secs(5));
    let begun = Instant::now();
    let report = builder(cluster.urls()).retry(patient).build().unwrap().group_status("g").unwrap();
    assert_eq!(states(&report), [State::Absent]);
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());

    cluster.node(0).inject(Fault::answer(503).header("Retry-After", "3600").on(Method::Get));
    assert_eq!(states(&client(&cluster).group_status("g").unwrap()), [State::Absent], "capped by the longest delay");
}

#[test]
fn create_past_its_deadline_is_rolled_back() {
    let cluster = Cluster::start(2).unwrap();
    cluster.node(1).inject(Fault::answer(503).on(Method::Post).always());
    let patient = support::quick()
        .with_attempts(1000)
        .with_first_delay(Duration::from_millis(20))
        .with_max_delay(Duration::from_millis(20));
    let client = builder(cluster.urls()).retry(patient).build().unwrap();
    let begun = Instant::now();
    // Long enough for one POST on a busy machine, and much shorter than the delays of all tries.
    let error = client.with(OperationOptions::new().timeout(Duration::from_secs(2))).create_group("g").unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }) && error.to_string().contains("answered 503"), "{error}");
    assert!(cluster.none_has("g"));
    assert!(begun.elapsed() < PATIENCE / 2);
}

#[test]
fn call_with_a_timeout_of_zero_sends_nothing() {
    let cluster = Cluster::start(1).unwrap();
    let call = client(&cluster).with(OperationOptions::new().timeout(Duration::ZERO));
    for error in [call.create_group("g").unwrap_err(), call.delete_group("g").unwrap_err()] {
        assert!(matches!(error, Error::TimedOut { .. }) && !error.is_retryable() && error.is_unchanged(), "{error}");
    }
    assert_eq!(states(&call.group_status("g").unwrap()), [State::Unknown]);
    assert_eq!(cluster.node(0).log().len(), 0);
}

#[test]
fn id_with_reserved_characters_reaches_the_node_unchanged() {
    let cluster = Cluster::start(1).unwrap();
    let client = client(&cluster);
    for id in ["größe", "a b", "a\"b\\c", "100%", "a+b&c=d", "...", "a?b#c"] {
        client.create_group(id).unwrap_or_else(|error| panic!("{id}: {error}"));
        assert!(cluster.all_have(id), "{id}");
        assert_eq!(client.delete_group(id).unwrap().undeleted().count(), 0);
        assert!(cluster.none_has(id), "{id}");
    }
}
