//! Faults that only the multiplexed engine and its driver can have. All else is tested with both engines: with
//! `CLUSTER_CLIENT_ENGINE=multiplexed`, the tests of the client and the command run with this one.
#![cfg(all(feature = "multiplex", feature = "testing"))]

mod support;

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex};

use cluster_client::testing::{Cluster, Fault, Method};
use cluster_client::{
    Claim, ClaimError, ClusterClient, Engine, Event, EventKind, GroupId, Intent, Journal, JournalError, Observer,
    Unfinished,
};
use support::{PATIENCE, builder};

fn multiplexed(cluster: &Cluster) -> ClusterClient {
    builder(cluster.urls()).engine(Engine::Multiplexed).build().unwrap()
}

#[test]
fn bulk_makes_progress_while_its_caller_is_away() {
    let cluster = Cluster::start(3).unwrap();
    for in_flight in [1, 8] {
        let groups: Vec<_> = (0..20).map(|number| format!("g{in_flight}-{number}")).collect();
        let client = builder(cluster.urls()).engine(Engine::Multiplexed).in_flight(in_flight).build().unwrap();
        let mut bulk = client.create_groups(&groups);
        let first = bulk.next().unwrap();
        assert!(first.result.is_ok());
        // The groups that were taken from the input by then end without another call.
        for group in &groups[..2 * in_flight] {
            let arrives = cluster.nodes().iter().all(|node| node.wait_until(|state| state.has(group), PATIENCE));
            assert!(arrives, "no progress while the caller is away");
        }
        // The caller comes back, and goes on with the rest.
        let rest: Vec<_> = bulk.collect();
        assert_eq!(rest.len(), 19);
        assert!(rest.iter().all(|done| done.result.is_ok()), "{rest:?}");
        assert!(groups.iter().all(|group| cluster.all_have(group)));
    }
}

/// A store whose claim of the group `slow` blocks until both others have ended.
#[derive(Default)]
struct Slow {
    ended: Arc<(Mutex<HashSet<String>>, Condvar)>,
}

impl Journal for Slow {
    fn claim(&self, group: &GroupId) -> Result<Box<dyn Claim>, ClaimError> {
        if group.as_str() == "slow" {
            let (ended, changed) = &*self.ended;
            let ended = ended.lock().unwrap();
            let waited = changed.wait_timeout_while(ended, PATIENCE, |ended| ended.len() < 2).unwrap();
            assert!(!waited.1.timed_out(), "the others wait for a store that blocks");
        }
        Ok(Box::new(CountedClaim { group: group.as_str().to_owned(), claimed: Arc::default() }))
    }

    fn unfinished(&self) -> Result<Unfinished, JournalError> {
        Ok(Unfinished::default())
    }
}

#[test]
fn journal_that_blocks_delays_no_other_group() {
    let cluster = Cluster::start(2).unwrap();
    let store = Arc::new(Slow::default());
    let ended = Arc::clone(&store.ended);
    let client = builder(cluster.urls()).engine(Engine::Multiplexed).custom_journal(store).build().unwrap();
    let mut order = Vec::new();
    for done in client.create_groups(["slow", "a", "b"]) {
        done.result.unwrap();
        order.push(done.id.clone());
        ended.0.lock().unwrap().insert(done.id);
        ended.1.notify_all();
    }
    assert_eq!(order.last().unwrap(), "slow");
}

/// Calls the client again for each event of the first group.
struct Nested {
    client: Mutex<Option<ClusterClient>>,
}

impl Observer for Nested {
    fn on_event(&self, event: &Event) {
        let group = &event.group;
        let client = self.client.lock().unwrap().clone();
        if let (Some(client), "outer", EventKind::Entered { .. }) = (client, group.as_str(), &event.kind) {
            client.group_status("inner").unwrap();
        }
    }
}

#[test]
fn observer_that_calls_the_client_again_gets_an_engine_of_its_own() {
    let cluster = Cluster::start(3).unwrap();
    let observer = Arc::new(Nested { client: Mutex::default() });
    let client =
        builder(cluster.urls()).engine(Engine::Multiplexed).observer(Arc::<Nested>::clone(&observer)).build().unwrap();
    *observer.client.lock().unwrap() = Some(client.clone());
    client.create_group("outer").unwrap();
    for done in client.create_groups(["outer-1", "outer-2"]) {
        done.result.unwrap();
    }
    *observer.client.lock().unwrap() = None;
    assert!(cluster.all_have("outer"));
}

#[test]
fn connections_are_kept_from_call_to_call() {
    let cluster = Cluster::start(2).unwrap();
    let client = multiplexed(&cluster);
    for turn in 0..5 {
        client.create_group(format!("g{turn}").as_str()).unwrap();
    }
    for node in 0..2 {
        assert_eq!(cluster.node(node).connections(), 1, "node {node}");
    }
    // Bulk and single calls share them.
    assert!(client.create_groups(["x"]).all(|done| done.result.is_ok()));
    assert_eq!(cluster.node(0).connections(), 1);
}

