//! Transactions: the changes of different groups, each as a nested transaction of its own.
//!
//! A change takes effect only under its own comparisons, so a refused one does not affect the others. The fence is the
//! revision that created our lock.
//!
//! An attempt without an answer may be applied late: a record even after the erase that followed it. So each change of
//! the intent writes a higher step into the lock, and compares that the lock has a lower one. A repetition, however
//! late, finds its own step or a higher one, and changes nothing.
//!
//! | change | comparisons | then | else |
//! | --- | --- | --- | --- |
//! | claim | no lock | put the lock under the lease, read the intent | read lock and intent |
//! | record | our fence, a lower step | put step and intent | read the lock: our step, or the claim is lost |
//! | erase | our fence, a lower step | put the step, delete the intent | read the lock: our step, or the claim is lost |
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
    Record(Step, String),
    Erase(Step),
    /// Deletes the lock with this fence.
    Release(i64),
}

/// A change of the intent under a lock.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) fence: i64,
    /// The lock with the number of the change.
    pub(super) lock: LockValue,
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

    /// The words for a lock that does not end by itself: it was copied, or is not of this program.
    fn without_lease(&self, holder: &str) -> String {
        let lock = &self.lock;
        format!("{holder}, by the key {lock} without a lease: if that is over, delete the key with `etcdctl del`")
    }

    /// The nested transaction. `lease` is that of a claim.
    fn to_json(&self, lease: i64) -> Value {
        let (lock, intent) = (encode(&self.lock), encode(&self.intent));
        let read = |key: &str| json!({ "request_range": { "key": key } });
        let delete = |key: &str| json!({ "request_delete_range": { "key": key } });
        let created_at = |fence: i64| compare_creation(&lock, fence);
        let step = |step: &Step, change: &Value| {
            let value = encode(step.lock.to_text());
            let is_lower = json!({ "target": "VALUE", "result": "LESS", "key": lock, "value": value });
            let put = json!({ "request_put": { "key": lock, "value": value, "ignore_lease": true } });
            nested(&[&created_at(step.fence), &is_lower], &[&put, change], &[&read(&lock)])
        };
        match &self.action {
            KeyAction::Claim(value) => {
                let value = encode(value.to_text());
                let put = json!({ "request_put": { "key": lock, "value": value, "lease": lease.to_string() } });
                let read_intent = read(&intent);
                nested(&[&created_at(0)], &[&put, &read_intent], &[&read(&lock), &read_intent])
            }
            KeyAction::Record(own, text) => {
                step(own, &json!({ "request_put": { "key": intent, "value": encode(text) } }))
            }
            KeyAction::Erase(own) => step(own, &delete(&intent)),
            KeyAction::Release(fence) => nested(&[&created_at(*fence)], &[&delete(&lock)], &[]),
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
            KeyAction::Record(step, _) | KeyAction::Erase(step) => {
                let [lock, ..] = found(answer, 0)? else { return Some(Effect::Lost) };
                let value = LockValue::parse(&decode(lock, "value")?);
                // An earlier attempt has made this change, and its answer was lost.
                let is_made = int(lock, "/create_revision") == step.fence && value.as_ref() == Some(&step.lock);
                return Some(if is_made { Effect::Changed } else { Effect::Lost });
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
        let holder = match LockValue::parse(&decode(lock, "value")?) {
            // An earlier attempt has won, and its answer was lost.
            Some(value) if value.nonce == own.nonce => {
                return Some(Effect::Claimed(int(lock, "/create_revision"), intent));
            }
            Some(value) => value.words(),
            None => "a holder that cannot be read holds it".into(),
        };
        Some(Effect::Busy(if int(lock, "/lease") == 0 { self.without_lease(&holder) } else { holder }))
    }
}

/// Returns the keys that the read with this number has found. `None` if there is no such read.
fn found(answer: &Value, number: usize) -> Option<&[Value]> {
    let read = answer.pointer(&format!("/responses/{number}/response_range"))?;
    Some(read.get("kvs").and_then(Value::as_array).map_or(&[], Vec::as_slice))
}

fn nested(compare: &[&Value], then: &[&Value], otherwise: &[&Value]) -> Value {
    json!({ "request_txn": { "compare": compare, "success": then, "failure": otherwise } })
}

fn compare_creation(key: &str, revision: i64) -> Value {
    json!({ "target": "CREATE", "result": "EQUAL", "key": key, "create_revision": revision.to_string() })
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
    let created = compare_creation(&key, 1);
    let is_lower = json!({ "target": "VALUE", "result": "LESS", "key": key, "value": encode("~") });
    let read = json!({ "request_range": { "key": key } });
    let delete = json!({ "request_delete_range": { "key": key } });
    let inner = |compare: &Value| nested(&[compare], &[], &[&read]);
    json!({ "compare": [created], "success": [delete], "failure": [read, inner(&created), inner(&is_lower)] })
        .to_string()
}

/// Returns whether the store has passed the check.
pub(super) fn passes_self_test(answer: &Value) -> bool {
    let has_failed = |answer: &Value| {
        answer.get("succeeded").and_then(Value::as_bool) != Some(true)
            && found(answer, 0).is_some_and(<[Value]>::is_empty)
    };
    let inner = |number: usize| answer.pointer(&format!("/responses/{number}/response_txn"));
    has_failed(answer) && [1, 2].iter().all(|number| inner(*number).is_some_and(has_failed))
}
