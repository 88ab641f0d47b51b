//! The decisions that the invariants rest on, each by itself and with its reason.
//!
//! The machine asks [`Rules`] and nothing else decides. The simulation plants a bug by overriding one of
//! them, and must then find a schedule that breaks the invariant named here.

use std::time::Duration;

use crate::values::report::State;

/// What our own POSTs may have done on one host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Posts {
    /// One left this process.
    pub(crate) sent: bool,
    /// One was answered 201.
    pub(crate) created: bool,
    /// One was sent and its answer is unknown or unclear: it may have been applied, or may yet be.
    pub(crate) ambiguous: bool,
}

/// What our own DELETEs may have done on one host, since the last POST there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Deletes {
    /// One was answered 200 or 204.
    pub(crate) confirmed: bool,
    /// The last answer was a status that says neither deleted nor absent.
    pub(crate) refused: bool,
    /// One was sent and its answer is unknown or unclear: it may have been applied, or may yet be.
    pub(crate) ambiguous: bool,
}

/// What the machine knows of one host when it decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Evidence {
    pub(crate) posts: Posts,
    pub(crate) deletes: Deletes,
    pub(crate) state: State,
    /// Whether the group was verified absent here before our first POST.
    pub(crate) was_absent: bool,
}

pub(crate) trait Rules {
    /// I1: commit only what a GET has shown on a host that our own POST went to.
    fn may_commit(host: Evidence) -> bool {
        host.state == State::Present && host.posts.sent
    }

    /// I1: a 201 is a hint; a GET must show the group.
    fn must_verify() -> bool {
        true
    }

    /// I2: a POST of unknown fate may land after the first look; look again.
    fn post_must_settle(posts: Posts) -> bool {
        posts.ambiguous
    }

    /// I11: a DELETE of unknown fate may land on a group that is made again right after; wait for it.
    fn delete_must_settle(deletes: Deletes) -> bool {
        deletes.ambiguous
    }

    /// I2: whether a 404 contradicts what is known: our POST was answered 201, and no DELETE was answered 200
    /// or 204 since. A read may lag behind the POST, and so may a DELETE that was answered 404 or 400.
    fn absence_is_contradicted(host: Evidence) -> bool {
        host.posts.created && !host.deletes.confirmed
    }

    /// I8: whether a 200 may be a lagging read, because a DELETE was answered 200 or 204, or may be about to
    /// be outdated by a DELETE of unknown fate.
    fn presence_is_doubtful(host: Evidence) -> bool {
        host.deletes.confirmed || host.deletes.ambiguous
    }

    /// I2: whether a 404 counts on a host whose DELETE stays refused. It must not, however late it comes:
    /// the check may ask in the wrong place.
    fn absence_counts(deletes: Deletes) -> bool {
        !deletes.refused
    }

    /// I7: whether the tries of an action go on counting when a host is looked at again.
    fn counts_tries_over_looks() -> bool {
        true
    }

    /// I3: delete only what is ours: a 201 says so, and so does an unclear POST where the group was
    /// absent before. A refusal never does.
    fn may_undo(host: Evidence) -> bool {
        host.posts.created || (host.posts.ambiguous && host.was_absent)
    }

    /// I3: whether a refused POST proves that the group there is not ours. It does as long as no
    /// earlier POST of ours may have made it.
    fn refusal_is_final(posts: Posts) -> bool {
        !posts.ambiguous
    }

    /// I4: whether the intent must be durable before the first POST or DELETE.
    fn must_intend() -> bool {
        true
    }

    /// I4: whether a failed write of the intent stops the operation.
    fn stops_unrecorded() -> bool {
        true
    }

    /// I5: whether an operation that could not record its commit rolls back. It must not: a recovery
    /// may see the record gone.
    fn undoes_failed_commit() -> bool {
        false
    }

    /// I6: what must be taken for granted of every host that an unfinished intent names: a POST may have
    /// been under way when its owner died. Also that of a delete, which may have taken over a create.
    fn inherited_posts() -> Posts {
        Posts { sent: true, created: false, ambiguous: true }
    }

    /// I12: whether a recovery speaks the API of the intent rather than that of its client.
    fn speaks_intent_api() -> bool {
        true
    }

    /// I12: whether a repair may take the place of an unfinished operation. It may where the caller has named
    /// every host of it, in the same API.
    fn may_override(all_hosts_named: bool, same_api: bool) -> bool {
        all_hosts_named && same_api
    }

    /// I11: whether an operation waits for what may still take effect before it says that all is well.
    fn waits_for_late_posts() -> bool {
        true
    }

    /// I8: whether an operation that comes after a recovery waits until every replica knows of what that changed.
    /// It knows nothing of it itself, and would take a lagging 404 or 200 for the truth.
    fn settles_after_recovery() -> bool {
        true
    }

    /// I6: whether an intent may go while a host is not settled.
    fn may_forget(state: State) -> bool {
        state == State::Absent
    }

    /// I7: nothing starts at or after the end of its time.
    fn is_in_time(at: Duration, end: Duration) -> bool {
        at < end
    }

    /// I8: what counts as rolled back.
    fn counts_as_absent(state: State) -> bool {
        state == State::Absent
    }

    /// I9: whether a roll back waits for the requests in flight.
    fn waits_for_replies() -> bool {
        true
    }
}

/// The rules as they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sound;

impl Rules for Sound {}
