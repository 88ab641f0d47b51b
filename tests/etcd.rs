//! The journal in etcd on a real cluster of three members, of the versions 3.4 and 3.5.

#[path = "support/etcd.rs"]
mod etcd;
mod support;
#[path = "support/tls.rs"]
mod tls;

use std::cell::RefCell;
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cluster_client::testing::{Cluster, journal_conformance};
use cluster_client::{ClusterClient, EtcdJournal, GroupId, Hosts, Intent, Journal, Purpose, TlsSettings};
use rcgen::{CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose};
use serde_json::{Value, json};

use self::etcd::{EtcdCluster, EtcdOptions, MEMBERS};
use self::support::builder;
use self::tls::{Authority, Identity, named};

const VERSIONS: [&str; 2] = ["3.4", "3.5"];

#[test]
fn journal_keeps_its_contract_and_leaves_nothing() {
    for version in VERSIONS {
        let Some(cluster) = EtcdCluster::start(version) else { continue };
        let url = cluster.journal("/conformance");
        journal_conformance(|| EtcdJournal::builder(&url).open().unwrap());
        assert_eq!(cluster.keys("/conformance"), [""; 0], "{version}");
        assert_eq!(cluster.leases(), 0, "{version}");
    }
}

fn client(nodes: &Cluster, journal: EtcdJournal) -> ClusterClient {
    builder(nodes.urls()).custom_journal(Arc::new(journal)).build().unwrap()
}

/// Returns a group that a client has created, with the nodes as witnesses.
fn create(nodes: &Cluster, client: &ClusterClient, group: &str) {
    client.create_group(group).unwrap_or_else(|error| panic!("{group}: {error}: {:?}", error.source()));
    assert!(nodes.all_have(group), "{group}");
}

/// The whole chain of an error.
fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[test]
fn bulk_goes_on_while_the_leader_of_etcd_is_killed_or_stopped() {
    for version in VERSIONS {
        let Some(cluster) = EtcdCluster::start(version) else { continue };
        let nodes = Cluster::start(3).unwrap();
        let client = client(&nodes, EtcdJournal::builder(cluster.journal("/leader")).open().unwrap());
        for (fault, undo) in [
            (EtcdCluster::kill as fn(&EtcdCluster, usize), EtcdCluster::restart as fn(&EtcdCluster, usize)),
            (EtcdCluster::pause, EtcdCluster::resume),
        ] {
            let leader = cluster.leader();
            let mut slowest = Duration::ZERO;
            let mut last = Instant::now();
            let ids: Vec<String> = (0..200).map(|number| format!("{leader} {number}")).collect();
            for (number, done) in client.create_groups(&ids).enumerate() {
                assert!(done.result.is_ok(), "{version} {}: {}", done.id, told(&done.result.unwrap_err()));
                if number == 50 {
                    fault(&cluster, leader);
                }
                slowest = slowest.max(last.elapsed());
                last = Instant::now();
            }
            println!("etcd {version}: the longest pause is {slowest:?}");
            assert!(ids.iter().all(|id| nodes.all_have(id)));
            undo(&cluster, leader);
            client.delete_groups(&ids).for_each(drop);
        }
        drop(client);
        assert_eq!(cluster.keys("/leader"), [""; 0]);
    }
}

#[test]
fn bulk_keeps_to_limits_of_etcd_below_its_defaults() {
    for version in VERSIONS {
        let Some(program) = etcd::program(version) else { continue };
        let words = ["--max-txn-ops=16", "--max-request-bytes=20000"].map(str::to_owned).to_vec();
        let cluster = EtcdCluster::with(&program, &EtcdOptions { words, ..EtcdOptions::default() });
        let nodes = Cluster::start(3).unwrap();
        let journal = EtcdJournal::builder(cluster.journal("/limits")).open().unwrap();
        let client = builder(nodes.urls()).in_flight(200).custom_journal(Arc::new(journal)).build().unwrap();
        let ids: Vec<String> = (0..200).map(|number| format!("group {number}")).collect();
        let created = client.create_groups(&ids).filter(|done| done.result.is_ok()).count();
        assert!(created == ids.len() && ids.iter().all(|id| nodes.all_have(id)), "{version}: {created}");
        let deleted = client.delete_groups(&ids).filter(|done| done.result.is_ok()).count();
        assert_eq!(deleted, ids.len(), "{version}");
        drop(client);
        assert_eq!(cluster.keys("/limits"), [""; 0], "{version}");
    }
}

