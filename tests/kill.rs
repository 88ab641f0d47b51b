//! Kill enumeration: the real command, ended by SIGKILL on entry of the n-th call of every system call, for
//! every n, in every thread that gets that far; then `recover`, and the nodes themselves are asked.
//!
//! In CI a sample; all of it with `KILL=all cargo test --release --all-features --test kill -- --nocapture`.
//! `KILL_SEED` draws another sample, `KILL_LANES` sets how many rounds run at once, and `KILL_REPEAT` how often
//! each point is met: what a thread has done by its n-th call differs from run to run.
#![cfg(all(target_os = "linux", feature = "cli"))]

mod proof;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use cluster_client::testing::{Cluster, Fault, Method, Node};
use proof::{
    Client, Figures, PATIENCE, Ran, Running, acknowledged, all_acknowledged, outcome, setting, spread, strace_works,
};

const GROUP: &str = "payments";
/// Foreign groups: one on every node, and one on a single node, which a recovery might take for its own.
const FOREIGN: &str = "payments-2";
const LONELY: &str = "payment";
const NODES: usize = 3;
/// The longest answer on the way here takes microseconds, so this is ample, and a round stays short.
const SETTLE: Duration = Duration::from_millis(60);
const REQUEST_TIMEOUT: Duration = Duration::from_millis(400);

/// Nodes with the group before the command runs.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    Nobody,
    Everybody,
    /// The first and the last, as an interrupted create leaves it.
    Some,
}

struct Scenario {
    name: &'static str,
    words: &'static [&'static str],
    before: Before,
    /// Lies in the journal before the command runs.
    interrupted: bool,
    faults: fn(&Cluster),
    /// States in which recovery may leave the group after any kill.
    on_all: bool,
    on_none: bool,
}

fn no_fault(_: &Cluster) {}

/// Refused for good: the others are rolled back.
fn one_refuses(cluster: &Cluster) {
    cluster.node(1).inject(Fault::answer(403).on(Method::Post).group(GROUP).always());
}

/// The answer is lost although the group is there, every time: the fate of the POST is unknown to the client.
fn one_loses_answers(cluster: &Cluster) {
    cluster.node(1).inject(Fault::drop_connection().after_applying().on(Method::Post).group(GROUP).always());
    cluster.node(2).inject(Fault::answer(403).on(Method::Post).group(GROUP).always());
}

const SCENARIOS: [Scenario; 6] = [
    Scenario {
        name: "create",
        words: &["create", GROUP],
        before: Before::Nobody,
        interrupted: false,
        faults: no_fault,
        on_all: true,
        on_none: true,
    },
    Scenario {
        name: "create, one node refuses",
        words: &["create", GROUP],
        before: Before::Nobody,
        interrupted: false,
        faults: one_refuses,
        on_all: false,
        on_none: true,
    },
    Scenario {
        name: "create, one node refuses and one loses its answers",
        words: &["create", GROUP],
        before: Before::Nobody,
        interrupted: false,
        faults: one_loses_answers,
        on_all: false,
        on_none: true,
    },
    Scenario {
        name: "delete",
        words: &["delete", GROUP, "--yes"],
        before: Before::Everybody,
        interrupted: false,
        faults: no_fault,
        on_all: true,
        on_none: true,
    },
    Scenario {
        name: "recover, of an interrupted create",
        words: &["recover"],
        before: Before::Some,
        interrupted: true,
        faults: no_fault,
        on_all: false,
        on_none: true,
    },
    Scenario {
        name: "repair to present, of an interrupted create",
        words: &["repair", GROUP, "--to", "present"],
        before: Before::Some,
        interrupted: true,
        faults: no_fault,
        on_all: true,
        on_none: true,
    },
];

/// Nodes, a client and the journal entry of an interrupted create; one round at a time.
struct Lane {
    cluster: Cluster,
    client: Client,
    interrupted: Vec<u8>,
}

