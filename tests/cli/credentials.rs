//! Credentials of the configuration file, of the option and of the variable; and where they must not be shown.

use std::process::Command;

use cluster_client::testing::{Fault, Method};
use serde_json::json;

use crate::bench::{Bench, PATIENCE, Ran, text};
use crate::gate::Gate;

const MARKER: &str = "S3CR3T-M4RK3R";
/// A part of the base64 of `admin:` and the marker.
const ENCODED: &str = "UzNDUjNULU00UkszUg";

/// A gate before each node, as the hosts of the command.
fn gates(bench: &Bench) -> (Vec<Gate>, String) {
    let gates: Vec<Gate> = bench.cluster.nodes().iter().map(|node| Gate::before(node.address())).collect();
    let urls = gates.iter().map(Gate::url).collect::<Vec<_>>().join(",");
    (gates, urls)
}

fn run(bench: &Bench, urls: &str, arguments: &[&str]) -> Ran {
    Ran::of(bench.command(arguments).env("HOSTS", urls))
}

#[test]
fn credentials_of_the_file_are_sent_to_the_hosts() {
    let bench = Bench::new();
    let (gates, urls) = gates(&bench);
    for gate in &gates[..2] {
        gate.want(&["authorization: Basic YWRtaW46b3BlbiBzZXNhbWU=", "X-Token: of the file"]);
    }
    gates[2].want(&["authorization: Bearer own"]);
    std::fs::create_dir(bench.path("secrets")).unwrap();
    bench.write("secrets/password", "open sesame\n");
    bench.write("secrets/token", "of the file\n");
    bench.write("own", "own\n");
    bench.configure_also(&format!(
        "[credentials]\nbasic_user = \"admin\"\nbasic_password_file = \"secrets/password\"\n\
         header_files = {{ X-Token = \"secrets/token\" }}\n\
         [host.\"{}\".credentials]\nbearer_token_file = \"own\"\n",
        gates[2].url()
    ));
    // Paths are relative to the file, and not to the directory of the command.
    let config = bench.path("cluster-client.toml");
    let mut command = bench.command(&["create", "g", "--config", text(&config)]);
    Ran::of(command.current_dir("/").env("HOSTS", &urls)).exits(0);
    assert!(bench.cluster.all_have("g"));
    run(&bench, &urls, &["delete", "g", "--yes"]).exits(0);
    assert!(bench.cluster.none_has("g"));
    assert!(!gates[2].take_heads().concat().contains("X-Token"));
    // A part of the cluster needs no change of the file.
    run(&bench, &gates[0].url(), &["status", "g"]).exits(1);
}

/// Leaves an unfinished delete of `g` on the last host.
fn leave_behind(bench: &Bench, urls: &str, more: &[&str]) {
    run(bench, urls, &[&["create", "g"], more].concat()).exits(0);
    bench.cluster.node(2).inject(Fault::answer(503).on(Method::Delete).always());
    run(bench, urls, &[&["delete", "g", "--yes"], more].concat()).exits(3);
    bench.cluster.node(2).clear_faults();
}

#[test]
fn recover_without_the_credentials_of_the_operation_asks_nobody_and_says_so() {
    let bench = Bench::new();
    let (gates, urls) = gates(&bench);
    let token = bench.write("token", "one\n");
    let token = ["--bearer-token-file", text(&token)];
    for gate in &gates {
        gate.want(&["authorization: Bearer one"]);
        gate.hide();
    }
    leave_behind(&bench, &urls, &token);
    for gate in &gates {
        gate.take_heads();
    }

    let host = format!("host      {}, with credentials\n", gates[2].url());
    run(&bench, &urls, &["journal", "show", "g"]).exits(0).prints(&host);
    let refusal = format!("had credentials for {}, and there are none here", gates[2].url());
    for (hosts, more) in [(&urls, &[][..]), (&gates[0].url(), &token)] {
        for arguments in [&["recover"][..], &["recover", "--dry-run"]] {
            let ran = run(&bench, hosts, &[arguments, more].concat()).exits(4);
            ran.prints(&refusal).prints("Name these hosts with --hosts, and their credentials.");
        }
    }
    assert!(gates.iter().all(|gate| gate.take_heads().is_empty()));
    assert_eq!((bench.cluster.holders("g"), bench.journal_entries().len()), (vec![2], 1));

    run(&bench, &urls, &[&["recover", "--dry-run"], &token[..]].concat()).exits(0).prints("would be deleted");
    run(&bench, &urls, &[&["recover"], &token[..]].concat()).exits(0);
    assert!(bench.cluster.none_has("g"));
}

