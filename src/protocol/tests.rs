//! The main paths through the machine, step by step. The simulation checks faults in every order.

use std::sync::Arc;
use std::time::Duration;

use super::{Input, Limits, Machine, Output};
use crate::api::{Action, Api, Body, Reply, classify_by_status};
use crate::values::authorized::AuthorizedHosts;
use crate::values::cause::{JournalError, RequestError, RequestErrorKind};
use crate::values::classification::{Classification, ClassifiedReply};
use crate::values::group::GroupId;
use crate::values::host::Host;
use crate::values::intent::{ClaimError, Intent, Purpose};
use crate::values::outcome::Outcome;
use crate::values::report::{Cause, Note, Operation, Report, State, Target};
use crate::values::retry::{RetryBudgets, RetryPolicy};
use crate::values::usage::Usage;

const SECOND: Duration = Duration::from_secs(1);

/// A machine with the hosts `a` and `b`. Each method expects an output and passes its result.
struct Scene {
    machine: Machine,
    now: Duration,
    budgets: RetryBudgets,
    /// Requests in flight.
    sent: Vec<(usize, Action, Duration)>,
}

fn hosts() -> Arc<[Host]> {
    ["http://a", "http://b"].map(|url| Host::parse(url).unwrap()).into()
}

fn intent(purpose: Purpose) -> Intent {
    let intent = Intent::of(GroupId::parse("g").unwrap(), purpose, Api::default().reference(), hosts().to_vec());
    Intent { settle: 5 * SECOND, ..intent }
}

fn full() -> JournalError {
    JournalError::on("write", "g.intent", std::io::ErrorKind::StorageFull.into())
}

fn timeout() -> Reply {
    Reply::Ambiguous(RequestError::new(RequestErrorKind::Timeout, "no answer within 5s"))
}

fn answer(status: u16) -> Reply {
    Reply::Answered { status, retry_after: None, body: Body::Unread }
}

impl Scene {
    fn of(operation: Operation, preflight: bool) -> Self {
        let retry = RetryPolicy { attempts: 2, jitter: false, ..RetryPolicy::default() };
        let limits = Limits {
            retry,
            rollback_retry: retry,
            request_timeout: 5 * SECOND,
            operation_timeout: Some(60 * SECOND),
            rollback_timeout: 30 * SECOND,
            settle: 5 * SECOND,
        };
        let group = GroupId::parse("g").unwrap();
        let machine = Machine::new(operation, preflight, group, hosts(), Arc::default(), limits, 1);
        Scene { machine, now: Duration::ZERO, budgets: RetryBudgets::new(2), sent: Vec::new() }
    }

    fn create() -> Self {
        Scene::of(Operation::Create, true)
    }

    fn claims(self) -> Self {
        self.finds(Ok(None))
    }

    fn finds(mut self, found: Result<Option<Intent>, ClaimError>) -> Self {
        assert_eq!(self.machine.poll_output(self.now), Output::Claim);
        self.handle(Input::Claimed(found));
        self
    }

    fn records(self, purpose: Purpose, hosts: &str) -> Self {
        self.record(purpose, hosts, Ok(()))
    }

    fn fails_to_record(self, purpose: Purpose, hosts: &str) -> Self {
        self.record(purpose, hosts, Err(full()))
    }

    fn record(mut self, purpose: Purpose, hosts: &str, result: Result<(), JournalError>) -> Self {
        let Output::Record(intent) = self.machine.poll_output(self.now) else { panic!("expected a record") };
        let named: String = intent.hosts.iter().map(Host::authority).collect();
        assert_eq!((intent.purpose, named.as_str()), (purpose, hosts));
        self.handle(Input::Recorded(result));
        self
    }

    fn erases(self) -> Self {
        self.erase(Ok(()))
    }

    fn fails_to_erase(self) -> Self {
        self.erase(Err(full()))
    }

    fn erase(mut self, result: Result<(), JournalError>) -> Self {
        assert_eq!(self.machine.poll_output(self.now), Output::Erase);
        self.handle(Input::Erased(result));
        self
    }

