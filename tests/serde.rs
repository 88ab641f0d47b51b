//! Reports, events and errors serialize in the shape of `docs/json-schema.json`, from a program as from the command.

#[path = "support/schema.rs"]
mod schema;
mod support;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cluster_client::testing::{Cluster, Fault, Method};
use cluster_client::{
    Action, Cause, ClusterClient, Error, Event, EventKind, GroupId, Host, HostReport, HostStep, Interruption,
    JournalError, Observer, Operation, OperationId, Outcome, Phase, Reason, Report, RequestError, RequestErrorKind,
    State, Target,
};
use serde_json::{Value, json};

use crate::schema::assert_described;

#[track_caller]
fn described(value: &impl serde_core::Serialize) -> Value {
    let line = serde_json::to_value(value).unwrap();
    assert_described(&line);
    line
}

fn group() -> GroupId {
    GroupId::parse("payments").unwrap()
}

fn host() -> Host {
    Host::parse("http://node1:8000").unwrap()
}

#[derive(Default)]
struct Keeps(Mutex<Vec<Value>>);

impl Observer for Keeps {
    fn on_event(&self, event: &Event) {
        self.0.lock().unwrap().push(serde_json::to_value(event).unwrap());
    }
}

#[test]
fn events_of_a_rollback_end_with_the_result_that_the_error_serializes() {
    let cluster = Cluster::start(2).unwrap();
    cluster.node(1).inject(Fault::answer(503).on(Method::Post).always());
    let seen = Arc::new(Keeps::default());
    let client = support::builder(cluster.urls()).observer(seen.clone()).build().unwrap();
    let error = client.create_group("payments").unwrap_err();
    let line = described(&error);
    assert_eq!((&line["outcome"], &line["exit"], &line["kind"]), (&json!("rolled_back"), &json!(1), &json!("result")));
    assert_eq!(line["counts"], json!({"hosts": 2, "present": 0, "absent": 2, "unknown": 0}));
    assert_eq!(line["hosts"][1]["reason"]["step"]["status"], 503);
    assert_eq!(line["cause"]["hosts"], json!([cluster.urls()[1]]));
    assert!(line.get("next").is_none(), "only the command knows commands");

    let events = seen.0.lock().unwrap();
    events.iter().for_each(assert_described);
    assert!(events.iter().all(|event| event["id"] == line["id"] && event["group"] == "payments"));
    assert_eq!(events.last().unwrap()["result"], line);
    let names: BTreeSet<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    let all = ["answered", "entered", "finished", "participants", "reached", "retrying", "started"];
    assert_eq!(names, BTreeSet::from(all));
    assert!(cluster.none_has("payments"));
}

#[test]
fn fields_are_in_the_order_of_the_documentation() {
    let report = Report::new(group(), Operation::Repair(Target::Absent), Outcome::Repaired);
    let text = serde_json::to_string(&report).unwrap();
    let start = r#"{"schema":1,"kind":"result","id":"0000000000000000","group":"payments","operation":"repair","target":"absent","outcome":"repaired","exit":0,"#;
    assert!(text.starts_with(start), "{text}");
}

