//! Floor 1: reports, events and errors for programs, with the feature `serde`. The command's JSON is this shape too, and
//! `docs/json-schema.json` describes it.
//!
//! Only serialization: a program reads results, and nothing that it writes becomes one. Written by hand, because the
//! shape is a contract of its own, and a rename of a field must not change it.

use std::error::Error as StdError;
use std::time::Duration;

use serde_core::ser::{Serialize, SerializeStruct as _, Serializer};

use crate::values::action::Action;
use crate::values::answer_problem::AnswerProblem;
use crate::values::cause::{JournalError, RequestError, RequestErrorKind};
use crate::values::config::ConfigError;
use crate::values::error::{Deletion, Error};
use crate::values::event::{Event, EventKind, Phase};
use crate::values::group::GroupId;
use crate::values::host::Host;
use crate::values::intent::Purpose;
use crate::values::outcome::Outcome;
use crate::values::printable::Printable;
use crate::values::report::{
    Cause, HostReport, HostStep, Interruption, Operation, OperationId, Reason, Report, State, Target,
};

/// Version of the shape. A field may be added within a version, but none is removed and none changes its meaning.
pub(crate) const SCHEMA: u32 = 1;

/// Serializes an object with these fields, in this order.
macro_rules! object {
    ($serializer:expr, { $($key:literal: $value:expr),+ $(,)? }) => {{
        let mut object = $serializer.serialize_struct("", [$($key),+].len())?;
        $(object.serialize_field($key, &$value)?;)+
        object.end()
    }};
}
pub(crate) use object;

/// Serializes each type as the text that the method returns.
macro_rules! texts {
    ($($type:ty: $method:ident),+ $(,)?) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.$method())
            }
        }
    )+};
}

texts! {
    Action: as_str,
    AnswerProblem: as_str,
    GroupId: as_str,
    Host: as_str,
    Interruption: as_str,
    Operation: as_str,
    Outcome: as_str,
    Phase: as_str,
    RequestErrorKind: as_str,
    State: as_str,
    Target: as_str,
}

impl Serialize for Purpose {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Purpose::Create { .. } => "create",
            Purpose::Delete => "delete",
            Purpose::Present => "present",
        })
    }
}

impl Serialize for OperationId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The result of one operation on one group: of a report, or of an error without one. All results have these fields.
struct ResultLine<'a> {
    id: Option<OperationId>,
    group: Option<&'a GroupId>,
    operation: Option<Operation>,
    outcome: Outcome,
    exit: u8,
    report: Option<&'a Report>,
    cause: Option<CauseObject<'a>>,
}

impl<'a> ResultLine<'a> {
    fn of_report(report: &'a Report) -> Self {
        ResultLine {
            id: Some(report.id),
            group: Some(&report.group),
            operation: Some(report.operation),
            outcome: report.outcome,
            exit: report.exit_code(),
            report: Some(report),
            cause: report.cause.as_ref().map(CauseObject::of),
        }
    }

    fn of_error(error: &'a Error) -> Self {
        let kind = if matches!(error, Error::Config { .. }) { "config" } else { "journal" };
        let cause = CauseObject { kind, message: with_sources(error), hosts: Vec::new(), reason: None };
        let (outcome, exit, cause) = (error.outcome(), error.exit_code(), Some(cause));
        error.report().map_or(
            ResultLine { id: None, group: None, operation: None, outcome, exit, report: None, cause },
            Self::of_report,
        )
    }
}

impl Serialize for ResultLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let report = self.report;
        object!(serializer, {
            "schema": SCHEMA,
            "kind": "result",
            "id": self.id,
            "group": self.group,
            "operation": self.operation,
            "target": self.operation.and_then(target),
            "outcome": self.outcome,
            "exit": self.exit,
            "counts": Counts(report),
            "hosts": report.map_or(&[][..], |report| &report.hosts),
            "cause": self.cause,
            "earlier": report.and_then(|report| report.earlier.as_deref()),
            "recoverable": report.is_some_and(|report| report.recoverable),
            "warnings": report.map(Report::warnings).unwrap_or_default(),
            "elapsed_ms": report.map_or(0, |report| milliseconds(report.elapsed)),
        })
    }
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ResultLine::of_report(self).serialize(serializer)
    }
}

impl Serialize for Deletion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.report().serialize(serializer)
    }
}

/// The report of the error, or a result without a group.
impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ResultLine::of_error(self).serialize(serializer)
    }
}

impl Serialize for ConfigError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Error::from(self.clone()).serialize(serializer)
    }
}

/// The number of hosts, and of those in each state.
struct Counts<'a>(Option<&'a Report>);

impl Serialize for Counts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let hosts = self.0.map_or(&[][..], |report| &report.hosts);
        let count = |state| hosts.iter().filter(|host| host.state == state).count();
        object!(serializer, {
            "hosts": hosts.len(),
            "present": count(State::Present),
            "absent": count(State::Absent),
            "unknown": count(State::Unknown),
        })
    }
}

