//! Hosts from several places, limits of a bulk, dry runs, and the variables of options.

use cluster_client::testing::{Fault, Method};
use serde_json::{Value, json};

use crate::bench::{Bench, Ran, list, text};

#[test]
fn hosts_may_be_given_again() {
    let bench = Bench::new();
    let [a, b, c] = [0, 1, 2].map(|node| bench.cluster.node(node).url());
    let shown = |arguments: &[&str]| {
        let mut command = bench.command(&[&["hosts", "-o", "json"], arguments].concat());
        Ran::of(command.env_remove("HOSTS")).exits(0).json()[0]["settings"]["hosts"].take()
    };
    let expected = json!({"value": [a, b, c], "origin": "option", "from": "--hosts"});
    assert_eq!(shown(&["--hosts", &format!("{a},{b}"), "--hosts", &c]), expected);
    assert_eq!(shown(&["--hosts", &a, "--hosts", &b, "--hosts", &c]), expected);
    let ran = bench.run(&["--hosts", &a, "create", "g", "--hosts", &b]).exits(2);
    ran.reports("--hosts is given before and after the command: give all of them after it");
    bench.run(&["create", "g", "--hosts", &a, "--hosts", &a]).exits(2).reports("is there twice");
    bench.assert_untouched();
}

#[test]
fn hosts_file_has_one_host_a_line() {
    let bench = Bench::new();
    let urls = bench.cluster.urls();
    let file = bench.write("hosts.txt", format!("\u{feff}# all\n{}\n\n  {} # rack 2\r\n{}", urls[0], urls[1], urls[2]));
    let mut command = bench.command(&["create", "g", "--hosts-file", "hosts.txt"]);
    Ran::of(command.env_remove("HOSTS")).exits(0);
    assert!(bench.cluster.all_have("g"));
    let mut command = bench.command(&["hosts", "-o", "json"]);
    command.env("CLUSTER_CLIENT_HOSTS_FILE", &file);
    let origin = |ran: Ran| ran.exits(0).json()[0]["settings"]["hosts"].take();
    let expected = json!({"value": urls, "origin": "variable", "from": "CLUSTER_CLIENT_HOSTS_FILE"});
    assert_eq!(origin(Ran::of(&mut command)), expected);
    command.env("CLUSTER_CLIENT_HOSTS", "http://variable:1");
    assert_eq!(origin(Ran::of(&mut command))["from"], "CLUSTER_CLIENT_HOSTS");
    command.args(["--hosts-file", text(&file)]);
    assert_eq!(origin(Ran::of(&mut command)), json!({"value": urls, "origin": "option", "from": "--hosts-file"}));

    let mut command = bench.command(&["status", "g", "--hosts-file", "-"]);
    Ran::with_input(command.env_remove("HOSTS"), urls.join("\n").as_bytes()).exits(0).prints("g is on 3 of 3 hosts");
}

#[test]
fn invalid_hosts_file_is_refused_with_its_line() {
    let bench = Bench::new();
    let url = bench.cluster.node(0).url();
    for (content, words) in [
        ("# none\n\n".to_owned(), "list of hosts \"hosts.txt\" (from --hosts-file) names no host: write one a line"),
        (format!("{url}\nnode1\n"), "host \"node1\" (from hosts.txt, line 2) has no scheme: write http://node1"),
        (format!("{url}\n\n{url}/\n"), "(from hosts.txt, line 1 and 3) is there twice: name each host once"),
    ] {
        bench.write("hosts.txt", content);
        bench.run(&["create", "g", "--hosts-file", "hosts.txt"]).exits(2).reports(words);
    }
    bench.write("hosts.txt", [url.as_bytes(), b"\n\xff\n"].concat());
    bench.run(&["create", "g", "--hosts-file", "hosts.txt"]).exits(2).reports("is not UTF-8");
    bench.run(&["create", "g", "--hosts-file", "none.txt"]).exits(2).reports("cannot be read: No such file");
    bench.run(&["create", "g", "--hosts-file", "/dev/zero"]).exits(2).reports("is a device: name a regular file");
    bench.run(&["create", "g", "--hosts-file", "hosts.txt", "--hosts", &url]).exits(2).reports("cannot be used with");
    let ran = bench.run(&["create", "-f", "-", "--hosts-file", "-"]).exits(2);
    ran.reports("groups and hosts cannot both be read from standard input");
    let ran = bench.run(&["create", "g", "--hosts-file", "-"]).exits(2);
    ran.reports("list of hosts \"-\" (from --hosts-file) names no host");
    bench.assert_untouched();
}

