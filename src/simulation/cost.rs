//! The cost of the protocol alone: whole operations of the machine, with hosts that answer at once. The script
//! `benches/instructions` counts the instructions of the function [`counted`] under callgrind.

use std::sync::Arc;
use std::time::Duration;

use crate::api::{Action, Body, Reply, classify};
use crate::protocol::{Input, Limits, Machine, Output};
use crate::values::group::GroupId;
use crate::values::host::Host;
use crate::values::outcome::Outcome;
use crate::values::report::Operation;
use crate::values::retry::{RetryBudgets, RetryPolicy};
use crate::values::usage::Usage;

struct Case {
    name: &'static str,
    operation: Operation,
    preflight: bool,
    /// Whether the hosts have the group at first.
    present: bool,
    /// Whether the last host refuses to create it.
    refused: bool,
    outcome: Outcome,
}

const CREATE: Case = Case {
    name: "create",
    operation: Operation::Create,
    preflight: true,
    present: false,
    refused: false,
    outcome: Outcome::Created,
};

const CASES: [Case; 5] = [
    CREATE,
    Case { name: "create without preflight", preflight: false, ..CREATE },
    Case { name: "create and roll back", refused: true, outcome: Outcome::RolledBack, ..CREATE },
    Case { name: "delete", operation: Operation::Delete, present: true, outcome: Outcome::Deleted, ..CREATE },
    Case { name: "status", operation: Operation::Status, present: true, outcome: Outcome::Observed, ..CREATE },
];

fn machine(case: &Case, hosts: &Arc<[Host]>) -> Machine {
    let limits = Limits {
        retry: RetryPolicy::default(),
        rollback_retry: RetryPolicy::default(),
        request_timeout: Duration::from_secs(10),
        operation_timeout: None,
        rollback_timeout: Duration::from_secs(120),
        settle: Duration::from_secs(10),
    };
    let (group, hosts) = (GroupId::parse("g").unwrap(), Arc::clone(hosts));
    Machine::new(case.operation, case.preflight, group, hosts, Arc::default(), limits, 1)
}

/// Runs one operation to its end, with as many requests in flight as the machine allows.
#[inline(never)]
fn counted(mut machine: Machine, mut budgets: RetryBudgets, case: &Case, mut present: Vec<bool>) -> Outcome {
    let now = Duration::ZERO;
    let mut sent = Vec::with_capacity(present.len());
    loop {
        let input = match machine.poll_output(now) {
            Output::Claim => Input::Claimed(Ok(None)),
            Output::Record(_) => Input::Recorded(Ok(())),
            Output::Erase => Input::Erased(Ok(())),
            Output::Done => return machine.into_report().outcome,
            Output::Send { host, action, .. } => {
                sent.push((host, action));
                continue;
            }
            Output::Wait(_) => {
                let (host, action) = sent.pop().expect("an answer is due");
                let status = match action {
                    Action::Create if case.refused && host + 1 == present.len() => 418,
                    Action::Create => 201,
                    Action::Check | Action::Delete => {
                        if present[host] {
                            200
                        } else {
                            404
                        }
                    }
                };
                present[host] = if action == Action::Check { present[host] } else { status == 201 };
                let reply = Reply::Answered { status, retry_after: None, body: Body::Unread };
                // By the API and the group of the machine, as the driver does.
                let reply = classify(machine.api(), action, machine.group(), reply);
                Input::Replied { host, action, reply, usage: Usage::default() }
            }
        };
        machine.handle_input(input, now, &mut budgets);
    }
}

/// `COST_CASE` selects one case by number, `COST_HOSTS` sets the number of hosts. By default all run with three.
#[test]
fn each_operation_has_its_outcome() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<usize>().expect("a number"));
    let (only, hosts) = (number("COST_CASE"), number("COST_HOSTS").unwrap_or(3));
    // The client keeps the hosts, so no operation frees them.
    let cluster = (0..hosts).map(|number| Host::parse(format!("http://node{number}:8000")).unwrap()).collect();
    for (at, case) in CASES.iter().enumerate().filter(|(at, _)| only.is_none_or(|only| only == *at)) {
        println!("case {at}: {}", case.name);
        let outcome = counted(machine(case, &cluster), RetryBudgets::new(hosts), case, vec![case.present; hosts]);
        assert_eq!(outcome, case.outcome, "{}", case.name);
    }
}
