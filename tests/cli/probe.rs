//! The command `probe`: its output, its exit codes, and what it leaves after a signal or a kill.

use cluster_client::testing::{Fault, Method, Node};
use serde_json::json;

use crate::bench::{Bench, PATIENCE, name, text};
use crate::pty::OnTerminal;

/// A mapping of the test cluster, whose create lists this status.
fn mapping(bench: &Bench, created: u16) -> String {
    let mapping = format!(
        "noun = \"thing\"
ids = {{ chars = \"a-z0-9-\", max = 32 }}
create = {{ method = \"POST\", path = \"/v1/group/\", body = '{{\"groupId\": {{id|json}}}}', created = [{created}], exists = [400, 409] }}
check = {{ method = \"GET\", path = \"/v1/group/{{id}}/\", present = [200], absent = [404] }}
delete = {{ method = \"DELETE\", path = \"/v1/group/\", body = '{{\"groupId\": {{id|json}}}}', deleted = [200, 204], absent = [400, 404] }}
"
    );
    text(&bench.write("thing.toml", mapping)).to_owned()
}

#[track_caller]
fn assert_clean(bench: &Bench) {
    bench.cluster.nodes().iter().for_each(|node| assert_eq!(node.groups(), [""; 0], "{}", node.url()));
    bench.run(&["recover"]).exits(0).reports("nothing to recover");
}

#[test]
fn certified_mapping_exits_0_with_a_line_for_each_stage() {
    let bench = Bench::new();
    let api = mapping(&bench, 201);
    let ran = bench.run(&["probe", "x", "--yes", "--api", &api]).exits(0).reports("probing 3 hosts with thing x");
    let all = format!("  {}, {}, {}:", name(&bench, 0), name(&bench, 1), name(&bench, 2));
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines.len(), 17, "{}", ran.out);
    assert_eq!(lines[0], "absent before   GET /v1/group/x/ HTTP/1.1");
    assert_eq!(lines[1], format!("{all} 404 {{\"error\":\"no such group\"}}: absent"));
    assert_eq!(lines[2], "create          POST /v1/group/ HTTP/1.1  {\"groupId\": \"x\"}");
    assert_eq!(lines[5], format!("{all} 200 {{\"groupId\":\"x\"}}: present"));
    assert!(lines[16].starts_with("certified: thing (digest ") && lines[16].ends_with(") on 3 hosts"), "{}", ran.out);
    assert_clean(&bench);

    // Without an id, and with the node API.
    bench.run(&["probe", "--yes", "-q"]).exits(0).prints("certified: node (digest 39bb73d8b4a7053d) on 3 hosts\n");
    assert_clean(&bench);
}

#[test]
fn wrong_line_exits_1_and_json_has_it() {
    let bench = Bench::new();
    let api = mapping(&bench, 299);
    let problem = "create answered 201, which no line of create lists: add it to create.created if it means that the \
                   thing was made";
    let ran = bench.run(&["probe", "x", "--yes", "--api", &api]).exits(1).prints("not certified: thing\n");
    let all = format!("{}, {}, {}", name(&bench, 0), name(&bench, 1), name(&bench, 2));
    ran.prints(&format!("  create, {all}: {problem}\n"));
    assert_clean(&bench);

    let object = bench.run(&["probe", "x", "--yes", "--api", &api, "-o", "json"]).exits(1).json().remove(0);
    assert_eq!(object["schema"], 1);
    assert_eq!((&object["api"]["name"], &object["group"]), (&json!("thing"), &json!("x")));
    assert_eq!(object["verdict"], "not_certified");
    assert_eq!(object["problems"], json!([{ "stage": "create", "hosts": bench.cluster.urls(), "problem": problem }]));
    assert_eq!((&object["left"], &object["exit"], &object["next"]), (&json!([]), &json!(1), &json!([])));
    let stages: Vec<_> = object["stages"].as_array().unwrap().iter().map(|stage| stage["stage"].clone()).collect();
    assert_eq!(stages.len(), 8);
    let host = &object["stages"][1]["hosts"][2];
    assert_eq!((&host["meaning"], &host["status"], &host["tries"]), (&json!("unlisted"), &json!(201), &json!(1)));
    assert_eq!(host["request"], "POST /v1/group/ HTTP/1.1");
    assert_clean(&bench);
}

#[test]
fn probe_is_refused_without_yes_without_hosts_or_with_another_id() {
    let bench = Bench::new();
    let api = mapping(&bench, 201);
    bench.run(&["probe", "x"]).exits(2).reports("needs --yes without a terminal: add --yes");
    bench.run(&["probe", "X", "--yes", "--api", &api]).exits(2).reports("does not allow in an id");
    crate::bench::Ran::of(bench.command(&["probe", "--yes"]).env_remove("HOSTS"))
        .exits(2)
        .reports("no hosts were named");
    bench.assert_untouched();
}

#[test]
fn host_that_keeps_the_thing_exits_4_and_recover_removes_it() {
    let bench = Bench::new();
    bench.cluster.node(1).inject(Fault::answer(403).on(Method::Delete).always());
    let ran = bench.run(&["probe", "x", "--yes"]).exits(4);
    let ran = ran.prints(&format!("x may be left on {}\nNext: cluster-client recover ", name(&bench, 1)));
    ran.prints("delete answered 403, which the node API does not list");
    assert_eq!(bench.cluster.holders("x"), [1]);
    bench.cluster.node(1).clear_faults();
    bench.run(&["recover"]).exits(0);
    assert_clean(&bench);
}

#[cfg(unix)]
#[test]
fn interrupted_probe_cleans_up() {
    let bench = Bench::new();
    bench.cluster.node(1).inject(Fault::delay_answer(std::time::Duration::from_millis(300)).on(Method::Post));
    let mut probe = bench.start(&["probe", "x", "--yes"]);
    assert!(bench.cluster.node(1).wait_until(|node| node.has("x"), PATIENCE));
    probe.signal("INT");
    let ran = probe.ends().exits(130).reports("interrupted: deleting the thing again");
    ran.prints("not certified: node, because the operation was cancelled");
    assert_clean(&bench);
}

/// Each stage is held up at one node, which never answers, and the command is killed there.
#[test]
fn killed_probe_is_recovered_from_every_stage() {
    for (method, earlier) in [
        (Method::Get, 0),
        (Method::Post, 0),
        (Method::Get, 1),
        (Method::Post, 1),
        (Method::Get, 2),
        (Method::Delete, 0),
        (Method::Get, 3),
        (Method::Delete, 1),
    ] {
        let bench = Bench::new();
        let node = bench.cluster.node(1);
        if earlier > 0 {
            node.inject(Fault::delay(std::time::Duration::ZERO).on(method).times(earlier));
        }
        node.inject(Fault::mute().on(method).always());
        let mut probe = bench.start(&["probe", "x", "--yes"]);
        for node in bench.cluster.nodes() {
            assert!(node.wait_until(|node| node.count(method) > earlier, PATIENCE), "{method:?} {earlier}");
        }
        probe.kill();
        bench.cluster.nodes().iter().for_each(Node::clear_faults);
        let has_created = (method, earlier) != (Method::Get, 0);
        let recovered = bench.run(&["recover"]).exits(0);
        assert_eq!(recovered.out.contains("x is settled: absent on 3 of 3 hosts"), has_created, "{recovered:?}");
        assert_clean(&bench);
    }
}

#[cfg(unix)]
#[test]
fn probe_asks_on_a_terminal_and_names_the_hosts() {
    let bench = Bench::new();
    for (typed, exit, shown) in [("n\n", 1, "not probed; nothing was sent"), ("y\n", 0, "certified: node ")] {
        let mut terminal = OnTerminal::start(&bench, &["probe", "x"]);
        terminal.types(typed);
        let ended = terminal.watched().ends().exits(exit);
        let hosts = bench.cluster.urls().join("\n  ");
        ended.shows(&format!("hosts:\n  {hosts}\ncreate and delete group x there? [y/N]")).shows(shown);
        if exit == 1 {
            bench.assert_untouched();
        }
    }
    assert_clean(&bench);
}
