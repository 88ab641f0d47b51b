//! Commands printed after `Next:` can be pasted into a shell in any directory.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use cluster_client::testing::{Fault, Method};
use tempfile::TempDir;

use crate::bench::{Bench, PATIENCE, Ran, text};

const IDS: [&str; 4] = ["pay", "-dash", "it's", "a b"];
/// A relative path that needs quotes.
const JOURNAL: &str = "my operator's notes";
const LIMITS: [(&str, &str); 5] = [
    ("--attempts", "2"),
    ("--request-timeout", "5s"),
    ("--timeout", "1m"),
    ("--in-flight", "7"),
    ("--engine", "threads"),
];

/// Another directory than that of the bench, with a `cluster-client` in `PATH`.
struct Elsewhere {
    directory: TempDir,
}

impl Elsewhere {
    /// Uses a script that prints its arguments as the command.
    fn recording() -> Self {
        let elsewhere = Elsewhere { directory: tempfile::tempdir().unwrap() };
        let recorder = elsewhere.path("bin/cluster-client");
        std::fs::create_dir(elsewhere.path("bin")).unwrap();
        std::fs::write(&recorder, "#!/bin/sh\nfor word do printf '%s\\n' \"$word\"; done\n").unwrap();
        std::fs::set_permissions(&recorder, std::fs::Permissions::from_mode(0o755)).unwrap();
        elsewhere
    }

    /// Uses the real command.
    fn real() -> Self {
        let elsewhere = Elsewhere { directory: tempfile::tempdir().unwrap() };
        std::fs::create_dir(elsewhere.path("bin")).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_cluster-client"), elsewhere.path("bin/cluster-client")).unwrap();
        elsewhere
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs this line in a shell in that directory.
    fn paste(&self, line: &str) -> Ran {
        let mut command = Command::new("sh");
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .args(["-c", line])
            .current_dir(self.directory.path())
            .env_clear()
            .env("PATH", format!("{}:{path}", text(&self.path("bin"))))
            .env("XDG_STATE_HOME", self.path("state"));
        Ran::of(&mut command)
    }

    fn record(&self, line: &str) -> Recorded {
        let ran = self.paste(line).exits(0);
        Recorded::read(&ran.out.lines().map(str::to_owned).collect::<Vec<_>>())
    }
}

/// The arguments of a command, parsed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Recorded {
    command: String,
    options: BTreeMap<String, String>,
    ids: Vec<String>,
}

impl Recorded {
    /// Parses the words. Options come first, and `--` only if an id begins with a dash.
    fn read(words: &[String]) -> Self {
        let mut read = Recorded { command: words[0].clone(), ..Recorded::default() };
        let mut rest = &words[1..];
        while let [option, after @ ..] = rest
            && option.starts_with("--")
            && option != "--"
        {
            let is_flag = ["--yes", "--no-preflight", "--no-journal"].contains(&option.as_str());
            let value = if is_flag { String::new() } else { after[0].clone() };
            assert!(read.options.insert(option.clone(), value).is_none(), "{option} twice in {words:?}");
            rest = &after[usize::from(!is_flag)..];
        }
        let dashed = rest.first().is_some_and(|word| word == "--");
        rest = &rest[usize::from(dashed)..];
        assert_eq!(dashed, rest.iter().any(|id| id.starts_with('-')), "{words:?}");
        read.ids = rest.to_vec();
        read
    }
}

fn expected(command: &str, options: &[(&str, &str)], ids: &[&str]) -> Recorded {
    Recorded {
        command: command.into(),
        options: options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ids: ids.iter().map(|id| (*id).to_owned()).collect(),
    }
}

/// Returns the commands after `Next:` and `or:`, each of which has its own line.
fn commands(ran: &Ran) -> Vec<String> {
    let lines = ran.out.lines().chain(ran.err.lines());
    let commands: Vec<String> = lines
        .filter_map(|line| line.strip_prefix("Next: ").or_else(|| line.strip_prefix("  or: ")).map(str::to_owned))
        .collect();
    let labels = ran.out.matches("Next:").count() + ran.err.matches("Next:").count();
    assert!(!commands.is_empty() && labels == 1, "one Next and its alternatives: {ran:#?}");
    commands
}

/// A command with all options that the next one needs.
struct Case {
    bench: Bench,
    elsewhere: Elsewhere,
}

impl Case {
    fn new() -> Self {
        Case { bench: Bench::new(), elsewhere: Elsewhere::recording() }
    }

