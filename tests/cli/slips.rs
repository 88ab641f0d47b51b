//! Slips of a person: text pasted with its surroundings, an option of another command, a variable that is wrong, a link
//! to nowhere.

use cluster_client::testing::{Fault, Method};

use crate::bench::{Bench, Ran, text};

#[test]
fn host_that_was_pasted_with_its_surroundings_is_named_as_such() {
    let bench = Bench::new();
    for (host, problem) in [
        ("“http://a:1”", "is in quotes: remove them"),
        ("'http://a:1'", "is in quotes: remove them"),
        ("http://a:1”", "is in quotes: remove them"),
        ("\u{feff}http://a:1", "has the character U+FEFF: remove it"),
        ("http://a\u{200b}:1", "has the character U+200B: remove it"),
        ("http//a:1", "has no \"://\" after its scheme: write it as http://node1:8000"),
        ("https:/a:1", "has no \"://\" after its scheme: write it as http://node1:8000"),
        ("http://[fe80::1%eth0]:1", "has an address with a zone: use an address that needs none, or a name"),
    ] {
        bench.run(&["create", "g", "--hosts", host]).exits(2).reports(problem);
    }
    bench.assert_untouched();
}

#[test]
fn group_that_was_pasted_with_its_surroundings_has_a_warning() {
    let bench = Bench::new();
    for (group, warning) in [
        ("payments ", "warning: group \"payments \" has a blank at an end"),
        ("payments\u{a0}", r#"warning: group "payments\u{a0}" has a blank at an end, or one that is no usual space"#),
        ("pay\u{a0}ments", r#"warning: group "pay\u{a0}ments" has a blank"#),
        ("payments\u{200b}", "has a character that cannot be seen"),
        ("“payments”", "has quotes around it"),
    ] {
        bench.run(&["create", group, "--dry-run"]).exits(0).reports(warning);
    }
    bench.write("groups.txt", "'a'\nb\n'c'\n");
    let ran = bench.run(&["create", "-f", "groups.txt", "--dry-run"]).exits(0);
    ran.reports("warning: group \"'a'\" has quotes around it (the first of 2 such)\n");
    let usual = bench.run(&["create", "two words", "it's", "c\u{e9}", "--dry-run"]).exits(0);
    assert!(!usual.err.contains("warning"), "{usual:#?}");
    assert_eq!(bench.count(Method::Post), 0);
}

#[test]
fn journal_among_the_groups_is_refused_and_its_password_is_not_shown() {
    let bench = Bench::new();
    for url in ["etcd://user:S3CR3T@etcd1/prefix", "etcds://etcd1"] {
        let ran = bench.run(&["create", "g", url]).exits(2);
        let ran = ran.reports("looks like a journal: name it with --journal; groups of such names need -f FILE");
        assert!(!ran.err.contains("S3CR3T"), "{ran:#?}");
    }
    bench.assert_untouched();
}

#[test]
fn option_of_another_command_has_a_fitting_tip() {
    let bench = Bench::new();
    for (words, tip) in [
        (&["create", "g", "--to", "present"][..], "tip: '--to' is an option of repair"),
        (&["recover", "--yes"], "tip: '--yes' is an option of delete"),
        (&["status", "g", "--json"], "tip: JSON is '--output json'"),
    ] {
        let ran = bench.run(words).exits(2).reports(tip);
        assert!(!ran.err.contains("similar") && !ran.err.contains("<FILE>"), "{ran:#?}");
    }
    let ran = bench.run(&["delete", "g", "--force"]).exits(2).reports("unexpected argument '--force'");
    assert!(!ran.err.contains("tip:"), "a tip would make it a group: {ran:#?}");
    bench.run(&["create", "-x"]).exits(2).reports("tip: to pass '-x' as a value, use '-- -x'");
    bench.assert_untouched();
}

#[test]
fn help_and_manual_page_of_a_command_of_a_command() {
    let bench = Bench::new();
    bench.run(&["help", "journal", "forget"]).exits(0).prints("Drop a host that never comes back");
    bench.run(&["man", "journal", "forget"]).exits(0).prints(".TH");
    bench.run(&["help", "journal", "forgt"]).exits(2).reports("there is no command \"forgt\": did you mean forget?");
    bench.run(&["man", "create", "x"]).exits(2).reports("there is no command \"x\": leave it out");
}

#[test]
fn variable_of_an_option_that_a_command_does_not_use_may_be_wrong() {
    let bench = Bench::new();
    let with = |words: &[&str]| {
        let mut command = bench.command(words);
        Ran::of(command.env("CLUSTER_CLIENT_TIMEOUT", "30").env("CLUSTER_CLIENT_IN_FLIGHT", "-1"))
    };
    for words in [&["help"][..], &["help", "configuration"], &["man"], &["completions", "bash"], &["journal", "list"]] {
        with(words).exits(0);
    }
    let ran = with(&["create", "g"]).exits(2);
    ran.reports("from the variable 'CLUSTER_CLIENT_TIMEOUT': it has no unit");
    bench.assert_untouched();
}

#[test]
fn wrong_value_of_a_variable_names_the_variable_and_the_remedy() {
    let bench = Bench::new();
    for (variable, value, words) in [
        ("NO_JOURNAL", "", ["'CLUSTER_CLIENT_NO_JOURNAL'", "it is neither true nor false: write one of them"]),
        ("QUIET", "2", ["'CLUSTER_CLIENT_QUIET'", "it is neither true nor false: write one of them"]),
        ("VERBOSE", "x", ["'CLUSTER_CLIENT_VERBOSE'", "it is no whole number"]),
        ("CONFIG", "none.toml", ["(from the variable CLUSTER_CLIENT_CONFIG)", "name a file that can be read"]),
    ] {
        let mut command = bench.command(&["create", "g"]);
        let ran = Ran::of(command.env(format!("CLUSTER_CLIENT_{variable}"), value)).exits(2);
        words.iter().fold(ran, |ran, word| ran.reports(word));
    }
    let mut command = bench.command(&["create", "g"]);
    let ran = Ran::of(command.env_remove("HOSTS").env("CLUSTER_CLIENT_HOSTS_FILE", "none")).exits(2);
    ran.reports("(from the variable CLUSTER_CLIENT_HOSTS_FILE)");
    bench.assert_untouched();
    let mut command = bench.command(&["create", "g"]);
    Ran::of(command.env("CLUSTER_CLIENT_QUIET", "on").env("CLUSTER_CLIENT_NO_JOURNAL", "0")).exits(0);
    assert!(bench.cluster.all_have("g"));
}

#[cfg(unix)]
#[test]
fn configuration_behind_a_broken_link_is_not_taken_for_absent() {
    let bench = Bench::new();
    std::fs::remove_file(bench.path("cluster-client.toml")).unwrap();
    std::os::unix::fs::symlink("secret/cluster-client.toml", bench.path("cluster-client.toml")).unwrap();
    let ran = bench.run(&["create", "g"]).exits(2);
    ran.reports("is a link to a file that does not exist: correct or remove the link");
    bench.assert_untouched();
}

#[test]
fn journal_that_a_shell_would_have_completed_is_refused() {
    let bench = Bench::new();
    bench
        .run(&["create", "g", "--journal", "~/journal"])
        .exits(2)
        .reports("\"~/journal\" (from --journal) begins with '~'");
    let mut command = bench.command(&["create", "g"]);
    let ran = Ran::of(command.env("CLUSTER_CLIENT_JOURNAL", "$HOME/journal")).exits(2);
    ran.reports(
        "(from the variable CLUSTER_CLIENT_JOURNAL) begins with '$', which only a shell replaces: write the whole path",
    );
    bench.configure_also("journal = \"~/journal\"\n");
    bench.run(&["recover"]).exits(2).reports("cluster-client.toml, line 5) begins with '~'");
    bench.assert_untouched();
    bench.run(&["create", "g", "--journal", "./~"]).exits(0);
    assert!(bench.path("~").is_dir() && bench.cluster.all_have("g"));
}

#[test]
fn recover_names_the_journal_that_is_empty_or_not_there() {
    let bench = Bench::new();
    let place = bench.path("mistyped");
    for words in [&["recover", "--journal", "mistyped"][..], &["recover", "--dry-run", "--journal", "mistyped"]] {
        bench.run(words).exits(0).reports(&format!("nothing to recover: there is no journal in {}\n", text(&place)));
    }
    assert!(!place.exists());
    bench.run(&["create", "g", "--journal", "mistyped"]).exits(0);
    let ran = bench.run(&["recover", "--journal", "mistyped"]).exits(0);
    ran.reports(&format!("nothing to recover: the journal in {} is empty\n", text(&place)));
}

#[test]
fn journal_that_cannot_be_opened_has_a_remedy() {
    let bench = Bench::new();
    let below_a_file = bench.write("file", "").join("journal");
    let ran = bench.run(&["journal", "list", "--journal", text(&below_a_file)]).exits(2);
    ran.reports("cannot open ").reports(": name a directory that this user can read\n");
}

/// The signal of a file beyond its limit would end the command in the middle of an operation.
#[cfg(unix)]
#[test]
fn limit_of_the_size_of_files_ends_no_operation() {
    let bench = Bench::new();
    let create = |group: &str, more: &str| {
        let command = bench.command(&[]);
        let words = format!("ulimit -f 0; exec {} create {group} {more} > out", env!("CARGO_BIN_EXE_cluster-client"));
        let mut limited = std::process::Command::new("sh");
        limited.args(["-c", &words]).env_clear().current_dir(bench.path(""));
        limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Ran::of(limited.stdin(std::process::Stdio::null()))
    };
    create("payments", "--no-journal").exits(0).reports("warning: results cannot be printed: File too large");
    assert!(bench.cluster.all_have("payments"));
    create("orders", "").exits(1);
    assert!(bench.cluster.none_has("orders"));
}

/// The same command would fail alike.
#[test]
fn status_whose_time_was_over_is_advised_with_more_time() {
    let bench = Bench::new();
    bench.cluster.node(1).inject(Fault::mute().on(Method::Get).always());
    let ran = bench.run(&["status", "g", "--timeout", "100ms"]).exits(4);
    ran.prints("\nNext: cluster-client status ").prints(" --timeout 200ms g\n");
}
