//! Lines for programs: one object on each. The library serializes its values, and the command adds what only it knows.
//! `docs/json-schema.json` describes every line, and `cluster-client help json-schema` prints it.

use cluster_client::{ConfigError, Error, GroupId, Operation, Outcome, Printable, Report};
use serde_core::Serialize;
use serde_json::{Map, Value, json};

use crate::exit::{CliError, Exit};
use crate::plan;
use crate::summary::{Done, Summary};

/// The schema of all lines.
pub(crate) const SCHEMA: &str = include_str!("../../../docs/json-schema.json");

/// Returns the line of one group: its report, or the error that has none, and the next commands.
pub(crate) fn render(done: &Done, summary: &Summary) -> String {
    let mut line = match &done.result {
        Ok(report) => object(report),
        Err(error) => object(error),
    };
    // The report is that of a recovery, if an older operation could not be settled.
    if let (true, Some(report)) = (done.dry_run, done.report()) {
        add_plan(&mut line, done, report);
    }
    if let Some(entry) = &summary.unfinished {
        line.insert("unfinished".into(), object(entry).into());
    }
    let exit = json!(done.exit().code());
    let next = summary.next.json();
    with(line, [("group", json!(done.group)), ("operation", json!(done.asked)), ("exit", exit), ("next", next)])
}

/// Adds what a dry run alone has: the request that each host would get. The report is that of a status.
fn add_plan(line: &mut Map<String, Value>, done: &Done, report: &Report) {
    line.insert("dry_run".into(), json!(true));
    if let Operation::Repair(target) = done.asked {
        line.insert("target".into(), json!(target));
    }
    let hosts = line.get_mut("hosts").and_then(Value::as_array_mut).into_iter().flatten();
    for (object, host) in hosts.zip(&report.hosts) {
        object["would"] = json!(plan::would(done, host));
    }
}

/// Returns the line of a group for which a host could not be forgotten.
pub(crate) fn not_forgotten(group: &GroupId, error: &Error, exit: Exit) -> String {
    let operation = json!(Operation::Forget);
    let fields = [("group", json!(group)), ("operation", operation), ("exit", json!(exit.code())), ("next", json!([]))];
    with(object(error), fields)
}

/// Returns the line of a command that ended without a result. A refused value of the library has every field, so its
/// object is filled with what the command says.
pub(crate) fn failure(error: &CliError, operation: Option<&str>) -> String {
    let mut line = object(&Error::from(ConfigError::new("command", "", "", "")));
    line["cause"]["message"] = json!(error.message);
    line["cause"]["kind"] = json!(if error.outcome == Outcome::JournalFailed { "journal" } else { "config" });
    let fields = [
        ("operation", json!(operation)),
        ("outcome", json!(error.outcome)),
        ("exit", json!(error.exit.code())),
        ("next", json!([])),
    ];
    with(line, fields)
}

/// Returns the line of a value that the library serializes.
pub(crate) fn line(value: &impl Serialize) -> String {
    to_line(&Value::Object(object(value)))
}

/// Returns the line of the command's own value.
pub(crate) fn own_line(kind: &str, value: &Value) -> String {
    to_line(&json!({ "schema": 1, "kind": kind, kind: value }))
}

fn with<const N: usize>(mut line: Map<String, Value>, fields: [(&str, Value); N]) -> String {
    line.extend(fields.map(|(name, value)| (name.to_owned(), value)));
    to_line(&Value::Object(line))
}

/// Returns the object of a value. Only a value with a map whose keys are not text would fail, and none has one.
fn object(value: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(object)) => object,
        _ => Map::new(),
    }
}

/// Returns the object as one line. Control and invisible characters become `\\uXXXX`, which is an equal value for a
/// program. In JSON they occur only within strings.
pub(crate) fn to_line(value: &Value) -> String {
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
