//! Exchanges that wait for a free connection.

use std::collections::VecDeque;
use std::time::Instant;

use super::in_flight::InFlight;

/// Queue of exchanges, first in, first out.
#[derive(Default)]
pub(super) struct Parked {
    waiting: VecDeque<Box<InFlight>>,
    /// Lower bound of the deadlines in `waiting`.
    first_deadline: Option<Instant>,
}

impl Parked {
    pub(super) fn push(&mut self, exchange: Box<InFlight>) {
        let first = self.first_deadline.map_or(exchange.deadline, |first| first.min(exchange.deadline));
        self.first_deadline = Some(first);
        self.waiting.push_back(exchange);
    }

    pub(super) fn pop(&mut self) -> Option<Box<InFlight>> {
        let popped = self.waiting.pop_front();
        if self.waiting.is_empty() {
            self.first_deadline = None;
        }
        popped
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
            self.waiting.drain(..).partition(|exchange| exchange.deadline <= now);
        self.first_deadline = waiting.iter().map(|exchange| exchange.deadline).min();
        self.waiting = waiting;
        expired
    }
}