    /// Takes the requests that the machine sends now.
    fn fetch(&mut self) {
        while let Output::Send { host, action, timeout, .. } = self.machine.poll_output(self.now) {
            assert!(timeout <= 5 * SECOND && !timeout.is_zero());
            self.sent.push((host, action, self.now));
        }
    }

    /// Expects a request to a host, and passes this reply.
    fn on(self, host: char, action: Action, reply: Reply) -> Self {
        self.replies(host, action, classify_by_status(action, reply))
    }

    /// Expects a check of a host, and answers that its group is still changing.
    fn changing(self, host: char) -> Self {
        let reply = classify_by_status(Action::Check, answer(200));
        self.replies(host, Action::Check, ClassifiedReply { classification: Classification::Changing, ..reply })
    }

    fn replies(mut self, host: char, action: Action, reply: ClassifiedReply) -> Self {
        self.fetch();
        let number = usize::from(host == 'b');
        let at = self.sent.iter().position(|(host, sent, _)| (*host, *sent) == (number, action));
        let (host, action, sent) = self.sent.remove(at.unwrap_or_else(|| panic!("{host} got no {action}")));
        let elapsed = self.now.saturating_sub(sent);
        self.handle(Input::Replied { host, action, reply, usage: Usage::unsent(elapsed) });
        self
    }

    /// Expects a request to both hosts, and passes these answers.
    fn both(self, action: Action, a: u16, b: u16) -> Self {
        self.on('a', action, answer(a)).on('b', action, answer(b))
    }

    /// Expects a wait of this time.
    fn waits(mut self, time: Duration) -> Self {
        self.fetch();
        assert_eq!(self.machine.poll_output(self.now), Output::Wait(Some(self.now + time)));
        self.now += time;
        self
    }

    fn cancelled(mut self) -> Self {
        self.fetch();
        self.machine.cancel(self.now);
        self
    }

    fn after(mut self, time: Duration) -> Self {
        self.fetch();
        self.now += time;
        self
    }

    fn handle(&mut self, input: Input) {
        self.machine.handle_input(input, self.now, &mut self.budgets);
    }

    fn end(mut self) -> Report {
        assert_eq!(self.machine.poll_output(self.now), Output::Done);
        assert!(self.sent.is_empty(), "nothing is in flight at the end");
        self.machine.into_report()
    }

    fn ends(self, outcome: Outcome, a: State, b: State) {
        let _ = self.reports(outcome, a, b);
    }

    fn reports(self, outcome: Outcome, a: State, b: State) -> Report {
        let report = self.end();
        assert_eq!(report.outcome, outcome, "{:?}", report.cause);
        assert_eq!(report.hosts.iter().map(|host| host.state).collect::<Vec<_>>(), [a, b]);
        report
    }
}

use Action::{Check, Create, Delete};
use State::{Absent, Present, Unknown};

const CREATE: Purpose = Purpose::Create { was_absent: true };
const BLIND: Purpose = Purpose::Create { was_absent: false };

#[test]
fn create_of_an_absent_group_commits_after_verification() {
    let report = Scene::create()
        .claims()
        .both(Check, 404, 404)
        .records(CREATE, "ab")
        .both(Create, 201, 201)
        .both(Check, 200, 200)
        .erases()
        .reports(Outcome::Created, Present, Present);
    assert!(!report.recoverable && report.warnings().is_empty());
}

#[test]
fn create_of_a_present_group_changes_nothing() {
    Scene::create().claims().both(Check, 200, 404).ends(Outcome::AlreadyExists, Present, Absent);
}

#[test]
fn create_with_an_unknown_host_is_unavailable() {
    let report = Scene::create().claims().both(Check, 404, 503).waits(SECOND).on('b', Check, answer(503)).reports(
        Outcome::Unavailable,
        Absent,
        Unknown,
    );
    assert_eq!(report.cause.unwrap().to_string(), "b answered 503 to check, 2 tries");
}

#[test]
fn create_retries_the_check_after_a_404_that_follows_201() {
    Scene::create()
        .claims()
        .both(Check, 404, 404)
        .records(CREATE, "ab")
        .both(Create, 201, 201)
        .both(Check, 200, 404)
        .waits(SECOND)
        .on('b', Check, answer(200))
        .erases()
        .ends(Outcome::Created, Present, Present);
}

