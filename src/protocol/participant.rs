//! One host in a phase: the action after each reply. The machine decides what follows for the other hosts.

use std::time::Duration;

use super::rules::{Deletes, Evidence, Posts, Rules};
use crate::values::action::Action;
use crate::values::classification::{Classification, ClassifiedReply};
use crate::values::report::{Cause, HostStep, Interruption, State};
use crate::values::retry::RetryPolicy;

/// The goal of a host in the current phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// Send GET until it is answered with 200 or 404.
    Probe,
    /// Send POST, then GET until it shows the group. A refused POST means that the group is not ours.
    Create,
    /// Send POST, then GET until it shows the group, for a repair. A group of another client is accepted.
    Ensure,
    /// Send DELETE, then GET until it answers 404. If that is no proof, send GET again after the settle time.
    Remove,
    /// Send GET only, with a second GET after the settle time. The group may not be ours, so it is not deleted.
    VerifyAbsent,
}

/// The next step of a host. With `retry`, the action is repeated while its retries last; then follows `then`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) retry: bool,
    pub(super) then: Transition,
}

/// The next step of a host, after the last try of its action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transition {
    /// Send this action at once.
    Send(Action),
    /// Send GET after the settle time.
    AwaitSettle,
    /// Send GET again after a delay, until the time of the phase is over.
    AwaitChange,
    /// Retry DELETE. Without retries left, [`Participant::after_last_delete`] decides.
    RetryDelete,
    /// The host has finished the phase.
    Finish,
    /// The host cannot get the group, so a create fails.
    Fail,
}

/// The reason why no further request starts in a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Cancelled,
    OutOfTime,
    RollbackOutOfTime,
    FailedElsewhere,
    ClaimLost,
}

impl Stop {
    /// The cause of the operation's end, or `None` if the failed host is the cause.
    pub(super) fn cause(self) -> Option<Cause> {
        match self {
            Stop::Cancelled => Some(Cause::Cancelled),
            Stop::OutOfTime => Some(Cause::TimedOut { host: None }),
            Stop::RollbackOutOfTime => Some(Cause::RollbackTimedOut),
            Stop::ClaimLost => Some(Cause::ClaimLost),
            Stop::FailedElsewhere => None,
        }
    }

    pub(super) fn interruption(self) -> Interruption {
        match self {
            Stop::Cancelled => Interruption::Cancelled,
            Stop::OutOfTime => Interruption::TimedOut,
            Stop::RollbackOutOfTime => Interruption::RollbackTimedOut,
            Stop::FailedElsewhere => Interruption::FailedElsewhere,
            Stop::ClaimLost => Interruption::ClaimLost,
        }
    }
}

/// The tries of one action in the current phase.
#[derive(Debug, Clone, Copy, Default)]
struct Tries {
    /// Number of delays of the policy that were used.
    delays: u32,
    sent: u32,
    began: Duration,
    /// Index of the action's step in the steps of the host.
    step: usize,
}

/// One host: its goal, the evidence about it, and its tries.
#[derive(Debug, Clone)]
pub(super) struct Participant {
    pub(super) goal: Goal,
    /// The action that is in flight or comes next; `None` after the host has finished the phase.
    pub(super) action: Option<Action>,
    pub(super) posts: Posts,
    pub(super) deletes: Deletes,
    pub(super) state: State,
    /// The probe was answered 404, before our first POST.
    pub(super) was_absent: bool,
    /// The first check of this phase that found the group changing, and the number of such checks.
    changing: Option<(Duration, u32)>,
    /// The settle time has passed since the last ambiguous request.
    settled: bool,
    /// The settle time has passed since the last DELETE that was confirmed or ambiguous.
    delete_settled: bool,
    /// End of the last POST that may take effect late.
    pub(super) late_post: Option<Duration>,
    /// End of the last POST or DELETE that may have changed the host.
    pub(super) changed: Option<Duration>,
    tries: [Tries; 3],
    pub(super) steps: Vec<HostStep>,
    /// The reason why the host was stopped before the end of its phase.
    pub(super) given_up: Option<Stop>,
}

impl Participant {
    pub(super) fn new() -> Self {
        Participant {
            goal: Goal::Probe,
            action: None,
            posts: Posts::default(),
            deletes: Deletes::default(),
            state: State::Unknown,
            was_absent: false,
            changing: None,
            settled: false,
            delete_settled: false,
            late_post: None,
            changed: None,
            tries: Default::default(),
            steps: Vec::new(),
            given_up: None,
        }
    }

