//! The command `cluster-client`. It turns arguments into settings, calls the library, and prints the result as a table
//! or as JSON, with an exit code. The library does everything else.
//!
//! ```text
//! main -> args          arguments (help: the texts, offered: the options of each command, refusal: the errors)
//!      -> settings      values and their origins (file, host_list, tls, credentials, proxy, journal_setting, etcd,
//!                       open, time)
//!      -> run           create, delete, status, repair (groups, confirm)  \
//!         watch (unfinished), recover, probe, journal, show                }-> printer: summary, failures, plan, next,
//!         node, demo, shell                                               /      totals -> table, fold, matrix | json -> output
//!         signal, progress, logging: while it runs                         output -> output_queue: the writer thread
//! ```

mod api_setting;
mod args;
mod confirm;
mod credentials;
mod demo;
mod etcd;
mod exit;
mod failures;
mod file;
mod fold;
mod groups;
mod help;
mod host_list;
mod journal;
mod journal_setting;
mod json;
mod likeness;
mod log_json;
mod logging;
#[cfg(test)]
#[path = "../../../tests/support/malformed.rs"]
mod malformed;
mod mapping;
mod matrix;
mod next;
mod node;
mod offered;
mod open;
mod output;
mod output_queue;
mod paint;
mod plan;
mod printer;
mod probe;
mod progress;
mod proxy;
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
mod tls;
mod totals;
mod unfinished;
mod watch;
mod whole_number;

use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::args::{Arguments, Command, Format};
use crate::exit::{CliError, Exit};
use crate::output::Output;
use crate::run::GroupCommand;

fn main() -> ExitCode {
    let arguments = match Arguments::read() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are such errors too. Ignore a closed pipe.
            let error = refusal::with_variable(error, std::env::args_os());
            let error = refusal::with_suggestion(error, std::env::args_os());
            let error = refusal::masked(error, std::env::args_os());
            let printed = error.print().and_then(|()| io::stdout().flush());
            if !error.use_stderr() {
                return shown(printed).into();
            }
            if refusal::wants_json(std::env::args_os()) {
                let line = json::failure(&CliError::usage(refusal::sentence(&error)), None);
                let _ = io::stdout().write_all(line.as_bytes());
            }
            return Exit::Usage.into();
        }
    };
    let mut output = Output::new(&arguments.global);
    let operation = arguments.command.operation();
    let only_prints = arguments.command.only_prints();
    let exit = run_command(arguments, &mut output).unwrap_or_else(|error| {
        output::eprint(&format!("error: {}", error.message));
        if output.format == Format::Json {
            output.print(&json::failure(&error, operation));
        }
        error.exit
    });
    match output::finish() {
        true if only_prints && output::has_failed() => exit.with(Exit::Unchanged).into(),
        true => exit.into(),
        false => Exit::Interrupted.into(),
    }
}

/// Returns the exit of a help or a version.
fn shown(printed: io::Result<()>) -> Exit {
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            output::report_error(&error);
            output::finish();
            Exit::Unchanged
        }
        _ => Exit::Done,
    }
}

fn run_command(arguments: Arguments, output: &mut Output) -> Result<Exit, CliError> {
    let Arguments { command, global } = arguments;
    logging::start(&global, matches!(command, Command::Node(_)));
    match command {
        Command::Create { groups, bulk, exist_ok, no_preflight } => {
            let job = GroupCommand::Create { preflight: !no_preflight, exist_ok, bulk };
            run::run(&job, &groups, &global, output)
        }
        Command::Delete { groups, bulk, yes } => {
            run::run(&GroupCommand::Delete { asked: yes, bulk }, &groups, &global, output)
        }
        Command::Status { groups, watch: true, interval } => watch::run(&groups, interval, &global, output),
        Command::Status { groups, .. } => run::run(&GroupCommand::Status, &groups, &global, output),
        Command::Repair { groups, bulk, to } => {
            run::run(&GroupCommand::Repair { target: to.into(), bulk }, &groups, &global, output)
        }
        Command::Probe { id, yes } => probe::run(id.as_deref(), yes, &global, output),
        Command::Recover { dry_run: true } => recover::plan(&global, output),
        Command::Recover { .. } => recover::recover(&global, output),
        Command::Journal { action } => journal::run(action, &global, output),
        Command::Hosts => show::show(&global, output),
        Command::Node(options) => node::serve(*options, global.quiet, output),
        Command::Demo => demo::run(&global, output),
        Command::Completions { shell } => Ok(shell::completions(shell, output)),
        Command::Help { about } => help::print(&about, output),
        Command::Man { command } => shell::man(&command, output),
    }
}
