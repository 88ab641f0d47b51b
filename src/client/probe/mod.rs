//! Floor 3: `probe` certifies the API of a client on its hosts, with one throw-away thing.
//!
//! ```text
//!   claim ─▶ absent before ─▶ record the intent ─▶ create ─▶ .. ─▶ delete again ─▶ erase the intent
//!                  └ not on every host: nothing is created      └ not verified absent: a delete of the group
//! ```
//! The intent is that of a create, so a recovery removes what a killed probe has left. The stages are no operation:
//! they go on after answers that would end one, so that one probe finds all wrong lines of a mapping.

mod held;
mod judge;
pub(crate) mod report;
mod runner;
mod shown;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use self::held::Held;
use self::judge::{Earlier, Observed};
use self::report::{ProbeAnswer, ProbeReport, ProbeStage, StageReport};
use self::runner::{HostTries, StageRequest, StageRunner};
use self::shown::Mask;
use crate::api::{Action, Api, Body, Reply};
use crate::client::ClusterClient;
use crate::client::inner::ClientInner;
use crate::client::invocation::Invocation;
use crate::client::options::OperationOptions;
use crate::sync::now;
use crate::values::api::pattern::Meaning;
use crate::values::error::Error;
use crate::values::group::GroupId;
use crate::values::host::Host;
use crate::values::intent::{Intent, Purpose};
use crate::values::outcome::Outcome;
use crate::values::printable::Printable;
use crate::values::report::{Operation, Report, State};

impl ClusterClient {
    /// Certifies the API of this client on its hosts: creates, checks and deletes one throw-away thing there, and says
    /// which line of a mapping to change if an answer is not the expected one. See [`ProbeStage`] for the stages.
    ///
    /// Without an `id`, a random one of those that the API allows is taken. Name an id that nobody else uses: whatever
    /// another client makes under it after the first check is deleted too. If a host has the thing before, nothing is
    /// created. At the end, also after a cancel, the thing is deleted. [`ProbeReport::left`] has the hosts on which it
    /// may be left; with a journal, [`ClusterClient::recover`] removes it from there later.
    ///
    /// The retry policy bounds the tries of each request, and the timeout of the operation bounds the stages. The delete
    /// at the end has the rollback timeout. Observers see only that delete.
    ///
    /// # Errors
    /// Nothing was sent:
    /// * [`Error::Config`] for an id that the API does not allow, or that has an unfinished operation in the journal.
    /// * [`Error::Busy`] while another operation works on the id.
    ///
    /// Nothing was created:
    /// * [`Error::Journal`] if the journal could not be read or written.
    ///
    /// ```no_run
    /// use cluster_client::{Api, Call, ClusterClient};
    ///
    /// let create = Call::new("PUT", "/things/{id}").created([201]).exists([409]);
    /// let check = Call::new("GET", "/things/{id}").present([200]).absent([404]);
    /// let delete = Call::new("DELETE", "/things/{id}").deleted([204]).absent([404]);
    /// let api = Api::builder().name("things").ids("a-z0-9-", 64).create(create).check(check).delete(delete).build()?;
    ///
    /// let client = ClusterClient::builder().hosts(["http://node1:8000"]).api(api).build()?;
    /// let report = client.probe(None)?;
    /// for (stage, answer) in report.problems() {
    ///     println!("{stage}: {}: {}", answer.host, answer.problem.as_deref().unwrap_or_default());
    /// }
    /// assert!(report.is_certified());
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn probe(&self, id: Option<&str>) -> Result<ProbeReport, Error> {
        let begun = now();
        let client = Arc::clone(&self.inner);
        let group = match id {
            Some(id) => client.api.named(id)?,
            None => client.api.random_id(&mut fastrand::Rng::new())?,
        };
        client.api.check_id(&group)?;
        let held = Held::claim(&client, &group)?;
        Probe::new(client, &self.options, group, begun).run(held)
    }
}

/// A probe whose group is claimed.
struct Probe {
    client: Arc<ClientInner>,
    runner: StageRunner,
    group: GroupId,
    begun: Instant,
    stages: Vec<StageReport>,
    hosts: Vec<HostFacts>,
    /// Every secret that a request has had so far.
    secrets: BTreeSet<String>,
}

