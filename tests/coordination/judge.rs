//! The oracle: the logs of the nodes and the history of etcd, against what the coordinators said.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::coordinator::{Outcome, SETTLE, TTL};
use crate::faults::{Happened, Kind};
use crate::history::{Event, Lock, locks};
use crate::lane::{COMMAND, Change, Lane, NODES, PREFIX};
use crate::proof::Figures;
use crate::rounds::{Done, Found};

/// Etcd looks for leases that have ended every half second, and this machine has other work.
const SLACK: Duration = Duration::from_secs(2);
/// A history is seen this much later than it happens, at most.
const LAG: Duration = Duration::from_millis(500);
/// A request that was about to be sent when its process stopped is sent as soon as it goes on.
const AT_ONCE: Duration = Duration::from_millis(300);

/// Why a change outside of a claim is none that the protocol promises to prevent.
#[derive(Clone, Copy, PartialEq)]
enum Beyond {
    SentBefore,
    StoppedBeforeSend,
    /// Etcd broke its word: see [`Etcd::revokes_wrongly`](crate::etcd::Etcd::revokes_wrongly).
    Revoked,
}

pub(crate) fn judge(lane: &Lane, found: &Found, figures: &Figures) {
    let locks = locks(found.events.iter());
    let check = |holds: bool, what: &str| figures.expect(holds, || describe(found, &locks, what));
    figures.count("round: played");
    for done in &found.done {
        let word = done.outcome.as_ref().map_or("none", |outcome| outcome.word());
        let cause = done.outcome.as_ref().map_or("", |outcome| outcome.cause());
        figures.count(format!("operation: {} {word} {cause}", done.word));
        figures.add("operation by the command", u64::from(done.owner == COMMAND));
        check(done.outcome.is_some() || was_killed(found, done), "an operation has no result");
        check(word != "refused", "an operation was refused");
    }
    let beyond = nobody_changes_without_a_claim(lane, found, &locks, figures);
    check(intents_are_fenced(&found.events, &locks), "an intent was changed without the lock");
    check(found.all_free, "a lock is left");
    locks_end_in_time(found, &locks, figures);
    failover(found, &locks, figures);
    check(found.done.last().is_some_and(|done| done.is("recovered")), "recovery does not settle");
    check(found.left.is_empty(), "something is left in etcd");
    for (group, holders) in &found.holders {
        let mixed = holders.iter().any(|holds| holds != &holders[0]);
        let lost = is_lost(found, group, holders);
        // A process stopped between its look at the clock and its send, or etcd broke its word.
        if (mixed || lost.is_some()) && beyond.iter().any(|change| change.group == **group) {
            figures.count("LIMIT, no promise: a group is mixed or lost after such a change");
            continue;
        }
        check(!mixed, "a group is mixed after recovery");
        check(lost.is_none(), lost.unwrap_or_default());
    }
}

fn was_killed(found: &Found, done: &Done) -> bool {
    found.happened.iter().any(|happened| happened.fault.kind == Kind::Kill && happened.pid == done.pid)
}

/// Returns the changes by a request that was sent after the claim because its process had stopped just before.
fn nobody_changes_without_a_claim<'a>(
    lane: &Lane,
    found: &'a Found,
    locks: &[Lock],
    figures: &Figures,
) -> Vec<&'a Change> {
    let mut beyond = Vec::new();
    figures.add("change of a node", found.changes.len() as u64);
    for change in &found.changes {
        let own = |lock: &&Lock| lock.group == change.group && found.owner(lock.pid) == Some(change.owner);
        let own: Vec<&Lock> = locks.iter().filter(own).collect();
        // A coordinator does one operation after the other, so what it sent before an operation has nothing of its lock.
        let within = |lock: &&&Lock| {
            began(found, lock).is_some_and(|began| began <= change.sent)
                && lock.from <= change.sent + LAG
                && lock.to.is_none_or(|(_, to)| change.applied <= to)
        };
        if own.iter().any(|lock| within(&lock)) {
            continue;
        }
        match excuse(lane, found, change, &own) {
            Some(Beyond::SentBefore) => figures.count("late: a change landed after its claim, sent before"),
            Some(Beyond::StoppedBeforeSend) => {
                figures.count("LIMIT: a change was sent after its claim, by a process that stopped before the send");
                beyond.push(change);
            }
            Some(Beyond::Revoked) => {
                figures.count(
                    "LIMIT: a lease was revoked before its end, by a leader of an old etcd that had been stopped",
                );
                beyond.push(change);
            }
            None => figures.expect(false, || describe(found, locks, &format!("changed without a claim: {change:?}"))),
        }
    }
    beyond
}

