//! Credentials over the whole way of an operation: which host gets which, renewal of files, and secrecy.
#![cfg(feature = "testing")]

#[path = "support/gate.rs"]
mod gate;
mod support;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, Once, PoisonError};
use std::thread::{self, ThreadId};

use cluster_client::testing::{Cluster, Fault, Method, Node};
use cluster_client::{
    Api, Call, Cause, ClientBuilder, ClusterClient, Credentials, Engine, Error, Event, Observer, OperationOptions,
    Outcome, Secret, Target,
};
use log::{LevelFilter, Log, Metadata, Record};

use crate::gate::Gate;

const SIZE: usize = 3;

/// A cluster with a gate before each node.
struct Stage {
    cluster: Cluster,
    gates: Vec<Gate>,
    directory: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let cluster = Cluster::start(SIZE).unwrap();
        let gates = cluster.nodes().iter().map(|node| Gate::before(node.address())).collect();
        Stage { cluster, gates, directory: tempfile::tempdir().unwrap() }
    }

    fn urls(&self) -> Vec<String> {
        self.gates.iter().map(Gate::url).collect()
    }

    fn builder(&self, engine: Engine) -> ClientBuilder {
        support::builder(self.urls()).request_timeout(support::PATIENCE).engine(engine)
    }

    fn want(&self, lines: &[&str]) {
        self.gates.iter().for_each(|gate| gate.want(lines));
    }

    /// Replaces a file as a renewal does: by a rename.
    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let (path, new) = (self.directory.path().join(name), self.directory.path().join("new"));
        fs::write(&new, text).unwrap();
        #[cfg(unix)]
        fs::set_permissions(&new, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        fs::rename(&new, &path).unwrap();
        path
    }

    /// Returns the number of requests so far that have `text` in their head, and of those without.
    fn requests(&self, text: &str) -> (usize, usize) {
        let heads: Vec<_> = self.gates.iter().flat_map(Gate::take_heads).collect();
        let with = heads.iter().filter(|head| head.contains(text)).count();
        (with, heads.len() - with)
    }
}

fn engines() -> Vec<Engine> {
    vec![
        Engine::Threads,
        #[cfg(feature = "multiplex")]
        Engine::Multiplexed,
    ]
}

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}")
}