    /// Returns the words of a command on `ids` with all options. If `journal` is false, `--no-journal` is one of them.
    fn words<'a>(command: &[&'a str], hosts: &'a str, journal: bool, ids: &[&'a str]) -> Vec<&'a str> {
        let mut words = command.to_vec();
        words.extend(["--hosts", hosts]);
        words.extend(if journal { vec!["--journal", JOURNAL] } else { vec!["--no-journal"] });
        words.extend(LIMITS.iter().flat_map(|(option, value)| [*option, *value]));
        words.push("--");
        words.extend(ids);
        words
    }

    fn command(&self, command: &[&str], journal: bool, ids: &[&str]) -> Command {
        let hosts = self.bench.urls();
        let mut command = self.bench.command(&Self::words(command, &hosts, journal, ids));
        command.env_remove("HOSTS");
        command
    }

    fn run(&self, command: &[&str], journal: bool, ids: &[&str]) -> Ran {
        Ran::of(&mut self.command(command, journal, ids))
    }

    /// Returns the expected next command. It has its own options, the configuration file, the journal and the limits. It
    /// has the hosts unless it is a recovery.
    fn next(&self, command: &[&str], journal: bool, ids: &[&str]) -> Recorded {
        let (hosts, config) = (self.bench.urls(), self.bench.path("cluster-client.toml"));
        let directory = self.bench.path(JOURNAL);
        let mut options = LIMITS.to_vec();
        options.push(("--config", text(&config)));
        options.push(if journal { ("--journal", text(&directory)) } else { ("--no-journal", "") });
        if command[0] != "recover" {
            options.push(("--hosts", &hosts));
        }
        match &command[1..] {
            [flag] => options.push((flag, "")),
            [option, value] => options.push((option, value)),
            _ => {}
        }
        expected(command[0], &options, ids)
    }

    /// Asserts that the printed commands, read by a shell, are these.
    #[track_caller]
    fn assert_next(&self, ran: &Ran, next: &[Recorded]) {
        let recorded: Vec<Recorded> = commands(ran).iter().map(|line| self.elsewhere.record(line)).collect();
        assert_eq!(recorded, next, "{ran:#?}");
    }

    fn either_way(&self, journal: bool, id: &str) -> [Recorded; 2] {
        ["present", "absent"].map(|state| self.next(&["repair", "--to", state], journal, &[id]))
    }

    fn clear(&self) {
        for node in self.bench.cluster.nodes() {
            node.clear_faults();
        }
    }
}

#[test]
fn create_in_doubt_names_recover_or_without_a_journal_both_repairs() {
    let case = Case::new();
    for id in IDS {
        case.bench.fail_after_the_probe(1);
        let ran = case.run(&["create"], true, &[id]).exits(4);
        case.assert_next(&ran, &[case.next(&["recover"], true, &[])]);
        // The node still fails.
        let ran = case.run(&["status"], true, &[id]).exits(4);
        case.assert_next(&ran, &[case.next(&["recover"], true, &[])]);
        let ran = case.run(&["status"], false, &[id]).exits(4);
        case.assert_next(&ran, &[case.next(&["status"], false, &[id])]);
        let ran = Ran::of(&mut {
            let mut command = case.command(&["recover"], true, &[]);
            command.env("HOSTS", "http://unused:1");
            command
        });
        case.assert_next(&ran.exits(4), &[case.next(&["recover"], true, &[])]);

        case.clear();
        let ran = case.run(&["status"], true, &[id]).exits(3).prints("the journal holds an unfinished operation");
        case.assert_next(&ran, &[case.next(&["recover"], true, &[])]);
        case.run(&["recover"], true, &[]).exits(0);

        case.bench.fail_after_the_probe(1);
        let ran = case.run(&["create"], false, &[id]);
        case.assert_next(&ran.exits(4), &case.either_way(false, id));
        case.clear();
        case.run(&["repair", "--to", "absent"], false, &[id]).exits(0);
    }
}

