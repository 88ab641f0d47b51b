//! The world of a run: hosts that fail, requests that take effect late, a journal and a clock. It holds the true state
//! with which the oracle compares the reports of the protocol.

use std::sync::Arc;
use std::time::Duration;

use super::driver::DriverMutant;
use super::lease::Lease;
use super::oracle::{HostLog, Pass, Violations};
use super::schedule::Choices;
use crate::api::{Action, Api, Body, Classification, ClassifiedReply, Reply, classify};
use crate::values::answer_problem::AnswerProblem;
use crate::values::cause::{JournalError, RequestError, RequestErrorKind};
use crate::values::group::GroupId;
use crate::values::host::Host;
use crate::values::intent::{ClaimError, Intent};

/// The settle time S, and the longest L that a request can take effect after its failure was seen.
pub(super) const SETTLE: Duration = Duration::from_millis(10);
pub(super) const TIMEOUT: Duration = Duration::from_millis(7);

/// The client that made the group on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// Another client. While `kept`, the machine has the evidence, so a rollback must keep the group.
    Foreign { kept: bool },
    /// An operation of ours that has not ended.
    Ours,
    /// An operation of ours that has ended with the group in place. A later rollback must keep the group.
    Settled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outage {
    Refuses,
    Answers503,
    /// Each check finds the thing changing. Other requests are answered with 503.
    KeepsChanging,
}

/// The language of the hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// The node API.
    Node,
    /// A mapping in which a create overwrites, and a check is always answered with 200: its body tells.
    Mapped,
}

/// The content of an answer, which each dialect says in its own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Created,
    Exists,
    Present,
    Absent,
    Deleted,
    NothingToDelete,
    Changing,
}

#[derive(Debug)]
pub(super) struct SimulatedNode {
    pub(super) group: Option<Owner>,
    /// The pass that made the group, or took it over.
    pub(super) made_in: u32,
    outage: Option<Outage>,
    /// Time of the last change. Until S later, a read may show the older state.
    changed: Option<Duration>,
    pub(super) log: HostLog,
}

/// The effect of one request and its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Applied and answered.
    Honest,
    /// Not sent: the connection was refused.
    Unsent,
    /// 503, and nothing was applied.
    Lost,
    /// Applied, then the connection ended without an answer.
    Applied,
    /// No answer in time, and not applied.
    Silent,
    /// No answer in time. Applied just before our n-th next request to the host, or at the end of L.
    Late(u8),
    /// A redirect or 501.
    Odd,
    /// Applied, then a redirect or garbage.
    OddApplied,
    /// 400 at random.
    Refused,
    /// 403, with the group or without.
    Forbidden,
    /// 201 or 200, and not applied.
    Lies,
    /// The answer before the last change: 404 or 200. A DELETE is not applied.
    Stale,
    /// 504 of a gateway. Applied at the end of L.
    GaveUp,
    /// 400, because another client has just created the group.
    CreatedElsewhere,
    /// The host fails until faults stop.
    Down(Outage),
    /// 202, which the mapping does not list, and not applied.
    Unlisted,
    /// Applied, then 202.
    UnlistedApplied,
    /// The check finds the thing changing.
    Changing,
    /// The body of the answer to a check is cut, so it decides nothing.
    Cut,
}

const AT_THE_END: u8 = u8::MAX;

/// The last two need a host without the group. The last needs a create that does not overwrite.
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
    Fate::Down(Outage::Answers503),
    Fate::Lies,
    Fate::CreatedElsewhere,
];

/// Followed by [`Fate::Stale`] if the host has the group and a replica may lag.
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
    Fate::Down(Outage::Answers503),
    Fate::Forbidden,
];

const GET_FATES: [Fate; 6] =
    [Fate::Honest, Fate::Unsent, Fate::Silent, Fate::Odd, Fate::Down(Outage::Refuses), Fate::Down(Outage::Answers503)];

/// Further fates of a POST or a DELETE with a mapping.
const MAPPED_WRITE_FATES: [Fate; 2] = [Fate::Unlisted, Fate::UnlistedApplied];

/// Further fates of a GET with a mapping.
const MAPPED_GET_FATES: [Fate; 4] = [Fate::Unlisted, Fate::Changing, Fate::Cut, Fate::Down(Outage::KeepsChanging)];

