//! The next commands to type, as argument lists. Only [`shell_word`] turns them into text for a shell.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cluster_client::{GroupId, Host, HostReport, JournalEntry, Operation, Origin, Target};
use serde_json::{Value, json};

use crate::api_setting;
use crate::args::{GlobalOptions, Groups};
use crate::groups;
use crate::host_list;
use crate::mapping;
use crate::quoting::shell_word;
use crate::settings::{Journal, Settings, Sourced};
use crate::time;

const NAME: &str = "cluster-client";
/// Maximum number of hosts that advice lists with `--hosts`.
const MOST_HOSTS: usize = 4;

/// The longest timeout of an operation that the library accepts.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// Maximum number of groups that a command lists if a file has them, and without one.
const MOST_GROUPS_OF_A_FILE: usize = 4;
const MOST_GROUPS: usize = 50;

/// One complete command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CommandLine {
    /// The program, the subcommand and its options.
    words: Vec<OsString>,
    ids: Vec<OsString>,
    /// Whether the command of this run is repeated, so that its list of groups may be given again.
    repeats: bool,
}

/// Commands of which a person chooses one. Empty if there is nothing to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Next(Vec<CommandLine>);

/// Builds commands that work in any directory. They carry the hosts, the configuration file, the journal and the limits
/// of this command.
#[derive(Debug, Clone, Default)]
pub(crate) struct Advice {
    /// The option that names the hosts, with its value. Empty if their file or variable counts without it.
    hosts: Vec<OsString>,
    /// Limits of the commands that change groups.
    bulk: Vec<OsString>,
    /// `--config`, the journal and the limits, which every command takes.
    common: Vec<OsString>,
    /// `--config` and the journal, for the commands on the journal alone.
    store: Vec<OsString>,
    /// Options of this create or delete, for its repetition.
    create: Vec<OsString>,
    delete: Vec<OsString>,
    /// A recovery needs the hosts too, because only the hosts of a client get credentials.
    has_credentials: bool,
    /// The timeout of the operation, of any origin.
    timeout: Option<Duration>,
    /// The word for a group in output. Empty for commands that need no hosts.
    noun: String,
    /// The unfinished operations in the journal. Filled for a status and a dry run only.
    pub(crate) unfinished: HashMap<GroupId, JournalEntry>,
}

impl Advice {
    pub(crate) fn new(global: &GlobalOptions, settings: &Settings) -> Self {
        let hosts = host_options(global, settings);
        let mut advice = Self::without_hosts(global, settings.config.as_deref(), &settings.journal);
        if let Some(file) = &settings.tls.ca_file {
            advice.common.extend(["--ca-file".into(), absolute(file)]);
        }
        if let Some(file) = &settings.credentials.token_file {
            advice.common.extend(["--bearer-token-file".into(), absolute(file)]);
        }
        let has_credentials = settings.credentials.are_there();
        Advice { hosts, has_credentials, timeout: settings.timeout.value, noun: settings.noun().into(), ..advice }
    }

    /// For commands that need no hosts, because the journal has them.
    pub(crate) fn without_hosts(global: &GlobalOptions, config: Option<&Path>, journal: &Sourced<Journal>) -> Self {
        let file: Vec<OsString> = config.into_iter().flat_map(|file| ["--config".into(), absolute(file)]).collect();
        let mut common = file.clone();
        let mut add = |option: &str, value: OsString| common.extend([option.into(), value]);
        if let Some(api) = global.api.clone().or_else(|| std::env::var(api_setting::VARIABLE).ok()) {
            add("--api", mapping::path_of(&api).map_or(api.as_str().into(), absolute));
        }
        if let Some(time) = global.timeout {
            add("--timeout", time::show(time).into());
        }
        if let Some(time) = global.request_timeout {
            add("--request-timeout", time::show(time).into());
        }
        if let Some(attempts) = global.attempts {
            add("--attempts", attempts.to_string().into());
        }
        if let Some(groups) = global.in_flight {
            add("--in-flight", groups.to_string().into());
        }
        if let Some(engine) = global.engine {
            add("--engine", engine.word().into());
        }
        let journal = journal_options(journal);
        common.extend(journal.iter().cloned());
        Advice { common, store: [file, journal].concat(), ..Advice::default() }
    }

    /// The word for a group in output.
    pub(crate) fn noun(&self) -> &str {
        if self.noun.is_empty() { "group" } else { &self.noun }
    }

    /// Doubles the timeout if it was over after this time.
    pub(crate) fn after(&self, elapsed: Duration) -> Self {
        if self.timeout.is_some_and(|timeout| timeout <= elapsed) { self.with_more_time() } else { self.clone() }
    }