#[test]
fn mixed_status_names_both_repairs_in_table_and_json() {
    let case = Case::new();
    for id in IDS {
        case.bench.cluster.node(0).insert(id);
        let ran = case.run(&["status"], true, &[id]).exits(3);
        case.assert_next(&ran, &case.either_way(true, id));

        let line = case.run(&["status", "-o", "json"], true, &[id]).exits(3).json().remove(0);
        let lists: Vec<Vec<String>> = serde_json::from_value(line["next"].clone()).unwrap();
        assert!(lists.iter().all(|list| list[0] == "cluster-client"), "{lists:?}");
        let read: Vec<Recorded> = lists.iter().map(|list| Recorded::read(&list[1..])).collect();
        assert_eq!(read, case.either_way(true, id));
    }
}

#[test]
fn failed_create_names_its_repetition() {
    let case = Case::new();
    for id in IDS {
        case.bench.cluster.node(2).inject(Fault::answer(422).on(Method::Post));
        let ran = case.run(&["create"], true, &[id]).exits(1).prints("Rolled back");
        case.assert_next(&ran, &[case.next(&["create"], true, &[id])]);

        case.bench.cluster.node(2).inject(Fault::answer(422).on(Method::Get));
        let ran = case.run(&["create"], false, &[id]).exits(1).prints("Nothing was changed.");
        case.assert_next(&ran, &[case.next(&["create"], false, &[id])]);

        case.bench.cluster.node(2).inject(Fault::answer(422).on(Method::Post));
        let ran = case.run(&["create", "--no-preflight"], true, &[id]).exits(1).prints("Rolled back");
        case.assert_next(&ran, &[case.next(&["create", "--no-preflight"], true, &[id])]);
    }
}

#[test]
fn failure_that_each_repetition_meets_names_the_help_instead() {
    let case = Case::new();
    let check = "Check the credentials: see cluster-client help configuration.\n";
    let without_next = |ran: Ran, words: &str| {
        let ran = ran.prints(&format!("{words} {check}"));
        assert!(!ran.out.contains("Next:"), "{ran:#?}");
    };
    for status in [401, 403] {
        case.bench.cluster.node(2).inject(Fault::answer(status).on(Method::Post).always());
        let ran = case.run(&["create"], true, &["pay"]).exits(1);
        without_next(ran, "Rolled back: absent on 3 of 3 hosts.");
        let line = case.run(&["create", "-o", "json"], true, &["pay"]).exits(1).json().remove(0);
        assert_eq!(line["next"], serde_json::json!([]));
        case.clear();
        case.bench.cluster.node(2).inject(Fault::answer(status).always());
        without_next(case.run(&["create"], true, &["pay"]).exits(1), "Nothing was changed.");
        without_next(case.run(&["status"], true, &["pay"]).exits(4), " as far as known.");
        case.clear();
        // A recovery is needed once they are right.
        case.bench.cluster.node(0).insert("pay");
        case.bench.cluster.node(0).inject(Fault::answer(status).on(Method::Delete).always());
        let ran = case.run(&["delete", "--yes"], true, &["pay"]).exits(3).prints(&format!("has pay. {check}"));
        case.assert_next(&ran, &[case.next(&["recover"], true, &[])]);
        case.clear();
        case.run(&["recover"], true, &[]).exits(0);
        assert!(case.bench.cluster.none_has("pay"));
    }
}

#[test]
fn refused_delete_names_recover_or_without_a_journal_its_repetition() {
    let case = Case::new();
    for id in IDS {
        case.bench.cluster.node(1).insert(id);
        case.bench.cluster.node(1).inject(Fault::answer(501).on(Method::Delete).always());
        let ran = case.run(&["delete", "--yes"], false, &[id]).exits(3);
        case.assert_next(&ran, &[case.next(&["delete", "--yes"], false, &[id])]);
        let ran = case.run(&["delete", "--yes"], true, &[id]).exits(3);
        case.assert_next(&ran, &[case.next(&["recover"], true, &[])]);
        case.clear();
        case.run(&["recover"], true, &[]).exits(0);
    }
}

#[test]
fn refused_repair_names_its_repetition() {
    let case = Case::new();
    for id in IDS {
        case.bench.cluster.node(0).insert(id);
        case.bench.cluster.node(1).inject(Fault::answer(422).on(Method::Post));
        let ran = case.run(&["repair", "--to", "present"], true, &[id]).exits(3);
        case.assert_next(&ran, &[case.next(&["repair", "--to", "present"], true, &[id])]);
        case.bench.cluster.node(0).inject(Fault::answer(422).on(Method::Delete));
        let ran = case.run(&["repair", "--to", "absent"], true, &[id]).exits(3);
        case.assert_next(&ran, &[case.next(&["repair", "--to", "absent"], true, &[id])]);
    }
}

