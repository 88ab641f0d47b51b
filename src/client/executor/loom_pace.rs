//! Stands in for the measured pace under loom: a model says what it thinks of every job, so that whatever the
//! real one may say at a time is among the answers.

#![expect(clippy::unused_self, reason = "the signatures are those of the other")]

use std::time::Duration;

use super::Waits;
use crate::sync::{Model, Pace as Thought};

#[derive(Debug, Default)]
pub(super) struct Pace;

#[derive(Debug, Clone, Copy)]
pub(super) struct Outlook {
    pub(super) more: usize,
    pub(super) is_long: bool,
}

impl Pace {
    pub(super) fn begin(&self, _: Waits) -> Outlook {
        let thought = Model::current().pace;
        let more = if matches!(thought, Thought::Far | Thought::Near) { 8 } else { 0 };
        Outlook { more, is_long: thought == Thought::Far }
    }

    pub(super) fn stalled(&self) {}

    pub(super) fn end(&self, _: Outlook, _: bool, _: Duration, _: Option<Duration>) {}

    pub(super) fn wants_fewer(&self) -> bool {
        matches!(Model::current().pace, Thought::Near | Thought::Fickle)
    }
}
