//! The engine of threads: one blocking exchange a job, on the threads of the client.
//!
//! An exchange holds one thread from its look-up to the end of its answer. Deliberately absent: any estimate of how
//! long a host takes. Without a free thread, an exchange waits for its turn, and its time runs meanwhile.

pub(crate) mod pool;
#[cfg(test)]
mod tests;
pub(crate) mod transport;

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::threads::pool::Pool;
use super::{Completion, Engine, Exchange, check_hosts};
use crate::api::Reply;
use crate::engine::threads::transport::UreqTransport;
use crate::http::errors;
use crate::sync::{Condvar, Mutex, MutexGuard, Wake, now};
use crate::values::cause::{RequestError, RequestErrorKind as Kind};
use crate::values::config::ConfigError;
use crate::values::host::Host;

/// The engine. See the head of this file.
pub(crate) struct Threads {
    /// The transport of each host, and the number of the host there.
    hosts: Vec<(Arc<UreqTransport>, usize)>,
    cluster: Arc<UreqTransport>,
    /// Filled when a host is added.
    numbers: HashMap<Host, usize>,
    known: Vec<Host>,
    pool: Arc<Pool>,
    queue: VecDeque<(Exchange, Instant)>,
    mail: Arc<Mail>,
}

/// The way back from the threads.
#[derive(Default)]
struct Mail {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    completed: Vec<Completion>,
    woken: bool,
}

impl Threads {
    /// An engine for the hosts of `cluster`, over its connections.
    pub(crate) fn new(hosts: &[Host], cluster: &Arc<UreqTransport>, pool: Arc<Pool>) -> Self {
        Threads {
            hosts: (0..hosts.len()).map(|number| (Arc::clone(cluster), number)).collect(),
            cluster: Arc::clone(cluster),
            numbers: HashMap::new(),
            known: hosts.to_vec(),
            pool,
            queue: VecDeque::new(),
            mail: Arc::default(),
        }
    }

    /// Gives each exchange a thread. Returns one for this thread to run if there are no more threads.
    fn dispatch(&mut self) -> Option<Job> {
        while let Some((exchange, begun)) = self.queue.pop_front() {
            let Some((transport, host)) = self.hosts.get(exchange.host).cloned() else {
                let reply = Reply::NotSent(errors::no_such_host());
                self.mail.deliver(Completion { id: exchange.id, reply, body: None, elapsed: begun.elapsed() });
                continue;
            };
            let job = Job { exchange, begun, transport, host, mail: Arc::clone(&self.mail) };
            let ours = Arc::new(Mutex::new(Some(job)));
            let theirs = Arc::clone(&ours);
            let run = move || lock(&theirs).take().into_iter().for_each(Job::run);
            if self.pool.spawn(Box::new(run)).is_err() {
                return lock(&ours).take();
            }
        }
        None
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
        check_hosts(std::slice::from_ref(host))?;
        let number = self.hosts.len();
        self.hosts.push((Arc::new(self.cluster.beside(std::slice::from_ref(host))?), 0));
        self.numbers.insert(host.clone(), number);
        Ok(number)
    }

    fn submit(&mut self, exchange: Exchange) {
        self.queue.push_back((exchange, now()));
    }

    fn wait(&mut self, until: Option<Instant>, completed: &mut Vec<Completion>) {
        if let Some(job) = self.dispatch() {
            job.run();
        }
        let mut state = self.mail.state();
        while !state.woken && state.completed.is_empty() && self.queue.is_empty() {
            state = match until {
                None => self.mail.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(now());
                    if left.is_zero() {
                        return;
                    }
                    self.mail.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        state.woken = false;
        completed.append(&mut state.completed);
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::<Mail>::clone(&self.mail)
    }

    fn shed_idle_connections(&mut self) {
        self.cluster.shed_idle();
    }
}

/// One exchange, for the thread that runs it.
struct Job {
    exchange: Exchange,
    begun: Instant,
    transport: Arc<UreqTransport>,
    host: usize,
    mail: Arc<Mail>,
}

impl Job {
    fn run(self) {
        let Job { exchange, begun, transport, host, mail } = self;
        let send = || transport.send(begun, host, &exchange.request, exchange.timeout);
        let reply = catch_unwind(AssertUnwindSafe(send))
            .unwrap_or_else(|_| Reply::Ambiguous(RequestError::new(Kind::Internal, "the transport panicked")));
        mail.deliver(Completion { id: exchange.id, reply, body: None, elapsed: begun.elapsed() });
    }
}

impl Mail {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn deliver(&self, completion: Completion) {
        self.state().completed.push(completion);
        self.changed.notify_one();
    }
}

impl Wake for Mail {
    fn wake(&self) {
        self.state().woken = true;
        self.changed.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
