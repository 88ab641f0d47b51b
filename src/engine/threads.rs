//! The thread engine: each exchange blocks one thread of the client.
//!
//! ```text
//!   submit ──▶ queue ──▶ a thread of the pool, or the caller ──▶ completed ──▶ Lead::lead
//! ```
//! An exchange holds its thread from the look-up to the end of the answer. A thread that finds more in the queue starts
//! two others, so their number grows quickly. After each exchange a thread takes the driver's seat if it is free.
//! Deliberately absent: any estimate of the time that a host takes.

#[cfg(all(test, loom))]
pub(crate) mod model;
pub(crate) mod pool;
#[cfg(test)]
mod tests;
pub(crate) mod transport;

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, Weak};
use std::time::Instant;

use self::pool::{Pool, Task};
use self::transport::UreqTransport;
use super::{Completion, Engine, Exchange, Lead, Share};
use crate::api::Reply;
use crate::http::errors;
use crate::sync::{Condvar, Mutex, MutexGuard, Wake, now};
use crate::values::cause::{RequestError, RequestErrorKind as Kind};
use crate::values::config::ConfigError;
use crate::values::host::Host;
use crate::values::usage::{Traffic, Usage};

/// Maximum number of threads that a thread starts at a time if the queue is not empty.
const AT_ONCE: usize = 2;

/// The engine. See the head of this file.
pub(crate) struct Threads {
    /// The transport of each host, and the number of the host in it.
    hosts: Vec<(Arc<UreqTransport>, usize)>,
    cluster: Arc<UreqTransport>,
    /// Filled when a host is added.
    numbers: HashMap<Host, usize>,
    known: Vec<Host>,
    /// Exchanges that were submitted and not returned to the driver.
    open: usize,
    queue: Arc<Queue>,
}

/// The exchanges and completions, shared with the threads.
struct Queue {
    pool: Arc<Pool>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Exchanges that no thread has begun.
    jobs: VecDeque<Job>,
    /// Threads that are on their way to the queue.
    arriving: usize,
    /// The pool has refused a thread. A task in its backlog will work on the queue.
    has_backlog: bool,
    /// Exchanges that a thread has begun.
    running: usize,
    completed: Vec<Completion>,
    woken: bool,
    /// The driver blocks in `wait`.
    waiting: bool,
    leader: Option<Weak<dyn Lead>>,
}

impl Threads {
    /// Creates an engine for the hosts of `cluster`, over its connections.
    pub(crate) fn new(hosts: &[Host], cluster: &Arc<UreqTransport>, pool: Arc<Pool>) -> Self {
        Threads {
            hosts: (0..hosts.len()).map(|number| (Arc::clone(cluster), number)).collect(),
            cluster: Arc::clone(cluster),
            numbers: HashMap::new(),
            known: hosts.to_vec(),
            open: 0,
            queue: Arc::new(Queue { pool, state: Mutex::default(), changed: Condvar::new() }),
        }
    }
}

impl Engine for Threads {
    fn add_host(&mut self, host: &Host) -> Result<usize, ConfigError> {
        if self.numbers.is_empty() {
            self.numbers = self.known.iter().cloned().zip(0..).collect();
        }
        if let Some(number) = self.numbers.get(host) {
            return Ok(*number);
        }
        let number = self.hosts.len();
        self.hosts.push((Arc::new(self.cluster.beside(std::slice::from_ref(host))?), 0));
        self.numbers.insert(host.clone(), number);
        Ok(number)
    }

    fn has_room(&self) -> bool {
        self.open <= self.queue.pool.limit()
    }

    fn submit(&mut self, exchange: Exchange) {
        self.open += 1;
        let mut state = self.queue.state();
        match self.hosts.get(exchange.host).cloned() {
            Some((transport, host)) => {
                state.jobs.push_back(Job { exchange: Exchange { host, ..exchange }, begun: now(), transport });
            }
            None => state.completed.push(Completion {
                id: exchange.id,
                reply: Reply::NotSent(errors::no_such_host()),
                usage: Usage::default(),
            }),
        }
    }

    fn withdraw(&mut self, is_withdrawn: &dyn Fn(u64) -> bool) {
        let mut state = self.queue.state();
        let (withdrawn, kept) = state.jobs.drain(..).partition::<VecDeque<_>, _>(|job| is_withdrawn(job.exchange.id));
        state.jobs = kept;
        state.completed.extend(withdrawn.into_iter().map(|job| Completion {
            id: job.exchange.id,
            reply: Reply::NotSent(errors::withdrawn()),
            usage: Usage::unsent(job.begun.elapsed()),
        }));
    }