/// Two clusters lock a group twice.
#[test]
fn members_of_another_cluster_are_refused() {
    let (Some(cluster), Some(other)) = (EtcdCluster::start("3.4"), EtcdCluster::start("3.4")) else { return };
    let nodes = Cluster::start(3).unwrap();
    let url = format!("etcd://{},{}/two", cluster.endpoint(0), other.endpoint(0));
    let client = client(&nodes, EtcdJournal::builder(url).open().unwrap());
    create(&nodes, &client, "first");
    cluster.kill(0);
    let error = told(&client.create_group("second").unwrap_err());
    let part = format!("{}: it is of another etcd cluster than http://{}", other.endpoint(0), cluster.endpoint(0));
    assert!(error.contains(&part) && nodes.none_has("second"), "{error}");
    cluster.restart(0);
    // The failure is remembered for a moment.
    let deadline = Instant::now() + Duration::from_secs(30);
    while client.create_group("second").is_err() {
        assert!(Instant::now() < deadline, "the first cluster is not used again");
    }
    drop(client);
    assert_eq!((cluster.keys("/two"), other.keys("/two")), (vec![], vec![]));
}

#[test]
fn claim_ends_in_time_while_all_members_are_stopped() {
    let Some(cluster) = EtcdCluster::start("3.4") else { return };
    let nodes = Cluster::start(3).unwrap();
    let ttl = Duration::from_secs(4);
    let open = || EtcdJournal::builder(cluster.journal("/stopped")).ttl(ttl).open().unwrap();
    let store = open();
    let group = GroupId::parse("users-42").unwrap();
    let mut claim = store.claim(&group).unwrap();
    let intent = Intent::new(group.clone(), Purpose::create(true), &Hosts::parse(nodes.urls()).unwrap());
    claim.record(&intent).unwrap();
    (0..MEMBERS).for_each(|member| cluster.pause(member));
    let paused = Instant::now();
    assert!(claim.erase().is_err());
    while claim.holds_until().unwrap() > Instant::now() {
        assert!(paused.elapsed() < ttl * 2, "the claim does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
    // A renewal that was on its way may have been answered just before the stop.
    assert!(paused.elapsed() < ttl * 2, "{:?}", paused.elapsed());
    drop(claim);
    drop(store);
    (0..MEMBERS).for_each(|member| cluster.resume(member));
    let client = client(&nodes, open());
    let deadline = Instant::now() + ttl * 5;
    while client.recover().map_or(true, |recovery| !recovery.is_complete()) {
        assert!(Instant::now() < deadline, "the lock stays");
    }
    create(&nodes, &client, "users-42");
    drop(client);
    assert_eq!(cluster.keys("/stopped"), [""; 0]);
}

#[test]
fn user_with_a_password_is_logged_in_again_after_a_restart() {
    start_logging();
    for version in VERSIONS {
        let Some(cluster) = EtcdCluster::start(version) else { continue };
        add_user(&cluster, "root");
        add_user(&cluster, "cluster");
        let key = |text: &str| BASE64_STANDARD.encode(text);
        let permission = json!({ "permType": "READWRITE", "key": key("/auth/"), "range_end": key("/auth0") });
        ask(&cluster, "/v3/auth/role/grant", &json!({ "name": "cluster", "perm": permission }));
        ask(&cluster, "/v3/auth/enable", &json!({}));

        let nodes = Cluster::start(3).unwrap();
        let builder = || EtcdJournal::builder(cluster.journal("/auth"));
        let own = client(&nodes, builder().user("cluster", "S3CR3T").open().unwrap());
        create(&nodes, &own, "first");
        let elsewhere = EtcdJournal::builder(cluster.journal("/elsewhere"));
        for (journal, remedy) in [
            (builder(), "set the etcd user and its password"),
            (builder().user("cluster", "S3CR3T but wrong"), "correct the etcd user and its password"),
            (elsewhere.user("cluster", "S3CR3T"), "grant the user's role readwrite"),
        ] {
            let error = told(&client(&nodes, journal.open().unwrap()).create_group("refused").unwrap_err());
            assert!(error.contains(remedy) && !error.contains("S3CR3T"), "{version}: {error}");
        }
        // Tokens do not survive a restart.
        for member in 0..MEMBERS {
            cluster.kill(member);
            cluster.restart(member);
        }
        create(&nodes, &own, "second");
        drop(own);
        let root = login(&cluster, "root", "S3CR3T");
        let range = json!({ "key": key("/auth/"), "range_end": key("/auth0"), "count_only": true });
        let left = cluster.ask(0, "/v3/kv/range", &range, Some(&root)).unwrap();
        assert!(left.get("header").is_some() && left.get("count").is_none(), "{version}: {left}");
        assert!(HAS_LOGGED.load(Ordering::Relaxed) && !HAS_LEAKED.load(Ordering::Relaxed), "the log has the password");
    }
}

fn ask(cluster: &EtcdCluster, path: &str, body: &Value) {
    let answer = cluster.ask(0, path, body, None).unwrap();
    assert!(answer.get("header").is_some(), "{path}: {answer}");
}

/// Adds a user with a role of the same name.
fn add_user(cluster: &EtcdCluster, name: &str) {
    ask(cluster, "/v3/auth/user/add", &json!({ "name": name, "password": "S3CR3T" }));
    ask(cluster, "/v3/auth/role/add", &json!({ "name": name }));
    ask(cluster, "/v3/auth/user/grant", &json!({ "user": name, "role": name }));
}

fn login(cluster: &EtcdCluster, name: &str, password: &str) -> String {
    let body = json!({ "name": name, "password": password });
    let answer = cluster.ask(0, "/v3/auth/authenticate", &body, None).unwrap();
    answer["token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[test]
fn members_with_tls_verify_the_client_and_are_verified() {
    for version in VERSIONS {
        let Some(program) = etcd::program(version) else { continue };
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("the authority");
        // The gateway of a member is a client of that member, with the certificate of the server.
        let server = authority.issue(&for_both(named(&["localhost", "127.0.0.1"])));
        let mut nameless = for_both(named(&["client.example"]));
        nameless.distinguished_name = DistinguishedName::new();
        let (own, other) = (authority.issue(&nameless), Authority::new("another authority"));
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (ca, chain, secret) =
            (write("ca.pem", &authority.pem), write("server.pem", &server.chain), write("server.key", &server.key));
        let words = ["--client-cert-auth", "--trusted-ca-file", &ca, "--cert-file", &chain, "--key-file", &secret];
        let words = words.map(str::to_owned).to_vec();
        let cluster = EtcdCluster::with(&program, &EtcdOptions { words, https: true, ..EtcdOptions::default() });
        let nodes = Cluster::start(3).unwrap();
        let open = |tls: TlsSettings| EtcdJournal::builder(cluster.journal("/tls")).tls(tls).open().unwrap();
        let ours = |identity: &Identity| {
            TlsSettings::new()
                .ca_pem(authority.pem.as_str())
                .client_cert_pem(identity.chain.as_str())
                .client_key_pem(identity.key.as_str())
        };
        create(&nodes, &client(&nodes, open(ours(&own))), "first");
        for (tls, reason) in [
            (TlsSettings::new().ca_pem(authority.pem.as_str()), "client certificate"),
            (ours(&own).ca_pem(other.pem.as_str()), "unknown issuer"),
        ] {
            let error = told(&client(&nodes, open(tls)).create_group("refused").unwrap_err());
            assert!(error.contains(reason) && error.contains("https://127.0.0.1"), "{version}: {error}");
        }
        let plain = cluster.journal("/tls").replace("etcds://", "etcd://");
        let plain = EtcdJournal::builder(plain).open().unwrap();
        let error = told(&client(&nodes, plain).create_group("refused").unwrap_err());
        assert!(error.contains("etcds://"), "{version}: {error}");

        add_user(&cluster, "root");
        ask(&cluster, "/v3/auth/enable", &json!({}));
        let open = |identity: &Identity| {
            let builder = EtcdJournal::builder(cluster.journal("/tls")).tls(ours(identity));
            client(&nodes, builder.user("root", "S3CR3T").open().unwrap())
        };
        create(&nodes, &open(&own), "second");
        let error = told(&open(&server).create_group("refused").unwrap_err());
        assert!(error.contains("certificate with a common name: use one without it"), "{version}: {error}");
    }
}

/// Calls the journal during the first record that ureq logs on a thread with a journal in [`CALLED`].
struct CallingLogger;

thread_local! {
    static CALLED: RefCell<Option<EtcdJournal>> = const { RefCell::new(None) };
}

impl log::Log for CallingLogger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let text = record.args().to_string();
        HAS_LOGGED.fetch_or(record.target().starts_with("ureq"), Ordering::Relaxed);
        HAS_LEAKED.fetch_or(text.contains("S3CR3T"), Ordering::Relaxed);
        let journal = if record.target().starts_with("ureq") { CALLED.take() } else { None };
        if let Some(journal) = journal {
            drop(journal.claim(&GroupId::parse("logged").unwrap()).unwrap());
            CLAIMED_BY_LOGGER.store(true, Ordering::Relaxed);
        }
    }

    fn flush(&self) {}
}

static CLAIMED_BY_LOGGER: AtomicBool = AtomicBool::new(false);
/// A record of ureq was logged.
static HAS_LOGGED: AtomicBool = AtomicBool::new(false);
/// A record had the password.
static HAS_LEAKED: AtomicBool = AtomicBool::new(false);

fn start_logging() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&CallingLogger).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
}

