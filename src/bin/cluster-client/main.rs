//! The command `cluster-client`. It turns arguments into settings, calls the library, and prints the result as a table
//! or as JSON, with an exit code. The library does everything else.
//!
//! ```text
//! main -> args          arguments and help texts (refusal: their errors)
//!      -> settings      values and their origins (file, tls, credentials, open, time)
//!      -> run           create, delete, status, repair (groups, confirm)  \
//!         recover, probe, journal, show                                    }-> summary, next -> table | json -> output
//!         node, demo, shell                                               /
//!         signal, progress, logging: while it runs                         output -> output_queue: the writer thread
//! ```

mod args;
mod confirm;
mod credentials;
mod demo;
mod exit;
mod file;
mod groups;
mod journal;
mod json;
mod logging;
#[cfg(test)]
#[path = "../../../tests/support/malformed.rs"]
mod malformed;
mod mapping;
mod next;
mod node;
mod open;
mod output;
mod output_queue;
mod probe;
mod progress;
mod recover;
mod refusal;
mod run;
mod settings;
mod shell;
mod show;
mod signal;
mod summary;
mod table;
mod time;
mod tls;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Arguments, Command};
use crate::exit::{CliError, Exit};
use crate::output::Output;
use crate::run::GroupCommand;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are such errors too. Ignore a closed pipe.
            let error = refusal::masked(error, std::env::args_os());
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
        }
    };
    let exit = run_command(arguments).unwrap_or_else(|error| {
        output::eprint(&format!("error: {}", error.message));
        error.exit
    });
    if output::finish() { exit.into() } else { Exit::Interrupted.into() }
}

fn run_command(arguments: Arguments) -> Result<Exit, CliError> {
    let Arguments { command, global } = arguments;
    let mut output = Output::new(&global);
    logging::start(&global, matches!(command, Command::Node(_)));
    match command {
        Command::Create { groups, no_preflight } => {
            run::run(GroupCommand::Create { preflight: !no_preflight }, &groups, &global, &mut output)
        }
        Command::Delete { groups, yes } => run::run(GroupCommand::Delete { asked: yes }, &groups, &global, &mut output),
        Command::Status { groups } => run::run(GroupCommand::Status, &groups, &global, &mut output),
        Command::Repair { groups, to } => run::run(GroupCommand::Repair(to.into()), &groups, &global, &mut output),
        Command::Probe { id, yes } => probe::run(id.as_deref(), yes, &global, &mut output),
        Command::Recover => recover::recover(&global, &mut output),
        Command::Journal { action } => journal::run(action, &global, &mut output),
        Command::Hosts => show::show(&global, &mut output),
        Command::Node(options) => node::serve(*options, &mut output),
        Command::Demo => demo::run(&global, &mut output),
        Command::Completions { shell } => Ok(shell::completions(shell, &mut output)),
        Command::Man { command } => shell::man(command.as_deref(), &mut output),
    }
}
