//! The output: JSON, colours, log lines, help, and a closed pipe.

use std::process::Stdio;

use cluster_client::testing::{Fault, Method};
use serde_json::json;

use crate::bench::{Bench, Ran, Running, list};
use crate::recovery::crash;
use crate::tls_server::{self, Authority};

#[test]
fn json_of_a_rollback_names_the_host_that_failed_and_why() {
    let bench = Bench::new();
    bench.cluster.node(2).inject(Fault::answer(503).on(Method::Post).always());
    let ran = bench.run(&["create", "payments", "-o", "json"]).exits(1);
    let [line] = &ran.json()[..] else { panic!("{}", ran.out) };
    assert_eq!(line["group"], "payments");
    assert_eq!(line["operation"], "create");
    assert_eq!(line["outcome"], "rolled_back");
    assert_eq!(line["exit"], 1);
    assert_eq!(line["recoverable"], false);
    assert_eq!(line["warnings"], json!([]));
    let config = bench.path("cluster-client.toml");
    assert_eq!(
        line["next"],
        json!([["cluster-client", "create", "--hosts", bench.urls(), "--config", config.to_str(), "payments"]])
    );
    assert!(line["elapsed_ms"].is_u64());
    let cause = &line["cause"];
    assert_eq!((&cause["kind"], &cause["hosts"]), (&json!("host"), &json!([bench.cluster.node(2).url()])));
    assert!(cause["message"].as_str().unwrap().ends_with(" answered 503 to create, 3 tries"));
    assert_eq!(cause["reason"]["step"]["status"], 503);
    assert_eq!(line["counts"], json!({"hosts": 3, "present": 0, "absent": 3, "unknown": 0}));
    let hosts = line["hosts"].as_array().unwrap();
    assert_eq!(hosts.len(), 3);
    for (host, node) in hosts.iter().zip(bench.cluster.nodes()) {
        assert_eq!(host["host"], node.url());
        assert_eq!(host["state"], "absent");
    }
    let refused = hosts[2]["steps"].as_array().unwrap().iter().find(|step| step["action"] == "create").unwrap();
    assert_eq!(
        (&refused["attempts"], &refused["status"], &refused["succeeded"]),
        (&json!(3), &json!(503), &json!(false))
    );
    assert!(bench.cluster.none_has("payments"));
}

#[test]
fn each_outcome_has_its_name_in_json() {
    let bench = Bench::new();
    let outcome = |arguments: &[&str], code| {
        let ran = bench.run(&[arguments, &["-o", "json"]].concat()).exits(code);
        let line = ran.json().remove(0);
        assert_eq!(line["exit"], code);
        (line["operation"].as_str().unwrap().to_owned(), line["outcome"].as_str().unwrap().to_owned())
    };
    let pair = |operation: &str, outcome: &str| (operation.to_owned(), outcome.to_owned());
    assert_eq!(outcome(&["create", "g"], 0), pair("create", "created"));
    assert_eq!(outcome(&["create", "g"], 5), pair("create", "already_exists"));
    assert_eq!(outcome(&["status", "g"], 0), pair("status", "observed"));
    assert_eq!(outcome(&["delete", "g", "--yes"], 0), pair("delete", "deleted"));
    assert_eq!(outcome(&["repair", "g", "--to", "present"], 0), pair("repair", "repaired"));
    bench.cluster.node(1).inject(Fault::answer(501).on(Method::Delete).always());
    assert_eq!(outcome(&["delete", "g", "--yes"], 3), pair("delete", "incomplete"));
    assert_eq!(outcome(&["recover"], 3), pair("recover", "incomplete"));
    bench.cluster.node(1).clear_faults();
    assert_eq!(outcome(&["recover"], 0), pair("recover", "recovered"));
    bench.cluster.node(1).stop();
    assert_eq!(outcome(&["create", "g"], 1), pair("create", "unavailable"));
    bench.cluster.node(1).restart().unwrap();
    bench.fail_after_the_probe(1);
    assert_eq!(outcome(&["create", "g"], 4), pair("create", "in_doubt"));
    assert_eq!(bench.cluster.holders("g"), [1]);
}

