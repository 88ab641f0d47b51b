//! The arguments and help texts. `settings` checks the values, together with those of other origins.

#![expect(clippy::doc_markdown, reason = "these comments are help texts, and a terminal shows no Markdown")]

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ColorChoice, Parser, Subcommand, ValueEnum};
use cluster_client::{Engine, Target};

use crate::node::NodeOptions;
use crate::time::parse_option;

const EXAMPLES: &str = "\
Examples:
  export HOSTS=http://node1:8000,http://node2:8000,http://node3:8000
  cluster-client create payments             on every host, or on none
  cluster-client status payments             which hosts have it?
  cluster-client delete payments --yes       from every host
  cluster-client create -f groups.txt        many, one name a line
  cluster-client recover                     settle operations that a crash interrupted

To see it work without a cluster: cluster-client demo";

const EXIT_CODES: &str = "\
Exit codes:
    0  the requested state is verified on every host
    1  failed, and the cluster is unchanged (refused, or rolled back)
    2  usage or configuration error; nothing was sent
    3  inconsistent: the named hosts have, or keep, the group
    4  in doubt: the state of some host is unknown
    5  the group was already there; nothing was changed
  130  interrupted; `recover` settles what the journal still holds
status exits 0 when the group is on every host, 1 when on none, 3 when mixed, 4 when a host is unknown.
With several groups, the exit code is the first of 3, 4, 1, 5, 0 that applies.

Signals:
  SIGINT (Ctrl-C), SIGTERM and SIGHUP cancel: a create rolls back. Only a second SIGINT exits at
  once, and prints what the journal holds. Signals ignored at the start stay ignored (nohup).

Hosts and settings:
  Hosts: --hosts, then the variables CLUSTER_CLIENT_HOSTS and HOSTS, then the file. Without any,
  status and hosts use http://localhost:8000 to 8002, and create, delete and repair fail.
  recover needs no hosts, because the journal names them.
  Other settings: the option, then the file, then the default; see `cluster-client hosts`.
  The configuration file is ./cluster-client.toml, or --config. All keys, with their defaults:

    hosts = [\"http://node1:8000\", \"http://node2:8000\"]
    # timeout = \"30s\"         # of the whole operation; by default, attempts and delays bound it
    request_timeout = \"10s\"   # of one request
    attempts = 3              # tries of one request
    first_delay = \"1s\"        # before the second try; it doubles with each try
    max_delay = \"10s\"         # at most, even if a server asks for more
    settle = \"10s\"            # wait for late requests and stale reads; at least request_timeout
    rollback_timeout = \"2m\"   # of a rollback, in addition to timeout; at least 4 times settle
    # journal = \"/var/lib/cluster-client\"   # or false
    # api = \"jupyterhub\"      # a preset, a file such as \"./mapping.toml\", or a table [api]
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
    ## instead of the token: basic_user = \"admin\" with basic_password_file = \"password\"
    ## or basic_password_env = \"VARIABLE\"
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
    [paths]                   # of the node API, instead of api
    collection = \"/v1/group/\"
    member = \"/v1/group/{id}/\"";

/// Creates and deletes a group on every host of a cluster, or on none.
#[derive(Debug, Parser)]
#[command(name = "cluster-client", version, arg_required_else_help = true, after_help = EXAMPLES)]
#[command(after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
#[command(max_term_width = 100, subcommand_required = true, infer_subcommands = false)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) global: GlobalOptions,
}

/// The options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct GlobalOptions {
    /// The hosts' base URLs, separated by commas [default: CLUSTER_CLIENT_HOSTS, HOSTS, then the configuration file]
    #[arg(long, global = true, value_name = "A,B")]
    pub(crate) hosts: Option<String>,
    /// The configuration file [default: ./cluster-client.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The API of the hosts: a preset, or a mapping file [default: CLUSTER_CLIENT_API, then the file, then the node API]
    ///
    /// A file has a slash in its name, or ends in .toml.
    #[arg(long, global = true, value_name = "PRESET|FILE")]
    pub(crate) api: Option<String>,
    /// The timeout of the whole operation, such as 30s; a rollback has its own on top
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_option, allow_hyphen_values = true)]
    pub(crate) timeout: Option<Duration>,
    /// The timeout of one request, such as 500ms [default: 10s]
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_option, allow_hyphen_values = true)]
    pub(crate) request_timeout: Option<Duration>,
    /// Maximum number of tries of a request, the first included [default: 3]
    #[arg(long, global = true, value_name = "N", allow_negative_numbers = true)]
    pub(crate) attempts: Option<u32>,
    /// The engine that sends the requests [default: CLUSTER_CLIENT_ENGINE, then multiplexed]
    ///
    /// For comparison and diagnosis.
    #[arg(long, global = true, value_enum, value_name = "ENGINE")]
    pub(crate) engine: Option<EngineName>,
    /// The directory of unfinished operations [default: CLUSTER_CLIENT_JOURNAL, then the state directory]
    ///
    /// `cluster-client recover` settles from there what a crash interrupted. The state directory is
    /// $XDG_STATE_HOME/cluster-client, or ~/.local/state/cluster-client.
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "no_journal")]
    pub(crate) journal: Option<PathBuf>,
    /// Keep no journal: after a crash nothing can be recovered
    #[arg(long, global = true)]
    pub(crate) no_journal: bool,
    /// The PEM file of the authorities that https hosts must have [default: CLUSTER_CLIENT_CA_FILE, then the file]
    ///
    /// Without any, those of Mozilla are trusted, which are built in.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// A file with the bearer token of the requests [default: CLUSTER_CLIENT_BEARER_TOKEN_FILE, then the file]
    ///
    /// It replaces bearer token, user and password of [credentials], and is read again every minute. Hosts with
    /// credentials of their own keep them.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) bearer_token_file: Option<PathBuf>,
    /// The format of the results
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    #[arg(long_help = OUTPUT)]
    pub(crate) output: Format,
    /// No progress; results and errors only
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Log the requests and results; twice for more (RUST_LOG overrides it)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// How log lines are written
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// Colours and marks: on a terminal, always, or never (NO_COLOR turns auto off)
    #[arg(long, global = true, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    pub(crate) color: ColorChoice,
}

