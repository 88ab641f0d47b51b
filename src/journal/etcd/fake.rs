//! A fake etcd for tests: the few calls of the JSON gateway that the journal makes, at several endpoints, with faults by
//! a script.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::keys::{decode, encode};

/// The fate of a request at an endpoint.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fate {
    Serve,
    /// Carries it out, and closes the connection without an answer.
    Lose,
    /// Carries it out, and never answers.
    Mute,
    /// Never answers, and does nothing.
    Hang,
    /// Gives this answer, and does nothing.
    Answer(u16, String),
}

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) endpoint: usize,
    /// The last part of the path, such as `txn`.
    pub(super) call: String,
    /// Number of earlier requests with this call.
    pub(super) earlier: usize,
    /// The head, in lower case.
    pub(super) head: String,
    pub(super) body: Value,
}

type Script = Box<dyn FnMut(&Asked) -> Fate + Send>;

/// The fake, and its endpoints. They end with the test.
pub(super) struct FakeEtcd {
    ports: Vec<u16>,
    shared: Arc<Mutex<FakeState>>,
}

pub(super) struct FakeState {
    script: Script,
    pub(super) asked: Vec<Asked>,
    revision: i64,
    /// Key to creation, lease and value.
    pub(super) kvs: BTreeMap<Vec<u8>, (i64, i64, Vec<u8>)>,
    pub(super) leases: Vec<i64>,
    /// Every comparison succeeds, as in a store that does not know its fields.
    pub(super) ignores_comparisons: bool,
    /// A read returns at most this many keys.
    pub(super) page: usize,
    pub(super) ttl: i64,
}

impl FakeEtcd {
    pub(super) fn start(endpoints: usize) -> Self {
        let state = FakeState {
            script: Box::new(|_| Fate::Serve),
            asked: Vec::new(),
            revision: 1,
            kvs: BTreeMap::new(),
            leases: Vec::new(),
            ignores_comparisons: false,
            page: usize::MAX,
            ttl: 30,
        };
        let shared = Arc::new(Mutex::new(state));
        let listen = |endpoint| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || serve(stream, endpoint, &shared));
                }
            });
            port
        };
        FakeEtcd { ports: (0..endpoints).map(listen).collect(), shared }
    }

    /// The base URL of the first endpoint.
    pub(super) fn endpoint(&self) -> String {
        self.endpoint_of(0)
    }

    pub(super) fn endpoint_of(&self, endpoint: usize) -> String {
        format!("http://127.0.0.1:{}", self.ports[endpoint])
    }

    /// The URL of a journal.
    pub(super) fn url(&self) -> String {
        let endpoints: Vec<_> = self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("etcd://{}/p", endpoints.join(","))
    }

    /// Decides the fate of every request from now on.
    pub(super) fn script(&self, script: impl FnMut(&Asked) -> Fate + Send + 'static) {
        self.state().script = Box::new(script);
    }

    pub(super) fn state(&self) -> MutexGuard<'_, FakeState> {
        self.shared.lock().unwrap()
    }

    /// Returns the number of requests with this call.
    pub(super) fn count(&self, call: &str) -> usize {
        self.state().asked.iter().filter(|asked| asked.call == call).count()
    }

    pub(super) fn keys(&self) -> Vec<String> {
        self.state().kvs.keys().map(|key| String::from_utf8_lossy(key).into_owned()).collect()
    }

    /// Applies a transaction, as a member does that was stopped and goes on.
    pub(super) fn apply(&self, body: &Value) {
        let mut state = self.state();
        state.revision += 1;
        state.txn(body);
    }

    /// Ends a lease, as etcd does after its time.
    pub(super) fn expire_leases(&self) {
        let mut state = self.state();
        state.leases.clear();
        state.kvs.retain(|_, (_, lease, _)| *lease == 0);
    }
}