impl Lane {
    fn open() -> Self {
        let cluster = Cluster::start(NODES).unwrap();
        let client = Client::new(&cluster.urls(), REQUEST_TIMEOUT, SETTLE);
        let interrupted = client.interrupt_create(GROUP, cluster.node(1));
        Lane { cluster, client, interrupted }
    }

    fn prepare(&self, scenario: &Scenario) {
        self.client.empty_journal();
        for (number, node) in self.cluster.nodes().iter().enumerate() {
            node.clear_faults();
            node.clear_log();
            node.insert(FOREIGN);
            let has = match scenario.before {
                Before::Nobody => false,
                Before::Everybody => true,
                Before::Some => number != 1,
            };
            if has {
                node.insert(GROUP)
            } else {
                node.remove(GROUP)
            };
        }
        self.cluster.node(1).insert(LONELY);
        (scenario.faults)(&self.cluster);
        if scenario.interrupted {
            std::fs::write(self.client.intent(GROUP), &self.interrupted).unwrap();
        }
    }

    fn holders(&self) -> usize {
        self.cluster.holders(GROUP).len()
    }

    /// Requests of a dead client may still be on their way; its connections end with them.
    fn quiet(&self) {
        for node in self.cluster.nodes() {
            assert!(node.wait_until(|state| state.connections() == 0, PATIENCE), "a connection outlives its client");
        }
    }

    fn run_under(&self, strace: &[&str], words: &[&str]) -> Ran {
        Running::start(self.client.command_under(strace, words)).end(PATIENCE)
    }
}

/// One place to kill at.
#[derive(Clone)]
struct Point {
    scenario: usize,
    syscall: String,
    nth: usize,
}

/// The calls of a command, as full traces show them: the most that any thread makes of each.
fn points_of(lane: &Lane, scenario: usize, prepare: impl Fn(), words: &[&str]) -> Vec<Point> {
    let trace = lane.client.directory.path().join("trace");
    let mut most: BTreeMap<String, usize> = BTreeMap::new();
    // Work goes to any free thread, so the calls of a thread differ between runs.
    for _ in 0..3 {
        prepare();
        lane.run_under(&["strace", "-f", "-qq", "-o", trace.to_str().unwrap()], words);
        for (syscall, count) in busiest_thread(&std::fs::read_to_string(&trace).unwrap()) {
            let known = most.entry(syscall).or_default();
            *known = count.max(*known);
        }
    }
    let each =
        |(syscall, most): (String, usize)| (1..=most).map(move |nth| Point { scenario, syscall: syscall.clone(), nth });
    most.into_iter().flat_map(each).collect()
}

/// From lines such as `123  write(1, ...`: for each system call the highest count of one thread.
fn busiest_thread(trace: &str) -> BTreeMap<String, usize> {
    let mut of_thread: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for line in trace.lines() {
        let Some((thread, rest)) = line.split_once(char::is_whitespace) else { continue };
        // A call that was interrupted by another thread's line is named again where it goes on.
        let Some((name, _)) = rest.trim_start().split_once('(') else { continue };
        if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            *of_thread.entry((thread, name)).or_default() += 1;
        }
    }
    let mut most = BTreeMap::new();
    for ((_, name), count) in of_thread {
        let known: &mut usize = most.entry(name.to_owned()).or_default();
        *known = count.max(*known);
    }
    most
}

fn killed_at(point: &Point, lane: &Lane, words: &[&str]) -> Ran {
    // Not with --seccomp-bpf: strace 6.1 then meets no call but the first, and kills nowhere else.
    let inject = format!("inject={}:signal=KILL:when={}", point.syscall, point.nth);
    let watch = format!("trace={}", point.syscall);
    lane.run_under(&["strace", "-f", "-qq", "-o", "/dev/null", "-e", &watch, "-e", &inject], words)
}