#[test]
fn next_command_names_many_hosts_by_their_file() {
    let bench = Bench::of(5);
    let file = bench.write("hosts.txt", bench.cluster.urls().join("\n"));
    bench.cluster.node(0).insert("half");
    let ran = bench.run(&["status", "half", "--hosts-file", "hosts.txt"]).exits(3);
    let options = format!("--hosts-file {} {}", text(&file), bench.recover_options());
    ran.prints(&format!("\nNext: cluster-client repair --to present {options} half\n"));
    let mut command = bench.command(&["status", "half", "--hosts-file", "-"]);
    let ran = Ran::with_input(&mut command, bench.cluster.urls().join("\n").as_bytes()).exits(3);
    ran.prints(&format!("\nNext: cluster-client repair --to present {} half\n", bench.options()));
}

#[test]
fn in_flight_bounds_the_groups_in_progress_and_is_kept_in_advice() {
    let bench = Bench::new();
    bench.cluster.node(1).inject(Fault::answer(422).on(Method::Post).group("group-4").always());
    bench.write("groups.txt", list(5));
    let ran = bench.run(&["create", "-f", "groups.txt", "--in-flight", "1", "--max-failures", "3"]).exits(1);
    let options = format!("--max-failures 3 --hosts {} {}", bench.urls(), bench.recover_options());
    ran.prints(&format!("\nNext: cluster-client create {options} --in-flight 1 group-4\n"));
    let node = bench.cluster.node(0);
    let creates = node.log().into_iter().filter(|entry| entry.method == Method::Post);
    let order: Vec<String> = creates.filter_map(|entry| entry.group).collect();
    assert_eq!(order, ["group-0", "group-1", "group-2", "group-3", "group-4"]);
    let refused = bench.run(&["create", "g", "--in-flight", "0"]).exits(2);
    refused.reports("number of operations in flight \"0\" (from --in-flight)");
}

#[test]
fn max_failures_begins_no_further_group() {
    let bench = Bench::new();
    bench.write("groups.txt", list(30));
    bench.cluster.node(2).inject(Fault::answer(422).on(Method::Post).always());
    let mut before = 0;
    for (in_flight, failures) in [(1, 1), (1, 2), (2, 1), (8, 3)] {
        let limits = [in_flight.to_string(), failures.to_string()];
        let limits = ["--in-flight", &limits[0], "--max-failures", &limits[1]];
        let ran = bench.run(&[&["create", "-f", "groups.txt"], &limits[..]].concat()).exits(1);
        let posts = bench.cluster.node(2).log().iter().filter(|entry| entry.method == Method::Post).count();
        let begun = posts - std::mem::replace(&mut before, posts);
        // Groups in flight at the last failure that is allowed have ended too.
        assert!((failures..failures + in_flight).contains(&begun), "{limits:?}: {begun}");
        let left = 30 - begun;
        let ran = ran.prints(&format!("{begun} rolled back, {left} not begun\n"));
        let failed = format!("{begun} group{}", if begun == 1 { "" } else { "s" });
        ran.reports(&format!("{left} groups were not begun, because {failed} failed"));
    }
    assert!((0..30).all(|number| bench.cluster.none_has(&format!("group-{number}"))));
    bench.run(&["create", "g", "--max-failures", "0"]).exits(2).reports("--max-failures");
}

