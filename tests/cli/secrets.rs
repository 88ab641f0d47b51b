//! Passwords in refused values. The output must not contain them.

use std::ffi::OsString;
use std::process::Command;

use crate::bench::{Bench, Ran};

/// The password of every test, in parts. The tests search for each part, because a text may be cut anywhere.
const PARTS: [&str; 2] = ["S3CR3T", "W0RD"];

/// Invalid hosts that contain the password.
const HOSTS: [&str; 29] = [
    "http://user:S3CR3T@node1,,http://node2",
    "http://node2,,http://user:S3CR3T@node1",
    "http://user:S3CR3T@node1,",
    ",http://user:S3CR3T@node1",
    "http://user:S3CR3T@node1",
    "http://S3CR3T@node1",
    "user:S3CR3T@node1",
    "user:S3CR3T@http://node1",
    "user:S3CR3T@https://node1:8000/x",
    "http://user:S3CR3T/W0RD@node1",
    "http://user:80/S3CR3T@node1",
    "http://user:S3CR3T#W0RD@node1",
    "http://user:S3CR3T?W0RD@node1",
    "http://user:S3CR3T,W0RD@node1,http://node2",
    "http://user:80,S3CR3T@node1",
    "http://user:S3CR3T W0RD@node1",
    "http://user:S3CR3T@W0RD@node1",
    "http://user:S3CR3T:W0RD@node1",
    "http://user:S3CR3T\nW0RD@node1",
    "https//user:S3CR3T@node1",
    "http:/user:S3CR3T@node1",
    "http:user:S3CR3T@node1",
    "S3CR3T://user:W0RD@node1",
    "http%3A//user:S3CR3T%40node1",
    // A shell cuts the argument at an `&`.
    "http://user:S3CR3T",
    "user:S3CR3T",
    "http://user:S3CR3T http://node2",
    "http://node2 http://user:S3CR3T",
    "@user:S3CR3T@node1",
];

/// Asserts that the command ends in time, and that its output has no part of the password.
#[track_caller]
fn shows_no_part(command: &mut Command) -> Ran {
    let ran = Ran::of(command);
    assert!(ran.code.is_some(), "{ran:#?}");
    for part in PARTS {
        assert!(!ran.out.contains(part) && !ran.err.contains(part), "{part} is shown: {command:?}\n{ran:#?}");
    }
    ran
}

/// Asserts that the command is refused, and that its output has no part of the password.
#[track_caller]
fn refused(command: &mut Command) -> Ran {
    shows_no_part(command).exits(2)
}

#[test]
fn refused_hosts_show_no_password_of_any_origin() {
    let bench = Bench::new();
    for hosts in HOSTS {
        for format in ["table", "json"] {
            let message = refused(&mut bench.command(&["status", "g", "-o", format, "--hosts", hosts]));
            assert!(message.err.contains("--hosts") && message.err.contains("***"), "{hosts}: {message:#?}");
            let message = refused(bench.command(&["hosts", "-vv", "-o", format]).env("HOSTS", hosts));
            assert!(message.err.contains("the variable HOSTS") && message.err.contains("***"), "{hosts}: {message:#?}");
        }
        bench.write("hosts.txt", hosts);
        refused(&mut bench.command(&["status", "g", "--hosts-file", "hosts.txt"])).reports("***");
        bench.configure(&format!("hosts = [{hosts:?}]"));
        refused(bench.command(&["create", "g"]).env_remove("HOSTS")).reports("cluster-client.toml");
        bench.configure(&format!("hosts = {hosts:?}"));
        refused(bench.command(&["create", "g"]).env_remove("HOSTS")).reports("is not a list of texts");
        bench.configure("");
    }
    bench.assert_untouched();
}

#[test]
fn refused_groups_and_variables_show_no_password() {
    let bench = Bench::new();
    for url in HOSTS.iter().filter(|url| url.starts_with("http://")) {
        refused(&mut bench.command(&["create", url, "--hosts", "http://node1"])).reports("looks like a host");
        for variable in ["TIMEOUT", "ATTEMPTS", "OUTPUT", "QUIET", "IN_FLIGHT", "COLOR"] {
            let variable = format!("CLUSTER_CLIENT_{variable}");
            refused(bench.command(&["status", "g"]).env(&variable, url)).reports(&variable);
        }
    }
    bench.assert_untouched();
}

