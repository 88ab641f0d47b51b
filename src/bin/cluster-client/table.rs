//! Results for a person: a line for each host, in columns, then the summary and the next commands.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use cluster_client::{Action, HostReport, HostStep, Operation, Outcome, Printable, Report, RequestErrorKind, State};

use crate::exit::Exit;
use crate::summary::{Done, Summary, wanted};
use crate::time::measured;

/// Maximum width of a status, which has several hosts on a line.
const WIDTH: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tone {
    Plain,
    Good,
    Bad,
    Unsure,
}

#[derive(Debug, Clone)]
struct Cell {
    text: String,
    tone: Tone,
}

/// Returns the whole result of one group, with styles.
pub(crate) fn render(done: &Done, summary: &Summary, hosts: bool, marks: bool) -> String {
    let mut text = String::new();
    if let Some(report) = done.report().filter(|report| hosts && !report.hosts.is_empty()) {
        match report.outcome {
            Outcome::Observed => write_side_by_side(&mut text, report, marks),
            _ => write_rows(&mut text, done, report, marks),
        }
    }
    let tone = match done.exit() {
        Exit::Done => Tone::Good,
        Exit::Inconsistent | Exit::InDoubt => Tone::Bad,
        _ => Tone::Unsure,
    };
    let _ = writeln!(text, "{}", painted(&summary.text, tone));
    text + &summary.next.lines()
}