    pub(super) fn evidence(&self) -> Evidence {
        Evidence { posts: self.posts, deletes: self.deletes, state: self.state, was_absent: self.was_absent }
    }

    /// Begins a phase with all its retries. The evidence of POSTs and DELETEs stays; the state becomes unknown.
    pub(super) fn start(&mut self, goal: Goal) {
        self.goal = goal;
        self.changing = None;
        self.settled = false;
        self.delete_settled = false;
        self.given_up = None;
        self.state = State::Unknown;
        self.tries = Default::default();
        self.action = Some(match goal {
            Goal::Probe | Goal::VerifyAbsent => Action::Check,
            Goal::Create | Goal::Ensure => Action::Create,
            Goal::Remove => Action::Delete,
        });
    }

    /// Number of times that the action was sent in this phase.
    pub(super) fn attempts(&self, action: Action) -> u32 {
        self.tries[action as usize].sent
    }

    /// Returns the delay before the next retry of the action, or `None` if no retry is left.
    pub(super) fn delay(
        &mut self,
        action: Action,
        policy: &RetryPolicy,
        asked: Option<Duration>,
        random: &mut fastrand::Rng,
    ) -> Option<Duration> {
        let tries = &mut self.tries[action as usize];
        let delay = policy.delay(tries.delays, asked, random)?;
        tries.delays += 1;
        Some(delay)
    }

    /// Resets the retries of an action. Only a mutant does so.
    pub(super) fn forget_tries(&mut self, action: Action) {
        self.tries[action as usize].delays = 0;
    }

    /// Counts the next request as sent.
    pub(super) fn send(&mut self, now: Duration) -> (Action, u32) {
        let action = self.action.expect("only a host with an action is handed out");
        let tries = &mut self.tries[action as usize];
        tries.sent += 1;
        if tries.sent == 1 {
            (tries.began, tries.step) = (now, self.steps.len());
            self.steps.push(HostStep::begun(action));
        }
        (action, tries.sent)
    }

    /// Records the evidence of a reply.
    pub(super) fn note<R: Rules>(&mut self, action: Action, reply: &ClassifiedReply, now: Duration) {
        let tries = &self.tries[action as usize];
        let elapsed = now.saturating_sub(tries.began);
        self.steps[tries.step].note(tries.sent, reply, elapsed);
        self.settled &= !reply.is_ambiguous() || action == Action::Check;
        if action != Action::Check
            && matches!(reply.classification, Classification::Confirmed | Classification::Ambiguous)
        {
            self.changed = Some(now);
        }
        match (action, reply.classification) {
            (Action::Create | Action::Delete, Classification::NotSent) => {}
            (Action::Create, classification) => {
                self.posts.sent = true;
                self.posts.created |= classification == Classification::Confirmed;
                self.posts.ambiguous |= classification == Classification::Ambiguous || reply.is_promise();
                self.late_post = if reply.may_land_late() { Some(now) } else { self.late_post };
                self.deletes.confirmed &= classification == Classification::Denied;
            }
            (Action::Delete, classification) => {
                self.deletes.confirmed |= classification == Classification::Confirmed;
                self.deletes.refused = reply.is_refused();
                self.deletes.ambiguous |= reply.is_ambiguous();
                self.delete_settled &= classification == Classification::Denied;
            }
            (Action::Check, Classification::Confirmed) => self.state = State::Present,
            (Action::Check, Classification::Denied) => {
                self.state = State::Absent;
                self.was_absent |= R::proves_absence_before(self.goal == Goal::Probe);
            }
            (Action::Check, _) => self.state = State::Unknown,
        }
        if action == Action::Delete {
            self.state = State::Unknown;
        }
    }

    /// Returns the next step after a reply.
    pub(super) fn after<R: Rules>(&mut self, action: Action, reply: &ClassifiedReply) -> Next {
        if reply.classification == Classification::Changing {
            return Transition::AwaitChange.at_once();
        }
        match (self.goal, action) {
            (Goal::Create | Goal::Ensure, Action::Create) => self.after_post::<R>(reply),
            (Goal::Create | Goal::Ensure, _) => self.after_verification::<R>(reply),
            (Goal::Remove, Action::Delete) => Self::after_delete(reply),
            (Goal::Remove | Goal::VerifyAbsent, _) => self.after_look::<R>(reply),
            (Goal::Probe, _) => match reply.classification {
                Classification::Confirmed | Classification::Denied => Transition::Finish.at_once(),
                _ => Transition::Finish.after_retries(reply),
            },
        }
    }

