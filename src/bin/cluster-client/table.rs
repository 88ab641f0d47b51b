//! Results for a person: a line for each host, in columns, then the summary and the next commands. `fold` shortens the
//! lines of many hosts.

use std::fmt::Write as _;
use std::time::Duration;

use cluster_client::{Action, HostReport, HostStep, Operation, Outcome, Report, RequestErrorKind, State};

use crate::exit::Exit;
use crate::fold;
use crate::output::View;
use crate::paint::{self, Cell, Tone, emphasized, painted, width_of};
use crate::plan;
use crate::summary::{Done, Summary, wanted};

/// Number of hosts up to which each has a line.
const MOST_ROWS: usize = 16;

/// A host: its name, and the cells of its create, its delete, and its state.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) cells: [Cell; 3],
}

impl Row {
    /// Returns whether a step failed, or the state is not the wanted one.
    pub(crate) fn failed(&self) -> bool {
        matches!(self.worst().tone, Tone::Bad | Tone::Unsure)
    }

    /// Returns the cell that decides the mark: the state, unless an action failed.
    pub(crate) fn worst(&self) -> &Cell {
        let [created, deleted, state] = &self.cells;
        [created, deleted].into_iter().find(|cell| cell.tone == Tone::Bad).unwrap_or(state)
    }
}

/// Returns the result of the only group of a command, with styles.
pub(crate) fn render(done: &Done, summary: &Summary, view: View) -> String {
    hosts(done, view) + &line(done, &summary.text, view) + &summary.next.lines()
}

/// Returns the result of one of several groups: its line, and below it the hosts unless all is well.
pub(crate) fn render_of_several(done: &Done, summary: &Summary, view: View) -> String {
    let group = done.group.to_string();
    let prefix = if summary.text.starts_with(&group) { String::new() } else { format!("{group}: ") };
    let text = prefix + &summary.text;
    let agree = |report: &Report| report.all(State::Present) || report.all(State::Absent);
    let is_plain = done.exit() == Exit::Done
        || done.report().is_some_and(|report| report.outcome == Outcome::Observed && agree(report));
    let below = if is_plain { String::new() } else { hosts(done, view) };
    line(done, &text, view) + &below
}

/// Emphasizes what went wrong, so that it is found among many lines. On a terminal, breaks the line between words.
fn line(done: &Done, text: &str, view: View) -> String {
    let is_usual = done.exit() == Exit::Done;
    let styled = |line: &String| if is_usual { painted(line, Tone::Plain) } else { emphasized(line) };
    let lines = paint::wrapped(text, if view.terminal { view.columns } else { usize::MAX });
    lines.iter().map(|line| styled(line) + "\n").collect()
}

/// Returns the lines of the hosts.
fn hosts(done: &Done, view: View) -> String {
    let mut text = String::new();
    let Some(report) = done.report().filter(|report| !report.hosts.is_empty()) else { return text };
    let rows: Vec<Row> = report.hosts.iter().map(|host| row(done, report, host)).collect();
    if rows.len() > MOST_ROWS && !view.all {
        fold::write(&mut text, &rows, view);
    } else if report.outcome == Outcome::Observed {
        write_side_by_side(&mut text, &rows, view);
    } else {
        write_rows(&mut text, &rows, view);
    }
    text
}

/// Writes a line for each row.
fn write_rows(text: &mut String, rows: &[Row], view: View) {
    let columns = Columns::of(rows.iter().map(|row| (row.name.as_str(), &row.cells)), view);
    for row in rows {
        columns.write(text, &mark(row.worst(), view), &row.name, &row.cells);
    }
}

/// The widths of the columns: of the names, and of the cells.
pub(crate) struct Columns {
    names: usize,
    cells: [usize; 3],
    /// Whether a name has a line of its own, because the cells do not fit beside it on the terminal.
    is_broken: bool,
}

