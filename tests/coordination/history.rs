//! The history of etcd: every change of a key with its revision, and the moment when it was seen.
//!
//! Each member is watched by a thread of its own, so that a member that stops hides nothing.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::etcd::{Etcd, MEMBERS, PASSWORD, USER, key, text};
use crate::lane::PREFIX;
use crate::proof::PATIENCE;

/// A key outside the journal, written to learn that all before it was seen.
const MARK: &str = "mark";
const AGAIN: Duration = Duration::from_millis(50);

pub(crate) struct History {
    shared: Arc<Shared>,
}

struct Shared {
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default)]
struct Seen {
    /// By revision and key.
    events: BTreeMap<(i64, String), Event>,
    /// Events up to this revision are forgotten. A member that lags may tell them again.
    forgotten: i64,
    marks: u64,
    closed: bool,
}

/// A change of one key.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) revision: i64,
    /// Whether the key was not there before.
    pub(crate) is_new: bool,
    pub(crate) key: String,
    /// `None` for a deletion.
    pub(crate) value: Option<String>,
    /// The earliest moment at which any member told it. It happened before.
    pub(crate) at: Instant,
}

/// A lock from its creation to its end.
#[derive(Clone, Debug)]
pub(crate) struct Lock {
    pub(crate) group: String,
    /// The process that holds it.
    pub(crate) pid: u32,
    pub(crate) revision: i64,
    pub(crate) from: Instant,
    /// Revision and moment of its deletion.
    pub(crate) to: Option<(i64, Instant)>,
}

impl History {
    pub(crate) fn watch(etcd: &Etcd) -> Self {
        let shared = Arc::new(Shared { seen: Mutex::default(), changed: Condvar::new() });
        for member in 0..MEMBERS {
            let (shared, auth) = (Arc::clone(&shared), etcd.token().is_some());
            let url = format!("http://{}", etcd.address(member));
            thread::spawn(move || shared.follow(&url, auth));
        }
        History { shared }
    }

    /// All events so far, in their order.
    pub(crate) fn events(&self, etcd: &Etcd) -> Vec<Event> {
        let mark = {
            let mut seen = self.shared.seen();
            seen.marks += 1;
            seen.marks.to_string()
        };
        etcd.call("/v3/kv/put", &json!({"key": key(MARK), "value": key(&mark)}));
        let is_mark = |event: &Event| event.key == MARK && event.value.as_ref() == Some(&mark);
        assert!(self.wait(PATIENCE, |events| events.values().any(is_mark)), "no member shows its history");
        self.shared.seen().events.values().cloned().collect()
    }

    /// Forgets the events so far. No lock may be held.
    pub(crate) fn forget(&self) {
        let mut seen = self.shared.seen();
        seen.forgotten = seen.events.last_key_value().map_or(seen.forgotten, |((revision, _), _)| *revision);
        seen.events.clear();
    }

    /// Waits for the first lock on a group by this process that is given up again. The moment of its end.
    pub(crate) fn wait_for_unlock(&self, pid: u32, group: &str, patience: Duration) -> Option<Instant> {
        let mut end = None;
        self.wait(patience, |events| {
            let locks = locks(events.values());
            end = locks.iter().rev().find(|lock| lock.pid == pid && lock.group == group).and_then(|lock| lock.to);
            end.is_some()
        });
        end.map(|(_, at)| at)
    }

    /// Waits until nobody holds a lock on the group, or on any group if none is named. Whether that came about in time.
    pub(crate) fn wait_until_free(&self, group: Option<&str>, patience: Duration) -> bool {
        let held = |lock: &Lock| lock.to.is_none() && group.is_none_or(|group| lock.group == group);
        self.wait(patience, |events| !locks(events.values()).iter().any(held))
    }

