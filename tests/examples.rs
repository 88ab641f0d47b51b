//! The examples do what they say, against real nodes.
#![cfg(feature = "testing")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cluster_client::testing::{Cluster, Fault, Method, Node};

/// Returns cargo for the crate of an example. All of them share what they build.
fn cargo(command: &str, example: &str) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args([
            command,
            "--quiet",
            "--locked",
            "--offline",
            "--manifest-path",
            &format!("examples/{example}/Cargo.toml"),
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("CARGO_TARGET_DIR", target());
    cargo
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples")
}

#[test]
fn build_script_creates_its_group_before_the_crate_is_built() {
    let cluster = Cluster::start(2).unwrap();
    let built = cargo("run", "build_script").env("HOSTS", cluster.urls().join(",")).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    assert_eq!(built.stdout, b"built with the group build-example on every host\n");
    assert!(cluster.all_have("build-example"));

    let refused = cargo("build", "build_script").env("HOSTS", "node1:8000").output().unwrap();
    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && stderr.contains("write http://node1:8000"), "{stderr}");
}

/// The answers of a hub to the check, create and check of a create.
fn answer_as_a_hub(node: &Node, group: &str) {
    for (method, status, body) in [
        (Method::Get, "404 Not Found", format!(r#"{{"status": 404, "message": "No such group: {group}"}}"#)),
        (Method::Post, "201 Created", String::new()),
        (Method::Get, "200 OK", format!(r#"{{"kind": "group", "name": "{group}"}}"#)),
    ] {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        node.inject(Fault::raw(answer).on(method));
    }
}

#[test]
fn jupyterhub_creates_its_group_and_explains_each_failure() {
    let built = cargo("build", "jupyterhub").output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hub.token"), "0123456789abcdef\n").unwrap();
    let run = |hubs: &str, token: &str| {
        let mut command = Command::new(target().join("debug/jupyterhub-example"));
        command.arg("students").current_dir(&folder).env("HUBS", hubs).env("HUB_TOKEN_FILE", token);
        let ran = command.output().unwrap();
        let [stdout, stderr] = [ran.stdout, ran.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        (ran.status.code(), stdout, stderr)
    };
    let cluster = Cluster::start(2).unwrap();
    let hubs = cluster.urls().join(",");
    cluster.nodes().iter().for_each(|node| answer_as_a_hub(node, "students"));
    assert_eq!(run(&hubs, "hub.token"), (Some(0), "students is on 2 of 2 hosts\n".into(), String::new()));
    for node in cluster.nodes() {
        let sent: Vec<Method> = node.log().iter().map(|entry| entry.method).collect();
        assert_eq!(sent, [Method::Get, Method::Post, Method::Get]);
    }

    // The node is no hub: its 404 has another body, so the check proves nothing.
    let (code, _, stderr) = run(&hubs, "hub.token");
    assert!(code == Some(1) && stderr.contains("unknown") && stderr.contains("accepts the token"), "{stderr}");
    let (code, _, stderr) = run(&hubs, "no.token");
    assert!(code == Some(1) && stderr.contains("\"no.token\"") && stderr.contains("correct that value"), "{stderr}");
    assert!(cluster.none_has("students"));
}

/// `cargo test` builds the examples beside the tests.
fn example(name: &str, hosts: &str) -> Output {
    let tests = std::env::current_exe().unwrap();
    let built = tests.ancestors().nth(2).unwrap().join("examples").join(name);
    Command::new(&built).env("HOSTS", hosts).output().unwrap_or_else(|error| panic!("{}: {error}", built.display()))
}

#[test]
fn create_and_delete_removes_the_group_and_prints_each_host() {
    let cluster = Cluster::start(2).unwrap();
    let run = example("create_and_delete", &cluster.urls().join(","));
    let (stdout, stderr) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{stderr}");
    assert!(stdout.contains("example-group is on 2 of 2 hosts") && stdout.contains("absent on 2 of 2"), "{stdout}");
    assert!(cluster.none_has("example-group"));
    assert_eq!(cluster.nodes().iter().map(|node| node.count(Method::Post)).sum::<u64>(), 2);
}

#[test]
fn custom_observer_counts_the_requests() {
    let run = example("custom_observer", "");
    let (stdout, stderr) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{stderr}");
    assert!(stdout.contains("10 requests, of which 1 retried"), "{stdout}");
}
