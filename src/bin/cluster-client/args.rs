//! The arguments. `help` has the long texts, and `settings` checks the values, together with those of other origins.

#![expect(clippy::doc_markdown, reason = "these comments are help texts, and a terminal shows no Markdown")]

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{Args, ColorChoice, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use cluster_client::{Engine, Origin, Target};

use crate::help;
use crate::node::NodeOptions;
use crate::offered;
use crate::refusal;
use crate::time::parse_option;
use crate::whole_number;

/// Creates and deletes a group on every host of a cluster, or on none.
#[derive(Debug, Parser)]
#[command(name = "cluster-client", version, arg_required_else_help = true)]
#[command(max_term_width = 80, subcommand_required = true, infer_subcommands = false)]
#[command(disable_help_flag = true, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) global: GlobalOptions,
}

/// The options of every command. Each long option has a variable, see [`help::command`](crate::help::command).
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct GlobalOptions {
    /// The hosts' base URLs, separated by commas; may be given again
    #[arg(long, global = true, value_name = "A,B")]
    pub(crate) hosts: Vec<String>,
    /// Read the hosts from FILE (`-` for standard input), one a line; # begins a comment
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) hosts_file: Option<PathBuf>,
    /// The configuration file [default: ./cluster-client.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The API of the hosts: a preset, or a mapping file (*.toml) [default: the node API]
    #[arg(long, global = true, value_name = "PRESET|FILE")]
    pub(crate) api: Option<String>,
    /// The timeout of the whole operation, such as 30s; a rollback has its own on top
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_option, allow_hyphen_values = true)]
    pub(crate) timeout: Option<Duration>,
    /// The timeout of one request, such as 500ms [default: 10s]
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_option, allow_hyphen_values = true)]
    pub(crate) request_timeout: Option<Duration>,
    /// Maximum number of tries of a request, the first included [default: 3]
    #[arg(long, global = true, value_name = "N", value_parser = whole_number::parse_option::<u32>, allow_negative_numbers = true)]
    pub(crate) attempts: Option<u32>,
    /// How many groups are in progress at once [default: 32]
    #[arg(long, global = true, value_name = "N", value_parser = whole_number::parse_option::<usize>, allow_negative_numbers = true)]
    pub(crate) in_flight: Option<usize>,
    /// The engine that sends the requests, for comparison [default: multiplexed]
    #[arg(long, global = true, value_enum, value_name = "ENGINE")]
    pub(crate) engine: Option<EngineName>,
    /// The journal: a directory, or etcd://HOST,HOST/PREFIX [default: the state directory]
    #[arg(long, global = true, value_name = "DIR|URL")]
    pub(crate) journal: Option<PathBuf>,
    /// Keep no journal: after a crash nothing can be recovered
    #[arg(long, global = true)]
    pub(crate) no_journal: bool,
    /// The PEM file of the trusted authorities of https hosts [default: Mozilla's]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// A file with the bearer token of the requests; it is read again every minute
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) bearer_token_file: Option<PathBuf>,
    /// The format of the results: a table for people, JSON or names for programs
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    pub(crate) output: Format,
    /// A line for each host, however many there are
    #[arg(long, global = true)]
    pub(crate) all: bool,
    /// No progress; results and errors only
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Log the requests and results; twice for more (RUST_LOG overrides it)
    #[arg(short, long, global = true, action = clap::ArgAction::Count, value_parser = whole_number::parse_option::<u8>)]
    pub(crate) verbose: u8,
    /// How log lines are written
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// Colours and marks: on a terminal, always, or never (NO_COLOR turns auto off)
    #[arg(long, global = true, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    pub(crate) color: ColorChoice,
    /// Print help
    #[arg(short, long, global = true, action = clap::ArgAction::HelpShort)]
    help: Option<bool>,
    /// The options whose value is that of their variable.
    #[arg(skip)]
    pub(crate) from_variables: HashSet<String>,
}

impl GlobalOptions {
    /// Returns the configuration file that was named, and where.
    pub(crate) fn config_file(&self) -> Option<(&Path, Origin)> {
        self.config.as_deref().map(|path| (path, self.origin("--config")))
    }

    /// Returns the origin of the value of an option, which has one.
    pub(crate) fn origin(&self, option: &str) -> Origin {
        if self.from_variables.contains(option) {
            return Origin::Environment(help::variable(option));
        }
        Origin::Option(option.into())
    }
}

