//! journal: list, show and forget. Sends nothing.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::time::Duration;

use cluster_client::{
    ClusterClient, ConfigError, Error, Forgotten, GroupId, Host, JournalEntry, Origin, Printable, Purpose, Unfinished,
};

use crate::args::{Format, GlobalOptions, JournalAction};
use crate::confirm::is_answered_yes;
use crate::exit::{CliError, Exit, with_causes};
use crate::json;
use crate::next::{Advice, Next};
use crate::output::{Output, eprint, name_line};
use crate::printer::counted;
use crate::settings;

pub(crate) fn run(action: JournalAction, global: &GlobalOptions, output: &mut Output) -> Result<Exit, CliError> {
    let (setting, config) = settings::journal_alone(global)?;
    let next = Advice::without_hosts(global, config.as_deref(), &setting).recover();
    let store = setting.open()?;
    let found = match &store {
        Some(store) => store.unfinished()?,
        None => Unfinished::default(),
    };
    // A missing directory may be another one than was meant.
    let place = setting.value.place();
    let empty = match store {
        Some(_) => format!("the journal in {place} is empty"),
        None => format!("there is no journal in {place}"),
    };
    let Some(store) = store.filter(|_| !found.entries.is_empty() || !found.unreadable.is_empty()) else {
        return nothing_there(action, &empty, output);
    };
    let mut journal = Opened { store, found, next, output };
    match action {
        JournalAction::List => Ok(journal.list()),
        JournalAction::Show { group } => journal.show(&group_of(&group)?),
        JournalAction::Forget { host, group, yes } => {
            let host = Host::parse(&host).map_err(typed)?;
            let group = group.as_deref().map(group_of).transpose()?;
            journal.forget(&host, group.as_ref(), yes)
        }
    }
}

fn nothing_there(action: JournalAction, empty: &str, output: &Output) -> Result<Exit, CliError> {
    let missing = match action {
        JournalAction::List => {
            if output.format != Format::Json {
                eprint(&format!("nothing is unfinished: {empty}"));
            }
            return Ok(Exit::Done);
        }
        JournalAction::Show { group } => {
            let group = group_of(&group)?;
            return Err(CliError::unchanged(format!("{group} has no unfinished operation: {empty}")));
        }
        JournalAction::Forget { host, group, .. } => {
            group.as_deref().map(group_of).transpose()?;
            Host::parse(&host).map_err(typed)?
        }
    };
    Err(CliError::usage(format!("no unfinished operation names {missing}: {empty}")))
}

fn group_of(id: &str) -> Result<GroupId, ConfigError> {
    GroupId::parse(id).map_err(typed)
}

fn typed(error: ConfigError) -> ConfigError {
    error.from_origin(Origin::Option("the command line".into()))
}

/// A journal that is not empty.
struct Opened<'a> {
    store: Arc<dyn cluster_client::Journal>,
    found: Unfinished,
    /// The command to recover, with its options.
    next: Next,
    output: &'a mut Output,
}

impl Opened<'_> {
    fn list(&mut self) -> Exit {
        let text = match self.output.format {
            Format::Json => self.found.entries.iter().map(json::line).collect(),
            Format::Name => self.found.groups().map(name_line).collect(),
            Format::Table => table(&self.found.entries),
        };
        self.output.print(&text);
        self.print_unreadable();
        if self.output.format == Format::Table {
            self.print_totals();
        }
        self.exit()
    }

    fn print_totals(&mut self) {
        let Unfinished { entries, unreadable, .. } = &self.found;
        let running = entries.iter().filter(|entry| entry.holder().is_some()).count();
        let mut text = format!("{} unfinished, {running} running", counted(entries.len(), "operation"));
        if !unreadable.is_empty() {
            let _ = write!(text, ", {} that cannot be read", counted(unreadable.len(), "file"));
        }
        let next = if running < entries.len() { self.next.lines() } else { String::new() };
        self.output.print(&format!("{text}.\n{next}"));
    }

    fn show(&mut self, group: &GroupId) -> Result<Exit, CliError> {
        let entry = self.found.entries.iter().find(|entry| entry.group() == group);
        let text = match (entry, self.output.format) {
            (Some(entry), Format::Json) => json::line(entry),
            (Some(entry), Format::Name) => name_line(entry.group()),
            (Some(entry), Format::Table) if entry.holder().is_some() => whole(entry),
            (Some(entry), Format::Table) => whole(entry) + &self.next.lines(),
            (None, _) => {
                self.print_unreadable();
                let exit = self.exit().with(Exit::Unchanged);
                let missing = format!("{group} has no unfinished operation in the journal that can be read");
                return Err(CliError { exit, ..CliError::unchanged(missing) });
            }
        };
        self.output.print(&text);
        Ok(Exit::Done)
    }

    fn forget(&mut self, host: &Host, only: Option<&GroupId>, yes: bool) -> Result<Exit, CliError> {
        let named = |entry: &&JournalEntry| entry.hosts().contains(host);
        let groups: Vec<GroupId> = match only {
            // The library refuses it with the reason, if the entry does not name the host or cannot be read.
            Some(group) => vec![group.clone()],
            None => self.found.entries.iter().filter(named).map(|entry| entry.group().clone()).collect(),
        };
        if groups.is_empty() && self.found.unreadable.is_empty() {
            return Err(CliError::usage(format!(
                "no unfinished operation names {host}: see cluster-client journal list"
            )));
        }
        if !groups.is_empty() && !yes && !confirmed(host, &groups)? {
            eprint("nothing was forgotten");
            return Ok(Exit::Unchanged);
        }
        // The builder needs a host. Nothing is sent to it, so any lease is long enough.
        let client = ClusterClient::builder()
            .hosts(["http://localhost"])
            .request_timeout(Duration::from_millis(1))
            .custom_journal(Arc::clone(&self.store))
            .build()?;
        let mut exit = Exit::Done;
        let mut is_left = false;
        for group in groups {
            let result = client.forget(&group, host);
            is_left |= result.as_ref().is_ok_and(|forgotten| !forgotten.remaining.is_empty());
            match result {
                Err(Error::Config { source: error, .. }) if only.is_some() => return Err(typed(error).into()),
                result => exit = exit.with(self.print_forgotten(&group, host, &result)),
            }
        }
        if is_left && self.output.format == Format::Table {
            self.output.print(&self.next.lines());
        }
        if only.is_none() && !self.found.unreadable.is_empty() {
            // Unreadable entries may name the host too.
            self.print_unreadable();
            exit = exit.with(Exit::InDoubt);
        }
        Ok(exit)
    }

    fn print_forgotten(&mut self, group: &GroupId, host: &Host, result: &Result<Forgotten, Error>) -> Exit {
        let exit = match result {
            // The operation was settled after the journal was read.
            Err(Error::Config { .. }) => Exit::Unchanged,
            Err(error) => Exit::of(error.exit_code()),
            Ok(_) => Exit::Done,
        };
        let text = match (result, self.output.format) {
            (Ok(forgotten), Format::Json) => json::line(forgotten),
            (Err(error), Format::Json) => json::not_forgotten(group, error, exit),
            (Ok(_), Format::Name) => name_line(group),
            (Ok(forgotten), Format::Table) => printable(&forgotten.to_string()) + "\n",
            (Err(error), Format::Table | Format::Name) => {
                printable(&format!("{host} is not forgotten for {group}: {}", with_causes(error))) + "\n"
            }
        };
        print_or_report(self.output, result.is_ok(), &text);
        exit
    }

    /// Prints a row with the reason for each file that cannot be read.
    fn print_unreadable(&mut self) {
        for error in &self.found.unreadable {
            let text = match self.output.format {
                Format::Json => json::line(error),
                Format::Table | Format::Name => printable(&with_causes(error)) + "\n",
            };
            print_or_report(self.output, false, &text);
        }
    }

    fn exit(&self) -> Exit {
        if self.found.unreadable.is_empty() { Exit::Done } else { Exit::InDoubt }
    }
}

