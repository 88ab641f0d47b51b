//! Floor 3: observers receive the events of operations. The log is one observer, a user's type is another.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use log::{Level, log};

use crate::api::Action;
use crate::values::answer_problem::AnswerProblem;
use crate::values::cause::RequestError;
use crate::values::event::{Event, EventKind};
use crate::values::outcome::Outcome;
use crate::values::printable::Printable;
use crate::values::report::{Report, State};

/// Receives events while operations run.
///
/// The events of one operation come one at a time and in order, from [`EventKind::Started`] to
/// [`EventKind::Finished`]. All come before the call that runs the operation returns. Events of several operations
/// interleave. They come on the thread that did the work, and block it, so return soon. A panic is caught and logged.
/// After it the observer receives no more events of this client, and the operation continues.
///
/// The events are data: nothing has to be parsed out of text. Words for labels of metrics are in `as_str` of each enum.
/// The number of bytes is not among them, because the engines do not count bytes. The examples `prometheus`, `spans` and
/// `progress_bar` are whole programs.
///
/// # Calling the client again
/// An observer may call any client, also the client that it observes: ask for a status, create, delete, recover,
/// cancel, run or drop a [`Bulk`](crate::Bulk). So may a [`Journal`](crate::Journal), and a logger (of the crate `log`) at any
/// level, even for records of ureq and rustls. Three rules apply to such an observer, journal or logger:
/// * It must end its own recursion: the nested call has events and log records too.
/// * It must not hold a lock of its own during the call, because several threads may call it.
/// * It must not block, through another thread, until the outer call returns. The outer call blocks until the observer
///   returns. The group of the outer call is busy: see [`Error::Busy`](crate::Error::Busy).
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use cluster_client::{ClusterClient, Event, EventKind, Observer};
///
/// #[derive(Default)]
/// struct Retries(AtomicUsize);
///
/// impl Observer for Retries {
///     fn on_event(&self, event: &Event) {
///         if matches!(event.kind, EventKind::Retrying { .. }) {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
///
/// let retries = Arc::new(Retries::default());
/// let client = ClusterClient::builder().hosts(["http://node1:8000"]).observer(retries.clone()).build()?;
/// # Ok::<(), cluster_client::Error>(())
/// ```
pub trait Observer: Send + Sync {
    /// Called for each event of an operation.
    fn on_event(&self, event: &Event);
}

/// The observers of a client: the log, and at most one observer of the user.
#[derive(Clone)]
pub(crate) struct Observers {
    observer: Option<Arc<dyn Observer>>,
    has_panicked: Arc<AtomicBool>,
}

/// The target of every log line of this crate.
const TARGET: &str = "cluster_client";

impl Observers {
    pub(crate) fn new(observer: Option<Arc<dyn Observer>>) -> Self {
        Observers { observer, has_panicked: Arc::default() }
    }

    /// Returns whether there are any. If not, no event is created.
    pub(crate) fn are_there(&self) -> bool {
        let logs = || log::log_enabled!(target: TARGET, Level::Error);
        self.observer.is_some() || catch_unwind(logs).unwrap_or(false)
    }

    pub(crate) fn emit(&self, event: &Event) {
        let logged = catch_unwind(AssertUnwindSafe(|| log_event(event)));
        let Some(observer) = self.observer.as_ref().filter(|_| !self.has_panicked.load(Ordering::Relaxed)) else {
            return;
        };
        let called = catch_unwind(AssertUnwindSafe(|| observer.on_event(event)));
        if called.is_err() && !self.has_panicked.swap(true, Ordering::Relaxed) && logged.is_ok() {
            let warn = || log::error!(target: TARGET, "the observer panicked; it receives no more events");
            let _ = catch_unwind(warn);
        }
    }
}

