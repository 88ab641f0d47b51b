//! completions and man: shell completions and manual pages, generated from the definition of the arguments.

use std::ffi::OsString;

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::args::Arguments;
use crate::exit::{CliError, Exit};
use crate::json;
use crate::output::Output;

const NAME: &str = "cluster-client";

pub(crate) fn completions(shell: Shell, output: &mut Output) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), NAME, &mut script);
    output.print(&String::from_utf8_lossy(&script));
    Exit::Done
}

/// Returns the text of `help json-schema`. The parser's own `help` has commands only.
pub(crate) fn topic(mut words: impl Iterator<Item = OsString>) -> Option<&'static str> {
    let is_schema = words.next()? == "help" && words.next()? == "json-schema" && words.next().is_none();
    is_schema.then_some(json::SCHEMA)
}

/// Prints the page of the program, or of one command.
pub(crate) fn man(command: Option<&str>, output: &mut Output) -> Result<Exit, CliError> {
    let mut whole = Arguments::command();
    whole.build();
    let page = match command {
        None => whole,
        Some(name) => whole.find_subcommand(name).cloned().ok_or_else(|| {
            let known: Vec<&str> = whole.get_subcommands().map(clap::Command::get_name).collect();
            CliError::usage(format!("there is no command {name:?}: use one of {}", known.join(", ")))
        })?,
    };
    let mut roff = Vec::new();
    Man::new(page).render(&mut roff).map_err(|error| CliError::unchanged(format!("no manual page: {error}")))?;
    output.print(&String::from_utf8_lossy(&roff));
    Ok(Exit::Done)
}