/// The start of the operation that had a lock.
fn began(found: &Found, lock: &Lock) -> Option<Instant> {
    let before = found.done.iter().filter(|done| done.pid == lock.pid && done.started <= lock.from);
    before.map(|done| done.started).max()
}

fn excuse(lane: &Lane, found: &Found, change: &Change, own: &[&Lock]) -> Option<Beyond> {
    let ended = own.iter().filter_map(|lock| lock.to).map(|(_, to)| to).filter(|to| *to < change.applied).max()?;
    if change.sent <= ended {
        return Some(Beyond::SentBefore);
    }
    // Its lock ended when the old leader went on, and no lease had ended. A slow disk stops it again and again.
    let revoked = |happened: &&Happened| {
        let goes_on = match happened.fault.kind {
            Kind::LeaderPaused | Kind::SlowMember => happened.to.checked_sub(AT_ONCE),
            Kind::SlowDisk { .. } => Some(happened.from),
            _ => None,
        };
        goes_on.is_some_and(|goes_on| ended >= goes_on && ended <= happened.to + LAG)
    };
    if lane.etcd.revokes_wrongly && found.happened.iter().any(|happened| revoked(&happened)) {
        return Some(Beyond::Revoked);
    }
    // A request that was about to be sent there, and none that is sent again because its answer did not come.
    let link = &lane.nodes[change.node].link;
    let stopped = |happened: &&Happened| {
        happened.fault.kind == Kind::Pause
            && happened.fault.coordinator == change.owner
            && happened.from <= ended
            && change.sent <= happened.to + AT_ONCE
            && !link.was_awaited(change.owner, happened.from)
    };
    found.happened.iter().any(|happened| stopped(&happened)).then_some(Beyond::StoppedBeforeSend)
}

/// Whether each change of an intent came while its group was locked.
fn intents_are_fenced(events: &[Event], locks: &[Lock]) -> bool {
    events.iter().all(|event| {
        let Some(group) = event.key.strip_prefix(PREFIX).and_then(|key| key.strip_prefix("intent/")) else {
            return true;
        };
        let held = |lock: &Lock| lock.revision <= event.revision && lock.to.is_none_or(|(to, _)| event.revision <= to);
        locks.iter().any(|lock| lock.group == group && held(lock))
    })
}

/// A lock ends within a TTL of the operation that had it, or of the death of its process.
fn locks_end_in_time(found: &Found, locks: &[Lock], figures: &Figures) {
    for lock in locks {
        let Some((_, ended)) = lock.to else { continue };
        let owner = found.owner(lock.pid);
        // The last operation of that process that can have had the lock; a stopped process is not over.
        let over = found.done.iter().filter(|done| done.pid == lock.pid && done.started <= lock.from + LAG);
        let Some(over) = over.map(|done| done.ended).max() else { continue };
        let killed = found.happened.iter().find(|h| h.fault.kind == Kind::Kill && h.pid == lock.pid);
        let over = killed.map_or(over, |killed| killed.from.max(lock.from));
        let limit = TTL + SLACK + time_of_etcd_faults(found, over, ended);
        figures.expect(ended <= over + limit, || {
            describe(found, locks, &format!("an orphan lock of {owner:?} for {:?}: {lock:?}", ended - over))
        });
    }
}

/// Time by which faults of etcd may lengthen a lease, or a cut one keeps a release from arriving.
fn time_of_etcd_faults(found: &Found, from: Instant, to: Instant) -> Duration {
    let during = |happened: &&Happened| {
        let cut = matches!(happened.fault.kind, Kind::CutFromEtcd(_));
        (happened.fault.kind.is_of_etcd() || cut) && happened.from <= to && happened.to + TTL >= from
    };
    // The fault itself, an election, and the whole TTL that a new leader gives.
    found.happened.iter().filter(during).map(|happened| happened.fault.lasts + TTL + SLACK).sum()
}

