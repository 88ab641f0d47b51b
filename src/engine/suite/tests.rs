//! Tests against raw sockets that misbehave. The module that includes this file provides the tested engine or transport
//! as `Subject`.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::subject::Subject;
use crate::api::{Action, Api, Body, BodyUse, Reply, Request};
use crate::engine::Exchange;
use crate::http::credentials::{CredentialStore, HeaderLines};
use crate::http::proxy::Proxy;
use crate::values::credentials::Credentials;
use crate::values::group::GroupId;
use crate::values::host::Host;
use crate::values::usage::Traffic;

/// Timeout that must not be reached.
pub(super) const PLENTY: Duration = Duration::from_secs(30);
/// Timeout that must be reached.
pub(super) const BRIEF: Duration = Duration::from_millis(150);
pub(super) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

/// A server whose connections are handled by a function of their number.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) requests: Receiver<String>,
}

/// One connection at the server.
pub(super) struct Peer {
    pub(super) stream: BufReader<TcpStream>,
    seen: Sender<String>,
}

impl Peer {
    /// Reads a whole request, and records it. Returns `None` at the end of the connection.
    pub(super) fn request(&mut self) -> Option<String> {
        let mut text = String::new();
        let mut length = 0;
        loop {
            let start = text.len();
            if self.stream.read_line(&mut text).ok()? == 0 {
                return None;
            }
            let line = text[start..].to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).ok()?;
        text += std::str::from_utf8(&body).unwrap();
        self.seen.send(text.clone()).ok();
        Some(text)
    }

    pub(super) fn send(&mut self, text: impl AsRef<[u8]>) {
        // The client may have closed the connection, if the test is about that.
        let _ = self.stream.get_mut().write_all(text.as_ref());
    }

    /// Reads a request and answers 200. The answer to HEAD has the length of a body, and no body.
    fn answer_ok(&mut self) -> Option<()> {
        let request = self.request()?;
        self.send(if request.starts_with("HEAD ") { OK.strip_suffix("{}").unwrap() } else { OK });
        Some(())
    }

    /// Blocks until the client closes.
    pub(super) fn wait(&mut self) {
        let _ = io::copy(&mut self.stream, &mut io::sink());
    }

    /// Sends `bytes` one by one.
    #[cfg(feature = "rustls")]
    fn trickle_once(&mut self, bytes: &[u8]) {
        self.stream.get_ref().set_nodelay(true).unwrap();
        bytes.chunks(1).for_each(|byte| self.send(byte));
    }

    /// Sends `piece` every few milliseconds until the client closes.
    fn trickle(&mut self, piece: &[u8]) {
        let socket = self.stream.get_mut();
        socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        while socket.write_all(piece).is_ok() && !matches!(socket.read(&mut [0; 64]), Ok(0)) {}
    }

    /// Closes with a reset (RST).
    #[cfg(unix)]
    fn reset(self) {
        socket2::SockRef::from(self.stream.get_ref()).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

pub(super) fn serve(handle: impl Fn(usize, Peer) + Send + Sync + 'static) -> Server {
    serve_at("127.0.0.1:0", handle)
}

pub(super) fn serve_at(address: &str, handle: impl Fn(usize, Peer) + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind(address).unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, requests) = mpsc::channel();
    let handle = Arc::new(handle);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let peer = Peer { stream: BufReader::new(stream.unwrap()), seen: seen.clone() };
            let handle = Arc::clone(&handle);
            thread::spawn(move || handle(number, peer));
        }
    });
    Server { address, requests }
}

/// Answers every request with `answer` and then closes.
pub(super) fn answering(answer: &'static str) -> Server {
    serve(move |_, mut peer| {
        peer.request();
        peer.send(answer);
    })
}

impl Server {
    pub(super) fn transport(&self) -> Subject {
        transport(&format!("http://{}", self.address))
    }

    fn ask(&self, action: Action, timeout: Duration) -> Reply {
        ask(&self.transport(), action, timeout)
    }
}

fn transport(url: &str) -> Subject {
    Subject::to(&[Host::parse(url).unwrap()]).unwrap()
}

impl Subject {
    pub(crate) fn run(&self, exchange: Exchange) -> Reply {
        self.run_counted(exchange).0
    }
}

pub(super) fn ask(transport: &Subject, action: Action, timeout: Duration) -> Reply {
    let request = Api::default().request(action, &GroupId::parse("g1").unwrap());
    let start = Instant::now();
    let reply = transport.run(Exchange { only_reads: action == Action::Check, ..exchange(0, &request, timeout) });
    assert!(start.elapsed() < timeout + Duration::from_secs(5), "{action} took {:?}", start.elapsed());
    reply
}

/// Returns an exchange that changes something, without credentials.
pub(super) fn exchange(host: usize, request: &Request, timeout: Duration) -> Exchange {
    let credentials = HeaderLines::default();
    Exchange {
        id: 0,
        host,
        request: Arc::new(request.clone()),
        only_reads: false,
        credentials,
        timeout,
        not_after: None,
    }
}

/// Returns an exchange with these credentials.
fn with(credentials: HeaderLines, request: &Request) -> Exchange {
    Exchange { credentials, ..exchange(0, request, PLENTY) }
}

pub(super) fn send(transport: &Subject, host: usize, request: &Request, timeout: Duration) -> Reply {
    transport.run(exchange(host, request, timeout))
}

/// Returns a reply as one line, without its body, for comparison.
pub(super) fn describe(reply: &Reply) -> String {
    match reply {
        Reply::NotSent(e) => format!("not sent, {:?}: {e}", e.kind()),
        Reply::Ambiguous(e) => format!("ambiguous, {:?}: {e}", e.kind()),
        Reply::Answered { status, retry_after: None, .. } => format!("{status}"),
        Reply::Answered { status, retry_after: Some(after), .. } => format!("{status}, retry after {after:?}"),
    }
}

/// Returns a reply as one line, for comparison.
pub(super) fn describe_whole(reply: &Reply) -> String {
    let body = match reply {
        Reply::Answered { body: Body::Whole(bytes), .. } => format!(", body {:?}", bytes.escape_ascii().to_string()),
        Reply::Answered { body: Body::Cut(_), .. } => ", body cut".to_owned(),
        _ => String::new(),
    };
    describe(reply) + &body
}

#[track_caller]
pub(super) fn assert_reply(reply: &Reply, expected: &str) {
    assert_eq!(describe(reply), expected);
}

pub(super) const ACTIONS: [Action; 3] = [Action::Create, Action::Check, Action::Delete];
const CLOSED: &str = "ambiguous, Closed: the connection was closed before the answer";
pub(super) const REFUSED: &str = "not sent, Connect: connection refused";

#[test]
fn each_action_of_the_default_api_sends_exactly_these_bytes() {
    const BODY: &str = "{\"groupId\": \"g1\"}";
    let server = answering(OK);
    for (action, line, body) in [
        (Action::Create, "POST /base/v1/group/", BODY),
        (Action::Check, "GET /base/v1/group/g1/", ""),
        (Action::Delete, "DELETE /base/v1/group/", BODY),
    ] {
        let mut expected = vec![format!("{line} HTTP/1.1\r\n")];
        for name in Subject::HEADERS {
            expected.push(match name {
                "accept" => "accept: application/json\r\n".to_owned(),
                "host" => format!("host: {}\r\n", server.address),
                "user-agent" => format!("user-agent: cluster-client/{}\r\n", env!("CARGO_PKG_VERSION")),
                _ if body.is_empty() => String::new(),
                "content-length" => format!("content-length: {}\r\n", body.len()),
                "content-type" => "content-type: application/json\r\n".to_owned(),
                other => unreachable!("{other}"),
            });
        }
        assert_reply(&ask(&transport(&format!("http://{}/base", server.address)), action, PLENTY), "200");
        assert_eq!(server.requests.recv().unwrap(), format!("{}\r\n{body}", expected.concat()));
    }
}

/// Returns a request with this method, and without headers of its own.
fn request(method: &'static str, body: Option<&str>) -> Request {
    let body = body.map(str::to_owned);
    Request { method: method.into(), path: "/x?y=1".into(), headers: Arc::new([]), body, body_use: BodyUse::Unused }
}

