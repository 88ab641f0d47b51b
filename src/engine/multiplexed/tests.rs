//! Runs the suite on the multiplexed engine, and tests of this engine alone.

#[expect(clippy::duplicate_mod, reason = "the suite runs for each way to send a request")]
#[path = "../suite/tests.rs"]
mod suite;

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use self::suite::{PLENTY, describe, describe_whole, serve, serve_at};
use super::{Multiplexed, Network};
use crate::api::{Action, Api, Body, BodyUse, Reply, Request};
use crate::engine::suite::withdrawing::replies_if_withdrawn;
use crate::engine::threads::transport::subject::Subject as UreqSubject;
use crate::engine::{Completion, Engine as _, Exchange};
use crate::http::credentials::HeaderLines;
use crate::values::group::GroupId;
use crate::values::host::Host;

fn exchange(id: u64, host: usize, action: Action, timeout: Duration) -> Exchange {
    let request = Arc::new(Api::default().request(action, &GroupId::parse("g1").unwrap()));
    let credentials = HeaderLines::default();
    Exchange { id, host, request, only_reads: action == Action::Check, credentials, timeout, not_after: None }
}

/// Runs `exchanges`, and returns their completions by id.
fn run(engine: &mut Multiplexed, exchanges: impl IntoIterator<Item = Exchange>) -> HashMap<u64, Completion> {
    let mut open = 0;
    for exchange in exchanges {
        engine.submit(exchange);
        open += 1;
    }
    let (mut completed, mut all) = (Vec::new(), HashMap::new());
    while all.len() < open {
        engine.wait(None, &mut completed);
        for completion in completed.drain(..) {
            assert!(all.insert(completion.id, completion).is_none(), "an exchange completes once");
        }
    }
    all
}

fn host(address: impl std::fmt::Display) -> Host {
    Host::parse(format!("http://{address}")).unwrap()
}

/// Valid answers. Each case changes a few bytes of one of them.
const TEMPLATES: [&str; 8] = [
    "HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nx: y\r\n\r\n",
    "HTTP/1.0 404 Not Found\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Later\r\nretry-after: 17\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 302 Found\r\nlocation: /elsewhere/\r\nconnection: close\r\n\r\n",
    "HTTP/1.1 204 No Content\r\nserver: x\r\n\r\n",
    "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"groupId\": \"g1\"}",
    "HTTP/1.1 409 x\r\ntransfer-encoding: chunked\r\n\r\n1;a=b\r\n{\r\n05\r\n\"a\":1\r\n1\r\n}\r\n00\r\n\r\n",
];

fn mutated(random: &mut fastrand::Rng) -> Vec<u8> {
    const PIECES: [&[u8]; 12] = [
        b"\r\n",
        b"\n",
        b" ",
        b":",
        b"0",
        b"9",
        b"\0",
        b"\xff",
        b"content-length: 1\r\n",
        b"HTTP/1.1 101 x\r\n\r\n",
        b"ffffffffffffffff\r\n",
        b"transfer-encoding: chunked\r\n",
    ];
    let mut bytes = TEMPLATES[random.usize(..TEMPLATES.len())].as_bytes().to_vec();
    for _ in 0..random.usize(..4) {
        let at = random.usize(..=bytes.len());
        match random.u8(..3) {
            0 => bytes.truncate(at),
            1 => drop(bytes.splice(at..at, PIECES[random.usize(..PIECES.len())].iter().copied())),
            _ => {
                let end = bytes.len().min(at + random.usize(..4));
                drop(bytes.splice(at..end, PIECES[random.usize(..PIECES.len())].iter().copied()));
            }
        }
    }
    bytes
}

