//! A journal in etcd, by the command: real clusters of three members, and coordinators with nothing in common but etcd
//! and the nodes. Skipped, with a word, without etcd.

use std::process::Command;
use std::time::Instant;

use cluster_client::testing::{Fault, Method};
use serde_json::{Value, json};

use crate::bench::{Bench, PATIENCE, Ran, Running, text};
use crate::etcd_cluster::{EtcdCluster, EtcdOptions, program};
use crate::tls_server::{Authority, named};

const VERSION: &str = "3.4";
const PASSWORD: &str = "S3CR3T";

/// Time for a create to be seen at work, and short leases: two requests and two seconds.
const TIMES: &str = "\
first_delay = \"2ms\"
max_delay = \"8ms\"
request_timeout = \"2s\"
settle = \"20ms\"
";
const TTL: &str = "[etcd]\nttl = \"6s\"\n";

/// Whether a program can be run. Says so if it cannot.
pub(crate) fn has(program: &str, argument: &str) -> bool {
    let is_there = Command::new(program).arg(argument).output().is_ok();
    if !is_there {
        println!("skipped: there is no {program}");
    }
    is_there
}

/// A machine: a home, a configuration, and the nodes of another one.
struct Machine<'a> {
    own: Bench,
    nodes: &'a Bench,
}

impl<'a> Machine<'a> {
    fn new(nodes: &'a Bench, configuration: &str) -> Self {
        let own = Bench::of(1);
        own.configure(configuration);
        Machine { own, nodes }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.own.command(arguments);
        command.env("HOSTS", self.nodes.urls());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&mut self.command(arguments))
    }

    /// Starts a create that one node answers neither with yes nor with no, and returns when all nodes were asked.
    fn start_a_create(&self, group: &str) -> Running {
        let nodes = self.nodes.cluster.nodes();
        nodes.iter().for_each(cluster_client::testing::Node::clear_log);
        nodes[1].inject(Fault::mute().on(Method::Post).always());
        let create = Running::of(&mut self.command(&["create", group]));
        for node in nodes {
            assert!(node.wait_until(|node| node.count(Method::Post) > 0, PATIENCE));
        }
        assert!(nodes[0].wait_until(|node| node.has(group), PATIENCE));
        create
    }

    /// Kills such a create. Its lock is left to the lease.
    fn crash(&self, group: &str) {
        self.start_a_create(group).kill();
        self.nodes.cluster.node(1).clear_faults();
    }

    /// Runs a command until another owner's lease has ended.
    fn run_when_free(&self, arguments: &[&str]) -> Ran {
        let start = Instant::now();
        loop {
            let ran = self.run(arguments);
            if !ran.out.contains("is busy") {
                return ran;
            }
            assert!(start.elapsed() < PATIENCE, "the lock of a dead owner stays");
        }
    }
}

fn entry(ran: &Ran) -> Value {
    ran.json().into_iter().next().expect("a line for an entry")
}

