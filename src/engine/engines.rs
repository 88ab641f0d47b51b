//! The engines of one client. Each call has an engine of its own while it runs. Between calls, engines are kept with
//! their idle connections.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Engine;
#[cfg(feature = "multiplex")]
use super::multiplexed::{Multiplexed, Network};
use super::threads::Threads;
use super::threads::pool::Pool;
use super::threads::transport::UreqTransport;
use crate::http::proxy::Proxy;
use crate::http::tls::Tls;
use crate::values::config::ConfigError;
use crate::values::host::Host;

/// Maximum number of engines kept between calls.
const MAX_ENGINES: usize = 16;

/// The engines that no call uses.
pub(crate) struct Engines {
    hosts: Arc<[Host]>,
    kind: Kind,
    unused: Mutex<Vec<Box<dyn Engine>>>,
}

/// The kind of the engines, with the state that they share.
enum Kind {
    Threads(Arc<UreqTransport>, Arc<Pool>),
    #[cfg(feature = "multiplex")]
    Multiplexed(Arc<Network>),
}

impl Engines {
    /// # Errors
    /// A [`ConfigError`] for a host that `tls` refuses.
    pub(crate) fn threads(
        hosts: &Arc<[Host]>,
        pool: &Arc<Pool>,
        tls: &Arc<Tls>,
        proxy: Option<Arc<Proxy>>,
    ) -> Result<Self, ConfigError> {
        let transport = Arc::new(UreqTransport::new(hosts, tls)?.through(proxy));
        Ok(Self::of(hosts, Kind::Threads(transport, Arc::clone(pool))))
    }

    /// # Errors
    /// A [`ConfigError`] for a host that `tls` refuses.
    #[cfg(feature = "multiplex")]
    pub(crate) fn multiplexed(
        hosts: &Arc<[Host]>,
        tls: &Arc<Tls>,
        proxy: Option<Arc<Proxy>>,
    ) -> Result<Self, ConfigError> {
        tls.check(hosts)?;
        Ok(Self::of(hosts, Kind::Multiplexed(Arc::new(Network::new(tls).through(proxy)))))
    }

    fn of(hosts: &Arc<[Host]>, kind: Kind) -> Self {
        Engines { hosts: Arc::clone(hosts), kind, unused: Mutex::default() }
    }

    /// Returns the engine that was used last, or a new one.
    pub(crate) fn take(&self) -> Box<dyn Engine> {
        let unused = self.unused().pop();
        unused.unwrap_or_else(|| match &self.kind {
            Kind::Threads(transport, pool) => Box::new(Threads::new(&self.hosts, transport, Arc::clone(pool))),
            #[cfg(feature = "multiplex")]
            Kind::Multiplexed(network) => Box::new(Multiplexed::new(&self.hosts, Arc::clone(network))),
        })
    }

    /// Keeps an engine without exchanges for a later call.
    pub(crate) fn put_back(&self, engine: Box<dyn Engine>) {
        let mut unused = self.unused();
        if unused.len() < MAX_ENGINES {
            unused.push(engine);
        }
    }

    /// Closes the idle connections of unused engines at once. Engines in use close theirs in their next `wait`.
    pub(crate) fn shed_idle(&self) {
        match &self.kind {
            Kind::Threads(transport, _) => transport.shed_idle(),
            #[cfg(feature = "multiplex")]
            Kind::Multiplexed(network) => {
                network.shed_idle();
                self.unused().iter_mut().for_each(|engine| engine.shed_idle_connections());
            }
        }
    }

    fn unused(&self) -> MutexGuard<'_, Vec<Box<dyn Engine>>> {
        self.unused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
