//! `[tls]` of the configuration file, `--ca-file`, and the messages about certificates.

use cluster_client::testing::{Fault, Method, Node};
use serde_json::{Value, json};

use crate::bench::{Bench, Ran, text};
use crate::recovery::crash_of;
use crate::tls_server::{Authority, Identity, TlsNode, config, named};

/// Three nodes that want a client certificate, and the files of their operator.
struct Secure {
    bench: Bench,
    nodes: [TlsNode; 3],
    urls: String,
}

impl Secure {
    fn new() -> Self {
        let (nodes, clients) = (Authority::new("nodes"), Authority::new("clients"));
        let start = || TlsNode::with(config(&nodes.node(), Some(&clients), rustls::ALL_VERSIONS));
        let started = [start(), start(), start()];
        let bench = Bench::new();
        let client = clients.issue(&named(&["operator"]));
        let key = bench.write("client.key", client.key);
        #[cfg(unix)]
        std::fs::set_permissions(key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        #[cfg(not(unix))]
        let _ = key;
        bench.write("client.pem", client.chain);
        bench.write("nodes.pem", &nodes.pem);
        bench.write("other.pem", Authority::new("other").pem);
        let urls = started.each_ref().map(TlsNode::url).join(",");
        Secure { bench, nodes: started, urls }
    }

    /// Writes `[tls]` with the client certificate, and these lines.
    fn configure(&self, lines: &str) {
        let identity = "client_cert_file = \"client.pem\"\nclient_key_file = \"client.key\"\n";
        self.bench.configure_also(&format!("attempts = 1\n[tls]\n{identity}{lines}"));
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.bench.command(arguments).env("HOSTS", &self.urls))
    }

    fn all_have(&self, group: &str) -> bool {
        self.nodes.iter().all(|node| node.node.has(group))
    }

    #[track_caller]
    fn assert_absent(&self, group: &str) {
        assert!(self.nodes.iter().all(|node| !node.node.has(group)));
    }

    #[track_caller]
    fn assert_untouched(&self) {
        assert!(self.nodes.iter().all(|node| node.node.count(Method::Post) == 0));
    }
}

#[test]
fn group_is_created_and_deleted_over_mutual_tls() {
    let secure = Secure::new();
    secure.configure("ca_file = \"nodes.pem\"\n");
    for engine in ["threads", "multiplexed"] {
        secure.run(&["create", "g", "--engine", engine]).exits(0);
        assert!(secure.all_have("g"), "{engine}");
        secure.run(&["delete", "g", "--yes", "--engine", engine]).exits(0);
        assert!(secure.nodes.iter().all(|node| !node.node.has("g")), "{engine}");
    }
}

#[test]
fn group_is_created_over_mutual_tls_with_a_token_file_that_is_renewed() {
    let secure = Secure::new();
    secure.configure("ca_file = \"nodes.pem\"\n[credentials]\nbearer_token_file = \"token\"\n");
    for (engine, token) in [("threads", "first"), ("multiplexed", "second")] {
        secure.nodes.iter().for_each(|node| node.require_token(token));
        secure.bench.write("token", "stale");
        secure.run(&["create", "g", "--engine", engine]).exits(1).prints("401");
        secure.assert_absent("g");
        secure.bench.write("token", format!("{token}\n"));
        secure.run(&["create", "g", "--engine", engine]).exits(0);
        assert!(secure.all_have("g"), "{engine}");
        secure.run(&["delete", "g", "--yes", "--engine", engine]).exits(0);
        secure.assert_absent("g");
    }
}

#[test]
fn files_are_relative_to_the_configuration_file() {
    let secure = Secure::new();
    secure.configure("ca_file = \"nodes.pem\"\n");
    let elsewhere = tempfile::tempdir().unwrap();
    let file = secure.bench.path("cluster-client.toml");
    let mut command = secure.bench.command(&["create", "g", "--config", text(&file)]);
    Ran::of(command.current_dir(elsewhere.path()).env("HOSTS", &secure.urls)).exits(0);
    assert!(secure.all_have("g"));
}

