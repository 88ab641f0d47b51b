//! `--dry-run`: what a create, a delete, a repair or a recovery would do, from the states of the hosts.

use cluster_client::{HostReport, Operation, Purpose, Report, State, Target};

use crate::exit::Exit;
use crate::summary::{Done, hosts};

/// Returns the request that would change a host, if one would be sent.
pub(crate) fn would(done: &Done, host: &HostReport) -> Option<&'static str> {
    let report = done.report()?;
    match (done.asked, done.purpose, host.state) {
        (Operation::Create, _, State::Absent) if report.all(State::Absent) => Some("create"),
        (Operation::Repair(Target::Present), _, State::Absent)
        | (Operation::Recover, Some(Purpose::Present), State::Absent) => Some("create"),
        (Operation::Delete | Operation::Repair(Target::Absent), _, State::Present)
        | (Operation::Recover, Some(Purpose::Delete | Purpose::Create { was_absent: true, .. }), State::Present) => {
            Some("delete")
        }
        _ => None,
    }
}

/// Returns the exit of the command if all goes well, or of a status if a host is unknown.
pub(crate) fn exit(done: &Done, report: &Report) -> Exit {
    if report.unknown().next().is_some() {
        return Exit::InDoubt;
    }
    let is_on_a_host = report.present().next().is_some();
    let is_wanted = done.exist_ok && report.all(State::Present);
    match done.asked {
        Operation::Create if is_on_a_host && !is_wanted => Exit::AlreadyThere,
        Operation::Recover if is_on_a_host && only_checks(done) => Exit::Inconsistent,
        _ => Exit::Done,
    }
}

/// Returns whether a recovery changes no host, because none of the groups is known to be ours.
fn only_checks(done: &Done) -> bool {
    matches!(done.purpose, Some(Purpose::Create { was_absent: false, .. }))
}

pub(crate) fn text(done: &Done, report: &Report, unfinished: bool) -> String {
    let group = &report.group;
    let changed = report.hosts.iter().filter_map(|host| would(done, host)).collect::<Vec<_>>();
    let (present, unknown) = (report.present().count(), report.unknown().count());
    let plan = match (done.asked, changed.first()) {
        (Operation::Create, _) if unknown > 0 => "nothing would be created, because not every host answers".into(),
        (Operation::Create, _) if present > 0 => {
            format!("nothing would be created, because {} already", have(present))
        }
        (_, Some(&"create")) => format!("would be created on {}", hosts(changed.len())),
        (_, Some(_)) => format!("would be deleted from {}", hosts(changed.len())),
        (Operation::Recover, None) if present > 0 && only_checks(done) => {
            format!("nothing would be changed, although {}, because the create had no preflight", have(present))
        }
        (_, None) => "nothing would be changed".into(),
    };
    let why = match done.purpose {
        Some(purpose) if only_checks(done) => format!(" (unfinished {purpose}, to be checked)"),
        Some(purpose @ Purpose::Create { .. }) => format!(" (unfinished {purpose}, to be rolled back)"),
        Some(purpose) => format!(" (unfinished {purpose}, to be finished)"),
        None => String::new(),
    };
    let but = match unknown {
        0 => String::new(),
        unknown => format!("; the state on {} is unknown", hosts(unknown)),
    };
    let first = if unfinished { "; an unfinished operation on it would be settled first" } else { "" };
    format!("{group}: {plan}{why}{but}{first}. Nothing was sent but questions.")
}

fn have(present: usize) -> String {
    format!("{} {} it", hosts(present), if present == 1 { "has" } else { "have" })
}
