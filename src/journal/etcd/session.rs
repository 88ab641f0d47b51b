//! A session: one lease, and the thread that keeps it alive.
//!
//! ```text
//!   grant ──▶ open ── ambiguous claim or release, or the journal is dropped ──▶ retired ── last claim ends ──▶ over
//!               └──── the lease is lost, or was not renewed in time ────▶ lost ───────── last claim ends ──▶ over
//! ```
//! Invariants:
//! * `holds_until` is a time before the last successful renewal was sent, plus the length of the lease. So the lease
//!   ends later in etcd, whatever the delays of requests and answers are, and if the machine is suspended: see
//!   [`Moment`].
//! * A session that is not open takes no new claim. Its lease is revoked when its last claim ends, so a lock that was
//!   perhaps created, or perhaps not deleted, ends with it.

use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::answer::{HEADER, STREAM_HEADER, int};
use super::gateway::{ATTEMPT, ErrorKind, Gateway, GatewayError, Query};
use super::moment::Moment;

/// A renewal is due after this part of the lease.
const RENEWALS: u32 = 3;
/// Pause after a failed renewal.
const PAUSE: Duration = Duration::from_millis(200);
/// Time for the last request of a session.
const REVOKE: Duration = Duration::from_secs(2);

/// A lease that is kept alive while the session is open or has claims.
pub(super) struct Session {
    gateway: Arc<Gateway>,
    pub(super) lease: i64,
    ttl: Duration,
    state: Mutex<LeaseState>,
    changed: Condvar,
}

struct LeaseState {
    /// A moment before the last successful renewal was sent.
    renewed: Moment,
    /// The length of the lease from that moment.
    length: Duration,
    /// The time at which the lease was found to be lost.
    lost: Option<Instant>,
    claims: usize,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Stage {
    Open,
    /// Takes no new claim.
    Retired,
    /// The lease has ended, or is about to.
    Lost,
    /// The thread has ended.
    Over,
}

impl Session {
    /// Gets a lease, and starts its thread.
    pub(super) fn open(gateway: &Arc<Gateway>, ttl: Duration, until: Instant) -> Result<Arc<Self>, GatewayError> {
        let body = json!({ "TTL": ttl.as_secs().to_string() }).to_string();
        // A grant that was repeated leaves a lease without keys, which ends by itself.
        let query = Query { path: "/v3/lease/grant", body, header: HEADER, may_repeat: true, until };
        let granted = gateway.call(&query)?;
        let lease = int(&granted.value, "/ID");
        let ttl = granted_ttl(&granted.value, "/TTL", ttl);
        let (Some(ttl), true) = (ttl, lease != 0) else {
            let reason = granted.value.get("error").and_then(Value::as_str).unwrap_or("the answer has no lease");
            return Err(granted.refused(&format!("no lease was granted: {reason}")));
        };
        let state = LeaseState { renewed: granted.sent, length: ttl, lost: None, claims: 0, stage: Stage::Open };
        let session =
            Session { gateway: Arc::clone(gateway), lease, ttl, state: Mutex::new(state), changed: Condvar::new() };
        let session = Arc::new(session);
        let kept = Arc::clone(&session);
        let spawned = thread::Builder::new().name("cluster-client-lease".into()).spawn(move || kept.keep_alive());
        match spawned {
            Ok(_) => Ok(session),
            Err(error) => {
                session.revoke();
                Err(GatewayError::exhausted(format!("no thread to keep the lease alive: {error}")))
            }
        }
    }

    /// Returns the time until which the locks under the lease hold.
    pub(super) fn holds_until(&self) -> Instant {
        self.progress().holds_until()
    }

    /// Whether new claims may use the session.
    pub(super) fn is_open(&self) -> bool {
        let progress = self.progress();
        progress.stage == Stage::Open && Instant::now() < progress.holds_until()
    }

    /// Counts a claim, until the result is dropped.
    pub(super) fn hold(self: &Arc<Self>) -> Hold {
        self.progress().claims += 1;
        Hold(Arc::clone(self))
    }

    /// Takes no more claims, and revokes the lease when the last one ends.
    pub(super) fn retire(&self) {
        let mut progress = self.progress();
        if progress.stage < Stage::Retired {
            progress.stage = Stage::Retired;
        }
        self.changed.notify_all();
    }

