//! Hooks that call the client again: a logger, an observer, a store. Each call ends; none hangs.
//!
//! A process has one logger. The tests of this file run one at a time, and each sets what the logger does.
#![cfg(feature = "testing")]

#[path = "support/gate.rs"]
mod gate;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use cluster_client::testing::{Cluster, Fault, Method};
use cluster_client::{
    Bulk, CancelToken, Claim, ClaimError, ClientBuilder, ClusterClient, Credentials, DirectoryJournal, Engine, Error,
    Event, EventKind, GroupId, Intent, Journal, JournalError, Observer, OperationOptions, Outcome, Phase, Unfinished,
};
use log::{LevelFilter, Log, Metadata, Record};

use crate::gate::Gate;

/// Bounds only how long a broken test hangs.
const PATIENCE: Duration = Duration::from_secs(60);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Runs `body` on a thread of its own and fails if it does not end.
fn ends<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    let (ended, end) = channel();
    let thread = std::thread::spawn(move || ended.send(body()));
    match end.recv_timeout(PATIENCE) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => panic!("it hangs"),
        Err(RecvTimeoutError::Disconnected) => {
            let panic = thread.join().expect_err("it ends without a result");
            std::panic::resume_unwind(panic)
        }
    }
}

/// Called with the target and the text of each record, or with the target and `ENABLED` when the logger is asked
/// whether it is enabled.
type Hook = Arc<dyn Fn(&str, &str) + Send + Sync>;

const ENABLED: &str = "enabled?";

static HOOK: Mutex<Option<Hook>> = Mutex::new(None);
static TURN: Mutex<()> = Mutex::new(());

struct Relay;

impl Log for Relay {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        call_hook(metadata.target(), ENABLED);
        true
    }

    fn log(&self, record: &Record<'_>) {
        call_hook(record.target(), &record.args().to_string());
    }

    fn flush(&self) {}
}

fn call_hook(target: &str, text: &str) {
    let hook = HOOK.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(hook) = hook {
        hook(target, text);
    }
}

/// Waits until no other test of this file runs, and removes its hook.
fn turn() -> MutexGuard<'static, ()> {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| log::set_logger(&Relay).unwrap());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    set_hook(None);
    turn
}

fn set_hook(hook: Option<Hook>) {
    log::set_max_level(if hook.is_some() { LevelFilter::Trace } else { LevelFilter::Off });
    *HOOK.lock().unwrap_or_else(PoisonError::into_inner) = hook;
}

/// Returns a directory in memory, if the system has one. A single test here makes more than a thousand `fsync` calls,
/// which would take most of its time on a busy disk.
fn journal_directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn builder(cluster: &Cluster) -> ClientBuilder {
    support::builder(cluster.urls()).request_timeout(REQUEST_TIMEOUT)
}

/// Hook that calls a client, `OF_EACH_KIND` times for each kind of record. At most `AT_ONCE` calls run at a time, so
/// that their own records end the recursion.
struct Caller {
    client: ClusterClient,
    wants: fn(&str) -> bool,
    running: AtomicUsize,
    kinds: Mutex<BTreeMap<(String, String), usize>>,
    calls: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

const AT_ONCE: usize = 2;
const OF_EACH_KIND: usize = 12;

impl Caller {
    fn hear(&self, target: &str, text: &str) {
        if !(self.wants)(target) {
            return;
        }
        if self.running.fetch_add(1, Ordering::SeqCst) < AT_ONCE {
            let kind: String = text.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
            let kind = kind.chars().take_while(|c| !c.is_ascii_digit() && *c != '{').collect();
            let heard = {
                let mut kinds = self.kinds.lock().unwrap();
                let heard = kinds.entry((target.to_owned(), kind)).or_default();
                *heard += 1;
                *heard
            };
            if heard <= OF_EACH_KIND {
                self.call();
            }
        }
        self.running.fetch_sub(1, Ordering::SeqCst);
    }

