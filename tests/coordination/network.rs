//! Network namespaces, where they are permitted: each coordinator has one of its own, with one cable to the nodes and
//! one to etcd, and a cable that is pulled loses packets as a real one does.
//!
//! The test runs itself again in a namespace without any other network. Namespaces have no names, so each is gone with its
//! last process, however that ends.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::guard;

/// Set in the process that runs in the namespace, and to `no` by who wants none.
const INSIDE: &str = "COORDINATION_NETWORK";
/// Where all coordinators find the nodes, and etcd.
const NODES: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
const ETCD: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
const IP: &str = "ip";

/// The end of a cable that a test can pull.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cable {
    Nodes,
    Etcd,
}

/// The two cables of one process.
#[derive(Debug)]
pub(crate) struct Cables {
    number: u32,
}

/// Whether this process is the one that does the work. Otherwise another one did, in a namespace.
pub(crate) fn is_inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() || !is_permitted() {
        return true;
    }
    let mut command = Command::new("unshare");
    command.arg("-n").arg(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--include-ignored", "--nocapture"]).env(INSIDE, "yes");
    // It ends with this process, however that ends.
    command.process_group(guard::group());
    assert!(command.status().unwrap().success(), "{test} failed in its namespace");
    false
}

fn is_permitted() -> bool {
    let trial = Command::new("unshare")
        .args(["-n", "sh", "-c", "ip link set lo up && ip link add name n0 type veth peer name n0p"])
        .output();
    let permitted = trial.is_ok_and(|ran| ran.status.success());
    if !permitted {
        println!("no network namespaces here (root and iproute2); a relay cuts the network instead");
    }
    permitted
}

/// The addresses of the nodes and of etcd, or nothing where there are no namespaces.
pub(crate) fn addresses() -> Option<(Ipv4Addr, Ipv4Addr)> {
    static READY: OnceLock<bool> = OnceLock::new();
    let inside = *READY.get_or_init(|| {
        let inside = std::env::var(INSIDE).is_ok_and(|value| value == "yes");
        if inside {
            batch(
                &mut Command::new(IP),
                &format!("link set lo up\naddr add {NODES}/32 dev lo\naddr add {ETCD}/32 dev lo\n"),
            );
        }
        inside
    });
    inside.then_some((NODES, ETCD))
}

/// The command in a namespace of its own, where it waits for a line before it begins.
pub(crate) fn apart(command: &str) -> Command {
    let mut apart = Command::new("unshare");
    apart.args(["-n", "sh", "-c", "echo ready; read go; exec \"$0\" \"$@\"", command]);
    apart
}

/// The command in the namespace of a process.
pub(crate) fn beside(pid: u32, command: &str) -> Command {
    let mut beside = Command::new("nsenter");
    beside.args(["-t", &pid.to_string(), "-n", command]);
    beside
}

/// Keeps the namespace of a process beyond the end of the process.
pub(crate) struct Namespace {
    keeper: Child,
}

impl Namespace {
    pub(crate) fn keep(pid: u32) -> Self {
        let mut command = beside(pid, "sh");
        command.args(["-c", "echo ready; exec cat"]).process_group(guard::group());
        let mut keeper = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n");
        Namespace { keeper }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.keeper.id()
    }

    /// Whether packets may wait here for the address of the machine that they go to.
    pub(crate) fn looks_for_a_machine(&self) -> bool {
        let found = beside(self.pid(), IP).args(["neigh", "show", "nud", "incomplete"]).output().unwrap();
        assert!(found.status.success(), "{found:?}");
        !found.stdout.is_empty()
    }

    /// Whether a server can be reached from here.
    pub(crate) fn reaches(&self, server: SocketAddr) -> bool {
        let mut connect = beside(self.pid(), "bash");
        connect.args(["-c", &format!("exec 3<>/dev/tcp/{}/{}", server.ip(), server.port())]);
        connect.stderr(Stdio::null()).status().unwrap().success()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

impl Cables {
    /// Lays the cables of a process that waits in its namespace.
    pub(crate) fn lay(pid: u32) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let cables = Cables { number: NEXT.fetch_add(1, Ordering::Relaxed) };
        let (mut here, mut there) = (String::new(), "link set lo up\n".to_owned());
        for (cable, to) in [(Cable::Nodes, NODES), (Cable::Etcd, ETCD)] {
            let (name, [near, far]) = (cables.name(cable), cables.ends(cable));
            let _ = writeln!(here, "link add name {name} type veth peer name {name}p netns {pid}");
            let _ = writeln!(here, "addr add {near}/30 dev {name}\nlink set {name} up");
            let _ = writeln!(there, "addr add {far}/30 dev {name}p\nlink set {name}p up\nroute add {to} via {near}");
        }
        batch(&mut Command::new(IP), &here);
        batch(&mut beside(pid, IP), &there);
        cables
    }

    /// Pulls a cable, or plugs it in again. One whose process has ended is gone.
    pub(crate) fn pull(&self, cable: Cable, pulled: bool) {
        let state = if pulled { "down" } else { "up" };
        let _ = Command::new(IP).args(["link", "set", &self.name(cable), state]).stderr(Stdio::null()).status();
    }

    fn name(&self, cable: Cable) -> String {
        format!("{}{}", if cable == Cable::Nodes { "n" } else { "e" }, self.number)
    }

    /// The two addresses of a cable, in a network of its own.
    fn ends(&self, cable: Cable) -> [Ipv4Addr; 2] {
        let network = u32::from(Ipv4Addr::new(10, 128, 0, 0)) + 8 * self.number + 4 * u32::from(cable == Cable::Etcd);
        [1, 2].map(|end| Ipv4Addr::from(network + end))
    }
}

/// Runs the lines of a script of `ip`.
fn batch(command: &mut Command, lines: &str) {
    let mut child = command.args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{lines}");
}
