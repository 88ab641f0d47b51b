//! A classified reply: all that the protocol sees of HTTP.

use std::time::Duration;

use crate::values::cause::RequestError;

/// What a reply says to the question that its action asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Classification {
    /// Created, present, or deleted.
    Confirmed,
    /// Refused, absent, or nothing to delete. Certainly nothing was applied.
    Denied,
    /// Certainly nothing was applied, because the request did not leave.
    NotSent,
    /// Perhaps it was applied, or the question is still open.
    Ambiguous,
}

/// A reply as the protocol reads it.
#[derive(Debug, Clone)]
pub(crate) struct ClassifiedReply {
    pub(crate) classification: Classification,
    /// Whether the fault is of the kind that passes.
    pub(crate) transient: bool,
    pub(crate) status: Option<u16>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) error: Option<RequestError>,
}

impl ClassifiedReply {
    /// Whether the request may have been applied, or may yet be.
    pub(crate) fn is_ambiguous(&self) -> bool {
        let answered_for_good = matches!(self.status, Some(400..=499)) && !self.transient;
        self.classification == Classification::Ambiguous && !answered_for_good
    }

    /// Whether the request may take effect after this moment. A node that answered has ended its work; a
    /// connection without an answer and a gateway that gave up (502, 504) say nothing of the node's.
    pub(crate) fn may_land_late(&self) -> bool {
        self.is_ambiguous() && matches!(self.status, None | Some(502 | 504))
    }

    /// Whether the host answered, with a status that does not settle the question.
    pub(crate) fn is_refused(&self) -> bool {
        self.classification == Classification::Ambiguous && self.status.is_some()
    }

    /// A request without an answer.
    pub(crate) fn failed(classification: Classification, error: RequestError) -> Self {
        ClassifiedReply { classification, transient: true, status: None, retry_after: None, error: Some(error) }
    }
}
