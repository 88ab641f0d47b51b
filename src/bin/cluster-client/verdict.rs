//! What a result means to whoever typed the command: the exit code, one line, and what to type next.

use std::collections::HashSet;

use cluster_client::{Error, GroupId, HostReport, Operation, Outcome, Report, State, Target};

use crate::exit::{Exit, with_causes};
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
    pub(crate) next: Option<String>,
}

/// What the next command needs beside its own words.
#[derive(Debug, Clone, Default)]
pub(crate) struct Advice {
    /// The options that were typed and hold for the next command too, such as ` --hosts ...`.
    pub(crate) options: String,
    /// The groups that the journal holds, as far as somebody looked.
    pub(crate) unfinished: HashSet<GroupId>,
}

impl Advice {
    fn repair(&self, group: &GroupId, to: &str) -> String {
        self.command(&format!("repair {} --to {to}", quoted(group)))
    }

    fn on(&self, command: &str, group: &GroupId) -> String {
        self.command(&format!("{command} {}", quoted(group)))
    }

    pub(crate) fn recover(&self) -> String {
        self.command("recover")
    }

    fn command(&self, words: &str) -> String {
        format!("cluster-client {words}{}", self.options)
    }

    /// Settles what is left: from the journal, where it is noted there.
    fn settle(&self, report: &Report) -> String {
        if report.recoverable { self.recover() } else { self.repair(&report.group, "present|absent") }
    }
}

/// An id as a shell takes it for one word.
fn quoted(group: &GroupId) -> String {
    let id = group.as_str();
    let plain = |c: char| c.is_alphanumeric() || "-._/:@%+=,".contains(c);
    if id.starts_with('-') {
        format!("-- '{}'", id.replace('\'', r"'\''"))
    } else if id.chars().all(plain) {
        id.into()
    } else {
        format!("'{}'", id.replace('\'', r"'\''"))
    }
}

impl Verdict {
    fn new(exit: Exit, outcome: &'static str, text: impl Into<String>) -> Self {
        Verdict { exit, outcome, text: text.into(), next: None }
    }

    fn then(mut self, next: String) -> Self {
        self.next = Some(next);
        self
    }
}

pub(crate) fn judge(done: &Done, advice: &Advice) -> Verdict {
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
            let text = format!("not created: {}. Rolled back: absent on {}.", cause(report), all_of(report));
            Verdict::new(Exit::Unchanged, "rolled_back", text)
        }
        Err(Error::InDoubt(report)) => in_doubt(done.asked, report, advice),
        Err(Error::Unrecorded(report, error)) => {
            let error = with_causes(error);
            let text = format!(
                "{}, but the journal may still have it: {error}. A recovery would then undo it.",
                everywhere(report)
            );
            Verdict::new(Exit::InDoubt, "unrecorded", text).then(advice.repair(group, "present"))
        }
        Err(Error::Busy { holder, .. }) => {
            let text = format!("{group} is busy: {holder}. Nothing was sent. Try again when that has ended.");
            Verdict::new(if done.asked == Operation::Recover { Exit::InDoubt } else { Exit::Unchanged }, "busy", text)
        }
        Err(Error::Journal { source, .. }) => {
            let text =
                format!("nothing was sent for {group}, because its journal entry failed: {}", with_causes(source));
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
    let next = if report.recoverable { advice.recover() } else { advice.on("delete", group) };
    Verdict::new(exit, "undeleted", text).then(next)
}

fn status(report: &Report, advice: &Advice) -> Verdict {
    let group = &report.group;
    let (present, total) = (report.present().count(), report.hosts.len());
    if report.unknown().next().is_some() {
        let text = format!("unknown on {}: on {present} of {total} hosts as far as known.", names(report.unknown()));
        return Verdict::new(Exit::InDoubt, "observed", text).then(advice.on("status", group));
    }
    match present {
        0 => Verdict::new(Exit::Unchanged, "observed", format!("{group} is on none of {total} hosts")),
        _ if present == total => Verdict::new(Exit::Done, "observed", everywhere(report)),
        _ if advice.unfinished.contains(group) => {
            let text = format!("mixed: on {present} of {total} hosts, and the journal holds an unfinished operation.");
            Verdict::new(Exit::Inconsistent, "observed", text).then(advice.recover())
        }
        _ => Verdict::new(Exit::Inconsistent, "observed", format!("mixed: on {present} of {total} hosts."))
            .then(advice.repair(group, "present|absent")),
    }
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
    let undone = report.hosts.iter().any(HostReport::changed);
    let change = if undone { "What was made beside it is undone." } else { "Nothing was changed." };
    let has = if report.present().count() == 1 { "has" } else { "have" };
    let text = format!("not created: {} already {has} {group}. {change}", names(report.present()));
    Verdict::new(Exit::AlreadyThere, "already_exists", text)
}

fn unavailable(asked: Operation, report: &Report, advice: &Advice) -> Verdict {
    let (failed, command) = match asked {
        Operation::Delete => ("deleted", "delete"),
        Operation::Repair(_) => ("repaired", ""),
        Operation::Recover => ("recovered", "recover"),
        _ => ("created", "create"),
    };
    let text = format!("not {failed}: {}. Nothing was changed.", cause(report));
    let verdict = Verdict::new(Exit::Unchanged, "unavailable", text);
    match (asked, command) {
        (Operation::Repair(Target::Present), _) => verdict.then(advice.repair(&report.group, "present")),
        (Operation::Repair(Target::Absent), _) => verdict.then(advice.repair(&report.group, "absent")),
        (Operation::Recover, _) => verdict.then(advice.recover()),
        (_, command) => verdict.then(advice.on(command, &report.group)),
    }
}

fn in_doubt(asked: Operation, report: &Report, advice: &Advice) -> Verdict {
    let exit = exit_of_what_is_left(report);
    let earlier = report.operation == Operation::Recover && asked != Operation::Recover;
    let before = if earlier { "an earlier operation is not settled, " } else { "" };
    let word = if exit == Exit::InDoubt { "in doubt" } else { "inconsistent" };
    let why = report.cause.as_ref().map(|cause| format!(" ({cause})")).unwrap_or_default();
    let text = format!("{before}{word}: {}{why}.", holders(report));
    let next = match asked {
        Operation::Repair(Target::Present) => advice.repair(&report.group, "present"),
        Operation::Repair(Target::Absent) => advice.repair(&report.group, "absent"),
        _ => advice.settle(report),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_quoted_as_a_shell_needs_it() {
        let quote = |id| quoted(&GroupId::parse(id).unwrap());
        assert_eq!(quote("users-42"), "users-42");
        assert_eq!(quote("two words"), "'two words'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote("-x"), "-- '-x'");
        assert_eq!(quote("a;b"), "'a;b'");
    }
}
