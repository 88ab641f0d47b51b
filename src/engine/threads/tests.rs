//! Runs the suite on the thread engine.

#[expect(clippy::duplicate_mod, reason = "the suite runs for each way to send a request")]
#[path = "../suite/tests.rs"]
mod suite;

mod subject {
    use std::sync::Arc;

    use crate::api::Reply;
    use crate::engine::Exchange;
    use crate::engine::suite::driving::Driving;
    use crate::engine::threads::Threads;
    use crate::engine::threads::pool::Pool;
    use crate::engine::threads::transport::UreqTransport;
    use crate::values::config::ConfigError;
    use crate::values::host::Host;

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

        pub(super) fn run(&self, exchange: Exchange) -> Reply {
            self.0.run(exchange)
        }

        pub(super) fn shed_idle_connections(&self) {
            self.0.shed_idle_connections();
        }
    }
}
