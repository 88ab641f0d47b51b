//! Floor 3: one call on its way from the client to the crew, and its result on the way back.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::cancel::{Cancel, CancelToken};
use crate::error::Error;
use crate::executor::{Crew, Threads};
use crate::flight::{Edges, Flight};
use crate::group::GroupId;
use crate::host::Hosts;
use crate::protocol::{Ending, Limits, Machine};
use crate::report::{Cause, Operation, Outcome, Report, State, Target};
use crate::retry::RetryBudgets;

/// What all clones of a client share.
pub(crate) struct Shared {
    pub(crate) hosts: Hosts,
    pub(crate) edges: Edges,
    pub(crate) limits: Limits,
    pub(crate) in_flight: usize,
    pub(crate) budgets: Arc<Mutex<RetryBudgets>>,
    pub(crate) threads: Arc<Threads>,
}

/// What one call was told, beside what its client was.
#[derive(Clone)]
pub(crate) struct Session {
    shared: Arc<Shared>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) cancel: Option<CancelToken>,
    pub(crate) preflight: bool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("deadline", &self.deadline)
            .field("cancel", &self.cancel)
            .field("preflight", &self.preflight)
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Session { deadline: shared.limits.deadline, cancel: None, preflight: true, shared }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Runs one operation to its end; the calling thread takes part.
    pub(crate) fn run(&self, operation: Operation, group: GroupId) -> Result<Report, Error> {
        let crew = self.crew(1);
        let _watched = self.watch(&crew);
        let machine = self.machine(operation, group);
        crew.change(|flight| flight.add(0, machine, Instant::now()));
        let (_, ending, report) = crew.take_part(Flight::collect);
        conclude(ending, report)
    }

    /// A crew without work, for at most that many operations at a time.
    pub(crate) fn crew(&self, in_flight: usize) -> Arc<Crew<Flight, Edges>> {
        let shared = &self.shared;
        let flight = Flight::new(shared.edges.clone(), Arc::clone(&shared.budgets), in_flight);
        Crew::new(flight, shared.edges.clone(), Arc::clone(&shared.threads))
    }

    /// Lets the call's token give the crew's work up, as long as what is returned lives.
    pub(crate) fn watch(&self, crew: &Arc<Crew<Flight, Edges>>) -> Option<Arc<dyn Cancel>> {
        let token = self.cancel.as_ref()?;
        let watched: Arc<dyn Cancel> = Arc::<Crew<Flight, Edges>>::clone(crew);
        token.watch(&watched);
        Some(watched)
    }

    /// Not to be called under a lock: it asks the logger, which is foreign code.
    pub(crate) fn machine(&self, operation: Operation, group: GroupId) -> Machine {
        let limits = Limits { deadline: self.deadline, ..self.shared.limits.clone() };
        let cluster = Arc::clone(&self.shared.edges.cluster);
        let api = Arc::clone(&self.shared.edges.api);
        let mut machine = Machine::new(operation, self.preflight, group, cluster, api, limits, fastrand::u64(..));
        if self.shared.edges.audience.listens() {
            machine.narrate();
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

impl Cancel for Crew<Flight, Edges> {
    fn cancel(&self) {
        self.change(|flight| flight.cancel(Instant::now()));
    }
}
