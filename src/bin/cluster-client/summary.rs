//! The summary of a result for a person: one line, and the next command.

use std::fmt::Write as _;

use cluster_client::{
    Action, Cause, Error, GroupId, Host, HostReport, JournalEntry, Operation, Outcome, Printable, Purpose, Report,
    State, Target,
};

use crate::exit::{Exit, with_causes};
use crate::failures::{self, cause, cause_of_doubt};
use crate::next::{Advice, Next};
use crate::plan;
use crate::time::seconds;

/// The result of one operation on one group.
pub(crate) struct Done {
    pub(crate) asked: Operation,
    pub(crate) group: GroupId,
    pub(crate) result: Result<Report, Error>,
    /// Whether a group that is on every host already is as wanted.
    pub(crate) exist_ok: bool,
    /// Whether the hosts were only asked.
    pub(crate) dry_run: bool,
    /// The purpose of the unfinished operation, in the dry run of a recovery.
    pub(crate) purpose: Option<Purpose>,
}

impl Done {
    /// Returns the result of a usual operation.
    pub(crate) fn new(asked: Operation, group: GroupId, result: Result<Report, Error>) -> Self {
        Done { asked, group, result, exist_ok: false, dry_run: false, purpose: None }
    }

    /// Returns whether every host has the group already, and that is as wanted.
    pub(crate) fn was_there(&self) -> bool {
        let is_there = |report: &Report| report.outcome == Outcome::AlreadyExists && report.all(State::Present);
        self.exist_ok && self.report().is_some_and(is_there)
    }

    pub(crate) fn report(&self) -> Option<&Report> {
        self.result.as_ref().map_or_else(Error::report, Some)
    }

    pub(crate) fn outcome(&self) -> Outcome {
        self.result.as_ref().map_or_else(Error::outcome, |report| report.outcome)
    }

    pub(crate) fn exit(&self) -> Exit {
        if self.was_there() {
            return Exit::Done;
        }
        if let (true, Ok(report)) = (self.dry_run, &self.result) {
            return plan::exit(self, report);
        }
        Exit::of(self.result.as_ref().map_or_else(Error::exit_code, Report::exit_code))
    }
}

/// The summary of a result. Outcome and exit code are in the library's table.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) text: String,
    /// The next command.
    pub(crate) next: Next,
    /// The unfinished operation on the group. Filled for a status and a dry run only.
    pub(crate) unfinished: Option<JournalEntry>,
}

impl Summary {
    fn new(text: impl Into<String>) -> Self {
        Summary { text: text.into(), next: Next::default(), unfinished: None }
    }

    fn then(mut self, next: Next) -> Self {
        self.next = next;
        self
    }
}

pub(crate) fn summarize(done: &Done, advice: &Advice) -> Summary {
    let unfinished = advice.unfinished.get(&done.group).cloned();
    let mut summary = Summary { unfinished, ..summarize_operation(done, advice) };
    if let Some(what) = done.report().and_then(failures::to_check).filter(|_| !summary.next.is_empty()) {
        let _ = write!(summary.text, " Check the {what}: see cluster-client help configuration.");
        // The same command would fail alike.
        if summary.next.is_repetition() {
            summary.next = Next::default();
        }
    }
    match done.report().and_then(|report| report.earlier.as_ref()) {
        Some(earlier) => {
            let first =
                format!("An unfinished operation on the {} was settled first: {}. ", advice.noun(), settled(earlier));
            Summary { text: first + &summary.text, ..summary }
        }
        None => summary,
    }
}

