//! One host's way through a phase: which action comes after which reply. No decision about other hosts
//! is taken here.

use std::fmt;
use std::time::Duration;

use super::rules::{Deletes, Evidence, Posts, Rules};
use crate::values::action::Action;
use crate::values::classification::{Classification, ClassifiedReply};
use crate::values::report::{Cause, HostStep, State};
use crate::values::retry::RetryPolicy;

/// What a host does in the current phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// GET until it is answered.
    Probe,
    /// POST, then GET until it shows the group. A refusal means that it is not ours.
    Create,
    /// The same for a repair, which takes the group from whoever made it.
    Ensure,
    /// DELETE, then GET until it shows nothing; GET again a settle time later where the first is no proof.
    Remove,
    /// GET only, with the same second look: the group there is not ours to delete.
    VerifyAbsent,
}

/// What a host does next: where `retry` is set the same action again while its schedule lasts, and
/// `then` when it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) retry: bool,
    pub(super) then: Transition,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transition {
    /// Another action at once.
    Send(Action),
    /// A GET after the settle time.
    AwaitSettle,
    /// DELETE again, while its schedule lasts; else [`Participant::after_last_delete`] says what.
    RetryDelete,
    /// The host is through.
    Finish,
    /// The host cannot get the group: a create fails as a whole.
    Fail,
}

/// Why no further request starts in a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Cancelled,
    OutOfTime,
    RollbackOutOfTime,
    FailedElsewhere,
}

impl Stop {
    /// What the whole operation turns back for, where this is it.
    pub(super) fn cause(self) -> Option<Cause> {
        match self {
            Stop::Cancelled => Some(Cause::Cancelled),
            Stop::OutOfTime => Some(Cause::TimedOut { host: None }),
            Stop::RollbackOutOfTime => Some(Cause::RollbackTimedOut),
            Stop::FailedElsewhere => None,
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause() {
            Some(cause) => cause.fmt(f),
            None => f.pad("the create had failed on another host"),
        }
    }
}

/// The tries of one action in the current phase.
#[derive(Debug, Clone, Copy, Default)]
struct Tries {
    /// Delays of the policy that were used up.
    delays: u32,
    sent: u32,
    began: Duration,
    /// The place of the action's step among those of the host.
    step: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Participant {
    pub(super) goal: Goal,
    /// What is sent next, or is in flight; `None` when the host is through.
    pub(super) action: Option<Action>,
    pub(super) posts: Posts,
    pub(super) deletes: Deletes,
    pub(super) state: State,
    /// A GET said 404 before our first POST.
    pub(super) was_absent: bool,
    /// The settle time was waited for since the last request of unknown fate.
    settled: bool,
    /// The same since the last DELETE that was answered 200 or 204, or whose fate is unknown.
    delete_settled: bool,
    /// The last POST that may take effect later ended at this time.
    pub(super) late_post: Option<Duration>,
    /// The last POST or DELETE that may have changed something was answered, or given up, at this time.
    pub(super) changed: Option<Duration>,
    tries: [Tries; 3],
    pub(super) steps: Vec<HostStep>,
    /// Why no more was sent, where the operation stopped this host.
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

    /// Starts a goal with all its tries. What is known of the host's POSTs and DELETEs stays, what was
    /// known of its state does not.
    pub(super) fn start(&mut self, goal: Goal) {
        self.goal = goal;
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

    /// How often the action was sent in this phase.
    pub(super) fn attempts(&self, action: Action) -> u32 {
        self.tries[action as usize].sent
    }

    /// The wait before the action is sent once more, or `None` when its tries are used up.
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

    /// Gives an action all its tries back.
    pub(super) fn forget_tries(&mut self, action: Action) {
        self.tries[action as usize].delays = 0;
    }

    /// Notes that the next request leaves.
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

    /// Notes what a reply tells, whatever comes next.
    pub(super) fn note(&mut self, action: Action, reply: &ClassifiedReply, now: Duration) {
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
                self.posts.ambiguous |= classification == Classification::Ambiguous;
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
                self.was_absent |= self.goal == Goal::Probe;
            }
            (Action::Check, _) => self.state = State::Unknown,
        }
        if action == Action::Delete {
            self.state = State::Unknown;
        }
    }

