//! Many hosts, many threads, other people's pools, and hooks that misbehave.
#![cfg(feature = "testing")]

mod support;

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use cluster_client::testing::{Cluster, Fault, Method};
use cluster_client::{
    CancelToken, ClusterClient, Error, Event, EventKind, Observer, Operation, OperationOptions, Outcome, State, Target,
};
use support::{PATIENCE, builder, client, states};

#[test]
fn the_client_and_what_it_returns_can_be_shared() {
    fn shared<T: Send + Sync + 'static>() {}
    fn cloned<T: Clone>() {}
    shared::<ClusterClient>();
    shared::<Error>();
    shared::<cluster_client::Report>();
    shared::<CancelToken>();
    cloned::<ClusterClient>();
}

#[test]
fn create_on_two_hundred_hosts_with_eight_threads_succeeds() {
    let cluster = Cluster::start(200).unwrap();
    let client = builder(cluster.urls()).threads(8).build().unwrap();
    let report = client.create_group("g").unwrap();
    assert_eq!(report.present().count(), 200);
    assert!(cluster.all_have("g"));
    assert_eq!(client.delete_group("g").unwrap().undeleted().count(), 0);
    assert!(cluster.none_has("g"));
}

#[test]
fn create_with_one_thread_succeeds() {
    let cluster = Cluster::start(5).unwrap();
    cluster.node(3).inject(Fault::answer(503).on(Method::Post));
    let client = builder(cluster.urls()).threads(1).build().unwrap();
    assert_eq!(client.create_group("g").unwrap().present().count(), 5);
    assert!(cluster.all_have("g"));
}

#[test]
fn calls_of_many_threads_on_one_client_succeed() {
    let cluster = Cluster::start(3).unwrap();
    let client = client(&cluster);
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let client = client.clone();
            scope.spawn(move || {
                for turn in 0..5 {
                    let group = format!("g-{thread}-{turn}");
                    client.create_group(&group).unwrap();
                    if turn % 2 == 0 {
                        assert_eq!(client.delete_group(&group).unwrap().undeleted().count(), 0);
                    }
                }
            });
        }
    });
    for thread in 0..16 {
        for turn in 0..5 {
            let group = format!("g-{thread}-{turn}");
            assert!(if turn % 2 == 0 { cluster.none_has(&group) } else { cluster.all_have(&group) }, "{group}");
        }
    }
}

#[test]
fn concurrent_operations_on_one_group_run_one_after_another() {
    let cluster = Cluster::start(3).unwrap();
    let patient = support::quick().with_attempts(100);
    let client = builder(cluster.urls()).retry(patient).build().unwrap();
    let results: Vec<_> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..5).map(|_| scope.spawn(|| client.create_group("g"))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let refused = |result: &&Result<_, Error>| matches!(result, Err(Error::AlreadyExists { .. }));
    assert_eq!(results.iter().filter(refused).count(), 4, "{results:?}");
    assert!(cluster.all_have("g"));
}

#[test]
fn group_that_stays_busy_is_named_in_the_error() {
    let cluster = Cluster::start(1).unwrap();
    let slow = client(&cluster);
    cluster.node(0).pause();
    // The node answers nothing, so the first caller holds the group for a request timeout at least.
    let results: Vec<_> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..2).map(|_| scope.spawn(|| slow.create_group("busy"))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    cluster.node(0).resume();
    let busy = results.iter().filter_map(|result| result.as_ref().err()).find(|e| matches!(e, Error::Busy { .. }));
    let busy = busy.unwrap_or_else(|| panic!("{results:?}"));
    assert!(busy.to_string().contains("group busy is busy"), "{busy}");
    assert!(busy.is_unchanged() && busy.is_retryable());
}