#[test]
fn every_request_of_an_operation_has_the_credentials() {
    for engine in engines() {
        let stage = Stage::new();
        let password = stage.write("password", "open sesame\n");
        stage.want(&["authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "X-Token: t1"]);
        let credentials = Credentials::basic("Aladdin", Secret::file(password)).header("X-Token", "t1");
        let client = stage.builder(engine).credentials(credentials).build().unwrap();
        client.create_group("g").unwrap();
        assert!(stage.cluster.all_have("g"));
        assert_eq!(client.delete_group("g").unwrap().undeleted().count(), 0);
        assert!(stage.cluster.none_has("g"));
        let (with, without) = stage.requests("X-Token: t1");
        assert!(with > 2 * SIZE && without == 0, "{with}, {without}");
    }
}

#[test]
fn host_with_credentials_of_its_own_gets_no_others() {
    for engine in engines() {
        let stage = Stage::new();
        stage.gates[0].want(&[&bearer("general"), "X-All: 1"]);
        stage.gates[1].want(&["X-Own: 2"]);
        let own = Credentials::new().header("X-Own", "2");
        let general = Credentials::bearer("general").header("X-All", "1");
        let builder = stage.builder(engine).credentials(general);
        let builder = builder.host_credentials(stage.gates[1].url(), own);
        let client = builder.host_credentials(stage.gates[2].url(), Credentials::new()).build().unwrap();
        client.create_group("g").unwrap();
        assert!(stage.cluster.all_have("g"));
        let heads: Vec<String> = stage.gates.iter().map(|gate| gate.take_heads().concat()).collect();
        assert!(heads[0].contains(&bearer("general")) && !heads[0].contains("X-Own"));
        assert!(heads[1].contains("X-Own: 2") && !heads[1].contains("general") && !heads[1].contains("X-All"));
        assert!(!heads[2].contains("general") && !heads[2].contains("X-"), "{}", heads[2]);
    }
}

#[test]
fn refused_token_is_read_again_and_the_request_sent_once_more() {
    for engine in engines() {
        let stage = Stage::new();
        let token = stage.write("token", "one");
        stage.want(&[&bearer("one")]);
        let client = stage.builder(engine).credentials(Credentials::bearer(Secret::file(&token))).build().unwrap();
        client.create_group("a").unwrap();
        stage.requests("");
        stage.write("token", "two");
        stage.want(&[&bearer("two")]);
        let report = client.create_group("b").unwrap();
        assert!(report.hosts.iter().flat_map(|host| &host.steps).all(|step| step.attempts == 1), "{report:?}");
        assert!(stage.cluster.all_have("b"));
        let (old, new) = stage.requests("Bearer one");
        assert!((1..=SIZE).contains(&old) && new >= 3 * SIZE, "{old}, {new}");
    }
}

#[test]
fn wrong_token_is_sent_once_and_a_changed_wrong_one_once_more() {
    for engine in engines() {
        let stage = Stage::new();
        let token = stage.write("token", "one");
        stage.want(&[&bearer("right")]);
        let client = stage.builder(engine).credentials(Credentials::bearer(Secret::file(&token))).build().unwrap();
        let report = client.group_status("g").unwrap();
        assert_eq!(report.unknown().count(), SIZE);
        assert_eq!(report.hosts[0].steps[0].status, Some(401));
        assert_eq!(stage.requests("Bearer one"), (SIZE, 0));
        stage.write("token", "two");
        assert_eq!(client.group_status("g").unwrap().unknown().count(), SIZE);
        let (old, new) = stage.requests("Bearer one");
        assert!(old >= 1 && new == SIZE, "{old}, {new}");

        let error = client.create_group("g").unwrap_err();
        assert!(error.is_unchanged(), "{error:?}");
        assert!(stage.cluster.none_has("g"));
    }
}

#[test]
fn token_of_a_variable_is_not_sent_twice() {
    for engine in engines() {
        let stage = Stage::new();
        stage.want(&[&bearer("right")]);
        let token = Secret::variable("CARGO_PKG_NAME");
        let client = stage.builder(engine).credentials(Credentials::bearer(token)).build().unwrap();
        client.group_status("g").unwrap();
        assert_eq!(stage.requests(&bearer("cluster-client")), (SIZE, 0));
    }
}

#[test]
fn token_that_is_renewed_during_a_bulk_fails_no_item() {
    const GROUPS: usize = 60;
    for engine in engines() {
        let stage = Stage::new();
        let token = stage.write("token", "token-0");
        stage.want(&[&bearer("token-0")]);
        let credentials = Credentials::bearer(Secret::file(&token));
        let client = stage.builder(engine).in_flight(8).credentials(credentials).build().unwrap();
        let mut done = 0;
        for completed in client.create_groups((0..GROUPS).map(|number| format!("g{number}"))) {
            completed.result.unwrap();
            done += 1;
            if done % 15 == 0 {
                let next = format!("token-{}", done / 15);
                stage.write("token", &next);
                stage.want(&[&bearer(&next)]);
            }
        }
        assert_eq!(done, GROUPS);
        assert!((0..GROUPS).all(|number| stage.cluster.all_have(&format!("g{number}"))));
    }
}

#[test]
fn broken_token_file_keeps_the_last_good_token() {
    for engine in engines() {
        let stage = Stage::new();
        let token = stage.write("token", "one");
        stage.want(&[&bearer("one")]);
        let client = stage.builder(engine).credentials(Credentials::bearer(Secret::file(&token))).build().unwrap();
        for broken in [Some("two\nlines\n"), Some(""), None] {
            match broken {
                Some(text) => drop(stage.write("token", text)),
                None => fs::remove_file(&token).unwrap(),
            }
            // The node refuses once, so that the file is read again.
            stage.cluster.node(0).inject(Fault::answer(401).on(Method::Get));
            let report = client.group_status("g").unwrap();
            assert_eq!((report.unknown().count(), report.absent().count()), (1, SIZE - 1), "{broken:?}");
            assert_eq!(client.group_status("g").unwrap().absent().count(), SIZE, "{broken:?}");
        }
        stage.write("token", "two");
        stage.want(&[&bearer("two")]);
        assert_eq!(client.group_status("g").unwrap().absent().count(), SIZE);
    }
}

/// Many services answer 404 to a request without credentials, whether they have the thing or not. A recovery would take
/// that for absence.
#[test]
fn recovery_without_the_credentials_of_the_operation_sends_nothing_and_keeps_its_entry() {
    for engine in engines() {
        let stage = Stage::new();
        let journal = stage.directory.path().join("journal");
        stage.want(&[&bearer("one")]);
        stage.gates.iter().for_each(Gate::hide);
        let client = |hosts: usize| support::builder(&stage.urls()[..hosts]).engine(engine).journal(&journal);
        let credentials = || Credentials::bearer("one");
        let first = client(SIZE).credentials(credentials()).build().unwrap();
        first.create_group("g").unwrap();
        stage.cluster.nodes().iter().for_each(|node| node.inject(Fault::answer(503).on(Method::Delete).always()));
        assert!(first.delete_group("g").unwrap().complete().is_err_and(|error| error.is_recoverable()));
        stage.cluster.nodes().iter().for_each(Node::clear_faults);
        drop(first);
        stage.requests("");

        for (hosts, client) in [
            (&stage.urls()[..], client(SIZE).build().unwrap()),
            (&stage.urls()[2..], client(2).credentials(credentials()).build().unwrap()),
        ] {
            let recovery = client.recover().unwrap();
            let [error] = &recovery.unsettled[..] else { panic!("{recovery:?}") };
            let Error::Conflict { report, .. } = error else { panic!("{error}") };
            let Some(Cause::NoCredentials { hosts: named, .. }) = &report.cause else { panic!("{error}") };
            let mut expected = hosts.to_vec();
            expected.sort_unstable();
            assert_eq!(named.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
            for error in [
                client.create_group("g").map(drop).unwrap_err(),
                client.delete_group("g").map(drop).unwrap_err(),
                client.repair_group("g", Target::Absent).map(drop).unwrap_err(),
            ] {
                assert!(matches!(error, Error::Conflict { .. }) && error.is_recoverable(), "{error}");
            }
        }
        assert_eq!(stage.requests(""), (0, 0));
        assert!(stage.cluster.all_have("g"));

        let all = client(SIZE).credentials(credentials()).build().unwrap();
        assert!(all.recover().unwrap().is_complete());
        assert!(stage.cluster.none_has("g"));
    }
}

/// A host that got no credentials needs none for its recovery, also by a client that has some for other hosts.
#[test]
fn recovery_sends_no_credentials_to_a_host_that_had_none() {
    for engine in engines() {
        let stage = Stage::new();
        let journal = stage.directory.path().join("journal");
        let client = |hosts: usize| support::builder(&stage.urls()[..hosts]).engine(engine).journal(&journal);
        let first = client(SIZE).build().unwrap();
        first.create_group("g").unwrap();
        stage.cluster.node(2).inject(Fault::answer(503).on(Method::Delete).always());
        assert!(first.delete_group("g").unwrap().complete().is_err_and(|error| error.is_recoverable()));
        stage.cluster.node(2).clear_faults();
        drop(first);
        stage.requests("");

        let fewer = client(2).credentials(Credentials::bearer("one")).build().unwrap();
        assert!(fewer.recover().unwrap().is_complete());
        let heads = stage.gates[2].take_heads();
        assert!(!heads.is_empty() && !heads.concat().contains("one"), "{heads:?}");
        assert!(stage.cluster.none_has("g"));
    }
}

/// The secret that is searched for, and the base64 of `user:` and this secret.
const MARKER: &str = "S3CR3T-M4RK3R";
const ENCODED: &str = "UzNDUjNULU00UkszUg";

/// Keeps the text of all records, and for each thread the characters of the hex dumps of ureq-proto in one text.
struct Keeps;

#[derive(Default)]
struct Logged {
    text: String,
    dumps: HashMap<ThreadId, String>,
}

static LOGGED: LazyLock<Mutex<Logged>> = LazyLock::new(Mutex::default);

impl Log for Keeps {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let text = record.args().to_string();
        let mut logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
        let host = record.key_values().get("host".into());
        let _ = writeln!(logged.text, "{} {text} {host:?}", record.target());
        if record.target().starts_with("ureq_proto") {
            let dump = text.split_whitespace().last().unwrap_or_default();
            logged.dumps.entry(thread::current().id()).or_default().push_str(dump);
        }
    }

    fn flush(&self) {}
}

fn keep_the_log() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        log::set_logger(&Keeps).unwrap();
        log::set_max_level(LevelFilter::Trace);
    });
}

