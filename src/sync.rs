//! Floor 2: the locks, the threads and the clock of the driver. Under `--cfg loom` they are those of a model checker,
//! which runs the driver through every interleaving of its threads.

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
    /// Ends the current wait, or the next one if there is none, at once.
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
