//! Runs the suite on the thread engine.

#[expect(clippy::duplicate_mod, reason = "the suite runs for each way to send a request")]
#[path = "../suite/tests.rs"]
mod suite;

use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use self::suite::{OK, PLENTY, describe, exchange, serve};
use super::Threads;
use super::pool::Pool;
use super::transport::UreqTransport;
use crate::api::{Action, Api};
use crate::engine::Engine as _;
use crate::engine::suite::withdrawing::replies_if_withdrawn;
use crate::values::group::GroupId;
use crate::values::host::Host;

#[test]
fn withdrawn_exchanges_that_no_thread_has_begun_complete_once_as_not_sent() {
    let (release, is_released) = mpsc::channel::<()>();
    let is_released = Mutex::new(is_released);
    let server = serve(move |_, mut peer| {
        while peer.request().is_some() {
            // Returns at once after the test has dropped `release`.
            let _ = is_released.lock().unwrap().recv();
            peer.send(OK);
        }
    });
    let hosts = [Host::parse(format!("http://{}", server.address)).unwrap()];
    let transport = Arc::new(UreqTransport::new(&hosts, &Arc::default()).unwrap());
    let mut engine = Threads::new(&hosts, &transport, Pool::new(1));
    let create = exchange(0, &Api::default().request(Action::Create, &GroupId::parse("g1").unwrap()), PLENTY);
    engine.submit(create.clone());
    engine.wait(Some(std::time::Instant::now()), &mut Vec::new());
    server.requests.recv().unwrap();
    let replies = replies_if_withdrawn(&mut engine, &create, || drop(release));
    for (id, reply) in replies {
        let withdrawn = "not sent, GivenUp: the operation was stopped before the request began";
        assert_eq!(describe(&reply), if [0, 2].contains(&id) { "200" } else { withdrawn }, "{id}");
    }
    assert_eq!(server.requests.try_iter().count(), 1);
}

mod subject {
    use std::sync::Arc;

    use crate::api::Reply;
    use crate::engine::Exchange;
    use crate::engine::suite::driving::Driving;
    use crate::engine::threads::Threads;
    use crate::engine::threads::pool::Pool;
    use crate::engine::threads::transport::UreqTransport;
    use crate::http::proxy::Proxy;
    use crate::values::config::ConfigError;
    use crate::values::host::Host;
    use crate::values::usage::Traffic;

    pub(super) struct Subject(Driving);

    impl Subject {
        /// The headers of a request of the default API, in the order on the wire.
        pub(super) const HEADERS: [&str; 5] = ["content-length", "user-agent", "accept", "host", "content-type"];

        pub(super) fn to(hosts: &[Host]) -> Result<Self, ConfigError> {
            let transport = Arc::new(UreqTransport::new(hosts, &Arc::default())?);
            Ok(Subject(Driving::new(Threads::new(hosts, &transport, Pool::new(64)))))
        }

        #[cfg(feature = "rustls")]
        pub(super) fn trusting(host: &Host, authority: &[u8]) -> Self {
            let hosts = std::slice::from_ref(host);
            let transport = Arc::new(UreqTransport::new(hosts, &crate::engine::suite::trusting(authority)).unwrap());
            Subject(Driving::new(Threads::new(hosts, &transport, Pool::new(64))))
        }

        /// Goes through this proxy, and trusts the certificates of this authority only.
        #[cfg_attr(not(feature = "rustls"), expect(unused_variables, reason = "there is no TLS"))]
        pub(super) fn through(host: &Host, proxy: Arc<Proxy>, authority: &[u8]) -> Self {
            let hosts = std::slice::from_ref(host);
            #[cfg(feature = "rustls")]
            let tls = crate::engine::suite::trusting(authority);
            #[cfg(not(feature = "rustls"))]
            let tls = Arc::default();
            let transport = Arc::new(UreqTransport::new(hosts, &tls).unwrap().through(Some(proxy)));
            Subject(Driving::new(Threads::new(hosts, &transport, Pool::new(64))))
        }

        pub(super) fn run_counted(&self, exchange: Exchange) -> (Reply, Traffic) {
            self.0.run(exchange)
        }

        pub(super) fn shed_idle_connections(&self) {
            self.0.shed_idle_connections();
        }
    }
}