/// A thread that ends destroys its thread-local values, in an order that is not specified. The client has some itself.
#[test]
fn call_from_a_destructor_of_a_thread_local_value_succeeds() {
    struct CallsAtTheEnd(ClusterClient, &'static str);
    impl Drop for CallsAtTheEnd {
        fn drop(&mut self) {
            self.0.create_group(self.1).unwrap();
        }
    }
    thread_local!(static KEPT: RefCell<Option<CallsAtTheEnd>> = const { RefCell::new(None) });
    let cluster = Cluster::start(1).unwrap();
    let client = client(&cluster);
    for (group, used_before) in [("before", true), ("after", false)] {
        let client = client.clone();
        let ends = thread::spawn(move || {
            let ask = || drop(client.group_status("other").unwrap());
            if used_before {
                ask();
            }
            KEPT.set(Some(CallsAtTheEnd(client.clone(), group)));
            if !used_before {
                ask();
            }
        });
        ends.join().unwrap();
        assert!(cluster.all_have(group), "{group}");
    }
}

#[test]
fn calls_from_inside_rayon_pools_succeed() {
    let cluster = Cluster::start(4).unwrap();
    let client = client(&cluster);
    let in_parallel = |name: &str| {
        use rayon::prelude::*;
        (0..20).into_par_iter().for_each(|n| {
            client.create_group(format!("{name}-{n}")).unwrap();
        });
    };
    in_parallel("global");
    rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap().install(|| in_parallel("private"));
    for name in ["global", "private"] {
        assert!((0..20).all(|n| cluster.all_have(&format!("{name}-{n}"))));
    }
}

struct Panics(AtomicUsize);

impl Observer for Panics {
    fn on_event(&self, _: &Event) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("this observer always panics");
    }
}

#[test]
fn panic_of_an_observer_does_not_change_the_result() {
    let cluster = Cluster::start(3).unwrap();
    let observer = Arc::new(Panics(AtomicUsize::new(0)));
    let client = builder(cluster.urls()).observer(observer.clone()).build().unwrap();
    client.create_group("g").unwrap();
    assert!(cluster.all_have("g"));
    assert_eq!(client.delete_group("g").unwrap().undeleted().count(), 0);
    assert!(cluster.none_has("g"));
    assert_eq!(observer.0.load(Ordering::SeqCst), 1, "it gets no further event");
}

/// Longer than a machine under load takes for a request to a healthy node.
const SLOW_REQUEST: Duration = Duration::from_millis(700);

/// Returns from one event after more than the time of a request.
struct Slow {
    is_slow: fn(&EventKind) -> bool,
    armed: AtomicBool,
}

impl Observer for Slow {
    fn on_event(&self, event: &Event) {
        if (self.is_slow)(&event.kind) && self.armed.swap(false, Ordering::SeqCst) {
            std::thread::sleep(SLOW_REQUEST + SLOW_REQUEST / 2);
        }
    }
}

/// Asks four hosts, over connections that are open, while an observer works.
fn status_observed_by(is_slow: fn(&EventKind) -> bool) {
    let cluster = Cluster::start(4).unwrap();
    let observer = Arc::new(Slow { is_slow, armed: AtomicBool::new(false) });
    let builder = builder(cluster.urls()).retry(support::quick().with_attempts(1)).request_timeout(SLOW_REQUEST);
    let client = builder.observer(Arc::<Slow>::clone(&observer)).build().unwrap();
    assert_eq!(client.group_status("g").unwrap().absent().count(), 4);
    // The first host answers before the others.
    cluster.nodes()[1..].iter().for_each(|node| node.inject(Fault::delay(SLOW_REQUEST / 7)));
    observer.armed.store(true, Ordering::SeqCst);
    let report = client.group_status("g").unwrap();
    assert!(!observer.armed.load(Ordering::SeqCst), "the observer worked");
    assert_eq!(states(&report), [State::Absent; 4], "{report:?}");
}

#[test]
fn time_that_an_observer_takes_before_requests_are_sent_is_not_theirs() {
    status_observed_by(|event| matches!(event, EventKind::Started { .. }));
}

#[test]
fn answers_that_arrive_while_an_observer_works_count() {
    status_observed_by(|event| matches!(event, EventKind::Answered { .. }));
}

#[test]
fn silent_host_with_one_thread_takes_no_time_of_requests_to_others() {
    let cluster = Cluster::start(3).unwrap();
    cluster.node(1).inject(Fault::mute().always());
    let builder = builder(cluster.urls()).retry(support::quick().with_attempts(1)).request_timeout(SLOW_REQUEST);
    let client = builder.threads(1).build().unwrap();
    for done in client.group_statuses(["a", "b", "c", "d"]) {
        assert_eq!(states(&done.result.unwrap()), [State::Absent, State::Unknown, State::Absent], "{}", done.id);
    }
}

#[derive(Default)]
struct Records(Mutex<Vec<Event>>);

