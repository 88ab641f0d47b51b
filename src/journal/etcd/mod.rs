//! The journal in etcd, for coordinators on several machines.
//!
//! ```text
//!   EtcdJournal ── claim ──▶ EtcdClaim ── record, erase, drop
//!        └── changes ──▶ GroupCommit ──▶ round ──▶ txn ──▶ gateway ──▶ one endpoint of etcd
//!   Session: the lease of all claims, and the thread that renews it ──────▶ gateway
//! ```
//! * A lock is a key under the lease of its owner. If the owner dies, the lease ends, and etcd deletes the lock.
//! * The fence is the revision that created the lock. Each later change compares it in its transaction, so an owner that
//!   has lost its lock changes nothing any more.
//! * etcd is spoken to by its JSON gateway, over the transport of the thread engine: no runtime, no other crate.
//!
//! Deliberately absent: watches, and any key that exists while nothing is unfinished.

mod answer;
mod claim;
#[cfg(test)]
mod fake;
mod gateway;
mod journal;
mod keys;
mod login;
mod moment;
mod round;
mod session;
mod sessions;
mod settings;
mod store;
#[cfg(test)]
mod tests;
mod together;
mod txn;
mod unfinished;

pub use self::journal::EtcdJournal;
pub use self::settings::EtcdJournalBuilder;