#[test]
fn ca_file_of_the_option_overrides_the_variable_and_that_the_file() {
    let secure = Secure::new();
    secure.configure("ca_file = \"other.pem\"\n");
    let ca = |arguments: &[&str], variable: Option<&str>| -> Value {
        let mut command = secure.bench.command(&[&["hosts", "-o", "json"], arguments].concat());
        variable.map(|file| command.env("CLUSTER_CLIENT_CA_FILE", file));
        Ran::of(&mut command).exits(0).json().remove(0)["settings"]["tls.ca_file"].take()
    };
    let of = |value: &str, origin: &str, from: &str| json!({"value": value, "origin": origin, "from": from});
    assert_eq!(ca(&[], None), of("other.pem", "file", "cluster-client.toml"));
    assert_eq!(ca(&[], Some("nodes.pem")), of("nodes.pem", "variable", "CLUSTER_CLIENT_CA_FILE"));
    assert_eq!(ca(&["--ca-file", "nodes.pem"], Some("other.pem")), of("nodes.pem", "option", "--ca-file"));

    let ran = secure.run(&["create", "g"]).exits(1).prints("the server's certificate has an unknown issuer");
    let ran = ran.prints(" Check the certificates: see cluster-client help configuration.\n");
    assert!(!ran.out.contains("Next:"), "{}", ran.out);
    secure.assert_untouched();
    let mut variable = secure.bench.command(&["create", "g"]);
    Ran::of(variable.env("HOSTS", &secure.urls).env("CLUSTER_CLIENT_CA_FILE", "nodes.pem")).exits(0);
    secure.run(&["status", "g", "--ca-file", "nodes.pem"]).exits(0);
    assert!(secure.all_have("g"));
}

#[test]
fn next_command_has_the_ca_file() {
    let secure = Secure::new();
    secure.configure("");
    secure.nodes[1].node.inject(Fault::answer(507).on(Method::Post).always());
    let ran = secure.run(&["create", "g", "--ca-file", "nodes.pem", "-o", "json"]).exits(1);
    let next = ran.json().remove(0)["next"][0].to_string();
    let file = secure.bench.path("nodes.pem");
    assert!(next.contains(&format!("\"--ca-file\",\"{}\"", text(&file))), "{next}");
}

#[test]
fn hosts_have_client_certificates_of_their_own() {
    let secure = Secure::new();
    let (nodes, others) = (Authority::new("nodes"), Authority::new("others"));
    let other = TlsNode::with(config(&nodes.node(), Some(&others), rustls::ALL_VERSIONS));
    let identity = others.issue(&named(&["operator"]));
    secure.bench.write("own.pem", format!("{}{}", identity.chain, identity.key));
    secure.bench.write("own-ca.pem", &nodes.pem);
    let own = "ca_file = \"own-ca.pem\"\nclient_cert_file = \"own.pem\"\nclient_key_file = \"own.pem\"\n";
    let url = other.url();
    secure.configure(&format!("ca_file = \"nodes.pem\"\n[host.\"{url}\".tls]\n{own}"));
    let all = format!("{},{url}", secure.urls);
    Ran::of(secure.bench.command(&["create", "g"]).env("HOSTS", &all)).exits(0);
    assert!(secure.all_have("g") && other.node.has("g"));

    let shown = Ran::of(secure.bench.command(&["hosts", "-o", "json"]).env("HOSTS", &all)).exits(0).json().remove(0);
    let expected = json!({"value": "own-ca.pem", "origin": "file", "from": "cluster-client.toml"});
    assert_eq!(shown["settings"][format!("host.'{url}'.tls.ca_file")], expected);
    // Its file is named with its own origin, even if the option has another.
    std::fs::write(secure.bench.path("own-ca.pem"), "").unwrap();
    let mut command = secure.bench.command(&["status", "g", "--ca-file", "nodes.pem"]);
    let ran = Ran::of(command.env("HOSTS", &all)).exits(2);
    assert!(ran.err.contains("\"own-ca.pem\" (from the file cluster-client.toml) is empty"), "{ran:#?}");
}

#[test]
fn missing_client_certificate_is_reported() {
    let secure = Secure::new();
    secure.bench.configure_also("attempts = 1\n[tls]\nca_file = \"nodes.pem\"\n");
    let words = "the server wants a client certificate, and none is set (alert certificate_required)";
    secure.run(&["create", "g"]).exits(1).prints(words);
    secure.assert_untouched();
}

