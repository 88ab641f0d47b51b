//! A coordinator that is cut off from the nodes alone, in the middle of its create: it keeps its claim, ends in doubt, and
//! another one recovers. What the first sent into the cut must not arrive once it is over.

use crate::etcd::key;
use crate::lane::{Lane, NODES, PREFIX};
use crate::link::{Link, at_request, contains};
use crate::network::{self, Cable};
use crate::proof::PATIENCE;

const GROUP: &str = "cut";
/// States of a socket in `/proc/PID/net/tcp`: ESTABLISHED, and those after its close: FIN_WAIT1, LAST_ACK and CLOSING.
pub(crate) const OPEN: [&str; 1] = ["01"];
pub(crate) const CLOSED: [&str; 3] = ["04", "09", "0B"];

#[test]
fn nothing_that_was_sent_into_a_cut_arrives_after_it() {
    if !network::is_inside("cut::nothing_that_was_sent_into_a_cut_arrives_after_it") {
        return;
    }
    let Some(lane) = Lane::open(3, false, None) else { return };
    // One has the engine of threads, and the other the multiplexed one.
    for (number, other) in [(0, 1), (1, 0)] {
        if lane.coordinator(number).cables.is_none() {
            println!("skipped: it needs network namespaces");
            return;
        }
        cut_one(&lane, number, other);
    }
}

fn cut_one(lane: &Lane, number: usize, other: usize) {
    let first = lane.coordinator(number);
    cut_before_the_posts(lane, number, GROUP);
    let outcome = first.run("create", GROUP, PATIENCE).expect("a result of the first");
    assert_eq!(outcome.word(), "in_doubt", "{outcome:?}");
    let second = lane.coordinator(other).run("recover", "", PATIENCE).expect("a result of the second");
    assert_eq!((second.word(), &second.line["settled"][0]), ("recovered", &GROUP.into()), "{second:?}");
    // The system sends what a closed socket holds, for minutes. It tells which sockets these are.
    assert_eq!(sockets_with_unsent_bytes(first.pid(), &CLOSED), 0);
    first.cables.as_ref().unwrap().pull(Cable::Nodes, false);
    let asked = first.run("delete", "another", PATIENCE).expect("the nodes are reached again");
    assert_eq!(asked.word(), "deleted", "{asked:?}");
    assert_eq!(lane.holders(GROUP), [false; NODES]);
    lane.links().for_each(Link::disarm);
}

/// Pulls the cable to the nodes while the intent of the coordinator is under way, so that its next requests are the POSTs.
pub(crate) fn cut_before_the_posts(lane: &Lane, number: usize, group: &str) {
    let members: Vec<&Link> = lane.to_etcd[number].iter().collect();
    let first = lane.coordinator(number);
    at_request(&members, 2, contains, &key(&format!("{PREFIX}intent/{group}")), move || {
        if let Some(cables) = &first.cables {
            cables.pull(Cable::Nodes, true);
        }
    });
}

/// Number of sockets to the nodes, in the namespace of a process, that hold bytes which a node has not acknowledged.
pub(crate) fn sockets_with_unsent_bytes(pid: u32, states: &[&str]) -> usize {
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
    let (nodes, _) = network::addresses().expect("a namespace");
    let nodes = format!("{:08X}:", u32::from_ne_bytes(nodes.octets()));
    // The third column is the other end, the fourth the state, and the fifth the length of both queues.
    let holds = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words[2].starts_with(&nodes) && states.contains(&words[3]) && !words[4].starts_with("00000000:")
    };
    table.lines().skip(1).filter(holds).count()
}
