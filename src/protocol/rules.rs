//! The decisions that the invariants rest on, one function each, with its reason.
//!
//! A mutant of the simulation overrides one of them. The simulation must then find a schedule that breaks the
//! invariant named here.

use std::time::Duration;

use crate::values::event::Phase;
use crate::values::report::State;

/// Evidence of our own POSTs to one host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Posts {
    /// A POST was sent.
    pub(crate) sent: bool,
    /// A POST was answered 201.
    pub(crate) created: bool,
    /// A POST was ambiguous: it may have been applied, or may be applied late.
    pub(crate) ambiguous: bool,
}

/// Evidence of our own DELETEs to one host since the last POST there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Deletes {
    /// A DELETE was answered 200 or 204.
    pub(crate) confirmed: bool,
    /// The last DELETE was answered with a status that means neither deleted nor absent.
    pub(crate) refused: bool,
    /// A DELETE was ambiguous: it may have been applied, or may be applied late.
    pub(crate) ambiguous: bool,
}

/// The evidence about one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Evidence {
    pub(crate) posts: Posts,
    pub(crate) deletes: Deletes,
    pub(crate) state: State,
    /// The probe was answered 404 here, before our first POST.
    pub(crate) was_absent: bool,
}

pub(crate) trait Rules {
    /// I1: whether this host allows a commit: our own POST was sent, and a GET showed the group.
    fn may_commit(host: Evidence) -> bool {
        host.state == State::Present && host.posts.sent
    }

    /// I1: whether a GET must follow a 201, which is only a hint.
    fn must_verify() -> bool {
        true
    }

    /// I2: whether a POST may take effect after a check, so that a second check is due after the settle time.
    fn post_must_settle(posts: Posts) -> bool {
        posts.ambiguous
    }

    /// I11: whether a DELETE may take effect late, on a group that is created again.
    fn delete_must_settle(deletes: Deletes) -> bool {
        deletes.ambiguous
    }

    /// I2: whether a 404 contradicts the evidence: our POST was answered 201, and no DELETE was answered 200 or 204
    /// since. A replica that lags behind the POST answers 404 to a GET, and 404 or 400 to a DELETE.
    fn absence_is_contradicted(host: Evidence) -> bool {
        host.posts.created && !host.deletes.confirmed
    }

    /// I8: whether a 200 is doubtful. A confirmed DELETE makes a lagging read likely; an ambiguous DELETE may take
    /// effect late.
    fn presence_is_doubtful(host: Evidence) -> bool {
        host.deletes.confirmed || host.deletes.ambiguous
    }

    /// I2: whether a 404 counts. It does not while the DELETE is refused: the check may ask in the wrong place.
    fn absence_counts(deletes: Deletes) -> bool {
        !deletes.refused
    }

    /// I7: whether the retries of an action are counted over all checks of a phase together.
    fn counts_tries_over_looks() -> bool {
        true
    }

    /// I3: whether a 404 proves that the group was absent before our first POST. A later GET may be a stale read.
    fn proves_absence_before(in_probe: bool) -> bool {
        in_probe
    }

    /// I3: whether a rollback may delete here. A 201 proves that the group is ours; so does an ambiguous POST if the
    /// group was absent before. A refused POST does not.
    fn may_undo(host: Evidence) -> bool {
        host.posts.created || (host.posts.ambiguous && host.was_absent)
    }

    /// I3: whether a refused POST proves that the group is not ours. It does unless an earlier POST was ambiguous.
    fn refusal_is_final(posts: Posts) -> bool {
        !posts.ambiguous
    }

    /// I3: whether a create without preflight may leave out the probe. It may not if a POST does not tell that the group
    /// existed: then a 201 is no proof that the group is ours.
    fn may_skip_probe(proves_ownership: bool) -> bool {
        proves_ownership
    }

    /// I4: whether the intent must be durable before the first POST or DELETE.
    fn must_intend() -> bool {
        true
    }

    /// I4: whether a failed write of the intent stops the operation.
    fn stops_unrecorded() -> bool {
        true
    }

    /// I5: whether an operation that could not record its commit rolls back. It must not, because a recovery may find
    /// the record erased.
    fn undoes_failed_commit() -> bool {
        false
    }

    /// I6: the evidence assumed of every host in an unfinished intent. A POST may have been in flight when its owner
    /// died, also a POST of a create that an unfinished delete has replaced.
    fn inherited_posts() -> Posts {
        Posts { sent: true, created: false, ambiguous: true }
    }

    /// I6: whether an operation may go on with an unfinished intent. A host may answer 404 to a request without
    /// credentials, whether it has the group or not.
    fn may_take_over(has_credentials: bool) -> bool {
        has_credentials
    }

    /// I6: the settle time of a recovery. The requests of the dead owner may take effect as late as its client said.
    fn recovery_settle(own: Duration, owners: Duration) -> Duration {
        own.max(owners)
    }

    /// I12: whether a recovery sends its requests in the API of the intent, not in that of its client.
    fn speaks_intent_api() -> bool {
        true
    }

    /// I12: whether the operation after a recovery sends its requests in the API of its client again.
    fn restores_own_api() -> bool {
        true
    }

    /// I12: whether a repair may replace an unfinished operation. The caller must have named all its hosts, in the
    /// same API.
    fn may_override(all_hosts_named: bool, same_api: bool) -> bool {
        all_hosts_named && same_api
    }

    /// I11: whether an operation waits for late POSTs before it succeeds.
    fn waits_for_late_posts() -> bool {
        true
    }

    /// I8: whether an operation waits until every replica shows the changes of the recovery before it. Without
    /// evidence of those changes it would believe a lagging 404 or 200.
    fn settles_after_recovery() -> bool {
        true
    }

    /// I6: whether an intent need not name a host in this state.
    fn may_forget(state: State) -> bool {
        state == State::Absent
    }

    /// I7: whether a request or a delay may start at this time.
    fn is_in_time(at: Duration, end: Duration) -> bool {
        at < end
    }

    /// I7: whether the timeout of a request is cut at the end of its phase's time.
    fn cuts_timeouts() -> bool {
        true
    }

    /// I2: whether a rollback has a timeout of its own. The deadline of the create may have passed.
    fn rollback_has_own_time() -> bool {
        true
    }

    /// I2: whether a cancellation ends a rollback. It must not, because the rollback is what cancels the create.
    fn cancel_ends_rollback() -> bool {
        false
    }

    /// I2: whether a definite failure on one host ends the POSTs to the others.
    fn failure_ends_posts() -> bool {
        true
    }

    /// I8: whether a host in this state counts as rolled back.
    fn counts_as_absent(state: State) -> bool {
        state == State::Absent
    }

    /// I8: whether a group that is still changing at the end of the time counts as absent.
    fn ends_change_as_absent() -> bool {
        false
    }

    /// I13: whether the claim has ended, so that another coordinator may work on the group.
    fn has_claim_ended(now: Duration, holds_until: Duration) -> bool {
        now >= holds_until
    }

    /// I13: whether a POST or DELETE that ends at this time may start. None may outlast the claim.
    fn ends_within_claim(end: Duration, holds_until: Duration) -> bool {
        end <= holds_until
    }

    /// I13: whether this phase goes on after the claim was lost. By then the group and its intent may be those of another
    /// coordinator.
    fn goes_on_without_claim(_: Phase) -> bool {
        false
    }

    /// I9: whether a rollback waits for the requests in flight.
    fn waits_for_replies() -> bool {
        true
    }
}

/// The rules of the protocol.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sound;

impl Rules for Sound {}
