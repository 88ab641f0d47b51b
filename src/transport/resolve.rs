//! Where a host is: its address, or the addresses of its name.
//!
//! A look-up cannot be interrupted, so it runs on a thread of its own that is abandoned when the time is
//! over. Nothing is remembered: how long an address holds is the system's resolver's to know.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::call::{self, Call};
use super::wire::{MOMENT, is_exhausted};
use crate::cause::{RequestError, RequestErrorKind as Kind};
use crate::host::Host;

/// So many look-ups run at once, abandoned ones included; the next waits for one to end.
pub(super) const MAX_LOOKUPS: usize = 32;
/// More addresses of one name are not tried.
const MAX_ADDRESSES: usize = 16;

/// The place that a base URL names.
#[derive(Debug)]
pub(super) struct Target {
    place: Place,
    port: u16,
    pub(super) https: bool,
}

#[derive(Debug)]
enum Place {
    Address(IpAddr),
    /// Never a matter for the resolver (RFC 6761, 6.3), and the host of every first try.
    Localhost,
    Name(Arc<str>),
}

impl Target {
    pub(super) fn of(host: &Host) -> Self {
        let authority = host.authority();
        let (name, port) = match authority.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()),
            _ => (authority, None),
        };
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let place = match bare.parse() {
            Ok(address) => Place::Address(address),
            Err(_) if bare == "localhost" => Place::Localhost,
            Err(_) => Place::Name(bare.into()),
        };
        let port = port.unwrap_or(if host.is_https() { 443 } else { 80 });
        Target { place, port, https: host.is_https() }
    }

    /// All addresses to try, at least one, within the time of `call`.
    pub(super) fn addresses(&self, lookups: &Arc<Lookups>, call: &Call) -> Result<Vec<SocketAddr>, RequestError> {
        match &self.place {
            Place::Address(address) => Ok(vec![(*address, self.port).into()]),
            Place::Localhost => {
                Ok(vec![(Ipv4Addr::LOCALHOST, self.port).into(), (Ipv6Addr::LOCALHOST, self.port).into()])
            }
            Place::Name(name) => lookups.look_up(name, self.port, call),
        }
    }
}

/// The look-ups that run.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    running: Mutex<usize>,
    ended: Condvar,
}

impl Lookups {
    fn look_up(self: &Arc<Self>, name: &Arc<str>, port: u16, call: &Call) -> Result<Vec<SocketAddr>, RequestError> {
        let slot = self.slot(call).ok_or_else(|| too_late(call))?;
        let (sender, answer) = mpsc::sync_channel(1);
        let asked = Arc::clone(name);
        let look_up = move || {
            let found = (&*asked, port).to_socket_addrs().map(|found| found.take(MAX_ADDRESSES).collect());
            // Free before the answer is there: who has it may look up the next.
            drop(slot);
            // The asker may be gone.
            let _ = sender.send(found);
        };
        if let Err(e) = thread::Builder::new().name("cluster-client-name".into()).spawn(look_up) {
            return Err(RequestError::new(Kind::Exhausted, "no thread to look the host name up").caused_by(e));
        }
        // What is not known within a moment may take long: others are to go on meanwhile.
        let soon = answer.recv_timeout(call.left().unwrap_or(Duration::ZERO).min(MOMENT));
        let found = soon.or_else(|_| {
            call::stall();
            answer.recv_timeout(call.left().unwrap_or(Duration::ZERO))
        });
        match found {
            Ok(found) => at_least_one(found),
            Err(RecvTimeoutError::Timeout) => Err(too_late(call)),
            Err(RecvTimeoutError::Disconnected) => Err(RequestError::new(Kind::Resolve, "the look-up died")),
        }
    }

    fn slot(self: &Arc<Self>, call: &Call) -> Option<Slot> {
        let mut running = self.running();
        while *running >= MAX_LOOKUPS {
            let left = call.left()?;
            if call::is_watched() {
                drop(running);
                call::stall();
                running = self.running();
                continue;
            }
            running = self.ended.wait_timeout(running, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *running += 1;
        Some(Slot(Arc::clone(self)))
    }

    fn running(&self) -> MutexGuard<'_, usize> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Slot(Arc<Lookups>);

impl Drop for Slot {
    fn drop(&mut self) {
        *self.0.running() -= 1;
        self.0.ended.notify_one();
    }
}

fn too_late(call: &Call) -> RequestError {
    RequestError::new(Kind::Resolve, format!("the host name was not looked up within {:?}", call.timeout))
}

fn at_least_one(found: io::Result<Vec<SocketAddr>>) -> Result<Vec<SocketAddr>, RequestError> {
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

    fn place(url: &str) -> (String, u16, bool) {
        let target = Target::of(&Host::parse(url).unwrap());
        let place = match target.place {
            Place::Address(address) => address.to_string(),
            Place::Localhost => "(localhost)".into(),
            Place::Name(name) => name.to_string(),
        };
        (place, target.port, target.https)
    }

    #[test]
    fn a_base_url_names_a_place() {
        for (url, expected) in [
            ("http://127.0.0.1:8000/x", ("127.0.0.1", 8000, false)),
            ("https://10.0.0.7", ("10.0.0.7", 443, true)),
            ("http://[::1]", ("::1", 80, false)),
            ("http://[::1]:8000/a", ("::1", 8000, false)),
            ("http://localhost:8000", ("(localhost)", 8000, false)),
            ("https://node1.example.", ("node1.example.", 443, true)),
        ] {
            let (name, port, https) = place(url);
            assert_eq!((name.as_str(), port, https), expected, "{url}");
        }
    }

    #[test]
    fn a_name_is_looked_up_on_a_thread_that_leaves_its_slot() {
        let lookups = Arc::<Lookups>::default();
        let name: Arc<str> = "localhost".into();
        for _ in 0..2 * MAX_LOOKUPS {
            let found = lookups.look_up(&name, 8000, &Call::new(Duration::from_secs(30))).unwrap();
            assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 8000), "{found:?}");
        }
        assert_eq!(*lookups.running.lock().unwrap(), 0);
        let late = lookups.look_up(&"x.invalid".into(), 8000, &Call::new(Duration::ZERO));
        assert_eq!(late.unwrap_err().kind(), Kind::Resolve);
    }

    #[test]
    fn a_look_up_waits_for_a_slot_no_longer_than_its_time() {
        let lookups = Arc::<Lookups>::default();
        let call = Call::new(Duration::from_secs(60));
        let mut slots: Vec<Slot> = (0..MAX_LOOKUPS).map_while(|_| lookups.slot(&call)).collect();
        assert_eq!(slots.len(), MAX_LOOKUPS);
        assert!(lookups.slot(&Call::new(Duration::from_millis(20))).is_none());
        slots.pop();
        assert!(lookups.slot(&Call::new(Duration::from_millis(20))).is_some());
    }
}
