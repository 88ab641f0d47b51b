//! Results for programs: one object on one line for each group. The schema is in the help text of `--output`. It is
//! stable: fields may be added, but are never removed.
//!
//! ```json
//! {"group":"payments","operation":"create","outcome":"rolled_back","exit":1,
//!  "hosts":[{"host":"http://node3:8000","state":"absent","reason":"answered 503 to create, 3 tries",
//!            "steps":[{"action":"create","succeeded":false,"attempts":3,"status":503,"error":null,"elapsed_ms":3210}]}],
//!  "cause":"node3:8000 answered 503 to create, 3 tries","earlier":null,"recoverable":false,"warnings":[],
//!  "elapsed_ms":3300,"next":[["cluster-client","create","--hosts","http://node3:8000","payments"]]}
//! ```

use std::time::Duration;

use cluster_client::{HostReport, HostStep, JournalError, Outcome, Printable, Report};
use serde_json::{Value, json};

use crate::exit::{Exit, with_causes};
use crate::plan;
use crate::summary::{Done, Summary};

/// Returns the line of one group.
pub(crate) fn render(done: &Done, summary: &Summary) -> String {
    let report = done.report();
    // A refused value has no report.
    let cause = match report {
        Some(report) => report.cause.as_ref().map(ToString::to_string),
        None => Some(summary.text.clone()),
    };
    let mut object = json!({
        "group": done.group.as_str(),
        "operation": done.asked.as_str(),
        "outcome": done.outcome().as_str(),
        "exit": done.exit().code(),
        "hosts": report.map(|report| report.hosts.iter().map(host).collect::<Vec<_>>()).unwrap_or_default(),
        "cause": cause,
        "earlier": report.and_then(|report| report.earlier.as_ref()).map(|earlier| earlier.hosts.iter().map(host).collect::<Vec<_>>()),
        "recoverable": report.is_some_and(|report| report.recoverable),
        "warnings": report.map(Report::warnings).unwrap_or_default(),
        "elapsed_ms": report.map_or(0, |report| milliseconds(report.elapsed)),
        "next": summary.next.json(),
    });
    if let (true, Some(report)) = (done.dry_run, report) {
        object["dry_run"] = json!(true);
        for (place, host) in report.hosts.iter().enumerate() {
            object["hosts"][place]["would"] = json!(plan::would(done.asked, report, host));
        }
    }
    line(&object)
}

/// Returns the line of a journal entry that cannot be read, so its group is unknown.
pub(crate) fn unreadable(error: &JournalError) -> String {
    line(&json!({
        "group": null,
        "operation": "recover",
        "outcome": Outcome::JournalFailed.as_str(),
        "exit": Exit::InDoubt.code(),
        "hosts": [],
        "cause": with_causes(error),
        "earlier": null,
        "recoverable": true,
        "warnings": [with_causes(error)],
        "elapsed_ms": 0,
        "next": [],
    }))
}

/// Returns the object as one line. Control and invisible characters become `\\uXXXX`, which is an equal value for a
/// program. In JSON they occur only within strings.
pub(crate) fn line(value: &Value) -> String {
    let mut line = String::new();
    for c in value.to_string().chars() {
        if Printable::escapes(c) {
            line.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            line.push(c);
        }
    }
    line.push('\n');
    line
}

fn host(host: &HostReport) -> Value {
    json!({
        "host": host.host.as_str(),
        "state": host.state.to_string(),
        "reason": host.reason.as_ref().map(ToString::to_string),
        "steps": host.steps.iter().map(step).collect::<Vec<_>>(),
    })
}

fn step(step: &HostStep) -> Value {
    json!({
        "action": step.action.to_string(),
        "succeeded": step.succeeded,
        "attempts": step.attempts,
        "status": step.status,
        "error": step.error.as_ref().map(|error| with_causes(error)),
        "elapsed_ms": milliseconds(step.elapsed),
    })
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