fn named(headers: &[(&str, &str)]) -> Arc<[(String, String)]> {
    headers.iter().map(|(name, value)| (String::from(*name), String::from(*value))).collect()
}

#[test]
fn any_method_is_sent_with_or_without_a_body() {
    let server = serve(|number, mut peer| while number == 0 && peer.answer_ok().is_some() {});
    let transport = server.transport();
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "MKCOL", "PROPFIND", "x-own!", "get"] {
        for (body, lines) in [
            (Some("<a/>"), &["content-length: 4", "content-type: application/json"][..]),
            (Some(""), &["content-length: 0", "content-type: application/json"]),
            (None, if ["POST", "PUT", "PATCH"].contains(&method) { &["content-length: 0"] } else { &[] }),
        ] {
            let sent = Request { body_use: BodyUse::Needed, ..request(method, body) };
            let expected = if method == "HEAD" { "200, body \"\"" } else { "200, body \"{}\"" };
            assert_eq!(describe_whole(&send(&transport, 0, &sent, PLENTY)), expected, "{method}");
            let seen = server.requests.recv().unwrap();
            let (head, content) = seen.split_once("\r\n\r\n").unwrap();
            assert_eq!(head.lines().next().unwrap(), format!("{method} /x?y=1 HTTP/1.1"));
            let mut about_body: Vec<_> = head.lines().filter(|line| line.starts_with("content-")).collect();
            about_body.sort_unstable();
            assert_eq!((about_body.as_slice(), content), (lines, body.unwrap_or_default()), "{method}");
            assert!(!head.contains("transfer-encoding"), "{head}");
        }
    }
}

#[test]
fn headers_of_the_request_replace_the_defaults_and_credentials_are_added() {
    let server = serve(|_, mut peer| while peer.answer_ok().is_some() {});
    let transport = server.transport();
    let long = "y".repeat(3000);
    let headers = named(&[
        ("Accept", "text/plain"),
        ("Content-Type", "text/xml"),
        ("x-twice", "1"),
        ("X-Twice", "2"),
        ("x-long", &long),
        ("HOST", "virtual"),
        ("User-Agent", "me"),
    ]);
    let xml = Request { headers, ..request("PROPFIND", Some("<a/>")) };
    // Send the default headers again afterwards, over the same connection.
    for (exchange, expected) in [
        (
            with(credentials("z"), &xml),
            vec![
                "PROPFIND /x?y=1 HTTP/1.1".to_owned(),
                "X-Token: z".to_owned(),
                "accept: text/plain".to_owned(),
                "authorization: Bearer z".to_owned(),
                "content-length: 4".to_owned(),
                "content-type: text/xml".to_owned(),
                "host: virtual".to_owned(),
                "user-agent: me".to_owned(),
                format!("x-long: {long}"),
                "x-twice: 1".to_owned(),
                "x-twice: 2".to_owned(),
            ],
        ),
        (
            exchange(0, &request("MKCOL", None), PLENTY),
            vec![
                "MKCOL /x?y=1 HTTP/1.1".to_owned(),
                "accept: application/json".to_owned(),
                format!("host: {}", server.address),
                format!("user-agent: cluster-client/{}", env!("CARGO_PKG_VERSION")),
            ],
        ),
    ] {
        assert_reply(&transport.run(exchange), "200");
        let seen = server.requests.recv().unwrap();
        let mut lines: Vec<_> = seen.split_once("\r\n\r\n").unwrap().0.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, expected);
    }
}

#[test]
fn request_that_is_not_valid_or_frames_itself_is_not_sent() {
    let server = answering(OK);
    let with = |name, value| Request { headers: named(&[(name, value)]), ..request("PUT", Some("{}")) };
    for request in [
        request("", None),
        request("A B", None),
        request("GET\r\n", None),
        request("CONNECT", None),
        with("Content-Length", "1"),
        with("transfer-encoding", "chunked"),
        with("Expect", "100-continue"),
        with("a b", "c"),
        with("", "c"),
        with("a", "b\r\nc: d"),
    ] {
        let expected = "not sent, Internal: the request could not be written";
        assert_eq!(describe(&send(&server.transport(), 0, &request, PLENTY)), expected, "{request:?}");
    }
    assert_eq!(server.requests.try_iter().count(), 0);
}

#[test]
fn redirect_keeps_any_method_with_its_headers_and_body() {
    for method in ["PUT", "PATCH", "MKCOL", "PROPFIND", "GET", "HEAD", "DELETE"] {
        for body in [None, Some("<a/>")] {
            let server = serve(|_, mut peer| {
                while let Some(request) = peer.request() {
                    let moves = request.split(' ').nth(1) != Some("/moved");
                    let start = if moves { "308 x\r\nlocation: /moved" } else { "299 x" };
                    peer.send(format!("HTTP/1.1 {start}\r\ncontent-length: 0\r\n\r\n"));
                }
            });
            let sent = Request { headers: named(&[("X-Own", "1"), ("accept", "a/b")]), ..request(method, body) };
            assert_reply(&server.transport().run(with(credentials("z"), &sent)), "299");
            let (first, second) = (server.requests.recv().unwrap(), server.requests.recv().unwrap());
            assert!(first.contains("x-own: 1") && first.contains("authorization: Bearer z"), "{first}");
            assert!(first.ends_with(&format!("\r\n\r\n{}", body.unwrap_or_default())), "{first}");
            assert_eq!(second, first.replacen("/x?y=1", "/moved", 1));
        }
    }
}

#[test]
fn connection_is_reused_for_later_requests() {
    let server = serve(|number, mut peer| {
        let status = if number == 0 { "200" } else { "500" };
        while peer.request().is_some() {
            peer.send(format!("HTTP/1.1 {status} x\r\ncontent-length: 5000\r\n\r\n{}", "b".repeat(5000)));
        }
    });
    let transport = server.transport();
    for _ in 0..5 {
        for action in ACTIONS {
            assert_reply(&ask(&transport, action, PLENTY), "200");
        }
    }
}

#[test]
fn connections_of_simultaneous_requests_are_reused() {
    let server = serve(|number, mut peer| {
        while peer.request().is_some() {
            peer.send(if number < 32 { OK } else { "HTTP/1.1 500 more\r\ncontent-length: 0\r\n\r\n" });
        }
    });
    let transport = server.transport();
    for _ in 0..4 {
        thread::scope(|scope| {
            for _ in 0..32 {
                scope.spawn(|| assert_reply(&ask(&transport, Action::Create, PLENTY), "200"));
            }
        });
    }
}

#[test]
fn status_is_read_with_any_body() {
    for (answer, expected) in [
        ("HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n", "201"),
        ("HTTP/1.1 204 No Content\r\n\r\n", "204"),
        ("HTTP/1.1 404\r\n\r\nuntil the end", "404"),
        ("HTTP/1.0 200 OK\r\n\r\nold", "200"),
        ("HTTP/1.1 599 x\r\n\r\n", "599"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "200"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnonsense", "200"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\n{}", "200"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{}", "200"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\n{}", "200"),
        ("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}", "200"),
    ] {
        for action in ACTIONS {
            assert_eq!(describe(&answering(answer).ask(action, PLENTY)), expected, "{answer}");
        }
    }
}

#[test]
fn answer_without_a_valid_head_is_ambiguous() {
    for (answer, expected) in [
        ("", CLOSED),
        ("HTTP/1.1 200 OK\r\ncontent-len", CLOSED),
        ("HTTP/1.1 200", CLOSED),
        ("HTTP/1.1 102 Processing\r\n\r\n", CLOSED),
        ("SSH-2.0-OpenSSH_9.2\r\n", "ambiguous, Garbage: the answer is not HTTP"),
        ("\0\0\0\0\0\0\0\0", "ambiguous, Garbage: the answer is not HTTP"),
        ("HTTP/2 200 OK\r\n\r\n", "ambiguous, Garbage: the answer is not HTTP"),
        ("HTTP/1.1 2x0 OK\r\n\r\n", "ambiguous, Garbage: the answer is not HTTP"),
        ("HTTP/1.1 000 OK\r\n\r\n", "ambiguous, Garbage: the answer is not HTTP"),
        ("HTTP/1.1 099 OK\r\n\r\n", "ambiguous, Garbage: the answer is not HTTP"),
        ("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n{}", "ambiguous, Garbage: the answer is not HTTP"),
        ("HTTP/1.1 200 OK\r\na b: c\r\n\r\n{}", "ambiguous, Garbage: the answer is not HTTP"),
        ("HTTP/1.1 101 Switching\r\n\r\n", "ambiguous, Garbage: the answer has the status 101"),
        ("HTTP/1.1 600 x\r\n\r\n", "ambiguous, Garbage: the answer has the status 600"),
        ("HTTP/1.1 999 x\r\n\r\n", "ambiguous, Garbage: the answer has the status 999"),
    ] {
        for action in ACTIONS {
            assert_eq!(describe(&answering(answer).ask(action, PLENTY)), expected, "{answer}");
        }
    }
}