/// Returns the number of log lines so far with all these words.
fn count_of_lines(words: &[&str]) -> usize {
    let logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
    logged.text.lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
}

#[cfg(unix)]
#[test]
fn file_that_others_can_read_is_warned_about_once() {
    keep_the_log();
    let stage = Stage::new();
    let (open, closed) = (stage.write("open", "abc"), stage.write("closed", "abc"));
    fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let warning = "can be read by other users (mode 0644)";
    for path in [&open, &closed] {
        let builder = stage.builder(Engine::default()).credentials(Credentials::bearer(Secret::file(path)));
        for client in [builder.clone().build().unwrap(), builder.build().unwrap()] {
            let expected = format!("the secret file {} {warning}: run chmod go-r on it", path.display());
            assert_eq!(client.warnings(), if path == &open { vec![expected] } else { vec![] });
        }
    }
    assert_eq!(count_of_lines(&[open.to_str().unwrap(), warning]), 1);
    assert_eq!(count_of_lines(&[closed.to_str().unwrap()]), 0);
}

#[test]
fn file_that_fails_is_warned_about_once_until_it_is_good_again() {
    keep_the_log();
    let stage = Stage::new();
    let path = stage.write("token", "one");
    let client =
        stage.builder(Engine::default()).credentials(Credentials::bearer(Secret::file(&path))).build().unwrap();
    let warnings = || count_of_lines(&[path.to_str().unwrap(), "is empty", "the last good value is used"]);
    stage.want(&[&bearer("none")]);
    for expected in [1, 2] {
        stage.write("token", "");
        for _ in 0..3 {
            client.group_status("g").unwrap();
            assert_eq!(warnings(), expected);
        }
        stage.write("token", "one");
        client.group_status("g").unwrap();
    }
}

