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

use certify::Calls;
use cluster::Cluster;
use harness::Service;
use oracle::Oracle;

/// Asks with GET.
const GET: Oracle = Oracle { method: "GET", path: "", header: None, body: None, present: (200, ""), absent: (404, "") };

fn certify(preset: &str, calls: Calls, oracle: Oracle) {
    if let Some(cluster) = Cluster::of_preset(preset, oracle) {
        certify::certify(cluster, calls);
    }
}

#[test]
fn nginx_dav() {
    // Asks for the collection alone.
    let header = Some(("Depth", "0"));
    let present = (207, "<D:collection/>");
    let calls = Calls { create: "MKCOL /", exists: 405, delete: "DELETE /" };
    certify("nginx-dav", calls, Oracle { method: "PROPFIND", path: "/{id}/", header, present, ..GET });
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
    let calls = Calls { create: "POST /v3/kv/txn ", exists: 200, delete: "POST /v3/kv/deleterange " };
    certify("etcd-keys", calls, oracle);
}

#[test]
fn consul_kv() {
    let present = (200, r#""Key":"{id}""#);
    let calls = Calls { create: "PUT /v1/kv/", exists: 200, delete: "DELETE /v1/kv/" };
    certify("consul-kv", calls, Oracle { path: "/v1/kv/{id}?consistent", present, ..GET });
}

#[test]
fn couchdb() {
    let (present, absent) = ((200, r#""db_name":"{id}""#), (404, r#""error":"not_found""#));
    let calls = Calls { create: "PUT /", exists: 412, delete: "DELETE /" };
    certify("couchdb", calls, Oracle { path: "/{id}", present, absent, ..GET });
}

#[test]
fn jupyterhub() {
    let (present, absent) = ((200, r#""name": "{id}""#), (404, "No such group: {id}"));
    let oracle = Oracle { path: "/hub/api/groups/{id}", present, absent, ..GET };
    let Some(mut cluster) = Cluster::of_preset("jupyterhub", oracle) else { return };
    // JupyterHub's documentation writes `token` instead of `Bearer`.
    cluster.use_scheme("token");
    certify::command_does_everything(&cluster);
    cluster.use_own_scheme();
    let calls = Calls { create: "POST /hub/api/groups/", exists: 409, delete: "DELETE /hub/api/groups/" };
    certify::certify(cluster, calls);
}

#[test]
fn rabbitmq_vhosts() {
    let (present, absent) = ((200, r#""name":"{id}""#), (404, "Object Not Found"));
    let calls = Calls { create: "PUT /api/vhosts/", exists: 412, delete: "DELETE /api/vhosts/" };
    certify("rabbitmq-vhosts", calls, Oracle { path: "/api/vhosts/{id}", present, absent, ..GET });
}

/// The mapping of `services/shelves`, as its users would write it.
const SHELVES: &str = r#"
[api]
noun = "shelf"
ids = { chars = "a-z0-9-", max = 40 }

[api.create]
method = "POST"
path = "/shelves"
body = '{"name": {id|json}}'
created = ["200 /created=true"]
exists = ["200 /created=false"]

[api.check]
method = "GET"
path = "/shelves/{id}"
present = ["200 /name={id|json} /state=open"]
wait = ["200 /state=closing"]
absent = ['404 /error="no such shelf"']

[api.delete]
method = "DELETE"
path = "/shelves/{id}"
deleted = [202]
absent = [404]
"#;

#[test]
fn mapping_from_scratch_in_the_configuration() {
    let (present, absent) = ((200, r#""name": "{id}", "state": "open""#), (404, "no such shelf"));
    let oracle = Oracle { path: "/shelves/{id}", present, absent, ..GET };
    let Some(cluster) = Cluster::of_mapping("shelves", SHELVES, oracle) else { return };
    certify::command_does_everything(&cluster);
    cluster.end();
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
