//! The API that a setting names: a preset, a mapping file, a table, or the paths of the node API.

use serde_json::json;

use crate::bench::{Bench, Ran, text};

/// The node API of the test cluster as a mapping.
const NODE: &str = r#"noun = "thing"
ids = { chars = "a-z0-9-", max = 16 }

[create]
method = "POST"
path = "/v1/group/"
body = '{"groupId": {id|json}}'
created = [201]
exists = [400, 409]

[check]
method = "GET"
path = "/v1/group/{id}/"
present = [200]
absent = [404]

[delete]
method = "DELETE"
path = "/v1/group/"
body = '{"groupId": {id|json}}'
deleted = [200, 204]
absent = [400, 404]
"#;

/// The mapping as the table `[api]` of a configuration.
fn table(mapping: &str) -> String {
    format!("[api]\n{}", mapping.replace("\n[", "\n[api."))
}

#[test]
fn mapping_creates_checks_and_deletes() {
    let bench = Bench::new();
    let file = bench.write("thing.toml", NODE);
    for (configuration, options) in [
        (String::new(), vec!["--api", text(&file)]),
        ("api = \"thing.toml\"\n".to_owned(), vec![]),
        (table(NODE), vec![]),
    ] {
        bench.configure_also(&configuration);
        let run = |arguments: &[&str]| bench.run(&[arguments, &options].concat());
        run(&["create", "g"]).exits(0);
        assert!(bench.cluster.all_have("g"), "{configuration}");
        run(&["status", "g"]).exits(0);
        run(&["create", "g"]).exits(5);
        run(&["create", "g", "--no-preflight"]).exits(5);
        assert!(bench.cluster.all_have("g"), "{configuration}");
        run(&["delete", "g", "--yes"]).exits(0);
        assert!(bench.cluster.none_has("g"), "{configuration}");
    }
}

#[test]
fn id_outside_the_rule_is_refused_before_anything_is_sent() {
    let bench = Bench::new();
    let file = bench.write("thing.toml", NODE);
    for command in
        [&["create", "a*"][..], &["status", "A"], &["delete", "a_b", "--yes"], &["repair", "ä", "--to", "absent"]]
    {
        bench.run(&[command, &["--api", text(&file)]].concat()).exits(2).reports("does not allow in an id");
    }
    let ids = bench.write("ids.txt", "a\nb*\nc\n");
    bench.run(&["create", "-f", text(&ids), "--api", text(&file)]).exits(2).reports("ids.txt, line 2");
    bench.assert_untouched();
}

#[test]
fn create_without_exists_needs_its_preflight() {
    let bench = Bench::new();
    let file = bench.write("blind.toml", NODE.replace("exists = [400, 409]\n", ""));
    bench
        .run(&["create", "g", "--no-preflight", "--api", text(&file)])
        .exits(2)
        .reports("API \"blind\" (from --no-preflight) is refused");
    bench.assert_untouched();
    bench.run(&["create", "g", "--api", text(&file)]).exits(0);
    assert!(bench.cluster.all_have("g"));
}

#[test]
fn option_overrides_variable_overrides_file_and_hosts_shows_the_origin() {
    let bench = Bench::new();
    bench.write("thing.toml", NODE);
    bench.configure("api = \"./thing.toml\"");
    let api = |arguments: &[&str], variable: Option<&str>| {
        let mut command = bench.command(&[&["hosts", "-o", "json"], arguments].concat());
        variable.map(|named| command.env("CLUSTER_CLIENT_API", named));
        let all = Ran::of(&mut command).exits(0).json().remove(0)["settings"].take();
        assert!(all.get("paths.member").is_none(), "{all}");
        all["api"].clone()
    };
    let expected = |name: &str, origin: &str, from: &str| json!({"value": name, "origin": origin, "from": from});
    assert_eq!(api(&["--api", "couchdb"], Some("nginx-dav")), expected("couchdb", "option", "--api"));
    assert_eq!(api(&[], Some("nginx-dav")), expected("nginx-dav", "variable", "CLUSTER_CLIENT_API"));
    assert_eq!(api(&[], None), expected("thing", "file", "cluster-client.toml"));
    bench.configure("");
    let all = bench.run(&["hosts", "-o", "json"]).exits(0).json().remove(0)["settings"].take();
    assert_eq!(all["api"], json!({"value": "node", "origin": "default", "from": null}));
    assert_eq!(all["paths.member"]["value"], "/v1/group/{id}/");
}

