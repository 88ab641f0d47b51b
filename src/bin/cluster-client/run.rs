//! create, delete, status and repair: run an operation on each group, and print each result.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use cluster_client::{
    Api, CancelToken, ClusterClient, Completed, ConfigError, Deletion, Error, GroupId, Operation, OperationOptions,
    Origin, Report, Target,
};

use crate::args::{Bulk, GlobalOptions, Groups};
use crate::confirm::confirmed;
use crate::exit::{CliError, Exit};
use crate::groups;
use crate::matrix::Matrix;
use crate::next::Advice;
use crate::output::{self, Output, eprint};
use crate::printer::{ResultPrinter, counted};
use crate::progress::Progress;
use crate::settings::Settings;
use crate::signal::{self, SignalContext};
use crate::summary::Done;
use crate::unfinished;

/// The operation on each group.
#[derive(Debug, Clone)]
pub(crate) enum GroupCommand {
    Create { preflight: bool, exist_ok: bool, bulk: Bulk },
    Delete { asked: bool, bulk: Bulk },
    Status,
    Repair { target: Target, bulk: Bulk },
}

impl GroupCommand {
    fn operation(&self) -> Operation {
        match self {
            GroupCommand::Create { .. } => Operation::Create,
            GroupCommand::Delete { .. } => Operation::Delete,
            GroupCommand::Status => Operation::Status,
            GroupCommand::Repair { target, .. } => Operation::Repair(*target),
        }
    }

    fn bulk(&self) -> Bulk {
        match self {
            GroupCommand::Create { bulk, .. }
            | GroupCommand::Delete { bulk, .. }
            | GroupCommand::Repair { bulk, .. } => bulk.clone(),
            GroupCommand::Status => Bulk::default(),
        }
    }

    /// Returns whether it only asks.
    fn only_reads(&self) -> bool {
        matches!(self, GroupCommand::Status) || self.bulk().dry_run
    }

    fn when_interrupted(&self) -> &'static str {
        match self {
            GroupCommand::Create { .. } if !self.only_reads() => "rolling back",
            _ => "waiting for the requests under way",
        }
    }

    /// Returns the result of this command on a group.
    fn done(&self, group: GroupId, result: Result<Report, Error>) -> Done {
        let exist_ok = matches!(self, GroupCommand::Create { exist_ok: true, .. });
        Done { exist_ok, dry_run: self.bulk().dry_run, ..Done::new(self.operation(), group, result) }
    }
}

/// Maximum number of hosts in all results that wait for that of an earlier group, because results are printed in the
/// order of the input. No further group begins while there are more. It bounds the memory.
const MOST_HELD: usize = 200_000;

pub(crate) fn run(
    job: &GroupCommand,
    named: &Groups,
    global: &GlobalOptions,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let (settings, groups) = prepared(named, global)?;
    check_preflight(job, &settings.api.api.value)?;
    match job {
        GroupCommand::Status => settings.warn_of_default_hosts(),
        _ => settings.require_named_hosts()?,
    }
    if let (GroupCommand::Delete { asked: false, .. }, false) = (job, job.only_reads()) {
        let from_stdin = reads_stdin(named, global);
        if !confirmed(&groups, settings.noun(), &settings.hosts.value, from_stdin)? {
            eprint("not deleted; nothing was sent");
            return Ok(Exit::Unchanged);
        }
    }
    let progress = Progress::new(global, Some(groups.len()), settings.tries(), settings.noun());
    let client =
        if job.only_reads() { settings.reader(progress.clone())? } else { settings.writer(progress.clone())? };
    let mut advice = advice(job, global, &settings);
    if job.only_reads() {
        let found = unfinished::read(&settings.journal, &settings.hosts.value);
        found.warnings().for_each(|warning| eprint(&warning));
        advice.unfinished = found.entries;
    }
    let token = signal::watch(SignalContext {
        journal: settings.journal.clone(),
        look: advice.status_of_all(named),
        recover: advice.recover(),
        meaning: job.when_interrupted(),
    })?;
    let matrix = match job {
        GroupCommand::Status if groups.len() > 1 => {
            Matrix::new(&groups, settings.noun(), &settings.hosts.value, output.view)
        }
        _ => None,
    };
    let mut printer = ResultPrinter::new(output, &progress, advice, groups.len() > 1);
    printer.list = named.file.clone().filter(|path| !groups::is_stdin(path));
    printer.set_matrix(matrix);
    let limit = Limit::new(job.bulk().max_failures, settings.hosts.value.len());
    let work = Work { job, client, token: &token, limit };
    let left = work.show_all(&groups, &mut printer);
    Ok(printer.finish(left, &work.limit.reason(settings.noun()), token.is_cancelled()))
}

/// Returns the settings and the groups of a command. Both may be read from a file, and one from standard input.
pub(crate) fn prepared(named: &Groups, global: &GlobalOptions) -> Result<(Settings, Vec<GroupId>), CliError> {
    let is_stdin = |path: &Option<PathBuf>| path.as_deref().is_some_and(groups::is_stdin);
    if is_stdin(&named.file) && is_stdin(&global.hosts_file) {
        return Err(CliError::usage("groups and hosts cannot both be read from standard input: put one into a file"));
    }
    let settings = Settings::resolve(global)?;
    let groups = groups::read(named, &settings.api.api.value)?;
    Ok((settings, groups))
}

fn reads_stdin(named: &Groups, global: &GlobalOptions) -> bool {
    [&named.file, &global.hosts_file].into_iter().flatten().any(|path| groups::is_stdin(path))
}