/// The fates of a request in flight after a crash of its coordinator.
const ORPHAN_FATES: [Fate; 5] = [Fate::Applied, Fate::Lost, Fate::Late(1), Fate::Late(2), Fate::Late(AT_THE_END)];

/// A request that was sent and is not answered.
#[derive(Debug)]
pub(super) struct SentRequest {
    pub(super) host: usize,
    pub(super) action: Action,
    sent: Duration,
    sequence: u32,
    timeout: Duration,
    machine: u32,
    pass: u32,
    undo: bool,
    api: Arc<Api>,
    /// Whether it is in the API that the hosts serve, and has credentials.
    is_heard: bool,
    /// A decided timeout, and the time at which it is seen.
    slow: Option<(Fate, Duration)>,
    /// The reply, which a stopped process has not read yet.
    reply: Option<Reply>,
}

/// A request that will take effect later.
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
    group: GroupId,
    pub(super) dialect: Dialect,
    pub(super) driver: DriverMutant,
    pub(super) nodes: Vec<SimulatedNode>,
    pub(super) in_flight: Vec<SentRequest>,
    pub(super) late: Vec<Late>,
    pub(super) intent: Option<Intent>,
    pub(super) pass: Pass,
    /// The numbers of the last pass and the last machine.
    pub(super) last: (u32, u32),
    /// Claims end by themselves.
    pub(super) is_leased: bool,
    pub(super) lease: Lease,
    pub(super) violations: Violations,
    /// The world outside of the coordinator has changed since a crash was last offered.
    pub(super) touched: bool,
    sequence: u32,
    errors: Errors,
}