#[test]
fn commands_of_one_machine_see_and_recover_those_of_another() {
    let Some(cluster) = EtcdCluster::start(VERSION) else { return };
    let url = cluster.journal("/cli");
    let nodes = Bench::new();
    // One machine names the journal in its file, the other on its command line.
    let first = Machine::new(&nodes, &format!("{TIMES}journal = \"{url}\"\n{TTL}"));
    let second = Machine::new(&nodes, &format!("{TIMES}{TTL}"));
    let journal = ["--journal", &url];
    let with = |words: &[&'static str]| [words, &journal].concat();

    let place = format!("the journal in {url} is empty");
    first.run(&["journal", "list"]).exits(0).reports(&place);
    second.run(&with(&["journal", "list"])).exits(0).reports(&place);
    second.run(&with(&["journal", "show", "orders"])).exits(1).reports(&place);
    first.run(&["create", "payments"]).exits(0);
    second.run(&with(&["delete", "payments", "--yes"])).exits(0);
    assert!(nodes.cluster.none_has("payments"));

    let mut create = first.start_a_create("orders");
    let owner = format!("process {} on ", create.child().id());
    let ran = second.run(&with(&["journal", "show", "orders"])).exits(0);
    ran.prints(&owner);
    let line = entry(&second.run(&with(&["journal", "list", "-o", "json"])).exits(0));
    assert_eq!((&line["group"], &line["running"]), (&json!("orders"), &json!(true)));
    let status = second.run(&with(&["status", "orders"]));
    let status = status.prints(&format!("a create of it is under way ({owner}"));
    assert!(status.out.contains("\nNext: cluster-client status "), "{}", status.out);
    let ran = second.run(&with(&["create", "orders"])).exits(1);
    let ran = ran.prints(&owner).prints("Nothing was sent.");
    assert!(ran.out.contains(&format!(" --journal {url}")), "{}", ran.out);
    create.kill();
    nodes.cluster.node(1).clear_faults();

    let ran = second.run_when_free(&with(&["status", "orders", "-o", "json"]));
    let line = entry(&ran);
    assert_eq!(line["unfinished"]["purpose"], "create", "{line}");
    assert!(line["unfinished"]["writer"].as_str().unwrap().starts_with(&owner), "{line}");
    assert_eq!(nodes.cluster.holders("orders")[0], 0);
    let start = Instant::now();
    while entry(&second.run(&with(&["journal", "list", "-o", "json"])))["running"] == true {
        assert!(start.elapsed() < PATIENCE, "the lock of a dead owner stays");
    }
    let ran = second.run(&with(&["status", "orders"])).prints("the journal holds an unfinished operation on it");
    ran.prints(&format!("\nNext: cluster-client recover --config {} --journal {url}\n", text(&config(&second))));
    let ran = second.run(&with(&["recover"])).exits(0);
    ran.prints("orders is settled: absent on 3 of 3 hosts");
    assert!(nodes.cluster.none_has("orders"));
    assert_eq!(cluster.keys("/cli"), [""; 0]);

    // Another prefix is another journal.
    first.crash("payments");
    let other = url.replace("/cli", "/other");
    second.run(&["recover", "--journal", &other]).exits(0).reports("nothing to recover");
    assert_eq!(nodes.cluster.holders("payments")[0], 0);
    // A create of another machine settles it first.
    second.run_when_free(&with(&["create", "payments"]));
    assert!(nodes.cluster.all_have("payments"));
    assert_eq!(cluster.keys("/cli"), [""; 0]);

    stopped_past_its_lease(&nodes, &first, &second, &journal);
    forget(&nodes, &first, &second, &journal);
    assert_eq!(cluster.keys("/cli"), [""; 0]);

    // Without a majority nothing begins.
    nodes.cluster.nodes().iter().for_each(cluster_client::testing::Node::clear_log);
    (0..2).for_each(|member| cluster.kill(member));
    let ran = second.run(&with(&["create", "late"])).exits(1);
    ran.prints("nothing was sent for late").prints("check that most members of etcd run").prints(&cluster.endpoint(0));
    nodes.assert_untouched();
}

fn config(machine: &Machine<'_>) -> std::path::PathBuf {
    machine.own.path("cluster-client.toml")
}

/// A coordinator that was stopped for longer than its lease says what that means, and changes nothing more.
fn stopped_past_its_lease(nodes: &Bench, first: &Machine<'_>, second: &Machine<'_>, journal: &[&str]) {
    let mut create = first.start_a_create("teams");
    create.signal("STOP");
    nodes.cluster.node(1).clear_faults();
    second.run_when_free(&[&["create", "teams"], journal].concat()).exits(0);
    assert!(nodes.cluster.all_have("teams"));
    let sent = nodes.count(Method::Post) + nodes.count(Method::Delete);
    create.signal("CONT");
    let ran = create.ends().exits(4);
    let ran = ran.prints("Its lease in etcd ended, so another coordinator may work on it by now.");
    assert!(ran.out.contains("\nNext: cluster-client recover "), "{}", ran.out);
    assert_eq!(nodes.count(Method::Post) + nodes.count(Method::Delete), sent);
    assert!(nodes.cluster.all_have("teams"));
}

fn forget(nodes: &Bench, first: &Machine<'_>, second: &Machine<'_>, journal: &[&str]) {
    first.crash("users");
    for url in &nodes.cluster.urls() {
        let ran = second.run_when_free(&[&["journal", "forget", url, "users", "--yes"], journal].concat());
        ran.exits(0).prints(url);
    }
}

#[test]
fn hosts_prints_the_journal_and_its_table_with_their_origins() {
    let bench = Bench::new();
    let password = bench.write("password", PASSWORD);
    bench.configure_also(
        "journal = \"etcd://localhost:9/a\"\n[etcd]\nttl = \"12s\"\nuser = \"cluster\"\npassword_file = \"password\"\n",
    );
    let ran = bench.run(&["hosts"]).exits(0);
    let file = text(&bench.path("cluster-client.toml")).to_owned();
    for (name, value) in [
        ("journal", "etcd://localhost:9/a"),
        ("etcd.ttl", "12s"),
        ("etcd.user", "cluster"),
        ("etcd.password_file", text(&password)),
    ] {
        let is_it = |line: &&str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words[0] == name && words[1].ends_with(value.rsplit('/').next().unwrap())
        };
        let line = ran.out.lines().find(is_it).unwrap_or_else(|| panic!("{name}: {}", ran.out));
        assert!(line.contains("cluster-client.toml"), "{line} {file}");
    }
    let mut given = bench.command(&["hosts", "-o", "json"]);
    let line = Ran::of(given.env("CLUSTER_CLIENT_JOURNAL", "etcd://localhost:8")).exits(0).json().remove(0);
    let journal = &line["settings"]["journal"];
    assert_eq!((&journal["value"], &journal["from"]), (&json!("etcd://localhost:8"), &json!("CLUSTER_CLIENT_JOURNAL")));
    assert!(!ran.out.contains(PASSWORD));
}

