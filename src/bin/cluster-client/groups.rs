//! The groups of a command, from its arguments or a file: each checked, none twice.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use cluster_client::{GroupId, Origin};

use crate::args::Groups;
use crate::exit::Stop;

/// The longest list that is read. It bounds memory where somebody names a device.
const MAX_BYTES: u64 = 256 << 20;

/// All groups, or why one of them is refused.
pub(crate) fn read(groups: &Groups) -> Result<Vec<GroupId>, Stop> {
    let named: Vec<(String, String)> = match &groups.file {
        None => groups.ids.iter().map(|id| (id.clone(), "the command line".into())).collect(),
        Some(path) => lines(path)?,
    };
    if named.is_empty() {
        return Err(match &groups.file {
            None => Stop::usage("no group was named: give one or more, or -f FILE with one a line"),
            Some(path) => Stop::usage(format!("{} names no group: write one a line", shown(path))),
        });
    }
    let mut first_place = HashMap::with_capacity(named.len());
    let mut read = Vec::with_capacity(named.len());
    for (id, place) in named {
        let group = GroupId::parse(&id).map_err(|error| error.from_origin(Origin::Option(place.clone())))?;
        if let Some(first) = first_place.insert(group.clone(), place.clone()) {
            let places = if first == place { first } else { format!("{first} and {place}") };
            return Err(Stop::usage(format!("group \"{group}\" is there twice (from {places}): name each group once")));
        }
        read.push(group);
    }
    Ok(read)
}

/// Each line that names a group, with its place.
fn lines(path: &Path) -> Result<Vec<(String, String)>, Stop> {
    let text = text(path)?;
    let named = text.lines().enumerate().map(|(number, line)| (line.trim(), number + 1));
    let named = named.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
    Ok(named.map(|(line, number)| (line.to_owned(), format!("{}, line {number}", shown(path)))).collect())
}

fn text(path: &Path) -> Result<String, Stop> {
    let failed = |error: io::Error| {
        Stop::usage(format!("cannot read the groups from {}: {error}: name a file that can be read", shown(path)))
    };
    let mut bytes = Vec::new();
    if is_stdin(path) {
        io::stdin().take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(failed)?;
    }
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Stop::usage(format!("{} has more than {} MiB: split it", shown(path), MAX_BYTES >> 20)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.split(|byte| *byte == b'\n').count();
        Stop::usage(format!("{}, line {line} is not UTF-8: write the file in UTF-8", shown(path)))
    })
}

pub(crate) fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

fn shown(path: &Path) -> String {
    if is_stdin(path) { "standard input".into() } else { path.display().to_string() }
}
