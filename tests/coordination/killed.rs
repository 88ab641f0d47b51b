//! Coordinators that are killed while their POSTs are in a network that was cut. The system goes on to send what the socket
//! of a dead process holds. How long it does is bounded by `src/http/abandoned.rs`, and the settle time of a recovery has to
//! cover that.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use cluster_client::testing::{Entry, Method, Node};

use crate::command::Commands;
use crate::coordinator::Coordinator;
use crate::cut::{CLOSED, OPEN, cut_before_the_posts, sockets_with_unsent_bytes};
use crate::lane::{COMMAND, Lane, NODES};
use crate::link::Link;
use crate::network::{self, Cable, Namespace};
use crate::proof::PATIENCE;

/// The default of the settle time.
const BOUND: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(5);

/// A coordinator that was killed, and what it left.
struct Killed {
    coordinator: Arc<Coordinator>,
    namespace: Namespace,
    group: String,
    at: Instant,
}

impl Killed {
    /// Kills a coordinator when a POST for each node is in its sockets, in the cut network. Another one takes its place.
    fn amid_its_posts(lane: &Lane, number: usize, group: &str) -> Self {
        let coordinator = lane.coordinator(number);
        let namespace = Namespace::keep(coordinator.pid());
        cut_before_the_posts(lane, number, group);
        coordinator.begin("create", group);
        let unsent = || sockets_with_unsent_bytes(namespace.pid(), &OPEN);
        assert!(comes(PATIENCE, || unsent() == NODES), "{group}: no POSTs are in the cut network");
        coordinator.kill();
        let killed = Killed { coordinator, namespace, group: group.to_owned(), at: Instant::now() };
        assert_eq!(killed.unsent(), NODES, "{group}: the sockets of a dead process");
        lane.restart(number);
        killed
    }

    /// Number of sockets that still hold bytes.
    fn unsent(&self) -> usize {
        sockets_with_unsent_bytes(self.namespace.pid(), &CLOSED)
    }

    /// Whether no socket holds bytes, and no packet of one waits for the address of the next machine.
    fn is_over(&self) -> bool {
        self.unsent() == 0 && !self.namespace.looks_for_a_machine()
    }

    /// The time that is left of the bound.
    fn left(&self) -> Duration {
        (self.at + BOUND).saturating_duration_since(Instant::now())
    }

    fn plug_in(&self) {
        self.coordinator.cables.as_ref().unwrap().pull(Cable::Nodes, false);
    }

    /// For each node, whether a POST arrived after the first DELETE, which is of the recovery. `None` if none arrived.
    fn arrived(&self, lane: &Lane) -> Vec<Option<bool>> {
        let first = |node: &Node, method| {
            let log = node.log();
            let meant = |entry: &&Entry| entry.group.as_ref() == Some(&self.group) && entry.method == method;
            log.iter().find(meant).map(|entry| entry.sequence)
        };
        let nodes = lane.nodes.iter().map(|served| &served.node);
        nodes.map(|node| first(node, Method::Post).map(|post| Some(post) > first(node, Method::Delete))).collect()
    }

    fn is_being_recovered(&self, lane: &Lane) -> bool {
        let is_delete = |entry: &Entry| entry.method == Method::Delete && entry.group.as_ref() == Some(&self.group);
        lane.nodes.iter().all(|served| served.node.log().iter().any(is_delete))
    }
}

#[test]
fn what_a_killed_process_sent_into_a_cut_arrives_while_its_recovery_settles_or_never() {
    if !network::is_inside("killed::what_a_killed_process_sent_into_a_cut_arrives_while_its_recovery_settles_or_never")
    {
        return;
    }
    if network::addresses().is_none() {
        println!("skipped: it needs network namespaces");
        return;
    }
    let Some(lane) = Lane::open(5, false, None) else { return };
    let [[soon, never_threads], [at_last, never_multiplexed]] = kill_both_engines_twice(&lane);
    let never = [never_threads, never_multiplexed];
    assert!(lane.history.wait_until_free(None, PATIENCE), "the lock of a dead owner stays");
    let recovery = thread::scope(|scope| {
        let recovery = scope.spawn(|| Commands::new(&lane.settings[COMMAND], BOUND).run(&["recover"], None, PATIENCE));
        plug_in_while_it_settles(&lane, &soon, &at_last);
        for killed in &never {
            plug_in_when_all_is_over(&lane, killed);
        }
        recovery.join().unwrap().expect("a result of the recovery")
    });
    lane.settle();
    assert_eq!(recovery.word(), "recovered", "{recovery:?}");
    for killed in [&soon, &at_last, &never[0], &never[1]] {
        assert_eq!(lane.holders(&killed.group), [false; NODES], "{} after {recovery:?}", killed.group);
    }
    assert_eq!(soon.arrived(&lane), [Some(true); NODES]);
    println!("{}: {:?}", at_last.group, at_last.arrived(&lane));
    assert_eq!(never.map(|killed| killed.arrived(&lane)), [[None; NODES]; 2]);
    lane.links().for_each(Link::disarm);
}

/// Kills two coordinators of each engine. Those of one engine are neighbours in the result.
fn kill_both_engines_twice(lane: &Lane) -> [[Killed; 2]; 2] {
    let kill =
        |number| ["first", "second"].map(|word| Killed::amid_its_posts(lane, number, &format!("{word}-{number}")));
    thread::scope(|scope| [0, 1].map(|number| scope.spawn(move || kill(number))).map(|kills| kills.join().unwrap()))
}

/// The networks come back when the recovery has deleted once and is to look again: of one at once, of the other when the
/// system has given up, and only a packet that waits for the address of the next machine may still arrive.
fn plug_in_while_it_settles(lane: &Lane, soon: &Killed, at_last: &Killed) {
    for killed in [soon, at_last] {
        assert!(comes(PATIENCE, || killed.is_being_recovered(lane)), "no recovery of {}", killed.group);
    }
    soon.plug_in();
    assert!(comes(at_last.left(), || at_last.unsent() == 0), "{} is sent for longer than {BOUND:?}", at_last.group);
    at_last.plug_in();
}

fn plug_in_when_all_is_over(lane: &Lane, killed: &Killed) {
    assert!(comes(killed.left(), || killed.is_over()), "{} is sent for longer than {BOUND:?}", killed.group);
    println!("{}: nothing is sent any more {:.1?} after the kill", killed.group, killed.at.elapsed());
    killed.plug_in();
    // The system takes a moment to see that a cable is plugged in.
    let reaches = || killed.namespace.reaches(lane.nodes[0].link.address());
    assert!(comes(PATIENCE, reaches), "the network of {} is not whole", killed.group);
}

/// Looks again and again. Whether it came about in time.
fn comes(patience: Duration, mut wanted: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    while !wanted() {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(AGAIN);
    }
    true
}
