//! Transactions: the changes of different groups, each as a nested transaction of its own.
//!
//! A change takes effect only under its own comparison, so a refused one does not affect the others. The comparison of
//! the fence (the revision at which our lock was created) makes a repetition harmless, even a late one.
//!
//! | change | compare: lock created at | then | else |
//! | --- | --- | --- | --- |
//! | claim | 0, so there is none | put the lock under the lease, read the intent | read lock and intent |
//! | record | our fence | put the intent | nothing: the claim is lost |
//! | erase | our fence | delete the intent | nothing: the claim is lost |
//! | release | our fence | delete the lock | nothing: the lock is gone |

use serde_json::{Value, json};

use super::answer::int;
use super::keys::{LockValue, decode, encode};

/// Maximum number of changes in a transaction. etcd's limit is 128 operations, from which it subtracts those of the
/// deepest level.
pub(super) const MAX_CHANGES: usize = 120;
/// Maximum size of the values in a transaction. etcd's limit is 1.5 MiB for all of it.
pub(super) const MAX_BYTES: usize = 1 << 20;
/// Size of a change without its value: its keys, which may have the longest group ids, and its numbers.
const OVERHEAD: usize = 2 << 10;

/// A change of one group.
#[derive(Debug, Clone)]
pub(super) struct KeyChange {
    pub(super) lock: String,
    pub(super) intent: String,
    pub(super) action: KeyAction,
}

#[derive(Debug, Clone)]
pub(super) enum KeyAction {
    Claim(LockValue),
    /// Puts this text.
    Record(i64, String),
    Erase(i64),
    Release(i64),
}

/// The effect of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// The group is claimed: the fence, and the text of the intent.
    Claimed(i64, Option<Vec<u8>>),
    /// Another owner holds the group.
    Busy(String),
    Changed,
    /// The lock is no longer ours.
    Lost,
}

impl KeyChange {
    pub(super) fn is_claim(&self) -> bool {
        matches!(self.action, KeyAction::Claim(_))
    }

    pub(super) fn size(&self) -> usize {
        let value = if let KeyAction::Record(_, text) = &self.action { text.len() } else { 0 };
        OVERHEAD + value
    }

    /// The nested transaction. `lease` is that of a claim.
    fn to_json(&self, lease: i64) -> Value {
        let (lock, intent) = (encode(&self.lock), encode(&self.intent));
        let if_created_at = |revision: i64, then: Value, otherwise: Value| {
            json!({ "request_txn": {
                "compare": [{ "target": "CREATE", "result": "EQUAL", "key": lock, "create_revision": revision.to_string() }],
                "success": then,
                "failure": otherwise,
            } })
        };
        let read = |key: &str| json!({ "request_range": { "key": key } });
        match &self.action {
            KeyAction::Claim(value) => {
                let value = encode(value.to_text());
                let put = json!({ "request_put": { "key": lock, "value": value, "lease": lease.to_string() } });
                if_created_at(0, json!([put, read(&intent)]), json!([read(&lock), read(&intent)]))
            }
            KeyAction::Record(fence, text) => {
                if_created_at(*fence, json!([{ "request_put": { "key": intent, "value": encode(text) } }]), json!([]))
            }
            KeyAction::Erase(fence) => {
                if_created_at(*fence, json!([{ "request_delete_range": { "key": intent } }]), json!([]))
            }
            KeyAction::Release(fence) => {
                if_created_at(*fence, json!([{ "request_delete_range": { "key": lock } }]), json!([]))
            }
        }
    }

    /// Reads the answer to the nested transaction. `None` if it has another form. `revision` is that of the whole
    /// transaction.
    fn effect(&self, answer: &Value, revision: i64) -> Option<Effect> {
        let answer = answer.get("response_txn")?;
        let has_succeeded = answer.get("succeeded").and_then(Value::as_bool).unwrap_or(false);
        let KeyAction::Claim(own) = &self.action else {
            return Some(if has_succeeded { Effect::Changed } else { Effect::Lost });
        };
        let intent = match range(answer, 1)? {
            Some(kv) => Some(decode(kv, "value")?),
            None => None,
        };
        if has_succeeded {
            return (revision > 0).then_some(Effect::Claimed(revision, intent));
        }
        let lock = range(answer, 0)??;
        match LockValue::parse(&decode(lock, "value")?) {
            // An earlier attempt has won, and its answer was lost.
            Some(found) if found.nonce == own.nonce => Some(Effect::Claimed(int(lock, "/create_revision"), intent)),
            Some(found) => Some(Effect::Busy(found.words())),
            None => Some(Effect::Busy("a holder that cannot be read holds it".into())),
        }
    }
}

/// Returns the key that the read with this number has found. The outer `None`: there is no such read.
fn range(answer: &Value, number: usize) -> Option<Option<&Value>> {
    let found = answer.pointer(&format!("/responses/{number}/response_range"))?;
    Some(found.pointer("/kvs/0"))
}

/// Returns the body of the transaction that makes these changes of different groups.
pub(super) fn body(changes: &[&KeyChange], lease: i64) -> String {
    let nested: Vec<Value> = changes.iter().map(|change| change.to_json(lease)).collect();
    json!({ "success": nested }).to_string()
}

/// Returns the effect of each change. `None` if the answer does not fit the changes.
pub(super) fn effects(changes: &[&KeyChange], answer: &Value) -> Option<Vec<Effect>> {
    let revision = int(answer, "/header/revision");
    let answers = answer.get("responses")?.as_array()?;
    if answers.len() != changes.len() {
        return None;
    }
    changes.iter().zip(answers).map(|(change, answer)| change.effect(answer, revision)).collect()
}

/// Returns the body of a transaction that changes nothing, for a check of the store: its comparison must fail. A store
/// that does not know a field ignores it, and would let every comparison succeed.
pub(super) fn self_test_body(key: &str) -> String {
    let compare = json!([{ "target": "CREATE", "result": "EQUAL", "key": encode(key), "create_revision": "1" }]);
    let read = json!([{ "request_range": { "key": encode(key) } }]);
    json!({ "success": [{ "request_txn": { "compare": compare, "success": [], "failure": read } }] }).to_string()
}

/// Returns whether the store has passed the check.
pub(super) fn passes_self_test(answer: &Value) -> bool {
    let nested = answer.pointer("/responses/0/response_txn");
    nested.is_some_and(|nested| {
        nested.get("succeeded").and_then(Value::as_bool) != Some(true) && range(nested, 0) == Some(None)
    })
}