    fn call(&self) {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        let group = format!("nested-{number}");
        let failed = match number % 3 {
            0 => self.client.create_group(&group).err(),
            1 => self.client.delete_group("nested-0").err(),
            _ => match self.client.group_status(&group) {
                Ok(report) if report.absent().count() == report.hosts.len() => None,
                Ok(mut report) => {
                    report.outcome = Outcome::InDoubt;
                    report.into_result().err()
                }
                Err(error) => Some(error),
            },
        };
        // Two of these calls may meet at one group.
        if let Some(error) = failed.filter(|error| !matches!(error, Error::Busy { .. })) {
            self.failures.lock().unwrap().push(format!("{group}: {error}"));
        }
    }
}

/// Runs `body` while the logger calls the same client. Returns the number of calls and the targets of the records.
fn logged_by_a_caller(
    builder: ClientBuilder,
    wants: fn(&str) -> bool,
    body: impl FnOnce(&ClusterClient) + Send + 'static,
) -> (usize, BTreeSet<String>) {
    let _turn = turn();
    let client = builder.build().unwrap();
    // Leaves idle connections: ureq logs their reuse with its pool locked.
    assert!(client.group_statuses(["a", "b", "c"]).all(|done| done.result.is_ok()));
    let caller = Arc::new(Caller {
        client: client.clone(),
        wants,
        running: AtomicUsize::new(0),
        kinds: Mutex::default(),
        calls: AtomicUsize::new(0),
        failures: Mutex::default(),
    });
    let hook = Arc::clone(&caller);
    set_hook(Some(Arc::new(move |target, text| hook.hear(target, text))));
    ends(move || body(&client));
    set_hook(None);
    assert_eq!(*caller.failures.lock().unwrap(), Vec::<String>::new());
    let targets = caller.kinds.lock().unwrap().keys().map(|(target, _)| target.clone()).collect();
    (caller.calls.load(Ordering::SeqCst), targets)
}

fn any(_: &str) -> bool {
    true
}

fn of_ureq(target: &str) -> bool {
    target.starts_with("ureq")
}

fn of_ours(target: &str) -> bool {
    target.starts_with("cluster_client")
}

fn create_and_delete(client: &ClusterClient) {
    for number in 0..5 {
        let group = format!("outer-{number}");
        client.create_group(&group).unwrap();
        assert_eq!(client.delete_group(&group).unwrap().undeleted().count(), 0);
    }
}

#[test]
fn logger_that_calls_the_client_on_each_record_does_not_hang() {
    // Of ureq, the multiplexed engine uses ureq_proto only.
    let of_ureq_itself = usize::from(format!("{:?}", Engine::default()) != "Multiplexed");
    for (wants, wanted) in [(any as fn(&str) -> bool, 2 + of_ureq_itself), (of_ureq, 1 + of_ureq_itself), (of_ours, 1)]
    {
        let cluster = Cluster::start(3).unwrap();
        let (calls, targets) = logged_by_a_caller(builder(&cluster), wants, create_and_delete);
        let roots: BTreeSet<_> = targets.iter().filter_map(|target| target.split("::").next()).collect();
        assert!(calls >= 12 && roots.len() >= wanted, "{calls} calls for records of {roots:?}");
        assert!((0..5).all(|number| cluster.none_has(&format!("outer-{number}"))));
    }
}

#[test]
fn logger_that_calls_the_client_during_a_bulk_does_not_hang() {
    for (hosts, threads) in [(1, 1024), (4, 1024), (4, 1)] {
        let cluster = Cluster::start(hosts).unwrap();
        let builder = builder(&cluster).in_flight(6).threads(threads);
        let (calls, _) = logged_by_a_caller(builder, any, |client| {
            let results: Vec<_> = client.create_groups((0..40).map(|number| format!("outer-{number}"))).collect();
            assert_eq!(results.iter().filter(|done| done.result.is_ok()).count(), 40, "{results:?}");
        });
        assert!(calls >= 12, "{calls}");
        assert!((0..40).all(|number| cluster.all_have(&format!("outer-{number}"))));
    }
}

/// The engine keeps the credentials of a request on its thread, on which the logger sends other requests.
#[test]
fn request_of_a_logger_does_not_get_the_credentials_of_the_outer_one() {
    let _turn = turn();
    let cluster = Cluster::start(2).unwrap();
    let gates: Vec<Gate> = cluster.nodes().iter().map(|node| Gate::before(node.address())).collect();
    gates[0].want(&["authorization: Bearer outer"]);
    let of = |gate: &Gate| support::builder([gate.url()]).request_timeout(REQUEST_TIMEOUT);
    let outer = of(&gates[0]).credentials(Credentials::bearer("outer")).build().unwrap();
    let nested = of(&gates[1]).build().unwrap();
    let (running, calls) = (AtomicBool::new(false), Arc::<AtomicUsize>::default());
    let count = Arc::clone(&calls);
    set_hook(Some(Arc::new(move |_, text| {
        if text != ENABLED && !running.swap(true, Ordering::SeqCst) {
            assert_eq!(nested.group_status("g").unwrap().absent().count(), 1);
            count.fetch_add(1, Ordering::SeqCst);
            running.store(false, Ordering::SeqCst);
        }
    })));
    ends(move || outer.create_group("g").unwrap());
    set_hook(None);
    assert!(calls.load(Ordering::SeqCst) >= 12 && cluster.node(0).has("g"));
    assert!(!gates[1].take_heads().concat().contains("outer"));
}

/// ureq logged "Use pooled" under the mutex of its pool, which a panic there poisons for good.
#[test]
fn host_is_usable_again_after_a_panic_of_the_logger() {
    let _turn = turn();
    let cluster = Cluster::start(2).unwrap();
    for panics_at in ["Use pooled", "GET ", "Close"] {
        let client = builder(&cluster).build().unwrap();
        client.group_status("g").unwrap();
        set_hook(Some(Arc::new(move |_, text| assert!(!text.starts_with(panics_at), "as planned"))));
        let during = client.clone();
        ends(move || drop(during.group_status("g")));
        set_hook(None);
        assert_eq!(client.group_status("g").unwrap().absent().count(), 2, "after a panic at {panics_at:?}");
    }
}

/// A client asks the logger whether it is enabled, to find out whether anybody listens.
#[test]
fn logger_that_panics_or_calls_the_client_when_asked_whether_it_is_enabled_is_harmless() {
    let _turn = turn();
    let cluster = Cluster::start(2).unwrap();
    let client = builder(&cluster).build().unwrap();
    set_hook(Some(Arc::new(|_, text| assert!(text != ENABLED, "as planned"))));
    let panicking = client.clone();
    ends(move || {
        drop(panicking.group_status("g"));
        assert_eq!(panicking.group_statuses(["g", "h"]).count(), 2);
    });
    let (nested, running) = (client.clone(), AtomicBool::new(false));
    set_hook(Some(Arc::new(move |_, text| {
        if text == ENABLED && !running.swap(true, Ordering::SeqCst) {
            drop(nested.group_status("nested"));
            running.store(false, Ordering::SeqCst);
        }
    })));
    ends(move || client.create_group("g").unwrap());
    set_hook(None);
    assert!(cluster.all_have("g"));
}

struct Panics;

impl Observer for Panics {
    fn on_event(&self, _: &Event) {
        panic!("as planned");
    }
}

#[test]
fn panic_of_the_logger_about_a_panicking_observer_does_not_reach_the_caller() {
    let _turn = turn();
    let cluster = Cluster::start(2).unwrap();
    let client = builder(&cluster).observer(Arc::new(Panics)).build().unwrap();
    set_hook(Some(Arc::new(|_, text| assert!(!text.contains("the observer panicked"), "as planned"))));
    ends(move || client.create_group("g").unwrap());
    set_hook(None);
    assert!(cluster.all_have("g"));
}

/// An observer that does something at each event of the groups named `outer`, but not at those that come of it.
struct Acts<F> {
    client: Mutex<Option<ClusterClient>>,
    act: F,
    acting: AtomicBool,
    times: AtomicUsize,
}

impl<F> Acts<F> {
    fn new(act: F) -> Arc<Self> {
        Arc::new(Acts { client: Mutex::default(), act, acting: AtomicBool::new(false), times: AtomicUsize::new(0) })
    }
}

impl<F: Fn(&ClusterClient, &Event) + Send + Sync> Observer for Acts<F> {
    fn on_event(&self, event: &Event) {
        let group = &event.group;
        let client = self.client.lock().unwrap().clone();
        let Some(client) = client.filter(|_| group.as_str().starts_with("outer")) else { return };
        if !self.acting.swap(true, Ordering::SeqCst) {
            (self.act)(&client, event);
            self.times.fetch_add(1, Ordering::SeqCst);
            self.acting.store(false, Ordering::SeqCst);
        }
    }
}

/// Runs single calls and a bulk while an observer does `act` at each event, with a journal, few threads and many.
fn observed_by(act: impl Fn(&ClusterClient, &Event) + Send + Sync + Clone + 'static) {
    let _turn = turn();
    let journal = journal_directory();
    for threads in [1, 64] {
        let cluster = Cluster::start(3).unwrap();
        let acts = Acts::new(act.clone());
        let builder = builder(&cluster).threads(threads).in_flight(3).journal(journal.path());
        let client = builder.observer(Arc::<Acts<_>>::clone(&acts)).build().unwrap();
        *acts.client.lock().unwrap() = Some(client.clone());
        ends(move || {
            client.create_group("outer").unwrap();
            assert_eq!(client.delete_group("outer").unwrap().undeleted().count(), 0);
            let results: Vec<_> = client.create_groups((0..4).map(|number| format!("outer-{number}"))).collect();
            assert!(results.iter().all(|done| done.result.is_ok()), "{results:?}");
        });
        acts.client.lock().unwrap().take();
        assert!(acts.times.load(Ordering::SeqCst) >= 60, "{:?}", acts.times);
        assert!((0..4).all(|number| cluster.all_have(&format!("outer-{number}"))));
    }
}

#[test]
fn status_from_an_observer_succeeds() {
    observed_by(|client, _| assert_eq!(client.group_status("inner").unwrap().absent().count(), 3));
}

#[test]
fn create_and_delete_from_an_observer_succeed() {
    let number = Arc::new(AtomicUsize::new(0));
    observed_by(move |client, _| {
        let group = format!("inner-{}", number.fetch_add(1, Ordering::SeqCst));
        client.create_group(&group).unwrap();
        assert_eq!(client.delete_group(&group).unwrap().undeleted().count(), 0);
    });
}

#[test]
fn bulk_from_an_observer_succeeds() {
    observed_by(|client, _| assert!(client.group_statuses(["a", "b", "c", "d"]).all(|done| done.result.is_ok())));
}

/// The group that it finds is held by the operation that it is told of.
#[test]
fn recover_from_an_observer_finds_running_operations_busy() {
    observed_by(|client, _| {
        let recovery = client.recover().unwrap();
        assert!(recovery.unsettled.iter().all(|error| matches!(error, Error::Busy { .. })), "{recovery:?}");
    });
}

#[test]
fn create_of_the_observed_group_by_its_observer_is_refused() {
    observed_by(|client, event| {
        // A bulk may claim its group after the observer has received these events.
        if matches!(event.kind, EventKind::Started { .. } | EventKind::Entered { phase: Phase::Claim, .. }) {
            return;
        }
        match client.create_group(event.group.clone()) {
            Err(Error::Busy { .. } | Error::AlreadyExists { .. }) => {}
            // Possible after the operation released the group.
            Ok(_) => drop(client.delete_group(event.group.clone()).unwrap()),
            Err(error) => panic!("{error}"),
        }
    });
}

#[test]
fn cancel_from_an_observer_leaves_the_group_on_all_hosts_or_none() {
    let _turn = turn();
    for at in 0..24 {
        let cluster = Cluster::start(2).unwrap();
        let (cancel, count) = (CancelToken::new(), AtomicUsize::new(0));
        let token = cancel.clone();
        let act = move |_: &ClusterClient, _: &Event| {
            if count.fetch_add(1, Ordering::SeqCst) == at {
                token.cancel();
            }
        };
        let acts = Acts::new(act);
        let client = builder(&cluster).observer(Arc::<Acts<_>>::clone(&acts)).build().unwrap();
        *acts.client.lock().unwrap() = Some(client.clone());
        let created = ends(move || client.with(OperationOptions::new().cancel(&cancel)).create_group("outer").is_ok());
        acts.client.lock().unwrap().take();
        assert!(if created { cluster.all_have("outer") } else { cluster.none_has("outer") }, "cancelled at event {at}");
    }
}

type Bulky = Bulk<std::vec::IntoIter<String>>;

/// An observer that is given the bulk that it observes.
struct Takes {
    bulk: Mutex<Option<Bulky>>,
    with: fn(Bulky) -> usize,
    results: std::sync::mpsc::Sender<usize>,
}

impl Observer for Takes {
    fn on_event(&self, _: &Event) {
        let bulk = self.bulk.lock().unwrap().take();
        if let Some(bulk) = bulk {
            eprintln!("took");
            let _ = self.results.send((self.with)(bulk));
        }
    }
}

/// Gives a bulk to its own observer while it runs, and returns what the observer made of it.
fn given_to_its_observer(with: fn(Bulky) -> usize) -> (Cluster, usize) {
    let _turn = turn();
    let cluster = Cluster::start(3).unwrap();
    let (results, result) = channel();
    let takes = Arc::new(Takes { bulk: Mutex::default(), with, results });
    let client = builder(&cluster).in_flight(4).observer(Arc::<Takes>::clone(&takes));
    let client = client.request_timeout(PATIENCE).rollback_timeout(2 * PATIENCE).build().unwrap();
    let groups: Vec<_> = (0..12).map(|number| format!("g-{number}")).collect();
    let mut bulk = client.create_groups(groups);
    // From here on the bulk alone owns the threads.
    drop(client);
    // Leaves an event for the time after the observer has the bulk, even on a loaded machine.
    cluster.node(0).inject(Fault::delay(Duration::from_secs(2)).on(Method::Post).group("g-1"));
    assert!(bulk.next().unwrap().result.is_ok());
    *takes.bulk.lock().unwrap() = Some(bulk);
    let made = result.recv_timeout(PATIENCE).expect("it hangs");
    (cluster, made)
}

#[test]
fn bulk_driven_by_its_own_observer_completes() {
    let (cluster, created) = given_to_its_observer(|bulk| bulk.filter(|done| done.result.is_ok()).count());
    assert_eq!(created, 11);
    assert!((0..12).all(|number| cluster.all_have(&format!("g-{number}"))));
}

#[test]
fn bulk_and_client_dropped_by_their_own_observer_leave_each_group_on_all_hosts_or_none() {
    let (cluster, _) = given_to_its_observer(|bulk| {
        drop(bulk);
        0
    });
    assert!((0..12).all(|number| matches!(cluster.holders(&format!("g-{number}")).len(), 0 | 3)));
}

/// A store that calls the client of which it keeps the intents.
struct Curious {
    inner: DirectoryJournal,
    client: Arc<Mutex<Option<ClusterClient>>>,
}

struct CuriousClaim {
    inner: Box<dyn Claim>,
    group: GroupId,
    client: Arc<Mutex<Option<ClusterClient>>>,
}

/// Calls the client in several ways, as part of a store call for the group `about`.
fn pry(client: &Mutex<Option<ClusterClient>>, about: &str) {
    let client = client.lock().unwrap().clone();
    if let Some(client) = client.filter(|_| about.starts_with("outer")) {
        let inner = format!("inner-{about}");
        assert_eq!(client.group_status(&inner).unwrap().hosts.len(), 3);
        client.create_group(&inner).unwrap();
        assert_eq!(client.delete_group(&inner).unwrap().undeleted().count(), 0);
        // A status needs no lock on the group.
        assert_eq!(client.group_status(about).unwrap().hosts.len(), 3);
    }
}

impl Journal for Curious {
    fn claim(&self, group: &GroupId) -> Result<Box<dyn Claim>, ClaimError> {
        pry(&self.client, group.as_str());
        let inner = self.inner.claim(group)?;
        Ok(Box::new(CuriousClaim { inner, group: group.clone(), client: Arc::clone(&self.client) }))
    }

