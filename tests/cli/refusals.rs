//! Invalid values: exit 2, a message with the value, its origin and the remedy, and no request.

use std::process::Command;

use crate::bench::{Bench, Ran};

/// Asserts that the command is refused with these words, and that no node has received a request.
#[track_caller]
fn refused(bench: &Bench, command: &mut Command, words: &[&str]) {
    let ran = Ran::of(command).exits(2);
    for word in words {
        assert!(ran.err.contains(word), "not reported: {word}\n{ran:#?}");
    }
    assert!(ran.out.is_empty(), "{ran:#?}");
    bench.assert_untouched();
}

#[test]
fn invalid_hosts_are_refused_with_their_origin() {
    let bench = Bench::new();
    for (hosts, words) in [
        ("", ["is empty", "name at least one host"]),
        ("node1:8000", ["has no scheme", "write http://node1:8000"]),
        ("http://a:1,,http://b:1", ["has an empty entry", "remove the extra comma"]),
        ("http://a:80,http://a/", ["is there twice", "name each host once"]),
        ("http://user:pw@a", ["has user info", "leave out user and password"]),
        ("http://a:0", ["has the port \"0\"", "use a port from 1 to 65535"]),
        ("http://a:65536", ["has the port \"65536\"", "use a port from 1 to 65535"]),
        ("http://a?b", ["has a '?'", "give only scheme, host, port and path"]),
        ("ftp://a", ["has the scheme \"ftp\"", "use http:// or https://"]),
        ("http://näh", ["is not ASCII", "punycode"]),
    ] {
        let [problem, remedy] = words;
        refused(&bench, &mut bench.command(&["create", "g", "--hosts", hosts]), &["from --hosts", problem, remedy]);
        refused(
            &bench,
            bench.command(&["create", "g"]).env("HOSTS", hosts),
            &["from the variable HOSTS", problem, remedy],
        );
        let entries: Vec<String> = hosts.split(',').filter(|host| !host.is_empty()).map(|h| format!("{h:?}")).collect();
        if !hosts.contains(",,") {
            bench.configure(&format!("hosts = [{}]", entries.join(",")));
            refused(
                &bench,
                bench.command(&["create", "g"]).env_remove("HOSTS"),
                &["from the file cluster-client.toml", problem, remedy],
            );
        }
    }
}

#[test]
fn password_in_a_url_is_not_printed() {
    let bench = Bench::new();
    let ran = bench.run(&["create", "g", "--hosts", "http://user:secret@a"]).exits(2);
    assert!(!ran.err.contains("secret"), "{}", ran.err);
}

#[test]
fn hosts_in_another_form_than_a_list_are_refused_with_the_right_form() {
    let bench = Bench::new();
    let spaced = ["host list \"http://a http://b\" (from --hosts)", "separated by spaces: separate them by commas"];
    refused(&bench, &mut bench.command(&["create", "g", "--hosts", "http://a http://b"]), &spaced);
    refused(
        &bench,
        bench.command(&["create", "g"]).env("HOSTS", "http://a http://b"),
        &["(from the variable HOSTS) has hosts separated by spaces"],
    );
    for (hosts, words) in [
        (
            "http://a\nhttp://b\n",
            "has hosts separated by line ends: separate them by commas, or give --hosts-file FILE",
        ),
        ("http://a:1;http://b:1", "has more than one host: separate hosts by commas"),
    ] {
        refused(&bench, bench.command(&["create", "g"]).env("HOSTS", hosts), &["from the variable HOSTS", words]);
    }
    bench.write("hosts.txt", "http://a:1,http://b:1\n");
    let words = ["(from hosts.txt, line 1) has more than one host", "write one a line in a file"];
    refused(&bench, &mut bench.command(&["create", "g", "--hosts-file", "hosts.txt"]), &words);
    // A shell makes the second host another argument, which would be a group.
    let url = bench.cluster.node(1).url();
    let words = ["(from the command line) looks like a host", "separate hosts by commas, as in --hosts A,B"];
    refused(&bench, &mut bench.command(&["create", "g", "--hosts", &bench.cluster.node(0).url(), &url]), &words);
    let words = ["(from --hosts) begins with an at sign", "give --hosts-file FILE to read the hosts from a file"];
    refused(&bench, &mut bench.command(&["create", "g", "--hosts", "@h40"]), &words);
}