#[test]
fn both_engines_read_any_answer_alike() {
    let script = Arc::<Mutex<Vec<u8>>>::default();
    let scripted = Arc::clone(&script);
    let server = serve(move |_, mut peer| {
        peer.request();
        let answer = scripted.lock().unwrap().clone();
        peer.send(answer);
    });
    let hosts = [host(server.address)];
    let mut random = fastrand::Rng::with_seed(7);
    for case in 0..1500 {
        let answer = mutated(&mut random);
        answer.clone_into(&mut script.lock().unwrap());
        let action = [Action::Create, Action::Check, Action::Delete][case % 3];
        // Create new clients for each case: the close by the server and the next request would race.
        let ureq = UreqSubject::to(&hosts).unwrap();
        let mut engine = Multiplexed::new(&hosts, Arc::default());
        let sent = || {
            let request = Api::default().request(action, &GroupId::parse("g1").unwrap());
            let method = if case % 5 == 4 { "HEAD".into() } else { request.method };
            let body_use = [BodyUse::Unused, BodyUse::Hint, BodyUse::Needed][case / 3 % 3];
            let request = Arc::new(Request { method, body_use, ..request });
            Exchange { request, ..exchange(0, 0, action, PLENTY) }
        };
        let expected = ureq.run(sent());
        let reply = run(&mut engine, [sent()]).remove(&0).unwrap().reply;
        let shown = answer.escape_ascii();
        assert_eq!(describe_whole(&reply), describe_whole(&expected), "case {case}, {:?}: {shown}", sent().request);
        if let (Reply::Answered { body: Body::Cut(bytes), .. }, Reply::Answered { body: Body::Cut(other), .. }) =
            (&reply, &expected)
        {
            assert!(bytes.starts_with(other) || other.starts_with(bytes), "case {case}: {shown}");
        }
    }
}

