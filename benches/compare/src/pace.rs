//! The loop around a client: warm up, measure, report. All Rust clients use it; the other peers have an equal one.
//!
//! The report is one line of JSON: `{"latencies_us":[..],"groups":N,"elapsed_us":N,"cpu_us":N,"peak_kib":N}`, where
//! only a [`Kind::Single`] job has latencies. The peak includes the warm-up, the other values do not.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::{Failure, Job, Kind, usage};

/// Maximum number of groups in one phase. It bounds every loop, and keeps the report below the size of a pipe.
const MAX_SINGLE: u64 = 2_000;
/// Maximum number of groups of a bulk job. It bounds the memory of the server.
const MAX_BULK: u64 = 20_000;

/// A client under measurement.
pub trait Client: Sized {
    /// Makes a client for `hosts` (each `address:port`).
    ///
    /// # Errors
    /// If the client cannot be made.
    fn new(hosts: &[String]) -> Result<Self, Failure>;

    /// One operation: POST on all hosts, then GET on all hosts, every status checked.
    ///
    /// # Errors
    /// If a request fails, or a status is not the expected one.
    fn create(&mut self, id: &str) -> Result<(), Failure>;

    /// Operations on many groups, [`crate::IN_FLIGHT`] at a time. Takes an id only when its operation can start.
    ///
    /// # Errors
    /// Creates one group, for [`Client::create`].
    fn create_all(&mut self, ids: Ids) -> Result<(), Failure>;
}

/// The whole `main` of a client.
pub fn run<C: Client>() -> ExitCode {
    match Job::from_args(std::env::args().skip(1)).and_then(|job| measure::<C>(&job)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn measure<C: Client>(job: &Job) -> Result<(), Failure> {
    let mut client = C::new(&job.hosts)?;
    let count = Count::default();
    if job.kind == Kind::Once {
        return client.create(&count.next());
    }

    phase(&mut client, job, job.warmup, &count)?;

    let (groups_before, cpu_before, start) = (count.taken(), usage::cpu_time(), Instant::now());
    let latencies = phase(&mut client, job, job.budget, &count)?;
    let (elapsed, cpu) = (start.elapsed(), usage::cpu_time().saturating_sub(cpu_before));

    let latencies: Vec<String> = latencies.iter().map(|took| took.as_micros().to_string()).collect();
    println!(
        "{{\"latencies_us\":[{}],\"groups\":{},\"elapsed_us\":{},\"cpu_us\":{},\"peak_kib\":{}}}",
        latencies.join(","),
        count.taken() - groups_before,
        elapsed.as_micros(),
        cpu.as_micros(),
        usage::peak_kib(),
    );
    Ok(())
}

/// Creates groups for the time `budget`, at least one. The latencies are empty for bulk.
fn phase<C: Client>(client: &mut C, job: &Job, budget: Duration, count: &Count) -> Result<Vec<Duration>, Failure> {
    let most = if job.kind == Kind::Bulk { MAX_BULK } else { MAX_SINGLE };
    let ids = Ids { count: count.clone(), first: true, left: most, until: Instant::now() + budget };
    if job.kind == Kind::Bulk {
        client.create_all(ids)?;
        return Ok(Vec::new());
    }
    ids.map(|id| {
        let start = Instant::now();
        client.create(&id).map(|()| start.elapsed())
    })
    .collect()
}

/// Numbers the groups of a process, so that none is created twice.
#[derive(Clone, Debug, Default)]
struct Count(std::sync::Arc<std::sync::atomic::AtomicU64>);

impl Count {
    fn next(&self) -> String {
        format!("g-{}", self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
    }

    fn taken(&self) -> u64 {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// The ids to create, until the time is over, but at least one.
#[derive(Debug)]
pub struct Ids {
    count: Count,
    first: bool,
    left: u64,
    until: Instant,
}

impl Iterator for Ids {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let first = std::mem::take(&mut self.first);
        if self.left == 0 || (!first && Instant::now() >= self.until) {
            return None;
        }
        self.left -= 1;
        Some(self.count.next())
    }
}