impl Columns {
    pub(crate) fn of<'a>(rows: impl Iterator<Item = (&'a str, &'a [Cell; 3])> + Clone, view: View) -> Self {
        let cells: [usize; 3] = std::array::from_fn(|column| paint::widest(rows.clone().map(|row| &row.1[column])));
        let names = rows.map(|row| width_of(row.0)).max().unwrap_or(0);
        let needed = 2 + names + cells.iter().filter(|width| **width > 0).map(|width| width + 2).sum::<usize>();
        Columns { names, cells, is_broken: view.terminal && needed > view.columns }
    }

    pub(crate) fn write(&self, text: &mut String, mark: &str, name: &str, cells: &[Cell; 3]) {
        let widths = cells.iter().zip(self.cells).filter(|(_, width)| *width > 0);
        let cells: Vec<String> = widths.map(|(cell, width)| cell.padded(width)).collect();
        let room = self.names - width_of(name);
        let between = if self.is_broken { "\n    ".to_owned() } else { format!("{:room$}  ", "") };
        let line = format!("{mark}{name}{between}{}", cells.join("  "));
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

/// Writes a status with as many hosts on a line as fit. Reasons are long, so with one of them each host has a line.
fn write_side_by_side(text: &mut String, rows: &[Row], view: View) {
    let names = rows.iter().map(|row| width_of(&row.name)).max().unwrap_or(0);
    let states = paint::widest(rows.iter().map(|row| &row.cells[2]));
    let on_a_line = (view.columns / (2 + names + 2 + states + 2)).max(1);
    if on_a_line == 1 {
        return write_rows(text, rows, view);
    }
    for line in rows.chunks(on_a_line) {
        let one = |row: &Row| {
            let room = names - width_of(&row.name);
            format!("{}{}{:room$}  {}", mark(row.worst(), view), row.name, "", row.cells[2].padded(states))
        };
        let written: Vec<String> = line.iter().map(one).collect();
        let _ = writeln!(text, "{}", written.join("  ").trim_end());
    }
}

fn row(done: &Done, report: &Report, host: &HostReport) -> Row {
    let name = host.host.label().to_owned();
    if report.outcome == Outcome::Observed {
        let cell = observed(host);
        let cell = match plan::would(done, host).filter(|_| done.dry_run) {
            Some(request) => Cell::new(format!("{}, would be {request}d", cell.text), cell.tone),
            None => cell,
        };
        return Row { name, cells: [Cell::empty(), Cell::empty(), cell] };
    }
    let last = |action| host.steps.iter().rev().find(|step| step.action == action);
    let any = |action| report.hosts.iter().flat_map(|host| &host.steps).any(|step| step.action == action);
    let is_success = matches!(report.outcome, Outcome::Created) || ran_on_every_host(report);

    let state = state_cell(done, report, host);
    let created = match last(Action::Create) {
        // Do not highlight a refused create if the host has the group, as wanted.
        Some(step) if host.state == State::Present && state.tone == Tone::Good => {
            acted(step, "created", is_success).in_tone(Tone::Plain)
        }
        Some(step) => acted(step, "created", is_success),
        None if any(Action::Create) => Cell::plain("not sent"),
        None => Cell::empty(),
    };
    let deleted = match last(Action::Delete) {
        Some(step) if matches!(step.status, Some(400 | 404)) => Cell::plain("was not there"),
        Some(step) => acted(step, "deleted", is_success),
        None => Cell::empty(),
    };
    Row { name, cells: [created, deleted, state] }
}

fn acted(step: &HostStep, done: &str, with_time: bool) -> Cell {
    match (step.succeeded, step.attempts) {
        (true, 1) if with_time => Cell::plain(done).timed(step.elapsed),
        (true, 1) => Cell::plain(done),
        (true, tries) => Cell::plain(format!("{done}, {tries} tries")).bracketed(step.elapsed),
        (false, _) => failed(step),
    }
}

/// Returns `503, 3 tries (3.2 s)`, or the reason for the missing answer.
fn failed(step: &HostStep) -> Cell {
    let what = match (step.status, &step.error) {
        (Some(status), _) => status.to_string(),
        (None, Some(error)) if error.kind() == RequestErrorKind::Timeout => {
            "timed out after the request was sent".into()
        }
        (None, Some(error)) => error.to_string(),
        (None, None) => "no answer".into(),
    };
    match step.attempts {
        0 | 1 => Cell::new(what, Tone::Bad),
        tries => Cell::new(format!("{what}, {tries} tries"), Tone::Bad).bracketed(step.elapsed),
    }
}

fn state_cell(done: &Done, report: &Report, host: &HostReport) -> Cell {
    let look: Option<Duration> = host.steps.last().filter(|step| step.action == Action::Check).map(|step| step.elapsed);
    let wanted = wanted(done.asked, report.outcome);
    let tone = tone(host.state, wanted);
    let timed = |text: &str| match look {
        Some(time) => Cell::new(text, tone).timed(time),
        None => Cell::new(text, tone),
    };
    match (host.state, report.outcome) {
        (State::Unknown, _) => Cell::new(unknown(host), tone),
        (State::Present, Outcome::Created) => timed("verified"),
        (state, _) if ran_on_every_host(report) && wanted == Some(state) => timed(&state.to_string()),
        (State::Present, _) if wanted == Some(State::Absent) => {
            Cell::new(format!("present{}", because_of_a_check(host)), tone)
        }
        (state, _) => Cell::new(state.to_string(), tone),
    }
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
        None => format!("not asked{}", because(host)),
        Some(step) if step.status.is_none() && step.error.is_some() => {
            format!("unreachable{}", because_of_a_check(host))
        }
        Some(_) => format!("unknown{}", because(host)),
    }
}

