//! Measurements and their summary: medians, and ratios to the reference within the same round.

use std::collections::{BTreeMap, BTreeSet};

use crate::peers::REFERENCE;

/// One metric at one setting. Lower is better, except for `Throughput`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Metric {
    /// Time of one operation, in milliseconds.
    Latency { delay_ms: u64, hosts: usize },
    /// CPU time per 1,000 requests, in milliseconds.
    Cpu { delay_ms: u64, hosts: usize },
    /// Peak resident memory, in MiB.
    Memory { delay_ms: u64, hosts: usize },
    /// Groups per second.
    Throughput { delay_ms: u64 },
    /// CPU per request in bulk.
    BulkCpu { delay_ms: u64 },
    /// Time from the start of the process to its end, in milliseconds.
    ColdStart,
}

impl Metric {
    pub(crate) fn latency(delay_ms: u64, hosts: usize) -> Self {
        Self::Latency { delay_ms, hosts }
    }

    pub(crate) fn cpu(delay_ms: u64, hosts: usize) -> Self {
        Self::Cpu { delay_ms, hosts }
    }

    pub(crate) fn memory(delay_ms: u64, hosts: usize) -> Self {
        Self::Memory { delay_ms, hosts }
    }

    /// Name, delay, hosts and unit, for the record.
    pub(crate) fn describe(self) -> (&'static str, Option<u64>, Option<usize>, &'static str) {
        match self {
            Self::Latency { delay_ms, hosts } => ("latency", Some(delay_ms), Some(hosts), "ms"),
            Self::Cpu { delay_ms, hosts } => ("cpu", Some(delay_ms), Some(hosts), "ms per 1,000 requests"),
            Self::Memory { delay_ms, hosts } => ("peak memory", Some(delay_ms), Some(hosts), "MiB"),
            Self::Throughput { delay_ms } => ("throughput", Some(delay_ms), None, "groups/s"),
            Self::BulkCpu { delay_ms } => ("cpu in bulk", Some(delay_ms), None, "ms per 1,000 requests"),
            Self::ColdStart => ("cold start", None, None, "ms"),
        }
    }
}

/// One figure or ratio over the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
}

impl Spread {
    /// Returns `None` without values.
    fn of(rounds: &[f64]) -> Option<Self> {
        Some(Self {
            median: median(rounds)?,
            lowest: rounds.iter().copied().fold(f64::INFINITY, f64::min),
            highest: rounds.iter().copied().fold(0.0, f64::max),
        })
    }
}

#[derive(Default)]
pub(crate) struct Results {
    /// Values by round; several values in a round are repetitions.
    values: BTreeMap<(Metric, &'static str), BTreeMap<usize, Vec<f64>>>,
    left_out: BTreeSet<(Metric, &'static str)>,
    failures: BTreeMap<&'static str, String>,
    notes: Vec<String>,
}

impl Results {
    pub(crate) fn add(&mut self, metric: Metric, client: &'static str, round: usize, value: f64) {
        self.values.entry((metric, client)).or_default().entry(round).or_default().push(value);
    }

    /// Records the failure of a client. It is not run again, and its earlier results are kept.
    pub(crate) fn fail(&mut self, client: &'static str, why: String) {
        eprintln!("{client} failed: {why}");
        self.failures.insert(client, why);
    }

    pub(crate) fn leave_out(&mut self, metric: Metric, client: &'static str) {
        self.left_out.insert((metric, client));
    }

    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    pub(crate) fn has_failed(&self, client: &str) -> bool {
        self.failures.contains_key(client)
    }

    pub(crate) fn failures(&self) -> &BTreeMap<&'static str, String> {
        &self.failures
    }

    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    pub(crate) fn is_left_out(&self, metric: Metric, client: &'static str) -> bool {
        self.left_out.contains(&(metric, client))
    }

    /// All metrics that were measured.
    pub(crate) fn measured(&self) -> impl Iterator<Item = (Metric, &'static str)> {
        self.values.keys().copied()
    }

    /// The median over the rounds of each round's median.
    pub(crate) fn median(&self, metric: Metric, client: &'static str) -> Option<f64> {
        self.spread(metric, client).map(|spread| spread.median)
    }

    pub(crate) fn spread(&self, metric: Metric, client: &'static str) -> Option<Spread> {
        Spread::of(&self.rounds(metric, client).into_values().collect::<Vec<_>>())
    }

    /// One figure for each round in which the client ran.
    pub(crate) fn rounds(&self, metric: Metric, client: &'static str) -> BTreeMap<usize, f64> {
        let rounds = self.values.get(&(metric, client));
        rounds.into_iter().flatten().filter_map(|(round, values)| Some((*round, median(values)?))).collect()
    }

    /// A client's figure divided by the reference's.
    pub(crate) fn ratio(&self, metric: Metric, client: &'static str) -> Option<Spread> {
        self.ratio_to(metric, client, REFERENCE)
    }

    /// Divides each round's figure by that of the other client in that round, and returns the median. A drift of the
    /// machine disturbs it less than a quotient of medians.
    pub(crate) fn ratio_to(&self, metric: Metric, client: &'static str, other: &'static str) -> Option<Spread> {
        let divisors = self.rounds(metric, other);
        let ratios: Vec<f64> = self
            .rounds(metric, client)
            .into_iter()
            .filter_map(|(round, value)| Some(value / divisors.get(&round).filter(|divisor| **divisor > 0.0)?))
            .collect();
        Spread::of(&ratios)
    }
}

/// The median, or `None` without values. For an even number it is the mean of the middle two.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(sorted[sorted.len() / 2 - 1], upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn ratio_is_taken_within_a_round() {
        let mut results = Results::default();
        // The machine is slower in the second round, and the client has no third.
        for (round, reference) in [(0, 2.0), (1, 20.0), (2, 2.0)] {
            results.add(Metric::ColdStart, REFERENCE, round, reference);
        }
        results.add(Metric::ColdStart, "go", 0, 4.0);
        results.add(Metric::ColdStart, "go", 1, 40.0);
        let ratio = results.ratio(Metric::ColdStart, "go").unwrap();
        assert_eq!(ratio, Spread { median: 2.0, lowest: 2.0, highest: 2.0 });
    }
}
