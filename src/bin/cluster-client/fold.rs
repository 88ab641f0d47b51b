//! The lines of many hosts. Hosts with equal cells share one line. The most common line without a failure has no names,
//! and each other line names up to ten hosts. Failures come last, next to the summary.

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::output::View;
use crate::paint::{Cell, width_of};
use crate::table::{Columns, Row, mark};

/// Maximum number of hosts that a line names.
const MOST_NAMES: usize = 10;
/// Maximum number of lines for failures. Errors may quote the server, so there may be as many as hosts.
const MOST_LINES: usize = 12;

/// Hosts with equal cells.
struct Fold<'a> {
    rows: Vec<&'a Row>,
    cells: [Cell; 3],
}

impl Fold<'_> {
    fn failed(&self) -> bool {
        self.rows[0].failed()
    }

    fn label(&self) -> String {
        match &self.rows[..] {
            [row] => row.name.clone(),
            rows => format!("{} hosts", rows.len()),
        }
    }
}

pub(crate) fn write(text: &mut String, rows: &[Row], view: View) {
    let mut folds = folds(rows);
    let left_out: usize = folds.iter().skip(MOST_LINES).map(|fold| fold.rows.len()).sum();
    folds.truncate(MOST_LINES);
    let labels: Vec<String> = folds.iter().map(Fold::label).collect();
    let columns = Columns::of(labels.iter().map(String::as_str).zip(folds.iter().map(|fold| &fold.cells)), view);
    for (place, (label, fold)) in labels.iter().zip(&folds).enumerate() {
        columns.write(text, &mark(fold.rows[0].worst(), view), label, &fold.cells);
        let is_the_usual = place == 0 && !fold.failed();
        if fold.rows.len() > 1 && !is_the_usual {
            write_names(text, &fold.rows, view.columns);
        }
    }
    if left_out > 0 {
        let _ = writeln!(text, "  {left_out} more hosts differ from these (--all shows each host)");
    }
}

/// Returns the folds: those without a failure, then the failures, each from many hosts to few.
fn folds(rows: &[Row]) -> Vec<Fold<'_>> {
    let mut places: HashMap<[&str; 3], usize> = HashMap::new();
    let mut folds: Vec<Vec<&Row>> = Vec::new();
    for row in rows {
        let key = row.cells.each_ref().map(|cell| cell.text.as_str());
        let place = *places.entry(key).or_insert(folds.len());
        match folds.get_mut(place) {
            Some(fold) => fold.push(row),
            None => folds.push(vec![row]),
        }
    }
    folds.sort_by_key(|fold| (fold[0].failed(), std::cmp::Reverse(fold.len())));
    let folded = |rows: Vec<&'_ Row>, column: usize| Cell::folded(rows.iter().map(|row| &row.cells[column]));
    folds
        .into_iter()
        .map(|rows| Fold { cells: std::array::from_fn(|column| folded(rows.clone(), column)), rows })
        .collect()
}

/// Writes up to ten names, with as many on a line as fit.
fn write_names(text: &mut String, rows: &[&Row], columns: usize) {
    const INDENT: &str = "      ";
    let more = rows.len().saturating_sub(MOST_NAMES);
    let shown = rows.len() - more;
    let mut words: Vec<String> = rows[..shown].iter().map(|row| format!("{},", row.name)).collect();
    match (words.last_mut(), more) {
        (Some(last), 0) => {
            last.pop();
        }
        (_, more) => words.push(format!("and {more} more (--all shows each host)")),
    }
    let mut line = String::from(INDENT);
    for word in words {
        if line.len() > INDENT.len() && width_of(&line) + 1 + width_of(&word) > columns {
            let _ = writeln!(text, "{line}");
            line = String::from(INDENT);
        }
        if line.len() > INDENT.len() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paint::Tone;

    fn row(number: usize, created: &str, tone: Tone, state: &str) -> Row {
        let created = Cell::new(created, tone);
        Row { name: format!("node{number}:80"), cells: [created, Cell::empty(), Cell::new(state, Tone::Good)] }
    }

    fn written(rows: &[Row], columns: usize) -> String {
        let mut text = String::new();
        write(&mut text, rows, View { marks: true, terminal: true, columns, all: false });
        anstream::adapter::strip_str(&text).to_string()
    }

    #[test]
    fn hosts_with_equal_cells_share_a_line_and_failures_are_last_and_named() {
        let mut rows: Vec<Row> = (0..400).map(|number| row(number, "created", Tone::Plain, "absent")).collect();
        rows[7] = row(7, "503, 3 tries", Tone::Bad, "absent");
        for (number, place) in rows.iter_mut().enumerate().skip(20).take(12) {
            *place = row(number, "connection refused", Tone::Bad, "absent");
        }
        rows[33] = row(33, "not sent", Tone::Plain, "absent");
        let lines = [
            "✓ 386 hosts  created             absent",
            "✓ node33:80  not sent            absent",
            "✗ 12 hosts   connection refused  absent",
            "      node20:80, node21:80, node22:80, node23:80,",
            "      node24:80, node25:80, node26:80, node27:80,",
            "      node28:80, node29:80,",
            "      and 2 more (--all shows each host)",
            "✗ node7:80   503, 3 tries        absent",
        ];
        assert_eq!(written(&rows, 54).lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn number_of_lines_is_bounded_however_many_reasons_there_are() {
        let rows: Vec<Row> =
            (0..400).map(|number| row(number, &format!("reason {number}"), Tone::Bad, "unknown")).collect();
        let text = written(&rows, 80);
        assert_eq!(text.lines().count(), MOST_LINES + 1, "{text}");
        assert!(text.ends_with("  388 more hosts differ from these (--all shows each host)\n"), "{text}");
    }
}
