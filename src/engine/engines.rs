//! The engines of one client. Each call has an engine of its own while it runs. Between calls, engines are kept with
//! their idle connections.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[cfg(feature = "multiplex")]
use super::multiplexed::{Multiplexed, Network};
use super::threads::Threads;
use super::threads::pool::Pool;
use super::threads::transport::UreqTransport;
use super::{Engine, check_hosts};
use crate::http::proxy::Proxy;
use crate::values::config::ConfigError;
use crate::values::host::Host;

/// Certificates in PEM that are trusted instead of the built-in ones.
pub(crate) type Roots<'a> = Option<&'a [u8]>;

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
    /// A [`ConfigError`] for an https host if TLS is not built in.
    pub(crate) fn threads(
        hosts: &Arc<[Host]>,
        pool: &Arc<Pool>,
        roots: Roots<'_>,
        proxy: Option<Arc<Proxy>>,
    ) -> Result<Self, ConfigError> {
        let transport = match roots {
            #[cfg(feature = "rustls")]
            Some(pem) => UreqTransport::trusting(hosts, pem),
            _ => UreqTransport::new(hosts),
        };
        let transport = Arc::new(transport?.through(proxy));
        Self::of(hosts, Kind::Threads(transport, Arc::clone(pool)))
    }

    /// # Errors
    /// A [`ConfigError`] for an https host if TLS is not built in.
    #[cfg(feature = "multiplex")]
    pub(crate) fn multiplexed(
        hosts: &Arc<[Host]>,
        roots: Roots<'_>,
        proxy: Option<Arc<Proxy>>,
    ) -> Result<Self, ConfigError> {
        let network = match roots {
            #[cfg(feature = "rustls")]
            Some(pem) => Network::trusting(pem)?,
            _ => Network::default(),
        };
        Self::of(hosts, Kind::Multiplexed(Arc::new(network.through(proxy))))
    }

    fn of(hosts: &Arc<[Host]>, kind: Kind) -> Result<Self, ConfigError> {
        check_hosts(hosts)?;
        Ok(Engines { hosts: Arc::clone(hosts), kind, unused: Mutex::default() })
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