impl Arguments {
    /// Parses the arguments of this process.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        Self::from(std::env::args_os())
    }

    pub(crate) fn from(typed: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let typed: Vec<OsString> = typed.into_iter().collect();
        let matches = offered::parse(&typed)?;
        let mut arguments = Arguments::from_arg_matches(&matches)?;
        let is_variable = |id: &&clap::Id| matches.value_source(id.as_str()) == Some(ValueSource::EnvVariable);
        let option = |id: &clap::Id| format!("--{}", id.as_str().replace('_', "-"));
        arguments.global.from_variables = matches.ids().filter(is_variable).map(option).collect();
        refusal::refuse_both(&matches, "hosts", "hosts_file")?;
        refusal::refuse_both(&matches, "journal", "no_journal")?;
        refusal::refuse_lost_hosts(&arguments, &typed)?;
        offered::refuse_unused(&matches)?;
        Ok(arguments)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns, and a line with the next command
    Table,
    /// One object per group and line
    Json,
    /// The names of the groups for which the command succeeded, one a line
    Name,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineName {
    /// One thread for all requests
    Multiplexed,
    /// One thread for each request
    Threads,
}

impl EngineName {
    pub(crate) fn word(self) -> &'static str {
        match self {
            EngineName::Multiplexed => "multiplexed",
            EngineName::Threads => "threads",
        }
    }
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people
    Text,
    /// One object per line
    Json,
}