#[test]
fn dry_run_asks_every_host_and_changes_nothing() {
    let bench = Bench::new();
    bench.cluster.node(1).insert("half");
    for node in bench.cluster.nodes() {
        node.insert("full");
    }
    for (arguments, code, words) in [
        (&["create", "new"][..], 0, "new: would be created on 3 hosts."),
        (&["create", "half"], 5, "half: nothing would be created, because 1 host has it already."),
        (&["create", "full", "--exist-ok"], 0, "full: nothing would be created"),
        (&["delete", "half"], 0, "half: would be deleted from 1 host."),
        (&["delete", "new"], 0, "new: nothing would be changed."),
        (&["repair", "half", "--to", "present"], 0, "half: would be created on 2 hosts."),
        (&["repair", "half", "--to", "absent"], 0, "half: would be deleted from 1 host."),
        (&["repair", "full", "--to", "present"], 0, "full: nothing would be changed."),
    ] {
        let ran = bench.run(&[arguments, &["--dry-run"]].concat()).exits(code);
        let ran = ran.prints(words).prints("Nothing was sent but questions.");
        assert!(!ran.out.contains("Next:"), "{}", ran.out);
    }
    assert_eq!(bench.count(Method::Post) + bench.count(Method::Delete), 0);
    assert!(bench.count(Method::Get) >= 24);
    assert!(!bench.journal().exists(), "a dry run writes no journal");

    let line = bench.run(&["create", "new", "--dry-run", "-o", "json"]).exits(0).json().remove(0);
    assert_eq!(
        (&line["operation"], &line["outcome"], &line["dry_run"]),
        (&json!("create"), &json!("observed"), &json!(true))
    );
    assert!(line["hosts"].as_array().unwrap().iter().all(|host| host["would"] == "create"), "{line}");
    let repair = ["repair", "half", "--to", "absent", "--dry-run", "-o", "json"];
    let line = bench.run(&repair).exits(0).json().remove(0);
    assert_eq!((&line["target"], &line["exit"]), (&json!("absent"), &json!(0)));
    let would: Vec<&Value> = line["hosts"].as_array().unwrap().iter().map(|host| &host["would"]).collect();
    assert_eq!(would, [&Value::Null, &json!("delete"), &Value::Null]);
    let line = bench.run(&["create", "half", "--dry-run", "-o", "json"]).exits(5).json().remove(0);
    assert_eq!(line["exit"], 5, "the exit of a dry run is not that of its status");

    bench.cluster.node(2).stop();
    let ran = bench.run(&["create", "new", "--dry-run"]).exits(4);
    ran.prints("nothing would be created, because not every host answers; the state on 1 host is unknown");
    let ran = bench.run(&["create", "new", "half", "--dry-run"]).exits(4);
    ran.prints("2 not to be created\n");
}

#[test]
fn dry_run_tells_of_an_unfinished_operation() {
    let bench = Bench::new();
    bench.fail_after_the_probe(1);
    bench.run(&["create", "payments"]).exits(4);
    bench.cluster.node(1).clear_faults();
    let before = bench.journal_entries();
    let ran = bench.run(&["delete", "payments", "--dry-run"]).exits(0);
    ran.prints("an unfinished operation on it would be settled first");
    assert_eq!(bench.journal_entries(), before);
    assert_eq!(bench.cluster.holders("payments"), [1]);
}

#[test]
fn exist_ok_is_content_with_a_group_on_every_host_but_not_with_a_mixed_one() {
    let bench = Bench::new();
    bench.run(&["create", "payments", "--exist-ok"]).exits(0).prints("payments is on 3 of 3 hosts (");
    let ran = bench.run(&["create", "payments", "--exist-ok"]).exits(0);
    ran.prints("payments is on 3 of 3 hosts already; nothing was changed\n");
    let line = bench.run(&["create", "payments", "--exist-ok", "-o", "json"]).exits(0).json().remove(0);
    assert_eq!((&line["outcome"], &line["exit"]), (&json!("already_exists"), &json!(0)));
    bench.run(&["create", "payments", "--exist-ok", "--no-preflight"]).exits(0);
    assert!(bench.cluster.all_have("payments"));
    bench.cluster.node(1).remove("payments");
    bench.run(&["create", "payments", "--exist-ok"]).exits(5).prints("not created: ");
    assert_eq!(bench.cluster.holders("payments"), [0, 2]);
}

