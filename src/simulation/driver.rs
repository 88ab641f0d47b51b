//! One run: the operations of a scenario, one after another, in one world, by the steps of the real driver. Crashes,
//! cancellations and stalls between two steps are choices of the schedule.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::oracle::{Invariant, bound};
use super::schedule::Choices;
use super::world::{Dialect, Owner, SETTLE, TIMEOUT, World};
use crate::api::Api;
use crate::protocol::{Input, Limits, Machine, Output, Rules};
use crate::values::api::Call;
use crate::values::authorized::AuthorizedHosts;
use crate::values::group::GroupId;
use crate::values::host::Host;
use crate::values::intent::{Intent, Purpose};
use crate::values::outcome::Outcome;
use crate::values::report::{Operation, Target};
use crate::values::retry::{RetryBudgets, RetryPolicy};
use crate::values::usage::Usage;

pub(super) const OPERATION_TIMEOUT: Duration = Duration::from_millis(300);
const ROLLBACK_TIMEOUT: Duration = Duration::from_millis(200);
/// Tries of every request, in all phases.
pub(super) const TRIES: u32 = 2;
const TICK: Duration = Duration::from_millis(1);

/// An operation of a scenario.
#[derive(Debug, Clone, Copy)]
pub(super) struct Planned {
    operation: Operation,
    preflight: bool,
}

impl Planned {
    /// The operations of another coordinator, after the claim of the first was lost.
    pub(super) const OTHERS: [Planned; 3] = [RECOVER, Planned::of(Operation::Create), Planned::of(Operation::Delete)];

    pub(super) const WORDS: [&'static str; 7] =
        ["create", "blind-create", "delete", "status", "repair-present", "repair-absent", "recover"];

    const fn of(operation: Operation) -> Self {
        Planned { operation, preflight: true }
    }

    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "create" => Planned::of(Operation::Create),
            "blind-create" => Planned { preflight: false, ..Planned::of(Operation::Create) },
            "delete" => Planned::of(Operation::Delete),
            "status" => Planned::of(Operation::Status),
            "repair-present" => Planned::of(Operation::Repair(Target::Present)),
            "repair-absent" => TO_ABSENT,
            "recover" => RECOVER,
            _ => return None,
        })
    }
}

const RECOVER: Planned = Planned::of(Operation::Recover);
const TO_ABSENT: Planned = Planned::of(Operation::Repair(Target::Absent));

/// The operations of a run, one after another on one group.
#[derive(Debug, Clone)]
pub(super) struct Scenario {
    /// The initial state of the hosts and the operations, for example `present: delete create`. Before it `mapped` for
    /// hosts with another API, or `leased` for claims that end by themselves.
    pub(super) text: String,
    plan: Vec<Planned>,
    present: bool,
    dialect: Dialect,
    is_leased: bool,
}

impl Scenario {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (start, words) = text.split_once(": ")?;
        let plan = words.split(' ').map(Planned::parse).collect::<Option<_>>()?;
        let (is_leased, start) = start.strip_prefix("leased ").map_or((false, start), |start| (true, start));
        let (dialect, start) = match start.strip_prefix("mapped ") {
            Some(start) => (Dialect::Mapped, start),
            None => (Dialect::Node, start),
        };
        Some(Scenario { text: text.into(), plan, present: start == "present", dialect, is_leased })
    }

    /// Whether this is its text, or the first word of it.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.text == name || self.text.split(' ').next() == Some(name)
    }

    pub(super) fn is_mapped(&self) -> bool {
        self.dialect == Dialect::Mapped
    }

    pub(super) fn is_leased(&self) -> bool {
        self.is_leased
    }

    pub(super) fn is_single(&self) -> bool {
        self.plan.len() == 1
    }
}

