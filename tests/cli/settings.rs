//! The precedence of origins, and the output of `hosts`.

use cluster_client::testing::Fault;
use serde_json::{Value, json};

use crate::bench::{Bench, PATIENCE, Ran, text};

fn shown(ran: &Ran) -> Value {
    ran.json()[0]["settings"].take()
}

#[test]
fn option_overrides_variable_overrides_file_overrides_default() {
    let bench = Bench::new();
    bench.configure("hosts = [\"http://file:1\"]");
    let hosts = |arguments: &[&str], variable: Option<&str>| {
        let mut command = bench.command(&[&["hosts", "-o", "json"], arguments].concat());
        command.env_remove("HOSTS");
        variable.map(|hosts| command.env("HOSTS", hosts));
        shown(&Ran::of(&mut command).exits(0))["hosts"].take()
    };
    let of = |origin: &str, from: Value, hosts: &[&str]| json!({"value": hosts, "origin": origin, "from": from});
    assert_eq!(
        hosts(&["--hosts", "http://option:1"], Some("http://variable:1")),
        of("option", json!("--hosts"), &["http://option:1"])
    );
    assert_eq!(hosts(&[], Some("http://variable:1")), of("variable", json!("HOSTS"), &["http://variable:1"]));
    assert_eq!(hosts(&[], None), of("file", json!("cluster-client.toml"), &["http://file:1"]));
    let mut both = bench.command(&["hosts", "-o", "json"]);
    both.env("HOSTS", "http://variable:1").env("CLUSTER_CLIENT_HOSTS", "http://own:1");
    assert_eq!(
        shown(&Ran::of(&mut both).exits(0))["hosts"],
        of("variable", json!("CLUSTER_CLIENT_HOSTS"), &["http://own:1"])
    );
    bench.configure("");
    let local = ["http://localhost:8000", "http://localhost:8001", "http://localhost:8002"];
    assert_eq!(hosts(&[], None), of("default", Value::Null, &local));
    bench.assert_untouched();
}

#[test]
fn every_setting_of_the_file_counts_and_is_shown_with_its_origin() {
    let bench = Bench::new();
    let file = bench.write(
        "other.toml",
        "timeout = \"20s\"\nrequest_timeout = \"3s\"\nattempts = 4\nfirst_delay = \"10ms\"\nmax_delay = \"20ms\"\n\
         settle = \"30ms\"\nrollback_timeout = \"1m\"\njournal = \"notes\"\nthreads = 7\nengine = \"threads\"\nin_flight = 8\n\
         [paths]\ncollection = \"/groups\"\nmember = \"/groups/{id}\"\n",
    );
    let mut command = bench.command(&["hosts", "-o", "json", "--config", text(&file)]);
    let all = shown(&Ran::of(command.env_remove("CLUSTER_CLIENT_ENGINE")).exits(0));
    for (key, value) in [
        ("timeout", json!("20s")),
        ("request_timeout", json!("3s")),
        ("attempts", json!(4)),
        ("first_delay", json!("10ms")),
        ("max_delay", json!("20ms")),
        ("settle", json!("30ms")),
        ("rollback_timeout", json!("1m")),
        ("journal", json!(text(&bench.path("notes")))),
        ("threads", json!(7)),
        ("engine", json!("threads")),
        ("in_flight", json!(8)),
        ("paths.collection", json!("/groups")),
        ("paths.member", json!("/groups/{id}")),
    ] {
        assert_eq!(all[key], json!({"value": value, "origin": "file", "from": text(&file)}), "{key}");
    }
    assert_eq!(all["hosts"]["origin"], "variable");
    assert_eq!(all["api"], json!({"value": "node", "origin": "file", "from": text(&file)}));
    assert_eq!(all.as_object().unwrap().len(), 16);
}

#[test]
fn engine_is_multiplexed_unless_option_variable_or_file_set_it() {
    let bench = Bench::new();
    let engine = |arguments: &[&str], variable: Option<&str>| {
        let mut command = bench.command(&[&["hosts", "-o", "json"], arguments].concat());
        command.env_remove("CLUSTER_CLIENT_ENGINE");
        variable.map(|name| command.env("CLUSTER_CLIENT_ENGINE", name));
        Ran::of(&mut command)
    };
    let of = |ran: Ran| shown(&ran.exits(0))["engine"].take();
    let expected = |name: &str, origin: &str, from: Value| json!({"value": name, "origin": origin, "from": from});
    assert_eq!(of(engine(&[], None)), expected("multiplexed", "default", Value::Null));
    bench.configure("engine = \"threads\"");
    assert_eq!(of(engine(&[], None)), expected("threads", "file", json!("cluster-client.toml")));
    let variable = json!("CLUSTER_CLIENT_ENGINE");
    assert_eq!(of(engine(&[], Some("multiplexed"))), expected("multiplexed", "variable", variable));
    let option = engine(&["--engine", "threads"], Some("multiplexed"));
    assert_eq!(of(option), expected("threads", "option", json!("--engine")));
    engine(&[], Some("fast"))
        .exits(2)
        .reports("engine \"fast\" (from the variable CLUSTER_CLIENT_ENGINE) is no engine");
    engine(&["--engine", "fast"], None).exits(2).reports("possible values: multiplexed, threads");
}

