//! The status of several groups: a line for each group, a column for each host. Too wide for the screen, it is folded to
//! the lines of single groups.

use std::fmt::Write as _;

use cluster_client::{GroupId, Host, Hosts, Report, State};

use crate::output::View;
use crate::paint::{Cell, Tone, painted, width_of};
use crate::table::mark;
use crate::totals;

/// The widest verdict and the widest state, with its mark.
const VERDICT: usize = "on every host".len();
const STATE: usize = "? unknown".len();
const GAP: usize = 2;

#[derive(Debug)]
pub(crate) struct Matrix {
    groups: usize,
    /// The width of the column of each host.
    hosts: Vec<usize>,
    header: String,
}

impl Matrix {
    /// Returns the matrix of these groups and hosts, if a line of it fits on the screen.
    pub(crate) fn new(groups: &[GroupId], noun: &str, hosts: &Hosts, view: View) -> Option<Self> {
        let widest = groups.iter().map(|group| width_of(group.as_str())).max()?.max(width_of(noun));
        let widths: Vec<usize> = hosts.iter().map(|host| host.label().len().max(STATE)).collect();
        let total = widest + GAP + VERDICT + widths.iter().map(|width| GAP + width).sum::<usize>();
        if total > view.columns {
            return None;
        }
        let mut header = format!("{noun:widest$}");
        for (host, width) in hosts.iter().map(Host::authority).zip(&widths) {
            let _ = write!(header, "  {host:width$}");
        }
        Some(Matrix { groups: widest, hosts: widths, header: header.trim_end().to_owned() + "\n" })
    }

    pub(crate) fn header(&self) -> &str {
        &self.header
    }

    /// Returns the line of a group, and below it the reason of each unknown state.
    pub(crate) fn line(&self, report: &Report, view: View) -> String {
        let room = self.groups.saturating_sub(width_of(report.group.as_str()));
        let mut line = format!("{}{:room$}", painted(report.group.as_str(), Tone::Plain), "");
        for (host, width) in report.hosts.iter().zip(&self.hosts) {
            let tone = match host.state {
                State::Present => Tone::Good,
                State::Absent => Tone::Plain,
                State::Unknown => Tone::Unsure,
            };
            let cell = Cell::new(host.state.to_string(), tone);
            let _ = write!(line, "  {}{}", mark(&cell, view), cell.padded(width - 2));
        }
        let verdict = totals::found(report);
        let tone = match verdict {
            "on every host" => Tone::Good,
            "on none" => Tone::Plain,
            _ => Tone::Bad,
        };
        let mut text = format!("{line}  {}\n", painted(verdict, tone));
        for host in report.unknown() {
            let name = host.host.label();
            let why = host.reason.as_ref().map_or_else(|| format!("{name}: not asked"), |why| why.sentence(name));
            let _ = writeln!(text, "      {}", painted(&why, Tone::Plain));
        }
        text
    }
}
