//! Floor 3: threads that share work. It knows nothing of groups: a [`Source`] hands out jobs, takes back
//! what came of them, and says when there is nothing to do. Another engine, one that multiplexes
//! connections on one thread, can drive the same source.
//!
//! The thread that waits for a result takes part itself, so that work goes on even where no other thread
//! can be had, and a small job costs no hand-over. Others come from private rayon pools when more is ready
//! than threads are there to do it, and jobs take long enough to be worth a wake-up: a request to a server
//! near by takes 10 µs, waking a thread for it 50 µs. Each helper wakes the next, so their number doubles. What
//! is not due yet holds no thread, but for one that keeps watch.

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, Weak};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use crate::sync::{
    AtomicUsize, Condvar, Mutex, MutexGuard, ThreadId, ThreadPool, ThreadPoolBuilder, current_thread, now,
};
use crate::transport::Stalled;

/// Where jobs come from. Its methods run under a lock: they decide, they do not wait.
pub(crate) trait Source: Send + 'static {
    /// Something to be done outside the lock.
    type Job: Send;
    /// What came of a job.
    type Output: Send;
    /// Something to be told outside the lock, in order.
    type News: Send;

    fn next(&mut self, now: Instant) -> Next<Self::Job>;
    /// About how many jobs `next` has ready at once; zero only if it has none.
    fn ready(&self) -> usize;
    /// Whether something comes due by itself later.
    fn is_waiting(&self) -> bool;
    fn done(&mut self, output: Self::Output, now: Instant);
    /// Whether there is something that the waiting thread waits for.
    fn has_result(&self) -> bool;
    fn has_news(&self) -> bool;
    fn news(&mut self) -> Vec<Self::News>;
}

/// What a source wants done.
#[derive(Debug)]
pub(crate) enum Next<J> {
    Run(J),
    /// Nothing before this time, or before another job is done.
    Wait(Option<Instant>),
}

/// Does the jobs of a source, and tells its news. Both turn panics of others into results.
pub(crate) trait Worker<S: Source>: Send + Sync + 'static {
    /// It calls `stalled` when the job turns out to keep its thread waiting.
    fn run(&self, job: S::Job, stalled: Option<&Stalled>) -> S::Output;
    fn tell(&self, news: S::News);
}

/// Work that several threads do together.
pub(crate) struct Crew<S, W> {
    shared: Mutex<Shared<S>>,
    changed: Condvar,
    /// Held while news are told, so that they are told in order.
    telling: Mutex<()>,
    worker: W,
    threads: Arc<Threads>,
    stalled: Stalled,
}

struct Shared<S> {
    source: S,
    /// Threads that wait for something to be due or done.
    watching: usize,
    /// The earliest time at which one of them looks again.
    watched: Option<Instant>,
    /// Threads in jobs that have told of a stall, or would not tell.
    held_up: Vec<ThreadId>,
    /// A helper panicked in the source itself, which is a bug of ours.
    broken: bool,
}

impl<S: Source> Shared<S> {
    /// Whether everybody else is busy with a job, and will go on with what is ready or tell of being held up.
    fn is_in_good_hands(&self) -> bool {
        self.watching == 0 && self.held_up.is_empty() && !self.source.has_news()
    }

    /// Whether there is something to do, now or later, that only those see who are busy.
    fn is_unattended(&self) -> bool {
        self.watching == 0 && (self.source.ready() > 0 || self.source.is_waiting())
    }
}

impl<S: Source, W: Worker<S>> Crew<S, W> {
    pub(crate) fn new(source: S, worker: W, threads: Arc<Threads>) -> Arc<Self> {
        let shared = Shared { source, watching: 0, watched: None, held_up: Vec::new(), broken: false };
        let (shared, changed, telling) = (Mutex::new(shared), Condvar::new(), Mutex::new(()));
        Arc::new_cyclic(|crew: &Weak<Self>| {
            let crew = Weak::clone(crew);
            let stalled: Stalled = Arc::new(move || crew.upgrade().iter().for_each(Self::stalled));
            Crew { shared, changed, telling, worker, threads, stalled }
        })
    }

    /// Works until `result` gives something. The source must come to one by itself.
    pub(crate) fn take_part<T>(self: &Arc<Self>, mut result: impl FnMut(&mut S) -> Option<T>) -> T {
        let mut shared = self.lock();
        loop {
            if let Some(found) = result(&mut shared.source) {
                self.tell_all(shared);
                return found;
            }
            shared = match shared.source.next(now()) {
                Next::Run(job) => self.run(shared, job),
                // The step itself may have brought the result about.
                Next::Wait(_) if shared.source.has_result() => shared,
                Next::Wait(due) => self.watch(shared, due),
            };
            assert!(!shared.broken, "a bug in cluster-client: a helper thread panicked, see the log");
        }
    }