impl World {
    pub(super) fn new(names: Arc<[Host]>, group: GroupId, driver: DriverMutant, choices: Choices) -> Self {
        let node = || SimulatedNode { group: None, made_in: 0, outage: None, changed: None, log: HostLog::default() };
        World {
            choices,
            now: Duration::ZERO,
            nodes: names.iter().map(|_| node()).collect(),
            names,
            group,
            dialect: Dialect::Node,
            driver,
            in_flight: Vec::new(),
            late: Vec::new(),
            intent: None,
            pass: Pass::default(),
            last: (0, 0),
            is_leased: false,
            lease: Lease::default(),
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

    pub(super) fn node_of(&self, host: &Host) -> usize {
        self.names.iter().position(|name| name == host).expect("no other hosts are in the world")
    }

    // --- requests

    pub(super) fn send(&mut self, host: usize, action: Action, timeout: Duration, api: &Arc<Api>) {
        let understood = self.is_understood(api);
        self.check_send(host, action, timeout, understood);
        let sequence = self.tick();
        self.touched |= action != Action::Check;
        self.trace(|world| format!("{} -> {}", action.method(), world.names[host].authority()));
        self.in_flight.push(SentRequest {
            host,
            action,
            sent: self.now,
            sequence,
            timeout,
            machine: self.pass.machine,
            pass: self.pass.number,
            undo: self.pass.undoes(),
            api: Arc::clone(api),
            is_heard: understood && self.pass.has_credentials,
            slow: None,
            reply: None,
        });
    }

    /// Whether a reply can be delivered now.
    pub(super) fn deliverable(&self, request: usize) -> bool {
        self.in_flight[request].slow.is_none_or(|(_, due)| due <= self.now)
    }

    /// Delivers one request to its host, and returns the reply. Returns `None` if it will time out later.
    pub(super) fn deliver(&mut self, request: usize) -> Option<(usize, Action, ClassifiedReply, Duration)> {
        let (host, action) = (self.in_flight[request].host, self.in_flight[request].action);
        if let Some(reply) = self.in_flight[request].reply.take() {
            let request = self.in_flight.remove(request);
            return Some(self.received(&request, reply));
        }
        let fate = match self.in_flight[request].slow {
            Some((fate, _)) => fate,
            None => self.decide(host, action),
        };
        let timing_out = matches!(fate, Fate::Late(_) | Fate::Silent);
        if timing_out && self.in_flight[request].slow.is_none() {
            let due = self.in_flight[request].sent + self.in_flight[request].timeout;
            self.in_flight[request].slow = Some((fate, due));
            self.trace(|world| format!("    {} at {} hangs", action.method(), world.names[host].authority()));
            if due > self.now {
                return None;
            }
        }
        let request = self.in_flight.remove(request);
        self.touched |= action != Action::Check;
        let reply = self.answer(&request, fate);
        self.trace(|world| {
            format!("    {} at {}: {fate:?}, {reply:?}", action.method(), world.names[host].authority())
        });
        Some(self.received(&request, reply))
    }

    fn received(&mut self, request: &SentRequest, reply: Reply) -> (usize, Action, ClassifiedReply, Duration) {
        let (host, action) = (request.host, request.action);
        let reply = self.classified(request, reply);
        self.log_answer(host, action, &reply, request.sent, request.sequence);
        (host, action, reply, self.now.saturating_sub(request.sent))
    }

    /// Decides the replies to the requests in flight, while their process is stopped. A request that hangs times out.
    pub(super) fn answer_in_flight(&mut self) {
        for place in 0..self.in_flight.len() {
            let (host, action) = (self.in_flight[place].host, self.in_flight[place].action);
            if self.in_flight[place].slow.is_none() {
                let due = self.in_flight[place].sent + self.in_flight[place].timeout;
                self.in_flight[place].slow = Some((self.decide(host, action), due));
            }
        }
        let mut requests = std::mem::take(&mut self.in_flight);
        let due = |request: &SentRequest| match request.slow {
            Some((Fate::Late(_) | Fate::Silent, due)) => due,
            _ => Duration::ZERO,
        };
        requests.sort_by_key(due);
        for request in &mut requests {
            let Some((fate, _)) = request.slow else { continue };
            if request.action != Action::Check {
                self.advance_to(due(request));
                self.touched = true;
            }
            let reply = self.answer(request, fate);
            self.trace(|world| {
                let name = world.names[request.host].authority();
                format!("    {} at {name}: {fate:?}, {reply:?}, not read yet", request.action.method())
            });
            (request.reply, request.slow) = (Some(reply), None);
        }
        self.in_flight = requests;
    }

    fn decide(&mut self, host: usize, action: Action) -> Fate {
        if let Some(outage) = self.nodes[host].outage {
            return Fate::Down(outage);
        }
        let is_there = self.nodes[host].group.is_some();
        let (fates, may_be_stale) = match action {
            Action::Create if is_there => (&POST_FATES[..POST_FATES.len() - 2], false),
            Action::Create if self.dialect == Dialect::Mapped => (&POST_FATES[..POST_FATES.len() - 1], false),
            Action::Create => (&POST_FATES[..], false),
            Action::Delete => (&DELETE_FATES[..], is_there),
            Action::Check => (&GET_FATES[..], true),
        };
        let mapped = match (self.dialect, action) {
            (Dialect::Node, _) => &[][..],
            (Dialect::Mapped, Action::Check) => &MAPPED_GET_FATES[..],
            (Dialect::Mapped, _) => &MAPPED_WRITE_FATES[..],
        };
        let stale = usize::from(may_be_stale && self.is_stale(host));
        let chosen = self.choices.choose(fates.len() + mapped.len() + stale);
        fates.iter().chain(mapped).nth(chosen).copied().unwrap_or(Fate::Stale)
    }

    /// Classifies a reply, as the client does, or as a wrong client would.
    fn classified(&self, request: &SentRequest, reply: Reply) -> ClassifiedReply {
        let is_cut = matches!(reply, Reply::Answered { body: Body::Cut(_), .. });
        let reply = classify(&request.api, request.action, &self.group, reply);
        let believes = match self.driver {
            DriverMutant::BelievesUnlisted => {
                reply.problem == Some(AnswerProblem::Unlisted) && reply.status.is_some_and(|status| status < 300)
            }
            DriverMutant::BelievesCutBody => is_cut,
            _ => false,
        };
        if believes { ClassifiedReply { classification: Classification::Confirmed, ..reply } } else { reply }
    }

    /// Whether a replica of the host may lag behind its last change.
    fn is_stale(&self, host: usize) -> bool {
        self.nodes[host].changed.is_some_and(|changed| self.now < changed + SETTLE)
    }

    fn set_group(&mut self, host: usize, group: Option<Owner>) {
        let node = &mut self.nodes[host];
        if node.group.is_some() != group.is_some() {
            node.changed = Some(self.now);
        }
        node.group = group;
    }

    fn answer(&mut self, request: &SentRequest, fate: Fate) -> Reply {
        let host = request.host;
        if !matches!(fate, Fate::Unsent | Fate::Down(_)) {
            self.count_down(host);
        }
        match fate {
            // The host does not serve that path, or does not tell a stranger what it has.
            Fate::Honest if !request.is_heard => answered(404),
            Fate::Honest => {
                let said = self.apply(request);
                self.says(said)
            }
            Fate::Unsent => Reply::NotSent(self.errors.refused.clone()),
            Fate::Lost => answered(503),
            Fate::Applied => {
                self.apply(request);
                Reply::Ambiguous(self.errors.closed.clone())
            }
            Fate::Silent => Reply::Ambiguous(self.errors.timeout.clone()),
            Fate::Late(countdown) => {
                self.postpone(request, countdown);
                Reply::Ambiguous(self.errors.timeout.clone())
            }
            Fate::Odd => answered(501),
            Fate::OddApplied => {
                self.apply(request);
                answered(302)
            }
            Fate::Refused => answered(400),
            Fate::Forbidden => answered(403),
            Fate::Lies => {
                // No lagging replica at the same time: see the assumption "Lies".
                self.nodes[host].changed = None;
                self.says(match request.action {
                    Action::Create => Said::Created,
                    Action::Delete => Said::Deleted,
                    Action::Check => Said::Present,
                })
            }
            Fate::Stale => self.says(match (request.action, self.nodes[host].group) {
                (Action::Delete, _) => Said::NothingToDelete,
                (_, None) => Said::Present,
                (_, Some(_)) => Said::Absent,
            }),
            Fate::Unlisted => answered(202),
            Fate::UnlistedApplied => {
                self.apply(request);
                answered(202)
            }
            Fate::Changing => self.says(Said::Changing),
            Fate::Cut => Reply::Answered { status: 200, retry_after: None, body: Body::Cut(Vec::new()) },
            Fate::GaveUp => {
                self.postpone(request, AT_THE_END);
                answered(504)
            }
            Fate::CreatedElsewhere => {
                let kept = self.pass.blind() || self.nodes[host].log.posts == 0;
                self.set_group(host, Some(Owner::Foreign { kept }));
                // The other client has verified its group, so no replica lags.
                self.nodes[host].changed = None;
                self.nodes[host].made_in = self.pass.number;
                answered(400)
            }
            Fate::Down(outage) => {
                self.nodes[host].outage = Some(outage);
                match outage {
                    Outage::Refuses => Reply::NotSent(self.errors.refused.clone()),
                    Outage::KeepsChanging if request.action == Action::Check => self.says(Said::Changing),
                    Outage::Answers503 | Outage::KeepsChanging => answered(503),
                }
            }
        }
    }

    /// Applies the request, and returns what an honest host says.
    fn apply(&mut self, request: &SentRequest) -> Said {
        let host = request.host;
        let had = self.nodes[host].group.is_some();
        self.pass.changed |= had != (request.action == Action::Create) && request.action != Action::Check;
        match request.action {
            Action::Check if !had => Said::Absent,
            Action::Check => Said::Present,
            Action::Delete if !had => Said::NothingToDelete,
            Action::Create if had => Said::Exists,
            Action::Create => {
                self.set_group(host, Some(Owner::Ours));
                self.nodes[host].made_in = request.pass;
                Said::Created
            }
            Action::Delete => {
                self.check_removal(host, request.undo);
                self.set_group(host, None);
                Said::Deleted
            }
        }
    }

    /// Returns an answer in the dialect of the hosts.
    fn says(&self, said: Said) -> Reply {
        if self.dialect == Dialect::Node {
            return answered(match said {
                Said::Created => 201,
                Said::Present | Said::Deleted => 200,
                Said::Exists => 400,
                Said::Absent | Said::NothingToDelete => 404,
                Said::Changing => unreachable!("no node says so"),
            });
        }
        let there = match said {
            // A create that overwrites says the same in both cases.
            Said::Created | Said::Exists => return answered(201),
            Said::Deleted => return answered(204),
            Said::NothingToDelete => return answered(404),
            Said::Present => "true",
            Said::Absent => "false",
            Said::Changing => "\"changing\"",
        };
        let body = Body::Whole(format!("{{\"there\": {there}}}").into());
        Reply::Answered { status: 200, retry_after: None, body }
    }

    // --- late requests

    fn postpone(&mut self, request: &SentRequest, countdown: u8) {
        self.late.push(Late {
            host: request.host,
            action: request.action,
            due: self.now + SETTLE,
            countdown,
            machine: request.machine,
            pass: request.pass,
            undo: request.undo,
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
        let had = self.nodes[late.host].group.is_some();
        self.pass.changed |= late.machine == self.pass.machine && had != (late.action == Action::Create);
        match (late.action, self.nodes[late.host].group) {
            (Action::Create, None) => {
                self.set_group(late.host, Some(Owner::Ours));
                self.nodes[late.host].made_in = late.pass;
            }
            (Action::Delete, Some(_)) => {
                self.check_removal(late.host, late.undo);
                self.set_group(late.host, None);
            }
            _ => return,
        }
        // S bounds the lateness of the request and the lag of a replica together.
        self.nodes[late.host].changed = Some(late.due.saturating_sub(SETTLE));
    }

    // --- time

    /// Time of the next late request or timeout.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let slow = self.in_flight.iter().filter_map(|request| request.slow.map(|(_, due)| due));
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

    // --- crash and end

    /// The coordinator crashes. Its requests in flight take effect now, late or never.
    pub(super) fn crash(&mut self) {
        self.trace(|_| "CRASH".into());
        self.touched = true;
        for request in std::mem::take(&mut self.in_flight) {
            if request.action == Action::Check || request.reply.is_some() {
                continue;
            }
            let fate = match request.slow {
                Some((fate, _)) => fate,
                None if self.nodes[request.host].outage.is_some() => Fate::Lost,
                None => ORPHAN_FATES[self.choices.choose(ORPHAN_FATES.len())],
            };
            self.trace(|world| {
                let name = world.names[request.host].authority();
                format!("    {} in flight to {name}: {fate:?}", request.action.method())
            });
            match fate {
                Fate::Applied => {
                    self.apply(&request);
                }
                Fate::Late(countdown) => self.postpone(&request, countdown),
                _ => {}
            }
        }
    }

    /// Ends all faults.
    pub(super) fn heal(&mut self) {
        self.trace(|_| "faults stop".into());
        self.choices.heal();
        for node in &mut self.nodes {
            node.outage = None;
        }
    }

    pub(super) fn land_all(&mut self) {
        self.advance_to(self.now + SETTLE + TIMEOUT);
    }

    /// Ends the lag of every replica: see the assumption "a fresh start".
    pub(super) fn catch_up(&mut self) {
        for node in &mut self.nodes {
            node.changed = None;
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
            Ok(None) => "claim: no intent".into(),
            Ok(Some(intent)) => format!("claim: an unfinished {:?}", intent.purpose),
            Err(error) => format!("claim: {error:?}"),
        });
        claimed
    }

    pub(super) fn record(&mut self, intent: Intent) -> Result<(), JournalError> {
        if self.is_fenced() {
            self.trace(|_| "record: refused, the lock is gone".into());
            return Err(self.errors.store.clone());
        }
        let fate = self.choices.choose(3);
        self.trace(|_| {
            let names: Vec<_> = intent.hosts.iter().map(Host::authority).collect();
            format!("record {:?} of {}{}", intent.purpose, names.join(" "), outcome_words(fate))
        });
        if fate != 1 {
            self.touched = true;
            self.check_record(&intent);
            self.intent = Some(intent);
        }
        self.outcome(fate)
    }

    pub(super) fn erase(&mut self) -> Result<(), JournalError> {
        if self.is_fenced() {
            self.trace(|_| "erase: refused, the lock is gone".into());
            return Err(self.errors.store.clone());
        }
        let fate = self.choices.choose(3);
        self.trace(|_| format!("erase{}", outcome_words(fate)));
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

fn answered(status: u16) -> Reply {
    Reply::Answered { status, retry_after: None, body: Body::Unread }
}

fn outcome_words(fate: usize) -> &'static str {
    [", done", ", FAILS before it is done", ", FAILS after it is done"][fate]
}
