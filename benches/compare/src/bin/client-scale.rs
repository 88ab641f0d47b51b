//! Our client with many hosts, read from standard input: one operation, and its cost.
//!
//! `client-scale create` creates a group, `client-scale status` checks one. `client-scale mute` checks one with one
//! more host, which accepts connections and never answers; with `client-scale blackholed` that host accepts no
//! connections. Both also report the time at which all others had finished. A second word selects the engine: `threads`
//! or `multiplexed`.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cluster_client::{ClusterClient, Engine, Event, EventKind, Observer, Report};
use cluster_client_compare::{Failure, usage};

/// A connection on loopback that takes longer is not accepted.
const LET_IN: Duration = Duration::from_millis(100);
/// Maximum number of connections that fill an empty backlog.
const FILLING: usize = 8;

fn main() -> ExitCode {
    match run() {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("client-scale: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<serde_json::Value, Failure> {
    let job = std::env::args().nth(1).unwrap_or_default();
    let engine = match std::env::args().nth(2).as_deref() {
        Some("multiplexed") => Engine::Multiplexed,
        _ => Engine::Threads,
    };
    let mut list = String::new();
    std::io::stdin().read_to_string(&mut list)?;
    let mut hosts: Vec<String> = list.split(',').map(|host| format!("http://{host}")).collect();
    drop(list);
    let before = usage::peak_kib();
    // Connections reach the backlog and are never accepted.
    let dead = TcpListener::bind("127.0.0.1:0")?;
    let has_dead = ["mute", "blackholed"].contains(&job.as_str());
    if has_dead {
        hosts.push(format!("http://{}", dead.local_addr()?));
    }
    let _filling = if job == "blackholed" { fill(&dead)? } else { Vec::new() };

    let progress = Arc::new(Progress::default());
    let client = ClusterClient::builder()
        .hosts(hosts)
        .request_timeout(Duration::from_secs(2))
        .engine(engine)
        .observer(Arc::<Progress>::clone(&progress))
        .build()?;
    let start = Instant::now();
    let report = match job.as_str() {
        "create" => client.create_group("g-1")?,
        "status" | "mute" | "blackholed" => client.group_status("g-1")?,
        _ => return Err("usage: client-scale create|status|mute|blackholed [threads|multiplexed]".into()),
    };
    let took = start.elapsed();
    let others = progress.last_but_one()?.filter(|_| has_dead).map(|then| millis(then - start));
    Ok(serde_json::json!({
        "took_ms": millis(took),
        "slowest_host_ms": millis(slowest(&report)),
        "others_ms": others,
        "threads": usage::threads(),
        "used_kib": usage::peak_kib() - before,
        "peak_kib": usage::peak_kib(),
    }))
}

/// Fills the backlog of `listener`. While the returned connections are open, the system drops further ones.
fn fill(listener: &TcpListener) -> Result<Vec<TcpStream>, Failure> {
    rustix::net::listen(listener, 0)?;
    let address = listener.local_addr()?;
    let mut filling = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, LET_IN) {
        filling.push(stream);
        if filling.len() > FILLING {
            return Err("the system lets in more than the backlog".into());
        }
    }
    Ok(filling)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Maximum time of one host, from its first request to its last answer.
fn slowest(report: &Report) -> Duration {
    let of_host = |steps: &[cluster_client::HostStep]| steps.iter().map(|step| step.elapsed).sum();
    report.hosts.iter().map(|host| of_host(&host.steps)).max().unwrap_or_default()
}

/// The times at which the last two hosts had finished.
#[derive(Default)]
struct Progress(Mutex<[Option<Instant>; 2]>);

impl Progress {
    fn last_but_one(&self) -> Result<Option<Instant>, Failure> {
        Ok(self.0.lock().map_err(|_| "the observer panicked")?[0])
    }
}

impl Observer for Progress {
    fn on_event(&self, event: &Event) {
        if let (EventKind::Reached { .. }, Ok(mut last)) = (&event.kind, self.0.lock()) {
            *last = [last[1], Some(Instant::now())];
        }
    }
}