/// Returns the reason, unless the cell of a create or a delete has it.
fn because_of_a_check(host: &HostReport) -> String {
    let is_told = host.steps.iter().any(|step| step.action != Action::Check && !step.succeeded);
    if is_told { String::new() } else { because(host) }
}

fn because(host: &HostReport) -> String {
    host.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default()
}

/// Returns the state of a host in a status.
pub(crate) fn observed(host: &HostReport) -> Cell {
    let text = match host.state {
        State::Unknown => format!("unknown{}", because(host)),
        state => state.to_string(),
    };
    Cell::new(text, tone(host.state, None))
}

/// Returns the mark before a host.
pub(crate) fn mark(cell: &Cell, view: View) -> String {
    if view.marks { cell.mark() } else { "  ".into() }
}

/// Returns whether the report is of a delete or a repair that ran on every host.
fn ran_on_every_host(report: &Report) -> bool {
    matches!(report.operation, Operation::Delete | Operation::Repair(_))
        && matches!(report.outcome, Outcome::Deleted | Outcome::Repaired | Outcome::Incomplete | Outcome::InDoubt)
}

#[cfg(test)]
mod tests {
    use cluster_client::{GroupId, Host, HostStep};

    use super::*;

    /// Returns the table of a create on hosts with names of 70 characters.
    fn long_names(columns: usize, terminal: bool) -> Vec<String> {
        let group = GroupId::parse("payments").unwrap();
        let mut report = Report::new(group.clone(), Operation::Create, Outcome::Created);
        for number in 1..=2 {
            let name = format!("node{number}.{}.example.com", "a".repeat(52));
            assert_eq!(name.len(), 70);
            let mut host = HostReport::new(Host::parse(format!("http://{name}")).unwrap(), State::Present);
            for (action, status) in [(Action::Create, 201), (Action::Check, 200)] {
                let mut step = HostStep::answered(action, status);
                (step.succeeded, step.attempts, step.elapsed) = (true, 1, Duration::from_millis(9));
                host.steps.push(step);
            }
            report.hosts.push(host);
        }
        let view = View { marks: true, terminal, columns, all: false };
        let lines = hosts(&Done::new(Operation::Create, group, Ok(report)), view);
        anstream::adapter::strip_str(&lines).to_string().lines().map(str::to_owned).collect()
    }

    #[test]
    fn name_that_leaves_no_room_on_the_terminal_has_a_line_of_its_own() {
        let narrow = long_names(90, true);
        assert_eq!(narrow.len(), 4, "{narrow:#?}");
        assert!(narrow[0].starts_with("✓ node1.") && narrow[0].ends_with(".example.com"), "{narrow:#?}");
        assert_eq!(narrow[1], "    created 9 ms  verified 9 ms");
        let wide = long_names(200, true);
        assert_eq!(wide.len(), 2, "{wide:#?}");
        assert!(wide[1].ends_with(".example.com  created 9 ms  verified 9 ms"), "{wide:#?}");
        // A program reads a line for each host, however long it is.
        assert_eq!(long_names(90, false).len(), 2);
    }
}