impl Observer for Records {
    fn on_event(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

#[test]
fn observer_gets_all_events_in_order_before_the_call_returns() {
    let cluster = Cluster::start(8).unwrap();
    cluster.node(5).inject(Fault::answer(503).on(Method::Post));
    let records = Arc::new(Records::default());
    let client = builder(cluster.urls()).observer(records.clone()).build().unwrap();
    let report = client.create_group("g").unwrap();
    let events = records.0.lock().unwrap();
    let is_its_own =
        |event: &Event| (event.id, event.operation, event.group.as_str()) == (report.id, Operation::Create, "g");
    assert!(events.iter().all(is_its_own), "{events:?}");
    assert!(matches!(events.first().unwrap().kind, EventKind::Started { hosts: 8, .. }));
    let EventKind::Finished { report: told, .. } = &events.last().unwrap().kind else { panic!("{events:?}") };
    assert_eq!((told.id, told.outcome, &told.hosts), (report.id, Outcome::Created, &report.hosts));
    let count = |wanted: fn(&EventKind) -> bool| events.iter().filter(|event| wanted(&event.kind)).count();
    assert_eq!(count(|event| matches!(event, EventKind::Answered { .. })), 25, "8 probes, 9 creates, 8 checks");
    let refused = |event: &EventKind| matches!(event, EventKind::Answered { status: Some(503), error: None, .. });
    assert_eq!(count(refused), 1);
    assert_eq!(count(|event| matches!(event, EventKind::Retrying { attempt: 2, .. })), 1);
    assert_eq!(count(|event| matches!(event, EventKind::Reached { .. })), 16);
}

#[test]
fn each_operation_of_a_bulk_has_an_id_of_its_own() {
    let cluster = Cluster::start(1).unwrap();
    let ids: Vec<_> = client(&cluster).create_groups(["a", "b", "c"]).map(|done| done.result.unwrap().id).collect();
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2], "{ids:?}");
}

#[test]
fn bulk_delete_gives_deletions_and_tells_the_operation_of_a_refused_id() {
    let cluster = Cluster::start(2).unwrap();
    cluster.node(1).insert("kept");
    cluster.node(1).inject(Fault::answer(403).on(Method::Delete).always());
    let mut done: Vec<_> = client(&cluster).delete_groups(["gone", "kept", ".."]).collect();
    done.sort_by_key(|done| done.position);
    assert!(done.iter().all(|done| done.operation == Operation::Delete));
    let deletion = done[1].result.as_ref().unwrap();
    assert_eq!((deletion.undeleted().count(), deletion.report().outcome), (1, Outcome::Incomplete));
    let single = client(&cluster).delete_group("kept").unwrap();
    assert_eq!(single.report().outcome, deletion.report().outcome);
    let error = single.complete().unwrap_err();
    assert!(matches!(error, Error::Incomplete { .. }) && !error.is_unchanged() && !error.is_in_doubt(), "{error}");
    assert_eq!(error.exit_code(), 3);
    assert!(matches!(done[2].result, Err(Error::Config { .. })));
}

/// Gives up at the first news of a retry.
struct Impatient(CancelToken);

impl Observer for Impatient {
    fn on_event(&self, event: &Event) {
        if matches!(event.kind, EventKind::Retrying { .. }) {
            self.0.cancel();
        }
    }
}

#[test]
fn retry_event_is_delivered_before_the_delay() {
    let cluster = Cluster::start(1).unwrap();
    cluster.node(0).inject(Fault::answer(503).on(Method::Post).always());
    let cancel = CancelToken::new();
    let (begun, late) = (Instant::now(), Duration::from_secs(60));
    let client = builder(cluster.urls())
        .retry(support::quick().with_first_delay(late).with_max_delay(late))
        .observer(Arc::new(Impatient(cancel.clone())))
        .build()
        .unwrap();
    let error = client.with(OperationOptions::new().cancel(&cancel)).create_group("g").unwrap_err();
    assert!(matches!(error, Error::Cancelled { .. }), "{error}");
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
}

