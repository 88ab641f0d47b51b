//! Floor 0: values that are checked once, where they are made, and what is said of an operation.
//!
//! Text from outside is parsed here; nothing raw gets further, not even into an error. Deliberately absent: IO, a
//! clock, threads and randomness.

pub(crate) mod action;
pub(crate) mod api;
pub(crate) mod cause;
pub(crate) mod classification;
pub(crate) mod config;
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
