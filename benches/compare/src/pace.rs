//! The loop around a client: warm up, measure, report. The same for all Rust clients, and mirrored by the other peers.
//!
//! The report is one line of JSON: `{"latencies_us":[..],"groups":N,"elapsed_us":N,"cpu_us":N,"peak_kib":N}`, where
//! the latencies are those of a [`Kind::Single`] job and everything but the peak is without the warm-up.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::{Failure, Job, Kind, usage};

/// The most groups that one phase creates: keeps the report below the size of a pipe, and every loop bounded.
const MAX_SINGLE: u64 = 2_000;
/// The same for bulk, where it bounds what the server has to remember.
const MAX_BULK: u64 = 20_000;

/// A client under measurement.
pub trait Client: Sized {
    /// Gets ready to work on `hosts` (each `address:port`).
    ///
    /// # Errors
    /// When the client cannot be made.
    fn new(hosts: &[String]) -> Result<Self, Failure>;

    /// One operation: POST on all hosts, then GET on all hosts, every status checked.
    ///
    /// # Errors
    /// When any request fails or any status is not the expected one.
    fn create(&mut self, id: &str) -> Result<(), Failure>;

    /// The same for many groups, [`crate::IN_FLIGHT`] at a time. Takes an id only when there is room for it.
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

/// Works for `budget`, at least one group. The latencies are empty for bulk.
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

/// The ids to create: endless until the time is up, but at least one.
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