#[test]
fn retry_that_hangs_delays_no_other_retry() {
    let cluster = Cluster::start(2).unwrap();
    let hang = Duration::from_secs(3);
    cluster.node(0).inject(Fault::answer(503).on(Method::Post));
    cluster.node(0).inject(Fault::mute().on(Method::Post));
    // Its turn comes while the other one's second try hangs.
    cluster.node(1).inject(Fault::answer(503).on(Method::Post).delayed(Duration::from_millis(60)));
    let delay = Duration::from_millis(100);
    let client = builder(cluster.urls())
        .request_timeout(hang)
        .retry(support::quick().with_first_delay(delay).with_max_delay(delay).with_jitter(false))
        .build()
        .unwrap();
    std::thread::scope(|scope| {
        let call = scope.spawn(|| client.create_group("g").unwrap());
        let second =
            |number: usize, patience| cluster.node(number).wait_until(|node| node.count(Method::Post) >= 2, patience);
        assert!(second(0, PATIENCE));
        assert!(second(1, hang / 2), "the second host waited for the first");
        assert_eq!(call.join().unwrap().present().count(), 2);
    });
    assert!(cluster.all_have("g"));
}

/// An observer may use the client it observes.
struct Nested(Mutex<Option<ClusterClient>>, AtomicUsize);

