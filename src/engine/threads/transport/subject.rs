//! Runs the suite of `tests.rs` on the transport, and tests of the transport alone.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use super::tests::{ACTIONS, OK, PLENTY, assert_reply, serve};
use super::*;
use crate::api::{Action, Api, Request};
#[cfg(feature = "rustls")]
use crate::engine::suite::trusting;
use crate::http::credentials::HeaderLines;
use crate::http::proxy::Proxy;
use crate::values::group::GroupId;
use crate::values::usage::Traffic;

pub(crate) struct Subject(UreqTransport);

impl Subject {
    /// The headers of a request of the default API, in the order on the wire.
    pub(crate) const HEADERS: [&str; 5] = ["content-length", "user-agent", "accept", "host", "content-type"];

    pub(crate) fn to(hosts: &[Host]) -> Result<Self, ConfigError> {
        UreqTransport::new(hosts, &Arc::default()).map(Self)
    }

    /// Trusts the certificates of this authority only.
    #[cfg(feature = "rustls")]
    pub(crate) fn trusting(host: &Host, authority: &[u8]) -> Self {
        Subject(UreqTransport::new(std::slice::from_ref(host), &trusting(authority)).unwrap())
    }

    /// Goes through this proxy, and trusts the certificates of this authority only.
    #[cfg_attr(not(feature = "rustls"), expect(unused_variables, reason = "there is no TLS"))]
    pub(crate) fn through(host: &Host, proxy: Arc<Proxy>, authority: &[u8]) -> Self {
        #[cfg(feature = "rustls")]
        let tls = trusting(authority);
        #[cfg(not(feature = "rustls"))]
        let tls = Arc::default();
        Subject(UreqTransport::new(std::slice::from_ref(host), &tls).unwrap().through(Some(proxy)))
    }

    #[expect(clippy::needless_pass_by_value, reason = "an engine takes it by value")]
    pub(crate) fn run_counted(&self, exchange: Exchange) -> (Reply, Traffic) {
        self.0.send(Instant::now(), &exchange)
    }

