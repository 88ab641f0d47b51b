//! Targets of both engines, and whether they are met.

use std::fmt::Write;

use crate::options::DELAYS_MS;
use crate::peers::REFERENCE;
use crate::results::{Metric, Results, Spread};

const THREADS: &str = "ours";
const MULTIPLEXED: &str = "ours-multiplexed";
const MULTIPLEXED_JOURNAL: &str = "ours-multiplexed-journal";
const HYPER: &str = "hyper-one";

/// The numbers of hosts with a target for the time and CPU of one operation.
const HOSTS: [usize; 5] = [3, 16, 64, 256, 1_024];

/// Maximum ratios of a client to another, by [`HOSTS`].
struct Row {
    name: &'static str,
    client: &'static str,
    other: &'static str,
    metric: fn(usize) -> Metric,
    most: [f64; HOSTS.len()],
}

const ROWS: [Row; 7] = [
    Row {
        name: "multiplexed, 0 ms",
        client: MULTIPLEXED,
        other: REFERENCE,
        metric: |hosts| Metric::latency(0, hosts),
        most: [0.60, 0.55, 0.45, 0.45, 0.50],
    },
    Row {
        name: "multiplexed, 20 ms",
        client: MULTIPLEXED,
        other: REFERENCE,
        metric: |hosts| Metric::latency(20, hosts),
        most: [1.00, 1.00, 0.97, 0.97, 0.72],
    },
    Row {
        name: "multiplexed, CPU at 20 ms",
        client: MULTIPLEXED,
        other: REFERENCE,
        metric: |hosts| Metric::cpu(20, hosts),
        most: [0.60, 0.50, 0.50, 0.50, 0.55],
    },
    Row {
        name: "threads, 0 ms",
        client: THREADS,
        other: REFERENCE,
        metric: |hosts| Metric::latency(0, hosts),
        most: [1.15, 1.00, 1.10, 1.40, 1.40],
    },
    Row {
        name: "threads, 20 ms",
        client: THREADS,
        other: REFERENCE,
        metric: |hosts| Metric::latency(20, hosts),
        most: [1.01, 1.01, 1.02, 1.03, 1.30],
    },
    Row {
        name: "multiplexed to hyper-util, 0 ms",
        client: MULTIPLEXED,
        other: HYPER,
        metric: |hosts| Metric::latency(0, hosts),
        most: [1.00; HOSTS.len()],
    },
    Row {
        name: "multiplexed to hyper-util, 20 ms",
        client: MULTIPLEXED,
        other: HYPER,
        metric: |hosts| Metric::latency(20, hosts),
        most: [1.00; HOSTS.len()],
    },
];

#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// A target whose figure was measured.
struct Target {
    bound: Bound,
    unit: &'static str,
    measured: Spread,
}

/// Writes the targets, or nothing if none was measured.
pub(crate) fn write(text: &mut String, results: &Results) {
    let rows: Vec<_> = ROWS.iter().map(|row| (row.name, row.targets(results))).collect();
    let rows: Vec<_> = rows.into_iter().filter(|(_, cells)| cells.iter().any(Option::is_some)).collect();
    let singles: Vec<_> = singles(results).into_iter().filter_map(|(name, target)| Some((name, target?))).collect();
    if rows.is_empty() && singles.is_empty() {
        return;
    }
    text.push_str(
        "\n## Targets\n\n\
         Ratios to \"tokio + reqwest, one thread\" where nothing else is said: the median of the rounds, with the target in \
         parentheses. \"within noise\": the median misses the target, but not all rounds do.\n",
    );
    if !rows.is_empty() {
        let heads = HOSTS.map(|hosts| format!("N = {hosts}"));
        _ = writeln!(text, "\n| | {} |\n| --- |{}", heads.join(" | "), " --- |".repeat(heads.len()));
    }
    for (name, cells) in rows {
        let cells: Vec<String> = cells.iter().map(|cell| cell.as_ref().map_or("–".into(), Target::cell)).collect();
        _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
    }
    if !singles.is_empty() {
        text.push_str("\n| target of the multiplexed engine | measured |\n| --- | --- |\n");
    }
    for (name, target) in singles {
        _ = writeln!(text, "| {name} | {} |", target.cell());
    }
}

impl Row {
    fn targets(&self, results: &Results) -> [Option<Target>; HOSTS.len()] {
        let mut most = self.most.into_iter();
        HOSTS.map(|hosts| {
            let bound = Bound::AtMost(most.next()?);
            let measured = results.ratio_to((self.metric)(hosts), self.client, self.other)?;
            Some(Target { bound, unit: "", measured })
        })
    }
}

