//! Answers of a node: any bytes, cut anywhere, on a connection that it closes or keeps. The real transport sends
//! requests over a real socket. It must return in time, and report no status that was not sent. No byte of one answer
//! may become the answer to the next request.
//!
//! The first line of an input is `ACTION close CUT` or `ACTION keep CUT`: whether the node keeps the connection, and
//! the length of the first segment. On a kept connection only the client's timeout ends an incomplete answer. The rest
//! is the answer.
#![no_main]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use cluster_client::fuzzing::{Answer, Wire};
use cluster_client::{Action, GroupId, Host};
use libfuzzer_sys::fuzz_target;

/// Timeouts for a node that closes the connection, and for one that keeps it.
const PATIENCE: Duration = Duration::from_millis(200);
const SHORT_PATIENCE: Duration = Duration::from_millis(3);
/// Extra time for a busy machine.
const SLACK: Duration = Duration::from_secs(10);
/// An answer that no fuzzed answer contains by chance.
const NEXT: &[u8] = b"HTTP/1.1 599 Next\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Answer of the node to the next request for that group. A late request of an earlier run has another group.
struct Script {
    run: u64,
    group: String,
    answer: Vec<u8>,
    cut: usize,
    keeps: bool,
}

struct Node {
    address: SocketAddr,
    script: Arc<Mutex<Option<Script>>>,
    runs: AtomicU64,
    /// The run whose answer was sent completely.
    told: Arc<AtomicU64>,
}

static NODE: LazyLock<Node> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let script = Arc::<Mutex<Option<Script>>>::default();
    let told = Arc::<AtomicU64>::default();
    let shared = (Arc::clone(&script), Arc::clone(&told));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (script, told) = shared.clone();
            thread::spawn(move || serve(stream, &script, &told));
        }
    });
    Node { address, script, runs: AtomicU64::new(0), told }
});

fn serve(mut stream: TcpStream, script: &Mutex<Option<Script>>, told: &AtomicU64) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    loop {
        let request = read_request(&mut stream)?;
        let script = script.lock().unwrap().take_if(|script| request.contains(&script.group));
        let Some(Script { run, answer, cut, keeps, .. }) = script else {
            stream.write_all(NEXT).ok()?;
            return stream.shutdown(Shutdown::Both).ok();
        };
        let (head, tail) = answer.split_at(cut);
        let sent = stream.write_all(head);
        if cut > 0 {
            // Long enough for the client to read a first segment by itself.
            thread::sleep(Duration::from_micros(300));
        }
        let sent = sent.and_then(|()| stream.write_all(tail));
        told.store(run, Ordering::SeqCst);
        sent.ok()?;
        if !keeps {
            return stream.shutdown(Shutdown::Both).ok();
        }
    }
}

fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut request = Vec::new();
    let mut buffer = [0; 2048];
    loop {
        let read = stream.read(&mut buffer).ok().filter(|read| *read > 0)?;
        request.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
        let Some(end) = text.find("\r\n\r\n") else { continue };
        let length = text[..end].lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
        if request.len() >= end + 4 + length.unwrap_or(0) {
            return Some(text);
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
    let keeps = words.next() == Some("keep");
    let cut = words.next().and_then(|word| word.parse::<usize>().ok()).unwrap_or(0) % (answer.len() + 1);
    let run = NODE.runs.fetch_add(1, Ordering::Relaxed) + 1;
    let group = GroupId::parse(format!("run-{run}.")).expect("an id");
    let script = Script { run, group: group.to_string(), answer: answer.to_vec(), cut, keeps };
    NODE.script.lock().unwrap().replace(script);

    let host = Host::parse(format!("http://{}", NODE.address)).expect("a host");
    let wire = Wire::new(&host).expect("no TLS");
    let patience = if keeps { SHORT_PATIENCE } else { PATIENCE };
    let begun = Instant::now();
    let (first, yes) = wire.ask(action, &group, false, patience);
    assert!(begun.elapsed() < patience + SLACK, "{:?}", begun.elapsed());
    let arrived = NODE.script.lock().unwrap().take().is_none();
    match &first {
        Answer::NotSent(_) if !arrived => return,
        Answer::Answered(599, ..) => {}
        Answer::Answered(status, ..) => {
            let said = format!(" {status}");
            assert!(answer.windows(said.len()).any(|part| part == said.as_bytes()), "{status} was not sent");
        }
        Answer::NotSent(why) => panic!("it was sent: {why}"),
        Answer::Ambiguous(why) => assert!(!why.chars().any(char::is_control), "{why:?}"),
    }
    assert!(!yes || matches!(first, Answer::Answered(200 | 201 | 204, ..)), "{first:?}");

    // The whole answer was sent before the next request, so no part of it may answer that request.
    while arrived && NODE.told.load(Ordering::SeqCst) != run {
        thread::sleep(Duration::from_micros(50));
    }
    let (second, _) = wire.ask(Action::Check, &group, false, Duration::from_secs(5));
    assert!(!matches!(second, Answer::Answered(status, ..) if status != 599), "{second:?} belongs to the first request");
});
