//! Floor 3: threads that share work. It knows nothing of groups: a [`Source`] hands out jobs, takes back
//! what came of them, and says when there is nothing to do. Another engine, one that multiplexes
//! connections on one thread, can drive the same source.
//!
//! The thread that waits for a result takes part itself, so that work goes on even where no other thread
//! can be had, and a small job costs no hand-over. Others ([`threads`]) are called up when more is ready than is
//! attended to, and [`pace`] expects that they help. Each calls up others in its turn, so that their number
//! doubles. What is not due yet holds no thread, but for one that keeps watch.

#[cfg_attr(all(test, loom), path = "executor/loom_pace.rs")]
mod pace;
mod threads;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use self::threads::Place;
pub(crate) use self::threads::Threads;
use crate::engine::threads::transport::Stalled;
use crate::sync::{Condvar, Mutex, MutexGuard, ThreadId, current_thread, now};

/// Calling more than two at a time keeps the caller from its own job, one at a time is slow.
const AT_ONCE: usize = 2;

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

/// What a job spends its time on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waits {
    /// A host that is asked.
    ForHost,
    /// A disk that is written to, perhaps.
    ForStore,
}

/// Does the jobs of a source, and tells its news. Both turn panics of others into results.
pub(crate) trait Worker<S: Source>: Send + Sync + 'static {
    /// It calls `stalled` when the job turns out to keep its thread waiting.
    fn run(&self, job: S::Job, stalled: Option<&Stalled>) -> S::Output;
    fn tell(&self, news: S::News);
    fn waits(&self, job: &S::Job) -> Waits;
    /// What it took a host to answer, if one did.
    fn answered(&self, output: &S::Output) -> Option<Duration>;
}

/// Work that several threads do together.
pub(crate) struct Crew<S: Source, W> {
    shared: Mutex<Shared<S>>,
    changed: Condvar,
    /// Notified after each batch of news is delivered.
    delivered: Condvar,
    worker: W,
    threads: Arc<Threads>,
    stalled: Stalled,
}

struct Shared<S: Source> {
    source: S,
    /// Threads that wait for something to be due or done.
    watching: usize,
    /// The earliest time at which one of them looks again.
    watched: Option<Instant>,
    /// Helpers that are called up, and are on their way or wait for a thread.
    arriving: usize,
    /// One of them waits for a thread.
    waiting: bool,
    /// Threads in jobs.
    at_work: usize,
    /// Those of them whose job would not tell of a stall.
    held_up: usize,
    /// Those of them whose job has told of one.
    stalled: Vec<ThreadId>,
    /// Thread that delivers news. At most one does, which keeps the order.
    deliverer: Option<ThreadId>,
    /// News passed on to it by other threads: its next batch.
    passed_on: Vec<S::News>,
    /// Number of batches delivered.
    batches: u64,
    /// Job that it runs after the delivery. Kept here so that a hook that drives this crew can run it.
    next_job: Option<S::Job>,
    /// Threads that wait for a batch.
    listening: usize,
    /// A helper panicked in the source itself, which is a bug of ours.
    broken: bool,
}

impl<S: Source> Shared<S> {
    /// Whether somebody else is busy with a job, and will go on with what is ready or tell of being held up.
    fn is_in_good_hands(&self) -> bool {
        self.watching == 0 && self.free() > 0 && !self.source.has_news()
    }

    /// Threads in jobs that will end soon, or tell of it if they do not.
    fn free(&self) -> usize {
        self.at_work - self.held_up - self.stalled.len()
    }

    /// Whether this thread has told of a stall in the job that it has just ended.
    fn has_stalled(&mut self) -> bool {
        if self.stalled.is_empty() {
            return false;
        }
        let (before, this) = (self.stalled.len(), current_thread());
        self.stalled.retain(|thread| *thread != this);
        self.stalled.len() < before
    }

    /// Whether the calling thread is inside a hook that this crew called.
    fn is_deliverer(&self) -> bool {
        self.deliverer.is_some_and(|deliverer| deliverer == current_thread())
    }

    /// Passes the news on to the thread that delivers others, and returns whether there is one.
    fn pass_on(&mut self) -> bool {
        if self.deliverer.is_some() && self.source.has_news() {
            self.passed_on.append(&mut self.source.news());
        }
        self.deliverer.is_some()
    }

    /// How much there is to do, now or later, that only those see who are busy.
    fn unattended(&self) -> usize {
        if self.watching > 0 {
            return 0;
        }
        let later = usize::from(self.source.is_waiting());
        self.source.ready().max(later).saturating_sub(self.arriving)
    }
}