#[test]
fn every_malformed_api_is_refused_with_its_origin_and_remedy() {
    let bench = Bench::new();
    bench.write("thing.toml", NODE);
    bench.write("cycle.toml", "api = \"cycle.toml\"");
    bench.write("wrong.toml", NODE.replace("absent = [404]", "absent = [\"404 !/a\"]"));
    bench.write("huge.toml", "#".repeat((64 << 10) + 1));
    bench.write("latin.toml", b"noun = \"\xe4\"");
    std::fs::create_dir(bench.path("directory.toml")).unwrap();
    for (configuration, reasons) in [
        (
            "api = \"jupiterhub\"",
            ["api \"jupiterhub\" (from the file cluster-client.toml, line 1) is no preset", "jupyterhub, "],
        ),
        ("api = \"\"", ["api \"\" (from the file", "a file such as ./mapping.toml"]),
        ("\n\napi = 7", ["api \"7\" (from the file cluster-client.toml, line 3)", "write \"jupyterhub\""]),
        ("api = \"thing.toml\"\npaths = { collection = \"/a\" }", ["stands beside [paths]", "keep one of them"]),
        ("api = \"none.toml\"", ["mapping file \"none.toml\" (from the file", "cannot be read"]),
        ("api = \"directory.toml\"", ["is a directory", "name a regular file"]),
        ("api = \"cycle.toml\"", ["(from the file cycle.toml, line 1)", "refers to another mapping"]),
        ("api = \"huge.toml\"", ["mapping file \"huge.toml\"", "more than 64 KiB"]),
        ("api = \"latin.toml\"", ["mapping file \"latin.toml\"", "is not UTF-8"]),
        (
            "api = \"wrong.toml\"",
            ["check.absent \"404 !/a\" (from the file wrong.toml, line 15)", "negative tests only"],
        ),
        ("api = \"/dev/zero\"", ["is a device", "name a regular file"]),
        ("\n[api]\nnoun = \"x\"", ["ids \"\" (from the file cluster-client.toml, line 2)", "list the characters"]),
        ("[api]\nnuon = \"x\"", ["key \"nuon\" (from the file cluster-client.toml, line 2)", "did you mean noun?"]),
    ] {
        bench.configure(configuration);
        let ran = bench.run(&["status", "g"]).exits(2);
        for reason in reasons {
            assert!(ran.err.contains(reason), "{configuration}: {reason}: {}", ran.err);
        }
    }
    bench.configure("");
    bench.run(&["status", "g", "--api", "none.toml"]).exits(2).reports("mapping file \"none.toml\" (from --api)");
    bench.assert_untouched();
}

/// A pipe without a writer must not block the command.
#[cfg(unix)]
#[test]
fn pipe_is_no_mapping_file() {
    let bench = Bench::new();
    let pipe = bench.path("pipe.toml");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    bench.run(&["status", "g", "--api", text(&pipe)]).exits(2).reports("is a pipe");
}

#[test]
fn recovery_needs_the_mapping_of_the_operation() {
    let bench = Bench::new();
    bench.configure_also("attempts = 1\n");
    let file = bench.write("thing.toml", NODE);
    bench.fail_after_the_probe(1);
    bench.run(&["create", "g", "--api", text(&file)]).exits(4);
    let entry = bench.journal_entries().into_iter().find(|path| path.extension().is_some_and(|e| e == "intent"));
    let intent = std::fs::read_to_string(entry.expect("an entry")).unwrap();
    assert!(intent.contains("\napi: thing ") && !intent.contains("collection:"), "{intent}");
    bench.cluster.node(1).clear_faults();

    let unknown = bench.run(&["recover"]).exits(4);
    let told = format!("{}{}", unknown.out, unknown.err);
    assert!(told.contains("an API that is not known here (thing ") && told.contains("--api"), "{told}");
    bench.write("thing.toml", NODE.replace("\"/v1/group/{id}/\"", "\"/v1/group/{id}\""));
    bench.run(&["recover", "--api", text(&file)]).exits(4);
    bench.write("thing.toml", NODE);
    bench.run(&["recover", "--api", text(&file)]).exits(0);
    assert!(bench.cluster.none_has("g"));
}