    fn wait(&mut self, until: Option<Instant>, completed: &mut Vec<Completion>) {
        self.queue.recruit(AT_ONCE);
        let mut state = self.queue.state();
        state.waiting = true;
        while !state.woken && state.completed.is_empty() {
            state = match until {
                None => self.queue.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(now());
                    if left.is_zero() {
                        break;
                    }
                    self.queue.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        state.waiting = false;
        state.woken = false;
        self.open -= state.completed.len();
        completed.append(&mut state.completed);
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::<Queue>::clone(&self.queue)
    }

    fn shed_idle_connections(&mut self) {
        self.cluster.shed_idle();
    }

    fn attach(&mut self, leader: Weak<dyn Lead>) -> bool {
        self.queue.state().leader = Some(leader);
        true
    }

    fn is_ready(&self) -> bool {
        let state = self.queue.state();
        state.woken || !state.completed.is_empty()
    }

    fn recruit(&mut self) -> bool {
        self.queue.recruit(AT_ONCE)
    }

    fn queued(&self) -> usize {
        let state = self.queue.state();
        state.jobs.len().saturating_sub(state.arriving)
    }

    fn share(&mut self, share: Share) -> Option<Task> {
        let mut state = self.queue.state();
        let others_run = state.running > 0 || state.arriving > 0;
        if (share == Share::IfNoneRuns && others_run) || !transport::can_send_here() {
            return None;
        }
        let job = state.jobs.pop_front()?;
        state.running += 1;
        let queue = Arc::clone(&self.queue);
        Some(Box::new(move || drop(queue.run(job))))
    }
}

/// An exchange, with the number of its host in the transport that runs it.
struct Job {
    exchange: Exchange,
    begun: Instant,
    transport: Arc<UreqTransport>,
}

impl Job {
    fn run(self) -> Completion {
        let Job { exchange, begun, transport } = self;
        // The timeout runs from here: other exchanges, and observers, may have held the threads since `submit`.
        #[cfg(not(all(test, loom)))]
        let send = || transport.send(now(), &exchange);
        #[cfg(all(test, loom))]
        let send = || model::send(exchange.host, &(transport, begun));
        let (reply, traffic) = catch_unwind(AssertUnwindSafe(send)).unwrap_or_else(|_| {
            let error = RequestError::new(Kind::Internal, "the transport panicked");
            (Reply::Ambiguous(error), Traffic::default())
        });
        Completion { id: exchange.id, reply, usage: Usage { elapsed: begun.elapsed(), traffic } }
    }
}

impl Queue {
    /// Gets at most `most` threads for the exchanges in the queue. Returns false if the pool has none.
    fn recruit(self: &Arc<Self>, most: usize) -> bool {
        let mut state = self.state();
        let number = state.jobs.len().saturating_sub(state.arriving).min(most);
        state.arriving += number;
        drop(state);
        for started in 0..number {
            let queue = Arc::clone(self);
            let Err(refused) = self.pool.spawn(Box::new(move || queue.work())) else { continue };
            let mut state = self.state();
            state.arriving -= number - started;
            if !std::mem::replace(&mut state.has_backlog, true) {
                drop(state);
                let queue = Arc::clone(self);
                self.pool.spawn_later(Box::new(move || {
                    let mut state = queue.state();
                    (state.has_backlog, state.arriving) = (false, state.arriving + 1);
                    drop(state);
                    refused();
                }));
            }
            return false;
        }
        true
    }

    /// Runs exchanges until the queue is empty.
    fn work(self: &Arc<Self>) {
        let mut state = self.state();
        state.arriving -= 1;
        while let Some(job) = state.jobs.pop_front() {
            state.running += 1;
            drop(state);
            self.recruit(AT_ONCE);
            if let Some(driver) = self.run(job) {
                driver.lead();
            }
            state = self.state();
        }
    }

    /// Runs an exchange. Returns the driver to lead, unless the driver blocks in `wait`.
    fn run(&self, job: Job) -> Option<Arc<dyn Lead>> {
        let completion = job.run();
        let mut state = self.state();
        state.running -= 1;
        state.completed.push(completion);
        if state.waiting {
            self.changed.notify_one();
            return None;
        }
        state.leader.as_ref().and_then(Weak::upgrade)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Queue {
    fn wake(&self) {
        let mut state = self.state();
        state.woken = true;
        if state.waiting {
            self.changed.notify_one();
        }
    }
}
