//! What a result means to whoever typed the command: the exit code, one line, and what to type next.

use cluster_client::{Error, GroupId, HostReport, Operation, Outcome, Report, State, Target};

use crate::exit::{Exit, with_causes};
use crate::next::{Advice, Next};
use crate::time::seconds;

/// The result of one operation on one group.
pub(crate) struct Done {
    pub(crate) asked: Operation,
    pub(crate) group: GroupId,
    pub(crate) result: Result<Report, Error>,
}

impl Done {
    pub(crate) fn report(&self) -> Option<&Report> {
        self.result.as_ref().map_or_else(Error::report, Some)
    }
}

/// What it means.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) exit: Exit,
    /// The outcome's name in JSON.
    pub(crate) outcome: &'static str,
    pub(crate) text: String,
    /// What to type next.
    pub(crate) next: Next,
}

impl Verdict {
    fn new(exit: Exit, outcome: &'static str, text: impl Into<String>) -> Self {
        Verdict { exit, outcome, text: text.into(), next: Next::default() }
    }

    fn then(mut self, next: Next) -> Self {
        self.next = next;
        self
    }
}

pub(crate) fn judge(done: &Done, advice: &Advice) -> Verdict {
    let verdict = judge_operation(done, advice);
    match done.report().and_then(|report| report.earlier.as_ref()) {
        Some(earlier) => {
            let first = format!("An unfinished operation on the group was settled first: {}. ", settled(earlier));
            Verdict { text: first + &verdict.text, ..verdict }
        }
        None => verdict,
    }
}

fn judge_operation(done: &Done, advice: &Advice) -> Verdict {
    let group = &done.group;
    match &done.result {
        Ok(report) => match done.asked {
            Operation::Delete => deletion(report, advice),
            Operation::Status => status(report, advice),
            Operation::Repair(_) => repaired(report),
            Operation::Recover => Verdict::new(Exit::Done, "recovered", settled(report)),
            _ => Verdict::new(Exit::Done, "created", format!("{} ({})", everywhere(report), seconds(report.elapsed))),
        },
        Err(Error::AlreadyExists(report)) => already_there(report),
        Err(Error::Unavailable(report)) => unavailable(done.asked, report, advice),
        Err(Error::RolledBack(report)) => {
            Verdict::new(Exit::Unchanged, "rolled_back", undone(report)).then(advice.again(done.asked, group))
        }
        Err(Error::Cancelled(report)) => Verdict::new(Exit::Unchanged, "cancelled", stopped(done.asked, report))
            .then(advice.again(done.asked, group)),
        Err(Error::TimedOut(report)) => Verdict::new(Exit::Unchanged, "timed_out", stopped(done.asked, report))
            .then(advice.with_more_time().again(done.asked, group)),
        Err(error @ Error::Conflict { .. }) => {
            let text = format!("not repaired: {}. Nothing was sent.", with_causes(error));
            Verdict::new(Exit::Unchanged, "conflict", text).then(advice.recover())
        }
        Err(Error::InDoubt(report)) => in_doubt(done.asked, report, advice),
        Err(Error::Unrecorded(report, error)) => {
            let error = with_causes(error);
            let text = format!(
                "{}, but the journal may still have it: {error}. A recovery would then undo it.",
                everywhere(report)
            );
            Verdict::new(Exit::InDoubt, "unrecorded", text).then(advice.repair(group, Target::Present))
        }
        Err(Error::Busy { holder, .. }) => {
            let text = format!("{group} is busy: {holder}. Nothing was sent. Try again when that has ended.");
            let exit = if done.asked == Operation::Recover { Exit::InDoubt } else { Exit::Unchanged };
            Verdict::new(exit, "busy", text).then(advice.again(done.asked, group))
        }
        Err(Error::Journal { source, report, .. }) => {
            let more = if report.as_ref().is_some_and(|report| report.earlier.is_some()) { "more " } else { "" };
            let failed = with_causes(source);
            let text = format!("nothing {more}was sent for {group}, because its journal entry failed: {failed}");
            Verdict::new(Exit::Unchanged, "journal_failed", text)
        }
        Err(other) => Verdict::new(Exit::Usage, "refused", with_causes(other)),
    }
}

fn deletion(report: &Report, advice: &Advice) -> Verdict {
    let group = &report.group;
    if report.all(State::Absent) {
        let text = format!("{group} is deleted: absent on {} ({})", all_of(report), seconds(report.elapsed));
        return Verdict::new(Exit::Done, "deleted", text);
    }
    let exit = exit_of_what_is_left(report);
    let text = format!("not deleted everywhere: {}.", holders(report));
    let next = if report.recoverable { advice.recover() } else { advice.again(Operation::Delete, group) };
    Verdict::new(exit, "undeleted", text).then(next)
}

fn status(report: &Report, advice: &Advice) -> Verdict {
    let group = &report.group;
    let (present, total) = (report.present().count(), report.hosts.len());
    if report.unknown().next().is_some() {
        let text = format!("unknown on {}: on {present} of {total} hosts as far as known.", names(report.unknown()));
        return Verdict::new(Exit::InDoubt, "observed", text).then(advice.again(Operation::Status, group));
    }
    let (exit, text) = match present {
        0 => (Exit::Unchanged, format!("{group} is on none of {total} hosts")),
        _ if present == total => (Exit::Done, everywhere(report)),
        _ => (Exit::Inconsistent, format!("mixed: on {present} of {total} hosts")),
    };
    let is_mixed = exit == Exit::Inconsistent;
    let is_unfinished = advice.unfinished.contains(group);
    let more = if is_unfinished { ", and the journal holds an unfinished operation on it" } else { "" };
    let stop = if is_mixed { "." } else { "" };
    let next = match (is_unfinished, is_mixed) {
        (true, _) => advice.recover(),
        (false, true) => advice.repair_either_way(group),
        (false, false) => Next::default(),
    };
    Verdict::new(exit, "observed", format!("{text}{more}{stop}")).then(next)
}

