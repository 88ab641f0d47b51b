//! Floor 2: the locks, the threads and the clock of the driver, in one place, so that a model checker can
//! stand in for them: under `--cfg loom` the tests `loom` run the driver through every order in which its
//! threads can meet.

#[cfg(all(test, loom))]
mod model;

#[cfg(all(test, loom))]
pub(crate) use self::model::{
    AtomicBool, Condvar, Model, Mutex, MutexGuard, Receiver, Sender, ThreadId, ThreadPool, ThreadPoolBuilder, channel,
    current_thread, explore, now, plant, yield_now,
};
#[cfg(not(all(test, loom)))]
pub(crate) use self::system::{
    AtomicBool, Condvar, Mutex, MutexGuard, Receiver, Sender, ThreadId, ThreadPool, ThreadPoolBuilder, channel,
    current_thread, now, yield_now,
};

/// Interrupts a wait of another thread.
pub(crate) trait Wake: Send + Sync {
    /// The wait that runs, or the next one, returns at once.
    fn wake(&self);
}

#[cfg(not(all(test, loom)))]
mod system {
    pub(crate) use std::sync::atomic::AtomicBool;
    pub(crate) use std::sync::mpsc::{Receiver, Sender, channel};
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
    pub(crate) use std::thread::{ThreadId, yield_now};
    use std::time::Instant;

    pub(crate) use rayon::{ThreadPool, ThreadPoolBuilder};

    pub(crate) fn now() -> Instant {
        Instant::now()
    }

    pub(crate) fn current_thread() -> ThreadId {
        std::thread::current().id()
    }
}
