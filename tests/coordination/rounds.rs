//! Rounds drawn from a seed: three coordinators work on a few groups at once while things go wrong. Then all is healed,
//! one of them recovers, and the judge reads the logs of the nodes and the history of etcd.

use std::thread;
use std::time::{Duration, Instant};

use cluster_client::testing::{Fault as NodeFault, Method};

use crate::coordinator::{LONGEST_DELAY, Outcome, SETTLE, TTL};
use crate::faults::{Armed, Fault, Happened};
use crate::history::Event;
use crate::judge;
use crate::lane::{COORDINATORS, Change, Lane, NODES};
use crate::link::{Link, Mode};
use crate::proof::{Figures, PATIENCE, setting, spread};
use crate::{mutants, network};

const GROUPS: [&str; 2] = ["payments", "billing"];
/// A group is busy for as long as its owner works, or until the lease of a dead owner ends.
const TRIES: usize = 4;
/// Between two tries to recover.
const AGAIN: Duration = Duration::from_millis(300);
/// The coordinator that may be mistaken.
const FIRST: usize = 0;

/// All that chance decides about a round.
#[derive(Debug)]
pub(crate) struct Script {
    /// Groups that are on all nodes before.
    present: Vec<&'static str>,
    /// For each coordinator, a pause and an operation.
    operations: Vec<Vec<(Duration, &'static str, &'static str)>>,
    pub(crate) faults: Vec<Fault>,
    node_fault: Option<(usize, &'static str, u8)>,
    delays: Option<u64>,
}

/// An operation of a round.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) owner: usize,
    pub(crate) pid: u32,
    pub(crate) word: &'static str,
    pub(crate) group: &'static str,
    pub(crate) started: Instant,
    pub(crate) ended: Instant,
    /// `None` where the process was killed.
    pub(crate) outcome: Option<Outcome>,
}

impl Done {
    pub(crate) fn is(&self, word: &str) -> bool {
        self.outcome.as_ref().is_some_and(|outcome| outcome.word() == word)
    }
}

