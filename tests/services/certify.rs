//! Certifies a preset: all operations of the client and of the command on three instances, and instances that fail.
//! After each step, every living instance is asked directly.

use cluster_client::{
    Action, ClusterClient, Credentials, Engine, Error, HostReport, OperationOptions, Outcome, Report, State, Target,
};

use crate::cluster::Cluster;
use crate::harness::Instance;
use crate::relay::Relay;

const ENGINES: [Engine; 2] = [Engine::Threads, Engine::Multiplexed];
const NONE: [bool; 3] = [false; 3];
const ALL: [bool; 3] = [true; 3];

/// The requests of the mapping, as an instance receives them.
#[derive(Clone, Copy)]
pub(crate) struct Calls {
    /// The beginning of the request line of a create.
    pub(crate) create: &'static str,
    /// The status of the answer that the thing exists.
    pub(crate) exists: u16,
    /// The beginning of the request line of a delete.
    pub(crate) delete: &'static str,
}

/// Certifies the preset of a cluster, and ends its service.
pub(crate) fn certify(cluster: Cluster, calls: Calls) {
    for engine in ENGINES {
        client_does_everything(&cluster, engine, calls.exists);
        paused_instance_is_in_doubt(&cluster, engine, calls);
    }
    resumed_instance_is_rolled_back(&cluster, Engine::Multiplexed, calls);
    command_does_everything(&cluster);
    for engine in ["threads", "multiplexed"] {
        killed_command_is_recovered(&cluster, engine, calls);
    }
    if cluster.has_login() {
        wrong_credentials_change_nothing(&cluster);
    }
    // Ends the last instance, so it comes last.
    ended_instance_keeps_the_others_clean(&cluster, calls);
    cluster.end();
}

fn states(report: &Report) -> [State; 3] {
    [0, 1, 2].map(|host| report.hosts[host].state)
}

fn client_does_everything(cluster: &Cluster, engine: Engine, exists: u16) {
    let client = cluster.client(engine, &cluster.urls()).build().unwrap();
    cluster.assert_holders("one", NONE);
    assert_eq!(states(&client.group_status("one").unwrap()), [State::Absent; 3]);
    assert_eq!(client.create_group("one").unwrap().outcome, Outcome::Created);
    cluster.assert_holders("one", ALL);
    assert_eq!(states(&client.group_status("one").unwrap()), [State::Present; 3]);
    let again = client.create_group("one").unwrap_err();
    assert!(matches!(again, Error::AlreadyExists { .. }), "{again}");
    // Asks nobody first, so the create itself must not overwrite.
    let blind = client.with(OperationOptions::new().preflight(false)).create_group("one").unwrap_err();
    assert!(matches!(blind, Error::AlreadyExists { .. }), "{blind}");
    let refused = |host: &HostReport| host.steps.iter().any(|step| step.status == Some(exists) && !step.succeeded);
    assert!(blind.report().unwrap().hosts.iter().any(refused), "{blind:?}");
    cluster.assert_holders("one", ALL);
    for _again in 0..2 {
        assert_eq!(client.delete_group("one").unwrap().report().outcome, Outcome::Deleted);
        cluster.assert_holders("one", NONE);
    }
    // One host of three.
    let lone = cluster.client(engine, &cluster.urls()[..1]).build().unwrap();
    assert_eq!(lone.create_group("one").unwrap().outcome, Outcome::Created);
    let mixed = [State::Present, State::Absent, State::Absent];
    assert_eq!(states(&client.group_status("one").unwrap()), mixed);
    let refused = client.create_group("one").unwrap_err();
    assert!(matches!(refused, Error::AlreadyExists { .. }), "{refused}");
    cluster.assert_holders("one", [true, false, false]);
    for (target, holders) in [(Target::Present, ALL), (Target::Absent, NONE)] {
        assert_eq!(client.repair_group("one", target).unwrap().outcome, Outcome::Repaired);
        cluster.assert_holders("one", holders);
    }
}

pub(crate) fn command_does_everything(cluster: &Cluster) {
    let told = cluster.run(&["probe", "two", "--yes"], 0);
    assert!(told.contains("\ncertified: "), "{told}");
    cluster.assert_holders("two", NONE);
    cluster.run(&["status", "two"], 1);
    cluster.run(&["create", "two"], 0);
    cluster.assert_holders("two", ALL);
    cluster.run(&["status", "two"], 0);
    for options in [&["create", "two"][..], &["create", "two", "--no-preflight"]] {
        cluster.run(options, 5);
        cluster.assert_holders("two", ALL);
    }
    for _again in 0..2 {
        cluster.run(&["delete", "two", "--yes"], 0);
        cluster.assert_holders("two", NONE);
    }
    cluster.run(&["create", "two", "--hosts", &cluster.urls()[2]], 0);
    cluster.run(&["status", "two"], 3);
    cluster.run(&["create", "two"], 5);
    cluster.assert_holders("two", [false, false, true]);
    for (target, holders) in [("present", ALL), ("absent", NONE)] {
        cluster.run(&["repair", "two", "--to", target], 0);
        cluster.assert_holders("two", holders);
    }
    let told = cluster.run(&["recover"], 0);
    assert!(told.contains("nothing to recover"), "{told}");
}

