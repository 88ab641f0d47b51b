//! The comparison: runs all clients interleaved against the test server, and prints medians and ratios.
//!
//! ```text
//! options ── what to run            peers ── what can be run here (builds the Go and Python peers)
//!    └──────────┬─────────────────────┘
//!           schedule ── rounds, random order ──> server (one per client process) + child (one per client)
//!               │
//!           results ── medians, paired ratios ──> table (stdout), record (JSON), figures (SVG)
//! ```

mod child;
mod etcd;
mod figures;
mod files;
mod options;
mod peers;
mod places;
mod record;
mod results;
mod scale;
mod schedule;
mod server;
mod setting;
mod table;
mod targets;

use std::process::ExitCode;
use std::time::Instant;

use options::Options;
use places::Places;

type Failure = cluster_client_compare::Failure;

fn main() -> ExitCode {
    match compare() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("compare: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Returns `false` if a client failed. The results of the others are reported.
fn compare() -> Result<bool, Failure> {
    let Some(options) = Options::from_args(std::env::args().skip(1))? else {
        println!("{}", options::HELP);
        return Ok(true);
    };
    if cfg!(debug_assertions) {
        return Err("a debug build measures nothing: use cargo run --release".into());
    }
    files::raise_limit()?;
    let places = Places::find()?;
    if options.scale {
        println!("{}", scale::measure(&places)?);
        return Ok(true);
    }
    let peers = peers::prepare(&options, &places)?;
    let setting = setting::find(&places, &peers);

    let start = Instant::now();
    let results = schedule::run(&options, &places, &peers)?;
    println!("{}", table::markdown(&options, &peers, &setting, &results));
    eprintln!("measured for {:.0} s", start.elapsed().as_secs_f64());

    record::write(&places.record(), &options, &setting, &results)?;
    eprintln!("figures as JSON: {}", places.record().display());
    for folder in [Some(places.drafts()), options.write_figures.then(|| places.docs())].into_iter().flatten() {
        figures::write(&folder, &options, &peers, &results)?;
        eprintln!("drawn: {}/{{latency,throughput}}.svg", folder.display());
    }
    Ok(results.failures().is_empty())
}
