//! Looks up the addresses of a host.
//!
//! A look-up cannot be interrupted, so it runs on a thread of its own. After the timeout, that thread is abandoned.
//! Nothing is cached here. Caching is left to the system's resolver.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use crate::sync::Wake;
use crate::values::cause::{RequestError, RequestErrorKind as Kind, is_exhausted};
use crate::values::host::Host;

/// Maximum number of look-ups at once, abandoned ones included. Further ones wait for a slot.
pub(crate) const MAX_LOOKUPS: usize = 32;
/// Maximum number of addresses of one name that are tried.
const MAX_ADDRESSES: usize = 16;

/// The address or name, and the port, of a base URL.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    place: TargetName,
    port: u16,
}

#[derive(Debug, Clone)]
enum TargetName {
    Address(IpAddr),
    /// Not looked up (RFC 6761, 6.3).
    Localhost,
    Name(Arc<str>),
}

impl Target {
    pub(crate) fn of(host: &Host) -> Self {
        let place = match host.address() {
            Some(address) => TargetName::Address(address),
            None if host.name() == "localhost" => TargetName::Localhost,
            None => TargetName::Name(host.name().into()),
        };
        Target { place, port: host.port() }
    }

    /// Returns the addresses to try, or as an error the name to look up.
    pub(crate) fn addresses(&self) -> Result<Vec<SocketAddr>, &Arc<str>> {
        match &self.place {
            TargetName::Address(address) => Ok(vec![(*address, self.port).into()]),
            TargetName::Localhost => {
                Ok(vec![(Ipv4Addr::LOCALHOST, self.port).into(), (Ipv6Addr::LOCALHOST, self.port).into()])
            }
            TargetName::Name(name) => Err(name),
        }
    }

    /// Adds the port of this target to the addresses that a look-up found.
    pub(crate) fn with_port(&self, found: Vec<IpAddr>) -> Vec<SocketAddr> {
        found.into_iter().map(|address| (address, self.port).into()).collect()
    }
}

/// Running look-ups, at most one for each name. Requests for a name share its look-up, so a look-up that hangs takes
/// one slot.
pub(crate) struct Resolver {
    running: Mutex<HashMap<Arc<str>, Arc<LookUp>>>,
    ended: Condvar,
    /// Woken after each look-up that ends.
    watchers: Mutex<Vec<Weak<dyn Wake>>>,
    resolve: fn(&str) -> io::Result<Vec<IpAddr>>,
}

pub(crate) type Found = Result<Vec<IpAddr>, RequestError>;

#[derive(Default)]
pub(crate) struct LookUp {
    found: Mutex<Option<Found>>,
    ended: Condvar,
}

impl Default for Resolver {
    fn default() -> Self {
        let resolve =
            |name: &str| Ok((name, 0).to_socket_addrs()?.take(MAX_ADDRESSES).map(|found| found.ip()).collect());
        Resolver { running: Mutex::default(), ended: Condvar::new(), watchers: Mutex::default(), resolve }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("running", &self.running().len()).finish_non_exhaustive()
    }
}

impl Resolver {
    #[cfg(test)]
    pub(crate) fn resolving_by(resolve: fn(&str) -> io::Result<Vec<IpAddr>>) -> Self {
        Resolver { resolve, ..Resolver::default() }
    }

    /// Returns the running look-up of the name, or starts one. Returns `None` while [`MAX_LOOKUPS`] others run.
    pub(crate) fn start(self: &Arc<Self>, name: &Arc<str>) -> Result<Option<Arc<LookUp>>, RequestError> {
        let mut running = self.running();
        if let Some(look_up) = running.get(name) {
            return Ok(Some(Arc::clone(look_up)));
        }
        if running.len() >= MAX_LOOKUPS {
            return Ok(None);
        }
        let look_up = Arc::<LookUp>::default();
        running.insert(Arc::clone(name), Arc::clone(&look_up));
        drop(running);
        let mut slot = Slot { resolver: Arc::clone(self), name: Arc::clone(name), found: None };
        let resolve = self.resolve;
        let run = move || slot.found = Some(at_least_one(resolve(&slot.name)));
        match thread::Builder::new().name("cluster-client-name".into()).spawn(run) {
            Ok(_) => Ok(Some(look_up)),
            Err(e) => Err(RequestError::new(Kind::Exhausted, "no thread to look the host name up").caused_by(e)),
        }
    }