impl<S: Source, W: Worker<S>> Crew<S, W> {
    pub(crate) fn new(source: S, worker: W, threads: Arc<Threads>) -> Arc<Self> {
        let shared = Shared {
            source,
            watching: 0,
            watched: None,
            arriving: 0,
            waiting: false,
            at_work: 0,
            held_up: 0,
            stalled: Vec::new(),
            deliverer: None,
            passed_on: Vec::new(),
            batches: 0,
            next_job: None,
            listening: 0,
            broken: false,
        };
        let (shared, changed, delivered) = (Mutex::new(shared), Condvar::new(), Condvar::new());
        Arc::new_cyclic(|crew: &Weak<Self>| {
            let crew = Weak::clone(crew);
            let stalled: Stalled = Arc::new(move || crew.upgrade().iter().for_each(Self::stalled));
            Crew { shared, changed, delivered, worker, threads, stalled }
        })
    }

    /// Works until `result` gives something. The source must come to one by itself.
    pub(crate) fn take_part<T>(self: &Arc<Self>, mut result: impl FnMut(&mut S) -> Option<T>) -> T {
        let mut shared = self.lock();
        loop {
            assert!(!shared.broken, "a bug in cluster-client: a helper thread panicked, see the log");
            if let Some(found) = result(&mut shared.source) {
                self.leave(shared);
                return found;
            }
            let own = if shared.is_deliverer() { shared.next_job.take() } else { None };
            shared = match own.map_or_else(|| shared.source.next(now()), Next::Run) {
                Next::Run(job) => self.run(shared, job),
                // The step itself may have brought the result about.
                Next::Wait(_) if shared.source.has_result() => shared,
                Next::Wait(due) => self.watch(shared, due),
            };
        }
    }

    /// Ends the part of the calling thread, after the news that led to its result are delivered.
    ///
    /// A hook that drives its own crew does not wait: the delivery that it is part of ends after it.
    fn leave(self: &Arc<Self>, shared: MutexGuard<'_, Shared<S>>) {
        self.hand_over(shared);
        let mut shared = self.lock();
        if shared.deliverer.is_some() && !shared.is_deliverer() {
            shared.pass_on();
            // The present batch ends first, then the one with the news passed on here.
            let last = shared.batches + 2;
            shared.listening += 1;
            while shared.deliverer.is_some() && shared.batches < last {
                shared = self.delivered.wait(shared).unwrap_or_else(PoisonError::into_inner);
            }
            shared.listening -= 1;
        }
        drop(self.deliver(shared, None));
    }

    /// Lets go of the lock. Where nobody is left to go on with what there is, somebody is called up.
    fn hand_over(self: &Arc<Self>, shared: MutexGuard<'_, Shared<S>>) {
        let most = usize::from(shared.free() == 0);
        self.recruit(shared, most);
    }

    /// Gives the source more to do, and goes on with something else.
    pub(crate) fn add(self: &Arc<Self>, add: impl FnOnce(&mut S)) {
        let shared = self.changed_by(add);
        self.hand_over(shared);
    }

    /// What `result` gives by now, with all that is to be told before.
    pub(crate) fn try_take<T>(self: &Arc<Self>, result: impl FnOnce(&mut S) -> Option<T>) -> Option<T> {
        let mut shared = self.lock();
        let found = result(&mut shared.source)?;
        self.leave(shared);
        Some(found)
    }

    /// A helper panicked, so that the work may never end.
    pub(crate) fn is_broken(&self) -> bool {
        self.lock().broken
    }

    /// Changes the source from outside, and lets everybody look again. It tells nothing, because it may
    /// be called by somebody who is just being told something.
    pub(crate) fn change(&self, change: impl FnOnce(&mut S)) {
        drop(self.changed_by(change));
    }

