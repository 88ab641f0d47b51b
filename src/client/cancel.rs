//! Floor 3: cancels operations from another thread.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};

use crate::sync::{AtomicBool, Mutex, MutexGuard};

/// Cancels operations from another thread, such as the thread that handles signals.
///
/// An operation that has changed nothing ends with [`Error::Cancelled`](crate::Error::Cancelled). A create that has
/// begun is rolled back first. A delete or a repair ends early, and its report shows the state of each host.
/// Requests that have begun complete first. Clones share their state. A cancelled token stays cancelled.
///
/// ```
/// use cluster_client::CancelToken;
///
/// let cancel = CancelToken::new();
/// cancel.cancel();
/// assert!(cancel.is_cancelled());
/// ```
#[derive(Clone, Default)]
pub struct CancelToken {
    inner: Arc<TokenInner>,
}

#[derive(Default)]
struct TokenInner {
    cancelled: AtomicBool,
    watchers: Mutex<Vec<Weak<dyn Cancel>>>,
}

/// Implemented by the driver, whose operations a token cancels.
pub(crate) trait Cancel: Send + Sync {
    fn cancel(&self);
}

impl std::fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CancelToken").field("cancelled", &self.is_cancelled()).finish()
    }
}

impl CancelToken {
    /// Creates a token that is not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels every operation that was started with this token, and every later one.
    pub fn cancel(&self) {
        self.inner.cancelled.store(true, Ordering::SeqCst);
        let watchers = std::mem::take(&mut *self.watchers());
        watchers.iter().filter_map(Weak::upgrade).for_each(|watcher| watcher.cancel());
    }

    /// Returns whether [`CancelToken::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.inner.cancelled.load(Ordering::SeqCst)
    }

    /// Adds `watcher`. Cancelling the token calls it, at least once.
    pub(crate) fn watch(&self, watcher: &Arc<dyn Cancel>) {
        let mut watchers = self.watchers();
        watchers.retain(|watcher| watcher.strong_count() > 0);
        watchers.push(Arc::downgrade(watcher));
        drop(watchers);
        // The token may have been cancelled before the watcher was in the list.
        if self.is_cancelled() {
            watcher.cancel();
        }
    }

    fn watchers(&self) -> MutexGuard<'_, Vec<Weak<dyn Cancel>>> {
        self.inner.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