    /// Blocks until a look-up ends, or for at most `timeout`.
    pub(crate) fn wait_for_slot(&self, timeout: Duration) {
        let running = self.running();
        if running.len() >= MAX_LOOKUPS {
            drop(self.ended.wait_timeout(running, timeout).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Wakes `watcher` after each look-up that ends, until it is dropped.
    #[cfg(feature = "multiplex")]
    pub(crate) fn watch(&self, watcher: Weak<dyn Wake>) {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|watcher| watcher.strong_count() > 0);
        watchers.push(watcher);
    }

    /// Wakes all watchers, which are the engines of a client.
    pub(crate) fn wake_watchers(&self) {
        let watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        watchers.iter().filter_map(Weak::upgrade).for_each(|watcher| watcher.wake());
    }

    pub(crate) fn running(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<LookUp>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LookUp {
    /// Blocks until the look-up ends, or for at most `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) -> Option<Found> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.ended.wait_timeout_while(found, timeout, |found| found.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Returns the result, if the look-up has ended.
    #[cfg(feature = "multiplex")]
    pub(crate) fn found(&self) -> Option<Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Slot of a running look-up. Dropping it delivers the result.
pub(crate) struct Slot {
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) name: Arc<str>,
    pub(crate) found: Option<Found>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Free the slot before delivering the result: its receiver may start the next look-up.
        let look_up = self.resolver.running().remove(&self.name);
        self.resolver.ended.notify_all();
        let panicked = || Err(RequestError::new(Kind::Resolve, "the look-up of the host name panicked"));
        let found = self.found.take().unwrap_or_else(panicked);
        if let Some(look_up) = look_up {
            *look_up.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
            look_up.ended.notify_all();
        }
        self.resolver.wake_watchers();
    }
}

pub(crate) fn too_late(timeout: Duration) -> RequestError {
    RequestError::new(Kind::Resolve, format!("the host name was not looked up within {timeout:?}"))
}

fn at_least_one(found: io::Result<Vec<IpAddr>>) -> Found {
    const NONE: &str = "the host name has no address";
    match found {
        Ok(found) if found.is_empty() => Err(RequestError::new(Kind::Resolve, NONE)),
        Ok(found) => Ok(found),
        Err(e) if is_exhausted(&e) => {
            Err(RequestError::new(Kind::Exhausted, "no file descriptor to look the host name up").caused_by(e))
        }
        Err(e) => Err(RequestError::new(Kind::Resolve, NONE).caused_by(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> (String, u16) {
        let target = Target::of(&Host::parse(url).unwrap());
        let place = match target.place {
            TargetName::Address(address) => address.to_string(),
            TargetName::Localhost => "(localhost)".into(),
            TargetName::Name(name) => name.to_string(),
        };
        (place, target.port)
    }

    #[test]
    fn target_has_the_address_or_name_and_port_of_its_url() {
        for (url, expected) in [
            ("http://127.0.0.1:8000/x", ("127.0.0.1", 8000)),
            ("https://10.0.0.7", ("10.0.0.7", 443)),
            ("http://[::1]", ("::1", 80)),
            ("http://[::1]:8000/a", ("::1", 8000)),
            ("http://localhost:8000", ("(localhost)", 8000)),
            ("https://node1.example.", ("node1.example.", 443)),
        ] {
            let (name, port) = place(url);
            assert_eq!((name.as_str(), port), expected, "{url}");
        }
    }
}