#[test]
fn dropped_bulk_leaves_no_thread_in_the_seat() {
    let cluster = Cluster::start(3).unwrap();
    cluster.node(1).inject(Fault::answer(503).on(Method::Post).always());
    let client = multiplexed(&cluster);
    for turn in 0..20 {
        let groups: Vec<_> = (0..10).map(|number| format!("g{turn}-{number}")).collect();
        let mut bulk = client.create_groups(&groups);
        let _ = bulk.next();
        drop(bulk);
        for group in &groups {
            assert!(cluster.none_has(group), "{group}");
        }
    }
}

/// A store whose first claim fails for lack of descriptors, and the second too unless the client has closed its
/// idle connections.
struct Exhausted {
    cluster: Arc<Cluster>,
    claims: Arc<Mutex<usize>>,
}

impl Journal for Exhausted {
    fn claim(&self, group: &GroupId) -> Result<Box<dyn Claim>, ClaimError> {
        let mut claims = self.claims.lock().unwrap();
        *claims += 1;
        let is_closed =
            || self.cluster.nodes().iter().all(|node| node.wait_until(|node| node.connections() == 0, PATIENCE));
        if *claims == 1 || !is_closed() {
            const EMFILE: i32 = 24;
            let error = std::io::Error::from_raw_os_error(EMFILE);
            return Err(ClaimError::Failed(JournalError::new("claim", error)));
        }
        Ok(Box::new(CountedClaim { group: group.as_str().to_owned(), claimed: Arc::default() }))
    }

    fn unfinished(&self) -> Result<Unfinished, JournalError> {
        Ok(Unfinished::default())
    }
}

#[cfg(unix)]
#[test]
fn journal_call_without_descriptors_is_made_again_after_idle_connections_are_closed() {
    // The call is made by the thread that drives, or by one of the pool.
    for is_bulk in [false, true] {
        let cluster = Arc::new(Cluster::start(3).unwrap());
        let claims = Arc::default();
        let store = Exhausted { cluster: Arc::clone(&cluster), claims: Arc::clone(&claims) };
        let client =
            builder(cluster.urls()).engine(Engine::Multiplexed).custom_journal(Arc::new(store)).build().unwrap();
        // Leaves an idle connection to each host in the engine that the create then uses.
        client.group_status("g").unwrap();
        assert!(cluster.nodes().iter().all(|node| node.wait_until(|node| node.connections() == 1, PATIENCE)));
        let created = if is_bulk {
            client.create_groups(["g"]).all(|done| done.result.is_ok())
        } else {
            client.create_group("g").is_ok()
        };
        assert!(created && cluster.all_have("g"), "is_bulk: {is_bulk}");
        assert_eq!(*claims.lock().unwrap(), 2);
    }
}

/// A journal that knows which groups are claimed.
#[derive(Default)]
struct Counting {
    claimed: Arc<Mutex<HashSet<String>>>,
}

struct CountedClaim {
    group: String,
    claimed: Arc<Mutex<HashSet<String>>>,
}

impl Journal for Counting {
    fn claim(&self, group: &GroupId) -> Result<Box<dyn Claim>, ClaimError> {
        let (group, claimed) = (group.as_str().to_owned(), Arc::clone(&self.claimed));
        assert!(claimed.lock().unwrap().insert(group.clone()));
        Ok(Box::new(CountedClaim { group, claimed }))
    }

    fn unfinished(&self) -> Result<Unfinished, JournalError> {
        Ok(Unfinished::default())
    }
}

impl Claim for CountedClaim {
    fn inherited(&self) -> Option<&Intent> {
        None
    }

    fn record(&mut self, _: &Intent) -> Result<(), JournalError> {
        Ok(())
    }

    fn erase(&mut self) -> Result<(), JournalError> {
        Ok(())
    }
}

impl Drop for CountedClaim {
    fn drop(&mut self) {
        self.claimed.lock().unwrap().remove(&self.group);
    }
}

/// Many operations: a thread of the pool that keeps a claim does so for a few microseconds.
#[test]
fn claim_is_dropped_before_the_result_is_returned() {
    let cluster = Cluster::start(1).unwrap();
    let journal = Arc::new(Counting::default());
    let claimed = Arc::clone(&journal.claimed);
    let client =
        builder(cluster.urls()).engine(Engine::Multiplexed).in_flight(1).custom_journal(journal).build().unwrap();
    for done in client.create_groups((0..2000).map(|number| format!("g{number}"))) {
        assert!(done.result.is_ok());
        assert!(!claimed.lock().unwrap().contains(&done.id), "{} is still claimed", done.id);
    }
}
