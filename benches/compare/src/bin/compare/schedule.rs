//! The order of the runs: every round runs every client in every cell, in a new random order.
//!
//! Other load of the machine affects interleaved clients alike. A ratio is always taken within one round
//! (`results.rs`).

use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use cluster_client_compare::{IN_FLIGHT, Job, Kind};

use crate::child::{self, Finished};
use crate::options::{BULK_HOSTS, COLD_HOSTS, DELAYS_MS, Options};
use crate::peers::Peer;
use crate::places::Places;
use crate::results::{Metric, Results, median};
use crate::server::Server;
use crate::{Failure, files};

/// Time beyond the warm-up and the budget, for the start, the connections, and unfinished operations.
const GRACE: Duration = Duration::from_secs(30);
/// A client whose operations take this long runs in the first rounds only.
const SLOW: Duration = Duration::from_millis(500);
/// The limit for bulk, in groups per second.
const SLOW_BULK: f64 = 100.0;
/// The limit for a cold start, within a round.
const SLOW_START: Duration = Duration::from_millis(100);

#[derive(Clone, Copy)]
enum Cell {
    Single { delay_ms: u64, hosts: usize },
    Bulk { delay_ms: u64 },
    Cold,
}

pub(crate) fn run(options: &Options, places: &Places, peers: &[Peer]) -> Result<Results, Failure> {
    let runnable: Vec<(&'static str, &[PathBuf])> =
        peers.iter().filter_map(|peer| Some((peer.name, peer.command.as_deref().ok()?))).collect();
    let mut bench =
        Bench { options, places, random: fastrand::Rng::with_seed(options.seed), results: Results::default() };
    let cells = cells(options, &mut bench.results);
    for round in 0..options.rounds {
        for &cell in &cells {
            eprintln!("round {} of {}: {cell}", round + 1, options.rounds);
            match cell {
                Cell::Cold => bench.cold(round, &runnable)?,
                _ => bench.warm(round, cell, &runnable)?,
            }
        }
    }
    Ok(bench.results)
}

/// All cells for which the limit of open files suffices.
fn cells(options: &Options, results: &mut Results) -> Vec<Cell> {
    let limit = files::limit();
    let mut cells = Vec::new();
    let mut add = |cell: Cell, needed: usize| {
        if needed as u64 <= limit {
            cells.push(cell);
        } else {
            let note = format!("{cell}: left out, it needs `ulimit -Hn {needed}` and here it is {limit}");
            eprintln!("{note}");
            results.note(note);
        }
    };
    for delay_ms in DELAYS_MS {
        for &hosts in &options.hosts {
            add(Cell::Single { delay_ms, hosts }, server_files(hosts, hosts));
        }
        // Pooling clients may open more connections than are in use at a time.
        add(Cell::Bulk { delay_ms }, server_files(BULK_HOSTS, 2 * BULK_HOSTS * IN_FLIGHT));
    }
    add(Cell::Cold, server_files(COLD_HOSTS, COLD_HOSTS));
    cells
}

/// Descriptors of the server, which needs more than any client: its listeners, the connections, and a few more.
fn server_files(hosts: usize, connections: usize) -> usize {
    hosts + connections + 32
}

struct Bench<'a> {
    options: &'a Options,
    places: &'a Places,
    random: fastrand::Rng,
    results: Results,
}