#[test]
fn logger_may_call_the_journal_during_its_requests() {
    let Some(cluster) = EtcdCluster::start("3.4") else { return };
    start_logging();
    let journal = EtcdJournal::builder(cluster.journal("/log")).open().unwrap();
    CALLED.set(Some(journal.clone()));
    drop(journal.claim(&GroupId::parse("outer").unwrap()).unwrap());
    assert!(CLAIMED_BY_LOGGER.load(Ordering::Relaxed), "ureq logged nothing");
    drop(journal);
    assert_eq!(cluster.keys("/log"), [""; 0]);
}

fn for_both(mut params: CertificateParams) -> CertificateParams {
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params
}

// --- cost

/// Creates and deletes groups in bulks. Returns the number of operations a second.
fn run_bulks(client: &ClusterClient, name: &str, operations: u32) -> f64 {
    let start = Instant::now();
    let ids = || (0..operations / 2).map(|number| format!("{name} {number}"));
    let created = client.create_groups(ids()).filter(|done| done.result.is_ok()).count();
    let deleted = client.delete_groups(ids()).filter(|done| done.result.is_ok()).count();
    assert_eq!((created, deleted), (ids().count(), ids().count()));
    f64::from(operations) / start.elapsed().as_secs_f64()
}

#[test]
#[ignore = "a measurement: cargo test --release --all-features --test etcd cost -- --ignored --nocapture"]
fn cost_of_a_create_and_a_bulk() {
    for version in VERSIONS {
        let Some(cluster) = EtcdCluster::start(version) else { continue };
        let nodes = Cluster::start(3).unwrap();
        let client = client(&nodes, EtcdJournal::builder(cluster.journal("/cost")).open().unwrap());
        client.create_group("first").unwrap();
        let start = Instant::now();
        for number in 0..100 {
            client.create_group(format!("single {number}")).unwrap();
        }
        println!("etcd {version}: one create {:?}", start.elapsed() / 100);
        println!("etcd {version}: bulk {:.0} operations a second", run_bulks(&client, "bulk", 6_000));
        drop(client);
        assert_eq!(cluster.keys("/cost"), [""; 0]);
    }
}

