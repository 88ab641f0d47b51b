//! Reads the groups of a command from its arguments or a file, and checks them. A group may not come twice.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use cluster_client::{Api, ConfigError, GroupId, Origin, Printable};

use crate::args::Groups;
use crate::exit::CliError;
use crate::output::eprint;

/// Maximum size of a list in bytes, comments included.
const MAX_BYTES: u64 = 256 << 20;

/// Maximum length of a line in bytes. Ids are far shorter, so reading from a device ends soon.
const MAX_LINE: u64 = 64 << 10;

/// Maximum number of groups of one command. It bounds the memory for a list without an end.
const MAX_GROUPS: usize = 1_000_000;

/// Returns all groups, or the error of the first invalid one.
pub(crate) fn read(groups: &Groups, api: &Api) -> Result<Vec<GroupId>, CliError> {
    let noun = api.noun();
    let read = match &groups.file {
        None => arguments(&groups.ids, api)?,
        Some(path) if is_stdin(path) => lines(path, io::stdin().lock(), api)?,
        Some(path) => {
            let file = File::open(path).map_err(|error| unreadable(path, &error))?;
            lines(path, BufReader::new(file), api)?
        }
    };
    if read.is_empty() {
        return Err(match &groups.file {
            None => CliError::usage(format!("no {noun} was named: give one or more, or -f FILE with one a line")),
            Some(path) => CliError::usage(format!("{} names no {noun}: write one a line", shown(path))),
        });
    }
    Ok(read)
}

fn arguments(ids: &[String], api: &Api) -> Result<Vec<GroupId>, CliError> {
    let place = |_: usize| "the command line".to_owned();
    let mut found = Found::new(api);
    for id in ids {
        refuse_url(id, api.noun())?;
        found.add(id, 0, place)?;
    }
    Ok(found.finish())
}

/// Refuses a URL as a group on the command line. It is a host after a blank, which would be left out, or a journal.
fn refuse_url(id: &str, noun: &str) -> Result<(), ConfigError> {
    let (problem, remedy) = match id.split_once("://").map(|(scheme, _)| scheme) {
        Some("http" | "https") => ("looks like a host", "separate hosts by commas, as in --hosts A,B"),
        Some("etcd" | "etcds") => ("looks like a journal", "name it with --journal"),
        _ => return Ok(()),
    };
    let remedy = format!("{remedy}; {noun}s of such names need -f FILE");
    let refused = ConfigError::new(noun.to_owned(), id, problem, remedy);
    Err(refused.from_origin(Origin::Option("the command line".into())))
}

/// Reads a list. Each line is a group, blank or a comment. The list may be a pipe without an end.
fn lines(path: &Path, reader: impl BufRead, api: &Api) -> Result<Vec<GroupId>, CliError> {
    let place = |number: usize| format!("{}, line {number}", shown(path));
    let refused = |number, problem: &str| CliError::usage(format!("{} {problem}", place(number)));
    let mut reader = reader.take(MAX_BYTES);
    let mut found = Found::new(api);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let length = reader.by_ref().take(MAX_LINE + 1).read_until(b'\n', &mut line);
        match length.map_err(|error| unreadable(path, &error))? as u64 {
            0 if reader.limit() == 0 => {
                return Err(CliError::usage(format!(
                    "{} has more than {} MiB: split it",
                    shown(path),
                    MAX_BYTES >> 20
                )));
            }
            0 => break,
            1..=MAX_LINE => {}
            _ => return Err(refused(number, &format!("has more than 64 KiB: write one {} a line", api.noun()))),
        }
        let text = str::from_utf8(&line).map_err(|_| refused(number, "is not UTF-8: write the file in UTF-8"))?;
        // Skip the byte order mark of some editors. It is not part of the first id.
        let text = if number == 1 { text.trim_start_matches('\u{feff}') } else { text };
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        found.add(text, number, place)?;
        if found.groups.len() > MAX_GROUPS {
            let noun = api.noun();
            return Err(CliError::usage(format!("{} names more than {MAX_GROUPS} {noun}s: split it", shown(path))));
        }
    }
    Ok(found.finish())
}

/// The groups so far, and the line of each.
struct Found<'a> {
    api: &'a Api,
    groups: Vec<GroupId>,
    lines: HashMap<GroupId, usize>,
    /// The number of groups that look like a slip, and the warning about the first.
    slips: usize,
    warning: String,
}

impl<'a> Found<'a> {
    fn new(api: &'a Api) -> Self {
        Found { api, groups: Vec::new(), lines: HashMap::new(), slips: 0, warning: String::new() }
    }

    /// Returns the groups. Warns of those that may be pasted by mistake: they are valid ids, and other groups than those
    /// that were meant.
    fn finish(self) -> Vec<GroupId> {
        match self.slips {
            0 => {}
            1 => eprint(&self.warning),
            slips => eprint(&format!("{} (the first of {slips} such)", self.warning)),
        }
        self.groups
    }

    fn add(&mut self, id: &str, line: usize, place: impl Fn(usize) -> String) -> Result<(), CliError> {
        let named = |error: ConfigError| error.from_origin(Origin::Option(place(line)));
        let group = self.api.parse_id(id).map_err(named)?;
        if let Some(first) = self.lines.insert(group.clone(), line) {
            let places = if first == line { place(line) } else { format!("{} and {}", place(first), place(line)) };
            let noun = self.api.noun().to_owned();
            let remedy = format!("name each {noun} once");
            let refused = ConfigError::new(noun, id, "is there twice", remedy);
            return Err(refused.from_origin(Origin::Option(places)).into());
        }
        if let Some(slip) = slip(id) {
            self.slips += 1;
            if self.slips == 1 {
                let shown = Printable::masked(id).to_string();
                self.warning = format!("warning: {} {shown:?} {slip}", self.api.noun());
            }
        }
        self.groups.push(group);
        Ok(())
    }
}

/// Returns what an id has that was probably not typed.
fn slip(id: &str) -> Option<&'static str> {
    const QUOTES: [char; 6] = ['"', '\'', '“', '”', '‘', '’'];
    if id.trim() != id || id.chars().any(|c| c.is_whitespace() && c != ' ') {
        Some("has a blank at an end, or one that is no usual space")
    } else if id.contains(Printable::escapes) {
        Some("has a character that cannot be seen")
    } else if id.starts_with(QUOTES) && id.ends_with(QUOTES) {
        Some("has quotes around it")
    } else {
        None
    }
}

fn unreadable(path: &Path, error: &io::Error) -> CliError {
    CliError::usage(format!("cannot read the groups from {}: {error}: name a file that can be read", shown(path)))
}

pub(crate) fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

fn shown(path: &Path) -> String {
    if is_stdin(path) {
        return "standard input".into();
    }
    Printable::masked(&path.to_string_lossy()).to_string()
}
