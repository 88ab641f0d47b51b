// rustdoc uses the first definition of a link. So links of the README lead to modules with these pages, or to the files
// of the package. An image is not among the files of the documentation, so its text is shown.
#![doc = "[command]: crate::command\n"]
#![doc = "[contract]: crate::contract\n"]
#![doc = "[coordination]: crate::coordination\n"]
#![doc = "[deployment]: crate::deployment\n"]
#![doc = "[library]: crate::library\n"]
#![doc = "[mapping]: crate::mappings\n"]
#![doc = "[tls]: crate::secure_connections\n"]
#![doc = "[architecture]: https://docs.rs/crate/cluster-client/latest/source/docs/architecture.md\n"]
#![doc = "[contributing]: https://docs.rs/crate/cluster-client/latest/source/CONTRIBUTING.md\n"]
#![doc = "[performance]: https://docs.rs/crate/cluster-client/latest/source/docs/performance.md\n"]
#![doc = "[programs]: https://docs.rs/crate/cluster-client/latest/source/docs/programs.md\n"]
#![doc = "[verification]: https://docs.rs/crate/cluster-client/latest/source/docs/verification.md\n"]
#![doc = "[screen]: data:image/svg+xml,\n"]
#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
//!
//! # Architecture
//!
//! An import points to its own floor or to a lower one. `tests/repository.rs` checks it.
//!
//! | floor | folders | knowledge |
//! | --- | --- | --- |
//! | 1, decisions | `values`, `api`, `protocol` | the next step of an operation; no IO, clock, thread or randomness |
//! | 2, edges | `http`, `engine`, `journal`, `sync` | one request, one file, one lock; no decisions |
//! | 3, driver | `client` | passes requests to an engine, and results to the machines |
//! | 4, people | the command; `testing` | the public API only |
//!
//! The way of a group id:
//!
//! 1. [`GroupId::parse`] checks it, and [`ClusterClient::create_group`] starts an operation.
//! 2. The machine in `protocol` returns each request, the driver in `client` passes it to the engine.
//! 3. The engine sends the request, and the driver passes the reply to the machine.
//! 4. The operation ends with a [`Report`].

/// The contract: what each operation does, the invariants, and the assumptions that they rest on.
#[cfg(doc)]
#[doc = include_str!("../docs/protocol.md")]
pub mod contract {}

/// Other services: a tutorial, the grammar of mappings, and the presets.
#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/mapping.md")]
pub mod mappings {}

/// Authorities, client certificates, credentials, a proxy, and what each TLS error means.
#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/tls.md")]
pub mod secure_connections {}

/// Settings of a client, bulks, the journal and logging.
#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/library.md")]
pub mod library {}

/// The command: what it does, its exit codes and its configuration.
#[cfg(doc)]
#[doc = include_str!("../docs/command.md")]
pub mod command {}

/// Several machines: the journal in etcd, by the command.
#[cfg(doc)]
#[doc = include_str!("../docs/coordination.md")]
pub mod coordination {}

/// The command in a container.
#[cfg(doc)]
#[doc = include_str!("../docs/deployment.md")]
pub mod deployment {}

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
pub use crate::client::probe::report::{ProbeAnswer, ProbeReport, ProbeStage, StageReport};
pub use crate::client::{ClusterClient, Recovery};
#[cfg(feature = "rustls")]
pub use crate::http::tls::settings::TlsSettings;
pub use crate::journal::{Claim, DirectoryJournal, Journal, JournalEntry, Unfinished};
#[cfg(all(feature = "etcd", not(loom)))]
pub use crate::journal::{EtcdJournal, EtcdJournalBuilder};
pub use crate::values::action::Action;
pub use crate::values::answer_problem::AnswerProblem;
pub use crate::values::api::pattern::Meaning;
pub use crate::values::api::{Answer, Api, ApiBuilder, ApiRef, Call};
pub use crate::values::cause::{JournalError, RequestError, RequestErrorKind};
pub use crate::values::config::{ConfigError, Origin};
pub use crate::values::credentials::Credentials;
pub use crate::values::error::{Deletion, Error};
pub use crate::values::event::{Event, EventKind, Phase};
pub use crate::values::group::{GroupId, IntoGroupId};
pub use crate::values::host::{Host, Hosts};
pub use crate::values::intent::{ClaimError, Intent, Purpose, Stamp, UnreadableIntent};
pub use crate::values::outcome::Outcome;
pub use crate::values::printable::Printable;
pub use crate::values::report::{
    Cause, HostReport, HostStep, Interruption, Note, Operation, OperationId, Reason, Report, State, Target,
};
pub use crate::values::retry::RetryPolicy;
pub use crate::values::secret::Secret;
