//! hosts: prints every setting with its origin. Sends nothing and writes nothing.

use std::borrow::Cow;
use std::fmt::Write as _;

use cluster_client::{Host, Origin, Printable};
use serde_json::{Map, Value, json};

use crate::args::{Format, GlobalOptions};
use crate::credentials::Place;
use crate::exit::{CliError, Exit};
use crate::json;
use crate::output::Output;
use crate::settings::{Journal, Settings};
use crate::time;
use crate::tls;

struct Row<'a> {
    name: Cow<'a, str>,
    /// One value, or one for each host.
    values: Vec<String>,
    json: Value,
    origin: &'a Origin,
}

pub(crate) fn show(global: &GlobalOptions, output: &mut Output) -> Result<Exit, CliError> {
    let settings = Settings::resolve(global)?;
    settings.warn_of_default_hosts();
    settings.check_files()?;
    let rows = rows(&settings);
    let text = match output.format {
        Format::Table => table(&rows),
        Format::Json => json::own_line("settings", &object(&rows)),
        Format::Name => settings.hosts.value.iter().flat_map(|host| [host.as_str(), "\n"]).collect(),
    };
    output.print(&text);
    Ok(Exit::Done)
}

fn rows(settings: &Settings) -> Vec<Row<'_>> {
    let hosts: Vec<String> = settings.hosts.value.iter().map(Host::to_string).collect();
    let all_hosts = Row { name: "hosts".into(), json: json!(hosts), values: hosts, origin: &settings.hosts.origin };
    let row = |name: &'static str, text: String, origin| Row {
        name: name.into(),
        json: json!(text),
        values: vec![text],
        origin,
    };
    let number = |name: &'static str, number: usize, origin| Row {
        name: name.into(),
        values: vec![number.to_string()],
        json: json!(number),
        origin,
    };
    let mut rows = vec![
        all_hosts,
        match settings.timeout.value {
            Some(limit) => row("timeout", time::show(limit), &settings.timeout.origin),
            None => Row {
                name: "timeout".into(),
                values: vec!["none".into()],
                json: Value::Null,
                origin: &settings.timeout.origin,
            },
        },
        row("request_timeout", time::show(settings.request_timeout.value), &settings.request_timeout.origin),
        number("attempts", settings.attempts.value as usize, &settings.attempts.origin),
        row("first_delay", time::show(settings.first_delay.value), &settings.first_delay.origin),
        row("max_delay", time::show(settings.max_delay.value), &settings.max_delay.origin),
        row("settle", time::show(settings.settle.value), &settings.settle.origin),
        row("rollback_timeout", time::show(settings.rollback_timeout.value), &settings.rollback_timeout.origin),
        journal(settings),
        row("api", settings.api.api.value.name().to_owned(), &settings.api.api.origin),
        number("threads", settings.threads.value, &settings.threads.origin),
        row("engine", settings.engine.value.word().into(), &settings.engine.origin),
        number("in_flight", settings.in_flight.value, &settings.in_flight.origin),
        Row {
            name: "allow_plain_http".into(),
            values: vec![settings.allow_plain_http.value.to_string()],
            json: json!(settings.allow_plain_http.value),
            origin: &settings.allow_plain_http.origin,
        },
    ];
    if let Some([collection, member]) = &settings.api.paths {
        rows.push(row("paths.collection", collection.value.clone(), &collection.origin));
        rows.push(row("paths.member", member.value.clone(), &member.origin));
    }
    rows.extend(settings.tls.places.iter().map(|tls::Place { key, value, origin }| {
        let shown = value.as_str().map_or_else(|| value.to_string(), |text| Printable::new(text).to_string());
        Row { name: (&**key).into(), values: vec![shown], json: value.clone(), origin }
    }));
    if let Journal::Etcd(etcd) = &settings.journal.value {
        rows.push(row("etcd.ttl", time::show(etcd.ttl.value), &etcd.ttl.origin));
        rows.extend(etcd.places.iter().map(of_place));
    }
    rows.extend(settings.proxy.places.iter().chain(&settings.credentials.places).map(of_place));
    rows
}

/// Shows a setting of the proxy, or the file or the variable of a secret.
fn of_place(place: &Place) -> Row<'_> {
    let shown = Printable::new(&place.shown).to_string();
    let name = Printable::new(&place.key).to_string().into();
    Row { name, values: vec![shown], json: json!(place.shown), origin: &place.origin }
}

fn journal(settings: &Settings) -> Row<'_> {
    let (text, json) = match &settings.journal.value {
        Journal::Directory(directory) => (Printable::path(directory).to_string(), json!(directory.to_string_lossy())),
        Journal::Etcd(etcd) => (Printable::new(&etcd.url).to_string(), json!(etcd.url)),
        Journal::Off => ("none".into(), json!(false)),
        Journal::NoPlace => ("no place: HOME is no absolute path, give --journal DIR".into(), Value::Null),
    };
    Row { name: "journal".into(), values: vec![text], json, origin: &settings.journal.origin }
}

fn table(rows: &[Row<'_>]) -> String {
    let names = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let values = rows.iter().flat_map(|row| &row.values).map(|value| value.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        for (number, value) in row.values.iter().enumerate() {
            let name = if number == 0 { &*row.name } else { "" };
            let _ = writeln!(text, "{name:names$}  {value:values$}  {}", row.origin);
        }
    }
    text
}

/// `{"attempts": {"value": 3, "origin": "default", "from": null}, ...}`.
fn object(rows: &[Row<'_>]) -> Value {
    let entry = |row: &Row<'_>| {
        let (origin, from) = match row.origin {
            Origin::Option(name) => ("option", Some(name.clone())),
            Origin::Environment(name) => ("variable", Some(name.clone())),
            Origin::File(path) => ("file", Some(path.display().to_string())),
            _ => ("default", None),
        };
        (row.name.to_string(), json!({ "value": row.json, "origin": origin, "from": from }))
    };
    Value::Object(rows.iter().map(entry).collect::<Map<_, _>>())
}
