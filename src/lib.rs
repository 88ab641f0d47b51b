// The first definition of a link counts: in the documentation, the README's link to a file leads to a page of it.
#![doc = "[contract]: crate::contract\n"]
#![doc = include_str!("../README.md")]
//!
//! # The map of the house
//!
//! An import points to its own floor or to one below, and a test holds it to that.
//!
//! | floor | folders | knowledge |
//! | --- | --- | --- |
//! | 1, decisions | `values`, `api`, `protocol` | what to do next; no IO, no clock, no thread, no randomness |
//! | 2, edges | `http`, `engine`, `journal`, `sync` | one request, one file, one lock; they decide nothing |
//! | 3, driver | `client` | runs operations: hands requests to an engine and results to the machines |
//! | 4, people | the command; `testing` | only what is public here |
//!
//! The way of a group id: [`GroupId::parse`], [`ClusterClient::create_group`], the driver in `client` asks the machine
//! of `protocol` what to send, the engine sends it and reports the answer, the driver hands the answer to the machine,
//! and at the end there is a [`Report`].

/// The contract: what each operation does, the invariants, and the assumptions that they rest on.
#[cfg(doc)]
#[doc = include_str!("../docs/protocol.md")]
pub mod contract {}

mod api;
mod client;
mod engine;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod journal;
mod protocol;
#[cfg(test)]
mod simulation;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
mod values;

pub use crate::client::batch::{Bulk, Completed};
pub use crate::client::builder::{ClientBuilder, Engine};
pub use crate::client::cancel::CancelToken;
pub use crate::client::forget::Forgotten;
pub use crate::client::observer::Observer;
pub use crate::client::options::OperationOptions;
pub use crate::client::{ClusterClient, Recovery};
pub use crate::journal::{Claim, DirectoryJournal, Journal, JournalEntry, Unfinished};
pub use crate::values::action::Action;
pub use crate::values::api::Api;
pub use crate::values::cause::{JournalError, RequestError, RequestErrorKind};
pub use crate::values::config::{ConfigError, Origin};
pub use crate::values::error::{Deletion, Error};
pub use crate::values::event::{Event, EventKind, Phase};
pub use crate::values::group::GroupId;
pub use crate::values::host::{Host, Hosts};
pub use crate::values::intent::{ClaimError, Intent, Purpose, Stamp, UnreadableIntent};
pub use crate::values::outcome::Outcome;
pub use crate::values::printable::Printable;
pub use crate::values::report::{
    Cause, HostReport, HostStep, Interruption, Operation, OperationId, Reason, Report, State, Target,
};
pub use crate::values::retry::RetryPolicy;
