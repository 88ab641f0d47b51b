//! recover: settles the crashed or interrupted operations in the journal, or says what it would do.

use std::collections::HashSet;
use std::sync::Arc;

use cluster_client::{
    Api, ApiRef, CancelToken, Cause, Error, Host, Hosts, JournalEntry, JournalError, Operation, OperationOptions,
    Outcome, Recovery, Report, Unfinished,
};

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
    let settings = settings(global)?;
    // A writer would create the directory, and so hide that it was mistyped.
    if settings.journal.open()?.is_none() {
        eprint(&nothing(&settings, false));
        return Ok(Exit::Done);
    }
    let progress = Progress::new(global, None, settings.tries(), settings.noun());
    let client = settings.writer(progress.clone())?;
    let advice = Advice::new(global, &settings);
    let token = watch_signals(&settings, &advice)?;
    let recovery = client.with(OperationOptions::new().cancel(&token)).recover()?;
    if recovery.is_complete() && recovery.settled.is_empty() {
        eprint(&nothing(&settings, true));
    }
    let several = recovery.settled.len() + recovery.unsettled.len() > 1;
    let mut printer = ResultPrinter::new(output, &progress, advice, several);
    let Recovery { settled, unsettled, unreadable, .. } = recovery;
    for done in settled.into_iter().map(settlement).chain(unsettled.into_iter().filter_map(failure)) {
        printer.show(&done);
    }
    print_unreadable(&unreadable, &mut printer);
    Ok(printer.finish(0, "", token.is_cancelled()))
}

/// Returns the message that there is nothing to recover. It names the place, which may be another one than was meant.
fn nothing(settings: &Settings, is_there: bool) -> String {
    let place = settings.journal.value.place();
    if is_there {
        format!("nothing to recover: the journal in {place} is empty")
    } else {
        format!("nothing to recover: there is no journal in {place}")
    }
}

/// Returns the settings. A recovery needs a journal.
fn settings(global: &GlobalOptions) -> Result<Settings, CliError> {
    let settings = Settings::resolve(global)?;
    if settings.journal.value == Journal::Off {
        let origin = &settings.journal.origin;
        return Err(CliError::usage(format!("recover reads the journal, and there is none ({origin}): give {PLACES}")));
    }
    Ok(settings)
}

fn watch_signals(settings: &Settings, advice: &Advice) -> Result<CancelToken, CliError> {
    signal::watch(SignalContext {
        journal: settings.journal.clone(),
        look: Next::default(),
        recover: advice.recover(),
        meaning: "waiting for the requests under way",
    })
}

fn print_unreadable(unreadable: &[JournalError], printer: &mut ResultPrinter<'_>) {
    for error in unreadable {
        printer.add(Exit::InDoubt);
        match printer.output.format {
            Format::Json => printer.output.print(&json::failure(&in_doubt(error), Some("recover"))),
            Format::Table => printer.output.print(&left(error)),
            Format::Name => eprint(&left(error)),
        }
    }
}

/// Returns what an unreadable entry means: the state of its group is unknown.
fn in_doubt(error: &JournalError) -> CliError {
    CliError { exit: Exit::InDoubt, outcome: Outcome::JournalFailed, message: with_causes(error) }
}

fn left(error: &JournalError) -> String {
    // Errors of the library end in a remedy, errors of the system do not.
    let is_of_a_file = error.path().is_some() && error.io_error().raw_os_error().is_some();
    let remedy = if is_of_a_file { " Ask for the status of its group, then remove the file." } else { "" };
    format!("{}. It was left as it is.{remedy}\n", with_causes(error))
}

fn settlement(report: Report) -> Done {
    Done::new(Operation::Recover, report.group.clone(), Ok(report))
}

fn failure(error: Error) -> Option<Done> {
    let group = error.report()?.group.clone();
    Some(Done::new(Operation::Recover, group, Err(error)))
}

// --- the dry run

