//! The journal against a fake etcd: each pitfall of the gateway.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::EtcdJournal;
use super::fake::{Asked, FakeEtcd, Fate, eventually};
use super::gateway::{ATTEMPT, Gateway, PATIENCE};
use super::session::Session;
use crate::journal::calls::{JournalCall, JournalResult};
use crate::journal::{Claim, Journal};
use crate::values::cause::JournalError;
use crate::values::group::GroupId;
use crate::values::host::{Host, Hosts};
use crate::values::intent::{ClaimError, Intent, Purpose};

fn group(id: &str) -> GroupId {
    GroupId::parse(id).unwrap()
}

fn intent(id: &str) -> Intent {
    Intent::new(group(id), Purpose::Delete, &Hosts::parse(["http://node1:8000"]).unwrap())
}

fn journal(fake: &FakeEtcd) -> EtcdJournal {
    EtcdJournal::builder(fake.url()).open().unwrap()
}

fn claim(journal: &EtcdJournal, id: &str) -> Box<dyn Claim> {
    journal.claim(&group(id)).unwrap_or_else(|error| panic!("{error:?}"))
}

/// The whole text of an error.
fn told(error: &JournalError) -> String {
    format!("{error}: {}", error.io_error())
}

fn failure(journal: &EtcdJournal, id: &str) -> String {
    match journal.claim(&group(id)) {
        Err(ClaimError::Failed(error)) => told(&error),
        Err(ClaimError::Busy(holder)) => panic!("busy: {holder}"),
        Ok(_) => panic!("claimed"),
    }
}

/// Records and erases through a claim, and checks that nothing stays.
fn use_and_release(fake: &FakeEtcd, mut claim: Box<dyn Claim>, id: &str) {
    claim.record(&intent(id)).unwrap();
    assert_eq!(fake.keys(), [format!("/p/intent/{id}"), format!("/p/lock/{id}")]);
    claim.erase().unwrap();
    drop(claim);
    assert_eq!(fake.keys(), [""; 0]);
}

fn is_txn_of(asked: &Asked, part: &str) -> bool {
    asked.call == "txn" && asked.body.to_string().contains(part)
}

/// A claim is the only transaction with a put under a lease.
fn is_claim(asked: &Asked) -> bool {
    is_txn_of(asked, "\"lease\"")
}

const NO_LEADER: &str = r#"{"error":"etcdserver: no leader","message":"etcdserver: no leader","code":14}"#;

#[test]
fn opening_sends_nothing_and_the_drop_revokes_the_lease() {
    let fake = FakeEtcd::start(1);
    let store = journal(&fake);
    assert!(fake.state().asked.is_empty());
    use_and_release(&fake, claim(&store, "a"), "a");
    use_and_release(&fake, claim(&store, "b"), "b");
    assert_eq!((fake.count("grant"), fake.state().leases.len()), (1, 1));
    drop(store);
    assert_eq!((fake.count("revoke"), fake.state().leases.len()), (1, 0));
    assert!(fake.state().asked.iter().all(|asked| asked.head.contains("grpc-metadata-hasleader: true")));
}

#[test]
fn create_takes_four_requests_of_which_two_are_for_the_lock() {
    let fake = FakeEtcd::start(1);
    let store = journal(&fake);
    drop(claim(&store, "first"));
    let before = fake.count("txn");
    use_and_release(&fake, claim(&store, "a"), "a");
    assert_eq!(fake.count("txn") - before, 4);
}

#[test]
fn store_that_ignores_comparisons_is_refused_before_the_first_claim() {
    let fake = FakeEtcd::start(1);
    fake.state().ignores_comparisons = true;
    let error = failure(&journal(&fake), "a");
    let part = format!("{}: the store ignores a comparison that must fail", fake.endpoint());
    assert!(error.contains(&part), "{error}");
    assert!(fake.keys().is_empty() && fake.count("grant") == 0);
}

