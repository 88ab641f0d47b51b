//! The engine runs the suite of the transport, on a thread of its own that takes the exchanges of many.

#[path = "../../transport/tests.rs"]
mod suite;

mod subject {
    use std::sync::mpsc::{self, Sender};
    use std::sync::{Arc, Mutex};
    use std::thread::{self, JoinHandle};
    use std::time::Duration;

    use crate::api::{Reply, Request};
    use crate::config::ConfigError;
    use crate::engine::multiplexed::{Multiplexed, Shared};
    use crate::engine::{Engine as _, Exchange};
    use crate::host::Host;
    use crate::sync::Wake;

    enum Order {
        Send(Exchange, Sender<Reply>),
        Shed(Sender<()>),
    }

    pub(super) struct Subject {
        orders: Option<Mutex<Sender<Order>>>,
        waker: Arc<dyn Wake>,
        thread: Option<JoinHandle<()>>,
    }

    impl Subject {
        pub(super) fn to(hosts: &[Host]) -> Result<Self, ConfigError> {
            Multiplexed::new(hosts, Arc::default()).map(Self::driving)
        }

        /// Trusts the certificates of this authority only.
        #[cfg(feature = "rustls")]
        pub(super) fn trusting(host: &Host, authority: &[u8]) -> Self {
            use rustls::pki_types::CertificateDer;
            use rustls::pki_types::pem::PemObject as _;
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority).unwrap()).unwrap();
            let shared = Shared { tls: crate::http::tls::with_roots(roots).into(), ..Shared::default() };
            Self::driving(Multiplexed::new(std::slice::from_ref(host), Arc::new(shared)).unwrap())
        }

        fn driving(mut engine: Multiplexed) -> Self {
            let (orders, taken) = mpsc::channel();
            let waker = engine.waker();
            let drive = move || {
                let mut open: Vec<Option<Sender<Reply>>> = Vec::new();
                let mut completed = Vec::new();
                loop {
                    loop {
                        match taken.try_recv() {
                            Ok(Order::Send(mut exchange, reply)) => {
                                exchange.id = open.len() as u64;
                                open.push(Some(reply));
                                engine.submit(exchange);
                            }
                            Ok(Order::Shed(done)) => {
                                engine.shed_idle_connections();
                                done.send(()).unwrap();
                            }
                            Err(mpsc::TryRecvError::Empty) => break,
                            Err(mpsc::TryRecvError::Disconnected) => return,
                        }
                    }
                    engine.wait(None, &mut completed);
                    for completion in completed.drain(..) {
                        let reply = open[usize::try_from(completion.id).unwrap()].take();
                        reply.expect("an exchange completes once").send(completion.reply).unwrap();
                    }
                }
            };
            let thread = Some(thread::spawn(drive));
            Subject { orders: Some(Mutex::new(orders)), waker, thread }
        }

        fn order(&self, order: Order) {
            self.orders.as_ref().unwrap().lock().unwrap().send(order).unwrap();
            self.waker.wake();
        }

        pub(super) fn send(&self, host: usize, request: &Request, timeout: Duration) -> Reply {
            let (reply, replied) = mpsc::channel();
            let request = Arc::new(request.clone());
            let exchange = Exchange { id: 0, host, request, headers: Arc::new([]), timeout, wants_body: false };
            self.order(Order::Send(exchange, reply));
            replied.recv().unwrap()
        }

        pub(super) fn shed_idle_connections(&self) {
            let (done, is_done) = mpsc::channel();
            self.order(Order::Shed(done));
            is_done.recv().unwrap();
        }
    }

    impl Drop for Subject {
        fn drop(&mut self) {
            drop(self.orders.take());
            self.waker.wake();
            let ended = self.thread.take().unwrap().join();
            assert!(ended.is_ok() || thread::panicking());
        }
    }
}