impl Serialize for HostReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        object!(serializer, {
            "host": self.host,
            "state": self.state,
            "reason": self.reason,
            "steps": self.steps,
        })
    }
}

impl Serialize for HostStep {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        object!(serializer, {
            "action": self.action,
            "succeeded": self.succeeded,
            "attempts": self.attempts,
            "status": self.status,
            "problem": self.problem,
            "error": self.error,
            "elapsed_ms": milliseconds(self.elapsed),
        })
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        object!(serializer, {
            "message": self.to_string(),
            "step": self.step,
            "interruption": self.interruption,
        })
    }
}

impl Serialize for RequestError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        object!(serializer, { "kind": self.kind(), "message": with_sources(self) })
    }
}

/// The cause of a failure, of a report or of an error without one.
struct CauseObject<'a> {
    kind: &'static str,
    message: String,
    /// The hosts that the cause names.
    hosts: Vec<&'a Host>,
    reason: Option<&'a Reason>,
}

impl<'a> CauseObject<'a> {
    fn of(cause: &'a Cause) -> Self {
        let (kind, hosts, reason) = match cause {
            Cause::Cancelled => ("cancelled", Vec::new(), None),
            Cause::TimedOut { host: None } => ("timed_out", Vec::new(), None),
            Cause::TimedOut { host: Some((host, reason)) } => ("timed_out", vec![host], Some(reason)),
            Cause::RollbackTimedOut => ("rollback_timed_out", Vec::new(), None),
            Cause::ClaimLost => ("claim_lost", Vec::new(), None),
            Cause::Host { host, reason } => ("host", vec![host], Some(reason)),
            Cause::Busy { .. } => ("busy", Vec::new(), None),
            Cause::Conflict { unnamed, .. } => ("conflict", unnamed.iter().collect(), None),
            Cause::UnknownApi { .. } => ("unknown_api", Vec::new(), None),
            Cause::NoCredentials { hosts } => ("no_credentials", hosts.iter().collect(), None),
            Cause::Journal { .. } => ("journal", Vec::new(), None),
        };
        CauseObject { kind, message: cause.to_string(), hosts, reason }
    }
}

impl Serialize for CauseObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        object!(serializer, {
            "kind": self.kind,
            "message": self.message,
            "hosts": self.hosts,
            "reason": self.reason,
        })
    }
}

impl Serialize for Cause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        CauseObject::of(self).serialize(serializer)
    }
}

/// An entry of a journal that cannot be read.
impl Serialize for JournalError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        object!(serializer, {
            "schema": SCHEMA,
            "kind": "journal_error",
            "file": self.path().map(|path| path.to_string_lossy()),
            "message": with_sources(self),
        })
    }
}

/// Serializes an event with these fields after those of every event.
macro_rules! event_object {
    ($serializer:expr, $event:expr, $name:literal, { $($fields:tt)+ }) => {
        object!($serializer, {
            "schema": SCHEMA,
            "kind": "event",
            "event": $name,
            "id": $event.id,
            "operation": $event.operation,
            "target": target($event.operation),
            "group": $event.group,
            $($fields)+
        })
    };
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.kind {
            EventKind::Started { hosts } => event_object!(serializer, self, "started", { "count": hosts }),
            EventKind::Entered { phase } => event_object!(serializer, self, "entered", { "phase": phase }),
            EventKind::Waiting { holder, delay } => event_object!(serializer, self, "waiting", {
                "holder": holder,
                "delay_ms": milliseconds(*delay),
            }),
            EventKind::Participants { hosts } => event_object!(serializer, self, "participants", { "hosts": hosts }),
            EventKind::Answered {
                host,
                action,
                attempt,
                succeeded,
                denied,
                status,
                problem,
                error,
                elapsed,
                bytes_sent,
                bytes_received,
            } => {
                event_object!(serializer, self, "answered", {
                    "host": host,
                    "action": action,
                    "attempt": attempt,
                    "succeeded": succeeded,
                    "denied": denied,
                    "status": status,
                    "problem": problem,
                    "error": error,
                    "elapsed_ms": milliseconds(*elapsed),
                    "bytes_sent": bytes_sent,
                    "bytes_received": bytes_received,
                })
            }
            EventKind::Retrying { host, action, attempt, delay } => event_object!(serializer, self, "retrying", {
                "host": host,
                "action": action,
                "attempt": attempt,
                "delay_ms": milliseconds(*delay),
            }),
            EventKind::Reached { host, state, reason } => event_object!(serializer, self, "reached", {
                "host": host,
                "state": state,
                "reason": reason,
            }),
            EventKind::Finished { report } => event_object!(serializer, self, "finished", { "result": report }),
        }
    }
}

fn target(operation: Operation) -> Option<Target> {
    match operation {
        Operation::Repair(target) => Some(target),
        _ => None,
    }
}

/// Returns whole milliseconds.
fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Returns an error and its sources in one line, escaped, because a source may quote a server or a file.
fn with_sources(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    Printable::new(&text).to_string()
}