#[test]
fn busy_names_the_holder_and_its_start() {
    let fake = FakeEtcd::start(1);
    let store = journal(&fake);
    let _held = claim(&store, "a");
    let Err(ClaimError::Busy(holder)) = journal(&fake).claim(&group("a")) else { panic!("claimed twice") };
    let process = format!("process {} on ", std::process::id());
    assert!(holder.starts_with(&process) && holder.contains(" since 20"), "{holder}");
}

#[test]
fn claim_whose_answer_was_lost_is_recognized_by_its_nonce() {
    let fake = FakeEtcd::start(2);
    fake.script(|asked| if is_claim(asked) && asked.endpoint == 0 { Fate::Lose } else { Fate::Serve });
    let store = journal(&fake);
    use_and_release(&fake, claim(&store, "a"), "a");
    // The lost attempt may be applied late, so its lease ends with the last claim, and the next claim has another.
    eventually("the lease is revoked", || fake.count("revoke") == 1);
    fake.script(|_| Fate::Serve);
    use_and_release(&fake, claim(&store, "a"), "a");
    assert_eq!(fake.count("grant"), 2);
}

#[test]
fn lock_of_a_claim_that_failed_after_all_ends_with_its_lease() {
    let fake = FakeEtcd::start(1);
    fake.script(|asked| if is_claim(asked) { Fate::Mute } else { Fate::Serve });
    let store = journal(&fake);
    let other = claim_through_another_lease(&fake);
    let error = failure(&store, "a");
    assert!(error.contains("no answer") && error.contains(&fake.url()[7..22]), "{error}");
    eventually("the lock is gone", || fake.keys() == ["/p/lock/other"]);
    drop(other);
}

fn claim_through_another_lease(fake: &FakeEtcd) -> Box<dyn Claim> {
    let first = AtomicBool::new(true);
    fake.script(
        move |asked| {
            if is_claim(asked) && !first.swap(false, Ordering::Relaxed) { Fate::Mute } else { Fate::Serve }
        },
    );
    claim(&journal(fake), "other")
}

#[test]
fn change_whose_answer_was_lost_is_repeated() {
    let fake = FakeEtcd::start(2);
    let store = journal(&fake);
    let held = claim(&store, "a");
    fake.script(|asked| if asked.call == "txn" && asked.earlier % 2 == 0 { Fate::Lose } else { Fate::Serve });
    use_and_release(&fake, held, "a");
    assert_eq!(fake.count("grant"), 1, "a release that was repeated is not ambiguous");
}

#[test]
fn attempt_of_a_change_that_is_applied_late_changes_nothing() {
    let fake = FakeEtcd::start(2);
    let store = journal(&fake);
    let mut held = claim(&store, "a");
    let base = fake.count("txn");
    fake.script(move |asked| if asked.earlier == base { Fate::Hang } else { Fate::Serve });
    held.record(&intent("a")).unwrap();
    let record = fake.state().asked.iter().rfind(|asked| asked.call == "txn").unwrap().body.clone();
    held.erase().unwrap();
    let erase = fake.state().asked.iter().rfind(|asked| asked.call == "txn").unwrap().body.clone();
    fake.apply(&record);
    assert_eq!(fake.keys(), ["/p/lock/a"], "a late record");
    held.record(&intent("a")).unwrap();
    fake.apply(&erase);
    assert_eq!(fake.keys(), ["/p/intent/a", "/p/lock/a"], "a late erase");
    held.erase().unwrap();
    drop(held);
    fake.apply(&record);
    assert_eq!(fake.keys(), [""; 0], "a late record after the release");
}

#[test]
fn change_after_one_that_failed_is_not_taken_for_it() {
    let fake = FakeEtcd::start(1);
    let store = journal(&fake);
    let mut held = claim(&store, "a");
    held.record(&intent("a")).unwrap();
    fake.script(|_| Fate::Mute);
    let other = Intent::new(group("a"), Purpose::Present, &Hosts::parse(["http://node2:8000"]).unwrap());
    assert!(held.record(&other).is_err());
    fake.script(|_| Fate::Serve);
    held.erase().unwrap();
    assert_eq!(fake.keys(), ["/p/lock/a"]);
}

