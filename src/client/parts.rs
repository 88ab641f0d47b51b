//! Floor 3: the operations and the engine of a driver. Only the thread in the driver's seat uses them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::api::Reply;
use crate::client::exchanges::{Awaited, Exchanges};
use crate::client::inner::ClientInner;
use crate::client::operations::{Operations, Send};
use crate::client::options::CallHeaders;
use crate::engine::{Completion, Engine, Exchange};
use crate::values::cause::{RequestError, RequestErrorKind};

/// The operations and the engine of a driver.
pub(crate) struct Parts {
    pub(crate) operations: Operations,
    /// Absent only while the parts are dropped.
    engine: Option<Box<dyn Engine>>,
    client: Arc<ClientInner>,
    exchanges: Exchanges,
    /// Number of journal calls that threads of the pool make now.
    pub(crate) journal_calls: usize,
    /// CallHeaders of every request, as the options of the call say.
    headers: CallHeaders,
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
            operations: Operations::new(client.keeps_intents, Arc::clone(&client.budgets), in_flight),
            engine: Some(engine),
            client: Arc::clone(client),
            exchanges: Exchanges::default(),
            journal_calls: 0,
            headers,
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
        let Send { requests, host, action, timeout } = send;
        let is_own = Arc::ptr_eq(&requests.hosts, &self.client.cluster);
        let number = if is_own { Ok(*host) } else { engine.add_host(&requests.hosts[*host]) };
        match number {
            Ok(number) => engine.submit(Exchange {
                id: self.exchanges.add(Awaited { slot, host: *host, action: *action }),
                host: number,
                request: Arc::clone(requests.request(*action)),
                headers: Arc::clone(&self.headers),
                timeout: *timeout,
            }),
            Err(error) => {
                let error = RequestError::new(RequestErrorKind::Internal, error.to_string());
                self.operations.complete(slot, *host, *action, (Reply::NotSent(error), Duration::ZERO));
            }
        }
    }

    /// Blocks in the engine, and passes the completions to the machines.
    pub(crate) fn wait(&mut self, until: Option<Instant>) {
        let Some(engine) = &mut self.engine else { return };
        engine.wait(until, &mut self.completed);
        for Completion { id, reply, elapsed } in self.completed.drain(..) {
            let Some(Awaited { slot, host, action }) = self.exchanges.remove(id) else { continue };
            self.operations.complete(slot, host, action, (reply, elapsed));
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
