//! The next commands to type, as argument lists. Only [`shell_word`] turns them into text for a shell.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cluster_client::{GroupId, Host, Hosts, Operation, Origin, Target};
use serde_json::{Value, json};

use crate::api_setting;
use crate::args::{GlobalOptions, Groups};
use crate::groups;
use crate::mapping;
use crate::settings::{Journal, Settings, Sourced};
use crate::time;

const NAME: &str = "cluster-client";
/// Maximum number of hosts that advice lists with `--hosts`.
const MOST_HOSTS: usize = 4;

/// One complete command: the program, the subcommand, its options, then its ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommandLine(Vec<OsString>);

/// Commands of which a person chooses one. Empty if there is nothing to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Next(Vec<CommandLine>);

/// Builds commands that work in any directory. They carry the hosts, the configuration file, the journal and the limits
/// of this command.
#[derive(Debug, Clone, Default)]
pub(crate) struct Advice {
    hosts: Option<OsString>,
    /// `--config`, the journal and the limits, which every command takes.
    common: Vec<OsString>,
    /// Options of this create or delete, for its repetition.
    create: Vec<OsString>,
    delete: Vec<OsString>,
    /// A recovery needs the hosts too, because only the hosts of a client get credentials.
    has_credentials: bool,
    /// The timeout of the operation, of any origin.
    timeout: Option<Duration>,
    /// The word for a group in output. Empty for commands that need no hosts.
    noun: String,
    /// Groups with an entry in the journal. Filled for a status only.
    pub(crate) unfinished: HashSet<GroupId>,
}

impl Advice {
    pub(crate) fn new(global: &GlobalOptions, settings: &Settings) -> Self {
        let hosts = spelled_out(&settings.hosts.value, &settings.hosts.origin);
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
        let mut common = Vec::new();
        let mut add = |option: &str, value: OsString| common.extend([option.into(), value]);
        if let Some(file) = config {
            add("--config", absolute(file));
        }
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
        if let Some(engine) = global.engine {
            add("--engine", engine.word().into());
        }
        // The journal of a file comes with `--config`, and the default one does not depend on the directory.
        match (&journal.value, &journal.origin) {
            (_, Origin::File(_) | Origin::Default) | (Journal::NoPlace, _) => {}
            (Journal::Directory(directory), _) => add("--journal", absolute(directory)),
            (Journal::Off, _) => common.push("--no-journal".into()),
        }
        Advice { common, ..Advice::default() }
    }

    /// The word for a group in output.
    pub(crate) fn noun(&self) -> &str {
        if self.noun.is_empty() { "group" } else { &self.noun }
    }

    /// Doubles the timeout, for an operation that has timed out.
    pub(crate) fn with_more_time(&self) -> Self {
        let mut advice = self.clone();
        let Some(longer) = self.timeout.map(|time| time.saturating_mul(2)) else { return advice };
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
    }

    pub(crate) fn repair(&self, group: &GroupId, target: Target) -> Next {
        let state = if target == Target::Present { "present" } else { "absent" };
        self.on("repair", &["--to".into(), state.into()], group)
    }

    /// Returns both repairs, because a person has to choose the state.
    pub(crate) fn repair_either_way(&self, group: &GroupId) -> Next {
        self.repair(group, Target::Present).or(self.repair(group, Target::Absent))
    }

    /// Returns a recovery, without hosts, because the journal has them, unless they get credentials.
    pub(crate) fn recover(&self) -> Next {
        if self.has_credentials {
            return Next::of(Self::command("recover").chain(self.options()));
        }
        Next::of(Self::command("recover").chain(self.common.iter().cloned()))
    }

    /// Returns the status of all groups of a command, or nothing if they came from standard input.
    pub(crate) fn status_of_all(&self, named: &Groups) -> Next {
        let words = Self::command("status").chain(self.options());
        match &named.file {
            Some(file) if groups::is_stdin(file) => Next::default(),
            Some(file) => Next::of(words.chain(["-f".into(), absolute(file)])),
            None => Next::of(words.chain(ids(named.ids.iter().map(String::as_str)))),
        }
    }

    fn on(&self, command: &str, own: &[OsString], group: &GroupId) -> Next {
        let words = Self::command(command).chain(own.iter().cloned()).chain(self.options());
        Next::of(words.chain(ids([group.as_str()])))
    }

    fn command(name: &str) -> impl Iterator<Item = OsString> {
        [NAME.into(), name.into()].into_iter()
    }

    fn options(&self) -> impl Iterator<Item = OsString> {
        let hosts = self.hosts.iter().flat_map(|hosts| ["--hosts".into(), hosts.clone()]);
        hosts.chain(self.common.iter().cloned()).collect::<Vec<_>>().into_iter()
    }
}

impl Next {
    fn of(words: impl Iterator<Item = OsString>) -> Self {
        Next(vec![CommandLine(words.collect())])
    }

