//! Common parts of the measured Rust clients: the job it is told, the loop that paces it, and what it reports of itself.
//!
//! A client is a process of its own, so that its memory, CPU time and start-up are its own. It is given the job as four
//! arguments (see [`Job`]) and prints one line of JSON (see [`pace`]). The peers in Go and Python keep the same contract.

pub mod job;
pub mod ours;
pub mod pace;
pub mod reqwest_one;
pub mod usage;
pub mod wire;

pub use job::{Job, Kind};
pub use pace::{Client, run};

/// Failure of a client. Any failure ends the client: a benchmark of failing requests measures nothing.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Groups in flight in a bulk job.
pub const IN_FLIGHT: usize = 32;

/// Request timeout of every client, so that none would hang on a mute host.
pub const REQUEST_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
