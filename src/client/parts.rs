//! Floor 3: the operations and the engine of a driver. Only the thread in the driver's seat uses them.

use std::sync::Arc;
use std::time::Instant;

use crate::api::{Action, Reply};
use crate::client::exchanges::{Authorized, Awaited, Exchanges};
use crate::client::inner::ClientInner;
use crate::client::operations::{Operations, Send};
use crate::client::options::CallHeaders;
use crate::engine::{Completion, Engine, Exchange};
use crate::http::credentials::HeaderLines;
use crate::values::cause::{RequestError, RequestErrorKind};
use crate::values::usage::Usage;

/// The operations and the engine of a driver.
pub(crate) struct Parts {
    pub(crate) operations: Operations,
    /// Absent only while the parts are dropped.
    engine: Option<Box<dyn Engine>>,
    client: Arc<ClientInner>,
    exchanges: Exchanges,
    /// Number of journal calls that threads of the pool make now.
    pub(crate) journal_calls: usize,
    completed: Vec<Completion>,
}

impl Parts {
    pub(crate) fn new(
        client: &Arc<ClientInner>,
        engine: Box<dyn Engine>,
        in_flight: usize,
        headers: CallHeaders,
    ) -> Self {
        Parts {
            operations: Operations::new(client.keeps_intents, Arc::clone(&client.budgets), in_flight, headers),
            engine: Some(engine),
            client: Arc::clone(client),
            exchanges: Exchanges::default(),
            journal_calls: 0,
            completed: Vec::new(),
        }
    }

    pub(crate) fn engine(&mut self) -> &mut dyn Engine {
        self.engine.as_mut().expect("present until the drop").as_mut()
    }

    /// Returns whether an exchange or a journal call will complete on another thread.
    pub(crate) fn is_pending(&self) -> bool {
        self.journal_calls > 0 || !self.exchanges.is_empty()
    }

    /// Closes all idle connections of the client.
    pub(crate) fn shed_idle(&mut self) {
        self.client.engines.shed_idle();
        self.engine().shed_idle_connections();
    }

    /// Submits a request of the operation in `slot` to the engine.
    pub(crate) fn send(&mut self, slot: usize, send: &Send) {
        let Some(engine) = &mut self.engine else { return };
        let Send { requests, host, action, timeout, not_after } = send;
        let is_own = Arc::ptr_eq(&requests.hosts, &self.client.cluster);
        let url = &requests.hosts[*host];
        let number = if is_own { Ok(*host) } else { engine.add_host(url) };
        let number = match number {
            Ok(number) => number,
            Err(error) => {
                // A host of an older operation, to which the TLS settings allow no connection.
                let error = RequestError::new(RequestErrorKind::Tls, format!("the host {}", error.problem()));
                return self.operations.complete(slot, *host, *action, (Reply::NotSent(error), Usage::default()));
            }
        };
        let credentials = self.client.credentials.of(url);
        if credentials.is_none() && !is_own {
            self.client.credentials.warn_of_foreign(url);
        }
        let exchange = Exchange {
            id: 0,
            host: number,
            request: Arc::clone(requests.request(*action)),
            credentials: HeaderLines::default(),
            only_reads: *action == Action::Check,
            timeout: *timeout,
            not_after: *not_after,
        };
        let (exchange, authorized) = Authorized::of(exchange, credentials);
        let awaited = Awaited { slot, host: *host, action: *action, authorized, spent: Usage::default() };
        engine.submit(Exchange { id: self.exchanges.add(awaited), ..exchange });
    }

    /// Cancels all operations. Those that stop now withdraw their requests that have not begun.
    pub(crate) fn cancel(&mut self, now: Instant) {
        let Parts { operations, engine: Some(engine), exchanges, .. } = self else { return };
        operations.cancel(now);
        engine.withdraw(&|id| exchanges.get(id).is_some_and(|awaited| operations.is_stopping(awaited.slot)));
    }

    /// Blocks in the engine, and passes the completions to the machines.
    pub(crate) fn wait(&mut self, until: Option<Instant>) {
        let Some(engine) = &mut self.engine else { return };
        engine.wait(until, &mut self.completed);
        for Completion { id, reply, usage } in self.completed.drain(..) {
            let Some(mut awaited) = self.exchanges.remove(id) else { continue };
            if let Some(exchange) = awaited.renewed(&reply, usage) {
                engine.submit(Exchange { id: self.exchanges.add(awaited), ..exchange });
                continue;
            }
            let Awaited { slot, host, action, mut spent, .. } = awaited;
            spent += usage;
            self.operations.complete(slot, host, action, (reply, spent));
        }
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        if let Some(engine) = self.engine.take().filter(|_| self.exchanges.is_empty()) {
            self.client.engines.put_back(engine);
        }
    }
}
