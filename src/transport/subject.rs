//! The transport as the subject of the suite of `tests.rs`, and what is tested of it alone.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::api::{Action, Api};
use crate::group::GroupId;

pub(crate) struct Subject(UreqTransport);

impl Subject {
    pub(crate) fn to(hosts: &[Host]) -> Result<Self, ConfigError> {
        UreqTransport::new(hosts).map(Self)
    }

    /// Trusts the certificates of this authority only.
    #[cfg(feature = "rustls")]
    pub(crate) fn trusting(host: &Host, authority: &[u8]) -> Self {
        Subject(UreqTransport::trusting(std::slice::from_ref(host), authority))
    }

    pub(crate) fn send(&self, host: usize, request: &Request, timeout: Duration) -> Reply {
        self.0.send(host, request, timeout, None)
    }

    pub(crate) fn shed_idle_connections(&self) {
        self.0.shed_idle_connections();
    }
}

impl UreqTransport {
    /// Trusts the certificates of this authority only.
    #[cfg(feature = "rustls")]
    pub(crate) fn trusting(hosts: &[Host], authority: &[u8]) -> Self {
        let mut transport = UreqTransport::new(hosts).unwrap();
        let authority = ureq::tls::Certificate::from_pem(authority).unwrap();
        transport.maker.tls = wire::Tls::new(ureq::tls::RootCerts::from(vec![authority]));
        transport
    }
}

/// Number of times that a request is reported to hold its thread up.
fn stalls(server: &tests::Server, action: Action, timeout: Duration) -> usize {
    let request = Api::default().request(action, &GroupId::parse("g1").unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let stalled: Stalled = {
        let count = Arc::clone(&count);
        Arc::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        })
    };
    server.transport().0.send(0, &request, timeout, Some(&stalled));
    count.load(Ordering::SeqCst)
}

#[test]
fn a_mute_server_holds_the_thread_up_and_that_is_told_once() {
    let mute = tests::serve(|_, mut peer| {
        peer.request();
        peer.wait();
    });
    assert_eq!(stalls(&mute, Action::Check, Duration::from_millis(100)), 1);
    assert_eq!(stalls(&mute, Action::Create, Duration::from_millis(100)), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn the_next_address_is_tried_within_the_time() {
    let (silent, _queue) = tests::blackhole();
    let refusing = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = tests::answering(tests::OK);
    let call = Call::new(Duration::from_secs(2));
    let stream = wire::dial(&[refusing, silent, server.address], &call).unwrap();
    assert_eq!(stream.peer_addr().unwrap(), server.address);
    assert!(call.left().is_some());
}