#[test]
fn rollback_after_a_refusal_deletes_our_groups_and_only_checks_the_refusing_host() {
    Scene::create()
        .claims()
        .both(Check, 404, 404)
        .records(CREATE, "ab")
        .both(Create, 201, 400)
        .on('a', Check, answer(200))
        .on('a', Delete, answer(200))
        .both(Check, 404, 200)
        .erases()
        .ends(Outcome::AlreadyExists, Absent, Present);
}

#[test]
fn rollback_checks_again_after_the_settle_time_if_a_post_was_ambiguous() {
    Scene::create()
        .claims()
        .both(Check, 404, 404)
        .records(CREATE, "ab")
        .on('a', Create, timeout())
        .on('b', Create, answer(501))
        .on('b', Check, answer(404))
        .waits(SECOND)
        .on('a', Create, timeout())
        .both(Check, 404, 404)
        .both(Delete, 404, 404)
        .both(Check, 404, 404)
        .waits(5 * SECOND)
        .both(Check, 200, 404)
        .waits(SECOND)
        .on('a', Delete, answer(200))
        .on('a', Check, answer(404))
        .erases()
        .ends(Outcome::RolledBack, Absent, Absent);
}

#[test]
fn rollback_that_fails_on_one_host_keeps_it_in_the_intent_and_finishes_the_other() {
    let report = Scene::create()
        .claims()
        .both(Check, 404, 404)
        .records(CREATE, "ab")
        .cancelled()
        .both(Create, 201, 201)
        .both(Delete, 503, 200)
        .on('b', Check, answer(404))
        .waits(SECOND)
        .on('a', Delete, answer(503))
        .on('a', Check, answer(200))
        .waits(5 * SECOND)
        .on('a', Check, answer(200))
        .records(CREATE, "a")
        .reports(Outcome::Incomplete, Present, Absent);
    assert!(report.recoverable);
    let tries: Vec<_> = report.hosts[0].steps.iter().map(|step| (step.action, step.attempts)).collect();
    assert_eq!(tries, [(Check, 1), (Create, 1), (Delete, 2), (Check, 2)]);
}

#[test]
fn create_whose_commit_fails_is_unrecorded_and_not_rolled_back() {
    let scene = Scene::create().claims().both(Check, 404, 404).records(CREATE, "ab");
    let report = scene.both(Create, 201, 201).both(Check, 200, 200).fails_to_erase();
    let report = report.reports(Outcome::Unrecorded, Present, Present);
    assert!(report.recoverable);
}

#[test]
fn create_sends_no_post_if_the_intent_cannot_be_recorded() {
    let scene = Scene::create().claims().both(Check, 404, 404).fails_to_record(CREATE, "ab").erases();
    assert_eq!(scene.end().outcome, Outcome::JournalFailed);
}

#[test]
fn failures_of_the_journal_that_change_no_outcome_are_notes() {
    let partial = Scene::create().claims().both(Check, 404, 404).fails_to_record(CREATE, "ab").fails_to_erase().end();
    assert_eq!((partial.outcome, partial.notes), (Outcome::JournalFailed, vec![Note::PartialEntryStays(full())]));

    let delete = || Scene::of(Operation::Delete, true).claims().records(Purpose::Delete, "ab");
    let settled = delete().both(Delete, 200, 200).both(Check, 404, 404).fails_to_erase().end();
    assert_eq!((settled.outcome, settled.recoverable), (Outcome::Deleted, true));
    assert_eq!(settled.notes, [Note::SettledEntryStays(full())]);

    let refused = delete().both(Delete, 200, 403).both(Check, 404, 200);
    let older = refused.fails_to_record(Purpose::Delete, "b").end();
    assert_eq!((older.outcome, older.recoverable), (Outcome::Incomplete, true));
    assert_eq!(older.notes, [Note::OlderEntryStays(full())]);
}

#[test]
fn rollback_without_preflight_keeps_a_group_whose_post_was_ambiguous() {
    let report = Scene::of(Operation::Create, false)
        .claims()
        .records(BLIND, "ab")
        .cancelled()
        .on('a', Create, timeout())
        .on('b', Create, answer(201))
        .on('a', Check, answer(200))
        .on('b', Delete, answer(200))
        .on('b', Check, answer(404))
        .records(BLIND, "a")
        .reports(Outcome::Incomplete, Present, Absent);
    assert!(report.recoverable);
}