/// The facts about one host that the stages have shown.
#[derive(Debug, Clone, Copy, Default)]
struct HostFacts {
    /// A create was sent.
    may_have: bool,
    /// A create or a delete may take effect later.
    may_change: bool,
    /// The check has shown that the thing is gone.
    is_gone: bool,
    /// The check said that the thing was not there when the create had made it, so its absence proves nothing.
    is_blind: bool,
    earlier: Earlier,
}

impl HostFacts {
    fn is_clean(self) -> bool {
        !self.may_have || (self.is_gone && !self.is_blind && !self.may_change)
    }
}

impl Probe {
    fn new(client: Arc<ClientInner>, options: &OperationOptions, group: GroupId, begun: Instant) -> Self {
        let timeout = options.timeout.or(client.limits.operation_timeout);
        Probe {
            runner: StageRunner::new(&client, options.cancel.as_ref(), timeout),
            hosts: vec![HostFacts::default(); client.cluster.len()],
            stages: Vec::new(),
            secrets: BTreeSet::new(),
            client,
            group,
            begun,
        }
    }

    fn run(mut self, held: Held) -> Result<ProbeReport, Error> {
        let [first, rest @ ..] = ProbeStage::ALL;
        if !self.is_absent_everywhere(first, &held) || self.runner.interruption().is_some() {
            return Ok(self.into_report());
        }
        held.record(self.intent())?;
        for stage in rest {
            if self.runner.interruption().is_some() || !self.goes_on_after(stage, &held) {
                break;
            }
        }
        Ok(self.finish(held))
    }

    /// The record of the throw-away thing, as that of a create.
    fn intent(&self) -> Intent {
        let client = &self.client;
        let hosts = client.cluster.to_vec();
        let authorized = hosts.iter().filter(|host| client.authorized.has(host)).cloned().collect();
        let settle = client.limits.settle;
        let intent = Intent::of(self.group.clone(), Purpose::create(true), client.api.reference(), hosts);
        Intent { authorized, settle, ..intent }
    }

    fn is_absent_everywhere(&mut self, stage: ProbeStage, held: &Held) -> bool {
        self.run_stage(stage, held).iter().all(|tries| tries.meaning == Some(Ok(Meaning::Absent)))
    }

    /// Runs a stage. Returns whether later ones can show more.
    fn goes_on_after(&mut self, stage: ProbeStage, held: &Held) -> bool {
        let ended = self.run_stage(stage, held);
        let is_not_there = |tries: &HostTries| {
            judge::old_state(stage) == Some(Meaning::Absent) && tries.meaning == Some(Ok(Meaning::Absent))
        };
        !ended.iter().any(|tries| tries.meaning.is_none() || is_not_there(tries))
    }

    fn run_stage(&mut self, stage: ProbeStage, held: &Held) -> Vec<HostTries> {
        let action = stage.action();
        self.secrets.extend(self.client.credentials.secrets(now()));
        let request = StageRequest { action, group: &self.group, old_state: judge::old_state(stage), held };
        let ended = self.runner.run(&request);
        self.secrets.extend(self.client.credentials.secrets(now()));
        let mask = Mask::new(self.secrets.iter().cloned(), self.group.as_str());
        let cluster = Arc::clone(&self.client.cluster);
        let mut answers = Vec::with_capacity(cluster.len());
        for ((host, tries), facts) in cluster.iter().zip(&ended).zip(&mut self.hosts) {
            let answer = answer(&self.client, stage, &self.group, (host, tries), (facts.earlier, &mask));
            facts.note(stage, tries, answer.problem.is_some());
            answers.push(answer);
        }
        self.stages.push(StageReport { stage, hosts: answers });
        ended
    }

    /// Leaves no host with the thing, as far as possible.
    fn finish(mut self, held: Held) -> ProbeReport {
        if self.hosts.iter().all(|host| host.is_clean()) {
            let erased = held.erase();
            drop(held);
            let recoverable = erased.is_err() && self.client.keeps_intents;
            return ProbeReport { journal_error: erased.err(), recoverable, ..self.into_report() };
        }
        // With a journal, the recovery of the create waits for that. Without one, nothing else knows of the create.
        if !self.client.keeps_intents && self.hosts.iter().any(|host| host.may_change) {
            self.runner.sleep(self.client.limits.settle);
        }
        drop(held);
        let cleanup = self.clean_up();
        let report = match &cleanup {
            Ok(report) => Some(report),
            Err(error) => error.report(),
        };
        let is_verified = |host: &Host| {
            let found = cleanup.as_ref().ok().and_then(|report| report.hosts.iter().find(|found| found.host == *host));
            found.is_some_and(|found| found.state == State::Absent)
        };
        let is_left = |(host, facts): (&Host, &HostFacts)| {
            let is_proved = is_verified(host) && !facts.is_blind;
            (!facts.is_clean() && !is_proved).then(|| host.clone())
        };
        let left = self.client.cluster.iter().zip(&self.hosts).filter_map(is_left).collect();
        let recoverable = report.is_some_and(|report| report.recoverable);
        ProbeReport { left, recoverable, cleanup: Some(cleanup), ..self.into_report() }
    }