#[derive(Default)]
struct Events(Mutex<String>);

impl Observer for Events {
    fn on_event(&self, event: &Event) {
        let _ = writeln!(self.0.lock().unwrap(), "{event:?}");
    }
}

#[track_caller]
fn assert_hidden(what: &str, text: &str) {
    assert!(!text.contains(MARKER) && !text.contains(ENCODED), "{what} shows the secret: {text}");
}

fn assert_hidden_in_files(directory: &Path) -> usize {
    let mut files = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files += assert_hidden_in_files(&path);
        } else {
            assert_hidden(&path.display().to_string(), &String::from_utf8_lossy(&fs::read(&path).unwrap()));
            files += 1;
        }
    }
    files
}

#[test]
fn secret_is_in_no_log_event_report_error_debug_or_journal() {
    keep_the_log();
    for engine in engines() {
        for scheme in [Credentials::bearer(MARKER), Credentials::basic("user", format!("xx{MARKER}"))] {
            let stage = Stage::new();
            let journal = tempfile::tempdir().unwrap();
            let events = Arc::<Events>::default();
            let observer: Arc<dyn Observer> = Arc::<Events>::clone(&events);
            let credentials = scheme.header("X-Token", MARKER);
            assert_hidden("credentials", &format!("{credentials:?}"));
            let builder = stage.builder(engine).credentials(credentials.clone()).observer(observer);
            let builder = builder.journal(journal.path()).host_credentials(stage.gates[0].url(), credentials);
            assert_hidden("builder", &format!("{builder:?}"));
            let client = builder.build().unwrap();
            assert_hidden("client", &format!("{client:?}"));
            assert_hidden("report", &format!("{:?}", client.create_group("g").unwrap()));
            stage.cluster.node(2).inject(Fault::answer(401).always());
            let error = client.create_group("h").unwrap_err();
            assert_hidden("error", &format!("{error} {error:?}"));
            stage.cluster.node(2).clear_faults();
            stage.cluster.node(2).stop();
            let error = client.with(OperationOptions::new().preflight(false)).create_group("i").unwrap_err();
            assert_hidden("error", &format!("{error} {error:?}"));
            assert!(assert_hidden_in_files(journal.path()) > 0, "the journal has an intent");
            assert_hidden("events", &events.0.lock().unwrap());
            assert_eq!(stage.requests(MARKER).1, 0, "every request had the secret");
        }
    }
    let logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
    assert_hidden("log", &logged.text);
    logged.dumps.values().for_each(|dump| assert_hidden("hex dump", dump));
    // By the thread engine. The multiplexed one writes the heads of requests itself, and dumps none.
    let is_request = |dump: &String| dump.contains("HTTP/1.1..") && dump.contains("..host:.");
    assert!(logged.dumps.values().any(is_request), "the requests are dumped");
}