/// All that a judge needs.
pub(crate) struct Found {
    pub(crate) seed: u64,
    pub(crate) script: Script,
    pub(crate) done: Vec<Done>,
    pub(crate) happened: Vec<Happened>,
    pub(crate) changes: Vec<Change>,
    pub(crate) events: Vec<Event>,
    pub(crate) healed: Instant,
    /// Whether all locks had ended in time after the last operation.
    pub(crate) all_free: bool,
    pub(crate) holders: Vec<(&'static str, Vec<bool>)>,
    pub(crate) left: Vec<(String, String)>,
}

impl Found {
    /// The coordinator whose process this was.
    pub(crate) fn owner(&self, pid: u32) -> Option<usize> {
        self.done.iter().find(|done| done.pid == pid).map(|done| done.owner)
    }
}

/// Rounds with a `mistaken` first coordinator stop it in its work, because its mistake may matter then.
fn script(random: &mut fastrand::Rng, mistaken: bool) -> Script {
    let operation = |random: &mut fastrand::Rng| {
        let word = ["create", "create", "create", "delete", "delete", "recover"][random.usize(..6)];
        (Duration::from_millis(random.u64(..60)), word, GROUPS[random.usize(..GROUPS.len())])
    };
    let operations = |random: &mut fastrand::Rng| (0..random.usize(1..4)).map(|_| operation(random)).collect();
    let faults = |random: &mut fastrand::Rng| {
        if mistaken {
            return vec![Fault::stop(FIRST, random)];
        }
        (0..[0, 1, 1, 1, 2][random.usize(..5)]).map(|_| Fault::draw(random)).collect()
    };
    Script {
        present: GROUPS.into_iter().filter(|_| random.u8(..4) == 0).collect(),
        operations: (0..COORDINATORS).map(|_| operations(random)).collect(),
        faults: faults(random),
        node_fault: random.bool().then(|| (random.usize(..NODES), GROUPS[random.usize(..2)], random.u8(..4))),
        delays: random.bool().then(|| random.u64(..)),
    }
}

fn prepare(lane: &Lane, script: &Script) {
    for served in &lane.nodes {
        for group in GROUPS {
            if script.present.contains(&group) {
                served.node.insert(group)
            } else {
                served.node.remove(group)
            };
        }
        served.link.delay(script.delays.map(|seed| (LONGEST_DELAY, seed)));
    }
    if let Some((node, group, kind)) = script.node_fault {
        let fault = match kind {
            0 => NodeFault::answer(403).on(Method::Post),
            1 => NodeFault::answer(503).on(Method::Post).times(2),
            2 => NodeFault::drop_connection().after_applying().on(Method::Post),
            _ => NodeFault::answer(503).on(Method::Delete).times(2),
        };
        lane.nodes[node].node.inject(fault.group(group));
    }
    lane.forget();
    lane.history.forget();
}

fn play(lane: &Lane, script: &Script, figures: &Figures) -> (Vec<Done>, Vec<Happened>) {
    let armed: Vec<Armed> = script.faults.iter().map(|fault| Armed::arm(fault, lane)).collect();
    thread::scope(|scope| {
        let faults = script.faults.iter().zip(armed);
        let faults: Vec<_> =
            faults.map(|(fault, armed)| scope.spawn(move || fault.run(lane, &armed, figures))).collect();
        let drivers = script.operations.iter().enumerate();
        let drivers: Vec<_> = drivers.map(|(owner, all)| scope.spawn(move || drive(lane, owner, all))).collect();
        let done = drivers.into_iter().flat_map(|driver| driver.join().unwrap()).collect();
        (done, faults.into_iter().map(|fault| fault.join().unwrap()).collect())
    })
}

fn drive(lane: &Lane, owner: usize, operations: &[(Duration, &'static str, &'static str)]) -> Vec<Done> {
    let mut all = Vec::new();
    for (pause, word, group) in operations {
        thread::sleep(*pause);
        for _ in 0..TRIES {
            let done = operate(lane, owner, word, group);
            let busy = done.is("busy");
            all.push(done);
            if !busy {
                break;
            }
            lane.history.wait_until_free(Some(group), 2 * TTL);
        }
    }
    all
}

fn operate(lane: &Lane, owner: usize, word: &'static str, group: &'static str) -> Done {
    let (coordinator, started) = (lane.coordinator(owner), Instant::now());
    let outcome = coordinator.run(word, group, PATIENCE);
    Done { owner, pid: coordinator.pid(), word, group, started, ended: Instant::now(), outcome }
}

/// Ends all faults and waits until nothing is under way.
fn heal(lane: &Lane) {
    for number in 0..COORDINATORS {
        lane.cut_from_etcd(number, Mode::Open);
        lane.cut_from_nodes(number, Mode::Open);
        if !lane.coordinator(number).runs() {
            lane.restart(number);
        }
    }
    for served in &lane.nodes {
        served.link.delay(None);
        served.node.clear_faults();
    }
    lane.links().for_each(Link::disarm);
    assert!(lane.etcd.wait_until_ready(), "etcd does not get well: {}", lane.etcd.logs());
    lane.settle();
}

/// Recovers until it settles, for a bounded time: the journal remembers for two seconds that etcd did not answer.
fn recover(lane: &Lane, owner: usize) -> Vec<Done> {
    let (mut all, began) = (Vec::new(), Instant::now());
    loop {
        let done = operate(lane, owner, "recover", "");
        let settled = done.is("recovered");
        all.push(done);
        if settled || began.elapsed() > 2 * TTL {
            return all;
        }
        thread::sleep(AGAIN);
    }
}

fn round(lane: &Lane, seed: u64, mistaken: bool, figures: &Figures) {
    let mut random = fastrand::Rng::with_seed(seed);
    let script = script(&mut random, mistaken);
    prepare(lane, &script);
    let (mut done, happened) = play(lane, &script, figures);
    heal(lane);
    let healed = Instant::now();
    // Etcd gives each lease its whole time again after an election, and looks every half second.
    let all_free = lane.history.wait_until_free(None, 2 * TTL + Duration::from_secs(3));
    done.extend(recover(lane, random.usize(..COORDINATORS)));
    lane.settle();
    let events = lane.history.events(&lane.etcd);
    let holders = GROUPS.into_iter().map(|group| (group, lane.holders(group))).collect();
    let left = lane.etcd.keys(crate::lane::PREFIX);
    let changes = lane.changes();
    let found = Found { seed, script, done, happened, changes, events, healed, all_free, holders, left };
    judge::judge(lane, &found, figures);
}

/// Ends a lane and checks that it leaves nothing in etcd.
fn close(lane: &Lane, figures: &Figures) {
    for number in 0..COORDINATORS {
        figures.expect(lane.coordinator(number).end(PATIENCE), || format!("coordinator {number} does not end"));
    }
    let left = lane.etcd.keys(crate::lane::PREFIX);
    figures.expect(left.is_empty(), || format!("the end leaves {left:?}"));
}

pub(crate) fn run(rounds: u64, seed: u64, lanes: usize, mutant: Option<&str>) -> Figures {
    let seeds: Vec<u64> = (0..rounds).map(|round| seed.wrapping_add(round)).collect();
    let (figures, began) = (Figures::default(), Instant::now());
    // Every other cluster asks for a user.
    let open = |number: usize| Closing { lane: Lane::open(10 + number, number % 2 == 1, mutant), figures: &figures };
    spread(&seeds, lanes, open, |closing, seed| {
        if let Some(lane) = &closing.lane {
            round(lane, *seed, mutant.is_some(), &figures);
        }
    });
    println!(
        "coordination ({rounds} rounds from COORDINATION_SEED={seed}, {:.1?}, TTL {TTL:?}, settle {SETTLE:?}):\n{figures}",
        began.elapsed()
    );
    figures
}

/// A lane that is closed in order after its last round.
struct Closing<'a> {
    lane: Option<Lane>,
    figures: &'a Figures,
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        if let (Some(lane), false) = (&self.lane, thread::panicking()) {
            close(lane, self.figures);
        }
    }
}

