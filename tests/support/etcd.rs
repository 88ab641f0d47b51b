//! A real etcd of three members on loopback, started by a test, whose members it can kill, stop and start again.

#![allow(dead_code, reason = "each test file is a crate of its own and uses a part of this")]

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Number of members.
pub(crate) const MEMBERS: usize = 3;
/// Generous, because it only bounds how long a broken test hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// Another process can take a port between its choice and its use, so a start is tried again with other ports.
const ATTEMPTS: usize = 3;

/// Options of all members.
#[derive(Clone, Default)]
pub(crate) struct EtcdOptions {
    /// Words for each member's command line.
    pub(crate) words: Vec<String>,
    /// The scheme of the clients' URLs is https.
    pub(crate) https: bool,
    /// An address of loopback instead of 127.0.0.1. On one of its own, the port of a killed member stays free.
    pub(crate) ip: Option<Ipv4Addr>,
    /// A process group for the members.
    pub(crate) group: Option<i32>,
}

impl EtcdOptions {
    fn ip(&self) -> Ipv4Addr {
        self.ip.unwrap_or(Ipv4Addr::LOCALHOST)
    }
}

/// A running cluster. Dropping it kills the members.
pub(crate) struct EtcdCluster {
    folder: TempDir,
    program: PathBuf,
    options: EtcdOptions,
    /// The ports of each member: for clients, for peers, and for [`EtcdCluster::ask`], which speaks no TLS.
    ports: Vec<[u16; 3]>,
    members: Mutex<Vec<Option<Child>>>,
}

/// Returns the program of this version, such as `3.4`. `None`, with a word, if it cannot be had.
pub(crate) fn program(version: &str) -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/etcd-program");
    let mut command = Command::new(script);
    command.arg(version);
    // As for the other services: only `SERVICES` lets a test install something.
    if std::env::var_os("SERVICES").is_none() {
        command.arg("--installed");
    }
    let output = command.output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = text.lines().find_map(|line| line.strip_prefix("program ")).map(PathBuf::from);
    if found.is_none() {
        println!("skipped: etcd {version}: {} {}", text.trim(), String::from_utf8_lossy(&output.stderr).trim());
    }
    found
}

impl EtcdCluster {
    /// Starts three members of this version. `None`, with a word, if it cannot be had.
    pub(crate) fn start(version: &str) -> Option<Self> {
        Some(EtcdCluster::with(&program(version)?, &EtcdOptions::default()))
    }

    pub(crate) fn with(program: &Path, options: &EtcdOptions) -> Self {
        for _ in 0..ATTEMPTS {
            let folder = tempfile::tempdir().unwrap();
            let cluster = EtcdCluster {
                folder,
                program: program.into(),
                options: options.clone(),
                ports: free_ports(options.ip()),
                members: Mutex::new((0..MEMBERS).map(|_| None).collect()),
            };
            (0..MEMBERS).for_each(|member| cluster.run(member));
            if (0..MEMBERS).all(|member| cluster.wait_for(member)) {
                return cluster;
            }
        }
        panic!("etcd does not start")
    }

    /// The endpoint of a member, as `ADDRESS:PORT`.
    pub(crate) fn endpoint(&self, member: usize) -> String {
        format!("{}:{}", self.options.ip(), self.ports[member][0])
    }

    /// The URL of a journal under `prefix`, which begins with a slash.
    pub(crate) fn journal(&self, prefix: &str) -> String {
        let endpoints: Vec<_> = (0..MEMBERS).map(|member| self.endpoint(member)).collect();
        format!("{}://{}{prefix}", if self.options.https { "etcds" } else { "etcd" }, endpoints.join(","))
    }

    /// Starts a member that was killed, on its data and ports, and waits until it serves.
    pub(crate) fn restart(&self, member: usize) {
        self.run(member);
        assert!(self.wait_for(member), "member {member} does not start again: {}", self.log(member));
    }

    pub(crate) fn kill(&self, member: usize) {
        if let Some(mut child) = self.members()[member].take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Stops a member: it accepts connections and never answers. One that was killed stays so.
    pub(crate) fn pause(&self, member: usize) {
        self.signal(member, "STOP");
    }

    pub(crate) fn resume(&self, member: usize) {
        self.signal(member, "CONT");
    }

    /// Returns the number of the member that leads.
    pub(crate) fn leader(&self) -> usize {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            for member in 0..MEMBERS {
                let Ok(status) = self.ask(member, "/v3/maintenance/status", &json!({}), None) else { continue };
                let own = status.pointer("/header/member_id").cloned();
                if own.is_some() && status.get("leader").cloned() == own {
                    return member;
                }
            }
            thread::yield_now();
        }
        panic!("no leader was elected")
    }

