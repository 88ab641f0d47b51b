//! One host's way through a phase: which action comes after which reply. No decision about other hosts
//! is taken here.

use std::time::Duration;

use super::rules::{Deletes, Evidence, Posts, Rules};
use crate::api::{Action, Reading, Verdict};
use crate::values::report::{Cause, HostStep, Interruption, State};
use crate::values::retry::RetryPolicy;

/// What a host does in the current phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Walk {
    /// GET until it is answered.
    Probe,
    /// POST, then GET until it shows the group. A refusal means that it is not ours.
    Create,
    /// The same for a repair, which takes the group from whoever made it.
    Ensure,
    /// DELETE, then GET until it shows nothing; GET again a settle time later where the first is no proof.
    Remove,
    /// GET only, with the same second look: the group there is not ours to delete.
    Look,
}

/// What a host does next: where `retry` is set the same action again while its schedule lasts, and
/// `then` when it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) retry: bool,
    pub(super) then: Then,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Another action at once.
    Go(Action),
    /// A GET after the settle time.
    Settle,
    /// DELETE again, while its schedule lasts; else [`Track::after_last_delete`] says what.
    Redo,
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

    pub(super) fn interruption(self) -> Interruption {
        match self {
            Stop::Cancelled => Interruption::Cancelled,
            Stop::OutOfTime => Interruption::TimedOut,
            Stop::RollbackOutOfTime => Interruption::RollbackTimedOut,
            Stop::FailedElsewhere => Interruption::FailedElsewhere,
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
pub(super) struct Track {
    pub(super) walk: Walk,
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
    pub(super) loud_post: Option<Duration>,
    /// The last POST or DELETE that may have changed something was answered, or given up, at this time.
    pub(super) changed: Option<Duration>,
    tries: [Tries; 3],
    pub(super) steps: Vec<HostStep>,
    /// Why no more was sent, where the operation stopped this host.
    pub(super) given_up: Option<Stop>,
}

impl Track {
    pub(super) fn new() -> Self {
        Track {
            walk: Walk::Probe,
            action: None,
            posts: Posts::default(),
            deletes: Deletes::default(),
            state: State::Unknown,
            was_absent: false,
            settled: false,
            delete_settled: false,
            loud_post: None,
            changed: None,
            tries: Default::default(),
            steps: Vec::new(),
            given_up: None,
        }
    }

    pub(super) fn evidence(&self) -> Evidence {
        Evidence { posts: self.posts, deletes: self.deletes, state: self.state, was_absent: self.was_absent }
    }

    /// Starts a walk with all its tries. What is known of the host's POSTs and DELETEs stays, what was
    /// known of its state does not.
    pub(super) fn start(&mut self, walk: Walk) {
        self.walk = walk;
        self.settled = false;
        self.delete_settled = false;
        self.given_up = None;
        self.state = State::Unknown;
        self.tries = Default::default();
        self.action = Some(match walk {
            Walk::Probe | Walk::Look => Action::Check,
            Walk::Create | Walk::Ensure => Action::Create,
            Walk::Remove => Action::Delete,
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
    pub(super) fn note(&mut self, action: Action, reading: &Reading, now: Duration) {
        let tries = &self.tries[action as usize];
        let elapsed = now.saturating_sub(tries.began);
        self.steps[tries.step].note(tries.sent, reading, elapsed);
        self.settled &= !reading.is_ambiguous() || action == Action::Check;
        if action != Action::Check && matches!(reading.verdict, Verdict::Yes | Verdict::Unclear) {
            self.changed = Some(now);
        }
        match (action, reading.verdict) {
            (Action::Create | Action::Delete, Verdict::Unsent) => {}
            (Action::Create, verdict) => {
                self.posts.sent = true;
                self.posts.created |= verdict == Verdict::Yes;
                self.posts.ambiguous |= verdict == Verdict::Unclear;
                self.loud_post = if reading.may_land_late() { Some(now) } else { self.loud_post };
                self.deletes.confirmed &= verdict == Verdict::No;
            }
            (Action::Delete, verdict) => {
                self.deletes.confirmed |= verdict == Verdict::Yes;
                self.deletes.refused = reading.is_refused();
                self.deletes.ambiguous |= reading.is_ambiguous();
                self.delete_settled &= verdict == Verdict::No;
            }
            (Action::Check, Verdict::Yes) => self.state = State::Present,
            (Action::Check, Verdict::No) => {
                self.state = State::Absent;
                self.was_absent |= self.walk == Walk::Probe;
            }
            (Action::Check, _) => self.state = State::Unknown,
        }
        if action == Action::Delete {
            self.state = State::Unknown;
        }
    }

    /// What comes after that reply.
    pub(super) fn after<R: Rules>(&mut self, action: Action, reading: &Reading) -> Next {
        match (self.walk, action) {
            (Walk::Create | Walk::Ensure, Action::Create) => self.after_post::<R>(reading),
            (Walk::Create | Walk::Ensure, _) => self.after_verification::<R>(reading),
            (Walk::Remove, Action::Delete) => Self::after_delete(reading),
            (Walk::Remove | Walk::Look, _) => self.after_look::<R>(reading),
            (Walk::Probe, _) => match reading.verdict {
                Verdict::Yes | Verdict::No => Then::Finish.at_once(),
                Verdict::Unsent | Verdict::Unclear => Then::Finish.after_retries(reading),
            },
        }
    }

    fn after_post<R: Rules>(&self, reading: &Reading) -> Next {
        match reading.verdict {
            Verdict::Yes if !R::must_verify() => Then::Finish.at_once(),
            Verdict::No if self.walk == Walk::Create && R::refusal_is_final(self.posts) => Then::Fail.at_once(),
            // Created, or refused where an earlier POST may have made the group: a GET decides.
            Verdict::Yes | Verdict::No => Then::Go(Action::Check).at_once(),
            Verdict::Unsent if !self.posts.ambiguous => Then::Fail.after_retries(reading),
            Verdict::Unsent | Verdict::Unclear => Then::Go(Action::Check).after_retries(reading),
        }
    }

    fn after_verification<R: Rules>(&mut self, reading: &Reading) -> Next {
        match reading.verdict {
            Verdict::Yes => Then::Finish.at_once(),
            // A create turns back and its rollback looks again; nobody does so after a repair.
            Verdict::No if self.walk == Walk::Ensure && self.absence_must_settle::<R>() => {
                self.state = State::Unknown;
                Next { retry: true, then: Then::Settle }
            }
            // A stale read looks like this; it is not believed at once.
            Verdict::No => Next { retry: true, then: Then::Fail },
            Verdict::Unsent | Verdict::Unclear => Then::Fail.after_retries(reading),
        }
    }

    fn after_delete(reading: &Reading) -> Next {
        match reading.verdict {
            Verdict::Yes | Verdict::No => Then::Go(Action::Check).at_once(),
            // The host was never reached, so a GET would not reach it either.
            Verdict::Unsent => Then::Finish.after_retries(reading),
            Verdict::Unclear => Then::Go(Action::Check).after_retries(reading),
        }
    }

    fn after_look<R: Rules>(&mut self, reading: &Reading) -> Next {
        match reading.verdict {
            Verdict::No if self.walk == Walk::Remove && !R::absence_counts(self.deletes) => {
                self.state = State::Unknown;
                Then::Finish.at_once()
            }
            Verdict::No if self.absence_must_settle::<R>() => self.settle().at_once(),
            // An earlier DELETE may be under way, or a replica may have missed it; this one is not sent again.
            Verdict::Yes if self.walk == Walk::Remove && self.deletes.refused && self.presence_must_settle::<R>() => {
                self.settle().at_once()
            }
            // It came back, or the DELETE was not applied.
            Verdict::Yes if self.walk == Walk::Remove && !self.deletes.refused => {
                if self.presence_must_settle::<R>() {
                    self.state = State::Unknown;
                }
                Then::Redo.at_once()
            }
            Verdict::Yes | Verdict::No => Then::Finish.at_once(),
            Verdict::Unsent | Verdict::Unclear => Then::Finish.after_retries(reading),
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
    pub(super) fn after_last_delete<R: Rules>(&mut self) -> Then {
        if self.presence_must_settle::<R>() { self.settle() } else { Then::Finish }
    }

    fn settle(&mut self) -> Then {
        self.state = State::Unknown;
        Then::Settle
    }

    /// The settle time is waited for now.
    pub(super) fn begin_settling(&mut self) {
        (self.settled, self.delete_settled) = (true, true);
    }
}

impl Then {
    fn at_once(self) -> Next {
        Next { retry: false, then: self }
    }

    fn after_retries(self, reading: &Reading) -> Next {
        Next { retry: reading.transient, then: self }
    }
}