/// Measures how long the group of a killed owner stays locked, and how long until another operation on it is done. Where
/// nothing else went wrong, that is a TTL and the settle time.
fn failover(found: &Found, locks: &[Lock], figures: &Figures) {
    let alone = if found.happened.len() == 1 { "" } else { ", with another fault" };
    for kill in found.happened.iter().filter(|happened| happened.fault.kind == Kind::Kill) {
        let held = |lock: &&Lock| {
            lock.pid == kill.pid && lock.from <= kill.from && lock.to.is_none_or(|(_, to)| to > kill.from)
        };
        for lock in locks.iter().filter(held) {
            let Some((_, free)) = lock.to else { continue };
            figures.time(format!("failover: group free again{alone}"), free - kill.from);
            let after = found.done.iter().filter(|done| done.group == lock.group && done.started >= free);
            let settled = |done: &&Done| done.outcome.is_some() && !done.is("busy");
            let Some(next) = after.filter(settled).map(|done| done.ended).min() else { continue };
            let time = next - kill.from;
            figures.time(format!("failover: next operation done{alone}"), time);
            let limit = TTL + SETTLE + 2 * SLACK;
            let told = || describe(found, locks, &format!("a failover took {time:?}"));
            figures.expect(!alone.is_empty() || time <= limit, told);
        }
    }
}

/// Returns the acknowledged result that the hosts contradict, if no other operation may have undone it.
fn is_lost(found: &Found, group: &str, holders: &[bool]) -> Option<&'static str> {
    let on_group = || found.done.iter().filter(|done| done.group == group && done.word != "recover");
    let word = |done: &Done| done.outcome.as_ref().map_or(String::new(), |outcome| outcome.word().to_owned());
    let undone = |by: &str, acknowledged: &Done| {
        on_group().any(|done| done.word == by && done.ended > acknowledged.started && !std::ptr::eq(done, acknowledged))
    };
    on_group().find_map(|done| match word(done).as_str() {
        "created" if !undone("delete", done) && holders != [true; NODES] => Some("an acknowledged create is lost"),
        "deleted" | "rolled_back" if !undone("create", done) && holders != [false; NODES] => {
            Some("what was acknowledged as deleted is there")
        }
        _ => None,
    })
}

/// The round as a person reads it, in milliseconds since its first operation.
fn describe(found: &Found, locks: &[Lock], what: &str) -> String {
    let zero = found.done.iter().map(|done| done.started).min().unwrap_or(found.healed);
    let ms = |at: Instant| at.checked_duration_since(zero).unwrap_or_default().as_millis();
    let mut lines = vec![(0, format!("{:?}", found.script))];
    for done in &found.done {
        let result = done.outcome.as_ref().map_or("no result".to_owned(), Outcome::in_short);
        let (began, ended) = (ms(done.started), ms(done.ended));
        lines.push((
            began,
            format!("to {ended}: {} {} by {} ({}): {result}", done.word, done.group, done.owner, done.pid),
        ));
    }
    for happened in &found.happened {
        let (name, number) = (happened.fault.kind.name(), happened.fault.coordinator);
        lines.push((ms(happened.from), format!("to {}: {name}: {number} ({})", ms(happened.to), happened.pid)));
    }
    for lock in locks {
        let to = lock.to.map(|(revision, at)| (revision, ms(at)));
        lines.push((ms(lock.from), format!("lock {} by {} at {}, to {to:?}", lock.group, lock.pid, lock.revision)));
    }
    for event in found.events.iter().filter(|event| event.key.contains("/intent/")) {
        let what = if event.value.is_some() { "put" } else { "deleted" };
        lines.push((ms(event.at), format!("{} {what} at {}", event.key, event.revision)));
    }
    for change in &found.changes {
        let Change { node, owner, group, created, .. } = change;
        let what = if *created { "created" } else { "deleted" };
        lines.push((ms(change.applied), format!("{group} {what} on node {node} by {owner}, sent {}", ms(change.sent))));
    }
    lines.push((ms(found.healed), format!("healed; in the end {:?}, left {:?}", found.holders, found.left)));
    lines.sort();
    let mut text = format!("COORDINATION_SEED={} COORDINATION_ROUNDS=1: {what}", found.seed);
    for (at, line) in lines {
        let _ = write!(text, "\n  {at} {line}");
    }
    text
}

/// No coordinator can write an intent without its lock, because etcd refuses it. So this check is shown alone.
#[test]
fn intent_that_is_changed_outside_of_a_lock_is_seen() {
    let now = Instant::now();
    let event = |revision, key: &str, value: Option<&str>| Event {
        revision,
        is_new: true,
        key: format!("{PREFIX}{key}"),
        value: value.map(str::to_owned),
        at: now,
    };
    let history = |revision| {
        let owner = Some("process 7 on a machine");
        [event(3, "lock/g", owner), event(revision, "intent/g", Some("")), event(5, "lock/g", None)]
    };
    for (revision, holds) in [(2, false), (3, true), (4, true), (5, true), (6, false)] {
        let events = history(revision);
        assert_eq!(intents_are_fenced(&events, &locks(events.iter())), holds, "at {revision}");
    }
}