/// Writes an event to the log. Its level is *error* for results that need a person, and *warn* for failures and
/// retries. It is *info* for each creation, verification and deletion, and *debug* for the phases.
fn log_event(event: &Event) {
    let Event { id, operation, group, kind } = event;
    let (operation, name) = (operation.as_str(), group.as_str());
    match kind {
        EventKind::Started { hosts } => {
            log!(target: TARGET, Level::Debug, id:% = id, operation = operation, group = name; "{group}: {operation}, number of hosts: {hosts}");
        }
        EventKind::Entered { phase } => {
            log!(target: TARGET, Level::Debug, id:% = id, operation = operation, group = name; "{group}: {phase}");
        }
        EventKind::Waiting { holder, delay } => {
            let holder = Printable::new(holder);
            log!(target: TARGET, Level::Debug, id:% = id, operation = operation, group = name; "{group}: {holder}, tried again in {delay:.1?}");
        }
        EventKind::Participants { .. } => {}
        EventKind::Answered {
            host,
            action,
            attempt,
            status,
            problem,
            error,
            elapsed,
            bytes_sent,
            bytes_received,
            ..
        } => {
            let (level, done) = done(kind);
            let step =
                LoggedAnswer { action: *action, done, status: *status, problem: *problem, error: error.as_ref() };
            log!(
                target: TARGET, level,
                id:% = id, operation = operation, group = name, host = host.as_str(), action = action.as_str(),
                attempt = *attempt, status = *status, error = error.as_ref().map(|error| error.kind().as_str()),
                elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
                bytes_sent = *bytes_sent, bytes_received = *bytes_received;
                "{group}: {step} on {host} (try {attempt}, {elapsed:.1?})"
            );
        }
        EventKind::Retrying { host, action, attempt, delay } => log!(
            target: TARGET, Level::Warn,
            id:% = id, operation = operation, group = name, host = host.as_str(), action = action.as_str(),
            attempt = *attempt;
            "{group}: {action} on {host} is retried in {delay:.1?}"
        ),
        EventKind::Reached { host, state, reason } => {
            let reason = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            let level = if *state == State::Unknown { Level::Warn } else { Level::Debug };
            log!(
                target: TARGET, level, id:% = id, operation = operation, group = name, host = host.as_str();
                "{group}: {state} on {host}{reason}"
            );
        }
        EventKind::Finished { report } => {
            let (level, outcome) = (level_of(report), report.outcome.as_str());
            log!(
                target: TARGET, level, id:% = id, operation = operation, group = name, outcome = outcome;
                "{} ({:.1?})", report.summary(), report.elapsed
            );
        }
    }
}

/// Returns the level of an answer's line, and the change or state that the answer confirms.
fn done(answered: &EventKind) -> (Level, Option<&'static str>) {
    match answered {
        EventKind::Answered { action: Action::Create, succeeded: true, .. } => (Level::Info, Some("created")),
        EventKind::Answered { action: Action::Check, succeeded: true, .. } => (Level::Info, Some("verified present")),
        EventKind::Answered { action: Action::Delete, succeeded: true, .. } => (Level::Info, Some("deleted")),
        EventKind::Answered { action: Action::Check, denied: true, .. } => (Level::Info, Some("verified absent")),
        _ => (Level::Warn, None),
    }
}

/// An answer as a part of a log line.
struct LoggedAnswer<'a> {
    action: Action,
    done: Option<&'static str>,
    status: Option<u16>,
    problem: Option<AnswerProblem>,
    error: Option<&'a RequestError>,
}

impl fmt::Display for LoggedAnswer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.done, self.status, self.error) {
            (Some(done), ..) => f.write_str(done),
            (None, Some(status), _) => {
                write!(f, "{} failed (answered {status}", self.action)?;
                self.problem.map_or(Ok(()), |problem| write!(f, ", {problem}"))?;
                f.write_str(")")
            }
            (None, None, Some(error)) => write!(f, "{} failed ({error})", self.action),
            (None, None, None) => write!(f, "{} failed", self.action),
        }
    }
}

fn level_of(report: &Report) -> Level {
    match report.outcome {
        Outcome::InDoubt | Outcome::Incomplete | Outcome::Unrecorded => Level::Error,
        outcome if outcome.is_success() => Level::Info,
        _ => Level::Warn,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::values::host::Host;

    #[test]
    fn level_of_an_answer_comes_from_its_data() {
        let host = || Host::parse("http://n").unwrap();
        let answered = |action, status| EventKind::answered(host(), action, 1, status, Duration::ZERO);
        for (kind, level, words) in [
            (answered(Action::Create, 201), Level::Info, Some("created")),
            (answered(Action::Check, 200), Level::Info, Some("verified present")),
            (answered(Action::Check, 404), Level::Info, Some("verified absent")),
            (answered(Action::Delete, 204), Level::Info, Some("deleted")),
            (answered(Action::Delete, 404), Level::Warn, None),
            (answered(Action::Create, 404), Level::Warn, None),
            (answered(Action::Check, 503), Level::Warn, None),
        ] {
            assert_eq!(done(&kind), (level, words), "{kind:?}");
        }
    }
}