/// At every level: command, command of a command, option, value, topic, preset, and variable.
#[test]
fn mistyped_word_has_a_suggestion() {
    let bench = Bench::new();
    for (words, suggestion) in [
        (&["staus", "g"][..], "a similar subcommand exists: 'status'"),
        (&["journal", "lsit"], "a similar subcommand exists: 'list'"),
        (&["journal", "forgt", "http://a"], "a similar subcommand exists: 'forget'"),
        (&["journal", "list", "--confg", "x"], "a similar argument exists: '--config'"),
        (&["journal", "forget", "http://a", "--yse"], "a similar argument exists: '--yes'"),
        (&["create", "g", "--dryrun"], "a similar argument exists: '--dry-run'"),
        (&["recover", "--dryrun"], "a similar argument exists: '--dry-run'"),
        (&["delete", "g", "--yse"], "a similar argument exists: '--yes'"),
        (&["node", "--eror-rate", "1"], "a similar argument exists: '--error-rate'"),
        (&["repair", "g", "--to", "presnt"], "a similar value exists: 'present'"),
        (&["create", "g", "--output", "jsn"], "a similar value exists: 'json'"),
        (&["create", "g", "-o", "jsn"], "a similar value exists: 'json'"),
        (&["create", "g", "--engine", "thread"], "a similar value exists: 'threads'"),
        (&["completions", "bahs"], "a similar value exists: 'bash'"),
        (&["node", "--slash", "lenint"], "a similar value exists: 'lenient'"),
        (&["help", "jsn"], "did you mean json?"),
        (&["man", "craete"], "did you mean create?"),
        (&["create", "g", "--api", "couchbd"], "did you mean couchdb?"),
    ] {
        refused(&bench, &mut bench.command(words), &[suggestion]);
    }
    let mut by_variable = bench.command(&["create", "g"]);
    refused(&bench, by_variable.env("CLUSTER_CLIENT_OUTPUT", "jsn"), &["CLUSTER_CLIENT_OUTPUT", "'json'"]);
}

#[test]
fn mistyped_key_has_its_line_and_a_suggestion_at_every_level() {
    let bench = Bench::new();
    for (text, line, suggestion) in [
        ("attempts = 3\nrequest_timout = '1s'", 2, "did you mean request_timeout?"),
        ("hosst = ['http://a']", 1, "did you mean hosts?"),
        ("in-flight = 3", 1, "did you mean in_flight?"),
        ("\n[paths]\ncolection = 'x'", 3, "did you mean paths.collection?"),
        ("[tls]\nca_fle = 'x'", 2, "did you mean tls.ca_file?"),
        ("[credentials]\nbearer_token_fil = 'x'", 2, "did you mean credentials.bearer_token_file?"),
        ("[api]\nnuon = 'x'", 2, "did you mean noun?"),
        ("\n[host.'https://a'.tsl]", 2, "did you mean host.'https://a'.tls?"),
        ("[host.'https://a'.tls]\nca_fle = 'x'", 2, "did you mean host.'https://a'.tls.ca_file?"),
    ] {
        bench.configure(text);
        let line = format!("(from the file cluster-client.toml, line {line}) is unknown: ");
        refused(&bench, &mut bench.command(&["create", "g"]), &[&line, suggestion]);
    }
}

#[test]
fn control_character_of_an_id_is_escaped_once() {
    let bench = Bench::new();
    for arguments in [&["create", "a\nb"][..], &["status", "a\nb"]] {
        let words = ["group \"a\\nb\" (from the command line) has the control character U+000A: remove it"];
        refused(&bench, &mut bench.command(arguments), &words);
    }
    bench.write("groups.txt", "one\ntw\u{7}o\n");
    let words = ["group \"tw\\u{7}o\" (from groups.txt, line 2) has the control character U+0007"];
    refused(&bench, &mut bench.command(&["create", "-f", "groups.txt"]), &words);
    bench.run(&["journal", "show", "a\nb"]).exits(2).reports("\"a\\nb\"");
}

