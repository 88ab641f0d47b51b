//! What the protocol is run against: hosts that fail, requests that land late, a store and a clock. The
//! world answers, and keeps the ground truth that the oracle compares the protocol's claims with.

use std::sync::Arc;
use std::time::Duration;

use super::oracle::{HostLog, Pass, Violations};
use super::schedule::Choices;
use crate::api::{Action, ClassifiedReply, Reply, classify};
use crate::values::api::Api;
use crate::values::cause::{JournalError, RequestError, RequestErrorKind};
use crate::values::host::Host;
use crate::values::intent::{ClaimError, Intent};

/// The settle time S, and the longest L that a request can take effect after its failure was seen.
pub(super) const SETTLE: Duration = Duration::from_millis(10);
pub(super) const TIMEOUT: Duration = Duration::from_millis(7);

/// Who made the group that a host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// Somebody else. While `kept`, the protocol has what it takes to know.
    Foreign { kept: bool },
    /// An operation of ours that is not over.
    Ours,
    /// An operation of ours that has ended with the group in place: to a later rollback it is as foreign.
    Settled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outage {
    Refuses,
    Sick,
}

#[derive(Debug)]
pub(super) struct Site {
    pub(super) group: Option<Owner>,
    /// The pass that made the group, or took it over.
    pub(super) made_in: u32,
    outage: Option<Outage>,
    /// When the group last came or went: until S later a read may show the host as it was before.
    changed: Option<Duration>,
    pub(super) log: HostLog,
}

/// What becomes of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Honest,
    /// Not sent: the connection was refused.
    Unsent,
    /// 503, and nothing was applied.
    Lost,
    /// The connection ended after it was applied.
    Applied,
    /// No answer in time; nothing was applied.
    Silent,
    /// No answer in time, and applied just before our n-th next request to the host, or at the end of L.
    Late(u8),
    /// A redirect or 501.
    Odd,
    /// Garbage after it was applied.
    OddApplied,
    /// 400 at random.
    Refused,
    /// 403: it will not, whatever is there.
    Forbidden,
    /// 201 or 200, and nothing was applied.
    Lies,
    /// 404 or 200 as it was before the last change, for a look and for a DELETE that is not applied.
    Stale,
    /// 504 of a gateway, and applied at the end of L.
    GaveUp,
    /// Somebody else is faster.
    Beaten,
    /// The host fails from now on.
    Down(Outage),
}

const AT_THE_END: u8 = u8::MAX;

/// The last two only where the group is not there: 201 means that it was not.
const POST_FATES: [Fate; 16] = [
    Fate::Honest,
    Fate::Unsent,
    Fate::Lost,
    Fate::Applied,
    Fate::Late(1),
    Fate::Late(2),
    Fate::Late(3),
    Fate::Late(AT_THE_END),
    Fate::GaveUp,
    Fate::Odd,
    Fate::OddApplied,
    Fate::Refused,
    Fate::Down(Outage::Refuses),
    Fate::Down(Outage::Sick),
    Fate::Lies,
    Fate::Beaten,
];

/// With [`Fate::Stale`] behind them where the host has the group and its replicas may not know.
const DELETE_FATES: [Fate; 14] = [
    Fate::Honest,
    Fate::Unsent,
    Fate::Lost,
    Fate::Applied,
    Fate::Late(1),
    Fate::Late(AT_THE_END),
    Fate::GaveUp,
    Fate::Odd,
    Fate::OddApplied,
    Fate::Refused,
    Fate::Lies,
    Fate::Down(Outage::Refuses),
    Fate::Down(Outage::Sick),
    Fate::Forbidden,
];

const GET_FATES: [Fate; 6] =
    [Fate::Honest, Fate::Unsent, Fate::Silent, Fate::Odd, Fate::Down(Outage::Refuses), Fate::Down(Outage::Sick)];

/// What a request in flight may do after the death of its sender.
const ORPHAN_FATES: [Fate; 5] = [Fate::Applied, Fate::Lost, Fate::Late(1), Fate::Late(2), Fate::Late(AT_THE_END)];

/// A request that was sent and is not answered.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) host: usize,
    pub(super) action: Action,
    sent: Duration,
    sequence: u32,
    timeout: Duration,
    machine: u32,
    pass: u32,
    undo: bool,
    /// Whether it asks in the API that the hosts speak.
    understood: bool,
    /// A timeout that is decided, and when it will be seen.
    slow: Option<(Fate, Duration)>,
}