#[test]
#[ignore = "a measurement: OPERATIONS=100000 cargo test --release --all-features --test etcd many -- --ignored --nocapture"]
fn nothing_is_left_after_many_operations() {
    let operations = std::env::var("OPERATIONS").map_or(100_000, |number| number.parse().unwrap());
    for version in VERSIONS {
        let Some(cluster) = EtcdCluster::start(version) else { continue };
        let nodes = Cluster::start(3).unwrap();
        let client = client(&nodes, EtcdJournal::builder(cluster.journal("/many")).open().unwrap());
        let size = |when: &str| {
            let status = cluster.ask(0, "/v3/maintenance/status", &json!({}), None).unwrap();
            let kib = |name: &str| status[name].as_str().unwrap_or("0").parse::<u64>().unwrap() >> 10;
            let (file, used) = (kib("dbSize"), kib("dbSizeInUse"));
            println!(
                "etcd {version}, {when}: revision {}, file {file} KiB, used {used} KiB",
                status["header"]["revision"]
            );
            (status["header"]["revision"].as_str().unwrap().to_owned(), used)
        };
        let (_, before) = size("before");
        let rate = run_bulks(&client, "many", operations);
        drop(client);
        assert_eq!((cluster.keys("/many"), cluster.leases()), (vec![], 0));
        let (revision, _) = size(&format!("after {operations} operations, {rate:.0} a second"));
        ask(&cluster, "/v3/kv/compaction", &json!({ "revision": revision, "physical": true }));
        let done = cluster.ask(0, "/v3/maintenance/defragment", &json!({}), None).unwrap();
        assert!(done.get("code").is_none(), "{done}");
        let (_, after) = size("compacted and defragmented");
        assert!(after <= before + 256, "{before} KiB, then {after} KiB");
    }
}