#[test]
fn single_host_is_not_one_of_one() {
    let bench = Bench::of(1);
    let outputs = [
        bench.run(&["create", "g", "-v"]),
        bench.run(&["create", "g"]),
        bench.run(&["status", "g"]),
        bench.run(&["delete", "g", "--yes", "-v"]),
        bench.run(&["status", "g"]),
    ];
    for ran in outputs {
        assert!(!ran.out.contains(" 1 hosts") && !ran.err.contains(" 1 hosts"), "{ran:#?}");
    }
}

#[test]
fn options_out_of_bounds_are_refused() {
    let bench = Bench::new();
    for (option, value, words) in [
        ("--attempts", "0", ["number of attempts \"0\" (from --attempts)", "choose 1 to 100"]),
        ("--attempts", "101", ["number of attempts \"101\" (from --attempts)", "choose 1 to 100"]),
        ("--attempts", "-1", ["--attempts", "-1"]),
        ("--attempts", "some", ["--attempts", "some"]),
        ("--timeout", "0s", ["operation timeout \"0s\" (from --timeout) is out of bounds", ""]),
        ("--timeout", "25h", ["\"25h\" (from --timeout) is out of bounds", "choose 1ms to 24h"]),
        ("--timeout", "-5s", ["--timeout", "it is negative: write a number and a unit, such as 500ms"]),
        ("--timeout", "5", ["'5' for '--timeout", "it has no unit: write a number and a unit"]),
        ("--timeout", "5 parsecs", ["'5 parsecs' for '--timeout", "a unit that is not one of ms, s, m, h"]),
        ("--request-timeout", "0ms", ["(from --request-timeout) is out of bounds", "choose 1ms to 1h"]),
        ("--request-timeout", "2h", ["\"2h\" (from --request-timeout) is out of bounds", "choose 1ms to 1h"]),
        ("--output", "xml", ["xml", "possible values: table, json"]),
        ("--color", "blue", ["blue", "possible values: auto, always, never"]),
        ("--journal", "", ["a value is required for '--journal <DIR|URL>'", ""]),
    ] {
        refused(&bench, &mut bench.command(&["create", "g", option, value]), &words);
    }
}

#[test]
fn values_of_the_configuration_file_are_refused_by_key_file_and_value() {
    let bench = Bench::new();
    for (line, words) in [
        (
            "attempt = 3",
            [
                "key \"attempt\" (from the file cluster-client.toml, line 1) is unknown: did you mean attempts? ",
                "use one of hosts, timeout, ",
            ],
        ),
        (
            "[paths]\nmembers = \"/\"",
            [
                "key \"paths.members\" (from the file cluster-client.toml, line 2) is unknown: did you mean paths.member?",
                "use one of paths.collection, paths.member",
            ],
        ),
        ("attempts = \"3\"", ["attempts \"3\" (from the file cluster-client.toml, line 1)", "without quotes"]),
        ("attempts = 0", ["\"0\" (from the file cluster-client.toml, line 1) is out of bounds", "choose 1 to 100"]),
        ("attempts = -3", ["attempts \"-3\" (from the file", "is no whole number above zero"]),
        ("timeout = 30", ["timeout \"30\" (from the file", "write it in quotes and with a unit, such as \"30s\""]),
        ("timeout = \"-30s\"", ["timeout \"-30s\" (from the file", "is negative"]),
        ("request_timeout = \"10\"", ["request_timeout \"10\" (from the file", "has no unit"]),
        ("first_delay = \"0s\"", ["first retry delay", "choose 1ms to 1h"]),
        ("first_delay = \"30s\"", ["longest retry delay \"10s\" (the default)", "choose the first delay to 1h"]),
        ("settle = \"3m\"\nrollback_timeout = \"3m\"", ["rollback timeout", "is not above the settle time of 3m"]),
        ("rollback_timeout = \"25h\"", ["rollback timeout", "choose 1ms to 24h"]),
        ("threads = 0", ["number of threads \"0\" (from the file", "choose 1 to 4096"]),
        ("engine = \"thread\"", ["engine \"thread\" (from the file", "write \"multiplexed\" or \"threads\""]),
        ("in_flight = 2000", ["number of operations in flight \"2000\" (from the file", "choose 1 to 1024"]),
        ("hosts = \"http://a\"", ["hosts \"http://a\" (from the file", "write [\"http://node1:8000\""]),
        ("journal = true", ["journal \"true\" (from the file", "is neither a directory nor an etcd:// URL nor false"]),
        ("paths = 1", ["paths \"1\" (from the file", "write [paths]"]),
        ("[paths]\ncollection = \"v1\"", ["collection path \"v1\" (from the file", "does not start with a slash"]),
        ("[paths]\nmember = \"/v1/\"", ["member path \"/v1/\" (from the file", "write {id} once"]),
        ("attempts = = 3", ["configuration file \"cluster-client.toml\" (the default) is not TOML", "line 1"]),
    ] {
        bench.configure(line);
        let mut command = bench.command(&["create", "g"]);
        command.env_remove("CLUSTER_CLIENT_ENGINE");
        // Hosts of the file count only if no others are named.
        if line.starts_with("hosts") {
            command.env_remove("HOSTS");
        }
        refused(&bench, &mut command, &words);
    }
}

