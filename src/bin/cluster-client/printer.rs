//! Prints the results of a command, one after the other, and what comes after the last of several: totals, and a next
//! command for each kind of failure.

use std::path::PathBuf;

use cluster_client::Report;

use crate::args::Format;
use crate::exit::Exit;
use crate::json;
use crate::matrix::Matrix;
use crate::next::{Advice, NextOfMany};
use crate::output::{Output, eprint};
use crate::progress::Progress;
use crate::summary::{self, Done};
use crate::table;
use crate::totals::{self, Totals};

/// Prints results, and combines their exit codes.
pub(crate) struct ResultPrinter<'a> {
    pub(crate) output: &'a mut Output,
    progress: &'a Progress,
    advice: Advice,
    /// Whether there may be several groups, so that totals and next commands come after the last.
    several: bool,
    /// The file that lists the groups, for the next commands.
    pub(crate) list: Option<PathBuf>,
    matrix: Option<Matrix>,
    totals: Totals,
    next: NextOfMany,
    exit: Option<Exit>,
    /// An operation was interrupted before its end.
    cut: bool,
}

impl<'a> ResultPrinter<'a> {
    pub(crate) fn new(output: &'a mut Output, progress: &'a Progress, advice: Advice, several: bool) -> Self {
        ResultPrinter {
            output,
            progress,
            advice,
            several,
            list: None,
            matrix: None,
            totals: Totals::default(),
            next: NextOfMany::default(),
            exit: None,
            cut: false,
        }
    }

    pub(crate) fn set_matrix(&mut self, matrix: Option<Matrix>) {
        if let (Some(matrix), Format::Table) = (&matrix, self.output.format) {
            self.output.print(matrix.header());
        }
        self.matrix = matrix;
    }

    pub(crate) fn show(&mut self, done: &Done) {
        let summary = summary::summarize(done, &self.advice);
        self.cut |= !summary::had_completed(done);
        self.add(done.exit());
        self.totals.add(done);
        self.progress.group_ended();
        if !self.several {
            self.progress.end();
        }
        let view = self.output.view;
        let text = match (self.output.format, &self.matrix, done.report()) {
            (Format::Json, _, _) => json::render(done, &summary),
            (_, Some(matrix), Some(report)) => matrix.line(report, view),
            _ if self.several => table::render_of_several(done, &summary, view),
            _ => table::render(done, &summary, view),
        };
        if self.several {
            self.next.add(&summary.next);
        }
        self.output.print(&text);
        if self.output.format == Format::Table {
            notes(done.report()).for_each(|note| eprint(&format!("warning: {note}")));
        }
    }

    pub(crate) fn add(&mut self, exit: Exit) {
        self.exit = Some(self.exit.map_or(exit, |so_far| so_far.with(exit)));
    }

    /// Prints the totals and the next commands of several groups. `why` tells why some were not begun.
    pub(crate) fn finish(mut self, not_begun: usize, why: &str, interrupted: bool) -> Exit {
        self.progress.end();
        if not_begun > 0 {
            eprint(&format!("{} not begun{why}", were(not_begun)));
            self.totals.add_groups(totals::NOT_BEGUN, not_begun);
        }
        if self.several && self.output.format == Format::Table {
            let next = self.next.lines(self.list.as_deref());
            self.output.print(&(self.totals.line() + &next));
        }
        let cut = interrupted && (self.cut || not_begun > 0);
        if cut { Exit::Interrupted } else { self.exit.unwrap_or(Exit::Done) }
    }
}

/// Returns `1 group`, `3 groups`.
pub(crate) fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn were(groups: usize) -> String {
    format!("{} {}", counted(groups, "group"), if groups == 1 { "was" } else { "were" })
}

/// Returns the problems that the lines of the hosts do not show.
fn notes(report: Option<&Report>) -> impl Iterator<Item = &String> {
    report.into_iter().flat_map(|report| &report.notes)
}
