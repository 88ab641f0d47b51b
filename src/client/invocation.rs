//! Floor 3: starts an operation on a driver, and returns its report.

use std::sync::Arc;

use crate::client::cancel::Cancel;
use crate::client::driver::Driver;
use crate::client::inner::ClientInner;
use crate::client::options::{CallHeaders, OperationOptions};
use crate::protocol::{Limits, Machine};
use crate::values::config::ConfigError;
use crate::values::group::GroupId;
use crate::values::report::{Operation, OperationId, Report};

/// A client and the options of its operations.
#[derive(Clone)]
pub(crate) struct Invocation {
    client: Arc<ClientInner>,
    options: OperationOptions,
}

impl Invocation {
    pub(crate) fn new(client: Arc<ClientInner>, options: OperationOptions) -> Self {
        Invocation { client, options }
    }

    pub(crate) fn client(&self) -> &Arc<ClientInner> {
        &self.client
    }

    /// Returns the headers of the operations' requests.
    pub(crate) fn headers(&self) -> CallHeaders {
        Arc::clone(&self.options.headers)
    }

    /// Returns whether a bulk takes ids before their operations can begin.
    pub(crate) fn reads_ahead(&self) -> bool {
        self.options.read_ahead
    }

    /// Checks an operation against the API of the client, before anything is sent.
    pub(crate) fn check(&self, operation: Operation, group: &GroupId) -> Result<(), ConfigError> {
        let api = &self.client.api;
        // These two go by the intent.
        if matches!(operation, Operation::Recover | Operation::Forget) {
            return Ok(());
        }
        if operation == Operation::Create && !self.options.preflight && !api.proves_ownership() {
            let problem = format!("is refused, because a create by the API {} proves no ownership", api.name());
            let remedy = "keep the preflight, or list the answers to a create of what exists already";
            return Err(ConfigError::new("preflight", "false", problem, remedy));
        }
        api.check_id(group)
    }

    /// Runs one operation to its end.
    ///
    /// # Errors
    /// A [`ConfigError`] if the API of the client refuses it. Nothing was sent.
    pub(crate) fn run(&self, operation: Operation, group: GroupId) -> Result<Report, ConfigError> {
        self.check(operation, &group)?;
        let driver = Driver::new(&self.client, 1, true, self.headers());
        let _watched = self.watch(&driver);
        driver.add(0, self.machine(operation, group));
        let (_, report) = driver.take();
        Ok(report)
    }

    /// Lets the cancel token cancel the operations of `driver` until the returned value is dropped.
    pub(crate) fn watch(&self, driver: &Arc<Driver>) -> Option<Arc<dyn Cancel>> {
        let token = self.options.cancel.as_ref()?;
        let watched: Arc<dyn Cancel> = Arc::<Driver>::clone(driver);
        token.watch(&watched);
        Some(watched)
    }

    /// Creates the machine of an operation. Calls the logger, which is foreign code, so the caller must hold no lock.
    pub(crate) fn machine(&self, operation: Operation, group: GroupId) -> Machine {
        let client = &self.client;
        let operation_timeout = self.options.timeout.or(client.limits.operation_timeout);
        let limits = Limits { operation_timeout, ..client.limits.clone() };
        let (cluster, api) = (Arc::clone(&client.cluster), Arc::clone(&client.api));
        let preflight = self.options.preflight;
        let mut machine = Machine::new(operation, preflight, group, cluster, api, limits, fastrand::u64(..));
        machine.set_known_apis(&client.known_apis);
        machine.set_authorized(&client.authorized);
        machine.set_id(OperationId::new(fastrand::u64(..)));
        if client.observers.are_there() {
            machine.record_events();
        }
        machine
    }
}