#[test]
fn change_is_repeated_after_timeouts_and_status_500_and_504() {
    let fake = FakeEtcd::start(3);
    let store = journal(&fake);
    let mut held = claim(&store, "a");
    let timed_out = r#"{"code":2,"message":"etcdserver: request timed out"}"#;
    let base = fake.count("txn");
    fake.script(move |asked| match asked.earlier - base {
        0 => Fate::Answer(500, timed_out.into()),
        1 => Fate::Answer(504, timed_out.into()),
        2 => Fate::Mute,
        3 => Fate::Answer(200, "{\"succeeded\":true}".into()),
        4 => Fate::Answer(200, "garbage".into()),
        _ => Fate::Serve,
    });
    held.record(&intent("a")).unwrap();
    assert_eq!(fake.count("txn") - base, 6);
}

#[test]
fn change_without_any_answer_ends_with_an_error_that_names_the_endpoints() {
    let fake = FakeEtcd::start(2);
    let store = journal(&fake);
    let mut held = claim(&store, "a");
    fake.script(|_| Fate::Answer(503, NO_LEADER.into()));
    let start = Instant::now();
    let error = told(&held.record(&intent("a")).unwrap_err());
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(error.starts_with("cannot record the intent in etcd: http://127.0.0.1:"), "{error}");
    assert!(error.matches("no leader").count() == 2 && error.contains("check that most members"), "{error}");
    let start = Instant::now();
    assert!(failure(&store, "b").contains("no leader"));
    drop(held);
    assert!(start.elapsed() < Duration::from_secs(1), "a claim and a release wait for a known failure");
}

#[test]
fn endpoint_that_never_answers_costs_one_attempt() {
    let fake = FakeEtcd::start(3);
    fake.script(|asked| if asked.endpoint == 0 { Fate::Hang } else { Fate::Serve });
    let store = journal(&fake);
    let start = Instant::now();
    use_and_release(&fake, claim(&store, "a"), "a");
    let elapsed = start.elapsed();
    assert!((ATTEMPT..ATTEMPT * 2).contains(&elapsed), "{elapsed:?}");
}

#[test]
fn member_without_a_leader_is_left_for_another_at_once() {
    let fake = FakeEtcd::start(2);
    fake.script(|asked| if asked.endpoint == 0 { Fate::Answer(503, NO_LEADER.into()) } else { Fate::Serve });
    let store = journal(&fake);
    use_and_release(&fake, claim(&store, "a"), "a");
    assert_eq!(fake.count("grant"), 1, "nothing was ambiguous, and the good endpoint is preferred");
}

#[test]
fn renewal_moves_the_end_of_a_claim_only_if_it_is_answered() {
    let fake = FakeEtcd::start(1);
    fake.state().ttl = 3;
    let store = EtcdJournal::builder(fake.url()).ttl(Duration::from_secs(3)).open().unwrap();
    let begun = Instant::now();
    let held = claim(&store, "a");
    let first = held.holds_until().unwrap();
    assert!(first >= begun + Duration::from_secs(3) && first <= Instant::now() + Duration::from_secs(3));
    eventually("a renewal", || held.holds_until().unwrap() > first);
    fake.script(|asked| if asked.call == "keepalive" { Fate::Hang } else { Fate::Serve });
    let last = held.holds_until().unwrap();
    eventually("more renewals are tried", || fake.count("keepalive") >= 3);
    assert!(held.holds_until().unwrap() <= last + Duration::from_secs(1));
    eventually("the claim ends", || held.holds_until().unwrap() <= Instant::now());
    // The next claim has another lease.
    use_and_release_after_expiry(&fake, &store, held);
}

