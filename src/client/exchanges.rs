//! Floor 3: table of the exchanges that an engine has not completed, with the operation of each.

use crate::api::Action;

/// An exchange: the slot of its operation, and the request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Awaited {
    pub(crate) slot: usize,
    pub(crate) host: usize,
    pub(crate) action: Action,
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
