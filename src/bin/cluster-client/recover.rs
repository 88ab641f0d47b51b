//! recover: settles the crashed or interrupted operations in the journal.

use cluster_client::{Error, JournalError, Operation, OperationOptions, Outcome, Recovery, Report};

use crate::args::{Format, GlobalOptions};
use crate::exit::{CliError, Exit, with_causes};
use crate::journal_setting::PLACES;
use crate::json;
use crate::next::{Advice, Next};
use crate::output::{Output, eprint};
use crate::printer::ResultPrinter;
use crate::progress::Progress;
use crate::settings::{Journal, Settings};
use crate::signal::{self, SignalContext};
use crate::summary::Done;

pub(crate) fn recover(global: &GlobalOptions, output: &mut Output) -> Result<Exit, CliError> {
    let settings = Settings::resolve(global)?;
    if settings.journal.value == Journal::Off {
        let origin = &settings.journal.origin;
        return Err(CliError::usage(format!("recover reads the journal, and there is none ({origin}): give {PLACES}")));
    }
    let progress = Progress::new(global, None, settings.tries(), settings.noun());
    let client = settings.writer(progress.clone())?;
    let advice = Advice::new(global, &settings);
    let token = signal::watch(SignalContext {
        journal: settings.journal.clone(),
        look: Next::default(),
        recover: advice.recover(),
        meaning: "waiting for the requests under way",
    })?;
    let recovery = client.with(OperationOptions::new().cancel(&token)).recover()?;
    if recovery.is_complete() && recovery.settled.is_empty() {
        eprint("nothing to recover: the journal is empty");
    }
    let several = recovery.settled.len() + recovery.unsettled.len() > 1;
    let mut printer = ResultPrinter::new(output, &progress, advice, several);
    let Recovery { settled, unsettled, unreadable, .. } = recovery;
    for done in settled.into_iter().map(settlement).chain(unsettled.into_iter().filter_map(failure)) {
        printer.show(&done);
    }
    for error in &unreadable {
        printer.add(Exit::InDoubt);
        match printer.output.format {
            Format::Json => printer.output.print(&json::failure(&in_doubt(error), Some("recover"))),
            Format::Table => printer.output.print(&left(error)),
            Format::Name => eprint(&left(error)),
        }
    }
    Ok(printer.finish(0, "", token.is_cancelled()))
}

/// Returns what an unreadable entry means: the state of its group is unknown.
fn in_doubt(error: &JournalError) -> CliError {
    CliError { exit: Exit::InDoubt, outcome: Outcome::JournalFailed, message: with_causes(error) }
}

fn left(error: &JournalError) -> String {
    let error = with_causes(error);
    format!("{error}. It was left as it is. Ask for the status of its group, then remove the file.\n")
}

fn settlement(report: Report) -> Done {
    Done::new(Operation::Recover, report.group.clone(), Ok(report))
}

fn failure(error: Error) -> Option<Done> {
    let group = error.report()?.group.clone();
    Some(Done::new(Operation::Recover, group, Err(error)))
}
