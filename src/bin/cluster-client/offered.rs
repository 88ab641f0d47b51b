//! The options of every command that each command uses. Help, manual pages and completions offer these only, and others
//! are refused if they are typed. A variable does not count, because it is meant for every command.

use std::ffi::OsString;
use std::fmt::Write as _;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use crate::help;

/// Options that a command ignores silently, because they are often part of an alias.
const HARMLESS: [&str; 6] = ["all", "color", "help", "log_format", "quiet", "verbose"];

/// Returns whether a command uses an option of every command. Both are names as in the definition of the arguments.
fn uses(command: &str, option: &str) -> bool {
    let is_of_output = ["color", "log_format", "output", "quiet", "verbose"].contains(&option);
    match command {
        _ if option == "help" => true,
        "probe" => !["all", "in_flight"].contains(&option),
        "hosts" => !["all", "quiet"].contains(&option),
        "journal" => is_of_output && option != "quiet" || ["config", "journal", "no_journal"].contains(&option),
        "node" => is_of_output,
        "demo" | "help" => option == "color",
        "completions" | "man" => false,
        _ => true,
    }
}

/// Returns the options of every command that one command uses.
fn offered<'a>(whole: &'a Command, command: &str) -> impl Iterator<Item = &'a Arg> {
    whole.get_arguments().filter(move |arg| arg.is_global_set() && uses(command, arg.get_id().as_str()))
}

/// Returns `Also: --hosts --hosts-file ...`, in lines of a screen. Empty if there is nothing but `--help`.
pub(crate) fn line(whole: &Command, command: &str) -> Option<String> {
    let mut text = String::from("Also:");
    let mut width = text.len();
    let names: Vec<&str> = offered(whole, command).filter_map(Arg::get_long).collect();
    for name in &names {
        if width + name.len() + 3 > 79 {
            text.push_str("\n     ");
            width = 5;
        }
        let _ = write!(text, " --{name}");
        width += name.len() + 3;
    }
    if names.contains(&"config") {
        text.push_str("\nSee: cluster-client help configuration");
    }
    (names.len() > 1).then_some(text)
}

/// Returns the definition for manual pages and completions: each command has its own options and those that it uses, all
/// of them with their help.
pub(crate) fn spelled_out(whole: Command) -> Command {
    let shown = |arg: Arg| arg.global(false).hide_short_help(false).hide_long_help(false);
    let globals: Vec<Arg> = whole.get_arguments().filter(|arg| arg.is_global_set()).cloned().collect();
    let with_used = |command: Command, name: &str| {
        let used = globals.iter().filter(|arg| uses(name, arg.get_id().as_str())).cloned().map(shown);
        command.mut_args(shown).args(used)
    };
    whole.mut_args(shown).mut_subcommands(|command| {
        let name = command.get_name().to_owned();
        with_used(command, &name).mut_subcommands(|command| with_used(command, &name))
    })
}

/// Parses the arguments. The variable of an option that the command does not use may have any value: it is meant for
/// other commands.
pub(crate) fn parse(typed: &[OsString]) -> Result<ArgMatches, clap::Error> {
    let error = match help::command().try_get_matches_from(typed) {
        Ok(matches) => return Ok(matches),
        Err(error) => error,
    };
    // Without these variables, the arguments alone say what the command is.
    let Ok(matches) = help::command_with(|_| false).try_get_matches_from(typed) else { return Err(error) };
    let Some(name) = matches.subcommand_name() else { return Err(error) };
    help::command_with(|option| uses(name, option)).try_get_matches_from(typed)
}

/// Refuses a typed option that the command does not use.
pub(crate) fn refuse_unused(matches: &ArgMatches) -> Result<(), clap::Error> {
    let Some((name, own)) = matches.subcommand() else { return Ok(()) };
    let command = help::command();
    let is_refused = |arg: &&Arg| {
        let option = arg.get_id().as_str();
        arg.is_global_set()
            && !uses(name, option)
            && !HARMLESS.contains(&option)
            && own.value_source(option) == Some(ValueSource::CommandLine)
    };
    match command.get_arguments().find(is_refused).and_then(Arg::get_long) {
        None => Ok(()),
        Some(option) => {
            let why = match (name, option) {
                ("completions" | "demo" | "help" | "man", "output") => "it prints no results".to_owned(),
                ("probe" | "hosts", _) => format!("see cluster-client help {name}"),
                _ => "it sends nothing to hosts of yours".to_owned(),
            };
            Err(help::command().error(ErrorKind::UnknownArgument, format!("{name} has no option --{option}: {why}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Arguments;

    /// Each command with arguments that it needs.
    const COMMANDS: [&[&str]; 15] = [
        &["create", "g"],
        &["delete", "g"],
        &["status", "g"],
        &["repair", "g", "--to", "absent"],
        &["probe"],
        &["recover"],
        &["journal", "list"],
        &["journal", "show", "g"],
        &["journal", "forget", "http://a"],
        &["hosts"],
        &["node"],
        &["demo"],
        &["completions", "bash"],
        &["man"],
        &["help"],
    ];

    /// Returns the option with a value, if it takes one.
    fn typed(option: &Arg) -> Vec<String> {
        let name = format!("--{}", option.get_long().unwrap());
        let value = match option.get_id().as_str() {
            "timeout" | "request_timeout" => "1s",
            "attempts" | "in_flight" => "1",
            "engine" => "threads",
            "output" | "log_format" => "json",
            "color" => "never",
            _ if option.get_action().takes_values() => "x",
            _ => return vec![name],
        };
        vec![name, value.into()]
    }

    /// Returns the definition of a command, by the first words of its arguments.
    fn found<'a>(whole: &'a Command, words: &[&str]) -> &'a Command {
        let command = whole.find_subcommand(words[0]).unwrap();
        words.get(1).and_then(|word| command.find_subcommand(word)).unwrap_or(command)
    }

    #[test]
    fn help_completions_and_parser_of_each_command_have_the_options_that_it_uses() {
        let mut whole = help::command();
        whole.build();
        let mut spelled = spelled_out(help::command());
        spelled.build();
        let tested = COMMANDS.map(|words| found(&whole, words).get_name().to_owned());
        for command in whole.get_subcommands().flat_map(|command| command.get_subcommands().chain([command])) {
            assert!(command.get_name() == "journal" || tested.contains(&command.get_name().into()), "{command}");
        }
        for words in COMMANDS {
            let page = found(&whole, words).clone().render_help().to_string();
            let also = page.split_once("\nAlso: ").map_or("--help", |(_, also)| also);
            let also = also.split("\nSee:").next().unwrap();
            let globals = || whole.get_arguments().filter(|arg| arg.is_global_set());
            for option in globals().filter(|option| option.get_id() != "help") {
                let name = format!("--{}", option.get_long().unwrap());
                let is_used = uses(words[0], option.get_id().as_str());
                let in_help = also.split_whitespace().any(|word| word == name);
                let in_completions = found(&spelled, words).get_arguments().any(|arg| arg.get_id() == option.get_id());
                assert_eq!([in_help, in_completions], [is_used; 2], "{words:?} {name}");

                let arguments = ["cluster-client"].iter().chain(words).copied().map(OsString::from);
                let parsed = Arguments::from(arguments.chain(typed(option).into_iter().map(OsString::from)));
                let is_accepted = is_used || HARMLESS.contains(&option.get_id().as_str());
                assert_eq!(parsed.is_ok(), is_accepted, "{words:?} {name}: {:?}", parsed.err().map(|e| e.to_string()));
            }
        }
    }
}