#[test]
fn flood_of_one_server_does_not_delay_other_exchanges() {
    let flood = serve(|_, mut peer| {
        peer.request();
        let many = "HTTP/1.1 102 Processing\r\n\r\n".repeat(1000);
        while peer.stream.get_mut().write_all(many.as_bytes()).is_ok() {}
    });
    let well = serve(|_, mut peer| {
        while peer.request().is_some() {
            peer.send("HTTP/1.1 201 x\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let mut engine = Multiplexed::new(&[host(flood.address), host(well.address)], Arc::default());
    engine.submit(exchange(0, 0, Action::Create, PLENTY));
    let (start, mut completed) = (Instant::now(), Vec::new());
    for id in 1..=20 {
        engine.submit(exchange(id, 1, Action::Create, PLENTY));
        while completed.iter().all(|completion: &Completion| completion.id != id) {
            engine.wait(None, &mut completed);
            assert!(completed.iter().all(|completion| completion.id != 0), "20 answers within {:?}", start.elapsed());
        }
    }
}

#[test]
fn wait_returns_at_its_time_and_when_it_is_woken() {
    let mute = serve(|_, mut peer| peer.wait());
    let mut engine = Multiplexed::new(&[host(mute.address)], Arc::default());
    let mut completed = Vec::new();
    for under_way in [false, true] {
        if under_way {
            engine.submit(exchange(0, 0, Action::Check, PLENTY));
        }
        let until = Instant::now() + Duration::from_millis(20);
        engine.wait(Some(until), &mut completed);
        assert!(Instant::now() >= until);
        // Wake before `wait`, and then during it.
        engine.waker().wake();
        engine.wait(None, &mut completed);
        let (waker, (begins, has_begun)) = (engine.waker(), std::sync::mpsc::channel());
        std::thread::scope(|scope| {
            scope.spawn(move || {
                has_begun.recv().unwrap();
                waker.wake();
            });
            begins.send(()).unwrap();
            engine.wait(None, &mut completed);
        });
        assert!(completed.is_empty());
    }
}

#[test]
fn each_exchange_ends_at_its_own_timeout() {
    let mute = serve(|_, mut peer| peer.wait());
    let mut engine = Multiplexed::new(&[host(mute.address)], Arc::default());
    let timeout = |id| Duration::from_millis(10 + 13 * (id * 7 % 10));
    let start = Instant::now();
    let all = run(&mut engine, (0..10).map(|id| exchange(id, 0, Action::Check, timeout(id))));
    for (id, completion) in all {
        assert!(completion.usage.elapsed >= timeout(id), "{id}: {:?}", completion.usage.elapsed);
        let expected = format!("ambiguous, Timeout: no answer within {:?}", timeout(id));
        assert_eq!(describe(&completion.reply), expected);
    }
    assert!(start.elapsed() >= timeout(7));
}

#[test]
fn look_ups_beyond_the_limit_wait_for_a_slot_until_their_timeout() {
    let resolve = |name: &str| {
        while name.ends_with("hangs") {
            std::thread::park();
        }
        Ok(vec![std::net::Ipv4Addr::LOCALHOST.into()])
    };
    let server = serve_at("127.0.0.1:0", |_, mut peer| {
        while peer.request().is_some() {
            peer.send("HTTP/1.1 201 x\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let port = server.address.port();
    let network =
        || Network { resolver: Arc::new(crate::http::resolver::Resolver::resolving_by(resolve)), ..Network::default() };
    let hosts: Vec<_> = (0..100).map(|number| host(format!("node{number}:{port}"))).collect();
    let mut engine = Multiplexed::new(&hosts, Arc::new(network()));
    let all = run(&mut engine, (0..100).map(|id| exchange(id, usize::try_from(id).unwrap(), Action::Create, PLENTY)));
    assert!(all.values().all(|completion| describe(&completion.reply) == "201"));

    let hosts: Vec<_> = (0..100).map(|number| host(format!("{number}.hangs:{port}"))).collect();
    let mut engine = Multiplexed::new(&hosts, Arc::new(network()));
    let brief = Duration::from_millis(50);
    let all = run(&mut engine, (0..100).map(|id| exchange(id, usize::try_from(id).unwrap(), Action::Create, brief)));
    for completion in all.values() {
        assert_eq!(describe(&completion.reply), "not sent, Resolve: the host name was not looked up within 50ms");
    }
}

#[test]
fn exchanges_beyond_the_bound_of_connections_wait_until_their_timeout() {
    let under_way = Arc::<std::sync::atomic::AtomicUsize>::default();
    let most = Arc::<std::sync::atomic::AtomicUsize>::default();
    let (open, highest) = (Arc::clone(&under_way), Arc::clone(&most));
    let server = serve_at("0.0.0.0:0", move |_, mut peer| {
        let now = open.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
        highest.fetch_max(now, std::sync::atomic::Ordering::SeqCst);
        peer.request();
        open.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
        peer.send("HTTP/1.1 201 x\r\ncontent-length: 0\r\n\r\n");
        peer.wait();
    });
    let port = server.address.port();
    let hosts: Vec<_> = (1..=40).map(|number| host(format!("127.0.0.{number}:{port}"))).collect();
    let mut engine = Multiplexed::new(&hosts, Arc::default());
    // Keep an exchange under way, because the bound is reset when none is.
    let mute = serve(|_, mut peer| peer.wait());
    let silent = engine.add_host(&host(mute.address)).unwrap();
    engine.submit(exchange(99, silent, Action::Create, Duration::from_secs(20)));
    let mut completed = Vec::new();
    engine.wait(Some(Instant::now()), &mut completed);
    engine.most = 4;
    for id in 0..40 {
        engine.submit(exchange(id, usize::try_from(id).unwrap(), Action::Create, PLENTY));
    }
    while completed.len() < 40 {
        engine.wait(None, &mut completed);
    }
    assert!(completed.iter().all(|completion| describe(&completion.reply) == "201"));
    assert!(engine.open() <= 4 && most.load(std::sync::atomic::Ordering::SeqCst) <= 3);

    engine.most = 1;
    engine.submit(exchange(100, 0, Action::Create, Duration::from_millis(20)));
    completed.clear();
    engine.wait(None, &mut completed);
    assert_eq!(describe(&completed[0].reply), "not sent, Connect: no connection within 20ms");
}

/// Returns an engine whose only connection carries an exchange with the id 0 to host 1, which `timeout` ends.
fn busy_engine(host_0: &Host, host_1: &Host, timeout: Duration) -> Multiplexed {
    let mut engine = Multiplexed::new(&[host_0.clone(), host_1.clone()], Arc::default());
    engine.submit(exchange(0, 1, Action::Create, timeout));
    // The bound is reset when no connection is busy.
    engine.wait(Some(Instant::now()), &mut Vec::new());
    engine.most = 1;
    engine
}

#[test]
fn withdrawn_exchanges_without_a_connection_complete_once_as_not_sent() {
    let server = serve(|_, mut peer| {
        while peer.request().is_some() {
            peer.send(suite::OK);
        }
    });
    let (release, is_released) = std::sync::mpsc::channel::<()>();
    let is_released = Mutex::new(is_released);
    let slow = serve(move |_, mut peer| {
        peer.request();
        let _ = is_released.lock().unwrap().recv();
        peer.send(suite::OK);
    });
    let mut engine = busy_engine(&host(server.address), &host(slow.address), PLENTY);
    let waiting = exchange(0, 0, Action::Create, PLENTY);
    let replies = replies_if_withdrawn(&mut engine, &waiting, || drop(release));
    for (id, reply) in replies {
        let withdrawn = "not sent, GivenUp: the operation was stopped before the request began";
        assert_eq!(describe(&reply), if [0, 2].contains(&id) { "200" } else { withdrawn }, "{id}");
    }
    assert_eq!(server.requests.try_iter().count(), 1);
}

#[test]
fn timeout_runs_from_when_an_exchange_gets_a_connection() {
    let (held, timeout) = (Duration::from_millis(500), Duration::from_millis(800));
    let submitted = Instant::now();
    let server = serve(move |_, mut peer| {
        peer.request();
        // Answer after the timeout since `submit`.
        std::thread::sleep(timeout.saturating_sub(submitted.elapsed()) + Duration::from_millis(20));
        peer.send(suite::OK);
    });
    let mute = serve(|_, mut peer| peer.wait());
    let mut engine = busy_engine(&host(server.address), &host(mute.address), held);
    engine.submit(exchange(1, 0, Action::Create, timeout));
    let mut completed = Vec::new();
    while completed.len() < 2 {
        engine.wait(None, &mut completed);
    }
    let replies: Vec<_> = completed.iter().map(|completion| describe(&completion.reply)).collect();
    assert_eq!(replies, ["ambiguous, Timeout: no answer within 500ms", "200"]);
    assert!(completed[1].usage.elapsed > timeout);
}

/// Runs in a process with few descriptors, started by the next test.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "runs in a process with few file descriptors"]
fn ask_all_at_once_with_few_descriptors() {
    let Ok(port) = std::env::var("ENGINE_TEST_PORT") else { return };
    let hosts: Vec<_> = (1..=100).map(|number| host(format!("127.0.0.{number}:{port}"))).collect();
    let mut engine = Multiplexed::new(&hosts, Arc::default());
    for _ in 0..2 {
        let all = (0..100).map(|id| exchange(id, usize::try_from(id).unwrap(), Action::Create, PLENTY));
        for completion in run(&mut engine, all).values() {
            assert_eq!(describe(&completion.reply), "200");
        }
    }
    let mut taken: Vec<_> = (0..).map_while(|_| std::fs::File::open("/dev/null").ok()).collect();
    engine.shed_idle_connections();
    taken.extend((0..).map_while(|_| std::fs::File::open("/dev/null").ok()));
    let none = run(&mut engine, [exchange(0, 0, Action::Create, PLENTY)]).remove(&0).unwrap();
    taken.clear();
    assert_eq!(describe(&none.reply), "not sent, Exhausted: no file descriptor for a connection");
    let one = run(&mut engine, [exchange(0, 0, Action::Create, PLENTY)]).remove(&0).unwrap();
    assert_eq!(describe(&one.reply), "200");
}

#[cfg(target_os = "linux")]
#[test]
fn exchanges_wait_for_descriptors_of_other_exchanges() {
    let server = serve_at("0.0.0.0:0", |_, mut peer| {
        while peer.request().is_some() {
            peer.send("HTTP/1.1 200 x\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let (_, module) = module_path!().split_once("::").unwrap();
    let output = std::process::Command::new("sh")
        .args(["-c", "ulimit -n 40; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact"])
        .arg(format!("{module}::ask_all_at_once_with_few_descriptors"))
        .env("ENGINE_TEST_PORT", server.address.port().to_string())
        .output()
        .unwrap();
    let output_text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && output_text.contains("1 passed"), "{output_text}");
}

#[test]
fn closed_idle_connections_beyond_one_poll_are_replaced_before_the_next_requests() {
    const HOSTS: u64 = 20;
    let (closed, is_closed) = std::sync::mpsc::channel();
    let all_are_open = std::sync::Barrier::new(usize::try_from(HOSTS).unwrap() + 1);
    let all_are_open = Arc::new(all_are_open);
    let barrier = Arc::clone(&all_are_open);
    let server = serve_at("0.0.0.0:0", move |number, mut peer| {
        peer.request();
        peer.send("HTTP/1.1 201 x\r\ncontent-length: 0\r\n\r\n");
        if number < usize::try_from(HOSTS).unwrap() {
            barrier.wait();
            peer.stream.get_ref().shutdown(std::net::Shutdown::Both).unwrap();
            closed.send(()).unwrap();
        } else {
            peer.wait();
        }
    });
    let port = server.address.port();
    let hosts: Vec<_> = (1..=HOSTS).map(|number| host(format!("127.0.0.{number}:{port}"))).collect();
    let mut engine = Multiplexed::new(&hosts, Arc::default());
    let create = |id: u64| exchange(id, usize::try_from(id).unwrap(), Action::Create, PLENTY);
    run(&mut engine, (0..HOSTS).map(create));
    all_are_open.wait();
    (0..HOSTS).for_each(|_| is_closed.recv().unwrap());
    engine.poll.as_mut().unwrap().1 = mio::Events::with_capacity(2);
    for completion in run(&mut engine, (0..HOSTS).map(create)).values() {
        assert_eq!(describe(&completion.reply), "201");
    }
}

#[test]
fn host_is_added_once_and_asked_by_its_number() {
    let server = serve(|_, mut peer| {
        peer.request();
        peer.send("HTTP/1.1 201 x\r\ncontent-length: 0\r\n\r\n");
    });
    let mut engine = Multiplexed::new(&[host("127.0.0.1:1")], Arc::default());
    let number = engine.add_host(&host(server.address)).unwrap();
    assert_eq!((number, engine.add_host(&host("127.0.0.1:1")).unwrap()), (1, 0));
    let all = run(&mut engine, [exchange(0, number, Action::Create, PLENTY), exchange(1, 9, Action::Create, PLENTY)]);
    assert_eq!(describe(&all[&0].reply), "201");
    assert!(matches!(all[&1].reply, Reply::NotSent(_)));
}

mod subject {
    use std::sync::Arc;

    use crate::api::Reply;
    use crate::engine::Exchange;
    use crate::engine::multiplexed::Multiplexed;
    use crate::engine::suite::driving::Driving;
    use crate::http::proxy::Proxy;
    use crate::values::config::ConfigError;
    use crate::values::host::Host;
    use crate::values::usage::Traffic;

    pub(super) struct Subject(Driving);

    impl Subject {
        /// The headers of a request of the default API, in the order on the wire.
        pub(super) const HEADERS: [&str; 5] = ["host", "user-agent", "accept", "content-type", "content-length"];

        pub(super) fn to(hosts: &[Host]) -> Result<Self, ConfigError> {
            crate::http::tls::Tls::default().check(hosts)?;
            Ok(Subject(Driving::new(Multiplexed::new(hosts, Arc::default()))))
        }

        /// Trusts the certificates of this authority only.
        #[cfg(feature = "rustls")]
        pub(super) fn trusting(host: &Host, authority: &[u8]) -> Self {
            use crate::engine::multiplexed::Network;

            let network = Network::new(&crate::engine::suite::trusting(authority));
            Subject(Driving::new(Multiplexed::new(std::slice::from_ref(host), Arc::new(network))))
        }

        /// Goes through this proxy, and trusts the certificates of this authority only.
        #[cfg_attr(not(feature = "rustls"), expect(unused_variables, reason = "there is no TLS"))]
        pub(super) fn through(host: &Host, proxy: Arc<Proxy>, authority: &[u8]) -> Self {
            use crate::engine::multiplexed::Network;

            #[cfg(feature = "rustls")]
            let network = Network::new(&crate::engine::suite::trusting(authority));
            #[cfg(not(feature = "rustls"))]
            let network = Network::default();
            let network = Arc::new(network.through(Some(proxy)));
            Subject(Driving::new(Multiplexed::new(std::slice::from_ref(host), network)))
        }

        pub(super) fn run_counted(&self, exchange: Exchange) -> (Reply, Traffic) {
            self.0.run(exchange)
        }

        pub(super) fn shed_idle_connections(&self) {
            self.0.shed_idle_connections();
        }
    }
}
