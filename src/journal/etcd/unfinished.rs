//! The list of unfinished operations: all intents and all locks of a journal, as they were at one moment.
//!
//! KeyNames are read in pages, all at the revision of the first page. The reads are linearizable, so nothing that was
//! acknowledged is missing.

use std::collections::HashMap;
use std::time::Instant;

use serde_json::{Value, json};

use super::answer::{HEADER, int};
use super::gateway::{ErrorKind, Gateway, GatewayError, PATIENCE, Query};
use super::keys::{BY_HAND, KeyNames, LockValue, decode, encode, end_of, entry};
use crate::journal::Unfinished;
use crate::values::cause::JournalError;

/// Number of keys of a page. It is halved while an answer is too large.
const PAGE: i64 = 256;
/// Number of times that all pages are read again after a compaction.
const ATTEMPTS: usize = 3;

/// Keys and their values. A value that is larger than any intent is left out.
type Pairs = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// Reads all unfinished operations, with their holders.
pub(super) fn read(gateway: &Gateway, keys: &KeyNames) -> Result<Unfinished, JournalError> {
    let is_compacted =
        |found: &Result<_, GatewayError>| matches!(found, Err(error) if error.kind == ErrorKind::Compacted);
    let mut found = snapshot(gateway, keys);
    for _ in 1..ATTEMPTS {
        if is_compacted(&found) {
            found = snapshot(gateway, keys);
        }
    }
    let (intents, locks) = found.map_err(|error| error.of("list the unfinished operations in etcd"))?;
    Ok(list(keys, &intents, &locks))
}

/// Returns all intents and all locks at one revision.
fn snapshot(gateway: &Gateway, keys: &KeyNames) -> Result<(Pairs, Pairs), GatewayError> {
    let mut revision = 0;
    let intents = pages(gateway, &keys.intents(), &mut revision)?;
    let locks = if intents.is_empty() { Vec::new() } else { pages(gateway, &keys.locks(), &mut revision)? };
    Ok((intents, locks))
}

fn pages(gateway: &Gateway, start: &str, revision: &mut i64) -> Result<Pairs, GatewayError> {
    let (mut from, end) = (start.as_bytes().to_vec(), end_of(start));
    let (mut pairs, mut limit, mut keys_only): (Pairs, _, _) = (Vec::new(), PAGE, false);
    loop {
        let body = json!({
            "key": encode(&from), "range_end": encode(&end), "limit": limit.to_string(), "revision": revision.to_string(),
            "keys_only": keys_only,
        });
        let until = Instant::now() + PATIENCE;
        let query = Query { path: "/v3/kv/range", body: body.to_string(), header: HEADER, may_repeat: true, until };
        let page = match gateway.call(&query) {
            Err(error) if error.kind == ErrorKind::TooLarge && !keys_only => {
                keys_only = limit == 1;
                limit = (limit / 2).max(1);
                continue;
            }
            page => page?.value,
        };
        if *revision == 0 {
            *revision = int(&page, "/header/revision");
        }
        let before = pairs.len();
        for kv in page.get("kvs").and_then(Value::as_array).into_iter().flatten() {
            let pair = decode(kv, "key").zip(decode(kv, "value"));
            let (key, value) = pair.ok_or_else(|| GatewayError::refused("a key or a value is not in base64"))?;
            pairs.push((key, Some(value).filter(|_| !keys_only)));
        }
        if std::mem::take(&mut keys_only) {
            limit = PAGE;
        }
        let has_more = page.get("more").and_then(Value::as_bool).unwrap_or(false);
        match pairs.last() {
            Some((last, _)) if has_more && pairs.len() > before => {
                from.clone_from(last);
                from.push(0);
            }
            _ => return Ok(pairs),
        }
    }
}

fn list(keys: &KeyNames, intents: &Pairs, locks: &Pairs) -> Unfinished {
    let name = |key: &[u8], start: &str| key.strip_prefix(start.as_bytes()).map(<[u8]>::to_vec);
    let locks: HashMap<Vec<u8>, &[u8]> =
        locks.iter().filter_map(|(key, value)| Some((name(key, &keys.locks())?, value.as_deref()?))).collect();
    let mut unfinished = Unfinished::default();
    for (key, text) in intents {
        let Some(group) = name(key, &keys.intents()) else { continue };
        let shown = String::from_utf8_lossy(key);
        let found = match text {
            Some(text) => entry(&shown, &group, text),
            None => Err(format!("{shown}: it is larger than any intent: {BY_HAND}")),
        };
        match (found, locks.get(&group)) {
            (Ok(found), None) => unfinished.entries.push(found),
            (Ok(found), Some(lock)) => unfinished.entries.push(found.held_by(holder(lock))),
            (Err(problem), _) => unfinished.unreadable.push(JournalError::new(
                format!("read the key {shown} in etcd"),
                std::io::Error::new(std::io::ErrorKind::InvalidData, problem),
            )),
        }
    }
    unfinished.entries.sort_by(|one, other| one.group().cmp(other.group()));
    unfinished
}

fn holder(lock: &[u8]) -> String {
    LockValue::parse(lock).map_or_else(|| "a holder that cannot be read".into(), |lock| lock.holder)
}