    fn changed_by(&self, change: impl FnOnce(&mut S)) -> MutexGuard<'_, Shared<S>> {
        let mut shared = self.lock();
        change(&mut shared.source);
        if shared.watching > 0 {
            self.changed.notify_all();
        }
        shared
    }

    /// Works as long as something is ready, and stays for what comes later only if nobody else does.
    fn help(self: &Arc<Self>, place: Place) {
        let mut shared = self.lock();
        shared.arriving -= 1;
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
                    if shared.watching > 0 && (sooner || shared.source.has_result()) {
                        self.changed.notify_all();
                    }
                    if !shared.source.has_news() {
                        // As long as the lock is held: who then finds the crew unattended finds a place.
                        drop(place);
                        return;
                    }
                    self.deliver(shared, None).0
                }
            };
        }
    }

    fn run<'a>(self: &'a Arc<Self>, mut shared: MutexGuard<'a, Shared<S>>, job: S::Job) -> MutexGuard<'a, Shared<S>> {
        if shared.watching > 0 && shared.source.ready() > 0 {
            self.changed.notify_all();
        }
        let outlook = self.threads.pace.begin(self.worker.waits(&job));
        // A hook may take long. This thread does nothing else meanwhile.
        let news = shared.source.has_news() && !shared.pass_on();
        shared.at_work += 1;
        shared.held_up += usize::from(outlook.is_long || news);
        self.recruit(shared, outlook.more.min(AT_ONCE));
        let mut job = Some(job);
        if news {
            let mut shared = self.lock();
            (shared, job) = self.deliver(shared, job);
            shared.held_up -= usize::from(!outlook.is_long);
        }
        let Some(job) = job else {
            // The hook drove this crew and ran the job.
            let mut shared = self.lock();
            shared.at_work -= 1;
            shared.held_up -= usize::from(outlook.is_long);
            self.threads.pace.end(outlook, false, Duration::ZERO, None);
            return shared;
        };
        let begun = now();
        let output = self.worker.run(job, Some(&self.stalled).filter(|_| !outlook.is_long));
        let now = now();
        let mut shared = self.lock();
        shared.at_work -= 1;
        shared.held_up -= usize::from(outlook.is_long);
        let stalled = shared.has_stalled();
        self.threads.pace.end(outlook, stalled, now.duration_since(begun), self.worker.answered(&output));
        shared.source.done(output, now);
        if shared.watching > 0 && shared.source.has_result() {
            self.changed.notify_all();
        }
        shared
    }

    /// A job holds its thread up: what else is ready, or comes due meanwhile, needs another.
    fn stalled(self: &Arc<Self>) {
        let (mut shared, this) = (self.lock(), current_thread());
        if shared.stalled.contains(&this) {
            return;
        }
        shared.stalled.push(this);
        self.threads.pace.stalled();
        self.recruit(shared, 1);
    }

    /// Lets go of the lock, and calls up a helper for each thing that is unattended, but no more than `most`.
    fn recruit(self: &Arc<Self>, mut shared: MutexGuard<'_, Shared<S>>, most: usize) {
        let number = shared.unattended().min(most);
        shared.arriving += number;
        drop(shared);
        for _ in 0..number {
            let Err(refused) = self.threads.start(self.help_wanted()) else { continue };
            let mut shared = self.lock();
            if shared.waiting {
                shared.arriving -= 1;
            } else {
                shared.waiting = true;
                drop(shared);
                let crew = Arc::downgrade(self);
                self.threads.start_later(move |place| {
                    crew.upgrade().iter().for_each(|crew| crew.lock().waiting = false);
                    refused(place);
                });
            }
        }
    }

    /// What a helper does. It keeps nothing of the crew alive for which it comes too late.
    fn help_wanted(self: &Arc<Self>) -> impl FnOnce(Place) + Send + 'static {
        let crew = Arc::downgrade(self);
        move |place| {
            let help = || {
                if let Some(crew) = crew.upgrade() {
                    crew.help(place);
                }
            };
            if catch_unwind(AssertUnwindSafe(help)).is_err()
                && let Some(crew) = crew.upgrade()
            {
                crew.lock().broken = true;
                crew.changed.notify_all();
            }
        }
    }

    fn watch<'a>(&'a self, mut shared: MutexGuard<'a, Shared<S>>, due: Option<Instant>) -> MutexGuard<'a, Shared<S>> {
        // Who sleeps keeps no news back.
        if shared.source.has_news() {
            return self.deliver(shared, None).0;
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

    /// Delivers the news, without the lock, or passes them on to the thread that delivers others.
    ///
    /// It never blocks on that thread. A hook may wait for work of this very crew, because it was given the bulk
    /// that it observes, and that work must not wait for the hook. For the same reason a hook finds `job`, the next
    /// job of this thread. It is returned if no hook ran it.
    fn deliver<'a>(
        &'a self,
        mut shared: MutexGuard<'a, Shared<S>>,
        mut job: Option<S::Job>,
    ) -> (MutexGuard<'a, Shared<S>>, Option<S::Job>) {
        if shared.pass_on() {
            return (shared, job);
        }
        let mut news = shared.source.news();
        while !news.is_empty() {
            shared.deliverer = Some(current_thread());
            shared.next_job = job;
            drop(shared);
            for news in news {
                self.worker.tell(news);
            }
            shared = self.lock();
            job = shared.next_job.take();
            news = std::mem::take(&mut shared.passed_on);
            shared.batches += 1;
            if news.is_empty() {
                shared.deliverer = None;
            }
            if shared.listening > 0 {
                self.delivered.notify_all();
            }
        }
        (shared, job)
    }

    fn lock(&self) -> MutexGuard<'_, Shared<S>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, loom))]
mod loom_models;