fn round(lane: &Lane, point: &Point, figures: &Figures) {
    let scenario = &SCENARIOS[point.scenario];
    lane.prepare(scenario);
    let ran = killed_at(point, lane, scenario.words);
    let hit = ran.exit.is_none();
    figures.count(format!("{}: kill points", scenario.name));
    if hit {
        figures.count(format!("{}: killed there", scenario.name));
    }
    // At once: a request of the dead client may arrive while recovery is at work.
    let after_kill = After { holders: lane.holders(), intent: lane.client.intent(GROUP).exists() };
    if !matches!(after_kill.holders, 0 | NODES) {
        figures.count(format!("{}: hosts disagreed before recovery", scenario.name));
    }
    judge(lane, point, &ran, &after_kill, figures);
}

struct After {
    holders: usize,
    intent: bool,
}

fn judge(lane: &Lane, point: &Point, ran: &Ran, killed: &After, figures: &Figures) {
    let scenario = &SCENARIOS[point.scenario];
    let recovered = lane.client.run(&["recover"]);
    lane.quiet();
    let holders = lane.holders();
    let (files, intents) = lane.client.files();
    let again = lane.client.run(&["recover"]);
    let check = |holds: bool, what: &str| {
        figures.expect(holds, || {
            let place = format!("{}: killed at {} {}", scenario.name, point.syscall, point.nth);
            let found = format!(
                "group on {} before recovery, intent {}, on {holders} after; journal {files:?}; \
                 command {ran:?}; recovery {recovered:?}",
                killed.holders, killed.intent
            );
            format!("{place}: {what}; {found}")
        });
    };
    check(recovered.exit == Some(0), "recovery says that something is left");
    check(matches!(holders, 0 | NODES), "the hosts disagree");
    check(holders != NODES || scenario.on_all, "it was left everywhere");
    check(holders != 0 || scenario.on_none, "it is gone everywhere");
    check(intents.is_empty(), "an intent is left");
    check(again.exit == Some(0) && again.stdout.is_empty(), "a second recovery finds something");
    check(lane.cluster.all_have(FOREIGN) && lane.cluster.holders(LONELY) == [1], "a foreign group was touched");
    // Without an intent the operation had not begun or was complete: either way the hosts must agree at once.
    check(killed.intent || matches!(killed.holders, 0 | NODES), "they disagreed, and nothing in the journal said so");
    if let Some(line) = acknowledged(ran) {
        figures.count(format!("{}: acknowledged before the kill", scenario.name));
        let truth = match outcome(&line) {
            "created" | "repaired" => holders == NODES && killed.holders == NODES,
            "rolled_back" | "deleted" | "recovered" => holders == 0 && killed.holders == 0,
            _ => false,
        };
        check(truth, "what was acknowledged is not so");
        check(!killed.intent, "it was acknowledged before the journal was settled");
    }
    check(ran.exit.is_none() || acknowledged(ran).is_some() || scenario.interrupted, "it ended without a result");
    usable(lane, holders, &check);
}

/// Leftovers of the killed client, such as a lock file, must not block later operations.
fn usable(lane: &Lane, holders: usize, check: &dyn Fn(bool, &str)) {
    lane.cluster.nodes().iter().for_each(Node::clear_faults);
    let words: &[&str] = if holders == 0 { &["create", GROUP] } else { &["delete", GROUP, "--yes"] };
    let ran = lane.client.run(words);
    check(ran.exit == Some(0), "the group cannot be worked on any more");
    check(lane.holders() == NODES - holders, "the next operation did not do what it said");
    check(lane.client.files().0.is_empty(), "the next operation left something in the journal");
}

/// Some of the points, drawn with a seed; each system call of each scenario keeps one at least.
fn sample(mut points: Vec<Point>, size: usize, seed: u64) -> Vec<Point> {
    fastrand::Rng::with_seed(seed).shuffle(&mut points);
    let mut met = BTreeSet::new();
    let matters = ["unlink", "rename", "linkat", "fsync", "flock", "sendto", "recvfrom", "write", "connect"];
    let weight = |point: &Point| {
        let first = met.insert((point.scenario, point.syscall.clone()));
        let matters = matters.contains(&point.syscall.as_str());
        usize::from(!(first && matters)) + usize::from(!matters)
    };
    points.sort_by_cached_key(weight);
    points.truncate(size);
    points
}