    /// Doubles the timeout, for an operation that has timed out.
    pub(crate) fn with_more_time(&self) -> Self {
        let mut advice = self.clone();
        let Some(longer) = self.timeout.map(|time| time.saturating_mul(2).min(LONGEST_TIMEOUT)) else { return advice };
        let value: OsString = time::show(longer).into();
        match advice.common.iter().position(|word| word == "--timeout") {
            Some(at) => advice.common[at + 1] = value,
            None => advice.common.extend(["--timeout".into(), value]),
        }
        advice
    }

    /// Repeats a create without its preflight.
    pub(crate) fn without_preflight(mut self) -> Self {
        self.create.push("--no-preflight".into());
        self
    }

    /// Repeats the limit of failures.
    pub(crate) fn with_max_failures(mut self, groups: Option<u32>) -> Self {
        if let Some(groups) = groups {
            self.bulk.extend(["--max-failures".into(), groups.to_string().into()]);
        }
        self
    }

    /// Repeats a create that is content with a group that is there already.
    pub(crate) fn with_exist_ok(mut self) -> Self {
        self.create.push("--exist-ok".into());
        self
    }

    /// Repeats a delete without its question.
    pub(crate) fn without_question(mut self) -> Self {
        self.delete.push("--yes".into());
        self
    }

    /// Repeats the operation on one group.
    pub(crate) fn again(&self, operation: Operation, group: &GroupId) -> Next {
        match operation {
            Operation::Delete => self.on("delete", &self.delete, group),
            Operation::Status => self.on("status", &[], group),
            Operation::Repair(target) => self.repair(group, target),
            Operation::Recover => self.recover(),
            _ => self.on("create", &self.create, group),
        }
        .repeated()
    }

    pub(crate) fn repair(&self, group: &GroupId, target: Target) -> Next {
        let state = if target == Target::Present { "present" } else { "absent" };
        self.on("repair", &["--to".into(), state.into()], group)
    }

    pub(crate) fn status(&self, group: &GroupId) -> Next {
        self.on("status", &[], group)
    }

    /// Returns both repairs, because a person has to choose the state.
    pub(crate) fn repair_either_way(&self, group: &GroupId) -> Next {
        self.repair(group, Target::Present).or(self.repair(group, Target::Absent))
    }

    /// Returns a repair of these hosts.
    pub(crate) fn repair_on(&self, hosts: &[HostReport], group: &GroupId, target: Target) -> Next {
        let hosts = hosts.iter().map(|host| host.host.as_str()).collect::<Vec<_>>().join(",");
        let hosts = vec!["--hosts".into(), hosts.into()];
        Advice { hosts, ..self.clone() }.repair(group, target)
    }

    /// Returns a recovery, without hosts, because the journal has them, unless they get credentials.
    pub(crate) fn recover(&self) -> Next {
        if self.has_credentials {
            return Next::of(Self::command("recover").chain(self.options()), []);
        }
        Next::of(Self::command("recover").chain(self.common.iter().cloned()), [])
    }

    /// Returns a recovery, or as alternatives to forget the first of these hosts, which may never come back.
    pub(crate) fn recover_or_forget(&self, hosts: &[&Host]) -> Next {
        hosts.iter().take(MOST_HOSTS).fold(self.recover(), |next, host| next.or(self.forget(host)))
    }

    fn forget(&self, host: &Host) -> Next {
        let words = [NAME, "journal", "forget"].map(OsString::from).into_iter().chain(self.store.iter().cloned());
        Next::of(words.chain([host.as_str().into()]), [])
    }

    /// Returns the status of all groups of a command, or nothing if they came from standard input.
    pub(crate) fn status_of_all(&self, named: &Groups) -> Next {
        let words = Self::command("status").chain(self.options());
        match &named.file {
            Some(file) if groups::is_stdin(file) => Next::default(),
            Some(file) => Next::of(words.chain(["-f".into(), absolute(file)]), []),
            None => Next::of(words, named.ids.iter().map(OsString::from)),
        }
    }

    fn on(&self, command: &str, own: &[OsString], group: &GroupId) -> Next {
        let bulk = if command == "status" { &[][..] } else { &self.bulk };
        let words = Self::command(command).chain(own.iter().chain(bulk).cloned()).chain(self.options());
        Next::of(words, [group.as_str().into()])
    }

    fn command(name: &str) -> impl Iterator<Item = OsString> {
        [NAME.into(), name.into()].into_iter()
    }

    fn options(&self) -> impl Iterator<Item = OsString> {
        self.hosts.iter().chain(&self.common).cloned().collect::<Vec<_>>().into_iter()
    }
}

impl Next {
    fn of(words: impl Iterator<Item = OsString>, ids: impl IntoIterator<Item = OsString>) -> Self {
        Next(vec![CommandLine { words: words.collect(), ids: ids.into_iter().collect(), repeats: false }])
    }