/// A request that has not taken effect yet, but will.
#[derive(Debug)]
pub(super) struct Late {
    pub(super) host: usize,
    pub(super) action: Action,
    due: Duration,
    countdown: u8,
    /// The machine that has sent it, by its number.
    pub(super) machine: u32,
    pass: u32,
    undo: bool,
}

#[derive(Debug)]
struct Errors {
    refused: RequestError,
    closed: RequestError,
    timeout: RequestError,
    store: JournalError,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) choices: Choices,
    pub(super) now: Duration,
    pub(super) names: Arc<[Host]>,
    pub(super) sites: Vec<Site>,
    pub(super) flights: Vec<Flight>,
    pub(super) late: Vec<Late>,
    pub(super) intent: Option<Intent>,
    pub(super) pass: Pass,
    pub(super) violations: Violations,
    /// Something outside of the coordinator changed since a crash was last offered.
    pub(super) touched: bool,
    sequence: u32,
    errors: Errors,
}

impl World {
    pub(super) fn new(names: Arc<[Host]>, choices: Choices) -> Self {
        let site = || Site { group: None, made_in: 0, outage: None, changed: None, log: HostLog::default() };
        World {
            choices,
            now: Duration::ZERO,
            sites: names.iter().map(|_| site()).collect(),
            names,
            flights: Vec::new(),
            late: Vec::new(),
            intent: None,
            pass: Pass::default(),
            violations: Violations::default(),
            touched: true,
            sequence: 0,
            errors: Errors {
                refused: RequestError::new(RequestErrorKind::Connect, "connection refused"),
                closed: RequestError::new(RequestErrorKind::Closed, "connection closed"),
                timeout: RequestError::new(RequestErrorKind::Timeout, "no answer in time"),
                store: JournalError::on("write", "intent", std::io::ErrorKind::StorageFull.into()),
            },
        }
    }

    pub(super) fn tick(&mut self) -> u32 {
        self.sequence += 1;
        self.sequence
    }

    pub(super) fn site_of(&self, host: &Host) -> usize {
        self.names.iter().position(|name| name == host).expect("no other hosts are in the world")
    }

    // --- requests

    pub(super) fn send(&mut self, host: usize, action: Action, timeout: Duration, api: &Arc<Api>) {
        let understood = self.is_understood(api);
        self.check_send(host, action, timeout, understood);
        let sequence = self.tick();
        self.touched |= action != Action::Check;
        self.trace(|world| format!("{} -> {}", action.method(), world.names[host].authority()));
        self.flights.push(Flight {
            host,
            action,
            sent: self.now,
            sequence,
            timeout,
            machine: self.pass.machine,
            pass: self.pass.number,
            undo: self.pass.undoes(),
            understood,
            slow: None,
        });
    }

    /// Whether a reply can be delivered now.
    pub(super) fn deliverable(&self, flight: usize) -> bool {
        self.flights[flight].slow.is_none_or(|(_, due)| due <= self.now)
    }

    /// Brings one request to its host and the answer back, unless it will time out.
    pub(super) fn deliver(&mut self, flight: usize) -> Option<(usize, Action, ClassifiedReply, Duration)> {
        let (host, action) = (self.flights[flight].host, self.flights[flight].action);
        let fate = match self.flights[flight].slow {
            Some((fate, _)) => fate,
            None => self.decide(host, action),
        };
        let timing_out = matches!(fate, Fate::Late(_) | Fate::Silent);
        if timing_out && self.flights[flight].slow.is_none() {
            let due = self.flights[flight].sent + self.flights[flight].timeout;
            self.flights[flight].slow = Some((fate, due));
            self.trace(|world| format!("    {} at {} hangs", action.method(), world.names[host].authority()));
            if due > self.now {
                return None;
            }
        }
        let flight = self.flights.remove(flight);
        self.touched |= action != Action::Check;
        let reply = self.answer(&flight, fate);
        self.trace(|world| {
            format!("    {} at {}: {fate:?}, {reply:?}", action.method(), world.names[host].authority())
        });
        let reply = classify(action, reply);
        self.log_answer(host, action, &reply, flight.sent, flight.sequence);
        Some((host, action, reply, self.now.saturating_sub(flight.sent)))
    }

    fn decide(&mut self, host: usize, action: Action) -> Fate {
        if let Some(outage) = self.sites[host].outage {
            return Fate::Down(outage);
        }
        match action {
            Action::Create => {
                let there = 2 * usize::from(self.sites[host].group.is_some());
                POST_FATES[self.choices.choose(POST_FATES.len() - there)]
            }
            Action::Delete => {
                let stale = self.is_stale(host) && self.sites[host].group.is_some();
                let fate = self.choices.choose(DELETE_FATES.len() + usize::from(stale));
                DELETE_FATES.get(fate).copied().unwrap_or(Fate::Stale)
            }
            Action::Check => {
                let fate = self.choices.choose(GET_FATES.len() + usize::from(self.is_stale(host)));
                GET_FATES.get(fate).copied().unwrap_or(Fate::Stale)
            }
        }
    }

