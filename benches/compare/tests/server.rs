//! The test server keeps the node API, the delay, and its promise to end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

struct Server {
    child: Child,
    ports: Vec<String>,
}

impl Server {
    fn start(ports: usize, delay: Duration) -> Self {
        Self::start_with(&[ports.to_string(), delay.as_micros().to_string()])
    }

    fn start_with(args: &[String]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_compare-server"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let ports = line.trim().strip_prefix("ready ").unwrap().split(',').map(str::to_owned).collect();
        Self { child, ports }
    }

    fn connect(&self, port: usize) -> TcpStream {
        let stream = TcpStream::connect(&self.ports[port]).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

/// Sends one request and gives the status of its answer. The answers fit in one read.
fn ask(stream: &mut TcpStream, method: &str, path: &str, body: &str) -> u16 {
    let len = body.len();
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: node\r\ncontent-length: {len}\r\n\r\n{body}").unwrap();
    let mut answer = [0; 1024];
    let read = stream.read(&mut answer).unwrap();
    std::str::from_utf8(&answer[9..12.min(read)]).unwrap().parse().unwrap()
}

#[test]
fn a_group_exists_from_its_post_to_its_delete_on_its_port_only() {
    let server = Server::start(2, Duration::ZERO);
    let (mut one, mut other) = (server.connect(0), server.connect(1));
    let body = r#"{"groupId": "g-1"}"#;
    assert_eq!(ask(&mut one, "GET", "/v1/group/g-1/", ""), 404);
    assert_eq!(ask(&mut one, "POST", "/v1/group/", body), 201);
    assert_eq!(ask(&mut one, "GET", "/v1/group/g-1/", ""), 200);
    assert_eq!(ask(&mut other, "GET", "/v1/group/g-1/", ""), 404);
    assert_eq!(ask(&mut one, "POST", "/v1/group/", body), 400);
    assert_eq!(ask(&mut one, "DELETE", "/v1/group/", body), 200);
    assert_eq!(ask(&mut one, "GET", "/v1/group/g-1/", ""), 404);
    server.end();
}

#[test]
fn a_flaky_port_refuses_what_it_hears_for_the_first_time() {
    let server = Server::start_with(&["3", "0", "2"].map(String::from));
    let body = r#"{"groupId": "g-1"}"#;
    let statuses = |port| {
        let mut stream = server.connect(port);
        [("POST", "/v1/group/", body), ("GET", "/v1/group/g-1/", "")]
            .map(|(method, path, body)| [(); 2].map(|()| ask(&mut stream, method, path, body)))
    };
    assert_eq!(statuses(0), [[503, 201], [503, 200]]);
    assert_eq!(statuses(1), [[201, 400], [200, 200]]);
    assert_eq!(statuses(2), [[503, 201], [503, 200]]);
    server.end();
}

#[test]
fn every_answer_is_late_by_the_delay() {
    let delay = Duration::from_millis(20);
    let server = Server::start(1, delay);
    let mut connections: Vec<TcpStream> = (0..8).map(|_| server.connect(0)).collect();
    for round in 0..3 {
        let start = Instant::now();
        for stream in &mut connections {
            write!(stream, "GET /v1/group/{round}/ HTTP/1.1\r\n\r\n").unwrap();
        }
        for stream in &mut connections {
            assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
        }
        // It may answer a tenth of a millisecond early, and this machine may be busy.
        assert!(start.elapsed() + Duration::from_micros(200) > delay, "{:?}", start.elapsed());
    }
    server.end();
}

#[test]
fn it_ends_with_its_standard_input_even_when_asked_something() {
    let server = Server::start(1, Duration::from_secs(60));
    let mut stream = server.connect(0);
    write!(stream, "GET /v1/group/g/ HTTP/1.1\r\n\r\n").unwrap();
    server.end();
    assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0);
}