/// Prints a text. With `-o name`, standard output has names only, so that of a failure goes to standard error.
fn print_or_report(output: &mut Output, succeeded: bool, text: &str) {
    if output.format == Format::Name && !succeeded { eprint(text) } else { output.print(text) }
}

/// Asks on a terminal. Without one, `--yes` is needed.
fn confirmed(host: &Host, groups: &[GroupId]) -> Result<bool, CliError> {
    const SHOWN: usize = 10;
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(CliError::usage(format!("forgetting {host} needs --yes without a terminal: add --yes")));
    }
    let mut names: Vec<String> = groups.iter().take(SHOWN).map(|group| printable(group.as_str())).collect();
    if groups.len() > SHOWN {
        names.push(format!("{} more", groups.len() - SHOWN));
    }
    let names = names.join(", ");
    is_answered_yes(format!("forget {host}? Whether it has {names} then stays unknown. [y/N] "))
}

// --- entries as text

/// Returns a line per entry, in columns with titles.
fn table(entries: &[JournalEntry]) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let titles = ["GROUP", "FOR", "HOSTS", "WRITER", "SINCE", "NOW"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(titles).chain(entries.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let line = |row: &[String; 6]| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

fn row(entry: &JournalEntry) -> [String; 6] {
    const SHOWN: usize = 4;
    let hosts = entry.hosts();
    let mut named: Vec<&str> = hosts.iter().take(SHOWN).map(Host::as_str).collect();
    let more = format!("and {} more", hosts.len().saturating_sub(SHOWN));
    if hosts.len() > SHOWN {
        named.push(&more);
    }
    [
        printable(entry.group().as_str()),
        entry.purpose().to_string(),
        printable(&named.join(", ")),
        printable(entry.writer()),
        printable(entry.started()),
        if entry.holder().is_some() { "running" } else { "interrupted" }.into(),
    ]
}

/// Returns the whole entry, with a line per value.
fn whole(entry: &JournalEntry) -> String {
    let holder = entry.holder().unwrap_or("interrupted: no process works on it");
    let (purpose, api) = (entry.purpose().to_string(), entry.intent().api().to_string());
    let mut lines = vec![
        ("group", entry.group().as_str()),
        ("for", &purpose),
        ("api", &api),
        ("recovery", recovery(entry.purpose())),
        ("writer", entry.writer()),
        ("since", entry.started()),
        ("now", holder),
    ];
    let authorized: HashSet<_> = entry.intent().authorized().collect();
    let shown = |host: &Host| {
        let how = if authorized.contains(host) { ", with credentials" } else { "" };
        format!("{host}{how}")
    };
    let hosts: Vec<String> = entry.hosts().iter().map(shown).collect();
    lines.extend(hosts.iter().map(|host| ("host", host.as_str())));
    let mut text = String::new();
    for (name, value) in lines {
        let _ = writeln!(text, "{name:8}  {}", printable(value));
    }
    text
}

/// Returns the action of `recover` for that purpose.
fn recovery(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Create { was_absent: true, .. } => "rolls it back",
        Purpose::Create { .. } => "only checks the hosts: the create had no preflight",
        _ => "finishes it",
    }
}

fn printable(text: &str) -> String {
    Printable::new(text).to_string()
}
