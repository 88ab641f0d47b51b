//! The examples do what they say, against real nodes.
#![cfg(feature = "testing")]

use std::path::Path;
use std::process::{Command, Output};

use cluster_client::testing::{Cluster, Method};

fn cargo(arguments: &[&str], hosts: &str) -> Output {
    Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("HOSTS", hosts)
        .env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples"))
        .output()
        .unwrap()
}

#[test]
fn build_script_creates_its_group_before_the_crate_is_built() {
    let cluster = Cluster::start(2).unwrap();
    let manifest = "examples/build_script/Cargo.toml";
    let built = cargo(&["run", "--quiet", "--manifest-path", manifest], &cluster.urls().join(","));
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    assert_eq!(built.stdout, b"built with the group build-example on every host\n");
    assert!(cluster.all_have("build-example"));

    let refused = cargo(&["build", "--quiet", "--manifest-path", manifest], "node1:8000");
    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && stderr.contains("write http://node1:8000"), "{stderr}");
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
