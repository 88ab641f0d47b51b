//! Checks of the public API: traits that a compiler sees, and constructors for a user's own tests. See
//! docs/decisions/api-guidelines.md.

use std::fmt::Debug;
use std::time::Duration;

use cluster_client::{
    Action, Api, Bulk, CancelToken, Cause, Claim, ClaimError, ClientBuilder, ClusterClient, Completed, ConfigError,
    Credentials, Deletion, DirectoryJournal, Engine, Error, Event, EventKind, GroupId, Host, HostReport, HostStep,
    Hosts, Intent, Journal, JournalEntry, JournalError, Note, Observer, Operation, OperationId, OperationOptions,
    Outcome, Phase, Purpose, Reason, Recovery, Report, RequestError, RequestErrorKind, RetryPolicy, Secret, Stamp,
    State, Unfinished,
};

#[test]
fn types_that_a_program_keeps_are_send_and_sync() {
    fn check<T: Send + Sync + Debug + 'static>() {}
    fn is_send<T: Send + Debug>() {}
    check::<ClusterClient>();
    check::<ClientBuilder>();
    check::<OperationOptions>();
    check::<CancelToken>();
    check::<Error>();
    check::<ConfigError>();
    check::<JournalError>();
    check::<RequestError>();
    check::<Report>();
    check::<Deletion>();
    check::<Recovery>();
    check::<Completed>();
    check::<Event>();
    check::<Host>();
    check::<Hosts>();
    check::<GroupId>();
    check::<Intent>();
    check::<Api>();
    check::<RetryPolicy>();
    check::<Credentials>();
    check::<Secret>();
    check::<DirectoryJournal>();
    is_send::<Bulk<std::vec::IntoIter<String>>>();
    is_send::<Bulk<std::vec::IntoIter<String>, Deletion>>();
}

#[test]
fn values_have_the_common_traits() {
    fn value<T: Clone + PartialEq + Debug>() {}
    fn key<T: Copy + Eq + std::hash::Hash + Debug>() {}
    value::<Report>();
    value::<HostReport>();
    value::<HostStep>();
    value::<Reason>();
    value::<Cause>();
    value::<Note>();
    value::<Deletion>();
    value::<RetryPolicy>();
    value::<JournalError>();
    key::<Outcome>();
    key::<Operation>();
    key::<OperationId>();
    key::<Phase>();
    key::<State>();
    key::<Action>();
    key::<Engine>();
    key::<RequestErrorKind>();
}

#[test]
fn debug_is_never_empty() {
    let client = ClusterClient::new(["http://node1:8000"]).unwrap();
    for text in [
        format!("{client:?}"),
        format!("{:?}", ClusterClient::builder()),
        format!("{:?}", CancelToken::new()),
        format!("{:?}", OperationOptions::new()),
        format!("{:?}", client.create_groups(["a"])),
        format!("{:?}", Recovery::default()),
    ] {
        assert!(text.len() > 8, "{text}");
    }
}

fn host(name: &str) -> Host {
    Host::parse(format!("http://{name}:8000")).unwrap()
}

fn group() -> GroupId {
    GroupId::parse("payments").unwrap()
}

/// An error made by a user's mock of a client.
fn rolled_back() -> Error {
    let mut step = HostStep::answered(Action::Create, 503);
    step.attempts = 3;
    let reason = Reason::new(Some(step.clone()), None);
    let mut failed = HostReport::new(host("node2"), State::Absent);
    failed.steps.push(step);
    failed.reason = Some(reason.clone());
    let mut report = Report::new(group(), Operation::Create, Outcome::RolledBack);
    report.hosts = vec![HostReport::new(host("node1"), State::Absent), failed];
    report.into_result().unwrap_err()
}

