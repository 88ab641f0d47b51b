//! The help texts: a screen for each command, and the topics. The lists of options and variables are generated from the
//! definition of the arguments, so they are complete.

use std::fmt::Write as _;

use anstyle::Style;
use clap::builder::Styles;
use clap::{Arg, ArgAction, Command, CommandFactory as _};

use crate::args::Arguments;
use crate::exit::{CliError, Exit};
use crate::json;
use crate::likeness::alike;
use crate::offered;
use crate::output::Output;
use crate::paint::UNSURE;
use crate::whole_number;

const EXAMPLES: &str = "\
Examples:
  export HOSTS=http://node1:8000,http://node2:8000,http://node3:8000
  cluster-client create payments          on every host, or on none
  cluster-client demo                     all of it, without a cluster
Topics of help: json | json-schema | exit-codes | configuration | faults";

/// The page of the program has no options, since they are many.
const TEMPLATE: &str = "{about}\n\n{usage-heading} {usage}\n\nCommands:\n{subcommands}{after-help}";

pub(crate) const EXIT_CODES: &str = "\
Exit codes:
    0  the requested state is verified on every host
    1  failed, and the cluster is unchanged (refused, or rolled back)
    2  usage or configuration error; nothing was sent
    3  inconsistent: the named hosts have, or keep, the group
    4  in doubt: the state of some host is unknown
    5  a host had the group already; what was made beside it is undone
  130  interrupted; `recover` settles what the journal still holds

status exits 0 when the group is on every host, 1 when on none, 3 when mixed,
4 when a host is unknown; with --watch, as its last round says. With several
groups, the exit code is the first of 3, 4, 1, 5, 0 that applies. create
--exist-ok exits 0 instead of 5 when the group is on every host. A dry run exits
as the command would if all goes well, and 4 when a host is unknown. probe exits
0 when the API is certified, 1 when it is not and nothing is left, 4 when the
thing may be left on a host. A command that only prints exits 1 when its output
cannot be written.

Signals: SIGINT (Ctrl-C), SIGTERM and SIGHUP cancel; a create then rolls back.
Only a second SIGINT exits at once, and prints what the journal holds. Signals
that were ignored at the start stay ignored (nohup).";

const TOPICS: [&str; 5] = ["json", "json-schema", "exit-codes", "configuration", "faults"];

const JSON: &str = "\
`-o json` prints one object on one line for each group, in the order of the input.
`cluster-client help json-schema` prints its JSON Schema. `-o name` prints only the
groups for which the command succeeded; for status that means: on every host.
  schema      the version of these fields: 1
  kind        result; others for the journal, hosts and node
  id          of the operation, as in log lines
  group       its id; null for a refused value
  operation   create | delete | status | repair | recover
  outcome     created | already_exists | unavailable | rolled_back | cancelled |
              timed_out | incomplete | in_doubt | unrecorded | deleted | repaired |
              observed | recovered | busy | conflict | journal_failed | refused
  exit        the exit code of this group alone
  target      of a repair: present | absent
  counts      {hosts, present, absent, unknown}
  hosts       [{host, state: present|absent|unknown, reason, steps}], each host
     steps    [{action: create|check|delete, succeeded, attempts, status, problem,
              error, elapsed_ms}], in order
     succeeded  created, deleted, or found present: a check that finds it absent
              has false and no error
     problem  unlisted | body_cut | not_json | two_meanings | html_page |
              other_group | changing: why the answer was not counted; or null
     error    {kind: resolve|connect|tls|timeout|closed|garbage|exhausted|
              given_up|internal, message}
  cause       {kind, message, hosts, reason} of a rollback or a failure, or null
  earlier     the result of an unfinished operation on the group that was settled
              first, or null
  recoverable whether the journal still holds it, so that `recover` will settle it
  unfinished  the entry of the journal on the group, as `journal list` prints it;
              only of a status or a dry run, if there is one
  warnings    [text], one for each problem that needs a person
  elapsed_ms  from the call to its end
  next        [[argument]], commands to choose from; each begins with cluster-client
