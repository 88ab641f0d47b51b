//! One host's way through a phase: which action comes after which reply. No decision about other hosts
//! is taken here.

use std::time::Duration;

use super::rules::{Evidence, Posts, Rules};
use crate::api::{Action, Reading, Verdict};
use crate::report::{HostStep, State};
use crate::retry::{Delays, RetryPolicy};

/// What a host does in the current phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Walk {
    /// GET until it is answered.
    Probe,
    /// POST, then GET until it shows the group. A refusal means that it is not ours.
    Create,
    /// The same for a repair, which takes the group from whoever made it.
    Ensure,
    /// DELETE, then GET until it shows nothing; where a POST was ambiguous, GET again a settle time later.
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
    /// DELETE again, while the schedule of rounds lasts; else the host is through.
    Redo,
    /// The host is through.
    Finish,
    /// The host cannot get the group: a create fails as a whole.
    Fail,
}

#[derive(Debug, Clone)]
pub(super) struct Track {
    pub(super) walk: Walk,
    /// What is sent next, or is in flight; `None` when the host is through.
    pub(super) action: Option<Action>,
    pub(super) in_flight: bool,
    pub(super) posts: Posts,
    pub(super) state: State,
    /// A GET said 404 before our first POST.
    pub(super) was_absent: bool,
    /// The second look has been waited for.
    settled: bool,
    /// The last DELETE was refused for good.
    refused: bool,
    /// The waits between tries of the current action, and between rounds of DELETE.
    pub(super) tries: Delays,
    pub(super) rounds: Delays,
    pub(super) attempt: u32,
    pub(super) begun: Duration,
    pub(super) steps: Vec<HostStep>,
    /// Why no more was sent, where the operation stopped this host.
    pub(super) given_up: Option<&'static str>,
}

impl Track {
    pub(super) fn new(policy: &RetryPolicy) -> Self {
        Track {
            walk: Walk::Probe,
            action: None,
            in_flight: false,
            posts: Posts::default(),
            state: State::Unknown,
            was_absent: false,
            settled: false,
            refused: false,
            tries: policy.delays(),
            rounds: policy.delays(),
            attempt: 0,
            begun: Duration::ZERO,
            steps: Vec::new(),
            given_up: None,
        }
    }

    pub(super) fn evidence(&self) -> Evidence {
        Evidence { posts: self.posts, state: self.state, was_absent: self.was_absent }
    }

    /// Starts a walk. What is known of the host's POSTs stays, what was known of its state does not.
    pub(super) fn start(&mut self, walk: Walk, policy: &RetryPolicy) {
        self.walk = walk;
        self.settled = false;
        self.refused = false;
        self.given_up = None;
        self.state = State::Unknown;
        self.rounds = policy.delays();
        self.turn_to(
            match walk {
                Walk::Probe | Walk::Look => Action::Check,
                Walk::Create | Walk::Ensure => Action::Create,
                Walk::Remove => Action::Delete,
            },
            policy,
        );
    }

    pub(super) fn turn_to(&mut self, action: Action, policy: &RetryPolicy) {
        self.action = Some(action);
        self.attempt = 0;
        self.tries = policy.delays();
    }

    /// Notes that the next request leaves.
    pub(super) fn send(&mut self, now: Duration) -> (Action, u32) {
        let action = self.action.expect("only a host with an action is handed out");
        self.in_flight = true;
        self.attempt += 1;
        if self.attempt == 1 {
            self.begun = now;
            self.steps.push(HostStep {
                action,
                succeeded: false,
                attempts: 0,
                status: None,
                error: None,
                elapsed: Duration::ZERO,
            });
        }
        (action, self.attempt)
    }

    /// Notes what a reply tells, whatever comes next.
    pub(super) fn note(&mut self, action: Action, reading: &Reading, now: Duration) {
        self.in_flight = false;
        if let Some(step) = self.steps.last_mut() {
            step.attempts = self.attempt;
            step.succeeded = reading.verdict == Verdict::Yes;
            step.status = reading.status;
            step.error.clone_from(&reading.error);
            step.elapsed = now.saturating_sub(self.begun);
        }
        match (action, reading.verdict) {
            (Action::Create, Verdict::Unsent) => {}
            (Action::Create, verdict) => {
                self.posts.sent = true;
                self.posts.created |= verdict == Verdict::Yes;
                self.posts.ambiguous |= verdict == Verdict::Unclear;
            }
            (Action::Check, Verdict::Yes) => self.state = State::Present,
            (Action::Check, Verdict::No) => {
                self.state = State::Absent;
                self.was_absent |= self.walk == Walk::Probe;
            }
            (Action::Check, _) => self.state = State::Unknown,
            (Action::Delete, _) => {
                self.state = State::Unknown;
                self.refused = reading.verdict == Verdict::Unclear && !reading.transient;
            }
        }
    }

    /// What comes after that reply.
    pub(super) fn after<R: Rules>(&mut self, action: Action, reading: &Reading) -> Next {
        match (self.walk, action) {
            (Walk::Create | Walk::Ensure, Action::Create) => self.after_post::<R>(reading),
            (Walk::Create | Walk::Ensure, _) => Self::after_verification(reading),
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

    fn after_verification(reading: &Reading) -> Next {
        match reading.verdict {
            Verdict::Yes => Then::Finish.at_once(),
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
            Verdict::No if R::must_settle(self.posts) && !self.settled => {
                self.settled = true;
                self.state = State::Unknown;
                Then::Settle.at_once()
            }
            // It came back, or the DELETE was not applied.
            Verdict::Yes if self.walk == Walk::Remove && !self.refused => Then::Redo.at_once(),
            Verdict::Yes | Verdict::No => Then::Finish.at_once(),
            Verdict::Unsent | Verdict::Unclear => Then::Finish.after_retries(reading),
        }
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