impl Observer for Nested {
    fn on_event(&self, event: &Event) {
        let group = &event.group;
        if group.as_str() == "outer" && matches!(event.kind, EventKind::Answered { .. }) {
            let client = self.0.lock().unwrap().clone();
            if let Some(client) = client {
                client.group_status("inner").unwrap();
                self.1.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

#[test]
fn call_from_an_observer_succeeds() {
    let cluster = Cluster::start(3).unwrap();
    let nested = Arc::new(Nested(Mutex::new(None), AtomicUsize::new(0)));
    let client = builder(cluster.urls()).observer(nested.clone()).threads(2).build().unwrap();
    *nested.0.lock().unwrap() = Some(client.clone());
    client.create_group("outer").unwrap();
    assert_eq!(nested.1.load(Ordering::SeqCst), 9);
    *nested.0.lock().unwrap() = None;
}

#[test]
fn cancelled_create_is_rolled_back_before_it_returns() {
    let cluster = Cluster::start(3).unwrap();
    // The last host keeps the create going: it asks for one retry after the other.
    cluster.node(2).inject(Fault::answer(503).on(Method::Post).always());
    let patient = support::quick()
        .with_attempts(100)
        .with_first_delay(Duration::from_secs(30))
        .with_max_delay(Duration::from_secs(30));
    let client = builder(cluster.urls()).retry(patient).build().unwrap();
    let cancel = CancelToken::new();
    let begun = Instant::now();
    let error = std::thread::scope(|scope| {
        let call = scope.spawn(|| client.with(OperationOptions::new().cancel(&cancel)).create_group("g").unwrap_err());
        assert!(cluster.node(0).wait_until(|node| node.has("g"), PATIENCE));
        assert!(cluster.node(1).wait_until(|node| node.has("g"), PATIENCE));
        assert!(cluster.node(2).wait_until(|node| node.count(Method::Post) == 1, PATIENCE));
        cancel.cancel();
        call.join().unwrap()
    });
    assert!(begun.elapsed() < PATIENCE, "a cancel does not wait for a backoff: {:?}", begun.elapsed());
    let Error::Cancelled { report, .. } = &error else { panic!("{error}") };
    assert!(report.was_rolled_back() && error.to_string().contains("rolled back"), "{error}");
    assert!(!error.is_retryable() && error.is_unchanged());
    assert!(cluster.none_has("g"));
}

#[test]
fn cancel_withdraws_a_request_that_no_thread_has_begun() {
    let cluster = Cluster::start(2).unwrap();
    cluster.node(0).inject(Fault::mute().on(Method::Get));
    let client = builder(cluster.urls()).threads(1).engine(cluster_client::Engine::Threads).build().unwrap();
    let cancel = CancelToken::new();
    let results: Vec<_> = std::thread::scope(|scope| {
        let call = client.with(OperationOptions::new().cancel(&cancel));
        let call = scope.spawn(move || call.group_statuses(["g"]).collect());
        assert!(cluster.node(0).wait_until(|node| node.count(Method::Get) == 1, PATIENCE));
        cancel.cancel();
        call.join().unwrap()
    });
    assert_eq!(states(results[0].result.as_ref().unwrap()), [State::Unknown; 2]);
    assert_eq!(cluster.node(1).log().len(), 0);
}

#[test]
fn call_with_a_cancelled_token_sends_nothing() {
    let cluster = Cluster::start(2).unwrap();
    let cancel = CancelToken::new();
    cancel.cancel();
    let call = client(&cluster).with(OperationOptions::new().cancel(&cancel));
    for error in [call.create_group("g").unwrap_err(), call.delete_group("g").unwrap_err()] {
        assert!(matches!(error, Error::Cancelled { .. }) && !error.is_retryable() && error.is_unchanged(), "{error}");
    }
    assert_eq!(cluster.node(0).log().len() + cluster.node(1).log().len(), 0);
    assert!(call.create_groups(["a", "b"]).all(|done| matches!(done.result, Err(Error::Cancelled { .. }))));
}

/// Also where the token is cancelled just as an operation ends: the cancel asked for a slot that was then
/// empty, and was then asked for again without end.
#[test]
fn bulk_cancelled_at_any_moment_ends() {
    let cluster = Cluster::start(2).unwrap();
    let (ended, end) = std::sync::mpsc::channel();
    let client = builder(cluster.urls()).in_flight(3).build().unwrap();
    std::thread::spawn(move || {
        for turn in 0..400u64 {
            let cancel = CancelToken::new();
            let call = client.with(OperationOptions::new().cancel(&cancel));
            let results = std::thread::scope(|scope| {
                scope.spawn(|| {
                    std::thread::sleep(Duration::from_micros(turn % 40 * 100));
                    cancel.cancel();
                });
                call.create_groups((0..8).map(|number| format!("g-{turn}-{number}"))).count()
            });
            ended.send(results).unwrap();
        }
    });
    for turn in 0..400 {
        assert_eq!(end.recv_timeout(PATIENCE), Ok(8), "turn {turn}");
    }
    for node in cluster.nodes() {
        assert_eq!(node.groups(), cluster.node(0).groups());
    }
}

#[test]
fn bulk_that_reads_not_ahead_begins_no_create_after_a_failure_was_seen() {
    let cluster = Cluster::start(2).unwrap();
    cluster.node(1).inject(Fault::answer(403).on(Method::Post).group("g-2").always());
    for in_flight in [1, 4] {
        let client = builder(cluster.urls()).in_flight(in_flight).build().unwrap();
        let failed = std::cell::Cell::new(false);
        let taken = std::cell::Cell::new(0);
        let ids = (0..40).map(|number| format!("g-{number}")).take_while(|_| !failed.get());
        let ids = ids.inspect(|_| taken.set(taken.get() + 1));
        let (mut returned, mut after) = (0, 0);
        for done in client.with(OperationOptions::new().read_ahead(false)).create_groups(ids) {
            returned += 1;
            assert!(taken.get() - returned < in_flight, "{} were taken, {returned} were returned", taken.get());
            after += usize::from(failed.get());
            failed.set(failed.get() || done.result.is_err());
        }
        assert!(failed.get() && after < in_flight && returned == taken.get(), "{after} after the failure");
        client.delete_groups((0..40).map(|number| format!("g-{number}"))).for_each(|done| drop(done.result.unwrap()));
    }
}

#[test]
fn dead_host_delays_only_the_end_of_the_operation() {
    let cluster = Cluster::start(40).unwrap();
    cluster.node(0).inject(Fault::mute().on(Method::Get).always());
    let client = builder(cluster.urls()).threads(4).build().unwrap();
    let report = client.group_status("g").unwrap();
    assert_eq!(report.absent().count(), 39);
    let slowest = report.absent().map(|host| host.steps[0].elapsed).max().unwrap();
    assert_eq!(report.hosts[0].state, State::Unknown);
    assert!(slowest < report.hosts[0].steps[0].elapsed);
}

#[test]
fn bulk_returns_one_result_per_group_and_isolates_failures() {
    let cluster = Cluster::start(3).unwrap();
    cluster.node(1).insert("g-7");
    cluster.node(2).inject(Fault::answer(403).on(Method::Post).group("g-9").always());
    let mut ids: Vec<String> = (0..100).map(|n| format!("g-{n}")).collect();
    ids[11] = String::new();
    let client = builder(cluster.urls()).in_flight(8).build().unwrap();
    let mut seen = HashSet::new();
    for done in client.create_groups(&ids) {
        assert!(seen.insert(done.position), "position {} came twice", done.position);
        assert_eq!(done.id, ids[done.position]);
        match done.position {
            7 => assert!(matches!(done.result, Err(Error::AlreadyExists { .. }))),
            9 => assert!(matches!(done.result, Err(Error::RolledBack { .. }))),
            11 => assert!(matches!(done.result, Err(Error::Config { .. }))),
            _ => assert_eq!(states(&done.result.unwrap()), [State::Present; 3]),
        }
    }
    assert_eq!(seen.len(), 100);
    assert_eq!(cluster.holders("g-7"), [1]);
    assert!(cluster.none_has("g-9"));
    assert!((0..100).filter(|n| ![7, 9, 11].contains(n)).all(|n| cluster.all_have(&format!("g-{n}"))));
}

/// An input that gives its next id only when the group before is on all hosts, and ends when a result was
/// handed out.
#[test]
fn bulk_makes_progress_and_returns_results_while_its_input_blocks() {
    let cluster = Cluster::start(3).unwrap();
    let client = builder(cluster.urls()).in_flight(100).build().unwrap();
    let (taken, handed_out) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let input = (0..100).map_while(|number| {
        if let Some(before) = taken.load(Ordering::SeqCst).checked_sub(1) {
            let group = format!("g-{before}");
            let arrives = cluster.nodes().iter().all(|node| node.wait_until(|state| state.has(&group), PATIENCE));
            assert!(arrives, "{group} makes no progress while the input is asked for the next");
        }
        (handed_out.load(Ordering::SeqCst) == 0).then(|| {
            taken.fetch_add(1, Ordering::SeqCst);
            format!("g-{number}")
        })
    });
    for done in client.create_groups(input) {
        assert!(done.result.is_ok(), "{:?}", done.result);
        handed_out.fetch_add(1, Ordering::SeqCst);
    }
    let taken = taken.into_inner();
    assert!(taken < 100, "all of the input was taken before a result was handed out");
    assert_eq!(handed_out.into_inner(), taken);
    assert!((0..taken).all(|number| cluster.all_have(&format!("g-{number}"))));
}

#[test]
fn bulk_repair_and_bulk_status_return_each_group() {
    let cluster = Cluster::start(3).unwrap();
    let ids: Vec<String> = (0..50).map(|n| format!("g-{n}")).collect();
    // Each is on one host, and the last node refuses to take one of them.
    assert!(ids.iter().zip([0, 1, 2].iter().cycle()).all(|(id, node)| cluster.node(*node).insert(id)));
    cluster.node(2).inject(Fault::answer(403).on(Method::Post).group("g-9").always());
    let client = builder(cluster.urls()).in_flight(8).build().unwrap();
    let failed: Vec<String> =
        client.repair_groups(&ids, Target::Present).filter(|done| done.result.is_err()).map(|done| done.id).collect();
    assert_eq!(failed, ["g-9"]);
    let mut seen = HashSet::new();
    for done in client.group_statuses(&ids) {
        let absent = done.result.unwrap().absent().count();
        assert_eq!(absent, usize::from(done.id == "g-9"), "{}", done.id);
        seen.insert(done.position);
    }
    assert_eq!(seen.len(), 50);
    assert!(ids.iter().all(|id| cluster.holders(id).len() == if id == "g-9" { 2 } else { 3 }));
}

#[test]
fn duplicate_group_in_a_bulk_is_created_once() {
    let cluster = Cluster::start(2).unwrap();
    let patient = support::quick().with_attempts(100);
    let client = builder(cluster.urls()).retry(patient).build().unwrap();
    let results: Vec<_> = client.create_groups(["g", "g", "g"]).map(|done| done.result).collect();
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    assert!(cluster.all_have("g"));
}

#[test]
fn dropped_bulk_leaves_each_group_on_all_hosts_or_none() {
    let cluster = Cluster::start(3).unwrap();
    let client = builder(cluster.urls()).in_flight(4).build().unwrap();
    let mut bulk = client.create_groups((0..1000).map(|n| format!("g-{n}")));
    assert!(bulk.next().unwrap().result.is_ok());
    drop(bulk);
    let created = (0..1000).filter(|n| cluster.all_have(&format!("g-{n}"))).count();
    assert!((1..=16).contains(&created), "{created}");
    assert!((0..1000).all(|n| matches!(cluster.holders(&format!("g-{n}")).len(), 0 | 3)));
}