    fn after_post<R: Rules>(&self, reply: &ClassifiedReply) -> Next {
        match reply.classification {
            Classification::Confirmed if !R::must_verify() => Transition::Finish.at_once(),
            Classification::Denied if self.goal == Goal::Create && R::refusal_is_final(self.posts) => {
                Transition::Fail.at_once()
            }
            // Created, or refused although an earlier POST may have made the group. A GET decides.
            Classification::Confirmed | Classification::Denied => Transition::Send(Action::Check).at_once(),
            Classification::NotSent if !self.posts.ambiguous => Transition::Fail.after_retries(reply),
            _ => Transition::Send(Action::Check).after_retries(reply),
        }
    }

    fn after_verification<R: Rules>(&mut self, reply: &ClassifiedReply) -> Next {
        match reply.classification {
            Classification::Confirmed => Transition::Finish.at_once(),
            // A repair has no rollback that would check again after the settle time, so the check waits here.
            Classification::Denied if self.goal == Goal::Ensure && self.absence_must_settle::<R>() => {
                self.state = State::Unknown;
                Next { retry: true, then: Transition::AwaitSettle }
            }
            // A stale read is possible, so the check is retried.
            Classification::Denied => Next { retry: true, then: Transition::Fail },
            _ => Transition::Fail.after_retries(reply),
        }
    }

    fn after_delete(reply: &ClassifiedReply) -> Next {
        match reply.classification {
            Classification::Confirmed | Classification::Denied => Transition::Send(Action::Check).at_once(),
            // The host cannot be reached, so no GET follows.
            Classification::NotSent => Transition::Finish.after_retries(reply),
            _ => Transition::Send(Action::Check).after_retries(reply),
        }
    }

    fn after_look<R: Rules>(&mut self, reply: &ClassifiedReply) -> Next {
        match reply.classification {
            Classification::Denied if self.goal == Goal::Remove && !R::absence_counts(self.deletes) => {
                self.state = State::Unknown;
                Transition::Finish.at_once()
            }
            Classification::Denied if self.absence_must_settle::<R>() => self.settle().at_once(),
            // An earlier DELETE may take effect late, or a replica may lag. A refused DELETE is not retried.
            Classification::Confirmed
                if self.goal == Goal::Remove && self.deletes.refused && self.presence_must_settle::<R>() =>
            {
                self.settle().at_once()
            }
            // A late POST made the group again, or the DELETE was not applied.
            Classification::Confirmed if self.goal == Goal::Remove && !self.deletes.refused => {
                if self.presence_must_settle::<R>() {
                    self.state = State::Unknown;
                }
                Transition::RetryDelete.at_once()
            }
            Classification::Confirmed | Classification::Denied => Transition::Finish.at_once(),
            _ => Transition::Finish.after_retries(reply),
        }
    }

    fn absence_must_settle<R: Rules>(&self) -> bool {
        let unclear = R::post_must_settle(self.posts) || R::delete_must_settle(self.deletes);
        !self.settled && (unclear || R::absence_is_contradicted(self.evidence()))
    }

    fn presence_must_settle<R: Rules>(&self) -> bool {
        !self.delete_settled && R::presence_is_doubtful(self.evidence())
    }

    /// Returns the transition after a GET that shows the group, with no retry of DELETE left.
    pub(super) fn after_last_delete<R: Rules>(&mut self) -> Transition {
        if self.presence_must_settle::<R>() { self.settle() } else { Transition::Finish }
    }

    fn settle(&mut self) -> Transition {
        self.state = State::Unknown;
        Transition::AwaitSettle
    }

    /// Counts a state as unknown that would be checked again after the settle time.
    pub(super) fn discard_unsettled_state<R: Rules>(&mut self) {
        let is_early = match self.state {
            State::Absent => self.absence_must_settle::<R>(),
            State::Present => self.presence_must_settle::<R>(),
            State::Unknown => false,
        };
        if is_early {
            (self.state, self.given_up) = (State::Unknown, Some(Stop::ClaimLost));
        }
    }

    /// Counts a check that found the group changing. Returns the time of the first, and the number before this one.
    pub(super) fn count_change(&mut self, now: Duration) -> (Duration, u32) {
        let (since, looks) = self.changing.unwrap_or((now, 0));
        self.changing = Some((since, looks + 1));
        (since, looks)
    }

    /// Notes that the settle time is awaited.
    pub(super) fn begin_settle(&mut self) {
        (self.settled, self.delete_settled) = (true, true);
    }
}

impl Transition {
    fn at_once(self) -> Next {
        Next { retry: false, then: self }
    }

    fn after_retries(self, reply: &ClassifiedReply) -> Next {
        Next { retry: reply.transient, then: self }
    }
}
