//! The promise at its edges, on real sockets: another configuration, another cluster in one journal, lagging
//! reads, refused and late requests. The simulation shows the same for every order of events.

#![cfg(feature = "testing")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cluster_client::testing::{Cluster, Fault, Method, Node};
use cluster_client::{
    Action, Api, Cause, ClusterClient, DirectoryJournal, Error, Event, EventKind, Journal as _, Observer,
    OperationOptions, Outcome, Phase, State, Target,
};
use support::{REQUEST_TIMEOUT, SETTLE, builder, client, states};

/// The groups that the journal in that directory calls unfinished.
fn unfinished(journal: &tempfile::TempDir) -> Vec<String> {
    let unfinished = DirectoryJournal::open(journal.path()).unwrap().unfinished().unwrap();
    assert!(unfinished.unreadable.is_empty(), "{:?}", unfinished.unreadable);
    unfinished.groups().map(ToString::to_string).collect()
}

fn with_journal(cluster: &Cluster, journal: &tempfile::TempDir) -> ClusterClient {
    builder(cluster.urls()).journal(journal.path()).build().unwrap()
}

/// A create that leaves the group on node 0, which refuses to delete it, and an entry in the journal.
fn leave_behind(client: &ClusterClient, cluster: &Cluster) {
    cluster.node(0).inject(Fault::answer(403).on(Method::Delete).always());
    cluster.node(1).inject(Fault::answer(403).on(Method::Post));
    let error = client.create_group("g").unwrap_err();
    assert!(matches!(error, Error::Incomplete { .. }) && error.is_recoverable(), "{error}");
    assert_eq!(cluster.holders("g"), [0]);
    cluster.node(0).clear_faults();
}

#[test]
fn recovery_uses_the_paths_of_the_intent() {
    let cluster = Cluster::start_with(2, |_| Node::builder().path("/groups/")).unwrap();
    let journal = tempfile::tempdir().unwrap();
    let api = Api::new("/groups/", "/groups/{id}/").unwrap();
    let first = builder(cluster.urls()).api(api).journal(journal.path()).build().unwrap();
    leave_behind(&first, &cluster);

    let elsewhere = builder(["http://localhost:1"]).journal(journal.path()).build().unwrap();
    let recovery = elsewhere.recover().unwrap();
    assert!(recovery.is_complete(), "{:?}", recovery.unsettled);
    assert!(cluster.none_has("g"));
    assert_eq!(unfinished(&journal), [""; 0]);
}

#[test]
fn operation_with_other_paths_recovers_the_older_one_in_its_paths() {
    let old = Cluster::start_with(2, |_| Node::builder().path("/groups/")).unwrap();
    let journal = tempfile::tempdir().unwrap();
    let api = Api::new("/groups/", "/groups/{id}/").unwrap();
    leave_behind(&builder(old.urls()).api(api).journal(journal.path()).build().unwrap(), &old);

    let new = Cluster::start(2).unwrap();
    let report = with_journal(&new, &journal).create_group("g").unwrap();
    assert!(old.none_has("g") && new.all_have("g"));
    assert!(report.earlier_changed() && report.earlier.is_some());
    assert_eq!(unfinished(&journal), [""; 0]);
}

#[test]
fn rollback_is_in_doubt_if_delete_is_refused_and_reads_lag() {
    for refusal in [401, 403, 405, 409, 501] {
        let cluster = Cluster::start(2).unwrap();
        let journal = tempfile::tempdir().unwrap();
        cluster.node(0).inject(Fault::answer(refusal).on(Method::Delete).always());
        cluster.node(0).inject(Fault::answer(404).on(Method::Get).always());
        cluster.node(1).inject(Fault::answer(400).on(Method::Post));
        let error = with_journal(&cluster, &journal).create_group("g").unwrap_err();
        let Error::InDoubt { report, .. } = &error else { panic!("{refusal}: {error}") };
        assert_eq!(states(report), [State::Unknown, State::Absent], "{refusal}");
        assert!(error.to_string().contains(cluster.node(0).url().trim_start_matches("http://")), "{error}");
        assert_eq!((cluster.holders("g"), unfinished(&journal)), (vec![0], vec!["g".to_owned()]), "{refusal}");

        cluster.node(0).clear_faults();
        assert!(with_journal(&cluster, &journal).recover().unwrap().is_complete());
        assert!(cluster.none_has("g") && unfinished(&journal).is_empty(), "{refusal}");
    }
}

/// From the beginning of a rollback on, node 0 answers one DELETE and one GET as if it had missed the POST.
struct Lagging {
    cluster: Arc<Cluster>,
    status: u16,
}

