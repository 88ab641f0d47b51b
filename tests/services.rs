//! Real services that the presets are for, three instances of each, spoken to in plain HTTP: what a preset takes for
//! granted about an answer is shown here.
//!
//! `SERVICES=all cargo test --all-features --test services` runs all of them, see `services/harness.rs`.
#![cfg(unix)]

#[path = "services/harness.rs"]
mod harness;

use std::time::Duration;

use harness::Service;

/// Bounds an answer of a service that works.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a paused service is waited for. Any of them answers within milliseconds.
const PAUSE: Duration = Duration::from_millis(300);

#[derive(Clone, Copy, Debug)]
struct Request {
    method: &'static str,
    path: &'static str,
    header: Option<(&'static str, &'static str)>,
    body: Option<&'static str>,
}

/// A status, and a text that the body contains, or with `!` before it does not contain.
type Answer = (u16, &'static str);

/// The requests about one thing, and their answers.
struct Api {
    create: Request,
    check: Request,
    delete: Request,
    created: Answer,
    exists: Answer,
    present: Answer,
    absent: Answer,
    deleted: Answer,
    was_absent: Answer,
}

fn request(method: &'static str, path: &'static str) -> Request {
    Request { method, path, header: None, body: None }
}

fn send(service: &Service, instance: usize, request: Request, timeout: Duration) -> Result<(u16, String), ureq::Error> {
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .timeout_global(Some(timeout))
        .build()
        .new_agent();
    let url = format!("{}{}", service.instances[instance].url, request.path);
    let mut head = ureq::http::Request::builder().method(request.method).uri(url);
    for (name, value) in &service.headers {
        head = head.header(name, value);
    }
    if let Some((name, value)) = request.header {
        head = head.header(name, value);
    }
    let mut answer = match request.body {
        Some(body) => agent.run(head.header("Content-Type", "application/json").body(body).unwrap())?,
        None => agent.run(head.body(()).unwrap())?,
    };
    let text = answer.body_mut().read_to_string()?;
    Ok((answer.status().as_u16(), text))
}

#[track_caller]
fn assert_answer(service: &Service, instance: usize, request: Request, (status, text): Answer) {
    let answer = send(service, instance, request, PATIENCE).unwrap();
    let holds = text.strip_prefix('!').map_or_else(|| answer.1.contains(text), |text| !answer.1.contains(text));
    let expected = answer.0 == status && holds;
    assert!(expected, "{request:?} to instance {instance}: {answer:?}, not {status} {text}");
}

/// Every answer on every instance, and that each instance stands alone, can be paused, and can be ended.
fn certify(name: &str, api: &Api) {
    let Some(service) = Service::start(name) else { return };
    for instance in 0..3 {
        assert_answer(&service, instance, api.check, api.absent);
        assert_answer(&service, instance, api.delete, api.was_absent);
        assert_answer(&service, instance, api.create, api.created);
        assert_answer(&service, instance, api.check, api.present);
        assert_answer(&service, instance, api.create, api.exists);
        for other in instance + 1..3 {
            assert_answer(&service, other, api.check, api.absent);
        }
    }
    let paused = &service.instances[1];
    paused.pause();
    let answer = send(&service, 1, api.check, PAUSE);
    paused.resume();
    assert!(matches!(answer, Err(ureq::Error::Timeout(_))), "{answer:?}");
    for instance in 0..3 {
        assert_answer(&service, instance, api.check, api.present);
        assert_answer(&service, instance, api.delete, api.deleted);
        assert_answer(&service, instance, api.check, api.absent);
        assert_answer(&service, instance, api.delete, api.was_absent);
    }
    service.instances[2].kill();
    let answer = send(&service, 2, api.check, PATIENCE);
    assert!(matches!(answer, Err(ureq::Error::Io(_) | ureq::Error::ConnectionFailed)), "{answer:?}");
    assert_answer(&service, 0, api.check, api.absent);
    assert!(service.end().success());
}

#[test]
fn nginx_dav() {
    certify(
        "nginx-dav",
        &Api {
            create: request("MKCOL", "/one/"),
            // Asks for the collection alone. A DELETE refuses this header.
            check: Request { header: Some(("Depth", "0")), ..request("PROPFIND", "/one/") },
            delete: request("DELETE", "/one/"),
            created: (201, ""),
            exists: (405, ""),
            present: (207, "<D:collection/>"),
            absent: (404, ""),
            deleted: (204, ""),
            was_absent: (404, ""),
        },
    );
}

#[test]
fn etcd_keys() {
    const KEY: Option<&str> = Some(r#"{"key":"b25l"}"#);
    const PUT_IF_NEW: &str = r#"{"compare":[{"target":"CREATE","result":"EQUAL","key":"b25l","create_revision":"0"}],
        "success":[{"request_put":{"key":"b25l"}}]}"#;
    certify(
        "etcd-keys",
        &Api {
            create: Request { body: Some(PUT_IF_NEW), ..request("POST", "/v3/kv/txn") },
            check: Request { body: KEY, ..request("POST", "/v3/kv/range") },
            delete: Request { body: KEY, ..request("POST", "/v3/kv/deleterange") },
            created: (200, r#""succeeded":true"#),
            exists: (200, "!succeeded"),
            present: (200, r#""kvs":[{"key":"b25l""#),
            absent: (200, "!kvs"),
            deleted: (200, r#""deleted":"1""#),
            was_absent: (200, "!deleted"),
        },
    );
}

#[test]
fn consul_kv() {
    certify(
        "consul-kv",
        &Api {
            create: request("PUT", "/v1/kv/one?cas=0"),
            check: request("GET", "/v1/kv/one?consistent"),
            delete: request("DELETE", "/v1/kv/one"),
            created: (200, "true"),
            exists: (200, "false"),
            present: (200, r#""Key":"one""#),
            absent: (404, ""),
            deleted: (200, "true"),
            was_absent: (200, "true"),
        },
    );
}

#[test]
fn couchdb() {
    certify(
        "couchdb",
        &Api {
            create: request("PUT", "/one"),
            check: request("GET", "/one"),
            delete: request("DELETE", "/one"),
            created: (201, r#""ok":true"#),
            exists: (412, r#""error":"file_exists""#),
            present: (200, r#""db_name":"one""#),
            absent: (404, r#""error":"not_found""#),
            deleted: (200, r#""ok":true"#),
            was_absent: (404, r#""error":"not_found""#),
        },
    );
}

#[test]
fn jupyterhub() {
    certify(
        "jupyterhub",
        &Api {
            create: request("POST", "/hub/api/groups/one"),
            check: request("GET", "/hub/api/groups/one"),
            delete: request("DELETE", "/hub/api/groups/one"),
            created: (201, r#""name": "one""#),
            exists: (409, "already exists"),
            present: (200, r#""name": "one""#),
            absent: (404, "No such group: one"),
            deleted: (204, ""),
            was_absent: (404, "No such group: one"),
        },
    );
}

#[test]
fn rabbitmq_vhosts() {
    certify(
        "rabbitmq-vhosts",
        &Api {
            // Without this header, a create changes what exists.
            create: Request { header: Some(("If-None-Match", "*")), ..request("PUT", "/api/vhosts/one") },
            check: request("GET", "/api/vhosts/one"),
            delete: request("DELETE", "/api/vhosts/one"),
            created: (201, ""),
            exists: (412, ""),
            present: (200, r#""name":"one""#),
            absent: (404, "Object Not Found"),
            deleted: (204, ""),
            was_absent: (404, "Object Not Found"),
        },
    );
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
