//! Transactions: the changes of different groups, each as a nested transaction of its own.
//!
//! A change takes effect only under its own comparison, so a refused one does not affect the others. The fence is the
//! revision at which our lock was created, so nothing is changed under the lock of another owner.
//!
//! A record or an erasure also compares the version of the lock, and touches it, which makes the next version. So each
//! takes effect once and in its order, although a repetition of it may arrive late: at a member that was stopped, for
//! example. Otherwise a late record could bring back an intent that was erased since, and a late erasure could remove the
//! intent of the next operation.
//!
//! | change | compare: lock created at | its version | then | else |
//! | --- | --- | --- | --- | --- |
//! | claim | 0, so there is none | | put the lock under the lease, read the intent | read lock and intent |
//! | record | our fence | the last we know | put the intent, touch the lock | read the lock |
//! | erase | our fence | the last we know | delete the intent, touch the lock | read the lock |
//! | release | our fence | any | delete the lock | nothing: the lock is gone |

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
    Record(Fence, String),
    Erase(Fence),
    Release(Fence),
}

/// What a change compares: the revision that created our lock, and the version of the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fence {
    pub(super) created: i64,
    pub(super) version: i64,
}

/// The effect of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// The group is claimed: the fence, and the text of the intent.
    Claimed(i64, Option<Vec<u8>>),
    /// Another owner holds the group.
    Busy(String),
    Changed,
    /// The lock is ours, but has this version.
    Moved(i64),
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
        let created_at = |revision: i64| json!({ "target": "CREATE", "result": "EQUAL", "key": lock, "create_revision": revision.to_string() });
        let if_all = |compare: Value, then: Value, otherwise: Value| json!({ "request_txn": { "compare": compare, "success": then, "failure": otherwise } });
        let read = |key: &str| json!({ "request_range": { "key": key } });
        let in_order = |fence: &Fence, change: Value| {
            let version =
                json!({ "target": "VERSION", "result": "EQUAL", "key": lock, "version": fence.version.to_string() });
            let touch = json!({ "request_put": { "key": lock, "ignore_value": true, "ignore_lease": true } });
            if_all(json!([created_at(fence.created), version]), json!([change, touch]), json!([read(&lock)]))
        };
        match &self.action {
            KeyAction::Claim(value) => {
                let value = encode(value.to_text());
                let put = json!({ "request_put": { "key": lock, "value": value, "lease": lease.to_string() } });
                if_all(json!([created_at(0)]), json!([put, read(&intent)]), json!([read(&lock), read(&intent)]))
            }
            KeyAction::Record(fence, text) => {
                in_order(fence, json!({ "request_put": { "key": intent, "value": encode(text) } }))
            }
            KeyAction::Erase(fence) => in_order(fence, json!({ "request_delete_range": { "key": intent } })),
            KeyAction::Release(fence) => {
                let delete = json!({ "request_delete_range": { "key": lock } });
                if_all(json!([created_at(fence.created)]), json!([delete]), json!([]))
            }
        }
    }

    /// Reads the answer to the nested transaction. `None` if it has another form. `revision` is that of the whole
    /// transaction.
    fn effect(&self, answer: &Value, revision: i64) -> Option<Effect> {
        let answer = answer.get("response_txn")?;
        let has_succeeded = answer.get("succeeded").and_then(Value::as_bool).unwrap_or(false);
        let own = match &self.action {
            KeyAction::Claim(own) => own,
            _ if has_succeeded => return Some(Effect::Changed),
            KeyAction::Release(_) => return Some(Effect::Lost),
            KeyAction::Record(fence, _) | KeyAction::Erase(fence) => {
                let lock = found(answer, 0)?.first().filter(|lock| int(lock, "/create_revision") == fence.created);
                return Some(lock.map_or(Effect::Lost, |lock| Effect::Moved(int(lock, "/version"))));
            }
        };
        let intent = match found(answer, 1)? {
            [kv, ..] => Some(decode(kv, "value")?),
            [] => None,
        };
        if has_succeeded {
            return (revision > 0).then_some(Effect::Claimed(revision, intent));
        }
        let lock = found(answer, 0)?.first()?;
        match LockValue::parse(&decode(lock, "value")?) {
            // An earlier attempt has won, and its answer was lost.
            Some(value) if value.nonce == own.nonce => Some(Effect::Claimed(int(lock, "/create_revision"), intent)),
            Some(value) => Some(Effect::Busy(value.words())),
            None => Some(Effect::Busy("a holder that cannot be read holds it".into())),
        }
    }
}

/// Returns the keys that the read with this number has found. `None` if there is no such read.
fn found(answer: &Value, number: usize) -> Option<&[Value]> {
    let read = answer.pointer(&format!("/responses/{number}/response_range"))?;
    Some(read.get("kvs").and_then(Value::as_array).map_or(&[], Vec::as_slice))
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

/// Returns the body of a transaction that changes nothing, for a check of the store. Its comparisons must fail, also that
/// of the nested transaction: a store that does not know a field ignores it, and would let every comparison succeed.
///
/// etcd checks the user's permissions for both branches, but 3.4 and 3.5 not for nested transactions. So the outer
/// branches read and delete `key`, which never exists.
pub(super) fn self_test_body(key: &str) -> String {
    let key = encode(key);
    let compare = json!([{ "target": "CREATE", "result": "EQUAL", "key": key, "create_revision": "1" }]);
    let read = json!({ "request_range": { "key": key } });
    let delete = json!({ "request_delete_range": { "key": key } });
    let nested = json!({ "request_txn": { "compare": compare, "success": [], "failure": [read] } });
    json!({ "compare": compare, "success": [delete], "failure": [read, nested] }).to_string()
}

/// Returns whether the store has passed the check.
pub(super) fn passes_self_test(answer: &Value) -> bool {
    let has_failed = |answer: &Value| {
        answer.get("succeeded").and_then(Value::as_bool) != Some(true)
            && found(answer, 0).is_some_and(<[Value]>::is_empty)
    };
    has_failed(answer) && answer.pointer("/responses/1/response_txn").is_some_and(has_failed)
}