#[test]
fn rollback_without_preflight_keeps_a_group_that_appears_after_a_404() {
    let report = Scene::of(Operation::Create, false)
        .claims()
        .records(BLIND, "ab")
        .both(Create, 501, 201)
        .both(Check, 404, 200)
        .waits(SECOND)
        .on('a', Check, answer(404))
        .on('b', Delete, answer(200))
        .both(Check, 404, 404)
        .waits(5 * SECOND)
        .on('a', Check, answer(200))
        .records(BLIND, "a")
        .reports(Outcome::Incomplete, Present, Absent);
    assert!(report.recoverable);
}

#[test]
fn create_recovers_an_unfinished_create_first() {
    Scene::create()
        .finds(Ok(Some(intent(CREATE))))
        .both(Delete, 200, 404)
        .both(Check, 404, 404)
        .waits(5 * SECOND)
        .both(Check, 404, 404)
        .erases()
        .both(Check, 404, 404)
        .records(CREATE, "ab")
        .both(Create, 201, 201)
        .both(Check, 200, 200)
        .erases()
        .ends(Outcome::Created, Present, Present);
}

#[test]
fn recovery_finishes_an_unfinished_delete() {
    Scene::of(Operation::Recover, true)
        .finds(Ok(Some(intent(Purpose::Delete))))
        .both(Delete, 200, 404)
        .both(Check, 404, 404)
        .waits(5 * SECOND)
        .both(Check, 404, 404)
        .erases()
        .ends(Outcome::Recovered, Absent, Absent);
}

#[test]
fn delete_finishes_every_host_and_keeps_a_refusing_host_in_the_intent() {
    let report = Scene::of(Operation::Delete, true)
        .claims()
        .records(Purpose::Delete, "ab")
        .both(Delete, 403, 400)
        .both(Check, 200, 404)
        .records(Purpose::Delete, "a")
        .reports(Outcome::Incomplete, Present, Absent);
    let left: Vec<_> = report
        .hosts
        .iter()
        .filter(|host| host.state != State::Absent)
        .map(|host| host.reason.as_ref().unwrap().to_string())
        .collect();
    assert_eq!(left, ["answered 403 to delete"]);
}

