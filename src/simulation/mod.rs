//! The exhaustive simulation: the real protocol code with simulated hosts, journal and clock. It runs every schedule
//! up to a number of faults, and checks the invariants of `docs/protocol.md` in each.
//!
//! ```text
//! cargo test --lib simulation                                       few faults
//! cargo test --release --lib simulation -- --nocapture              the part for CI, with counts
//! cargo test --release --lib four_faults -- --nocapture --ignored   all schedules of four faults
//! SIM_ONLY='absent: create' SIM_HOSTS=2 SIM_FAULTS=3 cargo ...       a part of them, or SIM_ONLY=leased
//! SIM_REPLAY='3 absent: create; 12=3,40=1' cargo test --lib simulation::replay -- --nocapture
//! SIM_SEED=1 SIM_RUNS=1000000 cargo test --release --lib simulation::random -- --nocapture
//! ```
//!
//! A *schedule* is the list of answers to the questions of [`schedule::Choices`]; its faults are the answers
//! other than 0. Replies are delivered in the order of sending; another order costs a fault (delay-bounded
//! scheduling: Emmi, Qadeer, Rakamarić, POPL 2011). Time moves only if nothing else can happen. A failure prints the
//! invariant, the violation, and the shortest schedule with its trace.
//!
//! Assumptions of the world, beyond which nothing is shown here:
//! * Lateness: a request takes effect, and every replica shows it, at most S after its failure was seen (L = S).
//! * An answered request takes effect before the answer or never. Answers 502, 504 and above 511 of a gateway are excepted.
//! * Lag: a replica misses any other change for less than S, whatever was asked in between. Reads through it show the
//!   older state. A DELETE through it is answered 404 and not applied.
//! * Lies: a host that answers 200 or 201 to what it does not apply has no lagging replica at that time.
//! * A fresh start: an operation that finds nothing unfinished begins S after the last change, or meets no lagging
//!   replica.
//! * Mappings: the hosts of the scenarios `mapped` create by overwriting, tell by the body of a 200 whether the group is
//!   there, and may say for any time that it is changing. What a mapping does not list may have been applied or not.
//! * Leases: in the scenarios `leased` a claim ends by itself. A request starts at the time at which its start was decided:
//!   a pause between the two is excluded. The lock is free no earlier than its owner knows.
//! * Locks (A1): no other client works on the group without the lock. One exception: it may create the group on a host just
//!   before our first POST there. Then I3 is checked for a refusal that the machine has received.

mod cost;
mod driver;
mod lease;
mod mutants;
mod oracle;
mod schedule;
mod world;

use std::cell::Cell;
use std::env;
use std::ops::RangeInclusive;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, Once};
use std::thread;
use std::time::Instant;

use self::driver::{DriverMutant, End, Planned, Run, Scenario, Setting};
use self::oracle::Invariant;
use self::schedule::{Choices, Faults};
use crate::protocol::{Rules, Sound};

/// The operations of each run. A recovery follows at the end.
const SCENARIOS: [&str; 26] = [
    "absent: create",
    "absent: repair-present delete",
    "absent: blind-create",
    "present: delete",
    "present: status",
    "present: repair-present",
    "present: repair-absent",
    "absent: create delete",
    "absent: create create",
    "absent: blind-create create",
    "absent: create repair-present",
    "absent: create repair-absent",
    "present: delete create",
    "present: delete repair-present",
    "mapped absent: create",
    "mapped absent: blind-create",
    "mapped present: delete",
    "mapped present: status",
    "mapped present: repair-present",
    "mapped absent: create delete",
    "mapped absent: create repair-absent",
    "leased absent: create",
    "leased absent: blind-create",
    "leased present: delete",
    "leased present: repair-present",
    "leased present: repair-absent",
];

fn scenarios() -> Vec<Scenario> {
    SCENARIOS.iter().map(|text| Scenario::parse(text).expect("it is well written")).collect()
}

/// A schedule that breaks an invariant.
#[derive(Debug, Clone)]
struct Counterexample {
    scenario: Scenario,
    hosts: usize,
    invariant: Invariant,
    what: &'static str,
    faults: Faults,
}