#[test]
fn error_made_by_a_user_answers_as_one_of_a_call() {
    let error = rolled_back();
    assert!(error.is_retryable() && error.is_unchanged() && !error.is_in_doubt() && !error.is_recoverable());
    assert_eq!((error.outcome(), error.exit_code()), (Outcome::RolledBack, 1));
    let report = error.report().unwrap();
    assert!(report.was_rolled_back() && !report.hosts[1].changed() && report.hosts[1].may_have_changed());
    assert_eq!(report.hosts[1].reason.as_ref().unwrap().to_string(), "answered 503 to create, 3 tries");
    assert!(error.to_string().starts_with("payments was not created: "), "{error}");
}

#[test]
fn texts_of_errors_have_no_full_stop_and_do_not_repeat_their_source() {
    let outcomes = [
        Outcome::AlreadyExists,
        Outcome::Unavailable,
        Outcome::RolledBack,
        Outcome::Cancelled,
        Outcome::TimedOut,
        Outcome::Incomplete,
        Outcome::InDoubt,
        Outcome::Unrecorded,
        Outcome::Busy,
        Outcome::Conflict,
        Outcome::JournalFailed,
    ];
    for outcome in outcomes {
        let error = Report::new(group(), Operation::Create, outcome).into_result().unwrap_err();
        let text = error.to_string();
        assert!(!text.ends_with('.') && !text.starts_with(char::is_uppercase), "{text}");
        if let Some(source) = std::error::Error::source(&error) {
            assert!(!text.contains(&source.to_string()), "{text}");
        }
    }
}

#[test]
fn cause_of_a_journal_failure_is_the_source_of_its_error() {
    let full = JournalError::new("put the key payments", std::io::ErrorKind::StorageFull.into());
    assert_eq!((full.path(), full.action()), (None, "put the key payments"));
    for outcome in [Outcome::JournalFailed, Outcome::Unrecorded] {
        let mut report = Report::new(group(), Operation::Create, outcome);
        report.cause = Some(Cause::journal(full.clone()));
        let error = report.into_result().unwrap_err();
        let source = std::error::Error::source(&error).unwrap().downcast_ref::<JournalError>();
        assert_eq!(source, Some(&full), "{outcome}");
    }
}

#[test]
fn results_of_deletes_and_bulks_can_be_made() {
    let report = Report::new(group(), Operation::Delete, Outcome::Deleted);
    let done = Completed::new(0, "payments", Operation::Delete, Ok(Deletion::from(report)));
    assert!(done.result.unwrap().complete().is_ok());
}

struct Counts(std::sync::Mutex<Vec<String>>);

impl Observer for Counts {
    fn on_event(&self, event: &Event) {
        let text = match &event.kind {
            EventKind::Answered { status: Some(status), .. } => format!("{} {status}", event.id),
            EventKind::Answered { error: Some(error), .. } => format!("{:?}", error.kind()),
            EventKind::Finished { report, .. } => report.outcome.to_string(),
            _ => return,
        };
        self.0.lock().unwrap().push(text);
    }
}

#[test]
fn observer_is_tested_with_events_made_by_a_user() {
    let counts = Counts(std::sync::Mutex::default());
    let event = |kind| Event::new(OperationId::new(7), Operation::Create, group(), kind);
    let refused = RequestError::new(RequestErrorKind::Connect, "connection refused");
    let report = Report::new(group(), Operation::Create, Outcome::Created);
    for kind in [
        EventKind::started(1),
        EventKind::entered(Phase::Create),
        EventKind::waiting("process 7 holds it", Duration::from_millis(50)),
        EventKind::participants(vec![host("node1")]),
        EventKind::failed(host("node1"), Action::Create, 1, refused, Duration::ZERO),
        EventKind::retrying(host("node1"), Action::Create, 2, Duration::from_secs(1)),
        EventKind::answered(host("node1"), Action::Create, 2, 201, Duration::ZERO),
        EventKind::reached(host("node1"), State::Present, None),
        EventKind::finished(report),
    ] {
        counts.on_event(&event(kind));
    }
    assert_eq!(*counts.0.lock().unwrap(), ["Connect", "0000000000000007 201", "created"]);
}

/// A journal of a user's test: it holds one intent, and no group is locked.
struct OneIntent(Intent);