#[test]
fn interim_answers_are_skipped_until_the_timeout() {
    let server = answering(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: x\r\n\r\nHTTP/1.1 201 OK\r\ncontent-length: 0\r\n\r\n",
    );
    assert_reply(&server.ask(Action::Create, PLENTY), "201");
    let endless = serve(|_, mut peer| {
        peer.request();
        peer.trickle(b"HTTP/1.1 102 Processing\r\n\r\n");
    });
    assert_reply(&endless.ask(Action::Create, BRIEF), "ambiguous, Timeout: no answer within 150ms");
}

#[test]
fn head_larger_than_the_limit_is_garbage() {
    let server = serve(|_, mut peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nx: ");
        peer.send("y".repeat(20_000));
        peer.wait();
    });
    let expected = "ambiguous, Garbage: the head of the answer is larger than 16384 bytes";
    assert_reply(&server.ask(Action::Create, PLENTY), expected);
    let many = serve(|_, mut peer| {
        peer.request();
        peer.send(format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(1000)));
        peer.wait();
    });
    assert_reply(&many.ask(Action::Create, PLENTY), "ambiguous, Garbage: the answer is not HTTP");
}

#[test]
fn head_below_the_limit_is_read() {
    let server = serve(|_, mut peer| {
        while peer.request().is_some() {
            peer.send(format!("HTTP/1.1 201 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n", "y".repeat(15_000)));
        }
    });
    assert_reply(&server.ask(Action::Create, PLENTY), "201");
}

#[test]
fn server_that_never_answers_is_ambiguous_after_the_timeout() {
    let server = serve(|_, mut peer| {
        peer.request();
        peer.wait();
    });
    for action in ACTIONS {
        let start = Instant::now();
        assert_reply(&server.ask(action, BRIEF), "ambiguous, Timeout: no answer within 150ms");
        assert!(start.elapsed() >= BRIEF);
    }
}

#[test]
fn second_request_on_a_connection_has_its_own_timeout() {
    let server = serve(|_, mut peer| {
        peer.request();
        peer.send(OK);
        peer.request();
        peer.wait();
    });
    let transport = server.transport();
    assert_reply(&ask(&transport, Action::Create, PLENTY), "200");
    assert_reply(&ask(&transport, Action::Create, BRIEF), "ambiguous, Timeout: no answer within 150ms");
    assert_eq!(server.requests.try_iter().count(), 2);
}

#[test]
fn head_that_trickles_is_ambiguous_after_the_timeout() {
    let server = serve(|_, mut peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nx: ");
        peer.trickle(b"y");
    });
    assert_reply(&server.ask(Action::Create, BRIEF), "ambiguous, Timeout: no answer within 150ms");
}

#[test]
fn slow_or_huge_body_does_not_delay_the_answer() {
    let head = "HTTP/1.1 201 OK\r\n";
    for (framing, piece) in [
        ("transfer-encoding: chunked\r\n\r\n", "2\r\n{}\r\n".to_owned()),
        ("content-length: 1000000000\r\n\r\n", "{".to_owned()),
        ("content-length: 1000000000\r\n\r\n", "{".repeat(10_000)),
        ("\r\n", "{".repeat(10_000)),
        ("\r\n", "{".to_owned()),
    ] {
        let server = serve(move |_, mut peer| {
            peer.request();
            peer.send(head);
            peer.send(framing);
            peer.trickle(piece.as_bytes());
        });
        let start = Instant::now();
        // Long enough for a loaded machine, and far below the time that the whole body would take.
        assert_reply(&server.ask(Action::Create, Duration::from_secs(5)), "201");
        assert_reply(&server.ask(Action::Create, PLENTY), "201");
        assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    }
}

#[test]
fn connection_with_an_unread_body_is_not_reused() {
    let server = serve(|number, mut peer| {
        peer.request();
        if number == 0 {
            peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: 70000\r\n\r\n{}", "x".repeat(70_000)));
        } else {
            peer.send("HTTP/1.1 204 OK\r\n\r\n");
        }
        peer.wait();
    });
    let transport = server.transport();
    assert_reply(&ask(&transport, Action::Create, PLENTY), "200");
    assert_reply(&ask(&transport, Action::Create, PLENTY), "204");
}

#[test]
fn unsolicited_bytes_are_not_taken_as_an_answer() {
    let (done, is_done) = mpsc::channel::<()>();
    let (sent, is_sent) = mpsc::channel();
    let is_done = Mutex::new(is_done);
    let server = serve(move |number, mut peer| {
        peer.request();
        peer.send(OK);
        if number == 0 {
            is_done.lock().unwrap().recv().unwrap();
            peer.send("HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n");
            sent.send(()).unwrap();
        }
        peer.wait();
    });
    let transport = server.transport();
    assert_reply(&ask(&transport, Action::Create, PLENTY), "200");
    done.send(()).unwrap();
    is_sent.recv().unwrap();
    assert_reply(&ask(&transport, Action::Create, PLENTY), "200");
    let at_once = answering("HTTP/1.1 200 x\r\ncontent-length: 0\r\n\r\nHTTP/1.1 500 x\r\n\r\n");
    assert_reply(&at_once.ask(Action::Create, PLENTY), "200");
}

#[cfg(unix)]
#[test]
fn reset_before_the_answer_is_ambiguous() {
    let server = serve(|_, mut peer| {
        peer.request();
        peer.reset();
    });
    for action in ACTIONS {
        assert_reply(&server.ask(action, PLENTY), CLOSED);
    }
}

/// Returns an address that refuses connections. Its port is bound without a listener, so no other process gets it.
#[cfg(unix)]
pub(super) fn refusing() -> (SocketAddr, impl Sized) {
    let socket = reserved(0).unwrap();
    (socket.local_addr().unwrap().as_socket().unwrap(), socket)
}

#[cfg(not(unix))]
pub(super) fn refusing() -> (SocketAddr, impl Sized) {
    (TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap(), ())
}

#[cfg(unix)]
fn reserved(port: u16) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    Ok(socket)
}

#[cfg(not(unix))]
fn reserved(_: u16) -> io::Result<()> {
    Ok(())
}

#[test]
fn refused_connection_is_not_sent() {
    let (free, _socket) = refusing();
    assert_reply(&ask(&transport(&format!("http://{free}")), Action::Create, PLENTY), REFUSED);
    let host = format!("http://localhost:{}", free.port());
    assert_reply(&ask(&transport(&host), Action::Create, PLENTY), REFUSED);
}

/// Returns the address of a listener whose queue is full, with the connections that fill it.
#[cfg(target_os = "linux")]
pub(super) fn blackhole() -> (SocketAddr, impl Sized) {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, BRIEF) {
        queued.push(stream);
        assert!(queued.len() < 64, "the queue has no end");
    }
    (address, (listener, queued))
}

#[cfg(target_os = "linux")]
#[test]
fn connect_without_an_answer_is_not_sent_after_the_timeout() {
    let (address, _queue) = blackhole();
    let start = Instant::now();
    let reply = ask(&transport(&format!("http://{address}")), Action::Create, BRIEF);
    assert_reply(&reply, "not sent, Connect: no connection within 150ms");
    assert!(start.elapsed() >= BRIEF);
}

