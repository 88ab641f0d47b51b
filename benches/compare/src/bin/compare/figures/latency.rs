//! Latency over the number of hosts, one panel for each server latency; both axes logarithmic.

use super::svg::{KEY_WIDTH, Picture, look};
use crate::options::{DELAYS_MS, Options};
use crate::peers::Peer;
use crate::results::{Metric, Results};
use crate::table::significant;

const WIDTH: f64 = 980.0;
const PLOT_WIDTH: f64 = 390.0;
const PLOT_HEIGHT: f64 = 330.0;
const TOP: f64 = 76.0;
/// Left and upper edge of the plots.
const LEFTS: [f64; DELAYS_MS.len()] = [76.0, 564.0];
const LEGEND_COLUMNS: usize = 3;
const LEGEND_LINE: f64 = 24.0;
/// The wanted steps of a logarithmic axis, in each decade.
const STEPS: [f64; 3] = [1.0, 2.0, 5.0];

pub(super) fn draw(options: &Options, peers: &[Peer], results: &Results) -> String {
    let shown: Vec<&Peer> = peers.iter().filter(|peer| peer.command.is_ok()).collect();
    let legend_top = TOP + PLOT_HEIGHT + 74.0;
    let legend_lines = shown.len().div_ceil(LEGEND_COLUMNS);
    let mut picture = Picture::new(WIDTH, legend_top + legend_lines as f64 * LEGEND_LINE);
    picture.text(
        LEFTS[0],
        28.0,
        "ink title",
        "One operation: POST on all hosts, then GET on all hosts (lower is better)",
    );
    for (left, delay_ms) in LEFTS.into_iter().zip(DELAYS_MS) {
        panel(&mut picture, left, delay_ms, options, &shown, results);
    }
    for (index, peer) in shown.iter().enumerate() {
        let x = LEFTS[0] + (index % LEGEND_COLUMNS) as f64 * 295.0;
        let y = legend_top + (index / LEGEND_COLUMNS) as f64 * LEGEND_LINE;
        picture.key(x, y, look(peer.name));
        picture.text(x + KEY_WIDTH + 10.0, y + 4.5, "ink", peer.label);
    }
    picture.finish("Latency of one operation over the number of hosts, for each client")
}

fn panel(picture: &mut Picture, left: f64, delay_ms: u64, options: &Options, shown: &[&Peer], results: &Results) {
    let hosts = &options.hosts;
    let value = |peer: &Peer, hosts| results.median(Metric::latency(delay_ms, hosts), peer.name);
    let all: Vec<f64> = shown.iter().flat_map(|peer| hosts.iter().filter_map(|&hosts| value(peer, hosts))).collect();
    let (Some(x_axis), Some(y_axis)) = (
        LogAxis::over(hosts.iter().map(|&hosts| hosts as f64), left + 14.0, left + PLOT_WIDTH - 14.0),
        LogAxis::over(round_limits(&all), TOP + PLOT_HEIGHT, TOP),
    ) else {
        return;
    };

    picture.text(left, TOP - 16.0, "ink", &format!("server latency {delay_ms} ms"));
    for tick in y_axis.ticks() {
        let y = y_axis.at(tick);
        picture.grid_line((left, y), (left + PLOT_WIDTH, y));
        picture.text(left - 8.0, y + 4.5, "soft end", &significant_tick(tick));
    }
    let bottom = TOP + PLOT_HEIGHT;
    for &count in hosts {
        let x = x_axis.at(count as f64);
        picture.grid_line((x, TOP), (x, bottom));
        picture.text(x, bottom + 20.0, "soft middle", &significant_tick(count as f64));
    }
    picture.text(left + PLOT_WIDTH / 2.0, bottom + 42.0, "soft middle", "hosts (log scale)");
    picture.upright_text(left - 54.0, TOP + PLOT_HEIGHT / 2.0, "soft middle", "latency in ms (log scale)");

    // Ours last, so that it lies on top.
    for peer in shown.iter().rev() {
        let points: Vec<(f64, f64)> =
            hosts.iter().filter_map(|&hosts| Some((x_axis.at(hosts as f64), y_axis.at(value(peer, hosts)?)))).collect();
        if !points.is_empty() {
            picture.series(&points, look(peer.name));
        }
    }
}

/// A logarithmic scale from values to pixels.
struct LogAxis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl LogAxis {
    /// `None` without a value.
    fn over(values: impl IntoIterator<Item = f64>, from: f64, to: f64) -> Option<Self> {
        let (low, high) =
            values.into_iter().fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        (low > 0.0 && high > 0.0 && low.is_finite()).then_some(Self { low, high, from, to })
    }

    fn at(&self, value: f64) -> f64 {
        if self.low >= self.high {
            return f64::midpoint(self.from, self.to);
        }
        self.from + (value / self.low).ln() / (self.high / self.low).ln() * (self.to - self.from)
    }

    /// Whole decades on a long axis, 1-2-5 on a short one.
    fn ticks(&self) -> Vec<f64> {
        let steps = if self.high / self.low > 500.0 { &STEPS[..1] } else { &STEPS[..] };
        steps_between(steps, self.low, self.high)
    }
}

/// The range of the values, widened to the nearest steps.
fn round_limits(values: &[f64]) -> Vec<f64> {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(0.0, f64::max);
    let steps = steps_between(&STEPS, low / 10.0, high * 10.0);
    let below = steps.iter().copied().rfind(|step| *step <= low);
    let above = steps.iter().copied().find(|step| *step >= high);
    below.into_iter().chain(above).collect()
}

fn steps_between(steps: &[f64], low: f64, high: f64) -> Vec<f64> {
    let all = (-4..=6).flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)));
    // The steps are products: allow for their rounding.
    all.filter(|step| *step >= low * 0.999 && *step <= high * 1.001).collect()
}

/// 0.1, 20, 1,000: without the zeros that a measured figure would carry.
fn significant_tick(value: f64) -> String {
    let text = significant(value);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_round() {
        let limits = round_limits(&[0.24, 48.0]);
        assert!((limits[0] - 0.2).abs() < 1e-9 && (limits[1] - 50.0).abs() < 1e-9, "{limits:?}");
        assert!(round_limits(&[]).is_empty());
    }

    #[test]
    fn an_axis_ends_where_it_should() {
        let axis = LogAxis::over([1.0, 100.0], 0.0, 10.0).unwrap();
        for (value, pixel) in [(1.0, 0.0), (10.0, 5.0), (100.0, 10.0)] {
            assert!((axis.at(value) - pixel).abs() < 1e-9);
        }
        assert!(LogAxis::over([], 0.0, 1.0).is_none());
    }
}