#[test]
fn lease_counts_from_the_time_before_its_request_was_sent() {
    const DELAY: Duration = Duration::from_millis(600);
    let fake = FakeEtcd::start(1);
    fake.state().ttl = 2;
    fake.script(|asked| {
        if ["grant", "keepalive"].contains(&asked.call.as_str()) {
            std::thread::sleep(DELAY);
        }
        Fate::Serve
    });
    let store = EtcdJournal::builder(fake.url()).ttl(Duration::from_secs(2)).open().unwrap();
    let held = claim(&store, "a");
    let first = held.holds_until().unwrap();
    assert!(first + DELAY <= Instant::now() + Duration::from_secs(2), "counted from the answer to the grant");
    eventually("a renewal", || held.holds_until().unwrap() != first);
    let renewed = held.holds_until().unwrap();
    assert!(renewed + DELAY <= Instant::now() + Duration::from_secs(2), "counted from the answer to the renewal");
}

fn use_and_release_after_expiry(fake: &FakeEtcd, store: &EtcdJournal, lost: Box<dyn Claim>) {
    fake.expire_leases();
    let next = claim(store, "a");
    drop(lost);
    assert_eq!(fake.keys(), ["/p/lock/a"], "the drop of a lost claim deletes no lock of another");
    drop(next);
    assert_eq!((fake.keys(), fake.count("grant")), (vec![], 2));
}

#[test]
fn renewal_answered_without_a_length_ends_the_claim() {
    let fake = FakeEtcd::start(1);
    fake.state().ttl = 6;
    let store = EtcdJournal::builder(fake.url()).ttl(Duration::from_secs(6)).open().unwrap();
    let mut held = claim(&store, "a");
    held.record(&intent("a")).unwrap();
    fake.expire_leases();
    let by_time = held.holds_until().unwrap();
    eventually("the claim ends", || held.holds_until().unwrap() <= Instant::now());
    assert!(Instant::now() < by_time, "it ended by time alone");
    let error = told(&held.record(&intent("a")).unwrap_err());
    assert!(error.contains("the claim on the group was lost"), "{error}");
    assert!(held.erase().is_err());
    assert_eq!(fake.keys(), ["/p/intent/a"], "the intent stays");
    let next = claim(&store, "a");
    assert_eq!(next.inherited(), Some(&intent("a")));
}

/// The report must say so even if the change that found it is the last one.
#[test]
fn claim_has_ended_when_a_change_finds_no_lock() {
    let fake = FakeEtcd::start(1);
    let store = journal(&fake);
    let mut held = claim(&store, "a");
    held.record(&intent("a")).unwrap();
    fake.state().kvs.remove(b"/p/lock/a".as_slice());
    assert!(held.erase().is_err());
    let now = Instant::now();
    assert!(held.holds_until().unwrap() <= now, "the claim ends only when it is asked");
    assert_eq!(fake.keys(), ["/p/intent/a"]);
}

#[test]
fn claim_under_a_lease_that_has_ended_gets_another_lease() {
    let fake = FakeEtcd::start(1);
    let store = journal(&fake);
    let mut held = claim(&store, "a");
    fake.expire_leases();
    let next = claim(&store, "b");
    assert!(held.holds_until().unwrap() <= Instant::now() && next.holds_until().unwrap() > Instant::now());
    assert!(held.record(&intent("a")).is_err());
    assert_eq!(fake.count("grant"), 2);
}

#[test]
fn failure_to_get_a_lease_is_remembered() {
    let fake = FakeEtcd::start(1);
    fake.script(|asked| if asked.call == "grant" { Fate::Answer(503, NO_LEADER.into()) } else { Fate::Serve });
    let store = journal(&fake);
    assert!(failure(&store, "a").contains("no leader"));
    let (grants, start) = (fake.count("grant"), Instant::now());
    (0..100).for_each(|number| assert!(failure(&store, &number.to_string()).contains("no leader")));
    assert!(start.elapsed() < Duration::from_secs(1) && fake.count("grant") == grants);
}

