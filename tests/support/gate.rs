//! A server in front of a node: it passes on the requests that have the header lines it wants, and answers the others
//! with 401, or with 404 as services do that hide what they have. It keeps the head of every request.

use std::io::{self, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

pub(crate) struct Gate {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    node: SocketAddr,
    wanted: Mutex<Vec<String>>,
    hides: AtomicBool,
    heads: Mutex<Vec<String>>,
}

impl Gate {
    /// Starts a gate that wants no header line.
    pub(crate) fn before(node: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared =
            Arc::new(Shared { node, wanted: Mutex::default(), hides: AtomicBool::new(false), heads: Mutex::default() });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&serving);
                thread::spawn(move || while shared.pass_one(&stream).is_ok() {});
            }
        });
        Gate { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers requests without each of these lines with 401 from now on.
    pub(crate) fn want(&self, lines: &[&str]) {
        *self.shared.wanted.lock().unwrap() = lines.iter().map(|line| (*line).to_owned()).collect();
    }

    /// Answers 404 in place of 401 from now on.
    #[allow(dead_code, reason = "each test file is a crate of its own and uses a part of this")]
    pub(crate) fn hide(&self) {
        self.shared.hides.store(true, Ordering::Relaxed);
    }

    /// Returns and forgets the heads of the requests.
    pub(crate) fn take_heads(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.heads.lock().unwrap())
    }
}

impl Shared {
    fn pass_one(&self, client: &TcpStream) -> io::Result<()> {
        // A client sends its next request after the answer, so nothing more is buffered.
        let (head, body) = message(&mut BufReader::new(client))?;
        self.heads.lock().unwrap().push(head.clone());
        let is_wanted = self.wanted.lock().unwrap().iter().all(|line| head.lines().any(|found| found == line));
        let mut client = client;
        if !is_wanted {
            let status = if self.hides.load(Ordering::Relaxed) { 404 } else { 401 };
            return write!(client, "HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n");
        }
        let mut node = TcpStream::connect(self.node)?;
        node.write_all(&[head.as_bytes(), &body].concat())?;
        let (head, body) = message(&mut BufReader::new(&node))?;
        client.write_all(&[head.as_bytes(), &body].concat())
    }
}

/// Reads the head of a request or an answer, with its empty line, and its body.
fn message(stream: &mut impl io::BufRead) -> io::Result<(String, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let lower = head.to_ascii_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length:"));
    let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
    stream.read_exact(&mut body)?;
    Ok((head, body))
}