#[test]
fn settings_of_etcd_that_cannot_be_used_are_refused_with_origin_and_remedy() {
    let bench = Bench::new();
    bench.write("password", PASSWORD);
    let journal = "journal = \"etcd://localhost:9/a\"\n";
    for (configuration, parts) in [
        (
            "[etcd]\npasword_file = \"x\"\n",
            &["\"etcd.pasword_file\"", "line 7", "did you mean etcd.password_file?"][..],
        ),
        ("[etcd]\nttl = 30\n", &["etcd.ttl", "line 7", "\"30s\""]),
        ("[etcd]\nttl = \"1s\"\n", &["ttl", "line 7", "is out of bounds", "choose 2s to 1h"]),
        (
            "[etcd]\nttl = \"11s\"\n",
            &["\"11s\"", "request_timeout of 5s", "ttl in [etcd] to 12s or more, or", "--request-timeout to 4"],
        ),
        ("[etcd]\nuser = \"cluster\"\n", &["\"etcd.user\"", "line 7", "password_file"]),
        ("[etcd]\npassword_env = \"P\"\n", &["etcd.a password", "has no user"]),
        ("[etcd]\nuser = \"u\"\npassword_file = \"absent\"\n", &["etcd password file", "absent", "toml"]),
        (
            "[etcd]\nuser = \"u\"\npassword_env = \"P\"\npassword_file = \"password\"\n",
            &["\"etcd.password_env\"", "is beside password_file"],
        ),
        ("[etcd]\nca_file = \"absent.pem\"\n", &["etcd.ca_file", "absent.pem"]),
        ("[etcd]\nca_file = 1\n", &["\"etcd.ca_file\"", "line 7", "is not a text"]),
        ("[etcd]\nallow_plain_http = \"yes\"\n", &["etcd.allow_plain_http", "neither true nor false"]),
        ("etcd = 1\n", &["\"etcd\"", "write [etcd]"]),
    ] {
        bench.configure_also(&format!("{journal}{configuration}"));
        let ran = bench.run(&["create", "payments"]).exits(2);
        for part in parts {
            assert!(ran.err.contains(part), "{part}: {ran:#?}");
        }
        assert!(!ran.err.contains(PASSWORD));
    }
    bench.configure_also("");
    for (url, parts) in [
        ("etcd://me:S3CR3T@localhost/a", &["has user info", "set the user and the password"][..]),
        ("https://me:S3CR3T@localhost/a", &["neither with etcd:// nor"]),
        ("http://localhost:2379", &["neither with etcd:// nor", "write etcd://"]),
        ("etcd:/localhost:2379/a", &["neither with etcd:// nor"]),
        ("etcd//localhost:2379/a", &["neither with etcd:// nor"]),
        ("ETCDS:localhost", &["neither with etcd:// nor"]),
        ("etcd+http://localhost/a", &["neither with etcd:// nor"]),
        ("etcd://", &["empty endpoint"]),
        ("etcd://localhost,localhost", &["twice"]),
        ("etcd://localhost/a?b", &["special character"]),
    ] {
        let ran = bench.run(&["create", "payments", "--journal", url]).exits(2).reports("from --journal");
        assert!(parts.iter().all(|part| ran.err.contains(part)) && !ran.err.contains(PASSWORD), "{ran:#?}");
        let ran = Ran::of(bench.command(&["journal", "list"]).env("CLUSTER_CLIENT_JOURNAL", url)).exits(2);
        assert!(ran.err.contains("CLUSTER_CLIENT_JOURNAL") && !ran.err.contains(PASSWORD), "{ran:#?}");
        bench.configure_also(&format!("journal = \"{url}\"\n"));
        let ran = bench.run(&["recover"]).exits(2).reports("line 5");
        assert!(!ran.err.contains(PASSWORD), "{ran:#?}");
        bench.configure_also("");
    }
    bench.assert_untouched();
}

