//! A round of group commit: the changes of many groups in as few transactions as fit.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use super::answer::HEADER;
use super::gateway::{ErrorKind, GatewayError, PATIENCE, Query};
use super::session::{Hold, Session};
use super::sessions::Sessions;
use super::txn::{self, Effect, KeyAction, KeyChange, MAX_BYTES, MAX_CHANGES};
use crate::journal::group_commit::RoundEnd;
use crate::values::cause::JournalError;

/// The result of a change.
#[derive(Clone)]
pub(super) struct Done {
    pub(super) effect: Effect,
    /// The session of a claim.
    pub(super) hold: Option<Arc<Hold>>,
}

type Results = Vec<Result<Done, GatewayError>>;

/// Carries out the changes of a round. Each gets a result of its own.
pub(super) fn carry_out(sessions: &Sessions, changes: &[KeyChange]) -> RoundEnd<Done> {
    let mut results: Vec<Option<Result<Done, GatewayError>>> = vec![None; changes.len()];
    let session = if changes.iter().any(KeyChange::is_claim) { Some(sessions.open()) } else { None };
    let session = match session {
        Some(Err(error)) => {
            let claims = changes.iter().zip(&mut results).filter(|(change, _)| change.is_claim());
            claims.for_each(|(_, result)| *result = Some(Err(error.clone())));
            None
        }
        Some(Ok(session)) => Some(session),
        None => None,
    };
    let mut unavailable = None;
    for places in transactions(changes, &results) {
        let group: Vec<&KeyChange> = places.iter().map(|place| &changes[*place]).collect();
        let made = match &unavailable {
            // Each would wait its whole patience.
            Some(error) => vec![Err(GatewayError::clone(error)); group.len()],
            None => commit(sessions, &group, session.as_ref(), true),
        };
        let failed = made.iter().filter_map(|result| result.as_ref().err());
        unavailable = failed.into_iter().find(|error| error.kind == ErrorKind::Unavailable).cloned();
        for (place, result) in places.iter().zip(made) {
            results[*place] = Some(result);
        }
    }
    let of_change = |(change, result): (&KeyChange, Option<Result<Done, GatewayError>>)| match result {
        Some(result) => result.map_err(|error| journal_error(change, &error)),
        None => Err(JournalError::panicked()),
    };
    RoundEnd { results: changes.iter().zip(results).map(of_change).collect(), broken: None }
}

/// Groups the changes without a result into transactions. A transaction has one change of a group at most, because etcd
/// refuses two changes of one key. Changes of one group stay in order.
fn transactions<T>(changes: &[KeyChange], results: &[Option<T>]) -> Vec<Vec<usize>> {
    let mut open: Vec<usize> = (0..changes.len()).filter(|place| results[*place].is_none()).collect();
    let mut all = Vec::new();
    while !open.is_empty() {
        let (mut groups, mut size, mut taken, mut left) = (HashSet::new(), 0, Vec::new(), Vec::new());
        for place in open {
            let change = &changes[place];
            let fits = taken.len() < MAX_CHANGES && (taken.is_empty() || size + change.size() <= MAX_BYTES);
            // A group that was passed over is passed over to the end, so that its changes stay in order.
            if groups.insert(change.lock.as_str()) && fits {
                size += change.size();
                taken.push(place);
            } else {
                left.push(place);
            }
        }
        all.push(taken);
        open = left;
    }
    all
}

/// Commits changes of different groups in one transaction, or in several if it is too large. If the lease of its claims
/// has ended and `may_reopen`, it is repeated under another lease.
fn commit(sessions: &Sessions, changes: &[&KeyChange], session: Option<&Arc<Session>>, may_reopen: bool) -> Results {
    let error = match send(sessions, changes, session) {
        Ok(results) => return results,
        Err(error) => error,
    };
    match (error.kind, session) {
        (ErrorKind::LeaseNotFound, Some(session)) if may_reopen && changes.iter().any(|change| change.is_claim()) => {
            session.lose();
            match sessions.open() {
                Ok(session) => commit(sessions, changes, Some(&session), false),
                Err(error) => without_claims(sessions, changes, &error),
            }
        }
        (ErrorKind::TooLarge, _) if changes.len() > 1 => {
            let (one, other) = changes.split_at(changes.len() / 2);
            let mut results = commit(sessions, one, session, may_reopen);
            results.extend(commit(sessions, other, session, may_reopen));
            results
        }
        _ => vec![Err(error); changes.len()],
    }
}

/// Commits all changes but the claims, which fail with `error`.
fn without_claims(sessions: &Sessions, changes: &[&KeyChange], error: &GatewayError) -> Results {
    let others: Vec<&KeyChange> = changes.iter().copied().filter(|change| !change.is_claim()).collect();
    let mut results = if others.is_empty() { Vec::new() } else { commit(sessions, &others, None, false) }.into_iter();
    let mut next = || results.next().unwrap_or_else(|| Err(error.clone()));
    changes.iter().map(|change| if change.is_claim() { Err(error.clone()) } else { next() }).collect()
}

/// Sends one transaction.
fn send(sessions: &Sessions, changes: &[&KeyChange], session: Option<&Arc<Session>>) -> Result<Results, GatewayError> {
    let has_claim = changes.iter().any(|change| change.is_claim());
    // Counted before the locks can exist, so that the lease outlives them.
    let hold = |change: &&KeyChange| session.filter(|_| change.is_claim()).map(|session| Arc::new(session.hold()));
    let holds: Vec<Option<Arc<Hold>>> = changes.iter().map(hold).collect();
    let lease = session.map_or(0, |session| session.lease);
    let query = Query {
        path: "/v3/kv/txn",
        body: txn::body(changes, lease),
        header: HEADER,
        // A repetition that is hidden could create a lock after its claim has ended.
        may_repeat: !has_claim,
        until: Instant::now() + PATIENCE,
    };
    let served = sessions.gateway.call(&query);
    let was_ambiguous = match &served {
        Ok(served) => served.was_ambiguous,
        // A transaction of several changes is repeated in parts, which find what it has done.
        Err(error) => error.was_ambiguous || (error.kind == ErrorKind::TooLarge && changes.len() == 1),
    };
    if let Some(session) = session.filter(|_| has_claim && was_ambiguous) {
        // A late attempt could create a lock whose claim has ended. Its lease is revoked after the last claim.
        session.retire();
    }
    let served = served.inspect_err(|error| sessions.note_failure(error))?;
    let effects = txn::effects(changes, &served.value).ok_or_else(|| {
        GatewayError::refused("the answer to a transaction does not fit it: check the URL of the journal")
    })?;
    Ok(effects.into_iter().zip(holds).map(|(effect, hold)| Ok(Done { effect, hold })).collect())
}

/// The error of one change, with its action in words.
fn journal_error(change: &KeyChange, error: &GatewayError) -> JournalError {
    let action = match &change.action {
        KeyAction::Claim(_) => "claim the group in etcd",
        KeyAction::Record(..) => "record the intent in etcd",
        KeyAction::Erase(_) => "erase the intent in etcd",
        KeyAction::Release(_) => "release the group in etcd",
    };
    error.of(action)
}
