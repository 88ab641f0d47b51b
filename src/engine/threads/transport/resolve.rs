//! Blocks until the addresses of a host are known, within the timeout of the request.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::context::RequestContext;
use crate::http::resolver::{LookUp, Resolver, Target, too_late};
use crate::values::cause::RequestError;

/// All addresses to try, at least one, within the timeout of the request.
pub(super) fn addresses(
    target: &Target,
    resolver: &Arc<Resolver>,
    context: &RequestContext,
) -> Result<Vec<SocketAddr>, RequestError> {
    match target.addresses() {
        Ok(addresses) => Ok(addresses),
        Err(name) => Ok(target.with_port(look_up(resolver, name, context)?)),
    }
}

fn look_up(resolver: &Arc<Resolver>, name: &Arc<str>, context: &RequestContext) -> Result<Vec<IpAddr>, RequestError> {
    let look_up = join(resolver, name, context)?;
    let found = look_up.wait(context.left().unwrap_or(Duration::ZERO));
    found.unwrap_or_else(|| Err(too_late(context.timeout)))
}

/// The running look-up of the name, or a new one as soon as there is a slot.
fn join(resolver: &Arc<Resolver>, name: &Arc<str>, context: &RequestContext) -> Result<Arc<LookUp>, RequestError> {
    loop {
        if let Some(look_up) = resolver.start(name)? {
            return Ok(look_up);
        }
        let left = context.left().ok_or_else(|| too_late(context.timeout))?;
        resolver.wait_for_slot(left);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::thread;

    use super::*;
    use crate::http::resolver::{Found, MAX_LOOKUPS, Slot};
    use crate::values::cause::RequestErrorKind as Kind;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn a_name_is_looked_up_on_a_thread_that_leaves_its_slot() {
        let resolver = Arc::<Resolver>::default();
        let name: Arc<str> = "localhost".into();
        for _ in 0..2 * MAX_LOOKUPS {
            let found = look_up(&resolver, &name, &RequestContext::new(LONG)).unwrap();
            assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
        }
        assert!(resolver.running().is_empty());
        let late = look_up(&resolver, &"x.invalid".into(), &RequestContext::new(Duration::ZERO));
        assert_eq!(late.unwrap_err().kind(), Kind::Resolve);
    }

    const LONG: Duration = Duration::from_secs(60);

    /// Look-ups of names in "hangs" take until the test has ended, others find this machine at once.
    fn some_hang() -> Arc<Resolver> {
        let resolve = |name: &str| {
            if name.ends_with("hangs") {
                loop {
                    thread::park();
                }
            }
            assert!(!name.ends_with("dies"), "as planned");
            Ok(vec![LOCAL])
        };
        Arc::new(Resolver::resolving_by(resolve))
    }

    fn ask(resolver: &Arc<Resolver>, name: &str, time: Duration) -> Found {
        look_up(resolver, &name.into(), &RequestContext::new(time))
    }

    #[test]
    fn a_name_that_hangs_takes_one_slot_however_often_it_is_asked_for() {
        let resolver = some_hang();
        for _ in 0..2 * MAX_LOOKUPS {
            assert_eq!(ask(&resolver, "one.hangs", Duration::from_millis(1)).unwrap_err().kind(), Kind::Resolve);
        }
        assert_eq!(resolver.running().len(), 1);
        assert_eq!(ask(&resolver, "alive", LONG).unwrap(), [LOCAL]);
    }

    #[test]
    fn a_look_up_waits_for_a_slot_no_longer_than_its_time() {
        let resolver = some_hang();
        for number in 0..MAX_LOOKUPS {
            let name = format!("{number}.hangs");
            assert_eq!(ask(&resolver, &name, Duration::from_millis(1)).unwrap_err().kind(), Kind::Resolve);
        }
        assert_eq!(ask(&resolver, "alive", Duration::from_millis(20)).unwrap_err().kind(), Kind::Resolve);
        resolver.running().remove("7.hangs");
        assert!(ask(&resolver, "alive", LONG).is_ok());
    }

    #[test]
    fn who_waits_for_a_look_up_that_dies_hears_of_it() {
        let died = ask(&some_hang(), "it.dies", LONG).unwrap_err();
        assert_eq!(died.to_string(), "the look-up of the host name panicked");
    }

    #[test]
    fn all_who_ask_for_one_name_share_its_answer() {
        let resolver = Arc::<Resolver>::default();
        let name: Arc<str> = "shared".into();
        let started = Arc::<LookUp>::default();
        resolver.running().insert(Arc::clone(&name), Arc::clone(&started));
        let found = thread::scope(|scope| {
            let askers: Vec<_> =
                (0..8).map(|_| scope.spawn(|| look_up(&resolver, &name, &RequestContext::new(LONG)))).collect();
            // Each asker holds it as long as it waits.
            while Arc::strong_count(&started) < 2 + 8 {
                thread::yield_now();
            }
            let found = Some(Ok(vec![LOCAL]));
            drop(Slot { resolver: Arc::clone(&resolver), name: Arc::clone(&name), found });
            askers.into_iter().map(|asker| asker.join().unwrap().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(found, vec![vec![LOCAL]; 8]);
        assert!(resolver.running().is_empty());
    }
}