const OUTPUT: &str = "\
The format of the results: a table for people, JSON or names for programs.

`name` prints the groups for which the command succeeded, one a line. For status that means: on every host.
`json` prints one object on one line for each group, as its operation ends. `cluster-client help json-schema`
prints its JSON Schema.
  schema      the version of these fields: 1
  kind        result; others for the journal, hosts and node
  id          of the operation, as in log lines
  group       its id; null for a refused value
  operation   create | delete | status | repair | recover
  outcome     created | already_exists | unavailable | rolled_back | cancelled | timed_out |
              incomplete | in_doubt | unrecorded | deleted | repaired | observed | recovered |
              busy | conflict | journal_failed | refused
  exit        the exit code of this group alone
  target      of a repair: present | absent
  counts      {hosts, present, absent, unknown}
  hosts       [{host, state: present|absent|unknown, reason, steps}], each host of the operation
     steps    [{action: create|check|delete, succeeded, attempts, status, error, elapsed_ms}], in order
     error    {kind: resolve|connect|tls|timeout|closed|garbage|exhausted|given_up|internal, message}
  cause       {kind, message, hosts, reason} of a rollback or a failure, or null
  earlier     the result of an unfinished operation on the group that was settled first, or null
  recoverable whether the journal still holds it, so that `recover` will settle it
  warnings    [text], one for each problem that needs a person
  elapsed_ms  from the call to its end
  next        [[argument]], commands to choose from; each begins with cluster-client
Fields may be added, but are never removed.";

const PROBE: &str = "\
Asks every host for the thing, creates it, asks, creates it again, asks, deletes it, asks, and deletes
it again. If a host has it before, nothing is created. The thing is deleted at the end, also after Ctrl-C.
Name an id that nobody else uses meanwhile.

Examples:
  cluster-client probe --api ./mapping.toml          asks on a terminal
  cluster-client probe probe-1 --api couchdb --yes -o json

Exits 0 when the API is certified, 1 when it is not and nothing is left, 2 when it was refused, 4 when
the thing may be left on a host, 130 when it was interrupted and nothing is left.

-o json prints one object on one line:
  schema      1
  api         {name, digest}
  id          of the thing
  stages      [{stage, hosts}]: absent_before, create, present, create_again, present_still, delete,
              absent_after, delete_again
     hosts    [{host, request, request_body, status, body, meaning, tries, elapsed_ms, error, problem}]
     meaning  created | exists | present | absent | deleted | wait | retry | unlisted | not_json | cut |
              two_meanings | contradiction | no_answer
  verdict     certified | not_certified | left
  problems    [{stage, hosts, problem}]
  note        what the API cannot promise although it is certified, or null
  interrupted why the probe ended early, or null
  left        [host], where the thing may be left
  cleanup     the result of the delete at the end, if one was needed, or null
  recoverable whether the journal still holds it, so that `recover` will remove it
  exit, elapsed_ms, next";

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
    /// Create groups on every host and verify them there, or leave them on none
    #[command(after_help = "Examples:
  cluster-client create payments
  cluster-client create -f groups.txt --timeout 30s -o json
  cluster-client create payments --hosts http://node1:8000,http://node2:8000")]
    Create {
        #[command(flatten)]
        groups: Groups,
        /// Do not ask the hosts first: one round trip less, but more hosts stay in doubt if it fails
        #[arg(long)]
        no_preflight: bool,
    },
    /// Delete groups from every host
    #[command(after_help = "Examples:
  cluster-client delete payments             shows groups and hosts and asks, on a terminal
  cluster-client delete -f groups.txt --yes")]
    Delete {
        #[command(flatten)]
        groups: Groups,
        /// Do not ask; needed without a terminal
        #[arg(short, long)]
        yes: bool,
    },
    /// Ask every host whether it has the groups; changes nothing
    #[command(after_help = "Exits 0 when the group is on every host, 1 when on none, 3 when mixed, 4 when unknown.