#[test]
fn etcd_that_cannot_be_reached_stops_what_writes_and_warns_what_reads() {
    let bench = Bench::new();
    // A port without a server: it was that of a listener.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = format!("127.0.0.1:{port}");
    let journal = format!("--journal=etcd://{endpoint}/a");
    let ran = bench.run(&["create", "payments", &journal]).exits(1);
    ran.prints(&endpoint).prints("check that most members of etcd run").prints("nothing was sent for payments");
    for words in [&["recover"][..], &["journal", "list"]] {
        let ran = bench.run(&[words, &[&journal]].concat()).exits(1);
        ran.reports(&endpoint).reports("check that most members of etcd run");
    }
    bench.assert_untouched();
    let ran = bench.run(&["status", "payments", &journal]).exits(1).prints("payments is on none of 3 hosts");
    ran.reports("warning: unfinished operations are not known").reports(&endpoint);
}

#[test]
fn password_and_certificates_of_etcd_are_checked_and_never_shown() {
    let Some(program) = program(VERSION).filter(|_| has("etcdctl", "version")) else { return };
    let bench = Bench::new();
    let authority = Authority::new("the authority");
    let server = authority.issue(&named(&["localhost", "127.0.0.1"]));
    let write = |name: &str, pem: &str| text(&bench.write(name, pem)).to_owned();
    let (chain, key) = (write("server.pem", &server.chain), write("server.key", &server.key));
    write("ca.pem", &authority.pem);
    write("other.pem", &Authority::new("another").pem);
    write("password", PASSWORD);
    write("wrong", "S3CR3T-but-wrong");
    let words = ["--cert-file", &chain, "--key-file", &key].map(str::to_owned).to_vec();
    let cluster = EtcdCluster::with(&program, &EtcdOptions { words, https: true, ..EtcdOptions::default() });
    let url = cluster.journal("/auth");
    enable_auth(&cluster, &bench);

    let run = |etcd: &str, words: &[&str]| {
        bench.configure_also(&format!("journal = \"{url}\"\n[etcd]\n{etcd}"));
        let ran = bench.run(&[words, &["-vv"]].concat());
        assert!(!format!("{ran:?}").contains(PASSWORD), "{ran:#?}");
        ran
    };
    let good = "ca_file = \"ca.pem\"\nuser = \"cluster\"\npassword_file = \"password\"\n";
    run(good, &["create", "payments"]).exits(0);
    assert!(bench.cluster.all_have("payments"));
    for words in [&["status", "payments"][..], &["journal", "list"], &["recover"], &["hosts"]] {
        run(good, words).exits(0);
    }
    run(good, &["delete", "payments", "--yes", "-o", "json", "--log-format", "json"]).exits(0);
    for (etcd, problem) in [
        ("user = \"cluster\"\npassword_file = \"password\"\nca_file = \"other.pem\"\n", "unknown issuer"),
        ("user = \"cluster\"\npassword_file = \"password\"\n", "unknown issuer"),
        (
            "ca_file = \"ca.pem\"\nuser = \"cluster\"\npassword_file = \"wrong\"\n",
            "correct the etcd user and its password",
        ),
        ("ca_file = \"ca.pem\"\n", "set the etcd user and its password"),
        (
            "ca_file = \"ca.pem\"\nserver_name = \"etcd.example\"\nuser = \"cluster\"\npassword_file = \"password\"\n",
            "etcd.example",
        ),
    ] {
        let ran = run(etcd, &["create", "payments"]).exits(1);
        assert!(ran.out.contains(problem) && ran.out.contains("https://127.0.0.1:"), "{problem}: {ran:#?}");
        assert!(bench.cluster.none_has("payments"));
    }
    let plain = url.replace("etcds://", "etcd://");
    let ran = run(good, &["create", "payments", "--journal", &plain]).exits(1);
    assert!(ran.out.contains("etcds://"), "{ran:#?}");
}

/// Adds the users `root` and `cluster`, and the role of `cluster` on one prefix, as the documentation does.
fn enable_auth(cluster: &EtcdCluster, bench: &Bench) {
    let etcdctl = |words: &str| {
        let endpoint = format!("https://{}", cluster.endpoint(0));
        let mut command = Command::new("etcdctl");
        command.args(["--endpoints", &endpoint, "--cacert", text(&bench.path("ca.pem"))]).env("ETCDCTL_API", "3");
        let ran = Ran::of(command.args(words.split(' ')));
        assert_eq!(ran.code, Some(0), "{words}: {ran:#?}");
    };
    for words in [
        "user add root:S3CR3T-of-root",
        "user add cluster:S3CR3T",
        "role add cluster",
        "role grant-permission cluster readwrite --prefix /auth/",
        "user grant-role cluster cluster",
        "user grant-role root root",
        "auth enable",
    ] {
        etcdctl(words);
    }
}
