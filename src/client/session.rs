//! Floor 3: one call on its way from the client to the crew, and its result on the way back.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::client::cancel::{Cancel, CancelToken};
#[cfg(feature = "multiplex")]
use crate::client::driver::{Driver, Engines};
use crate::client::executor::{Crew, Threads};
use crate::client::flight::{Edges, Flight};
use crate::client::options::OperationOptions;
use crate::protocol::{Ending, Limits, Machine};
use crate::values::group::GroupId;
use crate::values::host::Hosts;
use crate::values::report::{Operation, OperationId, Report};
use crate::values::retry::RetryBudgets;

/// What all clones of a client share.
pub(crate) struct Shared {
    pub(crate) hosts: Hosts,
    pub(crate) edges: Edges,
    pub(crate) limits: Limits,
    pub(crate) in_flight: usize,
    pub(crate) budgets: Arc<Mutex<RetryBudgets>>,
    pub(crate) threads: Arc<Threads>,
    /// The engines, unless threads send the requests.
    #[cfg(feature = "multiplex")]
    pub(crate) engines: Option<Arc<Engines>>,
}

/// What one call was told, beside what its client was.
#[derive(Clone)]
pub(crate) struct Session {
    shared: Arc<Shared>,
    timeout: Option<Duration>,
    cancel: Option<CancelToken>,
    preflight: bool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("timeout", &self.timeout)
            .field("cancel", &self.cancel)
            .field("preflight", &self.preflight)
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn new(shared: Arc<Shared>, options: &OperationOptions) -> Self {
        let OperationOptions { timeout, cancel, preflight } = options.clone();
        Session { timeout: timeout.or(shared.limits.deadline), cancel, preflight, shared }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Runs one operation to its end; the calling thread takes part.
    pub(crate) fn run(&self, operation: Operation, group: GroupId) -> Report {
        let runner = self.runner(1, true);
        let _watched = self.watch(&runner);
        runner.add(0, self.machine(operation, group), true);
        let (_, _, report) = runner.take();
        report
    }

    /// A runner for at most that many operations at a time.
    pub(crate) fn runner(&self, in_flight: usize, is_single: bool) -> Runner {
        let shared = &self.shared;
        let flight = Flight::new(shared.edges.clone(), Arc::clone(&shared.budgets), in_flight);
        #[cfg(not(feature = "multiplex"))]
        let _ = is_single;
        let (edges, threads) = (shared.edges.clone(), Arc::clone(&shared.threads));
        #[cfg(feature = "multiplex")]
        if let Some(engines) = &shared.engines {
            return Runner::Driver(Driver::new(flight, edges, engines, threads, is_single));
        }
        Runner::Crew(Crew::new(flight, edges, threads))
    }

    /// Lets the call's token give the work up, as long as what is returned lives.
    pub(crate) fn watch(&self, runner: &Runner) -> Option<Arc<dyn Cancel>> {
        let token = self.cancel.as_ref()?;
        let watched = runner.as_cancel();
        token.watch(&watched);
        Some(watched)
    }

    /// Not to be called under a lock: it asks the logger, which is foreign code.
    pub(crate) fn machine(&self, operation: Operation, group: GroupId) -> Machine {
        let limits = Limits { deadline: self.timeout, ..self.shared.limits.clone() };
        let cluster = Arc::clone(&self.shared.edges.cluster);
        let api = Arc::clone(&self.shared.edges.api);
        let mut machine = Machine::new(operation, self.preflight, group, cluster, api, limits, fastrand::u64(..));
        machine.set_id(OperationId::new(fastrand::u64(..)));
        if self.shared.edges.audience.listens() {
            machine.narrate();
        }
        machine
    }
}

/// Runs operations: threads that share the work, or a driver over an engine.
pub(crate) enum Runner {
    Crew(Arc<Crew<Flight, Edges>>),
    #[cfg(feature = "multiplex")]
    Driver(Arc<Driver>),
}

impl Runner {
    /// Adds an operation. The caller of a single one waits for it at once.
    pub(crate) fn add(&self, position: usize, machine: Machine, is_single: bool) {
        match self {
            Runner::Crew(crew) if is_single => crew.change(|flight| flight.add(position, machine, Instant::now())),
            Runner::Crew(crew) => crew.add(|flight| flight.add(position, machine, Instant::now())),
            #[cfg(feature = "multiplex")]
            Runner::Driver(driver) => driver.add(position, machine),
        }
    }

    /// Blocks until an operation has ended.
    pub(crate) fn take(&self) -> (usize, Ending, Report) {
        match self {
            Runner::Crew(crew) => crew.take_part(Flight::collect),
            #[cfg(feature = "multiplex")]
            Runner::Driver(driver) => driver.take(),
        }
    }

    /// The result of an operation that has ended.
    pub(crate) fn try_take(&self) -> Option<(usize, Ending, Report)> {
        match self {
            Runner::Crew(crew) => crew.try_take(Flight::collect),
            #[cfg(feature = "multiplex")]
            Runner::Driver(driver) => driver.try_take(),
        }
    }

    /// Gives all operations up, and waits for the `open` ones that have not been taken.
    pub(crate) fn abandon(&self, open: usize) {
        let is_broken = match self {
            Runner::Crew(crew) => crew.is_broken(),
            #[cfg(feature = "multiplex")]
            Runner::Driver(driver) => driver.is_broken(),
        };
        if open > 0 && !is_broken {
            self.as_cancel().cancel();
            (0..open).for_each(|_| drop(self.take()));
        }
        #[cfg(feature = "multiplex")]
        if let Runner::Driver(driver) = self {
            driver.end();
        }
    }

    fn as_cancel(&self) -> Arc<dyn Cancel> {
        match self {
            Runner::Crew(crew) => Arc::<Crew<Flight, Edges>>::clone(crew),
            #[cfg(feature = "multiplex")]
            Runner::Driver(driver) => Arc::<Driver>::clone(driver),
        }
    }
}

impl Cancel for Crew<Flight, Edges> {
    fn cancel(&self) {
        self.change(|flight| flight.cancel(Instant::now()));
    }
}