    /// Whether a replica of the host may not know of its last change yet.
    fn is_stale(&self, host: usize) -> bool {
        self.sites[host].changed.is_some_and(|changed| self.now < changed + SETTLE)
    }

    fn set_group(&mut self, host: usize, group: Option<Owner>) {
        let site = &mut self.sites[host];
        if site.group.is_some() != group.is_some() {
            site.changed = Some(self.now);
        }
        site.group = group;
    }

    fn answer(&mut self, flight: &Flight, fate: Fate) -> Reply {
        let host = flight.host;
        if !matches!(fate, Fate::Unsent | Fate::Down(_)) {
            self.count_down(host);
        }
        let answered = |status| Reply::Answered { status, retry_after: None };
        match fate {
            // Another path leads nowhere.
            Fate::Honest if !flight.understood => answered(404),
            Fate::Honest => answered(self.apply(flight)),
            Fate::Unsent => Reply::NotSent(self.errors.refused.clone()),
            Fate::Lost => answered(503),
            Fate::Applied => {
                self.apply(flight);
                Reply::Ambiguous(self.errors.closed.clone())
            }
            Fate::Silent => Reply::Ambiguous(self.errors.timeout.clone()),
            Fate::Late(countdown) => {
                self.postpone(flight, countdown);
                Reply::Ambiguous(self.errors.timeout.clone())
            }
            Fate::Odd => answered(501),
            Fate::OddApplied => {
                self.apply(flight);
                answered(302)
            }
            Fate::Refused => answered(400),
            Fate::Forbidden => answered(403),
            Fate::Lies => {
                // It lies, or its replicas lag: with both at once, nothing that can be asked would tell.
                self.sites[host].changed = None;
                answered(if flight.action == Action::Create { 201 } else { 200 })
            }
            Fate::Stale => answered(if self.sites[host].group.is_none() { 200 } else { 404 }),
            Fate::GaveUp => {
                self.postpone(flight, AT_THE_END);
                answered(504)
            }
            Fate::Beaten => {
                let kept = self.pass.blind() || self.sites[host].log.posts == 0;
                self.set_group(host, Some(Owner::Foreign { kept }));
                // Whoever made it looks at it until it is seen.
                self.sites[host].changed = None;
                self.sites[host].made_in = self.pass.number;
                answered(400)
            }
            Fate::Down(outage) => {
                self.sites[host].outage = Some(outage);
                match outage {
                    Outage::Refuses => Reply::NotSent(self.errors.refused.clone()),
                    Outage::Sick => answered(503),
                }
            }
        }
    }

    /// The host does what it is asked to; the status it answers.
    fn apply(&mut self, flight: &Flight) -> u16 {
        let host = flight.host;
        let had = self.sites[host].group.is_some();
        self.pass.changed |= had != (flight.action == Action::Create) && flight.action != Action::Check;
        match flight.action {
            Action::Check | Action::Delete if !had => 404,
            Action::Check => 200,
            Action::Create if had => 400,
            Action::Create => {
                self.set_group(host, Some(Owner::Ours));
                self.sites[host].made_in = flight.pass;
                201
            }
            Action::Delete => {
                self.check_removal(host, flight.undo);
                self.set_group(host, None);
                200
            }
        }
    }

    // --- what lands late

    fn postpone(&mut self, flight: &Flight, countdown: u8) {
        self.late.push(Late {
            host: flight.host,
            action: flight.action,
            due: self.now + SETTLE,
            countdown,
            machine: flight.machine,
            pass: flight.pass,
            undo: flight.undo,
        });
    }

    fn count_down(&mut self, host: usize) {
        for late in &mut self.late {
            if late.host == host && late.countdown != AT_THE_END {
                late.countdown -= 1;
            }
        }
        self.land(|late| late.countdown == 0);
    }

    fn land(&mut self, due: impl Fn(&Late) -> bool) {
        while let Some(at) = self.late.iter().position(&due) {
            let late = self.late.remove(at);
            self.touched = true;
            self.trace(|world| {
                format!("    late {} lands at {}", late.action.method(), world.names[late.host].authority())
            });
            self.land_one(&late);
        }
    }