#[test]
fn refused_host_is_named_without_its_password() {
    let bench = Bench::new();
    let ran = bench.run(&["create", "g", "--hosts", "http://user:S3CR3T@node1:8000"]).exits(2);
    ran.reports("host \"http://***@node1:8000\" (from --hosts) has user info: leave out user and password");
}

#[test]
#[cfg(unix)]
fn hosts_that_are_not_utf_8_show_no_password() {
    use std::os::unix::ffi::OsStringExt as _;
    let bench = Bench::new();
    for bytes in [&b"http://user:S3CR3T\xff@node1"[..], b"http://user:S3CR3T@node1/\xff", b"\xffuser:S3CR3T\xc3@n"] {
        let hosts = OsString::from_vec(bytes.to_vec());
        refused(bench.command(&["create", "g"]).env("HOSTS", &hosts)).reports("is not UTF-8");
        refused(bench.command(&["create", "g", "--hosts"]).arg(&hosts));
        refused(bench.command(&["create", "g", "--timeout"]).arg(&hosts));
        refused(
            bench
                .command(&["create", "g"])
                .env("CLUSTER_CLIENT_JOURNAL", bench.path("cluster-client.toml").join(&hosts)),
        );
    }
}

#[test]
fn configuration_files_that_are_refused_show_no_password() {
    let bench = Bench::new();
    for (text, place) in [
        ("hosts = [\"http://user:S3CR3T@n\" \"http://n\"]", "line 1, column"),
        ("# a comment\nhosts = http://user:S3CR3T@n", "line 2, column"),
        ("hosts = [\"http://user:S3CR3T@n\"", "line 1, column"),
        ("hosts = \"http://user:S3CR3T@n", "line 1, column"),
        ("hosts = [\"http://user:S3CR3T@n\"]\nhosts = [\"http://user:W0RD@n\"]", "duplicate key"),
        ("hosts = [\"http://user:S3CR3T@n\"]\n[hosts]\n", "duplicate key"),
        ("hosts = [\"http://user:S3CR3T@n\"]\nhosts.x = 1\n", "line 2, column"),
        ("hosts = [\"http://user:S3CR3T@n\", \"\\q\"]", "line 1, column"),
        ("http://user:S3CR3T@n", "line 1, column"),
        ("\"http://user:S3CR3T@n\" = 1\n\"http://user:S3CR3T@n\" = 2", "duplicate key"),
        ("\"http://user:S3CR3T@n\" = 1", "key \"http://***@n\" (from the file"),
        ("[paths]\n\"http://user:S3CR3T@n\" = 1", "is unknown"),
        ("[paths]\ncollection = [\"http://user:S3CR3T@n\"]", "is not a text"),
        ("[paths]\ncollection = \"http://user:S3CR3T@n\"", "***@n"),
        ("paths = \"http://user:S3CR3T@n\"", "is not a table"),
        ("timeout = \"user:S3CR3T@n\"", "***@n"),
        ("timeout = \"user:S3CR3T W0RD@n\"", "***@n"),
        ("attempts = \"user:S3CR3T@n\"", "***@n"),
        ("journal = [\"http://user:S3CR3T@n\"]", "is neither a directory"),
        ("hosts = [\"http://n:1\"]\njournal = \"cluster-client.toml/http://user:S3CR3T/W0RD@n\"", "journal directory"),
        ("hosts = [\"http://user:S3CR3T@n\", 1]", "is not a list of texts"),
        ("hosts = { a = \"http://user:S3CR3T@n\" }", "is not a list of texts"),
        ("hosts = [\"\"\"http://user:S3CR3T\nW0RD@n\"\"\"]", "has user info"),
        ("hosts = [\"http://user:S3CR3T\\u0040n\"]", "has user info"),
    ] {
        bench.configure(text);
        let ran = refused(bench.command(&["create", "g"]).env_remove("HOSTS"));
        assert!(ran.err.contains(place) && ran.err.contains("cluster-client.toml"), "{text}\n{ran:#?}");
        assert_eq!(ran.err.lines().count(), 1, "an error is one line\n{}", ran.err);
    }
    bench.write("cluster-client.toml", b"attempts = 3\nhosts = [\"http://user:S3CR3T\xff@n\"]\n");
    refused(&mut bench.command(&["create", "g"])).reports("not UTF-8 in line 2");
    bench.assert_untouched();
}

#[test]
fn syntax_error_names_the_key_of_its_line() {
    let bench = Bench::new();
    bench.configure("attempts = 3\nhosts = http://user:S3CR3T@n\n");
    refused(&mut bench.command(&["create", "g"])).reports(
        "configuration file \"cluster-client.toml\" (the default) is not TOML: line 2, column 9, at the key hosts: ",
    );
}