    /// Changes the source from outside, and lets everybody look again. It tells nothing, because it may
    /// be called by somebody who is just being told something.
    pub(crate) fn change(&self, change: impl FnOnce(&mut S)) {
        change(&mut self.lock().source);
        self.changed.notify_all();
    }

    /// Works as long as something is ready, and stays for what comes later only if nobody else does.
    fn help(self: &Arc<Self>, place: Place) {
        let mut shared = self.lock();
        loop {
            if shared.is_in_good_hands() && self.threads.pace.wants_fewer() {
                drop(place);
                return;
            }
            shared = match shared.source.next(now()) {
                Next::Run(job) => self.run(shared, job),
                Next::Wait(Some(due)) if shared.watching == 0 => self.watch(shared, Some(due)),
                Next::Wait(due) => {
                    let sooner = due.is_some_and(|due| shared.watched.is_none_or(|watched| due < watched));
                    if sooner || shared.source.has_result() {
                        self.changed.notify_all();
                    }
                    if !shared.source.has_news() {
                        // As long as the lock is held: who then finds the crew unattended finds a place.
                        drop(place);
                        return;
                    }
                    self.tell(shared);
                    self.lock()
                }
            };
        }
    }

    fn run<'a>(self: &'a Arc<Self>, mut shared: MutexGuard<'a, Shared<S>>, job: S::Job) -> MutexGuard<'a, Shared<S>> {
        let more = shared.source.ready() > 0;
        if more && shared.watching > 0 {
            self.changed.notify_all();
        }
        let unattended = shared.is_unattended();
        let pace = &self.threads.pace;
        pace.begin();
        let slow = pace.wants_more();
        if slow {
            shared.held_up.push(current_thread());
        }
        self.tell(shared);
        if unattended && slow {
            self.recruit();
        }
        let begun = now();
        let output = self.worker.run(job, Some(&self.stalled).filter(|_| !slow));
        let now = now();
        pace.end(now.duration_since(begun));
        let mut shared = self.lock();
        if !shared.held_up.is_empty() {
            let this = current_thread();
            shared.held_up.retain(|thread| *thread != this);
        }
        shared.source.done(output, now);
        if shared.watching > 0 && shared.source.has_result() {
            self.changed.notify_all();
        }
        shared
    }

    /// A job holds its thread up: what else is ready, or comes due meanwhile, needs another.
    fn stalled(self: &Arc<Self>) {
        self.threads.pace.stall();
        let mut shared = self.lock();
        shared.held_up.push(current_thread());
        let unattended = shared.is_unattended();
        drop(shared);
        if unattended {
            self.recruit();
        }
    }

    fn recruit(self: &Arc<Self>) {
        let crew = Arc::clone(self);
        self.threads.start(move |place| {
            if catch_unwind(AssertUnwindSafe(|| crew.help(place))).is_err() {
                crew.lock().broken = true;
                crew.changed.notify_all();
            }
        });
    }

    fn watch<'a>(&'a self, mut shared: MutexGuard<'a, Shared<S>>, due: Option<Instant>) -> MutexGuard<'a, Shared<S>> {
        // Who sleeps keeps no news back.
        if shared.source.has_news() {
            self.tell(shared);
            return self.lock();
        }
        shared.watching += 1;
        shared.watched = [shared.watched, due].into_iter().flatten().min();
        let mut shared = match due {
            None => self.changed.wait(shared).unwrap_or_else(PoisonError::into_inner),
            Some(due) => {
                let left = due.saturating_duration_since(now());
                self.changed.wait_timeout(shared, left).unwrap_or_else(PoisonError::into_inner).0
            }
        };
        shared.watching -= 1;
        // Whoever still sleeps was woken too, or sleeps until a time that this thread will see first.
        shared.watched = None;
        shared
    }

    /// Lets go of the lock, and tells what there is to tell before anybody tells what comes later.
    fn tell(&self, shared: MutexGuard<'_, Shared<S>>) {
        if shared.source.has_news() {
            self.tell_all(shared);
        }
    }

