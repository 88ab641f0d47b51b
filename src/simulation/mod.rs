//! The exhaustive simulation: the real protocol code against simulated hosts, store and clock, under every
//! schedule of up to so many faults, with the invariants of PROTOCOL.md checked in each.
//!
//! ```text
//! cargo test --lib simulation                                       a few seconds
//! cargo test --release --lib simulation -- --nocapture              the part for CI, with figures
//! cargo test --release --lib simulation -- --nocapture --ignored    the whole
//! SIM_REPLAY='create 3 12=3,40=1' cargo test --lib simulation::replay -- --nocapture
//! SIM_SEED=1 SIM_RUNS=1000000 cargo test --release --lib simulation::random -- --nocapture
//! ```
//!
//! A *schedule* is the list of answers to the questions of [`schedule::Choices`]; its faults are the answers
//! other than 0. Answers are delivered in the order of sending unless a fault is spent on another order
//! (delay-bounded scheduling: Emmi, Qadeer, Rakamarić, POPL 2011), and time moves only when nothing else can.
//! A failure prints the invariant, what was seen, and the shortest schedule with its story.
//!
//! What the world assumes, and so what is not shown here:
//! * A request takes effect at most S after its failure was seen (L = S).
//! * A stale read shows a host as it was before the last change that this operation made there, less than S
//!   after it, and never across a later request of ours to change it. A GET is else the truth.
//! * Nobody else works on the group while we do (A1), but for one who creates it on a host just before our
//!   first POST there: then I3 is claimed for a refusal that a living machine has seen.
//! * A request of an operation that had ended well (a DELETE of a finished rollback, a POST of a committed
//!   create) may land in the middle of a later operation on the same group. Such stragglers are counted, and
//!   the host is not looked at any more.

mod driver;
mod oracle;
mod planted;
mod schedule;
mod world;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use self::driver::{Driver, End, Planned, Run, Scenario, Setting};
use self::oracle::Invariant;
use self::schedule::{Choices, Faults};
use crate::protocol::{Rules, Sound};
use crate::report::{Operation, Target};

const fn plan(operation: Operation) -> Planned {
    Planned { operation, preflight: true }
}

const CREATE: Planned = plan(Operation::Create);
const BLIND: Planned = Planned { operation: Operation::Create, preflight: false };
const DELETE: Planned = plan(Operation::Delete);
const STATUS: Planned = plan(Operation::Status);
const TO_PRESENT: Planned = plan(Operation::Repair(Target::Present));
const TO_ABSENT: Planned = plan(Operation::Repair(Target::Absent));

const fn scenario(name: &'static str, plan: &'static [Planned], present: bool) -> Scenario {
    Scenario { name, plan, present }
}

/// Recovery stands at the end of every one of them.
const SCENARIOS: [Scenario; 13] = [
    scenario("create", &[CREATE], false),
    scenario("blind-create", &[BLIND], false),
    scenario("delete", &[DELETE], true),
    scenario("status", &[STATUS], true),
    scenario("repair-present", &[TO_PRESENT], true),
    scenario("repair-absent", &[TO_ABSENT], true),
    scenario("create-delete", &[CREATE, DELETE], false),
    scenario("create-create", &[CREATE, CREATE], false),
    scenario("blind-create-create", &[BLIND, CREATE], false),
    scenario("create-repair-present", &[CREATE, TO_PRESENT], false),
    scenario("create-repair-absent", &[CREATE, TO_ABSENT], false),
    scenario("delete-create", &[DELETE, CREATE], true),
    scenario("delete-repair-present", &[DELETE, TO_PRESENT], true),
];

/// A schedule that breaks an invariant.
#[derive(Debug, Clone)]
struct Failure {
    scenario: Scenario,
    hosts: usize,
    invariant: Invariant,
    what: &'static str,
    faults: Faults,
}

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    schedules: u64,
    ends: [u64; End::COUNT],
    stragglers: u64,
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        self.schedules += other.schedules;
        self.stragglers += other.stragglers;
        for (mine, theirs) in self.ends.iter_mut().zip(&other.ends) {
            *mine += theirs;
        }
    }

    fn count(&mut self, run: &Run<'_>) {
        self.schedules += 1;
        self.stragglers += u64::from(run.world.stragglers > 0);
        for (mine, theirs) in self.ends.iter_mut().zip(&run.ends) {
            *mine += u64::from(*theirs);
        }
    }

    fn print(&self, what: &str, began: Instant) {
        let seconds = began.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "it is a rate for people")]
        let rate = self.schedules as f64 / seconds.max(1e-9);
        println!("{what}: {} schedules in {seconds:.1} s, {rate:.0} a second", self.schedules);
        let ends = End::ALL.iter().filter(|end| self.ends[**end as usize] > 0);
        let ends: Vec<_> = ends.map(|end| format!("{end:?} {}", self.ends[*end as usize])).collect();
        println!("    {}; late stragglers {}", ends.join(", "), self.stragglers);
    }
}

/// What is looked for: anything, or one invariant only.
type Wanted = Option<Invariant>;

/// Plays one schedule. A panic of the machine is a breach of I10.
fn play<R: Rules>(run: &mut Run<'_>, scenario: &Scenario) {
    if catch_unwind(AssertUnwindSafe(|| run.play::<R>(scenario))).is_err() {
        run.world.breach(Invariant::I10, "the machine panicked");
    }
}