#[test]
fn zero_timeout_sends_nothing_and_the_longest_one_does() {
    let server = answering(OK);
    assert_reply(&server.ask(Action::Create, Duration::ZERO), "not sent, Connect: no connection within 0ns");
    let transport = server.transport();
    assert_reply(&ask(&transport, Action::Create, PLENTY), "200");
    assert!(matches!(ask(&transport, Action::Create, Duration::ZERO), Reply::NotSent(_)));
    let request = Api::default().request(Action::Check, &GroupId::parse("g1").unwrap());
    let check = Exchange { only_reads: true, ..exchange(0, &request, Duration::MAX) };
    assert_reply(&transport.run(check), "200");
    assert!(matches!(send(&transport, 1, &request, PLENTY), Reply::NotSent(_)));
}

#[test]
fn request_that_would_outlast_its_claim_is_not_sent() {
    let server = answering(OK);
    let transport = server.transport();
    let request = Api::default().request(Action::Create, &GroupId::parse("g1").unwrap());
    let until =
        |left: Duration| Exchange { not_after: Instant::now().checked_add(left), ..exchange(0, &request, PLENTY) };
    let refused = "not sent, GivenUp: the request would outlast the claim on the group";
    assert_reply(&transport.run(until(PLENTY / 2)), refused);
    assert_eq!(server.requests.try_iter().count(), 0);
    assert_reply(&transport.run(until(PLENTY * 2)), "200");
    // Over the connection that is kept now.
    assert_reply(&transport.run(until(Duration::ZERO)), refused);
    assert_eq!(server.requests.try_iter().count(), 1);
}

#[test]
fn redirect_is_followed_once_if_it_keeps_method_and_origin() {
    for status in [301, 302, 303, 307, 308] {
        for action in ACTIONS {
            let elsewhere = answering(OK);
            let away = elsewhere.address;
            let server = serve(move |_, mut peer| {
                while let Some(request) = peer.request() {
                    let target = match request.split(' ').nth(1).unwrap() {
                        path if path.starts_with("/moved") => {
                            peer.send("HTTP/1.1 299 there\r\ncontent-length: 0\r\n\r\n");
                            continue;
                        }
                        path if path.starts_with("/away") => format!("http://{away}/moved"),
                        path if path.starts_with("/circle") => "/circle".to_owned(),
                        _ => "/moved".to_owned(),
                    };
                    peer.send(format!("HTTP/1.1 {status} x\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n"));
                }
            });
            let base = format!("http://{}", server.address);
            let followed = matches!(status, 307 | 308);
            let expected = if followed { "299".into() } else { status.to_string() };
            assert_reply(&ask(&transport(&base), action, PLENTY), &expected);
            let first = server.requests.recv().unwrap();
            if followed {
                let second = server.requests.recv().unwrap();
                let moved = first.replacen(first.split(' ').nth(1).unwrap(), "/moved", 1);
                assert_eq!(second, moved);
            }
            assert_reply(&ask(&transport(&format!("{base}/away")), action, PLENTY), &status.to_string());
            assert_reply(&ask(&transport(&format!("{base}/circle")), action, PLENTY), &status.to_string());
            let asked = server.requests.try_iter().count();
            assert_eq!(asked, if followed { 3 } else { 2 });
            assert_eq!(elsewhere.requests.try_iter().count(), 0);
        }
    }
}

/// Returns credentials with `token` in the lines of two headers.
fn credentials(token: &str) -> HeaderLines {
    let host = Host::parse("http://localhost").unwrap();
    let both = Credentials::bearer(token).header("X-Token", token);
    let store = CredentialStore::load(std::slice::from_ref(&host), &both, &[], false, Instant::now()).unwrap();
    store.of(&host).unwrap().lines(Instant::now())
}

#[test]
fn credentials_are_sent_whole_with_every_action_on_each_connection() {
    let server = serve(|_, mut peer| {
        while peer.request().is_some() {
            peer.send(OK);
        }
    });
    let transport = server.transport();
    // The longest token is larger than the buffers of ureq.
    for token in ["abc", &"y".repeat(8 * 1024)] {
        for action in ACTIONS {
            let request = Api::default().request(action, &GroupId::parse("g1").unwrap());
            assert_reply(&send(&transport, 0, &request, PLENTY), "200");
            let plain = server.requests.recv().unwrap();
            assert_reply(&transport.run(with(credentials(token), &request)), "200");
            let line = plain.find('\n').unwrap() + 1;
            let lines = format!("authorization: Bearer {token}\r\nX-Token: {token}\r\n");
            let expected = [&plain[..line], &lines, &plain[line..]].concat();
            assert_eq!(server.requests.recv().unwrap(), expected);
        }
    }
}

#[test]
fn traffic_is_that_of_the_request_and_of_its_answer() {
    let server = serve(|_, mut peer| while peer.answer_ok().is_some() {});
    let transport = server.transport();
    let request = Api::default().request(Action::Create, &GroupId::parse("g1").unwrap());
    for _ in 0..2 {
        let (reply, traffic) = transport.run_counted(exchange(0, &request, PLENTY));
        assert_reply(&reply, "200");
        let sent = server.requests.recv().unwrap().len() as u64;
        assert_eq!(traffic, Traffic { sent, received: OK.len() as u64 });
    }
}

#[test]
fn traffic_includes_redirects_and_what_a_lost_answer_took() {
    const MOVED: &str = "HTTP/1.1 308 Moved\r\nlocation: /v1/group/\r\ncontent-length: 0\r\n\r\n";
    let server = serve(|_, mut peer| {
        peer.request();
        peer.send(MOVED);
        peer.request();
        peer.send("HTTP/1.1 20");
    });
    let request = Api::default().request(Action::Create, &GroupId::parse("g1").unwrap());
    let (reply, traffic) = server.transport().run_counted(exchange(0, &request, PLENTY));
    assert!(matches!(reply, Reply::Ambiguous(_)), "{reply:?}");
    let sent = server.requests.recv().unwrap().len() + server.requests.recv().unwrap().len();
    let received = MOVED.len() + "HTTP/1.1 20".len();
    assert_eq!(traffic, Traffic { sent: sent as u64, received: received as u64 });
}

#[test]
fn request_that_is_not_sent_has_no_traffic() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let request = Api::default().request(Action::Create, &GroupId::parse("g1").unwrap());
    let (reply, traffic) = transport(&format!("http://{closed}")).run_counted(exchange(0, &request, PLENTY));
    assert!(matches!(reply, Reply::NotSent(_)), "{reply:?}");
    assert_eq!(traffic, Traffic::default());
}

#[test]
fn credentials_follow_a_redirect_to_the_same_origin_only() {
    for status in [307, 308] {
        for action in ACTIONS {
            let elsewhere = answering(OK);
            let away = elsewhere.address;
            let server = serve(move |_, mut peer| {
                while let Some(request) = peer.request() {
                    let port = peer.stream.get_ref().local_addr().unwrap().port();
                    let target = match request.split(' ').nth(1).unwrap() {
                        path if path.starts_with("/moved") => {
                            peer.send("HTTP/1.1 299 there\r\ncontent-length: 0\r\n\r\n");
                            continue;
                        }
                        path if path.starts_with("/port") => format!("http://{away}/moved"),
                        path if path.starts_with("/host") => format!("http://localhost:{port}/moved"),
                        path if path.starts_with("/scheme") => format!("https://127.0.0.1:{port}/moved"),
                        path if path.starts_with("/user") => format!("http://x@127.0.0.1:{port}/moved"),
                        _ => "/moved".to_owned(),
                    };
                    peer.send(format!("HTTP/1.1 {status} x\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n"));
                }
            });
            let request = Api::default().request(action, &GroupId::parse("g1").unwrap());
            let ask = |path: &str| {
                transport(&format!("http://{}{path}", server.address)).run(with(credentials("S3CR3T"), &request))
            };
            assert_reply(&ask(""), "299");
            let first = server.requests.recv().unwrap();
            let moved = first.replacen(first.split(' ').nth(1).unwrap(), "/moved", 1);
            assert_eq!(server.requests.recv().unwrap(), moved);
            assert_eq!(first.matches("S3CR3T").count(), 2, "{first}");
            for path in ["/port", "/host", "/scheme", "/user"] {
                assert_reply(&ask(path), &status.to_string());
                assert_eq!(server.requests.try_iter().count(), 1, "{path}: the redirect is not followed");
            }
            assert_eq!(elsewhere.requests.try_iter().count(), 0);
        }
    }
}

