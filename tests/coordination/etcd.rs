//! A cluster of three etcd members on loopback, each a process that can be killed, paused and started again.
//!
//! `tests/services/etcd-program` finds the server, or installs it where `SERVICES` is set.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::guard;
use crate::proof::PATIENCE;
use crate::proof::process::signal;

pub(crate) const MEMBERS: usize = 3;
pub(crate) const USER: &str = "root";
pub(crate) const PASSWORD: &str = "not a secret";
/// A member that is stopped accepts a connection and never answers.
const ANSWER: Duration = Duration::from_secs(2);
/// Another process can take a port between its choice and its use, so a start is tried again with other ports.
const STARTS: usize = 3;
const AGAIN: Duration = Duration::from_millis(50);

/// Three members. Dropping it ends them and removes their files.
pub(crate) struct Etcd {
    pub(crate) members: Vec<Member>,
    agent: ureq::Agent,
    token: Mutex<Option<String>>,
    _files: TempDir,
}

pub(crate) struct Member {
    pub(crate) address: SocketAddr,
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    process: Mutex<Option<Child>>,
}

impl Etcd {
    /// Starts a cluster on this address of loopback. Nothing if etcd cannot be had, which is printed.
    pub(crate) fn start(ip: Ipv4Addr) -> Option<Self> {
        let program = program()?;
        for _ in 1..STARTS {
            let etcd = Etcd::prepare(&program, ip);
            etcd.members.iter().for_each(Member::start);
            if etcd.wait_until_ready(MEMBERS) {
                return Some(etcd);
            }
        }
        let etcd = Etcd::prepare(&program, ip);
        etcd.members.iter().for_each(Member::start);
        assert!(etcd.wait_until_ready(MEMBERS), "etcd does not start: {}", etcd.logs());
        Some(etcd)
    }

    fn prepare(program: &Path, ip: Ipv4Addr) -> Self {
        let files = tempfile::tempdir().unwrap();
        let addresses = free_addresses(ip, 2 * MEMBERS);
        let (clients, peers) = addresses.split_at(MEMBERS);
        let all: Vec<String> = peers.iter().enumerate().map(|(i, peer)| format!("m{i}=http://{peer}")).collect();
        let member = |number: usize| {
            let (client, peer) = (format!("http://{}", clients[number]), format!("http://{}", peers[number]));
            let data = files.path().join(format!("m{number}"));
            let words = [
                ("name", format!("m{number}")),
                ("data-dir", data.to_str().unwrap().to_owned()),
                ("listen-client-urls", client.clone()),
                ("advertise-client-urls", client),
                ("listen-peer-urls", peer.clone()),
                ("initial-advertise-peer-urls", peer),
                ("initial-cluster", all.join(",")),
                // A loaded machine stalls a member for longer than the 1 s that are common.
                ("election-timeout", "1500".to_owned()),
                ("heartbeat-interval", "150".to_owned()),
            ];
            Member {
                address: clients[number],
                program: program.to_owned(),
                arguments: words.into_iter().map(|(name, value)| format!("--{name}={value}")).collect(),
                log: files.path().join(format!("m{number}.log")),
                process: Mutex::default(),
            }
        };
        let agent = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(ANSWER)).build();
        Etcd {
            members: (0..MEMBERS).map(member).collect(),
            agent: agent.new_agent(),
            token: Mutex::default(),
            _files: files,
        }
    }

    /// Waits until that many members answer to a request that needs a leader.
    pub(crate) fn wait_until_ready(&self, members: usize) -> bool {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let works = |member: &&Member| self.ask(member, "/v3/kv/range", &json!({"key": key("health")})).is_some();
            let ready = self.members.iter().filter(works).count();
            if ready >= members {
                return true;
            }
            // A member that ended by itself has lost its port to another process.
            if Instant::now() > deadline || self.members.iter().any(Member::has_ended_by_itself) {
                return false;
            }
            std::thread::sleep(AGAIN);
        }
    }

    /// The answer of the first member that gives one. The proof ends if none does in time.
    pub(crate) fn call(&self, path: &str, body: &Value) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = self.members.iter().find_map(|member| self.ask(member, path, body)) {
                return answer;
            }
            assert!(Instant::now() < deadline, "no member of etcd answers {path}: {}", self.logs());
            std::thread::sleep(AGAIN);
        }
    }

    /// The answer of one member, if it is 200. A token that it does not know is renewed.
    fn ask(&self, member: &Member, path: &str, body: &Value) -> Option<Value> {
        let token = self.token.lock().unwrap().clone();
        let (status, answer) = self.send(member, path, body, token.as_deref())?;
        if status == 200 {
            return Some(answer);
        }
        token?;
        let login = json!({"name": USER, "password": PASSWORD});
        let (_, login) = self.send(member, "/v3/auth/authenticate", &login, None)?;
        let token = login["token"].as_str()?.to_owned();
        let answer = self.send(member, path, body, Some(&token));
        *self.token.lock().unwrap() = Some(token);
        answer.filter(|(status, _)| *status == 200).map(|(_, answer)| answer)
    }

    fn send(&self, member: &Member, path: &str, body: &Value, token: Option<&str>) -> Option<(u16, Value)> {
        let mut request = self.agent.post(format!("http://{}{path}", member.address));
        if let Some(token) = token {
            request = request.header("Authorization", token);
        }
        let mut answer = request.send(body.to_string()).ok()?;
        let text = answer.body_mut().read_to_string().ok()?;
        Some((answer.status().as_u16(), serde_json::from_str(&text).ok()?))
    }

    /// A token for requests beside [`Etcd::call`], if the cluster needs one.
    pub(crate) fn token(&self) -> Option<String> {
        self.token.lock().unwrap().clone()
    }

    /// From now on each request needs a user.
    pub(crate) fn enable_auth(&self) {
        self.call("/v3/auth/user/add", &json!({"name": USER, "password": PASSWORD}));
        self.call("/v3/auth/role/add", &json!({"name": "root"}));
        self.call("/v3/auth/user/grant", &json!({"user": USER, "role": "root"}));
        self.call("/v3/auth/enable", &json!({}));
        *self.token.lock().unwrap() = Some(String::new());
    }

    /// The member that leads, if one does.
    pub(crate) fn leader(&self) -> Option<usize> {
        self.members.iter().position(|member| {
            let status = self.ask(member, "/v3/maintenance/status", &json!({}));
            status
                .is_some_and(|status| status["leader"].is_string() && status["leader"] == status["header"]["member_id"])
        })
    }

    /// The keys that begin so, with their values.
    pub(crate) fn keys(&self, prefix: &str) -> Vec<(String, String)> {
        let answer = self.call("/v3/kv/range", &json!({"key": key(prefix), "range_end": end(prefix)}));
        let all = answer["kvs"].as_array().cloned().unwrap_or_default();
        all.iter().map(|kv| (text(&kv["key"]), text(&kv["value"]))).collect()
    }

    pub(crate) fn logs(&self) -> String {
        let mut all = String::new();
        for member in &self.members {
            let log = std::fs::read_to_string(&member.log).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(6).collect();
            let _ = write!(all, "\n{}: {tail:#?}", member.address);
        }
        all
    }
}

