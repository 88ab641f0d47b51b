//! create, delete, status and repair: run an operation on each group, and print each result.

use std::collections::HashSet;
use std::path::Path;

use cluster_client::{
    Api, CancelToken, ClusterClient, Completed, ConfigError, Deletion, DirectoryJournal, GroupId, Journal as _,
    JournalError, Note, Operation, OperationOptions, Origin, Report, Target,
};

use crate::args::{Format, GlobalOptions, Groups};
use crate::confirm::confirmed;
use crate::exit::{CliError, Exit, with_causes};
use crate::groups;
use crate::json;
use crate::next::Advice;
use crate::output::{self, Output, eprint, name_line};
use crate::progress::Progress;
use crate::settings::{Journal, Settings};
use crate::signal::{self, SignalContext};
use crate::summary::{self, Done};
use crate::table;

/// The operation on each group.
#[derive(Debug, Clone, Copy)]
pub(crate) enum GroupCommand {
    Create { preflight: bool },
    Delete { asked: bool },
    Status,
    Repair(Target),
}

impl GroupCommand {
    fn operation(self) -> Operation {
        match self {
            GroupCommand::Create { .. } => Operation::Create,
            GroupCommand::Delete { .. } => Operation::Delete,
            GroupCommand::Status => Operation::Status,
            GroupCommand::Repair(target) => Operation::Repair(target),
        }
    }

    fn when_interrupted(self) -> &'static str {
        match self {
            GroupCommand::Create { .. } => "rolling back",
            _ => "waiting for the requests under way",
        }
    }
}

pub(crate) fn run(
    job: GroupCommand,
    named: &Groups,
    global: &GlobalOptions,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let settings = Settings::resolve(global)?;
    let groups = groups::read(named, &settings.api.api.value)?;
    check_preflight(job, &settings.api.api.value)?;
    match job {
        GroupCommand::Status => settings.warn_of_default_hosts(),
        _ => settings.require_named_hosts()?,
    }
    if let GroupCommand::Delete { asked: false } = job {
        let from_stdin = named.file.as_deref().is_some_and(groups::is_stdin);
        if !confirmed(&groups, settings.noun(), &settings.hosts.value, from_stdin)? {
            eprint("not deleted; nothing was sent");
            return Ok(Exit::Unchanged);
        }
    }
    let progress = Progress::new(global, Some(groups.len()), settings.tries(), settings.noun());
    let client = match job {
        GroupCommand::Status => settings.reader(progress.clone())?,
        _ => settings.writer(progress.clone())?,
    };
    let mut advice = advice(job, global, &settings);
    if let (GroupCommand::Status, Journal::Directory(directory)) = (job, &settings.journal.value) {
        advice.unfinished = unfinished(directory);
    }
    let token = signal::watch(SignalContext {
        journal: settings.journal.value.clone(),
        look: advice.status_of_all(named),
        recover: advice.recover(),
        meaning: job.when_interrupted(),
    })?;
    let options = OperationOptions::new().cancel(&token);
    let mut printer =
        ResultPrinter { output, progress: &progress, advice, several: groups.len() > 1, exit: None, cut: false };
    let mut left = &groups[..];
    while !left.is_empty() && !token.is_cancelled() {
        let mut ended = 0;
        for done in results(job, &client, &options, left, &token) {
            ended += 1;
            printer.show(&done);
        }
        left = &left[ended..];
        // No operation is in flight, so blocking here delays none.
        output::wait_for_room();
    }
    Ok(printer.finish(left.len(), token.is_cancelled()))
}

/// Refuses a create without a preflight by an API that proves no ownership, as the library does.
fn check_preflight(job: GroupCommand, api: &Api) -> Result<(), ConfigError> {
    if !matches!(job, GroupCommand::Create { preflight: false }) || api.proves_ownership() {
        return Ok(());
    }
    let problem = "is refused, because its create does not tell whether it existed";
    let remedy = "leave out --no-preflight, or list the answers of create.exists";
    Err(ConfigError::new("API", api.name(), problem, remedy).from_origin(Origin::Option("--no-preflight".into())))
}