    /// Adds an alternative.
    fn or(mut self, other: Next) -> Self {
        self.0.extend(other.0);
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether it repeats the command of this run.
    pub(crate) fn is_repetition(&self) -> bool {
        self.0.iter().any(|command| command.repeats)
    }

    /// Returns whether both are for their groups alike, or begin with the same command that is for no group.
    fn is_like(&self, other: &Next) -> bool {
        let for_no_group = self.0.first().is_some_and(|command| command.ids.is_empty());
        let compared = if for_no_group { 1 } else { usize::MAX };
        let mut pairs = self.0.iter().zip(&other.0).take(compared);
        (for_no_group || self.0.len() == other.0.len()) && pairs.all(|(one, other)| one.words == other.words)
    }

    /// Adds the groups of the same commands, and up to a few alternatives.
    fn merge(&mut self, other: &Next) {
        for command in &other.0 {
            if let Some(known) = self.0.iter_mut().find(|known| known.words == command.words) {
                known.ids.extend(command.ids.iter().cloned());
            } else if self.0.len() <= MOST_HOSTS {
                self.0.push(command.clone());
            }
        }
    }

    fn repeated(mut self) -> Self {
        self.0.iter_mut().for_each(|command| command.repeats = true);
        self
    }

    /// Returns a line for each command: `Next: ...`, then `  or: ...`.
    pub(crate) fn lines(&self) -> String {
        let mut text = String::new();
        for (number, command) in self.0.iter().enumerate() {
            let label = if number == 0 { "Next" } else { "  or" };
            let _ = writeln!(text, "{label}: {}", command.for_a_shell());
        }
        text
    }

    /// Returns argument lists. A command with a path that is not UTF-8 is left out, because JSON cannot represent it. A
    /// changed path would name another file.
    pub(crate) fn json(&self) -> Value {
        let texts = |command: &CommandLine| {
            command.all_words().iter().map(|word| word.to_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        };
        json!(self.0.iter().filter_map(texts).collect::<Vec<_>>())
    }
}

/// The next commands after many groups: one for each kind of failure, with all its groups.
#[derive(Debug, Default)]
pub(crate) struct NextOfMany {
    kinds: Vec<Next>,
}

impl NextOfMany {
    pub(crate) fn add(&mut self, next: &Next) {
        match self.kinds.iter_mut().find(|kind| kind.is_like(next)) {
            Some(kind) => kind.merge(next),
            None if next.0.is_empty() => {}
            None => self.kinds.push(next.clone()),
        }
    }

    /// Returns the lines of all kinds, recoveries first. `file` is the list of the groups, if there is one. `noun` is the
    /// word for a group.
    pub(crate) fn lines(mut self, file: Option<&Path>, noun: &str) -> String {
        self.kinds.sort_by_key(|kind| kind.0.iter().any(|command| !command.ids.is_empty()));
        let mut text = String::new();
        for mut kind in self.kinds {
            let groups = kind.0.iter().map(|command| command.ids.len()).max().unwrap_or(0);
            let most = kind.0.iter_mut().map(|command| command.shorten(file)).min().unwrap_or(0);
            if groups > most {
                let _ = writeln!(text, "The next command is for {most} of {groups} {noun}s; repeat it for the others.");
            }
            text.push_str(&kind.lines());
        }
        text
    }
}

impl CommandLine {
    /// Bounds the number of groups, and returns for how many the command is. The whole file is named if that is the
    /// same: the other groups of it are in the wanted state already.
    fn shorten(&mut self, file: Option<&Path>) -> usize {
        let groups = self.ids.len();
        if let (Some(file), true) = (file, self.repeats && groups > MOST_GROUPS_OF_A_FILE) {
            let exist_ok = OsString::from("--exist-ok");
            if self.words.get(1).is_some_and(|command| command == "create") && !self.words.contains(&exist_ok) {
                self.words.insert(2, exist_ok);
            }
            self.words.extend(["-f".into(), absolute(file)]);
            self.ids.clear();
            return groups;
        }
        self.ids.truncate(MOST_GROUPS);
        self.ids.len()
    }

    /// Returns all words. The ids are the last arguments, after `--` if one begins with a dash.
    fn all_words(&self) -> Vec<OsString> {
        let dashed = self.ids.iter().any(|id| id.as_encoded_bytes().starts_with(b"-"));
        let marker = dashed.then(|| OsString::from("--"));
        self.words.iter().cloned().chain(marker).chain(self.ids.iter().cloned()).collect()
    }

    fn for_a_shell(&self) -> String {
        self.all_words().iter().map(|word| shell_word(word)).collect::<Vec<_>>().join(" ")
    }
}

/// Returns up to four hosts as `--hosts`. Others are named by their file or variable, unless they were typed, or read
/// from standard input.
fn host_options(global: &GlobalOptions, settings: &Settings) -> Vec<OsString> {
    let Sourced { value: hosts, origin } = &settings.hosts;
    let of_file = global.hosts_file.as_deref().filter(|_| *origin == global.origin(host_list::OPTION));
    let file = of_file.filter(|path| !groups::is_stdin(path));
    let few = hosts.len() <= MOST_HOSTS || of_file.is_some() || matches!(origin, Origin::Option(_));
    // A comma in a host's path would end the host in `--hosts`.
    let separable = hosts.iter().all(|host| !host.as_str().contains(','));
    match file {
        Some(file) if hosts.len() > MOST_HOSTS || !separable => vec![host_list::OPTION.into(), absolute(file)],
        _ if few && separable => {
            let list = hosts.iter().map(Host::as_str).collect::<Vec<_>>().join(",");
            vec!["--hosts".into(), list.into()]
        }
        _ => Vec::new(),
    }
}

/// Returns the option of the journal. That of a file comes with `--config`, and the default one does not depend on the
/// directory.
fn journal_options(journal: &Sourced<Journal>) -> Vec<OsString> {
    match (&journal.value, &journal.origin) {
        (_, Origin::File(_) | Origin::Default) | (Journal::NoPlace, _) => Vec::new(),
        (Journal::Directory(directory), _) => vec!["--journal".into(), absolute(directory)],
        (Journal::Etcd(etcd), _) => vec!["--journal".into(), (&etcd.url).into()],
        (Journal::Off, _) => vec!["--no-journal".into()],
    }
}

/// Returns the absolute path. If the current directory does not exist, returns the path unchanged.
fn absolute(path: &Path) -> OsString {
    std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path)).into()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn each_alternative_has_its_own_line() {
        let advice = Advice { hosts: ["--hosts", "http://a,http://b"].map(OsString::from).into(), ..Advice::default() };
        let next = advice.repair_either_way(&GroupId::parse("-it's").unwrap());
        assert_eq!(
            next.lines(),
            "Next: cluster-client repair --to present --hosts http://a,http://b -- '-it'\\''s'\n  \
             or: cluster-client repair --to absent --hosts http://a,http://b -- '-it'\\''s'\n"
        );
        assert_eq!(next.json()[1][2], "--to");
        assert_eq!(next.json()[1][7], "-it's");
    }

