//! Servers that misbehave on the wire: each call ends in bounded time with the right reading.
#![cfg(feature = "testing")]

mod support;

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use cluster_client::testing::{Cluster, Fault, Method};
use cluster_client::{Error, RequestErrorKind, State};
use support::{PATIENCE, REQUEST_TIMEOUT, builder, client, states};

/// Three tries of one request, the waits between them, and what a busy machine adds.
const BOUND: Duration = Duration::from_secs(10);
const _: () = assert!(BOUND.as_millis() > 6 * REQUEST_TIMEOUT.as_millis());

/// A status whose every GET meets `fault`: its error kind, and how long it took.
fn reading_of(fault: Fault) -> (State, Option<RequestErrorKind>) {
    let cluster = Cluster::start(2).unwrap();
    cluster.node(0).insert("g");
    cluster.node(0).inject(fault.on(Method::Get).always());
    let begun = Instant::now();
    let report = client(&cluster).group_status("g").unwrap();
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    assert_eq!(report.hosts[1].state, State::Absent, "the other host is not held up");
    let last = report.hosts[0].steps.last().unwrap();
    (report.hosts[0].state, last.error.as_ref().map(cluster_client::RequestError::kind))
}

#[test]
fn invalid_answer_leaves_the_host_unknown() {
    use RequestErrorKind::{Closed, Garbage, Timeout};
    let interval = REQUEST_TIMEOUT / 8;
    for (fault, kind) in [
        (Fault::mute(), Timeout),
        (Fault::trickle(interval), Timeout),
        (Fault::delay(10 * REQUEST_TIMEOUT), Timeout),
        (Fault::drop_connection(), Closed),
        (Fault::reset(), Closed),
        (Fault::garbage(), Garbage),
        (Fault::raw("HTTP/1.1 abc OK\r\n\r\n"), Garbage),
        (Fault::raw("HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n"), Garbage),
        (Fault::raw("HTTP/1.1 20"), Closed),
    ] {
        let story = fault.to_string();
        assert_eq!(reading_of(fault), (State::Unknown, Some(kind)), "{story}");
    }
}

#[test]
fn status_counts_if_the_body_is_broken() {
    for fault in [Fault::endless_body(), Fault::huge_body(10_000_000), Fault::truncated_body()] {
        let story = fault.to_string();
        assert_eq!(reading_of(fault), (State::Present, None), "{story}");
    }
}

#[test]
fn redirect_is_never_a_success() {
    for status in [301, 302, 303, 307, 308] {
        // Elsewhere the group is there, and a DELETE would be answered 200.
        let elsewhere = Cluster::start(1).unwrap();
        elsewhere.node(0).insert("g");
        let location = format!("{}/v1/group/g/", elsewhere.urls()[0]);
        let cluster = Cluster::start(1).unwrap();
        cluster.node(0).insert("g");
        cluster.node(0).inject(Fault::redirect(status, &location).always());
        let client = client(&cluster);

        assert_eq!(states(&client.group_status("g").unwrap()), [State::Unknown], "{status}");
        let deletion = client.delete_group("g").unwrap();
        assert_eq!(states(deletion.report()), [State::Unknown], "{status}");
        assert!(matches!(client.create_group("g"), Err(Error::Unavailable { .. })), "{status}");
        assert_eq!((cluster.holders("g"), elsewhere.holders("g")), (vec![0], vec![0]), "{status}");
        assert_eq!(elsewhere.node(0).log().len(), 0, "{status}: nobody is asked whom we were not told of");
    }
}

#[test]
fn redirect_307_or_308_to_the_same_node_keeps_method_and_body() {
    for status in [307, 308] {
        let cluster = Cluster::start(1).unwrap();
        cluster.node(0).inject(Fault::redirect(status, "/v1/group/").on(Method::Post));
        cluster.node(0).inject(Fault::redirect(status, "/v1/group/").on(Method::Delete));
        let client = client(&cluster);
        client.create_group("g").unwrap();
        assert!(cluster.all_have("g"));
        assert_eq!(client.delete_group("g").unwrap().undeleted().count(), 0);
        assert!(cluster.none_has("g"));
    }
}

#[test]
fn redirect_loop_ends() {
    let cluster = Cluster::start(1).unwrap();
    cluster.node(0).inject(Fault::redirect(308, "/v1/group/").always());
    let deletion = client(&cluster).delete_group("g").unwrap();
    assert_eq!(states(deletion.report()), [State::Unknown]);
    assert!(cluster.node(0).log().len() <= 16, "{}", cluster.node(0).log().len());
}

/// A listener whose queue of connections is full: a further connect is neither taken nor refused.
fn blackhole() -> (String, TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        queued.push(stream);
        assert!(queued.len() < 10_000, "the queue has no end here");
    }
    (format!("http://{address}"), listener, queued)
}

#[test]
fn blackholed_connect_times_out_and_changes_nothing() {
    let (dead, _listener, _queued) = blackhole();
    let cluster = Cluster::start(1).unwrap();
    let urls = [cluster.urls()[0].clone(), dead];
    let begun = Instant::now();
    let error = builder(&urls).build().unwrap().create_group("g").unwrap_err();
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    let Error::Unavailable { report, .. } = &error else { panic!("{error:?}") };
    assert_eq!(states(report), [State::Absent, State::Unknown]);
    let kind = report.hosts[1].steps[0].error.as_ref().map(cluster_client::RequestError::kind);
    assert_eq!(kind, Some(RequestErrorKind::Connect));
    assert!(cluster.none_has("g"));
}

#[test]
fn name_without_an_address_fails_and_changes_nothing() {
    let begun = Instant::now();
    let error = builder(["http://does-not-exist.invalid:8000"]).build().unwrap().create_group("g").unwrap_err();
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    let Error::Unavailable { report, .. } = &error else { panic!("{error:?}") };
    let kind = report.hosts[0].steps[0].error.as_ref().map(cluster_client::RequestError::kind);
    assert_eq!(kind, Some(RequestErrorKind::Resolve));
}

#[test]
fn create_with_silent_hosts_ends_on_all_hosts_or_none() {
    for fault in [
        Fault::mute(),
        Fault::mute().after_applying(),
        Fault::trickle(REQUEST_TIMEOUT / 8),
        Fault::garbage(),
        Fault::garbage().after_applying(),
        Fault::reset(),
        Fault::reset().after_applying(),
        Fault::raw("HTTP/1.1 999 Odd\r\n\r\n").after_applying(),
        Fault::truncated_body(),
        Fault::endless_body(),
    ] {
        let cluster = Cluster::start(3).unwrap();
        let story = fault.to_string();
        cluster.node(1).inject(fault.on(Method::Post).always());
        let begun = Instant::now();
        match client(&cluster).create_group("g") {
            Ok(report) => {
                assert_eq!(states(&report), [State::Present; 3], "{story}");
                assert!(cluster.all_have("g"), "{story}");
            }
            Err(Error::RolledBack { .. }) => assert!(cluster.none_has("g"), "{story}"),
            Err(error) => panic!("{story}: {error}"),
        }
        assert!(begun.elapsed() < BOUND, "{story}: {:?}", begun.elapsed());
    }
}