/// Every word of an enum that a value can have is in the schema. A new variant has to be added there too.
#[test]
fn schema_has_every_word() {
    for outcome in [
        Outcome::Created,
        Outcome::Deleted,
        Outcome::Repaired,
        Outcome::Observed,
        Outcome::Recovered,
        Outcome::Forgotten,
        Outcome::AlreadyExists,
        Outcome::Unavailable,
        Outcome::RolledBack,
        Outcome::Cancelled,
        Outcome::TimedOut,
        Outcome::Incomplete,
        Outcome::InDoubt,
        Outcome::Unrecorded,
        Outcome::Busy,
        Outcome::Conflict,
        Outcome::JournalFailed,
        Outcome::Refused,
    ] {
        let report = Report::new(group(), Operation::Create, outcome);
        assert_eq!(described(&report)["outcome"], outcome.as_str());
        if let Err(error) = report.into_result() {
            described(&error);
        }
    }
    let kind = RequestErrorKind::Timeout;
    for kind in [
        RequestErrorKind::Resolve,
        RequestErrorKind::Connect,
        RequestErrorKind::Tls,
        kind,
        RequestErrorKind::Closed,
        RequestErrorKind::Garbage,
        RequestErrorKind::Exhausted,
        RequestErrorKind::GivenUp,
        RequestErrorKind::Internal,
    ] {
        let error = RequestError::new(kind, "no").caused_by(std::io::Error::other("because"));
        let failed = EventKind::failed(host(), Action::Check, 1, error, Duration::from_millis(3)).with_bytes(140, 0);
        let event = described(&event(failed));
        assert_eq!((&event["error"]["kind"], &event["elapsed_ms"]), (&json!(kind.as_str()), &json!(3)));
        assert_eq!((&event["bytes_sent"], &event["bytes_received"]), (&json!(140), &json!(0)));
        assert_eq!(event["error"]["message"], "no: because");
    }
    for phase in [
        Phase::Claim,
        Phase::Probe,
        Phase::Intend,
        Phase::Create,
        Phase::Commit,
        Phase::RollBack,
        Phase::Delete,
        Phase::Settle,
        Phase::Finish,
    ] {
        assert_eq!(described(&event(EventKind::entered(phase)))["phase"], phase.as_str());
    }
    let waiting = described(&event(EventKind::waiting("process 7 holds it", Duration::from_millis(50))));
    assert_eq!((&waiting["holder"], &waiting["delay_ms"]), (&json!("process 7 holds it"), &json!(50)));
    for interruption in [
        Interruption::Cancelled,
        Interruption::TimedOut,
        Interruption::RollbackTimedOut,
        Interruption::FailedElsewhere,
        Interruption::ClaimLost,
    ] {
        let reason = Reason::new(None, Some(interruption));
        let event = described(&event(EventKind::reached(host(), State::Unknown, Some(reason))));
        assert_eq!(event["reason"]["interruption"], interruption.as_str());
    }
}

fn event(kind: EventKind) -> Event {
    Event::new(OperationId::new(7), Operation::Repair(Target::Present), group(), kind)
}

#[test]
fn every_cause_has_its_kind_and_hosts() {
    let reason = || Reason::new(Some(HostStep::answered(Action::Create, 503)), None);
    let full = JournalError::new("write", std::io::Error::other("no space")).with_path("/journal/payments.intent");
    for (cause, kind, hosts) in [
        (Cause::Cancelled, "cancelled", 0),
        (Cause::timed_out(Some((host(), reason()))), "timed_out", 1),
        (Cause::timed_out(None), "timed_out", 0),
        (Cause::RollbackTimedOut, "rollback_timed_out", 0),
        (Cause::ClaimLost, "claim_lost", 0),
        (Cause::host(host(), reason()), "host", 1),
        (Cause::busy("process 7"), "busy", 0),
        (Cause::journal(full), "journal", 0),
    ] {
        let message = cause.to_string();
        let mut report = Report::new(group(), Operation::Create, Outcome::InDoubt);
        report.cause = Some(cause);
        report.hosts.push(HostReport::new(host(), State::Unknown));
        let line = described(&report);
        assert_eq!((&line["cause"]["kind"], &line["cause"]["message"]), (&json!(kind), &json!(message)));
        assert_eq!(line["cause"]["hosts"].as_array().unwrap().len(), hosts);
        assert_eq!(line["cause"]["reason"].is_null(), hosts == 0);
    }
}

#[test]
fn refused_value_and_journal_error_have_the_shape_without_a_report() {
    let refused: Error = ClusterClient::new(["http://user:s3cret@node1"]).unwrap_err();
    let line = described(&refused);
    assert_eq!((&line["outcome"], &line["group"], &line["id"]), (&json!("refused"), &Value::Null, &Value::Null));
    assert_eq!((&line["cause"]["kind"], &line["exit"]), (&json!("config"), &json!(2)));
    assert!(!line.to_string().contains("s3cret"), "{line}");
    let error = JournalError::new("read", std::io::Error::other("torn")).with_path("/journal/payments.intent");
    let line = described(&error);
    assert_eq!(
        (&line["kind"], &line["message"]),
        (&json!("journal_error"), &json!("cannot read /journal/payments.intent: torn"))
    );
}
