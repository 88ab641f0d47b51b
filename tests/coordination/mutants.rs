//! The journal of a coordinator, and mistakes that are made on purpose, so that each check can be seen to fail.
//!
//! A mistake is a journal around the true one.

use std::sync::Arc;
use std::time::Instant;

use cluster_client::{Claim, ClaimError, EtcdJournal, GroupId, Intent, Journal, JournalError, Unfinished};

use crate::coordinator::TTL;
use crate::etcd::{PASSWORD, USER};
use crate::lane::PREFIX;

/// Names the mistake of a coordinator.
pub(crate) const VARIABLE: &str = "COORDINATOR_MUTANT";
/// Whether etcd asks for a user.
pub(crate) const AUTH: &str = "COORDINATOR_AUTH";

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mutant {
    /// Never looks whether the claim still holds.
    NoLook,
    /// Keeps each lock until the process ends.
    KeepLocks,
    /// Says that an intent is erased, and keeps it.
    KeepIntents,
    /// Works on a group that another one holds.
    NoLocks,
    /// Finds nothing to recover, and takes over nothing.
    NoRecovery,
}

pub(crate) const ALL: [&str; 5] = ["no-look", "keep-locks", "keep-intents", "no-locks", "no-recovery"];

fn mutant(name: &str) -> Option<Mutant> {
    let all = [Mutant::NoLook, Mutant::KeepLocks, Mutant::KeepIntents, Mutant::NoLocks, Mutant::NoRecovery];
    let place = ALL.iter().position(|known| *known == name)?;
    Some(all[place])
}

/// The journal that the test names, with the mistake that it asks for.
pub(crate) fn journal(place: &str) -> Arc<dyn Journal> {
    let name = std::env::var(VARIABLE).unwrap_or_default();
    let journal = open(place);
    if let Some(mutant) = mutant(&name) {
        return Arc::new(Mistaken { journal, mutant });
    }
    assert!(name.is_empty(), "no such mutant: {name}");
    journal
}

fn open(members: &str) -> Arc<dyn Journal> {
    let builder = EtcdJournal::builder(format!("etcd://{members}{}", PREFIX.trim_end_matches('/'))).ttl(TTL);
    let auth = !std::env::var(AUTH).unwrap_or_default().is_empty();
    let builder = if auth { builder.user(USER, PASSWORD).allow_plain_http(true) } else { builder };
    Arc::new(builder.open().unwrap())
}

struct Mistaken {
    journal: Arc<dyn Journal>,
    mutant: Mutant,
}

struct MistakenClaim {
    /// `None` for a claim that was not given.
    claim: Option<Box<dyn Claim>>,
    mutant: Mutant,
}

impl Journal for Mistaken {
    fn claim(&self, group: &GroupId) -> Result<Box<dyn Claim>, ClaimError> {
        let claim = match self.journal.claim(group) {
            Ok(claim) => Some(claim),
            Err(ClaimError::Busy(_)) if self.mutant == Mutant::NoLocks => None,
            Err(error) => return Err(error),
        };
        Ok(Box::new(MistakenClaim { claim, mutant: self.mutant }))
    }

    fn unfinished(&self) -> Result<Unfinished, JournalError> {
        if self.mutant == Mutant::NoRecovery { Ok(Unfinished::default()) } else { self.journal.unfinished() }
    }
}

impl Claim for MistakenClaim {
    fn inherited(&self) -> Option<&Intent> {
        if self.mutant == Mutant::NoRecovery { None } else { self.claim.as_ref()?.inherited() }
    }

    fn holds_until(&self) -> Option<Instant> {
        if self.mutant == Mutant::NoLook { None } else { self.claim.as_ref()?.holds_until() }
    }

    fn record(&mut self, intent: &Intent) -> Result<(), JournalError> {
        self.claim.as_mut().map_or(Ok(()), |claim| claim.record(intent))
    }

    fn erase(&mut self) -> Result<(), JournalError> {
        match &mut self.claim {
            Some(claim) if self.mutant != Mutant::KeepIntents => claim.erase(),
            _ => Ok(()),
        }
    }
}

impl Drop for MistakenClaim {
    fn drop(&mut self) {
        if self.mutant == Mutant::KeepLocks {
            std::mem::forget(self.claim.take());
        }
    }
}
