//! The results as Markdown tables.

use std::fmt::Write;

use crate::options::{BULK_HOSTS, COLD_HOSTS, DELAYS_MS, Options};
use crate::peers::{Peer, REFERENCE};
use crate::results::{Metric, Results};
use crate::setting::{self, Setting};
use crate::targets;

const NOTHING: &str = "–";

/// One table: a row for each client, a column for each metric.
struct Table {
    title: String,
    columns: Vec<(String, Metric)>,
}

pub(crate) fn markdown(options: &Options, peers: &[Peer], setting: &Setting, results: &Results) -> String {
    let mut text = "# cluster-client and what one could use instead\n\n\
         Each cell: ratio to \"tokio + reqwest, one thread\" in the same run (the median of the rounds' ratios), then the \
         median itself. Less is better, except for bulk."
        .to_owned();
    if cfg!(feature = "tls") {
        text.push_str(" **All over https.**");
    }
    if options.quick {
        text.push_str(" **A quick run: too short to quote.**");
    }
    text.push('\n');
    for table in tables(options) {
        table.write(&mut text, peers, results);
    }
    text.push('\n');
    noise(&mut text, options, results);
    _ = writeln!(text, "\n{}", setting::line(setting));
    for (name, why) in results.failures() {
        _ = writeln!(text, "\nFailed: {name}: {why}");
    }
    for note in results.notes() {
        _ = writeln!(text, "\nNote: {note}");
    }
    targets::write(&mut text, results);
    text
}

fn tables(options: &Options) -> Vec<Table> {
    let by_hosts = |title: String, metric: &dyn Fn(usize) -> Metric| Table {
        title,
        columns: options.hosts.iter().map(|&hosts| (format!("N = {hosts}"), metric(hosts))).collect(),
    };
    let single = |what: &str, metric: fn(u64, usize) -> Metric| {
        DELAYS_MS
            .map(|delay_ms| by_hosts(format!("{what}, server latency {delay_ms} ms"), &|hosts| metric(delay_ms, hosts)))
    };
    let of_delay = |metric: fn(u64) -> Metric| {
        DELAYS_MS.map(|delay_ms| (format!("server latency {delay_ms} ms"), metric(delay_ms))).to_vec()
    };
    let mut tables: Vec<Table> = single("Latency of one operation on N hosts in ms", Metric::latency).into();
    tables.push(Table {
        title: format!("Bulk: groups per second, {BULK_HOSTS} hosts, 32 groups in flight (more is better)"),
        columns: of_delay(|delay_ms| Metric::Throughput { delay_ms }),
    });
    tables.extend(single("CPU: ms per 1,000 requests", Metric::cpu));
    tables.push(Table {
        title: "CPU in bulk: ms per 1,000 requests".to_owned(),
        columns: of_delay(|delay_ms| Metric::BulkCpu { delay_ms }),
    });
    tables.extend(single("Peak memory: MiB", Metric::memory));
    tables.push(Table {
        title: format!("Cold start to exit of one create on {COLD_HOSTS} hosts"),
        columns: vec![("ms".to_owned(), Metric::ColdStart)],
    });
    tables
}

impl Table {
    fn write(&self, text: &mut String, peers: &[Peer], results: &Results) {
        let heads: Vec<&str> = self.columns.iter().map(|(head, _)| head.as_str()).collect();
        _ = writeln!(text, "\n## {}\n", self.title);
        _ = writeln!(text, "| client | {} |", heads.join(" | "));
        _ = writeln!(text, "| --- |{}", " ---: |".repeat(heads.len()));
        for peer in peers {
            let cells: Vec<String> = match &peer.command {
                Ok(_) => self.columns.iter().map(|(_, metric)| cell(*metric, peer.name, results)).collect(),
                Err(reason) => reason_row(reason, self.columns.len()),
            };
            _ = writeln!(text, "| {} | {} |", peer.label, cells.join(" | "));
        }
    }
}

/// A row with the reason for missing results in its first column.
fn reason_row(reason: &str, columns: usize) -> Vec<String> {
    std::iter::once(reason).chain(std::iter::repeat(NOTHING)).take(columns).map(str::to_owned).collect()
}

fn cell(metric: Metric, client: &'static str, results: &Results) -> String {
    match (results.median(metric, client), results.ratio(metric, client)) {
        (Some(value), Some(ratio)) => format!("{} ({})", significant(ratio.median), significant(value)),
        (Some(value), None) => format!("({})", significant(value)),
        (None, _) if was_too_slow(metric, client, results) => "too slow".to_owned(),
        (None, _) => NOTHING.to_owned(),
    }
}

/// Whether the client was skipped. The latency decides, also for CPU and memory of its processes.
fn was_too_slow(metric: Metric, client: &'static str, results: &Results) -> bool {
    match metric {
        Metric::Latency { delay_ms, hosts } | Metric::Cpu { delay_ms, hosts } | Metric::Memory { delay_ms, hosts } => {
            results.is_left_out(Metric::latency(delay_ms, hosts), client)
        }
        Metric::Throughput { .. } | Metric::BulkCpu { .. } | Metric::ColdStart => false,
    }
}

/// Spread of the reference's own figures. Smaller differences are noise.
fn noise(text: &mut String, options: &Options, results: &Results) {
    let spreads: Vec<String> = options
        .hosts
        .iter()
        .filter_map(|&hosts| {
            let rounds = results.rounds(Metric::latency(0, hosts), REFERENCE);
            let lowest = rounds.values().copied().fold(f64::INFINITY, f64::min);
            let highest = rounds.values().copied().fold(0.0, f64::max);
            (rounds.len() > 1).then(|| format!("{:.0} % at {hosts}", (highest / lowest - 1.0) * 100.0))
        })
        .collect();
    if !spreads.is_empty() {
        _ = writeln!(
            text,
            "Noise: from its fastest to its slowest round the reference's latency (0 ms server) grew by {}.",
            spreads.join(", ")
        );
    }
    _ = writeln!(text, "{} rounds, seed {}.", options.rounds, options.seed);
}

/// Formats with three digits and separated thousands.
pub(crate) fn significant(value: f64) -> String {
    if value >= 1_000.0 {
        let whole = format!("{value:.0}");
        let (head, tail) = whole.split_at(whole.len() - 3);
        return format!("{head},{tail}");
    }
    let decimals = match value {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        value if value >= 0.1 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::significant;

    #[test]
    fn numbers_are_short() {
        for (value, text) in [(12_345.6, "12,346"), (216.2, "216"), (20.04, "20.0"), (0.951, "0.95"), (0.0071, "0.007")]
        {
            assert_eq!(significant(value), text);
        }
    }
}
