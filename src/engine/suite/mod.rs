//! The tests that every engine passes.
//!
//! `tests.rs` is included once for each engine. The module that includes it names the engine as `Subject`.

pub(crate) mod driving;