#[test]
fn command_on_a_busy_group_names_its_repetition() {
    let case = Case::new();
    for id in IDS {
        case.bench.cluster.node(1).inject(Fault::mute().on(Method::Post));
        let mut first = crate::bench::Running::of(&mut case.command(&["create"], true, &[id]));
        for node in [0, 2] {
            assert!(case.bench.cluster.node(node).wait_until(|node| node.has(id), PATIENCE));
        }
        let ran = case.run(&["create"], true, &[id]).exits(1).prints(" is busy: ");
        case.assert_next(&ran, &[case.next(&["create"], true, &[id])]);
        let ran = case.run(&["delete", "--yes"], true, &[id]).exits(1).prints(" is busy: ");
        case.assert_next(&ran, &[case.next(&["delete", "--yes"], true, &[id])]);
        let ran = case.run(&["recover"], true, &[]).exits(4).prints(" is busy: ");
        case.assert_next(&ran, &[case.next(&["recover"], true, &[])]);
        first.kill();
        case.run(&["recover"], true, &[]).exits(0);
    }
}

#[test]
fn unrecorded_commit_names_repair_to_present() {
    let case = Case::new();
    for id in IDS {
        case.bench.cluster.node(2).inject(Fault::delay(std::time::Duration::from_millis(700)).on(Method::Post));
        let create = crate::bench::Running::of(&mut case.command(&["create"], true, &[id]));
        for node in [0, 1] {
            assert!(case.bench.cluster.node(node).wait_until(|node| node.has(id), PATIENCE));
        }
        // Replace the entry by a directory during the last request, so that it cannot be removed as a file.
        let entries = std::fs::read_dir(case.bench.path(JOURNAL)).unwrap();
        let entry =
            entries.map(|entry| entry.unwrap().path()).find(|path| path.extension().unwrap() == "intent").unwrap();
        std::fs::remove_file(&entry).unwrap();
        std::fs::create_dir(&entry).unwrap();
        std::fs::write(entry.join("in the way"), "").unwrap();
        let ran = create.ends().exits(4).prints("the journal may still have it");
        case.assert_next(&ran, &[case.next(&["repair", "--to", "present"], true, &[id])]);
        std::fs::remove_dir_all(&entry).unwrap();
    }
}

#[test]
fn exit_at_once_names_recover_or_without_a_journal_the_status_of_all_groups() {
    let case = Case::new();
    for (number, id) in IDS.into_iter().enumerate() {
        let other = format!("other {number}");
        let leave = |journal, ids: &[&str]| {
            case.bench.cluster.node(1).inject(Fault::mute().on(Method::Post).always());
            let mut create = crate::bench::Running::of(&mut case.command(&["create"], journal, ids));
            for id in ids {
                assert!(case.bench.cluster.node(0).wait_until(|node| node.has(id), PATIENCE));
            }
            create.signal("INT");
            create.wait_until_it_reports("interrupted: ");
            create.signal("INT");
            let ran = create.ends().exits(130).reports("left at once.");
            case.clear();
            ran
        };
        let ran = leave(true, &[id, &other]);
        case.assert_next(&ran, &[case.next(&["recover"], true, &[])]);
        case.run(&["recover"], true, &[]).exits(0);
        let ran = leave(false, &[id, &other]);
        case.assert_next(&ran, &[case.next(&["status"], false, &[id, &other])]);
        case.run(&["repair", "--to", "absent"], false, &[id, &other]).exits(0);
    }
}

/// Returns the options of the next command after a mixed status.
fn options_after(bench: &Bench, command: &mut Command) -> BTreeMap<String, String> {
    bench.cluster.node(0).insert("half");
    let ran = Ran::of(command).exits(3);
    Elsewhere::recording().record(&commands(&ran)[0]).options
}

#[test]
fn hosts_of_a_variable_are_spelled_out_up_to_four() {
    for (nodes, spelled_out) in [(4, true), (5, false)] {
        let bench = Bench::of(nodes);
        for variable in ["HOSTS", "CLUSTER_CLIENT_HOSTS"] {
            let mut command = bench.command(&["status", "half"]);
            command.env_remove("HOSTS").env(variable, bench.urls());
            let options = options_after(&bench, &mut command);
            assert_eq!(options.get("--hosts"), spelled_out.then(|| bench.urls()).as_ref());
        }
        let mut typed = bench.command(&["status", "half", "--hosts", &bench.urls()]);
        assert_eq!(options_after(&bench, &mut typed)["--hosts"], bench.urls());
    }
}

