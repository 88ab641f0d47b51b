//! One set of everything: three members of etcd, three nodes, three coordinators, and the network between them.
//! The coordinators share nothing but etcd and the nodes.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cluster_client::testing::Node;

use crate::coordinator::{Coordinator, HEADER, Settings};
use crate::etcd::{Etcd, MEMBERS};
use crate::history::History;
use crate::link::{Link, Mode};
use crate::network::{self, Cable};
use crate::proof::PATIENCE;

pub(crate) const COORDINATORS: usize = 3;
pub(crate) const NODES: usize = 3;
/// The coordinator that is the command. The others are programs with the library.
pub(crate) const COMMAND: usize = 2;
/// By how much the times of a node may be wrong.
const CLOSE: Duration = Duration::from_millis(5);
/// Everything of the journal is below it.
pub(crate) const PREFIX: &str = "/proof/";

pub(crate) struct Lane {
    pub(crate) etcd: Etcd,
    pub(crate) history: History,
    pub(crate) nodes: Vec<Served>,
    /// For each coordinator, one to each member.
    pub(crate) to_etcd: Vec<Vec<Link>>,
    coordinators: Vec<Mutex<Arc<Coordinator>>>,
    pub(crate) settings: Vec<Settings>,
}

/// A node and the network before it.
pub(crate) struct Served {
    pub(crate) node: Node,
    pub(crate) link: Link,
    started: Instant,
}

/// A request that changed a node: who sent it when, and when it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) node: usize,
    pub(crate) owner: usize,
    pub(crate) group: String,
    pub(crate) created: bool,
    pub(crate) sent: Instant,
    pub(crate) applied: Instant,
}

impl Lane {
    /// Nothing where etcd is not installed. `mutant` names a mistake of the first coordinator.
    pub(crate) fn open(number: usize, auth: bool, mutant: Option<&str>) -> Option<Self> {
        let (ip, etcd_ip) = network::addresses().unwrap_or((Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST));
        let byte = |number: usize| u8::try_from(number % 200 + 10).unwrap();
        // An address of its own, so that the port of a member that was killed is not given to anybody else.
        let etcd = Etcd::start(Ipv4Addr::new(127, byte(std::process::id() as usize), byte(number), 1))?;
        if auth {
            etcd.enable_auth();
        }
        let nodes: Vec<Served> = (0..NODES).map(|_| Served::start(ip)).collect();
        let hosts: Vec<String> = nodes.iter().map(|served| format!("http://{}", served.link.address())).collect();
        let link = |member: usize| Link::before(etcd.address(member), etcd_ip, 1, |_| 0);
        let to_etcd: Vec<Vec<Link>> = (0..COORDINATORS).map(|_| (0..MEMBERS).map(link).collect()).collect();
        let settings = |(number, links): (usize, &Vec<Link>)| Settings {
            number,
            hosts: hosts.clone(),
            journal: links.iter().map(|link| link.address().to_string()).collect::<Vec<_>>().join(","),
            multiplexed: number == 1,
            command: number == COMMAND,
            mutant: mutant.filter(|_| number == 0).map(str::to_owned),
            auth,
        };
        let settings: Vec<Settings> = to_etcd.iter().enumerate().map(settings).collect();
        let history = History::watch(&etcd);
        // Shown live from here on. What is told later would seem to have happened later.
        history.events(&etcd);
        let coordinators: Vec<_> = settings.iter().map(|settings| Arc::new(Coordinator::start(settings))).collect();
        let coordinators = coordinators.into_iter().map(Mutex::new).collect();
        Some(Lane { etcd, history, nodes, to_etcd, coordinators, settings })
    }

    pub(crate) fn cut_from_etcd(&self, coordinator: usize, mode: Mode) {
        match &self.coordinator(coordinator).cables {
            // A real cut loses packets and not bytes: they are sent again, and arrive once it is over.
            Some(cables) if mode == Mode::Lost => cables.pull(Cable::Etcd, true),
            Some(cables) => cables.pull(Cable::Etcd, false),
            None => {}
        }
        let mode = if mode == Mode::Lost && network::addresses().is_some() { Mode::Open } else { mode };
        self.to_etcd[coordinator].iter().for_each(|link| link.set(0, mode));
    }

    pub(crate) fn cut_from_nodes(&self, coordinator: usize, mode: Mode) {
        self.nodes.iter().for_each(|served| served.link.set(coordinator, mode));
    }

    pub(crate) fn coordinator(&self, number: usize) -> Arc<Coordinator> {
        Arc::clone(&self.coordinators[number].lock().unwrap())
    }

    /// Starts a new process in place of one that was killed.
    pub(crate) fn restart(&self, number: usize) {
        let fresh = Arc::new(Coordinator::start(&self.settings[number]));
        *self.coordinators[number].lock().unwrap() = fresh;
    }

    /// Whether each node has the group.
    pub(crate) fn holders(&self, group: &str) -> Vec<bool> {
        self.nodes.iter().map(|served| served.node.has(group)).collect()
    }

    /// All requests that changed a node since the last call of [`Lane::forget`], in the order of their arrival.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let mut all: Vec<Change> =
            self.nodes.iter().enumerate().flat_map(|(number, served)| served.changes(number)).collect();
        all.sort_by_key(|change| change.applied);
        all
    }

    pub(crate) fn links(&self) -> impl Iterator<Item = &Link> {
        self.nodes.iter().map(|served| &served.link).chain(self.to_etcd.iter().flatten())
    }

    pub(crate) fn forget(&self) {
        for served in &self.nodes {
            served.node.clear_log();
            served.link.forget();
        }
    }

    /// Waits until a coordinator's requests can change nothing: none that it sent is under way.
    pub(crate) fn settle(&self) {
        for served in &self.nodes {
            assert!(served.link.quiet(PATIENCE), "a request does not arrive");
        }
    }
}

impl Served {
    fn start(ip: Ipv4Addr) -> Self {
        // A moment after the node's own clock began, so that no request seems to arrive before it was sent. A busy machine
        // may make it a long one, and then another node is started.
        let start = || {
            let before = Instant::now();
            let node = Node::start().unwrap();
            (node, Instant::now(), before.elapsed())
        };
        let mut started = start();
        for _ in 0..20 {
            if started.2 < CLOSE {
                break;
            }
            started = start();
        }
        let (node, started, _) = started;
        let link = Link::before(node.address(), ip, COORDINATORS, owner);
        Served { node, link, started }
    }

    fn changes(&self, number: usize) -> Vec<Change> {
        let log = self.node.log();
        let changes = log.into_iter().filter(|entry| entry.applied);
        let change = |entry: cluster_client::testing::Entry| {
            let applied = self.started + entry.at;
            let port = entry.peer.expect("a node knows who asks").port();
            let sent = self.link.request_of(port, applied);
            let sent = sent.unwrap_or_else(|| panic!("nobody sent {entry:?}"));
            Change {
                node: number,
                owner: sent.owner,
                group: entry.group.expect("a change has a group"),
                created: entry.method == cluster_client::testing::Method::Post,
                sent: sent.at,
                applied,
            }
        };
        changes.map(change).collect()
    }
}

/// The coordinator that sent a request, which a header of it says.
fn owner(request: &[u8]) -> usize {
    let head = String::from_utf8_lossy(request).to_ascii_lowercase();
    let number = head.lines().find_map(|line| line.strip_prefix(&format!("{HEADER}: "))?.trim().parse().ok());
    number.unwrap_or_else(|| panic!("nobody's: {head}"))
}