/// A relay that pauses an instance just before it gets a create.
fn pausing(instance: &Instance, calls: Calls) -> Relay {
    let relay = Relay::before(&instance.url);
    let paused = instance.clone();
    relay.before_request(calls.create, move || paused.pause());
    relay
}

/// A client of the instances, with a relay before the second one. It gives up soon.
fn hasty(cluster: &Cluster, engine: Engine, relay: &Relay) -> ClusterClient {
    let timeout = cluster.short_timeout();
    let client = cluster.client(engine, &cluster.urls_with(1, relay.url()));
    client.request_timeout(timeout).rollback_timeout(timeout * 6).build().unwrap()
}

/// The instance gets all requests of a create and its rollback, and does nothing until the client has given up.
fn paused_instance_is_in_doubt(cluster: &Cluster, engine: Engine, calls: Calls) {
    let paused = cluster.instance(1);
    let relay = pausing(paused, calls);
    let client = hasty(cluster, engine, &relay);
    let result = client.create_group("paused");
    let left = [cluster.has(0, "paused"), cluster.has(2, "paused")];
    paused.resume();
    let error = result.unwrap_err();
    assert!(matches!(error, Error::InDoubt { .. }) && error.is_recoverable(), "{error}");
    assert_eq!(states(error.report().unwrap()), [State::Absent, State::Unknown, State::Absent], "{error}");
    assert_eq!(left, [false; 2]);
    let recovery = client.recover().unwrap();
    assert!(recovery.is_complete() && recovery.settled.len() == 1, "{recovery:?}");
    cluster.assert_holders("paused", NONE);
}

/// The instance gets a create, and does it only when the rollback comes.
fn resumed_instance_is_rolled_back(cluster: &Cluster, engine: Engine, calls: Calls) {
    let paused = cluster.instance(1);
    let relay = pausing(paused, calls);
    let resumed = paused.clone();
    relay.before_request(calls.delete, move || resumed.resume());
    let error = hasty(cluster, engine, &relay).create_group("resumed").unwrap_err();
    assert!(matches!(error, Error::RolledBack { .. }), "{error}");
    cluster.assert_holders("resumed", NONE);
}

/// The command is killed when two instances have the thing, and the third still has the request before it.
fn killed_command_is_recovered(cluster: &Cluster, engine: &str, calls: Calls) {
    let paused = cluster.instance(1);
    let relay = pausing(paused, calls);
    let hosts = cluster.urls_with(1, relay.url()).join(",");
    let patient = ["--request-timeout", "60s", "--engine", engine];
    let command = cluster.start_command(&[&["create", "killed", "--hosts", &hosts], &patient[..]].concat());
    cluster.await_thing(0, "killed");
    cluster.await_thing(2, "killed");
    relay.await_actions();
    command.kill();
    paused.resume();
    let told = cluster.run(&["recover", "--hosts", &hosts], 0);
    assert!(told.contains("killed is settled: absent on 3 of 3 hosts"), "{told}");
    cluster.assert_holders("killed", NONE);
    let told = cluster.run(&["recover"], 0);
    assert!(told.contains("nothing to recover"), "{told}");
}

fn wrong_credentials_change_nothing(cluster: &Cluster) {
    cluster.write("wrong", "wrong");
    let wrong = ["--bearer-token-file", "wrong"];
    cluster.run(&[&["status", "three"], &wrong[..]].concat(), 4);
    cluster.run(&[&["create", "three"], &wrong[..]].concat(), 1);
    for engine in ENGINES {
        let client = cluster.client(engine, &cluster.urls()).credentials(Credentials::new()).build().unwrap();
        assert_eq!(states(&client.group_status("three").unwrap()), [State::Unknown; 3]);
        let error = client.create_group("three").unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    }
    cluster.assert_holders("three", NONE);
}

/// An instance ends just before its create. Later creates find it ended.
fn ended_instance_keeps_the_others_clean(cluster: &Cluster, calls: Calls) {
    let ended = cluster.instance(2);
    let relay = Relay::before(&ended.url);
    let hosts = cluster.urls_with(2, relay.url()).join(",");
    let ending = ended.clone();
    relay.before_request(calls.create, move || ending.kill());
    let assert_clean = |id: &str| assert_eq!([cluster.has(0, id), cluster.has(1, id)], [false; 2], "{id}");
    cluster.run(&["create", "ended", "--hosts", &hosts], 4);
    relay.await_actions();
    assert_clean("ended");
    cluster.run(&["create", "later"], 1);
    for engine in ENGINES {
        let client = cluster.client(engine, &cluster.urls()).build().unwrap();
        let error = client.create_group("later").unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
        assert_clean("later");
        // Without the preflight, the others have the thing for a moment.
        let error = client.with(OperationOptions::new().preflight(false)).create_group("blind").unwrap_err();
        let report = error.report().unwrap();
        for living in &report.hosts[..2] {
            let created = living.steps.iter().any(|step| step.action == Action::Create && step.succeeded);
            assert!(created && living.state == State::Absent, "{error}: {living:?}");
        }
        assert_clean("blind");
    }
}