impl Journal for OneIntent {
    fn claim(&self, _: &GroupId) -> Result<Box<dyn Claim>, ClaimError> {
        Err(ClaimError::Busy("process 7".into()))
    }

    fn unfinished(&self) -> Result<Unfinished, JournalError> {
        let stamp = Stamp::new(7, None, std::time::SystemTime::UNIX_EPOCH);
        let mut unfinished = Unfinished::default();
        unfinished.entries.push(JournalEntry::new(self.0.clone(), stamp));
        Ok(unfinished)
    }
}

#[test]
fn journal_is_tested_with_intents_made_by_a_user() {
    let hosts = Hosts::parse(["http://node1:8000", "http://node2:8000"]).unwrap();
    let paths = Api::new("/v2/groups", "/v2/groups/{id}").unwrap();
    let intent = Intent::new(group(), Purpose::create(false), &hosts).with_api(&paths);
    assert_eq!((intent.api(), intent.hosts(), intent.group()), (&paths.reference(), hosts.as_slice(), &group()));
    let text = intent.to_text(&Stamp::new(7, None, std::time::SystemTime::UNIX_EPOCH));
    assert_eq!(Intent::parse(text.as_bytes()), Ok(intent.clone()));
    let client =
        ClusterClient::builder().hosts(["http://node1:8000"]).custom_journal(std::sync::Arc::new(OneIntent(intent)));
    let recovery = client.retry(RetryPolicy::new().with_attempts(1)).build().unwrap().recover().unwrap();
    let [Error::Busy { report, .. }] = &recovery.unsettled[..] else { panic!("{recovery:?}") };
    assert_eq!((&report.group, report.cause.as_ref()), (&group(), Some(&Cause::busy("process 7"))));
}

struct Holders(std::sync::Mutex<Vec<String>>);

impl Observer for Holders {
    fn on_event(&self, event: &Event) {
        if let EventKind::Waiting { holder, .. } = &event.kind {
            self.0.lock().unwrap().push(holder.clone());
        }
    }
}

#[test]
fn events_of_a_busy_group_name_the_holder_at_each_wait() {
    let hosts = Hosts::parse(["http://node1:8000"]).unwrap();
    let intent = Intent::new(group(), Purpose::create(false), &hosts);
    let seen = std::sync::Arc::new(Holders(std::sync::Mutex::default()));
    let client = ClusterClient::builder()
        .hosts(["http://node1:8000"])
        .custom_journal(std::sync::Arc::new(OneIntent(intent)))
        .observer(seen.clone())
        .retry(RetryPolicy::new().with_attempts(3).with_first_delay(Duration::from_millis(1)));
    let error = client.build().unwrap().create_group("payments").unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error}");
    assert_eq!(*seen.0.lock().unwrap(), ["process 7", "process 7"]);
}

#[test]
fn journal_is_opened_in_build_and_only_for_a_client_that_is_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let builder = || ClusterClient::builder().hosts(["http://node1:8000"]).journal(&path);
    assert!(!path.exists());
    let refused = builder().retry(RetryPolicy::new().with_attempts(0)).build().unwrap_err();
    assert!(matches!(refused, Error::Config { .. }) && !path.exists(), "{refused}");
    builder().build().unwrap();
    assert!(path.is_dir());
    std::fs::write(directory.path().join("file"), "").unwrap();
    let refused = builder().journal(directory.path().join("file")).build().unwrap_err();
    assert!(refused.to_string().starts_with("journal directory "), "{refused}");
}

#[test]
fn options_belong_to_the_client_that_was_made_with_them() {
    let client = ClusterClient::new(["http://127.0.0.1:1"]).unwrap();
    let at_once = client.with(OperationOptions::new().timeout(Duration::ZERO));
    assert!(matches!(at_once.create_group("g"), Err(Error::TimedOut { .. })));
    // The options are replaced: the new ones have no timeout and a token.
    let cancel = CancelToken::new();
    cancel.cancel();
    let cancelled = at_once.with(OperationOptions::new().cancel(&cancel));
    assert!(matches!(cancelled.create_group("g"), Err(Error::Cancelled { .. })));
}