    #[test]
    fn recoveries_of_many_groups_are_one_with_the_hosts_to_forget_of_each() {
        let hosts = [1, 2, 3, 4, 5].map(|number| Host::parse(format!("http://n{number}")).unwrap());
        let advice = Advice::default();
        let mut many = NextOfMany::default();
        many.add(&advice.recover_or_forget(&[]));
        many.add(&advice.recover_or_forget(&[&hosts[1]]));
        many.add(&advice.again(Operation::Status, &GroupId::parse("g").unwrap()));
        many.add(&advice.recover_or_forget(&[&hosts[0], &hosts[1]]));
        let next = "Next: cluster-client recover\n  or: cluster-client journal forget http://n2\n  \
                    or: cluster-client journal forget http://n1\nNext: cluster-client status g\n";
        assert_eq!(many.lines(None, "group"), next);
        let all: Vec<&Host> = hosts.iter().collect();
        assert_eq!(advice.recover_or_forget(&all).lines().lines().count(), 1 + MOST_HOSTS);
    }

    #[test]
    fn timeout_is_doubled_if_it_was_over_and_never_too_long() {
        const HOUR: Duration = Duration::from_secs(3600);
        let group = GroupId::parse("g").unwrap();
        let next = |timeout, elapsed| {
            let advice = Advice { timeout: Some(timeout), ..Advice::default() };
            advice.after(elapsed).again(Operation::Status, &group).lines()
        };
        assert_eq!(next(HOUR, HOUR), "Next: cluster-client status --timeout 2h g\n");
        assert_eq!(next(13 * HOUR, 14 * HOUR), "Next: cluster-client status --timeout 24h g\n");
        assert_eq!(next(HOUR, HOUR / 2), "Next: cluster-client status g\n");
    }

    #[test]
    fn json_omits_a_command_with_a_path_that_is_not_utf8() {
        use std::os::unix::ffi::OsStrExt as _;
        let advice = Advice { common: vec![OsStr::from_bytes(b"/\xff").into()], ..Advice::default() };
        assert_eq!(advice.recover().json(), json!([]));
        assert_eq!(advice.recover().lines(), "Next: cluster-client recover \"$(printf '/\\377')\"\n");
    }
}