A dry run has `dry_run: true`, and each of its hosts has `would`: create, delete or
null. Usage errors are objects too. Fields may be added, but are never removed.

`probe -o json` prints one object on one line:
  schema      1
  api         {name, digest}
  id          of the thing
  stages      [{stage, hosts}]: absent_before, create, present, create_again,
              present_still, delete, absent_after, delete_again
     hosts    [{host, request, request_body, status, body, meaning, tries,
              elapsed_ms, error, problem}]
     meaning  created | exists | present | absent | deleted | wait | retry |
              unlisted | not_json | cut | two_meanings | contradiction | no_answer
  verdict     certified | not_certified | left
  problems    [{stage, hosts, problem}]
  note        what the API cannot promise although it is certified, or null
  interrupted why the probe ended early, or null
  left        [host], where the thing may be left
  cleanup     the result of the delete at the end, if one was needed, or null
  recoverable whether the journal still holds it, so that `recover` will remove it
  exit, elapsed_ms, next

Example: the groups that are not on every host
  cluster-client status -f groups.txt -o json | jq -r 'select(.exit != 0).group'";

const CONFIGURATION: &str = "\
An option overrides its variable, the variable overrides the configuration file,
and the file overrides the default. `cluster-client hosts` shows every value and
where it came from.

Hosts come from --hosts, --hosts-file, then CLUSTER_CLIENT_HOSTS,
CLUSTER_CLIENT_HOSTS_FILE and HOSTS, then the file. Without any, status and hosts use
http://localhost:8000 to 8002, and create, delete and repair fail. recover needs no
hosts: the journal has them.