/// Returns a subject that reaches `url` through the proxy at `proxy`.
fn through(proxy: SocketAddr, url: &str) -> Subject {
    let proxy = Proxy::for_all(&Host::parse(format!("http://{proxy}")).unwrap());
    Subject::through(&Host::parse(url).unwrap(), proxy, include_bytes!("testdata/ca.pem"))
}

#[test]
fn proxy_gets_requests_to_an_http_host_in_absolute_form() {
    let proxy = serve(|number, mut peer| {
        while peer.request().is_some() {
            peer.send(if number == 0 { OK } else { "HTTP/1.1 500 another\r\ncontent-length: 0\r\n\r\n" });
        }
    });
    // Only the proxy looks up the name.
    let transport = through(proxy.address, "http://node.invalid:8000/base");
    for action in ACTIONS {
        let request = Api::default().request(action, &GroupId::parse("g1").unwrap());
        assert_reply(&transport.run(with(credentials("abc"), &request)), "200");
        let sent = proxy.requests.recv().unwrap();
        let line = format!("{} http://node.invalid:8000/base{} HTTP/1.1\r\n", request.method, request.path);
        assert!(sent.starts_with(&line), "{sent}");
        assert!(sent.contains("\r\nhost: node.invalid:8000\r\n"), "{sent}");
        assert!(sent.contains("\r\nauthorization: Bearer abc\r\n"), "{sent}");
    }
}

#[test]
fn answer_of_a_proxy_to_an_http_request_is_an_answer() {
    for status in [403, 407, 502] {
        let proxy = serve(move |_, mut peer| {
            peer.request();
            peer.send(format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n"));
        });
        let transport = through(proxy.address, "http://node.invalid");
        assert_reply(&ask(&transport, Action::Create, PLENTY), &status.to_string());
    }
}

#[test]
fn proxy_that_cannot_be_reached_is_named_and_nothing_is_sent() {
    let (address, _guard) = refusing();
    let unreached = format!("not sent, Connect: the proxy {address} cannot be reached: connection refused");
    assert_reply(&ask(&through(address, "http://node.invalid"), Action::Create, PLENTY), &unreached);
    #[cfg(feature = "rustls")]
    assert_reply(&ask(&through(address, "https://node.invalid"), Action::Create, PLENTY), &unreached);
}

#[cfg(feature = "rustls")]
#[test]
fn proxy_that_opens_no_tunnel_is_named_and_nothing_is_sent() {
    type Behaviour = fn(&mut Peer);
    let cases: [(Behaviour, &str); 7] = [
        (|peer| peer.send("HTTP/1.1 407 x\r\ncontent-length: 0\r\n\r\n"), "answered 407 to CONNECT"),
        (|peer| peer.send("HTTP/1.1 403 x\r\n\r\nForbidden"), "answered 403 to CONNECT"),
        (|peer| peer.trickle_once(b"HTTP/1.1 502 x\r\nx: y\r\n\r\n"), "answered 502 to CONNECT"),
        (|peer| peer.send("SSH-2.0-OpenSSH\r\n\r\n"), "sent no HTTP"),
        (|peer| peer.send("HTTP/1.1 200 x\r\n\r\nearly"), "sent bytes before the tunnel was used"),
        (|_| {}, "closed the connection before the tunnel was open"),
        (|peer| peer.send("HTTP/1.1 200 x\r\n"), "closed the connection before the tunnel was open"),
    ];
    for (behave, problem) in cases {
        let proxy = serve(move |_, mut peer| {
            peer.request();
            behave(&mut peer);
        });
        let transport = through(proxy.address, "https://node.invalid");
        let expected = format!("not sent, Connect: the proxy {} {problem}", proxy.address);
        assert_reply(&ask(&transport, Action::Create, PLENTY), &expected);
        let sent: Vec<String> = proxy.requests.try_iter().collect();
        assert_eq!(sent.len(), 1, "{sent:?}");
        assert!(sent[0].starts_with("CONNECT node.invalid:443 HTTP/1.1\r\nhost: node.invalid:443\r\n"), "{sent:?}");
    }
    let mute = serve(|_, mut peer| {
        peer.request();
        peer.wait();
    });
    let expected = format!("not sent, Connect: the proxy {} opened no tunnel within 150ms", mute.address);
    assert_reply(&ask(&through(mute.address, "https://node.invalid"), Action::Create, BRIEF), &expected);
}

#[test]
fn redirect_whose_target_refuses_is_ambiguous() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let transport = transport(&format!("http://{}", listener.local_addr().unwrap()));
    thread::spawn(move || {
        let mut peer = Peer { stream: BufReader::new(listener.accept().unwrap().0), seen: mpsc::channel().0 };
        drop(listener);
        peer.request();
        peer.send("HTTP/1.1 307 x\r\nlocation: /there\r\nconnection: close\r\n\r\n");
    });
    assert_reply(&ask(&transport, Action::Create, PLENTY), "ambiguous, Connect: connection refused");
}

/// Returns a request that is larger than the buffers of both sockets together.
fn large_create() -> Request {
    let body = format!("{{\"groupId\": \"g1\"}}{}", " ".repeat(24 << 20));
    Request { body: Some(body), ..Api::default().request(Action::Create, &GroupId::parse("g1").unwrap()) }
}

#[test]
fn request_that_the_server_does_not_read_is_ambiguous_after_the_timeout() {
    let (end, is_over) = mpsc::channel::<()>();
    let is_over = Mutex::new(is_over);
    let server = serve(move |_, peer| {
        // Returns when the test drops `end`.
        let _ = is_over.lock().unwrap().recv();
        drop(peer);
    });
    let start = Instant::now();
    // A loaded machine connects, and fills the buffers, within this time.
    let timeout = Duration::from_secs(2);
    let reply = send(&server.transport(), 0, &large_create(), timeout);
    assert_reply(&reply, "ambiguous, Timeout: no answer within 2s");
    assert!(start.elapsed() >= timeout && start.elapsed() < PLENTY, "{:?}", start.elapsed());
    drop(end);
}

#[test]
fn request_larger_than_the_socket_buffers_arrives_whole() {
    let server = serve(|_, mut peer| {
        while peer.request().is_some() {
            peer.send(OK);
        }
    });
    let (transport, request) = (server.transport(), large_create());
    for _ in 0..2 {
        assert_reply(&send(&transport, 0, &request, PLENTY), "200");
        let seen = server.requests.recv().unwrap();
        assert!(seen.ends_with(request.body.as_deref().unwrap()), "{} bytes", seen.len());
    }
}

/// A server that closes its listener after the first connection, and resets that connection at the second request.
#[cfg(unix)]
#[test]
fn get_that_was_sent_is_ambiguous_even_if_its_second_connection_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let transport = transport(&format!("http://{}", listener.local_addr().unwrap()));
    thread::spawn(move || {
        let mut peer = Peer { stream: BufReader::new(listener.accept().unwrap().0), seen: mpsc::channel().0 };
        drop(listener);
        peer.request();
        peer.send(OK);
        peer.request();
        peer.reset();
    });
    assert_reply(&ask(&transport, Action::Check, PLENTY), "200");
    assert_reply(&ask(&transport, Action::Check, PLENTY), "ambiguous, Connect: connection refused");
}

/// Serves one request on the first connection, then resets it at the second request.
#[cfg(unix)]
fn stale() -> Server {
    serve(|number, mut peer| {
        peer.answer_ok();
        if number == 0 {
            peer.request();
            peer.reset();
        } else {
            peer.answer_ok();
        }
    })
}

#[cfg(unix)]
#[test]
fn request_on_a_stale_connection_is_repeated_if_it_only_reads() {
    for (action, expected) in [(Action::Create, CLOSED), (Action::Check, "200"), (Action::Delete, CLOSED)] {
        let server = stale();
        let transport = server.transport();
        assert_reply(&ask(&transport, action, PLENTY), "200");
        assert_reply(&ask(&transport, action, PLENTY), expected);
        let requests = if action == Action::Check { 3 } else { 2 };
        assert_eq!(server.requests.iter().take(requests).count(), requests);
        assert!(server.requests.try_recv().is_err());
    }
}

