//! The command `cluster-client`. It turns arguments into settings, calls the library, and prints the result as a table
//! or as JSON, with an exit code. The library does everything else.
//!
//! ```text
//! main -> args          arguments (help: the texts, refusal: the errors)
//!      -> settings      values and their origins (file, host_list, open, time)
//!      -> run           create, delete, status, repair (groups, confirm)  \
//!         watch, recover, journal, show                                    }-> printer: summary, plan, next, totals
//!         node, demo, shell                                               /      -> table, fold, matrix | json -> output
//!         signal, progress, logging: while it runs                         output -> output_queue: the writer thread
//! ```

mod args;
mod confirm;
mod demo;
mod exit;
mod file;
mod fold;
mod groups;
mod help;
mod host_list;
mod journal;
mod json;
mod logging;
#[cfg(test)]
#[path = "../../../tests/support/malformed.rs"]
mod malformed;
mod matrix;
mod next;
mod node;
mod open;
mod output;
mod output_queue;
mod paint;
mod plan;
mod printer;
mod progress;
mod quoting;
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
mod totals;
mod watch;

use std::process::ExitCode;

use crate::args::{Arguments, Command};
use crate::exit::{CliError, Exit};
use crate::output::Output;
use crate::run::GroupCommand;

fn main() -> ExitCode {
    let arguments = match Arguments::read() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are such errors too. Ignore a closed pipe.
            let error = refusal::with_variable(error, std::env::args_os());
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
        Command::Create { groups, bulk, exist_ok, no_preflight } => {
            let job = GroupCommand::Create { preflight: !no_preflight, exist_ok, bulk };
            run::run(&job, &groups, &global, &mut output)
        }
        Command::Delete { groups, bulk, yes } => {
            run::run(&GroupCommand::Delete { asked: yes, bulk }, &groups, &global, &mut output)
        }
        Command::Status { groups, watch: true, interval } => watch::run(&groups, interval, &global, &mut output),
        Command::Status { groups, .. } => run::run(&GroupCommand::Status, &groups, &global, &mut output),
        Command::Repair { groups, bulk, to } => {
            run::run(&GroupCommand::Repair { target: to.into(), bulk }, &groups, &global, &mut output)
        }
        Command::Recover => recover::recover(&global, &mut output),
        Command::Journal { action } => journal::run(action, &global, &mut output),
        Command::Hosts => show::show(&global, &mut output),
        Command::Node(options) => node::serve(*options, &mut output),
        Command::Demo => demo::run(&global, &mut output),
        Command::Completions { shell } => Ok(shell::completions(shell, &mut output)),
        Command::Help { about } => help::print(about.as_deref(), &mut output),
        Command::Man { command } => shell::man(command.as_deref(), &mut output),
    }
}