/// Returns the results in the order of their ends. No further group begins after a signal, or while too many results are
/// unread.
fn results<'a>(
    job: GroupCommand,
    client: &ClusterClient,
    options: &OperationOptions,
    groups: &'a [GroupId],
    token: &'a CancelToken,
) -> Box<dyn Iterator<Item = Done> + 'a> {
    let asked = job.operation();
    let left = groups.iter().take_while(|_| !token.is_cancelled() && output::has_room());
    let done = move |position: usize, result| Done { asked, group: groups[position].clone(), result };
    let reports = move |completed: Completed| done(completed.position, completed.result);
    let client = client.with(options.clone());
    match job {
        GroupCommand::Create { preflight } => {
            Box::new(client.with(options.clone().preflight(preflight)).create_groups(left).map(reports))
        }
        GroupCommand::Delete { .. } => Box::new(
            client
                .delete_groups(left)
                .map(move |completed| done(completed.position, completed.result.map(Deletion::into_report))),
        ),
        GroupCommand::Status => Box::new(client.group_statuses(left).map(reports)),
        GroupCommand::Repair(target) => Box::new(client.repair_groups(left, target).map(reports)),
    }
}

/// Prints results, and combines their exit codes.
pub(crate) struct ResultPrinter<'a> {
    pub(crate) output: &'a mut Output,
    pub(crate) progress: &'a Progress,
    pub(crate) advice: Advice,
    pub(crate) several: bool,
    pub(crate) exit: Option<Exit>,
    /// An operation was interrupted before its end.
    pub(crate) cut: bool,
}

impl ResultPrinter<'_> {
    pub(crate) fn show(&mut self, done: &Done) {
        let summary = summary::summarize(done, &self.advice);
        self.cut |= !summary::had_completed(done);
        self.add(done.exit());
        self.progress.group_ended();
        if !self.several {
            self.progress.end();
        }
        match self.output.format {
            Format::Json => self.output.print(&json::render(done, &summary)),
            Format::Table => {
                self.output.print(&table::render(done, &summary, self.with_hosts(done), self.output.marks));
            }
            Format::Name if done.exit() == Exit::Done => self.output.print(&name_line(&done.group)),
            Format::Name => eprint(&summary.text),
        }
        if self.output.format != Format::Json {
            notes(done.report()).for_each(|note| eprint(&format!("warning: {note}")));
        }
    }

    /// Returns whether to print a line for each host. Of several groups, successful ones have none.
    fn with_hosts(&self, done: &Done) -> bool {
        !self.several || done.exit() != Exit::Done
    }

    pub(crate) fn add(&mut self, exit: Exit) {
        self.exit = Some(self.exit.map_or(exit, |so_far| so_far.with(exit)));
    }

    pub(crate) fn finish(self, not_begun: usize, interrupted: bool) -> Exit {
        self.progress.end();
        if not_begun > 0 {
            eprint(&format!("{not_begun} {}s were not begun", self.advice.noun()));
        }
        let cut = interrupted && (self.cut || not_begun > 0);
        if cut { Exit::Interrupted } else { self.exit.unwrap_or(Exit::Done) }
    }
}

/// Returns the problems that the lines of the hosts do not show.
fn notes(report: Option<&Report>) -> impl Iterator<Item = &Note> {
    report.into_iter().flat_map(|report| &report.notes)
}

/// Reads the groups with an unfinished operation, so that a status can advise a recovery. A journal that cannot be read
/// causes a warning only.
fn unfinished(directory: &Path) -> HashSet<GroupId> {
    if !directory.exists() {
        return HashSet::new();
    }
    let warn = |error: &JournalError| {
        eprint(&format!("warning: unfinished operations are not known: {}", with_causes(error)));
    };
    match DirectoryJournal::open(directory).and_then(|journal| journal.unfinished()) {
        Ok(held) => {
            held.unreadable.iter().for_each(warn);
            held.groups().cloned().collect()
        }
        Err(error) => {
            warn(&error);
            HashSet::new()
        }
    }
}

/// Returns the builder of the next commands, with the options of this one.
fn advice(job: GroupCommand, global: &GlobalOptions, settings: &Settings) -> Advice {
    let advice = Advice::new(global, settings);
    match job {
        GroupCommand::Create { preflight: false } => advice.without_preflight(),
        GroupCommand::Delete { asked: true } => advice.without_question(),
        _ => advice,
    }
}