The configuration file is ./cluster-client.toml, or --config. All keys, with their
defaults:

  hosts = [\"http://node1:8000\", \"http://node2:8000\"]
  # timeout = \"30s\"         # of the whole operation; by default, attempts bound it
  request_timeout = \"10s\"   # of one request
  attempts = 3              # tries of one request
  first_delay = \"1s\"        # before the second try; it doubles with each try
  max_delay = \"10s\"         # at most, even if a server asks for more
  settle = \"10s\"            # for late requests, stale reads; at least request_timeout
  rollback_timeout = \"2m\"   # of a rollback, in addition; at least 4 times settle
  # journal = \"/var/lib/cluster-client\"   # or \"etcd://etcd1,etcd2,etcd3/prefix\", or false
  # api = \"jupyterhub\"      # a preset, a file such as \"./mapping.toml\", or [api]
  threads = 1024            # at most
  engine = \"multiplexed\"    # or \"threads\"
  in_flight = 32            # groups in progress at once
  # proxy = \"http://proxy:3128\"   # variables such as http_proxy have no effect
  # no_proxy = [\"node1\", \".example.com\", \"10.0.0.0/8\"]
  # proxy_user = \"me\"
  # proxy_password_file = \"password\"   # or proxy_password_env = \"VARIABLE\"
  allow_plain_http = false  # credentials over plain http to other machines
  [credentials]             # sent to all hosts; files are relative to this one
  # bearer_token_file = \"token\"   # or bearer_token_env = \"VARIABLE\"
  # header_files = { X-Token = \"file\" }   # also header_envs = { X-Token = \"VARIABLE\" }
  ## instead of the token: basic_user = \"admin\" with
  ## basic_password_file = \"password\" or basic_password_env = \"VARIABLE\"
  ## [host.\"https://node3:8443\".credentials] replaces all of them for that host
  [tls]                     # files are relative to this one
  # ca_file = \"ca.pem\"      # trusted instead of the built-in authorities
  # system_roots = true     # the authorities of the system instead
  # client_cert_file = \"client.pem\"
  # client_key_file = \"client.key\"
  # server_name = \"node.example\"   # instead of the name in the URLs
  # dangerously_skip_verification = true
  ## https_only = true refuses http hosts
  ## [host.\"https://node3:8443\".tls] replaces all of them for that host
  [etcd]                    # of a journal in etcd; files are relative to this one
  # ttl = \"30s\"             # of the claims; at least 2 * request_timeout + 2s
  # user = \"cluster\"
  # password_file = \"password\"   # or password_env = \"VARIABLE\"
  ## ca_file = \"ca.pem\", client_cert_file = \"client.pem\", client_key_file and
  ## server_name are those of [tls], for an etcds:// URL
  ## allow_plain_http = true sends the password to other machines by etcd://
  [paths]                   # of the node API, instead of api
  collection = \"/v1/group/\"
  member = \"/v1/group/{id}/\"

The journal is in $XDG_STATE_HOME/cluster-client, or ~/.local/state/cluster-client.
";

/// Options whose variable this program reads itself, since other variables or empty values count too.
const READ_BY_SETTINGS: [&str; 6] = ["hosts", "journal", "engine", "ca-file", "bearer-token-file", "api"];
/// Options without a variable: they name the groups of one command, or print something.
const WITHOUT_VARIABLE: [&str; 3] = ["file", "help", "version"];

/// Returns the name of the variable of an option, such as `CLUSTER_CLIENT_IN_FLIGHT` of `--in-flight`.
pub(crate) fn variable(option: &str) -> String {
    let name = option.trim_start_matches('-').replace(['-', '_'], "_").to_uppercase();
    format!("CLUSTER_CLIENT_{name}")
}

/// Returns the definition of the arguments, with the variables and the help of each command.
pub(crate) fn command() -> Command {
    command_with(|_| true)
}

/// Returns the same with those variables only whose option of every command, by its id, is wanted.
pub(crate) fn command_with(is_wanted: impl Fn(&str) -> bool) -> Command {
    let of_all = |arg: Arg| {
        let has_variable = is_wanted(arg.get_id().as_str());
        finished(arg, has_variable)
    };
    let whole = Arguments::command().mut_args(of_all).after_help(EXAMPLES).help_template(TEMPLATE);
    // The yellow of clap cannot be read on a light background.
    let whole = whole.styles(Styles::styled().invalid(Style::new().fg_color(Some(UNSURE.into()))));
    let definition = whole.clone();
    whole.mut_subcommands(|command| {
        let also = offered::line(&definition, command.get_name());
        completed(command, also.as_deref())
    })
}

/// Completes a command. Options of every command are listed by name only, so that its help fits on a screen.
fn completed(command: Command, also: Option<&str>) -> Command {
    let after = command.get_after_help().map(ToString::to_string);
    let faults = (command.get_name() == "node").then_some("Faults and habits: cluster-client help faults");
    let is_list = command.has_subcommands();
    let parts = after.as_deref().into_iter().chain(faults).chain(also.filter(|_| !is_list)).collect::<Vec<_>>();
    command
        .mut_args(|arg| finished(arg, true))
        .mut_subcommands(|command| completed(command, also))
        .after_help(parts.join("\n\n"))
}

/// Only the faults and habits of a node have a heading, beside the options of every command.
fn is_fault(arg: &Arg) -> bool {
    arg.get_help_heading().is_some()
}

fn finished(arg: Arg, has_variable: bool) -> Arg {
    let name = arg.get_long().unwrap_or_default().to_owned();
    let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
    let arg = if arg.is_global_set() || is_fault(&arg) { arg.hide_short_help(true).hide_long_help(true) } else { arg };
    if name.is_empty() || WITHOUT_VARIABLE.contains(&&*name) || READ_BY_SETTINGS.contains(&&*name) {
        return arg;
    }
    let arg = if has_variable { arg.env(variable(&name)).hide_env(true).hide_env_values(true) } else { arg };
    if is_switch { arg.value_parser(whole_number::parse_switch) } else { arg }
}

/// Prints the help of the program, of a command, or of a topic.
pub(crate) fn print(about: &[String], output: &mut Output) -> Result<Exit, CliError> {
    let mut whole = command();
    whole.build();
    let text = match about.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["json"] => JSON.to_owned() + "\n",
        ["json-schema"] => json::SCHEMA.to_owned(),
        ["exit-codes"] => EXIT_CODES.to_owned() + "\n",
        ["configuration"] => configuration(&whole),
        ["faults"] => faults(&whole),
        _ => found(&whole, about, &TOPICS)?.render_help().ansi().to_string(),
    };
    output.print(&text);
    Ok(Exit::Done)
}