    /// Ends all claims now: etcd no longer has the lease.
    pub(super) fn lose(&self) {
        let mut progress = self.progress();
        if progress.stage < Stage::Lost {
            progress.stage = Stage::Lost;
        }
        progress.lost.get_or_insert_with(Instant::now);
        self.changed.notify_all();
    }

    /// Blocks until the thread has ended, or for at most `longest`.
    pub(super) fn wait_until_over(&self, longest: Duration) {
        let is_running = |progress: &mut LeaseState| progress.stage != Stage::Over;
        drop(self.changed.wait_timeout_while(self.progress(), longest, is_running));
    }

    /// Renews the lease until the session ends. Run by the thread of the session.
    fn keep_alive(&self) {
        let mut due = Instant::now() + self.ttl / RENEWALS;
        while self.wait(due) {
            match self.renew() {
                Ok(sent) => due = sent + self.ttl / RENEWALS,
                Err(error) if error.kind == ErrorKind::LeaseNotFound => self.lose(),
                Err(_) if self.holds_until() <= Instant::now() => self.lose(),
                Err(_) => due = Instant::now() + PAUSE,
            }
        }
        // A claim that is made meanwhile has ended too.
        self.lose();
        // Requests that began under a claim end with it. Until then the lease, which may live on, keeps the group.
        let has_claims = |progress: &mut LeaseState| progress.claims > 0;
        drop(self.changed.wait_while(self.progress(), has_claims));
        self.revoke();
        self.progress().stage = Stage::Over;
        self.changed.notify_all();
    }

    /// Blocks until `due`. Returns false if the session ends instead.
    fn wait(&self, due: Instant) -> bool {
        let mut progress = self.progress();
        loop {
            let has_ended = match progress.stage {
                Stage::Open => false,
                Stage::Retired => progress.claims == 0,
                Stage::Lost | Stage::Over => true,
            };
            let left = due.saturating_duration_since(Instant::now());
            if has_ended || left.is_zero() {
                return !has_ended;
            }
            progress = self.changed.wait_timeout(progress, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Renews the lease once, at any endpoint. Returns a time before the renewal was sent.
    fn renew(&self) -> Result<Instant, GatewayError> {
        let body = json!({ "ID": self.lease.to_string() }).to_string();
        let until = self.holds_until();
        let query = Query { path: "/v3/lease/keepalive", body, header: STREAM_HEADER, may_repeat: true, until };
        let renewed = self.gateway.call(&query)?;
        // An answer without a length is about a lease that has ended.
        let Some(ttl) = granted_ttl(&renewed.value, "/result/TTL", self.ttl) else {
            return Err(GatewayError::lease_not_found());
        };
        let mut progress = self.progress();
        (progress.renewed, progress.length) = (renewed.sent, ttl);
        Ok(renewed.sent.monotonic)
    }

    /// Revokes the lease, which deletes its keys. If that fails, the lease ends by itself.
    fn revoke(&self) {
        let body = json!({ "ID": self.lease.to_string() }).to_string();
        let until = Instant::now() + REVOKE.max(ATTEMPT);
        let _ = self.gateway.call(&Query { path: "/v3/lease/revoke", body, header: HEADER, may_repeat: true, until });
    }

    /// Makes the session look as after a suspend of the machine.
    #[cfg(test)]
    pub(super) fn suspend(&self, length: Duration) {
        let mut progress = self.progress();
        progress.renewed = progress.renewed.before_suspend(length);
    }

    fn progress(&self) -> MutexGuard<'_, LeaseState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LeaseState {
    fn holds_until(&self) -> Instant {
        let end = self.renewed.end_of(self.length, Moment::now());
        self.lost.map_or(end, |lost| end.min(lost))
    }
}

/// A claim of a session, made or about to be made.
pub(super) struct Hold(Arc<Session>);

impl Deref for Hold {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.0
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut progress = self.0.progress();
        progress.claims -= 1;
        if progress.claims == 0 {
            self.0.changed.notify_all();
        }
    }
}

/// Returns the length of a lease in an answer, at most the one that was wanted. `None` if it has ended.
fn granted_ttl(answer: &Value, pointer: &str, wanted: Duration) -> Option<Duration> {
    let seconds = u64::try_from(int(answer, pointer)).ok().filter(|seconds| *seconds > 0)?;
    Some(wanted.min(Duration::from_secs(seconds)))
}