    fn unfinished(&self) -> Result<Unfinished, JournalError> {
        pry(&self.client, "outer");
        self.inner.unfinished()
    }
}

impl Claim for CuriousClaim {
    fn inherited(&self) -> Option<&Intent> {
        self.inner.inherited()
    }

    fn record(&mut self, intent: &Intent) -> Result<(), JournalError> {
        pry(&self.client, self.group.as_str());
        self.inner.record(intent)
    }

    fn erase(&mut self) -> Result<(), JournalError> {
        pry(&self.client, self.group.as_str());
        self.inner.erase()
    }
}

impl Drop for CuriousClaim {
    fn drop(&mut self) {
        pry(&self.client, self.group.as_str());
    }
}

#[test]
fn calls_from_a_store_succeed() {
    let _turn = turn();
    for threads in [1, 64] {
        let cluster = Cluster::start(3).unwrap();
        let journal = journal_directory();
        let store = Curious { inner: DirectoryJournal::open(journal.path()).unwrap(), client: Arc::default() };
        let known = Arc::clone(&store.client);
        let client = builder(&cluster).threads(threads).in_flight(4).custom_journal(Arc::new(store)).build().unwrap();
        *known.lock().unwrap() = Some(client.clone());
        ends(move || {
            client.create_group("outer").unwrap();
            assert!(
                client.create_groups((0..8).map(|number| format!("outer-{number}"))).all(|done| done.result.is_ok())
            );
            assert!(client.recover().unwrap().is_complete());
            assert_eq!(client.delete_group("outer").unwrap().undeleted().count(), 0);
        });
        known.lock().unwrap().take();
        assert!((0..8).all(|number| cluster.all_have(&format!("outer-{number}"))));
        assert!(cluster.none_has("outer"));
    }
}

struct Broken;

impl Journal for Broken {
    fn claim(&self, _: &GroupId) -> Result<Box<dyn Claim>, ClaimError> {
        panic!("as planned");
    }

    fn unfinished(&self) -> Result<Unfinished, JournalError> {
        panic!("as planned");
    }
}

#[test]
fn panic_of_a_store_is_a_journal_error() {
    let cluster = Cluster::start(1).unwrap();
    let client = builder(&cluster).custom_journal(Arc::new(Broken)).build().unwrap();
    assert!(matches!(client.create_group("g"), Err(Error::Journal { .. })));
    let error = client.recover().unwrap_err();
    assert!(matches!(&error, Error::Journal { report: None, source, .. } if source.path().is_none()), "{error:?}");
}