#[test]
fn option_overrides_its_variable_which_overrides_the_file() {
    let bench = Bench::new();
    bench.configure("attempts = 5\ntimeout = \"50s\"\nin_flight = 5\nrequest_timeout = \"5s\"\n");
    let variables = [
        ("CLUSTER_CLIENT_ATTEMPTS", "attempts", json!(4), "4"),
        ("CLUSTER_CLIENT_TIMEOUT", "timeout", json!("40s"), "40s"),
        ("CLUSTER_CLIENT_REQUEST_TIMEOUT", "request_timeout", json!("4s"), "4s"),
        ("CLUSTER_CLIENT_IN_FLIGHT", "in_flight", json!(4), "4"),
    ];
    for (variable, key, value, text) in variables {
        let mut command = bench.command(&["hosts", "-o", "json"]);
        command.env(variable, text);
        let shown = Ran::of(&mut command).exits(0).json()[0]["settings"][key].take();
        assert_eq!(shown, json!({"value": value, "origin": "variable", "from": variable}));
        let option = format!("--{}", key.replace('_', "-"));
        let typed = text.replace('4', "3");
        let shown = Ran::of(command.args([&option, &typed])).exits(0).json()[0]["settings"][key].take();
        assert_eq!((&shown["origin"], &shown["from"]), (&json!("option"), &json!(option)));
    }
    let other = bench.write("other.toml", "attempts = 7");
    let mut command = bench.command(&["hosts", "-o", "json"]);
    command.env("CLUSTER_CLIENT_CONFIG", &other);
    assert_eq!(Ran::of(&mut command).exits(0).json()[0]["settings"]["attempts"]["value"], 7);
}

#[test]
fn every_option_has_a_variable_with_the_same_effect() {
    let bench = Bench::new();
    let with = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = bench.command(arguments);
        Ran::of(command.envs(variables.iter().copied()))
    };
    with(&["create", "g"], &[("CLUSTER_CLIENT_DRY_RUN", "1")]).exits(0).prints("would be created on 3 hosts");
    assert!(bench.cluster.none_has("g"));
    let ran = with(&["create", "g"], &[("CLUSTER_CLIENT_OUTPUT", "json"), ("CLUSTER_CLIENT_QUIET", "true")]).exits(0);
    assert_eq!((ran.json()[0]["outcome"].as_str(), ran.err.as_str()), (Some("created"), ""));
    with(&["create", "g"], &[("CLUSTER_CLIENT_EXIST_OK", "yes")]).exits(0);
    with(&["create", "g"], &[("CLUSTER_CLIENT_EXIST_OK", "no")]).exits(5);
    with(&["status", "g"], &[("CLUSTER_CLIENT_COLOR", "always")]).exits(0).prints("\x1b[32m");
    with(&["status", "g", "-q"], &[("CLUSTER_CLIENT_VERBOSE", "1")]).exits(0).reports("INFO");
    with(&["create", "h"], &[("CLUSTER_CLIENT_NO_JOURNAL", "1")]).exits(0);
    with(&["recover"], &[("CLUSTER_CLIENT_NO_JOURNAL", "1")])
        .exits(2)
        .reports("from the variable CLUSTER_CLIENT_NO_JOURNAL");
    with(&["repair", "h"], &[("CLUSTER_CLIENT_TO", "absent")]).exits(0);
    with(&["delete", "g"], &[("CLUSTER_CLIENT_YES", "1")]).exits(0);
    assert!(bench.cluster.none_has("g") && bench.cluster.none_has("h"));
    for (variable, value, words) in [
        ("CLUSTER_CLIENT_TIMEOUT", "5", "from the variable 'CLUSTER_CLIENT_TIMEOUT': it has no unit"),
        ("CLUSTER_CLIENT_ATTEMPTS", "0", "number of attempts \"0\" (from the variable CLUSTER_CLIENT_ATTEMPTS)"),
        ("CLUSTER_CLIENT_QUIET", "maybe", "from the variable 'CLUSTER_CLIENT_QUIET'"),
    ] {
        with(&["status", "g"], &[(variable, value)]).exits(2).reports(words);
    }
    bench.run(&["status", "g", "--timeout", "5"]).exits(2).reports("invalid value '5' for '--timeout <TIME>': it has");
}
