//! The examples do what they say, against real nodes.
#![cfg(feature = "testing")]

use std::path::Path;
use std::process::{Command, Output};

use cluster_client::testing::Cluster;

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
fn a_build_script_creates_its_group_before_the_crate_is_built() {
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
