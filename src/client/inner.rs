//! Floor 3: the state that all clones of a client share.

use std::sync::{Arc, Mutex};

use crate::api::Api;
use crate::client::journal_calls;
use crate::client::observer::Observers;
use crate::engine::engines::Engines;
use crate::engine::threads::pool::Pool;
use crate::http::credentials::CredentialStore;
use crate::journal::{Journal, Unfinished};
use crate::protocol::Limits;
use crate::values::authorized::Authorized;
use crate::values::cause::JournalError;
use crate::values::host::{Host, Hosts};
use crate::values::retry::RetryBudgets;

/// The state that all clones of a client share.
pub(crate) struct ClientInner {
    pub(crate) hosts: Hosts,
    /// The hosts, for the machines.
    pub(crate) cluster: Arc<[Host]>,
    /// The API of the client. An intent may contain another one, which its recovery uses.
    pub(crate) api: Arc<Api>,
    /// Other APIs that an intent may refer to.
    pub(crate) known_apis: Arc<[Api]>,
    pub(crate) limits: Limits,
    /// Maximum number of operations of a bulk that run at a time.
    pub(crate) in_flight: usize,
    pub(crate) budgets: Arc<Mutex<RetryBudgets>>,
    pub(crate) journal: Arc<dyn Journal>,
    /// Whether the journal keeps intents, so that operations can be recovered.
    pub(crate) keeps_intents: bool,
    pub(crate) observers: Observers,
    pub(crate) pool: Arc<Pool>,
    pub(crate) engines: Engines,
    pub(crate) credentials: CredentialStore,
    /// The hosts whose requests have credentials.
    pub(crate) authorized: Arc<Authorized>,
    /// The warnings about the settings, for a person.
    pub(crate) warnings: Vec<String>,
}

impl ClientInner {
    /// Returns the unfinished operations in the journal.
    pub(crate) fn unfinished(&self) -> Result<Unfinished, JournalError> {
        journal_calls::unfinished(&*self.journal, || self.engines.shed_idle())
    }
}
