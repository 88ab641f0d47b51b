//! `--dry-run`: what a create, a delete or a repair would do, from the states of the hosts.

use cluster_client::{HostReport, Operation, Report, State, Target};

use crate::exit::Exit;
use crate::summary::hosts;

/// Returns the request that would change a host, if one would be sent.
pub(crate) fn would(asked: Operation, report: &Report, host: &HostReport) -> Option<&'static str> {
    match (asked, host.state) {
        (Operation::Create, State::Absent) if report.all(State::Absent) => Some("create"),
        (Operation::Repair(Target::Present), State::Absent) => Some("create"),
        (Operation::Delete | Operation::Repair(Target::Absent), State::Present) => Some("delete"),
        _ => None,
    }
}

/// Returns the exit of the command if all goes well, or of a status if a host is unknown.
pub(crate) fn exit(asked: Operation, report: &Report, exist_ok: bool) -> Exit {
    if report.unknown().next().is_some() {
        return Exit::InDoubt;
    }
    let is_wanted = exist_ok && report.all(State::Present);
    let is_there = asked == Operation::Create && report.present().next().is_some() && !is_wanted;
    if is_there { Exit::AlreadyThere } else { Exit::Done }
}

pub(crate) fn text(asked: Operation, report: &Report, unfinished: bool) -> String {
    let group = &report.group;
    let changed = report.hosts.iter().filter(|host| would(asked, report, host).is_some()).count();
    let (present, unknown) = (report.present().count(), report.unknown().count());
    let plan = match asked {
        Operation::Create if unknown > 0 => "nothing would be created, because not every host answers".into(),
        Operation::Create if present > 0 => format!("nothing would be created, because {} already", have(present)),
        Operation::Create | Operation::Repair(Target::Present) if changed > 0 => {
            format!("would be created on {}", hosts(changed))
        }
        Operation::Delete | Operation::Repair(Target::Absent) if changed > 0 => {
            format!("would be deleted from {}", hosts(changed))
        }
        _ => "nothing would be changed".into(),
    };
    let but = match unknown {
        0 => String::new(),
        unknown => format!("; the state on {} is unknown", hosts(unknown)),
    };
    let first = if unfinished { "; an unfinished operation on it would be settled first" } else { "" };
    format!("{group}: {plan}{but}{first}. Nothing was sent but questions.")
}

fn have(present: usize) -> String {
    format!("{} {} it", hosts(present), if present == 1 { "has" } else { "have" })
}