    /// Adds an alternative.
    fn or(mut self, other: Next) -> Self {
        self.0.extend(other.0);
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
            command.0.iter().map(|word| word.to_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        };
        json!(self.0.iter().filter_map(texts).collect::<Vec<_>>())
    }
}

impl CommandLine {
    fn for_a_shell(&self) -> String {
        self.0.iter().map(|word| shell_word(word)).collect::<Vec<_>>().join(" ")
    }
}

/// Returns the value of `--hosts`, unless the hosts are many and come from the file or a variable.
fn spelled_out(hosts: &Hosts, origin: &Origin) -> Option<OsString> {
    let few = hosts.len() <= MOST_HOSTS || matches!(origin, Origin::Option(_));
    // A comma in a host's path would end the host in `--hosts`.
    let separable = hosts.iter().all(|host| !host.as_str().contains(','));
    let list = || hosts.iter().map(Host::as_str).collect::<Vec<_>>().join(",");
    (few && separable).then(|| list().into())
}

/// Returns ids as the last arguments, after `--` if one begins with a dash.
fn ids<'a>(ids: impl IntoIterator<Item = &'a str>) -> Vec<OsString> {
    let mut words: Vec<OsString> = ids.into_iter().map(OsString::from).collect();
    if words.iter().any(|id| id.as_encoded_bytes().starts_with(b"-")) {
        words.insert(0, "--".into());
    }
    words
}

/// Returns the absolute path. If the current directory does not exist, returns the path unchanged.
fn absolute(path: &Path) -> OsString {
    std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path)).into()
}

/// Returns one word for a POSIX shell. Each word of a printed command passes through this function.
fn shell_word(word: &OsStr) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._/:@%+,".contains(c);
    match word.to_str() {
        Some(text) if !text.is_empty() && text.chars().all(is_plain) => text.into(),
        Some(text) if !text.chars().any(is_not_shown) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => printed(word.as_encoded_bytes()),
    }
}

/// Returns whether a terminal interprets or hides the character: controls, directions, joiners.
fn is_not_shown(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

/// Returns bytes as octal numbers for `printf`, which is the only visible form in POSIX.
fn printed(bytes: &[u8]) -> String {
    let end = bytes.iter().rposition(|byte| *byte != b'\n').map_or(0, |last| last + 1);
    let mut format = String::new();
    for byte in &bytes[..end] {
        match byte {
            b'%' => format.push_str("%%"),
            b' ' | b'.' | b'/' => format.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => format.push(char::from(*byte)),
            byte => {
                let _ = write!(format, "\\{byte:03o}");
            }
        }
    }
    // Command substitution removes trailing newlines, so append them outside of it.
    let newlines = if end < bytes.len() { format!("'{}'", "\n".repeat(bytes.len() - end)) } else { String::new() };
    format!("\"$(printf '{format}')\"{newlines}")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn word_is_quoted_only_if_a_shell_needs_it() {
        let word = |text: &str| shell_word(OsStr::new(text));
        assert_eq!(word("users-42"), "users-42");
        assert_eq!(word("http://node1:8000,http://node2:8000"), "http://node1:8000,http://node2:8000");
        assert_eq!(word("two words"), "'two words'");
        assert_eq!(word("it's"), r"'it'\''s'");
        assert_eq!(word("http://[::1]:8000"), "'http://[::1]:8000'");
        assert_eq!(word("ü"), "'ü'");
        assert_eq!(word(""), "''");
    }

    #[test]
    fn shell_reads_each_quoted_word_back_unchanged() {
        use std::os::unix::ffi::OsStrExt as _;
        let words: [&[u8]; 14] = [
            b"plain",
            b"a b",
            b"it's",
            b"-dash",
            b"$HOME `id` \"x\" \\n !h ~ * ? [a] {a,b} # ; & | < > ( )",
            b"100%",
            b"bytes \xff\xfe %s %% -n '",
            b"-\xff",
            b"line\nbreak",
            b"ends with newlines\n\n",
            b"tab\tand escape\x1b[2J",
            "right\u{202e}to left".as_bytes(),
            b"=ls",
            b"\n",
        ];
        for bytes in words {
            let line = format!("printf '%s|' {}", shell_word(OsStr::from_bytes(bytes)));
            for shell in ["sh", "bash"] {
                let Ok(output) = Command::new(shell).args(["-c", &line]).output() else { continue };
                assert_eq!(output.stdout, [bytes, b"|"].concat(), "{shell}: {line}");
            }
        }
    }

    #[test]
    fn each_alternative_has_its_own_line() {
        let advice = Advice { hosts: Some("http://a,http://b".into()), ..Advice::default() };
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
    fn json_omits_a_command_with_a_path_that_is_not_utf8() {
        use std::os::unix::ffi::OsStrExt as _;
        let advice = Advice { common: vec![OsStr::from_bytes(b"/\xff").into()], ..Advice::default() };
        assert_eq!(advice.recover().json(), json!([]));
        assert_eq!(advice.recover().lines(), "Next: cluster-client recover \"$(printf '/\\377')\"\n");
    }
}
