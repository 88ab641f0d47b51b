//! Answers of a node: any bytes, cut anywhere, on a connection that it then closes. Both engines send the request over
//! a real socket, and must read equal answers.
//!
//! The first line of an input is `ACTION CUT`, or `ACTION CUT body` if a test needs the body. CUT is the length of the
//! first segment. The rest is the answer.
#![no_main]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::Duration;

use cluster_client::fuzzing::{Wire, ask_multiplexed};
use cluster_client::{Action, GroupId, Host};
use libfuzzer_sys::fuzz_target;

/// The timeout, which no run reaches, because the node closes the connection.
const PATIENCE: Duration = Duration::from_secs(20);

/// The first segment of the answer, and the second.
static SCRIPT: Mutex<(Vec<u8>, Vec<u8>)> = Mutex::new((Vec::new(), Vec::new()));

static NODE: LazyLock<SocketAddr> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    address
});

fn serve(mut stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    read_request(&mut stream)?;
    let (head, tail) = SCRIPT.lock().unwrap().clone();
    stream.write_all(&head).ok()?;
    if !head.is_empty() {
        // Long enough for the client to read a first segment by itself.
        thread::sleep(Duration::from_micros(300));
    }
    stream.write_all(&tail).ok()?;
    stream.shutdown(Shutdown::Write).ok()?;
    // Wait until the client has read the answer: a reset could discard unread bytes.
    while stream.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
    Some(())
}

fn read_request(stream: &mut TcpStream) -> Option<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 2048];
    loop {
        let read = stream.read(&mut buffer).ok().filter(|read| *read > 0)?;
        request.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
        let Some(end) = text.find("\r\n\r\n") else { continue };
        let length = text[..end].lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
        if request.len() >= end + 4 + length.unwrap_or(0) {
            return Some(());
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let how = String::from_utf8_lossy(&input[..end]);
    let answer = input.get(end + 1..).unwrap_or_default();
    let mut words = how.split(' ');
    let action = match words.next() {
        Some("create") => Action::Create,
        Some("delete") => Action::Delete,
        _ => Action::Check,
    };
    // The connection closes while a redirect is followed, and the order of the two is a race.
    if answer.windows(2).any(|two| two == b"30") {
        return;
    }
    let cut = words.next().and_then(|word| word.parse::<usize>().ok()).unwrap_or(0) % (answer.len() + 1);
    let (head, tail) = answer.split_at(cut);
    *SCRIPT.lock().unwrap() = (head.to_vec(), tail.to_vec());
    let needs_body = words.next() == Some("body");
    let group = GroupId::parse("g").expect("an id");
    let host = Host::parse(format!("http://{}", *NODE)).expect("a host");
    let (by_threads, _) = Wire::new(&host).expect("no TLS").ask(action, &group, needs_body, PATIENCE);
    let multiplexed = ask_multiplexed(&host, action, &group, needs_body, PATIENCE);
    assert_eq!(multiplexed, by_threads);
});
