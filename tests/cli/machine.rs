//! Output for programs: JSON of every command and outcome, names, the schema, and log lines. `Ran::json` checks each line
//! against the schema.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cluster_client::testing::{Fault, Method, Node};
use serde_json::{Value, json};

use crate::bench::{Bench, PATIENCE, Ran, list, text};
use crate::recovery::crash;
use crate::schema::{assert_described, problem};

/// Runs the command with `-o json`, and returns its only line.
#[track_caller]
fn line(bench: &Bench, arguments: &[&str], code: i32) -> Value {
    let ran = bench.run(&[arguments, &["-o", "json"]].concat()).exits(code);
    let [line] = &ran.json()[..] else { panic!("{ran:#?}") };
    assert_eq!(line["exit"], code, "{line:#}");
    line.clone()
}

#[test]
fn schema_describes_a_result_of_every_outcome() {
    let mut seen = BTreeSet::new();
    let mut saw = |line: &Value, outcome: &str| {
        assert_eq!(line["outcome"], outcome, "{line:#}");
        seen.insert(outcome.to_owned());
    };
    let bench = Bench::new();
    let post = || bench.cluster.node(1);
    saw(&line(&bench, &["create", "g"], 0), "created");
    saw(&line(&bench, &["create", "g"], 5), "already_exists");
    saw(&line(&bench, &["status", "g"], 0), "observed");
    saw(&line(&bench, &["delete", "g", "--yes"], 0), "deleted");
    let repaired = line(&bench, &["repair", "g", "--to", "absent"], 0);
    assert_eq!((&repaired["target"], &repaired["counts"]["absent"]), (&json!("absent"), &json!(3)));
    saw(&repaired, "repaired");
    post().inject(Fault::answer(422).on(Method::Post));
    saw(&line(&bench, &["create", "g"], 1), "rolled_back");
    post().inject(Fault::mute().on(Method::Post));
    saw(&line(&bench, &["create", "g", "--timeout", "300ms"], 1), "timed_out");
    post().inject(Fault::answer(422).on(Method::Get).always());
    saw(&line(&bench, &["create", "g"], 1), "unavailable");
    post().clear_faults();
    bench.cluster.node(0).insert("g");
    post().inject(Fault::answer(501).on(Method::Delete).always());
    post().insert("g");
    saw(&line(&bench, &["delete", "g", "--yes"], 3), "incomplete");
    post().clear_faults();
    let recovered = line(&bench, &["recover"], 0);
    saw(&recovered, "recovered");
    bench.fail_after_the_probe(1);
    let doubt = line(&bench, &["create", "g"], 4);
    assert_eq!((&doubt["recoverable"], &doubt["counts"]["unknown"]), (&json!(true), &json!(1)));
    saw(&doubt, "in_doubt");
    post().clear_faults();
    // The recovery of the older operation comes first.
    assert_eq!(line(&bench, &["create", "g"], 0)["earlier"]["outcome"], "recovered");
    saw(&line(&bench, &["create", "."], 2), "refused");
    saw_interrupted(&mut saw);
    saw_journal(&mut saw);
    let schema: Value = serde_json::from_str(include_str!("../../docs/json-schema.json")).unwrap();
    let all = schema["$defs"]["outcome"]["enum"].as_array().unwrap().iter().map(|word| word.as_str().unwrap().into());
    assert_eq!(seen, all.collect(), "each outcome of the schema is seen");
}

/// A create that runs, and one that is cancelled.
fn saw_interrupted(saw: &mut dyn FnMut(&Value, &str)) {
    let bench = Bench::new();
    bench.cluster.node(1).inject(Fault::mute().on(Method::Post));
    let mut create = bench.start(&["create", "g", "--request-timeout", "1s", "-o", "json"]);
    assert!(bench.cluster.node(1).wait_until(|node| node.count(Method::Post) == 1, PATIENCE));
    saw(&line(&bench, &["create", "g"], 1), "busy");
    create.signal("INT");
    let lines = create.ends().exits(130).json();
    saw(&lines[0], "cancelled");
    assert!(bench.cluster.none_has("g"));
}