/// A wrong driver, which the oracle must detect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DriverMutant {
    Right,
    /// Reports an intent as recorded, and does not record it.
    SkipsStore,
    /// Reports that the group has no intent.
    HidesIntent,
    /// Gives the machine no settle time.
    NeverSettles,
    /// Counts a 2xx that the mapping does not list as a success.
    BelievesUnlisted,
    /// Decides by the status of an answer whose body is cut.
    BelievesCutBody,
    /// Changes the intent of another coordinator.
    NoFence,
}

/// The end of a machine, for the counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Ended(Outcome),
    Crashed,
}

impl End {
    /// Every end of a machine. Nothing is refused or forgotten by it.
    pub(super) const ALL: [End; 17] = [
        End::Ended(Outcome::Created),
        End::Ended(Outcome::Deleted),
        End::Ended(Outcome::Repaired),
        End::Ended(Outcome::Observed),
        End::Ended(Outcome::Recovered),
        End::Ended(Outcome::AlreadyExists),
        End::Ended(Outcome::Unavailable),
        End::Ended(Outcome::RolledBack),
        End::Ended(Outcome::Cancelled),
        End::Ended(Outcome::TimedOut),
        End::Ended(Outcome::Incomplete),
        End::Ended(Outcome::InDoubt),
        End::Ended(Outcome::Unrecorded),
        End::Ended(Outcome::Busy),
        End::Ended(Outcome::Conflict),
        End::Ended(Outcome::JournalFailed),
        End::Crashed,
    ];

    /// The place in [`End::ALL`].
    fn place(self) -> usize {
        End::ALL.iter().position(|end| *end == self).unwrap_or_else(|| panic!("the machine never ends with {self:?}"))
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Ended(outcome) => outcome.fmt(f),
            End::Crashed => f.write_str("crashed"),
        }
    }
}

/// The configuration of all runs.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    names: Arc<[Host]>,
    group: GroupId,
    limits: Limits,
    driver: DriverMutant,
    /// An API of each dialect, and another one.
    node: [Arc<Api>; 2],
    mapped: [Arc<Api>; 2],
    /// The hosts of another configuration.
    elsewhere: Arc<[Host]>,
    authorized: Arc<AuthorizedHosts>,
}

/// The configuration of one operation.
struct Configuration {
    cluster: Arc<[Host]>,
    api: Arc<Api>,
    known: Arc<[Api]>,
    has_credentials: bool,
    settle: Duration,
}

/// The API of [`Dialect::Mapped`], under this path.
fn mapped(path: &str) -> Arc<Api> {
    let path = format!("{path}/{{id}}");
    let check = Call::new("GET", path.clone());
    let check = check.present(["200 /there=true"]).absent(["200 /there=false"]).wait(["200 /there=changing"]);
    let api = Api::builder()
        .name("things")
        .ids("a-z", 8)
        .create(Call::new("PUT", path.clone()).created([201]))
        .check(check)
        .delete(Call::new("DELETE", path).deleted([204]).absent([404]));
    Arc::new(api.build().expect("a good mapping"))
}

impl Setting {
    pub(super) fn new(hosts: usize, driver: DriverMutant) -> Self {
        let host = |at| Host::parse(format!("http://{}", ["a", "b", "c", "d", "e", "f"][at])).expect("a good host");
        // Only checks of a group that is changing get to the longer delays.
        let policy =
            RetryPolicy { attempts: TRIES, first_delay: TICK, factor: 8.0, max_delay: TICK * 128, jitter: false };
        let limits = Limits {
            retry: policy,
            rollback_retry: policy,
            request_timeout: TIMEOUT,
            operation_timeout: Some(OPERATION_TIMEOUT),
            rollback_timeout: ROLLBACK_TIMEOUT,
            settle: if driver == DriverMutant::NeverSettles { Duration::ZERO } else { SETTLE },
        };
        let other = Api::new("/v2/group", "/v2/group/{id}").expect("good paths");
        let names: Arc<[Host]> = (0..hosts).map(host).collect();
        Setting {
            authorized: Arc::new(AuthorizedHosts::new(names.iter().map(Host::origin), [], false)),
            names,
            group: GroupId::parse("g").expect("a good id"),
            limits,
            driver,
            node: [Arc::default(), Arc::new(other)],
            mapped: [mapped("/things"), mapped("/v2/things")],
            elsewhere: Arc::new([Host::parse("http://z").expect("a good host")]),
        }
    }

