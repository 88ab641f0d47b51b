//! Checks the log records of the library: text, level and key-values. Nothing else is printed.
#![cfg(feature = "testing")]

mod support;

use std::collections::BTreeMap;
use std::sync::Mutex;

use cluster_client::testing::{Cluster, Fault, Method};
use log::kv::{Error, Key, Value, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record};

struct Line {
    level: Level,
    target: String,
    text: String,
    values: BTreeMap<String, String>,
}

/// A process has one logger, so this file has one test.
static LINES: Mutex<Vec<Line>> = Mutex::new(Vec::new());

struct Keeps;

struct Values<'a>(&'a mut BTreeMap<String, String>);

impl<'kvs> VisitSource<'kvs> for Values<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        self.0.insert(key.to_string(), value.to_string());
        Ok(())
    }
}

impl Log for Keeps {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let mut values = BTreeMap::new();
        record.key_values().visit(&mut Values(&mut values)).unwrap();
        let (level, target, text) = (record.level(), record.target().to_owned(), record.args().to_string());
        LINES.lock().unwrap().push(Line { level, target, text, values });
    }

    fn flush(&self) {}
}

/// The lines of the library since the last look.
fn lines() -> Vec<Line> {
    let all = std::mem::take(&mut *LINES.lock().unwrap());
    all.into_iter().filter(|line| line.target == "cluster_client").collect()
}

fn count(lines: &[Line], level: Level, text: &str) -> usize {
    lines.iter().filter(|line| line.level == level && line.text.contains(text)).count()
}

#[test]
fn each_creation_verification_failure_and_rollback_is_logged_at_its_level() {
    log::set_logger(&Keeps).unwrap();
    log::set_max_level(LevelFilter::Debug);
    let cluster = Cluster::start(3).unwrap();
    let client = support::client(&cluster);

    client.create_group("g").unwrap();
    let created = lines();
    assert_eq!(count(&created, Level::Info, "created on"), 3);
    assert_eq!(count(&created, Level::Info, "verified present on"), 3);
    assert_eq!(count(&created, Level::Info, "g is on 3 of 3 hosts"), 1);
    assert_eq!(count(&created, Level::Warn, ""), 0);
    let creation = created.iter().find(|line| line.text.contains("created on")).unwrap();
    let value = |key: &str| creation.values.get(key).map(String::as_str);
    assert_eq!((value("group"), value("action"), value("attempt")), (Some("g"), Some("create"), Some("1")));
    assert!(cluster.urls().iter().any(|url| Some(url.as_str()) == value("host")), "{:?}", creation.values);

    assert_eq!(client.delete_group("g").unwrap().undeleted().count(), 0);
    let deleted = lines();
    assert_eq!(count(&deleted, Level::Info, "deleted on"), 3);
    assert_eq!(count(&deleted, Level::Info, "verified absent on"), 3);

    cluster.node(2).inject(Fault::answer(503).on(Method::Post));
    cluster.node(2).inject(Fault::answer(403).on(Method::Post));
    client.create_group("g").unwrap_err();
    let failed = lines();
    assert_eq!(count(&failed, Level::Warn, "create failed (answered 503)"), 1);
    assert_eq!(count(&failed, Level::Warn, "g: create on"), 1, "it is retried");
    assert_eq!(count(&failed, Level::Warn, "create failed (answered 403)"), 1);
    assert_eq!(count(&failed, Level::Debug, "roll back"), 1);
    assert_eq!(count(&failed, Level::Info, "deleted on"), 2);
    assert_eq!(count(&failed, Level::Warn, "rolled back, absent on 3 of 3 hosts"), 1);
    assert_eq!(count(&failed, Level::Error, ""), 0);
    assert!(cluster.none_has("g"));

    cluster.node(0).inject(Fault::answer(500).on(Method::Delete).always());
    cluster.node(2).inject(Fault::answer(403).on(Method::Post));
    client.create_group("g").unwrap_err();
    assert_eq!(count(&lines(), Level::Error, "incomplete"), 1);
    assert_eq!(cluster.holders("g"), [0]);
}