    fn land_one(&mut self, late: &Late) {
        let had = self.sites[late.host].group.is_some();
        self.pass.changed |= late.machine == self.pass.machine && had != (late.action == Action::Create);
        match (late.action, self.sites[late.host].group) {
            (Action::Create, None) => {
                self.set_group(late.host, Some(Owner::Ours));
                self.sites[late.host].made_in = late.pass;
            }
            (Action::Delete, Some(_)) => {
                self.check_removal(late.host, late.undo);
                self.set_group(late.host, None);
            }
            _ => return,
        }
        // S bounds both together: how late a request takes effect, and how long a replica misses it.
        self.sites[late.host].changed = Some(late.due.saturating_sub(SETTLE));
    }

    // --- time

    /// The next moment at which something happens by itself.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let slow = self.flights.iter().filter_map(|flight| flight.slow.map(|(_, due)| due));
        self.late.iter().map(|late| late.due).chain(slow).min()
    }

    pub(super) fn advance_to(&mut self, to: Duration) {
        while let Some(due) = self.late.iter().map(|late| late.due).min().filter(|due| *due <= to) {
            self.now = self.now.max(due);
            self.land(|late| late.due == due);
        }
        if to > self.now {
            self.now = to;
            self.trace(|world| format!("time is {:?}", world.now));
        }
    }

    // --- the end of things

    /// The coordinator dies. What it had in flight lands now, late or never.
    pub(super) fn crash(&mut self) {
        self.trace(|_| "CRASH".into());
        self.touched = true;
        for flight in std::mem::take(&mut self.flights) {
            if flight.action == Action::Check {
                continue;
            }
            let fate = match flight.slow {
                Some((fate, _)) => fate,
                None if self.sites[flight.host].outage.is_some() => Fate::Lost,
                None => ORPHAN_FATES[self.choices.choose(ORPHAN_FATES.len())],
            };
            self.trace(|world| {
                let name = world.names[flight.host].authority();
                format!("    {} in flight to {name}: {fate:?}", flight.action.method())
            });
            match fate {
                Fate::Applied => {
                    self.apply(&flight);
                }
                Fate::Late(countdown) => self.postpone(&flight, countdown),
                _ => {}
            }
        }
    }

    /// Every host works again, and nothing fails any more.
    pub(super) fn heal(&mut self) {
        self.trace(|_| "faults stop".into());
        self.choices.heal();
        for site in &mut self.sites {
            site.outage = None;
        }
    }

    pub(super) fn land_all(&mut self) {
        self.advance_to(self.now + SETTLE + TIMEOUT);
    }

    /// An operation that finds nothing unfinished begins S after the last change, or meets no replica that
    /// has missed it.
    pub(super) fn catch_up(&mut self) {
        for site in &mut self.sites {
            site.changed = None;
        }
    }

    // --- the store

    pub(super) fn claim(&mut self) -> Result<Option<Intent>, ClaimError> {
        let claimed = match self.choices.choose(3) {
            0 => Ok(self.intent.clone()),
            1 => Err(ClaimError::Busy("process 7".into())),
            _ => Err(ClaimError::Failed(self.errors.store.clone())),
        };
        self.trace(|_| match &claimed {
            Ok(None) => "claim: nothing there".into(),
            Ok(Some(intent)) => format!("claim: an unfinished {:?}", intent.purpose),
            Err(error) => format!("claim: {error:?}"),
        });
        claimed
    }

    pub(super) fn record(&mut self, intent: Intent) -> Result<(), JournalError> {
        let fate = self.choices.choose(3);
        self.trace(|_| {
            let names: Vec<_> = intent.hosts.iter().map(Host::authority).collect();
            format!("record {:?} of {}{}", intent.purpose, names.join(" "), told(fate))
        });
        if fate != 1 {
            self.touched = true;
            self.check_record(&intent);
            self.intent = Some(intent);
        }
        self.outcome(fate)
    }

    pub(super) fn erase(&mut self) -> Result<(), JournalError> {
        let fate = self.choices.choose(3);
        self.trace(|_| format!("erase{}", told(fate)));
        self.check_erase();
        if fate != 1 {
            self.touched = true;
            self.check_erased();
            self.intent = None;
        }
        self.outcome(fate)
    }

    fn outcome(&self, fate: usize) -> Result<(), JournalError> {
        if fate == 0 { Ok(()) } else { Err(self.errors.store.clone()) }
    }

    pub(super) fn trace(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.violations.trace.is_some() {
            let line = format!("{:>9?}  {}", self.now, line(self));
            self.violations.trace.get_or_insert_default().push(line);
        }
    }
}

fn told(fate: usize) -> &'static str {
    [", done", ", FAILS before it is done", ", FAILS after it is done"][fate]
}