impl From<EngineName> for Engine {
    fn from(name: EngineName) -> Engine {
        match name {
            EngineName::Multiplexed => Engine::Multiplexed,
            EngineName::Threads => Engine::Threads,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create groups on every host, verified, or on none
    #[command(after_help = "Examples:
  cluster-client create payments
  cluster-client create -f groups.txt --timeout 30s -o json
  cluster-client create payments --hosts http://node1:8000,http://node2:8000")]
    Create {
        #[command(flatten)]
        groups: Groups,
        #[command(flatten)]
        bulk: Bulk,
        /// Exit 0 if the group is on every host already
        #[arg(long)]
        exist_ok: bool,
        /// Do not ask first: faster, but leaves more in doubt
        #[arg(long)]
        no_preflight: bool,
    },
    /// Delete groups from every host
    #[command(after_help = "Examples:
  cluster-client delete payments             shows groups and hosts and asks
  cluster-client delete -f groups.txt --yes")]
    Delete {
        #[command(flatten)]
        groups: Groups,
        #[command(flatten)]
        bulk: Bulk,
        /// Do not ask; needed without a terminal
        #[arg(short, long)]
        yes: bool,
    },
    /// Ask every host whether it has the groups; changes nothing
    #[command(after_help = "Examples:
  cluster-client status payments
  cluster-client status -f groups.txt        a matrix of groups and hosts
  cluster-client status payments --watch --interval 10s

Exits 0 when the group is on every host, 1 on none, 3 if mixed, 4 if unknown.")]
    Status {
        #[command(flatten)]
        groups: Groups,
        /// Ask again and again until Ctrl-C, showing changes
        #[arg(long)]
        watch: bool,
        /// The time between two rounds of --watch
        #[arg(long, value_name = "TIME", value_parser = parse_option, default_value = "2s")]
        interval: Duration,
    },
    /// Drive every host to the state that you name, if hosts disagree
    #[command(after_help = "Examples:
  cluster-client repair payments --to present      create it where it is missing
  cluster-client repair payments --to absent       delete it where it is left")]
    Repair {
        #[command(flatten)]
        groups: Groups,
        #[command(flatten)]
        bulk: Bulk,
        /// The wanted state of every host
        #[arg(long, value_name = "STATE")]
        to: Wanted,
    },
    /// Certify the API of the hosts with one throw-away thing
    #[command(after_help = "Creates it, creates it again, deletes it, deletes it again, and asks each time.
If a host has it before, nothing is created. It is deleted at the end, even if
Ctrl-C is pressed. The lines of a mapping that are wrong are named.

Examples:
  cluster-client probe --api ./mapping.toml     asks on a terminal
  cluster-client probe probe-1 --api couchdb --yes -o json")]
    Probe {
        /// The id of the thing [default: a random one]
        id: Option<String>,
        /// Do not ask; needed without a terminal
        #[arg(short, long)]
        yes: bool,
    },
    /// Settle interrupted operations: roll creates back, finish deletes
    #[command(after_help = "It may be killed and repeated. Operations that still run are not changed.
Exits 0 when nothing is left to settle. The journal names the hosts; name them
too if they need credentials. For one that never comes back: journal forget

Examples:
  cluster-client recover --dry-run      what it would do, and on which host
  cluster-client recover")]
    Recover {
        /// Ask the hosts of the journal, and say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Show unfinished operations; forget a host that never comes back
    Journal {
        #[command(subcommand)]
        action: JournalAction,
    },
    /// Show the hosts and every setting with its origin; sends nothing
    #[command(after_help = "Examples:
  cluster-client hosts
  cluster-client hosts --config ./staging.toml -o json")]
    Hosts,
    /// Run a node of the API in the foreground, for tests and trials
    #[command(after_help = "Examples:
  cluster-client node                            on 127.0.0.1:8000
  cluster-client node 127.0.0.1:8001 --data node1.groups
  cluster-client node 127.0.0.1:0 --error-rate 0.2 --seed 7
  cluster-client node --error-rate 1 --only create     to see a rollback")]
    Node(Box<NodeOptions>),
    /// Show a create, a rollback, a crash and more on nodes of its own
    #[command(after_help = "Example:
  cluster-client demo")]
    Demo,
    /// Print a completion script
    #[command(after_help = "Example:
  cd ~/.local/share/bash-completion/completions
  cluster-client completions bash > cluster-client")]
    Completions { shell: clap_complete::Shell },
    /// Print the manual page, or that of one command
    #[command(after_help = "Examples:
  cluster-client man > cluster-client.1
  cluster-client man create | man -l -")]
    Man { command: Vec<String> },
    /// Explain a command or a topic: json, exit-codes, configuration
    #[command(after_help = "Examples:
  cluster-client help create
  cluster-client help journal forget
  cluster-client help configuration")]
    Help {
        #[arg(value_name = "COMMAND|TOPIC")]
        about: Vec<String>,
    },
}

impl Command {
    /// Returns the word of the operation in JSON.
    pub(crate) fn operation(&self) -> Option<&'static str> {
        match self {
            Command::Create { .. } => Some("create"),
            Command::Delete { .. } => Some("delete"),
            Command::Status { .. } => Some("status"),
            Command::Repair { .. } => Some("repair"),
            Command::Recover { .. } => Some("recover"),
            Command::Journal { action: JournalAction::Forget { .. } } => Some("forget"),
            _ => None,
        }
    }

    /// Returns whether its output is all there is: it changes nothing and asks no host.
    pub(crate) fn only_prints(&self) -> bool {
        match self {
            Command::Journal { action } => !matches!(action, JournalAction::Forget { .. }),
            Command::Hosts | Command::Completions { .. } | Command::Help { .. } | Command::Man { .. } => true,
            _ => false,
        }
    }
}

/// The commands on the journal. They send nothing and need no hosts.
#[derive(Debug, Subcommand)]
pub(crate) enum JournalAction {
    /// List the unfinished operations, and whether they run
    #[command(after_help = "Examples:
  cluster-client journal list
  cluster-client journal list -o json | jq -r .group

Exits 0 when every entry can be read, 4 when one cannot.

-o json prints an object on a line for each entry (group, purpose, recovery,
api, hosts, writer, started, running, holder), and for each file that cannot
be read (file, message).")]
    List,
    /// Show the whole entry of one group
    #[command(after_help = "Example:
  cluster-client journal show payments

Exits 0 when the group has an entry, 1 when it has none, 4 when one cannot be
read.")]
    Show {
        /// The id of the group
        group: String,
    },
    /// Drop a host that never comes back; its state stays unknown
    #[command(after_help = "Examples:
  cluster-client journal forget http://node3:8000            in every operation
  cluster-client journal forget http://node3:8000 payments --yes

Exits 0 when it is done, 1 when an operation runs or the journal fails, 2 when
no operation names the host, 4 when an entry cannot be read. -o json prints an
object on a line for each group: group, operation, outcome (forgotten | busy |
journal_failed | refused), exit, purpose, host, remaining, cause.")]
    Forget {
        /// Its base URL, as in the entry
        host: String,
        /// Only in the operation on this group
        group: Option<String>,
        /// Do not ask; needed without a terminal
        #[arg(short, long)]
        yes: bool,
    },
}

/// Options of the commands that change groups.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Bulk {
    /// Ask every host, and say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Begin no further group once N have failed
    #[arg(long, value_name = "N", value_parser = whole_number::parse_positive, allow_negative_numbers = true)]
    pub(crate) max_failures: Option<u32>,
}

/// The groups of a command.
#[derive(Debug, Args)]
pub(crate) struct Groups {
    /// The ids of the groups
    #[arg(value_name = "GROUP", conflicts_with = "file")]
    pub(crate) ids: Vec<String>,
    /// Read the ids from FILE, one a line (- for stdin)
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Wanted {
    /// On every host
    Present,
    /// On no host
    Absent,
}

impl From<Wanted> for Target {
    fn from(wanted: Wanted) -> Target {
        match wanted {
            Wanted::Present => Target::Present,
            Wanted::Absent => Target::Absent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argument_definition_passes_the_checks_of_clap() {
        help::command().debug_assert();
    }
}