fn summarize_operation(done: &Done, advice: &Advice) -> Summary {
    let (asked, group) = (done.asked, &done.group);
    let Some(report) = done.report() else {
        return Summary::new(done.result.as_ref().err().map(|error| with_causes(error)).unwrap_or_default());
    };
    if done.was_there() {
        return Summary::new(format!("{} already; nothing was changed", everywhere(report)));
    }
    if done.dry_run && report.outcome == Outcome::Observed {
        return Summary::new(plan::text(done, report, advice.unfinished.contains_key(group)));
    }
    match report.outcome {
        Outcome::Created => Summary::new(format!("{} ({})", everywhere(report), seconds(report.elapsed))),
        Outcome::Deleted => {
            let time = seconds(report.elapsed);
            Summary::new(format!("{group} is deleted: absent on {} ({time})", all_of(report)))
        }
        Outcome::Observed => status(report, advice),
        Outcome::Repaired => repaired(report),
        Outcome::Recovered => Summary::new(settled(report)),
        Outcome::AlreadyExists => already_there(report, advice),
        Outcome::Unavailable | Outcome::RolledBack | Outcome::Cancelled => {
            Summary::new(stopped(asked, report)).then(advice.again(asked, group))
        }
        Outcome::TimedOut => Summary::new(stopped(asked, report)).then(advice.with_more_time().again(asked, group)),
        Outcome::Incomplete | Outcome::InDoubt => unreached(asked, report, advice),
        Outcome::Unrecorded => {
            let error = cause(report);
            let text = format!(
                "{}, but the journal may still have it: {error}. A recovery would then undo it.",
                everywhere(report)
            );
            Summary::new(text).then(advice.repair(group, Target::Present))
        }
        Outcome::Busy => {
            let text = format!("{group} is busy: {}. Nothing was sent. Try again when that has ended.", cause(report));
            Summary::new(text).then(advice.again(asked, group))
        }
        Outcome::Conflict if matches!(report.cause, Some(Cause::UnknownApi { .. })) => {
            let text = format!("{}. Nothing was sent. Name its mapping with --api.", report.summary());
            Summary::new(text)
        }
        Outcome::Conflict if matches!(report.cause, Some(Cause::NoCredentials { .. })) => {
            let text = format!(
                "{}. Nothing was sent. Name these hosts with --hosts, and their credentials.",
                report.summary()
            );
            Summary::new(text)
        }
        Outcome::Conflict => {
            let text = format!("not repaired: {}. Nothing was sent.", report.summary());
            Summary::new(text).then(advice.recover())
        }
        Outcome::JournalFailed => {
            let more = if report.earlier.is_some() { "more " } else { "" };
            let failed = cause(report);
            Summary::new(format!("nothing {more}was sent for {group}, because its journal entry failed: {failed}"))
        }
        _ => Summary::new(report.summary()),
    }
}

fn status(report: &Report, advice: &Advice) -> Summary {
    let group = &report.group;
    let (present, total) = (report.present().count(), report.hosts.len());
    let is_unknown = report.unknown().next().is_some();
    let is_mixed = !is_unknown && present != 0 && present != total;
    let text = match present {
        _ if is_unknown => {
            format!("unknown on {}: on {present} of {} as far as known", names(report.unknown()), hosts(total))
        }
        _ if is_mixed => format!("mixed: on {present} of {}", hosts(total)),
        0 if total == 1 => format!("{group} is not on the host"),
        0 => format!("{group} is on none of {}", hosts(total)),
        _ => everywhere(report),
    };
    let entry = advice.unfinished.get(group);
    let more = entry.map(|entry| format!(", and {}", unfinished(entry))).unwrap_or_default();
    let is_running = entry.is_some_and(|entry| entry.holder().is_some());
    let stop = if is_unknown || is_mixed { "." } else { "" };
    let next = if entry.is_some() && !is_running {
        advice.recover()
    } else if is_unknown || is_running {
        advice.after(report.elapsed).again(Operation::Status, group)
    } else if is_mixed {
        advice.repair_either_way(group)
    } else {
        Next::default()
    };
    Summary::new(format!("{text}{more}{stop}")).then(next)
}

/// Describes an unfinished operation on a group. A living owner is named, as nobody else may work on the group.
fn unfinished(entry: &JournalEntry) -> String {
    match entry.holder() {
        Some(holder) => format!("a {} of it is under way ({holder})", entry.purpose()),
        None => "the journal holds an unfinished operation on it".into(),
    }
}

