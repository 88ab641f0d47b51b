//! The journal in etcd, for coordinators on several machines.
//!
//! ```text
//!   EtcdJournal ── claim ──▶ EtcdClaim ── record, erase, drop
//!        └── changes ──▶ GroupCommit ──▶ round ──▶ txn ──▶ gateway ──▶ one endpoint of etcd
//!   Session: the lease of all claims, and the thread that renews it ──────▶ gateway
//! ```
//! * A lock is a key under the lease of its owner. If the owner dies, the lease ends, and etcd deletes the lock.
//! * The fence is the revision that created the lock. Each later change compares it in its transaction, so an owner that
//!   has lost its lock changes nothing any more.
//! * etcd is spoken to by its JSON gateway, over the transport of the thread engine: no runtime, no other crate.
//!
//! Deliberately absent: watches, and any key that exists while nothing is unfinished.

mod answer;
mod gateway;
mod keys;
mod login;
mod round;
mod session;
mod settings;
mod txn;
mod unfinished;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use self::answer::HEADER;
use self::gateway::{ErrorKind, Gateway, GatewayError, Query};
use self::keys::{Keys, LockValue, MAX_INTENT};
use self::round::Done;
use self::session::{Hold, Session};
pub use self::settings::EtcdJournalBuilder;
use self::txn::{Action, Change, Effect};
use super::group_commit::GroupCommit;
use super::machine::machine_name;
use super::{Claim, Journal, Unfinished};
use crate::values::cause::JournalError;
use crate::values::group::GroupId;
use crate::values::intent::{ClaimError, Intent, Stamp};

/// Time for one change at all endpoints. A new leader is elected within it.
const PATIENCE: Duration = Duration::from_secs(6);
/// Time for which a failure is remembered, so that the groups of a bulk do not wait one after the other.
const MEMORY: Duration = Duration::from_secs(2);
/// Time that the drop of the journal waits for the end of its lease.
const FAREWELL: Duration = Duration::from_secs(1);

/// Stores each intent as a key of etcd, and locks groups by keys under a lease. Coordinators on several machines that
/// use one prefix exclude each other, and recover each other's operations. Cloning is cheap, and clones share the lease
/// and transactions.
///
/// # Guarantees
/// * A claim holds as long as its lease: [`Claim::holds_until`] is a time before the last successful renewal was sent,
///   plus the length of the lease. One thread renews it, from the first claim until the journal is dropped.
/// * Every change compares the revision that created the lock, in the transaction of the change. So a claim that was
///   lost changes nothing in etcd.
/// * The groups of a process that dies are free after one length of the lease.
/// * Concurrent operations share transactions.
/// * Nothing is left below the prefix when no operation runs and none is unfinished.
/// * Errors name the endpoints and the remedy, and no secret.
///
/// # Limits
/// It needs etcd 3.4 or later with its JSON gateway, which is on by default. An intent is at most 700 KiB. Without a
/// majority of the members, no claim succeeds, and no lease ends. Before the first claim a transaction checks that the
/// store knows the fields that are used. Opening sends nothing.
///
/// ```no_run
/// use std::sync::Arc;
/// use cluster_client::{ClusterClient, EtcdJournal};
///
/// let journal = EtcdJournal::builder("etcd://etcd1:2379,etcd2:2379,etcd3:2379/payments").open()?;
/// let client = ClusterClient::builder()
///     .hosts(["http://node1:8000", "http://node2:8000"])
///     .custom_journal(Arc::new(journal))
///     .build()?;
/// # Ok::<(), cluster_client::Error>(())
/// ```
#[derive(Clone)]
pub struct EtcdJournal {
    shared: Arc<EtcdInner>,
}

struct EtcdInner {
    gateway: Arc<Gateway>,
    keys: Keys,
    ttl: Duration,
    machine: Option<String>,
    rounds: GroupCommit<Change, Done>,
    sessions: Mutex<Sessions>,
}

#[derive(Default)]
struct Sessions {
    current: Option<Arc<Session>>,
    /// The store has passed the check.
    is_tested: bool,
    /// The last failure to reach etcd, and its time.
    failure: Option<(Instant, GatewayError)>,
}

impl Sessions {
    /// The last failure to reach etcd, while it is remembered.
    fn failure(&self) -> Option<&GatewayError> {
        self.failure.as_ref().filter(|(time, _)| time.elapsed() < MEMORY).map(|(_, failure)| failure)
    }
}

