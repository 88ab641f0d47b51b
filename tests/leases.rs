//! Claims of a user's own journal that end by themselves. None may keep an operation, or let it change a host afterwards.

#![cfg(feature = "testing")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cluster_client::testing::Cluster;
use cluster_client::{Cause, Claim, ClaimError, Error, GroupId, Intent, Journal, JournalError, Unfinished};

use self::support::builder;

/// Time of one request.
const REQUEST: Duration = Duration::from_secs(1);
/// Time after which a wait for a renewal ends.
const ROLLBACK: Duration = Duration::from_secs(2);

/// Returns the end of a claim, before or after the record of its intent.
type End = fn(is_recorded: bool) -> Instant;

struct Leased(End);

struct Lease {
    end: End,
    is_recorded: AtomicBool,
}

impl Journal for Leased {
    fn claim(&self, _: &GroupId) -> Result<Box<dyn Claim>, ClaimError> {
        Ok(Box::new(Lease { end: self.0, is_recorded: AtomicBool::new(false) }))
    }

    fn unfinished(&self) -> Result<Unfinished, JournalError> {
        Ok(Unfinished::default())
    }
}

impl Claim for Lease {
    fn inherited(&self) -> Option<&Intent> {
        None
    }

    fn holds_until(&self) -> Option<Instant> {
        Some((self.end)(self.is_recorded.load(Ordering::Relaxed)))
    }

    fn record(&mut self, _: &Intent) -> Result<(), JournalError> {
        self.is_recorded.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn erase(&mut self) -> Result<(), JournalError> {
        Ok(())
    }
}

/// Creates a group, alone and in a bulk. Checks that no host has it, and returns the error of each.
fn create(end: End) -> [Error; 2] {
    let nodes = Cluster::start(3).unwrap();
    let client = builder(nodes.urls()).request_timeout(REQUEST).settle(REQUEST / 10).rollback_timeout(ROLLBACK);
    let client = client.custom_journal(Arc::new(Leased(end))).build().unwrap();
    let single = client.create_group("single").unwrap_err();
    let bulk = client.create_groups(["bulk"]).next().unwrap().result.unwrap_err();
    assert!(nodes.none_has("single") && nodes.none_has("bulk"));
    let posts: u64 = nodes.nodes().iter().map(|node| node.count(cluster_client::testing::Method::Post)).sum();
    assert_eq!(posts, 0, "a claim that has ended allows no POST");
    [single, bulk]
}

fn assert_lost(end: End) {
    let start = Instant::now();
    for error in create(end) {
        let report = error.report().expect("it has begun");
        assert_eq!(report.cause, Some(Cause::ClaimLost), "{error}");
    }
    assert!(start.elapsed() < ROLLBACK, "{:?}", start.elapsed());
}

#[test]
fn claim_that_has_ended_before_the_first_request_sends_nothing() {
    assert_lost(|_| Instant::now().checked_sub(REQUEST).unwrap());
}

/// The end is after the time of the driver's turn, and before its next one.
#[test]
fn claim_that_ends_whenever_it_is_asked_has_ended() {
    assert_lost(|is_recorded| if is_recorded { Instant::now() } else { Instant::now() + 60 * REQUEST });
}

#[test]
fn claim_that_panics_has_ended() {
    assert_lost(|is_recorded| if is_recorded { panic!("a bug of the user") } else { Instant::now() + 60 * REQUEST });
}

#[test]
fn claim_that_is_always_too_short_for_a_request_ends_the_operation() {
    let start = Instant::now();
    for error in create(|_| Instant::now() + REQUEST / 2) {
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    }
    assert!(start.elapsed() < ROLLBACK * 3, "{:?}", start.elapsed());
}
