//! Looks up the addresses of a host, within the timeout of the request.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::context::RequestContext;
use crate::http::resolver::{LookUp, Resolver, Target, too_late};
use crate::values::cause::RequestError;

/// Returns the addresses to try, at least one. Blocks within the timeout of the request.
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

/// Returns the running look-up of the name, or starts one as soon as there is a slot.
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
    fn look_ups_that_end_free_their_slots() {
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

    /// Look-ups of names in "hangs" never end, names in "panics" panic, and others resolve to this machine at once.
    fn resolver_that_may_hang() -> Arc<Resolver> {
        let resolve = |name: &str| {
            if name.ends_with("hangs") {
                loop {
                    thread::park();
                }
            }
            assert!(!name.ends_with("panics"), "as planned");
            Ok(vec![LOCAL])
        };
        Arc::new(Resolver::resolving_by(resolve))
    }

    fn ask(resolver: &Arc<Resolver>, name: &str, time: Duration) -> Found {
        look_up(resolver, &name.into(), &RequestContext::new(time))
    }

    #[test]
    fn look_ups_of_one_name_that_hangs_take_one_slot() {
        let resolver = resolver_that_may_hang();
        for _ in 0..2 * MAX_LOOKUPS {
            assert_eq!(ask(&resolver, "one.hangs", Duration::from_millis(1)).unwrap_err().kind(), Kind::Resolve);
        }
        assert_eq!(resolver.running().len(), 1);
        assert_eq!(ask(&resolver, "alive", LONG).unwrap(), [LOCAL]);
    }

    #[test]
    fn look_up_without_a_free_slot_fails_at_its_timeout() {
        let resolver = resolver_that_may_hang();
        for number in 0..MAX_LOOKUPS {
            let name = format!("{number}.hangs");
            assert_eq!(ask(&resolver, &name, Duration::from_millis(1)).unwrap_err().kind(), Kind::Resolve);
        }
        assert_eq!(ask(&resolver, "alive", Duration::from_millis(20)).unwrap_err().kind(), Kind::Resolve);
        resolver.running().remove("7.hangs");
        assert!(ask(&resolver, "alive", LONG).is_ok());
    }

    #[test]
    fn look_up_that_panics_is_an_error() {
        let error = ask(&resolver_that_may_hang(), "it.panics", LONG).unwrap_err();
        assert_eq!(error.to_string(), "the look-up of the host name panicked");
    }

    #[test]
    fn look_ups_of_one_name_share_its_result() {
        let resolver = Arc::<Resolver>::default();
        let name: Arc<str> = "shared".into();
        let started = Arc::<LookUp>::default();
        resolver.running().insert(Arc::clone(&name), Arc::clone(&started));
        let found = thread::scope(|scope| {
            let askers: Vec<_> =
                (0..8).map(|_| scope.spawn(|| look_up(&resolver, &name, &RequestContext::new(LONG)))).collect();
            // Each thread holds a reference while it blocks.
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