    /// Waits also for who is telling what was taken from the source before.
    fn tell_all(&self, shared: MutexGuard<'_, Shared<S>>) {
        drop(shared);
        let _telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        let news = self.lock().source.news();
        for news in news {
            self.worker.tell(news);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared<S>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The threads of one client, in pools that are built when they are first needed.
#[derive(Debug)]
pub(crate) struct Threads {
    blocks: Vec<Block>,
    pace: Pace,
}

/// Whether another thread would help: how long jobs take of late, against how many are under way.
///
/// A job that waits for a distant server takes as long however many others there are, and each thread more
/// gets more done. Where jobs wait for a core, or for a server that is busy, they take longer the more there
/// are, and another thread would only make that worse: so a job has to take longer the more threads there are.
#[derive(Debug)]
struct Pace {
    /// So much longer has a job to take for each thread that is there already, in nanoseconds.
    share: u32,
    /// About the median, in nanoseconds: it takes a step up for a job that took longer, and one down for a
    /// job that did not. A thread that was pre-empted now and then does not show in it.
    typical: AtomicU32,
    busy: AtomicU32,
}

impl Pace {
    /// What it costs to wake a thread and hand it a job, about.
    const WAKE: u32 = 50_000;
    /// What a job costs a core, hand-over included, with a margin: where none waits, that many threads on one
    /// core take that many times as long.
    const COST: usize = 64_000;
    /// So long at least has a job taken that is said to have stalled.
    const STALL: u32 = 4_000_000;

    fn new() -> Self {
        let cores = available_parallelism().map_or(1, NonZero::get);
        let share = u32::try_from(Self::COST / cores).unwrap_or(0).max(1_000);
        Pace { share, typical: AtomicU32::new(0), busy: AtomicU32::new(0) }
    }

    fn begin(&self) {
        self.busy.fetch_add(1, Ordering::Relaxed);
    }

    /// Races between threads lose a step now and then, which does not matter.
    fn end(&self, took: Duration) {
        self.busy.fetch_sub(1, Ordering::Relaxed);
        let took = u32::try_from(took.as_nanos()).unwrap_or(u32::MAX);
        let typical = self.typical.load(Ordering::Relaxed);
        let step = if took > typical { typical.saturating_add(typical / 4 + 1_000) } else { typical - typical / 5 };
        self.typical.store(step, Ordering::Relaxed);
    }

    fn stall(&self) {
        self.typical.fetch_max(Self::STALL, Ordering::Relaxed);
    }

    /// Whether another thread would help; asked by one whose own job counts as under way.
    fn wants_more(&self) -> bool {
        self.typical.load(Ordering::Relaxed) > self.worthwhile()
    }

    /// Whether a thread less would help. It is below the other bound, so that none is sent away and called
    /// again by turns.
    fn wants_fewer(&self) -> bool {
        self.typical.load(Ordering::Relaxed) < self.worthwhile() - Self::WAKE / 2
    }

    /// How long a job has to take to be worth as many threads as are there.
    fn worthwhile(&self) -> u32 {
        self.share.saturating_mul(self.busy.load(Ordering::Relaxed)).saturating_add(Self::WAKE)
    }
}

#[derive(Debug)]
struct Block {
    size: usize,
    /// Threads at work, or about to be.
    taken: AtomicUsize,
    /// `None` where the system gave no threads.
    pool: OnceLock<Option<ThreadPool>>,
}

/// Pools are small, because an idle rayon thread looks for work at all others of its pool before it sleeps:
/// 58 % of the CPU at 256 threads in one pool.
const BLOCK: usize = 32;
/// A cluster of a few hosts needs a few threads, and starting each costs.
const FIRST_BLOCK: usize = 4;

impl Threads {
    /// At most `limit` threads; none is started yet.
    pub(crate) fn new(limit: usize) -> Self {
        let mut blocks = Vec::new();
        let mut left = limit;
        while left > 0 {
            let size = left.min(if blocks.is_empty() { FIRST_BLOCK } else { BLOCK });
            blocks.push(Block { size, taken: AtomicUsize::new(0), pool: OnceLock::new() });
            left -= size;
        }
        Threads { blocks, pace: Pace::new() }
    }

    /// Runs `task` on a thread that is free, if there is one.
    fn start(self: &Arc<Self>, task: impl FnOnce(Place) + Send + 'static) {
        let free = |block: &&Block| {
            let taken = block.taken.fetch_add(1, Ordering::Relaxed);
            if taken >= block.size {
                block.taken.fetch_sub(1, Ordering::Relaxed);
            }
            taken < block.size
        };
        let Some(number) = self.blocks.iter().position(|block| free(&block)) else { return };
        let block = &self.blocks[number];
        // Where a pool cannot be had, its places stay taken, so that it is not asked for again.
        let Some(pool) = block.pool.get_or_init(|| build(block.size)) else { return };
        let place = Place { threads: Arc::clone(self), number };
        pool.spawn(move || task(place));
    }
}

/// A thread's place in the block of that number, given back when it is dropped.
struct Place {
    threads: Arc<Threads>,
    number: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.threads.blocks[self.number].taken.fetch_sub(1, Ordering::Relaxed);
    }
}

fn build(size: usize) -> Option<ThreadPool> {
    let name = |number| format!("cluster-client-{number}");
    match ThreadPoolBuilder::new().num_threads(size).thread_name(name).build() {
        Ok(pool) => Some(pool),
        Err(error) => {
            log::warn!(target: "cluster_client", "no more threads ({error}); going on with those there are");
            None
        }
    }
}

#[cfg(all(test, loom))]
mod loom_models;
