//! Exchanges that wait for the address of their host.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::in_flight::InFlight;
use crate::http::resolver::{Found, LookUp, Resolver, too_late};
use crate::values::cause::RequestError;

pub(super) struct Lookups {
    resolver: Arc<Resolver>,
    running: Vec<(Box<InFlight>, Arc<LookUp>)>,
    /// Exchanges that wait for a slot of the resolver.
    queued: VecDeque<(Box<InFlight>, Arc<str>)>,
}

/// Result of [`Lookups::start`].
pub(super) enum Start {
    /// [`Lookups::take_ended`] returns the exchange later.
    Waits,
    Failed(Box<InFlight>, RequestError),
}

impl Lookups {
    pub(super) fn new(resolver: Arc<Resolver>) -> Self {
        Lookups { resolver, running: Vec::new(), queued: VecDeque::new() }
    }

    pub(super) fn start(&mut self, name: Arc<str>, exchange: Box<InFlight>) -> Start {
        match self.resolver.start(&name) {
            Ok(Some(look_up)) => self.running.push((exchange, look_up)),
            Ok(None) => self.queued.push_back((exchange, name)),
            Err(error) => return Start::Failed(exchange, error),
        }
        Start::Waits
    }

    /// Removes the exchanges whose look-up has ended or whose deadline has passed.
    pub(super) fn take_ended(&mut self, now: Instant) -> Vec<(Box<InFlight>, Found)> {
        let mut ended = Vec::new();
        let late = |exchange: &InFlight| Err(too_late(exchange.exchange.timeout));
        let mut place = 0;
        while let Some((exchange, look_up)) = self.running.get(place) {
            let found = look_up.found().or_else(|| (exchange.deadline <= now).then(|| late(exchange)));
            match found {
                Some(found) => ended.push((self.running.swap_remove(place).0, found)),
                None => place += 1,
            }
        }
        while let Some((exchange, name)) = self.queued.pop_front() {
            match self.resolver.start(&name) {
                Ok(Some(look_up)) => self.running.push((exchange, look_up)),
                Ok(None) => {
                    self.queued.push_front((exchange, name));
                    break;
                }
                Err(error) => ended.push((exchange, Err(error))),
            }
        }
        if self.queued.iter().any(|(exchange, _)| exchange.deadline <= now) {
            let (over, waiting) =
                self.queued.drain(..).partition::<Vec<_>, _>(|(exchange, _)| exchange.deadline <= now);
            self.queued = waiting.into();
            ended.extend(over.into_iter().map(|(exchange, _)| {
                let found = late(&exchange);
                (exchange, found)
            }));
        }
        ended
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let running = self.running.iter().map(|(exchange, _)| exchange.deadline);
        running.chain(self.queued.iter().map(|(exchange, _)| exchange.deadline)).min()
    }
}
