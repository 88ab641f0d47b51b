//! The compared clients, and their builds.

use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use cluster_client_compare::ours::ETCD_VARIABLE;

use crate::etcd::Etcd;
use crate::options::Options;
use crate::places::Places;
use crate::{Failure, child};

/// The reference client.
pub(crate) const REFERENCE: &str = "reqwest-one";

/// The clients that are measured with the feature `tls`.
const WITH_TLS: [&str; 4] = ["ours", "ours-multiplexed", REFERENCE, "reqwest-one-chained"];

/// Maximum time of the build of one peer.
const BUILD_LIMIT: Duration = Duration::from_secs(600);

pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) label: &'static str,
    /// The command, or the reason why the peer cannot run here.
    pub(crate) command: Result<Vec<PathBuf>, String>,
    /// Runs until the last peer that uses it is dropped.
    _etcd: Option<Rc<Etcd>>,
}

enum Kind {
    /// A program of this package.
    Rust(&'static str),
    /// A program of this package that needs etcd.
    RustWithEtcd(&'static str),
    Go,
    /// The argument of `peer.py`.
    Python(&'static str),
}

/// All peers, in the order of the tables.
const ALL: [(&str, &str, Kind); 15] = [
    ("ours", "cluster-client, preflight off", Kind::Rust("client-ours")),
    ("ours-multiplexed", "cluster-client, multiplexed, preflight off", Kind::Rust("client-ours-multiplexed")),
    ("ours-default", "cluster-client, default (preflight)", Kind::Rust("client-ours-default")),
    ("ours-journal", "cluster-client, preflight off, journal", Kind::Rust("client-ours-journal")),
    (
        "ours-multiplexed-journal",
        "cluster-client, multiplexed, preflight off, journal",
        Kind::Rust("client-ours-multiplexed-journal"),
    ),
    ("ours-etcd", "cluster-client, preflight off, journal in etcd", Kind::RustWithEtcd("client-ours-etcd")),
    (
        "ours-multiplexed-etcd",
        "cluster-client, multiplexed, preflight off, journal in etcd",
        Kind::RustWithEtcd("client-ours-multiplexed-etcd"),
    ),
    (REFERENCE, "tokio + reqwest, one thread", Kind::Rust("client-reqwest-one")),
    ("reqwest-one-chained", "tokio + reqwest, one thread, chained", Kind::Rust("client-reqwest-one-chained")),
    ("reqwest-many", "tokio + reqwest, multi-thread", Kind::Rust("client-reqwest-many")),
    ("hyper-one", "hyper-util, one thread", Kind::Rust("client-hyper-one")),
    ("go", "Go net/http", Kind::Go),
    ("python-sequential", "Python httpx + tenacity, sequential", Kind::Python("sequential")),
    ("python-gathered", "Python httpx, gathered", Kind::Python("gathered")),
    ("floor", "floor: hand-written scatter/gather", Kind::Rust("client-floor")),
];

/// Builds the selected peers. A peer whose language is not installed stays in the list, with the reason.
pub(crate) fn prepare(options: &Options, places: &Places) -> Result<Vec<Peer>, Failure> {
    let asked = options.clients.iter().flatten();
    if let Some(unknown) = asked.into_iter().find(|name| ALL.iter().all(|(known, ..)| known != name)) {
        let known: Vec<&str> = ALL.iter().map(|(name, ..)| *name).collect();
        return Err(format!("no client is called {unknown}; there are {}", known.join(", ")).into());
    }
    let wanted = |name: &str| {
        name == REFERENCE || options.clients.as_ref().is_none_or(|names| names.iter().any(|wanted| wanted == name))
    };
    build_rust(places)?;
    let speaks = |name: &str| !cfg!(feature = "tls") || WITH_TLS.contains(&name);
    let (mut go, mut python, mut etcd) = (None, None, None);
    Ok(ALL
        .into_iter()
        .filter(|(name, ..)| wanted(name) && speaks(name))
        .map(|(name, label, kind)| {
            let mut used = None;
            let command = match kind {
                Kind::Rust(program) => Ok(vec![places.program(program)]),
                Kind::RustWithEtcd(program) => {
                    let started = etcd.get_or_insert_with(|| start_etcd(places)).clone();
                    started.map(|etcd| {
                        let variable = format!("{ETCD_VARIABLE}={}", etcd.journal);
                        used = Some(etcd);
                        vec!["env".into(), variable.into(), places.program(program)]
                    })
                }
                Kind::Go => go.get_or_insert_with(|| build_go(places)).clone(),
                Kind::Python(style) => {
                    let made = python.get_or_insert_with(|| build_python(places)).clone();
                    made.map(|interpreter| {
                        vec![interpreter, places.peer_source("python").join("peer.py"), style.into()]
                    })
                }
            };
            if let Err(reason) = &command {
                eprintln!("{name}: {reason}");
            }
            Peer { name, label, command, _etcd: used }
        })
        .collect())
}

/// Builds the other programs of this package, each alone. `cargo run` builds only the program that it runs.
fn build_rust(places: &Places) -> Result<(), Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--release", "--bins", "--manifest-path"]).arg(places.manifest());
    build.arg("--target-dir").arg(places.target());
    if cfg!(feature = "tls") {
        build.args(["--features", "tls"]);
    }
    child::tool(&mut build, BUILD_LIMIT).map_err(|failure| format!("cargo build: {failure}").into())
}

fn start_etcd(places: &Places) -> Result<Rc<Etcd>, String> {
    if !installed("etcd", "--version") {
        return Err("not installed".to_owned());
    }
    Etcd::start(places).map(Rc::new)
}

fn build_go(places: &Places) -> Result<Vec<PathBuf>, String> {
    if !installed("go", "version") {
        return Err("not installed".to_owned());
    }
    let program = places.peer_target("go").join("peer");
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&program).arg(".").current_dir(places.peer_source("go"));
    // The peer uses the standard library only, so nothing is downloaded.
    build.env("GOFLAGS", "-mod=mod").env("GOPROXY", "off");
    child::tool(&mut build, BUILD_LIMIT).map_err(|failure| format!("go build: {failure}"))?;
    Ok(vec![program])
}

/// Makes a virtual environment below the target folder and returns its interpreter.
fn build_python(places: &Places) -> Result<PathBuf, String> {
    if !installed("python3", "--version") {
        return Err("not installed".to_owned());
    }
    let home = places.peer_target("python");
    let interpreter = home.join("bin/python");
    let ready = |limit| {
        let mut probe = Command::new(&interpreter);
        child::output(probe.args(["-c", "import httpx, tenacity"]), limit).is_ok()
    };
    if ready(BUILD_LIMIT) {
        return Ok(interpreter);
    }
    let mut make = Command::new("python3");
    child::tool(make.args(["-m", "venv"]).arg(&home), BUILD_LIMIT).map_err(|failure| format!("venv: {failure}"))?;
    let mut install = Command::new(&interpreter);
    install.args(["-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--requirement"]);
    install.arg(places.peer_source("python").join("requirements.txt"));
    child::tool(&mut install, BUILD_LIMIT).map_err(|failure| format!("httpx and tenacity not to be had: {failure}"))?;
    Ok(interpreter)
}

fn installed(program: &str, question: &str) -> bool {
    child::output(Command::new(program).arg(question), BUILD_LIMIT).is_ok()
}
