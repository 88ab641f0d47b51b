//! Interrupts `wait` of an engine from another thread.

use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::sync::Wake;

#[derive(Default)]
pub(super) struct Wakeup {
    state: Mutex<State>,
    changed: Condvar,
    /// Absent until the engine has a poll. Until then the engine blocks on `changed`.
    waker: OnceLock<mio::Waker>,
}

#[derive(Default)]
struct State {
    woken: bool,
    /// The engine is in its poll, or about to enter it.
    polling: bool,
}

impl Wakeup {
    pub(super) fn attach(&self, waker: mio::Waker) {
        let _ = self.waker.set(waker);
    }

    /// Returns whether the engine was woken since the last call.
    pub(super) fn take(&self) -> bool {
        std::mem::take(&mut self.lock().woken)
    }

    /// Marks the beginning of a poll. Returns false if the engine was woken before.
    pub(super) fn begin_poll(&self) -> bool {
        let mut state = self.lock();
        state.polling = !state.woken;
        state.polling
    }

    pub(super) fn end_poll(&self) {
        self.lock().polling = false;
    }

    /// Blocks until woken, or for at most `timeout`.
    pub(super) fn park(&self, timeout: Option<Duration>) {
        let mut state = self.lock();
        if let Some(timeout) = timeout {
            drop(self.changed.wait_timeout_while(state, timeout, |state| !state.woken));
        } else {
            while !state.woken {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Wakeup {
    fn wake(&self) {
        let mut state = self.lock();
        if state.woken {
            return;
        }
        state.woken = true;
        self.changed.notify_all();
        if state.polling
            && let Some(waker) = self.waker.get()
        {
            let _ = waker.wake();
        }
    }
}
