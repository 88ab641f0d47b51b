//! Our client with many hosts, which it reads from its standard input: one operation, and what it took.
//!
//! `client-scale create` creates a group. `client-scale mute` adds a host that accepts connections and never answers,
//! asks all for the status of a group, and also tells when all others were through.

use std::io::Read;
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cluster_client::{ClusterClient, Event, GroupId, Observer, Report};
use cluster_client_compare::{Failure, usage};

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
    let mut list = String::new();
    std::io::stdin().read_to_string(&mut list)?;
    let mut hosts: Vec<String> = list.split(',').map(|host| format!("http://{host}")).collect();
    drop(list);
    let before = usage::peak_kib();
    // Nobody accepts what the system lets in here.
    let mute = TcpListener::bind("127.0.0.1:0")?;
    if job == "mute" {
        hosts.push(format!("http://{}", mute.local_addr()?));
    }

    let progress = Arc::new(Progress::default());
    let client = ClusterClient::builder()
        .hosts(hosts)
        .request_timeout(Duration::from_secs(2))
        .observer(Arc::<Progress>::clone(&progress))
        .build()?;
    let start = Instant::now();
    let report = match job.as_str() {
        "create" => client.create_group("g-1")?,
        "mute" => client.status("g-1")?,
        _ => return Err("usage: client-scale create|mute".into()),
    };
    let took = start.elapsed();
    let others = progress.last_but_one()?.filter(|_| job == "mute").map(|then| millis(then - start));
    Ok(serde_json::json!({
        "took_ms": millis(took),
        "slowest_host_ms": millis(slowest(&report)),
        "others_ms": others,
        "threads": usage::threads(),
        "used_kib": usage::peak_kib() - before,
        "peak_kib": usage::peak_kib(),
    }))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The longest time that any host by itself took, from its first request to its last answer.
fn slowest(report: &Report) -> Duration {
    let of_host = |steps: &[cluster_client::HostStep]| steps.iter().map(|step| step.elapsed).sum();
    report.hosts.iter().map(|host| of_host(&host.steps)).max().unwrap_or_default()
}

/// When the two last hosts were through.
#[derive(Default)]
struct Progress(Mutex<[Option<Instant>; 2]>);

impl Progress {
    fn last_but_one(&self) -> Result<Option<Instant>, Failure> {
        Ok(self.0.lock().map_err(|_| "the observer panicked")?[0])
    }
}

impl Observer for Progress {
    fn on_event(&self, _: &GroupId, event: &Event) {
        if let (Event::Reached { .. }, Ok(mut last)) = (event, self.0.lock()) {
            *last = [last[1], Some(Instant::now())];
        }
    }
}
