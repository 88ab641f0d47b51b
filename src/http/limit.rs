//! The limit on open connections.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the open connections to all hosts of one client.
#[derive(Debug)]
pub(crate) struct ConnectionLimit {
    open: AtomicUsize,
    /// If more connections than this are open, a connection is closed after its use.
    keep: AtomicUsize,
}

/// Initial maximum number of connections kept open. It is lowered after the OS has run out of descriptors.
pub(crate) const MAX_KEPT: usize = 16 * 1024;
/// Number of connections kept open even if descriptors are short.
const MIN_KEPT: usize = 16;

impl Default for ConnectionLimit {
    fn default() -> Self {
        ConnectionLimit { open: AtomicUsize::new(0), keep: AtomicUsize::new(MAX_KEPT) }
    }
}

impl ConnectionLimit {
    pub(crate) fn opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn has_room(&self) -> bool {
        self.open.load(Ordering::Relaxed) <= self.keep.load(Ordering::Relaxed)
    }

    /// Lowers the limit to half of the connections that are open. Called after descriptors have run out.
    pub(crate) fn keep_fewer(&self) {
        let half = self.open.load(Ordering::Relaxed) / 2;
        self.keep.fetch_min(half.max(MIN_KEPT), Ordering::Relaxed);
    }
}