    pub(super) fn hosts(&self) -> usize {
        self.names.len()
    }
}

/// One run of a scenario.
#[derive(Debug)]
pub(super) struct Run<'a> {
    setting: &'a Setting,
    pub(super) world: World,
    /// The second coordinator has worked.
    pub(super) is_taken_over: bool,
    pub(super) ends: [u32; End::ALL.len()],
}

/// An event between two steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Between {
    Nothing,
    Crash,
    Cancel,
    /// The process is stopped for this time: until the deadline, or until just before it.
    Stall(Duration),
    /// An event of the lease, by its number.
    Lease(usize),
}

impl<'a> Run<'a> {
    pub(super) fn new(setting: &'a Setting, choices: Choices, trace: bool) -> Self {
        let mut world = World::new(Arc::clone(&setting.names), setting.group.clone(), setting.driver, choices);
        world.violations.trace = trace.then(Vec::new);
        Run { setting, world, is_taken_over: false, ends: [0; End::ALL.len()] }
    }

    pub(super) fn play<R: Rules>(&mut self, scenario: &Scenario) {
        self.set_up(scenario);
        for planned in &scenario.plan {
            self.operate::<R>(*planned);
        }
        // This recovery may fail or crash too, while faults are left.
        while self.world.intent.is_some() && self.operate::<R>(RECOVER) == End::Crashed {}
        self.world.heal();
        self.settle::<R>();
    }

    fn set_up(&mut self, scenario: &Scenario) {
        (self.world.dialect, self.world.is_leased) = (scenario.dialect, scenario.is_leased);
        for host in 0..self.world.nodes.len() {
            let other = self.world.choices.choose(2) == 1;
            let owner = if scenario.present { Owner::Settled } else { Owner::Foreign { kept: true } };
            self.world.nodes[host].group = (scenario.present != other).then_some(owner);
            if other {
                let has = if scenario.present { "does not have" } else { "has" };
                self.world.trace(|world| format!("{} {has} the group", world.names[host].authority()));
            }
        }
    }

    /// I6: once faults stop, recovery ends. A create without preflight may need a repair by a person.
    fn settle<R: Rules>(&mut self) {
        // Two passes, because late requests may use up all DELETEs of the first.
        for _ in 0..2 {
            if self.world.intent.is_some() {
                self.operate::<R>(RECOVER);
            }
        }
        let blind = |intent: &Intent| intent.purpose == Purpose::Create { was_absent: false };
        if self.world.intent.as_ref().is_some_and(blind) {
            self.operate::<R>(TO_ABSENT);
        }
        self.world.land_all();
        self.world.check_settled();
    }

    // --- one machine

    pub(super) fn operate<R: Rules>(&mut self, Planned { operation, preflight: planned }: Planned) -> End {
        let Setting { names, group, limits, authorized, .. } = self.setting;
        let began = self.world.now;
        let Configuration { cluster, api, known, has_credentials, settle } = self.configure(operation);
        let limits = Limits { settle, ..limits.clone() };
        // A create that overwrites is never blind.
        let preflight = planned || self.world.dialect == Dialect::Mapped;
        self.world.begin(operation, preflight, &cluster, &api);
        self.world.pass.has_credentials = has_credentials;
        let mut machine: Machine<R> = Machine::with_rules(operation, planned, group.clone(), cluster, api, limits, 7);
        machine.set_known_apis(&known);
        if has_credentials {
            machine.set_authorized(authorized);
        }
        let mut budgets = RetryBudgets::new(names.len());
        let ended = self.drive(&mut machine, &mut budgets, began);
        let end = if ended {
            let report = machine.into_report();
            self.world.check_report(&report);
            End::Ended(report.outcome)
        } else {
            self.world.crash();
            End::Crashed
        };
        self.world.check_nothing_lost();
        self.ends[end.place()] += 1;
        end
    }