#[test]
fn recovery_after_a_kill_anywhere_leaves_the_group_on_all_hosts_or_none() {
    if !strace_works() {
        return;
    }
    let first = Lane::open();
    let points_of =
        |(number, scenario): (_, &Scenario)| points_of(&first, number, || first.prepare(scenario), scenario.words);
    let all: Vec<Point> = SCENARIOS.iter().enumerate().flat_map(points_of).collect();
    let (seed, full) = (setting("KILL_SEED", 1), std::env::var("KILL").is_ok_and(|which| which == "all"));
    let syscalls: BTreeSet<&str> = all.iter().map(|point| point.syscall.as_str()).collect();
    println!("{} system calls, {} kill points: {syscalls:?}", syscalls.len(), all.len());
    let points = if full { all } else { sample(all, 400, seed) };
    let points = vec![points; usize::try_from(setting("KILL_REPEAT", 1)).unwrap()].concat();
    let figures = Figures::default();
    let lanes = usize::try_from(setting("KILL_LANES", 3)).unwrap();
    let began = std::time::Instant::now();
    spread(&points, lanes, |_| Lane::open(), |lane, point| round(lane, point, &figures));
    let form = if full { "all".into() } else { format!("a sample, KILL_SEED={seed}") };
    println!("kill enumeration ({form}, {} rounds, {:.1?}):\n{figures}", points.len(), began.elapsed());
    let disagreed = SCENARIOS.iter().map(|s| figures.get(&format!("{}: hosts disagreed before recovery", s.name)));
    assert!(disagreed.sum::<u64>() > 0, "no kill left a partial state: nothing was proved");
    assert_eq!(figures.violations(), Vec::<String>::new());
}

// --- many groups at once, which share the syncs of the journal and so its files

const BULK: [&str; 2] = ["create", "delete"];
const GROUPS: usize = 24;
/// A thread at work for many groups makes the same calls again and again.
const MOST_OF_A_CALL: usize = 30;

fn bulk() -> Vec<String> {
    (0..GROUPS).map(|number| format!("bulk-{number}")).collect()
}

fn bulk_words<'a>(command: &'a str, groups: &'a [String]) -> Vec<&'a str> {
    let words: &[&str] = if command == "delete" { &["delete", "--yes"] } else { &["create"] };
    words.iter().copied().chain(groups.iter().map(String::as_str)).collect()
}

impl Lane {
    fn prepare_bulk(&self, command: &str) {
        self.client.empty_journal();
        for node in self.cluster.nodes() {
            node.clear_faults();
            node.clear_log();
            node.insert(FOREIGN);
            for group in bulk() {
                if command == "delete" {
                    node.insert(&group)
                } else {
                    node.remove(&group)
                };
            }
        }
    }

    /// Of each group of the bulk.
    fn after_bulk(&self) -> BTreeMap<String, After> {
        let after = |group: &String| After {
            holders: self.cluster.holders(group).len(),
            intent: self.client.intent(group).exists(),
        };
        bulk().into_iter().map(|group| (group.clone(), after(&group))).collect()
    }
}

