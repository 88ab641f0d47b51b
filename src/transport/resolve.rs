//! Where a host is: its address, or the addresses of its name.
//!
//! A look-up cannot be interrupted, so it runs on a thread of its own that is abandoned when the time is
//! over. Nothing is remembered: how long an address holds is the system's resolver's to know.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::call::{self, Call};
use super::wire::MOMENT;
use crate::cause::{RequestError, RequestErrorKind as Kind, is_exhausted};
use crate::host::Host;

/// So many names are looked up at once, abandoned ones included; the next waits for one to end.
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

/// The look-ups that run, one of each name: who asks for a name that is being looked up waits for that answer
/// too. So a name whose look-up hangs takes one slot, however often it is asked for.
pub(super) struct Lookups {
    running: Mutex<HashMap<Arc<str>, Arc<LookUp>>>,
    ended: Condvar,
    resolve: fn(&str) -> io::Result<Vec<IpAddr>>,
}

type Answer = Result<Vec<IpAddr>, RequestError>;

#[derive(Default)]
struct LookUp {
    answer: Mutex<Option<Answer>>,
    ended: Condvar,
}

impl Default for Lookups {
    fn default() -> Self {
        let resolve =
            |name: &str| Ok((name, 0).to_socket_addrs()?.take(MAX_ADDRESSES).map(|found| found.ip()).collect());
        Lookups { running: Mutex::default(), ended: Condvar::new(), resolve }
    }
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookups").field("running", &self.running().len()).finish_non_exhaustive()
    }
}

impl Lookups {
    fn look_up(self: &Arc<Self>, name: &Arc<str>, port: u16, call: &Call) -> Result<Vec<SocketAddr>, RequestError> {
        let look_up = self.join(name, call)?;
        let left = || call.left().unwrap_or(Duration::ZERO);
        // What is not known within a moment may take long: others are to go on meanwhile.
        let soon = look_up.wait(left().min(MOMENT));
        let answer = soon.or_else(|| {
            call::stall();
            look_up.wait(left())
        });
        let found = answer.unwrap_or_else(|| Err(too_late(call)))?;
        Ok(found.into_iter().map(|address| (address, port).into()).collect())
    }

