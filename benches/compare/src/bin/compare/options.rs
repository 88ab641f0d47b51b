//! Options of the command line.

use std::time::Duration;

use crate::Failure;

pub(crate) const HELP: &str = "\
cargo run --release --manifest-path benches/compare/Cargo.toml -- [OPTIONS]

  --clients a,b      only these clients (the reference, reqwest-one, always runs)
  --hosts 3,16       only these numbers of hosts [3,16,64,256,1024]
  --rounds K         how often everything is repeated [5]
  --quick            a look in about a minute: 2 rounds, fewer hosts, shorter measurements
  --seed S           repeat the random order of an earlier run
  --write-figures    write docs/latency.svg and docs/throughput.svg, only of a whole run
  --scale            only our client, with up to 10,000 hosts of which a tenth falter
  --help             this text";

/// The delays of the server, each of which is compared.
pub(crate) const DELAYS_MS: [u64; 2] = [0, 20];
/// Number of hosts of a bulk job.
pub(crate) const BULK_HOSTS: usize = 8;
/// Number of hosts of a cold start.
pub(crate) const COLD_HOSTS: usize = 3;
/// Maximum number of hosts of a short operation.
const FEW_HOSTS: usize = 64;
/// Maximum number of hosts, as the test server offers.
const MAX_HOSTS: usize = 1_024;
const MAX_ROUNDS: usize = 100;

#[derive(Debug)]
pub(crate) struct Options {
    /// The selected clients; `None` means all.
    pub(crate) clients: Option<Vec<String>>,
    pub(crate) hosts: Vec<usize>,
    pub(crate) rounds: usize,
    pub(crate) quick: bool,
    pub(crate) seed: u64,
    pub(crate) write_figures: bool,
    /// Measure our client with many hosts instead of the comparison.
    pub(crate) scale: bool,
    /// Time budget of each client process.
    pub(crate) warmup: Duration,
    pub(crate) budget: Duration,
    /// Number of processes that share the budget in a round where operations are short: see [`Options::visits`].
    visits: u32,
    /// Cold starts of each client per round.
    pub(crate) starts: usize,
    /// Number of rounds in which a far slower client runs.
    pub(crate) slow_rounds: usize,
    /// Maximum expected time of an operation. Longer ones are skipped.
    pub(crate) slowest: Duration,
}

impl Options {
    /// Number of processes of a client per round with `hosts` hosts.
    ///
    /// With few hosts, an operation is mostly thread wake-ups, whose cost depends on the cores of the processes.
    /// Several short runs vary less than one long run.
    pub(crate) fn visits(&self, hosts: usize) -> u32 {
        if hosts <= FEW_HOSTS { self.visits } else { 1 }
    }

    /// Parses the options. Returns `None` for `--help`.
    pub(crate) fn from_args(args: impl IntoIterator<Item = String>) -> Result<Option<Self>, Failure> {
        let mut args = args.into_iter();
        let (mut clients, mut hosts, mut rounds, mut seed) = (None, None, None, None);
        let (mut quick, mut write_figures, mut scale) = (false, false, false);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--clients" => clients = Some(value()?.split(',').map(str::to_owned).collect()),
                "--hosts" => hosts = Some(host_counts(&value()?)?),
                "--rounds" => rounds = Some(value()?.parse()?),
                "--seed" => seed = Some(value()?.parse()?),
                "--quick" => quick = true,
                "--write-figures" => write_figures = true,
                "--scale" => scale = true,
                "--help" | "-h" => return Ok(None),
                _ => return Err(format!("unknown option {arg}\n\n{HELP}").into()),
            }
        }
        let rounds = rounds.unwrap_or(if quick { 2 } else { 5 });
        if !(1..=MAX_ROUNDS).contains(&rounds) {
            return Err(format!("--rounds must be 1 to {MAX_ROUNDS}").into());
        }
        if write_figures && (quick || clients.is_some() || hosts.is_some()) {
            return Err(
                "--write-figures replaces the figures that the repository shows, which are of a whole run: not with \
                        --quick, --clients or --hosts (every run draws its own below target/figures)"
                    .into(),
            );
        }
        let millis = |short, long| Duration::from_millis(if quick { short } else { long });
        Ok(Some(Self {
            clients,
            hosts: hosts.unwrap_or_else(|| if quick { vec![3, 64, 256] } else { vec![3, 16, 64, 256, 1_024] }),
            rounds,
            quick,
            seed: seed.unwrap_or_else(|| fastrand::u64(..)),
            write_figures,
            scale,
            warmup: millis(60, 80),
            budget: millis(150, 400),
            visits: if quick { 1 } else { 3 },
            starts: if quick { 5 } else { 10 },
            slow_rounds: if quick { 1 } else { 2 },
            slowest: millis(1_000, 3_000),
        }))
    }
}

/// Parses the numbers of hosts. They are sorted, because the time at fewer hosts predicts whether a client is too slow
/// for more.
fn host_counts(list: &str) -> Result<Vec<usize>, Failure> {
    let mut counts = list.split(',').map(str::parse).collect::<Result<Vec<usize>, _>>()?;
    counts.sort_unstable();
    counts.dedup();
    if counts.iter().all(|count| (1..=MAX_HOSTS).contains(count)) {
        Ok(counts)
    } else {
        Err(format!("--hosts must be 1 to {MAX_HOSTS}").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Options>, Failure> {
        Options::from_args(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn hosts_are_sorted_and_single() {
        assert_eq!(parse("--hosts 16,3,16").unwrap().unwrap().hosts, [3, 16]);
    }

    #[test]
    fn default_options_are_a_whole_run() {
        for part in ["--quick", "--clients ours", "--hosts 3"] {
            assert!(parse(&format!("--write-figures {part}")).unwrap_err().to_string().contains("whole run"), "{part}");
        }
        assert!(parse("--write-figures --rounds 7").is_ok());
    }

    #[test]
    fn invalid_options_are_refused() {
        for line in ["--hosts 0", "--hosts 2000", "--rounds 0", "--rounds", "--fast"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
