//! The sessions of a journal: the one for new claims, and what is known of etcd.
//!
//! Before the first session, a transaction that must fail checks the store. A failure to reach etcd is remembered for a
//! short time, so that the groups of a bulk do not wait for it one after the other.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::answer::HEADER;
use super::gateway::{ErrorKind, Gateway, GatewayError, PATIENCE, Query};
use super::session::Session;
use super::txn;

/// Time for which a failure is remembered.
const MEMORY: Duration = Duration::from_secs(2);
/// Time that the drop waits for the end of the lease.
const FAREWELL: Duration = Duration::from_secs(1);

pub(super) struct Sessions {
    pub(super) gateway: Arc<Gateway>,
    pub(super) ttl: Duration,
    /// A key that never exists, for the check of the store.
    absent_key: String,
    state: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    current: Option<Arc<Session>>,
    /// The store has passed the check.
    is_tested: bool,
    /// The last failure to reach etcd, and its time.
    failure: Option<(Instant, GatewayError)>,
}

impl Sessions {
    pub(super) fn new(gateway: Gateway, ttl: Duration, absent_key: String) -> Self {
        Sessions { gateway: Arc::new(gateway), ttl, absent_key, state: Mutex::default() }
    }

    /// Returns the session for new claims. Opens one if there is none.
    pub(super) fn open(&self) -> Result<Arc<Session>, GatewayError> {
        let known = self.known();
        if let Some(failure) = known.failure() {
            return Err(failure.clone());
        }
        if let Some(session) = known.current.as_ref().filter(|session| session.is_open()) {
            return Ok(Arc::clone(session));
        }
        let is_tested = known.is_tested;
        // No lock is held during a request, because a logger may call the journal.
        drop(known);
        let until = Instant::now() + PATIENCE;
        let tested = if is_tested { Ok(()) } else { self.test(until) };
        let opened = tested.and_then(|()| Session::open(&self.gateway, self.ttl, until));
        let session = opened.inspect_err(|error| self.note_failure(error))?;
        let mut known = self.known();
        known.is_tested = true;
        let older = known.current.replace(Arc::clone(&session));
        drop(known);
        if let Some(older) = older {
            older.retire();
        }
        Ok(session)
    }

    /// Checks that the store knows comparisons and nested transactions.
    fn test(&self, until: Instant) -> Result<(), GatewayError> {
        let body = txn::self_test_body(&self.absent_key);
        let query = Query { path: "/v3/kv/txn", body, header: HEADER, may_repeat: true, until };
        let served = self.gateway.call(&query)?;
        if txn::passes_self_test(&served.value) {
            return Ok(());
        }
        let problem = "the store ignores a comparison that must fail, so it cannot lock: use etcd 3.4 or later";
        Err(served.refused(problem))
    }

    /// Remembers that etcd cannot be reached.
    pub(super) fn note_failure(&self, error: &GatewayError) {
        if matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Refused) {
            self.known().failure = Some((Instant::now(), error.clone()));
        }
    }

    /// Whether etcd could not be reached a moment ago.
    pub(super) fn has_failed(&self) -> bool {
        self.known().failure().is_some()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// The last failure to reach etcd, while it is remembered.
    fn failure(&self) -> Option<&GatewayError> {
        self.failure.as_ref().filter(|(time, _)| time.elapsed() < MEMORY).map(|(_, failure)| failure)
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        let current = self.known().current.take();
        if let Some(session) = current {
            session.retire();
            session.wait_until_over(FAREWELL);
        }
    }
}