#[test]
fn many_hosts_of_a_file_are_named_by_the_absolute_path_of_the_file() {
    for (nodes, spelled_out) in [(4, true), (5, false)] {
        let bench = Bench::of(nodes);
        let list: Vec<String> = bench.cluster.urls().iter().map(|url| format!("{url:?}")).collect();
        bench.configure(&format!("hosts = [{}]\njournal = \"notes\"", list.join(",")));
        std::fs::create_dir(bench.path("deep")).unwrap();
        for (arguments, directory) in
            [(&["status", "half"][..], "."), (&["status", "half", "--config", "../cluster-client.toml"], "deep")]
        {
            let mut command = bench.command(arguments);
            command.env_remove("HOSTS").current_dir(bench.path(directory));
            let options = options_after(&bench, &mut command);
            assert_eq!(options.get("--hosts"), spelled_out.then(|| bench.urls()).as_ref());
            let config = std::fs::canonicalize(&options["--config"]).unwrap();
            assert_eq!(config, std::fs::canonicalize(bench.path("cluster-client.toml")).unwrap());
            assert!(PathBuf::from(&options["--config"]).is_absolute());
            assert!(!options.contains_key("--journal"), "it comes with the file");
        }
    }
}

#[test]
fn journal_of_a_variable_is_named_by_its_absolute_path_and_the_default_one_is_not() {
    let bench = Bench::new();
    let mut command = bench.command(&["status", "half"]);
    let options = options_after(&bench, command.env("CLUSTER_CLIENT_JOURNAL", JOURNAL));
    assert_eq!(options["--journal"], text(&bench.path(JOURNAL)));
    assert!(!options_after(&bench, &mut bench.command(&["status", "half"])).contains_key("--journal"));
}

#[test]
fn configuration_path_that_is_not_utf8_is_quoted_and_omitted_in_json() {
    use std::os::unix::ffi::OsStrExt as _;
    let bench = Bench::new();
    let name = std::ffi::OsStr::from_bytes(b"\xff'%s \x1b[2J.toml");
    let path = bench.path(".").join(name);
    std::fs::write(&path, "attempts = 2").unwrap();
    bench.cluster.node(0).insert("half");
    let mut command = bench.command(&["status", "half", "--config"]);
    let ran = Ran::of(command.arg(&path)).exits(3);
    assert!(!ran.out.contains('\x1b'), "{ran:?}");
    // The real command reads that file again, and would fail without it.
    let elsewhere = Elsewhere::real();
    elsewhere.paste(&commands(&ran)[0]).exits(0);
    assert!(bench.cluster.all_have("half"));

    bench.cluster.node(1).remove("half");
    let mut command = bench.command(&["status", "half", "-o", "json", "--config"]);
    assert_eq!(Ran::of(command.arg(&path)).exits(3).json()[0]["next"], serde_json::json!([]));
}

#[test]
fn next_commands_pasted_in_another_directory_change_the_right_hosts() {
    let case = Case::new();
    let elsewhere = Elsewhere::real();
    let cluster = &case.bench.cluster;
    for id in IDS {
        cluster.node(1).insert(id);
        let ran = case.run(&["status"], true, &[id]).exits(3);
        let [present, absent] = &commands(&ran)[..] else { panic!("{ran:#?}") };
        elsewhere.paste(present).exits(0);
        assert!(cluster.all_have(id), "{present}");
        elsewhere.paste(absent).exits(0);
        assert!(cluster.none_has(id), "{absent}");

        cluster.node(2).inject(Fault::answer(422).on(Method::Post));
        let ran = case.run(&["create"], true, &[id]).exits(1);
        elsewhere.paste(&commands(&ran)[0]).exits(0);
        assert!(cluster.all_have(id));

        cluster.node(2).inject(Fault::answer(501).on(Method::Delete));
        let ran = case.run(&["delete", "--yes"], true, &[id]).exits(3);
        assert_eq!(cluster.holders(id), [2]);
        elsewhere.paste(&commands(&ran)[0]).exits(0);
        assert!(cluster.none_has(id));
        for node in cluster.nodes() {
            assert!(node.groups().is_empty(), "{:?}", node.groups());
        }
    }
    assert!(!elsewhere.path("state").exists(), "the journal is the one of the first command");
}
