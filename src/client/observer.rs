//! Floor 2: who is told what happens. The log lines are one observer, a progress bar or a metric is another.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use log::{Level, log};

use crate::api::Action;
use crate::values::event::Event;
use crate::values::group::GroupId;
use crate::values::report::{Outcome, State};

/// Is told what happens while operations run.
///
/// The events of one operation come one at a time and in order, from [`Event::Started`] to
/// [`Event::Finished`], before the call that runs it returns; those of several operations mix. They come on
/// whichever thread did the work, which is held up meanwhile: return soon. A panic is caught, logged, and
/// ends the telling for this client; the operation goes on.
///
/// # Calling the client again
/// An observer may call any client, also the one that it observes: ask for a status, create, delete, recover,
/// cancel, run or drop a [`Bulk`](crate::Bulk). The same holds for a logger ([`mod@log`]), at any level and for the records
/// of ureq and rustls too, and for an [`Journal`](crate::Journal). Three things are left to the hook:
/// * It must end its own recursion: the nested call has events and log records too.
/// * It must not hold a lock of its own during the call. The work is done by several threads, and each may call the
///   hook.
/// * It must not wait, on another thread, for the return of the call that it is part of. That call waits for the
///   hook. The group of that call is busy: see [`Error::Busy`](crate::Error::Busy).
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use cluster_client::{ClusterClient, Event, GroupId, Observer};
///
/// #[derive(Default)]
/// struct Retries(AtomicUsize);
///
/// impl Observer for Retries {
///     fn on_event(&self, _: &GroupId, event: &Event) {
///         if matches!(event, Event::Retrying { .. }) {
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
    /// Something happened to the operation on `group`.
    fn on_event(&self, group: &GroupId, event: &Event);
}

/// The observers of a client: the log, and at most one of the user's.
#[derive(Clone)]
pub(crate) struct Observers {
    observer: Option<Arc<dyn Observer>>,
    broken: Arc<AtomicBool>,
}

/// The target of every log line of this crate.
const TARGET: &str = "cluster_client";

impl Observers {
    pub(crate) fn new(observer: Option<Arc<dyn Observer>>) -> Self {
        Observers { observer, broken: Arc::default() }
    }

    /// Whether there are any. If not, no event is made.
    pub(crate) fn are_there(&self) -> bool {
        let logs = || log::log_enabled!(target: TARGET, Level::Error);
        self.observer.is_some() || catch_unwind(logs).unwrap_or(false)
    }

    pub(crate) fn emit(&self, group: &GroupId, event: &Event) {
        let logged = catch_unwind(AssertUnwindSafe(|| log_event(group, event)));
        let Some(observer) = self.observer.as_ref().filter(|_| !self.broken.load(Ordering::Relaxed)) else { return };
        let told = catch_unwind(AssertUnwindSafe(|| observer.on_event(group, event)));
        if told.is_err() && !self.broken.swap(true, Ordering::Relaxed) && logged.is_ok() {
            let complain = || log::error!(target: TARGET, "the observer panicked; it is told nothing more");
            let _ = catch_unwind(complain);
        }
    }
}

/// The levels: *error* for what needs a person, *warn* for what failed or is tried again, *info* for each
/// creation, verification and deletion, *debug* for the phases.
fn log_event(group: &GroupId, event: &Event) {
    match event {
        Event::Started { operation, hosts } => {
            log!(target: TARGET, Level::Debug, group = group.as_str(); "{group}: {operation:?} on {hosts} hosts");
        }
        Event::Entered(phase) => log!(target: TARGET, Level::Debug, group = group.as_str(); "{group}: {phase}"),
        Event::Participants { .. } => {}
        Event::Answered { host, action, attempt, succeeded, answer, elapsed } => {
            let (level, text) = describe_answer(*action, *succeeded, answer);
            log!(
                target: TARGET, level,
                group = group.as_str(), host = host.as_str(), action = action.method(), attempt = *attempt;
                "{group}: {text} on {host} (try {attempt}, {elapsed:.1?})"
            );
        }
        Event::Retrying { host, action, attempt, delay } => log!(
            target: TARGET, Level::Warn,
            group = group.as_str(), host = host.as_str(), action = action.method(), attempt = *attempt;
            "{group}: {action} on {host} is tried again in {delay:.1?}"
        ),
        Event::Reached { host, state, reason } => {
            let reason = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            let level = if *state == State::Unknown { Level::Warn } else { Level::Debug };
            log!(target: TARGET, level, group = group.as_str(), host = host.as_str(); "{group}: {state} on {host}{reason}");
        }
        Event::Finished { outcome, summary, elapsed } => {
            let level = level_of(*outcome);
            log!(target: TARGET, level, group = group.as_str(); "{summary} ({elapsed:.1?})");
        }
    }
}

fn describe_answer(action: Action, succeeded: bool, answer: &str) -> (Level, String) {
    match (action, succeeded) {
        (Action::Create, true) => (Level::Info, "created".into()),
        (Action::Check, true) => (Level::Info, "verified present".into()),
        (Action::Delete, true) => (Level::Info, "deleted".into()),
        (Action::Check, false) if answer == "answered 404" => (Level::Info, "verified absent".into()),
        (_, false) => (Level::Warn, format!("{action} failed ({answer})")),
    }
}

fn level_of(outcome: Outcome) -> Level {
    match outcome {
        Outcome::InDoubt | Outcome::Unrecorded => Level::Error,
        Outcome::RolledBack | Outcome::Unavailable | Outcome::AlreadyExists => Level::Warn,
        Outcome::Created | Outcome::Finished | Outcome::Observed | Outcome::Recovered => Level::Info,
    }
}