#[test]
fn output_has_the_noun_of_the_mapping() {
    let bench = Bench::new();
    let file = bench.write("thing.toml", NODE);
    let names: Vec<String> = (0..12).map(|number| format!("t{number}")).collect();
    let ids = bench.write("ids.txt", names.join("\n"));
    let ran = bench.run(&["create", "-f", text(&ids), "--api", text(&file)]).exits(0);
    assert!(ran.err.contains("12 of 12 things") && !ran.err.contains("group"), "{}", ran.err);
    bench.run(&["delete", "-f", text(&ids), "--api", text(&file)]).exits(2).reports("delete 12 things needs --yes");
    let ran = bench.run(&["status", "-f", text(&ids), "--api", text(&file)]).exits(0);
    assert!(ran.out.starts_with("thing  127.0.0.1:"), "{}", ran.out);

    let names: Vec<String> = (0..60).map(|number| format!("u{number}")).collect();
    bench.cluster.node(1).stop();
    let create = ["create", "--max-failures", "1", "--in-flight", "1", "--attempts", "1", "--api", text(&file)];
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let ran = bench.run(&[&create[..], &names].concat()).exits(1);
    assert!(ran.err.contains(" things were not begun, because ") && !ran.err.contains("group"), "{}", ran.err);
    let ran = bench.run(&[&["create", "--attempts", "1", "--api", text(&file)], &names[..]].concat()).exits(1);
    ran.prints("The next command is for 50 of 60 things; repeat it for the others.");
}

#[test]
fn refusal_of_an_id_has_the_noun_of_the_mapping() {
    let bench = Bench::new();
    let file = bench.write("thing.toml", NODE);
    bench.write("ids.txt", "# nothing\n");
    for (words, refusal) in [
        (&["a b"][..], "thing \"a b\" (from the command line) has the character ' ', which this API does not allow"),
        (&[".."], "thing \"..\" (from the command line) means another path, not a name: give it a name of its own"),
        (&["a", "a"], "thing \"a\" (from the command line) is there twice: name each thing once"),
        (&["http://a"], "thing \"http://a\" (from the command line) looks like a host"),
        (&[], "no thing was named: give one or more"),
        (&["-f", "ids.txt"], "ids.txt names no thing: write one a line"),
    ] {
        let ran = bench.run(&[&["create", "--api", text(&file)], words].concat()).exits(2).reports(refusal);
        assert!(!ran.err.contains("group"), "{}", ran.err);
    }
    let ran = bench.run(&["probe", "a b", "--yes", "--api", text(&file)]).exits(2);
    ran.reports("thing \"a b\" (").reports("has the character ' '");
    bench.assert_untouched();
}

#[test]
fn advice_names_the_mapping() {
    let bench = Bench::new();
    let file = bench.write("thing.toml", NODE);
    bench.cluster.node(0).insert("g");
    let ran = bench.run(&["status", "g", "--api", "thing.toml"]).exits(3);
    assert!(ran.out.contains(&format!("--api {}", text(&file))), "{}", ran.out);
}

/// Behind a proxy, hosts may differ in their path only.
#[test]
fn hosts_of_one_authority_are_told_apart_by_their_paths() {
    let bench = Bench::new();
    let node = bench.cluster.node(0);
    let hosts = format!("{0}/left,{0}/right", node.url());
    let name = |path| format!("{}/{path}", node.address());
    let status = bench.run(&["status", "g", "--hosts", &hosts]).exits(1);
    assert!(status.out.contains(&name("left")) && status.out.contains(&name("right")), "{}", status.out);
    let create = bench.run(&["create", "g", "--hosts", &hosts]).exits(1);
    assert!(create.out.contains(&format!("not created: {}", name("left"))), "{}", create.out);
    assert!(bench.cluster.none_has("g"));
}
