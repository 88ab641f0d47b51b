//! The cluster of etcd as the oracle asks it: whichever member answers, and with a password if it wants one.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::cluster::{self, EtcdCluster, EtcdOptions};
use crate::guard;
use crate::proof::PATIENCE;

pub(crate) use crate::cluster::MEMBERS;

pub(crate) const USER: &str = "root";
pub(crate) const PASSWORD: &str = "not a secret";
const AGAIN: Duration = Duration::from_millis(50);
/// A member that is stopped does not answer.
const SOON: Duration = Duration::from_secs(1);

pub(crate) struct Etcd {
    pub(crate) cluster: EtcdCluster,
    /// Of the last login, if the cluster asks for a user.
    token: Mutex<Option<String>>,
    /// Before 3.4.31, a leader that was stopped revokes leases of the living when it goes on: etcd's issue 15247.
    pub(crate) revokes_wrongly: bool,
}

impl Etcd {
    /// Starts a cluster on this address of loopback, of the version that `COORDINATION_ETCD` names, or of the newest that
    /// there is. Nothing if it cannot be had, which is printed.
    pub(crate) fn start(ip: Ipv4Addr) -> Option<Self> {
        let version = std::env::var("COORDINATION_ETCD");
        let versions = version.as_ref().map_or(vec!["3.5", "3.4"], |version| vec![version]);
        let (version, program) =
            versions.into_iter().find_map(|version| Some((version, cluster::program(version)?)))?;
        // A loaded machine stalls a member for longer than the 1 s that are common.
        let words = ["--election-timeout=1500", "--heartbeat-interval=150"].map(str::to_owned).to_vec();
        let options = EtcdOptions { words, https: false, ip: Some(ip), group: Some(guard::group()) };
        let cluster = EtcdCluster::with(&program, &options);
        Some(Etcd { cluster, token: Mutex::default(), revokes_wrongly: version == "3.4" })
    }

    /// Waits until all members answer to a request that needs a leader. Whether they do in time.
    pub(crate) fn wait_until_ready(&self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        let works = |member| self.ask(member, "/v3/kv/range", &json!({"key": key("health")})).is_some();
        while Instant::now() < deadline {
            if (0..MEMBERS).all(works) {
                return true;
            }
            std::thread::sleep(AGAIN);
        }
        false
    }

    /// The answer of the first member that gives one. The proof ends if none does in time.
    pub(crate) fn call(&self, path: &str, body: &Value) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = (0..MEMBERS).find_map(|member| self.ask(member, path, body)) {
                return answer;
            }
            assert!(Instant::now() < deadline, "no member of etcd answers {path}: {}", self.logs());
            std::thread::sleep(AGAIN);
        }
    }

    /// The answer of one member, unless it is an error. A token that it does not know is renewed.
    fn ask(&self, member: usize, path: &str, body: &Value) -> Option<Value> {
        let is_done = |answer: &Value| answer.get("error").is_none() && answer.get("code").is_none();
        let token = self.token();
        let answer = self.cluster.ask(member, path, body, token.as_deref()).ok()?;
        if is_done(&answer) || token.is_none() {
            return Some(answer).filter(is_done);
        }
        let login = json!({"name": USER, "password": PASSWORD});
        let login = self.cluster.ask(member, "/v3/auth/authenticate", &login, None).ok()?;
        let token = login["token"].as_str()?;
        *self.token.lock().unwrap() = Some(token.to_owned());
        self.cluster.ask(member, path, body, Some(token)).ok().filter(is_done)
    }

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
        (0..MEMBERS).find(|member| {
            let status = self.ask(*member, "/v3/maintenance/status", &json!({}));
            status
                .is_some_and(|status| status["leader"].is_string() && status["leader"] == status["header"]["member_id"])
        })
    }

    /// The keys that begin so, with their values. The prefix ends with a slash.
    pub(crate) fn keys(&self, prefix: &str) -> Vec<(String, String)> {
        let end = prefix.strip_suffix('/').map(|start| format!("{start}0")).expect("a slash, and 0 comes after it");
        let answer = self.call("/v3/kv/range", &json!({"key": key(prefix), "range_end": key(&end)}));
        let all = answer["kvs"].as_array().cloned().unwrap_or_default();
        all.iter().map(|kv| (text(&kv["key"]), text(&kv["value"]))).collect()
    }

    /// Returns the metrics of a member, or `None` if it does not answer.
    pub(crate) fn metrics(&self, member: usize) -> Option<String> {
        let agent = ureq::Agent::config_builder().timeout_global(Some(SOON)).build().new_agent();
        let answer = agent.get(format!("http://{}/metrics", self.address(member))).call();
        answer.ok()?.body_mut().read_to_string().ok()
    }

    pub(crate) fn address(&self, member: usize) -> SocketAddr {
        self.cluster.endpoint(member).parse().unwrap()
    }

    pub(crate) fn logs(&self) -> String {
        let tail = |member| self.cluster.log(member).lines().rev().take(6).collect::<Vec<_>>().join("\n");
        (0..MEMBERS).map(tail).collect::<Vec<_>>().join("\n\n")
    }
}

/// A key as the gateway takes it.
pub(crate) fn key(text: &str) -> String {
    STANDARD.encode(text)
}

/// A key or a value as the gateway gives it.
pub(crate) fn text(encoded: &Value) -> String {
    let bytes = STANDARD.decode(encoded.as_str().unwrap_or_default()).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}