#[test]
fn plain_http_to_another_machine_is_refused() {
    let build = |allow| {
        let builder = ClusterClient::builder().hosts(["http://localhost:1", "http://node2.example:8000"]);
        builder.credentials(Credentials::bearer("x")).allow_plain_http(allow).build()
    };
    let error = build(false).unwrap_err();
    assert_eq!(error.outcome(), Outcome::Refused);
    assert!(matches!(&error, Error::Config { .. }), "{error:?}");
    assert!(error.to_string().contains("http://node2.example:8000"), "{error}");
    assert!(build(true).is_ok());
}

#[test]
fn header_of_an_api_and_header_with_a_secret_of_one_name_are_refused() {
    let api = |header: &str| {
        let delete = Call::new("DELETE", "/{id}").deleted([204]).absent([404]).header(header, "plain");
        let api = Api::builder().name("hub").ids("a-z", 9).delete(delete);
        let api = api.create(Call::new("PUT", "/{id}").created([201]).exists([409]));
        api.check(Call::new("GET", "/{id}").present([200]).absent([404])).build().unwrap()
    };
    let secret = Credentials::new().header("X-Tenant", "S3CR3T");
    let hosts = || ClusterClient::builder().hosts(["https://a", "https://b"]);
    let of_one = |builder: ClientBuilder| builder.host_credentials("https://b", secret.clone());
    for (builder, host) in [
        (hosts().api(api("x-tenant")).credentials(secret.clone()), "https://a"),
        (of_one(hosts().api(api("x-tenant"))), "https://b"),
        (of_one(hosts().known_apis([api("x-tenant")])), "https://b"),
    ] {
        let error = builder.build().unwrap_err();
        assert!(matches!(error, Error::Config { .. }), "{error}");
        let expected = format!(
            "header with a secret \"X-Tenant\" (passed by the program) for {host} is the header \"x-tenant\" of the API \
             \"hub\" too: leave one of them out"
        );
        assert_eq!(error.to_string(), expected);
    }
    of_one(hosts().api(api("X-Other"))).build().unwrap();
    // No host gets the secret.
    let none = hosts().api(api("x-tenant")).credentials(secret).host_credentials("https://a", Credentials::new());
    none.host_credentials("https://b", Credentials::new()).build().unwrap();
}