#[test]
fn help_of_json_has_every_field() {
    let bench = Bench::new();
    let help = bench.run(&["help", "json"]).exits(0).out;
    for field in ["group", "operation", "outcome", "exit", "hosts", "steps", "cause", "recoverable", "warnings", "next"]
    {
        assert!(help.contains(&format!("  {field} ")), "{field}\n{help}");
    }
}

#[test]
fn results_go_to_standard_output_and_messages_to_standard_error() {
    let bench = Bench::new();
    let ran = bench.run(&["create", "payments", "-o", "json", "-vv"]).exits(0);
    assert_eq!(ran.out.lines().count(), 1);
    let ran = ran.reports("DEBUG").reports("payments: creating");
    assert!(ran.err.contains("created on"), "{}", ran.err);
    assert!(bench.cluster.all_have("payments"));
}

#[test]
fn quiet_leaves_only_results() {
    let bench = Bench::new();
    let ran = bench.run(&["create", "payments", "-q"]).exits(0).prints("payments is on 3 of 3 hosts");
    assert_eq!(ran.err, "");
}

#[test]
fn log_lines_need_verbose_and_rust_log_overrides_it() {
    let bench = Bench::new();
    let log = |arguments: &[&str], variable: &str| {
        let mut command = bench.command(&[&["status", "g", "-q"], arguments].concat());
        Ran::of(command.env("RUST_LOG", variable)).exits(1).err
    };
    assert_eq!(log(&[], ""), "");
    assert!(log(&["-v"], "").contains("INFO"));
    assert!(!log(&["-v"], "").contains("DEBUG"));
    assert!(log(&["-vv"], "").contains("DEBUG"));
    assert_eq!(log(&["-vv"], "off"), "");
    assert!(log(&[], "debug").contains("DEBUG"));
}

#[test]
fn colours_and_marks_without_a_terminal_need_color_always() {
    let bench = Bench::new();
    let status = |arguments: &[&str], variable: Option<&str>| {
        let mut command = bench.command(&[&["status", "g"], arguments].concat());
        variable.map(|value| command.env("NO_COLOR", value));
        Ran::of(&mut command).exits(1).out
    };
    for plain in [status(&[], None), status(&["--color", "never"], None), status(&[], Some("1"))] {
        assert!(!plain.contains('\x1b') && !plain.contains("- "), "{plain:?}");
    }
    let colored = status(&["--color", "always"], None);
    assert!(colored.contains("\x1b[") && colored.contains("- "), "{colored:?}");
}

#[test]
fn closed_standard_output_does_not_stop_the_operations() {
    let bench = Bench::new();
    bench.write("groups.txt", list(300));
    let mut command = bench.command(&["create", "-f", "groups.txt", "-o", "json", "-q"]);
    let mut running = Running::of(command.stdout(Stdio::piped()));
    assert!(running.first_line().starts_with('{'));
    drop(running.child().stdout.take());
    let ran = running.ends();
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert!((0..300).all(|number| bench.cluster.all_have(&format!("group-{number}"))));
}