#[test]
fn dry_run_of_recover_sends_credentials_to_named_hosts_only() {
    let bench = Bench::new();
    let (gates, urls) = gates(&bench);
    leave_behind(&bench, &urls, &[]);
    for gate in &gates {
        gate.take_heads();
    }
    bench.write("general", "S3CR3T\n");
    bench.write("own", "S3CR3T\n");
    bench.configure_also(&format!(
        "hosts = [\"{0}\"]\n[credentials]\nbearer_token_file = \"general\"\n\
         [host.\"{0}\".credentials]\nbearer_token_file = \"own\"\n",
        gates[0].url()
    ));
    Ran::of(bench.command(&["recover", "--dry-run"]).env_remove("HOSTS")).exits(0).prints("would be deleted");
    let heads = gates[2].take_heads();
    assert!(!heads.is_empty() && !heads.concat().contains("S3CR3T"), "{heads:?}");
}

#[test]
fn option_overrides_variable_overrides_file() {
    let bench = Bench::new();
    let (gates, urls) = gates(&bench);
    for name in ["option", "variable", "file"] {
        bench.write(name, name);
    }
    bench.configure_also("[credentials]\nbearer_token_file = \"file\"\nheader_envs = { X-Token = \"A_VARIABLE\" }\n");
    let sent = |arguments: &[&str], variable: bool| {
        let mut command = bench.command(&[&["status", "g"], arguments].concat());
        command.env("HOSTS", &urls).env("A_VARIABLE", "x");
        if variable {
            command.env("CLUSTER_CLIENT_BEARER_TOKEN_FILE", "variable");
        }
        Ran::of(&mut command).exits(1);
        let heads: String = gates.iter().flat_map(Gate::take_heads).collect();
        assert_eq!(heads.matches("X-Token: x").count(), 3, "{heads}");
        let tokens = heads.lines().filter_map(|line| line.strip_prefix("authorization: Bearer "));
        let tokens: Vec<String> = tokens.map(str::to_owned).collect();
        assert_eq!(tokens.len(), 3, "{heads}");
        tokens[0].clone()
    };
    assert_eq!(sent(&[], false), "file");
    assert_eq!(sent(&[], true), "variable");
    assert_eq!(sent(&["--bearer-token-file", "option"], true), "option");
}

#[test]
fn hosts_shows_where_each_secret_is_and_not_the_secret() {
    let bench = Bench::new();
    for file in ["token", "own", "mine"] {
        bench.write(file, MARKER);
    }
    bench.configure_also(&format!(
        "allow_plain_http = true\n[credentials]\nbasic_user = \"{MARKER}\"\nbasic_password_env = \"PASSWORD\"\n\
         header_files = {{ X-Token = \"token\" }}\n\
         [host.\"{}\".credentials]\nbearer_token_file = \"own\"\n",
        bench.cluster.node(0).url()
    ));
    let mut command = bench.command(&["hosts", "-o", "json"]);
    let shown = Ran::of(command.env("PASSWORD", MARKER)).exits(0);
    assert!(!shown.out.contains(MARKER), "{shown:?}");
    let shown = &shown.json()[0]["settings"];
    let of = |value: &str| json!({"value": value, "origin": "file", "from": "cluster-client.toml"});
    assert_eq!(shown["credentials.basic_user"], of("***"));
    assert_eq!(shown["credentials.basic_password_env"], of("PASSWORD"));
    assert_eq!(shown["credentials.header_files.X-Token"], of("token"));
    assert_eq!(shown[format!("host.'{}'.credentials.bearer_token_file", bench.cluster.node(0).url())], of("own"));
    assert_eq!(shown["allow_plain_http"]["value"], true);
    let table = bench.run(&["hosts", "--bearer-token-file", "mine"]).exits(0).table();
    assert!(table.contains("credentials.bearer_token_file mine from --bearer-token-file\n"), "{table}");
    assert!(!table.contains("basic_user"), "{table}");
}