    /// The configuration of the operation. If something is unfinished, a recovery may be configured with other hosts
    /// and another API, a repair with fewer hosts or another API, and any other operation with another API. The API of
    /// the intent may not be known. Each may be configured without credentials, which the owner had, or
    /// with a shorter settle time.
    fn configure(&mut self, operation: Operation) -> Configuration {
        let Setting { names, node, mapped, elsewhere, limits, .. } = self.setting;
        let apis = if self.world.dialect == Dialect::Node { node } else { mapped };
        let known: Arc<[Api]> = match self.world.dialect {
            Dialect::Node => Arc::from([]),
            Dialect::Mapped => apis.iter().map(|api| (**api).clone()).collect(),
        };
        let with = |cluster: &Arc<[Host]>, api: &Arc<Api>| Configuration {
            cluster: Arc::clone(cluster),
            api: Arc::clone(api),
            known: Arc::clone(&known),
            has_credentials: true,
            settle: limits.settle,
        };
        let Some(unfinished) = &self.world.intent else { return with(names, &apis[0]) };
        let (own, other) = if apis[0].is(&unfinished.api) { (&apis[0], &apis[1]) } else { (&apis[1], &apis[0]) };
        let mut others = match operation {
            Operation::Recover | Operation::Forget => vec![with(elsewhere, other)],
            Operation::Repair(_) => {
                let narrowed = names.last().is_some_and(|last| names.len() > 1 && unfinished.hosts.contains(last));
                let fewer = narrowed.then(|| with(&Arc::from(&names[..names.len() - 1]), own));
                fewer.into_iter().chain([with(names, other)]).collect()
            }
            Operation::Create | Operation::Delete => vec![with(names, other)],
            Operation::Status => return with(names, own),
        };
        if self.world.dialect == Dialect::Mapped {
            others.push(Configuration { known: Arc::from([]), ..with(names, other) });
        }
        others.push(Configuration { has_credentials: false, ..with(names, own) });
        others.push(Configuration { settle: TICK, ..with(names, own) });
        match self.world.choices.choose(1 + others.len()) {
            0 => with(names, own),
            chosen => {
                self.world.trace(|_| format!("configured otherwise, in way {chosen}"));
                others.swap_remove(chosen - 1)
            }
        }
    }

