//! Floor 3: the claim of a probe on its group. Panics of the journal are caught.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::client::inner::ClientInner;
use crate::client::journal_calls::holds_until;
use crate::journal::calls::{JournalCall, JournalResult, SharedClaim};
use crate::values::cause::JournalError;
use crate::values::config::ConfigError;
use crate::values::error::Error;
use crate::values::group::GroupId;
use crate::values::intent::{ClaimError, Intent};
use crate::values::report::Operation;

/// The claim on a group without an unfinished operation.
pub(super) struct Held {
    client: Arc<ClientInner>,
    /// Present until the drop.
    claim: Option<SharedClaim>,
}

impl Held {
    /// # Errors
    /// [`Error::Config`] if the group has an unfinished operation, [`Error::Busy`] or [`Error::Journal`].
    pub(super) fn claim(client: &Arc<ClientInner>, group: &GroupId) -> Result<Self, Error> {
        let (claim, inherited) = match call(client, JournalCall::Claim(group.clone())) {
            JournalResult::Claimed(Ok(claimed)) => claimed,
            JournalResult::Claimed(Err(ClaimError::Busy(holder))) => {
                return Err(Error::busy(group, Operation::Create, holder));
            }
            JournalResult::Claimed(Err(ClaimError::Failed(source))) => {
                return Err(Error::journal(group, Operation::Create, source));
            }
            _ => return Err(Error::journal(group, Operation::Create, JournalError::unknown())),
        };
        let held = Held { client: Arc::clone(client), claim: Some(Arc::new(Mutex::new(claim))) };
        if inherited.is_none() {
            return Ok(held);
        }
        let problem = "has an unfinished operation in the journal";
        let remedy = "probe with another id, or recover that operation first";
        Err(ConfigError::new(client.api.noun().to_owned(), group.as_str(), problem, remedy).into())
    }

    /// # Errors
    /// [`Error::Journal`].
    pub(super) fn record(&self, intent: Intent) -> Result<(), Error> {
        let group = intent.group.clone();
        let Some(claim) = &self.claim else { return Ok(()) };
        match call(&self.client, JournalCall::Record(Arc::clone(claim), intent)) {
            JournalResult::Recorded(Err(source)) => Err(Error::journal(&group, Operation::Create, source)),
            _ => Ok(()),
        }
    }

    /// Returns the end of the claim, if it ends by itself.
    pub(super) fn holds_until(&self) -> Option<Instant> {
        self.claim.as_ref().and_then(holds_until)
    }

    pub(super) fn erase(&self) -> Result<(), JournalError> {
        let Some(claim) = &self.claim else { return Ok(()) };
        match call(&self.client, JournalCall::Erase(Arc::clone(claim))) {
            JournalResult::Erased(erased) => erased,
            _ => Ok(()),
        }
    }
}

/// Frees the group. The intent stays, unless it was erased.
impl Drop for Held {
    fn drop(&mut self) {
        // The last reference is dropped within the call, which catches a panic.
        call(&self.client, JournalCall::Release(self.claim.take()));
    }
}

fn call(client: &ClientInner, mut call: JournalCall) -> JournalResult {
    let result = call.run(&*client.journal);
    if !result.is_exhausted() {
        return result;
    }
    client.engines.shed_idle();
    call.run(&*client.journal)
}