#[test]
fn refused_credentials_name_the_key_or_file_and_the_remedy() {
    let bench = Bench::new();
    bench.write("empty", "");
    bench.write("lines", format!("{MARKER}\n{MARKER}\n"));
    bench.write("token", MARKER);
    bench.write("blank", format!("Bearer {MARKER}"));
    let own = |url: &str| {
        format!("hosts = [\"http://localhost:1\"]\n[host.\"{url}\".credentials]\nbearer_token_file = \"token\"")
    };
    for (text, words) in [
        (
            "[credentials]\nbearer_token_file = \"none\"",
            "bearer token file \"none\" (from the file cluster-client.toml) cannot be read: ",
        ),
        (
            "[credentials]\nbearer_token_file = \"empty\"",
            "bearer token file \"empty\" (from the file cluster-client.toml) is empty",
        ),
        ("[credentials]\nbearer_token_file = \"lines\"", "has more than one line: write the secret alone"),
        ("[credentials]\nbearer_token_file = \"blank\"", "has a blank: write the token alone"),
        ("[credentials]\nbearer_token_file = \".\"", "is a directory"),
        (
            "[credentials]\nbearer_token_file = 5",
            "key \"credentials.bearer_token_file\" (from the file cluster-client.toml, line 2) is not a text",
        ),
        ("[credentials]\nbearer_token_file = \"\"", "or an empty one: write a path in quotes"),
        (
            "[credentials]\nbearer_token_env = \"UNSET\"",
            "bearer token variable \"UNSET\" (from the file cluster-client.toml) is not set",
        ),
        ("[credentials]\nbearer_token = \"S3CR3T-M4RK3R\"", "key \"credentials.bearer_token\""),
        (
            "[credentials]\nbearer_token_file = \"token\"\nbearer_token_env = \"X\"",
            "is beside bearer_token_file: give one of them",
        ),
        (
            "[credentials]\nbearer_token_file = \"token\"\nbasic_user = \"S3CR3T-M4RK3R\"",
            "is beside a bearer token: choose one scheme",
        ),
        ("[credentials]\nbasic_user = \"S3CR3T-M4RK3R\"", "has no password: add basic_password_file"),
        ("[credentials]\nbasic_password_file = \"token\"", "has no user: add basic_user"),
        (
            "[credentials]\nbasic_user = \"S3CR3T-M4RK3R:\"\nbasic_password_file = \"token\"",
            "basic user \"***\" (from the file cluster-client.toml) has a colon",
        ),
        (
            "[credentials]\nheader_files = { Host = \"token\" }",
            "\"Host\" (from the file cluster-client.toml) is set by the client itself",
        ),
        (
            "[credentials]\nheader_files = { X-T = \"lines\" }",
            "secret file \"lines\" (from the file cluster-client.toml) for the header X-T has more",
        ),
        ("[credentials]\nheader_files = { X-T = \"token\" }\nheader_envs = { x-t = \"PATH\" }", "is there twice"),
        ("[credentials]\nheader_files = [\"S3CR3T-M4RK3R\"]", "is not a table"),
        ("credentials = \"S3CR3T-M4RK3R\"", "is not a table: write [credentials]"),
        ("allow_plain_http = \"yes\"", "is neither true nor false"),
        (
            "[host]\n\"http://x\" = \"S3CR3T-M4RK3R\"",
            "key \"host\" (from the file cluster-client.toml, line 1) is not a table of",
        ),
        ("[host.\"http://x\"]\ncredentials = \"S3CR3T-M4RK3R\"", "key \"host.'http://x'.credentials\""),
        ("[host.x.credentials]", "host \"x\" (from the file cluster-client.toml) has no scheme"),
        ("[host.\"http://u:S3CR3T-M4RK3R@x\".credentials]", "has user info"),
        ("[host.\"http://x\"]\ntimeout = 1", "key \"host.'http://x'.timeout\""),
        (&own("http://other:1"), "\"http://other:1\" (from the file cluster-client.toml) is no host of the client"),
        (&own("http://localhost:1/x"), "has a path"),
        (
            "hosts = [\"http://far:1\"]\n[credentials]\nbearer_token_file = \"token\"",
            "host \"http://far:1\" (from the file cluster-client.toml) would get credentials over plain http",
        ),
    ] {
        bench.configure(text);
        let mut command = bench.command(&["status", "g"]);
        command.env_remove("HOSTS");
        let ran = Ran::of(&mut command).exits(2);
        assert!(ran.err.contains(words) && !ran.err.contains(MARKER) && !ran.out.contains(MARKER), "{text}\n{ran:#?}");
    }
    // The table is in the file, wherever the hosts come from.
    bench.configure("[host.\"http://localhost:1\".credentials]\n[host.\"HTTP://LOCALHOST:1/\".credentials]");
    let ran = run(&bench, "http://localhost:1", &["status", "g"]).exits(2);
    assert!(ran.err.contains("\"http://localhost:1\" (from the file cluster-client.toml) is there twice"), "{ran:#?}");
    bench.configure("");
    Ran::of(bench.command(&["create", "g", "--bearer-token-file", "none"]).env_remove("HOSTS")).exits(2);
    bench
        .run(&["status", "g", "--bearer-token-file", "none"])
        .exits(2)
        .reports("\"none\" (from --bearer-token-file) cannot");
    let mut command = bench.command(&["status", "g"]);
    Ran::of(command.env("CLUSTER_CLIENT_BEARER_TOKEN_FILE", "empty"))
        .exits(2)
        .reports("\"empty\" (from the variable CLUSTER_CLIENT_BEARER_TOKEN_FILE) is empty");
    bench.assert_untouched();
}

