//! The keys of a journal below its prefix, and the values in them.
//!
//! | key | value | exists |
//! | --- | --- | --- |
//! | `PREFIX/lock/<group>` | [`LockValue`], under the lease of its owner | while an operation runs |
//! | `PREFIX/intent/<group>` | the text of an intent | while an operation is unfinished |

use std::hash::{BuildHasher as _, RandomState};
use std::time::SystemTime;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::journal::JournalEntry;
use crate::values::group::GroupId;
use crate::values::intent::{Stamp, UnreadableIntent};

/// Maximum size of an intent, in bytes. Its answer in base64 fits into the largest body that is read.
pub(super) const MAX_INTENT: usize = 700 << 10;
/// The remedy for a value that is no intent, to be carried out by a person.
pub(super) const BY_HAND: &str =
    "ask for the status of its group, delete the key with `etcdctl del`, then repair the group";
/// Maximum number of characters of a holder in an error.
const MAX_HOLDER: usize = 120;

/// The keys of one journal.
#[derive(Debug, Clone)]
pub(super) struct KeyNames {
    pub(super) prefix: String,
}

impl KeyNames {
    pub(super) fn lock(&self, group: &GroupId) -> String {
        format!("{}/lock/{}", self.prefix, group.as_str())
    }

    pub(super) fn intent(&self, group: &GroupId) -> String {
        format!("{}/intent/{}", self.prefix, group.as_str())
    }

    /// The start of the keys of all intents.
    pub(super) fn intents(&self) -> String {
        format!("{}/intent/", self.prefix)
    }

    /// The start of the keys of all locks.
    pub(super) fn locks(&self) -> String {
        format!("{}/lock/", self.prefix)
    }
}

/// Returns the range of all keys that begin with `start`, which ends in a slash. `0` is the character after it.
pub(super) fn end_of(start: &str) -> String {
    format!("{}0", start.strip_suffix('/').unwrap_or(start))
}

pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// Returns the bytes of a field of a key. A missing field is empty.
pub(super) fn decode(kv: &Value, field: &str) -> Option<Vec<u8>> {
    match kv.get(field) {
        None => Some(Vec::new()),
        Some(text) => BASE64_STANDARD.decode(text.as_str()?).ok(),
    }
}

/// The content of a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LockValue {
    /// The process and its machine.
    pub(super) holder: String,
    /// Start of the operation: UTC, to the second.
    pub(super) started: String,
    /// Distinguishes the claims of all processes.
    pub(super) nonce: String,
    /// Number of the last change of the intent under this lock.
    pub(super) step: u32,
}

impl LockValue {
    pub(super) fn new(stamp: &Stamp) -> Self {
        LockValue { holder: stamp.writer().into(), started: stamp.started().into(), nonce: nonce(), step: 0 }
    }

    /// The value in etcd. The step is last and has one length, so the texts of one claim are in the order of its steps.
    pub(super) fn to_text(&self) -> String {
        let step = format!("{:010}", self.step);
        json!({ "holder": self.holder, "nonce": self.nonce, "started": self.started, "step": step }).to_string()
    }

    /// Reads a value. Anybody may have written it.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let step = value.get("step")?.as_str()?.parse().ok()?;
        let text = |name: &str| Some(value.get(name)?.as_str()?.chars().take(MAX_HOLDER).collect());
        Some(LockValue { holder: text("holder")?, started: text("started")?, nonce: text("nonce")?, step })
    }

    /// The holder in words.
    pub(super) fn words(&self) -> String {
        format!("{} holds it since {}", self.holder, self.started)
    }
}

/// Returns a text that no other claim has: a claim that finds its own nonce in a lock has won.
///
/// The keys of the hashes are random numbers of the system, so neither a program that seeds `fastrand` nor one that runs
/// in two containers with one name repeats them. A forked process has the keys of its parent, and another id.
fn nonce() -> String {
    let hash = || RandomState::new().hash_one((std::process::id(), SystemTime::now(), fastrand::u64(..)));
    format!("{:016x}{:016x}", hash(), hash())
}

/// Reads the intent of the group whose id has these bytes. Errors name the key and the remedy.
pub(super) fn entry(key: &str, group: &[u8], text: &[u8]) -> Result<JournalEntry, String> {
    let remedy = |reason: &UnreadableIntent| reason.remedy_of_another_version().unwrap_or(BY_HAND);
    let entry =
        JournalEntry::parse(text).map_err(|reason| format!("{key}: {}: {}", reason.problem(), remedy(&reason)))?;
    if entry.group().as_str().as_bytes() != group {
        return Err(format!("{key}: it is of another group, {:?}: {BY_HAND}", entry.group().as_str()));
    }
    Ok(entry)
}
