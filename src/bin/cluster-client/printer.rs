//! Prints the results of a command, one after the other, and what comes after the last of several: totals, and a next
//! command for each kind of failure.

use std::path::PathBuf;

use cluster_client::{Note, Report};

use crate::args::Format;
use crate::exit::Exit;
use crate::json;
use crate::matrix::Matrix;
use crate::next::{Advice, NextOfMany};
use crate::output::{Output, eprint, name_line};
use crate::progress::Progress;
use crate::summary::{self, Done, Summary};
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
        match self.output.format {
            Format::Json => self.output.print(&json::render(done, &summary)),
            Format::Table => self.output.print(&self.table(done, &summary)),
            Format::Name if done.exit() == Exit::Done => self.output.print(&name_line(&done.group)),
            Format::Name => eprint(&summary.text),
        }
        if let (Some(entry), Some(_), Format::Table) = (&summary.unfinished, &self.matrix, self.output.format) {
            eprint(&summary::note(&done.group, entry));
        }
        if self.several {
            self.next.add(&summary.next);
        }
        if self.output.format != Format::Json {
            notes(done.report()).for_each(|note| eprint(&format!("warning: {note}")));
        }
    }

    fn table(&self, done: &Done, summary: &Summary) -> String {
        let view = self.output.view;
        match (&self.matrix, done.report()) {
            (Some(matrix), Some(report)) => matrix.line(report, view),
            _ if self.several => table::render_of_several(done, summary, view),
            _ => table::render(done, summary, view),
        }
    }

    pub(crate) fn add(&mut self, exit: Exit) {
        self.exit = Some(self.exit.map_or(exit, |so_far| so_far.with(exit)));
    }

    /// Prints the totals and the next commands of several groups. `why` tells why some were not begun.
    pub(crate) fn finish(mut self, not_begun: usize, why: &str, interrupted: bool) -> Exit {
        self.progress.end();
        if not_begun > 0 {
            let were = if not_begun == 1 { "was" } else { "were" };
            eprint(&format!("{} {were} not begun{why}", counted(not_begun, self.advice.noun())));
            self.totals.add_groups(totals::NOT_BEGUN, not_begun);
        }
        if self.several && self.output.format == Format::Table {
            let next = self.next.lines(self.list.as_deref(), self.advice.noun());
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

/// Returns the problems that the lines of the hosts do not show.
fn notes(report: Option<&Report>) -> impl Iterator<Item = &Note> {
    report.into_iter().flat_map(|report| &report.notes)
}