#[test]
fn recovery_after_a_refused_token_is_advised_with_hosts_and_token_file() {
    let bench = Bench::new();
    let (_gates, urls) = gates(&bench);
    bench.write("token", "x");
    bench.configure_also("attempts = 1\n");
    bench.fail_after_the_probe(0);
    let ran = run(&bench, &urls, &["create", "g", "--bearer-token-file", "token"]).exits(4);
    let token = bench.path("token");
    let advised = format!("recover --hosts {urls} {} --bearer-token-file {}", bench.recover_options(), text(&token));
    ran.prints(&advised);
}

/// Runs all commands that send, with the greatest verbosity, with both engines.
#[test]
fn secret_is_in_no_output_log_or_process_list() {
    let bench = Bench::new();
    let (gates, urls) = gates(&bench);
    bench.write("password", MARKER);
    bench.write("token", MARKER);
    bench.configure_also(
        "attempts = 1\n[credentials]\nbasic_user = \"admin\"\nbasic_password_file = \"password\"\n\
         header_files = { X-Token = \"token\" }\nheader_envs = { X-Other = \"OTHER\" }\n",
    );
    let hidden = |command: &mut Command| {
        let ran = Ran::of(command.env("HOSTS", &urls).env("OTHER", MARKER));
        for shown in [&ran.out, &ran.err] {
            assert!(!shown.contains(MARKER) && !shown.contains(ENCODED), "{command:?}\n{ran:#?}");
            // A secret that a server repeats would be in a dump of its answer, sixteen characters a line.
            assert!(!shown.contains("ureq_proto::util") && !shown.contains("TRACE ureq"), "{command:?}\n{ran:#?}");
        }
        ran
    };
    // ureq logs some headers of answers.
    let echo = Fault::answer(200).header("x-echo", MARKER).header("server", MARKER).on(Method::Get);
    for engine in ["threads", "multiplexed"] {
        for format in ["table", "json"] {
            for level in ["trace", "debug", "ureq_proto=trace,ureq=trace,rustls=trace"] {
                let command = |arguments: &[&str]| {
                    let mut command = bench.command(arguments);
                    command.args(["-vv", "-o", format, "--engine", engine]).env("RUST_LOG", level);
                    command
                };
                bench.cluster.node(1).inject(echo.clone());
                hidden(&mut command(&["status", "g"]));
                hidden(&mut command(&["create", "g"]));
                bench.cluster.node(2).inject(Fault::answer(401).always());
                let failed = hidden(&mut command(&["create", "h"]));
                assert_ne!(failed.code, Some(0));
                bench.cluster.node(2).clear_faults();
                hidden(&mut command(&["delete", "g", "h", "--yes"]));
                hidden(&mut command(&["hosts"]));
                hidden(&mut command(&["recover"]));
                hidden(&mut command(&["journal", "list"]));
            }
        }
        let heads: String = gates.iter().flat_map(Gate::take_heads).collect();
        assert!(heads.contains(ENCODED) && heads.contains(&format!("X-Other: {MARKER}")), "they were sent: {heads}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn secret_is_in_no_process_list_and_the_command_starts_no_process() {
    let bench = Bench::new();
    bench.write("token", MARKER);
    let node = bench.cluster.node(0);
    node.inject(Fault::mute().always());
    let mut running = bench.start(&["status", "g", "--hosts", &node.url(), "--bearer-token-file", "token"]);
    assert!(node.wait_until(|node| node.connections() == 1, PATIENCE));
    let process = format!("/proc/{}", running.child().id());
    let read = |file: &str| String::from_utf8_lossy(&std::fs::read(format!("{process}/{file}")).unwrap()).into_owned();
    assert!(read("cmdline").contains("--bearer-token-file") && !read("cmdline").contains(MARKER));
    assert!(!read("environ").contains(MARKER));
    let children = std::fs::read_dir(format!("{process}/task")).unwrap();
    for task in children.map(|task| task.unwrap().path().join("children")) {
        assert_eq!(std::fs::read_to_string(&task).unwrap_or_default(), "", "{}", task.display());
    }
    running.kill();
}

#[cfg(unix)]
#[test]
fn token_file_that_others_can_read_is_warned_about() {
    let bench = Bench::new();
    bench.write("token", "abc\n");
    let warning = "warning: the secret file token can be read by other users (mode 0644): run chmod go-r on it\n";
    let run = || bench.run(&["status", "g", "--bearer-token-file", "token", "-q"]).exits(1).err;
    assert_eq!(run(), warning);
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(bench.path("token"), closed).unwrap();
    assert_eq!(run(), "");
}
