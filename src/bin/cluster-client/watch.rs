//! `status --watch`: asks again and again. A terminal shows the latest states on one screen, which is redrawn. Elsewhere
//! each change is a block of lines. Each round also reads the journal, as a single status does. The watch ends with its
//! reader, as in `status g --watch -o name | head -1`, which waits until the group is on every host.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, SystemTime};

use cluster_client::{CancelToken, ClusterClient, ConfigError, GroupId, JournalEntry, OperationOptions, State};

use crate::args::{Format, GlobalOptions, Groups};
use crate::exit::{CliError, Exit};
use crate::json;
use crate::matrix::Matrix;
use crate::next::{Advice, Next};
use crate::output::{self, Output, View, eprint};
use crate::paint::width_of;
use crate::progress::{Progress, can_move_the_cursor};
use crate::run::{self, GroupCommand};
use crate::signal;
use crate::summary::{self, Done, Summary};
use crate::table;
use crate::time;
use crate::totals::Totals;
use crate::unfinished::{Found, Reader};

/// Clears the screen, or the rest of the line or of the screen.
const CLEAR: &str = "\x1b[2J";
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

pub(crate) fn run(
    named: &Groups,
    interval: Duration,
    global: &GlobalOptions,
    output: &mut Output,
) -> Result<Exit, CliError> {
    if !(Duration::from_millis(100)..=Duration::from_secs(3600)).contains(&interval) {
        let refused = ConfigError::new("interval", time::show(interval), "is out of bounds", "choose 100ms to 1h");
        return Err(refused.from_origin(global.origin("--interval")).into());
    }
    let (settings, groups) = run::prepared(named, global)?;
    settings.warn_of_default_hosts();
    let client = settings.reader(Progress::silent(settings.tries()))?;
    let mut reader = Reader::start(settings.journal.clone(), settings.hosts.value.clone())?;
    let mut screen = Screen {
        matrix: Some(())
            .filter(|()| groups.len() > 1)
            .and_then(|()| Matrix::new(&groups, settings.noun(), &settings.hosts.value, output.view)),
        advice: run::advice(&GroupCommand::Status, global, &settings),
        is_redrawn: output.view.terminal && can_move_the_cursor() && output.format == Format::Table,
        interval,
        shown: None,
        problems: Vec::new(),
        output,
    };
    let token = CancelToken::new();
    let (sender, ended) = mpsc::channel();
    let cancel = token.clone();
    signal::once(move || {
        cancel.cancel();
        let _ = sender.send(());
    })?;
    let mut exit = Exit::Interrupted;
    loop {
        reader.begin();
        let round = ask(&client, &groups, &token);
        // The states of a cancelled round are incomplete.
        if token.is_cancelled() {
            return Ok(screen.end(exit));
        }
        exit = round.iter().map(Done::exit).reduce(Exit::with).unwrap_or(Exit::Done);
        screen.set_unfinished(reader.result());
        screen.show(&round);
        output::wait_for_room();
        if ended.recv_timeout(interval) != Err(RecvTimeoutError::Timeout) || output::has_no_reader() {
            return Ok(screen.end(exit));
        }
    }
}

/// Returns the status of each group, in their order.
fn ask(client: &ClusterClient, groups: &[GroupId], token: &CancelToken) -> Vec<Done> {
    let client = client.with(OperationOptions::new().cancel(token));
    let mut ended: Vec<_> = client.group_statuses(groups.iter().take_while(|_| !token.is_cancelled())).collect();
    ended.sort_by_key(|completed| completed.position);
    let done = |group: GroupId, result| Done::new(cluster_client::Operation::Status, group, result);
    ended.into_iter().map(|completed| done(groups[completed.position].clone(), completed.result)).collect()
}

/// The state of a group as it is shown. A round prints the group if this differs from the round before.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    /// The state of each host and its reason.
    hosts: Vec<(State, Option<String>)>,
    /// The unfinished operation on the group.
    unfinished: Option<JournalEntry>,
}

struct Screen<'a> {
    output: &'a mut Output,
    matrix: Option<Matrix>,
    advice: Advice,
    is_redrawn: bool,
    interval: Duration,
    /// The groups as the last round showed them.
    shown: Option<Vec<Seen>>,
    /// The warnings that the journal could not be read.
    problems: Vec<String>,
}

