//! A service that keeps a group for each customer, and says what to tell the customer.

mod memory_journal;

use std::sync::atomic::{AtomicU64, Ordering};

use cluster_client::{ClusterClient, Error, Event, EventKind, Observer};

pub use crate::memory_journal::MemoryJournal;

/// The answer to a customer.
#[derive(Debug, PartialEq, Eq)]
pub enum Signup {
    /// The group is on every host.
    Ready,
    /// Nothing is left behind: the customer can try again.
    TryAgain,
    /// A person has to look at it, with this text.
    Ask(String),
}

/// Creates the group of a customer. It is welcome if it is there already.
pub fn sign_up(client: &ClusterClient, customer: &str) -> Signup {
    match client.create_group(format!("customer-{customer}")) {
        Ok(_) | Err(Error::AlreadyExists { .. }) => Signup::Ready,
        Err(error) if error.is_unchanged() && error.is_retryable() => Signup::TryAgain,
        Err(error) => Signup::Ask(error.to_string()),
    }
}

/// Counts requests without an answer, for the service's dashboard.
#[derive(Debug, Default)]
pub struct LostAnswers(AtomicU64);

impl LostAnswers {
    /// The number so far.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Observer for LostAnswers {
    fn on_event(&self, event: &Event) {
        if matches!(event.kind, EventKind::Answered { status: None, .. }) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}