#[cfg(unix)]
#[test]
fn method_does_not_decide_whether_a_request_is_repeated() {
    for method in ["GET", "HEAD", "OPTIONS", "PROPFIND", "PUT", "DELETE", "POST"] {
        for (only_reads, expected, requests) in [(false, CLOSED, 2), (true, "200", 3)] {
            let server = stale();
            let transport = server.transport();
            let sent = || Exchange { only_reads, ..exchange(0, &request(method, Some("{}")), PLENTY) };
            assert_reply(&transport.run(sent()), "200");
            assert_eq!(describe(&transport.run(sent())), expected, "{method}, {only_reads}");
            assert_eq!(server.requests.iter().take(requests).count(), requests);
            assert!(server.requests.try_recv().is_err(), "{method}, {only_reads}");
        }
    }
}

#[test]
fn get_is_not_repeated_after_a_part_of_its_answer() {
    let server = serve(|_, mut peer| {
        peer.request();
        peer.send(OK);
        peer.request();
        peer.send("HTTP/1.1 2");
    });
    let transport = server.transport();
    assert_reply(&ask(&transport, Action::Check, PLENTY), "200");
    assert_reply(&ask(&transport, Action::Check, PLENTY), CLOSED);
    assert_eq!(server.requests.try_iter().count(), 2);
}

#[cfg(unix)]
#[test]
fn get_on_a_stale_connection_is_repeated_on_a_new_one() {
    let both_are_open = Barrier::new(2);
    let server = serve(move |number, mut peer| {
        peer.request();
        if number < 2 {
            both_are_open.wait();
            peer.send(OK);
            peer.request();
            peer.reset();
        } else {
            peer.send(OK);
        }
    });
    let transport = server.transport();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| assert_reply(&ask(&transport, Action::Check, PLENTY), "200"));
        }
    });
    assert_reply(&ask(&transport, Action::Check, PLENTY), "200");
}

#[test]
fn closed_idle_connection_is_replaced_before_the_request() {
    for action in ACTIONS {
        let (closed, is_closed) = mpsc::channel();
        let server = serve(move |_, mut peer| {
            peer.request();
            peer.send(OK);
            peer.stream.get_ref().shutdown(Shutdown::Both).unwrap();
            closed.send(()).unwrap();
        });
        let transport = server.transport();
        for _ in 0..3 {
            assert_reply(&ask(&transport, action, PLENTY), "200");
            is_closed.recv().unwrap();
        }
    }
}

#[test]
fn retry_after_is_part_of_the_reply() {
    let answer = "HTTP/1.1 503 x\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n";
    assert_reply(&answering(answer).ask(Action::Create, PLENTY), "503, retry after 7s");
    let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
    let dated = serve(move |_, mut peer| {
        peer.request();
        peer.send(format!("HTTP/1.1 429 x\r\nretry-after: {soon}\r\ncontent-length: 0\r\n\r\n"));
    });
    let Reply::Answered { status: 429, retry_after: Some(after), .. } = dated.ask(Action::Create, PLENTY) else {
        panic!("no date was read");
    };
    assert!((60..=100).contains(&after.as_secs()), "{after:?}");
    let garbage = "HTTP/1.1 503 x\r\nretry-after: soon\r\ncontent-length: 0\r\n\r\n";
    assert_reply(&answering(garbage).ask(Action::Create, PLENTY), "503");
}

#[test]
fn localhost_and_addresses_of_both_families_reach_the_server() {
    let ipv4 = answering(OK);
    assert_reply(&ask(&transport(&format!("http://localhost:{}", ipv4.address.port())), Action::Check, PLENTY), "200");
    if TcpListener::bind("[::1]:0").is_ok() {
        let handle = |_, mut peer: Peer| {
            peer.request();
            peer.send(OK);
        };
        // Reserve this port of the IPv4 address, which "localhost" resolves to first.
        let (ipv6, _reserved) = std::iter::repeat_with(|| serve_at("[::1]:0", handle))
            .find_map(|server| reserved(server.address.port()).ok().map(|reserved| (server, reserved)))
            .unwrap();
        assert_reply(&ipv6.ask(Action::Check, PLENTY), "200");
        let named = format!("http://localhost:{}", ipv6.address.port());
        assert_reply(&ask(&transport(&named), Action::Check, PLENTY), "200");
    }
}

#[test]
fn name_without_an_address_is_not_sent() {
    let reply = ask(&transport("http://x.invalid:8000"), Action::Create, PLENTY);
    assert_reply(&reply, "not sent, Resolve: the host name has no address");
}

/// Runs in a process with few descriptors, started by the next test.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "runs in a process with few file descriptors"]
fn ask_more_hosts_than_there_are_descriptors() {
    let Ok(port) = std::env::var("TRANSPORT_TEST_PORT") else { return };
    let hosts: Vec<_> = (1..=100).map(|n| Host::parse(format!("http://127.0.0.{n}:{port}")).unwrap()).collect();
    let transport = Subject::to(&hosts).unwrap();
    let request = Api::default().request(Action::Create, &GroupId::parse("g1").unwrap());
    for _ in 0..2 {
        for host in 0..hosts.len() {
            assert_reply(&send(&transport, host, &request, PLENTY), "200");
        }
    }
    let mut taken = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        taken.push(file);
    }
    transport.shed_idle_connections();
    taken.extend((0..).map_while(|_| std::fs::File::open("/dev/null").ok()));
    let reply = send(&transport, 0, &request, PLENTY);
    taken.clear();
    assert_reply(&reply, "not sent, Exhausted: no file descriptor for a connection");
    assert_reply(&send(&transport, 0, &request, PLENTY), "200");
}

#[cfg(target_os = "linux")]
#[test]
fn idle_connections_are_closed_if_descriptors_run_out() {
    let server = serve_at("0.0.0.0:0", |_, mut peer| {
        while peer.request().is_some() {
            peer.send(OK);
        }
    });
    // The name of a test does not include that of the crate.
    let (_, module) = module_path!().split_once("::").unwrap();
    let output = std::process::Command::new("sh")
        .args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact"])
        .arg(format!("{module}::ask_more_hosts_than_there_are_descriptors"))
        .env("TRANSPORT_TEST_PORT", server.address.port().to_string())
        .output()
        .unwrap();
    let output_text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && output_text.contains("1 passed"), "{output_text}");
}

#[test]
fn errors_have_a_source_and_contain_no_url() {
    let server = answering("nonsense\r\n\r\n");
    let Reply::Ambiguous(error) = server.ask(Action::Create, PLENTY) else { panic!("garbage was accepted") };
    let mut next: Option<&dyn std::error::Error> = Some(&error);
    let mut length = 0;
    while let Some(error) = next {
        assert!(!error.to_string().contains("127.0.0.1"), "{error}");
        next = error.source();
        length += 1;
    }
    assert_eq!(length, 2);
}

#[cfg(not(feature = "rustls"))]
#[test]
fn https_without_tls_is_refused_with_the_feature_to_enable() {
    let error = Subject::to(&[Host::parse("https://node1").unwrap()]).err().unwrap();
    assert!(error.to_string().contains("\"rustls\""), "{error}");
}

#[cfg(feature = "rustls")]
pub(super) mod tls {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::server::WebPkiClientVerifier;
    use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

    use super::*;

    pub(in super::super) const AUTHORITY: &[u8] = include_bytes!("testdata/ca.pem");
    const NODE: &[u8] = include_bytes!("testdata/node.pem");
    const KEY: &[u8] = include_bytes!("testdata/node.key");

    fn secured(stream: TcpStream) -> StreamOwned<ServerConnection, TcpStream> {
        secured_for(stream, None)
    }

