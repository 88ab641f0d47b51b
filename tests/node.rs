//! Checks the embedded node over raw sockets: its answers byte by byte, and its faults.

#![cfg(feature = "testing")]

use std::{
    fs,
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use cluster_client::testing::{Cluster, Fault, Method, Node, NodeBuilder, Rates, TrailingSlash};

/// Longer than anything here takes: reached only when a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Client {
    fn connect(node: &Node) -> Self {
        let stream = TcpStream::connect(node.address()).expect("the node takes connections");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above 0");
        stream.set_nodelay(true).expect("a connected socket");
        Self { stream, unread: Vec::new() }
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the node reads");
    }

    fn ask(&mut self, request: impl AsRef<[u8]>) -> Answer {
        self.send(request);
        self.answer()
    }

    /// One answer with a length, or with a status that has no body.
    fn answer(&mut self) -> Answer {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.more().expect("an answer") > 0, "closed before an answer: {:?}", self.unread);
        };
        let head = String::from_utf8(self.unread.drain(..end).collect()).expect("an ASCII head");
        let status = head[9..12].parse().expect("a status");
        let length = header(&head, "Content-Length").map_or(0, |value| value.parse().expect("a length"));
        while self.unread.len() < length {
            assert!(self.more().expect("a body") > 0, "closed within a body");
        }
        Answer { status, head, body: self.unread.drain(..length).collect() }
    }

    fn more(&mut self) -> io::Result<usize> {
        let mut block = [0; 4096];
        let count = self.stream.read(&mut block)?;
        self.unread.extend_from_slice(&block[..count]);
        Ok(count)
    }

    /// All there is until the node closes the connection.
    fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.more()? > 0 {}
        Ok(std::mem::take(&mut self.unread))
    }

    fn is_closed(&mut self) -> bool {
        matches!(self.rest().as_deref(), Ok([]))
    }

    /// No answer so far. Not a wait: what the node has sent is there by now, or the node said that it did not.
    fn has_nothing(&self) -> bool {
        self.stream.set_nonblocking(true).expect("a socket");
        let found = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).expect("a socket");
        matches!(found, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a text")
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn with_body(method: &str, path: &str, body: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: node\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn post(group: &str) -> String {
    with_body("POST", "/v1/group/", &format!("{{\"groupId\":\"{group}\"}}"))
}

fn delete(group: &str) -> String {
    with_body("DELETE", "/v1/group/", &format!("{{\"groupId\":\"{group}\"}}"))
}

fn get(group: &str) -> String {
    format!("GET /v1/group/{group}/ HTTP/1.1\r\nHost: node\r\n\r\n")
}

/// One request on a connection of its own.
fn ask(node: &Node, request: impl AsRef<[u8]>) -> Answer {
    Client::connect(node).ask(request)
}

fn node() -> Node {
    Node::start().expect("a port")
}

fn started(builder: NodeBuilder) -> Node {
    builder.start().expect("a port")
}

fn faulty(fault: Fault) -> Node {
    started(Node::builder().faults([fault]))
}

// ---- the API

#[test]
fn creates_shows_and_deletes_a_group() {
    let node = node();
    let mut client = Client::connect(&node);
    assert_eq!(client.ask(get("g")).status, 404);
    let created = client.ask(post("g"));
    assert_eq!((created.status, created.text()), (201, r#"{"groupId":"g"}"#));
    assert!(node.has("g"));
    assert_eq!(client.ask(post("g")).status, 400);
    assert_eq!(client.ask(get("g")).status, 200);
    assert_eq!(client.ask(delete("g")).status, 200);
    assert!(!node.has("g"));
    assert_eq!(client.ask(delete("g")).status, 404);
    assert_eq!(client.ask(get("g")).status, 404);
}

#[test]
fn answers_with_the_statuses_it_was_given() {
    let node = started(Node::builder().existing_status(409).deleted_status(204).absent_status(400));
    let mut client = Client::connect(&node);
    assert_eq!(client.ask(post("g")).status, 201);
    assert_eq!(client.ask(post("g")).status, 409);
    let deleted = client.ask(delete("g"));
    assert_eq!((deleted.status, deleted.header("Content-Length")), (204, None));
    assert_eq!(client.ask(delete("g")).status, 400);
}

#[test]
fn refuses_bad_requests_and_other_paths_and_methods() {
    let node = node();
    let mut client = Client::connect(&node);
    for body in ["", "{}", "[]", r#"{"groupId":""}"#, r#"{"groupId":"g""#] {
        assert_eq!(client.ask(with_body("POST", "/v1/group/", body)).status, 400, "{body}");
        assert_eq!(client.ask(with_body("DELETE", "/v1/group/", body)).status, 400, "{body}");
    }
    assert_eq!(client.ask("GET /v2/group/g/ HTTP/1.1\r\n\r\n").status, 404);
    assert_eq!(client.ask("GET /v1/group/a/b/ HTTP/1.1\r\n\r\n").status, 404);
    let refused = client.ask("PUT /v1/group/g/ HTTP/1.1\r\n\r\n");
    assert_eq!((refused.status, refused.header("Allow")), (405, Some("GET, POST, DELETE")));
    assert_eq!(client.ask("DELETE /v1/group/g/ HTTP/1.1\r\n\r\n").status, 405);
    client.send("HEAD /v1/group/g/ HTTP/1.1\r\nConnection: close\r\n\r\n");
    let head = client.rest().expect("an answer");
    assert!(head.starts_with(b"HTTP/1.1 405 ") && head.ends_with(b"\r\n\r\n"), "a HEAD has no body");
    assert!(node.groups().is_empty());
}

#[test]
fn ids_are_decoded_from_json_and_from_paths() {
    let node = node();
    let mut client = Client::connect(&node);
    assert_eq!(client.ask(post(r"a\/b \u00e9\n")).status, 201);
    assert!(node.has("a/b \u{e9}\n"));
    assert_eq!(client.ask(get("a%2Fb%20%C3%A9%0A")).status, 200);
    assert_eq!(client.ask(get("%FF")).status, 400);
}

#[test]
fn lists_its_groups() {
    let node = node();
    node.insert("b\"");
    node.insert("a");
    let listed = ask(&node, "GET /v1/group/ HTTP/1.1\r\n\r\n");
    assert_eq!((listed.status, listed.text()), (200, r#"{"groups":["a","b\""]}"#));
}

#[test]
fn trailing_slashes_are_accepted_refused_or_redirected() {
    let bare = "GET /v1/group/g HTTP/1.1\r\n\r\n";
    let lenient = node();
    lenient.insert("g");
    assert_eq!(ask(&lenient, bare).status, 200);

    let strict = started(Node::builder().trailing_slash(TrailingSlash::Strict));
    strict.insert("g");
    assert_eq!(ask(&strict, bare).status, 404);
    assert_eq!(ask(&strict, get("g")).status, 200);

    let redirecting = started(Node::builder().trailing_slash(TrailingSlash::Redirect(308)));
    let redirected = ask(&redirecting, with_body("POST", "/v1/group", r#"{"groupId":"g"}"#));
    assert_eq!((redirected.status, redirected.header("Location")), (308, Some("/v1/group/")));
    assert!(!redirecting.has("g"));

    let elsewhere = started(Node::builder().path("/groups").trailing_slash(TrailingSlash::Strict));
    assert_eq!(ask(&elsewhere, with_body("POST", "/groups", r#"{"groupId":"g"}"#)).status, 201);
    assert_eq!(ask(&elsewhere, "GET /groups/g HTTP/1.1\r\n\r\n").status, 200);
}

// ---- HTTP

#[test]
fn keeps_a_connection_alive_and_closes_it_when_asked() {
    let node = node();
    let mut client = Client::connect(&node);
    let peer = client.stream.local_addr().ok();
    assert_eq!(client.ask(post("g")).header("Connection"), None);
    assert_eq!(client.ask(get("g")).status, 200);
    let last = client.ask("GET /v1/group/g/ HTTP/1.1\r\nConnection: Close\r\n\r\n");
    assert_eq!((last.status, last.header("Connection")), (200, Some("close")));
    assert!(client.is_closed());
    assert!(node.log().iter().all(|entry| entry.connection == 1 && entry.peer == peer));

    let mut old = Client::connect(&node);
    assert_eq!(old.ask("GET /v1/group/g/ HTTP/1.0\r\n\r\n").status, 200);
    assert!(old.is_closed());
    assert_eq!(node.log().last().map(|entry| entry.connection), Some(2));
}

#[test]
fn answers_pipelined_requests_in_order() {
    let node = node();
    let mut client = Client::connect(&node);
    client.send([post("g"), get("g"), delete("g"), get("g")].concat());
    let statuses: Vec<_> = (0..4).map(|_| client.answer().status).collect();
    assert_eq!(statuses, [201, 200, 200, 404]);
}

#[test]
fn reads_requests_in_any_pieces() {
    let node = node();
    let mut client = Client::connect(&node);
    for byte in post("slow").as_bytes() {
        client.send([*byte]);
    }
    assert_eq!(client.answer().status, 201);
    client.send(&post("halves")[..70]);
    client.send(&post("halves")[70..]);
    assert_eq!(client.answer().status, 201);
    assert_eq!(node.groups(), ["halves", "slow"]);
}

#[test]
fn reads_chunked_bodies() {
    let node = node();
    let mut client = Client::connect(&node);
    let head = "POST /v1/group/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(head);
    client.send("8;name=value\r\n{\"groupI\r\n");
    client.send("9\r\nd\":\"many\"\r\n1\r\n}\r\n0\r\n\r\n");
    assert_eq!(client.answer().status, 201);
    let trailers = format!("{head}12\r\n{{\"groupId\":\"more\"}}\r\n0\r\nA: b\r\nC: d\r\n\r\n{}", get("more"));
    assert_eq!(client.ask(trailers).status, 201);
    assert_eq!(client.answer().status, 200);
    assert_eq!(node.groups(), ["many", "more"]);
    assert_eq!(client.ask(format!("{head}2\r\n{{}}XX")).status, 400);
    assert!(client.is_closed());
}

#[test]
fn answers_expect_100_continue() {
    let node = node();
    let mut client = Client::connect(&node);
    let head = "POST /v1/group/ HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 15\r\n\r\n";
    assert_eq!(client.ask(head).status, 100);
    assert_eq!(client.ask(r#"{"groupId":"g"}"#).status, 201);
}

#[test]
fn refuses_what_is_too_large_or_not_http() {
    let long = "x".repeat(16 * 1024);
    let many = "a: b\r\n".repeat(65);
    let chunk = format!("11170\r\n{}", " ".repeat(70_000));
    let cases = [
        (format!("GET /{long} HTTP/1.1\r\n\r\n"), 431),
        (format!("GET /{long}"), 431),
        (format!("GET / HTTP/1.1\r\n{many}\r\n"), 431),
        ("POST /v1/group/ HTTP/1.1\r\nContent-Length: 65537\r\n\r\n".to_owned(), 413),
        (format!("POST /v1/group/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"), 413),
        ("POST /v1/group/ HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n".to_owned(), 501),
        ("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), 400),
        ("\x16\x03\x01\r\n\r\n".to_owned(), 400),
    ];
    let node = node();
    for (request, status) in &cases {
        let mut client = Client::connect(&node);
        assert_eq!(client.ask(request).status, *status, "{request:.60}");
        client.stream.shutdown(Shutdown::Write).unwrap_or_else(|error| panic!("{error}: {request:.60}"));
        assert!(client.is_closed());
    }
    assert_eq!(node.count(Method::Other), cases.len() as u64);
    let spaces = " ".repeat(64 * 1024 - 15);
    let largest = with_body("POST", "/v1/group/", &format!(r#"{spaces}{{"groupId":"g"}}"#));
    assert_eq!(ask(&node, largest).status, 201);
}

#[test]
fn serves_200_connections_at_once() {
    let node = node();
    let barrier = Barrier::new(200);
    let mut clients: Vec<_> = (0..200).map(|_| Client::connect(&node)).collect();
    assert!(node.wait_until(|state| state.connections() == 200, PATIENCE));
    thread::scope(|scope| {
        for (number, client) in clients.iter_mut().enumerate() {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                let group = format!("g{number}");
                assert_eq!(client.ask(post(&group)).status, 201);
                assert_eq!(client.ask(get(&group)).status, 200);
            });
        }
    });
    assert_eq!(node.groups().len(), 200);
    let log = node.log();
    assert_eq!(log.len(), 400);
    assert!(log.windows(2).all(|two| two[0].sequence + 1 == two[1].sequence && two[0].at <= two[1].at));
    drop(clients);
    assert!(node.wait_until(|state| state.connections() == 0, PATIENCE));
}

#[test]
fn turns_connections_away_beyond_the_limit() {
    let node = started(Node::builder().max_connections(1));
    let mut first = Client::connect(&node);
    assert_eq!(first.ask(post("g")).status, 201);
    let mut second = Client::connect(&node);
    assert_eq!(second.answer().status, 503);
    drop(first);
    assert!(node.wait_until(|state| state.connections() == 0, PATIENCE));
    assert_eq!(ask(&node, get("g")).status, 200);
}

// ---- faults

#[test]
fn answers_a_status_without_or_after_applying() {
    let node = node();
    node.inject(Fault::answer(503).header("Retry-After", "7").on(Method::Post));
    node.inject(Fault::answer(500).after_applying().on(Method::Post));
    let mut client = Client::connect(&node);
    let refused = client.ask(post("g"));
    assert_eq!((refused.status, refused.header("Retry-After")), (503, Some("7")));
    assert!(!node.has("g"));
    assert_eq!(client.ask(post("g")).status, 500);
    assert!(node.has("g"));
    let log = node.log();
    assert_eq!((log[0].status, log[0].applied), (Some(503), false));
    assert_eq!((log[1].status, log[1].applied), (Some(500), true));
    assert_eq!(log[1].fault, Some(Fault::answer(500).after_applying().on(Method::Post)));
    assert_eq!(node.pending_faults(), 0);
}

#[test]
fn fault_applies_to_its_requests_as_often_as_set() {
    let node = node();
    node.inject(Fault::answer(500).on(Method::Get).group("g").times(2));
    node.inject(Fault::answer(502).on(Method::Delete).always());
    node.inject(Fault::answer(503).group("h"));
    node.inject(Fault::answer(504).times(0));
    assert_eq!(node.pending_faults(), 3);
    let mut client = Client::connect(&node);
    assert_eq!(client.ask(post("g")).status, 201);
    assert_eq!(client.ask(get("h")).status, 503);
    assert_eq!(client.ask(get("h")).status, 404);
    assert_eq!([(); 3].map(|()| client.ask(get("g")).status), [500, 500, 200]);
    assert_eq!([(); 3].map(|()| client.ask(delete("g")).status), [502; 3]);
    assert_eq!(node.pending_faults(), 1);
    node.clear_faults();
    assert_eq!(client.ask(delete("g")).status, 200);
}

#[test]
fn drops_the_connection_before_or_after_applying() {
    let node = faulty(Fault::drop_connection());
    node.inject(Fault::drop_connection().after_applying());
    for (number, applied) in [(0, false), (1, true)] {
        let mut client = Client::connect(&node);
        client.send(post("g"));
        assert!(client.is_closed());
        assert_eq!(node.has("g"), applied);
        let entry = &node.log()[number];
        assert_eq!((entry.status, entry.applied), (None, applied));
    }
}

#[test]
fn resets_the_connection() {
    let node = node();
    node.inject(Fault::reset().on(Method::Post).times(2));
    let mut client = Client::connect(&node);
    client.send(post("g"));
    assert_eq!(client.rest().expect_err("a reset").kind(), ErrorKind::ConnectionReset);
    let mut used = Client::connect(&node);
    assert_eq!(used.ask(get("g")).status, 404);
    used.send(post("g"));
    assert_eq!(used.rest().expect_err("a reset").kind(), ErrorKind::ConnectionReset);
    assert!(!node.has("g"));
}

#[test]
fn delays_before_and_after_applying() {
    let node = node();
    node.inject(Fault::delay(PATIENCE).on(Method::Post));
    let mut client = Client::connect(&node);
    client.send(post("early"));
    assert!(node.wait_until(|state| state.count(Method::Post) == 1, PATIENCE));
    assert!(!node.has("early") && client.has_nothing());

    node.inject(Fault::delay_answer(PATIENCE).on(Method::Post));
    let mut other = Client::connect(&node);
    other.send(post("late"));
    assert!(node.wait_until(|state| state.has("late"), PATIENCE));
    assert!(other.has_nothing());
    assert_eq!(node.log()[1].status, None);
    assert!(!node.has("early"));

    let (wait, start) = (Duration::from_millis(30), Instant::now());
    node.inject(Fault::delay(wait));
    node.inject(Fault::delay_answer(wait));
    assert_eq!(ask(&node, post("g")).status, 201);
    assert_eq!(ask(&node, delete("g")).status, 200);
    assert!(start.elapsed() >= wait * 2);

    let start = Instant::now();
    let slow = started(Node::builder().latency(wait));
    assert_eq!(ask(&slow, post("g")).status, 201);
    assert!(start.elapsed() >= wait);
}

#[test]
fn applies_late() {
    let node = node();
    node.inject(Fault::apply_late(Duration::from_millis(40)).on(Method::Post));
    node.inject(Fault::answer(504).applying_late(Duration::from_millis(20)).on(Method::Post));
    let mut dropped = Client::connect(&node);
    dropped.send(post("first"));
    assert!(dropped.is_closed());
    assert_eq!(ask(&node, post("second")).status, 504);
    assert!(node.wait_until(|state| state.groups().len() == 2, PATIENCE));
    let log = node.log();
    assert!(log[0].applied && log[1].applied);
    assert_eq!((log[0].status, log[1].status), (None, Some(504)));

    node.inject(Fault::answer(504).applying_late(Duration::ZERO).on(Method::Delete));
    assert_eq!(ask(&node, delete("first")).status, 504);
    assert!(node.wait_until(|state| !state.has("first"), PATIENCE));
}

#[test]
fn stop_drops_late_applications() {
    let node = faulty(Fault::answer(504).applying_late(Duration::from_millis(20)));
    assert_eq!(ask(&node, post("g")).status, 504);
    node.stop();
    let had_it = node.has("g");
    node.restart().expect("the port is kept");
    let comes = node.wait_until(|state| state.has("g") != had_it, Duration::from_millis(60));
    assert!(!comes, "applied after the stop");
    // It would be due now, and this request wakes the thread that applies late requests.
    node.inject(Fault::answer(504).applying_late(Duration::ZERO));
    assert_eq!(ask(&node, post("h")).status, 504);
    assert!(node.wait_until(|state| state.has("h"), PATIENCE));
    assert_eq!(node.has("g"), had_it, "applied after the restart");
}

#[test]
fn stays_mute_until_the_client_or_the_node_ends_it() {
    let node = node();
    node.inject(Fault::mute().times(2));
    let mut impatient = Client::connect(&node);
    impatient.send(post("g"));
    let mut patient = Client::connect(&node);
    patient.send(post("g"));
    assert!(node.wait_until(|state| state.count(Method::Post) == 2, PATIENCE));
    assert!(impatient.has_nothing());
    drop(impatient);
    assert!(node.wait_until(|state| state.connections() == 1, PATIENCE));
    assert!(!node.has("g"));
    node.stop();
    assert!(patient.is_closed());
}

#[test]
fn sends_garbage_and_raw_bytes() {
    let node = node();
    node.inject(Fault::garbage());
    node.inject(Fault::raw("HTTP/1.1 299 Odd\r\n\r\n").after_applying());
    let mut client = Client::connect(&node);
    client.send(post("g"));
    let garbage = client.rest().expect("some bytes");
    assert!(!garbage.is_empty() && !garbage.starts_with(b"HTTP"));
    assert!(!node.has("g"));
    let mut client = Client::connect(&node);
    client.send(post("g"));
    assert_eq!(client.rest().expect("some bytes"), b"HTTP/1.1 299 Odd\r\n\r\n");
    assert!(node.has("g"));
    assert_eq!(node.log()[1].status, None);
}

#[test]
fn trickles_a_head() {
    let interval = Duration::from_millis(1);
    let node = faulty(Fault::trickle(interval));
    let (mut client, start) = (Client::connect(&node), Instant::now());
    let trickled = client.ask(post("g"));
    assert_eq!(trickled.status, 201);
    let least = interval * u32::try_from(trickled.head.len() - 1).expect("a short head");
    assert!(start.elapsed() >= least);
    assert_eq!(client.ask(get("g")).status, 200);
}

#[test]
fn sends_an_endless_body_until_the_client_leaves() {
    let node = faulty(Fault::endless_body());
    let mut client = Client::connect(&node);
    let answer = client.ask(post("g"));
    assert_eq!((answer.status, answer.header("Transfer-Encoding")), (201, Some("chunked")));
    while client.unread.len() < 100_000 {
        assert!(client.more().expect("more of the body") > 0);
    }
    assert!(client.unread.starts_with(b"2000\r\n "));
    assert!(node.has("g"));
    drop(client);
    assert!(node.wait_until(|state| state.connections() == 0, PATIENCE));
}

#[test]
fn sends_a_huge_body() {
    let node = faulty(Fault::huge_body(1_000_000));
    let mut client = Client::connect(&node);
    let answer = client.ask(post("g"));
    assert_eq!((answer.status, answer.body.len()), (201, 1_000_000));
    assert_eq!(client.ask(get("g")).status, 200);
}

#[test]
fn redirects() {
    let node = faulty(Fault::redirect(302, "http://127.0.0.1:1/").on(Method::Delete));
    node.insert("g");
    let redirected = ask(&node, delete("g"));
    assert_eq!((redirected.status, redirected.header("Location")), (302, Some("http://127.0.0.1:1/")));
    assert!(node.has("g"));
}

#[test]
fn truncates_a_body() {
    let node = faulty(Fault::truncated_body());
    let mut client = Client::connect(&node);
    client.send(post("g"));
    let bytes = client.rest().expect("half an answer");
    let text = String::from_utf8(bytes).expect("a text");
    assert_eq!(header(&text, "Content-Length"), Some("115"));
    assert!(text.ends_with("\r\n\r\n{\"groupId\":\"g\"}"));
    assert!(node.has("g"));
}

#[test]
fn reads_stale_in_both_directions() {
    let node = node();
    let mut client = Client::connect(&node);
    node.inject(Fault::stale().times(2));
    assert_eq!(client.ask(post("g")).status, 201);
    assert_eq!([(); 3].map(|()| client.ask(get("g")).status), [404, 404, 200]);
    assert_eq!(client.ask(delete("g")).status, 200);
    node.inject(Fault::stale());
    assert_eq!([(); 2].map(|()| client.ask(get("g")).status), [200, 404]);
    node.inject(Fault::stale());
    assert_eq!(client.ask(get("never")).status, 404);
}

// ---- rates

/// Random fates of 200 requests.
fn fates(seed: u64, rates: Rates) -> Vec<(Option<Fault>, Option<u16>, bool)> {
    let node = started(Node::builder().seed(seed).rates(rates));
    let mut client = Client::connect(&node);
    for number in 0..100 {
        for request in [post(&format!("g{number}")), get(&format!("g{number}"))] {
            client.send(request);
            // An answer or a closed connection, either way something.
            if client.more().unwrap_or(0) == 0 {
                client = Client::connect(&node);
            }
            client.unread.clear();
        }
    }
    node.log().into_iter().map(|entry| (entry.fault, entry.status, entry.applied)).collect()
}

#[test]
fn the_same_seed_gives_the_same_faults() {
    let rates = Rates {
        error: 0.1,
        error_after_apply: 0.1,
        bad_request: 0.1,
        drop_before: 0.1,
        drop_after: 0.1,
        delay: 0.1,
        stale: 0.1,
        max_delay: Duration::from_micros(100),
        ..Rates::default()
    };
    let first = fates(7, rates);
    assert_eq!(first, fates(7, rates));
    assert_ne!(first, fates(8, rates));
    let struck = first.iter().filter(|(fault, ..)| fault.is_some()).count();
    assert!((60..180).contains(&struck), "{struck} of 200 requests were struck");
    let unharmed = fates(7, Rates::default());
    assert!(unharmed.iter().all(|(fault, status, _)| fault.is_none() && matches!(status, Some(200 | 201))));
}

#[test]
fn a_rate_of_one_always_strikes() {
    let none = Rates::default();
    let always = |rates: Rates| started(Node::builder().rates(rates));
    let failing = always(Rates { error: 1.0, ..none });
    assert!(matches!(ask(&failing, post("g")).status, 500..=504 | 429) && !failing.has("g"));
    let lying = always(Rates { error_after_apply: 1.0, ..none });
    assert!(matches!(ask(&lying, post("g")).status, 500..=504 | 429) && lying.has("g"));
    let refusing = always(Rates { bad_request: 1.0, ..none });
    assert!(ask(&refusing, post("g")).status == 400 && !refusing.has("g"));
    let late = always(Rates { apply_late: 1.0, max_delay: Duration::from_millis(1), ..none });
    let mut client = Client::connect(&late);
    client.send(post("g"));
    assert!(client.is_closed());
    assert!(late.wait_until(|state| state.has("g"), PATIENCE));
    let mute = always(Rates { mute: 1.0, ..none });
    let mut client = Client::connect(&mute);
    client.send(post("g"));
    assert!(mute.wait_until(|state| state.count(Method::Post) == 1, PATIENCE));
    mute.set_rates(none).expect("no rates are good rates");
    assert_eq!(ask(&mute, post("g")).status, 201);
    mute.stop();
    assert!(client.is_closed());
}

#[test]
fn rates_out_of_bounds_are_refused_by_name() {
    let none = Rates::default();
    for (rates, message) in [
        (Rates { error: 1.1, ..none }, "the rate error is 1.1, not within 0 to 1"),
        (Rates { stale: -0.5, ..none }, "the rate stale is -0.5, not within 0 to 1"),
        (Rates { delay: f64::NAN, ..none }, "the rate delay is NaN, not within 0 to 1"),
        (Rates { error: 0.75, mute: 0.5, ..none }, "the rates of faults that exclude each other add up to 1.25"),
    ] {
        let error = Node::builder().rates(rates).start().expect_err("a bad rate");
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::InvalidInput, message));
    }
}

// ---- the data file

#[test]
fn a_data_file_outlives_its_node() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("groups");
    let open = || Node::builder().data_file(&path).start();
    let node = open().expect("a new file");
    let mut client = Client::connect(&node);
    for group in ["a", "b%2", r"c\n"] {
        assert_eq!(client.ask(post(group)).status, 201);
    }
    assert_eq!(client.ask(delete("a")).status, 200);
    // A killed process would leave the file as it is before the node ends.
    assert_eq!(fs::read_to_string(&path).expect("a file"), "+a\n+b%252\n+c%0A\n-a\n");
    let error = open().expect_err("the file is in use");
    assert_eq!(error.to_string(), format!("data file {}: used by another node", path.display()));
    node.restart().expect("its own file");
    assert_eq!(node.groups(), ["b%2", "c\n"]);
    drop(node);

    let node = open().expect("a file that is free again");
    assert_eq!(node.groups(), ["b%2", "c\n"]);
    assert_eq!(fs::read_to_string(&path).expect("a file"), "+b%252\n+c%0A\n", "compacted");
    let error = open().expect_err("the compacted file is in use, too");
    assert_eq!(error.kind(), ErrorKind::ResourceBusy);
    assert_eq!(ask(&node, post("d")).status, 201);
    drop(node);
    for _ in 0..50 {
        let node = open().expect("a file that is let go of at once");
        assert_eq!(node.groups(), ["b%2", "c\n", "d"]);
        assert_eq!(ask(&node, get("d")).status, 200);
    }
    assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 1, "no other file is left");
}

#[test]
fn torn_last_line_is_dropped_and_a_corrupt_file_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("groups");
    let open = || Node::builder().data_file(&path).start();
    fs::write(&path, "+a\n+bc").expect("a file");
    let node = open().expect("a torn line is no error");
    assert_eq!(node.groups(), ["a"]);
    assert_eq!(ask(&node, post("d")).status, 201);
    drop(node);
    assert_eq!(fs::read_to_string(&path).expect("a file"), "+a\n+d\n");

    for content in ["+a\nwhat\n+b\n", "+a\n+\n", "+a\n\n", "+a\n+%FF\n", "+a\na person's only line"] {
        fs::write(&path, content).expect("a file");
        let error = open().expect_err("a spoiled file");
        let expected = format!("data file {}: line 2 is neither +id nor -id", path.display());
        assert_eq!(error.to_string(), expected, "{content:?}");
        assert_eq!(fs::read_to_string(&path).expect("a file"), content, "the file was touched");
    }
    let error = Node::builder().data_file(directory.path()).start().expect_err("a directory");
    assert!(error.to_string().starts_with(&format!("data file {}: ", directory.path().display())));
}

// ---- its life

#[test]
fn stops_at_once_with_connections_in_any_state() {
    let node = node();
    node.inject(Fault::mute().group("mute"));
    node.inject(Fault::endless_body().group("endless"));
    node.inject(Fault::delay(PATIENCE).group("delay"));
    node.inject(Fault::trickle(PATIENCE).group("trickle"));
    node.inject(Fault::apply_late(PATIENCE).group("late"));
    let mut clients = vec![Client::connect(&node)];
    for group in ["mute", "endless", "delay", "trickle", "late"] {
        let mut client = Client::connect(&node);
        client.send(post(group));
        clients.push(client);
    }
    assert!(node.wait_until(|state| state.count(Method::Post) == 5, PATIENCE));
    let start = Instant::now();
    node.stop();
    assert!(start.elapsed() < Duration::from_secs(2), "it took {:?}", start.elapsed());
    assert_eq!(node.connections(), 0);
    assert!(!node.has("mute") && !node.has("delay") && !node.has("late"));
    assert_eq!(node.count(Method::Post), 5);
    let refused = TcpStream::connect(node.address()).expect_err("the port is closed");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    node.stop();
}

#[test]
fn comes_back_on_its_port_as_often_as_wanted() {
    let node = node();
    let url = node.url();
    for round in 0..20 {
        let mut client = Client::connect(&node);
        assert_eq!(client.ask(post(&format!("g{round}"))).status, 201);
        node.stop();
        node.insert(&format!("h{round}"));
        // The system must not give this port to another process meanwhile.
        let others: Vec<_> = (0..20).map(|_| self::node()).collect();
        assert!(others.iter().all(|other| other.port() != node.port()));
        node.restart().expect("the port is kept");
        assert!(node.has(&format!("g{round}")));
        // The old connection is dead, not taken over.
        assert!(client.rest().map_or(true, |rest| rest.is_empty()));
    }
    assert_eq!(node.url(), url);
    assert_eq!((node.groups().len(), node.log().len()), (40, 20));
    node.restart().expect("a restart stops first");
    assert_eq!(ask(&node, get("g0")).status, 200);
}

/// Checks that a connection of ours keeps the port in use, so that the system gives it to no other process.
#[test]
#[cfg(target_os = "linux")]
fn a_stopped_node_keeps_its_port_in_use() {
    let node = node();
    let established = || {
        let table = fs::read_to_string("/proc/net/tcp").expect("a table of sockets");
        let ours = format!("0100007F:{:04X}", node.port());
        table.lines().any(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            words.get(1) == Some(&ours.as_str()) && words.get(3) == Some(&"01")
        })
    };
    assert!(!established());
    node.stop();
    assert!(established());
    node.restart().expect("the port is kept");
    assert!(!established());
}

#[test]
fn a_paused_node_does_nothing_until_resumed() {
    let node = node();
    let mut known = Client::connect(&node);
    assert_eq!(known.ask(post("g")).status, 201);
    node.pause();
    let mut new = Client::connect(&node);
    known.send(post("known"));
    new.send(post("new"));
    let moved = |node: &Node| node.wait_until(|state| state.log().len() > 1, Duration::from_millis(50));
    assert!(!moved(&node) && known.has_nothing() && new.has_nothing());
    node.resume();
    assert_eq!((known.answer().status, new.answer().status), (201, 201));

    node.pause();
    known.send(post("lost"));
    node.stop();
    assert!(!node.has("lost"));
    node.restart().expect("the port is kept");
    assert_eq!(ask(&node, post("found")).status, 201);
}

#[test]
fn pause_delays_late_applications() {
    let node = faulty(Fault::answer(504).applying_late(Duration::from_millis(30)));
    assert_eq!(ask(&node, post("g")).status, 504);
    node.pause();
    let had_it = node.has("g");
    let comes = node.wait_until(|state| state.has("g") != had_it, Duration::from_millis(60));
    assert!(!comes, "applied in a pause");
    node.resume();
    assert!(node.wait_until(|state| state.has("g"), PATIENCE));
}

#[test]
fn wait_until_returns_after_a_matching_request() {
    let node = node();
    assert!(!node.wait_until(|state| state.has("g"), Duration::from_millis(5)));
    let start = Instant::now();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| node.wait_until(|state| state.has("g"), PATIENCE));
        assert_eq!(ask(&node, post("g")).status, 201);
        assert!(waiting.join().expect("no panic"));
    });
    assert!(start.elapsed() < PATIENCE / 2, "it waited for the timeout");
}

#[test]
fn panic_of_a_condition_affects_no_other_request() {
    let node = node();
    thread::scope(|scope| {
        let panicking = scope.spawn(|| node.wait_until(|_| panic!("on purpose"), PATIENCE));
        assert!(panicking.join().is_err());
    });
    assert_eq!(ask(&node, post("g")).status, 201);
    assert!(node.wait_until(|state| state.has("g"), PATIENCE));
}

#[test]
fn the_log_is_bounded_and_can_be_emptied() {
    let node = started(Node::builder().log_limit(3));
    let mut client = Client::connect(&node);
    for _ in 0..5 {
        client.ask(get("g"));
    }
    client.ask(post("g"));
    let log = node.log();
    assert_eq!(log.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [4, 5, 6]);
    assert_eq!(log.iter().map(|entry| entry.status).collect::<Vec<_>>(), [Some(404), Some(404), Some(201)]);
    assert_eq!((node.count(Method::Get), node.count(Method::Post)), (5, 1));
    assert_eq!(log[2].group.as_deref(), Some("g"));
    assert!(log[2].applied && !log[1].applied);
    node.clear_log();
    assert_eq!((node.log().len(), node.count(Method::Get)), (0, 0));
    client.ask(get("g"));
    assert_eq!(node.log()[0].sequence, 7);
}

#[test]
fn invalid_settings_are_named_in_the_error() {
    let taken = node();
    let address = taken.address().to_string();
    let error = Node::builder().address(&address).start().expect_err("a taken port");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(error.to_string().starts_with(&format!("a node cannot listen on {address}: ")));
    let error = Node::builder().address("nonsense").start().expect_err("no port");
    assert!(error.to_string().starts_with("a node cannot listen on nonsense: "));
    let error = Node::builder().path("v1").start().expect_err("a relative path");
    assert_eq!(error.to_string(), "the path \"v1\" does not begin with a slash");
}

#[test]
fn listens_on_all_addresses_and_on_ipv6() {
    let open = started(Node::builder().address("0.0.0.0:0"));
    assert_eq!(open.url(), format!("http://127.0.0.1:{}", open.port()));
    assert_eq!(ask(&open, post("g")).status, 201);
    open.stop();
    open.restart().expect("the port is kept");
    // Not every machine has IPv6.
    if let Ok(six) = Node::builder().address("[::1]:0").start() {
        assert_eq!(six.url(), format!("http://[::1]:{}", six.port()));
        assert_eq!(ask(&six, post("g")).status, 201);
    }
}

#[test]
fn cluster_lists_the_holders_of_a_group() {
    let cluster = Cluster::start_with(3, |number| Node::builder().seed(number as u64)).expect("three ports");
    assert!(cluster.none_has("g"));
    for node in &cluster.nodes()[..2] {
        assert_eq!(ask(node, post("g")).status, 201);
    }
    assert_eq!(cluster.holders("g"), [0, 1]);
    assert!(!cluster.all_have("g") && !cluster.none_has("g"));
    cluster.node(2).insert("g");
    assert!(cluster.all_have("g"));
    assert_eq!(cluster.urls()[1], cluster.node(1).url());
    cluster.node(0).stop();
    assert_eq!(cluster.holders("g"), [0, 1, 2]);
}

#[test]
fn can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Node>();
    shared::<Cluster>();
    shared::<NodeBuilder>();
    shared::<Fault>();
}