fn repaired(report: &Report) -> Verdict {
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
    Verdict::new(Exit::Done, "repaired", format!("{state}; {what} ({})", seconds(report.elapsed)))
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
        // Somebody else's group was there, and was left alone.
        format!("{group} is settled: nothing of ours is left; {}", holders(report))
    }
}

fn already_there(report: &Report) -> Verdict {
    let group = &report.group;
    let undone = report.hosts.iter().any(HostReport::may_have_changed);
    let change = if undone { "What was made beside it is undone." } else { unchanged(report) };
    let has = if report.present().count() == 1 { "has" } else { "have" };
    let text = format!("not created: {} already {has} {group}. {change}", names(report.present()));
    Verdict::new(Exit::AlreadyThere, "already_exists", text)
}

fn unavailable(asked: Operation, report: &Report, advice: &Advice) -> Verdict {
    Verdict::new(Exit::Unchanged, "unavailable", stopped(asked, report)).then(advice.again(asked, &report.group))
}

/// An operation that changed nothing, or has undone what it changed.
fn stopped(asked: Operation, report: &Report) -> String {
    if report.outcome == Outcome::RolledBack {
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

fn in_doubt(asked: Operation, report: &Report, advice: &Advice) -> Verdict {
    let exit = exit_of_what_is_left(report);
    let earlier = report.operation == Operation::Recover && asked != Operation::Recover;
    let before = if earlier { "an earlier operation is not settled, " } else { "" };
    let word = if exit == Exit::InDoubt { "in doubt" } else { "inconsistent" };
    let why = report.cause.as_ref().map(|cause| format!(" ({cause})")).unwrap_or_default();
    let text = format!("{before}{word}: {}{why}.", holders(report));
    let next = match asked {
        Operation::Repair(_) => advice.again(asked, &report.group),
        _ if report.recoverable => advice.recover(),
        _ => advice.repair_either_way(&report.group),
    };
    Verdict::new(exit, "in_doubt", text).then(next)
}

fn exit_of_what_is_left(report: &Report) -> Exit {
    if report.unknown().next().is_some() { Exit::InDoubt } else { Exit::Inconsistent }
}

/// Who has it, who may have it, and of whom it is missing where it should be.
fn holders(report: &Report) -> String {
    let group = &report.group;
    let mut parts = Vec::new();
    let mut add = |hosts: Vec<&HostReport>, one: &str, many: &str| {
        if !hosts.is_empty() {
            let verb = if hosts.len() == 1 { one } else { many };
            parts.push(format!("{} {verb} {group}", names(hosts.into_iter())));
        }
    };
    add(report.unknown().collect(), "may have", "may have");
    add(report.present().collect(), "has", "have");
    if report.operation == Operation::Repair(Target::Present) {
        add(report.absent().collect(), "lacks", "lack");
    }
    parts.join(", ")
}

fn cause(report: &Report) -> String {
    report.cause.as_ref().map_or_else(|| "no reason is known".into(), ToString::to_string)
}

fn everywhere(report: &Report) -> String {
    format!("{} is on {}", report.group, all_of(report))
}

fn all_of(report: &Report) -> String {
    let total = report.hosts.len();
    format!("{total} of {total} {}", if total == 1 { "host" } else { "hosts" })
}

/// Some hosts in words: all of a few, the first of many.
fn names<'a>(hosts: impl Iterator<Item = &'a HostReport>) -> String {
    const SHOWN: usize = 4;
    let all: Vec<&str> = hosts.map(|host| host.host.authority()).collect();
    match all.len() {
        0 => "no host".into(),
        1..=SHOWN => all.join(", "),
        more => format!("{} and {} more", all[..SHOWN].join(", "), more - SHOWN),
    }
}

/// The name of an operation in JSON and in messages.
pub(crate) fn operation_name(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "create",
        Operation::Delete => "delete",
        Operation::Status => "status",
        Operation::Repair(_) => "repair",
        Operation::Recover => "recover",
        _ => "other",
    }
}

/// Whether an operation that was interrupted had ended by itself before.
pub(crate) fn had_completed(asked: Operation, verdict: &Verdict) -> bool {
    match asked {
        Operation::Status => verdict.exit != Exit::InDoubt,
        _ => matches!(verdict.exit, Exit::Done | Exit::AlreadyThere),
    }
}

/// The states that an operation wants, to tell good from bad in colour.
pub(crate) fn wanted(asked: Operation, outcome: Outcome) -> Option<State> {
    match (asked, outcome) {
        (Operation::Create, Outcome::Created | Outcome::Unrecorded) | (Operation::Repair(Target::Present), _) => {
            Some(State::Present)
        }
        // A recovery wants whatever its operation wanted, which its report does not tell.
        (Operation::Create, Outcome::AlreadyExists | Outcome::Unavailable)
        | (Operation::Status | Operation::Recover, _) => None,
        _ => Some(State::Absent),
    }
}