#[test]
fn both_engines_create_and_delete() {
    let bench = Bench::new();
    for engine in ["threads", "multiplexed"] {
        bench.run(&["create", "g", "--engine", engine]).exits(0);
        assert!(bench.cluster.all_have("g"), "{engine}");
        bench.run(&["delete", "g", "--yes", "--engine", engine]).exits(0);
        assert!(bench.cluster.none_has("g"), "{engine}");
    }
}

/// Distinguishes the engines by the number of threads: each request of the thread engine holds one.
#[cfg(target_os = "linux")]
#[test]
fn chosen_engine_sends_the_requests() {
    let bench = Bench::new();
    let node = bench.cluster.node(0);
    node.inject(Fault::mute().always());
    let hosts: Vec<String> = (0..12).map(|number| format!("{}/{number}", node.url())).collect();
    let threads_with = |engine: &str| {
        let mut command = bench.command(&["status", "g", "--hosts", &hosts.join(","), "--engine", engine]);
        let mut child = command.spawn().unwrap();
        assert!(node.wait_until(|node| node.connections() == hosts.len(), PATIENCE));
        let threads = std::fs::read_dir(format!("/proc/{}/task", child.id())).unwrap().count();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(node.wait_until(|node| node.connections() == 0, PATIENCE));
        threads
    };
    let (multiplexed, threads) = (threads_with("multiplexed"), threads_with("threads"));
    assert!(multiplexed < hosts.len() && threads >= hosts.len(), "{multiplexed}, {threads}");
}

#[test]
fn table_of_the_settings_has_each_origin() {
    let bench = Bench::new();
    bench.configure("attempts = 5\njournal = false");
    let ran = bench.run(&["hosts", "--timeout", "1m"]).exits(0);
    let table = ran.table();
    for line in [
        "timeout 1m from --timeout\n",
        "attempts 5 from the file cluster-client.toml\n",
        "request_timeout 10s the default\n",
        "journal none from the file cluster-client.toml\n",
        &format!("hosts {} from the variable HOSTS\n", bench.cluster.node(0).url()),
    ] {
        assert!(table.contains(line), "{line}\n{table}");
    }
    bench.assert_untouched();
    assert!(!bench.journal().exists(), "showing the settings writes nothing");
}

#[test]
fn options_are_accepted_before_and_after_the_command() {
    let bench = Bench::new();
    let urls = bench.urls();
    for arguments in [["--hosts", &urls, "create", "before"], ["create", "--hosts", &urls, "after"]] {
        Ran::of(bench.command(&arguments).env_remove("HOSTS")).exits(0);
    }
    assert!(bench.cluster.all_have("before") && bench.cluster.all_have("after"));
}

#[test]
fn settings_change_the_requests() {
    let bench = Bench::new();
    bench.configure_also("attempts = 2\n[paths]\ncollection = \"/v1/group\"\nmember = \"/v1/group/{id}\"\n");
    let node = bench.cluster.node(0);
    node.inject(cluster_client::testing::Fault::answer(503).always());
    bench.run(&["status", "g"]).exits(4);
    assert_eq!(node.log().len(), 2);
    bench.run(&["status", "g", "--attempts", "4"]).exits(4);
    assert_eq!(node.log().len(), 6);
}

#[test]
fn default_hosts_cause_a_warning() {
    let bench = Bench::new();
    // With this timeout the status ends at once.
    let mut command =
        bench.command(&["status", "g", "--timeout", "1ms", "--request-timeout", "1ms", "--attempts", "1"]);
    let warning = "warning: no hosts were named; using http://localhost:8000 to 8002";
    Ran::of(command.env_remove("HOSTS")).reports(warning);
    Ran::of(bench.command(&["hosts"]).env_remove("HOSTS")).exits(0).reports(warning);
}

#[test]
fn journal_directory_comes_from_option_variable_file_or_state_directory() {
    let bench = Bench::new();
    let shown = |arguments: &[&str], variable: bool| {
        let mut command = bench.command(&[&["hosts", "-o", "json"], arguments].concat());
        if variable {
            command.env("CLUSTER_CLIENT_JOURNAL", "/from/variable");
        }
        shown(&Ran::of(&mut command).exits(0))["journal"].take()
    };
    bench.configure("journal = \"/from/file\"");
    assert_eq!(shown(&["--journal", "mine"], true), json!({"value": "mine", "origin": "option", "from": "--journal"}));
    assert_eq!(shown(&["--no-journal"], true)["value"], json!(false));
    assert_eq!(shown(&[], true)["value"], "/from/variable");
    assert_eq!(shown(&[], false)["value"], "/from/file");
    bench.configure("");
    assert_eq!(shown(&[], false)["value"], text(&bench.journal()));

    let mut command = bench.command(&["hosts", "-o", "json"]);
    command.env("XDG_STATE_HOME", "relative/is/void").env("HOME", "/home/me");
    let journal = Ran::of(&mut command).exits(0).json()[0]["settings"]["journal"].take();
    assert_eq!(journal["value"], "/home/me/.local/state/cluster-client");
}