#[derive(Debug, Default, Clone, Copy)]
struct Stats {
    schedules: u64,
    ends: [u64; End::ALL.len()],
}

impl Stats {
    fn add(&mut self, other: &Stats) {
        self.schedules += other.schedules;
        for (mine, theirs) in self.ends.iter_mut().zip(&other.ends) {
            *mine += theirs;
        }
    }

    fn count(&mut self, run: &Run<'_>) {
        self.schedules += 1;
        for (mine, theirs) in self.ends.iter_mut().zip(&run.ends) {
            *mine += u64::from(*theirs);
        }
    }

    fn print(&self, what: &str, began: Instant) {
        let seconds = began.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "it is a rate for people")]
        let rate = self.schedules as f64 / seconds.max(1e-9);
        println!("{what}: {} schedules in {seconds:.1} s, {rate:.0} a second", self.schedules);
        let ends = End::ALL.iter().zip(self.ends).filter(|(_, count)| *count > 0);
        let ends: Vec<_> = ends.map(|(end, count)| format!("{end} {count}")).collect();
        println!("    {}", ends.join(", "));
    }
}

/// The violation to look for: any, or one of this invariant whose text contains these words.
type Wanted = Option<(Invariant, &'static str)>;

thread_local! {
    /// A panic on this thread is caught and counted, so the hook prints nothing.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

fn silence_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let default_hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                default_hook(info);
            }
        }));
    });
}

/// Plays one schedule. A panic of the machine is a violation of I10; only a trace prints it.
fn play<R: Rules>(run: &mut Run<'_>, scenario: &Scenario) {
    QUIET.set(run.world.violations.trace.is_none());
    let panicked = catch_unwind(AssertUnwindSafe(|| run.play::<R>(scenario))).is_err();
    QUIET.set(false);
    if panicked {
        run.world.violation(Invariant::I10, "the machine panicked");
    }
}

fn failure(run: &Run<'_>, scenario: &Scenario, wanted: Wanted) -> Option<Counterexample> {
    let found = &run.world.violations.found;
    let fits = |(invariant, what): &&(Invariant, &'static str)| {
        wanted.is_none_or(|(wanted, words)| wanted == *invariant && what.contains(words))
    };
    let (invariant, what) = *found.iter().find(fits)?;
    let (hosts, faults) = (run.world.nodes.len(), run.world.choices.faults().clone());
    Some(Counterexample { scenario: scenario.clone(), hosts, invariant, what, faults })
}

/// Plays every schedule of one subtree.
fn sweep<R: Rules>(
    setting: &Setting,
    scenario: &Scenario,
    mut choices: Choices,
    wanted: Wanted,
    stop: &AtomicBool,
) -> (Stats, Option<Counterexample>, Choices) {
    let mut stats = Stats::default();
    loop {
        let mut run = Run::new(setting, choices, false);
        play::<R>(&mut run, scenario);
        stats.count(&run);
        if let Some(failure) = failure(&run, scenario, wanted) {
            stop.store(true, Ordering::Relaxed);
            return (stats, Some(failure), run.world.choices);
        }
        choices = run.world.choices;
        if stop.load(Ordering::Relaxed) || !choices.advance() {
            return (stats, None, choices);
        }
    }
}

/// Plays every schedule of up to `budget` faults, on all cores.
fn explore<R: Rules>(
    setting: &Setting,
    scenario: &Scenario,
    budget: usize,
    wanted: Wanted,
) -> (Stats, Option<Counterexample>) {
    silence_panics();
    let stop = AtomicBool::new(false);
    let root = Choices::subtree(budget, &[]);
    let mut first = Run::new(setting, root, false);
    play::<R>(&mut first, scenario);
    let mut stats = Stats::default();
    stats.count(&first);
    if let Some(failure) = failure(&first, scenario, wanted) {
        return (stats, Some(failure));
    }
    let parts = first.world.choices.first_faults();
    let next = AtomicUsize::new(0);
    let result = Mutex::new((stats, None));
    let worker = || {
        while let Some(path) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            let choices = Choices::subtree(budget, path);
            let (stats, failure, _) = sweep::<R>(setting, scenario, choices, wanted, &stop);
            let mut result = result.lock().expect("no worker panics");
            result.0.add(&stats);
            result.1 = result.1.take().or(failure);
            if stop.load(Ordering::Relaxed) {
                return;
            }
        }
    };
    on_all_cores(worker);
    result.into_inner().expect("no worker panics")
}