impl Observer for Lagging {
    fn on_event(&self, event: &Event) {
        if matches!(event.kind, EventKind::Entered { phase: Phase::RollBack, .. }) {
            self.cluster.node(0).inject(Fault::answer(self.status).on(Method::Delete));
            self.cluster.node(0).inject(Fault::answer(404).on(Method::Get));
        }
    }
}

#[test]
fn rollback_checks_again_if_a_lagging_replica_answers_the_delete() {
    for status in [400, 404] {
        let cluster = Arc::new(Cluster::start(2).unwrap());
        cluster.node(1).inject(Fault::answer(403).on(Method::Post));
        let lagging = Arc::new(Lagging { cluster: Arc::clone(&cluster), status });
        let client = builder(cluster.urls()).observer(lagging).build().unwrap();
        let error = client.create_group("g").unwrap_err();
        assert!(matches!(error, Error::RolledBack { .. }), "{status}: {error}");
        assert!(cluster.none_has("g"), "{status}");
    }
}

#[test]
fn group_created_again_after_a_lost_delete_stays() {
    let cluster = Cluster::start(2).unwrap();
    let client = client(&cluster);
    client.create_group("g").unwrap();
    cluster.node(0).inject(Fault::drop_connection().applying_late(SETTLE / 2).on(Method::Delete));
    assert_eq!(client.delete_group("g").unwrap().undeleted().count(), 0);
    client.create_group("g").unwrap();
    let taken = cluster.node(0).wait_until(|node| !node.has("g"), 3 * SETTLE);
    assert!(!taken && cluster.all_have("g"), "the late DELETE took the new group");
}

#[test]
fn group_created_again_after_a_rollback_with_a_lost_delete_stays() {
    let cluster = Cluster::start(2).unwrap();
    let client = client(&cluster);
    cluster.node(0).inject(Fault::drop_connection().applying_late(SETTLE / 2).on(Method::Delete));
    cluster.node(1).inject(Fault::answer(403).on(Method::Post));
    assert!(matches!(client.create_group("g"), Err(Error::RolledBack { .. })));
    client.create_group("g").unwrap();
    let taken = cluster.node(0).wait_until(|node| !node.has("g"), 3 * SETTLE);
    assert!(!taken && cluster.all_have("g"), "the late DELETE took the new group");
}

#[test]
fn group_deleted_after_a_create_with_a_lost_post_stays_deleted() {
    let cluster = Cluster::start(2).unwrap();
    let client = client(&cluster);
    cluster.node(0).inject(Fault::drop_connection().applying_late(SETTLE / 2).on(Method::Post));
    client.create_group("g").unwrap();
    assert_eq!(client.delete_group("g").unwrap().undeleted().count(), 0);
    let back = cluster.node(0).wait_until(|node| node.has("g"), 3 * SETTLE);
    assert!(!back && cluster.none_has("g"), "the late POST made the group again");
}

#[test]
fn rollback_sends_at_most_the_deletes_of_its_policy() {
    let cluster = Cluster::start(2).unwrap();
    // Each DELETE is lost, and each look shows the group: the longest way that a rollback can take.
    cluster.node(0).inject(Fault::drop_connection().on(Method::Delete).always());
    cluster.node(1).inject(Fault::answer(403).on(Method::Post));
    let error = client(&cluster).create_group("g").unwrap_err();
    let Error::Incomplete { report, .. } = &error else { panic!("{error}") };
    assert_eq!(cluster.node(0).count(Method::Delete), 5);
    let deletes: Vec<_> = report.hosts[0].steps.iter().filter(|step| step.action == Action::Delete).collect();
    assert_eq!(deletes.iter().map(|step| step.attempts).collect::<Vec<_>>(), [5]);
    assert_eq!(cluster.holders("g"), [0]);
}

#[test]
fn deletes_without_effect_are_counted_over_all_checks() {
    let cluster = Cluster::start(1).unwrap();
    cluster.node(0).insert("g");
    cluster.node(0).inject(Fault::answer(200).on(Method::Delete).always());
    let deletion = client(&cluster).delete_group("g").unwrap();
    let kept: Vec<_> = deletion.undeleted().collect();
    assert_eq!((kept.len(), kept[0].state), (1, State::Present));
    assert_eq!(cluster.node(0).count(Method::Delete), 3, "three tries are the policy of a delete");
}

