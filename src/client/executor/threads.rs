//! The threads of one client.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};

use super::pace::Pace;
use crate::sync::{Mutex, MutexGuard, Receiver, Sender, ThreadPool, ThreadPoolBuilder, channel, yield_now};

/// The threads of one client, started when they are first needed.
///
/// rayon's pools give them. One without work waits here, not in its pool: there an idle thread looks for work
/// at all others of the pool before it sleeps, which took 40 % of the CPU when every answer ended a job.
pub(crate) struct Threads {
    idle: Mutex<Idle>,
    supply: Mutex<Supply>,
    pub(super) pace: Pace,
}

/// Of the two at most one holds anything.
#[derive(Default)]
struct Idle {
    /// Helpers without work, the one that fell idle last at the end.
    helpers: Vec<Helper>,
    /// Work without helpers.
    tasks: VecDeque<Box<dyn FnOnce(Place) + Send>>,
}

/// The way to a thread of ours.
type Helper = Sender<Task>;
type Task = Box<dyn FnOnce() + Send>;

/// Threads that were not yet called up.
struct Supply {
    pools: Vec<ThreadPool>,
    /// Threads of the last pool that have nothing to do.
    fresh: usize,
    /// So many more may be started.
    left: usize,
}

/// Each pool has twice the threads of the one before it, from and to these, so that few are started for nothing:
/// starting one costs 20 to 50 µs.
const SMALLEST_POOL: usize = 2;
const LARGEST_POOL: usize = 32;

impl Threads {
    /// At most `limit` threads; none is started yet.
    pub(crate) fn new(limit: usize) -> Self {
        let supply = Supply { pools: Vec::new(), fresh: 0, left: limit };
        Threads { idle: Mutex::default(), supply: Mutex::new(supply), pace: Pace::default() }
    }

    /// Runs `task` on a thread that is free, or gives it back.
    pub(super) fn start<T: FnOnce(Place) + Send + 'static>(self: &Arc<Self>, task: T) -> Result<(), T> {
        let idle = self.idle().helpers.pop();
        let Some(helper) = idle.or_else(|| self.fresh()) else { return Err(task) };
        self.hand(&helper, task);
        Ok(())
    }

    /// Runs `task` on a thread that is free, or gives it back if there is none.
    #[cfg(feature = "multiplex")]
    pub(crate) fn spawn(self: &Arc<Self>, task: Box<dyn FnOnce() + Send>) -> Result<(), Box<dyn FnOnce() + Send>> {
        let ours = Arc::new(Mutex::new(Some(task)));
        let theirs = Arc::clone(&ours);
        let take = |task: &Mutex<Option<_>>| task.lock().unwrap_or_else(PoisonError::into_inner).take();
        let started = self.start(move |place| {
            if let Some(task) = take(&theirs) {
                let _ = catch_unwind(AssertUnwindSafe(task));
            }
            drop(place);
        });
        match started {
            Ok(()) => Ok(()),
            Err(_) => take(&ours).map_or(Ok(()), Err),
        }
    }

    /// Runs `task` on the next thread that is free.
    pub(super) fn start_later(self: &Arc<Self>, task: impl FnOnce(Place) + Send + 'static) {
        let mut idle = self.idle();
        match idle.helpers.pop() {
            None => idle.tasks.push_back(Box::new(task)),
            Some(helper) => {
                drop(idle);
                self.hand(&helper, task);
            }
        }
    }

    fn fresh(&self) -> Option<Helper> {
        let helper = self.supply().helper();
        // A logger is somebody else's code: not under a lock, and it may panic.
        helper.unwrap_or_else(|error| {
            let warn =
                || log::warn!(target: "cluster_client", "no more threads ({error}); going on with those there are");
            let _ = catch_unwind(AssertUnwindSafe(warn));
            None
        })
    }

    fn hand(self: &Arc<Self>, helper: &Helper, task: impl FnOnce(Place) + Send + 'static) {
        let place = Place { threads: Arc::clone(self), helper: helper.clone() };
        // It is there: nobody but `Threads` lets go of the last sender, and a task that panics is caught.
        let _ = helper.send(Box::new(move || task(place)));
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn supply(&self) -> MutexGuard<'_, Supply> {
        self.supply.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Supply {
    fn helper(&mut self) -> Result<Option<Helper>, String> {
        if self.fresh == 0 {
            self.grow()?;
        }
        let Some(pool) = self.pools.last().filter(|_| self.fresh > 0) else { return Ok(None) };
        self.fresh -= 1;
        let (helper, tasks) = channel::<Task>();
        pool.spawn(move || {
            while let Some(task) = next(&tasks) {
                task();
            }
        });
        Ok(Some(helper))
    }

    fn grow(&mut self) -> Result<(), String> {
        let size = self.left.min(LARGEST_POOL).min(SMALLEST_POOL << self.pools.len().min(8));
        if size == 0 {
            return Ok(());
        }
        let name = |number| format!("cluster-client-{number}");
        let built = ThreadPoolBuilder::new().num_threads(size).thread_name(name).build();
        // Where there are none, they are not asked for again.
        self.left = if built.is_ok() { self.left - size } else { 0 };
        self.pools.push(built.map_err(|error| error.to_string())?);
        self.fresh = size;
        Ok(())
    }
}

/// So often does a helper without work look for some before it sleeps. It gives way each time, so that it
/// takes no core from anybody; but on a core that has nothing else to do it is there 50 µs sooner than one that
/// has to be woken. That is half of the time of an operation on 16 hosts near by.
const LOOKS: usize = if cfg!(all(test, loom)) { 0 } else { 20 };

/// The next task, or `None` when the client is gone and its senders with it.
fn next(tasks: &Receiver<Task>) -> Option<Task> {
    let look = |_| {
        let found = tasks.try_recv().ok();
        if found.is_none() {
            yield_now();
        }
        found
    };
    (0..LOOKS).find_map(look).or_else(|| tasks.recv().ok())
}

/// A thread's way back to those without work, taken when it is dropped.
pub(super) struct Place {
    threads: Arc<Threads>,
    helper: Helper,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut idle = self.threads.idle();
        match idle.tasks.pop_front() {
            None => idle.helpers.push(self.helper.clone()),
            Some(task) => {
                drop(idle);
                self.threads.hand(&self.helper, task);
            }
        }
    }
}