impl EtcdJournal {
    /// Returns a builder for a journal at a URL such as `etcd://etcd1:2379,etcd2:2379,etcd3:2379/prefix`. `etcds://` is
    /// with TLS.
    ///
    /// ```
    /// use cluster_client::EtcdJournal;
    ///
    /// let refused = EtcdJournal::builder("etcd1:2379").open().unwrap_err();
    /// assert!(refused.to_string().contains("begins neither with etcd:// nor with etcds://"));
    /// ```
    pub fn builder(url: impl Into<String>) -> EtcdJournalBuilder {
        EtcdJournalBuilder::new(url.into())
    }

    /// The prefix of all keys, without a slash at its end.
    pub fn prefix(&self) -> &str {
        &self.shared.keys.prefix
    }

    /// The length of the lease.
    pub fn ttl(&self) -> Duration {
        self.shared.ttl
    }

    fn with(gateway: Gateway, prefix: String, ttl: Duration) -> Self {
        let shared = EtcdInner {
            gateway: Arc::new(gateway),
            keys: Keys { prefix },
            ttl,
            machine: machine_name(),
            rounds: GroupCommit::default(),
            sessions: Mutex::default(),
        };
        EtcdJournal { shared: Arc::new(shared) }
    }
}

impl fmt::Debug for EtcdJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdJournal").field("prefix", &self.prefix()).finish_non_exhaustive()
    }
}

impl Journal for EtcdJournal {
    fn claim(&self, group: &GroupId) -> Result<Box<dyn Claim>, ClaimError> {
        let (change, stamp) = self.shared.claim_of(group);
        let done = self.shared.change(change).map_err(ClaimError::Failed)?;
        self.shared.claimed(group, stamp, done)
    }

    fn unfinished(&self) -> Result<Unfinished, JournalError> {
        unfinished::read(&self.shared.gateway, &self.shared.keys)
    }

    fn lease(&self) -> Option<Duration> {
        Some(self.shared.ttl)
    }
}

impl EtcdInner {
    fn claim_of(&self, group: &GroupId) -> (Change, Stamp) {
        let stamp = Stamp::new(std::process::id(), self.machine.as_deref(), SystemTime::now());
        (self.change_of(group, Action::Claim(LockValue::new(&stamp))), stamp)
    }

    fn change_of(&self, group: &GroupId, action: Action) -> Change {
        Change { lock: self.keys.lock(group), intent: self.keys.intent(group), action }
    }

    /// Makes a change together with those of other threads.
    fn change(&self, change: Change) -> Result<Done, JournalError> {
        self.rounds.join(change, |changes| round::carry_out(self, changes))
    }

    /// Returns the claim that a transaction has won.
    fn claimed(self: &Arc<Self>, group: &GroupId, stamp: Stamp, done: Done) -> Result<Box<dyn Claim>, ClaimError> {
        let (fence, text) = match done.effect {
            Effect::Claimed(fence, text) => (fence, text),
            Effect::Busy(holder) => return Err(ClaimError::Busy(holder)),
            Effect::Changed | Effect::Lost => return Err(ClaimError::Failed(JournalError::panicked())),
        };
        let Some(session) = done.hold else { return Err(ClaimError::Failed(JournalError::panicked())) };
        let shared = Arc::clone(self);
        let lost = AtomicBool::new(false);
        let mut claim = EtcdClaim { shared, session, group: group.clone(), stamp, fence, lost, inherited: None };
        if let Some(text) = text {
            let key = self.keys.intent(group);
            let entry = keys::entry(&key, group.as_str().as_bytes(), &text).map_err(|problem| {
                ClaimError::Failed(JournalError::new("read the intent in etcd", invalid(problem)))
            })?;
            claim.inherited = Some(entry.intent().clone());
        }
        Ok(Box::new(claim))
    }

    /// Returns the session for new claims. Opens one if there is none, after the check of the store.
    fn session(&self) -> Result<Arc<Session>, GatewayError> {
        let sessions = self.sessions();
        let current = sessions.current.as_ref().filter(|session| session.is_open()).cloned();
        if let Some(failure) = sessions.failure() {
            return Err(failure.clone());
        }
        let is_tested = sessions.is_tested;
        // No lock is held during a request, because a logger may call the journal.
        drop(sessions);
        if let Some(session) = current {
            return Ok(session);
        }
        let until = Instant::now() + PATIENCE;
        let opened = if is_tested { Ok(()) } else { self.test(until) };
        let opened = opened.and_then(|()| Session::open(&self.gateway, self.ttl, until));
        let session = opened.inspect_err(|error| self.note_failure(error))?;
        let mut sessions = self.sessions();
        sessions.is_tested = true;
        let older = sessions.current.replace(Arc::clone(&session));
        drop(sessions);
        if let Some(older) = older {
            older.retire();
        }
        Ok(session)
    }

