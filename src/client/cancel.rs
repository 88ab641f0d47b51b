//! Floor 3: giving operations up from outside.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};

use crate::sync::{AtomicBool, Mutex, MutexGuard};

/// Gives operations up from another thread, or from a signal's handler thread.
///
/// An operation that has changed nothing ends with [`Error::Cancelled`](crate::Error::Cancelled). So does a create that
/// has begun, after it was rolled back. A delete or a repair stops where it is, and its report says how far it came.
/// Requests in flight are waited for.
/// Clones are one token. It cannot be taken back.
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

/// Something that a token can give up.
pub(crate) trait Cancel: Send + Sync {
    fn cancel(&self);
}

impl std::fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CancelToken").field("cancelled", &self.is_cancelled()).finish()
    }
}

impl CancelToken {
    /// A token that is not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives up every operation that was started with this token, and every later one.
    pub fn cancel(&self) {
        self.inner.cancelled.store(true, Ordering::SeqCst);
        let watchers = std::mem::take(&mut *self.watchers());
        watchers.iter().filter_map(Weak::upgrade).for_each(|watcher| watcher.cancel());
    }

    /// Whether [`CancelToken::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.inner.cancelled.load(Ordering::SeqCst)
    }

    /// From now on `watcher` is told when the token is cancelled, once at least.
    pub(crate) fn watch(&self, watcher: &Arc<dyn Cancel>) {
        let mut watchers = self.watchers();
        watchers.retain(|watcher| watcher.strong_count() > 0);
        watchers.push(Arc::downgrade(watcher));
        drop(watchers);
        // Cancelled before it was on the list, or after: either way it is told.
        if self.is_cancelled() {
            watcher.cancel();
        }
    }

    fn watchers(&self) -> MutexGuard<'_, Vec<Weak<dyn Cancel>>> {
        self.inner.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