fn on_all_cores(worker: impl Fn() + Sync) {
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(&worker);
        }
    });
}

/// Looks for a failure with as few faults as possible.
fn shortest<R: Rules>(
    setting: &Setting,
    scenario: &Scenario,
    mut budgets: RangeInclusive<usize>,
    wanted: Wanted,
) -> Option<Counterexample> {
    budgets.find_map(|budget| explore::<R>(setting, scenario, budget, wanted).1)
}

/// Whether these faults break the invariant of the failure, in the same words.
fn breaks<R: Rules>(setting: &Setting, failed: &Counterexample, faults: &[(usize, usize)]) -> bool {
    let mut run = Run::new(setting, Choices::replay(faults), false);
    play::<R>(&mut run, &failed.scenario);
    failure(&run, &failed.scenario, Some((failed.invariant, failed.what))).is_some()
}

/// The trace of a failure, and the command that replays it.
fn trace<R: Rules>(setting: &Setting, failure: &Counterexample) -> String {
    let Counterexample { scenario, hosts, invariant, what, faults } = failure;
    let mut run = Run::new(setting, Choices::replay(faults), true);
    play::<R>(&mut run, scenario);
    let trace = run.world.violations.trace.unwrap_or_default().join("\n");
    let replay = format!("SIM_REPLAY='{hosts} {}; {}'", scenario.text, schedule::write(faults));
    format!("{invariant:?}: {what}, with {} faults\n{trace}\nto replay: {replay}", faults.len())
}

fn check(scenario: &Scenario, hosts: usize, budget: usize) -> Stats {
    let setting = Setting::new(hosts, DriverMutant::Right);
    let began = Instant::now();
    let (stats, failure) = explore::<Sound>(&setting, scenario, budget, None);
    if let Some(failure) = failure {
        let shorter =
            shortest::<Sound>(&setting, scenario, 0..=failure.faults.len(), Some((failure.invariant, failure.what)));
        panic!("{}", trace::<Sound>(&setting, &shorter.unwrap_or(failure)));
    }
    stats.print(&format!("{} on {hosts} hosts, up to {budget} faults", scenario.text), began);
    stats
}

/// Checks the scenarios that `SIM_ONLY` names, or all, with these numbers of faults on 1, 2 and 3 hosts.
fn check_all(budgets: impl Fn(&Scenario) -> [usize; 3]) {
    let began = Instant::now();
    let only = env::var("SIM_ONLY").unwrap_or_default();
    let most_hosts = usize::try_from(number("SIM_HOSTS", 3)).expect("a small number");
    let mut total = Stats::default();
    for scenario in scenarios().iter().filter(|scenario| only.is_empty() || scenario.is_called(&only)) {
        for (hosts, budget) in (1..=most_hosts).zip(budgets(scenario)) {
            total.add(&check(scenario, hosts, budget));
        }
    }
    total.print("in all", began);
    if only.is_empty() {
        assert_all_ends(&total);
    }
}

/// An exploration that never reaches one of the endings proves nothing about it.
fn assert_all_ends(stats: &Stats) {
    for (end, count) in End::ALL.iter().zip(stats.ends) {
        assert!(count > 0, "no schedule ended in {end}");
    }
}

#[test]
fn every_schedule_of_few_faults() {
    check_all(|scenario| match (scenario.is_mapped(), scenario.is_single()) {
        (_, is_single) if cfg!(debug_assertions) => [if is_single { 2 } else { 1 }, 1, 1],
        _ if scenario.is_leased() => [2, 2, 1],
        (true, false) => [2, 2, 1],
        _ => [3, 2, 2],
    });
}