/// Refuses a create without a preflight by an API that proves no ownership, as the library does.
fn check_preflight(job: &GroupCommand, api: &Api) -> Result<(), ConfigError> {
    if !matches!(job, GroupCommand::Create { preflight: false, .. }) || api.proves_ownership() {
        return Ok(());
    }
    let problem = "is refused, because its create does not tell whether it existed";
    let remedy = "leave out --no-preflight, or list the answers of create.exists";
    Err(ConfigError::new("API", api.name(), problem, remedy).from_origin(Origin::Option("--no-preflight".into())))
}

/// Decides whether a further group may begin.
struct Limit {
    most: Option<u32>,
    failed: Cell<usize>,
    /// Number of results that wait for that of an earlier group.
    held: Cell<usize>,
    hosts: usize,
}

impl Limit {
    fn new(most: Option<u32>, hosts: usize) -> Self {
        Limit { most, failed: Cell::new(0), held: Cell::new(0), hosts }
    }

    fn count(&self, done: &Done) {
        self.failed.set(self.failed.get() + usize::from(done.exit() != Exit::Done));
    }

    fn is_reached(&self) -> bool {
        self.most.is_some_and(|most| self.failed.get() >= most as usize)
    }

    fn allows_another(&self) -> bool {
        !self.is_reached() && self.held.get() * self.hosts < MOST_HELD
    }

    /// Returns why some groups were not begun, if it is because of the failures.
    fn reason(&self, noun: &str) -> String {
        let failed = counted(self.failed.get(), noun);
        if self.is_reached() { format!(", because {failed} failed") } else { String::new() }
    }
}

/// An operation on many groups.
struct Work<'a> {
    job: &'a GroupCommand,
    client: ClusterClient,
    token: &'a CancelToken,
    limit: Limit,
}

impl Work<'_> {
    /// Prints the results in the order of the groups, and returns how many were not begun.
    fn show_all(&self, groups: &[GroupId], printer: &mut ResultPrinter<'_>) -> usize {
        let mut left = groups;
        while !left.is_empty() && !self.token.is_cancelled() && !self.limit.is_reached() {
            let (mut ended, mut shown) = (0, 0);
            let mut held = BTreeMap::new();
            for (position, done) in self.results(left) {
                ended += 1;
                self.limit.count(&done);
                held.insert(position, done);
                while let Some(done) = held.remove(&shown) {
                    shown += 1;
                    printer.show(&done);
                }
                self.limit.held.set(held.len());
            }
            left = &left[ended..];
            // No operation is in flight, so blocking here delays none.
            output::wait_for_room();
        }
        left.len()
    }

    /// Returns the results in the order of their ends, each with its place. No further group begins after a signal,
    /// beyond the limit, or while too many results are unread.
    fn results<'a>(&'a self, groups: &'a [GroupId]) -> Box<dyn Iterator<Item = (usize, Done)> + 'a> {
        let may_begin = || !self.token.is_cancelled() && output::has_room() && self.limit.allows_another();
        let left = groups.iter().take_while(move |_| may_begin());
        let done = move |position: usize, result| (position, self.job.done(groups[position].clone(), result));
        let reports = move |completed: Completed| done(completed.position, completed.result);
        // A group that was read ahead would begin after the last failure that is allowed.
        let options = OperationOptions::new().cancel(self.token).read_ahead(self.limit.most.is_none());
        let client = self.client.with(options.clone());
        match self.job {
            job if job.only_reads() => Box::new(client.group_statuses(left).map(reports)),
            GroupCommand::Create { preflight, .. } => {
                Box::new(client.with(options.preflight(*preflight)).create_groups(left).map(reports))
            }
            GroupCommand::Delete { .. } => Box::new(
                client
                    .delete_groups(left)
                    .map(move |completed| done(completed.position, completed.result.map(Deletion::into_report))),
            ),
            GroupCommand::Status => Box::new(client.group_statuses(left).map(reports)),
            GroupCommand::Repair { target, .. } => Box::new(client.repair_groups(left, *target).map(reports)),
        }
    }
}

/// Returns the builder of the next commands, with the options of this one.
pub(crate) fn advice(job: &GroupCommand, global: &GlobalOptions, settings: &Settings) -> Advice {
    let mut advice = Advice::new(global, settings).with_max_failures(job.bulk().max_failures);
    if let GroupCommand::Create { preflight: false, .. } = job {
        advice = advice.without_preflight();
    }
    if let GroupCommand::Create { exist_ok: true, .. } = job {
        advice = advice.with_exist_ok();
    }
    match job {
        GroupCommand::Delete { asked: true, .. } => advice.without_question(),
        _ => advice,
    }
}

#[cfg(test)]
mod tests {
    use cluster_client::Outcome;

    use super::*;

    fn ended(outcome: Outcome) -> Done {
        let group = GroupId::parse("g").unwrap();
        let report = Report::new(group.clone(), Operation::Create, outcome);
        Done::new(Operation::Create, group, report.into_result())
    }

    #[test]
    fn no_group_begins_after_too_many_failures_or_while_too_many_results_are_held() {
        let limit = Limit::new(Some(2), 1);
        for (outcome, failed) in [(Outcome::RolledBack, 1), (Outcome::Created, 1), (Outcome::InDoubt, 2)] {
            limit.count(&ended(outcome));
            assert_eq!((limit.failed.get(), limit.is_reached()), (failed, failed == 2), "{outcome}");
        }
        assert!(!limit.allows_another());
        assert_eq!(limit.reason("group"), ", because 2 groups failed");
        let limit = Limit::new(None, 400);
        for (held, may_begin) in [(0, true), (499, true), (500, false)] {
            limit.held.set(held);
            assert_eq!(limit.allows_another(), may_begin, "{held}");
        }
    }
}
