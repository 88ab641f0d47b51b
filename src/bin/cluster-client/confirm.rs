//! The questions before a delete and a probe.

use std::fmt::Write as _;
use std::io::{self, BufRead as _, IsTerminal as _};

use cluster_client::{GroupId, Host, Hosts};
use terminal_size::{Height, terminal_size_of};

use crate::exit::CliError;
use crate::output::ask;

/// Asks on a terminal. Without one, `--yes` is needed.
pub(crate) fn confirmed(groups: &[GroupId], noun: &str, hosts: &Hosts, from_stdin: bool) -> Result<bool, CliError> {
    let what = match groups {
        [group] => group.to_string(),
        many => format!("{} {noun}s", many.len()),
    };
    if from_stdin || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(CliError::usage(format!("delete {what} needs --yes without a terminal: add --yes")));
    }
    is_answered_yes(question(&what, groups, noun, hosts))
}

/// Asks before a probe, on a terminal. Without one, `--yes` is needed.
pub(crate) fn confirmed_probe(what: &str, hosts: &Hosts) -> Result<bool, CliError> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(CliError::usage(
            "probe creates and deletes a thing, and needs --yes without a terminal: add --yes",
        ));
    }
    let mut text = String::new();
    listed(&mut text, "hosts", hosts.iter().map(Host::as_str), rows().saturating_sub(4).max(4));
    is_answered_yes(text + &format!("create and delete {what} there? [y/N] "))
}

/// Prints the question, and reads a line from the terminal. Returns whether it means yes.
pub(crate) fn is_answered_yes(question: String) -> Result<bool, CliError> {
    ask(question);
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|error| CliError::usage(format!("no answer: {error}: add --yes")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Returns the height of the screen.
fn rows() -> usize {
    terminal_size_of(io::stderr()).map_or(24, |(_, Height(rows))| usize::from(rows))
}

/// Returns the groups, the hosts, and the question. Long lists are cut to the height of the screen.
fn question(what: &str, groups: &[GroupId], noun: &str, hosts: &Hosts) -> String {
    // Leave four rows for the titles, the question and the typed answer.
    let room = rows().saturating_sub(4).max(4);
    let for_groups = room.saturating_sub(hosts.len()).max(room / 4);
    let mut text = String::new();
    let mut used = 0;
    if groups.len() > 1 {
        used = listed(&mut text, &format!("{noun}s"), groups.iter().map(GroupId::as_str), for_groups);
    }
    listed(&mut text, "hosts", hosts.iter().map(Host::as_str), room - used);
    let number = hosts.len();
    text + &format!("delete {what} from {number} {}? [y/N] ", if number == 1 { "host" } else { "hosts" })
}

/// Appends the names, each on a line. Beyond `room` lines, only the number of the rest is appended. Returns the number
/// of lines after the title.
fn listed<'a>(text: &mut String, title: &str, names: impl ExactSizeIterator<Item = &'a str>, room: usize) -> usize {
    let total = names.len();
    let shown = if total <= room { total } else { room.saturating_sub(1) };
    text.push_str(title);
    text.push_str(":\n");
    for name in names.take(shown) {
        text.extend(["  ", name, "\n"]);
    }
    if shown < total {
        let _ = writeln!(text, "  and {} more", total - shown);
    }
    shown + usize::from(shown < total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_list_is_cut_and_the_rest_is_counted() {
        let list = |total: usize, room| {
            let names: Vec<String> = (0..total).map(|number| format!("n{number}")).collect();
            let mut text = String::new();
            let lines = listed(&mut text, "hosts", names.iter().map(String::as_str), room);
            assert_eq!(text.lines().count(), lines + 1);
            text
        };
        assert_eq!(list(2, 2), "hosts:\n  n0\n  n1\n");
        assert_eq!(list(400, 3), "hosts:\n  n0\n  n1\n  and 398 more\n");
    }
}