    /// What comes after that reply.
    pub(super) fn after<R: Rules>(&mut self, action: Action, reply: &ClassifiedReply) -> Next {
        match (self.goal, action) {
            (Goal::Create | Goal::Ensure, Action::Create) => self.after_post::<R>(reply),
            (Goal::Create | Goal::Ensure, _) => self.after_verification::<R>(reply),
            (Goal::Remove, Action::Delete) => Self::after_delete(reply),
            (Goal::Remove | Goal::VerifyAbsent, _) => self.after_look::<R>(reply),
            (Goal::Probe, _) => match reply.classification {
                Classification::Confirmed | Classification::Denied => Transition::Finish.at_once(),
                Classification::NotSent | Classification::Ambiguous => Transition::Finish.after_retries(reply),
            },
        }
    }

    fn after_post<R: Rules>(&self, reply: &ClassifiedReply) -> Next {
        match reply.classification {
            Classification::Confirmed if !R::must_verify() => Transition::Finish.at_once(),
            Classification::Denied if self.goal == Goal::Create && R::refusal_is_final(self.posts) => {
                Transition::Fail.at_once()
            }
            // Created, or refused where an earlier POST may have made the group: a GET decides.
            Classification::Confirmed | Classification::Denied => Transition::Send(Action::Check).at_once(),
            Classification::NotSent if !self.posts.ambiguous => Transition::Fail.after_retries(reply),
            Classification::NotSent | Classification::Ambiguous => Transition::Send(Action::Check).after_retries(reply),
        }
    }

    fn after_verification<R: Rules>(&mut self, reply: &ClassifiedReply) -> Next {
        match reply.classification {
            Classification::Confirmed => Transition::Finish.at_once(),
            // A create turns back and its rollback looks again; nobody does so after a repair.
            Classification::Denied if self.goal == Goal::Ensure && self.absence_must_settle::<R>() => {
                self.state = State::Unknown;
                Next { retry: true, then: Transition::AwaitSettle }
            }
            // A stale read looks like this; it is not believed at once.
            Classification::Denied => Next { retry: true, then: Transition::Fail },
            Classification::NotSent | Classification::Ambiguous => Transition::Fail.after_retries(reply),
        }
    }

    fn after_delete(reply: &ClassifiedReply) -> Next {
        match reply.classification {
            Classification::Confirmed | Classification::Denied => Transition::Send(Action::Check).at_once(),
            // The host was never reached, so a GET would not reach it either.
            Classification::NotSent => Transition::Finish.after_retries(reply),
            Classification::Ambiguous => Transition::Send(Action::Check).after_retries(reply),
        }
    }

    fn after_look<R: Rules>(&mut self, reply: &ClassifiedReply) -> Next {
        match reply.classification {
            Classification::Denied if self.goal == Goal::Remove && !R::absence_counts(self.deletes) => {
                self.state = State::Unknown;
                Transition::Finish.at_once()
            }
            Classification::Denied if self.absence_must_settle::<R>() => self.settle().at_once(),
            // An earlier DELETE may be under way, or a replica may have missed it; this one is not sent again.
            Classification::Confirmed
                if self.goal == Goal::Remove && self.deletes.refused && self.presence_must_settle::<R>() =>
            {
                self.settle().at_once()
            }
            // It came back, or the DELETE was not applied.
            Classification::Confirmed if self.goal == Goal::Remove && !self.deletes.refused => {
                if self.presence_must_settle::<R>() {
                    self.state = State::Unknown;
                }
                Transition::RetryDelete.at_once()
            }
            Classification::Confirmed | Classification::Denied => Transition::Finish.at_once(),
            Classification::NotSent | Classification::Ambiguous => Transition::Finish.after_retries(reply),
        }
    }

    fn absence_must_settle<R: Rules>(&self) -> bool {
        let unclear = R::post_must_settle(self.posts) || R::delete_must_settle(self.deletes);
        !self.settled && (unclear || R::absence_is_contradicted(self.evidence()))
    }

    fn presence_must_settle<R: Rules>(&self) -> bool {
        !self.delete_settled && R::presence_is_doubtful(self.evidence())
    }

    /// A GET still shows the group, and no DELETE is left to be sent.
    pub(super) fn after_last_delete<R: Rules>(&mut self) -> Transition {
        if self.presence_must_settle::<R>() { self.settle() } else { Transition::Finish }
    }

    fn settle(&mut self) -> Transition {
        self.state = State::Unknown;
        Transition::AwaitSettle
    }

    /// The settle time is waited for now.
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
