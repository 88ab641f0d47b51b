//! Floor 3: the options of one operation, and the way of an operation from the caller to a driver and back.

use std::sync::Arc;
use std::time::Duration;

use crate::client::cancel::{Cancel, CancelToken};
use crate::client::driver::Driver;
use crate::client::inner::ClientInner;
use crate::protocol::{Ending, Limits, Machine};
use crate::values::error::Error;
use crate::values::group::GroupId;
use crate::values::report::{Cause, Operation, Outcome, Report, State, Target};

/// The options of one call.
#[derive(Clone)]
pub(crate) struct OperationOptions {
    client: Arc<ClientInner>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) cancel: Option<CancelToken>,
    pub(crate) preflight: bool,
}

impl std::fmt::Debug for OperationOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OperationOptions")
            .field("deadline", &self.deadline)
            .field("cancel", &self.cancel)
            .field("preflight", &self.preflight)
            .finish_non_exhaustive()
    }
}

impl OperationOptions {
    pub(crate) fn new(client: Arc<ClientInner>) -> Self {
        OperationOptions { deadline: client.limits.deadline, cancel: None, preflight: true, client }
    }

    pub(crate) fn client(&self) -> &Arc<ClientInner> {
        &self.client
    }

    /// Runs one operation to its end.
    pub(crate) fn run(&self, operation: Operation, group: GroupId) -> Result<Report, Error> {
        let driver = Driver::new(&self.client, 1, true);
        let _watched = self.watch(&driver);
        driver.add(0, self.machine(operation, group));
        let (_, ending, report) = driver.take();
        conclude(ending, report)
    }

    /// Lets the cancel token cancel the operations of `driver`, as long as the returned value lives.
    pub(crate) fn watch(&self, driver: &Arc<Driver>) -> Option<Arc<dyn Cancel>> {
        let token = self.cancel.as_ref()?;
        let watched: Arc<dyn Cancel> = Arc::<Driver>::clone(driver);
        token.watch(&watched);
        Some(watched)
    }

    /// Creates the machine of an operation. It asks the logger, which is foreign code, so no lock may be held.
    pub(crate) fn machine(&self, operation: Operation, group: GroupId) -> Machine {
        let client = &self.client;
        let limits = Limits { deadline: self.deadline, ..client.limits.clone() };
        let (cluster, api) = (Arc::clone(&client.cluster), Arc::clone(&client.api));
        let mut machine = Machine::new(operation, self.preflight, group, cluster, api, limits, fastrand::u64(..));
        if client.observers.are_there() {
            machine.record_events();
        }
        machine
    }
}

/// Turns what the protocol says into what a caller gets.
pub(crate) fn conclude(ending: Ending, report: Report) -> Result<Report, Error> {
    let outcome = match ending {
        Ending::Busy(holder) => return Err(Error::Busy { group: report.group, holder }),
        Ending::Conflict { unfinished, unnamed } => {
            return Err(Error::Conflict { unfinished, unnamed });
        }
        Ending::Journal(source) => {
            return Err(Error::Journal { group: report.group.clone(), report: Some(Box::new(report)), source });
        }
        Ending::Unrecorded(source) => return Err(Error::Unrecorded(Box::new(report), source)),
        Ending::Reported(outcome) => outcome,
    };
    let reached = match report.operation {
        Operation::Repair(Target::Present) => report.all(State::Present),
        Operation::Repair(Target::Absent) => report.all(State::Absent),
        _ => true,
    };
    match outcome {
        Outcome::Finished if !reached => Err(Error::InDoubt(Box::new(report))),
        Outcome::AlreadyExists => Err(Error::AlreadyExists(Box::new(report))),
        Outcome::Unavailable | Outcome::RolledBack if report.cause == Some(Cause::Cancelled) => {
            Err(Error::Cancelled(Box::new(report)))
        }
        Outcome::Unavailable | Outcome::RolledBack if matches!(report.cause, Some(Cause::TimedOut { .. })) => {
            Err(Error::TimedOut(Box::new(report)))
        }
        Outcome::Unavailable => Err(Error::Unavailable(Box::new(report))),
        Outcome::RolledBack => Err(Error::RolledBack(Box::new(report))),
        Outcome::InDoubt | Outcome::Unrecorded => Err(Error::InDoubt(Box::new(report))),
        Outcome::Created | Outcome::Finished | Outcome::Observed | Outcome::Recovered => Ok(report),
    }
}
