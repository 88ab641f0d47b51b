//! The threads of one client, started when they are first needed.
//!
//! rayon's pools provide them. A thread without a task blocks here, not in its pool: an idle thread of a rayon pool
//! looks for work at all the others before it blocks.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, Weak};

use crate::sync::{Mutex, MutexGuard, Receiver, Sender, ThreadPool, ThreadPoolBuilder, channel, yield_now};

/// Work for a thread of the pool.
pub(crate) type Task = Box<dyn FnOnce() + Send>;

/// A task, and the way to the thread that runs it, which it gives back to the pool.
struct Order {
    task: Task,
    thread: Sender<Order>,
}

/// The threads of one client.
pub(crate) struct Pool {
    waiting: Mutex<Waiting>,
    supply: Mutex<Supply>,
    limit: AtomicUsize,
    this: Weak<Pool>,
}

/// At most one of the two holds anything.
#[derive(Default)]
struct Waiting {
    /// Idle threads. The one that became idle last is at the end, and is used first.
    threads: Vec<Sender<Order>>,
    /// Tasks that wait for a thread.
    tasks: VecDeque<Task>,
}

/// Threads that have had no task yet.
struct Supply {
    pools: Vec<ThreadPool>,
    /// Threads of the last pool that have had no task.
    fresh: usize,
    started: usize,
    /// Number of threads that may still be started.
    left: usize,
}

/// Each pool has twice the threads of the one before, between these bounds, so that few are started in vain.
const SMALLEST_POOL: usize = 2;
const LARGEST_POOL: usize = 32;

/// Number of times that an idle thread yields its core before it blocks. A thread that looks is there sooner than
/// a blocked one, and a thread that yields takes the core from nobody.
const LOOKS: usize = if cfg!(all(test, loom)) { 0 } else { 20 };

impl Pool {
    /// A pool of at most `limit` threads. None is started yet.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        let supply = Supply { pools: Vec::new(), fresh: 0, started: 0, left: limit };
        Arc::new_cyclic(|this| Pool {
            waiting: Mutex::default(),
            supply: Mutex::new(supply),
            limit: AtomicUsize::new(limit),
            this: Weak::clone(this),
        })
    }

    /// Runs `task` on an idle thread, or on a new one. Returns it if there is none.
    pub(crate) fn spawn(&self, task: Task) -> Result<(), Task> {
        let idle = self.waiting().threads.pop();
        let Some(thread) = idle.or_else(|| self.start()) else { return Err(task) };
        order(&thread, task)
    }

    /// Runs `task` on the next thread that is idle.
    pub(crate) fn spawn_later(&self, task: Task) {
        let mut waiting = self.waiting();
        if let Some(thread) = waiting.threads.pop() {
            drop(waiting);
            let _ = order(&thread, task);
        } else {
            waiting.tasks.push_back(task);
        }
    }

    /// Maximum number of tasks that run at once, with one on a thread of the caller if the system refuses threads.
    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Starts a thread. After the system has refused one, no more are started.
    fn start(&self) -> Option<Sender<Order>> {
        let mut supply = self.supply();
        let thread = supply.thread(&self.this);
        if thread.is_err() {
            self.limit.store(supply.started + 1, Ordering::Relaxed);
        }
        drop(supply);
        // The logger is called without a lock, and it may panic.
        thread.unwrap_or_else(|error| {
            let warn =
                || log::warn!(target: "cluster_client", "no more threads ({error}); going on with those there are");
            let _ = catch_unwind(AssertUnwindSafe(warn));
            None
        })
    }

    /// Returns a task that waits, or takes `thread` back as an idle one.
    fn next_or_idle(&self, thread: &mut Option<Sender<Order>>) -> Option<Task> {
        let mut waiting = self.waiting();
        let task = waiting.tasks.pop_front();
        if task.is_none() {
            waiting.threads.extend(thread.take());
        }
        task
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn supply(&self) -> MutexGuard<'_, Supply> {
        self.supply.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Supply {
    fn thread(&mut self, pool: &Weak<Pool>) -> Result<Option<Sender<Order>>, String> {
        if self.fresh == 0 {
            self.grow()?;
        }
        let Some(threads) = self.pools.last().filter(|_| self.fresh > 0) else { return Ok(None) };
        self.fresh -= 1;
        let (sender, orders) = channel();
        let pool = Weak::clone(pool);
        threads.spawn(move || serve(&pool, &orders));
        Ok(Some(sender))
    }

    fn grow(&mut self) -> Result<(), String> {
        let size = self.left.min(LARGEST_POOL).min(SMALLEST_POOL << self.pools.len().min(8));
        if size == 0 {
            return Ok(());
        }
        let name = |number| format!("cluster-client-{number}");
        let built = ThreadPoolBuilder::new().num_threads(size).thread_name(name).build();
        self.left = if built.is_ok() { self.left - size } else { 0 };
        self.pools.push(built.map_err(|error| error.to_string())?);
        self.fresh = size;
        self.started += size;
        Ok(())
    }
}

/// Has `thread` run `task`. It receives as long as there is a sender, and this is one.
fn order(thread: &Sender<Order>, task: Task) -> Result<(), Task> {
    let order = Order { task, thread: thread.clone() };
    thread.send(order).map_err(|refused| refused.0.task)
}

/// Runs tasks until the pool is gone. A blocked thread holds no sender of its own channel: the pool has the only
/// one, so dropping the pool ends the thread.
fn serve(pool: &Weak<Pool>, orders: &Receiver<Order>) {
    while let Some(Order { task, thread }) = receive(orders) {
        let (mut task, mut thread) = (Some(task), Some(thread));
        while let Some(run) = task.take() {
            // A task that has somebody to tell of a panic catches it.
            let _ = catch_unwind(AssertUnwindSafe(run));
            let Some(pool) = pool.upgrade() else { return };
            task = pool.next_or_idle(&mut thread);
        }
    }
}

/// The next order, or `None` after the pool was dropped.
fn receive(orders: &Receiver<Order>) -> Option<Order> {
    let look = |_| {
        let found = orders.try_recv().ok();
        if found.is_none() {
            yield_now();
        }
        found
    };
    (0..LOOKS).find_map(look).or_else(|| orders.recv().ok())
}
