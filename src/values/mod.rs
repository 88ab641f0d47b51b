//! Floor 1: values that are checked once, when they are made; and reports, events and errors.
//!
//! Text from outside is parsed here. No other folder, and no error, gets unparsed text.
//!
//! Deliberately absent: IO, a clock, threads and randomness.

pub(crate) mod action;
pub(crate) mod answer_problem;
pub(crate) mod api;
pub(crate) mod authorized;
pub(crate) mod cause;
pub(crate) mod checksum;
pub(crate) mod classification;
pub(crate) mod config;
pub(crate) mod credentials;
pub(crate) mod error;
pub(crate) mod event;
pub(crate) mod group;
pub(crate) mod host;
pub(crate) mod intent;
pub(crate) mod mask;
pub(crate) mod outcome;
pub(crate) mod printable;
pub(crate) mod report;
pub(crate) mod retry;
pub(crate) mod secret;
#[cfg(feature = "serde")]
pub(crate) mod serialization;
pub(crate) mod time;
pub(crate) mod usage;