#[test]
fn repair_changes_no_host_of_another_cluster_in_the_same_journal() {
    let (staging, production) = (Cluster::start(2).unwrap(), Cluster::start(2).unwrap());
    let journal = tempfile::tempdir().unwrap();
    let on_staging = with_journal(&staging, &journal);
    on_staging.create_group("g").unwrap();
    staging.node(1).inject(Fault::answer(403).on(Method::Delete).always());
    assert_eq!(on_staging.delete_group("g").unwrap().undeleted().count(), 1);
    let before: Vec<_> = staging.nodes().iter().map(|node| node.log().len()).collect();

    for target in [Target::Present, Target::Absent] {
        let error = with_journal(&production, &journal).repair_group("g", target).unwrap_err();
        let Error::Conflict { report, .. } = &error else { panic!("{error}") };
        let Some(Cause::Conflict { unnamed, .. }) = &report.cause else { panic!("{report:?}") };
        assert_eq!(unnamed.iter().map(ToString::to_string).collect::<Vec<_>>(), [staging.node(1).url()]);
        assert!(error.to_string().contains(&staging.node(1).url()) && error.is_unchanged(), "{error}");
        assert!(!error.is_retryable());
    }
    assert_eq!(staging.nodes().iter().map(|node| node.log().len()).collect::<Vec<_>>(), before);
    assert!(production.none_has("g") && production.nodes().iter().all(|node| node.log().is_empty()));
    assert_eq!((staging.holders("g"), unfinished(&journal)), (vec![1], vec!["g".to_owned()]));

    staging.node(1).clear_faults();
    assert!(with_journal(&production, &journal).recover().unwrap().is_complete());
    assert!(staging.none_has("g"));
    let _ = with_journal(&production, &journal).repair_group("g", Target::Present).unwrap();
    assert!(production.all_have("g") && staging.none_has("g"));
}

#[test]
fn error_reports_the_changes_of_an_older_operations_recovery() {
    let cluster = Cluster::start(2).unwrap();
    let journal = tempfile::tempdir().unwrap();
    let client = with_journal(&cluster, &journal);
    leave_behind(&client, &cluster);
    // The recovery deletes the group on node 0; then the create finds a host that does not answer.
    cluster.node(0).inject(Fault::answer(200).after_applying().on(Method::Delete));
    let spared = Fault::answer(503).on(Method::Get);
    // The recovery looks at node 0 twice at most; after that its probes fail.
    cluster.node(0).inject(Fault::answer(404).on(Method::Get));
    cluster.node(0).inject(Fault::answer(404).on(Method::Get));
    cluster.node(0).inject(spared.always());
    let error = client.create_group("g").unwrap_err();
    let Error::Unavailable { report, .. } = &error else { panic!("{error}") };
    assert_eq!(report.earlier.as_ref().unwrap().outcome, Outcome::Recovered);
    assert!(!error.is_unchanged() && !error.to_string().contains("nothing was changed"), "{error}");
    assert!(cluster.none_has("g"));
}

#[test]
fn loop_over_retryable_errors_ends_after_cancel_and_time_out() {
    let cluster = Cluster::start(2).unwrap();
    cluster.node(1).inject(Fault::mute().always());
    let client = client(&cluster);
    let cancel = cluster_client::CancelToken::new();
    cancel.cancel();
    for call in [
        client.with(OperationOptions::new().cancel(&cancel)),
        client.with(OperationOptions::new().timeout(Duration::from_millis(50))),
    ] {
        let error = call.create_group("g").unwrap_err();
        assert!(matches!(error, Error::Cancelled { .. } | Error::TimedOut { .. }), "{error}");
        assert!(!error.is_retryable() && error.is_unchanged(), "{error}");
    }
    assert!(cluster.none_has("g"));
}

/// Gives the call up as soon as a host has answered.
struct CancelsAtFirstAnswer(cluster_client::CancelToken);

impl Observer for CancelsAtFirstAnswer {
    fn on_event(&self, event: &Event) {
        if matches!(event.kind, EventKind::Answered { .. }) {
            self.0.cancel();
        }
    }
}

#[test]
fn cancelled_repair_does_not_succeed_while_a_rollback_is_recorded() {
    let cluster = Cluster::start(2).unwrap();
    let journal = tempfile::tempdir().unwrap();
    leave_behind(&with_journal(&cluster, &journal), &cluster);
    cluster.node(1).insert("g");
    cluster.node(1).inject(Fault::delay(REQUEST_TIMEOUT / 2).on(Method::Get));
    let cancel = cluster_client::CancelToken::new();
    let observer = Arc::new(CancelsAtFirstAnswer(cancel.clone()));
    let client = builder(cluster.urls()).journal(journal.path()).observer(observer).build().unwrap();
    let error = client.with(OperationOptions::new().cancel(&cancel)).repair_group("g", Target::Present).unwrap_err();
    assert!(matches!(error, Error::Cancelled { .. }) && error.is_unchanged(), "{error}");
    assert_eq!(unfinished(&journal), ["g"]);
}