#[test]
fn repair_to_present_creates_the_group_on_hosts_without_it() {
    let report = Scene::of(Operation::Repair(Target::Present), true)
        .claims()
        .both(Check, 200, 404)
        .records(Purpose::Present, "ab")
        .on('b', Create, answer(201))
        .on('b', Check, answer(200))
        .erases()
        .reports(Outcome::Repaired, Present, Present);
    assert_eq!(report.hosts.iter().map(crate::HostReport::changed).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn repair_that_cannot_be_recorded_keeps_the_older_intent() {
    let scene = Scene::of(Operation::Repair(Target::Absent), true).finds(Ok(Some(intent(CREATE))));
    let report = scene.fails_to_record(Purpose::Delete, "ab").end();
    assert_eq!((report.outcome, report.recoverable), (Outcome::JournalFailed, true));
}

#[test]
fn status_makes_no_claim() {
    Scene::of(Operation::Status, true).both(Check, 200, 404).ends(Outcome::Observed, Present, Absent);
}

#[test]
fn busy_group_is_retried_and_then_reported() {
    let busy = || Err(ClaimError::Busy("process 7".into()));
    let scene = Scene::create().finds(busy()).waits(SECOND).finds(busy());
    let report = scene.end();
    assert_eq!((report.outcome, report.cause), (Outcome::Busy, Some(Cause::busy("process 7"))));
}

#[test]
fn create_out_of_time_rolls_back_with_its_own_timeout() {
    Scene::create()
        .claims()
        .both(Check, 404, 404)
        .records(CREATE, "ab")
        .on('a', Create, answer(201))
        .after(60 * SECOND)
        .on('b', Create, timeout())
        .on('a', Check, answer(200))
        .both(Delete, 200, 404)
        .both(Check, 404, 404)
        .waits(5 * SECOND)
        .on('b', Check, answer(404))
        .erases()
        .ends(Outcome::TimedOut, Absent, Absent);
}

/// A create whose POST `b` refuses, up to the rollback of `a`.
fn refused_by_b() -> Scene {
    let scene = Scene::create().claims().both(Check, 404, 404).records(CREATE, "ab");
    scene.both(Create, 201, 403).on('a', Check, answer(404))
}

#[test]
fn rollback_reports_unknown_while_delete_is_refused() {
    let report = refused_by_b().on('a', Delete, answer(403)).both(Check, 404, 404).records(CREATE, "a").reports(
        Outcome::InDoubt,
        Unknown,
        Absent,
    );
    assert_eq!(report.hosts[0].reason.as_ref().unwrap().to_string(), "answered 403 to delete");
}

#[test]
fn rollback_checks_again_if_a_404_contradicts_our_201() {
    for lagging in [404, 400] {
        refused_by_b()
            .on('a', Delete, answer(lagging))
            .both(Check, 404, 404)
            .waits(5 * SECOND)
            .on('a', Check, answer(200))
            .waits(SECOND)
            .on('a', Delete, answer(200))
            .on('a', Check, answer(404))
            .erases()
            .ends(Outcome::RolledBack, Absent, Absent);
    }
}

#[test]
fn rollback_believes_404_at_once_after_confirmed_delete() {
    let scene = Scene::create().claims().both(Check, 404, 404).records(CREATE, "ab").cancelled();
    scene.both(Create, 201, 201).both(Delete, 200, 204).both(Check, 404, 404).erases().ends(
        Outcome::Cancelled,
        Absent,
        Absent,
    );
}

#[test]
fn delete_checks_again_after_the_settle_time_if_a_delete_was_ambiguous() {
    Scene::of(Operation::Delete, true)
        .claims()
        .records(Purpose::Delete, "ab")
        .on('a', Delete, timeout())
        .on('b', Delete, answer(200))
        .on('b', Check, answer(404))
        .waits(SECOND)
        .on('a', Delete, answer(404))
        .on('a', Check, answer(404))
        .waits(5 * SECOND)
        .on('a', Check, answer(404))
        .erases()
        .ends(Outcome::Deleted, Absent, Absent);
}

#[test]
fn delete_checks_again_if_a_200_contradicts_its_confirmed_delete() {
    Scene::of(Operation::Delete, true)
        .claims()
        .records(Purpose::Delete, "ab")
        .both(Delete, 200, 200)
        .both(Check, 200, 404)
        .waits(SECOND)
        .on('a', Delete, answer(200))
        .on('a', Check, answer(200))
        .waits(5 * SECOND)
        .on('a', Check, answer(404))
        .erases()
        .ends(Outcome::Deleted, Absent, Absent);
}

#[test]
fn create_with_an_ambiguous_post_commits_after_the_settle_time() {
    let scene = Scene::create().claims().both(Check, 404, 404).records(CREATE, "ab");
    let scene = scene.on('a', Create, timeout()).on('b', Create, answer(201)).on('b', Check, answer(200));
    let scene = scene.waits(SECOND).on('a', Create, answer(201)).on('a', Check, answer(200));
    scene.waits(4 * SECOND).erases().ends(Outcome::Created, Present, Present);
}

#[test]
fn create_commits_at_once_after_a_503() {
    let scene = Scene::create().claims().both(Check, 404, 404).records(CREATE, "ab").both(Create, 503, 201);
    let scene = scene.on('b', Check, answer(200)).waits(SECOND).on('a', Create, answer(201));
    scene.on('a', Check, answer(200)).erases().ends(Outcome::Created, Present, Present);
}

#[test]
fn create_cancelled_during_the_settle_time_is_rolled_back() {
    let scene = Scene::create().claims().both(Check, 404, 404).records(CREATE, "ab");
    let scene = scene.on('a', Create, timeout()).on('b', Create, answer(201)).on('b', Check, answer(200));
    let scene = scene.waits(SECOND).on('a', Create, answer(201)).on('a', Check, answer(200)).cancelled();
    let report = scene
        .both(Delete, 200, 200)
        .both(Check, 404, 404)
        .waits(5 * SECOND)
        .on('a', Check, answer(404))
        .erases()
        .reports(Outcome::Cancelled, Absent, Absent);
    assert_eq!(report.cause, Some(Cause::Cancelled));
}

#[test]
fn repair_conflicts_with_an_intent_that_names_other_hosts() {
    let mut unfinished = intent(Purpose::Delete);
    unfinished.hosts.push(Host::parse("http://staging").unwrap());
    for target in [Target::Present, Target::Absent] {
        let scene = Scene::of(Operation::Repair(target), true).finds(Ok(Some(unfinished.clone())));
        let report = scene.end();
        let cause = Cause::conflict(unfinished.clone(), unfinished.hosts[2..].to_vec());
        assert_eq!((report.outcome, report.cause), (Outcome::Conflict, Some(cause)));
        assert!(report.recoverable);
    }
}

#[test]
fn repair_conflicts_with_an_intent_of_other_paths() {
    let unfinished = Intent { api: Api::new("/v2", "/v2/{id}").unwrap().reference(), ..intent(CREATE) };
    let scene = Scene::of(Operation::Repair(Target::Absent), true).finds(Ok(Some(unfinished.clone())));
    assert_eq!(scene.end().cause, Some(Cause::conflict(unfinished, Vec::new())));
}

#[test]
fn repair_to_present_awaits_the_settle_time_after_a_dead_owner() {
    let scene = Scene::of(Operation::Repair(Target::Present), true).finds(Ok(Some(intent(Purpose::Delete))));
    let scene = scene.waits(5 * SECOND).both(Check, 200, 404).records(Purpose::Present, "ab");
    let scene = scene.on('b', Create, answer(201)).on('b', Check, answer(200)).erases();
    scene.ends(Outcome::Repaired, Present, Present);
}

#[test]
fn recovery_uses_the_api_of_the_intent_and_the_next_operation_that_of_the_client() {
    let other = Api::new("/v2", "/v2/{id}").unwrap();
    let unfinished = Intent { api: other.reference(), ..intent(CREATE) };
    let scene = Scene::create().finds(Ok(Some(unfinished)));
    assert_eq!(**scene.machine.api(), other);
    let scene = scene.both(Delete, 200, 404).both(Check, 404, 404).waits(5 * SECOND).both(Check, 404, 404).erases();
    assert_eq!(**scene.machine.api(), Api::default());
    let report = scene.both(Check, 404, 503).waits(SECOND).on('b', Check, answer(503));
    let report = report.reports(Outcome::Unavailable, Absent, Unknown);
    assert!(report.earlier_changed() && report.summary().contains("nothing more was sent"), "{}", report.summary());
}

#[test]
fn incomplete_recovery_keeps_the_api_of_the_intent() {
    let other = Api::new("/v2", "/v2/{id}").unwrap();
    let unfinished = Intent { api: other.reference(), ..intent(Purpose::Delete) };
    let mut scene = Scene::of(Operation::Recover, true).finds(Ok(Some(unfinished))).both(Delete, 403, 403);
    scene = scene.both(Check, 200, 200);
    let Output::Record(kept) = scene.machine.poll_output(scene.now) else { panic!("expected a record") };
    assert_eq!(kept.api, other.reference());
}

/// The owner of the intent may have died with a request on its way, which takes effect in its settle time.
#[test]
fn recovery_awaits_the_settle_time_of_the_intent_if_that_is_longer() {
    let unfinished = |settle| Ok(Some(Intent { settle, ..intent(CREATE) }));
    let recovery = |settle| Scene::of(Operation::Recover, true).finds(unfinished(settle));
    let deleted = |scene: Scene| scene.both(Delete, 404, 404).both(Check, 404, 404);
    for (recorded, waited) in [(SECOND, 5 * SECOND), (20 * SECOND, 20 * SECOND), (60 * SECOND, 60 * SECOND)] {
        let scene = deleted(recovery(recorded)).waits(waited).both(Check, 404, 404).erases();
        assert_eq!(scene.end().outcome, Outcome::Recovered, "{recorded:?}");
    }
    let mut scene = deleted(recovery(20 * SECOND)).waits(20 * SECOND).both(Check, 404, 403);
    let Output::Record(kept) = scene.machine.poll_output(scene.now) else { panic!("expected a record") };
    assert_eq!(kept.settle, 20 * SECOND);
}

#[test]
fn intent_has_the_hosts_with_credentials_and_the_settle_time() {
    let recorded = |settle, origins: &[&str]| {
        let mut scene = Scene::create();
        scene.machine.limits.settle = settle;
        scene.machine.set_authorized(&Arc::new(AuthorizedHosts::new(origins.iter().copied(), [], false)));
        let mut scene = scene.finds(Ok(None)).both(Check, 404, 404);
        let Output::Record(intent) = scene.machine.poll_output(scene.now) else { panic!("expected a record") };
        (intent.authorized.iter().map(ToString::to_string).collect::<Vec<_>>(), intent.settle)
    };
    assert_eq!(recorded(10 * SECOND, &["http://b", "http://c"]), (vec!["http://b".to_owned()], 10 * SECOND));
    assert_eq!(recorded(11 * SECOND, &[]), (Vec::new(), 11 * SECOND));
}

#[test]
fn intent_of_hosts_with_credentials_that_the_client_lacks_is_kept() {
    let unfinished = Intent { authorized: hosts().iter().cloned().collect(), ..intent(Purpose::Delete) };
    let operations = [Operation::Recover, Operation::Create, Operation::Delete, Operation::Repair(Target::Absent)];
    for operation in operations {
        let mut scene = Scene::of(operation, true);
        scene.machine.set_authorized(&Arc::new(AuthorizedHosts::new(["http://a"], [], false)));
        let report = scene.finds(Ok(Some(unfinished.clone()))).end();
        assert_eq!((report.outcome, report.recoverable), (Outcome::Conflict, true), "{operation:?}");
        assert_eq!(report.cause, Some(Cause::no_credentials(vec![hosts()[1].clone()])), "{operation:?}");
    }
}

#[test]
fn cancelled_operation_does_not_retry_a_busy_group() {
    let mut scene = Scene::create();
    scene.machine.cancel(scene.now);
    let scene = scene.finds(Err(ClaimError::Busy("process 7".into())));
    let report = scene.end();
    assert_eq!((report.outcome, report.cause), (Outcome::Cancelled, Some(Cause::Cancelled)));
}

#[test]
fn operation_after_a_recovery_awaits_the_settle_time_of_its_changes() {
    Scene::of(Operation::Delete, true)
        .finds(Ok(Some(intent(Purpose::Present))))
        .waits(5 * SECOND)
        .both(Check, 404, 200)
        .on('a', Create, answer(201))
        .on('a', Check, answer(200))
        .erases()
        .waits(5 * SECOND)
        .records(Purpose::Delete, "ab")
        .both(Delete, 200, 200)
        .both(Check, 404, 404)
        .erases()
        .ends(Outcome::Deleted, Absent, Absent);
}

#[test]
fn repair_cancelled_before_its_first_change_is_cancelled_and_unchanged() {
    let report = Scene::of(Operation::Repair(Target::Present), true)
        .finds(Ok(Some(intent(CREATE))))
        .waits(5 * SECOND)
        .on('a', Check, answer(200))
        .cancelled()
        .on('b', Check, answer(200))
        .end();
    // Both have the group, but the journal still says that it is to be rolled back.
    assert!(report.recoverable);
    let error = report.into_result().unwrap_err();
    assert!(matches!(error, crate::Error::Cancelled { .. }) && error.is_unchanged(), "{error}");
}

#[test]
fn repair_checks_again_after_the_settle_time_if_a_404_contradicts_its_201() {
    Scene::of(Operation::Repair(Target::Present), true)
        .claims()
        .both(Check, 404, 404)
        .records(Purpose::Present, "ab")
        .both(Create, 201, 201)
        .both(Check, 200, 404)
        .waits(SECOND)
        .on('b', Check, answer(404))
        .waits(5 * SECOND)
        .on('b', Check, answer(200))
        .erases()
        .ends(Outcome::Repaired, Present, Present);
}

#[test]
fn delete_checks_again_if_a_200_follows_an_ambiguous_and_a_refused_delete() {
    Scene::of(Operation::Delete, true)
        .claims()
        .records(Purpose::Delete, "ab")
        .on('b', Delete, answer(200))
        .on('b', Check, answer(404))
        .on('a', Delete, timeout())
        .waits(SECOND)
        .on('a', Delete, answer(403))
        .on('a', Check, answer(200))
        .waits(5 * SECOND)
        .on('a', Check, answer(404))
        .records(Purpose::Delete, "a")
        .ends(Outcome::InDoubt, Unknown, Absent);
}

#[test]
fn recovery_of_a_repair_to_present_warns_only_of_hosts_without_the_group() {
    let recovery = || {
        Scene::of(Operation::Recover, true)
            .finds(Ok(Some(intent(Purpose::Present))))
            .waits(5 * SECOND)
            .both(Check, 200, 404)
    };
    let report = recovery().on('b', Create, answer(201)).on('b', Check, answer(200)).erases().reports(
        Outcome::Recovered,
        Present,
        Present,
    );
    assert_eq!(report.warnings(), [""; 0]);

    let report = recovery()
        .on('b', Create, answer(403))
        .on('b', Check, answer(404))
        .waits(SECOND)
        .on('b', Check, answer(404))
        .records(Purpose::Present, "b")
        .reports(Outcome::Incomplete, Present, Absent);
    assert_eq!(report.warnings(), ["http://b: g is absent (answered 403 to create)"]);
    assert!(report.summary().starts_with("incomplete: b does not have g"), "{}", report.summary());
}

#[test]
fn recovery_without_an_intent_reports_no_host() {
    let report = Scene::of(Operation::Recover, true).claims().end();
    assert_eq!((report.outcome, report.hosts.len()), (Outcome::Recovered, 0));
    assert_eq!(report.summary(), "nothing is unfinished for g");
    assert!(!report.all(Present) && !report.all(Absent));
}

#[test]
fn create_awaits_a_group_that_is_still_changing_before_and_after_its_post() {
    Scene::create()
        .claims()
        .on('a', Check, answer(404))
        .changing('b')
        .waits(SECOND)
        .changing('b')
        .waits(2 * SECOND)
        .on('b', Check, answer(404))
        .records(CREATE, "ab")
        .both(Create, 201, 201)
        .on('a', Check, answer(200))
        .changing('b')
        .waits(SECOND)
        .on('b', Check, answer(200))
        .erases()
        .ends(Outcome::Created, Present, Present);
}

#[test]
fn delete_awaits_a_group_that_is_still_changing_with_more_checks_than_retries() {
    let mut scene = Scene::of(Operation::Delete, true)
        .claims()
        .records(Purpose::Delete, "ab")
        .both(Delete, 200, 200)
        .on('a', Check, answer(404));
    for delay in [1, 2, 4, 8, 10] {
        scene = scene.changing('b').waits(delay * SECOND);
    }
    scene.on('b', Check, answer(404)).erases().ends(Outcome::Deleted, Absent, Absent);
}

#[test]
fn rollback_leaves_a_group_unknown_that_changes_until_the_end_of_its_time() {
    let mut scene = Scene::create()
        .claims()
        .both(Check, 404, 404)
        .records(CREATE, "ab")
        .both(Create, 201, 400)
        .on('a', Check, answer(200))
        .on('a', Delete, answer(200))
        .on('b', Check, answer(404));
    // Another delay of 10 s would end at 35 s, after the 30 s of the rollback. The last checks halve what is left.
    for delay in [1.0, 2.0, 4.0, 8.0, 10.0, 2.5, 1.25, 0.625, 0.3125] {
        scene = scene.changing('a').waits(Duration::from_secs_f64(delay));
    }
    scene.changing('a').records(CREATE, "a").ends(Outcome::InDoubt, Unknown, Absent);
}

#[test]
fn status_without_a_timeout_awaits_a_change_for_the_rollback_timeout() {
    let mut scene = Scene::of(Operation::Status, true);
    // The round has begun in `new`.
    scene.machine.phase_ends = None;
    scene = scene.on('a', Check, answer(200));
    for delay in [1.0, 2.0, 4.0, 8.0, 10.0, 2.5, 1.25, 0.625, 0.3125] {
        scene = scene.changing('b').waits(Duration::from_secs_f64(delay));
    }
    scene.changing('b').ends(Outcome::Observed, Present, Unknown);
}