Examples:
  cluster-client status payments
  cluster-client status payments -o json")]
    Status {
        #[command(flatten)]
        groups: Groups,
    },
    /// Drive every host to the state that you name, if hosts disagree
    #[command(after_help = "Examples:
  cluster-client repair payments --to present      create it where it is missing
  cluster-client repair payments --to absent       delete it where it is left")]
    Repair {
        #[command(flatten)]
        groups: Groups,
        /// The wanted state of every host
        #[arg(long, value_name = "STATE")]
        to: Wanted,
    },
    /// Certify the API of the hosts with one throw-away thing, and name the lines of a mapping that are wrong
    #[command(after_help = PROBE)]
    Probe {
        /// The id of the thing [default: a random one]
        id: Option<String>,
        /// Do not ask; needed without a terminal
        #[arg(short, long)]
        yes: bool,
    },
    /// Settle crashed or interrupted operations: roll creates back, finish deletes
    #[command(after_help = "It may be killed and repeated. Operations that still run are not changed.
Exits 0 when nothing is left to settle.")]
    Recover,
    /// Look at unfinished operations, and forget a host that never comes back
    Journal {
        #[command(subcommand)]
        action: JournalAction,
    },
    /// Show the hosts and every setting, each with its origin; sends nothing
    Hosts,
    /// Run a node of the API in the foreground, for tests and trials
    #[command(after_help = "Examples:
  cluster-client node                                   on 127.0.0.1:8000
  cluster-client node 127.0.0.1:8001 --data node1.groups     its groups survive a restart
  cluster-client node 127.0.0.1:0 --error-rate 0.2 --seed 7  any free port, every fifth request fails")]
    Node(Box<NodeOptions>),
    /// Show a create, a rollback, a lost answer, a crash and a recovery on nodes of its own
    Demo,
    /// Print a completion script
    #[command(after_help = "Example:
  cluster-client completions bash > ~/.local/share/bash-completion/completions/cluster-client")]
    Completions { shell: clap_complete::Shell },
    /// Print the manual page of cluster-client, or of one command
    #[command(after_help = "Examples:
  cluster-client man > cluster-client.1
  cluster-client man create | man -l -")]
    Man { command: Option<String> },
}

impl Command {
    /// Returns the word of the operation in JSON.
    pub(crate) fn operation(&self) -> Option<&'static str> {
        match self {
            Command::Create { .. } => Some("create"),
            Command::Delete { .. } => Some("delete"),
            Command::Status { .. } => Some("status"),
            Command::Repair { .. } => Some("repair"),
            Command::Recover => Some("recover"),
            Command::Journal { action: JournalAction::Forget { .. } } => Some("forget"),
            _ => None,
        }
    }
}

/// The commands on the journal. They send nothing and need no hosts.
#[derive(Debug, Subcommand)]
pub(crate) enum JournalAction {
    /// List the unfinished operations: group, operation, hosts, writer, start, and whether it runs
    #[command(after_help = "Exits 0 when every entry can be read, 4 when one cannot.

-o json prints an object on a line for each entry: group, for, recovery, api, hosts, writer, started,
running, holder; and for each file that cannot be read: file, cause. The other fields of an object are null.")]
    List,
    /// Show the whole entry of one group
    #[command(after_help = "Exits 0 when the group has an entry, 1 when it has none, 4 when one cannot be read.")]
    Show { group: String },
    /// Drop a host that never comes back from unfinished operations; its state stays unknown
    #[command(after_help = "Examples:
  cluster-client journal forget http://node3:8000               in every unfinished operation
  cluster-client journal forget http://node3:8000 payments --yes

Exits 0 when it is done, 1 when an operation runs or the journal fails, 2 when no operation names the host,
4 when an entry cannot be read. -o json prints an object on a line for each group: group, operation, outcome
(forgotten | busy | journal_failed | refused), exit, for, host, remaining, cause.")]
    Forget {
        host: String,
        /// Only in the operation on this group
        group: Option<String>,
        /// Do not ask; needed without a terminal
        #[arg(short, long)]
        yes: bool,
    },
}

/// The groups of a command.
#[derive(Debug, Args)]
pub(crate) struct Groups {
    /// The ids of the groups
    #[arg(value_name = "GROUP", conflicts_with = "file")]
    pub(crate) ids: Vec<String>,
    /// Read the ids from FILE (`-` for standard input), one a line; blank lines and # comments are skipped
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
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn argument_definition_passes_the_checks_of_clap() {
        Arguments::command().debug_assert();
    }
}