#[test]
fn call_without_time_sends_nothing_for_an_older_operation() {
    let cluster = Cluster::start(2).unwrap();
    let journal = tempfile::tempdir().unwrap();
    let client = with_journal(&cluster, &journal);
    leave_behind(&client, &cluster);
    let before: Vec<_> = cluster.nodes().iter().map(|node| node.log().len()).collect();
    let cancel = cluster_client::CancelToken::new();
    cancel.cancel();
    for call in [
        client.with(OperationOptions::new().timeout(Duration::ZERO)),
        client.with(OperationOptions::new().cancel(&cancel)),
    ] {
        for error in [
            call.create_group("g").unwrap_err(),
            call.delete_group("g").unwrap_err(),
            call.repair_group("g", Target::Absent).unwrap_err(),
            call.recover().unwrap().unsettled.remove(0),
        ] {
            assert!(matches!(error, Error::TimedOut { .. } | Error::Cancelled { .. }), "{error}");
            assert!(error.is_unchanged() && error.report().unwrap().recoverable, "{error}");
        }
    }
    assert_eq!(cluster.nodes().iter().map(|node| node.log().len()).collect::<Vec<_>>(), before);
    assert_eq!((cluster.holders("g"), unfinished(&journal)), (vec![0], vec!["g".to_owned()]));
}

#[test]
fn recovery_of_a_delete_has_time_beyond_the_operation_timeout() {
    let cluster = Cluster::start(2).unwrap();
    let journal = tempfile::tempdir().unwrap();
    // Long enough for the DELETEs of a loaded machine, and too short for what has to be waited for after a lost one.
    let (timeout, settle) = (Duration::from_secs(1), Duration::from_secs(2));
    let client = builder(cluster.urls()).journal(journal.path()).operation_timeout(timeout).settle(settle);
    let client = client.build().unwrap();
    cluster.node(0).insert("g");
    cluster.node(0).inject(Fault::drop_connection().on(Method::Delete).always());
    assert_eq!(client.delete_group("g").unwrap().undeleted().count(), 1);
    cluster.node(0).clear_faults();
    let recovery = client.recover().unwrap();
    assert!(recovery.is_complete(), "{:?}", recovery.unsettled);
    assert!(cluster.none_has("g") && unfinished(&journal).is_empty());
}

#[test]
fn delete_after_an_unfinished_repair_finds_the_group_behind_a_lagging_replica() {
    let cluster = Arc::new(Cluster::start(1).unwrap());
    let journal = tempfile::tempdir().unwrap();
    cluster.node(0).inject(Fault::answer(503).on(Method::Post).always());
    let _ = with_journal(&cluster, &journal).repair_group("g", Target::Present).unwrap_err();
    assert_eq!(unfinished(&journal), ["g"]);
    cluster.node(0).clear_faults();

    let lagging = Arc::new(LagsForDelete { cluster: Arc::clone(&cluster), made: Mutex::new(None) });
    let observer: Arc<dyn Observer> = lagging;
    let client = builder(cluster.urls()).journal(journal.path()).observer(observer).build().unwrap();
    let deletion = client.delete_group("g").unwrap();
    assert_eq!((deletion.undeleted().count(), cluster.holders("g")), (0, vec![]), "{:?}", deletion.report().earlier);
}

/// For less than the settle time after the group was made, a DELETE and the GET after it meet a replica that missed it.
struct LagsForDelete {
    cluster: Arc<Cluster>,
    made: Mutex<Option<Instant>>,
}

impl Observer for LagsForDelete {
    fn on_event(&self, event: &Event) {
        let mut made = self.made.lock().unwrap();
        match &event.kind {
            EventKind::Answered { action: Action::Create, .. } => *made = Some(Instant::now()),
            EventKind::Entered { phase: Phase::Delete, .. } if made.is_some_and(|made| made.elapsed() < SETTLE / 2) => {
                self.cluster.node(0).inject(Fault::answer(404).on(Method::Delete));
                self.cluster.node(0).inject(Fault::answer(404).on(Method::Get));
            }
            _ => {}
        }
    }
}

/// A wait for the settle time moves the deadline, which may be the last one that the clock can tell.
#[test]
fn longest_timeout_ends_no_operation() {
    let cluster = Cluster::start(2).unwrap();
    let client = client(&cluster).with(OperationOptions::new().timeout(Duration::MAX));
    cluster.node(0).inject(Fault::drop_connection().after_applying().on(Method::Post));
    client.create_group("g").unwrap();
    assert!(cluster.all_have("g"));
    cluster.node(0).inject(Fault::drop_connection().after_applying().on(Method::Delete));
    client.delete_group("g").unwrap().complete().unwrap();
    assert!(cluster.none_has("g"));
}
