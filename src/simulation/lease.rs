//! Claims that end by themselves, and the second coordinator that works on the group afterwards.
//!
//! The lock of a scenario `leased` is held for [`TTL`] after its last renewal. It is renewed at each step of its owner,
//! until the schedule ends the renewals or stops the process. A second coordinator claims the group as soon as the lock
//! is free, while the first is stopped between two steps, or between a decision and its journal call. It works to its
//! end, then the first goes on. Requests of the first that are in flight take effect before, or late.

use std::time::Duration;

use super::driver::{DriverMutant, Planned, Run};
use super::oracle::{HostLog, Pass};
use super::world::{SentRequest, TIMEOUT, World};
use crate::protocol::{Machine, Rules};

/// The length of a lease: the shortest that docs/protocol.md allows.
const TTL: Duration = TIMEOUT.saturating_mul(2).saturating_add(Duration::from_millis(2));

/// The lock of the current machine.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Lease {
    /// End of the claim, as its owner knows it. `None` before the claim.
    pub(super) holds_until: Option<Duration>,
    /// The renewals of the owner have ended.
    ended: bool,
    /// Another coordinator has claimed the group since.
    pub(super) is_superseded: bool,
}

/// The state of the first coordinator, while the second works.
struct Paused {
    pass: Pass,
    logs: Vec<HostLog>,
    in_flight: Vec<SentRequest>,
    lease: Lease,
}

impl World {
    /// Begins the lease of a claim.
    pub(super) fn lease(&mut self) {
        if self.is_leased {
            self.lease = Lease { holds_until: Some(self.now + TTL), ..Lease::default() };
        }
    }

    /// Renews the lease, unless it has ended. A process that was stopped for too long finds it ended.
    fn renew(&mut self) {
        let Lease { holds_until: Some(until), ended, .. } = &mut self.lease else { return };
        *ended |= self.now >= *until;
        if !*ended {
            *until = self.now + TTL;
        }
    }

    /// Whether the claim of the current machine has ended.
    pub(super) fn has_claim_ended(&self) -> bool {
        self.lease.holds_until.is_some_and(|until| self.now >= until)
    }

    /// Whether a change of the intent is refused, because the lock is that of another coordinator.
    pub(super) fn is_fenced(&self) -> bool {
        self.lease.is_superseded && self.driver != DriverMutant::NoFence
    }

    fn pause(&mut self) -> Paused {
        let logs = self.nodes.iter_mut().map(|node| std::mem::take(&mut node.log)).collect();
        let (pass, in_flight) = (std::mem::take(&mut self.pass), std::mem::take(&mut self.in_flight));
        Paused { pass, logs, in_flight, lease: std::mem::take(&mut self.lease) }
    }

    fn resume(&mut self, paused: Paused) {
        for (node, log) in self.nodes.iter_mut().zip(paused.logs) {
            node.log = log;
        }
        (self.pass, self.in_flight) = (paused.pass, paused.in_flight);
        self.pass.stalled = true;
        self.lease = Lease { ended: true, is_superseded: true, ..paused.lease };
        self.touched = true;
    }
}

impl Run<'_> {
    /// Renews the lease, and tells the machine its end.
    pub(super) fn renew<R: Rules>(&mut self, machine: &mut Machine<R>, began: Duration) {
        self.world.renew();
        if let Some(until) = self.world.lease.holds_until {
            machine.set_holds_until(until.saturating_sub(began));
        }
    }

    /// Number of events of the lease that may happen now.
    pub(super) fn lease_events(&self) -> usize {
        let Lease { holds_until: Some(_), ended, .. } = self.world.lease else { return 0 };
        usize::from(!ended) + self.takeovers()
    }

    fn takeovers(&self) -> usize {
        if self.world.is_leased && !self.is_taken_over { Planned::OTHERS.len() } else { 0 }
    }

    /// Lets one of the events happen: the renewals end, or another coordinator works. Returns the time of that.
    pub(super) fn let_lease_event_happen<R: Rules>(&mut self, event: usize) -> Duration {
        if event == 0 && !self.world.lease.ended {
            self.world.trace(|_| "RENEWALS END".into());
            self.world.lease.ended = true;
            return Duration::ZERO;
        }
        self.take_over::<R>(event - usize::from(!self.world.lease.ended))
    }

    /// Stops the process between a decision and its journal call: nothing happens, or another coordinator works.
    pub(super) fn before_journal_call<R: Rules>(&mut self) -> Duration {
        if self.world.lease.holds_until.is_none() {
            return Duration::ZERO;
        }
        match self.world.choices.choose(1 + self.takeovers()) {
            0 => Duration::ZERO,
            other => self.take_over::<R>(other - 1),
        }
    }

    /// Stops the process until its lease has ended and another coordinator has worked.
    fn take_over<R: Rules>(&mut self, other: usize) -> Duration {
        let began = self.world.now;
        self.world.trace(|_| "PAUSE, another coordinator works".into());
        self.is_taken_over = true;
        self.world.answer_in_flight();
        self.world.advance_to(self.world.lease.holds_until.unwrap_or_default());
        self.world.forget_refusals();
        let paused = self.world.pause();
        self.operate::<R>(Planned::OTHERS[other]);
        self.world.resume(paused);
        self.world.trace(|_| "the first coordinator goes on".into());
        self.world.now.saturating_sub(began)
    }
}
