//! The command `node`, as a cluster of three processes and with faults.

use std::net::TcpListener;

use crate::bench::{Bench, Ran, Running};

struct Nodes {
    running: Vec<Running>,
    urls: Vec<String>,
}

fn node(bench: &Bench, arguments: &[&str]) -> (Running, String) {
    let mut running = bench.start(&[&["node"], arguments].concat());
    let url = running.first_line();
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    (running, url)
}

fn nodes(bench: &Bench) -> Nodes {
    let data = ["a.groups", "b.groups", "c.groups"];
    let (running, urls) = data.iter().map(|data| node(bench, &["127.0.0.1:0", "--data", data])).unzip();
    Nodes { running, urls }
}

#[test]
fn three_node_processes_are_a_cluster_and_one_restarts_with_its_groups() {
    let bench = Bench::of(1);
    let Nodes { mut running, urls } = nodes(&bench);
    let hosts = urls.join(",");
    let run = |arguments: &[&str]| Ran::of(bench.command(arguments).env("HOSTS", &hosts));
    run(&["create", "payments"]).exits(0).prints("payments is on 3 of 3 hosts");
    run(&["status", "payments"]).exits(0);

    running[1].kill();
    run(&["status", "payments"]).exits(4).prints("on 2 of 3 hosts as far as known");
    run(&["create", "orders"]).exits(1).prints("Nothing was changed.");
    run(&["delete", "payments", "--yes"]).exits(4).prints("Next: cluster-client recover");

    // Restart the node on its old address, with its groups.
    let address = urls[1].trim_start_matches("http://");
    let (again, url) = node(&bench, &[address, "--data", "b.groups"]);
    running[1] = again;
    assert_eq!(url, urls[1]);
    run(&["status", "payments"]).exits(3).prints("Next: cluster-client recover");
    run(&["recover"]).exits(0).prints("payments is settled");
    run(&["status", "payments", "orders"]).exits(1);
    for data in ["a.groups", "b.groups", "c.groups"] {
        assert!(bench.path(data).is_file());
    }
}

/// The rollback of the README, by hand.
#[test]
fn faults_of_one_request_only_leave_the_others_as_they_are() {
    let bench = Bench::of(1);
    let (_well, url) = node(&bench, &["127.0.0.1:0"]);
    for (only, code, words) in [
        ("create", 1, "Rolled back: absent on 2 of 2 hosts."),
        ("check", 1, "Nothing was changed."),
        ("delete", 0, "payments is on 2 of 2 hosts"),
    ] {
        let (_failing, other) = node(&bench, &["127.0.0.1:0", "--error-rate", "1", "--only", only]);
        let hosts = format!("{url},{other}");
        let run = |arguments: &[&str]| Ran::of(bench.command(arguments).env("HOSTS", &hosts));
        run(&["create", "payments"]).exits(code).prints(words);
    }
    bench.run(&["node", "--only", "status"]).exits(2).reports("possible values: create, check, delete");
}

#[test]
fn signal_stops_a_node() {
    let bench = Bench::of(1);
    for signal in ["INT", "TERM"] {
        let (mut running, _) = node(&bench, &["127.0.0.1:0"]);
        running.signal(signal);
        running.ends().exits(0).reports("Ctrl-C stops it");
    }
}

#[test]
fn taken_or_invalid_address_is_refused() {
    let bench = Bench::of(1);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    bench
        .run(&["node", &address])
        .exits(2)
        .reports(&address)
        .reports("in use")
        .reports("127.0.0.1:0 for any free port");
    bench.run(&["node", "nonsense"]).exits(2).reports("nonsense").reports("127.0.0.1:8000");
    bench.run(&["node", "127.0.0.1:0", "--data", "/no/such/file"]).exits(2).reports("data file /no/such/file");
    bench.run(&["node", "127.0.0.1:0", "--error-rate", "1.5"]).exits(2).reports("not within 0 to 1");
    bench.run(&["node", "127.0.0.1:0", "--delay", "-5ms"]).exits(2).reports("it is negative");
}

#[test]
fn node_injects_the_faults_of_its_options() {
    let bench = Bench::of(1);
    let status = |url: &str, arguments: &[&str]| {
        let line = Ran::of(
            bench.command(&[&["status", "g", "-o", "json", "--attempts", "1"], arguments].concat()).env("HOSTS", url),
        );
        line.json()[0]["hosts"][0]["steps"][0].take()
    };
    let (_failing, url) = node(&bench, &["127.0.0.1:0", "--error-rate", "1", "--seed", "3"]);
    let code = status(&url, &[])["status"].as_u64().unwrap();
    assert!([429, 500, 502, 503, 504].contains(&code), "{code}");

    let (_dropping, url) = node(&bench, &["127.0.0.1:0", "--drop-rate", "1"]);
    assert!(status(&url, &[])["error"]["kind"].is_string());

    let (_slow, url) = node(&bench, &["127.0.0.1:0", "--delay", "50ms"]);
    assert!(status(&url, &[])["elapsed_ms"].as_u64().unwrap() >= 50);
    assert!(status(&url, &["--request-timeout", "10ms"])["error"]["kind"].is_string());

    let (_odd, url) =
        node(&bench, &["127.0.0.1:0", "--absent-status", "400", "--deleted-status", "204", "--existing-status", "409"]);
    let run = |arguments: &[&str]| Ran::of(bench.command(arguments).env("HOSTS", &url));
    run(&["delete", "g", "--yes"]).exits(0);
    run(&["create", "g"]).exits(0);
    run(&["create", "g", "--no-preflight"]).exits(5);
    run(&["delete", "g", "--yes"]).exits(0);
    run(&["status", "g"]).exits(1);
}
