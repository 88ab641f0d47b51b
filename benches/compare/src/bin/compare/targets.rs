//! Targets of our client, and whether they are met.

use std::fmt::Write;

use crate::options::DELAYS_MS;
use crate::results::{Metric, Results, Spread};

const OURS: &str = "ours";
const JOURNAL: &str = "ours-journal";

/// Maximum ratio of the latencies, by hosts and for each of [`DELAYS_MS`].
const LATENCIES: [[(usize, f64); 5]; DELAYS_MS.len()] = [
    [(3, 0.95), (16, 0.9), (64, 0.9), (256, 1.2), (1_024, 1.2)],
    [(3, 1.0), (16, 1.0), (64, 1.0), (256, 1.0), (1_024, 1.15)],
];
const MEMORY_HOSTS: usize = 256;
const MB_PER_MIB: f64 = 1.024 * 1.024;

#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// A target whose figure was measured.
struct Target {
    name: String,
    bound: Bound,
    unit: &'static str,
    measured: Spread,
}

/// The table, or nothing if no target was measured.
pub(crate) fn write(text: &mut String, results: &Results) {
    let targets: Vec<Target> = targets(results).into_iter().flatten().collect();
    if targets.is_empty() {
        return;
    }
    text.push_str(
        "\n## Targets\n\n\
         Of \"cluster-client, preflight off\", as a ratio to \"tokio + reqwest, one thread\" where nothing else is said: the \
         median of the rounds, then the lowest and the highest. \"within noise\": the median misses the target, but not all \
         rounds do.\n\n\
         | target | measured | met |\n| --- | ---: | --- |\n",
    );
    for target in targets {
        target.write(text);
    }
}

/// All targets, in the order of the table.
fn targets(results: &Results) -> Vec<Option<Target>> {
    let ratio = |name: String, bound, metric| {
        results.ratio(metric, OURS).map(|measured| Target { name, bound, unit: "", measured })
    };
    let mut targets = Vec::new();
    for (delay_ms, latencies) in DELAYS_MS.into_iter().zip(LATENCIES) {
        for (hosts, most) in latencies {
            let name = format!("latency, {hosts} hosts, {delay_ms} ms server");
            targets.push(ratio(name, Bound::AtMost(most), Metric::latency(delay_ms, hosts)));
        }
    }
    for delay_ms in DELAYS_MS {
        let name = format!("groups per second in bulk, {delay_ms} ms server");
        targets.push(ratio(name, Bound::AtLeast(1.0), Metric::Throughput { delay_ms }));
    }
    for delay_ms in DELAYS_MS {
        let name = format!("CPU per request in bulk, {delay_ms} ms server");
        targets.push(ratio(name, Bound::AtMost(1.5), Metric::BulkCpu { delay_ms }));
    }
    targets.push(memory(results));
    targets.push(ratio("cold start".to_owned(), Bound::AtMost(1.0), Metric::ColdStart));
    targets.extend(DELAYS_MS.map(|delay_ms| journal(results, delay_ms)));
    targets
}

/// The target for peak memory, with the higher peak over the delays of the server.
fn memory(results: &Results) -> Option<Target> {
    let at_delay = |delay_ms| results.spread(Metric::memory(delay_ms, MEMORY_HOSTS), OURS);
    let most = DELAYS_MS.into_iter().filter_map(at_delay).max_by(|one, other| one.median.total_cmp(&other.median))?;
    Some(Target {
        name: format!("peak memory, {MEMORY_HOSTS} hosts"),
        bound: Bound::AtMost(20.0),
        unit: " MB",
        measured: most.times(MB_PER_MIB),
    })
}

fn journal(results: &Results, delay_ms: u64) -> Option<Target> {
    Some(Target {
        name: format!("groups per second in bulk with a journal, to those without, {delay_ms} ms server"),
        bound: Bound::AtLeast(1.0 / 1.5),
        unit: "",
        measured: results.ratio_to(Metric::Throughput { delay_ms }, JOURNAL, OURS)?,
    })
}

impl Target {
    fn write(&self, text: &mut String) {
        let Self { name, unit, measured: Spread { median, lowest, highest }, .. } = self;
        let (sign, limit) = match self.bound {
            Bound::AtMost(limit) => ("≤", limit),
            Bound::AtLeast(limit) => ("≥", limit),
        };
        _ = writeln!(
            text,
            "| {name} {sign} {limit:.2}{unit} | {median:.3}{unit} ({lowest:.3} to {highest:.3}) | {} |",
            self.verdict()
        );
    }

    /// Compares the measured figures, not the rounded ones.
    fn verdict(&self) -> &'static str {
        if self.bound.allows(self.measured.median) {
            "yes"
        } else if self.bound.allows(self.measured.lowest) || self.bound.allows(self.measured.highest) {
            "within noise"
        } else {
            "no"
        }
    }
}

impl Bound {
    fn allows(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(bound: Bound, [lowest, median, highest]: [f64; 3]) -> &'static str {
        Target { name: String::new(), bound, unit: "", measured: Spread { median, lowest, highest } }.verdict()
    }

    #[test]
    fn target_is_met_if_the_median_meets_it_and_missed_if_all_rounds_miss_it() {
        for (bound, rounds, met) in [
            (Bound::AtMost(0.95), [0.90, 0.95, 1.00], "yes"),
            (Bound::AtMost(0.95), [0.94, 0.9501, 1.00], "within noise"),
            (Bound::AtMost(0.95), [0.9501, 0.97, 1.00], "no"),
            (Bound::AtLeast(1.0), [0.9, 1.0, 1.1], "yes"),
            (Bound::AtLeast(1.0), [0.9, 0.9999, 1.1], "within noise"),
            (Bound::AtLeast(1.0), [0.9, 0.95, 0.9999], "no"),
        ] {
            assert_eq!(verdict(bound, rounds), met, "{rounds:?}");
        }
    }

    #[test]
    fn unmeasured_targets_are_left_out() {
        let mut results = Results::default();
        let mut text = String::new();
        write(&mut text, &results);
        assert_eq!(text, "");
        results.add(Metric::memory(0, MEMORY_HOSTS), OURS, 0, 10.0);
        results.add(Metric::memory(20, MEMORY_HOSTS), OURS, 0, 19.5);
        write(&mut text, &results);
        let row = "| peak memory, 256 hosts ≤ 20.00 MB | 20.447 MB (20.447 to 20.447) | no |";
        assert_eq!(text.lines().last(), Some(row));
        assert_eq!(text.matches("hosts").count(), 1);
    }
}
