//! The cases of the Python original, each by its name, against mocked nodes: what it promised holds here.
//!
//! The per-host functions of the original are a cluster of one host here, and its `verify` is `status`.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cluster_client::{ClusterClient, Error, Report, RequestErrorKind, RetryPolicy, State};
use mockito::{Server, ServerGuard};

/// A mocked node. Each method answers its statuses in turn, and the last one from then on; a method without
/// statuses is not expected.
struct Mocked {
    server: ServerGuard,
    calls: [Arc<AtomicUsize>; 3],
}

const METHODS: [&str; 3] = ["POST", "GET", "DELETE"];

fn node(post: &'static [usize], get: &'static [usize], delete: &'static [usize]) -> Mocked {
    let mut server = Server::new();
    let calls = [post, get, delete].map(|_| Arc::new(AtomicUsize::new(0)));
    for ((method, statuses), calls) in METHODS.into_iter().zip([post, get, delete]).zip(&calls) {
        let calls = Arc::clone(calls);
        let path = if method == "GET" { "/v1/group/g/" } else { "/v1/group/" };
        let mock = server.mock(method, path).with_status_code_from_request(move |_| {
            let call = calls.fetch_add(1, Ordering::SeqCst);
            statuses.get(call).or(statuses.last()).copied().unwrap_or(501)
        });
        let mock = if method == "GET" { mock } else { mock.match_body(r#"{"groupId": "g"}"#) };
        mock.create();
    }
    Mocked { server, calls }
}

impl Mocked {
    /// Number of `POST`, `GET` and `DELETE` calls.
    fn calls(&self) -> [usize; 3] {
        self.calls.each_ref().map(|calls| calls.load(Ordering::SeqCst))
    }
}

/// A client whose waits are too short to notice.
fn client_of<S: AsRef<str>>(urls: &[S]) -> ClusterClient {
    let quick =
        RetryPolicy::default().with_first_delay(Duration::from_millis(1)).with_max_delay(Duration::from_millis(4));
    ClusterClient::builder()
        .hosts(urls)
        .retry(quick)
        .rollback_retry(quick)
        .request_timeout(Duration::from_millis(300))
        .settle(Duration::from_millis(5))
        .build()
        .unwrap()
}

fn client<const N: usize>(nodes: [&Mocked; N]) -> ClusterClient {
    client_of(&nodes.map(|node| node.server.url()))
}

fn states(report: &Report) -> Vec<State> {
    report.hosts.iter().map(|host| host.state).collect()
}

/// Address that refuses connections. The port stays bound until the process ends, so that no other test listens there.
#[cfg(unix)]
fn dead_host() -> String {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    std::mem::forget(socket);
    format!("http://{address}")
}

/// Address without a listener.
#[cfg(not(unix))]
fn dead_host() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// Takes connections and never answers, as long as the listener lives.
fn mute_host() -> (String, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (format!("http://{}", listener.local_addr().unwrap()), listener)
}

#[track_caller]
fn assert_rolled_back(error: &Error, hosts: usize, reason: &str) {
    let Error::RolledBack { report, .. } = error else { panic!("{error:?}") };
    assert_eq!(states(report), vec![State::Absent; hosts]);
    assert!(error.to_string().contains(reason), "{error}");
}

#[track_caller]
fn assert_unavailable(error: &Error, kind: RequestErrorKind) {
    let Error::Unavailable { report, .. } = error else { panic!("{error:?}") };
    let host = &report.hosts[0];
    assert_eq!(host.state, State::Unknown);
    assert_eq!(host.steps[0].error.as_ref().map(cluster_client::RequestError::kind), Some(kind));
    assert_eq!(host.steps[0].attempts, 3);
}

mod create {
    use super::*;

    #[test]
    fn success() {
        let node = node(&[201], &[404, 200], &[]);
        let report = client([&node]).create_group("g").unwrap();
        assert_eq!(states(&report), [State::Present]);
        assert_eq!(node.calls(), [1, 2, 0]);
    }

    #[test]
    fn bad_request_400() {
        let node = node(&[400], &[404], &[]);
        assert_rolled_back(&client([&node]).create_group("g").unwrap_err(), 1, "answered 400");
        assert_eq!(node.calls(), [1, 2, 0], "a refusal is not retried, and there is nothing of ours to delete");
    }

    #[test]
    fn not_found_404() {
        let node = node(&[404], &[404], &[]);
        assert_rolled_back(&client([&node]).create_group("g").unwrap_err(), 1, "answered 404");
    }

    #[test]
    fn server_error_500() {
        let node = node(&[500], &[404], &[404]);
        assert_rolled_back(&client([&node]).create_group("g").unwrap_err(), 1, "answered 500 to create");
        assert_eq!(node.calls()[0], 3, "a 500 is retried");
        assert_eq!(node.calls()[2], 1, "a 500 may have been applied, so it is undone");
    }

    #[test]
    fn timeout() {
        let (url, _listener) = mute_host();
        assert_unavailable(&client_of(&[url]).create_group("g").unwrap_err(), RequestErrorKind::Timeout);
    }

    #[test]
    fn request_error() {
        assert_unavailable(&client_of(&[dead_host()]).create_group("g").unwrap_err(), RequestErrorKind::Connect);
    }

    #[test]
    fn empty_id() {
        let node = node(&[], &[], &[]);
        let error = client([&node]).create_group("").unwrap_err();
        assert!(matches!(error, Error::Config { .. }) && error.to_string().contains("is empty"), "{error}");
        assert_eq!(node.calls(), [0, 0, 0], "nothing was sent");
    }

    #[test]
    fn unexpected_answer() {
        let node = node(&[302], &[404], &[404]);
        assert_rolled_back(&client([&node]).create_group("g").unwrap_err(), 1, "answered 302 to create");
        assert_eq!(node.calls()[0], 1, "a permanent failure is not retried");
    }

    #[test]
    fn one_of_three_hosts_fails() {
        let (a, b) = (node(&[201], &[404, 404], &[200]), node(&[201], &[404, 404], &[200]));
        let failing = node(&[400], &[404], &[]);
        let error = client([&a, &b, &failing]).create_group("g").unwrap_err();
        assert_rolled_back(&error, 3, "answered 400");
        for made in [&a, &b] {
            let [posts, _, deletes] = made.calls();
            assert_eq!(posts, deletes, "what was made is deleted, and nothing else");
        }
        assert_eq!(failing.calls()[2], 0);
    }

    #[test]
    fn created_everywhere_but_verification_fails() {
        let good = node(&[201], &[404, 200, 404], &[200]);
        let forgetful = node(&[201], &[404], &[404]);
        let error = client([&good, &forgetful]).create_group("g").unwrap_err();
        assert_rolled_back(&error, 2, "answered 404 to check");
        assert_eq!(good.calls()[2], 1);
        assert_eq!(forgetful.calls()[2], 1);
    }

    #[test]
    fn a_stale_verification_is_asked_again() {
        let node = node(&[201], &[404, 404, 200], &[]);
        assert_eq!(states(&client([&node]).create_group("g").unwrap()), [State::Present]);
        assert_eq!(node.calls(), [1, 3, 0]);
    }
}

mod rollback {
    use super::*;

    #[test]
    fn success() {
        let made = node(&[201], &[404, 200, 404], &[200]);
        let failing = node(&[403], &[404], &[]);
        assert_rolled_back(&client([&made, &failing]).create_group("g").unwrap_err(), 2, "answered 403");
    }

    #[test]
    fn failure() {
        // The failing host refuses only after the first has its group: it asks for one retry before.
        let made = node(&[201], &[404, 200], &[500]);
        let failing = node(&[503, 400], &[404], &[404]);
        let error = client([&made, &failing]).create_group("g").unwrap_err();
        let Error::Incomplete { report, .. } = &error else { panic!("{error:?}") };
        assert_eq!(states(report), [State::Present, State::Absent]);
        assert!(made.calls()[2] >= 3, "a DELETE that fails is tried again");
        assert!(!error.is_in_doubt() && !error.is_unchanged());
    }
}

mod verify {
    use super::*;

    fn state_for(statuses: &'static [usize]) -> (State, usize) {
        let node = node(&[], statuses, &[]);
        let report = client([&node]).group_status("g").unwrap();
        (report.hosts[0].state, node.calls()[1])
    }

    #[test]
    fn success() {
        assert_eq!(state_for(&[200]), (State::Present, 1));
    }

    #[test]
    fn not_found_404() {
        assert_eq!(state_for(&[404]), (State::Absent, 1));
    }

    #[test]
    fn bad_request_400() {
        assert_eq!(state_for(&[400]), (State::Unknown, 1));
    }

    #[test]
    fn server_error_500() {
        assert_eq!(state_for(&[500]), (State::Unknown, 3));
        assert_eq!(state_for(&[500, 200]), (State::Present, 2));
    }

    #[test]
    fn unexpected_answer() {
        assert_eq!(state_for(&[204]), (State::Unknown, 1));
    }

    #[test]
    fn timeout() {
        let (url, _listener) = mute_host();
        let report = client_of(&[url]).group_status("g").unwrap();
        assert_eq!(states(&report), [State::Unknown]);
        assert!(report.hosts[0].reason.as_ref().unwrap().to_string().contains("3 tries"));
    }

    #[test]
    fn request_error() {
        let report = client_of(&[dead_host()]).group_status("g").unwrap();
        assert_eq!(states(&report), [State::Unknown]);
    }

    #[test]
    fn empty_id() {
        assert!(matches!(client_of(&[dead_host()]).group_status(""), Err(Error::Config { .. })));
    }
}

mod delete {
    use super::*;

    #[test]
    fn success() {
        let node = node(&[], &[404], &[200]);
        let deletion = client([&node]).delete_group("g").unwrap();
        assert_eq!(deletion.undeleted().count(), 0);
        assert_eq!(node.calls(), [0, 1, 1]);
    }

    #[test]
    fn absent_404_and_400_are_success() {
        for status in [&[404], &[400]] {
            let node = node(&[], &[404], status);
            assert_eq!(client([&node]).delete_group("g").unwrap().undeleted().count(), 0);
            assert_eq!(node.calls(), [0, 1, 1]);
        }
    }

    #[test]
    fn bad_request_400_and_still_there() {
        let node = node(&[], &[200], &[400]);
        assert_eq!(states(client([&node]).delete_group("g").unwrap().report()), [State::Present]);
    }

    #[test]
    fn server_error_500() {
        let node = node(&[], &[200], &[500]);
        let deletion = client([&node]).delete_group("g").unwrap();
        let kept = deletion.undeleted().next().unwrap();
        assert_eq!(kept.state, State::Present);
        assert!(kept.reason.as_ref().unwrap().to_string().contains("answered 500 to delete"), "{kept:?}");
    }

    #[test]
    fn timeout() {
        let (url, _listener) = mute_host();
        assert_eq!(states(client_of(&[url]).delete_group("g").unwrap().report()), [State::Unknown]);
    }

    #[test]
    fn request_error() {
        let deletion = client_of(&[dead_host()]).delete_group("g").unwrap();
        assert_eq!(states(deletion.report()), [State::Unknown]);
    }

    #[test]
    fn empty_id() {
        assert!(matches!(client_of(&[dead_host()]).delete_group(""), Err(Error::Config { .. })));
    }

    #[test]
    fn unexpected_answer() {
        let node = node(&[], &[200], &[302]);
        assert_eq!(states(client([&node]).delete_group("g").unwrap().report()), [State::Present]);
        assert_eq!(node.calls(), [0, 2, 1], "the DELETE is not tried again, and the host is looked at once more");
    }

    #[test]
    fn one_of_three_hosts_fails() {
        let (a, b) = (node(&[], &[404], &[200]), node(&[], &[404], &[204]));
        let failing = node(&[], &[200], &[403]);
        let deletion = client([&a, &failing, &b]).delete_group("g").unwrap();
        assert_eq!(states(deletion.report()), [State::Absent, State::Present, State::Absent]);
        let kept: Vec<_> = deletion.undeleted().map(|host| host.host.to_string()).collect();
        assert_eq!(kept, [failing.server.url()]);
    }
}

mod concurrent {
    use super::*;

    /// Five calls at once, each with a client of its own, as five processes would have.
    fn five(urls: &[String]) -> Vec<Result<Report, Error>> {
        std::thread::scope(|scope| {
            let calls: Vec<_> = (0..5).map(|_| scope.spawn(|| client_of(urls).create_group("g"))).collect();
            calls.into_iter().map(|call| call.join().unwrap()).collect()
        })
    }

    #[test]
    fn five_calls_succeed() {
        let nodes: Vec<_> = (0..5).map(|_| node(&[201], &[404, 200], &[])).collect();
        std::thread::scope(|scope| {
            for node in &nodes {
                scope.spawn(|| client([node]).create_group("g").unwrap());
            }
        });
        assert!(nodes.iter().all(|node| node.calls() == [1, 2, 0]));
    }

    #[test]
    fn five_calls_fail() {
        let node = node(&[400], &[404], &[]);
        for result in five(&[node.server.url()]) {
            assert_rolled_back(&result.unwrap_err(), 1, "answered 400");
        }
        assert_eq!(node.calls(), [5, 10, 0]);
    }

    #[test]
    fn five_calls_meet_request_errors() {
        for result in five(&[dead_host()]) {
            assert_unavailable(&result.unwrap_err(), RequestErrorKind::Connect);
        }
    }
}