    /// Checks that the store knows comparisons and nested transactions.
    fn test(&self, until: Instant) -> Result<(), GatewayError> {
        let body = txn::self_test_body(&self.keys.locks());
        let query = Query { path: "/v3/kv/txn", body, header: HEADER, may_repeat: true, until };
        if txn::passes_self_test(&self.gateway.call(&query)?.value) {
            return Ok(());
        }
        let problem = "the store ignores a comparison that must fail, so it cannot lock: use etcd 3.4 or later";
        Err(GatewayError::refused(problem))
    }

    /// Remembers that etcd cannot be reached.
    fn note_failure(&self, error: &GatewayError) {
        if matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Refused) {
            self.sessions().failure = Some((Instant::now(), error.clone()));
        }
    }

    /// Whether etcd could not be reached a moment ago.
    fn has_failed(&self) -> bool {
        self.sessions().failure().is_some()
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for EtcdInner {
    fn drop(&mut self) {
        let current = self.sessions().current.take();
        if let Some(session) = current {
            session.retire();
            session.wait_until_over(FAREWELL);
        }
    }
}

/// The lock on one group.
struct EtcdClaim {
    shared: Arc<EtcdInner>,
    session: Arc<Hold>,
    group: GroupId,
    stamp: Stamp,
    /// The revision that created the lock.
    fence: i64,
    /// The lock is gone although the lease may live.
    lost: AtomicBool,
    inherited: Option<Intent>,
}

impl Claim for EtcdClaim {
    fn inherited(&self) -> Option<&Intent> {
        self.inherited.as_ref()
    }

    fn holds_until(&self) -> Option<Instant> {
        let until = self.session.holds_until();
        Some(if self.lost.load(Ordering::Relaxed) { until.min(Instant::now()) } else { until })
    }

    fn record(&mut self, intent: &Intent) -> Result<(), JournalError> {
        let change = self.change_to(Some(intent))?;
        self.changed(self.shared.change(change))
    }

    fn erase(&mut self) -> Result<(), JournalError> {
        let change = self.change_to(None)?;
        self.changed(self.shared.change(change))
    }
}

impl EtcdClaim {
    /// The change that records this intent, or erases the current one.
    fn change_to(&self, intent: Option<&Intent>) -> Result<Change, JournalError> {
        let Some(intent) = intent else { return Ok(self.shared.change_of(&self.group, Action::Erase(self.fence))) };
        let text = self.text_of(intent);
        let text = text.map_err(|problem| JournalError::new("record the intent in etcd", invalid(problem)))?;
        Ok(self.shared.change_of(&self.group, Action::Record(self.fence, text)))
    }

    fn changed(&self, done: Result<Done, JournalError>) -> Result<(), JournalError> {
        if done?.effect == Effect::Changed {
            return Ok(());
        }
        self.lost.store(true, Ordering::Relaxed);
        Err(JournalError::claim_lost())
    }

    /// The text of an intent. Refuses an intent that could not be stored or read again, before anything is sent.
    fn text_of(&self, intent: &Intent) -> Result<String, String> {
        if intent.group() != &self.group {
            return Err(format!("the intent is of another group, {:?}", intent.group().as_str()));
        }
        let text = intent.to_text(&self.stamp);
        if text.len() > MAX_INTENT {
            return Err(format!("the intent has {} bytes, more than {MAX_INTENT}: split the cluster", text.len()));
        }
        match Intent::parse(text.as_bytes()) {
            Ok(_) => Ok(text),
            Err(reason) => Err(format!("the intent could not be read again, {reason}")),
        }
    }
}

impl Drop for EtcdClaim {
    fn drop(&mut self) {
        if self.session.holds_until() <= Instant::now() {
            return;
        }
        let release = self.shared.change_of(&self.group, Action::Release(self.fence));
        // While etcd cannot be reached, each claim would wait its whole patience.
        if self.shared.has_failed() || self.shared.change(release).is_err() {
            // The lock may stay. It ends with the lease.
            self.session.retire();
        }
    }
}

fn invalid(problem: String) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, problem)
}