#[test]
fn named_configuration_file_must_exist_and_the_default_one_need_not() {
    let bench = Bench::new();
    refused(
        &bench,
        &mut bench.command(&["create", "g", "--config", "none.toml"]),
        &[
            "configuration file \"none.toml\" (from --config) cannot be read: No such file",
            "name a file that can be read",
        ],
    );
    std::fs::remove_file(bench.path("cluster-client.toml")).unwrap();
    bench.run(&["create", "g"]).exits(0);
    assert!(bench.cluster.all_have("g"));
}

#[test]
fn invalid_groups_are_refused_before_anything_is_sent() {
    let bench = Bench::new();
    for (groups, words) in [
        (&[][..], ["no group was named", "give one or more, or -f FILE"]),
        (&["good", ""], ["group \"\" (from the command line)", "give it a name"]),
        (&["good", ".."], ["group \"..\" (from the command line)", "means another path"]),
        (&["good", "a\nb"], ["has the control character U+000A", "remove it"]),
        (&["good", "other", "good"], ["group \"good\" (from the command line) is there twice", "name each group once"]),
    ] {
        let arguments: Vec<&str> = [&["create"], groups].concat();
        refused(&bench, &mut bench.command(&arguments), &words);
    }
    let long = "x".repeat(256);
    refused(&bench, &mut bench.command(&["create", &long]), &["has 256 bytes, more than 255"]);
}

#[test]
fn invalid_arguments_are_refused() {
    let bench = Bench::new();
    refused(&bench, &mut bench.command(&["craete", "g"]), &["unrecognized subcommand 'craete'", "exists: 'create'"]);
    refused(
        &bench,
        &mut bench.command(&["create", "g", "--hots", "a"]),
        &["--hots", "similar argument exists: '--hosts'"],
    );
    refused(&bench, &mut bench.command(&["repair", "g"]), &["--to"]);
    refused(
        &bench,
        &mut bench.command(&["demo", "--hosts", "http://a"]),
        &["demo has no option --hosts: it sends nothing"],
    );
    refused(&bench, &mut bench.command(&["--timeout", "1s", "man"]), &["man has no option --timeout"]);
    refused(&bench, &mut bench.command(&["repair", "g", "--to", "gone"]), &["possible values: present, absent"]);
    for (option, value) in [("--in-flight", "lots"), ("--attempts", "1.5"), ("--max-failures", "")] {
        let words = [option, "it is no whole number: write digits only, such as 3"];
        refused(&bench, &mut bench.command(&["create", "g", option, value]), &words);
    }
    refused(&bench, &mut bench.command(&["create", "g", "--max-failures", "0"]), &["--max-failures", "1 or more"]);
    refused(&bench, &mut bench.command(&["create", "g", "--attempts", "-1"]), &["--attempts", "no whole number"]);
    refused(&bench, &mut bench.command(&[]), &["Usage: cluster-client"]);
}