impl Member {
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Starts it, or does nothing if it runs.
    pub(crate) fn start(&self) {
        let mut process = self.process.lock().unwrap();
        if process.is_some() {
            return;
        }
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command.process_group(guard::group());
        *process = Some(command.spawn().unwrap());
    }

    pub(crate) fn kill(&self) {
        let mut process = self.process.lock().unwrap();
        if let Some(mut child) = process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops the process or continues it: its port accepts connections meanwhile, and nothing answers.
    pub(crate) fn pause(&self, paused: bool) {
        let mut process = self.process.lock().unwrap();
        let Some(child) = &mut *process else { return };
        // Once it is reaped, its id may be another process's.
        if matches!(child.try_wait(), Ok(None)) {
            signal(if paused { "STOP" } else { "CONT" }, &child.id().to_string());
        }
    }

    fn has_ended_by_itself(&self) -> bool {
        let mut process = self.process.lock().unwrap();
        process.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The server, of the version that `COORDINATION_ETCD` names.
fn program() -> Option<PathBuf> {
    let version = std::env::var("COORDINATION_ETCD").unwrap_or_else(|_| "3.4".to_owned());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/etcd-program");
    let option = if std::env::var_os("SERVICES").is_none() { "--installed" } else { "" };
    let ran = Command::new(script).arg(&version).arg(option).output();
    let said = ran.map(|ran| String::from_utf8_lossy(&ran.stdout).into_owned()).unwrap_or_default();
    let path = said.lines().find_map(|line| line.strip_prefix("program ")).map(PathBuf::from);
    if path.is_none() {
        println!("skipped: etcd {version}: {}", said.trim());
    }
    path
}

/// Held together, so that all differ, and then given up for the members.
pub(crate) fn free_addresses(ip: Ipv4Addr, count: usize) -> Vec<SocketAddr> {
    let held: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind((ip, 0)).unwrap()).collect();
    held.iter().map(|listener| listener.local_addr().unwrap()).collect()
}

/// A key as the gateway takes it.
pub(crate) fn key(text: &str) -> String {
    STANDARD.encode(text)
}

/// The end of the range of all keys that begin so.
pub(crate) fn end(prefix: &str) -> String {
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut().expect("a prefix that is not empty") += 1;
    STANDARD.encode(end)
}

/// A key or a value as the gateway gives it.
pub(crate) fn text(encoded: &Value) -> String {
    let bytes = STANDARD.decode(encoded.as_str().unwrap_or_default()).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}