#[test]
fn every_setting_is_shown_with_its_origin() {
    let bench = Bench::new();
    let node = TlsNode::start(&Authority::new("nodes").node());
    let all = "[tls]\nsystem_roots = false\nserver_name = \"node.example\"\nhttps_only = true\n\
               dangerously_skip_verification = true\n";
    bench.configure_also(all);
    let shown = |format: &str| Ran::of(bench.command(&["hosts", "-o", format]).env("HOSTS", node.url())).exits(0);
    let object = shown("json").json().remove(0)["settings"].take();
    for (key, value) in [
        ("tls.system_roots", json!(false)),
        ("tls.server_name", json!("node.example")),
        ("tls.https_only", json!(true)),
        ("tls.dangerously_skip_verification", json!(true)),
    ] {
        assert_eq!(object[key], json!({"value": value, "origin": "file", "from": "cluster-client.toml"}), "{key}");
    }
    let table = shown("table");
    let row = table.out.lines().find(|line| line.starts_with("tls.server_name ")).unwrap();
    assert!(row.contains("  node.example  ") && row.ends_with("from the file cluster-client.toml"), "{row}");
}

#[test]
fn skipped_verification_and_an_open_key_warn_once_each() {
    let secure = Secure::new();
    secure.configure("dangerously_skip_verification = true\n");
    secure.bench.write("client.key", std::fs::read(secure.bench.path("client.key")).unwrap());
    for command in [&["create", "g"][..], &["status", "g"], &["hosts"], &["delete", "g", "--yes"]] {
        let ran = secure.run(command).exits(0);
        let warnings: Vec<&str> = ran.err.lines().filter(|line| line.starts_with("warning: ")).collect();
        assert_eq!(warnings.len(), 2, "{ran:#?}");
        assert!(warnings[0].contains("tls.dangerously_skip_verification: the certificate of any host is not verified"));
        assert!(warnings[1].contains("client.key can be read by other users (mode 0644): run chmod go-r on it"));
    }
}

#[test]
fn settings_that_cannot_be_used_are_refused_with_their_origin() {
    let bench = Bench::new();
    let refused = |toml: &str, words: &[&str]| {
        bench.configure(toml);
        for command in [&["create", "g"][..], &["status", "g"], &["hosts"]] {
            let ran = bench.run(command).exits(2);
            assert!(words.iter().all(|word| ran.err.contains(word)), "{words:?}\n{ran:#?}");
        }
        bench.assert_untouched();
    };
    bench.write("empty.pem", "");
    let file = "(from the file cluster-client.toml)";
    let [line_1, line_2] =
        ["(from the file cluster-client.toml, line 1)", "(from the file cluster-client.toml, line 2)"];
    for (toml, words) in [
        ("tls = 1", ["key \"tls\"", line_1, "is not a table: write [tls]"]),
        (
            "[tls]\nca = \"x\"",
            ["key \"tls.ca\"", line_2, "did you mean tls.ca_file? use one of tls.ca_file, tls.system_roots"],
        ),
        ("[tls]\nca_file = 3", ["key \"tls.ca_file\"", line_2, "is not a text, or an empty one: write it in quotes"]),
        ("[tls]\nca_file = \"\"", ["key \"tls.ca_file\"", line_2, "is not a text, or an empty one"]),
        ("[tls]\nhttps_only = \"yes\"", ["key \"tls.https_only\"", line_2, "is neither true nor false"]),
        ("[tls]\nca_file = \"no.pem\"", ["tls.ca_file \"no.pem\"", file, "cannot be read: No such file"]),
        ("[tls]\nca_file = \"empty.pem\"", ["tls.ca_file \"empty.pem\"", file, "is empty: name a PEM file"]),
        ("[tls]\nclient_key_file = \"k\"", ["tls.client_key_file \"k\"", file, "has no certificate: name its"]),
        ("[tls]\nserver_name = \"a b\"", ["tls.server_name \"a b\"", file, "is neither a name nor an address"]),
        ("[host.\"http://a\".tls]", ["host \"http://a\"", file, "is not https, or has a path: write [host."]),
        ("[host.\"https://a/b\".tls]", ["host \"https://a/b\"", file, "is not https, or has a path"]),
        ("[host.\"https://a\"]\ntls = 1", ["key \"host.'https://a'.tls\"", line_2, "is not a table: write [host."]),
        ("[host.\"https://a:8443\"]\nx = 1", ["key \"host.'https://a:8443'.x\"", line_2, "is unknown"]),
        ("[host.\"https://a:8443\".tls]\nx = 1", ["key \"host.'https://a:8443'.tls.x\"", line_2, "is unknown"]),
        (
            "[host.\"https://a:8443\".credentials]\nx = 1",
            ["key \"host.'https://a:8443'.credentials.x\"", line_2, "is unknown: use one of host.'https://a:8443'.c"],
        ),
        (
            "[host.\"https://a:443\".tls]\n[host.\"HTTPS://A/\".tls]",
            ["host of TLS settings \"https://a\"", file, "is there twice"],
        ),
        ("[tls]\nhttps_only = true", ["host \"http://", "(from the variable HOSTS)", "and https_only is set"]),
    ] {
        refused(toml, &words);
    }
    bench.configure("");
    let ran = bench.run(&["create", "g", "--ca-file", "no.pem"]).exits(2);
    assert!(ran.err.contains("tls.ca_file \"no.pem\" (from --ca-file) cannot be read"), "{ran:#?}");
    let ran = Ran::of(bench.command(&["create", "g"]).env("CLUSTER_CLIENT_CA_FILE", "empty.pem")).exits(2);
    assert!(ran.err.contains("\"empty.pem\" (from the variable CLUSTER_CLIENT_CA_FILE) is empty"), "{ran:#?}");
    bench.assert_untouched();
}

