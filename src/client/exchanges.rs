//! Floor 3: table of the exchanges that an engine has not completed, with the operation of each.

use std::sync::Arc;

use crate::api::{Action, Reply};
use crate::engine::Exchange;
use crate::http::credentials::HostCredentials;
use crate::sync::now;
use crate::values::usage::Usage;

/// An exchange: the slot of its operation, and the request.
#[derive(Debug)]
pub(crate) struct Awaited {
    pub(crate) slot: usize,
    pub(crate) host: usize,
    pub(crate) action: Action,
    /// The exchange to send again after an answer 401. Absent without credentials, and after it was sent again.
    pub(crate) authorized: Option<Box<Authorized>>,
    /// Time and bytes of the exchange before it was sent again.
    pub(crate) spent: Usage,
}

/// An exchange with credentials, which may have changed when it is answered.
#[derive(Debug)]
pub(crate) struct Authorized {
    pub(crate) exchange: Exchange,
    pub(crate) credentials: Arc<HostCredentials>,
}

impl Authorized {
    /// Adds the header lines of the credentials to an exchange. Returns what is sent again after an answer 401, if there
    /// are credentials.
    pub(crate) fn of(exchange: Exchange, credentials: Option<&Arc<HostCredentials>>) -> (Exchange, Option<Box<Self>>) {
        let Some(credentials) = credentials else { return (exchange, None) };
        let exchange = Exchange { credentials: credentials.lines(now()), ..exchange };
        let again = Authorized { exchange: exchange.clone(), credentials: Arc::clone(credentials) };
        (exchange, Some(Box::new(again)))
    }
}

impl Awaited {
    /// Returns the exchange to send instead, if it was answered with 401 and there are other credentials by now. A server
    /// that answers 401 has applied nothing. The time of `usage` counts against the timeout.
    pub(crate) fn renewed(&mut self, reply: &Reply, usage: Usage) -> Option<Exchange> {
        const UNAUTHORIZED: u16 = 401;
        let Authorized { exchange, credentials } = *self.authorized.take()?;
        let left = exchange.timeout.checked_sub(usage.elapsed).filter(|left| !left.is_zero())?;
        if !matches!(reply, Reply::Answered { status: UNAUTHORIZED, .. }) {
            return None;
        }
        let renewed = credentials.renewed(&exchange.credentials, now())?;
        self.spent = usage;
        Some(Exchange { credentials: renewed, timeout: left, ..exchange })
    }
}

/// The exchanges that were submitted and have not completed. The id of an exchange is its index.
#[derive(Default)]
pub(crate) struct Exchanges {
    places: Vec<Option<Awaited>>,
    free: Vec<usize>,
}

impl Exchanges {
    /// Adds an exchange and returns its id.
    pub(crate) fn add(&mut self, awaited: Awaited) -> u64 {
        let place = self.free.pop().unwrap_or(self.places.len());
        if place == self.places.len() {
            self.places.push(Some(awaited));
        } else {
            self.places[place] = Some(awaited);
        }
        place as u64
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Awaited> {
        self.places.get(usize::try_from(id).ok()?)?.as_ref()
    }

    /// Removes an exchange by its id.
    pub(crate) fn remove(&mut self, id: u64) -> Option<Awaited> {
        let place = usize::try_from(id).ok()?;
        let awaited = self.places.get_mut(place)?.take()?;
        self.free.push(place);
        Some(awaited)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.free.len() == self.places.len()
    }
}
