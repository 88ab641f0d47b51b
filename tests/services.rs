//! Certifies the presets with the client and the command on real services, three instances of each.
//!
//! `SERVICES=all cargo test --all-features --test services` runs all of them, see `services/harness.rs`.
#![cfg(all(unix, feature = "cli"))]

#[path = "services/certify.rs"]
mod certify;
#[path = "services/cluster.rs"]
mod cluster;
#[path = "services/harness.rs"]
mod harness;
#[path = "services/oracle.rs"]
mod oracle;
#[path = "services/relay.rs"]
mod relay;

use cluster::Cluster;
use harness::Service;
use oracle::Oracle;

/// Asks with GET.
const GET: Oracle = Oracle { method: "GET", path: "", header: None, body: None, present: (200, ""), absent: (404, "") };

/// Certifies a preset. The request line of its create begins with `create`.
fn certify(preset: &str, create: &str, oracle: Oracle) {
    if let Some(cluster) = Cluster::of_preset(preset, oracle) {
        certify::certify(cluster, create);
    }
}

#[test]
fn nginx_dav() {
    // Asks for the collection alone.
    let header = Some(("Depth", "0"));
    let present = (207, "<D:collection/>");
    certify("nginx-dav", "MKCOL /", Oracle { method: "PROPFIND", path: "/{id}/", header, present, ..GET });
}

#[test]
fn etcd_keys() {
    let oracle = Oracle {
        method: "POST",
        path: "/v3/kv/range",
        header: None,
        body: Some(r#"{"key":"{base64}"}"#),
        present: (200, r#""kvs":[{"key":"{base64}""#),
        absent: (200, "!kvs"),
    };
    certify("etcd-keys", "POST /v3/kv/txn ", oracle);
}

#[test]
fn consul_kv() {
    let present = (200, r#""Key":"{id}""#);
    certify("consul-kv", "PUT /v1/kv/", Oracle { path: "/v1/kv/{id}?consistent", present, ..GET });
}

#[test]
fn couchdb() {
    let (present, absent) = ((200, r#""db_name":"{id}""#), (404, r#""error":"not_found""#));
    certify("couchdb", "PUT /", Oracle { path: "/{id}", present, absent, ..GET });
}

#[test]
fn jupyterhub() {
    let (present, absent) = ((200, r#""name": "{id}""#), (404, "No such group: {id}"));
    certify("jupyterhub", "POST /hub/api/groups/", Oracle { path: "/hub/api/groups/{id}", present, absent, ..GET });
}

#[test]
fn rabbitmq_vhosts() {
    let (present, absent) = ((200, r#""name":"{id}""#), (404, "Object Not Found"));
    certify("rabbitmq-vhosts", "PUT /api/vhosts/", Oracle { path: "/api/vhosts/{id}", present, absent, ..GET });
}

/// A service leaves no process and no file, whether its test ends it or only drops it.
#[test]
fn end_of_a_service_leaves_nothing() {
    let Some(installed) = Service::start("nginx-dav") else { return };
    drop(installed);
    let directory = tempfile::tempdir().unwrap();
    let files = || std::fs::read_dir(directory.path()).unwrap().count();
    let service = Service::run("nginx-dav", &["--installed"], |command| {
        command.env("TMPDIR", directory.path());
    });
    let service = service.unwrap();
    assert_eq!(files(), 1);
    let urls: Vec<String> = service.instances.iter().map(|instance| instance.url.clone()).collect();
    drop(service);
    assert_eq!(files(), 0);
    for url in urls {
        let refused = std::net::TcpStream::connect(url.trim_start_matches("http://"));
        assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    }
}

#[test]
fn script_says_why_a_service_cannot_be_had() {
    let empty = tempfile::tempdir().unwrap();
    let result = Service::run("jupyterhub", &["--installed"], |command| {
        command.env("CARGO_TARGET_DIR", empty.path());
    });
    let reason = result.err().expect("jupyterhub is not installed in an empty directory");
    // The words of the harness, if there is no Python.
    assert!(
        reason == "jupyterhub is not installed, and --installed was given" || reason.starts_with("python3 "),
        "{reason}"
    );
}

#[test]
fn services_are_chosen_by_the_environment() {
    let installed: Result<&[&str], &str> = Ok(&["--installed"]);
    assert_eq!(harness::wanted("nginx-dav", None), installed);
    assert_eq!(harness::wanted("nginx-dav", Some("")), installed);
    assert_eq!(harness::wanted("jupyterhub", None), Err("it starts slowly; SERVICES=all runs it"));
    assert_eq!(harness::wanted("jupyterhub", Some("all")), Ok(&[][..]));
    assert_eq!(harness::wanted("jupyterhub", Some("etcd-keys, jupyterhub")), Ok(&[][..]));
    assert_eq!(harness::wanted("nginx-dav", Some("etcd-keys")), Err("SERVICES does not name it"));
    assert!(std::panic::catch_unwind(|| harness::wanted("nginx-dav", Some("nginx"))).is_err());
}