/// Returns the line about an unfinished operation, below the row of its group in a matrix.
pub(crate) fn note(group: &GroupId, entry: &JournalEntry) -> String {
    Printable::new(&format!("note: {group}: {}", unfinished(entry))).to_string()
}

fn repaired(report: &Report) -> Summary {
    let state = match report.operation {
        Operation::Repair(Target::Absent) => format!("{} is absent on {}", report.group, all_of(report)),
        _ => everywhere(report),
    };
    let changed: Vec<&HostReport> = report.hosts.iter().filter(|host| host.changed()).collect();
    let what = if changed.is_empty() {
        "nothing had to be changed".into()
    } else {
        format!("changed on {}", names(changed.into_iter()))
    };
    Summary::new(format!("{state}; {what} ({})", seconds(report.elapsed)))
}

fn settled(report: &Report) -> String {
    let group = &report.group;
    if report.hosts.is_empty() {
        format!("{group} was settled in the meantime")
    } else if report.all(State::Absent) {
        format!("{group} is settled: absent on {}", all_of(report))
    } else if report.all(State::Present) {
        format!("{group} is settled: present on {}", all_of(report))
    } else {
        // A group of another program was there, and was not deleted.
        format!("{group} is settled: nothing that this client created is left; {}", holders(report))
    }
}

/// Describes a create that met the group. If some hosts do not have it, each further create would meet it too.
fn already_there(report: &Report, advice: &Advice) -> Summary {
    let group = &report.group;
    let undone = report.hosts.iter().any(HostReport::may_have_changed);
    let change = if undone { "The creates on other hosts are rolled back." } else { unchanged(report) };
    let has = if report.present().count() == 1 { "has" } else { "have" };
    let (others, next) = match report.absent().count() {
        0 => (String::new(), Next::default()),
        absent => {
            let does = if absent == 1 { "does" } else { "do" };
            let others = format!(", and {absent} of {} {does} not", hosts(report.hosts.len()));
            // After a create that met another one, a person looks first: the other one may still run.
            let next = if undone { advice.status(group) } else { advice.repair_either_way(group) };
            (others, next)
        }
    };
    let text = format!("not created: {} already {has} {group}{others}. {change}", names(report.present()));
    Summary::new(text).then(next)
}

/// Describes an operation that changed nothing, or was rolled back.
fn stopped(asked: Operation, report: &Report) -> String {
    if report.was_rolled_back() {
        return undone(report);
    }
    let failed = match asked {
        Operation::Delete => "deleted",
        Operation::Repair(_) => "repaired",
        Operation::Recover => "recovered",
        _ => "created",
    };
    format!("not {failed}: {}. {}", cause(report), unchanged(report))
}

fn undone(report: &Report) -> String {
    format!("not created: {}. Rolled back: absent on {}.", cause(report), all_of(report))
}

fn unchanged(report: &Report) -> &'static str {
    if report.earlier.is_some() { "Nothing more was changed." } else { "Nothing was changed." }
}