#[test]
fn help_version_completions_and_man_survive_a_closed_pipe() {
    let bench = Bench::new();
    for arguments in [&["--help"][..], &["--version"], &["completions", "bash"], &["man"], &["hosts"]] {
        let mut running = Running::of(&mut bench.command(arguments));
        drop(running.child().stdout.take());
        let ran = running.ends();
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn help_names_every_command_and_shows_examples() {
    let bench = Bench::new();
    let short = bench.run(&["-h"]).exits(0);
    assert_eq!(short.err, "");
    for command in
        ["create", "delete", "status", "repair", "probe", "recover", "hosts", "node", "demo", "completions", "man"]
    {
        assert!(short.out.contains(&format!("\n  {command} ")), "{command}\n{}", short.out);
        bench.run(&[command, "--help"]).exits(0).prints(&format!("Usage: cluster-client {command}"));
        bench.run(&["help", command]).exits(0);
    }
    short.prints("Examples:").prints("cluster-client create payments");
    bench.run(&["help", "exit-codes"]).exits(0).prints("  130  interrupted");
    bench.run(&["help", "configuration"]).exits(0).prints("CLUSTER_CLIENT_JOURNAL").prints("request_timeout = \"10s\"");
    let faults = bench.run(&["help", "faults"]).exits(0).prints("--error-rate RATE").prints("--slash HABIT");
    faults.prints("existing group [default: 400]\n").prints(" [lenient, strict, redirect; default: lenient]\n");
    let unknown = bench.run(&["help", "exit-code"]).exits(2);
    unknown.reports("there is no command or topic \"exit-code\": did you mean exit-codes? use one of create, delete");
    let version = bench.run(&["--version"]).exits(0);
    assert_eq!(version.out, format!("cluster-client {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn configuration_of_the_help_topic_is_accepted_and_has_every_key() {
    let bench = Bench::new();
    let help = bench.run(&["help", "configuration"]).exits(0).out;
    let from = help.find("hosts = [").unwrap();
    let lines = help[from..].lines().map(str::trim).take_while(|line| !line.is_empty());
    // Settings whose default cannot be written are comments. Remove the marks.
    let example: String = lines.map(|line| line.trim_start_matches("# ").to_owned() + "\n").collect();
    let authority = Authority::new("any");
    let client = authority.issue(&tls_server::named(&["client"]));
    bench.write("ca.pem", authority.pem);
    bench.write("client.pem", client.chain);
    bench.write("client.key", client.key);
    for file in ["token", "file", "password"] {
        bench.write(file, "secret");
    }
    let hosts = || Ran::of(bench.command(&["hosts", "-o", "json"]).env_remove("CLUSTER_CLIENT_ENGINE")).exits(0);
    // The API is either named or given by its paths.
    let named: String = example.lines().take_while(|line| !line.starts_with("[paths]")).collect::<Vec<_>>().join("\n");
    bench.configure(&named);
    assert_eq!(hosts().json()[0]["settings"]["api"]["origin"], "file");
    let example: String = example.lines().filter(|line| !line.starts_with("api =")).collect::<Vec<_>>().join("\n");
    bench.configure(&example);
    let ran = hosts();
    for (key, setting) in ran.json()[0]["settings"].as_object().unwrap() {
        let expected = if key == "hosts" { "variable" } else { "file" };
        assert_eq!(setting["origin"], expected, "{key} is not in the example\n{example}");
    }
}

#[test]
fn completions_exist_for_every_shell_and_a_page_for_every_command() {
    let bench = Bench::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        bench.run(&["completions", shell]).exits(0).prints("cluster-client").prints("request-timeout").prints("engine");
    }
    bench.run(&["completions", "tcsh"]).exits(2).reports("possible values: bash");
    bench.run(&["man"]).exits(0).prints(".TH cluster-client 1");
    bench.run(&["man", "create"]).exits(0).prints(".TH cluster-client-create 1").prints("no\\-preflight");
    let page = bench.run(&["man"]).exits(0).out;
    for section in ["NAME", "SYNOPSIS", "EXAMPLES", "\"EXIT STATUS\"", "ENVIRONMENT", "FILES"] {
        assert!(page.contains(&format!("\n.SH {section}\n")), "{section}\n{page}");
    }
    for word in ["CLUSTER_CLIENT_IN_FLIGHT", "130  interrupted", "HOSTS", "cluster-client.toml", "XDG_STATE_HOME"] {
        assert!(page.replace("\\-", "-").contains(word), "{word}\n{page}");
    }
    let hint = "there is no command \"craete\": did you mean create? use one of create, delete";
    bench.run(&["man", "craete"]).exits(2).reports(hint);
}

#[test]
fn each_option_of_a_page_has_its_help() {
    let bench = Bench::new();
    for (command, options) in [("create", 18), ("node", 18), ("recover", 15)] {
        let page = bench.run(&["man", command]).exits(0).out.replace("\\-", "-");
        let page = page.split("\n.SH ENVIRONMENT").next().unwrap();
        let lines: Vec<&str> = page.lines().collect();
        let of_options = lines.windows(2).filter(|pair| pair[0].contains("\\fB--"));
        let helps: Vec<&str> = of_options.skip(1).map(|pair| pair[1]).collect();
        assert!(helps.len() >= options && helps.iter().all(|help| !help.is_empty()), "{helps:?}\n{page}");
        assert_eq!(page.contains("--request-timeout"), command != "node", "{page}");
    }
}

#[test]
fn completions_of_a_command_have_the_options_that_it_uses() {
    let bench = Bench::new();
    let script = bench.run(&["completions", "bash"]).exits(0).out;
    let of_zsh = bench.run(&["completions", "zsh"]).exits(0).out;
    assert!(of_zsh.contains("'*:ids -- ") && !of_zsh.contains("'*::"), "no option after a group: {of_zsh}");
    let options = |command: &str| {
        let (_, rest) = script.split_once(&format!("\n        cluster__client__subcmd__{command})\n")).unwrap();
        rest.lines().next().unwrap().to_owned()
    };
    assert!(options("create").contains(" --hosts ") && options("create").contains(" --dry-run "));
    assert!(options("node").contains(" --error-rate ") && options("node").contains(" --output "));
    assert!(!options("node").contains("--hosts") && !options("node").contains("--journal"), "{}", options("node"));
}

/// Asks bash itself for the completions of a line, whose last word is being typed.
#[cfg(unix)]
#[test]
fn bash_completes_commands_options_and_values() {
    let bench = Bench::new();
    bench.write("script", bench.run(&["completions", "bash"]).exits(0).out);
    let completed = |line: &[&str]| {
        let words = line.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
        let [.., before, typed] = line else { panic!("two words") };
        let last = line.len() - 1;
        let script = format!(
            "source ./script; COMP_WORDS=({words}); COMP_CWORD={last}; _cluster__client cluster-client '{typed}' '{before}'
             echo \"${{COMPREPLY[@]}}\""
        );
        let mut bash = std::process::Command::new("bash");
        let ran = Ran::of(bash.args(["--norc", "-c", &script]).current_dir(bench.path(""))).exits(0);
        ran.out.trim().to_owned()
    };
    for (line, completion) in [
        (&["cluster-client", "stat"][..], "status"),
        (&["cluster-client", "status", "--time"], "--timeout"),
        (&["cluster-client", "repair", "g", "--to", ""], "present absent"),
        (&["cluster-client", "journal", "f"], "forget"),
        (&["cluster-client", "journal", "forget", "--y"], "--yes"),
    ] {
        assert_eq!(completed(line), completion, "{line:?}");
    }
}

/// A full disk must not leave half a manual page and success.
#[cfg(target_os = "linux")]
#[test]
fn command_that_only_prints_fails_if_its_output_cannot_be_written() {
    let bench = Bench::new();
    crash(&bench, "payments");
    let run = |line: &str| {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        Ran::from(bench.command(&line.split(' ').collect::<Vec<_>>()).stdout(full).output().unwrap())
    };
    for line in [
        "man",
        "man create",
        "help json",
        "help",
        "--help",
        "create --help",
        "--version",
        "completions bash",
        "hosts",
        "hosts -o json",
        "journal list",
        "journal show payments",
    ] {
        run(line).exits(1).reports("warning: results cannot be printed: ");
    }
    // These tell the state of the cluster by their exit code.
    run("status payments").exits(3).reports("warning: results cannot be printed: ");
    run("recover").exits(0);
    assert!(bench.cluster.none_has("payments"));
}