/// Every schedule of up to 4 faults for each single operation, with its crashes and recoveries. Two operations in
/// sequence get 4 faults on one host, and 3 on two and three. With a mapping, or under a lease, it is one fault less.
#[test]
#[ignore = "runs long"]
fn every_schedule_of_four_faults() {
    let most = usize::try_from(number("SIM_FAULTS", 4)).expect("a small number");
    check_all(|scenario| {
        // Hosts with a mapping have more to say, and are checked more often. Under a lease, a second coordinator works.
        let most = if scenario.is_mapped() || scenario.is_leased() { most - 1 } else { most };
        if scenario.is_single() { [most; 3] } else { [most, most - 1, most - 1] }
    });
}

/// Plays the schedule of `SIM_REPLAY` and prints its trace.
#[test]
fn replay() {
    let Ok(text) = env::var("SIM_REPLAY") else { return };
    let read = |text: &str| {
        let (scenario, faults) = text.split_once(';')?;
        let (hosts, scenario) = scenario.split_once(' ')?;
        Some((hosts.parse().ok()?, Scenario::parse(scenario)?, schedule::parse(faults.trim())?))
    };
    let (hosts, scenario, faults) = read(&text).expect("hosts, scenario; faults");
    let setting = Setting::new(hosts, DriverMutant::Right);
    let mut run = Run::new(&setting, Choices::replay(&faults), true);
    play::<Sound>(&mut run, &scenario);
    println!("{}", run.world.violations.trace.unwrap_or_default().join("\n"));
    assert!(run.world.violations.found.is_empty(), "{:?}", run.world.violations.found);
}

/// A number from the environment, or the default.
fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// Schedules drawn from a seed, with more hosts, more faults and more operations on one group.
#[test]
fn random_schedules() {
    let seed = number("SIM_SEED", 20_261_123);
    let runs = number("SIM_RUNS", if cfg!(debug_assertions) { 5_000 } else { 1_000_000 });
    let began = Instant::now();
    let all_stats = Mutex::new(Stats::default());
    let next = AtomicU64::new(0);
    let worker = || {
        let settings: Vec<_> = (1..=6).map(|hosts| Setting::new(hosts, DriverMutant::Right)).collect();
        let mut stats = Stats::default();
        loop {
            let run = next.fetch_add(1, Ordering::Relaxed);
            if run >= runs {
                break all_stats.lock().expect("no other worker has panicked").add(&stats);
            }
            play_drawn(&settings, seed.wrapping_add(run), &mut stats);
        }
    };
    on_all_cores(worker);
    let stats = all_stats.into_inner().expect("no worker has panicked");
    stats.print(&format!("random from seed {seed}, up to 6 hosts and 10 faults"), began);
    assert_all_ends(&stats);
}

fn play_drawn(settings: &[Setting], seed: u64, stats: &mut Stats) {
    let mut random = fastrand::Rng::with_seed(seed);
    let setting = &settings[random.usize(..settings.len())];
    let words: Vec<_> =
        (0..random.usize(1..=4)).map(|_| Planned::WORDS[random.usize(..Planned::WORDS.len())]).collect();
    let start = if random.bool() { "present" } else { "absent" };
    let dialect = if random.u8(..4) == 0 { "mapped " } else { "" };
    let lock = if random.u8(..3) == 0 { "leased " } else { "" };
    let scenario =
        Scenario::parse(&format!("{lock}{dialect}{start}: {}", words.join(" "))).expect("it is well written");
    let choices = Choices::random(random.u64(..), random.usize(1..=10), random.usize(5..40));
    let mut run = Run::new(setting, choices, false);
    play::<Sound>(&mut run, &scenario);
    stats.count(&run);
    if let Some(mut failure) = failure(&run, &scenario, None) {
        failure.faults = schedule::shorten(&failure.faults, |faults| breaks::<Sound>(setting, &failure, faults));
        // Without a fault the later questions have other numbers, so search again with fewer faults.
        let fewer = 0..=failure.faults.len().saturating_sub(1).min(2);
        let wanted = Some((failure.invariant, failure.what));
        let shorter = shortest::<Sound>(setting, &scenario, fewer, wanted).unwrap_or(failure);
        panic!("seed {seed}: {}", trace::<Sound>(setting, &shorter));
    }
}
