//! Our client alone, with many hosts. Measures the time of an operation beside that of its slowest host, the cost of a
//! host and of a thread, and the delay that a dead host causes for others.
//!
//! Each row is one client process, which reads its hosts from standard input and prints a line of JSON.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::places::Places;
use crate::server::Server;
use crate::{Failure, child, files};

const SIZES: [usize; 3] = [100, 1_000, 10_000];
/// Delay of the server's answers.
const DELAY: Duration = Duration::from_millis(20);
/// One in this many hosts fails once.
const FLAKY: usize = 10;
const LIMIT: Duration = Duration::from_secs(120);
/// Maximum number of listeners of the server, and a few other files.
const LISTENERS: usize = 2_000 + 100;
/// Maximum number of connections of the client, and a few other files.
const CONNECTIONS: usize = 16_384 + 1_024 + 100;

const HEAD: &str = "\
| hosts | | engine | operation | slowest host | ratio | all but the dead | threads | memory per host | peak memory |
| ---: | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |";

#[derive(Clone, Copy)]
enum Weather {
    Fair,
    Flaky,
    Status,
    Mute,
    Blackholed,
}

/// The table.
pub(crate) fn measure(places: &Places) -> Result<String, Failure> {
    let limit = files::limit();
    let mut table = HEAD.to_owned();
    for hosts in SIZES {
        let needed = LISTENERS + hosts.min(CONNECTIONS);
        if needed as u64 > limit {
            eprintln!("compare: {hosts} hosts need `ulimit -Hn {needed}`; it is {limit}, so they are left out");
            continue;
        }
        for weather in [Weather::Fair, Weather::Flaky, Weather::Status, Weather::Mute, Weather::Blackholed] {
            for engine in ["threads", "multiplexed"] {
                eprintln!("compare: {hosts} hosts, {}, {engine}", weather.name());
                row(&mut table, places, hosts, weather, engine)?;
            }
        }
    }
    Ok(table)
}

impl Weather {
    fn name(self) -> &'static str {
        match self {
            Self::Fair => "create, all well",
            Self::Flaky => "create, a tenth falters",
            Self::Status => "status, all well",
            Self::Mute => "status, one is mute",
            Self::Blackholed => "status, one is blackholed",
        }
    }

    /// Argument of `client-scale`.
    fn job(self) -> &'static str {
        match self {
            Self::Fair | Self::Flaky => "create",
            Self::Status => "status",
            Self::Mute => "mute",
            Self::Blackholed => "blackholed",
        }
    }
}

fn row(table: &mut String, places: &Places, hosts: usize, weather: Weather, engine: &str) -> Result<(), Failure> {
    let server = match weather {
        Weather::Flaky => Server::start_flaky(places, hosts, DELAY, FLAKY)?,
        _ => Server::start(places, hosts, DELAY)?,
    };
    let report = client(places, [weather.job(), engine], &server.hosts)?;
    let figure = |name: &str| report[name].as_f64().ok_or_else(|| format!("the client reported no {name}: {report}"));
    let (took, slowest) = (figure("took_ms")?, figure("slowest_host_ms")?);
    let others = report["others_ms"].as_f64().map_or_else(String::new, |others| format!("{others:.0} ms"));
    writeln!(
        table,
        "\n| {hosts} | {} | {engine} | {took:.0} ms | {slowest:.0} ms | {:.2} | {others} | {} | {:.1} KiB | {:.0} MiB |",
        weather.name(),
        took / slowest,
        figure("threads")?,
        figure("used_kib")? / hosts as f64,
        figure("peak_kib")? / 1024.0,
    )?;
    table.truncate(table.trim_end().len());
    Ok(())
}

fn client(places: &Places, words: [&str; 2], hosts: &[String]) -> Result<Value, Failure> {
    let mut client = Command::new(places.program("client-scale"))
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = client.stdin.take() {
        stdin.write_all(hosts.join(",").as_bytes())?;
    }
    let status = child::wait(&mut client, LIMIT)?;
    if !status.success() {
        return Err(format!("client-scale: {status}").into());
    }
    Ok(serde_json::from_reader(client.stdout.ok_or("no output")?)?)
}
