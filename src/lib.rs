//! A group on every host of a cluster, or on none.

mod api;
mod bulk;
mod client;
mod config;
mod error;
mod event;
mod executor;
mod flight;
mod group;
mod host;
mod intent;
mod observer;
mod protocol;
mod report;
mod retry;
#[cfg(test)]
mod simulation;
mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod transport;

pub use crate::api::{Action, Api};
pub use crate::bulk::{Bulk, Completed};
pub use crate::client::{Call, CancelToken, ClientBuilder, ClusterClient, Recovery};
pub use crate::config::{ConfigError, Origin};
pub use crate::error::{Error, RequestError, RequestErrorKind, StoreError};
pub use crate::event::{Event, Phase};
pub use crate::group::GroupId;
pub use crate::host::{Host, Hosts};
pub use crate::intent::{ClaimError, Intent, Purpose};
pub use crate::observer::Observer;
pub use crate::report::{Deletion, HostReport, HostStep, Operation, Outcome, Report, State, Target};
pub use crate::retry::RetryPolicy;
pub use crate::store::{Claim, DirectoryStore, IntentStore, Unfinished};