#[test]
fn older_operation_on_http_hosts_says_that_https_only_keeps_it() {
    // The recovery of the second one only looks at the hosts, and has no failed change that says why.
    for (arguments, reason) in [
        (&["create", "g"][..], "  the host is not https, and https_only is set, 5 tries"),
        (&["create", "g", "--no-preflight"], "  unreachable (the host is not https, and https_only is set, 5 tries"),
    ] {
        let bench = Bench::new();
        crash_of(&bench, "g", arguments);
        bench.cluster.nodes().iter().for_each(Node::clear_log);
        bench.configure_also("[tls]\nhttps_only = true\n");
        let ran = Ran::of(bench.command(&["recover"]).env("HOSTS", "https://localhost:1")).exits(4);
        assert_eq!(ran.out.matches(reason).count(), 3, "{arguments:?} {ran:#?}");
        bench.assert_untouched();
        assert_eq!(bench.cluster.holders("g"), [0]);
        bench.run(&["journal", "show", "g"]).exits(0);
    }
}

#[test]
fn system_roots_are_those_of_the_variable() {
    let secure = Secure::new();
    secure.configure("system_roots = true\n");
    let with = |file: &str| {
        let mut command = secure.bench.command(&["create", "g"]);
        Ran::of(command.env("HOSTS", &secure.urls).env("SSL_CERT_FILE", secure.bench.path(file)))
    };
    with("other.pem").exits(1).prints("the server's certificate has an unknown issuer");
    secure.assert_untouched();
    let ran = with("no.pem").exits(2);
    assert!(
        ran.err.contains("tls.system_roots \"\" (from the file cluster-client.toml) has no certificate"),
        "{ran:#?}"
    );
    with("nodes.pem").exits(0);
    assert!(secure.all_have("g"));
}

/// The file may also have the system's authorities beside one of its own.
#[test]
fn ca_file_and_system_roots_are_trusted_together() {
    let secure = Secure::new();
    secure.configure("system_roots = true\nca_file = \"nodes.pem\"\n");
    let mut command = secure.bench.command(&["create", "g"]);
    Ran::of(command.env("HOSTS", &secure.urls).env("SSL_CERT_FILE", secure.bench.path("other.pem"))).exits(0);
    assert!(secure.all_have("g"));
}

/// Runs the commands of the tutorial in `docs/tls.md`, and uses the files that they make.
#[cfg(unix)]
#[test]
fn commands_of_the_tutorial_make_certificates_that_work() {
    if std::process::Command::new("openssl").arg("version").output().is_err() {
        eprintln!("skipped: there is no openssl");
        return;
    }
    let page = include_str!("../../docs/tls.md");
    let block = |kind: &str| {
        let start = page.find(&format!("```{kind}\n")).unwrap() + kind.len() + 4;
        &page[start..start + page[start..].find("```").unwrap()]
    };
    let bench = Bench::new();
    let made = std::process::Command::new("sh").args(["-ec", block("sh")]).current_dir(bench.path("")).output();
    let made = made.unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let read = |name: &str| std::fs::read_to_string(bench.path(name)).unwrap();
    let authority = Authority::of_pem(read("ca.pem"));
    let identity = Identity { chain: read("node1.pem"), key: read("node1.key") };
    let start = || TlsNode::with(config(&identity, Some(&authority), rustls::ALL_VERSIONS));
    let nodes = [start(), start(), start()];
    bench.configure(block("toml"));
    let ran = Ran::of(bench.command(&["create", "g"]).env("HOSTS", nodes.each_ref().map(TlsNode::url).join(",")));
    assert!(!ran.err.contains("warning"), "{ran:#?}");
    ran.exits(0);
    assert!(nodes.iter().all(|node| node.node.has("g")));
}