/// The outcomes that the journal causes.
fn saw_journal(saw: &mut dyn FnMut(&Value, &str)) {
    let bench = Bench::new();
    crash(&bench, "payments");
    bench.cluster.nodes().iter().for_each(Node::clear_faults);
    let urls = bench.cluster.urls();
    let two = urls[..2].join(",");
    let conflict = line(&bench, &["repair", "payments", "--to", "absent", "--hosts", &two], 1);
    assert_eq!(conflict["cause"]["hosts"], json!([urls[2]]));
    saw(&conflict, "conflict");
    let ran = bench.run(&["journal", "forget", &urls[2], "--yes", "-o", "json"]).exits(0);
    saw(&ran.json()[0], "forgotten");
    let entry = bench.journal().join("payments.intent");
    fs::write(&entry, "torn").unwrap();
    saw(&line(&bench, &["create", "payments"], 1), "journal_failed");
    fs::remove_file(&entry).unwrap();

    let slow = Fault::delay(Duration::from_millis(700)).on(Method::Post);
    bench.cluster.node(2).inject(slow);
    let create = bench.start(&["create", "orders", "-o", "json"]);
    assert!(bench.cluster.node(0).wait_until(|node| node.has("orders"), PATIENCE));
    // A directory in the place of the entry cannot be removed as a file.
    let entry = bench.journal().join("orders.intent");
    fs::remove_file(&entry).unwrap();
    fs::create_dir(&entry).unwrap();
    fs::write(entry.join("in the way"), "").unwrap();
    saw(&create.ends().exits(4).json()[0], "unrecorded");
}

