//! Pool of idle connections, above TCP and TLS.
//!
//! The pool of ureq logs while it holds its mutex. A logger that sends a request to that host then deadlocks, because
//! its own thread holds the mutex. Therefore the pool of ureq is kept empty: each connection leaves ureq when its
//! request is over. No foreign code runs under the mutex here.
//!
//! Credentials are added to the request here, above TLS and behind ureq-proto, which logs the bytes that it writes.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use super::context;
use crate::http::additions::HeadAdditions;
use crate::http::proxy::Proxy;
use crate::http::{MAX_IDLE, MAX_IDLE_AGE};
use crate::values::cause::{RequestError, RequestErrorKind};

/// Idle connections to one host, in the order of their last use.
pub(super) struct IdleConnections<T> {
    connections: Mutex<VecDeque<(Instant, T)>>,
}

impl<T> Default for IdleConnections<T> {
    fn default() -> Self {
        IdleConnections { connections: Mutex::default() }
    }
}

impl<T> fmt::Debug for IdleConnections<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdleConnections").field("connections", &self.connections().len()).finish()
    }
}

impl<T> IdleConnections<T> {
    fn put(&self, connection: T) {
        let mut connections = self.connections();
        connections.push_back((Instant::now(), connection));
        let surplus = (connections.len() > MAX_IDLE).then(|| connections.pop_front());
        drop(connections);
        drop(surplus);
    }

    fn take(&self) -> Option<T> {
        let mut connections = self.connections();
        let fresh = |(used, _): &(Instant, T)| used.elapsed() < MAX_IDLE_AGE;
        let old = connections.iter().take_while(|connection| !fresh(connection)).count();
        let old: Vec<_> = connections.drain(..old).collect();
        let newest = connections.pop_back();
        drop(connections);
        drop(old);
        Some(newest?.1)
    }

    /// Closes all idle connections.
    pub(super) fn clear(&self) {
        let connections = std::mem::take(&mut *self.connections());
        drop(connections);
    }

    fn connections(&self) -> MutexGuard<'_, VecDeque<(Instant, T)>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connector that returns an idle connection that is still open. If there is none, it connects with `C`.
#[derive(Debug)]
pub(super) struct PoolingConnector<C: Connector> {
    connector: C,
    idle: Arc<IdleConnections<C::Out>>,
    /// The proxy of an http host, and scheme and authority of that host.
    absolute: Option<(Arc<Proxy>, Arc<str>)>,
}

impl<C: Connector> PoolingConnector<C> {
    pub(super) fn new(
        connector: C,
        idle: Arc<IdleConnections<C::Out>>,
        absolute: Option<(Arc<Proxy>, Arc<str>)>,
    ) -> Self {
        PoolingConnector { connector, idle, absolute }
    }

    /// Returns what is added to the head of this thread's request.
    fn additions(&self) -> HeadAdditions {
        HeadAdditions {
            origin: self.absolute.as_ref().map(|(_, origin)| Arc::clone(origin)),
            credentials: context::credentials(),
            proxy: self.absolute.as_ref().map(|(proxy, _)| proxy.lines()).unwrap_or_default(),
        }
    }

    fn idle(&self) -> Option<C::Out> {
        if context::current().fresh {
            // The server closed one of them, so it may have closed the others.
            self.idle.clear();
            return None;
        }
        std::iter::from_fn(|| self.idle.take()).find_map(|mut idle| idle.is_open().then_some(idle))
    }
}

impl<C: Connector> Connector for PoolingConnector<C> {
    type Out = PooledTransport<C::Out>;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Self::Out>, ureq::Error> {
        let connection = match self.idle() {
            Some(idle) => Some(idle),
            None => self.connector.connect(details, None)?,
        };
        let lend = |connection| PooledTransport {
            connection: Some(connection),
            idle: Arc::clone(&self.idle),
            additions: self.additions(),
            reusable: false,
        };
        Ok(connection.map(lend))
    }
}

/// Returns the error if the buffers of the connection have no space. They always have some after a transmission.
fn unwritten() -> ureq::Error {
    ureq::Error::Other(Box::new(RequestError::new(RequestErrorKind::Internal, "the request could not be written")))
}

/// Connection lent to ureq for one request. Dropping it returns it to the pool, or closes it.
pub(super) struct PooledTransport<T: Transport> {
    /// `None` only during the drop.
    connection: Option<T>,
    idle: Arc<IdleConnections<T>>,
    /// Added to the head of the request. Empty afterwards.
    additions: HeadAdditions,
    /// Whether the request is over and the connection can be used for another.
    reusable: bool,
}

impl<T: Transport> PooledTransport<T> {
    fn connection(&mut self) -> &mut T {
        self.connection.as_mut().expect("present until the drop")
    }

    /// Transmits bytes in place of those in the buffer.
    fn write(&mut self, mut bytes: &[u8], timeout: NextTimeout) -> Result<(), ureq::Error> {
        while !bytes.is_empty() {
            let space = self.connection().buffers().output();
            let amount = space.len().min(bytes.len());
            if amount == 0 {
                return Err(unwritten());
            }
            space[..amount].copy_from_slice(&bytes[..amount]);
            self.connection().transmit_output(amount, timeout)?;
            bytes = &bytes[amount..];
        }
        Ok(())
    }
}

impl<T: Transport> Transport for PooledTransport<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.connection().buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        if self.additions.is_empty() {
            return self.connection().transmit_output(amount, timeout);
        }
        let additions = std::mem::take(&mut self.additions);
        let head = additions.added_to(&self.connection().buffers().output()[..amount]).ok_or_else(unwritten)?;
        self.write(&head, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.connection().await_input(timeout)
    }

    /// Called by ureq only before it puts the connection into its own pool. `false` makes ureq drop the connection.
    fn is_open(&mut self) -> bool {
        self.reusable = self.connection().is_open();
        false
    }

    fn is_tls(&self) -> bool {
        self.connection.as_ref().is_some_and(Transport::is_tls)
    }
}

impl<T: Transport> Drop for PooledTransport<T> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take().filter(|_| self.reusable) {
            self.idle.put(connection);
        }
    }
}

impl<T: Transport> fmt::Debug for PooledTransport<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledTransport").field("connection", &self.connection).finish_non_exhaustive()
    }
}
