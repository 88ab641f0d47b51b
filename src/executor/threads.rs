//! The threads of one client.

use std::sync::{Arc, PoisonError};

use super::pace::Pace;
use crate::sync::{Mutex, MutexGuard, Receiver, Sender, ThreadPool, ThreadPoolBuilder, channel, yield_now};

/// The threads of one client, started when they are first needed.
///
/// rayon's pools give them. One without work waits here, not in its pool: there an idle thread looks for work
/// at all others of the pool before it sleeps, which took 40 % of the CPU when every answer ended a job.
pub(crate) struct Threads {
    /// Helpers without work, the one that fell idle last at the end.
    idle: Mutex<Vec<Helper>>,
    supply: Mutex<Supply>,
    pub(super) pace: Pace,
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
        Threads { idle: Mutex::new(Vec::new()), supply: Mutex::new(supply), pace: Pace::default() }
    }

    /// Runs `task` on a thread that is free, if there is one.
    pub(super) fn start(self: &Arc<Self>, task: impl FnOnce(Place) + Send + 'static) -> bool {
        let idle = self.idle().pop();
        let Some(helper) = idle.or_else(|| self.supply().helper()) else { return false };
        let place = Place { threads: Arc::clone(self), helper: helper.clone() };
        // It is there: nobody but `Threads` lets go of the last sender, and a task that panics is caught.
        helper.send(Box::new(move || task(place))).is_ok()
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Helper>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn supply(&self) -> MutexGuard<'_, Supply> {
        self.supply.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Supply {
    fn helper(&mut self) -> Option<Helper> {
        if self.fresh == 0 {
            self.grow()?;
        }
        self.fresh -= 1;
        let (helper, tasks) = channel::<Task>();
        self.pools.last()?.spawn(move || {
            while let Some(task) = next(&tasks) {
                task();
            }
        });
        Some(helper)
    }

    fn grow(&mut self) -> Option<()> {
        let size = self.left.min(LARGEST_POOL).min(SMALLEST_POOL << self.pools.len().min(8));
        if size == 0 {
            return None;
        }
        let name = |number| format!("cluster-client-{number}");
        match ThreadPoolBuilder::new().num_threads(size).thread_name(name).build() {
            Ok(pool) => {
                self.pools.push(pool);
                self.fresh = size;
                self.left -= size;
                Some(())
            }
            Err(error) => {
                log::warn!(target: "cluster_client", "no more threads ({error}); going on with those there are");
                // They are not asked for again.
                self.left = 0;
                None
            }
        }
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
        self.threads.idle().push(self.helper.clone());
    }
}
