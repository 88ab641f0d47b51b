//! Certifies a preset: all operations of the client and of the command on three instances, and instances that fail.
//! After each step, every living instance is asked directly.

use cluster_client::{
    Action, Credentials, Engine, Error, HostReport, OperationOptions, Outcome, Report, State, Target,
};

use crate::cluster::Cluster;
use crate::relay::Relay;

const ENGINES: [Engine; 2] = [Engine::Threads, Engine::Multiplexed];
const NONE: [bool; 3] = [false; 3];
const ALL: [bool; 3] = [true; 3];

/// Certifies the preset of a cluster, and ends its service. The request line of a create begins with `create`, and
/// `exists` is the status of an answer that the thing is there.
pub(crate) fn certify(cluster: Cluster, create: &str, exists: u16) {
    for engine in ENGINES {
        client_does_everything(&cluster, engine, exists);
        create_with_a_paused_instance_is_undone(&cluster, engine, create);
    }
    command_does_everything(&cluster);
    killed_command_is_recovered(&cluster, create);
    if cluster.has_login() {
        wrong_credentials_change_nothing(&cluster);
    }
    // Ends the last instance, so it comes last.
    ended_instance_keeps_the_others_clean(&cluster, create);
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

/// One instance gets its create, and does nothing until the client has given up.
fn create_with_a_paused_instance_is_undone(cluster: &Cluster, engine: Engine, create: &str) {
    let paused = cluster.instance(1);
    let relay = Relay::before(&paused.url);
    let client = cluster.client(engine, &cluster.urls_with(1, relay.url())).build().unwrap();
    relay.before_request(create, {
        let paused = paused.clone();
        move || paused.pause()
    });
    let result = client.create_group("paused");
    let left = [cluster.has(0, "paused"), cluster.has(2, "paused")];
    paused.resume();
    let error = result.unwrap_err();
    assert!(matches!(error, Error::InDoubt { .. }) && error.is_recoverable(), "{error}");
    assert_eq!(states(error.report().unwrap()), [State::Absent, State::Unknown, State::Absent], "{error}");
    assert_eq!(left, [false; 2]);
    // The requests that waited in the paused instance are still to come.
    let recovery = client.recover().unwrap();
    assert!(recovery.is_complete() && recovery.settled.len() == 1, "{recovery:?}");
    cluster.assert_holders("paused", NONE);
    assert_eq!(client.create_group("paused").unwrap().outcome, Outcome::Created);
    cluster.assert_holders("paused", ALL);
    assert_eq!(client.delete_group("paused").unwrap().report().outcome, Outcome::Deleted);
    cluster.assert_holders("paused", NONE);
}

/// The command is killed when two instances have the thing, and the third still has the request before it.
fn killed_command_is_recovered(cluster: &Cluster, create: &str) {
    let paused = cluster.instance(1);
    let relay = Relay::before(&paused.url);
    let hosts = cluster.urls_with(1, relay.url()).join(",");
    relay.before_request(create, {
        let paused = paused.clone();
        move || paused.pause()
    });
    let command = cluster.start_command(&["create", "killed", "--hosts", &hosts, "--request-timeout", "60s"]);
    cluster.await_thing(0, "killed");
    cluster.await_thing(2, "killed");
    relay.await_action();
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
fn ended_instance_keeps_the_others_clean(cluster: &Cluster, create: &str) {
    let ended = cluster.instance(2);
    let relay = Relay::before(&ended.url);
    let hosts = cluster.urls_with(2, relay.url()).join(",");
    relay.before_request(create, {
        let ended = ended.clone();
        move || ended.kill()
    });
    let assert_clean = |id: &str| assert_eq!([cluster.has(0, id), cluster.has(1, id)], [false; 2], "{id}");
    cluster.run(&["create", "ended", "--hosts", &hosts], 4);
    relay.await_action();
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