#[test]
fn every_command_with_json_prints_described_lines() {
    let bench = Bench::new();
    crash(&bench, "payments");
    bench.cluster.nodes().iter().for_each(Node::clear_faults);
    let kinds = |arguments: &[&str], code| {
        let lines = bench.run(&[arguments, &["-o", "json"]].concat()).exits(code).json();
        lines.iter().map(|line| line["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&["hosts"], 0), ["settings"]);
    assert_eq!(kinds(&["journal", "list"], 0), ["entry"]);
    assert_eq!(kinds(&["journal", "show", "payments"], 0), ["entry"]);
    assert_eq!(kinds(&["journal", "show", "orders"], 1), ["result"]);
    fs::write(bench.journal().join("orders.intent"), "torn").unwrap();
    assert_eq!(kinds(&["journal", "list"], 4), ["entry", "journal_error"]);
    assert_eq!(kinds(&["recover"], 4), ["result", "result"]);
    assert_eq!(kinds(&["create", "g", "h", "i"], 0), ["result", "result", "result"]);

    let mut node = bench.start(&["node", "127.0.0.1:0", "-o", "json"]);
    let first: Value = serde_json::from_str(&node.first_line()).unwrap();
    assert_described(&first);
    let url = first["node"]["url"].as_str().unwrap();
    assert_eq!(Ran::of(bench.command(&["status", "g"]).env("HOSTS", url)).code, Some(1));
}

#[test]
fn usage_errors_are_json_too() {
    let bench = Bench::new();
    bench.configure_also("attempts = \"many\"\n");
    for (arguments, operation, message) in [
        (&["create", "g", "--frobnicate"][..], None, "unexpected argument '--frobnicate' found"),
        (&["craete", "g"], None, "unrecognized subcommand 'craete'"),
        (&["repair", "g", "--to", "there"], None, "invalid value 'there' for '--to <STATE>'"),
        (&[], None, "requires a subcommand"),
        (&["create", "g"], Some("create"), "attempts"),
        (&["recover"], Some("recover"), "attempts"),
        (&["journal", "forget", "node9", "--yes"], Some("forget"), "has no scheme"),
    ] {
        for json in [&["-o", "json"][..], &["--output=json"], &["-ojson"]] {
            let ran = bench.run(&[arguments, json].concat()).exits(2);
            let [line] = &ran.json()[..] else { panic!("{ran:#?}") };
            assert_eq!((&line["outcome"], &line["exit"], &line["group"]), (&json!("refused"), &json!(2), &Value::Null));
            assert_eq!((line["operation"].as_str(), &line["cause"]["kind"]), (operation, &json!("config")));
            let cause = line["cause"]["message"].as_str().unwrap();
            assert!(cause.contains(message) && !cause.contains("Usage"), "{cause}");
            assert!(ran.err.contains(message), "a person reads it too: {ran:#?}");
        }
        assert_eq!(bench.run(arguments).out, "");
        let by_variable = |value: &str, arguments: &[&str]| {
            Ran::of(bench.command(arguments).env("CLUSTER_CLIENT_OUTPUT", value)).exits(2)
        };
        assert_eq!(by_variable("json", arguments).json().len(), 1, "{arguments:?}");
        assert_eq!(by_variable("json", &[arguments, &["-o", "table"]].concat()).out, "", "{arguments:?}");
    }
    bench.assert_untouched();
}

/// A variable does not count, because it is meant for every command.
#[test]
fn command_without_results_has_no_option_for_their_format() {
    let bench = Bench::new();
    for words in [&["demo"][..], &["completions", "bash"], &["man"], &["man", "create"], &["help"], &["help", "json"]] {
        let ran = bench.run(&[words, &["-o", "json"]].concat()).exits(2);
        let message = format!("{} has no option --output: it prints no results", words[0]);
        let [line] = &ran.json()[..] else { panic!("{ran:#?}") };
        assert_eq!((&line["outcome"], &line["cause"]["message"]), (&json!("refused"), &json!(message)));
        assert!(ran.err.contains(&message), "{}", ran.err);
        bench.run(&[words, &["-o", "name"]].concat()).exits(2).reports(&message);
        if words != ["demo"] {
            Ran::of(bench.command(words).env("CLUSTER_CLIENT_OUTPUT", "json")).exits(0);
        }
    }
}

#[test]
fn password_in_a_refused_argument_is_not_in_the_json_line() {
    let bench = Bench::new();
    for arguments in [&["create", "g", "--hosts", "http://user:s3cret@node1"][..], &["create", "g", "--u:s3cret@n"]] {
        let ran = bench.run(&[arguments, &["-o", "json"]].concat()).exits(2);
        assert_eq!(ran.json().len(), 1);
        assert!(!ran.out.contains("s3cret") && !ran.err.contains("s3cret"), "{ran:#?}");
    }
}

#[test]
fn names_are_those_of_the_groups_that_succeeded() {
    let bench = Bench::new();
    bench.cluster.node(0).insert("b");
    let ran = bench.run(&["create", "a", "b", "c", "-o", "name"]).exits(5);
    let mut names: Vec<&str> = ran.out.lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["a", "c"]);
    assert!(ran.err.contains("already has b"), "{ran:#?}");
    assert_eq!(bench.run(&["status", "a", "b", "-o", "name"]).exits(3).out, "a\n");
    // The names are a list that -f reads.
    let file = bench.write("names", "a\nc\n");
    assert_eq!(bench.run(&["delete", "-f", text(&file), "--yes", "-o", "name"]).exits(0).out.lines().count(), 2);
    assert_eq!(bench.run(&["hosts", "-o", "name"]).exits(0).out, bench.cluster.urls().join("\n") + "\n");
    bench.cluster.nodes().iter().for_each(Node::clear_log);
    crash(&bench, "payments");
    bench.cluster.nodes().iter().for_each(Node::clear_faults);
    assert_eq!(bench.run(&["journal", "list", "-o", "name"]).exits(0).out, "payments\n");
    assert_eq!(bench.run(&["journal", "show", "payments", "-o", "name"]).exits(0).out, "payments\n");
    assert_eq!(bench.run(&["recover", "-o", "name"]).exits(0).out, "payments\n");
}

#[test]
fn help_prints_the_schema_and_the_schema_refuses_what_it_does_not_describe() {
    let bench = Bench::new();
    let printed = bench.run(&["help", "json-schema"]).exits(0).out;
    assert_eq!(printed, include_str!("../../docs/json-schema.json"));
    let line = line(&bench, &["status", "g"], 1);
    for (field, value) in [("outcome", json!("fine")), ("kind", json!("report")), ("extra", json!(1))] {
        let mut wrong = line.clone();
        wrong[field] = value;
        assert!(problem(&wrong).is_some(), "{wrong:#}");
    }
    let mut short = line.clone();
    short.as_object_mut().unwrap().remove("counts");
    assert!(problem(&short).is_some());
}

#[test]
fn log_lines_are_json_if_asked_for() {
    let bench = Bench::new();
    bench.cluster.node(1).inject(Fault::drop_connection().on(Method::Post));
    let ran = bench.run(&["create", "g", "-o", "json", "-q", "-vv", "--log-format", "json"]).exits(0);
    let id = &ran.json()[0]["id"];
    let lines: Vec<Value> = ran.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let find = |text: &str| lines.iter().find(|line| line["message"].as_str().unwrap().contains(text)).unwrap();
    assert!(lines.len() > 10 && lines.iter().all(|line| line["target"] == "cluster_client"), "{ran:#?}");
    let created = find("created on");
    assert_eq!((&created["level"], &created["fields"]["group"]), (&json!("info"), &json!("g")));
    assert_eq!((&created["fields"]["id"], &created["fields"]["status"]), (id, &json!(201)));
    assert!(created["fields"]["elapsed_ms"].is_u64() && created["fields"]["error"].is_null());
    let bytes = ["bytes_sent", "bytes_received"].map(|name| created["fields"][name].as_u64().unwrap());
    assert!(bytes.iter().all(|bytes| (50..500).contains(bytes)), "{bytes:?}");
    assert!(created["time"].as_str().unwrap().ends_with('Z'));
    let lost = find("create failed");
    assert_eq!((&lost["fields"]["status"], &lost["fields"]["error"]), (&Value::Null, &json!("closed")));
    assert_eq!((&lost["level"], &lost["fields"]["host"]), (&json!("warn"), &json!(bench.cluster.node(1).url())));
}

/// Returns the only shell script of the page.
fn documented_script() -> &'static str {
    let page = include_str!("../../docs/programs.md");
    let (_, rest) = page.split_once("```sh\n").unwrap();
    rest.split_once("```").unwrap().0
}

#[test]
fn script_of_the_documentation_reports_and_repeats_what_failed() {
    if Command::new("jq").arg("--version").output().is_err() {
        println!("skipped: jq is not installed");
        return;
    }
    let bench = Bench::new();
    bench.write("groups.txt", list(3));
    // One group fails once, on one host.
    bench.cluster.node(1).inject(Fault::answer(422).on(Method::Post));
    let script = bench.write("script", documented_script());
    let command = Path::new(env!("CARGO_BIN_EXE_cluster-client")).parent().unwrap();
    let path = format!("{}:{}", command.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    let prepared = bench.command(&[]);
    shell.arg(&script).current_dir(bench.path(".")).env("PATH", path);
    for (name, value) in prepared.get_envs().filter(|(name, _)| *name != "PATH") {
        shell.env(name, value.unwrap());
    }
    let ran = Ran::of(&mut shell).exits(0);
    assert_eq!(ran.out.matches(": created on 3 of 3 hosts").count(), 2, "{ran:#?}");
    assert_eq!(ran.out.matches(": rolled_back on 0 of 3 hosts").count(), 1, "{ran:#?}");
    assert!(ran.err.contains(&format!("answered 422 to create [{}]", bench.cluster.node(1).url())), "{ran:#?}");
    assert!((0..3).all(|number| bench.cluster.all_have(&format!("group-{number}"))), "{ran:#?}");
}