fn serve(stream: TcpStream, endpoint: usize, shared: &Mutex<FakeState>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    while let Some((head, body)) = read_request(&mut reader) {
        let call = head.split(' ').nth(1).unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        let mut state = shared.lock().unwrap();
        let earlier = state.asked.iter().filter(|asked| asked.call == call).count();
        let asked = Asked { endpoint, call, earlier, head, body };
        state.asked.push(asked.clone());
        let fate = (state.script)(&asked);
        let served = match &fate {
            Fate::Answer(status, text) => (*status, text.clone()),
            Fate::Hang => (0, String::new()),
            Fate::Serve | Fate::Lose | Fate::Mute => state.answer(&asked),
        };
        drop(state);
        match fate {
            Fate::Lose => return,
            Fate::Mute | Fate::Hang => {
                let mut rest = Vec::new();
                let _ = reader.read_to_end(&mut rest);
                return;
            }
            Fate::Serve | Fate::Answer(..) => {
                let (status, text) = served;
                let answer = format!("HTTP/1.1 {status} Status\r\nContent-Length: {}\r\n\r\n{text}", text.len());
                if writer.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        }
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let head = head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}

impl FakeState {
    fn answer(&mut self, asked: &Asked) -> (u16, String) {
        let lease = asked.body.get("ID").and_then(Value::as_str).and_then(|id| id.parse().ok()).unwrap_or(0);
        let not_found = || (404, r#"{"error":"etcdserver: requested lease not found","code":5}"#.to_owned());
        let answer = match asked.call.as_str() {
            "grant" => {
                let id = 7_000 + i64::try_from(asked.earlier).unwrap();
                self.leases.push(id);
                json!({ "header": {}, "ID": id.to_string(), "TTL": self.ttl.to_string() })
            }
            "keepalive" if self.leases.contains(&lease) => {
                json!({ "result": { "header": {}, "ID": lease.to_string(), "TTL": self.ttl.to_string() } })
            }
            // The length is left out, because it is 0.
            "keepalive" => json!({ "result": { "header": {}, "ID": lease.to_string() } }),
            "revoke" if self.leases.contains(&lease) => {
                self.leases.retain(|known| *known != lease);
                self.kvs.retain(|_, (_, of, _)| *of != lease);
                json!({ "header": {} })
            }
            "revoke" => return not_found(),
            "range" => self.range(&asked.body, true),
            "txn" => {
                let before = self.kvs.clone();
                self.revision += 1;
                let Some(mut answer) = self.txn(&asked.body) else {
                    self.kvs = before;
                    return not_found();
                };
                if self.kvs == before {
                    self.revision -= 1;
                }
                answer["header"] = json!({ "revision": self.revision.to_string() });
                answer
            }
            _ => return (404, "Not Found".into()),
        };
        (200, answer.to_string())
    }

    fn range(&self, request: &Value, has_header: bool) -> Value {
        let (key, end) = (decode(request, "key").unwrap(), decode(request, "range_end").unwrap());
        let is_in = |found: &Vec<u8>| if end.is_empty() { *found == key } else { *found >= key && *found < end };
        let limit = request["limit"].as_str().and_then(|limit| limit.parse().ok()).unwrap_or(0_usize);
        let limit = if limit == 0 { self.page } else { limit.min(self.page) };
        let found: Vec<_> = self.kvs.iter().filter(|(key, _)| is_in(key)).collect();
        let keys_only = request["keys_only"] == true;
        let kv = |(key, (created, lease, value)): &(&Vec<u8>, &(i64, i64, Vec<u8>))| {
            let value = if keys_only { String::new() } else { encode(value) };
            json!({ "key": encode(key), "value": value, "create_revision": created.to_string(), "lease": lease.to_string() })
        };
        let mut answer = json!({});
        if has_header {
            answer["header"] = json!({ "revision": self.revision.to_string() });
        }
        if !found.is_empty() {
            answer["kvs"] = found.iter().take(limit).map(kv).collect();
        }
        if found.len() > limit {
            answer["more"] = true.into();
        }
        answer
    }

    /// Carries out a transaction. `None` if a put names a lease that has ended.
    fn txn(&mut self, request: &Value) -> Option<Value> {
        let created = |key: &Vec<u8>| self.kvs.get(key).map_or(0, |(created, ..)| *created);
        let holds = |compare: &Value| {
            let key = decode(compare, "key")?;
            if compare["target"] == "VALUE" {
                assert_eq!(compare["result"], "LESS");
                let wanted = decode(compare, "value")?;
                return Some(self.kvs.get(&key).is_some_and(|(_, _, value)| *value < wanted));
            }
            let wanted: i64 = compare.get("create_revision")?.as_str()?.parse().ok()?;
            Some(created(&key) == wanted)
        };
        let compares = request["compare"].as_array().cloned().unwrap_or_default();
        let succeeded = self.ignores_comparisons || compares.iter().all(|compare| holds(compare).unwrap_or(true));
        let operations = request[if succeeded { "success" } else { "failure" }].as_array().cloned().unwrap_or_default();
        let mut responses = Vec::new();
        for operation in operations {
            let (name, inner) = operation.as_object()?.iter().next()?;
            responses.push(match name.as_str() {
                "request_put" => {
                    let mut lease: i64 = inner.get("lease").and_then(Value::as_str).map_or(0, |id| id.parse().unwrap());
                    if inner["ignore_lease"] == true {
                        lease = self.kvs.get(&decode(inner, "key")?)?.1;
                    }
                    if lease != 0 && !self.leases.contains(&lease) {
                        return None;
                    }
                    let key = decode(inner, "key")?;
                    let created = self.kvs.get(&key).map_or(self.revision, |(created, ..)| *created);
                    self.kvs.insert(key, (created, lease, decode(inner, "value")?));
                    json!({ "response_put": {} })
                }
                "request_range" => json!({ "response_range": self.range(inner, false) }),
                "request_delete_range" => {
                    self.kvs.remove(&decode(inner, "key")?);
                    json!({ "response_delete_range": {} })
                }
                "request_txn" => json!({ "response_txn": self.txn(inner)? }),
                other => panic!("{other} is no operation"),
            });
        }
        let mut answer = json!({});
        if succeeded {
            answer["succeeded"] = true.into();
        }
        if !responses.is_empty() {
            answer["responses"] = responses.into();
        }
        Some(answer)
    }
}

/// Waits until `is_so`. Bounded, so that a broken test ends.
pub(super) fn eventually(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("not within 20 s: {what}");
}