fn write_rows(text: &mut String, done: &Done, report: &Report, marks: bool) {
    let rows: Vec<[Cell; 3]> = report.hosts.iter().map(|host| row(done, report, host)).collect();
    let widths: [usize; 3] = std::array::from_fn(|column| width(rows.iter().map(|row| &row[column])));
    let names = report.hosts.iter().map(|host| host.host.authority().chars().count()).max().unwrap_or(0);
    for (host, row) in report.hosts.iter().zip(&rows) {
        let mut line = format!("{}{:names$}", mark(&row[2], marks), host.host.authority());
        for (cell, width) in row.iter().zip(widths).filter(|(_, width)| *width > 0) {
            let _ = write!(line, "  {}", padded(cell, width));
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

/// Returns the cells of a host: its create, its delete, and its state.
fn row(done: &Done, report: &Report, host: &HostReport) -> [Cell; 3] {
    let last = |action| host.steps.iter().rev().find(|step| step.action == action);
    let any = |action| report.hosts.iter().flat_map(|host| &host.steps).any(|step| step.action == action);
    let is_success = matches!(report.outcome, Outcome::Created) || ran_on_every_host(report);

    let state = state_cell(done, report, host);
    let created = match last(Action::Create) {
        // Do not highlight a refused create if the state is the wanted one.
        Some(step) if state.tone == Tone::Good => Cell { tone: Tone::Plain, ..acted(step, "created", is_success) },
        Some(step) => acted(step, "created", is_success),
        None if any(Action::Create) => Cell { text: "not sent".into(), tone: Tone::Plain },
        None => Cell { text: String::new(), tone: Tone::Plain },
    };
    let deleted = match last(Action::Delete) {
        Some(step) if matches!(step.status, Some(400 | 404)) => {
            Cell { text: "was not there".into(), tone: Tone::Plain }
        }
        Some(step) => acted(step, "deleted", is_success),
        None => Cell { text: String::new(), tone: Tone::Plain },
    };
    [created, deleted, state]
}

fn acted(step: &HostStep, done: &str, with_time: bool) -> Cell {
    match (step.succeeded, step.attempts) {
        (true, 1) if with_time => Cell { text: format!("{done} {}", measured(step.elapsed)), tone: Tone::Plain },
        (true, 1) => Cell { text: done.into(), tone: Tone::Plain },
        (true, tries) => {
            Cell { text: format!("{done}, {tries} tries ({})", measured(step.elapsed)), tone: Tone::Plain }
        }
        (false, _) => Cell { text: failed(step), tone: Tone::Bad },
    }
}

/// Returns `503, 3 tries (3.2 s)`, or the reason for the missing answer.
fn failed(step: &HostStep) -> String {
    let what = match (step.status, &step.error) {
        (Some(status), _) => status.to_string(),
        (None, Some(error)) if error.kind() == RequestErrorKind::Timeout => {
            "timed out after the request was sent".into()
        }
        (None, Some(error)) => error.to_string(),
        (None, None) => "no answer".into(),
    };
    match step.attempts {
        0 | 1 => what,
        tries => format!("{what}, {tries} tries ({})", measured(step.elapsed)),
    }
}

fn state_cell(done: &Done, report: &Report, host: &HostReport) -> Cell {
    let look = host.steps.last().filter(|step| step.action == Action::Check);
    let time = look.map(|step| format!(" {}", measured(step.elapsed))).unwrap_or_default();
    let wanted = wanted(done.asked, report.outcome);
    let text = match (host.state, report.outcome) {
        (State::Unknown, _) => unknown(host),
        (State::Present, Outcome::Created) => format!("verified{time}"),
        (state, _) if ran_on_every_host(report) && wanted == Some(state) => format!("{state}{time}"),
        (State::Present, _) if wanted == Some(State::Absent) => format!("present{}", because(host)),
        (state, _) => state.to_string(),
    };
    Cell { text, tone: tone(host.state, wanted) }
}

fn tone(state: State, wanted: Option<State>) -> Tone {
    match (state, wanted) {
        (State::Unknown, _) => Tone::Unsure,
        (state, Some(wanted)) if state == wanted => Tone::Good,
        (_, Some(_)) => Tone::Bad,
        (State::Present, None) => Tone::Good,
        (State::Absent, None) => Tone::Plain,
    }
}

/// Describes a host whose state is unknown: it was not asked, was unreachable, or gave an unusable answer.
fn unknown(host: &HostReport) -> String {
    match host.steps.last() {
        None => "not asked".into(),
        Some(step) if step.status.is_none() && step.error.is_some() => {
            // The cell of a failed change says why.
            let is_said = host.steps.iter().any(|step| step.action != Action::Check && step.error.is_some());
            if is_said { "unreachable".into() } else { format!("unreachable{}", because(host)) }
        }
        Some(_) => format!("unknown{}", because(host)),
    }
}

fn because(host: &HostReport) -> String {
    host.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default()
}

/// Writes a status with as many hosts on a line as fit.
fn write_side_by_side(text: &mut String, report: &Report, marks: bool) {
    let cells: Vec<(&str, Cell)> = report.hosts.iter().map(|host| (host.host.authority(), observed(host))).collect();
    let names = cells.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let states = width(cells.iter().map(|(_, cell)| cell));
    let one = 2 + names + 2 + states + 2;
    for line in cells.chunks((WIDTH / one).max(1)) {
        let written: Vec<String> = line
            .iter()
            .map(|(name, cell)| format!("{}{name:names$}  {}", mark(cell, marks), padded(cell, states)))
            .collect();
        let _ = writeln!(text, "{}", written.join("  ").trim_end());
    }
}

fn observed(host: &HostReport) -> Cell {
    let text = match host.state {
        State::Unknown => format!("unknown{}", because(host)),
        state => state.to_string(),
    };
    Cell { text, tone: tone(host.state, None) }
}

fn mark(cell: &Cell, marks: bool) -> String {
    if !marks {
        return "  ".into();
    }
    let mark = match cell.tone {
        Tone::Good => "✓ ",
        Tone::Bad => "✗ ",
        Tone::Unsure => "? ",
        Tone::Plain => "- ",
    };
    painted(mark, cell.tone)
}

fn width<'a>(cells: impl Iterator<Item = &'a Cell>) -> usize {
    cells.map(|cell| cell.text.chars().count()).max().unwrap_or(0)
}

/// Returns whether the report is of a delete or a repair that ran on every host.
fn ran_on_every_host(report: &Report) -> bool {
    matches!(report.operation, Operation::Delete | Operation::Repair(_))
        && matches!(report.outcome, Outcome::Deleted | Outcome::Repaired | Outcome::Incomplete | Outcome::InDoubt)
}

/// Pads a cell. The width is that of the text without its style.
fn padded(cell: &Cell, width: usize) -> String {
    let room = " ".repeat(width.saturating_sub(cell.text.chars().count()));
    format!("{}{room}", painted(&cell.text, cell.tone))
}

/// Escapes text and adds its style. No other function adds one.
fn painted(text: &str, tone: Tone) -> String {
    let text = Printable::new(text);
    let color = match tone {
        Tone::Plain => return text.to_string(),
        Tone::Good => AnsiColor::Green,
        Tone::Bad => AnsiColor::Red,
        Tone::Unsure => AnsiColor::Yellow,
    };
    let style = Style::new().fg_color(Some(color.into()));
    format!("{style}{text}{style:#}")
}