    /// Asks for a client certificate of this authority, if there is one.
    fn secured_for(stream: TcpStream, clients: Option<&[u8]>) -> StreamOwned<ServerConnection, TcpStream> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let builder = builder.unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_slice(authority).unwrap()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.unwrap())
            }
        };
        let config = builder
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(NODE).unwrap()],
                PrivateKeyDer::from_pem_slice(KEY).unwrap(),
            )
            .unwrap();
        StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), stream)
    }

    fn trusting(url: &str) -> Subject {
        Subject::trusting(&Host::parse(url).unwrap(), AUTHORITY)
    }

    /// Answers 200 on its first connection, and 500 on others.
    fn node() -> Server {
        node_with(1)
    }

    /// Answers 200 on the first `good` connections, and 500 on others.
    pub(in super::super) fn node_with(good: usize) -> Server {
        serve(move |number, peer| {
            let mut stream = BufReader::new(secured(peer.stream.into_inner()));
            let mut line = String::new();
            while stream.read_line(&mut line).is_ok_and(|length| length > 0) {
                if line == "\r\n" {
                    let status = if number < good { 200 } else { 500 };
                    let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 2\r\n\r\n{{}}");
                    stream.get_mut().write_all(answer.as_bytes()).unwrap();
                }
                line.clear();
            }
        })
    }

    #[test]
    fn tls_connection_is_reused() {
        let server = node();
        let transport = trusting(&format!("https://localhost:{}", server.address.port()));
        for _ in 0..3 {
            assert_reply(&ask(&transport, Action::Check, PLENTY), "200");
        }
    }

    #[test]
    fn traffic_over_tls_is_without_the_handshake() {
        let server = node();
        let transport = trusting(&format!("https://localhost:{}", server.address.port()));
        let request = Api::default().request(Action::Create, &GroupId::parse("g1").unwrap());
        let [first, second] = [(); 2].map(|()| {
            let (reply, traffic) = transport.run_counted(exchange(0, &request, PLENTY));
            assert_reply(&reply, "200");
            traffic
        });
        // Head and body are one record or two, each with 22 bytes around it. The ports may differ in their digits.
        let plain_server = serve(|_, mut peer| while peer.answer_ok().is_some() {});
        let plain = plain_server.transport().run_counted(exchange(0, &request, PLENTY)).1.sent;
        assert_eq!(first.sent, second.sent);
        assert!((plain + 18..=plain + 48).contains(&first.sent), "{first:?}, {plain} bytes of plain text");
        // The first answer follows the session tickets of the server.
        assert!(first.received >= second.received && second.received > 22, "{first:?} {second:?}");
    }

    #[test]
    fn request_larger_than_the_buffers_of_tls_arrives_whole() {
        let server = serve(|_, peer| {
            let stream = BufReader::new(secured(peer.stream.into_inner()));
            let mut peer = Reading { stream, length: 0 };
            while peer.request().is_some() {
                peer.stream.get_mut().write_all(OK.as_bytes()).unwrap();
            }
        });
        let transport = trusting(&format!("https://localhost:{}", server.address.port()));
        for _ in 0..2 {
            assert_reply(&send(&transport, 0, &large_create(), PLENTY), "200");
        }
    }

    #[test]
    fn https_host_is_reached_through_a_tunnel_which_is_reused() {
        let server = node();
        let node = server.address;
        let proxy = serve(move |_, mut peer| {
            peer.request();
            peer.send("HTTP/1.1 200 Connection established\r\n\r\n");
            let there = TcpStream::connect(node).unwrap();
            let (mut from, mut to) = (peer.stream.get_ref().try_clone().unwrap(), there.try_clone().unwrap());
            let back = thread::spawn(move || io::copy(&mut to, &mut from));
            let _ = io::copy(peer.stream.get_mut(), &mut &there);
            let _ = there.shutdown(Shutdown::Both);
            let _ = back.join();
        });
        let transport = through(proxy.address, "https://localhost:8443/base");
        for action in ACTIONS {
            let request = Api::default().request(action, &GroupId::parse("g1").unwrap());
            assert_reply(&transport.run(with(credentials("S3CR3T"), &request)), "200");
        }
        let tunnels: Vec<String> = proxy.requests.try_iter().collect();
        assert_eq!(tunnels.len(), 1, "{tunnels:?}");
        let version = env!("CARGO_PKG_VERSION");
        let expected = format!(
            "CONNECT localhost:8443 HTTP/1.1\r\nhost: localhost:8443\r\nuser-agent: cluster-client/{version}\r\n\r\n"
        );
        assert_eq!(tunnels[0], expected, "nothing of the request is in it");
        let wrong = through(proxy.address, "https://other.example:8443");
        let Reply::NotSent(error) = ask(&wrong, Action::Create, PLENTY) else { panic!("the name is not verified") };
        let expected = "the server's certificate is not valid for other.example, only for localhost, 127.0.0.1";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn credentials_are_sent_over_tls_on_each_connection() {
        let server = serve(|_, peer| {
            let mut stream = BufReader::new(secured(peer.stream.into_inner()));
            let mut head = String::new();
            while stream.read_line(&mut head).is_ok_and(|length| length > 0) {
                if head.ends_with("\r\n\r\n") {
                    let has = head.contains("\r\nauthorization: Bearer yyy") && head.contains("y\r\nX-Token: yyy");
                    let status = if has && head.starts_with("GET /v1") { 200 } else { 401 };
                    let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n");
                    stream.get_mut().write_all(answer.as_bytes()).unwrap();
                    head.clear();
                }
            }
        });
        let transport = trusting(&format!("https://localhost:{}", server.address.port()));
        let request = Api::default().request(Action::Check, &GroupId::parse("g1").unwrap());
        for _ in 0..2 {
            let token = credentials(&"y".repeat(8 * 1024));
            assert_reply(&transport.run(with(token, &request)), "200");
            assert_reply(&send(&transport, 0, &request, PLENTY), "401");
        }
    }

    /// Reads requests without keeping them.
    struct Reading {
        stream: BufReader<StreamOwned<ServerConnection, TcpStream>>,
        length: u64,
    }

    impl Reading {
        fn request(&mut self) -> Option<()> {
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                self.stream.read_line(&mut line).ok().filter(|length| *length > 0)?;
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    self.length = value.trim().parse().unwrap();
                }
            }
            let read = io::copy(&mut self.stream.by_ref().take(self.length), &mut io::sink()).ok()?;
            (read == self.length).then_some(())
        }
    }

    #[test]
    fn untrusted_certificate_is_not_sent() {
        let transport = transport(&format!("https://{}", node().address));
        let expected = "not sent, Tls: the server's certificate has an unknown issuer";
        assert_reply(&ask(&transport, Action::Create, PLENTY), expected);
    }

    /// The server closes with a reset while the client still writes.
    #[test]
    fn refusal_of_the_client_is_reported_even_if_a_write_fails() {
        let server = serve(|_, peer| {
            let _ = secured_for(peer.stream.into_inner(), Some(AUTHORITY)).read(&mut [0; 1]);
        });
        let transport = trusting(&format!("https://localhost:{}", server.address.port()));
        let expected =
            "not sent, Tls: the server wants a client certificate, and none is set (alert certificate_required)";
        for _ in 0..20 {
            assert_reply(&send(&transport, 0, &large_create(), PLENTY), expected);
        }
    }

    #[test]
    fn server_without_tls_is_not_sent() {
        for (answer, expected) in [
            ("HTTP/1.1 400 Bad Request\r\n\r\n", "not sent, Tls: the server does not speak TLS on this port"),
            ("", "not sent, Tls: the connection was closed during the TLS handshake"),
        ] {
            let server = serve(move |_, mut peer| {
                let _ = peer.stream.read(&mut [0; 5]);
                peer.send(answer);
                peer.stream.get_ref().shutdown(Shutdown::Write).unwrap();
                peer.wait();
            });
            assert_reply(&ask(&transport(&format!("https://{}", server.address)), Action::Create, PLENTY), expected);
        }
    }

    #[test]
    fn handshake_without_an_answer_is_not_sent_after_the_timeout() {
        let server = serve(|_, mut peer| peer.wait());
        let reply = ask(&transport(&format!("https://{}", server.address)), Action::Create, BRIEF);
        assert_reply(&reply, "not sent, Tls: no TLS connection within 150ms");
    }

    #[test]
    fn close_after_the_handshake_is_ambiguous() {
        let server = serve(|_, peer| {
            let mut stream = secured(peer.stream.into_inner());
            let _ = stream.read(&mut [0; 1]);
        });
        let transport = trusting(&format!("https://127.0.0.1:{}", server.address.port()));
        assert_reply(&ask(&transport, Action::Create, PLENTY), CLOSED);
        assert_reply(&ask(&transport, Action::Create, BRIEF), CLOSED);
    }
}

