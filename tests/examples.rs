//! The examples do what they say, against real nodes.
#![cfg(feature = "testing")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cluster_client::testing::{Cluster, Fault, Method, Node};

/// The crates of their own build into this directory.
fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples")
}

/// Runs cargo on a crate of its own. Its lock file names the versions that this crate has, so nothing is downloaded.
fn cargo(command: &str, example: &str, hosts: &str) -> Output {
    Command::new(env!("CARGO"))
        .args([command, "--locked", "--offline", "--manifest-path"])
        .arg(format!("examples/{example}/Cargo.toml"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("HOSTS", hosts)
        .env("CARGO_TARGET_DIR", target())
        .output()
        .unwrap()
}

#[test]
fn build_script_creates_its_group_before_the_crate_is_built() {
    let cluster = Cluster::start(2).unwrap();
    let built = cargo("run", "build_script", &cluster.urls().join(","));
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    assert_eq!(built.stdout, b"built with the group build-example on every host\n");
    assert!(cluster.all_have("build-example"));

    let stderr = String::from_utf8_lossy(&built.stderr).into_owned();
    assert!(!stderr.contains("warning:"), "{stderr}");
    assert_eq!(printed_by_the_build_script(), ["cargo::rerun-if-env-changed=HOSTS"]);

    let refused = cargo("build", "build_script", "node1:8000");
    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && stderr.contains("write http://node1:8000"), "{stderr}");

    // A host that fails is a warning that names it.
    let cluster = Cluster::start(2).unwrap();
    cluster.node(1).stop();
    let failed = cargo("build", "build_script", &cluster.urls().join(","));
    let stderr = String::from_utf8_lossy(&failed.stderr).into_owned();
    let warning = format!("warning: build-script-example@0.0.0: {}: build-example is unknown (", cluster.urls()[1]);
    assert!(!failed.status.success() && stderr.contains(&warning), "{stderr}");
    assert!(stderr.contains("error: build-script-example@0.0.0: nothing was changed for build-example"), "{stderr}");
}

/// Returns the lines that the build script printed when it last ran with success. cargo keeps them.
fn printed_by_the_build_script() -> Vec<String> {
    let builds = std::fs::read_dir(target().join("debug/build")).unwrap().map(|build| build.unwrap().path());
    let is_ours = |build: &PathBuf| build.file_name().unwrap().to_string_lossy().starts_with("build-script-example-");
    let outputs = builds.filter(is_ours).map(|build| build.join("output")).filter(|output| output.exists());
    let last = outputs.max_by_key(|output| output.metadata().unwrap().modified().unwrap()).unwrap();
    std::fs::read_to_string(last).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn tests_of_a_crate_of_a_user_pass_on_the_embedded_cluster() {
    let tested = cargo("test", "tested_service", "");
    let (stdout, stderr) = (String::from_utf8_lossy(&tested.stdout), String::from_utf8_lossy(&tested.stderr));
    assert!(tested.status.success(), "{stdout}{stderr}");
    assert!(stdout.contains("test journal_keeps_the_contract ... ok") && stdout.contains("5 passed"), "{stdout}");
    assert!(!stderr.contains("warning:"), "{stderr}");
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
    let built = cargo("build", "jupyterhub", "");
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

#[test]
fn prometheus_prints_counters_and_histograms_of_the_operations() {
    let run = example("prometheus", "");
    let (stdout, stderr) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{stderr}");
    let lines: Vec<&str> = stdout.lines().collect();
    let count = |start: &str, labels: &[&str]| -> u64 {
        let is_one = |line: &&&str| line.starts_with(start) && labels.iter().all(|label| line.contains(label));
        lines.iter().filter(is_one).map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    };
    let requests = "cluster_client_requests_total{";
    assert_eq!(count(requests, &["action=\"create\"", "result=\"503\""]), 1, "{stdout}");
    assert_eq!(count(requests, &["action=\"create\"", "result=\"closed\""]), 1, "{stdout}");
    assert_eq!(count("cluster_client_retries_total{", &["action=\"create\""]), 2, "{stdout}");
    assert_eq!(count("cluster_client_operations_total{", &["operation=\"create\"", "outcome=\"created\""]), 1);
    assert_eq!(count("cluster_client_operations_total{", &["outcome=\"observed\""]), 1, "{stdout}");
    assert_eq!(count("cluster_client_request_seconds_count{", &[]), count(requests, &[]), "{stdout}");
    let least = 50 * count(requests, &[]);
    assert!((least..10 * least).contains(&count("cluster_client_sent_bytes_total{", &[])), "{stdout}");
    assert!(count("cluster_client_received_bytes_total{", &[]) > least / 2, "{stdout}");
    assert!(lines.contains(&"# TYPE cluster_client_requests_total counter"), "{stdout}");
}

#[test]
fn spans_nest_the_answers_in_their_operation_and_its_caller() {
    let run = example("spans", "");
    let (stdout, stderr) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{stderr}");
    let lost = stdout.lines().find(|line| line.contains("error=\"closed\"")).unwrap_or_else(|| panic!("{stdout}"));
    assert!(lost.contains("WARN request{path=\"/signup\"}:operation{id=") && lost.contains("attempt=1"), "{lost}");
    let closed = stdout.lines().find(|line| line.contains(": close time") && line.contains("operation{")).unwrap();
    assert!(closed.contains("outcome=\"created\"") && closed.contains("group=\"payments\""), "{closed}");
    assert!(stdout.lines().any(|line| line.contains("status=201") && line.contains("action=\"create\"")), "{stdout}");
}

#[test]
fn progress_bar_ends_with_all_hosts() {
    let run = example("progress_bar", "");
    let stderr = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success(), "{stderr}");
    assert_eq!(run.stdout, b"payments is on 5 of 5 hosts\n");
    let frames: Vec<&str> = stderr.split('\r').collect();
    assert!(
        frames.len() > 3 && frames.iter().any(|frame| frame.contains(" create ") && frame.contains("/5 127.0.0.1:"))
    );
    assert!(!frames.last().unwrap().contains("127.0.0.1:"), "{stderr}");
}