/// Returns the command of these words, as in `journal forget`. `topics` are named beside the commands in the error.
pub(crate) fn found(whole: &Command, words: &[String], topics: &[&str]) -> Result<Command, CliError> {
    let mut command = whole;
    for word in words {
        command = command.find_subcommand(word).ok_or_else(|| {
            let is_top = std::ptr::eq(command, whole);
            let topics = if is_top { topics } else { &[] };
            let known: Vec<&str> =
                command.get_subcommands().map(Command::get_name).chain(topics.iter().copied()).collect();
            let what = if topics.is_empty() { "command" } else { "command or topic" };
            unknown(what, word, &known)
        })?;
    }
    Ok(command.clone())
}

/// Returns the error of an unknown name, with the known one that was probably meant.
fn unknown(what: &str, name: &str, known: &[&str]) -> CliError {
    if known.is_empty() {
        return CliError::usage(format!("there is no {what} {name:?}: leave it out"));
    }
    let hint = alike(name, known.iter().copied()).map(|known| format!("did you mean {known}? ")).unwrap_or_default();
    CliError::usage(format!("there is no {what} {name:?}: {hint}use one of {}", known.join(", ")))
}

fn configuration(whole: &Command) -> String {
    let mut text = CONFIGURATION.to_owned();
    text.push_str("\nOptions of every command, and their variables:\n");
    list_options(&mut text, whole);
    for command in whole.get_subcommands() {
        let mut own = String::new();
        list_options(&mut own, command);
        if !own.is_empty() {
            let _ = write!(text, "\nOptions of {}, and their variables:\n{own}", command.get_name());
        }
    }
    text + "\nA variable of an option without a value is true or false.\n"
}

/// Returns the options of a node that make it fail, or differ from others.
fn faults(whole: &Command) -> String {
    let mut text = "cluster-client node runs a node of the API. These options make it fail, or differ.\n".to_owned();
    let mut heading = None;
    for arg in
        whole.find_subcommand("node").into_iter().flat_map(Command::get_arguments).filter(|arg| !arg.is_global_set())
    {
        let (Some(own), Some(name)) = (arg.get_help_heading(), arg.get_long()) else { continue };
        if heading.replace(own.to_owned()).is_none_or(|before| before != own) {
            let _ = writeln!(text, "\n{own}:");
        }
        let value = arg.get_value_names().and_then(<[_]>::first).map(ToString::to_string).unwrap_or_default();
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(text, "  {:27} {help}{}", format!("--{name} {value}"), values_of(arg));
    }
    text
}

/// Returns the values that an option may have, and its default, as ` [lenient, strict; default: lenient]`.
fn values_of(arg: &Arg) -> String {
    let possible: Vec<String> = arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    let defaults = arg.get_default_values().iter().filter(|_| !arg.is_hide_default_value_set());
    let defaults = defaults.map(|value| format!("default: {}", value.to_string_lossy()));
    let shown: Vec<String> =
        Some(possible.join(", ")).filter(|list| !list.is_empty()).into_iter().chain(defaults).collect();
    if shown.is_empty() { String::new() } else { format!(" [{}]", shown.join("; ")) }
}

/// Appends two lines for each option: its name and variable, then its help.
fn list_options(text: &mut String, command: &Command) {
    let is_own = |arg: &&Arg| !arg.is_global_set() || command.get_name() == "cluster-client";
    for arg in command.get_arguments().filter(is_own) {
        let Some(name) = arg.get_long().filter(|name| !WITHOUT_VARIABLE.contains(name)) else { continue };
        let names = arg.get_value_names().filter(|_| arg.get_action().takes_values()).unwrap_or_default();
        let option = names.iter().fold(format!("--{name}"), |option, value| format!("{option} {value}"));
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(text, "  {option:26} {}\n      {help}", variable(name));
    }
}