#[test]
fn rounds_end_on_all_nodes_or_none_and_nobody_works_without_a_claim() {
    if !network::is_inside("rounds::rounds_end_on_all_nodes_or_none_and_nobody_works_without_a_claim") {
        return;
    }
    let (rounds, seed) = (setting("COORDINATION_ROUNDS", 8), setting("COORDINATION_SEED", 1));
    let lanes = usize::try_from(setting("COORDINATION_LANES", 2)).unwrap();
    let figures = run(rounds, seed, lanes, None);
    // Each is told where it happened.
    assert!(figures.violations().is_empty(), "{} violations", figures.violations().len());
}

/// Each mistake of the first coordinator is found by the check that is there for it.
#[test]
#[ignore = "takes minutes"]
fn mistakes_are_found() {
    let expected = [
        ("no-look", "changed without a claim"),
        ("keep-locks", "a lock is left"),
        ("keep-intents", "an acknowledged create is lost"),
        ("no-locks", "changed without a claim"),
        ("no-recovery", "something is left in etcd"),
    ];
    assert_eq!(expected.map(|(name, _)| name), mutants::ALL);
    for (name, accusation) in expected {
        println!("mistake: {name}");
        let (rounds, seed) = (setting("COORDINATION_ROUNDS", 24), setting("COORDINATION_SEED", 1));
        let figures = run(rounds, seed, 3, Some(name));
        let found = figures.violations().iter().filter(|text| text.contains(accusation)).count();
        println!("mistake: {name} is found {found} times");
        assert!(found > 0, "{name} is not found");
    }
}
