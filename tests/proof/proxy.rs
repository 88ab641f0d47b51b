//! A fault proxy: it stands between the client and one node, understands just enough HTTP to know where a
//! request ends, and does to each request what a bad network may do.
//!
//! It knows of every byte that is under way, so that a proof can wait until nothing is, and it notes when
//! each change that it let through had taken effect.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::proof::port::Port;

/// Treatment of one request. Byte counts beyond the end mean the end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// The node gets the first bytes of the request, then both connections end.
    CutRequest(usize),
    /// The client gets the first bytes of the answer, then its connection ends.
    CutAnswer(usize),
    DelayRequest(Duration),
    DelayAnswer(Duration),
    /// The node gets the request twice at the same time, and both are answered before the client is.
    Duplicate,
    /// The node gets the request again, that long after the client has its answer.
    DuplicateLater(Duration),
    /// The answer comes byte by byte.
    Drip,
    /// The client is answered 500 although the node has done it, or without asking the node.
    Answer500 {
        applied: bool,
    },
    /// Nothing ever comes back, whether the node has done it or never heard of it.
    Blackhole {
        applied: bool,
    },
}

impl Fault {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Fault::CutRequest(_) => "request cut",
            Fault::CutAnswer(_) => "answer cut",
            Fault::DelayRequest(_) => "request delayed",
            Fault::DelayAnswer(_) => "answer delayed",
            Fault::Duplicate => "request duplicated at once",
            Fault::DuplicateLater(_) => "request duplicated later",
            Fault::Drip => "answer dripped",
            Fault::Answer500 { applied: true } => "500 after applying",
            Fault::Answer500 { applied: false } => "500 without applying",
            Fault::Blackhole { applied: true } => "answer swallowed",
            Fault::Blackhole { applied: false } => "request swallowed",
        }
    }
}

/// A POST or DELETE that went to the node, and when it had ended there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Landing {
    /// Operation of the last [`Proxy::begin`] before the request.
    pub(crate) operation: usize,
    pub(crate) post: bool,
    pub(crate) copy: Repeat,
    pub(crate) received: Instant,
    pub(crate) landed: Instant,
}

impl Landing {
    pub(crate) fn lateness(&self) -> Duration {
        self.landed.duration_since(self.received)
    }
}

/// Whether a request is one that the client sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Repeat {
    /// It is.
    No,
    /// It was sent twice at once, and the client was answered that the group is there: by its own copy.
    Refused,
    /// It is a second copy, sent after the first was answered.
    Later,
}

/// Draws the fault of the next request.
type Plan = Box<dyn FnMut() -> Option<Fault> + Send>;

pub(crate) struct Proxy {
    port: Port,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    node: Option<SocketAddr>,
    plan: Option<Plan>,
    met: Vec<Fault>,
    operation: usize,
    /// Connections from clients, and copies of requests.
    under_way: usize,
    landings: Vec<Landing>,
}

struct Request {
    bytes: Vec<u8>,
    operation: usize,
    received: Instant,
}

impl Proxy {
    pub(crate) fn start(node: SocketAddr) -> io::Result<Self> {
        let state =
            State { node: Some(node), plan: None, met: Vec::new(), operation: 0, under_way: 0, landings: Vec::new() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let serving = Arc::clone(&shared);
        let serve = move |client: TcpStream| {
            serving.aside(move |shared| while shared.serve(&client).is_ok_and(|goes_on| goes_on) {});
        };
        Ok(Proxy { port: Port::open(Ipv4Addr::LOCALHOST, serve)?, shared })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.port.address)
    }

    /// A node that was started again has another port, and one that is dead has none.
    pub(crate) fn lead_to(&self, node: Option<SocketAddr>) {
        self.shared.state().node = node;
    }

    /// Misbehaves from now on.
    pub(crate) fn disturb(&self, plan: impl FnMut() -> Option<Fault> + Send + 'static) {
        self.shared.state().plan = Some(Box::new(plan));
    }

    /// Requests that come from now on belong to this operation.
    pub(crate) fn begin(&self, operation: usize) {
        self.shared.state().operation = operation;
    }

    /// Behaves from now on; what is delayed goes on, what is swallowed is given up.
    pub(crate) fn heal(&self) {
        self.shared.state().plan = None;
        self.shared.changed.notify_all();
    }

    /// Waits until no byte is under way, and whether that came about in time. The clients must have gone.
    pub(crate) fn quiet(&self, patience: Duration) -> io::Result<bool> {
        // Connections are accepted in order, so once this one is served the proxy knows of all before it.
        exchange(self.port.address, b"GET /v1/group/ HTTP/1.1\r\nHost: proxy\r\n\r\n")?;
        let state = self.shared.state();
        let (state, _) = self.shared.changed.wait_timeout_while(state, patience, |state| state.under_way > 0).unwrap();
        Ok(state.under_way == 0)
    }