    fn wait(&self, patience: Duration, mut wanted: impl FnMut(&BTreeMap<(i64, String), Event>) -> bool) -> bool {
        let seen = self.shared.seen();
        let (_seen, end) =
            self.shared.changed.wait_timeout_while(seen, patience, |seen| !wanted(&seen.events)).unwrap();
        !end.timed_out()
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.shared.seen().closed = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// Watches one member, and again whenever the watch ends, from where it ended.
    fn follow(&self, url: &str, auth: bool) {
        let mut next = 1;
        loop {
            let _ = self.watch(url, auth, &mut next);
            let seen = self.seen();
            let (seen, _) = self.changed.wait_timeout_while(seen, AGAIN, |seen| !seen.closed).unwrap();
            if seen.closed {
                return;
            }
        }
    }

    fn watch(&self, url: &str, auth: bool, next: &mut i64) -> Result<(), ureq::Error> {
        let agent = ureq::Agent::config_builder().timeout_connect(Some(PATIENCE)).build().new_agent();
        let mut request = agent.post(format!("{url}/v3/watch"));
        if auth {
            let login = json!({"name": USER, "password": PASSWORD}).to_string();
            let answer = agent.post(format!("{url}/v3/auth/authenticate")).send(login)?.body_mut().read_to_string()?;
            let token: Value = serde_json::from_str(&answer).unwrap_or_default();
            request = request.header("Authorization", token["token"].as_str().unwrap_or_default());
        }
        // All keys there are: from the null byte on.
        let all = key("\0");
        let create = json!({"create_request": {"key": all, "range_end": all, "start_revision": next.to_string()}});
        let answer = request.send(create.to_string())?;
        for line in BufReader::new(answer.into_body().into_reader()).lines().map_while(Result::ok) {
            let line: Value = serde_json::from_str(&line).unwrap_or_default();
            let result = &line["result"];
            if result["canceled"] == true || !result.is_object() {
                break;
            }
            let events: Vec<Event> = result["events"].as_array().into_iter().flatten().filter_map(event).collect();
            *next = events.iter().map(|event| event.revision + 1).fold(*next, i64::max);
            let mut seen = self.seen();
            let forgotten = seen.forgotten;
            for event in events.into_iter().filter(|event| event.revision > forgotten) {
                seen.events.entry((event.revision, event.key.clone())).or_insert(event);
            }
            if seen.closed {
                break;
            }
            drop(seen);
            self.changed.notify_all();
        }
        Ok(())
    }
}

fn event(event: &Value) -> Option<Event> {
    let kv = &event["kv"];
    let value = (event["type"] != "DELETE").then(|| text(&kv["value"]));
    let revision = kv["mod_revision"].as_str()?.parse().ok()?;
    let is_new = kv["create_revision"] == kv["mod_revision"];
    Some(Event { revision, is_new, key: text(&kv["key"]), value, at: Instant::now() })
}

/// The locks in a history, in the order of their creation.
pub(crate) fn locks<'a>(events: impl Iterator<Item = &'a Event>) -> Vec<Lock> {
    let mut locks: Vec<Lock> = Vec::new();
    for event in events {
        let Some(group) = event.key.strip_prefix(PREFIX).and_then(|key| key.strip_prefix("lock/")) else { continue };
        match &event.value {
            // Its owner writes it again with each change of the intent.
            Some(_) if !event.is_new => {}
            Some(value) => locks.push(Lock {
                group: group.to_owned(),
                pid: pid(value),
                revision: event.revision,
                from: event.at,
                to: None,
            }),
            None => {
                // One from before the last `forget` is not there.
                if let Some(open) = locks.iter_mut().rev().find(|lock| lock.group == group && lock.to.is_none()) {
                    open.to = Some((event.revision, event.at));
                }
            }
        }
    }
    locks
}

/// The process that a lock names, as in `process 4711 on host`.
fn pid(value: &str) -> u32 {
    let words: Vec<&str> = value.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let place = words.windows(2).find(|pair| pair[0] == "process");
    place.and_then(|pair| pair[1].parse().ok()).unwrap_or_else(|| panic!("a lock that names no process: {value}"))
}