    /// Sends a request to a member. Returns the JSON of any answer.
    pub(crate) fn ask(&self, member: usize, path: &str, body: &Value, token: Option<&str>) -> Result<Value, String> {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(PATIENCE))
            .build()
            .new_agent();
        let mut request = agent.post(format!("http://{}:{}{path}", self.options.ip(), self.ports[member][2]));
        if let Some(token) = token {
            request = request.header("Authorization", token);
        }
        let mut answer = request.send(body.to_string()).map_err(|error| error.to_string())?;
        let text = answer.body_mut().read_to_string().map_err(|error| error.to_string())?;
        serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))
    }

    /// Returns all keys under a prefix, as any living member knows them.
    pub(crate) fn keys(&self, prefix: &str) -> Vec<String> {
        let range = json!({
            "key": BASE64_STANDARD.encode(format!("{prefix}/")),
            "range_end": BASE64_STANDARD.encode(format!("{prefix}0")),
            "keys_only": true,
        });
        let deadline = Instant::now() + PATIENCE;
        let found = loop {
            let found = (0..MEMBERS).find_map(|member| {
                self.ask(member, "/v3/kv/range", &range, None).ok().filter(|found| found.get("header").is_some())
            });
            match found {
                Some(found) => break found,
                None => assert!(Instant::now() < deadline, "no member answers"),
            }
        };
        let keys = found["kvs"].as_array().cloned().unwrap_or_default();
        let text =
            |kv: &Value| String::from_utf8(BASE64_STANDARD.decode(kv["key"].as_str().unwrap()).unwrap()).unwrap();
        keys.iter().map(text).collect()
    }

    /// Returns the number of leases that etcd has.
    pub(crate) fn leases(&self) -> usize {
        let found = self.ask(self.leader(), "/v3/lease/leases", &json!({}), None).unwrap();
        found["leases"].as_array().map_or(0, Vec::len)
    }

    /// Starts a member, if it does not run.
    pub(crate) fn run(&self, member: usize) {
        let mut members = self.members();
        if members[member].is_some() {
            return;
        }
        let scheme = if self.options.https { "https" } else { "http" };
        let client = format!("{scheme}://{}", self.endpoint(member));
        let ip = self.options.ip();
        let peer = |number: usize| format!("http://{ip}:{}", self.ports[number][1]);
        let cluster: Vec<_> = (0..MEMBERS).map(|number| format!("m{number}={}", peer(number))).collect();
        // It tells of this start alone, so that waiting for it does not find an older one.
        let log = File::create(self.folder.path().join(format!("log{member}"))).unwrap();
        let mut command = Command::new(&self.program);
        if let Some(group) = self.options.group {
            command.process_group(group);
        }
        command
            .args(["--name", &format!("m{member}"), "--logger", "zap", "--data-dir"])
            .arg(self.folder.path().join(format!("m{member}")))
            .args(["--listen-client-urls", &format!("{client},http://{ip}:{}", self.ports[member][2])])
            .args(["--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer(member), "--initial-advertise-peer-urls", &peer(member)])
            .args(["--initial-cluster", &cluster.join(",")])
            .args(&self.options.words)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        members[member] = Some(command.spawn().unwrap());
    }

    /// Waits until a member serves clients. Returns false if it has ended.
    fn wait_for(&self, member: usize) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let has_ended = self.members()[member].as_mut().is_none_or(|child| child.try_wait().unwrap().is_some());
            if has_ended {
                return false;
            }
            if self.log(member).contains("serving client traffic") {
                return true;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("member {member} is not ready: {}", self.log(member))
    }

    pub(crate) fn log(&self, member: usize) -> String {
        std::fs::read_to_string(self.folder.path().join(format!("log{member}"))).unwrap_or_default()
    }

    fn signal(&self, member: usize, signal: &str) {
        self.with_pid(member, |pid| {
            assert!(Command::new("kill").args(["-s", signal, &pid.to_string()]).status().unwrap().success());
        });
    }

    /// Does something with the process of a member, unless the member was killed.
    pub(crate) fn with_pid<T>(&self, member: usize, action: impl FnOnce(u32) -> T) -> Option<T> {
        // Held meanwhile, so that the id is still the member's.
        self.members()[member].as_ref().map(|child| action(child.id()))
    }

    fn members(&self) -> std::sync::MutexGuard<'_, Vec<Option<Child>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for EtcdCluster {
    fn drop(&mut self) {
        (0..MEMBERS).for_each(|member| self.kill(member));
    }
}

fn free_ports(ip: Ipv4Addr) -> Vec<[u16; 3]> {
    let held: Vec<_> = (0..3 * MEMBERS).map(|_| TcpListener::bind((ip, 0)).unwrap()).collect();
    let ports: Vec<_> = held.iter().map(|held| held.local_addr().unwrap().port()).collect();
    ports.chunks(3).map(|own| [own[0], own[1], own[2]]).collect()
}