/// Asks the hosts of each unfinished operation, and prints what a recovery would do there. Changes neither the hosts nor
/// the journal.
pub(crate) fn plan(global: &GlobalOptions, output: &mut Output) -> Result<Exit, CliError> {
    let settings = settings(global)?;
    let store = settings.journal.open()?;
    let found = store.as_ref().map_or(Ok(Unfinished::default()), |store| store.unfinished())?;
    if found.entries.is_empty() && found.unreadable.is_empty() {
        eprint(&nothing(&settings, store.is_some()));
    }
    let groups = found.entries.len();
    let progress = Progress::new(global, Some(groups), settings.tries(), settings.noun());
    let advice = Advice::new(global, &settings);
    let token = watch_signals(&settings, &advice)?;
    let mut printer = ResultPrinter::new(output, &progress, advice, groups > 1);
    let mut shown = 0;
    for entries in alike(&found.entries) {
        for done in asked(&entries, &settings, &progress, &token)? {
            shown += 1;
            printer.show(&done);
        }
    }
    print_unreadable(&found.unreadable, &mut printer);
    Ok(printer.finish(groups - shown, "", token.is_cancelled()))
}

/// Returns the entries in parts, each of one API and the same hosts, so that one client asks for all groups of a part.
/// An operation that runs has a part of its own.
fn alike(entries: &[JournalEntry]) -> Vec<Vec<&JournalEntry>> {
    let mut parts: Vec<Vec<&JournalEntry>> = Vec::new();
    let authorized = |entry: &JournalEntry| entry.intent().authorized().cloned().collect::<HashSet<_>>();
    let is_alike = |one: &JournalEntry, other: &JournalEntry| {
        one.hosts() == other.hosts()
            && one.intent().api() == other.intent().api()
            && authorized(one) == authorized(other)
            && other.holder().is_none()
    };
    for entry in entries {
        match parts.iter_mut().find(|part| entry.holder().is_none() && is_alike(entry, part[0])) {
            Some(part) => part.push(entry),
            None => parts.push(vec![entry]),
        }
    }
    parts
}

/// Returns the plan for each entry of a part. An operation that runs, whose API is unknown, or whose
/// credentials are not here, gets no questions.
fn asked(
    entries: &[&JournalEntry],
    settings: &Settings,
    progress: &Arc<Progress>,
    token: &CancelToken,
) -> Result<Vec<Done>, CliError> {
    let planned = |entry: &JournalEntry, result| Done {
        dry_run: true,
        purpose: Some(entry.purpose()),
        ..Done::new(Operation::Recover, entry.group().clone(), result)
    };
    let refused = |entry: &JournalEntry, outcome, cause| {
        let mut report = Report::new(entry.group().clone(), Operation::Recover, outcome);
        (report.cause, report.recoverable) = (Some(cause), true);
        planned(entry, report.into_result())
    };
    if let Some(holder) = entries[0].holder() {
        return Ok(vec![refused(entries[0], Outcome::Busy, Cause::busy(holder))]);
    }
    let Some(api) = api_of(entries[0], &settings.api.api.value) else {
        let conflict =
            |entry: &&JournalEntry| refused(entry, Outcome::Conflict, Cause::unknown_api(entry.intent().api().clone()));
        return Ok(entries.iter().map(conflict).collect());
    };
    let client = settings.reader(progress.clone())?;
    let is_lacking = |host: &&Host| !client.has_credentials(host);
    let mut lacking: Vec<Host> = entries[0].intent().authorized().filter(is_lacking).cloned().collect();
    if !lacking.is_empty() {
        lacking.sort_unstable();
        let conflict =
            |entry: &&JournalEntry| refused(entry, Outcome::Conflict, Cause::no_credentials(lacking.clone()));
        return Ok(entries.iter().map(conflict).collect());
    }
    let hosts = Hosts::parse(entries[0].hosts().iter().map(Host::as_str))?;
    let client = settings.reader_of(hosts, api, progress.clone())?.with(OperationOptions::new().cancel(token));
    let groups = entries.iter().map(|entry| entry.group()).take_while(|_| !token.is_cancelled());
    let mut ended: Vec<_> = client.group_statuses(groups).collect();
    ended.sort_by_key(|completed| completed.position);
    Ok(ended.into_iter().map(|completed| planned(entries[completed.position], completed.result)).collect())
}

/// Returns the API of an entry, if it is known: that of the settings, or a preset.
fn api_of(entry: &JournalEntry, own: &Api) -> Option<Api> {
    let recorded = entry.intent().api();
    if let ApiRef::Paths(api) = recorded {
        return Some(api.clone());
    }
    let presets = Api::presets().filter_map(|name| Api::preset(name).ok());
    std::iter::once(own.clone()).chain(presets).find(|api| api.reference() == *recorded)
}