impl Screen<'_> {
    /// Takes over what the journal has. Beside a screen that is redrawn, prints its problems, but not again and again.
    fn set_unfinished(&mut self, found: &Found) {
        self.advice.unfinished.clone_from(&found.entries);
        let problems: Vec<String> = found.warnings().collect();
        // A reason may have a time, which differs in each round.
        let without_digits = |warning: &String| warning.replace(|c: char| c.is_ascii_digit(), "");
        let is_known = problems.iter().map(without_digits).eq(self.problems.iter().map(without_digits));
        if !is_known && !self.is_redrawn {
            for warning in &problems {
                eprint(warning);
            }
            if problems.is_empty() {
                eprint("the journal can be read again");
            }
        }
        self.problems = problems;
    }

    fn seen(&self, done: &Done) -> Seen {
        let hosts = done.report().map(|report| &report.hosts[..]).unwrap_or_default();
        let hosts = hosts.iter().map(|host| (host.state, host.reason.as_ref().map(ToString::to_string))).collect();
        Seen { hosts, unfinished: self.advice.unfinished.get(&done.group).cloned() }
    }

    fn show(&mut self, round: &[Done]) {
        let seen: Vec<Seen> = round.iter().map(|done| self.seen(done)).collect();
        let is_first = self.shown.is_none();
        let has_changed = |place: usize| self.shown.as_ref().is_none_or(|shown| shown[place] != seen[place]);
        if self.is_redrawn {
            let clear = if is_first { CLEAR } else { "" };
            let frame = self.frame(round);
            self.output.print_frame(&format!("{HOME}{clear}"), &frame, CLEAR_LINE, CLEAR_BELOW);
        } else if self.output.format == Format::Json {
            let lines: String = (0..round.len())
                .filter(|place| has_changed(*place))
                .map(|place| json::render(&round[place], &summary::summarize(&round[place], &self.advice)))
                .collect();
            self.output.print(&lines);
        } else if self.output.format == Format::Name {
            let was = |place: usize| self.shown.as_ref().map(|shown| &shown[place].hosts);
            let is_new = |place: &usize| was(*place) != Some(&seen[*place].hosts) && round[*place].exit() == Exit::Done;
            let lines: String =
                (0..round.len()).filter(is_new).map(|place| output::name_line(&round[place].group)).collect();
            self.output.print(&lines);
        } else if (0..round.len()).any(has_changed) {
            let (rows, totals) = self.block(round, self.output.view);
            let block = format!("{}\n{rows}{totals}", now());
            self.output.print(&if is_first { block } else { format!("\n{block}") });
        }
        self.shown = Some(seen);
    }

    /// Ends the line on which the terminal echoes Ctrl-C.
    fn end(self, exit: Exit) -> Exit {
        if self.is_redrawn && self.shown.is_some() {
            self.output.print("\n");
        }
        exit
    }

    /// Returns the lines of all groups, without next commands, and the line of the totals of several groups. The row of a
    /// matrix has no room for an unfinished operation, so that has a line below it.
    fn block(&self, round: &[Done], view: View) -> (String, String) {
        let summarize = |done: &Done| Summary { next: Next::default(), ..summary::summarize(done, &self.advice) };
        if let [done] = round {
            return (table::render(done, &summarize(done), view), String::new());
        }
        let mut text = self.matrix.as_ref().map(|matrix| matrix.header().to_owned()).unwrap_or_default();
        let mut totals = Totals::default();
        for done in round {
            totals.add(done);
            text.push_str(&match (&self.matrix, done.report()) {
                (Some(matrix), Some(report)) => matrix.line(report, view) + &self.note(done),
                _ => table::render_of_several(done, &summarize(done), view),
            });
        }
        (text, totals.line())
    }

    fn note(&self, done: &Done) -> String {
        let entry = self.advice.unfinished.get(&done.group);
        entry.map(|entry| summary::note(&done.group, entry) + "\n").unwrap_or_default()
    }

    /// Returns the block as it fits on the screen, whose size may have changed.
    fn frame(&self, round: &[Done]) -> Vec<String> {
        let (columns, rows) = output::screen();
        let view = View { columns, ..self.output.view };
        let title = format!("{}, every {}, Ctrl-C ends", now(), time::show(self.interval));
        // The totals come first, because the last rows may be cut.
        let (rows_of_groups, totals) = self.block(round, view);
        let problems: String = self.problems.iter().map(|warning| warning.clone() + "\n").collect();
        let block = format!("{title}\n{problems}{totals}{rows_of_groups}");
        let mut room = rows.saturating_sub(1).max(2);
        let lines: Vec<&str> = block.lines().collect();
        let taken = |line: &str| width_of(&anstream::adapter::strip_str(line).to_string()).div_ceil(columns).max(1);
        let needed: usize = lines.iter().map(|line| taken(line)).sum();
        let is_cut = needed > room;
        room -= usize::from(is_cut);
        let fits = |line: &&&str| {
            let rest = room.checked_sub(taken(line));
            rest.map(|rest| room = rest).is_some()
        };
        let mut shown: Vec<String> = lines.iter().take_while(fits).map(|line| (*line).to_owned()).collect();
        if is_cut {
            shown.push(format!("{} more lines", lines.len() - shown.len()));
        }
        shown
    }
}

fn now() -> String {
    httpdate::fmt_http_date(SystemTime::now())
}