#[test]
fn arguments_that_are_refused_show_no_password() {
    let bench = Bench::new();
    bench.write("file", "");
    for arguments in [
        &["create", "g", "--timeout", "user:S3CR3T@x"][..],
        &["create", "g", "--timeout=http://user:S3CR3T@x"],
        &["create", "g", "--timeout", "http://user:S3CR3T W0RD@x"],
        &["create", "g", "--timeout", "http://user:S3CR3T"],
        &["create", "g", "--request-timeout", "user:S3CR3T@x"],
        &["create", "g", "--attempts", "user:S3CR3T@x"],
        &["create", "g", "--output", "user:S3CR3T@x"],
        &["create", "g", "--color", "user:S3CR3T@x"],
        &["create", "g", "--http://user:S3CR3T@x"],
        &["create", "g", "--hots=http://user:S3CR3T@x"],
        &["create", "g", "--user:S3CR3T@x"],
        &["create", "g", "--user:S3CR3T=W0RD@x"],
        &["repair", "g", "--to", "http://user:S3CR3T@x"],
        &["http://user:S3CR3T@x"],
        &["user:S3CR3T/W0RD@x", "g"],
        &["hosts", "http://user:S3CR3T@x"],
        &["recover", "user:S3CR3T@x"],
        &["create", "g", "--no-preflight=user:S3CR3T@x"],
        &["man", "http://user:S3CR3T@x"],
        &["completions", "http://user:S3CR3T@x"],
        &["node", "http://user:S3CR3T@x"],
        &["node", "user:S3CR3T W0RD@x"],
        &["node", "127.0.0.1:0", "--seed", "user:S3CR3T@x"],
        &["node", "127.0.0.1:0", "--data", "file/http://user:S3CR3T@x"],
        &["create", "g", "--config", "http://user:S3CR3T@x"],
        &["create", "g", "--config", "user:S3CR3T W0RD@x"],
        &["create", "-f", "http://user:S3CR3T@x"],
        &["create", "-f", "user:S3CR3T W0RD@x"],
        &["create", "g", "--journal", "file/http://user:S3CR3T@x"],
        &["create", "g", "--journal", "file/user:S3CR3T W0RD/x@x"],
        &["create", "http://user:S3CR3T@x\u{1}"],
        &["create", "http://user:S3CR3T@x", "http://user:S3CR3T@x"],
    ] {
        refused(&mut bench.command(arguments));
    }
    bench.assert_untouched();
}

#[test]
fn lists_of_groups_that_are_refused_show_no_password() {
    let bench = Bench::new();
    let long = format!("user:S3CR3T@{}", "x".repeat(300));
    for list in ["user:S3CR3T@x\nuser:S3CR3T@x\n", "http://user:S3CR3T W0RD@\u{1}x\n", &long] {
        bench.write("groups.txt", list);
        refused(&mut bench.command(&["create", "-f", "groups.txt"])).reports("groups.txt, line ").reports("***@");
    }
    bench.assert_untouched();
}

/// After a cut, the end of the password could not be found.
#[test]
fn long_texts_are_masked_before_they_are_cut() {
    let bench = Bench::new();
    let hosts = format!("http://user:S3CR3T{}@node1", "W0RD".repeat(100));
    refused(&mut bench.command(&["create", "g", "--hosts", &hosts])).reports("http://***@node1");
    let journal = format!("cluster-client.toml/user:S3CR3T{}@node1", "W0RD".repeat(30));
    refused(&mut bench.command(&["create", "g", "--journal", &journal])).reports("***@node1");
}

/// The help of clap can print the values of environment variables.
#[test]
fn help_shows_no_password_of_a_variable() {
    let bench = Bench::new();
    let variables = ["HOSTS", "HOSTS_FILE", "CONFIG", "JOURNAL", "TIMEOUT", "REQUEST_TIMEOUT", "ATTEMPTS", "OUTPUT"];
    for arguments in [&["--help"][..], &["-h"], &["create", "--help"], &["help", "hosts"], &["man"]] {
        let mut command = bench.command(arguments);
        for variable in variables {
            command.env(variable, "http://user:S3CR3T@x");
            command.env(format!("CLUSTER_CLIENT_{variable}"), "http://user:S3CR3T@x");
        }
        shows_no_part(&mut command);
    }
}