    /// The changes that went through and the faults that were met since this was last asked.
    pub(crate) fn take(&self) -> (Vec<Landing>, Vec<Fault>) {
        let mut state = self.shared.state();
        (std::mem::take(&mut state.landings), std::mem::take(&mut state.met))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.heal();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Does something on a thread of its own, which counts as under way as long as it takes.
    fn aside(self: &Arc<Self>, work: impl FnOnce(&Arc<Self>) + Send + 'static) {
        self.state().under_way += 1;
        let shared = Arc::clone(self);
        std::thread::spawn(move || {
            work(&shared);
            shared.state().under_way -= 1;
            shared.changed.notify_all();
        });
    }

    /// Serves one request; whether another may follow on the connection.
    fn serve(self: &Arc<Self>, mut client: &TcpStream) -> io::Result<bool> {
        let Some(bytes) = read_message(&mut client)? else { return Ok(false) };
        let (fault, operation) = {
            let mut state = self.state();
            let fault = state.plan.as_mut().and_then(|plan| plan());
            state.met.extend(fault);
            (fault, state.operation)
        };
        let request = Request { bytes, operation, received: Instant::now() };
        let Some(fault) = fault else {
            client.write_all(&self.forward(&request, Repeat::No)?)?;
            return Ok(true);
        };
        self.disturbed(fault, request, client)
    }

    fn disturbed(self: &Arc<Self>, fault: Fault, request: Request, mut client: &TcpStream) -> io::Result<bool> {
        match fault {
            Fault::CutRequest(at) if at < request.bytes.len() => {
                TcpStream::connect(self.node()?)?.write_all(&request.bytes[..at])?;
            }
            Fault::CutRequest(_) => drop(self.forward(&request, Repeat::No)?),
            Fault::CutAnswer(at) => {
                let answer = self.forward(&request, Repeat::No)?;
                client.write_all(&answer[..at.min(answer.len())])?;
            }
            Fault::DelayRequest(time) => {
                self.hold(time);
                client.write_all(&self.forward(&request, Repeat::No)?)?;
                return Ok(true);
            }
            Fault::DelayAnswer(time) => {
                let answer = self.forward(&request, Repeat::No)?;
                self.hold(time);
                client.write_all(&answer)?;
                return Ok(true);
            }
            Fault::Duplicate => {
                client.write_all(&self.forward_twice(&request)?)?;
                return Ok(true);
            }
            Fault::DuplicateLater(time) => {
                client.write_all(&self.forward(&request, Repeat::No)?)?;
                self.aside(move |shared| {
                    shared.hold(time);
                    let _ = shared.forward(&request, Repeat::Later);
                });
                return Ok(true);
            }
            Fault::Drip => {
                for byte in self.forward(&request, Repeat::No)? {
                    client.write_all(&[byte])?;
                    self.hold(Duration::from_micros(200));
                }
                return Ok(true);
            }
            Fault::Answer500 { applied } => {
                if applied {
                    self.forward(&request, Repeat::No)?;
                }
                client.write_all(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")?;
                return Ok(true);
            }
            Fault::Blackhole { applied } => {
                if applied {
                    self.forward(&request, Repeat::No)?;
                }
                self.hold(Duration::from_secs(60));
            }
        }
        let _ = client.shutdown(Shutdown::Both);
        Ok(false)
    }

    fn node(&self) -> io::Result<SocketAddr> {
        self.state().node.ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
    }

    /// Passes a request to the node, also where its client has gone meanwhile, and notes when it had ended.
    fn forward(&self, request: &Request, copy: Repeat) -> io::Result<Vec<u8>> {
        let answer = self.node().and_then(|node| exchange(node, &request.bytes));
        self.note(request, copy);
        answer
    }

    fn note(&self, request: &Request, copy: Repeat) {
        let post = request.bytes.starts_with(b"POST");
        if post || request.bytes.starts_with(b"DELETE") {
            let Request { operation, received, .. } = *request;
            let landing = Landing { operation, post, copy, received, landed: Instant::now() };
            self.state().landings.push(landing);
        }
    }

    fn forward_twice(&self, request: &Request) -> io::Result<Vec<u8>> {
        let answer = std::thread::scope(|scope| {
            let copy = scope.spawn(|| self.forward(request, Repeat::No));
            let answer = self.forward(request, Repeat::No);
            let _ = copy.join();
            answer
        })?;
        if answer.starts_with(b"HTTP/1.1 400") {
            self.note(request, Repeat::Refused);
        }
        Ok(answer)
    }

    /// Lets that time pass, or less where all is healed before.
    fn hold(&self, time: Duration) {
        let state = self.state();
        let _state = self.changed.wait_timeout_while(state, time, |state| state.plan.is_some()).unwrap();
    }
}

/// One request on a connection of its own, and the whole answer.
pub(crate) fn exchange(address: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(request)?;
    read_message(&mut stream)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// A whole request or answer: its head, and as much body as the head announces. None at the end.
fn read_message(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        if whole(&bytes) {
            return Ok(Some(bytes));
        }
        match from.read(&mut piece)? {
            0 if bytes.is_empty() => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => bytes.extend_from_slice(&piece[..read]),
        }
    }
}

fn whole(bytes: &[u8]) -> bool {
    let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    bytes.len() >= head + 4 + length.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use cluster_client::testing::{Method, Node};

    use super::*;

    const POST: &[u8] = b"POST /v1/group/ HTTP/1.1\r\nContent-Length: 15\r\n\r\n{\"groupId\":\"g\"}";
    const PATIENCE: Duration = Duration::from_secs(20);

    /// A node behind a proxy that does this to every request, and what a client then gets for one POST.
    fn met_with(fault: Fault) -> (Node, Proxy, io::Result<Vec<u8>>) {
        let node = Node::start().unwrap();
        let proxy = Proxy::start(node.address()).unwrap();
        proxy.disturb(move || Some(fault));
        let answer = exchange(proxy.port.address, POST);
        (node, proxy, answer)
    }

    #[test]
    fn proxy_without_a_fault_passes_requests_unchanged() {
        let node = Node::start().unwrap();
        let proxy = Proxy::start(node.address()).unwrap();
        assert!(exchange(proxy.port.address, POST).unwrap().starts_with(b"HTTP/1.1 201"));
        assert!(node.has("g"));
        assert!(proxy.quiet(PATIENCE).unwrap());
        assert_eq!(proxy.take().0.len(), 1);
    }

    #[test]
    fn cut_request_takes_effect_only_if_it_was_complete() {
        for (at, done) in [(0, false), (20, false), (POST.len() - 1, false), (POST.len(), true)] {
            let (node, _proxy, answer) = met_with(Fault::CutRequest(at));
            assert!(answer.is_err());
            assert_eq!(node.has("g"), done, "cut after {at}");
        }
    }

    #[test]
    fn lost_answer_keeps_the_effect() {
        for fault in [Fault::CutAnswer(0), Fault::CutAnswer(7)] {
            let (node, _proxy, answer) = met_with(fault);
            assert!(answer.is_err() && node.has("g"), "{fault:?}");
        }
    }

    #[test]
    fn status_500_comes_with_and_without_the_effect() {
        for applied in [true, false] {
            let (node, _proxy, answer) = met_with(Fault::Answer500 { applied });
            assert!(answer.unwrap().starts_with(b"HTTP/1.1 500"));
            assert_eq!(node.has("g"), applied);
        }
    }

    #[test]
    fn repeated_request_reaches_the_node_twice() {
        let (node, proxy, answer) = met_with(Fault::Duplicate);
        assert!(answer.is_ok());
        assert_eq!(node.count(Method::Post), 2);
        proxy.disturb(|| Some(Fault::DuplicateLater(PATIENCE)));
        assert!(exchange(proxy.port.address, POST).is_ok());
        assert_eq!(node.count(Method::Post), 3, "the copy waits");
        proxy.heal();
        assert!(proxy.quiet(PATIENCE).unwrap());
        assert_eq!(node.count(Method::Post), 4);
        assert_eq!(proxy.take().0.iter().filter(|landing| landing.copy == Repeat::Later).count(), 1);
    }

    #[test]
    fn slow_answer_arrives_complete() {
        let short = Duration::from_millis(1);
        for fault in [Fault::Drip, Fault::DelayAnswer(short), Fault::DelayRequest(short)] {
            let (_node, _proxy, answer) = met_with(fault);
            assert!(answer.unwrap().starts_with(b"HTTP/1.1 201"), "{fault:?}");
        }
    }

    #[test]
    fn delayed_request_arrives_after_its_client_has_gone() {
        let node = Node::start().unwrap();
        let proxy = Proxy::start(node.address()).unwrap();
        proxy.disturb(|| Some(Fault::DelayRequest(PATIENCE)));
        TcpStream::connect(proxy.port.address).unwrap().write_all(POST).unwrap();
        proxy.heal();
        assert!(proxy.quiet(PATIENCE).unwrap());
        assert!(node.has("g"));
    }

    #[test]
    fn swallowed_request_is_closed_when_faults_end() {
        for applied in [true, false] {
            let node = Node::start().unwrap();
            let proxy = Proxy::start(node.address()).unwrap();
            proxy.disturb(move || Some(Fault::Blackhole { applied }));
            let mut client = TcpStream::connect(proxy.port.address).unwrap();
            client.write_all(POST).unwrap();
            client.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            assert!(client.read(&mut [0]).is_err(), "nothing comes back");
            proxy.heal();
            assert!(proxy.quiet(PATIENCE).unwrap());
            assert_eq!(node.has("g"), applied);
        }
    }
}
