//! The text of a report: one line for an operator, and one for each problem.

use super::{Cause, HostReport, Note, Operation, Report, State, Target};
use crate::values::outcome::Outcome;

impl Report {
    /// One line for an operator: the result, and the next step.
    pub fn summary(&self) -> String {
        match &self.earlier {
            Some(earlier) => format!("{}; an older operation was settled first: {}", self.own(), earlier.count()),
            None => self.own(),
        }
    }

    /// The summary of this operation, without the recovery of an older one.
    fn own(&self) -> String {
        let group = &self.group;
        let (total, hosts) = (self.hosts.len(), counted(self.hosts.len()));
        match self.outcome {
            Outcome::Created => format!("{group} is on {total} of {hosts}"),
            Outcome::AlreadyExists => {
                let undone = self.hosts.iter().any(HostReport::may_have_changed);
                let change = if undone { "what was made beside it is undone" } else { "it was left as it is" };
                let absent = self.absent().count();
                let others = if absent == 0 { String::new() } else { format!(" and not on {absent} of {hosts}") };
                let next = if absent == 0 || undone { "" } else { "; repair" };
                format!("{group} already exists on {}{others}, {change}{next}", names(self.present()))
            }
            Outcome::RolledBack => self.undone(),
            Outcome::Cancelled | Outcome::TimedOut if self.was_rolled_back() => self.undone(),
            Outcome::Unavailable | Outcome::Cancelled | Outcome::TimedOut => {
                let done = if self.earlier_changed() { "nothing more was sent" } else { "nothing was changed" };
                format!("{done} for {group}: {}", self.why())
            }
            Outcome::Unrecorded => {
                format!("{group} is on {total} of {hosts}, but its commit could not be recorded; repair to present")
            }
            Outcome::Incomplete | Outcome::InDoubt => self.doubt(),
            Outcome::Recovered if self.hosts.is_empty() => format!("nothing is unfinished for {group}"),
            Outcome::Busy => format!("group {group} is busy: {}", self.why()),
            Outcome::Conflict if matches!(self.cause, Some(Cause::UnknownApi { .. })) => {
                format!("group {group}: {}: recover it with that API", self.why())
            }
            Outcome::Conflict if matches!(self.cause, Some(Cause::NoCredentials { .. })) => {
                format!("group {group}: {}: recover it with them", self.why())
            }
            Outcome::Conflict => format!("{}: recover it first", self.why()),
            Outcome::JournalFailed => {
                let first = if self.earlier.is_some() {
                    "an older operation was settled, then nothing more"
                } else {
                    "nothing"
                };
                format!("{first} was sent for group {group}, because its journal entry failed")
            }
            Outcome::Refused => format!("nothing was sent for group {group}: a value was refused"),
            Outcome::Forgotten => format!("a host was dropped from the unfinished operation on {group}"),
            Outcome::Deleted | Outcome::Repaired | Outcome::Observed | Outcome::Recovered => self.count(),
        }
    }

    fn undone(&self) -> String {
        let (group, total, hosts) = (&self.group, self.hosts.len(), counted(self.hosts.len()));
        format!("{group} was not created: {}; rolled back, absent on {total} of {hosts}", self.why())
    }

    fn why(&self) -> String {
        self.cause.as_ref().map_or_else(|| "no reason was given".into(), Cause::to_string)
    }

    /// One line for each problem: a host in an unknown or unwanted state, or a journal entry that could not be removed.
    /// Empty if there is none.
    ///
    /// A build script can print each as `cargo::warning=`.
    pub fn warnings(&self) -> Vec<String> {
        let wanted = match (self.operation, self.outcome) {
            (Operation::Create, Outcome::Created | Outcome::Unrecorded) | (Operation::Repair(Target::Present), _) => {
                Some(State::Present)
            }
            (Operation::Recover, _) if self.finishes_repair => Some(State::Present),
            (Operation::Status, _) | (Operation::Create, Outcome::AlreadyExists | Outcome::Unavailable) => None,
            (Operation::Create, Outcome::Cancelled | Outcome::TimedOut) if !self.was_rolled_back() => None,
            _ => Some(State::Absent),
        };
        let off = |host: &&HostReport| wanted.map_or(host.state == State::Unknown, |wanted| host.state != wanted);
        let hosts = self.hosts.iter().filter(off).map(|host| match &host.reason {
            Some(reason) => format!("{}: {} is {} ({reason})", host.host, self.group, host.state),
            None => format!("{}: {} is {}", host.host, self.group, host.state),
        });
        hosts.chain(self.notes.iter().map(Note::to_string)).collect()
    }

    fn doubt(&self) -> String {
        let group = &self.group;
        let wants_present = self.finishes_repair || self.operation == Operation::Repair(Target::Present);
        let mut parts = Vec::new();
        if self.unknown().next().is_some() {
            let may = if wants_present { "may not have" } else { "may have" };
            parts.push(format!("{} {may} {group}", names(self.unknown())));
        }
        if wants_present && self.absent().next().is_some() {
            parts.push(format!("{} does not have {group}", names(self.absent())));
        }
        if !wants_present && self.present().next().is_some() {
            parts.push(format!("{} has {group}", names(self.present())));
        }
        let next = if self.needs_repair() {
            "repair"
        } else if self.recoverable {
            "recover"
        } else {
            "ask for the status, then repair"
        };
        let is_unheld = self.cause == Some(Cause::ClaimLost);
        let cause = match &self.cause {
            Some(cause) if parts.is_empty() => cause.to_string(),
            Some(cause) => format!(" ({cause})"),
            None => String::new(),
        };
        match self.outcome {
            Outcome::InDoubt if is_unheld => format!("in doubt: {}{cause}; {next}", parts.join(", ")),
            Outcome::InDoubt => format!("in doubt: {}{cause}; {next} when it answers", parts.join(", ")),
            _ => format!("incomplete: {}{cause}; {next}", parts.join(", ")),
        }
    }

    fn count(&self) -> String {
        let (total, hosts) = (self.hosts.len(), counted(self.hosts.len()));
        let (present, unknown) = (self.present().count(), self.unknown().count());
        let group = &self.group;
        match (present, unknown) {
            (0, 0) => format!("{group} is absent on {total} of {hosts}"),
            (_, 0) => format!("{group} is on {present} of {hosts}"),
            _ => format!("{group} is on {present} of {hosts}, unknown on {}", names(self.unknown())),
        }
    }
}

/// The number of hosts: `1 host`, `3 hosts`.
fn counted(hosts: usize) -> String {
    format!("{hosts} {}", if hosts == 1 { "host" } else { "hosts" })
}

/// The names of all hosts, or of the first ones and the number of the others.
fn names<'a>(hosts: impl Iterator<Item = &'a HostReport>) -> String {
    const SHOWN: usize = 3;
    let all: Vec<&str> = hosts.map(|host| host.host.label()).collect();
    match all.len() {
        0 => "no host".into(),
        1..=SHOWN => all.join(", "),
        more => format!("{} and {} more", all[..SHOWN].join(", "), more - SHOWN),
    }
}