/// The files, for the manual page.
pub(crate) const FILES: [(&str, &str); 2] = [
    (
        "./cluster-client.toml",
        "The configuration file, unless --config names another. It must not be writable for others.",
    ),
    (
        "$XDG_STATE_HOME/cluster-client, ~/.local/state/cluster-client",
        "The journal: one entry for each unfinished operation.",
    ),
];

/// Returns every variable with its meaning, for the manual page.
pub(crate) fn environment() -> Vec<(String, String)> {
    let mut whole = command();
    whole.build();
    let commands =
        std::iter::once(&whole).chain(whole.get_subcommands().filter(|command| command.get_name() != "node"));
    let mut variables: Vec<(String, String)> = Vec::new();
    for arg in commands.flat_map(Command::get_arguments) {
        let Some(name) = arg.get_long().filter(|name| !WITHOUT_VARIABLE.contains(name)) else { continue };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        if !variables.iter().any(|(known, _)| *known == variable(name)) {
            variables.push((variable(name), format!("--{name}: {help}")));
        }
    }
    let others = [
        ("HOSTS", "The hosts, separated by commas, after CLUSTER_CLIENT_HOSTS."),
        ("RUST_LOG", "The filter of log lines; it overrides -v."),
        ("NO_COLOR", "Turns colours off."),
        ("COLUMNS", "The width of tables that no terminal shows."),
        ("XDG_STATE_HOME, HOME", "The place of the journal."),
    ];
    variables.extend(others.map(|(name, meaning)| (name.to_owned(), meaning.to_owned())));
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_has_a_variable_or_a_reason_for_none() {
        let mut whole = command();
        whole.build();
        for arg in std::iter::once(&whole).chain(whole.get_subcommands()).flat_map(Command::get_arguments) {
            let Some(name) = arg.get_long() else { continue };
            let own = READ_BY_SETTINGS.contains(&name) || WITHOUT_VARIABLE.contains(&name);
            assert_eq!(arg.get_env().is_none(), own, "--{name}");
        }
    }

    #[test]
    fn topic_has_every_key_of_the_configuration() {
        use crate::{credentials, etcd, file, tls};
        let tables = ["paths", "credentials", "tls", "etcd", "host"];
        let keys = file::KEYS.iter().filter(|key| !tables.contains(key));
        for key in keys.chain(&file::PATH_KEYS).chain(&credentials::KEYS).chain(&tls::KEYS).chain(&etcd::KEYS) {
            assert!(CONFIGURATION.contains(&format!("{key} = ")), "{key} is not documented");
        }
    }

    #[test]
    fn topic_has_every_field_of_a_step() {
        let schema: serde_json::Value = serde_json::from_str(json::SCHEMA).unwrap();
        let (_, steps) = JSON.split_once(" steps ").unwrap();
        let (steps, _) = steps.split_once("cause ").unwrap();
        for field in schema["$defs"]["step"]["properties"].as_object().unwrap().keys() {
            assert!(steps.contains(field), "{field} is not in {steps}");
        }
    }

    #[test]
    fn help_of_each_command_fits_on_a_screen() {
        let mut whole = command();
        whole.build();
        let nested = whole.get_subcommands().flat_map(Command::get_subcommands).cloned();
        for mut command in std::iter::once(whole.clone()).chain(whole.get_subcommands().cloned()).chain(nested) {
            let help = command.render_help().to_string();
            let lines = help.lines().count();
            assert!(lines <= 24, "{lines} lines: {help}");
            assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
            assert!(command.has_subcommands() || help.contains("\nExample"), "{help}");
            // No line of the examples is broken.
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(after.trim()), "{help}");
        }
    }
}
