//! Common parts of the measured Rust clients: the job, the measuring loop, and the report.
//!
//! A client is a process of its own, so that its memory, CPU time and start-up are its own. It gets the job as four
//! arguments (see [`Job`]) and prints one line of JSON (see [`pace`]). The peers in Go and Python keep the same
//! contract.

pub mod job;
pub mod ours;
pub mod pace;
pub mod reqwest_one;
#[cfg(feature = "tls")]
pub mod tls;
pub mod usage;
pub mod wire;

pub use job::{Job, Kind};
pub use pace::{Client, run};

/// Failure of a client. Any failure ends the client: a benchmark of failing requests measures nothing.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Groups in flight in a bulk job.
pub const IN_FLIGHT: usize = 32;

/// Request timeout of every client, so that no client hangs on a mute host.
pub const REQUEST_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
