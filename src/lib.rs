#![doc = include_str!("../README.md")]
//!
//! # The map of the house
//!
//! An import points to its own floor or to one below, and a test holds it to that.
//!
//! | floor | modules | what they know |
//! | --- | --- | --- |
//! | 0, values | `config`, `group`, `host`, `mask`, `printable` | text that was checked once; nothing raw gets further, not even into an error |
//! | 1, decisions | `protocol`, `api`, `retry`, `intent`, `report`, `event`, `error`, `cause` | what to do next; no IO, no clock, no thread, no randomness |
//! | 2, edges | `transport`, `engine`, `http`, `store`, `observer`, `sync` | one request, one file, one line, one lock; they decide nothing |
//! | 3, driver | `builder`, `client`, `bulk`, `session`, `cancel`, `flight`, `executor`, `driver`, `forget` | who does what the machines say, and when |
//! | 4, people | the command; `testing` | only what is public here |
//!
//! An id goes this way: [`GroupId::parse`], [`ClusterClient::create_group`], the machine of `protocol` says what to
//! send, `executor` lets threads do it, `transport` says what became of it, the machine says what is next, and at
//! the end there is a [`Report`]. With `Engine::Multiplexed`, `driver` and `engine` stand in for `executor` and
//! `transport`.

/// The contract: what each operation does, the invariants, and the assumptions that they rest on.
#[cfg(doc)]
#[doc = include_str!("../docs/protocol.md")]
pub mod contract {}

mod api;
mod builder;
mod bulk;
mod cancel;
mod cause;
mod client;
mod config;
#[cfg(feature = "multiplex")]
mod driver;
#[cfg(feature = "multiplex")]
mod engine;
mod error;
mod event;
mod executor;
mod flight;
mod forget;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod group;
mod host;
mod http;
mod intent;
mod mask;
mod observer;
mod printable;
mod protocol;
mod report;
mod retry;
mod session;
#[cfg(test)]
mod simulation;
mod store;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
mod transport;

pub use crate::api::{Action, Api};
pub use crate::builder::{ClientBuilder, Engine};
pub use crate::bulk::{Bulk, Completed};
pub use crate::cancel::CancelToken;
pub use crate::cause::{RequestError, RequestErrorKind, StoreError};
pub use crate::client::{Call, ClusterClient, Recovery};
pub use crate::config::{ConfigError, Origin};
pub use crate::error::Error;
pub use crate::event::{Event, Phase};
pub use crate::forget::Forgotten;
pub use crate::group::GroupId;
pub use crate::host::{Host, Hosts};
pub use crate::intent::{ClaimError, Intent, Purpose, Stamp, UnreadableIntent};
pub use crate::observer::Observer;
pub use crate::printable::Printable;
pub use crate::report::{Cause, Deletion, HostReport, HostStep, Operation, Outcome, Report, State, Target};
pub use crate::retry::RetryPolicy;
pub use crate::store::{Claim, DirectoryStore, IntentStore, JournalEntry, Unfinished};