#[test]
fn unfinished_operations_are_read_in_pages_with_their_holders() {
    let fake = FakeEtcd::start(1);
    let store = journal(&fake);
    let held: Vec<_> = (0..7)
        .map(|number| {
            let mut held = claim(&store, &number.to_string());
            held.record(&intent(&number.to_string())).unwrap();
            held
        })
        .collect();
    let mut held = held.into_iter();
    drop(held.next());
    fake.state().page = 2;
    let unfinished = store.unfinished().unwrap();
    assert_eq!(unfinished.entries.len(), 7);
    let holders: Vec<_> = unfinished.entries.iter().map(|entry| entry.holder().is_some()).collect();
    assert_eq!(holders, [false, true, true, true, true, true, true]);
    assert!(fake.state().asked.iter().filter(|asked| asked.call == "range").all(|asked| {
        asked.body.get("serializable").is_none() && (asked.earlier == 0 || asked.body["revision"] != "0")
    }));
}

#[test]
fn unreadable_intent_is_reported_and_its_group_is_free_again() {
    let fake = FakeEtcd::start(1);
    fake.state().kvs.insert(b"/p/intent/a".to_vec(), (1, 0, b"\x1b[2Jgarbage".to_vec()));
    let store = journal(&fake);
    let error = failure(&store, "a");
    assert!(error.contains("/p/intent/a") && error.contains("etcdctl del"), "{error}");
    assert_eq!(fake.keys(), ["/p/intent/a"]);
    let unfinished = store.unfinished().unwrap();
    assert_eq!((unfinished.entries.len(), unfinished.unreadable.len()), (0, 1));
    assert!(told(&unfinished.unreadable[0]).contains("etcdctl del"));
}

#[test]
fn intent_of_another_version_is_left_to_that_version() {
    let fake = FakeEtcd::start(1);
    fake.state().kvs.insert(b"/p/intent/a".to_vec(), (1, 0, b"cluster-client intent 3\n".to_vec()));
    let store = journal(&fake);
    let listed = told(&store.unfinished().unwrap().unreadable[0]);
    for error in [listed, failure(&store, "a")] {
        assert!(error.contains("recover with the version of cluster-client that wrote it"), "{error}");
        assert!(!error.contains("del"), "{error}");
    }
}

/// The program of a user may seed the generator, and a forked process has that of its parent.
#[test]
fn claims_differ_even_if_the_random_generator_repeats_itself() {
    let fake = FakeEtcd::start(1);
    let (one, other) = (journal(&fake), journal(&fake));
    fastrand::seed(7);
    let _held = claim(&one, "a");
    fastrand::seed(7);
    assert!(matches!(other.claim(&group("a")), Err(ClaimError::Busy(_))));
}

#[test]
fn intent_that_is_too_large_is_refused_before_any_request() {
    let fake = FakeEtcd::start(1);
    let store = journal(&fake);
    let mut held = claim(&store, "a");
    let before = fake.count("txn");
    let hosts = (0..30_000).map(|number| format!("http://node{number}.example.org:8000"));
    let large = Intent::new(group("a"), Purpose::Delete, &Hosts::parse(hosts).unwrap());
    let error = told(&held.record(&large).unwrap_err());
    assert!(error.contains("split the cluster"), "{error}");
    assert_eq!(fake.count("txn"), before);
}

