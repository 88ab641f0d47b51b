//! Tests that every engine must pass.
//!
//! `tests.rs` is included once for each engine. The module that includes it provides the engine as `Subject`.

pub(crate) mod driving;
pub(crate) mod withdrawing;
