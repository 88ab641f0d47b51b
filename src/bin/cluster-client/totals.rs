//! The totals of many groups: `297 created, 2 rolled back, 1 in doubt`.

use cluster_client::{Operation, Outcome, Report, State};

use crate::plan;
use crate::summary::Done;

pub(crate) const NOT_BEGUN: &str = "not begun";

#[derive(Debug, Default)]
pub(crate) struct Totals {
    /// The words in the order of their first group, and the number of groups of each.
    counts: Vec<(&'static str, usize)>,
}

impl Totals {
    pub(crate) fn add(&mut self, done: &Done) {
        self.add_groups(word(done), 1);
    }

    pub(crate) fn add_groups(&mut self, word: &'static str, groups: usize) {
        match self.counts.iter_mut().find(|(known, _)| *known == word) {
            Some((_, count)) => *count += groups,
            None => self.counts.push((word, groups)),
        }
    }

    /// Returns one line: what went well first, then the others from many groups to few, then what was not begun.
    pub(crate) fn line(mut self) -> String {
        let well = ["created", "deleted", "repaired", "settled", "already there as wanted", "on every host"];
        self.counts.sort_by_key(|(word, count)| (*word == NOT_BEGUN, !well.contains(word), std::cmp::Reverse(*count)));
        let counts = self.counts.iter().map(|(word, count)| format!("{count} {word}"));
        counts.collect::<Vec<_>>().join(", ") + "\n"
    }
}

fn word(done: &Done) -> &'static str {
    if done.was_there() {
        return "already there as wanted";
    }
    match done.outcome() {
        Outcome::Observed if done.dry_run => planned(done),
        Outcome::Observed => done.report().map_or("unknown", found),
        Outcome::Created => "created",
        Outcome::Deleted => "deleted",
        Outcome::Repaired => "repaired",
        Outcome::Recovered => "settled",
        Outcome::AlreadyExists => match done.report().map(found) {
            Some("mixed") => "mixed",
            _ => "already there",
        },
        Outcome::Unavailable => "unavailable",
        Outcome::RolledBack => "rolled back",
        Outcome::Cancelled => "cancelled",
        Outcome::TimedOut => "timed out",
        Outcome::Incomplete => "incomplete",
        Outcome::InDoubt | Outcome::Unrecorded => "in doubt",
        Outcome::Busy => "busy",
        Outcome::Conflict => "in conflict",
        Outcome::JournalFailed => "without a journal entry",
        _ => "refused",
    }
}

/// Returns the verdict on the states of all hosts.
pub(crate) fn found(report: &Report) -> &'static str {
    if report.unknown().next().is_some() {
        "unknown"
    } else if report.all(State::Present) {
        "on every host"
    } else if report.all(State::Absent) {
        "on none"
    } else {
        "mixed"
    }
}

fn planned(done: &Done) -> &'static str {
    let Some(report) = done.report() else { return "unknown" };
    let would = report.hosts.iter().find_map(|host| plan::would(done, host));
    match (would, done.asked) {
        (_, Operation::Create) if report.unknown().next().is_some() => "not to be created",
        (Some("create"), _) => "to be created",
        (Some(_), _) => "to be deleted",
        (None, Operation::Create) => "already there",
        (None, Operation::Recover) => "unchanged",
        (None, _) => "as wanted already",
    }
}