    /// The look-up of the name that runs, or a new one as soon as there is a slot.
    fn join(self: &Arc<Self>, name: &Arc<str>, call: &Call) -> Result<Arc<LookUp>, RequestError> {
        let mut running = self.running();
        loop {
            if let Some(look_up) = running.get(name) {
                return Ok(Arc::clone(look_up));
            }
            if running.len() < MAX_LOOKUPS {
                break;
            }
            let left = call.left().ok_or_else(|| too_late(call))?;
            if call::is_watched() {
                drop(running);
                call::stall();
                running = self.running();
                continue;
            }
            running = self.ended.wait_timeout(running, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let look_up = Arc::<LookUp>::default();
        running.insert(Arc::clone(name), Arc::clone(&look_up));
        drop(running);
        let mut slot = Slot { lookups: Arc::clone(self), name: Arc::clone(name), found: None };
        let resolve = self.resolve;
        let run = move || slot.found = Some(at_least_one(resolve(&slot.name)));
        match thread::Builder::new().name("cluster-client-name".into()).spawn(run) {
            Ok(_) => Ok(look_up),
            Err(e) => Err(RequestError::new(Kind::Exhausted, "no thread to look the host name up").caused_by(e)),
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<LookUp>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LookUp {
    fn wait(&self, timeout: Duration) -> Option<Answer> {
        let answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.ended.wait_timeout_while(answer, timeout, |answer| answer.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }
}

/// The place of a look-up among those that run. When it is left, whoever waits gets what was found.
struct Slot {
    lookups: Arc<Lookups>,
    name: Arc<str>,
    found: Option<Answer>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Free before the answer is there: who has it may look up the next.
        let look_up = self.lookups.running().remove(&self.name);
        self.lookups.ended.notify_all();
        let died = || Err(RequestError::new(Kind::Resolve, "the look-up of the host name died"));
        let answer = self.found.take().unwrap_or_else(died);
        if let Some(look_up) = look_up {
            *look_up.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
            look_up.ended.notify_all();
        }
    }
}

fn too_late(call: &Call) -> RequestError {
    RequestError::new(Kind::Resolve, format!("the host name was not looked up within {:?}", call.timeout))
}

fn at_least_one(found: io::Result<Vec<IpAddr>>) -> Answer {
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
            let found = lookups.look_up(&name, 8000, &Call::new(LONG)).unwrap();
            assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 8000), "{found:?}");
        }
        assert!(lookups.running().is_empty());
        let late = lookups.look_up(&"x.invalid".into(), 8000, &Call::new(Duration::ZERO));
        assert_eq!(late.unwrap_err().kind(), Kind::Resolve);
    }

    const LONG: Duration = Duration::from_secs(60);

    /// Look-ups of names in "hangs" take until the test has ended, others find this machine at once.
    fn some_hang() -> Arc<Lookups> {
        let resolve = |name: &str| {
            if name.ends_with("hangs") {
                loop {
                    thread::park();
                }
            }
            assert!(!name.ends_with("dies"), "as planned");
            Ok(vec![Ipv4Addr::LOCALHOST.into()])
        };
        Arc::new(Lookups { resolve, ..Lookups::default() })
    }

    fn ask(lookups: &Arc<Lookups>, name: &str, time: Duration) -> Result<Vec<SocketAddr>, RequestError> {
        lookups.look_up(&name.into(), 80, &Call::new(time))
    }

    #[test]
    fn a_name_that_hangs_takes_one_slot_however_often_it_is_asked_for() {
        let lookups = some_hang();
        for _ in 0..2 * MAX_LOOKUPS {
            assert_eq!(ask(&lookups, "one.hangs", Duration::from_millis(1)).unwrap_err().kind(), Kind::Resolve);
        }
        assert_eq!(lookups.running().len(), 1);
        assert_eq!(ask(&lookups, "alive", LONG).unwrap(), [(Ipv4Addr::LOCALHOST, 80).into()]);
    }

    #[test]
    fn a_look_up_waits_for_a_slot_no_longer_than_its_time() {
        let lookups = some_hang();
        for number in 0..MAX_LOOKUPS {
            let name = format!("{number}.hangs");
            assert_eq!(ask(&lookups, &name, Duration::from_millis(1)).unwrap_err().kind(), Kind::Resolve);
        }
        assert_eq!(ask(&lookups, "alive", Duration::from_millis(20)).unwrap_err().kind(), Kind::Resolve);
        lookups.running().remove("7.hangs");
        assert!(ask(&lookups, "alive", LONG).is_ok());
    }

    #[test]
    fn who_waits_for_a_look_up_that_dies_hears_of_it() {
        let died = ask(&some_hang(), "it.dies", LONG).unwrap_err();
        assert_eq!(died.to_string(), "the look-up of the host name died");
    }

    #[test]
    fn all_who_ask_for_one_name_share_its_answer() {
        let lookups = Arc::<Lookups>::default();
        let name: Arc<str> = "shared".into();
        let look_up = Arc::<LookUp>::default();
        lookups.running().insert(Arc::clone(&name), Arc::clone(&look_up));
        let found = thread::scope(|scope| {
            let askers: Vec<_> = (0..8).map(|_| scope.spawn(|| lookups.look_up(&name, 80, &Call::new(LONG)))).collect();
            // Each asker holds it as long as it waits.
            while Arc::strong_count(&look_up) < 2 + 8 {
                thread::yield_now();
            }
            let found = Some(Ok(vec![Ipv4Addr::LOCALHOST.into()]));
            drop(Slot { lookups: Arc::clone(&lookups), name: Arc::clone(&name), found });
            askers.into_iter().map(|asker| asker.join().unwrap().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(found, vec![vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 80))]; 8]);
        assert!(lookups.running().is_empty());
    }
}