    /// Runs a machine to its end, or until a crash. Returns whether it has ended.
    fn drive<R: Rules>(&mut self, machine: &mut Machine<R>, budgets: &mut RetryBudgets, began: Duration) -> bool {
        let mut stalled = Duration::ZERO;
        let mut cancelled = false;
        let limit = 100 + 60 * self.setting.hosts();
        for _ in 0..limit {
            let clock = self.world.now.saturating_sub(began);
            let lease_events = if machine.has_ended() { 0 } else { self.lease_events() };
            match self.between(clock, cancelled, lease_events) {
                Between::Nothing => {}
                Between::Crash => return false,
                Between::Cancel => {
                    self.world.trace(|_| "CANCEL".into());
                    cancelled = true;
                    machine.cancel(clock);
                }
                Between::Stall(time) => {
                    self.world.trace(|_| "STALL".into());
                    stalled += time;
                    self.world.pass.stalled = true;
                    self.world.advance_to(self.world.now + time);
                }
                Between::Lease(event) => stalled += self.let_lease_event_happen::<R>(event),
            }
            let bound = bound(&self.setting.limits) + stalled;
            self.renew(machine, began);
            let clock = self.world.now.saturating_sub(began);
            let input = match machine.poll_output(clock) {
                Output::Done => {
                    self.world.check_duration(began, bound);
                    let idle = self.world.in_flight.is_empty();
                    if !idle {
                        self.world.violation(Invariant::I9, "ended with a request in flight");
                    }
                    return true;
                }
                Output::Send { host, action, timeout, .. } => {
                    let node = self.world.node_of(&machine.hosts()[host]);
                    self.world.send(node, action, timeout, machine.api());
                    continue;
                }
                Output::Wait(until) => {
                    let Some(input) = self.wait(machine, until.map(|until| began + until), bound) else { continue };
                    input
                }
                Output::Claim => self.claim(),
                Output::Record(intent) => {
                    self.world.check_held();
                    stalled += self.before_journal_call::<R>();
                    let recorded = match self.setting.driver {
                        DriverMutant::SkipsStore => Ok(()),
                        _ => self.world.record(intent),
                    };
                    self.world.acknowledge_record(recorded.is_ok());
                    Input::Recorded(recorded)
                }
                Output::Erase => {
                    self.world.check_held();
                    stalled += self.before_journal_call::<R>();
                    let erased = self.world.erase();
                    Input::Erased(erased)
                }
            };
            // A crash before the machine gets this input equals a crash at the next step: the machine is lost in both.
            // An operation whose claim has ended does not go on after an erasure that failed.
            let goes_on = matches!(&input, Input::Erased(erased) if erased.is_ok() || !self.world.has_claim_ended());
            machine.handle_input(input, self.world.now.saturating_sub(began), budgets);
            if goes_on {
                self.world.acknowledge_erase();
            }
        }
        self.world.violation(Invariant::I7, "does not end");
        false
    }

    fn between(&mut self, clock: Duration, cancelled: bool, lease_events: usize) -> Between {
        // A crash is offered once for each state of the world outside of the coordinator.
        let touched = std::mem::take(&mut self.world.touched);
        let crash = usize::from(touched);
        let cancel = usize::from(!cancelled);
        let to = if clock < OPERATION_TIMEOUT { OPERATION_TIMEOUT.saturating_sub(clock) } else { ROLLBACK_TIMEOUT };
        let plain = 1 + crash + cancel + 2;
        let chosen = self.world.choices.choose(plain + lease_events);
        if chosen >= plain {
            return Between::Lease(chosen - plain);
        }
        let ways = [
            (true, Between::Nothing),
            (touched, Between::Crash),
            (!cancelled, Between::Cancel),
            (true, Between::Stall(to)),
            (true, Between::Stall(to.saturating_sub(TICK))),
        ];
        ways.into_iter().filter(|(open, _)| *open).nth(chosen).map_or(Between::Nothing, |(_, way)| way)
    }

    fn claim(&mut self) -> Input {
        let mut claimed = self.world.claim();
        if self.setting.driver == DriverMutant::HidesIntent {
            claimed = claimed.map(|_| None);
        }
        if let Ok(intent) = &claimed {
            self.world.inherit(intent.as_ref());
            self.world.lease();
        }
        Input::Claimed(claimed)
    }

    /// Delivers a reply. Without one, advances the time to the next event.
    fn wait<R: Rules>(&mut self, machine: &Machine<R>, until: Option<Duration>, bound: Duration) -> Option<Input> {
        self.world.check_wait(until, bound);
        let world = &mut self.world;
        let ready = (0..world.in_flight.len()).filter(|request| world.deliverable(*request)).count();
        if ready == 0 {
            let due = world.next_due().into_iter().chain(until).min();
            world.advance_to(due.unwrap_or(world.now + TICK));
            return None;
        }
        let chosen = world.choices.choose(ready);
        let request = (0..world.in_flight.len()).filter(|request| world.deliverable(*request)).nth(chosen)?;
        let (node, action, reply, elapsed) = world.deliver(request)?;
        let host = machine.hosts().iter().position(|host| *host == world.names[node])?;
        Some(Input::Replied { host, action, reply, usage: Usage::unsent(elapsed) })
    }
}