/// The targets of the multiplexed engine that do not depend on the number of hosts.
fn singles(results: &Results) -> Vec<(String, Option<Target>)> {
    let ratio = |bound, metric| {
        let measured = results.ratio(metric, MULTIPLEXED)?;
        Some(Target { bound, unit: "", measured })
    };
    let mut targets = Vec::new();
    for (delay_ms, least) in DELAYS_MS.into_iter().zip([1.9, 1.0]) {
        let name = format!("groups per second in bulk, {delay_ms} ms");
        targets.push((name, ratio(Bound::AtLeast(least), Metric::Throughput { delay_ms })));
    }
    for delay_ms in DELAYS_MS {
        let name = format!("groups per second in bulk with a journal, to those without, {delay_ms} ms");
        targets.push((name, journal(results, delay_ms)));
    }
    for (hosts, most) in [(256, 5.0), (1_024, 10.0)] {
        targets.push((format!("peak memory, {hosts} hosts"), memory(results, hosts, most)));
    }
    targets.push(("cold start".to_owned(), ratio(Bound::AtMost(0.95), Metric::ColdStart)));
    targets
}

/// The target for peak memory, with the higher peak over the delays of the server.
fn memory(results: &Results, hosts: usize, most: f64) -> Option<Target> {
    let at_delay = |delay_ms| results.spread(Metric::memory(delay_ms, hosts), MULTIPLEXED);
    let peaks = DELAYS_MS.into_iter().filter_map(at_delay);
    let measured = peaks.max_by(|one, other| one.median.total_cmp(&other.median))?;
    Some(Target { bound: Bound::AtMost(most), unit: " MiB", measured })
}

fn journal(results: &Results, delay_ms: u64) -> Option<Target> {
    let measured = results.ratio_to(Metric::Throughput { delay_ms }, MULTIPLEXED_JOURNAL, MULTIPLEXED)?;
    Some(Target { bound: Bound::AtLeast(0.67), unit: "", measured })
}

impl Target {
    fn cell(&self) -> String {
        let Self { unit, measured: Spread { median, .. }, .. } = self;
        let (sign, limit) = match self.bound {
            Bound::AtMost(limit) => ("≤", limit),
            Bound::AtLeast(limit) => ("≥", limit),
        };
        format!("{median:.2}{unit} ({sign} {limit:.2}{unit}){}", self.verdict())
    }

    /// Compares the measured figures, not the rounded ones.
    fn verdict(&self) -> &'static str {
        if self.bound.allows(self.measured.median) {
            ""
        } else if self.bound.allows(self.measured.lowest) || self.bound.allows(self.measured.highest) {
            " within noise"
        } else {
            " **missed**"
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
        Target { bound, unit: "", measured: Spread { median, lowest, highest } }.verdict()
    }

    #[test]
    fn target_is_met_if_the_median_meets_it_and_missed_if_all_rounds_miss_it() {
        for (bound, rounds, met) in [
            (Bound::AtMost(0.95), [0.90, 0.95, 1.00], ""),
            (Bound::AtMost(0.95), [0.94, 0.9501, 1.00], " within noise"),
            (Bound::AtMost(0.95), [0.9501, 0.97, 1.00], " **missed**"),
            (Bound::AtLeast(1.0), [0.9, 1.0, 1.1], ""),
            (Bound::AtLeast(1.0), [0.9, 0.9999, 1.1], " within noise"),
            (Bound::AtLeast(1.0), [0.9, 0.95, 0.9999], " **missed**"),
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
        results.add(Metric::memory(0, 256), MULTIPLEXED, 0, 4.0);
        results.add(Metric::memory(20, 256), MULTIPLEXED, 0, 5.5);
        write(&mut text, &results);
        assert_eq!(text.lines().last(), Some("| peak memory, 256 hosts | 5.50 MiB (≤ 5.00 MiB) **missed** |"));
        assert!(!text.contains("N = "), "{text}");
    }

    #[test]
    fn cell_without_a_figure_is_a_dash() {
        let mut results = Results::default();
        results.add(Metric::latency(20, 64), THREADS, 0, 42.0);
        results.add(Metric::latency(20, 64), REFERENCE, 0, 40.0);
        let mut text = String::new();
        write(&mut text, &results);
        assert_eq!(text.lines().last(), Some("| threads, 20 ms | – | – | 1.05 (≤ 1.02) **missed** | – | – |"));
    }
}