/// Keeps connections open. Answers the first request of each with `first`, and later ones with 204.
fn keeping(first: &'static [u8]) -> Server {
    serve(move |_, mut peer| {
        let mut answer = first;
        while peer.request().is_some() {
            peer.send(answer);
            answer = b"HTTP/1.1 204 x\r\n\r\n";
        }
    })
}

#[test]
fn answer_with_chunks_and_trailers_keeps_its_connection() {
    for answer in [
        &b"HTTP/1.1 201 x\r\ntransfer-encoding: chunked\r\n\r\n1;a=b\r\n{\r\n1\r\n}\r\n0\r\nx-sum: 1\r\nx-more: 2\r\n\r\n"[..],
        b"HTTP/1.1 201 x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 201 x\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\n{}",
    ] {
        let server = keeping(answer);
        let transport = server.transport();
        assert_reply(&ask(&transport, Action::Create, PLENTY), "201");
        assert_reply(&ask(&transport, Action::Delete, PLENTY), "204");
    }
}

#[test]
fn answer_with_conflicting_lengths_is_garbage() {
    for lengths in
        ["content-length: 2\r\ncontent-length: 3", "content-length: 2, 3", "content-length: -1", "content-length: "]
    {
        let server = serve(move |_, mut peer| {
            peer.request();
            peer.send(format!("HTTP/1.1 201 x\r\n{lengths}\r\n\r\n{{}}"));
            peer.wait();
        });
        for action in ACTIONS {
            assert_reply(&server.ask(action, PLENTY), "ambiguous, Garbage: the answer is not HTTP");
        }
    }
}

#[test]
fn answer_that_comes_byte_by_byte_is_read() {
    const ANSWER: &[u8] = b"HTTP/1.1 102 x\r\n\r\nHTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n\
        2\r\n{}\r\n0\r\nx: y\r\n\r\n";
    let server = serve(|number, mut peer| {
        peer.stream.get_ref().set_nodelay(true).unwrap();
        while peer.request().is_some() {
            for byte in ANSWER {
                peer.send([*byte]);
                thread::yield_now();
            }
            assert_eq!(number, 0, "the first connection is used again");
        }
    });
    let transport = server.transport();
    for action in ACTIONS {
        assert_reply(&ask(&transport, action, PLENTY), "201");
    }
}

#[test]
fn answer_cut_at_any_byte_is_ambiguous_until_its_head_is_whole() {
    const ANSWER: &[u8] =
        b"HTTP/1.1 201 Created\r\nretry-after: 7\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    let head = ANSWER.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    let server = serve(|number, mut peer| {
        peer.request();
        peer.send(&ANSWER[..number]);
    });
    for length in 0..=ANSWER.len() {
        let expected = if length < head { CLOSED } else { "201, retry after 7s" };
        assert_eq!(describe(&server.ask(Action::Create, PLENTY)), expected, "{length} bytes");
    }
}

#[cfg(unix)]
#[test]
fn answer_that_ends_with_a_reset_is_read_if_its_head_is_whole() {
    for (answer, expected) in [
        ("HTTP/1.1 201 Created\r\ncontent-length: 100\r\n\r\n{}", "201"),
        ("HTTP/1.1 201 Created\r\ncontent-length: 100\r\n", CLOSED),
    ] {
        let (read, is_read) = mpsc::channel::<()>();
        let is_read = Mutex::new(is_read);
        let server = serve(move |_, mut peer| {
            peer.request();
            peer.send(answer);
            // A reset discards bytes that the client has not read, so wait for the client first.
            let _ = is_read.lock().unwrap().recv_timeout(BRIEF);
            peer.reset();
        });
        assert_reply(&server.ask(Action::Create, PLENTY), expected);
        drop(read);
    }
}

#[test]
fn flood_of_interim_answers_is_ambiguous_after_the_timeout() {
    let flood = serve(|_, mut peer| {
        peer.request();
        let many = "HTTP/1.1 102 Processing\r\n\r\n".repeat(1000);
        while peer.stream.get_mut().write_all(many.as_bytes()).is_ok() {}
    });
    let start = Instant::now();
    assert_reply(&flood.ask(Action::Create, BRIEF), "ambiguous, Timeout: no answer within 150ms");
    assert!(start.elapsed() >= BRIEF);
}

#[test]
fn close_without_reading_is_no_answer() {
    let server = serve(|_, peer| drop(peer));
    for action in ACTIONS {
        let reply = describe(&server.ask(action, PLENTY));
        // The first byte and the close race, so the request may be sent or not.
        assert!(reply == CLOSED || reply == CLOSED.replace("ambiguous", "not sent"), "{reply}");
    }
}

#[test]
fn body_is_returned_if_it_is_used_and_cut_if_it_is_not_whole() {
    let long = "x".repeat(65_537);
    let whole = |text: &str| Body::Whole(text.into());
    let cut = |text: &str| Body::Cut(text.into());
    for (answer, expected) in [
        ("HTTP/1.1 200 x\r\ncontent-length: 2\r\n\r\n{}".to_owned(), whole("{}")),
        ("HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n".to_owned(), whole("{}")),
        ("HTTP/1.1 200 x\r\n\r\nuntil the end".to_owned(), whole("until the end")),
        ("HTTP/1.1 204 x\r\n\r\n".to_owned(), whole("")),
        ("HTTP/1.1 200 x\r\ncontent-length: 3\r\n\r\n{}".to_owned(), cut("{}")),
        ("HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n".to_owned(), cut("{}")),
        (format!("HTTP/1.1 200 x\r\ncontent-length: {}\r\n\r\n{long}", long.len()), cut(&long[1..])),
        (format!("HTTP/1.1 200 x\r\n\r\n{long}"), cut(&long[1..])),
        (format!("HTTP/1.1 200 x\r\ncontent-length: 65536\r\n\r\n{}", &long[1..]), whole(&long[1..])),
    ] {
        let sent = answer.clone();
        let server = serve(move |_, mut peer| {
            peer.request();
            peer.send(&sent);
        });
        let asked = |body_use| {
            // A new connection each time: the server closes this one at any moment.
            let subject = transport(&format!("http://{}", server.address));
            let request = Api::default().request(Action::Check, &GroupId::parse("g1").unwrap());
            // The server may close before the next request.
            let check = exchange(0, &Request { body_use, ..request }, PLENTY);
            match subject.run(Exchange { only_reads: true, ..check }) {
                Reply::Answered { body, .. } => body,
                other => panic!("{}", describe(&other)),
            }
        };
        let returned = asked(BodyUse::Hint);
        // The engines stop at different places of a body that is too long, or is damaged.
        match (&returned, &expected) {
            (Body::Cut(bytes), Body::Cut(most)) => assert!(most.starts_with(bytes), "{answer:.80}"),
            _ => assert!(returned == expected, "{answer:.80}"),
        }
        assert_eq!(asked(BodyUse::Unused), Body::Unread);
    }
}

#[test]
fn needed_body_may_be_large_and_slow_and_is_cut_at_its_limit() {
    let framings = |size: usize| {
        [
            (format!("content-length: {size}\r\n\r\n"), ""),
            (format!("transfer-encoding: chunked\r\n\r\n{size:x}\r\n"), "\r\n0\r\n\r\n"),
            ("\r\n".to_owned(), ""),
        ]
    };
    let sizes = [(1 << 20, true), ((1 << 20) + 1, false)];
    for (size, is_whole, (head, end)) in
        sizes.into_iter().flat_map(|(size, is_whole)| framings(size).map(|framing| (size, is_whole, framing)))
    {
        let sent = head.clone();
        let server = serve(move |_, mut peer| {
            peer.request();
            peer.send(format!("HTTP/1.1 200 x\r\n{sent}"));
            peer.send("x".repeat(size) + end);
        });
        let subject = transport(&format!("http://{}", server.address));
        let request = Api::default().request(Action::Check, &GroupId::parse("g1").unwrap());
        let reply = send(&subject, 0, &Request { body_use: BodyUse::Needed, ..request }, PLENTY);
        let Reply::Answered { body, .. } = reply else { panic!("{}", describe(&reply)) };
        assert_eq!(matches!(body, Body::Whole(bytes) if bytes.len() == size), is_whole, "{size} {head:?}");
    }
}