#[test]
fn invalid_journal_directory_is_refused() {
    let bench = Bench::new();
    let file = bench.write("file", "");
    refused(
        &bench,
        &mut bench.command(&["create", "g", "--journal", "file"]),
        &["journal directory \"file\" (from --journal)", "name a directory that this user can write"],
    );
    refused(
        &bench,
        bench.command(&["create", "g"]).env("CLUSTER_CLIENT_JOURNAL", &file),
        &["(from the variable CLUSTER_CLIENT_JOURNAL)"],
    );
    refused(
        &bench,
        bench.command(&["create", "g"]).env("CLUSTER_CLIENT_JOURNAL", ""),
        &["(from the variable CLUSTER_CLIENT_JOURNAL) is empty"],
    );
    refused(&bench, &mut bench.command(&["create", "g", "--journal", "j", "--no-journal"]), &["cannot be used with"]);
    refused(
        &bench,
        &mut bench.command(&["recover", "--no-journal"]),
        &["there is none (from --no-journal): give --journal DIR"],
    );
}

#[test]
fn without_a_home_only_commands_that_need_the_journal_are_refused() {
    let bench = Bench::new();
    let homeless = |arguments| {
        let mut command = bench.command(arguments);
        command.env_remove("XDG_STATE_HOME").env_remove("HOME");
        command
    };
    for arguments in [&["create", "g"][..], &["delete", "g", "--yes"], &["repair", "g", "--to", "absent"], &["recover"]]
    {
        refused(
            &bench,
            &mut homeless(arguments),
            &[
                "neither XDG_STATE_HOME nor HOME is an absolute path",
                "--journal DIR or --journal etcd://HOST,HOST/PREFIX, or --no-journal",
            ],
        );
    }
    Ran::of(&mut homeless(&["hosts"])).exits(0).prints("no place: HOME is no absolute path, give --journal DIR");
    Ran::of(&mut homeless(&["create", "g", "--no-journal"])).exits(0);
    Ran::of(&mut homeless(&["status", "g"])).exits(0);
    assert!(bench.cluster.all_have("g"));
}

#[test]
fn commands_that_change_hosts_need_named_hosts() {
    let bench = Bench::new();
    let ways = ["--hosts", "CLUSTER_CLIENT_HOSTS", "HOSTS", "cluster-client.toml"];
    for arguments in [
        &["create", "g"][..],
        &["create", "g", "--no-preflight"],
        &["delete", "g", "--yes"],
        &["delete", "g"],
        &["repair", "g", "--to", "present"],
        &["repair", "g", "--to", "absent"],
    ] {
        // If the command sends requests after all, short timeouts keep it from waiting for a server on these addresses.
        let mut command = bench.command(&[arguments, &["--timeout", "1ms", "--request-timeout", "1ms"]].concat());
        command.env_remove("HOSTS");
        refused(&bench, &mut command, &[&["no hosts were named"][..], &ways].concat());
    }
    assert!(bench.journal_entries().is_empty());
    bench.configure(&format!("hosts = [\"{}\"]", bench.cluster.node(0).url()));
    Ran::of(bench.command(&["create", "g"]).env_remove("HOSTS")).exits(0);
    assert_eq!(bench.cluster.holders("g"), [0]);
}

#[test]
fn delete_without_a_terminal_needs_yes() {
    let bench = Bench::new();
    bench.cluster.node(0).insert("g");
    refused(&bench, &mut bench.command(&["delete", "g"]), &["delete g needs --yes", "add --yes"]);
    refused(&bench, &mut bench.command(&["delete", "g", "h"]), &["delete 2 groups needs --yes"]);
    assert_eq!(bench.cluster.holders("g"), [0]);
    bench.run(&["delete", "g", "--yes"]).exits(0);
    assert!(bench.cluster.none_has("g"));
}