#[test]
fn changes_with_large_answers_are_repeated_in_smaller_transactions() {
    let fake = FakeEtcd::start(1);
    let store = journal(&fake);
    let hosts = (0..11_000).map(|number| format!("http://node{number}.example.org:8000"));
    let large = |id: &str| Intent::new(group(id), Purpose::Delete, &Hosts::parse(hosts.clone()).unwrap());
    let ids = ["a", "b", "c"];
    for id in ids {
        claim(&store, id).record(&large(id)).unwrap();
    }
    let mut calls: Vec<_> = ids.iter().map(|id| JournalCall::Claim(group(id))).collect();
    for (result, id) in store.make(&mut calls).into_iter().zip(ids) {
        match result {
            JournalResult::Claimed(Ok((_, inherited))) => assert!(inherited == Some(large(id)), "{id}"),
            JournalResult::Claimed(Err(error)) => panic!("{id}: {error:?}"),
            _ => panic!("{id}: a result of another kind"),
        }
        assert_eq!(fake.count("grant"), 1, "nothing was ambiguous");
    }
}

/// A cluster may allow fewer operations than 128.
#[test]
fn changes_are_split_until_etcd_allows_their_number() {
    let fake = FakeEtcd::start(1);
    fake.script(|asked| match asked.body["success"].as_array() {
        Some(changes) if changes.len() > 16 => {
            Fate::Answer(400, r#"{"code":3,"message":"etcdserver: too many operations in txn request"}"#.into())
        }
        _ => Fate::Serve,
    });
    let store = journal(&fake);
    let mut calls: Vec<_> = (0..100).map(|number| JournalCall::Claim(group(&number.to_string()))).collect();
    let made = store.make(&mut calls);
    assert!(made.iter().all(|result| matches!(result, JournalResult::Claimed(Ok(_)))));
    drop(made);
    assert_eq!((fake.keys(), fake.count("grant")), (vec![], 1));
}

#[test]
fn token_is_renewed_after_401_and_no_error_has_a_secret() {
    let fake = FakeEtcd::start(1);
    let valid = Arc::new(Mutex::new(1));
    let token = Arc::clone(&valid);
    fake.script(move |asked| {
        let token = token.lock().unwrap();
        if asked.call == "authenticate" {
            assert_eq!((asked.body["name"].as_str(), asked.body["password"].as_str()), (Some("me"), Some("S3CR3T")));
            return Fate::Answer(200, format!(r#"{{"header":{{}},"token":"t0ken.{token}"}}"#));
        }
        match asked.head.contains(&format!("authorization: t0ken.{token}\r\n")) {
            true => Fate::Serve,
            false if asked.head.contains("authorization") => {
                Fate::Answer(401, r#"{"error":"etcdserver: invalid auth token","code":16}"#.into())
            }
            false => Fate::Answer(400, r#"{"error":"etcdserver: user name is empty","code":3}"#.into()),
        }
    });
    let store = EtcdJournal::builder(fake.url()).user("me", "S3CR3T").open().unwrap();
    let held = claim(&store, "a");
    *valid.lock().unwrap() = 2;
    use_and_release(&fake, held, "a");
    assert_eq!(fake.count("authenticate"), 2);
    // The server repeats the secrets.
    fake.script(|asked| {
        Fate::Answer(400, format!(r#"{{"code":3,"message":"S3CR3T {}"}}"#, asked.head.replace("\r\n", " ")))
    });
    let error = failure(&store, "b");
    assert!(error.contains("***") && !error.contains("S3CR3T") && !error.contains("t0ken"), "{error}");
    let error = failure(&journal(&fake), "b");
    assert!(!format!("{store:?}{error}").contains("t0ken"));
}

#[test]
fn refusals_end_at_once_and_name_endpoint_and_remedy() {
    let fake = FakeEtcd::start(2);
    for (status, body, remedy) in [
        (404, "Not Found", "--enable-grpc-gateway"),
        (400, "Client sent an HTTP request to an HTTPS server.", "write etcds://"),
        (400, r#"{"code":3,"message":"etcdserver: user name is empty"}"#, "set the etcd user and its password"),
        (403, r#"{"code":7,"message":"etcdserver: permission denied"}"#, "grant the user's role"),
        (429, r#"{"code":8,"message":"etcdserver: mvcc: database space exceeded"}"#, "alarm disarm"),
    ] {
        let body = body.to_owned();
        fake.script(move |_| Fate::Answer(status, body.clone()));
        let start = Instant::now();
        let error = failure(&journal(&fake), "a");
        assert!(error.contains(remedy) && error.contains("http://127.0.0.1:"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(2), "{remedy}: {:?}", start.elapsed());
    }
}

/// Two coordinators could otherwise lock a group in two clusters.
#[test]
fn endpoint_of_another_cluster_is_refused() {
    let fake = FakeEtcd::start(2);
    let store = journal(&fake);
    let (first, second) = (r#"{"header":{"cluster_id":"1"}}"#, r#"{"header":{"cluster_id":"2"}}"#);
    fake.script(move |asked| Fate::Answer(200, [first, second][asked.endpoint].into()));
    assert!(store.unfinished().is_ok());
    fake.script(move |asked| match asked.endpoint {
        0 => Fate::Answer(503, NO_LEADER.into()),
        _ => Fate::Answer(200, second.into()),
    });
    let error = failure(&store, "a");
    let [one, other] = [0, 1].map(|endpoint| fake.endpoint_of(endpoint));
    assert!(error.contains(&format!("{other}: it is of another etcd cluster than {one}")), "{error}");
    assert!(error.contains("name the members of one cluster"), "{error}");
    fake.script(|_| Fate::Serve);
    use_and_release(&fake, claim(&journal(&fake), "a"), "a");
}

#[test]
fn lock_without_a_lease_is_named_with_a_remedy() {
    let fake = FakeEtcd::start(1);
    let store = journal(&fake);
    let busy = || match store.claim(&group("a")) {
        Err(ClaimError::Busy(holder)) => holder,
        other => panic!("{:?}", other.map(drop)),
    };
    let held = claim(&journal(&fake), "a");
    assert!(!busy().contains("etcdctl"), "{}", busy());
    fake.state().kvs.get_mut(b"/p/lock/a".as_slice()).unwrap().1 = 0;
    assert!(busy().contains("holds it since") && busy().contains("by the key /p/lock/a without a lease"), "{}", busy());
    fake.state().kvs.insert(b"/p/lock/a".to_vec(), (9, 0, b"by hand".to_vec()));
    assert!(busy().contains("etcdctl del"), "{}", busy());
    drop(held);
}

#[test]
fn value_that_is_too_large_for_an_answer_hides_no_other_intent() {
    let fake = FakeEtcd::start(1);
    let store = journal(&fake);
    let ids = ["a", "c", "d"];
    for id in ids {
        claim(&store, id).record(&intent(id)).unwrap();
    }
    fake.state().kvs.insert(b"/p/intent/b".to_vec(), (9, 0, vec![b'x'; 1 << 20]));
    let found = store.unfinished().unwrap();
    assert!(found.groups().map(GroupId::as_str).eq(ids), "{:?}", found.entries);
    let error = told(&found.unreadable[0]);
    assert!(found.unreadable.len() == 1 && error.contains("/p/intent/b: it is larger than any intent"), "{error}");
}

/// A round can have many transactions.
#[test]
fn round_waits_once_for_an_etcd_that_cannot_be_reached() {
    let fake = FakeEtcd::start(1);
    let store = journal(&fake);
    let mut calls: Vec<_> = (0..500).map(|number| JournalCall::Claim(group(&number.to_string()))).collect();
    fake.script(|asked| if is_claim(asked) { Fate::Answer(503, NO_LEADER.into()) } else { Fate::Serve });
    let start = Instant::now();
    let made = store.make(&mut calls);
    assert!(made.iter().all(|result| matches!(result, JournalResult::Claimed(Err(ClaimError::Failed(_))))));
    assert!(start.elapsed() < PATIENCE * 2, "{:?}", start.elapsed());
}

#[test]
fn answers_of_any_size_are_bounded() {
    let fake = FakeEtcd::start(1);
    fake.script(|_| Fate::Answer(200, "x".repeat(3 << 20)));
    let error = failure(&journal(&fake), "a");
    assert!(error.contains("too large"), "{error}");
}

#[test]
fn claim_of_a_session_that_is_revoked_has_ended() {
    let fake = FakeEtcd::start(1);
    let endpoints = vec![Host::parse(fake.endpoint()).unwrap()];
    let gateway = Arc::new(Gateway::new(endpoints, &Arc::default(), None).unwrap());
    let session = Session::open(&gateway, Duration::from_secs(30), Instant::now() + PATIENCE).unwrap();
    assert!(session.hold().holds_until() > Instant::now());
    session.retire();
    session.wait_until_over(Duration::from_secs(20));
    assert_eq!(fake.count("revoke"), 1);
    assert!(session.hold().holds_until() <= Instant::now());
}

#[test]
fn claim_ends_earlier_if_the_machine_was_suspended() {
    let fake = FakeEtcd::start(1);
    let endpoints = vec![Host::parse(fake.endpoint()).unwrap()];
    let gateway = Arc::new(Gateway::new(endpoints, &Arc::default(), None).unwrap());
    let session = Session::open(&gateway, Duration::from_secs(30), Instant::now() + PATIENCE).unwrap();
    let held = session.hold();
    session.suspend(Duration::from_secs(20));
    assert!(session.is_open() && held.holds_until() <= Instant::now() + Duration::from_secs(10));
    session.suspend(Duration::from_secs(11));
    assert!(!session.is_open() && held.holds_until() <= Instant::now());
    session.retire();
}

/// A renewal that was sent before the end of the claims may be answered after it, and the lease lives on.
#[test]
fn lease_of_a_claim_that_has_ended_is_revoked_without_another_renewal() {
    let fake = FakeEtcd::start(1);
    let store = journal(&fake);
    let held = claim(&store, "a");
    store.session().suspend(Duration::from_secs(31));
    let start = Instant::now();
    drop(held);
    eventually("the lock is gone", || fake.keys().is_empty());
    assert!(start.elapsed() < Duration::from_secs(5), "a renewal is due after 10 s");
    use_and_release(&fake, claim(&store, "a"), "a");
}

/// A new leader of an older etcd may not know a lease yet. The requests of the claim may still be under way.
#[test]
fn lease_that_is_said_to_be_lost_is_revoked_only_after_its_claims() {
    let fake = FakeEtcd::start(1);
    fake.state().ttl = 3;
    let store = EtcdJournal::builder(fake.url()).ttl(Duration::from_secs(3)).open().unwrap();
    let held = claim(&store, "a");
    fake.script(|asked| match asked.call.as_str() {
        "keepalive" => Fate::Answer(200, r#"{"result":{"header":{}}}"#.into()),
        _ => Fate::Serve,
    });
    eventually("the claim ends", || held.holds_until().unwrap() <= Instant::now());
    for number in 0..20 {
        drop(claim(&store, &number.to_string()));
    }
    assert_eq!((fake.count("revoke"), fake.keys()), (0, vec!["/p/lock/a".to_owned()]));
    drop(held);
    eventually("the lock is gone", || fake.keys().is_empty());
}

#[test]
fn retired_session_keeps_its_claims_until_they_end() {
    let fake = FakeEtcd::start(1);
    let store = journal(&fake);
    let mut first = claim(&store, "a");
    let base = fake.count("txn");
    fake.script(move |asked| if asked.call == "txn" && asked.earlier == base { Fate::Lose } else { Fate::Serve });
    let second = claim(&store, "b");
    let third = claim(&store, "c");
    assert_eq!((fake.count("grant"), fake.count("revoke")), (2, 0));
    first.record(&intent("a")).unwrap();
    first.erase().unwrap();
    drop((first, second));
    eventually("the first lease is revoked", || fake.count("revoke") == 1);
    assert_eq!(fake.keys(), ["/p/lock/c"]);
    drop(third);
    assert_eq!(fake.keys(), [""; 0]);
}
