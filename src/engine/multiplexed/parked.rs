//! Exchanges that wait for a free connection.

use std::collections::VecDeque;
use std::time::Instant;

use super::in_flight::InFlight;

/// Queue of exchanges, first in, first out.
#[derive(Default)]
pub(super) struct Parked {
    waiting: VecDeque<Box<InFlight>>,
    /// Lower bound of the times until which those in `waiting` may wait.
    first_deadline: Option<Instant>,
}

impl Parked {
    pub(super) fn push(&mut self, exchange: Box<InFlight>) {
        let until = exchange.parked_until();
        self.first_deadline = Some(self.first_deadline.map_or(until, |first| first.min(until)));
        self.waiting.push_back(exchange);
    }

    pub(super) fn pop(&mut self) -> Option<Box<InFlight>> {
        let popped = self.waiting.pop_front();
        if self.waiting.is_empty() {
            self.first_deadline = None;
        }
        popped
    }

    /// Removes the exchanges of which nothing was sent, and whose id is withdrawn.
    pub(super) fn withdraw(&mut self, is_withdrawn: &dyn Fn(u64) -> bool) -> VecDeque<Box<InFlight>> {
        withdraw(&mut self.waiting, is_withdrawn)
    }

    /// Returns the time after which [`Parked::take_expired`] may return an exchange.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.first_deadline
    }

    pub(super) fn take_expired(&mut self, now: Instant) -> VecDeque<Box<InFlight>> {
        if self.first_deadline.is_none_or(|first| first > now) {
            return VecDeque::new();
        }
        let (expired, waiting): (VecDeque<_>, VecDeque<_>) =
            self.waiting.drain(..).partition(|exchange| exchange.parked_until() <= now);
        self.first_deadline = waiting.iter().map(|exchange| exchange.parked_until()).min();
        self.waiting = waiting;
        expired
    }
}

/// Removes the exchanges of which nothing was sent, and whose id is withdrawn, from a queue.
pub(super) fn withdraw(
    queue: &mut VecDeque<Box<InFlight>>,
    is_withdrawn: &dyn Fn(u64) -> bool,
) -> VecDeque<Box<InFlight>> {
    let (withdrawn, kept) =
        queue.drain(..).partition(|exchange| !exchange.has_left && is_withdrawn(exchange.exchange.id));
    *queue = kept;
    withdrawn
}
