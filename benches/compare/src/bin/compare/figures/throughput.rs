//! Groups per second in bulk: a bar for each client, a panel for each server latency.

use super::svg::{Picture, look};
use crate::options::{BULK_HOSTS, DELAYS_MS};
use crate::peers::Peer;
use crate::results::{Metric, Results};
use crate::table::significant;

const WIDTH: f64 = 980.0;
const LABELS: f64 = 268.0;
const PANEL_WIDTH: f64 = 340.0;
/// The part of a panel that bars may fill; the rest is for the figure behind the longest.
const BAR_PART: f64 = 0.66;
const TOP: f64 = 98.0;
const LINE: f64 = 30.0;
const BAR: f64 = 18.0;
const MAX_TICKS: u32 = 4;

pub(super) fn draw(peers: &[Peer], results: &Results) -> String {
    let at_zero = |peer: &Peer| results.median(Metric::Throughput { delay_ms: DELAYS_MS[0] }, peer.name).unwrap_or(0.0);
    let mut shown: Vec<&Peer> = peers.iter().filter(|peer| peer.command.is_ok()).collect();
    shown.sort_by(|one, other| at_zero(other).total_cmp(&at_zero(one)));

    let bottom = TOP + shown.len() as f64 * LINE;
    let mut picture = Picture::new(WIDTH, bottom + 58.0);
    let title = format!("Bulk: {BULK_HOSTS} hosts, 32 groups in flight (longer is better)");
    picture.text(20.0, 28.0, "ink title", &title);
    picture.text(20.0, 47.0, "soft", "groups per second · ratio to tokio + reqwest on one thread");
    for (index, peer) in shown.iter().enumerate() {
        picture.text(LABELS - 12.0, middle(index) + 4.5, "ink end", peer.label);
    }
    for (index, delay_ms) in DELAYS_MS.into_iter().enumerate() {
        panel(&mut picture, LABELS + index as f64 * (PANEL_WIDTH + 16.0), bottom, delay_ms, &shown, results);
    }
    picture.finish("Groups per second in bulk, for each client")
}

fn middle(index: usize) -> f64 {
    TOP + (index as f64 + 0.5) * LINE
}

fn panel(picture: &mut Picture, left: f64, bottom: f64, delay_ms: u64, shown: &[&Peer], results: &Results) {
    let metric = Metric::Throughput { delay_ms };
    let longest = shown.iter().filter_map(|peer| results.median(metric, peer.name)).fold(0.0, f64::max);
    picture.text(left, TOP - 18.0, "ink", &format!("server latency {delay_ms} ms"));
    if longest <= 0.0 {
        return;
    }
    let scale = PANEL_WIDTH * BAR_PART / longest;
    let step = tick_step(longest);
    for value in (0..=MAX_TICKS).map(|count| f64::from(count) * step).take_while(|value| *value <= longest) {
        let x = left + value * scale;
        picture.grid_line((x, TOP - 6.0), (x, bottom));
        let label = if value == 0.0 { "0".to_owned() } else { significant(value) };
        picture.text(x, bottom + 20.0, "soft middle", label.trim_end_matches(".0"));
    }
    picture.text(left + PANEL_WIDTH * BAR_PART / 2.0, bottom + 42.0, "soft middle", "groups per second");
    for (index, peer) in shown.iter().enumerate() {
        let Some(value) = results.median(metric, peer.name) else { continue };
        let width = (value * scale).max(1.0);
        picture.bar((left, middle(index) - BAR / 2.0), (width, BAR), look(peer.name));
        let ratio = results
            .ratio(metric, peer.name)
            .map_or(String::new(), |ratio| format!(" · {}×", significant(ratio.median)));
        picture.text(left + width + 7.0, middle(index) + 4.5, "ink", &format!("{}{ratio}", significant(value)));
    }
}

/// A step of 1, 2 or 5 times a power of ten that gives three or four ticks.
fn tick_step(longest: f64) -> f64 {
    let decade = 10_f64.powf(longest.log10().floor());
    [0.2, 0.5, 1.0, 2.0, 5.0]
        .into_iter()
        .map(|step| step * decade)
        .find(|step| longest / step <= f64::from(MAX_TICKS))
        .unwrap_or(decade)
}

#[cfg(test)]
mod tests {
    use super::tick_step;

    #[test]
    fn ticks_are_few() {
        for longest in [0.7, 9.9, 750.0, 16_887.0] {
            let ticks = longest / tick_step(longest);
            assert!((1.5..=4.0).contains(&ticks), "{longest}: {ticks}");
        }
    }
}