impl Bench<'_> {
    fn warm(&mut self, round: usize, cell: Cell, clients: &[(&'static str, &[PathBuf])]) -> Result<(), Failure> {
        let visits = match cell {
            Cell::Single { hosts, .. } => self.options.visits(hosts),
            Cell::Bulk { .. } | Cell::Cold => 1,
        };
        let mut clients = clients.to_vec();
        for visit in 0..visits {
            self.random.shuffle(&mut clients);
            for (name, command) in &clients {
                if self.is_left_out(round, visit, cell, name) {
                    continue;
                }
                match self.measure(cell, self.options.budget / visits, command)? {
                    Ok(report) => self.note_report(round, cell, name, &report),
                    Err(failure) => self.results.fail(name, format!("{cell}: {failure}")),
                }
            }
        }
        Ok(())
    }

    /// Runs many cold starts, one of each client in turn, because they are short and vary.
    fn cold(&mut self, round: usize, clients: &[(&'static str, &[PathBuf])]) -> Result<(), Failure> {
        let mut clients = clients.to_vec();
        for start in 0..self.options.starts {
            self.random.shuffle(&mut clients);
            for (name, command) in &clients {
                let slow = self.results.median(Metric::ColdStart, name).is_some_and(|ms| ms > millis(SLOW_START));
                if start >= 2 && slow || self.results.has_failed(name) {
                    continue;
                }
                match self.measure(Cell::Cold, self.options.budget, command)? {
                    Ok(report) => self.results.add(Metric::ColdStart, name, round, millis(report.took)),
                    Err(failure) => self.results.fail(name, format!("{}: {failure}", Cell::Cold)),
                }
            }
        }
        Ok(())
    }

    /// Runs one client process with a new server, so that no client meets the groups of another. The outer error is
    /// that of the runner, the inner one that of the client.
    fn measure(&self, cell: Cell, budget: Duration, command: &[PathBuf]) -> Result<Result<Report, Failure>, Failure> {
        let (kind, hosts, delay_ms) = match cell {
            Cell::Single { delay_ms, hosts } => (Kind::Single, hosts, delay_ms),
            Cell::Bulk { delay_ms } => (Kind::Bulk, BULK_HOSTS, delay_ms),
            Cell::Cold => (Kind::Once, COLD_HOSTS, 0),
        };
        let server = Server::start(self.places, hosts, Duration::from_millis(delay_ms))?;
        let warmup = self.options.warmup;
        let job = Job { kind, warmup, budget, hosts: server.hosts.clone() };
        let [program, args @ ..] = command else { return Err("an empty command".into()) };
        let mut client = Command::new(program);
        client.args(args).args(job.to_args());
        Ok(child::output(&mut client, warmup + budget + GRACE).and_then(|finished| Report::read(kind, &finished)))
    }

    fn note_report(&mut self, round: usize, cell: Cell, name: &'static str, report: &Report) {
        match cell {
            Cell::Single { delay_ms, hosts } => {
                let requests = report.groups * requests_per_group(name, hosts);
                let at = |metric: fn(u64, usize) -> Metric| metric(delay_ms, hosts);
                self.results.add(at(Metric::latency), name, round, report.latency_ms);
                self.results.add(at(Metric::cpu), name, round, report.cpu_ms / requests * 1e3);
                self.results.add(at(Metric::memory), name, round, report.peak_mib);
            }
            Cell::Bulk { delay_ms } => {
                let requests = report.groups * requests_per_group(name, BULK_HOSTS);
                self.results.add(Metric::Throughput { delay_ms }, name, round, report.groups / report.elapsed_s);
                self.results.add(Metric::BulkCpu { delay_ms }, name, round, report.cpu_ms / requests * 1e3);
            }
            Cell::Cold => {}
        }
    }

    /// Whether to skip a client in this round. Far slower clients run in few rounds or in none.
    fn is_left_out(&mut self, round: usize, visit: u32, cell: Cell, name: &'static str) -> bool {
        if self.results.has_failed(name) {
            return true;
        }
        let enough = round >= self.options.slow_rounds;
        match cell {
            Cell::Cold => false,
            Cell::Bulk { delay_ms } => {
                let throughput = self.results.median(Metric::Throughput { delay_ms }, name);
                enough && throughput.is_some_and(|groups| groups < SLOW_BULK)
            }
            Cell::Single { delay_ms, hosts } => {
                if let Some(measured) = self.results.median(Metric::latency(delay_ms, hosts), name) {
                    return (enough || visit > 0) && measured > millis(SLOW);
                }
                let too_slow = self.expected_ms(delay_ms, hosts, name) > millis(self.options.slowest);
                if too_slow {
                    self.results.leave_out(Metric::latency(delay_ms, hosts), name);
                }
                too_slow
            }
        }
    }

    /// The expected time, from the next smaller number of hosts. Two delays of the server are fixed, and the rest grows
    /// with the hosts.
    fn expected_ms(&self, delay_ms: u64, hosts: usize, name: &'static str) -> f64 {
        let waits = 2.0 * delay_ms as f64;
        let smaller = self.options.hosts.iter().rev().filter(|fewer| **fewer < hosts);
        for &fewer in smaller {
            let metric = Metric::latency(delay_ms, fewer);
            if self.results.is_left_out(metric, name) {
                return f64::INFINITY;
            }
            if let Some(latency) = self.results.median(metric, name) {
                return (latency - waits) * hosts as f64 / fewer as f64 + waits;
            }
        }
        0.0
    }
}

/// Report of a client process (`pace.rs`).
struct Report {
    latency_ms: f64,
    groups: f64,
    elapsed_s: f64,
    cpu_ms: f64,
    peak_mib: f64,
    took: Duration,
}

impl Report {
    fn read(kind: Kind, finished: &Finished) -> Result<Self, Failure> {
        let took = finished.took;
        if kind == Kind::Once {
            return Ok(Self { latency_ms: 0.0, groups: 1.0, elapsed_s: 0.0, cpu_ms: 0.0, peak_mib: 0.0, took });
        }
        let report: serde_json::Value = serde_json::from_str(&finished.stdout)?;
        let number = |field: &str| report[field].as_f64().ok_or_else(|| format!("no {field} in the report"));
        let latencies: Vec<f64> =
            report["latencies_us"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_f64).collect();
        Ok(Self {
            latency_ms: median(&latencies).unwrap_or(0.0) / 1e3,
            groups: number("groups")?,
            elapsed_s: number("elapsed_us")? / 1e6,
            cpu_ms: number("cpu_us")? / 1e3,
            peak_mib: number("peak_kib")? / 1024.0,
            took,
        })
    }
}

/// Number of requests per host: POST and GET, and the preflight of our default.
fn requests_per_group(name: &str, hosts: usize) -> f64 {
    let rounds = if name == "ours-default" { 3 } else { 2 };
    (rounds * hosts) as f64
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single { delay_ms, hosts } => write!(f, "latency, {hosts} hosts, {delay_ms} ms server"),
            Self::Bulk { delay_ms } => write!(f, "bulk, {delay_ms} ms server"),
            Self::Cold => write!(f, "cold start"),
        }
    }
}
