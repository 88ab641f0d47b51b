//! The threads of one client, started when they are first needed.
//!
//! They are threads of rayon pools. A thread without a task blocks here, because an idle thread of a rayon pool first
//! tries to steal work from all others.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, Weak};

use crate::sync::{Mutex, MutexGuard, Receiver, Sender, ThreadPool, ThreadPoolBuilder, channel, yield_now};

/// Work for a thread of the pool.
pub(crate) type Task = Box<dyn FnOnce() + Send>;

/// A task for a thread, with the sender of that thread. The thread returns the sender to the pool when it is idle.
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

/// Idle threads or queued tasks. One of the two is always empty.
#[derive(Default)]
struct Waiting {
    /// Idle threads. The last one became idle last, and is used first.
    threads: Vec<Sender<Order>>,
    /// Tasks that wait for a thread.
    tasks: VecDeque<Task>,
}

/// The rayon pools, and their threads that have had no task yet.
struct Supply {
    pools: Vec<ThreadPool>,
    /// Threads of the last pool that have had no task.
    fresh: usize,
    started: usize,
    /// Number of threads that may still be started.
    left: usize,
}

/// Bounds of the size of a rayon pool. Each pool has twice the threads of the pool before, so few are started in vain.
const SMALLEST_POOL: usize = 2;
const LARGEST_POOL: usize = 32;

/// Number of times that an idle thread yields its core before it blocks. A thread that yields starts a task sooner than
/// a blocked thread, and takes no time from other threads.
const LOOKS: usize = if cfg!(all(test, loom)) { 0 } else { 20 };

impl Pool {
    /// Creates a pool of at most `limit` threads. Starts no thread.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        let supply = Supply { pools: Vec::new(), fresh: 0, started: 0, left: limit };
        Arc::new_cyclic(|this| Pool {
            waiting: Mutex::default(),
            supply: Mutex::new(supply),
            limit: AtomicUsize::new(limit),
            this: Weak::clone(this),
        })
    }

    /// Runs `task` on an idle thread, or on a new one. Returns the task if there is no thread.
    pub(crate) fn spawn(&self, task: Task) -> Result<(), Task> {
        let idle = self.waiting().threads.pop();
        let Some(thread) = idle.or_else(|| self.start()) else { return Err(task) };
        order(&thread, task)
    }

    /// Runs `task` on the next idle thread.
    pub(crate) fn spawn_later(&self, task: Task) {
        let mut waiting = self.waiting();
        if let Some(thread) = waiting.threads.pop() {
            drop(waiting);
            let _ = order(&thread, task);
        } else {
            waiting.tasks.push_back(task);
        }
    }

    /// Returns the maximum number of tasks that run at once. If the system refuses threads, it includes one task on the
    /// thread of the caller.
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
        // Call the logger without a lock. It may panic.
        thread.unwrap_or_else(|error| {
            let warn =
                || log::warn!(target: "cluster_client", "no more threads ({error}); continuing with the existing threads");
            let _ = catch_unwind(AssertUnwindSafe(warn));
            None
        })
    }

    /// Returns a queued task. If there is none, adds `thread` to the idle ones.
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

/// Sends `task` to `thread`. The thread receives while there is a sender of its channel, such as this one.
fn order(thread: &Sender<Order>, task: Task) -> Result<(), Task> {
    let order = Order { task, thread: thread.clone() };
    thread.send(order).map_err(|refused| refused.0.task)
}

/// Runs tasks until the pool is dropped. Only the pool holds a sender of a blocked thread's channel, so dropping the
/// pool ends the thread.
fn serve(pool: &Weak<Pool>, orders: &Receiver<Order>) {
    while let Some(Order { task, thread }) = receive(orders) {
        let (mut task, mut thread) = (Some(task), Some(thread));
        while let Some(run) = task.take() {
            // A task that has to report its panic catches it itself.
            let _ = catch_unwind(AssertUnwindSafe(run));
            let Some(pool) = pool.upgrade() else { return };
            task = pool.next_or_idle(&mut thread);
        }
    }
}

/// Returns the next order, or `None` after the pool was dropped.
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