fn bulk_round(lane: &Lane, point: &Point, figures: &Figures) {
    let (command, groups) = (BULK[point.scenario], bulk());
    lane.prepare_bulk(command);
    let ran = killed_at(point, lane, &bulk_words(command, &groups));
    let killed = lane.after_bulk();
    figures.count(format!("bulk {command}: kill points"));
    if ran.exit.is_none() {
        figures.count(format!("bulk {command}: killed there"));
    }
    let links = |group: &String| std::fs::metadata(lane.client.intent(group)).map_or(0, |found| found.nlink());
    figures
        .add(format!("bulk {command}: kills that left shared files"), u64::from(groups.iter().any(|g| links(g) > 1)));
    let recovered = lane.client.run(&["recover"]);
    lane.quiet();
    let settled = lane.after_bulk();
    let again = lane.client.run(&["recover"]);
    let expect = |group: &str, holds: bool, what: &str| {
        figures.expect(holds, || {
            let of_group =
                |ran: &Ran| ran.stdout.lines().find(|line| line.contains(&format!("{group:?}"))).map(str::to_owned);
            format!(
                "bulk {command}: killed at {} {}: {group}: {what}; command {:?} {:?}; recovery {:?} {:?}; journal {:?}",
                point.syscall,
                point.nth,
                ran.exit,
                of_group(&ran),
                recovered.exit,
                of_group(&recovered),
                lane.client.files()
            )
        });
    };
    expect("all", recovered.exit == Some(0), "recovery says that something is left");
    expect("all", again.exit == Some(0) && again.stdout.is_empty(), "a second recovery finds something");
    expect(FOREIGN, lane.cluster.all_have(FOREIGN), "a foreign group was touched");
    for (group, killed) in &killed {
        let whole = |after: &After| matches!(after.holders, 0 | NODES);
        expect(group, whole(&settled[group]), "the hosts disagree");
        expect(group, !settled[group].intent, "an intent is left");
        expect(group, killed.intent || whole(killed), "they disagreed, and nothing in the journal said so");
        figures.add(format!("bulk {command}: groups on some hosts before recovery"), u64::from(!whole(killed)));
        figures.add(format!("bulk {command}: intents left"), u64::from(killed.intent));
    }
    for line in all_acknowledged(&ran) {
        let group = line["group"].as_str().unwrap();
        let wanted = match outcome(&line) {
            "created" => NODES,
            "deleted" => 0,
            _ => usize::MAX,
        };
        figures.count(format!("bulk {command}: acknowledged before the kill"));
        let (killed, settled) = (&killed[group], &settled[group]);
        expect(group, [killed.holders, settled.holders] == [wanted; 2], "what was acknowledged is not so");
        expect(group, !killed.intent, "it was acknowledged before the journal was settled");
    }
}

#[test]
fn recovery_after_a_kill_of_a_bulk_leaves_each_group_on_all_hosts_or_none() {
    if !strace_works() {
        return;
    }
    let (first, groups) = (Lane::open(), bulk());
    let points_of = |(number, command): (_, &&'static str)| {
        points_of(&first, number, || first.prepare_bulk(command), &bulk_words(command, &groups))
    };
    let mut all: Vec<Point> = BULK.iter().enumerate().flat_map(points_of).collect();
    all.retain(|point| point.nth <= MOST_OF_A_CALL);
    assert!(all.iter().any(|point| point.syscall == "linkat"), "no two intents were written together");
    let (seed, full) = (setting("KILL_SEED", 1), std::env::var("KILL").is_ok_and(|which| which == "all"));
    let points = if full { all } else { sample(all, 60, seed) };
    let figures = Figures::default();
    let lanes = usize::try_from(setting("KILL_LANES", 3)).unwrap();
    spread(&points, lanes, |_| Lane::open(), |lane, point| bulk_round(lane, point, &figures));
    println!("kill enumeration of a bulk ({} rounds):\n{figures}", points.len());
    let left = BULK.map(|command| figures.get(&format!("bulk {command}: intents left")));
    assert!(left.iter().all(|left| *left > 0), "no kill left an intent: nothing was proved");
    let shared = BULK.map(|command| figures.get(&format!("bulk {command}: kills that left shared files")));
    assert!(shared.iter().sum::<u64>() > 0, "no kill left a file of several groups: nothing was proved of them");
    assert_eq!(figures.violations(), Vec::<String>::new());
}