fn failure(run: &Run<'_>, scenario: &Scenario, wanted: Wanted) -> Option<Failure> {
    let found = &run.world.breaches.found;
    let (invariant, what) = *found.iter().find(|(invariant, _)| wanted.is_none_or(|wanted| wanted == *invariant))?;
    let (hosts, faults) = (run.world.sites.len(), run.world.choices.faults().clone());
    Some(Failure { scenario: *scenario, hosts, invariant, what, faults })
}

/// Plays every schedule of one part of the tree.
fn sweep<R: Rules>(
    setting: &Setting,
    scenario: &Scenario,
    mut choices: Choices,
    wanted: Wanted,
    stop: &AtomicBool,
) -> (Tally, Option<Failure>, Choices) {
    let mut tally = Tally::default();
    loop {
        let mut run = Run::new(setting, choices, false);
        play::<R>(&mut run, scenario);
        tally.count(&run);
        if let Some(failure) = failure(&run, scenario, wanted) {
            stop.store(true, Ordering::Relaxed);
            return (tally, Some(failure), run.world.choices);
        }
        choices = run.world.choices;
        if stop.load(Ordering::Relaxed) || !choices.advance() {
            return (tally, None, choices);
        }
    }
}

/// Plays every schedule of up to `budget` faults, on all cores.
fn explore<R: Rules>(
    setting: &Setting,
    scenario: &Scenario,
    budget: usize,
    wanted: Wanted,
) -> (Tally, Option<Failure>) {
    let stop = AtomicBool::new(false);
    let root = Choices::subtree(budget, &[]);
    let mut first = Run::new(setting, root, false);
    play::<R>(&mut first, scenario);
    let mut tally = Tally::default();
    tally.count(&first);
    if let Some(failure) = failure(&first, scenario, wanted) {
        return (tally, Some(failure));
    }
    let parts = first.world.choices.first_faults();
    let next = AtomicUsize::new(0);
    let result = Mutex::new((tally, None));
    let worker = || {
        while let Some(path) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            let choices = Choices::subtree(budget, path);
            let (tally, failure, _) = sweep::<R>(setting, scenario, choices, wanted, &stop);
            let mut result = result.lock().expect("no worker panics");
            result.0.add(&tally);
            result.1 = result.1.take().or(failure);
            if stop.load(Ordering::Relaxed) {
                return;
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(worker);
        }
    });
    result.into_inner().expect("no worker panics")
}

/// Looks for a failure with as few faults as possible.
fn shortest<R: Rules>(setting: &Setting, scenario: &Scenario, budget: usize, wanted: Wanted) -> Option<Failure> {
    (0..=budget).find_map(|budget| explore::<R>(setting, scenario, budget, wanted).1)
}

/// The story of a failure, and how to see it again.
fn story<R: Rules>(setting: &Setting, failure: &Failure) -> String {
    let Failure { scenario, hosts, invariant, what, faults } = failure;
    let mut run = Run::new(setting, Choices::replay(faults), true);
    play::<R>(&mut run, scenario);
    let story = run.world.breaches.story.unwrap_or_default().join("\n");
    let replay = format!("SIM_REPLAY='{} {hosts} {}'", scenario.name, schedule::write(faults));
    format!("{invariant:?}: {what}, with {} faults\n{story}\nto see it again: {replay}", faults.len())
}

fn check(scenario: &Scenario, hosts: usize, budget: usize) -> Tally {
    let setting = Setting::new(hosts, Driver::Right);
    let began = Instant::now();
    let (tally, failure) = explore::<Sound>(&setting, scenario, budget, None);
    if let Some(failure) = failure {
        let shorter = shortest::<Sound>(&setting, scenario, failure.faults.len(), Some(failure.invariant));
        panic!("{}", story::<Sound>(&setting, &shorter.unwrap_or(failure)));
    }
    tally.print(&format!("{} on {hosts} hosts, up to {budget} faults", scenario.name), began);
    tally
}

/// Every scenario, with so many faults on 1, 2 and 3 hosts.
fn check_all(budgets: [usize; 3]) -> Tally {
    let began = Instant::now();
    let mut total = Tally::default();
    for scenario in &SCENARIOS {
        for (hosts, budget) in (1..).zip(budgets) {
            total.add(&check(scenario, hosts, budget));
        }
    }
    total.print("in all", began);
    total
}

/// An exploration that never sees one of the endings would prove nothing about it.
fn assert_all_ends(tally: &Tally) {
    for end in End::ALL {
        assert!(tally.ends[end as usize] > 0, "no schedule ended in {end:?}");
    }
}

#[test]
fn every_schedule_of_few_faults() {
    let budgets = if cfg!(debug_assertions) { [2, 1, 1] } else { [3, 2, 2] };
    assert_all_ends(&check_all(budgets));
}

#[test]
#[ignore = "the whole takes long"]
fn every_schedule_of_four_faults() {
    assert_all_ends(&check_all([4, 4, 4]));
}

/// `SIM_REPLAY='create 3 12=3,40=1'`: one schedule and its story.
#[test]
fn replay() {
    let Ok(text) = env::var("SIM_REPLAY") else { return };
    let mut words = text.split(' ');
    let name = words.next().unwrap_or_default();
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name).expect("the name of a scenario");
    let hosts = words.next().and_then(|hosts| hosts.parse().ok()).expect("a number of hosts");
    let faults = schedule::parse(words.next().unwrap_or_default()).expect("faults as 12=3,40=1");
    let setting = Setting::new(hosts, Driver::Right);
    let mut run = Run::new(&setting, Choices::replay(&faults), true);
    play::<Sound>(&mut run, scenario);
    println!("{}", run.world.breaches.story.unwrap_or_default().join("\n"));
    assert!(run.world.breaches.found.is_empty(), "{:?}", run.world.breaches.found);
}
