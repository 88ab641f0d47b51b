//! The schedule that a lease is there for: an owner is stopped past its lease, another one recovers its group and works
//! on it, and the first goes on. It must change nothing any more.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use cluster_client::testing::{Fault, Method};

use crate::coordinator::Outcome;
use crate::etcd::key;
use crate::lane::{Change, Lane, NODES, PREFIX};
use crate::link::{Link, at_request, begins, contains};
use crate::proof::PATIENCE;
use crate::proof::process::signal;

/// The owner that is stopped, and the one that takes over.
const FIRST: usize = 0;
const SECOND: usize = 1;

/// The point at which the first coordinator is stopped during its create.
#[derive(Clone, Copy, Debug)]
enum Point {
    /// It has the claim and asks the nodes.
    Probe,
    /// Its intent is under way to etcd.
    Record,
    /// It sent a POST to each node, and one refuses it.
    Posts,
    /// It sent a DELETE to the nodes that have the group, and each answers that it should try again.
    Rollback,
    /// The group is on all nodes, and it looks for it there.
    Verify,
}

/// What came of it.
#[derive(Debug)]
struct Found {
    first: Outcome,
    second: Outcome,
    /// Changes of the first coordinator after it went on.
    late: Vec<Change>,
    /// Its requests to the nodes other than GETs after it went on.
    sent: usize,
    holders: Vec<bool>,
}

impl Point {
    /// Arranges the stop of the first coordinator at this point. Says so on the channel.
    fn arm(self, lane: &Lane, group: &str, stopped: Sender<()>) {
        let pid = lane.coordinator(FIRST).pid().to_string();
        let stopped = Mutex::new(stopped);
        let stop = move || {
            signal("STOP", &pid);
            let _ = stopped.lock().unwrap().send(());
        };
        let nodes: Vec<&Link> = lane.nodes.iter().map(|served| &served.link).collect();
        let refuse = || lane.nodes[1].node.inject(Fault::answer(403).on(Method::Post).group(group));
        match self {
            Point::Probe => at_request(&nodes[..1], 1, begins, "GET ", stop),
            Point::Verify => at_request(&nodes[..1], 2, begins, "GET ", stop),
            Point::Posts => {
                refuse();
                at_all(&nodes, "POST ", stop);
            }
            Point::Rollback => {
                refuse();
                for node in [0, 2] {
                    lane.nodes[node].node.inject(Fault::answer(503).on(Method::Delete).group(group));
                }
                at_all(&[nodes[0], nodes[2]], "DELETE ", stop);
            }
            Point::Record => {
                let members: Vec<&Link> = lane.to_etcd[FIRST].iter().collect();
                // The claim reads the intent, so it names the key first.
                at_request(&members, 2, contains, &key(&format!("{PREFIX}intent/{group}")), stop);
            }
        }
    }
}

/// Does something when the first request of this kind has come on each link, before the last one goes on. The others wait
/// for it, so that no answer comes before.
fn at_all(links: &[&Link], word: &'static str, action: impl Fn() + Send + Sync + 'static) {
    let (barrier, action) = (Arc::new(std::sync::Barrier::new(links.len())), Arc::new(action));
    for link in links {
        let (barrier, action) = (Arc::clone(&barrier), Arc::clone(&action));
        link.before_request(
            move |bytes| begins(bytes, word),
            move || {
                if barrier.wait().is_leader() {
                    action();
                }
                barrier.wait();
            },
        );
    }
}

/// Plays the schedule with a group of its own.
fn play(lane: &Lane, point: Point) -> Found {
    let group = format!("stopped-{point:?}").to_lowercase();
    let (stopped, stop) = channel();
    point.arm(lane, &group, stopped);
    let first = lane.coordinator(FIRST).begin("create", &group);
    stop.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{point:?} was not reached"));
    let pid = lane.coordinator(FIRST).pid();
    assert!(lane.history.wait_for_unlock(pid, &group, PATIENCE).is_some(), "the lock of a stopped owner does not end");
    let second = lane.coordinator(SECOND).run("create", &group, PATIENCE).expect("a result of the second");
    let goes_on = Instant::now();
    lane.coordinator(FIRST).pause(false);
    let first = lane.coordinator(FIRST).result(first, PATIENCE).expect("a result of the first");
    lane.settle();
    lane.links().for_each(Link::disarm);
    let changes =
        lane.changes().into_iter().filter(|change| change.owner == FIRST && change.applied > goes_on).collect();
    let sent = lane.nodes.iter().map(|served| served.link.changes_since(FIRST, goes_on)).sum();
    Found { first, second, late: changes, sent, holders: lane.holders(&group) }
}

#[test]
fn owner_that_was_stopped_past_its_lease_changes_nothing_any_more() {
    let Some(lane) = Lane::open(0, false, None) else { return };
    for point in [Point::Posts, Point::Probe, Point::Record, Point::Rollback, Point::Verify] {
        let found = play(&lane, point);
        assert_eq!(found.second.word(), "created", "{point:?}: {found:#?}");
        assert_eq!(found.holders, [true; NODES], "{point:?}: {found:#?}");
        assert_eq!((found.late.len(), found.sent), (0, 0), "{point:?}: {found:#?}");
        // Before the first POST nothing is in doubt, and an intent that was not recorded is refused by etcd.
        let (word, cause) = (found.first.word(), found.first.line["cause"]["message"].as_str().unwrap_or_default());
        assert!(cause.contains("the claim on the group was lost"), "{point:?}: {found:#?}");
        assert_eq!(word == "in_doubt", !matches!(point, Point::Probe | Point::Record), "{point:?}: {found:#?}");
        assert!(found.first.cause() == "claim_lost" || matches!(point, Point::Record), "{point:?}: {found:#?}");
    }
}

/// The schedule finds the mistake that it is there for.
#[test]
fn owner_that_does_not_look_at_its_claim_is_caught() {
    let Some(lane) = Lane::open(1, false, Some("no-look")) else { return };
    let found = play(&lane, Point::Rollback);
    assert_eq!(found.second.word(), "created", "{found:#?}");
    assert!(!found.late.is_empty() && found.holders != [true; NODES], "it changed nothing: {found:#?}");
}