/// Describes an operation after which hosts are not in the wanted state, or may not be.
fn unreached(asked: Operation, report: &Report, advice: &Advice) -> Summary {
    let group = &report.group;
    if report.operation == Operation::Delete {
        let text = format!("not deleted everywhere: {}.", holders(report));
        let next = if report.recoverable { advice.recover() } else { advice.again(Operation::Delete, group) };
        return Summary::new(text).then(next);
    }
    let earlier = report.operation == Operation::Recover && asked != Operation::Recover;
    let before = if earlier { "an earlier operation is not settled, " } else { "" };
    let word = if report.outcome == Outcome::InDoubt { "in doubt" } else { "inconsistent" };
    let named = match &parts(report)[..] {
        [(hosts, _)] => hosts.clone(),
        _ => Vec::new(),
    };
    let why = report.cause.as_ref().map(|_| format!(" ({})", cause_of_doubt(report, &named))).unwrap_or_default();
    // A person who reads "claim" wants to know whose fault that is, and what is safe.
    let lost = if report.cause == Some(Cause::ClaimLost) { LOST } else { "" };
    let text = format!("{before}{word}: {}{why}.{lost}", holders(report));
    let next = match asked {
        Operation::Repair(_) => advice.again(asked, group),
        // The hosts of the journal may be others than those of the settings.
        _ if report.needs_repair() && report.operation == Operation::Recover => {
            advice.repair_on(&report.hosts, group, Target::Absent)
        }
        _ if report.needs_repair() => advice.repair_either_way(group),
        // Another recovery may never reach these hosts.
        Operation::Recover if report.recoverable => advice.recover_or_forget(&failures::unreached(report)),
        _ if report.recoverable => advice.recover(),
        _ => advice.repair_either_way(group),
    };
    Summary::new(text).then(next)
}

const LOST: &str =
    " Its lease in etcd ended, so another coordinator may work on it by now. Nothing was changed after that.";

/// Returns the hosts that have the group, that may have it, and that lack it although they should have it.
fn holders(report: &Report) -> String {
    let parts =
        parts(report).into_iter().map(|(hosts, verb)| format!("{} {verb} {}", failures::names(&hosts), report.group));
    parts.collect::<Vec<_>>().join(", ")
}

/// Returns the hosts of each state that may not be the wanted one, with its verb.
fn parts(report: &Report) -> Vec<(Vec<&Host>, &'static str)> {
    // A recovery creates only to finish a repair to present.
    let creates = |host: &HostReport| host.steps.iter().any(|step| step.action == Action::Create);
    let finishes_repair = report.operation == Operation::Recover && report.hosts.iter().any(creates);
    let absent_matters = finishes_repair || report.operation == Operation::Repair(Target::Present);
    let verbs =
        [(State::Unknown, "may have", "may have"), (State::Present, "has", "have"), (State::Absent, "lacks", "lack")];
    let mut parts = Vec::new();
    for (state, one, many) in verbs {
        let in_state = report.hosts.iter().filter(|host| host.state == state);
        let hosts: Vec<&Host> = in_state.map(|host| &host.host).collect();
        if !hosts.is_empty() && (state != State::Absent || absent_matters) {
            let verb = if hosts.len() == 1 { one } else { many };
            parts.push((hosts, verb));
        }
    }
    parts
}

fn everywhere(report: &Report) -> String {
    format!("{} is on {}", report.group, all_of(report))
}

fn all_of(report: &Report) -> String {
    let total = report.hosts.len();
    format!("{total} of {}", hosts(total))
}

/// Returns `1 host`, `3 hosts`.
pub(crate) fn hosts(number: usize) -> String {
    format!("{number} {}", if number == 1 { "host" } else { "hosts" })
}

/// Lists the hosts. Of many, only the first are listed.
fn names<'a>(hosts: impl Iterator<Item = &'a HostReport>) -> String {
    failures::names(&hosts.map(|host| &host.host).collect::<Vec<_>>())
}

/// Returns whether an operation ended before the interruption took effect.
pub(crate) fn had_completed(done: &Done) -> bool {
    match done.asked {
        Operation::Status => done.exit() != Exit::InDoubt,
        _ => matches!(done.exit(), Exit::Done | Exit::AlreadyThere),
    }
}

/// Returns the state that an operation wants, which decides the colours.
pub(crate) fn wanted(asked: Operation, outcome: Outcome) -> Option<State> {
    match (asked, outcome) {
        (Operation::Create, Outcome::Created | Outcome::Unrecorded) | (Operation::Repair(Target::Present), _) => {
            Some(State::Present)
        }
        // The wanted state of a recovery depends on its operation, which the report does not contain.
        (Operation::Create, Outcome::AlreadyExists | Outcome::Unavailable)
        | (Operation::Status | Operation::Recover, _) => None,
        _ => Some(State::Absent),
    }
}