    pub(crate) fn shed_idle_connections(&self) {
        self.0.shed_idle();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn connect_tries_the_next_address_after_a_refused_and_a_silent_one() {
    let (silent, _queue) = tests::blackhole();
    let refusing = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = tests::answering(tests::OK);
    let context = RequestContext::new(Duration::from_secs(2));
    let stream = tcp::connect_to_any(&[refusing, silent, server.address], &context).unwrap();
    assert_eq!(stream.peer_addr().unwrap(), server.address);
    assert!(context.left().is_some());
}

fn exchange(host: usize, action: Action) -> Exchange {
    let request = Api::default().request(action, &GroupId::parse("g1").unwrap());
    Exchange { only_reads: action == Action::Check, ..tests::exchange(host, &request, PLENTY) }
}

#[test]
fn shed_idle_closes_the_connections_of_every_transport_of_the_client() {
    let (closed, is_closed) = mpsc::channel();
    let serving = move || {
        let closed = closed.clone();
        serve(move |_, mut peer| {
            peer.request();
            peer.send(OK);
            peer.wait();
            closed.send(()).unwrap();
        })
    };
    let servers = [serving(), serving(), serving()];
    let hosts = servers.each_ref().map(|server| Host::parse(format!("http://{}", server.address)).unwrap());
    let transport = UreqTransport::new(&hosts[..2], &Arc::default()).unwrap();
    let other = transport.beside(&hosts[2..]).unwrap();
    let check = |host| exchange(host, Action::Check);
    assert_reply(&transport.send(Instant::now(), &check(0)).0, "200");
    assert_reply(&transport.send(Instant::now(), &check(1)).0, "200");
    assert_reply(&other.send(Instant::now(), &check(0)).0, "200");
    assert!(is_closed.try_recv().is_err());
    transport.shed_idle();
    for _ in 0..servers.len() {
        is_closed.recv_timeout(PLENTY).unwrap();
    }
    assert_reply(&other.send(Instant::now(), &check(0)).0, "200");
}

#[test]
fn end_of_a_nested_request_restores_the_outer_one() {
    let outer = context::enter(&HeaderLines::default());
    context::begin(RequestContext::new(PLENTY));
    context::update(|context| context.sent = true);
    drop(context::enter(&HeaderLines::default()));
    assert!(context::current().sent);
    drop(outer);
    assert!(!context::current().sent);
}

/// The logger of the process, with a hook per thread.
struct PerThread;

type OnRecord = Box<dyn Fn(&log::Record<'_>)>;

thread_local! {
    static ON_RECORD: std::cell::RefCell<Option<OnRecord>> = const { std::cell::RefCell::new(None) };
}

impl log::Log for PerThread {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        ON_RECORD.with_borrow(Option::is_some)
    }

    fn log(&self, record: &log::Record<'_>) {
        // Take the hook out, so that records of nested requests do not call it.
        let Some(act) = ON_RECORD.take() else { return };
        act(record);
        ON_RECORD.set(Some(act));
    }

    fn flush(&self) {}
}

fn install_logger() {
    static INSTALLED: std::sync::Once = std::sync::Once::new();
    INSTALLED.call_once(|| {
        log::set_logger(&PerThread).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
}

/// At the level trace, ureq-proto logs every byte that it writes.
#[test]
fn headers_are_not_in_the_log_of_debug() {
    install_logger();
    let server = tests::answering(OK);
    let headers = [("Authorization", "marker-1"), ("Accept", "marker-2"), ("Content-Type", "marker-3")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let records = std::rc::Rc::<std::cell::RefCell<Vec<String>>>::default();
    let logged = std::rc::Rc::clone(&records);
    ON_RECORD.set(Some(Box::new(move |record| {
        if record.level() <= log::Level::Debug {
            logged.borrow_mut().push(record.args().to_string());
        }
    })));
    let sent = exchange(0, Action::Create);
    let sent =
        Exchange { request: Arc::new(Request { headers: Arc::new(headers), ..(*sent.request).clone() }), ..sent };
    assert_reply(&server.transport().run(sent), "200");
    ON_RECORD.set(None);
    assert!(server.requests.recv().unwrap().contains("accept: marker-2"));
    let text = records.borrow().join("\n");
    assert!(text.contains("\"accept\": Sensitive") && !text.contains("marker"), "{text}");
}

fn ends_with_a_logger_that_sends(transport: UreqTransport) {
    install_logger();
    let (ended, end) = mpsc::channel();
    let transport = Arc::new(transport);
    thread::spawn(move || {
        let (records, nested) = (Arc::<AtomicUsize>::default(), Arc::clone(&transport));
        let count = Arc::clone(&records);
        ON_RECORD.set(Some(Box::new(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            assert_reply(&nested.send(Instant::now(), &exchange(0, Action::Check)).0, "200");
        })));
        for _ in 0..3 {
            for action in ACTIONS {
                assert_reply(&transport.send(Instant::now(), &exchange(0, action)).0, "200");
            }
        }
        ON_RECORD.set(None);
        ended.send(records.load(Ordering::SeqCst)).unwrap();
    });
    let records = end.recv_timeout(PLENTY).expect("it hangs");
    assert!(records > 50, "{records}");
}

#[test]
fn logger_that_sends_to_the_same_host_does_not_hang() {
    let server = serve(|_, mut peer| {
        while peer.request().is_some() {
            peer.send(OK);
        }
    });
    ends_with_a_logger_that_sends(server.transport().0);
}

#[cfg(feature = "rustls")]
#[test]
fn logger_that_sends_to_the_same_tls_host_does_not_hang() {
    let server = tests::tls::node_with(usize::MAX);
    let host = Host::parse(format!("https://localhost:{}", server.address.port())).unwrap();
    ends_with_a_logger_that_sends(UreqTransport::new(&[host], &trusting(tests::tls::AUTHORITY)).unwrap());
}