    /// Deletes the group like any other. The recovery of the unfinished create comes first.
    fn clean_up(&self) -> Result<Report, Error> {
        let options = OperationOptions::new().timeout(self.client.limits.rollback_timeout);
        let invocation = Invocation::new(Arc::clone(&self.client), options);
        let report = invocation.run(Operation::Delete, self.group.clone())?;
        // A delete that went over the hosts is a result, whatever they kept.
        match report.outcome {
            Outcome::Incomplete | Outcome::InDoubt => Ok(report),
            _ => report.into_result(),
        }
    }

    /// Whether every host has answered in every stage.
    fn has_ended(&self) -> bool {
        let answered = |stage: &StageReport| stage.hosts.iter().all(|answer| answer.status.is_some());
        self.stages.len() == ProbeStage::ALL.len() && self.stages.iter().all(answered)
    }

    fn into_report(self) -> ProbeReport {
        ProbeReport {
            api: Api::clone(&self.client.api),
            interruption: self.runner.interruption().filter(|_| !self.has_ended()),
            group: self.group,
            stages: self.stages,
            cleanup: None,
            left: Vec::new(),
            recoverable: false,
            journal_error: None,
            elapsed: self.begun.elapsed(),
        }
    }
}

impl HostFacts {
    fn note(&mut self, stage: ProbeStage, tries: &HostTries, has_problem: bool) {
        let meaning = tries.meaning;
        match stage.action() {
            Action::Check => {}
            Action::Create => {
                // A request that was not sent is repeated, or is the last one of all.
                self.may_have |= tries.number > 0;
                self.may_change |= tries.may_land_late;
            }
            Action::Delete => self.may_change |= tries.may_land_late,
        }
        match stage {
            ProbeStage::Create => self.earlier.create_failed = has_problem,
            ProbeStage::Delete => self.earlier.delete_failed = has_problem,
            ProbeStage::Present | ProbeStage::PresentStill => {
                self.is_blind |= meaning == Some(Ok(Meaning::Absent)) && !self.earlier.create_failed;
            }
            ProbeStage::AbsentAfter => self.is_gone = meaning == Some(Ok(Meaning::Absent)),
            _ => {}
        }
    }
}

/// Returns the answer of a host to a stage, for people.
fn answer(
    client: &ClientInner,
    stage: ProbeStage,
    group: &GroupId,
    (host, tries): (&Host, &HostTries),
    (earlier, mask): (Earlier, &Mask),
) -> ProbeAnswer {
    let request = client.api.request(stage.action(), group);
    let (status, error, body) = match &tries.reply {
        None => (None, None, None),
        Some(Reply::NotSent(error) | Reply::Ambiguous(error)) => (None, Some(error), None),
        Some(Reply::Answered { status, body, .. }) => (Some(*status), None, Some(body)),
    };
    let body = body.and_then(|body| match body {
        Body::Whole(bytes) | Body::Cut(bytes) => (!bytes.is_empty()).then_some(bytes),
        Body::Unread => None,
    });
    let HostTries { number, meaning, was_unclear, elapsed, .. } = *tries;
    let observed = Observed { status, meaning, error, tries: number, was_unclear };
    let problem = judge::problem(&client.api, stage, &observed, earlier);
    ProbeAnswer {
        problem: problem.map(|problem| Printable::new(&problem).to_string()),
        host: host.clone(),
        request: mask.request_line(&request.method, &format!("{}{}", host.path(), request.path)),
        request_body: request.body.map(|body| mask.body(body.as_bytes())),
        status,
        body: body.map(|bytes| mask.body(bytes)),
        meaning,
        error: error.cloned(),
        tries: number,
        elapsed,
    }
}
