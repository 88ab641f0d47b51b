//! A group on every host of a cluster, or on none.

mod api;
mod config;
mod error;
mod event;
mod group;
mod host;
mod intent;
mod protocol;
mod report;
mod retry;
mod store;
mod transport;

pub use crate::api::{Action, Api};
pub use crate::config::{ConfigError, Origin};
pub use crate::error::{Error, RequestError, RequestErrorKind, StoreError};
pub use crate::event::{Event, Phase};
pub use crate::group::GroupId;
pub use crate::host::{Host, Hosts};
pub use crate::intent::{ClaimError, Intent, Purpose, Stamp, UnreadableIntent};
pub use crate::report::{HostReport, HostStep, Operation, Outcome, Report, State, Target};
pub use crate::retry::RetryPolicy;
pub use crate::store::{Claim, DirectoryStore, IntentStore, Unfinished};
